"""Intervals of predictions beside statsmodels'."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

import descend
from descend import DescendError
from descend.interfaces.cli import main

RNG = np.random.default_rng(4)
YEAR = np.array([2008.0, 0.0])
X = RNG.normal(size=(90, 2)) + YEAR
NEW = RNG.normal(size=(7, 2)) * 3 + YEAR
CENTRED, THERE = (sm.add_constant(x - YEAR, prepend=False) for x in (X, NEW))
Y = (X - YEAR) @ [1.0, -2.0] + RNG.normal(size=90)


@pytest.mark.parametrize("kind", ["classical", "hc3"])
def test_least_squares(kind, tmp_path, capsys):
    how = {} if kind == "classical" else {"cov_type": "HC3"}
    oracle = sm.OLS(Y, CENTRED).fit(**how, use_t=True).get_prediction(THERE).summary_frame(alpha=0.1)
    frame = pl.DataFrame({"year": X[:, 0], "v": X[:, 1], "y": Y})
    new = frame.clear(0).vstack(pl.DataFrame({"year": NEW[:, 0], "v": NEW[:, 1], "y": np.zeros(7)}))
    for run, rows in (
        (descend.fit(X, Y, errors=kind), NEW),
        (descend.fit(frame, target="y", errors=kind), new),
    ):
        found = run.predict_interval(rows, 0.9)
        np.testing.assert_allclose(found, oracle[["mean_ci_lower", "mean_ci_upper"]], rtol=1e-8)
        found = run.predict_interval(rows, 0.9, of="observation")
        np.testing.assert_allclose(found, oracle[["obs_ci_lower", "obs_ci_upper"]], rtol=1e-8)
    model, path, out = (str(tmp_path / name) for name in ("m.json", "new.csv", "out.csv"))
    run.save(model)
    new.write_csv(path)
    assert main(["predict", model, path, "--interval", "0.9", "--out", out]) == 0
    written = pl.read_csv(out)
    assert written.columns == ["prediction", "mean_low", "mean_high", "observation_low", "observation_high"]
    np.testing.assert_allclose(written.to_numpy(), oracle[["mean", *oracle.columns[2:]]], rtol=1e-8)


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_means_of_likelihoods(loss, tmp_path):
    family = sm.families.Binomial() if loss == "logistic" else sm.families.Poisson()
    y = (Y > 0).astype(int) ^ (RNG.random(90) < 0.2) if loss == "logistic" else RNG.poisson(np.exp(0.3 * Y))
    fitted = sm.GLM(y, CENTRED, family).fit(tol=1e-14, tol_criterion="params")
    oracle = fitted.get_prediction(THERE).summary_frame(alpha=0.05)[["mean_ci_lower", "mean_ci_upper"]]
    run = descend.fit(X, y, loss=loss, standardize=True, tolerance=1e-10)
    np.testing.assert_allclose(run.predict_interval(NEW), oracle, rtol=1e-6)
    run.save(tmp_path / "m.json")
    assert (
        descend.load(tmp_path / "m.json").predict_interval(NEW).tolist() == run.predict_interval(NEW).tolist()
    )
    with pytest.raises(DescendError, match='"mean"'):
        run.predict_interval(NEW, of="observation")


def test_rows_that_a_fit_does_not_tell_of_have_none():
    run = descend.fit(np.column_stack([X[:, 1], 2 * X[:, 1]]), Y)
    found = run.predict_interval([[1.0, 2.0], [1.0, 1.0]])
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize(
    ("how", "given", "says"),
    [
        ({}, {"level": 95}, "0.95 for example"),
        ({}, {"of": "median"}, '"observation"'),
        ({"penalty": 1.0}, {}, "standard errors"),
    ],
)
def test_what_is_wrong_is_said(how, given, says):
    with pytest.raises(DescendError, match=says):
        descend.fit(X, Y, **how).predict_interval(NEW, **given)


@pytest.mark.parametrize("kind", ["line", "table", "poisson", "logistic"])
def test_the_picture_of_one_feature_has_the_band_of_the_mean(kind):
    year = X[:, 0]
    if kind == "line":
        run = descend.fit(np.column_stack([year, np.ones(90)]), Y)
        at = np.column_stack([year, np.ones(90)])
    elif kind == "table":
        run, at = descend.fit({"year": year, "y": Y}, target="y"), {"year": year}
    else:
        y = RNG.poisson(np.exp(0.3 * Y)) if kind == "poisson" else (Y > 0).astype(int)
        run, at = descend.fit(year[:, None], y, loss=kind, standardize=True), year[:, None]
    ax = run.plot()
    (band,) = ax.collections[-1].get_paths()
    ends = band.vertices[(band.vertices[:, 0] > year.min()) & (band.vertices[:, 0] < year.max())]
    low, high = run.predict_interval(at).T
    order = np.argsort(year)
    middle = np.interp(ends[:, 0], year[order], ((low + high) / 2)[order])
    for upper, right in ((False, low), (True, high)):
        side = ends[(ends[:, 1] > middle) == upper]
        found = np.interp(year[order][5:-5], *side[np.argsort(side[:, 0])].T)
        np.testing.assert_allclose(found, right[order][5:-5], rtol=0.03, atol=0.03)
    plt.close(ax.figure)
    assert not descend.fit(year[:, None], Y, penalty=1.0).plot().collections[1:]
    plt.close("all")
