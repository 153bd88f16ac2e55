"""L-BFGS beside scipy's, on twenty problems, and the conditions that each of its steps meets."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from scipy.optimize import minimize

from descend import LBFGS, DescendError, Objective, Outcome, steps
from descend.descent.lbfgs import CURVATURE, SUFFICIENT, Pairs, two_loop


def problem(loss, condition, penalty, seed):
    rng = np.random.default_rng(seed)
    rows, columns = 300, 8
    x = rng.normal(size=(rows, columns)) @ np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    x = x * np.geomspace(1.0, condition**-0.5, columns)
    z = x @ rng.normal(size=columns) * condition**0.25 + rng.normal(size=rows)
    y = {
        "squared-error": z,
        "logistic": (z > 0).astype(float),
        "cross-entropy": np.digitize(z, np.quantile(z, [0.25, 0.6])),
    }[loss]
    return Objective.of(x, y, loss=loss, penalty=penalty)


PROBLEMS = [
    *((loss, condition, penalty, 0) for loss in ("squared-error", "logistic", "cross-entropy")
      for condition, penalty in ((1.0, 1e-3), (1e2, 1e-3), (1e2, 0.0), (1e4, 1e-6), (1e4, 0.0), (1e6, 1e-4))),
    ("logistic", 1e2, 1.0, 1),
    ("cross-entropy", 1e6, 1.0, 1),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "condition", "penalty", "seed"), PROBLEMS)
def test_it_gets_as_low_as_that_of_scipy(loss, condition, penalty, seed):
    made = problem(loss, condition, penalty, seed)
    walk = list(steps(made, LBFGS(), tolerance=1e-9))
    assert walk[-1].outcome.converged
    oracle = minimize(
        lambda w: made.value_and_gradient(w.reshape(made.shape))[0],
        made.zeros().ravel(),
        jac=lambda w: made.value_and_gradient(w.reshape(made.shape))[1].ravel(),
        method="L-BFGS-B",
        options={"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 10},
    )
    assert walk[-1].loss <= oracle.fun + 1e-8 * abs(oracle.fun)
    assert walk[-1].number <= 3 * oracle.nit + 20


@pytest.mark.parametrize(("loss", "condition", "penalty", "seed"), PROBLEMS)
def test_every_step_meets_the_strong_wolfe_conditions(loss, condition, penalty, seed):
    made, optimizer = problem(loss, condition, penalty, seed), LBFGS()
    w = made.zeros()
    state = optimizer.init(w)
    for _ in range(25):
        before, gradient = made.value_and_gradient(w)
        if np.linalg.norm(gradient) < 1e-6:
            break
        direction = -two_loop(gradient, state)
        slope = float(np.vdot(gradient, direction))
        update = optimizer.step(made, w, state)
        after, there = made.value_and_gradient(update.weights)
        np.testing.assert_allclose(
            update.weights, w + update.learning_rate * direction, rtol=1e-12, atol=1e-15
        )
        assert slope < 0
        assert after <= before + SUFFICIENT * update.learning_rate * slope + 1e-15 * abs(before)
        assert abs(np.vdot(there, direction)) <= CURVATURE * abs(slope)
        w, state = update.weights, update.state


@pytest.mark.parametrize("memory", [1, 2, 5])
def test_the_recursion_is_the_inverse_hessian_of_the_bfgs_update(memory):
    rng = np.random.default_rng(1)
    A = rng.normal(size=(6, 6))
    A = A @ A.T + np.eye(6)
    moves = [rng.normal(size=6) for _ in range(memory)]
    changes = [A @ s for s in moves]
    H = np.eye(6) * (moves[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(moves, changes, strict=True):
        V = np.eye(6) - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    g = rng.normal(size=6)
    np.testing.assert_allclose(two_loop(g, Pairs(tuple(moves), tuple(changes))), H @ g, rtol=1e-10)
    np.testing.assert_array_equal(two_loop(g, Pairs()), g)


@pytest.mark.parametrize("memory", [1, 3, 10])
def test_memory_bounds_the_state(memory):
    made, optimizer = problem("logistic", 1e4, 1e-6, 0), LBFGS(memory)
    w, state = made.zeros(), Pairs()
    for number in range(15):
        w, state, *_ = optimizer.step(made, w, state)
        assert len(state.moves) == len(state.changes) <= min(memory, number + 1)
    assert len(state.moves) == memory


def test_a_stored_state_goes_on_with_the_same_bits():
    made, optimizer = problem("cross-entropy", 1e4, 1e-6, 0), LBFGS(4)
    w, stored = made.zeros(), []
    state = optimizer.init(w)
    for _ in range(15):
        stored.append((w.copy(), state))
        w, state, *_ = optimizer.step(made, w, state)
    for at in (14, 0, 6):
        v, state = stored[at]
        kept = v.copy()
        for _ in range(at, 15):
            v, state, *_ = optimizer.step(problem("cross-entropy", 1e4, 1e-6, 0), v, state)
        np.testing.assert_array_equal(v, w)
        np.testing.assert_array_equal(stored[at][0], kept)


def test_it_goes_on_to_double_precision_where_no_tolerance_ends_it():
    walk = list(steps(problem("logistic", 1e2, 1e-3, 0), LBFGS(), limit=1_000))
    assert walk[-1].outcome is Outcome.PRECISION
    assert walk[-1].gradient_norm < 1e-7
    losses = [step.loss for step in walk]
    assert (np.diff(losses) <= 1e-15 * losses[0]).all()


@pytest.mark.parametrize("memory", [0, -1, 2.5, True])
def test_memory_must_be_a_whole_number(memory):
    with pytest.raises(DescendError, match="`memory` must be a whole number of at least 1"):
        LBFGS(memory)


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        LBFGS().memory = 3
