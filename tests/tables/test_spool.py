"""The spool: what is put in comes out the same, from memory or from its file, which never stays behind."""

from __future__ import annotations

import errno
import gc
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse import csr_array

from descend.engines.blocks import Block
from descend.engines.matrix import Mixed
from descend.errors import DataError, DescendError
from descend.files import TemporaryFile
from descend.machine import as_bytes
from descend.tables.retained import Spool


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    gc.collect()
    assert not list(tmp_path.iterdir())


def block(rows, kind="dense", seed=0, weighted=True):
    rng = np.random.default_rng(seed)
    dense = np.asarray(rng.normal(size=(rows, 3)), order="F")
    sparse = csr_array(rng.random((rows, 5)) * (rng.random((rows, 5)) < 0.3))
    sparse.indices, sparse.indptr = sparse.indices.astype(np.int32), sparse.indptr.astype(np.int32)
    X = {
        "dense": dense,
        "float32": dense.astype(np.float32),
        "sparse": sparse,
        "mixed": Mixed(dense, sparse),
    }[kind]
    return Block(X, rng.normal(size=rows), rng.random(rows) if weighted else None)


def same(a, b):
    if a is None or b is None:
        return a is b
    if isinstance(a, Block):
        return all(same(getattr(a, n), getattr(b, n)) for n in ("X", "y", "sample_weight", "offset"))
    if isinstance(a, Mixed):
        return same(a.dense, b.dense) and same(a.sparse, b.sparse)
    if isinstance(a, csr_array):
        return a.shape == b.shape and all(
            same(getattr(a, n), getattr(b, n)) for n in ("data", "indices", "indptr")
        )
    equal = a.dtype == b.dtype and a.tobytes() == b.tobytes() and a.flags.f_contiguous == b.flags.f_contiguous
    return equal and b.flags.aligned and b.ctypes.data % 8 == 0


@pytest.mark.parametrize("kind", ["dense", "float32", "sparse", "mixed"])
@pytest.mark.parametrize("budget", [0, 3_000, 1 << 40], ids=["file", "both", "memory"])
def test_blocks_come_out_as_they_went_in_in_any_order(kind, budget, folder):
    pairs = {
        i: (block(7 + i, kind, i), block(3, kind, 50 + i, i % 2 == 0) if i % 3 else None) for i in range(12)
    }
    spool = Spool(budget)
    for index in (3, 0, 11, 7, 1, 2, 4, 5, 6, 8, 10, 9):
        spool.put(index, pairs[index])
    assert len(spool) == 12
    assert 5 in spool
    assert 12 not in spool
    assert spool.memory <= budget
    assert len(list(folder.iterdir())) == (budget < 1 << 40)
    for index in np.random.default_rng(0).permutation(12).tolist() * 2:
        assert all(same(a, b) for a, b in zip(pairs[index], spool.get(index), strict=True))
    spool.close()
    assert len(spool) == 0
    assert not list(folder.iterdir())


def test_a_leaf_is_kept_once():
    spool = Spool(0)
    spool.put(0, (block(4), None))
    written = spool.written
    spool.put(0, (block(9, seed=1), None))
    assert spool.written == written
    assert spool.get(0)[0].rows == 4
    with pytest.raises(KeyError):
        spool.get(1)
    spool.close()


def test_what_is_read_may_be_changed():
    spool = Spool(0)
    spool.put(0, (block(4), None))
    spool.get(0)[0].y[:] = 0.0
    assert same(spool.get(0)[0], block(4))
    spool.close()


def test_threads_put_and_get_side_by_side():
    spool = Spool(20_000)

    def work(index):
        spool.put(index, (block(64, "mixed", index), None))
        return all(same(spool.get(i)[0], block(64, "mixed", i)) for i in range(index + 1) if i in spool)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))
    assert len(spool) == 60
    assert spool.written > 0
    spool.close()


def test_a_spool_that_is_forgotten_deletes_its_file(folder):
    spool = Spool(0)
    spool.put(0, (block(4), None))
    assert list(folder.iterdir())
    del spool
    gc.collect()
    assert not list(folder.iterdir())


def test_a_full_disk_is_said_and_leaves_nothing(folder, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("descend.tables.retained._padded", full)
    with pytest.raises(DataError, match="full: set TMPDIR"):
        Spool(0).put(0, (block(4), None))


def test_a_folder_that_is_not_there(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    with pytest.raises(DataError, match="TMPDIR"):
        TemporaryFile()


@pytest.mark.parametrize(
    ("memory", "count"),
    [("500MB", 500_000_000), ("2GB", 2_000_000_000), ("1.5 kB", 1_500), ("7", 7), (12, 12), ("3b", 3)],
)
def test_amounts_of_memory(memory, count):
    assert as_bytes(memory) == count


@pytest.mark.parametrize("memory", ["lots", "-1GB", "5XB", "", "1e9", -5, 2.5e9j])
def test_amounts_that_are_none(memory):
    with pytest.raises(DescendError, match="`memory` must be"):
        as_bytes(memory)


def test_a_quarter_of_the_machine_unless_said():
    assert 1 << 20 < as_bytes(None) < 1 << 50
