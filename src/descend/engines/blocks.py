"""Data as a row of blocks: leaves of fixed size, runs of leaves as parts, and sources of parts.

A `Leaf` is up to `leaf_rows(columns)` rows of a source, the unit of every sum. Its size depends on
the number of columns alone, never on the machine, so a sum over leaves has the same bits anywhere.
A leaf is cheap to hand around; `leaf.block()` does the work of decoding it into a `Block`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from descend.engines import matrix
from descend.engines.matrix import Array, Float, Matrix
from descend.errors import DataError, DescendError, ShapeError, check_whole

LEAF_CELLS = 2**19  # float64 cells of a leaf: 4 MiB, small enough for a processor's cache
MOST_RUNS = 4_096  # an array is sent to other processes in at most so many runs
HUGE = 1e150
"""Numbers beyond this have squares that are infinite."""

FILL = "Drop or fill those rows, or pass a DataFrame, where missing cells are filled and flagged."

MASK = np.uint64(2**64 - 1)


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
    `sample_weight` and `offset` (added to the linear predictor) have shape (rows,).

    >>> block = Block(np.eye(3), np.arange(3.0))
    >>> block.rows, block.take(np.array([2, 0])).y.tolist()
    (3, [2.0, 0.0])
    """

    X: Matrix
    y: Array
    sample_weight: Array | None = None
    offset: Array | None = None

    @property
    def rows(self) -> int:
        return int(self.X.shape[0])

    @property
    def nbytes(self) -> int:
        return sum(int(matrix_bytes(part)) for part in (self.X, self.y, self.sample_weight, self.offset))

    def take(self, rows: Array) -> Block:
        """The rows that a mask or an index array names."""

        def pick(column: Array | None) -> Array | None:
            return None if column is None else column[rows]

        return Block(
            matrix.take_rows(self.X, rows), self.y[rows], pick(self.sample_weight), pick(self.offset)
        )

    @staticmethod
    def joined(blocks: Sequence[Block]) -> Block:
        """The rows of several blocks, in order."""
        if len(blocks) == 1:
            return blocks[0]
        columns = ([getattr(b, name) for b in blocks] for name in ("y", "sample_weight", "offset"))
        y, weight, offset = (None if column[0] is None else np.concatenate(column) for column in columns)
        assert y is not None
        return Block(matrix.joined([b.X for b in blocks]), y, weight, offset)


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

    def parts(self) -> Sequence[Part]:
        """All leaves, for whoever reads them in this process."""

    def handles(self) -> Sequence[Any]:
        """The same leaves as picklable runs, for engines whose workers are other processes.

        A handle is a Part, or has `open(shelf)` that gives one whose blocks a worker keeps on its shelf;
        those with `joined(next)` are read together where they follow one another.
        """

    def window(self, leaves: Array) -> tuple[Block, Array]:
        """A block in memory, and the rows of it that belong to these leaves, in their order."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows are held out for validation: a hash of (seed, file, row) below `fraction`.

    The same rows are held out whatever engine reads them, in whatever order, and a row's side does
    not change when rows are appended. The hash is the finaliser of SplitMix64 (Steele, Lea and
    Flood, OOPSLA 2014).

    >>> Split(0.25, seed=0).held_out(0, 0, 8)
    array([ True, False, False, False,  True,  True, False, False])
    """

    fraction: float
    seed: int = 0
    group: str | None = None

    def __post_init__(self) -> None:
        check_fraction(self.fraction)

    def held_out(self, file: int, start: int, stop: int) -> Array:
        """A mask over rows `start` to `stop` of a file: True where the row is held out."""
        return self._below(np.arange(start, stop, dtype=np.uint64), file)

    def held_out_groups(self, keys: Array) -> Array:
        """A mask over rows whose groups have these 64-bit keys: True where the row is held out."""
        return self._below(_mix(keys), 0)

    def _below(self, keys: Array, file: int) -> Array:
        key = _mix(np.uint64((self.seed + 0x9E3779B97F4A7C15) & int(MASK)))
        key = _mix(key ^ np.uint64(file))
        with np.errstate(over="ignore"):
            hashes = _mix(keys + key)
        return np.asarray(hashes < np.uint64(self.fraction * 2.0**64))


@dataclass(frozen=True, slots=True)
class LastRows:
    """The last `fraction` of the rows in order, held out: for rows that follow time.

    `starts` holds the number of rows before each file, `total` that of all.

    >>> split = LastRows(0.2, (0, 4), 10)
    >>> split.held_out(0, 0, 4).tolist(), split.held_out(1, 0, 6).tolist()
    ([False, False, False, False], [False, False, False, False, True, True])
    """

    fraction: float
    starts: tuple[int, ...]
    total: int

    def __post_init__(self) -> None:
        check_fraction(self.fraction)

    @property
    def group(self) -> None:
        """Groups do not go with an order in time."""

    def held_out(self, file: int, start: int, stop: int) -> Array:
        """A mask over rows `start` to `stop` of a file: True where the row is held out."""
        rows = np.arange(self.starts[file] + start, self.starts[file] + stop)
        return rows >= self.total - round(self.fraction * self.total)


