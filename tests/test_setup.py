"""run_all.sh sets up once and only where it must. The Pythons here are stand-ins that note how they are called."""

import functools
import http.server
import importlib
import inspect
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from runner import cli

REPO = Path(__file__).resolve().parents[1]
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
TOOLS = "bash cat cp dirname env flock grep head mkdir mv readlink rm sha256sum sleep tee".split()
STAND_IN = """#!/usr/bin/env bash
printf '%s %s [%s]\\n' "$0" "$*" "${{NLTK_DATA:-}}" >>'{calls}'
case "$*" in
  *_base_executable*) {base} ;;
  -V) echo "Python ${{FAKE_VERSION:-3.11.7}}" ;;
  *"-m venv"*) rm -rf -- "${{@: -1}}"; mkdir -p -- "${{@: -1}}/bin"; cp -- "$0" "${{@: -1}}/bin/python" ;;
  *"-m pip"*) {pip} ;;
  *"-m report --run"* | *"-m ruff"* | *"-m pytest"* | *"-m jupyterlab"*) ;;
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
        (self.repo / "tools").mkdir()
        shutil.copy(REPO / "tools" / "environment.py", self.repo / "tools")
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
    told = re.findall(r"--[a-z-]+", " ".join(re.findall(r"^  (--.+?)  ", done.stdout, re.MULTILINE)))
    known = [*cli.OPTIONS, "--cpu", "--gpu", "--lab", "--test", "--help"]
    assert done.returncode == 0 and sorted(told) == sorted(known)
    assert not checkout.calls("")


def test_active_environment_that_meets_the_pins_is_used_as_it_is(checkout):
    env = checkout.activate()
    checkout.install_wpgd(checkout.repo)
    done = checkout.start("--only", "1", "--results", "a b")
    assert done.returncode == 0, done.stderr
    assert not checkout.calls("-m pip") and not (checkout.repo / ".venv").exists()
    assert checkout.calls("-m report") == [f"{env}/bin/python -P -m report --run --only 1 --results a b []"]


def test_python_on_the_path_that_meets_the_pins_is_used_as_it_is(checkout):
    checkout.install_wpgd(checkout.repo)
    checkout.env["VIRTUAL_ENV"] = str(checkout.repo / "gone")
    assert checkout.start().returncode == 0
    assert not checkout.calls("-m pip") and len(checkout.calls("bin/python3 -P -m report --run")) == 1


def test_an_exported_pythonpath_does_not_win_over_the_checkout(checkout):
    other, env = checkout.repo.parent / "other", checkout.activate()
    for package in ("report", "own"):
        (other / package).mkdir(parents=True)
        (other / package / "__init__.py").touch()
        (other / package / "__main__.py").write_text("print(__file__)")
    (checkout.repo / "notebooks" / "report").mkdir()
    (checkout.repo / "notebooks" / "report" / "__init__.py").touch()
    (checkout.repo / "notebooks" / "report" / "__main__.py").write_text("import own\nprint(__file__, own.__file__)")
    checkout.install_wpgd(checkout.repo)
    checkout.env["PYTHONPATH"] = f"{other}:{checkout.site}"
    (env / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    done = checkout.start()
    assert done.stdout.split("\n")[0].startswith(str(checkout.repo)), done.stderr
    assert str(other / "own") in done.stdout  # a reader's own modules are found


def test_active_environment_is_never_changed(checkout):
    env = checkout.activate()
    checkout.install_wpgd(REPO)
    done = checkout.start()
    assert done.returncode == 0 and not checkout.calls(f"{env}/bin/python -m pip")
    assert f"{env}/bin/python -m pip install --no-deps -e '{checkout.repo}' would add it" in done.stderr
    assert checkout.calls(".venv/bin/python -m pip") and checkout.calls(".venv/bin/python -P -m report --run")


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
        assert checkout.calls(f"{checkout.repo}/.venv/bin/python -P -m report --run")


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
    assert "no network" in log.read_text() and not checkout.calls("-m report")
    checkout.stand_in(checkout.bin / "python3")
    assert checkout.start().returncode == 0
    assert len(checkout.calls("-m venv")) == 1, "what half an installation left is cleared"


BACKEND = """
import pathlib, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    wheel(folder, "wpgd", "0.1")
    return "wpgd-0.1-py3-none-any.whl"
"""


def wheel(folder, name, version):
    """A wheel without content, as an index serves it."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        about = f"{name}-{version}.dist-info"
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")


@pytest.fixture
def indices(checkout, tmp_path):
    """PyPI, with a torch that brings CUDA, and PyTorch's index of CPU wheels, served from a folder; what pip chose."""
    wheel(tmp_path / "served" / "pypi" / "torch", "torch", "2.13.0")
    wheel(tmp_path / "served" / "cpu" / "torch", "torch", "2.13.0+cpu")
    (checkout.repo / "requirements.txt").write_text("torch==2.13.0\n")
    backend = BACKEND + inspect.getsource(wheel).replace("folder.mkdir", "folder = pathlib.Path(folder); folder.mkdir")
    (checkout.repo / "backend.py").write_text(backend)
    (checkout.repo / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
    handler = functools.partial(QuietHandler, directory=tmp_path / "served")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, report = f"http://127.0.0.1:{server.server_port}", tmp_path / "chosen.json"
    checkout.stand_in(checkout.bin / "python3", pip=f"exec '{sys.executable}' \"$@\" --dry-run --ignore-installed "
                                                    f"--report '{report}'")
    checkout.env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{address}/pypi", "HOME": str(tmp_path),
                     "PIP_DISABLE_PIP_VERSION_CHECK": "1", "WPGD_CPU_WHEELS": f"{address}/cpu"}

    def chosen():
        found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
        return {about["name"]: about["version"] for about in found}

    yield chosen
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def add_gpu(checkout, status=0):
    tool = checkout.bin / "nvidia-smi"
    tool.write_text(f"#!/usr/bin/env bash\nexit {status}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(("machine", "options", "version"), [
    ("no GPU", [], "2.13.0+cpu"), ("GPU", [], "2.13.0"), ("broken driver", [], "2.13.0+cpu"),
    ("GPU", ["--cpu"], "2.13.0+cpu"), ("no GPU", ["--gpu"], "2.13.0")])
