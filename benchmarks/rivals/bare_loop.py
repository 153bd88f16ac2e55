"""The epoch and nothing else, no history and no loss: what NumPy, and what compiled code, need at least."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

NAME, COMPILED = "bare loop, NumPy", "bare loop, numba"


def available() -> bool:
    """Whether numba is installed: `make bench` installs it."""
    return find_spec("numba") is not None


def logistic_epoch(X: np.ndarray, y: np.ndarray, batch_size: int, learning_rate: float) -> np.ndarray:
    """One epoch of stochastic gradient descent on one core; the weights in float64, the intercept last."""
    rows, columns = X.shape
    order = np.random.default_rng(0).permutation(rows)
    w, buffer = np.zeros(columns + 1), np.ones((batch_size, columns + 1))
    for start in range(0, rows, batch_size):
        batch = order[start : start + batch_size]
        Z = buffer[: len(batch)]
        Z[:, :-1] = X[batch]
        g = 0.5 + 0.5 * np.tanh(0.5 * (Z @ w)) - y[batch]
        w -= learning_rate / len(batch) * (g @ Z)
    return w


def compiled() -> Any:
    """The same as a compiled function, rows gathered, predicted and summed in one go."""
    import numba

    @numba.njit(fastmath=True)
    def walk(X: Any, y: Any, order: Any, batch_size: int, learning_rate: float) -> Any:
        rows, columns = X.shape
        w, gradient = np.zeros(columns + 1), np.empty(columns + 1)
        for start in range(0, rows, batch_size):
            stop = min(start + batch_size, rows)
            gradient[:] = 0.0
            for i in order[start:stop]:
                z = w[columns]
                for j in range(columns):
                    z += X[i, j] * w[j]
                g = 1.0 / (1.0 + np.exp(-z)) - y[i]
                for j in range(columns):
                    gradient[j] += g * X[i, j]
                gradient[columns] += g
            w -= learning_rate / (stop - start) * gradient
        return w

    def epoch(X: np.ndarray, y: np.ndarray, batch_size: int, learning_rate: float) -> np.ndarray:
        order = np.random.default_rng(0).permutation(len(X))
        return np.asarray(walk(X, y, order, batch_size, learning_rate))

    return epoch
