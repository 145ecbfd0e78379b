"""CostMatrix, tables, files, super-classes and specifications: numpy's powers, hand-made matrices, bad input."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import costs
from helpers.costs import CostMatrix, wordnet

TOY = [[0, 10, 0.01], [10, 0, 1], [0.01, 1, 0]]
ABC = ("a", "b", "c")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def changed(i, j, value, mirror=True):
    values = np.array(TOY)
    values[i, j] = value
    if mirror:
        values[j, i] = value
    return values


def data_set(name, classes):
    return SimpleNamespace(name=name, classes=classes)


# ---- the matrix ----


def test_matrix_keeps_raw_values_and_normalises():
    cost = CostMatrix(TOY, ABC, name="toy")
    assert cost.classes == ABC and len(cost) == 3 and cost.name == "toy" and cost.symmetric
    assert cost.values.dtype == np.float64
    np.testing.assert_array_equal(cost.values, TOY)
    np.testing.assert_array_equal(cost.normalized, np.array(TOY) / 10)


def test_matrix_is_immutable_and_copies_its_input():
    values = np.array(TOY)
    cost = CostMatrix(values, ABC)
    values[0, 1] = values[1, 0] = 99
    assert cost.values[0, 1] == 10
    for array in (cost.values, cost.normalized):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 1] = 5
    with pytest.raises(AttributeError):
        cost.values = values
    frame = cost.to_frame()
    frame.iloc[0, 1] = 7
    (cost**1)[0, 1] = 7
    assert cost.values[0, 1] == 10 and (cost**1)[0, 1] == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda cost: pickle.loads(pickle.dumps(cost))])
def test_a_copy_is_as_immutable_as_its_original(copied):
    cost = copied(CostMatrix(TOY, ABC, name="toy"))
    assert cost == CostMatrix(TOY, ABC) and cost.name == "toy" and cost.symmetric
    with pytest.raises(ValueError, match="read-only"):
        cost.values[0, 1] = 5


def test_equality_is_by_values_and_classes():
    cost = CostMatrix(TOY, ABC, name="one")
    assert cost == CostMatrix(torch.tensor(TOY, dtype=torch.float64), ABC, name="two")
    assert hash(cost) == hash(CostMatrix(TOY, ABC)) and len(cost.digest) == 12
    assert cost == CostMatrix(changed(2, 2, -0.0), ABC)
    assert cost != CostMatrix(TOY, ("a", "b", "d"))
    assert cost != CostMatrix(changed(0, 1, 11), ABC)
    assert cost != "cost"


def test_repr_names_nearest_and_farthest_pair():
    text = repr(CostMatrix(TOY, ABC, name="toy"))
    assert "'toy'" in text and "K=3" in text and "a/c = 0.01" in text and "a/b = 10" in text


BAD = {
    "not square": ([[0, 1, 2], [1, 0, 3]], ABC, "2 rows for 3 classes"),
    "one number": (3.0, ABC, "square"),
    "stack": (np.zeros((3, 3, 3)), ABC, "no finite numbers"),
    "ragged": ([[0, 1], [1]], ("a", "b"), "Row 2 of the cost matrix, of class 'b', has 1 entries for 2 classes"),
    "all too short": ([[0, 1], [1, 0], [1, 1]], ABC, "Row 1 of the cost matrix, of class 'a', has 2 entries for 3"),
    "word": ([[0, "much"], [1, 0]], ("a", "b"), "no finite numbers.*a -> b = much"),
    "text": ([[0, "x"], ["x", 0]], ("a", "b"), "no finite numbers.*a -> b = x, b -> a = x; 2 in all"),
    "wrong size": (TOY, ("cat", "dog"), "3 rows for 2 classes.*'cat', 'dog'"),
    "nan": (changed(0, 2, np.nan), ABC, "finite.*a -> c = nan, c -> a = nan"),
    "inf": (changed(1, 2, np.inf), ABC, "finite.*b -> c = inf"),
    "negative": (changed(0, 1, -1.5), ABC, "negative.*a -> b = -1.5"),
    "diagonal": (changed(1, 1, 2), ABC, "diagonal.*b -> b = 2"),
    "asymmetric": (changed(0, 1, 9, mirror=False), ABC, "not symmetric.*symmetric=False.*a -> b = 9, b -> a = 10"),
    "one class": ([[0]], ("cat",), "two classes"),
    "no class": (np.zeros((0, 0)), (), "two classes"),
    "all zero": (np.zeros((3, 3)), ABC, "zero everywhere"),
    "duplicate": (TOY, ("cat", "dog", "cat"), "'cat' is listed more than once"),
    "one string": (TOY, "cats", "3 rows for 4 classes.*'c', 'a', 't', 's'"),
}


@pytest.mark.parametrize(("values", "classes", "message"), BAD.values(), ids=BAD)
def test_bad_matrices_are_refused_in_one_paragraph(values, classes, message):
    with pytest.raises(ValueError, match=message) as error:
        CostMatrix(values, classes)
    assert "\n" not in str(error.value)


def test_many_bad_entries_are_counted_not_listed():
    values = 1.0 - np.eye(10)
    values[0, 1:] = values[1:, 0] = -1
    with pytest.raises(ValueError, match="18 in all") as error:
        CostMatrix(values, CIFAR10)
    assert len(str(error.value)) < 400


def test_asymmetric_only_on_request_and_rounding_is_forgiven():
    values = changed(0, 1, 9, mirror=False)
    cost = CostMatrix(values, ABC, symmetric=False)
    assert not cost.symmetric and cost.values[0, 1] == 9 and cost.values[1, 0] == 10
    assert CostMatrix(changed(0, 1, 10 + 1e-6, mirror=False), ABC).values[0, 1] == 10 + 1e-6
    with pytest.raises(ValueError, match="not symmetric"):
        CostMatrix(changed(0, 1, 10 + 1e-4, mirror=False), ABC)


@pytest.mark.parametrize("p", [0.5, 1, 2.5, 10])
def test_power_is_numpy_on_the_normalised_matrix(p):
    powered = CostMatrix(TOY, ABC) ** p
    assert powered.dtype == torch.float64 and powered.shape == (3, 3)
    by_hand = np.array([[0, 1, 0.001**p], [1, 0, 0.1**p], [0.001**p, 0.1**p, 0]])
    np.testing.assert_allclose(powered.numpy(), by_hand, rtol=1e-12)


def test_power_zero_makes_all_confusions_cost_the_same():
    """Also those that cost nothing: an attacker at p = 0 is plain PGD, which knows no costs."""
    np.testing.assert_array_equal((CostMatrix(TOY, ABC) ** 0).numpy(), 1 - np.eye(3))
    twins = CostMatrix([[0, 0, 4], [0, 0, 4], [4, 4, 0]], ABC)
    np.testing.assert_array_equal((twins**0.0).numpy(), 1 - np.eye(3))
    np.testing.assert_array_equal((twins**0.5).numpy(), [[0, 0, 1], [0, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize("p", [-1, float("nan"), float("inf"), "2", None, 1j])
def test_bad_powers(p):
    with pytest.raises(ValueError, match="power p"):
        CostMatrix(TOY, ABC) ** p


def test_select_reorders_and_cuts():
    part = CostMatrix(TOY, ABC).select(["c", "b"])
    np.testing.assert_array_equal(part.values, [[0, 1], [1, 0]])
    assert part.classes == ("c", "b")
    with pytest.raises(ValueError, match="no class 'fox'"):
        CostMatrix(TOY, ABC).select(["a", "fox"])


# ---- tables and files ----


def test_frame_round_trip_and_any_column_order():
    cost = CostMatrix(TOY, ABC)
    frame, abc = cost.to_frame(), data_set("mine", ABC)
    assert frame.loc["a", "b"] == 10 and costs.from_spec(frame, abc) == cost
    assert costs.from_spec(frame[["c", "a", "b"]], abc) == cost
    assert costs.from_spec(frame, data_set("mine", ["b", "a"])).values[0, 1] == 10
    with pytest.raises(ValueError, match="'c', 'x' is on one of them only"):
        costs.from_spec(frame.rename(columns={"c": "x"}), abc)


def test_csv_round_trip(tmp_path):
    path, cost = tmp_path / "my costs.csv", CostMatrix(TOY, ABC)
    cost.to_frame().to_csv(path)
    assert costs.read_csv(path) == cost
    cost.to_csv(path)
    assert costs.read_csv(path, name="mine").name == "mine"
    assert costs.read_csv(path) == cost == costs.read_csv(str(path), ABC)
    assert costs.read_csv(path, ["c", "a"]).values[0, 1] == 0.01
    assert costs.read_csv(path).name == "my costs.csv"


CSV = {
    "spreadsheet": "\ufeffclass; a; b; c\na; 0; 10; 0.01\nb; 10; 0; 1\nc; 0.01; 1; 0\n\n",
    "tabs, shuffled": "\tb\ta\tc\nc\t1\t0.01\t0\na\t10\t0\t.01\nb\t0\t10\t1\n",
    "bare": "0,10,0.01\n10,0,1\n0.01,1,0",
    "names above alone": "a,b,c\n0,10,0.01\n10,0,1\n0.01,1,0\n",
    "names above alone, shuffled": "c;a;b\n0;0,01;1\n0,01;0;10\n1;10;0\n",
}


@pytest.mark.parametrize("text", CSV.values(), ids=CSV)
def test_csv_dialects(tmp_path, text):
    (tmp_path / "c.csv").write_text(text, encoding="utf-8")
    assert costs.read_csv(tmp_path / "c.csv", ABC) == CostMatrix(TOY, ABC)


def test_csv_of_digit_names_is_labelled(tmp_path):
    cost = CostMatrix(TOY, ("0", "1", "2"))
    cost.to_frame().to_csv(tmp_path / "digits.csv")
    assert costs.read_csv(tmp_path / "digits.csv") == cost


@pytest.mark.parametrize("classes", [ABC, ("0", "1", "2")])
def test_csv_that_pandas_writes_without_its_index(tmp_path, classes):
    cost = CostMatrix([[0, 2, 1], [3, 0, 1], [1, 1, 0]], classes, symmetric=False)
    cost.to_frame().to_csv(tmp_path / "c.csv", index=False)
    assert costs.read_csv(tmp_path / "c.csv", classes, symmetric=False) == cost
    assert costs.read_csv(tmp_path / "c.csv", classes[::-1], symmetric=False) == cost.select(classes[::-1])


BAD_CSV = {
    "names above alone, ragged": ("a,b\n0,1\n1", None, "Row 2 of the cost matrix, of class 'b', has 1 entries for 2"),
    "bare, no classes": ("0,1\n1,0", None, "numbers only.*classes="),
    "hole": (",a,b\na,0,\nb,1,0", None, "no finite numbers.*a -> b = ;"),
    "word": (",a,b\na,0,1\nb,much,0", None, "no finite numbers.*b -> a = much"),
    "labels differ": (",a,b\na,0,1\nc,1,0", None, "same class names, but 'b', 'c'"),
    "ragged": (",a,b\na,0\nb,1,0", None, "Row 1 of the cost matrix, of class 'a', has 1 entries for 2"),
    "empty": ("", None, "two classes"),
    "class missing": (",a,b\na,0,1\nb,1,0", ("a", "fox"), "no class 'fox'"),
    "bare, wrong size": ("0,1\n1,0", ABC, "2 rows for 3 classes"),
    "asymmetric": (",a,b\na,0,1\nb,2,0", None, "not symmetric"),
}


@pytest.mark.parametrize(("text", "classes", "message"), BAD_CSV.values(), ids=BAD_CSV)
def test_bad_csv(tmp_path, text, classes, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        costs.read_csv(tmp_path / "c.csv", classes)
    assert "\n" not in str(error.value)


def test_missing_csv_and_asymmetric_csv(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        costs.read_csv(tmp_path / "nowhere.csv", ABC)
    (tmp_path / "c.csv").write_text(",a,b\na,0,1\nb,2,0")
    assert costs.read_csv(tmp_path / "c.csv", symmetric=False).values.tolist() == [[0, 1], [2, 0]]


# ---- super-classes ----

# CIFAR-100's coarse label of each fine label, as in the data set's own files
COARSE = [
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1,
    10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12,
    12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0,
    17, 8, 14, 13,
]


def test_cifar100_superclasses_are_the_data_sets_own():
    classes = [row["class"] for row in wordnet.senses("cifar100")]
    assert list(costs.superclasses("cifar100")) == classes
    names = sorted(set(costs.superclasses("cifar100").values()))
    assert len(names) == 20
    assert [names.index(costs.superclasses("cifar100")[name]) for name in classes] == COARSE


# ---- specifications ----


def test_specs_of_cifar10_and_of_a_pair():
    whole = data_set("cifar10", CIFAR10)
    for distance in wordnet.DISTANCES:
        cost = costs.from_spec(f"wordnet:{distance}", whole)
        assert cost == costs.wordnet_cost("cifar10", distance) and cost.name == f"wordnet:{distance}"
    for name in ("cifar10", "CIFAR10 (dog/cat)", "cifar10-pair"):
        pair = costs.from_spec("wordnet:path", data_set(name, ("dog", "airplane")))
        assert pair.classes == ("dog", "airplane") and pair.values[0, 1] == 13
    groups = costs.from_spec("superclass", whole).to_frame()
    assert groups.loc["cat", "dog"] == 0.1 and groups.loc["airplane", "truck"] == 0.1
    assert groups.loc["bird", "airplane"] == 1


def test_specs_understand_other_names_and_keep_the_data_sets_order():
    shuffled = data_set("cifar10", ("truck", "car", "airplane", "Cat"))
    cost = costs.from_spec("wordnet:path", shuffled)
    assert cost.classes == ("truck", "car", "airplane", "Cat")
    official = costs.wordnet_cost("cifar10", classes=["truck", "automobile", "airplane", "cat"])
    np.testing.assert_array_equal(cost.values, official.values)
    assert costs.from_spec("superclass", shuffled).values[0].tolist() == [0, 0.1, 0.1, 1]
    trees = costs.from_spec("superclass", data_set("cifar100", ("maple tree", "oak_tree", "bus")))
    assert trees.values[0].tolist() == [0, 0.1, 1]
    folder = data_set("my-photos", ("n02124075", "n02123045"))  # known by its class names
    assert costs.from_spec("wordnet:path", folder).values[0, 1] == 2


def test_specs_by_hand(tmp_path):
    toy = data_set("toy3", ABC)
    expected = CostMatrix(TOY, ABC)
    expected.to_frame().to_csv(tmp_path / "c.csv")
    for spec in ("toy3", TOY, np.array(TOY), torch.tensor(TOY, dtype=torch.float64), expected.to_frame(),
                 tmp_path / "c.csv", str(tmp_path / "c.csv")):
        assert costs.from_spec(spec, toy) == expected
    assert costs.from_spec(expected, toy) is expected
    assert costs.from_spec(expected, data_set("pair", ("c", "b"))).values[0, 1] == 1


@pytest.mark.parametrize(("spec", "message"), [
    ("wordnet", "no cost matrix 'wordnet' for .* 'mnist5k'.*wordnet:path.*superclass.*linear_boundary, toy3"),
    ("wordnet:resnik", "no cost matrix 'wordnet:resnik'"),
    (None, "no cost matrix None"),
    (3, "no cost matrix 3"),
    ("wordnet:path", "for the classes of 'mnist5k'.*classes of cifar10, cifar100, tiny-imagenet-200"),
    ("superclass", "for the classes of 'mnist5k'.*superclass .of cifar10, cifar100"),
    ("toy3", "3 rows for 2 classes"),
    (TOY, "3 rows for 2 classes"),
    (CostMatrix(TOY, ABC), "no class '4', '9'"),
])
def test_bad_specs(spec, message):
    with pytest.raises(ValueError, match=message) as error:
        costs.from_spec(spec, data_set("mnist5k", ("4", "9")))
    assert "\n" not in str(error.value)


PAIRS = {("a", "b"): 10, "b <-> c": 1, "default": 0.01}


def test_spec_of_pairs():
    toy = data_set("toy3", ABC)
    assert costs.from_spec(PAIRS, toy) == CostMatrix(TOY, ABC) and costs.from_spec(PAIRS, toy).symmetric
    assert costs.from_spec({"b<->a": 10, ("c", "b"): 1, "c <-> a": 0.01}, toy) == CostMatrix(TOY, ABC)
    # One direction goes before both, whatever the order; numbers name classes, too.
    one_way = costs.from_spec({"b -> a": 7, ("a", "b"): 10, "default": 2}, toy)
    assert one_way.values.tolist() == [[0, 10, 2], [7, 0, 2], [2, 2, 0]] and not one_way.symmetric
    assert costs.from_spec({(4, 9): 3}, data_set("digits", ("4", "9"))).values.tolist() == [[0, 3], [3, 0]]


@pytest.mark.parametrize("form", ["list", "array", "frame", "file"])
def test_spec_with_a_word_for_asymmetry(form, tmp_path):
    values = [[0, 1, 2], [5, 0, 1], [2, 1, 0]]
    matrix = CostMatrix(values, ABC, symmetric=False)
    matrix.to_csv(tmp_path / "c.csv")
    given = {"list": values, "array": np.array(values), "frame": matrix.to_frame(), "file": tmp_path / "c.csv"}[form]
    toy = data_set("toy3", ABC)
    assert costs.from_spec({"values": given, "symmetric": False}, toy) == matrix
    for spec in (given, {"values": given}, {"values": given, "symmetric": True}):
        with pytest.raises(ValueError, match=r"not symmetric.*'symmetric': False.*a -> b = 1, b -> a = 5"):
            costs.from_spec(spec, toy)


@pytest.mark.parametrize(("spec", "message"), [
    ({"a <-> fox": 1}, "'a <-> fox' is no pair of classes.*'cat -> dog' for cats taken.*Classes: 'a', 'b', 'c'"),
    ({("a", "a"): 1}, "no pair of classes"),
    ({("a", "b", "c"): 1}, "no pair of classes"),
    ({"defualt": 1}, "'defualt' is no pair"),
    ({**PAIRS, "symmetric": False}, "'symmetric' is no pair"),
    ({("a", "b"): 1, ("b", "a"): 2, "default": 1}, "stands twice: write 'b -> a' and 'a -> b'"),
    ({"a -> b": 1, ("a", "c"): 2}, "no finite numbers: give .*'default'.*b -> a = none"),
    ({"a <-> b": "much", "default": 1}, "no finite numbers.*a -> b = much"),
    ({"a <-> b": -1, "default": 1}, "negative entries"),
    ({"values": TOY, "symetric": False}, 'may have "symmetric" beside'),
    ({"values": TOY, "symmetric": "no"}, 'True or False'),
    ([[0, 1, 1], [1, 0], [1, 1, 0]], "Row 2 of the cost matrix, of class 'b', has 2 entries for 3 classes"),
])
def test_bad_pairs_and_rows(spec, message):
    with pytest.raises(ValueError, match=message) as error:
        costs.from_spec(spec, data_set("toy3", ABC))
    assert "\n" not in str(error.value)


def test_spec_of_a_missing_file():
    with pytest.raises(FileNotFoundError, match=r"no_such_costs\.csv"):
        costs.from_spec("no_such_costs.csv", data_set("mnist5k", ("4", "9")))


def test_a_table_of_a_european_spreadsheet_and_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("\ufeff;cat;dog, wild\ncat;0;1,5\ndog, wild;,5;0\n", encoding="utf-8")
    cost = costs.read_csv("mine.csv", symmetric=False)
    assert cost.classes == ("cat", "dog, wild") and cost.values.tolist() == [[0, 1.5], [0.5, 0]]
    with pytest.raises(FileNotFoundError, match=rf"'mien\.csv' in {tmp_path}: give its path from there, or in full"):
        costs.read_csv("mien.csv")
