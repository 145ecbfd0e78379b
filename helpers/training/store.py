"""Runs, in memory and on disk: a folder a run, named by the hash of what decides its weights.

    <store>/<data>-<network>-<method>...-<hash>/
        config.json  history.csv  metrics.json  provenance.json  weights.safetensors  [cost.csv]  manifest.json
        checkpoint.pt            while unfinished
        evaluations/             kept by `helpers.evaluation.evaluate_run`
"""
import csv
import dataclasses
import errno
import hashlib
import json
import math
import os
import re
import shutil
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import safe_open
from safetensors.torch import load_file, save

from helpers import costs, data
from helpers.files import write_atomic
from helpers.provenance import OtherSourceWarning, same_source
from helpers.training import manifest, parts
from helpers.training.launch import fast_precision
from helpers.training.manifest import as_text, read_json, reading

# Part of every hash: raise it when a change of the training code changes what a config trains.
RECIPE_VERSION = 1
RESULTS = Path(__file__).resolve().parents[2] / "results"


@dataclass(repr=False)
class Run:
    """A training run: what its config names, loaded and checked (`prepare`), and once it is trained what came of it."""

    config: object  # TrainConfig
    dataset: data.Dataset  # after selecting classes
    parts: data.Split
    cost: costs.CostMatrix | None  # of WPGD
    facts: dict  # the config.json
    folder: Path
    model: torch.nn.Module | None = None  # in eval mode, [0, 1] -> logits; None for a run exported without its weights
    rows: list = field(default_factory=list)  # of dict, the history
    metrics: dict = field(default_factory=dict)  # last values and totals
    made: dict = field(default_factory=dict)  # the provenance.json, and the digest of the source that trained it
    loaded: bool = False  # found on disk rather than trained now

    @property
    def validation(self):
        """(images, labels) held out from training."""
        return self.dataset.x_train[self.parts.validation], self.dataset.y_train[self.parts.validation]

    @property
    def history(self):
        """DataFrame, a row a validated epoch: epoch, lr, train_loss, val_ne, val_ae (in %), seconds."""
        import pandas
        return pandas.DataFrame(self.rows)

    @property
    def summary(self):
        """One line: NE and AE on the held-out images, epochs, seconds."""
        found = self.metrics
        attacked = "" if math.isnan(found["val_ae"]) else f", AE {found['val_ae']:.1f} %"
        return f"NE {found['val_ne']:.1f} %{attacked} on validation, {found['epochs']} epochs, {found['seconds']:.0f} s"

    def __repr__(self):
        return f"Run({self.config.label!r}, {self.summary if self.metrics else 'not trained'}, {self.folder.name!r})"

    def network(self):
        """The network with the weights that the seed gives, whatever generator and float type are the global ones."""
        data = self.dataset
        with torch.random.fork_rng(devices=[]), ExitStack() as after:
            after.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
            torch.manual_seed(self.config.seed)
            network = parts.build_network(self.config.network, data.num_classes, data.in_channels, data.mean, data.std)
        if self.config.start:
            with reading(weights_of(self.config.start, self.folder.parent)) as file:
                network.load_state_dict(load_file(file))
        return network.double() if self.config.precision == "float64" else network

    def begin(self):
        """Before training, which may take days: the place must take what it will write.  Writes the cost.csv."""
        if self.cost is not None and not (self.folder / "cost.csv").is_file():
            self.cost.to_csv(self.folder / "cost.csv")
        # Weights, momentum and average, twice: a new checkpoint is written beside the old one.
        needed = 6 * sum(value.nbytes for value in self.network().state_dict().values())
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{self.folder} has {free / 1e6:.0f} MB left, but this run needs "
                                        f"{needed / 1e6:.0f} MB while it trains: make room, or name another store")

    def write(self):
        """Write what is known once it is trained; metrics.json comes last: its presence says the rest is there."""
        lines = [self.rows[0], *(row.values() for row in self.rows)]
        write_atomic(self.folder / "history.csv", "".join(",".join(map(str, line)) + "\n" for line in lines))
        write_atomic(self.folder / "provenance.json", as_text(self.made))
        write_weights(self.folder, self.model)
        # Strict JSON has no NaN: an adversarial error that was not measured is null.
        metrics = as_text({name: None if value != value else value for name, value in self.metrics.items()})
        manifest.seal(self.folder, self.made["source"], {"metrics.json": metrics.encode()})
        write_atomic(self.folder / "metrics.json", metrics)
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)

    def read(self, device="cpu", weights=True):
        """Read what `write` wrote, `weights` or not, and compare it with its manifest; returns the run."""
        folder = self.folder
        manifest.verify(folder)
        with reading(folder / "config.json") as file:
            if not folder.name.endswith(hash_of(json.loads(file.read_text()))):
                raise ValueError("it is not the config that gave this folder its name")
        if weights:
            self.model = self.network().to(device).eval()
            with reading(weights_of(folder.name, folder.parent)) as file:
                self.model.load_state_dict(load_file(file))
        with reading(folder / "history.csv") as file:
            self.rows = [{name: int(value) if name == "epoch" else float(value) for name, value in row.items()}
                         for row in csv.DictReader(file.read_text().splitlines())]
        metrics = read_json(folder / "metrics.json")
        self.metrics = {name: math.nan if value is None else value for name, value in metrics.items()}
        self.made = {**read_json(folder / "provenance.json"), "source": manifest.source_of(folder)}
        if not same_source(self.made["source"], "training", *parts.used_by(self.config)):
            warnings.warn(f"{self.folder.name} was trained by other code than today's (commit "
                          f"{self.made.get('commit')}), which may give other weights: delete its folder to train it "
                          "again", OtherSourceWarning, stacklevel=3)
        self.loaded = True
        return self


