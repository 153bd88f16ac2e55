"""Tables: files and frames with named columns, read in order, a leaf of rows at a time.

Files are streamed by polars and never loaded whole. A frame in memory is anything with the Arrow C
stream (polars, pandas, pyarrow, DuckDB), or pandas without pyarrow, or a dict of columns; a polars
LazyFrame is streamed like a file.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from descend.blocks import AnySplit, Split
from descend.csv_files import MISSING, CsvFile, TypeConflict, first_line, reading
from descend.errors import DataError
from descend.files import replacing
from descend.matrix import Array, Float
from descend.table_files import TableFile, find_files, open_file


@dataclass(frozen=True, slots=True)
class Slice:
    """Some consecutive rows of one file: `start` is the row in the file of the first."""

    file: int
    start: int
    frame: pl.DataFrame

    def held_out(self, split: AnySplit | None) -> Array:
        """A mask of the rows that are held out."""
        rows = self.frame.height
        if split is None:
            return np.zeros(rows, dtype=bool)
        if isinstance(split, Split) and split.group is not None:
            return split.held_out_groups(group_keys(self.frame[split.group]))
        return split.held_out(self.file, self.start, self.start + rows)

    def weights(self, name: str) -> Float:
        """The sample weight of each row. Raises `DataError` where one is missing, negative or infinite."""
        weights = as_numbers(self.frame[name])
        strange = ~(np.isfinite(weights) & (weights >= 0))
        if strange.any():
            row = int(strange.argmax())
            raise DataError(
                f"the weight column `{name}` must hold finite numbers of at least 0, "
                f"got {self.frame[name][row]!r} in row {self.start + row + 1}."
            )
        return weights


@dataclass(frozen=True)
class Table:
    """Files of one schema, or a frame; made by `open_table`."""

    files: tuple[TableFile, ...] = ()
    frame: pl.DataFrame | pl.LazyFrame | None = None
    missing: tuple[str, ...] = MISSING
    schema: Mapping[str, pl.DataType] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.schema)

    @property
    def label(self) -> str:
        """What to call it in messages and titles."""
        if not self.files:
            return "frame"
        return self.files[0].label if len(self.files) == 1 else f"{len(self.files)} files"

    def rows(self) -> tuple[int, ...]:
        """The number of rows of each file, counted without reading them where that can be."""
        if isinstance(self.frame, pl.DataFrame):
            return (self.frame.height,)
        if self.frame is not None:
            return (int(self.frame.select(pl.len()).collect(engine="streaming").item()),)
        return tuple(file.rows() for file in self.files)

    def slices(self, columns: Sequence[str], rows: int) -> Iterator[Slice]:
        """All rows in order, `rows` at a time, cut at the end of each file.

        Raises `TypeConflict` where a cell of a CSV is not of its column's type, and `DataError`
        where a file lacks a column or cannot be read.
        """
        columns = list(dict.fromkeys(columns))
        if isinstance(self.frame, pl.DataFrame):
            frame = self.frame.select(columns)
            for start in range(0, frame.height, rows):
                yield Slice(0, start, frame.slice(start, rows))
        elif self.frame is not None:
            yield from _sliced(0, "frame", self.frame.select(columns), rows)
        for number, file in enumerate(self.files):
            absent = [name for name in columns if name not in file.names]
            if absent:
                listed = ", ".join(f"`{name}`" for name in absent)
                raise DataError(f"{file.label!r} has no column {listed}, which {self.files[0].label!r} has.")
            schema = {name: self.schema[name] for name in columns}
            yield from _sliced(number, file.label, file.scan(schema).select(columns), rows)

    def widened(self, conflict: TypeConflict, columns: Sequence[str]) -> tuple[Table, list[str]]:
        """The table with text where columns of numbers hold other cells, and a sentence on each.

        All of `columns` are looked at, which costs a read, so that one more read suffices.
        """
        found = {conflict.column: conflict.cell}
        numbers = [name for name in columns if self.schema[name].is_numeric()]
        for file in self.files:
            if isinstance(file, CsvFile):
                with reading(file.label):
                    found = {**file.strange_cells(numbers), **found}
        notes = [
            f"column `{name}` seemed to hold {_kind(self.schema[name])}, but {cell!r} comes later: "
            f"the file was read again with text there (--missing {cell!r} if it stands for a missing value)"
            for name, cell in found.items()
        ]
        return replace(self, schema={**self.schema, **dict.fromkeys(found, pl.String())}), notes

    def close(self) -> None:
        """Delete the temporary copies of standard input and of files in other encodings."""
        for file in self.files:
            if file.temporary is not None:
                file.temporary.close()


def open_table(
    data: Any,
    *,
    missing: Sequence[str] | None = None,
    text_columns: Sequence[str] = (),
    encoding: str | None = None,
    exact: Sequence[str] = (),
    like: Mapping[str, pl.DataType] | None = None,
) -> Table:
    """A path, a glob, several paths, `-` for standard input, or a frame as a Table.

    Of CSVs, `text_columns` are read as text whatever they look like, `exact` keeps whole numbers
    whole, `encoding` is UTF-8 unless given, and columns that are in `like` have the type there.
    Raises `DataError` where `data` is none of these or cannot be read.
    """
    missing = MISSING if missing is None else tuple(missing)
    if not is_table(data):
        raise DataError(
            f"cannot read {type(data).__name__} as a table: give a path, several paths, or a DataFrame."
        )
    if not isinstance(data, str | os.PathLike | list | tuple):
        frame = as_frame(data)
        return Table(frame=frame, schema=dict(frame.collect_schema()))
    with ExitStack() as opened:
        files = []
        for path in find_files(data):
            files.append(open_file(path, missing, encoding))
            opened.callback(Table((files[-1],)).close)
        with reading(files[0].label):
            schema = files[0].types(exact)
        opened.pop_all()
    if isinstance(files[0], CsvFile):
        schema |= {name: kind for name, kind in (like or {}).items() if name in schema}
        schema |= {name: pl.String() for name in text_columns if name in schema}
    return Table(tuple(files), None, missing, schema)


def is_table(data: Any) -> bool:
    """Whether `data` is a path, paths, or a frame, rather than an array."""
    if isinstance(data, str | os.PathLike | pl.DataFrame | pl.LazyFrame | dict):
        return True
    if isinstance(data, list | tuple):
        return bool(data) and all(isinstance(item, str | os.PathLike) for item in data)
    return hasattr(data, "__arrow_c_stream__") or (hasattr(data, "columns") and hasattr(data, "to_numpy"))


def as_frame(data: Any) -> pl.DataFrame | pl.LazyFrame:
    """Any frame as a polars one, without a copy where the Arrow C stream allows it.

    Raises `DataError` where two columns have one name or their lengths differ.
    """
    if isinstance(data, pl.LazyFrame):
        return data
    try:
        return pl.DataFrame(data)
    except ImportError:  # pandas without pyarrow: column by column
        return pl.DataFrame({str(name): _values(data[name]) for name in data.columns}, strict=False)
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise DataError(f"cannot read {type(data).__name__} as a table: {first_line(str(error))}.") from error


def _values(column: Any) -> Any:
    """The values of a pandas column, missing ones as None where they are objects."""
    values = column.to_numpy()
    if values.dtype != object:
        return values
    return [None if missing else value for value, missing in zip(values.tolist(), column.isna(), strict=True)]


DAY_UNITS = {"ms": 86_400e3, "us": 86_400e6, "ns": 86_400e9}


def as_numbers(series: pl.Series) -> Float:
    """A column as float64, missing cells as NaN, dates and durations in days."""
    dtype = series.dtype
    if dtype == pl.String:
        series = series.str.strip_chars().cast(pl.Float64, strict=False)
    if dtype.is_temporal():
        unit = 1.0 if dtype == pl.Date else DAY_UNITS[getattr(dtype, "time_unit", None) or "ns"]
        series = series.to_physical().cast(pl.Float64) / unit
    return np.asarray(series.cast(pl.Float64).to_numpy(), dtype=np.float64)


def group_keys(series: pl.Series) -> Array:
    """A 64-bit key for the group of each row: equal for equal values, whatever file or frame holds them.

    Numbers are taken by their bits as float64, texts by BLAKE2; missing cells make a group of their own.
    """
    if series.dtype.is_numeric() or series.dtype.is_temporal():
        numbers = as_numbers(series) + 0.0  # -0.0 is 0.0
        return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    texts = series.cast(pl.String).fill_null("")
    known = texts.unique(maintain_order=True)
    hashes = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in known]
    codes = texts.cast(pl.Enum(known)).to_physical().to_numpy()
    return np.array(hashes, dtype=np.uint64)[codes]


def _sliced(number: int, label: str, lazy: pl.LazyFrame, rows: int) -> Iterator[Slice]:
    """The rows of one file."""
    start = 0
    with reading(label):
        batches = lazy.collect_batches(chunk_size=rows, maintain_order=True)
        for frame in _regular(batches, rows):
            yield Slice(number, start, frame)
            start += frame.height


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "numbers"
    return "true and false" if dtype == pl.Boolean else "dates"


def _regular(batches: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Frames of exactly `rows` rows, the last one shorter, whatever sizes come in."""
    rest: list[pl.DataFrame] = []
    held = 0
    for batch in batches:
        rest.append(batch)
        held += batch.height
        if held < rows:
            continue
        joined = pl.concat(rest) if len(rest) > 1 else batch
        whole = held - held % rows
        for start in range(0, whole, rows):
            yield joined.slice(start, rows)
        rest, held = [joined.slice(whole)], held - whole
    if held:
        yield pl.concat(rest)


