"""What the tests of engines share: a table in files, what threads find in it, and an end to tests that hang."""

from __future__ import annotations

import signal

import numpy as np
import polars as pl
import pytest
from fits import FITS, fitted

import descend


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Three Parquet files and the same rows as CSV, with categories, missing cells and three targets."""
    random, rows = np.random.default_rng(8), 60_000
    X, c = random.normal(size=(rows, 30)), random.choice(list("abcd"), rows)
    z = X[:, :4] @ [0.5, -0.3, 0.2, 0.1] + (c == "b")
    frame = pl.DataFrame({f"x{i}": X[:, i] for i in range(30)} | {"c": c})
    frame = frame.with_columns(
        pl.when(pl.col("x3") > 1.5).then(None).otherwise(pl.col("x3")).alias("x3"),
        line=z + random.normal(size=rows),
        two=(z + random.logistic(size=rows) > 0).astype(int),
        three=np.select([z > 0.6, z < -0.2], ["hi", "lo"], "mid"),
    )
    path = tmp_path_factory.mktemp("tables")
    for i, (start, stop) in enumerate([(0, 25_000), (25_000, 25_700), (25_700, rows)]):
        frame[start:stop].write_parquet(path / f"{i}.parquet", row_group_size=7_000)
        frame[start:stop].write_csv(path / f"{i}.csv")
    frame[:0].write_parquet(path / "9.parquet")
    return path


@pytest.fixture(scope="session")
def local(folder):
    """What the threads of this process find."""
    return {name: fitted(f"{folder}/*.parquet", name, descend.Threads(2)) for name in FITS}


@pytest.fixture
def hard_timeout():
    def expire(*_):
        raise TimeoutError("the test hangs")

    signal.signal(signal.SIGALRM, expire)
    signal.alarm(60)
    yield
    signal.alarm(0)
