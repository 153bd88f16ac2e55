"""Learning in instalments: what is kept between chunks of rows that come one after the other.

Squared error keeps its moments, which add up: the weights after any chunk are exactly those of all rows
so far. Other losses keep an optimizer's state and go once over each chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from descend.descent.choose import check
from descend.descent.first_order import Optimizer, check_first_order
from descend.descent.steps import steps
from descend.engines.arrays import ArraySource
from descend.engines.engine import Threads
from descend.engines.matrix import Array, Float, Matrix
from descend.engines.moments import Moments
from descend.objectives.batches import Batches
from descend.objectives.coordinates import Coordinates
from descend.objectives.losses import Loss
from descend.objectives.objective import CLOSED_FORM, Objective, has_closed_form
from descend.objectives.penalties import Penalty
from descend.objectives.quadratic import Quadratic

CHUNK_BATCH = 256
"""The batch size of a pass over a chunk where none is given."""


class Instalments(Protocol):
    """What learns from one chunk of rows after the other."""

    number: int
    """Steps made so far."""

    @property
    def weight(self) -> float:
        """The sum of the sample weights so far."""

    def take(
        self, X: Matrix, y: Array, s: Float | None, penalty: Penalty, start: Float | None
    ) -> tuple[Float, float]:
        """Learn from a chunk; the weights in the units of the data, and the loss there."""


def instalments(
    loss: Loss,
    intercept: bool,
    columns: int,
    *,
    optimizer: Optimizer,
    outputs: int | None = None,
    batch_size: int | None = None,
    standardize: bool = True,
    seed: int = 0,
) -> Instalments:
    """Sums where moments are enough, else passes, which the settings are of."""
    if has_closed_form(loss, columns):
        return Sums(intercept)
    return Passes(loss, intercept, optimizer, outputs, batch_size, standardize, seed)


@dataclass
class Sums:
    """Squared error: the moments of all chunks, and their minimum.

    >>> sums, x, y = Sums(False), np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 3.0, 7.0])
    >>> from descend.objectives.penalties import L2
    >>> for rows in (slice(0, 2), slice(2, 3)):
    ...     w, loss = sums.take(x[rows], y[rows], None, L2(0.0))
    >>> bool(np.isclose(w[0], np.linalg.lstsq(x, y)[0][0]))
    True
    """

    intercept: bool
    moments: Moments | None = None
    number: int = 0

    @property
    def weight(self) -> float:
        return 0.0 if self.moments is None else self.moments.weight

    def take(
        self, X: Matrix, y: Array, s: Float | None, penalty: Penalty, start: Float | None = None
    ) -> tuple[Float, float]:
        """Add the moments of a chunk, and go to their minimum: from `start` where there is no closed form."""
        session = Threads().open(ArraySource(X, y, s))
        try:
            found = session.reduce(Moments)
        finally:
            session.close()
        self.moments = found if self.moments is None else Moments.merge(self.moments, found)
        self.number += 1
        quadratic = Quadratic.from_moments(self.moments, penalty, self.intercept)
        if CLOSED_FORM in quadratic.offers:
            w = quadratic.of_minimum_norm(quadratic.minimum())
        else:
            *_, last = steps(quadratic, start=start)
            w = last.weights
        return w, quadratic.value(w)


@dataclass
class Passes:
    """One pass of an optimizer over each chunk: mini-batches of a first-order one, one step of another.

    Its state and the number of its steps go on from chunk to chunk; coordinates are those of the first
    chunk. The loss is the chunk's, after the pass.
    """

    loss: Loss
    intercept: bool
    optimizer: Optimizer
    outputs: int | None = None
    batch_size: int | None = None
    standardize: bool = True
    seed: int = 0
    number: int = 0
    epoch: int = 0
    total: float = 0.0
    units: Coordinates | None = None
    weights: Float | None = None
    state: Any = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_first_order(self.optimizer)

    @property
    def weight(self) -> float:
        return self.total

    def take(
        self, X: Matrix, y: Array, s: Float | None, penalty: Penalty, start: Float | None = None
    ) -> tuple[Float, float]:
        """Go over a chunk; `start` holds the weights to begin at, if this is the first."""
        session = Threads().open(ArraySource(X, y, s))
        try:
            objective = Objective.over(
                session, loss=self.loss, penalty=penalty, intercept=self.intercept, outputs=self.outputs
            )
            check(self.optimizer, objective)
            if self.standardize and self.units is None:
                self.units = Coordinates.of(objective, in_batches=self.optimizer.first_order)
            there = objective if self.units is None else objective.in_coordinates(self.units)
            if self.weights is None:
                w = objective.zeros() if start is None else objective.check_weights(start)
                self.weights = w if self.units is None else self.units.to_descent(w)
                self.state = self.optimizer.init(self.weights)
            with np.errstate(over="ignore", invalid="ignore"):
                self._pass(there, self.weights)
            self.total += objective.weight
            w = self.weights if self.units is None else self.units.to_original(self.weights)
            return w, objective.value(w)
        finally:
            session.close()

    def _pass(self, objective: Objective, w: Float) -> None:
        if not self.optimizer.first_order:
            self._advance(objective, w)
            return
        batches = Batches(objective, self.batch_size or CHUNK_BATCH, self.seed)
        self.epoch += 1
        with batches.pieces(self.epoch - 1) as pieces:
            for piece in pieces:
                for batch in piece.batches:
                    w = self._advance(batch, w)

    def _advance(self, objective: Objective, w: Float) -> Float:
        update = self.optimizer.step(objective, w, self.state)
        self.weights, self.state, self.number = update.weights, update.state, self.number + 1
        return update.weights
