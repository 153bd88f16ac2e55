"""How curved an objective is, along which directions, and what that means for the learning rate.

Near its minimum every loss here is a quadratic `minimum + (w - w*)' H (w - w*) / 2`. The eigenvalues of
`H`, its curvatures, decide how long a step may be and how many steps are needed. They are found as the
squared singular values of a root `A` with `A' A = H`, which keeps the digits of the small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from descend.blocks import ArraySource, Block
from descend.least_squares import LeastSquares
from descend.losses import Loss
from descend.matrix import Float
from descend.moments import Moments
from descend.objective import Objective, Quadratic
from descend.optimizers import GradientDescent
from descend.statistics import HessianSum, LossAndGradient, linear_predictor

ILL, CENTRED_WEIGHTS = 1e-8, 512
FLAT = 1e-26
"""Below this share of the largest a curvature is rounding: the direction is flat."""


@dataclass(frozen=True)
class Curvatures:
    """The curvatures of a quadratic, largest first, and a column of `directions` for each.

    `flat` directions have none: the loss does not change along them.

    >>> curvatures = Curvatures.of_root(np.diag([2.0, 1.0]))
    >>> curvatures.largest, curvatures.smallest, curvatures.condition
    (4.0, 1.0, 4.0)
    >>> curvatures.limit(GradientDescent()), curvatures.fastest_rate
    (0.5, 0.4)
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

    @property
    def fastest_rate(self) -> float:
        """`2 / (largest + smallest)`, the best constant rate of gradient descent without momentum.

        Nesterov, Introductory Lectures on Convex Optimization (2004), theorem 2.1.15.
        """
        return 2.0 / (self.largest + self.smallest or 1.0)

    @property
    def fastest_momentum(self) -> tuple[float, float]:
        """The best pair of learning rate and momentum: `4 / (sqrt L + sqrt l)**2` and `((sqrt L - sqrt l) / (sqrt L + sqrt l))**2`.

        Polyak (1964). Beyond a condition number of 1e10 those of 1e10: rounding makes more momentum unstable.
        """
        high, low = np.sqrt(self.largest), np.sqrt(max(self.smallest, 1e-10 * self.largest))
        total = float(high + low) or 1.0
        return 4.0 / total**2, (float(high - low) / total) ** 2


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A change of coordinates of the columns, `x_new = centre + unit * x`; weights divide by the unit."""

    units: Float
    centres: Float

    @staticmethod
    def given(columns: int) -> Coordinates:
        """No change."""
        return Coordinates(np.ones(columns), np.zeros(columns))

    @staticmethod
    def standardising(moments: Moments, intercept: bool) -> Coordinates:
        """To columns of standard deviation 1 and, where there is an intercept, mean 0."""
        S = moments.cross if intercept else moments.uncentred()
        spread = np.sqrt(np.maximum(S.diagonal()[:-1], 0.0) / moments.weight)
        units = 1.0 / np.where(spread > 0, spread, 1.0)
        means = (moments.mean + moments.mean_low)[:-1]
        return Coordinates(units, -means * units if intercept else np.zeros(len(units)))

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
    to = Coordinates.given(objective.shape[0] - objective.intercept) if to is None else to
    if len(objective.shape) == 2:
        return _of_classes(objective, w, to)
    if isinstance(objective, Quadratic):
        m, rank = objective.moments, objective.rank
        factor, share = objective.factor * np.sqrt(2.0 / m.weight), 2.0
    else:
        assert objective.session is not None
        m = objective.session.reduce(CurvatureMoments(objective.loss, objective.intercept), w)
        factor, rank = _factor(m, objective.intercept)
        factor, share = factor * np.sqrt(m.weight / objective.weight), m.weight / objective.weight
    return _curvatures(objective, m, factor, share, rank, w, to)


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
        ridge = np.sqrt(objective._penalty_curvature(w))
        ridge[: len(to.units)] *= to.units
        rows.append(np.diag(ridge))
        flat = None
    return Curvatures.of_root(np.vstack(rows), flat)


def _factor(m: Moments, intercept: bool) -> tuple[Float, int]:
    """A root of the cross products over the weight, and their rank."""
    S = m.cross if intercept else m.uncentred()
    scale = np.sqrt(np.maximum(S.diagonal(), 0.0) / m.weight)
    scale = np.where(scale > 0, scale, 1.0)
    least = LeastSquares.from_cross_products(S / np.outer(scale, scale) / m.weight)
    return least.factor * scale[:-1], least.rank


def _of_classes(objective: Objective, w: Float, to: Coordinates) -> Curvatures:
    """Of several outputs; the direction common to all classes is flat without a penalty."""
    p, K = objective.shape
    H = objective.hessian(w).reshape(p, K, p, K)
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


@dataclass(frozen=True, slots=True)
class CentredDerivatives:
    """Gradient and Hessian of the sum of losses with respect to the weights of `X - mean`, raveled one after the other.

    Far from zero a column and the intercept are the same to many digits; less its mean it is not.
    """

    loss: Loss
    mean: Float

    def of(self, block: Block, params: Float) -> Float:
        w = params.copy()
        w[-1] += self.mean @ params[:-1]
        centred = Block(np.asarray(block.X, dtype=np.float64) - self.mean, block.y, block.sample_weight)
        gradient = LossAndGradient(self.loss, True).of(centred, w)[3:]
        return np.concatenate([gradient, HessianSum(self.loss, True).of(centred, w).ravel()])

    def merge(self, a: Float, b: Float) -> Float:
        return np.add(a, b, out=a)


def newton_direction(objective: Objective, w: Float, sample: Objective | None = None) -> tuple[Float, float]:
    """`-H^-1 g` and the slope of the loss along it, of minimum norm in units of each weight's curvature.

    `H` is that of a `sample` where there is one.

    Where `H` has lost too many digits, as it does where columns are far from zero, both are summed once
    more about the means of the columns.
    """
    direction, slope, share, rank = _solved((sample or objective).hessian(w), objective.gradient(w).ravel())
    full = w.size - (len(w) if w.ndim == 2 and objective.penalty.is_zero else 0)
    if (share < ILL or rank < full) and _can_be_centred(objective, w):
        centred, its_slope, its_rank = _centred_direction(objective, w)
        if share < ILL or its_rank > rank:  # else columns are collinear, and nothing is gained
            return centred, its_slope
    return direction.reshape(w.shape), slope


def _solved(H: Float, g: Float) -> tuple[Float, float, float, int]:
    """`-H^-1 g`, its product with `g`, the smallest share of the largest eigenvalue that counts, and how many do.

    The eigenvalues are those of `H` with a unit diagonal.
    """
    diagonal = H.diagonal()
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values, V = np.linalg.eigh(H / np.outer(scale, scale))
    largest = max(float(values[-1]), 1e-300)
    keep = values > largest * 1e-13 * len(values)
    along = V.T @ (g / scale)
    solved = np.where(keep, along / np.where(keep, values, 1.0), 0.0)
    solution = np.where(diagonal > 0, V @ solved / scale, 0.0)
    return (
        -solution,
        -float(solved @ along),
        float(values[keep].min(initial=largest)) / largest,
        int(keep.sum()),
    )


def _can_be_centred(objective: Objective, w: Float) -> bool:
    """Whether the rows are the caller's own dense arrays, with an intercept that takes up the means."""
    source = objective.session.source if objective.session is not None else None
    few = w.size <= CENTRED_WEIGHTS and objective.intercept
    return few and isinstance(source, ArraySource) and isinstance(source.X, np.ndarray)


