"""The learning-rate range test: one short descent in which the learning rate grows with every step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np

from descend.descent.choose import as_optimizer, check
from descend.descent.first_order import GradientDescent, Optimizer
from descend.descent.trajectory import Trajectory, trajectory
from descend.engines.matrix import Float
from descend.errors import DescendError
from descend.objectives.batches import Batches
from descend.objectives.objective import Objective
from descend.runs.endings import safe_limit
from descend.runs.problem import Problem, ProblemOptions

SPAN, STOP = 1e6, 4.0


@dataclass(frozen=True)
class LearningRates:
    """Loss against learning rate, what is suggested, and the limit above which descent leaves; made by `lr_find`.

    `rates` and `losses` have shape (points,): the loss before the step that took the rate. `suggestion` is the rate
    to begin with.

    >>> print(LearningRates(np.array([0.1, 1.0]), np.array([2.0, 1.0]), 0.5, 2.0, exact=True))
    try `learning_rate=0.5`; above 2 the loss grows without end
    """

    rates: Float
    losses: Float
    suggestion: float
    limit: float | None
    """2 / largest curvature, with momentum more; a bound for other losses; None for Adam, and without a bound."""
    exact: bool
    """Whether the limit is exact, rather than a rate that is certain to be safe."""

    def plot(self) -> Any:
        """A picture of the losses on a logarithmic axis, the limit and the suggestion marked."""
        from descend.pictures.plots import plot_rates

        return plot_rates(self)

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"; {'above' if self.exact else 'safe up to'} {self.limit:.4g}"
        grows = " the loss grows without end" if self.limit is not None and self.exact else ""
        return f"try `learning_rate={self.suggestion:.3g}`{limit}{grows}"


def lr_find(
    data: Any,
    y: Any = None,
    *,
    optimizer: Optimizer | str = "gradient-descent",
    batch_size: int | None = None,
    smallest: float | None = None,
    largest: float | None = None,
    points: int = 100,
    start: Any = None,
    **problem: Unpack[ProblemOptions],
) -> LearningRates:
    """Try learning rates from `smallest` to `largest`, one step each, and suggest one.

    Step k takes the rate `smallest * (largest / smallest)**(k / (points - 1))`; the test ends where the loss is 4
    times its best, both less what no weights could do without. Suggested is the rate at which the loss falls most
    steeply on the logarithmic axis; in batches, which are noisy, and of counts, whose curvature has no bound, a tenth of
    that of the lowest loss; and at most half the limit. Without bounds they span six decades about the safe rate.
    `data`, `y` and `problem` are those of `fit`; `batch_size` steps on batches, whose losses are smoothed from that of
    all rows on. `optimizer` is gradient descent or Adam, by name or as an object, whose own rate is not used; `points`
    is at least 10; `start` holds the first weights, zeros unless given. Raises `DescendError` for an optimizer without
    a learning rate, for a penalty with kinks, and for bounds that are none. Smith, Cyclical Learning Rates (2017), section 3.3.

    >>> import descend
    >>> x, y = descend.make_line(100, seed=0)
    >>> found = descend.lr_find(x, y, intercept=False)
    >>> found.suggestion < found.limit, round(found.limit, 4)
    (True, 0.9856)
    """
    chosen = as_optimizer(optimizer)
    if not chosen.first_order:
        raise DescendError(
            f"`optimizer` {chosen.name} has no learning rate to find: give gradient-descent or adam."
        )
    if isinstance(points, bool) or points != int(points) or points < 10:
        raise DescendError(f"`points` must be a whole number of at least 10, got {points!r}.")
    made = Problem.of(data, y, **problem)
    try:
        objective = made.objective
        check(
            chosen,
            objective,
            "leave it to ProximalGradient(), which finds its rate by itself, or use an L2 penalty",
        )
        middle = _natural_rate(objective, chosen)
        low, high = (
            middle / SPAN**0.75 if smallest is None else smallest,
            10 * middle if largest is None else largest,
        )
        if not (math.isfinite(high) and 0 < low < high):
            raise DescendError(f"`smallest` must be above 0 and below `largest`, got {low!r} and {high!r}.")
        w = objective.zeros() if start is None else objective.check_weights(start)
        rates, losses = _sweep(objective, chosen, batch_size, np.geomspace(low, high, points), w)
    finally:
        made.close()
    limit = safe_limit(objective, chosen)
    return LearningRates(
        rates,
        losses,
        _suggestion(rates, losses, limit, batch_size is not None or objective.searches),
        limit,
        objective.exact and not batch_size,
    )


def _natural_rate(objective: Objective, optimizer: Optimizer) -> float:
    """The limit of gradient descent where it begins; of Adam the length of gradient descent's first step."""
    if isinstance(optimizer, GradientDescent):
        return optimizer.rate_limit(objective.expected_curvature)
    return float(np.abs(objective.gradient(objective.zeros())).max()) * objective.safe_rate or 1.0


