"""The beginning of a CSV: separator, encoding, compression, types, and what is refused."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descend import fit
from descend.errors import DataError
from descend.tables.csv_files import open_csv, sniff_separator
from descend.tables.table import open_table

CSV = "x,c,y\n1,ä,2.5\n,b,3\n4,,-1\n"
ROWS = [(1, "ä", 2.5), (None, "b", 3.0), (4, None, -1.0)]


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    """Temporary files go to a folder of the test's own; none may stay."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def write(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(path, **options):
    table = open_table(path, **options)
    try:
        return [row for piece in table.slices(table.names, 2) for row in piece.frame.rows()]
    finally:
        table.close()


words = st.text("ab ,;|\t\"'\n1.5é", max_size=6)


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(words, min_size=3, max_size=3), min_size=2, max_size=8),
    separator=st.sampled_from(",;\t|"),
)
def test_the_separator_of_a_quoted_table_is_found(rows, separator):
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [["one", "two", "three"], *rows]
    )
    assert sniff_separator(text.getvalue().split("\n")) == separator


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        (["a;b;c", "1,5;2,5;3,5", "1,5;2,5;3,5"], ";"),
        (['"a;b;c;d","p",y', "1,2,3"], ","),
        (["name;remark", "Ann;one, two, three", "Bob;none"], ";"),
        (["a b c", "1 2 3"], ","),
        (["only"], ","),
        (["a|b", "1,2|3", "4|5,6"], "|"),
    ],
)
def test_separators_inside_cells_do_not_count(lines, separator):
    assert sniff_separator(lines) == separator


def zstd(text, encoding="utf-8"):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(text.encode(encoding))
    return sink.getvalue().to_pybytes()


ENCODINGS = {
    "utf-8": CSV.encode(),
    "utf-8 with a mark": CSV.encode("utf-8-sig"),
    "utf-16 by its mark": CSV.encode("utf-16"),
    "gzip": gzip.compress(CSV.encode()),
    "two gzip members": gzip.compress(CSV[:13].encode()) + gzip.compress(CSV[13:].encode()),
    "zstd": zstd(CSV),
}


