"""run_all.sh sets up once and only where it must. The Pythons here are stand-ins that note how they are called."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from runner import cli, environment

REPO = Path(__file__).resolve().parents[1]
TOOLS = "bash cat cp dirname env flock grep head mkdir mv readlink rm sha256sum sleep tee".split()
STAND_IN = """#!/usr/bin/env bash
printf '%s %s [%s]\\n' "$0" "$*" "${{NLTK_DATA:-}}" >>'{calls}'
case "$*" in
  *_base_executable*) {base} ;;
  -V) echo "Python ${{FAKE_VERSION:-3.11.7}}" ;;
  *"-m venv"*) rm -rf -- "${{@: -1}}"; mkdir -p -- "${{@: -1}}/bin"; cp -- "$0" "${{@: -1}}/bin/python" ;;
  *"-m pip"*) {pip} ;;
  *"-m runner" | *"-m runner "* | *"-m ruff"* | *"-m pytest"* | *"-m jupyterlab"*) ;;
  *) exec '{real}' "$@" ;;
esac
"""


class Checkout:
    """A copy of what sets up, in a path with spaces, with stand-ins for Python."""

    def __init__(self, folder):
        self.repo, self.site, self.calls_file = folder / "a check out", folder / "site", folder / "calls"
        self.bin = folder / "bin"
        runner = self.repo / "notebooks" / "runner"
        shutil.copytree(REPO / "notebooks" / "runner", runner, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(REPO / ".ci", self.repo / ".ci")
        (self.repo / "helpers").mkdir()
        for name in ("__init__.py", "profiles.py"):  # what the options need
            shutil.copy(REPO / "helpers" / name, self.repo / "helpers")
        for name in ("run_all.sh", "pyproject.toml"):
            shutil.copy(REPO / name, self.repo)
        (self.repo / "requirements.txt").write_text(f"# pins\nPyYAML=={version('PyYAML')}\n")
        (self.repo / "notebooks" / "01_x.ipynb").write_text('{"cells": []}')
        (self.repo / "notebooks" / "profiles").mkdir()
        (self.repo / "notebooks" / "profiles" / "quick.yaml").write_text("name: quick\n")
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.stand_in(self.bin / "python3")
        self.env = {"PATH": str(self.bin), "PYTHONPATH": str(self.site)}

    def stand_in(self, path, pip="exit 0", base='echo "$0"'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            STAND_IN.format(calls=self.calls_file, pip=pip, base=base, real=sys.executable), encoding="utf-8"
        )
        path.chmod(0o755)

    def install_wpgd(self, origin):
        info = self.site / "wpgd-0.1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wpgd\nVersion: 0.1.0\n")
        (info / "direct_url.json").write_text(
            json.dumps({"url": origin.as_uri(), "dir_info": {"editable": True}})
        )

    def activate(self, **stand_in):
        """Make an active environment and return its folder."""
        env = self.repo.parent / "active"
        self.stand_in(env / "bin" / "python", **stand_in)
        self.env["VIRTUAL_ENV"] = str(env)
        return env

    def start(self, *argv, script="run_all.sh"):
        """Start from a foreign working directory; return the finished process."""
        self.calls_file.write_text("")
        command = ["bash", str(self.repo / script), *argv]
        return subprocess.run(command, env=self.env, cwd="/", capture_output=True, text=True, timeout=60)

    def calls(self, word):
        return [line for line in self.calls_file.read_text().splitlines() if word in line]


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_help_needs_no_python(checkout):
    done = checkout.start("--help")
    told = re.findall(r"^  (--[a-z-]+)", done.stdout, re.MULTILINE)
    assert done.returncode == 0 and sorted(told) == sorted([*cli.OPTIONS, "--lab", "--test", "--help"])
    assert not checkout.calls("")


def test_active_environment_that_meets_the_pins_is_used_as_it_is(checkout):
    env = checkout.activate()
    checkout.install_wpgd(checkout.repo)
    done = checkout.start("--only", "1", "--results", "a b")
    assert done.returncode == 0, done.stderr
    assert not checkout.calls("-m pip") and not (checkout.repo / ".venv").exists()
    assert checkout.calls("-m runner ") == [f"{env}/bin/python -P -m runner --only 1 --results a b []"]


def test_python_on_the_path_that_meets_the_pins_is_used_as_it_is(checkout):
    checkout.install_wpgd(checkout.repo)
    checkout.env["VIRTUAL_ENV"] = str(checkout.repo / "gone")
    assert checkout.start().returncode == 0
    assert not checkout.calls("-m pip") and len(checkout.calls("bin/python3 -P -m runner ")) == 1


def test_active_environment_with_another_checkout_gets_this_one(checkout):
    env = checkout.activate()
    checkout.install_wpgd(REPO)
    done = checkout.start()
    assert done.returncode == 0 and str(checkout.repo) in done.stderr
    assert checkout.calls("-m pip") == [f"{env}/bin/python -m pip install --no-input --no-deps -e . []"]
    assert checkout.calls(f"{env}/bin/python -P -m runner ")


def test_python_on_the_path_without_wpgd_is_left_alone(checkout):
    checkout.install_wpgd(REPO)
    assert checkout.start().returncode == 0
    assert len(checkout.calls("-m pip")) == len(checkout.calls(".venv/bin/python -m pip")) == 1


def test_second_start_installs_nothing(checkout):
    checkout.activate()
    (checkout.repo / "requirements.txt").write_text("PyYAML==0.1\n")
    done = checkout.start()
    assert done.returncode == 0 and f"it has PyYAML {version('PyYAML')}, not 0.1" in done.stderr
    assert len(checkout.calls("-m venv")) == 1
    pip = f"{checkout.repo}/.venv/bin/python -m pip install --no-input -r requirements.txt -e . []"
    assert checkout.calls("-m pip") == [pip]
    checkout.env["VIRTUAL_ENV"] = str(checkout.repo / ".venv")
    for _ in range(2):
        done = checkout.start()
        assert done.returncode == 0 and not checkout.calls("-m pip") and not checkout.calls("-m venv")
        assert checkout.calls(f"{checkout.repo}/.venv/bin/python -P -m runner ")


def test_changed_pins_are_installed_into_the_venv_that_is_there(checkout):
    checkout.start()
    (checkout.repo / "requirements.txt").write_text("PyYAML==0.1\n")
    assert checkout.start().returncode == 0
    assert len(checkout.calls("-m pip")) == 1 and not checkout.calls("-m venv")


@pytest.mark.parametrize("change", ["moved", "other Python"])
def test_venv_of_another_place_or_python_is_made_anew(checkout, change):
    checkout.start()
    if change == "moved":
        checkout.repo = checkout.repo.rename(checkout.repo.with_name("moved here"))
    else:
        checkout.env["FAKE_VERSION"] = "3.13.0"
    assert checkout.start().returncode == 0
    assert len(checkout.calls("-m venv")) == 1 and len(checkout.calls("-m pip")) == 1
    checkout.start()
    assert not checkout.calls("-m pip")


def test_failing_pip_is_told_and_tried_again(checkout):
    checkout.stand_in(checkout.bin / "python3", pip="echo 'ERROR: no network'; exit 1")
    done = checkout.start()
    log = checkout.repo / ".install.log"
    assert done.returncode == 1 and "ERROR: no network" in done.stderr and str(log) in done.stderr
    assert "no network" in log.read_text() and not checkout.calls("-m runner ")
    checkout.stand_in(checkout.bin / "python3")
    assert checkout.start().returncode == 0
    assert len(checkout.calls("-m venv")) == 1, "what half an installation left is cleared"


def test_interrupted_installation_leaves_no_stamp(checkout):
    checkout.stand_in(checkout.bin / "python3", pip="sleep 60")
    command = ["bash", str(checkout.repo / "run_all.sh")]
    checkout.calls_file.write_text("")
    child = subprocess.Popen(command, env=checkout.env, start_new_session=True, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not checkout.calls("-m pip"):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait(timeout=20) != 0
    assert not list((checkout.repo / ".venv").glob("stamp*")) and not checkout.calls("-m runner ")


def test_no_python_is_one_clear_error(checkout):
    checkout.stand_in(checkout.bin / "python3", base="exit 1")
    done = checkout.start()
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Python 3.11 or newer" in done.stderr


def test_misspelt_option_is_told_before_the_installation(checkout):
    done = checkout.start("--profle", "quick")
    assert done.returncode == 2 and "Did you mean '--profile'" in done.stderr
    assert not checkout.calls("-m venv") and not checkout.calls("-m pip")


def test_options_need_the_standard_library_alone():
    env = {**os.environ, "PYTHONPATH": f"{REPO}:{REPO / 'notebooks'}"}
    for words, status in ((["--profile", "smoke"], 0), (["--profile", "smok"], 2)):
        command = [sys.executable, "-S", "-P", "-m", "runner.cli", *words]  # -S: without the installed packages
        assert subprocess.run(command, env=env, capture_output=True).returncode == status


def test_test_command_runs_ruff_and_pytest_with_wordnet(checkout):
    wordnet = checkout.repo.parent / "shared" / "nltk_data"
    wordnet.mkdir(parents=True)
    assert checkout.start(script=".ci/run").returncode == 0
    data = f"[{checkout.repo}/../shared/nltk_data]"
    python = f"{checkout.repo}/.venv/bin/python"
    assert checkout.calls("-m ruff") + checkout.calls("-m pytest") == [
        f"{python} -m ruff check . {data}",
        f"{python} -m pytest -q {data}",
    ]
    checkout.env["NLTK_DATA"] = "/mine"
    checkout.start("--test", "-k", "two words")
    assert checkout.calls("-m pytest -q -k two words [/mine]")


def test_lab_starts_jupyterlab(checkout):
    assert checkout.start("--lab", "--no-browser").returncode == 0
    assert checkout.calls(".venv/bin/python -m jupyterlab --no-browser")


def test_unmet_pin(tmp_path, monkeypatch):
    pins = tmp_path / "requirements.txt"
    pins.write_text("# a comment\nno-such-package==1.0 # why\n")
    assert environment.unmet_pin(pins) == "it has no no-such-package"
    monkeypatch.setattr(environment, "version", lambda name: "2.13.0+cpu")
    assert environment.unmet_pin(pins) == "it has no-such-package 2.13.0+cpu, not 1.0"
    pins.write_text("torch==2.13.0\n")
    assert environment.unmet_pin(pins) is None


def test_there_is_one_list_of_pins():
    lines = (REPO / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in pins)
    names = {pin.split("==")[0] for pin in pins}
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) <= names
    conda = yaml.safe_load((REPO / "environment.yml").read_text())
    assert conda["name"] == "wpgd" and conda["dependencies"][-1] == {"pip": ["-r requirements.txt", "-e ."]}


def test_package_data_covers_every_file_of_helpers():
    setuptools = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {pattern.removeprefix("*") for pattern in setuptools["package-data"]["*"]} | {".py"}
    folders = [REPO / "helpers", REPO / "notebooks" / "runner"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if "__pycache__" not in path.parts} <= packed
    for folder in {path.parent for path in files if "__pycache__" not in path.parts}:
        assert (folder / "__init__.py").is_file(), f"{folder} would not be packed"


def test_nothing_touches_sys_path():
    word = "sys" + ".path"
    sources = [
        *REPO.glob("helpers/**/*.py"),
        *REPO.glob("notebooks/**/*.py"),
        *REPO.glob("notebooks/*.ipynb"),
    ]
    found = [
        path for path in [*sources, *REPO.glob("tests/*.py")] if word in path.read_text(encoding="utf-8")
    ]
    assert not found


def test_scripts_are_executable_and_parse():
    for script in ("run_all.sh", ".ci/run"):
        path = REPO / script
        assert os.access(path, os.X_OK) and "set -euo pipefail" in path.read_text()
        assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
