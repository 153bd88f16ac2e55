"""From raw rows to blocks, wherever that happens: the recipe, and runs of encoded rows as handles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from descend.engines.blocks import AnySplit, Block, leaf_rows
from descend.engines.cache import Shelf
from descend.engines.matrix import Float
from descend.tables.cells import held_out_of, strange, weights_of
from descend.tables.encoding import Encoding
from descend.tables.partitions import RowRun, leaves_of
from descend.tables.spool import Pair, pair_bytes
from descend.tables.surprises import Surprises
from descend.tables.table import Slice, regular


@dataclass(frozen=True)
class Recipe:
    """How raw rows become blocks: the encoding, the split, the weights."""

    encoding: Encoding
    split: AnySplit | None = None
    weight: str | None = None
    """The column of sample weights."""
    class_weights: Float | None = None
    """Factors to the weights of training rows, by class."""

    @property
    def columns(self) -> list[str]:
        """The raw columns to read."""
        others = (self.encoding.target.name, self.weight, self.split.group if self.split else None)
        return [*self.encoding.names, *(name for name in others if name is not None)]

    @property
    def leaf_rows(self) -> int:
        return leaf_rows(len(self.encoding.columns))

    def pair(self, piece: Slice) -> tuple[Pair, Surprises]:
        """Training and validation rows of a slice, and what of it could not be taken as it is.

        Rows without a target or of weight zero are in neither.
        """
        target = self.encoding.target
        y = target.encode(piece.frame[target.name])
        X, surprises = self.encoding.transform(piece.frame)
        surprises.add("target", target.name, *strange(piece.frame[target.name], ~np.isnan(y)))
        counted, held_out, weights = ~np.isnan(y), held_out_of(piece, self.split), None
        if self.weight is not None:
            weights = weights_of(piece, self.weight)
            counted &= weights > 0
        whole = Block(X, y, weights)
        training, validation = (
            None if not m.any() else whole if m.all() else whole.take(m)
            for m in (counted & ~held_out, counted & held_out)
        )
        return (self._balanced(training), validation), surprises

    def _balanced(self, block: Block | None) -> Block | None:
        if block is None or self.class_weights is None:
            return block
        weights = self.class_weights[block.y.astype(np.intp)]
        if block.sample_weight is not None:
            weights *= block.sample_weight
        return Block(block.X, block.y, weights)


@dataclass(frozen=True, eq=False)
class EncodedRun:
    """One side of some consecutive rows, the first of them in leaf `first`: a handle of a part."""

    rows: RowRun
    first: int
    recipe: Recipe
    held_out: bool

    def open(self, shelf: Shelf) -> OpenRun:
        """The part, whose blocks are kept on `shelf`."""
        return OpenRun(self, shelf)

    def joined(self, other: Any) -> EncodedRun | None:
        """Both as one where `other` goes on where this ends."""
        rows = self.rows.joined(other.rows)
        return None if rows is None else replace(self, rows=rows)


@dataclass(frozen=True, eq=False)
class OpenRun:
    """The leaves of an `EncodedRun`: from the shelf, from raw rows that a survey has left there, or read."""

    handle: EncodedRun
    shelf: Shelf

    def leaves(self) -> Iterator[RunLeaf]:
        """Every leaf in order; only the rows of those that are not kept are read."""
        h = self.handle
        numbers = range(h.first, h.first + leaves_of(h.rows.rows, h.recipe.leaf_rows))
        absent = [n for n in numbers if self.kept(n) is None]
        for n in range(h.first, absent[0] if absent else numbers.stop):
            yield RunLeaf(n, self, None)
        if not absent:
            return
        for n, piece in zip(range(absent[0], absent[-1] + 1), self.pieces(absent[0]), strict=False):
            yield RunLeaf(n, self, piece)
        for n in range(absent[-1] + 1, numbers.stop):
            yield RunLeaf(n, self, None)

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
        """The raw rows that the survey has left on the shelf, taken from it; None unless all are there."""
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
class RunLeaf:
    """One leaf: raw rows still to encode, or None where its blocks are on the shelf."""

    index: int
    part: OpenRun
    piece: Slice | None

    def block(self) -> Block | None:
        handle = self.part.handle
        pair = self.part.kept(self.index)
        if pair is None:
            piece = self.piece or next(self.part.pieces(self.index))
            pair, _ = handle.recipe.pair(piece)
            self.part.shelf.put((*handle.rows.key, "blocks", self.index), pair, pair_bytes(pair))
        return pair[handle.held_out]
