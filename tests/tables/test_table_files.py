"""The files of a table: found, told apart by their first bytes, refused with a reason."""

from __future__ import annotations

import gzip
import io
import sys

import polars as pl
import pyarrow as pa
import pytest

from descend.errors import DataError
from descend.tables.csv_files import CsvFile
from descend.tables.files import ColumnarFile, find_files, open_file

FRAME = pl.DataFrame({"x": [1, 2, 3], "c": ["a", "b", None]})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.tsv", "c.csv.gz", "d.parquet", "notes.txt", ".hidden.csv", "E.CSV"):
        (tmp_path / name).write_text("x\n1\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "f.csv").write_text("x\n1\n")
    return tmp_path


FOUND = {
    "one": ("b.csv", ["b.csv"]),
    "a file of any name": ("notes.txt", ["notes.txt"]),
    "a folder, sorted, without what is no table": (".", ["E.CSV", "a.tsv", "b.csv", "c.csv.gz", "d.parquet"]),
    "a glob": ("*.csv", ["E.CSV", "b.csv"]),
    "a deep glob": ("**/*.csv", ["b.csv", "inner/f.csv"]),
    "several, in the order given": (["d.parquet", "b.csv", "inner"], ["d.parquet", "b.csv", "inner/f.csv"]),
    "standard input": ("-", ["-"]),
}


@pytest.mark.parametrize(("paths", "names"), FOUND.values(), ids=FOUND)
def test_files_are_found(paths, names, folder):
    found = [str(path) for path in find_files(paths)]
    if paths == "*.csv":  # whether case matters is up to the file system
        found, names = [n for n in found if n != "E.CSV"], ["b.csv"]
    assert found == names


@pytest.mark.parametrize("path", ["nothere.csv", "*.arrow", "empty"])
def test_nothing_found_is_told_with_the_place_looked_at(path, folder):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=f"found no file '{path.replace('*', '.')}'.*{folder.name}"):
        find_files(path)


def test_an_empty_path_is_not_the_current_folder(folder):
    with pytest.raises(DataError, match="a path is empty"):
        find_files("")


@pytest.mark.parametrize("url", ["https://a.org/b.csv", "s3://bucket/folder/", "s3://bucket/*.csv"])
def test_of_urls_only_parquet_is_read(url):
    with pytest.raises(
        DataError, match=r"only Parquet is read from a URL, .*got '.*': copy other files to a disk"
    ):
        find_files(url)


def test_a_url_names_files_as_a_path_does(tmp_path):
    for i in range(3):
        pl.DataFrame({"x": [i, i + 1]}).write_parquet(tmp_path / f"{i}.parquet")
    url = f"file://{tmp_path}"
    assert find_files(f"{url}/*.parquet") == [f"{url}/{i}.parquet" for i in range(3)]
    mixed = [f"{url}/2.parquet", tmp_path / "0.parquet"]
    assert find_files(mixed) == mixed
    file = open_file(mixed[0])
    assert (file.label, file.rows(), dict(file.schema)) == ("2.parquet", 2, {"x": pl.Int64()})
    with pytest.raises(
        DataError, match=r"cannot read 'file://.*nowhere/\*\.parquet': no file has such a name"
    ):
        find_files(f"{url}/nowhere/*.parquet")
    with pytest.raises(DataError, match=r"cannot read 'file://.*none"):
        open_file(f"{url}/none.parquet")


def test_a_path_may_begin_at_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert find_files("~/b.csv") == [folder / "b.csv"]


def test_a_name_with_the_signs_of_a_glob_is_a_name(folder):
    (folder / "sales[1].csv").write_text("x\n1\n")
    assert [path.name for path in find_files("sales[1].csv")] == ["sales[1].csv"]
    assert open_file(find_files("sales[1].csv")[0]).types() == {"x": pl.Int64()}


@pytest.mark.parametrize("name", ["t.csv", "t", "t.parquet", "t.dat"])
def test_parquet_and_arrow_are_known_by_their_first_bytes(name, tmp_path):
    for write, kind in ((FRAME.write_parquet, "parquet"), (FRAME.write_ipc, "arrow")):
        write(tmp_path / name)
        file = open_file(tmp_path / name)
        assert isinstance(file, ColumnarFile)
        assert (file.kind, file.names, file.rows()) == (kind, ("x", "c"), 3)
        assert file.types() == {"x": pl.Int64(), "c": pl.String()}


def stream(path):
    with pa.ipc.new_stream(path, FRAME.to_arrow().schema) as writer:
        writer.write_table(FRAME.to_arrow())


REFUSED = {
    "zip": ("t.csv", b"PK\x03\x04rest", "is a zip archive or a spreadsheet: unpack it"),
    "spreadsheet": ("t.xlsx", b"PK\x03\x04rest", "spreadsheet.*save it as CSV"),
    "bzip2": ("t.csv.bz2", b"BZh91AY", "compressed by bzip2"),
    "xz": ("t.csv.xz", b"\xfd7zXZ\x00", "compressed by xz"),
    "no parquet": ("t.parquet", b"x,y\n1,2\n", "does not begin as a parquet file does. Was it cut short"),
    "half parquet": ("t.parquet", b"PAR1" + bytes(100), "cannot read 't.parquet'"),
    "half arrow": ("t.arrow", b"ARROW1\0\0" + bytes(100), "cannot read 't.arrow'"),
    "half gzip": ("t.csv.gz", gzip.compress(b"x,y\n" + b"1,2\n" * 9999)[:40], "cannot read 't.csv.gz'"),
    "empty": ("t.csv", b"", "cannot read 't.csv': it is empty"),
    "blank lines": ("t.csv", b"\n\n\n", "it is empty"),
    "nothing but the mark": ("t.csv", b"\xef\xbb\xbf", "it is empty"),
    "two columns of one name": ("t.csv", b"x,y,x\n1,2,3\n", "more than one column `x`"),
    "other letters": ("t.csv", "x,name\n1,Zoë\n".encode("cp1252"), "not text in UTF-8.*--encoding cp1252"),
}


@pytest.mark.parametrize(("name", "content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_says_why(name, content, reason, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        open_file(tmp_path / name).types()


def test_an_arrow_stream_is_not_an_arrow_file(tmp_path):
    stream(str(tmp_path / "t.arrows"))
    with pytest.raises(DataError, match="is an Arrow stream: write it as an Arrow file"):
        open_file(tmp_path / "t.arrows")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        open_file(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_standard_input_is_copied_and_the_copy_deleted(kind, monkeypatch):
    buffer = io.BytesIO()
    (FRAME.write_csv if kind == "csv" else FRAME.write_parquet)(buffer)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    (path,) = find_files("-")
    file = open_file(path)
    assert (file.label, file.rows()) == ("standard input", 3)
    assert isinstance(file, CsvFile) == (kind == "csv")
    assert file.path.exists()
    file.close()
    assert not file.path.exists()


def test_a_column_of_text_where_the_first_file_has_numbers_is_refused(tmp_path):
    FRAME.write_parquet(tmp_path / "t.parquet")
    file = open_file(tmp_path / "t.parquet")
    with pytest.raises(
        DataError, match=r"column `c` is text in 't\.parquet', but Float64 in the file before"
    ):
        file.scan({"c": pl.Float64()})
