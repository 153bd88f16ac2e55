"""The area under the ROC curve: exact up to ten million rows, from bins of the scores beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descend.engines.matrix import Array

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

    A pair of rows falls into one bin, where it counts half, with a chance of about 2 / BINS: the area is
    off by less than that each time the scores are binned.
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
        return _area(self.parts)


def roc_auc(score: Array, positive: Array, weight: Array | None = None) -> float:
    """The area under the ROC curve: the chance that a positive row scores above a negative one.

    Ties count half (Hanley and McNeil, 1982). NaN where one of the classes is absent.

    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    return _area([Scores(score, positive, weight)])


def _area(parts: Sequence[Scores]) -> float:
    """Each positive score is looked up among the negative ones; ten million rows take little more than themselves."""
    (up, s), (down, t) = (_in_order(parts, positive) for positive in (True, False))
    below = None if t is None else np.concatenate([[0.0], np.cumsum(t)])
    total = 0.0
    for start in range(0, len(up), CHUNK):
        rows = slice(start, start + CHUNK)
        ranks = np.stack([np.searchsorted(down, up[rows], side) for side in ("left", "right")])
        mean = (ranks if below is None else below[ranks]).mean(axis=0)
        total += float(mean.sum() if s is None else s[rows] @ mean)
    pairs = (len(up) if s is None else s.sum()) * (len(down) if t is None else t.sum())
    return float(total / pairs) if pairs > 0 else float("nan")


CHUNK = 2**16


def _in_order(parts: Sequence[Scores], positive: bool) -> tuple[Array, Array | None]:
    """The scores of one class from low to high, and their weights where any part has them."""
    masks = [part.positive if positive else ~part.positive for part in parts]
    score = np.concatenate([part.z[mask] for part, mask in zip(parts, masks, strict=True)])
    if all(part.weight is None for part in parts):
        score.sort()
        return score, None
    weight = np.concatenate([_weights(part)[mask] for part, mask in zip(parts, masks, strict=True)])
    order = np.argsort(score, kind="stable")
    return score[order], weight[order]


def _weights(part: Scores) -> Array:
    return np.ones(len(part.z)) if part.weight is None else part.weight


def _binned(parts: Sequence[Scores]) -> list[Scores]:
    """Neighbouring scores put together in bins: half of them of equal rows, half of equal weight.

    Rows come without weights as a rule, and bins of rows that went before with theirs.
    """
    edges = [
        _equal_steps([part for part in parts if (part.weight is None) is plain]) for plain in (True, False)
    ]
    edge = np.unique(np.concatenate(edges))
    sums = np.zeros((2, len(edge)))
    for part in parts:
        place = np.maximum(np.searchsorted(edge, part.z, "right") - 1, 0)
        for row, mask in zip(sums, (part.positive, ~part.positive), strict=True):
            row += np.bincount(place[mask], _weights(part)[mask], len(edge))
    up, down = sums
    return [Scores(edge, np.ones(len(edge), bool), up), Scores(edge, np.zeros(len(edge), bool), down)]


def _equal_steps(parts: Sequence[Scores]) -> Array:
    """Scores between which lies equal weight, half as many as there are bins."""
    if not parts:
        return np.empty(0)
    score = np.concatenate([part.z for part in parts])
    at = np.arange(BINS // 2) / (BINS // 2)
    if parts[0].weight is None:
        score.sort()
        return np.asarray(score[(at * len(score)).astype(np.intp)])
    order = np.argsort(score, kind="stable")
    below = np.cumsum(np.concatenate([_weights(part) for part in parts])[order])
    steps = np.searchsorted(below, below[-1] * at, "right").clip(0, len(order) - 1)
    return np.asarray(score[order[steps]])
