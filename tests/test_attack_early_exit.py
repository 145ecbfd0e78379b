"""Early exit against its definition: the first misclassified point of the very path that the full attack takes."""
import pytest
import torch
from support import batch, length, small_net

from helpers import attacks, evaluation

STEPS, EPS, STEP = 6, {"linf": 0.016, "l2": 0.25}, {"linf": 0.004, "l2": 0.06}


@pytest.fixture(scope="module")
def problem():
    """A network, and images of which it classifies some rightly: labels are its answers, but for a few."""
    net = small_net().double()
    x, wrong = batch(40, 3, 12, 12)
    x = x.double()
    with torch.no_grad():
        net[-1].bias -= net(x).mean(dim=0)  # or all images would have one answer, far from the others
    y = net(x).argmax(dim=1)
    return net, x, torch.where(torch.arange(40) % 8 == 0, wrong, y)


def settings(norm, **more):
    return {"eps": EPS[norm], "step_size": STEP[norm], "norm": norm, "random_start": False, **more}


def path(net, x, y, norm):
    """All points of the full attack, (steps + 1, N, ...): the attack of k steps ends in the k-th of them."""
    return torch.stack([attacks.pgd(net, x, y, steps=steps, **settings(norm)) for steps in range(STEPS + 1)])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_returns_the_first_misclassified_point_of_the_path(problem, norm):
    net, x, y = problem
    points = path(net, x, y, norm)
    wrong = torch.stack([net(point).argmax(dim=1) != y for point in points])
    first = torch.where(wrong.any(dim=0), wrong.double().argmax(dim=0), STEPS)
    # All kinds must occur: lost at the start, on the way, at the end, never.
    assert first.unique().numel() > 3 and wrong[0].any() and (~wrong.any(dim=0)).any()
    found = attacks.pgd(net, x, y, steps=STEPS, early_exit=True, **settings(norm))
    torch.testing.assert_close(found, points[first, torch.arange(len(x))], rtol=0, atol=1e-12)
    assert (length(found - x, norm) <= EPS[norm] + 1e-12).all() and found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_robust_error_counts_the_images_with_a_misclassified_point(problem, norm):
    net, x, y = problem
    lost = torch.stack([net(point).argmax(dim=1) != y for point in path(net, x, y, norm)]).any(dim=0)
    attack = attacks.PGD(EPS[norm], STEPS, STEP[norm], norm=norm, random_start=False)
    error = evaluation.robust_error(net, x, y, attack, batch_size=7)
    assert error == pytest.approx(100 * lost.double().mean())
    assert error >= evaluation.evaluate(net, x, y, attack, allow_absent=True).error


def test_random_starts_are_those_of_the_full_attack(problem):
    net, x, y = problem
    ends = [attacks.pgd(net, x, y, steps=STEPS, early_exit=early, generator=torch.Generator().manual_seed(5),
                        **settings("linf", random_start=True)) for early in (False, True)]
    still_right = net(ends[1]).argmax(dim=1) == y
    assert still_right.any() and not still_right.all()
    torch.testing.assert_close(ends[0][still_right], ends[1][still_right], rtol=0, atol=1e-12)
    start = x + EPS["linf"] / 2
    given = attacks.pgd(net, x, y, steps=0, early_exit=True, start=start, **settings("linf"))
    torch.testing.assert_close(given, start.clamp(0, 1))


def test_lost_images_are_not_computed_again_not_even_by_restarts(problem):
    net, x, y = problem
    sizes = []
    hook = net.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    one = attacks.pgd(net, x, y, steps=STEPS, early_exit=True, **settings("linf", random_start=True))
    first = list(sizes)
    attacks.pgd(net, x, y, steps=STEPS, early_exit=True, restarts=3, **settings("linf", random_start=True))
    hook.remove()
    assert first[0] == len(x) and first == sorted(first, reverse=True) and first[-1] < len(x) / 2
    restarts = sizes[len(first):]
    assert len(restarts) > len(first) and max(restarts[STEPS + 1:]) <= (net(one).argmax(dim=1) == y).sum() + 5


def test_zero_gradients_are_counted_as_in_the_full_attack():
    net, (x, _) = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)), batch(5, 3, 2, 2)
    torch.nn.init.zeros_(net[1].weight)
    counts = []
    for early in (False, True):
        counters = attacks.AttackCounters()
        y = net(x).argmax(dim=1)
        attacks.pgd(net, x, y, eps=0.1, step_size=0.05, steps=3, early_exit=early, counters=counters)
        counts.append((counters.images, counters.zero_gradient_rows))
    assert counts == [(5, 5), (5, 5)]


def test_what_needs_the_full_attack_says_so(problem):
    net, x, y = problem
    attack = attacks.PGD(0.05, 3, early_exit=True)
    for call in (evaluation.evaluate, evaluation.confusion_matrix):
        with pytest.raises(ValueError, match="needs the full attack"):
            call(net, x, y, attack)
    with pytest.raises(ValueError, match="do not depend on the rest"):
        attacks.pgd(net, x, y, eps=0.1, step_size=0.1, steps=1, early_exit=True, mode="train")
    # Names of cached evaluations of the full attack are what they were.
    assert "early_exit" not in attacks.PGD(0.05).describe() and attack.describe()["early_exit"] is True
