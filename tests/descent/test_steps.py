"""The walk downhill: limits, epochs, early stopping, and mini-batches beside a NumPy loop."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from scipy import sparse

import descend
from descend import LBFGS, Adam, Cosine, DescendError, GradientDescent, Newton, Objective, Outcome, steps
from descend.engines.blocks import leaf_rows
from descend.engines.splits import Split

RNG = np.random.default_rng(6)
ROWS = 330
X = RNG.normal(size=(ROWS, 4))
SCORE = X @ [1.0, -1.0, 0.5, 2.0] + RNG.normal(size=ROWS)
TARGETS = {
    "squared-error": SCORE,
    "logistic": (SCORE > 0).astype(float),
    "cross-entropy": np.digitize(SCORE, [-1, 1]).astype(float),
}
WEIGHT = RNG.uniform(0.5, 2.0, ROWS)


def objective(loss="squared-error", x=X, **options):
    return Objective.of(x, TARGETS[loss], loss=loss, **options)


def residual(loss, z, y):
    """The derivative of the loss of each row with respect to the linear predictor."""
    if loss == "squared-error":
        return 2 * (z - y)
    if loss == "logistic":
        return 1 / (1 + np.exp(-z)) - y
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return p - np.eye(3)[y.astype(int)]


def epoch_order(seed, epoch):
    """The order of a few rows: one leaf, permuted, then its rows."""
    assert leaf_rows(4) > ROWS
    random = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    random.permutation(1)
    return random.permutation(ROWS)


def by_numpy(loss, size, epochs, seed, rate, momentum=0.0, weight=None, penalty=0.0):
    """The weights before each step and after the last."""
    x, y = np.column_stack([X, np.ones(ROWS)]), TARGETS[loss]
    s = np.ones(ROWS) if weight is None else weight / weight.mean()
    w = np.zeros((5, 3) if loss == "cross-entropy" else 5)
    v, walk = np.zeros_like(w), [w]
    for epoch in range(epochs):
        order = epoch_order(seed, epoch)
        for start in range(0, ROWS, size):
            rows = order[start : start + size]
            g = residual(loss, x[rows] @ w, y[rows])
            gradient = x[rows].T @ (g * s[rows].reshape(-1, *[1] * (g.ndim - 1))) / len(rows)
            gradient[:-1] += penalty * w[:-1]
            v = momentum * v + gradient
            w = w - rate * v
            walk.append(w)
    return np.array(walk)


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize(
    ("settings", "options"),
    [({}, {}), ({"momentum": 0.8}, {}), ({}, {"sample_weight": WEIGHT}), ({}, {"penalty": 0.2})],
    ids=["plain", "momentum", "weighted", "penalised"],
)
def test_mini_batches_are_a_loop_over_the_batches(loss, settings, options):
    run = steps(
        objective(loss, **options), GradientDescent(0.03, **settings), batch_size=32, epochs=4, seed=5
    )
    expected = by_numpy(
        loss,
        32,
        4,
        5,
        0.03,
        weight=options.get("sample_weight"),
        penalty=options.get("penalty", 0.0),
        **settings,
    )
    np.testing.assert_allclose([step.weights for step in run], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("optimizer", [GradientDescent(0.05), Adam(0.05)], ids=repr)
def test_sparse_rows_walk_as_dense_ones(loss, optimizer):
    x = X * (np.abs(X) > 0.7)
    walks = [
        [s.weights for s in steps(objective(loss, kind(x)), optimizer, batch_size=20, epochs=2, seed=1)]
        for kind in (np.asarray, sparse.csr_matrix)
    ]
    np.testing.assert_allclose(*map(np.array, walks), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", TARGETS)
def test_a_batch_of_all_rows_is_gradient_descent(loss):
    whole = [s.weights for s in steps(objective(loss), GradientDescent(0.1), limit=20)]
    batched = [s.weights for s in steps(objective(loss), GradientDescent(0.1), limit=20, batch_size=ROWS + 9)]
    np.testing.assert_allclose(batched, whole, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("size", "per_epoch"), [(100, 4), (110, 3), (ROWS, 1), (1_000, 1), (1, ROWS)])
def test_an_epoch_is_a_pass_over_all_rows(size, per_epoch):
    walk = list(steps(objective(), GradientDescent(), batch_size=size, epochs=3))
    assert [step.number for step in walk] == list(range(3 * per_epoch + 1))
    assert walk[-1].outcome is Outcome.STEP_LIMIT
    assert walk[-1].epoch == 3
    assert walk[-1].rows_seen == 3 * ROWS
    assert [step.rows_seen for step in walk[: per_epoch + 1]] == [*range(0, ROWS, size), ROWS][
        : per_epoch + 1
    ]
    np.testing.assert_allclose([s.epoch for s in walk], [s.rows_seen / ROWS for s in walk], rtol=1e-15)


@pytest.mark.parametrize("limit", [0, 1, 4, 7, 8, 11])
def test_losses_over_all_rows_come_at_the_start_the_ends_of_epochs_and_the_end(limit):
    made = objective("logistic", penalty=0.1)
    walk = list(steps(made, GradientDescent(), batch_size=100, limit=limit, validation=objective("logistic")))
    assert len(walk) == limit + 1
    for step in walk:
        filled = step.number % 4 == 0 or step.number == limit
        assert (step.loss is not None) == (step.validation_loss is not None) == filled
        assert (step.batch_loss is None) == (step.number == limit)
        if filled:
            assert step.loss == pytest.approx(
                objective("logistic", penalty=0.1).value(step.weights), rel=1e-12
            )
            assert step.validation_loss == pytest.approx(objective("logistic").value(step.weights), rel=1e-12)


def test_the_loss_of_a_batch_is_that_before_its_step():
    walk = list(steps(objective("logistic"), GradientDescent(0.2), batch_size=100, epochs=2, seed=3))
    x, y = np.column_stack([X, np.ones(ROWS)]), TARGETS["logistic"]
    for step in walk[:-1]:
        rows = epoch_order(3, step.number // 4)[100 * (step.number % 4) :][:100]
        z = x[rows] @ step.weights
        assert step.batch_loss == pytest.approx((np.logaddexp(0, z) - y[rows] * z).mean(), rel=1e-12)


def test_the_seed_decides_the_batches():
    def walk(seed):
        return np.array([s.weights for s in steps(objective(), Adam(), batch_size=50, epochs=2, seed=seed)])

    np.testing.assert_array_equal(walk(1), walk(1))
    assert not np.array_equal(walk(1), walk(2))


def test_a_walk_is_a_generator_for_a_plain_loop():
    seen = []
    for step in steps(objective(), GradientDescent(0.1), limit=1_000):
        seen.append(step)
        if step.loss < 0.5 * seen[0].loss:
            break
    assert [step.number for step in seen] == list(range(len(seen)))
    assert 1 < len(seen) < 100
    assert seen[-1].outcome is None
    for batches in (steps(objective(), batch_size=5), steps(objective(), batch_size=5, epochs=1)):
        with closing(batches):
            next(batches)  # leaving in the middle of an epoch is fine


@pytest.mark.parametrize("optimizer", [GradientDescent(), Adam(), LBFGS(), Newton()], ids=repr)
def test_row_zero_is_the_start_and_the_last_row_has_the_outcome(optimizer):
    start = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    walk = list(steps(objective("logistic"), optimizer, limit=3, start=start))
    np.testing.assert_array_equal(walk[0].weights, start)
    assert [step.outcome for step in walk] == [None, None, None, Outcome.STEP_LIMIT]
    for step in walk:
        value, gradient = objective("logistic").value_and_gradient(step.weights)
        assert step.loss == pytest.approx(value, rel=1e-13)
        assert step.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-10)
        assert step.rows_seen == step.number * ROWS
        assert step.epoch == step.number
    assert walk[-1].learning_rate is None


def test_no_step_at_all_is_the_start():
    (only,) = steps(objective(), GradientDescent(), limit=0, start=[1, 2, 3, 4, 5])
    assert only.outcome is Outcome.STEP_LIMIT
    assert only.weights.tolist() == [1, 2, 3, 4, 5]


def test_a_walk_without_a_limit_ends_within_the_tolerance():
    last = list(steps(objective(), GradientDescent()))[-1]
    assert last.outcome is Outcome.CONVERGED
    assert last.gradient_norm <= 1e-6
    loose = list(steps(objective(), GradientDescent(), tolerance=0.1))[-1]
    assert loose.number < last.number
    assert loose.gradient_norm <= 0.1


def test_giving_steps_or_epochs_turns_the_tolerance_off():
    for limits in ({"limit": 500}, {"epochs": 500}):
        last = list(steps(objective(), GradientDescent(), **limits))[-1]
        assert last.outcome is Outcome.STEP_LIMIT
        assert last.number == 500
        assert last.gradient_norm < 1e-6
    with_both = list(steps(objective(), GradientDescent(), limit=500, tolerance=1e-3))[-1]
    assert with_both.outcome is Outcome.CONVERGED


def test_a_default_mini_batch_walk_has_ten_epochs():
    last = list(steps(objective("logistic"), batch_size=100))[-1]
    assert last.epoch == 10
    assert last.outcome is Outcome.STEP_LIMIT


def test_a_schedule_ends_with_the_run():
    walk = list(steps(objective(), GradientDescent(Cosine(0.1)), batch_size=100, epochs=5))
    expected = [Cosine(0.1, steps=20).factor(k) * 0.1 for k in range(20)]
    np.testing.assert_allclose([s.learning_rate for s in walk[:-1]], expected, rtol=1e-14)


def overfitting(**options):
    """More columns than rows, and noise: the validation loss falls, then rises."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(160, 60))
    y = x[:, 0] + rng.normal(size=160) * 2
    return descend.fit(x[:70], y[:70], valid=(x[70:], y[70:]), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": GradientDescent(), "steps": 500},
        {"optimizer": Adam(0.05), "epochs": 200, "batch_size": 16},
        {"optimizer": GradientDescent(0.02), "epochs": 200, "batch_size": 70},
    ],
    ids=["all rows", "adam in batches", "one batch"],
)
@pytest.mark.parametrize("patience", [1, 5])
def test_patience_ends_the_run_and_keeps_the_best_weights(options, patience):
    run = overfitting(**options, patience=patience)
    assert run.outcome is Outcome.EARLY_STOP
    history = run.history
    evaluated = np.flatnonzero(~np.isnan(history.validation_loss))[:-1]
    losses = history.validation_loss[evaluated]
    best = int(losses.argmin())
    assert best == len(losses) - patience  # the last row is the evaluation at which patience ended
    assert history.validation_loss[-1] == losses[best]
    np.testing.assert_array_equal(run.weights, history.weights[evaluated[best]])
    x = np.random.default_rng(2).normal(size=(160, 60))
    assert run.loss == pytest.approx(history.loss[evaluated[best]], rel=1e-12)
    assert run.predict(x).shape == (160,)


