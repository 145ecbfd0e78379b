"""What a run keeps, reports and returns, on notebooks of two or three cells."""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest
from mini_checkout import PARAMETERS, of_first, write_notebook, write_profile

from helpers.training import parts
from runner import execute, live
from runner.__main__ import command, main

WRITES = """
import csv, json, os, pathlib
folder = pathlib.Path(results) / profile
for name in ("figures/fig08.png", "figures/fig08.pdf", "tables/table9.csv"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
with open(folder / "claims.csv", "w", newline="") as file:
    write = csv.writer(file)
    write.writerow("id source statement statistic value low high verdict".split())
    long = "A statement " + "that goes on " * 40
    write.writerow(["toy.eps", "Sec. 3.4", long, "d", 1, 0, 2, "inconclusive"])
    write.writerow(["toy.cost", "Fig. 9", "Another", "d", 1, 0.5, 2, "holds"])
assert os.environ["WPGD_RUNS"] == os.path.join(os.environ["STARTED_IN"], "my runs"), "a relative path is the reader's"
assert os.environ["WPGD_DATA"] == os.path.join(os.environ["STARTED_IN"], "my data")
print(os.getcwd(), epochs, attack, os.path.isdir(os.path.dirname(os.environ["WPGD_STATUS"])))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a finished --keep-going run: repo, exit status, what it printed, hashes before."""
    repo = tmp_path_factory.mktemp("runner") / "a place {with} spaces"
    write_notebook(repo, "01_toy_boundaries", PARAMETERS, WRITES)
    write_notebook(
        repo, "02_fails", "epochs = 1", "print('before')", "\n# why\nraise ValueError('two\\nlines')", "1"
    )
    write_notebook(repo, "03_dies", "epochs = 1", "import os; os._exit(9)")
    write_profile(
        repo, "name: smoke\ndescription: tiny\ncommon: {epochs: 7}\n" + of_first("attack: {steps: 1}"), "smoke"
    )
    stale = repo / "results" / "smoke" / "figures" / "fig09.png"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier run")
    os.utime(stale, (1, 1))
    before = hashes(repo)
    places = {"WPGD_RUNS": "my runs", "WPGD_DATA": "my data", "STARTED_IN": os.getcwd()}
    with mock.patch.dict(os.environ, places), contextlib.redirect_stdout(io.StringIO()) as told:
        code = main(["--profile", "smoke", "--keep-going", "--data-root", str(repo.parent)], repo)
    return repo, code, told.getvalue(), before


def hashes(repo):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (repo / "notebooks").rglob("*.*")}


def test_sources_stay_as_they_were(ran):
    repo, _, _, before = ran
    assert hashes(repo) == before


def test_executed_copies_are_kept_also_on_failure(ran):
    repo, code, told, _ = ran
    copies = repo / "results" / "smoke" / "executed"
    assert code == 1 and sorted(path.name[:2] for path in copies.iterdir()) == ["01", "02", "03"]
    for name, where in (
        ("02_fails", r"cell 3, In \[4\]: # why"),
        ("03_dies", r"cell 2, In \[.\]: import os; os\._exit\(9\)"),
    ):
        assert re.search(f"^  {where}$", told, re.MULTILINE), told
        assert f"{copies / name}.ipynb" in told
        assert "papermill-error-cell" in (copies / f"{name}.ipynb").read_text(), "the failing cell is linked"
    assert "  ValueError: two lines\n" in told and "Kernel died" in told


def test_parameters_reach_the_notebook(ran):
    repo, _, _, _ = ran
    copy = json.loads((repo / "results" / "smoke" / "executed" / "01_toy_boundaries.ipynb").read_text())
    assert copy["metadata"]["papermill"]["parameters"]["results"] == "results", "relative to the checkout"
    printed = "".join(copy["cells"][-1]["outputs"][0]["text"])
    assert printed == "notebooks 7 {'steps': 1} True\n", (
        "works in notebooks/; the path of the checkout is stripped"
    )


def test_executed_copies_hold_no_path_of_this_machine(ran):
    repo, _, _, _ = ran
    for copy in (repo / "results" / "smoke" / "executed").iterdir():
        record = json.loads(copy.read_text())["metadata"]["papermill"]
        assert str(repo.parent) not in copy.read_text(), copy.name
        assert record["input_path"] == f"notebooks/{copy.name}"


def test_summary(ran):
    repo, _, told, _ = ran
    lines = told.splitlines()
    assert f"Figures: 1 written to {repo / 'results' / 'smoke' / 'figures'}" in lines, "not the one of an earlier run"
    assert any(line.startswith("Claims of the paper at this profile: 1 holds, 1 inconclusive; ") for line in lines)
    assert "FAILED: 02_fails, 03_dies" in told and str(repo / "results" / "smoke") in lines[-1]


def test_without_keep_going_the_rest_is_skipped(ran, tmp_path, capsys):
    repo = ran[0]
    with mock.patch.dict(os.environ):
        code = main(["--profile", "smoke", "--jobs", "1", "--from", "02", "--results", str(tmp_path / "out")], repo)
    told = capsys.readouterr().out
    assert code == 1 and re.search("03_dies .*  skipped\n", told) and "01_toy" not in told and "Claims" not in told
    assert [path.name for path in (tmp_path / "out" / "smoke" / "executed").iterdir()] == ["02_fails.ipynb"]


