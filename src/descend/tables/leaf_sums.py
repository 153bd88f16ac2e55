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
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from polars.selectors import by_name

from descend.engines import matrix
from descend.engines.arrays import HUGE
from descend.engines.matrix import Array, Float
from descend.engines.moments import Moments
from descend.tables.cells import as_numbers, complete, is_plain
from descend.tables.encoding import MISSING_LEVEL
from descend.tables.profiles import NumberProfile, Profile, TextProfile, whole_numbers
from descend.tables.raw_moments import FLAG, MOST_LABELS, MOST_LEVELS, RawMoments

if TYPE_CHECKING:
    from scipy.sparse import csc_array, csr_array

EVERY = 64
"""The mean of one row in so many is near that of all."""


@dataclass(frozen=True)
class Cells:
    """Columns of numbers, and columns of texts as codes."""

    names: tuple[str, ...]
    """The columns of numbers."""
    chunks: tuple[tuple[Array, ...], ...]
    """Each of them in pieces as they lie in memory, NaN where a cell is missing; not to be written to."""
    texts: tuple[Factor, ...]
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
        codes = Factor.of(frame, [name for name in names if name in texts])
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
    gap: MissingCells | None

    @staticmethod
    def of(x: Float, s: Float | None, origin: float) -> Centred | None:
        """The column made of `x`, in place, missing cells as `origin`; None where a number is infinite.

        The mean of a part f of the rows is near enough: it is at most `sqrt(1 / f - 1)` standard deviations
        from that of all, and products about it lose no more than a factor 1 / f of their precision.
        """
        gap = None
        low, high = float(np.minimum.reduce(x, initial=np.inf)), float(np.maximum.reduce(x, initial=-np.inf))
        if math.isnan(low):
            gap = MissingCells.of(x, s)
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


MOST_COMBINED = 1_024
"""Texts are joined while they have no more combinations of levels than this."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A column of texts as places in the list of its levels; missing cells are a level of their own."""

    name: str
    levels: list[str]
    """In order, unless they are very many."""
    codes: Array
    gaps: bool
    """Whether cells are missing."""

    @staticmethod
    def of(frame: pl.DataFrame, names: Sequence[str]) -> tuple[Factor, ...]:
        """The codes of some columns, by a single expression: every call of polars has its price."""
        books = {}  # a category is forgotten when no series has it
        for name in names:
            first = [MISSING_LEVEL] if frame[name].null_count() else []
            books[name] = pl.Series(first, dtype=pl.Categorical(pl.Categories.random()))
        wanted = [
            by_name(name).cast(pl.String).cast(book.dtype).to_physical().fill_null(0)
            for name, book in books.items()
        ]
        places = frame.select_seq(wanted) if wanted else frame
        return tuple(Factor._ranked(places[name], book) for name, book in books.items())

    @staticmethod
    def _ranked(places: pl.Series, book: pl.Series) -> Factor:
        """The same places in the list of levels when it is sorted."""
        known: Any = book.dtype
        levels, codes = known.categories.to_series().to_list(), places.to_numpy()
        if len(levels) > MOST_LEVELS:
            return Factor(places.name, levels, codes, len(book) > 0)
        order = sorted(range(len(levels)), key=levels.__getitem__)
        ranks = np.empty(len(order), dtype=np.int32)
        ranks[order] = np.arange(len(order))
        return Factor(places.name, [levels[i] for i in order], ranks.take(codes), len(book) > 0)

    def take(self, rows: Array) -> Factor:
        """Some of the rows."""
        return Factor(self.name, self.levels, self.codes[rows], self.gaps)

    @property
    def known(self) -> Array:
        """A mask of the rows whose cell is not missing."""
        if not self.gaps:
            return np.ones(len(self.codes), dtype=bool)
        return np.asarray(self.codes != self.levels.index(MISSING_LEVEL))

    def counts(self, weights: Float | None) -> Float:
        """How often each level occurs, by weight."""
        return np.bincount(self.codes, weights, len(self.levels)).astype(np.float64, copy=False)

    def profile(self, counts: Float) -> TextProfile:
        """The levels that occur, with these counts."""
        seen = np.flatnonzero(counts).tolist()
        levels = dict(zip([self.levels[i] for i in seen], counts[seen].tolist(), strict=True))
        rows = int(np.count_nonzero(self.known))
        missing = levels.pop(MISSING_LEVEL, 0.0) if self.gaps else 0.0
        profile = TextProfile()
        profile.take(levels, rows, missing)
        return profile


