"""The closed form beside plain loops, and the limit beside what happens on either side of it."""

from __future__ import annotations

import numpy as np
import pytest
from ill_scaled import correlated

import descend
from descend import DescendError, GradientDescent, Objective

PLAIN = {"momentum": 0.0, "nesterov": False}
WAYS = [PLAIN, {"momentum": 0.9, "nesterov": False}, {"momentum": 0.8, "nesterov": True}]


def walked(x, y, rate, momentum, nesterov, steps, start):
    """A plain loop on `X` with its column of ones: the losses and weights before each step, and at the end."""
    w, v = np.array(start, dtype=float), np.zeros(x.shape[1])
    losses, weights = [], []
    for _ in range(steps + 1):
        error = x @ w - y
        losses.append(np.mean(error**2))
        weights.append(w)
        g = 2 * x.T @ error / len(y)
        v = momentum * v + g
        w = w - rate * (g + momentum * v if nesterov else v)
    return np.array(losses), np.array(weights)


def curvature(x):
    return np.linalg.eigvalsh(2 * x.T @ x / len(x))[-1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("intercept", [True, False])
def test_the_path_is_that_of_a_plain_loop(way, intercept):
    for seed in range(8):
        x, y = correlated(seed)
        rate, start = 0.7 / curvature(x), np.linspace(-1, 1, x.shape[1])
        losses, weights = walked(x, y, rate, **way, steps=300, start=start)
        track = descend.path(
            x[:, :-1] if intercept else x,
            y,
            intercept=intercept,
            optimizer=GradientDescent(rate, **way),
            at=range(301),
            start=start,
        )
        np.testing.assert_allclose(track.loss, losses, rtol=1e-9)
        np.testing.assert_allclose(track.weights, weights, rtol=1e-9, atol=1e-9 * np.abs(weights).max())


def test_critical_damping_has_a_path_too():
    """Where `sqrt(momentum) = 1 - sqrt(rate * curvature)` the 2 x 2 matrix has one eigenvector only."""
    x, y = np.ones((4, 1)), np.arange(4.0)
    track = descend.path(x, y, intercept=False, optimizer=GradientDescent(0.125, momentum=0.25), at=range(60))
    losses, _ = walked(x, y, 0.125, 0.25, False, 59, [0.0])
    np.testing.assert_allclose(track.loss, losses, rtol=1e-12)


def test_a_penalty_bends_the_path():
    x, y = correlated(3)
    run = descend.fit(x, y, intercept=False, penalty=0.3, optimizer=GradientDescent(0.01), steps=200)
    track = descend.path(x, y, intercept=False, penalty=0.3, optimizer=GradientDescent(0.01), at=range(201))
    np.testing.assert_allclose(track.loss, run.history.loss, rtol=1e-9)


def test_a_table_walks_in_its_standardised_coordinates():
    data = {"a": [1.0, 2.0, 4.0, 8.0, 9.0], "b": ["u", "v", "u", "v", "v"], "y": [1.0, 3.0, 2.0, 8.0, 7.0]}
    run = descend.fit(data, target="y", optimizer=GradientDescent(0.1), steps=50)
    track = descend.path(data, target="y", optimizer=GradientDescent(0.1), at=[50])
    np.testing.assert_allclose(track.weights[0], run.weights, rtol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_predicted_numbers_of_steps_are_the_actual_ones(way):
    for seed in range(12):
        x, y = correlated(seed)
        rate = 1.0 / curvature(x)
        track = descend.path(x, y, intercept=False, optimizer=GradientDescent(rate, **way))
        best = np.mean((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2)
        for share in (0.01, 1e-4):
            predicted = track.steps_within(share)
            if predicted > 30_000:
                continue
            losses, _ = walked(x, y, rate, **way, steps=int(predicted * 1.05) + 2, start=np.zeros(x.shape[1]))
            actual = int(np.argmax(losses <= best * (1 + share)))
            assert actual > 0 or losses[0] <= best * (1 + share)
            assert abs(predicted - actual) <= 0.05 * actual


def lesson():
    return descend.make_line(100, seed=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [None, *range(50)])
def test_just_below_the_limit_it_converges_and_just_above_it_grows_without_end(way, seed):
    x, y = lesson() if seed is None else correlated(seed)
    objective = Objective.of(x, y, intercept=False)
    limit = GradientDescent(**way).rate_limit(objective.curvature_bound)
    below = descend.path(objective, optimizer=GradientDescent(0.99 * limit, **way), at=[0, 10**9])
    assert below.loss[1] == pytest.approx(below.best_loss, rel=1e-9)
    losses, _ = walked(x, y, 0.99 * limit, **way, steps=600, start=np.zeros(x.shape[1]))
    assert losses[500:].max() < losses[:100].max()
    assert losses[-1] < losses[0]
    with np.errstate(over="ignore", invalid="ignore"):
        losses, _ = walked(x, y, 1.01 * limit, **way, steps=3_000, start=np.zeros(x.shape[1]))
    losses = losses[: np.argmax(~(losses < 1e100))] if not losses[-1] < 1e100 else losses
    assert losses[-1] > 1e6 * losses[0]
    assert (np.diff(losses[-50:]) > 0).all()


def test_step_one_million_is_as_cheap_as_step_one_hundred():
    x, y = correlated(1)
    track = descend.path(x, y, intercept=False, optimizer=GradientDescent(momentum=0.9), at=[10**6, 2**59])
    np.testing.assert_allclose(track.weights[1], np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-8)


def test_curvatures_of_duplicate_columns_are_flat():
    x, y = correlated(2)
    track = descend.path(np.column_stack([x, x[:, 0]]), y, intercept=False)
    assert track.recurrence.curvatures.flat == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "logistic"}, "squared error"),
        ({"optimizer": "adam"}, "GradientDescent"),
        ({"optimizer": GradientDescent(descend.InverseTime(0.1))}, "schedule"),
        ({"at": [1.5]}, "`at`"),
        ({"at": [-1]}, "`at`"),
    ],
)
def test_what_has_no_closed_form_is_refused(options, message):
    with pytest.raises(DescendError, match=message):
        descend.path(np.arange(4.0)[:, None], np.array([0, 1, 0, 1]), **options)
