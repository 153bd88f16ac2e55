"""Results of R, Stata and gretl that statsmodels keeps in files beside its own tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from statsmodels import datasets
from statsmodels.genmod.tests.results import results_glm as glm

import descend

R = "statsmodels.{}.tests.results.{}"


def kept(part, module):
    return import_module(R.format(part, module))


def with_ones(x):
    return np.column_stack([np.asarray(x, dtype=float), np.ones(len(x))])


def told(run):
    """What a run says, by the names of the files."""
    summary = run.summary()
    f, e = summary.figures, summary.estimates
    found = {
        "params": [one.coefficient for one in e],
        "bse": [one.standard_error for one in e],
        "tvalues": [one.statistic for one in e],
        "pvalues": [one.p_value for one in e],
        "conf_int": [(one.low, one.high) for one in e],
        "cov_params": run.covariance.matrix,
        "llf": f["log-likelihood"],
        "aic": f["AIC"],
        "bic": f["BIC"],
    }
    names = {
        "rsquared": "R2",
        "rsquared_adj": "adjusted R2",
        "fvalue": "F",
        "deviance": "deviance",
        "null_deviance": "null deviance",
        "pearson_chi2": "Pearson chi2",
        "prsquared": "pseudo R2",
        "llr": "LR chi2",
        "llr_pvalue": "p of LR",
    }
    return found | {theirs: f[ours] for theirs, ours in names.items() if ours in f}


def compare(run, stored, rtol=1e-9, skip=(), **other):
    """Everything that both have; how many values that were."""
    found, count = told(run) | other, 0
    for name, value in found.items():
        theirs = getattr(stored, name, None)
        if name in skip or theirs is None or callable(theirs):
            continue
        np.testing.assert_allclose(np.ravel(value), np.ravel(theirs), rtol=rtol, atol=6e-9, err_msg=name)
        count += np.size(value)
    return count


def errors(x, y, kind, **more):
    return list(descend.fit(x, y, intercept=False, errors=kind, **more).standard_errors.values())


def test_longley():
    data, stored = datasets.longley.load(), kept("regression", "results_regression").Longley()
    x, y = with_ones(data.exog), np.asarray(data.endog)
    run = descend.fit(x, y, intercept=False)
    squares = {name: getattr(stored, name) for name in ("ssr", "mse_resid", "scale")}
    left = run.loss * len(y)
    for name, value in squares.items():
        assert (left if name == "ssr" else left / 9) == pytest.approx(value, rel=1e-9), name
    assert compare(run, stored, 1e-6) >= 26
    for kind in ("hc0", "hc1", "hc2", "hc3"):
        np.testing.assert_allclose(errors(x, y, kind), getattr(stored, f"{kind.upper()}_se"), rtol=2e-4)


def test_credit_card_spending_with_weights():
    data, stored = datasets.ccard.load(), kept("regression", "results_regression").CCardWLS()
    x = with_ones(data.exog)
    s = 1.0 / x[:, 2]
    run = descend.fit(x, np.asarray(data.endog), sample_weight=s, intercept=False)
    s = s * len(s) / s.sum()  # Stata's analytic weights add up to the rows
    told_by_stata = compare(run, stored, 1e-6, skip=("llf", "aic", "bic"))
    assert told_by_stata >= 18
    scaled = descend.fit(x, np.asarray(data.endog), sample_weight=s, intercept=False).summary().figures
    for name, theirs in (("log-likelihood", stored.llf), ("AIC", stored.aic), ("BIC", stored.bic)):
        assert scaled[name] == pytest.approx(theirs, rel=1e-7), name


def test_birth_weights():
    stored = glm.Lbw()
    x, y = np.asarray(stored.exog, dtype=float), np.asarray(stored.endog, dtype=float)
    run = descend.fit(x, y, loss="logistic", intercept=False)
    assert compare(run, stored, 3e-5, aic_R=told(run)["aic"]) >= 22  # as many digits as are stored
    assert told(run)["deviance"] == pytest.approx(stored.deviance, rel=1e-10)
    assert told(run)["llf"] == pytest.approx(stored.llf, rel=1e-10)


def test_schools_by_successes_and_failures():
    stored, data = glm.Star98(), datasets.star98.load()
    x, counts = with_ones(data.exog), np.asarray(data.endog, dtype=float)
    y = np.repeat([1.0, 0.0], len(x))
    run = descend.fit(
        np.vstack([x, x]), y, loss="logistic", sample_weight=counts.T.ravel(), weight_kind="frequencies",
        intercept=False,
    )  # fmt: skip
    found = told(run)
    np.testing.assert_allclose(found["params"], stored.params, rtol=1e-6)
    np.testing.assert_allclose(found["bse"], stored.bse, rtol=1e-6)
    p = counts[:, 0] / counts.sum(axis=1)  # a row of its own for each school is the best there is
    with np.errstate(divide="ignore", invalid="ignore"):
        best = -2.0 * np.nansum(counts * np.log(np.column_stack([p, 1 - p])))
    assert found["deviance"] - best == pytest.approx(stored.deviance, rel=1e-8)
    assert found["null_deviance"] - best == pytest.approx(stored.null_deviance, rel=1e-8)


def test_spector():
    data, stored = datasets.spector.load(), kept("discrete", "results_discrete").Spector.logit
    run = descend.fit(with_ones(data.exog), np.asarray(data.endog), loss="logistic", intercept=False)
    assert compare(run, stored, 1e-6) >= 40


def test_voters():
    data, stored = datasets.anes96.load(), kept("discrete", "results_discrete").Anes.mnlogit_basezero
    x = np.asarray(data.exog, dtype=float).copy()
    x[:, 0] = np.log(x[:, 0] + 0.1) if x[:, 0].max() > 20 else x[:, 0]
    run = descend.fit(with_ones(x), np.asarray(data.endog).astype(int), loss="cross-entropy", intercept=False)
    found, K = told(run), 6
    for name in ("params", "bse"):
        theirs = np.asarray(getattr(stored, name))
        ours = np.reshape(found[name], (K, -1))
        np.testing.assert_allclose(ours, theirs.T, rtol=2e-5)
    for name in ("llf", "llr", "llr_pvalue", "prsquared"):
        assert found[name] == pytest.approx(getattr(stored, name), rel=1e-6), name
    assert found["llf"] - found["llr"] / 2 == pytest.approx(stored.llnull, rel=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_firms_by_cluster(weighted):
    data = datasets.grunfeld.data.load_pandas()
    x = with_ones(data.exog[["value", "capital"]][:200])
    groups, y = data.exog["firm"].to_numpy()[:200], data.endog.to_numpy()[:200]
    module = kept("regression", "results_grunfeld_ols_robust_cluster")
    stored = module.results_cluster_wls_small if weighted else module.results_cluster
    s = 1.0 / x[:, 0] if weighted else None
    run = descend.fit(x, y, sample_weight=s, intercept=False, cluster=groups)
    np.testing.assert_allclose(run.covariance.matrix, stored.cov, rtol=1e-6)
    columns = dict(zip(stored.params_table_colnames, stored.params_table.T, strict=True))
    for ours, theirs in (("params", "b"), ("bse", "se"), ("tvalues", "t"), ("pvalues", "pvalue")):
        np.testing.assert_allclose(told(run)[ours], columns[theirs], rtol=1e-6)
    np.testing.assert_allclose(
        told(run)["conf_int"], np.column_stack([columns["ll"], columns["ul"]]), rtol=1e-6
    )
    assert run.test("x0, x1").statistic == pytest.approx(stored.F, rel=1e-6)
    assert run.test("x0, x1").freedom == stored.df_r
    with_intercept = descend.fit(x[:, :2], y, sample_weight=s, cluster=groups)
    assert with_intercept.summary().figures["F"] == pytest.approx(stored.F, rel=1e-6)
    figures = run.summary().figures
    assert figures["R2"] == pytest.approx(stored.r2, rel=1e-8)
    assert figures["adjusted R2"] == pytest.approx(stored.r2_a, rel=1e-8)


@pytest.mark.parametrize("kind", ["clu", "hc1"])
def test_ships(kind):
    module = kept("discrete", "results_count_robust_cluster")
    stored = getattr(module, f"results_poisson_{kind}")
    ships = pl.read_csv(Path(module.__file__).parent / "ships.csv", null_values="").drop_nulls()
    x, y = with_ones(ships.select("yr_con", "op_75_79")), ships["accident"].to_numpy().astype(float)
    group = ships["ship"].to_numpy() if kind == "clu" else None
    run = descend.fit(
        x, y, loss="poisson", intercept=False, errors="hc0" if group is None else None, cluster=group
    )
    columns = dict(zip(stored.params_table_colnames, stored.params_table.T, strict=True))
    n, k = x.shape
    factor = np.sqrt(n / (n - 1)) if kind == "hc1" else np.sqrt((n - k) / (n - 1))  # Stata's own
    np.testing.assert_allclose(told(run)["params"], columns["b"], rtol=1e-6)
    np.testing.assert_allclose(np.multiply(told(run)["bse"], factor), columns["se"], rtol=1e-6)
    assert told(run)["llf"] == pytest.approx(stored.ll, rel=1e-8)


def executions():
    """The states' rows, income by its logarithm."""
    data = datasets.cpunish.load()
    x = np.asarray(data.exog, dtype=float).copy()
    x[:, 3] = np.log(x[:, 3])
    return with_ones(x), np.asarray(data.endog, dtype=float)


