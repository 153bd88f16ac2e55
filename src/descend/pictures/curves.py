"""Panels of what happens along a run: the losses, the coefficient paths, the path on the loss surface."""

from __future__ import annotations

from textwrap import fill

import numpy as np

from descend.engines.matrix import Float
from descend.pictures.panels import Panel, apart, end_label, name_axes, plain, rgb, short
from descend.pictures.styles import SIZES

CURVES = {"loss": "training", "validation_loss": "validation", "batch_loss": "batches"}
"""The curves of a film, and what they are called where there are several."""

MAX_PATHS = 8
CONTOURS = 14


class LossPanel(Panel):
    """The losses, on a log scale where they are above zero, and a point that moves along."""

    def draw(self) -> None:
        style = self.style
        colours = {"loss": style.data, "validation_loss": style.validation, "batch_loss": style.grid}
        known = {name: at[:, np.isfinite(at[1])] for name, at in self.film.curves.items()}
        shown = {name: known[name] for name in reversed(CURVES) if name in known and known[name].size}
        for name, (steps, values) in shown.items():
            width = "thin" if name == "batch_loss" else "line"
            line = self.line(steps, values, colours[name], width)
            if name == "batch_loss":
                line.set(linewidth=SIZES["axis"], color=style.axis, alpha=0.5, zorder=1)
        values = np.concatenate([v for _, v in shown.values()]) if shown else np.ones(1)
        self.log = bool((values > 0).all()) and float(values.max()) > 2 * float(values.min())
        if self.log:
            self.ax.set_yscale("log")
        last = max([float(self.film.steps[-1]), *(float(steps[-1]) for steps, _ in shown.values())])
        self.ax.set_xlim(0, last or 1)
        self._name(shown, colours)
        self.follow = [name for name in ("loss", "validation_loss") if name in shown]
        self.dots = {
            name: self.ax.plot(
                [],
                [],
                "o",
                color=style.model if name == "loss" else colours[name],
                markersize=7,
                clip_on=False,
                zorder=5,
            )[0]
            for name in self.follow
        }
        self.moving = list(self.dots.values())
        name_axes(self.ax, "step", "loss")
        self.known = known

    def _name(self, shown: dict[str, Float], colours: dict[str, str]) -> None:
        """Names at the ends of several curves, moved apart; that of the batches, faint behind them, has none."""
        ends = {name: curve[:, -1] for name, curve in shown.items() if name != "batch_loss"}
        if len(ends) < 2:
            return
        scale = np.log if self.log else np.asarray
        low, high = self.ax.get_ylim()
        room = float(scale(high) - scale(low))
        wanted = [float(scale(end[1]) - scale(low)) / room for end in ends.values()]
        for name, place in zip(ends, apart(wanted, 0.07, 0.0, 1.0), strict=True):
            self.ax.annotate(
                CURVES[name],
                (1.0, place),
                xycoords="axes fraction",
                xytext=(8, 0),
                textcoords="offset points",
                color=colours[name],
                va="center",
                fontsize=SIZES["tick"],
                annotation_clip=False,
            )

    def show(self, frame: int) -> None:
        step = self.film.steps[frame]
        for name, dot in self.dots.items():
            steps, values = self.known[name]
            at = int(np.searchsorted(steps, step, side="right")) - 1
            dot.set_data(*(([steps[at]], [values[at]]) if at >= 0 else ([], [])))


class PathsPanel(Panel):
    """The coefficients step by step, the few that move most, with their names at the ends."""

    def draw(self) -> None:
        film = self.film
        finite = np.where(np.isfinite(film.weights), film.weights, 0.0)
        moved = np.ptp(finite, axis=0) if len(finite) else np.zeros(len(film.names))
        chosen = np.sort(np.argsort(-moved, kind="stable")[:MAX_PATHS])
        self.ax.axhline(0.0, color=self.style.grid, linewidth=SIZES["thin"], zorder=0)
        lines = []
        for i, column in enumerate(chosen):
            colour = self.style.classes[i % len(self.style.classes)]
            dashed = "solid" if i < len(self.style.classes) else (0, (2, 2))
            lines.append(self.line(film.steps, film.weights[:, column], colour, linestyle=dashed))
        self.ax.set_xlim(0, float(film.steps[-1]) or 1)
        low, high = self.ax.get_ylim()
        ends = [finite[-1, column] for column in chosen]
        for line, column, place in zip(
            lines, chosen, apart(ends, (high - low) * 0.062, low, high), strict=True
        ):
            self.ax.annotate(
                plain(short(film.names[column], 22)),
                (float(film.steps[-1]) or 1.0, place),
                xytext=(8, 0),
                textcoords="offset points",
                color=line.get_color(),
                va="center",
                fontsize=SIZES["tick"],
                annotation_clip=False,
            )
        self.cursor = self.ax.axvline(float(film.steps[-1]), color=self.style.axis, linewidth=SIZES["axis"])
        self.moving = [self.cursor]
        rest = len(film.names) - len(chosen)
        name_axes(self.ax, "step", f"coefficient ({rest} more not shown)" if rest > 0 else "coefficient")

    def show(self, frame: int) -> None:
        self.cursor.set_xdata([self.film.steps[frame]] * 2)


class SurfacePanel(Panel):
    """Contours of the loss over two weights, evenly spaced in the root of its height, and the run's path."""

    def draw(self) -> None:
        surface = self.film.surface
        assert surface is not None
        x, y, loss = surface.grid()
        self.path = surface.path
        if np.isfinite(loss).any():
            self._contours(x, y, loss)
        self.ax.set_xlim(*surface.x_range)
        self.ax.set_ylim(*surface.y_range)
        self.line(self.path[:, 0], self.path[:, 1], self.style.start, "thin")
        self.trace = self.line(width="line" if len(self.path) < 40 else "thin", zorder=4)
        self.dot = self.ax.plot([], [], "o", color=self.style.model, markersize=7, zorder=5)[0]
        start = self.ax.plot(*self.path[:1].T, "o", color=self.style.start, markersize=5, zorder=4)[0]
        end_label(self.ax, start, "start", self.style.muted)
        self.moving = [self.trace, self.dot]
        name_axes(self.ax, *surface.names)
        if surface.note:
            words = fill(surface.note, 56)
            self.ax.set_title(plain(words), fontsize=SIZES["tick"], color=self.style.muted)

    def _contours(self, x: Float, y: Float, loss: Float) -> None:
        finite = loss[np.isfinite(loss)]
        low, high = float(finite.min()), float(finite.max())
        levels = low + (high - low) * np.linspace(0.0, 1.0, CONTOURS) ** 2
        if not high > low:
            return
        ramp = np.array([rgb(colour) for colour in self.style.surface])
        at = np.linspace(0, len(ramp) - 1, CONTOURS - 1)
        colours = np.column_stack([np.interp(at, range(len(ramp)), channel) for channel in ramp.T])
        self.ax.contourf(x, y, loss, levels, colors=colours, zorder=0)
        self.ax.contour(
            x, y, loss, levels[1:], colors=self.style.contour, linewidths=0.5, alpha=0.6, zorder=1
        )

    def show(self, frame: int) -> None:
        self.trace.set_data(*self.path[: frame + 1].T)
        self.dot.set_data(*self.path[frame : frame + 1].T)
