"""Rates searched for by backtracking: every step lowers the loss, on random problems of all scales; states are values."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import descend
from descend import Adam, Cosine, GradientDescent, InverseTime, LocalSteps, Objective, steps
from descend.descent.backtracking import backtracked
from descend.engines.engine import Serial
from descend.objectives.coordinates import Coordinates

PROBLEMS = range(100)


def counts(seed):
    """Columns of any size between 1e-2 and 1e2, some far from zero; mean counts from a tenth to thousands."""
    random = np.random.default_rng(seed)
    rows, columns = int(random.integers(20, 200)), int(random.integers(1, 6))
    scale = 10.0 ** random.uniform(-2, 2, columns)
    x = random.normal(random.normal(size=columns) * random.integers(0, 3), 1.0, (rows, columns)) * scale
    z = x @ (random.normal(size=columns) * random.uniform(0, 0.7) / scale)
    z += random.uniform(-2, 6) - z.mean()
    return x, random.poisson(np.exp(np.minimum(z, 14.0)))


def objective(seed, standardize=False, penalty=0.0, in_batches=False):
    made = Objective.of(*counts(seed), loss="poisson", penalty=penalty, engine=Serial())
    return made.in_coordinates(Coordinates.of(made, in_batches)) if standardize else made


def walked(made, optimizer, **how):
    """The losses over all rows, and the last step."""
    walk = list(steps(made, optimizer, **how))
    return np.array([step.loss for step in walk if step.loss is not None]), walk[-1]


def falls(losses):
    """Whether the loss never rises, but for rounding."""
    return bool((np.diff(losses) <= 1e-13 * (1.0 + np.abs(losses[:-1]))).all())


DESCENTS = {
    "plain": GradientDescent(),
    "heavy ball": GradientDescent(momentum=0.9),
    "nesterov": GradientDescent(momentum=0.9, nesterov=True),
    "cosine": GradientDescent(Cosine("auto", steps=40)),
    "inverse time": GradientDescent(InverseTime("auto", decay=0.1), momentum=0.5),
}


@pytest.mark.parametrize("optimizer", DESCENTS.values(), ids=DESCENTS)
def test_gradient_descent_lowers_the_loss_of_counts_at_every_step(optimizer):
    for seed in PROBLEMS:
        losses, last = walked(objective(seed, standardize=seed % 2 == 1), optimizer, limit=40)
        assert last.outcome.name in ("STEP_LIMIT", "CONVERGED")
        assert falls(losses), seed
        assert losses[-1] < losses[0]


def test_gradient_descent_comes_to_the_minimum_of_counts():
    """In standardised columns, where it is not far."""
    for seed in PROBLEMS[:20]:
        made = objective(seed, standardize=True)
        best = walked(made, "newton")[0][-1]
        _, last = walked(made, GradientDescent(), tolerance=1e-7 * made.deviance(made.value(made.zeros())))
        assert last.outcome.name == "CONVERGED"
        assert last.loss == pytest.approx(best, rel=1e-7)


def test_adam_lowers_the_loss_of_counts():
    for seed in PROBLEMS:
        losses, last = walked(objective(seed, standardize=seed % 2 == 1), Adam(), limit=60)
        assert last.outcome.name == "STEP_LIMIT"
        assert losses[-1] < losses[0] == losses.max()


@pytest.mark.parametrize(
    "optimizer", [GradientDescent(), GradientDescent(momentum=0.9), Adam()], ids=["plain", "momentum", "adam"]
)
def test_batches_lower_the_loss_of_counts(optimizer):
    for seed in PROBLEMS[:50]:
        made = objective(seed, standardize=True, in_batches=True)
        losses, last = walked(made, optimizer, batch_size=16, epochs=4)
        assert last.outcome.name == "STEP_LIMIT"
        assert losses[-1] < losses[0]


def test_local_steps_lower_the_loss_of_counts():
    for seed in PROBLEMS[:50]:
        losses, last = walked(objective(seed), LocalSteps(batch_size=16), limit=6)
        assert last.outcome.name == "STEP_LIMIT"
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "auto"])
def test_curvature_finds_the_minimum_of_counts_from_zero(optimizer):
    """However many they are: the first step of Newton's would be a thousand or a million times too long."""
    for seed in PROBLEMS[:30]:
        made = objective(seed, standardize=True)
        losses, last = walked(made, optimizer)
        assert last.outcome.converged, (seed, last)
        assert falls(losses)
        assert np.linalg.norm(last.gradient_norm) <= 1e-6 * made.magnitude(losses[0])


