"""Least squares of standardised columns: by the eigenvalues of their cross products, or by a triangular factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descend.engines.engine import Session
from descend.engines.matrix import Float
from descend.engines.moments import Moments, Triangle

FACTOR_COLUMNS = 128
"""Up to this many columns a second pass sums their triangular factor; for more it refines the solution."""
FEW_CELLS = 1 << 18
"""Up to so many cells another pass costs nothing, and is made for the last digits too."""
ROUNDING, EXTENDED = float(np.finfo(np.float64).eps) / 2, float(np.finfo(np.longdouble).eps) / 2
"""What rounding changes a number by, as a share of it; and one of `longdouble`, which is the same on some machines."""
NEAR = 1e-4
"""Columns of one length whose smallest singular value is this share of the largest may lose digits that are missed."""


def shortest(factor: Float, rank: int, w: Float) -> Float:
    """Of all weights that `factor` cannot tell from `w`, those of minimum norm.

    `rank` says how many directions it can tell apart, in units in which its columns have the same length.

    >>> shortest(np.array([[1.0, 1.0]]), 1, np.array([2.0, 0.0])).round(9).tolist()
    [1.0, 1.0]
    """
    lengths = np.sqrt(np.einsum("ij,ij->j", factor, factor))
    lengths = np.where(lengths > 0, lengths, 1.0)
    U, s, Vt = np.linalg.svd(factor / lengths)
    unseen = Vt[rank:].T / lengths[:, None]
    basis = np.linalg.qr(unseen / np.sqrt(np.einsum("ij,ij->j", unseen, unseen)))[0]
    v = w - basis @ (basis.T @ w)
    lost = U.T @ (factor @ (w - v))  # where columns differ much in length, some digits
    return np.asarray(v + Vt[:rank].T @ (lost[:rank] / s[:rank]) / lengths)


def errors_of(
    factor: Float, solution: Float, residual: float, means: Float, rounding: float
) -> tuple[Float, Float]:
    """What a least-squares `solution` may be off by, its intercept last; and what chance makes of it per unit of `residual`.

    Of columns of about unit length, `factor` being a triangle of theirs. A change of each column by a share u of its
    length, and so of the target, changes `c'solution` by at most

        u (|c'G| 1 residual + (c'Gc)**(1/2) (1 + |solution|'1)),   G = (factor'factor)^-1.

    An intercept is `mean of y - means @ solution`: its digits cancel where weights are large. Bjoerck, Numerical Methods
    for Least Squares Problems (1996), section 1.4.

    >>> close = np.array([[1.0, 1.0], [0.0, 1e-6]])
    >>> off, chance = errors_of(close, np.array([1e6, -1e6]), 1.0, np.zeros(2), 1e-16)
    >>> [f"{size:.0e}" for size in off[:2]], [f"{size:.0e}" for size in chance[:2]]
    (['4e-04', '4e-04'], ['1e+06', '1e+06'])
    """
    _, s, Vt = np.linalg.svd(factor, full_matrices=False)
    keep = s > max(float(s[0]), 1e-300) * 1e-13 * len(s)
    half = Vt[keep].T / s[keep]
    C = np.vstack([half, means @ half])
    chance, reach = np.sqrt(np.einsum("ij,ij->i", C, C)), np.abs(C @ half.T).sum(axis=1)
    off = rounding * (reach * residual + chance * (1.0 + np.abs(solution).sum()))
    off += ROUNDING * np.append(np.abs(solution), np.abs(means * solution).sum())
    off[-1] += rounding * np.abs(solution).sum()  # of the means
    return off, chance


def spans_constant(moments: Moments) -> bool:
    """Whether some combination of the columns is the same in every row and not 0, as a column of ones is.

    Their centred cross products then have a rank less by one than those about zero.

    >>> from descend.engines.blocks import Block
    >>> spans_constant(Moments.of(Block(np.eye(3), np.zeros(3)))), spans_constant(Moments.of(Block(np.eye(3)[:, :2], np.zeros(3))))
    (True, False)
    """

    def rank(S: Float) -> int:
        scale = np.sqrt(np.where(S.diagonal() > 0, S.diagonal(), 1.0))
        values = np.linalg.eigvalsh(S / np.outer(scale, scale))
        return int(np.count_nonzero(values > 1e-12 * max(float(values[-1]), 1e-300))) if len(S) else 0

    about, centred = moments.uncentred()[:-1, :-1], moments.cross[:-1, :-1]
    still = centred.diagonal() <= 1e-24 * about.diagonal()  # but for rounding these columns do not vary
    return bool((still & (about.diagonal() > 0)).any()) or rank(about) > rank(centred)


@dataclass(frozen=True)
class LeastSquares:
    """The least-squares problem of standardised columns `[X | y]`, solved."""

    factor: Float
    projected: Float
    """The target in the directions of the factor's rows: `factor @ solution`, with the digits that large weights would lose."""
    solution: Float
    residual: float
    """The mean squared residual, in units of the variance of y."""
    rank: int
    """The columns less those that are combinations of others."""
    nearness: float
    """The smallest singular value that counts, as a share of the largest."""
    wants_more: bool = False
    """Whether another pass over the rows would give digits that these cross products have lost."""

    @staticmethod
    def from_cross_products(C: Float, near: float = 1e-7) -> LeastSquares:
        """From `C = Z'Z / n`, by its eigenvalues; small ones count as zero, and below `near` as lost digits."""
        values, V = np.linalg.eigh(C[:-1, :-1])
        largest = max(float(values[-1]), 1e-300)
        keep = values > largest * 1e-12
        along = V.T @ C[:-1, -1]
        solution = V @ np.where(keep, along / np.where(keep, values, 1.0), 0.0)
        residual = max(float(C[-1, -1] - C[:-1, -1] @ solution), 0.0)
        factor = np.sqrt(np.where(keep, values, 0.0))[:, None] * V.T
        wants_more = values[0] < near * largest or residual < 1e-4 * float(C[-1, -1])
        nearness = float(np.sqrt(values[keep].min(initial=largest) / largest))
        projected = np.where(keep, along / np.sqrt(np.where(keep, values, 1.0)), 0.0)
        return LeastSquares(
            factor, projected, solution, residual, int(keep.sum()), nearness, bool(wants_more)
        )

    def solve(self, g: Float) -> Float:
        """The solution of minimum norm of `factor.T @ factor @ x = g`, the rows of the factor being orthogonal."""
        along = self.factor @ g
        lengths = np.einsum("ij,ij->i", self.factor, self.factor)
        return np.asarray(self.factor.T @ np.divide(along, lengths**2, out=along, where=lengths > 0))

    @staticmethod
    def from_factor(R: Float) -> LeastSquares:
        """From the triangular factor `R` of `[X | y]`, by the singular values of its columns of X."""
        U, s, Vt = np.linalg.svd(R[:-1, :-1])
        keep = s > max(float(s[0]), 1e-300) * 1e-13 * len(s)
        along = U.T @ R[:-1, -1]
        solution = Vt.T @ np.where(keep, along / np.where(keep, s, 1.0), 0.0)
        residual = float(R[-1, -1] ** 2 + np.sum(np.square(along[~keep])))
        nearness = float(s[keep].min(initial=s[0]) / s[0]) if s[0] > 0 else 1.0
        factor = np.where(keep, s, 0.0)[:, None] * Vt
        return LeastSquares(factor, np.where(keep, along, 0.0), solution, residual, int(keep.sum()), nearness)


