"""The settings that are planned, beside the steps that descents with them take; curvatures beside NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

import descend
from descend import GradientDescent
from descend.diagnosis.conditioning import SHARES, conditionings, rounded_down
from descend.objectives.coordinates import Coordinates

RNG = np.random.default_rng(11)
X = RNG.normal(size=(300, 3)) * [1.0, 8.0, 0.5] + [0.0, 3.0, 0.0]
Y = X @ [1.0, -0.5, 2.0] + 3.0 + RNG.normal(size=300)
CLASSES = (X @ [1.0, 0.1, -1.0] + RNG.logistic(size=300) > 0).astype(int)


def met(objective, weights=None):
    start = objective.minimum() if objective.exact else weights
    ways = {"as given": Coordinates.given(3), "standardised": Coordinates.of(objective).inverse}
    return conditionings(objective, objective.moments, start, objective.value(start), weights, ways)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("penalty", [None, 0.3])
def test_plans_of_squared_error_are_what_fit_does(standardize, penalty):
    d = descend.diagnose(X, Y, penalty=penalty)
    terrain = d.standardised if standardize else d.given
    for plan in terrain.plans:
        optimizer = GradientDescent(plan.learning_rate, momentum=plan.momentum, nesterov=plan.momentum > 0)
        steps = max(plan.steps) + 5
        run = descend.fit(X, Y, penalty=penalty, optimizer=optimizer, standardize=standardize, steps=steps)
        told = [int(np.argmax(run.history.loss <= d.gap.best * (1 + share))) for share in SHARES]
        assert told == list(plan.steps), plan.name


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5])
def test_what_is_printed_can_be_typed(scale):
    """Settings survive being printed: none leaves for infinity because a digit was rounded up."""
    d = descend.diagnose(X * [scale, 1.0, 1.0], Y)
    for plan in d.given.plans:
        typed = eval(plan.setting, {"GradientDescent": GradientDescent})
        assert typed.learning_rate == plan.learning_rate
        assert typed.momentum == pytest.approx(plan.momentum, abs=1e-12)
        assert typed.learning_rate < typed.rate_limit(d.given.largest_curvature)


def test_settings_for_other_losses_all_arrive():
    d = descend.diagnose(X, CLASSES, loss="logistic", penalty=0.01)
    for plan in d.standardised.plans:
        optimizer = GradientDescent(plan.learning_rate, momentum=plan.momentum, nesterov=plan.momentum > 0)
        how = {"loss": "logistic", "penalty": 0.01, "standardize": True, "optimizer": optimizer}
        run = descend.fit(X, CLASSES, **how, steps=3 * plan.steps[1] + 50)
        assert run.history.loss[-1] <= d.gap.best * 1.0001
        assert plan.learning_rate <= 2 / d.standardised.bound


def test_curvature_at_the_weights_of_a_run_is_that_of_the_hessian():
    objective = descend.Objective.of(X, CLASSES, loss="logistic")
    w = np.array([0.3, -0.1, 0.2, 0.5])
    given, _ = met(objective, w)
    H = objective.hessian(w)
    assert given.here.largest == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-9)
    assert given.to_dict()["learning_rate_limit_at_run_weights"] == pytest.approx(2 / given.here.largest)
    assert given.here.largest <= given.bound
    run = descend.fit(X, CLASSES, loss="logistic", optimizer=GradientDescent(), steps=5)
    d = descend.diagnose(run)
    H = objective.hessian(run.weights)
    assert d.given.here.largest == pytest.approx(np.linalg.eigvalsh(H)[-1], rel=1e-9)
    assert descend.diagnose(X, CLASSES, loss="logistic").given.here is None


def test_squared_error_is_equally_curved_everywhere():
    given, standardised = met(descend.Objective.of(X, Y), np.ones(4))
    assert given.here is None
    assert standardised.here is None
    assert "learning_rate_limit_at_best_weights" not in given.to_dict()


def test_rates_are_rounded_down():
    for rate in 10.0 ** RNG.uniform(-12, 6, 500):
        cut = rounded_down(rate)
        assert rate * (1 - 1e-3) < cut <= rate * (1 + 1e-11)
        assert float(f"{cut:.4g}") == cut
