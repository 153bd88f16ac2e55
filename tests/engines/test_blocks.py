"""Leaves, parts and sources of arrays; which rows are held out; what is refused, and in which words."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array

from descend.engines.arrays import ArraySource, check_column, check_matrix, check_sample_weight
from descend.engines.blocks import LEAF_CELLS, Block, leaf_rows, matrix_bytes
from descend.engines.matrix import Mixed
from descend.engines.splits import LastRows, Split, check_fraction, check_seed
from descend.errors import DataError, DescendError, ShapeError

RNG = np.random.default_rng(3)
ROWS, COLUMNS = 2_500, 600  # leaves of 1,024 rows
X = RNG.integers(-9, 9, (ROWS, COLUMNS)).astype(np.int8)
Y = RNG.normal(size=ROWS)
WEIGHT = RNG.random(ROWS)


@pytest.mark.parametrize("columns", [0, 1, 2, 7, 8, 9, 28, 63, 100, 511, 512, 513, 5_000, 10**6])
def test_a_leaf_is_a_power_of_two_of_rows_that_fills_the_cache(columns):
    rows = leaf_rows(columns)
    assert rows.bit_count() == 1
    assert 1_024 <= rows <= 65_536
    if 1_024 < rows < 65_536:
        assert rows * columns <= LEAF_CELLS < 2 * rows * columns


def python_mix(x):
    """The finaliser of SplitMix64 in whole numbers of any size."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


@settings(max_examples=50)
@given(
    fraction=st.floats(1e-9, 1, exclude_max=True),
    seed=st.integers(-(2**70), 2**70),
    file=st.integers(0, 2**40),
    start=st.integers(0, 2**50),
)
def test_a_row_is_held_out_by_the_hash_of_seed_file_and_row(fraction, seed, file, start):
    key = python_mix(python_mix((seed + 0x9E3779B97F4A7C15) % 2**64) ^ file)
    expected = [python_mix((row + key) % 2**64) < int(fraction * 2**64) for row in range(start, start + 20)]
    assert Split(fraction, seed).held_out(file, start, start + 20).tolist() == expected


@pytest.mark.parametrize("fraction", [0.001, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, -7])
def test_the_share_held_out_is_the_fraction(fraction, seed):
    n = 200_000
    sigma = np.sqrt(n * fraction * (1 - fraction))
    assert abs(Split(fraction, seed).held_out(0, 0, n).sum() - n * fraction) < 5 * sigma
    keys = np.arange(n, dtype=np.uint64) << np.uint64(40)
    assert abs(Split(fraction, seed).held_out_groups(keys).sum() - n * fraction) < 5 * sigma


@settings(max_examples=50)
@given(cuts=st.lists(st.integers(0, 3_000)), seed=st.integers(0, 2**63))
@pytest.mark.parametrize("last", [False, True])
def test_the_same_rows_are_held_out_however_they_are_read(last, cuts, seed):
    split = LastRows(0.3, (0,), 3_000) if last else Split(0.3, seed)
    edges = [0, *sorted(cuts), 3_000]
    pieces = [split.held_out(0, a, b) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(pieces), split.held_out(0, 0, 3_000))


def test_seeds_and_files_hold_out_rows_independently():
    n = 100_000
    masks = [Split(0.5, s).held_out(f, 0, n) for s, f in [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1)]]
    masks.append(Split(0.5, 0).held_out(0, 1, n + 1))  # nor does a row depend on its neighbour
    correlation = np.corrcoef(masks) - np.eye(len(masks))
    assert abs(correlation).max() < 5 / np.sqrt(n)


def test_more_held_out_are_the_same_and_others():
    few, many = (Split(fraction, 4).held_out(0, 0, 10_000) for fraction in (0.1, 0.4))
    assert (many | ~few).all()


def test_rows_of_one_group_stay_together():
    split = Split(0.4, 9, group="who")
    keys = RNG.integers(0, 2**64, 50, dtype=np.uint64)
    who = RNG.integers(0, 50, 5_000)
    sides = split.held_out_groups(keys)
    np.testing.assert_array_equal(split.held_out_groups(keys[who]), sides[who])
    assert 0 < sides.sum() < 50
    assert (split.held_out_groups(keys) != Split(0.4, 10).held_out_groups(keys)).any()


