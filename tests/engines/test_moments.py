"""Moments beside exact fractions: however rows are split, weighted, stored, or far from zero."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix

from descend.engines.blocks import Block
from descend.engines.engine import Tree
from descend.engines.matrix import Mixed
from descend.engines.moments import Moments, Triangle, triangular_factor

RNG = np.random.default_rng(2)
ROWS = 48
X = np.column_stack(
    [
        RNG.normal(size=ROWS),
        1e9 + RNG.normal(size=ROWS),
        1e-3 * RNG.normal(size=ROWS) - 5.0,
        RNG.random(ROWS) < 0.3,
    ]
)
Y = X @ [1.0, 0.5, -200.0, 2.0] + RNG.normal(size=ROWS)
WEIGHT = RNG.integers(0, 4, ROWS).astype(float)


def exact(x, y, s=None):
    """Weight, mean and centred cross products of `[x | y]` in fractions: no rounding at all."""
    V = np.vectorize(Fraction, otypes=[object])(np.column_stack([x, y]).astype(float))
    s = np.array([Fraction(float(each)) for each in (np.ones(len(V)) if s is None else s)])
    mean = (s @ V) / s.sum()
    V = V - mean
    return s.sum(), mean, (V.T @ (s[:, None] * V)).astype(float)


PLAIN, WEIGHTED = exact(X, Y), exact(X, Y, WEIGHT)


def assert_same(found, oracle, tolerance=1e-9):
    """Cross products to `tolerance` of the columns' lengths, means to the same part of their deviations."""
    weight, mean, cross = oracle
    assert found.weight == weight
    length = np.sqrt(cross.diagonal())
    length[length == 0] = 1.0
    assert (abs(found.cross - cross) <= tolerance * np.outer(length, length)).all()
    np.testing.assert_array_equal(found.cross, found.cross.T)
    off = [
        float(Fraction(a) + Fraction(b) - m)
        for a, b, m in zip(found.mean.tolist(), found.mean_low.tolist(), mean, strict=True)
    ]
    assert (np.abs(off) <= tolerance * length).all()


def blocks(cuts, x=X, y=Y, s=None):
    edges = [0, *sorted(set(cuts) - {0}), len(y)]
    return [Block(x[a:b], y[a:b], None if s is None else s[a:b]) for a, b in pairwise(edges)]


@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=60)
@given(cuts=st.lists(st.integers(1, ROWS - 1)), seed=st.integers(0, 2**32), way=st.sampled_from("<>^?"))
def test_rows_split_in_any_way_and_merged_in_any_order_have_the_same_moments(weighted, cuts, seed, way):
    parts = [Moments.of(b) for b in blocks(cuts, s=WEIGHT if weighted else None)]
    if way == "<":
        total = reduce(Moments.merge, parts)
    elif way == ">":
        total = reduce(lambda b, a: Moments.merge(a, b), reversed(parts))
    elif way == "^":
        tree = Tree(Moments.merge)
        for index, part in enumerate(parts):
            tree.add(index, part)
        total = tree.total()
    else:
        total = reduce(Moments.merge, np.random.default_rng(seed).permutation(np.array(parts, dtype=object)))
    assert_same(total, WEIGHTED if weighted else PLAIN)
    assert total.rows == (np.count_nonzero(WEIGHT) if weighted else ROWS)


@settings(max_examples=30)
@given(
    x=st.integers(1, 30).flatmap(
        lambda rows: st.lists(
            st.tuples(*[st.floats(-1e6, 1e6)] * 3, st.floats(1e-3, 1e3)), min_size=rows, max_size=rows
        )
    ),
    cut=st.integers(0, 30),
)
def test_the_moments_of_any_numbers(x, cut):
    x = np.array(x)
    total = reduce(Moments.merge, map(Moments.of, blocks([min(cut, len(x) - 1)], x[:, :2], x[:, 2], x[:, 3])))
    weight, mean, cross = exact(x[:, :2], x[:, 2], x[:, 3])
    assert total.weight == pytest.approx(float(weight), rel=1e-14)
    size = np.abs(x[:, :3]).max(axis=0) + 1e-300
    np.testing.assert_allclose(
        total.mean + total.mean_low, mean.astype(float), rtol=0, atol=1e-13 * size.max()
    )
    room = 1e-13 * total.weight * np.outer(size, size)
    assert (abs(total.cross - cross) <= room).all()


def test_divided_by_the_weight_they_are_the_covariance_of_numpy():
    x = RNG.normal(3.0, size=(ROWS, 2))
    m = Moments.of(Block(x, x[:, 0] ** 2, WEIGHT))
    expected = np.cov(np.column_stack([x, x[:, 0] ** 2]), rowvar=False, bias=True, aweights=WEIGHT)
    np.testing.assert_allclose(m.cross / m.weight, expected, rtol=1e-11)


