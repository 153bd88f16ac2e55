"""Mini-batches: the order of the rows in an epoch, and the objective of one batch.

The order is one law for arrays and files: epoch e permutes the leaves by `Philox(seed, e)`, then the
rows within windows of 2**20; batches are cut from that sequence, and a short last batch averages its
own rows. Batches are gathered in pieces of some ten thousand rows by a thread of their own, so that the
loop finds them ready.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import ClassVar, Generic, TypeVar
from weakref import ReferenceType, ref

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block, Source, leaf_rows
from descend.engines.matrix import Array, Float, Matrix
from descend.engines.splits import check_seed
from descend.errors import DescendError, check_whole
from descend.objectives.coordinates import Coordinates
from descend.objectives.objective import HESSIAN, Objective
from descend.objectives.penalties import L2, Penalty
from descend.objectives.statistics import RowNorms, shifted

T = TypeVar("T")
WINDOW_ROWS = 2**20
PIECE_LEAVES = 2
"""So many leaves' rows are gathered at once: every piece makes two threads wait for each other a few times."""


class Batch(Objective):
    """The objective of one batch: mean loss over its rows plus the penalty.

    With sample weights the sum is divided by rows times the mean weight of all rows, so that the
    gradient is unbiased and a weight of two counts as a row twice.
    """

    whole: ClassVar[bool] = False
    moments = None

    __slots__ = ("X", "batches", "loss", "offset", "s", "scale", "y", "z")

    def __init__(
        self, of: Batches, X: Matrix, y: Array, s: Array | None, z: Float, offset: Array | None
    ) -> None:
        self.batches, self.loss = of, of.objective.loss
        self.X, self.y, self.s, self.z, self.offset = X, y, s, z, offset
        self.scale = 1.0 / (len(y) * of.mean_weight)

    def _predictor(self, w: Float, z: Float) -> Float:
        """The linear predictor at `w`, written to `z`."""
        if type(self.X) is np.ndarray:
            np.dot(self.X, w, out=z)
        else:
            z[...] = matrix.product(self.X, w)
        return shifted(z, self.offset)

    def gradient(self, w: Float) -> Float:
        X, dense = self.X, type(self.X) is np.ndarray
        g = self.loss.gradient(self._predictor(w, self.z), self.y)
        if self.s is not None:
            g *= self.s if g.ndim == 1 else self.s[:, None]
        out: Float = np.dot(X.T, g) if dense else matrix.transposed_product(X, g)
        out *= self.scale
        if self.batches.penalised:
            self.add_penalty(w, out)
        return out

    @property
    def offers(self) -> frozenset[str]:
        return super().offers - {HESSIAN}

    @property
    def unpenalised(self) -> Batch:
        return self.with_penalty(L2(0.0))

    def with_penalty(self, penalty: Penalty) -> Batch:
        batches = replace(self.batches, objective=self.batches.objective.with_penalty(penalty))
        return Batch(batches, self.X, self.y, self.s, self.z, self.offset)

    def _evaluate(self, w: Float) -> tuple[float, Float]:
        gradient = self.gradient(w)
        return self._loss(w, self.z), gradient

    def _value(self, w: Float) -> float:
        return self._loss(w, self._predictor(w, np.empty_like(self.z)))

    def _loss(self, w: Float, z: Float) -> float:
        """The loss at `w`, whose linear predictor is `z`."""
        return float(Piece(self.batches, self.X, self.y, self.s, z, self.offset).losses([w])[0])

    def hessian(self, w: Float) -> Float:
        raise DescendError("mini-batches serve first-order optimizers only: a batch has no Hessian.")

    def hessian_on(self, w: Float, columns: Array, units: Coordinates) -> Float:
        return self.hessian(w)

    @property
    def rows(self) -> int:  # type: ignore[override]
        return len(self.y)

    @property
    def share(self) -> float:  # type: ignore[override]
        return len(self.y) / self.batches.objective.rows

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.batches.objective.shape

    @property
    def penalty(self) -> Penalty:  # type: ignore[override]
        return self.batches.objective.penalty

    @property
    def intercept(self) -> bool:  # type: ignore[override]
        return self.batches.objective.intercept

    @property
    def expected_curvature(self) -> float:
        return self.batches.objective.expected_curvature

    @property
    def constant(self) -> Float:
        return self.batches.objective.constant

    @property
    def best_loss(self) -> float:
        return self.batches.objective.best_loss

    @property
    def constant_loss(self) -> float:
        return self.batches.objective.constant_loss

    @property
    def safe_rate(self) -> float:
        return self.batches.safe_rate


