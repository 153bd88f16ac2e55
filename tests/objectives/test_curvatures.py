"""Curvatures in any coordinates beside the eigenvalues of Hessians that NumPy sums from the rows."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descend import GradientDescent, Objective
from descend.engines.blocks import Block
from descend.objectives.coordinates import Coordinates
from descend.objectives.curvatures import CurvatureMoments, Curvatures, bound_in
from descend.objectives.losses import LOSSES

RNG = np.random.default_rng(6)
X = RNG.normal(size=(150, 3)) * [1.0, 5.0, 0.3] + [0.5, -2.0, 4.0]
SCORE = X @ [1.0, -0.2, 2.0] - 8.0 + RNG.normal(size=150)
TARGETS = {
    "squared-error": SCORE,
    "logistic": (SCORE > 0).astype(int),
    "cross-entropy": np.digitize(SCORE, [-1.0, 1.0]),
}
WEIGHT = RNG.integers(0, 4, 150).astype(float)
ELSEWHERE = Coordinates(np.array([-1.0, 3.0, 0.0]), np.array([2.0, 0.1, 5.0]), True)
SCALED = Coordinates(np.zeros(3), ELSEWHERE.scale, False)


def weights(objective):
    return np.random.default_rng(1).normal(size=objective.shape) * 0.3


def hessian(x, loss, w, s=None, intercept=True, alpha=0.0, units=1.0):
    """From the rows, each class beside each; the penalty acts on weights in the units of the data."""
    A = np.column_stack([x, np.ones(len(x))]) if intercept else x
    z, s = A @ w, np.ones(len(x)) if s is None else s
    if loss == "cross-entropy":
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        d = np.einsum("ik,kl->ikl", p, np.eye(p.shape[1])) - np.einsum("ik,il->ikl", p, p)
    else:
        d = {"squared-error": 2.0 * np.ones(len(z)), "logistic": np.exp(z) / (1 + np.exp(z)) ** 2}[loss]
        d = d[:, None, None]
    H = np.einsum("i,ia,ikl,ib->akbl", s / s.sum(), A, d, A)
    H = H.reshape(H.shape[0] * H.shape[1], -1)
    ridge = np.zeros(A.shape[1])
    ridge[: x.shape[1]] = alpha * np.broadcast_to(units, x.shape[1]) ** 2
    return H + np.diag(np.repeat(ridge, d.shape[1]))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [0.0, 0.4])
@pytest.mark.parametrize("loss", TARGETS)
def test_curvatures_are_the_eigenvalues_of_the_hessian_in_any_coordinates(loss, alpha, s, intercept):
    objective = Objective.of(X, TARGETS[loss], loss=loss, intercept=intercept, sample_weight=s, penalty=alpha)
    w, ways = weights(objective), [Coordinates.given(3, intercept), ELSEWHERE if intercept else SCALED]
    for to, found in zip(ways, objective.curvatures_in(w, ways), strict=True):
        v = to.to_original(w)
        H = hessian(to.centre + to.scale * X, loss, v, s, intercept, alpha, to.scale)
        size = found.largest
        np.testing.assert_allclose(found.values, np.linalg.eigvalsh(H)[::-1], rtol=1e-8, atol=1e-12 * size)
        np.testing.assert_allclose(
            H @ found.directions, found.directions * found.values, rtol=0, atol=1e-10 * size
        )
        # softmax does not tell whether a weight grows in all classes alike
        alike = (intercept if alpha else 3 + intercept) if loss == "cross-entropy" else 0
        assert found.flat == alike
        assert found.smallest == found.values[-1 - alike] > 0


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", TARGETS)
def test_weights_predict_the_same_in_other_coordinates(loss, intercept):
    w = weights(Objective.of(X, TARGETS[loss], loss=loss, intercept=intercept))
    before, to = w.copy(), ELSEWHERE if intercept else SCALED
    v, there = to.to_original(w), to.centre + to.scale * X
    end, old_end = (v[-1], w[-1]) if intercept else (0.0, 0.0)
    np.testing.assert_allclose(there @ v[:3] + end, X @ w[:3] + old_end, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(w, before)


@pytest.mark.parametrize("loss", TARGETS)
def test_an_objective_in_standardised_coordinates_has_the_curvatures_of_standardised_rows(loss):
    objective = Objective.of(X, TARGETS[loss], loss=loss)
    units = Coordinates.of(objective)
    v = weights(objective)
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    found = objective.in_coordinates(units).curvatures(v)
    np.testing.assert_allclose(
        found.values, np.linalg.eigvalsh(hessian(Z, loss, v))[::-1], rtol=1e-8, atol=1e-12
    )


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", TARGETS)
def test_coordinates_of_an_objective_in_coordinates_are_taken_one_after_the_other(loss, intercept):
    """The rows beneath are `x`; the objective is in standardised ones, and is asked about those of ELSEWHERE."""
    objective = Objective.of(X, TARGETS[loss], loss=loss, intercept=intercept, penalty=0.2)
    units, to = Coordinates.of(objective), ELSEWHERE if intercept else SCALED
    v = weights(objective)
    there = to.centre + to.scale * (X - units.centre) / units.scale
    expected = hessian(there, loss, to.to_original(v), None, intercept, 0.2, to.scale / units.scale)
    (found,) = objective.in_coordinates(units).curvatures_in(v, [to])
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(expected)[::-1], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.4])
@pytest.mark.parametrize("loss", TARGETS)
def test_nowhere_is_a_loss_more_curved_than_its_bound(loss, alpha, intercept):
    objective = Objective.of(X, TARGETS[loss], loss=loss, penalty=alpha, intercept=intercept)
    to = ELSEWHERE if intercept else SCALED
    bound = bound_in(objective, objective.moments, to)
    for size in (0.0, 0.1, 10.0):
        w = size * weights(objective)
        largest = objective.curvatures_in(w, [to])[0].largest
        assert largest <= bound * (1 + 1e-12)
        if not alpha and (loss == "squared-error" or (loss == "logistic" and not size)):
            assert largest == pytest.approx(bound, rel=1e-9)  # it is reached
    given = bound_in(objective, objective.moments, Coordinates.given(3, intercept))
    assert alpha or given == pytest.approx(objective.curvature_bound, rel=1e-9)


@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_between_twins_only_the_penalty_is_curved(loss):
    twins = np.column_stack([X, X[:, 0]]) - np.append(X.mean(axis=0), X[:, 0].mean())
    for alpha in (0.0, 0.01):
        objective = Objective.of(twins, TARGETS[loss], loss=loss, penalty=alpha)
        found = objective.curvatures(np.zeros(5))
        across = found.directions[:, -1] * np.sign(found.directions[0, -1])
        assert found.flat == (0 if alpha else 1)
        assert found.values[-1] == pytest.approx(alpha)
        np.testing.assert_allclose(across, np.sqrt([0.5, 0, 0, 0.5, 0]) * [1, 0, 0, -1, 0], atol=1e-7)


def test_the_weights_of_curvature_are_those_of_the_loss_at_the_predictions():
    offset = RNG.normal(size=150)
    block = Block(X, TARGETS["logistic"].astype(float), WEIGHT, offset)
    w = np.array([0.3, -0.1, 0.2, -0.5])
    found = CurvatureMoments(LOSSES["logistic"], True).of(block, w)
    p = 1 / (1 + np.exp(-(X @ w[:3] + w[3] + offset)))
    assert found.weight == pytest.approx(np.sum(WEIGHT * p * (1 - p)))
    np.testing.assert_allclose(
        (found.mean + found.mean_low)[:3], np.average(X, axis=0, weights=WEIGHT * p * (1 - p))
    )


@settings(max_examples=100)
@given(rows=st.integers(1, 6), columns=st.integers(1, 6), rank=st.integers(0, 6), seed=st.integers(0, 999))
def test_curvatures_of_a_root_are_those_of_its_square_and_flat_ones_are_zero(rows, columns, rank, seed):
    rng, rank = np.random.default_rng(seed), min(rank, rows, columns)
    A = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    found, V = Curvatures.of_root(A), Curvatures.of_root(A).directions
    assert found.flat == columns - rank
    np.testing.assert_allclose(V.T @ V, np.eye(columns), atol=1e-12)
    np.testing.assert_allclose(V * found.values @ V.T, A.T @ A, atol=1e-12 * max(found.largest, 1e-300))
    assert (np.diff(found.values) <= 0).all()
    assert (found.values[rank:] == 0).all()


def test_a_root_keeps_the_digits_that_its_square_has_lost():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    found = Curvatures.of_root(np.diag([1.0, 1e-10]) @ turn)
    assert found.smallest == pytest.approx(1e-20, rel=1e-4)
    assert found.condition == pytest.approx(1e20, rel=1e-4)
    assert found.flat == 0


def test_where_all_is_flat_the_condition_is_infinite_and_no_rate_too_high():
    found = Curvatures.of_root(np.zeros((1, 2)))
    assert (found.flat, found.largest, found.smallest, found.condition) == (2, 0.0, 0.0, float("inf"))
    assert GradientDescent().rate_limit(found.largest) > 1e300


@pytest.mark.parametrize("penalty", [0.0, 0.1])
@pytest.mark.parametrize("far", [0.0, 1e3, 1e6, 1e9])
def test_curvatures_of_classes_far_from_zero(far, penalty):
    """Beside the eigenvalues of the Hessian with 60 digits, in the units of the data and in standardised ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)) + np.array([0.0, far])
    y = np.argmax(np.column_stack([0 * x[:, 0], x[:, 0], far - x[:, 1]]) + rng.gumbel(size=(60, 3)), 1)
    objective = Objective.of(x, y, loss="cross-entropy", penalty=penalty)
    w = rng.normal(size=(3, 3))
    w[2] -= far * w[1]
    mean, std = x.mean(axis=0), x.std(axis=0)
    units = Coordinates(-mean / std, 1.0 / std, True)
    given, standard = objective.curvatures_in(w, [Coordinates.given(2), units])
    with mpmath.workdps(60):
        sides = [(standard, mean.tolist(), std.tolist()), (given, [0, 0], [1, 1])]
        for found, centre, scale in sides[
            : 2 if far < 1e8 else 1
        ]:  # beyond, 1e36 of condition have no digits left
            H = mpmath.zeros(9)
            for row in x.tolist():
                z = [sum(mpmath.mpf(v) * w[j, k] for j, v in enumerate([*row, 1.0])) for k in range(3)]
                top = [mpmath.exp(v - max(z)) for v in z]
                p = [v / sum(top) for v in top]
                u = [(mpmath.mpf(v) - c) / s for v, c, s in zip(row, centre, scale, strict=True)] + [
                    mpmath.mpf(1)
                ]
                for i, j, k, m in itertools.product(range(3), repeat=4):
                    H[3 * i + k, 3 * j + m] += u[i] * u[j] * (p[k] * (k == m) - p[k] * p[m]) / 60
            for i, s in enumerate(scale):
                for k in range(3):
                    H[3 * i + k, 3 * i + k] += mpmath.mpf(penalty) / mpmath.mpf(s) ** 2
            right = sorted(float(v) for v in mpmath.eigsy(H, eigvals_only=True))[::-1]
            flat = 1 if penalty else 3
            np.testing.assert_allclose(found.values[: 9 - flat], right[: 9 - flat], rtol=1e-5)
            assert penalty or found.flat == flat
