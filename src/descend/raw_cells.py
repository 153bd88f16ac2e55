"""The cells of a raw leaf: profiled, and summed to labelled moments in the same go.

Cells become NumPy arrays at once, by one expression of polars for the gaps and one for the texts, as every
call has its price; everything after that is NumPy's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from descend import matrix
from descend.cells import as_numbers, complete, is_plain
from descend.indicators import Codes, Gap, indicator_sums
from descend.matrix import Array, Float
from descend.moments import Moments
from descend.profiles import HUGE, NumberProfile, Profile, whole_numbers
from descend.raw_moments import FLAG, MOST_LABELS, MOST_LEVELS, RawMoments


@dataclass(frozen=True)
class Cells:
    """Columns of numbers, NaN where a cell is missing, and columns of texts as codes.

    `bordered` is a scratch buffer of this thread in Fortran order: the numbers and a column of ones.
    """

    names: tuple[str, ...]
    """The columns of numbers."""
    bordered: Float
    texts: tuple[Codes, ...]
    dated: frozenset[str]
    weights: Float | None = None

    @staticmethod
    def of(
        frame: pl.DataFrame, names: Sequence[str], texts: frozenset[str], weights: Float | None = None
    ) -> Cells:
        """Some columns of a frame."""
        numbers = [name for name in names if name not in texts]
        bordered = matrix.scratch_columns("raw cells", frame.height, len(numbers) + 1)
        for j, series in enumerate(complete(frame.select(numbers))):
            _fill(bordered[:, j], series)
        bordered[:, -1] = 1.0
        codes = Codes.of(frame, [name for name in names if name in texts])
        schema = frame.schema
        dated = frozenset(name for name in names if schema[name].is_temporal())
        return Cells(tuple(numbers), bordered, codes, dated, weights)

    @property
    def rows(self) -> int:
        return len(self.bordered)

    @property
    def numbers(self) -> Float:
        """The columns of numbers."""
        return self.bordered[:, :-1]

    def known(self, name: str) -> Array:
        """A mask of the rows where a cell is not missing."""
        for codes in self.texts:
            if codes.name == name:
                return codes.known
        return ~np.isnan(self.numbers[:, self.names.index(name)])

    def take(self, mask: Array) -> Cells:
        """The rows of a mask; another call writes over them."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask)
        bordered = matrix.scratch_columns("chosen cells", len(rows), self.bordered.shape[1])
        for j in range(bordered.shape[1]):
            np.take(self.bordered[:, j], rows, out=bordered[:, j], mode="clip")
        texts = tuple(codes.take(rows) for codes in self.texts)
        return Cells(
            self.names, bordered, texts, self.dated, None if self.weights is None else self.weights[rows]
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
        gaps = {j: Gap.of(self.numbers[:, j], s) for j in flagged}
        whole = [whole_numbers(self.numbers[:, j]) for j in range(len(names))]
        goal = self.numbers[:, -1].copy() if whole[-1] else None
        for j, gap in gaps.items():
            low[j], high[j] = gap.low, gap.high
            self.numbers[gap.rows, j] = origins[names[j]]
        means = (np.ones(self.rows) if s is None else s) @ self.numbers / (weight or 1.0)
        self.numbers[...] -= means
        sums = indicator_sums(list(gaps.values()), few, self.bordered, s)
        moments = Moments.of_centred(self.bordered, means, weight, sums, s)
        counts = {}
        if sums is not None:
            ends = np.cumsum([len(gaps), *(len(codes.levels) for codes in few)])
            counts = {c.name: sums[2][a:b] for c, (a, b) in zip(few, pairwise(ends), strict=True)}
        profiles: dict[str, Profile] = {
            c.name: c.profile(counts[c.name] if c.name in counts else c.counts(s)) for c in self.texts
        }
        for j, name in enumerate(names):
            place = j if j < len(names) - 1 else -1
            profile = NumberProfile(weight, rows=self.rows, whole=whole[j], distinct=None)
            profile.low, profile.high, profile.dated = float(low[j]), float(high[j]), name in self.dated
            profile.mean, profile.squares = float(moments.mean[place]), float(moments.cross[place, place])
            if j in gaps:
                gaps[j].leave_out(profile, moments, place, origins[name])
            profiles[name] = profile
        if goal is not None:
            profiles[target].distinct = Counter()  # type: ignore[union-attr]
            profiles[target].count_distinct(goal, s)  # type: ignore[union-attr]
        labels = [(name, "") for name in names[:-1]] + [(names[j], FLAG) for j in flagged]
        labels += [(codes.name, level) for codes in few for level in codes.levels]
        skipped = frozenset(c.name for c in self.texts if len(c.levels) > MOST_LEVELS)
        return RawMoments(tuple(labels), moments, skipped), profiles


def _fill(out: Float, series: pl.Series) -> None:
    """A column as float64, missing cells as NaN; a chunk at a time, so that nothing is copied twice."""
    if not is_plain(series.dtype):
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
