"""Writes tiny checkouts, of notebooks and profiles, for the tests of the runner."""

import json

PARAMETERS = """
profile = "quick"
results = "../results"
data_root = None
epochs = 3
lr = 0.1
compiled = False
eps = [4, 8]
attack = {"steps": 5, "inner": {"size": 0.1}}
recipe = {"data": "mnist5k", "epochs": 5, "lr": 0.1}
models = [{"method": "ce"}, {"method": "pgd", "eps": [20, 38]}]
anything = None
"""


def write_notebook(folder, name, *cells):
    """Write a notebook whose first cell is its `parameters` cell."""
    found = [
        {
            "cell_type": "code",
            "id": f"cell{index}",
            "metadata": {} if index else {"tags": ["parameters"]},
            "source": cell.strip(),
            "outputs": [],
            "execution_count": None,
        }
        for index, cell in enumerate(cells)
    ]
    meta = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    content = {"cells": found, "metadata": meta, "nbformat": 4, "nbformat_minor": 5}
    path = folder / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_profile(folder, text, name="quick"):
    path = folder / "notebooks" / "profiles" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def of_first(entry):
    return f"notebooks: {{01_toy_boundaries: {{{entry}}}}}"
