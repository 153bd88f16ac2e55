"""Raw cells as NumPy: a column as numbers, texts, weights or group keys; the rows that are held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from polars.selectors import by_name

from descend.engines.arrays import HUGE
from descend.engines.matrix import Array, Float
from descend.engines.splits import AnySplit, Split
from descend.errors import DataError
from descend.tables.table import Slice

NAMELESS = ""
"""What a column is called while polars works on it, which reads `*`, `^x$` and `count` as more than names."""

DAY_UNITS = {"ms": 86_400e3, "us": 86_400e6, "ns": 86_400e9}


def as_numbers(series: pl.Series, dated: bool = False) -> Float:
    """A column as float64, missing cells as NaN, dates and durations in days.

    Texts are read as numbers, or as dates where `dated`.
    """
    check_cells(series)
    series = series.alias(NAMELESS)
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
        texts = series.str.strip_chars()
        series = _as_dates(texts) if dated else texts.cast(pl.Float64, strict=False)
    dtype = series.dtype
    if dtype.is_temporal():
        precision = dtype.time_unit if isinstance(dtype, pl.Datetime | pl.Duration) else "ns"
        unit = 1.0 if dtype == pl.Date else DAY_UNITS[precision or "ns"]
        series = series.to_physical().cast(pl.Float64) / unit
    numbers = series.cast(pl.Float64)
    return np.asarray(
        (numbers.fill_null(np.nan) if numbers.null_count() else numbers).to_numpy(), dtype=np.float64
    )


def check_cells(series: pl.Series) -> None:
    """Raise `DataError` where cells are lists or other things that are neither numbers nor texts."""
    if series.dtype.is_nested() or series.dtype == pl.Object:
        raise DataError(f"column `{series.name}` holds {series.dtype}, neither numbers nor texts.")


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """The same with NaN in the place of missing numbers, by a single expression: polars exports gaps slowly."""
    gaps = [series.name for series in frame if series.null_count() and is_plain(series.dtype)]
    return frame.with_columns_seq(by_name(*gaps).cast(pl.Float64).fill_null(np.nan)) if gaps else frame


def is_plain(dtype: pl.DataType) -> bool:
    """Whether cells of this type are numbers as NumPy has them."""
    return dtype.is_numeric() and not dtype.is_decimal() and dtype not in (pl.Int128, pl.UInt128)


def strange(series: pl.Series, known: Array) -> tuple[int, str]:
    """How many cells are neither missing nor `known`, and the first of them.

    >>> strange(pl.Series(["1", "old", None]), np.array([True, False, False]))
    (1, 'old')
    """
    series = series.alias(NAMELESS)
    cells = series.filter(pl.Series(~known) & series.is_not_null())
    if series.dtype == pl.String:
        cells = cells.filter(cells.str.strip_chars() != "")
    return len(cells), str(cells[0]) if len(cells) else ""


def _as_dates(texts: pl.Series) -> pl.Series:
    try:
        return texts.str.to_datetime(strict=False)
    except pl.exceptions.ComputeError:  # none of them is a date
        return pl.Series(texts.name, [None] * len(texts), dtype=pl.Date)


def as_texts(series: pl.Series) -> pl.Series:
    """A column as text, missing cells as null, its name forgotten."""
    check_cells(series)
    return series.alias(NAMELESS).cast(pl.String)


def weights_of(piece: Slice, name: str) -> Float:
    """The sample weight of each row. Raises `DataError` where one is missing, negative, infinite or about to be."""
    weights = as_numbers(piece.frame[name])
    strange = ~((weights <= HUGE) & (weights >= 0))
    if strange.any():
        row = int(strange.argmax())
        huge = bool(np.isfinite(weights[row]) and weights[row] > 0)
        raise DataError(
            f"the weight column `{name}` must hold finite numbers of at least 0{f' and at most {HUGE:g}' if huge else ''}, "
            f"got {piece.frame[name][row]!r} in row {piece.start + row + 1}."
        )
    return weights


def offsets_of(piece: Slice, name: str) -> Float:
    """What is added to the linear predictor of each row. Raises `DataError` where it is missing or infinite."""
    offsets = as_numbers(piece.frame[name])
    strange = ~np.isfinite(offsets)
    if strange.any():
        row = int(strange.argmax())
        raise DataError(
            f"the offset column `{name}` must hold finite numbers, got {piece.frame[name][row]!r} "
            f"in row {piece.start + row + 1}."
        )
    return offsets


def held_out_of(piece: Slice, split: AnySplit | None) -> Array:
    """A mask of the rows that are held out."""
    rows = piece.frame.height
    if split is None:
        return np.zeros(rows, dtype=bool)
    if isinstance(split, Split) and split.group is not None:
        return split.held_out_groups(group_keys(piece.frame[split.group]))
    return split.held_out(piece.file, piece.start, piece.start + rows)


def group_keys(series: pl.Series) -> Array:
    """A 64-bit key for the group of each row: equal for equal values, whatever file or frame holds them.

    Numbers are taken by their bits as float64, texts by BLAKE2; missing cells make a group of their own.

    >>> bool((group_keys(pl.Series([1, 2])) == group_keys(pl.Series([1.0, 2.0]))).all())
    True
    """
    if series.dtype.is_numeric() or series.dtype.is_temporal():
        numbers = as_numbers(series) + 0.0  # -0.0 is 0.0
        numbers[np.isnan(numbers)] = np.nan
        return numbers.view(np.uint64)
    texts = as_texts(series).fill_null("")
    known = texts.unique(maintain_order=True)
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in known)
    codes = texts.cast(pl.Enum(known)).to_physical().to_numpy()
    return np.asarray(np.frombuffer(digests, dtype="<u8").astype(np.uint64)[codes])


SENTENCES = {
    "level": "cells of `{column}` with a level that the model has never seen count as its reference",
    "number": "cells of `{column}` that are no numbers count as missing",
    "target": "rows with a `{column}` that the model does not know are left out",
}


@dataclass
class Unknowns:
    """Counts and examples by kind and column; they add up, in whatever order they come.

    >>> found = Unknowns().add("number", "age", 2, "old").add("number", "age", 1, "n/a")
    >>> found.sentences()
    ["cells of `age` that are no numbers count as missing: 3, 'n/a' for example"]
    """

    found: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def add(self, kind: str, column: str, count: int, example: str) -> Unknowns:
        """Note `count` cells, if there are any; of all examples the first in order of the alphabet stays."""
        if count:
            known = self.found.get((kind, column), (0, example))
            self.found[kind, column] = known[0] + count, min(known[1], example)
        return self

    def merge(self, other: Unknowns) -> Unknowns:
        """Both together, in the memory of this one."""
        for (kind, column), (count, example) in other.found.items():
            self.add(kind, column, count, example)
        return self

    @property
    def levels(self) -> int:
        """Cells with a level that was never seen."""
        return sum(count for (kind, _), (count, _) in self.found.items() if kind == "level")

    def sentences(self) -> list[str]:
        """One for each kind and column."""
        return [
            f"{SENTENCES[kind].format(column=column)}: {count:,}, {example!r} for example"
            for (kind, column), (count, example) in sorted(self.found.items())
        ]
