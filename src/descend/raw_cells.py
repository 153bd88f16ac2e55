"""The cells of a raw leaf: profiled, and summed to labelled moments in the same go.

Cells become NumPy arrays at once, and everything after that is NumPy's. An expression of polars would
wait for a place among the threads that decode the next rows, many times a leaf.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from descend import matrix
from descend.cells import as_numbers, as_texts
from descend.encoding import MISSING_LEVEL
from descend.matrix import Array, Float
from descend.moments import Moments
from descend.profiles import HUGE, NumberProfile, Profile, TextProfile, whole_numbers
from descend.raw_moments import FLAG, MOST_LABELS, MOST_LEVELS, RawMoments


@dataclass(frozen=True)
class Cells:
    """Columns of numbers, NaN where a cell is missing, and columns of texts as codes.

    The numbers are the last columns but one of `wide`, a scratch buffer of this thread in Fortran order
    that ends in a column of ones. Before them there is room for as many flags of missing cells.
    """

    names: tuple[str, ...]
    """The columns of numbers."""
    wide: Float
    texts: tuple[Codes, ...]
    dated: frozenset[str]
    weights: Float | None = None

    @staticmethod
    def of(
        frame: pl.DataFrame, names: Sequence[str], texts: frozenset[str], weights: Float | None = None
    ) -> Cells:
        """Some columns of a frame."""
        columns = {series.name: series for series in frame.get_columns()}
        numbers = tuple(name for name in names if name not in texts)
        wide = matrix.scratch_columns("raw cells", frame.height, 2 * len(numbers) + 1)
        for j, name in enumerate(numbers, len(numbers)):
            _fill(wide[:, j], columns[name])
        wide[:, -1] = 1.0
        codes = tuple(Codes.of(columns[name]) for name in names if name in texts)
        dated = frozenset(name for name in names if columns[name].dtype.is_temporal())
        return Cells(numbers, wide, codes, dated, weights)

    @property
    def rows(self) -> int:
        return len(self.wide)

    @property
    def numbers(self) -> Float:
        """The columns of numbers."""
        return self.wide[:, len(self.names) : -1]

    def known(self, name: str) -> Array:
        """A mask of the rows where a cell is not missing."""
        for codes in self.texts:
            if codes.name == name:
                return np.ones(self.rows, bool) if codes.absent is None else ~codes.absent
        return ~np.isnan(self.numbers[:, self.names.index(name)])

    def take(self, mask: Array) -> Cells:
        """The rows of a mask; another call writes over them."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        wide = matrix.scratch_columns("chosen cells", len(rows), self.wide.shape[1])
        for j in range(len(self.names), wide.shape[1]):
            np.take(self.wide[:, j], rows, out=wide[:, j], mode="clip")
        texts = tuple(codes.take(rows) for codes in self.texts)
        return Cells(
            self.names, wide, texts, self.dated, None if self.weights is None else self.weights[rows]
        )

    def profiled(self, counted: str) -> dict[str, Profile]:
        """A profile of every column; the distinct numbers of `counted` are counted."""
        profiles: dict[str, Profile] = {c.name: c.profile(c.counts(self.weights)) for c in self.texts}
        for j, name in enumerate(self.names):
            distinct: Counter[float] | None = Counter() if name == counted else None
            profiles[name] = number = NumberProfile(dated=name in self.dated, distinct=distinct)
            number.add_numbers(self.numbers[:, j], self.weights)
        return profiles

    def summed(
        self, target: str, origins: Mapping[str, float]
    ) -> tuple[RawMoments | None, dict[str, Profile]]:
        """Moments of all columns, the target's last, and the profiles that they tell; done once, in place.

        None for the moments where there are very many levels or a number is infinite. The target is the
        last column of numbers.
        """
        s, names = self.weights, self.names
        low, high = _range(self.numbers)
        flagged = np.flatnonzero(np.isnan(low[:-1])).tolist()
        few = [codes for codes in self.texts if len(codes.levels) <= MOST_LEVELS]
        size = len(names) + len(flagged) + sum(len(codes.levels) for codes in few)
        if size > MOST_LABELS or max(-np.nanmin(low, initial=0.0), np.nanmax(high, initial=0.0)) > HUGE:
            return None, self.profiled(target)
        weight = float(self.rows if s is None else s.sum())
        gaps = [_Gap.of(self.numbers[:, j], s) for j in flagged]
        for j, gap in zip(flagged, gaps, strict=True):
            low[j], high[j] = gap.low, gap.high
        present = {j: ~gap.absent for j, gap in zip(flagged, gaps, strict=True)}
        whole = [whole_numbers(self.numbers[:, j], present.get(j)) for j in range(len(names))]
        goal = self.numbers[:, -1].copy() if whole[-1] else None
        Z = self._filled(flagged, gaps, origins)
        moments = self._moments(Z, weight, few)
        profiles: dict[str, Profile] = {c.name: c.profile(c.counts(s)) for c in self.texts}
        for j, name in enumerate(names):
            place = len(flagged) + j if j < len(names) - 1 else -1
            profile = NumberProfile(weight, rows=self.rows, whole=whole[j], distinct=None)
            profile.low, profile.high, profile.dated = float(low[j]), float(high[j]), name in self.dated
            profile.mean, profile.squares = float(moments.mean[place]), float(moments.cross[place, place])
            if j in flagged:
                gaps[flagged.index(j)].leave_out(profile, moments, place, origins[name])
            profiles[name] = profile
        if goal is not None:
            profiles[target].distinct = Counter()  # type: ignore[union-attr]
            profiles[target].count_distinct(goal, s)  # type: ignore[union-attr]
        labels = [(names[j], FLAG) for j in flagged] + [(name, "") for name in names[:-1]]
        labels += [(codes.name, level) for codes in few for level in codes.levels]
        skipped = frozenset(c.name for c in self.texts if len(c.levels) > MOST_LEVELS)
        return RawMoments(tuple(labels), moments, skipped), profiles

    def _filled(self, flagged: list[int], gaps: list[_Gap], origins: Mapping[str, float]) -> Float:
        """`[flags | numbers | ones]`, missing numbers as their origins."""
        Z = self.wide[:, len(self.names) - len(flagged) :]
        for k, (j, gap) in enumerate(zip(flagged, gaps, strict=True)):
            self.numbers[gap.absent, j] = origins[self.names[j]]
            Z[:, k] = gap.absent
        return Z

    def _moments(self, Z: Float, weight: float, few: Sequence[Codes]) -> Moments:
        """The moments of `[flags | numbers | levels | target]`; Z is overwritten."""
        s = self.weights
        each = np.ones(len(Z)) if s is None else s
        means = (each @ Z[:, :-1]) / (weight or 1.0)
        Z[:, :-1] -= means
        return Moments.of_centred(Z, means, weight, _level_sums(few, Z, s), s)


