"""What is kept of a table: a sample that thins itself, or all rows, in memory and in a file."""

from __future__ import annotations

import errno
import tempfile

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import descend
from descend.tables.retained import RetainedRows, SpooledRows, retain
from descend.tables.table import open_table


def test_what_is_kept_of_a_table_is_all_of_it_or_evenly_thinned():
    frame = pl.DataFrame({"a": range(100), "b": [float(i) for i in range(100)]})
    pieces = list(open_table(frame).slices(["a", "b"], 10))
    whole, thin = RetainedRows(10**6), RetainedRows(16 * 96)  # of 16 * 100; a sample takes a quarter
    for index, piece in enumerate(pieces):
        whole.add(index, piece)
        thin.add(index, piece)
    assert whole.complete
    again = list(whole.slices(["b"], 33))
    assert [(piece.start, piece.frame.height) for piece in again] == [(0, 33), (33, 33), (66, 33), (99, 1)]
    assert pl.concat([piece.frame for piece in again])["b"].to_list() == frame["b"].to_list()
    assert not thin.complete
    assert thin.every == 8
    assert [(p.start, p.frame["a"].to_list()) for p in thin.slices(["a"], 7)] == [
        (start, list(range(start, stop))) for start, stop in ((0, 7), (7, 10), (80, 87), (87, 90))
    ]
    assert thin.empty(["b"]).schema == {"b": pl.Float64}


FRAME = pl.DataFrame(
    {
        "a": range(100),
        "text": [None if i % 7 == 0 else f"t{i % 5}" for i in range(100)],
        "b": [i / 3 for i in range(100)],
    }
)


@pytest.mark.parametrize("budget", [0, 1_500, 1 << 30], ids=["file", "both", "memory"])
def test_spooled_rows_come_out_as_they_went_in(budget, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spooled = SpooledRows(budget)
    assert not spooled.complete
    pieces = [piece for n in (0, 1) for piece in open_table(FRAME).slices(FRAME.columns, 10)]
    for index, piece in enumerate(pieces):
        spooled.add(index, piece if index < 10 else type(piece)(1, piece.start, piece.frame))
    assert (len(list(tmp_path.iterdir())) == 0) == (budget > 1_500)
    again = list(spooled.slices(["b", "text"], 33))
    assert [(p.file, p.start, p.frame.height) for p in again] == [
        (file, start, rows) for file in (0, 1) for start, rows in ((0, 33), (33, 33), (66, 33), (99, 1))
    ]
    assert_frame_equal(pl.concat([p.frame for p in again[:4]]), FRAME.select("b", "text"))
    spooled.close()
    assert spooled.empty(["text"]).schema == {"text": pl.String}
    assert not list(tmp_path.iterdir())


def test_a_file_without_rows_gives_one_empty_slice():
    spooled = SpooledRows(1_000)
    spooled.add(0, next(open_table(FRAME[:0]).slices(["a", "b"], 10)))
    (piece,) = spooled.slices(["b"], 10)
    assert (piece.start, piece.frame.shape) == (0, (0, 1))


def test_a_full_disk_says_so_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_ipc", full)
    with pytest.raises(descend.DescendError, match=r"No space left on device.*TMPDIR"):
        SpooledRows(0).add(0, next(open_table(FRAME).slices(["a"], 10)))
    assert not list(tmp_path.iterdir())


def test_only_what_is_hard_to_parse_is_spooled(tmp_path):
    FRAME.write_csv(tmp_path / "a.csv")
    FRAME.write_parquet(tmp_path / "a.parquet")
    for name, again, kind in (
        ("a.csv", True, SpooledRows),
        ("a.csv", False, RetainedRows),
        ("a.parquet", True, RetainedRows),
    ):
        assert isinstance(retain(open_table(tmp_path / name), 1_000, again), kind)


def test_a_csv_larger_than_the_budget_is_parsed_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "rows.csv"
    rows = pl.DataFrame(
        {"x": [i * 37 % 101 / 10 for i in range(5_000)], "y": [i % 3 % 2 for i in range(5_000)]}
    )
    rows.write_csv(path)
    parsed, slices = [], descend.tables.table.Table.slices
    monkeypatch.setattr(
        descend.tables.table.Table, "slices", lambda self, *a: (parsed.append(a), slices(self, *a))[1]
    )
    small = descend.fit(path, target="y", memory=20_000, optimizer="gradient-descent", steps=5)
    assert len(parsed) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]
    large = descend.fit(path, target="y", optimizer="gradient-descent", steps=5)
    assert small.weights.tolist() == large.weights.tolist()
