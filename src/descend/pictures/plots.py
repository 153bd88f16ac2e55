"""Pictures of runs and histories with matplotlib: each takes `ax=` and returns the Axes it drew on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import colors, ticker
from matplotlib import pyplot as plt

from descend.descent.history import History
from descend.engines.arrays import check_column, check_matrix
from descend.engines.matrix import Array, Float
from descend.engines.matrix import plain as in_numpy
from descend.errors import DescendError, ShapeError
from descend.pictures.curves import CURVES, LossPanel, PathsPanel, SurfacePanel
from descend.pictures.film import Film, FilmSample
from descend.pictures.panels import PICTURES, Axes, FitPanel, Panel, name_axes, padded, plain, rgb, short
from descend.pictures.styles import FONTS, LIGHT, SIZES, STYLES, Style, as_style, relative_luminance

_active: ContextVar[Style | None] = ContextVar("style", default=None)


@contextmanager
def style(name: Style | str) -> Iterator[Style]:
    """Draw everything inside in the look `name`, "light" or "dark"; matplotlib's settings are put back after.

    Raises `DescendError` for another name.

    >>> with style("dark") as look:
    ...     look.background, matplotlib.rcParams["figure.facecolor"] == look.background
    ('#15191e', True)
    """
    chosen = as_style(name)
    _load_backend()
    token = _active.set(chosen)
    try:
        with matplotlib.rc_context(settings(chosen)):
            yield chosen
    finally:
        _active.reset(token)


def active() -> Style:
    """The look that `style` has set, light outside of it."""
    return _active.get() or LIGHT


def settings(look: Style) -> Any:
    """The style table as matplotlib's settings."""
    here = {font.name for font in matplotlib.font_manager.fontManager.ttflist}
    return {
        "figure.facecolor": look.background,
        "savefig.facecolor": look.background,
        "axes.facecolor": look.background,
        "axes.edgecolor": look.axis,
        "axes.linewidth": SIZES["axis"],
        "axes.labelcolor": look.muted,
        "axes.labelsize": SIZES["label"],
        "axes.titlecolor": look.text,
        "axes.titlesize": SIZES["title"],
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.formatter.useoffset": False,
        "axes.unicode_minus": True,
        "text.color": look.text,
        "text.usetex": False,
        "font.family": "sans-serif",
        "font.sans-serif": [name for name in FONTS if name in here] or ["DejaVu Sans"],
        "xtick.color": look.axis,
        "ytick.color": look.axis,
        "xtick.labelcolor": look.muted,
        "ytick.labelcolor": look.muted,
        "xtick.labelsize": SIZES["tick"],
        "ytick.labelsize": SIZES["tick"],
        "xtick.major.width": SIZES["axis"],
        "ytick.major.width": SIZES["axis"],
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "svg.fonttype": "none",
        "svg.hashsalt": "descend",
    }


@contextmanager
def drawing(ax: Axes | None, size: tuple[float, float] = (5.4, 3.9)) -> Iterator[tuple[Axes, Style]]:
    """The Axes to draw on, a new figure's unless given, and the look: the active one, or what suits `ax`."""
    look = _active.get() or (LIGHT if ax is None else _suiting(ax))
    _load_backend()
    with matplotlib.rc_context(settings(look)):
        if ax is None:
            ax = plt.subplots(figsize=size, layout="constrained")[1]
        yield ax, look


def _load_backend() -> None:
    """Let pyplot load its backend now: a notebook's turns interactive drawing on, which must outlast us."""
    plt.draw_if_interactive()  # type: ignore[no-untyped-call]


def _suiting(ax: Axes) -> Style:
    """The look whose text can be read on the Axes' background."""
    red, green, blue, opacity = colors.to_rgba(ax.get_facecolor())
    dark = opacity > 0 and relative_luminance(colors.to_hex((red, green, blue))) < 0.2
    return STYLES["dark" if dark else "light"]


