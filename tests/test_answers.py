"""Kept answers: found again by what decides them and by nothing else, whole or not at all, also where committed."""
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers import answers, attacks, losses
from helpers.evaluation import evaluate_run
from helpers.intervals import worst_case

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = sorted(ROOT.glob("results/*/runs/*/answers.npz"))


def one_hot_images(classes, dtype=torch.float32):
    return torch.eye(4, dtype=dtype)[torch.as_tensor(classes)].view(-1, 1, 2, 2)


class Counting:
    """An attack that counts its calls and turns every image into class `target`."""

    def __init__(self, target=0):
        self.calls, self.target = 0, target

    def __call__(self, model, x, y):
        self.calls += 1
        return one_hot_images([self.target] * len(x))

    def describe(self):
        return {"name": "counting", "target": self.target}


class Described:
    """An attack of which nothing but its description is left."""

    def __init__(self, description):
        self.describe = lambda: description


@pytest.fixture
def run(tmp_path):
    labels = torch.arange(40) % 4
    dataset = SimpleNamespace(x_test=one_hot_images(labels, dtype=torch.uint8) * 255, y_test=labels)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    model[1].weight.data = torch.eye(4)
    validation = (dataset.x_test[:8], labels[:8])
    return SimpleNamespace(model=model, dataset=dataset, validation=validation, folder=tmp_path / "a run")


def files(run):
    return sorted((run.folder / "evaluations").iterdir())


def test_a_run_is_evaluated_once(run):
    attack = Counting()
    first = evaluate_run(run, attack)
    again = evaluate_run(run, Counting())
    assert attack.calls == 1 and again is evaluate_run(run, Counting()), "an unchanged file is read only once"
    assert vars(again).keys() == vars(first).keys() and again.seconds == first.seconds and first.error == 75
    np.testing.assert_array_equal(again.predictions, first.predictions)
    assert evaluate_run(run).error == 0 and len(files(run)) == 2
    (about,) = [about for about, _ in answers.kept(run.folder) if about["attack"]]
    assert about["attack"] == attack.describe() and about["split"] == "test" and about["limit"] is None
    assert about["error"] == 75 and about["batch_size"] == 125 and about["torch"] == torch.__version__


@pytest.mark.parametrize("change", ["attack", "split", "limit", "images", "labels", "weights", "version", "damage"])
def test_whatever_matters_is_in_the_key(run, change, monkeypatch):
    evaluate_run(run, Counting())
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
        monkeypatch.setattr("helpers.evaluation.EVALUATION_VERSION", 99)
    else:
        (path,) = files(run)
        path.write_bytes(path.read_bytes()[:100])
    found = evaluate_run(run, attack, **options)
    assert attack.calls == 1
    assert len(found.labels) == {"split": 8, "limit": 12}.get(change, 40)
    evaluate_run(run, attack, **options)
    assert attack.calls == 1


def test_what_was_answered_cannot_be_changed(run):
    found = evaluate_run(run, Counting())
    for name in ("labels", "predictions"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(found, name)[:] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert worst_case([found, evaluate_run(run, Counting(1))], 1 - np.eye(4)).error == 100


def test_attacks_without_a_description_are_not_kept(run):
    calls = []

    def attack(model, x, y):
        calls.append(len(x))
        return x

    for _ in range(2):
        evaluate_run(run, attack)
    assert len(calls) == 2 and not (run.folder / "evaluations").exists()
    with pytest.raises(ValueError, match="plain JSON"):
        evaluate_run(run, Described({"cost": np.eye(2)}))
    with pytest.raises(ValueError, match="split"):
        evaluate_run(run, split="train")


def test_a_loss_of_the_readers_own_is_attacked_afresh(run):
    """Its name says nothing: a cell that is edited and run again must not show the answers of its old body."""
    def towards(step):
        def loss(logits, labels):
            there = (labels[:, None] + step) % 4
            return (logits.gather(1, there) - logits.gather(1, labels[:, None]))[:, 0]

        return loss

    first, second = (evaluate_run(run, attacks.PGD(0.9, 3, loss=towards(step))) for step in (1, 3))
    assert not np.array_equal(first.predictions, second.predictions) and not (run.folder / "evaluations").exists()
    for known in (losses.cross_entropy, losses.margin_loss, losses.WassersteinLoss(torch.ones(4, 4) - torch.eye(4))):
        assert attacks.PGD(0.1, loss=known).describe()["loss"]


def test_answers_are_found_whatever_batch_size_a_machine_prefers(run):
    attack = Counting()
    evaluate_run(run, attack, batch_size=10)
    calls = attack.calls
    evaluate_run(run, attack, batch_size=40)
    assert attack.calls == calls


def test_what_is_kept_can_be_damaged_and_is_then_not_counted(run):
    evaluate_run(run)
    evaluate_run(run, Counting())
    assert len(answers.kept(run.folder)) == 2 and not list(run.folder.glob("**/*.part"))
    whole = files(run)[0]
    content = bytearray(whole.read_bytes())
    for place in range(60, len(content), 17):  # every kind of damage, zlib's own errors among them
        whole.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1:])
        assert len(answers.kept(run.folder)) in (1, 2)
    whole.unlink()
    assert len(answers.kept(run.folder)) == 1


