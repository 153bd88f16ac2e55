"""Data as a row of blocks: leaves of fixed size, runs of leaves as parts, and sources of parts.

A `Leaf` is up to `leaf_rows(columns)` rows of a source, the unit of every sum. Its size depends on
the number of columns alone, never on the machine, so a sum over leaves has the same bits anywhere.
A leaf is cheap to hand around; `leaf.block()` does the work of decoding it into a `Block`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from descend.engines import matrix
from descend.engines.matrix import Array, Matrix
from descend.errors import DescendError

LEAF_CELLS = 2**19  # float64 cells of a leaf: 4 MiB, small enough for a processor's cache


def leaf_rows(columns: int) -> int:
    """Rows of a leaf: the power of two that makes about 4 MiB, between 1,024 and 65,536.

    >>> leaf_rows(2), leaf_rows(28), leaf_rows(5_000)
    (65536, 16384, 1024)
    """
    exponent = (LEAF_CELLS // max(columns, 1)).bit_length() - 1
    return 1 << min(max(exponent, 10), 16)


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows in memory.

    `X` has shape (rows, features): a NumPy array, a scipy CSR matrix or a `Mixed`; `y`,
    `sample_weight`, `offset` (added to the linear predictor) and `cluster` (the number of the group of rows that may vary
    together) have shape (rows,).

    >>> block = Block(np.eye(3), np.arange(3.0))
    >>> block.rows, block.take(np.array([2, 0])).y.tolist()
    (3, [2.0, 0.0])
    """

    X: Matrix
    y: Array
    sample_weight: Array | None = None
    offset: Array | None = None
    cluster: Array | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])

    @property
    def target(self) -> Array:
        """`y` less the offset: what `X @ w` is held against where the loss is squared error."""
        return self.y if self.offset is None else self.y - self.offset

    @property
    def nbytes(self) -> int:
        """The memory that its arrays take, in bytes."""
        return sum(int(matrix_bytes(part)) for part in (self.X, self.y, *self.beside))

    @property
    def beside(self) -> tuple[Array | None, ...]:
        """What rows may have beside `X` and `y`, in the order of the fields."""
        return self.sample_weight, self.offset, self.cluster

    def take(self, rows: Array | slice) -> Block:
        """The `rows` that a mask, of shape (rows,), an array of indices or a slice names."""

        def pick(column: Array | None) -> Array | None:
            return None if column is None else column[rows]

        return Block(matrix.take_rows(self.X, rows), self.y[rows], *map(pick, self.beside))

    @staticmethod
    def joined(blocks: Sequence[Block]) -> Block:
        """The rows of several `blocks`, in order."""
        if len(blocks) == 1:
            return blocks[0]
        columns = zip(*(b.beside for b in blocks), strict=True)
        beside = (None if column[0] is None else np.concatenate(column) for column in columns)
        return Block(matrix.joined([b.X for b in blocks]), np.concatenate([b.y for b in blocks]), *beside)


def matrix_bytes(X: Any) -> int:
    """Bytes that an array, a `Mixed`, a CSR matrix or None holds."""
    if X is None:
        return 0
    if matrix.is_sparse(X):
        return int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    return int(X.nbytes)


class Leaf(Protocol):
    """Up to `leaf_rows` rows of a source, decoded when asked."""

    @property
    def index(self) -> int: ...

    def block(self) -> Block | None:
        """The rows in memory; None where the split leaves none of them."""


class Part(Protocol):
    """A run of whole leaves as a small picklable handle."""

    def leaves(self) -> Iterator[Leaf]: ...


class Handle:
    """Whole leaves that travel by pickle to workers in other processes, and are opened where they are read."""

    @property
    def share(self) -> int:
        """What it counts when handles are shared among workers, in rows or all alike."""
        return 1

    @property
    def only_here(self) -> str:
        """The name of the file where that is a temporary copy on this machine; empty else."""
        return ""

    def open(self, shelf: Any) -> Any:
        """The Part, whose blocks a worker keeps on its `shelf`: the handle itself where it is one."""
        return self

    def joined(self, other: Any) -> Any:
        """Both as one where `other` goes on where this ends, so that one scan reads them; None else."""
        return None


class Source(Protocol):
    """Where rows come from."""

    @property
    def feature_names(self) -> tuple[str, ...]: ...

    @property
    def rows(self) -> int | None:
        """The number of rows before any split, None where it is not known yet."""

    @property
    def leaf_columns(self) -> int:
        """The number of columns that fixes the size of a leaf."""

    @property
    def leaf_count(self) -> int:
        """The number of leaves; known where all rows have been seen once."""

    @property
    def ready(self) -> bool:
        """Whether any leaf can be had without a read of all the data."""

    @property
    def as_given(self) -> bool:
        """Whether columns are as the user gave them, rather than standardised by an encoding."""

    @property
    def sparse(self) -> bool:
        """Whether all columns are sparse: rows less their means would lose their zeros."""

    @property
    def elsewhere(self) -> bool:
        """Whether the rows are on a device of their own, from where they have to be fetched."""

    @property
    def has_offset(self) -> bool:
        """Whether something is added to the linear predictor of each row."""

    @property
    def has_cluster(self) -> bool:
        """Whether each row says which others it may vary together with."""

    def parts(self) -> Sequence[Part]:
        """All leaves, for whoever reads them in this process."""

    def handles(self) -> Sequence[Handle]:
        """The same leaves as runs that travel, for engines whose workers are other processes."""

    def window(self, leaves: Array) -> tuple[Block, Array]:
        """A block in memory, and the rows of it that belong to these leaves, in their order."""


@dataclass(frozen=True)
class Parts:
    """Some parts that are there already as a source: those of a worker, or none at all."""

    has_offset: ClassVar[bool] = False
    has_cluster: ClassVar[bool] = False

    listed: Sequence[Any]
    feature_names: tuple[str, ...] = ()
    rows: int | None = None
    leaf_columns: int = 0
    leaf_count: int = 0
    ready: bool = False
    as_given: bool = False
    sparse: bool = False
    elsewhere: bool = False

    def parts(self) -> Sequence[Any]:
        return self.listed

    def handles(self) -> Sequence[Any]:
        return self.listed

    def window(self, leaves: Any) -> Any:
        raise DescendError("a worker sums leaves; mini-batches of the whole are gathered where it is opened.")
