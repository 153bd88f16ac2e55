"""An offset is added to the linear predictor of its row, whoever sums, steps or samples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from descend import Serial, Threads
from descend.descent.local_sgd import LocalWalk, Place
from descend.engines.arrays import ArraySource, check_offset
from descend.engines.blocks import Block
from descend.engines.moments import DenseMoments, Moments, Triangle
from descend.errors import DataError, ShapeError
from descend.objectives.batches import Batches
from descend.objectives.losses import LOSSES
from descend.objectives.newton_steps import CentredDerivatives
from descend.objectives.objective import Objective
from descend.objectives.penalties import L2
from descend.objectives.statistics import HessianSum, LossAndGradient, LossSum

RNG = np.random.default_rng(5)
ROWS = 3_000
X = RNG.normal(size=(ROWS, 3)) + np.array([0.0, 2.0, -1.0])
OFFSET = RNG.normal(size=ROWS)
Y = (X @ [0.5, -0.2, 0.1] + OFFSET + RNG.logistic(size=ROWS) > 0).astype(float)
W = np.array([0.3, -0.1, 0.2, 0.4])
WIDE = np.column_stack([X, OFFSET])
"""The same as a column whose weight is held at 1."""
HELD = np.array([0.3, -0.1, 0.2, 1.0, 0.4])


def objective(x=X, offset=OFFSET, loss="logistic", engine=None):
    session = (engine or Serial()).open(ArraySource(x, Y, offset=offset))
    return Objective.over(session, loss=LOSSES[loss], penalty=L2(0.0), intercept=True)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array], ids=["dense", "sparse"])
@pytest.mark.parametrize("loss", ["logistic", "squared-error"])
def test_an_offset_is_a_column_of_weight_one(make, loss):
    block, wide = Block(make(X), Y, None, OFFSET), Block(make(WIDE), Y)
    rows = [0, 1, 2, 4]
    np.testing.assert_allclose(
        LossSum(LOSSES[loss], True).of(block, W), LossSum(LOSSES[loss], True).of(wide, HELD), rtol=1e-12
    )
    found = LossAndGradient(LOSSES[loss], True).of(block, W)
    expected = LossAndGradient(LOSSES[loss], True).of(wide, HELD)
    np.testing.assert_allclose(found, expected[[0, 1, 2, *(3 + r for r in rows)]], rtol=1e-9, atol=1e-9)
    H = HessianSum(LOSSES[loss], True)
    np.testing.assert_allclose(H.of(block, W), H.of(wide, HELD)[np.ix_(rows, rows)], rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("rooted", [False, True])
def test_derivatives_about_the_means_know_it(rooted):
    statistic = CentredDerivatives(LOSSES["logistic"], np.zeros(3), True, rooted)
    g, second = statistic.of(Block(X, Y, None, OFFSET), W)
    found = LossAndGradient(LOSSES["logistic"], True).of(Block(X, Y, None, OFFSET), W)[3:]
    np.testing.assert_allclose(g, found, rtol=1e-9, atol=1e-9)
    H = second.T @ second if rooted else second
    expected = HessianSum(LOSSES["logistic"], True).of(Block(X, Y, None, OFFSET), W)
    np.testing.assert_allclose(H, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("statistic", [Moments, DenseMoments()], ids=["all", "dense"])
def test_moments_are_those_of_what_is_left_to_explain(statistic):
    found, expected = statistic.of(Block(X, Y, None, OFFSET)), statistic.of(Block(X, Y - OFFSET))
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.cross, expected.cross)
    triangle = Triangle(None, None, np.ones(4))
    np.testing.assert_array_equal(triangle.of(Block(X, Y, None, OFFSET)), triangle.of(Block(X, Y - OFFSET)))


def test_the_closed_form_is_least_squares_of_the_target_less_the_offset():
    made = objective(loss="squared-error")
    ones = np.column_stack([X, np.ones(ROWS)])
    expected = np.linalg.lstsq(ones, Y - OFFSET)[0]
    np.testing.assert_allclose(made.minimum(), expected, rtol=1e-9)
    assert made.value(W) == pytest.approx(np.mean((ones @ W + OFFSET - Y) ** 2), rel=1e-12)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array], ids=["dense", "sparse"])
def test_the_batches_of_an_epoch_make_up_the_whole(make):
    made = objective(make(X))
    batches, total = Batches(made, 250), np.zeros(4)
    with batches.pieces(0) as pieces:
        for piece in pieces:
            total += sum(batch.gradient(W) * batch.rows for batch in piece.batches)
            mean = piece.losses([W] * len(piece.batches))
            assert np.isfinite(mean).all()
    np.testing.assert_allclose(total / ROWS, made.gradient(W), rtol=1e-10)


def test_a_local_walk_of_one_batch_is_a_gradient_step():
    made = objective()
    walk = LocalWalk(LOSSES["logistic"], L2(0.0), True, 0.1, ROWS, 1.0, (0, 0))
    end = walk(Block(X, Y, None, OFFSET), Place(W, 0.0, 0))
    np.testing.assert_allclose(end.weights, W - 0.1 * made.gradient(W), rtol=1e-10)


def test_threads_and_ranges_find_the_same_bits():
    source = ArraySource(X, Y, offset=OFFSET)
    one, two = objective(), objective(engine=Threads(2))
    assert one.gradient(W).tobytes() == two.gradient(W).tobytes()
    blocks = [leaf.block() for part in source.handles() for leaf in part.leaves()]
    np.testing.assert_array_equal(Block.joined(blocks).offset, OFFSET)


def test_an_offset_that_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="`offset`"):
        check_offset(OFFSET[:5], ROWS)
    with pytest.raises(DataError, match="`offset`"):
        check_offset(np.where(OFFSET > 2, np.nan, OFFSET), ROWS)
    with pytest.raises(ShapeError, match="`offset` has shape"):
        ArraySource(X, Y, offset=OFFSET[:5])