def _centred_direction(objective: Objective, w: Float) -> tuple[Float, float, int]:
    whole = objective.hessian(w).reshape(len(w), -1, len(w), w.size // len(w))
    border = np.einsum("ikk->i", whole[:, :, -1])
    mean = border[:-1] / border[-1] if border[-1] > 0 else np.zeros(len(w) - 1)  # by each row's curvature
    assert objective.session is not None
    sums = objective.session.reduce(CentredDerivatives(objective.loss, mean), w) / objective.weight
    gradient, H = sums[: w.size].reshape(w.shape), sums[w.size :].reshape(w.size, w.size)
    objective._add_penalty(w, gradient)
    H[np.diag_indices_from(H)] += objective._penalty_curvature(w)
    direction, slope, _, rank = _solved(H, gradient.ravel())
    direction = direction.reshape(w.shape)
    direction[-1] -= mean @ direction[:-1]
    return direction, slope, rank


def newton_decrement(objective: Objective, w: Float) -> float:
    """About how far the loss is above its minimum: `g' H^-1 g / 2`, what a Newton step would gain.

    Boyd and Vandenberghe, Convex Optimization, 9.5.1. Exact for squared error.
    """
    if isinstance(objective, Quadratic):
        return max(objective.value(w) - objective.value(objective.minimizer()), 0.0)
    return -0.5 * newton_direction(objective, w)[1]
