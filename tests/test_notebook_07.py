"""Notebook 07: the grid in which a matrix is typed, without a browser; images and matrices of one's own."""
import ast
import re
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.costs import CostMatrix, superclasses
from helpers.training import expand, store
from helpers.training.parts import build_network
from runner import cli, profiles
from study import parameters
from study.results import Results

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "07_your_cost_matrix.ipynb"


@pytest.fixture
def page():
    """The imports and functions of the notebook, and what they read."""
    names = {"p": 1.0, "lam": 10.0, "dataset": SimpleNamespace(name="mine", classes=("a", "b", "c")), "shown": []}
    names |= {"PGD": "PGD", "cost": CostMatrix([[0, 1, 2], [1, 0, 3], [2, 3, 0]], ("a", "b", "c"))}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            kept = [node for node in ast.parse(cell.source).body
                    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)]
            exec(compile(ast.Module(kept, []), "07", "exec"), names)
    names["Results"] = SimpleNamespace(show=lambda figure, alt: names["shown"].append(figure))
    return names


def test_a_number_typed_into_the_grid_is_drawn_and_a_bad_one_is_told(page):
    *rows, message, _ = page["grid"](page["cost"]).children
    box = rows[1].children[3]  # a -> c, below the names and right of the true class
    assert box.value == "2" and rows[1].children[1].disabled
    box.value = "7.5"
    assert page["cost"].values[0, 2] == 7.5 and page["cost"].values[2, 0] == 2 and len(page["shown"]) == 2
    assert page["mine"]["symmetric"] is False and "use this matrix" in message.value
    for text, told in (("much", "no finite numbers"), ("1,5", "a -> c = 1,5"), ("-1", "negative entries")):
        box.value = text
        assert told in message.value and "last good matrix stays" in message.value
        assert page["cost"].values[0, 2] == 7.5 and len(page["shown"]) == 2


@pytest.fixture
def images(tmp_path):
    """A folder of somebody's images: stripes, 16 x 16, a class a direction or width."""
    rng, folder = np.random.default_rng(0), tmp_path / "stripes"
    for part, count in (("train", 40), ("test", 12)):
        for number, name in enumerate(("across", "down", "wide")):
            (folder / part / name).mkdir(parents=True)
            line = np.sin(np.arange(16) * (1 + number // 2)) * 60 + 128
            for index in range(count):
                picture = np.add.outer(line, np.zeros(16)) + rng.normal(0, 25, (16, 16))
                picture = picture.T if number == 1 else picture
                Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / part / name / f"{index}.png")
    return folder


def test_own_images_and_an_own_matrix_from_the_parameters_to_the_comparison(images, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    names = {}
    for matrix in ({"default": 1, "across -> wide": 5}, [[0, 1, 2], [1, 0, 1], [2, 1, 0]]):
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.source[:40], "exec"), names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"results": str(tmp_path / "results"), "store": str(tmp_path / "runs"), "data": str(images),
                          "epochs": 1, "batch_size": 10, "attack_steps": 2, "my_pairs": matrix}
    shelves = sorted((tmp_path / "results" / "mine").iterdir())
    assert len(shelves) == 2 and not (tmp_path / "results" / "quick").exists()
    for shelf in shelves:
        assert {"my_models.csv", "my_pairs.csv"} <= {path.name for path in (shelf / "tables").iterdir()}
        assert len((shelf / "my_costs.csv").read_text().splitlines()) == 4
    compared = pd.concat(names["kept"], names=["matrix"])
    assert set(compared.index.get_level_values("matrix")) == {shelf.name for shelf in shelves}
    assert names["pairs"].pair[0] in ("across → wide", "wide → across")
    assert "Not as in the profile" in capsys.readouterr().out
    assert names["paper"].title(str(images)) == "stripes"


def test_the_network_to_start_from_comes_with_the_study_and_fits():
    code, = (code for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "markdown"
             for code in re.findall(r"```python\n(.*?)```", cell.source, re.S) if "start = " in code)
    said = {}
    exec(code, said)
    network, config = store.load_model(store.weights_of(said["start"], "no store"))
    assert (config["network"], config["data"], config["eps"]) == (said["network"], said["data"], said["eps"])
    ours = build_network(said["network"], 10, 3)
    ours.load_state_dict(network.state_dict())
    assert said["my_pairs"] == "superclass" and len(superclasses(said["data"])) == 10


DIGITS = [[abs(i - j) for j in range(10)] for i in range(10)]


@pytest.mark.parametrize(("matrix", "told"), [
    ({"default": 1, ("4", "9"): 10}, "{'default': 1, '4 <-> 9': 10}"),
    ({"default": 1, ("4", "9"): 10, "3 -> 8": 2}, "{'default': 1, '4 <-> 9': 10, '3 -> 8': 2}"),
    (np.array(DIGITS), "2 dearest pairs 0 -> 9, 9 -> 0"), (CostMatrix(DIGITS, range(10)), "2 dearest pairs 0 -> 9, 9"),
    (pd.DataFrame(DIGITS), "2 dearest pairs 0 -> 9, 9 -> 0"), ({"values": pd.DataFrame(DIGITS)}, "2 dearest pairs 0"),
    (Path("/home/me/my costs.csv"), "my costs.csv")])
def test_a_matrix_in_every_form_has_a_folder_and_a_title_of_its_own(matrix, told, tmp_path):
    given = profiles.load(cli.parse(["--profile", "quick", "--only", "01"]))[2]["07_your_cost_matrix"]
    assert parameters.changed("07_your_cost_matrix", given) == {}
    own = parameters.changed("07_your_cost_matrix", {**given, "my_pairs": matrix})
    out = Results("07_your_cost_matrix", "quick", tmp_path, own=own)
    assert list(own) == ["my_pairs"] and out.label.startswith(f"quick, but my_pairs {told}")
    assert out.folder != Results("07_your_cost_matrix", "quick", tmp_path, own={"my_pairs": 3}).folder


def test_pgd_of_the_digits_is_the_network_of_notebook_05():
    """Of the two networks of notebook 07, `quick` then trains one."""
    given = profiles.load(cli.parse(["--profile", "quick", "--only", "01"]))[2]
    cell, = (cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.id == "train")
    names = {"start": None, **given["07_your_cost_matrix"]}
    names["mine"] = names["my_pairs"]
    exec(cell.source[:cell.source.index("trained =")], names)
    found = [[entry.config for entry in expand(models, recipe) if entry.config.method == "pgd"]
             for models, recipe in ((names["both"], names["settings"]),
                                    itemgetter("models", "recipe")(given["05_wpgd_training"]))]
    assert found[0] == [found[1][0]]
