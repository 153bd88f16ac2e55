"""scikit-learn: a pipeline of the same encoding, the same penalty and the same rows.

What a careful user writes: numbers and dates (as days) scaled, missing ones filled with the mean and
flagged, texts one-hot (one level dropped where there is no penalty, rare ones together), then
LinearRegression or LogisticRegression. Beside it, the estimators for data that is in memory already.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics as sk
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAME = "scikit-learn"
MISSING = ["", "NA", "N/A", "NaN", "null"]
MAX_LEVELS = 1_000
"""Levels of a text with a column of their own; the rarer ones share one."""


@dataclass(frozen=True)
class Columns:
    """The columns to learn from, and those of them that hold dates."""

    used: Collection[str]
    dates: Collection[str] = ()


def solvers(classes: bool) -> tuple[str, ...]:
    """The default, and the one that its manual recommends where rows are many and features few."""
    return ("lbfgs", "newton-cholesky") if classes else ("LinearRegression",)


def fit(
    path: Path,
    target: str,
    columns: Columns,
    held_out: np.ndarray,
    alpha: float,
    classes: bool,
    solver: str,
) -> dict[str, Any]:
    """Read, fit and score: the metrics of the training and of the validation rows.

    `held_out` is a mask over the rows of the file; `alpha` the L2 penalty `alpha / 2 |w|**2` on the mean loss.
    """
    data = pd.read_csv(path, keep_default_na=False, na_values=MISSING)
    for name in columns.dates:
        data[name] = (pd.to_datetime(data[name], utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1D")
    known = data[target].notna().to_numpy()
    y = data[target].astype(str) if classes else data[target]
    sides = {"training": known & ~held_out, "validation": known & held_out}
    X, training = data[list(columns.used)].copy(), sides["training"]
    for name in X.select_dtypes(exclude="number"):
        X[name] = folded(X[name], training)
    model = pipeline(alpha, int(training.sum()), classes, solver).fit(X[training], y[training])
    measure = _classification if classes else _regression
    return {side: measure(model, X[rows], y[rows]) for side, rows in sides.items()}


def folded(texts: pd.Series, training: np.ndarray) -> pd.Series:
    """The most frequent levels of the training rows, the others as one; the first level where all have their own.

    OneHotEncoder's `max_categories` keeps other levels where several are equally frequent.
    """
    counts = texts[training].value_counts()
    levels = sorted(counts.index, key=lambda level: (-counts[level], level))
    other = "(other)" if len(levels) > MAX_LEVELS else min(levels)
    return texts.where(texts.isin(levels[:MAX_LEVELS]) | texts.isna(), other)


def pipeline(alpha: float, rows: int, classes: bool, solver: str) -> Pipeline:
    """The encoding and the model. LogisticRegression's `C` is `1 / (alpha n)`.

    LinearRegression solves by singular values, or where the columns are mostly zeros by LSQR, whose
    tolerance it takes.
    """
    numbers = make_pipeline(StandardScaler(), SimpleImputer(strategy="mean", add_indicator=True))
    texts = OneHotEncoder(drop=None if alpha else "first", handle_unknown="ignore")
    encode = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
    )
    if not classes:
        return make_pipeline(encode, LinearRegression(tol=1e-8))
    strength = 1.0 / (alpha * rows) if alpha else np.inf
    return make_pipeline(encode, LogisticRegression(C=strength, solver=solver, tol=1e-8, max_iter=10_000))


def _regression(model: Pipeline, X: pd.DataFrame, y: pd.Series) -> dict[str, float]:
    predicted = model.predict(X)
    return {
        "rmse": sk.root_mean_squared_error(y, predicted),
        "mae": sk.mean_absolute_error(y, predicted),
        "r2": sk.r2_score(y, predicted),
    }


def _classification(model: Pipeline, X: pd.DataFrame, y: pd.Series) -> dict[str, float]:
    p = model.predict_proba(X)
    found = {
        "log_loss": sk.log_loss(y, p, labels=model.classes_),
        "accuracy": sk.accuracy_score(y, model.classes_[p.argmax(axis=1)]),
    }
    if p.shape[1] == 2:
        found["roc_auc"] = sk.roc_auc_score(y == model.classes_[1], p[:, 1])
    return found


def sgd_epoch(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One epoch of logistic regression on rows in memory, one row at a time: the weights."""
    return SGDClassifier(loss="log_loss", max_iter=1, tol=None).fit(X, y).coef_[0]


def sgd(X: Any, y: np.ndarray, alpha: float) -> np.ndarray:
    """Logistic regression without an intercept, to SGDClassifier's default tolerance: the weights."""
    return SGDClassifier(loss="log_loss", alpha=alpha, fit_intercept=False).fit(X, y).coef_[0]


def liblinear(X: Any, y: np.ndarray, alpha: float) -> np.ndarray:
    """The same by liblinear. It would penalise an intercept, so there is none."""
    strength = 1.0 / (alpha * X.shape[0])
    return LogisticRegression(C=strength, solver="liblinear", fit_intercept=False).fit(X, y).coef_[0]
