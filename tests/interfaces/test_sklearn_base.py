"""What both estimators share: starts, validation, callbacks, what is kept of a run; beside scikit-learn's answers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import descend
from descend import DescendError, LinearClassifier, LinearRegressor, Outcome

diabetes_X, diabetes_y = load_diabetes(return_X_y=True)
cancer_X, cancer_y = load_breast_cancer(return_X_y=True)
iris_X, iris_y = load_iris(return_X_y=True)


def test_a_warm_start_begins_at_the_last_weights():
    model = LinearClassifier(optimizer="gradient-descent", steps=50, warm_start=True).fit(iris_X, iris_y)
    end = model.history_.loss[-1]
    assert model.fit(iris_X, iris_y).history_.loss[0] == pytest.approx(end, rel=1e-12)
    again = LinearRegressor(warm_start=True).fit(diabetes_X, diabetes_y).fit(diabetes_X, diabetes_y)
    assert again.history_.loss[0] == pytest.approx(again.history_.loss[-1], rel=1e-9)


def test_ones_own_validation_data_stop_early():
    X, y = cancer_X[:60], cancer_y[:60]
    model = LinearClassifier(optimizer="adam", alpha=0, early_stopping=3, steps=3_000)
    model.fit(X, y, eval_set=(cancer_X[60:], cancer_y[60:]))
    assert model.outcome_ is Outcome.EARLY_STOP
    assert model.history_.validation_loss[-1] == pytest.approx(
        descend.cross_entropy(model.predict_proba(cancer_X[60:])[:, 1], cancer_y[60:]), rel=1e-9
    )
    held = LinearClassifier(early_stopping=True, validation_fraction=0.2, random_state=0).fit(
        cancer_X, cancer_y
    )
    assert np.isfinite(held.history_.validation_loss).all()
    assert held.run_.rows["validation"] > 80


def test_the_repr_shows_the_ending_and_the_curve():
    model = LinearClassifier()
    assert "<svg" not in model._repr_html_()
    html = model.fit(cancer_X, cancer_y)._repr_html_()
    assert model.outcome_.value in html
    assert "<polyline" in html


def test_scikit_learns_callbacks_are_told_each_step():
    pytest.importorskip("sklearn.callback")

    class Counter:
        def __init__(self):
            self.scores, self.tasks = [], 0

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            self.tasks += 1

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
            if context.task_name == "step":
                self.scores.append(fitted_estimator.score(cancer_X, cancer_y))
            return len(self.scores) == 5

    counter = Counter()
    model = LinearClassifier(optimizer="gradient-descent", steps=50).set_callbacks(counter)
    model.fit(cancer_X, cancer_y)
    assert counter.tasks == 1 + 5
    assert counter.scores[-1] > counter.scores[0]
    assert counter.scores[-1] == model.score(cancer_X, cancer_y)
    assert model.outcome_ is Outcome.INTERRUPTED


def test_scikit_learns_monitor_scores_each_step():
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(scoring="r2")
    model = LinearRegressor(optimizer="gradient-descent", steps=6, standardize=False)
    model.set_callbacks(monitor).fit(diabetes_X, diabetes_y)
    scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "step"]
    z = diabetes_X @ model.history_.weights[:, :-1].T + model.history_.weights[:, -1]
    expected = 1 - ((z - diabetes_y[:, None]) ** 2).mean(axis=0) / diabetes_y.var()
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert len(scores) == 7


def test_verbose_prints_and_a_limit_warns(capsys):
    LinearRegressor(optimizer="gradient-descent", steps=20, verbose=10).fit(diabetes_X, diabetes_y)
    assert capsys.readouterr().out.split()[::2] == ["0", "10"]
    with pytest.warns(ConvergenceWarning, match="stopped at the step limit"):
        LinearRegressor(optimizer="gradient-descent", learning_rate=1e-9).fit(diabetes_X, diabetes_y)


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1, "a tenth", None, np.nan])
def test_a_share_to_hold_out_that_is_none_is_named(fraction):
    model = LinearRegressor(early_stopping=True, validation_fraction=fraction)
    with pytest.raises(DescendError, match="`validation_fraction` must be a number between 0 and 1, got"):
        model.fit(diabetes_X, diabetes_y)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_penalty_is_that_of_c_of_one_on_the_rows_that_are_learned_from(early_stopping, weighted):
    s = np.arange(len(cancer_y)) % 3 + 1.0 if weighted else None
    model = LinearClassifier(early_stopping=early_stopping, validation_fraction=0.3, random_state=1, tol=1e-8)
    run = model.fit(cancer_X, cancer_y, sample_weight=s).run_
    kept = np.arange(len(cancer_y))
    if early_stopping:
        kept, _ = train_test_split(kept, test_size=0.3, random_state=1, stratify=cancer_y)
    weights = np.ones(len(cancer_y)) if s is None else s
    assert run.model.facts["penalty"]["alpha"] == pytest.approx(1 / weights[kept].sum(), rel=1e-12)
    assert run.rows["training"] == len(cancer_y[kept])


def test_both_coefficients_of_two_classes_are_one_difference():
    settings = {"alpha": 0.01, "tol": 1e-9}
    model = LinearClassifier(loss="cross-entropy", **settings).fit(iris_X[:100], iris_y[:100])
    W = model.run_.weights
    np.testing.assert_allclose(model.coef_[0], W[:-1, 1] - W[:-1, 0], rtol=1e-12)
    np.testing.assert_allclose(model.intercept_[0], W[-1, 1] - W[-1, 0], rtol=1e-12)
    theirs = LogisticRegression(C=2 / (0.01 * 100), tol=1e-10).fit(iris_X[:100], iris_y[:100])
    np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-4)


@pytest.mark.parametrize("make", [LinearRegressor, LinearClassifier])
def test_without_an_intercept_it_is_zero_and_the_origin_is_predicted_alike(make):
    model = make(fit_intercept=False).fit(iris_X, iris_y > 0)
    assert np.all(model.intercept_ == 0.0)
    z = model.predict if make is LinearRegressor else model.decision_function
    assert z(np.zeros((1, 4))).tolist() == [0.0]


def test_an_estimator_keeps_no_rows_of_its_data():
    x = np.random.default_rng(0).normal(size=(20_000, 4))
    for model in (LinearRegressor(), LinearClassifier()):
        model.fit(x, (x[:, 0] > 0).astype(int))
        assert model.run_.problem is model.run_.origin is None
        assert len(pickle.dumps(model)) < 0.3 * x.nbytes  # a sample of the rows for pictures


def test_what_partial_fit_learns_is_no_longer_the_run_of_an_earlier_fit():
    model = LinearRegressor().fit(diabetes_X, diabetes_y)
    assert model.run_.outcome.converged
    model.partial_fit(diabetes_X[:9], diabetes_y[:9])
    assert not hasattr(model, "run_")
    assert model.outcome_ is Outcome.STEP_LIMIT
    assert model.history_.loss[-1] == pytest.approx(
        np.mean((model.predict(np.r_[diabetes_X, diabetes_X[:9]]) - np.r_[diabetes_y, diabetes_y[:9]]) ** 2)
    )


def test_the_same_seed_gives_the_same_bits_and_a_generator_goes_on():
    def weights(state):
        model = LinearClassifier(optimizer="adam", batch_size=10, epochs=2, random_state=state)
        return model.fit(iris_X, iris_y).coef_.tolist()

    assert weights(3) == weights(3) != weights(4)
    going, other = np.random.RandomState(3), np.random.RandomState(3)
    first, second = weights(going), weights(going)
    assert first == weights(other) != second
    assert second == weights(other)


@pytest.mark.parametrize("make", [LinearRegressor, LinearClassifier])
def test_what_is_not_fitted_predicts_nothing(make):
    with pytest.raises(NotFittedError):
        make().predict(iris_X)


@pytest.mark.parametrize("given", [(iris_X,), iris_X, {"X": iris_X}, (iris_X, iris_y, iris_y)])
def test_validation_data_that_are_no_pair_are_named(given):
    with pytest.raises(DescendError, match=r"`eval_set` must be a pair `\(X, y\)`, got"):
        LinearRegressor().fit(iris_X, iris_y, eval_set=given)
    with pytest.raises(ValueError, match="2 features, but LinearRegressor is expecting 4"):
        LinearRegressor().fit(iris_X, iris_y, eval_set=(iris_X[:, :2], iris_y))


def test_a_chunk_is_learned_from_whole():
    with pytest.raises(
        DescendError, match=r"`early_stopping` does not go with `partial_fit`.*leave it at False"
    ):
        LinearRegressor(early_stopping=True).partial_fit(iris_X, iris_y)


def test_rows_to_validate_on_are_transformed_by_a_pipeline():
    X, held, y, held_y = train_test_split(cancer_X, cancer_y, test_size=0.25, random_state=0)
    s = np.linspace(0.5, 2.0, len(held_y))
    model = LinearClassifier(
        early_stopping=3, standardize=False, optimizer="gradient-descent", steps=40, alpha=0.01
    )
    with config_context(enable_metadata_routing=True):
        model.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        pipeline = make_pipeline(StandardScaler(), model, transform_input=["X_val"])
        pipeline.fit(X, y, X_val=held, y_val=held_y, sample_weight_val=s)
    scaler = StandardScaler().fit(X)
    alone = clone(model).fit(
        scaler.transform(X), y, X_val=scaler.transform(held), y_val=held_y, sample_weight_val=s
    )
    ours = pipeline[-1]
    assert ours.history_.validation_loss.tolist() == alone.history_.validation_loss.tolist()
    z = scaler.transform(held) @ ours.history_.weights[-1][:-1] + ours.history_.weights[-1][-1]
    loss = np.average(np.logaddexp(0, z) - held_y * z, weights=s)
    assert ours.history_.validation_loss[-1] == pytest.approx(loss, rel=1e-10)


def test_rows_to_validate_on_may_have_an_offset():
    offset = np.linspace(-1, 1, len(iris_X))
    model = LinearRegressor(early_stopping=2, optimizer="gradient-descent", steps=5)
    model.fit(iris_X, iris_y, offset=offset, X_val=iris_X[:9], y_val=iris_y[:9], offset_val=offset[:9])
    assert np.isfinite(model.history_.validation_loss).all()
    found = model.predict(iris_X[:9], offset[:9]) - iris_y[:9]
    assert model.history_.validation_loss.min() == pytest.approx(np.mean(found**2), rel=1e-9)


def test_a_number_for_tol_is_what_it_says_beside_a_limit_too():
    X = StandardScaler().fit_transform(diabetes_X)
    for limit in ({}, {"steps": 500}, {"epochs": 500}):
        model = LinearRegressor(optimizer="gradient-descent", tol=2.0, **limit).fit(X, diabetes_y)
        assert model.outcome_.converged
        assert model.history_.gradient_norm[-1] <= 2.0 < model.history_.gradient_norm[-2]
    for tol in (0, -1.0, "small", np.inf, np.nan, True):
        with pytest.raises(DescendError, match="`tol` must be a number above 0, or None"):
            LinearRegressor(tol=tol).fit(X, diabetes_y)


@pytest.mark.parametrize("alpha", [0, 1e-7, "auto"])
@pytest.mark.parametrize("rare", [1, 3, 10])
def test_a_rare_class_is_learned_to_the_end(rare, alpha):
    random = np.random.default_rng(rare)
    X = random.normal(size=(400, 2))
    y = (np.argsort(np.argsort(X @ [1.5, 1.0] + 2 * random.gumbel(size=400))) >= 400 - rare).astype(int)
    s = np.where(y == 1, 1.0, 2_500.0)  # a few rows in a million
    model = LinearClassifier(alpha=alpha).fit(X, y, sample_weight=s)
    C = 1.0 if alpha == "auto" else np.inf if alpha == 0 else 1 / (alpha * s.sum())
    theirs = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-14, max_iter=1_000)
    theirs.fit(X, y, sample_weight=s)
    assert model.outcome_.converged
    np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-7)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_, rtol=1e-7)
    early = LinearClassifier(alpha=alpha, tol=1e-6).fit(X, y, sample_weight=s)  # a number is what it says
    assert early.history_.gradient_norm[-1] <= 1e-6 < early.history_.gradient_norm[-2]
    assert early.n_iter_ < model.n_iter_


@pytest.mark.parametrize("class_weight", [None, "balanced", {"no": 3.0, "yes": 1.0}])
def test_rows_held_out_weigh_what_they_weigh(class_weight):
    y, s = np.where(cancer_y == 1, "yes", "no"), np.linspace(0.5, 2.0, len(cancer_y))
    X = StandardScaler().fit_transform(cancer_X)
    state = np.random.RandomState(5) if class_weight is None else 5
    model = LinearClassifier(early_stopping=3, random_state=state, class_weight=class_weight, alpha=0.01)
    model.fit(X, y, sample_weight=s)
    _, held = train_test_split(np.arange(len(y)), test_size=0.1, random_state=5, stratify=y)
    loss = log_loss(y[held], model.predict_proba(X[held]), sample_weight=s[held])
    assert np.isclose(model.history_.validation_loss, loss, rtol=1e-9).any()
    assert model.run_.metrics["validation"].values["log_loss"] == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"X_val": 1e200 * iris_X, "y_val": iris_y}, "`X_val` holds numbers beyond"),
        ({"X_val": iris_X, "y_val": 1e200 * iris_y}, "`y_val` holds numbers beyond"),
        ({"X_val": iris_X, "y_val": -iris_y}, "`y_val` must hold finite numbers of at least 0"),
        ({"eval_set": (iris_X, -iris_y)}, "`eval_set` must hold finite numbers of at least 0"),
        ({"X_val": iris_X, "y_val": iris_y, "sample_weight_val": -iris_y}, "`sample_weight_val` must hold"),
        ({"X_val": iris_X, "y_val": iris_y, "sample_weight_val": [1.0]}, "150 rows and `sample_weight_val`"),
    ],
)
def test_rows_to_validate_on_are_checked_as_others_are(given, says):
    with pytest.raises(DescendError, match=says):
        LinearRegressor(loss="poisson").fit(iris_X, iris_y, **given)


def test_an_offset_has_one_number_for_each_row():
    for early_stopping in (False, True):
        with pytest.raises(DescendError, match=r"`X` has 150 rows and `offset` has shape \(2,\)"):
            LinearRegressor(early_stopping=early_stopping).fit(iris_X, iris_y, offset=[1.0, 2.0])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"X_val": iris_X}, "`X_val` and `y_val` go together"),
        ({"y_val": iris_y}, "`X_val` and `y_val` go together"),
        ({"sample_weight_val": iris_y}, "go with `X_val` and `y_val`"),
        ({"eval_set": (iris_X, iris_y), "X_val": iris_X, "y_val": iris_y}, "two ways to say one thing"),
        (
            {"X_val": iris_X, "y_val": iris_y, "offset": iris_y},
            "`offset_val` must be given where `offset` is",
        ),
        (
            {"X_val": iris_X, "y_val": iris_y, "offset_val": iris_y},
            "`offset_val` must be given where `offset` is",
        ),
    ],
)
def test_what_does_not_go_together_is_said(given, says):
    with pytest.raises(DescendError, match=says):
        LinearRegressor().fit(iris_X, iris_y, **given)
