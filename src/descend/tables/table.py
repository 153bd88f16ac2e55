"""Tables: files and frames with named columns, read in order, a leaf of rows at a time.

Files are streamed by polars and never loaded whole. A frame in memory is anything with the Arrow C
stream (polars, pandas, pyarrow, DuckDB), or pandas without pyarrow, or a dict of columns; a polars
LazyFrame is streamed like a file.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from polars.io.plugins import register_io_source
from polars.selectors import by_name

from descend.errors import DataError
from descend.files import replacing
from descend.tables.csv_files import MISSING, CsvFile, first_line, reading
from descend.tables.files import TableFile, find_files, open_file

LARGE = 2**26
"""Bytes from which a saving in the reading of CSVs is worth a look at their first rows."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some consecutive rows of one file: `start` is the row in the file of the first.

    `file` is its place among the sorted paths, whatever order they were given in.
    """

    file: int
    start: int
    frame: pl.DataFrame


class Rows(Protocol):
    """Rows of named columns that can be read again and again: a `Table`, or what is kept of one."""

    def slices(self, columns: Sequence[str], rows: int) -> Iterator[Slice]: ...

    def empty(self, columns: Sequence[str]) -> pl.DataFrame: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Table:
    """Files of one schema, or a frame; made by `open_table`."""

    files: tuple[TableFile, ...] = ()
    places: tuple[int, ...] = ()
    """The number of each file: its place among the sorted paths."""
    frame: pl.DataFrame | pl.LazyFrame | None = None
    missing: tuple[str, ...] = MISSING
    schema: Mapping[str, pl.DataType] = field(default_factory=dict)
    key: str = field(default_factory=lambda: uuid.uuid4().hex, init=False)
    """What no other table has, nor the same with other types."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.schema)

    @property
    def label(self) -> str:
        """What to call it in messages and titles."""
        if not self.files:
            return "frame"
        return self.files[0].label if len(self.files) == 1 else f"{len(self.files)} files"

    @property
    def file_bytes(self) -> int:
        """The size of the files; those at a URL, which would have to be asked for it, count as nothing."""
        return sum(file.path.stat().st_size for file in self.files if isinstance(file.path, Path))

    @property
    def in_memory(self) -> bool:
        """Whether it is a frame whose rows need no reading."""
        return isinstance(self.frame, pl.DataFrame)

    @property
    def parsed(self) -> bool:
        """Whether reading it means parsing text, which takes longer than most of what follows."""
        return any(isinstance(file, CsvFile) for file in self.files)

    def empty(self, columns: Sequence[str]) -> pl.DataFrame:
        """These columns without rows."""
        return pl.DataFrame(schema={name: self.schema[name] for name in columns})

    def starts(self) -> tuple[tuple[int, ...], int]:
        """The number of rows before each file, by its number, and of all; counted at a fraction of a read."""
        if self.frame is not None:
            return (0,), int(self.frame.lazy().select(pl.len()).collect(engine="streaming").item())
        starts, total = [0] * len(self.files), 0
        for place, rows in zip(self.places, self.file_rows, strict=True):
            starts[place] = total
            total += rows
        return tuple(starts), total

    @cached_property
    def file_rows(self) -> tuple[int, ...]:
        """The number of rows of each file."""
        counts = []
        for file in self.files:
            with reading(file.label):
                counts.append(file.rows())
        return tuple(counts)

    def slices(self, columns: Sequence[str], rows: int) -> Iterator[Slice]:
        """All rows in order, `rows` at a time, cut at the end of each file; one empty slice for no rows.

        Raises `DataError` where a file cannot be read, `TypeConflict` where a cell is not of its type.
        """
        columns = list(dict.fromkeys(columns))
        if isinstance(self.frame, pl.DataFrame):
            frame = self.frame[columns]
            for start in range(0, max(frame.height, 1), rows):
                yield Slice(0, start, frame.slice(start, rows))
            return
        schema = {name: self.schema[name] for name in columns}
        if self.frame is not None:
            yield from sliced(0, "frame", self.frame, schema, rows)
        for file, place in zip(self.files, self.places, strict=True):
            absent = [name for name in columns if name not in file.names]
            if absent:
                listed = ", ".join(f"`{name}`" for name in absent)
                raise DataError(f"{file.label!r} has no column {listed}, which {self.files[0].label!r} has.")
            yield from sliced(place, file.label, file.scan(schema), schema, rows)

    def head(self, column: str, rows: int) -> pl.Series:
        """The first cells of a column, at the cost of reading no more than those."""
        lazy = self.files[0].scan(self.schema) if self.frame is None else self.frame.lazy()
        with reading(self.label):
            return lazy.select(by_name(column)).head(rows).collect(engine="streaming")[column]

    def as_floats(self, columns: Sequence[str]) -> Table:
        """The same table with whole numbers of CSVs read as floats: a fraction further on does no harm."""
        if not self.parsed:
            return self
        whole = [name for name in columns if self.schema[name].is_integer()]
        return replace(self, schema={**self.schema, **dict.fromkeys(whole, pl.Float64())})

    def unmarked(self, columns: Sequence[str]) -> Table | None:
        """The same table whose CSVs are not searched for missing cells, where they are large and show none.

        None where nothing would be gained. Reading it raises `TypeConflict` where there is one after all.
        """
        if self.file_bytes < LARGE or not all(isinstance(file, CsvFile) for file in self.files):
            return None
        types = {name: self.schema[name] for name in columns}
        files = tuple(file.unmarked(types) for file in self.files if isinstance(file, CsvFile))
        return None if any(file.marked for file in files) else replace(self, files=files)

    def widened(self) -> Table:
        """The same table with types that every cell of every CSV fits, which costs a read.

        Whole numbers become floats, numbers become text, and so do dates and truths.
        """
        schema, files = dict(self.schema), list(self.files)
        for place, file in enumerate(files):
            if isinstance(file, CsvFile):
                with reading(file.label):
                    types, padded = file.fitting(
                        {name: schema[name] for name in file.names if name in schema}
                    )
                schema |= types
                files[place] = replace(file, padded=padded)
        return replace(self, schema=schema, files=tuple(files))

    def close(self) -> None:
        """Delete the temporary copies of standard input and of files in other encodings."""
        for file in self.files:
            file.close()


