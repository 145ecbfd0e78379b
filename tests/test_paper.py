"""The YAML says what the paper prints; outputs arrive on disk, rounded, merged, repeatable."""

import csv
import json
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from helpers import paper
from helpers.claims import Claim, Ledger
from helpers.paper import files, outputs

# Copied by hand from the paper's tables, apart from paper_values.yaml.
TABLE1 = "MNIST -0.88  CIFAR-10 -0.65  CIFAR-100 -0.35  Tiny-ImageNet -0.22"
TABLE2 = {"cifar10": "4.4 3.9 14.11 13.9 / 100 100 34.5 31.25",
          "tiny-imagenet-200": "37.7 36.9 55.3 36.9 / 99.9 100 70.4 70.5"}
TABLE3 = """
W-16-10 34.53 0.0 cifar10 -0.14
W-16-10 34.62 1.0 cifar10 -0.26
W-16-10 34.98 2.5 cifar10 -0.34
W-16-10 39.76 10.0 cifar10 -0.53
W-28-10 31.24 0.0 cifar10 0.00
W-16-10 70.23 1.0 tiny-imagenet-200 -6.33
W-16-10 73.61 2.5 tiny-imagenet-200 -12.45
W-16-10 92.62 10.0 tiny-imagenet-200 -55.17
W-28-10 69.84 1.0 tiny-imagenet-200 -9.62
W-28-10 69.69 0.0 tiny-imagenet-200 -9.48
"""


@pytest.fixture
def provenance(monkeypatch):
    module = ModuleType("helpers.training")
    module.provenance = lambda device=None: {"commit": "abc", "device": "cpu", "torch": "2", "date": "today"}
    monkeypatch.setitem(sys.modules, "helpers.training", module)


@pytest.fixture
def repo(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "REPO_ROOT", tmp_path / "repo")
    return tmp_path / "repo"


