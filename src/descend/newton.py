"""Newton's step, and how far the loss is above its minimum as seen by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from descend import matrix
from descend.blocks import ArraySource, Block
from descend.curvature import FLAT
from descend.losses import Loss
from descend.matrix import Float
from descend.moments import triangular_factor
from descend.objective import Objective, Quadratic, Summed
from descend.statistics import LargestMove

ILL = 1e-8
"""A smaller curvature than this share of the largest has lost half of its digits in the Hessian."""
ROOT_CELLS, ROOT_WORK = 2**20, 2e10
"""Cells of a QR at a time, and rows times weights squared that it is worth at most."""
NEGLIGIBLE, SHORT = 1e-6, 0.1
"""A share of the loss that does not count, and the change of a linear predictor that a quadratic bears."""


@dataclass(frozen=True, slots=True)
class RootOfHessian:
    """`(g, R)`: the gradient of the sum of losses with respect to the weights of `X - mean`, and `R' R` its Hessian.

    Far from zero a column and the intercept are the same to many digits; less its mean it is not. And `R`,
    which is summed by QR as in `Triangle`, has but the root of the Hessian's condition number.
    """

    loss: Loss
    mean: Float
    intercept: bool

    def of(self, block: Block, params: Float) -> tuple[Float, Float]:
        w = params.copy()
        if self.intercept:
            w[-1] += self.mean @ params[:-1]
        g, R = np.zeros(w.shape), np.zeros((0, w.size))
        K = w.size // len(w)
        step = max(ROOT_CELLS // (K * w.size), w.size)
        for start in range(0, block.rows, step):
            rows = block.take(np.arange(start, min(start + step, block.rows)))
            dense, sparse = matrix.split(rows.X)
            parts = [
                part for part in (dense, None if sparse is None else sparse.toarray()) if part is not None
            ]
            X = np.hstack(parts) - self.mean
            X = np.column_stack([X, np.ones(len(X))]) if self.intercept else X
            z = X @ w
            s = np.ones(len(X)) if rows.sample_weight is None else rows.sample_weight
            g += X.T @ (self.loss.gradient(z, rows.y).T * s).T
            root = (self._root(z, rows.y).T * np.sqrt(s)).T.reshape(len(X), K, K)
            Z = np.einsum("ip,ikj->ijpk", X, root).reshape(-1, w.size)
            R = triangular_factor(np.vstack([R, Z]))
        return g, R

    def _root(self, z: Float, y: Any) -> Float:
        """`B` with `B B'` the curvature of each row; of classes `(I - p 1') diag(sqrt p)`, which keeps small p."""
        if z.ndim == 1:
            return np.sqrt(self.loss.curvature(z, y))
        p = self.loss.inverse_link(z)
        return np.asarray((np.eye(p.shape[1]) - p[:, :, None]) * np.sqrt(p)[:, None, :])

    def merge(self, a: tuple[Float, Float], b: tuple[Float, Float]) -> tuple[Float, Float]:
        return a[0] + b[0], triangular_factor(np.vstack([a[1], b[1]]))


class NewtonStep(NamedTuple):
    """`-H^-1 g`, the slope of the loss along it, and whether every direction that has curvature was seen."""

    move: Float
    slope: float
    seen: bool


def newton_steps(objective: Objective, w: Float) -> Iterator[NewtonStep]:
    """Steps to the minimum of the quadratic at `w`, the most precise first, of minimum norm in units of curvature.

    Where `H` has lost too many digits, as it does where columns are far from zero or nearly collinear, a
    root of it is summed about the means of the columns. Should rounding spoil the step that it gives, which
    may be long along a direction that is nearly flat, the one of `H` itself comes next.
    """
    if objective.coordinates is not None and not isinstance(objective, Quadratic):
        there: Any = objective  # the step is the same in any coordinates
        units = there.coordinates
        for step in newton_steps(there.inner, units.to_original(w)):
            yield step._replace(move=units.to_descent(step.move))
        return
    H = objective.hessian(w)
    move, slope, share, rank = _solved(H, objective.gradient(w).ravel())
    expected = w.size if share >= ILL and rank == w.size else _expected_rank(objective)
    if (share < ILL or rank < expected) and _has_root(objective, w):
        rooted, its_rank = _by_root(objective, w, H)
        if share < ILL or its_rank > rank:
            yield rooted._replace(seen=its_rank >= expected)
    yield NewtonStep(move.reshape(w.shape), slope, rank >= expected)


def sampled_step(objective: Objective, w: Float) -> NewtonStep | None:
    """The step whose Hessian is that of a sample of very many rows; None where it has to be that of all."""
    if objective.sample is None:
        return None
    move, slope, share, rank = _solved(objective.sample.hessian(w), objective.gradient(w).ravel())
    seen = share >= ILL and (rank == w.size or rank >= _expected_rank(objective))
    return NewtonStep(move.reshape(w.shape), slope, True) if seen else None


def _expected_rank(objective: Objective) -> int:
    """The number of directions along which the loss is curved, but for rounding."""
    p, K = objective.shape[0], 1 if len(objective.shape) == 1 else objective.shape[1]
    if not objective.penalty.is_zero:
        return p * K - (objective.intercept and K > 1)  # a constant added to all intercepts
    columns = objective.rank if isinstance(objective, Quadratic | Summed) else None
    return (p if columns is None else columns + objective.intercept) * max(K - 1, 1)


def _solved(H: Float, g: Float) -> tuple[Float, float, float, int]:
    """`-H^-1 g`, its product with `g`, the smallest share of the largest eigenvalue that counts, and how many do.

    The eigenvalues are those of `H` with a unit diagonal.
    """
    diagonal = H.diagonal()
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values, V = np.linalg.eigh(H / np.outer(scale, scale))
    solution, slope, share, rank = _along(np.maximum(values, 0.0), V, g / scale, 1e-13)
    return np.where(diagonal > 0, solution / scale, 0.0), slope, share, rank


def _along(values: Float, V: Float, g: Float, least: float) -> tuple[Float, float, float, int]:
    """`_solved` from eigenvalues and eigenvectors; those below a share of `least` count as zero."""
    largest = max(float(values.max()), 1e-300)
    keep = values > largest * least * len(values)
    along = V.T @ g
    solved = np.where(keep, along / np.where(keep, values, 1.0), 0.0)
    share = float(values[keep].min(initial=largest)) / largest
    return -(V @ solved), -float(solved @ along), share, int(keep.sum())


def _has_root(objective: Objective, w: Float) -> bool:
    """Whether rows are at hand as NumPy arrays, and few enough for their QR."""
    source = objective.session.source if objective.session is not None else None
    here = not isinstance(source, ArraySource) or isinstance(source.X, np.ndarray)
    return source is not None and here and objective.rows * w.size**2 * (w.size // len(w)) <= ROOT_WORK


def _by_root(objective: Objective, w: Float, H: Float) -> tuple[NewtonStep, int]:
    """Newton's step by the singular values of the root, and how many of those are not zero."""
    mean = np.zeros(len(w) - objective.intercept)
    if objective.intercept:
        border = np.einsum("ikk->i", H.reshape(len(w), -1, len(w), w.size // len(w))[:, :, -1])
        mean = border[:-1] / border[-1] if border[-1] > 0 else mean  # by each row's curvature
    assert objective.session is not None
    statistic = RootOfHessian(objective.loss, mean, objective.intercept)
    g, R = objective.session.reduce(statistic, w)
    g = g / objective.weight
    objective._add_penalty(w, g)
    ridge = np.sqrt(objective._penalty_curvature(w))
    A = np.vstack([R / np.sqrt(objective.weight), np.diag(ridge)])
    scale = np.linalg.norm(A, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    _, s, Vt = np.linalg.svd(A / scale, full_matrices=False)
    move, slope, _, rank = _along(np.square(s), Vt.T, g.ravel() / scale, FLAT)
    move = (move / scale).reshape(w.shape)
    if objective.intercept:
        move[-1] -= mean @ move[:-1]
    return NewtonStep(move, slope, True), rank


def newton_decrement(objective: Objective, w: Float) -> float:
    """About how far the loss is above its minimum: `g' H^-1 g / 2`, what a Newton step would gain.

    Boyd and Vandenberghe, Convex Optimization, 9.5.1. Exact for squared error. Infinity where that is not
    known: where rounding hides directions along which there may be more to gain, and where next to nothing
    seems to be gained by a step that changes predictions of classes much. The curvature of a row changes by a
    factor of up to `exp(|change of z|)`, so that rows far away may make a plateau that is no minimum. Bach,
    Self-concordant analysis for logistic regression (2010), section 2.
    """
    if isinstance(objective, Quadratic):
        return max(objective.value(w) - objective.value(objective.minimizer()), 0.0)
    step = next(newton_steps(objective, w))
    gain = -0.5 * step.slope
    certain = step.seen and (gain > NEGLIGIBLE * objective.value(w) or _is_short(objective, w, step))
    return gain if certain else float("inf")


def _is_short(objective: Objective, w: Float, step: NewtonStep) -> bool:
    """Whether the step keeps to where the curvature is about that at `w`."""
    if not getattr(objective.loss, "bounded_slope", False) or objective.session is None:
        return True
    units: Any = objective.coordinates
    move = step.move if units is None else units.to_original(step.move)
    return float(objective.session.reduce(LargestMove(objective.intercept), move)[0]) <= SHORT
