"""The translations of docs/how-to/switching.md give the coefficients that scikit-learn gives."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.preprocessing import scale

from descend import LinearClassifier, LinearRegressor

X, Y = load_diabetes(return_X_y=True)
X, Y = scale(X), scale(Y)
CANCER, LABELS = load_breast_cancer(return_X_y=True)
CANCER = scale(CANCER)[:, :6]
A, C, N, M = 3.0, 0.5, len(X), len(CANCER)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (LinearRegression(), LinearRegressor()),
        (Ridge(alpha=A), LinearRegressor(alpha=2 * A / N)),
        (LogisticRegression(tol=1e-10), LinearClassifier(tol=1e-9)),
        (LogisticRegression(C=C, tol=1e-10), LinearClassifier(alpha=1 / (C * M), tol=1e-9)),
        (LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000), LinearClassifier(alpha=0, tol=1e-9)),
        (Lasso(alpha=0.1, tol=1e-12), LinearRegressor(penalty="l1", alpha=0.2)),
        (
            ElasticNet(alpha=0.1, l1_ratio=0.3, tol=1e-12),
            LinearRegressor(penalty="elastic-net", alpha=0.2, l1_ratio=0.3),
        ),
        (
            LogisticRegression(C=C, l1_ratio=0.4, solver="saga", tol=1e-10, max_iter=10_000),
            LinearClassifier(penalty="elastic-net", alpha=1 / (C * M), l1_ratio=0.4, tol=1e-9),
        ),
        (
            LogisticRegression(C=0.01, l1_ratio=1.0, solver="saga", tol=1e-10, max_iter=10_000),
            LinearClassifier(penalty="l1", alpha=1 / (0.01 * M), tol=1e-9),
        ),
    ],
    ids=str,
)
def test_the_same_coefficients(theirs, ours):
    x, y = (CANCER, LABELS) if isinstance(ours, LinearClassifier) else (X, Y)
    np.testing.assert_allclose(ours.fit(x, y).coef_, theirs.fit(x, y).coef_, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (SGDRegressor(alpha=0.1, eta0=1e-4, learning_rate="constant"), LinearRegressor(alpha=0.2)),
        (
            SGDClassifier("log_loss", alpha=0.1, eta0=1e-3, learning_rate="constant"),
            LinearClassifier(alpha=0.1),
        ),
    ],
    ids=str,
)
def test_stochastic_descent_goes_to_the_same_minimum(theirs, ours):
    x, y = (CANCER, LABELS) if isinstance(ours, LinearClassifier) else (X, Y)
    theirs.set_params(max_iter=200, tol=None, random_state=0).fit(x, y)
    np.testing.assert_allclose(theirs.coef_, ours.fit(x, y).coef_, atol=0.02)
