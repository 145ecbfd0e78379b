"""Where a number comes from: commit, device, versions, and a digest of the source that decides it."""
import ast
import datetime
import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent
# The files that decide what is answered under an attack, and what a config trains.
DECIDES = {"evaluation": ("losses.py", "attacks.py", "autoattack.py", "models.py", "evaluation.py"),
           "training": ("losses.py", "attacks.py", "models.py", "data/augment.py", "data/split.py", "training/loop.py")}
# Digests of sources that give the same numbers, a line each: what tests/test_golden.py proved when it was added.
EQUIVALENT = PACKAGE / "equivalent_sources.txt"


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
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, env=clean).stdout.strip()


@cache
def source_digest(kind):
    """A digest of the source that decides a number: its syntax trees without docstrings and comments.

    Parameters
    ----------
    kind : "evaluation" or "training"

    Returns
    -------
    str, 12 hexadecimal digits
    """
    return digest_of([PACKAGE / name for name in DECIDES[kind]])


def digest_of(paths):
    """The digest of some Python files, see `source_digest`."""
    digest = hashlib.sha256()
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                del body[0]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def same_source(digest, kind):
    """Whether a number made by the source with this digest is one that today's source makes.

    Parameters
    ----------
    digest : str or None; None stands for the time before there were digests, commit ad5b6f9
    kind : "evaluation" or "training"
    """
    if digest == source_digest(kind):
        return True
    known = {tuple(line.split()[:2]) for line in EQUIVALENT.read_text().splitlines() if not line.startswith("#")}
    return {(kind, digest or "ad5b6f9"), (kind, source_digest(kind))} <= known
