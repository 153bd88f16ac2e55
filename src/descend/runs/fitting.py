"""`fit`: a for loop around `steps`, and what is made of its end."""

from __future__ import annotations

import difflib
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from descend.descent import steps as descent
from descend.descent.choose import OPTIMIZERS, check, choose
from descend.descent.first_order import Optimizer
from descend.descent.history import History, Step
from descend.descent.stopping import Outcome
from descend.engines.matrix import Float, empty_like
from descend.errors import DescendError, DescendWarning, EngineLostError, check_whole
from descend.machine import processor
from descend.models.covariance import Uncertainty, counted, standard_errors, uncertainty
from descend.models.metrics import Metrics, goodness
from descend.models.model import Model
from descend.models.separation import receding, separators, settled, splitting
from descend.objectives.coordinates import Coordinates
from descend.objectives.objective import Objective
from descend.objectives.sampled import sample_of
from descend.runs.endings import alone, announce, explain, may_be_separated, separated, without_minimum
from descend.runs.problem import Problem, ProblemOptions
from descend.runs.progress import watched
from descend.runs.run import Kept, Origin, Run

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding

UNENDED = (Outcome.TIME_LIMIT, Outcome.INTERRUPTED, Outcome.LOST)
MAX_WEIGHTS = 1_024
"""Up to so many weights a table's run keeps its moments, for the loss surface."""


def fit(
    data: Any,
    y: Any = None,
    *,
    optimizer: Optimizer | str = "auto",
    start: Any = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    patience: int | None = None,
    tolerance: float | None = None,
    time_limit: float | None = None,
    every: int | None = None,
    progress: bool = False,
    standardize: bool = False,
    watch: Callable[[Iterator[Step]], Iterator[Step]] | None = None,
    **problem: Unpack[ProblemOptions],
) -> Run:
    """Fit a linear model and return the Run.

    `fit(x, y)` takes arrays as they are, `data` of shape (rows, features) and `y` (rows,); `fit("data.csv",
    target="price")` and `fit(frame, target="price")` encode a table. What is minimised, and over which rows, the
    keyword arguments in `problem` say; they are those of `Problem.of`: `target`, `loss`, `penalty`, `intercept`,
    `sample_weight`, `offset`, `valid`, `seed`, `columns`, `class_weight`, `memory`, `engine`, `penalise`,
    `feature_names`, and for standard errors `errors`, `cluster`, `weight_kind`.

    `optimizer` is "auto", which takes what the objective allows, "exact", "newton", "lbfgs", "gradient-descent",
    "adam", "local-steps" or an object such as `GradientDescent(0.1)`. `start` holds the first weights, zeros unless
    given: one per feature, the intercept last. `steps` updates or `epochs` passes are made; without either the run
    ends where the gradient norm is at most `tolerance`, or without one where the loss is at its minimum and eight
    digits of the weights are right, or after 10,000 steps, and in any case after `time_limit` seconds, or when the loss
    of the rows held out has not fallen `patience` times in a row.
    `batch_size` makes a first-order optimizer step on so many rows at a time, in an order that `seed` decides.
    `every` prints the loss every so many steps; `progress` shows a live line; `watch` is a generator that the steps
    go through.
    `standardize` makes the descent on arrays go through standardised coordinates (a table's always does):
    learning rate and tolerance are then in those, start, weights and penalty in the units of the data.
    Ctrl-C ends the run and returns it as it is. Raises `DescendError` on bad input.

    >>> import descend
    >>> x, y = descend.make_line(100, weights=(3, 2), seed=0)
    >>> run = descend.fit(x, y, intercept=False, start=(0.5, 0.75),
    ...                   optimizer=descend.GradientDescent(learning_rate=0.1), steps=100, every=25)
        0  6.69848
       25  0.129954
       50  0.0853082
       75  0.0842697
    >>> run.weights.round(2).tolist(), run.outcome.name
    ([3.12, 2.52], 'STEP_LIMIT')
    """
    check_settings(problem, every)
    made = Problem.of(data, y, **problem)
    try:
        if made.session.may_be_lost:
            made.constant  # noqa: B018  kept from now on: at the end the workers may be gone
        in_batches = batch_size is not None
        units = None  # a table is standardised already
        if standardize and made.encoding is None:
            units = Coordinates.of(made.objective, in_batches)
        objective, validation, start = _in_units(units, made, start)
        chosen = choose(optimizer, objective, batch_size)
        check(chosen, objective)
        said = [*made.warnings, *([] if in_batches else announce(objective, chosen))]
        for warning in said:
            warnings.warn(warning, DescendWarning, stacklevel=2)
        walk = descent.steps(
            objective,
            chosen,
            limit=steps,
            epochs=epochs,
            batch_size=batch_size,
            seed=problem.get("seed", 0),
            start=start,
            tolerance=tolerance,
            time_limit=time_limit,
            validation=validation,
            patience=patience,
        )
        walk = walk if units is None else _in_units_of_data(walk, units)
        walk = walk if watch is None else watch(walk)
        walk = watched(walk, steps, time_limit) if progress else walk
        history, last, lost = recorded(walk, made.weight_names, every)
        limited = steps is not None or epochs is not None
        ended = Ended(history, last, chosen, (*said, *lost), "", units is not None, limited)
        return _explained(made, ended, objective, units, in_batches, Origin(data, y, problem))
    finally:
        made.close()


