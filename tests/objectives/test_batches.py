"""The law of the batch order, and the objective of a batch beside sums written out."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from scipy import sparse

from descend import (
    DescendError,
    GradientDescent,
    LogisticLoss,
    Moments,
    Objective,
    Serial,
    fit,
    make_line,
    steps,
)
from descend.engines.arrays import ArraySource
from descend.engines.blocks import leaf_rows
from descend.engines.splits import Split
from descend.objectives import batches as batches_module
from descend.objectives.batches import Ahead, Batches
from descend.objectives.penalties import L2
from descend.objectives.quadratic import Quadratic

WIDE = 600  # columns that make leaves of 1,024 rows


def numbered(rows, columns=1):
    """An objective whose y is the number of the row."""
    source = ArraySource(np.zeros((rows, columns), dtype=np.float32), np.arange(rows, dtype=float))
    return Objective.over(Serial().open(source), loss=LogisticLoss(), penalty=L2(0.0), intercept=False)


def epoch_of(batches, epoch):
    """The batches of an epoch."""
    with batches.pieces(epoch) as pieces:
        return [batch for piece in pieces for batch in piece.batches]


def order_of(batches, epoch):
    """The numbers of the rows of each batch of an epoch."""
    return [batch.y.astype(int).tolist() for batch in epoch_of(batches, epoch)]


def law(rows, columns, seed, epoch, window=2**20):
    """The order of an epoch: leaves permuted by Philox(seed, epoch), then the rows of each window."""
    random = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    size = leaf_rows(columns)
    leaves, per_window = random.permutation(-(-rows // size)), window // size
    order = []
    for start in range(0, len(leaves), per_window):
        spans = [np.arange(i * size, min((i + 1) * size, rows)) for i in leaves[start : start + per_window]]
        order.append(random.permutation(np.concatenate(spans)))
    return np.concatenate(order)


def flat(batches):
    return [row for batch in batches for row in batch]


LAWFUL = [(10, 1, 3), (1_000, 2, 1_000), (3_500, WIDE, 64), (2_500, WIDE, 2_000), (3_000, 3, 7)]


@pytest.mark.parametrize(("rows", "columns", "size"), LAWFUL)
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 3), (7, 0), (2**40, 1)])
def test_the_order_of_an_epoch_is_the_law(rows, columns, size, seed, epoch):
    found = order_of(Batches(numbered(rows, columns), size, seed), epoch)
    assert flat(found) == law(rows, columns, seed, epoch).tolist()
    assert [len(batch) for batch in found] == [size] * (rows // size) + [rows % size] * (rows % size > 0)


def test_rows_are_mixed_within_windows_of_a_million(monkeypatch):
    monkeypatch.setattr(batches_module, "WINDOW_ROWS", 2_048)
    found = order_of(Batches(numbered(7_000, WIDE), 100, 1), 2)
    assert flat(found) == law(7_000, WIDE, 1, 2, 2_048).tolist()
    assert flat(found) != law(7_000, WIDE, 1, 2).tolist()


def test_more_rows_than_a_window():
    rows = 2**20 + 70_000
    source = ArraySource(np.zeros((rows, 1), dtype=np.float32), np.arange(rows, dtype=float))
    session = Serial().open(source)
    with closing(session):
        made = Objective.over(session, loss=LogisticLoss(), penalty=L2(0.0), intercept=False)
        with Batches(made, 2**17, 5).pieces(1) as pieces:
            found = np.concatenate([batch.y for piece in pieces for batch in piece.batches])
    np.testing.assert_array_equal(found, law(rows, 1, 5, 1))
    np.testing.assert_array_equal(np.sort(found), np.arange(rows))


@pytest.mark.parametrize("size", [1, 7, 100, 101, 1_000])
def test_every_row_comes_once_in_an_epoch(size):
    batches = Batches(numbered(101), size)
    for epoch in range(3):
        assert sorted(flat(order_of(batches, epoch))) == list(range(101))


def test_an_epoch_that_is_not_walked_is_not_gathered(monkeypatch):
    gathered, pieces = [], Batches.pieces
    monkeypatch.setattr(
        Batches, "pieces", lambda self, e, made: (gathered.append(e), pieces(self, e, made))[1]
    )
    x, y = make_line(100, seed=0)
    *_, last = steps(Objective.of(x, y > y.mean(), loss="logistic"), batch_size=10, epochs=2)
    assert (last.number, gathered) == (20, [0, 1])


def test_the_same_seed_gives_the_same_batches_and_another_others():
    made = numbered(500)
    first = [order_of(Batches(made, 32, seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    again = [order_of(Batches(numbered(500), 32, seed), epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert first == again
    assert all(first[i] != first[j] for i in range(4) for j in range(i))
    assert flat(order_of(Batches(made, 50, 0), 0)) == flat(first[0])  # the size only cuts


@pytest.mark.parametrize(
    "kind", [np.asfortranarray, np.float32, sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_do_not_depend_on_how_the_rows_are_kept(kind, weighted):
    rng = np.random.default_rng(2)
    x = np.where(rng.random((900, 5)) < 0.4, rng.integers(-4, 5, (900, 5)), 0.0)
    y, s = rng.integers(0, 2, 900), rng.random(900) if weighted else None
    w = rng.normal(size=6)
    ours = epoch_of(Batches(Objective.of(kind(x), y, loss="logistic", sample_weight=s), 64, 3), 1)
    plain = epoch_of(Batches(Objective.of(x, y, loss="logistic", sample_weight=s), 64, 3), 1)
    assert len(ours) == len(plain) == 15
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.X.toarray() if sparse.issparse(a.X) else a.X, b.X)
        np.testing.assert_allclose(a.gradient(w), b.gradient(w), rtol=1e-12, atol=1e-14)
        if weighted:
            np.testing.assert_array_equal(a.s, b.s)


def test_rows_held_out_are_in_no_batch():
    source = ArraySource(
        np.arange(3_000.0)[:, None] * np.ones(WIDE), np.arange(3_000.0), split=Split(0.3, seed=4)
    )
    with closing(Serial().open(source)) as session:
        made = Objective.over(session, loss=LogisticLoss(), penalty=L2(0.0), intercept=False)
        found = order_of(Batches(made, 100, 1), 0)
    kept = np.flatnonzero(~Split(0.3, 4).held_out(0, 0, 3_000))
    assert sorted(flat(found)) == kept.tolist()


LOSSES = {
    "squared-error": lambda z, y: (z - y) ** 2,
    "logistic": lambda z, y: np.logaddexp(0, z) - y * z,
    "cross-entropy": lambda z, y: np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y.astype(int)],
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_a_batch_has_the_mean_loss_of_its_rows_and_its_gradient(loss, weighted, intercept):
    rng = np.random.default_rng(9)
    x, s = rng.normal(size=(230, 3)), rng.uniform(0.5, 2.0, 230) if weighted else None
    y = rng.integers(0, 3 if loss == "cross-entropy" else 2, 230).astype(float)
    made = Objective.of(x, y, loss=loss, penalty=0.3, intercept=intercept, sample_weight=s)
    w = rng.normal(size=made.shape)
    order, total = law(230, 3, 6, 0), np.zeros(made.shape)
    for number, batch in enumerate(epoch_of(Batches(made, 50, 6), 0)):
        rows = order[50 * number : 50 * number + 50]
        assert batch.rows == len(rows)
        design = np.column_stack([x, np.ones(230)])[rows] if intercept else x[rows]

        def value(w, design=design, rows=rows):
            weights = np.ones(230) if s is None else s / s.mean()
            penalised = w[:-1] if intercept else w
            return (weights[rows] * LOSSES[loss](design @ w, y[rows])).mean() + 0.15 * (penalised**2).sum()

        assert batch.value(w) == pytest.approx(value(w), rel=1e-12)
        gradient = batch.gradient(w)
        for index in np.ndindex(*w.shape):
            step = np.zeros(w.shape)
            step[index] = 1e-6
            assert gradient[index] == pytest.approx((value(w + step) - value(w - step)) / 2e-6, abs=1e-7)
        total += gradient * batch.rows
    np.testing.assert_allclose(total / 230, made.gradient(w), rtol=1e-11, atol=1e-13)  # unbiased


def test_the_losses_of_a_piece_are_those_of_its_batches():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 4)), rng.integers(0, 2, 300)
    batches = Batches(Objective.of(x, y, loss="logistic", penalty=0.1), 32, 0)
    with batches.pieces(0) as pieces:
        for piece in pieces:
            weights = [rng.normal(size=5) for _ in piece.batches]
            values = [batch.value(w) for batch, w in zip(piece.batches, weights, strict=True)]
            for batch, w in zip(piece.batches, weights, strict=True):
                batch.gradient(w)  # leaves the linear predictors behind
            np.testing.assert_allclose(piece.losses(weights), values, rtol=1e-12)


def test_a_batch_serves_first_order_optimizers_only():
    batch = epoch_of(Batches(numbered(10), 5), 0)[0]
    assert not batch.whole
    with pytest.raises(DescendError, match="a batch has no Hessian"):
        batch.hessian(np.zeros(1))


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_the_size_must_be_a_whole_number(size):
    with pytest.raises(DescendError, match="`batch_size` must be a whole number of at least 1, got"):
        Batches(numbered(10), size)


def test_moments_alone_have_no_batches():
    x = np.arange(6.0).reshape(3, 2)
    from descend import Block

    made = Quadratic.from_moments(Moments.of(Block(x, x[:, 0])), L2(0.0), True)
    with pytest.raises(DescendError, match="`batch_size` needs an objective over data"):
        Batches(made, 2)


def test_items_ahead_come_in_order_and_errors_come_through():
    with Ahead(iter(range(5))) as items:
        assert list(items) == [0, 1, 2, 3, 4]

    def broken():
        yield 1
        raise OSError("the disk is gone")

    with Ahead(broken()) as items, pytest.raises(OSError, match="the disk is gone"):
        list(items)


@pytest.mark.parametrize("penalty", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_rows_of_weight_zero_are_as_if_they_were_not_there(kind, penalty):
    random = np.random.default_rng(1)
    X, s = random.normal(size=(3_000, 2)), random.integers(0, 3, 3_000).astype(float)
    y = X @ [1.0, 2.0] + random.normal(size=3_000)
    there, as_is = s > 0, np.asarray if kind == "dense" else sparse.csr_array
    how = {"penalty": penalty, "batch_size": 64, "epochs": 2, "optimizer": GradientDescent(0.05)}
    some = fit(as_is(X[there]), y[there], sample_weight=s[there], **how)
    run = fit(as_is(X), y, sample_weight=s, **how)
    np.testing.assert_array_equal(run.history.weights, some.history.weights)
    np.testing.assert_array_equal(run.history.batch_loss, some.history.batch_loss)


def test_a_batch_size_may_be_any_whole_number():
    x, y = make_line(50, seed=0)
    how = {"steps": 4, "optimizer": GradientDescent(0.1)}
    expected = fit(x, y, batch_size=8, seed=3, **how).weights
    for size, seed in ((8.0, 3.0), (np.float64(8), np.int64(3)), (np.uint8(8), np.uint8(3))):
        assert fit(x, y, batch_size=size, seed=seed, **how).weights.tolist() == expected.tolist()


def test_memory_is_lent_again_only_once_no_view_is_left():
    buffers = batches_module.Buffers()
    first = buffers.empty((4, 3))
    views = [first[1:], first.T, first.reshape(-1)[2:5]]
    address = first.ctypes.data
    del first
    while views:
        assert buffers.empty((4, 3)).ctypes.data != address
        views.pop()
    held = [buffers.empty((2, 3)), buffers.empty((12,))]
    assert address in {array.ctypes.data for array in held}
    assert buffers.empty((5, 0)).shape == (5, 0)
