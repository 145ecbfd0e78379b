"""Measure a classifier: what it answers to clean and attacked images, and what it costs that it errs (Eq. 7).

`evaluate` measures any model; `evaluate_run` measures a trained run and keeps the answer beside it.
"""
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from helpers import answers
from helpers.allocator import keep_freed_memory
from helpers.answers import EVALUATION_VERSION, Evaluation
from helpers.attacks import PGD, in_eval_mode, in_format_of, tell_zero_gradients
from helpers.checks import as_images, as_labels, as_logits, as_matrix
from helpers.costs.matrix import as_cost
from helpers.data import stratified_subset
from helpers.provenance import OtherSourceWarning, same_source, source_digest

BATCH, CPU_ATTACK_BATCH = 500, 125  # on a CPU, activations of larger batches leave the cache: a quarter slower


def evaluate(model, images, labels, attack=None, *, batch_size=None, allow_absent=False):
    """The answers of a model to clean or attacked images, an `Evaluation`: eval mode, float32, no autocast.

    Parameters
    ----------
    model : nn.Module or callable, images (N, ...) in [0, 1] -> logits (N, K); left as it was found
    images : (N, ...) tensor or array, uint8 or floats in [0, 1]
    labels : (N,) integers in 0..K-1
    attack : callable (model, x, y) -> x_adv, called a batch at a time with gradients enabled; None: natural images
    batch_size : int, default 500, and 125 for an attack on a CPU; it decides which random start an image gets
    allow_absent : bool, accept a set that lacks a class; its row of the confusion matrix is NaN

    Raises
    ------
    ValueError
        For an empty set, images outside [0, 1] or of an integer type other than uint8, labels outside 0..K-1, a class
        without any image, an attack that leaves [0, 1], and logits that are not finite.
    """
    # One image first, and the labels as answers: bad labels and an absent class are found before the attack starts.
    num_classes = predict_logits(model, images[:1]).shape[1]
    labels = as_labels(labels, len(images), num_classes)
    Evaluation(labels, labels, num_classes, allow_absent=allow_absent)
    start, counts, stuck = time.perf_counter(), isinstance(attack, PGD), []
    attack = partial(attack, stuck=stuck) if counts else attack
    predictions = predict_logits(model, images, labels, attack, batch_size=batch_size).argmax(dim=1)
    return _told(Evaluation(labels, predictions, num_classes, time.perf_counter() - start, allow_absent,
                            min(int(sum(stuck)), len(labels)) if counts else None))


def evaluate_run(run, attack=None, *, split="test", limit=None, batch_size=None, allow_absent=False):
    """Evaluate `run.model` on a split of `run.dataset`, or find the answer of an earlier call beside the run.

    An answer's key hashes the attack's `describe()`, the split, the limit, the images and labels, and the model's
    weights, so that a changed model or data set is evaluated afresh; so is what is damaged, or was answered by other
    source than today's (`helpers.provenance.same_source`). The batch size is not hashed: a machine may choose its own.
    `seconds` are those of the original computation.

    Parameters and errors as `evaluate`, but for:
    run : Run, with .model, .dataset (x_test, y_test), .validation (images, labels) and .folder; where
        .model is None, an exported run without weights, a ValueError says so if this answer was not exported
    attack : its `describe()` must return a dict of plain JSON types; without that method, or where it returns None (PGD
        on a loss of your own), nothing is kept
    split : "test" or "validation"
    limit : int, evaluate a fixed class-stratified subset of this many images
    """
    if split not in ("test", "validation"):
        raise ValueError(f'split must be "test" or "validation", got {split!r}.')
    classes = getattr(getattr(run, "dataset", None), "classes", None)
    description = attack.describe() if hasattr(attack, "describe") else None
    is_kept, made_by = attack is None or description is not None, (run.model, attack, getattr(attack, "loss", None))
    about = {"version": EVALUATION_VERSION, "attack": description, "split": split, "limit": limit}
    if run.model is not None:
        images, labels = (run.dataset.x_test, run.dataset.y_test) if split == "test" else run.validation
        chosen = torch.from_numpy(stratified_subset(labels, limit))
        images, labels = torch.as_tensor(images)[chosen], torch.as_tensor(labels)[chosen]
        about |= {"images": answers.fingerprint([images, labels]), "weights": answers.weights_fingerprint(run.model)}
    found, source = answers.find(run.folder, about) if is_kept else (None, None)
    name, valid = Path(run.folder).name, found and same_source(source, "evaluation", *made_by)
    if run.model is None and not found:
        asked = about if is_kept else "an attack without description"
        raise ValueError(f"{name} was exported without weights, and its answers.npz holds no answer to {asked}: train "
                         "the run, or ask for what `helpers.answers.kept` lists.")
    if run.model is None and not valid:
        warnings.warn(f"{name}: its answers were given by other code than today's, and without weights it cannot be "
                      "asked again", OtherSourceWarning, stacklevel=2)
    if run.model is None or valid:
        return _told(found, classes)
    size = _batch_size(run.model, images, attack, batch_size)
    found = evaluate(run.model, images, labels, attack, batch_size=size, allow_absent=allow_absent)
    if is_kept:
        about |= {"batch_size": size, "source": source_digest("evaluation", *made_by)}
        answers.keep(run.folder, about, found)
    return replace(found, classes=classes)


