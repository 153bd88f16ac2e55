"""An encoded table as a source of blocks: training and validation rows from one read.

While they fit in the memory budget, encoded blocks are kept, so that later passes read no file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from descend.blocks import Block, Split, leaf_rows
from descend.encoding import Encoding
from descend.matrix import Array
from descend.tables import Slice, Table


def memory_budget() -> int:
    """Bytes that blocks may take: a quarter of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):
        return 1 << 30


@dataclass(eq=False)
class EncodedTable:
    """A table, its encoding and its split; what its two sides share."""

    table: Table
    encoding: Encoding
    split: Split | None = None
    budget: int = field(default_factory=memory_budget)
    unknown: int = 0
    """Cells with a level that the encoding did not know, counted in the last read."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[Block | None, Block | None]] | None = {}
        self._bytes = 0
        self._leaves: int | None = None

    def side(self, held_out: bool) -> EncodedSource:
        """The training rows, or those held out."""
        return EncodedSource(self, held_out)

    @property
    def complete(self) -> bool:
        """Whether every block is in memory."""
        return self._kept is not None and self._leaves is not None and len(self._kept) == self._leaves

    def slices(self) -> Iterator[Slice]:
        """The raw rows of each leaf."""
        columns = (*self.encoding.names, self.encoding.target.name)
        self.unknown, count = 0, 0
        for piece in self.table.slices(columns, leaf_rows(len(self.encoding.columns))):
            yield piece
            count += 1
        self._leaves = count

    def sides(self, index: int, piece: Slice) -> tuple[Block | None, Block | None]:
        """Training and validation rows of one leaf, encoded; rows without a target are in neither."""
        y = self.encoding.target.encode(piece.frame[self.encoding.target.name])
        X, unknown = self.encoding.transform(piece.frame)
        whole, known = Block(X, y), ~np.isnan(y)
        held_out = np.zeros(len(y), dtype=bool)
        if self.split is not None:
            held_out = self.split.held_out(piece.file, piece.start, piece.start + len(y))
        masks = (known & ~held_out, known & held_out)
        pair = tuple(None if not m.any() else whole if m.all() else whole.take(m) for m in masks)
        with self._lock:
            self.unknown += unknown
            self._keep(index, (pair[0], pair[1]))
        return pair[0], pair[1]

    def _keep(self, index: int, pair: tuple[Block | None, Block | None]) -> None:
        if self._kept is None or index in self._kept:
            return
        self._bytes += sum(block.nbytes for block in pair if block is not None)
        if self._bytes > self.budget:
            self._kept = None
        else:
            self._kept[index] = pair

    @property
    def leaf_count(self) -> int:
        """The number of leaves, known after the first pass."""
        assert self._leaves is not None
        return self._leaves

    def kept(self, index: int) -> tuple[Block | None, Block | None]:
        """Both sides of a leaf in memory."""
        assert self._kept is not None
        return self._kept[index]


@dataclass(frozen=True, eq=False)
class EncodedSource:
    """One side of an `EncodedTable`."""

    whole: EncodedTable
    held_out: bool

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.whole.encoding.feature_names

    @property
    def rows(self) -> int | None:
        return None

    @property
    def leaf_columns(self) -> int:
        return len(self.whole.encoding.columns)

    @property
    def leaf_count(self) -> int:
        return self.whole.leaf_count

    def parts(self) -> list[EncodedPart]:
        return [EncodedPart(self)]

    def window(self, leaves: Array) -> tuple[Block, Array]:
        pairs = [self.whole.kept(int(leaf)) for leaf in leaves]
        blocks = [pair[self.held_out] for pair in pairs]
        block = Block.joined([b for b in blocks if b is not None])
        return block, np.arange(block.rows)


@dataclass(frozen=True, eq=False)
class EncodedPart:
    """All leaves of an `EncodedSource`."""

    source: EncodedSource

    def leaves(self) -> Iterator[EncodedLeaf]:
        whole = self.source.whole
        if whole.complete:
            for index in range(whole._leaves or 0):
                yield EncodedLeaf(index, self.source, None)
            return
        for index, piece in enumerate(whole.slices()):
            yield EncodedLeaf(index, self.source, piece)


@dataclass(frozen=True, eq=False)
class EncodedLeaf:
    """One leaf: raw rows still to encode, or None where its blocks are in memory."""

    index: int
    source: EncodedSource
    piece: Slice | None

    def block(self) -> Block | None:
        whole = self.source.whole
        pair = whole.kept(self.index) if self.piece is None else whole.sides(self.index, self.piece)
        return pair[self.source.held_out]
