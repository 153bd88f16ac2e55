"""The `run_` of an estimator: every method of a Run works on it, whatever the rows were, and tells what `fit` tells."""

from __future__ import annotations

import pickle
from importlib.util import find_spec

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, r2_score, roc_auc_score

import descend
from descend import DescendError, LinearClassifier, LinearRegressor, Run
from descend.interfaces.cli import main
from descend.models.summary import summarise_model

RNG = np.random.default_rng(0)
ROWS = 150
X = RNG.normal((0.0, 5.0, 0.0), size=(ROWS, 3)).astype(np.float32).astype(np.float64)
Z = X @ [1.0, -1.0, 0.5] + 5.0
NUMBERS = Z + RNG.normal(size=ROWS)
COUNTS = RNG.poisson(np.exp(0.3 * Z))
TWO = np.where(Z + RNG.logistic(size=ROWS) > 0, "yes", "no")
THREE = np.array(["red", "green", "blue"])[
    np.argmax(np.column_stack([0 * Z, Z, -Z]) + RNG.gumbel(size=(ROWS, 3)), axis=1)
]
NAMES = ("height", "income [k]", "x9")
KINDS = {
    "array": np.asarray,
    "pandas": lambda x: pd.DataFrame(x, columns=NAMES),
    "polars": lambda x: pl.DataFrame(x, schema=NAMES),
    "sparse": csr_array,
    "float32": lambda x: x.astype(np.float32),
}
MODELS = {
    "numbers": (LinearRegressor(), NUMBERS),
    "numbers with a penalty": (LinearRegressor(alpha=0.1), NUMBERS),
    "huber": (LinearRegressor(loss="huber"), NUMBERS),
    "poisson": (LinearRegressor(loss="poisson"), COUNTS),
    "two classes": (LinearClassifier(alpha=0), TWO),
    "three classes": (LinearClassifier(alpha=0), THREE),
    "three classes with zeros": (LinearClassifier(penalty="l1", alpha=0.01), THREE),
    "stopped early": (LinearRegressor(optimizer="lbfgs", early_stopping=2, random_state=0), NUMBERS),
    "classes stopped early": (LinearClassifier(alpha=0, early_stopping=2, random_state=0), TWO),
}
NAMED = {*dir(Run), *Run.__dataclass_fields__} - {"from_torch"}  # which makes a run of something else
PUBLIC = sorted(name for name in NAMED if not name.startswith("_"))
EMPTY = {"like", "origin", "problem", "profiles", "quadratic", "standard_errors", "notes", "report", "save"}
"""What may be None: nobody's rows are kept, some runs have no errors, and some methods write."""


def fitted(model, kind):
    """The run of an estimator on rows of this kind, the rows, and the target."""
    estimator, y = MODELS[model]
    rows = KINDS[kind](X)
    return estimator.fit(rows, y).run_, rows, y


def arguments(run, rows, path):
    """What methods are called with."""
    first = next(iter(run.coefficients))
    label = f"{run.model.classes[1]}: " if run.weights.ndim == 2 else ""
    return {
        "predict": (rows,),
        "predict_interval": (rows,),
        "predict_probabilities": (rows,),
        "report": (path / "run.html",),
        "save": (path / "run.json",),
        "test": (f"`{label}{first}` = 0",),
    }


