"""An estimator's `run_` is a Run like any other: everything that a Run does, it does."""

from __future__ import annotations

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

import descend
from descend import LinearClassifier, LinearRegressor, Run
from descend.errors import DescendError
from descend.interfaces.cli import main

RNG = np.random.default_rng(2)
N = 120
X = RNG.normal(size=(N, 3)) + np.array([0.0, 50.0, 0.0])
Z = X @ [1.0, 0.5, -1.0] - 25.0
TARGETS = {
    "number": (LinearRegressor, {}, Z + RNG.normal(size=N)),
    "huber": (LinearRegressor, {"loss": "huber"}, Z + RNG.normal(size=N)),
    "counts": (LinearRegressor, {"loss": "poisson"}, RNG.poisson(np.exp(0.4 * Z)).astype(float)),
    "two": (LinearClassifier, {"alpha": 0}, np.where(Z + RNG.logistic(size=N) > 0, "yes", "no")),
    "three": (
        LinearClassifier,
        {"alpha": 0},
        np.array(["a", "b", "c"])[np.digitize(Z + RNG.logistic(size=N), [-1, 1])],
    ),
    "penalised": (LinearClassifier, {}, np.where(Z + RNG.logistic(size=N) > 0, "yes", "no")),
    "early": (
        LinearRegressor,
        {"early_stopping": True, "random_state": 0, "steps": 5, "optimizer": "gradient-descent"},
        Z,
    ),
}
ROWS = {
    "array": X,
    "float32": X.astype(np.float32),
    "sparse": sparse.csr_array(X),
    "pandas": pd.DataFrame(X, columns=["age", "income [k]", "x9"]),
    "polars": pl.DataFrame(X, schema=["age", "income [k]", "x9"]),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_method_works(target, rows, tmp_path, capsys):
    kind, settings, y = TARGETS[target]
    model = kind(**settings).fit(ROWS[rows], y)
    run = model.run_
    names = list(ROWS[rows].columns) if rows in ("pandas", "polars") else ["x0", "x1", "x2"]
    assert list(run.coefficients) == [*names, "(intercept)"]
    if kind is LinearClassifier:
        assert run.predict(X).tolist() == model.predict(ROWS[rows]).tolist()
    assert str(run)
    assert run.message
    assert set(run.metrics) >= {"training"}
    used = {
        "summary",
        "animate",
        "report",
        "save",
        "top_losses",
        "surface",
        "test",
        "predict",
        "predict_interval",
    }
    plots = [name for name in dir(Run) if name.startswith("plot")]
    assert plots
    for name in plots:
        if name == "plot_confusion" and kind is LinearRegressor:
            with pytest.raises(DescendError, match="needs a classification"):
                run.plot_confusion()
        else:
            getattr(run, name)()
    assert used <= set(dir(Run))
    summary = run.summary()
    assert str(summary)
    if summary.why_not is None:
        assert {e.name for e in summary.estimates} == {*names, "(intercept)"}
        assert run.covariance.matrix.shape[0] == len(summary.estimates)
        run.test(f"`{next(iter(run.model.contrasts))}`")
        if target != "three":
            assert run.predict_interval(X[:2]).shape == (2, 2)
    assert run.animate().frames >= 1
    run.surface()
    assert run.top_losses(3).rows
    run.report(tmp_path / "run.html")
    assert "What the columns say" in (tmp_path / "run.html").read_text()
    run.save(tmp_path / "m.json")
    assert main(["show", str(tmp_path / "m.json")]) == 0
    assert names[1] in capsys.readouterr().out
    assert len(pickle.dumps(model)) < 200_000


@pytest.mark.parametrize("target", ["number", "counts", "two", "three"])
def test_its_summary_is_that_of_fit(target):
    kind, _, y = TARGETS[target]
    loss = {"number": "squared-error", "counts": "poisson", "two": "logistic", "three": "cross-entropy"}[
        target
    ]
    run = kind(**TARGETS[target][1]).fit(X, y).run_
    same = descend.fit(X, y, loss=loss, standardize=True)
    for ours, theirs in zip(run.summary().estimates, same.summary().estimates, strict=True):
        assert (ours.name, ours.label) == (theirs.name, theirs.label)
        assert ours.coefficient == pytest.approx(theirs.coefficient, rel=1e-8)
        assert ours.standard_error == pytest.approx(theirs.standard_error, rel=1e-8)
    assert run.summary().figures == pytest.approx(same.summary().figures, rel=1e-9)
    for side, metrics in same.metrics.items():
        assert run.metrics[side].values == pytest.approx(metrics.values, rel=1e-9)


def test_the_rows_are_let_go():
    x = RNG.normal(size=(50_000, 8))
    model = LinearRegressor().fit(x, x.sum(axis=1))
    assert len(pickle.dumps(model)) < 400_000