def _told(found, classes=None):
    """An Evaluation; of images without a gradient a warning tells each time, also when the answer was kept."""
    tell_zero_gradients(found.zero_gradients, len(found.labels))
    return replace(found, classes=classes) if classes else found


def predict_logits(model, images, labels=None, attack=None, *, batch_size=None):
    """The logits of clean or attacked images, (N, K) float32 on the CPU; only an attack needs the labels."""
    images = as_images(images)
    if attack is not None and labels is None:
        raise ValueError("an attack needs the labels; pass labels as well.")
    labels = None if labels is None else as_labels(labels, len(images))
    logits = _forward(lambda x: as_logits(model(x)), model, images, labels, attack, batch_size)
    if len(logits) != len(images):
        raise ValueError("the model must return logits (N, K), and an attack images like its own; got logits "
                         f"{tuple(logits.shape)} for N = {len(images)}.")
    if not torch.isfinite(logits).all():
        row = (~torch.isfinite(logits)).any(dim=1).nonzero()[0].item()
        raise ValueError(f"logits must be finite, but row {row} holds NaN or infinity; did the training diverge "
                         "(try a smaller learning rate)?")
    return logits


def features(model, images, *, batch_size=None):
    """`model.features(x)`, the input of the last linear layer (Sec. 3.3, Fig. 6), as an (N, D) float32 array."""
    return _forward(model.features, model, as_images(images), batch_size=batch_size).flatten(1).numpy()


def confusion_matrix(model, images, labels, attack=None, **options):
    """The (K, K) confusion matrix of `evaluate`, whose `options` these are; rows are true classes and sum to 1."""
    return evaluate(model, images, labels, attack, **options).confusion


def weighted_score(cost, confusion):
    """S = sum_ij c_ij m_ij, Eq. (7): the mean cost of an answer, summed over the true classes.

    The paper prints S minus that of a PGD-trained model; this is S itself.

    Parameters
    ----------
    cost : CostMatrix or (K, K) array, scaled to a maximum of 1 first, so that 0 <= S <= K for any metric
    confusion : Evaluation, row-normalised (K, K) array M or DataFrame, or `intervals.Resample` (then S is an array);
        the paper takes it under the attack that maximises Eq. (5). Where it and the cost name their classes (a
        DataFrame, an answer of `evaluate_run`), they are matched by name
    """
    cost, confusion = _by_class(cost, confusion)
    return (cost / cost.max() * confusion).sum(axis=(-2, -1))