def test_a_folder_that_cannot_be_written_costs_a_warning_not_the_answer(run):
    run.folder.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept"):
        assert evaluate_run(run).error == 0


# Exported answers -----------------------------------------------------------------------------------------


def test_a_run_without_weights_is_evaluated_from_what_was_exported(run, tmp_path):
    whole, part = evaluate_run(run, Counting()), evaluate_run(run, limit=12)
    export = tmp_path / "export"
    export.mkdir()
    answers.pack(run.folder, export / "answers.npz")
    exported = SimpleNamespace(model=None, folder=export)
    np.testing.assert_array_equal(evaluate_run(exported, Counting()).predictions, whole.predictions)
    assert len(evaluate_run(exported, limit=12).labels) == len(part.labels) == 12
    for other in ({"attack": Counting(1)}, {"limit": 13}, {"attack": Counting(), "split": "validation"},
                  {"attack": lambda model, x, y: x}):
        with pytest.raises(ValueError, match="export was exported without weights"):
            evaluate_run(exported, **other)


def test_packed_answers_are_the_same_bytes_and_only_their_weights_take_them_over(run, tmp_path):
    for attack in (None, Counting(), Counting(1)):
        evaluate_run(run, attack)
    answers.pack(run.folder, tmp_path / "a.npz")
    weights = answers.weights_fingerprint(run.model)
    answers.unpack(tmp_path / "a.npz", tmp_path / "again", weights)
    answers.unpack(tmp_path / "a.npz", tmp_path / "other", "0123456789abcdef")
    assert [path.name for path in files(SimpleNamespace(folder=tmp_path / "again"))] == [p.name for p in files(run)]
    assert answers.kept(tmp_path / "other") == [] and not (tmp_path / "other").exists()
    answers.pack(tmp_path / "again", tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    answers.pack(tmp_path / "other", tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()
    attack, run.folder = Counting(), tmp_path / "again"
    evaluate_run(run, attack)
    assert attack.calls == 0


@pytest.mark.parametrize("path", COMMITTED, ids=[path.parent.name for path in COMMITTED])
def test_every_committed_answer_is_found(path):
    """By its attack, split and limit, as the run without weights has them; with the error that it was exported with."""
    exported = SimpleNamespace(model=None, folder=path.parent)
    kept = answers.kept(path.parent)
    with np.load(path) as packed:
        assert len(kept) == sum("." not in name for name in packed.files) > 0
    for about, answer in kept:
        attack = about["attack"] and Described(about["attack"])
        assert evaluate_run(exported, attack, split=about["split"], limit=about["limit"]) is answer
        assert answer.error == pytest.approx(about["error"])


def test_the_names_of_committed_answers_do_not_change(tmp_path):
    """A key is the file's name; were it made otherwise, nothing that a store holds would be found again."""
    name = "cifar10_W-16-1_CE_seed=0-f04b0cac3b"
    folder = ROOT / "results" / "reduced" / "runs" / name
    weights = {about["weights"] for about, _ in answers.kept(folder)}
    answers.unpack(folder / "answers.npz", tmp_path, weights.pop())
    names = [path.stem for path in files(SimpleNamespace(folder=tmp_path))]
    assert not weights and names == ["82c0ff3d3a42ca61", "929139e5c7e22a45", "f26e6d6551e52429"]
