"""The laws: whatever holds the rows, runs the sums or watches, the run is the same.

Leaves are made small (`small_leaves`), so that a few thousand rows span several; the last test keeps
their real size.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import descend
from descend import L1, Adam, Columns, ElasticNet, GradientDescent, Serial, Threads
from descend.engines import blocks
from descend.models.scoring import score
from descend.runs.problem import Problem

RNG = np.random.default_rng(5)
ROWS = 5_000
A, B = RNG.normal(size=ROWS) * 3 + 100, RNG.exponential(size=ROWS)
KIND = RNG.choice(["red", "green", "blue"], ROWS, p=(0.5, 0.3, 0.2))
SCORE = 0.4 * (A - 100) - 0.8 * B + (KIND == "red") + RNG.normal(size=ROWS)
TARGETS = {
    "number": SCORE,
    "two": np.where(SCORE > 0, "yes", "no"),
    "three": np.array(["low", "mid", "top"])[np.digitize(SCORE, [-1.0, 1.0])],
}
CODES = {"number": SCORE, "two": (SCORE > 0) * 1, "three": np.digitize(SCORE, [-1.0, 1.0])}
LOSSES = {"number": "squared-error", "two": "logistic", "three": "cross-entropy"}
GD = {"optimizer": GradientDescent(momentum=0.5), "steps": 10}
BATCHES = {"optimizer": Adam(0.05), "batch_size": 256, "epochs": 1}
CASES = [
    ("number", {"optimizer": "exact"}),
    ("number", GD),
    ("number", BATCHES),
    ("two", {"optimizer": "newton"}),
    ("two", {"optimizer": "lbfgs", "steps": 8}),
    ("two", GD),
    ("two", BATCHES),
    ("three", {"optimizer": "newton", "penalty": 0.01}),
    ("number", {"optimizer": "proximal-gradient", "penalty": L1(0.1)}),
    ("two", {"optimizer": "proximal-gradient", "penalty": ElasticNet(0.05, 0.5)}),
    ("three", GD),
    ("three", BATCHES),
]
WHOLE = [case for case in CASES if "batch_size" not in case[1]]


def named(case):
    target, how = case
    optimizer = how["optimizer"]
    return (
        f"{target}-{optimizer if isinstance(optimizer, str) else optimizer.name}-{how.get('batch_size', '')}"
    )


SLOW_TWO, SLOW_THREE = (pytest.param(name, marks=pytest.mark.slow) for name in ("two", "three"))
every_case = pytest.mark.parametrize("case", CASES, ids=named)
every_whole_case = pytest.mark.parametrize("case", WHOLE, ids=named)


@pytest.fixture(autouse=True)
def small_leaves(monkeypatch):
    monkeypatch.setattr(blocks, "LEAF_CELLS", 2**12)
    assert blocks.leaf_rows(3) == 1024


def table(target):
    """Two columns of numbers, one with missing cells, a column of texts with some, and the target."""
    gaps = np.random.default_rng(6).random((2, ROWS)) < 0.05
    columns = {"a": A, "b": np.where(gaps[0], np.nan, B), "kind": np.where(gaps[1], None, KIND)}
    return pd.DataFrame({**columns, "y": TARGETS[target]})


class WithoutArrow:
    """What descend sees of a pandas frame where pyarrow is not installed."""

    def __init__(self, frame):
        self.frame, self.columns = frame, frame.columns

    def __getitem__(self, name):
        return self.frame[name]

    def to_numpy(self):
        return self.frame.to_numpy()


@contextmanager
def case_of(name):
    """Tells which of several cases in one test has failed."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"of {name}")
        raise


def written(kind, frame, folder, rows=None):
    """Files that hold these rows; of `rows` rows each where it is given."""
    paths, step = [], rows or len(frame)
    for i, start in enumerate(range(0, len(frame), step)):
        part, path = pl.from_pandas(frame.iloc[start : start + step]), folder / f"{i}.{kind}"
        {"csv": part.write_csv, "parquet": part.write_parquet, "arrow": part.write_ipc}[kind](path)
        paths.append(path)
    return paths


