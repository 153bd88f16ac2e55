"""The lesson's data: shapes, ranges and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descend
from descend import DescendError, make_line

WEIGHTS = {"the lesson's": (3, 2), "constant": [5], "plane": [1.5, -2, 0.5], "array": np.array([0.0, -1.0])}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("rows", [1, 2, 100, 5_000])
def test_y_is_the_line_plus_uniform_noise(rows, weights):
    x, y = make_line(rows, weights, seed=1)
    assert x.shape == (rows, len(weights))
    assert y.shape == (rows,)
    assert x.dtype == y.dtype == np.float64
    assert (x[:, -1] == 1).all()
    assert (abs(x) <= 1).all()
    noise = y - x @ np.asarray(weights)
    assert -1e-14 <= noise.min() <= noise.max() <= 1 + 1e-14


def test_columns_and_noise_fill_their_ranges_evenly():
    rows = 40_000
    x, y = make_line(rows, (3, -1, 2), seed=2)
    columns = np.column_stack([(x[:, :2] + 1) / 2, y - x @ [3, -1, 2]])
    quantiles = np.quantile(columns, [0.0, 0.25, 0.5, 0.75, 1.0], axis=0)
    expected = np.broadcast_to(np.array([[0.0, 0.25, 0.5, 0.75, 1.0]]).T, (5, 3))
    np.testing.assert_allclose(quantiles, expected, atol=0.02)
    assert abs(np.corrcoef(columns, rowvar=False) - np.eye(3)).max() < 5 / np.sqrt(rows)


def test_it_is_what_the_lesson_asks_for():
    assert descend.make_line is make_line
    x, y = make_line()
    assert x.shape == (100, 2)
    slope, level = np.linalg.lstsq(x, y)[0]
    assert slope == pytest.approx(3, abs=0.4)
    assert level == pytest.approx(2.5, abs=0.25)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**63))
def test_the_same_seed_gives_the_same_data_and_another_others(seed):
    (x, y), (again, target), (other, _) = (
        make_line(20, seed=seed),
        make_line(20, seed=seed),
        make_line(20, seed=seed + 1),
    )
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, target)
    assert (x[:, 0] != other[:, 0]).any()


def test_without_a_seed_every_call_is_new():
    assert (make_line()[1] != make_line()[1]).any()


def test_the_global_random_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002  what the caller may have done
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_line(seed=3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        (0, (3, 2), "`rows` must be a whole number of at least 1, got 0"),
        (-5, (1,), "`rows` must be a whole number of at least 1, got -5"),
        ("a", (1,), "`rows` must be a whole number of at least 1, got 'a'"),
        (9, (), r"`weights` must be a list of at least one number, got \(\)"),
        (9, 3, "`weights` must be a list of at least one number, got 3"),
    ],
)
def test_no_rows_or_no_weights_are_refused(rows, weights, message):
    with pytest.raises(DescendError, match=message):
        make_line(rows, weights)
