"""The conditioning that a descent meets: its curvatures, the learning rates that they allow, and the steps these need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from descend.descent.choose import NEWTON_LIMIT
from descend.descent.first_order import GradientDescent
from descend.descent.trajectory import Recurrence
from descend.engines.matrix import Float
from descend.engines.moments import Moments
from descend.objectives.coordinates import Coordinates
from descend.objectives.curvatures import Curvatures, bound_in
from descend.objectives.objective import CLOSED_FORM, SMOOTH_PENALTY, Objective, Standardised

SHARES = (0.01, 0.0001)
MOMENTUM = 0.9
WALKED, MOST_CELLS = 64, 1_000_000
"""Steps that are made before curvatures tell how it goes on, and rows times weights up to which they are."""


@dataclass(frozen=True)
class Plan:
    """Gradient descent with one setting, and the steps it needs to come within each of `SHARES` of the best loss."""

    name: str
    learning_rate: float
    momentum: float
    """Nesterov's."""
    steps: tuple[int | None, ...]
    recurrence: Recurrence = field(repr=False, compare=False)

    @staticmethod
    def of(
        name: str,
        rate: float,
        momentum: float,
        conditioning: tuple[Curvatures, Float, float],
        objective: Objective | None,
    ) -> Plan:
        """From a rate, and the curvatures, the distance from the best weights along each, and the best loss.

        Rate and momentum are rounded to what is printed, the rate down, so that it stays below its limit. The
        first steps are made with an `objective` where one is given, in these coordinates: far from the minimum of no
        quadratic the curvatures are others.
        """
        rate, momentum = rounded_down(rate), 1.0 - float(f"{1.0 - momentum:.3g}")
        way = Recurrence(*conditioning, GradientDescent(rate, momentum=momentum, nesterov=momentum > 0), rate)
        targets = [way.target(share) for share in SHARES]
        if objective is None:
            return Plan(name, rate, momentum, tuple(way.steps_to(target) for target in targets), way)
        directions = way.curvatures.directions
        minimum = -(directions @ way.distance).reshape(objective.shape)
        losses, w = _first_steps(objective, way.optimizer, minimum)
        later = replace(way, distance=directions.T @ (w - minimum).ravel())
        steps: list[int | None] = []
        for target in targets:
            near = np.flatnonzero(losses <= target)
            more = None if len(near) else later.steps_to(target)
            steps.append(int(near[0]) if len(near) else None if more is None else len(losses) - 1 + more)
        return Plan(name, rate, momentum, tuple(steps), way)

    @property
    def setting(self) -> str:
        """As the optimizer to give to `fit`."""
        momentum = f", momentum={self.momentum:.10g}, nesterov=True" if self.momentum else ""
        return f"GradientDescent({self.learning_rate:g}{momentum})"

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "name": self.name,
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "nesterov": self.momentum > 0,
            "steps": {f"{share:.2%}": n for share, n in zip(SHARES, self.steps, strict=True)},
        }


@dataclass(frozen=True)
class Conditioning:
    """The loss in one set of coordinates."""

    name: str
    curvatures: Curvatures | None = field(repr=False)
    """At the minimum; of squared error everywhere. None of very many weights."""
    bound: float
    """No curvature exceeds it, at any weights; infinity where nothing does, of counts for example."""
    exact: bool
    """Whether the loss is a quadratic, so that nothing is an estimate."""
    plans: tuple[Plan, ...] = ()
    here: Curvatures | None = field(default=None, repr=False)
    """At the weights of the run, where there is one and the curvature is not the same everywhere."""

    @property
    def bounded(self) -> bool:
        """Whether a bound of the curvatures holds."""
        return self.bound < math.inf

    @property
    def condition_number(self) -> float:
        return self.curvatures.condition if self.curvatures else math.nan

    @property
    def largest_curvature(self) -> float:
        return self.curvatures.largest if self.curvatures else math.nan

    @property
    def smallest_curvature(self) -> float:
        return self.curvatures.smallest if self.curvatures else math.nan

    def limit(self, momentum: float = 0.0) -> float:
        """The largest learning rate that is certain not to diverge; with momentum so for squared error alone.

        0 where no bound holds: then no rate is certain.
        """
        return GradientDescent(momentum=momentum).rate_limit(self.bound)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        values = {
            "coordinates": self.name,
            "exact": self.exact,
            "largest_curvature": plain(self.largest_curvature),
            "smallest_curvature": plain(self.smallest_curvature),
            "curvature_bound": plain(self.bound),
            "condition_number": plain(self.condition_number),
            "flat_directions": self.curvatures.flat if self.curvatures else None,
            "learning_rate_limit": plain(self.limit()),
            "plans": [plan.to_dict() for plan in self.plans],
        }
        if self.exact:
            values[f"learning_rate_limit_with_momentum_{MOMENTUM}"] = plain(self.limit(MOMENTUM))
        else:
            values["learning_rate_limit_at_best_weights"] = plain(_limit(self.largest_curvature))
        if self.here is not None:
            values["largest_curvature_at_run_weights"] = plain(self.here.largest)
            values["learning_rate_limit_at_run_weights"] = plain(_limit(self.here.largest))
        return values


