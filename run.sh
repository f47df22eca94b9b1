#!/usr/bin/env bash
# A fresh machine -> virtual environment -> dependencies -> the whole pipeline.  Needs Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
prepare "."

if [ ! -d .git ]; then  # DVC experiments are commits: a downloaded archive becomes a repository first
  git init -q -b main
  git add -A
  git -c user.name=mrct -c user.email=mrct@localhost commit -qm "Start"
fi

# DVC's index holds file names of data/raw: kept in this folder, by a path that experiments elsewhere find too
dvc config --local core.site_cache_dir "$PWD/.work/dvc-site-cache"
dvc repro "$@"
dvc exp save --force --name default  # so that `dvc exp show` sets later experiments beside this run
mrct track
echo
echo "Report:  reports/index.html  (open it in a browser)"
echo "Runs:    .venv/bin/mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///mlflow.db  (then http://127.0.0.1:5000)"
echo "Next:    source .venv/bin/activate && dvc exp run -S lambda_pix=50"
