"""Moments: the mergeable sums that squared error needs, after which rows are no longer read.

`Moments` holds a count, means and centred cross products of the columns `[X | y]`. Leaves are
centred by their own means, or numbers near them, before anything is multiplied, and two leaves are
merged by the update of Chan, Golub and LeVeque (1983). Means are kept as an unevaluated sum of two
floats, so a column like 1e9 + noise loses nothing. `Triangle` is the orthogonal counterpart: the
triangular factor of the centred and scaled columns, which does not square the condition number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block
from descend.engines.matrix import Float


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, means and centred cross products of `[X | y]`; itself a Statistic without parameters.

    `weight` is the sum of the sample weights, `rows` the number of rows with weight. `mean` plus
    `mean_low` is the mean of each column, y last, shape (features + 1,); `cross` is
    `sum_i s_i (v_i - mean)(v_i - mean)'`, shape (features + 1, features + 1).

    >>> block = Block(np.array([[0.0], [2.0]]), np.array([1.0, 5.0]))
    >>> m = Moments.of(block)
    >>> m.mean.tolist(), m.cross.tolist()
    ([1.0, 3.0], [[2.0, 4.0], [4.0, 8.0]])
    """

    weight: float
    rows: int
    mean: Float
    mean_low: Float
    cross: Float

    @staticmethod
    def of(block: Block, params: Any = None) -> Moments:
        """The moments of one block."""
        s = None if block.sample_weight is None else matrix.as_float64(block.sample_weight, "weight")
        dense, sparse = matrix.split(block.X)
        p = 0 if dense is None else dense.shape[1]
        order = "C" if dense is None else matrix.memory_order(dense)
        Z = matrix.scratch("centred", (block.rows, p + 2), order)
        if dense is not None:
            np.copyto(Z[:, :p], dense, casting="unsafe")
        np.copyto(Z[:, p], block.target, casting="unsafe")
        Z[:, -1] = 1.0
        return Moments.of_columns(Z, sparse, s)

    @staticmethod
    def of_columns(Z: Float, sparse: Any = None, s: Float | None = None) -> Moments:
        """The moments of `Z = [dense | y | 1]`, which is overwritten, and of `sparse` columns before y.

        `s` holds the sample weights, shape (rows,), where there are any.
        """
        weight = float(len(Z) if s is None else s.sum())
        each = np.ones(len(Z)) if s is None else s  # s @ Z: five times faster than Z.sum(0)
        mean = (each @ Z[:, :-1]) / (weight or 1.0)
        Z[:, :-1] -= mean
        if sparse is None:
            return Moments.of_centred(Z, mean, weight, None, s)
        products = np.asarray(sparse.T @ (Z if s is None else Z * s[:, None]))
        return Moments.of_centred(Z, mean, weight, (products, *matrix.gram_and_sums(sparse, s)), s)

    @staticmethod
    def of_centred(
        Z: Float,
        mean: Float,
        weight: float,
        sparse: tuple[Float, Float, Float] | None = None,
        s: Float | None = None,
    ) -> Moments:
        """The same where `Z` is less numbers near its means already, `mean`; `weight` is the sum of `s`.

        `sparse`, of sparse columns `S`, are `S.T @ Z`, `S.T @ S` and the sums, all of them by weight.

        What is left, the mean of the columns of `Z`, is added to `mean` as an unevaluated sum: exact to the
        last bits even far from zero.
        """
        if s is not None:
            Z *= np.sqrt(s)[:, None]
        rows = len(Z) if s is None else int(np.count_nonzero(s))
        products = matrix.border_product(Z)
        left = products[:, -1] / (weight or 1.0)
        cross = products[:, :-1] - weight * np.outer(left, left)
        mean, low = _two_sum(mean, left)
        if sparse is None:
            return Moments(weight, rows, mean, low, cross)
        sZ, ss, sums = sparse
        p, q = Z.shape[1] - 2, len(sums)
        sparse_mean = sums / (weight or 1.0)
        sZ = sZ[:, :-1] - weight * np.outer(sparse_mean, left)
        whole = np.empty((p + q + 1, p + q + 1))
        order = np.r_[0:p, p + q]  # dense columns first, then sparse ones, y last
        whole[np.ix_(order, order)] = cross
        whole[p : p + q, p : p + q] = ss - weight * np.outer(sparse_mean, sparse_mean)
        whole[p : p + q, order] = sZ
        whole[order, p : p + q] = sZ.T
        mean = np.concatenate([mean[:p], sparse_mean, mean[p:]])
        low = np.concatenate([low[:p], np.zeros(q), low[p:]])
        return Moments(weight, rows, mean, low, whole)

    @staticmethod
    def merge(a: Moments, b: Moments) -> Moments:
        """The moments of the rows of both."""
        if a.weight == 0 or b.weight == 0:
            return b if a.weight == 0 else a
        weight = a.weight + b.weight
        delta = (b.mean - a.mean) + (b.mean_low - a.mean_low)
        shift = delta * (b.weight / weight)
        mean, error = _two_sum(a.mean, shift)
        cross = a.cross + b.cross
        cross += np.outer(delta, delta) * (a.weight * b.weight / weight)
        return Moments(weight, a.rows + b.rows, mean, error + a.mean_low, cross)

    @property
    def constant_loss(self) -> float:
        """The mean squared error of predicting the mean of y: its variance."""
        return float(self.cross[-1, -1] / self.weight)

    @property
    def scale(self) -> Float:
        """The standard deviation of each column, 1 where it is 0."""
        variance = np.maximum(self.cross.diagonal(), 0.0) / self.weight
        return np.where(variance > 0, np.sqrt(variance), 1.0)

    def uncentred(self) -> Float:
        """`sum_i s_i v_i v_i'`, the cross products about zero."""
        return self.cross + self.weight * np.outer(self.mean + self.mean_low, self.mean + self.mean_low)


