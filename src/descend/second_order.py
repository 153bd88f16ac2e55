"""Optimizers that use curvature: Newton's method, and the exact minimum of squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from descend.errors import DescendError
from descend.lbfgs import LBFGS
from descend.matrix import Float
from descend.objective import Objective, Quadratic
from descend.optimizers import FIRST_ORDER, Optimizer, Update

NEWTON_LIMIT = 512
"""`optimizer="auto"` takes Newton while features times outputs stay within this."""


@dataclass(frozen=True)
class Newton:
    """Newton's method, damped: `w = w - t H^-1 g`, t halved until the loss falls enough.

    Where the Hessian is singular (collinear columns, softmax without a penalty) the step is the
    one of minimum norm in units of the curvature of each weight. Sufficient decrease: Armijo (1966),
    with constant 1e-4; Nocedal and Wright, Numerical Optimization, chapter 3.

    >>> objective = Objective.of(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1]), loss="logistic")
    >>> newton, w = Newton(), np.zeros(2)
    >>> for _ in range(6):
    ...     w = newton.step(objective, w, None).weights
    >>> value, gradient = objective.value_and_gradient(w)
    >>> round(value, 6), float(np.linalg.norm(gradient)) < 1e-9
    (0.586872, True)
    """

    name: ClassVar[str] = "newton"
    first_order: ClassVar[bool] = False

    def planned(self, steps: int | None) -> Newton:
        return self

    def init(self, w: Float) -> None:
        """No state."""

    def step(self, objective: Objective, w: Float, state: None) -> Update:
        loss, gradient = objective.value_and_gradient(w)
        direction = -solve_scaled(objective.hessian(w), gradient.ravel()).reshape(w.shape)
        slope = float(np.vdot(gradient, direction))
        t = 1.0
        for _ in range(60):
            there = w + t * direction
            value, new_gradient = objective.value_and_gradient(there)
            if value < loss and value <= loss + 1e-4 * t * slope:
                return Update(there, None, t)
            if t * abs(slope) <= 4e-16 * abs(loss):  # losses are too close for float64 to tell apart
                closer = bool(np.linalg.norm(new_gradient) < np.linalg.norm(gradient))
                return Update(there if closer else w, None, t, stalled=not closer)
            t *= 0.5
        return Update(w, None, 0.0, stalled=True)


@dataclass(frozen=True)
class Exact:
    """The minimum of squared error, with or without an L2 penalty, in one step.

    From the moments, or an orthogonal factor where conditioning asks for it; of minimum norm in
    standardised units where columns are collinear. Golub and Van Loan, Matrix Computations, chapter 5.

    >>> objective = Objective.of(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> Exact().step(objective, np.zeros(2), None).weights.round(12).tolist()
    [2.0, 1.0]
    """

    name: ClassVar[str] = "exact"
    first_order: ClassVar[bool] = False

    def planned(self, steps: int | None) -> Exact:
        return self

    def init(self, w: Float) -> None:
        """No state."""

    def step(self, objective: Objective, w: Float, state: Any) -> Update:
        if not isinstance(objective, Quadratic):
            raise DescendError(
                f"`optimizer` exact needs an objective with a closed form (squared error, at most 2,048 columns), "
                f"but the loss is {objective.loss.name} on {w.shape[0]} weights. Use newton or gradient-descent."
            )
        minimizer = objective.minimizer()
        return Update(minimizer, None, stalled=np.array_equal(minimizer, w))


def solve_scaled(H: Float, g: Float) -> Float:
    """The solution of `H x = g` of minimum norm in units where `H` has a unit diagonal."""
    diagonal = H.diagonal()
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values, V = np.linalg.eigh(H / np.outer(scale, scale))
    keep = values > max(float(values[-1]), 1e-300) * 1e-13 * len(values)
    along = V.T @ (g / scale)
    return np.asarray(V @ np.where(keep, along / np.where(keep, values, 1.0), 0.0) / scale)


OPTIMIZERS: dict[str, type[Any]] = {**FIRST_ORDER, "lbfgs": LBFGS, "newton": Newton, "exact": Exact}


def auto_optimizer(objective: Objective) -> Optimizer:
    """Exact where there is a closed form, Newton while it is cheap, else L-BFGS."""
    if isinstance(objective, Quadratic):
        return Exact()
    return Newton() if int(np.prod(objective.shape)) <= NEWTON_LIMIT else LBFGS()


def as_optimizer(optimizer: Optimizer | str, learning_rate: float | str | None = None) -> Optimizer:
    """An optimizer by itself or by its name, a learning rate put in where one is given."""
    if not isinstance(optimizer, str):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise DescendError(f"`optimizer` must be auto or one of {', '.join(OPTIMIZERS)}, got {optimizer!r}.")
    kind = OPTIMIZERS[optimizer]
    if learning_rate is None:
        made: Optimizer = kind()
        return made
    if optimizer not in FIRST_ORDER:
        raise DescendError(
            f"`learning_rate` does not apply to `optimizer` {optimizer}, which finds its own step. "
            f"Leave it out, or use {', '.join(FIRST_ORDER)}."
        )
    made = kind(learning_rate=learning_rate)
    return made
