"""Finished runs as small files, to commit or to bring home, and back into a store.

    <out>/<name of the run>/  config.json  history.csv  metrics.json  provenance.json  [cost.csv]  manifest.json
                              confusions.json  answers.npz     whom it confuses, and its answer to every image
                              weights.safetensors              if asked for; large ones in several files
"""
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file

from helpers import answers
from helpers.files import write_atomic
from helpers.training import load_model, manifest
from helpers.training.manifest import reading
from helpers.training.store import finished, write_weights

FILES = ("config.json", "history.csv", "provenance.json", "cost.csv", "metrics.json")
PART_BYTES = 15 * 2 ** 20  # larger files are refused by many a place that files are brought to


def export_run(folder, out, weights=None, part_bytes=PART_BYTES):
    """Copy a finished run without its data to ``out/<name of the run>/``; returns that folder.

    weights: None, "float32" or "float16" (half the size; the accuracy was seen to change by less than 0.1 points).
    """
    target = Path(out) / folder.name
    target.mkdir(parents=True, exist_ok=True)
    manifest.verify(folder)
    _copy(folder, target)
    found = [{"attack": about["attack"], "split": about["split"], "images": len(one.labels),
              "error": round(one.error, 6), "counts": one.counts.tolist()} for about, one in answers.kept(folder)]
    if found:
        # Natural images first, one attack a line.
        lines = sorted(map(json.dumps, found), key=lambda line: (not line.startswith('{"attack": null'), line))
        write_atomic(target / "confusions.json", "[\n" + ",\n".join(lines) + "\n]\n")
        answers.pack(folder, target / "answers.npz")
    if weights:
        from huggingface_hub import save_torch_state_dict  # comes with accelerate
        with reading(folder / "weights.safetensors") as file:
            state = load_file(file)
        if weights == "float16":
            state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        save_torch_state_dict(state, target, filename_pattern="weights{suffix}.safetensors", max_shard_size=part_bytes)
    manifest.seal(target, manifest.source_of(folder))
    return target


def restore_runs(results, store):
    """Put exported runs with weights back into a store; returns the names of those that were not there already.

    `results` is what `export_run` wrote, or has it in ``runs/``, and perhaps weights in ``weights/<name>.safetensors``.
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
                answers.unpack(folder / "answers.npz", target, answers.weights_fingerprint(model))
            _copy(folder, target)
            restored.append(folder.name)
    return restored


def _copy(source, target):
    """Copy the small files, metrics.json last, since its presence says that the rest is there."""
    for name in FILES:
        if (source / name).is_file():
            if name == FILES[-1]:
                manifest.seal(target, manifest.source_of(source), {name: (source / name).read_bytes()})
            shutil.copyfile(source / name, target / name)
