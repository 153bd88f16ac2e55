"""What a diagnosis draws: the losses that it predicts beside those of the run, and the curvature on the loss surface."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from descend.descent.first_order import GradientDescent
from descend.descent.history import History
from descend.descent.schedules import Constant
from descend.descent.trajectory import Recurrence
from descend.diagnosis.conditioning import Conditioning
from descend.engines.matrix import Array, Float
from descend.objectives.coordinates import Coordinates
from descend.objectives.sampled import Around
from descend.pictures.film import MAX_FRAMES, Film
from descend.pictures.filming import recorded
from descend.pictures.landscape import surface
from descend.runs.run import Run

MAX_POINTS = 600


@dataclass(frozen=True)
class Forecast:
    """Predicted losses at the numbers `steps`, one curve for each name, and those of the run where there is one."""

    steps: Float
    curves: dict[str, Float]
    best: float
    actual: Float | None
    exact: bool
    """Whether the prediction is exact, rather than of the quadratic about the best weights."""

    @property
    def ceiling(self) -> float:
        """Up to where losses are drawn: of a setting that first climbs three times the start, two falls above it below 0."""
        start = max(float(curve[0]) for curve in self.curves.values())
        return 3 * start if self.best >= 0 else start + 2 * (start - self.best)


def forecast(conditioning: Conditioning, best: float, steps: int) -> Forecast | None:
    """Of each of the planned settings, from zero weights; None where none is planned."""
    if not conditioning.plans:
        return None
    at = _thinned(np.arange(steps + 1))
    curves = {plan.name: best + plan.recurrence.excess(at) for plan in conditioning.plans}
    return Forecast(at.astype(np.float64), curves, best, None, conditioning.exact)


def forecast_of_run(
    run: Run, conditioning: Conditioning, to: Coordinates, optimum: Float, best: float
) -> Forecast | None:
    """Of gradient descent from where a run began, at its rate; None of other optimizers, schedules and batches."""
    optimizer, history = run.optimizer, run.history
    constant = isinstance(optimizer, GradientDescent) and isinstance(optimizer.schedule, Constant)
    if not constant or conditioning.curvatures is None or not in_full(history) or len(history) < 2:
        return None
    assert isinstance(optimizer, GradientDescent)
    known = np.flatnonzero(np.isfinite(history.loss))
    rows = known[_thinned(np.arange(len(known)))]
    distance = (to.to_original(history.weights[0]) - to.to_original(optimum)).ravel()
    rates = history.learning_rate[np.isfinite(history.learning_rate)]
    if np.ptp(rates):  # it was searched for
        return None
    rate = float(history.learning_rate[0])
    way = Recurrence(
        conditioning.curvatures, conditioning.curvatures.directions.T @ distance, best, optimizer, rate
    )
    at = history.number[rows]
    curve = best + way.excess(at.astype(np.int64))
    actual = history.loss[rows]
    return Forecast(at, {"predicted": curve}, best, actual, conditioning.exact)


def in_full(history: History) -> bool:
    """Whether every step of a history saw all rows."""
    return not np.isfinite(history.batch_loss).any()


def _thinned(places: Array) -> Array:
    if len(places) <= MAX_POINTS:
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, MAX_POINTS).round().astype(np.int64))]


@dataclass(frozen=True)
class Scene:
    """What it takes to draw the loss around the best weights: no rows beyond a sample."""

    about: Around
    optimum: Float
    scale: Float = field(repr=False)
    """The standard deviation of each weight's column."""
    names: tuple[str, ...]
    steps: Float = field(repr=False)
    weights: Float = field(repr=False)
    """Of shape (frames, *shape): where the run was, or where gradient descent will be."""
    losses: Float = field(repr=False)

    def film(self) -> Film | None:
        """The path on the surface through the best weights; None where there is one weight."""
        found = surface(self.about, self.weights, self.losses, self.scale, self.names, self.optimum)
        flat = self.weights.reshape(len(self.weights), -1)
        return None if found is None else Film("weights", self.steps, flat, self.names, surface=found)


def walked(
    run: Run | None, conditioning: Conditioning, optimum: Float, best: float, steps: int
) -> tuple[Float, Float, Float]:
    """Numbers of steps, weights and losses along the way: those of a run, or predicted from zero weights."""
    if run is not None:
        frames = recorded(run.history)
        losses = dict(zip(run.history.number.tolist(), run.history.loss.tolist(), strict=True))
        return frames.steps, frames.weights, np.array([losses[step] for step in frames.steps.tolist()])
    way, at = conditioning.plans[0].recurrence, np.arange(steps + 1)
    if len(at) > MAX_FRAMES:
        at = np.unique(np.geomspace(1, len(at), MAX_FRAMES).round().astype(np.int64)) - 1
    weights = optimum.ravel() + way.distances(at) @ way.curvatures.directions.T
    return at.astype(np.float64), weights.reshape(len(at), *optimum.shape), best + way.excess(at)
