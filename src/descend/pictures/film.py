"""The film: a run as data for the screen, some kilobytes of strict JSON and no pictures.

A `Film` holds what a picture of each moment of a run needs: the weights of at most 300 frames, the
losses, a sample of at most 1,000 points, a loss surface. It is made by `run.animate()` or
`history.animate(x, y)` (see `filming`), drawn by the player in a browser or by `animation` with
matplotlib, and kept as JSON that both read.
"""

from __future__ import annotations

import base64
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from descend.engines.matrix import Float
from descend.errors import DataError, DescendError
from descend.files import replacing
from descend.objectives.links import IDENTITY, LINKS, Link
from descend.objectives.statistics import shifted

FORMAT, VERSION = "descend-film", 1
MAX_FRAMES = 300
MAX_POINTS = 1_000
DIGITS = 6
"""Significant digits of a number in a film's JSON."""

LINK_OF = {"regression": "identity", "two-class": "logit", "multi-class": "softmax"}
"""The link that goes without saying for what is learned."""
PICTURES = ("line", "curve", "fit", "sigmoid", "boundary", "histogram", "regions", "classes", "none")
KINDS = {".html": "to_html", ".json": "to_json"}
PAINTED = (".gif", ".mp4", ".png")


@dataclass(frozen=True)
class FilmSample:
    """Some of the training rows, and the weights that predict them at every frame.

    `x` has shape (points, k) and `y` (points,), class numbers where there are classes. `predictors`
    has shape (frames, k + 1), or (frames, k + 1, classes) for the cross entropy, the intercept last:
    at frame f the linear predictor is `x @ predictors[f][:-1] + predictors[f][-1]`. With one or two
    columns `x` is in the units of the data; with many it may hold linear combinations of columns,
    and `names` is then empty. So it is where rows have an `offset`, shape (points,), which is added to
    the linear predictor: no line holds for all of them.
    """

    x: Float
    y: Float
    predictors: Float
    names: tuple[str, ...] = ()
    rows: int = 0
    """The number of training rows that the sample stands for."""
    offset: Float | None = None

    def linear_predictor(self, frame: int) -> Float:
        """`z` of every point at a frame, of shape (points,) or (points, classes)."""
        w = self.predictors[frame]
        return shifted(np.asarray(self.x @ w[:-1] + w[-1]), self.offset)


@dataclass(frozen=True)
class Surface:
    """The loss as a function of two weights, and the path of a run on it.

    Either a quadratic, `floor + d' hessian d / 2` with `d` the distance from `centre`, or `values`
    on an even grid over `x_range` and `y_range`, of shape (rows along y, columns along x); `centre` and
    `hessian` are then the minimum and the second derivatives there, where they are known.
    """

    names: tuple[str, str]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    path: Float
    """Of shape (frames, 2)."""
    floor: float = 0.0
    centre: Float | None = None
    hessian: Float | None = None
    values: Float | None = None
    note: str = ""
    """What the picture is: exact, a slice, from a sample."""

    def axes(self, share: float = 0.85) -> list[tuple[float, Float]]:
        """The curvatures along the principal directions, largest first, and the half-axes of one contour there.

        The contour is the largest whose axes stay within a share of the picture; of a flat direction the
        half-axis is as long as that share. Empty where the second derivatives are not known.

        >>> bowl = Surface(("a", "b"), (-2, 2), (-2, 2), np.zeros((1, 2)), 0.5, np.zeros(2), np.diag([4.0, 1.0]))
        >>> [(curvature, np.abs(half).tolist()) for curvature, half in bowl.axes(1.0)]
        [(4.0, [1.0, 0.0]), (1.0, [0.0, 2.0])]
        """
        if self.hessian is None or self.centre is None:
            return []
        values, V = np.linalg.eigh(self.hessian)
        if values[1] - values[0] <= 1e-9 * abs(values[1]):
            V = np.eye(2)  # every direction is a principal one
        room = np.array(
            [
                min(hi - c, c - lo)
                for (lo, hi), c in zip((self.x_range, self.y_range), self.centre, strict=True)
            ]
        )
        if not (room > 0).all():
            return []
        with np.errstate(over="ignore"):
            reach = share * np.min(room[:, None] / np.maximum(np.abs(V), 1e-300), axis=0)
        curved = values > 1e-12 * values[-1]
        level = np.sqrt(np.min(values[curved] * reach[curved] ** 2, initial=np.inf))
        length = np.where(curved, level / np.sqrt(np.where(curved, values, 1.0)), reach)
        return [(max(float(values[i]), 0.0), length[i] * V[:, i]) for i in (1, 0)]

    def grid(self, points: int = 61) -> tuple[Float, Float, Float]:
        """The places along both axes and the losses there, of shape (along y, along x).

        >>> bowl = Surface(("a", "b"), (-1, 1), (-1, 1), np.zeros((1, 2)), 0.5, np.zeros(2), 2 * np.eye(2))
        >>> bowl.grid(3)[2].tolist()
        [[2.5, 1.5, 2.5], [1.5, 0.5, 1.5], [2.5, 1.5, 2.5]]
        """
        if self.values is not None:
            rows, columns = self.values.shape
            return np.linspace(*self.x_range, columns), np.linspace(*self.y_range, rows), self.values
        assert self.centre is not None
        assert self.hessian is not None
        x, y = np.linspace(*self.x_range, points), np.linspace(*self.y_range, points)
        d = np.stack(np.meshgrid(x - self.centre[0], y - self.centre[1]), axis=-1)
        return x, y, self.floor + 0.5 * np.einsum("...i,ij,...j->...", d, self.hessian, d)


