"""Faults of the place where runs lie: told in a sentence with the file's name, before the work, and nothing is left."""
import errno
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from helpers import answers, attacks, evaluation, files, training
from helpers.autoattack import AutoAttack
from helpers.costs import CostMatrix
from helpers.training import checkpoint, loop, manifest, store
from jobs import export
from jobs.__main__ import main
from jobs.runs import find

BASE = {"data": "stripes", "network": "W-10-1", "epochs": 2, "lr": 0.05, "batch_size": 16, "val_size": 16,
        "val_images": 12, "val_steps": 2, "steps": 2}
COST = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]


@pytest.fixture
def run_it(stripes, tmp_path):
    def run(store="runs", **settings):
        config = training.configure(BASE, settings)
        return training.train(config, data_root=stripes, store=tmp_path / store, progress=False)
    return run


def equal(a, b):
    a, b = (load_file(run.folder / "weights.safetensors") for run in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- a place that cannot be written ------------------------------------------------------------------------------

@pytest.mark.parametrize("place", ["/proc/no/runs", "a file"])
def test_a_store_that_cannot_be_written_is_told_by_name_before_the_first_epoch(stripes, tmp_path, monkeypatch, place,
                                                                               capsys):
    monkeypatch.setattr(loop.Trainer, "run_epoch", None)  # no epoch may begin
    (tmp_path / "a file").write_text("")
    where = tmp_path / place
    with pytest.raises(OSError, match=r"config.json cannot be written \(.*\): make room or give permission") as error:
        training.train(training.configure(BASE), data_root=stripes, store=where, progress=False)
    assert str(where) in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "plan.yaml").write_text(json.dumps({"recipe": BASE, "models": [{"method": "ce"}]}))
    assert main([str(tmp_path / "plan.yaml"), "--data-root", str(stripes), "--store", str(where)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and str(where) in told and told.count("\n") == 1


def test_a_disk_that_is_too_small_for_a_run_is_told_before_the_first_epoch(run_it, monkeypatch):
    usage = store.shutil.disk_usage("/")
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    monkeypatch.setattr(loop.Trainer, "run_epoch", None)
    with pytest.raises(OSError, match=r"has 1 MB left, but this run needs \d+ MB .* make room"):
        run_it()


LIMITED = """import resource, sys
from pathlib import Path
import numpy as np
from helpers import answers, evaluation, training
config = training.configure({config})
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    run = training.train(config, data_root=sys.argv[1], store=sys.argv[2], progress=False)
except OSError as error:
    print(error)
"""


def test_a_disk_that_fills_is_a_sentence_and_leaves_nothing(stripes, tmp_path, run_it):
    """At the checkpoint of 700 kB, for which torch says "unexpected pos 64 vs 0"."""
    code = LIMITED.format(config=BASE, limit=400_000)
    done = subprocess.run([sys.executable, "-P", "-c", code, stripes, tmp_path / "runs"], capture_output=True,
                          text=True)
    assert "checkpoint.pt cannot be written (File too large): make room" in done.stdout, done.stderr
    left = {file.name for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    assert left == {"config.json", ".lock"}
    assert run_it().metrics["epochs"] == 2


def test_what_killed_processes_leave_is_removed_and_what_others_write_is_not(tmp_path):
    code = ("import sys, time; from helpers.files import write_atomic\n"
            "def content(file): file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(60)\n"
            "write_atomic(sys.argv[1], content)")
    writers = [subprocess.Popen([sys.executable, "-P", "-c", code, tmp_path / name], stdout=subprocess.PIPE, text=True)
               for name in ("weights", "checkpoint.pt")]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "writing\n"
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        assert len(list(tmp_path.glob(".*.part"))) == 2
        files.write_atomic(tmp_path / "metrics.json", "{}")
        (left,) = tmp_path.glob(".*.part")
        assert left.name.startswith(".checkpoint.pt.")
    finally:
        writers[1].kill()
        writers[1].wait()
    files.write_atomic(tmp_path / "metrics.json", "{}")
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_a_file_that_was_taken_for_a_leftover_is_written_again(tmp_path, monkeypatch):
    """Another process may look between the making of a file and its lock."""
    real, seen = files.fcntl.flock, []

    def late(file, how):
        if not seen:
            seen.append(file.name)
            os.unlink(file.name)
        real(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    files.write_atomic(tmp_path / "metrics.json", "{}")
    assert seen and [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_without_locks_files_are_written_all_the_same(tmp_path, monkeypatch):
    """Some network file systems know none."""
    def refuse(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    files.write_atomic(tmp_path / "metrics.json", "{}")
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


# --- damaged runs -------------------------------------------------------------------------------------------------

DAMAGE = {"weights.safetensors": [lambda old: old[:1000], lambda old: b"", lambda old: b"version https://git-lfs\n"],
          "metrics.json": [lambda old: b"", lambda old: old[:20], lambda old: b"[]", lambda old: b"{}"],
          "history.csv": [lambda old: old[:-20], lambda old: b"\xff\xfe", None]}


@pytest.mark.parametrize("name, number", [(name, number) for name in DAMAGE for number in range(len(DAMAGE[name]))])
def test_a_damaged_finished_run_is_a_sentence_with_the_file_and_the_remedy(run_it, name, number):
    run, change = run_it(epochs=1), DAMAGE[name][number]
    file = run.folder / name
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))
    said = r"(is missing or damaged|is not what the manifest).* delete its folder"
    with pytest.raises(ValueError, match=said) as error:
        run_it(epochs=1)
    assert str(file) in str(error.value) and "\n" not in str(error.value)
    if name == "weights.safetensors":
        for use in (training.load_model, lambda folder: export.export_run(folder, folder / "out", "float32")):
            with pytest.raises(ValueError, match=r"weights.safetensors is not what the manifest.json beside it says"):
                use(run.folder)


def test_weights_of_another_network_are_not_taken(run_it):
    run = run_it(epochs=1)
    save_file({"stem.weight": torch.zeros(3)}, run.folder / "weights.safetensors")
    manifest.seal(run.folder, None)
    with pytest.raises(ValueError, match=r"weights.safetensors is missing or damaged \(RuntimeError"):
        run_it(epochs=1)


@pytest.mark.parametrize("content", ["", "[1]", '{"data": ', "null"])
def test_one_damaged_run_does_not_hide_the_others(run_it, content):
    good, bad = run_it(epochs=1), run_it(epochs=1, seed=1)
    (bad.folder / "config.json").write_text(content)
    other = good.folder.parent / "somebody elses"
    other.mkdir()
    (other / "config.json").write_text("")
    with pytest.warns(UserWarning, match=rf"left out: .*{bad.folder.name}.config.json is missing or damaged"):
        assert find(good.folder.parent) == [good.folder]
    with pytest.raises(ValueError, match=r"config.json is (missing or damaged|not what the manifest)"):
        training.load_model(bad.folder)
    with pytest.raises(ValueError, match=r"config.json is (missing or damaged|not what the manifest)"):
        export.restore_runs(good.folder.parent, good.folder.parent / "new")


# --- finding ------------------------------------------------------------------------------------------------------

def test_runs_are_found_by_the_values_that_their_config_has(run_it):
    run = run_it(epochs=1, classes=["c0", "c1"], method="wpgd", eps=4, cost=[[0, 1], [1, 0]], lam=math.inf, val_size=8)
    run_it(epochs=1)
    for name in run.config.to_dict():
        assert run.folder in find(run.folder.parent, **{name: getattr(run.config, name)}), name
    for wanted in ({"classes": ["c0", "c1"]}, {"lam": math.inf}, {"lam": "inf"}, {"eps": np.float32(4)},
                   {"cost": np.array([[0, 1], [1, 0]])}, {"data_fingerprint": run.dataset.fingerprint}):
        assert find(run.folder.parent, **wanted) == [run.folder], wanted
    assert find(run.folder.parent, classes=("c1", "c0")) == []
    with pytest.raises(ValueError, match=r"'class' is no setting .* Did you mean 'classes'"):
        find(run.folder.parent, **{"class": ["c0", "c1"]})


def test_a_run_is_found_by_its_cost_matrix(run_it):
    cost = CostMatrix(COST, ("c0", "c1", "c2"), name="mine")
    run = run_it(epochs=1, method="wpgd", eps=4, cost=cost)
    assert find(run.folder.parent, cost=cost) == [run.folder]


def test_runs_are_listed_with_size_and_age_and_removed_with_all_that_they_left(run_it, tmp_path, capsys):
    good, other = run_it(epochs=1), run_it(epochs=1, seed=1)
    evaluation.evaluate_run(good, limit=12)
    half = good.folder.with_name("stripes_W-10-1_PGD_eps=4_seed=0-0123456789")
    files.write_atomic(half / "config.json", "{}")
    (half / ".checkpoint.pt.0123.part").write_bytes(b"0" * 2_000_000)
    mine = good.folder.with_name("my notes")
    mine.mkdir()
    os.utime(half / "config.json", (1, 1))
    capsys.readouterr()
    store = ["--store", str(good.folder.parent)]
    assert main(["--list", *store]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == sorted(path.name for path in (good.folder, other.folder, half))
    assert f"{half.name}  unfinished, 2.0 MB, 0.0 days old" in lines
    assert sum(re.search(r"  done, 0\.\d MB, 0\.0 days old$", line) is not None for line in lines) == 2
    assert main(["--remove", good.folder.name[:-1], *store]) == 2
    assert f"Did you mean {good.folder.name!r}" in capsys.readouterr().err
    with FileLock(other.folder / ".lock"):
        assert main(["--remove", "stripes*", *store]) == 2
    assert "is being trained by another process" in capsys.readouterr().err and good.folder.is_dir()
    assert main(["--remove", "*_PGD_*", good.folder.name, *store]) == 0
    assert {path.name for path in good.folder.parent.iterdir()} == {"my notes", other.folder.name}


# --- numbers of NumPy ---------------------------------------------------------------------------------------------

def test_scalars_of_numpy_and_torch_are_numbers(run_it):
    plain = training.configure(BASE, method="pgd", eps=0.5, steps=5, random_start=True, classes=["4", "9"])
    for settings in ({"eps": np.float64(0.5), "steps": np.int64(5), "random_start": np.bool_(True),
                      "classes": np.array([4, 9])},
                     {"eps": np.float32(0.5), "steps": torch.tensor(5), "classes": (4, 9)},
                     {"eps": np.array(0.5), "steps": np.uint8(5), "classes": np.array(["4", "9"])}):
        config = training.configure(BASE, method=np.str_("pgd"), **settings)
        assert config == plain and json.dumps(config.to_dict()) == json.dumps(plain.to_dict())
    run = run_it(epochs=1)
    x, y = run.dataset.x_test, run.dataset.y_test
    evaluation.evaluate_run(run, attacks.PGD(0.5, 2), limit=12)
    want = evaluation.evaluate_run(run, attacks.PGD(0.5, 2), limit=12)  # from its file
    same = evaluation.evaluate(run.model, x, y, attacks.PGD(0.5, 2)).predictions
    for attack in (attacks.PGD(0.5, np.int64(2)), attacks.PGD(np.float32(0.5), 2, seed=np.int64(0)),
                   attacks.PGD(np.float64(0.5), torch.tensor(2), restarts=np.int32(1))):
        again = evaluation.evaluate_run(run, attack, limit=np.int64(12))
        assert again.seconds == want.seconds, "the same question has the same key"
        assert np.array_equal(evaluation.evaluate(run.model, x, y, attack).predictions, same)
    strong = AutoAttack(np.float32(0.5), queries=np.int64(2))
    assert answers._path("", {"attack": strong.describe()}) == answers._path("", {"attack": AutoAttack(
        0.5, queries=2).describe()})


# --- checkpoints --------------------------------------------------------------------------------------------------

def change(saved, path, value):
    for name in path[:-1]:
        saved = saved[name]
    saved[path[-1]] = value


def spoil(tensor):
    tensor.view(-1)[0] = math.nan


UNUSUAL = {
    "no checkpoint": lambda saved: {"a": 1}, "a list": lambda saved: [1, 2],
    "epoch 99 of 6": lambda saved: change(saved, ["epoch"], 99), "epoch -1": lambda saved: change(saved, ["epoch"], -1),
    "epoch as text": lambda saved: change(saved, ["epoch"], "1"),
    "no history": lambda saved: change(saved, ["rows"], []),
    "other keys": lambda saved: change(saved, ["model"], {"layer.weight": torch.zeros(3)}),
    "a shape": lambda saved: change(saved, ["model", "stem.weight"], torch.zeros(2, 2)),
    "NaN": lambda saved: spoil(saved["model"]["stem.weight"]),
    "NaN in the average": lambda saved: spoil(saved["average"]["stem.weight"]),
    "no average": lambda saved: change(saved, ["average"], None),
    "NaN in the momentum": lambda saved: spoil(saved["optimizer"]["state"][0]["momentum_buffer"]),
    "momentum of a shape": lambda saved: change(saved, ["optimizer", "state", 0, "momentum_buffer"], torch.zeros(2)),
    "no momentum": lambda saved: change(saved, ["optimizer", "state"], {}),
    "state of a generator": lambda saved: change(saved, ["order"], torch.zeros(3, dtype=torch.uint8)),
}


@pytest.fixture(scope="module")
def half(stripes, tmp_path_factory):
    """A whole run, and the checkpoint that one of the same config left after its first epoch."""
    where, kept = tmp_path_factory.mktemp("half"), []
    config = training.configure(BASE, method="pgd", eps=8.0, ema=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.Path, "unlink", lambda self, missing_ok=False: kept.append(self.read_bytes())
                      if self.name == "checkpoint.pt" else os.path.exists(self) and os.unlink(self))
        run = training.train(config, data_root=stripes, store=where, progress=False)
    return run, kept[0]


def resumed(half, stripes, tmp_path, alter=lambda saved: None, seal=lambda content, folder: content):
    run, content = half
    folder, altered = tmp_path / run.folder.name, io.BytesIO()
    saved = torch.load(io.BytesIO(content), weights_only=True)
    torch.save(alter(saved) or saved, altered)
    files.write_atomic(folder / "checkpoint.pt", seal(altered.getvalue(), folder))
    return training.train(run.config, data_root=stripes, store=tmp_path, progress=False)


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_checkpoint_starts_again_with_a_sentence(half, stripes, tmp_path, capsys, kind):
    run = resumed(half, stripes, tmp_path, UNUSUAL[kind])
    told, = (line for line in capsys.readouterr().out.splitlines() if "checkpoint" in line)
    assert "the checkpoint cannot be read (" in told and "training starts again" in told
    assert equal(run, half[0]) and len(run.rows) == 2
    assert json.loads((run.folder / "provenance.json").read_text())["resumed_after_epoch"] == 0


def test_the_checkpoint_of_another_run_or_a_changed_byte_starts_again(half, stripes, tmp_path, capsys):
    run, content = half
    folder, other = tmp_path / run.folder.name, Path("stripes_W-10-1_CE_seed=7-0123456789")
    spoilt = bytearray(content)
    spoilt[len(spoilt) // 2] ^= 1
    for wrong in (checkpoint.sealed(content[:-32], other), bytes(spoilt), content[:-1]):
        files.write_atomic(folder / "checkpoint.pt", wrong)
        again = training.train(run.config, data_root=stripes, store=tmp_path, progress=False)
        assert "training did not write it for this run" in capsys.readouterr().out and equal(again, run)
        shutil.rmtree(folder)


@pytest.mark.parametrize("alter", [lambda saved: None,
                                   lambda saved: saved["optimizer"]["param_groups"][0].update(momentum=0) or None])
def test_a_usual_checkpoint_goes_on_with_the_settings_of_the_config(half, stripes, tmp_path, capsys, alter):
    run = resumed(half, stripes, tmp_path, alter, checkpoint.sealed)
    assert "checkpoint" not in capsys.readouterr().out and equal(run, half[0]) and len(run.rows) == 2
    assert json.loads((run.folder / "provenance.json").read_text())["resumed_after_epoch"] == 1
    assert {path.name for path in Path(run.folder).iterdir()} == {path.name for path in half[0].folder.iterdir()} - {
        "checkpoint.pt"}
