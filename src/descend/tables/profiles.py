"""What one read finds out about raw columns: counts, means, spreads, levels, missing cells."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from descend.engines.arrays import HUGE
from descend.engines.matrix import Float
from descend.tables.cells import as_numbers, as_texts

LEVELS_KEPT = 100_000
"""Distinct texts counted per column; past that the rarest are forgotten, so memory is bounded."""

DISTINCT_NUMBERS = 100
_IDENTIFIER = re.compile(
    r"^$|^(unnamed.*|row_?(names?|number|id)|id|index|key|uuid|guid)$|[ _-]id$", re.IGNORECASE
)
_CAMEL_ID = re.compile(r"[a-z]I[dD]$")


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds names of things: text, categories, true and false."""
    return dtype == pl.String or dtype == pl.Boolean or dtype == pl.Categorical or isinstance(dtype, pl.Enum)


def is_boolean(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds true and false."""
    return dtype == pl.Boolean


def is_usable(dtype: pl.DataType) -> bool:
    """Whether a column of this type can be a feature: text, number, date, or nothing but missing cells."""
    return is_text(dtype) or dtype.is_numeric() or dtype.is_temporal() or dtype == pl.Null


@dataclass(slots=True)
class NumberProfile:
    """Count, missing cells, mean, spread and range of a column of numbers.

    With sample weights `count` and `missing` are sums of weights, `rows` is the number of cells present.
    """

    count: float = 0
    missing: float = 0
    rows: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    whole: bool = True
    infinite: int = 0
    dated: bool = False
    distinct: Counter[float] | None = field(default_factory=Counter)
    """How often each value occurs, None where there are too many values."""

    def add(self, series: pl.Series, weights: Float | None = None) -> None:
        """Take in the rows of a slice, of positive weights."""
        self.dated = self.dated or series.dtype.is_temporal()
        self.add_numbers(as_numbers(series), weights)

    def add_numbers(self, x: Float, weights: Float | None = None) -> None:
        """Take in numbers, NaN where they are missing."""
        present, s = x, weights
        with np.errstate(all="ignore"):
            complete = np.isfinite(x.sum())  # a finite sum is proof that nothing is missing
        if not complete:
            known = ~np.isnan(x)
            present, s = x[known], None if weights is None else weights[known]
            self.missing += int((~known).sum()) if weights is None else float(weights[~known].sum())
        if not len(present):
            return
        low, high = float(present.min()), float(present.max())
        if max(-low, high) > HUGE:
            self.infinite += int((np.abs(present) > HUGE).sum())
        if self.infinite:
            return
        n = len(present) if s is None else float(s.sum())
        mean = float(present.mean() if s is None else s @ present / n)
        centred = present - mean
        squares = float(centred @ centred if s is None else s @ centred**2)
        self._merge_moments(n, mean, squares)
        self.rows += len(present)
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.whole = self.whole and whole_numbers(present)
        if self.distinct is not None:
            self.count_distinct(present, s)

    def _merge_moments(self, n: float, mean: float, squares: float) -> None:
        """As Moments are merged."""
        total = self.count + n
        if total == 0:
            return
        delta = mean - self.mean
        self.squares += squares + delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.count = total

    def count_distinct(self, present: Float, s: Float | None) -> None:
        """Count each value, while the numbers are whole and few."""
        if not self.whole:
            self.distinct = None
            return
        values, places = np.unique(present, return_inverse=True)
        if len(values) > DISTINCT_NUMBERS or self.distinct is None:
            self.distinct = None
            return
        self.distinct.update(dict(zip(values.tolist(), np.bincount(places, s).tolist(), strict=True)))
        if len(self.distinct) > DISTINCT_NUMBERS:
            self.distinct = None

    def merge(self, other: NumberProfile) -> None:
        """Take in the rows of another profile."""
        self.missing += other.missing
        self.infinite += other.infinite
        self.dated = self.dated or other.dated
        self._merge_moments(other.count, other.mean, other.squares)
        self.rows += other.rows
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.whole = self.whole and other.whole
        if self.distinct is None or other.distinct is None or not self.whole:
            self.distinct = None
            return
        self.distinct.update(other.distinct)
        if len(self.distinct) > DISTINCT_NUMBERS:
            self.distinct = None

    @property
    def scale(self) -> float:
        """The standard deviation, 1 where the column is constant."""
        spread = math.sqrt(self.squares / self.count) if self.count and self.low < self.high else 1.0
        return spread or 1.0  # squares of numbers near 1e-200 are zero

    def fault(self, name: str) -> str | None:
        """Why the column cannot serve as a feature, None where it can."""
        if self.infinite:
            return None  # not left out but refused, by `Number.learn`
        if self.count == 0:
            return "every cell is missing"
        if self.low == self.high and not self.missing:
            return f"constant ({self.low:g})"
        if self.whole and self.high - self.low + 1 >= self.rows and is_identifier(name):
            return "identifier-like"
        return None


@dataclass(slots=True)
class TextProfile:
    """Count, missing cells and levels of a column of text; by weight where there are sample weights."""

    count: float = 0
    missing: float = 0
    rows: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0

    def add(self, series: pl.Series, weights: Float | None = None) -> None:
        """Take in the rows of a slice, of positive weights."""
        texts = as_texts(series)
        if weights is None:
            counts = texts.value_counts(sort=False).rows()
        else:
            frame = pl.DataFrame({"level": texts, "weight": weights})
            counts = frame.group_by("level", maintain_order=True).agg(pl.col("weight").sum()).rows()
        levels = dict(counts)
        self.take(levels, len(texts) - texts.null_count(), levels.pop(None, 0))

    def merge(self, other: TextProfile) -> None:
        """Take in the rows of another profile."""
        self.forgotten += other.forgotten
        self.take(other.levels, other.rows, other.missing)

    def take(self, levels: Mapping[str, float], rows: int, missing: float) -> None:
        """Take in rows counted by level, and the missing ones."""
        self.missing += missing
        self.count += sum(levels.values())
        self.rows += rows
        self.levels.update(levels)
        if len(self.levels) > LEVELS_KEPT:
            kept = self.most_common(LEVELS_KEPT // 2)
            self.forgotten += len(self.levels) - len(kept)
            self.levels = Counter({level: self.levels[level] for level in kept})

    def most_common(self, count: int) -> list[str]:
        """The most frequent levels, equally frequent ones in sorted order."""
        return sorted(self.levels, key=lambda level: (-self.levels[level], level))[:count]

    def fault(self, name: str) -> str | None:
        """Why the column cannot serve as a feature, None where it can."""
        if self.count == 0:
            return "every cell is missing"
        if len(self.levels) == 1 and not self.missing:
            return f"constant ({next(iter(self.levels))!r})"
        if self.rows > 20 and (self.forgotten or len(self.levels)) >= 0.9 * self.rows:
            return "identifier-like: nearly every row has a text of its own"
        return None


Profile = NumberProfile | TextProfile


def is_identifier(name: str) -> bool:
    """Whether a column's name says that it numbers the rows.

    >>> [name for name in ("id", "", "PassengerId", "row_id", "paid", "year") if is_identifier(name)]
    ['id', '', 'PassengerId', 'row_id']
    """
    return bool(_IDENTIFIER.search(name) or _CAMEL_ID.search(name))


def profile_for(dtype: Any, text: bool) -> Profile:
    """An empty profile for a column of this type."""
    return TextProfile() if text or is_text(dtype) else NumberProfile()


def whole_numbers(x: Float) -> bool:
    """Whether all of them are whole; the first tells in most cases."""
    return not len(x) or (x[0].is_integer() and bool((x == np.floor(x)).all()))
