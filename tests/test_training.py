"""Training against plain PyTorch loops, and a resumed run against one that was never interrupted."""
import json
import math
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file, save_file
from support import write_npz

from helpers import answers, attacks, costs, data, losses, models, training
from helpers.evaluation import evaluate
from helpers.training import loop, parts, store
from helpers.training.store import prepare
from jobs.runs import find

BASE = {"data": "stripes", "network": "W-10-1", "epochs": 2, "lr": 0.05, "batch_size": 16, "val_size": 16,
        "val_images": 12, "val_steps": 2, "steps": 2}
TOY = {"data": "toy3", "network": "mlp-16-16", "epochs": 2, "lr": 0.05, "batch_size": 64, "norm": "l2", "eps": 20.0,
       "steps": 3, "val_steps": 2, "val_size": 90, "cost": "toy3"}


@pytest.fixture
def run_it(stripes, tmp_path):
    """Train a config, in a store of this test unless told otherwise."""
    def run(*parts, store="runs", deadline=None, **settings):
        config = training.configure(*parts or (BASE,), settings)
        return training.train(config, data_root=stripes, store=tmp_path / store, progress=False, deadline=deadline)
    return run


def weights(run):
    return load_file(run.folder / "weights.safetensors")


def equal(a, b):
    a, b = weights(a), weights(b)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(run):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.rows]


# --- one step, written out --------------------------------------------------------------------------------------

def plain_loop(config, root, attack=None):
    """Three steps of SGD with Nesterov momentum and weight decay, from the formulas; returns model and average."""
    dataset = data.load(config.data, root)
    train = data.split(dataset.y_train, config.val_size, seed=config.split_seed).train
    torch.manual_seed(config.seed)
    model = models.build(config.network, dataset.num_classes, dataset.in_channels, dataset.mean, dataset.std)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(config.seed))
    steps = len(train) // config.batch_size
    model.train()
    for step in range(steps):
        index = train[order[step * config.batch_size:(step + 1) * config.batch_size]]
        x, y = dataset.x_train[index], dataset.y_train[index]
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        x = x if attack is None else attack(model, x, y)
        gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
        progress = step / steps
        rate = config.lr * max(progress / 0.3, 0.01) if progress < 0.3 else config.lr * (1 - (progress - 0.3) / 0.7)
        with torch.no_grad():
            for weight, gradient, v, mean in zip(model.parameters(), gradients, velocity, average):
                gradient = gradient + config.weight_decay * weight
                v.mul_(config.momentum).add_(gradient)
                weight.sub_(rate * (gradient + config.momentum * v))
                mean.mul_(config.ema).add_((1 - config.ema) * weight)
    return model, average


def assert_close(run, parameters):
    model = dict(run.model.named_parameters())
    assert len(model) == len(parameters)
    for (name, mine), reference in zip(model.items(), parameters):
        torch.testing.assert_close(mine.detach(), reference.detach(), rtol=1e-4, atol=2e-6, msg=name)


def test_cross_entropy_training_is_plain_sgd(run_it, stripes):
    run = run_it(epochs=1)
    assert run.metrics["train_images"] // 16 == 3
    assert_close(run, list(plain_loop(run.config, stripes)[0].parameters()))


def test_the_average_of_the_weights_is_what_a_loop_by_hand_gives(run_it, stripes):
    run = run_it(epochs=1, ema=0.7)
    model, average = plain_loop(run.config, stripes)
    assert_close(run, average)
    for mine, reference in zip(run.model.buffers(), model.buffers()):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(average[0], next(model.parameters()), atol=1e-3)


@pytest.mark.parametrize("method", ["pgd", "wpgd"])
def test_adversarial_training_is_sgd_on_attacked_batches(run_it, method):
    """Eq. (2) and (6): the attack maximises its loss in eval mode, the step minimises the cross entropy."""
    # An epoch is three steps of 270 points.
    config = training.configure(TOY, method=method, epochs=1, batch_size=270, p=2.5, lam=10.0, seed=4)
    noise = torch.Generator().manual_seed(config.seed + 1)
    raw = torch.tensor([[0, 10, 0.01], [10, 0, 1], [0.01, 1, 0]]) / 10

    def loss(logits, labels):
        if method == "pgd":
            return F.cross_entropy(logits, labels, reduction="none")
        q = logits.softmax(dim=1)
        return (raw[labels] ** 2.5 * q).sum(dim=1) + (q * q.log()).sum(dim=1) / (10 * math.log(3))

    def attack(model, x, y):
        return attacks.pgd(model, x, y, loss, eps=20 / 255, step_size=2.5 * 20 / 3 / 255, steps=3, norm="l2",
                           generator=noise)

    run = run_it(config.to_dict())
    assert_close(run, list(plain_loop(config, None, attack)[0].parameters()))


