"""Where a number comes from: commit, device, versions, and a digest of the source that decides it."""
import ast
import datetime
import hashlib
import inspect
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

import torch

PACKAGE = Path(__file__).resolve().parent
# What decides the answers of a network under an attack, and the weights that a config trains.
SOURCES = {"evaluation": ("losses.py", "attacks.py", "autoattack.py", "frozen.py", "models.py", "evaluation.py"),
           "training": ("losses.py", "attacks.py", "frozen.py", "models.py", "data/dataset.py", "data/split.py",
                        "data/augment.py", "training/loop.py", "training/parts.py", "training/launch.py",
                        "training/compiling.py")}
# Digests of sources that give the same numbers, today's among them; "-" is what was before there were digests.
EQUIVALENT = PACKAGE / "equivalent_sources.txt"


class OtherSourceWarning(UserWarning):
    """A number was made by other code than today's, which may give another one."""


def provenance(device=None):
    """What to write beside a result: a dict of commit (with "+changes" where the code differs from it), device,
    processor, threads, cores, versions of torch and Python, date (UTC).
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
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != PACKAGE.parent:
            return "unknown"  # a download inside somebody else's repository
        changed = _git("status", "--porcelain", "--", "helpers", "study", "jobs", "notebooks")
        return _git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words):
    # A hook or a rebase exports GIT_DIR, which would name another repository.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.check_output(["git", *words], cwd=PACKAGE.parent, env=clean, text=True,
                                   stderr=subprocess.DEVNULL).strip()


def source_digest(kind, *parts):
    """A digest of the source that decides a number: its syntax, without docstrings and comments.

    It never names a run or an answer; it stands beside them, and `same_source` compares it when they are read. `kind`
    is "evaluation" or "training"; `parts` are objects that take part (an attack, a loss, a network), of which those not
    of this package are digested as well: 12 hexadecimal digits, and "+" with 12 more where there are such.
    """
    own = sorted({_source_of(part) for part in parts} - {""})
    return _digest_of_files(kind) + (f"+{hashlib.sha256(''.join(own).encode()).hexdigest()[:12]}" if own else "")


@cache
def _digest_of_files(kind):
    digest = hashlib.sha256()
    for name in SOURCES[kind]:
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                del node.body[0]
        # The same under all versions of Python: 3.12 dumps a field more, 3.13 none that is empty.
        digest.update(re.sub(r"\w+=\[\]|ctx=Load\(\)|, ", "", ast.dump(tree)).encode())
    return digest.hexdigest()[:12]


def _source_of(part):
    """The source of an object's class or function; "" for one of this package or of PyTorch, whose version is noted."""
    made = part if inspect.isroutine(part) or inspect.isclass(part) else type(part)
    if (getattr(made, "__module__", None) or "").split(".")[0] in ("helpers", "torch", "builtins", "functools"):
        return ""
    try:
        return inspect.getsource(made)
    except (OSError, TypeError):  # typed into a console
        return repr(made)


def same_source(digest, kind, *parts):
    """Whether what the source with this digest made is what today's source makes: the same, or listed as equivalent.

    `digest` is one of `source_digest`, several joined by commas (of a run that was resumed), or None: made before there
    were digests. `kind` and `parts` are as there.
    """
    today, _, own = source_digest(kind, *parts).partition("+")
    listed = {line.split()[1] for line in EQUIVALENT.read_text().splitlines() if line.startswith(kind)}
    alike = listed if today in listed else {today}
    return all(base in alike and theirs == own
               for base, _, theirs in (one.partition("+") for one in (digest or "-").split(",")))
