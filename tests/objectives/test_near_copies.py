"""Squared error of columns that nearly follow from others, beside the normal equations solved with 80 digits."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import lu_solve, matrix, mp, mpf

import descend
from descend import Objective

mp.dps = 80
POWERS = tuple(range(3, 13))


def near_copy(power, rows=100, noise=1.0, far=0.0, seed=0):
    rng = np.random.default_rng([seed, power])
    Z = rng.normal(size=(rows, 3))
    x = Z.copy()
    x[:, 2] = Z[:, 0] + 10.0**-power * Z[:, 2]
    return x + far, Z[:, 0] + noise * rng.normal(size=rows)


def exact(x, y, alpha=0.0):
    A, b = matrix(np.column_stack([x, np.ones(len(x))]).tolist()), matrix(y.tolist())
    H, g = A.T * A / len(x), A.T * b / len(x)
    for j in range(x.shape[1]):
        H[j, j] += mpf(alpha) / 2
    return list(lu_solve(H, g))


def shares(w, best):
    return np.array([float(abs((mpf(float(a)) - b) / b)) for a, b in zip(w, best, strict=True)])


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("far", [0.0, 1e4])
def test_digits_that_are_lost_are_told(power, far):
    """As many as are said to be left are; where nothing is said there are eight."""
    x, y = near_copy(power, far=far)
    run = descend.fit(x, y)
    off = shares(run.weights, exact(x, y)).max()
    assert run.outcome.value.startswith("converged")
    told = run.details.partition("about ")[2].partition(" digit")[0]
    assert off <= 10.0 ** -(int(told) if told else 8)
    assert off >= 1e-13 if told else power < 10


@pytest.mark.parametrize("power", POWERS)
def test_rows_far_from_zero_lose_no_digits_of_slopes(power):
    """Residuals are of columns less their means, in extended precision: at 1e4 from zero it was 0.04 off."""
    x, y = near_copy(power, far=1e4)
    assert shares(descend.fit(x, y).weights, exact(x, y))[:3].max() < max(1e-15 * 100.0 ** (power - 7), 1e-8)


@pytest.mark.parametrize("power", POWERS)
def test_a_small_penalty_is_not_told_by_large_weights(power):
    """Least squares without a penalty has weights of 1e12 here, whose digits the penalised ones are not to lack."""
    x, y = near_copy(power)
    run = descend.fit(x, y, penalty=1e-6)
    assert shares(run.weights, exact(x, y, 1e-6)).max() < 1e-8


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("standardise", [False, True])
def test_a_loss_is_that_of_the_residuals(power, standardise):
    x, y = near_copy(power)
    objective = Objective.of(x, y)
    rng = np.random.default_rng(power)
    for w in (objective.zeros(), rng.normal(size=4), objective.minimum()):
        assert objective.value(w) == pytest.approx(
            np.mean((y - x @ w[:-1] - w[-1]) ** 2), rel=1e-12 if abs(w[0]) < 10 else 1e-3
        )
    run = descend.fit(x, y, optimizer="gradient-descent", steps=20, standardize=standardise)
    w = run.weights
    assert run.loss == pytest.approx(np.mean((y - x @ w[:-1] - w[-1]) ** 2), rel=1e-12)


@pytest.mark.parametrize("power", [4, 5, 7, 8])
def test_digits_of_many_rows_are_told(power):
    """Beyond the rows whose residuals are summed in extended precision, beside those that are."""
    x, y = near_copy(power, rows=90_000)
    few, many = descend.fit(x[:60_000], y[:60_000]), descend.fit(x, y)
    assert ("digit" in many.details) == (power > 6)
    assert "digit" not in few.details


def test_nothing_is_said_of_columns_that_are_far_apart():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    for y in (
        x[:, 0],
        x[:, 0] + 1e-12 * rng.normal(size=200),
        1e9 + 1e-5 * rng.normal(size=200),
        0.0 * x[:, 0],
    ):
        assert descend.fit(x + 1e6, y).details == ""


def test_of_a_lasso_only_what_is_left_counts():
    x, y = near_copy(11)
    run = descend.fit(x * [1.0, 1.0, 0.5], y, penalty=descend.L1(0.1))
    assert run.weights[0] > 0 == run.weights[2]
    assert "digit" not in run.details
