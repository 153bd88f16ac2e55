"""Losses beside finite differences, PyTorch, scikit-learn and scipy's special functions."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, huber, log_softmax, logit, softmax
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error

import descend
from descend.errors import DataError, DescendError, ShapeError
from descend.objectives.losses import (
    LOSSES,
    CrossEntropy,
    HuberLoss,
    LogisticLoss,
    Loss,
    PoissonLoss,
    SquaredError,
    as_loss,
    cross_entropy,
    loss_from_dict,
    mse,
)

RNG = np.random.default_rng(11)
ROWS, CLASSES = 40, 4
SQUARED, LOGISTIC, SOFTMAX, POISSON, HUBER = LOSSES.values()
POINTS = {
    "squared-error": (3 * RNG.normal(size=ROWS), RNG.normal(size=ROWS)),
    "logistic": (3 * RNG.normal(size=ROWS), RNG.integers(0, 2, ROWS)),
    "cross-entropy": (3 * RNG.normal(size=(ROWS, CLASSES)), RNG.integers(0, CLASSES, ROWS)),
    "poisson": (2 * RNG.normal(size=ROWS), RNG.poisson(3.0, ROWS)),
    "huber": (2 * RNG.normal(size=ROWS), RNG.normal(size=ROWS)),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def outputs(z):
    """One direction per output: (index into the last axis, the step)."""
    return np.eye(z.shape[1]) if z.ndim == 2 else [1.0]


def test_losses_are_listed_under_their_names():
    assert list(LOSSES) == ["squared-error", "logistic", "cross-entropy", "poisson", "huber"] == list(POINTS)
    made = [SquaredError(), LogisticLoss(), CrossEntropy(), PoissonLoss(), HuberLoss()]
    assert [as_loss(name) for name in LOSSES] == made
    assert as_loss(LOGISTIC) is LOGISTIC
    with pytest.raises(DescendError, match=r"`loss` must be one of squared-error, .*, got 'hinge'"):
        as_loss("hinge")


@every_loss
def test_a_loss_is_a_frozen_value_that_can_be_sent(name):
    loss = LOSSES[name]
    with pytest.raises((FrozenInstanceError, AttributeError)):
        loss.name = "other"
    again = pickle.loads(pickle.dumps(loss))
    assert again == loss
    assert hash(again) == hash(loss)
    assert again.name == name


@every_loss
def test_the_gradient_is_the_slope_of_the_value(name):
    loss, (z, y) = LOSSES[name], POINTS[name]
    h = 1e-5
    slopes = [(loss.value(z + h * e, y) - loss.value(z - h * e, y)) / (2 * h) for e in outputs(z)]
    np.testing.assert_allclose(
        loss.gradient(z, y).reshape(ROWS, -1), np.transpose(slopes), rtol=1e-7, atol=1e-9
    )


@every_loss
def test_the_curvature_is_the_slope_of_the_gradient(name):
    loss, (z, y) = LOSSES[name], POINTS[name]
    h = 1e-5
    slopes = [(loss.gradient(z + h * e, y) - loss.gradient(z - h * e, y)) / (2 * h) for e in outputs(z)]
    shape = (ROWS, CLASSES, CLASSES) if z.ndim == 2 else (ROWS,)
    assert loss.curvature(z, y).shape == shape
    np.testing.assert_allclose(
        loss.curvature(z, y), np.stack(slopes, -1).reshape(shape), rtol=1e-7, atol=1e-9
    )


@every_loss
def test_value_and_gradient_together_are_the_two_alone(name):
    loss, (z, y) = LOSSES[name], POINTS[name]
    before = z.copy(), y.copy()
    value, gradient = loss.value_and_gradient(z, y)
    assert value.shape == (ROWS,)
    assert gradient.shape == z.shape
    assert value.dtype == gradient.dtype == np.float64
    np.testing.assert_allclose(value, loss.value(z, y), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(gradient, loss.gradient(z, y), rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(z, before[0])
    np.testing.assert_array_equal(y, before[1])


@every_loss
def test_value_and_gradient_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    theirs = {
        "squared-error": F.mse_loss,
        "logistic": F.binary_cross_entropy_with_logits,
        "cross-entropy": F.cross_entropy,
        "poisson": F.poisson_nll_loss,
        "huber": lambda z, y, reduction: 2.0 * F.huber_loss(z, y, reduction=reduction),
    }[name]
    loss, (z, y) = LOSSES[name], POINTS[name]
    tensor = torch.tensor(z, requires_grad=True)
    values = theirs(tensor, torch.tensor(y if name == "cross-entropy" else y.astype(float)), reduction="none")
    values.sum().backward()
    value, gradient = loss.value_and_gradient(z, y)
    np.testing.assert_allclose(value, values.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_mean_losses_are_those_of_scikit_learn():
    z, y = POINTS["squared-error"]
    assert SQUARED.value(z, y).mean() == pytest.approx(mean_squared_error(y, z), rel=1e-13)
    z, y = POINTS["logistic"]
    assert LOGISTIC.value(z, y).mean() == pytest.approx(log_loss(y, expit(z)), rel=1e-12)
    z, y = POINTS["cross-entropy"]
    assert SOFTMAX.value(z, y).mean() == pytest.approx(log_loss(y, softmax(z, axis=1)), rel=1e-12)


def test_two_classes_by_softmax_are_the_logistic_loss():
    z, y = POINTS["logistic"]
    Z = np.stack([np.zeros(ROWS), z], axis=1)
    value, gradient = SOFTMAX.value_and_gradient(Z, y)
    np.testing.assert_allclose(value, LOGISTIC.value(z, y), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(gradient[:, 1], LOGISTIC.gradient(z, y), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(SOFTMAX.curvature(Z, y)[:, 1, 1], LOGISTIC.curvature(z, y), rtol=1e-12)


FAR = np.array([-1e4, -800.0, 800.0, 1e4])


@pytest.mark.parametrize("y", [0, 1])
def test_far_out_the_logistic_loss_is_a_line_or_nothing(y):
    with np.errstate(all="raise", under="ignore"):
        value, gradient = LOGISTIC.value_and_gradient(FAR, np.full(4, y))
        wrong = (FAR > 0) != y
        np.testing.assert_array_equal(value, np.where(wrong, abs(FAR), 0.0))
        np.testing.assert_array_equal(gradient, (FAR > 0) - float(y))
        np.testing.assert_array_equal(LOGISTIC.value(FAR, np.full(4, y)), value)
        np.testing.assert_array_equal(LOGISTIC.gradient(FAR, np.full(4, y)), gradient)
        np.testing.assert_array_equal(LOGISTIC.curvature(FAR, np.full(4, y)), np.zeros(4))
        np.testing.assert_array_equal(LOGISTIC.link.inverse(FAR), FAR > 0)


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("y", [0, 1, 2])
def test_far_out_cross_entropy_is_the_distance_to_the_largest(y, shift):
    z, target = np.array([[1e4, -1e4, 0.0], [0.0, 5e3, -5e3]]) + shift, np.array([y, y])
    with np.errstate(all="raise", under="ignore"):
        value, gradient = SOFTMAX.value_and_gradient(z, target)
        np.testing.assert_array_equal(value, z.max(axis=1) - z[:, y])
        np.testing.assert_array_equal(gradient, np.eye(3)[[0, 1]] - np.eye(3)[y])
        np.testing.assert_array_equal(SOFTMAX.curvature(z, target), np.zeros((2, 3, 3)))
        np.testing.assert_array_equal(SOFTMAX.link.inverse(z), np.eye(3)[[0, 1]])


def test_far_out_squared_error_is_the_square():
    with np.errstate(all="raise"):
        value, gradient = SQUARED.value_and_gradient(FAR, -FAR)
    np.testing.assert_array_equal(value, 4 * FAR**2)
    np.testing.assert_array_equal(gradient, 4 * FAR)


FLOATS = st.floats(-1e4, 1e4)


@settings(max_examples=50)
@given(z=arrays(float, 8, elements=FLOATS))
def test_the_mean_of_the_logistic_loss_is_scipys_expit(z):
    np.testing.assert_allclose(LOGISTIC.link.inverse(z), expit(z), rtol=1e-14, atol=1e-300)


@settings(max_examples=50)
@given(z=arrays(float, (5, 3), elements=FLOATS))
def test_the_mean_of_cross_entropy_is_scipys_softmax_and_sums_to_one(z):
    p = SOFTMAX.link.inverse(z)
    np.testing.assert_allclose(p, softmax(z, axis=1), rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-15)
    y = np.zeros(5, int)
    np.testing.assert_allclose(SOFTMAX.value(z, y), -log_softmax(z, axis=1)[:, 0], rtol=1e-12, atol=1e-12)


def test_a_loss_gives_its_mean():
    z = np.array([-1.0, 0.5])
    np.testing.assert_allclose(LOGISTIC.inverse_link(z), expit(z), rtol=1e-14)


def test_a_link_undoes_the_inverse_link():
    p = np.array([1e-9, 0.1, 0.5, 0.999])
    np.testing.assert_allclose(LOGISTIC.link.of(p), logit(p), rtol=1e-12)
    np.testing.assert_allclose(LOGISTIC.link.inverse(LOGISTIC.link.of(p)), p, rtol=1e-12)
    p = np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(SOFTMAX.link.inverse(SOFTMAX.link.of(p)[None])[0], p, rtol=1e-13)
    assert SOFTMAX.link.of(p).sum() == pytest.approx(0, abs=1e-15)
    np.testing.assert_array_equal(SQUARED.link.of(p), p)
    np.testing.assert_array_equal(SQUARED.link.inverse(p), p)


def test_the_link_of_certainty_is_finite():
    assert np.isfinite(LOGISTIC.link.of(np.array([0.0, 1.0]))).all()
    assert np.isfinite(SOFTMAX.link.of(np.array([0.0, 1.0]))).all()


@st.composite
def two_points(draw, name):
    shape = (3, CLASSES) if name == "cross-entropy" else (3,)
    a, b = (draw(arrays(float, shape, elements=FLOATS)) for _ in range(2))
    target = {
        "squared-error": FLOATS,
        "logistic": st.integers(0, 1),
        "cross-entropy": st.integers(0, 3),
        "poisson": st.integers(0, 10**6),
        "huber": FLOATS,
    }[name]
    return a, b, np.array(draw(st.lists(target, min_size=3, max_size=3)))


@every_loss
@settings(max_examples=60)
@given(data=st.data())
def test_losses_are_convex_and_above_their_tangents(name, data):
    a, b, y = data.draw(two_points(name))
    loss = LOSSES[name]
    left, right = loss.value(a, y), loss.value(b, y)
    room = 1e-9 * (1.0 + abs(left) + abs(right))
    assert (left >= loss.best(y) - 1e-9 * (1.0 + abs(loss.best(y)))).all()
    assert (loss.value((a + b) / 2, y) <= (left + right) / 2 + room).all()
    rise = (loss.gradient(a, y) * (b - a)).reshape(3, -1).sum(axis=1)
    assert (right >= left + rise - room).all()


@every_loss
@settings(max_examples=60)
@given(data=st.data())
def test_no_curvature_is_negative_or_beyond_its_bound(name, data):
    z, _, y = data.draw(two_points(name))
    loss = LOSSES[name]
    d = loss.curvature(z, y)
    eigenvalues = np.linalg.eigvalsh(d) if d.ndim == 3 else d
    assert eigenvalues.min() >= -1e-15
    assert eigenvalues.max() <= loss.curvature_bound * (1 + 1e-14)
    assert abs(loss.gradient(z, y)).max() <= loss.slope_bound


@every_loss
def test_the_root_of_the_curvature_is_one(name):
    loss, (z, y) = LOSSES[name], POINTS[name]
    s = np.linspace(0.5, 3.0, ROWS)
    B, d = loss.curvature_root(z, y, s), loss.curvature(z, y)
    assert B.shape == d.shape
    square = np.einsum("iab,icb->iac", B, B) if d.ndim == 3 else B**2
    np.testing.assert_allclose(square, d * s.reshape(-1, *[1] * (d.ndim - 1)), rtol=1e-12, atol=1e-15)
    B = Loss.curvature_root(loss, z, y, s)
    square = np.einsum("iab,icb->iac", B, B) if d.ndim == 3 else B**2
    np.testing.assert_allclose(square, d * s.reshape(-1, *[1] * (d.ndim - 1)), rtol=1e-9, atol=1e-12)


@every_loss
def test_the_best_of_a_row_is_the_lowest_that_it_gets(name):
    loss, (z, y) = LOSSES[name], POINTS[name]
    best, deviance = loss.best(y), loss.unit_deviance(z, y)
    assert loss.best_is_zero == (not best.any())
    assert best.shape == deviance.shape == (ROWS,)
    assert (deviance >= 0).all()
    if name == "poisson":
        np.testing.assert_allclose(best[y > 0], loss.value(np.log(y[y > 0]), y[y > 0]), rtol=1e-14)
        assert not best[y == 0].any()
        assert loss.unit_deviance(z, y).mean() == pytest.approx(
            mean_poisson_deviance(y, np.exp(z)), rel=1e-12
        )


def test_the_huber_loss_is_twice_that_of_scipy():
    z, y = POINTS["huber"]
    for delta in (0.1, 1.0, 30.0):
        loss = HuberLoss(delta)
        np.testing.assert_allclose(loss.value(z, y), 2 * huber(delta, z - y), rtol=1e-14)
        assert abs(loss.gradient(z, y)).max() <= loss.slope_bound == 2 * delta
    np.testing.assert_allclose(HuberLoss(1e6).value(z, y), SQUARED.value(z, y), rtol=1e-14)
    with np.errstate(all="raise"):
        assert HUBER.value(np.array([1e300]), np.zeros(1))[0] == 2e300


@pytest.mark.parametrize("delta", [0, -1.0, np.nan, np.inf, "1", True, None])
def test_the_delta_of_huber_is_a_number_above_zero(delta):
    with pytest.raises(DescendError, match="`delta` must be a number above 0, got"):
        HuberLoss(delta)


def test_far_out_the_poisson_loss_is_a_line_and_never_overflows():
    z, y = np.array([-1e4, 345.0, 400.0, 1e4]), np.array([2, 2, 2, 2])
    with np.errstate(all="raise", under="ignore"):
        value, gradient = POISSON.value_and_gradient(z, y)
        curvature = POISSON.curvature(z, y)
    assert value[0] == 2e4
    assert gradient[0] == -2
    top = np.exp(345.0)
    np.testing.assert_allclose(value[1:], top * (1 + z[1:] - 345.0), rtol=1e-14)
    np.testing.assert_array_equal(gradient[1:], np.full(3, top - 2))
    np.testing.assert_array_equal(curvature[1:], np.full(3, top))


@every_loss
def test_a_loss_is_read_back_as_it_was_written(name):
    loss = LOSSES[name]
    assert loss_from_dict(json.loads(json.dumps(loss.to_dict()))) == loss
    assert loss_from_dict(name) == loss


def test_a_loss_with_settings_keeps_them():
    assert HuberLoss(0.1).to_dict() == {"name": "huber", "delta": 0.1}
    assert loss_from_dict(HuberLoss(np.float64(0.1)).to_dict()) == HuberLoss(0.1)
    assert [loss.to_dict() for loss in (SQUARED, POISSON)] == [{"name": "squared-error"}, {"name": "poisson"}]


@dataclass(frozen=True)
class Mine(Loss):
    """A loss in which nothing is told but the formula."""

    power: float = 4.0
    name = "mine"

    def value(self, z, y):
        return np.abs(z - y) ** self.power

    def gradient(self, z, y):
        return self.power * np.abs(z - y) ** (self.power - 1) * np.sign(z - y)

    def curvature(self, z, y):
        return self.power * (self.power - 1) * np.abs(z - y) ** (self.power - 2)


def test_a_loss_of_three_formulas_is_whole(monkeypatch):
    loss, z, y = Mine(), np.array([0.0, 2.0]), np.array([1.0, 1.0])
    assert loss.value_and_gradient(z, y)[1].tolist() == [-4.0, 4.0]
    assert (loss.kind, loss.outputs(3), loss.has_classes) == ("number", None, False)
    assert loss.unit_deviance(z, y).tolist() == [1.0, 1.0]
    loss.check_target(y)
    with pytest.raises(DataError, match="`y` must hold numbers for the mine loss, got dtype <U1"):
        loss.check_target(np.array(["a"]))
    with pytest.raises(DescendError, match="`loss` must be one of"):
        as_loss("mine")
    monkeypatch.setitem(LOSSES, "mine", loss)
    assert as_loss("mine") is loss
    assert loss_from_dict(Mine(3.0).to_dict()) == Mine(3.0)


def test_the_bounds_of_curvature_are_reached():
    assert LOGISTIC.curvature(np.zeros(1), np.zeros(1))[0] == LOGISTIC.curvature_bound
    even = SOFTMAX.curvature(np.zeros((1, 2)), np.zeros(1, int))[0]
    assert np.linalg.eigvalsh(even)[-1] == pytest.approx(SOFTMAX.curvature_bound)


@settings(max_examples=60)
@given(data=st.data(), shift=FLOATS)
def test_only_differences_between_classes_count(data, shift):
    z, _, y = data.draw(two_points("cross-entropy"))
    value, gradient = SOFTMAX.value_and_gradient(z, y)
    np.testing.assert_allclose(gradient.sum(axis=1), 0.0, atol=1e-15)
    np.testing.assert_allclose(SOFTMAX.curvature(z, y).sum(axis=2), 0.0, atol=1e-15)
    np.testing.assert_allclose(SOFTMAX.value(z + shift, y), value, rtol=1e-10, atol=1e-10)


GOOD = {
    "squared-error": [[0.5, -3.0], [1, 2], [True, False], np.array([1, 2], np.uint8), np.ones(2, np.float32)],
    "logistic": [
        [0, 1],
        [0.0, 1.0],
        [True, False],
        [1, 1],
        np.array([0, 1], np.int8),
        np.zeros(2, np.float32),
    ],
    "cross-entropy": [[0, 1, 2], [0.0, 2.0], [True, False], np.array([0, 5], np.uint8)],
    "poisson": [[0, 1, 7], [0.5, 0.0], [True, False], np.array([0, 250], np.uint8)],
    "huber": [[0.5, -3.0], [True, False], np.array([1, 2], np.uint8)],
}
BAD = {
    "squared-error": [(["a", "b"], "numbers for squared error, got dtype <U1"), ([1j], "complex128")],
    "logistic": [([0, 2], "0 and 1"), ([0.5], "0 and 1"), ([-1, 1], "0 and 1"), (["0"], "0 and 1"),
                 ([np.nan], "0 and 1")],
    "cross-entropy": [([0, -1], "class numbers 0, 1"), ([0.5], "class numbers 0, 1"),
                      (["a"], "class numbers 0, 1"), ([np.nan], "class numbers 0, 1")],
    "poisson": [([3, -1], "of at least 0 for the Poisson loss, got -1"), ([np.nan], "finite .* got nan"),
                ([np.inf, 1.0], "finite .* got inf"), (["3"], "numbers for the Poisson loss, got dtype <U1")],
    "huber": [(["a"], "numbers for the Huber loss, got dtype <U1")],
}  # fmt: skip


@pytest.mark.parametrize(("name", "y"), [(name, y) for name in LOSSES for y in GOOD[name]])
def test_targets_of_a_loss_pass(name, y):
    LOSSES[name].check_target(np.asarray(y))


@pytest.mark.parametrize(("name", "y", "said"), [(name, *bad) for name in LOSSES for bad in BAD[name]])
def test_what_is_no_target_is_refused_with_what_is_wanted(name, y, said):
    with pytest.raises(DataError, match=rf"`y` must hold .*{said}"):
        LOSSES[name].check_target(np.asarray(y))


@every_loss
@pytest.mark.parametrize("kind", [bool, np.int8, np.uint8, np.float32, np.float64])
def test_the_dtype_of_the_target_does_not_matter(name, kind):
    loss, z = LOSSES[name], POINTS[name][0]
    y = RNG.integers(0, 2, ROWS)
    for found, expected in zip(
        loss.value_and_gradient(z, y.astype(kind)), loss.value_and_gradient(z, y), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(loss.gradient(z, y.astype(kind)), loss.gradient(z, y))


def test_mse_has_no_half_and_is_that_of_scikit_learn_and_pytorch():
    z, y = POINTS["squared-error"]
    assert descend.mse is mse
    assert mse(z, y) == pytest.approx(mean_squared_error(y, z), rel=1e-14)
    assert mse([1, 2], [1.0, 4.0]) == 2.0
    assert mse(np.array([250], np.uint8), np.array([255], np.uint8)) == 25.0
    assert mse([[1.0], [2.0]], [[1.0], [2.0]]) == 0.0
    torch = pytest.importorskip("torch")
    assert mse(torch.tensor(z), torch.tensor(y)) == pytest.approx(
        float(torch.nn.functional.mse_loss(torch.tensor(z), torch.tensor(y))), rel=1e-14
    )


@pytest.mark.parametrize("shape", [(3,), (2, 1), ()])
def test_mse_does_not_broadcast(shape):
    with pytest.raises(ShapeError, match=r"`y_hat` has shape \(2,\) and `y` has shape \(.*one value per row"):
        mse(np.ones(2), np.ones(shape))


def test_cross_entropy_of_probabilities_is_that_of_scikit_learn():
    z, y = POINTS["logistic"]
    assert descend.cross_entropy is cross_entropy
    assert cross_entropy(expit(z), y) == pytest.approx(log_loss(y, expit(z)), rel=1e-13)
    assert cross_entropy(expit(z), y == 1) == cross_entropy(expit(z), y)
    z, y = POINTS["cross-entropy"]
    p = softmax(z, axis=1)
    assert cross_entropy(p, y) == pytest.approx(log_loss(y, p), rel=1e-13)
    assert cross_entropy(p, y.astype(float)) == cross_entropy(p, y)


def test_certainty_costs_nothing_where_right_and_infinity_where_wrong():
    assert cross_entropy([1.0, 0.0], [1, 0]) == 0.0
    assert np.signbit(cross_entropy([1.0, 0.0], [1, 0])) == np.False_
    assert cross_entropy([1.0, 0.0], [1, 1]) == np.inf
    assert cross_entropy([[1.0, 0.0]], [1]) == np.inf


REFUSED = {
    "shapes": ([0.5, 0.5], [1], ShapeError, r"`p` has shape \(2,\) and `y` has shape \(1,\)"),
    "labels as a table": ([[0.5, 0.5]], [[1, 0]], ShapeError, r"\(1, 2\) and `y` has shape \(1, 2\)"),
    "three dimensions": (np.ones((1, 1, 1)), [0], ShapeError, r"`p` has shape \(1, 1, 1\)"),
    "above one": ([1.5], [1], DescendError, "between 0 and 1; a linear predictor goes through its link"),
    "below zero": ([-0.1], [1], DescendError, "between 0 and 1"),
    "not a number": ([np.nan], [1], DescendError, "between 0 and 1"),
    "not a coin": ([0.5], [2], DataError, "must hold 0 and 1"),
    "not a class": ([[0.5, 0.5]], [0.5], DataError, "class numbers"),
    "one class too many": ([[0.5, 0.5]], [2], DataError, "`y` holds class 2, but `p` has 2 columns: 0 to 1"),
}


@pytest.mark.parametrize(("p", "y", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_cross_entropy_refuses_what_is_no_probability_or_no_class(p, y, error, said):
    with pytest.raises(error, match=said):
        cross_entropy(p, y)
