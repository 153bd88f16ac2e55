"""Arrays as a source of rows, and the checks of what is passed as `x`, `y` and weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block, Handle, leaf_rows
from descend.engines.matrix import Array, Float, Matrix
from descend.engines.splits import AnySplit
from descend.errors import DataError, ShapeError

MOST_RANGES = 4_096  # an array is sent to other processes in at most so many runs


HUGE, TINY = 1e150, 1e-140
"""Numbers beyond this have squares that are infinite; the squares of those below have lost their digits."""
FIRST_ROWS = 64
"""A column without a larger number among so many is looked at as a whole."""
WHOLE = 2**53
"""From here on whole numbers are rounded as float64."""


FILL = "Drop or fill those rows, or pass a DataFrame, where missing cells are filled and flagged."


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
    offset: Array | None = None
    cluster: Array | None = None

    def __post_init__(self) -> None:
        rows, columns = self.X.shape
        for name in ("y", "sample_weight", "offset", "cluster"):
            column: Array | None = getattr(self, name)
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
    def has_offset(self) -> bool:
        return self.offset is not None

    @property
    def has_cluster(self) -> bool:
        return self.cluster is not None

    @property
    def leaf_columns(self) -> int:
        return int(self.X.shape[1])

    @property
    def leaf_count(self) -> int:
        return -(-self.rows // leaf_rows(self.leaf_columns))

    @property
    def ready(self) -> bool:
        return True

    @property
    def as_given(self) -> bool:
        return True

    @property
    def sparse(self) -> bool:
        return matrix.is_sparse(self.X)

    @property
    def elsewhere(self) -> bool:
        return matrix.is_elsewhere(self.X)

    @property
    def beside(self) -> tuple[Array | None, ...]:
        """What rows have beside `X` and `y`, as a Block has them."""
        return self.sample_weight, self.offset, self.cluster

    def parts(self) -> list[ArrayPart]:
        return [ArrayPart(self)]

    def handles(self) -> list[ArrayRange]:
        """The same leaves as runs that hold their own rows, for other processes."""
        size = leaf_rows(self.leaf_columns)
        unit = size * max(1, -(-self.leaf_count // MOST_RANGES))
        return [
            ArrayRange(self._rows(start, min(start + unit, self.rows)), start // size, start)
            for start in range(0, self.rows, unit)
        ]

    def _rows(self, start: int, stop: int) -> ArraySource:
        """A copy of some rows, in memory as they are here: BLAS reads them the same way."""
        X = matrix.take_rows(self.X, slice(start, stop))
        if isinstance(X, np.ndarray):
            X = np.array(X, order="F" if matrix.memory_order(X) == "F" else "C")
        s, offset, cluster = (None if column is None else column[start:stop].copy() for column in self.beside)
        y = self.y[start:stop].copy()
        return replace(self, X=X, y=y, sample_weight=s, offset=offset, cluster=cluster)

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
        return Block(self.X, self.y, *self.beside), chosen


@dataclass(frozen=True, slots=True)
class ArrayPart:
    """All leaves of an `ArraySource`."""

    source: ArraySource

    def leaves(self) -> Iterator[ArrayLeaf]:
        size = leaf_rows(self.source.X.shape[1])
        for index in range(-(-self.source.rows // size)):
            yield ArrayLeaf(index, self.source, index * size, min((index + 1) * size, self.source.rows))


@dataclass(frozen=True, slots=True)
class ArrayRange(Handle):
    """Some consecutive rows with everything they need, the first of them in leaf `first`."""

    source: ArraySource
    first: int
    start: int
    """The row of the whole that comes first."""

    def leaves(self) -> Iterator[ArrayLeaf]:
        for index, leaf in enumerate(ArrayPart(self.source).leaves(), self.first):
            yield replace(leaf, index=index, before=self.start)


@dataclass(frozen=True, slots=True)
class ArrayLeaf:
    """Rows `start` to `stop` of an `ArraySource`, of a whole in which `before` rows come before it."""

    index: int
    source: ArraySource
    start: int
    stop: int
    before: int = 0

    def block(self) -> Block | None:
        s, rows = self.source, slice(self.start, self.stop)
        beside = (None if column is None else column[rows] for column in s.beside)
        block = Block(matrix.take_rows(s.X, rows), s.y[rows], *beside)
        if s.split is None:
            return block
        held_out = s.split.held_out(0, self.before + self.start, self.before + self.stop)
        keep = held_out if s.held_out else ~held_out
        return block.take(keep) if keep.any() else None


def check_matrix(x: Any, name: str = "x") -> Matrix:
    """`x` as a matrix of numbers with two dimensions, or an error that says what it is instead."""
    if matrix.is_elsewhere(x):
        return _check_tensor(x, name)
    array: Any = x.tocsr() if matrix.is_sparse(x) else _as_array(x, name)
    if array.dtype.kind not in "fiub":
        hint = "Columns of text belong in a DataFrame or a file, where they are encoded."
        if hasattr(x, "columns"):  # a frame of any library
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
    check_tiny(array, name)
    return array


def check_tiny(array: Any, name: str) -> None:
    """Raise `DataError` where all numbers of a column are so small that their squares vanish, and not all are zero."""
    if array.dtype.kind != "f" or array.dtype.itemsize < 8:
        return
    if matrix.is_sparse(array):
        sizes = np.zeros(array.shape[1])
        np.maximum.at(sizes, array.indices, np.abs(array.data))
    else:
        columns = array.reshape(len(array), -1)
        sizes = np.abs(columns[:FIRST_ROWS]).max(axis=0, initial=0.0)
        for i in np.flatnonzero(sizes < TINY).tolist():
            sizes[i] = np.abs(columns[:, i]).max()
    for j, largest in enumerate(sizes.tolist()):
        if 0.0 < largest < TINY:
            which = f"column {j} of `{name}`" if array.ndim == 2 else f"`{name}`"
            raise DataError(
                f"{which} holds no number as large as {TINY:g}, {largest:.3g} at most: their squares vanish. Multiply it by 1e150."
            )


def rounded_numbers(array: Any) -> list[int]:
    """The columns of whole numbers some of which float64 cannot hold; 0 stands for a single one."""
    if (
        array is None
        or matrix.is_elsewhere(array)
        or array.dtype.kind not in "iu"
        or array.dtype.itemsize < 8
    ):
        return []
    if matrix.is_sparse(array):
        large = (array.data > WHOLE) | (array.data < -WHOLE)
        return [int(j) for j in np.unique(array.indices[large])]
    columns = array.reshape(len(array), -1)
    low, high = columns.min(axis=0), columns.max(axis=0)
    return [j for j in range(columns.shape[1]) if int(high[j]) > WHOLE or int(low[j]) < -WHOLE]


def roundings(x: Any, y: Any = None, names: tuple[str, str] = ("x", "y")) -> list[str]:
    """A sentence on each column of whole numbers that float64 cannot hold, and on the target."""
    found = [f"column {j} of `{names[0]}`" for j in rounded_numbers(x)]
    return [rounding(which) for which in found + [f"`{names[1]}`" for _ in rounded_numbers(y)]]


def rounding(which: str) -> str:
    """A sentence on `which` numbers float64 cannot hold."""
    return f"{which} holds whole numbers beyond 2^53, which are rounded: subtract a constant to keep them"


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


def check_sample_weight(
    sample_weight: Any, rows: int, name: str = "sample_weight", against: str = "x"
) -> Float:
    """Sample weights as float64, at least 0 each and not all 0."""
    s = check_column(sample_weight, name, rows, against)
    if s.dtype.kind not in "fiub":
        raise DataError(f"`{name}` must hold numbers, got dtype {s.dtype}.")
    s = s.astype(np.float64)
    if s.min() < 0 or s.max() == 0:
        raise DataError(f"`{name}` must hold numbers of at least 0, and one above 0.")
    return s


def check_offset(offset: Any, rows: int, name: str = "offset", against: str = "x") -> Float:
    """`offset` as finite numbers, one per row, that are added to the linear predictor."""
    return check_column(offset, name, rows, against).astype(np.float64, copy=False)


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


def check_cluster(cluster: Any, rows: int) -> Array:
    """The number of the cluster of each row, from `cluster`, one value of any kind per row."""
    values = np.asarray(matrix.plain(cluster))
    if values.shape != (rows,):
        raise ShapeError(f"`cluster` has shape {values.shape}, but there are {rows} rows: one value per row.")
    kind = values.astype(str) if values.dtype == object else values
    return np.asarray(np.unique(kind, return_inverse=True)[1])