def _in_units(
    units: Coordinates | None, made: Problem, start: Any
) -> tuple[Objective, Objective | None, Any]:
    """Both objectives and the start of a descent in these units; in those of the data for None."""
    if units is None:
        return made.objective, made.validation, start
    if start is not None:
        start = units.to_descent(made.objective.check_weights(start))
    validation = None if made.validation is None else made.validation.in_coordinates(units)
    return made.objective.in_coordinates(units), validation, start


def _in_units_of_data(walk: Iterator[Step], units: Coordinates) -> Iterator[Step]:
    """The steps of a walk in these units, with weights in those of the data."""
    for step in walk:
        with np.errstate(over="ignore", invalid="ignore"):  # of a walk that leaves for infinity
            weights = units.to_original(step.weights)
        yield step._replace(weights=weights)


def recorded(
    walk: Iterator[Step], names: tuple[str, ...], every: int | None
) -> tuple[History, Step, list[str]]:
    """Go through the walk, keep every step; Ctrl-C and the loss of all workers keep what there is.

    The history, the last step with its outcome, and a sentence where the workers were lost.
    """
    history, last, lost = History(names=names), None, []
    outcome = Outcome.INTERRUPTED
    try:
        for last in walk:
            history.add(last)
            if every and last.outcome is None and last.number % every == 0:
                print(f"{last.number:5d}  {last.batch_loss if last.loss is None else last.loss:.6g}")
    except (KeyboardInterrupt, EngineLostError) as error:
        if last is None:
            raise
        if isinstance(error, EngineLostError):
            outcome, lost = Outcome.LOST, [str(error)]
    assert last is not None
    return history, last if last.outcome else last._replace(outcome=outcome), lost


@dataclass(frozen=True)
class Ended:
    """A walk that has ended: its steps, the last one with weights in the units of the data, and what was said."""

    history: History
    last: Step
    optimizer: Optimizer
    warnings: tuple[str, ...] = ()
    details: str = ""
    """What the ending means."""
    standardises: bool = False
    """Whether arrays were standardised for the descent."""
    limited: bool = False
    """Whether the number of steps was given."""
    separation: dict[str, Any] = field(default_factory=dict)
    """Of weights that run to infinity: the kind, the direction, the names that lead there, the weights without a limit."""
    ways: Float | None = None
    """The directions in which they have no limit."""

    @property
    def outcome(self) -> Outcome:
        """Why it ended."""
        assert self.last.outcome is not None
        return self.last.outcome


def _explained(
    made: Problem,
    ended: Ended,
    objective: Objective,
    units: Coordinates | None,
    in_batches: bool,
    origin: Origin,
) -> Run:
    """The Run, its ending explained by the objective of the descent, in whose units the optimizer's settings are."""
    last = ended.last
    there = last if units is None else last._replace(weights=units.to_descent(last.weights))
    try:
        ours = not ended.limited and ended.outcome not in UNENDED
        if ours and (said := alone(made.objective)):
            facts = {"kind": "perfect", "names": [], "endless": ["(intercept)"]}
            last = last._replace(outcome=Outcome.SEPARATED)
            ended = replace(ended, last=last, details=said, separation=facts)
        elif not ended.limited and may_be_separated(objective, there, in_batches):
            ended = separated_end(made, ended)
        if not ended.separation:
            details = explain(objective, ended.optimizer, ended.history, there, made.weight_names, in_batches)
            ended = replace(ended, details=details)
        return finished(made, ended, origin)
    except EngineLostError as error:  # the walk is over: what needs no rows is still there
        lost = last._replace(outcome=Outcome.LOST)
        return finished(made, replace(ended, last=lost, warnings=(*ended.warnings, str(error))), origin)


