"""scikit-learn estimators over `fit`: LinearRegressor and LinearClassifier.

They take scikit-learn's habits: parameters are stored as they are and checked by `fit`, learned attributes
end in an underscore, labels may be anything. The penalty acts in the units of the data; `standardize`
is a change of coordinates for the descent and changes no converged answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from descend.errors import MissingExtraError

try:
    import sklearn  # noqa: F401
except ImportError as error:  # pragma: no cover
    raise MissingExtraError("the estimators need scikit-learn: pip install 'descend[sklearn]'.") from error
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from descend.errors import DataError, DescendError
from descend.history import History, Step
from descend.incremental import Instalments, Sums, instalments
from descend.losses import CrossEntropy, LogisticLoss, Loss, as_loss
from descend.matrix import Array, Float, Matrix
from descend.objective import Quadratic
from descend.optimizers import GradientDescent
from descend.parameters import class_weighted, loss_curve, optimizer_of, penalty_of, training_weight
from descend.run import Run, fit
from descend.stopping import Outcome

try:  # since scikit-learn 1.9
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # pragma: no cover

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to report to."""

    def with_callbacks(method: Any) -> Any:
        """The method as it is."""
        return method


PATIENCE = 5
"""Evaluations of the validation loss without a fall that `early_stopping=True` waits for."""


class _Linear(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share: from parameters to a run, from a run to attributes."""

    def _start(self) -> Float | None:
        """The weights to go on from, shaped as the run's."""
        raise NotImplementedError

    def _learn(self, w: Float) -> None:
        """Attributes from weights in the units of the data."""
        W = w.reshape(len(w), -1)
        if W.shape[1] == 2:  # two classes by cross entropy: only the difference counts
            W = W[:, 1:] - W[:, :1]
        coef, intercept = (W[:-1], W[-1]) if self.fit_intercept else (W, np.zeros(W.shape[1]))
        self.coef_, self.intercept_ = coef.T.copy(), intercept.copy()

    @with_callbacks  # type: ignore[untyped-decorator]
    def _fit(
        self,
        X: Matrix,
        y: Array,
        s: Float | None,
        loss: Loss,
        eval_set: tuple[Matrix, Array] | None,
    ) -> Any:
        context, callbacks = None, ()
        if hasattr(self, "_init_callback_context"):
            context = self._init_callback_context(max_subtasks=None)
            callbacks = getattr(context, "_callbacks", ())
            context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        seed = self._seed()
        valid: Any = eval_set
        if self.early_stopping and eval_set is None:
            valid = float(self.validation_fraction)
        weight = training_weight(s, X.shape[0], seed, valid)
        start = self._start() if self.warm_start and hasattr(self, "coef_") else None
        run = fit(
            X,
            y,
            loss=loss,
            penalty=penalty_of(self.penalty, self.alpha, 1.0 / weight if self._auto_penalty else 0.0),
            intercept=self.fit_intercept,
            sample_weight=s,
            valid=valid,
            seed=seed,
            optimizer=optimizer_of(self.optimizer, self.learning_rate),
            start=start,
            steps=self.steps,
            epochs=self.epochs,
            batch_size=self.batch_size,
            tolerance=self.tol if self._open_ended() else None,
            patience=PATIENCE if self.early_stopping is True else self.early_stopping or None,
            every=int(self.verbose) or None,
            standardize=self.standardize,
            watch=(lambda walk: self._reported(walk, context, X, y)) if callbacks else None,
        )
        self._keep(run)
        if context is not None:
            context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})
        return self

    def _keep(self, run: Run) -> None:
        """Learned attributes from a run; its rows are let go."""
        objective = run.problem.objective if run.problem is not None else None
        self._instalments: Instalments | None = None
        if isinstance(objective, Quadratic):  # so that partial_fit may go on exactly
            self._instalments = Sums(self.fit_intercept, objective.moments, len(run.history) - 1)
        self._learn(run.model.weights)
        self.n_iter_ = max(len(run.history) - 1, 1)
        self.history_, self.outcome_ = run.history, run.outcome
        names = tuple(getattr(self, "feature_names_in_", run.model.feature_names))
        classes = tuple(self.classes_.tolist()) if hasattr(self, "classes_") else None
        run.history.names = (*names, *run.history.names[len(names) :]) if run.history.names else None
        model = replace(run.model, feature_names=names, classes=classes)
        self.run_ = replace(run, model=model, problem=None, origin=None, _sample=run.sample)
        if run.outcome is Outcome.STEP_LIMIT and self._open_ended() and self.batch_size is None:
            warnings.warn(
                f"{type(self).__name__} {run.outcome.value} before the gradient norm fell to `tol` {self.tol:g}. "
                "Raise `tol`, or use another optimizer.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _partial(self, X: Matrix, y: Array, s: Float | None, loss: Loss, outputs: int | None) -> Any:
        learner = getattr(self, "_instalments", None)
        if learner is None:
            optimizer = optimizer_of(self.optimizer, self.learning_rate)
            optimizer = GradientDescent() if isinstance(optimizer, str) else optimizer
            learner = self._instalments = instalments(
                loss,
                self.fit_intercept,
                X.shape[1],
                optimizer=optimizer.planned(self.steps),
                outputs=outputs,
                batch_size=self.batch_size,
                standardize=self.standardize,
                seed=self._seed(),
            )
            self.history_ = History()
        weight = learner.weight + (X.shape[0] if s is None else float(s.sum()))
        start = self._start() if hasattr(self, "coef_") else None
        w, value = learner.take(
            X, y, s, penalty_of(self.penalty, self.alpha, 1.0 / weight if self._auto_penalty else 0.0), start
        )
        self._learn(w)
        self.n_iter_, self.outcome_ = max(learner.number, 1), Outcome.STEP_LIMIT
        self.history_.record(loss=value, weights=w, number=learner.number)
        return self

    def _open_ended(self) -> bool:
        return self.steps is None and self.epochs is None

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _weights(self, sample_weight: Any, X: Matrix) -> Float | None:
        return None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)

    def _valid_rows(self, eval_set: Any) -> tuple[Matrix, Array] | None:
        if eval_set is None:
            return None
        if not (isinstance(eval_set, tuple | list) and len(eval_set) == 2):
            raise DescendError(f"`eval_set` must be a pair `(X, y)`, got {type(eval_set).__name__}.")
        return self._valid_data(eval_set[0], eval_set[1], reset=False)

    def _valid_data(self, X: Any, y: Any, reset: bool = True) -> tuple[Matrix, Array]:
        kinds, y_numeric = [np.float64, np.float32], self._auto_penalty is False
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=kinds, y_numeric=y_numeric, reset=reset)
        return X, y

    def _predictor(self, X: Any) -> Float:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        z = safe_sparse_dot(X, np.atleast_2d(self.coef_).T, dense_output=True) + self.intercept_
        return np.asarray(z[:, 0] if z.shape[1] == 1 else z)

    def _reported(self, walk: Iterator[Step], context: Any, X: Matrix, y: Array) -> Iterator[Step]:
        """The steps of a walk, told to scikit-learn's callbacks; one that answers True ends it."""

        def attributes(step: Step) -> dict[str, Any]:
            kept = self.__dict__.copy()
            self._learn(step.weights)
            found = {"coef_": self.coef_, "intercept_": self.intercept_, "n_iter_": max(step.number, 1)}
            self.__dict__.clear()
            self.__dict__.update(kept)
            return found

        for step in walk:
            task = context.subcontext(task_name="step")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            stop = task.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=lambda step=step: attributes(step)
            )
            yield step
            if stop:
                return

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _html_repr(self) -> str:
        """scikit-learn's box; once fitted, how the fit ended and its loss curve below."""
        box = str(super()._html_repr())
        if not hasattr(self, "history_"):
            return box
        loss = self.history_.loss
        loss = loss[np.isfinite(loss)]
        return f"{box}<div>{self.outcome_.value}, loss {loss[-1]:.6g}</div>{loss_curve(loss)}"