def refused(run):
    """The names for which an error is right, and what it says."""
    found = {} if find_spec("torch") else {"to_torch": r"descend\[torch\]"}
    if run.model.classes is None:
        found |= dict.fromkeys(("plot_confusion", "predict_probabilities"), "predicts numbers")
    if run.standard_errors is None:
        found |= dict.fromkeys(("covariance", "test"), "there is no covariance")
    if run.standard_errors is None or run.weights.ndim == 2:
        found["predict_interval"] = "there are no intervals"
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_every_public_name_of_a_run_works(model, kind, tmp_path):
    run, rows, _ = fitted(model, kind)
    assert len(pickle.dumps(MODELS[model][0])) < 20_000
    given, errors = arguments(run, rows, tmp_path), refused(run)
    for name in PUBLIC:
        if name in errors:
            with pytest.raises(DescendError, match=errors[name]):
                getattr(run, name)(*given.get(name, ()))
            continue
        found = getattr(run, name)
        if callable(found):
            found = found(*given.get(name, ()))
        assert name in EMPTY or found is not None, name
        plt.close("all")
    assert all((tmp_path / f"run.{suffix}").stat().st_size > 500 for suffix in ("html", "json"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS)
def test_metrics_and_summary_are_those_of_fit(model, kind, tmp_path, capsys):
    run, rows, y = fitted(model, kind)
    estimator = MODELS[model][0]
    names = NAMES if kind in ("pandas", "polars") else None
    assert run.rows["training"] + run.rows["validation"] == ROWS
    assert set(run.metrics) == {side for side in ("training", "validation") if run.rows[side]}
    if not run.rows["validation"]:
        loss, penalty = run.model.loss, estimator._penalty_of(ROWS)
        same = descend.fit(X, y, loss=loss, penalty=penalty, standardize=True, feature_names=names)
        assert str(run.summary()).splitlines()[0] == str(same.summary()).splitlines()[0]
        np.testing.assert_allclose(plain(run.summary()), plain(same.summary()), rtol=1e-6)
        assert [e.title for e in run.summary().estimates] == [e.title for e in same.summary().estimates]
        assert run.metrics["training"].values == pytest.approx(same.metrics["training"].values, rel=1e-6)
        assert run.metrics["training"].baseline == pytest.approx(same.metrics["training"].baseline)
    run.save(tmp_path / "saved.json")
    loaded = descend.load(tmp_path / "saved.json")
    assert str(summarise_model(loaded)) == str(run.summary())
    np.testing.assert_array_equal(loaded.predict(rows), run.predict(rows))
    assert main(["show", str(tmp_path / "saved.json")]) in (None, 0)
    shown = capsys.readouterr().out
    assert all(name in shown for name in names or ("x0", "x1", "x2"))


def plain(summary):
    """All numbers of a summary."""
    return [
        *summary.figures.values(),
        *(
            v
            for e in summary.estimates
            for v in (e.coefficient, e.standard_error, e.statistic, e.low, e.high)
        ),
    ]


@pytest.mark.parametrize("model", ["numbers", "two classes", "three classes"])
def test_the_metrics_are_scikit_learns(model):
    run, rows, y = fitted(model, "pandas")
    found = run.metrics["training"].values
    if model == "numbers":
        assert found["r2"] == pytest.approx(r2_score(y, run.predict(rows)))
        return
    shares = run.predict_probabilities(rows)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, run.predict(rows)))
    assert found["log_loss"] == pytest.approx(log_loss(y, shares))
    if model == "two classes":
        assert found["roc_auc"] == pytest.approx(roc_auc_score(y, shares[:, 1]))
    confusion = confusion_matrix(y, run.predict(rows))
    np.testing.assert_array_equal(run.metrics["training"].confusion, confusion)


def test_sentences_name_the_columns_of_a_frame():
    twice = np.column_stack([X, X[:, 0]])
    model = LinearRegressor().fit(pd.DataFrame(twice, columns=[*NAMES, "again"]), NUMBERS)
    assert "`height` = `again`" in " ".join(model.run_.notes)
    apart = LinearClassifier(alpha=0)
    with pytest.warns(descend.DescendWarning, match="`height` tells the classes apart"):
        apart.fit(pd.DataFrame(X, columns=NAMES), X[:, 0] > 0)
    assert "height" in apart.run_.message


def test_names_must_tell_columns_apart():
    names = ["a", "b", "(intercept)"]
    run = LinearRegressor().fit(pd.DataFrame(X, columns=names), NUMBERS).run_
    assert [e.name for e in run.summary().estimates] == ["x0", "x1", "x2", "(intercept)"]
    for twice in (names, ["a", "b", "a"]):
        with pytest.raises(DescendError, match="`feature_names` must differ"):
            descend.fit(X, NUMBERS, feature_names=twice)


def test_names_of_arrays_are_one_text_for_each_column():
    run = descend.fit(X, NUMBERS, feature_names=NAMES)
    assert [*run.coefficients, *run.standard_errors] == 2 * [*NAMES, "(intercept)"]
    for names in (NAMES[:2], [1, 2, 3], "ab"):
        with pytest.raises(DescendError, match="`feature_names` must hold one text for each of 3 columns"):
            descend.fit(X, NUMBERS, feature_names=names)
    with pytest.raises(DescendError, match="`feature_names` goes with arrays"):
        descend.fit({"a": X[:, 0], "y": NUMBERS}, target="y", feature_names=["a"])


def test_a_diverged_estimator_has_a_report(tmp_path):
    model = LinearRegressor(optimizer="gradient-descent", learning_rate=100.0)
    with pytest.warns(descend.DescendWarning, match="above"):
        model.fit(X, NUMBERS)
    assert model.outcome_ is descend.Outcome.DIVERGED
    model.run_.report(tmp_path / "run.html")
    model.run_.save(tmp_path / "run.json")


def test_a_diagnosis_goes_by_what_is_kept():
    model = LinearRegressor().fit(pd.DataFrame(X * [1.0, 1e3, 1.0], columns=NAMES), NUMBERS)
    right = descend.diagnose(X * [1.0, 1e3, 1.0], NUMBERS)
    found = descend.diagnose(model.run_)
    assert found.given.condition_number == pytest.approx(right.given.condition_number, rel=1e-9)
    assert found.gap.best == pytest.approx(right.gap.best, rel=1e-9)
    with pytest.raises(DescendError, match="an estimator lets its rows go"):
        descend.diagnose(LinearClassifier().fit(X, TWO).run_)
