"""Newton and the exact minimum beside scikit-learn, statsmodels and NumPy's least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

import descend
from descend import L2, LBFGS, Adam, DescendError, Exact, GradientDescent, Newton, Objective, Outcome
from descend.descent.choose import OPTIMIZERS, auto_optimizer, make_optimizer

RNG = np.random.default_rng(4)
ROWS = 400
X = RNG.normal(size=(ROWS, 5)) * [1.0, 10.0, 0.1, 1.0, 3.0] + [0.0, 5.0, 1.0, -2.0, 0.0]
SCORE = X @ [1.0, -0.1, 5.0, 0.5, 0.2] + 2 * RNG.normal(size=ROWS)
TWO = (np.median(SCORE) < SCORE).astype(int)
THREE = np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.7]))
WEIGHT = RNG.integers(0, 4, ROWS).astype(float)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("optimizer", [Exact(), Newton()], ids=repr)
def test_squared_error_is_least_squares(intercept, weight, optimizer):
    run = descend.fit(X, SCORE, intercept=intercept, sample_weight=weight, optimizer=optimizer)
    oracle = LinearRegression(fit_intercept=intercept).fit(X, SCORE, sample_weight=weight)
    expected = [*oracle.coef_, oracle.intercept_] if intercept else oracle.coef_
    np.testing.assert_allclose(run.weights, expected, rtol=1e-9, atol=1e-11)
    assert run.outcome.converged
    assert len(run.history) <= 4


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [1e-6, 0.1, 100.0])
@pytest.mark.parametrize("optimizer", [Exact(), Newton()], ids=repr)
def test_a_penalty_on_squared_error_is_ridge(intercept, weight, alpha, optimizer):
    """`alpha / 2 |w|**2` beside the mean is scikit-learn's `alpha n / 2` beside the sum."""
    run = descend.fit(X, SCORE, intercept=intercept, sample_weight=weight, penalty=alpha, optimizer=optimizer)
    total = ROWS if weight is None else weight.sum()
    oracle = Ridge(alpha * total / 2, fit_intercept=intercept, solver="svd" if weight is None else "cholesky")
    oracle.fit(X, SCORE, sample_weight=weight)
    expected = [*oracle.coef_, oracle.intercept_] if intercept else oracle.coef_
    np.testing.assert_allclose(run.weights, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [1e-3, 0.1])
def test_newton_finds_the_logistic_regression_of_scikit_learn(y, weight, alpha):
    loss = "logistic" if y is TWO else "cross-entropy"
    run = descend.fit(
        X, y, loss=loss, penalty=alpha, sample_weight=weight, optimizer=Newton(), tolerance=1e-12
    )
    total = ROWS if weight is None else weight.sum()
    oracle = LogisticRegression(C=1 / (alpha * total), tol=1e-12, max_iter=10_000, solver="newton-cg")
    oracle.fit(X, y, sample_weight=weight)
    if y is TWO:
        found, expected = run.weights, [*oracle.coef_[0], *oracle.intercept_]
    else:
        found, expected = run.weights, np.vstack([oracle.coef_.T, oracle.intercept_])
        found = found - np.vstack([np.zeros((5, 3)), np.full((1, 3), found[-1].mean())])
        expected[-1] -= expected[-1].mean()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(run.predict_probabilities(X), oracle.predict_proba(X), atol=1e-7)
    assert run.outcome.converged
    assert len(run.history) <= 15


@pytest.mark.parametrize("intercept", [True, False])
def test_newton_without_a_penalty_is_the_logit_of_statsmodels(intercept):
    run = descend.fit(X, TWO, loss="logistic", intercept=intercept, optimizer=Newton(), tolerance=1e-12)
    design = np.column_stack([X, np.ones(ROWS)]) if intercept else X
    oracle = sm.Logit(TWO, design).fit(disp=0, tol=1e-14, method="newton")
    np.testing.assert_allclose(run.weights, oracle.params, rtol=1e-8)
    assert run.loss == pytest.approx(-oracle.llf / ROWS, rel=1e-12)


