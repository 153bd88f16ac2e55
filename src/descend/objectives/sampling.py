"""A sample of the training rows for pictures: at most a thousand, and never a read of all the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block, Source
from descend.engines.matrix import Float

MAX_POINTS = 1_000
MAX_CELLS = 1_000_000
"""Cells of `X` that a sample may hold, so that wide data gives fewer rows."""
LEAVES = 8
"""Leaves that a sample is spread over."""


@dataclass(frozen=True)
class Sample:
    """Some rows of a source, as dense columns.

    `X` has shape (points, features), `y` and `sample_weight` (points,); `rows` is how many rows they
    stand for; `first` says that they are the first rows rather than spread over all.
    """

    X: Float
    y: Float
    sample_weight: Float | None
    rows: int
    first: bool = False

    @property
    def whole(self) -> bool:
        """Whether the sample holds all rows."""
        return len(self.y) >= self.rows

    @property
    def block(self) -> Block:
        return Block(self.X, self.y, self.sample_weight)

    @property
    def description(self) -> str:
        """In words.

        >>> Sample(np.ones((3, 1)), np.ones(3), None, 10).description
        '3 of 10 rows'
        """
        if self.whole:
            return f"all {self.rows:,} rows"
        return f"{'the first ' if self.first else ''}{len(self.y):,} of {self.rows:,} rows"


def sample_of(source: Source, rows: int, points: int = MAX_POINTS) -> Sample | None:
    """Rows evenly spaced over a few leaves of a source, the same ones every time.

    Where leaves can only be had by reading the data again, the first leaf that holds rows is taken.
    None where there are no rows.
    """
    points = min(points, max(MAX_CELLS // max(len(source.feature_names), 1), 10))
    if source.ready:
        leaves = np.unique(np.linspace(0, source.leaf_count - 1, LEAVES).round().astype(np.int64))
        block, at = source.window(leaves)
        spread = len(leaves) > 1 or source.leaf_count == 1
    else:
        found = _first_block(source)
        if found is None:
            return None
        block, at, spread = found, np.arange(found.rows), found.rows >= rows
    if not len(at):
        return None
    at = at[np.unique(np.linspace(0, len(at) - 1, points).round().astype(np.int64))]
    taken = block.take(at)
    weight = None if taken.sample_weight is None else np.asarray(taken.sample_weight, dtype=np.float64)
    y = np.asarray(taken.y, dtype=np.float64)
    return Sample(dense(taken), y, weight, max(rows, len(y)), not spread)


def _first_block(source: Source) -> Block | None:
    for part in source.parts():
        for leaf in part.leaves():
            block = leaf.block()
            if block is not None:
                return block
    return None


def dense(block: Block) -> Float:
    """The `X` of a block as a float64 array of its own."""
    numbers, sparse = matrix.split(block.X)
    parts = [] if numbers is None else [np.asarray(numbers, dtype=np.float64)]
    if sparse is not None:
        parts.append(np.asarray(sparse.toarray(), dtype=np.float64))
    return np.ascontiguousarray(np.hstack(parts))
