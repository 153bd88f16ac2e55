"""Separated classes beside a linear program: whether weights run to infinity, and along which direction."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression

import descend
from descend import DescendError, DescendWarning, Objective, Outcome
from descend.engines import blocks
from descend.engines.blocks import Block
from descend.models.separation import separation
from descend.objectives.losses import CrossEntropy, LogisticLoss
from descend.objectives.statistics import Margins

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
    statistic = Margins(LogisticLoss() if w.ndim == 1 else CrossEntropy(), intercept)
    parts = [statistic.of(Block(x[at], y[at]), w) for at in (slice(cut), slice(cut, None))]
    z = (with_ones(x) if intercept else x) @ w
    largest = expected.max()
    if z.ndim == 2:
        largest = max((row[k] - np.delete(row, k)).max() for row, k in zip(z, y.astype(int), strict=True))
    counted = [expected.min(), largest, np.count_nonzero(expected <= 0), 12]
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


def with_a_level(rows, columns, outputs, seed):
    """Small rows of numbers, half of them with the dummies of a level that has no event, and the truth of two programs."""
    rng = np.random.default_rng(seed)
    x, g = rng.normal(size=(rows, columns)), rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
    g[:4] = range(4)
    score = x @ rng.normal(size=columns) * rng.choice([0.5, 1, 3])
    if outputs == 1:
        y = (score + rng.logistic(size=rows) * rng.choice([0.1, 1, 1]) > 0).astype(int)
    else:
        y = np.argmax(np.column_stack([0 * score, score, -score]) + rng.gumbel(size=(rows, 3)), axis=1)
    if seed % 2:
        x = np.column_stack([x, g[:, None] == [1, 2, 3]])
        level = g == rng.integers(0, 4)
        y = np.where(level, 0, y) if outputs == 1 else np.where(level & (y == 1), 0, y)
    y[-max(outputs, 2) :] = range(max(outputs, 2))
    return x, y


def pairs(x, y, outputs):
    """The vectors `a` that have `a'd >= 0` for every direction `d` that separates, raveled, one a row and other class."""
    A = with_ones(x)
    if outputs == 1:
        return A * np.where(y > 0.5, 1.0, -1.0)[:, None]
    found = np.zeros((len(x), outputs, A.shape[1], outputs))
    for i, k in np.ndindex(len(x), outputs):
        found[i, k, :, y[i]] += A[i]
        found[i, k, :, k] -= A[i]
    return found.reshape(-1, A.shape[1] * outputs)[
        np.arange(len(x) * outputs) % outputs != np.repeat(y, outputs)
    ]


def apart(P):
    """What a linear program says, and the pairs that no direction tells apart."""
    m = P.shape[1]
    if linprog(-P.sum(axis=0), A_ub=-P, b_ub=np.zeros(len(P)), bounds=(-1, 1)).fun > -1e-7:
        return None, np.ones(len(P), dtype=bool)
    gap = linprog(
        np.append(np.zeros(m), -1.0),
        A_ub=np.column_stack([-P, np.ones(len(P))]),
        b_ub=np.zeros(len(P)),
        bounds=[(-1, 1)] * m + [(None, None)],
    )
    ahead = [linprog(-a, A_ub=-P, b_ub=np.zeros(len(P)), bounds=(-1, 1)).fun < -1e-6 for a in P]
    return "perfect" if gap.fun < -1e-7 else "partial", ~np.array(ahead)


def limits(x, y):
    """Newton's weights of rows that are not told apart, and which of them these rows decide."""
    A, w = with_ones(x), np.zeros(x.shape[1] + 1)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-(A @ w)))
        w -= np.linalg.pinv((A.T * (p * (1.0 - p))) @ A, rcond=1e-11, hermitian=True) @ (A.T @ (p - y))
    flat = np.linalg.svd(A)[2][np.linalg.matrix_rank(A) :]
    return w, np.abs(flat).max(axis=0, initial=0.0) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("way", ["newton", "lbfgs", "standardised", "tolerance"])
