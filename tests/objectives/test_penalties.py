"""Penalties beside finite differences, brute-force minimisation and scikit-learn's Ridge."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression, Ridge

import descend
from descend import L2, DescendError, Objective
from descend.objectives.penalties import as_penalty

RNG = np.random.default_rng(5)
X = RNG.normal([0.0, 2.0, -1.0], size=(60, 3))
NUMBER = X @ [1.0, -2.0, 0.5] + 4.0 + RNG.normal(size=60)
LABEL = (RNG.normal(4.0, size=60) < NUMBER).astype(int)
TARGETS = {"squared-error": NUMBER, "logistic": LABEL, "cross-entropy": np.arange(60) % 3}

alphas = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))
weights = st.one_of(*(arrays(float, shape, elements=st.floats(-100, 100)) for shape in [(4,), (3, 2)]))


@settings(max_examples=50)
@given(alpha=alphas, w=weights)
def test_the_value_is_half_alpha_times_the_squares(alpha, w):
    assert L2(alpha).value(w) == pytest.approx(alpha / 2 * sum(x**2 for x in w.ravel().tolist()), rel=1e-13)


@settings(max_examples=50)
@given(alpha=alphas, w=weights, seed=st.integers(0, 2**32))
def test_gradient_and_curvature_are_the_slopes(alpha, w, seed):
    """A quadratic, so wide central differences are exact up to rounding."""
    penalty, e = L2(alpha), np.random.default_rng(seed).normal(size=w.shape)
    slope = (penalty.value(w + e) - penalty.value(w - e)) / 2
    room = 1e-11 * alpha * (1 + np.vdot(w, w) + np.vdot(e, e))
    assert np.vdot(penalty.gradient(w), e) == pytest.approx(slope, rel=1e-10, abs=room)
    bend = penalty.gradient(w + e) - penalty.gradient(w)
    np.testing.assert_allclose(penalty.curvature(w) * e, bend, rtol=1e-8, atol=1e-12 * alpha * 100)
    assert penalty.gradient(w).shape == penalty.curvature(w).shape == penalty.prox(w, 0.1).shape == w.shape


@pytest.mark.parametrize("alpha", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("rate", [0.01, 1.0, 50.0])
def test_the_prox_is_the_best_compromise(alpha, rate):
    penalty, w = L2(alpha), np.array([-3.0, 0.0, 0.5, 7.0])
    best = [
        minimize_scalar(lambda v, x=x: penalty.value(np.array([v])) + (v - x) ** 2 / (2 * rate)).x for x in w
    ]
    np.testing.assert_allclose(penalty.prox(w, rate), best, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, int])
def test_numbers_of_numpy_are_numbers_of_a_model_file_too(kind, tmp_path):
    for penalty in (L2(kind(1)), kind(1)):
        assert as_penalty(penalty) == L2(1.0)
        descend.fit(X, NUMBER, penalty=penalty).save(tmp_path / "model.json")
        found = descend.load(tmp_path / "model.json").facts["penalty"]
        assert found == {"name": "l2", "alpha": 1.0}


def test_zero_is_no_penalty():
    assert L2().is_zero
    assert L2(0).is_zero
    assert not L2(1e-300).is_zero
    w = np.array([1.0, -2.0])
    assert L2().value(w) == 0
    np.testing.assert_array_equal(L2().prox(w, 10.0), w)


def test_a_penalty_leaves_the_weights_it_is_given_alone():
    w = np.array([1.0, -2.0])
    for found in (L2(2.0).gradient(w), L2(0).prox(w, 1.0), L2(2.0).curvature(w)):
        found += 1.0
    assert w.tolist() == [1.0, -2.0]


def test_a_penalty_is_a_frozen_value_that_can_be_sent():
    with pytest.raises(FrozenInstanceError):
        L2(1.0).alpha = 2.0
    assert pickle.loads(pickle.dumps(L2(0.5))) == L2(0.5) != L2(0.6)
    assert (L2.name, L2.smooth) == ("l2", True)


@pytest.mark.parametrize("alpha", [-1.0, -1e-300, np.nan, np.inf, -np.inf])
def test_a_bad_alpha_is_refused_by_its_value(alpha):
    with pytest.raises(DescendError, match=r"`alpha` of a penalty must be a number of at least 0, got"):
        L2(alpha)


def test_a_penalty_by_itself_by_its_alpha_or_none():
    assert as_penalty(None) == L2(0.0)
    assert as_penalty(2) == as_penalty(2.0) == L2(2.0)
    assert as_penalty(L2(0.5)) == L2(0.5)
    with pytest.raises(DescendError, match="got -1"):
        as_penalty(-1)


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("alpha", [0.1, 30.0])
def test_a_penalty_adds_itself_and_never_touches_the_intercept(loss, alpha):
    plain, objective = (Objective.of(X, TARGETS[loss], loss=loss, penalty=a) for a in (None, alpha))
    w = RNG.normal(size=objective.shape)
    value, gradient = plain.value_and_gradient(w)
    penalised, steeper = objective.value_and_gradient(w)
    assert penalised - value == pytest.approx(L2(alpha).value(w[:-1]), rel=1e-12)
    assert objective.value(w) == penalised
    np.testing.assert_allclose(steeper[:-1] - gradient[:-1], alpha * w[:-1], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(steeper[-1], gradient[-1])
    added = objective.hessian(w) - plain.hessian(w)
    outputs = w.size // len(w)
    expected = np.diag(np.repeat([alpha, alpha, alpha, 0.0], outputs))
    np.testing.assert_allclose(added, expected, rtol=1e-12, atol=1e-13 * alpha)
    for each in (plain, objective):
        each.session.close()


def test_without_an_intercept_every_weight_is_penalised():
    plain, objective = (Objective.of(X, LABEL, loss="logistic", penalty=a, intercept=False) for a in (0, 2.0))
    w = np.ones(3)
    np.testing.assert_allclose(objective.gradient(w) - plain.gradient(w), 2 * w, rtol=1e-13)
    for each in (plain, objective):
        each.session.close()


def test_an_endless_penalty_leaves_the_mean():
    run = descend.fit(X, NUMBER, penalty=1e12, optimizer="exact")
    np.testing.assert_allclose(run.weights, [0, 0, 0, NUMBER.mean()], atol=1e-9)


@pytest.mark.parametrize("theirs", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_of_scikit_learn_is_twice_its_alpha_over_the_rows(theirs, intercept):
    run = descend.fit(
        X, NUMBER, penalty=descend.L2(2 * theirs / len(X)), intercept=intercept, optimizer="exact"
    )
    oracle = Ridge(theirs, fit_intercept=intercept).fit(X, NUMBER)
    expected = [*oracle.coef_, oracle.intercept_] if intercept else oracle.coef_
    np.testing.assert_allclose(run.weights, expected, rtol=1e-10)


def test_logistic_regression_of_scikit_learn_is_one_over_its_c_and_the_rows():
    run = descend.fit(X, LABEL, loss="logistic", penalty=1 / (0.5 * len(X)), tolerance=1e-12)
    oracle = LogisticRegression(C=0.5, tol=1e-12, max_iter=1000).fit(X, LABEL)
    np.testing.assert_allclose(run.weights, [*oracle.coef_[0], oracle.intercept_[0]], rtol=1e-6)


@pytest.mark.parametrize("penalty", [True, "l2", L2, object()])
def test_what_is_no_penalty_is_refused(penalty):
    with pytest.raises(DescendError, match="`penalty` must be a number"):
        as_penalty(penalty)
