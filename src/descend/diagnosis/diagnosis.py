"""The descent explained: how curved the loss is, how long a step may be, what stands in the way, how far it still is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

import numpy as np

from descend.descent import steps as descent
from descend.descent.choose import NEWTON_LIMIT, auto_optimizer
from descend.diagnosis.conditioning import Conditioning, conditionings, plain
from descend.diagnosis.findings import ColumnStatistics, Finding, about_columns, imbalance, separated
from descend.diagnosis.forecast import Forecast, Scene, forecast, forecast_of_run, walked
from descend.engines.matrix import Float
from descend.engines.moments import Moments
from descend.errors import DescendError
from descend.models.separation import separation
from descend.objectives.coordinates import Coordinates
from descend.objectives.losses import Loss
from descend.objectives.objective import MOMENTS_COLUMNS, SMOOTH_PENALTY, Objective
from descend.objectives.penalties import described
from descend.objectives.quadratic import Quadratic
from descend.objectives.sampled import Around, Sampled, sample_of
from descend.objectives.statistics import Extremes
from descend.runs.problem import Problem, ProblemOptions
from descend.runs.run import Run
from descend.tables.encoding import Encoding
from descend.tables.profiles import NumberProfile, Profile

MOST_CLASSES = 10
LEFT_OUT = "Nothing to do, if that is right. To keep a column, name it in `--features` with the others."
GIVEN, STANDARDISED = "as given", "standardised"


@dataclass(frozen=True)
class Suboptimality:
    """The best loss there is, how it was found, and how far a run is from it."""

    best: float
    constant: float
    """The loss of a constant prediction."""
    penalty: float
    """The penalty's part of `best`."""
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
    saturated: float = 0.0
    """The loss where each row has its own best prediction: 0 for most losses. Shares are of what is above it."""

    @property
    def excess(self) -> float | None:
        """The share by which `loss` is above the best; None where the best cannot be better."""
        if self.loss is None or self.is_nil:
            return None
        return max((self.loss - self.saturated) / (self.best - self.saturated) - 1.0, 0.0)

    @property
    def is_nil(self) -> bool:
        """Whether the best loss fits every row, but for rounding."""
        return self.is_least(self.best)

    def is_least(self, loss: float) -> bool:
        """Whether a loss is the least that there is, but for rounding."""
        return loss - self.saturated <= 1e-12 * (self.constant - self.saturated)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` finds; prints as a page. `given` are the coordinates of the data, `standardised` the others.

    `target`, `loss` (a name; `minimised` is the object) and `penalty` (its alpha) say what is minimised, over `rows` rows and `columns` columns, of a
    `table` or of arrays, with or without an `intercept`. `gap` is how good the loss can get and how far a run is from
    that; `findings` are what is remarkable about the columns; `notes` what a reader should know. `forecast` and
    `scene` are what `plot` and `surface` draw.

    >>> import descend
    >>> d = descend.diagnose(*descend.make_line(100, seed=0), intercept=False)
    >>> print(str(d).splitlines()[0])
    Diagnosis: squared error for `y`, 100 rows, 2 columns
    """

    target: str
    minimised: Loss = field(repr=False)
    penalty: float
    rows: int
    columns: int
    table: bool
    intercept: bool
    given: Conditioning
    standardised: Conditioning
    gap: Suboptimality
    findings: tuple[Finding, ...]
    ran: bool = False
    """Whether the gap is that of a run."""
    ending: str = ""
    """How the run ended, and what that means."""
    standardises: bool = False
    """Whether `fit` steps in standardised coordinates: of a table, and where `standardize` was asked for."""
    notes: tuple[str, ...] = ()
    penalised: str = ""
    """The penalty in words, "L2 penalty 0.1"; empty without one."""
    descends: bool = True
    """Whether gradient descent serves it, whose steps can then be planned: a penalty with kinks it does not."""
    forecast: Forecast | None = field(default=None, repr=False, compare=False)
    scene: Scene | None = field(default=None, repr=False, compare=False)

    @property
    def loss(self) -> str:
        """The name of the loss."""
        return self.minimised.name

    @property
    def descent(self) -> Conditioning:
        """The coordinates that `fit` steps in: those given of arrays, standardised ones of a table."""
        return self.standardised if self.standardises else self.given

    @property
    def unbounded(self) -> bool:
        """Whether the weights would run to infinity: classes, or zeros of counts, that can be told apart, and no penalty."""
        return (
            not self.penalised
            and bool(self.minimised.separable)
            and any(f.kind == "separation" for f in self.findings)
        )

    @property
    def condition_number(self) -> float:
        """Largest over smallest curvature where `fit` steps."""
        return self.descent.condition_number

    @property
    def learning_rate_limit(self) -> float:
        """The largest learning rate of gradient descent that is certain not to diverge where `fit` steps.

        0 where no bound of the curvature holds, of counts for example: `fit` then searches for one.
        """
        return self.descent.limit()

    @property
    def guilty(self) -> tuple[str, ...]:
        """The columns that findings are about, each once."""
        return tuple(dict.fromkeys(name for finding in self.findings for name in finding.columns))

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON: every figure, and under "page" every sentence that the page says."""
        from descend.diagnosis.text import as_plain

        gap = {**vars(self.gap), "excess": self.gap.excess}
        if self.minimised.best_is_zero:
            del gap["saturated"]
        return {
            "target": self.target,
            "loss": self.loss,
            "penalty": self.penalty,
            "rows": self.rows,
            "columns": self.columns,
            "ran": self.ran,
            "ending": self.ending,
            "fit_steps_in": self.descent.name,
            "given": self.given.to_dict(),
            "standardised": self.standardised.to_dict(),
            "gap": {k: plain(v) if isinstance(v, float) else v for k, v in gap.items()},
            "unbounded": self.unbounded,
            "guilty": list(self.guilty),
            "findings": [finding.to_dict() for finding in self.findings],
            "notes": list(self.notes),
            "page": as_plain(self),
        }

    def plot(self, *, ax: Any = None) -> Any:
        """The loss as it is predicted, step by step, beside that of the run where there is one.

        Drawn on `ax` or new Axes, which are returned. For squared error both lie on each other. For other losses the
        prediction is that of the quadratic about the best weights, which holds near them. Without a run of gradient
        descent on all rows at a constant rate every planned setting has its curve. Raises `DescendError` where
        nothing is planned.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> run = descend.fit(x, y, intercept=False, optimizer=descend.GradientDescent(0.1), steps=50)
        >>> actual, predicted = descend.diagnose(run).plot().lines[:2]
        >>> bool(np.allclose(actual.get_ydata(), predicted.get_ydata()))
        True
        """
        from descend.pictures.plots import plot_forecast

        if self.forecast is None:
            raise DescendError(
                f"there is no prediction to draw: it needs at most {NEWTON_LIMIT:,} weights. `run.plot_loss()` draws "
                "what a run went through."
            )
        return plot_forecast(self.forecast, ax=ax)

    def surface(self, *, ax: Any = None) -> Any:
        """Contours of the loss over two weights, with the curvature's principal directions.

        Drawn on `ax` or new Axes, which are returned. The surface goes through the best weights. Each line lies
        along an eigenvector of the second derivatives there, in the two coordinates shown, as long as the half-axis
        of one contour: long where the loss is flat. The path is that of the run, or of gradient descent as
        predicted. Raises `DescendError` where there is one weight alone.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> ax = descend.diagnose(x, y, intercept=False).surface()
        >>> [text.get_text() for text in ax.texts if "curvature" in text.get_text()]
        ['curvature 2.029', 'curvature 0.7244']
        """
        from descend.pictures.plots import plot_directions

        film = None if self.scene is None else self.scene.film()
        if film is None:
            raise DescendError(
                f"there is no loss surface to draw: it needs two weights, and at most {NEWTON_LIMIT:,}."
            )
        return plot_directions(film, ax=ax)

    def __str__(self) -> str:
        from descend.diagnosis.text import page

        return page(self)


def diagnose(data: Any, y: Any = None, *, steps: int = 100, **problem: Unpack[ProblemOptions]) -> Diagnosis:
    """Say what gradient descent will meet on this data, why, and what to do: before a fit, or after one.

    `data`, `y` and `problem` are those of `fit`: arrays, or a table and its `target`; or `data` is a Run.
    Without a run, `steps` steps of gradient descent at its automatic rate are predicted. For squared error
    every figure is exact, from the moments, and the run of a table is not read again; for other losses
    curvatures are those at the minimum and at the run's weights, and the safe learning rate comes from a
    bound that holds at any weights. Raises `DescendError` on bad input.

    >>> import descend
    >>> x, y = descend.make_line(100, seed=0)
    >>> d = descend.diagnose(x, y, intercept=False)
    >>> round(d.learning_rate_limit, 4), round(d.condition_number, 2), d.findings
    (0.9856, 2.8, ())
    """
    if isinstance(steps, bool) or steps != int(steps) or steps < 0:
        raise DescendError(f"`steps` must be a whole number of at least 0, got {steps!r}.")
    run = data if isinstance(data, Run) else None
    if run is not None and run.kept is not None and run.quadratic is not None:
        return _diagnosis(Case.kept(run, run.quadratic), run, int(steps))
    made = Problem.of(data, y, **problem) if run is None else _again(run)
    try:
        return _diagnosis(Case.of(made), run, int(steps))
    finally:
        made.close()


@dataclass(frozen=True)
class Case:
    """What is diagnosed: an objective, and what is known about its columns and its target."""

    objective: Objective
    feature_names: tuple[str, ...]
    classes: tuple[Any, ...] | None
    encoding: Encoding | None
    """None for arrays."""
    profiles: Mapping[str, Profile]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    shares: Float | None = None
    """Of the classes in the training rows."""

    @staticmethod
    def of(problem: Problem) -> Case:
        """Of an open problem."""
        return Case(
            problem.objective,
            problem.feature_names,
            problem.classes,
            problem.encoding,
            problem.profiles,
            tuple(problem.warnings),
            tuple(problem.notes),
            None if problem.classes is None else problem.constant,
        )

    @staticmethod
    def kept(run: Run, quadratic: Quadratic) -> Case:
        """Of squared error, from what the run has kept of its rows, which are not read again."""
        model, left_out = run.model, [line for line in run.warnings if line.startswith("column ")]
        unknown = (
            [] if model.encoding else ["the rows are gone: values far from the others are not looked for"]
        )
        return Case(
            quadratic,
            model.feature_names,
            None,
            model.encoding,
            run.profiles,
            tuple(left_out),
            (*run.notes, *unknown),
        )


def _again(run: Run) -> Problem:
    """The problem of a run, made once more of what it was made of."""
    if run.origin is None:
        raise DescendError(
            "`diagnose` needs a Run that `fit` returned: this one does not know its data, as an estimator lets its rows go. "
            "Give them: `diagnose(x, y, loss=...)`."
        )
    made = Problem.of(run.origin.data, run.origin.y, **run.origin.options)
    if made.objective.shape != run.weights.shape:
        made.close()
        raise DescendError("the data of the run has changed since: fit once more.")
    return made


def _diagnosis(case: Case, run: Run | None, steps: int) -> Diagnosis:
    objective, encoding = case.objective, case.encoding
    columns = objective.shape[0] - objective.intercept
    if columns > MOMENTS_COLUMNS:
        raise DescendError(f"`diagnose` takes at most {MOMENTS_COLUMNS:,} columns, got {columns:,}.")
    moments = objective.moments
    assert moments is not None  # of a problem, which is in the units of its rows
    optimum, gap = _best(objective, run)
    own = Coordinates.given(columns, objective.intercept)
    if encoding:
        scale, centre = encoding.units
        ways = {STANDARDISED: own, GIVEN: Coordinates(centre, scale, objective.intercept)}
    else:
        ways = {GIVEN: own, STANDARDISED: Coordinates.of(objective).inverse}
    weights = None if run is None else run.model.weights
    above, penalty = gap.best - gap.saturated, described(objective.penalty.to_dict())
    met = {t.name: t for t in conditionings(objective, moments, optimum, above, weights, ways)}
    standardises = encoding is not None or (run is not None and run.standardises)
    conditioning = met[STANDARDISED if standardises else GIVEN]
    expected = forecast(conditioning, gap.best, steps)
    if run is not None:
        expected = forecast_of_run(run, conditioning, ways[conditioning.name], optimum, gap.best) or expected
    elif expected is not None:
        gap = replace(gap, loss=float(expected.curves["automatic"][-1]), steps=steps)
    return Diagnosis(
        encoding.target.name if encoding else "y",
        objective.loss,
        0.0 if penalty is None else float(penalty.settings.get("alpha", 0.0)),
        objective.rows,
        columns,
        encoding is not None,
        objective.intercept,
        met[GIVEN],
        met[STANDARDISED],
        gap,
        tuple(_findings(case, moments)),
        run is not None,
        "" if run is None else run.message,
        standardises,
        (*case.warnings, *case.notes),
        penalty.words("penalty") if penalty else "",
        SMOOTH_PENALTY in objective.offers,
        expected,
        _scene(case, moments, run, conditioning, optimum, gap.best, steps),
    )


def _best(objective: Objective, run: Run | None) -> tuple[Float, Suboptimality]:
    """The weights of the best loss: exact for squared error, else where Newton or L-BFGS arrives."""
    began, way = time.perf_counter(), auto_optimizer(objective)
    start = run.model.weights if run is not None and run.outcome.converged else None
    last = None
    for last in descent.steps(objective, way, start=start):  # noqa: B007
        pass
    assert last is not None
    assert last.loss is not None
    assert last.outcome is not None
    seconds, best, optimum = time.perf_counter() - began, last.loss, last.weights
    found: dict[str, Any] = {}
    if run is not None:
        loss = objective.value(run.model.weights)
        found = {"loss": loss, "optimizer": run.optimizer.name, "steps": int(run.history.number[-1])}
        if loss < best:
            best, optimum = loss, run.model.weights
    penalty = objective.penalty_value(optimum)
    constant, reached = objective.constant_loss, last.outcome.converged
    found["saturated"] = objective.best_loss
    return optimum, Suboptimality(best, constant, penalty, way.name, seconds, reached, **found)


def _scene(
    case: Case,
    moments: Moments,
    run: Run | None,
    conditioning: Conditioning,
    optimum: Float,
    best: float,
    steps: int,
) -> Scene | None:
    """What the loss surface needs; no rows of squared error, of other losses a sample."""
    objective = case.objective
    if conditioning.curvatures is None or optimum.size < 2:
        return None
    about: Around | None = objective.without_rows()
    if about is None:
        sample = sample_of(objective.session.source, objective.rows) if run is None else run.sample
        if sample is None:
            return None
        about = Sampled(sample, objective.loss, objective.penalty, objective.intercept, optimum, best)
    spread = np.sqrt(np.maximum(moments.cross.diagonal()[:-1], 0.0) / moments.weight)
    constant = spread <= 1e-12 * np.abs(moments.mean[:-1])
    spread = np.where(constant, np.abs(moments.mean[:-1]), spread)
    names = [*case.feature_names, *(["(intercept)"] if objective.intercept else [])]
    scale = np.append(spread, 1.0)[: len(names)]
    if optimum.ndim == 2:
        scale = np.repeat(scale, optimum.shape[1])
        names = [f"{name} ({label})" for name in names for label in case.classes or ()]
    if run is None and not conditioning.plans:  # no way there is known: the beginning and the end of any
        zeros = objective.zeros()
        way = np.array([0.0, 1.0]), np.stack([zeros, optimum]), np.array([objective.value(zeros), best])
    else:
        way = walked(run, conditioning, optimum, best, steps)
    return Scene(about, optimum, scale, tuple(names), *way)


def _findings(case: Case, moments: Moments) -> list[Finding]:
    """What is remarkable about the columns and the target."""
    objective, encoding = case.objective, case.encoding
    columns = objective.shape[0] - objective.intercept
    numbers = range(len(encoding.numbers) if encoding else columns)
    units, centres = encoding.units if encoding else (np.ones(columns), np.zeros(columns))
    target = encoding.target.name if encoding else "y"
    low, high, splitting = _extremes(case, columns, len(numbers))
    subject = ColumnStatistics(
        case.feature_names,
        moments,
        units,
        centres,
        objective.intercept,
        case.classes,
        target,
        encoding is not None,
        numbers,
        encoding.independent if encoding else range(columns),
        low if encoding and not case.classes else centres + units * low,
        high if encoding and not case.classes else centres + units * high,
        encoding.owners if encoding else (),
    )
    found = [
        Finding(
            "left out", (), line, LEFT_OUT if "is left out" in line else "Nothing to do, if that is right."
        )
        for line in case.warnings
    ]
    apart = separation(objective) if objective.loss.separable else None  # another may have a minimum there
    found += separated(subject, splitting, apart, objective.loss.separable, not objective.penalty.is_zero)
    if case.classes is not None and case.shares is not None:
        found += imbalance(case.shares, case.classes, target, subject.table)
    return found + about_columns(subject)


def _extremes(case: Case, columns: int, numbers: int) -> tuple[Float, Float, list[int]]:
    """The smallest and the largest value of each column, and the columns that split two classes by themselves."""
    low, high = np.full(columns, np.nan), np.full(columns, np.nan)
    if case.encoding is not None and case.classes is None:
        for i, column in enumerate(case.encoding.numbers):
            profile = case.profiles[column.name]
            if isinstance(profile, NumberProfile):
                low[i], high[i] = profile.low, profile.high
        return low, high, []
    if not case.objective.session.has_rows:
        return low, high, []
    several = len(case.classes) if case.classes and len(case.classes) <= MOST_CLASSES else 1
    extremes = case.objective.session.reduce(Extremes(several))
    dense = extremes.shape[2]
    low[:dense], high[:dense] = -extremes[:, 0].max(axis=0), extremes[:, 1].max(axis=0)
    splitting: list[int] = []
    if several == 2 and len(case.classes or ()) == 2:
        apart = (extremes[0, 1] < -extremes[1, 0]) | (extremes[1, 1] < -extremes[0, 0])
        splitting = np.flatnonzero(apart[:numbers]).tolist()
    return low, high, splitting
