"""Optimizers that use curvature: Newton's method, and the exact minimum of squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from descend.descent.first_order import FIRST_ORDER, Optimizer, Update
from descend.descent.lbfgs import LBFGS
from descend.descent.local_sgd import LocalSteps
from descend.descent.newton import NewtonStep, newton_steps, sampled_step
from descend.descent.schedules import SCHEDULES
from descend.engines.matrix import Float
from descend.errors import DescendError
from descend.objectives.losses import LOSSES, CrossEntropy
from descend.objectives.objective import Objective, Quadratic

NEWTON_LIMIT = 512
"""`optimizer="auto"` takes Newton while features times outputs stay within this."""
CODED_COLUMNS, CODED_LIMIT = 64, 2_048
"""Where rows come from so few columns that most weights are levels, of which a row has one a column: up to so many."""

UNTOLD = 1e-14
"""Losses that differ by a smaller share than this are too close for float64 to tell apart: gradients decide."""


@dataclass(frozen=True)
class Newton:
    """Newton's method, damped: `w = w - t H^-1 g`, t halved until the loss falls enough.

    Where the Hessian is singular (collinear columns, softmax without a penalty) the step is the
    one of minimum norm in units of the curvature of each weight; weights of softmax that have no penalty
    keep their sum over the classes, which changes no probability. Sufficient decrease: Armijo (1966),
    with constant 1e-4; Nocedal and Wright, Numerical Optimization, chapter 3.

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
    first_order: ClassVar[bool] = False

    def planned(self, steps: int | None) -> Newton:
        return self

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
        for step in newton_steps(objective, w):
            update = self._search(objective, w, step._replace(move=_balanced(objective, step.move)))
            if not update.stalled:
                break
        return update

    def _search(self, objective: Objective, w: Float, step: NewtonStep) -> Update:
        """As far along the step as lowers the loss."""
        loss, gradient = objective.value_and_gradient(w)
        t = 1.0
        for _ in range(60):
            there = w + t * step.move
            value, new_gradient = objective.value_and_gradient(there)
            if t * abs(step.slope) <= UNTOLD * abs(loss):
                closer = bool(np.linalg.norm(new_gradient) < 0.5 * np.linalg.norm(gradient))
                return Update(there if closer else w, None, t, stalled=not closer)
            if value < loss and value <= loss + 1e-4 * t * step.slope:
                return Update(there, None, t)
            t *= 0.5
        return Update(w, None, 0.0, stalled=True)


def _balanced(objective: Objective, move: Float) -> Float:
    """The step less what changes no probability of softmax: an equal change of all classes, where nothing is penalised."""
    if isinstance(objective.loss, CrossEntropy):
        free = 0 if objective.penalty.is_zero else len(move) - objective.intercept
        move[free:] -= move[free:].mean(axis=1, keepdims=True)
    return move


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


OPTIMIZERS: dict[str, type[Any]] = {
    **FIRST_ORDER,
    "lbfgs": LBFGS,
    "newton": Newton,
    "exact": Exact,
    "local-steps": LocalSteps,
}


def auto_optimizer(objective: Objective) -> Optimizer:
    """Exact where there is a closed form, Newton while it is cheap, else L-BFGS."""
    if isinstance(objective, Quadratic):
        return Exact()
    size = int(np.prod(objective.shape))
    session = objective.session
    if objective.loss.name not in LOSSES and not objective.hessian(objective.zeros()).any():
        return LBFGS()  # a loss of one's own that is straight where the walk begins
    coded = session is not None and session.source.leaf_columns <= CODED_COLUMNS and len(objective.shape) == 1
    return Newton() if size <= (CODED_LIMIT if coded else NEWTON_LIMIT) else LBFGS()


def as_optimizer(optimizer: Optimizer | str) -> Optimizer:
    """An optimizer by itself or by its name. Raises `DescendError` where it is neither."""
    if isinstance(optimizer, str):
        return make_optimizer(optimizer)
    if isinstance(optimizer, type) or not (hasattr(optimizer, "init") and hasattr(optimizer, "step")):
        raise DescendError(
            f"`optimizer` must be auto, one of {', '.join(OPTIMIZERS)}, "
            f"or an object such as descend.Adam(), got {optimizer!r}."
        )
    return optimizer


def make_optimizer(name: str, schedule: str = "constant", **settings: Any) -> Optimizer:
    """An optimizer by its name, with the settings given; `schedule` names how its learning rate goes on.

    Raises `DescendError` for a name that is none, or a setting that the optimizer does not have.

    >>> make_optimizer("gradient-descent", "inverse-time", learning_rate=0.1, momentum=0.9)
    GradientDescent(learning_rate=InverseTime(rate=0.1, decay=0.001), momentum=0.9, nesterov=False)
    """
    if name not in OPTIMIZERS:
        raise DescendError(f"`optimizer` must be auto or one of {', '.join(OPTIMIZERS)}, got {name!r}.")
    if schedule not in SCHEDULES:
        raise DescendError(f"`schedule` must be one of {', '.join(SCHEDULES)}, got {schedule!r}.")
    kind = OPTIMIZERS[name]
    if schedule != "constant":
        settings["learning_rate"] = SCHEDULES[schedule](settings.get("learning_rate", "auto"))
    foreign = [setting for setting in settings if setting not in kind.__dataclass_fields__]
    if foreign:
        having = [other for other, k in OPTIMIZERS.items() if foreign[0] in k.__dataclass_fields__]
        raise DescendError(
            f"`{foreign[0]}` does not apply to `optimizer` {name}. Leave it out, or use {' or '.join(having)}."
        )
    made: Optimizer = kind(**settings)
    return made
