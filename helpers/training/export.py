"""Small files of a finished run, to commit or to bring home: what it was, how it learned, whom it confuses."""
import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from helpers import models
from helpers.training.store import finished

FILES = ("config.json", "history.csv", "metrics.json", "provenance.json", "cost.csv")
# Files larger than this are refused by many a place that files are brought to.
PART_BYTES = 15 * 2 ** 20


def export_run(folder, out, weights=None, part_bytes=PART_BYTES):
    """Copy a finished run without its data: config, history, metrics, provenance, confusion matrices, answers.

    Parameters
    ----------
    folder : Path, of a finished run
    out : Path; the files go to ``out/<name of the run>/``
    weights : None, "float32" or "float16" (half the size; the accuracy was seen to change by less than 0.1 points)
    part_bytes : int, largest size of a file of weights; larger networks are cut into ``weights-1-of-3.safetensors``

    Returns
    -------
    Path of the new folder

    Raises
    ------
    ValueError
        For an unknown kind of weights.
    """
    if weights:
        _check(weights)
    target = Path(out) / Path(folder).name
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    answers = confusions(folder)
    if answers:
        from helpers.evaluation.cached import pack_evaluations
        (target / "confusions.json").write_text(_compact(answers))
        pack_evaluations(folder, target / "answers.npz")
    if weights:
        parts = _parts(_state(folder, weights), part_bytes)
        for number, part in enumerate(parts, 1):
            name = f"weights-{number}-of-{len(parts)}" if len(parts) > 1 else "weights"
            save_file(part, target / f"{name}.safetensors")
    return target


def read_weights(folder):
    """The weights of an exported run as float32 tensors, its parts put together.

    Raises
    ------
    FileNotFoundError
        If the run was exported without them, or a part is missing.
    """
    files = sorted(Path(folder).glob("weights*.safetensors"))
    expected = int(files[0].stem.split("-")[-1]) if files and "-of-" in files[0].stem else 1
    if len(files) != expected:
        raise FileNotFoundError(f"{folder} holds {len(files)} of {expected} files of weights: export the run again")
    state = {name: value for file in files for name, value in load_file(file).items()}
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def export_model(folder, path, weights="float32"):
    """Write the network of a finished run as one file that describes itself; `load_model` reads it.

    Parameters
    ----------
    folder : Path, of a finished run; path : Path of the new .safetensors file
    weights : "float32" or "float16" (half the size, not quite the same network)

    Raises
    ------
    ValueError
        For an unknown kind of weights.
    """
    _check(weights)
    config = json.loads((Path(folder) / "config.json").read_text())
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    facts = {"network": config["network"], "config": json.dumps(config), "format": "pt"}
    save_file(_state(folder, weights), path, metadata=facts)


def load_model(path):
    """A trained network from one file, ready to be attacked; its data set is not needed.

    Parameters
    ----------
    path : Path, of a file of `export_model`

    Returns
    -------
    model : nn.Module in eval mode, images in [0, 1] -> logits
    config : dict, the settings it was trained with

    Raises
    ------
    FileNotFoundError
        Without such a file.
    ValueError
        For weights that do not say what network they belong to.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there are no weights {path}")
    with safe_open(path, "pt") as file:
        facts = file.metadata() or {}
    if "network" not in facts:
        raise ValueError(f"{path} does not say what network it holds: write it with helpers.training.export_model")
    state = load_file(path)
    first = "stem.weight" if "stem.weight" in state else "layers.0.weight"
    model = models.build(facts["network"], len(state["classifier.bias"]), state[first].shape[1])
    model.load_state_dict(state)
    model = model.to(memory_format=torch.channels_last) if first.startswith("stem") else model
    return model.eval(), json.loads(facts["config"])


def restore_runs(results, store):
    """Put exported runs whose networks were kept back into a store, so that nobody must train them again.

    Parameters
    ----------
    results : Path, with ``runs/<name>/`` of `export_run` and ``weights/<name>.safetensors`` of `export_model`
    store : Path

    Returns
    -------
    list of the names that were put back; runs that are in the store already stay as they are
    """
    restored = []
    for weights in sorted((Path(results) / "weights").glob("*.safetensors")):
        source, target = Path(results) / "runs" / weights.stem, Path(store) / weights.stem
        if not source.is_dir() or finished(target):
            continue
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(weights, target / "weights.safetensors")
        if (source / "answers.npz").is_file():
            from helpers.evaluation.cached import unpack_evaluations, weights_fingerprint
            unpack_evaluations(source / "answers.npz", target, weights_fingerprint(load_model(weights)[0]))
        # metrics.json last: its presence says that the rest is there.
        for name in sorted(FILES, key=lambda name: name == "metrics.json"):
            if (source / name).is_file():
                shutil.copyfile(source / name, target / name)
        restored.append(weights.stem)
    return restored


def confusions(folder):
    """What the evaluations kept beside a run say, natural first: attack, images, error in % and counts (K x K)."""
    from helpers.evaluation.cached import kept_evaluations
    found = [{"attack": about["attack"], "split": about["split"], "images": len(answer.labels),
              "error": round(answer.error, 6), "counts": answer.counts.tolist()}
             for about, answer in kept_evaluations(folder)]
    return sorted(found, key=lambda one: (one["attack"] is not None, json.dumps(one["attack"], sort_keys=True),
                                          one["split"], one["images"]))


def _check(weights):
    if weights not in ("float32", "float16"):
        raise ValueError(f"weights = {weights!r}: choose float32 or float16")


def _state(folder, weights):
    """The weights of a finished run in the precision that was asked for."""
    state = load_file(Path(folder) / "weights.safetensors")
    half = weights == "float16"
    return {name: value.half() if half and value.is_floating_point() else value for name, value in state.items()}


def _parts(state, limit):
    """Cut a state into dicts of at most `limit` bytes each; a tensor is never cut."""
    parts, size = [{}], 0
    for name, value in state.items():
        bytes_of_it = value.numel() * value.element_size()
        if parts[-1] and size + bytes_of_it > limit:
            parts.append({})
            size = 0
        parts[-1][name] = value.contiguous()
        size += bytes_of_it
    return parts


def _compact(answers):
    """JSON with one attack a line."""
    return "[\n" + ",\n".join(json.dumps(one) for one in answers) + "\n]\n"


def differing_metrics(first, second):
    """Names of the results in which two metrics.json differ; times are no results.

    Parameters
    ----------
    first, second : Path
    """
    one, two = (json.loads(Path(path).read_text()) for path in (first, second))
    names = ("train_loss", "val_ne", "val_ae", "epochs", "train_images", "parameters")
    return [name for name in names if one[name] != two[name]]
