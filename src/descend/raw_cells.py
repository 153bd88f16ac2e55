"""The cells of a raw leaf: profiled, and summed to labelled moments in the same go.

Columns are handled together, a leaf in a few calls: many small ones would have the threads wait for
each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from descend.cells import as_numbers, as_texts
from descend.encoding import MISSING_LEVEL
from descend.matrix import Array, Float
from descend.moments import Moments
from descend.profiles import HUGE, NumberProfile, Profile, TextProfile, whole_numbers
from descend.raw_moments import FLAG, MOST_LABELS, MOST_LEVELS, RawMoments


@dataclass
class Cells:
    """Columns of numbers as float64 and of texts, null where a cell is missing."""

    numbers: pl.DataFrame
    texts: pl.DataFrame
    dated: frozenset[str]
    weights: Float | None = None

    @staticmethod
    def of(frame: pl.DataFrame, names: Sequence[str], texts: frozenset[str]) -> Cells:
        """Some columns of a frame."""
        columns = {series.name: series for series in frame.get_columns()}
        numbers = {name: _floats(columns[name]) for name in names if name not in texts}
        return Cells(
            pl.DataFrame(numbers),
            pl.DataFrame({name: as_texts(columns[name]) for name in names if name in texts}),
            frozenset(name for name in names if columns[name].dtype.is_temporal()),
        )

    @property
    def rows(self) -> int:
        return max(self.numbers.height, self.texts.height)

    def known(self, name: str) -> Array:
        """A mask of the rows where a cell is not missing."""
        if name in self.texts.columns:
            return np.asarray(self.texts[name].is_not_null().to_numpy())
        return np.asarray(~np.isnan(self.numbers[name].to_numpy()))

    def take(self, mask: Array) -> Cells:
        """The rows of a mask."""
        if mask.all():
            return self
        rows = pl.Series(mask)
        weights = None if self.weights is None else self.weights[mask]
        return Cells(_filtered(self.numbers, rows), _filtered(self.texts, rows), self.dated, weights)

    def profiled(self, counted: str) -> dict[str, Profile]:
        """A profile of every column; the distinct numbers of `counted` are counted."""
        profiles: dict[str, Profile] = {}
        for series in self.numbers.get_columns():
            distinct: Counter[float] | None = Counter() if series.name == counted else None
            profiles[series.name] = number = NumberProfile(dated=series.name in self.dated, distinct=distinct)
            number.add_numbers(series.to_numpy(), self.weights)
        for series in self.texts.get_columns():
            profiles[series.name] = text = TextProfile()
            text.add(series, self.weights)
        return profiles

    def summed(
        self, target: str, origins: Mapping[str, float]
    ) -> tuple[RawMoments | None, dict[str, Profile]]:
        """Moments of all columns, the target's last, and the profiles that they tell.

        None for the moments where there are very many levels or a number is infinite.
        """
        s, columns = self.weights, {series.name: series for series in self.numbers.get_columns()}
        goal_column = columns.pop(target)
        names = [*columns, target]
        weight = float(self.rows if s is None else s.sum())
        dense = _Dense.of([*columns.values(), goal_column], origins)
        levels = _Levels.of_all(self.texts, s)
        few = [column for column in levels if len(column.names) <= MOST_LEVELS]
        size = len(names) + len(dense.flagged) + sum(len(column.names) for column in few)
        if size > MOST_LABELS or dense.infinite:
            return None, self.profiled(target)
        whole = [whole_numbers(dense.Z[:, j], dense.present(j)) for j in range(len(names) - 1)]
        counted = dense.Z[:, -2].copy() if whole_numbers(dense.Z[:1024, -2]) else None
        moments = dense.moments(weight, _indicators(few, self.rows, s), s)
        labels = [(name, "") for name in names[:-1]] + [(names[j], FLAG) for j in dense.flagged]
        labels += [(column.name, level) for column in few for level in column.names]
        profiles: dict[str, Profile] = {column.name: column.profile() for column in levels}
        for j, name in enumerate(names[:-1]):
            profiles[name] = dense.profile(j, moments, whole[j], origins[name], s)
        profiles[target] = goal = dense.profile(-1, moments, counted is not None, origins[target], s)
        if counted is not None:
            goal.whole, goal.distinct = whole_numbers(counted), Counter()
            goal.count_distinct(counted, s)
        for name in self.dated:
            profiles[name].dated = True  # type: ignore[union-attr]
        skipped = frozenset(column.name for column in levels if column not in few)
        return RawMoments(tuple(labels), moments, skipped), profiles


def _floats(series: pl.Series) -> pl.Series:
    """A column as float64, missing cells null or NaN."""
    return series if series.dtype == pl.Float64 else pl.Series(series.name, as_numbers(series))


def _filtered(frame: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    return frame.filter(rows) if frame.width else frame


@dataclass(frozen=True)
class _Dense:
    """`Z = [numbers | flags | target | 1]` of a leaf, in Fortran order, missing numbers as their origins."""

    Z: Float
    low: Float
    high: Float
    flagged: list[int]
    """The numbers of the columns with missing cells."""
    absent: Array
    """Which of their cells are missing, one column for each."""

    @staticmethod
    def of(columns: Sequence[pl.Series], origins: Mapping[str, float]) -> _Dense:
        """The columns of numbers, the target's last."""
        rows = len(columns[-1])
        low = high = np.zeros(0)
        flagged: list[int] = [j for j, series in enumerate(columns[:-1]) if series.null_count()]
        while True:  # once, but again where NaN turns up in a column without nulls
            blank = pl.Series("", np.ones(rows))
            parts = [*columns[:-1], *[blank] * len(flagged), columns[-1], blank]
            named = [series.alias(str(j)) for j, series in enumerate(parts)]
            Z = pl.DataFrame(named).to_numpy(order="fortran", writable=True)
            p = len(columns) - 1
            with np.errstate(invalid="ignore"):
                low, high = Z.min(axis=0, initial=np.inf), Z.max(axis=0, initial=-np.inf)
            missing = np.flatnonzero(np.isnan(low[:p])).tolist()
            if missing == flagged:
                break
            flagged = missing
        absent = np.isnan(Z[:, flagged])
        for k, j in enumerate(flagged):
            column, gap = Z[:, j], absent[:, k]
            present = column[~gap]
            low[j], high[j] = present.min(initial=np.inf), present.max(initial=-np.inf)
            column[gap] = origins[columns[j].name]
            Z[:, p + k] = gap
        return _Dense(Z, low, high, flagged, absent)

    @property
    def infinite(self) -> bool:
        """Whether a number is beyond what can be squared."""
        seen = self.low <= self.high
        return bool((np.maximum(-self.low, self.high)[seen] > HUGE).any())

    def present(self, j: int) -> Array | None:
        """A mask of the cells of a column that are there, None where all are."""
        return ~self.absent[:, self.flagged.index(j)] if j in self.flagged else None

    def moments(self, weight: float, sparse: tuple[Any, Float, Float] | None, s: Float | None) -> Moments:
        """The moments of `[numbers | flags | sparse | target]`; Z is overwritten."""
        each = np.ones(len(self.Z)) if s is None else s
        means = (each @ self.Z[:, :-1]) / (weight or 1.0)
        self.Z[:, :-1] -= means
        return Moments.of_centred(self.Z, means, weight, sparse, s)

    def profile(self, j: int, moments: Moments, whole: bool, origin: float, s: Float | None) -> NumberProfile:
        """The profile of a column from its moments.

        Of weight W with mean m and squares S a part a is missing, summed as the origin o. The others
        have mean `o + (m - o) W / (W - a)` and squares `S - a W / (W - a) (m - o)**2`.
        """
        at, rows, missing = (j if j >= 0 else -2), len(self.Z), 0.0
        if j in self.flagged:
            gap = self.absent[:, self.flagged.index(j)]
            count = int(np.count_nonzero(gap))
            rows, missing = rows - count, float(count if s is None else s @ gap)
        weight = moments.weight
        profile = NumberProfile(weight - missing, missing, rows, whole=whole, distinct=None)
        if rows:
            profile.low, profile.high = float(self.low[at]), float(self.high[at])
            share = weight / profile.count
            distance = float((moments.mean[j] - origin) + moments.mean_low[j])
            profile.mean = origin + distance * share if missing else float(moments.mean[j])
            profile.squares = max(float(moments.cross[j, j]) - missing * share * distance**2, 0.0)
        return profile


