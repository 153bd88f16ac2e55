"""Momentum near its limit: what converges is not called diverged, and what goes round for ever is told."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import descend
from descend import DescendWarning, GradientDescent, Objective, Outcome
from descend.descent.steps import limit_at_minimum


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_below_the_limit_of_a_quadratic_nothing_diverges(nesterov, penalty):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 3)) * [1, 3, 0.5] + [0, 2, 0]
    y = x @ [1, -0.4, 2.0] + rng.normal(size=120)
    objective = Objective.of(x, y, penalty=penalty)
    best = objective.value(objective.minimum())
    for share, converges in ((0.99, True), (1.01, False)):
        ball = GradientDescent(0.1, momentum=0.9, nesterov=nesterov)
        rate = share * ball.rate_limit(objective.curvature_bound)
        ball = GradientDescent(rate, momentum=0.9, nesterov=nesterov)
        with nullcontext() if converges else pytest.warns(DescendWarning):
            run = descend.fit(x, y, penalty=penalty, optimizer=ball, steps=20_000)
        assert (run.outcome is Outcome.STEP_LIMIT) == converges
        assert (run.outcome is Outcome.DIVERGED) != converges
        if converges:
            assert run.history.loss.max() > 5 * run.history.loss[0] or nesterov or penalty
            assert run.loss == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_ball_that_goes_round_the_minimum_for_ever_oscillates(seed):
    """Just below its limit the ball may go round, depending on how each product is rounded; then this is said."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(100, 2)) * [1, 2]
    y = (x @ [1, -1] + rng.logistic(size=100) > 0).astype(float)
    objective = Objective.of(x, y, loss="logistic")
    best = descend.fit(x, y, loss="logistic")
    ball = GradientDescent(0.1, momentum=0.9)
    limit = limit_at_minimum(objective, ball, best.weights)
    run = descend.fit(
        x, y, loss="logistic", optimizer=GradientDescent(0.98 * limit, momentum=0.9), steps=3_000
    )
    assert (run.outcome is Outcome.OSCILLATING) is (run.loss > 1.01 * best.loss)
    assert ("goes round the minimum" in run.message) is (run.loss > 1.01 * best.loss)
    lower = descend.fit(
        x, y, loss="logistic", optimizer=GradientDescent(0.5 * limit, momentum=0.9), steps=3_000
    )
    assert lower.outcome is Outcome.STEP_LIMIT
    assert lower.loss == pytest.approx(best.loss, rel=1e-6)