def open_table(
    data: Any,
    *,
    missing: Sequence[str] | None = None,
    text_columns: Sequence[str] = (),
    number_columns: Sequence[str] = (),
    encoding: str | None = None,
) -> Table:
    """A path, a glob, the URL of Parquet files, several of these, `-` for standard input, or a frame as a Table.

    Of CSVs, `text_columns` are read as text whatever they look like, in `number_columns` a whole
    number may be followed by a broken one, and `encoding` is UTF-8 unless given. Raises `DataError`
    where `data` is none of these or cannot be read.
    """
    missing = MISSING if missing is None else tuple(missing)
    if not is_table(data):
        raise DataError(
            f"cannot read {type(data).__name__} as a table: give a path, several paths, or a DataFrame."
        )
    if not isinstance(data, str | os.PathLike | list | tuple):
        frame = as_frame(data)
        return Table(frame=frame, schema=dict(frame.collect_schema()))
    paths = find_files(data)
    files: list[TableFile] = []
    with ExitStack() as opened:
        for path in paths:
            files.append(open_file(path, missing, encoding))
            opened.callback(files[-1].close)
        first = next((file for file in files if file.has_rows()), files[0])
        with reading(first.label):
            schema = first.types()
        opened.pop_all()
    if isinstance(first, CsvFile):
        padded = first.padding
        files = [replace(file, padded=padded) if isinstance(file, CsvFile) else file for file in files]
        schema |= {name: pl.String() for name in text_columns if name in schema}
    place = {path: i for i, path in enumerate(sorted(paths, key=lambda path: (isinstance(path, str), path)))}
    table = Table(tuple(files), tuple(place[path] for path in paths), None, missing, schema)
    return table.as_floats([name for name in number_columns if name in schema])


def is_table(data: Any) -> bool:
    """Whether `data` is a path, paths, or a frame, rather than an array."""
    if isinstance(data, str | os.PathLike | pl.DataFrame | pl.LazyFrame | dict):
        return True
    if isinstance(data, list | tuple):
        return bool(data) and all(isinstance(item, str | os.PathLike) for item in data)
    return hasattr(data, "__arrow_c_stream__") or (hasattr(data, "columns") and hasattr(data, "to_numpy"))


def as_frame(data: Any) -> pl.DataFrame | pl.LazyFrame:
    """Any frame as a polars one, without a copy where the Arrow C stream allows it.

    Raises `DataError` where its columns are not of one type and one length each, or two have one name.
    """
    if isinstance(data, pl.LazyFrame):
        return data
    try:
        if hasattr(data, "columns") and not hasattr(data, "__arrow_c_stream__"):
            raise ImportError
        return pl.DataFrame(data, strict=not isinstance(data, dict))
    except ImportError:  # pandas without pyarrow, or a frame like it: column by column
        return pl.DataFrame({str(name): _values(data[name]) for name in data.columns}, strict=False)
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        TypeError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise DataError(f"cannot read {type(data).__name__} as a table: {first_line(str(error))}.") from error


def _values(column: Any) -> Any:
    """The values of a pandas column, missing ones as None where they are objects."""
    values = column.to_numpy()
    if values.dtype != object:
        return values
    return [None if absent else value for value, absent in zip(values.tolist(), column.isna(), strict=True)]


def sliced(
    number: int, label: str, lazy: pl.LazyFrame, schema: Mapping[str, pl.DataType], rows: int, start: int = 0
) -> Iterator[Slice]:
    """The rows of one file, of which the first is row `start`."""
    begin = start
    with reading(label):
        batches = lazy.select(by_name(*schema)).collect_batches(chunk_size=rows, maintain_order=True)
        for frame in regular(batches, rows):
            yield Slice(number, start, frame)
            start += frame.height
    if start == begin:
        yield Slice(number, start, pl.DataFrame(schema=schema))


def regular(batches: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
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
        held -= whole
        rest = [joined.slice(whole)] if held else []
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