def test_a_fit_says_what_a_linear_program_says_and_has_the_limits_of_the_others(way, outputs):
    how = {"standardised": {"standardize": True}, "tolerance": {"tolerance": 1e-5}}.get(
        way, {"optimizer": way}
    )
    kinds = []
    for seed in range(24):
        x, y = with_a_level(20 + 2 * seed, 2, outputs, seed)
        kind, tied = apart(pairs(x, y, outputs))
        with warnings.catch_warnings():
            warnings.simplefilter("error" if kind is None else "ignore", DescendWarning)
            run = descend.fit(x, y, loss="logistic" if outputs == 1 else "cross-entropy", **how)
        told = run.model.facts.get("separation", {"kind": None})
        assert (told["kind"], run.outcome is Outcome.SEPARATED) == (kind, kind is not None), (
            seed,
            run.message,
        )
        kinds.append(kind)
        if kind == "partial":
            assert set(told["names"]) <= set(told["endless"])
            assert "penalty=0.01" in run.details
        if kind == "partial" and outputs == 1:
            expected, decided = limits(x[tied], y[tied])
            names = np.array([*(f"x{i}" for i in range(x.shape[1])), "(intercept)"])
            assert set(told["endless"]) == set(names[~decided])
            np.testing.assert_allclose(run.weights[decided], expected[decided], rtol=1e-7)
    assert {None, "partial"} <= set(kinds)


def programmed_counts(x, y):
    """By a linear program: zeros may only move down, and no other count moves."""
    A, some = with_ones(x), y > 0
    best = linprog(
        A[~some].sum(axis=0), A_ub=A[~some], b_ub=np.zeros((~some).sum()), A_eq=A[some] if some.any() else None,
        b_eq=np.zeros(some.sum()) if some.any() else None, bounds=(-1, 1),
    )  # fmt: skip
    return best.fun < -1e-7


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
def test_a_linear_program_says_the_same_of_counts(optimizer):
    answers = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(8, 40))
        x = np.column_stack([rng.integers(-1, 2, (rows, 2)), rng.random(rows) < 0.2]).astype(float)
        y = rng.poisson(np.exp(0.4 * x[:, 0] - 0.8)).astype(float)
        y[0] = 1.0
        expected = programmed_counts(x, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if expected else "error", DescendWarning)
            run = descend.fit(x, y, loss="poisson", optimizer=optimizer)
        assert (run.outcome is Outcome.SEPARATED) is expected, (seed, run.message)
        assert bool(run.model.facts.get("separation")) is expected
        answers.append(expected)
    assert 10 < sum(answers) < 50


@pytest.mark.filterwarnings("ignore:the zeros are separated")
@pytest.mark.parametrize("table", [False, True])
def test_a_level_without_counts_is_named_and_the_rest_is_that_of_the_other_rows(table):
    level = LEVELS == "c"
    exposure = 1.0 + np.arange(300) % 3
    y = np.random.default_rng(6).poisson(exposure * np.exp(0.05 * NUMBERS - 1.0)).astype(float)
    y[level] = 0.0
    dummies = np.column_stack([name == LEVELS for name in "bcd"]).astype(float)
    if table:
        frame = {"x": NUMBERS, "g": LEVELS, "log": np.log(exposure), "y": y}
        run = descend.fit(frame, target="y", loss="poisson", columns=descend.Columns(offset="log"))
        names = ["x", "g=b", "g=d", "(intercept)"]
        assert run.model.facts["separation"]["names"] == ["g=c"]
        assert "merge the level" in run.message
        assert "the zeros can be told apart" in " ".join(str(descend.diagnose(run)).split())
    else:
        run = descend.fit(
            np.column_stack([NUMBERS, dummies]), y, loss="poisson", offset=np.log(exposure), standardize=True
        )
        names = ["x0", "x1", "x3", "(intercept)"]
        assert run.model.facts["separation"]["names"] == ["x2"]
    assert run.outcome is Outcome.SEPARATED
    assert "that they are zeros" in run.message
    A = np.column_stack([NUMBERS, dummies[:, [0, 2]], np.ones(300)])[~level]
    right = sm.GLM(y[~level], A, family=sm.families.Poisson(), offset=np.log(exposure)[~level]).fit(tol=1e-14)
    np.testing.assert_allclose([run.coefficients[name] for name in names], right.params, rtol=1e-7)
    np.testing.assert_allclose([run.standard_errors[name] for name in names], right.bse, rtol=1e-6)
    assert run.loss * 300 == pytest.approx(
        float(right.family.deviance(y[~level], right.mu) / 2 + best_of(y)), rel=1e-9
    )


