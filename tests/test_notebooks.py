"""The notebooks as they are committed, and all of them executed once at smoke scale."""
import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PROFILES = sorted((ROOT / "notebooks" / "profiles").glob("*.yaml"))
FIGURES = [f"fig{number:02d}" for number in range(1, 14)]
TABLES = ["table1", "table2", "table3", "table3_autoattack"]


def code_of(path, tag=None):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [cell.source for cell in cells if tag is None or tag in cell.metadata.get("tags", [])]


def defaults(path):
    """Names and values of the assignments in the `parameters` cell."""
    cell, = code_of(path, "parameters")
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell).body
            if isinstance(node, ast.Assign)}


def settings(profile, notebook, declared):
    """What a profile gives to a notebook."""
    content = yaml.safe_load(profile.read_text())
    values = {name: value for name, value in (content.get("common") or {}).items() if name in declared}
    return {**values, **((content.get("notebooks") or {}).get(notebook.stem) or {})}


def test_the_six_notebooks_are_there():
    assert [path.stem[:2] for path in NOTEBOOKS[:6]] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_sources_carry_no_outputs_and_one_parameters_cell(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        assert not cell.get("outputs") and not cell.get("execution_count"), cell.source[:60]
    assert len(code_of(path, "parameters")) == 1
    assert not re.search(r"^\s*(def|class) |sys\.path|if (quick|profile)\b", "\n".join(code_of(path)), re.M)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_of_a_profile_exists_in_the_notebook(path, profile):
    declared = defaults(path)
    assert set(settings(profile, path, declared)) <= set(declared)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opened_by_hand_is_the_quick_profile(path):
    declared = defaults(path)
    quick = settings(ROOT / "notebooks" / "profiles" / "quick.yaml", path, declared)
    assert declared["profile"] == "quick"
    assert {name: declared[name] for name in quick} == quick


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """All notebooks executed once by the command that users call, into a folder with a space in its name."""
    results = tmp_path_factory.mktemp("smoke results")
    before = {path: path.read_bytes() for path in NOTEBOOKS}
    words = [sys.executable, "-P", "-m", "runner", "--profile", "smoke", "--results", str(results)]
    done = subprocess.run(words, cwd=results, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert before == {path: path.read_bytes() for path in NOTEBOOKS}
    return results / "smoke"


def test_smoke_makes_every_figure_and_table(smoke):
    for name in FIGURES:
        assert (smoke / "figures" / f"{name}.png").stat().st_size > 5_000, name
        assert (smoke / "figures" / f"{name}.pdf").stat().st_size > 3_000, name
    for name in TABLES:
        assert len(pandas.read_csv(smoke / "tables" / f"{name}.csv")), name


def test_smoke_writes_metrics_with_provenance(smoke):
    for path in NOTEBOOKS:
        content = json.loads((smoke / "metrics" / f"{path.stem}.json").read_text())
        assert {"profile", "seed", "device", "commit", "seconds"} <= set(content["provenance"])
        assert content["provenance"]["profile"] == "smoke" and content["data"]


def test_smoke_writes_verdicts_and_the_comparison(smoke):
    claims = pandas.read_csv(smoke / "claims.csv")
    assert set(claims.verdict) <= {"holds", "fails", "inconclusive", "not measurable"}
    assert claims.id.is_unique and len(claims) >= 20
    assert len(pandas.read_csv(smoke / "paper_vs_ours.csv")) >= 10


def test_smoke_executes_without_warnings_for_the_reader(smoke):
    for path in sorted((smoke / "executed").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                assert output.output_type != "error"
                assert output.get("name") != "stderr", f"{path.stem}: {output.text[:300]}"
