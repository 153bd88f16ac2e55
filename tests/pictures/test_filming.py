"""Films of runs and of anyone's history: what they hold agrees with the run, and watching changes nothing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from own_losses import Gamma, SquaredHinge

import descend
from descend import Adam, GradientDescent, Objective, Outcome
from descend.errors import DescendError, DescendWarning, ShapeError
from descend.pictures.film import Film
from descend.pictures.filming import film_of_history

X, Y = descend.make_line(100, weights=(3, 2), seed=0)
HIGH = (Y.mean() < Y).astype(int)


def lesson(**more):
    how = {
        "intercept": False,
        "start": (0.5, 0.75),
        "optimizer": GradientDescent(learning_rate=0.1),
        "steps": 100,
    } | more
    return descend.fit(X, Y, **how)


def strict(film):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(film.to_json(), parse_constant=refuse)


def penguins(target, features=None, **how):
    return descend.fit(
        "examples/penguins.csv", target=target, columns=descend.Columns(features=features), **how
    )


def test_the_lesson_s_film():
    run = lesson()
    film = run.animate(interval=20)
    assert (film.frames, film.picture, film.interval) == (101, "line", 20)
    assert film.title == "Gradient descent, learning rate 0.1"
    assert film.outcome == f"{run}. {run.details}"
    np.testing.assert_array_equal(film.weights, run.history.weights)
    np.testing.assert_array_equal(film.curves["loss"], [run.history.number, run.history.loss])
    np.testing.assert_array_equal(film.sample.x, X[:, :1])
    np.testing.assert_array_equal(film.learning_rate[:-1], 0.1)
    for frame in (0, 1, 50, 100):
        np.testing.assert_allclose(film.sample.linear_predictor(frame), X @ film.weights[frame], atol=1e-13)
        assert film.loss(frame) == pytest.approx(descend.mse(X @ film.weights[frame], Y))
    a, b, values = film.surface.grid(5)
    for i, j in ((0, 0), (2, 3), (4, 1)):
        assert values[j, i] == pytest.approx(descend.mse(X @ [a[i], b[j]], Y))
    assert film.surface.note == ""
    assert (film.surface.path.min(axis=0) > [a[0], b[0]]).all()
    assert (film.surface.path.max(axis=0) < [a[-1], b[-1]]).all()
    assert len(film.to_json()) < 12_000


def test_watching_changes_no_bit():
    watched, alone = lesson(steps=3), lesson(steps=3)
    watched.animate()
    more = lesson(steps=3)
    np.testing.assert_array_equal(more.history.weights, alone.history.weights)
    np.testing.assert_array_equal(watched.history.loss, alone.history.loss)
    assert watched.metrics == alone.metrics
    objective = Objective.of(X, HIGH, loss="logistic")
    run = descend.fit(X, HIGH, loss="logistic", optimizer=GradientDescent(), steps=5)
    run.animate()
    *_, step = descend.steps(objective, GradientDescent(), limit=5)
    np.testing.assert_array_equal(step.weights, run.weights)


@pytest.mark.parametrize("steps", [20, 299, 300, 5_000])
def test_every_step_is_a_frame_up_to_300(steps):
    film = lesson(steps=steps, optimizer=GradientDescent(0.002)).animate()
    assert film.frames <= 300
    assert (film.steps[0], film.steps[-1]) == (0, steps)
    if steps < 300:
        assert film.frames == steps + 1
    assert np.isfinite([film.loss(f) for f in range(film.frames)]).all()


@pytest.mark.parametrize(
    ("intercept", "constant"), [(True, False), (False, False), (False, True), (True, True)]
)
def test_a_line_has_a_slope_and_an_intercept_whoever_brings_it(intercept, constant):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 1))
    if constant:
        x = np.column_stack([x, np.full(80, 2.0)])
    run = descend.fit(x, 3 * x[:, 0] + 1, intercept=intercept, optimizer=GradientDescent(0.05), steps=10)
    film = run.animate()
    assert film.picture == "line"
    np.testing.assert_allclose(film.sample.linear_predictor(10), run.predict(x), atol=1e-12)


def test_exact_is_shown_as_gradient_descent_would_have_gone():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 3)) * [1, 2, 0.5]
    y = x @ [1.0, -1.0, 2.0] + 4 + rng.normal(size=300)
    run = descend.fit(x, y)
    film = run.animate()
    objective = Objective.of(x, y)
    curvature = np.linalg.eigvalsh(objective.hessian(run.weights))
    rate = 2 / (curvature[0] + curvature[-1])
    made = descend.fit(x, y, optimizer=GradientDescent(rate), steps=int(film.steps[-1]))
    np.testing.assert_allclose(
        film.weights, made.history.weights[film.steps.astype(int)], rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        film.curves["loss"][1], made.history.loss[film.steps.astype(int)], rtol=1e-9, atol=1e-12
    )
    assert film.frames > 20
    assert film.title == f"Gradient descent, learning rate {rate:.3g}"
    assert film.notes[0].startswith("exact took 1 step; shown is how gradient descent would have gone")


def test_a_newton_of_few_steps_too_with_the_losses_of_its_own_rows():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 2))
    y = (x @ [1.0, -1.0] + rng.logistic(size=200) > 0).astype(int)
    run = descend.fit(x, y, loss="logistic")
    film = run.animate()
    objective = Objective.of(x, y, loss="logistic")
    assert film.notes[0].startswith("newton took ")
    for frame in range(0, film.frames, 5):
        assert film.loss(frame) == pytest.approx(objective.value(film.weights[frame]))
    assert film.loss(0) == pytest.approx(np.log(2))
    assert film.loss(film.frames - 1) == pytest.approx(run.loss, rel=1e-3)
    a, b, values = film.surface.grid()
    end = run.weights.copy()
    pair = [film.names.index(name) for name in film.surface.names]
    end[pair] = a[3], b[20]
    assert values[20, 3] == pytest.approx(objective.value(end), rel=1e-3)


def test_a_long_newton_or_lbfgs_is_shown_as_it_went():
    run = lesson(optimizer=descend.LBFGS(), steps=None)
    film = run.animate()
    np.testing.assert_array_equal(film.weights, run.history.weights)
    assert film.interval > 100
    assert not film.notes


def test_a_run_that_was_stopped_short_shows_its_own_steps():
    run = descend.fit(X, HIGH, loss="logistic", optimizer="newton", steps=1)
    film = run.animate()
    assert film.frames == 2
    assert not film.notes


def test_a_diverged_run_is_strict_json_and_has_a_surface():
    with pytest.warns(DescendWarning, match="is above"):
        run = descend.fit(X * 1e3, Y, intercept=False, optimizer=GradientDescent(1e300), start=(0.1, 0))
    assert run.outcome is Outcome.DIVERGED
    strict(run.animate())
    with pytest.warns(DescendWarning, match="is above"):
        slow = lesson(optimizer=GradientDescent(1.02), steps=2_000)
    film = slow.animate()
    strict(film)
    assert film.surface is not None
    assert film.outcome == f"{slow}. {slow.details}"
    assert film.outcome.startswith("diverged")
    assert "What blew up" in film.outcome
    left, right = film.surface.x_range
    assert right - left < 100


def test_mini_batches_show_batch_losses_between_epochs_and_validation():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2_000, 5))
    y = x @ np.arange(5.0) + rng.normal(size=2_000)
    run = descend.fit(x, y, optimizer=Adam(0.1), batch_size=32, epochs=10, valid=0.2)
    film = run.animate()
    assert set(film.curves) == {"loss", "validation_loss", "batch_loss"}
    assert film.curves["loss"].shape[1] == 11
    assert film.curves["batch_loss"].shape[1] <= 900
    assert film.picture == "fit"
    assert f"of {run.rows['training']:,} rows" in " ".join(film.notes)
    strict(film)


@pytest.mark.parametrize("features", [("body_mass_g",), ("body_mass_g", "bill_depth_mm")], ids=len)
def test_a_table_with_few_features_is_shown_in_its_own_units(features):
    frame = pd.read_csv("examples/penguins.csv")[[*features, "sex"]].dropna()
    run = descend.fit(frame, target="sex", optimizer=GradientDescent(), steps=50)
    film = run.animate()
    assert film.picture == ("sigmoid", "boundary")[len(features) - 1]
    assert film.classes == ("female", "male")
    assert film.sample.names == features
    np.testing.assert_allclose(film.sample.x, frame[list(features)], rtol=1e-12)
    p = 1 / (1 + np.exp(-film.sample.linear_predictor(50)))
    np.testing.assert_allclose(p, run.predict_probabilities(frame)[:, 1], rtol=1e-9)


def test_a_table_of_many_columns_and_classes():
    run = penguins("species", valid=0.2)
    film = run.animate()
    assert (film.picture, film.classes) == ("classes", ("Adelie", "Chinstrap", "Gentoo"))
    assert len(film.names) == 12
    assert film.names[0].endswith("(Adelie)")
    assert film.sample.predictors.ndim == 3
    z = film.sample.linear_predictor(film.frames - 1)
    assert (z.argmax(axis=1) == film.sample.y).mean() > 0.97
    strict(film)


def test_a_closed_problem_still_has_a_film_of_squared_error():
    run = penguins("body_mass_g")
    film = run.animate()
    assert run.problem is None
    assert film.surface.hessian is not None
    assert film.target == "body_mass_g"
    assert "coefficient paths are those of standardised columns" in film.notes
    z, y = film.sample.linear_predictor(film.frames - 1), film.sample.y
    assert np.corrcoef(z, y)[0, 1] ** 2 == pytest.approx(run.metrics["training"].values["r2"], abs=0.02)


def test_hundreds_of_columns_are_shown_by_the_combinations_that_predict():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 300))
    y = x[:, :3] @ [5.0, 4.0, 3.0] + rng.normal(size=400)
    run = descend.fit(x, y, optimizer=GradientDescent(), steps=200)
    film = run.animate()
    assert film.sample.x.shape[1] == 20
    assert len(film.names) == 12
    assert {"x0", "x1", "x2"} <= set(film.names)
    kept = np.unique(np.linspace(0, 399, 300).round().astype(int))
    for frame in (0, 30, 200):
        z = x[kept] @ run.history.weights[frame][:-1] + run.history.weights[frame][-1]
        np.testing.assert_allclose(film.sample.linear_predictor(frame), z, atol=2e-3 * np.ptp(y))
    assert len(film.to_json()) < 200_000


def by_hand(loss, weights, steps=30, rate=0.1, **record):
    history, w = descend.History(**record), np.array(weights, dtype=float)
    for _ in range(steps):
        value, gradient = loss(w)
        history.record(loss=value, weights=w)
        w = w - rate * gradient
    return history


def squared(x, y):
    return lambda w: (descend.mse(x @ w, y), 2 * x.T @ (x @ w - y) / len(y))


def test_anyone_s_loop_on_the_lesson_is_the_lesson():
    history = by_hand(squared(X, Y), (0.5, 0.75), steps=101)
    film, run = history.animate(X, Y), lesson().animate()
    np.testing.assert_allclose(film.weights, run.weights, atol=1e-12)
    np.testing.assert_allclose(film.surface.grid(4)[2], run.surface.grid(4)[2], rtol=1e-9)
    assert film.picture == "line"
    assert history.animate(X[:, :1], Y).sample.predictors.shape == (101, 2)  # the intercept last
    assert history.animate(X[:, 0], Y, interval=50).interval == 50


def test_a_loop_without_data_shows_losses_and_weights():
    film = by_hand(squared(X, Y), (0, 0), names=("slope", "intercept")).animate()
    assert (film.picture, film.names, film.surface) == ("none", ("slope", "intercept"), None)
    strict(film)


def test_a_loop_of_classes_in_either_shape():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(60, 2)), rng.integers(0, 3, 60)
    ours = descend.History()
    ends = descend.History()
    for k in range(4):
        W = rng.normal(size=(3, 3)) * k  # two features and the intercept, three classes
        ours.record(loss=1.0 / (k + 1), weights=W)
        ends.record(loss=1.0 / (k + 1), weights=np.concatenate([W[:2].T.ravel(), W[2]]))
    one, two = (h.animate(x, y, loss="cross-entropy", classes="abc") for h in (ours, ends))
    assert one.picture == two.picture == "regions"
    assert one.classes == ("a", "b", "c")
    np.testing.assert_allclose(one.sample.predictors, two.sample.predictors)
    binary = by_hand(squared(X, Y), (0.0, 0.0)).animate(X, (Y > 1).astype(int), loss="logistic")
    assert (binary.picture, binary.classes) == ("sigmoid", ("0", "1"))


def test_a_loop_of_torch_parameters():
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X[:, :1], dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    model, history = torch.nn.Linear(1, 1), descend.History()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        loss = torch.nn.functional.mse_loss(model(x)[:, 0], y)
        history.record(loss=loss, weights=model.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    film = history.animate(x, y)
    assert film.picture == "line"
    assert film.loss(19) == pytest.approx(
        descend.mse(film.sample.linear_predictor(19), film.sample.y), rel=1e-4
    )


def test_a_loop_that_left_the_numbers_is_shown_as_far_as_it_went():
    history = descend.History()
    for k in range(6):
        w = [np.nan, np.inf] if k > 3 else [10.0**k, 1.0]
        history.record(loss=np.nan if k > 3 else 10.0**k, weights=w)
    for film in (history.animate(X, Y), history.animate()):
        strict(film)
        assert film.weights[:4].tolist() == [[10.0**k, 1.0] for k in range(4)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, None), DescendError, "`x` and `y` go together"),
        (
            (X[:, :1].repeat(4, 1), Y),
            ShapeError,
            r"shape \(2,\), but `x` has 4 columns: one weight per column",
        ),
        ((X, Y[:50]), ShapeError, "`x` has 100 rows"),
        ((X, Y * np.nan), DescendError, "NaN"),
    ],
    ids=["no y", "columns", "rows", "nan"],
)
def test_what_does_not_fit_is_named(arguments, error, message):
    history = by_hand(squared(X, Y), (0, 0), steps=3)
    with pytest.raises(error, match=message):
        history.animate(*arguments)


def test_nothing_recorded_and_no_time():
    with pytest.raises(DescendError, match="holds no weights"):
        descend.History().animate(X, Y)
    losses = descend.History()
    losses.record(loss=1.0)
    with pytest.raises(DescendError, match="holds no weights"):
        film_of_history(losses)
    for interval in (0, -1, float("nan")):
        with pytest.raises(DescendError, match="`interval` must be a number of milliseconds above 0"):
            lesson().animate(interval)


@pytest.mark.parametrize("loss", ["poisson", "squared-error", "logistic"])
@pytest.mark.parametrize("features", [1, 2, 5])
def test_rows_with_an_offset_are_drawn_where_they_are_predicted(loss, features):
    random = np.random.default_rng(features)
    x, offset = random.normal(size=(80, features)), random.normal(size=80)
    z = x @ np.linspace(0.5, 1.0, features) + offset
    y = {
        "poisson": random.poisson(np.exp(z)),
        "squared-error": z + random.normal(size=80),
        "logistic": (z > random.logistic(size=80)).astype(int),
    }[loss]
    run = descend.fit(x, y, loss=loss, offset=offset, penalty=0.01, optimizer="gradient-descent", steps=20)
    film = Film.from_json(run.animate().to_json())
    assert film.picture == ("histogram" if loss == "logistic" else "fit")
    predicted = film.predicted(film.frames - 1)
    found = run.predict_probabilities if loss == "logistic" else run.predict
    expected = found(x, offset=offset)
    expected = expected[:, 1] if loss == "logistic" else expected
    np.testing.assert_allclose(predicted, expected, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(film.sample.y, y, atol=1e-3 * np.ptp(y))


def test_counts_and_their_link_are_told():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 1))
    run = descend.fit(x, random.poisson(np.exp(x[:, 0])), loss="poisson")
    film = run.animate()
    assert (film.model, film.link, film.picture) == ("count", "log", "curve")
    np.testing.assert_allclose(film.predicted(film.frames - 1), run.predict(x), rtol=0.02)
    history = descend.History()
    for w in ([0.0, 0.0], run.weights):
        history.record(loss=1.0, weights=w)
    assert history.animate(x, run.predict(x), loss="poisson").picture == "curve"


def test_losses_of_ones_own_are_drawn_by_what_they_tell():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 1))
    gamma = descend.fit(x, random.gamma(2.0, np.exp(x[:, 0])), loss=Gamma()).animate()
    assert (gamma.model, gamma.link, gamma.picture) == ("regression", "log", "curve")
    hinge = descend.fit(x, (x[:, 0] > 0).astype(int), loss=SquaredHinge(), penalty=0.1).animate()
    assert (hinge.model, hinge.link, hinge.picture) == ("two-class", "identity", "none")
