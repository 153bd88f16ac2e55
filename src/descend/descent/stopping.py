"""Why a run ends: the outcomes, whose values are the messages, and the rules that find them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple

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
    SEPARATED = "no minimum: rows are separated, all or some, so that ever larger weights fit ever better"
    EARLY_STOP = "stopped early: the validation loss no longer fell; the best weights are kept"
    INTERRUPTED = "interrupted: the run so far is kept"
    ELSEWHERE = "trained elsewhere: the loop was not ours"
    LOST = "the workers were lost: the run so far is kept"

    @property
    def converged(self) -> bool:
        """Whether the optimum was reached."""
        return self in (Outcome.CONVERGED, Outcome.PRECISION)

    @property
    def failed(self) -> bool:
        """Whether no answer was reached that one could use."""
        return self in (Outcome.DIVERGED, Outcome.OSCILLATING, Outcome.LOST, Outcome.SEPARATED)


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


class Best(NamedTuple):
    """The lowest validation loss so far, the weights there, and the evaluations in a row that were no lower."""

    waited: int = 0
    loss: float = math.inf
    weights: Float | None = None


@dataclass(frozen=True)
class Patience:
    """Early stopping: tells when the validation loss has not fallen for `limit` evaluations in a row.

    Keeps the best weights. Prechelt, Early Stopping - But When? (1998), without a threshold.

    >>> patience, best = Patience(2), Best()
    >>> for loss in (3.0, 2.0, 2.5, 2.1):
    ...     best = patience.after(best, loss, [loss])
    >>> best.loss, patience.is_over(best)
    (2.0, True)
    """

    limit: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", check_whole("patience", self.limit))

    def after(self, best: Best, validation_loss: float, weights: Float) -> Best:
        """What is best once an evaluation has come in."""
        if validation_loss < best.loss:
            return Best(0, validation_loss, weights)
        return best._replace(waited=best.waited + 1)

    def is_over(self, best: Best) -> bool:
        """Whether patience is at its end."""
        return best.waited >= self.limit


@dataclass(frozen=True)
class Divergence:
    """Tells a run that has left for infinity from one that only overshoots.

    Diverged is a loss that is not finite, or one above 10 times the larger of the loss at the
    start and that of a constant prediction at 5 evaluations in a row. Losses are measured from the best that the
    rows allow (`Objective.deviance`), and only those over all rows count, never a batch's. Where the slope of the loss is `bounded`, the weights of gradient descent
    grow no faster than in proportion to its steps: such a run may swing, but only numbers that overflow
    count as diverged. docs/explanation/diagnosis.md has the rule of both.
    """

    FACTOR: ClassVar[float] = 10.0
    PATIENCE: ClassVar[int] = 5

    constant_loss: Callable[[], float]
    """Costs a pass; asked only where the start is exceeded."""
    bounded: bool = False

    def after(self, above: int, loss: float, start: float) -> int:
        """The evaluations in a row that were far above, this `loss` being the newest."""
        if self.bounded or not (math.isfinite(loss) and loss > self.FACTOR * start):
            return 0
        return above + 1 if loss > self.FACTOR * self.constant_loss() else 0

    def is_certain(self, above: int, loss: float) -> bool:
        """Whether the run has diverged."""
        return not math.isfinite(loss) or above >= self.PATIENCE


class Polish(NamedTuple):
    """Newton's steps at the end of a walk, which has come to a minimum, for the last digits of its weights."""

    outcome: Outcome
    """What the walk ends with."""
    at: Float
    """The weights whose curvature the last one took."""
    share: float
    """The largest change of a weight that it made, as a share of the weight."""


class Stretch(NamedTuple):
    """So many steps in a row, and the sum of their losses above the best that the rows allow."""

    steps: int = 0
    total: float = 0.0

    def after(self, loss: float) -> Stretch:
        """With one step more."""
        return Stretch(self.steps + 1, self.total + loss)

    @property
    def mean(self) -> float:
        return self.total / self.steps


class Seen(NamedTuple):
    """What a walk has seen on its way, as far as that may end it."""

    start: float = math.nan
    """The loss at the start."""
    above: int = 0
    """Evaluations in a row far above it; see `Divergence`."""
    check_at: int = 0
    """The step from which on a small gradient is looked at again."""
    best: Best = Best()
    recent: tuple[tuple[Float, float], ...] = ()
    """The last weights and losses of a walk that may swing."""
    stretches: tuple[Stretch, ...] = ()
    """The last stretches of a walk that may swing."""
    polish: Polish | None = None
    """The step that led here, where it was one for the last digits."""


class Doubt(NamedTuple):
    """What Newton's next step would still change where a walk has converged."""

    share: float
    """By what share of it a weight may be off."""
    weight: int
    """Which weight."""
    row: float = 0.0
    """How far the linear predictor of a row would move: far, where classes are separated."""


class Walk(NamedTuple):
    """What a walk knows beside its weights and its optimizer's state: enough to go on from a Step."""

    optimizer: str
    """The name of the optimizer."""
    batch_size: int | None = None
    seed: int | None = None
    """Of the order of rows, where there are batches."""
    seen: Seen = Seen()
    """Before the step was looked at, so that it can be looked at once more."""
    epoch: int = 0
    first: int = 0
    """The number of the first step of the epoch."""
    finite: Float | None = None
    """The last weights whose loss over all rows was finite, where they are not those of the step."""
    weights: Float | None = None
    """Where the walk is, where the step holds other weights: the best ones, or the last finite ones."""
    doubt: Doubt | None = None
    """Of the last step of a walk that has converged."""
