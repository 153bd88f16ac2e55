"""dask-ml: LogisticRegression (the solvers of dask-glm) on a Dask array read from Parquet files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

NAME = "dask-ml"


def available() -> bool:
    """Whether it is installed: no extra does that."""
    return find_spec("dask_ml") is not None


def hide_benchmarks() -> None:
    """Take this folder from the path before a cluster starts: Dask looks for a module `sparse`, and there is ours."""
    own = {"", str(Path(__file__).parent.parent)}
    sys.path[:] = [path for path in sys.path if path not in own]


@contextmanager
def at(address: str) -> Iterator[None]:
    """The cluster at this address for what is fitted inside."""
    from distributed import Client

    with Client(address):
        yield


def fit(folder: Path, columns: list[str], target: str, alpha: float, solver: str) -> tuple[dict, np.ndarray]:
    """Seconds of reading and of the fit, and the weights, the intercept last."""
    import dask.dataframe as dd
    from dask_ml.linear_model import LogisticRegression
    from distributed import wait

    start = time.perf_counter()
    frame = dd.read_parquet(f"{folder}/*.parquet")
    X = frame[columns].to_dask_array().persist().compute_chunk_sizes()
    y = frame[target].to_dask_array().persist().compute_chunk_sizes().rechunk((X.chunks[0],)).persist()
    wait([X, y])
    read = time.perf_counter()
    model = LogisticRegression(solver=solver, C=1.0 / (alpha * len(X)), fit_intercept=True, max_iter=100)
    model.fit(X, y)
    took = {"read": read - start, "fit": time.perf_counter() - read}
    return took, np.append(model.coef_.ravel(), model.intercept_)
