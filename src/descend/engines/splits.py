"""Splits: which rows are held out, decided by a hash or by their order, and never by who reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from descend.engines.matrix import Array
from descend.errors import DescendError, check_whole

MASK = np.uint64(2**64 - 1)


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


AnySplit: TypeAlias = Split | LastRows
