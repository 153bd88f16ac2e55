"""How curved an objective is, along which directions, and what that means for the learning rate.

Near its minimum every loss here is a quadratic `minimum + (w - w*)' H (w - w*) / 2`. The eigenvalues of
`H`, its curvatures, decide how long a step may be and how many steps are needed. They are found as the
squared singular values of a root `A` with `A' A = H`, which keeps the digits of the small ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block
from descend.engines.engine import Session
from descend.engines.matrix import Array, Float
from descend.engines.moments import Moments, triangular_factor
from descend.objectives.coordinates import Coordinates
from descend.objectives.least_squares import LeastSquares
from descend.objectives.losses import Loss
from descend.objectives.statistics import Margins, alike, linear_predictor, margins

if TYPE_CHECKING:
    from descend.objectives.objective import Objective

EXACT, FLAT_TIES, CONSTANT, ROOT_CELLS = 1e-9, 1e-13, 1e-14, 2**20
"""Of an exact direction the share of a margin that is rounding, of a root, and of a constant column; cells of a QR."""
TIED, LEAST = 1e-6, 1e-3
"""A margin, next to the step of 1 that Newton's makes for the row nearest to others, that is none; a move that is one."""
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


@dataclass(frozen=True)
class Receding:
    """A direction in which the loss falls for ever: no row falls behind, as `loss.margins` tells, some get ahead.

    Albert and Anderson, On the Existence of Maximum Likelihood Estimates in Logistic Regression Models (1984).
    """

    kind: str
    """ "perfect" where every row gets ahead of all other classes, "partial" where some do."""
    direction: Float
    """Shaped as the weights."""
    part: Float
    """The same in standard deviations of the columns, and of classes their differences."""
    endless: Float
    """A mask of the rows of the weights: those that the rest of the rows leaves without a value."""
    tied: float
    """A margin in the direction that is none."""
    free: Float
    """In columns the directions about which the rest of the rows says nothing, of unit length in these `units`, scaled."""
    scale: Float
    units: Coordinates

    @property
    def ways(self) -> Float:
        """The directions about which the rest of the rows says nothing, shape (directions, *weights)."""
        ways = [
            self.units.to_original((way / self.scale).reshape(self.direction.shape)) for way in self.free.T
        ]
        found = np.array(ways)
        found[:, np.logical_not(self.endless)] = 0.0  # what rounding has left
        return found

    def others(self, move: Float) -> Float:
        """A move of the weights less its part in the directions about which the rest of the rows says nothing."""
        v = self.units.to_descent(move).ravel() * self.scale
        v -= self.free @ (self.free.T @ v)
        return self.units.to_original((v / self.scale).reshape(move.shape))

    @staticmethod
    def along(objective: Objective, move: Float) -> Receding | None:
        """That of a Newton step, or of weights, which are known to some digits; None where there is none.

        It is made exact: rows that stay behind by next to nothing are not told apart at all, so that what is left
        of the `move` changes no prediction of theirs.
        """
        session, loss, intercept = objective.session, objective.loss, objective.intercept
        least, most = session.reduce(Margins(loss, intercept), move)[:2]
        tied = TIED * min(most, 1.0)
        if not (most > 0 and least >= -tied):
            return None
        given = units = Coordinates.given(len(move) - intercept, intercept)
        kind, free, scale = "perfect", np.eye(move.size), np.ones(move.size)
        if least <= 0:
            kind, units = "partial", _of_ties(session, loss, intercept, move, tied)
            direction = units.to_descent(move)
            free, scale = _flat(session.reduce(Ties(intercept, tied, units), direction))
            direction = (free @ (free.T @ (direction.ravel() * scale)) / scale).reshape(move.shape)
            move = units.to_original(direction)
            behind, ahead = session.reduce(Margins(loss, intercept), move)[:2]
            if not (ahead > 0.1 * most and behind >= -EXACT * ahead):
                return None
        ways = [(way / scale).reshape(move.shape) for way in free.T]
        endless = np.any([_moved(units, way) for way in ways], axis=0)
        dense = session.source.as_given and not session.source.sparse
        part = (Coordinates.of(objective) if dense else given).to_descent(move)
        return Receding(kind, move, _apart(part), endless, tied, free, scale, units)


@dataclass(frozen=True, slots=True)
class TieMoments:
    """The moments of the dense columns over rows that no class is told apart from in a direction `params`."""

    loss: Loss
    intercept: bool
    within: float

    def of(self, block: Block, params: Float) -> Moments:
        block = alike(block)
        dense, _ = matrix.split(block.X)
        tied = (np.abs(margins(self.loss, block, params, self.intercept)) <= self.within).all(axis=1)
        columns = np.empty((block.rows, 0)) if dense is None else dense
        return Moments.of(Block(columns[tied], block.y[tied]))

    def merge(self, a: Moments, b: Moments) -> Moments:
        return Moments.merge(a, b)


