"""A training run, from its config to its folder: attack a batch, learn from it, validate, keep (Eq. 1, 2 and 6).

With k attack steps a training step costs 2 k + 3 passes (forward, gradient of the input, gradient of the weights): the
network is frozen during the attack, nothing is computed twice, and no step waits for a number that only a person reads.
"""
import copy
import io
import math
import time
from functools import partial

import torch
from accelerate.utils import broadcast, gather_object

from helpers import attacks, data, losses
from helpers.allocator import keep_freed_memory
from helpers.evaluation import evaluate
from helpers.files import write_atomic
from helpers.provenance import commit, provenance, source_digest
from helpers.training.launch import new_accelerator, worthwhile
from helpers.training.progress import Progress
from helpers.training.store import finished, prepare


class OutOfTime(Exception):
    """The time that `train` was given does not allow another epoch; the run resumes from its checkpoint."""


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
    run, lasted = prepare(config, data_root, store), 0.0
    if finished(run.folder):
        run.read(accelerator.device)
    else:
        commit()  # asked now: one that is made while this trains did not train it
        trainer = Trainer(run, accelerator, compile)
        bar = Progress(run, trainer.epoch, progress)
        while trainer.epoch < config.epochs:
            # Would an epoch that takes as long as the last one, with validation, end too late? All processes agree.
            if deadline is not None and time.monotonic() + 1.1 * lasted > deadline:
                accelerator.set_trigger()
            if deadline is not None and accelerator.check_trigger():
                raise OutOfTime(f"{config.label}: stopped after epoch {trainer.epoch} of {config.epochs}")
            if trainer.epoch == trainer.resumed:
                run.begin()
            began = time.perf_counter()
            loss = trainer.run_epoch()
            if trainer.epoch % config.val_every == 0 or trainer.epoch == config.epochs:
                bar.update(trainer.validate(loss))
            trainer.save_checkpoint()
            lasted = time.perf_counter() - began
        trainer.finish()
    if progress:
        print(f"{config.label}: {'found, ' if run.loaded else ''}{run.summary}")
    return run