def test_mu_leads_from_pgd_to_wpgd_and_lies_between_them(run_it):
    """The inner loss is cross entropy + mu Eq. (5): a vanishing mu is PGD to the bit, a huge one WPGD."""
    pgd = run_it(TOY, method="pgd")
    wpgd, none, huge, both = (run_it(TOY, method="wpgd", p=10.0, mu=mu) for mu in (math.inf, 1e-30, 1e30, 10.0))
    assert equal(pgd, none) and not equal(pgd, wpgd) and not equal(both, pgd) and not equal(both, wpgd)
    assert all(torch.allclose(weights(huge)[name], value, atol=1e-5) for name, value in weights(wpgd).items())
    assert "mu=10.0" in both.config.label and both.folder.name != wpgd.folder.name


def test_the_attack_sees_an_eval_network_and_the_step_a_training_one(run_it, monkeypatch):
    outside, inside, real = [], [], attacks.pgd

    def spy(model, x, y, loss, **settings):
        outside.append((model.training, settings))
        hook = model.register_forward_pre_hook(lambda module, _: inside.append(module.training))
        result = real(model, x, y, loss, **settings)
        hook.remove()
        return result

    monkeypatch.setattr(attacks, "pgd", spy)
    run_it(method="pgd", eps=8, epochs=1)
    steps = [settings for training_mode, settings in outside if training_mode]
    assert len(steps) == 3 and not any(inside)
    assert all((one["eps"], one["steps"]) == (8 / 255, 2) for one in steps)
    assert all(one["step_size"] == pytest.approx(10 / 255) for one in steps)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_eps_warmup_lets_the_attack_grow_to_eps(run_it, monkeypatch, norm):
    given, real = [], attacks.pgd

    def spy(model, x, y, loss, **settings):
        found = real(model, x, y, loss, **settings)
        away = (found - x).flatten(1)
        far = away.abs().amax(1) if norm == "linf" else away.norm(dim=1)
        given.append((255 * settings["eps"], 255 * settings["step_size"]))
        assert (far <= settings["eps"] + 1e-6).all() and found.isfinite().all()
        return found

    monkeypatch.setattr(attacks, "pgd", spy)
    run = run_it(method="pgd", eps=8, norm=norm, epochs=2, val_every=2, eps_warmup=0.5)
    assert np.transpose(given[:6]) == pytest.approx(np.array([[0, 8, 16, 24, 24, 24], [0, 10, 20, 30, 30, 30]]) / 3)
    assert "eps_warmup=0.5" in run.config.label and not equal(run, run_it(method="pgd", eps=8, norm=norm, epochs=2))


def test_learning_rate_schedules():
    def rates(schedule, *points, warmup=0.3):
        config = training.configure(BASE, schedule=schedule, lr=0.4, warmup=warmup)
        return [parts.learning_rate(config, point) for point in points]

    assert rates("constant", 0, 0.5, 0.99) == [0.4] * 3
    assert rates("one_cycle", 0, 0.15, 0.3, 0.65, 1) == pytest.approx([0.004, 0.2, 0.4, 0.2, 0], abs=1e-12)
    assert rates("one_cycle", 0, 0.25, warmup=0.0) == pytest.approx([0.4, 0.3])


# --- the environment ---

@pytest.mark.parametrize("variable, value", [
    ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"), ("ACCELERATE_MIXED_PRECISION", "bf16"),
    ("ACCELERATE_USE_FSDP", "true"), ("ACCELERATE_DYNAMO_BACKEND", "EAGER")])
def test_what_accelerate_launch_exports_does_not_change_what_a_config_trains(run_it, monkeypatch, variable, value):
    plain = run_it(method="pgd", eps=8.0, store="plain")
    AcceleratorState._reset_state(reset_partial_state=True)  # as in a new process
    GradientState._reset_state()
    monkeypatch.setenv(variable, value)
    run = run_it(method="pgd", eps=8.0)
    assert run.folder.name == plain.folder.name and equal(run, plain) and rows(run) == rows(plain)
    assert os.environ[variable] == value, "it belongs to whoever exported it"


