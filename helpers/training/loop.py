"""A training run from its config to its folder: data, epochs, validation, checkpoints; `step.py` holds the epochs."""
import copy
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from helpers import attacks, costs, data, models
from helpers.allocator import keep_freed_memory
from helpers.training import store as runs
from helpers.training.progress import Progress
from helpers.provenance import provenance
from helpers.training.step import State, Trainer, learning_rate


class OutOfTime(Exception):
    """The time that `train` was given does not allow another epoch; the run resumes from its checkpoint."""


@dataclass
class Job:
    """A config with its data, cost matrix, and folder."""

    config: object
    dataset: data.Dataset
    parts: data.Split
    cost: object
    facts: dict
    folder: Path


def train(config, *, data_root=None, store=None, progress=True, compile="auto", deadline=None):
    """Train a model, or load it if this config was trained before, or resume it if that was interrupted.

    Parameters
    ----------
    config : TrainConfig, see `configure`
    data_root : folder of the data sets, default `data.default_root()`
    store : folder of the runs, default `default_store()`
    progress : bool, show a bar (notebook) or a line an epoch (log)
    compile : "auto" (default), bool or a mode such as "max-autotune", run the network through `torch.compile`; "auto"
        where that is worth its minute (`compiling.worthwhile`).  It changes rounding but not the recipe, and so is no
        part of the config
    deadline : float, optional: `time.monotonic()` by which to stop; then `OutOfTime` is raised after a checkpoint

    Returns
    -------
    Run

    Raises
    ------
    ValueError, FileNotFoundError
        For data, classes or costs that do not fit the config, before training starts.
    OutOfTime
    """
    from accelerate import Accelerator
    keep_freed_memory()
    # Without this, several CPU processes would train independently, all into one folder.
    accelerator = Accelerator(cpu=os.environ.get("WORLD_SIZE", "1") != "1" and not torch.cuda.is_available())
    job = prepare(config, data_root, store)
    device = accelerator.device
    if runs.finished(job.folder):
        model = _new_model(job).to(device)
        rows, metrics = runs.read(job.folder, model)
        run = _run(job, model, rows, metrics, device, loaded=True)
        if progress and accelerator.is_main_process:
            print(f"{config.label}: found, {_summary(metrics)}")
        return run
    state = start(job, accelerator)
    resumed = _resume(job, state)
    trainer = Trainer(job, state, accelerator, compile)
    bar = Progress(config.label, config.epochs, state.epoch, show=progress and accelerator.is_main_process)
    with bar:
        lasted = 0.0
        while state.epoch < config.epochs:
            if deadline is not None and _late(accelerator, deadline, lasted):
                raise OutOfTime(f"{config.label}: stopped after epoch {state.epoch} of {config.epochs}")
            began = time.perf_counter()
            loss = trainer.epoch()
            if not math.isfinite(loss):
                raise ValueError(f"{config.label}: training diverged in epoch {state.epoch + 1} (loss {loss}); "
                                 f"lower lr = {config.lr}")
            state.epoch += 1
            state.seconds += time.perf_counter() - began
            if state.epoch % config.val_every == 0 or state.epoch == config.epochs:
                state.rows.append(_validate(job, state, loss, device))
                bar.update(state.epoch, state.rows[-1])
            if accelerator.is_main_process and state.epoch < config.epochs:
                _checkpoint(job, state)
            lasted = time.perf_counter() - began
    metrics = _finish(job, trainer, resumed)
    if progress and accelerator.is_main_process:
        print(f"{config.label}: {_summary(metrics)}")
    return _run(job, state.result, state.rows, metrics, device)


def _late(accelerator, deadline, lasted):
    """Whether an epoch that takes as long as the last one, with validation, would end too late; all processes agree."""
    if time.monotonic() + 1.1 * lasted > deadline:
        accelerator.set_trigger()
    return accelerator.check_trigger()


def prepare(config, data_root=None, store=None):
    """Load and check all that a config names; nothing is trained.  Returns a `Job`."""
    dataset = data.load(config.data, data_root)
    if config.classes is not None:
        dataset = data.select_classes(dataset, config.classes)
    parts = data.split(dataset.y_train, config.val_size, config.train_size, config.split_seed)
    if config.ratio is not None:
        if config.minority not in dataset.classes:
            raise ValueError(f"minority = {config.minority!r} is none of {dataset.classes}")
        minority = dataset.classes.index(config.minority)
        parts.train = data.imbalance(dataset.y_train, parts.train, config.ratio, minority, config.split_seed)
    if dataset.image_size is not None and config.network.startswith("mlp"):
        raise ValueError(f"network {config.network!r} reads points, but {dataset.name!r} holds images: "
                         'choose a Wide-ResNet, such as "W-16-1"')
    with torch.device("meta"):
        models.build(config.network, dataset.num_classes, dataset.in_channels)
    # Processors differ in the digits of a fit: its settings stand for it, and a run that has begun keeps its matrix.
    fitted = config.cost if costs.is_fitted(config.cost) else None
    cost = None if fitted or config.method != "wpgd" else costs.from_spec(config.cost, dataset)
    facts = runs.identity(config, dataset.fingerprint,
                          costs.FITTED_SPECS.get(fitted) if cost is None else cost.digest)
    folder = runs.folder_of(store or runs.default_store(), config, facts)
    if fitted:
        kept = (folder / "cost.csv").is_file()
        cost = runs.read_cost(folder / "cost.csv", fitted) if kept else costs.from_spec(fitted, dataset)
    return Job(config, dataset, parts, cost, facts, folder)


