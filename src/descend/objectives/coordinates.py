"""Coordinates: the same objective as a function of weights in other units, for the descent alone.

A column `x` of an array becomes `u = (x - centre) / scale`. The descent then goes through rounder valleys,
and the answer is the same: the value at a point is, penalty included, that of the objective in the units
of the data. Nothing is copied: full passes see the rows as they are, mini-batches change them as they
are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block
from descend.engines.matrix import Float, Matrix
from descend.engines.moments import Moments
from descend.objectives.losses import Loss
from descend.objectives.objective import MOMENTS_COLUMNS, Objective
from descend.objectives.penalties import Penalty
from descend.objectives.quadratic import Quadratic
from descend.objectives.statistics import HessianSum, RowNorms


@dataclass(frozen=True)
class Coordinates:
    """`u = (x - centre) / scale` for each column; with an intercept the weights end in it.

    Weights `v` there are `w = v / scale` in the units of the data, their intercept less `centre @ w`.

    >>> units = Coordinates(np.array([10.0]), np.array([2.0]), True)
    >>> units.to_original(np.array([4.0, 1.0])).tolist()
    [2.0, -19.0]
    >>> units.to_descent(np.array([2.0, -19.0])).tolist()
    [4.0, 1.0]
    """

    centre: Float
    scale: Float
    intercept: bool

    @staticmethod
    def of(objective: Objective, in_batches: bool = False) -> Coordinates:
        """Means and standard deviations of the columns, by weight.

        Without an intercept nothing is centred, and the scale is the root of the mean square. Neither are
        sparse columns in batches, which would lose their zeros. A penalty, which acts in the units of the
        data, is curvature too: its share is added to the variance, or columns of small numbers would be
        too steep.
        """
        mean, square = _spread(objective)
        centred = objective.intercept
        square = np.maximum(square if centred else square + mean**2, 0.0)
        square[square <= 1e-24 * mean**2] = 0.0
        penalty, steepest = objective.penalty.curvature(np.zeros_like(mean)), objective.loss.curvature_bound
        scale = np.sqrt(square + (penalty / steepest if np.isfinite(steepest) else 0.0))
        scale = np.where(scale > 0, scale, 1.0)
        if in_batches:
            centred = centred and not objective.session.source.sparse
        return Coordinates(mean if centred else np.zeros_like(mean), scale, objective.intercept)

    def to_descent(self, w: Float) -> Float:
        """Weights of the descent from those in the units of the data."""
        v, p = w.copy(), len(self.scale)
        v[:p] *= _shaped(self.scale, w)
        if self.intercept:
            v[-1] += self.centre @ w[:p]
        return v

    def to_original(self, v: Float) -> Float:
        """Weights in the units of the data from those of the descent."""
        w, p = v.copy(), len(self.scale)
        w[:p] /= _shaped(self.scale, v)
        if self.intercept:
            w[-1] -= self.centre @ w[:p]
        return w

    def gradient(self, g: Float) -> Float:
        """The derivative with respect to weights of the descent, from that with respect to the others."""
        out, p = g.copy(), len(self.scale)
        if self.intercept:
            out[:p] -= np.multiply.outer(self.centre, g[-1])
        out[:p] /= _shaped(self.scale, g)
        return out

    def rows(self, X: Matrix) -> Matrix:
        """Rows in these coordinates, a column of ones after the last left alone; a dense `X` is overwritten."""
        p = len(self.scale)
        if matrix.is_sparse(X):
            scale = np.append(self.scale, 1.0)
            return type(X)((X.data / scale[X.indices], X.indices, X.indptr), shape=X.shape)
        X[:, :p] -= self.centre
        X[:, :p] /= self.scale
        return X

    @property
    def norms(self) -> InCoordinates:
        """The statistic of the squared lengths of rows in these coordinates."""
        return InCoordinates(RowNorms(self.intercept), self)

    def applied(self, objective: Objective) -> Objective:
        """The same objective as a function of weights of the descent."""
        if isinstance(objective, Quadratic):
            return _quadratic(objective, self)
        return Standardised(objective, self)


def _shaped(scale: Float, w: Float) -> Float:
    return scale if w.ndim == 1 else scale[:, None]


def _spread(objective: Objective) -> tuple[Float, Float]:
    """The mean and the variance of each column."""
    if objective.shape[0] <= MOMENTS_COLUMNS and (m := objective.moments) is not None:
        return (m.mean + m.mean_low)[:-1], m.cross.diagonal()[:-1] / m.weight
    weight, sums = np.split(objective.session.reduce(ColumnSums()), [1])
    mean, square = np.split(sums / weight, 2)
    return mean, square - mean**2


@dataclass(frozen=True, slots=True)
class ColumnSums:
    """The statistic `[sum of weights, weighted sum of each column, of its squares]`."""

    def of(self, block: Block, params: Any = None) -> Float:
        s, X = block.sample_weight, block.X
        squares = X.multiply(X) if matrix.is_sparse(X) else np.square(matrix.as_float64(X))
        total = block.rows if s is None else s.sum()
        return np.concatenate([[total], matrix.column_sums(X, s), matrix.column_sums(squares, s)])

    def merge(self, a: Float, b: Float) -> Float:
        return a + b


@dataclass(frozen=True)
class InCoordinates:
    """A statistic of the rows in other coordinates."""

    statistic: Any
    coordinates: Coordinates

    def of(self, block: Block, params: Any = None) -> Any:
        X = block.X if matrix.is_sparse(block.X) else np.array(block.X, dtype=np.float64)
        return self.statistic.of(replace(block, X=self.coordinates.rows(X)), params)

    def merge(self, a: Any, b: Any) -> Any:
        return self.statistic.merge(a, b)


@dataclass(frozen=True)
class Rescaled:
    """A penalty of `v / scale`: it acts in the units of the data whatever the coordinates of the descent."""

    inner: Penalty
    scale: Float

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def smooth(self) -> bool:
        return self.inner.smooth

    @property
    def is_zero(self) -> bool:
        return self.inner.is_zero

    def value(self, w: Float) -> float:
        return self.inner.value(w / _shaped(self.scale, w))

    def gradient(self, w: Float) -> Float:
        scale = _shaped(self.scale, w)
        return self.inner.gradient(w / scale) / scale

    def curvature(self, w: Float) -> Float:
        scale = _shaped(self.scale, w)
        return self.inner.curvature(w / scale) / scale**2

    def prox(self, w: Float, rate: float) -> Float:
        """By the curvature, which is constant for every smooth penalty that there is."""
        return w / (1.0 + rate * self.curvature(w))


def _quadratic(q: Quadratic, units: Coordinates) -> Quadratic:
    """The same quadratic about the same minimum."""
    m, s = q.moments, units.scale
    wide, centre = np.append(s, 1.0), np.append(units.centre, 0.0)
    moments = Moments(
        m.weight, m.rows, (m.mean - centre) / wide, m.mean_low / wide, m.cross / np.outer(wide, wide)
    )
    penalty: Any = Rescaled(q.penalty, s)
    there = Quadratic(
        moments, q.factor / s, q.solution * s, q.residual, penalty, q.intercept, q.session, q.rank
    )
    there.coordinates = units
    return there


@dataclass(eq=False)
class Standardised(Objective):
    """An objective summed over blocks, as a function of weights in other coordinates."""

    inner: Objective
    coordinates: Coordinates
    loss: Loss = field(init=False)
    moments = None

    def __post_init__(self) -> None:
        self.loss, self.intercept = self.inner.loss, self.inner.intercept
        self.shape, self.session = self.inner.shape, self.inner.session
        rescaled: Any = Rescaled(self.inner.penalty, self.coordinates.scale)
        self.penalty = rescaled

    def _value(self, w: Float) -> float:
        return self.inner.value(self.coordinates.to_original(w))

    def _evaluate(self, w: Float) -> tuple[float, Float]:
        value, gradient = self.inner.value_and_gradient(self.coordinates.to_original(w))
        return value, self.coordinates.gradient(gradient)

    def hessian(self, w: Float) -> Float:
        if self.session.source.sparse:  # whose rows cannot be centred
            return self._from_data_units(w)
        statistic = InCoordinates(HessianSum(self.loss, self.intercept), self.coordinates)
        H: Float = self.session.reduce(statistic, w) / self.weight
        H[np.diag_indices_from(H)] += self.penalty_curvature(w)
        return H

    def _from_data_units(self, w: Float) -> Float:
        """The Hessian, by the chain rule."""
        units, H = self.coordinates, self.inner.hessian(self.coordinates.to_original(w))
        K = 1 if w.ndim == 1 else w.shape[1]

        def there(G: Float) -> Float:  # of each column of G, which is a gradient
            columns = G.reshape(len(w), K, -1)
            out = units.gradient(columns.reshape(len(w), -1))
            return out.reshape(G.shape)

        return there(there(H).T)

    @cached_property
    def sample(self) -> Standardised | None:  # type: ignore[override]
        """Of the same rows."""
        return None if self.inner.sample is None else Standardised(self.inner.sample, self.coordinates)

    @cached_property
    def curvature_bound(self) -> float:
        """As `Summed.curvature_bound`, of the rows in these coordinates."""
        if self.shape[0] <= MOMENTS_COLUMNS and (m := self.inner.moments) is not None:
            units = self.coordinates
            shift = ((m.mean - np.append(units.centre, 0.0)) + m.mean_low)[:-1] / units.scale
            S = m.cross[:-1, :-1] / np.outer(units.scale, units.scale) / m.weight + np.outer(shift, shift)
            if self.intercept:
                S = np.block([[S, shift[:, None]], [shift[None, :], np.ones((1, 1))]])
            largest = float(np.linalg.eigvalsh(S)[-1])
        else:
            weight, total, _ = self.session.reduce(self.coordinates.norms)
            largest = float(total / weight)
        return self.loss.curvature_bound * largest + float(self.penalty_curvature(self.zeros()).max())

    @property
    def constant_loss(self) -> float:
        return self.inner.constant_loss

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.inner.rows

    @property
    def weight(self) -> float:  # type: ignore[override]
        return self.inner.weight
