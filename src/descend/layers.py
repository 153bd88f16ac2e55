"""A linear layer that torch has trained, as a Run."""

from __future__ import annotations

from typing import Any

import numpy as np

from descend.fitting import finished
from descend.history import History, Step
from descend.optimizers import GradientDescent
from descend.problem import Problem
from descend.run import Run
from descend.stopping import Outcome


def run_of_layer(layer: Any, x: Any, y: Any, loss: Any, history: History | None) -> Run:
    """See `Run.from_torch`. A history that does not end at the layer's weights gets one more row."""
    from descend.autograd import from_linear

    weights, intercept = from_linear(layer)
    chosen = loss or ("squared-error" if weights.ndim == 1 else "cross-entropy")
    problem = Problem.of(x, y, loss=chosen, intercept=intercept)
    try:
        w = problem.objective.check_weights(weights, "layer")
        history = History() if history is None else history
        value = problem.objective.value(w)
        if not len(history) or not np.array_equal(history.weights[-1].ravel(), w.ravel()):
            history.record(loss=value, weights=w)
        last = Step(len(history) - 1, loss=value, weights=w, outcome=Outcome.ELSEWHERE)
        return finished(problem, history, last, GradientDescent(), "")
    finally:
        problem.close()
