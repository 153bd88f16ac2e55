"""Files larger than memory: the peak of memory, and how time grows with the rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

import child
import numpy as np
import polars as pl
from timing import markdown

COLUMNS = 20
CHUNK_ROWS = 500_000
BYTES = (1_000_000_000, 2_500_000_000, 5_000_000_000)
MOST, GROWTH = 800e6, 0.10
MEMORY = "300MB"
FIT = """
from descend.interfaces.cli import main

start = time.perf_counter()
code = main(["fit", arguments["path"], "--out", arguments["out"], "--quiet", *arguments["flags"]])
result = {"seconds": time.perf_counter() - start, "code": code}
"""
WAYS = {
    "squared error": ["--target", "y", "--drop", "late"],
    "logistic mini-batches": [
        *("--target", "late", "--drop", "y"),
        *("--batch-size", "256", "--epochs", "1", "--memory", MEMORY),
    ],
}
ABOUT = f"""`descend fit` on generated CSV files of {COLUMNS} columns of numbers and two targets, a process each, whose
own peak of memory is told: squared error as it comes, and logistic mini-batches by `--batch-size 256
--epochs 1 --memory {MEMORY}` (a quarter of the machine's memory may be used unless `--memory` is given). A
fifth of the rows is held out. The slope is that of the logarithm of time over the logarithm of rows: 1 is
linear."""


def measure(data: Path, quick: bool) -> str:
    """The section of the report."""
    sizes = (3_000_000, 6_000_000) if quick else BYTES
    table, found = [], {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="descend-memory-") as folder:
        path, rows = Path(folder) / "rows.csv", 0
        for size in sizes:
            rows = grow(path, rows, size, 5_000 if quick else CHUNK_ROWS)
            for way, flags in WAYS.items():
                one = child.run(FIT, path=str(path), out=f"{folder}/model.json", flags=flags)
                assert one.result["code"] == 0, f"`descend fit` ended with {one.result['code']}"
                found[way].append((rows, one.peak, one.result["seconds"]))
                label = f"{way}, {path.stat().st_size / 1e9:.3g} GB"
                seconds = one.result["seconds"]
                rate = f"{rows / seconds / 1e6:.3g} M"
                table.append([label, f"{rows:,}", child.megabytes(one.peak), f"{seconds:.3g} s", rate])
    verdicts = [_verdict(way, points) for way, points in found.items()]
    header = ["", "rows", "peak memory", "time", "rows per second"]
    aims = [["", "largest peak", "at most", "last to first", "at most", "slope"], verdicts]
    return "\n\n".join([ABOUT, markdown(header, sorted(table)), markdown(*aims)])


def _verdict(way: str, points: list[tuple[int, int, float]]) -> list[str]:
    rows, peaks, seconds = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    slope = np.polyfit(np.log(rows), np.log(seconds), 1)[0]
    growth = peaks[-1] / peaks[0] - 1
    most = child.megabytes(MOST)
    return [way, child.megabytes(peaks.max()), most, f"{growth:+.1%}", f"+{GROWTH:.0%}", f"{slope:.2f}"]


def grow(path: Path, rows: int, size: int, chunk: int) -> int:
    """Append chunks of rows, each of its own seed, until the file has `size` bytes; return its rows."""
    with path.open("ab") as file:
        while file.tell() < size:
            frame = make_chunk(rows, chunk)
            frame.write_csv(file, include_header=rows == 0)
            rows += chunk
    return rows


def make_chunk(seed: int, rows: int) -> pl.DataFrame:
    """Rows of normal numbers, a number and a class that follow from them."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, COLUMNS)).round(4)
    y = (X @ np.linspace(-1.0, 1.0, COLUMNS) + random.normal(size=rows)).round(4)
    columns = {f"x{j}": X[:, j] for j in range(COLUMNS)}
    return pl.DataFrame({**columns, "y": y, "late": (y > 1.0).astype(np.int64)})
