"""Columns of zeros and ones that are never written out: the levels of texts, and the missing cells of numbers.

Their sums over a leaf come from the places of the ones, as sparse matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from scipy.sparse import csc_array, csr_array

from descend import matrix
from descend.cells import as_texts
from descend.encoding import MISSING_LEVEL
from descend.matrix import Array, Float
from descend.moments import Moments
from descend.profiles import NumberProfile, TextProfile
from descend.raw_moments import MOST_LEVELS

PIECE = 16_384
"""Rows whose sums are made at once, so that they stay in the processor's cache."""


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
        places, levels, absent = categories.to_physical(), known.to_series().to_list(), None
        if series.null_count():
            present = places.is_not_null()
            absent = ~present.to_numpy()
            if MISSING_LEVEL not in levels:
                levels.append(MISSING_LEVEL)
            missing = pl.Series([levels.index(MISSING_LEVEL)], dtype=places.dtype)
            places = places.zip_with(present, missing)  # polars exports missing cells slowly
        codes = places.to_numpy().astype(np.intp)
        if len(levels) > MOST_LEVELS:
            return Codes(series.name, levels, codes, absent)
        order = sorted(range(len(levels)), key=levels.__getitem__)
        ranks = np.empty(len(order), dtype=np.intp)
        ranks[order] = np.arange(len(order))
        return Codes(series.name, [levels[i] for i in order], ranks.take(codes), absent)

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


@dataclass(frozen=True, slots=True)
class Gap:
    """The missing cells of a column of numbers, and the range of the others."""

    rows: Array
    weight: float
    low: float
    high: float

    @staticmethod
    def of(column: Float, s: Float | None) -> Gap:
        """The gap of one column, whose missing cells become one of the others."""
        absent = np.isnan(column)
        rows = np.flatnonzero(absent)
        weight = float(len(rows) if s is None else s[rows].sum())
        if len(rows) == len(column):
            column[:] = 0.0
            return Gap(rows, weight, math.inf, -math.inf)
        column[rows] = column[absent.argmin()]
        return Gap(rows, weight, float(column.min()), float(column.max()))

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
    gaps: Sequence[Gap], texts: Sequence[Codes], Z: Float, s: Float | None
) -> tuple[Float, Float, Float] | None:
    """Sums over the rows of each gap, then of each level: of `Z`, of all these indicators, and of 1; by weight."""
    if not gaps and not texts:
        return None
    plain = flags, levels = _flags(gaps, len(Z)), _levels(texts, len(Z))
    weighed = plain if s is None else tuple(matrix.scaled_sparse(M, s) for M in plain)
    products = [np.zeros((M.shape[1], Z.shape[1])) for M in plain]
    for start in range(0, len(Z), PIECE):
        rows = slice(start, start + PIECE)
        piece = matrix.scratch("piece", Z[rows].shape)
        piece[...] = Z[rows]
        for total, M in zip(products, weighed, strict=True):
            total += matrix.take_rows(M, rows).T @ piece
    across = weighed[0].T.tocsr()
    pairs = (across @ levels).toarray()
    gram = np.block([[(across @ flags).toarray(), pairs], [pairs.T, _level_pairs(texts, s)]])
    return np.vstack(products), gram, gram.diagonal()


def _flags(gaps: Sequence[Gap], rows: int) -> csr_array:
    """A column for each gap, 1 where it is."""
    indices = np.concatenate([gap.rows for gap in gaps] or [np.empty(0, np.intp)])
    ends = np.cumsum([0, *(len(gap.rows) for gap in gaps)])
    return csc_array((np.ones(len(indices)), indices, ends), shape=(rows, len(gaps))).tocsr()


def _levels(texts: Sequence[Codes], rows: int) -> csr_array:
    """A column for each level, 1 where it is."""
    starts = np.cumsum([0, *(len(text.levels) for text in texts)])
    indices = np.empty((rows, len(texts)), dtype=np.int32)
    for j, text in enumerate(texts):
        np.add(text.codes, starts[j], out=indices[:, j], casting="unsafe")
    ends, ones = np.arange(rows + 1, dtype=np.int32) * len(texts), matrix.scratch("ones", (indices.size,))
    ones[...] = 1.0
    return csr_array((ones, indices.ravel(), ends), shape=(rows, int(starts[-1])))


def _level_pairs(texts: Sequence[Codes], s: Float | None) -> Float:
    """How often each two levels occur in a row, by weight."""
    ends = np.cumsum([0, *(len(text.levels) for text in texts)])
    spans = [slice(a, b) for a, b in pairwise(ends)]
    gram = np.zeros((ends[-1], ends[-1]))
    for i, (a, at) in enumerate(zip(texts, spans, strict=True)):
        gram[at, at] = np.diag(a.counts(s))
        for b, there in zip(texts[:i], spans[:i], strict=True):
            shape = len(a.levels), len(b.levels)
            pairs = np.bincount(a.codes * shape[1] + b.codes, s, math.prod(shape)).reshape(shape)
            gram[at, there], gram[there, at] = pairs, pairs.T
    return gram
