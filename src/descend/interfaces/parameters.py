"""What the parameters of an estimator say, in the package's own words."""

from __future__ import annotations

from typing import Any

import numpy as np

from descend.descent.choose import OPTIMIZERS, as_optimizer, make_optimizer
from descend.descent.first_order import Optimizer
from descend.engines.blocks import Split
from descend.engines.matrix import Array, Float
from descend.errors import DescendError, check_number
from descend.objectives.penalties import L2, Penalty, as_penalty


def optimizer_of(optimizer: Optimizer | str, learning_rate: Any) -> Optimizer | str:
    """The optimizer that a name and a learning rate (a number, a schedule or "auto") describe.

    A learning rate without a name means gradient descent.

    >>> optimizer_of("adam", 0.01)
    Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-08)
    """
    if not isinstance(optimizer, str):
        return as_optimizer(optimizer)
    automatic = isinstance(learning_rate, str) and learning_rate == "auto"
    if automatic:
        return optimizer if optimizer == "auto" else make_optimizer(optimizer)
    name = "gradient-descent" if optimizer == "auto" else optimizer
    if name in OPTIMIZERS and "learning_rate" not in OPTIMIZERS[name].__dataclass_fields__:
        raise DescendError(f'`learning_rate` does not apply to `optimizer` {name}: leave it at "auto".')
    return make_optimizer(name, learning_rate=learning_rate)


def penalty_of(penalty: Any, alpha: Any, automatic: float) -> Penalty:
    """The penalty that "l2", None, a number or a penalty and `alpha` describe, whose "auto" is `automatic`.

    >>> penalty_of("l2", "auto", 0.01)
    L2(alpha=0.01)
    """
    if not isinstance(penalty, str):
        return as_penalty(penalty)
    if penalty != "l2":
        raise DescendError(f'`penalty` must be "l2", None or a penalty, got {penalty!r}.')
    if isinstance(alpha, str) and alpha != "auto":
        raise DescendError(f'`alpha` must be a number of at least 0 or "auto", got {alpha!r}.')
    return L2(automatic if isinstance(alpha, str) else alpha)


def training_weight(s: Float | None, rows: int, seed: int, valid: Any) -> float:
    """The sum of the weights of the rows that a fraction `valid` does not hold out."""
    s = np.ones(rows) if s is None else s
    if isinstance(valid, float):
        s = s[~Split(valid, seed).held_out(0, 0, rows)]
    return float(s.sum()) or 1.0


def class_weighted(class_weight: Any, classes: Array, codes: Float, s: Float | None) -> Float | None:
    """Sample weights times class weights: those of a dict, or balanced `n / (classes * n_k)`, by weight.

    >>> class_weighted("balanced", np.array(["a", "b"]), np.array([0.0, 0.0, 1.0]), None).tolist()
    [0.75, 0.75, 1.5]
    """
    if class_weight is None:
        return s
    s = np.ones(len(codes)) if s is None else s
    if isinstance(class_weight, dict):
        strange = [label for label in class_weight if label not in classes.tolist()]
        if strange:
            raise DescendError(
                f"`class_weight` names {strange[0]!r}, which is not among the classes {classes}."
            )
        weights = np.array([_checked(class_weight.get(label, 1.0)) for label in classes.tolist()])
    elif isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(codes.astype(int), s, minlength=len(classes))
        weights = s.sum() / (len(counts) * np.where(counts > 0, counts, 1.0))
    else:
        raise DescendError(f'`class_weight` must be None, "balanced" or a dict, got {class_weight!r}.')
    return np.asarray(s * weights[codes.astype(int)])


def _checked(weight: Any) -> float:
    return check_number("class_weight", weight, "numbers of at least 0", lambda w: w >= 0)
