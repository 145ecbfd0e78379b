"""Tells run_all.sh whether the Python that runs this file is ready for the study.

Exit status 0: it meets every pin of requirements.txt and has wpgd installed, editable, from this checkout;
3: only wpgd is missing; 1: a pin is not met, and the first such pin is printed. This runs before anything is
installed, so it uses the standard library alone and no syntax that an old Python cannot read.
"""

import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

REPO = Path(__file__).resolve().parents[2]


def unmet_pin(requirements):
    """Return the first unmet ``name==version`` of a requirements file as a sentence, or None."""
    from importlib.metadata import PackageNotFoundError, version

    for line in requirements.read_text(encoding="utf-8").splitlines():
        pin = re.match(r"([\w.-]+)==([^\s;#]+)", line)
        if not pin:
            continue
        name, wanted = pin.groups()
        try:
            found = version(name)
        except PackageNotFoundError:
            return f"it has no {name}"
        if found.split("+")[0] != wanted:  # 2.13.0+cpu is the 2.13.0 that the pin asks for
            return f"it has {name} {found}, not {wanted}"
    return None


def installed_from(repo):
    """Is wpgd installed editable from `repo`?"""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = json.loads(distribution("wpgd").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return False
    folder = Path(unquote(urlparse(origin.get("url", "")).path))
    return bool(origin.get("dir_info", {}).get("editable")) and folder.resolve() == repo


def main():
    """Print what is missing, if anything is, and return the exit status."""
    if sys.version_info < (3, 11):  # noqa: UP036 - any Python may be asked
        print(f"it is Python {sys.version_info[0]}.{sys.version_info[1]}")
        return 1
    missing = unmet_pin(REPO / "requirements.txt")
    if missing:
        print(missing)
        return 1
    return 0 if installed_from(REPO) else 3


if __name__ == "__main__":
    sys.exit(main())
