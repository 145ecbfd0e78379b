"""Measure the decision boundaries of a 2-d classifier: what Fig. 8 and 9 draw and Sec. 3.4 claims.

The model maps (N, 2) points of the unit square to (N, K) logits. The boundary of a pair of classes (i, j) is the part
of the curve z_i = z_j where i and j have the two largest logits. All lengths are in units of the square's side,
curvatures in its inverse. Geometry is done in float64 on a copy of the model.
"""
import copy

import numpy as np
import torch
from contourpy import contour_generator


def exact(model):
    """A float64 copy of the model in eval mode on the CPU: the original keeps its type, mode and gradients."""
    model = copy.deepcopy(model)
    return model.cpu().double().eval().requires_grad_(False) if isinstance(model, torch.nn.Module) else model


def _logits(model, points):
    """The float64 logits of (N, 2) points as an (N, K) array."""
    points = torch.as_tensor(points, dtype=torch.float64)
    with torch.no_grad():
        try:
            logits = model(points)
        except RuntimeError:  # a function around a network of float32, which `exact` cannot see
            logits = model(points.float())
    if not logits.isfinite().all():
        raise ValueError("the model's logits are not finite on the unit square; did the training diverge?")
    return logits.double().cpu().numpy()


def decision_grid(model, resolution=200):
    """A regular grid over the unit square: its coordinates, (R,), and a model's logits, (R, R, K); [row, column] is
    [y, x], as plotting expects.
    """
    axis = np.linspace(0.0, 1.0, resolution)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return axis, _logits(exact(model), points).reshape(resolution, resolution, -1)


def boundary_segments(model, pair, grid=None):
    """The boundary between two classes as polylines.

    Marching squares finds where the grid's edges cross z_i = z_j, bisection moves each crossing onto the curve, and
    the curve is cut where a third class takes over. A detail smaller than a cell is not seen.

    Parameters
    ----------
    model : callable, (N, 2) points in the unit square -> (N, K) logits
    pair : two classes; a ValueError for others
    grid : of `decision_grid`, optional

    Returns (n, 2) float64 arrays, n >= 2, (x, y) a row: connected pieces, a closed one ends where it starts. None of
    them if the classes do not meet in the square.
    """
    axis, values = grid or decision_grid(model)
    i, j = sorted(pair)
    if not 0 <= i < j < values.shape[-1]:
        raise ValueError(f"a pair must name two classes in 0..{values.shape[-1] - 1}, got {tuple(pair)}.")
    model, pieces = exact(model), []
    for line in contour_generator(axis, axis, values[..., i] - values[..., j]).lines(0.0):
        line = _bisect(model, line, [i, j], len(axis))
        line = line[np.append(True, np.any(np.diff(line, axis=0) != 0, axis=1))]
        if len(line) > 1:
            logits = _logits(model, line)
            others = np.delete(logits, (i, j), axis=1).max(axis=1, initial=-np.inf)
            pieces += _where_on_top(line, logits[:, [i, j]].min(axis=1) - others)
    return pieces


def _bisect(model, line, pair, resolution, steps=40):
    """Move each vertex along its grid edge onto z_i = z_j; linear interpolation would roughen the turning angles."""
    cells = line * (resolution - 1)
    rows, along = np.arange(len(line)), np.abs(cells - np.round(cells)).argmax(axis=1)
    low, high = np.round(cells), np.round(cells)
    low[rows, along], high[rows, along] = np.floor(cells[rows, along]), np.ceil(cells[rows, along])
    low, high = low / (resolution - 1), high / (resolution - 1)
    start = np.sign(np.subtract(*_logits(model, low).T[pair]))
    for _ in range(steps):
        middle = (low + high) / 2
        same = np.sign(np.subtract(*_logits(model, middle).T[pair])) == start
        low[same], high[~same] = middle[same], middle[~same]
    moved = (low + high) / 2
    if np.array_equal(line[0], line[-1]):
        moved[-1] = moved[0]
    return moved


def _where_on_top(line, margin):
    """The pieces of a polyline where margin > 0, cut between vertices by linear interpolation."""
    on_top = margin > 0
    if np.array_equal(line[0], line[-1]):
        # Start a loop where it is hidden, so that no visible piece is cut at an arbitrary start.
        shift = int(np.argmin(on_top))
        order = np.append(np.roll(np.arange(len(line) - 1), -shift), shift)
        line, margin, on_top = line[order], margin[order], on_top[order]
    flips = 1 + np.flatnonzero(on_top[1:] != on_top[:-1])
    share = margin[flips - 1] / (margin[flips - 1] - margin[flips])
    cuts = line[flips - 1] + share[:, None] * (line[flips] - line[flips - 1])
    runs = np.split(line, flips)  # visible and hidden in turn, cuts[k] lies between runs k and k + 1
    pieces = [np.concatenate([cuts[max(k - 1, 0) : k], runs[k], cuts[k : k + 1]])
              for k in range(0 if on_top[0] else 1, len(runs), 2)]
    return [piece for piece in pieces if len(piece) > 1]


def length(segments):
    """The total length of a pair's boundary, 0.0 if it has none."""
    return float(sum(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in segments))


def curvature(segments, spacing=0.02):
    """The mean absolute curvature of a pair's boundary, weighted by arc length.

    The turning angles between chords of at least `spacing`, summed and divided by the length that they cover: 1/r for
    a circle of radius r, 0 for a line, and defined for the polygons of a ReLU network, whose curvature sits in corners.
    Smaller bends are not seen. NaN without a boundary, or if every piece is shorter than two chords.
    """
    turning = covered = 0.0
    for line in segments:
        closed = len(line) > 3 and np.array_equal(line[0], line[-1])
        chords = np.diff(_thin(line, spacing), axis=0)
        if closed:
            chords = np.append(chords, chords[:1], axis=0)
        sizes = np.linalg.norm(chords, axis=1)
        before, after = chords[:-1], chords[1:]
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        turning += np.abs(np.arctan2(cross, (before * after).sum(axis=1))).sum()
        covered += (sizes[:-1] + sizes[1:]).sum() / 2
    return float(turning / covered) if covered > 0 else float("nan")


def _thin(line, spacing):
    """The vertices that are at least `spacing` from the one kept before, and always both ends."""
    kept = [0]
    for k in range(1, len(line)):
        if np.linalg.norm(line[k] - line[kept[-1]]) >= spacing:
            kept.append(k)
    if kept[-1] != len(line) - 1:  # so short a last chord has no reliable direction: merge it
        kept = [*(kept[:-1] or kept), len(line) - 1]
    return line[kept]


def distance(points, segments):
    """The Euclidean distance of each of (N, 2) points to a pair's boundary, (N,); infinite without one."""
    points, nearest = np.asarray(points), np.full(len(points), np.inf)
    for line in segments:
        start, step = line[:-1], np.diff(line, axis=0)
        offset = points[:, None] - start
        square = np.maximum((step**2).sum(axis=1), np.finfo(float).tiny)
        share = np.clip((offset * step).sum(axis=2) / square, 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(offset - share[..., None] * step, axis=2).min(axis=1))
    return nearest
