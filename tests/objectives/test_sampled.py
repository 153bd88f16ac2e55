"""Samples: few rows, spread where that is free, never a second read of everything."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

import descend
from descend.engines import blocks
from descend.engines.arrays import ArraySource
from descend.engines.splits import Split
from descend.objectives.sampled import sample_of
from descend.tables.table import Table


def test_few_rows_are_taken_whole():
    x, y = descend.make_line(100, seed=0)
    sample = sample_of(ArraySource(x, y), 100)
    np.testing.assert_array_equal(sample.X, x)
    np.testing.assert_array_equal(sample.y, y)
    assert sample.whole
    assert not sample.first


def test_many_rows_are_spread_over_all_leaves():
    x = np.arange(200_000.0)[:, None]
    sample = sample_of(ArraySource(x, x[:, 0]), 200_000)
    assert sample.X.shape == (1_000, 1)
    assert (sample.X[0, 0], sample.X[-1, 0]) == (0, 199_999)
    assert sample.description == "1,000 of 200,000 rows"
    again = sample_of(ArraySource(x, x[:, 0]), 200_000)
    np.testing.assert_array_equal(sample.X, again.X)


def test_a_split_s_training_rows_alone():
    x = np.arange(500.0)[:, None]
    split = Split(0.3, seed=1)
    kept = ~split.held_out(0, 0, 500)
    sample = sample_of(ArraySource(x, x[:, 0], split=split), int(kept.sum()))
    np.testing.assert_array_equal(sample.y, x[kept, 0])


def test_sparse_and_weighted_rows():
    x = csr_array(np.eye(3))
    sample = sample_of(ArraySource(x, np.arange(3), np.array([1, 2, 3])), 3)
    np.testing.assert_array_equal(sample.X, np.eye(3))
    np.testing.assert_array_equal(sample.sample_weight, [1, 2, 3])


def test_wide_data_give_fewer_rows():
    x = np.zeros((400, 5_000), dtype=np.float32)
    assert len(sample_of(ArraySource(x, np.zeros(400)), 400).y) == 200


@pytest.fixture
def small_leaves(monkeypatch):
    """Leaves of 64 rows, so that a small table has many."""
    for module in ("engines.blocks", "engines.arrays", "tables.encoded", "tables.profiling", "models.model"):
        target = importlib.import_module(f"descend.{module}")
        if hasattr(target, "leaf_rows"):
            monkeypatch.setattr(target, "leaf_rows", lambda columns: 64)
    assert blocks.leaf_rows(1) == 64


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("kind", ["squared-error", "logistic"])
def test_a_table_s_sample_costs_no_read(memory, kind, small_leaves, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=640), "t": np.repeat(["u", "v"], 320)})
    frame["y"] = 2 * frame["a"] + rng.normal(size=640)
    if kind == "logistic":
        frame["y"] = np.where(frame["y"] > 0, "yes", "no")
    frame.to_csv(tmp_path / "a.csv", index=False)

    def pieces():
        read = []
        original = Table.slices

        def counted(self, *arguments):
            for piece in original(self, *arguments):
                read.append(piece)
                yield piece

        with monkeypatch.context() as patched:
            patched.setattr(Table, "slices", counted)
            run = descend.fit(tmp_path / "a.csv", target="y", memory=memory)
        return run, len(read)

    run, read = pieces()
    monkeypatch.setattr("descend.runs.fitting.sample_of", lambda *a: None)
    without, unsampled = pieces()
    assert read == unsampled
    np.testing.assert_array_equal(run.weights, without.weights)
    assert not run.sample.first
    assert run.sample.rows == 640
    film = run.animate()
    assert film.picture == {"squared-error": "fit", "logistic": "histogram"}[kind]
