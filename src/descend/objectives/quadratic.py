"""Squared error as a quadratic about its minimum: no evaluation reads a row."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from descend.engines.engine import NoRows, Session
from descend.engines.matrix import Array, Float
from descend.engines.moments import MeanSquares, Moments
from descend.errors import DataError, DescendError
from descend.objectives.coordinates import Coordinates, Rescaled
from descend.objectives.curvatures import Information, Root
from descend.objectives.least_squares import ROUNDING, Standard, errors_of, shortest
from descend.objectives.losses import LOSSES, Loss
from descend.objectives.newton_steps import CHANCE, NewtonStep
from descend.objectives.objective import CLOSED_FORM, Objective
from descend.objectives.penalties import L2, Penalty
from descend.objectives.statistics import LossAndGradient, ResidualProducts

SMALL = 1e-7
"""What a weight counts for at least, as a share of what would move the predictions as far as the target spreads."""
AVERAGED = 4.0
"""Rounding of n rows is that of one over the square root of n, and of so many times that hardly ever more."""
POLISHES, SAME = 2, 1e-9
"""Steps of refinement by extended residuals, where rows are few; and a share of the loss above its least that is none."""


@dataclass(eq=False)
class Quadratic(Objective):
    """Squared error as a quadratic about its minimum: no evaluation reads a row.

    With `S` the (centred) cross products, `R'R = S` and `w*` the least-squares solution of minimum
    norm in standardised units, `F(w) = residual + |R (w - w*)|**2 / n + (mean residual)**2`. Written
    so, the loss is never negative and keeps its relative precision near the minimum.
    """

    moments: Moments
    factor: Float
    """`R`, upper triangular or at least square: `R.T @ R` are the cross products of the columns."""
    projected: Float
    """`R w*`, which has digits that those of large weights would lose."""
    solution: Float
    """`w*` without the intercept."""
    residual: float
    """The mean squared error at `w*`."""
    penalty: Penalty
    intercept: bool
    session: Session = field(default_factory=NoRows)
    rank: int | None = None
    rounding: float = 0.0
    """What rounding counts for in `solution`, as a share of each column; 0 where it does no harm."""
    exact: ClassVar[Literal[True]] = True
    _given: Quadratic | None = None
    """That in the units of the rows, where these are others."""

    def __post_init__(self) -> None:
        self.loss: Loss = LOSSES["squared-error"]
        self.shape = (self.solution.size + self.intercept,)
        self.rows, self.weight = self.moments.rows, self.moments.weight
        self._mean = (self.moments.mean + self.moments.mean_low)[:-1]
        self._cross = self.factor.T @ self.factor / self.moments.weight

    @staticmethod
    def from_moments(
        moments: Moments, penalty: Penalty, intercept: bool, session: Session | None = None
    ) -> Quadratic:
        """From moments; a `session` that has the rows allows the second pass where they are not enough."""
        if moments.weight <= 0:
            raise DataError("the sample weights sum to zero: no row counts.")
        session = session or NoRows()
        standard = Standard.of(moments, intercept, session)
        least, y_scale, x_scale = standard.least, standard.scale[-1], standard.scale[:-1]
        quadratic = Quadratic(
            moments,
            least.factor * x_scale * np.sqrt(moments.weight),
            least.projected * (y_scale * np.sqrt(moments.weight)),
            least.solution * y_scale / x_scale,
            float(least.residual * y_scale**2),
            penalty,
            intercept,
            session,
            least.rank,
            standard.rounding,
        )
        if (
            intercept and moments.constant_loss == 0
        ):  # the target is constant: other weights would be of rounding
            quadratic.solution = np.zeros_like(quadratic.solution)
            quadratic.projected = np.zeros_like(quadratic.projected)
        elif standard.unrefined:
            quadratic._refine(session, lambda g: least.solve(g / x_scale) / x_scale)
        elif standard.few:
            quadratic._polish(session, lambda g: least.solve(g / x_scale) / x_scale)
        return quadratic

    def _polish(self, session: Session, solve: Callable[[Float], Float]) -> None:
        """Steps of iterative refinement with residuals of more digits, for the last ones of few rows.

        Bjoerck, Numerical Methods for Least Squares Problems (1996), section 2.9.
        """
        m, columns = self.moments, self.solution.size
        nothing = np.zeros_like(m.mean)
        for _ in range(POLISHES):
            products = ResidualProducts(*((m.mean, m.mean_low) if self.intercept else (nothing, nothing)))
            sums = session.reduce(products, self.solution)
            g = np.asarray(sums[:columns], dtype=np.float64)
            self.solution = self.solution + solve(g) / self.weight
            if self.intercept:
                left = np.asarray(sums[columns:], dtype=np.float64) / self.weight
                m = replace(m, mean_low=m.mean_low + left)
        self.moments = m

    def _refine(self, session: Session, solve: Callable[[Float], Float]) -> None:
        """One step of iterative refinement: the gradient at `w*`, summed from the rows, tells what is left.

        The corrected seminormal equations: Bjoerck, Linear Algebra and its Applications 88/89 (1987). A
        triangular factor of very many columns would take a hundred times as long.
        """
        w = np.append(self.solution, self._mean_residual(self.solution)) if self.intercept else self.solution
        sums = session.reduce(LossAndGradient(self.loss, self.intercept), w)
        g = sums[3:-1] - self._mean * sums[-1] if self.intercept else sums[3:]
        move = -0.5 / self.weight * solve(g)
        self.solution = self.solution + move
        gain = self.factor @ move
        self.projected = self.projected + gain
        self.residual = max(float(sums[2] - gain @ gain) / self.weight, 0.0)

    @property
    def offers(self) -> frozenset[str]:
        return super().offers | ({CLOSED_FORM} if self.penalty.closed_form or self.penalty.is_zero else set())

    @cached_property
    def unpenalised(self) -> Quadratic:
        return self.with_penalty(L2(0.0))

    def with_penalty(self, penalty: Penalty) -> Quadratic:
        made = copy.copy(self)
        made.penalty, made._last, made._last_value = penalty, None, None
        for known in ("expected_curvature", "_minimum"):
            made.__dict__.pop(known, None)
        return made

    def _value(self, w: Float) -> float:
        return self.value_and_gradient(w)[0]

    def _evaluate(self, w: Float) -> tuple[float, Float]:
        v = w[:-1] if self.intercept else w
        distance = self._distance(v)
        value = self.residual + float(distance @ distance) / self.moments.weight
        gradient = np.empty(w.shape)
        gradient[: len(v)] = 2.0 / self.moments.weight * (self.factor.T @ distance)
        if self.intercept:
            residual = self._mean_residual(v) - float(w[-1])
            value += residual * residual  # `**` would raise where it overflows
            gradient[:-1] -= 2.0 * residual * self._mean
            gradient[-1] = -2.0 * residual
        return value + self.add_penalty(w, gradient), gradient

    def _distance(self, v: Float) -> Float:
        """`R (v - w*)`, by what is smaller: where columns nearly follow from others, `w*` may be very large."""
        there = v - self.solution
        if self.rounding and np.abs(self._lengths * there).max() > np.abs(self._lengths * v).max():
            return np.asarray(self.factor @ v - self.projected)
        return np.asarray(self.factor @ there)

    @cached_property
    def _lengths(self) -> Float:
        return np.asarray(np.sqrt(np.einsum("ij,ij->j", self.factor, self.factor)))

    def hessian(self, w: Float) -> Float:
        H = 2.0 * self._cross
        if self.intercept:
            m = self._mean
            H = np.block(
                [[H + 2.0 * np.outer(m, m), 2.0 * m[:, None]], [2.0 * m[None, :], np.full((1, 1), 2.0)]]
            )
        H[np.diag_indices_from(H)] += self.penalty_curvature(w)
        return H

    def hessian_on(self, w: Float, columns: Array, units: Coordinates) -> Float:
        some = units.on(columns)
        H = 2.0 * self._cross[np.ix_(columns, columns)] / np.outer(some.scale, some.scale)
        if self.intercept:
            m = (self._mean[columns] - some.centre) / some.scale
            H = np.block(
                [[H + 2.0 * np.outer(m, m), 2.0 * m[:, None]], [2.0 * m[None, :], np.full((1, 1), 2.0)]]
            )
        return self._with_curvature(H, w, columns, some.scale)

    @cached_property
    def expected_curvature(self) -> float:
        """The largest eigenvalue of the Hessian, which is the same everywhere."""
        return float(np.linalg.eigvalsh(self.hessian(self.zeros()))[-1])

    @property
    def constant(self) -> Float:
        return (self.moments.mean + self.moments.mean_low)[-1:]

    @property
    def constant_loss(self) -> float:
        return self.moments.constant_loss

    def minimum(self) -> Float:
        """The weights that minimise the penalised objective, by the orthogonal factor.

        Solves `min |R (v - w*)|**2 / n + penalty(v)`; the intercept follows from the means. Raises `DescendError`
        where the penalty is no sum of squares, so that there is no such formula.
        """
        if CLOSED_FORM not in self.offers:
            raise DescendError(
                f"squared error with `penalty` {self.penalty.name} has no minimum in closed form."
            )
        return self._minimum.copy()

    @cached_property
    def _minimum(self) -> Float:
        v = self.solution
        if not self.penalty.is_zero:
            root = np.sqrt(0.5 * self.moments.weight * self.penalty.curvature(v))
            A = np.vstack([self.factor, np.diag(root)])
            b = np.concatenate([self.projected, np.zeros(v.size)])
            v = np.linalg.lstsq(A, b, rcond=None)[0]
        return np.append(v, self._mean_residual(v)) if self.intercept else v

    def newton_step(self, w: Float) -> NewtonStep:
        if CLOSED_FORM not in self.offers:
            return super().newton_step(w)
        move, columns = self._way_to_minimum(w), self.solution.size
        m, steep = self._mean if self.intercept else np.zeros(columns), np.full(w.shape, 2.0)
        steep[:columns] = 2.0 * (self._cross.diagonal() + m * m) + self.penalty_curvature(w)[:columns]
        if self.coordinates is not None:
            steep[:columns] *= self.coordinates.scale**2
        return NewtonStep(move, float(self.gradient(w) @ move), True, steep, self._way_to_minimum)

    def _way_to_minimum(self, w: Float) -> Float:
        """From `w` to the nearest of the weights that fit best, in these units; to the shortest where those are so long that
        the digits of the loss are lost.
        """
        best, columns = self.minimum(), self.solution.size
        move = best - w
        if self.penalty.is_zero and self.rank != columns and self.rank is not None and move.any():
            v = shortest(self.factor, self.rank, move[:columns])
            near = np.append(v, self._mean_residual(w[:columns] + v) - w[-1]) if self.intercept else v
            least = self.value(best)
            if self.value(w + near) <= least + SAME * max(least, self.value(w) - least):
                return near
        return move

    def lost(self, w: Float) -> tuple[float, int]:
        if self._given is not None and self.coordinates is not None:
            return self._given.lost(self.coordinates.to_original(w))
        columns = np.flatnonzero(w[: self.solution.size])
        if self.rounding == 0.0 or not len(columns):
            return 0.0, 0
        S = self.moments.cross if self.intercept else self.moments.uncentred()
        size = np.sqrt(np.maximum(S.diagonal(), 0.0) / self.weight)
        size = np.where(size > 0, size, 1.0)
        height, size = float(size[-1]), size[columns]
        error, rounding = self.value(w), self.rounding
        factor, v = self.factor[:, columns] / (size * np.sqrt(self.weight)), w[columns] * size / height
        if not self.penalty.is_zero:
            error, rounding = error - self.penalty_value(w), max(rounding, ROUNDING)
            factor = np.vstack([factor, np.diag(np.sqrt(0.5 * self.penalty_curvature(w)[columns]) / size)])
        residual = np.sqrt(max(error, 0.0)) / height
        told = residual * min(1.0, AVERAGED / np.sqrt(self.rows))
        off, chance = errors_of(factor, v, told, self._mean[columns] / size, rounding)
        there = np.append(v, w[-1] / height if self.intercept else np.inf)
        least = np.maximum(CHANCE * chance * residual / np.sqrt(self.rows), SMALL)
        shares = off / np.maximum(np.abs(there), least)
        worst = int(np.argmax(shares))
        return float(shares[worst]), int(np.append(columns, w.size - 1)[worst])

    def excess(self, w: Float) -> float:
        if CLOSED_FORM not in self.offers:
            return super().excess(w)
        return max(self.value(w) - self.value(self.minimum()), 0.0)

    def _root(self, w: Float) -> Root:
        means = self._mean if self.intercept else None
        return Root(self.factor * np.sqrt(2.0 / self.weight), means, 2.0, self.rank)

    def in_coordinates(self, coordinates: Coordinates) -> Quadratic:
        m, s = self.moments, coordinates.scale
        wide, centre = np.append(s, 1.0), np.append(coordinates.centre, 0.0)
        moments = Moments(
            m.weight, m.rows, (m.mean - centre) / wide, m.mean_low / wide, m.cross / np.outer(wide, wide)
        )
        penalty = Rescaled(self.penalty, s)
        factor, solution = self.factor / s, self.solution * s
        made = Quadratic(
            moments,
            factor,
            self.projected,
            solution,
            self.residual,
            penalty,
            self.intercept,
            self.session,
            self.rank,
            self.rounding,
        )
        made.coordinates, made._given = coordinates, self
        return made

    def information(self, w: Float) -> Information:
        A, mean = np.sqrt(2.0) * self.factor, np.zeros(self.solution.size)
        if self.intercept:
            mean = self._mean
            A = np.block(
                [[A, np.zeros((len(A), 1))], [np.zeros((1, A.shape[1])), np.sqrt(2.0 * self.weight)]]
            )
        return Information.of_root(A, mean, None if self.rank is None else self.rank + self.intercept)

    def of_minimum_norm(self, w: Float) -> Float:
        """Where columns are collinear and nothing is penalised: what a vanishing penalty leads to, in these units."""
        columns = self.solution.size
        if not self.penalty.is_zero or self.rank is None or self.rank == columns:
            return w
        v = shortest(self.factor, self.rank, w[:columns])
        return np.append(v, w[-1] + self._mean @ (w[:-1] - v)) if self.intercept else v

    def without_rows(self) -> Quadratic:
        kept = copy.copy(self)
        kept.session = NoRows()
        return kept

    def mean_squares(self, w: Float, constant: float) -> MeanSquares:
        error = self.value(w) - self.penalty_value(w)
        m = self.moments
        return MeanSquares(
            m.rows,
            error,
            m.constant_loss + float(m.mean[-1] + m.mean_low[-1] - constant) ** 2,
            m.constant_loss,
        )

    def _mean_residual(self, v: Float) -> float:
        """The mean of `y - X @ v`, the high parts of the means first."""
        m = self.moments
        return float((m.mean[-1] - m.mean[:-1] @ v) + (m.mean_low[-1] - m.mean_low[:-1] @ v))