def test_what_a_profile_imports_is_known_in_the_kernels_too(tmp_path, capsys):
    repo, mine = tmp_path / "repo", tmp_path / "it's {mine}"
    write_notebook(repo, "01_toy_boundaries", PARAMETERS, "from helpers.training import parts\n"
                   "print([parts.find('network', name)(10, 1) for name in ('mine', 'other')])")
    mine.mkdir()
    for name in ("mine", "other"):
        (mine / f"{name}.py").write_text("from helpers import training\n"
                                         f"training.register('network', '{name}', lambda *sizes: '{name}')\n")
    profile = mine / "own.yaml"
    profile.write_text("imports: [mine.py, other.py]\nmodels: [{method: ce, notebooks: [1]}]\n"
                       "recipe: {data: mnist5k, network: mine, epochs: 1, lr: 0.1, val_size: 9}\n")
    with mock.patch.dict(os.environ), mock.patch.dict(parts.PARTS["network"]):
        assert main(["--profile", str(profile)], repo) == 0, capsys.readouterr()
        copy = json.loads((repo / "results" / "own" / "executed" / "01_toy_boundaries.ipynb").read_text())
        assert "".join(copy["cells"][-1]["outputs"][0]["text"]) == "['mine', 'other']\n"
        profile.write_text(profile.read_text().replace("other.py", "absent.py"))
        assert main(["--profile", str(profile)], repo) == 2 and "absent.py" in capsys.readouterr().err


DEAF = """
import os, subprocess, time
worker = subprocess.Popen(["sleep", "90"])
open(mark, "w").write(f"{os.getpid()} {worker.pid}\\n")
while True:
    try:
        time.sleep(90)
    except KeyboardInterrupt:
        pass
"""


@contextlib.contextmanager
def at_work(folder, code, orphans=False, **how):
    """A process that runs `code` on a checkout whose one notebook hears no interrupt; all it started must end, or, with
    `orphans`, the kernel alone."""
    mark = folder / "pid"
    write_notebook(folder, "01_long", "mark = ''", DEAF)
    write_profile(folder, f"notebooks: {{01_long: {{mark: {json.dumps(str(mark))}}}}}")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", f"import sys, pathlib; {code}", str(folder)], **pipes, **how)
    wait_until(lambda: mark.is_file() and mark.read_text().endswith("\n"))
    yield child
    for pid in mark.read_text().split()[:1 if orphans else 2]:
        wait_until(lambda pid=pid: ended(pid), seconds=5)
    if orphans:
        os.kill(int(mark.read_text().split()[1]), signal.SIGKILL)


def test_interrupt_ends_the_kernel_and_what_it_started(tmp_path):
    code = "from runner.__main__ import main; sys.exit(main([], pathlib.Path(sys.argv[1])))"
    # A shell without a terminal starts jobs in the background with SIGINT ignored, which children inherit.
    with at_work(tmp_path, code, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as child:
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=5)
        assert child.returncode == 130 and b"Interrupted" in out and b"Traceback" not in err


def test_a_reader_who_leaves_ends_the_kernel_without_a_traceback(tmp_path):
    code = ("from runner import live; from runner.__main__ import command, main; live.LOG_EVERY = 0.1;"
            "command(main, [], pathlib.Path(sys.argv[1]))")
    with at_work(tmp_path, code) as child:
        child.stdout.close()
        assert child.wait(timeout=10) == 141 and b"" == child.stderr.read()


@pytest.mark.parametrize("what", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_however_the_runner_ends_no_kernel_is_left(tmp_path, what):
    code = "from runner.__main__ import command, main; command(main, [], pathlib.Path(sys.argv[1]))"
    # Tests that were started under nohup hand on that SIGHUP is ignored.
    with at_work(tmp_path, code, orphans=what == "SIGKILL",
                 preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)) as child:
        child.send_signal(getattr(signal, what))
        if what == "SIGKILL":
            assert child.wait(timeout=10) == -signal.SIGKILL
        else:
            assert child.wait(timeout=10) == 130 and b"Traceback" not in child.stderr.read()


def test_under_nohup_a_closed_terminal_ends_nothing(monkeypatch):
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with pytest.raises(SystemExit):
            command(lambda: 0)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def test_a_full_disk_is_a_sentence_with_the_name_of_the_place(tmp_path, capsys, monkeypatch):
    """Papermill writes the copy after each cell, and breaks off in the middle of it."""
    write_notebook(tmp_path, "01_x", "a = 1", "print(a)")
    write_profile(tmp_path, "description: tiny")

    def write(self, text, path):
        open(path, "w").write(text[:50])
        raise OSError(errno.ENOSPC, "No space left on device")

    with mock.patch.dict(os.environ), mock.patch("papermill.iorw.LocalHandler.write", write):
        assert main([], tmp_path) == 1
    told = capsys.readouterr().out
    assert f"No space left on device: is there room and permission to write {tmp_path}" in told
    assert "JSON" not in told and "Traceback" not in told
    monkeypatch.setattr(execute, "write_atomic", mock.Mock(side_effect=OSError(errno.ENOSPC, "x.ipynb is too large")))
    with mock.patch.dict(os.environ):
        assert main([], tmp_path) == 1
    assert "run_all.sh: [Errno 28] x.ipynb is too large" in capsys.readouterr().err


