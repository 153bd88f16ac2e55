"""What one read finds out about raw columns: counts, means, spreads, levels, missing cells."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from descend.blocks import AnySplit, leaf_rows
from descend.cells import as_numbers, as_texts, held_out_of, weights_of
from descend.matrix import Array, Float
from descend.tables import Slice, Table

LEVELS_KEPT = 100_000
"""Distinct texts counted per column; past that the rarest are forgotten, so memory is bounded."""

DISTINCT_NUMBERS = 100
HUGE = 1e150
"""Numbers beyond this count as infinite: their squares are."""
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
        """Take in the rows of a slice, of positive weights; merged as Moments are."""
        x = as_numbers(series)
        self.dated = self.dated or series.dtype.is_temporal()
        known = ~np.isnan(x)
        present, s = x[known], None if weights is None else weights[known]
        n = len(present) if s is None else float(s.sum())
        self.missing += int((~known).sum()) if weights is None else float(weights[~known].sum())
        if not len(present):
            return
        self.infinite += int((np.abs(present) > HUGE).sum())
        if self.infinite:
            return
        mean = float(present.mean() if s is None else s @ present / n)
        centred = present - mean
        delta = mean - self.mean
        total = self.count + n
        squares = float(centred @ centred if s is None else s @ centred**2)
        self.squares += squares + delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.count, self.rows = total, self.rows + len(present)
        self.low, self.high = min(self.low, float(present.min())), max(self.high, float(present.max()))
        self.whole = self.whole and bool((present == np.floor(present)).all())
        if self.distinct is not None:
            values, places = np.unique(present, return_inverse=True)
            counts = np.bincount(places, s) if len(values) <= DISTINCT_NUMBERS else values
            self.distinct.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
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
        self.missing += levels.pop(None, 0)
        self.count += sum(levels.values())
        self.rows += len(texts) - texts.null_count()
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


@dataclass(slots=True)
class Survey:
    """What one read of a table found: profiles over the training rows, and the counts of rows.

    Rows of weight zero are left out, as if they were not there.
    """

    target: Profile
    features: dict[str, Profile]
    rows: dict[str, int]
    weight: float = 0.0
    """The sum of the weights of the training rows; their number without weights."""

    @staticmethod
    def of(
        table: Table,
        target: str,
        names: Sequence[str],
        categorical: Collection[str],
        numeric: Collection[str],
        split: AnySplit | None,
        weight: str | None = None,
    ) -> Survey:
        """Read the table once; `weight` names a column of sample weights."""
        schema = table.schema
        features = {
            name: NumberProfile() if name in numeric else profile_for(schema[name], name in categorical)
            for name in names
        }
        rows = {"training": 0, "validation": 0, "without_target": 0}
        survey = Survey(profile_for(schema[target], False), features, rows)
        others = [name for name in (weight, split.group if split else None) if name is not None]
        for piece in table.slices((*names, target, *others), 16 * leaf_rows(len(names))):
            survey._add(piece, target, split, weight)
        return survey

    def _add(self, piece: Slice, target: str, split: AnySplit | None, weight: str | None) -> None:
        frame, known, held_out = piece.frame, _known(piece.frame[target]), held_out_of(piece, split)
        weights = None if weight is None else weights_of(piece, weight)
        counted = known if weights is None else known & (weights > 0)
        kept = counted & ~held_out
        self.rows["training"] += int(kept.sum())
        self.rows["validation"] += int((counted & held_out).sum())
        self.rows["without_target"] += int((~known).sum())
        if weights is not None:
            weights = weights[kept]
        self.weight += float(kept.sum() if weights is None else weights.sum())
        if not kept.all():
            frame = frame.filter(pl.Series(kept))
        self.target.add(frame[target], weights)
        for name, profile in self.features.items():
            profile.add(frame[name], weights)


def _known(target: pl.Series) -> Array:
    """A mask of the rows whose target is neither null nor NaN."""
    known = target.is_not_null()
    if target.dtype.is_float():
        known = known & target.is_not_nan().fill_null(False)
    return np.asarray(known.to_numpy())
