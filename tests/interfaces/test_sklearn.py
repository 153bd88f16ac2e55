"""scikit-learn's own checks, its tools around our estimators, and its answers beside ours."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from own_losses import SquaredHinge
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import descend
from descend import DescendError, LinearClassifier, LinearRegressor

FULL = ("newton", "lbfgs", "gradient-descent", "adam")
REGRESSORS = [LinearRegressor(optimizer=name) for name in ("exact", *FULL)]
CLASSIFIERS = [LinearClassifier(optimizer=name) for name in FULL]
SPARSE = [LinearRegressor(penalty="elastic-net", alpha=0.01), LinearClassifier(penalty="l1")]
BATCHED = [
    kind(optimizer=name, batch_size=4)
    for kind in (LinearRegressor, LinearClassifier)
    for name in ("gradient-descent", "adam")
]
WEIGHTS = "a row of weight two is one row of a batch, repeated rows are two, perhaps of two batches"


def weight_checks(estimator):
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": WEIGHTS for kind in kinds}


def slow_ones_marked(checks):
    """The same checks; those of class weights that take many small steps are slow."""
    names, cases = checks.args
    marked = [
        pytest.param(*case, marks=pytest.mark.slow)
        if case[0].optimizer in ("gradient-descent", "adam")
        and "check_class_weight_classifiers" in str(case[1])
        else case
        for case in cases
    ]
    return pytest.mark.parametrize(names, marked, **checks.kwargs)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@slow_ones_marked(parametrize_with_checks([*REGRESSORS, *CLASSIFIERS, *SPARSE]))
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@parametrize_with_checks(BATCHED, expected_failed_checks=weight_checks, xfail_strict=True)
def test_scikit_learns_checks_of_small_batches(estimator, check):
    check(estimator)


PARTIAL = "`early_stopping` does not go with `partial_fit`, as in scikit-learn"
WEIGHTS = "which rows are held out depends on how many there are, as in scikit-learn"


def early_checks(estimator):
    """What watching rows that are held out by chance cannot hold."""
    partial = (
        "check_fit_score_takes_y",
        "check_n_features_in_after_fitting",
        "check_estimators_partial_fit_n_features",
    )
    weights = [f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")]
    return dict.fromkeys(partial, PARTIAL) | dict.fromkeys(weights, WEIGHTS)


EARLY = [
    kind(early_stopping=True, optimizer="gradient-descent", steps=500)
    for kind in (LinearRegressor, LinearClassifier)
]


@parametrize_with_checks(EARLY, expected_failed_checks=early_checks, xfail_strict=True)
def test_scikit_learns_checks_of_early_stopping(estimator, check):
    check(estimator)


diabetes_X, diabetes_y = load_diabetes(return_X_y=True)
cancer_X, cancer_y = load_breast_cancer(return_X_y=True)
iris_X, iris_y = load_iris(return_X_y=True)
random = np.random.default_rng(0)


@pytest.mark.parametrize("optimizer", ["auto", "newton", "lbfgs", "gradient-descent"])
def test_ridge_and_least_squares_are_scikit_learns(optimizer):
    X, y, n = diabetes_X * [1, 1, 10, 1, 1, 1, 1, 1, 0.1, 1] + 5, diabetes_y, len(diabetes_y)
    settings = {"optimizer": optimizer, "tol": 1e-9}
    ours, theirs = LinearRegressor(**settings).fit(X, y), LinearRegression().fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-6)
    ours, theirs = LinearRegressor(alpha=2 * 1e-3 / n, **settings).fit(X, y), Ridge(alpha=1e-3).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["auto", "lbfgs", descend.GradientDescent(momentum=0.98)])
def test_the_default_classifier_is_scikit_learns_with_c_of_one(optimizer):
    X = StandardScaler().fit_transform(cancer_X)
    ours = LinearClassifier(optimizer=optimizer, tol=1e-7).fit(X, cancer_y)
    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, cancer_y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-4)


def test_probabilities_near_zero_keep_their_digits():
    model = LinearClassifier(alpha=1e-6).fit([[-1.0], [1.0], [-2.0], [2.0]], [0, 1, 0, 1])
    logs = model.predict_log_proba([[30.0], [-30.0]])
    z = model.decision_function([[30.0]])[0]
    assert z > 40  # one less a probability near one would be zero
    np.testing.assert_allclose(logs, [[-z, 0.0], [0.0, -z]], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 1.0, 2: 0.5}])
def test_three_classes_are_scikit_learns(class_weight):
    s = random.integers(1, 4, len(iris_y)).astype(float)
    ours = LinearClassifier(class_weight=class_weight, alpha=0.01, tol=1e-9)
    ours.fit(iris_X, iris_y, sample_weight=s)
    if class_weight == "balanced":
        weights = s * (s.sum() / (3 * np.bincount(iris_y, s)))[iris_y]
    else:
        weights = s * (1.0 if class_weight is None else np.array([2.0, 1.0, 0.5])[iris_y])
    theirs = LogisticRegression(C=1 / (0.01 * weights.sum()), tol=1e-12, max_iter=10_000)
    theirs.fit(iris_X, iris_y, sample_weight=weights)
    np.testing.assert_allclose(ours.predict_proba(iris_X), theirs.predict_proba(iris_X), atol=1e-5)
    assert ours.coef_.shape == (3, 4)
    assert ours.intercept_.shape == (3,)


@pytest.mark.parametrize("optimizer", ["auto", "newton", "lbfgs", "gradient-descent"])
@pytest.mark.parametrize("intercept", [True, False])
def test_collinear_columns_get_the_solution_of_minimum_norm(intercept, optimizer):
    X = random.normal(size=(10, 20)) * 2.0 ** random.integers(-3, 3, 20) + 1
    y = random.normal(size=10)
    theirs = LinearRegression(fit_intercept=intercept).fit(X, y)
    ours = LinearRegressor(fit_intercept=intercept, optimizer=optimizer, tol=1e-10).fit(X, y)
    for model in (ours, clone(ours).fit(X[:4], y[:4]).partial_fit(X[4:], y[4:])):
        np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(model.intercept_, theirs.intercept_, atol=1e-7)
        np.testing.assert_allclose(model.predict(X), y, atol=1e-7)
    np.testing.assert_allclose(ours.run_.predict(X), y, atol=1e-7)
    assert not hasattr(model, "run_")  # which fitted the first rows only


def test_intercepts_of_softmax_sum_to_zero():
    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(iris_X, iris_y)
    for optimizer in ("newton", "lbfgs"):
        ours = LinearClassifier(optimizer=optimizer, tol=1e-9).fit(iris_X, iris_y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)
        assert ours.intercept_.sum() == pytest.approx(0.0, abs=1e-9)


def test_cross_entropy_of_two_classes_is_the_logistic_loss_with_half_the_penalty():
    one = LinearClassifier(alpha=0.01, tol=1e-9).fit(cancer_X, cancer_y)
    two = LinearClassifier(loss="cross-entropy", alpha=0.02, tol=1e-9).fit(cancer_X, cancer_y)
    np.testing.assert_allclose(two.coef_, one.coef_, rtol=1e-4)
    assert two.decision_function(cancer_X).shape == (len(cancer_X),)


@pytest.mark.parametrize("name", ["x", "names"])
def test_frames_of_any_kind_come_in_and_their_names_stay(name):
    names = [f"{name} {i}" for i in range(4)]
    pandas = pd.DataFrame(iris_X, columns=names)
    frames = (pandas, pl.from_pandas(pandas), pa.Table.from_pandas(pandas))
    fitted = [LinearClassifier().fit(frame, iris_y) for frame in frames]
    for model, frame in zip(fitted, frames, strict=True):
        assert model.feature_names_in_.tolist() == names
        assert list(model.run_.model.feature_names) == names
        np.testing.assert_allclose(model.predict_proba(frame), fitted[0].predict_proba(pandas), rtol=1e-12)
    assert set(LinearRegressor().fit(pandas, iris_y).run_.coefficients) == {*names, "(intercept)"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("sparse", [False, True])
def test_dtypes_are_scikit_learns(dtype, sparse):
    X = (10 * iris_X).astype(dtype)
    X = csr_array(X) if sparse else X
    for labels in (iris_y, iris_y > 0):
        ours = LinearClassifier(tol=1e-3).fit(X, labels)
        theirs = LogisticRegression(solver="newton-cg").fit(X, labels)  # lbfgs of 1.8 widens
        for name in ("coef_", "intercept_"):
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
        for method in ("decision_function", "predict_proba"):
            assert getattr(ours, method)(X).dtype == getattr(theirs, method)(X).dtype
        assert ours.predict_log_proba(X).dtype == ours.coef_.dtype
        assert np.mean(ours.predict(X) == theirs.predict(X)) > 0.98
        assert ours.run_.weights.dtype == np.float64
    ours, theirs = LinearRegressor(), Ridge(alpha=0.0, solver="lsqr" if sparse else "auto")
    for model in (ours.fit(X, iris_y), theirs.fit(X, iris_y), ours.partial_fit(X, iris_y)):
        assert model.coef_.dtype == (np.float32 if dtype == np.float32 else np.float64)
        assert model.predict(X).dtype == model.coef_.dtype
    again = LinearRegressor(optimizer="lbfgs", warm_start=True).fit(X, iris_y).fit(X, iris_y)
    assert again.coef_.dtype == ours.coef_.dtype


def test_sparse_rows_give_what_dense_ones_give():
    X = np.where(random.random((80, 5)) < 0.7, 0.0, random.normal(size=(80, 5)))
    y = random.integers(0, 2, 80)
    for make in (LinearClassifier, LinearRegressor):
        for settings in ({}, {"optimizer": "lbfgs", "tol": 1e-9}):
            dense, sparse = make(**settings).fit(X, y), make(**settings).fit(csr_array(X), y)
            np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-6)
            np.testing.assert_allclose(sparse.predict(csr_array(X)), dense.predict(X), rtol=1e-6)
    batched = LinearClassifier(optimizer="adam", batch_size=8, epochs=3, random_state=0).fit(csr_array(X), y)
    assert np.isfinite(batched.coef_).all()


def test_in_pipelines_searches_and_calibration():
    frame = pd.DataFrame(cancer_X[:, :3], columns=list("abc")).assign(
        d=np.where(cancer_X[:, 3] > 600, "u", "v")
    )
    encode = ColumnTransformer(
        [("numbers", StandardScaler(), list("abc")), ("texts", OneHotEncoder(sparse_output=False), ["d"])]
    )
    pipeline = make_pipeline(encode, LinearClassifier()).set_output(transform="pandas")
    pipeline.fit(frame, cancer_y)
    assert "numbers__a" in pipeline[-1].feature_names_in_
    polars = clone(pipeline).set_output(transform="polars").fit(pl.from_pandas(frame), cancer_y)
    assert polars[-1].feature_names_in_.tolist() == pipeline[-1].feature_names_in_.tolist()
    np.testing.assert_allclose(polars[-1].coef_, pipeline[-1].coef_)
    search = GridSearchCV(pipeline, {"linearclassifier__alpha": [1e-3, 10.0]}, cv=3).fit(frame, cancer_y)
    assert search.best_params_ == {"linearclassifier__alpha": 1e-3}
    assert cross_val_score(pipeline, frame, cancer_y, cv=3).mean() > 0.85
    calibrated = CalibratedClassifierCV(LinearClassifier(alpha=1.0), cv=3).fit(cancer_X, cancer_y)
    assert calibrated.predict_proba(cancer_X).shape == (len(cancer_y), 2)
    importance = permutation_importance(pipeline, frame, cancer_y, n_repeats=2, random_state=0)
    assert importance.importances_mean.max() > 0.02
    assert clone(pipeline[-1]).get_params() == pipeline[-1].get_params()


def test_partial_fit_of_squared_error_is_exact():
    whole = LinearRegressor(alpha=0.01).fit(diabetes_X, diabetes_y)
    parts = LinearRegressor(alpha=0.01)
    for rows in np.array_split(random.permutation(len(diabetes_y)), 7):
        parts.partial_fit(diabetes_X[rows], diabetes_y[rows])
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-9)
    assert parts.n_iter_ == len(parts.history_) == 7
    more = clone(whole).fit(diabetes_X[:200], diabetes_y[:200])
    more.partial_fit(diabetes_X[200:], diabetes_y[200:])
    np.testing.assert_allclose(more.coef_, whole.coef_, rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["auto", "adam", "gradient-descent", "lbfgs", "newton"])
def test_partial_fit_of_classes_goes_on_from_its_state(optimizer):
    model = LinearClassifier(optimizer=optimizer, batch_size=None, random_state=0)
    order = random.permutation(len(iris_y))
    for _ in range(40):
        for rows in np.array_split(order, 3):
            model.partial_fit(iris_X[rows], iris_y[rows], classes=[0, 1, 2])
    assert model.score(iris_X, iris_y) > 0.9
    assert model.n_iter_ == 120
    losses = model.history_.loss
    assert losses[-1] < losses[0]
    with pytest.raises(DescendError, match="`classes` must be"):
        model.partial_fit(iris_X, iris_y, classes=[0, 1])


@pytest.mark.parametrize("make", [LinearRegressor, LinearClassifier])
def test_weights_of_rows_are_repetitions_in_partial_fit_and_in_the_score(make):
    s = random.integers(1, 4, len(iris_y))
    y = (iris_y > 0).astype(int)
    rows = np.repeat(np.arange(len(y)), s)
    settings = {} if make is LinearRegressor else {"optimizer": "newton", "alpha": 0.1}
    more = {} if make is LinearRegressor else {"classes": [0, 1]}
    weighted, repeated = make(**settings), make(**settings)
    for part in np.array_split(random.permutation(len(y)), 3):
        weighted.partial_fit(iris_X[part], y[part], sample_weight=s[part], **more)
        again = rows[np.isin(rows, part)]
        repeated.partial_fit(iris_X[again], y[again], **more)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-8)
    found = weighted.score(iris_X, y, sample_weight=s)
    assert found == pytest.approx(repeated.score(iris_X[rows], y[rows]), rel=1e-8)


def test_the_parameters_are_these():
    common = {
        *(
            "loss",
            "penalty",
            "alpha",
            "l1_ratio",
            "penalise",
            "optimizer",
            "learning_rate",
            "steps",
            "epochs",
            "batch_size",
            "tol",
        ),
        *("early_stopping", "validation_fraction", "fit_intercept", "standardize", "warm_start"),
        *("random_state", "verbose"),
    }
    assert LinearRegressor().get_params().keys() == common
    assert LinearClassifier().get_params().keys() == common | {"class_weight"}


def test_a_chunk_may_lack_classes_and_a_pickle_goes_on():
    model = LinearClassifier(batch_size=5, optimizer="adam", learning_rate=0.1, random_state=0)
    with pytest.raises(DescendError, match="`classes` is needed"):
        model.partial_fit(iris_X[:10], iris_y[:10])
    model.partial_fit(iris_X[:10], iris_y[:10], classes=np.unique(iris_y))
    other = pickle.loads(pickle.dumps(model))
    for each in (model, other):
        each.partial_fit(iris_X[60:90], iris_y[60:90])
    assert (model.coef_ == other.coef_).all()
    assert model.n_iter_ == 2 + 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty": "l3"}, '`penalty` must be "l2", "l1", "elastic-net", None'),
        ({"alpha": "some"}, "`alpha` must be a number"),
        ({"alpha": -1.0}, "`alpha` of a penalty"),
        ({"optimizer": "sgd"}, "`optimizer` must be auto or one of"),
        ({"optimizer": "newton", "learning_rate": 0.1}, "`learning_rate` does not apply"),
        ({"loss": "squared-error"}, "`loss` must be auto, logistic"),
        ({"class_weight": "even"}, "`class_weight` must be None"),
        ({"class_weight": {7: 1.0}}, "`class_weight` names 7"),
        ({"batch_size": 4, "optimizer": "newton"}, "`batch_size` needs an optimizer"),
    ],
)
def test_bad_parameters_are_named(settings, message):
    for learn in (LinearClassifier(**settings).fit, LinearClassifier(**settings).partial_fit):
        with pytest.raises(DescendError, match=message):
            learn(cancer_X, cancer_y, **({"classes": [0, 1]} if learn.__name__ == "partial_fit" else {}))


def test_bad_input_is_named():
    with pytest.raises(DescendError, match="Use LinearClassifier"):
        LinearRegressor(loss="logistic").fit(cancer_X, cancer_y)
    with pytest.raises(DescendError, match="at least 2 classes"):
        LinearClassifier().fit(cancer_X, np.ones(len(cancer_y)))
    with pytest.raises(DescendError, match="`eval_set` must be a pair"):
        LinearClassifier().fit(cancer_X, cancer_y, eval_set=cancer_X)
    with pytest.raises(DescendError, match="`eval_set` holds"):
        LinearClassifier().fit(cancer_X, cancer_y, eval_set=(cancer_X[:2], [0, 5]))
    with pytest.raises(DescendError, match="does not go with `partial_fit`"):
        LinearClassifier(class_weight="balanced").partial_fit(cancer_X, cancer_y, classes=[0, 1])
    with pytest.raises(DescendError, match="`early_stopping` does not go with `partial_fit`"):
        LinearRegressor(early_stopping=3).partial_fit(cancer_X, cancer_y)
    assert LinearRegressor(optimizer="lbfgs", steps=0).fit(cancer_X, cancer_y).n_iter_ == 0


# losses of numbers and counts


COUNTS = random.poisson(np.exp(diabetes_X @ np.linspace(-4, 6, 10) + 1.0))


@pytest.mark.parametrize("optimizer", ["auto", "lbfgs", "gradient-descent"])
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
def test_counts_are_scikit_learns(optimizer, alpha):
    theirs = PoissonRegressor(alpha=alpha, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(
        diabetes_X, COUNTS
    )
    ours = LinearRegressor(loss="poisson", alpha=alpha, optimizer=optimizer, tol=1e-9)
    ours.fit(diabetes_X, COUNTS)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.predict(diabetes_X), theirs.predict(diabetes_X), rtol=1e-5)
    assert ours.score(diabetes_X, COUNTS) == pytest.approx(
        r2_score(COUNTS, theirs.predict(diabetes_X)), rel=1e-5
    )
    assert ours.run_.predict(diabetes_X) == pytest.approx(ours.predict(diabetes_X))


@parametrize_with_checks([LinearRegressor(loss="poisson"), LinearRegressor(loss="huber")])
def test_scikit_learns_checks_of_other_losses(estimator, check):
    check(estimator)


def test_robust_losses_are_chosen_by_a_grid():
    X = random.normal(size=(120, 2))
    y = X @ [1.0, 2.0] + random.standard_t(1.5, size=120)
    losses = ["squared-error", "huber", descend.HuberLoss(0.3)]
    grid = GridSearchCV(LinearRegressor(), {"loss": losses}, scoring="neg_mean_absolute_error").fit(X, y)
    assert grid.best_params_["loss"] in losses[1:]
    model = LinearRegressor(loss=descend.HuberLoss(0.3))
    assert clone(model).get_params()["loss"] == descend.HuberLoss(0.3)
    fitted = pickle.loads(pickle.dumps(model.fit(X, y)))
    np.testing.assert_array_equal(fitted.predict(X), model.predict(X))
    assert fitted.run_.model.loss == descend.HuberLoss(0.3)


@pytest.mark.parametrize("loss", ["poisson", "huber"])
def test_other_losses_learn_in_instalments(loss):
    X, y = StandardScaler().fit_transform(diabetes_X), COUNTS
    model = LinearRegressor(loss=loss, batch_size=32, learning_rate=0.05, random_state=0)
    whole = LinearRegressor(loss=loss).fit(X, y)
    for _ in range(60):
        model.partial_fit(X, y)
    start = LinearRegressor(loss=loss, steps=0).fit(X, y)
    error = [np.abs(m.predict(X) - whole.predict(X)).mean() for m in (model, start)]
    assert error[0] < 0.2 * error[1]
    assert (model.predict(X) > 0).all() or loss == "huber"


def test_a_classifier_without_probabilities():
    X, y = cancer_X[:, :5], np.where(cancer_y == 1, "benign", "malignant")
    model = LinearClassifier(loss=SquaredHinge(), alpha=1e-3).fit(X, y)
    theirs = LinearSVC(C=1 / (1e-3 * len(y)), tol=1e-8, max_iter=100_000, intercept_scaling=100)
    theirs.fit(StandardScaler().fit_transform(X), y)
    assert model.score(X, y) > 0.9
    assert abs(model.score(X, y) - theirs.score(StandardScaler().fit_transform(X), y)) < 0.02
    with pytest.raises(DescendError, match="`predict_proba` needs a loss of probabilities"):
        model.predict_proba(X)
    with pytest.raises(DescendError, match="squared-hinge with 3 classes"):
        LinearClassifier(loss=SquaredHinge()).fit(iris_X, iris_y)
    with pytest.raises(DescendError, match="`loss` logistic is one of classes"):
        LinearRegressor(loss="logistic").fit(X, cancer_y)


def test_counts_must_be_counts():
    with pytest.raises(DescendError, match="`y` must hold finite numbers of at least 0"):
        LinearRegressor(loss="poisson").fit(diabetes_X, -diabetes_y)


@pytest.mark.parametrize("kind", [LinearRegressor, LinearClassifier])
def test_scores_take_an_offset_and_instalments_refuse_one(kind):
    random = np.random.default_rng(0)
    x, offset = random.normal(size=(90, 2)), random.normal(size=90)
    z = x @ [1.0, -1.0] + 2 * offset
    y = z + random.normal(size=90) if kind is LinearRegressor else (z > 0).astype(int)
    model = kind().fit(x, y, offset=offset)
    metric = r2_score if kind is LinearRegressor else accuracy_score
    assert model.score(x, y, offset=offset) == metric(y, model.predict(x, offset))
    with pytest.raises(DescendError, match="`partial_fit` takes no `offset`"):
        model.partial_fit(x, y)
    with config_context(enable_metadata_routing=True):
        routed = kind().set_fit_request(offset=True).set_score_request(offset=True)
        found = cross_val_score(routed, x, y, params={"offset": offset}, error_score="raise")
    assert np.isfinite(found).all()
