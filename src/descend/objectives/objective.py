"""The objective: mean loss over all rows plus the penalty, as a function of the weights.

`F(w) = sum_i s_i loss(z_i, y_i) / sum_i s_i + penalty(w)` with `z = X @ w`, plus the intercept,
which is the **last** weight and never penalised. Weights have shape (features,) or (features,
outputs), features counting the intercept. `Objective.of` picks the form: squared error on few
enough columns collapses to its moments (`Quadratic`), everything else is summed over the blocks at
every evaluation (`Summed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from descend.engines.arrays import ArraySource, check_column, check_matrix, check_sample_weight
from descend.engines.engine import Engine, Session, SomeLeaves, Threads
from descend.engines.matrix import Float
from descend.engines.moments import Moments
from descend.errors import DataError, DescendError, ShapeError
from descend.objectives.losses import CrossEntropy, Loss, SquaredError, as_loss, check_weighted
from descend.objectives.penalties import Penalty, as_penalty
from descend.objectives.statistics import HessianSum, LossAndGradient, LossSum, RowNorms, TargetSum

MOMENTS_COLUMNS = 2_048
"""Up to this many columns squared error is collapsed to moments (32 MiB of cross products)."""
FACTOR_COLUMNS = 128
"""Up to this many columns a second pass sums their triangular factor; for more it refines the solution."""
MANY_LEAVES, EVERY = 64, 8
"""Of so many leaves, every so many are a sample."""
FEW_CELLS = 1 << 18
"""Up to so many cells another pass costs nothing, and is made for the last digits too."""


class Objective(ABC):
    """Mean loss plus penalty. Make one with `Objective.of(x, y)`.

    >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> value, gradient = Objective.of(x, y).value_and_gradient(np.zeros(2))
    >>> round(value, 6), gradient.round(6).tolist()
    (11.666667, [-8.666667, -6.0])
    """

    loss: Loss
    penalty: Penalty
    intercept: bool
    shape: tuple[int, ...]
    """The shape of the weights."""
    rows: int
    """Rows of positive weight."""
    weight: float
    """The sum of the sample weights."""
    session: Session | None
    """Where the rows are, None where nothing but moments is left."""
    whole: ClassVar[bool] = True
    """Whether it is over all rows, rather than over one mini-batch."""
    sample: Objective | None = None
    """The same over some of the rows, where these are many and can be had by themselves."""
    coordinates: Any = None  # those that the weights are in, where they are not the units of the data
    _last: tuple[Float, float, Float] | None = None
    _last_value: tuple[Float, float] | None = None

    @staticmethod
    def of(
        x: Any,
        y: Any,
        *,
        loss: Loss | str = "squared-error",
        penalty: Penalty | float | None = None,
        intercept: bool = True,
        sample_weight: Any = None,
        engine: Engine | None = None,
    ) -> Objective:
        """The objective of arrays: `x` of shape (rows, features), `y` and `sample_weight` (rows,).

        `loss`, `penalty`, `intercept` and `engine` are those of `fit`; of cross entropy `y` holds class numbers from
        0 on. Raises `ShapeError` where shapes do not fit and `DataError` where `y` is no target of the loss.
        """
        loss, x = as_loss(loss), check_matrix(x)
        y = check_column(y, "y", x.shape[0])
        loss.check_target(y)
        check_weighted(loss, sample_weight)
        sample_weight = None if sample_weight is None else check_sample_weight(sample_weight, x.shape[0])
        session = (engine or Threads()).open(ArraySource(x, y, sample_weight))
        outputs = loss.outputs(int(y.max()) + 1)
        return Objective.over(
            session, loss=loss, penalty=as_penalty(penalty), intercept=intercept, outputs=outputs
        )

    @staticmethod
    def over(
        session: Session,
        *,
        loss: Loss,
        penalty: Penalty,
        intercept: bool,
        outputs: int | None = None,
        moments: Moments | None = None,
    ) -> Objective:
        """The objective of an open `session`; `outputs` columns of weights where the loss has several.

        `loss` and `penalty` are objects; with `intercept` the last weight is one. `moments` are those of the columns
        where they have been summed already.
        """
        from descend.objectives.quadratic import Quadratic  # which is an Objective

        columns = len(session.source.feature_names)
        if isinstance(loss, SquaredError) and columns <= MOMENTS_COLUMNS:
            moments = session.reduce(Moments) if moments is None else moments
            return Quadratic.from_moments(moments, penalty, intercept, session)
        shape = (columns + intercept,) if outputs is None else (columns + intercept, outputs)
        made = Summed(session, loss, penalty, intercept, shape)
        if moments is not None:
            made.moments = moments
        return made

    def value(self, w: Float) -> float:
        """`F(w)` at `w`, of shape `shape`; at the weights of the last evaluation it costs nothing."""
        w = self._as_weights(w)
        for last in (self._last, self._last_value):
            if last is not None and np.array_equal(last[0], w):
                return last[1]
        self._last_value = (w.copy(), self._value(w))
        return self._last_value[1]

    @abstractmethod
    def _value(self, w: Float) -> float:
        """`F(w)`."""

    def value_and_gradient(self, w: Float) -> tuple[float, Float]:
        """`F(w)` and its gradient, shaped as `w`, from one pass; asked again at the same `w`, from none."""
        w = self._as_weights(w)
        if self._last is None or not np.array_equal(self._last[0], w):
            self._last = (w.copy(), *self._evaluate(w))
        return self._last[1], self._last[2].copy()

    @abstractmethod
    def _evaluate(self, w: Float) -> tuple[float, Float]:
        """`F(w)` and its gradient."""

    def gradient(self, w: Float) -> Float:
        """The gradient at `w` alone, shaped as `w`; a copy that the caller may change."""
        return self.value_and_gradient(w)[1]

    @property
    def safe_rate(self) -> float:
        """A learning rate at which gradient descent does not diverge: 1 / `curvature_bound`."""
        return 1.0 / (self.curvature_bound or 1.0)

    @abstractmethod
    def hessian(self, w: Float) -> Float:
        """The second derivatives, of shape (w.size, w.size); asked again at the same `w`, from no pass."""

    @property
    @abstractmethod
    def curvature_bound(self) -> float:
        """An upper bound of the largest eigenvalue of the Hessian at any weights."""

    @property
    @abstractmethod
    def constant_loss(self) -> float:
        """The loss of the best constant prediction, without features."""

    def zeros(self) -> Float:
        """Weights of the right shape to start from."""
        return np.zeros(self.shape)

    def check_weights(self, weights: Any, name: str = "start") -> Float:
        """A float64 copy of `weights`, which an error calls `name`.

        Raises `ShapeError` where the shape is not `shape`, `DescendError` where it does not hold finite numbers.
        """
        try:
            w: Float = np.array(weights, dtype=np.float64)
        except (TypeError, ValueError):
            raise DescendError(f"`{name}` must hold numbers, one per weight, got {weights!r}.") from None
        if w.shape != self.shape:
            columns = self.shape[0] - self.intercept
            rule = f"one weight per feature ({columns})" + (
                " and the intercept last" if self.intercept else ""
            )
            if len(self.shape) == 2:
                rule += f", for each of {self.shape[1]} classes"
            raise ShapeError(
                f"`{name}` has shape {w.shape}, but the weights have shape {self.shape}: {rule}."
            )
        if not np.isfinite(w).all():
            raise DescendError(f"`{name}` holds NaN or infinity.")
        return w

    def _as_weights(self, w: Any) -> Float:
        """`w` as it is where it has the right shape, a list as an array; anything else is a `ShapeError`."""
        return w if getattr(w, "shape", None) == self.shape else self.check_weights(w, "weights")

    def _penalised(self, w: Float) -> Float:
        return w[:-1] if self.intercept else w

    def _add_penalty(self, w: Float, gradient: Float) -> float:
        """Add the penalty's gradient in place; return its value."""
        if self.penalty.is_zero:
            return 0.0
        v = self._penalised(w)
        gradient[: len(v)] += self.penalty.gradient(v)
        return self.penalty.value(v)

    def _penalty_curvature(self, w: Float) -> Float:
        """The diagonal that the penalty adds to the Hessian."""
        d = np.zeros(w.shape)
        v = self._penalised(w)
        d[: len(v)] = self.penalty.curvature(v)
        return np.ravel(d)


