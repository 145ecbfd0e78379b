"""What training repeats: attack a batch, learn from it, average the weights (Eq. 1, 2 and 6).

With k attack steps, a step costs 2 k + 3 passes (forward, gradient of the input, gradient of the weights): the network
is frozen during the attack, nothing is computed twice, and no step waits for a number that only a person would read.
"""
import math
import time
from dataclasses import dataclass
from functools import partial

import torch

from helpers import attacks, data, losses
from helpers.training.compiling import worthwhile


@dataclass
class State:
    """All that changes while training; what a checkpoint holds."""

    model: torch.nn.Module
    average: torch.nn.Module | None
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    noise: torch.Generator
    rows: list
    epoch: int = 0
    seconds: float = 0.0

    @property
    def result(self):
        """The network that is validated and kept: the average of the weights if there is one."""
        return self.average or self.model


class Trainer:
    """Epochs of training, with everything that a step needs at hand.

    Parameters
    ----------
    job : helpers.training.loop.Job
    state : State, changed by every epoch
    accelerator : accelerate.Accelerator
    compile : bool, "auto" or a mode of `torch.compile`, run the network through it; "auto" asks `compiling.worthwhile`

    Attributes
    ----------
    compiled : bool
    warmup_seconds : float, what compiling took; no part of the training's seconds
    """

    def __init__(self, job, state, accelerator, compile="auto"):
        config, device = job.config, accelerator.device
        self.job, self.state, self.accelerator = job, state, accelerator
        train = job.parts.train
        self.batches = data.Augment(job.dataset.x_train[train].to(device), 4 if config.augment else 0,
                                    flip=config.augment is True)
        self.labels = job.dataset.y_train[train].to(device)
        self.ready, state.optimizer = accelerator.prepare(state.model, state.optimizer)
        self.network = state.model
        self.attack = inner_attack(job, state)
        self.size = max(1, min(config.batch_size, len(train)) // accelerator.num_processes)
        self.share = (accelerator.process_index, accelerator.num_processes)
        self.compiled, self.warmup_seconds = False, 0.0
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape
        if worthwhile(config, len(train), job.dataset, device) if compile == "auto" else compile:
            self._compile(None if compile in ("auto", True) else compile)

    def epoch(self):
        """Pass once over the training images; returns the mean loss of Eq. (1), (2) or (6)."""
        config, state, total = self.job.config, self.state, 0.0
        state.model.train()
        order = torch.randperm(len(self.labels), generator=state.order)
        # Equally many for each process: one batch more in one of them would wait for the others for ever.
        order = order[:len(order) - len(order) % self.share[1]][self.share[0]::self.share[1]]
        parts = [part for part in order.split(self.size) if len(part) == self.size]
        for index, (images, picked) in enumerate(self.batches.epoch(parts, state.order)):
            rate = learning_rate(config, (state.epoch + index / len(parts)) / config.epochs)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            total += self._step(data.to_float(images), self.labels[picked])
        # Read once: reading it in every step would make every step wait.
        return float(total) / len(parts)

    def _step(self, x, y):
        config, state = self.job.config, self.state
        with autocast(config, x.device):
            if self.attack is not None:
                x = self.attack(self.network, x, y)
            loss = losses.cross_entropy(self.ready(x).float(), y).mean()
        state.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        state.optimizer.step()
        if state.average is not None:
            average(state, config.ema)
        return loss.detach()

    def _compile(self, mode):
        """Compile the graphs of attack and step on the first batch; keep the plain network if that fails."""
        model, began = self.state.model, time.perf_counter()
        network = torch.compile(model, mode=mode)
        noise = torch.Generator(self.labels.device).manual_seed(0)
        sample = self.batches.epoch([torch.arange(self.size)], torch.Generator().manual_seed(0))
        x, y = data.to_float(next(sample)[0]), self.labels[:self.size]
        try:
            with attacks.frozen(model, mode="train"), autocast(self.job.config, x.device):
                # Nested: the outer block puts the statistics of BatchNorm back, which the step below would change.
                if self.attack is not None:
                    self.attack(network, x, y, generator=noise)
                for parameter in model.parameters():
                    parameter.requires_grad_(True)
                loss = losses.cross_entropy(network(x).float(), y).mean()
                torch.autograd.grad(loss, list(model.parameters()))
        except Exception as error:
            # A compiler has a thousand ways to fail, and none of them should cost a reader the run.
            print(f"torch.compile failed ({type(error).__name__}); training goes on without it")
            torch._dynamo.reset()
            return
        self.network, self.compiled = network, True
        # DDP's hooks stay outside of the graph.
        self.ready = network if self.accelerator.num_processes == 1 else self.ready
        self.warmup_seconds = time.perf_counter() - began


def inner_attack(job, state):
    """The inner maximisation: nothing (CE), PGD on the cross entropy (Eq. 2) or on the Wasserstein loss (Eq. 6)."""
    config = job.config
    if config.method == "ce" or config.eps == 0:
        return None
    loss = losses.cross_entropy
    if config.method == "wpgd":
        loss = losses.WassersteinLoss(job.cost, config.p, config.lam)
    return partial(attacks.pgd, loss=lambda logits, labels: loss(logits.float(), labels), eps=config.eps / 255,
                   step_size=config.step_size / 255, steps=config.steps, norm=config.norm,
                   random_start=config.random_start, generator=state.noise, counters=attacks.AttackCounters(),
                   check=False)


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


def autocast(config, device):
    """Context of bf16 where the config asks for it; parameters and BatchNorm statistics stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


@torch.no_grad()
def average(state, decay):
    """Exponential moving average of the weights; BatchNorm's statistics are averages already and are copied."""
    torch._foreach_lerp_(list(state.average.parameters()), list(state.model.parameters()), 1 - decay)
    torch._foreach_copy_(list(state.average.buffers()), list(state.model.buffers()))
