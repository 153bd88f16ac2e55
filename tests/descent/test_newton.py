"""The minimum that Newton's method finds from anywhere, beside scikit-learn's and the closed form."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from descend import Objective
from descend.descent.newton import minimum

RNG = np.random.default_rng(12)
X = RNG.normal(size=(200, 3)) * [1.0, 4.0, 0.5] + [0.0, 2.0, 0.0]
SCORE = X @ [1.0, -0.3, 2.0] + RNG.logistic(size=200)


def test_of_a_closed_form_it_is_that_of_ridge_from_anywhere():
    objective = Objective.of(X, SCORE, penalty=0.1)
    ridge = Ridge(alpha=0.1 * 200 / 2).fit(X, SCORE)
    found = minimum(objective, np.full(4, 1e6), 1)
    np.testing.assert_allclose(found, [*ridge.coef_, ridge.intercept_], rtol=1e-9)


def test_of_another_loss_it_is_that_of_logistic_regression():
    y = (SCORE > 0).astype(int)
    objective = Objective.of(X, y, loss="logistic", penalty=0.01)
    peer = LogisticRegression(C=1 / (0.01 * 200), tol=1e-10, max_iter=1_000).fit(X, y)
    found = minimum(objective, objective.zeros(), 15)
    np.testing.assert_allclose(found, [*peer.coef_[0], *peer.intercept_], rtol=1e-5)
    assert objective.excess(found) <= 1e-14


def test_a_walk_to_it_ends_after_its_steps_or_where_they_are_short():
    objective = Objective.of(X, (SCORE > 0).astype(int), loss="logistic")
    near, first = objective.zeros(), minimum(objective, objective.zeros(), 1)
    assert minimum(objective, near, 0) is near
    assert objective.value(first) < objective.value(near)
    assert minimum(objective, first, 15, precision=1e9) is first
