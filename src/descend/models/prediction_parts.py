"""Predictions written where the rows are: one Parquet file per run of rows, by the workers of a remote engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from descend.engines.blocks import Block, leaf_rows
from descend.errors import DataError
from descend.models.model import Model
from descend.tables.encoding import label_text
from descend.tables.files import URL
from descend.tables.partitions import RowRun, row_runs, unit_rows
from descend.tables.surprises import Surprises
from descend.tables.table import Slice, Table, write_frames

PART_UNITS = 8
"""Runs of so many times the rows that are read together make a file."""


@dataclass
class Written:
    """How many rows were predicted, and what of them could not be taken as it is."""

    rows: int = 0
    surprises: Surprises = field(default_factory=Surprises)

    def merge(self, other: Written) -> Written:
        """Both together, in the memory of this one."""
        self.rows += other.rows
        self.surprises.merge(other.surprises)
        return self


def predicted(
    model: Model, pieces: Iterator[Slice], keep: Sequence[str], written: Written
) -> Iterator[Mapping[str, Any]]:
    """Columns of predictions, a slice at a time; what they are made of is added to `written`."""
    for piece in pieces:
        assert model.encoding is not None
        X, surprises = model.encoding.transform(piece.frame)
        z = model.linear_predictor(X)
        columns: dict[str, Any] = {name: piece.frame[name] for name in keep}
        columns["prediction"] = model.decide(z)
        if model.classes is not None:
            p = model.probabilities(z)
            columns |= {f"probability:{label_text(c)}": p[:, i] for i, c in enumerate(model.classes)}
        written.merge(Written(len(z), surprises))
        yield columns


@dataclass(frozen=True)
class PredictionRun:
    """A run of rows that becomes one file: a part of one leaf."""

    index: int
    rows: RowRun

    def leaves(self) -> Iterator[PredictionRun]:
        """The run itself."""
        yield self

    def block(self) -> Block | None:
        """None: nothing is summed."""


@dataclass(frozen=True)
class PredictionSource:
    """The rows of a table for those who predict them."""

    table: Table
    columns: tuple[str, ...]
    feature_names: tuple[str, ...] = ()

    def handles(self) -> list[PredictionRun]:
        """One run for each file to write."""
        unit = PART_UNITS * unit_rows(self.table.starts()[1], len(self.columns))
        runs = row_runs(self.table, self.columns, unit)
        return [PredictionRun(index, run) for index, run in enumerate(runs)]


@dataclass(frozen=True)
class PartWriter:
    """Writes the predictions of a run to `part-00000.parquet` and so on."""

    model: Model
    columns: tuple[str, ...]
    keep: tuple[str, ...]
    folder: str

    def __call__(self, leaf: Any) -> Written:
        """Predict a run. A file appears whole or not at all, so that another worker may do it again."""
        written = Written()
        assert self.model.encoding is not None
        pieces = leaf.rows.slices(self.columns, leaf_rows(len(self.model.encoding.columns)))
        frames = predicted(self.model, pieces, self.keep, written)
        write_frames(iter(frames), Path(self.folder) / f"part-{leaf.index:05d}.parquet")
        return written


def new_folder(path: Any) -> str:
    """A folder for parts, made if need be. Raises `DataError` where it holds something, or is a URL."""
    if URL.match(str(path)):
        raise DataError(
            f"predictions are written to a folder on a disk that all workers share, got {str(path)!r}."
        )
    folder = Path(path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot write to the folder {str(path)!r}: {error.strerror}.") from error
    if not empty:
        raise DataError(f"the folder {str(path)!r} is not empty: give a new one for the parts.")
    return str(folder)
