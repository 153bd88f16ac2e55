"""Separated classes beside a linear program: whether weights run to infinity, and along which direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression

from descend import Objective
from descend.engines import blocks
from descend.engines.blocks import Block
from descend.models.separation import Margins, separation

RNG = np.random.default_rng(5)
X = RNG.normal(size=(400, 3))


def found(x, y, loss="logistic", **how):
    return separation(Objective.of(x, np.asarray(y), loss=loss, **how))


def with_ones(x):
    return np.column_stack([x, np.ones(len(x))])


def margins(x, y, w, intercept=True):
    """Row by row: how far the true class is ahead of the best of the others."""
    z = (with_ones(x) if intercept else x) @ w
    if z.ndim == 1:
        z = np.column_stack([-z, z]) / 2
    return np.array([row[k] - max(np.delete(row, k)) for row, k in zip(z, np.asarray(y, int), strict=True)])


def programmed(x, y, intercept=True):
    """By a linear program, Konis (2007): maximise the sum of margins, none negative, in a box."""
    A = (with_ones(x) if intercept else x) * np.where(np.asarray(y) > 0.5, 1.0, -1.0)[:, None]
    best = linprog(-A.sum(axis=0), A_ub=-A, b_ub=np.zeros(len(A)), bounds=(-1, 1))
    if best.fun > -1e-7:
        return None
    gap = linprog(  # the largest least margin
        np.append(np.zeros(A.shape[1]), -1.0),
        A_ub=np.column_stack([-A, np.ones(len(A))]),
        b_ub=np.zeros(len(A)),
        bounds=[(-1, 1)] * A.shape[1] + [(None, None)],
    )
    return "perfect" if gap.fun < -1e-7 else "partial"


@settings(max_examples=60)
@given(
    rows=st.integers(4, 12),
    columns=st.integers(1, 3),
    intercept=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_a_linear_program_says_the_same_of_small_integers(rows, columns, intercept, seed):
    """Of small integers many are tied, on the boundary or repeated in both classes."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (rows, columns)).astype(float)
    y = np.append([0, 1], rng.integers(0, 2, rows - 2))
    answer = found(x, y, intercept=intercept)
    kind = None if answer is None or answer.kind == "near" else answer.kind
    assert kind == programmed(x, y, intercept)
    if kind is not None:
        ahead = margins(x, y, answer.direction, intercept)
        assert ahead.min() >= (0.0 if kind == "perfect" else -1e-6 * ahead.max())
        assert answer.mistakes == 0


@settings(max_examples=100)
@given(data=st.data(), classes=st.integers(2, 4), intercept=st.booleans(), cut=st.integers(1, 11))
def test_margins_are_counted_row_by_row_and_merged_in_parts(data, classes, intercept, cut):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    x = rng.integers(-2, 3, (12, 2)).astype(float)
    y = rng.integers(0, classes, 12).astype(float)
    w = rng.integers(-2, 3, (2 + intercept, classes)).astype(float)
    w = w[:, 1] if classes == 2 else w
    expected = margins(x, y, w, intercept)
    statistic = Margins(intercept)
    parts = [statistic.of(Block(x[at], y[at]), w) for at in (slice(cut), slice(cut, None))]
    counted = [expected.min(), expected.max(), np.count_nonzero(expected <= 0), 12]
    assert statistic.merge(*parts).tolist() == statistic.merge(*parts[::-1]).tolist() == counted


def test_one_level_of_one_class_separates_some_rows():
    """Its weight alone runs away; a single row of the other class there stops it."""
    level = RNG.random(400) < 0.2
    y = np.where(level, 1, RNG.integers(0, 2, 400))
    x = np.column_stack([X, level])
    answer = found(x, y)
    assert answer.kind == "partial"
    w = answer.direction / np.abs(answer.direction).max()
    np.testing.assert_allclose(w, [0, 0, 0, 1, 0], atol=1e-6)
    y[np.flatnonzero(level)[0]] = 0
    assert found(x, y) is None


def test_softmax_separation():
    steps = np.digitize(X[:, 0], [-0.5, 0.5])
    answer = found(X, steps, "cross-entropy")
    assert answer.kind == "perfect"
    assert margins(X, steps, answer.direction).min() > 0
    noisy = np.digitize(X[:, 0] + RNG.normal(size=400), [-0.5, 0.5])
    assert found(X, noisy, "cross-entropy") is None
    # one class of three lies apart, the other two are mixed
    y = np.where(X[:, 0] > 0.5, 2, RNG.integers(0, 2, 400))
    answer = found(X, y, "cross-entropy")
    assert answer.kind == "partial"
    ahead = margins(X, y, answer.direction)
    assert ahead.min() >= -1e-6 * ahead.max()


@pytest.mark.parametrize("swapped", [1, 2, 3, 5, 20])
def test_near_are_up_to_half_a_percent_of_mistakes_of_the_best_weights(swapped):
    x = np.linspace(-1.0, 1.0, 800)[:, None]
    y = (x[:, 0] > 0.0).astype(int)
    y[410 : 410 + swapped] = 0
    answer, best = found(x, y), LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
    mistakes = np.count_nonzero(best.predict(x) != y)
    if mistakes > 4:
        assert answer is None
    else:
        assert (answer.kind, answer.mistakes) == ("near", mistakes)
        assert np.count_nonzero(margins(x, y, answer.direction) <= 0) == mistakes


def test_neither_a_penalty_nor_units_nor_sample_weights_hide_it():
    y = (X[:, 0] > 0.3).astype(int)
    for x in (X, X * [1e6, 1e-6, 1.0], X + 1e3):
        for how in ({"penalty": 10.0}, {"sample_weight": RNG.random(400) + 0.1}):
            answer = found(x, y, **how)
            assert answer.kind == "perfect"
            assert margins(x, y, answer.direction).min() > 0


def test_without_an_intercept_the_boundary_goes_through_zero():
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert found(x, [0, 0, 1, 1]).kind == "perfect"
    assert found(x, [0, 0, 1, 1], intercept=False) is None
    assert found(x - 2.5, [0, 0, 1, 1], intercept=False).kind == "perfect"


@pytest.mark.parametrize(("wrong", "kind"), [(None, "perfect"), (10, "near"), (-10, "near")])
def test_of_many_leaves_the_last_one_counts_too(wrong, kind, monkeypatch):
    """The first four certify no direction of all rows: one row elsewhere may lie on the wrong side."""
    monkeypatch.setattr(blocks, "LEAF_CELLS", 1_024)  # leaves of 1,024 rows
    x = np.random.default_rng(0).normal(size=(6_000, 1))
    y = (x[:, 0] > 0.2).astype(int)
    if wrong is not None:
        x[wrong], y[wrong] = 3.0, 0
    answer = found(x, y)
    assert answer.kind == kind
    assert answer.mistakes == np.count_nonzero(margins(x, y, answer.direction) <= 0)
    assert (answer.mistakes > 0) is (kind == "near")


def test_first_leaves_of_one_class_do_not_mislead(monkeypatch):
    monkeypatch.setattr(blocks, "LEAF_CELLS", 1_024)
    x = np.random.default_rng(0).normal(size=(8_000, 1))
    assert found(x, np.arange(8_000) >= 6_000) is None
    assert found(np.sort(x, axis=0), np.arange(8_000) >= 6_000).kind == "perfect"
