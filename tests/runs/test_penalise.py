"""A penalty means one thing by every door: beside scikit-learn, on columns as they are or standardised."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

import descend
from descend import L1, L2, DescendError
from descend.interfaces.cli import main

RNG = np.random.default_rng(3)
N = 150
X = RNG.normal(size=(N, 3)) * [3.0, 1.0, 0.2] + [5.0, 0.0, -1.0]
Y = X @ [0.5, -1.0, 4.0] + RNG.normal(size=N)
COIN = (np.median(Y) < Y).astype(int) ^ (RNG.random(N) < 0.2)
SPREAD = X.std(axis=0)
ALPHA = 0.3
DOORS = ["array", "standardize", "sparse", "frame", "csv", "shell", "estimator"]


def fitted(door, penalise, target, penalty, tmp_path, capsys):
    """The coefficients and the intercept by this door."""
    y, loss = (Y, "squared-error") if target == "number" else (COIN, "logistic")
    how = {"penalise": penalise} if penalise else {}
    if door in ("array", "standardize", "sparse"):
        x = sparse.csr_array(X) if door == "sparse" else X
        run = descend.fit(x, y, loss=loss, penalty=penalty, standardize=door == "standardize", **how)
        return run.weights
    if door == "estimator":
        kind = descend.LinearRegressor if target == "number" else descend.LinearClassifier
        model = kind(penalty="l1" if isinstance(penalty, L1) else "l2", alpha=ALPHA, **how).fit(X, y)
        return np.append(np.ravel(model.coef_), model.intercept_)
    frame = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": y})
    frame.write_csv(tmp_path / "rows.csv")
    if door == "shell":
        flag = "--l1" if isinstance(penalty, L1) else "--l2"
        line = [
            "fit",
            str(tmp_path / "rows.csv"),
            "--target",
            "y",
            flag,
            str(ALPHA),
            "--valid",
            "0",
            "--json",
        ]
        line += ["--no-report", "--out", str(tmp_path / "m.json")]
        assert main([*line, *(["--penalise", penalise] if penalise else [])]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["penalise"] == (penalise or "original")
        assert any("units of the data" in n or "standardised" in n for n in told["notes"])
        return np.array([*(told["coefficients"][name] for name in "abc"), told["intercept"]])
    data = frame if door == "frame" else tmp_path / "rows.csv"
    run = descend.fit(data, target="y", penalty=penalty, **how)
    return np.array([run.coefficients[name] for name in ("a", "b", "c", "(intercept)")])


def oracle(penalise, target, penalty):
    scale = SPREAD if penalise == "standardised" else np.ones(3)
    if target == "classes":
        model = LogisticRegression(
            C=1 / (ALPHA * N), tol=1e-12, max_iter=100_000, solver="newton-cholesky"
        ).fit(X / scale, COIN)
    elif isinstance(penalty, L1):
        model = Lasso(ALPHA / 2, tol=1e-12, max_iter=100_000).fit(X / scale, Y)
    else:
        model = Ridge(ALPHA * N / 2, tol=1e-12).fit(X / scale, Y)
    return np.append(np.ravel(model.coef_) / scale, model.intercept_)


@pytest.mark.parametrize("penalise", [None, "original", "standardised"])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", ["ridge", "lasso", "logistic"])
def test_every_door_means_the_same(case, door, penalise, tmp_path, capsys):
    target, penalty = (
        ("classes" if case == "logistic" else "number"),
        (L1(ALPHA) if case == "lasso" else L2(ALPHA)),
    )
    found = fitted(door, penalise, target, penalty, tmp_path, capsys)
    np.testing.assert_allclose(found, oracle(penalise, target, penalty), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("penalise", ["original", "standardised"])
@pytest.mark.parametrize("optimizer", ["gradient-descent", "lbfgs", "newton", "adam", "proximal-gradient"])
def test_every_optimizer_arrives_there(optimizer, penalise):
    frame = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": COIN}
    run = descend.fit(frame, target="y", penalty=ALPHA, penalise=penalise, optimizer=optimizer)
    assert run.outcome.converged
    found = [run.coefficients[name] for name in ("a", "b", "c", "(intercept)")]
    np.testing.assert_allclose(found, oracle(penalise, "classes", L2(ALPHA)), rtol=1e-5, atol=1e-7)


def test_every_penalised_result_says_what_was_penalised(tmp_path):
    frame = {"a": X[:, 0], "b": X[:, 1], "y": COIN}
    for how, words in (
        ({"penalty": 0.1}, "units of the data"),
        ({"penalty": 0.1, "penalise": "standardised"}, "standardised"),
        ({}, "standardised"),
    ):
        run = descend.fit(frame, target="y", **how)
        assert words in run.summary().why_not
        assert any(words in note for note in run.notes)
        run.report(tmp_path / "run.html")
        assert words in (tmp_path / "run.html").read_text()
    assert "penalise" not in descend.fit(frame, target="y", penalty=0).model.facts
    assert "units of the data" in descend.fit(X, Y, penalty=0.1).summary().why_not


def test_what_is_wrong_is_said():
    with pytest.raises(DescendError, match='`penalise` must be "original" or "standardised"'):
        descend.fit(X, Y, penalty=0.1, penalise="raw")
    with pytest.raises(DescendError, match="`partial_fit`"):
        descend.LinearRegressor(alpha=0.1, penalise="standardised").partial_fit(X, Y)