@pytest.mark.parametrize("mean", [1e-6, 1.0, 1e6, 1e12])
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "gradient-descent", "adam"])
def test_counts_of_any_size_do_not_overflow(mean, optimizer):
    x = np.random.default_rng(0).normal(size=(200, 2))
    made = Objective.of(x, mean * np.exp(x @ [0.3, -0.2]), loss="poisson", engine=Serial())
    losses, last = walked(made, optimizer, **({} if optimizer in ("newton", "lbfgs") else {"limit": 200}))
    assert np.isfinite(losses).all()
    assert last.loss < losses[0]
    if optimizer in ("newton", "lbfgs"):
        assert last.outcome.converged
        np.testing.assert_allclose(last.weights, [0.3, -0.2, math.log(mean)], rtol=1e-3, atol=1e-3)


def test_the_rate_found_is_at_least_half_of_the_highest_that_serves():
    w, g = np.array([0.0]), np.array([2.0])

    def value(v):
        return float(v[0] ** 2 + 2.0 * v[0])  # curvature 2: a rate of a half and no more

    assert backtracked(value, w, 0.0, g, 0.5, 1.0) == 0.5
    assert backtracked(value, w, 0.0, g, 0.75, 1.0) == 0.375
    assert backtracked(value, w, 0.0, g, 64.0, 1.0) == 0.5
    assert backtracked(value, w, 0.0, g, 2.0**-9, 1.0) == 2.0**-9
    assert backtracked(value, w, 0.0, g, 2.0**-9, 1.0, ahead=True) == 0.5
    assert backtracked(value, w, 0.0, g, 64.0, 1.0, ahead=True) == 0.5
    assert backtracked(lambda v: math.nan, w, 0.0, 1e3 * g, 1.0, 1.0) < 1e-18
    assert backtracked(lambda v: math.inf, w, 0.0, 1e-9 * g, 1.0, 1.0) == 1.0  # too close to tell


def test_a_search_costs_a_pass_now_and_then():
    made = objective(3, standardize=True)
    passes, evaluate = [], made._evaluate
    made._evaluate = lambda w: passes.append(1) or evaluate(w)
    walked(made, GradientDescent(), limit=100)
    assert len(passes) < 125


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("optimizer", "how"),
    [(optimizer, {}) for optimizer in (*DESCENTS.values(), Adam())]
    + [(GradientDescent(momentum=0.9), {"batch_size": 16}), (Adam(), {"batch_size": 16})],
)
def test_a_search_is_resumed_to_the_bit(seed, optimizer, how):
    made = objective(seed)
    whole = list(steps(made, optimizer, limit=20, **how))
    middle = pickle.loads(pickle.dumps(whole[7]))
    rest = list(steps(objective(seed), optimizer, limit=20, resume=middle, **how))
    assert [step.weights.tobytes() for step in rest] == [step.weights.tobytes() for step in whole[8:]]


def test_a_rate_that_is_given_is_not_searched_for():
    made = objective(0)
    walk = list(steps(made, GradientDescent(1e-6), limit=3))
    assert [step.learning_rate for step in walk[:-1]] == [1e-6] * 3
    _, last = walked(made, GradientDescent(10.0), limit=60)
    assert last.outcome.name == "DIVERGED"
    assert np.isfinite(last.weights).all()


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("optimizer", ["gradient-descent", "adam"])
def test_a_rate_is_found_and_serves(optimizer, batch_size):
    for seed in PROBLEMS[:10]:
        x, y = counts(seed)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        found = descend.lr_find(x, y, loss="poisson", optimizer=optimizer, batch_size=batch_size)
        assert found.limit is None
        assert not found.exact
        assert "safe up to" not in str(found)
        made = GradientDescent if optimizer == "gradient-descent" else Adam
        objective = Objective.of(x, y, loss="poisson", engine=Serial())
        losses, last = walked(objective, made(found.suggestion), limit=50, batch_size=batch_size)
        assert last.outcome.name != "DIVERGED"
        assert losses[-1] < losses[0]


def test_a_penalty_is_part_of_the_search():
    for seed in PROBLEMS[:20]:
        losses, _ = walked(objective(seed, penalty=10.0 ** (seed % 5 - 2)), GradientDescent(), limit=40)
        assert falls(losses)
