"""polars: what any reader of a file must do at least, decode every column and add it up."""

from __future__ import annotations

from pathlib import Path

import polars as pl

NAME = "polars"


def scan_and_sum(path: Path) -> pl.DataFrame:
    """Stream the file; sum the columns of numbers, count the distinct and the missing texts of the others."""
    scan = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path)
    wanted = []
    for name, dtype in scan.collect_schema().items():
        column = pl.col(name)
        if dtype == pl.String:
            wanted += [column.n_unique(), column.null_count().alias(f"{name} missing")]
        else:
            wanted.append(column.sum())
    return scan.select(wanted).collect(engine="streaming")
