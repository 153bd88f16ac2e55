"""The walk downhill: `steps` is a generator of Steps, for every optimizer, over all rows or in batches.

Nothing is called back. Progress, printing, checkpoints, films and early stopping by hand are ordinary
`for step in steps(...)` loops.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from descend.descent.choose import NEWTON_LIMIT, as_optimizer, auto_optimizer
from descend.descent.first_order import GradientDescent, Optimizer, check_first_order
from descend.descent.history import Step
from descend.descent.newton import minimum
from descend.descent.stopping import Divergence, Limits, Outcome, Patience
from descend.engines.matrix import Float
from descend.engines.splits import check_seed
from descend.errors import DescendError, check_whole
from descend.objectives.batches import Batches, Piece
from descend.objectives.newton_steps import NEGLIGIBLE
from descend.objectives.objective import Objective

DEFAULT_EPOCHS = 10
SWINGS, SWING_CHECK, NEWTON_STEPS = 16, 200, 15
"""Weights that are looked back on to tell whether they swing, and how often a walk without a limit asks."""


def steps(
    objective: Objective,
    optimizer: Optimizer | str = "auto",
    *,
    limit: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    start: Any = None,
    tolerance: float | None = None,
    time_limit: float | None = None,
    validation: Objective | None = None,
    patience: int | None = None,
) -> Iterator[Step]:
    """Walk downhill, one Step at a time: row 0 is the start, the last row has an `outcome`.

    `objective` is what is minimised, `optimizer` one of the package's objects, its name, or "auto", which takes what
    the objective allows. `start` holds the first weights, zeros unless given, in the shape of `objective.shape`.
    `limit` updates or `epochs` passes are made; without either the walk ends where the gradient norm is at most
    `tolerance` (1e-6, and then only if the loss is at its minimum to six digits: in raw units a small gradient alone
    proves little), or after 10,000 steps (10 epochs with `batch_size`, which steps on so many rows at a time, in an
    order that `seed` decides). `time_limit` is in seconds. Step k holds the weights after k updates and the loss
    there. `validation` adds its own loss; with `patience` the walk ends when that has not fallen so many evaluations
    in a row, and the last row holds the best weights. Raises `DescendError` where settings do not go together and
    `ShapeError` where `start` does not fit, before the first step.

    >>> from descend import GradientDescent, Objective, make_line
    >>> x, y = make_line(100, seed=0)
    >>> for step in steps(Objective.of(x, y, intercept=False), GradientDescent(0.1), limit=100):
    ...     if step.number % 50 == 0:
    ...         print(step.number, round(step.loss, 3))
    0 11.62
    50 0.086
    100 0.084
    """
    if patience is not None and validation is None:
        raise DescendError(
            "`patience` watches the validation loss: give `valid` too (0.2 holds out a fifth)."
        )
    if limit is not None and epochs is not None:
        raise DescendError("give `steps` or `epochs`, not both: a step is one update, an epoch one pass.")
    if epochs is not None:
        check_whole("epochs", epochs)
    check_seed(seed)
    w = objective.zeros() if start is None else objective.check_weights(start)
    chosen = auto_optimizer(objective) if optimizer == "auto" else as_optimizer(optimizer)
    watch = _Monitor(objective, validation, patience, batch_size is not None, chosen, tolerance is None)
    if batch_size is None:
        limits = Limits.of(limit if epochs is None else epochs, tolerance, time_limit)
        return _whole(watch, chosen.planned(limits.steps), limits, w)
    chosen = as_optimizer("gradient-descent" if optimizer == "auto" else optimizer)
    check_first_order(chosen)
    batches = Batches(objective, batch_size, seed)
    per_epoch = -(-objective.rows // batches.size)
    given = limit is not None or epochs is not None
    total = limit if limit is not None else per_epoch * (epochs or DEFAULT_EPOCHS)
    limits = Limits.of(total, tolerance if given else tolerance or 1e-6, time_limit)
    return _batched(watch, batches, chosen.planned(total), limits, w)


class _Monitor:
    """What is evaluated on the way, and what ends a walk: time, divergence, patience."""

    def __init__(
        self,
        objective: Objective,
        validation: Objective | None,
        patience: int | None,
        in_batches: bool,
        optimizer: Optimizer,
        verified: bool,
    ) -> None:
        self.objective, self.validation, self.in_batches = objective, validation, in_batches
        self.patience = None if patience is None else Patience(patience)
        self.optimizer, self.verified, self.check_at, self.start = optimizer, verified, 0, math.nan
        swinging = isinstance(optimizer, GradientDescent) and not in_batches
        bounded = swinging and _is_bounded(objective, optimizer)
        self.diverged = Divergence(lambda: objective.constant_loss, bounded)
        self.recent: deque[tuple[Float, float]] | None = deque(maxlen=SWINGS) if bounded else None
        self.began = time.perf_counter()
        self.finite: Float = objective.zeros()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def evaluate(self, number: int, w: Float, limits: Limits, epoch: float, rows_seen: int) -> Step:
        """The row of `number` steps: losses over all rows, and the outcome if this is the end."""
        norm: float | None = None
        if limits.tolerance is None and self.in_batches:
            loss = self.objective.value(w)
        else:
            loss, gradient = self.objective.value_and_gradient(w)
            norm = float(np.linalg.norm(gradient))
        if math.isfinite(loss) and np.isfinite(w).all():
            self.finite = w
        if math.isnan(self.start):
            self.start = loss
        small = limits.tolerance is not None and norm is not None and norm <= limits.tolerance
        proven = not small or self.at_minimum(number, w, loss, norm or 0.0)
        reached = limits.reached(number, norm if proven else None, self.elapsed)
        outcome = (
            Outcome.DIVERGED if self.diverged(loss) else self._or_swinging(reached, number, w, loss, limits)
        )
        valid = None if self.validation is None else self.validation.value(self.finite)
        if self.patience is not None and valid is not None:
            stop = self.patience(valid, self.finite)
            outcome = outcome or (Outcome.EARLY_STOP if stop else None)
        step = Step(
            number, epoch, loss, None, valid, norm, None, self.elapsed, rows_seen, self.finite, outcome
        )
        return self._best(step) if outcome else step

    def at_minimum(self, number: int, w: Float, loss: float, norm: float) -> bool:
        """Whether a small gradient is that of a minimum: to six digits, or seven where that is an estimate.

        Estimated by what a Newton step would still gain, where the tolerance is our own, and then ever more
        rarely. In standardised columns, as a table's are, a penalty may prove it alone: the loss is at most
        `norm**2 / (2 alpha)` above the minimum. Not known, and so taken for granted, of very many weights
        without a penalty.
        """
        objective, rounding = self.objective, 1e-13 * self.start
        if not self.verified:
            return True
        raw = objective.session.source.as_given
        if not objective.penalty.is_zero and not raw:
            alpha = float(objective.penalty.curvature(objective.penalised(w)).min(initial=np.inf))
            if norm * norm <= 2.0 * alpha * (NEGLIGIBLE * loss + rounding):
                return True
        if w.size > NEWTON_LIMIT and not objective.exact:
            return raw or objective.penalty.is_zero
        if number < self.check_at:
            return False
        self.check_at = number + 1 + number // 10
        return objective.excess(w) <= 0.1 * NEGLIGIBLE * loss + rounding

    def _or_swinging(
        self, outcome: Outcome | None, number: int, w: Float, loss: float, limits: Limits
    ) -> Outcome | None:
        """The outcome, or that the walk swings about the minimum: asked at a limit, and now and then without one."""
        if self.recent is None or not math.isfinite(loss):
            return outcome
        self.recent.append((w, loss))
        asked = limits.tolerance is not None and number % SWING_CHECK == 0
        at_limit = outcome in (Outcome.STEP_LIMIT, Outcome.TIME_LIMIT)
        return Outcome.OSCILLATING if (asked or at_limit) and self._swings() else outcome

    def _swings(self) -> bool:
        """Whether losses rise or moves turn round, at a rate above what the curvature in their midst allows."""
        assert self.recent is not None
        assert isinstance(self.optimizer, GradientDescent)
        if len(self.recent) < SWINGS or self.recent[0][0].size > NEWTON_LIMIT:
            return False
        weights, losses = np.array([w.ravel() for w, _ in self.recent]), np.array([x for _, x in self.recent])
        moves = np.diff(weights, axis=0)
        turns = np.einsum("ij,ij->i", moves[1:], moves[:-1]) < 0
        if not (turns.mean() > 0.5 or (np.diff(losses) > 0).any()):
            return False
        middle = weights.mean(axis=0).reshape(self.objective.shape)
        limit = limit_at_minimum(self.objective, self.optimizer, middle)
        return self.optimizer.rate(self.objective) > limit

    def _best(self, step: Step) -> Step:
        """The last row at the best weights, where patience has kept any."""
        if self.patience is None or self.patience.weights is None or step.outcome is Outcome.DIVERGED:
            return step
        best = self.patience.weights
        loss, gradient = self.objective.value_and_gradient(best)
        return step._replace(
            loss=loss,
            gradient_norm=float(np.linalg.norm(gradient)),
            validation_loss=self.patience.loss,
            weights=best,
        )


def limit_at_minimum(objective: Objective, optimizer: GradientDescent, near: Float) -> float:
    """The learning rate above which it cannot settle at the minimum, which Newton's method finds from `near`."""
    w = minimum(objective, near, NEWTON_STEPS, precision=1e-6)
    return optimizer.rate_limit(float(np.linalg.eigvalsh(objective.hessian(w))[-1]))


