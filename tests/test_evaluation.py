"""helpers.evaluation: predictions against scikit-learn's confusion matrices, and the cache of a run."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torch import nn

from helpers import attacks, losses
from helpers import evaluation as ev
from helpers.evaluation import cached
from helpers.paper import section5


class Brightest(nn.Module):
    """Logits are the pixels: the brightest pixel's index is the class."""

    def features(self, x):
        return x.flatten(1)

    def forward(self, x):
        return self.features(x)


def one_hot_images(classes, num_classes=4, dtype=torch.float32):
    return torch.eye(num_classes, dtype=dtype)[torch.as_tensor(classes)].view(-1, 1, 2, 2)


# Predictions ----------------------------------------------------------------------------------------------


def test_confusion_matrix_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    found = ev.evaluate(Brightest(), one_hot_images(predictions), labels, batch_size=7)
    np.testing.assert_array_equal(found.predictions, predictions)
    np.testing.assert_array_equal(found.counts, sklearn_confusion(labels, predictions))
    np.testing.assert_allclose(found.confusion, sklearn_confusion(labels, predictions, normalize="true"))
    np.testing.assert_allclose(found.confusion.sum(axis=1), 1)
    assert found.error == pytest.approx(100 * np.mean(labels != predictions))
    np.testing.assert_allclose(found.class_error, 100 * (1 - np.diag(found.confusion)))
    np.testing.assert_allclose(
        ev.confusion_matrix(Brightest(), one_hot_images(predictions), labels), found.confusion
    )


def test_uint8_images_become_floats_between_0_and_1():
    seen = []

    class Spy(Brightest):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    ev.evaluate(Spy(), one_hot_images(range(4), dtype=torch.uint8) * 255, range(4))
    assert seen[-1].dtype == torch.float32 and seen[-1].min() == 0 and seen[-1].max() == 1


def test_the_attack_sees_float_batches_eval_mode_and_gradients_and_changes_the_answer():
    calls = []

    def rotate(model, x, y):
        x = x.clone().requires_grad_()
        torch.autograd.grad(model(x).sum(), x)
        calls.append((len(x), y.tolist(), model.training))
        return x.detach().roll(1, dims=-1)

    labels = [0, 1, 2, 3, 0]
    images = one_hot_images(labels)
    with torch.no_grad():
        attacked = ev.evaluate(Brightest(), images, labels, rotate, batch_size=3)
    assert calls == [(3, [0, 1, 2], False), (2, [3, 0], False)]
    assert attacked.error == 100 and attacked.predictions.tolist() == [1, 0, 3, 2, 1]
    logits = ev.predict_logits(Brightest(), images, labels, rotate)
    assert logits.argmax(1).tolist() == attacked.predictions.tolist()


def test_the_model_is_left_as_it_was_found_even_after_a_failure():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 4)))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    images = one_hot_images([0, 1, 2, 3])
    first, second = (ev.predict_logits(model, images) for _ in range(2))
    assert torch.equal(first, second), "dropout was active"
    assert [module.training for module in model.modules()] == flags

    def broken(model, x, y):
        raise RuntimeError("attack")

    with pytest.raises(RuntimeError, match="attack"):
        ev.evaluate(model, images, range(4), broken)
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not first.is_inference() and not first.requires_grad


def test_features_of_a_model():
    images = one_hot_images([2, 0, 1, 3, 3])
    np.testing.assert_array_equal(ev.features(Brightest(), images, batch_size=2), images.flatten(1))
    with pytest.raises(ValueError, match="features"):
        ev.features(nn.Flatten(), images)


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (torch.zeros(0, 1, 2, 2), [], "no image"),
        (one_hot_images(range(4)) * 255, range(4), "divide"),
        (one_hot_images(range(4)) - 0.5, range(4), r"\[0, 1\]"),
        (one_hot_images(range(4)) * float("nan"), range(4), r"\[0, 1\]"),
        (one_hot_images(range(4), dtype=torch.int64), range(4), "int64"),
        (one_hot_images(range(4), dtype=torch.int8), range(4), "int8"),
        (one_hot_images(range(4)), [0, 1, 2, 4], r"0\.\.3, found values from 0 to 4"),
        (one_hot_images(range(4)), [0, 1, 2, -1], "from -1"),
        (one_hot_images(range(4)), [0, 1, 2], "4 images but 3 labels"),
        (one_hot_images(range(4)), [0.0, 1.0, 2.0, 3.0], "float32"),
        (one_hot_images(range(4)), [0, 1, 1, 3], "no image of class 2"),
    ],
)
def test_bad_images_and_labels_are_named(images, labels, message):
    def attack(model, x, y):
        pytest.fail("the attack must not start")

    with pytest.raises(ValueError, match=message):
        ev.evaluate(Brightest(), images, list(labels), attack)


