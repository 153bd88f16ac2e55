"""The area under the ROC curve: exact up to ten million rows, from bins of the scores beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descend.matrix import Array, Float

EXACT_ROWS = 10_000_000
"""Up to so many scores are kept."""

BINS = 2**16


class Scores(NamedTuple):
    """Scores, which of them belong to a positive row, and the weights (None: all one)."""

    z: Array
    positive: Array
    weight: Array | None = None


@dataclass(slots=True)
class Ranking:
    """Scores that can be merged; beyond `EXACT_ROWS` neighbours are put together in `BINS` bins.

    Bins hold equal weight, so that a pair of rows falls into one bin, where it counts half, with a
    chance of 1 / BINS: the area is off by less than that each time the scores are binned.
    """

    parts: list[Scores]
    binned: bool = False

    def merged(self, other: Ranking) -> Ranking:
        """The scores of both."""
        merged = Ranking(self.parts + other.parts, self.binned or other.binned)
        if sum(len(part.z) for part in merged.parts) > EXACT_ROWS:
            return Ranking(_binned(merged.parts), True)
        return merged

    def area(self) -> float:
        """The area under the ROC curve."""
        return roc_auc(*_joined(self.parts))


def roc_auc(score: Array, positive: Array, weight: Array | None = None) -> float:
    """The area under the ROC curve: the chance that a positive row scores above a negative one.

    Ties count half (Hanley and McNeil, 1982). NaN where one of the classes is absent.

    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    score, up, down = _sorted(score, positive, weight)
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
    up, down = np.add.reduceat(up, starts), np.add.reduceat(down, starts)
    below = np.cumsum(down) - 0.5 * down
    total = up.sum() * down.sum()
    return float(up @ below / total) if total > 0 else float("nan")


def _sorted(score: Array, positive: Array, weight: Array | None) -> tuple[Array, Float, Float]:
    """Scores in order, and the weights of positive and of negative rows."""
    order = np.argsort(score, kind="stable")
    positive = positive[order]
    weight = np.ones(len(score)) if weight is None else weight[order]
    return score[order], np.where(positive, weight, 0.0), np.where(positive, 0.0, weight)


def _binned(parts: Sequence[Scores]) -> list[Scores]:
    """Neighbouring scores put together in bins of equal weight."""
    score, up, down = _sorted(*_joined(parts))
    below = np.cumsum(up + down)
    starts = np.unique(
        np.searchsorted(below, below[-1] / BINS * np.arange(BINS), side="right").clip(0, len(score) - 1)
    )
    score, up, down = score[starts], np.add.reduceat(up, starts), np.add.reduceat(down, starts)
    return [Scores(score, np.ones(len(score), bool), up), Scores(score, np.zeros(len(score), bool), down)]


def _joined(parts: Sequence[Scores]) -> Scores:
    weights = None
    if any(part.weight is not None for part in parts):
        weights = np.concatenate([np.ones(len(p.z)) if p.weight is None else p.weight for p in parts])
    return Scores(np.concatenate([p.z for p in parts]), np.concatenate([p.positive for p in parts]), weights)
