"""The proximal gradient beside scikit-learn's coordinate descent and SAGA, and the conditions of a minimum."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from own_losses import Hinge, SquaredHinge
from own_penalties import GroupLasso, Lasso, PseudoHuber
from scipy.optimize import minimize
from scipy.sparse import csr_array
from sklearn import linear_model
from sklearn.linear_model import LogisticRegression, Ridge

import descend
from descend import L1, L2, ElasticNet, HuberLoss, Objective, Outcome, PoissonLoss, ProximalGradient, Serial
from descend.descent.proximal import face_step

RNG = np.random.default_rng(8)
ROWS, COLUMNS = 200, 12
X = RNG.normal(size=(ROWS, COLUMNS)) * np.logspace(-2, 3, COLUMNS) + np.linspace(0, 1e4, COLUMNS)
UNIT = X / np.logspace(-2, 3, COLUMNS) - np.linspace(0, 1e4, COLUMNS) / np.logspace(-2, 3, COLUMNS)
Z = UNIT @ [3, -2, 0, 0, 1, 0, 0, 0, 0, 0.5, 0, 0]
NUMBER = Z + RNG.normal(size=ROWS) + 5
TWO = (RNG.logistic(size=ROWS) < Z).astype(int)
THREE = np.digitize(Z + RNG.logistic(size=ROWS), [-1.5, 1.5])
COUNTS = RNG.poisson(np.exp(0.2 * Z + 1))
WEIGHT = RNG.integers(0, 4, ROWS).astype(float)
NEAR = UNIT * np.logspace(-1, 1, COLUMNS) + np.linspace(0, 3, COLUMNS)
"""In units that coordinate descent can do with."""
PENALTIES = [L1(0.02), L1(0.3), ElasticNet(0.1, 0.9), ElasticNet(0.3, 0.2)]
TIGHT = {"tolerance": 1e-10}


def left(x, y, w, penalty, loss="squared-error", intercept=True, **more):
    """The shortest subgradient at `w`, each entry beside how steep the loss is there for no weights."""
    objective = Objective.of(x, y, loss=loss, penalty=penalty, intercept=intercept, engine=Serial(), **more)
    steep = Objective.of(x, y, loss=loss, intercept=intercept, engine=Serial(), **more).gradient(0 * w)
    return np.abs(objective.gradient(w)).max() / np.abs(steep).max()


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("standardize", [False, True])
def test_squared_error_is_scikit_learns_with_half_the_alpha(penalty, intercept, weight, standardize):
    run = descend.fit(
        NEAR,
        NUMBER,
        penalty=penalty,
        intercept=intercept,
        sample_weight=weight,
        standardize=standardize,
        **TIGHT,
    )
    how = {"fit_intercept": intercept, "tol": 1e-13, "max_iter": 10**6}
    ratio = getattr(penalty, "l1_ratio", 1.0)
    oracle = linear_model.ElasticNet(penalty.alpha / 2, l1_ratio=ratio, **how).fit(NEAR, NUMBER, weight)
    expected = np.append(oracle.coef_, oracle.intercept_) if intercept else oracle.coef_
    np.testing.assert_allclose(run.weights, expected, rtol=1e-6, atol=1e-9)
    assert (run.weights == 0).tolist() == (expected == 0).tolist()
    assert run.outcome.converged
    assert run.optimizer == ProximalGradient()
    assert len(run.history) < 100


@pytest.mark.parametrize(("y", "loss"), [(TWO, "logistic"), (THREE, "cross-entropy")])
@pytest.mark.parametrize(("strength", "ratio"), [(0.1, 1.0), (0.02, 1.0), (0.2, 0.5)])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_classes_are_scikit_learns_with_one_over_c_and_the_rows(y, loss, strength, ratio, weight):
    rows = ROWS if weight is None else weight.sum()
    run = descend.fit(UNIT, y, loss=loss, penalty=ElasticNet(strength, ratio), sample_weight=weight, **TIGHT)
    oracle = LogisticRegression(
        solver="saga", C=1 / (strength * rows), l1_ratio=ratio, tol=1e-12, max_iter=100_000
    ).fit(UNIT, y, weight)
    W = run.weights.reshape(COLUMNS + 1, -1)
    np.testing.assert_allclose(W[:-1].T, oracle.coef_, atol=1e-6)
    shift = W[-1].mean() - oracle.intercept_.mean() if len(oracle.intercept_) > 1 else 0.0
    np.testing.assert_allclose(W[-1] - shift, oracle.intercept_, atol=1e-6)
    assert run.outcome.converged


LOSSES = {
    "squared-error": NUMBER,
    "logistic": TWO,
    "cross-entropy": THREE,
    PoissonLoss(): COUNTS,
    HuberLoss(0.5): NUMBER,
}


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_every_loss_ends_at_a_minimum(loss, penalty):
    run = descend.fit(X, LOSSES[loss], loss=loss, penalty=penalty)
    assert run.outcome.converged
    assert left(X, LOSSES[loss], run.weights, penalty, loss) < 1e-7
    assert 0 < np.count_nonzero(run.weights == 0) < run.weights.size or penalty.alpha > 0.1


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(4, 60),
    columns=st.integers(1, 40),
    share=st.floats(-3, 0.1),
    ratio=st.sampled_from([1.0, 0.5, 0.05]),
    loss=st.sampled_from(["squared-error", "logistic", "cross-entropy", "poisson", "huber"]),
    intercept=st.booleans(),
    mixed=st.sampled_from([0.0, 0.3, 3.0]),
    twin=st.booleans(),
)
def test_random_problems_end_at_a_minimum(seed, rows, columns, share, ratio, loss, intercept, mixed, twin):
    """More columns than rows, columns that are nearly or quite collinear, units far apart, few and many zeros."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns)) @ (np.eye(columns) + mixed * rng.normal(size=(columns, columns)))
    x = x * 10 ** rng.uniform(-2, 2, columns) + rng.normal(size=columns)
    if twin:
        x[:, -1] = x[:, 0]
    z = ((x - x.mean(0)) / x.std(0))[:, :3] @ rng.normal(size=min(columns, 3))
    y = {
        "squared-error": lambda: 1e3 * (z + rng.normal(size=rows)),
        "logistic": lambda: rng.permutation(rows) % 2,
        "cross-entropy": lambda: rng.permutation(rows) % 3,
        "poisson": lambda: rng.poisson(np.exp(np.clip(z, -4, 4))) + (np.arange(rows) == 0),
        "huber": lambda: z + rng.standard_t(2, rows),
    }[loss]()
    steep = Objective.of(x, y, loss=loss, intercept=intercept, engine=Serial())
    steepest = float(np.abs(steep.gradient(steep.zeros())[:columns]).max())
    assume(steepest > 1e-9)
    penalty = ElasticNet(steepest * 10**share, ratio)
    run = descend.fit(x, y, loss=loss, penalty=penalty, intercept=intercept, engine=Serial())
    assert run.outcome.converged, run
    assert left(x, y, run.weights, penalty, loss, intercept) < 1e-6 + 2e-6 / steepest  # the tolerance