def _is_bounded(objective: Objective, optimizer: Optimizer) -> bool:
    """Whether gradient descent cannot leave for infinity, because neither the loss nor the penalty throws it out."""
    assert isinstance(optimizer, GradientDescent)
    bounded = objective.loss.slope_bound < math.inf
    if not bounded or objective.penalty.is_zero:
        return bounded
    rate, curvature = optimizer.schedule.rate, float(objective.penalty_curvature(objective.zeros()).max())
    return isinstance(rate, str) or rate < optimizer.rate_limit(curvature)


def _whole(watch: _Monitor, optimizer: Optimizer, limits: Limits, w: Float) -> Iterator[Step]:
    """Every step sees all rows."""
    state = optimizer.init(w)
    for number in itertools.count():
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging walk overflows; the outcome says so
            seen = number * watch.objective.rows if number else 0  # the first evaluation counts the rows
            step = watch.evaluate(number, w, limits, number, seen)
            if step.outcome:
                yield step
                return
            update = optimizer.step(watch.objective, w, state)
        if update.stalled:
            watch.check_at = number
            done = step.loss is not None and watch.at_minimum(number, w, step.loss, step.gradient_norm or 0.0)
            yield step._replace(outcome=Outcome.PRECISION if done else Outcome.STALLED)
            return
        yield step._replace(learning_rate=update.learning_rate)
        w, state = update.weights, update.state


