"""Standard errors beside statsmodels', and where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

import descend

RNG = np.random.default_rng(11)
X = RNG.normal(size=(300, 3)) * [1.0, 20.0, 0.05] + [0.0, 400.0, -3.0]
ONES = sm.add_constant(X, prepend=False)
Z = (X - X.mean(axis=0)) / X.std(axis=0) @ [0.5, -1.0, 0.3]


def frame(**target):
    return {f"x{i}": X[:, i] for i in range(3)} | target


def test_least_squares_as_an_array_and_as_a_table():
    y = Z + RNG.normal(size=300)
    oracle = sm.OLS(y, ONES).fit().bse
    for run in (descend.fit(X, y), descend.fit(frame(y=y), target="y")):
        np.testing.assert_allclose(list(run.standard_errors.values()), oracle, rtol=1e-9)
    without = descend.fit(X, y, intercept=False)
    np.testing.assert_allclose(list(without.standard_errors.values()), sm.OLS(y, X).fit().bse, rtol=1e-9)


def test_logistic_regression():
    y = (Z + RNG.logistic(size=300) > 0).astype(float)
    oracle = sm.Logit(y, ONES).fit(disp=0, tol=1e-12).bse
    run = descend.fit(frame(y=y), target="y", penalty=0, tolerance=1e-10)
    np.testing.assert_allclose(list(run.standard_errors.values()), oracle, rtol=1e-6)


def test_several_classes_against_the_first():
    y = np.digitize(Z + RNG.logistic(size=300), [-0.7, 0.7])
    oracle = sm.MNLogit(y, ONES).fit(disp=0, method="newton", tol=1e-12).bse
    labels = np.array(["a", "b", "c"])[y]
    run = descend.fit(frame(y=labels), target="y", penalty=0, tolerance=1e-10)
    np.testing.assert_allclose(list(run.standard_errors.values()), oracle, rtol=1e-6)


class Squares(descend.SquaredError):
    """Squared error by an author who does not say that it is one."""

    name = "squares"
    closed_form = False


class Coin(descend.LogisticLoss):
    """The logistic loss, not said to be a likelihood."""

    name = "coin"
    likelihood = False


class Draw(descend.CrossEntropy):
    name = "draw"
    likelihood = False


COUNTS = RNG.integers(0, 4, 300)


@pytest.mark.parametrize("s", [None, COUNTS], ids=["", "weighted"])
def test_the_sandwich_where_there_is_no_likelihood(s):
    rows = np.arange(300) if s is None else np.repeat(np.arange(300), s)
    y = Z + Z**2 * RNG.normal(size=300)
    oracle = sm.OLS(y[rows], ONES[rows]).fit(cov_type="HC0").bse
    run = descend.fit(X, y, loss=Squares(), sample_weight=s, tolerance=1e-10)
    np.testing.assert_allclose(list(run.standard_errors.values()), oracle, rtol=1e-6)
    coin = (Z + RNG.logistic(size=300) > 0).astype(float)
    oracle = sm.Logit(coin[rows], ONES[rows]).fit(disp=0, tol=1e-12, cov_type="HC0").bse
    run = descend.fit(X, coin, loss=Coin(), sample_weight=s, tolerance=1e-10)
    np.testing.assert_allclose(list(run.standard_errors.values()), oracle, rtol=1e-5)


def test_the_sandwich_of_several_classes():
    y = np.digitize(Z + RNG.logistic(size=300), [-0.7, 0.7])
    oracle = sm.MNLogit(y, ONES).fit(disp=0, method="newton", tol=1e-12, cov_type="HC0").bse
    run = descend.fit(X, y, loss=Draw(), tolerance=1e-10)
    np.testing.assert_allclose(list(run.standard_errors.values()), oracle, rtol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"penalty": 0.1},
        {"optimizer": "gradient-descent", "steps": 3},
        {"columns": descend.Columns(features=["x0", "x1", "twice"])},
    ],
    ids=["a penalty", "short of the minimum", "collinear columns"],
)
def test_there_are_none_where_they_would_mislead(how):
    assert descend.fit(frame(y=Z, twice=2 * X[:, 0] + 1), target="y", **how).standard_errors is None