def test_a_precision_that_the_process_has_set_already_is_refused(run_it):
    AcceleratorState._reset_state(reset_partial_state=True)
    Accelerator(mixed_precision="bf16")
    try:
        with pytest.raises(ValueError, match="mixed_precision"):
            run_it()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("settings", [{"augment": True, "method": "pgd", "eps": 8.0}, {**TOY, "method": "wpgd"}])
def test_the_global_float_type_neither_matters_nor_changes(run_it, settings):
    attack, base = attacks.PGD(0.05, 2, norm="l2"), settings if "data" in settings else {**BASE, **settings}
    plain = run_it(base, store="plain")
    answers = evaluate(plain.model, plain.dataset.x_test, plain.dataset.y_test, attack).predictions
    torch.set_default_dtype(torch.float64)
    try:
        run = run_it(base)
        found = training.load_model(run.folder)[0]
        again = evaluate(found, run.dataset.x_test, run.dataset.y_test, attack).predictions
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert run.folder.name == plain.folder.name and equal(run, plain) and rows(run) == rows(plain)
    assert {value.dtype for value in found.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert np.array_equal(again, answers)


# --- interruption -----------------------------------------------------------------------------------------------

FULL = {**BASE, "method": "pgd", "eps": 8.0, "epochs": 3, "augment": True, "ema": 0.9, "val_every": 2}


def interrupted_by_time(run_it, monkeypatch, **settings):
    """Train with a clock that lets each call do one epoch."""
    for calls in range(20):
        ticks = iter([0.0] * 2 + [1e6] * 50)
        clock = SimpleNamespace(perf_counter=time.perf_counter, monotonic=lambda ticks=ticks: next(ticks))
        monkeypatch.setattr(loop, "time", clock)
        try:
            return run_it(FULL, deadline=1.0, **settings), calls
        except training.OutOfTime as stop:
            assert f"after epoch {calls + 1} of 3" in str(stop)
    raise AssertionError("never finished")


def interrupted_at_step(run_it, monkeypatch, step, error, **settings):
    """Break off in the middle of an epoch, at the given training step, and call again."""
    calls, real = [], attacks.pgd

    def bomb(model, x, y, loss, **options):
        calls.append(1)
        if options.get("check", True) is False and len(calls) == step:
            raise error
        return real(model, x, y, loss, **options)

    monkeypatch.setattr(attacks, "pgd", bomb)
    with pytest.raises(type(error)):
        run_it(FULL, **settings)
    monkeypatch.setattr(attacks, "pgd", real)
    return run_it(FULL, **settings)


@pytest.fixture(scope="module")
def whole(stripes, tmp_path_factory):
    """The uninterrupted run that all others must equal."""
    store = tmp_path_factory.mktemp("whole")
    return training.train(training.configure(FULL), data_root=stripes, store=store, progress=False)


def test_a_run_resumed_after_its_deadline_equals_an_uninterrupted_one(run_it, whole, monkeypatch):
    run, stops = interrupted_by_time(run_it, monkeypatch)
    assert stops == 2 and equal(run, whole) and rows(run) == rows(whole)
    assert not (run.folder / "checkpoint.pt").exists()
    assert json.loads((run.folder / "provenance.json").read_text())["resumed_after_epoch"] == 2


@pytest.mark.parametrize("step, error", [(2, KeyboardInterrupt()), (5, KeyboardInterrupt()), (8, OSError("disk full"))])
def test_a_run_killed_in_the_middle_of_an_epoch_equals_an_uninterrupted_one(run_it, whole, monkeypatch, step, error):
    run = interrupted_at_step(run_it, monkeypatch, step, error)
    assert equal(run, whole) and rows(run) == rows(whole)


def test_global_generators_neither_matter_nor_change(run_it, whole):
    torch.manual_seed(99)
    np.random.seed(99)
    before = torch.get_rng_state()
    assert equal(run_it(FULL), whole)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_passed_deadline_starts_nothing(run_it):
    with pytest.raises(training.OutOfTime, match="no time is left"):
        run_it(deadline=time.monotonic() - 1)


@pytest.mark.parametrize("content", [b"garbage", b"", b"PK\x03\x04 no archive", b"half"])
def test_a_checkpoint_that_cannot_be_read_starts_again(run_it, whole, tmp_path, monkeypatch, content, capsys):
    ticks = iter([0.0, 0.0, 1e6])
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=time.perf_counter, monotonic=lambda: next(ticks)))
        with pytest.raises(training.OutOfTime):
            run_it(FULL, deadline=1.0)
    file = tmp_path / "runs" / whole.folder.name / "checkpoint.pt"
    assert torch.load(file, weights_only=True)["epoch"] == 1
    file.write_bytes(file.read_bytes()[:2000] if content == b"half" else content)
    assert equal(run_it(FULL), whole)
    assert "cannot be read" in capsys.readouterr().out