@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_sparse_rows_with_more_columns_than_the_moments_are_for(loss):
    rng = np.random.default_rng(3)
    x = csr_array(np.where(rng.random((150, 3_000)) < 0.05, rng.random((150, 3_000)), 0.0))
    z = x[:, :6] @ np.array([4.0, -4, 4, -4, 4, -4])
    y = (z > 0).astype(int) if loss == "logistic" else z + 1.0
    penalty = L1(2e-2) if loss == "logistic" else L1(4e-3)
    run = descend.fit(x, y, loss=loss, penalty=penalty, **TIGHT)
    assert run.outcome.converged
    if loss == "logistic":
        assert left(x, y, run.weights, penalty, loss) < 1e-6
    else:
        oracle = linear_model.Lasso(penalty.alpha / 2, tol=1e-12, max_iter=10**6).fit(x, y)
        np.testing.assert_allclose(run.weights, [*oracle.coef_, oracle.intercept_], atol=1e-6)
    assert 0 < np.count_nonzero(run.weights) < 150


def test_a_table_is_penalised_in_standardised_coordinates(tmp_path):
    frame = pl.DataFrame({"a": X[:, 0], "b": X[:, 9], "c": X[:, 5], "y": NUMBER})
    frame.write_csv(tmp_path / "rows.csv")
    run = descend.fit(tmp_path / "rows.csv", target="y", penalty=L1(0.4), penalise="standardised", **TIGHT)
    x = frame.select("a", "b", "c").to_numpy()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    oracle = linear_model.Lasso(0.2, tol=1e-14, max_iter=10**6).fit(x, NUMBER)
    np.testing.assert_allclose(run.weights, [*oracle.coef_, oracle.intercept_], rtol=1e-8, atol=1e-10)
    assert run.coefficients["c"] == 0 != run.coefficients["a"]