def test_far_from_zero_no_digit_of_the_spread_is_lost():
    rows = 2_000
    noise = RNG.normal(size=(rows, 2))
    x = 1e9 + noise
    noise = x - 1e9  # what float64 could keep of it, exactly
    near, far = Moments.of(Block(noise, noise[:, 0])), Moments.of(Block(x, x[:, 0]))
    np.testing.assert_allclose(far.cross, near.cross, rtol=1e-12)
    parts = [Moments.of(b) for b in blocks(range(100, rows, 100), x, x[:, 0])]
    np.testing.assert_allclose(reduce(Moments.merge, parts).cross, near.cross, rtol=1e-11)


def test_where_floats_are_an_eighth_apart_the_low_part_of_the_mean_counts():
    x = 1e15 + RNG.normal(size=(ROWS, 2))
    y = x[:, 0] - 1e15
    oracle = exact(x, y)
    m = reduce(Moments.merge, map(Moments.of, blocks([10, 11, 30], x, y)))
    assert_same(m, oracle, 1e-13)
    assert m.mean_low[0] != 0
    R = Triangle(m.mean, m.mean_low, m.scale).of(Block(x, y))
    np.testing.assert_allclose(products(R), in_units(oracle[2], m.scale), rtol=0, atol=1e-4 * ROWS)


def test_blocks_that_lie_far_apart_keep_their_digits():
    x = np.repeat([0.0, 1e9], 24)[:, None] + RNG.normal(size=(48, 1))
    y = RNG.normal(size=48)
    total = reduce(Moments.merge, map(Moments.of, blocks([24], x, y)))
    assert_same(total, exact(x, y), 1e-15)


@pytest.mark.parametrize("kept", [[0, 1], [0, 2, 3], [1, 3]])
def test_weights_are_repeated_rows(kept):
    again = np.repeat(np.arange(ROWS), WEIGHT.astype(int))
    weighted = Moments.of(Block(X[:, kept], Y, WEIGHT))
    repeated = Moments.of(Block(X[again][:, kept], Y[again]))
    assert weighted.weight == repeated.weight
    size = np.sqrt(repeated.cross.diagonal())
    assert (abs(weighted.cross - repeated.cross) <= 1e-13 * np.outer(size, size)).all()
    np.testing.assert_allclose(
        weighted.mean + weighted.mean_low, repeated.mean + repeated.mean_low, rtol=1e-15
    )


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.uint8, bool, "strided", "F", "backwards"])
def test_how_numbers_are_stored_does_not_matter(kind):
    x = RNG.integers(0, 2 if kind is bool else 200, (ROWS, 3))
    stored = {
        "strided": np.repeat(x, 2, axis=1)[:, ::2].astype(float),
        "F": np.asfortranarray(x, dtype=float),
        "backwards": x.astype(float)[::-1, ::-1].copy()[::-1, ::-1],
    }.get(kind)
    stored = x.astype(kind) if stored is None else stored
    before = stored.copy()
    assert_same(Moments.of(Block(stored, Y.astype(np.float32))), exact(x, Y.astype(np.float32)), 1e-12)
    np.testing.assert_array_equal(stored, before)


SPARSE = RNG.normal(size=(ROWS, 5)) * (RNG.random((ROWS, 5)) < 0.3)
STORED = {
    "sparse array": lambda x: csr_array(x),
    "sparse matrix": lambda x: csr_matrix(x),
    "mixed": lambda x: Mixed(x[:, :2], csr_array(x[:, 2:])),
    "mixed without dense columns": lambda x: Mixed(x[:, :0], csr_array(x)),
    "mixed without sparse columns": lambda x: Mixed(x, csr_array(x[:, :0])),
    "mixed of float32": lambda x: Mixed(x[:, :2].astype(np.float32), csr_array(x[:, 2:].astype(np.float32))),
}


@pytest.mark.parametrize("store", STORED.values(), ids=STORED)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cuts", [[], [7, 30], range(1, ROWS)], ids=["whole", "in three", "row by row"])
def test_sparse_and_mixed_columns_have_the_moments_of_dense_ones(store, weighted, cuts):
    x = SPARSE.astype(np.float32).astype(float)
    s = WEIGHT if weighted else None
    whole = store(x)
    parts = [
        Block(store(b.X) if isinstance(whole, Mixed) else whole[a : a + b.rows], b.y, b.sample_weight)
        for b, a in zip(blocks(cuts, x, Y, s), [0, *cuts], strict=True)
    ]
    total = reduce(Moments.merge, map(Moments.of, parts))
    assert_same(total, exact(x, Y, s), 1e-12)


def test_mixed_columns_keep_the_digits_of_the_dense_ones():
    x = np.column_stack([X[:, 1], SPARSE])
    total = reduce(
        Moments.merge,
        [Moments.of(Block(Mixed(b.X[:, :1], csr_array(b.X[:, 1:])), b.y)) for b in blocks([20], x)],
    )
    assert_same(total, exact(x, Y))


