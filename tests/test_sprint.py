"""A sprint at the size of a test: whole runs within the minutes, brought home in few files, added to by later calls."""
import hashlib
import tarfile
import types

import pytest

from helpers import answers
from helpers.training import load_model
from helpers.training import store as runs
from helpers.training.plan import read_plan
from jobs import __main__ as command
from jobs import export, sprint

PROFILE = """
recipe: {data: stripes, network: W-10-1, epochs: 1, lr: 0.05, batch_size: 16, val_size: 12, val_images: 12, eps: 8,
         steps: 2, val_steps: 1, val_eps: 8, val_every: 4}
evaluate: {eps: [8], steps: 2, images: 12, precision: bf16}
models:
- {method: pgd}
- {method: ce}
"""


@pytest.fixture
def call(stripes, tmp_path, monkeypatch):
    (tmp_path / "dash.yaml").write_text(PROFILE)
    monkeypatch.setattr(sprint, "EPOCHS", range(2, 4))
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")

    def call(*words, minutes="2"):
        return command.main([str(tmp_path / "dash.yaml"), "--sprint", minutes, "--data-root", str(stripes), "--store",
                             str(tmp_path / "runs"), "--export", str(tmp_path / "out"), *words])
    return call


def test_a_sprint_brings_whole_runs_home_in_few_files(call, tmp_path, capsys):
    assert call("--files", "2") == 0
    said = capsys.readouterr().out
    assert "images/s" in said and "data fingerprint" in said and "3 epochs" in said and "2 runs in" in said
    files = sorted(file.relative_to(tmp_path / "out") for file in (tmp_path / "out").rglob("*.*"))
    assert len(files) == 2, "all small files as one, and the weights of the first run"
    assert str(files[1 if files[0].name == "runs.tar" else 0]).startswith("stripes_W-10-1_PGD")
    home = tmp_path / "results" / "paper" / "runs"
    home.mkdir(parents=True)
    with tarfile.open(tmp_path / "out" / "runs.tar") as archive:
        archive.extractall(home, filter="data")
    names = [folder.name for folder in home.iterdir()]
    assert len(names) == 2
    pgd = next(folder for folder in home.iterdir() if "PGD" in folder.name)
    assert "bf16" in [about["attack"]["precision"] for about, _ in answers.kept(pgd) if about["attack"]]
    brought = tmp_path / "out" / pgd.name.replace("=", "_")
    (pgd / "weights.safetensors").write_bytes(next(brought.iterdir()).read_bytes())
    assert load_model(pgd)[1]["epochs"] == 3
    assert export.restore_runs(home.parent, tmp_path / "again") == [pgd.name]
    # What is at home is not trained again, and decides the epochs.
    assert call() == 3 and "3 epochs, as the runs that are there" in capsys.readouterr().out


def test_what_does_not_fit_is_left_out(call, tmp_path, capsys):
    assert call(minutes="0.0001") == 3
    assert "left out, it takes" in capsys.readouterr().out and not (tmp_path / "out").exists()


def test_parts_of_data_are_joined_and_compared(tmp_path):
    content = bytes(range(256)) * 3
    (tmp_path / "x.npz.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  x.npz\n")
    for number in range(3):
        (tmp_path / f"x.npz.part{number}").write_bytes(content[number * 256:][:256])
    sprint.join_parts(tmp_path)
    assert (tmp_path / "x.npz").read_bytes() == content
    (tmp_path / "x.npz").unlink()
    (tmp_path / "x.npz.part1").unlink()
    with pytest.raises(ValueError, match="a part is missing or damaged"):
        sprint.join_parts(tmp_path)
    assert not (tmp_path / "x.npz").exists()


def test_what_a_short_run_takes_beside_training_leaves_out_no_long_one(tmp_path, stripes, monkeypatch, capsys):
    """CE trains for seconds and is evaluated as long as PGD: a factor of its times would be no one's."""
    (tmp_path / "dash.yaml").write_text(PROFILE + "- {method: pgd, eps: 4}\n")
    entries, settings = read_plan(tmp_path / "dash.yaml")
    clock, begun = types.SimpleNamespace(now=0.0), []
    clock.monotonic = lambda: clock.now

    def train(config, **_):
        begun.append(config.label)
        seconds = {"ce": 3.0}.get(config.method, 100.0)
        clock.now += seconds
        return types.SimpleNamespace(folder=tmp_path / config.label, metrics={"seconds": seconds})

    def evaluate(*_, **__):
        clock.now += 20

    for name, value in (("time", clock), ("train", train), ("evaluate_planned", evaluate),
                        ("epoch_flop", lambda run: 3 if run.config.method == "ce" else 100),
                        ("_pace", lambda run: (1 / 8, False)), ("export_run", lambda *_: None),
                        ("_bring", lambda *_: None)):
        monkeypatch.setattr(sprint, name, value)
    sprint.sprint(entries, settings, 4.5, tmp_path / "out", data_root=stripes, store=tmp_path / "runs")
    assert len(begun) == 3, capsys.readouterr().out
