"""Pictures: what their artists hold is what the run found."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from films import FILMS
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import descend
from descend.errors import DescendError, ShapeError
from descend.pictures import plots
from descend.pictures.film import Film
from descend.pictures.panels import PICTURES, apart, boundary, short
from descend.pictures.styles import DARK, LIGHT, STYLES


def points(ax):
    return np.asarray(ax.collections[0].get_offsets())


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


class TestPlot:
    def test_draws_the_data_and_the_line(self):
        x, y = descend.make_line(100, weights=(3, 2), seed=0)
        ax = descend.plot(x, y, weights=(0.5, 0.75))
        np.testing.assert_array_equal(points(ax), np.column_stack([x[:, 0], y]))
        u, v = ax.lines[0].get_data()
        np.testing.assert_allclose(v, 0.5 * np.asarray(u) + 0.75)
        assert u[0] < x[:, 0].min()
        assert u[1] > x[:, 0].max()

    @pytest.mark.parametrize("shape", ["flat", "column"])
    def test_one_weight_more_than_columns_is_the_intercept(self, shape):
        x, y = np.arange(5.0), np.arange(5.0)
        ax = descend.plot(x if shape == "flat" else x[:, None], y, weights=[2.0, -1.0])
        u, v = ax.lines[0].get_data()
        np.testing.assert_allclose(v, 2 * np.asarray(u) - 1)

    def test_needs_no_weights(self):
        ax = descend.plot([1.0, 2.0], [3.0, 4.0])
        assert points(ax).tolist() == [[1, 3], [2, 4]]
        assert not ax.lines

    def test_several_features_are_drawn_against_their_prediction(self):
        rng = np.random.default_rng(0)
        x, w = rng.normal(size=(30, 3)), np.array([1.0, 2.0, 3.0])
        ax = descend.plot(x, x @ w + 1.0, weights=[1.0, 2.0, 3.0, 0.5])
        np.testing.assert_allclose(points(ax)[:, 0], x @ w + 0.5)
        np.testing.assert_allclose(points(ax)[:, 1], x @ w + 1.0)
        with pytest.raises(DescendError, match="`weights` is needed to draw 3 features"):
            descend.plot(x, x @ w)

    def test_takes_torch(self):
        torch = pytest.importorskip("torch")
        x, y = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0])
        ax = descend.plot(x, y, weights=torch.nn.Parameter(torch.tensor([1.0, 2.0])))
        assert points(ax).tolist() == [[1, 3], [2, 4]]

    def test_shapes_that_do_not_fit_are_told(self):
        with pytest.raises(ShapeError, match=r"`weights` has shape \(3,\) and `x` has 1 columns"):
            descend.plot([1.0, 2.0], [1.0, 2.0], weights=(1, 2, 3))

    def test_draws_on_the_axes_given_and_returns_them(self):
        _, ax = plt.subplots()
        assert descend.plot([1.0, 2.0], [3.0, 4.0], ax=ax) is ax
        assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("look", STYLES)
@pytest.mark.parametrize("picture", PICTURES)
class TestEveryPicture:
    def test_is_that_of_its_film_and_draws(self, picture, look):
        film = FILMS[picture]
        assert film.picture == picture
        with descend.style(look):
            ax = plots.plot_model(film)
            ax.figure.canvas.draw()
        assert to_hex(ax.figure.get_facecolor()) == STYLES[look].background
        assert ax.get_xlabel() or len(ax.figure.axes) > 1

    def test_every_frame_can_be_shown(self, picture, look):
        _, ax = plt.subplots()
        panel = PICTURES[picture](FILMS[picture], ax, STYLES[look])
        assert panel.moving
        for frame in range(FILMS[picture].frames):
            panel.show(frame)


class TestPictures:
    def test_the_line_is_that_of_the_last_frame_beside_the_start(self):
        film = FILMS["line"]
        ax = plots.plot_model(film)
        start, last = (np.polyfit(*line.get_data(), 1) for line in ax.lines)
        np.testing.assert_allclose(start, film.weights[0])
        np.testing.assert_allclose(last, film.weights[-1])
        np.testing.assert_array_equal(points(ax)[:, 1], film.sample.y)
        assert texts(ax) == ["start"]

    def test_a_line_that_has_left_does_not_squeeze_the_points(self):
        film = FILMS["line"]
        predictors = film.sample.predictors.copy()
        predictors[-1] = 1.0, 1e12
        wild = dataclasses.replace(film, sample=dataclasses.replace(film.sample, predictors=predictors))
        ax = plots.plot_model(wild)
        low, high = ax.get_ylim()
        assert high - low < 5 * np.ptp(film.sample.y)
        assert set(texts(ax)) == {"start", "the line has left"}

    def test_classes_beyond_the_colours_are_counted(self):
        film = dataclasses.replace(FILMS["regions"], classes=tuple("abcdefgh"))
        assert texts(plots.plot_model(film))[::-1] == [*"abcdef", "and 2 more"]

    def test_actual_against_predicted_with_residuals_below(self):
        film = FILMS["fit"]
        ax = plots.plot_model(film)
        predicted = film.sample.x @ film.weights[-1][:-1] + film.weights[-1][-1]
        np.testing.assert_allclose(points(ax), np.column_stack([predicted, film.sample.y]))
        below = next(other for other in ax.figure.axes if other is not ax)
        np.testing.assert_allclose(points(below), np.column_stack([predicted, film.sample.y - predicted]))
        assert below.get_xlim() == ax.get_xlim()

    def test_the_sigmoid_is_the_models_probability(self):
        film = FILMS["sigmoid"]
        x, p = plots.plot_model(film).lines[-1].get_data()
        slope, intercept = film.weights[-1]
        np.testing.assert_allclose(p, 1 / (1 + np.exp(-(slope * x + intercept))))

    def test_points_of_a_class_lie_at_its_number(self):
        film = FILMS["sigmoid"]
        np.testing.assert_array_equal(points(plots.plot_model(film))[:, 1].round(), film.sample.y)

    def test_both_classes_are_equally_likely_on_the_boundary(self):
        film = FILMS["boundary"]
        u, v = plots.plot_model(film).lines[-1].get_data()
        a, b, c = film.weights[-1]
        np.testing.assert_allclose(a * np.asarray(u) + b * np.asarray(v) + c, 0, atol=1e-12)

    def test_regions_are_coloured_by_the_likeliest_class(self):
        film = FILMS["regions"]
        ax = plots.plot_model(film)
        image = ax.images[0]
        left, right, low, high = image.get_extent()
        z = film.sample.linear_predictor(film.frames - 1)
        at = ((film.sample.x - [left, low]) / [right - left, high - low] * 120).round().astype(int)
        seen = np.array([to_hex(image.get_array()[j, i, :3]) for i, j in at])
        meant = np.array([LIGHT.classes[k] for k in z.argmax(axis=1)])
        assert (seen == meant).mean() > 0.97
        assert texts(ax)[::-1] == list(film.classes)

    def test_the_histogram_counts_every_row_of_each_class(self):
        film = FILMS["histogram"]
        bars = plots.plot_model(film).containers
        z = film.sample.linear_predictor(film.frames - 1)
        for k, heights in enumerate([b.get_height() for b in bar] for bar in bars):
            assert sum(heights) == (film.sample.y == k).sum()
            assert sum(heights[13:]) == (z[film.sample.y == k] > np.log(0.52 / 0.48)).sum()

    def test_several_classes_show_the_probability_of_the_true_one(self):
        film = FILMS["classes"]
        z = film.sample.linear_predictor(film.frames - 1)
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        shown = points(plots.plot_model(film))
        np.testing.assert_allclose(shown[:, 0], p[np.arange(len(p)), film.sample.y.astype(int)])
        np.testing.assert_array_equal(shown[:, 1].round(), film.sample.y)

    def test_without_rows_the_model_cannot_be_drawn(self):
        film = Film("weights", np.arange(2), np.ones((2, 1)), ("a",))
        with pytest.raises(DescendError, match="there is nothing to draw the model on: no row"):
            plots.plot_model(film)


class TestAlong:
    def test_ticks_of_a_log_scale_are_plain_numbers(self):
        ax = plots.plot_loss(FILMS["line"])
        ax.figure.canvas.draw()
        labels = [label.get_text() for label in ax.get_yticklabels() if label.get_text()]
        assert {"0.1", "1"} <= set(labels)

    def test_what_cannot_be_drawn_is_told(self):
        bare = Film("weights", np.zeros(0), np.zeros((0, 0)), ())
        with pytest.raises(DescendError, match="no weights to draw"):
            plots.plot_coefficients(bare)
        with pytest.raises(DescendError, match="no loss surface to draw"):
            plots.plot_surface(bare)


class TestTables:
    def test_a_confusion_matrix_shows_every_count(self):
        ax = plots.plot_confusion([[50, 3], [4, 1_200]], ["no", "yes"])
        assert texts(ax) == ["50", "3", "4", "1,200"]
        assert [label.get_text() for label in ax.get_yticklabels()] == ["no", "yes"]

    def test_the_largest_loss_is_on_top(self):
        ax = plots.plot_top_losses(["row 3", "row 1"], [5.0, 2.0])
        assert [bar.get_width() for bar in ax.patches] == [5.0, 2.0]
        assert ax.yaxis_inverted()


class TestStyle:
    def test_settings_are_put_back(self):
        before = dict(matplotlib.rcParams)
        with descend.style("dark"):
            assert matplotlib.rcParams["axes.facecolor"] == DARK.background
        assert dict(matplotlib.rcParams) == before

    def test_a_plot_leaves_the_settings_alone(self):
        before = dict(matplotlib.rcParams)
        descend.plot([1.0, 2.0], [3.0, 4.0])
        assert dict(matplotlib.rcParams) == before

    @pytest.mark.parametrize(
        "call", ["descend.plot([1.0, 2.0], [3.0, 4.0])", "descend.style('dark').__enter__()"]
    )
    def test_a_notebook_shows_pictures_from_the_first_one_on(self, tmp_path, call):
        # as in a notebook, whose backend turns interactive drawing on when it is first loaded
        backend = tmp_path / "eager_backend.py"
        backend.write_text(
            "from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas, FigureManagerBase as FigureManager\n"
            "import matplotlib\nmatplotlib.interactive(True)\n"
        )
        code = f"import descend, matplotlib; kept = {call}; del kept; print(matplotlib.is_interactive())"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "MPLBACKEND": "module://eager_backend", "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "True"

    def test_axes_that_are_dark_get_colours_that_show_there(self):
        _, ax = plt.subplots(facecolor="black")
        ax.set_facecolor("black")
        descend.plot([1.0, 2.0], [3.0, 4.0], weights=(1, 2), ax=ax)
        assert to_hex(ax.lines[0].get_color()) == DARK.model

    def test_another_name_is_refused(self):
        with pytest.raises(DescendError, match="`style` must be"), descend.style("sepia"):
            pass


def test_names_with_dollar_signs_are_no_mathematics():
    film = dataclasses.replace(FILMS["line"], target="cost $ of $x_1$")
    ax = plots.plot_model(film)
    ax.figure.canvas.draw()
    assert ax.get_ylabel() == r"cost \$ of \$x_1\$"


@pytest.mark.parametrize(
    ("places", "least"), [([0.0, 0.0, 0.0], 0.1), ([1.0, 0.0, 0.5], 0.4), ([0.2] * 9, 0.1)]
)
def test_labels_are_moved_apart_in_their_order(places, least):
    moved = apart(places, least, 0.0, 1.0)
    assert (np.diff(np.sort(moved)) >= least - 1e-9).all()
    order = np.argsort(places, kind="stable")
    assert (np.diff(np.array(moved)[order]) > 0).all()
    assert min(moved) >= 0


def test_long_names_are_cut_in_the_middle():
    assert short("abc", 5) == "abc"
    assert len(short("a" * 50, 20)) <= 20


def test_a_steep_boundary_spans_the_picture():
    u, v = boundary(np.array([1.0, 0.0, -0.5]), np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert u.tolist() == [0.5, 0.5]
    assert v.tolist() == [0.0, 1.0]


PENGUINS = Path(__file__).parents[2] / "examples" / "penguins.csv"


@pytest.fixture(scope="module")
def lesson():
    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    return descend.fit(
        x, y, intercept=False, start=(0.5, 0.75), optimizer=descend.GradientDescent(0.1), steps=100
    )


@pytest.fixture(scope="module")
def penguins():
    return descend.fit(PENGUINS, target="species", valid=0.2)


class TestRun:
    def test_the_lessons_three_layers(self, lesson):
        ax = lesson.plot()
        assert len(points(ax)) == 100
        start, fit = (np.polyfit(*line.get_data(), 1) for line in ax.lines)
        np.testing.assert_allclose(start, [0.5, 0.75])
        np.testing.assert_allclose(fit, lesson.weights)

    def test_the_losses_are_those_of_the_history(self, lesson):
        np.testing.assert_array_equal(lesson.plot_loss().lines[0].get_ydata(), lesson.history.loss)

    def test_the_coefficients_end_at_the_weights(self, lesson):
        paths = [line for line in lesson.plot_coefficients().lines if len(line.get_ydata()) == 101]
        assert sorted(path.get_ydata()[-1] for path in paths) == sorted(lesson.weights)

    def test_the_surface_ends_at_the_weights(self, lesson):
        ends = [line.get_xydata()[-1].tolist() for line in lesson.surface().lines if len(line.get_xydata())]
        assert lesson.weights.tolist() in ends

    def test_the_largest_losses_of_arrays_are_those_of_all_rows(self, lesson):
        x, y = descend.make_line(100, weights=(3, 2), seed=0)
        errors = np.sort((x @ lesson.weights - y) ** 2)[::-1]
        ax = lesson.plot_top_losses(5)
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], errors[:5])
        first = ax.get_yticklabels()[0].get_text()
        assert first.startswith(f"row {((x @ lesson.weights - y) ** 2).argmax()}: ")
        assert ax.get_title(loc="left") == "among all 100 training rows"

    def test_the_confusion_matrix_is_that_of_the_validation_rows(self, penguins):
        shown = [float(text) for text in texts(penguins.plot_confusion())]
        assert shown == np.ravel(penguins.metrics["validation"].confusion).tolist()

    def test_a_regression_has_no_confusion_matrix(self, lesson):
        with pytest.raises(DescendError, match="`plot_confusion` needs a classification"):
            lesson.plot_confusion()

    def test_classes_stand_in_the_names_of_their_coefficients(self, penguins):
        assert "bill_depth_mm (Adelie)" in texts(penguins.plot_coefficients())

    @pytest.mark.parametrize(
        "how",
        [
            {"target": "body_mass_g"},
            {"target": "species"},
            {"target": "sex"},
            {"target": "sex", "columns": descend.Columns(features=["bill_length_mm"])},
            {"target": "sex", "columns": descend.Columns(features=["bill_length_mm", "bill_depth_mm"])},
            {"target": "body_mass_g", "columns": descend.Columns(features=["flipper_length_mm"])},
        ],
        ids=["numbers", "classes", "histogram", "sigmoid", "boundary", "line"],
    )
    def test_every_kind_of_table_is_drawn(self, how):
        run = descend.fit(PENGUINS, valid=0.2, **how)
        for draw in (run.plot, run.plot_loss, run.plot_coefficients, run.surface, run.plot_top_losses):
            _, ax = plt.subplots()
            assert draw(ax=ax) is ax
            ax.figure.canvas.draw()

    def test_one_feature_is_drawn_in_the_units_of_the_data(self):
        columns = descend.Columns(features=["flipper_length_mm"])
        run = descend.fit(PENGUINS, target="body_mass_g", columns=columns)
        ax = run.plot()
        slope, intercept = np.polyfit(*ax.lines[-1].get_data(), 1)
        np.testing.assert_allclose(slope, run.coefficients["flipper_length_mm"])
        np.testing.assert_allclose(intercept, run.coefficients["(intercept)"])
        assert 170 < points(ax)[:, 0].min() < 240


class TestHistory:
    def test_anyones_loop_is_drawn(self):
        x, y = descend.make_line(50, seed=0)
        history, a = descend.History(names=("slope", "height")), np.zeros(2)
        for _ in range(30):
            history.record(loss=descend.mse(x @ a, y), weights=a)
            a = a - 0.2 * x.T @ (x @ a - y) / len(y)
        fit = np.polyfit(*history.plot(x, y).lines[-1].get_data(), 1)
        np.testing.assert_allclose(fit, history.weights[-1], atol=1e-12)
        assert history.surface(x, y).get_xlabel() == "slope"
        assert texts(history.plot_coefficients()) == ["slope", "height"]

    def test_losses_alone_are_enough_for_their_curve(self):
        history = descend.History()
        for loss in (3.0, 2.0, 1.0):
            history.record(loss=loss)
        assert history.plot_loss().lines[0].get_ydata().tolist() == [3.0, 2.0, 1.0]
        with pytest.raises(DescendError, match="no weights to draw"):
            history.plot_coefficients()

    def test_an_empty_history_says_what_to_record(self):
        with pytest.raises(DescendError, match="there are no losses to draw"):
            descend.History().plot_loss()
