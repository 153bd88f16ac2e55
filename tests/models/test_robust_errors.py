"""Robust and clustered standard errors beside statsmodels', and what sample weights are."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import sparse

import descend
from descend import DescendError

RNG = np.random.default_rng(5)
N = 240
X = RNG.normal(size=(N, 3)) * [1.0, 30.0, 0.02] + [5.0, 2000.0, -1.0]
ONES = sm.add_constant(X, prepend=False)
Z = (X - X.mean(axis=0)) / X.std(axis=0) @ [0.6, -0.9, 0.4]
Y = Z + (1 + np.abs(Z)) * RNG.normal(size=N)
COIN = (Z + RNG.logistic(size=N) > 0).astype(float)
COUNT = RNG.poisson(np.exp(0.5 * Z)).astype(float)
WEIGHT = RNG.gamma(2.0, size=N)
GROUP = RNG.integers(0, 23, N)
KINDS = ("hc0", "hc1", "hc2", "hc3")
TIGHT = {"standardize": True}


def errors(run):
    return list(run.standard_errors.values())


def test_errors_of_huber_that_rest_on_few_rows_say_so():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = x @ [1.0, 2.0] + rng.normal(size=300)
    for scale, told in ((1.0, False), (1_000.0, True)):
        said = str(descend.fit(x, scale * y, loss="huber").summary())
        assert ("bend the loss" in said) is told
    assert "bend the loss" not in str(descend.fit(x, 1_000 * y, loss=descend.HuberLoss(1_000)).summary())


def test_small_residuals_beside_large_ones_keep_their_digits():
    """The mean of one group is far better known than that of the others: exact by rational arithmetic."""
    rng = np.random.default_rng(0)
    group = np.arange(60) % 3
    firms = np.arange(60) // 6
    for sd in (1e-2, 1e-5, 1e-8):
        y = np.array([1.0, 2.0, 5.0])[group] + rng.normal(size=60) * np.where(group == 0, sd, 1.0)
        left = [Fraction(v) for v in y[group == 0].tolist()]
        mean = sum(left) / 20
        left = [v - mean for v in left]
        hc0 = math.sqrt(sum(v * v for v in left)) / 20
        of = firms[group == 0]
        sums = [sum(v for v, f in zip(left, of, strict=True) if f == firm) for firm in set(of.tolist())]
        clustered = math.sqrt(sum(v * v for v in sums) * Fraction(10, 9) * Fraction(59, 57)) / 20
        table = {"g": [f"g{k}" for k in group], "y": y, "firm": firms}
        for right, how in (
            (hc0, {"errors": "hc0", "columns": descend.Columns(features=["g"])}),
            (clustered, {"columns": descend.Columns(features=["g"], cluster="firm")}),
        ):
            found = descend.fit(table, target="y", **how).standard_errors["(intercept)"]
            assert found == pytest.approx(right, rel=1e-15 / sd)


@pytest.mark.parametrize("clusters", [2, 3, 5, 10])
def test_as_few_clusters_as_slopes_know_no_test_of_all(clusters):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y, firms = rng.normal(size=(200, clusters)), rng.normal(size=200), np.arange(200) % clusters
        run = descend.fit(x, y, cluster=firms)
        assert "F" not in run.summary().figures
        every = ", ".join(f"x{j}" for j in range(clusters))
        with pytest.raises(DescendError, match="asks for more at once than these errors know"):
            run.test(every)
        assert run.test("x0").p_value > 0
        fewer = descend.fit(x[:, 1:], y, cluster=firms)
        assert 0 < fewer.summary().figures["F"] < 1e9


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("kind", [*KINDS, "cluster"])
def test_least_squares(kind, weighted, tmp_path):
    s = WEIGHT if weighted else np.ones(N)
    how = (
        {"cov_type": kind.upper()}
        if kind != "cluster"
        else {"cov_type": "cluster", "cov_kwds": {"groups": GROUP}}
    )
    oracle = sm.WLS(Y, ONES, s).fit(**how, use_t=True)
    given = {"sample_weight": s} if weighted else {}
    given |= {"errors": kind, "cluster": GROUP if kind == "cluster" else None}
    run = descend.fit(X, Y, **given)
    np.testing.assert_allclose(errors(run), oracle.bse, rtol=1e-10)
    np.testing.assert_allclose(run.covariance.matrix, oracle.cov_params(), rtol=1e-8)
    figures = run.summary().figures
    assert figures["F"] == pytest.approx(float(oracle.fvalue), rel=1e-8)
    assert figures["p of F"] == pytest.approx(float(oracle.f_pvalue), rel=1e-7)
    p = [e.p_value for e in run.summary().estimates]
    np.testing.assert_allclose(p, oracle.pvalues, rtol=1e-8)
    frame = {f"x{i}": X[:, i] for i in range(3)} | {"y": Y, "s": s, "g": [f"group {g}" for g in GROUP]}
    columns = descend.Columns(
        weight="s", cluster="g" if kind == "cluster" else None, drop=["g"] if kind != "cluster" else []
    )
    table = descend.fit(frame, target="y", columns=columns, errors=kind)
    np.testing.assert_allclose(errors(table), oracle.bse, rtol=1e-10)
    assert kind.upper() in str(run.summary()) or "23 clusters" in str(run.summary())


@pytest.mark.parametrize("kind", ["hc0", "hc1", "cluster"])
@pytest.mark.parametrize("model", ["logistic", "poisson"])
def test_likelihoods(model, kind):
    y, family = (COIN, sm.families.Binomial()) if model == "logistic" else (COUNT, sm.families.Poisson())
    given = {"errors": kind, "cluster": GROUP if kind == "cluster" else None}
    how = (
        {"cov_type": kind.upper()}
        if kind != "cluster"
        else {"cov_type": "cluster", "cov_kwds": {"groups": GROUP}}
    )
    oracle = sm.GLM(y, ONES, family).fit(tol=1e-14, tol_criterion="params", maxiter=100, **how).bse
    run = descend.fit(X, y, loss=model, **given, tolerance=1e-11, **TIGHT)
    if kind == "hc1":  # statsmodels' GLM leaves the factor of rows out
        plain = (
            sm.GLM(y, ONES, family).fit(tol=1e-14, tol_criterion="params", maxiter=100, cov_type="HC0").bse
        )
        oracle = plain * np.sqrt(N / (N - 4))
    np.testing.assert_allclose(errors(run), oracle, rtol=1e-7)


@pytest.mark.parametrize("kind", ["hc2", "hc3"])
def test_likelihoods_with_leverages(kind):
    """As R's sandwich::vcovHC of a glm, written out."""
    run = descend.fit(X, COIN, loss="logistic", errors=kind, tolerance=1e-11, **TIGHT)
    p = 1 / (1 + np.exp(-(ONES @ run.weights)))
    B = np.linalg.inv((ONES.T * (p * (1 - p))) @ ONES)
    h = p * (1 - p) * np.einsum("ij,jk,ik->i", ONES, B, ONES)
    g = (p - COIN) / (1 - h) ** (0.5 if kind == "hc2" else 1.0)
    right = np.sqrt(np.diag(B @ (ONES.T * g**2) @ ONES @ B))
    np.testing.assert_allclose(errors(run), right, rtol=1e-6)


