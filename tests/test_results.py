"""Results arrive on disk: rounded, merged, repeatable, whole; intervals come back as intervals."""
import gzip
import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import files
from helpers.intervals import Interval
from study import results
from study.claims import Claim
from study.results import Results


@pytest.fixture
def repo(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "REPO_ROOT", tmp_path / "repo")
    return tmp_path / "repo" / "results"


FRAME = pd.DataFrame({"class": ["4", "9"], "p": [1.0, 2.5], "error": [Interval(1 / 3, 0.1, 0.5), Interval(2.0)]})


def test_a_figures_numbers_come_back_with_those_of_the_largest_profile_above(tmp_path, repo):
    assert list(Results("05", "quick", repo).beside(FRAME, "fig10").profile) == ["quick", "quick"]
    larger = FRAME.assign(p=[3.0, 4.0])
    alone = Results("05", "reduced", repo).beside(larger, "fig10", "CIFAR-10")
    assert list(alone.profile) == ["CIFAR-10"] * 2, "a reader would cut the profile's name off"
    both = Results("05", "quick", tmp_path).beside(FRAME, "fig10", "digits")
    assert list(both) == ["profile", "class", "p", "error"]
    assert list(both.profile) == ["quick: digits"] * 2 + ["reduced: CIFAR-10"] * 2
    assert list(both["class"]) == ["4", "9"] * 2 and list(both.p) == [1.0, 2.5, 3.0, 4.0]
    assert str(both.error[2]) == "0.333 [0.1, 0.5]" and str(both.error[3]) == "2"
    assert (tmp_path / "quick/figures/fig10.csv").read_text() == (
        "class,p,error,error low,error high,title\n4,1,0.333333,0.1,0.5,digits\n9,2.5,2,,,digits\n")
    # An own profile counts as smaller than all committed ones; the largest has none above it.
    assert list(Results("05", "mine", tmp_path).beside(FRAME, "fig10").profile)[2] == "reduced: CIFAR-10"
    assert len(Results("05", "reduced", repo).beside(FRAME, "fig10")) == 2


def test_a_profile_without_the_figure_leaves_no_numbers_and_draws_the_reference_alone(tmp_path, repo):
    Results("05", "reduced", repo).beside(FRAME, "fig13", "CIFAR-10")
    out = Results("05", "quick", tmp_path)
    out.beside(FRAME, "fig13")
    assert set(out.beside(FRAME[:0], "fig13").profile) == {"reduced: CIFAR-10"}
    assert not list((tmp_path / "quick/figures").iterdir())


@pytest.mark.parametrize("profile", ["lr0.1", "lr0.2", "quick.v2"])
def test_a_profile_with_a_dot_in_its_name_has_a_folder_of_its_own(tmp_path, repo, profile):
    out = Results("05", profile, tmp_path)
    out.beside(FRAME, "fig10.1")
    out.table(FRAME, "table1.2")
    out.figure(plt.figure(), "fig10.1", "nothing")
    out.finish([])
    assert [path.name for path in tmp_path.iterdir()] == [profile]
    written = {str(path.relative_to(tmp_path / profile)) for path in tmp_path.rglob("*.*") if path.is_file()}
    assert written == {"figures/fig10.1.csv", "figures/fig10.1.png", "figures/fig10.1.pdf", "tables/table1.2.csv",
                       "metrics/05.json", "claims.csv", "paper_vs_ours.csv"}


def test_large_frames_are_compressed_and_read_again(tmp_path, repo):
    large = pd.DataFrame({"x": np.arange(6000), "name": "a"})
    Results("02", "reduced", repo).beside(large, "fig03", "CIFAR-10")
    path = repo / "reduced/figures/fig03.csv.gz"
    before = path.read_bytes()
    assert gzip.decompress(before).startswith(b"x,name,title\n0,a,CIFAR-10\n")
    assert len(Results("02", "quick", tmp_path).beside(large[:3], "fig03")) == 6003
    Results("02", "reduced", repo).beside(large, "fig03", "CIFAR-10")
    assert path.read_bytes() == before  # no date in it
    Results("02", "reduced", repo).beside(large[:3], "fig03", "CIFAR-10")
    assert [file.name for file in path.parent.iterdir()] == ["fig03.csv"]


def test_a_reference_that_cannot_be_read_is_told_and_left_out(tmp_path, repo):
    Results("05", "reduced", repo).beside(FRAME.drop(columns="p"), "fig10")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert len(Results("05", "quick", tmp_path).beside(FRAME, "fig10")) == 2


