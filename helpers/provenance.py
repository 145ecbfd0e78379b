"""Where a number comes from: commit, device, versions."""
import datetime
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import torch


def provenance(device=None):
    """What to write beside a result.

    Returns
    -------
    dict : commit (with "+changes" where tracked code differs from it), device, threads, torch, python, date (UTC)
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"commit": _commit(), "device": f"{device.type} ({kind})", "threads": torch.get_num_threads(),
            "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version(),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")}


@lru_cache
def _commit():
    """Commit of the code that is running; the code counts, not the results it writes."""
    root = Path(__file__).resolve().parents[1]
    try:
        revision = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "helpers", "notebooks")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return revision + ("+changes" if changed else "")


def _git(root, *words):
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()
