"""Problems that gradient descent finds hard: columns of wildly different size, far from zero, with outliers and copies."""

from __future__ import annotations

import numpy as np


def ill_scaled(seed):
    """`x` and a real target: scales 1e-6 to 1e6, offsets to 1e6, outliers in x and y, duplicate columns."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(30, 150)), int(rng.integers(1, 6))
    z = rng.normal(size=(n, p))
    signal = z @ rng.normal(size=p) + rng.normal(size=n) * rng.choice([0.0, 0.1, 1.0])
    x = z * 10.0 ** rng.uniform(-6, 6, size=p)
    x += rng.choice([0.0, 1.0], size=p) * rng.choice([-1, 1], size=p) * 10.0 ** rng.uniform(0, 6, size=p)
    if seed % 3 == 0:
        x[rng.integers(n, size=2)] *= 1e3
    if seed % 4 == 0:
        x = np.column_stack([x, x[:, 0]])
    if seed % 5 == 0:
        signal[rng.integers(n)] += 1e3
    return x, signal * 10.0 ** rng.uniform(-3, 3)


def target_for(loss, signal):
    """The target as numbers, two classes or three."""
    if loss == "squared-error":
        return signal
    noise = np.random.default_rng(len(signal)).normal(size=len(signal)) * np.median(np.abs(signal))
    return np.digitize(
        signal + noise, np.quantile(signal + noise, [0.5] if loss == "logistic" else [0.3, 0.7])
    )


def correlated(seed):
    """`x` of correlated columns and a column of ones, and a real target."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(20, 200)), int(rng.integers(1, 8))
    x = rng.normal(size=(n, p)) @ rng.normal(size=(p, p)) * 10.0 ** rng.uniform(-0.7, 0.7, size=p)
    x = np.column_stack([x + rng.normal(size=p), np.ones(n)])
    return x, x @ rng.normal(size=p + 1) + rng.normal(size=n)
