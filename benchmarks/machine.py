"""What a measurement was made on: the kind of machine, its settings, the versions of what was compared."""
import datetime
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path

import torch

from helpers.provenance import provenance

PEERS = ("torchattacks", "foolbox", "adversarial-robustness-toolbox", "adv-lib", "robustness", "POT")
SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "MALLOC_TRIM_THRESHOLD_")


def device():
    """The device that is measured: "cuda" if there is one, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def kind():
    """Name of the kind of machine, for the folder of its results: "nvidia-h200", or "cpu-2-cores"."""
    if device() == "cuda":
        return re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    return f"cpu-{_cores()}-cores"


def _cores():
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def describe():
    """Facts about this machine and these versions, JSON-able."""
    return {"kind": kind(), "processor": _processor(), "usable_cores": _cores(), **provenance(device()),
            "versions": {name: _version(name) for name in PEERS},
            "environment": {name: os.environ.get(name) for name in SETTINGS}}


def record(folder, name, seconds, scale, rounds):
    """Add a finished benchmark to `folder`/machine.json, beside those that were run before."""
    path = Path(folder) / "machine.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    now = describe()
    runs = before.get("benchmarks", {})
    runs[name] = {"seconds": round(seconds, 1), "scale": scale, "rounds": rounds, "commit": now["commit"],
                  "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")}
    path.write_text(json.dumps({**now, "benchmarks": runs}, indent=1) + "\n")


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor():
    """The model of the CPU where the system tells it."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor()
