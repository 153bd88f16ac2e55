"""The panels of a film for matplotlib: the model's own picture, losses, surface, coefficient paths.

A panel draws on an Axes what stays, once, and moves the rest to a frame by `show`. Plots show the last
frame, animations all of them: a still and a film of one run are the same picture. Nothing here
imports matplotlib; whoever makes the Axes has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from descend.engines.matrix import Array, Float
from descend.pictures.film import Film, FilmSample
from descend.pictures.styles import SIZES, Style

Axes: TypeAlias = Any
"""A `matplotlib.axes.Axes`."""

CELLS = 121
"""Cells along each side of a picture of regions."""


class Panel(ABC):
    """What all panels share: where they draw, and which artists move."""

    def __init__(self, film: Film, ax: Axes, style: Style) -> None:
        self.film, self.ax, self.style = film, ax, style
        self.moving: list[Any] = []
        """The artists that `show` changes, in the order they are drawn."""
        self.draw()

    @property
    def sample(self) -> FilmSample:
        assert self.film.sample is not None
        return self.film.sample

    @abstractmethod
    def draw(self) -> None:
        """Draw what stays, and make what moves."""

    @abstractmethod
    def show(self, frame: int) -> None:
        """Move to a frame."""

    def points(self, x: Any, y: Any, colour: Any, size: float = SIZES["point"]) -> Any:
        """Round points that let others shine through."""
        return self.ax.scatter(x, y, s=size**2, c=colour, alpha=0.6, linewidths=0)

    def line(
        self, x: Any = (), y: Any = (), colour: str | None = None, width: str = "line", **how: Any
    ) -> Any:
        """A line; of the model unless a colour is given."""
        how = {"solid_capstyle": "round", **how}
        return self.ax.plot(x, y, color=colour or self.style.model, linewidth=SIZES[width], **how)[0]


class LinePanel(Panel):
    """One feature: points, the start's line kept faint, and the line of the frame, a curve where the link bends it."""

    def draw(self) -> None:
        x = self.sample.x[:, 0]
        self.points(x, self.sample.y, self.style.data)
        self.what = self.film.picture
        self.x = np.linspace(*padded(x, 0.04), 2 if self.what == "line" else 200)
        self.ax.set_xlim(self.x[0], self.x[-1])
        low, high = padded(self.sample.y, 0.05)
        ends = np.concatenate([self._line(frame) for frame in (0, self.film.frames - 1)])
        near = ends[np.abs(ends - (low + high) / 2) < 1.5 * (high - low)]  # it may have diverged
        self.ax.set_ylim(*padded(np.concatenate([self.sample.y, near]), 0.05))
        self.start = self.line(self.x, self._line(0), self.style.start, "thin", linestyle=(0, (4, 3)))
        self.fit = self.line()
        how = {"color": self.style.model, "fontsize": SIZES["tick"], "fontweight": "bold", "ha": "center"}
        self.left = self.ax.text(0.5, 0.5, "", transform=self.ax.transAxes, va="center", **how)
        self.moving = [self.fit, self.left]
        end_label(self.ax, self.start, "start", self.style.start)
        name_axes(self.ax, self.sample.names[0], self.film.target)

    def _line(self, frame: int) -> Float:
        w = self.sample.predictors[frame]
        return np.asarray(self.film.mean.inverse(w[0] * self.x + w[1]))

    def show(self, frame: int) -> None:
        line = self._line(frame)
        self.fit.set_data(self.x, line)
        low, high = self.ax.get_ylim()
        above = bool(line.min() > high)
        self.left.set_text(f"the {self.what} has left" if above or line.max() < low else "")
        self.left.set_y(0.96 if above else 0.04)


