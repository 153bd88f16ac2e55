"""Wald's tests beside statsmodels', and what a hypothesis may say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import descend
from descend import DescendError
from descend.models.hypotheses import equations

RNG = np.random.default_rng(8)
N = 200
FRAME = pl.DataFrame(
    {
        "x1": RNG.normal(5e6, 2.0, N),
        "x2": RNG.normal(size=N),
        "my col": RNG.normal(size=N),
        "town": RNG.choice(["A", "B, C", "D=E"], N),
    }
).with_columns(
    y=pl.col("x1") * 0.3 + pl.col("x2") * 0.28 + (pl.col("town") == "A") * 0.3 + RNG.normal(size=N),
    won=(pl.col("x2") + RNG.logistic(size=N) > 0).cast(pl.Int64),
    party=pl.Series(RNG.choice(["left", "right", "up"], N)),
)
PANDAS = FRAME.rename({"my col": "mine"}).to_pandas()


@pytest.mark.parametrize("kind", ["classical", "hc1"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("x1 = x2", "x1 = x2"),
        ("2 * x1 - x2 = 0.3", "2 * x1 - x2 = 0.3"),
        ("x1 = 0.3, x2 = 0.2", "x1 = 0.3, x2 = 0.2"),
        ("`my col`", "mine = 0"),
        ("my col + x2 = 3 - 2.5e0", "mine + x2 = 0.5"),
        ("town", "C(town, Treatment('D=E'))[T.A] = 0, C(town, Treatment('D=E'))[T.B, C] = 0"),
        ("town=A = town=B, C", "C(town, Treatment('D=E'))[T.A] = C(town, Treatment('D=E'))[T.B, C]"),
        ("x1 = x2, x2 = x1, -x1 = -x2", "x1 = x2"),
    ],
)
def test_least_squares(ours, theirs, kind):
    columns = descend.Columns(features=["x1", "x2", "my col", "town"], reference={"town": "D=E"})
    run = descend.fit(FRAME, target="y", columns=columns, errors=kind)
    how = {} if kind == "classical" else {"cov_type": "HC1"}
    centred = PANDAS.assign(x1=PANDAS.x1 - 5e6, y=PANDAS.y - 1.5e6)  # statsmodels loses digits elsewhere
    fitted = smf.ols("y ~ x1 + x2 + mine + C(town, Treatment('D=E'))", centred).fit(**how, use_t=True)
    if "[T.B, C]" in theirs:  # whose comma its parser takes for its own
        names = list(fitted.params.index)
        R = np.zeros((1 if " = C(" in theirs else 2, len(names)))
        R[0, names.index("C(town, Treatment('D=E'))[T.A]")] = 1.0
        R[-1, names.index("C(town, Treatment('D=E'))[T.B, C]")] = -1.0
        theirs = R
    oracle = fitted.f_test(theirs)
    found = run.test(ours)
    assert found.constraints == oracle.df_num
    assert found.statistic == pytest.approx(float(oracle.fvalue), rel=1e-7)
    assert found.p_value == pytest.approx(float(oracle.pvalue), rel=1e-7)
    assert str(found).startswith(f"{ours}: F({found.constraints}, {N - 6})")


def test_two_and_three_classes(tmp_path):
    x = FRAME.select("x2", "my col")
    run = descend.fit(x.with_columns(FRAME["won"]), target="won", penalty=0, tolerance=1e-10)
    oracle = sm.Logit(FRAME["won"].to_numpy(), sm.add_constant(x.to_numpy())).fit(disp=0, tol=1e-13)
    wald = oracle.wald_test("x1 = 0, x2 = 0.1", scalar=True)
    found = run.test("x2, my col = 0.1")
    assert found.statistic == pytest.approx(wald.statistic, rel=1e-7)
    assert (found.freedom, found.constraints) == (None, 2)
    assert found.p_value == pytest.approx(wald.pvalue, rel=1e-6)
    run.save(tmp_path / "m.json")
    model = descend.load(tmp_path / "m.json")
    assert descend.models.hypotheses.wald_test(model, "x2, my col = 0.1") == found
    run = descend.fit(x.with_columns(FRAME["party"]), target="party", penalty=0, tolerance=1e-10)
    oracle = sm.MNLogit(FRAME["party"].to_numpy(), sm.add_constant(x.to_numpy())).fit(
        disp=0, method="newton", tol=1e-13
    )
    R = np.zeros((2, 6))
    R[0, 1], R[1, 4] = 1.0, 1.0
    wald = oracle.wald_test(R, scalar=True)
    found = run.test("x2")  # of both classes beside the first
    assert found.statistic == pytest.approx(wald.statistic, rel=1e-6)
    assert run.test("right: x2, up: x2").statistic == pytest.approx(found.statistic, rel=1e-12)


def test_the_covariance_is_that_of_statsmodels():
    x = FRAME.select("x2", "my col").to_numpy()
    run = descend.fit(x, FRAME["y"].to_numpy())
    oracle = sm.OLS(FRAME["y"].to_numpy(), sm.add_constant(x, prepend=False)).fit()
    np.testing.assert_allclose(np.asarray(run.covariance), oracle.cov_params(), rtol=1e-9)
    assert run.covariance.names == ("x0", "x1", "(intercept)")
    np.testing.assert_allclose(run.covariance.standard_errors, oracle.bse, rtol=1e-10)
    with pytest.raises(DescendError, match="--l2 0"):
        descend.fit(x, FRAME["y"].to_numpy(), penalty=1.0).covariance


@pytest.mark.parametrize(
    ("hypothesis", "says"),
    [
        ("x9 = 0", "no coefficient is called 'x9"),
        ("x0 x1", "cannot be read at 'x1'"),
        ("x0 = x1 = 0", "two signs of equality"),
        ("x0**2 = 1", "cannot be read"),
        ("2**x0 = 1", "cannot be read"),
        ("x0 =", "is missing"),
        ("x0 +", "is missing"),
        ("= x0", "is missing"),
        ("x0 - * x1", "is missing"),
        ("", "says nothing"),
        ("3 = 3", "says nothing"),
        ("x0 = 1, x0 = 2", "contradicts itself"),
        ("ones", "no coefficient"),
        ("x2 = 0", "aliased"),
    ],
)
def test_what_is_wrong_is_said(hypothesis, says):
    x = np.column_stack([FRAME.select("x2", "my col").to_numpy(), np.ones(N)])
    with pytest.raises(DescendError, match=says):
        descend.fit(x, FRAME["y"].to_numpy()).test(hypothesis)


def test_a_sum_of_aliased_coefficients_can_be_tested():
    x = np.column_stack([FRAME.select("x2", "my col").to_numpy(), np.ones(N)])
    y = FRAME["y"].to_numpy() - 1.5e6
    oracle = sm.OLS(y, x).fit().f_test((np.array([[0.0, 0.0, 1.0]]), 0.1))
    assert descend.fit(x, y).test("x2 + `(intercept)` = 0.1").statistic == pytest.approx(
        oracle.fvalue, rel=1e-8
    )


def test_equations():
    R, r = equations("-2*a + b = 1 - c, .5 b", ["a", "b", "c"], {})
    assert R.tolist() == [[-2.0, 1.0, 1.0], [0.0, 0.5, 0.0]]
    assert r.tolist() == [1.0, 0.0]
