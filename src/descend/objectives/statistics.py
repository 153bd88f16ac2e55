"""Statistics: named sums over data, `of` a block and `merge` of two results.

A statistic is a frozen dataclass, so it can be sent to another process by value. Engines add;
only the Objective divides. A leaf that holds no rows contributes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeVar

import numpy as np

from descend.engines import matrix
from descend.engines.arrays import check_matrix
from descend.engines.blocks import Block
from descend.engines.engine import Session
from descend.engines.matrix import Array, Float
from descend.errors import ShapeError
from descend.objectives.losses import Loss

V = TypeVar("V")
DENSE_CELLS = 2**20
"""Cells that sparse columns are made dense at a time."""


def linear_predictor(block: Block, w: Float, intercept: bool) -> Float:
    """`z = X @ w`, plus the intercept (the last row of `w`) and the block's offset."""
    z = matrix.product(block.X, w[:-1] if intercept else w)
    if intercept:
        z += w[-1]
    return shifted(z, block.offset)


def shifted(z: Float, offset: Array | None) -> Float:
    """`z`, shape (rows,) or (rows, outputs), plus the offset of each row, in the memory of `z`."""
    if offset is not None:
        z += offset if z.ndim == 1 else offset[:, None]
    return z


def predict(x: Any, weights: Any, *, intercept: bool = False) -> Float:
    """The linear predictor `x @ weights`, plus the last weight where `intercept`; no run needed.

    `x` has shape (rows, features), `weights` (features,), or (features + 1,) with `intercept`.
    Raises `ShapeError` with both shapes where they do not fit.

    >>> predict([[1.0, 1.0], [2.0, 1.0]], [3.0, 2.0]).tolist()
    [5.0, 8.0]
    """
    X, w = np.asarray(x), np.asarray(weights, dtype=np.float64)
    if X.ndim != 2 or w.ndim not in (1, 2) or len(w) != X.shape[1] + intercept:
        raise ShapeError(
            f"`x` has shape {X.shape} and `weights` has shape {w.shape}: `x @ weights` needs x of shape "
            f"(rows, features) and one weight per feature{', and the intercept last' if intercept else ''}."
        )
    return linear_predictor(Block(check_matrix(x), np.empty(0)), w, intercept)


@dataclass(frozen=True, slots=True)
class _Additive:
    """Results are arrays that add up."""

    def merge(self, a: Float, b: Float) -> Float:
        return np.add(a, b, out=a)


@dataclass(frozen=True, slots=True)
class TargetSum(_Additive):
    """`[sum of weights, sum of y]`, or the sum of weights of each of `classes` in place of the last."""

    classes: int | None = None

    def of(self, block: Block, params: Any = None) -> Float:
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        if self.classes is None:
            return np.array([s.sum(), s @ block.y], dtype=np.float64)
        counts = np.bincount(block.y.astype(np.intp), weights=s, minlength=self.classes)
        return np.concatenate([[s.sum()], counts])


@dataclass(frozen=True, slots=True)
class TargetRange:
    """`[-smallest, largest]` target of the rows of positive weight; -inf where there are none."""

    def of(self, block: Block, params: Any = None) -> Float:
        y = block.y if block.sample_weight is None else block.y[block.sample_weight > 0]
        return np.array([-y.min(initial=np.inf), y.max(initial=-np.inf)])

    def merge(self, a: Float, b: Float) -> Float:
        return np.maximum(a, b, out=a)