def plot(x: Any, y: Any, weights: Any = None, *, ax: Axes | None = None) -> Axes:
    """Data, and the line of some weights; no run needed. Drawn on `ax` or new Axes, which are returned.

    `x` has shape (rows,) or (rows, features), `y` (rows,); `weights` one number per column of `x`, or
    one more, the intercept, last. Columns of `x` that are constant, the lesson's ones, are no
    features. With several features actual values are drawn against predicted ones. Raises
    `ShapeError` where shapes do not fit.

    >>> import descend
    >>> x, y = descend.make_line(100, weights=(3, 2), seed=0)
    >>> ax = plot(x, y, weights=(0.5, 0.75))
    >>> [(float(u), float(v)) for u, v in ax.lines[0].get_xydata().round(2)]
    [(-1.07, 0.21), (1.07, 1.29)]
    """
    x, y = np.asarray(in_numpy(x)), in_numpy(y)
    x = np.asarray(check_matrix(x[:, None] if x.ndim == 1 else x), dtype=np.float64)
    y = check_column(y, "y", len(x)).astype(np.float64)
    w = None if weights is None else _line(weights, x.shape[1])
    features = np.flatnonzero(np.ptp(x, axis=0) > 0)
    if len(features) > 1:
        if w is None:
            raise DescendError(
                f"`weights` is needed to draw {len(features)} features: actual is then drawn against predicted."
            )
        return plot_model(_still(x, y, w), ax=ax)
    with drawing(ax) as (ax, look):
        column = x[:, features[0] if len(features) else 0]
        ax.scatter(column, y, s=SIZES["point"] ** 2, c=look.data, alpha=0.7, linewidths=0)
        name_axes(ax, "x", "y")
        if w is not None:
            ends = np.repeat(x[:1], 2, axis=0)
            ends[:, features[:1]] = np.array(padded(column, 0.04))[:, None]
            line = ends @ w[:-1] + w[-1]
            ax.plot(padded(column, 0.04), line, color=look.model, linewidth=SIZES["line"])
            ax.set_xlim(*padded(column, 0.04))
    return ax


def _line(weights: Any, columns: int) -> Float:
    """Weights with the intercept last, 0 where there is none."""
    w = np.asarray(in_numpy(weights), dtype=np.float64)
    if w.ndim != 1 or len(w) not in (columns, columns + 1):
        raise ShapeError(
            f"`weights` has shape {w.shape} and `x` has {columns} columns: give one weight per column, "
            "or one more for the intercept."
        )
    return w if len(w) > columns else np.append(w, 0.0)


def _still(x: Float, y: Float, w: Float) -> Film:
    """A film of one frame."""
    sample = FilmSample(x, y, w[None], rows=len(y))
    return Film("regression", np.zeros(1), w[None], tuple(map(str, range(len(w)))), sample=sample)


class Band(NamedTuple):
    """Where the mean lies by chance along the one feature of a picture; all of shape (points,)."""

    x: Float
    low: Float
    high: Float


def plot_model(film: Film, *, ax: Axes | None = None, band: Band | None = None) -> Axes:
    """The model's own picture at the film's last frame: the start's beside it where it is a curve, a `band` around it.

    A regression of several features has its residuals below, on axes that are appended.
    """
    if film.picture == "none":
        raise DescendError(
            "there is nothing to draw the model on: no row, or no column that varies. "
            "A history has rows where they are given, `history.plot(x, y)`."
        )
    several = film.picture == "fit"
    with drawing(ax, (5.0, 5.8) if several else (5.4, 3.9)) as (ax, look):
        panel = PICTURES[film.picture](film, ax, look)
        if isinstance(panel, FitPanel):
            panel.with_residuals(_below(ax))
        if band is not None:
            panel.ax.fill_between(*band, color=look.model, alpha=0.18, linewidth=0, zorder=1.5)
        finish(panel, film.frames - 1)
    return ax


def _below(ax: Axes) -> Axes:
    """Axes under another, with the same x; the other gives up a third of its height."""
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    return make_axes_locatable(ax).append_axes("bottom", size="40%", pad=0.12, sharex=ax)


def plot_loss(run: Film | History, *, ax: Axes | None = None) -> Axes:
    """The losses step by step, on a log scale where they are above zero."""
    film = run if isinstance(run, Film) else _along_history(run)
    if not film.curves:
        raise DescendError("there are no losses to draw: record them, `history.record(loss=..., weights=a)`.")
    return _along(LossPanel, film, ax)


