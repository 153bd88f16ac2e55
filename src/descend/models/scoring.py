"""A saved model at work on a table: metrics of its rows, predictions written beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, cast

import numpy as np

from descend.engines.blocks import Block, Source, leaf_rows
from descend.engines.engine import Engine, Threads
from descend.engines.remote import RemoteEngine
from descend.errors import DataError, DescendError
from descend.models.metrics import Metrics, evaluate
from descend.models.model import Model
from descend.tables.cells import Unknowns, offsets_of
from descend.tables.encoded import EncodedTable
from descend.tables.encoding import Encoding, label_text, open_encoded
from descend.tables.files import URL
from descend.tables.table import RangeHandle, RowRange, Slice, Table, row_runs, unit_rows, write_frames


def score(
    model: Model,
    data: Any,
    engine: Engine | None = None,
    *,
    encoding: str | None = None,
    weight: str | None = None,
) -> Metrics:
    """Metrics of the rows of a table that have a target, beside the constant of the training rows.

    Their `note` tells of rows of classes unknown to the model, and of cells that it could not take as they
    are; workers of a cluster do not count these.
    `encoding` is that of a CSV that is not UTF-8, `weight` names a column of sample weights. Raises
    `DescendError` for a model of arrays, and `DataError` where a column is absent.
    """
    learned = _encoding(model)
    with closing(_open(model, data, (), encoding)) as table:
        for name, what in ((learned.target.name, "the target"), (weight, "the weights")):
            if name is not None and name not in table.names:
                raise DataError(
                    f"{table.label!r} has no column `{name}`, {what}: there is nothing to compare with."
                )
        whole = EncodedTable(table, learned, budget=0, spill=False, weight=weight, offset=model.offset)
        session = (engine or Threads()).open(whole.side(False))
        try:
            constant = np.array(model.facts["constant"])
            metrics = evaluate(session, model.loss, model.weights, model.intercept, constant)
            notes = [metrics.note, *whole.unknowns.sentences()]
            return replace(metrics, note="; ".join(note for note in notes if note) or None)
        finally:
            session.close()


def write_predictions(
    model: Model,
    data: Any,
    path: str | os.PathLike[str] | None,
    keep: Sequence[str] = (),
    *,
    encoding: str | None = None,
    engine: Engine | None = None,
    interval: float | None = None,
) -> Written:
    """Predict every row of a table and write `.csv` or `.parquet`, or CSV to standard output for None.

    Columns are those of `keep`, then `prediction`, then `probability:CLASS` where classes have probabilities, then the
    ends of intervals at the level `interval`, those of the mean and of observations; rows keep their order and are streamed. `encoding` is that of a CSV that is not UTF-8. With an `engine` of other
    processes `path` is a new folder, which gets a Parquet file for each run of rows, in order by name. Returns
    the number of rows, and what of them could not be taken as it is.
    """
    with closing(_open(model, data, keep, encoding)) as table:
        absent = [name for name in keep if name not in table.names]
        if absent:
            raise DataError(f"{table.label!r} has no column `{absent[0]}` to keep.")
        if interval is not None:
            model.check_interval(interval)
        taken = [
            "prediction",
            *(f"probability:{label_text(c)}" for c in model.classes or ()),
            *ends_of(model),
        ]
        if clash := [name for name in keep if name in taken]:
            raise DataError(
                f"`keep` names `{clash[0]}`, which is a column of the predictions: rename it first."
            )
        columns = tuple(dict.fromkeys((*model.columns, *keep)))
        if isinstance(engine, RemoteEngine):
            if path is None:
                raise DescendError("workers write files: give the name of a new folder for them (--out).")
            writer = PartWriter(model, columns, tuple(keep), new_folder(path), interval)
            with engine.open(cast(Source, PredictionSource(table, columns))) as session:
                return reduce(Written.merge, session.map(writer), Written())
        written = Written()
        pieces = table.slices(columns, leaf_rows(len(_encoding(model).columns)))
        write_frames(predicted(model, pieces, keep, written, interval), path)
        return written


def _encoding(model: Model) -> Encoding:
    if model.encoding is None:
        raise DescendError(
            "this model was fitted on arrays; it can `predict(x)` in Python, but knows no columns."
        )
    encoding: Encoding = model.encoding
    return encoding


def _open(model: Model, data: Any, keep: Sequence[str], encoding: str | None) -> Table:
    return open_encoded(data, _encoding(model), model.facts.get("missing"), keep, encoding, model.offset)


PART_UNITS = 8
"""Runs of so many times the rows that are read together make a file."""


@dataclass
class Written:
    """How many rows were predicted, and what of them could not be taken as it is."""

    rows: int = 0
    unknowns: Unknowns = field(default_factory=Unknowns)

    def merge(self, other: Written) -> Written:
        """Both together, in the memory of this one."""
        self.rows += other.rows
        self.unknowns.merge(other.unknowns)
        return self


def ends_of(model: Model) -> dict[str, str]:
    """What the columns of the ends of its intervals are named, and what they are intervals of."""
    mean = "mean" if model.classes is None else "probability"
    found = {f"{mean}_low": "mean", f"{mean}_high": "mean"}
    if model.loss.closed_form:
        found |= {"observation_low": "observation", "observation_high": "observation"}
    return found


def predicted(
    model: Model,
    pieces: Iterator[Slice],
    keep: Sequence[str],
    written: Written,
    interval: float | None = None,
) -> Iterator[Mapping[str, Any]]:
    """Columns of predictions, a slice at a time; what they are made of is added to `written`."""
    for piece in pieces:
        assert model.encoding is not None
        X, unknowns = model.encoding.transform(piece.frame)
        offset = None if model.offset is None else offsets_of(piece, model.offset)
        z = model.linear_predictor(X, offset)
        columns: dict[str, Any] = {name: piece.frame[name] for name in keep}
        columns["prediction"] = model.decide(z)
        if model.has_probabilities:
            p = model.probabilities(z)
            columns |= {f"probability:{label_text(c)}": p[:, i] for i, c in enumerate(model.classes or ())}
        if interval is not None:
            several = {of: model.interval(X, z, interval, of) for of in set(ends_of(model).values())}
            columns |= {
                name: several[of][:, name.endswith("high") * 1] for name, of in ends_of(model).items()
            }
        written.merge(Written(len(z), unknowns))
        yield columns


@dataclass(frozen=True)
class PredictionRange(RangeHandle):
    """A run of rows that becomes one file: a part of one leaf."""

    index: int
    rows: RowRange

    def leaves(self) -> Iterator[PredictionRange]:
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

    def handles(self) -> list[PredictionRange]:
        """One run for each file to write."""
        unit = PART_UNITS * unit_rows(self.table.starts()[1], len(self.columns))
        runs = row_runs(self.table, self.columns, unit)
        return [PredictionRange(index, run) for index, run in enumerate(runs)]


@dataclass(frozen=True)
class PartWriter:
    """Writes the predictions of a run to `part-00000.parquet` and so on."""

    model: Model
    columns: tuple[str, ...]
    keep: tuple[str, ...]
    folder: str
    interval: float | None = None

    def __call__(self, leaf: Any) -> Written:
        """Predict a run. A file appears whole or not at all, so that another worker may do it again."""
        written = Written()
        assert self.model.encoding is not None
        pieces = leaf.rows.slices(self.columns, leaf_rows(len(self.model.encoding.columns)))
        frames = predicted(self.model, pieces, self.keep, written, self.interval)
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