@dataclass(eq=False)
class Summed(Objective):
    """Summed over the blocks at every evaluation: one pass each."""

    session: Session
    loss: Loss
    penalty: Penalty
    intercept: bool
    shape: tuple[int, ...]

    def _value(self, w: Float) -> float:
        _, weight, total = self._counted(self.session.reduce(LossSum(self.loss, self.intercept), w))
        return float(total / weight) + self.penalty.value(self._penalised(w))

    def _evaluate(self, w: Float) -> tuple[float, Float]:
        sums = self._counted(self.session.reduce(LossAndGradient(self.loss, self.intercept), w))
        gradient = (sums[3:] / sums[1]).reshape(w.shape)
        return float(sums[2] / sums[1]) + self._add_penalty(w, gradient), gradient

    def hessian(self, w: Float) -> Float:
        if self._last_hessian is None or not np.array_equal(self._last_hessian[0], w):
            H = self.session.reduce(HessianSum(self.loss, self.intercept), w) / self.weight
            H[np.diag_indices_from(H)] += self._penalty_curvature(w)
            self._last_hessian = w.copy(), H
        return self._last_hessian[1].copy()

    @cached_property
    def sample(self) -> Summed | None:  # type: ignore[override]
        """Every eighth leaf, of 64 or more."""
        leaves = self.session.source.leaf_count
        if leaves < MANY_LEAVES or getattr(self.session, "takes_all", False):
            return None
        some = SomeLeaves(self.session, range(0, leaves, EVERY))
        return Summed(some, self.loss, self.penalty, self.intercept, self.shape)

    @cached_property
    def moments(self) -> Moments:
        """The moments of the columns: one pass."""
        return self.session.reduce(Moments)

    @cached_property
    def rank(self) -> int | None:
        """The columns less those that are combinations of others."""
        from descend.objectives.quadratic import Quadratic

        return Quadratic.from_moments(self.moments, self.penalty, self.intercept, self.session).rank

    @cached_property
    def curvature_bound(self) -> float:
        """`loss.curvature_bound * lambda_max(X'X / n) + penalty`: the loss is no more curved than that.

        On many columns the trace, the mean squared length of a row, stands in for the eigenvalue.
        """
        if len(self.session.source.feature_names) <= MOMENTS_COLUMNS:
            largest = _largest_eigenvalue(self.moments, self.intercept)
        else:
            weight, total, _ = self.session.reduce(RowNorms(self.intercept))
            largest = float(total / weight)
        return self.loss.curvature_bound * largest + float(self._penalty_curvature(self.zeros()).max())

    @cached_property
    def constant_loss(self) -> float:
        w = np.zeros((len(self.session.source.feature_names) + 1, *self.shape[1:]))
        sums = self.session.reduce(TargetSum(self.shape[1] if isinstance(self.loss, CrossEntropy) else None))
        w[-1:] = self.loss.link.of(sums[1:] / sums[0])
        _, weight, total = self.session.reduce(LossSum(self.loss, True), w)
        return float(total / weight)

    def _counted(self, sums: Float) -> Float:
        """The sums of a pass, its rows and weights noted."""
        if sums[1] <= 0:
            raise DataError("the sample weights sum to zero: no row counts.")
        self._totals = int(sums[0]), float(sums[1])
        return sums

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self._total()[0]

    @property
    def weight(self) -> float:  # type: ignore[override]
        return self._total()[1]

    def _total(self) -> tuple[int, float]:
        if self._totals is None:
            self.value(self.zeros())  # where most walks start
        assert self._totals is not None
        return self._totals

    _totals: tuple[int, float] | None = field(default=None, init=False)
    _last_hessian: tuple[Float, Float] | None = field(default=None, init=False)


def _largest_eigenvalue(m: Moments, intercept: bool) -> float:
    """Of `X'X / n`, `X` ending in a column of ones where there is an intercept."""
    S = m.uncentred()[:-1, :-1] / m.weight
    if intercept:
        border = (m.mean + m.mean_low)[:-1]
        S = np.block([[S, border[:, None]], [border[None, :], np.ones((1, 1))]])
    return float(np.linalg.eigvalsh(S)[-1])
