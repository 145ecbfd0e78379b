"""Tables and intervals over seeds: one row a setting, each number with its interval."""

import numpy as np

from helpers.claims import Interval, format_interval, interval_over_seeds


def seed_table(frame, by, seed="seed"):
    """Summarise a table with one row a run into one row a setting.

    Parameters
    ----------
    frame : DataFrame
        A row a run: the columns ``by``, the seed, and numbers.
    by : list of str
        The columns that name a setting; their order of appearance is kept.
    seed : str
        The column that tells a setting's runs apart; it becomes ``seeds``, their number.

    Returns
    -------
    DataFrame
        ``by``, ``seeds``, and for each number x its mean ``x`` and the ends of `claims.interval_over_seeds`,
        ``x_low`` and ``x_high``.

    Raises
    ------
    ValueError
        If a setting has the same seed twice.
    """
    import pandas as pd

    if frame.duplicated([*by, seed]).any():
        raise ValueError(f"A setting ({', '.join(by)}) has the same {seed} twice; name what tells the rows apart.")
    rows = []
    for setting, runs in frame.groupby(by, sort=False, dropna=False):
        row = {**dict(zip(by, setting, strict=True)), "seeds": len(runs)}
        for name in runs.columns.difference([*by, seed], sort=False):
            row[name], row[f"{name}_low"], row[f"{name}_high"] = interval_over_seeds(runs[name])
        rows.append(row)
    return pd.DataFrame(rows)


def with_intervals(frame):
    """A table as a reader wants it: x, x_low and x_high become one column of texts "x [low, high]".

    Parameters
    ----------
    frame : DataFrame
        Such as `seed_table` returns; columns without ends stay as they are.
    """
    shown = frame.copy()
    for name in [name for name in frame if {f"{name}_low", f"{name}_high"} <= set(frame)]:
        ends = zip(frame[name], frame[f"{name}_low"].astype(float), frame[f"{name}_high"].astype(float), strict=True)
        shown[name] = [format_interval(*numbers) for numbers in ends]
        shown = shown.drop(columns=[f"{name}_low", f"{name}_high"])
    return shown


def seeds_and_images(*terms, samples=1000, seed=0, confidence=0.95):
    """The mean over seeds and test images of a sum of terms, with the wider of two intervals.

    Seeds may agree to the last image and images may be few, so neither interval stands for the other: one is
    `claims.interval_over_seeds` of the mean over images, the other a bootstrap over images of the mean over seeds.
    The result reaches from the lowest of the ends to the highest.

    Parameters
    ----------
    terms : (S, N) arrays
        A row a seed, a column an image, such as 100 where only PGD errs, -100 where only CE does. Each term has
        images of its own, drawn independently; to compare on the same images, subtract before calling.
    samples, seed, confidence
        As in `evaluation.bootstrap_statistic`.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If the terms are no matrices with the same number of rows.
    """
    from helpers.evaluation.bootstrap import bootstrap_values
    from helpers.evaluation.stratified import percentile_interval

    terms = [np.asarray(term, dtype=float) for term in terms]
    if not terms or any(term.ndim != 2 for term in terms) or len({len(term) for term in terms}) > 1:
        raise ValueError("seeds_and_images needs (seeds, images) arrays with the same number of seeds, got shapes "
                         f"{', '.join(str(term.shape) for term in terms) or 'none'}.")
    over_seeds = interval_over_seeds(sum(term.mean(axis=1) for term in terms), confidence)
    drawn = sum(bootstrap_values(np.mean, term.mean(axis=0), samples=samples, seed=seed + index)
                for index, term in enumerate(terms))
    low, high = percentile_interval(drawn, confidence)
    if over_seeds.low is None:
        return Interval(over_seeds.value, low, high)
    return Interval(over_seeds.value, min(low, over_seeds.low), max(high, over_seeds.high))
