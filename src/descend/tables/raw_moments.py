"""Moments of raw columns, summed before the encoding is known, and mapped to encoded ones afterwards.

Centring, scaling, filling missing cells with the mean, flagging them and coding levels are all linear in
raw numbers (missing ones as some fixed number), flags and level indicators. So one read of a file can sum moments of
those, find out means, scales and levels, and map the sums: squared error then needs no second read.

Columns are known by labels, and a column that some rows lack is zero there: a level that appears late,
or the flag of a column without a missing cell so far, needs no place before it is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from descend.engines.matrix import Float
from descend.engines.moments import Moments
from descend.tables.encoding import OTHER, Category, Encoding, Number

Label: TypeAlias = tuple[str, str]
"""`(column, "")` for its numbers, `(column, FLAG)` for its missing cells, else `(column, level)`."""

FLAG = "\0missing"
MOST_LEVELS, MOST_LABELS = 256, 768
"""Columns with more levels in a leaf are not summed; nor is anything beyond so many columns and levels."""


@dataclass(frozen=True, slots=True)
class RawMoments:
    """Moments whose columns are labelled; the target is the last column and has no label."""

    labels: tuple[Label, ...]
    moments: Moments
    skipped: frozenset[str] = frozenset()
    """Raw columns left out because they have very many levels."""

    @staticmethod
    def merge(a: RawMoments | None, b: RawMoments | None) -> RawMoments | None:
        """The moments of the rows of both; None where they have too many columns to be worth summing."""
        if a is None or b is None:
            return None
        if a.skipped != b.skipped:
            a, b = a.skipping(b.skipped), b.skipping(a.skipped)
        if a.labels != b.labels:
            new = [label for label in b.labels if label not in set(a.labels)]
            labels = (*a.labels, *new)
            if len(labels) > MOST_LABELS:
                return None
            a, b = a.aligned(labels), b.aligned(labels)
        return RawMoments(a.labels, Moments.merge(a.moments, b.moments), a.skipped)

    def skipping(self, names: frozenset[str]) -> RawMoments:
        """The same moments without some raw columns."""
        where = np.array([i for i, (name, _) in enumerate(self.labels) if name not in names], dtype=np.intp)
        labels, m = tuple(self.labels[i] for i in where), self.moments
        where = np.append(where, len(self.labels))
        mean, low, cross = m.mean[where], m.mean_low[where], m.cross[np.ix_(where, where)]
        return RawMoments(labels, Moments(m.weight, m.rows, mean, low, cross), self.skipped | names)

    def aligned(self, labels: tuple[Label, ...]) -> RawMoments:
        """The same moments with these columns, those it lacks being zero in all its rows."""
        if labels == self.labels:
            return self
        place = {label: i for i, label in enumerate(labels)}
        where = np.array([*(place[label] for label in self.labels), len(labels)], dtype=np.intp)
        m, size = self.moments, len(labels) + 1
        mean, low, cross = np.zeros(size), np.zeros(size), np.zeros((size, size))
        mean[where], low[where], cross[np.ix_(where, where)] = m.mean, m.mean_low, m.cross
        return RawMoments(labels, Moments(m.weight, m.rows, mean, low, cross), self.skipped)

    def serves(self, encoding: Encoding) -> bool:
        """Whether every column that the encoding uses was summed."""
        return not self.skipped.intersection(encoding.names)

    def encoded(self, encoding: Encoding, origins: Mapping[str, float]) -> Moments:
        """The moments of the encoded columns; missing numbers were summed as `origins`.

        With `A (v - c)` the affine map from raw to encoded columns, means go to `A (m - c)` and centred
        cross products to `A C A'`.
        """
        A, c = affine_map(encoding, self.labels, origins)
        m = self.moments
        return Moments(m.weight, m.rows, A @ (m.mean - c), A @ m.mean_low, A @ m.cross @ A.T)


def affine_map(
    encoding: Encoding, labels: Sequence[Label], origins: Mapping[str, float]
) -> tuple[Float, Float]:
    """`A` and `c` that turn raw columns `v`, the target last, into encoded ones, `A (v - c)`, the target last."""
    place = {label: i for i, label in enumerate(labels)}
    names = encoding.feature_names
    A, c = np.zeros((len(names) + 1, len(labels) + 1)), np.zeros(len(labels) + 1)
    A[-1, -1] = 1.0
    row = {name: i for i, name in enumerate(names)}
    for column in encoding.columns:
        if isinstance(column, Number):
            c[place[column.name, ""]] = column.centre
            _map_number(column, origins[column.name], place, row, A)
        else:
            _map_category(column, place, row, A)
    return A, c


def _map_number(
    column: Number, origin: float, place: Mapping[Label, int], row: Mapping[str, int], A: Float
) -> None:
    """`(x - centre) / scale`, with the mean in place of the origin where x is missing."""
    i, flag = row[column.name], place.get((column.name, FLAG))
    A[i, place[column.name, ""]] = 1.0 / column.scale
    if flag is not None:
        A[i, flag] = (column.mean - origin) / column.scale
        if column.flagged:
            A[row[f"{column.name} (missing)"], flag] = 1.0


def _map_category(column: Category, place: Mapping[Label, int], row: Mapping[str, int], A: Float) -> None:
    """One row per dummy; levels that the encoding has folded go to `(other)`."""
    known = set(column.levels)
    for (name, level), j in place.items():
        if name != column.name:
            continue
        level = level if level in known else OTHER
        dummy = row.get(f"{name}={level}")
        if dummy is not None:
            A[dummy, j] = 1.0
