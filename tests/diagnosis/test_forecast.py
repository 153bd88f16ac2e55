"""What a diagnosis draws: predictions beside the runs themselves, directions beside NumPy's eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import descend
from descend import DescendError, GradientDescent

RNG = np.random.default_rng(12)
X = RNG.normal(size=(400, 2)) * [1.0, 2.0] + [0.5, 0.0]
Y = X @ [1.0, -0.5] + 2.0 + RNG.normal(size=400)
CLASSES = (X @ [1.0, -1.0] + RNG.logistic(size=400) > 0).astype(int)
LINE = descend.make_line(100, seed=0)


@pytest.fixture(autouse=True)
def closed():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": GradientDescent(0.05), "steps": 80},
        {"optimizer": GradientDescent(0.05, momentum=0.9), "steps": 80},
        {"optimizer": GradientDescent(0.02, momentum=0.8, nesterov=True), "steps": 80},
        {"optimizer": "gradient-descent", "standardize": True, "steps": 30},
        {"optimizer": "gradient-descent", "start": (3.0, -4.0, 1.0), "steps": 3_000},
    ],
)
def test_of_squared_error_the_prediction_is_the_run(how):
    d = descend.diagnose(descend.fit(X, Y, **how))
    assert d.forecast.exact
    np.testing.assert_allclose(d.forecast.curves["predicted"], d.forecast.actual, rtol=1e-8)
    assert len(d.forecast.steps) <= 600
    actual, predicted = d.plot().lines[:2]
    np.testing.assert_allclose(actual.get_ydata(), predicted.get_ydata(), rtol=1e-8)


def test_a_run_that_left_was_predicted_to_leave():
    limit = descend.diagnose(*LINE, intercept=False).learning_rate_limit
    with pytest.warns(descend.DescendWarning):
        run = descend.fit(*LINE, intercept=False, optimizer=GradientDescent(1.05 * limit))
    d = descend.diagnose(run)
    np.testing.assert_allclose(d.forecast.curves["predicted"], run.history.loss, rtol=1e-8)
    assert d.forecast.actual[-1] > 10 * d.gap.constant
    low, high = d.plot().get_ylim()
    assert low < d.gap.best
    assert high > run.history.loss[-1]


def test_of_another_loss_the_prediction_holds_near_the_best_weights():
    near = descend.fit(X, CLASSES, loss="logistic").weights + 0.05
    run = descend.fit(X, CLASSES, loss="logistic", optimizer=GradientDescent(), start=near, steps=40)
    d = descend.diagnose(run)
    assert not d.forecast.exact
    excess = d.forecast.actual - d.gap.best
    np.testing.assert_allclose(d.forecast.curves["predicted"] - d.gap.best, excess, rtol=0.1, atol=1e-6)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"optimizer": "adam", "steps": 20},
        {"optimizer": GradientDescent(0.05), "batch_size": 50, "epochs": 2},
        {"optimizer": GradientDescent(descend.Cosine(0.05)), "steps": 20},
    ],
)
def test_any_other_run_has_the_curves_of_what_is_planned(how):
    d = descend.diagnose(descend.fit(X, Y, **how), steps=25)
    assert d.forecast.actual is None
    for plan in d.given.plans:
        optimizer = GradientDescent(plan.learning_rate, momentum=plan.momentum, nesterov=plan.momentum > 0)
        loss = descend.fit(X, Y, optimizer=optimizer, steps=25).history.loss
        np.testing.assert_allclose(d.forecast.curves[plan.name], loss, rtol=1e-8)
    assert [text.get_text() for text in d.plot().get_legend().get_texts()] == [
        *(plan.name for plan in d.given.plans),
        "the best loss",
    ]


def test_directions_of_the_lesson_are_the_eigenvectors():
    x, y = LINE
    values, V = np.linalg.eigh(2 * x.T @ x / len(x))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    surface = descend.diagnose(x, y, intercept=False).scene.film().surface
    np.testing.assert_allclose(surface.centre, best)
    found = surface.axes()
    assert [curvature for curvature, _ in found] == pytest.approx(values[::-1])
    for (_, half), direction in zip(found, V.T[::-1], strict=True):
        assert abs(half @ direction) == pytest.approx(np.linalg.norm(half))
    levels = [curvature * half @ half for curvature, half in found]
    assert levels[0] == pytest.approx(levels[1])  # the ends lie on one contour


def test_directions_of_a_classification_are_those_at_the_best_weights():
    d = descend.diagnose(X, CLASSES, loss="logistic", penalty=0.01)
    film = d.scene.film()
    model = LogisticRegression(C=1 / (0.01 * 400), tol=1e-12).fit(X, CLASSES)
    best = np.append(model.coef_[0], model.intercept_)
    pair = [film.names.index(name) for name in film.surface.names]
    np.testing.assert_allclose(film.surface.centre, best[pair], atol=1e-5)
    p = model.predict_proba(X)[:, 1]
    ones = np.column_stack([X, np.ones(400)])
    H = (ones * (p * (1 - p))[:, None]).T @ ones / 400 + np.diag([0.01, 0.01, 0.0])
    np.testing.assert_allclose(film.surface.hessian, H[np.ix_(pair, pair)], rtol=1e-4)
    x, y, values = film.surface.grid()
    j, i = np.unravel_index(values.argmin(), values.shape)
    assert abs(x[i] - film.surface.centre[0]) <= x[1] - x[0]
    assert abs(y[j] - film.surface.centre[1]) <= y[1] - y[0]


@pytest.mark.parametrize("style", ["light", "dark"])
def test_lines_and_words_keep_within_the_picture(style):
    x = RNG.normal(size=(200, 4)) @ RNG.normal(size=(4, 4)) * [1.0, 100.0, 1.0, 0.01]
    cases = [(LINE, {"intercept": False}), ((x, x.sum(axis=1) + RNG.normal(size=200)), {})]
    for data, how in cases:
        with descend.style(style):
            ax = descend.diagnose(*data, **how).surface()
            ax.figure.canvas.draw()
            frame = ax.get_window_extent()
            words = [text for text in ax.texts if "curvature" in text.get_text()]
            assert len(words) == 2
            for text in words:
                box = text.get_window_extent()
                assert frame.x0 - 2 <= box.x0 <= box.x1 <= frame.x1 + 2
                assert frame.y0 - 2 <= box.y0 <= box.y1 <= frame.y1 + 2


def test_equal_curvatures_are_drawn_along_the_axes():
    x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    surface = descend.diagnose(x, x @ [2.0, 1.0] + [0, 1, 0, 1], intercept=False).scene.film().surface
    for _, half in surface.axes():
        assert np.abs(half).min() == 0


def test_a_flat_direction_is_drawn_to_the_edge():
    x = RNG.normal(size=(50, 1)) * [1.0, 1.0]
    surface = descend.diagnose(x, x[:, 0], intercept=False).scene.film().surface
    (steep, _), (flat, half) = surface.axes()
    assert steep > 0
    assert flat == pytest.approx(0.0, abs=1e-12)
    assert np.abs(half[0]) == pytest.approx(np.abs(half[1]))


def test_one_weight_has_no_surface():
    with pytest.raises(DescendError, match="two weights"):
        descend.diagnose(X[:, :1], Y, intercept=False).surface()


def test_a_table_is_drawn_too():
    table = {"a": X[:, 0], "b": X[:, 1] * 1e3, "kind": np.where(X[:, 0] > 1, "u", "v"), "y": Y}
    run = descend.fit(table, target="y", optimizer="gradient-descent", steps=40)
    d = descend.diagnose(run)
    np.testing.assert_allclose(d.forecast.curves["predicted"], run.history.loss, rtol=1e-8)
    assert len(d.surface().texts) >= 2
    table["y"] = np.where(CLASSES > 0, "yes", "no")
    d = descend.diagnose(descend.fit(table, target="y", optimizer="gradient-descent", steps=40))
    assert d.forecast.actual is not None
    assert len(d.surface().texts) >= 2