def test_newton_without_a_penalty_is_the_multinomial_logit_of_statsmodels():
    run = descend.fit(X, THREE, loss="cross-entropy", optimizer=Newton(), tolerance=1e-12)
    oracle = sm.MNLogit(THREE, np.column_stack([X, np.ones(ROWS)])).fit(disp=0, tol=1e-14, method="newton")
    np.testing.assert_allclose(run.weights[:, 1:] - run.weights[:, :1], oracle.params, rtol=1e-7)
    assert run.loss == pytest.approx(-oracle.llf / ROWS, rel=1e-12)


def collinear(scale):
    return np.column_stack([X, X[:, 0] + X[:, 3], 2 * X[:, 4], np.zeros(ROWS)]) * scale


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("intercept", [True, False])
def test_collinear_columns_give_the_solution_of_minimum_norm_in_standardised_units(scale, intercept):
    x = collinear(scale)
    run = descend.fit(x, SCORE, intercept=intercept, optimizer=Exact())
    middle, y_middle = (x.mean(axis=0), SCORE.mean()) if intercept else (0.0, 0.0)
    size = np.sqrt(((x - middle) ** 2).mean(axis=0))
    size[size == 0] = 1.0
    expected = np.linalg.pinv((x - middle) / size, rcond=1e-10) @ (SCORE - y_middle) / size
    weights = run.weights[:-1] if intercept else run.weights
    np.testing.assert_allclose(weights * size, expected * size, rtol=1e-8, atol=1e-8)
    fitted = x @ weights + (run.weights[-1] if intercept else 0.0)
    design = np.column_stack([x / scale, np.ones(ROWS)]) if intercept else x / scale
    least = design @ np.linalg.lstsq(design, SCORE, rcond=1e-12)[0]
    np.testing.assert_allclose(fitted, least, rtol=1e-8, atol=1e-9)
    assert run.loss == pytest.approx(np.mean((SCORE - least) ** 2), rel=1e-10)


def test_newton_on_collinear_columns_predicts_as_without_them():
    whole = descend.fit(X, TWO, loss="logistic", optimizer=Newton(), tolerance=1e-12)
    run = descend.fit(collinear(1.0), TWO, loss="logistic", optimizer=Newton(), tolerance=1e-11)
    assert run.outcome.converged
    assert run.loss == pytest.approx(whole.loss, rel=1e-12)
    np.testing.assert_allclose(
        run.predict_probabilities(collinear(1.0)), whole.predict_probabilities(X), atol=1e-8
    )
    assert run.weights[7] == 0  # the column of zeros


def test_more_columns_than_rows_are_interpolated_with_minimum_norm():
    x = RNG.normal(size=(20, 50))
    run = descend.fit(x, SCORE[:20], intercept=False, optimizer=Exact())
    size = np.sqrt((x**2).mean(axis=0))
    np.testing.assert_allclose(
        run.weights, np.linalg.pinv(x / size) @ SCORE[:20] / size, rtol=1e-7, atol=1e-9
    )
    assert 0 <= run.loss < 1e-20


@pytest.mark.parametrize("start", [0.0, 3.0, -20.0])
def test_newton_is_damped_far_from_the_minimum(start):
    made = Objective.of(X, TWO, loss="logistic", penalty=1e-3)
    found = list(descend.steps(made, Newton(), start=np.full(6, start)))
    losses = [step.loss for step in found]
    assert (np.diff(losses) <= 1e-15 * losses[0]).all()
    oracle = minimize(
        made.value, np.zeros(6), jac=lambda w: made.gradient(w), method="BFGS", options={"gtol": 1e-9}
    )
    assert losses[-1] <= oracle.fun * (1 + 1e-10)