@pytest.mark.parametrize("content", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("name", ["a.csv", "a"])
def test_encodings_and_compressions_that_need_no_flag(content, name, tmp_path):
    assert cells(write(tmp_path, content, name)) == ROWS


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_encoding_that_is_named(encoding, packed, tmp_path):
    content = CSV.encode(encoding)
    path = write(tmp_path, gzip.compress(content) if packed else content)
    assert cells(path, encoding=encoding) == ROWS


def test_an_encoding_is_rewritten_in_pieces(tmp_path, monkeypatch):
    """Pieces may end inside a character of several bytes, and inside a line."""
    monkeypatch.setattr("descend.tables.files.CHUNK", 7)
    many = "x,c,y\n" + "".join(f"{i},ä{i},{i}.5\n" for i in range(50))
    expected = [(i, f"ä{i}", i + 0.5) for i in range(50)]
    assert cells(write(tmp_path, many.encode("utf-16")), encoding="utf-16") == expected


REFUSED = {
    "not utf-8": (CSV.encode("latin-1"), {}, "not text in UTF-8.*--encoding"),
    "not this encoding": (CSV.encode("latin-1"), {"encoding": "utf-16"}, "not text in the encoding 'utf-16'"),
    "no encoding": (CSV.encode(), {"encoding": "klingon"}, "'klingon' is not known"),
    "zstd in latin-1": (
        zstd(CSV, "latin-1"),
        {"encoding": "latin-1"},
        "unpack it first",
    ),
    "gzip cut short": (gzip.compress(CSV.encode() * 999)[:-20], {}, "unexpected end"),
    "gzip cut short in latin-1": (
        gzip.compress(CSV.encode() * 9)[:-9],
        {"encoding": "latin-1"},
        "ended before",
    ),
    "nothing": (b"", {}, "it is empty"),
    "a name twice": (b"x,y,x\n1,2,3\n", {}, "more than one column `x`"),
    "a row too long": (b"x,y\n1,2\n1,2,3\n", {}, "more fields than the header"),
    "a quote not closed": (b'x,y\n1,"2\n', {}, "never closed"),
    "zip": (b"PK\x03\x04rest", {}, "zip archive or a spreadsheet"),
    "bzip2": (b"BZh9rest", {}, "compressed by bzip2"),
    "xz": (b"\xfd7zXZ\x00rest", {}, "compressed by xz"),
}


@pytest.mark.parametrize(("content", "options", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_said_with_the_name_of_the_file(content, options, reason, tmp_path):
    with pytest.raises(DataError, match=reason) as caught:
        cells(write(tmp_path, content), **options)
    assert "a.csv" in str(caught.value) or "encoding" in str(caught.value)
    del caught


TYPES = {
    "whole": ("1", "2", pl.Int64),
    "broken": ("1", "2.5", pl.Float64),
    "padded": (" 1", "2 ", pl.Float64),
    "signs and powers": ("+1", "1e3", pl.Float64),
    "missing so far": ("", "NA", pl.Float64),
    "truth": ("true", "False", pl.Boolean),
    "text": ("1", "one", pl.String),
}


@pytest.mark.parametrize(("first", "second", "kind"), TYPES.values(), ids=TYPES)
def test_types_of_columns(first, second, kind, tmp_path):
    assert open_csv(write(tmp_path, f"k,x\n0,{first}\n0,{second}\n"), "a.csv").types()["x"] == kind


def test_a_comma_in_numbers_where_it_does_not_separate(tmp_path):
    path = write(tmp_path, "x;n;c\n1,5;7;a,b\n-0,25;8;c\n")
    assert cells(path) == [(1.5, 7, "a,b"), (-0.25, 8, "c")]


def test_a_point_in_numbers_where_a_semicolon_separates(tmp_path):
    assert cells(write(tmp_path, "x;c\n1.5;a,b\n-0.25;c\n")) == [(1.5, "a,b"), (-0.25, "c")]


def test_fitting_types_look_at_every_row_of_every_file(tmp_path):
    rows = 10_500
    body = "x,n,d,t,c\n" + "1,1,2020-01-01,true,a\n" * rows
    csv_file = open_csv(write(tmp_path, body + "?,1.5,2020-01-02,false,b\n"), "a.csv")
    assert csv_file.fitting(csv_file.types())[0] == {
        "x": pl.String, "n": pl.Float64, "d": pl.Date, "t": pl.Boolean, "c": pl.String,
    }  # fmt: skip
    csv_file = open_csv(write(tmp_path, body + "1,1,never,perhaps,b\n"), "a.csv")
    assert csv_file.fitting(csv_file.types())[0] == {
        "x": pl.Int64, "n": pl.Int64, "d": pl.String, "t": pl.String, "c": pl.String,
    }  # fmt: skip


def test_rows_are_counted_as_they_are_read(tmp_path):
    content = 'x,c\n1,"two\nlines"\n\n2,b\r\n3,"a ""q"""\n'
    path = write(tmp_path, content)
    assert open_csv(path, "a.csv").rows() == len(cells(path))


@pytest.mark.parametrize("before", range(4))
def test_a_letter_may_lie_across_the_end_of_the_first_look(before, tmp_path):
    cell = "x" * (2**20 - len("name,y\n") - 3 + before) + "\u20ac"  # a letter of three bytes
    path = write(tmp_path, f"name,y\n{cell},1\nb,2\n")
    assert cells(path) == [(cell, 1), ("b", 2)]


def test_text_of_another_encoding_is_told_from_the_first_look(tmp_path):
    path = write(tmp_path, b"name,y\n" + b"a,1\n" * 1_000 + "caf\u00e9,2\n".encode("cp1252"))
    with pytest.raises(DataError, match="not text in UTF-8"):
        open_csv(path, "a.csv")


UNMARKED = {
    "numbers": ("1,2\n3,4.5\n", {}, True),
    "empty cells": ("1,\n,4.5\n", {}, True),
    "a mark": ("1,NA\n3,4.5\n", {}, False),
    "a mark that is a number": ("1,2\n-9,4.5\n", {"missing": ("-9",)}, False),
    "a text": ("1,a\n3,b\n", {}, False),
}


@pytest.mark.parametrize(("rows", "options", "unmarked"), UNMARKED.values(), ids=UNMARKED)
def test_marks_are_not_looked_for_among_numbers_that_show_none(rows, options, unmarked, tmp_path):
    file = open_csv(write(tmp_path, f"x,y\n{rows}"), "a.csv", **options)
    types = file.types()
    plain = file.unmarked(types)
    assert (plain is not None) is unmarked
    assert plain is None or plain.scan(types).collect().equals(file.scan(types).collect())


@pytest.mark.parametrize("row", [0, 500, 12_000])
@pytest.mark.parametrize("name", ["whole", "broken", "y"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_spaces_behind_a_number_change_nothing(row, name, separator, tmp_path):
    rows = 12_500
    frame = pl.DataFrame(
        {"whole": [i % 97 for i in range(rows)], "broken": [i % 89 / 4 for i in range(rows)]}
    )
    frame = frame.with_columns(
        y=pl.col("whole") - pl.col("broken") + pl.Series([i % 7 / 10 for i in range(rows)])
    )
    comma = {"separator": separator, "decimal_comma": separator == ";"}
    frame.write_csv(tmp_path / "plain.csv", **comma)
    lines = (tmp_path / "plain.csv").read_text().splitlines()
    cells = lines[row + 1].split(separator)
    cells[frame.columns.index(name)] += "  "
    lines[row + 1] = separator.join(cells)
    (tmp_path / "padded.csv").write_text("\n".join(lines) + "\n")
    plain, padded = (fit(tmp_path / f"{kind}.csv", target="y") for kind in ("plain", "padded"))
    assert padded.weights.tolist() == plain.weights.tolist()
    if row < 10_000:
        assert padded.notes == plain.notes
        assert (
            plain.predict(tmp_path / "padded.csv").tolist() == plain.predict(tmp_path / "plain.csv").tolist()
        )


def test_a_text_among_numbers_with_spaces_behind_them_is_found(tmp_path):
    lines = [f"{i % 5} ,{i % 3}" for i in range(11_000)]
    lines[10_500] = "none,1"
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *lines]))
    run = fit(tmp_path / "a.csv", target="y", loss="squared-error")
    assert "`x` (Float64 to String)" in " ".join(run.notes)
    assert run.model.feature_names[-1] == "x=none"