def test_tables(tmp_path):
    out = Results("02_gap", "quick", tmp_path)
    frame = pd.DataFrame({"rho": [-0.123456789, np.nan], "S": [Interval(1.23456789, 1, 2), Interval(np.nan)],
                          "paper": [0.1 + 0.2, None], "n": [1, 2]})
    assert out.table(frame, "table1") is frame
    assert (tmp_path / "quick/tables/table1.csv").read_text() == (
        "rho,S,S low,S high,paper,n\n-0.123457,1.23457,1,2,0.3,1\n,,,,,2\n")
    out.table(pd.DataFrame({"rho": [1.0]}, index=["MNIST"]), "table1")
    assert (tmp_path / "quick/tables/table1.csv").read_text() == ",rho\nMNIST,1\n"


def test_figures_are_saved_twice_and_alike(tmp_path):
    fig, ax = plt.subplots(figsize=(4, 3))
    ax.plot([0, 1], [1, 0])
    out = Results("02_gap", "quick", tmp_path)
    assert out.figure(fig, "fig01", "two lines") is fig
    folder = tmp_path / "quick" / "figures"
    before = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    out.figure(fig, "fig01", "two lines")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(before) == ["fig01.pdf", "fig01.png"]
    assert before["fig01.png"].startswith(b"\x89PNG") and len(before["fig01.png"]) > 2000
    assert before["fig01.pdf"].startswith(b"%PDF") and b"CreationDate" not in before["fig01.pdf"]
    assert not plt.fignum_exists(fig.number), "it is shown by `figure`, and not once more"
    assert Image.open(tmp_path / "quick" / "figures" / "fig01.png").text["Description"] == "two lines"


def test_comparison_and_claims_replace_their_own_rows_and_keep_the_others(tmp_path):
    for notebook, value in (("06_table3", 1.0), ("02_gap", 2.0), ("02_gap", 3.0)):
        out = Results(notebook, "quick", tmp_path, seed=3)
        out.compare([{"quantity": "rho", "paper": "almost -1", "ours": value - 1, "unit": ""},
                     {"quantity": "NE", "paper": None, "ours": float("nan"), "unit": "%", "note": "a, b"}])
        shown = out.compare([{"quantity": "rho", "paper": -0.88, "ours": value / 3, "unit": ""}])
        assert list(shown.ours) == [value / 3]
        old = Claim("c", "Sec. 3", "s", "x", (0.0, None, None), "> 2.5")
        verdicts = out.finish([old, Claim("c", "Sec. 3", "s", "x", (value, None, None), "> 2.5")])
    assert list(verdicts.verdict) == ["holds"]
    rows = pd.read_csv(tmp_path / "quick/paper_vs_ours.csv", dtype=str, keep_default_na=False)
    assert rows[["notebook", "quantity", "ours"]].to_numpy().tolist() == [
        ["02_gap", "rho", "1"], ["02_gap", "NE", ""], ["06_table3", "rho", "0.333333"], ["06_table3", "NE", ""]]
    assert rows.note[1] == "a, b"
    claims = pd.read_csv(tmp_path / "quick/claims.csv")
    assert claims[["notebook", "verdict"]].to_numpy().tolist() == [["02_gap", "holds"], ["06_table3", "fails"]]
    facts = json.loads((tmp_path / "quick/metrics/02_gap.json").read_text())["provenance"]
    assert (facts["profile"], facts["seed"]) == ("quick", 3) and facts["seconds"] >= 0 and facts["commit"]
    assert "numpy" in facts["versions"]
    assert not [path.name for path in (tmp_path / "quick").rglob(".*")]


def test_a_table_that_excel_saved_is_no_other_version(tmp_path):
    claim = Claim("c", "Sec. 3", "ε ist groß", "x", (1.0, 0.5, 2.0), "> 0")
    Results("01_toy", "mine", tmp_path).finish([claim])
    path = tmp_path / "mine/claims.csv"
    path.write_text("\ufeff" + path.read_text(encoding="utf-8"), encoding="utf-8")  # "CSV UTF-8" begins so
    Results("02_gap", "mine", tmp_path).finish([claim])
    rows = pd.read_csv(path)
    assert list(rows.notebook) == ["01_toy", "02_gap"] and set(rows.statement) == {"ε ist groß"}


def test_a_file_of_another_version_is_refused(tmp_path):
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "claims.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"claims\.csv has the columns a, b"):
        Results("01", "quick", tmp_path).finish([])


