"""The descent explained: how curved the loss is, how long a step may be, what stands in the way, how far it still is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np

from descend import descent
from descend.curvature import Coordinates, Curvatures, bound_of, curvatures_at
from descend.errors import DescendError
from descend.findings import Finding, Subject, about_columns, imbalance
from descend.matrix import Float
from descend.moments import Moments
from descend.objective import MOMENTS_COLUMNS, Objective, Quadratic
from descend.optimizers import GradientDescent
from descend.problem import Problem, ProblemOptions
from descend.run import Run
from descend.second_order import NEWTON_LIMIT, auto_optimizer
from descend.separation import separation
from descend.statistics import Extremes
from descend.trajectory import Recurrence

SHARES = (0.01, 0.0001)
MOMENTUM = 0.9
MOST_CLASSES = 10


@dataclass(frozen=True)
class Plan:
    """Gradient descent with one setting, and the steps it needs to come within each of `SHARES` of the best loss."""

    name: str
    learning_rate: float
    momentum: float
    steps: tuple[int | None, ...]


@dataclass(frozen=True)
class Terrain:
    """The loss in one set of coordinates."""

    name: str
    curvatures: Curvatures | None = field(repr=False)
    """At the minimum; of squared error everywhere. None of very many weights."""
    bound: float
    """No curvature exceeds it, at any weights."""
    exact: bool
    """Whether the loss is a quadratic, so that nothing is an estimate."""
    plans: tuple[Plan, ...] = ()

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
        """The largest learning rate that is certain not to diverge."""
        return GradientDescent(momentum=momentum).rate_limit(self.bound)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "coordinates": self.name,
            "exact": self.exact,
            "largest_curvature": _plain(self.largest_curvature),
            "smallest_curvature": _plain(self.smallest_curvature),
            "curvature_bound": _plain(self.bound),
            "condition_number": _plain(self.condition_number),
            "flat_directions": self.curvatures.flat if self.curvatures else None,
            "learning_rate_limit": _plain(self.limit()),
            f"learning_rate_limit_with_momentum_{MOMENTUM}": _plain(self.limit(MOMENTUM)),
            "plans": [
                {**vars(p), "steps": {f"{share:.2%}": n for share, n in zip(SHARES, p.steps, strict=True)}}
                for p in self.plans
            ],
        }


@dataclass(frozen=True)
class Gap:
    """The best loss there is, how it was found, and how far a run is from it."""

    best: float
    constant: float
    """The loss of a constant prediction."""
    way: str
    """The cheapest way to the best loss, the name of an optimizer."""
    seconds: float
    """How long it took, once the data was read."""
    reached: bool
    """Whether that way arrived; if not, `best` is the lowest loss known."""
    loss: float | None = None
    """Of the run, or predicted of gradient descent."""
    optimizer: str = "gradient-descent"
    steps: int = 0

    @property
    def excess(self) -> float | None:
        """The share by which `loss` is above the best; None where the best is zero."""
        return None if self.loss is None or self.best <= 0 else max(self.loss / self.best - 1.0, 0.0)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` finds; prints as a page. `given` are the coordinates of the data, `standardised` the others.

    >>> import descend
    >>> d = descend.diagnose(*descend.make_line(100, seed=0), intercept=False)
    >>> print(str(d).splitlines()[0])
    Diagnosis: squared-error for `y`, 100 rows, 2 columns
    """

    target: str
    loss: str
    penalty: float
    rows: int
    columns: int
    table: bool
    intercept: bool
    given: Terrain
    standardised: Terrain
    gap: Gap
    findings: tuple[Finding, ...]
    ran: bool = False
    """Whether the gap is that of a run."""
    notes: tuple[str, ...] = ()

    @property
    def descent(self) -> Terrain:
        """The coordinates that `fit` steps in: those given of arrays, standardised ones of a table."""
        return self.standardised if self.table else self.given

    @property
    def unbounded(self) -> bool:
        """Whether the weights would run to infinity: classes that can be told apart, and no penalty."""
        return not self.penalty and any(
            f.kind == "separation" and "infinity" in f.what for f in self.findings
        )

    @property
    def condition_number(self) -> float:
        """Largest over smallest curvature where `fit` steps."""
        return self.descent.condition_number

    @property
    def learning_rate_limit(self) -> float:
        """The largest learning rate of gradient descent that is certain not to diverge where `fit` steps."""
        return self.descent.limit()

    @property
    def guilty(self) -> tuple[str, ...]:
        """The columns that findings are about, each once."""
        return tuple(dict.fromkeys(name for finding in self.findings for name in finding.columns))

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        gap = {**vars(self.gap), "excess": self.gap.excess}
        return {
            "target": self.target,
            "loss": self.loss,
            "penalty": self.penalty,
            "rows": self.rows,
            "columns": self.columns,
            "given": self.given.to_dict(),
            "standardised": self.standardised.to_dict(),
            "gap": {k: _plain(v) if isinstance(v, float) else v for k, v in gap.items()},
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from descend.diagnosis_page import page

        return page(self)


def diagnose(data: Any, y: Any = None, *, steps: int = 100, **problem: Unpack[ProblemOptions]) -> Diagnosis:
    """Say what gradient descent will meet on this data, why, and what to do: before a fit, or after one.

    `data`, `y` and `problem` are those of `fit`: arrays, or a table and its `target`; or `data` is a Run.
    Without a run, `steps` steps of gradient descent at its automatic rate are predicted. For squared error
    every figure is exact, from the moments; for other losses curvatures are those at the minimum, and the
    safe learning rate comes from a bound that holds at any weights. Raises `DescendError` on bad input.

    >>> import descend
    >>> x, y = descend.make_line(100, seed=0)
    >>> d = descend.diagnose(x, y, intercept=False)
    >>> round(d.learning_rate_limit, 4), round(d.condition_number, 2), d.findings
    (0.9856, 2.8, ())
    """
    if isinstance(steps, bool) or steps != int(steps) or steps < 0:
        raise DescendError(f"`steps` must be a whole number of at least 0, got {steps!r}.")
    run = data if isinstance(data, Run) else None
    made = Problem.of(data, y, **problem) if run is None else _again(run)
    try:
        return _diagnosis(made, run, int(steps))
    finally:
        made.close()


def _again(run: Run) -> Problem:
    """The problem of a run, made once more."""
    if run.origin is None:
        raise DescendError("`diagnose` needs a Run that `fit` returned: this one does not know its data.")
    data, y, options = run.origin
    made = Problem.of(data, y, **options)
    if made.objective.shape != run.weights.shape:
        made.close()
        raise DescendError("the data of the run has changed since: fit once more.")
    return made


def _diagnosis(made: Problem, run: Run | None, steps: int) -> Diagnosis:
    objective, encoding = made.objective, made.encoding
    columns = objective.shape[0] - objective.intercept
    if columns > MOMENTS_COLUMNS:
        raise DescendError(f"`diagnose` takes at most {MOMENTS_COLUMNS:,} columns, got {columns:,}.")
    moments: Moments = objective.moments  # type: ignore[attr-defined]
    optimum, gap = _best(objective, run)
    own = Coordinates.given(columns)
    other = (
        Coordinates(*encoding.units) if encoding else Coordinates.standardising(moments, objective.intercept)
    )
    here, there = (_terrain(objective, moments, optimum, gap.best, to) for to in (own, other))
    given, standardised = (there, here) if encoding else (here, there)
    if run is None and here[1]:
        loss = gap.best + float(here[1].excess([steps])[0])
        gap = Gap(**{**vars(gap), "loss": loss, "steps": steps})
    return Diagnosis(
        encoding.target.name if encoding else "y",
        objective.loss.name,
        float(getattr(objective.penalty, "alpha", 0.0)),
        objective.rows,
        columns,
        encoding is not None,
        objective.intercept,
        _named(given[0], "as given"),
        _named(standardised[0], "standardised"),
        gap,
        tuple(_findings(made, moments)),
        run is not None,
        (*made.warnings, *made.notes),
    )


def _best(objective: Objective, run: Run | None) -> tuple[Float, Gap]:
    """The weights of the best loss: exact for squared error, else where Newton or L-BFGS arrives."""
    began, way = time.perf_counter(), auto_optimizer(objective)
    start = run.weights if run is not None and run.outcome.converged else None
    last = None
    for last in descent.steps(objective, way, start=start):  # noqa: B007
        pass
    assert last is not None
    assert last.loss is not None
    assert last.outcome is not None
    seconds, best, optimum = time.perf_counter() - began, last.loss, last.weights
    found: dict[str, Any] = {}
    if run is not None:
        loss = objective.value(run.weights)
        found = {"loss": loss, "optimizer": run.optimizer.name, "steps": int(run.history.number[-1])}
        if loss < best:
            best, optimum = loss, run.weights
    gap = Gap(best, objective.constant_loss, way.name, seconds, last.outcome.converged, **found)
    return optimum, gap


def _terrain(
    objective: Objective, moments: Moments, optimum: Float, best: float, to: Coordinates
) -> tuple[Terrain, Recurrence | None]:
    """The terrain in some coordinates, and gradient descent at its automatic rate from zero weights there."""
    exact = isinstance(objective, Quadratic)
    if optimum.size > NEWTON_LIMIT:
        return Terrain("", None, bound_of(objective, moments, to), exact), None
    curvatures = curvatures_at(objective, optimum, to)
    bound = curvatures.largest if exact else bound_of(objective, moments, to)
    distance = -curvatures.directions.T @ to.weights(optimum, objective.intercept).ravel()
    rate, momentum = curvatures.fastest_momentum
    ways = {
        "automatic learning rate": (1.0 / (bound or 1.0), 0.0),
        "fastest learning rate": (curvatures.fastest_rate, 0.0),
        "fastest, with momentum": (rate, momentum),
    }
    made = {
        name: Recurrence(curvatures, distance, best, GradientDescent(r, momentum=min(m, 1 - 1e-12)), r)
        for name, (r, m) in ways.items()
    }
    plans = tuple(
        Plan(name, *ways[name], tuple(way.steps_within(share) for share in SHARES))
        for name, way in made.items()
    )
    return Terrain("", curvatures, bound, exact, plans), made["automatic learning rate"]


def _named(terrain: Terrain, name: str) -> Terrain:
    return Terrain(name, terrain.curvatures, terrain.bound, terrain.exact, terrain.plans)


def _findings(made: Problem, moments: Moments) -> list[Finding]:
    """What is remarkable about the columns and the target."""
    objective, encoding = made.objective, made.encoding
    columns = objective.shape[0] - objective.intercept
    numbers = range(len(encoding.numbers) if encoding else columns)
    units, centres = encoding.units if encoding else (np.ones(columns), np.zeros(columns))
    target = encoding.target.name if encoding else "y"
    low, high, splitting = _extremes(made, columns, len(numbers))
    subject = Subject(
        tuple(made.feature_names),
        moments,
        units,
        centres,
        objective.intercept,
        made.classes,
        target,
        encoding is not None,
        numbers,
        encoding.independent if encoding else range(columns),
        low if encoding and not made.classes else centres + units * low,
        high if encoding and not made.classes else centres + units * high,
    )
    found = [Finding("left out", (), line, "Nothing to do, if that is right.") for line in made.warnings]
    if made.classes is not None:
        found += _separation(made, subject, splitting)
        found += imbalance(made.constant, made.classes, target, subject.table)
    return found + about_columns(subject)


def _extremes(made: Problem, columns: int, numbers: int) -> tuple[Float, Float, list[int]]:
    """The smallest and the largest value of each column, and the columns that split two classes by themselves."""
    low, high = np.full(columns, np.nan), np.full(columns, np.nan)
    if made.encoding is not None and made.classes is None:
        for i, column in enumerate(made.encoding.numbers):
            low[i], high[i] = made.profiles[column.name].low, made.profiles[column.name].high
        return low, high, []
    several = len(made.classes) if made.classes and len(made.classes) <= MOST_CLASSES else 1
    extremes = made.session.reduce(Extremes(several))
    dense = extremes.shape[2]
    low[:dense], high[:dense] = -extremes[:, 0].max(axis=0), extremes[:, 1].max(axis=0)
    splitting: list[int] = []
    if several == 2 and len(made.classes or ()) == 2:
        apart = (extremes[0, 1] < -extremes[1, 0]) | (extremes[1, 1] < -extremes[0, 0])
        splitting = np.flatnonzero(apart[:numbers]).tolist()
    return low, high, splitting


def _separation(made: Problem, s: Subject, splitting: list[int]) -> list[Finding]:
    """Classes that can be told apart without a mistake, by one column or by several."""
    found = [
        Finding(
            "leakage",
            (s.names[i],),
            f"`{s.names[i]}` alone tells the classes of `{s.target}` apart: their values do not overlap",
            f"Ask whether `{s.names[i]}` is known before `{s.target}` is; if not, leave it out.",
        )
        for i in splitting
    ]
    separated = separation(made.objective)
    if separated is None:
        return found
    size = np.abs(separated.direction[: len(s.names)]).reshape(len(s.names), -1).max(axis=1)
    size = size * s.spread / s.units
    order = [int(i) for i in np.argsort(-size)[:3] if size[i] > 0.1 * size.max()]
    columns = tuple(s.names[i] for i in order)
    listed = ", ".join(f"`{name}`" for name in columns)
    penalised = not made.objective.penalty.is_zero
    what = {
        "perfect": f"the classes can be told apart without a mistake, mostly by {listed}",
        "partial": f"some rows are told apart with certainty, mostly by {listed}, and none is on the wrong side",
        "near": f"all but {separated.mistakes:,} rows can be told apart, mostly by {listed}",
    }[separated.kind]
    then = (
        "weights grow very large"
        if separated.kind == "near"
        else "without a penalty the weights run to infinity"
    )
    give = "`--l2 0.01`" if s.table else "`penalty=0.01`"
    do = (
        "Keep the penalty: it gives the weights a place to stop. And ask whether the columns know the answer."
        if penalised
        else f"Give a penalty, {give}, so that the weights have a place to stop. And ask whether the columns know the answer."
    )
    return [*found, Finding("separation", columns, f"{what}: {then}", do)]


def _plain(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
