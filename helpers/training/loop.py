"""A training run, from its config to its folder: attack a batch, learn from it, validate, keep (Eq. 1, 2 and 6).

With k attack steps a training step costs 2 k + 3 passes (forward, gradient of the input, gradient of the weights): the
network is frozen during the attack, nothing is computed twice, and no step waits for a number that only a person reads.
"""
import copy
import math
import time
from functools import partial

import torch
from accelerate.utils import broadcast

from helpers import attacks, data, losses
from helpers.allocator import keep_freed_memory
from helpers.evaluation import evaluate
from helpers.provenance import commit, provenance, source_digest
from helpers.training import checkpoint, parts
from helpers.training.compiling import compile_step, worthwhile
from helpers.training.launch import OutOfTime, alone, new_accelerator, on_main, own_part, shared_learner
from helpers.training.progress import Progress
from helpers.training.store import finished, prepare

TIMED_STEPS = 20  # of an epoch, after which its length is known


def train(config, *, data_root=None, store=None, progress=True, compile="auto", deadline=None):
    """Train a model, or load it if this config was trained before, or resume it if that was interrupted.

    Parameters
    ----------
    config : TrainConfig, see `configure`
    data_root : folder of the data sets, default `data.default_root()`
    store : folder of the runs, default `default_store()`
    progress : bool, show a bar (notebook) or a line an epoch (log)
    compile : bool, or a mode of `torch.compile`, or "auto": where it is worth its minute (`worthwhile`).  It changes
        rounding but not the recipe, and so is no part of the config
    deadline : float, optional: `time.monotonic()` by which to stop; then `OutOfTime` is raised after a checkpoint

    Returns
    -------
    Run

    Raises
    ------
    ValueError, FileNotFoundError
        For data, classes or costs that do not fit the config, before training starts; later for a loss that diverges.
    """
    keep_freed_memory()
    accelerator = new_accelerator()
    progress = progress and accelerator.is_main_process
    if config.precision == "auto":
        config = on_main(lambda: prepare(config, data_root, store).config)
    run = prepare(config, data_root, store)
    if not on_main(finished, run.folder):
        with alone(run, None if deadline is None else deadline - time.monotonic()):
            if not on_main(finished, run.folder):
                _train(run, accelerator, progress, compile, deadline)
    if run.model is None:
        run.read(accelerator.device)
    if progress:
        print(f"{config.label}: {'found, ' if run.loaded else ''}{run.summary}")
    return run


def _train(run, accelerator, progress, compile, deadline):
    config = run.config
    on_main(run.begin)
    commit()  # asked now: one that is made while this trains did not train it
    trainer = Trainer(run, accelerator, compile)
    bar, lasted = Progress(run, trainer.epoch, progress), trainer.seconds / max(trainer.epoch, 1)
    while trainer.epoch < config.epochs:
        # Would an epoch that takes as long as the last one, with validation, end too late?
        if deadline is not None and on_main(lambda last: time.monotonic() + 1.1 * last > deadline, lasted):
            raise OutOfTime(f"{config.label}: stopped after epoch {trainer.epoch} of {config.epochs}")
        began = time.perf_counter()
        loss = trainer.run_epoch(deadline)
        if trainer.epoch % config.val_every == 0 or trainer.epoch == config.epochs:
            run.rows.append(on_main(trainer.validate, loss))
            bar.update(run.rows[-1])
        if trainer.epoch < config.epochs:
            on_main(checkpoint.save, trainer)
        lasted = time.perf_counter() - began
    trainer.finish()


