"""Adversarial training as most repositories write it: the yardstick of the training benchmark, and a correct trainer.

Costs, in units of one forward, one input-gradient or one weight-gradient pass of the network, with k attack steps:

    attack              3 k   each `backward()` fills the gradients of the weights, too, which nobody reads
    clean forward       1     for the printed accuracy
    attacked forward    1     for the printed robust accuracy
    training pass       3
                        3 k + 5

The ideal is 2 k + 3.  Batches are NCHW and are read back (`.item()`) in every step; crops and flips are made an
image at a time by a `DataLoader`.  It has no worker processes: on a few cores they would take the network's, and
they start anew in every epoch.
"""
import math

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from helpers import models
from helpers.training.parts import learning_rate


class Images(Dataset):
    """Training images as float (C, H, W) in [0, 1], cropped and mirrored one at a time."""

    def __init__(self, x, y, augment):
        self.x, self.y, self.augment = x, y, augment

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        image = self.x[index]
        if self.augment:
            height, width = image.shape[1:]
            padded = F.pad(image, (4, 4, 4, 4))
            top, left = torch.randint(9, (2,)).tolist()
            image = padded[:, top:top + height, left:left + width]
        if self.augment is True and torch.rand(()) < 0.5:
            image = image.flip(2)
        return image.float() / 255, int(self.y[index])


def plain_pgd(model, x, y, loss, *, eps, step_size, steps, random_start=True):
    """PGD in L-inf with `backward()`; the model is used in the mode in which it is.

    Parameters
    ----------
    x : float Tensor (N, C, H, W) in [0, 1]; y : LongTensor (N,)
    loss : callable (logits, labels) -> scalar or (N,)
    eps, step_size : float, in [0, 1]

    Returns
    -------
    Tensor like `x`
    """
    adversarial = x.clone().detach()
    if random_start:
        adversarial = (adversarial + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(steps):
        adversarial = adversarial.clone().detach().requires_grad_(True)
        loss(model(adversarial), y).mean().backward()
        adversarial = adversarial.detach() + step_size * adversarial.grad.sign()
        adversarial = torch.clamp(x + torch.clamp(adversarial - x, -eps, eps), 0, 1)
    return adversarial.detach()


def plain_wasserstein(cost, p, lam):
    """Eq. (5) spelled out: cost ``C[y]^p . q`` minus ``H(q) / (lam log K)``, with q the softmax.

    Parameters
    ----------
    cost : Tensor (K, K), largest entry 1
    """
    def loss(logits, labels):
        q = F.softmax(logits, dim=1)
        entropy = -(q * F.log_softmax(logits, dim=1)).sum(dim=1)
        power = torch.where(cost == 0, 0, cost ** p).to(logits)
        return (power[labels] * q).sum(dim=1) - entropy / (lam * math.log(logits.shape[1]))
    return loss


class PlainTrainer:
    """The usual loop for a `helpers.training.TrainConfig` (L-inf; without weight averaging).

    Parameters
    ----------
    config : TrainConfig with method "pgd" or "wpgd"
    dataset : helpers.data.Dataset
    indices : LongTensor, the training part
    cost : (K, K) Tensor with largest entry 1, for "wpgd"
    """

    def __init__(self, config, dataset, indices, cost=None, device="cpu"):
        self.config, self.device, self.done = config, torch.device(device), 0
        torch.manual_seed(config.seed)
        self.model = models.build(config.network, dataset.num_classes, dataset.in_channels, dataset.mean, dataset.std)
        self.model.to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=config.lr, momentum=config.momentum,
                                         nesterov=config.momentum > 0, weight_decay=config.weight_decay)
        images = Images(dataset.x_train[indices], dataset.y_train[indices], config.augment)
        self.loader = DataLoader(images, min(config.batch_size, len(images)), shuffle=True, drop_last=True)
        self.loss = plain_wasserstein(cost, config.p, config.lam) if config.method == "wpgd" else F.cross_entropy

    def epoch(self):
        """Pass once over the images; returns mean loss, accuracy and robust accuracy of the training batches."""
        totals, count = [0.0, 0.0, 0.0], 0
        for index, (x, y) in enumerate(self.loader):
            x, y = x.to(self.device), y.to(self.device)
            rate = learning_rate(self.config, (self.done + index / len(self.loader)) / self.config.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                values = self._step(x, y)
            totals = [total + value for total, value in zip(totals, values)]
            count += 1
        self.done += 1
        return [total / count for total in totals]

    def _step(self, x, y):
        config = self.config
        self.model.eval()
        adversarial = plain_pgd(self.model, x, y, self.loss, eps=config.eps / 255, step_size=config.step_size / 255,
                                steps=config.steps, random_start=config.random_start)
        with torch.no_grad():
            clean = (self.model(x).argmax(dim=1) == y).float().mean().item()
            robust = (self.model(adversarial).argmax(dim=1) == y).float().mean().item()
        self.model.train()
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(adversarial), y)
        loss.backward()
        self.optimizer.step()
        return loss.item(), clean, robust


def plain_train(config, dataset, indices, cost=None, device="cpu"):
    """Train by the usual loop; parameters as `PlainTrainer`.  Returns the model, in eval mode."""
    trainer = PlainTrainer(config, dataset, indices, cost, device)
    for _ in range(config.epochs):
        trainer.epoch()
    return trainer.model.eval()
