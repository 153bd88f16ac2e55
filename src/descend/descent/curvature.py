"""How curved an objective is, along which directions, and what that means for the learning rate.

Near its minimum every loss here is a quadratic `minimum + (w - w*)' H (w - w*) / 2`. The eigenvalues of
`H`, its curvatures, decide how long a step may be and how many steps are needed. They are found as the
squared singular values of a root `A` with `A' A = H`, which keeps the digits of the small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descend.descent.first_order import GradientDescent
from descend.engines.blocks import Block
from descend.engines.matrix import Float
from descend.engines.moments import Moments
from descend.objectives.least_squares import LeastSquares
from descend.objectives.losses import Loss
from descend.objectives.objective import Objective
from descend.objectives.quadratic import Quadratic
from descend.objectives.statistics import linear_predictor

FLAT = 1e-26
"""Below this share of the largest a curvature is rounding: the direction is flat."""


@dataclass(frozen=True)
class Curvatures:
    """The curvatures of a quadratic, largest first, and a column of `directions` for each.

    `flat` directions have none: the loss does not change along them.

    >>> curvatures = Curvatures.of_root(np.diag([2.0, 1.0]))
    >>> curvatures.largest, curvatures.smallest, curvatures.condition
    (4.0, 1.0, 4.0)
    >>> curvatures.limit(GradientDescent())
    0.5
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

    @property
    def largest(self) -> float:
        return float(self.values[0])

    @property
    def smallest(self) -> float:
        """The smallest that is not flat; 0 where all are."""
        curved = self.values[: len(self.values) - self.flat]
        return float(curved[-1]) if len(curved) else 0.0

    @property
    def condition(self) -> float:
        """Largest over smallest: the number of steps of gradient descent is in proportion to it."""
        return self.largest / self.smallest if self.smallest > 0 else float("inf")

    def limit(self, optimizer: GradientDescent) -> float:
        """The learning rate above which it leaves for infinity: `2 / largest` without momentum."""
        return optimizer.rate_limit(self.largest)


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A change of coordinates of the columns, `x_new = centre + unit * x`; weights divide by the unit."""

    units: Float
    centres: Float

    @staticmethod
    def given(columns: int) -> Coordinates:
        """No change."""
        return Coordinates(np.ones(columns), np.zeros(columns))

    def weights(self, w: Float, intercept: bool) -> Float:
        """The weights in the new coordinates that predict what `w` does in the old."""
        p = len(self.units)
        new = w.astype(np.float64, copy=True)
        new[:p] = (w[:p].T / self.units).T
        if intercept:
            new[-1] = w[-1] - self.centres @ new[:p]
        return new


@dataclass(frozen=True, slots=True)
class CurvatureMoments:
    """The statistic of the moments whose weights are each row's curvature of the loss, at weights `params`.

    The Hessian in any coordinates follows from them without cancellation.
    """

    loss: Loss
    intercept: bool

    def of(self, block: Block, params: Float) -> Moments:
        d = self.loss.curvature(linear_predictor(block, params, self.intercept), block.y)
        if block.sample_weight is not None:
            d = d * block.sample_weight
        return Moments.of(Block(block.X, block.y, d))

    def merge(self, a: Moments, b: Moments) -> Moments:
        return Moments.merge(a, b)


def curvatures_at(objective: Objective, w: Float, to: Coordinates | None = None) -> Curvatures:
    """The curvatures of an objective at weights `w`, in other coordinates where asked."""
    if len(objective.shape) == 1 and objective.coordinates is not None and not objective.exact:
        there: Any = objective
        units = there.coordinates
        to = Coordinates(1.0 / units.scale, -units.centre / units.scale)
        return curvatures_at(there.inner, units.to_original(w), to)
    to = Coordinates.given(objective.shape[0] - objective.intercept) if to is None else to
    return curvatures_in(objective, w, [to])[0]


def curvatures_in(objective: Objective, w: Float, several: Sequence[Coordinates]) -> list[Curvatures]:
    """The curvatures of an objective at weights `w` in several coordinates, from one pass."""
    if len(objective.shape) == 2:
        H = objective.hessian(w)
        return [_of_classes(objective, H, to) for to in several]
    if isinstance(objective, Quadratic):  # for now
        m, rank = objective.moments, objective.rank
        factor, share = objective.factor * np.sqrt(2.0 / m.weight), 2.0
    else:
        m = objective.session.reduce(CurvatureMoments(objective.loss, objective.intercept), w)
        factor, rank = _factor(m, objective.intercept)
        factor, share = factor * np.sqrt(m.weight / objective.weight), m.weight / objective.weight
    return [_curvatures(objective, m, factor, share, rank, w, to) for to in several]


def _curvatures(
    objective: Objective,
    m: Moments,
    factor: Float,
    share: float,
    rank: int | None,
    w: Float,
    to: Coordinates,
) -> Curvatures:
    """From the factor of the (centred) cross products and the means."""
    rows = [factor * to.units]
    if objective.intercept:
        rows = [np.column_stack([rows[0], np.zeros(len(factor))])]
        means = to.centres + to.units * (m.mean + m.mean_low)[:-1]
        rows.append(np.sqrt(share) * np.append(means, 1.0)[None, :])
    flat = None if rank is None else len(to.units) - rank
    if not objective.penalty.is_zero:
        ridge = np.sqrt(objective.penalty_curvature(w))
        ridge[: len(to.units)] *= to.units
        rows.append(np.diag(ridge))
        flat = None
    return Curvatures.of_root(np.vstack(rows), flat)


def _factor(m: Moments, intercept: bool) -> tuple[Float, int]:
    """A root of the cross products over the weight, and their rank."""
    S, weight = m.cross if intercept else m.uncentred(), m.weight or 1.0
    scale = np.sqrt(np.maximum(S.diagonal(), 0.0) / weight)
    scale = np.where(scale > 0, scale, 1.0)
    least = LeastSquares.from_cross_products(S / np.outer(scale, scale) / weight)
    return least.factor * scale[:-1], least.rank


def _of_classes(objective: Objective, hessian: Float, to: Coordinates) -> Curvatures:
    """Of several outputs; the direction common to all classes is flat without a penalty."""
    p, K = objective.shape
    H = hessian.reshape(p, K, p, K)
    B = np.eye(p)
    B[: len(to.units), : len(to.units)] = np.diag(to.units)
    if objective.intercept:
        B[-1, : len(to.units)] = to.centres
    H = np.einsum("ia,ikjl,jb->akbl", B, H, B, optimize=True).reshape(p * K, p * K)
    scale = np.sqrt(np.maximum(H.diagonal(), 1e-300))
    values, V = np.linalg.eigh(H / np.outer(scale, scale))
    keep = values > 1e-12 * values[-1]
    root = np.sqrt(np.where(keep, values, 0.0))[:, None] * V.T * scale
    return Curvatures.of_root(root, int(np.count_nonzero(~keep)))


def bound_of(objective: Objective, moments: Moments, to: Coordinates) -> float:
    """`Objective.curvature_bound` in other coordinates."""
    factor, _ = _factor(moments, objective.intercept)
    zeros: Any = objective.zeros()
    if len(objective.shape) == 2:
        zeros = zeros[:, 0]
    bound = objective.loss.curvature_bound
    columns = np.sqrt(bound) * factor * to.units
    rows = [columns]
    if objective.intercept:
        means = to.centres + to.units * (moments.mean + moments.mean_low)[:-1]
        rows = [
            np.column_stack([columns, np.zeros(len(columns))]),
            np.sqrt(bound) * np.append(means, 1.0)[None],
        ]
    largest = float(np.linalg.svd(np.vstack(rows), compute_uv=False)[0]) ** 2
    ridge = (
        0.0 if objective.penalty.is_zero else float(objective.penalty.curvature(zeros[: len(to.units)]).max())
    )
    return largest + ridge * float(np.max(to.units**2, initial=0.0))
