"""Learning rates where the curvature has no bound: searched for by backtracking, step by step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from descend.engines.matrix import Float

UNTOLD = 1e-14
"""Losses that differ by a smaller share of their magnitude than this are too close for float64 to tell apart."""
TRIALS = 60


def backtracked(
    value: Callable[[Float], float],
    w: Float,
    loss: float,
    gradient: Float,
    rate: float,
    magnitude: float,
    ahead: bool = False,
) -> float:
    """The first of `rate`, its half, its quarter ... at which a step down the gradient lowers the loss enough.

    With `ahead` it is the last of `rate`, twice that, four times that ..., where the first one does already.

    That is by `rate |g|**2 / 2`, as wherever `rate` times the curvature is at most 1: Armijo's condition (1966) with
    the constant of Nesterov, Introductory Lectures on Convex Optimization (2004), 1.2.3. `value` is the loss at
    weights, `loss` that at `w`; where they are too close to tell apart, next to its `magnitude`, any rate will do.

    >>> w = np.array([3.0])
    >>> backtracked(lambda w: float(np.exp(w[0])), w, float(np.exp(3.0)), np.exp(w), 1.0, 1.0)
    0.0625
    """
    squares = float(np.vdot(gradient, gradient))

    def serves(rate: float) -> bool:
        return value(w - rate * gradient) <= loss - 0.5 * rate * squares

    for halvings in range(TRIALS):
        if rate * squares <= UNTOLD * magnitude:
            break
        if serves(rate):
            for _ in range(TRIALS if ahead and not halvings else 0):
                if not serves(2.0 * rate):
                    break
                rate *= 2.0
            break
        rate *= 0.5
    return rate
