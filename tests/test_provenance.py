"""What made a number is noted and compared: the commit of this checkout, the source, the files of a run."""
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import evaluation, losses, provenance, training
from helpers.training import loop, manifest
from jobs import export

ROOT = Path(provenance.__file__).resolve().parents[1]


def git(folder, *words):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], env=clean,
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


def said(path, **env):
    """The commit that a copy of the package names; it asks git, and torch, which takes seconds, nothing."""
    code = "import sys; sys.modules['torch'] = sys; from helpers.provenance import commit; print(commit())"
    env = {**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository of its own that holds helpers and notebooks."""
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    return tmp_path


def test_changes_and_untracked_modules_are_told(checkout):
    commit = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert said(checkout) == commit
    module = checkout / "helpers" / "own_loss.py"
    module.write_text("")
    assert said(checkout) == f"{commit}+changes"
    module.unlink()
    (checkout / "helpers" / "models.py").write_text((checkout / "helpers" / "models.py").read_text() + "# mine\n")
    assert said(checkout) == f"{commit}+changes"


def test_no_other_repository_gives_its_commit(checkout, tmp_path_factory):
    outer = tmp_path_factory.mktemp("outer")
    git(outer, "init", "-q")
    git(outer, "commit", "-q", "--allow-empty", "-m", "mine")
    shutil.copytree(checkout / "helpers", outer / "wpgd-main" / "helpers")
    assert said(outer / "wpgd-main") == "unknown"
    assert said(checkout, GIT_DIR=str(outer / ".git")) == git(checkout, "rev-parse", "--short=12", "HEAD")


# What ast.dump writes in another way from version to version: empty lists and tuples, types, strings with expressions.
OTHER_VERSIONS = """
class Box(tuple):
    def get(self, *, key=(), other=None, more=[]) -> f"{int!r}, []":
        return [self[key], lambda: (), {**{}}, f"{key:>8}", "a=[], b"]
"""


def test_the_digest_of_a_source_is_that_of_its_code(tmp_path, monkeypatch):
    def digest(text):
        (tmp_path / "attacks.py").write_text(text)
        provenance._digest_of_files.cache_clear()
        return provenance.source_digest("training")

    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    monkeypatch.setattr(provenance, "SOURCES", {"training": ("attacks.py",)})
    text = 'def step(x):\n    """Go."""\n    return x + 1\n'
    first = digest(text)
    assert digest(text.replace('"""Go."""', '"""Go on."""  # up') + "\n") == first
    assert digest(text.replace("1", "2")) != first
    assert digest(OTHER_VERSIONS) == "8eed767c8dd3", "so it is under Python 3.10 to 3.13, whose ast.dump differ"
    monkeypatch.undo()
    provenance._digest_of_files.cache_clear()


def test_parts_of_the_callers_own_are_digested():
    def own_loss(logits, labels):
        return logits[:, 0]

    base = provenance.source_digest("evaluation")
    assert provenance.source_digest("evaluation", losses.cross_entropy, torch.nn.Linear(1, 2)) == base
    own = provenance.source_digest("evaluation", own_loss)
    assert own.startswith(base + "+")
    assert provenance.same_source(own, "evaluation", own_loss) and not provenance.same_source(own, "evaluation")


def test_only_what_is_listed_with_todays_source_is_equivalent(tmp_path, monkeypatch):
    today = provenance.source_digest("training")
    monkeypatch.setattr(provenance, "EQUIVALENT", tmp_path / "list.txt")
    provenance.EQUIVALENT.write_text("training aaaaaaaaaaaa\ntraining -\n")
    assert provenance.same_source(today, "training") and not provenance.same_source("aaaaaaaaaaaa", "training")
    assert not provenance.same_source(None, "training"), "today's source is not known to give the old numbers"
    provenance.EQUIVALENT.write_text(f"training aaaaaaaaaaaa\ntraining -\ntraining {today}\n")
    assert provenance.same_source("aaaaaaaaaaaa", "training") and provenance.same_source(None, "training")
    assert not provenance.same_source(f"{today},bbbbbbbbbbbb", "training"), "a run that other code began"


def test_numbers_of_other_code_are_made_again_or_told(stripes, tmp_path, monkeypatch):
    config = training.configure(data="stripes", network="W-10-1", epochs=1, lr=0.05, val_size=12)
    run = training.train(config, data_root=stripes, store=tmp_path, progress=False)
    right = evaluation.evaluate_run(run)
    today, digest = provenance._digest_of_files, {"kind": "changed"}
    monkeypatch.setattr(provenance, "_digest_of_files", lambda kind: digest["kind"])
    with torch.no_grad():
        monkeypatch.setattr(type(run.model), "forward", lambda self, x: -self.classifier(self.features(x)))
    wrong = evaluation.evaluate_run(run)  # by another network of the same shapes
    assert (wrong.predictions != right.predictions).any()
    with pytest.warns(provenance.OtherSourceWarning, match=r"was trained by other code .* delete its folder"):
        training.train(config, data_root=stripes, store=tmp_path, progress=False)
    monkeypatch.undo()
    assert provenance._digest_of_files is today
    again = evaluation.evaluate_run(run)
    assert (again.predictions == right.predictions).all()
    exported = export.export_run(run.folder, tmp_path / "out")
    bare = dataclasses.replace(run, folder=exported, model=None)
    assert evaluation.evaluate_run(bare).error == right.error
    monkeypatch.setattr(provenance, "_digest_of_files", lambda kind: "changed")
    with pytest.warns(provenance.OtherSourceWarning, match="answers were given by other code"):
        evaluation.evaluate_run(bare)


def test_a_changed_file_of_a_run_is_noticed(stripes, tmp_path):
    config = training.configure(data="stripes", network="W-10-1", epochs=1, lr=0.05, val_size=12)
    run = training.train(config, data_root=stripes, store=tmp_path, progress=False)
    weights = run.folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.safetensors is not what the manifest.json beside it says"):
        training.train(config, data_root=stripes, store=tmp_path, progress=False)
    manifest.seal(run.folder, None)  # whoever seals it again, a config of another seed is still noticed
    facts = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps({**facts, "seed": 7}))
    manifest.seal(run.folder, None)
    with pytest.raises(ValueError, match="not the config that gave this folder its name"):
        training.train(config, data_root=stripes, store=tmp_path, progress=False)


def test_a_resumed_run_names_all_code_that_trained_it(stripes, tmp_path, monkeypatch):
    config = training.configure(data="stripes", network="W-10-1", epochs=2, lr=0.05, val_size=12)
    monkeypatch.setattr(provenance, "_digest_of_files", lambda kind: "earlier")
    monkeypatch.setattr(loop.Trainer, "finish", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # killed after the last epoch; the checkpoint is of the first
        training.train(config, data_root=stripes, store=tmp_path, progress=False)
    monkeypatch.undo()
    run = training.train(config, data_root=stripes, store=tmp_path, progress=False)
    facts = json.loads((run.folder / "provenance.json").read_text())
    assert [part["after_epoch"] for part in facts["parts"]] == [0, 1]
    assert facts["source"] == f"earlier,{provenance.source_digest('training')}"
