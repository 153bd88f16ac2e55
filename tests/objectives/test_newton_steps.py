"""Newton's step where digits are scarce, and a decrement that does not claim more than it knows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ill_scaled import ill_scaled, target_for

import descend
from descend import Objective, Outcome
from descend.objectives.coordinates import Coordinates
from descend.objectives.newton_steps import CentredDerivatives, _solved

RNG = np.random.default_rng(4)
ROWS = 300
X = RNG.normal(size=(ROWS, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 1.0]
SCORE = X @ [1.0, -0.1, 5.0] + RNG.logistic(size=ROWS)
TARGETS = {
    "logistic": (np.median(SCORE) < SCORE).astype(float),
    "cross-entropy": np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.7])).astype(float),
}
WEIGHT = RNG.integers(0, 4, ROWS).astype(float)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_scaled_systems_are_solved_with_minimum_norm(rank):
    half = RNG.normal(size=(6, rank)) * 10.0 ** np.arange(6)[:, None]
    H = half @ half.T
    g = H @ RNG.normal(size=6) / 10.0 ** np.arange(6)
    scale = np.sqrt(H.diagonal())
    expected = np.linalg.pinv(H / np.outer(scale, scale), rcond=1e-11, hermitian=True) @ (g / scale) / scale
    np.testing.assert_allclose(-_solved(H, g)[0] * scale, expected * scale, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("rank", [200, 199], ids=["regular", "singular"])
def test_many_weights_are_solved_by_a_factor_unless_it_hides_directions(rank):
    half = RNG.normal(size=(200, rank)) * 10.0 ** RNG.uniform(-3, 3, 200)[:, None]
    H = half @ half.T
    move = RNG.normal(size=200) / np.sqrt(H.diagonal())
    solved = _solved(H, -H @ move)
    assert solved.rank == rank
    slope = -float(move @ H @ move)
    assert solved.slope == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(H @ solved.move, H @ move, rtol=1e-6, atol=1e-9 * np.abs(H @ move).max())


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("rooted", [True, False])
def test_derivatives_about_the_means_are_those_about_zero_and_the_root_is_one(
    rooted, loss, intercept, weight
):
    made = Objective.of(X, TARGETS[loss], loss=loss, intercept=intercept, sample_weight=weight)
    w = RNG.normal(size=made.shape)
    mean = X.mean(axis=0) if intercept else np.zeros(3)
    g, second = made.session.reduce(CentredDerivatives(made.loss, mean, intercept, rooted), w)
    B = np.eye(len(w))
    if intercept:
        B[-1, :-1] = -mean  # what the weights of X - mean do to those of X
    B = np.kron(B, np.eye(w.size // len(w)))
    H = B.T @ made.hessian(w) @ B * made.weight
    found = second.T @ second if rooted else second
    np.testing.assert_allclose(found, H, rtol=1e-9, atol=1e-9 * np.abs(H).max())
    np.testing.assert_allclose(g.ravel(), B.T @ made.gradient(w).ravel() * made.weight, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_nearly_collinear_columns_have_the_minimum_of_the_columns_that_they_are_made_of(loss, offset):
    whole = np.column_stack([X, RNG.normal(size=ROWS)])
    near = whole.copy()
    near[:, 3] = whole[:, 0] + 1e-7 * whole[:, 3]
    best = descend.fit(whole, TARGETS[loss], loss=loss).loss
    run = descend.fit(near + offset, TARGETS[loss], loss=loss)
    assert run.outcome.converged
    assert run.loss == pytest.approx(best, rel=1e-6)
    table = {f"x{i}": near[:, i] for i in range(4)} | {"y": TARGETS[loss].astype(int)}
    run = descend.fit(table, target="y", loss=loss, penalty=0)
    assert run.outcome.converged
    assert run.loss == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("loss", TARGETS)
def test_the_step_is_the_same_in_standardised_coordinates(loss):
    made = Objective.of(X, TARGETS[loss], loss=loss, penalty=0.1)
    units = Coordinates.of(made)
    w = RNG.normal(size=made.shape)
    step = next(made.newton_steps(w))
    there = next(made.in_coordinates(units).newton_steps(units.to_descent(w)))
    np.testing.assert_allclose(there.move, units.to_descent(step.move), rtol=1e-9)
    assert there.slope == pytest.approx(step.slope)


@pytest.mark.parametrize("loss", TARGETS)
def test_the_decrement_is_how_far_the_loss_is_above_its_minimum(loss):
    made = Objective.of(X, TARGETS[loss], loss=loss)
    run = descend.fit(X, TARGETS[loss], loss=loss)
    near = run.weights + 1e-3 * RNG.normal(size=run.weights.shape)
    assert made.excess(near) == pytest.approx(made.value(near) - run.loss, rel=0.05)


def test_a_plateau_that_rows_far_away_make_is_no_minimum():
    """Two rows a thousand times larger hold the weights back: gradient and decrement are next to nothing."""
    x, signal = ill_scaled(42)
    y = target_for("logistic", signal)
    held = descend.fit(x, y, loss="logistic", standardize=True, tolerance=1e-6)
    assert math.isinf(Objective.of(x, y, loss="logistic").excess(held.weights))
    assert descend.fit(x, y, loss="logistic", standardize=True).loss < 0.8 * held.loss


def table(rng, near):
    """Two columns that differ by a share of `near`, whose difference decides the class."""
    a, b = rng.normal(size=400), rng.normal(size=400)
    y = (2 * b + rng.logistic(size=400) > 0).astype(int)
    return {"a": a, "twin": a + near * b, "y": y}, (np.column_stack([a, b]), y)


@pytest.mark.parametrize("engine", [None, descend.Processes(2)], ids=["threads", "processes"])
@pytest.mark.parametrize("classes", [2, 3])
def test_near_twins_beside_dummies_and_missing_cells(classes, engine):
    rng = np.random.default_rng(5)
    a, b, city = rng.normal(size=400), rng.normal(size=400), rng.choice(["x", "y", "z"], 400)
    y = np.digitize(2 * b + (city == "x") + rng.logistic(size=400), [-1.0, 1.0][: classes - 1])
    twin = a + 1e-7 * b
    twin[::50] = a[::50] = b[::50] = np.nan
    labels = np.array(["no", "maybe", "yes"])[y]
    whole = descend.fit({"a": a, "b": b, "city": city, "y": labels}, target="y", penalty=0)
    near = descend.fit(
        {"a": a, "twin": twin, "city": city, "y": labels}, target="y", penalty=0, engine=engine
    )
    assert near.outcome.converged
    assert near.loss == pytest.approx(whole.loss, rel=1e-6)


@pytest.mark.parametrize("near", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("optimizer", ["auto", "lbfgs", "gradient-descent"])
def test_a_table_of_twins_does_not_claim_a_minimum_that_it_has_not(near, optimizer):
    data, whole = table(np.random.default_rng(1), near)
    run = descend.fit(data, target="y", penalty=0, optimizer=optimizer)
    best = descend.fit(*whole, loss="logistic").loss
    assert best < 0.6
    close = run.loss <= best * (1 + 1e-6)
    assert close if optimizer == "auto" else (close or not run.outcome.converged)
    if optimizer == "gradient-descent":
        assert run.outcome in (Outcome.STEP_LIMIT, Outcome.CONVERGED)
