"""Verdicts follow from interval and threshold alone."""
import pickle

import pytest

from helpers.intervals import Interval
from study.claims import COLUMNS, Claim, table


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
