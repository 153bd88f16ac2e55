"""What the estimators share: from scikit-learn's parameters to a run, from the run to its attributes.

Its callbacks, where the installed version has them, are told of each step.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from descend.descent.choose import OPTIMIZERS, as_optimizer, make_optimizer
from descend.descent.first_order import GradientDescent, Optimizer
from descend.descent.history import History, Step
from descend.descent.proximal import ProximalGradient
from descend.descent.stopping import Outcome
from descend.engines.arrays import (
    check_column,
    check_matrix,
    check_offset,
    check_tiny,
    rounded_numbers,
    rounding,
)
from descend.engines.matrix import Array, Float, Matrix, is_sparse
from descend.errors import DescendError, DescendWarning, check_number
from descend.interfaces.sklearn_box import ending
from descend.models.model import Model, offset_given
from descend.objectives.losses import Loss
from descend.objectives.objective import Objective
from descend.objectives.penalties import L1, L2, ElasticNet, Penalty, as_penalty
from descend.runs.fitting import MAX_WEIGHTS, fit
from descend.runs.incremental import Instalments, Sums, instalments
from descend.runs.prepared import Names, Validation
from descend.runs.run import Kept, Run

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


class HeldOut(NamedTuple):
    """What `fit` was given to validate on, as it was given."""

    eval_set: Any = None
    X: Any = None
    y: Any = None
    sample_weight: Any = None
    offset: Any = None


class Rows(NamedTuple):
    """Rows of an estimator, checked; classes by their numbers."""

    X: Matrix
    y: Array
    sample_weight: Float | None = None
    offset: Array | None = None

    @property
    def weight(self) -> float:
        """The sum of the sample weights; 1 where that is 0."""
        return float(self.X.shape[0] if self.sample_weight is None else self.sample_weight.sum()) or 1.0

    def take(self, rows: Array) -> Rows:
        """Those of these numbers."""
        s, offset = (None if each is None else each[rows] for each in (self.sample_weight, self.offset))
        return Rows(self.X[rows], self.y[rows], s, offset)

    def split(self, share: float, random_state: Any, labels: tuple[Any, ...] | None) -> tuple[Rows, Rows]:
        """The rows to learn from, and a `share` of them by count that is held out, of each of `labels` alike.

        They are those of scikit-learn's `train_test_split`. Rows of weight zero are not counted, and of each class
        there is one at least. Raises `DescendError` where there are too few.
        """
        counted = (
            np.arange(len(self.y)) if self.sample_weight is None else np.flatnonzero(self.sample_weight > 0)
        )
        y = None if labels is None else self.y[counted].astype(np.intp)
        counts = np.array([]) if y is None else np.bincount(y)[np.unique(y)]
        least, n = max(len(counts), 1), len(counted)
        size = max(math.ceil(share * n), least)
        told = f"`early_stopping` holds out {size:,} of {n:,} rows (n_samples = {n}) by `validation_fraction` {share:g}"
        more = "Give more rows, or rows to validate on: `fit(X, y, X_val=..., y_val=...)`."
        if n - size < least:
            classes = "" if least == 1 else f", where {least} classes want a row each"
            raise DescendError(f"{told} and leaves {max(n - size, 0)} to learn from{classes}. {more}")
        if labels is not None and y is not None and counts.min() < 2:
            alone = labels[int(np.unique(y)[counts.argmin()])]
            raise DescendError(f"{told}, of each class alike, and there is but one row of {alone!r}. {more}")
        _, held = train_test_split(counted, test_size=size, random_state=random_state, stratify=y)
        kept = np.setdiff1d(np.arange(len(self.y)), held)
        return self.take(kept), self.take(np.sort(held))


class LinearEstimator(CallbackSupportMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """LinearRegressor and LinearClassifier, but for the target."""

    _instalments: Instalments | None = None
    """What `partial_fit` goes on from."""

    @property
    def _fitted(self) -> bool:
        """As scikit-learn has it: attributes whose names end in _ are there once it is fitted."""
        return hasattr(self, "coef_")

    @property
    def _errors(self) -> str | None:
        """Which standard errors `run_` has, where the loss does not decide."""
        return None

    def _weighed(self, rows: Rows) -> Rows:
        """The rows to learn from, with the weights of their classes."""
        return rows

    def _labels(self) -> tuple[Any, ...] | None:
        """The classes in the order of their codes; None of a regression."""
        return None

    @abstractmethod
    def _start(self) -> Float | None:
        """The weights to go on from, shaped as the run's."""

    def _learn(self, w: Float, kind: Any) -> None:
        """Attributes from weights in the units of the data, of the dtype of the rows."""
        W = w.reshape(len(w), -1)
        if W.shape[1] == 2:  # two classes by cross entropy: only the difference counts
            W = W[:, 1:] - W[:, :1]
        coef, intercept = (W[:-1], W[-1]) if self.fit_intercept else (W, np.zeros(W.shape[1]))
        self.coef_, self.intercept_ = coef.T.astype(kind), intercept.astype(kind)

    @with_callbacks  # type: ignore[untyped-decorator]
    def _fit(self, rows: Rows, loss: Loss, valid: Validation | None) -> Any:
        context, callbacks, (X, y, _, offset) = None, (), rows
        if hasattr(self, "_init_callback_context"):  # scikit-learn has callbacks since 1.9
            context = self._init_callback_context(max_subtasks=None)
            callbacks = getattr(context, "_callbacks", ())  # which it does not show otherwise
            context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        self._shifted = offset is not None
        if offset is not None:
            rows = rows._replace(offset=check_offset(offset, X.shape[0], against="X"))
        if self.early_stopping and valid is None:
            rule = "a number between 0 and 1"
            share = check_number("validation_fraction", self.validation_fraction, rule, lambda f: 0 < f < 1)
            rows, held_out = rows.split(share, self.random_state, self._labels())
            valid = Validation(*held_out, names=Names("X", "y", "sample_weight", "offset"))
        rows, seed = self._weighed(rows), self._seed()
        start = self._start() if self.warm_start and self._fitted else None
        run = fit(
            rows.X,
            rows.y,
            loss=loss,
            penalty=self._penalty_of(rows.weight),
            intercept=self.fit_intercept,
            sample_weight=rows.sample_weight,
            offset=rows.offset,
            errors=self._errors,
            penalise=self.penalise,
            feature_names=self._names,
            valid=valid,
            seed=seed,
            optimizer=optimizer_of(self.optimizer, self.learning_rate),
            start=start,
            steps=self.steps,
            epochs=self.epochs,
            batch_size=self.batch_size,
            tolerance=self._tolerance(),
            patience=PATIENCE if self.early_stopping is True else self.early_stopping or None,
            every=int(self.verbose) or None,
            standardize=self.standardize,
            watch=(lambda walk: self._reported(walk, context, X, y)) if callbacks else None,
        )
        self._keep(run, X.dtype)
        if context is not None:
            context.call_on_fit_task_end(estimator=self, X=X, y=y, reconstruction_attributes={})
        return self

    def _keep(self, run: Run, kind: Any) -> None:
        """Learned attributes from a run; its rows are let go."""
        assert run.problem is not None  # of arrays
        objective, w = run.problem.objective, run.model.weights
        self._instalments = None
        if objective.exact:  # so that partial_fit may go on exactly
            self._instalments = Sums(self.fit_intercept, objective.moments, len(run.history) - 1)
            w = objective.of_minimum_norm(w)
        self._learn(w, kind)
        self.n_iter_ = max(len(run.history) - 1, int(self.steps != 0))
        self.history_, self.outcome_, self.offset_ = run.history, run.outcome, run.model.offset is not None
        self.run_ = without_rows(run, objective, replace(run.model, weights=w, classes=self._labels()))
        if run.outcome is Outcome.STEP_LIMIT and self._open_ended() and self.batch_size is None:
            warnings.warn(
                f"{type(self).__name__} {run.outcome.value} before it had converged. Use another optimizer, or set `tol`, "
                "the gradient norm that is small enough.",
                ConvergenceWarning,
                stacklevel=4,
            )

    @property
    def _names(self) -> tuple[str, ...] | None:
        """Those of a frame's columns, which scikit-learn keeps, if they tell them apart."""
        names = tuple(getattr(self, "feature_names_in_", ()))
        return names if len({*names, "(intercept)"}) == len(names) + 1 > 1 else None

    def _partial(self, X: Matrix, y: Array, s: Float | None, loss: Loss, outputs: int | None) -> Any:
        check_matrix(X, "X")
        check_tiny(check_column(y, "y", X.shape[0], "X"), "y")
        if getattr(self, "offset_", False):
            raise DescendError(
                "`partial_fit` takes no `offset`, and the fit that it would go on from had one: use `fit` on all rows."
            )
        if self.early_stopping:
            raise DescendError(
                "`early_stopping` does not go with `partial_fit`, which makes one pass and watches no rows: "
                "leave it at False."
            )
        if self.penalise != "original":
            raise DescendError(
                '`partial_fit` knows but the rows so far, so that it cannot standardise: leave `penalise` at "original".'
            )
        learner = self._instalments
        if learner is None:
            optimizer = optimizer_of(self.optimizer, self.learning_rate)
            if isinstance(optimizer, str):  # momentum and polish would follow the chunk, not the stream
                smooth = self._penalty_of(1.0).smooth
                optimizer = GradientDescent() if smooth else ProximalGradient(accelerate=False, polish=False)
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
        start = self._start() if self._fitted else None
        w, value = learner.take(X, y, s, self._penalty_of(weight), start)
        self._learn(w, X.dtype)
        self.__dict__.pop("run_", None)  # that of an earlier `fit`
        self.n_iter_, self.outcome_, self.offset_ = max(learner.number, 1), Outcome.STEP_LIMIT, False
        self.history_.record(loss=value, weights=w, number=learner.number)
        return self

    def _penalty_of(self, weight: float) -> Penalty:
        """The penalty on rows of this total weight."""
        automatic = 1.0 / weight if self._auto_penalty else 0.0
        return penalty_of(self.penalty, self.alpha, automatic, self.l1_ratio)

    def _tolerance(self) -> float | None:
        above = "a number above 0, or None for a minimum that is proven"
        return None if self.tol is None else check_number("tol", self.tol, above, lambda t: t > 0)

    def _open_ended(self) -> bool:
        return self.steps is None and self.epochs is None

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _weights(self, sample_weight: Any, X: Matrix) -> Float | None:
        return None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)

    def _held_out(self, given: HeldOut, shifted: bool) -> Validation | None:
        """The rows that were given to validate on. Raises `DescendError` where they do not go together."""
        eval_set, X, y, s, offset = given
        if eval_set is not None:
            if X is not None or y is not None:
                raise DescendError(
                    "`eval_set` and `X_val`, `y_val` are two ways to say one thing: give one of them."
                )
            if not (isinstance(eval_set, tuple | list) and len(eval_set) == 2):
                raise DescendError(f"`eval_set` must be a pair `(X, y)`, got {type(eval_set).__name__}.")
            X, y = eval_set
        if X is None and y is None:
            if s is not None or offset is not None:
                raise DescendError(
                    "`sample_weight_val` and `offset_val` go with `X_val` and `y_val`: give these too."
                )
            return None
        if X is None or y is None:
            raise DescendError("`X_val` and `y_val` go together: give both.")
        if shifted != (offset is not None):
            raise DescendError(
                "`offset_val` must be given where `offset` is, and only there: one number for each row of `X_val`, "
                "np.zeros(rows) for none."
            )
        X, y = self._valid_data(X, y, reset=False)
        names = Names("X_val", "y_val", "sample_weight_val", "offset_val")
        return Validation(
            X, y, s, offset, names if eval_set is None else names._replace(x="eval_set", y="eval_set")
        )

    def _valid_data(self, X: Any, y: Any, reset: bool = True) -> tuple[Matrix, Array]:
        kinds, y_numeric = [np.float64, np.float32], self._auto_penalty is False
        given = X, y if y_numeric else None
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=kinds, y_numeric=y_numeric, reset=reset)
        for which in rounded(*given):
            warnings.warn(rounding(which), DescendWarning, stacklevel=3)
        return X, y

    def _predictor(self, X: Any, offset: Any = None) -> Float:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        offset = offset_given(offset, self.offset_, X.shape[0])
        z = safe_sparse_dot(X, np.atleast_2d(self.coef_).T, dense_output=True) + self.intercept_
        z = np.asarray(z[:, 0] if z.shape[1] == 1 else z)
        return z if offset is None else z + offset

    def _reported(self, walk: Iterator[Step], context: Any, X: Matrix, y: Array) -> Iterator[Step]:
        """The steps of a walk, told to scikit-learn's callbacks; one that answers True ends it."""

        def attributes(step: Step) -> dict[str, Any]:
            kept = self.__dict__.copy()
            self._learn(step.weights, X.dtype)
            found = {"coef_": self.coef_, "intercept_": self.intercept_, "n_iter_": max(step.number, 1)}
            found["offset_"] = self._shifted
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
        if not self._fitted:
            return box
        return box + ending(self.history_, self.outcome_.value)


