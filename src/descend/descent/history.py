"""The history of a run, in columns: what each step found, whoever made it.

`history.loss[k]` is the loss **before** step k, so row 0 is the start and the last row the end.
"""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descend.descent.stopping import Outcome, Walk
from descend.doors import door
from descend.engines.matrix import Array, Float, is_tensor
from descend.errors import DataError, DescendError, ShapeError
from descend.files import replacing

if TYPE_CHECKING:
    from descend.pictures.film import Film


class Step(NamedTuple):
    """One row of a history: the state of a run after `number` steps.

    `epoch` counts passes over the rows. `loss` includes the penalty and is over all training rows (None in the
    middle of a mini-batch epoch); `batch_loss` is that of the batch about to be stepped on, `validation_loss` that of
    the validation rows. `gradient_norm` is the Euclidean length of the gradient at `weights`, of shape (features,) or
    (features, outputs), the intercept last. `learning_rate` is the rate of the step that led here, `seconds` the time
    since the start, `rows_seen` how many rows were read for updates; `outcome` is set on the last step alone.
    `state` is that of the optimizer before its next update and `walk` what else is needed to go on from here, in
    `steps(resume=step)`: plain values that can be pickled. A `History` keeps neither.

    >>> import descend
    >>> objective = descend.Objective.of([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> *_, last = descend.steps(objective, descend.Exact())
    >>> last.number, last.weights.round(12).tolist(), last.outcome.name
    (1, [2.0, 1.0], 'CONVERGED')
    """

    number: int
    epoch: float | None = None
    loss: float | None = None
    batch_loss: float | None = None
    validation_loss: float | None = None
    gradient_norm: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None
    rows_seen: int | None = None
    weights: Float = np.empty(0)
    outcome: Outcome | None = None
    state: Any = None
    walk: Walk | None = None

    def __repr__(self) -> str:
        """The fields that tell where the walk is, without what it needs to go on."""
        shown = zip(self._fields[:-2], self, strict=False)
        return f"Step({', '.join(f'{name}={value!r}' for name, value in shown)})"


NUMBERS = Step._fields[:9]
"""The columns of numbers, in the order of a row."""