@dataclass(frozen=True)
class Piece:
    """Some consecutive batches, and the linear predictors that their gradients have left."""

    of: Batches
    X: Matrix
    y: Array
    s: Array | None
    z: Float
    offset: Array | None = None

    @cached_property
    def batches(self) -> list[Batch]:
        """Cut by the thread that steps on them, as the one that gathers rows has more to do."""
        made = []
        for start in range(0, len(self.y), self.of.size):
            rows = slice(start, start + self.of.size)
            s, offset = (None if column is None else column[rows] for column in (self.s, self.offset))
            X = matrix.take_rows(self.X, rows)
            made.append(Batch(self.of, X, self.y[rows], s, self.z[rows], offset))
        return made

    def after(self, rows: int) -> Piece:
        """The piece without its first `rows`: whole batches that were stepped on before."""
        X = matrix.take_rows(self.X, slice(rows, None))
        s, offset = (None if column is None else column[rows:] for column in (self.s, self.offset))
        return Piece(self.of, X, self.y[rows:], s, self.z[rows:], offset)

    def losses(self, weights: Sequence[Float]) -> Float:
        """The loss of each batch that was stepped on, `weights` being those it was stepped on at.

        All at once: it takes a tenth of the time of one batch after the other.
        """
        batches = self.batches[: len(weights)]
        ends = np.cumsum([0] + [batch.rows for batch in batches])
        if batches[0].loss.mean_only:
            losses = np.concatenate([batch.loss.value(batch.z, batch.y) for batch in batches])
        else:
            losses = batches[0].loss.value(self.z[: ends[-1]], self.y[: ends[-1]])
        if self.s is not None:
            losses = losses * self.s[: ends[-1]]
        means = np.add.reduceat(losses, ends[:-1]) * [batch.scale for batch in batches]
        penalty = batches[0].penalty
        if not penalty.is_zero:
            means += [penalty.value(batches[0].penalised(w)) for w in weights]
        return np.asarray(means)


