"""The notebooks as they are committed, and all of them executed once at smoke scale."""
import ast
import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas
import pytest
from PIL import Image

from helpers.training import expand
from runner import cli, profiles
from study import paper, parameters

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PROFILES = sorted(path.stem for path in (ROOT / "notebooks" / "profiles").glob("*.yaml"))
FIGURES = [f"fig{number:02d}" for number in range(1, 14)]
TABLES = ["table1", "table2", "table3", "table3_autoattack"]
TOOL = runpy.run_path(str(ROOT / "tools" / "solutions.py"))
BELOW = TOOL["BELOW"]  # how a solution begins that changes the parameters


def cells(path, kind="code", tag=None):
    return [cell for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == kind and (tag is None or tag in cell.metadata.get("tags", []))]


def declared(path):
    """Names and values of the assignments in the `parameters` cell."""
    cell, = cells(path, tag="parameters")
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body}


def values(profile):
    """{notebook: what the profile gives it}; notebook 01 alone is chosen, since its data are always there."""
    return profiles.load(cli.parse(["--profile", profile, "--only", "01"]))[2]


EXECUTED = sorted(path for path in (ROOT / "results").glob("*/executed/*.ipynb") if path.parts[-3] != "smoke")


def stumbles(book):
    """What a reader of an executed notebook should not see, a word each."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    for output in outputs:  # pictures may hold any letters
        output.get("data", {}).pop("image/png", None)
    text = json.dumps([outputs, [cell.source for cell in book.cells], book.metadata])
    return [word for word, seen in (
        ("metadata of widgets", "widgets" in book.metadata), ("Loading widget", "Loading widget" in text),
        ("widget", "application/vnd.jupyter.widget" in text), ("a path in /tmp/", "/tmp/" in text),
        ("stderr", any(output.get("name") == "stderr" for output in outputs)),
        ("an error", any(output.output_type == "error" for output in outputs))) if seen]


@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: "/".join(path.parts[-3::2]))
def test_a_committed_executed_notebook_shows_nothing_of_the_machinery(path):
    assert stumbles(nbformat.read(path, as_version=4)) == []


def test_stumbles_are_seen():
    book = nbformat.v4.new_notebook(metadata={"widgets": {}})
    book.cells = [nbformat.v4.new_code_cell("1", outputs=[
        nbformat.v4.new_output("stream", name="stderr", text="/tmp/ipykernel_1/2.py:1: Warning"),
        nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]),
        nbformat.v4.new_output("display_data", {"text/plain": "Loading widget...", "image/png": "/tmp/",
                                                "application/vnd.jupyter.widget-view+json": {}})])]
    assert len(stumbles(book)) == 6
    picture = nbformat.v4.new_output("display_data", {"image/png": "/tmp/"})
    assert stumbles(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[picture])])) == []


def runs(parameters):
    """The runs that a notebook asks for, in no order."""
    entries = expand(parameters["models"], parameters["recipe"])
    return {json.dumps([entry.config.to_dict(), entry.tags], sort_keys=True) for entry in entries}


def test_the_notebooks_are_there():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07", "08"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_sources_carry_no_outputs_and_one_parameters_cell(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert "widgets" not in book.metadata
    for cell in book.cells:
        assert not cell.get("outputs") and not cell.get("execution_count"), cell.source[:60]
    assert len(cells(path, tag="parameters")) == 1
    code = "\n".join(cell.source for cell in cells(path))
    assert not re.search(r"sys\.path|if (quick|profile)\b|^\s*class ", code, re.M)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_short_and_one_idea_a_cell(path):
    assert len(nbformat.read(path, as_version=4).cells) <= 50
    for cell in cells(path):
        assert len(cell.source.splitlines()) <= 15, cell.source[:60]
    # Tables, formulas, code and the addresses of links are no prose.
    other = re.compile(r"```.*?```|^\|.*?$|\$\$.*?\$\$|\$.*?\$|\]\([^)]*\)", re.M | re.S)
    words = [len(other.sub("", cell.source).split()) for cell in cells(path, "markdown")]
    assert max(words) <= 80 and sum(words) / len(words) <= 45
    for cell in cells(path, "markdown"):  # nor is a cell a wall of text with its table or its folded solution
        every = re.sub(r"\]\([^)]*\)", "]", re.sub(r"# quick-float32: .*", "", cell.source)).split()
        assert sum(any(map(str.isalnum, word)) for word in every) <= 80, cell.id


SPELLED_OUT = {"PGD": r"projected\s+gradient\s+descent", "WPGD": r"Wasserstein\s+PGD"}


def trains(cell):
    return cell.cell_type == "code" and re.search(r"\b(training\.train|train_models)\(", cell.source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_errors_are_defined_and_methods_spelled_out_before_a_line_of_progress_tells_them(path):
    book = nbformat.read(path, as_version=4).cells
    first = next(number for number, cell in enumerate(book) if trains(cell))
    told = "".join(cell.source for cell in book[:first] if cell.cell_type == "markdown")
    assert re.search(r"\bNE\b", told) and "natural" in told
    for name, words in SPELLED_OUT.items():
        named = any(re.search(rf"\b{name}\b(?!.*\.ipynb)", cell.source) for cell in book)  # a link to the next is none
        if named:
            assert re.search(words, told + book[first].source, re.I), f"{name} is not spelled out"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_leads_on(path):
    text = [cell.source for cell in cells(path, "markdown")]
    assert "(glossary.md)" in text[0] and any("(../helpers/" in one for one in text)
    after = NOTEBOOKS[(NOTEBOOKS.index(path) + 1) % len(NOTEBOOKS)]
    assert f"({after.name})" in text[-1]
    for target in re.findall(r"\]\((?!https:)([^)]+)\)", "".join(text)):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_source_of_what_a_cell_calls_is_linked(path):
    text, names, called = "".join(cell.source for cell in cells(path, "markdown")), {}, {}
    trees = [ast.parse(cell.source) for cell in cells(path)]
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
        if node.module.split(".")[0] in ("helpers", "study"):
            scope = importlib.import_module(node.module)  # a module in it is there once it was imported
            names |= {one.asname or one.name: getattr(scope, one.name, None) for one in node.names}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and inspect.ismodule(names.get(getattr(node.value, "id", None))):
            called[node.attr] = getattr(names[node.value.id], node.attr, None)
        elif isinstance(node, ast.Name):
            called[node.id] = names.get(node.id)
    files = {inspect.getsourcefile(one): name for name, one in called.items()
             if (inspect.isfunction(one) or inspect.isclass(one)) and name not in ("readable", "to_float", "title")}
    missing = {name for file, name in files.items()
               if "plotting" not in file and f"(../{Path(file).relative_to(ROOT).as_posix()})" not in text}
    assert len(files) > 5 and not missing


COLAB = """
import builtins, site, sys, types
from IPython.core.interactiveshell import InteractiveShell

