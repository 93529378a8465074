#!/usr/bin/env bash
# What this project does on a GPU, within minutes, on a machine without an internet.
#
#   tools/gpu_check.sh pack DIR      here: everything the other machine needs, in pieces to be sent
#   tools/gpu_check.sh run DIR       there: install what was packed, measure, write results
#   tools/gpu_check.sh report OUT    a Markdown table of the results
#   tools/gpu_check.sh dry-run       here, on the CPU: all of it with small models
#
# Each has --help; docs/guides/gpu.md explains. PYTHON names another interpreter.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-}
if [[ -z $python ]]; then
  python=python3
  # What packs needs the project's own environment.
  if [[ -x $root/.venv/bin/python ]]; then python=$root/.venv/bin/python; fi
fi
if ! command -v -- "$python" >/dev/null; then
  echo "error: $python is not there; name an interpreter, PYTHON=python3.12 $0 ..." >&2
  exit 4
fi
export PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1
exec "$python" -m tools.gpu_check "$@"
