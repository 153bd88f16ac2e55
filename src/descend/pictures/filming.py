"""How a film is made: of a fit, or of the bare History of anyone's loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from descend.descent.first_order import Optimizer
from descend.descent.history import History
from descend.engines.arrays import ArraySource, check_column, check_matrix
from descend.engines.blocks import Block
from descend.engines.matrix import Array, Float, plain
from descend.engines.moments import Moments
from descend.errors import DescendError, ShapeError
from descend.models.model import Model
from descend.objectives.links import IDENTITY, LINKS
from descend.objectives.losses import Loss, as_loss
from descend.objectives.objective import MOMENTS_COLUMNS
from descend.objectives.penalties import L2, Penalty, as_penalty
from descend.objectives.quadratic import Quadratic
from descend.objectives.sampled import Around, Sample, Sampled, sample_of
from descend.pictures.film import LINK_OF, MAX_FRAMES, Film, FilmSample
from descend.pictures.landscape import MAX_WEIGHTS, descended, surface, thin

MAX_PATHS = 12
"""Coefficients whose paths are shown; of more, those that moved most."""
MAX_CURVE = 600
"""Points of a loss curve beside those of the frames."""
MAX_COLUMNS = 20
"""Columns of a sample; of more, the combinations that its predictions lie in."""
MANY_CELLS = 6_000
"""Cells of a sample of more than two columns."""
FEW_STEPS = 12
"""Exact and Newton walks of at most so many rows are shown as gradient descent would have gone."""
NAMES = {"lbfgs": "L-BFGS", "newton": "Newton's method"}
CURVES = ("loss", "validation_loss", "batch_loss")


@dataclass(frozen=True)
class Legend:
    """What the weights of a history mean."""

    loss: Loss | None
    intercept: bool
    names: tuple[str, ...]
    """One per feature."""
    classes: tuple[str, ...] = ()
    target: str = "y"
    encoding: Any | None = None

    @property
    def model(self) -> str:
        """What a film says is learned: weights alone where nothing is known, or where a link has no picture."""
        if self.loss is None or self.loss.link.name not in LINKS:
            return "weights"
        if self.loss.has_classes:
            return "two-class" if self.loss.kind == "two classes" else "multi-class"
        if self.loss.outputs(1) is not None:
            return "weights"
        return "count" if self.loss.kind == "count" else "regression"

    @property
    def link(self) -> str:
        """The name of the link, empty where what is learned tells it."""
        name = IDENTITY.name if self.loss is None or self.model == "weights" else self.loss.link.name
        return "" if name == LINK_OF.get(self.model, IDENTITY.name) else name

    def weight_names(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """One name per weight, raveled."""
        rows = [*self.names, *(["(intercept)"] if self.intercept else [])]
        if len(shape) < 2:
            return tuple(rows)
        labels = self.classes or tuple(map(str, range(shape[1])))
        return tuple(f"{row} ({label})" for row in rows for label in labels)


@dataclass(frozen=True)
class Frames:
    """The weights of each frame, of shape (frames, *shape), and what goes with them."""

    steps: Float
    weights: Float
    rates: Float | None
    curves: dict[str, Float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """What a film needs of a fit: its model, the way there, and what is known of the loss around it."""

    model: Model
    history: History
    optimizer: Optimizer
    loss: float
    """The last one, with the penalty."""
    converged: bool
    ending: str
    """How it ended, in words."""
    sample: Sample | None = None
    """Some of the rows."""
    quadratic: Quadratic | None = None
    """The loss without its rows, where it is squared error."""
    penalty: Penalty = field(default_factory=lambda: L2(0.0))
    """Of the weights of the descent."""

    @property
    def around(self) -> Around | None:
        """The loss as a function of the weights: exact, or on the sample."""
        if self.quadratic is not None or self.sample is None:
            return self.quadratic
        model = self.model
        return Sampled(
            self.sample, model.loss, self.penalty, model.intercept, model.weights, self.loss, self.converged
        )


def film_of_fit(fit: Shown, interval: float | None = None) -> Film:
    """The film of a fit, `interval` milliseconds a frame.

    Where the optimizer went straight to the minimum, gradient descent's walk there is shown instead,
    and a note says so. Never reads the data again beyond a sample of at most a thousand rows.
    """
    model, around, encoding = fit.model, fit.around, fit.model.encoding
    meaning = Legend(
        model.loss,
        model.intercept,
        model.feature_names,
        tuple(map(str, model.classes or ())),
        target="y" if encoding is None else encoding.target.name,
        encoding=encoding,
    )
    frames = recorded(fit.history)
    if fit.optimizer.name in ("exact", "newton") and len(fit.history) <= FEW_STEPS:
        frames = _by_gradient_descent(fit, around, frames) or frames
    title = _title(fit.optimizer, frames)
    title = title[0].upper() + title[1:] if encoding is None else f"{meaning.target} by {title}"
    return replace(_film(meaning, frames, fit.sample, around, interval), title=title, outcome=fit.ending)


def _title(optimizer: Optimizer, frames: Frames) -> str:
    """The optimizer shown, and its learning rate where that stays the same."""
    name = "gradient descent" if frames.notes else NAMES.get(optimizer.name, optimizer.name.replace("-", " "))
    rate = None if frames.rates is None else frames.rates[np.isfinite(frames.rates)]
    if rate is None or not len(rate) or not (frames.notes or optimizer.rated):
        return name
    constant = np.ptp(rate) <= 1e-12 * abs(rate[0])
    return f"{name}, learning rate {rate[0]:.3g}" if constant else name


def film_of_history(
    history: History,
    x: Any = None,
    y: Any = None,
    *,
    loss: Loss | str = "squared-error",
    classes: Sequence[Any] = (),
    target: str = "y",
    interval: float | None = None,
) -> Film:
    """The film of anyone's loop: the weights and losses that it recorded, on the data `(x, y)`.

    The weights have one entry per column of `x`, or one more, the intercept last (for the cross
    entropy a column per class, or the same laid end to end). Without data only losses and weights are
    shown. Raises `DescendError` where nothing was recorded and `ShapeError` where the shapes do not fit.

    >>> import descend
    >>> x, y = descend.make_line(100, seed=0)
    >>> history, a = descend.History(), np.zeros(2)
    >>> for _ in range(50):
    ...     history.record(loss=descend.mse(x @ a, y), weights=a)
    ...     a = a - 0.1 * 2 * x.T @ (x @ a - y) / len(y)
    >>> film_of_history(history, x, y).picture
    'line'
    """
    frames = recorded(history)
    if (x is None) != (y is None):
        raise DescendError("`x` and `y` go together: give both, or neither for losses and weights alone.")
    if x is None:
        size = int(np.prod(frames.weights.shape[1:]))
        names = history.names if history.names and len(history.names) == size else None
        named = names or tuple(f"w{i}" for i in range(size))
        flat = replace(frames, weights=frames.weights.reshape(len(frames.weights), -1))
        return _film(Legend(None, False, named), flat, None, None, interval)
    x, y = np.asarray(plain(x)), plain(y)
    x = check_matrix(x.reshape(-1, 1) if x.ndim == 1 else x)
    y = check_column(y, "y", x.shape[0])
    chosen = as_loss(loss)
    chosen.check_target(y)
    K = chosen.outputs(max(len(classes), int(y.max()) + 1 if chosen.has_classes else 1))
    weights, intercept = as_columns(frames.weights, x.shape[1], K)
    frames = replace(frames, weights=weights)
    names = history.names if history.names and len(history.names) >= x.shape[1] else None
    labels = tuple(map(str, classes)) or (tuple(map(str, range(K or 2))) if chosen.has_classes else ())
    meaning = Legend(
        chosen,
        intercept,
        (names or tuple(f"x{i}" for i in range(x.shape[1])))[: x.shape[1]],
        labels,
        target=target,
    )
    sample = sample_of(ArraySource(x, y), x.shape[0])
    about: Around | None = None
    end = weights[-1]
    if chosen.closed_form and x.shape[1] <= MOMENTS_COLUMNS:
        about = Quadratic.from_moments(Moments.of(Block(x, y)), as_penalty(None), intercept)
    elif sample is not None and np.isfinite(end).all():
        known = history.loss[-1] if len(history) else np.nan
        about = Sampled(sample, chosen, as_penalty(None), intercept, end, float(known), False)
    return _film(meaning, frames, sample, about, interval)


def as_columns(weights: Float, columns: int, classes: int | None) -> tuple[Float, bool]:
    """Recorded weights as (frames, features) or (frames, features, classes), and whether an intercept is last.

    Weights laid end to end are a model's parameters: one row per class first, then the intercepts.
    """
    flat = weights.reshape(len(weights), -1)
    outputs = classes or 1
    size = flat.shape[1]
    if size not in (columns * outputs, (columns + 1) * outputs):
        raise ShapeError(
            f"`weights` were recorded with shape {weights.shape[1:]}, but `x` has {columns} columns"
            f"{f' and `y` {classes} classes' if classes else ''}: one weight per column"
            f"{' and class' if classes else ''}, and the intercept last if there is one."
        )
    intercept = size > columns * outputs
    if classes is None:
        return flat, intercept
    if weights.ndim == 3 and weights.shape[1] == columns + intercept:
        return weights, intercept
    slopes = flat[:, : columns * classes].reshape(-1, classes, columns).transpose(0, 2, 1)
    return (np.concatenate([slopes, flat[:, None, columns * classes :]], axis=1) if intercept else slopes), (
        intercept
    )


def recorded(history: History) -> Frames:
    """The frames of a history: every weight vector kept, or 300 of them evenly spaced along the path."""
    weights, rows = history.weights, history.weight_rows
    if not len(rows):
        raise DescendError("this history holds no weights: `record(loss=..., weights=...)` before `animate`.")
    chosen = thin(weights, np.ones(int(np.prod(weights.shape[1:]))), MAX_FRAMES)
    rows, weights = rows[chosen], weights[chosen]
    numbers, rates = history.number, history.learning_rate
    return Frames(
        numbers[rows],
        weights,
        rates[rows] if np.isfinite(rates).any() else None,
        {name: curve for name in CURVES if (curve := _curve(history, name, rows)) is not None},
    )


def _curve(history: History, name: str, rows: Array) -> Float | None:
    """The values of a column: at the frames, and at no more than `MAX_CURVE` other steps."""
    values = getattr(history, name)
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return None
    if len(known) > MAX_CURVE:
        spread = known[np.linspace(0, len(known) - 1, MAX_CURVE).round().astype(np.int64)]
        known = np.union1d(spread, np.intersect1d(known, rows))
    return np.stack([history.number[known], values[known]])


def _by_gradient_descent(fit: Shown, about: Around | None, frames: Frames) -> Frames | None:
    """The walk of gradient descent to the same minimum, in closed form."""
    start, end = frames.weights[0], fit.model.weights
    if about is None or not fit.converged or end.size > MAX_WEIGHTS:
        return None
    walk = descended(start, end, about.hessian(end), fit.loss)
    if walk is None:
        return None
    if about.exact:
        losses, how = walk.losses, "from the moments of the data"
    else:
        losses = np.array([about.value(w) for w in walk.weights])
        how = f"from the curvature at the end; that and the losses are of {about.points.description}"
    note = (
        f"{fit.optimizer.name} took {_steps(len(fit.history) - 1)}; shown is how gradient descent would have gone, "
        f"at its best constant learning rate {walk.rate:.3g}: {_steps(int(walk.steps[-1]))}, "
        f"computed in closed form {how}{'' if len(walk.steps) > walk.steps[-1] else ', not all of them drawn'}"
    )
    rates = np.full(len(walk.steps), walk.rate)
    return Frames(walk.steps, walk.weights, rates, {"loss": np.stack([walk.steps, losses])}, (note,))


def _steps(count: int) -> str:
    return f"{count:,} step{'' if count == 1 else 's'}"


def _film(
    meaning: Legend,
    frames: Frames,
    sample: Sample | None,
    about: Around | None,
    interval: float | None,
) -> Film:
    names = meaning.weight_names(frames.weights.shape[1:])
    flat = frames.weights.reshape(len(frames.weights), -1)
    scale = _scales(meaning, sample, frames.weights.shape[1:])
    with np.errstate(over="ignore", invalid="ignore"):
        shown = _largest(np.abs(flat - flat[-1]).max(axis=0) * scale + np.abs(flat[-1]) * scale)
    notes = list(frames.notes)
    if len(shown) < len(names):
        notes.append(f"{len(shown)} of {len(names):,} coefficients are drawn: those that moved most")
    if meaning.encoding is not None and meaning.encoding.numbers:
        notes.append("coefficient paths are those of standardised columns")
    seen = None if sample is None else _film_sample(meaning, frames.weights, sample)
    if sample is not None and seen is not None and not (sample.whole and len(seen.y) == sample.rows):
        notes.append(f"points are a sample: {replace(sample, y=seen.y).description}")
    losses = _at_frames(frames)
    return Film(
        meaning.model,
        frames.steps,
        flat[:, shown],
        tuple(names[i] for i in shown),
        frames.curves,
        frames.rates,
        seen,
        surface(about, frames.weights, losses, scale, names),
        target=meaning.target,
        classes=meaning.classes,
        notes=tuple(notes),
        interval=_interval(interval, len(frames.steps)),
        link=meaning.link,
    )


def _interval(interval: float | None, frames: int) -> float:
    """Milliseconds of a frame: 20, or as many as make two seconds of few frames."""
    if interval is None:
        return float(np.clip(2_000 / max(frames, 1), 20.0, 400.0))
    if not (np.isfinite(interval) and interval > 0):
        raise DescendError(f"`interval` must be a number of milliseconds above 0, got {interval!r}.")
    return float(interval)


def _at_frames(frames: Frames) -> Float:
    steps, values = frames.curves.get("loss", np.empty((2, 0)))
    known = dict(zip(steps.tolist(), values.tolist(), strict=True))
    return np.array([known.get(step, np.nan) for step in frames.steps.tolist()])


def _scales(meaning: Legend, sample: Sample | None, shape: tuple[int, ...]) -> Float:
    """The standard deviation of each weight's column, 1 for the intercept: how much a weight matters."""
    if sample is None:
        return np.ones(int(np.prod(shape)))
    deviation = sample.X.std(axis=0)
    constant = deviation <= 1e-12 * np.abs(sample.X).max(axis=0)
    deviation = np.where(constant, np.abs(sample.X[0]), deviation)
    if meaning.intercept:
        deviation = np.append(deviation, 1.0)
    return np.repeat(deviation, shape[1]) if len(shape) == 2 else deviation


