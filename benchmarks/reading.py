"""Squared error from files, beside merely reading them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from rivals import polars_scan
from timing import in_turns, markdown

import descend

NUMBERS = 20
LEVELS = (3, 10, 50, 200)
MISSING = 0.02
TARGETS = {
    ("numbers", "parquet"): 1.5,
    ("numbers", "csv"): 1.25,
    ("mixed", "parquet"): 2.2,
    ("mixed", "csv"): 2.2,
}


def measure(data: Path, quick: bool) -> str:
    """The section of the report."""
    rows, rounds = (20_000, 1) if quick else (3_000_000, 5)
    table = []
    with tempfile.TemporaryDirectory(prefix="descend-reading-") as folder:
        for kind, form in TARGETS:
            path = write(Path(folder), kind, form, rows)
            size = path.stat().st_size / 1e6
            ways = {
                "descend": partial(descend.fit, path, target="y"),
                "polars": partial(polars_scan.scan_and_sum, path),
            }
            times = in_turns(ways, rounds)
            path.unlink()
            ratio = times["descend"].ratio_to(times["polars"])
            label = f"{kind}, {form} ({size:,.0f} MB)"
            target = f"{TARGETS[kind, form]:g}x"
            table.append([label, str(times["polars"]), str(times["descend"]), ratio, target])
    about = f"""`descend.fit(file, target="y")` of {rows:,} rows, warm and in one process, beside polars scanning the same
file in its streaming engine and adding up what it holds. *Numbers* are {NUMBERS} columns of numbers and the
target, which polars sums. *Mixed* has {len(LEVELS)} columns of text more (of {", ".join(map(str, LEVELS))} levels), and a share of
{MISSING:g} of the cells of all texts and of every other number missing; polars sums the numbers and takes
`n_unique` and `null_count` of the texts. The ratio is descend's time to polars'."""
    return f"{about}\n\n{markdown(['', 'polars', 'descend', 'ratio', 'at most'], table)}"


def write(folder: Path, kind: str, form: str, rows: int) -> Path:
    """A file of normal numbers of four decimals, for "mixed" with texts and missing cells."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(rows, NUMBERS)).round(4)
    y = (numbers @ random.normal(size=NUMBERS) + random.normal(size=rows)).round(4)
    columns = {f"x{j}": pl.Series(numbers[:, j]) for j in range(NUMBERS)}
    if kind == "mixed":
        for j in range(0, NUMBERS, 2):
            columns[f"x{j}"] = _with_gaps(columns[f"x{j}"], random)
        for levels in LEVELS:
            names = pl.Series([f"level {i}" for i in range(levels)])
            texts = names.gather(random.integers(0, levels, rows))
            columns[f"of_{levels}"] = _with_gaps(texts, random)
    frame = pl.DataFrame({**columns, "y": y})
    path = folder / f"{kind}.{form}"
    frame.write_parquet(path) if form == "parquet" else frame.write_csv(path)
    return path


def _with_gaps(series: pl.Series, random: np.random.Generator) -> pl.Series:
    return series.scatter(np.flatnonzero(random.random(len(series)) < MISSING), None)