class History:
    """The steps of a run in columns; filled by `fit`, or by anyone's loop through `record`.

    `names` are those of the weights, one each. At most `frames` weight vectors are kept: when full, every second one
    is dropped, so that a million steps cost bounded memory. Numbers are kept for every step up to a million `rows`;
    then every second row is dropped too, but for those with weights, the last, and in a mini-batch run the losses
    over all rows. `number` tells which step a row is of. Each number of a `Step` is a column, an array of shape
    (rows,) with NaN where a step has none: `history.loss`, `history.gradient_norm`. Raises `DescendError` for fewer
    than 2 `frames` or 16 `rows`.

    >>> history = History()
    >>> for a in (4.0, 2.0, 1.0):
    ...     history.record(loss=a**2, weights=[a])
    >>> history.loss.tolist(), history.weights.tolist()
    ([16.0, 4.0, 1.0], [[4.0], [2.0], [1.0]])
    """

    def __init__(
        self, *, names: tuple[str, ...] | None = None, frames: int = 1_000, rows: int = 1_000_000
    ) -> None:
        for name, limit, least in (("frames", frames, 2), ("rows", rows, 16)):
            if limit < least:
                raise DescendError(f"`{name}` must be at least {least}, got {limit!r}.")
        self.names = names
        """One name per weight, for tables and pictures."""
        self.frames, self.rows = frames, rows
        self._numbers: list[tuple[float | None, ...]] = []
        self._places = array("q")  # which of the rows recorded each row kept is
        self._count = 0
        self._stride = 1
        self._loose = False  # whether the newest row goes when the next one comes
        self._weights: list[Float] = []
        self._weight_places: list[int] = []
        self._weight_count = 0
        self._every = 1
        self._last: tuple[int, Float] | None = None

    def record(
        self,
        loss: Any = None,
        weights: Any = None,
        *,
        number: int | None = None,
        epoch: float | None = None,
        batch_loss: Any = None,
        validation_loss: Any = None,
        gradient_norm: float | None = None,
        learning_rate: float | None = None,
        seconds: float | None = None,
        rows_seen: int | None = None,
    ) -> None:
        """Add a row. `loss` is a number, a NumPy scalar or a tensor; `weights` is copied.

        `weights` is anything array-like, a tensor or a Parameter, or several of them, as in
        `model.parameters()`, which are laid end to end. `number`, that of the step, counts up unless given; `epoch`,
        `batch_loss`, `validation_loss`, `gradient_norm`, `learning_rate`, `seconds` and `rows_seen` are as in
        `Step`. Costs 1 to 2 microseconds for a few weights.
        Raises `ShapeError` where their shape is not that of the rows before.
        """
        if weights is not None:
            self._keep(_copied(weights))
        self._append(
            (
                self._count if number is None else number,
                epoch,
                _number(loss),
                _number(batch_loss),
                _number(validation_loss),
                gradient_norm,
                learning_rate,
                seconds,
                rows_seen,
            )
        )

    def add(self, step: Step) -> None:
        """Add a row from `step`, a Step; its weights are kept as they are, not copied."""
        self._keep(step.weights)
        self._append(step[:9])

    def _keep(self, weights: Float) -> None:
        if self._last is not None and self._last[1].shape != weights.shape:
            raise ShapeError(f"`weights` had shape {self._last[1].shape} so far, got {weights.shape}.")
        self._last = (self._count, weights)
        number = self._weight_count
        self._weight_count += 1
        if number % self._every:
            return
        if len(self._weights) >= self.frames - 1:  # one place stays free for the end
            self._thin_weights()
            if number % self._every:
                return
        self._weights.append(weights)
        self._weight_places.append(self._count)

    def _append(self, numbers: tuple[float | None, ...]) -> None:
        """Add the numbers of a row whose weights, where it has any, are kept already."""
        if self._loose and not (self._last is not None and self._places[-1] == self._last[0]):
            self._numbers.pop()
            self._places.pop()
        self._numbers.append(numbers)
        self._places.append(self._count)
        if self._stride > 1:
            framed = bool(self._weight_places) and self._weight_places[-1] == self._count
            self._loose = not (framed or self._count % self._stride == 0 or _is_epoch(numbers))
        self._count += 1
        if len(self._numbers) > self.rows:
            self._thin()

    def _thin_weights(self) -> None:
        self._every *= 2
        self._weights, self._weight_places = self._weights[::2], self._weight_places[::2]

    def _thin(self) -> None:
        """Drop every second row; see the class for those that stay."""
        self._stride *= 2
        while len(self._weights) > self.rows // 8:
            self._thin_weights()
        framed = {*self._weight_places, self._places[-1]} | ({self._last[0]} if self._last else set())
        epochs = sum(map(_is_epoch, self._numbers)) <= self.rows // 8
        kept = [
            (place, numbers)
            for place, numbers in zip(self._places, self._numbers, strict=True)
            if place % self._stride == 0 or place in framed or (epochs and _is_epoch(numbers))
        ]
        self._places, self._numbers = array("q", [p for p, _ in kept]), [n for _, n in kept]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getattr__(self, name: str) -> Float:
        if name in NUMBERS:
            column = NUMBERS.index(name)
            return np.array([row[column] for row in self._numbers], dtype=np.float64)  # None becomes NaN
        raise AttributeError(f"History has no column {name!r}; it has {', '.join(NUMBERS)}, weights.")

    @property
    def weight_rows(self) -> Array:
        """The rows whose weights are kept; the last row is always among them."""
        return np.searchsorted(
            np.array(self._places, dtype=np.int64), [place for place, _ in self._kept()]
        ).astype(np.int64)

    @property
    def weights(self) -> Float:
        """The kept weights, of shape `(frames, *weights.shape)`, for the rows in `weight_rows`."""
        kept = [w for _, w in self._kept()]
        return np.stack(kept) if kept else np.empty((0, 0))

    def _kept(self) -> list[tuple[int, Float]]:
        kept = list(zip(self._weight_places, self._weights, strict=True))
        if self._last is not None and (not kept or kept[-1][0] != self._last[0]):
            kept.append(self._last)
        return kept

    def animate(self, x: Any = None, y: Any = None, **how: Any) -> Film:
        """The history as a film on the data `(x, y)`: shows itself in a notebook; `save` writes a page, GIF or video.

        `x` has shape (rows, features), `y` (rows,); the weights recorded have an entry for each column of `x`, or one
        more, the intercept, last. The keyword arguments in `how` are `loss`, "squared-error" unless given, `classes`,
        the names of the classes, `target`, that of `y`, and `interval`, milliseconds a frame. Without data losses and
        weights are shown. Raises `DescendError` where nothing was recorded, `ShapeError` where shapes do not fit.

        >>> history = History(names=("slope",))
        >>> for a in (4.0, 2.0, 1.0):
        ...     history.record(loss=(a - 1) ** 2, weights=[a])
        >>> history.animate([[1.0], [2.0]], [1.0, 2.0]).picture
        'line'
        """
        film: Film = door("film_of_history")(self, x, y, **how)
        return film

    def plot(self, x: Any, y: Any, *, ax: Any = None, **how: Any) -> Any:
        """The data `(x, y)`, the start and the model of the last weights; drawn on `ax` where given, returns the Axes.

        `x`, `y` and the keyword arguments in `how` are those of `animate`.
        """
        return door("plots").plot_model(self.animate(x, y, **how), ax=ax)

    def plot_loss(self, *, ax: Any = None) -> Any:
        """The losses step by step, on a log scale where they are above zero; drawn on `ax` or new Axes, returns them.

        >>> history = History()
        >>> for a in (4.0, 2.0, 1.0):
        ...     history.record(loss=a**2, weights=[a])
        >>> history.plot_loss().lines[0].get_ydata().tolist()
        [16.0, 4.0, 1.0]
        """
        return door("plots").plot_loss(self, ax=ax)

    def plot_coefficients(self, *, ax: Any = None) -> Any:
        """The weights step by step, the eight that move most, named; drawn on `ax` or new Axes, returns them."""
        return door("plots").plot_coefficients(self, ax=ax)

    def surface(self, x: Any, y: Any, *, ax: Any = None, **how: Any) -> Any:
        """Contours of the loss over two weights and the path there; drawn on `ax` or new Axes, returns them.

        Of more than two weights a slice through the two that moved most is drawn, and said to be one.
        `x`, `y` and the keyword arguments in `how` are those of `animate`.
        """
        return door("plots").plot_surface(self.animate(x, y, **how), ax=ax)

    def columns(self) -> dict[str, list[Any]]:
        """The columns that hold anything, as lists with None where a row has no value, weights last."""
        table: dict[str, list[Any]] = {
            "step" if name == "number" else name: column
            for name, column in zip(NUMBERS, map(list, zip(*self._numbers, strict=True)), strict=True)
            if any(value is not None for value in column)
        }
        kept = {row: w.ravel() for row, w in zip(self.weight_rows.tolist(), self.weights, strict=True)}
        if kept:
            size = next(iter(kept.values())).size
            names = self.names if self.names and len(self.names) == size else [str(i) for i in range(size)]
            for i, name in enumerate(names):
                table[f"weight:{name}"] = [float(kept[r][i]) if r in kept else None for r in range(len(self))]
        return table

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `path`, `.csv` or `.parquet`: one row per step, `weight:NAME` columns, empty where not kept.

        Raises `DataError` for another ending.
        """
        kind, table = Path(path).suffix.lower(), self.columns()
        if kind not in (".csv", ".parquet"):
            raise DataError(f"a history is saved as .csv or .parquet, got {str(path)!r}.")
        with replacing(path) as temporary:
            if kind == ".parquet":
                from descend.tables.table import write_columns

                write_columns(table, temporary)
                return
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(table)
                for row in zip(*table.values(), strict=True):
                    writer.writerow(["" if value is None else repr(value) for value in row])

    @staticmethod
    def load(path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote to `path`. Raises `DataError` where the file is something else."""
        if Path(path).suffix.lower() == ".parquet":
            from descend.tables.table import read_columns

            table = read_columns(path)
        else:
            table = _read_csv(Path(path))
        if "step" not in table:
            raise DataError(f"{str(path)!r} is not a history: it has no column `step`.")
        names = [name for name in table if name.startswith("weight:")]
        history = History(
            names=tuple(name.removeprefix("weight:") for name in names) or None,
            frames=max(len(table["step"]), 2),
        )
        for row in range(len(table["step"])):
            weights = [table[name][row] for name in names]
            numbers = {
                name: table[key][row]
                for name in NUMBERS
                if (key := "step" if name == "number" else name) in table
            }
            history.record(**numbers, weights=weights if names and weights[0] is not None else None)
        return history

    def __repr__(self) -> str:
        losses = [row[2] for row in self._numbers if row[2] is not None]
        if not losses:
            return f"History({len(self)} rows)"
        return f"History({len(self)} rows, loss {losses[0]:.6g} -> {losses[-1]:.6g})"