def test_several_classes():
    y = np.digitize(Z + RNG.logistic(size=N), [-0.6, 0.6])
    for kind in ("hc0", "cluster"):
        how = {"cov_type": "HC0"} if kind == "hc0" else {"cov_type": "cluster", "cov_kwds": {"groups": GROUP}}
        oracle = sm.MNLogit(y, ONES).fit(disp=0, method="newton", tol=1e-12, maxiter=100, **how)
        cluster = GROUP if kind == "cluster" else None
        run = descend.fit(X, y, loss="cross-entropy", errors=kind, cluster=cluster, tolerance=1e-11, **TIGHT)
        np.testing.assert_allclose(errors(run), oracle.bse, rtol=1e-6)
    with pytest.raises(DescendError, match="hc1"):
        descend.fit(X, y, loss="cross-entropy", errors="hc3")


@pytest.mark.parametrize("loss", ["squared-error", "logistic", "poisson"])
def test_frequencies_are_rows_written_out(loss):
    y = {"squared-error": Y, "logistic": COIN, "poisson": COUNT}[loss]
    s = RNG.integers(0, 4, N)
    rows = np.repeat(np.arange(N), s)
    for kind in (None, "hc0", "hc1", "hc3", "cluster"):
        cluster = GROUP if kind == "cluster" else None
        written = None if cluster is None else cluster[rows]
        a = descend.fit(
            X, y, loss=loss, sample_weight=s, weight_kind="frequencies", errors=kind, cluster=cluster, **TIGHT
        )
        b = descend.fit(X[rows], y[rows], loss=loss, errors=kind, cluster=written, **TIGHT)
        np.testing.assert_allclose(errors(a), errors(b), rtol=1e-6)
        for name, value in b.summary().figures.items():
            assert a.summary().figures[name] == pytest.approx(value, rel=1e-7), name
        assert a.summary().statistic == b.summary().statistic