def test_patience_on_held_out_rows_keeps_the_weights_that_are_best_there():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(160, 60))
    y = x[:, 0] + rng.normal(size=160) * 2
    run = descend.fit(x, y, valid=0.5, optimizer=GradientDescent(), steps=500, patience=3)
    assert run.outcome is Outcome.EARLY_STOP
    held_out = Split(0.5).held_out(0, 0, 160)
    losses = [
        loss_of("squared-error", x[held_out] @ w[:-1] + w[-1], y[held_out]) for w in run.history.weights
    ]
    assert losses[-1] == pytest.approx(min(losses), rel=1e-12)
    assert 0 < int(np.argmin(losses[:-1])) == len(losses) - 4


HELD_OUT = {"a fraction": 0.3, "the last rows": "last:0.3", "one's own": None}


@pytest.mark.parametrize("kind", HELD_OUT)
@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("table", [False, True], ids=["array", "table"])
def test_the_validation_loss_is_over_the_same_held_out_rows_each_time(kind, loss, batch_size, table):
    y, own = TARGETS[loss], HELD_OUT[kind] is None
    held_out = Split(0.3, seed=4).held_out(0, 0, ROWS) if kind == "a fraction" else np.arange(ROWS) >= 231
    shown = ~held_out if own else slice(None)
    data = (
        {name: X[shown, i] for i, name in enumerate("abcd")},
        {n: X[held_out, i] for i, n in enumerate("abcd")},
    )
    how = {
        "loss": loss,
        "optimizer": GradientDescent(),
        "batch_size": batch_size,
        "epochs": 4,
        "seed": 4,
        "patience": 2,
    }
    if table:
        valid = data[1] | {"y": y[held_out]} if own else HELD_OUT[kind]
        run = descend.fit(data[0] | {"y": y[shown]}, target="y", valid=valid, penalty=0, **how)
    else:
        valid = (X[held_out], y[held_out]) if own else HELD_OUT[kind]
        run = descend.fit(X[shown], y[shown], valid=valid, **how)
    assert run.rows["training"] == (~held_out).sum()
    assert run.rows["validation"] == held_out.sum()
    x = X
    if table:  # which descends in units of its training rows
        x = (X - X[~held_out].mean(axis=0)) / X[~held_out].std(axis=0)
    history = run.history
    evaluated = np.flatnonzero(~np.isnan(history.validation_loss))
    assert len(evaluated) >= 4
    for k in evaluated:
        w = history.weights[k]
        expected = loss_of(loss, x[held_out] @ w[:-1] + w[-1], y[held_out])
        assert history.validation_loss[k] == pytest.approx(expected, rel=1e-10)


