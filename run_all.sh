#!/usr/bin/env bash
# Sets itself up where that is needed, then runs the notebooks, the tests or JupyterLab: ./run_all.sh --help
set -euo pipefail

repo=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P)
venv=$repo/.venv
log=$repo/.install.log
# PyTorch's own CPU wheels: those of PyPI bring 3 GB of CUDA along. The variable names a mirror.
cpu_wheels=${WPGD_CPU_WHEELS:-https://download.pytorch.org/whl/cpu}

say() { printf '%s\n' "$*" >&2; }
die() { say "run_all.sh: $*"; exit 1; }

usage() {
  cat <<'END'
Usage: ./run_all.sh [options]

Sets itself up (the first time), runs the notebooks in order, and writes results/<profile>/, whose report/index.html
shows it all. --cpu, --gpu, --lab and --test come first.

  --profile NAME|FILE  smoke, quick (default), reduced, paper, ... or the path of a YAML file
  --data-root DIR      folder that holds the data sets (see README.md: Profiles)
  --results DIR        where results are written (default: results/ in this repository)
  --only 01,05         run only these notebooks
  --from 03            run this notebook and those after it
  --keep-going         go on with the next notebook after one has failed
  --jobs N             run N notebooks at a time, which share the cores (default: 2, with a GPU 1)
  --cpu, --gpu         install PyTorch without or with CUDA (default: by what nvidia-smi finds, at the first start)
  --lab [ARGS]         open JupyterLab on notebook 01; ARGS go to it
  --test [ARGS]        run ruff and pytest; ARGS go to pytest
  --help               print this

Exit status: 0 everything ran; 1 a notebook, a test or the set-up failed; 2 bad option or profile; 130 Ctrl-C.
END
}

# What .venv was made for: this place, Python and PyTorch's kind on the first line, the pins on the second.
wanted_stamp() {
  printf '%s, %s, %s\n' "$repo" "$("$venv/bin/python" -V 2>&1)" "$kind"
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
pip_install() {
  (cd -- "$repo" && "$venv/bin/python" -m pip install --no-input -r requirements.txt -e . "$@" 2>&1) |
    tee -- "$log" | show
}
install() {
  # A host that does not answer would cost pip minutes; one that cannot give the file costs a second try.
  local ask='import signal, sys, urllib.request as web; signal.alarm(5); web.urlopen(sys.argv[1] + "/torch/", timeout=5)'
  if [[ $kind == cpu ]] && { "$venv/bin/python" -c "$ask" "$cpu_wheels"; } 2>/dev/null; then
    if pip_install --extra-index-url "$cpu_wheels"; then return; fi
    say "Once more, without $cpu_wheels"
  fi
  pip_install || die "pip could not install the packages: $(grep -m 1 ERROR -- "$log" || echo 'it stopped')." \
    "Whole log: $log"
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
  install
  wanted_stamp >"$venv/stamp.part"
  mv -- "$venv/stamp.part" "$venv/stamp"
  exec 9>&-
}

[[ ${1:-} != --help && ${1:-} != -h ]] || { usage; exit; }

# PyTorch's kind: as asked for, else that of .venv (a cluster's login node has no GPU), else by the machine.
kind=
while [[ ${1:-} == --cpu || ${1:-} == --gpu ]]; do kind=${1#--}; shift; done
if [[ -z $kind && -f $venv/stamp ]]; then IFS= read -r kind <"$venv/stamp" && kind=${kind##*, }; fi
if [[ $kind != cpu && $kind != gpu ]]; then
  kind=cpu
  if nvidia-smi -L >/dev/null 2>&1; then kind=gpu; fi
fi

mode=run
case ${1:-} in --lab | --test) mode=${1#--}; shift ;; esac

# The active environment is used where it has all that is needed, and never changed; else .venv.
python=$venv/bin/python
active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
[[ -x $active/bin/python ]] || active=
if [[ -n $active ]]; then candidate=$active/bin/python; else candidate=python3; fi
ready=1
if [[ $active != "$venv" ]]; then
  lacks=$("$candidate" "$repo/tools/environment.py" 2>/dev/null) && ready=0 || ready=$?
  [[ $ready != 3 ]] || lacks="it has not this wpgd ($candidate -m pip install --no-deps -e '$repo' would add it)"
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
# This checkout comes before another one that PYTHONPATH may name; the modules of a plan's `imports` are still found.
export PYTHONPATH=$repo:$repo/notebooks${PYTHONPATH:+:$PYTHONPATH}
case $mode in
  run) exec "$python" -P -m report --run "$@" ;;
  lab)
    cd -- "$repo"
    exec "$python" -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/01_toy_boundaries.ipynb "$@"
    ;;
  test)
    cd -- "$repo"
    [[ -n ${NLTK_DATA:-} || ! -d ../shared/nltk_data ]] || export NLTK_DATA=$repo/../shared/nltk_data
    "$python" -m ruff check .
    exec "$python" -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
    ;;
esac
