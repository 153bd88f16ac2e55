"""Raw cells as numbers, texts, weights and groups."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from descend.engines.splits import LastRows, Split
from descend.errors import DataError
from descend.tables.cells import as_numbers, as_texts, group_keys, held_out_of, weights_of
from descend.tables.table import Slice

NAN = float("nan")
NUMBERS = {
    "floats": (pl.Series([1.5, None, NAN]), [1.5, NAN, NAN]),
    "float32": (pl.Series([1.5, None], dtype=pl.Float32), [1.5, NAN]),
    "whole": (pl.Series([1, None, -3]), [1, NAN, -3]),
    "wide whole": (pl.Series([2**62, -(2**62)]), [2.0**62, -(2.0**62)]),
    "unsigned": (pl.Series([2**63 + 2**12], dtype=pl.UInt64), [2.0**63 + 2**12]),
    "decimals": (pl.Series([Decimal("1.25"), None]), [1.25, NAN]),
    "truths": (pl.Series([True, None, False]), [1, NAN, 0]),
    "texts": (pl.Series([" 1.5 ", "x", "", "1e3", None]), [1.5, NAN, NAN, 1000, NAN]),
    "nothing": (pl.Series([None, None], dtype=pl.Null), [NAN, NAN]),
    "days": (pl.Series([dt.date(1970, 1, 3), None]), [2, NAN]),
    "moments": (pl.Series([dt.datetime(1970, 1, 2, 12)]), [1.5]),
    "moments in ms": (pl.Series([dt.datetime(1970, 1, 2, 12)]).cast(pl.Datetime("ms")), [1.5]),
    "durations": (pl.Series([dt.timedelta(hours=6)]), [0.25]),
    "times": (pl.Series([dt.time(18)]), [0.75]),
}


@pytest.mark.parametrize(("series", "numbers"), NUMBERS.values(), ids=NUMBERS)
def test_cells_as_numbers(series, numbers):
    found = as_numbers(series)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, numbers)


def test_texts_may_be_dates():
    series = pl.Series(["1970-01-02", " 1970-01-11 ", "x", None])
    np.testing.assert_array_equal(as_numbers(series, dated=True), [1, 10, NAN, NAN])
    np.testing.assert_array_equal(as_numbers(pl.Series(["x", "y"]), dated=True), [NAN, NAN])


def test_cells_as_texts():
    assert as_texts(pl.Series([1, None, 10])).to_list() == ["1", None, "10"]
    assert as_texts(pl.Series(["b", "a"], dtype=pl.Categorical)).to_list() == ["b", "a"]
    assert as_texts(pl.Series([True, False])).to_list() == ["true", "false"]


STRANGE = {
    "negative": ([1.0, -0.5], "-0.5 in row 12"),
    "missing": ([1.0, None], "None in row 12"),
    "NaN": ([NAN, 1.0], "nan in row 11"),
    "infinite": ([1.0, float("inf")], "inf in row 12"),
    "text": (["1", "x"], "'x' in row 12"),
}


@pytest.mark.parametrize(("values", "words"), STRANGE.values(), ids=STRANGE)
def test_weights_must_be_numbers_of_at_least_0(values, words):
    piece = Slice(0, 10, pl.DataFrame({"n": values}))
    with pytest.raises(DataError, match=f"`n` must hold finite numbers of at least 0, got {words}"):
        weights_of(piece, "n")


def test_weights_of_0_and_of_texts_that_are_numbers():
    assert weights_of(Slice(0, 0, pl.DataFrame({"n": ["0", " 2.5"]})), "n").tolist() == [0, 2.5]


def test_rows_are_held_out_by_their_place_in_the_file():
    frame = pl.DataFrame({"g": [1, 2, 1, 2]})
    whole = Split(0.5, 7).held_out(3, 0, 40)
    assert held_out_of(Slice(3, 30, frame), Split(0.5, 7)).tolist() == whole[30:34].tolist()
    assert held_out_of(Slice(1, 2, frame), LastRows(0.5, (0, 4), 8)).tolist() == [True] * 4
    assert not held_out_of(Slice(3, 30, frame), None).any()


def test_groups_are_held_out_together_whatever_holds_them():
    groups = [5, 6, 7, 8, 9, 10, 5, 6, 7, 8, 9, 10]
    split = Split(0.5, 1, "g")
    sides = [
        held_out_of(Slice(file, start, pl.DataFrame({"g": pl.Series(groups).cast(kind)})), split).tolist()
        for file, start, kind in ((0, 0, pl.Int64), (2, 99, pl.Float64), (1, 5, pl.UInt8))
    ]
    assert sides[0] == sides[1] == sides[2]
    assert sides[0][:6] == sides[0][6:]
    assert 0 < sum(sides[0]) < 12


SAME_KEYS = {
    "zeros": ([0.0], [-0.0]),
    "missing": ([None, 1.0], [NAN, 1.0]),
    "whole and broken": ([3], [3.0]),
    "categories": (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
    "order of appearance": (["b", "a"], pl.Series(["a", "b"]).reverse()),
}


@pytest.mark.parametrize(("one", "other"), SAME_KEYS.values(), ids=SAME_KEYS)
def test_equal_values_have_equal_keys(one, other):
    np.testing.assert_array_equal(
        group_keys(pl.Series(one, strict=False)), group_keys(pl.Series(other, strict=False))
    )


def test_different_values_have_different_keys():
    values = pl.Series([f"patient {i}" for i in range(10_000)])
    assert len(np.unique(group_keys(values))) == 10_000
    assert len(np.unique(group_keys(pl.Series(np.arange(-5_000, 5_000))))) == 10_000