def test_a_block_without_weight_changes_nothing():
    nothing, m = Moments.of(Block(X, Y, np.zeros(ROWS))), Moments.of(Block(X, Y))
    assert (nothing.weight, nothing.rows) == (0, 0)
    assert Moments.merge(nothing, m) is m
    assert Moments.merge(m, nothing) is m


def test_a_column_that_never_changes_has_no_spread_and_scale_one():
    x = np.column_stack([np.full(ROWS, 7.0), RNG.normal(size=ROWS)])
    m = reduce(Moments.merge, map(Moments.of, blocks([5, 20], x)))
    assert m.cross[0].tolist() == [0.0, 0.0, 0.0]
    assert m.scale[0] == 1.0
    assert m.scale[1] == pytest.approx(x[:, 1].std(), rel=1e-13)
    assert m.constant_loss == pytest.approx(np.var(Y - 5e8), rel=1e-9)


def test_uncentred_cross_products_are_those_about_zero():
    x = RNG.normal(3.0, size=(ROWS, 3))
    Z = np.column_stack([x, x[:, 0]])
    m = reduce(Moments.merge, map(Moments.of, blocks([11], x, x[:, 0], WEIGHT)))
    np.testing.assert_allclose(m.uncentred(), Z.T @ (WEIGHT[:, None] * Z), rtol=1e-13)


def products(R):
    return R.T @ R


def in_units(cross, scale):
    return cross / np.outer(scale, scale)


@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=40)
@given(cuts=st.lists(st.integers(1, ROWS - 1), max_size=12), seed=st.integers(0, 2**32))
def test_the_triangle_holds_the_cross_products_in_any_order_of_merging(weighted, cuts, seed):
    s = WEIGHT if weighted else None
    m = Moments.of(Block(X, Y, s))
    triangle = Triangle(m.mean, m.mean_low, m.scale)
    factors = [triangle.of(b) for b in blocks(cuts, s=s)]
    R = reduce(triangle.merge, [factors[i] for i in np.random.default_rng(seed).permutation(len(factors))])
    assert R.shape == (5, 5)
    np.testing.assert_array_equal(R, np.triu(R))
    np.testing.assert_allclose(
        products(R), in_units((WEIGHTED if weighted else PLAIN)[2], m.scale), atol=1e-9 * m.weight
    )


@pytest.mark.parametrize("store", STORED.values(), ids=STORED)
def test_the_triangle_of_sparse_and_mixed_columns(store):
    x = SPARSE.astype(np.float32).astype(float)
    m = Moments.of(Block(x, Y, WEIGHT))
    R = Triangle(m.mean, m.mean_low, m.scale).of(Block(store(x), Y, WEIGHT))
    np.testing.assert_allclose(products(R), in_units(exact(x, Y, WEIGHT)[2], m.scale), atol=1e-12 * m.weight)


def test_a_triangle_without_means_is_about_zero():
    x = RNG.normal(3.0, size=(ROWS, 3))
    scale = np.array([1.0, 2.0, 4.0, 0.5])
    Z = np.column_stack([x, x[:, 0]]) / scale
    R = Triangle(None, None, scale).of(Block(x, x[:, 0]))
    np.testing.assert_allclose(products(R), Z.T @ Z, rtol=1e-12)


def test_the_triangle_sees_what_squaring_would_lose():
    """Two columns that differ by 1e-10: their cross products are singular in float64, their factor is not."""
    a = RNG.normal(size=ROWS)
    x = np.column_stack([a, a + 1e-10 * RNG.normal(size=ROWS)])
    m = Moments.of(Block(x, a))
    R = Triangle(m.mean, m.mean_low, np.ones(3)).of(Block(x, a))
    expected = np.linalg.svd((x - x.mean(axis=0)).astype(float), compute_uv=False)
    np.testing.assert_allclose(np.linalg.svd(R[:2, :2], compute_uv=False), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3), (2, 5), (5, 5), (9, 2)])
def test_the_triangular_factor_is_square_and_that_of_numpy_up_to_signs(shape):
    Z = RNG.normal(size=shape)
    R = triangular_factor(Z.copy())
    assert R.shape == (shape[1], shape[1])
    np.testing.assert_allclose(products(R), Z.T @ Z, rtol=1e-12, atol=1e-13)
    expected = np.linalg.qr(Z, mode="r")
    np.testing.assert_allclose(abs(R[: len(expected)]), abs(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 2), (40, 2)])
def test_blocks_of_one_thread_share_no_memory_with_results(shape):
    """Kernels use scratch again: what one block left must not show in another's result."""
    first = Block(RNG.normal(size=shape), RNG.normal(size=shape[0]))
    m, R = Moments.of(first), Triangle(None, None, np.ones(3)).of(first)
    kept = m.cross.copy(), m.mean.copy(), R.copy()
    other = Block(1e3 + RNG.normal(size=(60, 2)), np.ones(60))
    Moments.of(other), Triangle(None, None, np.ones(3)).of(other)
    for now, before in zip((m.cross, m.mean, R), kept, strict=True):
        np.testing.assert_array_equal(now, before)