def plot_coefficients(
    run: Film | History, *, names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """The coefficients step by step, the eight that move most; `names` has one name per weight."""
    film = run if isinstance(run, Film) else _along_history(run, names)
    if not film.names or not len(film.weights):
        raise DescendError(
            "there are no weights to draw: record them, `history.record(loss=..., weights=a)`."
        )
    return _along(PathsPanel, film, ax)


def plot_surface(film: Film, *, ax: Axes | None = None) -> Axes:
    """Contours of the loss over two weights of a film, and its path."""
    if film.surface is None:
        raise DescendError("there is no loss surface to draw: it needs two weights and a loss that is known.")
    return _along(SurfacePanel, film, ax)


def _along_history(history: History, names: Sequence[str] | None = None) -> Film:
    """Every loss and every weight that a history holds, as a film without a picture of the model."""
    curves = {}
    for name in CURVES:
        values = getattr(history, name)
        known = ~np.isnan(values)
        if known.any():
            curves[name] = np.stack([history.number[known], values[known]])
    weights = history.weights
    weights = weights.reshape(len(weights), -1) if len(weights) else weights
    steps = history.number[history.weight_rows] if len(weights) else history.number[-1:]
    names = names or history.names or ()
    fitting = (
        tuple(names) if len(names) == weights.shape[1] else tuple(f"w{i}" for i in range(weights.shape[1]))
    )
    return Film("weights", steps, weights, fitting if len(weights) else (), curves)


def _along(kind: type[Panel], film: Film, ax: Axes | None) -> Axes:
    with drawing(ax) as (ax, look):
        finish(kind(film, ax, look), film.frames - 1)
    return ax


def finish(panel: Panel, frame: int) -> None:
    """Show a frame; give the axes few ticks, a log scale plain ones."""
    _ticks(panel.ax)
    panel.show(frame)


def _ticks(ax: Axes) -> None:
    if ax.get_xscale() == "linear":
        ax.xaxis.get_major_locator().set_params(nbins=6)
    if ax.get_yscale() == "log":
        low, high = ax.get_ylim()
        decades = np.log10(high / low)
        subs = (1.0, 2.0, 3.0, 5.0, 7.0) if decades < 1 else (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=9))
        ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(ticker.NullFormatter())


def plot_confusion(
    confusion: Sequence[Sequence[float]] | Array, classes: Sequence[Any], *, ax: Axes | None = None
) -> Axes:
    """A confusion matrix: rows are the true classes, columns the predicted ones, shaded by row share."""
    counts = np.asarray(confusion, dtype=np.float64)
    size = 2.0 + 0.55 * len(classes)
    with drawing(ax, (size + 0.8, size)) as (ax, look):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
        blend = np.array(rgb(look.background)) + shares[..., None] * (
            np.array(rgb(look.data)) - np.array(rgb(look.background))
        )
        ax.imshow(blend)
        for (i, j), count in np.ndenumerate(counts):
            ground = relative_luminance(colors.to_hex(blend[i, j]))
            ax.text(
                j,
                i,
                f"{count:,.6g}",
                ha="center",
                va="center",
                color="#ffffff" if ground < 0.3 else "#1f2933",
            )
        names = [plain(short(str(label), 14)) for label in classes]
        slanted = {"rotation": 35, "ha": "right"} if max(map(len, names)) > 7 and len(names) > 2 else {}
        ax.set_xticks(range(len(names)), names, **slanted)
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        name_axes(ax, "predicted", "actual")
    return ax


