#!/usr/bin/env bash
# A fresh machine -> virtual environment -> dependencies -> checks and all tests.  Needs Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh
prepare ".[dev]"

ruff check .
mypy
pytest -n "${MRCT_TEST_PROCESSES:-2}" "$@"