def _batched(
    watch: _Monitor, batches: Batches, optimizer: Optimizer, limits: Limits, w: Float
) -> Iterator[Step]:
    """Every step sees one batch; all rows are evaluated at the start, at the end of epochs and at the end."""
    state, number, seen, rows = optimizer.init(w), 0, 0, batches.objective.rows
    pieces: Iterable[Piece]
    for epoch in itertools.count():
        # the next epoch begins to be gathered while all rows are evaluated
        with batches.pieces(epoch) if number < limits.steps else nullcontext([]) as pieces:
            with np.errstate(over="ignore", invalid="ignore"):
                pending = watch.evaluate(number, w, limits, seen / rows, seen)
            if pending.outcome:
                yield pending
                return
            for piece in pieces:
                visited: list[tuple[Float, float | None]] = []
                with np.errstate(over="ignore", invalid="ignore"):
                    for batch in piece.batches[: limits.steps - number]:
                        update = optimizer.step(batch, w, state)
                        visited.append((w, update.learning_rate))
                        w, state = update.weights, update.state
                    made = _rows(pending, piece, visited, seen, rows, watch.elapsed)
                yield from made
                number, seen = (
                    number + len(visited),
                    seen + sum(b.rows for b in piece.batches[: len(visited)]),
                )
                pending = Step(number, seen / rows, None, None, None, None, None, watch.elapsed, seen, w)
                late = limits.seconds is not None and watch.elapsed >= limits.seconds
                if number >= limits.steps or late or not np.isfinite(w).all():
                    break


def _rows(
    first: Step, piece: Piece, visited: list[tuple[Float, float | None]], seen: int, rows: int, elapsed: float
) -> list[Step]:
    """The rows of the steps made on a piece; the first may hold the losses over all rows already."""
    losses = piece.losses([w for w, _ in visited]).tolist()
    made = []
    for number, ((w, rate), loss, batch) in enumerate(
        zip(visited, losses, piece.batches, strict=False), first.number
    ):
        made.append(Step(number, seen / rows, None, loss, None, None, rate, elapsed, seen, w))
        seen += len(batch.y)
    made[0] = first._replace(batch_loss=losses[0], learning_rate=visited[0][1])
    return made