@pytest.mark.parametrize("penalty", [L2(0.3), L2(0.0), PseudoHuber(0.5), ElasticNet(0.3, 0.0)], ids=repr)
def test_a_smooth_penalty_is_served_too(penalty):
    run = descend.fit(UNIT, NUMBER, penalty=penalty, optimizer="proximal-gradient", **TIGHT)
    ones = np.column_stack([UNIT, np.ones(ROWS)])
    found = minimize(
        lambda w: np.mean((ones @ w - NUMBER) ** 2) + penalty.value(w[:-1]), np.zeros(COLUMNS + 1), tol=1e-10
    )
    np.testing.assert_allclose(run.weights, found.x, atol=1e-5)
    if penalty == L2(0.3):
        oracle = Ridge(0.3 * ROWS / 2).fit(UNIT, NUMBER)
        np.testing.assert_allclose(run.weights, [*oracle.coef_, oracle.intercept_], atol=1e-9)


def shrunk(w, by):
    return np.sign(w) * np.maximum(np.abs(w) - by, 0)


@pytest.mark.parametrize("accelerate", [False, True])
def test_the_steps_are_those_of_the_paper(accelerate):
    """Beck and Teboulle (2009), section 4, until the momentum first points uphill."""
    x, y, rate, alpha = UNIT, NUMBER - NUMBER.mean(), 0.02, 0.3
    optimizer = ProximalGradient(rate, accelerate=accelerate, polish=False)
    run = descend.fit(x, y, intercept=False, penalty=L1(alpha), optimizer=optimizer, steps=12)
    w = last = np.zeros(COLUMNS)
    t = 1.0
    for k in range(12):
        np.testing.assert_allclose(run.history.weights[k], w, rtol=1e-9, atol=1e-12)
        after = (1 + np.sqrt(1 + 4 * t**2)) / 2 if k else 1.0
        ahead = w + (t - 1) / after * (w - last) if accelerate else w
        last, w, t = w, shrunk(ahead - rate * 2 * x.T @ (x @ ahead - y) / ROWS, rate * alpha), after
    assert run.history.loss[12] < run.history.loss[0]


def test_momentum_and_restarts_save_most_of_the_steps():
    rng = np.random.default_rng(2)
    x = (
        rng.normal(size=(300, 30))
        @ np.diag(np.logspace(0, -2, 30))
        @ np.linalg.qr(rng.normal(size=(30, 30)))[0]
    )
    y = x @ rng.normal(size=30) + 0.01 * rng.normal(size=300)
    how = {"intercept": False, "penalty": L1(1e-5), "tolerance": 1e-6}
    counts = {
        accelerate: len(
            descend.fit(x, y, optimizer=ProximalGradient(accelerate=accelerate, polish=False), **how).history
        )
        for accelerate in (True, False)
    }
    assert counts[True] < counts[False] / 5


