"""A linear layer that torch has trained, as a Run."""

from __future__ import annotations

from typing import Any

import numpy as np

from descend.descent.first_order import GradientDescent
from descend.descent.history import History, Step, laid_out
from descend.descent.stopping import Outcome
from descend.engines import matrix
from descend.engines.matrix import Array, Float
from descend.errors import ShapeError
from descend.interfaces.torch_loss import torch
from descend.runs.fitting import Ended, finished
from descend.runs.problem import Problem
from descend.runs.run import Run


def run_of_layer(layer: Any, x: Any, y: Any, loss: Any, history: History | None) -> Run:
    """See `Run.from_torch`. A history that does not end at the layer's weights gets one more row.

    Of several outputs the parameters of a layer, laid end to end, have another order than the weights here:
    a history of them is copied into that of the weights.
    """

    weights, intercept = from_linear(layer)
    chosen = loss or ("squared-error" if weights.ndim == 1 else "cross-entropy")
    problem = Problem.of(x, y, loss=chosen, intercept=intercept)
    try:
        w = problem.objective.check_weights(weights, "layer")
        history = History() if history is None else history
        value = problem.objective.value(w)
        if weights.ndim == 2 and history.weights.shape[1:] == (weights.size,):
            history = laid_out(history, _places_of(weights, intercept))
        number = int(history.number[-1]) if len(history) else -1
        if not len(history.weights) or not np.array_equal(history.weights[-1].ravel(), w.ravel()):
            number += 1
            history.record(loss=value, weights=w, number=number)
        last = Step(number, loss=value, weights=w, outcome=Outcome.ELSEWHERE)
        return finished(problem, Ended(history, last, GradientDescent(), tuple(problem.warnings)))
    finally:
        problem.close()


def _places_of(weights: Float, intercept: bool) -> Array:
    """Where among the parameters of a layer, outputs by features and then the biases, each weight is.

    >>> _places_of(np.empty((3, 2)), True).tolist()
    [[0, 2], [1, 3], [4, 5]]
    """
    columns, outputs = len(weights) - intercept, weights.shape[1]
    places = np.arange(weights.size)
    by_output = places[: columns * outputs].reshape(outputs, columns).T
    return np.vstack([by_output, places[columns * outputs :].reshape(-1, outputs)])


def to_linear(weights: Float, intercept: bool) -> Any:
    """An `nn.Linear` in float64 of weights (features,) or (features, outputs), the intercept last."""
    W = torch.as_tensor(weights).reshape(len(weights), -1)
    layer = torch.nn.Linear(len(W) - intercept, W.shape[1], bias=intercept, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(W[:-1].T if intercept else W.T)
        if intercept:
            layer.bias.copy_(W[-1])
    return layer


def from_linear(layer: Any) -> tuple[Float, bool]:
    """The weights of a linear layer, (features,) or (features, outputs), and whether the last is an intercept."""
    weight: Any = getattr(layer, "weight", None)  # anything may be given; the error says what it lacks
    bias: Any = getattr(layer, "bias", None)
    if not matrix.is_tensor(weight) or weight.ndim != 2:
        kind = type(layer).__name__
        raise ShapeError(
            f"`layer` must be an nn.Linear, with a weight of shape (outputs, features), got {kind}."
        )
    W = weight.detach().cpu().double().numpy().T
    if bias is not None:
        W = np.vstack([W, bias.detach().cpu().double().numpy()])
    return np.array(W[:, 0] if W.shape[1] == 1 else W), bias is not None
