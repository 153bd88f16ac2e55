"""The path of gradient descent on a quadratic, in closed form: step one million costs what step one hundred does.

Along each principal direction the distance `e` to the minimum and the velocity `v` follow a linear
recurrence of their own. Without momentum `e_t = (1 - rate * curvature)**t e_0`; with momentum the pair
`(e, v)` is multiplied by a 2 x 2 matrix, whose powers are taken by repeated squaring: at critical damping
its eigenvectors are defective. O'Donoghue and Candes, Adaptive Restart for Accelerated Gradient Schemes
(2015), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from descend.descent.choose import as_optimizer, check
from descend.descent.first_order import GradientDescent, Optimizer
from descend.descent.schedules import Constant
from descend.engines.matrix import Float
from descend.errors import DescendError
from descend.objectives.curvatures import Curvatures
from descend.objectives.objective import CLOSED_FORM, Objective

NEVER = 2**60
SCANNED = 2**14
"""Up to so many steps every one is looked at; with momentum the loss may rise again."""


@dataclass(frozen=True)
class Recurrence:
    """Gradient descent on `best + sum(curvature * e**2) / 2`, from distances `e` along its directions."""

    curvatures: Curvatures
    distance: Float
    """`e_0`: where it starts, less the minimum, along each direction."""
    best: float
    """The loss at the minimum."""
    optimizer: GradientDescent
    rate: float

    def distances(self, at: Any) -> Float:
        """The distance along each direction after so many steps, shape (points, directions)."""
        t = np.asarray(at, dtype=np.int64)
        values = self.curvatures.values
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            if not self.optimizer.momentum:
                return np.asarray(np.power(1.0 - self.rate * values, t[:, None]) * self.distance)
            M = self._matrices()
            e, v = np.tile(self.distance, (len(t), 1)), np.zeros((len(t), len(values)))
            for bit in range(int(t.max(initial=0)).bit_length()):
                chosen = (t >> bit) & 1 == 1
                (a, b), (c, d) = M.transpose(1, 2, 0)
                here, there = e[chosen], v[chosen]
                e[chosen], v[chosen] = a * here + b * there, c * here + d * there
                M = M @ M
        return e

    def _matrices(self) -> Float:
        """What a step multiplies `(e, v)` by, one matrix per direction."""
        m, values = self.optimizer.momentum, self.curvatures.values
        M = np.empty((len(values), 2, 2))
        M[:, 1, 0], M[:, 1, 1] = values, m
        first, then = (1.0 + m, m * m) if self.optimizer.nesterov else (1.0, m)
        M[:, 0, 0], M[:, 0, 1] = 1.0 - self.rate * first * values, -self.rate * then
        return M

    def excess(self, at: Any) -> Float:
        """The loss above its minimum after so many steps."""
        with np.errstate(over="ignore", invalid="ignore"):
            terms = np.where(self.curvatures.values > 0, np.square(self.distances(at)), 0.0)
            excess = 0.5 * terms @ self.curvatures.values
        return np.where(np.isnan(excess), np.inf, excess)

    @property
    def limit(self) -> float:
        """The rate above which the loss grows without end."""
        return self.optimizer.rate_limit(self.curvatures.largest)

    def steps_within(self, share: float, after: int = 0) -> int | None:
        """The first step from `after` on whose loss is within `share` of the best one; None where none ever is."""
        return self.steps_to(self.target(share), after)

    def target(self, share: float) -> float:
        """How far above the best loss is within `share` of it; a best loss of zero has the first step's excess for it."""
        first = float(self.excess([0])[0])
        return share * (self.best if self.best > 1e-12 * (self.best + first) else first)

    def steps_to(self, target: float, after: int = 0) -> int | None:
        """The first step from `after` on whose loss is at most `target` above the best one; None where none ever is."""
        if self.excess([after])[0] <= target:
            return after
        if self.rate > self.limit * (1 + 1e-9):
            return None
        more = 1
        while self.excess([after + more])[0] > target:
            more *= 2
            if more > NEVER:
                return None
        if self.optimizer.momentum and more <= SCANNED:
            return after + int(np.argmax(self.excess(np.arange(after, after + more + 1)) <= target))
        low, high = after + more // 2, after + more
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.excess([middle])[0] > target else (low, middle)
        return high