# --- the store --------------------------------------------------------------------------------------------------

def test_a_finished_run_loads_without_training(run_it, monkeypatch):
    settings = {"method": "pgd", "eps": 8.0, "ema": 0.8}
    trained = run_it(**settings)
    monkeypatch.setattr(loop.Trainer, "run_epoch", None)
    found = run_it(**settings)
    assert (trained.loaded, found.loaded) == (False, True) and found.folder == trained.folder
    assert found.metrics == trained.metrics and found.rows == trained.rows and found.config == trained.config
    for one, two in zip(trained.model.state_dict().values(), found.model.state_dict().values()):
        assert torch.equal(one, two)
    assert not found.model.training and not trained.model.training


def test_what_a_run_leaves_on_disk(run_it):
    run = run_it(TOY, method="wpgd", p=2.5, val_every=2, epochs=5)
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"config.json", "history.csv", "metrics.json", "provenance.json", "weights.safetensors", "cost.csv",
                     "manifest.json"}
    assert list(run.history.columns) == ["epoch", "lr", "train_loss", "val_ne", "val_ae", "seconds"]
    assert run.history["epoch"].tolist() == [2, 4, 5]
    config = json.loads((run.folder / "config.json").read_text())
    assert training.configure({name: config[name] for name in run.config.to_dict()}) == run.config
    assert (run.metrics["epochs"], run.metrics["train_images"]) == (5, 810)
    assert run.metrics["val_ne"] == run.history["val_ne"].iloc[-1]
    assert run.metrics["parameters"] == sum(parameter.numel() for parameter in run.model.parameters())
    facts = json.loads((run.folder / "provenance.json").read_text())
    assert {"commit", "device", "torch", "python", "threads", "date", "seed"} <= set(facts)
    assert find(run.folder.parent, method="wpgd", p=2.5) == [run.folder]
    assert find(run.folder.parent, method="pgd") == []


def test_history_is_measured_on_the_held_out_images(run_it):
    run = run_it(method="pgd", eps=8.0, val_images=10)
    x, y = data.to_float(run.validation[0][:10]), run.validation[1][:10]
    wrong = (run.model(x).argmax(dim=1) != y).float().mean() * 100
    assert run.history["val_ne"].iloc[-1] == pytest.approx(wrong.item(), abs=1e-3)
    adversarial = attacks.PGD(8 / 255, steps=2)(run.model, x, y)
    wrong = (run.model(adversarial).argmax(dim=1) != y).float().mean() * 100
    assert run.history["val_ae"].iloc[-1] == pytest.approx(wrong.item(), abs=1e-3)
    assert run_it(epochs=1).history["val_ae"].isna().all()


def test_the_test_set_has_no_influence(tmp_path):
    arrays, outcomes = write_npz(tmp_path, "stripes"), []
    for poison in (False, True):
        if poison:
            noise = np.random.default_rng(9).integers(0, 256, arrays.x_test.shape, dtype=np.uint8)
            np.savez(tmp_path / "stripes.npz", **{**vars(arrays), "x_test": noise, "y_test": arrays.y_test[::-1]})
        config = training.configure(BASE, method="pgd", eps=8.0)
        outcomes.append(training.train(config, data_root=tmp_path, store=tmp_path / "runs", progress=False))
    clean, poisoned = outcomes
    assert not torch.equal(clean.dataset.x_test, poisoned.dataset.x_test) and clean.folder != poisoned.folder
    assert equal(clean, poisoned) and rows(clean) == rows(poisoned)