@pytest.mark.parametrize(
    ("fraction", "starts", "total"),
    [(0.2, (0,), 10), (0.25, (0, 4, 4, 9), 11), (0.5, (0, 1), 3), (0.01, (0,), 10)],
)
def test_the_last_rows_are_the_last_over_all_files(fraction, starts, total):
    split = LastRows(fraction, starts, total)
    edges = [*starts, total]
    masks = [split.held_out(i, 0, edges[i + 1] - edges[i]) for i in range(len(starts))]
    out = round(fraction * total)
    assert np.concatenate(masks).tolist() == [False] * (total - out) + [True] * out
    assert split.group is None


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, 0.0, 1.0, float("nan"), float("inf"), 20])
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction):
    said = r"`valid` as a fraction must lie between 0 and 1, got .*: 0\.2 holds out a fifth"
    for make in (check_fraction, Split, lambda f: LastRows(f, (0,), 10)):
        with pytest.raises(DescendError, match=said):
            make(fraction)


STORED = {
    "dense": lambda x: x,
    "sparse": lambda x: csr_array(x, dtype=float),
    "mixed": lambda x: Mixed(x[:, :400], csr_array(x[:, 400:], dtype=float)),
}


def dense(M):
    if isinstance(M, Mixed):
        return np.hstack([M.dense, M.sparse.toarray()])
    return M.toarray() if hasattr(M, "toarray") else M


def rows_of(source):
    return [leaf.block() for part in source.parts() for leaf in part.leaves()]


@pytest.mark.parametrize("store", STORED.values(), ids=STORED)
def test_leaves_of_an_array_are_its_rows_in_order(store):
    source = ArraySource(store(X), Y, WEIGHT)
    assert (source.rows, source.leaf_columns, source.leaf_count) == (ROWS, COLUMNS, 3)
    leaves = [leaf for part in source.parts() for leaf in part.leaves()]
    assert [leaf.index for leaf in leaves] == [0, 1, 2]
    blocks = [leaf.block() for leaf in leaves]
    assert [block.rows for block in blocks] == [1_024, 1_024, 452]
    whole = Block.joined(blocks)
    np.testing.assert_array_equal(dense(whole.X), X)
    np.testing.assert_array_equal(whole.y, Y)
    np.testing.assert_array_equal(whole.sample_weight, WEIGHT)
    assert whole.offset is None


def test_dense_leaves_are_views():
    block = rows_of(ArraySource(X, Y, WEIGHT))[1]
    for view, base in [(block.X, X), (block.y, Y), (block.sample_weight, WEIGHT)]:
        assert np.shares_memory(view, base)


@pytest.mark.parametrize("store", STORED.values(), ids=STORED)
@pytest.mark.parametrize(
    "split", [Split(0.3, 5), LastRows(0.3, (0,), ROWS), LastRows(0.7, (0,), ROWS)], ids=repr
)
def test_training_and_validation_rows_are_all_rows_once(store, split):
    out = split.held_out(0, 0, ROWS)
    for held_out, mask in [(False, ~out), (True, out)]:
        source = ArraySource(store(X), Y, WEIGHT, split=split, held_out=held_out)
        blocks = [block for block in rows_of(source) if block is not None]
        whole = Block.joined(blocks)
        np.testing.assert_array_equal(dense(whole.X), X[mask])
        np.testing.assert_array_equal(whole.y, Y[mask])
        np.testing.assert_array_equal(whole.sample_weight, WEIGHT[mask])


def test_a_leaf_without_rows_is_none():
    training = rows_of(ArraySource(X, Y, split=LastRows(0.7, (0,), ROWS)))
    assert [None if block is None else block.rows for block in training] == [750, None, None]


@pytest.mark.parametrize("split", [None, Split(0.3, 5)], ids=["all", "split"])
@pytest.mark.parametrize("leaves", [[0], [2, 0], [1, 2, 0]])
def test_a_window_is_the_rows_of_its_leaves_in_their_order(split, leaves):
    source = ArraySource(X, Y, WEIGHT, split=split)
    block, rows = source.window(np.array(leaves))
    blocks = rows_of(source)
    expected = Block.joined([blocks[i] for i in leaves])
    taken = block.take(rows)
    np.testing.assert_array_equal(taken.X, expected.X)
    np.testing.assert_array_equal(taken.y, expected.y)
    np.testing.assert_array_equal(taken.sample_weight, expected.sample_weight)