def loss_of(loss, z, y):
    if loss == "squared-error":
        return np.mean((z - y) ** 2)
    if loss == "logistic":
        return np.mean(np.log1p(np.exp(z)) - y * z)
    return np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y.astype(int)])


def test_without_patience_the_validation_loss_is_only_watched():
    watched = overfitting(optimizer=GradientDescent(), steps=50)
    assert watched.outcome is Outcome.STEP_LIMIT
    assert np.isfinite(watched.history.validation_loss).all()
    assert watched.history.validation_loss[-1] > watched.history.validation_loss.min()


def test_a_run_at_its_limit_has_the_best_weights_too():
    run = overfitting(optimizer=GradientDescent(), steps=50, patience=49)
    best = int(run.history.validation_loss[:-1].argmin())
    np.testing.assert_array_equal(run.weights, run.history.weights[best])


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("batch_size", [None, 1, 16])
@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    ids=["plain", "heavy", "nesterov"],
)
def test_the_automatic_learning_rate_never_diverges(scale, loss, batch_size, settings):
    x = X * scale * [1.0, 100.0, 1.0, 0.01] + scale * np.array([0.0, 0.0, 30.0, 0.0])
    last = list(
        steps(
            objective(loss, x),
            GradientDescent(**settings),
            batch_size=batch_size,
            epochs=30 if batch_size is None else 3,
        )
    )
    assert last[-1].outcome is not Outcome.DIVERGED
    assert last[-1].loss < last[0].loss * (1 if batch_size is None else 2)  # one row at a time leaves noise


