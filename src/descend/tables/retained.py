"""What is kept of a table while it is read: a sample of its rows, or all of them for later passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import polars as pl

from descend.errors import DataError
from descend.tables.table import Slice, Table, regular

SAMPLED = 4
"""The part of a budget that a sample takes is one in so many."""


@dataclass
class Kept:
    """What is kept in memory of a table while it is read: all of it, or evenly spaced runs of rows.

    While the slices outgrow `budget` bytes every second one is dropped, so `every` of 4 says that one in
    four is there. Once not all of it fits, a sample in a quarter of the budget is enough.
    """

    budget: int
    every: int = 1
    _slices: dict[int, Slice] = field(default_factory=dict)

    @staticmethod
    def of(table: Table, budget: int) -> Kept:
        """Nothing kept yet; of files that are much too large a quarter of the budget is meant to be filled."""
        if table.file_bytes <= 2 * budget:
            return Kept(budget)
        return Kept(budget, 1 << (SAMPLED * table.file_bytes // max(budget, 1)).bit_length())

    def add(self, index: int, piece: Slice) -> None:
        """Keep the slice of this number, unless it is between those that are kept."""
        if index % self.every:
            return
        self._slices[index] = piece
        while len(self._slices) > 1 and self._bytes() > self.budget / (1 if self.every == 1 else SAMPLED):
            self.every *= 2
            self._slices = {i: piece for i, piece in self._slices.items() if i % self.every == 0}

    def _bytes(self) -> int:
        return sum(int(piece.frame.estimated_size()) for piece in self._slices.values())

    @property
    def partial(self) -> bool:
        """Whether some rows are there and others not."""
        return self.every > 1 and bool(self._slices)

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self.every == 1 and bool(self._slices)

    def slices(self, columns: Sequence[str], rows: int) -> Iterator[Slice]:
        """The rows that are kept, `rows` at a time, cut where a file or a run of rows ends."""
        for run in self._runs():
            yield from _cut(iter(run), columns, rows)

    def _runs(self) -> Iterator[list[Slice]]:
        """Slices that follow one another in one file."""
        run: list[Slice] = []
        for piece in self._slices.values():
            if run and (piece.file, piece.start) != (run[-1].file, run[-1].start + run[-1].frame.height):
                yield run
                run = []
            run.append(piece)
        if run:
            yield run

    def empty(self, columns: Sequence[str]) -> pl.DataFrame:
        """These columns without rows."""
        return next(iter(self._slices.values())).frame[list(columns)].clear()

    def close(self) -> None:
        """Forget the rows."""
        self._slices = {}


@dataclass
class Spooled:
    """Every row of a table, decoded: in memory while `budget` bytes last, beyond it in a temporary folder.

    Writing and reading them costs a fifth of parsing a CSV again. Raises `DataError` on a full disk.
    """

    budget: int
    partial: ClassVar[bool] = False
    _slices: dict[int, Slice] = field(default_factory=dict)
    _places: dict[int, tuple[int, int]] = field(default_factory=dict)
    _bytes: int = 0
    _folder: TemporaryDirectory[str] | None = None
    _like: pl.DataFrame | None = None

    def add(self, index: int, piece: Slice) -> None:
        """Keep the slice of this number."""
        if self._like is None:
            self._like = piece.frame.clear()
        size = int(piece.frame.estimated_size())
        if self._bytes + size <= self.budget:
            self._bytes += size
            self._slices[index] = piece
            return
        self._folder = self._folder or TemporaryDirectory(prefix="descend-", ignore_cleanup_errors=True)
        try:
            piece.frame.write_ipc(self._path(index))
        except (OSError, pl.exceptions.PolarsError) as error:
            self.close()
            raise DataError(
                f"cannot keep decoded rows in a temporary folder: {error}. Set TMPDIR to one on a larger disk."
            ) from error
        self._places[index] = piece.file, piece.start

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self._like is not None

    def slices(self, columns: Sequence[str], rows: int) -> Iterator[Slice]:
        """All rows, `rows` at a time, cut where a file ends."""
        pieces = map(self._get, range(len(self._slices) + len(self._places)))
        for _, run in groupby(pieces, key=lambda piece: piece.file):
            yield from _cut(run, columns, rows)

    def _get(self, index: int) -> Slice:
        if index in self._slices:
            return self._slices[index]
        return Slice(*self._places[index], pl.read_ipc(self._path(index)))

    def _path(self, index: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{index}.arrow"

    def empty(self, columns: Sequence[str]) -> pl.DataFrame:
        """These columns without rows."""
        assert self._like is not None
        return self._like[list(columns)]

    def close(self) -> None:
        """Forget the rows, delete the folder."""
        self._slices, self._places = {}, {}
        if self._folder is not None:
            self._folder.cleanup()


def keeper(table: Table, budget: int, again: bool) -> Kept | Spooled:
    """What keeps the rows of `table` in so many bytes: all of them if they are read `again` and hard to parse."""
    return Spooled(budget) if again and table.parsed else Kept.of(table, budget)


def _cut(run: Iterator[Slice], columns: Sequence[str], rows: int) -> Iterator[Slice]:
    """Slices that follow one another in one file, as slices of `rows` rows; one empty slice for no rows."""
    columns, first = list(dict.fromkeys(columns)), next(run)
    start = first.start
    for frame in regular((piece.frame[columns] for piece in chain([first], run)), rows):
        yield Slice(first.file, start, frame)
        start += frame.height
    if start == first.start:
        yield Slice(first.file, start, first.frame[columns])
