"""The commit is that of this checkout, whatever surrounds it or is exported."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import provenance

ROOT = Path(provenance.__file__).resolve().parents[1]


def git(folder, *words):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], env=clean,
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


def said(path, **env):
    code = "from helpers.provenance import provenance; print(provenance()['commit'])"
    env = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository of its own that holds helpers and notebooks."""
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    return tmp_path


def test_changes_and_untracked_modules_are_told(checkout):
    commit = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert said(checkout) == commit
    module = checkout / "helpers" / "own_loss.py"
    module.write_text("")
    assert said(checkout) == f"{commit}+changes"
    module.unlink()
    (checkout / "helpers" / "models.py").write_text((checkout / "helpers" / "models.py").read_text() + "# mine\n")
    assert said(checkout) == f"{commit}+changes"


def test_no_other_repository_gives_its_commit(checkout, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    git(outer, "init", "-q")
    git(outer, "commit", "-q", "--allow-empty", "-m", "mine")
    shutil.copytree(checkout / "helpers", outer / "wpgd-main" / "helpers")
    assert said(outer / "wpgd-main") == "unknown"
    assert said(checkout, GIT_DIR=str(outer / ".git")) == git(checkout, "rev-parse", "--short=12", "HEAD")
