"""Finished runs as small files, to commit or to bring home, and back into a store.

    <out>/<name of the run>/  config.json  history.csv  metrics.json  provenance.json  [cost.csv]  manifest.json
                              answers.npz             what it answered to every image, clean and under each attack
                              weights.safetensors     if asked for; large ones in several files
"""
import shutil
from pathlib import Path

from safetensors import safe_open

from helpers import answers
from helpers.training import load_model, manifest
from helpers.training.manifest import read_json
from helpers.training.store import finished, write_weights

FILES = ("config.json", "history.csv", "provenance.json", "cost.csv", "metrics.json")
PART_BYTES = 15 * 2 ** 20  # larger files are refused by many a place that files are brought to


def export_run(folder, out, weights=None, part_bytes=PART_BYTES):
    """Copy a finished run without its data to ``out/<name of the run>/``; returns that folder.

    weights: None, "float32" or "float16": half the size; of 2,000 answers 0 to 2 were seen to change.  Such a file says
        ``rounded_from``, the `answers.weights_fingerprint` of the network that gave the answers beside it.
    """
    target = Path(out) / folder.name
    target.mkdir(parents=True, exist_ok=True)
    manifest.verify(folder)
    _copy(folder, target)
    answers.pack(folder, target / "answers.npz")
    if weights:
        from huggingface_hub import save_torch_state_dict  # comes with accelerate
        model, about = load_model(folder)[0], None
        if weights == "float16":
            about = {"rounded_from": answers.weights_fingerprint(model)}
            model.half()
        save_torch_state_dict(model.state_dict(), target, filename_pattern="weights{suffix}.safetensors",
                              max_shard_size=part_bytes, metadata=about)
    manifest.seal(target, manifest.source_of(folder))
    return target


def restore_runs(results, store):
    """Put exported runs with weights back into a store; returns the names of those that were not there already.

    `results` is what `export_run` wrote, or has it in ``runs/``, and perhaps weights in ``weights/<name>.safetensors``.
    A network whose weights were rounded has the answers that were given before, which then say ``rounded_from``.
    """
    folders = [file.parent for file in sorted([*results.glob("*/config.json"), *results.glob("runs/*/config.json")])]
    places = {folder: folder if any(folder.glob("weights*.safetensors")) else
              results / "weights" / f"{folder.name}.safetensors" for folder in folders}
    places = {folder: place for folder, place in places.items() if place.exists()}
    if not places:
        raise FileNotFoundError(f"{results} holds no exported run with weights: export with --weights float32")
    restored = []
    for folder, place in places.items():
        target = Path(store) / folder.name
        if not finished(target):
            manifest.verify(folder)
            model = load_model(place)[0]
            write_weights(target, model)
            if (folder / "answers.npz").is_file():
                answers.unpack(folder / "answers.npz", target, answers.weights_fingerprint(model), rounded_from(place))
            _copy(folder, target)
            restored.append(folder.name)
    return restored


def rounded_from(place):
    """What a file of weights, or a folder of them, says that its network was rounded from; None if it is not."""
    if (index := place / "weights.safetensors.index.json").is_file():  # of several
        return read_json(index)["metadata"].get("rounded_from")
    with safe_open(place if place.is_file() else place / "weights.safetensors", "pt") as file:
        return (file.metadata() or {}).get("rounded_from")


def _copy(source, target):
    """Copy the small files, metrics.json last, since its presence says that the rest is there."""
    named = str(read_json(source / "config.json")["cost"]).startswith("wordnet:")  # 200 classes take 0.6 MB
    for name in FILES:
        if (source / name).is_file() and not (named and name == "cost.csv"):
            if name == FILES[-1]:
                manifest.seal(target, manifest.source_of(source), {name: (source / name).read_bytes()})
            shutil.copyfile(source / name, target / name)