def test_steps_do_not_depend_on_the_units_of_the_columns():
    how = {"penalty": L1(1e-9)}
    one = descend.fit(UNIT, NUMBER, penalty=L1(1e-9))
    other = descend.fit(X, NUMBER, **how)
    assert abs(len(one.history) - len(other.history)) <= 3
    assert other.loss == pytest.approx(one.loss, rel=1e-6)


def test_a_rate_is_searched_where_the_curvature_has_no_bound():
    counts = RNG.poisson(np.exp(2 * UNIT[:, 0] + 3))
    run = descend.fit(UNIT, counts, loss="poisson", penalty=L1(1.0))
    assert run.outcome.converged
    assert left(UNIT, counts, run.weights, L1(1.0), "poisson") < 1e-8
    assert np.isfinite(run.history.loss).all()


def test_a_rate_that_is_too_high_diverges_and_says_so():
    run = descend.fit(UNIT, NUMBER, penalty=L1(0.1), optimizer=ProximalGradient(10.0), steps=200)
    assert run.outcome is Outcome.DIVERGED
    assert "The learning rate was 10" in run.details
    assert 'leave `learning_rate` (`--learning-rate`) at "auto"' in run.details.lower()
    with pytest.raises(descend.DescendError, match="`learning_rate` must be a number above 0"):
        ProximalGradient(0.0)


def test_short_of_the_minimum_it_says_how_far_it_is_at_most():
    best = descend.fit(UNIT, NUMBER, penalty=L1(0.1)).loss
    run = descend.fit(UNIT, NUMBER, penalty=L1(0.1), steps=3)
    assert run.outcome is Outcome.STEP_LIMIT
    assert run.details.startswith("The loss is at most ")
    share = float(run.details.split()[5]) / 100
    assert run.loss * (1 - 1e-9) <= best * (1 + share)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_numbers_of_any_size_end_in_their_last_digits(scale):
    run = descend.fit(UNIT, scale * NUMBER, penalty=L1(0.3 * scale))
    one = descend.fit(UNIT, NUMBER, penalty=L1(0.3), **TIGHT)
    assert run.outcome.converged
    np.testing.assert_allclose(
        run.weights / scale, one.weights, rtol=1e-3 if scale < 1 else 1e-9, atol=1e-3 if scale < 1 else 1e-9
    )


def test_the_tolerance_of_a_user_is_taken_at_its_word():
    run = descend.fit(UNIT, NUMBER, penalty=L1(0.3), tolerance=0.5)
    assert run.outcome is Outcome.CONVERGED
    assert 1e-3 < run.history.gradient_norm[-1] <= 0.5


@pytest.mark.parametrize("loss", ["squared-error", "logistic", "poisson"])
def test_a_walk_goes_on_from_a_step_that_was_pickled(loss):
    y = {"squared-error": NUMBER, "logistic": TWO, "poisson": COUNTS}[loss]

    def walk(**how):
        objective = Objective.of(X, y, loss=loss, penalty=L1(0.01), engine=Serial())
        return list(descend.steps(objective, ProximalGradient(), **how))

    whole = walk()
    for k in (0, 3, len(whole) // 2):
        rest = walk(resume=pickle.loads(pickle.dumps(whole[k])))
        assert [s.weights.tobytes() for s in rest] == [s.weights.tobytes() for s in whole[k + 1 :]]
        assert rest[-1].outcome is whole[-1].outcome


# Penalties of one's own


@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_a_penalty_of_ones_own_is_served_by_its_prox_alone(loss):
    y = NUMBER if loss == "squared-error" else TWO
    run, known = (
        descend.fit(UNIT, y, loss=loss, penalty=penalty, **TIGHT) for penalty in (Lasso(0.3), L1(0.3))
    )
    np.testing.assert_allclose(run.weights, known.weights, atol=1e-8)
    assert (run.weights == 0).tolist() == (known.weights == 0).tolist()
    assert run.optimizer == ProximalGradient()
    assert run.outcome.converged
    assert run.model.facts["penalty"] == {"name": "lasso", "alpha": 0.3}
    assert run.model.sparsity == known.model.sparsity


def test_groups_of_weights_leave_together():
    penalty = GroupLasso(1.2, ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)))
    run = descend.fit(UNIT, NUMBER, penalty=penalty)
    w = run.weights
    assert run.outcome.converged
    assert [bool((w[list(g)] == 0).all()) for g in penalty.groups] == [False, False, True, True]
    g = 2 * UNIT.T @ (UNIT @ w[:-1] + w[-1] - NUMBER) / ROWS
    for group in map(list, penalty.groups):
        length = np.linalg.norm(w[group])
        if length:
            np.testing.assert_allclose(g[group], -1.2 * w[group] / length, atol=1e-5)
        else:
            assert np.linalg.norm(g[group]) <= 1.2


