"""Raw rows to blocks: what the recipe keeps, beside masks written out, and runs that are kept, left or read."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from kinds_of_table import FRAME, KINDS, made

from descend.engines import blocks
from descend.engines.splits import Split
from descend.engines.worker import Cache, Shelf
from descend.errors import DataError
from descend.tables.encoded import EncodedRange, EncodedTable, Recipe
from descend.tables.encoding import Encoding, Target
from descend.tables.profiles import NumberProfile
from descend.tables.table import Slice, open_table, row_runs


@pytest.fixture(params=KINDS)
def table(request, tmp_path):
    return made(request.param, tmp_path)


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


def recipe(target="y", classes=None, **more):
    profile = NumberProfile()
    profile.add(pl.Series("a", [0.0, 2.0]))
    return Recipe(Encoding.learn({"a": profile}, Target(target, classes), {}, True), **more)


ROWS = pl.DataFrame({
    "a": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    "y": [1.0, None, 3.0, 4.0, 5.0, 6.0],
    "w": [1.0, 2.0, 0.0, 0.5, None, 3.0],
    "c": ["u", "v", "v", None, "odd", "u"],
})  # fmt: skip


def sides(found):
    return [None if block is None else block.y.tolist() for block in found]


def test_rows_without_a_target_or_weight_are_on_neither_side():
    assert sides(recipe().pair(Slice(0, 0, ROWS))[0]) == [[1.0, 3.0, 4.0, 5.0, 6.0], None]
    (training, validation), _ = recipe(weight="w").pair(Slice(0, 0, ROWS[[0, 1, 2, 3, 5]]))
    assert sides([training, validation]) == [[1.0, 4.0, 6.0], None]
    assert training.sample_weight.tolist() == [1.0, 0.5, 3.0]
    assert training.X[:, 0].tolist() == [-1.0, 2.0, 4.0]  # a mean of 1, a deviation of 1


def test_texts_that_are_no_class_are_told_and_left_out():
    (training, _), surprises = recipe("c", ("u", "v")).pair(Slice(0, 0, ROWS))
    assert training.y.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert surprises.found == {("target", "c"): (1, "odd")}


@pytest.mark.parametrize("weight", [None, "w"])
def test_weights_of_classes_are_for_training_rows_alone(weight):
    frame = pl.DataFrame({"a": np.arange(50.0), "c": ["u", "v"] * 25, "w": np.arange(1.0, 51.0)})
    split, factors = Split(0.4, 3), np.array([2.0, 0.5])
    (training, validation), _ = recipe(
        "c", ("u", "v"), weight=weight, split=split, class_weights=factors
    ).pair(Slice(0, 0, frame))
    held_out, s = split.held_out(0, 0, 50), np.arange(1.0, 51.0) if weight else np.ones(50)
    np.testing.assert_array_equal(training.sample_weight, (s * np.tile(factors, 25))[~held_out])
    np.testing.assert_array_equal(validation.X[:, 0], np.arange(50.0)[held_out] - 1.0)
    if weight:
        np.testing.assert_array_equal(validation.sample_weight, s[held_out])
    else:
        assert validation.sample_weight is None


@pytest.mark.parametrize("cells", [[1.0, -1.0], [1.0, None], [1.0, float("inf")]])
def test_weights_that_are_none_are_refused(cells):
    frame = pl.DataFrame({"a": [1.0, 2.0], "y": [1.0, 2.0], "w": cells})
    with pytest.raises(DataError, match="`w`"):
        recipe(weight="w").pair(Slice(0, 0, frame))


def test_no_rows_are_on_neither_side():
    assert sides(recipe(weight="w").pair(Slice(0, 0, ROWS[:0]))[0]) == [None, None]


@pytest.fixture
def runs(monkeypatch):
    """6,400 rows in runs of three leaves of 1,024."""
    monkeypatch.setattr(blocks, "LEAF_CELLS", 1_024)
    table = open_table(pl.DataFrame({"a": np.arange(6_400.0), "y": np.arange(6_400.0)}))
    how = recipe(split=Split(0.3, 0))
    assert how.leaf_rows == 1_024
    return [EncodedRange(run, 3 * i, how, False) for i, run in enumerate(row_runs(table, how.columns, 3_072))]


TRAINING = np.arange(3_072.0)[~Split(0.3, 0).held_out(0, 0, 3_072)]


def test_a_run_numbers_its_leaves_from_its_first(runs):
    for run, numbers in zip(runs, [[0, 1, 2], [3, 4, 5], [6]], strict=True):
        assert [leaf.index for leaf in run.open(Shelf(Cache(10**6), "run")).leaves()] == numbers
    both = runs[0].joined(runs[1])
    assert [leaf.index for leaf in both.open(Shelf(Cache(0), "run")).leaves()] == [0, 1, 2, 3, 4, 5]
    assert runs[0].joined(runs[2]) is None


def test_both_sides_are_all_rows(runs):
    other = replace(runs[0], held_out=True)
    shelf = Shelf(Cache(10**6), "run")
    y = [leaf.block().y for run in (runs[0], other) for leaf in run.open(shelf).leaves()]
    assert sorted(np.concatenate(y)) == list(range(3_072))


@pytest.mark.parametrize(
    ("kept", "read"),
    [([], [0, 1, 2]), ([0], [1, 2]), ([2], [0, 1]), ([1], [0, 1, 2]), ([0, 2], [1]), ([0, 1, 2], [])],
)
def test_rows_are_read_from_the_first_leaf_that_is_not_kept_to_the_last(runs, kept, read):
    run, shelf, whole = runs[0], Shelf(Cache(10**6), "run"), Shelf(Cache(10**6), "run")
    key = (*run.rows.key, "blocks")
    for leaf in run.open(whole).leaves():
        leaf.block()
    for n in kept:
        shelf.put((*key, n), whole.get((*key, n)), 1)
    found = list(run.open(shelf).leaves())
    assert [leaf.index for leaf in found if leaf.piece is not None] == read
    assert np.concatenate([leaf.block().y for leaf in found]).tolist() == TRAINING.tolist()
    assert all(found[n].block() is whole.get((*key, n))[0] for n in kept)


def test_a_leaf_whose_blocks_were_dropped_after_all_is_read_alone(runs):
    shelf = Shelf(Cache(10**6), "run")
    for _ in range(2):
        found = list(runs[0].open(shelf).leaves())
        blocks = [leaf.block() for leaf in found]
    assert all(leaf.piece is None for leaf in found)
    shelf.cache.forget("run")
    for leaf, block in zip(found, blocks, strict=True):
        assert leaf.block() is not block
        np.testing.assert_array_equal(leaf.block().y, block.y)


@pytest.mark.parametrize("starts", [[0, 1_500], [0], [1_500]])
def test_raw_rows_that_a_survey_left_are_taken_unless_some_are_gone(runs, starts):
    """Other targets are left on the shelf, to see which rows are encoded."""
    run, shelf = runs[0], Shelf(Cache(10**6), "run")
    for start in starts:
        rows = np.arange(start, {0: 1_500, 1_500: 3_072}[start], dtype=float)
        frame = pl.DataFrame({"z": 0.0 * rows, "y": rows + 10_000, "a": rows})
        shelf.put((*run.rows.key, "raw", start), Slice(0, start, frame), 1)
    y = np.concatenate([leaf.block().y for leaf in run.open(shelf).leaves()])
    left = [shelf.get((*run.rows.key, "raw", start)) is not None for start in starts]
    assert y.tolist() == (TRAINING + (10_000 if len(starts) == 2 else 0)).tolist()
    assert left == [False, False] or (len(starts) == 1 and left == [True])


def test_raw_rows_that_go_while_others_are_encoded_are_read(runs):
    run, shelf = runs[0], Shelf(Cache(10**6), "run")
    for start, stop in ((0, 1_024), (1_024, 2_048), (2_048, 3_072)):
        frame = pl.DataFrame({"y": np.arange(start, stop) + 10_000.0, "a": np.arange(start, stop) * 1.0})
        shelf.put((*run.rows.key, "raw", start), Slice(0, start, frame), 1)
    leaves = run.open(shelf).leaves()
    first = next(leaves).block()
    shelf.cache.forget("run")
    y = np.concatenate([first.y, *(leaf.block().y for leaf in leaves)])
    assert (y % 10_000).tolist() == TRAINING.tolist()
    assert y[0] >= 10_000 > y[-1]


def test_raw_rows_are_of_no_use_where_the_first_leaf_is_kept(runs):
    run, shelf = runs[0], Shelf(Cache(10**6), "run")
    next(run.open(shelf).leaves()).block()
    rows = np.arange(3_072.0)
    raw = Slice(0, 0, pl.DataFrame({"y": rows + 10_000, "a": rows}))
    shelf.put((*run.rows.key, "raw", 0), raw, 1)
    found = np.concatenate([leaf.block().y for leaf in run.open(shelf).leaves()])
    assert found.tolist() == TRAINING.tolist()