def rounded(X: Any, y: Any) -> list[str]:
    """What of rows, as they were given, are whole numbers that float64 cannot hold."""
    if hasattr(X, "dtypes"):  # a frame
        large = ("int64", "uint64")
        names = [name for name, kind in zip(X.columns, X.dtypes, strict=True) if str(kind).lower() in large]
        found = [f"column `{name}`" for name in names if rounded_numbers(np.asarray(X[name]))]
    else:
        array = X.tocsr() if is_sparse(X) else X if isinstance(X, np.ndarray) else None
        found = [f"column {j} of `X`" for j in rounded_numbers(array)]
    y = y.to_numpy() if hasattr(y, "to_numpy") else y if isinstance(y, np.ndarray) else None
    return [*found, *("`y`" for _ in rounded_numbers(y))]


def without_rows(run: Run, objective: Objective, model: Model) -> Run:
    """A run with this model, and nothing left of its rows but what its methods need; the metrics take a pass."""
    run = replace(run, model=model)
    quadratic = run.quadratic if objective.shape[0] <= MAX_WEIGHTS else None
    kept = Kept(run.metrics, run.sample, quadratic, penalty=objective.penalty)
    facts = model.facts | {"metrics": {side: m.to_dict() for side, m in kept.metrics.items()}}
    return replace(run, model=replace(model, facts=facts), problem=None, origin=None, kept=kept)


