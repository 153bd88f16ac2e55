"""Why a run ends: the outcomes, whose values are the messages, and the rules that find them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from descend.engines.matrix import Float
from descend.errors import check_number, check_whole

TOLERANCE = 1e-6
DEFAULT_LIMIT = 10_000


class Outcome(Enum):
    """Why a run ended; the value is the sentence to show.

    >>> Outcome.CONVERGED.value
    'converged: the gradient is zero within the tolerance'
    """

    CONVERGED = "converged: the gradient is zero within the tolerance"
    PRECISION = "converged: no step lowers the loss any further in double precision"
    STEP_LIMIT = "stopped at the step limit"
    TIME_LIMIT = "stopped at the time limit"
    DIVERGED = "diverged: the loss grew without end; the last finite weights are kept"
    OSCILLATING = (
        "oscillating: the weights swing about the minimum and come no closer; the learning rate is too large"
    )
    STALLED = "stopped: no step lowers the loss any further in double precision, which is not known to be its minimum"
    EARLY_STOP = "stopped early: the validation loss no longer fell; the best weights are kept"
    INTERRUPTED = "interrupted: the run so far is kept"
    ELSEWHERE = "trained elsewhere: the loop was not ours"
    LOST = "the workers were lost: the run so far is kept"

    @property
    def converged(self) -> bool:
        """Whether the optimum was reached."""
        return self in (Outcome.CONVERGED, Outcome.PRECISION)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run ends at the latest, and the gradient norm at which it has converged.

    Giving a number of steps turns the tolerance off: exactly that many are made.

    >>> Limits.of(steps=100)
    Limits(steps=100, tolerance=None, seconds=None)
    >>> Limits.of().tolerance
    1e-06
    """

    steps: int
    tolerance: float | None
    seconds: float | None

    @staticmethod
    def of(steps: int | None = None, tolerance: float | None = None, seconds: float | None = None) -> Limits:
        """Check the three and fill in what was not given."""
        if steps is not None:
            steps = check_whole("steps", steps, 0)
        for name, number in (("tolerance", tolerance), ("time_limit", seconds)):
            if number is not None:
                check_number(name, number, "a number above 0", lambda n: n > 0)
        if steps is None:
            return Limits(DEFAULT_LIMIT, tolerance or TOLERANCE, seconds)
        return Limits(steps, tolerance, seconds)

    def reached(self, number: int, gradient_norm: float | None, elapsed: float) -> Outcome | None:
        """The outcome of a run that has made `number` steps, None while it goes on."""
        if self.tolerance is not None and gradient_norm is not None and gradient_norm <= self.tolerance:
            return Outcome.CONVERGED
        if number >= self.steps:
            return Outcome.STEP_LIMIT
        if self.seconds is not None and elapsed >= self.seconds:
            return Outcome.TIME_LIMIT
        return None


class Patience:
    """Early stopping: tells when the validation loss has not fallen for `limit` evaluations in a row.

    Keeps the best weights. Prechelt, Early Stopping - But When? (1998), without a threshold.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.waited, self.loss = check_whole("patience", limit), 0, math.inf
        self.weights: Float | None = None

    def __call__(self, validation_loss: float, weights: Float) -> bool:
        """Whether patience is at its end, this evaluation being the newest."""
        if validation_loss < self.loss:
            self.loss, self.weights, self.waited = validation_loss, weights, 0
        else:
            self.waited += 1
        return self.waited >= self.limit


class Divergence:
    """Tells a run that has left for infinity from one that only overshoots.

    Diverged is a loss that is not finite, or one above 10 times the larger of the loss at the
    start and that of a constant prediction at 5 evaluations in a row. Only losses over all rows
    count, never a batch's. Where the slope of the loss is `bounded`, the weights of gradient descent
    grow no faster than in proportion to its steps: such a run may swing, but only numbers that overflow
    count as diverged. docs/explanation/diagnosis.md has the rule of both.
    """

    FACTOR, PATIENCE = 10.0, 5

    def __init__(self, constant_loss: Callable[[], float], bounded: bool = False) -> None:
        self.bounded = bounded
        self.constant_loss = constant_loss  # costs a pass; asked only where the start is exceeded
        self.start, self.above = math.nan, 0

    def __call__(self, loss: float) -> bool:
        """Whether the run has diverged, this loss being its newest."""
        if not math.isfinite(loss):
            return True
        if self.bounded:
            return False
        if math.isnan(self.start):
            self.start = loss
        above = loss > self.FACTOR * self.start and loss > self.FACTOR * self.constant_loss()
        self.above = self.above + 1 if above else 0
        return self.above >= self.PATIENCE
