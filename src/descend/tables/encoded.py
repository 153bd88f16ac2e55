"""An encoded table as a source of blocks: training and validation rows from one read.

Encoded blocks are spooled, in memory while they fit the budget and in a temporary file beyond it, so
that later passes read and parse no file, and any leaf can be had again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from descend.engines.blocks import Block, leaf_rows
from descend.engines.matrix import Array, Float
from descend.engines.splits import AnySplit
from descend.engines.worker import Shelf
from descend.machine import memory_budget
from descend.tables.cells import Unknowns, group_keys, held_out_of, offsets_of, strange, weights_of
from descend.tables.encoding import Encoding
from descend.tables.retained import Pair, Spool, SpooledRows, pair_bytes
from descend.tables.table import (
    RangeHandle,
    RowRange,
    Rows,
    Slice,
    Table,
    first_leaves,
    leaves_of,
    regular,
    row_runs,
    unit_rows,
)


@dataclass(eq=False)
class EncodedTable:
    """A table, its encoding and its split; what its two sides share."""

    table: Rows
    encoding: Encoding
    split: AnySplit | None = None
    budget: int = field(default_factory=memory_budget)
    """Bytes of blocks that may stay in memory."""
    spill: bool = True
    """Whether blocks beyond the budget go to a temporary file; if not, every pass reads the table."""
    weight: str | None = None
    """The column of sample weights."""
    class_weights: Float | None = None
    """Factors to the weights of training rows, by class."""
    offset: str | None = None
    """The column that is added to the linear predictor."""
    cluster: str | None = None
    """The column whose equal values are those of rows that may vary together."""
    unknowns: Unknowns = field(default_factory=Unknowns)
    """What of the last read could not be taken as it is."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._spool: Spool | None = Spool(self.budget)
        self._leaves: int | None = None
        self._spills = self.spill

    @property
    def recipe(self) -> Recipe:
        """How its rows become blocks."""
        return Recipe(self.encoding, self.split, self.weight, self.class_weights, self.offset, self.cluster)

    def side(self, held_out: bool) -> EncodedSource:
        """The training rows, or those held out."""
        return EncodedSource(self, held_out)

    @property
    def complete(self) -> bool:
        """Whether every block is spooled."""
        return self._spool is not None and len(self._spool) == self._leaves

    @property
    def leaf_count(self) -> int:
        """The number of leaves; takes a count of the rows where there was no read yet."""
        if self._leaves is None:
            if isinstance(self.table, Table):
                files = self.table.file_rows if self.table.files else self.table.starts()[1:]
                self._leaves = sum(leaves_of(rows, self.recipe.leaf_rows) for rows in files)
            else:
                self._fill()
        assert self._leaves is not None
        return self._leaves

    def slices(self) -> Iterator[Slice]:
        """The raw rows of each leaf."""
        recipe = self.recipe
        self.unknowns, count = Unknowns(), 0
        for piece in self.table.slices(recipe.columns, recipe.leaf_rows):
            yield piece
            count += 1
        self._leaves = count

    def sides(self, index: int, piece: Slice) -> Pair:
        """Training and validation rows of one leaf, encoded.

        Rows without a target or of weight zero are in neither.
        """
        pair, unknowns = self.recipe.pair(piece)
        with self._lock:
            self.unknowns.merge(unknowns)
        self._keep(index, pair)
        return pair

    def _keep(self, index: int, pair: Pair) -> None:
        spool = self._spool
        if spool is None:
            return
        if self._spills or spool.fits(pair):
            spool.put(index, pair)
        else:
            self._spool = None

    def kept(self, index: int) -> Pair:
        """Both sides of a leaf, by its index; takes a read where not every leaf is spooled."""
        if not self.complete:
            self._fill()
            self.let_go()
        assert self._spool is not None
        return self._spool.get(index)

    def _fill(self) -> None:
        """Spool every leaf."""
        self._spills, self._spool = True, self._spool or Spool(self.budget)
        for index, piece in enumerate(self.slices()):
            if index not in self._spool:
                self.sides(index, piece)

    def let_go(self) -> None:
        """Forget the rows as they were read, if they were kept only to be encoded."""
        if self.complete and isinstance(self.table, SpooledRows):
            self.table.close()

    def empty(self) -> Block:
        """A block without rows."""
        weighted = self.weight is not None or self.class_weights is not None
        X, _ = self.encoding.transform(self.table.empty(self.encoding.names))
        offset = None if self.offset is None else np.empty(0)
        cluster = None if self.cluster is None else np.empty(0, np.uint64)
        return Block(X, np.empty(0), np.empty(0) if weighted else None, offset, cluster)

    def close(self) -> None:
        """Forget the blocks, delete the temporary files."""
        if self._spool is not None:
            self._spool.close()
        self.table.close()


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
    def has_offset(self) -> bool:
        return self.whole.offset is not None

    @property
    def has_cluster(self) -> bool:
        return self.whole.cluster is not None

    @property
    def leaf_columns(self) -> int:
        return len(self.whole.encoding.columns)

    @property
    def leaf_count(self) -> int:
        return self.whole.leaf_count

    @property
    def ready(self) -> bool:
        return self.whole.complete

    @property
    def as_given(self) -> bool:
        return False

    @property
    def sparse(self) -> bool:
        return False

    @property
    def elsewhere(self) -> bool:
        return False

    def parts(self) -> list[EncodedPart]:
        return [EncodedPart(self)]

    def handles(self) -> list[EncodedRange]:
        """The same leaves as runs that other processes can open."""
        recipe, table = self.whole.recipe, self.whole.table
        assert isinstance(table, Table)  # rows are kept where they are read, which is on the workers
        unit = max(unit_rows(table.starts()[1], len(recipe.encoding.names)), recipe.leaf_rows)
        runs = row_runs(table, recipe.columns, unit)
        places = zip(runs, first_leaves(runs, recipe.leaf_rows), strict=True)
        return [EncodedRange(run, first, recipe, self.held_out) for run, first in places]

    def window(self, leaves: Array) -> tuple[Block, Array]:
        blocks = (self.whole.kept(int(leaf))[self.held_out] for leaf in leaves)
        present = (block for block in blocks if block is not None)
        block = _joined(present, len(leaves) * leaf_rows(self.leaf_columns)) or self.whole.empty()
        return block, np.arange(block.rows)


