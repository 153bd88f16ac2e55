"""The cells of a raw leaf: profiled, and summed to labelled moments in the same go.

Cells become NumPy arrays at once, by one expression of polars for the gaps and one for the texts, as every
call has its price; everything after that is NumPy's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl

from descend.engines import matrix
from descend.engines.matrix import Array, Float
from descend.engines.moments import Moments
from descend.tables.cells import as_numbers, complete, is_plain
from descend.tables.indicators import Codes, Gap, indicator_sums
from descend.tables.profiles import HUGE, NumberProfile, Profile, whole_numbers
from descend.tables.raw_moments import FLAG, MOST_LABELS, MOST_LEVELS, RawMoments

EVERY = 64
"""The mean of one row in so many is near that of all."""


@dataclass(frozen=True)
class Cells:
    """Columns of numbers, and columns of texts as codes."""

    names: tuple[str, ...]
    """The columns of numbers."""
    chunks: tuple[tuple[Array, ...], ...]
    """Each of them in pieces as they lie in memory, NaN where a cell is missing; not to be written to."""
    texts: tuple[Codes, ...]
    dated: frozenset[str]
    height: int
    weights: Float | None = None
    chosen: Array | None = None
    """Which rows of the chunks are meant, None for all. Texts and weights are of these alone."""

    @staticmethod
    def of(
        frame: pl.DataFrame, names: Sequence[str], texts: frozenset[str], weights: Float | None = None
    ) -> Cells:
        """Some columns of a frame."""
        numbers = [name for name in names if name not in texts]
        chunks = tuple(map(_chunks, complete(frame[numbers])))
        codes = Codes.of(frame, [name for name in names if name in texts])
        schema = frame.schema
        dated = frozenset(name for name in names if schema[name].is_temporal())
        return Cells(tuple(numbers), chunks, codes, dated, frame.height, weights)

    @property
    def rows(self) -> int:
        return self.height if self.chosen is None else len(self.chosen)

    def numbers(self, name: str) -> Float:
        """A column of numbers, in scratch memory that the next call writes over."""
        return self._written(self.names.index(name), matrix.scratch("one column", (self.rows,)))

    def _written(self, place: int, out: Float) -> Float:
        """A column of numbers, written to `out`: the one pass over it that memory must bear."""
        whole = out if self.chosen is None else matrix.scratch("whole column", (self.height,))
        start = 0
        for chunk in self.chunks[place]:
            whole[start : (start := start + chunk.size)] = chunk
        return out if self.chosen is None else whole.take(self.chosen, out=out, mode="clip")

    def known(self, name: str) -> Array:
        """A mask of the rows where a cell is not missing."""
        for codes in self.texts:
            if codes.name == name:
                return codes.known
        return ~np.isnan(self.numbers(name))

    def take(self, mask: Array) -> Cells:
        """The rows of a mask."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        chosen = rows if self.chosen is None else self.chosen[rows]
        texts = tuple(codes.take(rows) for codes in self.texts)
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, texts=texts, weights=weights, chosen=chosen)

    def profiled(self, counted: str) -> dict[str, Profile]:
        """A profile of every column; the distinct numbers of `counted` are counted."""
        profiles: dict[str, Profile] = {c.name: c.profile(c.counts(self.weights)) for c in self.texts}
        for name in self.names:
            distinct: Counter[float] | None = Counter() if name == counted else None
            profiles[name] = number = NumberProfile(dated=name in self.dated, distinct=distinct)
            number.add_numbers(self.numbers(name), self.weights)
        return profiles

    def summed(
        self, target: str, origins: Mapping[str, float]
    ) -> tuple[RawMoments | None, dict[str, Profile]]:
        """Moments of all columns, the target's last, and the profiles that they tell.

        None for the moments where there are very many levels or a number is infinite. The target is the
        last column of numbers.
        """
        s, names = self.weights, self.names
        few = [codes for codes in self.texts if len(codes.levels) <= MOST_LEVELS]
        room = MOST_LABELS - len(names) - sum(len(codes.levels) for codes in few)
        if room < 0:
            return None, self.profiled(target)
        Z = matrix.scratch_columns("raw cells", self.rows, len(names) + 1)
        Z[:, -1] = 1.0
        columns = list[Centred]()
        with np.errstate(invalid="ignore"):
            for j, name in enumerate(names):  # all that a column needs, while it is in the processor's cache
                column = Centred.of(self._written(j, Z[:, j]), s, origins[name])
                if column is None:
                    return None, self.profiled(target)
                columns.append(column)
        gaps = {j: column.gap for j, column in enumerate(columns) if column.gap is not None}
        if len(gaps) > room:
            return None, self.profiled(target)
        weight = float(self.rows if s is None else s.sum())
        sums = indicator_sums(list(gaps.values()), few, Z, s)
        moments = Moments.of_centred(Z, np.array([column.centre for column in columns]), weight, sums, s)
        counts = {}
        if sums is not None:
            ends = np.cumsum([len(gaps), *(len(codes.levels) for codes in few)])
            counts = {c.name: sums[2][a:b] for c, (a, b) in zip(few, pairwise(ends), strict=True)}
        profiles: dict[str, Profile] = {
            c.name: c.profile(counts[c.name] if c.name in counts else c.counts(s)) for c in self.texts
        }
        for j, (name, column) in enumerate(zip(names, columns, strict=True)):
            place = j if j < len(names) - 1 else -1
            profile = NumberProfile(weight, rows=self.rows, whole=column.whole, distinct=None)
            profile.low, profile.high, profile.dated = column.low, column.high, name in self.dated
            profile.mean, profile.squares = float(moments.mean[place]), float(moments.cross[place, place])
            if column.gap is not None:
                column.gap.leave_out(profile, moments, place, origins[name])
            profiles[name] = profile
        if columns[-1].whole:
            profiles[target].distinct = Counter()  # type: ignore[union-attr]
            profiles[target].count_distinct(self.numbers(target), s)  # type: ignore[union-attr]
        labels = [(name, "") for name in names[:-1]] + [(names[j], FLAG) for j in gaps]
        labels += [(codes.name, level) for codes in few for level in codes.levels]
        skipped = frozenset(c.name for c in self.texts if len(c.levels) > MOST_LEVELS)
        return RawMoments(tuple(labels), moments, skipped), profiles


