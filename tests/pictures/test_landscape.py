"""The loss around a run: surfaces against the loss itself, closed-form walks against steps made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import descend
from descend import CrossEntropy, LogisticLoss, Objective
from descend.objectives.penalties import L2
from descend.objectives.sampled import Sample, Sampled
from descend.pictures.landscape import _to_show, descended, surface, thin


def stepped(hessian, start, end, rate, steps):
    w = start.copy()
    for _ in range(steps):
        w = w - rate * hessian @ (w - end)
    return w


@pytest.mark.parametrize("curvature", [(1.0, 3.0), (2.0, 2.0), (0.01, 1.0), (1e-4, 1.0, 2.0)], ids=str)
def test_the_walk_in_closed_form_is_the_walk_step_by_step(curvature):
    rng = np.random.default_rng(3)
    Q, _ = np.linalg.qr(rng.normal(size=(len(curvature),) * 2))
    hessian = Q * np.array(curvature) @ Q.T
    start, end = rng.normal(size=len(curvature)), rng.normal(size=len(curvature))
    walk = descended(start, end, hessian, 0.25)
    assert walk.rate == pytest.approx(2 / (min(curvature) + max(curvature)))
    for i in np.linspace(0, len(walk.steps) - 1, 5).astype(int):
        step = int(walk.steps[i])
        if step > 5_000:
            continue
        w = stepped(hessian, start, end, walk.rate, step)
        np.testing.assert_allclose(walk.weights[i], w, atol=1e-9)
        gap = 0.5 * (w - end) @ hessian @ (w - end)
        assert walk.losses[i] == pytest.approx(0.25 + gap, abs=1e-9)
    assert walk.losses[-1] - 0.25 <= 1e-6 * (walk.losses[0] - 0.25) * (1 + 1e-9)
    assert len(walk.steps) <= 300
    assert walk.steps[0] == 0


def test_a_flat_direction_is_not_walked_and_nothing_to_walk_is_none():
    walk = descended(np.array([1.0, 1.0]), np.zeros(2), np.diag([1.0, 0.0]), 0.0)
    np.testing.assert_allclose(walk.weights[-1], [0, 0], atol=1e-6)
    assert descended(np.zeros(2), np.zeros(2), np.eye(2), 0.0) is None


@given(st.integers(1, 1_500), st.integers(0, 2**31), st.sampled_from([0.0, 0.5, 3.0]))
def test_thinning_keeps_both_ends_and_its_limit(count, seed, growth):
    steps = np.random.default_rng(seed).normal(size=(count, 2))
    path = np.cumsum(steps * np.exp(growth * np.linspace(0, 10, count))[:, None], axis=0)
    chosen = thin(path, np.ones(2))
    assert len(chosen) <= 300
    assert (np.diff(chosen) > 0).all()
    assert (chosen[0], chosen[-1]) == (0, count - 1)
    if count <= 300:
        assert len(chosen) == count


def test_thinning_spaces_frames_along_the_path():
    t = np.linspace(0, 40, 10_000)
    path = np.stack([np.exp(-t), np.exp(-t / 3)], axis=1)
    kept = path[thin(path, np.ones(2))]
    lengths = np.hypot(*np.diff(kept, axis=0).T)
    assert lengths[lengths > 0].max() < 3 * np.median(lengths[:200])


def test_thinning_bears_what_is_not_finite():
    path = np.array([[1e300 * (-1) ** i] for i in range(500)])
    path[7] = np.nan
    assert len(thin(path, np.ones(1))) <= 300


LOSSES = {"logistic": LogisticLoss(), "cross-entropy": CrossEntropy()}


@pytest.mark.parametrize("name", LOSSES)
def test_a_sample_of_all_rows_is_the_objective(name):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 2 if name == "logistic" else 3, 60).astype(float)
    s = rng.uniform(0.5, 2, 60)
    objective = Objective.of(x, y, loss=name, penalty=0.1, sample_weight=s)
    anchor = rng.normal(size=objective.shape)
    about = Sampled(Sample(x, y, s, 60), LOSSES[name], L2(0.1), True, anchor, objective.value(anchor))
    for _ in range(3):
        w = rng.normal(size=objective.shape)
        assert about.value(w) == pytest.approx(objective.value(w), rel=1e-12)
    pair = np.array([1, anchor.size - 1])
    across, up = np.array([-1.0, 0.5, 2.0]), np.array([0.25, 3.0])
    values = about.plane(anchor, pair, across, up)
    for j, b in enumerate(up):
        for i, a in enumerate(across):
            w = anchor.ravel().copy()
            w[pair] = a, b
            assert values[j, i] == pytest.approx(objective.value(w.reshape(anchor.shape)), rel=1e-12)
    np.testing.assert_allclose(about.hessian(anchor), objective.hessian(anchor), rtol=1e-10, atol=1e-14)


def test_a_sample_of_some_rows_has_the_minimum_of_the_whole():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(400, 2))
    y = (x @ [1.0, -1.0] + rng.logistic(size=400) > 0).astype(float)
    run = descend.fit(x, y, loss="logistic")
    about = Sampled(Sample(x[::8], y[::8], None, 400), LogisticLoss(), L2(0.0), True, run.weights, run.loss)
    assert about.value(run.weights) == pytest.approx(run.loss)
    there = run.weights + np.array([0.0, 0.3, -0.2])
    plane = about.plane(run.weights, np.array([1, 2]), there[1:2], there[2:])
    assert plane[0, 0] == pytest.approx(about.value(there))
    assert all(about.value(run.weights + 0.1 * rng.normal(size=3)) > run.loss for _ in range(20))


def test_a_slice_of_a_quadratic_is_the_loss_there():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(200, 4)) * [1, 5, 1, 1]
    y = x @ [1.0, 2.0, 3.0, 0.1] + 7 + rng.normal(size=200)
    objective = Objective.of(x, y, penalty=0.05)
    path = np.stack([np.zeros(5), [0.5, 1, 2, 0, 5], objective.minimum()])
    found = surface(objective, path, np.full(3, np.nan), np.array([1, 5, 1, 1, 1.0]), tuple("abcde"))
    assert found.names == ("b", "e")
    assert found.note.startswith("slice")
    horizontal, vertical, values = found.grid(7)
    for i in (0, 3, 6):
        for j in (0, 2, 6):
            w = path[-1].copy()
            w[[1, 4]] = horizontal[i], vertical[j]
            assert values[j, i] == pytest.approx(objective.value(w), rel=1e-9)
    np.testing.assert_allclose(found.centre, objective.minimum()[[1, 4]], rtol=1e-9)
    np.testing.assert_array_equal(found.path, path[:, [1, 4]])


def test_a_slice_of_a_run_that_left_lies_at_its_lowest_loss():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 3))
    objective = Objective.of(x, x @ [1.0, 2.0, 0.5], intercept=False)
    path = np.stack([np.zeros(3), [0.9, 1.9, 0.4], [4.0, -3.0, 9.0]])
    losses = np.array([objective.value(w) for w in path])
    found = surface(objective, path, losses, np.ones(3), tuple("abc"))
    assert "where the loss was lowest" in found.note
    w = path[1].copy()
    held = next(i for i, name in enumerate("abc") if name not in found.names)
    w["abc".index(found.names[0])], w["abc".index(found.names[1])] = found.centre
    assert w[held] == path[1, held]
    assert found.floor == pytest.approx(objective.value(w))


def test_no_surface_for_one_weight_or_weights_that_left_the_numbers():
    objective = Objective.of(np.ones((3, 1)), np.arange(3.0), intercept=False)
    assert surface(objective, np.zeros((2, 1)), np.zeros(2), np.ones(1), ("a",)) is None
    assert surface(None, np.zeros((2, 2)), np.zeros(2), np.ones(2), ("a", "b")) is None
    two = Objective.of(np.arange(3.0)[:, None], np.arange(3.0))
    lost = np.array([[np.nan, 1.0]])
    assert surface(two, lost, np.zeros(1), np.ones(2), ("a", "b")) is None


def test_a_surface_shows_a_run_that_left_the_numbers_as_far_as_it_is_near():
    two = Objective.of(np.arange(3.0)[:, None], np.arange(3.0))
    path = np.array([[0.0, 0.0], [1.5, 0.5], [-40.0, 9.0], [1e200, 1e200], [np.nan, 1.0]])
    losses = np.array([1.0, 2.0, 4e3, np.inf, np.nan])
    found = surface(two, path, losses, np.ones(2), ("a", "b"))
    assert max(map(abs, (*found.x_range, *found.y_range))) < 10
    assert len(found.path) == 5


@pytest.mark.parametrize(
    ("losses", "shown"),
    [
        ([1.0, 5.0, 29.0, 31.0, 40.0], 3),  # beyond 30 times the start
        ([1.0, -2.0, -3.0, -3.5], 4),
        ([-3.0, -3.2, -3.1, -3.4], 4),
        ([-3.0, -3.2, 83.0, 90.0, np.nan], 3),  # 29 times the size of the start above it, 84
        ([1.0, -9.0, 280.0, 300.0], 3),  # 29 times what was gained, 291
        ([np.nan, 1.0, np.inf], 2),
    ],
)
def test_the_surface_holds_the_frames_before_a_descent_has_left(losses, shown):
    np.testing.assert_array_equal(_to_show(np.array(losses)), np.arange(shown))