def test_newton_stalls_where_no_step_lowers_the_loss_in_double_precision():
    found = list(descend.steps(Objective.of(X, TWO, loss="logistic"), Newton(), limit=50))
    assert found[-1].outcome is Outcome.PRECISION
    assert found[-1].number < 15


def test_the_exact_minimum_is_for_squared_error_alone():
    with pytest.raises(DescendError, match=r"`optimizer` exact needs .* but the loss is logistic"):
        descend.fit(X, TWO, loss="logistic", optimizer=Exact())


CHOICES = {
    "squared error": ((20, 3, None, "squared-error"), Exact()),
    "squared error with many columns": ((20, 700, None, "squared-error"), Exact()),
    "squared error beyond the moments": ((20, 2_049, None, "squared-error"), LBFGS()),
    "two classes, 511 columns and an intercept": ((20, 511, 2, "logistic"), Newton()),
    "two classes, 512 columns and an intercept": ((20, 512, 2, "logistic"), LBFGS()),
    "four classes, 127 columns and an intercept": ((20, 127, 4, "cross-entropy"), Newton()),
    "four classes, 128 columns and an intercept": ((20, 128, 4, "cross-entropy"), LBFGS()),
}


@pytest.mark.parametrize(("problem", "optimizer"), CHOICES.values(), ids=CHOICES)
def test_auto_chooses_by_the_loss_and_the_number_of_weights(problem, optimizer):
    rows, columns, classes, loss = problem
    y = np.arange(rows, dtype=float) if classes is None else np.arange(rows) % classes
    assert auto_optimizer(Objective.of(np.ones((rows, columns)), y, loss=loss)) == optimizer


@pytest.mark.parametrize(("levels", "optimizer"), [(700, Newton()), (2_100, LBFGS())])
def test_auto_takes_newton_for_many_weights_that_are_levels(levels, optimizer):
    rows = 2 * levels
    frame = pl.DataFrame(
        {
            "a": [f"level {i % (levels // 3)}" for i in range(rows)],
            "b": [f"level {i % (levels // 3 - 1)}" for i in range(rows)],
            "c": [f"level {i % (levels // 3 - 2)}" for i in range(rows)],
            "y": ["yes" if i % 3 else "no" for i in range(rows)],
        }
    )
    run = descend.fit(frame, target="y")
    assert run.optimizer == optimizer
    assert run.outcome.converged


def test_fit_tells_which_optimizer_it_chose():
    assert descend.fit(X, SCORE).optimizer == Exact()
    assert descend.fit(X, TWO, loss="logistic").optimizer == Newton()
    assert descend.fit(X, SCORE, batch_size=50, epochs=1).optimizer == GradientDescent()
    assert descend.fit(X, SCORE, optimizer="lbfgs", steps=3).optimizer == LBFGS()


MADE = {
    ("gradient-descent",): GradientDescent(),
    ("adam",): Adam(),
    ("lbfgs",): LBFGS(),
    ("newton",): Newton(),
    ("exact",): Exact(),
    ("adam", "cosine"): Adam(descend.Cosine()),
    ("gradient-descent", "one-cycle"): GradientDescent(descend.OneCycle()),
}


@pytest.mark.parametrize(("names", "optimizer"), MADE.items(), ids=str)
def test_optimizers_have_names(names, optimizer):
    assert make_optimizer(*names) == optimizer
    assert optimizer.name == names[0]


@pytest.mark.parametrize(
    ("args", "settings", "message"),
    [
        (("sgd",), {}, "`optimizer` must be auto or one of gradient-descent, .* got 'sgd'"),
        (("adam", "linear"), {}, "`schedule` must be one of .* got 'linear'"),
        (("adam",), {"momentum": 0.9}, "`momentum` does not apply to .* adam.* use gradient-descent"),
        (("newton",), {"learning_rate": 0.9}, "`learning_rate` does not apply .* gradient-descent or adam"),
        (("exact", "cosine"), {}, "`learning_rate` does not apply to `optimizer` exact"),
    ],
)
def test_names_and_settings_that_are_none_are_refused(args, settings, message):
    with pytest.raises(DescendError, match=message):
        make_optimizer(*args, **settings)