@dataclass(frozen=True)
class Batches:
    """An objective's rows in batches of `size`, in an order that `seed` decides."""

    objective: Objective
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_whole("batch_size", self.size))
        object.__setattr__(self, "seed", check_seed(self.seed))
        if reason := self.objective.session.refuses_batches:
            raise DescendError(reason)

    def pieces(self, epoch: int, made: int = 0) -> Ahead[Piece]:
        """The batches of an epoch but for the first `made`; a thread begins to gather them at once."""
        source = self.source
        rows = max(1, PIECE_LEAVES * leaf_rows(len(source.feature_names)) // self.size) * self.size
        return Ahead(
            self._pieces(_cut(_windows(source, self.seed, epoch), rows), *divmod(made * self.size, rows))
        )

    def _pieces(self, cut: Iterator[list[tuple[Block, Array]]], pieces: int, rows: int) -> Iterator[Piece]:
        """Pieces of the segments that are `cut`, without the first ones and the first rows of the next."""
        for segments in islice(cut, pieces, None):
            piece = self._piece(segments)
            if rows < len(piece.y):
                yield piece.after(rows) if rows else piece
            rows = 0

    def _piece(self, segments: list[tuple[Block, Array]]) -> Piece:
        block = _gather(segments, self.objective.intercept, self._buffers)
        if self.objective.coordinates is not None:
            block = replace(block, X=self.objective.coordinates.rows(block.X))
        z = self._buffers.empty((block.rows, *self.objective.shape[1:]))
        return Piece(self, block.X, block.y, block.sample_weight, z, block.offset)

    @cached_property
    def _buffers(self) -> Buffers:
        return Buffers()

    @property
    def source(self) -> Source:
        """Where the rows come from."""
        return self.objective.session.source

    @cached_property
    def penalised(self) -> bool:
        """Whether there is a penalty to add to every gradient."""
        return not self.objective.penalty.is_zero

    @cached_property
    def mean_weight(self) -> float:
        """The mean sample weight of all rows."""
        return self.objective.weight / self.objective.rows

    @cached_property
    def safe_rate(self) -> float:
        """A learning rate for which the expected loss goes down; see `batch_rate`."""
        return batch_rate(self.objective, self.size)


def batch_rate(objective: Objective, size: int) -> float:
    """A learning rate for which the expected loss of stochastic descent goes down.

    `1 / (2 L(b))` with the expected smoothness of batches of b rows out of n,
    `L(b) = n (b - 1) / (b (n - 1)) L + (n - b) / (b (n - 1)) L_max`: L the curvature of the mean
    loss and L_max that of the worst row, both with the penalty's. Gower et al., SGD: General Analysis and
    Improved Rates (ICML 2019), proposition 3.8.
    """
    units = objective.coordinates
    norms = objective.session.reduce(RowNorms(objective.intercept) if units is None else units.norms)
    n, b = objective.rows, min(size, objective.rows)
    worst = objective.row_curvature * norms[2] / (objective.weight / objective.rows)
    worst += float(objective.penalty_curvature(objective.zeros()).max())
    if n > 1:
        worst = (n * (b - 1) * objective.expected_curvature + (n - b) * worst) / (b * (n - 1))
    return float(1.0 / (2.0 * worst or 1.0))


def _windows(source: Source, seed: int, epoch: int) -> Iterator[tuple[Block, Array]]:
    """Blocks and row indices into them, in the order of an epoch."""
    random = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    leaves = random.permutation(source.leaf_count)
    step = WINDOW_ROWS // leaf_rows(source.leaf_columns)

    def window(start: int) -> tuple[Block, Array]:
        block, rows = source.window(leaves[start : start + step])
        return block, random.permutation(rows)

    yield from map(window, range(0, len(leaves), step))


def _cut(windows: Iterator[tuple[Block, Array]], rows: int) -> Iterator[list[tuple[Block, Array]]]:
    """Segments that make up `rows` rows each, the last ones fewer.

    What is left of a window is copied, so that the window is forgotten before the next one is read.
    """
    held: list[tuple[Block, Array]] = []
    missing = rows
    for block, order in windows:
        while len(order) >= missing:
            held.append((block, order[:missing]))
            order = order[missing:]
            yield held
            held, missing = [], rows
        if len(order):
            held.append((block.take(order), np.arange(len(order))))
            missing -= len(order)
        del block
    if held:
        yield held


class Buffers:
    """Arrays whose memory is used again once nobody refers to them: fresh memory costs more than filling it."""

    def __init__(self) -> None:
        self._known: list[tuple[memoryview, ReferenceType[Float]]] = []

    def empty(self, shape: tuple[int, ...]) -> Float:
        """An array whose content is whatever was there; it and its views keep others from that memory."""
        size = max(math.prod(shape), 1)
        free = (i for i, (memory, lent) in enumerate(self._known) if len(memory) >= size and lent() is None)
        known = next(free, None)
        memory = np.empty(size).data if known is None else self._known.pop(known)[0]
        lent = np.frombuffer(memory, count=size)  # its base is no array, so all of its views refer to itself
        self._known.append((memory, ref(lent)))
        return lent[: math.prod(shape)].reshape(shape)


def _gather(segments: list[tuple[Block, Array]], intercept: bool, buffers: Buffers) -> Block:
    """The rows of the segments as one block of float64, a column of ones last where there is an intercept."""
    if not all(isinstance(block.X, np.ndarray) for block, _ in segments):
        block = Block.joined([block.take(order) for block, order in segments])
        X = matrix.with_ones(block.X) if intercept else block.X
        return replace(block, X=X, y=np.asarray(block.y, dtype=np.float64))
    columns = segments[0][0].X.shape[1]
    rows = sum(len(order) for _, order in segments)
    X, y, start = buffers.empty((rows, columns + intercept)), np.empty(rows), 0
    for block, order in segments:
        at = slice(start, start := start + len(order))
        X[at, :columns] = matrix.take_rows(block.X, order)
        y[at] = np.take(block.y, order)
    X[:, columns:] = 1.0
    s = [b.sample_weight[order] for b, order in segments if b.sample_weight is not None]
    offset = [b.offset[order] for b, order in segments if b.offset is not None]
    return Block(X, y, np.concatenate(s) if s else None, np.concatenate(offset) if offset else None)


class Ahead(Generic[T]):
    """The same items, the next two always being computed by a thread, which `with` ends."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="descend-batches")
        self._waiting = [self._pool.submit(next, items, None) for _ in range(2)]

    def __iter__(self) -> Iterator[T]:
        while (item := self._waiting.pop(0).result()) is not None:
            self._waiting.append(self._pool.submit(next, self._items, None))
            yield item

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
