"""The YAML says what the paper prints."""

import pytest

from study import paper

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


def test_table_1():
    rows = paper.printed("table1")
    printed = TABLE1.split()
    assert [(paper.title(row.dataset), row.rho) for row in rows.itertuples()] == [
        (name, float(rho)) for name, rho in zip(printed[::2], printed[1::2], strict=True)]


@pytest.mark.parametrize("dataset", TABLE2)
def test_table_2(dataset):
    rows = paper.printed("table2").set_index(["dataset", "method", "network"]).loc[dataset]
    for name, line in zip(("NE", "AE"), TABLE2[dataset].split("/"), strict=True):
        cells = [rows.loc[(method, network), name] for method in ("ce", "pgd") for network in ("W-16-10", "W-28-10")]
        assert cells == [float(cell) for cell in line.split()]
    assert (paper.values()["table2"]["eps"], paper.values()["table2"]["steps"]) == (4, 20)


def test_table_3():
    rows = [(row.network, row.AE, row.p, row.dataset, row.S) for row in paper.printed("table3").itertuples()]
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
    assert len(paper.printed("inconsistencies")) == len(found)


def test_values_cannot_be_spoiled():
    paper.values()["table1"]["rows"].clear()
    assert len(paper.printed("table1")) == 4
    with pytest.raises(ValueError, match="no 'table4'"):
        paper.printed("table4")


def test_claim_takes_the_papers_sentence():
    made = paper.claim("less-clustered:knn", "accuracy [%]", (1.0, 0.5, 2.0), "> 0")
    assert (made.id, made.source, made.verdict) == ("less-clustered:knn", "Sec. 3.3, Fig. 6", "holds")
    assert made.statement.startswith("robust representations are less clustered")
    with pytest.raises(ValueError, match="no claim 'nonsense'"):
        paper.claim("nonsense", "x", (1, None, None), "> 0")


def test_things_are_called_what_they_are():
    assert [paper.title(name) for name in ("cifar10", "mnist5k", "/some where/leaves/", "tiny-imagenet-200")] == [
        "CIFAR-10", "5,000 MNIST digits", "leaves", "Tiny-ImageNet"]
    assert paper.same_data("cifar10", "cifar10") and paper.same_data("mnist", "mnist5k")
    assert not paper.same_data("cifar10", "mnist5k") and not paper.same_data("mnist", "cifar10")
    assert paper.note("cifar10", "cifar10", "W-16-1") == "W-16-1"
    assert paper.note("cifar10", "mnist5k", "W-10-1") == "W-10-1; 5,000 MNIST digits stand in, not comparable"
