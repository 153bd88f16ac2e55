"""Predictions written in parts: the files in order are the predictions of the whole table."""

from __future__ import annotations

import os
import pickle

import numpy as np
import polars as pl
import pytest
from kinds_of_table import FRAME, KINDS, made

import descend
from descend import DescendError, Processes
from descend.engines import blocks
from descend.errors import DataError
from descend.models.scoring import (
    PART_UNITS,
    PartWriter,
    PredictionSource,
    Written,
    new_folder,
    predicted,
    write_predictions,
)
from descend.tables.cells import Unknowns
from descend.tables.table import Slice, open_table, unit_rows

RNG = np.random.default_rng(1)
LEARNED = FRAME.with_columns(
    kind=pl.Series(RNG.choice(["u", "v"], 10_000)),
    y=FRAME["b"] + pl.Series(RNG.normal(size=10_000)),
    sold=pl.Series(RNG.random(10_000) < 0.3),
)


def model(target="y", features=("b",)):
    return descend.fit(LEARNED, target=target, columns=descend.Columns(features=[*features])).model


@pytest.fixture(autouse=True)
def small_units(monkeypatch):
    monkeypatch.setattr(blocks, "LEAF_CELLS", 1_024)  # leaves of 1,024 rows
    monkeypatch.setattr("descend.models.scoring.PART_UNITS", 1)


@pytest.mark.parametrize("target", ["y", "sold"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_in_order_are_the_predictions_of_the_table(kind, target, tmp_path):
    m, folder = model(target), new_folder(tmp_path / "parts")
    (tmp_path / "rows").mkdir()
    source = PredictionSource(made(kind, tmp_path / "rows"), ("b", "a"))
    writer = pickle.loads(pickle.dumps(PartWriter(m, ("b", "a"), ("a",), folder)))
    written = Written()
    runs = pickle.loads(pickle.dumps(source.handles()))
    for run in reversed(runs):
        (leaf,) = run.leaves()
        assert leaf.block() is None
        written.merge(writer(leaf))
    assert written == Written(10_000)
    files = sorted(os.listdir(folder))
    assert files == [f"part-{i:05d}.parquet" for i in range(len(runs))]
    assert len(files) > 1
    found = pl.concat([pl.read_parquet(f"{folder}/{name}") for name in files])
    assert found["a"].to_list() == FRAME["a"].to_list()
    assert found["prediction"].to_list() == m.predict(FRAME).tolist()
    if target == "sold":
        p = m.predict_probabilities(FRAME)
        np.testing.assert_array_equal(found[["probability:false", "probability:true"]].to_numpy(), p)


def test_a_part_that_is_written_again_is_the_same_file(tmp_path):
    writer = PartWriter(model(), ("b",), (), new_folder(tmp_path / "parts"))
    (run, *_) = PredictionSource(open_table(FRAME), ("b",)).handles()
    assert writer(run) == writer(run)
    assert os.listdir(tmp_path / "parts") == ["part-00000.parquet"]
    assert pl.read_parquet(tmp_path / "parts" / "part-00000.parquet").columns == ["prediction"]


def test_a_part_that_fails_leaves_no_file(tmp_path):
    writer = PartWriter(model(), ("b",), ("z",), new_folder(tmp_path / "parts"))
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="z"):
        writer(PredictionSource(open_table(FRAME), ("b",)).handles()[0])
    assert os.listdir(tmp_path / "parts") == []


def test_runs_are_some_units_each_and_cover_every_row_once(monkeypatch):
    for units in (1, 2, PART_UNITS):
        monkeypatch.setattr("descend.models.scoring.PART_UNITS", units)
        runs = PredictionSource(open_table(FRAME), ("b",)).handles()
        assert [run.index for run in runs] == list(range(len(runs)))
        assert {run.rows.rows for run in runs[:-1]} <= {units * unit_rows(10_000, 1)}
        assert [run.rows.start for run in runs[1:]] == [run.rows.stop for run in runs[:-1]]
        assert (runs[0].rows.start, runs[-1].rows.stop) == (0, 10_000)


def test_what_could_not_be_taken_is_counted_over_all_slices():
    m = model(features=("b", "kind"))
    rows = pl.DataFrame({"b": ["1", "x", None], "kind": ["u", "w", "v"]})
    written = Written()
    found = list(predicted(m, iter([Slice(0, 0, rows), Slice(0, 3, rows[1:])]), ["kind"], written))
    assert [len(columns["prediction"]) for columns in found] == [3, 2]
    assert found[1]["kind"].to_list() == ["w", "v"]
    expected = Unknowns().add("number", "b", 2, "x").add("level", "kind", 2, "w")
    assert written == Written(5, expected)


def test_no_rows_give_one_part_with_a_header(tmp_path):
    source = PredictionSource(open_table(FRAME[:0]), ("b",))
    writer = PartWriter(model("sold"), ("b",), (), new_folder(tmp_path / "parts"))
    assert [writer(run) for run in source.handles()] == [Written(0)]
    found = pl.read_parquet(tmp_path / "parts" / "part-00000.parquet")
    assert (found.height, found.columns) == (0, ["prediction", "probability:false", "probability:true"])


def test_counts_of_parts_add_up():
    one = Written(2, Unknowns().add("level", "c", 1, "b"))
    other = Written(3, Unknowns().add("level", "c", 2, "a"))
    assert one.merge(other) is one
    assert one == Written(5, Unknowns().add("level", "c", 3, "a"))


def test_a_folder_is_made_with_those_above_it_or_taken_where_it_is_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new_folder("a/b") == new_folder(tmp_path / "a" / "b") == str(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


REFUSED = {
    "a folder with something in it": ("full", "is not empty: give a new one"),
    "a file": ("full/file", "cannot write to the folder"),
    "below a file": ("full/file/parts", "cannot write to the folder"),
    "a URL": ("s3://bucket/parts", "a folder on a disk that all workers share, got 's3://bucket/parts'"),
}


@pytest.mark.parametrize(("place", "message"), REFUSED.values(), ids=REFUSED)
def test_a_place_that_is_no_new_folder_is_refused(place, message, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        new_folder(place)
    assert (tmp_path / "full" / "file").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_bad_folder_is_refused_before_any_process_is_asked(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DescendError, match="is not empty"):
        write_predictions(model(), FRAME, tmp_path, engine=Processes(1))
