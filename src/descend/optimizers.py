"""First-order optimizers: frozen settings, an explicit state, `init` and `step`; nothing hidden.

`step(objective, w, state)` evaluates the objective at `w` and returns the `Update`. A state is a
plain value, so a run can be stopped, saved and resumed at any step. To add an optimizer, add a
frozen dataclass with these two methods and name it in `OPTIMIZERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from descend.errors import DescendError
from descend.matrix import Float
from descend.objective import Objective


@dataclass(frozen=True, slots=True)
class Update:
    """What one step gives: the new weights and state, and the learning rate it took.

    `stalled` says that no step lowers the loss any further in float64; the weights are the old ones.
    """

    weights: Float
    state: Any
    learning_rate: float | None = None
    stalled: bool = False


class Optimizer(Protocol):
    """What the loop asks of an optimizer."""

    name: ClassVar[str]

    def init(self, w: Float) -> Any:
        """The state before the first step."""

    def step(self, objective: Objective, w: Float, state: Any) -> Update:
        """One update of the weights; `w` and `state` are left as they are."""


def check_learning_rate(rate: float | str) -> None:
    """Raise `DescendError` unless `rate` is "auto" or a finite number above 0."""
    if rate == "auto":
        return
    if isinstance(rate, str) or not (np.isfinite(rate) and rate > 0):
        raise DescendError(f'`learning_rate` must be a number above 0 or "auto", got {rate!r}.')


@dataclass(frozen=True)
class GradientDescent:
    """Gradient descent: `v = momentum * v + g; w = w - learning_rate * v`.

    With `nesterov` the step is `learning_rate * (g + momentum * v)`, as in torch.optim.SGD. Heavy
    ball: Polyak (1964); Nesterov (1983) in the form of Sutskever et al. (2013). A learning rate of
    "auto" is 1 / (largest curvature): for squared error exactly that, for other losses a bound.

    >>> from descend.objective import Objective
    >>> objective = Objective.of(np.array([[1.0], [-1.0]]), np.array([2.0, -2.0]), intercept=False)
    >>> optimizer = GradientDescent(learning_rate=0.25)
    >>> update = optimizer.step(objective, np.zeros(1), optimizer.init(np.zeros(1)))
    >>> update.weights.tolist()
    [1.0]
    """

    learning_rate: float | Literal["auto"] = "auto"
    momentum: float = 0.0
    nesterov: bool = False
    name: ClassVar[str] = "gradient-descent"

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)
        if not 0 <= self.momentum < 1:
            raise DescendError(f"`momentum` must be at least 0 and below 1, got {self.momentum!r}.")
        if self.nesterov and self.momentum == 0:
            raise DescendError("`nesterov` needs a `momentum` above 0, 0.9 for example.")

    def init(self, w: Float) -> Float:
        """The velocity, zero."""
        return np.zeros_like(w)

    def step(self, objective: Objective, w: Float, state: Float) -> Update:
        _, gradient = objective.value_and_gradient(w)
        rate = self.rate(objective)
        velocity = self.momentum * state + gradient if self.momentum else gradient
        move = gradient + self.momentum * velocity if self.nesterov else velocity
        return Update(w - rate * move, velocity, rate)

    def rate(self, objective: Objective) -> float:
        """The learning rate in use on this objective."""
        if self.learning_rate != "auto":
            return float(self.learning_rate)
        return 1.0 / (objective.curvature_bound or 1.0)

    def rate_limit(self, curvature: float) -> float:
        """The learning rate above which a quadratic of this largest curvature is left for infinity.

        `2 (1 + m) / curvature` with momentum m, and `2 (1 + m) / ((1 + 2 m) curvature)` with
        Nesterov's: where a root of the recurrence along the steepest direction passes -1.
        """
        m = self.momentum
        return 2.0 * (1.0 + m) / ((1.0 + 2.0 * m if self.nesterov else 1.0) * (curvature or 1e-300))


FIRST_ORDER: dict[str, type[Any]] = {"gradient-descent": GradientDescent}