HOLDERS = {
    "pandas": lambda frame, folder: frame,
    "pandas without pyarrow": lambda frame, folder: WithoutArrow(frame),
    "polars": lambda frame, folder: pl.from_pandas(frame),
    "polars in chunks": lambda frame, folder: pl.concat(
        [pl.from_pandas(frame[:999]), pl.from_pandas(frame[999:])], rechunk=False
    ),
    "polars, lazy": lambda frame, folder: pl.from_pandas(frame).lazy(),
    "pyarrow": lambda frame, folder: pa.Table.from_pandas(frame),
    "csv": lambda frame, folder: written("csv", frame, folder),
    "parquet": lambda frame, folder: written("parquet", frame, folder),
    "arrow": lambda frame, folder: written("arrow", frame, folder),
    "three csv, cut as leaves": lambda frame, folder: written("csv", frame, folder, 2048),
    "three parquet, cut as leaves": lambda frame, folder: written("parquet", frame, folder, 2048),
}


def same(a, b, tolerance=1e-12, figures=None):
    """The same steps and ending; numbers to a relative tolerance, bit by bit for 0. `figures` are metrics."""
    figures = tolerance if figures is None else figures
    assert (a.outcome, a.rows, len(a.history)) == (b.outcome, b.rows, len(b.history))
    assert a.model.feature_names == b.model.feature_names
    for name in ("loss", "batch_loss", "validation_loss", "weights"):
        one, other = getattr(a.history, name), getattr(b.history, name)
        assert np.array_equal(np.isnan(one), np.isnan(other)), name
        error = np.abs(np.nan_to_num(one) - np.nan_to_num(other)).max()
        assert error <= tolerance * np.abs(np.nan_to_num(one)).max(), (name, error)
    for side, metrics in a.metrics.items():
        for name, value in metrics.values.items():
            assert abs(value - b.metrics[side].values[name]) <= figures * max(abs(value), 1), (side, name)


@every_case
def test_the_same_rows_in_any_table_give_the_same_run(case, tmp_path):
    target, how = case
    frame = table(target)
    expected = descend.fit(frame, target="y", **how)
    for holder, hold in HOLDERS.items():
        folder = tmp_path / holder
        folder.mkdir()
        with case_of(holder):
            same(expected, descend.fit(hold(frame, folder), target="y", **how))


@every_case
def test_the_same_rows_in_a_duckdb_result_give_the_same_run(case):
    duckdb = pytest.importorskip("duckdb")
    target, how = case
    frame = table(target)
    connection = duckdb.connect()
    connection.register("rows", pa.Table.from_pandas(frame))
    same(
        descend.fit(frame, target="y", **how),
        descend.fit(connection.sql("select * from rows"), target="y", **how),
    )


ODD_NAMES = st.sampled_from(["*", "^.*$", "^a$", "", "count", "len", "literal", "level", "weight", "y", "y."])


@pytest.mark.parametrize("target", ["number", SLOW_TWO, SLOW_THREE])
@given(names=st.lists(ODD_NAMES | st.text("*^$.()[]ab ,\"'\\"), min_size=4, max_size=4, unique=True))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_names_of_columns_are_names_and_nothing_else(names, target):
    plain = pl.from_pandas(table(target))[:400]
    frame = plain.rename(dict(zip(plain.columns, names, strict=True)))
    expected = descend.fit(plain, target="y", steps=5).predict(plain)
    with TemporaryDirectory() as folder:
        for kind in ("frame", "lazy", "csv", "parquet"):
            data = {"frame": frame, "lazy": frame.lazy()}.get(kind)
            if data is None:
                data, write = (
                    Path(folder, f"a.{kind}"),
                    {"csv": frame.write_csv, "parquet": frame.write_parquet}[kind],
                )
                write(data)
            with case_of(kind):
                run = descend.fit(data, target=names[3], steps=5)
                assert run.model.encoding.names == tuple(names[:3])
                assert run.predict(data).tolist() == expected.tolist()
                assert score(run.model, data).rows == 400


