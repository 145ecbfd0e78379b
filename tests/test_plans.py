"""The committed plans train what the notebooks of their profile ask for: nothing more, nothing less."""
import json
from itertools import product
from pathlib import Path

import pytest

from helpers import training
from helpers.training.plan import read_plan
from runner import cli, profiles

REPO = Path(__file__).parents[1]


def settings_of(name):
    own = profiles.load(REPO / "notebooks" / "profiles" / f"{name}.yaml", cli.sources(REPO), REPO).values
    return own, {name: value for values in own.values() for name, value in values.items()}


def wanted(name):
    """The configs of notebooks 02 to 06, put together as their cells do."""
    own, common = settings_of(name)
    recipe, cifar10, tiny = common["recipe"], common["cifar10"], common["tiny_imagenet"]

    def configs(recipe, data, *variants, **settings):
        return [training.configure(recipe, data, variant, settings) for variant in variants]

    ce, pgd = {"method": "ce"}, {"method": "pgd"}
    wpgd = [{"method": "wpgd", "p": p} for p in common["powers"]]
    two, three, five, six = (own[key] for key in ("02_accuracy_gap", "03_unbalanced", "05_wpgd_training", "06_table3"))
    found = configs(recipe, common["mnist"], ce, *({**pgd, "eps": eps} for eps in two["mnist_eps"]))
    for data in filter(None, (cifar10, common["cifar100"], tiny)):
        found += configs(recipe, data, ce, pgd, eps=two["gap_eps"])
    for kind, ratio, seed in product(("dissimilar", "similar"), (None, 0.3), three["seeds"]):
        pair = three[kind]
        found += configs(three["pair_recipe"], cifar10, ce, pgd, classes=pair, ratio=ratio, seed=seed, eps=three["eps"],
                         minority=pair[1] if ratio else None)
    for seed in five.get("seeds", [0]):
        found += configs(recipe, cifar10, ce, pgd, *wpgd, eps=five["eps"], seed=seed)
    if five["deep_network"]:
        found += configs(recipe, cifar10, ce, pgd, eps=five["eps"], network=five["deep_network"])
    if five.get("figure11_network"):
        found += configs(recipe, cifar10, {"method": "wpgd", "p": 2.5}, eps=five["eps"],
                         network=five["figure11_network"])
    for network, powers in ((tiny.get("network"), five["tiny_powers"]),
                            (five["tiny_deep_network"], six.get("tiny_deep_powers", []))):
        if network:
            found += configs(recipe, tiny, ce, pgd, *({"method": "wpgd", "p": p} for p in powers), eps=five["eps"],
                             network=network)
    for choice in (*({"lam": lam} for lam in six["ablation_lams"]),
                   *({"cost": cost} for cost in six.get("ablation_costs", []))):
        found += configs(recipe, cifar10, {**choice, "method": "wpgd", "p": 2.5}, eps=six["eps"])
    return found


def wanted_by_table3(name):
    """The configs of notebook 06 alone: CIFAR-10, one network."""
    own, common = settings_of(name)
    assert not own["06_table3"]["deep_network"] and not common["tiny_imagenet"]
    variants = [{"method": "pgd"}, *({"method": "wpgd", "p": p} for p in common["powers"])]
    return [training.configure(common["recipe"], common["cifar10"], variant, eps=own["06_table3"]["eps"], seed=seed)
            for variant in variants for seed in own["06_table3"]["seeds"]]


def texts(configs):
    return {json.dumps(config.to_dict(), sort_keys=True) for config in configs}


@pytest.mark.parametrize("name, more, table3", [("reduced", ["reduced-cifar10"], ["reduced-8-steps"]),
                                                ("paper", [], [])])
def test_a_plan_holds_the_runs_of_its_profiles(name, more, table3):
    plan = read_plan(REPO / "plans" / f"{name}.yaml").runs
    planned = texts(entry.config for entry in plan)
    asked = set().union(*(texts(wanted(profile)) for profile in (name, *more)),
                        *(texts(wanted_by_table3(profile)) for profile in table3))
    assert planned - asked == set() and asked - planned == set()
    assert len(planned) == sum(not entry.autoattack for entry in plan), "a run is there twice"
    assert all(entry.minutes for entry in plan)


def test_the_long_plan_holds_the_networks_of_the_tables():
    plan = read_plan(REPO / "plans" / "long.yaml").runs
    planned = texts(entry.config for entry in plan)
    assert planned < texts(wanted("long")) and {entry.config.epochs for entry in plan} == {200}
    assert len(planned) == sum(not entry.autoattack for entry in plan) == 8


def test_the_six_networks_of_the_paper_fit_into_an_hour():
    plan = read_plan(REPO / "plans" / "paper.yaml").runs
    first = plan[:6]
    assert {entry.config.network for entry in first} == {"W-16-10"} and sum(entry.minutes for entry in first) < 60
