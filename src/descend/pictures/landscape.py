"""The loss around a run: as a surface over two weights, and the walk that gradient descent makes on it.

Squared error is a quadratic known from its moments, so its surface and the walk cost no look at the
data. Any other loss is evaluated on a sample of at most a thousand rows: a bounded cost, whatever the
data's size, and exact where the sample holds all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from descend.descent.first_order import GradientDescent
from descend.descent.trajectory import Recurrence
from descend.engines.matrix import Array, Float
from descend.objectives.curvatures import Curvatures
from descend.objectives.quadratic import Quadratic
from descend.objectives.sampled import Around
from descend.pictures.film import MAX_FRAMES, Surface

GRID = 33
"""Points along each side of a surface that is not a quadratic."""
FLAT = 1e-10
"""Below this share of the largest a curvature of a Hessian is not walked along."""
FEW_STEPS = 60
"""Of a longer walk in closed form every second step is shown at most."""
MAX_WEIGHTS = 1_024
"""Beyond so many weights the eigenvalues of the Hessian cost too much for a picture."""


@dataclass(frozen=True)
class Walk:
    """What gradient descent does: the weights after `steps` updates at a constant `rate`, and the losses."""

    steps: Float
    weights: Float
    losses: Float
    rate: float


def descended(start: Float, end: Float, hessian: Float, loss_at_end: float) -> Walk | None:
    """Gradient descent from `start` towards the minimum `end` of a quadratic, at its best constant rate.

    That is `2 / (largest + smallest)` curvature; no step is made one after the other (`Recurrence`). It goes on
    until a millionth of the loss to lose is left. Nocedal and Wright, Numerical Optimization, chapter 3. Flat
    directions are not walked. None where there is nothing to walk.

    >>> walk = descended(np.zeros(2), np.array([1.0, 1.0]), np.diag([1.0, 3.0]), 0.5)
    >>> walk.rate, float(walk.losses[0]), walk.weights[1].tolist()
    (0.5, 2.5, [0.5, 1.5])
    """
    curvatures = Curvatures.of_hessian(hessian, FLAT)
    along = np.where(curvatures.values > 0, curvatures.directions.T @ (start - end).ravel(), 0.0)
    rate = 2.0 / (curvatures.largest + curvatures.smallest or 1.0)
    way = Recurrence(curvatures, along, loss_at_end, GradientDescent(rate), rate)
    to_lose = float(way.excess([0])[0])
    last = way.steps_to(1e-6 * to_lose) if to_lose > 0 else None
    if last is None:
        return None
    steps = _steps_to_show(way, last)
    weights = (end.ravel() + way.distances(steps) @ curvatures.directions.T).reshape(len(steps), *end.shape)
    return Walk(steps.astype(np.float64), weights, loss_at_end + way.excess(steps), rate)


def _steps_to_show(way: Recurrence, last: int) -> Array:
    """All step numbers; of many, even ones, between which the best rate swings from side to side of the valley."""
    if last <= FEW_STEPS:
        return np.arange(last + 1)
    fine = 2 * np.unique(np.concatenate([np.arange(100), np.geomspace(100, last // 2, 1_500).round()]))
    fine = fine[fine <= last].astype(np.int64)
    path = way.distances(fine)
    return np.asarray(fine[thin(path, np.ones(path.shape[1]), MAX_FRAMES // 2)])


def thin(weights: Float, scale: Float, frames: int = MAX_FRAMES) -> Array:
    """Which of the weights to show: at most `frames`, evenly spaced in path length, the first and last kept.

    `weights` has shape (rows, size); `scale` multiplies each weight, so that lengths are comparable.

    >>> thin(np.array([[0.0], [1.0], [1.1], [1.2], [3.0]]), np.ones(1), frames=3).tolist()
    [0, 3, 4]
    """
    count = len(weights)
    if count <= frames:
        return np.arange(count)
    length = np.concatenate([[0.0], np.cumsum(_moves(weights.reshape(count, -1), scale))])
    chosen = np.searchsorted(length, np.linspace(0.0, length[-1], frames), side="right") - 1
    chosen = np.unique(np.concatenate([[0], chosen.clip(0, count - 1), [count - 1]]))
    rest = np.setdiff1d(np.arange(count), chosen)
    wanted = min(frames, 100) - len(chosen)
    if wanted > 0 and len(rest):  # a path of few long jumps, a diverged one: some frames evenly in time
        more = rest[np.unique(np.linspace(0, len(rest) - 1, wanted).round().astype(np.int64))]
        chosen = np.union1d(chosen, more)
    return chosen if len(chosen) <= frames else np.append(chosen[: frames - 1], count - 1)


def _moves(path: Float, scale: Float) -> Float:
    """The distance between each row and the next, as a share of the largest weight; row by row, to spare memory."""
    largest = max(np.abs(row[np.isfinite(row)]).max(initial=0.0) for row in path) or 1.0
    moves = np.empty(len(path) - 1)
    before = np.zeros(path.shape[1])
    for i, row in enumerate(path):
        now = (
            np.nan_to_num(row, nan=0.0, posinf=0.0, neginf=0.0) / largest
        )  # a diverged path's squares overflow
        if i:
            moves[i - 1] = np.linalg.norm((now - before) * scale)
        before = now
    return moves


def surface(
    about: Around | None,
    weights: Float,
    losses: Float,
    scale: Float,
    names: tuple[str, ...],
    minimum: Float | None = None,
) -> Surface | None:
    """The loss over the two weights that moved most, the others held at the end of the path, or at its lowest point.

    They are held at the `minimum` where that is given.

    `weights` has shape (frames, *shape), `losses` (frames,) with NaN where unknown, `scale` the standard
    deviation of each weight's column. None where there is one weight, or nothing to evaluate.
    """
    flat = weights.reshape(len(weights), -1)
    frames = _to_show(losses)
    frames = frames[np.isfinite(flat[frames]).all(axis=1)]
    shown = flat[frames]
    if about is None or flat.shape[1] < 2 or not len(shown):
        return None
    moved = (shown.max(axis=0) - shown.min(axis=0)) * scale
    if not moved.any():
        moved = np.abs(flat[-1]) * scale
    pair = np.sort(np.argsort(-moved, kind="stable")[:2])
    grew = losses[-1] > losses[0] or len(shown) < len(flat)
    end = (shown[_lowest(losses[frames])] if grew else shown[-1]).reshape(weights.shape[1:])
    where = "where the loss was lowest" if grew else "at the end"
    if minimum is not None:
        end, where = minimum, "at the minimum"
    note = f"slice through the two weights that moved most, the others {where}" if flat.shape[1] > 2 else ""
    labels = (names[pair[0]], names[pair[1]])
    if about.exact:
        return _bowl(about, end, pair, shown, flat, labels, note, scale)
    if not about.points.whole:
        note = f"{note}; " if note else ""
        note += f"loss of a sample, {about.points.description}"
    end = about.anchor if about.tilted else end
    (left, right), (low, high) = _box(shown[:, pair], end.ravel()[pair], scale[pair])
    values = about.plane(end, pair, np.linspace(left, right, GRID), np.linspace(low, high, GRID))
    found = Surface(labels, (left, right), (low, high), flat[:, pair], values=values, note=note)
    if about.tilted and end.size <= MAX_WEIGHTS:
        hessian = about.hessian(end)[np.ix_(pair, pair)]
        found = replace(found, centre=end.ravel()[pair], hessian=hessian)
    return found


def _bowl(
    about: Quadratic,
    end: Float,
    pair: Array,
    shown: Float,
    flat: Float,
    labels: tuple[str, str],
    note: str,
    scale: Float,
) -> Surface | None:
    """A slice of a quadratic is a quadratic: its centre solves `hessian d = -gradient`."""
    with np.errstate(over="ignore", invalid="ignore"):
        value, gradient = about.value_and_gradient(end)
    hessian = about.hessian(end)[np.ix_(pair, pair)]
    slope = gradient[pair]
    d = -np.linalg.lstsq(hessian, slope, rcond=1e-12)[0]
    floor = value + 0.5 * float(slope @ d)
    if not np.isfinite(floor):
        return None
    centre = end[pair] + d
    box = _box(shown[:, pair], centre, scale[pair])
    return Surface(labels, *box, flat[:, pair], max(floor, 0.0), centre, hessian, note=note)


def _to_show(losses: Float) -> Array:
    """The frames that the surface must hold: all, or those before the loss grew beyond 30 times the start.

    Where losses are below zero, as those of counts may be: before it grew by 29 times what was gained.
    """
    known = np.where(np.isfinite(losses), losses, np.nan)
    start = known[np.isfinite(known)][:1]
    if not len(start):
        return np.arange(len(losses))
    lowest = float(np.nanmin(known))
    limit = 30 * start[0] if lowest >= 0 else start[0] + 29 * max(abs(start[0]), start[0] - lowest)
    beyond = np.flatnonzero(~(np.nan_to_num(known, nan=lowest) <= limit) | np.isinf(losses))
    return np.arange(max(beyond[0], 1) if len(beyond) else len(losses))


def _lowest(losses: Float) -> int:
    """The place of the lowest loss, the last where none is known."""
    return int(np.nanargmin(losses)) if np.isfinite(losses).any() else len(losses) - 1


def _box(path: Float, centre: Float, scale: Float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits that hold a path and show the bowl beyond its end.

    Neither side is shorter than a third of the other in standardised units, or the bowl would be a gutter.
    """
    low = np.minimum(path.min(axis=0), centre)
    high = np.maximum(path.max(axis=0), centre)
    reach = np.maximum(high - centre, centre - low)
    reach = np.where(reach > 0, reach, 0.5 * np.where(centre, np.abs(centre), 1.0))
    least = np.max(reach * scale) / (3.0 * np.where(scale > 0, scale, 1.0))
    reach = np.maximum(reach, least)
    left = np.minimum(low - 0.15 * reach, centre - np.where(reach > least, 0.65, 1.0) * reach)
    right = np.maximum(high + 0.15 * reach, centre + np.where(reach > least, 0.65, 1.0) * reach)
    return (float(left[0]), float(right[0])), (float(left[1]), float(right[1]))
