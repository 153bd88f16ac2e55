"""Penalties beside finite differences, brute-force minimisation and scikit-learn's Ridge."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar

import numpy as np
import pytest
import sklearn.linear_model
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from own_penalties import Lasso, PseudoHuber
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression, Ridge

import descend
from descend import L1, L2, DescendError, ElasticNet, Objective
from descend.objectives.penalties import as_penalty, penalty_from_dict

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


# With kinks

KINKED = [L1(0.3), ElasticNet(0.5, 0.4), ElasticNet(2.0, 1.0), Lasso(0.3)]


@pytest.mark.parametrize("penalty", [*KINKED, L2(0.7), ElasticNet(0.5, 0.0)], ids=repr)
@pytest.mark.parametrize("rate", [0.01, 1.0, 50.0, np.array([0.1, 2.0, 0.5, 7.0, 30.0])], ids=str)
def test_a_prox_is_the_best_compromise_at_a_rate_or_one_for_each_weight(penalty, rate):
    w = np.array([-3.0, 0.0, 0.25, 7.0, -0.001])
    rates = np.broadcast_to(rate, w.shape)
    best = [
        minimize_scalar(lambda v, x=x, r=r: penalty.value(np.array([v])) + (v - x) ** 2 / (2 * r)).x
        for x, r in zip(w, rates, strict=True)
    ]
    np.testing.assert_allclose(penalty.prox(w, rate), best, rtol=1e-6, atol=1e-7)
    found = penalty.prox(np.column_stack([w, -w]), rates[:, None])
    np.testing.assert_allclose(found, np.column_stack([best, np.negative(best)]), rtol=1e-6, atol=1e-7)


@settings(max_examples=50)
@given(alpha=alphas, ratio=st.floats(0, 1), w=weights)
def test_the_elastic_net_is_that_of_glmnet_between_l1_and_l2(alpha, ratio, w):
    expected = alpha * (ratio * np.abs(w).sum() + (1 - ratio) / 2 * (w**2).sum())
    assert ElasticNet(alpha, ratio).value(w) == pytest.approx(expected, rel=1e-12)
    for one, other in ((ElasticNet(alpha, 1.0), L1(alpha)), (ElasticNet(alpha, 0.0), L2(alpha))):
        assert one.value(w) == pytest.approx(other.value(w), rel=1e-12)
        assert (one.smooth, one.is_zero) == (other.smooth or alpha == 0, alpha == 0)
        np.testing.assert_allclose(one.prox(w, 0.5), other.prox(w, 0.5), rtol=1e-12, atol=1e-12 * alpha)
        np.testing.assert_allclose(one.gradient(w), other.gradient(w), rtol=1e-12)


def test_the_shortest_subgradient_is_what_no_slope_of_the_kink_can_undo():
    w, g = np.array([0.0, 0.0, 0.0, 2.0, -2.0]), np.array([0.2, 0.5, -0.5, 1.0, 1.0])
    np.testing.assert_allclose(L1(0.3).shortest(w, g), [0, 0.2, -0.2, 1.3, 0.7])
    np.testing.assert_allclose(ElasticNet(0.6, 0.5).shortest(w, g), [0, 0.2, -0.2, 1.9, 0.1])


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), shape=st.sampled_from([(5,), (4, 3)]))
def test_a_prox_alone_tells_the_slope_and_the_shortest_subgradient(seed, shape):
    rng = np.random.default_rng(seed)
    w, g = rng.normal(size=shape) * (rng.random(shape) < 0.6), rng.normal(size=shape)
    w[np.abs(w) < 0.01] = 0.0
    for penalty, known in ((Lasso(0.3), L1(0.3)), (Lasso(5.0), L1(5.0))):
        np.testing.assert_allclose(penalty.shortest(w, g), known.shortest(w, g), atol=1e-8)
        np.testing.assert_allclose(penalty.gradient(w)[w != 0], known.gradient(w)[w != 0], atol=1e-8)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), ratio=st.sampled_from([1.0, 0.7, 0.1]), loss=st.sampled_from([*TARGETS]))
def test_a_minimum_is_never_farther_than_the_bound_on_the_excess(seed, ratio, loss):
    rng = np.random.default_rng(seed)
    penalty = ElasticNet(10 ** rng.uniform(-2, 0), ratio)
    objective = Objective.of(X, TARGETS[loss], loss=loss, penalty=penalty, engine=descend.Serial())
    *_, last = descend.steps(objective, tolerance=1e-10)
    w = last.weights + 10 ** rng.uniform(-6, 0) * rng.normal(size=objective.shape) * (rng.random() < 0.7)
    p = len(objective.penalised(w))
    value, s = objective.value_and_gradient(w)
    if not s[p:].any() or np.abs(s[p:]).max() < 1e-9:
        assert value - last.loss <= penalty.gap(w[:p], s[:p], value) + 1e-12
    assert value - last.loss <= objective.excess(w) * (1.5 if loss != "squared-error" else 1 + 1e-6) + 1e-12


def test_a_penalty_that_is_nothing_is_smooth():
    assert L1(0).is_zero
    assert L1(0).smooth
    assert ElasticNet(0, 0.5).is_zero
    assert not L1(1e-300).smooth
    run = descend.fit(X, NUMBER, penalty=L1(0))
    assert run.optimizer == descend.Exact()
    assert run.summary().why_not is None


@pytest.mark.parametrize("penalty", [L2(0.25), L1(0.5), ElasticNet(0.5, 0.25)], ids=repr)
def test_a_model_file_keeps_the_penalty(penalty, tmp_path):
    descend.fit(X, NUMBER, penalty=penalty).save(tmp_path / "model.json")
    found = descend.load(tmp_path / "model.json")
    assert penalty_from_dict(found.facts["penalty"]) == penalty
    assert found.facts["penalty"]["name"] == penalty.name
    assert found.sparsity == descend.fit(X, NUMBER, penalty=penalty).model.sparsity
    assert pickle.loads(pickle.dumps(penalty)) == penalty


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L1(-1), "`alpha` of a penalty must be a number of at least 0, got -1"),
        (lambda: ElasticNet(np.nan), "`alpha` of a penalty must be a number of at least 0, got nan"),
        (lambda: ElasticNet(1, 1.5), "`l1_ratio` must be a number between 0 and 1, got 1.5"),
    ],
)
def test_settings_that_are_none_are_refused(make, message):
    with pytest.raises(DescendError, match=message):
        make()


# Of one's own


class Unbased:
    """What the documentation asked for when a penalty was a protocol, L1 for one: not derived from anything."""

    name, smooth, is_zero = "l1", False, False

    def value(self, w):
        return 0.5 * np.abs(w).sum()

    def gradient(self, w):
        return 0.5 * np.sign(w)

    def curvature(self, w):
        return np.zeros(w.shape)

    def prox(self, w, rate):
        return np.sign(w) * np.maximum(np.abs(w) - 0.5 * rate, 0)


class Based(Unbased, descend.Penalty):
    """The same, derived from `Penalty`."""

    is_zero = False


def test_a_penalty_with_a_prox_is_never_plain_least_squares():
    x = np.random.default_rng(0).normal(size=(100, 5))
    y = x @ [2.0, -1.0, 0, 0, 0] + 0.1 * np.random.default_rng(1).normal(size=100)
    with pytest.raises(DescendError, match=r"One of your own derives from descend\.Penalty\."):
        descend.fit(x, y, penalty=Unbased())
    oracle = sklearn.linear_model.Lasso(0.25, tol=1e-12, fit_intercept=False).fit(x, y)
    for penalty in (Based(), Lasso(0.5), L1(0.5)):
        run = descend.fit(x, y, penalty=penalty, intercept=False, tolerance=1e-10)
        np.testing.assert_allclose(run.weights, oracle.coef_, atol=1e-8)
        assert np.count_nonzero(run.weights) == 2
        assert run.outcome.converged
        for optimizer in ("exact", "newton", "lbfgs", "gradient-descent", "adam", "local-steps"):
            with pytest.raises(
                DescendError, match=f"`optimizer` {optimizer} needs a smooth penalty, but `penalty`"
            ):
                descend.fit(x, y, penalty=penalty, optimizer=optimizer)


@dataclass(frozen=True)
class NoProx(descend.Penalty):
    name: ClassVar[str] = "no-prox"
    smooth: ClassVar[bool] = False

    def value(self, w):
        return 0.0


@dataclass(frozen=True)
class NoSlope(descend.Penalty):
    name: ClassVar[str] = "no-slope"

    def value(self, w):
        return 0.0


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (NoProx(), "`penalty` no-prox is not smooth and must define `prox`"),
        (
            NoSlope(),
            "`penalty` no-slope is smooth and must define `gradient` and `curvature`; one with a kink",
        ),
    ],
)
def test_a_penalty_that_lacks_what_its_kind_needs_is_refused(penalty, message):
    with pytest.raises(DescendError, match=message):
        descend.fit(X, NUMBER, penalty=penalty)


@pytest.mark.parametrize("loss", TARGETS)
def test_a_smooth_penalty_that_is_no_sum_of_squares_goes_to_newton(loss):
    penalty = PseudoHuber(0.4)
    run = descend.fit(X, TARGETS[loss], loss=loss, penalty=penalty, tolerance=1e-9)
    assert run.optimizer == descend.Newton()
    assert run.outcome.converged
    objective = Objective.of(X, TARGETS[loss], loss=loss, penalty=penalty)
    assert np.linalg.norm(objective.gradient(run.weights)) < 1e-9
    w = run.weights + 0.01
    e = RNG.normal(size=w.shape) * 1e-5
    slope = (objective.value(w + e) - objective.value(w - e)) / 2
    assert np.vdot(objective.gradient(w), e) == pytest.approx(slope, rel=1e-5)
    assert run.summary().why_not.startswith(
        "the pseudo huber penalty 0.4 on coefficients in the units of the data chooses"
    )
    if loss == "squared-error":
        with pytest.raises(
            DescendError, match=r"exact needs .* but `penalty` pseudo-huber is no sum of squares"
        ):
            descend.fit(X, NUMBER, penalty=penalty, optimizer="exact")
        with pytest.raises(DescendError, match="`path` needs a penalty whose squares have a closed form"):
            descend.path(X, NUMBER, penalty=penalty)