def conditionings(
    objective: Objective,
    moments: Moments,
    optimum: Float,
    best: float,
    weights: Float | None,
    coordinates: dict[str, Coordinates],
) -> list[Conditioning]:
    """The conditioning in each of some coordinates, by name: two passes at most, none for squared error.

    `best` is how far the best loss is above the least that the rows allow; `weights` are those of a run. Gradient
    descent is planned from zero weights; where no bound holds for the curvatures that are expected or met at the end.
    """
    descends = SMOOTH_PENALTY in objective.offers  # gradient descent cannot be planned otherwise
    exact = objective.exact and (CLOSED_FORM in objective.offers or not descends)
    several = [*coordinates.values()]
    if optimum.size > NEWTON_LIMIT:
        bounds = [math.inf if objective.searches else bound_in(objective, moments, to) for to in several]
        return [
            Conditioning(name, None, bound, exact) for name, bound in zip(coordinates, bounds, strict=True)
        ]
    few = objective.session.has_rows and objective.rows * optimum.size <= MOST_CELLS
    found = objective.curvatures_in(optimum, several)
    here: list[Any] = [None] * len(several)
    if weights is not None and not exact:
        here = objective.curvatures_in(weights, several)
    made = []
    for name, curvatures, at_weights in zip(coordinates, found, here, strict=True):
        to = coordinates[name]
        high = curvatures.largest if exact else bound_in(objective, moments, to)
        bound = math.inf if objective.searches else high
        high = max(high, curvatures.largest) if objective.searches else high
        distance = -curvatures.directions.T @ to.to_original(optimum).ravel()
        there = Standardised(objective, to.inverse) if few and not exact else None
        plans = _plans(curvatures, distance, best, high, there) if descends else ()
        made.append(Conditioning(name, curvatures, bound, exact, plans, at_weights))
    return made


def _plans(
    curvatures: Curvatures, distance: Float, best: float, high: float, objective: Objective | None
) -> tuple[Plan, ...]:
    """The automatic and the best constant rate, without and with Nesterov's momentum.

    Within the bound `high` none of them swings or climbs, as Polyak's faster momentum may: `fit` would take its
    climb for divergence. Nesterov, Introductory Lectures on Convex Optimization (2004), 2.1.15 and 2.2.1.
    """
    smallest, high = curvatures.smallest, high or 1.0
    share = math.sqrt(max(smallest / high, 1e-10))
    ways = (
        ("automatic", 1.0 / high, 0.0),
        (f"automatic, momentum={MOMENTUM:g}", 1.0 / high, MOMENTUM),
        ("best in the long run", 2.0 / (high + smallest) * (1.0 - 1e-4), 0.0),
        ("best momentum in the long run", 1.0 / high, max((1.0 - share) / (1.0 + share), 0.0)),
    )
    return tuple(Plan.of(name, rate, m, (curvatures, distance, best), objective) for name, rate, m in ways)


def _first_steps(objective: Objective, optimizer: GradientDescent, minimum: Float) -> tuple[Float, Float]:
    """How far each of the first steps is above the best loss, that of `minimum`, and the weights after the last of them."""
    w, best = objective.zeros(), objective.value(minimum)
    state, losses = optimizer.init(w), [objective.value(w)]
    for _ in range(WALKED):
        if not math.isfinite(losses[-1]) or losses[-1] - best <= SHARES[-1] * 1e-3 * abs(best):
            break
        update = optimizer.step(objective, w, state)
        w, state = update.weights, update.state
        losses.append(objective.value(w))
    return np.array(losses) - best, w


def rounded_down(rate: float, digits: int = 4) -> float:
    """A rate cut after a few digits.

    >>> rounded_down(0.0098765), rounded_down(6.4169e-08)
    (0.009876, 6.416e-08)
    """
    if not (math.isfinite(rate) and rate > 0):
        return rate
    unit = 10.0 ** (math.floor(math.log10(rate)) + 1 - digits)
    return float(f"{math.floor(rate / unit * (1 + 1e-12)) * unit:.{digits}g}")


def _limit(curvature: float) -> float:
    return 2.0 / curvature if curvature > 0 else math.inf


def plain(value: float | None) -> float | None:
    """A number for JSON, None for one that is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None
