"""Values that other projects got wrong, by closed form, enumeration or NumPy; the numbers are those of the threads."""
import itertools
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import attacks, costs, data, intervals, losses, models
from helpers.autoattack import AutoAttack

WEIGHTS = torch.randn(2, 48, generator=torch.Generator().manual_seed(0))


def linear(x):
    return x.flatten(1) @ WEIGHTS.to(x.dtype).T


def images(n=6):
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4, torch.arange(n) % 2


@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_l2_goes_all_the_way_along_the_gradient_also_one_of_1e_30(scale):
    """advex-uar 7, cleverhans 1175."""
    x, y = images()
    found = attacks.pgd(lambda t: linear(t) * scale, x, y, losses.margin_loss, eps=0.3, step_size=0.1, steps=20,
                        norm="l2", random_start=False)
    away = (WEIGHTS[1] - WEIGHTS[0]) * (1 - 2 * y)[:, None]
    torch.testing.assert_close(found, x + 0.3 * (away / away.norm(dim=1, keepdim=True)).view_as(x), atol=1e-6, rtol=0)


def test_a_gradient_of_zero_gives_images_and_a_warning():
    x, y = images()
    with pytest.warns(attacks.ZeroGradientWarning):
        assert attacks.pgd(lambda t: linear(t) * 0, x, y, eps=0.3, step_size=0.1, steps=3, norm="l2").isfinite().all()


def test_the_attack_on_an_image_does_not_depend_on_its_batch():
    """foolbox 636; ART 498, advertorch 79: gradients that are switched off."""
    x, y = images()
    settings = {"eps": 0.1, "step_size": 0.03, "steps": 5, "random_start": False}
    alone = [attacks.pgd(linear, x[i:i + 1], y[i:i + 1], **settings) for i in range(6)]
    assert torch.equal(attacks.pgd(linear, x, y, **settings), torch.cat(alone))
    double = x.double().requires_grad_()
    assert attacks.pgd(linear, double, y, **settings).dtype == torch.float64
    strided = x.repeat_interleave(2, dim=0)[::2]
    assert torch.equal(attacks.pgd(linear, strided, y, **settings), torch.cat(alone))
    with torch.no_grad():
        assert not torch.equal(attacks.PGD(0.1, 3)(linear, x, y), x)


@pytest.mark.parametrize("shape, right", [((4, 3, 32, 32), False), ((5, 3, 32, 32), True), ((1, 1, 28, 28), True),
                                          ((2, 3, 32, 20), True)])
@pytest.mark.parametrize("norm", attacks.NORMS)
def test_autoattack_stays_in_the_ball_whatever_is_left_to_attack(shape, right, norm):
    """auto-attack 81: all are wrong already; torchattacks 59: the batch shrinks; one image, grey, not square, eps 0."""
    torch.manual_seed(0)
    net, x = models.build("W-10-1", 4, shape[1]).eval(), torch.rand(shape)
    with torch.no_grad():
        y = (net(x).argmax(dim=1) + (not right)) % 4
    for eps in (0, 0.02):
        found = AutoAttack(eps, norm, steps=2, queries=10)(net, x, y)
        length = (found - x).flatten(1).norm(torch.inf if norm == "linf" else 2, dim=1)
        assert found.shape == x.shape and length.max() <= eps * 1.0002 and found.isfinite().all()


def test_the_gradient_of_the_wasserstein_loss_scales_with_it_and_sums_to_zero_over_the_classes():
    """POT 309, 364."""
    cost = torch.rand(4, 4, dtype=torch.double, generator=torch.Generator().manual_seed(2)).fill_diagonal_(0)

    def gradient(factor):
        z = torch.linspace(-1, 2, 8, dtype=torch.double).view(2, 4).requires_grad_()
        (factor * losses.wasserstein_loss(z, torch.tensor([0, 3]), cost, p=2.5, lam=3)).sum().backward()
        return z.grad

    torch.testing.assert_close(gradient(-2.0), -2 * gradient(1.0))
    assert gradient(1.0).sum(dim=1).abs().max() < 1e-15


@pytest.mark.parametrize("distance", ["path", "path_similarity", "wup", "lch"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tiny-imagenet-200"])
def test_a_class_is_at_no_distance_of_itself_and_no_other(name, distance):
    """nltk 1030, 2278."""
    values = costs.wordnet_cost(name, distance).values
    assert (values == values.T).all() and np.array_equal(values == 0, np.eye(len(values), dtype=bool))


def test_mantels_p_is_that_of_all_120_permutations_and_1_where_all_tie():
    """pertpy 1094, scipy 15009, vegan 746."""
    rng = np.random.default_rng(0)
    gap, cost = rng.random((5, 5)), rng.random((5, 5))
    cost = cost + cost.T
    np.fill_diagonal(cost, 0)
    off = ~np.eye(5, dtype=bool)
    all_of_them = [np.corrcoef(gap[np.ix_(order, order)][off], cost[off])[0, 1]
                   for order in itertools.permutations(range(5))]
    observed = np.corrcoef(gap[off], cost[off])[0, 1]
    assert intervals.rho(gap, cost) == pytest.approx(observed, abs=1e-12)
    exact = np.mean(np.array(all_of_them) <= observed + 1e-12)
    assert intervals.mantel(gap, cost, 5000) == pytest.approx(exact, abs=0.025)
    assert intervals.mantel(np.array([[0, 0.1], [0.2, 0]]), np.array([[0, 1], [2, 0.0]]), 99) == 1.0


def test_networks_are_those_that_were_published():
    """cifar10_challenge 20, WideResNet-pytorch 10: parameters; the stride is in the first convolution of a block."""
    with torch.device("meta"):
        nets = {name: models.build(name, 10) for name in ("W-28-10", "W-16-8", "W-40-4")}
    assert [sum(one.numel() for one in net.parameters()) for net in nets.values()] == [36479194, 10961370, 8949210]
    strided = [(block.conv1.stride[0], block.conv2.stride[0]) for block in nets["W-28-10"].blocks
               if block.conv1.stride[0] > 1]
    assert strided == [(2, 1)] * 2


def test_classes_of_folders_keep_their_names_where_10_comes_before_2_and_test_lacks_one(tmp_path):
    """ultralytics 13936, pytorch 22566."""
    for part, names in (("train", ("0", "1", "2", "10")), ("test", ("0", "2", "10"))):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("L", (20, 16), 10 * int(name)).save(tmp_path / part / name / "a.png")
    found = data.load(str(tmp_path))
    assert [int(image.max()) for image in found.x_test] == [10 * int(found.classes[label]) for label in found.y_test]


def test_confidences_of_exactly_1_and_of_1_over_k_by_hand():
    """torchmetrics 3510, 1646, 1907: the expected calibration error of notebook 04."""
    from test_notebooks_02_04 import functions
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ece = functions("04").ece
    assert ece(np.array([1.0, 1.0, 0.5]), np.array([True, False, False])) == pytest.approx(50)
    assert ece(np.full(8, 0.2), np.arange(8) % 5 == 0) == pytest.approx(100 * abs(2 / 8 - 1 / 5))