def test_imbalance_cuts_training_and_leaves_validation_alone(stripes):
    settings = {"classes": ["c2", "c0"], "val_size": 8}
    even = prepare(training.configure(BASE, settings), stripes)
    cut = prepare(training.configure(BASE, settings, ratio=0.3, minority="c0"), stripes)
    count = [torch.bincount(job.dataset.y_train[job.parts.train]).tolist() for job in (even, cut)]
    assert count[1] == [count[0][0], round(0.3 * count[0][0])] and count[1][1] < count[0][1]
    assert torch.equal(even.parts.validation, cut.parts.validation) and even.folder != cut.folder
    assert torch.equal(even.dataset.y_test, cut.dataset.y_test)


def test_training_learns(run_it):
    run = run_it(TOY, method="ce", epochs=15, val_every=15)
    x, y = run.dataset.x_test, run.dataset.y_test
    assert (run.model(x).argmax(dim=1) == y).float().mean() > 0.9
    assert losses.cross_entropy(run.model(x), y).mean() < math.log(3) / 2


def test_training_that_ends_finite_but_useless_is_told(run_it, capsys, monkeypatch):
    run_it(TOY, method="ce", epochs=15, val_every=15)
    assert "of no use" not in capsys.readouterr().out
    real = loop.Trainer.run_epoch

    def ruin(trainer, deadline=None):
        loss = real(trainer, deadline)
        if trainer.epoch == 15:  # the mean loss of the epoch is fine, its last step was not
            trainer.model.classifier.weight.data.zero_()
        return loss

    monkeypatch.setattr(loop.Trainer, "run_epoch", ruin)
    run = run_it(TOY, method="ce", epochs=15, val_every=15, store="ruined")
    assert run.metrics["train_loss"] < math.log(3) / 2
    told = capsys.readouterr().out
    assert f"no use, NE {run.metrics['val_ne']:.1f} % on validation" in told and "lower lr = 0.05" in told
    assert told.count("\n") == 1


def test_a_learning_rate_of_100_is_told(run_it, capsys):
    run = run_it(lr=100.0)
    assert math.isfinite(run.metrics["train_loss"]) and run.metrics["train_loss"] > 10
    assert "no use" in capsys.readouterr().out


def test_bfloat16_is_used_where_asked_and_ends_in_float32(run_it):
    full, half = (run_it(method="pgd", eps=8.0, precision=precision, ema=0.5) for precision in ("float32", "bf16"))
    assert all(value.dtype != torch.bfloat16 for value in weights(half).values())
    assert not equal(full, half), "the autocast did nothing"
    assert half.metrics["train_loss"] == pytest.approx(full.metrics["train_loss"], rel=0.02)


def test_the_cost_of_a_run_is_kept_as_it_was(run_it):
    run = run_it(TOY, method="wpgd")
    kept = costs.read_csv(run.folder / "cost.csv", run.dataset.classes)
    assert np.array_equal(kept.values, run.cost.values) and kept.classes == run.cost.classes


def test_a_run_may_start_from_the_weights_of_another(run_it, stripes, tmp_path, monkeypatch):
    first = run_it(method="ce")
    second = run_it(method="ce", start=first.folder.name)
    assert second.folder.name != first.folder.name and f"start={first.folder.name}" in second.config.label
    begun = prepare(second.config, stripes, tmp_path / "runs").network()
    assert answers.weights_fingerprint(begun) == answers.weights_fingerprint(first.model)
    assert not equal(first, second)
    # Weights that come with the study, in half precision, in a store that has never seen the run.
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights(first).items()}
    for number, place in enumerate((f"weights/{first.folder.name}.safetensors",
                                    f"runs/{first.folder.name}/weights.safetensors")):  # the second as it is exported
        shipped = tmp_path / f"results-{number}" / "reduced" / place
        shipped.parent.mkdir(parents=True)
        save_file(half, shipped)
        monkeypatch.setattr(store, "RESULTS", tmp_path / f"results-{number}")
        again = prepare(second.config, stripes, tmp_path / "elsewhere").network()
        assert torch.allclose(again.classifier.weight, begun.classifier.weight, atol=1e-3)
    with pytest.raises(FileNotFoundError, match="no weights of a run 'nobody'"):
        run_it(method="ce", start="nobody")
