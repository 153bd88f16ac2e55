"""Optimizers that use curvature: Newton's method, and the exact minimum of squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from descend.descent.first_order import FIRST_ORDER, GradientDescent, Optimizer, Update
from descend.descent.lbfgs import LBFGS
from descend.descent.local_sgd import LocalSteps
from descend.descent.newton import Newton
from descend.descent.proximal import ProximalGradient
from descend.descent.schedules import SCHEDULES
from descend.engines.matrix import Float
from descend.errors import DescendError
from descend.objectives.objective import CLOSED_FORM, SMOOTH_PENALTY, Objective

NEWTON_LIMIT = 512
"""`optimizer="auto"` takes Newton while features times outputs stay within this."""
CODED_COLUMNS, CODED_LIMIT = 64, 2_048
"""Where rows come from so few columns that most weights are levels, of which a row has one a column: up to so many."""


@dataclass(frozen=True)
class Exact(Optimizer):
    """The minimum of squared error, with or without an L2 penalty, in one step.

    From the moments, or an orthogonal factor where conditioning asks for it; of minimum norm in
    standardised units where columns are collinear. Golub and Van Loan, Matrix Computations, chapter 5.

    >>> objective = Objective.of(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> Exact().step(objective, np.zeros(2), None).weights.round(12).tolist()
    [2.0, 1.0]
    """

    name: ClassVar[str] = "exact"
    needs: ClassVar[frozenset[str]] = frozenset({CLOSED_FORM})

    def step(self, objective: Objective, w: Float, state: Any) -> Update:
        minimum = objective.minimum()
        return Update(minimum, None, stalled=np.array_equal(minimum, w))


OPTIMIZERS: dict[str, type[Any]] = {
    **FIRST_ORDER,
    "lbfgs": LBFGS,
    "newton": Newton,
    "exact": Exact,
    "local-steps": LocalSteps,
    "proximal-gradient": ProximalGradient,
}


SERVES = "use ProximalGradient() (`--optimizer proximal-gradient`) on all rows, or an L2 penalty"
"""What to do where a penalty has kinks."""


def check(optimizer: Optimizer, objective: Objective, serves: str = SERVES) -> None:
    """Raise `DescendError` where an objective lacks what an optimizer needs, naming both and what `serves`."""
    missing, loss, penalty = optimizer.needs - objective.offers, objective.loss.name, objective.penalty.name
    if SMOOTH_PENALTY in missing or (CLOSED_FORM in missing and not objective.penalty.smooth):
        raise DescendError(
            f"`optimizer` {optimizer.name} needs a smooth penalty, but `penalty` {penalty} has kinks, as |w| has at "
            f"zero: {serves}."
        )
    if CLOSED_FORM in missing:
        what = f"the loss is {loss} on {objective.shape[0]} weights"
        if not (objective.penalty.closed_form or objective.penalty.is_zero):
            what = f"`penalty` {penalty} is no sum of squares"
        raise DescendError(
            f"`optimizer` {optimizer.name} needs an objective with a closed form (squared error, at most 2,048 "
            f"columns), but {what}. Use newton or gradient-descent."
        )
    if missing:
        raise DescendError(
            f"`optimizer` {optimizer.name} needs {' and '.join(sorted(missing))}, and the objective of `loss` {loss} "
            f"with `penalty` {penalty} offers {', '.join(sorted(objective.offers))}."
        )


def auto_optimizer(objective: Objective) -> Optimizer:
    """Exact where there is a closed form, the proximal gradient for kinks, Newton while it is cheap, else L-BFGS."""
    if CLOSED_FORM in objective.offers:
        return Exact()
    if SMOOTH_PENALTY not in objective.offers:
        return ProximalGradient()
    coded = objective.session.source.leaf_columns <= CODED_COLUMNS and len(objective.shape) == 1
    if int(np.prod(objective.shape)) > (CODED_LIMIT if coded else NEWTON_LIMIT):
        return LBFGS()
    if objective.loss.curved or objective.unpenalised.hessian(objective.zeros()).any():
        return Newton()
    return LBFGS()  # where the loss is straight there is no Newton step


def choose(optimizer: Optimizer | str, objective: Objective, batch_size: int | None = None) -> Optimizer:
    """The optimizer asked for; "auto" takes what the objective allows, gradient descent in batches."""
    if optimizer != "auto":
        return as_optimizer(optimizer)
    return auto_optimizer(objective) if batch_size is None else GradientDescent()


def as_optimizer(optimizer: Optimizer | str) -> Optimizer:
    """An optimizer by itself or by its name. Raises `DescendError` where it is neither."""
    if isinstance(optimizer, str):
        return make_optimizer(optimizer)
    if not isinstance(optimizer, Optimizer):
        raise DescendError(
            f"`optimizer` must be auto, one of {', '.join(OPTIMIZERS)}, "
            f"or an object such as descend.Adam(), got {optimizer!r}. One of your own derives from descend.Optimizer."
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
