"""Problems: data, target, loss and validation turned into objectives; wrong combinations refused."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn import metrics as sk

import descend
from descend import L2, DescendError, LogisticLoss, Serial, SquaredError
from descend.engines.splits import Split
from descend.errors import DataError, ShapeError
from descend.runs.from_arrays import codes_of, encode_target
from descend.runs.prepared import Columns
from descend.runs.problem import Problem

RNG = np.random.default_rng(11)
X = RNG.normal(size=(300, 3))
SCORE = X @ [1.0, -2.0, 0.5] + RNG.normal(size=300)
TARGETS = {
    "squared-error": SCORE,
    "logistic": (SCORE > 0).astype(int),
    "cross-entropy": np.digitize(SCORE, [-1.0, 1.5]),
}


@pytest.fixture
def problem_of():
    """Problems that are closed when the test is over."""
    made = []

    def make(*args, **options):
        made.append(Problem.of(*args, **options))
        return made[-1]

    yield make
    for problem in made:
        problem.close()


def test_arrays_are_taken_as_they_are(problem_of):
    problem = problem_of(X, TARGETS["logistic"])
    assert isinstance(problem.loss, SquaredError)
    assert problem.objective.penalty == L2(0.0)
    assert problem.encoding is None
    assert problem.classes is None
    assert problem.validation is None
    assert problem.feature_names == ("x0", "x1", "x2")
    assert problem.objective.shape == (4,)
    assert problem.rows == {"training": 300, "validation": 0, "without_target": 0}
    assert problem.notes == []
    assert problem.warnings == []
    assert problem_of(X, SCORE, intercept=False).objective.shape == (3,)


REFUSED = {
    "table without a target": (({"x": [1]},), {}, "`target` is needed with a table"),
    "array without y": ((X,), {}, "`y` is needed with an array"),
    "array with a target": ((X, SCORE), {"target": "y"}, "`target` and `columns` go with a table"),
    "array with columns": ((X, SCORE), {"columns": Columns()}, "`target` and `columns` go with a table"),
    "table with weights": (({"x": [1], "y": [1]},), {"target": "y", "sample_weight": [1]}, "`sample_weight`"),
    "unknown loss": ((X, SCORE), {"loss": "hinge"}, "`loss` must be one of .* got 'hinge'"),
    "negative penalty": ((X, SCORE), {"penalty": -1.0}, "at least 0, got -1.0"),
    "all rows held out": ((X, SCORE), {"valid": 1.0}, "between 0 and 1, got 1.0"),
    "no rows held out": ((X, SCORE), {"valid": 0.0}, "between 0 and 1, got 0.0"),
    "a file to validate arrays": ((X, SCORE), {"valid": "a.csv"}, "a fraction or `\\(x, y\\)`, got str"),
    "too few classes": ((X, np.zeros(300)), {"loss": "logistic"}, "exactly 2 classes .* got 1"),
    "too many classes for two": ((X, TARGETS["cross-entropy"]), {"loss": "logistic"}, "exactly 2 .* got 3"),
    "too many classes": ((X, np.arange(300)), {"loss": "cross-entropy"}, "2 to 100 classes .* got 300"),
    "texts as numbers": ((X, np.array(["a"] * 300)), {}, "numbers for squared error"),
}


@pytest.mark.parametrize(("args", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_combinations_are_refused_before_the_first_step(args, options, message, problem_of):
    with pytest.raises(DescendError, match=message):
        problem_of(*args, **options)


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        ((X[:9, :2], SCORE[:9]), r"\(9, 2\).*\(300, 3\).*columns must agree"),
        ((X[:9], SCORE[:8]), r"`valid x` has 9 rows and `valid y` has shape \(8,\)"),
    ],
)
def test_validation_arrays_of_another_shape(valid, message, problem_of):
    with pytest.raises(ShapeError, match=message):
        problem_of(X, SCORE, valid=valid)


def test_a_fraction_holds_out_the_rows_of_its_hash(problem_of):
    held_out = Split(0.25, seed=9).held_out(0, 0, 300)
    problem = problem_of(X, SCORE, valid=0.25, seed=9)
    assert problem.rows == {"training": (~held_out).sum(), "validation": held_out.sum(), "without_target": 0}
    w = np.array([0.5, 0.25, -1.0, 2.0])
    for objective, rows in ((problem.objective, ~held_out), (problem.validation, held_out)):
        expected = sk.mean_squared_error(SCORE[rows], X[rows] @ w[:3] + w[3])
        assert objective.value(w) == pytest.approx(expected, rel=1e-12)


def test_the_validation_loss_has_no_penalty(problem_of):
    w = np.array([1.0, 1.0, 1.0, 0.0])
    problem = problem_of(X, SCORE, penalty=2.0, valid=(X, SCORE))
    assert problem.rows["validation"] == 300
    assert problem.objective.value(w) - problem.validation.value(w) == pytest.approx(3.0)


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("valid", [None, 0.3])
def test_metrics_and_the_constant_are_those_of_scikit_learn(loss, valid, problem_of):
    y = TARGETS[loss]
    problem = problem_of(X, y, loss=loss, valid=valid, seed=2)
    held_out = np.zeros(300, bool) if valid is None else Split(valid, 2).held_out(0, 0, 300)
    w = np.random.default_rng(5).normal(size=problem.objective.shape)
    z = X @ w[:-1] + w[-1]
    found = problem.metrics(w)
    assert set(found) == ({"training"} if valid is None else {"training", "validation"})
    for side, rows in (("training", ~held_out), ("validation", held_out)):
        if side not in found:
            continue
        assert found[side].rows == rows.sum()
        constant, values = _by_scikit_learn(loss, y, z, ~held_out, rows)
        np.testing.assert_allclose(problem.constant, constant, rtol=1e-12)
        for name, (ours, baseline) in values.items():
            assert found[side].values[name] == pytest.approx(ours, rel=1e-10), name
            assert found[side].baseline[name] == pytest.approx(baseline, rel=1e-10, abs=1e-12), name


def _by_scikit_learn(loss, y, z, training, rows):
    """The constant prediction, and each metric beside that of the constant."""
    y_true, z = y[rows], z[rows]
    if loss == "squared-error":
        constant = np.full(len(y_true), y[training].mean())
        names = {"rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score}
        return constant[:1], {k: (f(y_true, z), f(y_true, constant)) for k, f in names.items()}
    classes = np.unique(y)
    if loss == "logistic":
        p = 1 / (1 + np.exp(-z))
        p = np.column_stack([1 - p, p])
    else:
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    shares = np.array([(y[training] == c).mean() for c in classes])
    constant = np.tile(shares, (len(y_true), 1))
    values = {
        "log_loss": tuple(sk.log_loss(y_true, q, labels=classes) for q in (p, constant)),
        "accuracy": tuple(sk.accuracy_score(y_true, classes[q.argmax(axis=1)]) for q in (p, constant)),
    }
    if loss == "logistic":
        values["roc_auc"] = (sk.roc_auc_score(y_true, z), 0.5)
    return shares, values


def test_a_loss_of_ones_own_has_the_metrics_of_its_kind(problem_of):
    class Own(LogisticLoss):
        name = "own"

    problem = problem_of(X, TARGETS["logistic"], loss=Own())
    assert [*problem.metrics(np.zeros(4))["training"].values] == ["log_loss", "accuracy", "roc_auc"]


@pytest.mark.parametrize(
    ("y", "loss", "codes", "classes"),
    [
        ([1.5, 2.5], "squared-error", [1.5, 2.5], None),
        ([3, 7, 3], "logistic", [0, 1, 0], (3, 7)),
        ([True, False], "logistic", [1, 0], (False, True)),
        (["b", "a", "b"], "logistic", [1, 0, 1], ("a", "b")),
        (["b", "c", "a"], "cross-entropy", [1, 2, 0], ("a", "b", "c")),
        ([-1, 1], "cross-entropy", [0, 1], (-1, 1)),
    ],
)
def test_targets_of_arrays(y, loss, codes, classes):
    from descend.objectives.losses import LOSSES

    found, labels = encode_target(np.array(y), LOSSES[loss])
    assert found.tolist() == codes
    assert labels == classes


def test_a_class_that_training_has_not_seen_is_named():
    assert codes_of(np.array(["b", "a"]), ("a", "b"), "y").tolist() == [1, 0]
    for strange in ("0", "ab", "c"):
        with pytest.raises(DataError, match=rf"`valid y` holds .*'{strange}'.*not among the classes"):
            codes_of(np.array(["a", strange]), ("a", "b"), "valid y")


def test_columns_list_all_that_they_mention():
    columns = Columns(["a"], ["b"], ["c"], ["d"], {"e": "x"}, ["-"])
    assert columns.named() == {"a", "b", "c", "d", "e"}


@pytest.mark.parametrize("engine", ["threads", 4, descend.Threads])
def test_what_is_no_engine_is_told_every_engine_there_is(engine):
    with pytest.raises(DescendError, match=r"^`engine` must be None, or ") as caught:
        Problem.of(X, SCORE, engine=engine)
    assert str(caught.value).endswith(f", got {engine!r}.")
    public = [getattr(descend, name) for name in descend.__all__]
    engines = [
        kind.__name__ for kind in public if inspect.isclass(kind) and callable(getattr(kind, "open", None))
    ]
    assert {"Serial", "Threads", "Processes", "Cluster"} <= {*engines}
    assert all(f"{name}()" in str(caught.value) for name in engines)


def test_a_problem_may_be_closed_twice_and_with_any_engine():
    problem = Problem.of(X, SCORE, valid=0.2, engine=Serial())
    before = problem.validation.value(problem.validation.zeros())
    problem.close()
    problem.close()
    assert problem.validation._value(problem.validation.zeros()) == before
