"""Summaries beside statsmodels' and NIST's certified standard deviations."""

from __future__ import annotations

import csv
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from own_losses import Gamma
from test_nist import CERTIFIED, DATA, POLYNOMIALS, correct_digits, design
from test_published import DATA as PUBLISHED_DATA
from test_published import LINEAR, entry, printed

import descend
from descend import Columns, DescendError
from descend.interfaces.cli import main
from descend.models.summary import summarise_model

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


@pytest.mark.parametrize("kind", ["array", "table"])
def test_counts(kind):
    y = RNG.poisson(np.exp(Z + 0.5))
    fitted = sm.GLM(y, ONES, sm.families.Poisson()).fit(tol=1e-13, tol_criterion="params")
    if kind == "array":
        run = descend.fit(X, y, loss="poisson", tolerance=1e-12)
    else:
        frame = pl.DataFrame({f"x{i}": X[:, i] for i in range(3)} | {"y": y})
        run = descend.fit(frame, target="y", loss="poisson", penalty=0, tolerance=1e-12)
    summary = run.summary()
    beside(summary, fitted, 1e-8)
    assert summary.statistic == "z"
    assert summary.figures["deviance"] == pytest.approx(fitted.deviance, rel=1e-10)
    assert summary.figures["Pearson chi2"] == pytest.approx(fitted.pearson_chi2, rel=1e-10)
    assert summary.figures["degrees of freedom"] == fitted.df_resid
    assert summary.figures["dispersion"] == pytest.approx(fitted.pearson_chi2 / fitted.df_resid)
    assert summary.notes == ()
    assert "residual standard error" not in str(summary)


def test_counts_that_vary_more_than_poissons_are_told_with_the_factor_of_their_errors():
    y = RNG.negative_binomial(1.0, 1.0 / (1.0 + np.exp(Z + 0.5)))
    fitted = sm.GLM(y, ONES, sm.families.Poisson()).fit(tol=1e-14, scale="X2")
    summary = descend.fit(X, y, loss="poisson", tolerance=1e-12).summary()
    factor = np.sqrt(summary.figures["dispersion"])
    assert factor > 1.3
    np.testing.assert_allclose(factor * columns(summary)[1], fitted.bse, rtol=1e-8)
    assert f"these errors are too small. Multiply them by {factor:.3g}, the root of it, or fit with" in str(
        summary
    )
    assert descend.fit(X, y, loss="poisson", penalty=0.1).summary().figures == {}


def test_huber_has_robust_errors(tmp_path):
    y = Z + RNG.standard_t(2, size=250)
    run = descend.fit(X, y, loss=descend.HuberLoss(0.8), tolerance=1e-10)
    e = y - ONES @ run.weights
    psi, curved = np.clip(e, -0.8, 0.8), np.abs(e) <= 0.8  # Huber, Robust Statistics (1981), 7.6
    inverse = np.linalg.inv(ONES[curved].T @ ONES[curved])
    C = inverse @ (ONES.T * psi**2) @ ONES @ inverse
    summary = run.summary()
    np.testing.assert_allclose(columns(summary)[1], np.sqrt(C.diagonal()), rtol=1e-8)
    assert summary.figures == {}
    run.save(tmp_path / "m.json")
    assert str(summarise_model(descend.load(tmp_path / "m.json"))) == str(summary)


def test_a_loss_without_a_likelihood_has_robust_errors_and_no_residual_standard_error():
    y = RNG.gamma(2.0, np.exp(Z))
    fitted = sm.GLM(y, ONES, sm.families.Gamma(sm.families.links.Log())).fit(tol=1e-12, cov_type="HC0")
    run = descend.fit(X, y, loss=Gamma(), tolerance=1e-10)
    summary = run.summary()
    beside(summary, fitted, 1e-5)
    assert summary.figures == {}
    assert summary.statistic == "z"
    assert str(summary).endswith(
        "robust ones (HC0), by the sandwich formula, which takes no distribution for granted."
    )
    assert summary.to_dict()["notes"] == list(summary.notes)
    assert "note" not in descend.fit(X, y).summary().to_dict()


# Weights: each row as often as its weight says


COUNTS = RNG.integers(0, 4, 250)
KINDS = ("array", "table", "beyond memory")


