"""Verdicts follow from interval and threshold alone; those of the ten main claims from a wider interval."""
import pickle

import numpy as np
import pytest
from scipy import stats

from helpers.evaluation import Evaluation
from helpers.intervals import Interval
from study import paper
from study.claims import COLUMNS, LEVEL, Claim, decide, table, wanting


def claim(value, low, high, holds_if, id="c"):
    return Claim(id, "Sec. 3", "a sentence, with a comma", "difference [%]", (value, low, high), holds_if)


@pytest.mark.parametrize(("low", "high", "holds_if", "verdict"), [
    (0.1, 0.3, "> 0", "holds"),
    (0.0, 0.3, "> 0", "inconclusive"),
    (0.0, 0.3, ">= 0", "holds"),
    (-0.1, 0.3, "> 0", "inconclusive"),
    (-0.3, 0.0, "> 0", "fails"),
    (-0.3, 0.0, ">= 0", "inconclusive"),
    (-0.3, -0.1, "> 0", "fails"),
    (-0.3, -0.1, "< 0", "holds"),
    (-0.3, 0.0, "< 0", "inconclusive"),
    (-0.3, 0.0, "<= 0", "holds"),
    (0.0, 0.3, "< 0", "fails"),
    (0.4, 0.6, ">= 0.5", "inconclusive"),
    (0.5, 0.6, ">=0.5", "holds"),
    (-2e-3, -1.5e-3, "< -1e-3", "holds"),
    (46, 54, "in [45, 55]", "holds"),
    (45, 55, "in [45, 55]", "holds"),
    (40, 50, "in [45, 55]", "inconclusive"),
    (40, 60, "in [45, 55]", "inconclusive"),
    (56, 60, "in [45, 55]", "fails"),
    (30, 44, "in [45, 55]", "fails"),
])
def test_verdict_of_an_interval(low, high, holds_if, verdict):
    made = claim((low + high) / 2, low, high, holds_if)
    assert (made.verdict, made.note) == (verdict, "")


def test_the_value_does_not_decide_where_there_is_an_interval():
    assert claim(5.0, -1.0, 6.0, "> 0").verdict == "inconclusive"
    assert claim(-5.0, 1.0, 6.0, "> 0").verdict == "holds"


@pytest.mark.parametrize(("value", "verdict"), [(0.2, "holds"), (0.0, "fails"), (-0.2, "fails")])
def test_point_values_are_marked(value, verdict):
    made = claim(value, None, None, "> 0")
    assert (made.verdict, made.note) == (verdict, "no interval")
    assert claim(value, float("nan"), float("nan"), "> 0").note == "no interval"


def test_a_remark_stands_beside_the_verdict_and_decides_nothing():
    with_interval = Claim("id", "", "", "", Interval(-0.2, -0.3, -0.1), "> 0", remark="at chance")
    assert (with_interval.verdict, with_interval.note) == ("fails", "at chance")
    assert Claim("id", "", "", "", Interval(0.2), "> 0", remark="at chance").note == "no interval; at chance"
    assert with_interval.as_dict()["note"] == "at chance" and tuple(with_interval.as_dict()) == COLUMNS
    assert "at chance" in table([with_interval]).to_html()


def test_nan_is_not_measurable():
    for value in (float("nan"), None):
        made = claim(value, None, None, "> 0")
        assert (made.verdict, made.note) == ("not measurable", "")
    assert claim(float("inf"), 1, float("inf"), "> 0").verdict == "not measurable"


@pytest.mark.parametrize(("arguments", "word"), [
    ((1, 0, None, "> 0"), "both ends or none"),
    ((1, 2, 0, "> 0"), "low <= high"),
    ((1, 0, 2, "positive"), "cannot be read"),
    ((1, 0, 2, "in [3, 1]"), "cannot be read"),
    ((1, 0, 2, "== 0"), "cannot be read"),
])
def test_bad_claims_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        claim(*arguments)


def test_the_table_wraps_escapes_and_colours():
    made = Claim("c", "Sec. 3", "p < q & long " * 20, "x", Interval(0.5, 0.4, 0.6), "> 0")
    shown = table([made, claim(1, None, None, "> 2")])
    assert list(shown["verdict"]) == ["holds", "fails"]
    html = shown._repr_html_()
    assert html.count("p &lt; q &amp; long") == 20 and "#cfe8d5" in html and "#f6d0c4" in html
    assert "0.5 [0.4, 0.6]" in html and "no interval" in html
    assert list(table([])) == list(shown)
    assert pickle.loads(pickle.dumps(shown)).equals(shown)


# --- the interval that decides a main claim ---