def test_made_up_weights_have_robust_errors():
    run = descend.fit(X, COIN, loss="logistic", class_weight="balanced", tolerance=1e-11, **TIGHT)
    w = np.where(COIN == 1, N / (2 * COIN.sum()), N / (2 * (N - COIN.sum())))
    p = 1 / (1 + np.exp(-(ONES @ run.weights)))
    B = np.linalg.inv((ONES.T * (w * p * (1 - p))) @ ONES)
    right = np.sqrt(np.diag(B @ (ONES.T * (w * (p - COIN)) ** 2) @ ONES @ B))
    np.testing.assert_allclose(errors(run), right, rtol=1e-6)
    assert "HC0" in str(run.summary())
    model = descend.LinearClassifier(alpha=0, class_weight="balanced").fit(X, COIN)
    np.testing.assert_allclose(errors(model.run_), right, rtol=1e-4)


def test_the_same_bits_by_every_engine_and_sparse_rows(tmp_path):
    y, engines = Y, (descend.Serial(), descend.Threads(2), descend.Processes(2))
    for kind in ("hc3", "cluster"):
        cluster = GROUP if kind == "cluster" else None
        found = [descend.fit(X, y, errors=kind, cluster=cluster, engine=e).standard_errors for e in engines]
        assert found[0] == found[1] == found[2]
        thin = descend.fit(sparse.csr_array(X), y, errors=kind, cluster=cluster)
        np.testing.assert_allclose(errors(thin), list(found[0].values()), rtol=1e-9)


def test_beyond_one_leaf_and_from_a_file(tmp_path):
    rng = np.random.default_rng(0)
    n = 150_000
    x, g = rng.normal(size=(n, 2)), rng.integers(0, 500, n)
    y = x @ [1.0, 2.0] + rng.normal(size=500)[g] + rng.normal(size=n)
    path = tmp_path / "rows.csv"
    np.savetxt(path, np.column_stack([x, y, g]), delimiter=",", header="a,b,y,g", comments="", fmt="%.17g")
    oracle = sm.OLS(y, sm.add_constant(x, prepend=False)).fit(cov_type="cluster", cov_kwds={"groups": g})
    run = descend.fit(path, target="y", columns=descend.Columns(cluster="g"))
    np.testing.assert_allclose(errors(run), oracle.bse, rtol=1e-9)
    assert "g" not in run.coefficients


def test_a_row_of_leverage_one_is_told():
    x = np.column_stack([X, np.arange(N) == 7])
    run = descend.fit(x, Y, errors="hc3")
    assert "1 rows of leverage 1" in str(run.summary())
    assert np.isfinite(errors(run)).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"errors": "hc4"}, "'hc3'"),
        ({"errors": "cluster"}, "--errors cluster:COL"),
        ({"cluster": GROUP[:-1]}, "one value per row"),
        ({"cluster": np.zeros(N)}, "two clusters"),
        ({"weight_kind": "counts"}, '"frequencies"'),
    ],
)
def test_what_is_wrong_is_said(given, says):
    with pytest.raises(DescendError, match=says):
        descend.fit(X, Y, **given)
