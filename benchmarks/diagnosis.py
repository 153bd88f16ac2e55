"""What a diagnosis costs beside the fit that it explains."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from timing import in_turns, markdown

import descend

ABOUT = """`descend.diagnose` of a Parquet file beside `descend.fit` of it: both read the file once for squared
error, and the diagnosis follows from the moments. The target is at most 1.3 times the fit."""


def measure(data: Path, quick: bool) -> str:
    """The section of the report."""
    rows, columns = (50_000 if quick else 10_000_000), 20
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wide.parquet"
        _write(path, rows, columns)
        ways = {
            "`descend.fit`": lambda: descend.fit(path, target="y"),
            "`descend.diagnose`": lambda: descend.diagnose(path, target="y"),
        }
        times = in_turns(ways, 1 if quick else 5)
    fit = times["`descend.fit`"]
    table = [[name, str(taken), taken.ratio_to(fit)] for name, taken in times.items()]
    return f"{ABOUT}\n\n{rows:,} rows, {columns} columns.\n\n{markdown(['', 'wall time', 'ratio'], table)}"


def _write(path: Path, rows: int, columns: int) -> None:
    """Numbers of different scales, and a target that they explain in part."""
    random = np.random.default_rng(0)
    scales = 10.0 ** random.uniform(-2, 3, size=columns)
    frame, y = {}, random.normal(size=rows)
    for i, scale in enumerate(scales):
        x = random.normal(size=rows)
        y += x
        frame[f"x{i}"] = x * scale + 3 * scale
    pl.DataFrame({**frame, "y": y}).write_parquet(path, compression="lz4")