@dataclass(frozen=True)
class Standard:
    """The least-squares problem of columns of any size, solved in standardised units."""

    least: LeastSquares
    scale: Float
    """The root mean square of each column, y last, about its mean where there is an intercept; 1 where that is 0."""
    unrefined: bool
    """Whether digits are lost in these cross products that a pass over the rows gives back."""
    normal: bool
    """Whether it is solved by cross products alone, which square what nearly collinear columns lose."""
    few: bool = False
    """Whether rows are so few, and so nearly collinear, that the residuals are worth more digits."""

    @property
    def rounding(self) -> float:
        """What rounding counts for, as a share of each column; 0 where it does no harm, the columns being far apart."""
        if self.least.nearness > NEAR:
            return 0.0
        return EXTENDED if self.few else ROUNDING / (self.least.nearness if self.normal else 1.0)

    @staticmethod
    def of(moments: Moments, intercept: bool, session: Session) -> Standard:
        """From moments; where they have lost digits, of not too many columns, from the triangular factor: a pass."""
        S = moments.cross if intercept else moments.uncentred()
        scale = np.sqrt(np.maximum(S.diagonal(), 0.0) / moments.weight)
        scale = np.where(scale > 0, scale, 1.0)
        near = 1e-3 if moments.rows * len(scale) <= FEW_CELLS else 1e-7
        least = LeastSquares.from_cross_products(S / np.outer(scale, scale) / moments.weight, near)
        more = least.wants_more and session.has_rows
        if more and len(scale) <= FACTOR_COLUMNS:
            mean, low = (moments.mean, moments.mean_low) if intercept else (None, None)
            R = session.reduce(Triangle(mean, low, scale)) / np.sqrt(moments.weight)
            few = moments.rows * len(scale) <= FEW_CELLS
            return Standard(LeastSquares.from_factor(R), scale, False, False, few)
        return Standard(least, scale, more, not more)
