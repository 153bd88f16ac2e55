"""Encoded tables: which rows are on which side, what stays in memory, and the same bits from any engine."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descend
from descend.engines.blocks import leaf_rows
from descend.engines.engine import Serial, Threads
from descend.engines.splits import Split
from descend.objectives.losses import LogisticLoss
from descend.objectives.statistics import LossAndGradient
from descend.tables.encoded import EncodedTable, memory_budget
from descend.tables.encoding import Encoding, Target
from descend.tables.profiles import profile_for
from descend.tables.table import open_table

ROWS = 3 * leaf_rows(2) + 100


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, ROWS).astype(float)
    y[rng.random(ROWS) < 0.01] = np.nan
    c = rng.choice(["u", "v", "w"], ROWS)
    return pl.DataFrame({"x": rng.normal(size=ROWS), "c": c, "row": np.arange(float(ROWS)), "y": y})


def encoding_of(frame, names):
    profiles = {name: profile_for(frame.schema[name], False) for name in names}
    for name, profile in profiles.items():
        profile.add(frame[name])
    return Encoding.learn(profiles, Target("y", (0, 1)), {}, True)


def encoded(frame, split=None, table=None, names=("x", "c"), **options):
    return EncodedTable(table or open_table(frame), encoding_of(frame, names), split, **options)


def targets(side):
    blocks = [leaf.block() for part in side.parts() for leaf in part.leaves()]
    return np.concatenate([np.empty(0), *(block.y for block in blocks if block is not None)])


@settings(max_examples=25)
@given(
    y=st.lists(st.sampled_from([0.0, 1.0, None, float("nan"), 7.0]), min_size=1, max_size=60),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**64),
)
def test_each_row_with_a_target_is_on_one_side(y, fraction, seed):
    frame = pl.DataFrame({"x": range(len(y)), "y": pl.Series(y, dtype=pl.Float64)})
    split = Split(fraction, seed)
    whole = EncodedTable(open_table(frame), encoding_of(frame, ["x"]), split)
    held_out = split.held_out(0, 0, len(y))
    known = np.array([value in (0.0, 1.0) for value in y])  # 7 is of no class that was learned
    values = np.array([np.nan if value is None else value for value in y])
    for side in (False, True):
        expected = values[known & (held_out == side)]
        np.testing.assert_array_equal(targets(whole.side(side)), expected)


def test_a_side_without_rows_has_no_block(frame):
    none_known = frame.head(10).with_columns(y=pl.lit(None, pl.Float64))
    whole = EncodedTable(open_table(none_known), encoding_of(frame, ("x", "c")))
    assert [leaf.block() for part in whole.side(False).parts() for leaf in part.leaves()] == [None]


def test_names_come_from_the_encoding_and_rows_are_not_known_before_reading(frame):
    side = encoded(frame).side(False)
    assert side.feature_names == ("x", "c=u", "c=v", "c=w")
    assert side.rows is None


def test_blocks_stay_in_memory_for_both_sides_and_no_file_is_read_again(frame, tmp_path):
    frame.write_csv(tmp_path / "a.csv")
    whole = encoded(frame, Split(0.2), open_table(tmp_path / "a.csv"))
    assert not whole.complete
    first = targets(whole.side(False))
    assert whole.complete
    (tmp_path / "a.csv").unlink()
    np.testing.assert_array_equal(targets(whole.side(False)), first)
    known = np.isfinite(frame["y"].to_numpy())
    assert len(first) + len(targets(whole.side(True))) == known.sum()


def test_without_a_spool_every_pass_past_the_budget_reads_the_file(frame, tmp_path):
    frame.write_csv(tmp_path / "a.csv")
    whole = encoded(frame, None, open_table(tmp_path / "a.csv"), budget=10_000, spill=False)
    first = targets(whole.side(False))
    assert not whole.complete
    np.testing.assert_array_equal(targets(whole.side(False)), first)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(Exception, match=r"a\.csv"):
        targets(whole.side(False))


def test_an_abandoned_pass_leaves_nothing_half_kept(frame):
    whole = encoded(frame)
    next(iter(whole.side(False).parts()[0].leaves())).block()
    assert not whole.complete
    assert len(targets(whole.side(False))) == np.isfinite(frame["y"].to_numpy()).sum()
    assert whole.complete


@pytest.mark.parametrize("budget", [0, 1 << 40])
def test_unknown_levels_are_counted_once_however_often_they_are_read(frame, budget):
    new = frame.with_columns(c=pl.when(pl.col("row") < 7).then(pl.lit("new")).otherwise(pl.col("c")))
    whole = EncodedTable(open_table(new), encoding_of(frame, ("x", "c")), budget=budget)
    for _ in range(2):
        targets(whole.side(False))
        assert whole.unknowns.levels == 7


@pytest.mark.parametrize("engine", [Serial(), Threads(1), Threads(2), Threads(5)], ids=repr)
@pytest.mark.parametrize("budget", [0, 1 << 40])
@pytest.mark.parametrize("split", [None, Split(0.3, seed=1)], ids=["all", "split"])
def test_the_same_bits_from_any_engine_in_memory_or_not(frame, engine, budget, split):
    def gradients(engine, budget):
        whole = encoded(frame, split, budget=budget)
        session = engine.open(whole.side(False))
        try:
            statistic, w = LossAndGradient(LogisticLoss(), True), np.linspace(-1, 1, 5)
            return [session.reduce(statistic, w) for _ in range(2)]
        finally:
            session.close()

    expected = gradients(Serial(), 1 << 40)[0]
    for found in gradients(engine, budget):
        assert found.tobytes() == expected.tobytes()


def test_the_budget_is_some_of_the_memory_of_the_machine():
    assert 1 << 20 < memory_budget() < 1 << 50


def test_leaves_are_counted_as_they_are_read(tmp_path):
    size = leaf_rows(1)
    for i, rows in enumerate([size + 1, 0, 5, 2 * size]):
        pl.DataFrame({"x": np.arange(rows), "y": np.arange(rows) % 3}).write_parquet(
            tmp_path / f"{i}.parquet"
        )
    table = open_table(tmp_path)
    encoding = descend.fit(tmp_path, target="y", loss="squared-error").model.encoding
    for data in (table, open_table(pl.read_parquet(tmp_path / "3.parquet"))):
        counted = EncodedTable(data, encoding).leaf_count
        whole = EncodedTable(data, encoding)
        assert counted == len(list(whole.slices())) == whole.leaf_count