def test_parts_and_leaves_can_be_sent_to_another_process():
    source = ArraySource(X[:10], Y[:10], split=Split(0.5, 1))
    leaf = next(iter(pickle.loads(pickle.dumps(source.parts()))[0].leaves()))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(leaf)).block().X, rows_of(source)[0].X)


def test_features_have_names():
    assert ArraySource(X[:, :3], Y).feature_names == ("x0", "x1", "x2")
    assert ArraySource(X[:, :2], Y, feature_names=("a", "b")).feature_names == ("a", "b")


def test_a_source_refuses_columns_of_another_length_with_both_shapes():
    with pytest.raises(ShapeError, match=r"`x` has shape \(2500, 600\) and `y` has shape \(9,\): both must"):
        ArraySource(X, Y[:9])
    with pytest.raises(ShapeError, match=r"\(2500, 600\) and `sample_weight` has shape \(8,\)"):
        ArraySource(X, Y, WEIGHT[:8])


@pytest.mark.parametrize(
    "rows", [np.array([2, 0, 2]), np.array([True, False, True, False])], ids=["at", "mask"]
)
@pytest.mark.parametrize("full", [True, False])
def test_rows_of_a_block_are_taken_from_all_its_columns(rows, full):
    x, y = X[:4], Y[:4]
    block = Block(x, y, WEIGHT[:4], y + 1) if full else Block(x, y)
    taken = block.take(rows)
    np.testing.assert_array_equal(taken.X, x[rows])
    np.testing.assert_array_equal(taken.y, y[rows])
    if full:
        np.testing.assert_array_equal(taken.sample_weight, WEIGHT[:4][rows])
        np.testing.assert_array_equal(taken.offset, (y + 1)[rows])
    else:
        assert taken.sample_weight is taken.offset is None


def test_one_block_joined_is_itself():
    block = Block(X[:2], Y[:2])
    assert Block.joined([block]) is block


def test_a_block_says_its_rows_and_bytes():
    sparse = csr_array(X[:4], dtype=float)
    held = sparse.data.nbytes + sparse.indices.nbytes + sparse.indptr.nbytes
    assert Block(X[:4], Y[:4]).nbytes == 4 * 600 + 4 * 8
    assert Block(sparse, Y[:4], WEIGHT[:4], WEIGHT[:4]).nbytes == held + 3 * 4 * 8
    assert Block(sparse, Y[:4]).rows == 4
    assert matrix_bytes(None) == 0


@pytest.mark.parametrize(
    "x", [[[1, 2], [3, 4]], np.ones((2, 2), bool), np.ones((2, 1), np.float16)], ids=repr
)
def test_numbers_in_rows_and_columns_are_a_matrix(x):
    np.testing.assert_array_equal(check_matrix(x), x)


def test_a_matrix_is_not_copied():
    assert check_matrix(X) is X
    assert check_matrix(coo_array(X)).format == "csr"


REFUSED = {
    "text": ([["a"]], DataError, r"`x` must hold numbers, got dtype <U1\. .*DataFrame or a file"),
    "objects": ([[None]], DataError, "must hold numbers, got dtype object"),
    "complex numbers": ([[1j]], DataError, "got dtype complex128"),
    "one dimension": (
        [1.0, 2.0],
        ShapeError,
        r"two dimensions .*, got shape \(2,\)\. Use `x.reshape\(-1, 1\)`",
    ),
    "three dimensions": (np.ones((2, 3, 4)), ShapeError, r"two dimensions .*, got shape \(2, 3, 4\)\.$"),
    "a number": (3.0, ShapeError, r"got shape \(\)"),
    "no rows": (np.ones((0, 3)), ShapeError, r"at least one row and one feature, got shape \(0, 3\)"),
    "no columns": (np.ones((3, 0)), ShapeError, r"at least one row and one feature, got shape \(3, 0\)"),
    "nan": ([[1.0, np.nan]], DataError, "`x` holds NaN or infinity. Drop or fill"),
    "infinity": ([[1.0], [-np.inf]], DataError, "`x` holds NaN or infinity"),
    "both infinities": ([[np.inf], [-np.inf]], DataError, "`x` holds NaN or infinity"),
}