def separated_end(problem: Problem, ended: Ended) -> Ended:
    """How a walk has ended whose weights run to infinity, if they do: which columns lead there, the others at their limits."""
    objective, last = problem.objective, ended.last
    way = receding(objective, last.weights, ended.optimizer.name == "newton")
    if way is None:
        outcome = Outcome.STALLED if ended.outcome is Outcome.SEPARATED else ended.outcome
        return replace(ended, last=last._replace(outcome=outcome))
    names = separators(way.part, problem.feature_names, problem.encoding, objective.intercept)
    if way.kind == "perfect" and problem.loss.has_classes and (columns := splitting(objective)):
        names = tuple(problem.feature_names[i] for i in columns)
    told = separated(problem.loss, way.kind, names)
    facts = {
        "kind": way.kind,
        "direction": way.direction.tolist(),
        "names": list(names),
        "endless": [name for name, free in zip(problem.weight_names, way.endless, strict=True) if free],
    }
    if ended.outcome is Outcome.TIME_LIMIT:
        said = without_minimum(problem.loss)
        return replace(ended, details=f"{said[0].upper()}{said[1:]} {told}", separation=facts)
    last = last._replace(outcome=Outcome.SEPARATED)
    if way.kind == "partial":
        w = settled(objective, way, last.weights)
        loss, gradient = objective.value_and_gradient(w)
        norm = float(np.linalg.norm(gradient))
        number = last.number + 1
        last = last._replace(number=number, epoch=number, loss=loss, gradient_norm=norm, weights=w)
        ended.history.add(last)
    return replace(ended, last=last, details=told, separation=facts, ways=way.ways)


def finished(problem: Problem, ended: Ended, origin: Origin | None = None) -> Run:
    """The Run of a walk that has ended; of a table the metrics too, while its rows are there."""
    last, converged = ended.last, ended.outcome.converged
    objective, encoding = problem.objective, problem.encoding
    settled = ended.separation.get("kind") == "partial" and ended.outcome is Outcome.SEPARATED
    found = uncertainty(objective, last.weights, problem.errors) if converged or settled else None
    if found is not None and ended.ways is not None and settled:
        found = found.without(ended.ways)
    errors = standard_errors(found, last.weights, problem.weight_names, encoding)
    facts: dict[str, Any] = {"details": ended.details, **_concluded(problem, last, found, converged)}
    facts["standard_errors"] = None if errors is None else finite(errors)
    rows, kept, said = problem.rows, None, list(ended.warnings)
    if encoding is not None:
        metrics = {} if ended.outcome is Outcome.LOST else problem.metrics(last.weights)
        facts["metrics"] = {side: m.to_dict() for side, m in metrics.items()}
        rows = rows | {side: m.rows for side, m in metrics.items()}  # less those of unknown classes
        kept = _kept(problem, encoding, metrics, rows["training"])
    no_minimum = without_minimum(problem.loss)
    if ended.separation:
        facts["separation"] = ended.separation
        separated = [ended.details]
        if ended.separation["names"]:  # else nothing tells them apart: there are no others
            separated = [f"{no_minimum} {ended.details.removeprefix(no_minimum.capitalize()).strip()}"]
    else:
        separated = [no_minimum] * _separated(problem, last, None if kept is None else kept.metrics)
    for sentence in separated:
        said.append(sentence)
        warnings.warn(sentence, DescendWarning, stacklevel=4)
    return Run(
        model_of(problem, ended, rows, said, facts, found),
        ended.history,
        ended.outcome,
        ended.optimizer,
        rows,
        list(problem.notes),
        said,
        errors,
        problem if encoding is None else None,
        ended.details,
        origin,
        ended.standardises,
        kept,
        None if origin is None else empty_like(origin.data),
    )


