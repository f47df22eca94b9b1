# Sourced by run.sh and test.sh: a virtual environment in .venv with the pinned dependencies, and no telemetry.
export DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true PIP_DISABLE_PIP_VERSION_CHECK=1

prepare() {
  local python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is $("$python" --version 2>&1); expected Python 3.11 or newer. Name one: PYTHON=python3.12 $0" >&2
    exit 1
  fi
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  export PATH="$PWD/.venv/bin:$PATH"
  echo "Installing pinned dependencies into .venv (about 2 GB; a minute or more the first time)"
  .venv/bin/python -m pip install --quiet --constraint constraints.txt --editable "$1"
}