def commit(repo, profile, content, notebook="02_gap"):
    path = repo / "results" / profile / "metrics" / f"{notebook}.json"
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_imports_stay_light():
    code = ("import sys, helpers.paper, helpers.plotting, helpers.claims;"
            "print([name for name in ('matplotlib', 'pandas', 'scipy', 'torch') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_table_1():
    rows = paper.values()["table1"]["rows"]
    printed = TABLE1.split()
    assert [(paper.dataset_title(row["dataset"]), row["rho"]) for row in rows] == [
        (name, float(rho)) for name, rho in zip(printed[::2], printed[1::2], strict=True)]


@pytest.mark.parametrize("dataset", TABLE2)
def test_table_2(dataset):
    for name, line in zip(("NE", "AE"), TABLE2[dataset].split("/"), strict=True):
        cells = [paper.printed("table2", dataset=dataset, method=method, network=network)[name]
                 for method in ("ce", "pgd") for network in ("W-16-10", "W-28-10")]
        assert cells == [float(cell) for cell in line.split()]
    assert (paper.values()["table2"]["eps"], paper.values()["table2"]["steps"]) == (4, 20)


def test_table_3():
    rows = [(row["network"], row["AE"], row["p"], row["dataset"], row["S"])
            for row in paper.values()["table3"]["rows"]]
    expected = [line.split() for line in TABLE3.split("\n") if line]
    assert rows == [(a, float(b), float(c), d, float(e)) for a, b, c, d, e in expected]
    assert paper.values()["table3"]["eps"] == 4


def test_numbers_of_text_and_captions():
    values = paper.values()
    assert values["toy_cost"] == [[0, 10, 0.01], [10, 0, 1], [0.01, 1, 0]]
    assert values["pairs"]["similar"]["ids"] == [3, 5]
    assert values["pairs"]["dissimilar"]["ids"] == [0, 7]
    assert values["pairs"]["ratio"] == 0.3
    assert values["training"]["wpgd_p"] == [1, 2.5, 10]
    assert (values["training"]["attack_steps"], values["training"]["evaluation_steps"]) == (8, 20)
    assert (values["training"]["momentum"], values["training"]["batch_size"]) == (0.9, 128)
    figures = values["figures"]
    assert list(figures) == [f"fig{number:02d}" for number in range(1, 14)]
    assert {name: figure["eps"] for name, figure in figures.items() if figure["eps"]} == {
        "fig02": [20, 38], "fig03": [8], "fig04": [8], "fig07": [8], "fig10": [4], "fig11": [16]}
    assert (figures["fig11"]["network"], figures["fig11"]["p"]) == ("W-28-10", 2.5)
    assert all(figure["caption"] and figure["section"] for figure in figures.values())


def test_inconsistencies_and_claims_are_complete_rows():
    found = {row["id"]: row for row in paper.values()["inconsistencies"]}
    assert len(found) == len(paper.values()["inconsistencies"])
    assert all(row["where"] and row["paper"] and row["reading"] for row in found.values())
    assert {"w-40-10-depth", "table2-tiny-ne", "table3-zero-cifar10", "table3-zero-tiny", "entropy-sign",
            "fig9-direction", "psd-zero-diagonal", "score-and-error"} <= set(found)
    ids = [row["id"] for row in paper.values()["claims"]]
    assert len(set(ids)) == len(ids)
    assert len(paper.inconsistencies()) == len(found)


def test_values_cannot_be_spoiled():
    paper.values()["table1"]["rows"].clear()
    assert len(paper.values()["table1"]["rows"]) == 4


def test_printed_names_its_mistakes():
    with pytest.raises(ValueError, match="no 'table4'"):
        paper.printed("table4")
    with pytest.raises(ValueError, match="has 3 rows"):
        paper.printed("table3", dataset="tiny-imagenet-200", network="W-16-10")
    with pytest.raises(ValueError, match="has 0 rows"):
        paper.printed("table3", dataset="mnist")
    assert len(paper.printed_table("table3")) == 10


def test_claim_takes_the_papers_sentence():
    made = paper.claim("less-clustered:knn", "accuracy [%]", (1.0, 0.5, 2.0), "> 0")
    assert (made.id, made.source, made.verdict) == ("less-clustered:knn", "Sec. 3.3, Fig. 6", "holds")
    assert made.statement.startswith("robust representations are less clustered")
    with pytest.raises(ValueError, match="no claim 'nonsense'"):
        paper.claim("nonsense", "x", (1, None, None), "> 0")


@pytest.mark.parametrize(("dataset", "used", "title"), [
    ("cifar10", "cifar10", "CIFAR-10"),
    ("cifar10", "mnist5k", "CIFAR-10 (digits stand in)"),
    ("mnist", "mnist5k", "MNIST (5,000 of its digits)"),
    ("tiny-imagenet-200", "cifar100", "Tiny-ImageNet (CIFAR-100 stands in)"),
])
def test_stand_in_title(dataset, used, title):
    assert paper.stand_in_title(dataset, used) == title


def test_only_the_digits_are_mnists_own():
    assert not paper.is_stand_in("mnist", "mnist5k") and not paper.is_stand_in("cifar10", "cifar10")
    assert paper.is_stand_in("cifar10", "mnist5k") and paper.is_stand_in("mnist", "cifar10")
    assert paper.stand_in_note("mnist", "mnist5k") == paper.stand_in_note("cifar10", "cifar10") == ""
    assert paper.stand_in_note("cifar10", "mnist5k") == "; digits stand in, not comparable"
    assert paper.stand_in_note("cifar10", "cifar100") == "; cifar100 stands in, not comparable"


def test_metrics_round_trip_with_reference_rows(tmp_path, repo, provenance):
    commit(repo, "reduced", {"data": {"fig": {"title": "MNIST", "y": [9]}}})
    out = paper.Outputs("02_gap", "quick", tmp_path / "results", seed=3)
    data = {"title": "digits stand in", "matrix": np.array([[1 / 3, np.nan], [np.inf, 2.0]]), "p": (1, 2.5),
            "n": np.int64(4), "ok": np.bool_(True), 7: None}
    rows = out.rows("fig", data)
    assert [label for label, _ in rows] == ["quick: digits stand in", "reduced: MNIST"]
    assert rows[1][1] == {"title": "MNIST", "y": [9]}
    assert out.rows("other", {"y": [1]}) == [("quick", {"y": [1]})]
    out.record("numbers", {"rho": -0.1234567891})
    out.finish()

    written = json.loads((tmp_path / "results/quick/metrics/02_gap.json").read_text())
    assert written["data"]["fig"] == rows[0][1] == {
        "title": "digits stand in", "matrix": [[0.333333, None], [None, 2.0]], "p": [1, 2.5], "n": 4,
        "ok": True, "7": None}
    assert written["data"]["numbers"] == {"rho": -0.123457}
    about = written["provenance"]
    assert (about["profile"], about["seed"], about["commit"], about["device"]) == ("quick", 3, "abc", "cpu")
    assert about["seconds"] >= 0 and "numpy" in about["versions"]


def test_panels_that_the_profile_itself_lacks_are_recorded_but_not_drawn(tmp_path, repo, provenance):
    there, missing = {"title": "x", "series": []}, {"title": "y", "missing": "not part of this profile"}
    outputs = paper.Outputs("05", "quick", tmp_path)
    (_, drawn), = outputs.rows("half", {"panels": [there, missing]})
    assert drawn["panels"] == [there] and outputs.data["half"]["panels"] == [there, missing]
    assert outputs.rows("none", {"panels": [missing]})[0][1]["panels"] == [missing]
    assert outputs.rows("other", {"values": [1]})[0][1] == {"values": [1]}


def test_panels_that_the_reference_lacks_are_left_out(tmp_path, repo, provenance):
    there, missing = {"title": "x", "series": []}, {"title": "y", "missing": "not part of this profile"}
    data = {"half": {"panels": [there, missing]}, "none": {"panels": [missing]}, "other": {"values": [1]}}
    folder = repo / "results" / "reduced" / "metrics"
    folder.mkdir(parents=True)
    (folder / "02_gap.json").write_text(json.dumps({"data": data}))
    outputs = paper.Outputs("02_gap", "quick", tmp_path)
    assert [len(row["panels"]) for _, row in outputs.rows("half", {"panels": [there, there]})] == [2, 1]
    assert len(outputs.rows("none", data["none"])) == 1
    assert [row for _, row in outputs.rows("other", data["other"])] == [{"values": [1]}] * 2


def test_reference_is_the_largest_profile_above(repo):
    assert paper.reference("quick", "02_gap") is None
    commit(repo, "quick", {"data": {"from": "quick"}})
    commit(repo, "reduced", {"data": {"from": "reduced"}})
    assert paper.reference("smoke", "02_gap") == ("reduced", {"data": {"from": "reduced"}})
    assert paper.reference("reduced", "02_gap") is None
    assert paper.reference("quick", "03_other") is None
    commit(repo, "paper", "{ broken")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert paper.reference("quick", "02_gap")[0] == "reduced"
    with pytest.warns(UserWarning):
        assert paper.reference("my_own_profile", "02_gap")[0] == "reduced"


def test_profile_path_counts_by_its_stem(tmp_path):
    out = paper.Outputs("02_gap", "/some where/mine.yaml", tmp_path)
    assert (out.profile, out.folder) == ("mine", tmp_path / "mine")


@pytest.mark.parametrize(("notebook", "profile"), [
    ("", "quick"), ("a/b", "quick"), ("01", ""), (None, "quick")])
def test_bad_names(tmp_path, notebook, profile):
    with pytest.raises(ValueError, match="name"):
        paper.Outputs(notebook, profile, tmp_path)


def test_unknown_types_are_named():
    with pytest.raises(ValueError, match=r"fig\['a'\]\[1\] is a function"):
        files.plain({"a": [1, lambda: 0]}, "fig")


def test_figures_are_saved_twice_and_alike(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 1], [1, 0])
    out = paper.Outputs("02_gap", "quick", tmp_path)
    assert out.figure(fig, "fig01") is fig
    folder = tmp_path / "quick" / "figures"
    before = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    out.figure(fig, "fig01")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(before) == ["fig01.pdf", "fig01.png"]
    assert before["fig01.png"].startswith(b"\x89PNG") and len(before["fig01.png"]) > 2000
    assert before["fig01.pdf"].startswith(b"%PDF") and b"CreationDate" not in before["fig01.pdf"]
    assert plt.fignum_exists(fig.number)
    plt.close(fig)


