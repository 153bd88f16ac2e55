"""A sample of the training rows for pictures, at most a thousand and never a read of all the data, and the loss on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from descend.engines import matrix
from descend.engines.arrays import ArraySource
from descend.engines.blocks import Block, Source
from descend.engines.engine import ThreadSession
from descend.engines.matrix import Array, Float
from descend.objectives.losses import Loss
from descend.objectives.objective import Summed
from descend.objectives.penalties import Penalty
from descend.objectives.quadratic import Quadratic
from descend.objectives.statistics import linear_predictor

MAX_POINTS = 1_000
MAX_CELLS = 1_000_000
"""Cells of `X` that a sample may hold, so that wide data gives fewer rows."""
LEAVES = 8
"""Leaves that a sample is spread over."""


@dataclass(frozen=True)
class Sample:
    """Some rows of a source, as dense columns.

    `X` has shape (points, features), `y`, `sample_weight` and `offset` (points,); `rows` is how many rows
    they stand for; `first` says that they are the first rows rather than spread over all.
    """

    X: Float
    y: Float
    sample_weight: Float | None
    rows: int
    first: bool = False
    offset: Float | None = None

    @property
    def whole(self) -> bool:
        """Whether the sample holds all rows."""
        return len(self.y) >= self.rows

    @property
    def block(self) -> Block:
        return Block(self.X, self.y, self.sample_weight, self.offset)

    @property
    def description(self) -> str:
        """In words.

        >>> Sample(np.ones((3, 1)), np.ones(3), None, 10).description
        '3 of 10 rows'
        """
        if self.whole:
            return f"all {self.rows:,} rows"
        return f"{'the first ' if self.first else ''}{len(self.y):,} of {self.rows:,} rows"


def sample_of(source: Source, rows: int, points: int = MAX_POINTS) -> Sample | None:
    """Rows evenly spaced over a few leaves of a source, the same ones every time.

    Where leaves can only be had by reading the data again, the first leaf that holds rows is taken.
    None where there are no rows.
    """
    points = min(points, max(MAX_CELLS // max(len(source.feature_names), 1), 10))
    if source.ready:
        leaves = np.unique(np.linspace(0, source.leaf_count - 1, LEAVES).round().astype(np.int64))
        block, at = source.window(leaves)
        spread = len(leaves) > 1 or source.leaf_count == 1
    else:
        found = _first_block(source)
        if found is None:
            return None
        block, at, spread = found, np.arange(found.rows), found.rows >= rows
    if not len(at):
        return None
    at = at[np.unique(np.linspace(0, len(at) - 1, points).round().astype(np.int64))]
    taken = block.take(at)
    weight, offset = (
        None if column is None else np.asarray(column, dtype=np.float64)
        for column in (taken.sample_weight, taken.offset)
    )
    y = np.asarray(taken.y, dtype=np.float64)
    return Sample(dense(taken), y, weight, max(rows, len(y)), not spread, offset)


def _first_block(source: Source) -> Block | None:
    for part in source.parts():
        for leaf in part.leaves():
            block = leaf.block()
            if block is not None:
                return block
    return None


def dense(block: Block) -> Float:
    """The `X` of a block as a float64 array of its own."""
    numbers, sparse = matrix.split(block.X)
    parts = [] if numbers is None else [np.asarray(numbers, dtype=np.float64)]
    if sparse is not None:
        parts.append(np.asarray(sparse.toarray(), dtype=np.float64))
    return np.ascontiguousarray(np.hstack(parts))


class Sampled(Summed):
    """An objective summed over a sample of rows, shifted to agree with the whole at `anchor`.

    `F(w) = F_S(w) - F_S(anchor) - <grad F_S(anchor), w - anchor> + loss_at_anchor`: where the
    anchor is the minimum of the whole, it is that of the shifted sample too. With `tilted` False the
    gradient term is left out, which keeps the shape of the sample's loss far from a minimum. A
    `loss_at_anchor` that is not finite shifts nothing.

    >>> from descend.objectives.losses import LogisticLoss
    >>> from descend.objectives.penalties import L2
    >>> sample = Sample(np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 0.0]), None, 30)
    >>> about = Sampled(sample, LogisticLoss(), L2(), True, np.array([0.1, -0.5]), 0.65)
    >>> about.value(np.array([0.1, -0.5])), float(abs(about.gradient(np.array([0.1, -0.5]))).max())
    (0.65, 0.0)
    """

    exact: ClassVar[Literal[False]] = False

    def __init__(
        self,
        points: Sample,
        loss: Loss,
        penalty: Penalty,
        intercept: bool,
        anchor: Float,
        loss_at_anchor: float,
        tilted: bool = True,
    ) -> None:
        s = points.sample_weight
        self.s = np.ones(len(points.y)) if s is None else s
        source = ArraySource(points.X, points.y, self.s, offset=points.offset)
        super().__init__(ThreadSession(source, 1, holds_blas=False), loss, penalty, intercept, anchor.shape)
        self.points, self.anchor, self.tilted = points, anchor, tilted
        self._shift, self._slope = 0.0, np.zeros_like(anchor)
        if np.isfinite(loss_at_anchor):
            self._shift = loss_at_anchor - self._value(anchor)
        if tilted and not points.whole:
            self._slope = self._evaluate(anchor)[1]

    def _value(self, w: Float) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return super()._value(w) + self._shift - float(np.vdot(self._slope, w - self.anchor))

    def _evaluate(self, w: Float) -> tuple[float, Float]:
        with np.errstate(over="ignore", invalid="ignore"):
            value, gradient = super()._evaluate(w)
        gradient -= self._slope
        return value + self._shift - float(np.vdot(self._slope, w - self.anchor)), gradient

    def plane(self, w: Float, pair: Array, across: Float, up: Float) -> Float:
        """`value` where two of the weights, raveled, take the values `across` and `up`: shape (up, across).

        Only two columns move, so each of the values costs one look at the predictions, not at `X`.
        """
        z = linear_predictor(self.points.block, w, self.intercept)
        outputs = w.shape[1] if w.ndim == 2 else 1
        moves = [self._column(int(i) // outputs, int(i) % outputs, z) for i in pair]
        there, weights = w.ravel().copy(), self.s / self.s.sum()
        slope = self._slope.ravel()[pair]
        start = float(np.vdot(self._slope, w - self.anchor)) - float(slope @ there[pair])
        first, second = there[pair]
        values = np.empty((len(up), len(across)))
        with np.errstate(over="ignore", invalid="ignore"):
            for j, b in enumerate(up):
                row = z + (b - second) * moves[1]
                for i, a in enumerate(across):
                    there[pair] = a, b
                    losses = self.loss.value(row + (a - first) * moves[0], self.points.y)
                    penalty = self.penalty_value(there.reshape(w.shape))
                    values[j, i] = float(weights @ losses) + penalty - float(slope @ there[pair])
        return values + self._shift - start

    def _column(self, row: int, output: int, z: Float) -> Float:
        """How the predictions change with one weight: a column of `X` at its output."""
        column = self.points.X[:, row] if row < self.points.X.shape[1] else np.ones(len(z))
        if z.ndim == 1:
            return column
        change = np.zeros_like(z)
        change[:, output] = column
        return change


Around: TypeAlias = Quadratic | Sampled
"""The loss around a run, for pictures: in closed form, or on a sample; `exact` tells which."""
