"""Verdicts follow from interval and threshold alone; rows of other notebooks survive."""

import csv
import math
from types import SimpleNamespace

import pytest

from helpers.claims import COLUMNS, Claim, Ledger, format_interval, interval_over_seeds, verdict_table


def claim(value, low, high, holds_if, id="c"):
    return Claim(id, "Sec. 3", "a sentence, with a comma", "difference [%]", value, low, high, holds_if)


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
    with_interval = Claim("id", "", "", "", -0.2, -0.3, -0.1, "> 0", remark="at chance")
    assert (with_interval.verdict, with_interval.note) == ("fails", "at chance")
    assert Claim("id", "", "", "", 0.2, None, None, "> 0", remark="at chance").note == "no interval; at chance"
    assert with_interval.as_dict()["note"] == "at chance" and "remark" not in with_interval.as_dict()
    assert "at chance" in verdict_table([with_interval])._repr_html_()


def test_nan_is_not_measurable():
    for value in (float("nan"), None):
        made = claim(value, None, None, "> 0")
        assert (made.verdict, made.note, made.margins()) == ("not measurable", "", None)


@pytest.mark.parametrize(("arguments", "word"), [
    ((1, 0, None, "> 0"), "one end"),
    ((1, 2, 0, "> 0"), "Swap"),
    ((1, 0, 2, "positive"), "cannot be read"),
    ((1, 0, 2, "in [3, 1]"), "cannot be read"),
    ((1, 0, 2, "== 0"), "cannot be read"),
])
def test_bad_claims_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        claim(*arguments)


def test_margins_are_positive_on_the_side_of_the_claim():
    assert claim(2, 1, 4, "> 0").margins() == (2, 1, 4)
    assert claim(-2, -4, 1, "< 0").margins() == (2, -1, 4)
    assert claim(50, 40, 60, "in [45, 55]").margins() == (5, -5, 5)


def test_interval_over_seeds():
    assert interval_over_seeds([3.0]) == (3.0, None, None)
    assert interval_over_seeds([3.0, 1.0]) == (2.0, 1.0, 3.0)
    # t(0.975, 2) = 4.302653, standard error of 1, 2, 3 is 1 / sqrt(3)
    value, low, high = interval_over_seeds([1.0, 2.0, 3.0])
    assert value == 2.0
    assert high - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2.0 - low == pytest.approx(high - 2.0)
    assert math.isnan(interval_over_seeds([1.0, float("nan"), 2.0]).value)
    assert claim(*interval_over_seeds([1.0, 1.1, 0.9]), "> 0").verdict == "holds"
    with pytest.raises(ValueError, match="at least one"):
        interval_over_seeds([])


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_ledger_replaces_its_own_rows_and_keeps_the_others(tmp_path):
    first = Ledger(SimpleNamespace(notebook="02_gap", folder=tmp_path))
    first.add(claim(1, 0.5, 2, "> 0", "old"))
    first.add(claim(1, None, None, "> 0", "stays"))
    first.write()
    second = Ledger(SimpleNamespace(notebook="01_toy", folder=tmp_path))
    second.add(claim(float("nan"), None, None, "> 0", "toy"))
    path = second.write()
    again = Ledger(SimpleNamespace(notebook="02_gap", folder=tmp_path))
    again.add(claim(5, 4, 6, "< 0", "new"))
    again.add(claim(1 / 3, 0.1, 0.5, "> 0", "new"))
    again.write()

    rows = read(path)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["notebook"], row["id"], row["verdict"]) for row in rows] == [
        ("01_toy", "toy", "not measurable"), ("02_gap", "new", "holds")]
    assert (rows[0]["value"], rows[1]["value"]) == ("", "0.333333")
    assert rows[1]["statement"] == "a sentence, with a comma"


def test_ledger_refuses_a_foreign_file(tmp_path):
    (tmp_path / "claims.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"claims\.csv has the columns"):
        Ledger(SimpleNamespace(notebook="01", folder=tmp_path)).write()


def test_verdict_table_reads_well():
    made = Claim("c", "Sec. 3", "p < q & long " * 20, "x", 0.5, 0.4, 0.6, "> 0")
    frame = verdict_table([made, claim(1, None, None, "> 2")])
    assert list(frame["verdict"]) == ["holds", "fails"]
    html = frame._repr_html_()
    assert "p &lt; q &amp; long" in html and html.count("p &lt; q") == 20
    assert "0.5 [0.4, 0.6]" in html and "no interval" in html
    assert list(verdict_table([]).columns) == list(COLUMNS[1:])


def test_format_interval():
    assert format_interval(0.12345, 0.1, 0.2) == "0.123 [0.1, 0.2]"
    assert format_interval(2.0) == "2"
    assert format_interval(float("nan"), float("nan"), float("nan")) == "–"