@dataclass(frozen=True, slots=True)
class _Levels:
    """The levels of a column of texts in order, missing cells as a level, and the place of each row's."""

    name: str
    names: list[str]
    codes: Array
    counts: Array

    @staticmethod
    def of_all(texts: pl.DataFrame, weights: Float | None) -> list[_Levels]:
        """The levels of every column."""
        return [_Levels.of(series, weights) for series in texts.get_columns()]

    @staticmethod
    def of(series: pl.Series, weights: Float | None) -> _Levels:
        """The levels of one column."""
        if series.null_count():
            series = series.fill_null(MISSING_LEVEL)
        codes = series.cast(pl.Categorical(pl.Categories.random())).to_physical().to_numpy()
        places = np.zeros(int(codes.max()) + 1 if len(codes) else 0, dtype=np.uint32)
        places[codes] = np.arange(len(codes), dtype=np.uint32)
        names = series[pl.Series(places)].to_list()
        order = sorted(range(len(names)), key=names.__getitem__)
        ranks = np.empty(len(order), dtype=np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        codes = ranks[codes]
        counts = np.bincount(codes, weights, len(names))
        return _Levels(series.name, [names[i] for i in order], codes, counts)

    def profile(self) -> TextProfile:
        """How often each level occurs."""
        levels = dict(zip(self.names, self.counts.tolist(), strict=True))
        missing = levels.pop(MISSING_LEVEL, 0)
        absent = int((self.codes == self.names.index(MISSING_LEVEL)).sum()) if missing else 0
        profile = TextProfile()
        profile.take(levels, len(self.codes) - absent, missing)
        return profile


def _indicators(columns: Sequence[_Levels], rows: int, s: Float | None) -> tuple[Any, Float, Float] | None:
    """One indicator per level as CSR, its cross products and sums."""
    if not columns:
        return None
    from scipy.sparse import csr_array

    starts = np.cumsum([0, *(len(column.names) for column in columns)]).astype(np.int32)
    places = np.empty((rows, len(columns)), dtype=np.int32)
    for k, column in enumerate(columns):
        np.add(column.codes, starts[k], out=places[:, k])
    indptr = np.arange(0, places.size + 1, len(columns), dtype=np.int32)
    sparse = csr_array((np.ones(places.size), places.ravel(), indptr), shape=(rows, int(starts[-1])))
    sums = np.concatenate([column.counts for column in columns]).astype(np.float64)
    gram = np.diag(sums)
    for i, a in enumerate(columns):
        for j, b in enumerate(columns[:i]):
            shape = len(a.names), len(b.names)
            pairs = np.bincount(a.codes * shape[1] + b.codes, s, shape[0] * shape[1]).reshape(shape)
            at, to = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
            gram[at, to], gram[to, at] = pairs, pairs.T
    return sparse, gram, sums
