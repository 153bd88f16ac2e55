"""`fit`: a for loop around `steps`, and what is made of its end."""

from __future__ import annotations

import difflib
import inspect
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any, Unpack

from descend.descent import steps as descent
from descend.descent.choose import OPTIMIZERS, check, choose
from descend.descent.first_order import Optimizer
from descend.descent.history import History, Step
from descend.descent.stopping import Outcome
from descend.engines.matrix import empty_like
from descend.errors import DescendError, DescendWarning, EngineLostError, check_whole
from descend.machine import processor
from descend.models.inference import deviance, standard_errors, total_variance
from descend.models.metrics import Metrics
from descend.models.model import Model
from descend.objectives.objective import Objective
from descend.objectives.sampled import sample_of
from descend.runs.endings import announce, explain
from descend.runs.problem import Problem, ProblemOptions
from descend.runs.run import Run
from descend.runs.units import units_of

MAX_WEIGHTS = 1_024
"""Up to so many weights a table's run keeps its moments, for the loss surface."""

SEPARATED = (
    "the classes are separated: without a penalty no weights are the best, larger ones are always better. "
    "Give a `penalty`, 0.01 for example (--l2 0.01)"
)


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
    `sample_weight`, `valid`, `seed`, `columns`, `class_weight`, `memory`, `engine`.

    `optimizer` is "auto", which takes what the objective allows, "exact", "newton", "lbfgs", "gradient-descent",
    "adam", "local-steps" or an object such as `GradientDescent(0.1)`. `start` holds the first weights, zeros unless
    given: one per feature, the intercept last. `steps` updates or `epochs` passes are made; without either the run
    ends where the gradient norm is at most `tolerance` (1e-6), or after 10,000 steps, and in any case after
    `time_limit` seconds, or when the loss of the rows held out has not fallen `patience` times in a row.
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
    check_settings(problem, inspect.signature(fit).parameters, every)
    made = Problem.of(data, y, **problem)
    try:
        if made.session.may_be_lost:
            made.constant  # noqa: B018  kept from now on: at the end the workers may be gone
        units = units_of(made.objective, standardize and made.encoding is None, batch_size is not None)
        objective, validation, start = units.taken_to(made.objective, made.validation, start)
        chosen = choose(optimizer, objective, batch_size)
        check(chosen, objective)
        if batch_size is None:
            made.warnings += announce(objective, chosen)
        for warning in made.warnings:
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
        walk = units.walk_back(walk)
        walk = walk if watch is None else watch(walk)
        if progress:
            from descend.runs.progress import watched

            walk = watched(walk, steps, time_limit)
        history, last = recorded(walk, made, every)
        there = objective, units.there(last)
        run = _ended(made, there, chosen, history, last, batch_size is not None)
        run.origin, run.like = (data, y, problem), empty_like(data)
        run.standardises = standardize and made.encoding is None
        return run
    finally:
        made.close()


def _ended(
    made: Problem,
    there: tuple[Objective, Step],
    chosen: Optimizer,
    history: History,
    last: Step,
    in_batches: bool,
) -> Run:
    """The Run, its ending explained; `there` are the objective and the last step in the units of the descent."""
    names = (*made.feature_names, *(["(intercept)"] if made.objective.intercept else []))
    try:
        details = explain(there[0], chosen, history, there[1], names, in_batches)
        return finished(made, history, last, chosen, details)
    except EngineLostError as error:  # the walk is over: what needs no rows is still there
        made.warnings.append(str(error))
        return finished(made, history, last._replace(outcome=Outcome.LOST), chosen, "")


