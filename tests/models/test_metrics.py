"""Metrics, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from own_losses import Gamma, SquaredHinge
from scipy.special import huber

import descend
from descend import LogisticLoss, Serial
from descend.engines.arrays import ArraySource
from descend.models.metrics import FIGURES, evaluate
from descend.objectives.losses import LOSSES, CrossEntropy, HuberLoss, PoissonLoss, SquaredError

RNG = np.random.default_rng(8)
ROWS = 500
X = RNG.normal(size=(ROWS, 3))
W = np.array([1.0, -2.0, 0.5, 0.3])
WEIGHTS = {"": None, "weighted": RNG.integers(0, 4, ROWS).astype(float)}
every_weight = pytest.mark.parametrize("s", WEIGHTS.values(), ids=WEIGHTS)


def measured(loss, w, y, s, constant):
    session = Serial().open(ArraySource(X, y, s))
    try:
        return evaluate(session, loss, w, True, np.array(constant))
    finally:
        session.close()


@every_weight
def test_metrics_of_a_regression(s):
    z = X @ W[:-1] + W[-1]
    y = z + RNG.normal(size=ROWS)
    found = measured(SquaredError(), W, y, s, [0.7])
    for prediction, values in ((z, found.values), (np.full(ROWS, 0.7), found.baseline)):
        assert values["rmse"] == pytest.approx(sk.root_mean_squared_error(y, prediction, sample_weight=s))
        assert values["mae"] == pytest.approx(sk.mean_absolute_error(y, prediction, sample_weight=s))
        assert values["r2"] == pytest.approx(sk.r2_score(y, prediction, sample_weight=s))


@every_weight
def test_metrics_of_two_classes(s):
    z = X @ W[:-1] + W[-1]
    y = (RNG.random(ROWS) < 1 / (1 + np.exp(-z))).astype(float)
    found = measured(LogisticLoss(), W, y, s, [0.4, 0.6])
    p = 1 / (1 + np.exp(-z))
    assert found.values["log_loss"] == pytest.approx(sk.log_loss(y, p, sample_weight=s))
    assert found.values["accuracy"] == pytest.approx(sk.accuracy_score(y, z > 0, sample_weight=s))
    assert found.values["roc_auc"] == pytest.approx(sk.roc_auc_score(y, z, sample_weight=s))
    np.testing.assert_allclose(found.confusion, sk.confusion_matrix(y, z > 0, sample_weight=s))
    assert found.baseline["log_loss"] == pytest.approx(sk.log_loss(y, np.full(ROWS, 0.6), sample_weight=s))
    assert found.baseline["accuracy"] == pytest.approx(np.average(y == 1, weights=s))
    assert found.baseline["roc_auc"] == 0.5


@every_weight
def test_metrics_of_three_classes(s):
    w = RNG.normal(size=(4, 3))
    z = X @ w[:-1] + w[-1]
    y = RNG.integers(0, 3, ROWS).astype(float)
    found = measured(CrossEntropy(), w, y, s, [0.5, 0.3, 0.2])
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert found.values["log_loss"] == pytest.approx(sk.log_loss(y, p, sample_weight=s))
    assert found.values["accuracy"] == pytest.approx(sk.accuracy_score(y, z.argmax(1), sample_weight=s))
    np.testing.assert_allclose(found.confusion, sk.confusion_matrix(y, z.argmax(1), sample_weight=s))
    assert "roc_auc" not in found.values
    shares = np.tile([0.5, 0.3, 0.2], (ROWS, 1))
    assert found.baseline["log_loss"] == pytest.approx(sk.log_loss(y, shares, sample_weight=s))


def test_a_figure_that_has_no_value_is_none_in_json():
    found = measured(SquaredError(), W, np.ones(ROWS), None, [1.0])
    assert np.isnan(found.values["r2"])
    assert found.to_dict()["values"]["r2"] is None
    assert found.to_dict()["baseline"]["rmse"] == 0.0
    assert "confusion" not in found.to_dict()


def test_a_class_that_training_lacked_costs_the_constant_infinity():
    y = (X[:, 0] > 0).astype(float)
    found = measured(LogisticLoss(), W, y, None, [1.0, 0.0])
    assert found.baseline["log_loss"] == np.inf
    assert found.to_dict()["baseline"]["log_loss"] is None


@every_weight
def test_metrics_of_a_number_by_another_loss(s):
    mean = np.exp(0.3 * X @ W[:-1])
    y = RNG.gamma(2.0, mean / 2.0)
    found = measured(Gamma(), np.append(0.3 * W[:-1], 0.0), y, s, [0.7])
    assert list(found.values) == ["rmse", "mae", "r2", "loss", "d2"] == list(found.baseline)
    for prediction, values in ((mean, found.values), (np.full(ROWS, 0.7), found.baseline)):
        assert values["rmse"] == pytest.approx(sk.root_mean_squared_error(y, prediction, sample_weight=s))
        assert values["r2"] == pytest.approx(sk.r2_score(y, prediction, sample_weight=s))
        loss = np.average(np.log(prediction) + y / prediction, weights=s)
        assert values["loss"] == pytest.approx(loss)
        expected = sk.d2_tweedie_score(y, prediction, power=2, sample_weight=s)
        assert values["d2"] == pytest.approx(expected, abs=1e-12)


@every_weight
def test_metrics_of_counts(s):
    mean = np.exp(0.3 * X @ W[:-1])
    y = RNG.poisson(mean).astype(float)
    found = measured(PoissonLoss(), np.append(0.3 * W[:-1], 0.0), y, s, [1.7])
    assert list(found.values) == ["deviance", "d2", "rmse", "mae"]
    for prediction, values in ((mean, found.values), (np.full(ROWS, 1.7), found.baseline)):
        assert values["deviance"] == pytest.approx(sk.mean_poisson_deviance(y, prediction, sample_weight=s))
        expected = sk.d2_tweedie_score(y, prediction, power=1, sample_weight=s)
        assert values["d2"] == pytest.approx(expected, abs=1e-12)
        assert values["rmse"] == pytest.approx(sk.root_mean_squared_error(y, prediction, sample_weight=s))
        assert values["mae"] == pytest.approx(sk.mean_absolute_error(y, prediction, sample_weight=s))


@every_weight
def test_metrics_by_the_huber_loss(s):
    z = X @ W[:-1] + W[-1]
    y = z + RNG.standard_t(2, size=ROWS)
    found = measured(HuberLoss(0.7), W, y, s, [0.3])
    theirs = 2 * huber(0.7, y - z)  # scipy's has a half
    assert found.values["loss"] == pytest.approx(np.average(theirs, weights=s))
    assert found.values["r2"] == pytest.approx(sk.r2_score(y, z, sample_weight=s))
    null = np.average(2 * huber(0.7, y - np.average(y, weights=s)), weights=s)
    assert found.values["d2"] == pytest.approx(1 - np.average(theirs, weights=s) / null)


@every_weight
def test_metrics_of_classes_without_probabilities(s):
    z = X @ W[:-1] + W[-1]
    y = (RNG.random(ROWS) < 1 / (1 + np.exp(-z))).astype(float)
    found = measured(SquaredHinge(), W, y, s, [0.4, 0.6])
    assert list(found.values) == ["loss", "accuracy", "roc_auc"]
    assert found.values["loss"] == pytest.approx(
        np.average(np.maximum(1 - (2 * y - 1) * z, 0) ** 2, weights=s)
    )
    assert found.values["accuracy"] == pytest.approx(sk.accuracy_score(y, z > 0, sample_weight=s))
    best = np.where(y == 1, 0.8, 1.2) ** 2  # of shares of 0.4 and 0.6 the best constant is 0.2
    assert found.baseline["loss"] == pytest.approx(np.average(best, weights=s))


def test_d2_is_about_the_mean_of_the_rows_that_are_measured():
    y = RNG.gamma(2.0, np.exp(X[:, 0]))
    run = descend.fit(X[:300], y[:300], loss=Gamma(), valid=(X[300:], y[300:]))
    for side, rows in (("training", slice(300)), ("validation", slice(300, None))):
        expected = sk.d2_tweedie_score(y[rows], run.predict(X[rows]), power=2)
        assert run.metrics[side].values["d2"] == pytest.approx(expected)
    assert run.metrics["training"].baseline["d2"] == pytest.approx(0, abs=1e-12)


def test_targets_that_do_not_vary_have_no_share_explained():
    found = measured(Gamma(), W, np.ones(ROWS), None, [1.0])
    assert np.isnan(found.values["d2"])
    assert np.isnan(found.baseline["d2"])


def test_every_metric_that_a_loss_names_has_words():
    named = {name for loss in (*LOSSES.values(), Gamma(), SquaredHinge()) for name in loss.metrics}
    assert named == {*FIGURES}


def test_the_constant_is_that_of_the_training_rows():
    x, y = X, X @ W[:-1] + RNG.normal(size=ROWS)
    run = descend.fit(x[:300], y[:300], valid=(x[300:], y[300:]))
    constant = np.full(200, y[:300].mean())
    assert run.metrics["validation"].baseline["r2"] == pytest.approx(sk.r2_score(y[300:], constant))
    assert run.metrics["training"].baseline["r2"] == pytest.approx(0, abs=1e-12)