def test_a_terminal_that_lacks_letters_loses_no_result(tmp_path):
    write_notebook(tmp_path, "01_x", "a = 1", "print('größer ε')\nraise ValueError('größer ε …')")
    write_profile(tmp_path, "description: größer als ε")
    code = ("import sys, pathlib; from runner.__main__ import command, main;"
            "command(main, [], pathlib.Path(sys.argv[1]))")
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, env=env)
    assert done.returncode == 1 and b"ValueError: gr??er ? ?" in done.stdout and b"Error" not in done.stderr
    copy = (tmp_path / "results/quick/executed/01_x.ipynb").read_text(encoding="utf-8")
    assert "größer ε" in copy


def ended(pid):
    """Is a process gone, or dead and only not yet reaped?"""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_live_line_of_a_log_and_of_a_terminal(monkeypatch):
    log = io.StringIO()
    line = live.Line(log)
    line.tell("01_x cell 1/2", "02_y cell 3/4")
    line.tell("01_x cell 1/2 too early for a log")
    line.told -= live.LOG_EVERY
    line.tell("02_y cell 4/4")
    line.tell()
    line.end("02_y done")
    assert log.getvalue().splitlines() == ["01_x cell 1/2", "02_y cell 3/4", "02_y cell 4/4", "02_y done"]
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setenv("COLUMNS", "25")
    line = live.Line(terminal)
    line.tell("01_x cell 1/2, a text that does not fit")
    line.tell("01_x cell 1/2", "02_y cell 3/4")
    assert terminal.getvalue().split("\r\033[K")[1:] == ["01_x cell 1/2, a text t", "01_x cell 1 02_y cell 3"]
    line.end("01_x done")
    assert terminal.getvalue().endswith("\r\033[K01_x done\n")


MEETS = """
import pathlib, time
mine, other = (pathlib.Path(results) / name for name in (epochs, lr))
mine.write_text("")
end = time.monotonic() + 20
while not other.exists():
    assert time.monotonic() < end, "the other notebook is not at work"
    time.sleep(0.05)
"""


def test_two_notebooks_work_at_a_time_after_the_first_the_longest(tmp_path, capsys, monkeypatch):
    for name, *words in (("01_x", "a", "b"), ("03_y", "b", "a")):
        write_notebook(tmp_path, name, f"epochs = '{words[0]}'\nlr = '{words[1]}'\nresults = ''", MEETS)
    write_notebook(tmp_path, "02_short", "epochs = 1", "1")
    write_profile(tmp_path, "description: tiny")
    for name, seconds in (("02_short", 1.5), ("03_y", 2)):
        metrics = tmp_path / f"results/quick/metrics/{name}.json"
        metrics.parent.mkdir(parents=True, exist_ok=True)
        metrics.write_text(json.dumps({"provenance": {"seconds": seconds}}))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert main(["--jobs", "2"], tmp_path) == 0
    told = capsys.readouterr().out
    assert all(re.search(rf"{name} .*done", told) for name in ("01_x", "02_short", "03_y"))


def test_training_progress(tmp_path):
    status = tmp_path / "status.json"
    assert live.training_progress(status, 0) == ""
    status.write_text('{"run": "pgd-8", "epoch": 2, "epochs": 5, "text": "NE 3.1"}')
    assert live.training_progress(status, 0) == "pgd-8 epoch 2/5 NE 3.1"
    assert live.training_progress(status, time.time() + 5) == "", "what an earlier cell trained is no news"
    status.write_text('{"run": "pg')
    assert live.training_progress(status, 0) == ""


def test_strip_paths_leaves_other_text(tmp_path):
    copy = write_notebook(tmp_path, "01_x", "a = 1", f"open('{tmp_path}/x'); '/elsewhere{tmp_path}/x'")
    execute.strip_paths(copy, tmp_path)
    assert json.loads(copy.read_text())["cells"][1]["source"] == f"open('x'); '/elsewhere{tmp_path}/x'"


def test_injected_parameters_show_a_model_a_line_and_no_place_outside_of_the_checkout(tmp_path):
    copy = write_notebook(tmp_path, "01_x", "a = 1", "")
    notebook = json.loads(copy.read_text())
    lines = ["results = '/else/where'\n", f"store = '{tmp_path}/runs'\n", "models = [{'p': 1.0}, {'p': 2.5}]"]
    notebook["cells"][1].update(metadata={"tags": ["injected-parameters"]}, source=lines)
    copy.write_text(json.dumps(notebook))
    execute.strip_paths(copy, tmp_path)
    shown = json.loads(copy.read_text())["cells"][1]["source"]
    assert shown == ["store = 'runs'\n", "models = [{'p': 1.0},\n", "    {'p': 2.5}]"]