@every_whole_case
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_cut_anywhere_give_the_same_run(kind, case, tmp_path):
    target, how = case
    paths = written(kind, table(target), tmp_path, 1_777)
    assert len(paths) == 3
    same(descend.fit(table(target), target="y", **how), descend.fit(paths, target="y", **how))


@every_case
@pytest.mark.parametrize("rows", [100, 1_500])
def test_the_row_groups_of_a_parquet_file_change_no_bit(rows, case, tmp_path):
    target, how = case
    frame = pl.from_pandas(table(target))
    frame.write_parquet(tmp_path / "one.parquet")
    frame.write_parquet(tmp_path / "many.parquet", row_group_size=rows)
    one, many = (
        descend.fit(tmp_path / f"{name}.parquet", target="y", valid=0.25, **how) for name in ("one", "many")
    )
    same(one, many, 0)


@every_case
@pytest.mark.parametrize("kind", ["frame", "csv", "array"])
def test_the_number_of_threads_changes_no_bit(kind, case, tmp_path):
    target, how = case
    how = {**how, "valid": 0.2}
    if kind == "array":
        x, y = np.column_stack([A - 100, B]), CODES[target]
        data, how = (x, y), {**how, "loss": LOSSES[target]}
    elif kind == "csv":
        data, how = (written("csv", table(target), tmp_path),), {**how, "target": "y"}
    else:
        data, how = (table(target),), {**how, "target": "y"}
    serial = descend.fit(*data, engine=Serial(), **how)
    for count in (1, 2, 3, 4):
        same(serial, descend.fit(*data, engine=Threads(count), **how), 0)


def whole_columns():
    return np.column_stack([np.round(A - 100), np.round(10 * B), KIND == "red"])


ARRAYS = {
    "Fortran order": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "lists": np.ndarray.tolist,
    "float32": lambda x: x.astype(np.float32),
    "int32": lambda x: x.astype(np.int32),
    "big-endian": lambda x: x.astype(">f8"),
    "pandas": lambda x: pd.DataFrame(x).to_numpy(),
    "CSR": csr_array,
    "CSC": lambda x: csr_array(x).tocsc(),
    "COO": lambda x: csr_array(x).tocoo(),
}


@every_case
def test_the_same_rows_in_any_array_give_the_same_run(case):
    target, how = case
    x, how = whole_columns(), {**how, "loss": LOSSES[target], "valid": 0.2}
    expected = descend.fit(x, CODES[target], **how)
    for kind, hold in ARRAYS.items():
        with case_of(kind):
            same(expected, descend.fit(hold(x), CODES[target], **how))


@every_case
def test_a_table_steps_as_the_array_of_its_encoded_columns(case):
    target, how = case
    frame = table(target)
    how = {"penalty": 0.001, **how}
    problem = Problem.of(frame, target="y", penalty=how["penalty"], penalise="standardised")
    X, _ = problem.encoding.transform(pl.from_pandas(frame))
    problem.close()
    dense = np.hstack([X.dense, X.sparse.toarray()])
    as_array = descend.fit(dense, CODES[target], loss=LOSSES[target], **how)
    as_table = descend.fit(frame, target="y", penalise="standardised", **how)
    for name in ("loss", "batch_loss", "weights"):
        one, other = getattr(as_array.history, name), getattr(as_table.history, name)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@every_whole_case
