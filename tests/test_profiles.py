"""Profiles and options are checked before anything runs; each message names the thing and the remedy."""

import sys
from argparse import Namespace
from pathlib import Path
from unittest import mock

import pytest
from mini_checkout import PARAMETERS, of_first, write_notebook, write_profile

from runner import cli, parameters, profiles
from runner.__main__ import main


@pytest.fixture
def repo(tmp_path):
    """Return a checkout of two notebooks and no profile."""
    write_notebook(tmp_path, "01_toy_boundaries", PARAMETERS)
    write_notebook(tmp_path, "02_accuracy_gap", "epochs = 1\nspecial = 'x'")
    training = tmp_path / "helpers" / "training"
    training.mkdir(parents=True)
    fields = "    data: str\n    ema: float = 0.0\n    cost: object = None\n"
    (training / "config.py").write_text("class TrainConfig:\n" + fields)
    return tmp_path


def load(repo, text, name="quick"):
    return profiles.load(write_profile(repo, text, name), cli.sources(repo), repo)


BAD = {
    "notebook": (
        "notebooks: {01_toy_bounds: {epochs: 1}}",
        "01_toy_bounds",
        "Did you mean '01_toy_boundaries'",
    ),
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
    "dict for list": (of_first("models: {name: CE}"), "models", "list"),
    "key of a listed dict": (of_first("models: [{nam: CE}]"), "models[0]", "'nam'", "Did you mean 'name'"),
    "key of a dict": (of_first("train: {lrr: 0.1}"), "train", "'lrr'", "Did you mean 'lr'"),
    "value in a dict": (of_first("train: {lr: fast}"), "train.lr", "'fast'", "float"),
    "key two deep": (
        of_first("train: {attack: {stepz: 1}}"),
        "train.attack",
        "'stepz'",
        "Did you mean 'steps'",
    ),
    "field of TrainConfig": (of_first("train: {ema: no}"), "train.ema", "float"),
    "command line's": (of_first("results: elsewhere"), "'results'", "command line"),
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
    entry = "lr: 1, eps: [], train: {lr: 1e-3, ema: 0.9, cost: [[0]]}, anything: [x], models: [{p: 2}]"
    profile = load(repo, f"name: mine\ncommon: {{epochs: 2}}\n{of_first(entry)}", name="mine")
    assert profile.values["01_toy_boundaries"]["train"]["lr"] == 0.001  # YAML 1.1 would read 1e-3 as text
    assert profile.values["02_accuracy_gap"] == {"epochs": 2}
    options = Namespace(results="/r", data_root=None)
    injected = profile.injected("01_toy_boundaries", options)
    assert injected["profile"] == "mine" and injected["results"] == "/r" and "data_root" not in injected
    assert profile.injected("02_accuracy_gap", options) == {"epochs": 2}, "nothing that it does not declare"


def test_a_profile_extends_another_key_by_key(repo):
    write_profile(repo, "name: base\ndescription: told\n" + of_first("train: {lr: 2, ema: 0.5}, eps: [1]"), "base")
    text = "name: mine\nextends: base\ncommon: {epochs: 9}\n" + of_first("train: {lr: 3}, eps: [8, 9]")
    profile = load(repo, text, name="mine")
    assert profile.values["01_toy_boundaries"] == {"train": {"lr": 3, "ema": 0.5}, "eps": [8, 9], "epochs": 9}
    assert profile.values["02_accuracy_gap"] == {"epochs": 9}
    assert (profile.name, profile.description) == ("mine", "")
    again = load(repo, "name: third\nextends: mine\ncommon: {epochs: 1}", name="third")
    emptied = load(repo, "name: fourth\nextends: mine\n" + of_first("train: {}"), name="fourth")
    assert emptied.values["01_toy_boundaries"] == {"train": {}, "eps": [8, 9], "epochs": 9}
    assert again.values["01_toy_boundaries"]["epochs"] == 1 and again.values["01_toy_boundaries"]["eps"] == [8, 9]


@pytest.mark.parametrize("base", ["bse", "mine", "[base]"])
def test_a_profile_extends_only_others_that_exist(repo, base):
    write_profile(repo, "name: base\n", "base")
    with pytest.raises(ValueError, match=r"mine\.yaml: it extends .* There are base, mine") as error:
        load(repo, f"name: mine\nextends: {base}", name="mine")
    assert "\n" not in str(error.value)


def test_name_of_another_profile_is_refused(repo):
    write_profile(repo, "name: quick")
    with pytest.raises(ValueError, match="overwrite"):
        load(repo, "name: quick", name="copy")


def test_parameters_cell_must_hold_literals(repo):
    write_notebook(repo, "03_bad", "epochs = 2 * 3")
    with pytest.raises(ValueError, match=r"03_bad\.ipynb.*literals"):
        load(repo, "name: quick")
    (repo / "notebooks" / "03_bad.ipynb").write_text("no JSON")
    with pytest.raises(ValueError, match=r"03_bad\.ipynb is not a Jupyter notebook"):
        load(repo, "name: quick")


def test_missing_data_is_told_for_the_chosen_notebooks_only(repo):
    profile = load(repo, of_first("train: {data: cifar10}"))
    first, second = cli.sources(repo)
    assert profile.data(first.stem) == {"cifar10"}

    def available(name, root=None):
        raise FileNotFoundError(f"{name} is not in {root}")

    package = mock.Mock(available=available)
    with (
        mock.patch.dict(sys.modules, {"helpers.data": package}),
        mock.patch("helpers.data", package, create=True),
    ):
        profiles.check_data(profile, [second], None)
        with pytest.raises(FileNotFoundError, match="cifar10 is not in /data"):
            profiles.check_data(profile, [first, second], "/data")


def test_train_fields_are_those_of_the_real_class():
    fields = parameters.train_fields(cli.REPO)
    assert fields["epochs"] == (int,) and fields["step_size"] == (type(None), float)
    training = pytest.importorskip("helpers.training")
    assert set(fields) == set(training.TrainConfig.__dataclass_fields__)


BAD_OPTIONS = {
    "profile": (["--profile", "smok"], "'smok'", "Did you mean 'smoke'"),
    "profile path": (["--profile", "./none.yaml"], "none.yaml", "no such file"),
    "only": (["--only", "01,9"], "--only", "'9'", "02_accuracy_gap"),
    "from": (["--from", "02_accuracy"], "--from", "'02_accuracy'", "Did you mean '02_accuracy_gap'"),
    "nothing left": (["--only", "1", "--from", "2"], "no notebook"),
    "data root": (["--data-root", "/no/such"], "--data-root", "/no/such"),
    "option": (["--profle", "smoke"], "'--profle'", "Did you mean '--profile'"),
    "value": (["--only"], "--only", "expected one argument"),
    "lab": (["--keep-going", "--lab"], "--lab must be the first"),
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