def test_pytorch_comes_without_cuda_where_there_is_no_gpu(checkout, indices, machine, options, version):
    if machine != "no GPU":
        add_gpu(checkout, status=int(machine == "broken driver"))
    done = checkout.start(*options, "--only", "1")
    assert done.returncode == 0, done.stderr + (checkout.repo / ".install.log").read_text()
    assert indices() == {"torch": version, "wpgd": "0.1"}
    assert checkout.calls("-P -m report --run --only 1 []")


@pytest.mark.parametrize("trouble", ["refused", "silent", "no file"])
def test_pypi_is_used_at_once_where_the_cpu_wheels_cannot_be_had(checkout, indices, trouble, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        if trouble == "no file":
            next((tmp_path / "served" / "cpu" / "torch").iterdir()).write_text("no wheel")
        else:
            port = silent.getsockname()[1] if trouble == "silent" else 9
            checkout.env["WPGD_CPU_WHEELS"] = f"http://127.0.0.1:{port}/cpu"
        began = time.monotonic()
        done = checkout.start()
        assert done.returncode == 0, done.stderr + (checkout.repo / ".install.log").read_text()
    assert indices()["torch"] == "2.13.0" and time.monotonic() - began < 30
    assert "Alarm clock" not in done.stderr and ("Once more" in done.stderr) == (trouble == "no file")


def test_kind_of_pytorch_is_kept_until_another_is_asked_for(checkout):
    assert checkout.start("--cpu").returncode == 0
    add_gpu(checkout)
    for options, installed in (([], 0), (["--cpu"], 0), (["--gpu"], 1), ([], 0), (["--gpu", "--test"], 0)):
        assert checkout.start(*options).returncode == 0
        assert len(checkout.calls("-m venv")) == len(checkout.calls("-m pip")) == installed, options


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
    assert not list((checkout.repo / ".venv").glob("stamp*")) and not checkout.calls("-m report")


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
    spread = "-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder"
    assert checkout.calls("-m ruff") + checkout.calls("-m pytest") == [
        f"{python} -m ruff check . {data}",
        f"{python} -m pytest -q {spread} {data}",
    ]
    checkout.env["NLTK_DATA"] = "/mine"
    checkout.start("--test", "-k", "two words")
    assert checkout.calls(f"-m pytest -q {spread} -k two words [/mine]")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
@pytest.mark.parametrize("status", [0, 1])
def test_ci_installs_browser_and_cluster_where_it_can_and_runs_the_tests_anyway(checkout, status):
    tool = checkout.bin / "apt-get"
    tool.write_text(f"#!/usr/bin/env bash\necho \"apt-get $*\" >>'{checkout.calls_file}'; exit {status}\n")
    tool.chmod(0o755)
    done = checkout.start(script=".ci/run")
    assert done.returncode == 0 and checkout.calls("-m pytest -q")
    # Chromium and Slurm, each updated and installed.
    assert len(checkout.calls("apt-get")) == 2 * (2 - status) and done.stderr.count("skipped") == 2 * bool(status)


def test_lab_starts_jupyterlab(checkout):
    assert checkout.start("--lab", "--no-browser").returncode == 0
    page = "--LabApp.default_url=/lab/tree/notebooks/01_toy_boundaries.ipynb"
    assert checkout.calls(f".venv/bin/python -m jupyterlab {page} --no-browser")


def test_unmet_pin(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(REPO / "tools")
    environment = importlib.import_module("environment")
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
    conda = {name: yaml.safe_load((REPO / name).read_text()) for name in ("environment.yml", "environment-gpu.yml")}
    for name, wheels in (("environment.yml", [f"--extra-index-url {CPU_WHEELS}"]), ("environment-gpu.yml", [])):
        assert conda[name]["name"] == "wpgd"
        assert conda[name]["dependencies"][-1] == {"pip": [*wheels, "-r requirements.txt", "-e ."]}
    assert f":-{CPU_WHEELS}}}" in (REPO / "run_all.sh").read_text()


def test_package_data_covers_every_file():
    setuptools = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {pattern.removeprefix("*") for pattern in setuptools["package-data"]["*"]} | {".py"}
    folders = [REPO / name for name in ("helpers", "study", "jobs", "notebooks/runner", "notebooks/report")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files = [path for path in files if not {"__pycache__", "templates"} & set(path.parts)]
    assert {path.suffix for path in files} <= packed and "templates/*" in packed
    for folder in {path.parent for path in files}:
        assert (folder / "__init__.py").is_file(), f"{folder} would not be packed"


def test_nothing_touches_sys_path():
    word = "sys" + ".path"
    sources = [
        *REPO.glob("helpers/**/*.py"),
        *REPO.glob("study/*.py"),
        *REPO.glob("jobs/*.py"),
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