def _joined(blocks: Iterator[Block], most: int) -> Block | None:
    """Blocks of `most` rows at most, one below the other; dense ones are forgotten as soon as they are copied."""
    first = next(blocks, None)
    if first is None or not isinstance(first.X, np.ndarray):
        return None if first is None else Block.joined([first, *blocks])
    X, y, rows = np.empty((most, first.X.shape[1])), np.empty(most), 0
    beside = [None if column is None else np.empty(most, column.dtype) for column in first.beside]
    for block in chain([first], blocks):
        at = slice(rows, rows := rows + block.rows)
        X[at], y[at] = block.X, block.y
        for column, of_block in zip(beside, block.beside, strict=True):
            if column is not None:
                column[at] = of_block
    return Block(X, y, *beside).take(slice(rows))


@dataclass(frozen=True, eq=False)
class EncodedPart:
    """All leaves of an `EncodedSource`."""

    source: EncodedSource

    def leaves(self) -> Iterator[EncodedLeaf]:
        whole = self.source.whole
        if whole.complete:
            whole.let_go()
            for index in range(whole.leaf_count):
                yield EncodedLeaf(index, self.source, None)
            return
        for index, piece in enumerate(whole.slices()):
            yield EncodedLeaf(index, self.source, piece)


@dataclass(frozen=True, eq=False)
class EncodedLeaf:
    """One leaf: raw rows still to encode, or None where its blocks are spooled."""

    index: int
    source: EncodedSource
    piece: Slice | None

    def block(self) -> Block | None:
        whole = self.source.whole
        pair = whole.kept(self.index) if self.piece is None else whole.sides(self.index, self.piece)
        return pair[self.source.held_out]


@dataclass(frozen=True)
class Recipe:
    """How raw rows become blocks: the encoding, the split, the weights."""

    encoding: Encoding
    split: AnySplit | None = None
    weight: str | None = None
    """The column of sample weights."""
    class_weights: Float | None = None
    """Factors to the weights of training rows, by class."""
    offset: str | None = None
    """The column that is added to the linear predictor."""
    cluster: str | None = None
    """The column whose equal values are those of rows that may vary together."""

    @property
    def columns(self) -> list[str]:
        """The raw columns to read."""
        group = self.split.group if self.split else None
        others = (self.encoding.target.name, self.weight, group, self.offset, self.cluster)
        return list(dict.fromkeys([*self.encoding.names, *(name for name in others if name is not None)]))

    @property
    def leaf_rows(self) -> int:
        return leaf_rows(len(self.encoding.columns))

    def pair(self, piece: Slice) -> tuple[Pair, Unknowns]:
        """Training and validation rows of a slice, and what of it could not be taken as it is.

        Rows without a target or of weight zero are in neither.
        """
        target = self.encoding.target
        y = target.encode(piece.frame[target.name])
        X, unknowns = self.encoding.transform(piece.frame)
        unknowns.add("target", target.name, *strange(piece.frame[target.name], ~np.isnan(y)))
        counted, held_out, weights = ~np.isnan(y), held_out_of(piece, self.split), None
        if self.weight is not None:
            weights = weights_of(piece, self.weight)
            counted &= weights > 0
        offset = None if self.offset is None else offsets_of(piece, self.offset)
        cluster = None if self.cluster is None else group_keys(piece.frame[self.cluster])
        whole = Block(X, y, weights, offset, cluster)
        training, validation = (
            None if not m.any() else whole if m.all() else whole.take(m)
            for m in (counted & ~held_out, counted & held_out)
        )
        return (self._balanced(training), validation), unknowns

    def _balanced(self, block: Block | None) -> Block | None:
        if block is None or self.class_weights is None:
            return block
        weights = self.class_weights[block.y.astype(np.intp)]
        if block.sample_weight is not None:
            weights *= block.sample_weight
        return replace(block, sample_weight=weights)


