"""Penalties on the weights, added to the mean loss; the intercept is never penalised.

A penalty with a gradient (`smooth`) is added to the objective. One without (L1) would act through
its `prox` after each step, which is why every penalty has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Protocol

import numpy as np

from descend.engines.matrix import Float
from descend.errors import DescendError, check_number


class Penalty(Protocol):
    """What an Objective asks of a penalty. `w` holds the penalised weights only."""

    name: ClassVar[str]
    smooth: ClassVar[bool]

    @property
    def is_zero(self) -> bool: ...

    def value(self, w: Float) -> float: ...

    def gradient(self, w: Float) -> Float: ...

    def curvature(self, w: Float) -> Float:
        """The diagonal of its Hessian, shaped as `w`."""

    def prox(self, w: Float, rate: float) -> Float:
        """`argmin_v penalty(v) + |v - w|**2 / (2 rate)`."""


@dataclass(frozen=True)
class L2:
    """Ridge penalty `alpha / 2 * sum(w**2)`, added to the mean loss.

    With n rows, `alpha` here is scikit-learn's `2 * alpha / n` of Ridge and `1 / (C n)` of
    LogisticRegression. `L2(0)` is no penalty. Raises `DescendError` where `alpha` is below 0 or no number.

    >>> L2(0.5).value(np.array([1.0, 2.0]))
    1.25
    """

    alpha: float = 0.0
    name: ClassVar[str] = "l2"
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        alpha = check_number(
            "alpha", self.alpha, "a number of at least 0", lambda alpha: alpha >= 0, " of a penalty"
        )
        object.__setattr__(self, "alpha", alpha)  # NumPy's own numbers are not for JSON

    @property
    def is_zero(self) -> bool:
        return self.alpha == 0

    def value(self, w: Float) -> float:
        return float(0.5 * self.alpha * np.vdot(w, w))

    def gradient(self, w: Float) -> Float:
        return self.alpha * w

    def curvature(self, w: Float) -> Float:
        return np.full(w.shape, self.alpha)

    def prox(self, w: Float, rate: float) -> Float:
        return w / (1.0 + rate * self.alpha)


def as_penalty(penalty: Any) -> Penalty:
    """A penalty by itself, from a number (the alpha of `L2`), or none from None.

    Raises `DescendError` where it is none of these.
    """
    if penalty is None:
        return L2(0.0)
    if isinstance(penalty, Real) and not isinstance(penalty, bool):
        return L2(float(penalty))
    if isinstance(penalty, str | type) or not hasattr(penalty, "prox"):
        raise DescendError(f"`penalty` must be a number, descend.L2(alpha) or None, got {penalty!r}.")
    result: Penalty = penalty
    return result
