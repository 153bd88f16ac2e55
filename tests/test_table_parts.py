"""Runs of rows: the same rows and leaves as the table read from end to end."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

from descend.cache import Cache, Shelf
from descend.encoded import EncodedTable
from descend.encoding import Encoding, Target
from descend.profiles import NumberProfile
from descend.table_parts import first_leaves, row_runs, unit_rows
from descend.tables import open_table
from descend.worker import joined

FRAME = pl.DataFrame({"a": np.arange(10_000.0), "b": np.arange(10_000) % 7})


@pytest.fixture(params=["parquet", "arrow", "csv", "frame", "lazy"])
def table(request, tmp_path):
    if request.param == "frame":
        return open_table(FRAME)
    if request.param == "lazy":
        return open_table(FRAME.lazy())
    for i, (a, b) in enumerate([(0, 4_000), (4_000, 4_000), (4_000, 10_000)]):
        path = tmp_path / f"{i}.{request.param}"
        piece = FRAME[a:b]
        if request.param == "parquet":
            piece.write_parquet(path, row_group_size=900)
        elif request.param == "arrow":
            piece.write_ipc(path)
        else:
            piece.write_csv(path)
    return open_table(f"{tmp_path}/*.{request.param}")


@pytest.mark.parametrize("unit", [512, 1_024, 65_536])
def test_runs_have_the_rows_of_the_table_and_number_its_leaves(table, unit):
    runs = pickle.loads(pickle.dumps(row_runs(table, ["b", "a"], unit)))
    whole = list(table.slices(["b", "a"], 256))
    found = []
    for run, first in zip(runs, first_leaves(runs, 256), strict=True):
        assert first == len(found)
        found += run.slices(["b", "a"], 256)
    assert [(s.file, s.start) for s in found] == [(s.file, s.start) for s in whole]
    assert all(a.frame.equals(b.frame) for a, b in zip(found, whole, strict=True))


def test_runs_that_follow_one_another_are_read_as_one(table):
    runs = dict(enumerate(row_runs(table, ["a"], 512)))
    together = list(joined(runs, list(runs)))
    assert len(together) <= 3
    rows = pl.concat([s.frame for run in together for s in run.slices(["a"], 1_000)])
    assert rows["a"].to_list() == FRAME["a"].to_list()


def test_units_hold_whole_leaves_and_are_not_too_many():
    for columns in (1, 28, 5_000):
        for total in (10, 10**6, 10**11):
            unit = unit_rows(total, columns)
            assert unit & (unit - 1) == 0
            assert total / unit <= 65_536


def encoded(table):
    a, b = NumberProfile(), NumberProfile()
    a.add(FRAME["a"])
    b.add(FRAME["b"].cast(pl.Float64))
    return EncodedTable(table, Encoding.learn({"a": a}, Target("b"), {}, True)).side(False)


@pytest.mark.parametrize("budget", [0, 30_000, 10**9])
def test_encoded_runs_hold_the_blocks_of_the_table(table, budget):
    """Whatever fits the cache, in the first pass and in the next ones."""
    source = encoded(table)
    expected = [leaf.block() for part in source.parts() for leaf in part.leaves()]
    handles = pickle.loads(pickle.dumps(source.handles()))
    shelf = Shelf(Cache(budget), "run")
    for _ in range(3):
        found = [leaf.block() for handle in handles for leaf in handle.open(shelf).leaves()]
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.X.tobytes() == b.X.tobytes()
                assert a.y.tobytes() == b.y.tobytes()
        assert shelf.cache.held <= budget
    shelf.cache.forget("run")
    assert shelf.cache.held == len(shelf.cache) == 0
