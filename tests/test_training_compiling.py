"""torch.compile: when it is chosen, that it computes the same, that its failure costs nothing."""
import importlib.util
import json
import shutil
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

from helpers import data, models, training
from helpers.training import loop, parts
from helpers.training.store import Run

TOY = {"data": "toy3", "network": "mlp-8", "epochs": 1, "lr": 0.05, "batch_size": 64, "norm": "l2", "eps": 20.0,
       "steps": 2, "val_steps": 1, "val_size": 90, "method": "pgd"}


def train(folder, compile, **settings):
    run = training.train(training.configure(TOY, settings), store=folder, progress=False, compile=compile)
    return load_file(run.folder / "weights.safetensors"), run


class Own(torch.nn.Module):
    def forward(self, x):
        raise NotImplementedError("not on meta")


def run_of(config, images=2, size=32):
    """A run that is not trained, on blank images."""
    x, labels = torch.zeros(2, 3, size, size, dtype=torch.uint8), torch.arange(2)
    blank = data.Dataset("blank", x, labels, x, labels, ("a", "b"), (0.5,) * 3, (0.5,) * 3)
    return Run(config, blank, data.Split(range(images), labels), None, {}, Path("nowhere"))


def test_long_runs_on_a_gpu_are_compiled(monkeypatch):
    gpu = torch.device("cuda")
    long = training.configure(data="cifar10", network="W-16-10", method="pgd", eps=4, steps=8, epochs=30, lr=0.1,
                              precision="bf16")
    short = training.configure(long.to_dict(), epochs=1)
    find, names = importlib.util.find_spec, {"triton": "torch"}  # something that is installed in its place
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: find(names.get(name, name), *rest))
    assert loop.worthwhile(run_of(long, 45000), gpu)
    assert not loop.worthwhile(run_of(short, 4500), gpu)
    names["triton"] = "no_such_package"
    assert not loop.worthwhile(run_of(long, 45000), gpu)


def test_long_runs_on_a_cpu_are_compiled_in_bf16_where_there_is_a_compiler(monkeypatch):
    cpu, found = torch.device("cpu"), {"clang++": "/usr/bin/clang++"}
    monkeypatch.setattr(shutil, "which", found.get)
    monkeypatch.setenv("CXX", "clang++")
    config = {"data": "cifar10", "network": "W-16-2", "method": "pgd", "eps": 4, "steps": 2, "lr": 0.1}
    long = training.configure(config, epochs=20, precision="bf16")
    assert loop.worthwhile(run_of(long, 45000), cpu)
    assert not loop.worthwhile(run_of(training.configure(config, epochs=1, precision="bf16"), 5000), cpu)
    assert not loop.worthwhile(run_of(training.configure(config, epochs=20), 45000), cpu), "float32"
    # One image leaves one pixel in the last group; an operator of one's own may only be there for numbers.
    monkeypatch.setitem(parts.PARTS["network"], "own", lambda *_: Own())
    for network, size in (("resnet18", 16), ("own", 32)):
        other = training.configure(config, epochs=20, precision="bf16", network=network)
        assert loop.worthwhile(run_of(other, 10**9, size), cpu) == (network == "resnet18")
    found.clear()
    assert not loop.worthwhile(run_of(long, 45000), cpu)


def test_the_work_of_a_run_is_what_the_flop_counter_sees(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: find(name.replace("triton", "torch"), *rest))
    config = training.configure(data="x", network="W-10-1", method="pgd", eps=4, steps=3, epochs=1, lr=0.1)
    model, x = models.build("W-10-1", 2), torch.rand(1, 3, 32, 32, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        for _ in range(3):
            model(x).sum().backward(inputs=[x])
        model(x).sum().backward()
    # The count of the last pass has the gradient of the input image as well, as has the estimate.
    enough = 2e15 / counter.get_total_flops()
    assert not loop.worthwhile(run_of(config, int(0.97 * enough)), torch.device("cuda"))
    assert loop.worthwhile(run_of(config, int(1.03 * enough)), torch.device("cuda"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_run_learns_the_same(tmp_path):
    plain, _ = train(tmp_path / "plain", False)
    compiled, run = train(tmp_path / "compiled", True)
    facts = json.loads((run.folder / "provenance.json").read_text())
    assert facts["compiled"] and facts["compile_seconds"] > 0
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-4)


def test_a_compiler_that_fails_costs_nothing_but_a_line(tmp_path, monkeypatch, capsys):
    def broken(model, mode, dynamic):
        assert mode == "max-autotune"
        def call(x):
            raise RuntimeError("no compiler")
        return call
    plain, _ = train(tmp_path / "plain", False)
    monkeypatch.setattr(torch, "compile", broken)
    kept, run = train(tmp_path / "broken", "max-autotune")
    assert "torch.compile failed (RuntimeError); training goes on without it" in capsys.readouterr().out
    assert plain.keys() == kept.keys() and all(torch.equal(plain[name], kept[name]) for name in plain)
    assert json.loads((run.folder / "provenance.json").read_text())["compiled"] is False


def test_compiling_leaves_batch_norm_as_it_was(tmp_path, stripes, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: seen.append(mode) or model)
    settings = {"data": "stripes", "network": "W-10-1", "norm": "linf", "eps": 4.0, "batch_size": 16, "val_size": 16,
                "val_images": 12}
    states = []
    for compile in (False, True):
        config = training.configure(TOY, settings)
        run = training.train(config, data_root=stripes, store=tmp_path / str(compile), progress=False, compile=compile)
        states.append(load_file(run.folder / "weights.safetensors"))
    assert seen == [None] and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_deadline_ends_the_first_epoch_once_its_length_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "TIMED_STEPS", 2)
    steps = []
    monkeypatch.setattr(loop.Trainer, "_step", lambda *_: steps.append(time.sleep(0.1)) or torch.tensor(0.0))
    config = training.configure(TOY, batch_size=16)
    with pytest.raises(training.OutOfTime, match=r"stopped in epoch 1, which takes \d+ s more"):
        training.train(config, store=tmp_path, progress=False, deadline=time.monotonic() + 2)
    assert len(steps) == 2, "of fifty"


def test_every_network_of_a_plan_is_compiled_once_and_for_all(tmp_path, monkeypatch):
    """Dynamo's default gives up a function after eight graphs, of which all networks of a plan share one."""
    counter, compiler = CompileCounterWithBackend("aot_eager"), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, mode, **how: compiler(model, backend=counter, **how))
    frames = [0]
    for width in range(8, 13):
        _, run = train(tmp_path, True, network=f"mlp-{width}", batch_size=32 + width)
        assert json.loads((run.folder / "provenance.json").read_text())["compiled"] is True
        frames.append(counter.frame_count)
    graphs = {after - before for before, after in pairwise(frames)}
    assert graphs == {2}, "attack and step, of every network: none is left out, none is compiled while it trains"
