"""Summaries beside statsmodels' and NIST's certified standard deviations."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from test_nist import CERTIFIED, DATA, correct_digits, design

import descend
from descend import DescendError
from descend.cli import main

RNG = np.random.default_rng(4)
X = RNG.normal(size=(250, 3)) * [1.0, 20.0, 0.1] + [0.0, 300.0, -1.0]
ONES = sm.add_constant(X, prepend=False)
Z = (X - X.mean(axis=0)) / X.std(axis=0) @ [0.4, -0.8, 0.1]


def columns(summary):
    names = ("coefficient", "standard_error", "statistic", "p_value", "low", "high")
    return [np.array([getattr(e, name) for e in summary.estimates]) for name in names]


def beside(summary, fitted, rtol):
    order = "F"
    interval = np.asarray(fitted.conf_int()).reshape(-1, 2)
    expected = [np.ravel(v, order) for v in (fitted.params, fitted.bse, fitted.tvalues, fitted.pvalues)]
    for ours, theirs in zip(columns(summary), [*expected, interval[:, 0], interval[:, 1]], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
def test_least_squares(intercept):
    y = Z + 2 + RNG.normal(size=250)
    fitted = sm.OLS(y, ONES if intercept else X).fit()
    summary = descend.fit(X, y, intercept=intercept).summary()
    beside(summary, fitted, 1e-8)
    figures = [summary.figures[name] for name in ("R2", "adjusted R2", "F", "p of F")]
    expected = [fitted.rsquared, fitted.rsquared_adj, fitted.fvalue, fitted.f_pvalue]
    np.testing.assert_allclose(figures, expected, rtol=1e-8)
    assert summary.figures["residual standard error"] == pytest.approx(np.sqrt(fitted.mse_resid), rel=1e-9)


def test_logistic_and_softmax():
    y = (Z + RNG.logistic(size=250) > 0).astype(int)
    fitted = sm.Logit(y, ONES).fit(disp=0, tol=1e-12)
    summary = descend.fit(X, y, loss="logistic", tolerance=1e-10).summary()
    beside(summary, fitted, 1e-5)
    assert summary.figures["deviance"] == pytest.approx(-2 * fitted.llf, rel=1e-9)
    y = np.digitize(Z + RNG.logistic(size=250), [-0.7, 0.7])
    fitted = sm.MNLogit(y, ONES).fit(disp=0, method="newton", tol=1e-12)
    summary = descend.fit(X, y, loss="cross-entropy", tolerance=1e-10).summary()
    assert {e.label for e in summary.estimates} == {"1", "2"}
    beside(summary, fitted, 1e-5)


@pytest.mark.parametrize("name", ["Norris", "Longley", "NoInt1", "NoInt2"])
def test_certified_standard_deviations(name):
    entry = CERTIFIED[name]
    x, y = design(name)
    summary = descend.fit(x, y, intercept=entry["intercept"]).summary()
    errors = columns(summary)[1]
    certified = entry["certified"]
    key = next(k for k in certified if k.startswith(("se", "sd", "std")))
    order = np.roll(errors, 1) if entry["intercept"] else errors
    assert correct_digits(order, np.array(certified[key])) >= 7


def test_why_not(tmp_path, capsys):
    y = (Z + RNG.logistic(size=250) > 0).astype(int)
    data = {f"x{i}": X[:, i] for i in range(3)} | {"y": y}
    run = descend.fit(data, target="y")
    assert "L2 penalty" in run.summary().why_not
    assert "`--l2 0`" in str(run.summary())
    assert (
        "short of the minimum" in descend.fit(X, y, optimizer="gradient-descent", steps=3).summary().why_not
    )
    assert "collinear" in descend.fit(np.column_stack([X, X[:, 0]]), y).summary().why_not
    assert "more rows" in descend.fit(X[:3], y[:3]).summary().why_not
    with pytest.raises(DescendError, match="`level`"):
        run.summary(level=95)
    path = tmp_path / "a.model.json"
    descend.fit(data, target="y", penalty=0).save(path)
    assert main(["show", str(path)]) == 0
    assert "95 % from" in capsys.readouterr().out
    assert DATA.is_dir()