@dataclass(frozen=True, slots=True)
class BestSum(_Additive):
    """`[sum of weights, sum of the best loss that each row can have]`."""

    loss: Loss

    def of(self, block: Block, params: Any = None) -> Float:
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        return np.array([s.sum(), s @ self.loss.best(block.y)], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class NullDerivatives(_Additive):
    """`[sum of weights, of slopes, of curvatures]` of the loss where `z` is `params[0]` plus the offset of each row."""

    loss: Loss

    def of(self, block: Block, params: Float) -> Float:
        z = shifted(np.full(block.rows, params[0]), block.offset)
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        return np.array([s.sum(), s @ self.loss.gradient(z, block.y), s @ self.loss.curvature(z, block.y)])


def constant_predictor(loss: Loss, shares: Float) -> Float:
    """The linear predictor that is best for all rows, of classes in these `shares`: shape (outputs,), or (1,) for two classes.

    That of the shares for a likelihood, and for several outputs; else it is searched for.
    """
    if loss.outputs(len(shares)) is not None:
        return np.asarray(loss.link.of(shares))
    if loss.likelihood:
        return np.asarray(loss.link.of(shares[1:]))
    from scipy.optimize import minimize_scalar

    classes = np.array([0.0, 1.0])
    found = minimize_scalar(lambda z: float(shares @ loss.value(np.full(2, z), classes)), bracket=(-1.0, 1.0))
    return np.array([float(found.x)])


def best_constant(session: Session, loss: Loss) -> float:
    """The mean target, or the mean at an offset of zero that is best beside the offset of each row.

    The latter is found by Newton's method for the intercept of a model without features: what R calls the null model.
    """
    weight, total = session.reduce(TargetSum()).tolist()
    mean = total / weight
    if not session.source.has_offset:
        return float(mean)
    z = float(loss.link.of(np.array(mean)))
    for _ in range(100):
        _, slope, curvature = session.reduce(NullDerivatives(loss), np.array([z])).tolist()
        step = float(np.clip(-slope / curvature, -4.0, 4.0)) if curvature > 0 else 0.0
        z += step
        if abs(step) <= 1e-14 * max(abs(z), 1.0):
            break
    return float(loss.link.inverse(np.array(z)))


@dataclass(frozen=True, slots=True)
class RowNorms:
    """`[sum of weights, weighted sum of squared row lengths, largest weight times squared length]`.

    The intercept counts as a column of ones.
    """

    intercept: bool

    def of(self, block: Block, params: Any = None) -> Float:
        norms = matrix.row_norms(block.X) + self.intercept
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        norms *= s
        return np.array([s.sum(), norms.sum(), norms.max()])

    def merge(self, a: Float, b: Float) -> Float:
        return np.array([a[0] + b[0], a[1] + b[1], max(a[2], b[2])])


@dataclass(frozen=True, slots=True)
class LargestMove:
    """The largest change of a row's linear predictor where the weights change by `params`."""

    intercept: bool

    def of(self, block: Block, params: Float) -> Float:
        z = linear_predictor(replace(block, offset=None), params, self.intercept)
        z = z if block.sample_weight is None else z[block.sample_weight > 0]
        return np.array([np.abs(z).max(initial=0.0)])

    def merge(self, a: Float, b: Float) -> Float:
        return np.maximum(a, b, out=a)


@dataclass(frozen=True, slots=True)
class Margins:
    """`[least margin, largest margin, rows on the wrong side, rows]`, of rows of positive weight.

    A margin is what `loss.margins` says, offsets left out.
    """

    loss: Loss
    intercept: bool
    """Whether the last weight is the intercept."""

    def of(self, block: Block, params: Float) -> Float:
        ahead = margins(self.loss, block, params, self.intercept)
        least, most = ahead.min(axis=1, initial=np.inf), ahead.max(initial=-np.inf)
        return np.array([least.min(initial=np.inf), most, np.count_nonzero(least <= 0), len(ahead)])

    def merge(self, a: Float, b: Float) -> Float:
        return np.array([min(a[0], b[0]), max(a[1], b[1]), a[2] + b[2], a[3] + b[3]])


@dataclass(frozen=True, slots=True)
class Reach:
    """How far along a direction every margin that grows in it is at least `far`; `params` are weights and direction.

    A margin grows where it is above `within` in the direction.
    """

    loss: Loss
    intercept: bool
    within: float
    far: float

    def of(self, block: Block, params: Float) -> Float:
        here, grows = (margins(self.loss, block, w, self.intercept) for w in params)
        some = grows > self.within
        return np.array([((self.far - here[some]) / grows[some]).max(initial=0.0)])

    def merge(self, a: Float, b: Float) -> Float:
        return np.maximum(a, b)


def alike(block: Block) -> Block:
    """The rows of positive weight, all alike, without offset."""
    s, rows = block.sample_weight, Block(block.X, block.y)
    return rows if s is None or bool((s > 0).all()) else rows.take(s > 0)


def margins(loss: Loss, block: Block, w: Float, intercept: bool) -> Float:
    """`loss.margins` of the rows of positive weight, offsets left out."""
    block = alike(block)
    return loss.margins(linear_predictor(block, w, intercept), block.y)


@dataclass(frozen=True, slots=True)
class CurvedRows(_Additive):
    """How many rows of positive weight have a curvature above zero at the weights `params`."""

    loss: Loss
    intercept: bool

    def of(self, block: Block, params: Float) -> Float:
        d = self.loss.curvature(linear_predictor(block, params, self.intercept), block.y)
        d = d if block.sample_weight is None else d[block.sample_weight > 0]
        return np.array([float(np.count_nonzero(d.reshape(len(d), -1).any(axis=1)))])


@dataclass(frozen=True, slots=True)
class LargestCurvature:
    """The largest curvature of a row of positive weight, at weights `params` that end in an intercept."""

    loss: Loss

    def of(self, block: Block, params: Float) -> Float:
        d = self.loss.curvature(linear_predictor(block, params, True), block.y)
        d = d if block.sample_weight is None else d[block.sample_weight > 0]
        largest = d if d.ndim == 1 else np.linalg.eigvalsh(d)[:, -1]
        return np.array([largest.max(initial=0.0)])

    def merge(self, a: Float, b: Float) -> Float:
        return np.maximum(a, b, out=a)


@dataclass(frozen=True, slots=True)
class Extremes:
    """`[-smallest, largest]` of each dense column, shape (classes, 2, columns); -inf where a class has no row."""

    classes: int = 1

    def of(self, block: Block, params: Any = None) -> Float:
        dense, _ = matrix.split(block.X)
        out = np.full((self.classes, 2, 0 if dense is None else dense.shape[1]), -np.inf)
        if dense is None:
            return out
        for k in range(self.classes):
            rows = dense if self.classes == 1 else dense[block.y == k]
            if len(rows):
                out[k, 0], out[k, 1] = -rows.min(axis=0), rows.max(axis=0)
        return out

    def merge(self, a: Float, b: Float) -> Float:
        return np.maximum(a, b, out=a)


@dataclass(frozen=True, slots=True)
class LossSum(_Additive):
    """`[rows, sum of weights, sum of losses]` at weights `params`."""

    loss: Loss
    intercept: bool

    def of(self, block: Block, params: Float) -> Float:
        value = self.loss.value(linear_predictor(block, params, self.intercept), block.y)
        s = block.sample_weight
        sums = [block.rows, value.sum()] if s is None else [s.sum(), s @ value]
        return np.array([np.count_nonzero(s) if s is not None else block.rows, *sums], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class LossAndGradient(_Additive):
    """`[rows, sum of weights, sum of losses, gradient of that sum]` at weights `params`, in one pass.

    The gradient is raveled from the shape of the weights, the intercept's row last.
    """

    loss: Loss
    intercept: bool

    def of(self, block: Block, params: Float) -> Float:
        z = linear_predictor(block, params, self.intercept)
        value, g = self.loss.value_and_gradient(z, block.y)
        s = block.sample_weight
        if s is not None:
            g *= s if g.ndim == 1 else s[:, None]
        out = np.empty(3 + params.size)
        out[0] = block.rows if s is None else np.count_nonzero(s)
        out[1] = block.rows if s is None else s.sum()
        out[2] = value.sum() if s is None else s @ value
        gradient = out[3:].reshape(params.shape)
        gradient[: len(params) - self.intercept] = matrix.transposed_product(block.X, g)
        if self.intercept:
            gradient[-1] = g.sum(axis=0)
        return out


@dataclass(frozen=True, slots=True)
class ResidualProducts:
    """`X' r` and the sums of all columns by weight, of the residuals `r` of squared error at weights `params`.

    The columns, the target last, are less their means `mean`, of further digits `low`; zeros where nothing is centred.
    In NumPy's longdouble, which has 64 bits of digits on x86: for the last digits of few rows.
    """

    mean: Float
    low: Float

    def of(self, block: Block, params: Float) -> Any:
        dense, sparse = matrix.split(block.X)
        parts = [] if dense is None else [dense.astype(np.longdouble)]
        parts += [] if sparse is None else [sparse.toarray().astype(np.longdouble)]
        Z = np.column_stack([*parts, block.target.astype(np.longdouble)]) - self.mean - self.low
        r = Z[:, -1] - Z[:, :-1] @ params.astype(np.longdouble)
        s = np.ones(len(r)) if block.sample_weight is None else block.sample_weight
        return np.concatenate([(r * s) @ Z[:, :-1], s @ Z])

    def merge(self, a: Any, b: Any) -> Any:
        return a + b


@dataclass(frozen=True, slots=True)
class HessianSum(_Additive):
    """The Hessian of the sum of losses at weights `params`, of shape (weights.size, weights.size).

    Weights of shape (features, K) are raveled row by row, feature by feature.
    """

    loss: Loss
    intercept: bool

    def of(self, block: Block, params: Float) -> Float:
        z = linear_predictor(block, params, self.intercept)
        d = self.loss.curvature(z, block.y)
        if block.sample_weight is not None:
            d = d * block.sample_weight.reshape(-1, *[1] * (d.ndim - 1))
        if d.ndim == 1:
            return self._bordered_gram(block, d)
        p, K = params.shape
        out = np.empty((p, K, p, K))
        for a in range(K):
            for b in range(a, K):
                out[:, a, :, b] = out[:, b, :, a] = self._bordered_gram(block, d[:, a, b])
        return out.reshape(p * K, p * K)

    def _bordered_gram(self, block: Block, d: Float) -> Float:
        G, border = matrix.gram_and_sums(block.X, d)
        if not self.intercept:
            return G
        return np.block([[G, border[:, None]], [border[None, :], np.array([[d.sum()]])]])


@dataclass(frozen=True, slots=True)
class DevianceSum(_Additive):
    """`[deviance, Pearson's chi-squared, log-likelihood]` of rows of numbers or counts at weights `params`.

    `sum unit_deviance`, `sum (y - mean)**2 / variance(mean)` and `sum log_base_measure - value`. McCullagh and Nelder,
    Generalized Linear Models (1989), section 2.3.
    """

    loss: Loss
    intercept: bool

    def of(self, block: Block, params: Float) -> Float:
        z = linear_predictor(block, params, self.intercept)
        mean = self.loss.link.inverse(z)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # where a mean is 0 or infinite
            pearson = np.square(block.y - mean) / self.loss.variance(mean)
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        likelihood = self.loss.log_base_measure(block.y) - self.loss.value(z, block.y)
        return np.array([s @ self.loss.unit_deviance(z, block.y), s @ pearson, s @ likelihood])


@dataclass(frozen=True, slots=True)
class LogWeights(_Additive):
    """The sum of the logarithms of the sample weights that are positive."""

    def of(self, block: Block, params: Any = None) -> Float:
        s = np.ones(1) if block.sample_weight is None else block.sample_weight
        return np.array([np.log(s[s > 0]).sum()])


@dataclass(frozen=True, slots=True)
class OnColumns:
    """A statistic of rows that hold some columns alone, which `columns` numbers in rising order, some rows at a time."""

    statistic: Any
    columns: tuple[int, ...]

    def of(self, block: Block, params: Any = None) -> Any:
        columns, step = (
            np.array(self.columns, dtype=np.intp),
            max(DENSE_CELLS // max(len(self.columns), 1), 1),
        )
        found = []
        for start in range(0, block.rows, step):
            rows = (
                block if step >= block.rows else block.take(np.arange(start, min(start + step, block.rows)))
            )
            dense = replace(rows, X=matrix.dense_columns(rows.X, columns))
            found.append(self.statistic.of(dense, params))
        return reduce(self.merge, found)

    def merge(self, a: Any, b: Any) -> Any:
        return self.statistic.merge(a, b)