class Trainer:
    """A run while it trains: all that changes, and the epochs that change it; parameters as of `train`.

    `seconds` are those of the `epoch`s done, without validation and without the `compile_seconds`.
    """

    def __init__(self, run, accelerator, compile="auto"):
        config, device, train = run.config, accelerator.device, run.parts.train
        self.run, self.config, self.accelerator = run, config, accelerator
        self._start()
        if checkpoint.resume(self) is False:
            self._start()
        self.resumed = self.epoch
        augment = parts.find("augment", config.augment)
        ours, self.augment = (parts.NONE, augment) if callable(augment) else (augment, None)
        self.batches = data.Augment(run.dataset.x_train[train].to(device), **ours)
        self.labels = run.dataset.y_train[train].to(device)
        self.size = min(config.batch_size, len(train))
        self.own = own_part(self.size, accelerator)
        self.autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=config.precision == "bf16")
        self.attack = self._inner_attack()
        self.network, learner = self.model, shared_learner(self.model, config, accelerator)
        torch.backends.cudnn.benchmark = True  # all batches have one shape
        began = time.perf_counter()
        if worthwhile(run, device) if compile == "auto" else compile:
            self.network, learner = compile_step(self, learner, None if compile in ("auto", True) else compile)
        self.compiled = self.network is not self.model
        self.compile_seconds = self.compiled * (time.perf_counter() - began)
        part = {"commit": commit(), "source": source_digest("training", *parts.used_by(config)),
                "threads": torch.get_num_threads(), "compiled": self.compiled}
        if not self.parts or {**self.parts[-1], **part} != self.parts[-1]:
            self.parts.append({"after_epoch": self.epoch, **part})
        self.learner = accelerator.prepare_model(learner, device_placement=False)  # it is there, and shares tensors

    def _start(self):
        """As a run begins; also where a checkpoint was of no use."""
        config, device = self.config, self.accelerator.device
        self.dtype = torch.float64 if config.precision == "float64" else torch.float32
        self.model = self.run.network().to(device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False) if config.ema else None
        self.result = self.average or self.model  # what is validated and kept
        self.optimizer = parts.find("optimizer", config.optimizer)(list(self.model.parameters()), config)
        self.order = torch.Generator().manual_seed(config.seed)
        self.noise = torch.Generator(device).manual_seed(config.seed + 1)
        # Parts: one for each code, number of threads, compiled or not, that trained this run.
        self.epoch, self.seconds, self.run.rows, self.parts = 0, 0.0, [], []

    def _inner_attack(self):
        """The inner maximisation: none (CE), PGD on the cross entropy (Eq. 2), on Eq. (5) (Eq. 6), or on both."""
        config, loss = self.config, parts.find("loss", self.config.loss)
        if config.method == "ce" or config.eps == 0:
            return None
        if config.method == "wpgd":
            costly = losses.WassersteinLoss(self.run.cost, config.p, config.lam)
            loss = costly if config.mu == math.inf else lambda *z: losses.cross_entropy(*z) + config.mu * costly(*z)
        return partial(attacks.pgd, loss=lambda logits, labels: loss(logits.to(self.dtype), labels),
                       eps=config.eps / 255, step_size=config.step_size / 255, steps=config.steps, norm=config.norm,
                       check=False)

    def run_epoch(self, deadline=None):
        """Pass once over the training images; returns the mean loss of Eq. (1), (2) or (6).

        Where its first steps say that it would end after the deadline, it raises `OutOfTime`.
        """
        began, config, total = time.perf_counter(), self.config, 0.0
        self.model.train()
        order = torch.randperm(len(self.labels), generator=self.order)
        batches = [part for part in order.split(self.size) if len(part) == self.size]
        for index, (images, picked) in enumerate(self.batches.epoch(batches, self.order)):
            progress = (self.epoch + index / len(batches)) / config.epochs
            share = min(progress / config.eps_warmup, 1.0) if config.eps_warmup else 1.0
            for group in self.optimizer.param_groups:
                group["lr"] = parts.learning_rate(config, progress)
            images = images if self.augment is None else self.augment(images, self.order)
            total += self._step(data.to_float(images).to(self.dtype), self.labels[picked], share)
            if deadline is not None and index + 1 == TIMED_STEPS:
                float(total)  # a GPU is done with them
                left = (time.perf_counter() - began) * (len(batches) / TIMED_STEPS - 1)
                if on_main(lambda seconds: time.monotonic() + seconds > deadline, left):
                    raise OutOfTime(f"{config.label}: stopped in epoch {self.epoch + 1}, which takes {left:.0f} s more")
        for buffer in (*self.model.buffers(), *self.result.buffers()):
            broadcast(buffer)
        # Read once: reading it in every step would make every step wait.
        loss = float(self.accelerator.reduce(total, "mean")) / len(batches)
        if not math.isfinite(loss):
            raise ValueError(f"{config.label}: training diverged in epoch {self.epoch + 1} (loss {loss}); "
                             f"lower lr = {config.lr}")
        self.epoch += 1
        self.seconds += time.perf_counter() - began
        return loss

    def _step(self, x, y, share):
        """Attack this process's part of a batch with a share of eps, and learn from it; returns its mean loss."""
        config, eps = self.config, share * self.config.eps / 255
        start = attacks.sample_start(x, eps, config.norm, self.noise) if self.attack and config.random_start else x
        x, y, start = x[self.own], y[self.own], start[self.own]
        with self.autocast():
            if self.attack is not None:
                x = self.attack(self.network, x, y, start=start, eps=eps, step_size=share * config.step_size / 255)
            loss = losses.cross_entropy(self.learner(x).to(self.dtype), y).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.average is not None:
            with torch.no_grad():  # BatchNorm's statistics are averages already and are copied
                torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - config.ema)
                if buffers := list(self.average.buffers()):
                    torch._foreach_copy_(buffers, list(self.model.buffers()))
        return loss.detach()

    def validate(self, loss):
        """Natural and adversarial error on held-out training images, never on test: a row of the history."""
        config = self.config
        x, y = (part[:config.val_images] for part in self.run.validation)
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x

        def error(attack=None):
            try:
                return round(evaluate(self.result, x, y, attack, batch_size=250, allow_absent=True).error, 4)
            except ValueError as error:  # a finite loss, but logits that are not
                raise ValueError(f"{config.label}: training diverged in epoch {self.epoch} ({error}); "
                                 f"lower lr = {config.lr}") from None

        pgd = partial(attacks.PGD((config.val_eps or 0) / 255, config.val_steps, norm=config.norm), stuck=[])
        rate = parts.learning_rate(config, (self.epoch - 1e-9) / config.epochs)
        return {"epoch": self.epoch, "lr": round(rate, 6), "train_loss": round(loss, 6), "val_ne": error(),
                "val_ae": error(pgd) if config.val_eps else math.nan, "seconds": round(self.seconds, 2)}

    def finish(self):
        """Fill in the run and write it to its folder."""
        run, images = self.run, len(self.labels)
        run.model = self.result.eval()
        run.metrics = {name: run.rows[-1][name] for name in ("train_loss", "val_ne", "val_ae")} | {
            "seconds": round(self.seconds, 1), "epochs": self.epoch, "train_images": images,
            "images_per_second": round(images * self.epoch / max(self.seconds, 1e-9), 1),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters())}
        run.made = {
            **provenance(self.accelerator.device), "seed": self.config.seed, "seconds": run.metrics["seconds"],
            "precision": self.config.precision, "processes": self.accelerator.num_processes, "compiled": self.compiled,
            "compile_seconds": round(self.compile_seconds, 1), "resumed_after_epoch": self.resumed,
            "parts": self.parts, "source": ",".join(dict.fromkeys(part["source"] for part in self.parts))}
        on_main(run.write)
        labels = run.dataset.y_train[run.parts.validation][:self.config.val_images]
        easy = 100 * (labels != labels.mode().values).float().mean().item()
        if run.metrics["val_ne"] >= easy - 1e-3 and self.accelerator.is_main_process:
            print(f"{self.config.label}: training was of no use, NE {run.metrics['val_ne']:.1f} % on validation is "
                  f"what one answer to all images gives (loss {run.rows[-1]['train_loss']:g}): lower lr = "
                  f"{self.config.lr:g}, or train for more epochs")
