"""The benchmarks: statistics of timings, contenders that fail, the plain loop, and every benchmark at smoke scale."""
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import batch, small_net

from benchmarks import attack, attackers, limit, plain, report, synthetic, timing, training, transport
from benchmarks.__main__ import NAMES, main
from benchmarks.workers import Workers
from helpers import attacks, losses


def sleeping(device, seconds):
    return timing.Task(lambda: time.sleep(seconds), work=10, facts=lambda: {"process": os.getpid()})


def missing(device):
    import no_such_package
    return no_such_package


def breaking(device):
    calls = []

    def run():
        calls.append(0)
        if len(calls) > 1:
            raise RuntimeError("second\ncall")
    return timing.Task(run)


def dying(device):
    os._exit(7)


def timings(*seconds, work=1.0):
    return timing.Timing(timing.Contender("name", None), list(seconds), work, 9.0)


def test_ratios_are_of_the_same_round():
    found = timing.statistics(timings(2.0, 4.0, 8.0), timings(1.0, 8.0, 2.0))
    # 1 / 2, 8 / 4, 2 / 8: the medians of the times alone, 2 and 4, would say 0.5 for another reason.
    assert found["ratio"] == 0.5
    assert found["ratio_q10"] == pytest.approx(0.25 + 0.2 * 0.25)
    assert found["ratio_q90"] == pytest.approx(0.5 + 0.8 * 1.5)
    assert (found["seconds"], found["throughput"], found["rounds"], found["first_call_seconds"]) == (4, 0.25, 3, 9)


def test_ratios_account_for_different_work():
    assert timing.statistics(timings(2.0, work=6.0), timings(1.0, work=2.0))["ratio"] == 1.5


def test_without_times_nothing_is_claimed():
    found = timing.statistics(timings(), timings(1.0))
    assert found["rounds"] == 0 and all(np.isnan(found[name]) for name in ("seconds", "ratio", "throughput"))


def test_contenders_run_in_processes_of_their_own_and_failures_are_notes():
    contenders = [timing.Contender("slow", sleeping, {"seconds": 0.04}),
                  timing.Contender("fast", sleeping, {"seconds": 0.01}, note="a remark"),
                  timing.Contender("missing", missing), timing.Contender("breaking", breaking),
                  timing.Contender("dying", dying)]
    with Workers([contender.name for contender in contenders], "cpu") as workers:
        rows = timing.rows_of("b", "s", timing.measure(workers, contenders, 3), "slow", "images/s")
        processes = [worker.process for worker in workers.workers.values()]
    assert not any(process.is_alive() for process in processes)
    rows = {row["contender"]: row for row in rows}
    assert 2 < rows["fast"]["ratio"] < 5 and rows["slow"]["ratio"] == 1
    assert rows["fast"]["process"] != rows["slow"]["process"] != os.getpid()
    assert rows["fast"]["note"] == "a remark" and rows["fast"]["rounds"] == 3
    assert rows["missing"]["note"] == "failed: ModuleNotFoundError: No module named 'no_such_package'"
    assert rows["breaking"]["note"] == "failed: RuntimeError: second call"
    assert rows["dying"]["note"] == "failed: the process ended with 7"
    assert rows["dying"]["rounds"] == rows["missing"]["rounds"] == 0


def test_a_spent_budget_leaves_three_rounds():
    contenders = [timing.Contender("fast", sleeping, {"seconds": 0.0})]
    with Workers(["fast"], "cpu") as workers:
        assert len(timing.measure(workers, contenders, 9, budget=0)[0].seconds) == 3


def test_plain_attack_is_ours():
    net = small_net().double()
    x, y = batch(6, 3, 12, 12)
    x = x.double()
    ours = attacks.pgd(net, x, y, eps=8 / 255, step_size=2 / 255, steps=8, random_start=False)
    theirs = plain.plain_pgd(net, x, y, F.cross_entropy, eps=8 / 255, step_size=2 / 255, steps=8, random_start=False)
    assert (ours - x).abs().amax() > 7 / 255
    assert torch.allclose(ours, theirs, atol=1e-12, rtol=0)


def test_plain_wasserstein_is_ours():
    logits, labels = torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 5
    cost = synthetic.metric(5)
    for p, lam in ((1.0, 10.0), (2.5, 3.0)):
        expected = losses.wasserstein_loss(logits, labels, cost, p=p, lam=lam)
        assert torch.allclose(plain.plain_wasserstein(cost, p, lam)(logits, labels), expected)


