"""Tells run_all.sh whether the Python that runs this file is ready for the study.

Exit status 0: it is; 3: only wpgd is missing, editable, from this checkout; 1: it does not meet all pins of
requirements.txt, and the first unmet one is printed. It runs before anything is installed: standard library alone.
"""

import json
import re
import sys
from importlib.metadata import distribution, version
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def unmet_pin(requirements):
    """Return the first unmet ``name==version`` of a requirements file as a sentence, or None."""
    for name, wanted in re.findall(r"^([\w.-]+)==([^\s;#]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE):
        try:
            found = version(name)
        except ImportError:
            return f"it has no {name}"
        if found.split("+")[0] != wanted:  # 2.13.0+cpu is the 2.13.0 that the pin asks for
            return f"it has {name} {found}, not {wanted}"


def installed_from(repo):
    """Is wpgd installed editable from `repo`?"""
    try:
        origin = json.loads(distribution("wpgd").read_text("direct_url.json") or "{}")
    except ImportError:
        return False
    return origin.get("url") == repo.as_uri() and bool(origin.get("dir_info", {}).get("editable"))


if __name__ == "__main__":
    old = sys.version_info < (3, 11)
    missing = "it is Python " + sys.version.split()[0] if old else unmet_pin(REPO / "requirements.txt")
    print(missing or "")
    sys.exit(1 if missing else 0 if installed_from(REPO) else 3)