@dataclass(frozen=True)
class Film:
    """A run as data for the screen: made by `run.animate()`, saved by `save`, read by `Film.load`.

    `weights` has shape (frames, coefficients), one path for each of `names`; `steps`, the step's number, and
    `learning_rate` (frames,). `curves` maps "loss", "validation_loss" and "batch_loss" to arrays of shape (2,
    points), the step's numbers above the values; every frame whose loss is known is among them. Where a run has
    thousands of weights `names` are the largest few of them. `sample` holds some of the rows and what predicts them
    at every frame, `surface` the loss over two weights, None where there is none. `title` and `target` are the names
    of the data and of what is predicted.

    >>> film = Film("regression", np.array([0, 1]), np.array([[0.5], [3.0]]), ("slope",))
    >>> film.frames, film.picture, Film.from_json(film.to_json()).names
    (2, 'none', ('slope',))
    """

    model: str
    """What is learned: "regression", "count", "two-class", "multi-class", or "weights" where nothing is known."""
    steps: Float
    weights: Float
    names: tuple[str, ...]
    curves: Mapping[str, Float] = field(default_factory=dict)
    learning_rate: Float | None = None
    sample: FilmSample | None = None
    surface: Surface | None = None
    title: str = ""
    target: str = "y"
    classes: tuple[str, ...] = ()
    """The labels of the classes, in the order of their numbers."""
    outcome: str = ""
    """How the run ended, in words."""
    notes: tuple[str, ...] = ()
    """What a viewer should know: that the film shows another optimizer's walk, or a sample of first rows."""
    interval: float = 20.0
    """Milliseconds that a frame is shown."""
    link: str = ""
    """The name of the link, where it is another than that of `LINK_OF`."""

    @property
    def mean(self) -> Link:
        """The link that turns linear predictors into predictions."""
        return LINKS[self.link or LINK_OF.get(self.model, "identity")]

    def predicted(self, frame: int) -> Float:
        """What is predicted of every point of the sample at a `frame`, of shape (points,) or (points, classes)."""
        assert self.sample is not None
        return self.mean.inverse(self.sample.linear_predictor(frame))

    @property
    def frames(self) -> int:
        """The number of frames."""
        return len(self.steps)

    @property
    def picture(self) -> str:
        """The picture of the model itself, one of `PICTURES`.

        Numbers and counts: "line" with one feature, "curve" where the link bends it, else "fit" (predicted against
        actual). Two classes: "sigmoid" with one feature, "boundary" with two, else "histogram" of probabilities.
        More classes: "regions" with two features, else "classes". Classes without probabilities have a picture with
        two features alone.
        """
        if self.sample is None or not len(self.sample.y):
            return "none"
        named = len(self.sample.names)
        line = "line" if self.mean == IDENTITY else "curve"
        picture = {
            "regression": {1: line}.get(named, "fit"),
            "count": {1: line}.get(named, "fit"),
            "two-class": {1: "sigmoid", 2: "boundary"}.get(named, "histogram"),
            "multi-class": {2: "regions"}.get(named, "classes"),
        }.get(self.model, "none")
        needs_probabilities = picture in ("sigmoid", "histogram", "classes")
        return "none" if needs_probabilities and not self.mean.probabilities else picture

    def loss(self, frame: int, curve: str = "loss") -> float:
        """The value of a `curve`, one of `curves`, at a `frame`, counted from 0; NaN where there is none."""
        steps, values = self.curves.get(curve, np.empty((2, 0)))
        at = np.flatnonzero(steps == self.steps[frame])
        return float(values[at[0]]) if len(at) else math.nan

    def to_json(self) -> str:
        """The film as strict JSON: NaN and infinity become null, numbers keep six digits."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "picture": self.picture,
            "title": self.title,
            "target": self.target,
            "classes": self.classes,
            "outcome": self.outcome,
            "notes": self.notes,
            "interval": self.interval,
            "names": self.names,
            "steps": _plain(self.steps),
            "weights": _plain(self.weights),
            "learning_rate": _plain(self.learning_rate),
            "curves": {name: _plain(curve) for name, curve in self.curves.items()},
            "sample": _fields(self.sample),
            "surface": _fields(self.surface),
            **({"link": self.link} if self.link else {}),
        }
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Film:
        """The inverse of `to_json`. Raises `DataError` where `text` is something else."""
        try:
            content = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"this is not the JSON of a film: {error}. Was it cut short?") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DataError(f'this is not a film of descend: it lacks `"format": "{FORMAT}"`.')
        if content.get("version") != VERSION:
            raise DataError(
                f"this film has version {content.get('version')!r} of the format, this descend reads {VERSION}. "
                "Upgrade descend: pip install --upgrade descend."
            )
        try:
            return _film(content)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(f"this is a damaged film: {error!r}.") from error

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Film:
        """Read what `save("NAME.json")` wrote to `path`. Raises `DataError` where the file is something else."""
        try:
            text = Path(path).read_text("utf-8")
        except OSError as error:
            raise DataError(f"cannot read {str(path)!r}: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{str(path)!r} is not a film: it is not text.") from error
        try:
            return Film.from_json(text)
        except DataError as error:
            raise DataError(f"cannot show {str(path)!r}: {error}") from error

    def to_html(self) -> str:
        """One page that plays the film in any browser, and asks the network for nothing."""
        from descend.pictures.page import page

        return page(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the film to `path`, which ends in `.html`, `.json`, `.gif`, `.mp4` or `.png` (the last frame).

        Raises `DescendError` for another kind of file, or where a video needs a program that is missing.

        >>> film = Film("weights", np.array([0, 1]), np.array([[0.5], [3.0]]), ("slope",))
        >>> film.save("walk.json")
        >>> Film.load("walk.json").frames
        2
        """
        kind = Path(path).suffix.lower()
        if kind in KINDS:
            with replacing(path) as temporary:
                temporary.write_text(getattr(self, KINDS[kind])(), "utf-8")
        elif kind in PAINTED:
            from descend.pictures import animation

            animation.write(self, path, interval=self.interval)
        else:
            allowed = ", ".join([*KINDS, *PAINTED])
            raise DescendError(f"a film is saved as {allowed}, got {str(path)!r}.")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows: the page in a frame of its own, and a picture where frames are stripped."""
        from descend.pictures.page import framed

        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": framed(self)}
        with tempfile.TemporaryDirectory() as folder:
            still = Path(folder) / "film.png"
            self.save(still)
            bundle["image/png"] = base64.b64encode(still.read_bytes()).decode("ascii")
        return bundle

    def __repr__(self) -> str:
        name = f"{self.title}: " if self.title else ""
        return f"<Film {name}{self.frames} frames, {self.model}, {len(self.names)} weights>"


def _plain(array: Any, digits: int = DIGITS) -> Any:
    """Nested lists of numbers of few digits, None where one is not finite."""
    if array is None:
        return None
    if isinstance(array, np.ndarray) and array.ndim:
        return [_plain(item, digits) for item in array]
    value = float(array)
    if not math.isfinite(value):
        return None
    value = float(f"{value:.{digits}g}")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _fixed(column: Float) -> list[Any]:
    """Numbers to a ten-thousandth of their range: finer than a screen."""
    spread = float(np.ptp(column)) if len(column) else 0.0
    decimals = 4 - math.ceil(math.log10(spread)) if spread > 0 else 6
    return [_plain(round(value, decimals), 15) for value in column.tolist()]


def _lost_digits(x: Float) -> int:
    """Digits that `x @ w + b` loses where columns lie far from zero."""
    if not x.size:
        return 0
    spread = np.ptp(x, axis=0)
    far = np.abs(x).max(axis=0) / np.where(spread > 0, spread, 1.0)
    return int(np.clip(np.ceil(np.log10(max(float(far.max()), 1.0))), 0, 9))


def _fields(part: FilmSample | Surface | None) -> dict[str, Any] | None:
    """The fields of a part of a film that hold anything."""
    if part is None:
        return None
    plain = {}
    for name, value in vars(part).items():
        if name == "x":
            plain[name] = [list(row) for row in zip(*map(_fixed, value.T), strict=True)]
        elif name == "y" or (name == "offset" and value is not None):
            plain[name] = _fixed(value)
        elif name == "predictors":
            plain[name] = _plain(value, DIGITS + _lost_digits(vars(part)["x"]))
        elif isinstance(value, np.ndarray):
            plain[name] = _plain(value)
        elif isinstance(value, float):
            plain[name] = _plain(value, 12)
        elif name.endswith("_range"):
            plain[name] = [_plain(limit) for limit in value]
        elif value is not None:
            plain[name] = value
    return plain


def _film(content: dict[str, Any]) -> Film:
    """The film of parsed JSON."""
    sample, surface = content["sample"], content["surface"]
    return Film(
        model=content["model"],
        steps=_array(content["steps"], 1),
        weights=_array(content["weights"], 2),
        names=tuple(content["names"]),
        curves={name: _array(curve, 2) for name, curve in content["curves"].items()},
        learning_rate=None if content["learning_rate"] is None else _array(content["learning_rate"], 1),
        sample=None if sample is None else _sample(sample),
        surface=None if surface is None else _surface(surface),
        title=content["title"],
        target=content["target"],
        classes=tuple(content["classes"]),
        outcome=content["outcome"],
        notes=tuple(content["notes"]),
        interval=float(content["interval"]),
        link=_link(content.get("link", "")),
    )


def _link(name: str) -> str:
    if name and name not in LINKS:
        raise ValueError(f"it has the link {name!r}, and this descend knows {', '.join(LINKS)}")
    return name


def _sample(content: dict[str, Any]) -> FilmSample:
    predictors = np.array(content["predictors"], dtype=np.float64)
    x = _array(content["x"], 2).reshape(len(content["y"]), predictors.shape[1] - 1)
    offset = None if content.get("offset") is None else _array(content["offset"], 1)
    return FilmSample(
        x, _array(content["y"], 1), predictors, tuple(content["names"]), content["rows"], offset
    )


def _surface(content: dict[str, Any]) -> Surface:
    arrays = {
        name: None if content.get(name) is None else np.array(content[name], dtype=np.float64)
        for name in ("centre", "hessian", "values")
    }
    (a, b), (left, right), (low, high) = (content[name] for name in ("names", "x_range", "y_range"))
    path = _array(content["path"], 2)
    return Surface(
        (a, b),
        (left, right),
        (low, high),
        path,
        floor=content.get("floor", 0.0),
        note=content["note"],
        **arrays,
    )


def _array(values: Any, dimensions: int) -> Float:
    """float64 with NaN for null. Raises `ValueError` where the lists are not so many deep."""
    array = np.array(values, dtype=np.float64)
    if array.ndim != dimensions and array.size:
        raise ValueError(f"expected {dimensions} dimensions, got {array.ndim}")
    return array if array.ndim == dimensions else array.reshape((0,) * dimensions)
