"""A sample of the training rows for pictures: at most a thousand, and never a read of all the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block, Source
from descend.engines.matrix import Array, Float
from descend.objectives.losses import Loss
from descend.objectives.penalties import Penalty
from descend.objectives.statistics import HessianSum, linear_predictor

MAX_POINTS = 1_000
MAX_CELLS = 1_000_000
"""Cells of `X` that a sample may hold, so that wide data gives fewer rows."""
LEAVES = 8
"""Leaves that a sample is spread over."""


@dataclass(frozen=True)
class Sample:
    """Some rows of a source, as dense columns.

    `X` has shape (points, features), `y` and `sample_weight` (points,); `rows` is how many rows they
    stand for; `first` says that they are the first rows rather than spread over all.
    """

    X: Float
    y: Float
    sample_weight: Float | None
    rows: int
    first: bool = False

    @property
    def whole(self) -> bool:
        """Whether the sample holds all rows."""
        return len(self.y) >= self.rows

    @property
    def block(self) -> Block:
        return Block(self.X, self.y, self.sample_weight)

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
    weight = None if taken.sample_weight is None else np.asarray(taken.sample_weight, dtype=np.float64)
    y = np.asarray(taken.y, dtype=np.float64)
    return Sample(dense(taken), y, weight, max(rows, len(y)), not spread)


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


@dataclass(frozen=True)
class SampledLoss:
    """A loss and penalty on a sample of rows, shifted to agree with the whole at `anchor`.

    `value(w) = F_S(w) - F_S(anchor) - <grad F_S(anchor), w - anchor> + loss_at_anchor`: where the
    anchor is the minimum of the whole, it is that of the shifted sample too. With `tilted` False the
    gradient term is left out, which keeps the shape of the sample's loss far from a minimum.
    """

    sample: Sample
    loss: Loss
    penalty: Penalty
    intercept: bool
    anchor: Float
    loss_at_anchor: float
    tilted: bool = True

    def __post_init__(self) -> None:
        value, gradient = self._plain(self.anchor)
        if not self.tilted or self.sample.whole:
            gradient = np.zeros_like(gradient)
        shift = self.loss_at_anchor - value if np.isfinite(self.loss_at_anchor) else 0.0
        object.__setattr__(self, "_shift", shift)
        object.__setattr__(self, "_gradient", gradient)

    _shift: float = 0.0
    _gradient: Float | None = None

    def value(self, w: Float) -> float:
        assert self._gradient is not None
        return self._value(w) + self._shift - float(np.vdot(self._gradient, w - self.anchor))

    def plane(self, w: Float, pair: Array, across: Float, up: Float) -> Float:
        """`value` where two of the weights, raveled, take the values `across` and `up`: shape (up, across).

        Only two columns move, so each of the values costs one look at the predictions, not at `X`.
        """
        assert self._gradient is not None
        z = linear_predictor(self.sample.block, w, self.intercept)
        outputs = w.shape[1] if w.ndim == 2 else 1
        moves = [self._column(int(i) // outputs, int(i) % outputs, z) for i in pair]
        there, weights = w.ravel().copy(), self._weights / self._weights.sum()
        slope = self._gradient.ravel()[pair]
        start = float(np.vdot(self._gradient, w - self.anchor)) - float(slope @ there[pair])
        first, second = there[pair]
        values = np.empty((len(up), len(across)))
        for j, b in enumerate(up):
            row = z + (b - second) * moves[1]
            for i, a in enumerate(across):
                there[pair] = a, b
                with np.errstate(over="ignore", invalid="ignore"):
                    losses = self.loss.value(row + (a - first) * moves[0], self.sample.y)
                penalty = self.penalty.value(self._penalised(there.reshape(w.shape)))
                values[j, i] = float(weights @ losses) + penalty - float(slope @ there[pair])
        return values + self._shift - start

    def _column(self, row: int, output: int, z: Float) -> Float:
        """How the predictions change with one weight: a column of `X` at its output."""
        column = self.sample.X[:, row] if row < self.sample.X.shape[1] else np.ones(len(z))
        if z.ndim == 1:
            return column
        change = np.zeros_like(z)
        change[:, output] = column
        return change

    def hessian(self) -> Float:
        """The second derivatives at the anchor, of shape (w.size, w.size)."""
        H = HessianSum(self.loss, self.intercept).of(self.sample.block, self.anchor) / self._weights.sum()
        d = np.zeros(self.anchor.shape)
        v = self._penalised(self.anchor)
        d[: len(v)] = self.penalty.curvature(v)
        H[np.diag_indices_from(H)] += d.ravel()
        return np.asarray(H)

    @property
    def _weights(self) -> Float:
        s = self.sample.sample_weight
        return np.ones(len(self.sample.y)) if s is None else s

    def _penalised(self, w: Float) -> Float:
        return w[:-1] if self.intercept else w

    def _value(self, w: Float) -> float:
        z = linear_predictor(self.sample.block, w, self.intercept)
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.loss.value(z, self.sample.y)
        mean = float(self._weights @ values / self._weights.sum())
        return mean + self.penalty.value(self._penalised(w))

    def _plain(self, w: Float) -> tuple[float, Float]:
        z = linear_predictor(self.sample.block, w, self.intercept)
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = self.loss.gradient(z, self.sample.y)
        s = self._weights / self._weights.sum()
        slopes = slopes * s.reshape(-1, *[1] * (slopes.ndim - 1))
        gradient = np.empty(w.shape)
        v = self._penalised(w)
        gradient[: len(v)] = self.sample.X.T @ slopes + self.penalty.gradient(v)
        if self.intercept:
            gradient[-1] = slopes.sum(axis=0)
        return self._value(w), gradient
