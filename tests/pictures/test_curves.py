"""Losses, paths of coefficients and the loss surface: what is drawn, and where the marks stand at each frame."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from films import FILMS, curves
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from descend.pictures.curves import CONTOURS, MAX_PATHS, LossPanel, PathsPanel, SurfacePanel
from descend.pictures.film import Film, Surface
from descend.pictures.styles import LIGHT

PLACES = st.sets(st.integers(0, 30), min_size=1, max_size=8).map(sorted).map(np.array)


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def drawn(panel, film):
    """A panel on axes of its own at its last frame, rendered."""
    made = panel(film, plt.subplots()[1], LIGHT)
    if film.frames:
        made.show(film.frames - 1)
    made.ax.figure.canvas.draw()
    return made


def losses(values, **more):
    """A film of nothing but losses."""
    number = np.arange(len(values))
    return Film("weights", number, np.ones((len(values), 1)), ("a",), curves(number, values, **more))


def paths(weights, names=None):
    weights = np.asarray(weights, dtype=float)
    names = names or tuple(f"w{i}" for i in range(weights.shape[1]))
    return Film("weights", np.arange(len(weights)), weights, names)


def surface(values, note="", frames=3):
    path = np.column_stack([np.linspace(-0.5, 0.5, frames), np.zeros(frames)])
    made = Surface(("cost $", "b"), (-1.0, 1.0), (-2.0, 2.0), path, values=np.asarray(values), note=note)
    return Film("weights", np.arange(frames), path, ("a", "b"), surface=made)


class TestLosses:
    def test_are_drawn_as_they_are_on_a_log_scale_with_their_names(self):
        film = FILMS["line"]
        ax = drawn(LossPanel, film).ax
        lines = {tuple(line.get_ydata()) for line in ax.lines}
        assert tuple(film.curves["loss"][1]) in lines
        assert tuple(film.curves["validation_loss"][1]) in lines
        assert ax.get_yscale() == "log"
        assert set(texts(ax)) == {"training", "validation"}

    @pytest.mark.parametrize(
        ("values", "scale"),
        [([1.0, 0.1, 0.0], "linear"), ([3.0, 2.0, -1.0], "linear"), ([2.0, 1.5, 1.0], "linear"),
         ([2.1, 1.5, 1.0], "log"), ([1.0], "linear"), ([np.nan], "linear")],
    )  # fmt: skip
    def test_have_a_log_scale_where_they_are_above_zero_and_more_than_halve(self, values, scale):
        ax = drawn(LossPanel, losses(values)).ax
        assert ax.get_yscale() == scale
        assert ax.get_xlim() == (0.0, max(len(values) - 1, 1))

    def test_that_are_missing_are_left_out(self):
        assert drawn(LossPanel, losses([4.0, np.nan, np.inf])).ax.lines[0].get_xydata().tolist() == [
            [0.0, 4.0]
        ]

    def test_of_batches_lie_faint_below_the_others_and_have_no_mark(self):
        panel = drawn(LossPanel, losses([3.0, 2.0, 1.0], batch_loss=[3.1, 1.8, 1.2]))
        faint, line = panel.ax.lines[:2]
        assert faint.get_ydata().tolist() == [3.1, 1.8, 1.2]
        assert faint.get_zorder() < line.get_zorder()
        assert faint.get_linewidth() < line.get_linewidth()
        assert list(panel.dots) == ["loss"]
        assert texts(panel.ax) == []

    def test_that_end_alike_have_names_that_do_not_touch(self):
        panel = drawn(LossPanel, losses([5.0, 1.0], validation_loss=[6.0, 1.0]))
        low, high = sorted((text.get_window_extent() for text in panel.ax.texts), key=lambda box: box.y0)
        assert low.y1 <= high.y0
        assert {to_hex(text.get_color()) for text in panel.ax.texts} == {LIGHT.data, LIGHT.validation}

    @settings(max_examples=25)
    @given(frames=PLACES, known=PLACES)
    def test_are_marked_where_they_were_last_known(self, frames, known):
        film = Film(
            "weights", frames, np.ones((len(frames), 1)), ("a",), {"loss": np.array([known, 1.0 + known])}
        )
        panel = LossPanel(film, plt.subplots()[1], LIGHT)
        for frame, step in enumerate(frames):
            panel.show(frame)
            last = max((int(at) for at in known if at <= step), default=None)
            marked = panel.dots["loss"].get_xydata().tolist()
            assert marked == ([] if last is None else [[last, 1.0 + last]])
        plt.close()


class TestPaths:
    def test_have_their_names_at_their_ends(self):
        film = FILMS["fit"]
        ax = drawn(PathsPanel, film).ax
        for name, path in zip(film.names, film.weights.T, strict=True):
            assert name in texts(ax)
            assert any(np.array_equal(line.get_ydata(), path) for line in ax.lines)

    def test_of_many_are_those_that_move_most(self):
        ax = drawn(PathsPanel, paths(np.linspace(0, 1, 5)[:, None] * np.arange(20.0))).ax
        assert set(texts(ax)) == {f"w{i}" for i in range(20 - MAX_PATHS, 20)}
        assert "12 more not shown" in ax.get_ylabel()

    def test_that_move_alike_are_the_first_in_order_and_all_told_apart(self):
        ax = drawn(PathsPanel, paths(np.linspace(0, 1, 5)[:, None] * np.ones(10))).ax
        assert texts(ax) == [f"w{i}" for i in range(MAX_PATHS)]
        boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
        assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))
        looks = {(line.get_color(), str(line.get_linestyle())) for line in ax.lines[1:-1]}
        assert len(looks) == MAX_PATHS

    def test_that_leave_for_infinity_are_drawn_as_far_as_they_are_numbers(self):
        weights = np.array([[0.0, 1.0], [2.0, 1.0], [np.inf, np.nan]])
        assert set(texts(drawn(PathsPanel, paths(weights)).ax)) == {"w0", "w1"}

    def test_have_a_cursor_at_the_step_of_the_frame(self):
        film = Film("weights", np.array([0, 5, 40]), np.eye(3), ("a", "b", "c"))
        panel = PathsPanel(film, plt.subplots()[1], LIGHT)
        for frame, step in enumerate(film.steps):
            panel.show(frame)
            assert panel.cursor.get_xdata() == [step, step]


class TestSurface:
    def test_of_a_bowl_has_contours_evenly_far_from_its_bottom(self):
        """The root of a bowl's height is the distance, so the levels are as far apart as rings of a target."""
        x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-2, 2, 41))
        filled, rings = drawn(SurfacePanel, surface(3.0 + x**2 + y**2)).ax.collections
        radii = np.sqrt(np.append(3.0, rings.levels) - 3.0)
        np.testing.assert_allclose(np.diff(radii), np.sqrt(5) / (CONTOURS - 1))
        assert len(filled.get_facecolor()) == CONTOURS - 1
        np.testing.assert_allclose(np.hypot(*rings.get_paths()[4].vertices.T), radii[5], atol=0.01)

    def test_shows_the_path_as_far_as_the_frame(self):
        film = FILMS["line"]
        panel = SurfacePanel(film, plt.subplots()[1], LIGHT)
        assert any(np.array_equal(line.get_xydata(), film.surface.path) for line in panel.ax.lines)
        assert panel.ax.get_xlim() == film.surface.x_range
        for frame in (0, 3, film.frames - 1):
            panel.show(frame)
            np.testing.assert_array_equal(panel.trace.get_xydata(), film.surface.path[: frame + 1])
            np.testing.assert_array_equal(panel.dot.get_xydata(), film.surface.path[[frame]])

    @pytest.mark.parametrize("height", [1.0, np.nan, np.inf])
    def test_without_heights_to_tell_apart_has_no_contours_but_the_path(self, height):
        ax = drawn(SurfacePanel, surface(np.full((5, 5), height))).ax
        assert not ax.collections
        assert len(ax.lines[0].get_xydata()) == 3

    def test_that_is_infinite_in_places_is_drawn_elsewhere(self):
        values = np.add.outer(np.arange(5.0), np.arange(5.0))
        values[0] = np.inf
        assert drawn(SurfacePanel, surface(values)).ax.collections[1].levels.max() == 8.0

    def test_tells_its_names_and_its_note_within_the_picture(self):
        ax = drawn(SurfacePanel, surface(np.eye(5), "a slice of $ " + "long words " * 12)).ax
        assert ax.get_xlabel() == r"cost \$"
        assert ax.get_title().startswith(r"a slice of \$ long words")
        assert max(map(len, ax.get_title().split("\n"))) <= 57