def test_plain_loop_learns():
    job = synthetic.job("W-10-1", images=40, batch_size=20, steps=1, side=16, channels=1, classes=2)
    # Dark and bright images: separable at any eps that is used here.
    job.dataset.x_train[:] = (job.dataset.x_train // 8) + 200 * job.dataset.y_train[:, None, None, None].byte()
    config = replace(job.config, epochs=4, lr=0.1, augment=False)
    model = plain.plain_train(config, job.dataset, job.parts.train)
    assert not model.training
    guesses = model(job.dataset.x_train.float() / 255).argmax(dim=1)
    assert (guesses == job.dataset.y_train).float().mean() > 0.9


def test_a_random_metric_is_one():
    cost = synthetic.metric(12)
    assert (cost == cost.T).all() and (cost.diag() == 0).all() and cost.max() == 1
    assert (cost + torch.eye(12) > 0).all()
    assert (cost[:, :, None] + cost[None] >= cost[:, None, :] - 1e-12).all()


def test_our_training_step_spends_the_ideal():
    settings = {"network": "W-10-1", "images": 4, "batch_size": 4, "side": 16, "steps": 3}
    # 2 k + 3 passes, less the gradient of the pixels in the training pass.
    assert 8.8 < limit.step("cpu", **settings).facts()["passes"] <= 9


def test_torchattacks_finds_our_images():
    x, y = synthetic.batch(4, 1, 16, "cpu", torch.float64)
    found = [contender(synthetic.network("W-10-1", 1, "cpu", torch.float64), x, y, 4, False)()
             for contender in (attackers.ours, attackers.torchattacks)]
    assert torch.allclose(*found, atol=1e-12, rtol=0)


def test_every_transport_finds_the_closed_form():
    exact, *others = (transport.build("cpu", name, 6, 5).run() for name in transport.NOTES)
    assert exact.dtype == torch.float64 and exact.min() > 0
    for values in others:
        assert np.abs(np.asarray(values) - exact.numpy()).max() < 1e-6


def test_every_contender_gets_the_network_as_its_user_has_it(monkeypatch):
    given = {}
    for name in ("ours", "torchattacks"):
        monkeypatch.setattr(attackers, name, lambda net, *_, name=name: given.update({name: net}))
        attack.build("cpu", name, {}, "W-10-1", 3, 16, 2, 1)
    assert not any(net.training for net in given.values())
    assert all(parameter.requires_grad for net in given.values() for parameter in net.parameters())
    assert not given["ours"].stem.weight.is_contiguous() and given["torchattacks"].stem.weight.is_contiguous()


def test_the_epochs_of_both_loops_see_as_many_images():
    settings = {"network": "W-10-1", "images": 20, "batch_size": 8, "steps": 1, "side": 16}
    assert len(training.plain("cpu", **settings).run.__self__.loader) == 2
    assert training.ours("cpu", **settings).work == training.plain("cpu", **settings).work


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Folder and finished process of a complete run at smoke scale."""
    folder = tmp_path_factory.mktemp("benchmarks")
    words = [sys.executable, "-m", "benchmarks", "--scale", "smoke", "--rounds", "1", "--out", str(folder)]
    root = Path(__file__).resolve().parents[1]
    return folder, subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", NAMES)
def test_smoke_run(smoke, name):
    folder, done = smoke
    assert done.returncode == 0, done.stderr
    assert f"\n{name} (smoke, 1 rounds)\n" in done.stdout
    rows = report.read_csv(folder / f"{name}.csv")
    assert rows and all(row["benchmark"] == name for row in rows)
    # Peers may be missing where the tests run; nothing of ours may fail.
    failed = [row["note"] for row in rows if row["note"].startswith("failed") and row["role"] != "peer"]
    assert not failed
    measured = {"operators": "milliseconds", "precision": "ne"}.get(name, "seconds")
    assert any(row[measured] > 0 for row in rows)


def test_smoke_run_writes_all_else(smoke):
    folder, _ = smoke
    facts = json.loads((folder / "machine.json").read_text())
    assert set(facts["benchmarks"]) == set(NAMES) and facts["torch"] == torch.__version__
    assert facts["benchmarks"]["attack"]["scale"] == "smoke"
    assert (folder / "targets.csv").read_text().startswith("target,sense,bound,value,verdict")
    assert (folder / "benchmarks.png").exists() and (folder / "benchmarks.pdf").exists()


def test_smoke_agreement(smoke):
    rows = [row for row in report.read_csv(smoke[0] / "attack.csv") if row["setting"].startswith("agreement")]
    assert {row["contender"]: row["max_difference"] <= 1e-5 for row in rows}["torchattacks"]


def test_figure_alone_redraws(smoke, tmp_path):
    assert main(["figure", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "benchmarks.png").exists()


def test_unknown_name(capsys, tmp_path):
    assert main(["atack", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 'atack' is no benchmark") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_list(capsys):
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(NAMES)