def laid_out(history: History, places: Array) -> History:
    """The same rows with entry `places[i, k]` of their flat weights at `[i, k]`, and the names in that order.

    >>> history = History()
    >>> history.record(loss=1.0, weights=[1.0, 2.0, 3.0, 4.0])
    >>> laid_out(history, np.array([[0, 2], [1, 3]])).weights.tolist()
    [[[1.0, 3.0], [2.0, 4.0]]]
    """
    made = copy(history)
    made._numbers, made._places = history._numbers.copy(), history._places[:]
    made._weights = [w[places] for w in history._weights]
    made._weight_places = history._weight_places.copy()
    if history._last is not None:
        made._last = history._last[0], history._last[1][places]
    if history.names is not None and len(history.names) == places.size:
        made.names = tuple(history.names[i] for i in places.ravel())
    return made


def _read_csv(path: Path) -> dict[str, list[Any]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        names, body = rows[0], rows[1:]
        return {name: [_parsed(row[i]) for row in body] for i, name in enumerate(names)}
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}.") from error
    except (IndexError, ValueError) as error:
        raise DataError(f"{str(path)!r} is not a history that descend wrote: {error}.") from error


def _parsed(cell: str) -> float | int | None:
    if not cell:
        return None
    number = float(cell)
    return int(number) if cell.isdigit() else number


def _is_epoch(numbers: tuple[float | None, ...]) -> bool:
    """Whether a row of a mini-batch run holds the loss over all rows."""
    return numbers[2] is not None and numbers[3] is not None


def _number(value: Any) -> float | None:
    """A loss as a plain number; `item` reads a tensor without its history of gradients, and an array of one entry."""
    if value is None or type(value) is float:
        return value
    return float(value.item() if is_tensor(value) or isinstance(value, np.ndarray) else value)


FEW = 64
"""Up to so many entries a tensor is copied faster through a list than through NumPy's view of it."""


def _copied(weights: Any) -> Float:
    if type(weights) is np.ndarray:
        return weights.astype(np.float64)
    if is_tensor(weights):
        if weights.numel() <= FEW:
            return np.array(weights.tolist(), dtype=np.float64)
        return np.array(weights.detach().cpu().double().numpy())
    if isinstance(weights, Iterable) and not hasattr(
        weights, "__array__"
    ):  # NumPy's protocol: an array of others
        several = weights if type(weights) is list else list(weights)  # it may be `model.parameters()`
        if several and is_tensor(several[0]):
            return np.concatenate([_copied(tensor).ravel() for tensor in several])
        weights = several
    return np.array(weights, dtype=np.float64)
