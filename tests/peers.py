"""scikit-learn's own tests of its linear models, run with adapters of our estimators in the place of theirs.

    python tests/peers.py                    the table of docs/how-to/switching.md, and every failure

A plugin of pytest puts the adapters into `sklearn.linear_model` before the tests import it. They translate
the parameters as docs/how-to/switching.md does, and skip a test, "does not apply", where it asks for what we do not
have. A test that passes without having fitted one of them says nothing about us: it does not apply either.
"""

from __future__ import annotations

import collections
import importlib
import os
import sys

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

import descend

FILES = ("base", "ridge", "logistic", "sgd")
ENOUGH = 100
"""A `max_iter` of so many is no limit of ours; a lower one is a limit of steps."""
EPOCHS = 5
"""So many passes at most: theirs leave by `tol` before a `max_iter` of a thousand."""
REASONS = {
    "words": "the words of an error or a warning, or a warning about a parameter of its own",
    "insides": "an attribute, a private function or a count of iterations of its own",
    "solver": "the habits of a solver: what liblinear refuses, its dtype, which intercepts sparse rows may have",
    "limit": "a ConvergenceWarning at a limit of steps; ours warns of none that was asked for",
    "hinge": "the hinge loss: `SGDClassifier('log_loss')` fails it as well",
    "path": "the path of stochastic descent: its rates, the rows held out, the number of passes",
    "digits": "its own answer, less converged (to 3e-4), or the effect of a penalty of 1e-16",
    "separated": "silence where the classes are separated and nothing is penalised; ours warns",
}
"""What the tests that fail ask for."""
KNOWN = {
    "test_regularization_limits_ridge": "digits",
    "test_ridge_fit_intercept_sparse_error": "solver",
    "test_ridge_fit_intercept_sparse_sag": "solver",
    "test_ridge_shapes_type": "insides",
    "test_c_inf_no_warning": "separated",
    "test_check_solver_option": "words",
    "test_dtype_match": "solver",
    "test_large_sparse_matrix": "solver",
    "test_liblinear_multiclass_raises": "solver",
    "test_liblinear_with_large_values": "solver",
    "test_logistic_cv": "digits",
    "test_logistic_cv_multinomial_score": "digits",
    "test_logistic_regression_callback_support": "insides",
    "test_logistic_regression_callback_support_warning": "words",
    "test_logisticregression_warns_with_n_jobs": "words",
    "test_logreg_predict_proba_multinomial": "insides",
    "test_max_iter": "limit",
    "test_newton_cholesky_fallback_to_lbfgs": "insides",
    "test_penalty_deprecated": "words",
    "test_penalty_none": "words",
    "test_sparsify": "insides",
    "test_adaptive_longer_than_constant": "path",
    "test_class_weights": "hinge",
    "test_equal_class_weight": "hinge",
    "test_sample_weights": "hinge",
    "test_large_regularization": "path",
    "test_loss_function_epsilon": "insides",
    "test_multi_thread_multi_class_and_early_stopping": "path",
    "test_partial_fit_equal_fit": "insides",
    "test_partial_fit_equal_fit_classif": "insides",
    "test_partial_fit_weight_class_balanced": "words",
    "test_power_t_limits": "words",
    "test_sgd_early_stopping_with_partial_fit": "words",
    "test_sgd_error_on_zero_validation_weight": "words",
    "test_sgd_predict_proba_method_access": "insides",
    "test_sgd_random_state": "limit",
    "test_tol_parameter": "path",
    "test_validation_mask_correctly_subsets": "insides",
    "test_validation_set_not_used_for_training": "path",
}
"""The tests that fail, each of them looked at, and what they ask for; see REASONS."""
fits = 0


def refuse(unless, reason):
    if not unless:
        pytest.skip(f"peers: {reason}")


