"""Several processes: they draw, learn, measure and keep what one does; a killed one ends the job."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from helpers import answers, training
from helpers.training import launch, loop

# One step of work that both sides do: register, train each config, perhaps only up to an epoch.
WORK = """
import json, sys, time
from types import SimpleNamespace
import torch
from torch import nn
from helpers import answers, training
from helpers.training import loop

def smooth(classes, channels):
    return nn.Sequential(nn.Conv2d(channels, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, classes))

def shift(images, generator):
    return images.roll(int(torch.randint(3, (), generator=generator)), 3)

training.register("network", "smooth", smooth)
training.register("augment", "shift", shift)

def work(root, store, jobs):
    told = []
    for settings, epochs in jobs:
        ticks = iter([0.0] * (1 + epochs) if epochs else [])
        loop.time = SimpleNamespace(perf_counter=time.perf_counter, monotonic=lambda: next(ticks, 1e6))
        try:
            run = training.train(training.configure(settings), data_root=root, store=store, progress=False,
                                 deadline=1.0 if epochs else None)
            told.append([run.folder.name, run.metrics["train_loss"], run.metrics["val_ae"], run.model.training])
        except (ValueError, training.OutOfTime) as error:
            told.append(str(error))
        finally:
            loop.time = time
    return told
"""
MAIN = WORK + """
import os
told = work(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
open(f"{sys.argv[2]}/told{os.environ['RANK']}", "w").write(json.dumps(told))
"""
TOY = {"data": "toy3", "network": "mlp-16", "epochs": 2, "lr": 0.05, "batch_size": 90, "norm": "l2", "eps": 20.0,
       "steps": 2, "val_steps": 2, "val_size": 90, "cost": "toy3", "precision": "float64"}
IMAGES = {"data": "stripes", "network": "smooth", "epochs": 2, "lr": 0.02, "batch_size": 16, "val_size": 16,
          "val_images": 12, "val_steps": 1, "steps": 2, "eps": 8.0, "method": "pgd", "precision": "float64"}
THREE = {**IMAGES, "network": "W-10-1", "epochs": 3, "seed": 5}
SAME = [{**TOY, "method": "ce"}, {**TOY, "method": "wpgd", "ema": 0.8}, {**TOY, "method": "pgd", "optimizer": "adamw"},
        {**IMAGES, "augment": True}, {**IMAGES, "augment": "shift", "loss": "margin"}, {**IMAGES, "network": "W-10-1"}]
scope = {}
exec(WORK, scope)


def torchrun(*words):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.Popen([*launcher, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def done(stripes, tmp_path_factory):
    """(stores of one and of two processes, what the two say): one launch, since it takes seconds."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    own = {**IMAGES, "network": "W-10-1", "batch_norm_parts": 2}
    uneven = {**IMAGES, "batch_size": 15}
    scope["work"](stripes, two, [(THREE, 1)])
    jobs = [*((settings, 0) for settings in (*SAME, own, uneven)), (THREE, 1)]
    file = two / "main.py"
    file.write_text(MAIN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-P", str(file), str(stripes), str(two), json.dumps(jobs)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
           "MASTER_PORT": str(port)}
    started = [subprocess.Popen(words, env={**env, "RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True) for rank in "01"]
    try:
        assert [process.wait(120) for process in started] == [0, 0], [one.communicate()[0] for one in started]
    finally:
        for process in started:
            process.kill()
    out = started[0].communicate()[0]
    scope["work"](stripes, two, [(THREE, 0)])
    mine = scope["work"](stripes, one, [(settings, 0) for settings in (*SAME, THREE, own)])
    return one, two, mine, [json.loads((two / f"told{rank}").read_text()) for rank in (0, 1)], out


def weights(store, name):
    return load_file(store / name / "weights.safetensors")


def assert_equal(one, two, name):
    left, right = weights(one, name), weights(two, name)
    assert left.keys() == right.keys()
    for key, value in left.items():
        torch.testing.assert_close(right[key], value, rtol=1e-6, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")
    left, right = ([line.split(",")[:5] for line in (store / name / "history.csv").read_text().splitlines()]
                   for store in (one, two))
    assert left == right, name


def test_two_processes_equal_one_in_float64(done):
    """Order, crops, own augmentation, noise, gradients, averages, statistics of BatchNorm, history: to 1e-6."""
    one, two, mine, (told, other), out = done
    assert told == other, "both return the run"
    for number in range(len(SAME)):
        assert told[number][0] == mine[number][0] and told[number][3] is False
        assert_equal(one, two, mine[number][0])
    assert out.count("another process") == 0


def test_accelerates_debug_launcher_trains_what_one_process_does(done, stripes, tmp_path):
    (tmp_path / "main.py").write_text(WORK + """
from accelerate import debug_launcher
debug_launcher(work, (sys.argv[1], sys.argv[2], json.loads(sys.argv[3])), 2)
""")
    words = [sys.executable, "-P", tmp_path / "main.py", stripes, tmp_path, json.dumps([(SAME[1], 0)])]
    subprocess.run(words, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    one, mine = done[0], done[2]
    assert_equal(one, tmp_path, mine[1][0])
    assert json.loads((tmp_path / mine[1][0] / "provenance.json").read_text())["processes"] == 2


def test_a_run_goes_on_in_one_two_and_one_process(done):
    one, two, mine, (told, _), _ = done
    assert "stopped after epoch 2 of 3" in told[-1]
    assert_equal(one, two, mine[len(SAME)][0])
    assert json.loads((two / mine[len(SAME)][0] / "provenance.json").read_text())["resumed_after_epoch"] == 2


def test_batch_norm_by_parts_is_a_recipe_for_as_many_processes(done):
    _, two, mine, (told, _), _ = done
    name = told[len(SAME)][0]
    assert "batch_norm_parts=2" in name and "as many processes, not 1" in mine[-1]
    whole, parts = weights(two, told[len(SAME) - 1][0]), weights(two, name)
    assert any(not torch.allclose(whole[key], parts[key], atol=1e-4) for key in whole)


def test_a_batch_without_equal_parts_is_refused(done):
    assert "15 images has no equal parts for 2 processes" in done[3][0][len(SAME) + 1]


def test_a_plan_is_measured_once_and_a_killed_process_ends_it(stripes, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("recipe: {data: toy3, network: mlp-8, lr: 0.05, batch_size: 90, val_size: 90, val_steps: 1, "
                    "steps: 1, eps: 20, norm: l2}\n"
                    "models: [{method: pgd, epochs: 1}, {method: pgd, epochs: 1500, seed: 1}]\n"
                    "evaluate: {eps: [20], steps: 2}\n")
    words = ["-m", "jobs", str(plan), "--store", str(tmp_path), "--export", str(tmp_path / "out")]
    process = torchrun(*words)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/checkpoint.pt")):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
            time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        began = time.monotonic()
        os.kill(int(children[1]), signal.SIGKILL)
        out, _ = process.communicate(timeout=30)
        assert process.returncode and time.monotonic() - began < 5
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    kept = answers.kept(next((tmp_path / "out").iterdir()))
    assert sorted(about["attack"]["attack"] if about["attack"] else "" for about, _ in kept) == ["", "pgd"]
    assert out.count("exported to") == 1 and out.count("[1/2]") == 1
    epoch = torch.load(next(tmp_path.glob("*/checkpoint.pt")), weights_only=True)["epoch"]
    with pytest.raises(training.OutOfTime, match=rf"after epoch {epoch} of 1500"):
        config = training.configure(data="toy3", network="mlp-8", lr=0.05, batch_size=90, val_size=90, val_steps=1,
                                    steps=1, eps=20, norm="l2", method="pgd", epochs=1500, seed=1)
        ticks = iter([0.0])
        loop_time, loop.time = loop.time, SimpleNamespace(perf_counter=time.perf_counter,
                                                          monotonic=lambda: next(ticks, 1e6))
        try:
            training.train(config, store=tmp_path, progress=False, deadline=1.0)
        finally:
            loop.time = loop_time


def test_accelerate_launch_on_a_cpu_without_mpi_says_that_it_starts_one_process(monkeypatch):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "ACCELERATE_USE_CPU": "True"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"one process on a CPU without MPI.* torchrun --nproc_per_node"):
        launch.new_accelerator()