@dataclass(frozen=True, slots=True)
class MissingCells:
    """The missing cells of a column of numbers, and the range of the others."""

    rows: Array
    weight: float
    low: float
    high: float

    @staticmethod
    def of(column: Float, s: Float | None) -> MissingCells:
        """The gap of one column, whose missing cells become one of the others."""
        absent = np.isnan(column)
        rows = np.flatnonzero(absent)
        weight = float(len(rows) if s is None else s[rows].sum())
        if len(rows) == len(column):
            column[:] = 0.0
            return MissingCells(rows, weight, math.inf, -math.inf)
        column[rows] = column[absent.argmin()]
        return MissingCells(rows, weight, float(column.min()), float(column.max()))

    def leave_out(self, profile: NumberProfile, moments: Moments, place: int, origin: float) -> None:
        """Take the missing cells out of a profile.

        Of weight W with mean m and squares S a part a is missing, summed as the origin o. The others
        have mean `o + (m - o) W / (W - a)` and squares `S - a W / (W - a) (m - o)**2`.
        """
        whole, profile.missing = profile.count, self.weight
        profile.rows -= len(self.rows)
        profile.count = whole - self.weight if profile.rows else 0.0
        if not profile.rows:
            profile.mean = profile.squares = 0.0
            return
        share = whole / profile.count
        distance = float((moments.mean[place] - origin) + moments.mean_low[place])
        profile.mean = origin + distance * share
        profile.squares = max(profile.squares - self.weight * share * distance**2, 0.0)


def indicator_sums(
    gaps: Sequence[MissingCells], texts: Sequence[Factor], Z: Float, s: Float | None
) -> tuple[Float, Float, Float] | None:
    """Sums over the rows of each gap, then of each level: of `Z`, of all these indicators, and of 1; by weight.

    The last column of `Z` is 1.
    """
    if not gaps and not texts:
        return None
    joints = Joint.of(texts)
    by_flag = _products(_flags(gaps, len(Z), s), Z)
    by_level = _products(_levels(joints, len(Z), s), Z)
    among = _flags(gaps, len(Z), s) @ _flags(gaps, len(Z)).T
    across = _margins(joints, _flag_levels(gaps, joints, s))
    pairs = _level_pairs(texts, joints, by_level[:, -1], s)
    products = np.vstack([by_flag, _margins(joints, by_level)])
    return products, np.block([[among.toarray(), across.T], [across, pairs]]), products[:, -1]


@dataclass(frozen=True, slots=True)
class Joint:
    """Some texts as one whose levels are all combinations of theirs, to be summed in a single go."""

    places: tuple[int, ...]
    """Which texts."""
    shape: tuple[int, ...]
    """How many levels each of them has."""
    codes: Array

    @staticmethod
    def of(texts: Sequence[Factor]) -> list[Joint]:
        """All texts, those of most levels first, each with the first others that have room for it."""
        joints: list[Joint] = []
        for place in sorted(range(len(texts)), key=lambda i: -len(texts[i].levels)):
            codes, count = texts[place].codes, len(texts[place].levels)
            room = (i for i, joint in enumerate(joints) if joint.size * count <= MOST_COMBINED)
            if (i := next(room, None)) is None:
                joints.append(Joint((place,), (count,), codes))
            else:
                known = joints[i]
                codes = known.codes * np.int32(count) + codes
                joints[i] = Joint((*known.places, place), (*known.shape, count), codes)
        return joints

    @property
    def size(self) -> int:
        """How many levels there are."""
        return math.prod(self.shape)

    def margin(self, sums: Float, *axes: int) -> Float:
        """Sums by the levels of the texts on these axes, from sums by the levels of this one."""
        cube = sums.reshape(*self.shape, *sums.shape[1:])
        return np.asarray(cube.sum(axis=tuple(i for i in range(len(self.shape)) if i not in axes)))