@dataclass(frozen=True, eq=False)
class EncodedRange(RangeHandle):
    """One side of some consecutive rows, the first of them in leaf `first`: a handle of a part."""

    rows: RowRange
    first: int
    recipe: Recipe
    held_out: bool

    def open(self, shelf: Shelf) -> OpenRange:
        """The part, whose blocks are kept on `shelf`."""
        return OpenRange(self, shelf)

    def joined(self, other: Any) -> EncodedRange | None:
        """Both as one where `other` goes on where this ends."""
        rows = self.rows.joined(other.rows)
        return None if rows is None else replace(self, rows=rows)


@dataclass(frozen=True, eq=False)
class OpenRange:
    """The leaves of an `EncodedRun`: from the shelf, from raw rows that a profiling has left there, or read."""

    handle: EncodedRange
    shelf: Shelf

    def leaves(self) -> Iterator[RangeLeaf]:
        """Every leaf in order; only the rows of those that are not kept are read."""
        h = self.handle
        numbers = range(h.first, h.first + leaves_of(h.rows.rows, h.recipe.leaf_rows))
        absent = [n for n in numbers if self.kept(n) is None]
        for n in range(h.first, absent[0] if absent else numbers.stop):
            yield RangeLeaf(n, self, None)
        if not absent:
            return
        for n, piece in zip(range(absent[0], absent[-1] + 1), self.pieces(absent[0]), strict=False):
            yield RangeLeaf(n, self, piece)
        for n in range(absent[-1] + 1, numbers.stop):
            yield RangeLeaf(n, self, None)

    def kept(self, leaf: int) -> Pair | None:
        """Both sides of a leaf, where they are on the shelf."""
        pair: Pair | None = self.shelf.get((*self.handle.rows.key, "blocks", leaf))
        return pair

    def pieces(self, leaf: int) -> Iterator[Slice]:
        """The raw rows from a leaf on."""
        rows, size = self.handle.rows, self.handle.recipe.leaf_rows
        start = rows.start + (leaf - self.handle.first) * size
        frames = None if rows.start != start else self._raw()
        if frames is None:
            yield from rows.slices(self.handle.recipe.columns, size, start)
            return
        for frame in regular(frames, size):
            yield Slice(rows.place, start, frame)
            start += frame.height

    def _raw(self) -> Iterator[Any] | None:
        """The raw rows that the profiling has left on the shelf, taken from it; None unless all are there."""
        rows, place, starts = self.handle.rows, self.handle.rows.start, []
        while place < rows.stop:
            piece = self.shelf.get((*rows.key, "raw", place))
            if piece is None:
                return None
            starts.append(place)
            place += piece.frame.height
        columns = list(dict.fromkeys(self.handle.recipe.columns))

        def taken() -> Iterator[Any]:
            for start in starts:
                piece = self.shelf.pop((*rows.key, "raw", start))
                if piece is None:  # another run has taken the room
                    piece = next(rows.slices(columns, rows.stop - start, start))
                    yield piece.frame
                    return
                yield piece.frame[columns]

        return taken() if starts else None


@dataclass(frozen=True, eq=False)
class RangeLeaf:
    """One leaf: raw rows still to encode, or None where its blocks are on the shelf."""

    index: int
    part: OpenRange
    piece: Slice | None

    def block(self) -> Block | None:
        handle = self.part.handle
        pair = self.part.kept(self.index)
        if pair is None:
            piece = self.piece or next(self.part.pieces(self.index))
            pair, _ = handle.recipe.pair(piece)
            self.part.shelf.put((*handle.rows.key, "blocks", self.index), pair, pair_bytes(pair))
        return pair[handle.held_out]
