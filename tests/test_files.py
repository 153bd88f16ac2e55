"""Files written whole or not at all, and temporary ones that never stay behind."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from descend.errors import DataError
from descend.files import TemporaryFile, replacing


def listed(folder):
    return sorted(os.listdir(folder))


def write_half(path, error):
    path.write_text("half")
    raise error


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A folder of its own for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["a.json", "no suffix", ".hidden", "två ord.tar.gz"])
@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("kind", [str, Path])
def test_the_new_file_takes_the_place_of_the_old_at_the_end(tmp_path, name, old, kind):
    target = tmp_path / name
    if old:
        target.write_text(old)
    with replacing(kind(target)) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(target.suffix)  # what picks the format by it writes the same
        temporary.write_text("new")
        assert (target.read_text() if old else target.exists()) == (old or False)
    assert target.read_text() == "new"
    assert listed(tmp_path) == [name]


def test_a_bare_name_lies_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with replacing("a.txt") as temporary:
        temporary.write_text("new")
    assert listed(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit], ids=lambda e: e.__name__)
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, old, error):
    target = tmp_path / "a.txt"
    if old:
        target.write_text(old)
    with pytest.raises(error), replacing(target) as temporary:
        write_half(temporary, error)
    assert listed(tmp_path) == (["a.txt"] if old else [])
    assert not old or target.read_text() == old


def test_a_reader_that_has_the_old_file_open_keeps_it(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with target.open() as reader:
        with replacing(target) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


def test_two_writers_do_not_meet(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as one, replacing(target) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert target.read_text() == "one"  # the outer one ends last
    assert listed(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_file_has_the_mode_of_any_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_a_folder_that_is_missing_or_named_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot write '.*gone.a\.txt': the folder .* is not there"):
        replacing(tmp_path / "gone" / "a.txt").__enter__()
    with pytest.raises(DataError, match=r"it is a folder\. Give the name of a file"):
        replacing(tmp_path).__enter__()
    assert listed(tmp_path) == []


# Temporary files


def test_a_temporary_file_is_there_until_it_is_closed(scratch):
    file = TemporaryFile(".npy")
    assert listed(scratch) == [file.path.name]
    assert file.path.name.startswith("descend-")
    assert file.path.suffix == ".npy"
    file.path.write_text("kept")
    assert file.path.read_text() == "kept"
    file.close()
    file.close()
    assert listed(scratch) == []


def test_a_forgotten_file_is_deleted(scratch):
    file = TemporaryFile()
    assert len(listed(scratch)) == 1
    del file
    gc.collect()
    assert listed(scratch) == []


def test_one_that_is_gone_already_is_no_error(scratch):
    file = TemporaryFile()
    file.path.unlink()
    file.close()
    file.close()
    assert not listed(scratch)


def test_files_have_names_of_their_own(scratch):
    files = [TemporaryFile(".txt") for _ in range(5)]
    assert len(listed(scratch)) == 5
    for file in files:
        file.close()


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "1 / 0"], ids=["end", "exit", "error"])
def test_the_end_of_the_process_deletes_it(tmp_path, ending):
    code = f"from descend.files import TemporaryFile\nfile = TemporaryFile()\nprint(file.path)\n{ending}"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert Path(run.stdout.strip()).parent == tmp_path, run.stderr
    assert listed(tmp_path) == []


def test_where_none_can_be_made_tmpdir_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"cannot make a temporary file: .*Set TMPDIR to a folder"):
        TemporaryFile()


def test_writing_that_ends_well_keeps_the_file(scratch):
    file = TemporaryFile()
    with file.writing():
        file.path.write_text("all of it")
    assert file.path.read_text() == "all of it"
    file.close()


@pytest.mark.parametrize(
    "error",
    [ValueError("bad row"), KeyboardInterrupt(), OSError(errno.EIO, "broken")],
    ids=lambda e: type(e).__name__,
)
def test_writing_that_fails_deletes_the_file_and_the_error_goes_on(scratch, error):
    file = TemporaryFile()
    with pytest.raises(type(error)) as caught, file.writing():
        write_half(file.path, error)
    assert caught.value is error
    assert listed(scratch) == []


def test_a_full_disk_is_said_in_words(scratch):
    file = TemporaryFile()
    with pytest.raises(DataError, match="is full: set TMPDIR to a larger one") as caught, file.writing():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert scratch.name in str(caught.value)
    assert listed(scratch) == []
