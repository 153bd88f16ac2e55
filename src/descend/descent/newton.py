"""Newton's method, and the minimum that it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from descend.descent.backtracking import UNTOLD
from descend.descent.first_order import Optimizer, Update
from descend.descent.lbfgs import LBFGS, Pairs
from descend.engines.matrix import Float
from descend.objectives.newton_steps import CHANCE, NewtonStep, sampled_step
from descend.objectives.objective import CLOSED_FORM, GRADIENT, HESSIAN, SMOOTH_PENALTY, Objective

CERTAIN, KNOWN = 1e-10, 3e-9
"""Shares of a weight that need no further step and that nobody is told of."""
RISE, ROUGH = 1e-12, 1e-6
"""Losses that differ by no more may be the same, of steps for the last digits; and a share of a weight that none is due to."""


@dataclass(frozen=True)
class Newton(Optimizer):
    """Newton's method, damped: `w = w - t H^-1 g`, t halved until the loss falls enough.

    Where the Hessian is singular (collinear columns, softmax without a penalty) the step is the
    one of minimum norm in units of the curvature of each weight; weights of softmax that have no penalty
    keep their sum over the classes, which changes no probability. Sufficient decrease: Armijo (1966),
    with constant 1e-4; Nocedal and Wright, Numerical Optimization, chapter 3.

    Where a step of a loss that may be straight leads nowhere, one down the gradient takes its place. Where no bound
    of the curvature holds, t is what the parabola through both ends suggests, from a tenth to a half of the last.

    Of very many rows (64 leaves, a million rows of 28 columns) `H` is that of an eighth of them, as long as steps
    of full length at least halve the gradient, which is always that of all rows: a third of the work on the
    way to the same minimum. Roosta-Khorasani and Mahoney, Sub-sampled Newton Methods (2019).

    >>> objective = Objective.of(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1]), loss="logistic")
    >>> newton, w = Newton(), np.zeros(2)
    >>> for _ in range(6):
    ...     w = newton.step(objective, w, None).weights
    >>> value, gradient = objective.value_and_gradient(w)
    >>> round(value, 6), float(np.linalg.norm(gradient)) < 1e-9
    (0.586872, True)
    """

    name: ClassVar[str] = "newton"
    needs: ClassVar[frozenset[str]] = frozenset({GRADIENT, HESSIAN, SMOOTH_PENALTY})

    def init(self, w: Float) -> bool:
        """Whether a sample of the rows may stand for all of them in `H`."""
        return True

    def step(self, objective: Objective, w: Float, state: bool | None) -> Update:
        sampled = sampled_step(objective, w) if state else None
        if sampled is not None:
            before = np.linalg.norm(objective.gradient(w))
            update = self._shortened(objective, w, sampled)
            if (
                update.learning_rate == 1.0
                and np.linalg.norm(objective.gradient(update.weights)) <= 0.5 * before
            ):
                return update._replace(state=True)
        update = Update(w, None, 0.0, stalled=True)
        for step in objective.newton_steps(w):
            update = self._shortened(objective, w, step._replace(move=balanced(objective, step.move)))
            if not update.stalled:
                return update
        return update if objective.loss.curved else self._downhill(objective, w)

    def _downhill(self, objective: Objective, w: Float) -> Update:
        """A step down the gradient, by L-BFGS's line search: for a loss that may be straight where its slope is not 0."""
        update = LBFGS(1).step(objective, w, Pairs())
        return update._replace(state=None)

    def _shortened(self, objective: Objective, w: Float, step: NewtonStep) -> Update:
        """As far along the step as lowers the loss."""
        loss, gradient = objective.value_and_gradient(w)
        t, untold = 1.0, UNTOLD * objective.magnitude(loss)
        for _ in range(60):
            there = w + t * step.move
            value, new_gradient = objective.value_and_gradient(there)
            if t * abs(step.slope) <= untold:
                closer = bool(np.linalg.norm(new_gradient) < 0.5 * np.linalg.norm(gradient))
                return Update(there if closer else w, None, t, stalled=not closer)
            if value < loss and value <= loss + 1e-4 * t * step.slope:
                return Update(there, None, t)
            t = _nearer(t, value - loss, step.slope) if objective.searches else 0.5 * t
        return Update(w, None, 0.0, stalled=True)


def _nearer(t: float, rise: float, slope: float) -> float:
    """A half to a tenth of `t`, by the parabola through the slope at 0 and the rise at `t`: exp can rise far."""
    bottom = -0.5 * slope * t * t / (rise - slope * t) if np.isfinite(rise) else 0.0
    return float(np.clip(bottom, 0.1 * t, 0.5 * t))


