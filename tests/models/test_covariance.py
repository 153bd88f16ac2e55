"""Standard errors beside statsmodels', and where there are none."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize

import descend
from descend import Outcome
from descend.models.summary import summarise_model

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
    counts = {"sample_weight": s, "weight_kind": "frequencies", "tolerance": 1e-10}
    run = descend.fit(X, y, loss=Squares(), **counts)
    np.testing.assert_allclose(list(run.standard_errors.values()), oracle, rtol=1e-6)
    coin = (Z + RNG.logistic(size=300) > 0).astype(float)
    oracle = sm.Logit(coin[rows], ONES[rows]).fit(disp=0, tol=1e-12, cov_type="HC0").bse
    run = descend.fit(X, coin, loss=Coin(), **counts)
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
    ],
    ids=["a penalty", "short of the minimum"],
)
def test_there_are_none_where_they_would_mislead(how):
    assert descend.fit(frame(y=Z), target="y", **how).standard_errors is None


def test_collinear_columns_are_aliased_and_the_others_have_errors(tmp_path):
    y = Z + RNG.normal(size=300)
    oracle = sm.OLS(y, ONES).fit()
    run = descend.fit(frame(y=y, twice=2 * X[:, 0] + 1), target="y")
    errors = run.standard_errors
    assert [name for name, error in errors.items() if np.isnan(error)] == ["x0", "twice", "(intercept)"]
    np.testing.assert_allclose([errors["x1"], errors["x2"]], oracle.bse[1:3], rtol=1e-9)
    figures = run.summary().figures
    assert figures["F"] == pytest.approx(oracle.fvalue, rel=1e-9)
    assert figures["adjusted R2"] == pytest.approx(oracle.rsquared_adj, rel=1e-12)
    assert figures["residual standard error"] == pytest.approx(oracle.mse_resid**0.5, rel=1e-12)
    run.save(tmp_path / "m.json")
    assert "aliased" in str(summarise_model(descend.load(tmp_path / "m.json")))
    label = np.array(["a", "b", "c"])[np.digitize(Z + RNG.logistic(size=300), [-0.7, 0.7])]
    oracle = sm.MNLogit(label, ONES).fit(disp=0, method="newton", tol=1e-12).bse
    run = descend.fit(np.column_stack([X, X[:, 2]]), label, loss="cross-entropy", tolerance=1e-10)
    errors = np.array(list(run.standard_errors.values()))
    assert np.isnan(errors[[2, 3]]).all()
    np.testing.assert_allclose(errors[[0, 1, 4]], oracle[[0, 1, 3]], rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("scale", "far"), [(1.0, 2008.0), (1e-6, 0.0), (1e6, 1e12), (1e-9, 1.0), (1.0, 1e8)])
def test_columns_far_from_zero_or_of_another_size_have_errors(classes, scale, far):
    u = (X - X.mean(axis=0)) / X.std(axis=0)
    v = Z + RNG.logistic(size=300)
    y = (v > 0).astype(int) if classes == 2 else np.digitize(v, [-0.7, 0.7])
    loss = "logistic" if classes == 2 else "cross-entropy"
    moved = u * [scale, 1.0, 1.0] + [far, 0.0, 0.0]
    near, there = (descend.fit(x, y, loss=loss, standardize=True) for x in (u, moved))
    held = (moved[:, 0] - far) / scale  # what rounding has left of the column
    near = descend.fit(np.column_stack([held, u[:, 1:]]), y, loss=loss, standardize=True)
    ours, theirs = (np.array(list(run.standard_errors.values())) for run in (there, near))
    digits = 1e-5 if there.outcome is Outcome.CONVERGED else 1e-4  # of PRECISION the loss cannot tell more
    np.testing.assert_allclose(ours[0] * scale, theirs[0], rtol=digits)
    np.testing.assert_allclose(ours[1:3], theirs[1:3], rtol=digits)


@pytest.mark.parametrize("noise", [1e-6, 1e-8, 1e-9, 1e-10])
def test_errors_of_nearly_collinear_columns_keep_their_digits(noise):
    """Against rational arithmetic."""
    rng = np.random.default_rng(3)
    a = rng.normal(size=40) + 2.0
    x = np.column_stack([a, a + noise * rng.normal(size=40)])
    y = a + rng.normal(size=40)
    rows = [[Fraction(float(v)) for v in (*row, 1.0)] for row in x]
    inverse = inverted([[sum(r[i] * r[j] for r in rows) for j in range(3)] for i in range(3)])
    target = [sum(r[i] * Fraction(float(t)) for r, t in zip(rows, y, strict=True)) for i in range(3)]
    w = [sum(inverse[i][j] * target[j] for j in range(3)) for i in range(3)]
    rss = sum(
        (Fraction(float(t)) - sum(a * b for a, b in zip(w, r, strict=True))) ** 2
        for r, t in zip(rows, y, strict=True)
    )
    right = [float(rss * inverse[i][i] / 37) ** 0.5 for i in range(3)]
    for run in (descend.fit(x, y), descend.fit({"a": x[:, 0], "b": x[:, 1], "y": y}, target="y")):
        found = list(run.standard_errors.values())
        np.testing.assert_allclose(found, right, rtol=1e-15 / noise * 100)


def inverted(A):
    """The inverse of a matrix of fractions."""
    n = len(A)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(A)]
    for i in range(n):
        pivot = rows[i][i]
        rows[i] = [v / pivot for v in rows[i]]
        for j in range(n):
            if j != i:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


@pytest.mark.parametrize("ones", [True, False], ids=["a column of ones", "all levels of a category"])
def test_columns_that_make_up_for_an_intercept_count_as_one(ones):
    y = Z + RNG.normal(size=300)
    x = ONES if ones else np.column_stack([X, np.eye(3)[RNG.integers(0, 3, 300)]])
    oracle, run = sm.OLS(y, x).fit(), descend.fit(x, y, intercept=False)
    figures = run.summary().figures
    assert figures["R2"] == pytest.approx(oracle.rsquared, rel=1e-12)
    assert figures["R2"] == pytest.approx(run.metrics["training"].values["r2"], rel=1e-12)
    assert figures["F"] == pytest.approx(oracle.fvalue, rel=1e-9)
    without = descend.fit(X, y, intercept=False).summary().figures
    assert without["R2"] == pytest.approx(sm.OLS(y, X).fit().rsquared, rel=1e-12)


@pytest.mark.parametrize("optimizer", ["auto", "lbfgs", "adam"])
def test_a_loss_that_is_not_convex_has_a_minimum_and_robust_errors(optimizer):
    """Cauchy's loss, beside scipy's minimum and the sandwich written out."""
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(200, 2))
    y = x @ [1.0, -2.0] + 0.5 * RNG.standard_t(2, 200)
    run = descend.fit(x, y, loss=lambda z, t: torch.log1p(((z - t) / 0.3) ** 2), optimizer=optimizer)
    ones = np.column_stack([x, np.ones(200)])

    def value(w):
        return np.log1p(((ones @ w - y) / 0.3) ** 2).mean()

    found = minimize(value, [1.0, -2.0, 0.0], method="BFGS", options={"gtol": 1e-10})
    np.testing.assert_allclose(run.weights, found.x, atol=1e-5)
    e = (ones @ run.weights - y) / 0.3
    g, d = 2 * e / (1 + e**2) / 0.3, 2 * (1 - e**2) / (1 + e**2) ** 2 / 0.09
    B = np.linalg.inv((ones.T * d) @ ones)
    right = np.sqrt(np.diag(B @ (ones.T * g**2) @ ones @ B))
    np.testing.assert_allclose(list(run.standard_errors.values()), right, rtol=1e-5)