class FitPanel(Panel):
    """Several features: actual against predicted, and, on axes of their own, the residuals."""

    residuals: Axes | None = None

    def draw(self) -> None:
        y = self.sample.y
        last = self.film.predicted(self.film.frames - 1)
        low, high = padded(np.concatenate([y, last]), 0.04)
        self.ax.set_xlim(low, high)
        self.ax.set_ylim(low, high)
        self.line([low, high], [low, high], self.style.start, "thin")
        self.dots = self.points(last, y, self.style.data)
        self.moving = [self.dots]
        name_axes(self.ax, f"predicted {self.film.target}", f"actual {self.film.target}")

    def with_residuals(self, ax: Axes) -> None:
        """Draw the residuals, actual less predicted, on axes below that share x."""
        self.residuals = ax
        ax.axhline(0.0, color=self.style.start, linewidth=SIZES["thin"])
        predicted = self.film.predicted(self.film.frames - 1)
        self.errors = ax.scatter(
            predicted,
            self.sample.y - predicted,
            s=SIZES["point"] ** 2,
            c=self.style.data,
            alpha=0.6,
            linewidths=0,
        )
        spread = float(np.abs(self.sample.y - predicted).max()) * 1.1 or 1.0
        ax.set_ylim(-spread, spread)
        ax.set_xlabel(self.ax.get_xlabel())
        ax.set_ylabel("residual")
        self.ax.set_xlabel("")
        self.ax.tick_params(labelbottom=False)

    def show(self, frame: int) -> None:
        predicted = self.film.predicted(frame)
        self.dots.set_offsets(np.column_stack([predicted, self.sample.y]))
        if self.residuals is not None:
            self.errors.set_offsets(np.column_stack([predicted, self.sample.y - predicted]))


class SigmoidPanel(Panel):
    """Two classes, one feature: points jittered about 0 and 1, and the probability of the second class."""

    def draw(self) -> None:
        x, y = self.sample.x[:, 0], self.sample.y
        jitter = np.random.default_rng(0).uniform(-0.035, 0.035, len(y))
        self.points(x, y + jitter, class_colours(self.style, y))
        self.x = np.linspace(*padded(x, 0.04), 200)
        self.ax.set_xlim(self.x[0], self.x[-1])
        self.ax.set_ylim(-0.09, 1.09)
        self.ax.axhline(0.5, color=self.style.grid, linewidth=SIZES["thin"], zorder=0)
        self.start = self.line(self.x, self._curve(0), self.style.start, "thin", linestyle=(0, (4, 3)))
        self.fit = self.line()
        self.moving = [self.fit]
        name_axes(self.ax, self.sample.names[0], f"probability of {label_of(self.film, 1)}")
        class_labels(self.ax, self.film, self.style)

    def _curve(self, frame: int) -> Float:
        w = self.sample.predictors[frame]
        return self.film.mean.inverse(w[0] * self.x + w[1])

    def show(self, frame: int) -> None:
        self.fit.set_data(self.x, self._curve(frame))


class RegionsPanel(Panel):
    """Two features: points by class over the probabilities, shaded by the class that is likeliest.

    With two classes the boundary, where both are equally likely, is a line.
    """

    def draw(self) -> None:
        x, two = self.sample.x, self.film.model == "two-class"
        x0, x1 = padded(x[:, 0], 0.05), padded(x[:, 1], 0.05)
        self.at = [np.linspace(*x0, CELLS), np.linspace(*x1, CELLS)]
        self.image = self.ax.imshow(
            np.zeros((CELLS, CELLS, 4)),
            extent=(*x0, *x1),
            origin="lower",
            aspect="auto",
            zorder=0,
            interpolation="bilinear",
        )
        self.points(x[:, 0], x[:, 1], class_colours(self.style, self.sample.y)).set_alpha(0.85)
        self.moving = [self.image, *self.ax.collections]
        if two:
            self.boundary = self.line(zorder=3)
            self.moving.append(self.boundary)
        self.moving += [self.ax.spines["left"], self.ax.spines["bottom"]]  # the picture would cover them
        self.ax.set_xlim(*x0)
        self.ax.set_ylim(*x1)
        name_axes(self.ax, self.sample.names[0], self.sample.names[1])
        class_labels(self.ax, self.film, self.style)

    def show(self, frame: int) -> None:
        w = self.sample.predictors[frame]
        u, v = np.meshgrid(*self.at)
        z = u[..., None] * w[0] + v[..., None] * w[1] + w[2]
        link = self.film.mean
        if w.ndim == 1:
            p = link.inverse(z) if link.probabilities else (z > 0).astype(np.float64)
            p = np.concatenate([1.0 - p, p], axis=-1)
            self.boundary.set_data(*boundary(w, *(a[[0, -1]] for a in self.at)))
        elif link.probabilities:
            p = link.inverse(z.reshape(-1, z.shape[-1])).reshape(z.shape)
        else:
            p = np.eye(z.shape[-1])[z.argmax(axis=-1)]
        colours = np.array([rgb(class_colour(self.style, k)) for k in range(p.shape[-1])])
        likeliest = p.argmax(axis=-1)
        chance, floor = p.max(axis=-1), 1.0 / p.shape[-1]
        opacity = 0.06 + 0.3 * (chance - floor) / (1.0 - floor)
        self.image.set_data(np.dstack([colours[likeliest], opacity]))