def prepare(config, data_root=None, store=None):
    """Load and check all that a config names: a `Run` without model and metrics.  Nothing is trained.

    For precision "auto" it is the run that is finished or begun in either, else that in the fast one here.
    Raises ValueError or FileNotFoundError for data, classes, networks or costs that do not fit.
    """
    if config.precision == "auto":
        both = [prepare(dataclasses.replace(config, precision=one), data_root, store)
                for one in sorted(("bf16", "float32"), key=lambda one: one != fast_precision())]
        return min(both, key=lambda run: 0 if finished(run.folder) or exported(run.folder.name) else
                   2 - (run.folder / "checkpoint.pt").is_file())
    dataset = parts.PARTS["data"].get(config.data) or data.load(config.data, data_root)
    if config.classes is not None:
        dataset = data.select_classes(dataset, config.classes)
    split = data.split(dataset.y_train, config.val_size, config.train_size, config.split_seed)
    if config.ratio is not None:
        minority = data.class_index(dataset, config.minority)
        train = data.imbalance(dataset.y_train, split.train, config.ratio, minority, config.split_seed)
        split = split._replace(train=train)
    if config.start:
        weights_of(config.start, store)
    sizes = parts.check_network(config.network, dataset)
    # Processors differ in the digits of a fit: its settings stand for it, and a run that has begun keeps its matrix.
    fitted = costs.fitted(config.cost)
    cost = None if fitted or config.method != "wpgd" else costs.from_spec(config.cost, dataset)
    facts = {**config.to_dict(), "data_fingerprint": dataset.fingerprint, "recipe_version": RECIPE_VERSION, **sizes,
             "cost_digest": fitted if cost is None else cost.digest}
    folder = folder_of(store, config.label, facts)
    if fitted:
        kept = (folder / "cost.csv").is_file()
        cost = costs.read_csv(folder / "cost.csv", name=config.cost) if kept else costs.from_spec(config.cost, dataset)
    return Run(config, dataset, split, cost, facts, folder)