def answers(*wrong, images=400):
    """Two classes of as many images; of each some are wrong, the first ones."""
    labels = np.repeat([0, 1], images)
    missed = np.concatenate([np.arange(images) < count for count in wrong])
    return Evaluation(labels, np.where(missed, 1 - labels, labels), 2)


def error(answer):
    return answer.error


def difference(one, other):
    return one.error - other.error


def test_ten_main_claims_err_in_five_percent_together():
    assert len(paper.values()["main_claims"]) * (1 - LEVEL) == pytest.approx(0.05)


def test_one_seed_has_the_exact_quantiles_of_resampled_images():
    # The errors of a resample are binomial, those of the other class there are none: the tails beyond LEVEL are exact.
    value, low, high = decide(error, answers(120, 0))
    exact = stats.binom(400, 120 / 400).ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2]) / 8
    assert value == 15 and [low, high] == pytest.approx(exact, abs=0.25)
    assert [*decide(error, [answers(120, 0)])] == [value, low, high]


def test_many_images_leave_students_t_over_the_seeds():
    seeds = [answers(count, 0, images=4000) for count in (400, 1200, 1600)]
    expected = stats.ttest_1samp([one.error for one in seeds], 0).confidence_interval(LEVEL)
    assert [*decide(error, seeds)][1:] == pytest.approx([*expected]) and expected.high - expected.low > 100


def test_seeds_that_agree_leave_the_images():
    one = decide(error, answers(120, 0))
    assert [*decide(error, [answers(120, 0)] * 3)] == pytest.approx([*one])


def test_each_end_is_the_farther_of_the_two():
    # Seeds as far apart as the images spread: the mean's t reaches farther below and above than either seed's images.
    seeds = [answers(120, 0), answers(124, 0), answers(128, 0)]
    found, images = decide(error, seeds), [decide(error, one) for one in seeds]
    t = stats.ttest_1samp([one.error for one in seeds], 0).confidence_interval(LEVEL)
    assert found.low == pytest.approx(min(t.low, *(one.low for one in images)))
    assert found.high == pytest.approx(max(t.high, *(one.high for one in images)))
    assert found.value == pytest.approx(15.5)


def test_differences_are_paired_over_seeds_and_images():
    # The second network errs on the same images and on 8 more: neither images nor seeds say anything else.
    first, second = [answers(40, 0), answers(160, 0)], [answers(40, 8), answers(160, 8)]
    value, low, high = decide(difference, second, first)
    exact = stats.binom(400, 8 / 400).ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2]) / 8
    assert value == 1 and [low, high] == pytest.approx(exact, abs=0.13)
    assert [*decide(difference, first, first)] == [0, 0, 0]


def test_two_seeds_are_covered_and_none_is_not_measurable():
    two = [answers(40, 0), answers(160, 0)]
    assert decide(error, two).low <= two[0].error < two[1].error <= decide(error, two).high
    assert np.isnan([*decide(error, [])]).all() and np.isnan([*decide(difference, two, [])]).all()


def row(value, low, high, holds_if, verdict="inconclusive"):
    return {"value": str(value), "low": str(low), "high": str(high), "holds_if": holds_if, "verdict": verdict}


@pytest.mark.parametrize("value, low, high, holds_if, times", [
    (-0.2, -0.5, 0.2, "< 0", 4.0), (0.1, -0.2, 0.4, "> 0", 9.0), (3, 1, 5, "<= 2", 4.0), (3, -1, 5, "in [0, 4]", 4.0),
    (2, 1.5, 9, "in [1, 4]", 12.25), (5, 1, 9, "in [2, 3]", 4.0)])
def test_what_would_decide_is_told_by_how_intervals_shrink(value, low, high, holds_if, times):
    """With n times the data an interval is 1 / sqrt(n) as wide: at `times` of them it ends at the threshold."""
    assert wanting(row(value, low, high, holds_if)).startswith(f", which about {times:.1f} times the images or seeds")
    for factor, verdict in ((times * 1.02, {"holds", "fails"}), (times * 0.98, {"inconclusive"})):
        ends = [value + (end - value) / factor ** 0.5 for end in (low, high)]
        assert claim(value, *ends, holds_if).verdict in verdict


def test_nothing_is_told_where_more_data_would_not_tell():
    assert wanting(row(-1 / 3, -1, 0, "< 0")) == "", "an order: its interval ends at the threshold"
    assert wanting(row(0, -1, 1, "< 0")) == "" == wanting(row(-1, -2, -0.5, "< 0", "holds"))
    assert wanting(row("", "", "", "< 0", "not measurable")) == "" == wanting(row(1, "", "", "> 2"))
    assert "no affordable multiple" in wanting(row(0.001, -1, 1, "> 0"))
