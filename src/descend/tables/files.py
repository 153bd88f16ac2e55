"""The files of a table: found by name, told apart by their first bytes, standard input among them."""

from __future__ import annotations

import glob
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from descend.errors import DataError
from descend.files import TemporaryFile
from descend.tables.csv_files import CHUNK, MISSING, CsvFile, open_csv, reading

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

URL = re.compile(r"[a-z][a-z0-9+.-]+://")
"""Where polars reads by itself: s3://, gs://, az://, https:// and others; keys are in the environment."""

STDIN = Path("-")
TABLE_NAME = re.compile(r"\.((csv|tsv|tab)(\.gz|\.zst)?|parquet|pq|arrow|ipc|feather)$", re.IGNORECASE)
"""The endings that files of a table have; those that a folder is searched for."""

MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}
REFUSED = {
    b"PK\x03\x04": "is a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"BZh": "is compressed by bzip2: unpack it first, or use gzip or zstd",
    b"\xfd7zXZ": "is compressed by xz: unpack it first, or use gzip or zstd",
    b"FEA1": "is a Feather file of version 1: write it as version 2, which is Arrow IPC",
    b"\xff\xff\xff\xff": "is an Arrow stream: write it as an Arrow file, or as Parquet",
}


@dataclass(frozen=True)
class ColumnarFile:
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

    def has_rows(self) -> bool:
        """Whether there are any rows."""
        return True  # it knows its types anyway

    def close(self) -> None:
        """Delete the copy, where `path` is one."""
        if self.temporary is not None:
            self.temporary.close()

    def types(self) -> dict[str, pl.DataType]:
        """The type of each column."""
        return dict(self.schema)


TableFile: TypeAlias = CsvFile | ColumnarFile


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
            inside = sorted(
                p for p in path.iterdir() if TABLE_NAME.search(p.name) and not p.name.startswith(".")
            )
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


def open_file(path: Path | str, missing: Sequence[str] = MISSING, encoding: str | None = None) -> TableFile:
    """Look at the beginning of a file: is it Parquet, Arrow IPC or CSV, and what are its columns?

    Standard input is first copied to a temporary file. Raises `DataError` where it is none of them.
    """
    if isinstance(path, str):
        label = path.rpartition("/")[2]
        with reading(path):
            return ColumnarFile(path, label, "parquet", dict(_scan(path, "parquet").collect_schema()))
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
    kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "csv")
    if kind == "csv":
        if re.search(r"\.(parquet|pq|arrow|ipc|feather)$", label.lower()):
            raise DataError(
                f"cannot read {label!r}: it does not begin as a {path.suffix[1:]} file does. Was it cut short?"
            )
        return open_csv(path, label, missing, encoding, copy)
    with reading(label):
        return ColumnarFile(path, label, kind, dict(_scan(path, kind).collect_schema()), copy)


def _scan(path: Path | str, kind: str) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False) if kind == "parquet" else pl.scan_ipc(path, glob=False)


def _spooled_input() -> TemporaryFile:
    """Standard input as a temporary file, which can be read more than once."""
    copy = TemporaryFile(".stdin")
    with copy.writing(), copy.path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, CHUNK)
    return copy