def write_columns(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Write columns of equal length as Parquet."""
    pl.DataFrame(dict(columns), strict=False).write_parquet(path)


def read_columns(path: str | os.PathLike[str]) -> dict[str, list[Any]]:
    """Read the columns of a small Parquet file."""
    try:
        return pl.read_parquet(Path(path)).to_dict(as_series=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {str(path)!r}: {first_line(str(error))}.") from error


def write_frames(frames: Iterator[Mapping[str, Any]], path: str | os.PathLike[str] | None) -> None:
    """Write frames of the same columns one after the other, as CSV or Parquet by the ending of `path`.

    None is standard output, as CSV. A file appears whole or not at all.
    """
    if path is None:
        _write_csv(frames, sys.stdout.buffer)
        return
    kind = Path(path).suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise DataError(f"predictions are written as .csv or .parquet, got {str(path)!r}.")
    with replacing(path) as temporary:
        if kind == ".csv":
            with temporary.open("wb") as file:
                _write_csv(frames, file)
            return
        first = pl.DataFrame(dict(next(frames)))

        def produce(*_: Any) -> Iterator[pl.DataFrame]:
            yield first
            yield from (pl.DataFrame(dict(columns), schema=first.schema) for columns in frames)

        register_io_source(produce, schema=first.schema).sink_parquet(temporary)


def _write_csv(frames: Iterator[Mapping[str, Any]], file: Any) -> None:
    for number, columns in enumerate(frames):
        file.write(pl.DataFrame(dict(columns)).write_csv(include_header=number == 0).encode())