def _fill(out: Float, series: pl.Series) -> None:
    """A column as float64, missing cells as NaN; a chunk at a time, so that nothing is copied twice."""
    if not series.dtype.is_numeric() or series.dtype.is_decimal():
        out[:] = as_numbers(series)
        return
    start = 0
    for chunk in series.get_chunks():
        cells = chunk.to_numpy()
        out[start : (start := start + cells.size)] = cells


def _range(numbers: Float) -> tuple[Float, Float]:
    """The smallest and the largest number of each column, NaN where one is missing."""
    with np.errstate(invalid="ignore"):
        return numbers.min(axis=0, initial=np.inf), numbers.max(axis=0, initial=-np.inf)


@dataclass(frozen=True, slots=True)
class _Gap:
    """The missing cells of a column of numbers, and the range of the others."""

    absent: Array
    rows: int
    weight: float
    low: float
    high: float

    @staticmethod
    def of(column: Float, s: Float | None) -> _Gap:
        """The gap of one column."""
        absent = np.isnan(column)
        rows, present = int(np.count_nonzero(absent)), column[~absent]
        low, high = present.min(initial=np.inf), present.max(initial=-np.inf)
        return _Gap(absent, rows, float(rows if s is None else s @ absent), float(low), float(high))

    def leave_out(self, profile: NumberProfile, moments: Moments, place: int, origin: float) -> None:
        """Take the missing cells out of a profile.

        Of weight W with mean m and squares S a part a is missing, summed as the origin o. The others
        have mean `o + (m - o) W / (W - a)` and squares `S - a W / (W - a) (m - o)**2`.
        """
        whole, profile.missing = profile.count, self.weight
        profile.rows -= self.rows
        profile.count = whole - self.weight if profile.rows else 0.0
        if not profile.rows:
            profile.mean = profile.squares = 0.0
            return
        share = whole / profile.count
        distance = float((moments.mean[place] - origin) + moments.mean_low[place])
        profile.mean = origin + distance * share
        profile.squares = max(profile.squares - self.weight * share * distance**2, 0.0)


