"""L-BFGS: Newton's method with curvature guessed from the last few gradients.

Ours because a step must be a value that can be kept: scipy's hides its state, so it can neither be
stepped, recorded nor resumed. It is the check in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from descend.descent.first_order import Optimizer, Update
from descend.engines.matrix import Float
from descend.errors import check_whole
from descend.objectives.objective import Objective

SUFFICIENT, CURVATURE = 1e-4, 0.9
"""The constants of the strong Wolfe conditions that suit quasi-Newton steps."""
LEAST = 1e-290
"""Squares of changes of the gradient that are smaller have lost their digits."""


class Pairs(NamedTuple):
    """The state of L-BFGS: the last moves and the changes of the gradient they made, oldest first."""

    moves: tuple[Float, ...] = ()
    changes: tuple[Float, ...] = ()


class Trial(NamedTuple):
    """A point on the line: how far, the loss there, its slope along the line, and its gradient."""

    t: float
    loss: float
    slope: float
    weights: Float
    gradient: Float


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """`w = w - t H g`, with `H` the inverse Hessian that the last `memory` steps suggest.

    `memory` is a whole number of at least 1; raises `DescendError` for another.

    `H g` by the two-loop recursion (Nocedal, 1980); t by a line search for the strong Wolfe
    conditions (Nocedal and Wright, Numerical Optimization, algorithms 3.5, 3.6 and 7.5).

    >>> objective = Objective.of(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1]), loss="logistic")
    >>> lbfgs, w = LBFGS(), np.zeros(2)
    >>> state = lbfgs.init(w)
    >>> for _ in range(12):
    ...     w, state, *_ = lbfgs.step(objective, w, state)
    >>> round(objective.value(w), 6)
    0.586872
    """

    memory: int = 10
    name: ClassVar[str] = "lbfgs"

    def __post_init__(self) -> None:
        check_whole("memory", self.memory)

    def init(self, w: Float) -> Pairs:
        """No pairs yet."""
        return Pairs()

    def step(self, objective: Objective, w: Float, state: Pairs) -> Update:
        loss, gradient = objective.value_and_gradient(w)
        direction = -two_loop(gradient, state)
        slope = float(np.vdot(gradient, direction))
        if slope >= 0:  # rounding has spoilt the pairs: forget them
            state, direction = Pairs(), -gradient
            slope = -float(np.vdot(gradient, gradient))
        here = Trial(0.0, loss, slope, w, gradient)
        first = 1.0 if state.moves else min(1.0, 1.0 / (float(np.linalg.norm(gradient)) or 1.0))
        there = wolfe_search(objective, here, direction, first)
        if there is None:
            return Update(w, state, 0.0, stalled=True) if not state.moves else Update(w, Pairs(), 0.0)
        move, change = there.weights - w, there.gradient - gradient
        bent = float(np.vdot(change, change))
        if bent > LEAST and float(np.vdot(move, change)) > 1e-16 * bent:
            keep = self.memory - 1
            moves, changes = state.moves[-keep:] if keep else (), state.changes[-keep:] if keep else ()
            state = Pairs((*moves, move), (*changes, change))
        return Update(there.weights, state, there.t)


def two_loop(gradient: Float, pairs: Pairs) -> Float:
    """`H g` from the pairs, `H` starting as `(s'y / y'y) I` of the newest."""
    q, alphas = gradient.copy(), []
    both = list(zip(pairs.moves, pairs.changes, strict=True))
    for s, y in reversed(both):
        alpha = float(np.vdot(s, q)) / float(np.vdot(s, y))
        q -= alpha * y
        alphas.append(alpha)
    if both:
        s, y = both[-1]
        q *= float(np.vdot(s, y)) / float(np.vdot(y, y))
    for (s, y), alpha in zip(both, reversed(alphas), strict=True):
        q += (alpha - float(np.vdot(y, q)) / float(np.vdot(s, y))) * s
    return q


def wolfe_search(objective: Objective, here: Trial, direction: Float, t: float) -> Trial | None:
    """A point along `direction` that meets the strong Wolfe conditions, None where rounding hides them all."""

    def trial(t: float) -> Trial:
        weights = here.weights + t * direction
        loss, gradient = objective.value_and_gradient(weights)
        return Trial(t, loss, float(np.vdot(gradient, direction)), weights, gradient)

    previous, close = here, 1e-15 * objective.magnitude(here.loss)
    for _ in range(30):
        at = trial(t)
        if not _decreases(here, at, close) or (previous.t > 0 and at.loss >= previous.loss):
            return _zoom(trial, here, previous, at, close)
        if abs(at.slope) <= CURVATURE * abs(here.slope):
            return at
        if at.slope >= 0:
            return _zoom(trial, here, at, previous, close)
        previous, t = at, 2.0 * t
    return previous


def _zoom(
    trial: Callable[[float], Trial], here: Trial, low: Trial, high: Trial, close: float
) -> Trial | None:
    """Shrink the bracket between the better end `low` and `high`, by cubic interpolation."""
    for _ in range(40):
        at = trial(_between(low, high))
        if not _decreases(here, at, close) or at.loss >= low.loss:
            high = at
        else:
            if abs(at.slope) <= CURVATURE * abs(here.slope):
                return at
            if at.slope * (high.t - low.t) >= 0:
                high = low
            low = at
        if abs(high.t - low.t) <= 1e-12 * max(abs(low.t), abs(high.t)):
            break
    return low if low.t > 0 and low.loss < here.loss else None


def _decreases(here: Trial, at: Trial, close: float) -> bool:
    """The sufficient decrease; where losses are too `close` to tell, the slope decides (Hager and Zhang, 2005)."""
    if at.loss <= here.loss + SUFFICIENT * at.t * here.slope:
        return True
    return at.loss <= here.loss + close and (2 * SUFFICIENT - 1) * here.slope >= at.slope


def _between(low: Trial, high: Trial) -> float:
    """The minimum of the cubic through both ends, kept off the ends; their middle where there is none."""
    middle, width = 0.5 * (low.t + high.t), high.t - low.t
    if not np.isfinite(high.loss):
        return low.t + 0.1 * width
    d1 = low.slope + high.slope - 3.0 * (high.loss - low.loss) / width
    inside = d1 * d1 - low.slope * high.slope
    if inside < 0:
        return middle
    d2 = np.copysign(np.sqrt(inside), width)
    bottom = high.slope - low.slope + 2.0 * d2
    if bottom == 0:
        return middle
    t = high.t - width * (high.slope + d2 - d1) / bottom
    edge = 0.1 * abs(width)
    return float(np.clip(t, min(low.t, high.t) + edge, max(low.t, high.t) - edge))