def weighted(kind, y, tmp_path, **how):
    """The fit with weights of an array, a table, or a file of which nothing may stay in memory."""
    if kind == "array":
        return descend.fit(X, y, sample_weight=COUNTS, **how).summary()
    frame = pl.DataFrame({f"x{i}": X[:, i] for i in range(3)} | {"y": y, "weight": COUNTS})
    how |= {"target": "y", "columns": Columns(weight="weight"), "penalty": 0}
    if kind == "table":
        return descend.fit(frame, **how).summary()
    frame.write_csv(tmp_path / "weighted.csv")
    return descend.fit(tmp_path / "weighted.csv", memory=0, **how).summary()


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_least_squares(kind, tmp_path):
    y = Z + 2 + RNG.normal(size=250)
    counted = COUNTS > 0  # statsmodels takes a row of weight 0 for an observation
    fitted = sm.WLS(y[counted], ONES[counted], COUNTS[counted]).fit()
    summary = weighted(kind, y, tmp_path)
    beside(summary, fitted, 1e-8)
    figures = [
        summary.figures[name] for name in ("R2", "adjusted R2", "F", "p of F", "residual standard error")
    ]
    expected = [fitted.rsquared, fitted.rsquared_adj, fitted.fvalue, fitted.f_pvalue, fitted.scale**0.5]
    np.testing.assert_allclose(figures, expected, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_classes_are_repeated_rows(kind, tmp_path):
    y = (Z + RNG.logistic(size=250) > 0).astype(int)
    fitted = sm.GLM(y, ONES, sm.families.Binomial(), freq_weights=COUNTS).fit(tol=1e-14)
    summary = weighted(kind, y, tmp_path, loss="logistic", tolerance=1e-10)
    beside(summary, fitted, 1e-6)
    assert summary.figures["deviance"] == pytest.approx(fitted.deviance, rel=1e-9)
    y = np.digitize(Z + RNG.logistic(size=250), [-0.7, 0.7])
    rows = np.repeat(np.arange(250), COUNTS)
    fitted = sm.MNLogit(y[rows], ONES[rows]).fit(disp=0, method="newton", tol=1e-12)
    summary = weighted(kind, y, tmp_path, loss="cross-entropy", tolerance=1e-10)
    beside(summary, fitted, 1e-5)
    assert summary.figures["log-likelihood"] == pytest.approx(fitted.llf, rel=1e-9)


@pytest.mark.parametrize("memory", [0, "500KB"])
@pytest.mark.parametrize("loss", ["squared-error", "logistic", "cross-entropy"])
def test_files_beyond_memory(loss, memory, tmp_path):
    """1.3 MB of numbers: the moments come from one read, the Hessian from blocks in a temporary file."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(40_000, 3)) * [1.0, 20.0, 0.1] + [0.0, 300.0, -1.0]
    z = (x - x.mean(axis=0)) / x.std(axis=0) @ [0.4, -0.8, 0.1] + rng.logistic(size=40_000)
    y = {"squared-error": z, "logistic": (z > 0) * 1, "cross-entropy": np.digitize(z, [-0.7, 0.7])}[loss]
    pl.DataFrame({f"x{i}": x[:, i] for i in range(3)} | {"y": y}).write_csv(tmp_path / "a.csv")
    how = {"loss": loss, "penalty": 0, "memory": memory}
    if loss != "squared-error":
        how["tolerance"] = 1e-10
    summary = descend.fit(tmp_path / "a.csv", target="y", **how).summary()
    ones = sm.add_constant(x, prepend=False)
    if loss == "squared-error":
        fitted = sm.OLS(y, ones).fit()
        assert summary.figures["R2"] == pytest.approx(fitted.rsquared, rel=1e-9)
        beside(summary, fitted, 1e-8)
        return
    kind = sm.Logit if loss == "logistic" else sm.MNLogit
    fitted = kind(y, ones).fit(disp=0, method="newton", tol=1e-12)
    beside(summary, fitted, 1e-5)
    assert summary.figures["deviance"] == pytest.approx(-2 * fitted.llf, rel=1e-9)


# NIST


def summarised(x, y, intercept, kind, tmp_path):
    """The summary of these columns as an array, a table, or a file of which nothing may stay in memory."""
    if kind == "array":
        return descend.fit(x, y, intercept=intercept).summary()
    frame = pl.DataFrame({f"x{i}": x[:, i] for i in range(x.shape[1])} | {"y": y})
    how = {"target": "y", "loss": "squared-error", "intercept": intercept}
    if kind == "table":
        return descend.fit(frame, **how).summary()
    frame.write_csv(tmp_path / "nist.csv")
    return descend.fit(tmp_path / "nist.csv", memory=0, **how).summary()


def intercept_first(summary, intercept):
    errors = columns(summary)[1]
    return np.roll(errors, 1) if intercept else errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CERTIFIED)
def test_certified_standard_deviations_and_what_goes_with_them(name, kind, tmp_path):
    intercept, certified = CERTIFIED[name]["intercept"], CERTIFIED[name]["certified"]
    x, y = design(name)
    summary = summarised(x, y, intercept, kind, tmp_path)
    errors = intercept_first(summary, intercept)
    if certified["residual_sd"] == 0:  # the polynomial goes through all points: what is left is rounding
        assert (errors <= 1e-6 * np.abs(certified["coef"])).all()
        assert summary.figures["R2"] == pytest.approx(1.0, abs=1e-15)
        return
    assert correct_digits(errors, np.array(certified["stderr"])) >= 7
    for figure, key in (
        ("R2", "r_squared"),
        ("residual standard error", "residual_sd"),
        ("F", "f_statistic"),
    ):
        assert correct_digits(summary.figures[figure], float(certified[key])) >= 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", POLYNOMIALS)
def test_standard_errors_of_polynomials_are_those_of_rational_arithmetic(name, kind, tmp_path):
    degree, digits = POLYNOMIALS[name]
    with (DATA / f"{name}.csv").open() as file:
        y, x = zip(*list(csv.reader(file))[1:], strict=True)
    powers = np.array(x, dtype=float)[:, None] ** np.arange(1, degree + 1)
    summary = summarised(powers, np.array(y, dtype=float), True, kind, tmp_path)
    assert correct_digits(intercept_first(summary, True), rational_errors(x, y, degree)) >= digits - 1


def rational_errors(x, y, degree):
    """The standard errors of the least-squares polynomial of the decimal data, in rational arithmetic."""
    X = [[Fraction(v) ** power for power in range(degree + 1)] for v in x]
    size, target = degree + 1, [Fraction(v) for v in y]
    A = [
        [sum(row[i] * row[j] for row in X) for j in range(size)] + [Fraction(i == j) for j in range(size)]
        for i in range(size)
    ]
    for i in range(size):
        A[i] = [a / A[i][i] for a in A[i]]
        for k in range(size):
            if k != i:
                A[k] = [a - A[k][i] * b for a, b in zip(A[k], A[i], strict=True)]
    inverse = [row[size:] for row in A]
    moments = [sum(row[i] * v for row, v in zip(X, target, strict=True)) for i in range(size)]
    w = [sum(a * b for a, b in zip(row, moments, strict=True)) for row in inverse]
    left = [v - sum(a * b for a, b in zip(row, w, strict=True)) for row, v in zip(X, target, strict=True)]
    variance = sum(v**2 for v in left) / (len(y) - size)
    return np.array([float(variance * inverse[i][i]) ** 0.5 for i in range(size)])


# What others have published


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LINEAR)
def test_published_linear_regressions(name, kind, tmp_path):
    e = entry(name)
    target, _, features = e["model"].partition("~")
    frame = pl.read_csv(PUBLISHED_DATA / e["data"])
    x = frame.select(features.split("+")).to_numpy().astype(float)
    summary = summarised(x, frame[target].to_numpy(), True, kind, tmp_path)
    found = {"r2": summary.figures["R2"], "rse": summary.figures["residual standard error"]}
    for estimate, name in zip(summary.estimates, [*features.split("+"), "b0"], strict=True):
        found |= {name: estimate.coefficient, f"se_{name}": estimate.standard_error}
    published = e["published"]
    assert {key: printed(found[key], value) for key, value in published.items()} == published


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_multinomial_regression(kind, tmp_path):
    e = entry("ucla_hsbdemo_multinom")
    frame = pl.read_csv(PUBLISHED_DATA / e["data"])
    if kind == "array":
        x = np.column_stack([frame["ses"] == "middle", frame["ses"] == "high", frame["write"]]).astype(float)
        summary = descend.fit(x, frame["prog"].to_numpy(), loss="cross-entropy").summary()
    else:
        chosen = Columns(features=["ses", "write"], reference={"ses": "low"})
        how = {"target": "prog", "penalty": 0, "columns": chosen}
        data = frame if kind == "table" else PUBLISHED_DATA / e["data"]
        summary = descend.fit(data, memory=None if kind == "table" else 0, **how).summary()
    names = {"x0": "sesmiddle", "ses=middle": "sesmiddle", "x1": "seshigh", "ses=high": "seshigh"}
    names |= {"x2": "write", "write": "write", "(intercept)": "b0"}
    found = {}
    for estimate in summary.estimates:
        key = f"{estimate.label}_{names[estimate.name]}"
        found |= {key: estimate.coefficient, f"se_{key}": estimate.standard_error}
    published = dict(e["published"])
    assert printed(summary.figures["deviance"], published["resid_dev"]) == published.pop("resid_dev")
    for key, value in published.items():
        assert found[key] == pytest.approx(float(value), rel=1e-4), key


def test_why_not(tmp_path, capsys):
    y = (Z + RNG.logistic(size=250) > 0).astype(int)
    data = {f"x{i}": X[:, i] for i in range(3)} | {"y": y}
    run = descend.fit(data, target="y")
    assert "L2 penalty" in run.summary().why_not
    assert "`--l2 0`" in str(run.summary())
    assert (
        "short of the minimum" in descend.fit(X, y, optimizer="gradient-descent", steps=3).summary().why_not
    )
    aliased = descend.fit(np.column_stack([X, X[:, 0]]), y).summary()
    assert [e.name for e in aliased.estimates if e.aliased] == ["x0", "x3"]
    assert "`x0`, `x3`" in str(aliased)
    assert "more rows" in descend.fit(X[:3], y[:3]).summary().why_not
    with pytest.raises(DescendError, match="`level`"):
        run.summary(level=95)
    path = tmp_path / "a.model.json"
    descend.fit(data, target="y", penalty=0).save(path)
    assert main(["show", str(path)]) == 0
    assert "95 % from" in capsys.readouterr().out
    assert DATA.is_dir()