def test_tables(tmp_path):
    pd = pytest.importorskip("pandas")
    out = paper.Outputs("02_gap", "quick", tmp_path)
    out.table(pd.DataFrame({"rho": [-0.123456789]}), "table1")
    assert (tmp_path / "quick/tables/table1.csv").read_text() == "rho\n-0.123457\n"
    out.table(pd.DataFrame({"rho": [1.0]}, index=["MNIST"]), "table1")
    assert (tmp_path / "quick/tables/table1.csv").read_text() == ",rho\nMNIST,1\n"


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_comparison_and_claims_merge(tmp_path, repo, provenance):
    for notebook, value in (("06_table3", 1.0), ("02_gap", 2.0), ("02_gap", 3.0)):
        out = paper.Outputs(notebook, "quick", tmp_path)
        out.compare([{"quantity": "rho", "paper": -0.88, "ours": value - 1, "unit": ""},
                     {"quantity": "NE", "paper": None, "ours": float("nan"), "unit": "%", "note": "a, b"}])
        shown = out.compare([{"quantity": "rho", "paper": -0.88, "ours": value, "unit": ""}])
        assert list(shown["ours"]) == [value]
        verdicts = out.finish([Claim("c", "Sec. 3", "s", "x", value, None, None, "> 2.5")])
    assert list(verdicts["verdict"]) == ["holds"]
    rows = read(tmp_path / "quick/paper_vs_ours.csv")
    assert [(row["notebook"], row["quantity"], row["ours"]) for row in rows] == [
        ("02_gap", "rho", "3"), ("02_gap", "NE", ""), ("06_table3", "rho", "1"), ("06_table3", "NE", "")]
    assert rows[1]["note"] == "a, b"
    assert [(row["notebook"], row["verdict"]) for row in read(tmp_path / "quick/claims.csv")] == [
        ("02_gap", "holds"), ("06_table3", "fails")]
    assert not [path.name for path in (tmp_path / "quick").rglob(".*")]


def test_finish_takes_a_ledger(tmp_path, repo, provenance):
    out = paper.Outputs("01_toy", "quick", tmp_path)
    ledger = Ledger(out)
    ledger.add(Claim("c", "Sec. 3", "s", "x", 1.0, 0.5, 2.0, "> 0"))
    assert list(out.finish(ledger)["id"]) == ["c"]


def test_comparison_rows_are_checked(tmp_path):
    out = paper.Outputs("01_toy", "quick", tmp_path)
    for row in ({"paper": 1}, {"quantity": "x", "our": 1}):
        with pytest.raises(ValueError, match="quantity"):
            out.compare([row])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    files.write_atomic(path, "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


def test_json_is_readable():
    text = files.dumps({"a": [1, 2.5, None], "b": {"c": [[1, 2], [3, 4]]}, "d": {}, "e": []})
    assert json.loads(text) == {"a": [1, 2.5, None], "b": {"c": [[1, 2], [3, 4]]}, "d": {}, "e": []}
    assert '"a": [1, 2.5, null]' in text and "   [3, 4]" in text
