"""Adversarial training: images a second of a whole epoch, data included, beside the usual loop and robustness."""
import torch

from benchmarks import attackers, synthetic
from benchmarks.plain import PlainTrainer
from benchmarks.timing import Contender, Task, measure, rows_of
from benchmarks.workers import Workers
from helpers import models
from helpers.allocator import keep_freed_memory
from helpers.training.launch import fast_precision

NAME = "training"
# Network, attack steps, images of an epoch, batch, side.
CASES = {"smoke": (("W-10-1", 2, 16, 8, 16),),
         "cpu": (("W-16-1", 8, 640, 128, 32), ("W-16-1", 2, 640, 128, 32)),
         "cuda": (("W-16-1", 8, 20480, 1024, 32), ("W-16-10", 8, 1280, 128, 32), ("W-28-10", 8, 1280, 128, 32))}
BUDGET = 120  # seconds that the rounds of a case may take once three are done


def ours(device, compiled=False, **settings):
    """A `Task`: an epoch of `helpers.training`; settings as `synthetic.job`."""
    from accelerate import Accelerator

    from helpers.training.loop import Trainer
    keep_freed_memory()
    trainer = Trainer(synthetic.job(**settings), Accelerator(cpu=device == "cpu"), compiled)
    if compiled and not trainer.compiled:
        # It goes on without; timed under this name it would pass for compiled.
        raise RuntimeError("torch.compile failed")
    facts = {"compile_seconds": trainer.compile_seconds} if compiled else {}
    return Task(trainer.run_epoch, work=settings["images"], facts=lambda: facts)


def plain(device, **settings):
    """A `Task`: an epoch of the loop in `benchmarks.plain`."""
    job = synthetic.job(**settings)
    trainer = PlainTrainer(job.config, job.dataset, job.parts.train, job.cost, device)
    return Task(trainer.epoch, work=settings["images"])


def robustness(device, **settings):
    """A `Task`: an epoch of the trainer of MadryLab's robustness, over the plain loop's DataLoader.

    It prints the accuracy on the attacked images only, and its attack asks for no weight gradients: 2 k + 4 units.
    """
    job = synthetic.job(**settings)
    config = job.config
    network = models.build(config.network, job.dataset.num_classes, job.dataset.in_channels)
    model = attackers.attacker_model(network, job.dataset.in_channels, device)
    # After attacker_model, which makes torchvision importable where it is not.
    from cox.utils import Parameters
    from robustness.train import _model_loop
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=config.momentum,
                                weight_decay=config.weight_decay)
    loader = PlainTrainer(config, job.dataset, job.parts.train, device=device).loader
    arguments = Parameters({"eps": synthetic.EPS, "attack_lr": synthetic.STEP, "attack_steps": config.steps,
                            "constraint": "inf", "random_start": True, "random_restarts": 0, "use_best": False,
                            "mixed_precision": False, "custom_eps_multiplier": None})
    moved = _OnDevice(loader, device)
    return Task(lambda: _model_loop(arguments, "train", moved, model, optimizer, 0, True, None),
                work=settings["images"])


class _OnDevice:
    """A loader whose images are on the device: robustness leaves that to DataParallel, which one device needs not."""

    def __init__(self, loader, device):
        self.loader, self.device = loader, device

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        return ((x.to(self.device), y) for x, y in self.loader)


def rows(scale, rounds, device):
    """Yield lists of rows, one a network and number of steps: epochs of the contenders, in images/s."""
    with Workers([contender.name for contender in _contenders(scale, device, {})], device) as workers:
        for network, steps, images, batch_size, side in CASES["smoke" if scale == "smoke" else device]:
            settings = {"network": network, "images": images, "batch_size": batch_size, "steps": steps, "side": side}
            timings = measure(workers, _contenders(scale, device, settings), rounds, BUDGET)
            yield rows_of(NAME, f"{network} PGD-{steps} batch {batch_size}", timings, "ours", "images/s")


def _contenders(scale, device, settings):
    mixed = {**settings, "precision": "bf16"}
    usual = [Contender("plain loop", plain, settings, "peer", "3 k + 5 units"),
             Contender("robustness", robustness, settings, "peer", "use_best=False")]
    if device == "cuda":
        return [Contender("ours", ours, {**mixed, "compiled": True}, "ours", "bf16, compiled"),
                Contender("ours, float32", ours, settings, "variant"),
                *usual, Contender("plain loop, bf16", plain, mixed, "tuned", "autocast added by hand")]
    if scale == "smoke":
        return [Contender("ours", ours, settings), usual[0]]
    native = [Contender("ours, bf16", ours, mixed, "variant", "autocast, as runs of a few minutes"),
              Contender("ours, bf16, compiled", ours, {**mixed, "compiled": True}, "variant", "as longer runs")]
    return [Contender("ours", ours, settings), *(native if fast_precision() == "bf16" else []),
            Contender("ours, compiled", ours, {**settings, "compiled": True}, "variant", "torch.compile"), *usual]
