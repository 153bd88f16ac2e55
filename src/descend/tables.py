"""Tables: files and frames with named columns, read in order, a leaf of rows at a time.

CSV and Parquet are streamed by polars and never loaded whole. A frame in memory is anything with
the Arrow C stream (polars, pandas, pyarrow, DuckDB), or pandas without pyarrow, or a dict of columns.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
from polars.io.plugins import register_io_source

from descend.errors import DataError
from descend.files import replacing

MISSING = ("", "NA", "N/A", "NaN", "null")
"""Cells of a CSV that count as missing."""

SEPARATORS = {".tsv": "\t", ".tab": "\t"}
INFER_ROWS, DATE_ROWS = 10_000, 100

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class TypeConflict(DataError):
    """A cell of a CSV does not fit the type that its column seemed to have."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some consecutive rows of one file: `start` is the row in the file of the first.

    `file` is its place among the sorted paths, whatever order they were given in.
    """

    file: int
    start: int
    frame: pl.DataFrame


@dataclass(frozen=True)
class Table:
    """Files of one schema, or a frame; made by `open_table`."""

    paths: tuple[Path, ...] = ()
    frame: pl.DataFrame | None = None
    missing: tuple[str, ...] = MISSING
    text_columns: tuple[str, ...] = ()
    """Columns to read as text whatever they look like."""
    number_columns: tuple[str, ...] = ()
    """Columns in which a whole number may be followed by a broken one."""
    schema: Mapping[str, pl.DataType] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.schema)

    @property
    def label(self) -> str:
        """What to call it in messages and titles."""
        if not self.paths:
            return "frame"
        return self.paths[0].name if len(self.paths) == 1 else f"{len(self.paths)} files"

    def slices(self, columns: Sequence[str], rows: int) -> Iterator[Slice]:
        """All rows in order, `rows` at a time, cut at the end of each file; one empty slice for no rows.

        Raises `DataError` where a file cannot be read, `TypeConflict` where a cell is not of its type.
        """
        if self.frame is not None:
            frame = self.frame.select(columns)
            for start in range(0, max(frame.height, 1), rows):
                yield Slice(0, start, frame.slice(start, rows))
            return
        place = {path: i for i, path in enumerate(sorted(self.paths))}
        for path in self.paths:
            start = 0
            with _readable(path):
                for frame in _regular(self._batches(path, columns, rows), rows):
                    yield Slice(place[path], start, frame)
                    start += frame.height
            if not start:
                empty = pl.DataFrame(schema={name: self.schema[name] for name in columns})
                yield Slice(place[path], 0, empty)

    def widened(self) -> Table:
        """The same table with types that every cell of every CSV fits, which costs a read.

        Text fits everything: a column of numbers in one file and of text in another is text, and so
        is a column of dates where one cell is no date.
        """
        schema = dict(self.schema)
        for path in self.paths:
            for name, kind in self.types(path, None).items():
                if name in schema:
                    schema[name] = _common(schema[name], kind)
        dates = [name for name, kind in schema.items() if kind.is_temporal()]
        table = replace(self, schema=schema)
        try:
            for _ in table.slices(dates, 1 << 15) if dates else ():
                pass
        except TypeConflict:
            return replace(table, schema=schema | dict.fromkeys(dates, pl.String()))
        return table

    def types(self, path: Path, rows: int | None = INFER_ROWS) -> dict[str, pl.DataType]:
        """The type of each column; for a CSV found from its first rows.

        Dates are looked for in fewer rows: trying every pattern on every text is a hundred times slower.
        """
        if path.suffix.lower() == ".parquet":
            return dict(pl.scan_parquet(path, glob=False).collect_schema())
        types = dict(self._csv(path, infer_schema_length=rows).collect_schema())
        dates = self._csv(path, infer_schema_length=DATE_ROWS, try_parse_dates=True).collect_schema()
        for name, kind in types.items():
            if name in self.text_columns:
                types[name] = pl.String()
            elif dates[name].is_temporal() and kind == pl.String:
                types[name] = dates[name]
            elif name in self.number_columns and kind.is_integer():
                types[name] = pl.Float64()
        return types

    def _csv(self, path: Path, **options: Any) -> pl.LazyFrame:
        return pl.scan_csv(
            path, separator=_separator(path), null_values=list(self.missing), glob=False, **options
        )

    def _batches(self, path: Path, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        is_parquet = path.suffix.lower() == ".parquet"
        lazy = pl.scan_parquet(path, glob=False) if is_parquet else self._csv(path, infer_schema_length=0)
        names = lazy.collect_schema().names()
        absent = [name for name in columns if name not in names]
        if absent:
            raise DataError(
                f"{path.name!r} has no column {_listed(absent)}, which {self.paths[0].name!r} has."
            )
        if not is_parquet:
            lazy = self._csv(path, schema={name: self.schema.get(name, pl.String()) for name in names})
        yield from lazy.select(columns).collect_batches(chunk_size=rows, maintain_order=True)


def open_table(
    data: Any,
    *,
    missing: Sequence[str] | None = None,
    text_columns: Sequence[str] = (),
    number_columns: Sequence[str] = (),
) -> Table:
    """A path, a glob, several paths, or a frame as a Table. Raises `DataError` where it is none of them."""
    missing = MISSING if missing is None else tuple(missing)
    if not is_table(data):
        raise DataError(
            f"cannot read {type(data).__name__} as a table: give a path, several paths, or a DataFrame."
        )
    if not isinstance(data, str | os.PathLike | list | tuple):
        frame = as_frame(data)
        return Table(frame=frame, schema=dict(frame.schema))
    paths = tuple(find_files(data))
    table = Table(paths, None, missing, tuple(text_columns), tuple(number_columns))
    first = next((path for path in paths if _has_rows(path)), paths[0])
    with _readable(first):
        schema = table.types(first)
    if not schema:
        raise DataError(f"{str(paths[0])!r} is empty: it has no columns.")
    return replace(table, schema=schema)


def is_table(data: Any) -> bool:
    """Whether `data` is a path, paths, or a frame, rather than an array."""
    if isinstance(data, str | os.PathLike | pl.DataFrame | dict):
        return True
    if isinstance(data, list | tuple):
        return bool(data) and all(isinstance(item, str | os.PathLike) for item in data)
    return hasattr(data, "__arrow_c_stream__") or (hasattr(data, "columns") and hasattr(data, "to_numpy"))


def find_files(paths: Paths) -> list[Path]:
    """The files that a path, a glob, a folder or several of them name, each list sorted."""
    items: Iterable[Any] = [paths] if isinstance(paths, str | os.PathLike) else paths
    found: list[Path] = []
    for item in items:
        path = Path(item)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in (".csv", ".tsv", ".parquet"))
        elif path.exists():
            inside = [path]
        else:
            inside = sorted(Path(name) for name in glob.glob(str(item), recursive=True))
        if not inside:
            raise DataError(
                f"found no file {str(item)!r}. Is the path right, seen from {os.path.basename(os.getcwd())!r}?"
            )
        found += inside
    return found


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say which file cannot be read, in one line."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        if "could not parse" in str(error):
            raise TypeConflict(f"{path.name!r}: {first_line(error)}.") from error
        raise DataError(f"cannot read {str(path)!r}: {first_line(error)}.") from error


def as_frame(data: Any) -> pl.DataFrame:
    """Any frame as a polars one, without a copy where the Arrow C stream allows it.

    Raises `DataError` where its columns are not of one type and one length each.
    """
    try:
        return _as_frame(data)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise DataError(f"cannot read {type(data).__name__} as a table: {first_line(error)}.") from error


def _as_frame(data: Any) -> pl.DataFrame:
    try:
        return pl.DataFrame(data, strict=not isinstance(data, dict))
    except ImportError:  # pandas without pyarrow: column by column
        columns = {}
        for name in data.columns:
            values = data[name].to_numpy()
            if values.dtype == object:
                pairs = zip(values.tolist(), data[name].isna(), strict=True)
                values = [None if absent else value for value, absent in pairs]
            columns[str(name)] = values
        return pl.DataFrame(columns, strict=False)


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


def _separator(path: Path) -> str:
    """The separator of a CSV: by its ending, else the one its header line has most of."""
    if path.suffix.lower() in SEPARATORS:
        return SEPARATORS[path.suffix.lower()]
    with path.open("rb") as file:
        header = re.sub('"[^"]*"', "", file.readline(1 << 16).decode("utf-8", "replace"))
    return max(",;\t|", key=header.count)


def _has_rows(path: Path) -> bool:
    """Whether anything follows the first line: a header alone tells no types."""
    with _readable(path), path.open("rb") as file:
        file.readline()
        return bool(file.read(1))


def _common(a: pl.DataType, b: pl.DataType) -> pl.DataType:
    """A type that holds the values of both."""
    if a == b:
        return a
    return pl.Float64() if a.is_numeric() and b.is_numeric() else pl.String()


def first_line(error: BaseException) -> str:
    """The first line of another library's message, without its closing point."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def write_columns(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Write columns of equal length as Parquet."""
    pl.DataFrame(dict(columns), strict=False).write_parquet(path)


def read_columns(path: str | os.PathLike[str]) -> dict[str, list[Any]]:
    """Read the columns of a small Parquet file."""
    try:
        return pl.read_parquet(Path(path)).to_dict(as_series=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {str(path)!r}: {first_line(error)}.") from error


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