AnySplit: TypeAlias = Split | LastRows


def check_fraction(fraction: float) -> None:
    """Raise `DescendError` unless `fraction` may be a share of rows to hold out."""
    if not 0 < fraction < 1:
        raise DescendError(
            f"`valid` as a fraction must lie between 0 and 1, got {fraction!r}: "
            "0.2 holds out a fifth of the rows, None holds out none."
        )


def check_seed(seed: Any) -> int:
    """`seed` as an int. Raises `DescendError` unless it is a whole number of at least 0 that 64 bits hold."""
    if (number := check_whole("seed", seed, 0)) >= 2**64:
        raise DescendError(f"`seed` must fit into 64 bits, got {seed!r}.")
    return number


def _mix(x: Any) -> Any:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class ArraySource:
    """Arrays in memory as a source: leaves are slices of them, nothing is copied.

    `split` with `held_out` False keeps the training rows, with True the validation rows.
    """

    X: Matrix
    y: Array
    sample_weight: Array | None = None
    feature_names: tuple[str, ...] = ()
    split: AnySplit | None = None
    held_out: bool = False

    def __post_init__(self) -> None:
        rows, columns = self.X.shape
        for name, column in (("y", self.y), ("sample_weight", self.sample_weight)):
            if column is not None and column.shape[0] != rows:
                raise ShapeError(
                    f"`x` has shape {self.X.shape} and `{name}` has shape {column.shape}: "
                    "both must have the same number of rows."
                )
        if not self.feature_names:
            object.__setattr__(self, "feature_names", tuple(f"x{i}" for i in range(columns)))

    @property
    def rows(self) -> int:
        return int(self.X.shape[0])

    @property
    def leaf_columns(self) -> int:
        return int(self.X.shape[1])

    @property
    def leaf_count(self) -> int:
        return -(-self.rows // leaf_rows(self.leaf_columns))

    @property
    def ready(self) -> bool:
        return True

    def parts(self) -> list[ArrayPart]:
        return [ArrayPart(self)]

    def handles(self) -> list[ArrayRun]:
        """The same leaves as runs that hold their own rows, for other processes."""
        size = leaf_rows(self.leaf_columns)
        unit = size * max(1, -(-self.leaf_count // MOST_RUNS))
        return [
            ArrayRun(self._rows(start, min(start + unit, self.rows)), start // size, start)
            for start in range(0, self.rows, unit)
        ]

    def _rows(self, start: int, stop: int) -> ArraySource:
        """A copy of some rows, in memory as they are here: BLAS reads them the same way."""
        X = matrix.take_rows(self.X, slice(start, stop))
        if isinstance(X, np.ndarray):
            X = np.array(X, order="F" if matrix.memory_order(X) == "F" else "C")
        weight = None if self.sample_weight is None else self.sample_weight[start:stop].copy()
        return replace(self, X=X, y=self.y[start:stop].copy(), sample_weight=weight)

    def window(self, leaves: Array) -> tuple[Block, Array]:
        size = leaf_rows(self.leaf_columns)
        spans = [(int(leaf) * size, min(int(leaf + 1) * size, self.rows)) for leaf in leaves]
        rows = [np.arange(start, stop) for start, stop in spans]
        if self.split is not None:
            masks = [self.split.held_out(0, start, stop) == self.held_out for start, stop in spans]
            rows = [r[mask] for r, mask in zip(rows, masks, strict=True)]
        chosen = np.concatenate(rows)
        if self.sample_weight is not None:
            chosen = chosen[self.sample_weight[chosen] > 0]  # those of weight zero are as if not there
        return Block(self.X, self.y, self.sample_weight), chosen


@dataclass(frozen=True, slots=True)
class ArrayPart:
    """All leaves of an `ArraySource`."""

    source: ArraySource

    def leaves(self) -> Iterator[ArrayLeaf]:
        size = leaf_rows(self.source.X.shape[1])
        for index in range(-(-self.source.rows // size)):
            yield ArrayLeaf(index, self.source, index * size, min((index + 1) * size, self.source.rows))


@dataclass(frozen=True, slots=True)
class ArrayRun:
    """Some consecutive rows with everything they need, the first of them in leaf `first`."""

    source: ArraySource
    first: int
    start: int
    """The row of the whole that comes first."""

    def leaves(self) -> Iterator[ArrayLeaf]:
        for index, leaf in enumerate(ArrayPart(self.source).leaves(), self.first):
            yield replace(leaf, index=index, offset=self.start)


@dataclass(frozen=True, slots=True)
class ArrayLeaf:
    """Rows `start` to `stop` of an `ArraySource`, of a whole in which `offset` rows come before it."""

    index: int
    source: ArraySource
    start: int
    stop: int
    offset: int = 0

    def block(self) -> Block | None:
        s, rows = self.source, slice(self.start, self.stop)
        weight = None if s.sample_weight is None else s.sample_weight[rows]
        block = Block(matrix.take_rows(s.X, rows), s.y[rows], weight)
        if s.split is None:
            return block
        held_out = s.split.held_out(0, self.offset + self.start, self.offset + self.stop)
        keep = held_out if s.held_out else ~held_out
        return block.take(keep) if keep.any() else None


def check_matrix(x: Any, name: str = "x") -> Matrix:
    """`x` as a matrix of numbers with two dimensions, or an error that says what it is instead."""
    if matrix.is_elsewhere(x):
        return _check_tensor(x, name)
    array: Any = x.tocsr() if matrix.is_sparse(x) else _as_array(x, name)
    if array.dtype.kind not in "fiub":
        hint = "Columns of text belong in a DataFrame or a file, where they are encoded."
        if hasattr(x, "columns"):
            hint = "Columns of text are encoded where the target is a column too: fit(table, target=...)."
        raise DataError(f"`{name}` must hold numbers, got dtype {array.dtype}. {hint}")
    if array.ndim != 2:
        hint = f" Use `{name}.reshape(-1, 1)` for one feature." if array.ndim == 1 else ""
        raise ShapeError(
            f"`{name}` must have two dimensions (rows, features), got shape {array.shape}.{hint}"
        )
    if 0 in array.shape:
        raise ShapeError(f"`{name}` must have at least one row and one feature, got shape {array.shape}.")
    _check_values(array.data if matrix.is_sparse(array) else array, name, FILL)
    return array


def _check_tensor(x: Any, name: str) -> Any:
    """A tensor on a device of its own, left there."""
    if x.ndim != 2 or not x.numel():
        raise ShapeError(
            f"`{name}` must have two dimensions (rows, features) and be not empty, got shape {tuple(x.shape)}."
        )
    if not bool(x.isfinite().all()):
        raise DataError(f"`{name}` holds NaN or infinity. {FILL}")
    return x


def check_column(column: Any, name: str, rows: int, against: str = "x") -> Array:
    """`column` as one finite value per row, or an error that says what it is instead."""
    array = _as_array(column, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ShapeError(f"`{name}` must have one dimension (rows,), got shape {array.shape}.")
    if array.shape[0] != rows:
        raise ShapeError(
            f"`{against}` has {rows} rows and `{name}` has shape {array.shape}: "
            "both must have the same number of rows."
        )
    _check_values(array, name)
    return array


def check_sample_weight(sample_weight: Any, rows: int) -> Float:
    """Sample weights as float64, at least 0 each and not all 0."""
    s = check_column(sample_weight, "sample_weight", rows)
    if s.dtype.kind not in "fiub":
        raise DataError(f"`sample_weight` must hold numbers, got dtype {s.dtype}.")
    s = s.astype(np.float64)
    if s.min() < 0 or s.max() == 0:
        raise DataError("`sample_weight` must hold numbers of at least 0, and one above 0.")
    return s


def _as_array(data: Any, name: str) -> Array:
    """`data` as an array, without a copy where it is one."""
    if isinstance(data, np.ma.MaskedArray) and data.mask.any():
        raise DataError(f"`{name}` has masked values. Drop or fill those rows: `{name}.filled(...)`.")
    try:
        return np.asarray(matrix.plain(data))
    except ValueError:
        raise ShapeError(f"`{name}` must have rows of equal length.") from None


def _check_values(array: Array, name: str, hint: str = "Drop those rows first.") -> None:
    """Raise `DataError` where a value is NaN, infinite, or too large to be squared.

    A leaf at a time, so that nothing large is allocated; finite squares are proof, and quick.
    """
    if array.dtype.kind != "f":
        return
    step = leaf_rows(array.shape[1] if array.ndim == 2 else 1)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, array.shape[0], step):
            piece = array[start : start + step].ravel(order="K")
            if np.isfinite(np.dot(piece, piece)):
                continue
            if not np.isfinite(piece).all():
                raise DataError(f"`{name}` holds NaN or infinity. {hint}")
            if np.abs(piece).max() > HUGE:
                raise DataError(
                    f"`{name}` holds numbers beyond {HUGE:g}, whose squares are infinite. Scale it."
                )