def _by_class(cost, confusion):
    """The values of both, (K, K) and (K, K) or (S, K, K), by the names of the classes where both have some."""
    classes = getattr(confusion, "classes", None)
    if hasattr(confusion, "columns"):
        classes = [str(name) for name in confusion.index]
        confusion = confusion.set_axis(confusion.columns.map(str), axis=1).reindex(columns=classes)
    confusion = as_matrix(getattr(confusion, "confusion", confusion), "confusion matrix")
    if confusion.min() < 0 or not np.allclose(confusion.sum(axis=-1), 1.0, atol=1e-6):
        raise ValueError("the confusion matrix must be row-normalised (entries >= 0, rows that sum to 1): divide "
                         "counts by their row sum.")
    return as_cost(cost, confusion.shape[-1], classes), confusion


def mean_error_cost(cost, confusion):
    """The mean cost of an error, S / (K * AE), in [0, 1]: Eq. (7) without the number of errors in it.

    S falls when errors become fewer and when they become cheaper; this only when they become cheaper. Parameters
    and result are those of `weighted_score`; NaN where there is no error.
    """
    cost, confusion = _by_class(cost, confusion)
    score, errors = ((one / one.max() * confusion).sum(axis=(-2, -1)) for one in (cost, 1.0 - np.eye(len(cost))))
    return np.divide(score, errors, out=np.full(score.shape, np.nan), where=errors > 1e-12)[()]


class CostSensitive(torch.nn.Module):
    """A trained model that decides by cost instead of by the largest logit: ``argmin_k sum_j softmax(z)_j C[j, k]``.

    No training is needed (Karthik et al., "No cost likelihood manipulation at test time", ICLR 2021, call it CRM). It
    returns the negative logarithms of the expected costs, (N, K), for logits; the attack that knows the rule is
    therefore PGD on `losses.margin_loss`, which then raises ``risk[y] / min over j != y of risk[j]``. The logarithm
    leaves a sure network, whose expected costs are 0 and 1 to a float, a gradient.

    Parameters
    ----------
    model : nn.Module, images -> logits (N, K)
    cost : CostMatrix or (K, K) array, row the true class; scaled to a maximum of 1
    """

    def __init__(self, model, cost):
        super().__init__()
        self.model, values = model, as_cost(cost, len(cost))
        self.register_buffer("log_cost", torch.tensor(values / values.max(), dtype=torch.float32).log())

    def forward(self, x):
        log_q = self.model(x).to(torch.promote_types(x.dtype, torch.float32)).log_softmax(dim=1)
        return -torch.logsumexp(log_q[:, :, None] + self.log_cost.to(log_q), dim=1).clamp(min=-1e30)  # if free: -inf


def _placement(model, images):
    """The device and float type that the model's parameters ask for; float32 without parameters."""
    first = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
    if first is None:
        return images.device, torch.float32
    if first.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the model has {first.dtype} parameters; errors are reported in float32: call model.float().")
    return first.device, first.dtype


def _batch_size(model, images, attack, batch_size):
    if batch_size is None:
        on_cpu = _placement(model, images)[0].type == "cpu"
        return CPU_ATTACK_BATCH if attack is not None and on_cpu else BATCH
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    return batch_size


def _forward(function, model, images, labels=None, attack=None, batch_size=None):
    """function(x) of all batches, on the CPU: eval mode, full precision, no gradients."""
    keep_freed_memory()
    outputs, size = [], _batch_size(model, images, attack, batch_size)
    device, dtype = _placement(model, images)
    # cuDNN would otherwise round the factors of a convolution to 10 bits on recent GPUs.
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
    with in_eval_mode(model), torch.autocast(device.type, enabled=False), exact:
        for start in range(0, len(images), size):
            x = images[start : start + size].to(device)
            x = x.to(dtype) / 255 if x.dtype == torch.uint8 else x.to(dtype)
            if attack is not None:
                with torch.enable_grad():
                    x = attack(model, x, labels[start : start + size].to(device)).detach()
                if not (x.min() >= -1e-6 and x.max() <= 1 + 1e-6):
                    raise ValueError("the attack returned pixels outside [0, 1]; clamp them to that range.")
            with torch.inference_mode():
                outputs.append(function(in_format_of(model, x)).float().cpu())
    return torch.cat(outputs)  # outside inference mode: a tensor made inside would refuse autograd later on
