"""First-order optimizers: frozen settings, an explicit state, `init` and `step`; nothing hidden.

`step(objective, w, state)` asks the objective for its gradient at `w` and returns the `Update`. The
objective may be that of all rows or of one mini-batch. A state is a plain value that goes with every
Step, so that `steps(resume=step)` goes on from any of them, pickled or not, to the bit. To add an optimizer, add a frozen dataclass with these
methods and name it in `FIRST_ORDER`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from descend.descent.backtracking import backtracked
from descend.descent.schedules import Rate, Schedule, as_schedule
from descend.engines.matrix import Float
from descend.errors import DescendError, check_number
from descend.objectives.objective import GRADIENT, SMOOTH_PENALTY, Objective


class Update(NamedTuple):
    """What one step gives: the new weights and state, and the learning rate it took.

    `stalled` says that no step lowers the loss any further in float64; the weights are the old ones.
    """

    weights: Float
    state: Any
    learning_rate: float | None = None
    stalled: bool = False


class Optimizer(ABC):
    """What the loop asks of an optimizer: frozen settings, and steps from an explicit state.

    `needs` names what an objective must offer; `choose.check` compares them before the first step. `first_order` says
    whether mini-batches serve it, which have nothing but a gradient.

    >>> class SignDescent(Optimizer):
    ...     name, first_order = "sign-descent", True
    ...     def step(self, objective, w, state):
    ...         return Update(w - 0.5 * np.sign(objective.gradient(w)), None, 0.5)
    >>> import descend
    >>> x, y = np.array([[1.0], [-1.0]]), np.array([2.0, -2.0])
    >>> descend.fit(x, y, intercept=False, optimizer=SignDescent(), steps=4).weights.tolist()
    [2.0]
    """

    name: ClassVar[str]
    first_order: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({GRADIENT, SMOOTH_PENALTY})

    @property
    def rated(self) -> bool:
        """Whether a learning rate decides how long its steps are."""
        return self.first_order

    def init(self, w: Float) -> Any:
        """The state before the first step, at the weights `w`; None unless given."""
        return None

    @abstractmethod
    def step(self, objective: Objective, w: Float, state: Any) -> Update:
        """One update of the weights `w` of an `objective`; `w` and `state` are left as they are."""

    def planned(self, steps: int | None) -> Optimizer:
        """The optimizer for a run of so many `steps`, None where that is not known; itself unless given."""
        return self


def check_first_order(optimizer: Optimizer) -> None:
    """Raise `DescendError` where an optimizer cannot step on batches."""
    if not optimizer.first_order:
        raise DescendError(
            f"`batch_size` needs an optimizer that steps on a gradient alone, and `optimizer` {optimizer.name} "
            "works on all rows. Use gradient-descent or adam, or leave `batch_size` out."
        )


@dataclass(frozen=True)
class _Scheduled(Optimizer):
    """What the first-order optimizers share: a learning rate that may follow a schedule."""

    learning_rate: Rate | Schedule = "auto"
    first_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        as_schedule(self.learning_rate)

    def planned(self, steps: int | None) -> Any:
        rate = self.learning_rate
        return replace(self, learning_rate=rate.planned(steps)) if isinstance(rate, Schedule) else self

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        return as_schedule(self.learning_rate)

    def searched(self, objective: Objective) -> bool:
        """Whether the rate has to be searched for: it is "auto", and no bound of the curvature holds."""
        return objective.searches and self.schedule.rate == "auto"


def next_rate(objective: Objective, rate: float | None) -> float:
    """The learning rate that is tried first: the `safe_rate`, after a step at `rate` a higher one than that.

    Over all rows a ninth higher (Becker, Candes and Grant, Templates for Convex Cone Problems, 2011); on batches so
    much that it doubles in an epoch, up to the safe one (Vaswani et al., Painless Stochastic Gradient, NeurIPS 2019).
    """
    if rate is None:
        return objective.safe_rate
    return rate / 0.9 if objective.whole else min(rate * 2.0**objective.share, objective.safe_rate)


def searched_rate(objective: Objective, w: Float, gradient: Float, rate: float | None) -> float:
    """The learning rate at which a step down the `gradient` at `w` lowers the loss enough, the last one being `rate`."""

    def value(there: Float) -> float:
        if objective.whole:  # the gradient there is asked for next
            return objective.value_and_gradient(there)[0]
        return objective.value(there)

    loss, first = objective.value(w), next_rate(objective, rate)
    ahead = rate is None and objective.whole
    return backtracked(value, w, loss, gradient, first, objective.magnitude(loss), ahead)


class Velocity(NamedTuple):
    """The state of gradient descent: steps made, the velocity (None before the first), and a rate searched for."""

    number: int = 0
    velocity: Float | None = None
    rate: float | None = None


@dataclass(frozen=True)
class GradientDescent(_Scheduled):
    """Gradient descent: `v = momentum * v + g; w = w - learning_rate * v`.

    With `nesterov` the step is `learning_rate * (g + momentum * v)`, as in torch.optim.SGD. Heavy
    ball: Polyak (1964); Nesterov (1983) in the form of Sutskever et al. (2013). `learning_rate` is a
    number, a schedule, or "auto": 1 / (largest curvature), for squared error exactly that, for other
    losses a bound, at which every step lowers the loss (Nesterov, Introductory Lectures on Convex
    Optimization, 2004, 1.2.3); for mini-batches `Batches.safe_rate`, from the curvature of the worst row
    (Gower et al., 2019), times 1 - momentum. Where no bound holds, as of counts, "auto" goes by the curvature at the
    start and is searched for from there: halved until a step down the gradient lowers the loss by half of what its
    slope promises, raised a little again with every step; over all rows every step then lowers the loss, as momentum
    is forgotten where it would not (O'Donoghue and Candes, 2015), and of a mini-batch that of the batch. `momentum` is at least 0 and below 1. Raises `DescendError` for
    another one, for a rate that is not above 0, and for `nesterov` without momentum.

    >>> from descend.objectives.objective import Objective
    >>> objective = Objective.of(np.array([[1.0], [-1.0]]), np.array([2.0, -2.0]), intercept=False)
    >>> optimizer = GradientDescent(learning_rate=0.25)
    >>> update = optimizer.step(objective, np.zeros(1), optimizer.init(np.zeros(1)))
    >>> update.weights.round(9).tolist()
    [1.0]
    """

    momentum: float = 0.0
    nesterov: bool = False
    name: ClassVar[str] = "gradient-descent"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("momentum", self.momentum, "at least 0 and below 1", lambda m: 0 <= m < 1)
        if self.nesterov and self.momentum == 0:
            raise DescendError("`nesterov` needs a `momentum` above 0, 0.9 for example.")

    def init(self, w: Float) -> Velocity:
        """No steps made, no velocity."""
        return Velocity()

    def step(self, objective: Objective, w: Float, state: Velocity) -> Update:
        gradient = objective.gradient(w)
        if self.searched(objective):
            return self._searched(objective, w, gradient, state)
        rate = self.rate(objective, state.number)
        if not self.momentum:
            gradient *= rate
            return Update(w - gradient, Velocity(state.number + 1), rate)
        velocity = gradient if state.velocity is None else self.momentum * state.velocity + gradient
        move = gradient + self.momentum * velocity if self.nesterov else velocity
        return Update(w - rate * move, Velocity(state.number + 1, velocity), rate)

    def _searched(self, objective: Objective, w: Float, gradient: Float, state: Velocity) -> Update:
        """A step at a rate found by backtracking; the velocity is forgotten where it leads up, or the rate is halved."""
        m, first, factor = self.momentum, next_rate(objective, state.rate), self.schedule.factor(state.number)
        velocity = gradient if state.velocity is None else m * state.velocity + gradient
        move = gradient + m * velocity if self.nesterov else velocity
        if objective.whole and state.velocity is not None:
            there = w - first * factor * move
            if objective.value_and_gradient(there)[0] < objective.value(w):
                return Update(there, Velocity(state.number + 1, velocity, first), first * factor)
        rate = searched_rate(objective, w, gradient, state.rate)
        if objective.whole or rate < first:
            velocity = move = gradient
        taken = rate * factor * (1.0 if objective.whole else 1.0 - m)
        return Update(w - taken * move, Velocity(state.number + 1, velocity if m else None, rate), taken)

    def rate(self, objective: Objective, number: int = 0) -> float:
        """The learning rate of step `number` on this `objective`."""
        rate = self.learning_rate
        if isinstance(rate, float):
            return rate
        schedule = as_schedule(rate)
        highest = objective.safe_rate * (1.0 if objective.whole else 1.0 - self.momentum)
        return (highest if schedule.rate == "auto" else schedule.rate) * schedule.factor(number)

    def rate_limit(self, curvature: float) -> float:
        """The learning rate above which a quadratic of this largest `curvature` is left for infinity.

        `2 (1 + m) / curvature` with momentum m, and `2 (1 + m) / ((1 + 2 m) curvature)` with
        Nesterov's: where a root of the recurrence along the steepest direction passes -1.
        """
        m = self.momentum
        return 2.0 * (1.0 + m) / ((1.0 + 2.0 * m if self.nesterov else 1.0) * (curvature or 1e-300))


class AdamState(NamedTuple):
    """Steps made, the running means of the gradient and of its square, and the rate that auto chose."""

    number: int
    mean: Float
    square: Float
    rate: float | None = None


@dataclass(frozen=True)
class Adam(_Scheduled):
    """Adam: `m = b1 m + (1 - b1) g; s = b2 s + (1 - b2) g**2; w = w - rate m^ / (sqrt(s^) + epsilon)`.

    `m^` and `s^` are corrected for their start at zero; `beta1` and `beta2`, b1 and b2, are at least 0 and below 1,
    `epsilon` is above 0, and `DescendError` is raised where they are not. Kingma and Ba (2015); the same numbers as
    torch.optim.Adam. `learning_rate` is a number, a schedule or "auto": a tenth of the length of gradient descent's
    first step (that moves anything) in its largest weight, at the rate that is safe there, or found by backtracking,
    so that it has the units of the weights. No step of Adam is much longer than its rate (Kingma and Ba, section 2.1), so the weights cannot
    run away.

    >>> from descend.objectives.objective import Objective
    >>> objective = Objective.of(np.array([[1.0], [-1.0]]), np.array([2.0, -2.0]), intercept=False)
    >>> adam = Adam(learning_rate=0.5)
    >>> adam.step(objective, np.zeros(1), adam.init(np.zeros(1))).weights.round(6).tolist()
    [0.5]
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    name: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            check_number(name, beta, "at least 0 and below 1", lambda b: 0 <= b < 1)
        check_number("epsilon", self.epsilon, "above 0", lambda e: e > 0)

    def init(self, w: Float) -> AdamState:
        """No steps made, both means zero."""
        return AdamState(0, np.zeros_like(w), np.zeros_like(w))

    def step(self, objective: Objective, w: Float, state: AdamState) -> Update:
        gradient = objective.gradient(w)
        schedule = self.schedule
        highest = state.rate if schedule.rate == "auto" else float(schedule.rate)
        if highest is None:
            safe = objective.safe_rate
            if objective.searches:
                safe = searched_rate(objective, w, gradient, None)
            highest = 0.1 * float(np.abs(gradient).max()) * safe or None
        number = state.number + 1
        mean = self.beta1 * state.mean + (1.0 - self.beta1) * gradient
        square = self.beta2 * state.square + (1.0 - self.beta2) * np.square(gradient)
        rate = (1e-3 if highest is None else highest) * schedule.factor(state.number)
        root = np.sqrt(square / (1.0 - self.beta2**number)) + self.epsilon
        w = w - rate / (1.0 - self.beta1**number) * mean / root
        return Update(w, AdamState(number, mean, square, highest), rate)


FIRST_ORDER: dict[str, type[Any]] = {"gradient-descent": GradientDescent, "adam": Adam}