def optimizer_of(optimizer: Optimizer | str, learning_rate: Any) -> Optimizer | str:
    """The optimizer that a name and a learning rate (a number, a schedule or "auto") describe.

    A learning rate without a name means gradient descent.

    >>> optimizer_of("adam", 0.01)
    Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-08)
    """
    if not isinstance(optimizer, str):
        return as_optimizer(optimizer)
    automatic = isinstance(learning_rate, str) and learning_rate == "auto"
    if automatic:
        return optimizer if optimizer == "auto" else make_optimizer(optimizer)
    name = "gradient-descent" if optimizer == "auto" else optimizer
    if name in OPTIMIZERS and "learning_rate" not in OPTIMIZERS[name].__dataclass_fields__:
        raise DescendError(f'`learning_rate` does not apply to `optimizer` {name}: leave it at "auto".')
    return make_optimizer(name, learning_rate=learning_rate)


PENALTIES = ("l2", "l1", "elastic-net")


def penalty_of(penalty: Any, alpha: Any, automatic: float, l1_ratio: Any = 0.5) -> Penalty:
    """The penalty that "l2", "l1", "elastic-net", None, a number or a penalty and `alpha` describe.

    `automatic` is what an `alpha` of "auto" stands for; `l1_ratio` is that of the elastic net.

    >>> penalty_of("l2", "auto", 0.01), penalty_of("elastic-net", 0.1, 0.01, 0.7)
    (L2(alpha=0.01), ElasticNet(alpha=0.1, l1_ratio=0.7))
    """
    if not isinstance(penalty, str):
        return as_penalty(penalty)
    if penalty not in PENALTIES:
        listed = ", ".join(f'"{name}"' for name in PENALTIES)
        raise DescendError(f"`penalty` must be {listed}, None or a penalty, got {penalty!r}.")
    if isinstance(alpha, str) and alpha != "auto":
        raise DescendError(f'`alpha` must be a number of at least 0 or "auto", got {alpha!r}.')
    if penalty != "l2" and isinstance(alpha, str) and not automatic:
        raise DescendError(
            f'`alpha` must be a number with `penalty` "{penalty}" of a regression, got "auto": how strong it is decides '
            "how many coefficients are zero. Lasso's alpha is half of this one."
        )
    strength = automatic if isinstance(alpha, str) else alpha
    if penalty == "elastic-net":
        return ElasticNet(strength, l1_ratio)
    return L1(strength) if penalty == "l1" else L2(strength)


def class_weighted(class_weight: Any, classes: Array, codes: Float, s: Float | None) -> Float | None:
    """Sample weights times class weights: those of a dict, or balanced `n / (classes * n_k)`, by weight.

    >>> class_weighted("balanced", np.array(["a", "b"]), np.array([0.0, 0.0, 1.0]), None).tolist()
    [0.75, 0.75, 1.5]
    """
    if class_weight is None:
        return s
    s = np.ones(len(codes)) if s is None else s
    if isinstance(class_weight, dict):
        strange = [label for label in class_weight if label not in classes.tolist()]
        if strange:
            raise DescendError(
                f"`class_weight` names {strange[0]!r}, which is not among the classes {classes}."
            )
        weights = np.array([_checked(class_weight.get(label, 1.0)) for label in classes.tolist()])
    elif isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(codes.astype(int), s, minlength=len(classes))
        weights = s.sum() / (len(counts) * np.where(counts > 0, counts, 1.0))
    else:
        raise DescendError(f'`class_weight` must be None, "balanced" or a dict, got {class_weight!r}.')
    return np.asarray(s * weights[codes.astype(int)])


def _checked(weight: Any) -> float:
    return check_number("class_weight", weight, "numbers of at least 0", lambda w: w >= 0)
