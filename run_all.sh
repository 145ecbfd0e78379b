#!/usr/bin/env bash
# Sets itself up where that is needed, then runs the notebooks, the tests or JupyterLab: ./run_all.sh --help
set -euo pipefail

repo=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P)
runner=$repo/notebooks/runner
venv=$repo/.venv
log=$repo/.install.log

say() { printf '%s\n' "$*" >&2; }
die() { say "run_all.sh: $*"; exit 1; }

usage() {
  cat <<'END'
Usage: ./run_all.sh [options]

Sets itself up (the first time), runs the notebooks in order, and writes results/<profile>/.

  --profile NAME|FILE  smoke, quick (default), reduced, paper, ... or the path of a YAML file
  --data-root DIR      folder that holds the data sets (see README.md: Data)
  --results DIR        where results are written (default: results/ in this repository)
  --only 01,05         run only these notebooks
  --from 03            run this notebook and those after it
  --keep-going         go on with the next notebook after one has failed
  --lab [ARGS]         open JupyterLab on notebooks/; ARGS go to it
  --test [ARGS]        run ruff and pytest; ARGS go to pytest
  --help               print this

Exit status: 0 everything ran; 1 a notebook, a test or the set-up failed; 2 bad option or profile; 130 Ctrl-C.
END
}

# What .venv was made for: this place and Python on the first line, the pins on the second.
wanted_stamp() {
  printf '%s, %s\n' "$repo" "$("$venv/bin/python" -V 2>&1)"
  cat -- "$repo/requirements.txt" "$repo/pyproject.toml" | sha256sum
}
is_fresh() { [[ -f $venv/stamp && $(wanted_stamp) == "$(<"$venv/stamp")" ]]; }
is_here() { [[ -f $venv/stamp && $(wanted_stamp | head -n 1) == "$(head -n 1 -- "$venv/stamp")" ]]; }

find_base() {
  local name ask='import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys._base_executable)'
  for name in "$candidate" python3 python3.13 python3.12 python3.11; do
    if base=$("$name" -c "$ask" 2>/dev/null); then return; fi
  done
  die "finds no Python 3.11 or newer: install one (Debian, Ubuntu: apt install python3 python3-venv)."
}

# On a terminal pip's last line is shown in place; the log has it all.
show() {
  local line
  while IFS= read -r line; do [[ ! -t 2 ]] || printf '\r\033[K%.76s' "$line" >&2; done
  [[ ! -t 2 ]] || printf '\r\033[K' >&2
}
pip_install() { # PYTHON ARGUMENTS
  local python=$1; shift
  (cd -- "$repo" && "$python" -m pip install --no-input "$@" 2>&1) | tee -- "$log" | show ||
    die "pip could not install the packages: $(grep -m 1 ERROR -- "$log" || echo 'it stopped'). Whole log: $log"
}

set_up() {
  local base
  find_base
  # A misspelt option is told before the installation, not after it.
  [[ $mode != run ]] || PYTHONPATH=$repo:$repo/notebooks "$base" -P -m runner.cli "$@" || exit
  if command -v flock >/dev/null; then exec 9>"$repo/.install.lock"; flock 9; fi
  if is_fresh; then return; fi # another start has just done it
  say "Installing the pinned packages into $venv (once, some minutes; log: $log)"
  if is_here; then rm -- "$venv/stamp"; else
    rm -f -- "$venv/stamp"
    "$base" -m venv --clear -- "$venv" >"$log" 2>&1 ||
      die "cannot make $venv with $base (Debian, Ubuntu: apt install python3-venv). The whole log: $log"
  fi
  pip_install "$venv/bin/python" -r requirements.txt -e .
  wanted_stamp >"$venv/stamp.part"
  mv -- "$venv/stamp.part" "$venv/stamp"
  exec 9>&-
}

[[ ${1:-} != --help && ${1:-} != -h ]] || { usage; exit; }

mode=run
case ${1:-} in --lab | --test) mode=${1#--}; shift ;; esac

# The active environment is used as it is where it meets the pins, else .venv.
python=$venv/bin/python
active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
[[ -x $active/bin/python ]] || active=
if [[ -n $active ]]; then candidate=$active/bin/python; else candidate=python3; fi
ready=1
if [[ $active != "$venv" ]]; then
  lacks=$("$candidate" "$runner/environment.py" 2>/dev/null) && ready=0 || ready=$?
  if [[ $ready == 3 && -n $active ]]; then
    say "Installing wpgd from $repo into the active environment $active"
    pip_install "$candidate" --no-deps -e .
    ready=0
  fi
fi
if [[ $ready == 0 ]]; then
  python=$candidate
else
  [[ -z $active || $active == "$venv" ]] || say "Not using the active environment $active: ${lacks:-it does not run}."
  is_fresh || set_up "$@"
fi

export JUPYTER_PREFER_ENV_PATH=1
# Idle threads spin briefly, then sleep. By default they spin on, and beside any other busy program training was seen
# to slow down 20-fold; always sleeping costs half the speed on an idle machine.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}
case $mode in
  run) exec "$python" -P -m runner "$@" ;;
  lab) cd -- "$repo/notebooks" && exec "$python" -m jupyterlab "$@" ;;
  test)
    cd -- "$repo"
    [[ -n ${NLTK_DATA:-} || ! -d ../shared/nltk_data ]] || export NLTK_DATA=$repo/../shared/nltk_data
    "$python" -m ruff check .
    exec "$python" -m pytest -q "$@"
    ;;
esac
