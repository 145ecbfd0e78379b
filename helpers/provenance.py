"""Where a number comes from: commit, device, versions."""
import datetime
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent


def provenance(device=None):
    """What to write beside a result.

    Returns
    -------
    dict : commit (with "+changes" where the code differs from it), device, processor, threads, cores, torch, python,
        date (UTC)
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"commit": commit(), "device": f"{device.type} ({kind})", "cpu": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(), "cores": os.cpu_count(), "torch": torch.__version__,
            "python": platform.python_version(),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")}


@cache
def commit():
    """Commit of this checkout when it was first asked for, "unknown" for a copy that is no checkout of its own.

    Whatever starts a computation asks at its start: a commit made while it runs is not the one that ran.
    """
    root = PACKAGE.parent
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root:
            return "unknown"  # a download inside somebody else's repository
        changed = _git(root, "status", "--porcelain", "--", "helpers", "notebooks")
        return _git(root, "rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root, *words):
    # A hook or a rebase exports GIT_DIR, which would name another repository.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, env=clean)
    return done.stdout.strip()