def balanced(objective: Objective, move: Float) -> Float:
    """The step less what changes no probability of softmax: an equal change of all classes, where nothing is penalised."""
    if objective.loss.only_differences:
        free = 0 if objective.penalty.is_zero else len(move) - objective.intercept
        move[free:] -= move[free:].mean(axis=1, keepdims=True)
    return move


class Ahead(NamedTuple):
    """Newton's step for the last digits, by what share of it a weight would change at most, and which weight."""

    move: Float
    share: float
    weight: int
    seen: bool = True


def ahead(objective: Objective, w: Float, step: NewtonStep, move: Float) -> Ahead:
    """A `move` from `w`, its size told in the units of the rows.

    A weight counts for no less than a millionth of what chance makes it vary by, or zeros would have no digits.
    """
    move, units = balanced(objective, move), objective.coordinates
    there, moved = (w, move) if units is None else (units.to_original(w), units.to_original(move))
    far = objective.deviance(objective.value(w)) / objective.rows
    least = CHANCE * np.sqrt(far / np.where(step.steep > 0, step.steep, np.inf))
    size = np.maximum(np.abs(there), least)
    all_of_it = np.where(moved == 0, 0.0, np.inf)  # of a weight that is zero and that the rows hardly hold
    shares = np.divide(np.abs(moved), size, out=all_of_it, where=size > 0).ravel()
    worst = int(np.argmax(shares))
    return Ahead(move, float(shares[worst]), worst, step.seen)


def hidden(objective: Objective, w: Float, step: NewtonStep) -> float:
    """What rounding of the linear predictor may hide of the excess: `(1e-13)**2 w'Hw / 2` and more, digits cancelling."""
    there = w if objective.coordinates is None else objective.coordinates.to_original(w)
    return 0.5e-26 * float(np.sum(np.abs(there) * np.sqrt(np.maximum(step.steep, 0.0)))) ** 2


def last_digits(objective: Objective, w: Float, at: Float | None, share: float) -> tuple[Ahead, Float | None]:
    """The step from `w`, which is at the minimum to some digits, and the weights whose curvature it takes.

    The last step took that of the weights `at` and changed a weight by this `share`. Where the same curvature is
    enough it is taken again, which costs no pass. None in place of the weights where no step is needed, or where
    rounding makes the steps no shorter.
    """
    if at is not None:
        step = objective.newton_step(at)
        chord = ahead(objective, w, step, step.chord(w))
        if chord.share <= CERTAIN:
            return chord, None
        if chord.share**2 <= CERTAIN * share:
            return chord, at if _leads_down(objective, w, chord.move) else None
    step = objective.newton_step(w)
    found = ahead(objective, w, step, step.move.copy())
    if found.share <= CERTAIN or not step.seen:
        return found, None
    if found.share <= 0.5 * share and _leads_down(objective, w, found.move):
        return found, w
    if found.share > ROUGH:  # of a loss whose curvature jumps
        update = Newton()._shortened(objective, w, step._replace(move=found.move))
        if not update.stalled:
            return found._replace(move=update.weights - w, share=np.inf), w
    return found, None


def _leads_down(objective: Objective, w: Float, move: Float) -> bool:
    """Whether the loss is no higher after a `move`, but for rounding; the next look costs nothing then.

    A move to the minimum in closed form is taken for good: beside very large weights its own digits may be lost at first.
    """
    if CLOSED_FORM in objective.offers:
        return True
    loss, value = objective.value(w), objective.value_and_gradient(w + move)[0]
    return value <= loss + RISE * objective.magnitude(loss)


def minimum(objective: Objective, near: Float, steps: int, precision: float = 0.0) -> Float:
    """The weights of the minimum: in closed form, else where Newton's method is after so many steps from `near`.

    It ends sooner where a step is not longer than `precision` times the largest weight. A loss without a minimum, of
    classes that can be told apart, is left on the way.

    >>> objective = Objective.of(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1]), loss="logistic")
    >>> minimum(objective, objective.zeros(), 15).round(4).tolist()
    [0.9082, -1.3623]
    """
    if CLOSED_FORM in objective.offers:
        return objective.minimum()
    newton, w = Newton(), near
    for _ in range(steps):
        update = newton.step(objective, w, None)
        if update.stalled or np.abs(update.weights - w).max() <= precision * np.abs(w).max():
            break
        w = update.weights
    return w
