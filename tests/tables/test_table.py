"""Files and frames as tables: which files, which cells, in which order, and what is refused."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.errors import DataError
from descend.tables.files import MISSING, TypeConflict, find_files
from descend.tables.table import (
    as_frame,
    is_table,
    open_table,
    read_columns,
    write_columns,
    write_frames,
)

CSV = "x,c,y\n1,a,2.5\n,b,3\n4,,-1\n"
ROWS = [(1, "a", 2.5), (None, "b", 3.0), (4, None, -1.0)]
COLUMNS = {"x": [1, None, 4], "c": ["a", "b", None], "y": [2.5, 3.0, -1.0]}


def cells(data, columns=None, rows=2, **options):
    """Every cell of a table, read `rows` rows at a time, as tuples."""
    table = open_table(data, **options)
    columns = columns or table.names
    return [row for piece in table.slices(columns, rows) for row in piece.frame.rows()]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def csv_file(folder):
    return write(folder / "a.csv", CSV)


def parquet_file(folder):
    pq.write_table(pa.table(COLUMNS), folder / "a.parquet")
    return folder / "a.parquet"


SOURCES = {
    "csv": csv_file,
    "csv as text": lambda folder: str(csv_file(folder)),
    "csv in a list": lambda folder: [csv_file(folder)],
    "parquet": parquet_file,
    "polars": lambda _: pl.DataFrame(COLUMNS),
    "pandas": lambda _: pd.DataFrame(COLUMNS).convert_dtypes(),
    "pyarrow": lambda _: pa.table(COLUMNS),
    "record batch": lambda _: pa.record_batch(COLUMNS),
    "dict": lambda _: COLUMNS,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_kind_of_table_gives_the_same_cells(source, tmp_path):
    data = source(tmp_path)
    assert open_table(data).names == ("x", "c", "y")
    assert cells(data) == ROWS
    assert cells(data, ["y", "x"]) == [(y, x) for x, _, y in ROWS]


DIALECTS = {
    "comma": ("a.csv", "x,c,y\n1,a,2.5\n,b,3\n4,,-1\n"),
    "no newline at the end": ("a.csv", "x,c,y\n1,a,2.5\n,b,3\n4,,-1"),
    "carriage returns": ("a.csv", "x,c,y\r\n1,a,2.5\r\n,b,3\r\n4,,-1\r\n"),
    "byte order mark": ("a.csv", "\ufeffx,c,y\n1,a,2.5\n,b,3\n4,,-1\n"),
    "semicolon": ("a.csv", "x;c;y\n1;a;2.5\n;b;3\n4;;-1\n"),
    "pipe": ("a.csv", "x|c|y\n1|a|2.5\n|b|3\n4||-1\n"),
    "tab": ("a.csv", "x\tc\ty\n1\ta\t2.5\n\tb\t3\n4\t\t-1\n"),
    "tab by its ending": ("a.tsv", "x\tc\ty\n1\ta\t2.5\n\tb\t3\n4\t\t-1\n"),
    "quoted": ("a.csv", '"x","c","y"\n"1","a","2.5"\n,"b","3"\n4,,"-1"\n'),
    "gzip": ("a.csv.gz", gzip.compress(CSV.encode())),
    "other ending": ("a.txt", CSV),
}


@pytest.mark.parametrize(("name", "content"), DIALECTS.values(), ids=DIALECTS)
def test_dialects_of_csv(name, content, tmp_path):
    assert cells(write(tmp_path / name, content)) == ROWS


def test_quoted_cells_and_names_keep_separators_quotes_and_newlines(tmp_path):
    path = write(tmp_path / "a.csv", '"a;b;c;d","p, q",y\n"1, 5","line\nbreak",2\n"""q""",;,3\n')
    assert open_table(path).names == ("a;b;c;d", "p, q", "y")
    assert cells(path) == [("1, 5", "line\nbreak", 2), ('"q"', ";", 3)]


def test_odd_names_are_names_like_others(tmp_path):
    names = ["<script>", "", "größe", "two words", "[bold]", "y"]
    path = write(tmp_path / "a.csv", ",".join(names) + "\n1,2,3,4,5,6\n")
    assert open_table(path).names == tuple(names)
    assert cells(path, ["größe", "<script>", "", "[bold]"]) == [(3, 1, 2, 5)]


def test_quotes_in_names_are_doubled_in_the_file_alone(tmp_path):
    frame = pl.DataFrame({'a "b"': [1, 2], '""': [3.5, None], "y": ["u", "v"]})
    frame.write_csv(tmp_path / "a.csv")
    table = open_table(tmp_path / "a.csv")
    assert table.names == tuple(frame.columns)
    assert cells(tmp_path / "a.csv") == frame.rows()
    assert table.widened().names == table.names


def test_columns_of_one_name_in_a_csv_are_refused(tmp_path):
    path = write(tmp_path / "a.csv", "z,z,y\n1,2,3\n")
    with pytest.raises(DataError, match=r"'a\.csv' has more than one column `z`"):
        open_table(path)


@pytest.mark.parametrize("mark", MISSING, ids=lambda mark: mark or "empty")
def test_cells_that_count_as_missing(mark, tmp_path):
    path = write(tmp_path / "a.csv", f"x,c,y\n1,a,1\n{mark},{mark},2\n")
    assert cells(path) == [(1, "a", 1), (None, None, 2)]


def test_missing_replaces_the_cells_that_count(tmp_path):
    path = write(tmp_path / "a.csv", "x,c,y\n1,NA,1\n-,-,2\n")
    assert cells(path, missing=["-"]) == [(1, "NA", 1), (None, None, 2)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a.csv", True),
        (Path("a.csv"), True),
        (["a.csv", Path("b.csv")], True),
        (pl.DataFrame({"x": [1]}), True),
        (pd.DataFrame({"x": [1]}), True),
        (pa.table({"x": [1]}), True),
        ({"x": [1]}, True),
        ([], False),
        ([1.0, 2.0], False),
        ([[1.0], [2.0]], False),
        (np.zeros((2, 2)), False),
        (None, False),
        (3, False),
    ],
    ids=repr,
)
def test_what_is_a_table(data, expected):
    assert is_table(data) is expected


def test_files_of_a_path_a_glob_a_folder_and_several(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv", "c.parquet", "d.tsv", "notes.md", "odd[1].csv"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def names(what):
        return [path.name for path in find_files(what)]

    assert names("b.csv") == ["b.csv"]
    assert names("odd[1].csv") == ["odd[1].csv"]
    assert names("[ab].csv") == ["a.csv", "b.csv"]
    assert names(tmp_path) == ["a.csv", "b.csv", "c.parquet", "d.tsv", "odd[1].csv"]
    assert names(["d.tsv", "[ab].csv"]) == ["d.tsv", "a.csv", "b.csv"]
    for absent in ("z.csv", "z*.csv", ["a.csv", "z.csv"]):
        with pytest.raises(DataError, match="found no file 'z"):
            find_files(absent)


def test_a_name_with_brackets_is_read_as_it_is(tmp_path):
    assert cells(write(tmp_path / "odd[1].csv", CSV)) == ROWS


@settings(max_examples=30)
@given(heights=st.lists(st.integers(0, 9), min_size=1, max_size=4), rows=st.integers(1, 5))
def test_slices_are_whole_but_for_the_last_of_each_file(tmp_path_factory, heights, rows):
    folder, first = tmp_path_factory.mktemp("slices"), 0
    for file, height in enumerate(heights):
        values = range(first, first + height)
        write(folder / f"{file}.csv", "x\n" + "".join(f"{value}\n" for value in values))
        first += height
    slices = list(open_table(folder).slices(["x"], rows))
    seen = [(piece.file, piece.start, piece.frame["x"].to_list()) for piece in slices]
    expected, first = [], 0
    for file, height in enumerate(heights):
        for start in range(0, max(height, 1), rows):
            stop = min(start + rows, height)
            expected.append((file, start, list(range(first + start, first + stop))))
        first += height
    assert seen == expected


def test_the_number_of_a_file_is_its_place_in_sorted_order(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.csv", f"x\n{ord(name)}\n")
    paths = [tmp_path / f"{name}.csv" for name in "cab"]
    slices = list(open_table(paths).slices(["x"], 10))
    assert [(piece.file, piece.frame["x"].item()) for piece in slices] == [(2, 99), (0, 97), (1, 98)]


def test_columns_of_later_files_may_stand_in_another_order(tmp_path):
    write(tmp_path / "a.csv", "x,y\n1,2\n")
    write(tmp_path / "b.csv", "y,more,x\n4,0,3\n")
    assert cells(tmp_path, ["x", "y"]) == [(1, 2), (3, 4)]


def test_a_later_file_without_a_column_is_named(tmp_path):
    write(tmp_path / "a.csv", "x,y\n1,2\n")
    write(tmp_path / "b.csv", "y\n4\n")
    with pytest.raises(DataError, match=r"'b\.csv' has no column `x`, which 'a\.csv' has"):
        cells(tmp_path)


LONG = 10_100
CONFLICTS = {
    "broken number": ("1", "2.5", pl.Float64, 2.5),
    "text after numbers": ("1", "none", pl.String, "none"),
    "text after broken numbers": ("1.5", "none", pl.String, "none"),
    "text after truth": ("true", "maybe", pl.String, "maybe"),
    "text after dates": ("2020-01-02", "someday", pl.String, "someday"),
}


@pytest.mark.parametrize(("usual", "last", "dtype", "value"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_cell_of_another_type_after_the_inferred_rows(usual, last, dtype, value, tmp_path):
    path = write(tmp_path / "a.csv", "x,k\n" + f"{usual},1\n" * LONG + f"{last},1\n")
    table = open_table(path)
    with pytest.raises(TypeConflict, match=rf"'a\.csv'.*{last}"):
        list(table.slices(["x"], 4096))
    widened = table.widened()
    assert widened.schema["x"] == dtype
    assert widened.schema["k"] == pl.Int64
    assert list(widened.slices(["x"], 4096))[-1].frame["x"][-1] == value


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [("1", "2.5", pl.Float64), ("1", "u", pl.String), ("2020-01-01", "u", pl.String), ("1", "2", pl.Int64)],
)
def test_types_that_differ_between_files_are_widened(first, second, dtype, tmp_path):
    write(tmp_path / "a.csv", f"x,k\n{first},1\n")
    write(tmp_path / "b.csv", f"k,x\n1,{second}\n")
    table = open_table(tmp_path).widened()
    assert dict(table.schema) == {"x": dtype, "k": pl.Int64}
    assert len(list(table.slices(["x", "k"], 10))) == 2


def test_number_columns_take_broken_numbers_later_on(tmp_path):
    path = write(tmp_path / "a.csv", "x,k\n" + "1,1\n" * LONG + "2.5,1\n")
    table = open_table(path, number_columns=["x"])
    assert (table.schema["x"], table.schema["k"]) == (pl.Float64, pl.Int64)
    assert next(iter(table.slices(["x"], 1 << 15))).frame["x"][-1] == 2.5


def test_text_columns_are_text_whatever_they_look_like(tmp_path):
    path = write(tmp_path / "a.csv", "zip,day,y\n01234,2020-01-01,1\n")
    assert cells(path, text_columns=["zip", "day"]) == [("01234", "2020-01-01", 1)]


def test_dates_and_times_are_found(tmp_path):
    path = write(tmp_path / "a.csv", "d,t,n\n2020-01-02,2020-01-02T06:00:00,x\n,,2020-01-01\n")
    assert cells(path) == [
        (dt.date(2020, 1, 2), dt.datetime(2020, 1, 2, 6), "x"),
        (None, None, "2020-01-01"),
    ]


REFUSED = {
    "empty": ("a.csv", b"", "empty"),
    "ragged": ("a.csv", b"x,y\n1,2\n3,4,5\n", "more fields"),
    "latin-1": ("a.csv", "x,y\ncafé,1\n".encode("latin-1"), "utf-8"),
    "carriage returns alone": ("a.csv", b"x,y\r1,2\r3,4\r", "carriage returns"),
    "no parquet": ("a.parquet", b"x,y\n1,2\n", "parquet"),
    "empty parquet": ("a.parquet", b"", "parquet"),
}


@pytest.mark.parametrize(("name", "content", "reason"), REFUSED.values(), ids=REFUSED)
def test_files_that_cannot_be_read_say_why_in_one_line(name, content, reason, tmp_path):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=rf"(?i)cannot read .*{name}.*{reason}") as caught:
        cells(path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write(tmp_path / "a.csv", CSV)
    path.chmod(0)
    with pytest.raises(DataError, match="cannot read"):
        open_table(path)


FRAMES_REFUSED = {
    "number": 3,
    "nothing": None,
    "unequal columns": {"x": [1, 2], "y": [1]},
    "series": pd.Series([1, 2], name="y"),
    "names twice": pd.DataFrame([[1, 2]], columns=["x", "x"]),
    "mixed objects": pd.DataFrame({"x": [1, "b", 3.5]}),
    "folder without tables": "EMPTY",
}


@pytest.mark.parametrize("data", FRAMES_REFUSED.values(), ids=FRAMES_REFUSED)
def test_what_is_no_table_is_refused(data, tmp_path):
    with pytest.raises(DataError, match=r"cannot read|found no file"):
        open_table(tmp_path if isinstance(data, str) else data)


def test_rows_that_are_cut_short_end_in_missing_cells(tmp_path):
    assert cells(write(tmp_path / "a.csv", "x,y\n1,2\n3\n")) == [(1, 2), (3, None)]


def test_a_header_alone_is_one_empty_slice(tmp_path):
    for data in (write(tmp_path / "a.csv", "x,y\n"), {"x": [], "y": []}):
        slices = list(open_table(data).slices(["y", "x"], 10))
        assert [(piece.start, piece.frame.columns, piece.frame.height) for piece in slices] == [
            (0, ["y", "x"], 0)
        ]


def test_a_dict_of_python_numbers_may_mix_whole_and_broken_ones():
    assert as_frame({"x": [1, 2.5, None]})["x"].to_list() == [1.0, 2.5, None]


def test_pandas_without_pyarrow(tmp_path):
    """Every package but pyarrow on the path of a process of its own: column by column through NumPy."""
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if not item.name.startswith("pyarrow") and item.suffix != ".pth":
            (tmp_path / item.name).symlink_to(item)
    code = """
