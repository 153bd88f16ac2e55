"""Newton's method, and the minimum that it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from descend.descent.backtracking import UNTOLD
from descend.descent.first_order import Optimizer, Update
from descend.descent.lbfgs import LBFGS, Pairs
from descend.engines.matrix import Float
from descend.objectives.newton_steps import NewtonStep, sampled_step
from descend.objectives.objective import CLOSED_FORM, GRADIENT, HESSIAN, SMOOTH_PENALTY, Objective


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
            update = self._search(objective, w, sampled)
            if (
                update.learning_rate == 1.0
                and np.linalg.norm(objective.gradient(update.weights)) <= 0.5 * before
            ):
                return update._replace(state=True)
        update = Update(w, None, 0.0, stalled=True)
        for step in objective.newton_steps(w):
            update = self._search(objective, w, step._replace(move=balanced(objective, step.move)))
            if not update.stalled:
                return update
        return update if objective.loss.curved else self._downhill(objective, w)

    def _downhill(self, objective: Objective, w: Float) -> Update:
        """A step down the gradient, by L-BFGS's line search: for a loss that may be straight where its slope is not 0."""
        update = LBFGS(1).step(objective, w, Pairs())
        return update._replace(state=None)

    def _search(self, objective: Objective, w: Float, step: NewtonStep) -> Update:
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
