"""Statistics of blocks beside sums written out in NumPy; of two blocks, the sum of both."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array

import descend
from descend.engines.blocks import Block
from descend.engines.matrix import Mixed
from descend.errors import ShapeError
from descend.objectives.losses import LOSSES
from descend.objectives.statistics import (
    HessianSum,
    LargestMove,
    LossAndGradient,
    LossSum,
    RowNorms,
    TargetSum,
    linear_predictor,
    predict,
)

RNG = np.random.default_rng(6)
ROWS, COLUMNS, CLASSES = 40, 5, 3
X = RNG.normal(size=(ROWS, COLUMNS)) * (RNG.random((ROWS, COLUMNS)) < 0.6)
OFFSET = RNG.normal(size=ROWS)
WEIGHT = RNG.integers(0, 4, ROWS).astype(float)
TARGETS = {
    "squared-error": RNG.normal(size=ROWS),
    "logistic": RNG.integers(0, 2, ROWS),
    "cross-entropy": RNG.integers(0, CLASSES, ROWS),
    "poisson": RNG.poisson(2.0, ROWS),
    "huber": RNG.normal(size=ROWS),
}
STORED = {
    "dense": lambda x: x,
    "F": np.asfortranarray,
    "CSR": csr_array,
    "mixed": lambda x: Mixed(x[:, :2], csr_array(x[:, 2:])),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
every_store = pytest.mark.parametrize("store", STORED.values(), ids=STORED)
weighted = pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
with_intercept = pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"])


def weights(name, intercept):
    shape = (COLUMNS + intercept, CLASSES) if name == "cross-entropy" else (COLUMNS + intercept,)
    return np.random.default_rng(1).normal(size=shape)


def case(name, store, s, intercept, offset=None):
    """A block, weights, and what the formulas are written in: `[X | 1]`, z and s."""
    design = np.column_stack([X, np.ones(ROWS)]) if intercept else X
    w = weights(name, intercept)
    z = design @ w
    if offset is not None:
        z = z + (offset[:, None] if z.ndim == 2 else offset)
    each = np.ones(ROWS) if s is None else s
    return Block(store(X), TARGETS[name], s, offset), w, design, z, each


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@every_loss
@every_store
@with_intercept
@pytest.mark.parametrize("offset", [None, OFFSET], ids=["plain", "offset"])
def test_the_linear_predictor(name, store, intercept, offset):
    block, w, _, z, _ = case(name, store, None, intercept, offset)
    close(linear_predictor(block, w, intercept), z)


@every_loss
@every_store
@weighted
@with_intercept
@pytest.mark.parametrize("offset", [None, OFFSET], ids=["plain", "offset"])
def test_loss_and_gradient_are_the_sums_over_rows(name, store, s, intercept, offset):
    block, w, design, z, each = case(name, store, s, intercept, offset)
    loss, y = LOSSES[name], TARGETS[name]
    g = loss.gradient(z, y).reshape(ROWS, -1)
    total = each @ loss.value(z, y)
    found = LossAndGradient(loss, intercept).of(block, w)
    rows = np.count_nonzero(each)
    close(found[:3], [rows, each.sum(), total])
    close(found[3:].reshape(w.shape), (design.T @ (each[:, None] * g)).reshape(w.shape))
    close(LossSum(loss, intercept).of(block, w), [rows, each.sum(), total])


@every_loss
@every_store
@weighted
@with_intercept
def test_the_hessian_is_the_sum_over_rows(name, store, s, intercept):
    block, w, design, z, each = case(name, store, s, intercept)
    d = LOSSES[name].curvature(z, TARGETS[name])
    if d.ndim == 1:
        expected = design.T @ ((each * d)[:, None] * design)
    else:
        rows = [
            s * np.kron(np.outer(x, x), d_row) for x, d_row, s in zip(design, d, each, strict=True)
        ]  # features outside, classes inside, as weights ravel
        expected = np.sum(rows, axis=0)
    found = HessianSum(LOSSES[name], intercept).of(block, w)
    assert found.shape == (w.size, w.size)
    close(found, expected)
    close(found, found.T)


@every_store
@weighted
@with_intercept
def test_row_norms_are_summed_and_the_largest_kept(store, s, intercept):
    each = np.ones(ROWS) if s is None else s
    norms = each * (np.square(X).sum(axis=1) + intercept)
    close(RowNorms(intercept).of(Block(store(X), OFFSET, s)), [each.sum(), norms.sum(), norms.max()])


@weighted
def test_targets_are_summed_or_counted_by_class(s):
    each = np.ones(ROWS) if s is None else s
    y = TARGETS["squared-error"]
    close(TargetSum().of(Block(X, y, s)), [each.sum(), each @ y])
    close(TargetSum().of(Block(X, y > 0, s)), [each.sum(), each[y > 0].sum()])
    y = TARGETS["cross-entropy"]
    counts = [each[y == k].sum() for k in range(5)]
    close(TargetSum(5).of(Block(X, y, s)), [each.sum(), *counts])
    close(TargetSum(5).of(Block(X, y.astype(float), s)), [each.sum(), *counts])


STATISTICS = {
    **{f"loss, {name}": (LossSum(LOSSES[name], True), name) for name in LOSSES},
    **{f"gradient, {name}": (LossAndGradient(LOSSES[name], True), name) for name in LOSSES},
    **{f"hessian, {name}": (HessianSum(LOSSES[name], True), name) for name in LOSSES},
    "row norms": (RowNorms(True), "squared-error"),
    "largest move": (LargestMove(True), "squared-error"),
    "largest move of classes": (LargestMove(True), "cross-entropy"),
    "targets": (TargetSum(), "squared-error"),
    "classes": (TargetSum(CLASSES), "cross-entropy"),
}
every_statistic = pytest.mark.parametrize(("statistic", "name"), STATISTICS.values(), ids=STATISTICS)


@every_statistic
@weighted
@pytest.mark.parametrize("cut", [1, 17, 39])
def test_two_blocks_merged_are_the_block_of_both(statistic, name, s, cut):
    block, w, *_ = case(name, STORED["dense"], s, True)
    parts = [statistic.of(block.take(np.arange(*span)), w) for span in [(0, cut), (cut, ROWS)]]
    close(statistic.merge(*parts), statistic.of(block, w))


@every_statistic
def test_integer_weights_are_repeated_rows(statistic, name):
    block, w, *_ = case(name, STORED["dense"], WEIGHT, True)
    again = np.repeat(np.arange(ROWS), WEIGHT.astype(int))
    repeated = Block(X[again], TARGETS[name][again])
    found, expected = statistic.of(block, w), statistic.of(repeated, w)
    if isinstance(statistic, LossSum | LossAndGradient):
        found[0] = expected[0]  # rows, which weights do not multiply
    if isinstance(statistic, RowNorms):
        found[2] = expected[2]  # the largest of weight times length
    close(found, expected)


@every_statistic
def test_a_statistic_changes_neither_block_nor_parameters(statistic, name):
    block, w, *_ = case(name, lambda x: x.copy(), WEIGHT.copy(), True, OFFSET.copy())
    before = [each.copy() for each in (block.X, block.y, block.sample_weight, block.offset, w)]
    statistic.of(block, w)
    for now, then in zip((block.X, block.y, block.sample_weight, block.offset, w), before, strict=True):
        np.testing.assert_array_equal(now, then)


@every_statistic
def test_a_statistic_is_a_value_that_can_be_sent(statistic, name):
    assert pickle.loads(pickle.dumps(statistic)) == statistic
    assert hash(pickle.loads(pickle.dumps(statistic))) == hash(statistic)


@every_loss
def test_float32_and_whole_numbers_are_summed_in_float64(name):
    x = RNG.integers(0, 9, (ROWS, COLUMNS))
    w = weights(name, True)
    statistic = LossAndGradient(LOSSES[name], True)
    expected = statistic.of(Block(x.astype(float), TARGETS[name]), w)
    for kind in (np.float32, np.uint8, np.int64):
        found = statistic.of(Block(x.astype(kind), TARGETS[name]), w)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


# Prediction without a run


@pytest.mark.parametrize("outputs", [(), (2,)], ids=["one output", "two"])
def test_predict_is_the_linear_predictor(outputs):
    w = RNG.normal(size=(COLUMNS + 1, *outputs))
    assert descend.predict is predict
    np.testing.assert_allclose(predict(X, w[:-1]), X @ w[:-1], rtol=1e-13)
    np.testing.assert_allclose(predict(X, w, intercept=True), X @ w[:-1] + w[-1], rtol=1e-13)
    np.testing.assert_allclose(predict(X.tolist(), w[:-1].tolist()), X @ w[:-1], rtol=1e-13)


@pytest.mark.parametrize(
    ("x", "weights", "intercept"), [(X, np.ones(COLUMNS + 1), False), (X, np.ones(COLUMNS), True), (X[0], np.ones(COLUMNS), False),
                                    (X, 1.0, False), (X, np.ones((COLUMNS, 2, 2)), False)],
)  # fmt: skip
def test_predict_refuses_shapes_that_do_not_fit_with_both(x, weights, intercept):
    with pytest.raises(
        ShapeError, match=r"`x` has shape \(.*\) and `weights` has shape \(.*one weight per feat"
    ):
        predict(x, weights, intercept=intercept)
