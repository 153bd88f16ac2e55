"""CSV files: their separator, encoding and column types, found out from their beginning.

polars streams plain, gzip and zstd CSV by itself. A file in another encoding than UTF-8 is rewritten
to a temporary one, a megabyte at a time.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import polars as pl
from polars.selectors import by_name

from descend.errors import DataError
from descend.files import TemporaryFile
from descend.tables.files import CHUNK, MISSING, NOT_UTF8, TableFile, is_number, reading

SEPARATORS = ";\t|,"  # the comma last: it also stands in numbers and sentences
SNIFF_ROWS, INFER_ROWS, DATE_ROWS = 100, 10_000, 100
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class CsvFile(TableFile):
    """A CSV in UTF-8; made by `open_csv`."""

    path: Path
    label: str
    """What messages call it."""
    first_types: Mapping[str, pl.DataType]
    """The type of each column as far as some of the first rows tell."""
    separator: str
    missing: tuple[str, ...] = MISSING
    decimal_comma: bool = False
    temporary: TemporaryFile | None = None
    """What holds `path` where it is a copy."""
    filled: bool = True
    marked: bool = True
    """Whether cells are compared with those that count as missing: it takes a fifth of the time of a read."""
    raw_names: Mapping[str, str] = field(default_factory=dict)
    """Names with quotes as polars has them, where these are doubled as they are in the file."""
    padded: frozenset[str] = frozenset()
    """Columns of numbers that may have spaces behind them, which polars takes for text."""
    parsed: ClassVar[bool] = True
    splittable: ClassVar[bool] = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.first_types)

    def scan(self, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """The rows, with these types; other columns are text."""
        padded = [
            name
            for name, kind in schema.items()
            if kind.is_numeric() and (name in self.padded or self.first_types.get(name) == pl.String)
        ]
        types = {name: schema.get(name, pl.String()) for name in self.names} | dict.fromkeys(
            padded, pl.String()
        )
        lazy = self._scan(schema=types)
        return lazy.with_columns(self._digits(name).cast(schema[name]) for name in padded) if padded else lazy

    def has_rows(self) -> bool:
        """Whether anything follows the header: a header alone tells no types."""
        return self.filled

    def types(self) -> dict[str, pl.DataType]:
        """The type of each column, from its first rows; a number where all of those are missing.

        Dates are looked for in fewer rows: trying every pattern on every text is a hundred times slower.
        """
        if self._all_plain:
            return dict(self._unmarked_types)
        types = dict(self._inferred)
        texts = [name for name, kind in types.items() if kind == pl.String]
        if not texts:
            return types
        dates = self._scan(infer_schema_length=DATE_ROWS, try_parse_dates=True).collect_schema()
        numbers = self._fit(texts, self._number, INFER_ROWS)
        for name in texts:
            if dates[name].is_temporal():
                types[name] = dates[name]
            elif numbers[name]:
                types[name] = pl.Float64()
        return types

    @property
    def padding(self) -> frozenset[str]:
        """The columns that polars takes for text in the first rows: those of them that are numbers are padded."""
        if self._all_plain:
            return frozenset()
        return frozenset(name for name, kind in self._inferred.items() if kind == pl.String)

    @property
    def _all_plain(self) -> bool:
        """Whether the first rows hold nothing but numbers."""
        return _all_numbers(self.first_types) and _all_numbers(self._unmarked_types)

    @cached_property
    def _inferred(self) -> Mapping[str, pl.DataType]:
        """The type of each column as polars finds it in the first rows."""
        return self._scan(infer_schema_length=INFER_ROWS).collect_schema()

    def fitting(self, types: Mapping[str, pl.DataType]) -> tuple[dict[str, pl.DataType], frozenset[str]]:
        """These types, widened where a cell anywhere in the file does not fit, and what is `padded`; costs reads."""
        fitting = dict(types)
        numbers = [name for name, kind in types.items() if kind.is_numeric()]
        for name, fits in self._fit(numbers, self._whole).items():
            if types[name].is_integer() and not fits:
                fitting[name] = pl.Float64()
        for name, fits in self._fit(numbers, self._number).items():
            if not fits:
                fitting[name] = pl.String()
        for name, kind in types.items():
            if not (kind.is_numeric() or kind == pl.String or self._reads(name, kind)):
                fitting[name] = pl.String()
        numbers = [name for name in numbers if fitting[name].is_numeric()]
        return fitting, frozenset(name for name, fits in self._fit(numbers, self._bare).items() if not fits)

    def like(self, first: TableFile) -> TableFile:
        return replace(self, padded=first.padding) if isinstance(first, CsvFile) else self

    def unmarked(self, types: Mapping[str, pl.DataType]) -> CsvFile | None:
        """The same file read without looking for missing cells, where these columns are numbers and show none.

        A mark further on is then a `TypeConflict`, never a number.
        """
        if any(map(is_number, self.missing)) or not _all_numbers(types):
            return None
        seen = self._unmarked_types
        fit = all(
            seen[name] == kind or (seen[name].is_numeric() and kind.is_float())
            for name, kind in types.items()
        )
        return replace(self, marked=False) if fit else None

    def widened(self, types: Mapping[str, pl.DataType]) -> tuple[dict[str, pl.DataType], CsvFile]:
        """Whole numbers become floats, numbers become text, and so do dates and truths."""
        with reading(self.label):
            fitting, padded = self.fitting(types)
        return fitting, replace(self, padded=padded)

    @cached_property
    def _unmarked_types(self) -> Mapping[str, pl.DataType]:
        """The type of each column from its first rows, a mark of a missing cell being a text."""
        return replace(self, marked=False)._scan(infer_schema_length=INFER_ROWS).collect_schema()

    def _fit(
        self, names: Sequence[str], kind: Callable[[str], pl.Expr], rows: int | None = None
    ) -> dict[str, bool]:
        """Whether every cell of each column, read as text, is missing or becomes a value of this kind."""
        if not names:
            return {}
        texts = self._scan(schema=dict.fromkeys(self.names, pl.String()), n_rows=rows)
        fit = [(kind(name).is_not_null() | by_name(name).is_null()).all() for name in names]
        return texts.select(fit).collect(engine="streaming").row(0, named=True)

    def _reads(self, name: str, kind: pl.DataType) -> bool:
        """Whether the whole column can be read as dates, or as true and false."""
        try:
            self.scan({name: kind}).select(by_name(name).null_count()).collect(engine="streaming")
        except pl.exceptions.ComputeError:
            return False
        return True

    def _whole(self, name: str) -> pl.Expr:
        return by_name(name).str.strip_chars().cast(pl.Int64, strict=False)

    def _number(self, name: str) -> pl.Expr:
        return self._digits(name).cast(pl.Float64, strict=False)

    def _bare(self, name: str) -> pl.Expr:
        """A number as polars reads it: with spaces before it at most."""
        padded = by_name(name).str.ends_with(" ") | by_name(name).str.ends_with("\t")
        return pl.when(~padded).then(self._number(name))

    def _digits(self, name: str) -> pl.Expr:
        """A number as text, without spaces around it and with a point."""
        text: pl.Expr = by_name(name).str.strip_chars()
        return text.str.replace(",", ".", literal=True) if self.decimal_comma else text

    def _scan(self, **options: Any) -> pl.LazyFrame:
        if "schema" in options:
            options["schema"] = {self.raw_names.get(n, n): kind for n, kind in options["schema"].items()}
        lazy = pl.scan_csv(
            self.path,
            separator=self.separator,
            null_values=list(self.missing) if self.marked else None,
            decimal_comma=self.decimal_comma,
            glob=False,
            **options,
        )
        return lazy.rename({raw: name for name, raw in self.raw_names.items()}) if self.raw_names else lazy


def open_csv(
    path: Path,
    label: str,
    missing: Sequence[str] = MISSING,
    encoding: str | None = None,
    copy: TemporaryFile | None = None,
) -> CsvFile:
    """Look at the beginning of a CSV. `copy` holds `path` where it is a temporary file.

    Raises `DataError` where the file is empty, is not text in this encoding (UTF-8 unless given), or
    has two columns of one name.
    """
    encoding = encoding or _marked_encoding(path)
    if encoding is not None and not _is_utf8(encoding):
        original, copy = copy, transcoded(path, label, encoding)
        path = copy.path
        if original is not None:
            original.close()
    lines = _first_lines(path, label)
    if not any(lines):
        raise DataError(f"cannot read {label!r}: it is empty, it has no columns.")
    separator = "\t" if re.search(r"\.(tsv|tab)(\.|$)", label.lower()) else sniff_separator(lines)
    try:
        header = next(csv.reader(lines, delimiter=separator))
    except csv.Error as error:
        hint = "Do its lines end in carriage returns alone? Write them with line feeds"
        raise DataError(f"cannot read {label!r}: {str(error).partition(' - ')[0]}. {hint}.") from error
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise DataError(f"{label!r} has more than one column `{repeated[0]}`: give each a name of its own.")
    file = CsvFile(path, label, {}, separator, tuple(missing), False, copy, any(lines[1:]))
    with reading(label):
        if any('"' in name for name in header):
            raw = file._scan(infer_schema_length=0).collect_schema().names()
            file = replace(file, raw_names={name.replace('""', '"'): name for name in raw if '""' in name})
        file = replace(file, first_types=file._scan(infer_schema_length=SNIFF_ROWS).collect_schema())
        if separator == ",":
            return file
        # 1,5 is a number where the separator is not the comma and 1.5 is none
        comma = replace(file, decimal_comma=True)
        types = comma._scan(infer_schema_length=SNIFF_ROWS).collect_schema()
    return comma if _numbers_in(types) > _numbers_in(file.first_types) else file


def _first_lines(path: Path, label: str) -> list[str]:
    """Some lines at the beginning of a CSV, without a byte order mark."""
    with path.open("rb") as file:
        start = file.read(CHUNK)
    if start.startswith((GZIP, ZSTD)):
        with reading(label):
            lines = pl.scan_lines(path, n_rows=SNIFF_ROWS, glob=False).collect().to_series().to_list()
        lines[:1] = [line.removeprefix("\ufeff") for line in lines[:1]]
        return lines
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)
    except UnicodeError:
        raise DataError(f"cannot read {label!r}: {NOT_UTF8}.") from None
    lines = text.split("\n", SNIFF_ROWS)
    whole = lines[:-1] if len(start) == CHUNK or len(lines) > SNIFF_ROWS else lines
    return [line.removesuffix("\r") for line in whole or lines]


def _numbers_in(types: Mapping[str, pl.DataType]) -> int:
    return sum(kind.is_numeric() for kind in types.values())


def sniff_separator(lines: Sequence[str]) -> str:
    """The separator that cuts these lines, the header first, into equally many cells, more than one.

    Separators inside quotes do not count. A table of one column gets the comma.

    >>> sniff_separator(['"name, first";"a,b"', "Ann;1,5", "Bob;2,5"])
    ';'
    """

    def score(separator: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        except csv.Error:
            return 0.0, 0
        if not widths or widths[0] == 1:
            return 0.0, 0
        return widths.count(widths[0]) / len(widths), widths[0]

    best = max(SEPARATORS, key=score)
    return best if score(best) > (0.0, 0) else ","


def transcoded(path: Path, label: str, encoding: str) -> TemporaryFile:
    """A copy of a text file in UTF-8, gzip undone; a megabyte at a time."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise DataError(
            f"`encoding` {encoding!r} is not known; cp1252, latin-1 and utf-16 are common ones."
        ) from None
    copy = TemporaryFile(".csv")
    try:
        with (
            copy.writing(),
            _decompressed(path, label) as raw,
            io.TextIOWrapper(raw, encoding, newline="") as text,
            copy.path.open("w", encoding="utf-8", newline="") as out,
        ):
            while chunk := text.read(CHUNK):
                out.write(chunk)
    except UnicodeError as error:
        raise DataError(f"{label!r} is not text in the encoding {encoding!r}: {error}.") from error
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {label!r}: {error}.") from error
    return copy


def _all_numbers(types: Mapping[str, pl.DataType]) -> bool:
    return _numbers_in(types) == len(types)


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig", "ascii")


def _marked_encoding(path: Path) -> str | None:
    """UTF-16 where the file begins with its byte order mark."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else None


def _decompressed(path: Path, label: str) -> BinaryIO:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == ZSTD:
        raise DataError(f"{label!r} is compressed by zstd and not in UTF-8: unpack it first (zstd -d).")
    return gzip.open(path, "rb") if magic[:2] == GZIP else path.open("rb")  # type: ignore[return-value]
