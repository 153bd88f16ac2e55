"""scikit-learn: a pipeline of the same encoding, the same penalty and the same rows.

What a careful user writes: numbers scaled, missing ones filled with the mean and flagged, texts
one-hot (one level dropped where there is no penalty), then LinearRegression or LogisticRegression.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics as sk
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAME = "scikit-learn"
MISSING = ["", "NA", "N/A", "NaN", "null"]


def solvers(classes: bool) -> tuple[str, ...]:
    """The default, and the one that its manual recommends where rows are many and features few."""
    return ("lbfgs", "newton-cholesky") if classes else ("svd",)


def fit(
    path: Path, target: str, held_out: np.ndarray, alpha: float, classes: bool, solver: str
) -> dict[str, Any]:
    """Read, fit and score: the metrics of the training and of the validation rows.

    `held_out` is a mask over the rows of the file; `alpha` the L2 penalty `alpha / 2 |w|**2` on the mean loss.
    """
    data = pd.read_csv(path, keep_default_na=False, na_values=MISSING)
    known = data[target].notna().to_numpy()
    sides = {"training": data[known & ~held_out], "validation": data[known & held_out]}
    features = data.columns.drop(target)
    training = sides["training"]
    model = pipeline(alpha, len(training), classes, solver).fit(training[features], training[target])
    measure = _classification if classes else _regression
    return {side: measure(model, rows[features], rows[target]) for side, rows in sides.items()}


def pipeline(alpha: float, rows: int, classes: bool, solver: str) -> Pipeline:
    """The encoding and the model. LogisticRegression's `C` is `1 / (alpha n)`; LinearRegression has one solver."""
    numbers = make_pipeline(StandardScaler(), SimpleImputer(strategy="mean", add_indicator=True))
    texts = OneHotEncoder(drop=None if alpha else "first", handle_unknown="ignore" if alpha else "error")
    encode = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
    )
    if not classes:
        return make_pipeline(encode, LinearRegression())
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
