"""First-order optimizers beside torch.optim, step by step; settings stay, states are values."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from descend import (
    Adam,
    Constant,
    Cosine,
    DescendError,
    GradientDescent,
    InverseTime,
    Objective,
    OneCycle,
    steps,
)

RNG = np.random.default_rng(3)
X = RNG.normal(size=(200, 4)) * [1.0, 2.0, 0.5, 3.0]
Y = X @ [1.0, -1.0, 2.0, 0.5] + RNG.normal(size=200)
TARGETS = {
    "squared-error": Y,
    "logistic": (Y > 0).astype(float),
    "cross-entropy": np.digitize(Y, [-2.0, 2.0]),
}
START = {name: RNG.normal(size=(4, 3) if name == "cross-entropy" else 4) for name in TARGETS}

DESCENTS = {
    "plain": {},
    "heavy ball": {"momentum": 0.9},
    "a little momentum": {"momentum": 0.3},
    "nesterov": {"momentum": 0.9, "nesterov": True},
}
ADAMS = {
    "as published": {},
    "short memory": {"beta1": 0.5, "beta2": 0.9},
    "no momentum": {"beta1": 0.0, "beta2": 0.99},
    "large epsilon": {"epsilon": 0.1},
}
EVERY = [
    GradientDescent(0.01),
    GradientDescent(0.01, momentum=0.9),
    GradientDescent(InverseTime("auto", decay=0.1), momentum=0.9, nesterov=True),
    GradientDescent(),
    Adam(0.05),
    Adam(),
    Adam(Cosine("auto", steps=40)),
]


def objective(loss):
    return Objective.of(X, TARGETS[loss], loss=loss, intercept=False)


def walked(optimizer, loss, count=60):
    """The weights after each step."""
    made = steps(objective(loss), optimizer, limit=count, start=START[loss])
    return np.array([step.weights for step in made])


def walked_by_torch(torch, make, loss, count=60):
    x, y = torch.tensor(X), torch.tensor(TARGETS[loss])
    w = torch.nn.Parameter(torch.tensor(START[loss]))
    optimizer, seen = make([w]), [START[loss]]
    of = {
        "squared-error": torch.nn.functional.mse_loss,
        "logistic": torch.nn.functional.binary_cross_entropy_with_logits,
        "cross-entropy": torch.nn.functional.cross_entropy,
    }[loss]
    for _ in range(count):
        optimizer.zero_grad()
        of(x @ w, y).backward()
        optimizer.step()
        seen.append(w.detach().numpy().copy())
    return np.array(seen)


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("settings", DESCENTS.values(), ids=DESCENTS)
def test_gradient_descent_is_that_of_torch(loss, settings):
    torch = pytest.importorskip("torch")
    expected = walked_by_torch(torch, lambda p: torch.optim.SGD(p, lr=0.02, **settings), loss)
    found = walked(GradientDescent(0.02, **settings), loss)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("settings", ADAMS.values(), ids=ADAMS)
def test_adam_is_that_of_torch(loss, settings):
    """Given the same gradients: Adam's quotient of small gradients magnifies what rounding has made of them."""
    torch = pytest.importorskip("torch")
    made, w = objective(loss), torch.nn.Parameter(torch.tensor(START[loss]))
    betas = settings.get("beta1", 0.9), settings.get("beta2", 0.999)
    theirs = torch.optim.Adam([w], lr=0.05, betas=betas, eps=settings.get("epsilon", 1e-8))
    for found in walked(Adam(0.05, **settings), loss):
        np.testing.assert_allclose(found, w.detach().numpy(), rtol=1e-12, atol=1e-13)
        w.grad = torch.tensor(made.gradient(found))
        theirs.step()


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}],
    ids=["plain", "heavy", "nesterov"],
)
def test_gradient_descent_is_its_recurrence(settings):
    m, nesterov = settings.get("momentum", 0.0), settings.get("nesterov", False)
    w, v = START["squared-error"].copy(), 0.0
    expected = [w]
    for _ in range(60):
        g = 2 * X.T @ (X @ w - Y) / len(Y)
        v = m * v + g
        w = w - 0.03 * (g + m * v if nesterov else v)
        expected.append(w)
    np.testing.assert_allclose(
        walked(GradientDescent(0.03, **settings), "squared-error"), expected, rtol=1e-12, atol=1e-13
    )


def test_adam_is_its_recurrence():
    w, m, s = START["squared-error"].copy(), 0.0, 0.0
    expected = [w]
    for t in range(1, 61):
        g = 2 * X.T @ (X @ w - Y) / len(Y)
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        expected.append(w)
    np.testing.assert_allclose(walked(Adam(0.1), "squared-error"), expected, rtol=1e-12, atol=1e-13)


RATES = {
    "constant": (Constant(0.02), lambda k: 0.02),
    "inverse time": (InverseTime(0.02, decay=0.5), lambda k: 0.02 / (1 + 0.5 * k)),
    "cosine": (Cosine(0.02), lambda k: 0.01 * (1 + math.cos(math.pi * k / 40))),
    "one cycle": (OneCycle(0.02), lambda k: 0.02 * OneCycle(1.0, steps=40).factor(k)),
}


@pytest.mark.parametrize(("schedule", "rate"), RATES.values(), ids=RATES)
@pytest.mark.parametrize("kind", [GradientDescent, Adam])
def test_the_learning_rates_of_a_run_are_those_of_its_schedule(schedule, rate, kind):
    made = list(steps(objective("logistic"), kind(schedule), limit=40, start=START["logistic"]))
    np.testing.assert_allclose([s.learning_rate for s in made[:-1]], [rate(k) for k in range(40)], rtol=1e-14)
    assert made[-1].learning_rate is None
    if kind is GradientDescent:
        before, after = made[7], made[8]
        gradient = objective("logistic").gradient(before.weights)
        np.testing.assert_allclose(after.weights, before.weights - rate(7) * gradient, rtol=1e-13)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