def test_comparison_rows_are_checked(tmp_path):
    for row in ({"paper": 1}, {"quantity": "x", "our": 1}, {"quantity": None}):
        with pytest.raises(ValueError, match="quantity"):
            Results("01", "quick", tmp_path).compare([row])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = files.write_atomic(tmp_path / "metrics.json", "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


def test_files_that_a_later_run_does_not_write_are_removed_and_an_unfinished_one_is_told(tmp_path):
    first = Results("08", "quick", tmp_path)
    first.table(FRAME, "table3_autoattack")
    first.table(FRAME, "table3")
    first.finish([])
    other = Results("06", "quick", tmp_path)
    other.table(FRAME, "table2")
    other.finish([])
    metrics = tmp_path / "quick/metrics/08.json"
    assert "unfinished" not in json.loads(metrics.read_text())
    second = Results("08", "quick", tmp_path)
    second.table(FRAME, "table3")
    assert json.loads(metrics.read_text())["unfinished"] is True
    second.finish([])
    assert {file.name for file in (tmp_path / "quick/tables").iterdir()} == {"table2.csv", "table3.csv"}
    assert json.loads(metrics.read_text())["files"] == ["tables/table3.csv"]


def test_metrics_name_the_runs_behind_the_numbers(tmp_path):
    run = SimpleNamespace(folder=tmp_path / "digits_CE-1", made={"commit": "abc", "source": "def", "threads": 2})
    Results("02", "quick", tmp_path).finish([], [run])
    said = json.loads((tmp_path / "quick/metrics/02.json").read_text())["runs"]["digits_CE-1"]
    assert (said["commit"], said["source"], said["threads"]) == ("abc", "def", 2)


TABLE = [[0 if i == j else 10 if (i, j) in ((4, 9), (3, 8)) else 1 for j in range(10)] for i in range(10)]
PAIRS = {"default": 1} | {f"{i} -> {9 - i}": 10 for i in range(5)}


@pytest.mark.parametrize(("given", "text"), [
    ({"data": "/home/me/pics/my animals"}, "data my animals"), ({"data": "~/pics/my animals/"}, "data my animals"),
    ({"data": "mnist5k", "network": "W-16-10/2"}, "data mnist5k, network W-16-10/2"),
    ({"data": "/a/cats, /b/dogs"}, "data cats, dogs"),
    ({"cost": "/home/me/of mine/my costs.csv"}, "cost my costs.csv"),
    ({"cost": {"values": "/home/me/my costs.csv", "symmetric": False}}, "cost my costs.csv, asymmetric"),
    ({"my_pairs": PAIRS}, "my_pairs 5 dearest pairs 0 -> 9, 1 -> 8, 2 -> 7, ..."),
    ({"cost": str(PAIRS)}, "cost 5 dearest pairs 0 -> 9, 1 -> 8, 2 -> 7, ..."),  # as the settings of models are told
    ({"my_pairs": {**PAIRS, "default": 20}}, "my_pairs 5 cheaper pairs 0 -> 9, 1 -> 8, 2 -> 7, ..."),
    ({"my_pairs": {**PAIRS, "0 -> 1": 99}}, "my_pairs 1 dearest pair 0 -> 1"),
    ({"my_pairs": TABLE}, "my_pairs 2 dearest pairs 3 -> 8, 4 -> 9"),
    ({"my_pairs": {"values": TABLE, "symmetric": False}}, "my_pairs 2 dearest pairs 3 -> 8, 4 -> 9, asymmetric"),
    ({"audit": {"images": 20}}, "audit {'images': 20}"),
    ({"seeds": list(range(50))}, f"seeds {str(list(range(50)))[:60]}..."),
])
def test_a_title_names_in_words_what_was_changed(tmp_path, given, text):
    assert Results("07", "quick", tmp_path, own=given).label == f"quick, but {text}"


def test_what_is_not_as_in_the_profile_is_the_readers_own(repo, tmp_path, capsys):
    Results("05", "reduced", repo).beside(FRAME, "fig10", "CIFAR-10")
    own = {"cost": [[0, 1], [1, 0]], "p": 2.5}
    out = Results("05", "quick", tmp_path, own=own)
    assert out.folder.parent == tmp_path / "mine" and out.folder.name.startswith("quick-cost-p-")
    assert "cost, p" in capsys.readouterr().out
    drawn = out.beside(FRAME, "fig10", "digits")
    assert list(drawn.profile.unique()) == ["quick, but cost [[0, 1], [1, 0]], p 2.5: digits"], "no reference"
    out.reference = True
    assert "reduced: CIFAR-10" in list(out.beside(FRAME, "fig10").profile)
    out.finish([])
    assert not (tmp_path / "quick").exists() and (out.folder / "claims.csv").is_file()
    assert Results("05", "quick", tmp_path, own={**own, "p": 1.0}).folder != out.folder
    assert Results("07", "quick", tmp_path, own=own, name="till").folder == tmp_path / "mine" / "till"