@dataclass(frozen=True, slots=True)
class Codes:
    """A column of texts as places in the list of its levels; missing cells are a level of their own."""

    name: str
    levels: list[str]
    """In order, unless they are very many."""
    codes: Array
    absent: Array | None
    """A mask of the missing cells, None where there are none."""

    @staticmethod
    def of(series: pl.Series) -> Codes:
        """The codes of one column."""
        known = pl.Categories.random()
        categories = as_texts(series).cast(pl.Categorical(known))  # `known` forgets its levels without it
        codes = categories.to_physical().to_numpy()
        levels: list[str] = known.to_series().to_list()
        absent = None
        if series.null_count():
            absent = np.isnan(codes)
            if MISSING_LEVEL not in levels:
                levels.append(MISSING_LEVEL)
            codes = np.where(absent, levels.index(MISSING_LEVEL), codes)
        codes = codes.astype(np.intp)
        if len(levels) > MOST_LEVELS:
            return Codes(series.name, levels, codes, absent)
        order = sorted(range(len(levels)), key=levels.__getitem__)
        ranks = np.empty(len(order), dtype=np.intp)
        ranks[order] = np.arange(len(order))
        return Codes(series.name, [levels[i] for i in order], ranks[codes], absent)

    def take(self, rows: Array) -> Codes:
        """Some of the rows."""
        absent = None if self.absent is None else self.absent[rows]
        return Codes(self.name, self.levels, self.codes[rows], absent)

    def counts(self, weights: Float | None) -> Float:
        """How often each level occurs, by weight."""
        return np.bincount(self.codes, weights, len(self.levels)).astype(np.float64, copy=False)

    def profile(self, counts: Float) -> TextProfile:
        """The levels that occur, with these counts."""
        seen = np.flatnonzero(counts).tolist()
        levels = dict(zip([self.levels[i] for i in seen], counts[seen].tolist(), strict=True))
        rows = len(self.codes) - (0 if self.absent is None else int(np.count_nonzero(self.absent)))
        missing = 0.0 if self.absent is None else levels.pop(MISSING_LEVEL, 0.0)
        profile = TextProfile()
        profile.take(levels, rows, missing)
        return profile


def _level_sums(columns: Sequence[Codes], Z: Float, s: Float | None) -> tuple[Float, Float, Float] | None:
    """Sums over the rows of each level: of `Z`, of the indicators of all levels, and of 1; by weight."""
    if not columns:
        return None
    starts = np.cumsum([0, *(len(column.levels) for column in columns)])
    at = {column.name: slice(a, b) for column, (a, b) in zip(columns, pairwise(starts), strict=True)}
    ones = np.ones(len(Z)) if s is None else s
    products, gram = np.empty((starts[-1], Z.shape[1])), np.zeros((starts[-1], starts[-1]))
    for group in _groups(columns):
        shape = tuple(len(column.levels) for column in group)
        places = np.ravel_multi_index(tuple(column.codes for column in group), shape)
        for j in range(Z.shape[1]):
            sums = np.bincount(places, Z[:, j] if s is None else s * Z[:, j], math.prod(shape)).reshape(shape)
            for axis, column in enumerate(group):
                others = tuple(k for k in range(len(shape)) if k != axis)
                products[at[column.name], j] = sums.sum(axis=others)
    for i, a in enumerate(columns):
        gram[at[a.name], at[a.name]] = np.diag(a.counts(s))
        for b in columns[:i]:
            shape = len(a.levels), len(b.levels)
            pairs = np.bincount(a.codes * shape[1] + b.codes, ones, math.prod(shape)).reshape(shape)
            gram[at[a.name], at[b.name]], gram[at[b.name], at[a.name]] = pairs, pairs.T
    return products, gram, gram.diagonal()


def _groups(columns: Sequence[Codes]) -> list[list[Codes]]:
    """Columns whose levels make few combinations together: one sum then serves all of them."""
    groups: list[list[Codes]] = []
    for column in columns:
        for group in groups:
            if len(column.levels) * math.prod(len(c.levels) for c in group) <= MOST_COMBINATIONS:
                group.append(column)
                break
        else:
            groups.append([column])
    return groups


MOST_COMBINATIONS = 2_048
