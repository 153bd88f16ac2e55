"""Doctests run in a folder of their own that holds the examples, so what they write stays out of the project.

Pictures are drawn without a screen and closed after each test. Hypothesis sets no deadline: what a busy machine
takes long for is not wrong.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ["MPLBACKEND"] = "Agg"
hypothesis.settings.register_profile("descend", deadline=None)
hypothesis.settings.load_profile("descend")

FIRST_STATES: dict[str, Any] = {}
pytest_plugins = ["once"]  # lies beside the tests
collect_ignore_glob = ["docs/*.py", "docs/_build/*", "docs/lessons/*", "docs/pictures/*", "lessons/*"]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def _folder_of_its_own(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        folder = request.getfixturevalue("tmp_path")
        (folder / "examples").symlink_to(Path(__file__).parent / "examples")
        request.getfixturevalue("monkeypatch").chdir(folder)


@pytest.fixture(autouse=True)
def _generator_as_at_the_start(request: pytest.FixtureRequest) -> None:
    """The generator `RNG` of a module of tests is in the same state in each: their order changes no data."""
    module = getattr(request.node, "module", None)
    generator = getattr(module, "RNG", None)
    if generator is not None:
        bits = generator.bit_generator
        bits.state = FIRST_STATES.setdefault(module.__name__, bits.state)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three Parquet files and the same rows as CSV, with categories, missing cells and three targets."""
    import numpy as np
    import polars as pl

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
def local(folder: Path) -> dict[str, Any]:
    """What the threads of this process find."""
    from fits import FITS, fitted  # lies beside the tests

    import descend

    return {name: fitted(f"{folder}/*.parquet", name, descend.Threads(2)) for name in FITS}


@pytest.fixture
def hard_timeout() -> Iterator[None]:
    def expire(*_: Any) -> None:
        raise TimeoutError("the test hangs")

    signal.signal(signal.SIGALRM, expire)
    signal.alarm(60)
    yield
    signal.alarm(0)