@pytest.mark.filterwarnings("ignore:the classes are separated")
def test_the_others_come_to_their_limits_though_they_take_separated_rows_along():
    rng = np.random.default_rng(0)
    level = np.r_[np.ones(4), np.zeros(36)]
    noise = rng.normal(size=40)
    y = np.where(level == 1, 0.0, rng.uniform(size=40) < 0.5)
    right = sm.Logit(y[4:], np.column_stack([noise, np.ones(40)])[4:]).fit(disp=0, tol=1e-14)
    for optimizer in ("gradient-descent", "newton", "lbfgs"):
        x = np.column_stack([level, level + 1e-5 * noise])
        run = descend.fit(x, y, loss="logistic", optimizer=optimizer, standardize=True)
        assert run.outcome is Outcome.SEPARATED
        assert run.model.facts["separation"]["names"] == ["x0"]
        np.testing.assert_allclose([1e-5 * run.weights[1], run.weights[2]], right.params, rtol=1e-6)
        errors = run.standard_errors
        np.testing.assert_allclose([1e-5 * errors["x1"], errors["(intercept)"]], right.bse, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:the classes are separated")
@pytest.mark.parametrize("noise", [1e-6, 1e-7, 1e-8])
def test_large_weights_of_a_near_copy_hide_no_separation(noise):
    """A step that moves a row by 1 is then next to nothing in each weight."""
    for seed in range(5, 35):
        rng = np.random.default_rng(seed)
        level, other = (rng.uniform(size=30) < 0.12) * 1.0, rng.normal(size=30)
        y = np.where(level == 1, 0.0, (rng.uniform(size=30) < 0.4))
        s = rng.exponential(size=30) * 10.0 ** rng.uniform(0, 3, 30)
        if level.any():
            x = np.column_stack([rng.normal(size=30), level, level + noise * other])
            run = descend.fit(x, y, loss="logistic", sample_weight=s)
            assert run.outcome is Outcome.SEPARATED, seed


@pytest.mark.filterwarnings("ignore:the (classes|zeros) are separated")
@pytest.mark.parametrize("loss", ["logistic", "poisson"])
@pytest.mark.parametrize("kind", [None, "hc0", "cluster"])
def test_a_weight_without_limit_has_no_error_of_any_kind_and_no_test(loss, kind):
    rng = np.random.default_rng(0)
    rest, firm = LEVELS != "d", np.arange(300) % 20
    y = MIXED if loss == "logistic" else rng.poisson(2, 300)
    y = np.where(rest, y, 1 if loss == "logistic" else 0).astype(float)
    table = {"x": NUMBERS, "g": LEVELS, "firm": firm, "y": y}
    columns = descend.Columns(features=["x", "g"], cluster="firm" if kind == "cluster" else None)
    run = descend.fit(
        table, target="y", loss=loss, penalty=0, columns=columns, errors=kind if kind == "hc0" else None
    )
    A = np.column_stack([NUMBERS, LEVELS == "b", LEVELS == "c", np.ones(300)]).astype(float)[rest]
    family = sm.families.Binomial() if loss == "logistic" else sm.families.Poisson()
    how = {"cluster": {"cov_kwds": {"groups": firm[rest]}}}.get(kind, {})
    right = sm.GLM(y[rest], A, family=family).fit(tol=1e-14, cov_type=kind or "nonrobust", **how)
    n, m, k = 300, rest.sum(), 4
    factor = np.sqrt((n - 1) / (n - 5) * (m - k) / (m - 1)) if kind == "cluster" else 1.0
    names = ["x", "g=b", "g=c", "(intercept)"]
    found = np.array([run.standard_errors[name] for name in names])
    np.testing.assert_allclose(found, right.bse * factor, rtol=1e-6)
    assert np.isnan(run.standard_errors["g=d"])
    assert "no limit" in str(run.summary())
    for hypothesis in ("g=d", "g"):
        with pytest.raises(DescendError, match="a weight in it has no limit"):
            run.test(hypothesis)
    assert run.test("g=b = g=c").p_value > 0
    interval = run.predict_interval(table)
    assert np.isnan(interval[~rest]).all()
    assert np.isfinite(interval[rest]).all()


@pytest.mark.parametrize("penalty", [0.0, 0.1, descend.L1(0.1)])
def test_where_rows_of_a_class_are_not_there_no_penalty_helps(penalty):
    """The intercept is not penalised, and runs to infinity."""
    x = np.random.default_rng(0).normal(size=(21, 2))
    none = np.array([1.0, 1.0, 0.0] * 7)
    for loss, y, s, said in (
        ("poisson", np.zeros(21), None, "All rows are zeros"),
        ("logistic", 1 - none, none, "All rows are of one class"),
        ("cross-entropy", np.array([0, 1, 2] * 7), none, "A class has no row that counts"),
    ):
        with pytest.warns(DescendWarning, match=said) as told:
            run = descend.fit(x, y, loss=loss, sample_weight=s, penalty=penalty)
        assert run.outcome is Outcome.SEPARATED
        assert said in run.message
        assert "penalty" not in run.message + str(told[0].message)
        assert said in str(run.summary())
    with pytest.warns(DescendWarning, match="All rows are zeros"):
        table = descend.fit({"x": x[:, 0], "c": np.zeros(21)}, target="c", loss="poisson", penalty=penalty)
    assert table.outcome is Outcome.SEPARATED


@pytest.mark.filterwarnings("ignore:the classes are separated")
@pytest.mark.parametrize("optimizer", ["auto", "lbfgs"])
def test_offsets_hide_no_separation(optimizer):
    """Beside a far offset Newton's first step leaves for where no row has a curvature."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        level, other, off = np.zeros(60), rng.normal(size=60), 5 * rng.normal(size=60)
        level[7] = 1.0
        y = (other + off + rng.logistic(size=60) > 0).astype(float)
        y[7] = 1.0
        x = np.column_stack([level + 1.0, other])
        run = descend.fit(x, y, loss="logistic", offset=off, optimizer=optimizer)
        assert run.outcome is Outcome.SEPARATED, seed
        rest, A = level == 0, np.column_stack([np.ones(60), other])
        right = sm.GLM(y[rest], A[rest], family=sm.families.Binomial(), offset=off[rest]).fit(tol=1e-14)
        found = [run.weights[0] + run.weights[2], run.weights[1]]
        np.testing.assert_allclose(found, right.params, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:A class has no row that counts")
def test_a_class_whose_rows_weigh_nothing_is_told():
    x, y = np.random.default_rng(0).normal(size=(9, 1)), [0, 1, 2, 0, 1, 0, 1, 0, 1]
    run = descend.fit(x, y, loss="cross-entropy", sample_weight=[1, 1, 0, 1, 1, 1, 1, 1, 1])
    assert "A class has no row that counts" in run.message


def best_of(y):
    """The least Poisson loss that the rows allow, each by itself."""
    y = y[y > 0]
    return float((y - y * np.log(y)).sum())


LEVELS = np.random.default_rng(3).choice(list("abcd"), 300, p=[0.4, 0.3, 0.2, 0.1])
NUMBERS = 20.0 + 5.0 * np.random.default_rng(4).normal(size=300)
MIXED = (0.2 * (NUMBERS - 20.0) + np.random.default_rng(5).logistic(size=300) > 0).astype(int)


@pytest.mark.filterwarnings("ignore:the classes are separated")
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
@pytest.mark.parametrize(("level", "answer"), [("d", 0), ("d", 1), ("a", 1)])
def test_a_level_without_events_is_named_and_the_rest_is_that_of_the_other_rows(level, answer, optimizer):
    """Level a has no column of its own: then all the others run away, and it is named all the same."""
    y = np.where(level == LEVELS, answer, MIXED)
    run = descend.fit({"x": NUMBERS, "g": LEVELS, "y": y}, target="y", penalty=0, optimizer=optimizer)
    assert run.outcome is Outcome.SEPARATED
    assert run.model.facts["separation"]["names"] == [f"g={level}"]
    assert f"`g={level}`" in run.message
    assert "merge the level" in run.message
    rest = level != LEVELS
    others = [name for name in "abcd" if name != level]
    dummies = [(name == LEVELS)[rest].astype(float) for name in others]
    right = sm.Logit(y[rest], np.column_stack([NUMBERS[rest], *dummies])).fit(disp=0, tol=1e-14).params
    told = run.coefficients | {"g=a": 0.0}
    found = [told[f"g={name}"] + told["(intercept)"] for name in others]
    np.testing.assert_allclose([told["x"], *found], right, rtol=1e-7)
    assert "run to infinity" in str(run.summary())


@pytest.mark.filterwarnings("ignore:the classes are separated")
def test_a_class_that_a_level_never_has_separates_in_part():
    y = np.digitize(NUMBERS + np.random.default_rng(6).logistic(size=300, scale=3), [17, 22])
    y = np.where((LEVELS == "d") & (y == 2), 0, y)
    run = descend.fit({"x": NUMBERS, "g": LEVELS, "y": y.astype(str)}, target="y", penalty=0)
    assert run.outcome is Outcome.SEPARATED
    assert run.model.facts["separation"]["names"] == ["g=d"]
    assert run.model.facts["separation"]["endless"] == ["g=d"]


@pytest.mark.filterwarnings("ignore:the classes are separated")
def test_columns_that_tell_all_rows_apart_are_named_and_nothing_converges():
    y = (NUMBERS > 20).astype(int)
    table = {"x": NUMBERS, "g": LEVELS, "y": y}
    for run in (
        descend.fit(table, target="y", penalty=0),
        descend.LinearClassifier(alpha=0).fit(np.column_stack([NUMBERS, MIXED]), y).run_,
        descend.fit(NUMBERS[:, None], y, loss="logistic", optimizer="gradient-descent", standardize=True),
    ):
        assert run.outcome is Outcome.SEPARATED
        assert not run.outcome.converged
        assert len(run.model.facts["separation"]["names"]) == 1
        assert "tells the classes apart without a mistake" in run.message
    limited = descend.fit(NUMBERS[:, None], y, loss="logistic", steps=3)
    assert limited.outcome is Outcome.STEP_LIMIT
    assert descend.fit(table, target="y", penalty=0.01).outcome.converged


def test_rows_of_weight_zero_separate_nothing_and_hide_no_separation():
    y, weight = (X[:, 0] > 0).astype(float), np.ones(400)
    y[:3], weight[:3] = 1 - y[:3], 0.0
    assert found(X, y, sample_weight=weight).kind == "perfect"
    assert found(X, y) is None or found(X, y).kind == "near"


def test_rows_far_from_others_make_no_separation():
    """Next to their margins those of all others are nothing, but they are on the wrong side."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(100, 2))
    y = (x[:, 0] + rng.logistic(size=100) > 0).astype(float)
    x[0], y[0] = [1e9, 0.0], 1.0
    assert found(x, y) is None
    run = descend.fit(x, y, loss="logistic")
    assert run.outcome is not Outcome.SEPARATED


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e9])
def test_the_weights_at_their_limits_have_the_errors_of_the_rows_that_stay(unit):
    """As statsmodels has them without the rows of the level that has no events."""
    rng = np.random.default_rng(0)
    x, level = rng.normal(size=(200, 2)), rng.choice(["a", "b", "c"], 200)
    y = (x @ [1, -1] + rng.logistic(size=200) > 0).astype(int)
    y[level == "c"] = 0
    stay = level != "c"
    oracle = sm.Logit(y[stay], np.column_stack([x, level == "b", np.ones(200)])[stay]).fit(disp=0, tol=1e-13)
    table = {"u": x[:, 0] * unit, "v": x[:, 1], "g": level, "y": y}
    columns = np.column_stack([x[:, 0] * unit, x[:, 1], level == "b", (level == "c") * unit])
    for data, how in (((table,), {"target": "y", "penalty": 0}), ((columns, y), {"loss": "logistic"})):
        with pytest.warns(DescendWarning, match="separated"):
            run = descend.fit(*data, **how)
        summary = run.summary()
        *rest, runs, last = summary.estimates
        assert runs.endless
        assert "no limit" in str(summary)
        found = [e.standard_error for e in (*rest, last)]
        np.testing.assert_allclose(found * np.array([unit, 1, 1, 1]), oracle.bse, rtol=1e-6)
        assert summary.to_dict()["estimates"][3]["standard_error"] is None