def _margins(joints: Sequence[Joint], sums: Float) -> Float:
    """Sums by the levels of every text, from sums by the levels of all `joints`."""
    found: dict[int, Float] = {}
    start = 0
    for joint in joints:
        own = sums[start : (start := start + joint.size)]
        found |= {place: joint.margin(own, axis) for axis, place in enumerate(joint.places)}
    return np.vstack([sums[:0], *(found[place] for place in sorted(found))])


def _products(indicators: csr_array, Z: Float) -> Float:
    """`indicators @ Z`, a column of `Z` at a time, as they lie in memory."""
    return np.column_stack([indicators @ z for z in Z.T])


def _flags(gaps: Sequence[MissingCells], rows: int, s: Float | None = None) -> csr_array:
    """A row for each gap, 1 where it is, or the weight."""
    indices = np.concatenate([*(gap.rows for gap in gaps), np.empty(0, np.intp)])
    ends = np.cumsum([0, *(len(gap.rows) for gap in gaps)])
    ones = np.ones(len(indices)) if s is None else s[indices]
    from scipy.sparse import csr_array

    return csr_array((ones, indices, ends), shape=(len(gaps), rows))


def _levels(joints: Sequence[Joint], rows: int, s: Float | None) -> csc_array:
    """A row for each level of the joints, 1 where it is, or the weight."""
    starts = np.cumsum([0, *(joint.size for joint in joints)])
    indices = np.empty((rows, len(joints)), dtype=np.int32)
    for j, joint in enumerate(joints):
        np.add(joint.codes, starts[j], out=indices[:, j], casting="unsafe")
    ends, ones = np.arange(rows + 1, dtype=np.int32) * len(joints), matrix.scratch("ones", indices.shape)
    ones[...] = 1.0 if s is None else s[:, None]
    from scipy.sparse import csc_array

    return csc_array((ones.ravel(), indices.ravel(), ends), shape=(int(starts[-1]), rows))


def _flag_levels(gaps: Sequence[MissingCells], joints: Sequence[Joint], s: Float | None) -> Float:
    """How often each level of the joints occurs in each gap, by weight, of shape (levels, gaps)."""
    rows = np.concatenate([*(gap.rows for gap in gaps), np.empty(0, np.intp)])
    owners = np.repeat(np.arange(len(gaps)), [len(gap.rows) for gap in gaps])
    weights, found = None if s is None else s[rows], [np.empty((0, len(gaps)))]
    for joint in joints:
        counts = np.bincount(joint.codes[rows] * len(gaps) + owners, weights, joint.size * len(gaps))
        found.append(counts.reshape(joint.size, len(gaps)).astype(np.float64, copy=False))
    return np.vstack(found)


def _level_pairs(texts: Sequence[Factor], joints: Sequence[Joint], counts: Float, s: Float | None) -> Float:
    """How often each two levels occur in a row, by weight; `counts` has those of the levels of the joints."""
    ends = np.cumsum([0, *(len(text.levels) for text in texts)])
    spans = [slice(a, b) for a, b in pairwise(ends)]
    gram, start, earlier = np.zeros((ends[-1], ends[-1])), 0, list[int]()
    for joint in joints:
        own = counts[start : (start := start + joint.size)]
        for axis, i in enumerate(joint.places):
            gram[spans[i], spans[i]] = np.diag(joint.margin(own, axis))
            found = {j: joint.margin(own, other, axis) for other, j in enumerate(joint.places[:axis])}
            found |= {j: _pairs(texts[j], texts[i], s) for j in earlier}
            for j, pairs in found.items():
                gram[spans[j], spans[i]], gram[spans[i], spans[j]] = pairs, pairs.T
        earlier += joint.places
    return gram


def _pairs(a: Factor, b: Factor, s: Float | None) -> Float:
    """How often a level of `a` and one of `b` occur in a row, by weight."""
    shape = len(a.levels), len(b.levels)
    counts = np.bincount(a.codes * np.int32(shape[1]) + b.codes, s, math.prod(shape))
    return counts.reshape(shape).astype(np.float64, copy=False)