def finished(problem: Problem, history: History, last: Step, optimizer: Optimizer, details: str) -> Run:
    """The Run of a walk that has ended; of a table the metrics too, while its rows are there."""
    assert last.outcome is not None
    model, encoding = model_of(problem, last, optimizer), problem.encoding
    model.facts["details"] = details
    model.facts["variance"] = total_variance(problem.objective)
    model.facts["counted"] = {"rows": problem.objective.rows, "weight": problem.objective.weight}
    errors, metrics, seen = None, None, None
    lost = last.outcome is Outcome.LOST
    if last.outcome.converged:
        errors = standard_errors(problem.objective, last.weights, encoding)
        if found := deviance(problem.objective, last.weights):
            model.facts["deviance"] = found
    model.facts["standard_errors"] = errors
    if encoding is not None:
        metrics = {} if lost else problem.metrics(last.weights)
        model.facts["metrics"] = {side: m.to_dict() for side, m in metrics.items()}
        problem.rows |= {side: m.rows for side, m in metrics.items()}  # less those of unknown classes
        seen = sample_of(problem.sampled.get("training", problem.session).source, problem.rows["training"])
    if _separated(problem, last, metrics):
        problem.warnings.append(SEPARATED)
        model.facts["notes"].append(SEPARATED)
        warnings.warn(SEPARATED, DescendWarning, stacklevel=4)
    run = Run(
        model,
        history,
        last.outcome,
        optimizer,
        problem.rows,
        problem.notes,
        problem.warnings,
        errors,
        problem if encoding is None else None,
        details=details,
        _metrics=metrics,
    )
    if encoding is not None:
        small = problem.objective.shape[0] <= MAX_WEIGHTS
        run._sample, run._quadratic = seen, problem.objective.without_rows() if small else None
        kept = () if run._quadratic is None else encoding.numbers
        run.profiles = {column.name: problem.profiles[column.name] for column in kept}
    return run


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


def check_settings(problem: Mapping[str, Any], parameters: Collection[str], every: int | None) -> None:
    """Raise `DescendError` for a keyword argument that neither `parameters` nor a problem has."""
    if every is not None:
        check_whole("every", every, 0)
    having = list(dict.fromkeys([*ProblemOptions.__annotations__, *parameters]))
    having.remove("problem")  # stands for those of a problem
    for name in [name for name in problem if name not in having]:
        owners = [kind.__name__ for kind in OPTIMIZERS.values() if name in {f.name for f in fields(kind)}]
        close = difflib.get_close_matches(name, having, 1)
        hint = f" Did you mean `{close[0]}`?" if close else f" It takes {', '.join(having)}."
        if owners:
            hint = f" It is a setting of the optimizer: optimizer=descend.{owners[0]}({name}=...)."
        raise DescendError(f"`fit` has no parameter `{name}`.{hint}")


def recorded(walk: Iterator[Step], problem: Problem, every: int | None) -> tuple[History, Step]:
    """Go through the walk, keep every step; Ctrl-C and the loss of all workers keep what there is."""
    intercept = ("(intercept)",) if problem.objective.intercept else ()
    history, last = History(names=(*problem.feature_names, *intercept)), None
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
            outcome = Outcome.LOST
            problem.warnings.append(str(error))
    assert last is not None
    return history, last if last.outcome else last._replace(outcome=outcome)


def model_of(problem: Problem, last: Step, optimizer: Optimizer) -> Model:
    from descend import __version__

    facts = {
        "descend": __version__,
        "outcome": last.outcome.value if last.outcome else None,
        "optimizer": optimizer.name,
        "penalty": {"name": problem.objective.penalty.name, **vars(problem.objective.penalty)},
        "steps": last.number,
        "loss": last.loss if last.loss is not None and math.isfinite(last.loss) else None,
        "seconds": last.seconds,
        "rows": problem.rows,
        "constant": problem.constant.tolist(),
        "missing": problem.missing,
        "processor": " ".join(sorted(problem.session.processors)) or processor(),
        "notes": [*problem.notes, *problem.warnings],
    }
    return Model(
        problem.loss,
        last.weights,
        problem.objective.intercept,
        problem.feature_names,
        problem.classes,
        problem.encoding,
        facts,
    )
