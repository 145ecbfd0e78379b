"""Whatever is read is read right, or refused in one paragraph; Eq. (5) for any costs and logits (hypothesis)."""
import csv
import io

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from helpers import costs, losses, profiles, training
from helpers.training import plan

FEW = settings(max_examples=40, deadline=None, derandomize=True, database=None,
               suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8)
COST = st.floats(0, 1e6, allow_subnormal=False)


@st.composite
def matrices(draw):
    """Classes and a symmetric matrix of costs, some of them 0."""
    classes = draw(st.lists(NAME, min_size=2, max_size=5, unique=True))
    size = len(classes)
    values = np.array(draw(st.lists(COST, min_size=size * size, max_size=size * size))).reshape(size, size)
    values = np.triu(values, 1)
    values[0, 1] += 1
    return classes, values + values.T


# --- the reader of cost matrices ------------------------------------------------------------------------------------

@FEW
@given(made=matrices(), data=st.data(), delimiter=st.sampled_from(",;\t"), bom=st.booleans(), corner=NAME)
def test_a_cost_matrix_is_read_as_it_was_written_in_any_order_and_dialect(tmp_path, made, data, delimiter, bom, corner):
    classes, values = made
    cost = costs.CostMatrix(values, classes)
    cost.to_csv(tmp_path / "c.csv")
    assert costs.read_csv(tmp_path / "c.csv") == cost
    rows, columns = (data.draw(st.permutations(range(len(classes)))) for _ in range(2))
    text = io.StringIO()
    table = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    table.writerow([corner, *(classes[j] for j in columns)])
    table.writerows([classes[i], *(repr(float(values[i, j])) for j in columns)] for i in rows)
    (tmp_path / "c.csv").write_text(bom * "\ufeff" + text.getvalue(), encoding="utf-8")
    found = costs.read_csv(tmp_path / "c.csv", classes)
    assert found == cost and np.array_equal(found.values, values)


@FEW
@given(text=st.one_of(st.text(max_size=60), st.text(",;\t\n01.ab-\"'einf", max_size=60)),
       classes=st.one_of(st.none(), st.lists(NAME, max_size=3)))
def test_any_other_text_is_refused_in_one_paragraph(tmp_path, text, classes):
    (tmp_path / "c.csv").write_text(text, encoding="utf-8", newline="")
    try:
        found = costs.read_csv(tmp_path / "c.csv", classes)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(found.values).all() and (found.values >= 0).all() and not np.diag(found.values).any()


# --- the reader of profiles, which are plans ------------------------------------------------------------------------

WORDS = st.sampled_from("name recipe models evaluate common notebooks extends data epochs lr method eps p seed cost "
                        "classes mnist5k pgd smoke no 010".split())
LEAVES = st.one_of(WORDS, st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.text(max_size=5))
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3)
                     | st.dictionaries(WORDS | st.integers(0, 2), inner, max_size=4), max_leaves=12)


@FEW
@given(content=st.dictionaries(WORDS, TREES, max_size=4))
def test_a_profile_is_read_as_it_was_written_or_refused_in_one_paragraph(tmp_path, content):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    try:
        found = profiles.read(path)
    except ValueError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert set(profiles.CONTENT) < set(found)
        if "extends" not in content:
            for name in set(content) & {"recipe", "common"}:
                wanted = content[name] if content[name] is not None else {}
                assert repr(found[name]) == repr(wanted)
    try:
        plan.read_plan(path)
    except (ValueError, FileNotFoundError) as error:
        assert "\n" not in str(error)


@FEW
@given(models=st.lists(st.one_of(TREES, st.dictionaries(WORDS, LEAVES, max_size=4)), max_size=3),
       recipe=st.dictionaries(WORDS, TREES, max_size=3))
def test_models_are_expanded_or_refused_in_one_paragraph(models, recipe):
    recipe = {"data": "mnist5k", "epochs": 1, "lr": 0.1, **recipe}
    try:
        found = training.expand(models, recipe)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert all(entry.config.epochs >= 1 and entry.config.lr > 0 for entry in found)


@pytest.mark.parametrize("text, value", [
    ("1e-3", 0.001), ("1E3", 1000.0), ("-2.5e2", -250.0), (".5", 0.5), ("1.", 1.0), (".inf", float("inf")), ("010", 10),
    ("-3", -3), ("no", "no"), ("Off", "Off"), ("true", True), ("1:30", "1:30"), ("2026-11-26", "2026-11-26"),
    ("1_000", "1_000"), ("0x10", "0x10"), ("~", None), ("'5'", "5"), ("[no, 4, 9]", ["no", 4, 9])])
def test_words_and_numbers_are_what_people_mean(tmp_path, text, value):
    (tmp_path / "own.yaml").write_text(f"recipe: {{lr: {text}}}")
    found = profiles.read(tmp_path / "own.yaml")["recipe"]["lr"]
    assert found == value and type(found) is type(value)


# --- Eq. (5) --------------------------------------------------------------------------------------------------------

@FEW
@given(made=matrices(), p=st.floats(0, 12), lam=st.floats(0.01, 1e6) | st.just(float("inf")), data=st.data(),
       wide=st.sampled_from([1.0, 30.0, 1000.0]))
def test_the_wasserstein_loss_is_eq_5_summed_up_as_it_is_printed(made, p, lam, data, wide):
    classes, values = made
    size = len(classes)
    z = np.array(data.draw(st.lists(st.floats(-wide, wide), min_size=size, max_size=size)))
    label, shift = data.draw(st.integers(0, size - 1)), data.draw(st.floats(-100, 100))
    q, cost = softmax(z), values / values.max()
    transport = sum(cost[label, j] ** p * q[j] for j in range(size) if j != label and cost[label, j])
    expected = transport - entropy(q) / (lam * np.log(size))
    for by in (0, shift):  # adding a number to all logits changes nothing
        found = losses.wasserstein_loss(torch.tensor(z + by)[None], torch.tensor([label]),
                                        costs.CostMatrix(values, classes), p=p, lam=lam)
        assert found.item() == pytest.approx(expected, abs=1e-9 * max(1, 1 / lam))
    assert -1 / lam - 1e-9 * max(1, 1 / lam) <= found.item() <= 1 + 1e-9
