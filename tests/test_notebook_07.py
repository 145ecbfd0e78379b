"""Notebook 07: the grid in which a matrix is typed, without a browser."""
import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from helpers.costs import CostMatrix

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
    for text, told in (("much", "could not convert string to float: 'much'"), ("-1", "negative entries")):
        box.value = text
        assert told in message.value and "last good matrix stays" in message.value
        assert page["cost"].values[0, 2] == 7.5 and len(page["shown"]) == 2
