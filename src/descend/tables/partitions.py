"""Runs of a table's rows as small handles that any process can open: rows of one file, or of a frame.

A handle travels by pickle and reads when it is asked to. Rows of Parquet and Arrow files are cut
anywhere, and polars skips the row groups in front of them; a CSV is parsed from its first row on, so it
is one run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from descend.engines.blocks import leaf_rows
from descend.errors import DataError
from descend.tables.csv_files import CsvFile
from descend.tables.files import TableFile
from descend.tables.table import Slice, Table, regular, sliced

MOST_RANGES = 65_536
"""A table is cut into at most about so many runs: the list of them is sent to the workers."""


@dataclass(frozen=True, eq=False)
class RowRange:
    """Rows `start` to `stop` of one file or frame."""

    table: str
    """The key of the table, which no other has."""
    place: int
    """The number of the file."""
    start: int
    stop: int
    schema: Mapping[str, pl.DataType]
    file: TableFile | None = None
    frames: tuple[pl.DataFrame, ...] = ()
    """The rows themselves, where the table is in memory."""
    temporary: bool = False
    """Whether the file is a copy on this machine: of standard input, or of a file in another encoding."""

    @property
    def key(self) -> tuple[str, int]:
        """What names the file among all files of all tables."""
        return self.table, self.place

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def slices(self, columns: Sequence[str], rows: int, start: int | None = None) -> Iterator[Slice]:
        """The rows in order, from row `start` of the file on, `rows` at a time; one empty slice for none."""
        columns = list(dict.fromkeys(columns))
        start = self.start if start is None else start
        if self.file is None:
            whole = pl.concat([frame[columns] for frame in self.frames])
            frames = regular([whole.slice(start - self.start)], rows)
            for number, frame in enumerate(frames if whole.height else [whole]):
                yield Slice(self.place, start + number * rows, frame)
            return
        absent = [name for name in columns if name not in self.file.names]
        if absent:
            listed = ", ".join(f"`{name}`" for name in absent)
            raise DataError(f"{self.file.label!r} has no column {listed}, which the first file has.")
        schema = {name: self.schema[name] for name in columns}
        lazy = self.file.scan(schema)
        if not isinstance(self.file, CsvFile):
            lazy = lazy.slice(start, self.stop - start)
        elif start:
            lazy = lazy.slice(start)
        yield from sliced(self.place, self.file.label, lazy, schema, rows, start)

    def joined(self, other: RowRange) -> RowRange | None:
        """Both as one run where `other` goes on where this ends; one scan then reads both."""
        if (*self.key, self.stop) != (*other.key, other.start) or not self.rows:
            return None
        return replace(self, stop=other.stop, frames=self.frames + other.frames)


def unit_rows(total: int, columns: int) -> int:
    """Rows of a run: whole leaves of rows and of raw cells alike, and so that runs are not too many.

    >>> unit_rows(2_000_000, 28), unit_rows(10**10, 28)
    (65536, 262144)
    """
    unit = 4 * leaf_rows(columns)
    while total > MOST_RANGES * unit:
        unit *= 2
    return unit


def row_runs(table: Table, columns: Sequence[str], unit: int) -> list[RowRange]:
    """All rows of a table as runs of `unit` rows, the last of a file shorter; one for a file without rows.

    Raises `DataError` where a file cannot be read.
    """
    schema = dict(table.schema)
    if table.frame is not None:
        runs = []
        for piece in table.slices(columns, unit):
            stop = piece.start + piece.frame.height
            runs.append(RowRange(table.key, 0, piece.start, stop, schema, None, (piece.frame,)))
        return runs
    runs = []
    for file, place, rows in zip(table.files, table.places, table.file_rows, strict=True):
        path: Any = file.path if isinstance(file.path, str) else file.path.absolute()
        here = replace(file, path=path, temporary=None)
        step = max(rows, 1) if isinstance(file, CsvFile) else unit
        for start in range(0, max(rows, 1), step):
            runs.append(
                RowRange(
                    table.key,
                    place,
                    start,
                    min(start + step, rows),
                    schema,
                    here,
                    (),
                    file.temporary is not None,
                )
            )
    return runs


def first_leaves(runs: Sequence[RowRange], leaf: int) -> list[int]:
    """The number of the first leaf of each run, leaves of `leaf` rows being counted through all files.

    >>> schema = {}
    >>> first_leaves([RowRange("t", 0, 0, 8, schema), RowRange("t", 0, 8, 9, schema), RowRange("t", 1, 0, 5, schema)], 4)
    [0, 2, 3]
    """
    counts = (leaves_of(run.rows, leaf) for run in runs)
    return list(itertools.accumulate(counts, initial=0))[:-1]


def leaves_of(rows: int, leaf: int) -> int:
    """Leaves of `leaf` rows in so many rows of a file; one without rows has one."""
    return max(1, -(-rows // leaf))
