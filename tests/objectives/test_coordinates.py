"""Standardising is a change of coordinates for the descent, never a change of the answer."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize_scalar
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression, Ridge

import descend
from descend import DescendWarning, GradientDescent
from descend.objectives.coordinates import Coordinates, Rescaled
from descend.objectives.objective import Objective
from descend.runs.problem import Problem

random = np.random.default_rng(5)
X = random.normal(size=(60, 3)) * [1.0, 30.0, 0.01] + [0.0, 200.0, -3.0]
SPARSE = np.where(random.random((60, 3)) < 0.6, 0.0, X)
TARGETS = {
    "squared-error": X @ [1.0, 0.1, 40.0] + random.normal(size=60),
    "logistic": (X[:, 1] + 20 * random.normal(size=60) > 200).astype(float),
    "cross-entropy": random.integers(0, 3, 60),
}
WEIGHTS = random.integers(0, 3, 60).astype(float)


def both(loss, intercept=True, x=X):
    problem = Problem.of(x, TARGETS[loss], loss=loss, penalty=0.3, intercept=intercept, sample_weight=WEIGHTS)
    units = Coordinates.of(problem.objective)
    return problem.objective, problem.objective.in_coordinates(units), units


@pytest.mark.parametrize("x", [X, csr_array(SPARSE)], ids=["dense", "sparse"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", TARGETS)
def test_the_same_value_and_its_derivatives(loss, intercept, x):
    inner, there, units = both(loss, intercept, x)
    v = random.normal(size=there.shape)
    w = units.to_original(v)
    np.testing.assert_allclose(units.to_descent(w), v, rtol=1e-9, atol=1e-12)
    assert there.value(v) == pytest.approx(inner.value(w), rel=1e-10)
    numeric = approx_fprime(v.ravel(), lambda u: there.value(u.reshape(v.shape)), 1e-6)
    np.testing.assert_allclose(there.gradient(v).ravel(), numeric, rtol=1e-4, atol=1e-4)
    columns = [
        (there.gradient((v.ravel() + e).reshape(v.shape)) - there.gradient(v)).ravel() / 1e-6
        for e in 1e-6 * np.eye(v.size)
    ]
    np.testing.assert_allclose(there.hessian(v), np.array(columns), rtol=1e-3, atol=1e-4)
    largest = np.linalg.eigvalsh(there.hessian(v))[-1]
    assert largest <= there.curvature_bound * (1 + 1e-9)


def test_wide_arrays_take_the_trace_for_the_curvature():
    x = random.normal(size=(5, 2100)) + 3
    objective = Objective.of(x, np.array([0, 1, 0, 1, 1]), loss="logistic")
    units = Coordinates.of(objective)
    np.testing.assert_allclose(units.centre, x.mean(0), rtol=1e-10)
    np.testing.assert_allclose(units.scale, x.std(0), rtol=1e-7)
    assert objective.in_coordinates(units).curvature_bound == pytest.approx(0.25 * 2101, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["exact", "gradient-descent", "lbfgs", "newton"])
def test_ridge_in_original_units_is_scikit_learns(optimizer):
    y, n = TARGETS["squared-error"], 60
    run = descend.fit(X, y, penalty=0.3, optimizer=optimizer, standardize=True, tolerance=1e-9)
    theirs = Ridge(alpha=0.3 * n / 2).fit(X, y)
    np.testing.assert_allclose(run.weights, [*theirs.coef_, theirs.intercept_], rtol=1e-6)
    assert run.outcome.converged


def test_logistic_in_original_units_is_scikit_learns():
    y = TARGETS["logistic"]
    run = descend.fit(
        X, y, loss="logistic", penalty=0.3, optimizer="gradient-descent", standardize=True, tolerance=1e-8
    )
    theirs = LogisticRegression(C=1 / (0.3 * 60), tol=1e-10, solver="newton-cholesky").fit(X, y)
    np.testing.assert_allclose(run.weights[:-1], theirs.coef_[0], rtol=1e-5)
    assert run.history.weights[0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("x", [X, csr_array(SPARSE)], ids=["dense", "sparse"])
@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_one_batch_of_all_rows_is_a_full_step(loss, x):
    inner = Problem.of(x, TARGETS[loss], loss=loss, penalty=0.3).objective
    units = Coordinates.of(inner, in_batches=True)
    there = inner.in_coordinates(units)
    v = random.normal(size=there.shape)
    (piece,) = descend.objectives.batches.Batches(there, 60).pieces(0)
    np.testing.assert_allclose(piece.batches[0].gradient(v), there.gradient(v), rtol=1e-9, atol=1e-9)
    assert (units.centre == 0).all() == (x is not X)


def test_start_and_weights_are_in_the_units_of_the_data():
    y = TARGETS["squared-error"]
    w = np.array([1.0, 2.0, 3.0, 4.0])
    run = descend.fit(X, y, start=w, steps=3, optimizer="gradient-descent", standardize=True)
    np.testing.assert_allclose(run.history.weights[0], w, rtol=1e-12)
    assert run.history.loss[-1] == pytest.approx(descend.mse(run.predict(X), y), rel=1e-10)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_walk_that_leaves_for_infinity_ends_without_a_warning(batch_size):
    x = np.random.default_rng(0).normal(size=(50, 2)) * [1e-3, 10.0] + 5.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DescendWarning)  # the rate is announced to be too large
        way = GradientDescent(1e60)
        run = descend.fit(x, x[:, 0], optimizer=way, batch_size=batch_size, standardize=True, epochs=20)
    assert run.outcome is descend.Outcome.DIVERGED
    assert np.isfinite(run.weights).all()


@pytest.mark.parametrize(
    "penalty", [descend.L1(0.7), descend.ElasticNet(0.5, 0.3), descend.L2(2.0)], ids=repr
)
@pytest.mark.parametrize("rate", [0.01, 1.0, 40.0])
def test_the_prox_in_other_units_is_the_best_compromise_there(penalty, rate):
    """Each weight `v` there is `v / scale` in the units that the penalty acts in."""
    scale, v = np.array([0.01, 0.5, 3.0, 100.0]), np.array([-0.03, 2.0, -5.0, 400.0])
    there = Rescaled(penalty, scale)
    best = []
    for s, x in zip(scale, v, strict=True):
        cost = lambda u, s=s, x=x: penalty.value(np.array([u / s])) + (u - x) ** 2 / (2 * rate)  # noqa: E731
        found = minimize_scalar(cost, bracket=(0, x), tol=1e-12).x
        best.append(min((0.0, found), key=cost))
    np.testing.assert_allclose(there.prox(v, rate), best, rtol=1e-6, atol=1e-8)
    several = there.prox(np.column_stack([v, -v]), rate)
    np.testing.assert_allclose(several, np.column_stack([best, np.negative(best)]), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("x", [X, csr_array(SPARSE)], ids=["dense", "sparse"])
@pytest.mark.parametrize("loss", TARGETS)
def test_a_penalty_with_kinks_has_the_same_minimum_in_any_coordinates(loss, x):
    how = {
        "loss": loss,
        "penalty": descend.ElasticNet(0.02, 0.8),
        "sample_weight": WEIGHTS,
        "tolerance": 1e-10,
    }
    one, other = (
        descend.fit(x, TARGETS[loss], standardize=standardize, **how) for standardize in (False, True)
    )
    if loss == "cross-entropy":  # a number added to all intercepts changes nothing
        for run in (one, other):
            run.weights[-1] -= run.weights[-1].mean()
    np.testing.assert_allclose(other.weights, one.weights, rtol=1e-6, atol=1e-8)
    assert (other.weights == 0).tolist() == (one.weights == 0).tolist()
