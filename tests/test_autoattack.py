"""AutoAttack against the closed form of linear models, torchattacks' own ensemble, and a saturated network."""
import pytest
import torch
import torchattacks
from torch import nn

from helpers import attacks, models
from helpers.autoattack import AutoAttack
from helpers.evaluation import evaluate

EPS = {"linf": 0.06, "l2": 0.25}


def linear(scale=1.0, classes=5, seed=0):
    """A linear model on 1x6x6 images, its images, labels and, without pixels near 0 or 1, who can be turned."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, classes))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(classes, 36, generator=generator))
        model[1].bias.zero_()
    x = 0.2 + 0.6 * torch.rand(60, 1, 6, 6, generator=generator)
    with torch.no_grad():
        logits = model(x)
        y = logits.argmax(1)
        y[:6] = (y[:6] + 1) % classes  # wrong before any attack
        rows = torch.arange(len(y))
        gaps = logits[rows, y][:, None] - logits
        reach = {"linf": (model[1].weight[y][:, None] - model[1].weight).abs().sum(2),
                 "l2": (model[1].weight[y][:, None] - model[1].weight).norm(dim=2)}
        lost = {norm: (gaps - EPS[norm] * amount)[torch.arange(classes) != y[:, None]].view(len(y), -1).amin(1) < 0
                for norm, amount in reach.items()}
        model[1].weight.mul_(scale)
    return model, x, y, lost


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_finds_the_errors_of_a_linear_model_and_no_others(norm):
    model, x, y, lost = linear()
    found = AutoAttack(EPS[norm], norm, steps=20, queries=50)(model, x, y)
    wrong = model(found).argmax(1) != y
    assert 10 < int(lost[norm].sum()) < 55 and torch.equal(wrong, lost[norm])
    length = (found - x).flatten(1)
    length = length.abs().amax(1) if norm == "linf" else length.norm(dim=1)
    assert length.max() <= EPS[norm] * 1.0002 and found.min() >= 0 and found.max() <= 1
    assert torch.equal(found[~wrong], x[~wrong]) and torch.equal(found[:6], x[:6]), "nothing to gain there"


def test_sees_through_a_saturated_network_that_deceives_pgd():
    model, x, y, lost = linear(scale=1e4)
    with pytest.warns(attacks.ZeroGradientWarning):
        by_pgd = evaluate(model, x, y, attacks.PGD(EPS["linf"], random_start=False), allow_absent=True).error
    by_all = evaluate(model, x, y, AutoAttack(EPS["linf"], steps=20, queries=50), allow_absent=True).error
    assert by_all == pytest.approx(100 * float(lost["linf"].float().mean())) and by_all > by_pgd + 20


def test_equals_the_ensemble_of_torchattacks_where_that_has_as_many_steps():
    torch.manual_seed(0)
    model = models.wide_resnet(10, 1, 5, in_channels=1).eval()
    x = torch.rand(24, 1, 16, 16)
    with torch.no_grad():
        y = model(x).argmax(1)
    theirs = torchattacks.AutoAttack(model, eps=0.01, n_classes=5, seed=3)
    theirs._autoattack.attacks[3].n_queries = 30
    expected = theirs(x, y)
    found = AutoAttack(0.01, steps=10, queries=30, seed=3)(model, x, y)
    turned = model(found).argmax(1) != y
    assert 0 < int(turned.sum()) < 24
    assert torch.equal(turned, model(expected).argmax(1) != y)
    assert torch.allclose(found[turned], expected[turned], atol=1e-6)


def test_each_part_has_the_numbers_of_the_standard_version():
    model, x, *_ = linear(classes=12)
    first, targeted, fab, square = AutoAttack(EPS["linf"])._parts(model, x)
    assert (first.steps, targeted.steps, fab.steps, square.n_queries) == (100, 100, 100, 5000)
    assert targeted.n_target_classes == fab.n_target_classes == 9, "the nine most likely, as for CIFAR-10"
    assert square.p_init == 0.8 and fab.multi_targeted and first.loss == "ce"


def test_leaves_model_and_generator_alone_and_repeats_itself():
    model, x, y, _ = linear()
    model.train()
    state = torch.random.get_rng_state()
    attack = AutoAttack(EPS["linf"], steps=5, queries=20)
    first = attack(model, x, y)
    assert torch.equal(first, attack(model, x, y))
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training and all(one.requires_grad and one.grad is None for one in model.parameters())
    assert attack.describe() != AutoAttack(EPS["linf"]).describe()


def test_refuses_what_it_cannot_attack():
    model, x, y, _ = linear(classes=3)
    with pytest.raises(ValueError, match="at least 4 classes"):
        AutoAttack(EPS["linf"])(model, x, y)
    with pytest.raises(ValueError, match="unknown norm"):
        AutoAttack(EPS["linf"], "l7")(model, x, y)
    with pytest.raises(ValueError, match="takes images"):
        AutoAttack(EPS["linf"])(model[1], x.flatten(1), y)