@pytest.mark.parametrize("kind", ["array", "CSR", "table"])
def test_whole_sample_weights_are_rows_repeated(kind, case):
    target, how = case
    counts = np.random.default_rng(7).integers(0, 4, ROWS)
    how = {"penalty": 0.01, **how}
    if kind == "table":
        weighted, repeated = table(target).assign(n=counts), table(target).loc[np.repeat(range(ROWS), counts)]
        how["target"] = "y"
        one = descend.fit(weighted, columns=Columns(weight="n"), **how)
        other = descend.fit(repeated, **how)
    else:
        x, y, how = whole_columns(), CODES[target], {**how, "loss": LOSSES[target]}
        made = csr_array if kind == "CSR" else np.asarray
        one = descend.fit(made(x), y, sample_weight=counts, **how)
        other = descend.fit(made(np.repeat(x, counts, axis=0)), np.repeat(y, counts), **how)
    assert one.outcome == other.outcome
    np.testing.assert_allclose(one.history.loss, other.history.loss, rtol=1e-12)
    np.testing.assert_allclose(one.history.weights, other.history.weights, rtol=1e-12, atol=1e-12)
    for name, value in one.metrics["training"].values.items():
        assert value == pytest.approx(other.metrics["training"].values[name], rel=1e-12), name


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["array", "frame", "csv"])
def test_the_same_seed_gives_the_same_batches_and_another_others(kind, target, tmp_path):
    if kind == "array":
        data, how = (whole_columns(), CODES[target]), {"loss": LOSSES[target]}
    else:
        frame = table(target)
        data, how = (frame if kind == "frame" else written("csv", frame, tmp_path),), {"target": "y"}
    first, again, other = (descend.fit(*data, seed=seed, **how, **BATCHES) for seed in (3, 3, 4))
    same(first, again, 0)
    assert not np.array_equal(first.history.batch_loss, other.history.batch_loss, equal_nan=True)


@every_case
def test_watching_and_memory_change_no_bit(case, tmp_path, capsys):
    target, how = case
    paths = written("csv", table(target), tmp_path)
    plain = descend.fit(paths, target="y", valid=0.2, **how)
    same(plain, descend.fit(paths, target="y", valid=0.2, every=7, progress=True, **how), 0)
    assert capsys.readouterr().out
    little = descend.fit(paths, target="y", valid=0.2, memory=0, **how)
    same(plain, little, 0, figures=0.02)  # the mean absolute error is then that of some rows, and said to be
    if target == "number":
        assert little.metrics["training"].values["r2"] == pytest.approx(
            plain.metrics["training"].values["r2"], rel=1e-12
        )
        assert "mae" in little.metrics["training"].note


@every_whole_case
def test_the_size_of_leaves_changes_nothing(case, monkeypatch):
    target, how = case
    many = descend.fit(table(target), target="y", **how)
    monkeypatch.undo()
    assert blocks.leaf_rows(3) > ROWS
    same(many, descend.fit(table(target), target="y", **how))


@pytest.mark.parametrize("target", ["number", "two", SLOW_THREE])
def test_leaves_of_their_real_size(target, monkeypatch, tmp_path):
    monkeypatch.undo()
    times = 30
    x, y = np.tile(whole_columns(), (times, 1)), np.tile(CODES[target], times)
    assert len(x) > 2 * blocks.leaf_rows(3)
    how = {"loss": LOSSES[target], "optimizer": GradientDescent(), "steps": 3}
    serial = descend.fit(x, y, engine=Serial(), **how)
    same(serial, descend.fit(x, y, engine=Threads(2), **how), 0)
    same(serial, descend.fit(np.asfortranarray(x), y, engine=Threads(3), **how))
    same(serial, descend.fit(csr_array(x), y, **how))
    names = ["a", "b", "c"]
    frame = pl.DataFrame({name: x[:, j] for j, name in enumerate(names)}).with_columns(y=y)
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=10_007)
    csv, parquet, held = (
        descend.fit(data, target="y", engine=engine, **how)
        for data, engine in (
            (tmp_path / "t.csv", Threads(2)),
            (tmp_path / "t.parquet", Serial()),
            (frame, Threads(4)),
        )
    )
    same(parquet, held, 0)
    same(csv, held)
