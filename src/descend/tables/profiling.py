"""The profiling: one read of a table that finds profiles of its columns and, for squared error, their moments.

It is a statistic over raw leaves, so that decoding, profiling and summing share the cores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import polars as pl

from descend.engines.arrays import HUGE
from descend.engines.blocks import Source, leaf_rows
from descend.engines.engine import Engine
from descend.engines.matrix import Float
from descend.engines.splits import AnySplit
from descend.engines.worker import Shelf
from descend.errors import DataError
from descend.machine import memory_budget
from descend.tables.cells import as_numbers, held_out_of, weights_of
from descend.tables.leaf_sums import Cells
from descend.tables.profiles import Profile, is_text
from descend.tables.raw_moments import RawMoments
from descend.tables.retained import RetainedRows, SpooledRows, retain
from descend.tables.table import RangeHandle, RowRange, Slice, Table, first_leaves, row_runs, unit_rows

KEPT_BYTES = 2**26
"""Raw rows of so many bytes are kept beside moments: small tables are read once, large ones leave a sample."""
ORIGIN_ROWS = 4_096


@dataclass(frozen=True)
class ProfileRequest:
    """What to find out about a table, and of which rows."""

    target: str
    names: tuple[str, ...]
    categorical: Collection[str] = ()
    numeric: Collection[str] = ()
    split: AnySplit | None = None
    weight: str | None = None
    offset: str | None = None
    cluster: str | None = None
    sums: bool = False
    """Whether to sum moments too, should the loss be squared error."""
    memory: int = memory_budget()
    """Bytes of rows that may be kept; where moments are summed a sample is enough."""

    @property
    def columns(self) -> list[str]:
        """The raw columns to read."""
        group = self.split.group if self.split else None
        others = (self.target, self.weight, group, self.offset, self.cluster)
        return list(dict.fromkeys([*self.names, *(name for name in others if name is not None)]))

    def texts(self, table: Table) -> frozenset[str]:
        """The columns to read as texts; the others are numbers."""
        chosen = {*self.categorical} - {*self.numeric}
        named = {n for n in self.names if n in chosen or (n not in self.numeric and is_text(table.schema[n]))}
        return frozenset(named | ({self.target} if is_text(table.schema[self.target]) else set()))


@dataclass(frozen=True)
class Profiling:
    """What the read found: profiles over the training rows, and the counts of rows.

    Rows of weight zero are left out, as if they were not there.
    """

    target: Profile
    features: dict[str, Profile]
    rows: dict[str, int]
    weight: float = 0.0
    """The sum of the weights of the training rows; their number without weights."""
    moments: tuple[RawMoments | None, RawMoments | None] = (None, None)
    """Of the training and the validation rows, None where they were not summed."""
    origins: dict[str, float] = field(default_factory=dict)
    retained: RetainedRows | SpooledRows = field(default_factory=lambda: RetainedRows(0))
    """The rows themselves, as far as they fit."""

    @staticmethod
    def of(table: Table, request: ProfileRequest, engine: Engine) -> Profiling:
        """Read the table once."""
        budget = min(KEPT_BYTES, request.memory) if request.sums else request.memory
        source = RawSource(table, request, retain(table, budget, again=not request.sums))
        session = engine.open(cast(Source, source))  # it has the leaves of one, and nothing else is asked
        try:
            profiling: Profiling = session.reduce(ProfileStatistic(request, source.texts, source.origins))
        except DataError:
            source.retained.close()
            raise
        finally:
            session.close()
        return replace(profiling, origins=source.origins, retained=source.retained)


@dataclass(frozen=True)
class ProfileStatistic:
    """The statistic: the profiling of one raw leaf, and of two surveys together."""

    request: ProfileRequest
    texts: frozenset[str]
    """The columns to read as texts."""
    origins: dict[str, float]

    def of(self, piece: Any, params: Any = None) -> Profiling:
        """The profiling of the rows of a slice."""
        q = self.request
        held_out = held_out_of(piece, q.split)
        weights = None if q.weight is None else weights_of(piece, q.weight)
        cells = Cells.of(piece.frame, (*q.names, q.target), self.texts, weights)
        known = cells.known(q.target)
        counted = known if weights is None else known & (weights > 0)
        rows = {
            "training": int((counted & ~held_out).sum()),
            "validation": int((counted & held_out).sum()),
            "without_target": int((~known).sum()),
        }
        held = None
        if q.sums and q.split is not None:
            held, _ = cells.take(counted & held_out).summed(q.target, self.origins)
        training = cells.take(counted & ~held_out)
        total = float(training.rows if training.weights is None else training.weights.sum())
        moments: tuple[RawMoments | None, RawMoments | None] = (None, held)
        if q.sums:
            raw, profiles = training.summed(q.target, self.origins)
            moments = raw, held
        else:
            profiles = training.profiled(q.target)
        return Profiling(profiles[q.target], {name: profiles[name] for name in q.names}, rows, total, moments)

    def merge(self, a: Profiling, b: Profiling) -> Profiling:
        """The profiling of the rows of both, its profiles in the memory of those of `a`."""
        a.target.merge(b.target)  # type: ignore[arg-type]
        for name, profile in a.features.items():
            profile.merge(b.features[name])  # type: ignore[arg-type]
        return replace(
            a,
            rows={name: count + b.rows[name] for name, count in a.rows.items()},
            weight=a.weight + b.weight,
            moments=(
                RawMoments.merge(a.moments[0], b.moments[0]),
                RawMoments.merge(a.moments[1], b.moments[1]),
            ),
        )


@dataclass
class RawSource:
    """The raw leaves of a table; its first leaf fixes the origins that stand for missing numbers."""

    table: Table
    request: ProfileRequest
    retained: RetainedRows | SpooledRows
    origins: dict[str, float] = field(default_factory=dict)

    @cached_property
    def texts(self) -> frozenset[str]:
        """The columns that are read as texts."""
        return self.request.texts(self.table)

    def parts(self) -> list[RawSource]:
        return [self]

    def leaves(self) -> Iterator[RawLeaf]:
        """Every leaf in order."""
        for index, piece in enumerate(
            self.table.slices(self.request.columns, 4 * leaf_rows(len(self.request.names)))
        ):
            if index == 0 and self.request.sums:
                self._set_origins(piece.frame)
            self.retained.add(index, piece)
            yield RawLeaf(index, piece)

    def handles(self) -> list[RawRange]:
        """The same leaves as runs that other processes can open; the first rows are read for the origins."""
        columns, leaf = self.request.columns, 4 * leaf_rows(len(self.request.names))
        if self.request.sums:
            self._set_origins(next(self.table.slices(columns, leaf)).frame)
        runs = row_runs(self.table, columns, unit_rows(self.table.starts()[1], len(self.request.names)))
        places = zip(runs, first_leaves(runs, leaf), strict=True)
        return [RawRange(run, first, tuple(columns), leaf) for run, first in places]

    def _set_origins(self, frame: pl.DataFrame) -> None:
        """The mean of each column of numbers in its first rows: near all of them, so nothing cancels."""
        for name in (*self.request.names, self.request.target):
            if name not in self.texts:
                few = _known(frame[name].head(ORIGIN_ROWS))
                x = few if len(few) else _known(frame[name])
                self.origins[name] = float(x.mean()) if len(x) else 0.0


def _known(series: pl.Series) -> Float:
    """The numbers of a column that are neither missing nor infinite."""
    x = as_numbers(series)
    return x[np.abs(x) <= HUGE]


@dataclass(frozen=True, slots=True)
class RawLeaf:
    """One leaf of raw rows."""

    index: int
    piece: Slice

    def block(self) -> Any:
        """The rows as they are: a profiling reads cells, not numbers."""
        return self.piece


@dataclass(frozen=True, eq=False)
class RawRange(RangeHandle):
    """Some consecutive raw rows, the first of them in leaf `first`: a handle of a part."""

    rows: RowRange
    first: int
    columns: tuple[str, ...]
    leaf: int
    shelf: Shelf | None = None

    def open(self, shelf: Shelf) -> RawRange:
        """The part, whose rows are left on `shelf` for those who encode them."""
        return replace(self, shelf=shelf)

    def joined(self, other: Any) -> RawRange | None:
        """Both as one where `other` goes on where this ends."""
        rows = self.rows.joined(other.rows)
        return None if rows is None else replace(self, rows=rows)

    def leaves(self) -> Iterator[RawLeaf]:
        """Every leaf in order."""
        for index, piece in enumerate(self.rows.slices(self.columns, self.leaf), self.first):
            if self.shelf is not None and self.rows.file is not None:
                size = int(piece.frame.estimated_size())
                self.shelf.put((*self.rows.key, "raw", piece.start), piece, size)
            yield RawLeaf(index, piece)
