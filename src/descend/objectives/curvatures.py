"""How curved an objective is, along which directions, and what that means for the learning rate.

Near its minimum every loss here is a quadratic `minimum + (w - w*)' H (w - w*) / 2`. The eigenvalues of
`H`, its curvatures, decide how long a step may be and how many steps are needed. They are found as the
squared singular values of a root `A` with `A' A = H`, which keeps the digits of the small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from descend.engines.blocks import Block
from descend.engines.matrix import Float
from descend.engines.moments import Moments
from descend.objectives.least_squares import LeastSquares
from descend.objectives.losses import Loss
from descend.objectives.statistics import linear_predictor

if TYPE_CHECKING:
    from descend.objectives.coordinates import Coordinates
    from descend.objectives.objective import Objective

FLAT = 1e-26
"""Below this share of the largest a curvature is rounding: the direction is flat."""


@dataclass(frozen=True)
class Curvatures:
    """The curvatures of a quadratic, and a column of `directions` for each; those of a root the largest first.

    `flat` directions have none: the loss does not change along them.

    >>> curvatures = Curvatures.of_root(np.diag([2.0, 1.0]))
    >>> curvatures.largest, curvatures.smallest, curvatures.condition
    (4.0, 1.0, 4.0)
    """

    values: Float
    directions: Float
    flat: int = 0

    @staticmethod
    def of_root(A: Float, flat: int | None = None) -> Curvatures:
        """Of `A' A`; the `flat` last directions count as such, unless given those whose curvature is rounding."""
        rows, columns = A.shape
        if rows < columns:
            A = np.vstack([A, np.zeros((columns - rows, columns))])
        _, s, Vt = np.linalg.svd(A, full_matrices=False)
        values = np.square(s)
        if flat is None:
            flat = int(np.count_nonzero(values <= FLAT * max(float(values[0]), 1e-300)))
        values[len(values) - flat :] = 0.0
        return Curvatures(values, Vt.T, flat)

    @staticmethod
    def of_hessian(H: Float, least: float) -> Curvatures:
        """Of `H` itself, smallest first; below a share of `least` of the largest they count as flat."""
        values, V = np.linalg.eigh(H)
        keep = values > least * max(float(values[-1]), 1e-300)
        return Curvatures(np.where(keep, values, 0.0), V, int(np.count_nonzero(~keep)))

    @property
    def largest(self) -> float:
        return float(self.values.max())

    @property
    def smallest(self) -> float:
        """The smallest that is not flat; 0 where all are."""
        return float(np.sort(self.values)[self.flat]) if self.flat < len(self.values) else 0.0

    @property
    def condition(self) -> float:
        """Largest over smallest: the number of steps of gradient descent is in proportion to it."""
        return self.largest / self.smallest if self.smallest > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class CurvatureMoments:
    """The statistic of the moments whose weights are each row's curvature of the loss, at weights `params`.

    The Hessian in any coordinates follows from them without cancellation. A curvature below zero, of a loss that is not
    convex, counts as none.
    """

    loss: Loss
    intercept: bool

    def of(self, block: Block, params: Float) -> Moments:
        d = np.maximum(self.loss.curvature(linear_predictor(block, params, self.intercept), block.y), 0.0)
        if block.sample_weight is not None:
            d = d * block.sample_weight
        return Moments.of(Block(block.X, block.y, d))

    def merge(self, a: Moments, b: Moments) -> Moments:
        return Moments.merge(a, b)


@dataclass(frozen=True)
class Root:
    """A root of the Hessian of a loss with one output: that of its centred columns, and their means.

    With `A` the rows `[factor, 0]` and `sqrt(share) [means, 1]`, `A' A` is the Hessian without the penalty.
    """

    factor: Float
    means: Float | None
    """None where there is no intercept."""
    share: float
    rank: int | None = None
    """The columns less those that are combinations of others; None where that is not known."""

    @staticmethod
    def of_moments(m: Moments, intercept: bool, factor: float = 1.0) -> Root:
        """Of `factor X'X / weight`, from moments."""
        S, weight = m.cross if intercept else m.uncentred(), m.weight or 1.0
        scale = np.sqrt(np.maximum(S.diagonal(), 0.0) / weight)
        scale = np.where(scale > 0, scale, 1.0)
        least = LeastSquares.from_cross_products(S / np.outer(scale, scale) / weight)
        root = np.sqrt(factor) * (least.factor * scale[:-1])
        return Root(root, (m.mean + m.mean_low)[:-1] if intercept else None, factor, least.rank)

    def rows(self, to: Coordinates) -> Float:
        """`A` in the units `x` of which the columns are `u = (x - centre) / scale` of these coordinates."""
        columns = self.factor * to.scale
        if self.means is None:
            return columns
        means = to.centre + to.scale * self.means
        return np.vstack(
            [
                np.column_stack([columns, np.zeros(len(columns))]),
                np.sqrt(self.share) * np.append(means, 1.0)[None, :],
            ]
        )

    def curvatures(self, to: Coordinates, ridge: Float | None) -> Curvatures:
        """In those units; `ridge` is the diagonal that a penalty adds to the Hessian, None where there is none."""
        rows, columns = self.rows(to), len(to.scale)
        if ridge is None:
            return Curvatures.of_root(rows, None if self.rank is None else columns - self.rank)
        root = np.sqrt(ridge)
        root[:columns] *= to.scale
        return Curvatures.of_root(np.vstack([rows, np.diag(root)]))


def of_outputs(
    A: Float, mean: Float, shape: tuple[int, ...], to: Coordinates, ridge: Float | None
) -> Curvatures:
    """From a root `A` of the Hessian of several outputs, by the weights of `X - mean`, raveled; `ridge` as there.

    Without a penalty the directions that change nothing are flat: those common to all classes, and of collinear columns.
    """
    (p, K), columns = shape, len(to.scale)
    flat = A.shape[1] - Information.of_root(A, mean).rank if ridge is None else None
    rows = A.reshape(len(A), p, K).copy()
    rows[:, :columns] *= to.scale[:, None]
    if p > columns:
        rows[:, :columns] += (to.centre + to.scale * mean)[:, None] * rows[:, -1:]
    whole: Float = rows.reshape(len(A), p * K)
    if ridge is not None:
        root = np.sqrt(ridge).reshape(p, K).copy()
        root[:columns] *= to.scale[:, None]
        whole = np.vstack([whole, np.diag(root.ravel())])
    return Curvatures.of_root(whole, flat)


def bound_in(objective: Objective, moments: Moments, to: Coordinates) -> float:
    """`Objective.expected_curvature` in the units of which the columns are `u = (x - centre) / scale`."""
    root = Root.of_moments(moments, objective.intercept, objective.row_curvature)
    largest = float(np.linalg.svd(root.rows(to), compute_uv=False)[0]) ** 2
    if objective.penalty.is_zero:
        return largest
    ridge = float(objective.penalty_curvature(objective.zeros()).max())
    return largest + ridge * float(np.max(to.scale**2, initial=0.0))


@dataclass(frozen=True)
class Information:
    """The Hessian of the total loss about the means of the columns, inverted where it can be.

    Of raveled weights `v` of `X - mean`, the intercept last. It is flat along the columns of `unseen`, shape
    (weights, weights - rank), in the units of `v * scale`; on all other directions `inverse_root.T @ inverse_root` is
    the inverse, `inverse_root` of shape (rank, weights).

    >>> found = Information.of_root(np.array([[2.0, 2.0]]), np.zeros(2))
    >>> found.rank, found.unseen.round(3).ravel().tolist()
    (1, [-0.707, 0.707])
    """

    mean: Float
    scale: Float
    inverse_root: Float
    unseen: Float

    @staticmethod
    def of_root(A: Float, mean: Float, rank: int | None = None) -> Information:
        """Of `A' A`, of this `rank` where it is known."""
        scale = np.linalg.norm(A, axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        _, s, Vt = np.linalg.svd(A / scale)
        if rank is None:
            rank = int(np.count_nonzero(np.square(s) > FLAT * len(s) * max(float(s[0]) ** 2, 1e-300)))
        return Information(mean, scale, Vt[:rank] / s[:rank, None] / scale, Vt[rank:].T)

    @property
    def rank(self) -> int:
        """The number of directions along which the loss is curved."""
        return len(self.inverse_root)
