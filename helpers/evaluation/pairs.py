"""Two-class problems over several seeds: the curves and the errors of Fig. 5."""

import numpy as np

from .cached import evaluate_run


def seed_band(runs, column="val_ne"):
    """Return a column of the training histories: mean, lowest and highest over seeds, an entry an epoch.

    Parameters
    ----------
    runs : sequence of Run
        They differ in nothing but the seed.
    column : str
        Of `Run.history`.

    Returns
    -------
    dict
        x (epochs), y (mean), low, high: a series of `plotting.curves`.

    Raises
    ------
    ValueError
        For no run, or runs validated after different epochs.
    """
    histories = [run.history for run in runs]
    if len({tuple(history["epoch"]) for history in histories}) != 1:
        raise ValueError(f"{len(histories)} runs were not validated after the same epochs: they make no band.")
    values = np.stack([history[column].to_numpy(dtype=float) for history in histories])
    return {"x": histories[0]["epoch"].tolist(), "y": values.mean(axis=0).tolist(),
            "low": values.min(axis=0).tolist(), "high": values.max(axis=0).tolist()}


def pair_errors(run, tolerance=5.0):
    """Return what Sec. 3.2 asks about a two-class run: errors, those of each class, time spent at chance.

    Parameters
    ----------
    run : Run
        Of a pair of classes; test and validation images are balanced.
    tolerance : float
        Points of % around 50 % that count as chance.

    Returns
    -------
    dict
        train_images; train_loss (last epoch); val_ne, val_ae (last epoch) and val_best (lowest val_ne of all
        epochs), test_ne, test_first, test_second (error within each class), in %; epochs_at_chance.

    Raises
    ------
    ValueError
        If the run has more than two classes.
    """
    if run.dataset.num_classes != 2:
        raise ValueError(f"{run.config.label} has {run.dataset.num_classes} classes, a pair has two.")
    natural, history = evaluate_run(run), run.history
    first, second = natural.class_error
    return {"train_images": run.metrics["train_images"], "train_loss": run.metrics["train_loss"],
            "val_ne": run.metrics["val_ne"], "val_best": float(history["val_ne"].min()),
            "val_ae": run.metrics["val_ae"], "test_ne": natural.error, "test_first": first, "test_second": second,
            "epochs_at_chance": int((history["val_ne"] - 50).abs().le(tolerance).sum())}
