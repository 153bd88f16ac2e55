"""The history of a run, in columns: what each step found, whoever made it.

`history.loss[k]` is the loss **before** step k, so row 0 is the start and the last row the end.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from descend.errors import DataError, DescendError, ShapeError
from descend.files import replacing
from descend.matrix import Array, Float
from descend.stopping import Outcome


class Step(NamedTuple):
    """One row of a history: the state of a run after `number` steps.

    `loss` includes the penalty and is over all training rows (None in the middle of a mini-batch
    epoch); `batch_loss` that of the batch about to be stepped on; `seconds` since the start;
    `outcome` is set on the last one.

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


NUMBERS = Step._fields[:9]
"""The columns of numbers, in the order of a row."""


class History:
    """The steps of a run in columns; filled by `fit`, or by anyone's loop through `record`.

    At most `frames` weight vectors are kept: when full, every second one is dropped, so that a
    million steps cost bounded memory. Numbers are kept for every step.

    >>> history = History()
    >>> for a in (4.0, 2.0, 1.0):
    ...     history.record(loss=a**2, weights=[a])
    >>> history.loss.tolist(), history.weights.tolist()
    ([16.0, 4.0, 1.0], [[4.0], [2.0], [1.0]])
    """

    def __init__(self, *, names: tuple[str, ...] | None = None, frames: int = 1_000) -> None:
        if frames < 2:
            raise DescendError(f"`frames` must be at least 2, the start and the end, got {frames!r}.")
        self.names = names
        """One name per weight, for tables and pictures."""
        self.frames = frames
        self._numbers: list[tuple[float | None, ...]] = []
        self._weights: list[Float] = []
        self._rows: list[int] = []  # the row that each kept weight vector belongs to
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
        """Add a row. `loss` is a number, a NumPy scalar or a tensor; `weights` anything array-like, copied."""
        row = len(self._numbers)
        if weights is not None:
            self._keep(row, _copied(weights))
        self._numbers.append(
            (
                row if number is None else number,
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
        """Add a row from a Step; its weights are kept as they are, not copied."""
        self._keep(len(self._numbers), step.weights)
        self._numbers.append(step[:9])

    def _keep(self, row: int, weights: Float) -> None:
        if self._last is not None and self._last[1].shape != weights.shape:
            raise ShapeError(f"`weights` had shape {self._last[1].shape} so far, got {weights.shape}.")
        self._last = (row, weights)
        if row % self._every:
            return
        if len(self._weights) >= self.frames - 1:  # one place stays free for the end
            self._every *= 2
            kept = [(r, w) for r, w in zip(self._rows, self._weights, strict=True) if r % self._every == 0]
            self._rows, self._weights = [r for r, _ in kept], [w for _, w in kept]
            if row % self._every:
                return
        self._rows.append(row)
        self._weights.append(weights)

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
        return np.array([row for row, _ in self._kept()], dtype=np.int64)

    @property
    def weights(self) -> Float:
        """The kept weights, of shape (frames, *weights.shape), for the rows in `weight_rows`."""
        kept = [w for _, w in self._kept()]
        return np.stack(kept) if kept else np.empty((0, 0))

    def _kept(self) -> list[tuple[int, Float]]:
        kept = list(zip(self._rows, self._weights, strict=True))
        if self._last is not None and (not kept or kept[-1][0] != self._last[0]):
            kept.append(self._last)
        return kept

    def columns(self) -> dict[str, list[Any]]:
        """The columns that hold anything, as lists with None where a row has no value, weights last."""
        table: dict[str, list[Any]] = {
            "step" if name == "number" else name: column
            for name, column in zip(NUMBERS, map(list, zip(*self._numbers, strict=True)), strict=True)
            if any(value is not None for value in column)
        }
        kept = {row: w.ravel() for row, w in self._kept()}
        if kept:
            size = next(iter(kept.values())).size
            names = self.names if self.names and len(self.names) == size else [str(i) for i in range(size)]
            for i, name in enumerate(names):
                table[f"weight:{name}"] = [float(kept[r][i]) if r in kept else None for r in range(len(self))]
        return table

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `.csv` or `.parquet`: one row per step, `weight:NAME` columns, empty where not kept."""
        kind, table = Path(path).suffix.lower(), self.columns()
        if kind not in (".csv", ".parquet"):
            raise DataError(f"a history is saved as .csv or .parquet, got {str(path)!r}.")
        with replacing(path) as temporary:
            if kind == ".parquet":
                from descend.tables import write_columns

                write_columns(table, temporary)
                return
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(table)
                for row in zip(*table.values(), strict=True):
                    writer.writerow(["" if value is None else repr(value) for value in row])

    @staticmethod
    def load(path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote."""
        if Path(path).suffix.lower() == ".parquet":
            from descend.tables import read_columns

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


def _number(value: Any) -> float | None:
    """A loss as a plain number; tensors are detached by `float`, or by hand where they need it."""
    if value is None or type(value) is float:
        return value
    return float(value.detach() if hasattr(value, "detach") else value)


def _copied(weights: Any) -> Float:
    if hasattr(weights, "detach"):
        weights = weights.detach().cpu().numpy()
    return np.array(weights, dtype=np.float64)
