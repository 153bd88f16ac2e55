"""The files of a table: found by name, told apart by their first bytes, standard input among them.

A format is a subclass of `TableFile`, a function that opens it, and a line in `FORMATS`.
"""

from __future__ import annotations

import glob
import math
import os
import re
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import polars as pl

from descend.errors import DataError
from descend.files import TemporaryFile

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

URL = re.compile(r"[a-z][a-z0-9+.-]+://")
"""Where polars reads by itself: s3://, gs://, az://, https:// and others; keys are in the environment."""

STDIN = Path("-")

MISSING = ("", "NA", "N/A", "NaN", "null")
"""Cells of a CSV that count as missing."""


CHUNK = 1 << 20


NOT_UTF8 = (
    "it is not text in UTF-8. Name its encoding: `Columns(encoding=...)`, --encoding cp1252 for example"
)


_CONFLICT = re.compile(
    r"could not parse `(?P<cell>.*?)` as dtype `(?!str).*?` at column '(?P<column>.*?)' \(column number|"
    r"conversion from `str` to .* failed in column '(?P<padded>.*?)' for .* values: \[\"(?P<text>.*?)\"",
    re.DOTALL,
)

REFUSED = {
    b"PK\x03\x04": "is a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"BZh": "is compressed by bzip2: unpack it first, or use gzip or zstd",
    b"\xfd7zXZ": "is compressed by xz: unpack it first, or use gzip or zstd",
    b"FEA1": "is a Feather file of version 1: write it as version 2, which is Arrow IPC",
    b"\xff\xff\xff\xff": "is an Arrow stream: write it as an Arrow file, or as Parquet",
}


class TableFile(ABC):
    """A file with named columns, which can be read again and again; a frozen dataclass that travels by pickle."""

    path: Path | str
    label: str
    """What messages call it."""
    temporary: TemporaryFile | None
    """What holds `path` where it is a copy."""
    parsed: ClassVar[bool] = False
    """Whether reading it means parsing text: whole numbers may turn out to be fractions further on."""
    splittable: ClassVar[bool] = True
    """Whether its rows can be read from any of them on, so that workers can share it."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""

    @abstractmethod
    def types(self) -> dict[str, pl.DataType]:
        """The type of each column."""

    @abstractmethod
    def scan(self, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """The rows, with these types for these columns."""

    def rows(self) -> int:
        """The number of rows; counting costs a fraction of reading."""
        return int(self.scan({}).select(pl.len()).collect(engine="streaming").item())

    def has_rows(self) -> bool:
        """Whether its rows tell the types of the columns."""
        return True

    def like(self, first: TableFile) -> TableFile:
        """The same file, read as the first file of its table is."""
        return self

    def unmarked(self, types: Mapping[str, pl.DataType]) -> TableFile | None:
        """The same file read without looking for missing cells; None where nothing would be gained."""
        return None

    def widened(self, types: Mapping[str, pl.DataType]) -> tuple[dict[str, pl.DataType], TableFile]:
        """These types, wider where a cell does not fit, and the file that is read so; costs a read."""
        return dict(types), self

    def close(self) -> None:
        """Delete the copy, where `path` is one."""
        if self.temporary is not None:
            self.temporary.close()


@dataclass(frozen=True)
class ColumnarFile(TableFile):
    """A Parquet or Arrow IPC file, which knows its columns."""

    path: Path | str
    label: str
    kind: str
    schema: Mapping[str, pl.DataType]
    temporary: TemporaryFile | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.schema)

    def scan(self, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """The rows. Raises `DataError` where a column is text here, but numbers or dates in `schema`."""
        for name, kind in schema.items():
            if self.schema.get(name) == pl.String and (kind.is_numeric() or kind.is_temporal()):
                raise DataError(
                    f"column `{name}` is text in {self.label!r}, but {kind} in the file before it."
                )
        return _scan(self.path, self.kind)

    def rows(self) -> int:
        """The number of rows, from the file's own notes."""
        return int(_scan(self.path, self.kind).select(pl.len()).collect(engine="streaming").item())

    def types(self) -> dict[str, pl.DataType]:
        """The type of each column."""
        return dict(self.schema)


class Format(NamedTuple):
    """A kind of file that tables are read from."""

    name: str
    endings: str
    """A pattern of the endings of its files' names."""
    magic: bytes
    """What its files begin with; nothing for text."""
    opener: str
    """The function `(path, label, missing, encoding, copy)` that opens it, as "module:function"."""

    def open(self, *about: Any) -> TableFile:
        """The file, its columns looked at."""
        module, _, function = self.opener.partition(":")
        found: TableFile = getattr(import_module(f"descend.tables.{module}"), function)(*about)
        return found

    def owns(self, name: str) -> bool:
        """Whether a file is called like one of its."""
        return re.search(rf"\.({self.endings})$", name, re.IGNORECASE) is not None


FORMATS: tuple[Format, ...] = (
    Format("parquet", "parquet|pq", b"PAR1", "files:open_parquet"),
    Format("arrow", "arrow|ipc|feather", b"ARROW1", "files:open_arrow"),
    Format("csv", r"(csv|tsv|tab)(\.gz|\.zst)?", b"", "csv_files:open_csv"),
)
"""Told apart by their first bytes, those of text by their endings; what is like none is a CSV."""


