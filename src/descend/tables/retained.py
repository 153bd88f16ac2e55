"""What is kept of a table while it is read: a sample of its rows, or all of them for later passes."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import polars as pl

from descend.engines.blocks import Block
from descend.errors import DataError, DescendError
from descend.files import TemporaryFile
from descend.tables.table import Slice, Table, regular

SAMPLED = 4
"""The part of a budget that a sample takes is one in so many."""


@dataclass
class RetainedRows:
    """What is kept in memory of a table while it is read: all of it, or evenly spaced runs of rows.

    While the slices outgrow `budget` bytes every second one is dropped, so `every` of 4 says that one in
    four is there. Once not all of it fits, a sample in a quarter of the budget is enough.
    """

    budget: int
    every: int = 1
    _slices: dict[int, Slice] = field(default_factory=dict)

    @staticmethod
    def of(table: Table, budget: int) -> RetainedRows:
        """Nothing kept yet; of files that are much too large a quarter of the budget is meant to be filled."""
        if table.file_bytes <= 2 * budget:
            return RetainedRows(budget)
        return RetainedRows(budget, 1 << (SAMPLED * table.file_bytes // max(budget, 1)).bit_length())

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
class SpooledRows:
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


def retain(table: Table, budget: int, again: bool) -> RetainedRows | SpooledRows:
    """What keeps the rows of `table` in so many bytes: all of them if they are read `again` and hard to parse."""
    return SpooledRows(budget) if again and table.parsed else RetainedRows.of(table, budget)


def _cut(run: Iterator[Slice], columns: Sequence[str], rows: int) -> Iterator[Slice]:
    """Slices that follow one another in one file, as slices of `rows` rows; one empty slice for no rows."""
    columns, first = list(dict.fromkeys(columns)), next(run)
    start = first.start
    for frame in regular((piece.frame[columns] for piece in chain([first], run)), rows):
        yield Slice(first.file, start, frame)
        start += frame.height
    if start == first.start:
        yield Slice(first.file, start, first.frame[columns])


ALIGNMENT = 64
"""Arrays start at multiples of this many bytes in the file, so that they are aligned when read back."""


Pair = tuple[Block | None, Block | None]
"""Training and validation rows of one leaf."""


class Spool:
    """Pairs of blocks by the index of their leaf: `put` in any order, `get` any of them, from any thread.

    Blocks go to memory until they hold `budget` bytes, and beyond it as raw bytes to one temporary
    file, which is deleted when the spool is closed or forgotten. Raises `DataError` on a full disk.

    >>> spool = Spool(budget=0)
    >>> spool.put(0, (Block(np.ones((2, 1)), np.arange(2.0)), None))
    >>> spool.get(0)[0].y, len(spool), spool.memory
    (array([0., 1.]), 1, 0)
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.memory = 0
        """Bytes held in memory."""
        self.written = 0
        """Bytes in the file."""
        self._lock = threading.Lock()
        self._pairs: dict[int, Pair] = {}
        self._places: dict[int, tuple[int, list[int]]] = {}
        self._file: TemporaryFile | None = None

    def __len__(self) -> int:
        return len(self._pairs) + len(self._places)

    def __contains__(self, index: int) -> bool:
        return index in self._pairs or index in self._places

    def fits(self, pair: Pair) -> bool:
        """Whether the pair still fits in memory."""
        return self.memory + pair_bytes(pair) <= self.budget

    def put(self, index: int, pair: Pair) -> None:
        """Keep the blocks of a leaf; one that is there already is left as it is."""
        with self._lock:
            if index in self:
                return
            if self.fits(pair):
                self.memory += pair_bytes(pair)
                self._pairs[index] = pair
            else:
                self._places[index] = self._write(pair)

    def get(self, index: int) -> Pair:
        """The blocks of a leaf. Raises `KeyError` where it was never put."""
        pair = self._pairs.get(index)
        return self._read(*self._places[index]) if pair is None else pair

    def close(self) -> None:
        """Forget all blocks and delete the file."""
        with self._lock:
            self._pairs, self._places, self.memory = {}, {}, 0
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, pair: Pair) -> tuple[int, list[int]]:
        """Append the arrays of a pair to the file; return where they start, and the length of each."""
        if self._file is None:
            self._file = TemporaryFile(".blocks")
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(pair, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        start = self.written
        with self._file.writing(), self._file.path.open("ab") as file:
            for part in parts:
                file.write(part)
                file.write(bytes(_padded(part.nbytes) - part.nbytes))
                self.written += _padded(part.nbytes)
        return start, [part.nbytes for part in parts]

    def _read(self, start: int, lengths: list[int]) -> Pair:
        """The inverse of `_write`; a handle of its own lets threads read side by side."""
        assert self._file is not None
        content = np.empty(sum(map(_padded, lengths)), dtype=np.uint8).data
        with self._file.path.open("rb", buffering=0) as file:
            file.seek(start)
            read = 0
            while read < len(content):
                read += file.readinto(content[read:]) or _cut_short(self._file)
        ends = np.cumsum([0, *map(_padded, lengths)]).tolist()
        head, *parts = (content[a : a + n] for a, n in zip(ends, lengths, strict=False))
        pair: Pair = pickle.loads(head, buffers=parts)
        return pair


def pair_bytes(pair: Pair) -> int:
    """Bytes that both blocks hold."""
    return sum(block.nbytes for block in pair if block is not None)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _cut_short(file: TemporaryFile) -> int:
    raise DescendError(f"the temporary file {file.path.name!r} was changed while it was in use.")