class HistogramPanel(Panel):
    """Two classes, many features: how likely the second class is said to be, by the class that is true."""

    bins = np.linspace(0.0, 1.0, 26)

    _top = 0

    def draw(self) -> None:
        y = self.sample.y.astype(int)
        self.groups = [y == k for k in (0, 1)]
        self.bars = []
        for k, mine in enumerate(self.groups):
            colour = class_colour(self.style, k)
            heights, left = np.zeros(len(self.bins) - 1), self.bins[:-1]
            self.bars.append(
                self.ax.bar(
                    left, heights, np.diff(self.bins), align="edge", color=colour, alpha=0.65, linewidth=0
                )
            )
            self._top = max(self._top, self._counts(self.film.frames - 1, mine).max())
        self.ax.axvline(0.5, color=self.style.start, linewidth=SIZES["thin"], linestyle=(0, (4, 3)), zorder=0)
        self.ax.set_xlim(0.0, 1.0)
        self.ax.set_ylim(0.0, self._top * 1.12)
        self.moving = [bar for bars in self.bars for bar in bars]
        name_axes(self.ax, f"probability of {label_of(self.film, 1)}", "rows")
        class_labels(self.ax, self.film, self.style)

    def _counts(self, frame: int, mine: Array) -> Array:
        p = self.film.predicted(frame)[mine]
        return np.histogram(p, self.bins)[0]

    def show(self, frame: int) -> None:
        for bars, mine in zip(self.bars, self.groups, strict=True):
            for bar, count in zip(bars, self._counts(frame, mine), strict=True):
                bar.set_height(count)


class ClassesPanel(Panel):
    """Several classes: for the rows of each true class, how likely that class is said to be; a tick is the mean."""

    def draw(self) -> None:
        self.y = self.sample.y.astype(int)
        rng = np.random.default_rng(0)
        self.place = self.y + rng.uniform(-0.3, 0.3, len(self.y))
        self.dots = self.points(np.zeros(len(self.y)), self.place, class_colours(self.style, self.sample.y))
        self.classes = np.unique(self.y)
        self.means = [self.line(width="line", colour=self.style.text) for _ in self.classes]
        self.moving = [self.dots, *self.means]
        self.ax.set_xlim(-0.02, 1.02)
        self.ax.set_ylim(len(self.film.classes) - 0.5, -0.5)
        self.ax.set_yticks(range(len(self.film.classes)), [short(c, 14) for c in self.film.classes])
        self.ax.tick_params(axis="y", length=0)
        name_axes(self.ax, "probability given to the true class", "")

    def show(self, frame: int) -> None:
        p = self.film.predicted(frame)[np.arange(len(self.y)), self.y]
        self.dots.set_offsets(np.column_stack([p, self.place]))
        for k, mean in zip(self.classes, self.means, strict=True):
            here = float(p[self.y == k].mean())
            mean.set_data([here, here], [k - 0.38, k + 0.38])


PICTURES: dict[str, type[Panel]] = {
    "line": LinePanel,
    "curve": LinePanel,
    "fit": FitPanel,
    "sigmoid": SigmoidPanel,
    "boundary": RegionsPanel,
    "regions": RegionsPanel,
    "histogram": HistogramPanel,
    "classes": ClassesPanel,
}
"""The panel of each of `film.PICTURES`; there is none for "none"."""


