"""The walk downhill: `steps` is a generator of Steps, for every optimizer, over all rows or in batches.

Nothing is called back. Progress, printing, checkpoints, films and early stopping by hand are ordinary
`for step in steps(...)` loops.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from descend.batches import Batches, Piece
from descend.blocks import check_seed
from descend.errors import DescendError, check_whole
from descend.history import Step
from descend.matrix import Float
from descend.objective import Objective
from descend.optimizers import Optimizer
from descend.second_order import as_optimizer, auto_optimizer
from descend.stopping import Divergence, Limits, Outcome, Patience

DEFAULT_EPOCHS = 10


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

    `limit` updates or `epochs` passes are made; without either the walk ends where the gradient norm
    is at most `tolerance` (1e-6), or after 10,000 steps (10 epochs with `batch_size`). `time_limit`
    is in seconds. Step k holds the weights after k updates and the loss there. `validation` adds its
    own loss; with `patience` the walk ends when that has not fallen so many evaluations in a row, and
    the last row holds the best weights.

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
    watch = _Watch(objective, validation, patience, batch_size is not None)
    if batch_size is None:
        chosen = auto_optimizer(objective) if optimizer == "auto" else as_optimizer(optimizer)
        limits = Limits.of(limit if epochs is None else epochs, tolerance, time_limit)
        return _whole(watch, chosen.planned(limits.steps), limits, w)
    chosen = as_optimizer("gradient-descent" if optimizer == "auto" else optimizer)
    if not chosen.first_order:
        raise DescendError(
            f"`batch_size` needs an optimizer that steps on a gradient alone, and `optimizer` {chosen.name} "
            "works on all rows. Use gradient-descent or adam, or leave `batch_size` out."
        )
    batches = Batches(objective, batch_size, seed)
    per_epoch = -(-objective.rows // batches.size)
    given = limit is not None or epochs is not None
    total = limit if limit is not None else per_epoch * (epochs or DEFAULT_EPOCHS)
    limits = Limits.of(total, tolerance if given else tolerance or 1e-6, time_limit)
    return _batched(watch, batches, chosen.planned(total), limits, w)


class _Watch:
    """What is evaluated on the way, and what ends a walk: time, divergence, patience."""

    def __init__(
        self, objective: Objective, validation: Objective | None, patience: int | None, in_batches: bool
    ) -> None:
        self.objective, self.validation, self.in_batches = objective, validation, in_batches
        self.patience = None if patience is None else Patience(patience)
        self.diverged = Divergence(lambda: objective.constant_loss)
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
        outcome = Outcome.DIVERGED if self.diverged(loss) else limits.reached(number, norm, self.elapsed)
        valid = None if self.validation is None else self.validation.value(self.finite)
        if self.patience is not None and valid is not None:
            stop = self.patience(valid, self.finite)
            outcome = outcome or (Outcome.EARLY_STOP if stop else None)
        step = Step(
            number, epoch, loss, None, valid, norm, None, self.elapsed, rows_seen, self.finite, outcome
        )
        return self._best(step) if outcome else step

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


def _whole(watch: _Watch, optimizer: Optimizer, limits: Limits, w: Float) -> Iterator[Step]:
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
            yield step._replace(outcome=Outcome.PRECISION)
            return
        yield step._replace(learning_rate=update.learning_rate)
        w, state = update.weights, update.state


def _batched(
    watch: _Watch, batches: Batches, optimizer: Optimizer, limits: Limits, w: Float
) -> Iterator[Step]:
    """Every step sees one batch; all rows are evaluated at the start, at the end of epochs and at the end."""
    state, number, seen, rows = optimizer.init(w), 0, 0, batches.objective.rows
    for epoch in itertools.count():
        pieces = batches.pieces(epoch)  # begins to gather while all rows are evaluated
        try:
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
                for pending in made:
                    yield pending
                number, seen = (
                    number + len(visited),
                    seen + sum(b.rows for b in piece.batches[: len(visited)]),
                )
                pending = Step(number, seen / rows, None, None, None, None, None, watch.elapsed, seen, w)
                late = limits.seconds is not None and watch.elapsed >= limits.seconds
                if number >= limits.steps or late or not np.isfinite(w).all():
                    break
        finally:
            pieces.close()


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