def test_a_time_limit_ends_a_walk_in_the_middle_of_an_epoch():
    walk = list(steps(objective("logistic"), batch_size=1, epochs=10_000, time_limit=0.05))
    assert walk[-1].outcome is Outcome.TIME_LIMIT
    assert walk[-1].loss is not None
    assert 0.05 <= walk[-1].seconds < 2


@pytest.mark.parametrize("rate", [1e6, 1e200])
@pytest.mark.parametrize("batch_size", [None, 10])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", TARGETS)
def test_a_rate_that_overflows_ends_with_finite_weights(loss, intercept, batch_size, rate):
    made = objective(loss, intercept=intercept, penalty=0.1)
    last = list(steps(made, GradientDescent(rate), batch_size=batch_size, epochs=100))[-1]
    assert last.outcome is Outcome.DIVERGED
    assert np.isfinite(last.weights).all()


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("batch_size", [None, 1, 16])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_automatic_rate_stands_a_penalty_steeper_than_any_row(loss, batch_size, momentum):
    made = objective(loss, 0.01 * X, penalty=1e4)
    walk = list(steps(made, GradientDescent(momentum=momentum), batch_size=batch_size, epochs=3))
    assert walk[-1].outcome is Outcome.STEP_LIMIT
    assert walk[-1].loss <= walk[0].loss * (1 if batch_size is None else 2)


REFUSED = {
    "steps and epochs": ({"limit": 5, "epochs": 5}, "give `steps` or `epochs`, not both"),
    "no epochs": ({"epochs": 0}, "`epochs` must be a whole number of at least 1, got 0"),
    "half an epoch": ({"epochs": 0.5}, "got 0.5"),
    "negative steps": ({"limit": -1}, "`steps` must be a whole number of at least 0, got -1"),
    "no tolerance": ({"tolerance": 0.0}, "`tolerance` must be a number above 0, got 0.0"),
    "no time": ({"time_limit": 0}, "`time_limit` must be a number above 0, got 0"),
    "patience alone": ({"patience": 3}, "`patience` watches the validation loss: give `valid`"),
    "batches of nothing": ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1, got 0"),
    "newton in batches": ({"batch_size": 5, "optimizer": Newton()}, "`optimizer` newton works on all rows"),
    "lbfgs in batches": ({"batch_size": 5, "optimizer": "lbfgs"}, "gradient-descent or adam"),
    "a start of another shape": ({"start": [1, 2]}, r"`start` has shape \(2,\), .* shape \(5,\)"),
    "a start that is no number": ({"start": [1, 2, 3, 4, np.nan]}, "`start` holds NaN"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_before_the_first_step(options, message):
    with pytest.raises(DescendError, match=message):
        steps(objective(), **options)
