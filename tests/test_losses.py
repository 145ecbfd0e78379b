"""Losses against other people's code: POT's transport solvers, SciPy's entropy, finite differences."""
import math

import numpy as np
import ot
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from helpers import losses
from helpers.costs import CostMatrix

TOY3 = [[0, 10, 0.01], [10, 0, 1], [0.01, 1, 0]]


def problem(classes, count=3, seed=0, spread=3.0):
    """Random logits, labels and an asymmetric cost with a zero diagonal, in float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (count,), generator=generator)
    cost = 5 * torch.rand(classes, classes, generator=generator, dtype=torch.float64)
    return logits, labels, cost.fill_diagonal_(0)


def one_hot(label, classes):
    return np.eye(classes)[int(label)]


@pytest.mark.parametrize("p", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("classes", [2, 3, 10, 200])
def test_transport_term_is_the_optimal_transport_cost(classes, p):
    logits, labels, cost = problem(classes, seed=classes)
    ours = losses.wasserstein_loss(logits, labels, cost, p=p, lam=math.inf)
    for value, z, y in zip(ours, logits.numpy(), labels):
        # All target mass on class y moves to the prediction: source y, so row y of C.
        assert float(value) == pytest.approx(ot.emd2(one_hot(y, classes), softmax(z), cost.numpy() ** p), abs=1e-6)


def test_transport_term_holds_for_a_cost_with_a_diagonal():
    logits, labels, cost = problem(4)
    cost += 0.5
    ours = losses.wasserstein_loss(logits, labels, cost, lam=math.inf)
    theirs = [ot.emd2(one_hot(y, 4), softmax(z), cost.numpy()) for z, y in zip(logits.numpy(), labels)]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 10, 200])
@pytest.mark.parametrize("lam", [0.1, 1.0, 10.0])
def test_whole_loss_against_pot_and_scipy(classes, lam):
    logits, labels, cost = problem(classes, seed=1)
    ours = losses.wasserstein_loss(logits, labels, cost, p=1.5, lam=lam)
    for value, z, y in zip(ours, logits.numpy(), labels):
        q = softmax(z)
        transport = ot.emd2(one_hot(y, classes), q, cost.numpy() ** 1.5)
        assert float(value) == pytest.approx(transport - entropy(q) / (lam * np.log(classes)), abs=1e-6)


def test_sinkhorn_finds_the_same_plan_so_that_eq_4_becomes_eq_5():
    logits, labels, cost = problem(5, count=2, seed=2)
    lam = 3.0
    ours = losses.wasserstein_loss(logits, labels, cost, lam=lam)
    for value, z, y in zip(ours, logits.numpy(), labels):
        # Sinkhorn cannot take an exact zero in a marginal.
        target = (one_hot(y, 5) + 1e-12) / (1 + 5e-12)
        plan = ot.sinkhorn(target, softmax(z), cost.numpy(), reg=0.5)
        np.testing.assert_allclose(plan[int(y)], softmax(z), atol=1e-9)  # Lemma 4
        regularised = (plan * cost.numpy()).sum() - entropy(plan.ravel()) / (lam * np.log(5))
        assert float(value) == pytest.approx(regularised, abs=1e-6)


def test_toy_matrix_of_the_paper_by_hand():
    value = losses.wasserstein_loss(torch.zeros(3, 3), torch.arange(3), torch.tensor(TOY3), lam=10.0)
    # Uniform predictions: the mean of each row, and an entropy of log K.
    np.testing.assert_allclose(value, [10.01 / 3 - 0.1, 11 / 3 - 0.1, 1.01 / 3 - 0.1], rtol=1e-5)


def test_an_asymmetric_cost_is_read_by_the_row_of_the_label():
    cost = torch.tensor([[0.0, 1.0], [7.0, 0.0]])
    sure_of_1, sure_of_0 = torch.tensor([[0.0, 50.0]]), torch.tensor([[50.0, 0.0]])
    assert losses.wasserstein_loss(sure_of_1, torch.tensor([0]), cost).item() == pytest.approx(1)
    assert losses.wasserstein_loss(sure_of_0, torch.tensor([1]), cost).item() == pytest.approx(7)


@pytest.mark.parametrize("p", [0.0, 1.0, 2.5])
def test_a_cost_matrix_is_normalised_before_the_power_and_a_tensor_is_not(p):
    logits, labels = problem(3)[:2]
    cost = CostMatrix(TOY3, ("a", "b", "c"))
    raw = torch.tensor(TOY3, dtype=torch.float64)
    ours = losses.wasserstein_loss(logits, labels, cost, p=p)
    torch.testing.assert_close(ours, losses.wasserstein_loss(logits, labels, raw / 10, p=p))
    if p:
        assert not torch.allclose(ours, losses.wasserstein_loss(logits, labels, raw, p=p))


@pytest.mark.parametrize("p", [1.0, 2.5, 10.0])
def test_a_scaled_cost_is_another_lambda(p):
    logits, labels, cost = problem(6)
    scale, lam = 3.0, 4.0
    scaled = losses.wasserstein_loss(logits, labels, scale * cost, p=p, lam=lam)
    assert torch.allclose(scaled, scale ** p * losses.wasserstein_loss(logits, labels, cost, p=p, lam=lam * scale ** p))
    assert not torch.allclose(scaled, scale ** p * losses.wasserstein_loss(logits, labels, cost, p=p, lam=lam),
                              rtol=1e-9)


@pytest.mark.parametrize("free", [(), [(0, 1), (1, 0), (4, 2)]])
def test_p_0_costs_every_confusion_the_same(free):
    """Also a confusion that costs nothing: 0 ** 0 is 0 on the diagonal alone."""
    logits, labels, cost = problem(6, seed=3)
    for pair in free:
        cost[pair] = 0
    right = softmax(logits.numpy(), axis=1)[np.arange(3), labels]
    for given in (cost, CostMatrix(cost, range(6), symmetric=False)):
        ours = losses.wasserstein_loss(logits, labels, given, p=0, lam=math.inf)
        np.testing.assert_allclose(ours, 1 - right, atol=1e-12)
        if free:
            small, none = (losses.wasserstein_loss(logits, torch.full_like(labels, 4), given, p=p, lam=math.inf)
                           for p in (1e-9, 0))
            assert not small.allclose(none)


def test_p_0_gradient_is_that_of_the_cross_entropy_times_the_right_probability():
    logits, labels, cost = problem(6, seed=4)
    logits.requires_grad_()
    ours, = torch.autograd.grad(losses.wasserstein_loss(logits, labels, cost, p=0, lam=math.inf).sum(), logits)
    plain, = torch.autograd.grad(losses.cross_entropy(logits, labels).sum(), logits)
    right = logits.softmax(dim=1).gather(1, labels[:, None])
    torch.testing.assert_close(ours, right * plain)


@pytest.mark.parametrize("name", ["cross_entropy", "margin", "wasserstein", "inf", "p0"])
def test_gradients_by_finite_differences(name):
    logits, labels, cost = problem(5, seed=5, spread=1.0)
    loss = {"cross_entropy": losses.cross_entropy, "margin": losses.margin_loss,
            "wasserstein": losses.WassersteinLoss(cost, 2.5, 10.0),
            "inf": losses.WassersteinLoss(cost, 1.0, math.inf), "p0": losses.WassersteinLoss(cost, 0.0, 0.5)}[name]
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda z: loss(z, labels), logits)


def test_the_gradient_does_not_depend_on_whether_it_is_differentiated_again():
    logits, labels, cost = problem(6, count=9, seed=8)
    value = losses.wasserstein_loss(logits.requires_grad_(), labels, cost, p=2.5, lam=3.0)
    weights = torch.linspace(-1, 2, len(value), dtype=value.dtype)
    once, = torch.autograd.grad(value, logits, weights, retain_graph=True)
    twice, = torch.autograd.grad(value, logits, weights, create_graph=True)
    torch.testing.assert_close(once, twice)
    assert twice.requires_grad and not once.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_logits_of_1e4_have_finite_values_and_gradients(classes, dtype):
    cost = problem(classes)[2].to(dtype)
    labels = torch.arange(classes)
    logits = torch.full((classes, classes), -1e4, dtype=dtype)
    logits[:, classes - 1] = 1e4
    logits.requires_grad_()
    for lam in (0.01, 10.0, math.inf):
        value = losses.wasserstein_loss(logits, labels, cost, p=2.0, lam=lam)
        gradient, = torch.autograd.grad(value.sum(), logits)
        # All mass lies on the last class and the entropy is zero.
        torch.testing.assert_close(value.detach(), cost[:, -1] ** 2)
        assert gradient.isfinite().all()
    assert losses.cross_entropy(logits, labels).isfinite().all() and losses.margin_loss(logits, labels).isfinite().all()


def test_cross_entropy_and_margin_by_their_definitions():
    logits, labels, _ = problem(7, count=20, seed=6)
    logits -= 20  # negative, all of them
    z, y = logits.numpy(), labels.numpy()
    np.testing.assert_allclose(losses.cross_entropy(logits, labels), -log_softmax(z, axis=1)[np.arange(20), y])
    wrong = [max(z[i, k] for k in range(7) if k != y[i]) - z[i, y[i]] for i in range(20)]
    np.testing.assert_allclose(losses.margin_loss(logits, labels), wrong)
    misclassified = z.argmax(axis=1) != y
    assert ((losses.margin_loss(logits, labels) > 0).numpy() == misclassified).all()


def test_prepared_loss_equals_the_function_and_keeps_its_precision():
    logits, labels, cost = problem(4, seed=7)
    prepared = losses.WassersteinLoss(cost, 2.5, 3.0)
    expected = losses.wasserstein_loss(logits, labels, cost, p=2.5, lam=3.0)
    assert prepared(logits.float(), labels).dtype == torch.float32
    # A float32 call in between must not have rounded the cost.
    torch.testing.assert_close(prepared(logits, labels), expected, rtol=0, atol=0)


@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.margin_loss,
                                  losses.WassersteinLoss(torch.rand(4, 4).fill_diagonal_(0))])
def test_labels_of_int32_mean_the_same(loss):
    logits, labels, _ = problem(4)
    torch.testing.assert_close(loss(logits, labels.int()), loss(logits, labels))


def test_descriptions_tell_losses_apart():
    cost, other = problem(3)[2], problem(3, seed=9)[2]
    settings = [(cost, 1, 10), (cost, 2, 10), (cost, 1, 5), (cost, 1, math.inf), (other, 1, 10)]
    names = [str(losses.describe(losses.WassersteinLoss(*one))) for one in settings]
    names += [str(losses.describe(losses.cross_entropy)), str(losses.describe(losses.margin_loss))]
    assert len(set(names)) == len(names)
    assert names[0] == str(losses.describe(losses.WassersteinLoss(cost.clone(), 1, 10)))
    assert losses.describe(lambda logits, labels: logits[:, 0]) is None