@dataclass(frozen=True, slots=True)
class Centred:
    """A column of numbers less some number near its mean, and what was seen of it before."""

    centre: float
    low: float
    high: float
    whole: bool
    gap: Gap | None

    @staticmethod
    def of(x: Float, s: Float | None, origin: float) -> Centred | None:
        """The column made of `x`, in place, missing cells as `origin`; None where a number is infinite.

        The mean of a part f of the rows is near enough: it is at most `sqrt(1 / f - 1)` standard deviations
        from that of all, and products about it lose no more than a factor 1 / f of their precision.
        """
        gap = None
        low, high = float(np.minimum.reduce(x, initial=np.inf)), float(np.maximum.reduce(x, initial=-np.inf))
        if math.isnan(low):
            gap = Gap.of(x, s)
            low, high = gap.low, gap.high
        if max(-low, high) > HUGE:
            return None
        whole = whole_numbers(x)
        if gap is not None:
            x[gap.rows] = origin
        if low == high:
            centre = low
        elif s is None:
            some = x[::EVERY]
            centre = float(np.add.reduce(some)) / max(len(some), 1)
        else:
            centre = float(s @ x) / (float(s.sum()) or 1.0)
        x -= centre
        return Centred(centre, low, high, whole, gap)


def _chunks(series: pl.Series) -> tuple[Array, ...]:
    """A column as NumPy has it, without a copy of what it has already."""
    if not is_plain(series.dtype):
        return (as_numbers(series),)
    chunks = [series] if series.n_chunks() == 1 else series.get_chunks()
    return tuple(chunk.to_numpy() for chunk in chunks)
