"""Runs of every kind that the player draws, as films."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import descend
from descend import GradientDescent
from descend.pictures.film import Film


def _regression(features: int) -> Film:
    rng = np.random.default_rng(features)
    x = rng.normal(size=(300, features))
    y = x @ rng.normal(size=features) + 2 + 0.5 * rng.normal(size=300)
    return descend.fit(x, y, optimizer=GradientDescent(0.05), steps=60, valid=0.2).animate()


def _classes(features: int, count: int) -> Film:
    rng = np.random.default_rng(10 * features + count)
    y = rng.integers(0, count, 240)
    x = 1.6 * rng.normal(size=(count, features))[y] + rng.normal(size=(240, features))
    loss = "logistic" if count == 2 else "cross-entropy"
    return descend.fit(x, y, loss=loss, penalty=0.01, optimizer=GradientDescent(), steps=60).animate()


def _counts(features: int) -> Film:
    rng = np.random.default_rng(20 + features)
    x = rng.uniform(-1.5, 1.5, size=(240, features))
    y = rng.poisson(np.exp(x @ np.linspace(1.2, 0.4, features) + 0.5))
    return descend.fit(x, y, loss="poisson", optimizer=GradientDescent(0.05), steps=60, valid=0.2).animate()


def _lesson(rate: float = 0.1, **how: Any) -> Film:
    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    how = {"intercept": False, "start": (0.5, 0.75), "optimizer": GradientDescent(rate), "steps": 100} | how
    return descend.fit(x, y, **how).animate()


def _diverged() -> Film:
    with pytest.warns(descend.DescendWarning):
        return _lesson(1.3, steps=1_000)


def _leaving() -> Film:
    """A learning rate just above the limit, 0.9856: the descent leaves slowly."""
    with pytest.warns(descend.DescendWarning):
        return _lesson(1.05 * 0.9856, steps=1_000)


def _overflown() -> Film:
    """A loop that nobody stopped: its losses and weights become infinite, then not numbers."""
    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    history, w = descend.History(), np.zeros(2)
    with np.errstate(all="ignore"):
        for _ in range(400):
            history.record(loss=np.mean((x @ w - y) ** 2), weights=w)
            w = w - 6.0 * 2 * x.T @ (x @ w - y) / len(y)
    return history.animate(x, y)


def _loop() -> Film:
    history = descend.History(names=("slope", "intercept"))
    for k in range(30):
        history.record(loss=0.9**k, weights=[1 - 0.9**k, 0.5 * 0.9**k])
    return history.animate()


FILMS: dict[str, Callable[[], Film]] = {
    "lesson": _lesson,
    "exact": lambda: _lesson(optimizer="exact", steps=None),
    "two features": lambda: _regression(2),
    "ten features": lambda: _regression(10),
    "counts": lambda: _counts(1),
    "counts, four features": lambda: _counts(4),
    "sigmoid": lambda: _classes(1, 2),
    "boundary": lambda: _classes(2, 2),
    "histogram": lambda: _classes(10, 2),
    "regions": lambda: _classes(2, 3),
    "classes": lambda: _classes(10, 3),
    "diverged": _diverged,
    "leaving": _leaving,
    "overflown": _overflown,
    "loop": _loop,
}