def _concluded(problem: Problem, last: Step, found: Uncertainty | None, converged: bool) -> dict[str, Any]:
    """What a summary says beside the coefficients: how many rows and weights count, how well they fit."""
    objective, kind = problem.objective, problem.errors
    rows, rank = counted(objective, kind.frequencies), objective.rank if objective.exact else None
    facts: dict[str, Any] = {"counted": {"rows": rows, "weight": objective.weight}}
    if converged and objective.penalty.is_zero and objective.session.has_rows:
        if found is not None or rank is not None:
            rank = found.rank if found is not None else (rank or 0) + objective.intercept
            facts["counted"] |= {"rank": rank, "has_constant": objective.has_constant}
        assert last.loss is not None  # of all rows, where it has converged
        facts["goodness"] = goodness(objective, last.weights, last.loss, rows, kind.frequencies)
    if found is not None:
        facts["errors"] = found.told()
    return facts


def finite(errors: dict[str, Any]) -> dict[str, Any]:
    """Standard errors as a file keeps them: None for NaN."""

    def plain(error: Any) -> Any:
        return [plain(e) for e in error] if isinstance(error, tuple) else None if math.isnan(error) else error

    return {name: plain(error) for name, error in errors.items()}


def _kept(problem: Problem, encoding: Encoding, metrics: dict[str, Metrics], rows: int) -> Kept:
    """What is kept of a table when its rows are let go."""
    small = problem.objective.shape[0] <= MAX_WEIGHTS
    quadratic = problem.objective.without_rows() if small else None
    columns = () if quadratic is None else encoding.numbers
    source = problem.sampled.get("training", problem.session).source
    profiles = {column.name: problem.profiles[column.name] for column in columns}
    return Kept(metrics, sample_of(source, rows), quadratic, profiles, problem.objective.penalty)


def _separated(problem: Problem, last: Step, metrics: dict[str, Metrics] | None) -> bool:
    """Whether every training row is on its own side: then no weights are the most likely, without a penalty.

    Of arrays, whose metrics cost a pass, it is known where no row can have a loss of log 2.
    """
    loss = problem.loss
    if not (problem.objective.penalty.is_zero and loss.has_classes and loss.likelihood):
        return False
    if metrics is not None:
        return bool(metrics) and metrics["training"].values["accuracy"] > 1 - 1e-12
    rows, weight = problem.objective.rows, problem.objective.weight
    return last.loss is not None and rows == weight and last.loss * rows < math.log(2)


def model_of(
    problem: Problem,
    ended: Ended,
    rows: dict[str, int],
    said: Sequence[str],
    more: dict[str, Any],
    found: Uncertainty | None = None,
) -> Model:
    """The model of a walk that has ended, with what its file tells of the run: `more` comes last."""
    from descend import __version__

    last, penalty = ended.last, problem.objective.penalty
    facts = {
        "descend": __version__,
        "outcome": ended.outcome.value,
        "optimizer": ended.optimizer.name,
        "penalty": penalty.to_dict(),
        **({} if penalty.is_zero else {"penalise": problem.penalise}),
        "steps": last.number,
        "loss": last.loss if last.loss is not None and math.isfinite(last.loss) else None,
        "seconds": last.seconds,
        "rows": rows,
        "constant": problem.constant.tolist(),
        "missing": problem.missing,
        "processor": " ".join(sorted(problem.session.processors)) or processor(),
        "notes": [*problem.notes, *said],
        **more,
    }
    return Model(
        problem.loss,
        last.weights,
        problem.objective.intercept,
        problem.feature_names,
        problem.classes,
        problem.encoding,
        facts,
        problem.offset,
        found,
    )


@cache
def _settings() -> tuple[str, ...]:
    """The keyword arguments of `fit`, those of a problem first."""
    own = [name for name in inspect.signature(fit).parameters if name != "problem"]
    return tuple(dict.fromkeys([*ProblemOptions.__annotations__, *own]))


def check_settings(problem: Mapping[str, Any], every: int | None) -> None:
    """Raise `DescendError` for a keyword argument that neither `fit` nor a problem has."""
    if every is not None:
        check_whole("every", every, 0)
    having = _settings()
    for name in [name for name in problem if name not in having]:
        owners = [kind.__name__ for kind in OPTIMIZERS.values() if name in {f.name for f in fields(kind)}]
        close = difflib.get_close_matches(name, having, 1)
        hint = f" Did you mean `{close[0]}`?" if close else f" It takes {', '.join(having)}."
        if owners:
            hint = f" It is a setting of the optimizer: optimizer=descend.{owners[0]}({name}=...)."
        raise DescendError(f"`fit` has no parameter `{name}`.{hint}")
