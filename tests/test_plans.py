"""The bundled profiles as plans: what they train, in which order, and that what was trained is still asked for."""
import json
from collections import Counter

import pytest

from helpers import profiles
from helpers.training.plan import expand, read_plan
from jobs.runs import config_of

BUNDLED = sorted(path.stem for path in profiles.FOLDER.glob("*.yaml"))
COMMITTED = profiles.FOLDER.parents[1] / "results" / "reduced" / "runs"


def entries(name):
    return read_plan(name)[0]


def texts(found):
    return {json.dumps(entry.config.to_dict(), sort_keys=True) for entry in found}


def of_notebook(name, number):
    """The models that a notebook gets, expanded."""
    content = profiles.read(profiles.find(name))
    return expand([model for model in content["models"] if number in model["notebooks"]], content["recipe"])


# Runs without repetition, as the notebooks of these profiles asked for them one by one, before there were lists.
@pytest.mark.parametrize("name, runs", [("smoke", 26), ("quick", 34), ("reduced", 43), ("reduced-cifar10", 17),
                                        ("reduced-8-steps", 2), ("reduced-wide", 63), ("paper", 47), ("long", 47)])
def test_a_profile_trains_as_many_runs_as_ever(name, runs):
    assert len(texts(entries(name))) == runs


@pytest.mark.parametrize("name", BUNDLED)
def test_every_model_serves_a_notebook_and_no_run_has_a_tag_twice(name):
    found = entries(name)
    once = Counter(json.dumps([entry.config.to_dict(), entry.tags, entry.autoattack]) for entry in found)
    assert set(once.values()) == {1}
    served = set().union(*(texts(of_notebook(name, number)) for number in range(1, 9)))
    idle = texts(found) - served
    # Cats and dogs at eps 4; W-16-4 and 8 attack steps: the READMEs of their results tell of these.
    assert len(idle) == {"reduced": 1, "reduced-wide": 7}.get(name, 0)


@pytest.mark.parametrize("name", [name for name in BUNDLED if name not in ("smoke", "quick", "quick-float32")])
def test_a_plan_of_hours_says_how_long_each_run_takes(name):
    assert all(entry.minutes for entry in entries(name))


def test_the_committed_runs_are_those_of_the_three_profiles():
    named = set().union(*(texts(entries(name)) for name in ("reduced", "reduced-cifar10", "reduced-8-steps")))
    committed = {json.dumps(config_of(folder).to_dict(), sort_keys=True) for folder in COMMITTED.glob("*_*")}
    assert len(committed) == 57 and committed == named


def test_an_appendix_of_table_3_has_its_metric_first_and_both_audited_models():
    for name in BUNDLED:
        found = of_notebook(name, 8)
        ablation, audit, between = ([entry for entry in found if entry.tags["panel"] == one]
                                    for one in ("ablation", "audit", "between"))
        assert [entry.config.method for entry in audit] == ["pgd", "wpgd"]
        assert ablation[0].config == audit[1].config and len(ablation + audit + between) == len(found)
        assert [entry.config.mu for entry in between] in ([], [10.0, float("inf")])


def test_the_six_networks_of_the_paper_fit_into_an_hour():
    first = entries("paper")[:6]
    assert {entry.config.network for entry in first} == {"W-16-10"} and sum(entry.minutes for entry in first) < 60


def test_two_hundred_epochs_for_all_but_mnist():
    assert {(entry.config.data, entry.config.epochs) for entry in entries("long")} == {
        ("cifar10", 200), ("cifar100", 200), ("tiny-imagenet-200", 200), ("mnist", 60)}
