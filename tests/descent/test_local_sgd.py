"""Local steps: averages of walks over each worker's own rows."""

from __future__ import annotations

import numpy as np
import pytest

import descend
from descend.descent.local_sgd import LocalSteps, LocalWalk, Place
from descend.engines.blocks import Block
from descend.engines.engine import Serial
from descend.errors import DescendError
from descend.objectives.losses import LogisticLoss
from descend.objectives.objective import Objective
from descend.objectives.penalties import L2

RNG = np.random.default_rng(2)
X = RNG.normal(size=(40_000, 30))
Y = (X[:, 0] - X[:, 1] + RNG.logistic(size=40_000) > 0).astype(float)


def test_a_walk_is_stochastic_descent_written_out():
    block = Block(X[:50], Y[:50], RNG.uniform(0.5, 2, 50))
    walk = LocalWalk(LogisticLoss(), L2(0.1), True, 0.3, 16, 1.2, (5, 7))
    place = walk(block, Place(np.zeros(31), 0.0, 0))
    order = np.random.Generator(np.random.Philox(key=np.array([5, 7], dtype=np.uint64))).permutation(50)
    w, ones = np.zeros(31), np.column_stack([X[:50], np.ones(50)])
    for start in range(0, 50, 16):
        rows = order[start : start + 16]
        g = block.sample_weight[rows] * (1 / (1 + np.exp(-ones[rows] @ w)) - Y[rows])
        w = w - 0.3 * (ones[rows].T @ g / (len(rows) * 1.2) + 0.1 * np.append(w[:-1], 0.0))
    np.testing.assert_allclose(place.weights, w, rtol=1e-12)
    assert place.weight == pytest.approx(block.sample_weight.sum())


class Halves:
    """A session in which two workers have half of the leaves each."""

    def __init__(self, session):
        self.session = session

    def __getattr__(self, name):
        return getattr(self.session, name)

    def chain(self, step, value):
        leaves = [leaf for part in self.session.source.parts() for leaf in part.leaves()]
        ends = []
        for some in (leaves[:1], leaves[1:]):
            end = value
            for leaf in some:
                end = step(leaf.block(), end)
            ends.append(end)
        return ends


def test_a_step_averages_the_workers_by_their_rows():
    objective = Objective.of(X, Y, loss="logistic", engine=Serial())
    objective.session = Halves(objective.session)
    local = LocalSteps(learning_rate=0.1)
    w = np.zeros(31)
    found = local.step(objective, w, local.init(w)).weights
    walk = LocalWalk(objective.loss, objective.penalty, True, 0.1, 256, 1.0, (0, 0))
    a, b = objective.session.chain(walk, Place(w, 0.0, 0))
    np.testing.assert_allclose(found, (a.weights * a.weight + b.weights * b.weight) / 40_000, rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared-error", "logistic", "cross-entropy"])
def test_a_few_rounds_come_near_the_minimum(loss):
    y = Y + (X[:, 2] > 1) if loss == "cross-entropy" else Y
    best = descend.fit(X, y, loss=loss).loss
    run = descend.fit(X, y, loss=loss, optimizer=LocalSteps(), steps=8)
    assert run.loss - best < 3e-3


def test_the_rate_is_halved_when_a_round_has_not_helped():
    run = descend.fit(X, Y, loss="logistic", optimizer="local-steps", steps=20)
    rates = run.history.learning_rate[:-1]
    assert set(np.round(rates[1:] / rates[:-1], 12)) <= {1.0, 0.5}
    assert rates[-1] < rates[0]


def test_bad_settings_are_refused():
    with pytest.raises(DescendError, match="`batch_size` must be a whole number"):
        LocalSteps(batch_size=0)
    with pytest.raises(DescendError, match="`learning_rate`"):
        LocalSteps(learning_rate=-1)
    with pytest.raises(DescendError, match="steps on a gradient alone"):
        descend.fit(X, Y, optimizer=LocalSteps(), batch_size=4)


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    s = RNG.integers(0, 3, 2_000).astype(float)
    walk, block = (
        LocalWalk(LogisticLoss(), L2(0.1), True, 0.3, 16, 1.2, (5, 7)),
        Block(X[:2_000], Y[:2_000], s),
    )
    one, other = (walk(rows, Place(np.zeros(31), 0.0, 0)) for rows in (block, block.take(s > 0)))
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.weight == other.weight
