"""helpers.evaluation: predictions against scikit-learn's confusion matrices, S by hand, inputs that are named."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torch import nn

from helpers import attacks, losses, models
from helpers import evaluation as ev
from helpers.costs import CostMatrix
from helpers.evaluation import CostSensitive, Evaluation, evaluate, weighted_score
from helpers.intervals import bootstrap, rho, worst_case


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
    assert found.error == pytest.approx(100 * np.mean(labels != predictions)) == 100 * np.mean(~found.correct)
    np.testing.assert_allclose(found.class_error, 100 * (1 - np.diag(found.confusion)))
    np.testing.assert_allclose(ev.confusion_matrix(Brightest(), one_hot_images(predictions), labels), found.confusion)


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


def test_batches_are_500_images_and_125_for_an_attack_on_a_cpu():
    """They decide which random start an image gets, hence the numbers of every table."""
    sizes, labels = [], torch.arange(1001) % 4

    class Spy(Brightest):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    ev.predict_logits(Spy(), one_hot_images(labels))
    assert sizes == [500, 500, 1]
    sizes.clear()
    ev.predict_logits(Spy(), one_hot_images(labels), labels, lambda model, x, y: x)
    assert sizes == [125] * 8 + [1]


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
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not first.is_inference() and not first.requires_grad


def test_an_attack_of_ones_own_meets_a_network_that_is_not_frozen():
    """A frozen network folds its BatchNorm: gradients, and with them answers, would differ in the last digits."""
    def attack(model, x, y):
        assert all(parameter.requires_grad for parameter in model.parameters()) and not model.training
        return x

    network, images = models.wide_resnet(10, 1, 4), torch.rand(4, 3, 16, 16)
    logits = ev.predict_logits(network, images, range(4), attack)
    with torch.inference_mode():
        assert network.training and torch.equal(logits, network.eval()(images))


def test_features_of_a_model():
    images = one_hot_images([2, 0, 1, 3, 3])
    np.testing.assert_array_equal(ev.features(Brightest(), images, batch_size=2), images.flatten(1))
    with pytest.raises(AttributeError, match="features"):
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
    with pytest.raises(ValueError, match="finite, but row 0"):
        ev.evaluate(lambda x: x.flatten(1) / 0, images, labels)
    with pytest.raises(ValueError, match=r"must return logits"):
        ev.evaluate(lambda x: x, images, labels)
    with pytest.raises(ValueError, match=r"bfloat16"):
        ev.evaluate(nn.Sequential(nn.Flatten(), nn.Linear(4, 4)).bfloat16(), images, labels)
    with pytest.raises(ValueError, match=r"pixels outside \[0, 1\]"):
        ev.evaluate(Brightest(), images, labels, lambda model, x, y: x + 0.1)
    with pytest.raises(ValueError, match=r"an attack images like its own; got logits \(1, 4\) for N = 4"):
        ev.evaluate(Brightest(), images, labels, lambda model, x, y: x[:1])
    with pytest.raises(ValueError, match="needs the labels"):
        ev.predict_logits(Brightest(), images, attack=lambda model, x, y: x)
    with pytest.raises(ValueError, match="at least 1"):
        ev.evaluate(Brightest(), images, labels, batch_size=0)


def test_an_absent_class_is_a_nan_row_only_when_allowed():
    found = ev.evaluate(Brightest(), one_hot_images([0, 1, 3]), [0, 1, 3], allow_absent=True)
    assert np.isnan(found.confusion[2]).all() and np.isfinite(found.confusion[[0, 1, 3]]).all()
    with pytest.raises(ValueError, match="NaN"):
        ev.weighted_score(1 - np.eye(4), found)
    with pytest.raises(ValueError, match=r"class 0, 1, .*, 9, \.\.\. \(199 in all\)"):
        Evaluation([199], [0], 200)


# S of Eq. (7) ---------------------------------------------------------------------------------------------

ROBUST = np.array([[0.5, 0.4, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])
COST = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]])


def test_weighted_score_by_hand():
    # Rows of C / 4 times rows of ROBUST: 0.4/4 + 0.1*4/4, 0.3/4 + 0.1*2/4, 0.1*4/4 + 0.1*2/4.
    assert ev.weighted_score(COST, ROBUST) == pytest.approx(0.2 + 0.125 + 0.15)
    assert ev.weighted_score(torch.tensor(100 * COST), ROBUST) == pytest.approx(0.475)
    assert ev.weighted_score(pd.DataFrame(COST), ROBUST) == pytest.approx(0.475)
    assert ev.weighted_score(COST, np.eye(3)) == 0
    one_way = np.array([[0.0, 1.0], [0.5, 0.0]])  # rows are the true class: 0 taken for 1 costs 1
    assert ev.weighted_score(one_way, [[0.8, 0.2], [0.6, 0.4]]) == pytest.approx(0.2 + 0.3)
    assert ev.weighted_score(1 - np.eye(2), Evaluation([0, 0, 1, 1], [1, 0, 0, 0], 2)) == pytest.approx(1.5)
    assert ev.weighted_score(1 - np.eye(4), np.roll(np.eye(4), 1, axis=0)) == 4


def test_named_classes_are_weighed_by_name():
    cost = CostMatrix([[0, 1, 4], [1, 0, 2], [4, 2, 0]], ("0", "1", "2"))
    confusion = np.array([[0.5, 0.2, 0.3], [0.1, 0.9, 0.0], [0.0, 0.6, 0.4]])
    expected = ev.weighted_score(cost, confusion)
    for rows, columns in (([2, 0, 1], [1, 2, 0]), ([0, 1, 2], [2, 1, 0])):
        table = pd.DataFrame(confusion).loc[rows, columns]
        assert ev.weighted_score(cost, table) == pytest.approx(expected)
        assert ev.mean_error_cost(cost, table) == pytest.approx(expected / (confusion.sum() - confusion.trace()))
    with pytest.raises(ValueError, match="no class 'x'"):
        ev.weighted_score(cost, pd.DataFrame(confusion, list("01x"), list("01x")))


def test_cost_of_an_error_is_score_over_errors():
    seen = Evaluation([0, 0, 1, 1, 2, 2], [2, 0, 0, 1, 2, 2], 3)
    assert ev.mean_error_cost(COST, seen) == pytest.approx((1.0 + 0.25) / 2)
    assert ev.mean_error_cost(COST, seen) == pytest.approx(ev.weighted_score(COST, seen) / (3 * seen.error / 100))
    assert np.isnan(ev.mean_error_cost(COST, np.eye(3)))


@pytest.mark.parametrize(
    "cost, confusion, message",
    [
        (COST, 10 * ROBUST, "row-normalised"),
        (COST, ROBUST - 0.5 + 1 / 3 * 0.5, "row-normalised"),
        (np.ones((2, 2)) - np.eye(2), ROBUST, "2 rows for 3 classes"),
        (-COST, ROBUST, "negative"),
        (COST + np.eye(3), ROBUST, "non-zero diagonal"),
        (0 * COST, ROBUST, "positive"),
        (COST * np.nan, ROBUST, "no finite"),
        (COST[:2], ROBUST, "2 rows"),
    ],
)
def test_weighted_score_refuses_bad_matrices(cost, confusion, message):
    with pytest.raises(ValueError, match=message):
        ev.weighted_score(cost, confusion)


@pytest.mark.parametrize("use", [
    lambda cost: ev.weighted_score(cost, ROBUST), lambda cost: ev.mean_error_cost(cost, ROBUST),
    lambda cost: CostSensitive(Brightest(), cost), lambda cost: rho(ROBUST, cost)],
    ids=["weighted_score", "mean_error_cost", "CostSensitive", "rho"])
def test_a_row_that_is_too_short_is_told_by_whatever_takes_a_cost(use):
    with pytest.raises(ValueError, match="Row 2 of the cost matrix, of class '1', has 2 entries for 3 classes"):
        use([[0, 1, 2], [1, 0], [2, 1, 0]])
    use([[0, 1, 2], [1, 0, 1], [2, 1, 0]])


# Deciding by the cost


class Linear(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1))


def linear(weight, bias):
    model = Linear(len(weight[0]), len(weight), dtype=torch.float64)
    model.weight.data[:], model.bias.data[:] = torch.tensor(weight), torch.tensor(bias)
    return model


def test_deciding_by_the_cost_takes_the_answer_of_least_expected_cost():
    model = linear([[2.0, -1.0], [0.5, 3.0], [-1.0, 0.5]], [0.1, -1.0, 0.7])
    cost = CostMatrix([[0, 1, 8], [2, 0, 1], [1, 4, 0]], ("a", "b", "c"), symmetric=False)
    x = torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    by_hand = [min(range(3), key=lambda k, q=q: sum(q[j] * cost.values[j, k] for j in range(3)))
               for q in softmax(model(x).detach().numpy(), axis=1)]
    decided = CostSensitive(model, cost)
    assert evaluate(decided, x, by_hand, allow_absent=True).error == 0
    assert evaluate(model, x, by_hand, allow_absent=True).error > 10
    # Where every error costs the same, the rule changes nothing.
    plain = CostSensitive(model, 1 - np.eye(3))
    assert torch.equal(plain(x).argmax(1), model(x).argmax(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert CostSensitive(model.float(), cost)(x.float()).dtype == torch.float32, "risks are not rounded"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_attack_on_two_classes_that_knows_the_rule_reaches_the_closed_form(norm):
    model = linear([[1.0, -2.0, 0.5], [-0.5, 1.0, 1.5]], [0.2, 0.0])
    decided = CostSensitive(model, CostMatrix([[0, 1], [5, 0]], ("a", "b"), symmetric=False))
    x, y, eps = torch.full((1, 3), 0.5, dtype=torch.float64), torch.tensor([0]), 0.1
    found = attacks.pgd(decided, x, y, losses.margin_loss, eps=eps, step_size=0.05, steps=20, norm=norm)
    w = torch.tensor([-1.5, 3.0, 1.0], dtype=torch.float64)  # of z_1 - z_0
    gap = (w @ x[0]).item() - 0.2 + eps * (w.abs().sum() if norm == "linf" else w.norm()).item()
    q1 = 1 / (1 + np.exp(-gap))
    risk = np.array([q1 * 1.0, (1 - q1) * 0.2])  # of the answers a and b; costs are scaled to 1
    assert losses.margin_loss(decided(found), y).item() == pytest.approx(np.log(risk[0] / risk[1]), abs=1e-6)
    assert decided(found).argmax() == int(gap > np.log(1 / 5))  # b, once q_1 * 5 > q_0 * 1


def test_the_attack_that_knows_the_rule_finds_what_enumeration_finds():
    model = linear([[6.0, -3.0], [-2.0, 5.0], [-3.0, -4.0]], [0.0, -1.0, 2.0])
    cost = np.array([[0, 1, 10], [1, 0, 1], [2, 1, 0.0]])
    decided = CostSensitive(model, cost)
    x, y, eps = torch.tensor([[0.5, 0.4], [0.3, 0.6], [0.4, 0.3]], dtype=torch.float64), torch.tensor([0, 1, 2]), 0.1
    found = attacks.pgd(decided, x, y, losses.margin_loss, eps=eps, step_size=0.02, steps=40, restarts=4,
                        generator=torch.Generator().manual_seed(0))
    steps = torch.linspace(-eps, eps, 101, dtype=torch.float64)
    for one, label, image in zip(x, y, found):
        points = one + torch.cartesian_prod(steps, steps)
        risk = model(points).softmax(1).detach().numpy() @ cost / 10
        highest = np.log(risk[:, label] / np.delete(risk, label, axis=1).min(axis=1)).max()
        reached = losses.margin_loss(decided(image[None]), label[None]).item()
        assert reached == pytest.approx(highest, abs=1e-3)


def test_the_attack_that_knows_the_rule_sees_through_a_sure_network():
    """Expected costs of a saturated softmax are 0 and 1 without a gradient: its attack found 18 % where 88 % err."""
    generator, cost = torch.Generator().manual_seed(0), [[0, 1, 4], [1, 0, 1], [2, 1, 0]]
    weight = torch.randn(3, 8, generator=generator).tolist()
    x, found = torch.rand(200, 8, dtype=torch.float64, generator=generator), {}
    for scale in (10.0, 3000.0):
        decided = CostSensitive(linear((scale * np.array(weight)).tolist(), [0.0, 0.0, 0.0]), cost)
        labels = decided(x).argmax(1)
        attack = partial(attacks.pgd, loss=losses.margin_loss, eps=0.1, step_size=0.02, steps=20)
        found[scale] = evaluate(decided, x, labels, attack, allow_absent=True).error
    assert found[10.0] > 30 and found[3000.0] == pytest.approx(found[10.0], abs=3)
    free = CostSensitive(linear(weight, [0.0, 0.0, 0.0]), [[0, 1, 0], [1, 0, 0], [2, 1, 0]])
    assert (ev.predict_logits(free, x).argmax(1) == 2).all()  # to say c never costs anything


def test_frames_are_matched_by_name_on_either_axis():
    names = ["a", "b", "c"]
    cost = pd.DataFrame([[0, 1, 4], [1, 0, 2], [4, 2, 0]], names, names)
    right = pd.DataFrame([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]], names, names)
    S = (cost.to_numpy() / 4 * right.to_numpy()).sum()
    for rows, columns in ((names, names), ("cab", names), (names, "bca"), ("bac", "cab")):
        moved = right.loc[list(rows), list(columns)]
        for metric in (cost, cost.loc[["b", "c", "a"], ["c", "a", "b"]], CostMatrix(cost.to_numpy(), names)):
            assert ev.weighted_score(metric, moved) == pytest.approx(S)


def test_a_cost_with_names_is_matched_by_name_whatever_its_order(rng):
    """Reversed classes gave another S in silence."""
    classes = ("cat", "dog", "frog")
    labels = torch.arange(60) % 3
    answers = torch.randint(3, (60,), generator=rng)
    found = Evaluation(labels, answers, 3, classes=classes)
    cost = CostMatrix([[0, 1, 4], [2, 0, 3], [5, 1, 0]], classes, symmetric=False)
    turned = cost.select(classes[::-1])
    score = weighted_score(cost, found)
    assert weighted_score(cost.values, found) == score != weighted_score(turned.values, found)
    for other in (turned, turned.to_frame(), cost.to_frame()):
        assert weighted_score(other, found) == score
        assert bootstrap(lambda one, other=other: weighted_score(other, one), found, samples=50) == bootstrap(
            lambda one: weighted_score(cost, one), found, samples=50)
        assert np.array_equal(worst_case([found], other).predictions, found.predictions)
    for other in (CostMatrix(cost.values, ("cat", "dog", "ship"), symmetric=False),
                  cost.to_frame().rename(columns={"frog": "ship"})):
        with pytest.raises(ValueError, match="'frog'"):
            weighted_score(other, found)
