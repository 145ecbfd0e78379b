"""What README.md and CONTRIBUTING.md show works: their code runs, their paths, options and commands are there."""

import re
import runpy
from pathlib import Path

import pytest
import torch
import yaml

from helpers import data, profiles, training
from helpers.training import parts
from runner import cli

REPO = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md", "results/reduced/README.md",
             "benchmarks/README.md", "docs/scaling.md"]


def examples(name):
    return re.findall(r"^```python\n(.+?)^```", (REPO / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder, with runs and data of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WPGD_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("WPGD_DATA", str(tmp_path))


def test_first_example_of_the_readme(elsewhere, capsys):
    code, = examples("README.md")
    assert code.count('"epochs": 3,') == 1
    small = code.replace('"epochs": 3,', '"epochs": 1, "train_size": 300, "val_images": 50, "val_steps": 1,')
    assert small.count("steps=10)") == 1
    exec(small.replace("steps=10)", "steps=1)"), {})  # in seconds
    told = capsys.readouterr().out
    assert re.search(r"^pgd: AE [\d.]+ %, S [\d.]+, 4 taken for 9: \d+%, 9 for 4: \d+%\n", told, re.MULTILINE)
    assert re.search(r"^wpgd: AE ", told, re.MULTILINE)


def test_examples_of_contributing(elsewhere, tmp_path):
    found = {}
    for code in examples("CONTRIBUTING.md"):
        exec(code, found)
    assert 0 <= found["noise_error"] <= 100 and 0 <= found["error"] <= 100
    assert found["shades"].classes == ("dark", "light") and len(found["shades"].x_test) == 40
    written = (tmp_path / "results" / "mine" / "figures").glob("fig20.*")
    assert {path.suffix for path in written} == {".png", ".pdf", ".csv"}


def test_the_example_of_a_whole_study(elsewhere, monkeypatch, capsys):
    """ResNet-18, an asymmetric cost, WPGD, AutoAttack, S: on 40 images of four classes."""
    monkeypatch.setattr(parts, "PARTS", {kind: dict(known) for kind, known in parts.PARTS.items()})
    x, y = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8), torch.arange(40) % 4
    training.register("data", "tiny", data.Dataset("tiny", x, y, x[:8], y[:8], ("cat", "dog", "frog", "ship")))
    code = (REPO / "examples" / "resnet18_wpgd.py").read_text(encoding="utf-8")
    given = '"cifar10", 30, 1000, 100, 5000'
    assert len(code.splitlines()) <= 42 and code.count(given) == code.count('"steps": 8}') == 1
    small = '"steps": 1, "val_steps": 1, "val_size": 8, "batch_size": 16}'
    exec(code.replace(given, '"tiny", 1, 8, 1, 2').replace('"steps": 8}', small), {})
    told = re.findall(r"^(w?pgd) +attack (\S+) +error +[\d.]+ %  S [\d.]+  cat taken for dog [\d.]+%$",
                      capsys.readouterr().out, re.MULTILINE)
    assert told == [(method, attack) for method in ("pgd", "wpgd")
                    for attack in ("none", "PGD-20", "WPGD-20", "AutoAttack")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = (REPO / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("https://"):
            path, _, part = target.partition("#")
            file = (REPO / name).parent / path if path else REPO / name
            assert file.exists(), f"{name}: {target}"
            heads = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if part else []
            parts = [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]
            assert not part or part in parts, f"{name}: {target}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_options_and_profiles_that_are_named_exist(name, monkeypatch, tmp_path):
    text = (REPO / name).read_text(encoding="utf-8")
    (tmp_path / "DIR").mkdir()
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^ {4}\./run_all\.sh(.*?)(?:#.*)?$", text, re.MULTILINE):
        words = line.split()
        if words and words[0] not in ("--lab", "--test", "--help"):
            cli.parse(words)
    for profile in re.findall(r"python -m helpers\.training (?!-)(\w[\w-]*)", text):
        assert profiles.find(profile).is_file()
    assert "plans/" not in text.replace("`plans/` is gone", "")


def test_readme_lists_every_notebook_and_profile():
    text = (REPO / "README.md").read_text(encoding="utf-8")
    for path in (*(REPO / "notebooks").glob("[0-9]*.ipynb"), *(REPO / "notebooks" / "profiles").glob("*.yaml")):
        assert f"`{path.stem}`" in text or f"({path.relative_to(REPO)})" in text, path.stem


def test_citation_names_the_paper():
    cited = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and "1910.03468" in cited["preferred-citation"]["url"]
    version = re.search(r'^version = "(.+)"', (REPO / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert cited["version"] == version and f"## {version}" in (REPO / "CHANGELOG.md").read_text(encoding="utf-8")


def test_measured_times_replace_those_in_a_table_and_nothing_else():
    tool = runpy.run_path(str(REPO / "tools" / "measured_times.py"))
    table = ("| profile | models | measured |\n|---|---|---|\n| smoke | 2 | 9 s |\n| quick | 3 | 1 h |\n"
             "| reduced | 4 | 53 s, and 41 min of training |\n\nquick | 5 |\n")
    assert tool["fill"](table, {"quick": 131.2, "reduced": 4321}) == table.replace(
        "| 1 h |", "| 2 min 11 s |").replace("| 53 s,", "| 1 h 12 min,")
    times = tool["measured"](REPO / "results")
    assert len(times["quick"]) >= 7 and all(seconds > 0 for one in times.values() for seconds in one.values())
    for path in (REPO / "notebooks").glob("[0-9]*.ipynb"):
        assert "measured |\\n" in path.read_text(encoding="utf-8"), path.stem