def padded(values: Float, share: float) -> tuple[float, float]:
    """The range of finite values, widened by a share on both sides.

    >>> padded(np.array([0.0, 10.0, np.inf]), 0.1)
    (-1.0, 11.0)
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    pad = (high - low) * share or max(abs(high) * share, share)
    return low - pad, high + pad


def boundary(w: Float, x: Float, y: Float) -> tuple[Float, Float]:
    """Two ends of the line `w[0] x + w[1] y + w[2] = 0` in or beyond a rectangle.

    >>> boundary(np.array([1.0, -1.0, 0.0]), np.array([0.0, 2.0]), np.array([0.0, 2.0]))
    (array([0., 2.]), array([0., 2.]))
    """
    if abs(w[1]) * np.ptp(y) >= abs(w[0]) * np.ptp(x):
        return (x, -(w[0] * x + w[2]) / w[1]) if w[1] else (np.full(2, np.nan), np.full(2, np.nan))
    return -(w[1] * y + w[2]) / w[0], y


def name_axes(ax: Axes, x: str, y: str) -> None:
    """Labels of the axes, long names cut."""
    ax.set_xlabel(plain(short(x, 48)))
    ax.set_ylabel(plain(short(y, 40)))


def plain(text: str) -> str:
    """A name from the data, its dollar signs escaped so that it is not taken for mathematics."""
    return text.replace("$", r"\$")


def short(text: str, length: int) -> str:
    """A name cut in the middle of what is too long.

    >>> short("a very long name of a column", 15)
    'a very …column'
    """
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}…{text[-(length // 2 - 1) :]}"


def label_of(film: Film, k: int) -> str:
    """The name of a class."""
    return film.classes[k] if k < len(film.classes) else str(k)


def class_colour(style: Style, k: int) -> str:
    """The colour of a class; they repeat after six."""
    return style.classes[k % len(style.classes)]


def class_colours(style: Style, y: Array) -> list[str]:
    """One colour per point."""
    return [class_colour(style, int(k)) for k in y]


def class_labels(ax: Axes, film: Film, style: Style) -> None:
    """The names of the classes in their colours, in a row above the axes."""
    shown = [*film.classes[: len(style.classes)]]
    rest = len(film.classes) - len(shown)
    if rest > 0:
        shown.append(f"and {rest} more")
    at = 1.0
    for k in reversed(range(len(shown))):
        text = plain(short(shown[k], 16))
        ax.annotate(
            text,
            (at, 1.0),
            xycoords="axes fraction",
            xytext=(0, 5),
            textcoords="offset points",
            color=class_colour(style, k) if k < len(style.classes) else style.muted,
            ha="right",
            fontweight="bold",
            fontsize=SIZES["tick"],
        )
        at -= 0.025 * (len(text) + 2.5)


def end_label(ax: Axes, line: Any, text: str, colour: str) -> None:
    """A name just beyond the right end of a line."""
    x, y = line.get_data()
    ax.annotate(
        plain(text),
        (x[-1], y[-1]),
        xytext=(4, 0),
        textcoords="offset points",
        color=colour,
        va="center",
        fontsize=SIZES["tick"],
        annotation_clip=False,
    )


def rgb(colour: str) -> tuple[float, float, float]:
    """`#rrggbb` as three numbers from 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def apart(places: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Places moved as little as needed to be `least` apart, in their order, between `low` and `high`.

    >>> apart([1.0, 1.1, 3.0], 0.5, 0.0, 4.0)
    [0.8, 1.3, 3.0]
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[list[float]] = []  # [sum of wanted first places, members]
    for place in (places[i] for i in order):
        groups.append([place, 1])
        while len(groups) > 1 and _first(groups[-2], least) + groups[-2][1] * least > _first(
            groups[-1], least
        ):
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    result, floor = [0.0] * len(places), low
    at = 0
    for total, count in groups:
        first = max(min(total / count - (count - 1) * least / 2, high - (count - 1) * least), floor)
        for k in range(int(count)):
            result[order[at]] = round(first + k * least, 12)
            at += 1
        floor = first + count * least
    return result


def _first(group: list[float], least: float) -> float:
    return group[0] / group[1] - (group[1] - 1) * least / 2