import pandas as pd
from descend.tables.table import as_frame
try:
    import pyarrow
except ImportError:
    pass
else:
    raise SystemExit("pyarrow is there after all")
frame = pd.DataFrame({
    "x": [1.0, None], "c": ["a", None], "d": pd.to_datetime(["2020-01-02", None]), 3: [True, False],
    "k": pd.Categorical(["u", None]), "n": pd.array([1, None], dtype="Int64"),
    "b": pd.array([True, None], dtype="boolean"), "o": pd.Series(["p", float("nan")], dtype=object),
})
frame = as_frame(frame).fill_nan(None)
print([str(kind) for kind in frame.dtypes], frame.columns, frame.rows())
"""
    source = Path(__file__).parents[2] / "src"
    found = subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "(1.0, 'a', datetime.datetime(2020, 1, 2, 0, 0), True, 'u', 1.0, True, 'p')" in found.stdout
    assert "(None, None, None, False, None, None, None, None)" in found.stdout


FRAMES = [{"a": [1, 2], "b": ["x", None]}, {"a": [3], "b": ['q "z", é']}]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_frames_are_written_one_after_the_other(ending, tmp_path):
    path = tmp_path / f"out.{ending}"
    write_frames(iter(FRAMES), path)
    found = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
    assert found["a"].tolist() == [1, 2, 3]
    assert found["b"].iloc[[0, 2]].tolist() == ["x", 'q "z", é']
    assert found["b"].isna().tolist()[1]


def test_frames_go_to_standard_output_as_csv(capfdbinary):
    write_frames(iter([{"a": [1]}, {"a": [2]}]), None)
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b"a\n1\n2\n"


def test_predictions_have_an_ending_that_says_how(tmp_path):
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        write_frames(iter(FRAMES), tmp_path / "out.xlsx")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_appears_whole_or_not_at_all(ending, tmp_path):
    def frames():
        yield FRAMES[0]
        raise OSError("the disk is gone")

    path = tmp_path / f"out.{ending}"
    path.write_text("before")
    with pytest.raises(Exception, match="the disk is gone"):
        write_frames(frames(), path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == [path.name]


def test_columns_round_trip(tmp_path):
    columns = {"number": [0, 1], "loss": [1.5, None]}
    write_columns(columns, tmp_path / "a.parquet")
    assert read_columns(tmp_path / "a.parquet") == columns
    with pytest.raises(DataError, match="cannot read"):
        read_columns(write(tmp_path / "b.parquet", b"no"))