def run_line_magic(shell, name, line, *more, **other):
    print(name, line)
    return site.addsitedir("..") if name == "pip" else real(shell, name, line, *more, **other)  # as -e .. does

sys.modules["google.colab"] = types.ModuleType("google.colab")
builtins.input, (address, cell) = lambda _: address, sys.argv[1:]
real, InteractiveShell.run_line_magic = InteractiveShell.run_line_magic, run_line_magic
InteractiveShell.instance().run_cell(cell).raise_error()
import helpers
print(helpers.__file__)
"""


@pytest.mark.parametrize("path", [NOTEBOOKS[0], NOTEBOOKS[6]], ids=lambda path: path.stem)
def test_on_colab_the_study_is_fetched_and_no_pin_is_installed(path, tmp_path):
    for file in ("there/helpers/__init__.py", "there/notebooks/01.ipynb"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    git = ["git", "-C", str(tmp_path / "there"), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    cell = next(cell.source for cell in cells(path) if "google.colab" in cell.source)
    command = [sys.executable, "-P", "-c", COLAB, f"file://{tmp_path}/there", cell]
    out = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": ""}).stdout.splitlines()
    assert Path(out[-1]).resolve() == tmp_path / "wpgd/helpers/__init__.py"
    pip = next(line for line in out if line.startswith("pip "))
    assert "--no-deps -e .." in pip and "==" not in pip and "requirements" not in pip and "torch " not in pip


def solutions(path):
    """The code in the folded solutions of a notebook's exercises."""
    folded = "".join(cell.source for cell in cells(path, "markdown") if "<summary>Solution" in cell.source)
    return TOOL["codes_in"](folded)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_that_change_the_parameters(path):
    """They name parameters, ask for runs that can be, and make the results the reader's own."""
    assert solutions(path)
    for code in solutions(path):
        if code.startswith(BELOW):
            given = declared(path)
            assert parameters.changed(path.stem, given) == {}
            known = set(given)
            exec(code, {}, given)
            assert set(given) == known and parameters.changed(path.stem, given), code


