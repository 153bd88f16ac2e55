"""The products of a block's matrix, however it is stored, beside plain dense NumPy."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_array, csr_matrix

from descend.engines import matrix
from descend.engines.matrix import Mixed

RNG = np.random.default_rng(8)
ROWS, COLUMNS = 30, 6
WHOLE = RNG.integers(1, 12, (ROWS, COLUMNS)) * (RNG.random((ROWS, COLUMNS)) < 0.5)
WHOLE[3] = 0  # a row without entries
DENSE = {
    "C": lambda x: x.astype(float),
    "F": lambda x: np.asfortranarray(x, dtype=float),
    "every other column": lambda x: np.repeat(x.astype(float), 2, axis=1)[:, ::2],
    "every other row": lambda x: np.repeat(x.astype(float), 2, axis=0)[::2],
    "backwards": lambda x: x.astype(float)[::-1, ::-1].copy()[::-1, ::-1],
    "columns of a wider table": lambda x: np.hstack([x, x, x]).astype(float)[:, COLUMNS : 2 * COLUMNS],
    "read-only": lambda x: frozen(x.astype(float)),
    "float32": lambda x: x.astype(np.float32),
    "float32 F": lambda x: np.asfortranarray(x, dtype=np.float32),
    "float16": lambda x: x.astype(np.float16),
    "int64": lambda x: x.astype(np.int64),
    "uint8": lambda x: x.astype(np.uint8),
    "big-endian": lambda x: x.astype(">f8"),
    "unaligned": lambda x: unaligned(x.astype(float)),
}
STORED = DENSE | {
    "CSR": lambda x: csr_array(x.astype(float)),
    "CSR matrix": lambda x: csr_matrix(x.astype(float)),
    "CSR of int64": lambda x: csr_array(x.astype(np.int64)),
    "CSR of float32": lambda x: csr_array(x.astype(np.float32)),
    "mixed": lambda x: Mixed(x[:, :2].astype(float), csr_array(x[:, 2:].astype(float))),
    "mixed F float32": lambda x: Mixed(DENSE["float32 F"](x[:, :4]), csr_array(x[:, 4:].astype(float))),
    "mixed, nothing dense": lambda x: Mixed(x[:, :0].astype(float), csr_array(x.astype(float))),
    "mixed, nothing sparse": lambda x: Mixed(x.astype(float), csr_array(x[:, :0].astype(float))),
}
every_store = pytest.mark.parametrize("store", STORED.values(), ids=STORED)
EACH = RNG.random(ROWS) - 0.2
WEIGHTS = {
    "none": None,
    "positive": EACH + 1,
    "some zero": np.maximum(EACH, 0),
    "zero": np.zeros(ROWS),
    "negative": -EACH - 1,
    "both signs": EACH,
}
every_weight = pytest.mark.parametrize("d", WEIGHTS.values(), ids=WEIGHTS)


def frozen(x):
    x.flags.writeable = False
    return x


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    out = raw[1:].view(np.float64).reshape(x.shape)
    out[...] = x
    return out


def dense(X):
    if isinstance(X, Mixed):
        return np.hstack([X.dense, X.sparse.toarray()])
    return X.toarray() if matrix.is_sparse(X) else np.asarray(X)


def close(found, expected):
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-12)


@every_store
@pytest.mark.parametrize("outputs", [(), (1,), (3,)], ids=["one", "a column", "three"])
def test_products_with_weights_and_with_rows(store, outputs):
    X = store(WHOLE)
    w, r = RNG.normal(size=(COLUMNS, *outputs)), RNG.normal(size=(ROWS, *outputs))
    close(matrix.product(X, w), WHOLE @ w)
    close(matrix.transposed_product(X, r), WHOLE.T @ r)
    np.testing.assert_array_equal(dense(X), WHOLE)


@every_store
@every_weight
def test_cross_products_and_sums(store, d):
    X, each = store(WHOLE), np.ones(ROWS) if d is None else d
    before = each.copy()
    G, sums = matrix.gram_and_sums(X, d)
    close(G, WHOLE.T @ (each[:, None] * WHOLE))
    close(sums, WHOLE.T @ each)
    close(matrix.gram(X, d), G)
    close(matrix.column_sums(X, d), sums)
    np.testing.assert_array_equal(each, before)


@every_store
def test_results_do_not_lie_in_scratch(store):
    X, d = store(WHOLE), EACH + 1
    w = RNG.normal(size=COLUMNS)
    found = [matrix.product(X, w), matrix.transposed_product(X, d), *matrix.gram_and_sums(X, d)]
    found += [matrix.gram(X, EACH), matrix.row_norms(X)]
    kept = [each.copy() for each in found]
    other = store(WHOLE[::-1] > 0)
    matrix.product(other, 7 * w), matrix.gram_and_sums(other, 2 * d), matrix.row_norms(other)
    for now, before in zip(found, kept, strict=True):
        np.testing.assert_array_equal(now, before)


@every_store
def test_a_column_of_ones_after_the_last(store):
    X = matrix.with_ones(store(WHOLE))
    assert X.shape == (ROWS, COLUMNS + 1)
    np.testing.assert_array_equal(dense(X), np.column_stack([WHOLE, np.ones(ROWS)]))
    close(matrix.product(X, np.arange(7.0)), WHOLE @ np.arange(6.0) + 6)


@every_store
def test_row_norms_are_squared_lengths(store):
    close(matrix.row_norms(store(WHOLE)), np.square(WHOLE).sum(axis=1))


ROWS_NAMED = {
    "slice": slice(4, 9),
    "from the start": slice(None, 5),
    "to the end": slice(25, None),
    "beyond the end": slice(25, 99),
    "all": slice(None),
    "mask": RNG.random(ROWS) < 0.4,
    "empty mask": np.zeros(ROWS, bool),
    "indices": RNG.integers(0, ROWS, 50),
    "one": np.array([3]),
    "none": np.array([], dtype=np.intp),
}


@every_store
@pytest.mark.parametrize("rows", ROWS_NAMED.values(), ids=ROWS_NAMED)
def test_rows_by_slice_mask_or_index(store, rows):
    X = store(WHOLE)
    taken = matrix.take_rows(X, rows)
    assert type(taken) is type(X)
    assert taken.shape == WHOLE[rows].shape
    np.testing.assert_array_equal(dense(taken), WHOLE[rows])
    close(matrix.product(taken, np.arange(6.0)), WHOLE[rows] @ np.arange(6.0))


@pytest.mark.parametrize("store", [DENSE["C"], DENSE["F"], STORED["CSR"]], ids=["C", "F", "CSR"])
def test_consecutive_rows_are_views(store):
    X = store(WHOLE)
    piece = matrix.take_rows(X, slice(5, 20))
    a, b = (piece.data, X.data) if matrix.is_sparse(X) else (piece, X)
    assert np.shares_memory(a, b)


@every_store
def test_rows_taken_and_joined_are_the_rows_again(store):
    X = store(WHOLE)
    pieces = [matrix.take_rows(X, slice(a, b)) for a, b in [(0, 4), (4, 5), (5, 5), (5, 30)]]
    again = matrix.joined(pieces)
    assert again.shape == X.shape
    np.testing.assert_array_equal(dense(again), WHOLE)
    np.testing.assert_array_equal(dense(matrix.joined([X])), WHOLE)


@pytest.mark.parametrize("columns", [1, 2, 5, 30, 44, 60])
@pytest.mark.parametrize("rows", [0, 1, 511, 700, 5_000])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("small_kernels", [False, True])
def test_border_products_are_the_same_in_pieces(small_kernels, columns, rows, order, monkeypatch):
    monkeypatch.setattr(matrix, "has_small_kernels", lambda: small_kernels)
    Z = np.array(RNG.normal(size=(rows, columns + 1)), order=order)
    before = Z.copy()
    found = matrix.border_product(Z)
    close(found, Z[:, :-1].T @ Z)
    np.testing.assert_array_equal(found[:, :-1], found[:, :-1].T)
    np.testing.assert_array_equal(Z, before)


def test_windows_that_share_memory():
    X = sliding_window_view(RNG.normal(size=40), 5)
    close(matrix.product(X, np.arange(5.0)), X.copy() @ np.arange(5.0))
    close(matrix.gram(X), X.copy().T @ X.copy())
    close(matrix.transposed_product(X, np.ones(36)), X.copy().sum(axis=0))


def test_one_value_for_all_rows_is_read_as_such():
    X = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (10, 3))
    close(matrix.product(X, np.ones(3)), np.full(10, 6.0))
    close(matrix.gram(X), 10 * np.outer([1, 2, 3], [1, 2, 3]))


READY = ["C", "F", "columns of a wider table", "every other row", "read-only"]


@pytest.mark.parametrize("name", READY)
def test_float64_that_blas_can_read_is_not_copied(name):
    X = DENSE[name](WHOLE)
    assert matrix.as_float64(X) is X


@pytest.mark.parametrize("name", [name for name in DENSE if name not in READY])
def test_anything_else_is_cast_in_scratch(name):
    X = DENSE[name](WHOLE)
    found = matrix.as_float64(X)
    assert not np.shares_memory(found, X)
    assert found.dtype == np.float64
    assert found.flags.c_contiguous or found.flags.f_contiguous
    np.testing.assert_array_equal(found, WHOLE)


def test_memory_order():
    assert [matrix.memory_order(DENSE[name](WHOLE)) for name in ("C", "F", "float32 F")] == ["C", "F", "F"]
    assert matrix.memory_order(np.ones(3)) == "C"


def test_sparse_is_found_without_scipy():
    assert matrix.is_sparse(csr_array(WHOLE))
    assert matrix.is_sparse(csr_matrix(WHOLE).tocoo())
    assert not matrix.is_sparse(WHOLE)
    assert not matrix.is_sparse(STORED["mixed"](WHOLE))


def test_mixed_says_its_shape_and_bytes():
    X = STORED["mixed"](WHOLE)
    assert X.shape == (ROWS, COLUMNS)
    s = X.sparse
    assert X.nbytes == X.dense.nbytes + s.data.nbytes + s.indices.nbytes + s.indptr.nbytes


def test_scratch_is_used_again_under_its_name_and_thread():
    a = matrix.scratch("test a", (4, 5))
    assert np.shares_memory(matrix.scratch("test a", (2, 3)), a)
    assert not np.shares_memory(matrix.scratch("test b", (4, 5)), a)
    assert matrix.scratch("test a", (4, 5), "F").flags.f_contiguous
    assert matrix.scratch("test a", (50, 5)).shape == (50, 5)
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(matrix.scratch("test a", (4, 5))))
    thread.start()
    thread.join()
    assert not np.shares_memory(elsewhere[0], matrix.scratch("test a", (4, 5)))