def _largest(importance: Float) -> Array:
    """The places of the weights whose paths are drawn, in order."""
    if len(importance) <= MAX_PATHS:
        return np.arange(len(importance))
    return np.sort(np.argsort(-np.nan_to_num(importance), kind="stable")[:MAX_PATHS])


def _film_sample(meaning: Legend, weights: Float, sample: Sample) -> FilmSample | None:
    """The sample's varying columns, and the weights of each frame for them, the intercept last."""
    X, y = sample.X, sample.y
    varying = np.ptp(X, axis=0) > 1e-12 * np.abs(X).max(axis=0)
    if meaning.encoding is not None:  # an encoding has left constant columns out
        varying = np.ones(X.shape[1], dtype=bool)
    slopes = weights[:, : X.shape[1]]
    last = weights[:, -1:] if meaning.intercept else np.zeros_like(weights[:, -1:])
    with np.errstate(over="ignore", invalid="ignore"):
        last = last + np.tensordot(slopes[:, ~varying], X[0, ~varying], (1, 0))[:, None]
    if not varying.any():
        return None
    names = tuple(name for name, keep in zip(meaning.names, varying, strict=True) if keep)
    predictors = np.concatenate([slopes[:, varying], last], axis=1)
    X, offset = X[:, varying], sample.offset
    if len(names) <= 2 and offset is None:
        if meaning.encoding is not None:
            X, predictors = _original_units(meaning.encoding, names, X, predictors)
        return FilmSample(X, y, predictors, names, sample.rows)
    columns = min(len(names), MAX_COLUMNS)
    points = min(len(y), max(MANY_CELLS // columns, 100))
    kept = np.unique(np.linspace(0, len(y) - 1, points).round().astype(np.int64))
    X, y = X[kept], y[kept]
    if len(names) > MAX_COLUMNS:
        X, predictors = _compressed(X, predictors)
    return FilmSample(X, y, predictors, (), sample.rows, None if offset is None else offset[kept])


def _original_units(
    encoding: Any, names: tuple[str, ...], X: Float, predictors: Float
) -> tuple[Float, Float]:
    """Standardised columns and their weights in the units of the data: `w / scale`, `b - sum(w centre / scale)`."""
    numbers = {c.name: c for c in encoding.numbers}
    X, predictors = X.copy(), predictors.copy()
    for j, name in enumerate(names):
        if name in numbers:
            column = numbers[name]
            X[:, j] = X[:, j] * column.scale + column.centre
            predictors[:, j] /= column.scale
            predictors[:, -1] -= predictors[:, j] * column.centre
    return X, predictors


def _compressed(X: Float, predictors: Float) -> tuple[Float, Float]:
    """Fewer columns that predict the same: the leading singular vectors of all frames' predictions.

    A path of weights visits few directions, so 20 combinations of columns show what thousands would.
    """
    slopes = np.nan_to_num(predictors[:, :-1]).clip(-1e100, 1e100)  # it may have diverged
    each = np.moveaxis(slopes, 1, 0).reshape(X.shape[1], -1)
    U, s, Vt = np.linalg.svd(X @ each, full_matrices=False)
    r = min(MAX_COLUMNS, len(s))
    short = (s[:r, None] * Vt[:r]).reshape(r, *np.delete(slopes.shape, 1))
    return U[:, :r], np.concatenate([np.moveaxis(short, 0, 1), predictors[:, -1:]], axis=1)
