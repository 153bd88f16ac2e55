"""Films of small runs, made here by hand, for the tests of what draws them."""

from __future__ import annotations

import numpy as np

import descend
from descend.pictures.film import Film, FilmSample, Surface


def walk(gradient, start, rate, steps):
    weights = [np.array(start, dtype=float)]
    for _ in range(steps):
        weights.append(weights[-1] - rate * gradient(weights[-1]))
    return np.array(weights)


def with_ones(x):
    return np.column_stack([x, np.ones(len(x))])


def curves(steps, losses, **more):
    return {"loss": np.array([steps, losses])} | {k: np.array([steps, v]) for k, v in more.items()}


def line(steps=40):
    """The lesson: 100 points, two weights."""
    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    weights = walk(lambda w: 2 * x.T @ (x @ w - y) / len(y), (0.5, 0.75), 0.1, steps)
    losses = np.array([descend.mse(x @ w, y) for w in weights])
    hessian = 2 * x.T @ x / len(y)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    surface = Surface(
        ("slope", "intercept"), (-0.5, 6), (-0.5, 5.5), weights, descend.mse(x @ best, y), best, hessian
    )
    sample = FilmSample(x[:, :1], y, weights, ("x",), len(y))
    number = np.arange(steps + 1)
    valid = losses * 1.1 + 0.05
    return Film(
        "regression", number, weights, ("slope", "intercept"), curves(number, losses, validation_loss=valid),
        np.full(steps + 1, 0.1), sample, surface, title="line",
    )  # fmt: skip


def fit(features=5, steps=30):
    """Several features."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, features))
    y = x @ np.linspace(1, 3, features) + 4 + rng.normal(size=200)
    X = with_ones(x)
    weights = walk(lambda w: 2 * X.T @ (X @ w - y) / len(y), np.zeros(features + 1), 0.1, steps)
    number = np.arange(steps + 1)
    losses = np.array([descend.mse(X @ w, y) for w in weights])
    names = (*(f"feature {i}" for i in range(features)), "(intercept)")
    sample = FilmSample(x, y, weights, (), 200)
    return Film("regression", number, weights, names, curves(number, losses), sample=sample, target="price")


def classes(features, count, steps=60):
    """Two classes or more, with so many features."""
    rng = np.random.default_rng(2)
    centres = 1.6 * rng.normal(size=(count, features))
    y = np.repeat(np.arange(count), 80)
    x = centres[y] + rng.normal(size=(len(y), features))
    X = with_ones(x)
    labels = ("no", "yes") if count == 2 else tuple(f"kind {k}" for k in range(count))
    loss = descend.LogisticLoss() if count == 2 else descend.CrossEntropy()
    shape = (features + 1,) if count == 2 else (features + 1, count)
    weights = walk(lambda w: X.T @ loss.gradient(X @ w, y) / len(y), np.zeros(shape), 1.0, steps)
    losses = np.array([loss.value(X @ w, y).mean() for w in weights])
    number = np.arange(steps + 1)
    names = tuple(f"x{i}" for i in range(features)) if features < 3 else ()
    flat = weights.reshape(len(weights), -1)
    return Film(
        "two-class" if count == 2 else "multi-class", number, flat, tuple(map(str, range(flat.shape[1]))),
        curves(number, losses), sample=FilmSample(x, y.astype(float), weights, names, len(y)), target="answer",
        classes=labels,
    )  # fmt: skip


def counts(features=1, steps=60):
    """Counts by a log link: the mean is the exponential of the linear predictor."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1.5, 1.5, size=(150, features))
    X = with_ones(x)
    y = rng.poisson(np.exp(X @ np.append(np.linspace(1.3, 0.4, features), 0.6))).astype(float)
    weights = walk(lambda w: X.T @ (np.exp(X @ w) - y) / len(y), np.zeros(features + 1), 0.1, steps)
    number = np.arange(steps + 1)
    losses = np.array([(np.exp(X @ w) - y * (X @ w)).mean() for w in weights])
    names = tuple(f"x{i}" for i in range(features)) if features < 3 else ()
    return Film(
        "count", number, weights, (*(f"x{i}" for i in range(features)), "(intercept)"), curves(number, losses),
        sample=FilmSample(x, y, weights, names, 150), target="visits", link="log",
    )  # fmt: skip


FILMS = {
    "line": line(),
    "curve": counts(),
    "fit": fit(),
    "sigmoid": classes(1, 2),
    "boundary": classes(2, 2),
    "histogram": classes(6, 2),
    "regions": classes(2, 3),
    "classes": classes(4, 3),
}