def as_cell(code):
    """A solution as a cell; a literal in its last line, as a comment, is what it must give at any scale."""
    *_, last = ast.parse(code).body
    expected = code.rstrip().rpartition("\n")[2]
    if expected.startswith("# ") and not expected.startswith("# quick-float32: "):
        code += f"\nassert ({ast.get_source_segment(code, last)}) == {expected[2:]}"
    return nbformat.v4.new_code_cell(code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_solution_gives_was_measured(path):
    told = re.findall(r"^ *(# quick-float32: .*)$", "\n".join(cell.source for cell in cells(path, "markdown")), re.M)
    measured = pandas.read_csv(ROOT / "results" / "solutions.csv").query("notebook == @path.stem")
    asked = [number for number, *_ in TOOL["readings"](nbformat.read(path, as_version=4))]
    assert asked == measured.exercise.tolist() and told == measured.told.tolist()
    assert not measured.commit.str.contains("changes|unknown").any()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_computes_in_view_with_the_public_face_of_helpers(path):
    for cell in cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            names = [node.attr] if isinstance(node, ast.Attribute) else [
                one.name for one in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not any(re.match("_(?!_|asdict)", name) for name in names), cell.source[:60]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            assert not any(name.split(".")[0] in ("runner", "tests") for name in modules)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_notebook_gets_models_that_exist_from_a_profile(profile):
    # What is wrong with a parameter is an error of the loading. These are for a part of the notebooks.
    some = {"reduced-cifar10": ["05", "06", "08"], "reduced-8-steps": ["06", "08"],
            "reduced-wide": ["02", "03", "04", "05", "06", "08"],
            "sprint": ["02", "04", "05", "06", "07", "08"]}.get(profile)
    for notebook, given in values(profile).items():
        if "models" in declared(ROOT / "notebooks" / f"{notebook}.ipynb"):
            assert bool(given["models"]) == (some is None or notebook[:2] in some), notebook
        assert parameters.changed(notebook, declared(ROOT / "notebooks" / f"{notebook}.ipynb") | given) == {}, notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opened_by_hand_is_the_quick_profile(path):
    own, quick = declared(path), values("quick")[path.stem]
    assert own["profile"] == "quick" and (ROOT / "notebooks" / own["results"]).resolve() == Path(quick["results"])
    elsewhere = ("results", "models", "recipe")
    assert {name: own[name] for name in quick if name not in elsewhere} == {
        name: value for name, value in quick.items() if name not in elsewhere}
    if "models" in own:
        assert runs(own) == runs(quick)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """All notebooks, with the solutions of their exercises below, executed once by the command that users call."""
    results, copy = tmp_path_factory.mktemp("smoke results"), tmp_path_factory.mktemp("checkout") / "notebooks"
    shutil.copytree(ROOT / "notebooks", copy)
    for path in NOTEBOOKS:
        book = nbformat.read(path, as_version=4)
        book.cells += [as_cell(code) for code in solutions(path) if not code.startswith(BELOW)]
        nbformat.write(book, copy / path.name)
    before = {path: path.read_bytes() for path in copy.glob("*.ipynb")}
    words = [sys.executable, "-P", "-m", "runner", "--profile", "smoke", "--results", str(results)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(copy), str(ROOT)])}
    done = subprocess.run(words, cwd=results, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert before == {path: path.read_bytes() for path in copy.glob("*.ipynb")}
    return results / "smoke"


def test_smoke_makes_every_figure_and_table(smoke):
    for name in FIGURES:
        assert (smoke / "figures" / f"{name}.png").stat().st_size > 5_000, name
        assert (smoke / "figures" / f"{name}.pdf").stat().st_size > 3_000, name
        numbers, = (smoke / "figures").glob(f"{name}.csv*")
        assert len(pandas.read_csv(numbers)), name
    for name in TABLES:
        assert len(pandas.read_csv(smoke / "tables" / f"{name}.csv")), name


def test_smoke_writes_the_provenance(smoke):
    for path in NOTEBOOKS:
        content = json.loads((smoke / "metrics" / f"{path.stem}.json").read_text())
        assert {"profile", "seed", "device", "commit", "seconds"} <= set(content["provenance"])
        assert content["provenance"]["profile"] == "smoke"


def test_smoke_writes_verdicts_and_the_comparison(smoke):
    claims = pandas.read_csv(smoke / "claims.csv")
    assert set(claims.verdict) <= {"holds", "fails", "inconclusive", "not measurable"}
    assert claims.id.is_unique and len(claims) >= 75
    ten = [id for main in paper.values()["main_claims"] for id in main["decided_by"]]
    for notebook, ids in claims.groupby("notebook").id:
        is_main = ids.isin(ten).tolist()
        assert is_main == sorted(is_main, reverse=True), f"{notebook}: the main claims stand first"
    assert len(pandas.read_csv(smoke / "paper_vs_ours.csv")) >= 40


def test_smoke_executes_without_warnings_for_the_reader(smoke):
    for path in sorted((smoke / "executed").glob("*.ipynb")):
        assert "widgets" not in nbformat.read(path, as_version=4).metadata
        for cell in cells(path):
            for output in cell.get("outputs", []):
                assert output.output_type != "error"
                assert output.get("name") != "stderr", f"{path.stem}: {output.text[:300]}"


def test_every_figure_of_smoke_says_what_it_shows(smoke):
    for path in sorted((smoke / "executed").glob("*.ipynb")):
        shown = [output for cell in cells(path) for output in cell.outputs if "image/png" in output.get("data", {})]
        assert shown or path.stem.startswith("00"), path.stem
        for output in shown:
            assert len(output.metadata.get("image/png", {}).get("alt", "")) > 40, path.stem
    for file in (smoke / "figures").glob("*.png"):
        assert len(Image.open(file).text["Description"]) > 40, file.name