def _new_model(job):
    """The network with the weights that the seed gives, whatever state the global generator is in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.config.seed)
        model = models.build(job.config.network, job.dataset.num_classes, job.dataset.in_channels, job.dataset.mean,
                             job.dataset.std)
    return model if job.dataset.image_size is None else model.to(memory_format=torch.channels_last)


def start(job, accelerator):
    """A `State` before the first epoch, the same on every machine for the same seed."""
    config, device = job.config, accelerator.device
    model = _new_model(job).to(device)
    average = copy.deepcopy(model).eval().requires_grad_(False) if config.ema else None
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr, momentum=config.momentum,
                                nesterov=config.momentum > 0, weight_decay=config.weight_decay,
                                fused=device.type == "cuda")
    # Processes share the order of the images and differ in the attack's random starts.
    noise = torch.Generator(device).manual_seed(config.seed + 1000 * accelerator.process_index + 1)
    return State(model, average, optimizer, torch.Generator().manual_seed(config.seed), noise, [])


def _validate(job, state, loss, device):
    """A row of the history: natural and adversarial error on held-out training images, never on test."""
    config = job.config
    model = state.result
    held = job.parts.validation[:config.val_images]
    x, y = job.dataset.x_train[held].to(device), job.dataset.y_train[held].to(device)
    errors = [_error(model, x, y)]
    if config.val_eps:
        eps = config.val_eps / 255
        errors.append(_error(model, x, y, attacks.PGD(eps, config.val_steps, norm=config.norm)))
    rate = learning_rate(config, (state.epoch - 1e-9) / config.epochs)
    return {"epoch": state.epoch, "lr": round(rate, 6), "train_loss": round(loss, 6), "val_ne": round(errors[0], 4),
            "val_ae": round(errors[1], 4) if len(errors) > 1 else math.nan, "seconds": round(state.seconds, 2)}


def _error(model, x, y, attack=None, size=250):
    """Error in %, of `model` in eval mode; its mode is put back."""
    wrong = 0
    with attacks.frozen(model):
        for images, labels in zip(x.split(size), y.split(size)):
            images = data.to_float(images).contiguous(memory_format=torch.channels_last) if x.ndim == 4 else images
            if attack is not None:
                images = attack(model, images, labels, attacks.AttackCounters())
            with torch.no_grad():
                wrong = wrong + (model(images).argmax(dim=1) != labels).sum()
    return 100 * float(wrong) / len(y)


def _checkpoint(job, state):
    if job.cost is not None and not (job.folder / "cost.csv").is_file():
        job.folder.mkdir(parents=True, exist_ok=True)
        runs.write_cost(job.folder / "cost.csv", job.cost)
    runs.save_checkpoint(job.folder, {
        "epoch": state.epoch, "seconds": state.seconds, "rows": state.rows, "model": state.model.state_dict(),
        "average": state.average.state_dict() if state.average else None, "optimizer": state.optimizer.state_dict(),
        "order": state.order.get_state(), "noise": state.noise.get_state()})


def _resume(job, state):
    """Put a checkpoint of the same run into `state`; returns the epoch it was written after, or 0."""
    saved = runs.load_checkpoint(job.folder)
    if saved is None:
        return 0
    state.model.load_state_dict(saved["model"])
    if state.average is not None:
        state.average.load_state_dict(saved["average"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.order.set_state(saved["order"])
    state.noise.set_state(saved["noise"])
    state.epoch, state.seconds, state.rows = saved["epoch"], saved["seconds"], saved["rows"]
    return state.epoch


def _finish(job, trainer, resumed):
    state, accelerator = trainer.state, trainer.accelerator
    final = {name: state.rows[-1][name] for name in ("train_loss", "val_ne", "val_ae")}
    images = len(job.parts.train)
    metrics = {**final, "seconds": round(state.seconds, 1), "epochs": state.epoch, "train_images": images,
               "images_per_second": round(images * state.epoch / max(state.seconds, 1e-9), 1),
               "parameters": sum(parameter.numel() for parameter in state.model.parameters())}
    if accelerator.is_main_process:
        facts = {**provenance(accelerator.device), "seed": job.config.seed, "seconds": metrics["seconds"],
                 "processes": accelerator.num_processes, "compiled": trainer.compiled,
                 "compile_seconds": round(trainer.warmup_seconds, 1), "resumed_after_epoch": resumed}
        runs.write(job.folder, job.facts, job.cost, state.rows, metrics, facts, state.result.state_dict())
    accelerator.wait_for_everyone()
    return metrics


def _run(job, model, rows, metrics, device, loaded=False):
    held = job.parts.validation
    validation = (job.dataset.x_train[held], job.dataset.y_train[held])
    return runs.Run(job.config, model.to(device).eval(), job.dataset, validation, job.cost, metrics, job.folder, loaded,
                    rows)


def _summary(metrics):
    attacked = "" if math.isnan(metrics["val_ae"]) else f", AE {metrics['val_ae']:.1f} %"
    return (f"NE {metrics['val_ne']:.1f} %{attacked} on validation, {metrics['epochs']} epochs, "
            f"{metrics['seconds']:.0f} s")
