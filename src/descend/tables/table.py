"""Tables: files and frames with named columns, read in order, a leaf of rows at a time.

Files are streamed by polars and never loaded whole. A frame in memory is anything with the Arrow C
stream (polars, pandas, pyarrow, DuckDB), or pandas without pyarrow, or a dict of columns; a polars
LazyFrame is streamed like a file.
"""

from __future__ import annotations

import itertools
import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import polars as pl
from polars.io.plugins import register_io_source
from polars.selectors import by_name

from descend.engines.blocks import Handle, leaf_rows
from descend.errors import DataError
from descend.files import replacing
from descend.tables.files import MISSING, TableFile, find_files, first_line, open_file, reading

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
        return any(file.parsed for file in self.files)

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
        if self.file_bytes < LARGE or not self.parsed:
            return None
        types = {name: self.schema[name] for name in columns}
        files = tuple(filter(None, (file.unmarked(types) for file in self.files)))
        return replace(self, files=files) if len(files) == len(self.files) else None

    def widened(self) -> Table:
        """The same table with types that every cell of every file fits, which costs a read of those that are parsed."""
        schema, files = dict(self.schema), list(self.files)
        for place, file in enumerate(files):
            types, files[place] = file.widened({name: schema[name] for name in file.names if name in schema})
            schema |= types
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
    files = [file.like(first) for file in files]
    if first.parsed:
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
    return _streams(data) or _has_columns(data)


def _streams(data: Any) -> bool:
    """Whether it hands its columns over: Arrow's protocol is the presence of this method."""
    return hasattr(data, "__arrow_c_stream__")


def _has_columns(data: Any) -> bool:
    """Whether it is pandas without pyarrow, or a frame like it; none of them is imported to find out."""
    return hasattr(data, "columns") and hasattr(data, "to_numpy")


def as_frame(data: Any) -> pl.DataFrame | pl.LazyFrame:
    """Any frame as a polars one, without a copy where the Arrow C stream allows it.

    Raises `DataError` where its columns are not of one type and one length each, or two have one name.
    """
    if isinstance(data, pl.LazyFrame):
        return data
    try:
        if _has_columns(data) and not _streams(data):
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
    write = _write_csv if kind == ".csv" else _write_parquet
    with replacing(path) as temporary, temporary.open("wb") as file:
        write(frames, file)


def _write_csv(frames: Iterator[Mapping[str, Any]], file: Any) -> None:
    for number, columns in enumerate(frames):
        file.write(pl.DataFrame(dict(columns)).write_csv(include_header=number == 0).encode())


def _write_parquet(frames: Iterator[Mapping[str, Any]], file: Any) -> None:
    """To an open file: a path would be opened by a thread that may do so after an error, when it has been deleted."""
    first = pl.DataFrame(dict(next(frames)))

    def produce(*_: Any) -> Iterator[pl.DataFrame]:
        yield first
        yield from (pl.DataFrame(dict(columns), schema=first.schema) for columns in frames)

    register_io_source(produce, schema=first.schema).sink_parquet(file)


MOST_RANGES = 65_536
"""A table is cut into at most about so many runs: the list of them is sent to the workers."""


@dataclass(frozen=True, eq=False)
class RowRange:
    """Rows `start` to `stop` of one file or frame."""

    table: str
    """The key of the table, which no other has."""
    place: int
    """The number of the file."""
    start: int
    stop: int
    schema: Mapping[str, pl.DataType]
    file: TableFile | None = None
    frames: tuple[pl.DataFrame, ...] = ()
    """The rows themselves, where the table is in memory."""
    temporary: bool = False
    """Whether the file is a copy on this machine: of standard input, or of a file in another encoding."""

    @property
    def key(self) -> tuple[str, int]:
        """What names the file among all files of all tables."""
        return self.table, self.place

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def slices(self, columns: Sequence[str], rows: int, start: int | None = None) -> Iterator[Slice]:
        """The rows in order, from row `start` of the file on, `rows` at a time; one empty slice for none."""
        columns = list(dict.fromkeys(columns))
        start = self.start if start is None else start
        if self.file is None:
            whole = pl.concat([frame[columns] for frame in self.frames])
            frames = regular([whole.slice(start - self.start)], rows)
            for number, frame in enumerate(frames if whole.height else [whole]):
                yield Slice(self.place, start + number * rows, frame)
            return
        absent = [name for name in columns if name not in self.file.names]
        if absent:
            listed = ", ".join(f"`{name}`" for name in absent)
            raise DataError(f"{self.file.label!r} has no column {listed}, which the first file has.")
        schema = {name: self.schema[name] for name in columns}
        lazy = self.file.scan(schema)
        if self.file.splittable:
            lazy = lazy.slice(start, self.stop - start)
        elif start:
            lazy = lazy.slice(start)
        yield from sliced(self.place, self.file.label, lazy, schema, rows, start)

    def joined(self, other: RowRange) -> RowRange | None:
        """Both as one run where `other` goes on where this ends; one scan then reads both."""
        if (*self.key, self.stop) != (*other.key, other.start) or not self.rows:
            return None
        return replace(self, stop=other.stop, frames=self.frames + other.frames)


class RangeHandle(Handle):
    """A handle whose rows are a `RowRange`."""

    rows: RowRange

    @property
    def share(self) -> int:
        return max(self.rows.rows, 1)

    @property
    def only_here(self) -> str:
        return self.rows.file.label if self.rows.temporary and self.rows.file is not None else ""


def unit_rows(total: int, columns: int) -> int:
    """Rows of a run: whole leaves of rows and of raw cells alike, and so that runs are not too many.

    >>> unit_rows(2_000_000, 28), unit_rows(10**10, 28)
    (65536, 262144)
    """
    unit = 4 * leaf_rows(columns)
    while total > MOST_RANGES * unit:
        unit *= 2
    return unit


def row_runs(table: Table, columns: Sequence[str], unit: int) -> list[RowRange]:
    """All rows of a table as runs of `unit` rows, the last of a file shorter; one for a file without rows.

    Raises `DataError` where a file cannot be read.
    """
    schema = dict(table.schema)
    if table.frame is not None:
        runs = []
        for piece in table.slices(columns, unit):
            stop = piece.start + piece.frame.height
            runs.append(RowRange(table.key, 0, piece.start, stop, schema, None, (piece.frame,)))
        return runs
    runs = []
    for file, place, rows in zip(table.files, table.places, table.file_rows, strict=True):
        path: Any = file.path if isinstance(file.path, str) else file.path.absolute()
        here = replace(cast(Any, file), path=path, temporary=None)
        step = unit if file.splittable else max(rows, 1)
        for start in range(0, max(rows, 1), step):
            runs.append(
                RowRange(
                    table.key,
                    place,
                    start,
                    min(start + step, rows),
                    schema,
                    here,
                    (),
                    file.temporary is not None,
                )
            )
    return runs


def first_leaves(runs: Sequence[RowRange], leaf: int) -> list[int]:
    """The number of the first leaf of each run, leaves of `leaf` rows being counted through all files.

    >>> schema = {}
    >>> first_leaves([RowRange("t", 0, 0, 8, schema), RowRange("t", 0, 8, 9, schema), RowRange("t", 1, 0, 5, schema)], 4)
    [0, 2, 3]
    """
    counts = (leaves_of(run.rows, leaf) for run in runs)
    return list(itertools.accumulate(counts, initial=0))[:-1]


def leaves_of(rows: int, leaf: int) -> int:
    """Leaves of `leaf` rows in so many rows of a file; one without rows has one."""
    return max(1, -(-rows // leaf))
