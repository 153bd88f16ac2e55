"""The objective: mean loss over all rows plus the penalty, as a function of the weights.

`F(w) = sum_i s_i loss(z_i, y_i) / sum_i s_i + penalty(w)` with `z = X @ w`, plus the intercept,
which is the **last** weight and never penalised. Weights have shape (features,) or (features,
outputs), features counting the intercept. `Objective.of` picks the form: squared error on few
enough columns collapses to its moments (`Quadratic`), everything else is summed over the blocks at
every evaluation (`Summed`).
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from descend.engines.arrays import (
    ArraySource,
    check_column,
    check_matrix,
    check_offset,
    check_sample_weight,
    check_tiny,
    roundings,
)
from descend.engines.engine import Engine, Session, SomeLeaves, Threads
from descend.engines.matrix import Array, Float
from descend.engines.moments import MeanSquares, Moments
from descend.errors import DataError, DescendError, DescendWarning, ShapeError
from descend.objectives.coordinates import ColumnSums, Coordinates, InCoordinates, Rescaled
from descend.objectives.curvatures import CurvatureMoments, Curvatures, Information, Root, of_outputs
from descend.objectives.least_squares import Standard, spans_constant
from descend.objectives.losses import Loss, as_loss, check_shifted, check_weighted
from descend.objectives.newton_steps import (
    NEGLIGIBLE,
    NewtonStep,
    newton_decrement,
    newton_steps,
    root_about_means,
)
from descend.objectives.penalties import L2, Penalty, as_penalty
from descend.objectives.statistics import (
    BestSum,
    HessianSum,
    LargestCurvature,
    LossAndGradient,
    LossSum,
    OnColumns,
    RowNorms,
    TargetSum,
    best_constant,
    constant_predictor,
)

if TYPE_CHECKING:
    from descend.objectives.quadratic import Quadratic

GRADIENT, HESSIAN, CLOSED_FORM, SMOOTH_PENALTY = "gradient", "hessian", "closed form", "smooth penalty"
"""What an objective may have and an optimizer may need."""
MOMENTS_COLUMNS = 2_048
"""Up to this many columns squared error is collapsed to moments (32 MiB of cross products)."""
EXCESS_WEIGHTS, ASIDE = 512, 1e-4
"""Up to so many weights a Hessian is worth a bound; how far the intercept is moved to tell its curvature."""
MANY_LEAVES, EVERY = 64, 8
"""Of so many leaves, every so many are a sample."""


def has_closed_form(loss: Loss, columns: int) -> bool:
    """Whether `Objective.over` so many columns is a `Quadratic`, whose moments tell all there is.

    >>> from descend.objectives.losses import LOSSES
    >>> has_closed_form(LOSSES["squared-error"], 10), has_closed_form(LOSSES["logistic"], 10)
    (True, False)
    """
    return loss.closed_form and columns <= MOMENTS_COLUMNS


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
    session: Session
    """Where the rows are; `NoRows` where nothing but moments is left."""
    moments: Moments | None
    """The moments of the columns and the target, by weight: known, or a pass when first asked for.

    None where the weights are not in the units of the rows, and of one batch."""
    rank: int | None = None
    """The columns less those that are combinations of others; None where that is not known."""
    exact: ClassVar[bool] = False
    """Whether the loss is a quadratic whose minimum and curvatures are known without a look at the rows.

    With its penalty it has a closed form where `offers` says so."""
    whole: ClassVar[bool] = True
    """Whether it is over all rows, rather than over one mini-batch."""
    share: float = 1.0
    """The share of the rows that it is over."""
    sample: Objective | None = None
    """The same over some of the rows, where these are many and can be had by themselves."""
    coordinates: Coordinates | None = None
    """Those that the weights are in, None where they are in the units of the rows."""
    _last: tuple[Float, float, Float] | None = None
    _last_value: tuple[Float, float] | None = None
    _last_step: tuple[Float, NewtonStep] | None = None

    @staticmethod
    def of(
        x: Any,
        y: Any,
        *,
        loss: Loss | str = "squared-error",
        penalty: Penalty | float | None = None,
        intercept: bool = True,
        sample_weight: Any = None,
        offset: Any = None,
        engine: Engine | None = None,
    ) -> Objective:
        """The objective of arrays: `x` of shape (rows, features), `y`, `sample_weight` and `offset` (rows,).

        `loss`, `penalty`, `intercept` and `engine` are those of `fit`; of cross entropy `y` holds class numbers from
        0 on. Raises `ShapeError` where shapes do not fit and `DataError` where `y` is no target of the loss.
        """
        loss, x = as_loss(loss), check_matrix(x)
        y = check_column(y, "y", x.shape[0])
        for sentence in roundings(x, None if loss.has_classes else y):
            warnings.warn(sentence, DescendWarning, stacklevel=2)
        loss.check_target(y)
        if not loss.has_classes:
            check_tiny(y, "y")
        check_weighted(loss, sample_weight)
        sample_weight = None if sample_weight is None else check_sample_weight(sample_weight, x.shape[0])
        check_shifted(loss, offset)
        offset = None if offset is None else check_offset(offset, x.shape[0])
        session = (engine or Threads()).open(ArraySource(x, y, sample_weight, offset=offset))
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
        from descend.objectives.quadratic import Quadratic  # itself an Objective: the one late import

        columns = len(session.source.feature_names)
        if has_closed_form(loss, columns):
            moments = session.reduce(Moments) if moments is None else moments
            return Quadratic.from_moments(moments, penalty, intercept, session)
        shape = (columns + intercept,) if outputs is None else (columns + intercept, outputs)
        made = Summed(session, loss, penalty, intercept, shape)
        if moments is not None:
            made.moments = moments
        return made

    @property
    def offers(self) -> frozenset[str]:
        """What an optimizer may need of it that it has: `Optimizer.needs` names the same."""
        return frozenset({GRADIENT, HESSIAN} | ({SMOOTH_PENALTY} if self.penalty.smooth else set()))

    @property
    @abstractmethod
    def unpenalised(self) -> Objective:
        """The mean loss alone, over the same rows."""

    @abstractmethod
    def with_penalty(self, penalty: Penalty) -> Objective:
        """The same mean loss over the same rows, with another `penalty`, of the weights of the descent."""

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
        """`F(w)` and its gradient, shaped as `w`, from one pass; asked again at the same `w`, from none.

        Of a penalty with kinks it is the shortest subgradient, which is zero at the minimum too.
        """
        w = self._as_weights(w)
        if self._last is None or not np.array_equal(self._last[0], w):
            self._last = (w.copy(), *(self._evaluate(w) if self.penalty.smooth else self._with_kinks(w)))
        return self._last[1], self._last[2].copy()

    def _with_kinks(self, w: Float) -> tuple[float, Float]:
        """`F(w)` and its shortest subgradient, where the penalty has kinks; what is smooth is evaluated by itself."""
        loss, gradient = self.unpenalised.value_and_gradient(w)
        return loss + self.add_penalty(w, gradient), gradient

    @abstractmethod
    def _evaluate(self, w: Float) -> tuple[float, Float]:
        """`F(w)` and its gradient."""

    def gradient(self, w: Float) -> Float:
        """The gradient at `w` alone, shaped as `w`; a copy that the caller may change."""
        return self.value_and_gradient(w)[1]

    def deviance(self, loss: float) -> float:
        """How far a mean `loss` is above the best that the rows allow: relative thresholds are shares of it.

        That is the loss itself where its best is 0. The loss of counts may be zero or negative.
        """
        return abs(loss - self.best_loss)

    def magnitude(self, loss: float) -> float:
        """The size of what a mean `loss` is summed of: its rounding is a share of it."""
        return self.deviance(loss) + abs(self.best_loss)

    @cached_property
    def best_loss(self) -> float:
        """The mean of the best loss that each row can have, `loss.best`: 0 for most losses, else one pass."""
        if self.loss.best_is_zero:
            return 0.0
        weight, total = self.session.reduce(BestSum(self.loss))
        return float(total / weight)

    @property
    def safe_rate(self) -> float:
        """A learning rate at which gradient descent does not diverge: 1 / `expected_curvature`.

        Where the curvature has no bound it is one to begin with; the optimizers search from there.
        """
        return 1.0 / (self.expected_curvature or 1.0)

    @property
    def searches(self) -> bool:
        """Whether no bound of the curvature holds, so that a learning rate has to be searched for."""
        return self.loss.curvature_bound == inf

    @property
    def may_separate(self) -> bool:
        """Whether rows that can be told apart would leave it without a minimum: of some losses, without a penalty."""
        return bool(self.loss.separable) and self.penalty.is_zero and self.session.has_rows

    @property
    def row_curvature(self) -> float:
        """The largest curvature of a row that a learning rate is made for.

        `loss.curvature_bound`, or where there is none the largest at weights of zero and at the best constant
        prediction, between which a descent begins.
        """
        return self._searched_curvature if self.searches else self.loss.curvature_bound

    @cached_property
    def _searched_curvature(self) -> float:
        w = np.zeros((len(self.session.source.feature_names) + 1, *self.shape[1:]))
        statistic, found = LargestCurvature(self.loss), [0.0]
        for z in (0.0, self.loss.link.of(self.constant)):
            w[-1:] = z
            found.append(float(self.session.reduce(statistic, w)[0]))
        return max(found) or 1.0

    @abstractmethod
    def hessian(self, w: Float) -> Float:
        """The second derivatives, of shape (w.size, w.size); asked again at the same `w`, from no pass."""

    @abstractmethod
    def hessian_on(self, w: Float, columns: Array, units: Coordinates) -> Float:
        """The second derivatives at `w` by the weights of some `columns` and the intercept, in other `units`.

        The weights of other columns must be zero, and so count for nothing: rows are looked at in these columns alone.
        """

    @property
    def curvature_bound(self) -> float:
        """An upper bound of the largest eigenvalue of the Hessian at any weights; infinity where there is none."""
        return inf if self.searches else self.expected_curvature

    @property
    @abstractmethod
    def expected_curvature(self) -> float:
        """`curvature_bound`, or where there is none that of rows whose curvature is `row_curvature`."""

    @property
    @abstractmethod
    def constant(self) -> Float:
        """The mean target, or the share of each class, one number each; beside an offset the mean where that is zero."""

    @cached_property
    def has_constant(self) -> bool:
        """Whether some weights predict the same number for every row: an intercept, or columns that make up for it."""
        if self.intercept:
            return True
        m = self.moments if self.shape[0] <= MOMENTS_COLUMNS else None
        return m is not None and spans_constant(m)

    @property
    @abstractmethod
    def constant_loss(self) -> float:
        """The loss of the best constant prediction, without features."""

    def minimum(self) -> Float:
        """The weights of the minimum in closed form. Raises `DescendError` where there is none: see `exact`.

        >>> Objective.of([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).minimum().round(9).tolist()
        [2.0, 1.0]
        """
        raise DescendError(
            f"there is no closed form of the minimum: that takes squared error on at most {MOMENTS_COLUMNS:,} columns, "
            f"but the loss is {self.loss.name} on {self.shape[0]} weights. Walk there: descend.steps(objective)."
        )

    def newton_steps(self, w: Float) -> Iterator[NewtonStep]:
        """Steps of Newton's method at `w`, the most precise first, of minimum norm in units of curvature."""
        return newton_steps(self, w)

    def newton_step(self, w: Float) -> NewtonStep:
        """The most precise of them; asked again at the same `w`, from no pass."""
        if self._last_step is None or not np.array_equal(self._last_step[0], w):
            self._last_step = (w.copy(), next(self.newton_steps(w)))
        return self._last_step[1]

    def lost(self, w: Float) -> tuple[float, int]:
        """What rounding may leave open of a minimum `w` beside what a step there tells: the largest share, and of which weight."""
        return 0.0, 0

    def excess(self, w: Float) -> float:
        """How far `F(w)` is above its minimum: exact in closed form, else the Newton decrement.

        `g' H^-1 g / 2`, what a Newton step would gain; infinity where rounding, or a plateau that rows far away
        make, hides how much that is. Boyd and Vandenberghe, Convex Optimization (2004), section 9.5.1. Where the
        penalty has kinks it is at most that, `g` being the shortest subgradient, or what `Penalty.gap` tells.

        >>> objective = Objective.of([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1], loss="logistic")
        >>> round(objective.excess(np.array([0.8, -1.2])), 5)
        0.00124
        """
        if self.penalty.smooth:
            return newton_decrement(self, w)
        bound = self._excess_at_most(w)
        if w.size > EXCESS_WEIGHTS or bound <= 1e-2 * NEGLIGIBLE * self.deviance(self.value(w)):
            return bound
        return min(bound, newton_decrement(self, w))

    def _excess_at_most(self, w: Float) -> float:
        """What the penalty tells of the excess; infinity where that is nothing.

        What the intercept, which has no penalty, would gain is told by the curvature along it: a pass.
        """
        value, s = self.value_and_gradient(w)
        p = len(self.penalised(w))
        bound, slope = self.penalty.gap(w[:p], s[:p], self.deviance(value)), s[p:]
        steep, about = float(np.abs(slope).max(initial=0.0)), self.unpenalised.gradient(w)
        if not np.isfinite(bound) or steep <= 1e-12 * float(np.abs(about).max()):
            return bound
        aside = w.copy()
        aside[p:] -= ASIDE / steep * slope
        bent = float(np.vdot(slope - self.unpenalised.gradient(aside)[p:], slope)) * steep / ASIDE
        return bound + 0.5 * float(np.vdot(slope, slope)) ** 2 / bent if bent > 0 else inf

    def curvatures(self, w: Float) -> Curvatures:
        """The curvatures at `w`: how fast the loss bends along each principal direction. See `curvatures_in`.

        >>> Objective.of([[-1.0], [1.0]], [0.0, 3.0]).curvatures(np.zeros(2)).values.round(9).tolist()
        [2.0, 2.0]
        """
        columns = self.shape[0] - self.intercept
        return self.curvatures_in(w, [Coordinates.given(columns, self.intercept)])[0]

    def curvatures_in(self, w: Float, several: Sequence[Coordinates]) -> list[Curvatures]:
        """The curvatures at `w` in `several` units `x` of which the columns are `u = (x - centre) / scale`.

        They are the eigenvalues of the Hessian there, found from a root of it, which keeps the digits of small ones.
        One pass, of squared error none.
        """
        ridge = None if self.penalty.is_zero else self.penalty_curvature(w)
        if w.ndim == 2:
            A, mean = root_about_means(self if self.penalty.is_zero else self.unpenalised, w)
            return [of_outputs(A / np.sqrt(self.weight), mean, self.shape, to, ridge) for to in several]
        root = self._root(w)
        return [root.curvatures(to, ridge) for to in several]

    def _root(self, w: Float) -> Root:
        """A root of the Hessian of the loss at `w`, with one output."""
        m = self.session.reduce(CurvatureMoments(self.loss, self.intercept), w)
        return Root.of_moments(m, self.intercept, m.weight / self.weight)

    def spread(self) -> tuple[Float, Float]:
        """The mean and the variance of each column, by weight: from moments where these are cheap, else a pass."""
        if self.shape[0] <= MOMENTS_COLUMNS and (m := self.moments) is not None:
            return (m.mean + m.mean_low)[:-1], m.cross.diagonal()[:-1] / m.weight
        weight, sums = np.split(self.session.reduce(ColumnSums()), [1])
        mean, square = np.split(sums / weight, 2)
        return mean, square - mean**2

    def in_coordinates(self, coordinates: Coordinates) -> Objective:
        """The same objective as a function of weights in other coordinates; the penalty acts where it did."""
        return Standardised(self, coordinates)

    def information(self, w: Float) -> Information:
        """The Hessian of the total loss at `w` about the means of the columns, inverted: a pass or two.

        The observed information where the loss is the negative logarithm of a likelihood. McCullagh and Nelder,
        Generalized Linear Models (1989), section 4.4. Without the penalty.
        """
        A, mean = root_about_means(self if self.penalty.is_zero else self.unpenalised, w)
        return Information.of_root(A, mean)

    def of_minimum_norm(self, w: Float) -> Float:
        """Of all weights that fit as `w` does, those nearest to zero; `w` itself where that is not known to differ."""
        return w

    def without_rows(self) -> Quadratic | None:
        """The same from moments alone, for whoever keeps it when the rows are gone; None where it needs them."""
        return None

    def mean_squares(self, w: Float, constant: float) -> MeanSquares | None:
        """The mean squares behind R2 and RMSE at `w`, without the penalty, beside predicting `constant`.

        None where they are not known from moments.
        """
        return None

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
        return w if isinstance(w, np.ndarray) and w.shape == self.shape else self.check_weights(w, "weights")

    def penalised(self, w: Float) -> Float:
        """The weights that the penalty acts on, a view of `w`: all but the intercept."""
        return w[:-1] if self.intercept else w

    def penalty_value(self, w: Float) -> float:
        """The penalty's part of the value at `w`."""
        return self.penalty.value(self.penalised(w))

    def penalty_gradient(self, w: Float) -> Float:
        """The penalty's part of the gradient at `w`, shaped as `w`, zero at the intercept."""
        gradient = np.zeros(w.shape)
        v = self.penalised(w)
        gradient[: len(v)] = self.penalty.gradient(v)
        return gradient

    def penalty_curvature(self, w: Float) -> Float:
        """The diagonal that the penalty adds to the Hessian at `w`, shape (w.size,), zero at the intercept."""
        d = np.zeros(w.shape)
        v = self.penalised(w)
        d[: len(v)] = self.penalty.curvature(v)
        return np.ravel(d)

    def add_penalty(self, w: Float, gradient: Float) -> float:
        """Add the penalty's gradient at `w` to a `gradient`, in place, of kinks what makes it shortest; return its value."""
        if self.penalty.is_zero:
            return 0.0
        v = self.penalised(w)
        if self.penalty.smooth:
            gradient[: len(v)] += self.penalty.gradient(v)
        else:
            gradient[: len(v)] = self.penalty.shortest(v, gradient[: len(v)])
        return self.penalty.value(v)

    def _with_curvature(self, H: Float, w: Float, columns: Array, scale: Float) -> Float:
        """`H` plus what the penalty adds to the weights of these columns, in units of `scale`, in place."""
        v = self.penalty.curvature(self.penalised(w))[columns]
        d = np.ravel((v.T / scale**2).T)
        H[np.arange(d.size), np.arange(d.size)] += d
        return H


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
        return float(total / weight) + self.penalty_value(w)

    def _evaluate(self, w: Float) -> tuple[float, Float]:
        sums = self._counted(self.session.reduce(LossAndGradient(self.loss, self.intercept), w))
        gradient = (sums[3:] / sums[1]).reshape(w.shape)
        return float(sums[2] / sums[1]) + self.add_penalty(w, gradient), gradient

    def hessian(self, w: Float) -> Float:
        if self._last_hessian is None or not np.array_equal(self._last_hessian[0], w):
            H = self.session.reduce(HessianSum(self.loss, self.intercept), w) / self.weight
            H[np.diag_indices_from(H)] += self.penalty_curvature(w)
            self._last_hessian = w.copy(), H
        return self._last_hessian[1].copy()

    def hessian_on(self, w: Float, columns: Array, units: Coordinates) -> Float:
        some, there = units.on(columns), units.to_descent(w)
        kept = np.concatenate([there[columns], there[len(there) - self.intercept :]])
        statistic = OnColumns(
            InCoordinates(HessianSum(self.loss, self.intercept), some), tuple(columns.tolist())
        )
        H: Float = self.session.reduce(statistic, kept) / self.weight
        return self._with_curvature(H, w, columns, some.scale)

    @cached_property
    def unpenalised(self) -> Summed:
        return self.with_penalty(L2(0.0))

    def with_penalty(self, penalty: Penalty) -> Summed:
        made = Summed(self.session, self.loss, penalty, self.intercept, self.shape)
        if "moments" in self.__dict__:
            made.moments = self.moments
        return made

    @cached_property
    def sample(self) -> Summed | None:  # type: ignore[override]
        """Every eighth leaf, of 64 or more."""
        leaves = self.session.source.leaf_count
        if leaves < MANY_LEAVES or self.session.takes_all:
            return None
        some = SomeLeaves(self.session, range(0, leaves, EVERY))
        return Summed(some, self.loss, self.penalty, self.intercept, self.shape)

    @cached_property
    def moments(self) -> Moments:  # type: ignore[override]
        """One pass, which of very many columns is dear."""
        return self.session.reduce(Moments)

    @cached_property
    def rank(self) -> int | None:  # type: ignore[override]
        """From the moments, and where they are not enough another pass."""
        return Standard.of(self.moments, self.intercept, self.session).least.rank

    @cached_property
    def expected_curvature(self) -> float:
        """`row_curvature * lambda_max(X'X / n) + penalty`: with a bound the loss is no more curved than that.

        On many columns the trace, the mean squared length of a row, stands in for the eigenvalue.
        """
        if len(self.session.source.feature_names) <= MOMENTS_COLUMNS:
            largest = _largest_eigenvalue(self.moments, self.intercept)
        else:
            weight, total, _ = self.session.reduce(RowNorms(self.intercept))
            largest = float(total / weight)
        return self.row_curvature * largest + float(self.penalty_curvature(self.zeros()).max())

    @cached_property
    def constant(self) -> Float:
        if self.session.source.has_offset:
            return np.array([best_constant(self.session, self.loss)])
        sums = self.session.reduce(TargetSum(self.shape[1] if self.loss.kind == "classes" else None))
        return np.asarray(sums[1:] / sums[0])

    @cached_property
    def constant_loss(self) -> float:
        if self.loss.has_classes and not self.session.source.has_offset:  # told by the shares of the classes
            constant = (
                self.constant
                if len(self.constant) > 1
                else np.array([1.0 - self.constant[0], self.constant[0]])
            )
            z = np.repeat(constant_predictor(self.loss, constant)[None, :], len(constant), axis=0)
            z = z if len(self.shape) == 2 else z[:, 0]
            return float(constant @ self.loss.value(z, np.arange(len(constant), dtype=np.float64)))
        w = np.zeros((len(self.session.source.feature_names) + 1, *self.shape[1:]))
        w[-1:] = self.loss.link.of(self.constant)
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
        if not self.penalty.smooth:
            return self.unpenalised._total()
        if self._totals is None:
            self.value(self.zeros())  # where most walks start
        assert self._totals is not None
        return self._totals

    _totals: tuple[int, float] | None = field(default=None, init=False)
    _last_hessian: tuple[Float, Float] | None = field(default=None, init=False)


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
        self.penalty = Rescaled(self.inner.penalty, self.coordinates.scale)

    @cached_property
    def unpenalised(self) -> Standardised:
        return Standardised(self.inner.unpenalised, self.coordinates)

    def with_penalty(self, penalty: Penalty) -> Standardised:
        return Standardised(self.inner.with_penalty(penalty), self.coordinates)

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

    def hessian_on(self, w: Float, columns: Array, units: Coordinates) -> Float:
        return self.inner.hessian_on(self.coordinates.to_original(w), columns, units.after(self.coordinates))

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
    def expected_curvature(self) -> float:
        """As `Summed.expected_curvature`, of the rows in these coordinates."""
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
        return self.row_curvature * largest + float(self.penalty_curvature(self.zeros()).max())

    def newton_steps(self, w: Float) -> Iterator[NewtonStep]:
        """Those in the units of the rows: a step is the same in any coordinates."""
        for step in self.inner.newton_steps(self.coordinates.to_original(w)):
            chord = partial(_chord_there, step.chord, self.coordinates)
            yield step._replace(move=self.coordinates.to_descent(step.move), chord=chord)

    def curvatures_in(self, w: Float, several: Sequence[Coordinates]) -> list[Curvatures]:
        if w.ndim == 2:
            return super().curvatures_in(w, several)
        back = self.coordinates.inverse
        return self.inner.curvatures_in(self.coordinates.to_original(w), [back.after(to) for to in several])

    @property
    def constant(self) -> Float:
        return self.inner.constant

    @property
    def best_loss(self) -> float:
        return self.inner.best_loss

    @property
    def row_curvature(self) -> float:
        return self.inner.row_curvature

    @property
    def constant_loss(self) -> float:
        return self.inner.constant_loss

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.inner.rows

    @property
    def weight(self) -> float:  # type: ignore[override]
        return self.inner.weight


def _chord_there(chord: Callable[[Float], Float], units: Coordinates, w: Float) -> Float:
    """The step of a chord in these coordinates."""
    return units.to_descent(chord(units.to_original(w)))


def _largest_eigenvalue(m: Moments, intercept: bool) -> float:
    """Of `X'X / n`, `X` ending in a column of ones where there is an intercept."""
    S = m.uncentred()[:-1, :-1] / m.weight
    if intercept:
        border = (m.mean + m.mean_low)[:-1]
        S = np.block([[S, border[:, None]], [border[None, :], np.ones((1, 1))]])
    return float(np.linalg.eigvalsh(S)[-1])