def test_bad_models_and_attacks_are_named():
    images, labels = one_hot_images(range(4)), list(range(4))
    with pytest.raises(ValueError, match="num_classes says 5"):
        ev.evaluate(Brightest(), images, labels, num_classes=5)
    with pytest.raises(ValueError, match="finite"):
        ev.evaluate(lambda x: x.flatten(1) / 0, images, labels)
    with pytest.raises(ValueError, match=r"must return logits"):
        ev.evaluate(lambda x: x, images, labels)
    with pytest.raises(ValueError, match=r"bfloat16"):
        ev.evaluate(nn.Sequential(nn.Flatten(), nn.Linear(4, 4)).bfloat16(), images, labels)
    with pytest.raises(ValueError, match=r"pixels outside \[0, 1\]"):
        ev.evaluate(Brightest(), images, labels, lambda model, x, y: x + 0.1)
    with pytest.raises(ValueError, match="attack returned shape"):
        ev.evaluate(Brightest(), images, labels, lambda model, x, y: x[:1])
    with pytest.raises(ValueError, match="needs the labels"):
        ev.predict_logits(Brightest(), images, attack=lambda model, x, y: x)


def test_an_absent_class_is_a_nan_row_only_when_allowed():
    found = ev.evaluate(Brightest(), one_hot_images([0, 1, 3]), [0, 1, 3], allow_absent=True)
    assert np.isnan(found.confusion[2]).all() and np.isfinite(found.confusion[[0, 1, 3]]).all()
    with pytest.raises(ValueError, match="NaN"):
        ev.accuracy_gap(found, found)


def test_evaluation_goes_through_json():
    found = ev.Evaluation([0, 1, 2, 2], [0, 2, 2, 1], 3)
    again = ev.Evaluation.from_dict(json.loads(json.dumps(found.to_dict())))
    np.testing.assert_array_equal(again.counts, found.counts)
    assert again.to_dict() == found.to_dict()
    with pytest.raises(ValueError, match="at least 2"):
        ev.Evaluation([0], [0], 1)


# The cache of a run ---------------------------------------------------------------------------------------


class Counting:
    """An attack that counts its calls and turns every image into class `target`."""

    def __init__(self, target=0):
        self.calls, self.target = 0, target

    def __call__(self, model, x, y):
        self.calls += 1
        return one_hot_images([self.target] * len(x))

    def describe(self):
        return {"name": "counting", "target": self.target}


