"""Learning in instalments: all rows at once by NumPy's least squares, and loops over chunks written out."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import descend
from descend import L2, Adam, DescendError, GradientDescent, InverseTime, Newton
from descend.engines.moments import Moments
from descend.objectives.losses import LOSSES
from descend.objectives.objective import MOMENTS_COLUMNS
from descend.objectives.quadratic import Quadratic
from descend.runs.incremental import CHUNK_BATCH, Passes, Sums, instalments

RNG = np.random.default_rng(6)
X = RNG.normal([0.0, 20.0, -3.0], [1.0, 5.0, 0.1], size=(120, 3))
Y = X @ [1.0, -0.2, 4.0] + 7 + RNG.normal(size=120)
LABELS = (np.median(Y) < Y).astype(float)
S = RNG.integers(1, 4, 120).astype(float)
LOGISTIC, NONE = LOSSES["logistic"], L2(0.0)


def ones(x, intercept=True):
    return np.column_stack([x, np.ones(len(x))]) if intercept else x


def ridge(x, y, s, alpha, intercept):
    """The minimum of the mean squared error plus `alpha / 2 |w|^2`, the intercept left alone."""
    Z, own = ones(x, intercept), np.ones(x.shape[1] + intercept)
    own[x.shape[1] :] = 0.0
    return np.linalg.solve(2 * (Z.T * s) @ Z / s.sum() + alpha * np.diag(own), 2 * (Z.T * s) @ y / s.sum())


@settings(max_examples=40)
@given(
    cuts=st.sets(st.integers(1, 119), max_size=6),
    intercept=st.booleans(),
    weighted=st.booleans(),
    alpha=st.sampled_from([0.0, 0.1, 10.0]),
)
def test_sums_are_the_minimum_of_all_rows_so_far_however_they_were_cut(cuts, intercept, weighted, alpha):
    sums, s = Sums(intercept), S if weighted else np.ones(120)
    edges = [0, *sorted(cuts), 120]
    for number, (a, b) in enumerate(itertools.pairwise(edges)):
        w, loss = sums.take(X[a:b], Y[a:b], s[a:b] if weighted else None, L2(alpha))
        assert (sums.number, sums.weight) == (number + 1, pytest.approx(s[:b].sum()))
    np.testing.assert_allclose(w, ridge(X, Y, s, alpha, intercept), rtol=1e-7, atol=1e-9)
    errors = ones(X, intercept) @ w - Y
    expected = np.average(errors**2, weights=s) + alpha / 2 * (w[:3] ** 2).sum()
    assert loss == pytest.approx(expected, rel=1e-9)


def test_nothing_weighs_nothing():
    assert Sums(True).weight == Passes(LOGISTIC, True, Adam()).weight == 0.0


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_of_collinear_columns_the_weights_of_minimum_norm_are_numpys(intercept, rows):
    """Columns in very different units, one of them a copy; few rows too."""
    x = np.column_stack([X, X[:, 1], 1e3 * RNG.normal(size=120)])[:rows]
    y = Y[:rows]
    w, _ = Sums(intercept).take(x, y, None, NONE)
    means = x.mean(axis=0) if intercept else np.zeros(5)
    v = np.linalg.lstsq(x - means, y - y.mean() * intercept, rcond=1e-12)[0]
    np.testing.assert_allclose(w[:5], v, rtol=1e-6, atol=1e-9 * np.abs(v).max())
    np.testing.assert_allclose(
        ones(x, intercept) @ w, ones(x, intercept) @ np.append(v, y.mean() - means @ v)[: len(w)], rtol=1e-7
    )


def test_what_is_penalised_or_has_one_solution_is_left_as_it_is():
    moments = descend.fit(X, Y).problem.objective.moments
    for penalty in (NONE, L2(0.1)):
        w = RNG.normal(size=4)
        assert Quadratic.from_moments(moments, penalty, True).of_minimum_norm(w) is w
    twice = descend.fit(X[:, [0, 0]], Y).problem.objective.moments
    assert Quadratic.from_moments(twice, L2(0.1), True).of_minimum_norm(w[:3]).tolist() == w[:3].tolist()


@pytest.mark.parametrize(
    ("loss", "columns", "kind"),
    [
        ("squared-error", MOMENTS_COLUMNS, Sums),
        ("squared-error", MOMENTS_COLUMNS + 1, Passes),
        ("logistic", 1, Passes),
    ],
)
def test_moments_are_kept_where_they_are_enough(loss, columns, kind):
    assert type(instalments(LOSSES[loss], True, columns, optimizer=Adam())) is kind


def by_hand(chunks, rate, centre, scale):
    """Gradient descent on the logistic loss, one step per chunk, in the coordinates `(x - centre) / scale`."""
    w = np.zeros(4)
    for t, rows in enumerate(chunks):
        U = ones((X[rows] - centre) / scale)
        p = 1 / (1 + np.exp(-(U @ w)))
        w = w - rate / (1 + 0.5 * t) * U.T @ (p - LABELS[rows]) / len(rows)
    return np.append(w[:-1] / scale, w[-1] - (w[:-1] / scale) @ centre)


@pytest.mark.parametrize("standardize", [False, True])
def test_passes_go_on_with_their_schedule_in_the_coordinates_of_the_first_chunk(standardize):
    chunks = np.array_split(RNG.permutation(120), 6)
    rate, first = (0.5, X[chunks[0]]) if standardize else (1e-3, None)
    optimizer = GradientDescent(InverseTime(rate, decay=0.5))
    passes = Passes(LOGISTIC, True, optimizer, batch_size=10_000, standardize=standardize)
    for rows in chunks:
        w, loss = passes.take(X[rows], LABELS[rows], None, NONE)
    frozen = (first.mean(axis=0), first.std(axis=0)) if standardize else (np.zeros(3), np.ones(3))
    np.testing.assert_allclose(w, by_hand(chunks, rate, *frozen), rtol=1e-8)
    z = ones(X[rows]) @ w
    assert loss == pytest.approx(np.mean(np.logaddexp(0, z) - LABELS[rows] * z), rel=1e-12)
    assert (passes.number, passes.weight) == (6, 120.0)


@pytest.mark.parametrize(
    ("batch_size", "steps"), [(50, 3), (120, 1), (1, 120), (None, -(-120 // CHUNK_BATCH))]
)
def test_a_pass_has_as_many_steps_as_batches(batch_size, steps):
    passes = Passes(LOGISTIC, True, Adam(), batch_size=batch_size)
    for chunk in (1, 2):
        passes.take(X, LABELS, None, NONE)
        assert (passes.number, passes.epoch) == (chunk * steps, chunk)


def test_an_optimizer_of_second_order_makes_one_step_a_chunk():
    passes = Passes(LOGISTIC, True, Newton(), standardize=False)
    w, _ = passes.take(X, LABELS, None, L2(0.1))
    H = ones(X).T @ ones(X) / 4 / 120 + 0.1 * np.diag([1, 1, 1, 0])
    np.testing.assert_allclose(w, np.linalg.solve(H, ones(X).T @ (LABELS - 0.5) / 120), rtol=1e-8)
    assert (passes.number, passes.epoch) == (1, 0)


@pytest.mark.parametrize("standardize", [False, True])
def test_the_first_chunk_begins_at_the_start_and_later_ones_where_the_last_ended(standardize):
    start, tiny = np.array([0.5, -0.1, 0.2, 3.0]), GradientDescent(1e-12)
    passes = Passes(LOGISTIC, True, tiny, standardize=standardize)
    for later in (start, np.zeros(4), None):
        w, _ = passes.take(X, LABELS, None, NONE, later)
        np.testing.assert_allclose(w, start, atol=1e-8)
    with pytest.raises(DescendError, match=r"\(3,\)"):
        Passes(LOGISTIC, True, tiny).take(X, LABELS, None, NONE, start[:3])


@pytest.mark.parametrize("batch_size", [None, 16])
def test_a_pickle_goes_on_to_the_same_bits(batch_size):
    one = Passes(LOGISTIC, True, Adam(0.1), batch_size=batch_size, seed=3)
    one.take(X[:70], LABELS[:70], None, NONE)
    other = pickle.loads(pickle.dumps(one))
    (w, loss), (v, again) = (each.take(X[70:], LABELS[70:], S[70:], NONE) for each in (one, other))
    assert (w.tolist(), loss) == (v.tolist(), again)


@pytest.mark.parametrize(
    "make", [lambda: Sums(True), lambda: Passes(LOGISTIC, True, GradientDescent(1e-3), standardize=False)]
)
def test_sparse_rows_are_dense_ones(make):
    x, dense, sparse = np.where(np.abs(X) < 1, 0.0, X), make(), make()
    for rows in (slice(0, 60), slice(60, 120)):
        (w, loss), (v, other) = (
            each.take(kind(x[rows]), LABELS[rows], S[rows], L2(0.1))
            for each, kind in ((dense, np.asarray), (sparse, csr_array))
        )
    np.testing.assert_allclose(v, w, rtol=1e-9)
    assert other == pytest.approx(loss, rel=1e-9)
    assert dense.weight == sparse.weight == S.sum()


def test_moments_of_chunks_are_those_of_all_rows():
    sums = Sums(True)
    for rows in np.array_split(RNG.permutation(120), 7):
        sums.take(X[rows], Y[rows], S[rows], NONE)
    again = pickle.loads(pickle.dumps(sums))
    again.take(X[:1], Y[:1], S[:1], NONE)
    assert again.weight == S.sum() + S[0]
    assert isinstance(sums.moments, Moments)
    np.testing.assert_allclose(
        sums.moments.mean, np.average(np.column_stack([X, Y]), axis=0, weights=S), rtol=1e-12
    )
