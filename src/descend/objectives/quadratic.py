"""Squared error as a quadratic about its minimum: no evaluation reads a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from descend.engines.engine import Session
from descend.engines.matrix import Float
from descend.engines.moments import MeanSquares, Moments, Triangle
from descend.errors import DataError
from descend.objectives.least_squares import LeastSquares
from descend.objectives.losses import Loss, SquaredError
from descend.objectives.objective import FACTOR_COLUMNS, FEW_CELLS, Objective
from descend.objectives.penalties import Penalty
from descend.objectives.statistics import LossAndGradient


@dataclass(eq=False)
class Quadratic(Objective):
    """Squared error as a quadratic about its minimum: no evaluation reads a row.

    With `S` the (centred) cross products, `R'R = S` and `w*` the least-squares solution of minimum
    norm in standardised units, `F(w) = minimum + |R (w - w*)|**2 / n + (mean residual)**2`. Written
    so, the loss is never negative and keeps its relative precision near the minimum.
    """

    moments: Moments
    factor: Float
    """`R`, upper triangular or at least square: `R.T @ R` are the cross products of the columns."""
    solution: Float
    """`w*` without the intercept."""
    minimum: float
    """The mean squared error at `w*`."""
    penalty: Penalty
    intercept: bool
    session: Session | None = None
    rank: int | None = None
    """The columns less those that are combinations of others."""

    def __post_init__(self) -> None:
        self.loss: Loss = SquaredError()
        self.shape = (self.solution.size + self.intercept,)
        self.rows, self.weight = self.moments.rows, self.moments.weight
        self._mean = (self.moments.mean + self.moments.mean_low)[:-1]
        self._cross = self.factor.T @ self.factor / self.moments.weight

    @staticmethod
    def from_moments(
        moments: Moments, penalty: Penalty, intercept: bool, session: Session | None = None
    ) -> Quadratic:
        """From moments; `session` allows the second pass where they are not enough."""
        if moments.weight <= 0:
            raise DataError("the sample weights sum to zero: no row counts.")
        S = moments.cross if intercept else moments.uncentred()
        scale = np.sqrt(np.maximum(S.diagonal(), 0.0) / moments.weight)
        scale = np.where(scale > 0, scale, 1.0)
        near = 1e-3 if moments.rows * len(scale) <= FEW_CELLS else 1e-7
        least = LeastSquares.from_cross_products(S / np.outer(scale, scale) / moments.weight, near)
        wide = len(scale) > FACTOR_COLUMNS
        if session is not None and least.wants_more and not wide:
            mean, low = (moments.mean, moments.mean_low) if intercept else (None, None)
            R = session.reduce(Triangle(mean, low, scale)) / np.sqrt(moments.weight)
            least = LeastSquares.from_factor(R)
        y_scale, x_scale = scale[-1], scale[:-1]
        quadratic = Quadratic(
            moments,
            least.factor * x_scale * np.sqrt(moments.weight),
            least.solution * y_scale / x_scale,
            float(least.residual * y_scale**2),
            penalty,
            intercept,
            session,
            least.rank,
        )
        if session is not None and least.wants_more and wide:
            quadratic._refine(session, lambda g: least.solve(g / x_scale) / x_scale)
        return quadratic

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
        self.minimum = max(float(sums[2] - gain @ gain) / self.weight, 0.0)

    def _value(self, w: Float) -> float:
        return self.value_and_gradient(w)[0]

    def _evaluate(self, w: Float) -> tuple[float, Float]:
        v = w[:-1] if self.intercept else w
        distance = self.factor @ (v - self.solution)
        value = self.minimum + float(distance @ distance) / self.moments.weight
        gradient = np.empty(w.shape)
        gradient[: len(v)] = 2.0 / self.moments.weight * (self.factor.T @ distance)
        if self.intercept:
            residual = self._mean_residual(v) - float(w[-1])
            value += residual * residual  # `**` would raise where it overflows
            gradient[:-1] -= 2.0 * residual * self._mean
            gradient[-1] = -2.0 * residual
        return value + self._add_penalty(w, gradient), gradient

    def hessian(self, w: Float) -> Float:
        H = 2.0 * self._cross
        if self.intercept:
            m = self._mean
            H = np.block(
                [[H + 2.0 * np.outer(m, m), 2.0 * m[:, None]], [2.0 * m[None, :], np.full((1, 1), 2.0)]]
            )
        H[np.diag_indices_from(H)] += self._penalty_curvature(w)
        return H

    @cached_property
    def curvature_bound(self) -> float:
        """The largest eigenvalue of the Hessian, which is the same everywhere."""
        return float(np.linalg.eigvalsh(self.hessian(self.zeros()))[-1])

    @property
    def constant_loss(self) -> float:
        return self.moments.constant_loss

    def minimizer(self) -> Float:
        """The weights that minimise the penalised objective, by the orthogonal factor.

        Solves `min |R (v - w*)|**2 / n + penalty(v)`; the intercept follows from the means.
        """
        v = self.solution
        if not self.penalty.is_zero:
            root = np.sqrt(0.5 * self.moments.weight * self.penalty.curvature(v))
            A = np.vstack([self.factor, np.diag(root)])
            b = np.concatenate([self.factor @ v, np.zeros(v.size)])
            v = np.linalg.lstsq(A, b, rcond=None)[0]
        return np.append(v, self._mean_residual(v)) if self.intercept else v

    def mean_squares(self, w: Float, constant: float) -> MeanSquares:
        """The mean squares behind R2 and RMSE at `w`, without the penalty, beside predicting `constant`."""
        error = self.value(w) - self.penalty.value(self._penalised(w))
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