def folder_of(store, label, facts):
    """Folder of the run whose config.json holds these facts; the label is for people, the hash decides."""
    name = re.sub(r"[^A-Za-z0-9.=-]+", "_", label)
    if len(name) > 220:  # of 24 classes, say: with hash and ".safetensors", a file system takes 255 bytes
        name = f"{name[:110]}...{name[-70:]}"  # what stands first and last tells most
    return Path(store or default_store()) / f"{name}-{hash_of(facts)}"


def hash_of(facts):
    """The hash, 10 hexadecimal digits, of what decides a run's weights, from its config.json."""
    # A user's folder and the way to write a cost may differ between machines: fingerprint and digest stand for them.
    hashed = {**facts, "data": Path(facts["data"]).name, "cost": None}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:10]


def default_store():
    """Where runs lie unless a caller says otherwise: $WPGD_RUNS, or `results/runs` beside this package."""
    return Path(os.environ.get("WPGD_RUNS") or RESULTS / "runs")


def finished(folder):
    """Whether a folder holds a finished run."""
    return (folder / "metrics.json").is_file() and (folder / "weights.safetensors").is_file()


def being_trained(folder):
    """Whether another process trains the run in a folder just now: it holds the lock."""
    try:
        if (folder / ".lock").is_file():
            FileLock(folder / ".lock").acquire(timeout=0).lock.release()
        return False
    except Timeout:
        return True


def exported(name):
    """Folder of a run that was exported with its answers, ``results/*/runs/<name>/``; None if there is none."""
    return next((file.parent for file in sorted(RESULTS.glob(f"*/runs/{name}/answers.npz"))), None)


def weights_of(name, store=None):
    """The file of weights of a run in a store, or of one that comes with the study; else a FileNotFoundError."""
    files = [Path(store or default_store()) / name / "weights.safetensors",
             *RESULTS.glob(f"*/weights/{name}.safetensors"), *RESULTS.glob(f"*/runs/{name}/weights.safetensors")]
    if not (found := [file for file in files if file.is_file()]):
        raise FileNotFoundError(f"there are no weights of a run {name!r}: train it, or see results/*/weights")
    return found[0]


def load_model(path):
    """A trained network, in eval mode, and the dict of its settings; its data set is not needed.

    Parameters
    ----------
    path : Path, of a run in the store, of an exported run with weights, or of one file of weights

    Raises
    ------
    FileNotFoundError, ValueError
        Weights, or a part of them, are not there; or do not say what network they belong to.
    """
    path = Path(path)
    files = sorted(path.glob("weights*.safetensors")) if path.is_dir() else [path]
    if path.is_dir():
        manifest.verify(path)
    number = int(files[0].stem.split("-")[-1]) if files and "-of-" in files[0].stem else 1
    if len(files) != number or not files[0].is_file():
        raise FileNotFoundError(f"{path} holds {sum(map(Path.is_file, files))} of {number} files of weights: "
                                "train it, or export it again with --weights")
    with reading(files[0]), safe_open(files[0], "pt") as file:
        said = (file.metadata() or {}).get("config")  # a file on its own may say what it is
    if not said and not files[0].with_name("config.json").is_file():
        raise ValueError(f"{path} does not say what network it holds: put its config.json beside it")
    config = json.loads(said) if said else read_json(files[0].with_name("config.json"))
    with reading(path):
        state = {name: value for file in files for name, value in load_file(file).items()}
        if parts.is_ours(config["network"]):
            first = "stem.weight" if "stem.weight" in state else "layers.0.weight"
            sizes = len(state["classifier.bias"]), state[first].shape[1]
        else:
            sizes = config["num_classes"], config["in_channels"]
    model = parts.build_network(config["network"], *sizes)
    with reading(path):
        model.load_state_dict(state)
    return model.float().eval(), config  # whatever torch's default type is


def write_weights(folder, model):
    """Write the weights of a network as a run keeps them."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomic(folder / "weights.safetensors", save(state))