def find_files(paths: Paths) -> list[Path | str]:
    """The files that a path, a glob, a folder or several of them name, each list sorted; `-` is standard input.

    URLs stay texts; `*` in them stands for a part of a name.
    """
    items: Iterable[Any] = [paths] if isinstance(paths, str | os.PathLike) else paths
    found: list[Path | str] = []
    for item in items:
        if isinstance(item, str) and URL.match(item):
            found += _named_by(item)
            continue
        if not os.fspath(item):
            raise DataError("a path is empty: give the name of a file, . for the current folder.")
        path = Path(item).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if _is_table(p.name))
        elif path == STDIN or path.exists():
            inside = [path]
        else:
            inside = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        if not inside:
            raise DataError(
                f"found no file {str(item)!r}. Is the path right, seen from {os.path.basename(os.getcwd())!r}?"
            )
        found += inside
    return found


def _named_by(url: str) -> list[Path | str]:
    """The Parquet files of a URL. Raises `DataError` where it names none, or files of another kind."""
    if not re.search(r"\.(parquet|pq)$", url):
        raise DataError(
            f"only Parquet is read from a URL, named *.parquet, got {url!r}: copy other files to a disk, or pipe "
            "them to standard input."
        )
    if "*" not in url:
        return [url]
    with reading(url):
        files = pl.scan_parquet(url, include_file_paths="file").select(pl.col("file").unique().sort())
        return list(files.collect(engine="streaming").to_series())


def _is_table(name: str) -> bool:
    """Whether a folder is searched for files that are called like this."""
    return not name.startswith(".") and any(kind.owns(name) for kind in FORMATS)


def open_file(path: Path | str, missing: Sequence[str] = MISSING, encoding: str | None = None) -> TableFile:
    """Look at the beginning of a file: what is its format, and what are its columns?

    Standard input is first copied to a temporary file. Raises `DataError` where it is of none.
    """
    if isinstance(path, str):
        return open_parquet(path, path.rpartition("/")[2])
    label, copy = path.name, None
    if path == STDIN:
        label, copy = "standard input", _spooled_input()
        path = copy.path
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise DataError(f"cannot read {label!r}: {error.strerror}.") from error
    for magic, reason in REFUSED.items():
        if start.startswith(magic):
            raise DataError(f"cannot read {label!r}: it {reason}.")
    return _format_of(label, start).open(path, label, missing, encoding, copy)


def _format_of(label: str, start: bytes) -> Format:
    """The format of a file that begins with these bytes."""
    for kind in FORMATS:
        if kind.magic and start.startswith(kind.magic):
            return kind
    named = next((kind for kind in FORMATS if kind.owns(label)), FORMATS[-1])
    if named.magic:
        ending = label.rpartition(".")[2]
        raise DataError(
            f"cannot read {label!r}: it does not begin as a {ending} file does. Was it cut short?"
        )
    return named


def open_parquet(path: Path | str, label: str, *about: Any) -> ColumnarFile:
    """A Parquet file, on a disk or at a URL."""
    return _columnar(path, label, "parquet", *about)


def open_arrow(path: Path, label: str, *about: Any) -> ColumnarFile:
    """An Arrow IPC file."""
    return _columnar(path, label, "arrow", *about)


def _columnar(
    path: Path | str,
    label: str,
    kind: str,
    missing: Sequence[str] = (),
    encoding: str | None = None,
    copy: TemporaryFile | None = None,
) -> ColumnarFile:
    """The columns are in the file's own notes."""
    with reading(str(path) if isinstance(path, str) else label):
        return ColumnarFile(path, label, kind, dict(_scan(path, kind).collect_schema()), copy)


def _scan(path: Path | str, kind: str) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False) if kind == "parquet" else pl.scan_ipc(path, glob=False)


def _spooled_input() -> TemporaryFile:
    """Standard input as a temporary file, which can be read more than once."""
    copy = TemporaryFile(".stdin")
    with copy.writing(), copy.path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, CHUNK)
    return copy


class TypeConflict(DataError):
    """A cell does not fit the type that the first rows of its column had."""

    def __init__(self, column: str, cell: str, label: str) -> None:
        why = "which does not fit the rows before it"
        how = f"If it stands for a missing value, add it to the `missing` cells (--missing {cell!r})"
        if cell != cell.strip() and is_number(cell.strip()):
            why, how = "a number with spaces around it", "Take away the spaces"
        super().__init__(f"column `{column}` of {label!r} holds {cell!r}, {why}. {how}.")
        self.column, self.cell, self.label = column, cell, label

    def __reduce__(self) -> tuple[Any, ...]:
        return TypeConflict, (self.column, self.cell, self.label)  # it travels from worker to caller


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn the errors of polars into `DataError`s that name the file, type conflicts into `TypeConflict`."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        message = str(error)
        if conflict := _CONFLICT.search(message):
            column, cell, padded, text = conflict.group("column", "cell", "padded", "text")
            raise TypeConflict(column or padded or "", cell or text or "", label) from error
        raise DataError(f"cannot read {label!r}: {_explained(message)}.") from error


def _explained(message: str) -> str:
    """What an error of polars means."""
    if "expanded paths were empty" in message:
        return "no file has such a name"
    if "invalid utf" in message:
        return NOT_UTF8
    if "more fields than defined" in message:
        return "a row has more fields than the header. Is there a separator in a cell without quotes"
    if "not properly escaped" in message or "CSV malformed" in message:
        return "a quote is opened and never closed"
    return first_line(message)


def first_line(message: str) -> str:
    """The first line of another library's message, without its closing point."""
    return (message.strip().splitlines() or ["no reason is known"])[0].rstrip(".:")


def is_number(cell: str) -> bool:
    """Whether a cell would be read as a number; NaN means missing anyway."""
    try:
        return not math.isnan(float(cell))
    except ValueError:
        return False