@dataclass(frozen=True)
class Trajectory:
    """Where gradient descent on squared error is at the steps `at`, and what it will take; made by `path`.

    `recurrence` holds the curvatures, the distances to the minimum along their directions and the rate.

    >>> import descend
    >>> track = descend.path(*descend.make_line(100, seed=0), intercept=False, at=[10**6])
    >>> bool(np.allclose(track.weights[0], track.optimum))
    True
    """

    at: tuple[int, ...]
    optimum: Float
    """The weights of the best loss."""
    recurrence: Recurrence = field(repr=False)

    @cached_property
    def weights(self) -> Float:
        """Shape (points, features), the intercept last, in the coordinates of the descent."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.optimum + self.recurrence.distances(self.at) @ self.recurrence.curvatures.directions.T

    @cached_property
    def loss(self) -> Float:
        """The loss at each of the steps `at`, shape (points,)."""
        return self.recurrence.best + self.recurrence.excess(self.at)

    @property
    def best_loss(self) -> float:
        """The smallest loss there is."""
        return self.recurrence.best

    @property
    def learning_rate(self) -> float:
        """The constant rate of the walk."""
        return self.recurrence.rate

    @property
    def learning_rate_limit(self) -> float:
        """The largest learning rate that does not diverge with this momentum."""
        return self.recurrence.limit

    def steps_within(self, share: float = 0.01) -> int | None:
        """The first step whose loss is at most `1 + share` times the best; None where none ever is.

        Where the best loss is zero, it is the first below `share` times the loss at the start. Raises `DescendError`
        for a share that is not above 0.
        """
        if not share > 0:
            raise DescendError(f"`share` must be above 0, 0.01 for one percent, got {share!r}.")
        return self.recurrence.steps_within(share)


def trajectory(
    objective: Objective,
    optimizer: Optimizer | str = "gradient-descent",
    at: Sequence[int] | None = None,
    start: Any = None,
) -> Trajectory:
    """`path` on an objective."""
    chosen = as_optimizer(optimizer)
    if not objective.exact:
        raise DescendError(
            f"`path` needs squared error on at most 2,048 columns, whose path has a closed form; "
            f"the loss is {objective.loss.name}. Use `steps` to walk there."
        )
    check(chosen, objective, "its path has no closed form. Use `steps` to walk there, or an L2 penalty")
    if CLOSED_FORM not in objective.offers:
        raise DescendError(
            f"`path` needs a penalty whose squares have a closed form, and `penalty` {objective.penalty.name} does not "
            "say that it has: use an L2 penalty, or `steps` to walk there."
        )
    if not isinstance(chosen, GradientDescent):
        raise DescendError(f"`optimizer` must be a GradientDescent, got {chosen.name}: its path is linear.")
    if not isinstance(chosen.schedule, Constant):
        raise DescendError(
            f"`learning_rate` must stay the same along a `path`, got a {chosen.schedule.name} schedule."
        )
    points = tuple(range(101)) if at is None else tuple(at)
    if any(isinstance(t, bool) or t != int(t) or not 0 <= t <= NEVER for t in points):
        raise DescendError("`at` must hold numbers of steps: whole, and at least 0.")
    w = objective.zeros() if start is None else objective.check_weights(start)
    return Trajectory(
        tuple(int(t) for t in points),
        objective.minimum(),
        recurrence(objective, objective.curvatures(w), chosen, w),
    )


def recurrence(
    objective: Objective, curvatures: Curvatures, optimizer: GradientDescent, start: Float
) -> Recurrence:
    """Gradient descent on this quadratic from `start`."""
    optimum = objective.minimum()
    return Recurrence(
        curvatures,
        curvatures.directions.T @ (start - optimum),
        objective.value(optimum),
        optimizer,
        optimizer.rate(objective),
    )
