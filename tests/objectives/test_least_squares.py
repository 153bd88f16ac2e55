"""Least squares of standardised columns beside NumPy's solution and pseudo-inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from descend.objectives.least_squares import LeastSquares, shortest

RNG = np.random.default_rng(8)
WAYS = ["cross products", "factor"]


def rows(count=200, columns=4, rank=None, noise=0.5):
    """Columns, of so high a rank, and a target; uncentred, of length one on average."""
    rank = columns if rank is None else rank
    X = RNG.normal(size=(count, rank)) @ RNG.normal(size=(rank, columns))
    X /= np.sqrt(np.mean(X**2, axis=0))
    y = X @ RNG.normal(size=columns) + noise * RNG.normal(size=count)
    return X, y


def solved(X, y, way):
    Z = np.column_stack([X, y]) / np.sqrt(len(X))
    if way == "cross products":
        return LeastSquares.from_cross_products(Z.T @ Z)
    return LeastSquares.from_factor(np.linalg.qr(Z)[1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_solution_residual_and_rank_are_those_of_numpy(way, rank):
    X, y = rows(rank=rank)
    found = solved(X, y, way)
    w, _, numpys_rank, _ = np.linalg.lstsq(X, y, rcond=1e-12)
    np.testing.assert_allclose(found.solution, w, rtol=1e-9, atol=1e-9)
    assert found.residual == pytest.approx(np.mean((y - X @ w) ** 2), rel=1e-9)
    assert found.rank == numpys_rank == rank
    np.testing.assert_allclose(found.factor.T @ found.factor, X.T @ X / len(X), atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_one_column_has_the_slope_that_is_in_every_textbook(way):
    x, y = np.array([-1.0, 0.0, 1.0]), np.array([-2.0, 1.0, 4.0])
    found = solved(x[:, None], y, way)
    assert found.solution == pytest.approx([3.0])
    assert (found.residual, found.rank) == (pytest.approx(1.0), 1)


@pytest.mark.parametrize("way", WAYS)
def test_twins_share_their_weight(way):
    x, y = rows(columns=1)
    single = solved(x, y, way).solution[0]
    np.testing.assert_allclose(solved(np.repeat(x, 5, axis=1), y, way).solution, single / 5, rtol=1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_columns_of_zeros_get_no_weight_and_explain_nothing(way):
    y = RNG.normal(size=50)
    found = solved(np.zeros((50, 3)), y, way)
    assert found.solution.tolist() == [0.0, 0.0, 0.0]
    assert (found.residual, found.rank) == (pytest.approx(np.mean(y**2)), 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_rows_than_columns_are_met_exactly_by_the_shortest_weights(way, count):
    X, y = rows(count, columns=4)
    Z = np.vstack([np.column_stack([X, y]), np.zeros((5 - count, 5))]) / np.sqrt(count)
    found = (
        LeastSquares.from_factor(np.linalg.qr(Z)[1]) if way == "factor" else solved(X, y, "cross products")
    )
    np.testing.assert_allclose(found.solution, np.linalg.pinv(X) @ y, rtol=1e-6)
    assert found.rank == count
    assert found.residual == pytest.approx(0.0, abs=1e-12)


def test_a_factor_keeps_the_digits_that_cross_products_lose():
    x = RNG.normal(size=(500, 2))
    X = np.column_stack(
        [x[:, 0], x[:, 0] + 1e-7 * x[:, 1]]
    )  # condition 2e7: squared, beyond double precision
    y = X @ [3.0, -2.0]
    assert solved(X, y, "cross products").rank == 1
    assert solved(X, y, "cross products").wants_more
    exact = solved(X, y, "factor")
    assert exact.rank == 2
    np.testing.assert_allclose(exact.solution, [3.0, -2.0], rtol=1e-6)
    assert exact.residual < 1e-20


@pytest.mark.parametrize(
    ("twin", "noise", "wants_more"),
    [(1.0, 0.5, False), (1e-2, 0.5, False), (1e-4, 0.5, True), (1.0, 1e-3, True)],
)
def test_more_is_wanted_of_near_twins_and_of_a_fit_that_is_almost_perfect(twin, noise, wants_more):
    x = RNG.normal(size=(1_000, 3))
    X = np.column_stack([x[:, 0], x[:, 0] + twin * x[:, 1]])
    assert solved(X, X[:, 0] + noise * x[:, 2], "cross products").wants_more is wants_more


@pytest.mark.parametrize(
    ("gap", "near", "rank", "wants_more"),
    [(0.01, 0.006, 2, True), (0.01, 0.004, 2, False), (1e-11, 1e-13, 2, False), (1e-13, 1e-7, 1, True)],
)
def test_columns_are_near_twins_by_the_share_of_the_smallest_eigenvalue(gap, near, rank, wants_more):
    C = np.array([[1.0, 1.0 - gap, 0.0], [1.0 - gap, 1.0, 0.0], [0.0, 0.0, 1.0]])  # gap and 2 - gap
    found = LeastSquares.from_cross_products(C, near)
    assert (found.rank, found.wants_more) == (rank, wants_more)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rank", [1, 3, 4])
def test_normal_equations_are_solved_by_the_pseudo_inverse(way, rank):
    X, y = rows(rank=rank)
    g = RNG.normal(size=4)  # partly outside what the columns span
    C = X.T @ X / len(X)
    before = g.copy()
    np.testing.assert_allclose(solved(X, y, way).solve(g), np.linalg.pinv(C, rcond=1e-10) @ g, rtol=1e-7)
    np.testing.assert_array_equal(g, before)


@settings(max_examples=100)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    rank=st.integers(0, 6),
    spread=st.integers(0, 4),
    seed=st.integers(0, 1_000),
)
def test_the_shortest_weights_predict_the_same_and_are_those_of_the_pseudo_inverse(shape, rank, spread, seed):
    """Columns may differ in length by a factor of `10**spread`."""
    rng, rank = np.random.default_rng(seed), min(rank, *shape)
    A = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    A = A * 10.0 ** rng.integers(0, spread + 1, shape[1])
    w = rng.normal(size=shape[1])
    found = shortest(A, rank, w)
    size = np.abs(A).max(initial=0.0) * np.abs(w).max()
    np.testing.assert_allclose(A @ found, A @ w, atol=1e-8 * size)
    assert found @ found <= w @ w * (1 + 1e-9)
    np.testing.assert_allclose(found, np.linalg.pinv(A, rcond=1e-12) @ (A @ w), atol=1e-4)


@given(arrays(float, 3, elements=st.floats(-1e6, 1e6)))
def test_weights_that_are_told_apart_stay_and_those_of_zeros_vanish(w):
    full = np.array([[2.0, 1.0, 0.0], [0.0, 1e-3, 1.0], [0.0, 0.0, 1e3]])
    np.testing.assert_allclose(shortest(full, 3, w), w, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(
        shortest(full * [1.0, 0.0, 1.0], 2, w), w * [1.0, 0.0, 1.0], rtol=1e-9, atol=1e-6
    )


@pytest.mark.parametrize("seed", range(5))
def test_predictions_keep_their_digits_where_columns_differ_much_in_length(seed):
    rng, lengths = np.random.default_rng(seed), np.array([1.0, 1e9, 1e-3, 1e5])
    A, w = rng.normal(size=(3, 2)) @ rng.normal(size=(2, 4)) * lengths, rng.normal(size=4) / lengths
    np.testing.assert_allclose(A @ shortest(A, 2, w), A @ w, rtol=0.0, atol=1e-13 * np.abs(A * w).max())