class Trainer:
    """A run while it trains: all that changes, and the epochs that change it; parameters as of `train`.

    `seconds` are those of the `epoch`s done, without validation and without the `compile_seconds`.
    """

    def __init__(self, run, accelerator, compile="auto"):
        config, device, train = run.config, accelerator.device, run.parts.train
        self.run, self.config, self.accelerator = run, config, accelerator
        self._start()
        self._resume()
        self.resumed = self.epoch
        part = {"commit": commit(), "source": source_digest("training"), "threads": torch.get_num_threads()}
        if not self.parts or {**self.parts[-1], **part} != self.parts[-1]:
            self.parts.append({"after_epoch": self.epoch, **part})
        self.batches = data.Augment(run.dataset.x_train[train].to(device), 4 if config.augment else 0,
                                    flip=config.augment is True)
        self.labels = run.dataset.y_train[train].to(device)
        self.size = max(1, min(config.batch_size, len(train)) // accelerator.num_processes)
        self.autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=config.precision == "bf16")
        self.attack = self._inner_attack()
        # What is attacked, and what learns, with the hooks of several processes around it.
        self.network = self.model
        self.learner, self.optimizer = accelerator.prepare(self.model, self.optimizer)
        self.compiled, self.compile_seconds = False, 0.0
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape
        if worthwhile(run, device) if compile == "auto" else compile:
            self._compile(None if compile in ("auto", True) else compile)

    def _start(self):
        config, device = self.config, self.accelerator.device
        self.model = self.run.network().to(device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False) if config.ema else None
        self.result = self.average or self.model  # what is validated and kept
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=config.lr, momentum=config.momentum,
                                         nesterov=config.momentum > 0, weight_decay=config.weight_decay,
                                         fused=device.type == "cuda")
        # Processes share the order of the images and differ in the attack's random starts.
        self.order = torch.Generator().manual_seed(config.seed)
        self.noise = torch.Generator(device).manual_seed(config.seed + 1000 * self.accelerator.process_index + 1)
        self.epoch, self.seconds, self.run.rows = 0, 0.0, []
        self.parts = []  # one for each code and number of threads that this run was trained with

    def _inner_attack(self):
        """The inner maximisation: nothing (CE), PGD on the cross entropy (Eq. 2) or the Wasserstein loss (Eq. 6)."""
        config, loss = self.config, losses.cross_entropy
        if config.method == "ce" or config.eps == 0:
            return None
        if config.method == "wpgd":
            loss = losses.WassersteinLoss(self.run.cost, config.p, config.lam)
        return partial(attacks.pgd, loss=lambda logits, labels: loss(logits.float(), labels), eps=config.eps / 255,
                       step_size=config.step_size / 255, steps=config.steps, norm=config.norm,
                       random_start=config.random_start, generator=self.noise, counters=attacks.AttackCounters(),
                       check=False)

    def run_epoch(self):
        """Pass once over the training images; returns the mean loss of Eq. (1), (2) or (6)."""
        began, config, total = time.perf_counter(), self.config, 0.0
        broadcast(list(self.model.buffers()))  # each process moves statistics of its own; the first one's are kept
        self.model.train()
        order = torch.randperm(len(self.labels), generator=self.order)
        # Equally many for each process: one batch more in one of them would wait for the others for ever.
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        order = order[:len(order) - len(order) % processes][rank::processes]
        parts = [part for part in order.split(self.size) if len(part) == self.size]
        for index, (images, picked) in enumerate(self.batches.epoch(parts, self.order)):
            rate = learning_rate(config, (self.epoch + index / len(parts)) / config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            total += self._step(data.to_float(images), self.labels[picked])
        # Read once: reading it in every step would make every step wait.  Of several processes, the mean.
        loss = float(self.accelerator.reduce(total, "mean")) / len(parts)
        if not math.isfinite(loss):
            raise ValueError(f"{config.label}: training diverged in epoch {self.epoch + 1} (loss {loss}); "
                             f"lower lr = {config.lr}")
        self.epoch += 1
        self.seconds += time.perf_counter() - began
        return loss

    def _step(self, x, y):
        with self.autocast():
            if self.attack is not None:
                x = self.attack(self.network, x, y)
            loss = losses.cross_entropy(self.learner(x).float(), y).mean()
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.optimizer.step()
        if self.average is not None:
            average, model = self.average, self.model
            with torch.no_grad():  # BatchNorm's statistics are averages already and are copied
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - self.config.ema)
                torch._foreach_copy_(list(average.buffers()), list(model.buffers()))
        return loss.detach()

    def _compile(self, mode):
        """Compile the graphs of attack and step on the first batch; keep the plain network if that fails."""
        began, network = time.perf_counter(), torch.compile(self.model, mode=mode)
        noise = torch.Generator(self.labels.device).manual_seed(0)
        sample = self.batches.epoch([torch.arange(self.size)], torch.Generator().manual_seed(0))
        x, y = data.to_float(next(sample)[0]), self.labels[:self.size]
        try:
            with attacks.frozen(self.model, mode="train"), self.autocast():
                # Nested: the outer block puts the statistics of BatchNorm back, which the step below would change.
                if self.attack is not None:
                    self.attack(network, x, y, generator=noise)
                self.model.requires_grad_(True)
                loss = losses.cross_entropy(network(x).float(), y).mean()
                torch.autograd.grad(loss, list(self.model.parameters()))
        except Exception as error:
            # A compiler has a thousand ways to fail, and none of them should cost a reader the run.
            print(f"torch.compile failed ({type(error).__name__}); training goes on without it")
            torch._dynamo.reset()
            return
        self.network, self.compiled, self.compile_seconds = network, True, time.perf_counter() - began
        # DDP's hooks stay outside of the graph.
        self.learner = network if self.accelerator.num_processes == 1 else self.learner

    def validate(self, loss):
        """Natural and adversarial error on held-out training images, never on test: a new row of the history."""
        config = self.config
        x, y = (part[:config.val_images] for part in self.run.validation)
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x

        def error(attack=None):
            try:
                return round(evaluate(self.result, x, y, attack, batch_size=250, allow_absent=True).error, 4)
            except ValueError as error:  # a finite loss, but logits that are not
                raise ValueError(f"{config.label}: training diverged in epoch {self.epoch} ({error}); "
                                 f"lower lr = {config.lr}") from None

        pgd = partial(attacks.PGD((config.val_eps or 0) / 255, config.val_steps, norm=config.norm),
                      counters=attacks.AttackCounters())
        rate = learning_rate(config, (self.epoch - 1e-9) / config.epochs)
        row = {"epoch": self.epoch, "lr": round(rate, 6), "train_loss": round(loss, 6), "val_ne": error(),
               "val_ae": error(pgd) if config.val_eps else math.nan, "seconds": round(self.seconds, 2)}
        self.run.rows.append(row)
        return row

    def save_checkpoint(self):
        """Write what resuming needs, so that a kill at any moment leaves the old or the new file whole."""
        folder, cost = self.run.folder, self.run.cost
        if self.epoch == self.config.epochs:
            return
        noise = gather_object([self.noise.get_state()])  # each process has its own
        if not self.accelerator.is_main_process:
            return
        if cost is not None and not (folder / "cost.csv").is_file():
            cost.to_csv(folder / "cost.csv")
        state = {"run": folder.name, "epoch": self.epoch, "seconds": self.seconds, "rows": self.run.rows,
                 "parts": self.parts, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                 "average": self.average and self.average.state_dict(), "order": self.order.get_state(),
                 "noise": noise}
        content = io.BytesIO()  # first: writing to a full disk, torch says "unexpected pos 64 vs 0"
        torch.save(state, content)
        write_atomic(folder / "checkpoint.pt", content.getbuffer())

    def _resume(self):
        """Go on from the checkpoint of this run, if there is one that can be read and is what it should be."""
        try:
            self._take(torch.load(self.run.folder / "checkpoint.pt", map_location="cpu", weights_only=True))
        except FileNotFoundError:
            return
        except Exception as error:  # of torch, pickle, the archive, `_take`: none of them is worth more than the run
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            print(f"{self.run.folder.name}: the checkpoint cannot be read ({reason}); training starts again")
            self._start()

    def _take(self, saved):
        """Take over a checkpoint, or raise what is wrong with it."""
        epoch, last, name = saved["epoch"], self.config.epochs, self.run.folder.name
        due = [number for number in range(1, epoch + 1) if number % self.config.val_every == 0]
        if saved.get("run", name) != name or not 0 < epoch < last or [row["epoch"] for row in saved["rows"]] != due:
            raise ValueError(f"it is of epoch {epoch} of {saved.get('run', 'another run')}, not of one below {last}")
        # Everything but what the config decides: momentum and weight decay are not the checkpoint's to say.
        saved["optimizer"]["param_groups"] = self.optimizer.state_dict()["param_groups"]
        for part in ("model", "optimizer", *(["average"] if self.average else [])):
            getattr(self, part).load_state_dict(saved[part])
        like = list(self.model.parameters()) if self.config.momentum else []
        momentum = [self.optimizer.state[parameter]["momentum_buffer"] for parameter in like]
        numbers = (*momentum, *self.result.state_dict().values(), *self.model.parameters())
        shaped = [one.shape for one in momentum] == [one.shape for one in like]
        if not shaped or not all(one.isfinite().all() for one in numbers):
            raise ValueError("its numbers are not finite, or of another network")
        self.order.set_state(saved["order"])
        # A process that is new keeps the noise of its own; a single tensor is of before several processes were told.
        states = saved["noise"] if isinstance(saved["noise"], list) else [saved["noise"]]
        for state in states[self.accelerator.process_index:][:1]:
            self.noise.set_state(state)
        self.epoch, self.seconds, self.run.rows = epoch, float(saved["seconds"]), saved["rows"]
        self.parts = saved.get("parts", [{"after_epoch": 0, "commit": "unknown", "source": "-", "threads": None}])

    def finish(self):
        """Fill in the run and write it to its folder."""
        run, images = self.run, len(self.labels)
        run.model = self.result.eval()
        run.metrics = {name: run.rows[-1][name] for name in ("train_loss", "val_ne", "val_ae")} | {
            "seconds": round(self.seconds, 1), "epochs": self.epoch, "train_images": images,
            "images_per_second": round(images * self.epoch / max(self.seconds, 1e-9), 1),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters())}
        if self.accelerator.is_main_process:
            run.write({**provenance(self.accelerator.device), "seed": self.config.seed,
                       "seconds": run.metrics["seconds"], "processes": self.accelerator.num_processes,
                       "compiled": self.compiled, "compile_seconds": round(self.compile_seconds, 1),
                       "resumed_after_epoch": self.resumed, "parts": self.parts,
                       "source": ",".join(dict.fromkeys(part["source"] for part in self.parts))})
            labels = run.dataset.y_train[run.parts.validation][:self.config.val_images]
            easy = 100 * (labels != labels.mode().values).float().mean().item()
            if run.metrics["val_ne"] >= easy - 1e-3:
                print(f"{self.config.label}: training was of no use, NE {run.metrics['val_ne']:.1f} % on validation is "
                      f"what one answer to all images gives (loss {run.rows[-1]['train_loss']:g}): lower lr = "
                      f"{self.config.lr:g}, or train for more epochs")
        self.accelerator.wait_for_everyone()


def learning_rate(config, progress):
    """Learning rate at `progress` in [0, 1) of the run.

    one_cycle: linear to `lr` over the first `warmup`, linear to 0 over the rest (Smith 2018);
    cosine: the same with half a cosine; step: divided by 10 at 1/2 and 3/4; constant.
    """
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "step":
        return config.lr * 0.1 ** ((progress >= 0.5) + (progress >= 0.75))
    if progress < config.warmup:
        return config.lr * max(progress / config.warmup, 0.01)
    rest = (progress - config.warmup) / (1 - config.warmup)
    return config.lr * (1 - rest if config.schedule == "one_cycle" else (1 + math.cos(math.pi * rest)) / 2)