def _of_ties(session: Session, loss: Loss, intercept: bool, direction: Float, within: float) -> Coordinates:
    """The units in which dense columns have mean 0 and variance 1 over the rows that are not told apart at all.

    Next to rows far away these may hardly vary: about the means of all rows that would be lost.
    """
    m, p = session.reduce(TieMoments(loss, intercept, within), direction), len(direction) - intercept
    mean, variance = (m.mean + m.mean_low)[:-1], m.cross.diagonal()[:-1] / (m.weight or 1.0)
    variance = np.where(variance <= CONSTANT**2 * mean**2, 0.0, variance)
    square = np.maximum(variance if intercept else variance + mean**2, 0.0)
    others = np.zeros(p - len(mean))
    scale = np.sqrt(np.where(square > 0, square, 1.0))
    return Coordinates(np.append(mean * intercept, others), np.append(scale, others + 1.0), intercept)


@dataclass(frozen=True, slots=True)
class Ties:
    """A root `R` of the sum of `a a'` over the rows, and pairs of classes, that a direction does not tell apart.

    Their margins `a'd` in the direction `params` are up to `within`; dense columns are in these `units`, and each `a` of
    unit length. A root, by QR, sees how rows differ that are alike next to others far away.
    """

    intercept: bool
    within: float
    units: Coordinates

    def of(self, block: Block, params: Float) -> Float:
        block, found = alike(block), np.zeros((0, params.size))
        step = max(ROOT_CELLS // params.size, params.size)
        for start in range(0, block.rows, step):
            rows = block.take(np.arange(start, min(start + step, block.rows)))
            for pairs in self._pairs(self._dense(rows), rows.y, params):
                length = np.linalg.norm(pairs, axis=1, keepdims=True)
                pairs = pairs[length[:, 0] > 0] / length[length > 0][:, None]
                found = triangular_factor(np.vstack([found, pairs])) if len(pairs) else found
        return found

    def _dense(self, block: Block) -> Float:
        """All columns, and one of ones."""
        dense, sparse = matrix.split(block.X)
        parts = [np.ones((block.rows, 1))] * self.intercept
        parts = parts if sparse is None else [sparse.toarray(), *parts]
        if dense is not None:
            p = dense.shape[1]
            parts = [(dense - self.units.centre[:p]) / self.units.scale[:p], *parts]
        return np.hstack(parts)

    def _pairs(self, X: Float, y: Array, d: Float) -> Iterator[Float]:
        z = X @ d
        if z.ndim == 1:
            yield X[np.abs(z) <= self.within]
            return
        own = y.astype(np.intp)
        for k in range(z.shape[1]):
            rows = np.flatnonzero((own != k) & (np.abs(z[np.arange(len(z)), own] - z[:, k]) <= self.within))
            pairs = np.zeros((len(rows), *d.shape))
            pairs[np.arange(len(rows)), :, own[rows]] = X[rows]
            pairs[:, :, k] = -X[rows]
            yield pairs.reshape(len(rows), d.size)

    def merge(self, a: Float, b: Float) -> Float:
        return triangular_factor(np.vstack([a, b])) if len(a) and len(b) else (a if len(a) else b)


def _flat(root: Float) -> tuple[Float, Float]:
    """The directions along which a `root` is flat, in units of the lengths of its columns, and those units."""
    length = np.linalg.norm(root, axis=0)
    scale = np.where(length > 0, length, 1.0)
    _, s, Vt = np.linalg.svd(root / scale)
    kept = int(np.count_nonzero(s > FLAT_TIES * max(float(s.max(initial=0.0)), 1.0) * len(scale)))
    return Vt[kept:].T, scale


def _apart(d: Float) -> Float:
    """A direction less an equal change of all classes, which changes no probability."""
    return d if d.ndim == 1 else d - d.mean(axis=1, keepdims=True)


def _moved(units: Coordinates, way: Float) -> Array:
    """Which weights, in original units, a direction changes."""
    size: Float = np.abs(_apart(way)).reshape(len(way), -1).max(axis=1)
    p = len(units.scale)
    there: Array = size > TIED * max(float(size.max()), LEAST)
    if units.intercept:
        last = np.abs(_apart(units.to_original(way))[-1]).max()
        summed = float(size[-1]) + float(np.abs(units.centre / units.scale) @ size[:p])
        there[-1] = last > TIED * max(summed, LEAST)
    return there


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
