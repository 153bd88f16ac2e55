"""What stands between the two halves of a sandwich: products of the rows' gradients, by row or by cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block
from descend.engines.matrix import Array, Float, Matrix
from descend.engines.moments import triangular_factor
from descend.objectives.losses import Loss
from descend.objectives.statistics import DENSE_CELLS, linear_predictor

FITTED = 1e-10
"""A row whose leverage is nearer to 1 than this is fitted exactly by a weight of its own."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The gradient of each row's loss by the weights of `X - mean`, in units in which the information is one.

    `B` is the inverse root of the information, of shape (rank, weights): scores are `B (x - mean) g`, where `g` is the
    derivative of the loss with respect to `z`, of shape (rows, rank).
    """

    loss: Loss
    intercept: bool
    mean: Float
    B: Float

    def of(self, block: Block, w: Float) -> Iterator[tuple[Block, Float, Float]]:
        """Some rows at a time, their scores by weight, and their leverages, which only one output has."""
        start = 0
        for X in about(block.X, self.mean, self.intercept):
            rows = block if len(X) == block.rows else block.take(np.arange(start, start + len(X)))
            start += len(X)
            z = linear_predictor(rows, w, self.intercept)
            g = self.loss.gradient(z, rows.y)
            s = np.ones(rows.rows) if rows.sample_weight is None else rows.sample_weight
            if z.ndim == 1:
                T = X @ self.B.T
                leverage = self.loss.curvature(z, rows.y) * np.einsum("ij,ij->i", T, T)
                yield rows, T * (s * g)[:, None], leverage
            else:
                by_weight = (X[:, :, None] * (g * s[:, None])[:, None, :]).reshape(len(X), -1)
                yield rows, by_weight @ self.B.T, np.zeros(rows.rows)


def about(X: Matrix, mean: Float, intercept: bool) -> Iterator[Float]:
    """Some rows of `X - mean` at a time, dense, with a column of ones last where there is an `intercept`."""
    step = max(DENSE_CELLS // max(len(mean), 1), 1)
    for start in range(0, X.shape[0], step):
        dense, sparse = matrix.split(matrix.take_rows(X, slice(start, start + step)))
        parts = [] if dense is None else [np.asarray(dense, dtype=np.float64)]
        parts += [] if sparse is None else [sparse.toarray()]
        rows = np.hstack(parts) - mean
        yield np.column_stack([rows, np.ones(len(rows))]) if intercept else rows


class ScoreRoot(NamedTuple):
    """A triangular root `R`, with `R' R` the sum of the products, and the rows of leverage 1, for which no residual speaks."""

    root: Float
    fitted: int


@dataclass(frozen=True, slots=True)
class ScoreProducts:
    """A root of the sum over rows of the outer product of each score with itself: of the meat of HC0, HC2 and HC3.

    By QR, since squares of small scores would be lost beside large ones. A score is divided by `(1 - leverage)**power`: 0 for HC0, 1/2 for HC2, 1 for HC3. `frequencies` says that a sample
    weight counts rows, rather than being the precision of one. MacKinnon and White, Some heteroskedasticity-consistent
    covariance matrix estimators with improved finite sample properties (1985).
    """

    scores: Scores
    power: float
    frequencies: bool

    def of(self, block: Block, w: Float) -> ScoreRoot:
        root, fitted = np.zeros((0, len(self.scores.B))), 0
        for rows, q, h in self.scores.of(block, w):
            s = rows.sample_weight
            if s is not None and self.frequencies:
                q /= np.sqrt(np.where(s > 0, s, 1.0))[:, None]
            elif s is not None:
                h = h * s
            if self.power:
                left = 1.0 - h
                exact = left < FITTED
                q *= np.where(exact, 0.0, np.where(exact, 1.0, left) ** -self.power)[:, None]
                fitted += int(np.count_nonzero(exact))
            root = triangular_factor(np.vstack([root, q]))
        return ScoreRoot(root, fitted)

    def merge(self, a: ScoreRoot, b: ScoreRoot) -> ScoreRoot:
        return ScoreRoot(triangular_factor(np.vstack([a.root, b.root])), a.fitted + b.fitted)


class Clusters(NamedTuple):
    """The sum of the scores of each cluster, in the order of their numbers."""

    numbers: Array
    sums: Float

    @staticmethod
    def of(numbers: Array, scores: Float) -> Clusters:
        """Of rows, or of sums, that belong to clusters of these numbers."""
        known, codes = np.unique(numbers, return_inverse=True)
        sums = np.zeros((len(known), scores.shape[1]))
        np.add.at(sums, codes, scores)
        return Clusters(known, sums)


@dataclass(frozen=True, slots=True)
class ClusterScores:
    """The scores of each cluster of rows, added up. Liang and Zeger, Longitudinal data analysis (1986)."""

    scores: Scores

    def of(self, block: Block, w: Float) -> Clusters:
        found = []
        for rows, q, _ in self.scores.of(block, w):
            assert rows.cluster is not None
            counts = slice(None) if rows.sample_weight is None else rows.sample_weight > 0
            found.append(Clusters.of(rows.cluster[counts], q[counts]))
        return _merged(found)

    def merge(self, a: Clusters, b: Clusters) -> Clusters:
        return _merged([a, b])


def _merged(several: list[Clusters]) -> Clusters:
    return Clusters.of(
        np.concatenate([one.numbers for one in several]), np.vstack([one.sums for one in several])
    )