def test_a_penalty_may_be_given_as_a_number_or_an_object():
    np.testing.assert_array_equal(
        descend.fit(X, SCORE, penalty=0.5).weights, descend.fit(X, SCORE, penalty=L2(0.5)).weights
    )


# Of very many rows an eighth stands for all in the Hessian


def spoilt(rows=70_000, seed=9):
    """Rows of which no eighth leaf knows the last column, and a loss over them in leaves of a thousand rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    x[:, 2] = (np.arange(rows) // 1_000 % 8 == 3) & (rng.random(rows) < 0.02)
    y = (rng.logistic(size=rows) < x @ [1.0, -0.5, 1.5]).astype(float)
    return x, y


@pytest.mark.parametrize("columns", [2, 3], ids=["even", "with a column that the sample lacks"])
@pytest.mark.parametrize("standardize", [False, True])
def test_an_eighth_of_many_leaves_leads_to_the_same_minimum(monkeypatch, columns, standardize):
    monkeypatch.setattr("descend.engines.arrays.leaf_rows", lambda columns: 1_000)
    x, y = spoilt()
    x = x[:, :columns]
    how = {"loss": "logistic", "optimizer": Newton(), "tolerance": 1e-12, "standardize": standardize}
    run = descend.fit(x, y, **how)
    assert Objective.of(x, y, loss="logistic").sample is not None
    monkeypatch.setattr("descend.objectives.objective.MANY_LEAVES", 10**9)
    whole = descend.fit(x, y, **how)
    np.testing.assert_allclose(run.weights, whole.weights, rtol=1e-9)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, solver="newton-cholesky").fit(x, y)
    np.testing.assert_allclose(run.weights, [*oracle.coef_[0], *oracle.intercept_], rtol=1e-6)
    assert run.outcome.converged
    assert len(run.history) <= len(whole.history) + 4


def test_the_sample_is_every_eighth_leaf(monkeypatch):
    monkeypatch.setattr("descend.engines.arrays.leaf_rows", lambda columns: 1_000)
    x, y = spoilt()
    w = np.array([0.5, 0.2, 0.1, -0.3])
    rows = np.arange(len(y)) // 1_000 % 8 == 0
    sample = Objective.of(x, y, loss="logistic").sample
    np.testing.assert_allclose(
        sample.hessian(w), Objective.of(x[rows], y[rows], loss="logistic").hessian(w), rtol=1e-12
    )
    assert Objective.of(x[:60_000], y[:60_000], loss="logistic").sample is None


def test_newton_that_is_told_so_takes_all_rows(monkeypatch):
    monkeypatch.setattr("descend.engines.arrays.leaf_rows", lambda columns: 1_000)
    x, y = spoilt()
    objective, w = Objective.of(x, y, loss="logistic"), np.zeros(4)
    found = Newton().step(objective, w, False)
    expected = w - np.linalg.solve(objective.hessian(w), objective.gradient(w))
    np.testing.assert_allclose(found.weights, expected, rtol=1e-10)
    assert not found.state


# What an optimizer needs


WAYS = {
    "fit": lambda penalty, optimizer: descend.fit(X, SCORE, penalty=penalty, optimizer=optimizer),
    "fit a table": lambda penalty, optimizer: descend.fit(
        pl.DataFrame({"a": X[:, 0], "y": SCORE}), target="y", penalty=penalty, optimizer=optimizer
    ),
    "steps": lambda penalty, optimizer: next(
        descend.steps(Objective.of(X, TWO, loss="logistic", penalty=penalty), optimizer)
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "proximal-gradient"])
def test_a_penalty_with_kinks_is_refused_before_the_first_step(way, optimizer):
    with pytest.raises(DescendError) as caught:
        WAYS[way](descend.L1(0.1), optimizer)
    said = str(caught.value)
    assert said.startswith(f"`optimizer` {optimizer} needs a smooth penalty, but `penalty` l1 has kinks")
    assert "ProximalGradient() (`--optimizer proximal-gradient`)" in said


REFUSED = {
    "batches": (lambda how: descend.fit(X, SCORE, batch_size=50, **how), "use ProximalGradient"),
    "lr_find": (lambda how: descend.lr_find(X, SCORE, **how), "which finds its rate by itself"),
    "path": (lambda how: descend.path(X, SCORE, **how), "its path has no closed form"),
    "partial_fit": (
        lambda how: descend.LinearClassifier(optimizer="gradient-descent", **how).partial_fit(X, TWO, [0, 1]),
        "use ProximalGradient",
    ),
}


@pytest.mark.parametrize("way", REFUSED)
@pytest.mark.parametrize("penalty", [descend.L1(0.1), descend.ElasticNet(0.1)], ids=repr)
def test_what_walks_without_a_prox_refuses_kinks(way, penalty):
    call, hint = REFUSED[way]
    with pytest.raises(DescendError, match=f"gradient-descent needs a smooth penalty, .*{hint}"):
        call({"penalty": penalty})


def test_auto_takes_what_can():
    for loss, y in (("squared-error", SCORE), ("logistic", TWO), ("cross-entropy", THREE)):
        objective = Objective.of(X, y, loss=loss, penalty=descend.ElasticNet(0.1))
        assert auto_optimizer(objective) == descend.ProximalGradient()
        assert (
            auto_optimizer(Objective.of(X, y, loss=loss, penalty=descend.L1(0))) != descend.ProximalGradient()
        )


def test_an_optimizer_of_ones_own_says_what_it_needs():
    class Impossible(descend.Optimizer):
        name, needs = "impossible", frozenset({"gradient", "oracle"})

        def step(self, objective, w, state):
            raise AssertionError

    with pytest.raises(
        DescendError, match=r"impossible needs oracle, and .* `loss` squared-error with `penalty` l2 offers"
    ):
        descend.fit(X, SCORE, optimizer=Impossible())
    with pytest.raises(DescendError, match=r"One of your own derives from descend\.Optimizer"):
        descend.fit(X, SCORE, optimizer=object())


def test_classes_learn_an_l1_in_instalments_by_steps_of_the_prox():
    model = descend.LinearClassifier(penalty="l1", alpha=0.1)
    for _ in range(60):
        for rows in np.array_split(np.arange(ROWS), 4):
            model.partial_fit(X[rows], TWO[rows], classes=[0, 1])
    whole = descend.LinearClassifier(penalty="l1", alpha=0.1).fit(X, TWO)
    np.testing.assert_allclose(model.coef_ * X.std(axis=0), whole.coef_ * X.std(axis=0), atol=0.1)
    assert 0 < np.count_nonzero(model.coef_) < 5


def test_squared_error_learns_an_elastic_net_in_instalments():
    how = {"penalty": "elastic-net", "alpha": 0.3, "l1_ratio": 0.7, "tol": 1e-10}
    model = descend.LinearRegressor(**how)
    for rows in np.array_split(np.arange(ROWS), 3):
        model.partial_fit(X[rows], SCORE[rows])
    whole = descend.LinearRegressor(**how).fit(X, SCORE)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-6)
    assert (model.coef_ == 0).tolist() == (whole.coef_ == 0).tolist()


@dataclass(frozen=True)
class Straight(descend.Loss):
    """The size of the error: no row has a curvature."""

    name = "straight"

    def value(self, z, y):
        return np.abs(z - y)

    def gradient(self, z, y):
        return np.sign(z - y)

    def curvature(self, z, y):
        return np.zeros_like(z)


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_a_loss_without_curvature_is_not_left_to_newton_whatever_the_penalty(penalty):
    objective = Objective.of([[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0], loss=Straight(), penalty=penalty)
    assert auto_optimizer(objective).name == "lbfgs"