@dataclass(frozen=True, slots=True)
class DenseMoments:
    """The statistic of the moments of a block's dense columns and of y, its sparse ones left out."""

    def of(self, block: Block, params: Any = None) -> Moments:
        dense, _ = matrix.split(block.X)
        columns = np.empty((block.rows, 0)) if dense is None else dense
        return Moments.of(Block(columns, block.y, block.sample_weight, block.offset))

    def merge(self, a: Moments, b: Moments) -> Moments:
        return Moments.merge(a, b)


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Mean squares of a regression: of its errors, of the deviations from a constant, and of those from the mean."""

    rows: int
    error: float
    deviation: float
    variance: float

    def figures(self, error: float) -> dict[str, float]:
        """RMSE and R2 of predictions of this mean squared error."""
        r2 = 1.0 - error / self.variance if self.variance > 0 else float("nan")
        return {"rmse": float(np.sqrt(error)), "r2": r2}


def _two_sum(a: Float, b: Float) -> tuple[Float, Float]:
    """The rounded sum and its rounding error (Knuth, The Art of Computer Programming, 4.2.2)."""
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)


@dataclass(frozen=True, slots=True)
class Triangle:
    """The triangular factor `R` of `diag(sqrt(s)) ([X | y] - mean) / scale`: a Statistic.

    `R' R` equals the cross products in those units, but `R` carries the square root of their
    condition number. Blocks are factored by Householder QR and factors merged by another
    (Demmel, Grigori, Hoemmen and Langou, 2012). `mean` of None factors the columns uncentred.
    """

    mean: Float | None
    mean_low: Float | None
    scale: Float

    def of(self, block: Block, params: Any = None) -> Float:
        """The factor of one block, of shape (columns, columns)."""
        dense, sparse = matrix.split(block.X)
        columns = self.scale.size
        Z = matrix.scratch("triangle", (block.rows, columns), "F")
        p = 0 if dense is None else dense.shape[1]
        if dense is not None:
            np.copyto(Z[:, :p], dense, casting="unsafe")
        if sparse is not None:
            Z[:, p:-1] = sparse.toarray()
        np.copyto(Z[:, -1], block.target, casting="unsafe")
        if self.mean is not None and self.mean_low is not None:
            Z -= self.mean
            Z -= self.mean_low
        Z /= self.scale
        if block.sample_weight is not None:
            Z *= np.sqrt(block.sample_weight)[:, None]
        return triangular_factor(Z)

    def merge(self, a: Float, b: Float) -> Float:
        """The factor of the rows of both."""
        return triangular_factor(np.vstack([a, b]))


def triangular_factor(Z: Float) -> Float:
    """`R` of the QR factorisation of `Z`, square and upper triangular; `Z` may be overwritten."""
    from scipy.linalg import lapack

    rows, columns = Z.shape
    if rows < columns:
        Z = np.vstack([Z, np.zeros((columns - rows, columns))])
    qr = lapack.dgeqrf(Z, overwrite_a=1)[0]
    return np.triu(qr[:columns])
