"""Spark ML's LogisticRegression on Parquet files, in a process of its own: it brings a Java machine.

`SPARK_PYTHON` names a Python that has pyspark, where this one has not: `python -m venv spark`,
`spark/bin/pip install pyspark numpy` (751 MB), and Java 17.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NAME = "Spark ML"


def fit(folder: Path, columns: list[str], target: str, alpha: float, cores: int) -> dict[str, Any] | None:
    """Seconds of the session, of reading and of the fit, and the weights, the intercept last; None without Spark."""
    python = os.environ.get("SPARK_PYTHON") or (sys.executable if find_spec("pyspark") else None)
    if python is None:
        return None
    how = json.dumps([str(folder), columns, target, alpha, cores])
    done = subprocess.run([python, __file__, how], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"Spark failed: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(folder: str, columns: list[str], target: str, alpha: float, cores: int) -> dict[str, Any]:
    """What `fit` returns."""
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession

    took, start = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        took[name], start = now - start, now

    spark = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "6g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    lap("session")
    for name in ("first", "second"):  # the second on a warm machine
        rows = spark.read.parquet(folder)
        rows = VectorAssembler(inputCols=columns, outputCol="features").transform(rows)
        # its optimum by its default tolerance has 6 digits, by this one 9
        model = LogisticRegression(labelCol=target, regParam=alpha, tol=1e-9, maxIter=100).fit(rows)
        lap(name)
    weights = [*model.coefficients.toArray().tolist(), model.intercept]
    took["passes"] = model.summary.totalIterations
    version = spark.version
    spark.stop()
    return {**took, "weights": weights, "version": version}


if __name__ == "__main__":
    print(json.dumps(main(*json.loads(sys.argv[1]))))