@pytest.mark.parametrize(
    "kind", ["none_nonrobust", "fweight_nonrobust", "none_hc1", "fweight_hc1", "fweight_clu1"]
)
def test_executions_with_frequencies(kind):
    stored = getattr(kept("genmod", "results_glm_poisson_weights"), f"results_poisson_{kind}")
    x, y = executions()
    counts = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 1, 1, 1, 2, 2, 2, 3, 3])
    group = np.arange(1, 18) // 2
    given = {"sample_weight": counts, "weight_kind": "frequencies"} if kind.startswith("fweight") else {}
    given |= {"cluster": group} if kind.endswith("clu1") else {}
    given |= {"errors": "hc0"} if kind.endswith("hc1") else {}
    run = descend.fit(x, y, loss="poisson", intercept=False, **given)
    found, columns = told(run), dict(zip(stored.params_table_colnames, stored.params_table.T, strict=True))
    n, k = counts.sum() if given.get("weight_kind") else 17, x.shape[1]
    factors = {"nonrobust": 1.0, "hc1": n / (n - 1), "clu1": (n - k) / (n - 1)}  # Stata's own
    factor = np.sqrt(factors[kind.split("_")[1]])
    np.testing.assert_allclose(found["params"], columns["b"], rtol=2e-6)
    np.testing.assert_allclose(np.multiply(found["bse"], factor), columns["se"], rtol=2e-6)
    assert found["llf"] == pytest.approx(stored.ll, rel=1e-7)
    assert found["deviance"] == pytest.approx(stored.deviance, rel=1e-6)


def test_counts_of_r():
    stored, (x, y) = glm.Cpunish(), executions()
    found = told(descend.fit(x, y, loss="poisson", intercept=False))
    np.testing.assert_allclose(found["params"], stored.params, rtol=2e-4)  # as many digits as are stored
    np.testing.assert_allclose(found["bse"], stored.bse, rtol=2e-4)
    for name in ("deviance", "null_deviance", "pearson_chi2", "llf"):
        assert found[name] == pytest.approx(getattr(stored, name), rel=1e-6), name
    assert found["aic"] == pytest.approx(stored.aic_R, rel=1e-6)