def test_what_is_not_separable_keeps_the_units_of_the_data():
    penalty = GroupLasso(0.8, ((0, 1), (2, 3)))
    with pytest.raises(
        descend.DescendError, match=r"`penalty` group-lasso does not say that it is `separable`"
    ):
        descend.fit(UNIT[:, :4], NUMBER, penalty=penalty, standardize=True)


# Newton's step on the weights that are not zero


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 8), rank=st.integers(1, 8))
def test_a_face_step_never_climbs_and_ends_where_no_sign_calls_for_more(seed, size, rank):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(min(rank, size), size)) * 10.0 ** rng.uniform(-1, 1, size)
    H, v, kink = A.T @ A, rng.normal(size=size), rng.uniform(0.1, 2, size) * (rng.random(size) < 0.8)
    c = rng.normal(size=size)

    def value(u):
        return c @ u + 0.5 * u @ H @ u + kink @ np.abs(u)

    assume(rank >= size or (kink > 0).all())  # else it has no minimum
    c = c if rank >= size else -H @ rng.normal(size=size)
    d = face_step(H, c + H @ v + kink * np.sign(v), v, kink)
    u = v + d
    assert value(u) <= value(v) + 1e-9 * (1 + abs(value(v)))
    live = u != 0
    slope = (c + H @ u + kink * np.sign(u))[live]
    assert np.abs(slope).max(initial=0) <= 1e-6 * (1 + np.abs(c).max())


def test_groups_of_unlike_sizes_are_kept_in_a_model_file(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    run = descend.fit(x, x[:, 3] + rng.normal(size=60), penalty=GroupLasso(0.1, ((0, 1, 2), (3,))))
    assert run.outcome.converged
    run.save(tmp_path / "m.json")
    kept = descend.load(tmp_path / "m.json").facts["penalty"]
    assert kept["groups"] == [[0, 1, 2], [3]]


def test_a_rate_is_never_cut_to_zero():
    """Of the hinge loss no rate lowers the loss where a row sits on its kink."""
    x, y = [[-1.0], [1.0], [0.3]], [0, 1, 0]
    run = descend.fit(x, y, loss=Hinge(), penalty=0.01, optimizer="proximal-gradient", steps=300)
    assert np.isfinite(run.weights).all()
    assert run.loss < 0.5


@pytest.mark.parametrize("loss", [SquaredHinge(), Hinge()])
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "proximal-gradient", "gradient-descent"])
def test_a_loss_of_zero_is_the_end(optimizer, loss):
    x, y = [[-3.0], [-2.0], [2.0], [3.0]], [0, 0, 1, 1]
    run = descend.fit(x, y, loss=loss, penalty=0.0, optimizer=optimizer)
    assert run.outcome is Outcome.CONVERGED
    assert run.loss == 0.0