def _sweep(
    objective: Objective, optimizer: Any, batch_size: int | None, rates: Float, w: Float
) -> tuple[Float, Float]:
    """The losses before each step, in batches smoothed from that of all rows on, as far as they do not run away."""
    state, mean = optimizer.init(w), 0.0 if batch_size is None else objective.value(w)
    losses: list[float] = []
    far = objective.deviance
    batches = _endless(objective, batch_size)
    with np.errstate(over="ignore", invalid="ignore"):
        for rate in rates:
            on = next(batches)
            loss = on.value(w)
            if batch_size is not None:
                loss = mean = 0.9 * mean + 0.1 * loss
            if not math.isfinite(loss):
                break
            if losses and loss > losses[0] and far(loss) > STOP * max(far(min(losses)), 1e-300):
                break
            losses.append(loss)
            update = replace(optimizer, learning_rate=float(rate)).step(on, w, state)
            w, state = update.weights, update.state
    return rates[: len(losses)], np.array(losses)


def _endless(objective: Objective, batch_size: int | None) -> Iterator[Objective]:
    """The objective again and again, or batch after batch, epoch after epoch."""
    if batch_size is None:
        while True:
            yield objective
    batches, epoch = Batches(objective, batch_size), 0
    while True:
        with batches.pieces(epoch) as pieces:
            for piece in pieces:
                yield from piece.batches
        epoch += 1


def _suggestion(rates: Float, losses: Float, limit: float | None, careful: bool) -> float:
    """Where the loss falls most steeply, to be `careful` a tenth of where it is lowest; at most half the limit."""
    if careful or len(rates) < 3:
        found = 0.1 * float(rates[int(np.argmin(losses))])
    else:
        found = float(rates[int(np.argmin(np.gradient(losses, np.log(rates))))])
    return found if limit is None else min(found, 0.5 * limit)


def path(
    data: Any,
    y: Any = None,
    *,
    optimizer: Optimizer | str = "gradient-descent",
    at: Sequence[int] | None = None,
    start: Any = None,
    **problem: Unpack[ProblemOptions],
) -> Trajectory:
    """The path of gradient descent on squared error in closed form, at the steps `at` (0 to 100 unless given).

    `w_t = w* + V diag((1 - rate * curvature)**t) V' (w_0 - w*)`, with `H = V diag(curvature) V'` the second
    derivatives and `w*` the minimum; momentum and Nesterov's by powers of 2 x 2 matrices. `data`, `y` and `problem`
    are those of `fit`, or `data` is an `Objective`. `optimizer` is gradient descent, by name or as an object at a
    constant rate; `start` holds the first weights, zeros unless given. Equal to stepping up to rounding. Raises
    `DescendError` for another loss or optimizer, and for a learning rate that changes.

    >>> import descend
    >>> x, y = descend.make_line(100, seed=0)
    >>> track = descend.path(x, y, intercept=False, optimizer=descend.GradientDescent(0.1), at=(0, 100, 10**6))
    >>> track.loss.round(4).tolist(), track.steps_within(0.01), round(track.learning_rate_limit, 4)
    ([11.6197, 0.0842, 0.0842], 54, 0.9856)
    """
    if isinstance(data, Objective):
        return trajectory(data, optimizer, at, start)
    made = Problem.of(data, y, **problem)
    try:
        return trajectory(made.objective, optimizer, at, start)
    finally:
        made.close()
