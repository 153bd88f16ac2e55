"""The same ten thousand rows as a table of every kind, files of them cut at uneven places."""

from __future__ import annotations

import numpy as np
import polars as pl

from descend.tables.table import open_table

FRAME = pl.DataFrame({"a": np.arange(10_000.0), "b": np.arange(10_000) % 7})
KINDS = ("parquet", "arrow", "csv", "frame", "lazy")


def made(kind, folder):
    """The rows as a table, its files in `folder`."""
    if kind == "frame":
        return open_table(FRAME)
    if kind == "lazy":
        return open_table(FRAME.lazy())
    for i, (a, b) in enumerate([(0, 4_000), (4_000, 4_000), (4_000, 10_000)]):
        path = folder / f"{i}.{kind}"
        piece = FRAME[a:b]
        if kind == "parquet":
            piece.write_parquet(path, row_group_size=900)
        elif kind == "arrow":
            piece.write_ipc(path)
        else:
            piece.write_csv(path)
    return open_table(f"{folder}/*.{kind}")
