"""Profiles and options are checked before anything runs; each message names the thing and the remedy."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from mini_checkout import PARAMETERS, of_first, write_notebook, write_profile

import helpers.data
import helpers.profiles
from helpers import costs
from helpers.training import expand
from runner import cli, profiles
from runner.__main__ import main


@pytest.fixture
def repo(tmp_path):
    """Return a checkout of two notebooks and no profile."""
    write_notebook(tmp_path, "01_toy_boundaries", PARAMETERS)
    write_notebook(tmp_path, "02_accuracy_gap", "epochs = 1\nspecial = 'x'")
    return tmp_path


def load(repo, text, name="quick", *words):
    """Write and read a profile; returns its name, its description, and what the two notebooks get."""
    write_profile(repo, text, name)
    name, description, values = profiles.load(cli.parse(["--profile", name, *words], repo), repo)
    places = ("profile", "results")
    return name, description, *({key: one[key] for key in one if key not in places} for one in values.values())


RECIPE = "recipe: {data: mnist5k, network: W-10-1, epochs: 1, lr: 0.1, cost: linear_boundary}\n"
BAD = {
    "notebook": ("notebooks: {01_toy_bounds: {epochs: 1}}", "01_toy_bounds", "Did you mean '01_toy_boundaries'"),
    "notebook's section": ("notebooks: {01_toy_boundaries: [epochs]}", "01_toy_boundaries", "mapping"),
    "parameter": (of_first("epoch: 1"), "01_toy_boundaries", "'epoch'", "Did you mean 'epochs'"),
    "of another notebook": (of_first("special: y"), "01_toy_boundaries", "'special'"),
    "common": ("common: {epochz: 1}", "'epochz'", "Did you mean 'epochs'"),
    "top level": ("note: {}", "'note'", "Did you mean 'notebooks'"),
    "str for int": (of_first("epochs: many"), "01_toy_boundaries: epochs", "'many'", "int"),
    "float for int": (of_first("epochs: 1.5"), "epochs", "1.5", "int"),
    "bool for int": (of_first("epochs: true"), "epochs", "True", "int"),
    "null for int": (of_first("epochs: null"), "epochs", "None", "int"),
    "int for bool": (of_first("compiled: 1"), "compiled", "bool"),
    "int for list": (of_first("eps: 4"), "eps", "list"),
    "item of a list": (of_first("eps: [4, x]"), "eps[1]", "'x'"),
    "key of a dict": (of_first("attack: {stepz: 1}"), "attack", "'stepz'", "Did you mean 'steps'"),
    "value in a dict": (of_first("attack: {steps: few}"), "attack.steps", "'few'", "int"),
    "key two deep": (of_first("attack: {inner: {sizes: 1}}"), "attack.inner", "'sizes'", "Did you mean 'size'"),
    "command line's": (of_first("results: elsewhere"), "'results'", "command line"),
    "of all notebooks": (of_first("models: []"), "'models'", "the top of the profile"),
    "setting of a model": (RECIPE + "models: [{method: ce}, {methd: pgd}]", "model 2", "'methd'", "'method'"),
    "setting of all models": ("recipe: {epoch: 1}\nmodels: [{method: ce}]", "'epoch'", "'epochs'"),
    "value in a model": (RECIPE + "models: [{method: fgsm}]", "model 1", "'fgsm'", "wpgd"),
    "models": ("models: {method: ce}", "models must be a list"),
    "not a mapping": ("notebooks: [01_toy_boundaries]", "notebooks", "mapping"),
    "syntax": ("name: quick\ncommon: {epochs: 1\nnotebooks: {}\n", "line 3", "not valid YAML"),
    "twice": ("common:\n  epochs: 1\n  epochs: 2\n", "line 3", "'epochs'", "twice"),
    "empty": ("", "must be a mapping"),
    "name": ("name: ../elsewhere", "'../elsewhere'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_profile_is_one_paragraph_that_names_the_thing(repo, case):
    text, *named = BAD[case]
    with pytest.raises(ValueError) as error:
        load(repo, text)
    for word in ("quick.yaml", *named):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_good_profile(repo):
    entry = "lr: 1, eps: [], attack: {inner: {size: 1e-3}}, anything: [x]"
    name, _, first, second = load(repo, f"name: own\ncommon: {{epochs: 2}}\n{of_first(entry)}", "own")
    assert first == {"epochs": 2, "lr": 1, "eps": [], "attack": {"inner": {"size": 0.001}}, "anything": ["x"]}
    assert name == "own" and second == {"epochs": 2}  # YAML 1.1 would read 1e-3 as text


@pytest.mark.parametrize("name", ["lr0.1", "lr0.2", "quick.v2"])
def test_a_dot_in_a_profiles_name_belongs_to_it(repo, name):
    for one in ("lr0.1", "lr0.2", "quick.v2", "quick", "lr0"):
        write_profile(repo, f"description: this is {one}\n", one)
    for given in (name, str(repo / "notebooks" / "profiles" / f"{name}.yaml")):
        assert profiles.load(cli.parse(["--profile", given], repo), repo)[:2] == (name, f"this is {name}")
    assert load(repo, f"extends: {name}\ndescription: mine", "own")[0] == "own"


def test_a_notebook_gets_the_places_that_it_declares(repo, tmp_path):
    write_profile(repo, "name: quick\nrecipe:\nmodels:\n")
    options = cli.parse(["--results", str(tmp_path / "out"), "--data-root", str(tmp_path)], repo)
    _, _, values = profiles.load(options, repo)
    wanted = {"profile": "quick", "results": str(tmp_path / "out"), "data_root": str(tmp_path)}
    assert values == {"01_toy_boundaries": wanted, "02_accuracy_gap": {}}


def test_a_notebook_gets_the_models_that_name_its_number(repo):
    text = RECIPE + ("models: [{method: ce, minutes: 3, notebooks: [1, 2]}, {method: ce, seed: 1, notebooks: [2]},\n"
                     "  {method: pgd, eps: [8, 16], panel: a, autoattack: 5, notebooks: [1]}]\n")
    _, _, first, second = load(repo, text)
    assert first["models"] == [{"method": "ce"}, {"method": "pgd", "eps": [8, 16], "panel": "a"}]
    assert first["recipe"]["network"] == "W-10-1" and second == {}, "which declares no models"
    text = RECIPE + "models: [{method: ce, notebooks: [2]}]"
    with pytest.raises(ValueError, match="quick has no models for 01_toy_boundaries"):
        load(repo, text)
    assert load(repo, text, "quick", "--only", "2")[3] == {}


def test_as_many_notebooks_at_a_time_as_asked_and_one_alone_has_all_cores(repo, monkeypatch):
    write_profile(repo, "description: tiny")
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    cases = (None, [], 2), ("a GPU", [], 1), (None, ["--only", "1"], 1), ("a GPU", ["--jobs", "2"], 2)
    for gpu, words, jobs in cases:
        monkeypatch.setattr("shutil.which", lambda name, gpu=gpu: gpu)
        assert cli.parse(words, repo).jobs == jobs
    with pytest.raises(ValueError, match="--jobs 0: give the number of notebooks"):
        cli.parse(["--jobs", "0"], repo)


def test_a_profile_extends_another_key_by_key(repo):
    write_profile(repo, f"name: base\ndescription: told\n{RECIPE}models: [{{method: ce, notebooks: [1]}}]\n"
                  + of_first("attack: {steps: 2, inner: {size: 1}}, eps: [1]"), "base")
    name, description, first, second = load(
        repo, "name: own\nextends: base\nrecipe: {epochs: 7}\ncommon: {epochs: 9}\n"
        + of_first("attack: {steps: 3}, eps: [8, 9]"), "own")
    assert first["attack"] == {"steps": 3, "inner": {"size": 1}} and first["eps"] == [8, 9] and first["epochs"] == 9
    assert first["recipe"]["epochs"] == 7 and first["recipe"]["lr"] == 0.1 and first["models"] == [{"method": "ce"}]
    assert second == {"epochs": 9} and (name, description) == ("own", "")
    text = "name: third\nextends: own\ncommon: {epochs: 1}\nmodels: [{method: pgd, notebooks: [1]}]"
    again = load(repo, text, "third")
    assert again[2]["epochs"] == 1 and again[2]["eps"] == [8, 9] and again[2]["models"] == [{"method": "pgd"}]
    assert load(repo, "name: fourth\nextends: own\n" + of_first("attack: {}"), "fourth")[2]["attack"] == {}


@pytest.mark.parametrize("base", ["bse", "own", "[base]"])
def test_a_profile_extends_only_others_that_exist(repo, base):
    write_profile(repo, "name: base\n", "base")
    with pytest.raises(ValueError, match=r"own\.yaml: it extends .* There are base, own") as error:
        load(repo, f"name: own\nextends: {base}", "own")
    assert "\n" not in str(error.value)


def test_profiles_that_extend_each_other_are_refused(repo):
    write_profile(repo, "extends: own\n", "base")
    with pytest.raises(ValueError, match="it extends 'own'"):
        load(repo, "extends: base\n", "own")


@pytest.mark.parametrize("name", ["mine", "runs", "benchmarks", "Runs"])
def test_name_of_a_folder_of_results_that_holds_other_things_is_refused(repo, name):
    for text, file in ((f"name: {name}", "own"), ("description: x", name)):
        with pytest.raises(ValueError, match=f"the name '{name}' must be .* not mine, runs or benchmarks") as error:
            load(repo, text, file)
        assert "\n" not in str(error.value)
    assert load(repo, f"name: {name}2", "own")[0] == f"{name}2"


def test_name_of_another_profile_is_refused(repo):
    write_profile(repo, "name: quick")
    with pytest.raises(ValueError, match="overwrite"):
        load(repo, "name: quick", "copy")


def test_what_a_profile_says_of_all_models_reaches_each_that_says_nothing_else(tmp_path):
    (tmp_path / "own.yaml").write_text("extends: smoke\nrecipe: {eps: 8.0, seed: 7}\n")
    given = profiles.load(cli.parse(["--profile", str(tmp_path / "own.yaml")]))[2]["04_entropy"]
    configs = [entry.config for entry in expand(given["models"], given["recipe"])]
    assert [(one.method, one.eps, one.seed) for one in configs] == [("ce", 0.0, 7), ("pgd", 8.0, 7)]


def test_a_profile_may_lie_elsewhere(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("extends: quick\nrecipe: {epochs: 1}\n")
    assert helpers.profiles.find(str(path)) == path
    content, quick = helpers.profiles.read(path), helpers.profiles.read(helpers.profiles.find("quick"))
    assert content == {**quick, "name": "own", "description": "", "recipe": {**quick["recipe"], "epochs": 1}}


def test_a_cost_file_lies_beside_its_profile_or_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plans").mkdir()
    for name in ("plans/mine.csv", "other.csv"):
        (tmp_path / name).write_text("")
    path = tmp_path / "plans" / "own.yaml"
    path.write_text("recipe: {cost: mine.csv}\nmodels: [{cost: other.csv}, {cost: {values: mine.csv}}]\n")
    content, beside = helpers.profiles.read(path), str(tmp_path / "plans" / "mine.csv")
    assert content["recipe"] == {"cost": beside}
    assert content["models"] == [{"cost": "other.csv"}, {"cost": {"values": beside}}]


TABLE = [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(("notebook", "name"), [("01_toy_boundaries", "cost"), ("07_your_cost_matrix", "my_pairs")])
@pytest.mark.parametrize("form", ["name", "table", "asymmetric table", "pairs", "file", "asymmetric file"])
def test_a_notebook_takes_a_cost_in_every_form(tmp_path, notebook, name, form):
    (tmp_path / "c.csv").write_text("0,1,1\n1,0,1\n1,1,0\n")
    spec = {"name": "toy3", "table": TABLE, "pairs": {"default": 1, "2 -> 1": 7}, "file": "c.csv",
            "asymmetric table": {"values": TABLE, "symmetric": False},
            "asymmetric file": {"values": "c.csv", "symmetric": False}}[form]
    content = {"extends": "quick", "notebooks": {notebook: {name: spec}}}
    (tmp_path / "own.yaml").write_text(json.dumps(content))  # which is YAML
    given = profiles.load(cli.parse(["--profile", str(tmp_path / "own.yaml"), "--only", "01"]))[2][notebook][name]
    if "file" not in form:
        assert given == spec, "quick's pairs are replaced, not added to"
    three = SimpleNamespace(name="three", classes=("0", "1", "2"))
    wanted = {"name": "toy3", "pairs": spec}.get(form, TABLE)
    assert costs.from_spec(given, three) == costs.from_spec(wanted, three)


def test_parameters_cell_must_hold_literals(repo):
    for wrong in ("epochs = 2 * 3", "print(1)", "a.b = 1", "a ="):
        write_notebook(repo, "03_bad", wrong)
        with pytest.raises(ValueError, match=r"03_bad\.ipynb.*literals"):
            load(repo, "name: quick")
    (repo / "notebooks" / "03_bad.ipynb").write_text("no JSON")
    with pytest.raises(ValueError, match=r"03_bad\.ipynb is not a Jupyter notebook"):
        load(repo, "name: quick")


def test_missing_data_is_told_for_the_chosen_notebooks_only(repo, monkeypatch):
    def provide(name, root=None):
        raise FileNotFoundError(f"{name} is not in {root}")

    monkeypatch.setattr(helpers.data, "provide", provide)
    text = RECIPE + "models: [{method: ce, data: cifar10, notebooks: [1]}]"
    load(repo, text, "quick", "--only", "2")
    with pytest.raises(FileNotFoundError, match=f"cifar10 is not in {repo}"):
        load(repo, text, "quick", "--data-root", str(repo))


BAD_OPTIONS = {
    "profile": (["--profile", "smok"], "'smok'", "Did you mean 'smoke'"),
    "profile path": (["--profile", "./none.yaml"], "none.yaml", "no such file"),
    "only": (["--only", "01,9"], "--only", "'9'", "02_accuracy_gap"),
    "from": (["--from", "02_accuracy"], "--from", "'02_accuracy'", "Did you mean '02_accuracy_gap'"),
    "nothing left": (["--only", "1", "--from", "2"], "no notebook"),
    "data root": (["--data-root", "/no/such"], "--data-root", "/no/such"),
    "option": (["--profle", "smoke"], "'--profle'", "Did you mean '--profile'"),
    "value": (["--only"], "--only", "expected one argument"),
    "lab": (["--keep-going", "--lab"], "'--lab'", "must be the first"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_option_is_exit_2_and_names_the_thing(repo, case, capsys):
    argv, *named = BAD_OPTIONS[case]
    for name in ("smoke", "quick"):
        write_profile(repo, f"name: {name}", name)
    assert main(argv, repo) == 2
    told = capsys.readouterr().err
    for word in named:
        assert word in told
    assert told.count("\n") == 1 and not (repo / "results").exists()


def test_selection():
    names = [Path(f"0{n}_x.ipynb") for n in (1, 2, 3, 4)]
    assert cli.select(names, "03,1") == [names[0], names[2]]
    assert cli.select(names, None, "3") == names[2:]
    assert cli.select(names, "01_x.ipynb, 04_x", "02") == [names[3]]
