"""Coordinates: the same objective as a function of weights in other units, for the descent alone.

A column `x` of an array becomes `u = (x - centre) / scale`. The descent then goes through rounder valleys,
and the answer is the same: the value at a point is, penalty included, that of the objective in the units
of the data. Nothing is copied: full passes see the rows as they are, mini-batches change them as they
are gathered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block
from descend.engines.matrix import Array, Float, Matrix
from descend.errors import DescendError
from descend.objectives.penalties import Penalty
from descend.objectives.statistics import RowNorms

if TYPE_CHECKING:
    from descend.objectives.objective import Objective


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
    def given(columns: int, intercept: bool = True) -> Coordinates:
        """No change of so many columns."""
        return Coordinates(np.zeros(columns), np.ones(columns), intercept)

    @staticmethod
    def of(objective: Objective, in_batches: bool = False) -> Coordinates:
        """Means and standard deviations of the columns, by weight.

        Without an intercept nothing is centred, and the scale is the root of the mean square. Neither are
        sparse columns in batches, which would lose their zeros. A penalty, which acts in the units of the
        data, is curvature too: its share is added to the variance, or columns of small numbers would be
        too steep.
        """
        mean, square = objective.spread()
        centred = objective.intercept
        square = np.maximum(square if centred else square + mean**2, 0.0)
        square[square <= 1e-24 * mean**2] = 0.0
        penalty = objective.penalty.curvature(np.zeros_like(mean))
        scale = np.sqrt(square + penalty / objective.row_curvature)
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

    def on(self, columns: Array) -> Coordinates:
        """Those of some columns alone."""
        return Coordinates(self.centre[columns], self.scale[columns], self.intercept)

    @property
    def norms(self) -> InCoordinates:
        """The statistic of the squared lengths of rows in these coordinates."""
        return InCoordinates(RowNorms(self.intercept), self)

    @property
    def inverse(self) -> Coordinates:
        """The way back, `x = (u + centre / scale) / (1 / scale)`."""
        return Coordinates(-self.centre / self.scale, 1.0 / self.scale, self.intercept)

    def after(self, first: Coordinates) -> Coordinates:
        """These coordinates of columns that went through `first` before."""
        scale = first.scale * self.scale
        return Coordinates(first.centre + self.centre * first.scale, scale, self.intercept)


def _shaped(scale: Float, w: Float) -> Float:
    return scale if w.ndim == 1 else scale[:, None]


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
class Rescaled(Penalty):
    """A penalty of `v / scale`, of weights in other units than those of the descent: of the data, or standardised ones.

    Raises `DescendError` for one with kinks whose prox does not take the units of each weight.
    """

    inner: Penalty
    scale: Float

    def __post_init__(self) -> None:
        if not (self.smooth or self.separable):
            raise DescendError(
                f"each weight has units of its own here, and `penalty` {self.name} does not say that it is `separable`: set "
                '`standardize=False`, of a table `penalise="standardised"`, or scale the columns before.'
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    def to_dict(self) -> dict[str, Any]:
        """That of the inner one: which units it acts in is said beside it."""
        return self.inner.to_dict()

    @property
    def closed_form(self) -> bool:  # type: ignore[override]
        return self.inner.closed_form

    @property
    def separable(self) -> bool:  # type: ignore[override]
        return self.inner.separable

    @property
    def smooth(self) -> bool:  # type: ignore[override]
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

    def prox(self, w: Float, rate: Float | float) -> Float:
        """`scale * inner.prox(w / scale, rate / scale**2)`: a distance of `scale * u` is `scale` times one of `u`."""
        scale = _shaped(self.scale, w)
        return scale * self.inner.prox(w / scale, rate / scale**2)

    def shortest(self, w: Float, g: Float) -> Float:
        """By the chain rule, of the inner one."""
        scale = _shaped(self.scale, w)
        return self.inner.shortest(w / scale, g * scale) / scale

    def gap(self, w: Float, s: Float, excess: float) -> float:
        scale = _shaped(self.scale, w)
        return self.inner.gap(w / scale, s * scale, excess)

    def corners(self, w: Float) -> Float | None:
        scale = _shaped(self.scale, w)
        inner = self.inner.corners(w / scale)
        return None if inner is None else inner / scale