@pytest.mark.parametrize("loss", TARGETS)
def test_a_stored_state_goes_on_with_the_same_bits(optimizer, loss):
    made, w = objective(loss), START[loss].copy()
    state, whole, stored = optimizer.init(w), [], []
    for _ in range(20):
        stored.append((w.copy(), state))
        w, state, *_ = optimizer.step(made, w, state)
        whole.append(w.copy())
    fresh = objective(loss)
    for at in (19, 0, 7):
        v, state = stored[at]
        for expected in whole[at:]:
            v, state, *_ = optimizer.step(fresh, v, state)
            np.testing.assert_array_equal(v, expected)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
def test_a_step_leaves_settings_weights_and_state_as_they_are(optimizer):
    made, w = objective("logistic"), START["logistic"].copy()
    before = repr(optimizer)
    _, state, *_ = optimizer.step(made, w, optimizer.init(w))
    kept_w, kept_state = w.copy(), repr(state)
    first = optimizer.step(made, w, state)
    second = optimizer.step(made, w, state)
    np.testing.assert_array_equal(w, kept_w)
    assert repr(state) == kept_state
    assert repr(optimizer) == before
    np.testing.assert_array_equal(first.weights, second.weights)
    assert not first.stalled
    with pytest.raises(FrozenInstanceError):
        optimizer.learning_rate = 1.0


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_automatic_rate_of_gradient_descent_never_raises_the_loss(loss, scale):
    made = Objective.of(X * scale, TARGETS[loss], loss=loss)
    losses = [s.loss for s in steps(made, GradientDescent(), limit=200)]
    assert (np.diff(losses) <= 1e-15 * losses[0]).all()
    assert losses[-1] < losses[0]


def test_the_automatic_rate_of_squared_error_is_one_over_the_curvature():
    largest = np.linalg.eigvalsh(2 * X.T @ X / len(X))[-1]
    assert GradientDescent().rate(objective("squared-error")) == pytest.approx(1 / largest, rel=1e-12)
    assert GradientDescent(InverseTime("auto", 1.0)).rate(objective("squared-error"), 3) == pytest.approx(
        0.25 / largest, rel=1e-12
    )


@pytest.mark.parametrize("settings", DESCENTS.values(), ids=DESCENTS)
def test_the_limit_of_the_rate_is_where_the_recurrence_stops_shrinking(settings):
    m, nesterov = settings.get("momentum", 0.0), settings.get("nesterov", False)

    def radius(rate, curvature=3.0):
        """The spectral radius of one step along a direction, on (weight, velocity)."""
        step = np.array([[0.0, 0.0], [curvature, m]])
        step[0] = [
            1 - rate * (curvature * (1 + m) if nesterov else curvature),
            -rate * m * (m if nesterov else 1),
        ]
        return np.abs(np.linalg.eigvals(step)).max()

    limit = GradientDescent(**settings).rate_limit(3.0)
    assert radius(0.999 * limit) < 1 < radius(1.001 * limit)


def test_the_automatic_rate_of_adam_has_the_units_of_the_weights():
    """A column a thousand times as large has weights a thousand times smaller, all along the walk."""
    starts = np.zeros(4), np.zeros(4)
    made = [
        [
            s.weights
            for s in steps(Objective.of(x, Y, intercept=False), Adam(epsilon=1e-300), limit=30, start=w)
        ]
        for x, w in zip((X, X * 1024.0), starts, strict=True)
    ]
    np.testing.assert_allclose(np.array(made[0]), np.array(made[1]) * 1024.0, rtol=1e-9, atol=1e-12)


REFUSED = {
    "a rate of zero": (lambda: GradientDescent(0.0), "`learning_rate` must be a number above 0"),
    "a negative rate": (lambda: Adam(-1.0), "above 0 or .auto., got -1.0"),
    "an infinite rate": (lambda: GradientDescent(math.inf), "got inf"),
    "a rate that is no number": (lambda: Adam(math.nan), "got nan"),
    "a word": (lambda: GradientDescent("fast"), "got 'fast'"),
    "a truth": (lambda: GradientDescent(True), "got True"),
    "momentum of one": (lambda: GradientDescent(0.1, momentum=1.0), "`momentum` must be .* below 1, got 1.0"),
    "negative momentum": (lambda: GradientDescent(0.1, momentum=-0.1), "got -0.1"),
    "nesterov alone": (lambda: GradientDescent(0.1, nesterov=True), "`nesterov` needs a `momentum`"),
    "beta1": (lambda: Adam(beta1=1.0), "`beta1` must be at least 0 and below 1, got 1.0"),
    "beta2": (lambda: Adam(beta2=-0.5), "`beta2` .* got -0.5"),
    "epsilon": (lambda: Adam(epsilon=0.0), "`epsilon` must be above 0, got 0.0"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(DescendError, match=message):
        make()


def test_an_optimizer_may_be_reused_and_compared():
    optimizer = Adam(0.05)
    np.testing.assert_array_equal(walked(optimizer, "logistic", 10), walked(optimizer, "logistic", 10))
    assert optimizer == Adam(0.05) != Adam(0.06)
    assert hash(GradientDescent(0.1)) == hash(GradientDescent(0.1))
    assert optimizer.planned(100) == optimizer
    assert GradientDescent(Cosine(0.1)).planned(100) == GradientDescent(Cosine(0.1, steps=100))
