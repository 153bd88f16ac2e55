"""From a walk to its history, and from its last step to a model."""

from __future__ import annotations

import math
from collections.abc import Iterator

from descend.descent.first_order import Optimizer
from descend.descent.history import History, Step
from descend.descent.stopping import Outcome
from descend.engines.machine import processor
from descend.errors import EngineLostError
from descend.models.model import Model
from descend.runs.problem import Problem


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
        "processor": " ".join(sorted(getattr(problem.session, "processors", ()))) or processor(),
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