def plot_top_losses(
    labels: Sequence[str],
    losses: Sequence[float],
    inside: Sequence[str] = (),
    *,
    title: str = "",
    what: str = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Bars of the largest losses, the largest on top, each with what the row is and what it holds; `what` names them."""
    with drawing(ax, (8.4, 0.9 + 0.32 * len(losses))) as (ax, look):
        places = np.arange(len(losses))
        ax.barh(places, losses, height=0.72, color=look.data, alpha=0.35)
        for place, text in enumerate(inside):
            how = {
                "xytext": (4, 0),
                "textcoords": "offset points",
                "va": "center",
                "fontsize": SIZES["tick"] - 1,
            }
            ax.annotate(plain(short(text, 60)), (0.0, place), color=look.text, **how)
        ax.set_yticks(places, [plain(label) for label in labels])
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.invert_yaxis()
        ax.set_title(title)
        name_axes(ax, f"{what} of the row", "")
    return ax


def plot_rates(found: Any, *, ax: Axes | None = None) -> Axes:
    """Loss against learning rate on a logarithmic axis, the limit and the suggestion marked; see `lr_find`."""
    with drawing(ax) as (axes, look):
        axes.plot(found.rates, found.losses, color=look.text)
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.axvline(found.suggestion, color=look.text, linestyle=":", label=f"try {found.suggestion:.3g}")
        if found.limit is not None:
            axes.axvline(found.limit, color=look.text, linestyle="--", label=f"limit {found.limit:.3g}")
        axes.legend()
    return axes


def plot_forecast(found: Any, *, ax: Axes | None = None) -> Axes:
    """Losses as predicted, and the run's where there is one, step by step; see `Diagnosis.plot`."""
    with drawing(ax) as (ax, look):
        lines = {}
        if found.actual is not None:
            how: dict[str, Any] = {"color": look.data, "linewidth": 2 * SIZES["line"], "alpha": 0.5}
            lines["the run"] = ax.plot(found.steps, found.actual, **how)[0]
            name = "predicted" if found.exact else "predicted from the curvature at the best weights"
            how = {"color": look.model, "linewidth": 1.4 * SIZES["thin"], "linestyle": (0, (4, 2))}
            lines[name] = ax.plot(found.steps, *found.curves.values(), **how)[0]
        else:
            for curve, colour in zip(found.curves.items(), look.classes, strict=False):
                lines[curve[0]] = ax.plot(found.steps, curve[1], color=colour, linewidth=SIZES["line"])[0]
        how = {"color": look.start, "linewidth": SIZES["thin"], "zorder": 0}
        lines["the best loss"] = ax.axhline(found.best, **how)
        ax.set_xlim(0, float(found.steps[-1]) or 1)
        _loss_limits(ax, found)
        ax.legend(lines.values(), lines, frameon=False, fontsize=SIZES["tick"], labelcolor=look.text)
        name_axes(ax, "step", "loss")
        _ticks(ax)
    return ax


def _loss_limits(ax: Axes, found: Any) -> None:
    """Room for the losses up to their ceiling; a log scale where they fall far."""
    shown = np.concatenate([curve[curve <= found.ceiling] for curve in found.curves.values()])
    if found.actual is not None:
        shown = np.concatenate([shown, found.actual])
    high = float(shown.max())
    room = 0.04 * (high - found.best) or 1.0
    low, top = found.best - room, high + room
    if found.best > 0 and high > 2 * found.best:
        ax.set_yscale("log")
        low, top = found.best * (found.best / high) ** 0.04, high * (high / found.best) ** 0.04
    ax.set_ylim(low, top)


def plot_directions(film: Film, *, ax: Axes | None = None) -> Axes:
    """The loss surface of a film, and on it the principal directions of its curvature; see `Diagnosis.surface`."""
    surface = film.surface
    assert surface is not None
    with drawing(ax) as (ax, look):
        finish(SurfacePanel(film, ax, look), film.frames - 1)
        for curvature, half in surface.axes():
            assert surface.centre is not None
            ends = np.array([surface.centre - half, surface.centre + half])
            how = {
                "arrowstyle": "<|-|>",
                "color": look.text,
                "linewidth": SIZES["thin"],
                "shrinkA": 0,
                "shrinkB": 0,
            }
            ax.annotate("", ends[0], ends[1], arrowprops=how, zorder=6)
            _name_direction(ax, look, f"curvature {curvature:.4g}", ends[np.argsort(ends[:, 1])])
    return ax


def _name_direction(ax: Axes, look: Style, words: str, ends: Float) -> None:
    """Words above the upper of two ends, or below the lower one where there is no room."""
    places = ax.transAxes.inverted().transform(ax.transData.transform(ends))
    upper = bool(places[1, 1] < 0.9)
    across = places[int(upper), 0]
    ax.annotate(
        words,
        ends[int(upper)],
        xytext=(0, 5 if upper else -5),
        textcoords="offset points",
        ha="left" if across < 0.2 else "right" if across > 0.8 else "center",
        va="bottom" if upper else "top",
        color=look.text,
        fontsize=SIZES["tick"],
        zorder=7,
    )