@pytest.mark.parametrize(("x", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_matrix_of_numbers_is_refused(x, error, said):
    with pytest.raises(error, match=said):
        check_matrix(x)
    with pytest.raises(error, match=said.replace("`x", "`new")):
        check_matrix(x, "new")


def test_squares_that_overflow_are_not_taken_for_infinities():
    for big in (np.full((9, 1), 1e150), np.full((9, 1), 3e38, np.float32), np.full((9, 1), 6e4, np.float16)):
        assert check_matrix(big) is big


@pytest.mark.parametrize("make", [np.array, csr_array], ids=["array", "CSR"])
def test_numbers_whose_squares_are_infinite_are_refused(make):
    with pytest.raises(DataError, match=r"`x` holds numbers beyond 1e\+150.* Scale it"):
        check_matrix(make([[1.0], [-1e200]]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sparse_matrix_is_looked_through_too(value):
    with pytest.raises(DataError, match="`x` holds NaN or infinity"):
        check_matrix(csr_array([[0.0, 1.0], [value, 0.0]]))


def test_masked_values_are_refused_and_a_mask_of_none_is_not():
    x = np.ma.array(np.ones((3, 2)), mask=np.zeros((3, 2), bool))
    assert check_matrix(x).shape == (3, 2)
    x[1, 1] = np.ma.masked
    with pytest.raises(DataError, match=r"`x` has masked values\. .*`x\.filled\(\.\.\.\)`"):
        check_matrix(x)


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ShapeError, match="`x` must have rows of equal length"):
        check_matrix([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7", None, float("nan")])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(DescendError, match="`seed` must be a whole number of at least 0, got"):
        check_seed(seed)
    check_seed(np.int64(3))
    with pytest.raises(DescendError, match="`seed` must fit into 64 bits"):
        check_seed(2**64)


def test_a_nan_in_the_last_leaf_is_found():
    x = np.zeros((70_000, 2), np.float32)
    x[-1, -1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        check_matrix(x)
    with pytest.raises(DataError, match=r"`y` holds NaN or infinity\. Drop those rows"):
        check_column(x[:, 1], "y", 70_000)


def test_a_column_is_one_value_per_row_flat_or_not():
    y = np.arange(3.0)
    assert check_column(y, "y", 3) is y
    np.testing.assert_array_equal(check_column(y[:, None], "y", 3), y)
    assert check_column([True, False], "y", 2).tolist() == [True, False]


REFUSED_COLUMNS = {
    "too short": (
        [1.0, 2.0],
        ShapeError,
        r"`x` has 3 rows and `y` has shape \(2,\): both must have the same",
    ),
    "two columns": (
        np.ones((3, 2)),
        ShapeError,
        r"`y` must have one dimension \(rows,\), got shape \(3, 2\)",
    ),
    "a row": (np.ones((1, 3)), ShapeError, r"got shape \(1, 3\)"),
    "a number": (1.0, ShapeError, r"got shape \(\)"),
    "nan": ([1.0, np.nan, 2.0], DataError, "`y` holds NaN or infinity. Drop those rows first"),
}


@pytest.mark.parametrize(("y", "error", "said"), REFUSED_COLUMNS.values(), ids=REFUSED_COLUMNS)
def test_what_is_no_column_is_refused(y, error, said):
    with pytest.raises(error, match=said):
        check_column(y, "y", 3)


def test_a_column_may_be_held_against_another_name():
    with pytest.raises(ShapeError, match=r"`valid` has 3 rows and `y` has shape \(2,\)"):
        check_column([1, 2], "y", 3, against="valid")


def test_sample_weights_become_float64():
    found = check_sample_weight([1, 0, 2], 3)
    assert found.dtype == np.float64
    assert found.tolist() == [1, 0, 2]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_sparse_matrices_without_rows_or_features_are_refused(shape):
    with pytest.raises(ShapeError, match="at least one row and one feature"):
        check_matrix(csr_array(shape))