class LinearRegressor(RegressorMixin, _Linear):  # type: ignore[misc]
    """Linear regression: minimises `mean((X @ w + b - y)**2) + alpha / 2 * sum(w**2)`.

    `X` has shape (rows, features), dense, CSR or a frame; `y` (rows,). `penalty` is "l2" or None, `alpha`
    its strength ("auto" is 0 here). `optimizer` is "auto" (exact), exact, newton, lbfgs,
    gradient-descent, adam or one of the package's objects. The run ends where the gradient norm is at
    most `tol`, or after `steps` updates or `epochs` passes where given; `batch_size` makes mini-batches.
    `early_stopping` (True, or how many evaluations to wait) watches the loss on `validation_fraction` of
    the rows, or on `eval_set`. `standardize` sets the coordinates of the descent. `verbose` prints the loss
    every so many steps. Raises `DescendError`, a ValueError, on bad input.

    Learned: `coef_` (features,), `intercept_`, `n_iter_`, `history_`, `outcome_`, `run_`. Parameters and
    attributes as in scikit-learn's developer guide; Ridge's alpha is `alpha * rows / 2` of this one.

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
        optimizer: Any = "auto",
        learning_rate: Any = "auto",
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        tol: float = 1e-6,
        early_stopping: bool | int = False,
        validation_fraction: float = 0.1,
        fit_intercept: bool = True,
        standardize: bool = True,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.loss, self.penalty, self.alpha = loss, penalty, alpha
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.steps, self.epochs, self.batch_size, self.tol = steps, epochs, batch_size, tol
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.fit_intercept, self.standardize, self.warm_start = fit_intercept, standardize, warm_start
        self.random_state, self.verbose = random_state, verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None) -> LinearRegressor:
        """Fit; `eval_set=(X, y)` holds rows to validate on."""
        X, y = self._valid_data(X, y)
        made: LinearRegressor = self._fit(
            X, y, self._weights(sample_weight, X), self._loss(), self._valid_rows(eval_set)
        )
        return made

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegressor:
        """Learn from more rows: for squared error exactly, as if all rows so far had been given to `fit`.

        Another loss takes one pass of the optimizer, which goes on from its state.
        """
        X, y = self._valid_data(X, y, reset=not hasattr(self, "coef_"))
        made: LinearRegressor = self._partial(X, y, self._weights(sample_weight, X), self._loss(), None)
        return made

    def predict(self, X: Any) -> Array:
        """One number per row."""
        return self._predictor(X)

    def _loss(self) -> Loss:
        loss = as_loss(self.loss)
        if isinstance(loss, LogisticLoss | CrossEntropy):
            raise DescendError(f"`loss` {loss.name} is one of classes. Use LinearClassifier.")
        return loss

    def _learn(self, w: Float) -> None:
        super()._learn(w)
        self.coef_, self.intercept_ = self.coef_[0], float(self.intercept_[0])

    def _start(self) -> Float | None:
        w: Float = np.append(self.coef_, self.intercept_) if self.fit_intercept else self.coef_
        return w


class LinearClassifier(ClassifierMixin, _Linear):  # type: ignore[misc]
    """Logistic regression, of two classes or more: minimises the mean cross entropy plus `alpha / 2 * sum(w**2)`.

    As LinearRegressor, but: `loss` is "auto" (logistic for two classes, else cross-entropy over all of
    them), `alpha` "auto" is 1 / (weight of the training rows), scikit-learn's `C=1`, since separable classes
    have no optimum without a penalty; and `class_weight` is None, "balanced" or a dict of weights.

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
        optimizer: Any = "auto",
        learning_rate: Any = "auto",
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        tol: float = 1e-6,
        early_stopping: bool | int = False,
        validation_fraction: float = 0.1,
        fit_intercept: bool = True,
        standardize: bool = True,
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.loss, self.penalty, self.alpha = loss, penalty, alpha
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.steps, self.epochs, self.batch_size, self.tol = steps, epochs, batch_size, tol
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.fit_intercept, self.standardize, self.warm_start = fit_intercept, standardize, warm_start
        self.class_weight, self.random_state, self.verbose = class_weight, random_state, verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: Any = None) -> LinearClassifier:
        """Fit; `eval_set=(X, y)` holds rows to validate on."""
        X, y = self._valid_data(X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        held_out = self._valid_rows(eval_set)
        if held_out is not None:
            held_out = held_out[0], self._codes(held_out[1], "eval_set")
        codes = self._codes(y, "y")
        s = class_weighted(self.class_weight, self.classes_, codes, self._weights(sample_weight, X))
        made: LinearClassifier = self._fit(X, codes, s, self._loss(), held_out)
        return made

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> LinearClassifier:
        """One pass of the optimizer over more rows; it goes on from its state and schedule.

        The first call needs `classes`, all labels that will ever come. Optimizers that work on all rows
        make one step on those given.
        """
        first = not hasattr(self, "classes_")
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
        if isinstance(self.class_weight, str):
            raise DescendError(
                '`class_weight` "balanced" does not go with `partial_fit`: the classes\' shares are not known yet. '
                "Give a dict of weights."
            )
        s = class_weighted(self.class_weight, self.classes_, codes, self._weights(sample_weight, X))
        outputs = len(self.classes_) if isinstance(loss, CrossEntropy) else None
        made: LinearClassifier = self._partial(X, codes, s, loss, outputs)
        return made

    def decision_function(self, X: Any) -> Float:
        """The linear predictor, (rows,) of the second of two classes, or (rows, classes)."""
        return self._predictor(X)

    def predict(self, X: Any) -> Array:
        """One label per row: the most probable."""
        z = self.decision_function(X)
        codes = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
        return np.asarray(self.classes_[codes])

    def predict_proba(self, X: Any) -> Float:
        """One probability per class, shape (rows, classes), in the order of `classes_`."""
        z = self.decision_function(X)
        if z.ndim == 2:
            return CrossEntropy().inverse_link(z)
        p = LogisticLoss().inverse_link(z)
        return np.column_stack([1.0 - p, p])

    def predict_log_proba(self, X: Any) -> Float:
        """The logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def _loss(self) -> Loss:
        two = len(self.classes_) == 2
        if isinstance(self.loss, str) and self.loss == "auto":
            return LogisticLoss() if two else CrossEntropy()
        loss = as_loss(self.loss)
        if not isinstance(loss, LogisticLoss | CrossEntropy) or (isinstance(loss, LogisticLoss) and not two):
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

    def _start(self) -> Float | None:
        W = np.vstack([self.coef_.T, self.intercept_]) if self.fit_intercept else self.coef_.T
        if isinstance(self._loss(), LogisticLoss):
            return np.asarray(W[:, 0])
        return np.column_stack([-W / 2, W / 2]) if len(self.classes_) == 2 else np.asarray(W)
