"""scikit-learn estimators over `fit`: LinearRegressor and LinearClassifier.

They take scikit-learn's habits: parameters are stored as they are and checked by `fit`, learned attributes
end in an underscore, labels may be anything. The penalty acts in the units of the data; `standardize`
is a change of coordinates for the descent and changes no converged answer.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from descend.errors import DataError, DescendError, MissingExtraError
from descend.objectives.links import LOGIT

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.utils.multiclass import check_classification_targets
except ImportError as error:
    raise MissingExtraError("the estimators need scikit-learn: pip install 'descend[sklearn]'.") from error

from descend.engines.matrix import Array, Float
from descend.interfaces.sklearn_base import HeldOut, LinearEstimator, Rows, class_weighted
from descend.objectives.losses import Loss, as_loss


class LinearRegressor(RegressorMixin, LinearEstimator):  # type: ignore[misc]
    """Linear regression: minimises `mean((X @ w + b - y)**2) + alpha / 2 * sum(w**2)`, or the mean of another loss.

    `X` has shape (rows, features), dense, CSR or a frame; `y` (rows,). `loss` is "squared-error", "huber", "poisson"
    for counts, an object such as `HuberLoss(0.3)` or a function of torch tensors. `predict` gives the mean, of counts
    `exp(X @ w + b)`; `score` is R², as of scikit-learn's regressors, whatever the loss. `penalty` is "l2", "l1",
    which makes coefficients zero, "elastic-net", both as `l1_ratio` says, None or an object such as `L1(0.1)`; `alpha`
    is its strength ("auto" is 0 here, and must be a number where coefficients are to be zero). `penalise` says what it acts
    on: "original" coefficients, in the units of the data as scikit-learn's, or "standardised" ones, as glmnet's. `optimizer` is "auto"
    (exact, or proximal-gradient), exact, newton, lbfgs, gradient-descent, adam, proximal-gradient or one of the
    package's objects; `learning_rate` is that of gradient descent and Adam, a number, a schedule or "auto".
    `fit_intercept` adds an intercept; with `warm_start` a fit begins at the weights of the one before;
    `random_state` decides which rows are held out and the order of mini-batches. The run ends at the minimum,
    proven as `fit` proves it, or where the gradient norm is at most a number `tol`, or after `steps` updates or `epochs`
    passes where given; `batch_size` makes mini-batches.
    `early_stopping` (True, or how many evaluations to wait) watches the loss on `validation_fraction` of the rows,
    by count, of each class alike, or on those given to `fit`. `standardize` sets the coordinates of the descent. Of
    collinear columns without a penalty the
    solution of minimum norm is taken, in the units of the data, as LinearRegression's. `verbose` prints the loss
    every so many steps. Raises `DescendError`, a ValueError, on bad input.

    Learned: `coef_` (features,), `intercept_`, `n_iter_`, `history_`, `outcome_`, `run_` (by `fit`). Of float32 rows
    coefficients and predictions are float32, while the descent and `run_` keep float64. Parameters and
    attributes as in scikit-learn's developer guide; Ridge's alpha is `alpha * rows / 2` of this one, that of Lasso and
    ElasticNet `alpha / 2`.

    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> model = LinearRegressor().fit(X, y)
    >>> model.coef_.round(9).tolist(), round(float(model.intercept_), 9), model.outcome_.name
    ([2.0], 1.0, 'CONVERGED')
    """

    _auto_penalty = False

    def __init__(
        self,
        *,
        loss: Any = "squared-error",
        penalty: Any = "l2",
        alpha: Any = "auto",
        l1_ratio: float = 0.5,
        penalise: str = "original",
        optimizer: Any = "auto",
        learning_rate: Any = "auto",
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        tol: float | None = None,
        early_stopping: bool | int = False,
        validation_fraction: float = 0.1,
        fit_intercept: bool = True,
        standardize: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.loss, self.penalty, self.alpha, self.l1_ratio = loss, penalty, alpha, l1_ratio
        self.penalise = penalise
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.steps, self.epochs, self.batch_size, self.tol = steps, epochs, batch_size, tol
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.fit_intercept, self.standardize, self.warm_start = fit_intercept, standardize, warm_start
        self.random_state, self.verbose = random_state, verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        eval_set: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        offset_val: Any = None,
    ) -> LinearRegressor:
        """Fit to `X` of shape (rows, features) and `y` (rows,); returns itself.

        `sample_weight` has shape (rows,), weights of at least 0; `offset`, (rows,), is added to the linear predictor, and
        `predict` then needs it too. `X_val`, `y_val`, with `sample_weight_val` and `offset_val`, are rows to validate on,
        which a Pipeline transforms with `transform_input=["X_val"]`; so is `eval_set=(X, y)`, which it leaves as it is.
        Raises `DescendError` on bad input.
        """
        X, y = self._valid_data(X, y)
        given = HeldOut(eval_set, X_val, y_val, sample_weight_val, offset_val)
        held_out = self._held_out(given, offset is not None)
        rows = Rows(X, y, self._weights(sample_weight, X), offset)
        made: LinearRegressor = self._fit(rows, self._loss(), held_out)
        return made

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegressor:
        """Learn from more rows: for squared error exactly, as if all rows so far had been given to `fit`.

        Another loss takes one pass of the optimizer, which goes on from its state. `X`, `y` and `sample_weight` are
        those of `fit`.
        """
        X, y = self._valid_data(X, y, reset=not self._fitted)
        made: LinearRegressor = self._partial(X, y, self._weights(sample_weight, X), self._loss(), None)
        return made

    def predict(self, X: Any, offset: Any = None) -> Array:
        """The mean of the target for each row of `X`, shape (rows,): of counts the exponential of the linear predictor.

        `offset` is what `fit` was given for its rows, where it was.
        """
        return self._loss().link.inverse(self._predictor(X, offset))

    def score(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> float:
        """R² of the predictions for the rows of `X`, beside `y`, (rows,); `sample_weight` and `offset` as in `fit`."""
        return float(r2_score(y, self.predict(X, offset), sample_weight=sample_weight))

    def _loss(self) -> Loss:
        loss = as_loss(self.loss)
        if loss.has_classes:
            raise DescendError(f"`loss` {loss.name} is one of classes. Use LinearClassifier.")
        if loss.outputs(1) is not None:
            raise DescendError(
                "`loss` must be one of a single prediction a row: with several use `descend.fit(x, y, loss=...)`."
            )
        return loss

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        with suppress(DescendError):  # `fit` tells of a loss that is none
            tags.target_tags.positive_only = as_loss(self.loss).kind == "count"
        return tags

    def _learn(self, w: Float, kind: Any) -> None:
        super()._learn(w, kind)
        self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]

    def _start(self) -> Float | None:
        w: Float = np.append(self.coef_, self.intercept_) if self.fit_intercept else self.coef_
        return w


class LinearClassifier(ClassifierMixin, LinearEstimator):  # type: ignore[misc]
    """Logistic regression, of two classes or more: minimises the mean cross entropy plus `alpha / 2 * sum(w**2)`.

    The parameters are those of `LinearRegressor`, but: `loss` is "auto" (logistic for two classes, else
    cross-entropy over all of them), `alpha` "auto" is 1 / (weight of the training rows), scikit-learn's `C=1`, since
    separable classes have no optimum without a penalty, of any kind of it; and `class_weight` is None, "balanced" or a dict of weights.
    `y` holds labels of any kind, shape (rows,).

    Learned: `classes_`, `coef_` (1, features) or (classes, features), `intercept_` (1,) or (classes,),
    and those of LinearRegressor.

    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array(["no", "yes", "no", "yes"])
    >>> model = LinearClassifier().fit(X, y)
    >>> model.predict([[0.0], [3.0]]).tolist(), model.predict_proba([[1.5]]).round(3).tolist()
    (['no', 'yes'], [[0.5, 0.5]])
    """

    _auto_penalty = True

    def __init__(
        self,
        *,
        loss: Any = "auto",
        penalty: Any = "l2",
        alpha: Any = "auto",
        l1_ratio: float = 0.5,
        penalise: str = "original",
        optimizer: Any = "auto",
        learning_rate: Any = "auto",
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        tol: float | None = None,
        early_stopping: bool | int = False,
        validation_fraction: float = 0.1,
        fit_intercept: bool = True,
        standardize: bool = True,
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.loss, self.penalty, self.alpha, self.l1_ratio = loss, penalty, alpha, l1_ratio
        self.penalise = penalise
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.steps, self.epochs, self.batch_size, self.tol = steps, epochs, batch_size, tol
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.fit_intercept, self.standardize, self.warm_start = fit_intercept, standardize, warm_start
        self.class_weight, self.random_state, self.verbose = class_weight, random_state, verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        eval_set: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        offset_val: Any = None,
    ) -> LinearClassifier:
        """Fit to `X` of shape (rows, features) and `y` (rows,); returns itself.

        `sample_weight` has shape (rows,), weights of at least 0; `offset`, (rows,), is added to the linear predictor, and
        `predict` then needs it too. `X_val`, `y_val`, with `sample_weight_val` and `offset_val`, are rows to validate on,
        which a Pipeline transforms with `transform_input=["X_val"]`; so is `eval_set=(X, y)`, which it leaves as it is.
        Raises `DescendError` on bad input.
        """
        X, y = self._valid_data(X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        given = HeldOut(eval_set, X_val, y_val, sample_weight_val, offset_val)
        held_out = self._held_out(given, offset is not None)
        if held_out is not None:
            held_out = held_out._replace(y=self._codes(held_out.y, held_out.names.y))
        rows = Rows(X, self._codes(y, "y"), self._weights(sample_weight, X), offset)
        made: LinearClassifier = self._fit(rows, self._loss(), held_out)
        return made

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> LinearClassifier:
        """One pass of the optimizer over more rows; it goes on from its state and schedule.

        The first call needs `classes`, all labels that will ever come. Optimizers that work on all rows
        make one step on those given. `X`, `y` and `sample_weight` are those of `fit`. Raises `DescendError` where
        `classes` are missing or change, and where `class_weight` is "balanced".
        """
        first = not hasattr(self, "classes_")  # as scikit-learn tells the first call
        if first and classes is None:
            raise DescendError(
                "`classes` is needed by the first call of `partial_fit`: all labels there will be."
            )
        X, y = self._valid_data(X, y, reset=first)
        check_classification_targets(y)
        if first:
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise DescendError(f"`classes` must be those of the first call, {self.classes_.tolist()}.")
        codes, loss = self._codes(y, "y"), self._loss()
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise DescendError(
                '`class_weight` "balanced" does not go with `partial_fit`: the classes\' shares are not known yet. '
                "Give a dict of weights."
            )
        s = class_weighted(self.class_weight, self.classes_, codes, self._weights(sample_weight, X))
        made: LinearClassifier = self._partial(X, codes, s, loss, loss.outputs(len(self.classes_)))
        return made

    def decision_function(self, X: Any, offset: Any = None) -> Float:
        """The linear predictor of the rows of `X`, (rows,) of the second of two classes, or (rows, classes).

        `offset` is what `fit` was given for its rows, where it was.
        """
        return self._predictor(X, offset)

    def predict(self, X: Any, offset: Any = None) -> Array:
        """One label for each row of `X`, the most probable, shape (rows,).

        `offset` is what `fit` was given for its rows, where it was.
        """
        z = self.decision_function(X, offset)
        codes = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
        return np.asarray(self.classes_[codes])

    def score(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> float:
        """The share of rows of `X` whose label `y`, (rows,), is predicted; `sample_weight` and `offset` as in `fit`."""
        return float(accuracy_score(y, self.predict(X, offset), sample_weight=sample_weight))

    def predict_proba(self, X: Any, offset: Any = None) -> Float:
        """One probability per class for each row of `X`, shape (rows, classes), in the order of `classes_`.

        Raises `DescendError` where the loss knows no probabilities.


        `offset` is what `fit` was given for its rows, where it was.
        """
        z, loss = self.decision_function(X, offset), self._loss()
        if not loss.link.probabilities:
            raise DescendError(f"`predict_proba` needs a loss of probabilities, and {loss.title} has none.")
        if z.ndim == 2:
            return loss.link.inverse(z)
        if loss.link == LOGIT or loss.kind == "classes":  # of two classes, by their difference
            return np.column_stack([LOGIT.inverse(z) for z in (-z, z)])
        p = loss.link.inverse(z)
        return np.column_stack([1.0 - p, p])

    def predict_log_proba(self, X: Any, offset: Any = None) -> Float:
        """The logarithms of `predict_proba` for the rows of `X`.

        `offset` is what `fit` was given for its rows, where it was.
        """
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X, offset)))

    def _loss(self) -> Loss:
        two = len(self.classes_) == 2
        if isinstance(self.loss, str) and self.loss == "auto":
            return as_loss("logistic" if two else "cross-entropy")
        loss = as_loss(self.loss)
        if not loss.has_classes or (loss.kind == "two classes" and not two):
            raise DescendError(
                f"`loss` must be auto, logistic (two classes) or cross-entropy, got {loss.name} "
                f"with {len(self.classes_)} classes."
            )
        return loss

    def _codes(self, y: Array, name: str) -> Float:
        if len(self.classes_) < 2:
            raise DataError(f"`y` must hold at least 2 classes, got one class: {self.classes_.tolist()}.")
        codes = np.searchsorted(self.classes_, y).clip(0, len(self.classes_) - 1)
        strange = self.classes_[codes] != y
        if strange.any():
            raise DataError(
                f"`{name}` holds {y[strange][0]!r}, which is not among the classes {self.classes_}."
            )
        return codes.astype(np.float64)

    @property
    def _errors(self) -> str | None:
        return None if self.class_weight is None else "hc0"  # made-up weights say nothing of how rows vary

    def _weighed(self, rows: Rows) -> Rows:
        s = class_weighted(self.class_weight, self.classes_, rows.y, rows.sample_weight)
        there = np.unique(rows.y if s is None else rows.y[s > 0]).astype(np.intp)
        if len(there) == 1:
            raise DataError(
                f"`y` must hold at least 2 classes among the rows of weight above 0, got one class: {self.classes_[there].tolist()}."
            )
        return rows._replace(sample_weight=s)

    def _labels(self) -> tuple[Any, ...]:
        return tuple(self.classes_.tolist())

    def _start(self) -> Float | None:
        W = np.vstack([self.coef_.T, self.intercept_]) if self.fit_intercept else self.coef_.T
        if self._loss().kind == "two classes":
            return np.asarray(W[:, 0])
        return np.column_stack([-W / 2, W / 2]) if len(self.classes_) == 2 else np.asarray(W)