@pytest.fixture
def run(tmp_path):
    labels = torch.arange(40) % 4
    dataset = SimpleNamespace(x_test=one_hot_images(labels, dtype=torch.uint8) * 255, y_test=labels, num_classes=4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    model[1].weight.data = torch.eye(4)
    validation = (dataset.x_test[:8], labels[:8])
    return SimpleNamespace(model=model, dataset=dataset, validation=validation, folder=tmp_path / "a run")


def test_a_run_is_evaluated_once(run):
    attack = Counting()
    first = ev.evaluate_run(run, attack)
    again = ev.evaluate_run(run, Counting())
    assert attack.calls == 1 and again.to_dict() == first.to_dict() and first.error == 75
    assert ev.evaluate_run(run).error == 0
    (about,) = [json.loads(p.read_text()) for p in run.folder.glob("evaluations/*.json") if "counting" in p.read_text()]
    assert about["attack"] == attack.describe() and about["error"] == 75 and about["split"] == "test"


@pytest.mark.parametrize("change", ["attack", "split", "limit", "images", "labels", "weights", "version", "damage"])
def test_whatever_matters_is_in_the_key(run, change, monkeypatch):
    ev.evaluate_run(run, Counting())
    attack, options = Counting(), {}
    if change == "attack":
        attack = Counting(target=1)
    elif change == "split":
        options = {"split": "validation"}
    elif change == "limit":
        options = {"limit": 12}
    elif change == "images":
        run.dataset.x_test[0] = 17
    elif change == "labels":
        run.dataset.y_test[0] = 3
    elif change == "weights":
        run.model[1].weight.data[0, 0] = 2
    elif change == "version":
        monkeypatch.setattr("helpers.evaluation.cached.EVALUATION_VERSION", 99)
    else:
        (path,) = run.folder.glob("evaluations/*.npz")
        path.write_bytes(path.read_bytes()[:100])
    found = ev.evaluate_run(run, attack, **options)
    assert attack.calls == 1
    assert len(found.labels) == {"split": 8, "limit": 12}.get(change, 40)
    ev.evaluate_run(run, attack, **options)
    assert attack.calls == 1


def test_attacks_without_a_description_are_not_kept(run):
    calls = []

    def attack(model, x, y):
        calls.append(len(x))
        return x

    for _ in range(2):
        ev.evaluate_run(run, attack)
    assert len(calls) == 2 and not (run.folder / "evaluations").exists()
    bad = Counting(target=0)
    bad.describe = lambda: {"cost": np.eye(2)}
    with pytest.raises(ValueError, match="plain JSON"):
        ev.evaluate_run(run, bad)
    with pytest.raises(ValueError, match="split"):
        ev.evaluate_run(run, split="train")


def test_a_loss_of_the_readers_own_is_attacked_afresh(run):
    """Its name says nothing: a cell that is edited and run again must not show the answers of its old body."""
    def towards(step):
        def loss(logits, labels):
            there = (labels[:, None] + step) % 4
            return (logits.gather(1, there) - logits.gather(1, labels[:, None]))[:, 0]

        return loss

    raise_the_next, raise_the_last = (attacks.PGD(0.9, 3, loss=towards(step)) for step in (1, 3))
    first, second = (ev.evaluate_run(run, attack) for attack in (raise_the_next, raise_the_last))
    assert not np.array_equal(first.predictions, second.predictions) and not (run.folder / "evaluations").exists()
    models = section5.Models({})
    assert [models.evaluations([run], attack)[0].predictions.tolist() for attack in (raise_the_next, raise_the_last)
            ] == [first.predictions.tolist(), second.predictions.tolist()]
    for known in (losses.cross_entropy, losses.margin_loss, losses.WassersteinLoss(torch.ones(4, 4) - torch.eye(4))):
        assert attacks.PGD(0.1, loss=known).is_described


def test_what_is_kept_can_be_damaged_and_is_then_not_counted(run):
    ev.evaluate_run(run)
    ev.evaluate_run(run, Counting())
    assert len(cached.kept_evaluations(run.folder)) == 2
    folder = run.folder / "evaluations"
    (folder / "half.json").write_text("{}")
    whole = sorted(folder.glob("*.npz"))[0]
    content = bytearray(whole.read_bytes())
    for place in range(60, len(content), 7):  # every kind of damage, zlib's own errors among them
        whole.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1:])
        assert len(cached.kept_evaluations(run.folder)) in (1, 2)
    whole.unlink()
    assert len(cached.kept_evaluations(run.folder)) == 1


def test_answers_are_found_whatever_batch_size_a_machine_prefers(run):
    attack = Counting()
    ev.evaluate_run(run, attack, batch_size=10)
    calls = attack.calls
    ev.evaluate_run(run, attack, batch_size=40)
    assert attack.calls == calls


def test_a_folder_that_cannot_be_written_costs_a_warning_not_the_answer(run):
    run.folder.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept"):
        assert ev.evaluate_run(run).error == 0


def test_stratified_subset_keeps_the_proportions():
    labels = np.repeat([0, 1, 2], [100, 40, 3])
    chosen = ev.stratified_subset(labels, 50)
    assert len(np.unique(chosen)) == 50 and (np.diff(chosen) > 0).all()
    counts = np.bincount(labels[chosen])
    assert counts[2] >= 1 and abs(counts[0] / counts[1] - 2.5) < 0.3
    np.testing.assert_array_equal(chosen, ev.stratified_subset(labels, 50))
    assert np.bincount(labels[ev.stratified_subset(labels, 3)]).tolist() == [1, 1, 1]
    assert len(ev.stratified_subset(labels, 142)) == 142 and len(ev.stratified_subset(labels, 1000)) == 143
    balanced = np.arange(1000) % 10
    assert np.bincount(balanced[ev.stratified_subset(balanced, 200)]).tolist() == [20] * 10
    with pytest.raises(ValueError, match="all 3 classes"):
        ev.stratified_subset(labels, 2)