def chosen(solver):
    names = {"svd": "auto", "cholesky": "auto", "lsqr": "lbfgs", "sparse_cg": "lbfgs", "sag": "newton"}
    names |= {"saga": "newton", "newton-cg": "newton", "newton-cholesky": "newton", "liblinear": "lbfgs"}
    return names.get(solver, solver)


class Peer(BaseEstimator):
    """An estimator by scikit-learn's parameters; `ours` is ours."""

    def settings(self, weight):
        raise NotImplementedError

    def _ours(self, X, y, sample_weight):
        global fits
        fits += 1
        refuse(np.ndim(y) < 2 or np.shape(y)[1] == 1, "several targets")
        classes = isinstance(self, ClassifierMixin)
        s = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
        s = s * np.ones(len(y)) if s.ndim == 0 else s
        if s.ndim == 1 and len(s) == len(y) and classes and getattr(self, "class_weight", None) is not None:
            s = s * compute_sample_weight(self.class_weight, y) if self._knows_its_weights(y) else s
        self._rows, weight = len(y), float(s.sum()) or 1.0
        kind = descend.LinearClassifier if classes else descend.LinearRegressor
        settings = self.settings(weight)
        if hasattr(self, "ours_") and (getattr(self, "warm_start", False) or self._partial):
            return self.ours_.set_params(**settings)
        ours = kind(**settings)
        return ours.set_callbacks(*self._told) if self._told else ours

    def _knows_its_weights(self, y):
        known = self.class_weight
        return known == "balanced" or (isinstance(known, dict) and set(known) <= set(np.unique(y).tolist()))

    _told = ()

    def set_callbacks(self, *callbacks):
        self._told = callbacks
        return self

    _partial = False

    def fit(self, X, y, sample_weight=None, **others):
        refuse(not others, "`coef_init`, `intercept_init`")
        self._partial = False
        return self._took(self._ours(X, y, sample_weight).fit(X, y, sample_weight))

    def _took(self, ours):
        self.ours_ = ours
        for name in ("coef_", "intercept_", "classes_", "n_features_in_", "feature_names_in_"):
            if hasattr(ours, name):
                setattr(self, name, getattr(ours, name))
        self.n_iter_ = np.array([ours.n_iter_], dtype=np.int32)
        self.solver_ = getattr(self, "solver", None)
        return self

    def _learned(self):
        """Ours; some tests set coefficients by hand."""
        self.ours_.coef_, self.ours_.intercept_ = self.coef_, self.intercept_
        return self.ours_

    def predict(self, X):
        check_is_fitted(self)
        return self._learned().predict(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class Regressor(RegressorMixin, Peer):
    pass


class Classifier(ClassifierMixin, Peer):
    def decision_function(self, X):
        return self._learned().decision_function(X)

    def predict_proba(self, X):
        return self._learned().predict_proba(X)

    def predict_log_proba(self, X):
        return self._learned().predict_log_proba(X)


class LinearRegression(Regressor):
    def __init__(self, *, fit_intercept=True, copy_X=True, tol=1e-6, n_jobs=None, positive=False):
        self.fit_intercept, self.copy_X, self.tol = fit_intercept, copy_X, tol
        self.n_jobs, self.positive = n_jobs, positive

    def settings(self, weight):
        refuse(not self.positive, "`positive`")
        return {"fit_intercept": self.fit_intercept}


class Ridge(Regressor):
    def __init__(
        self,
        alpha=1.0,
        *,
        fit_intercept=True,
        copy_X=True,
        max_iter=None,
        tol=1e-4,
        solver="auto",
        positive=False,
        random_state=None,
    ):
        self.alpha, self.fit_intercept, self.copy_X, self.max_iter = alpha, fit_intercept, copy_X, max_iter
        self.tol, self.solver, self.positive, self.random_state = tol, solver, positive, random_state

    def settings(self, weight):
        refuse(not self.positive, "`positive`")
        refuse(np.ndim(self.alpha) == 0, "a penalty for each target")
        steps = None if self.max_iter is None or self.max_iter >= ENOUGH else self.max_iter
        return {
            "alpha": 2.0 * self.alpha / weight,
            "fit_intercept": self.fit_intercept,
            "optimizer": chosen(self.solver),
            "steps": steps,
            "random_state": self.random_state,
        }


class LogisticRegression(Classifier):
    def __init__(
        self,
        penalty="deprecated",
        *,
        C=1.0,
        l1_ratio=0.0,
        dual=False,
        tol=1e-4,
        fit_intercept=True,
        intercept_scaling=1,
        class_weight=None,
        random_state=None,
        solver="lbfgs",
        max_iter=100,
        verbose=0,
        warm_start=False,
        n_jobs=None,
    ):
        self.penalty, self.C, self.l1_ratio, self.dual, self.tol = penalty, C, l1_ratio, dual, tol
        self.fit_intercept, self.intercept_scaling = fit_intercept, intercept_scaling
        self.class_weight, self.random_state, self.solver = class_weight, random_state, solver
        self.max_iter, self.verbose, self.warm_start, self.n_jobs = max_iter, verbose, warm_start, n_jobs

    def settings(self, weight):
        refuse(self.penalty in ("deprecated", "l2", None) and self.l1_ratio == 0, "`l1_ratio`")
        refuse(not self.dual and self.intercept_scaling == 1, "liblinear's `dual`, `intercept_scaling`")
        return {
            "alpha": 1.0 / (self.C * weight),
            "fit_intercept": self.fit_intercept,
            "class_weight": self.class_weight,
            "optimizer": chosen(self.solver),
            "steps": None if self.max_iter >= ENOUGH else self.max_iter,
            "warm_start": self.warm_start,
            "random_state": self.random_state,
            "verbose": self.verbose,
        }


class Stochastic(Peer):
    def __init__(
        self,
        loss="own",
        *,
        penalty="l2",
        alpha=0.0001,
        l1_ratio=0.15,
        fit_intercept=True,
        max_iter=1000,
        tol=1e-3,
        shuffle=True,
        verbose=0,
        epsilon=0.1,
        n_jobs=None,
        random_state=None,
        learning_rate="own",
        eta0=0.01,
        power_t=0.5,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        class_weight=None,
        warm_start=False,
        average=False,
    ):
        for name, value in list(locals().items()):
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    def settings(self, weight):
        classes = isinstance(self, ClassifierMixin)
        known = ("own", "log_loss") if classes else ("own", "squared_error")
        refuse(self.loss in known, "losses that are not there")
        refuse(self.penalty in ("l2", None), "`penalty` l1 and elasticnet")
        refuse(not self.average, "`average`")
        refuse(self.learning_rate not in ("pa1", "pa2"), "passive-aggressive rates")
        constant = self.learning_rate == "constant"
        settings = {
            "penalty": self.penalty,
            "alpha": self.alpha * (1 if classes else 2) * self._rows / weight,
            "fit_intercept": self.fit_intercept,
            "optimizer": "gradient-descent",
            "learning_rate": self.eta0 if constant else "auto",
            "batch_size": 1,
            "epochs": self.max_iter if self.max_iter < ENOUGH else EPOCHS,
            "early_stopping": self.n_iter_no_change if self.early_stopping else False,
            "validation_fraction": self.validation_fraction,
            "warm_start": self.warm_start,
            "random_state": self.random_state,
            "verbose": self.verbose,
        }
        return settings | ({"class_weight": self.class_weight} if classes else {})

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        self._partial = True
        ours = self._ours(X, y, sample_weight)
        more = {"classes": classes} if isinstance(self, ClassifierMixin) else {}
        return self._took(ours.partial_fit(X, y, sample_weight=sample_weight, **more))

    def _took(self, ours):
        super()._took(ours)
        if "run_" in vars(ours):  # a pass is an iteration there
            self.n_iter_ = int(ours.history_.epoch[-1])
        return self


class SGDRegressor(Stochastic, Regressor):
    def _took(self, ours):
        super()._took(ours)
        self.intercept_ = np.atleast_1d(self.intercept_)
        return self

    def partial_fit(self, X, y, sample_weight=None):
        return super().partial_fit(X, y, sample_weight=sample_weight)


class SGDClassifier(Stochastic, Classifier):
    pass


class Plugin:
    """Counts what the tests of each file came to."""

    def __init__(self):
        self.found = {name: collections.Counter() for name in FILES}
        self.failures, self.skipped, self.before, self.file = [], collections.Counter(), 0, ""

    def pytest_runtest_setup(self, item):
        self.before, self.file = fits, item.path.stem.removeprefix("test_")

    def pytest_runtest_logreport(self, report):
        if report.when != "call" and report.outcome == "passed":
            return
        file = self.file
        name = report.nodeid.rpartition("::")[2] if "[" not in report.nodeid else report.nodeid.split("::")[1]
        if report.outcome == "failed":
            self.found[file]["fails"] += 1
            self.failures.append((file, name.partition("[")[0], name, report.longreprtext))
            return
        reason = "fits none of the five"
        if hasattr(report, "wasxfail") and report.outcome == "skipped":
            reason = "expected to fail by scikit-learn itself"
        elif report.outcome == "skipped":
            _, _, said = str(report.longrepr[2]).partition("Skipped: ")
            reason = said.removeprefix("peers: ") if said.startswith("peers: ") else "skipped by itself"
        elif fits > self.before:
            self.found[file]["passes"] += 1
            return
        self.found[file]["does not apply"] += 1
        self.skipped[reason] += 1

    @property
    def news(self):
        """Failures that nobody has looked at."""
        return [failure for failure in self.failures if failure[1] not in KNOWN]

    def table(self):
        """What docs/how-to/switching.md says, in Markdown."""
        asked = collections.Counter(KNOWN.get(name, "?") for _, name, _, _ in self.failures)
        rows = [
            ["file", "passes", "fails", "does not apply"],
            ["---", "---:", "---:", "---:"],
            *(
                [f"`test_{file}.py`", *(str(found[kind]) for kind in ("passes", "fails", "does not apply"))]
                for file, found in self.found.items()
                if found
            ),
        ]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines += ["", "The tests that fail ask for", ""]
        lines += [f"* {REASONS.get(reason, reason)}: {count}" for reason, count in asked.most_common()]
        lines += ["", "Those that do not apply:", ""]
        lines += [f"* {reason}: {count}" for reason, count in self.skipped.most_common()]
        return "\n".join(lines)


def run(files=FILES, *options):
    """The plugin after the tests of these files, which takes minutes; the adapters stay where they are put."""
    importlib.import_module("sklearn.utils._test_common.instance_generator")  # knows the originals by name
    for kind in (LinearRegression, Ridge, LogisticRegression, SGDClassifier, SGDRegressor):
        setattr(sklearn.linear_model, kind.__name__, kind)
    plugin = Plugin()
    modules = [f"sklearn.linear_model.tests.test_{name}" for name in files]
    fixed = ["-q", "--no-header", "-p", "no:cacheprovider", "-c", os.devnull, "--tb=short", *options]
    pytest.main([*fixed, "--pyargs", *modules], plugins=[plugin])
    return plugin


if __name__ == "__main__":
    words = sys.argv[1:]
    plugin = run([w for w in words if w in FILES] or FILES, *(w for w in words if w not in FILES))
    for file, name, case, text in plugin.failures:
        print(f"\n=== {file} {case}: {KNOWN.get(name, 'NEW')}\n{text}")
    print(f"\n{plugin.table()}")
    for file, _, case, _ in plugin.news:
        print(f"NEW {file} {case}")
    sys.exit(bool(plugin.news))
