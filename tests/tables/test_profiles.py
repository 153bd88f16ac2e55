"""Profiles: counts, spreads, levels and faults of raw columns, from slices in any sizes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from descend.tables import profiles
from descend.tables.profiles import (
    DISTINCT_NUMBERS,
    HUGE,
    NumberProfile,
    TextProfile,
    as_numbers,
    as_texts,
    is_boolean,
    is_identifier,
    is_text,
    is_usable,
    profile_for,
)

NAN, INF = float("nan"), float("inf")


def profile_of(profile, *slices, dtype=None):
    for values in slices:
        profile.add(pl.Series(values, dtype=dtype))
    return profile


NUMBERS = {
    "float": (pl.Series([1.5, None, NAN]), [1.5, NAN, NAN]),
    "float32": (pl.Series([1.5, None], dtype=pl.Float32), [1.5, NAN]),
    "whole": (pl.Series([1, None]), [1, NAN]),
    "unsigned": (pl.Series([255], dtype=pl.UInt8), [255]),
    "truth": (pl.Series([True, False, None]), [1, 0, NAN]),
    "decimal": (pl.Series([Decimal("1.25"), None]), [1.25, NAN]),
    "text": (pl.Series(["1.5", "-2e3", "x", None]), [1.5, -2000, NAN, NAN]),
    "date": (pl.Series([dt.date(1970, 1, 3), None]), [2, NAN]),
    "date and time": (pl.Series([dt.datetime(1970, 1, 2, 6)]), [1.25]),
    "in milliseconds": (pl.Series([dt.datetime(1970, 1, 2, 6)], dtype=pl.Datetime("ms")), [1.25]),
    "in nanoseconds": (pl.Series([dt.datetime(1969, 12, 31)], dtype=pl.Datetime("ns")), [-1]),
    "with a zone": (pl.Series([dt.datetime(1970, 1, 2, tzinfo=dt.UTC)]), [1]),
    "duration": (pl.Series([dt.timedelta(days=2, hours=12)]), [2.5]),
    "time of day": (pl.Series([dt.time(18)]), [0.75]),
    "nothing": (pl.Series([None, None]), [NAN, NAN]),
}


@pytest.mark.parametrize(("series", "expected"), NUMBERS.values(), ids=NUMBERS)
def test_columns_as_numbers(series, expected):
    found = as_numbers(series)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1970-01-03", None, "x", "12"], [2, NAN, NAN, NAN]),
        (["1970-01-02T06:00:00"], [1.25]),
        (["1970-01-02 06:00:00"], [1.25]),
        (["x", "y"], [NAN, NAN]),
        ([None], [NAN]),
        ([], []),
    ],
)
def test_texts_as_dates_in_days(texts, expected):
    np.testing.assert_array_equal(as_numbers(pl.Series(texts, dtype=pl.String), dated=True), expected)


def test_columns_as_texts():
    assert as_texts(pl.Series([True, False, None])).to_list() == ["true", "false", None]
    assert as_texts(pl.Series([1, None])).to_list() == ["1", None]
    assert as_texts(pl.Series(["a", None], dtype=pl.Categorical)).to_list() == ["a", None]


@pytest.mark.parametrize(
    ("dtype", "usable", "text"),
    [
        (pl.String(), True, True),
        (pl.Boolean(), True, True),
        (pl.Categorical(), True, True),
        (pl.Enum(["a"]), True, True),
        (pl.Int8(), True, False),
        (pl.Float32(), True, False),
        (pl.Decimal(10, 2), True, False),
        (pl.Date(), True, False),
        (pl.Datetime(), True, False),
        (pl.Duration(), True, False),
        (pl.Time(), True, False),
        (pl.Null(), True, False),
        (pl.List(pl.Int64), False, False),
        (pl.Struct({"a": pl.Int64}), False, False),
        (pl.Binary(), False, False),
    ],
    ids=str,
)
def test_which_types_are_features_and_which_of_them_text(dtype, usable, text):
    assert (is_usable(dtype), is_text(dtype)) == (usable, text)
    assert is_boolean(dtype) == (dtype == pl.Boolean)
    assert isinstance(profile_for(dtype, False), TextProfile if text else NumberProfile)
    assert isinstance(profile_for(dtype, True), TextProfile)


cells = st.one_of(st.none(), st.just(NAN), st.floats(-1e6, 1e6).map(lambda v: round(v, 6)))


@given(st.lists(st.lists(cells, max_size=6), min_size=1, max_size=5))
@example([[None], [], [3.0, 3.0]])
def test_a_number_profile_of_slices_is_that_of_the_whole(slices):
    found = profile_of(NumberProfile(), *slices, dtype=pl.Float64)
    whole = np.array([NAN if v is None else v for values in slices for v in values], dtype=float)
    present = whole[~np.isnan(whole)]
    assert (found.count, found.missing) == (len(present), len(whole) - len(present))
    if not len(present):
        return
    spread = float(np.ptp(present))
    assert (found.low, found.high) == (present.min(), present.max())
    assert found.mean == pytest.approx(present.mean(), rel=1e-12, abs=1e-12 * (1 + spread))
    assert found.scale == pytest.approx(present.std() if spread else 1.0, rel=1e-9, abs=1e-9 * spread)
    assert found.whole == all(float(v).is_integer() for v in present)
    assert found.distinct is None if not found.whole else set(found.distinct) == set(present.tolist())


def test_the_spread_of_numbers_far_from_zero_keeps_its_digits():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=5_000)
    found = profile_of(NumberProfile(), *np.split(1e9 + noise, 50))
    assert found.scale == pytest.approx((1e9 + noise - 1e9).std(), rel=1e-9)


def test_only_so_many_distinct_numbers_are_kept():
    at_limit = list(range(DISTINCT_NUMBERS))
    assert profile_of(NumberProfile(), at_limit, at_limit).distinct == dict.fromkeys(at_limit, 2)
    assert profile_of(NumberProfile(), at_limit, [-1]).distinct is None
    assert profile_of(NumberProfile(), list(range(10 * DISTINCT_NUMBERS)), [1]).distinct is None


@pytest.mark.parametrize("slices", [([1.0, INF],), ([1.0], [-INF, INF]), ([INF], [2.0]), ([1.0, 2 * HUGE],)])
def test_infinite_cells_are_counted(slices):
    found = profile_of(NumberProfile(), *slices)
    assert found.infinite == sum(abs(v) > HUGE for values in slices for v in values)
    assert found.fault("x") is None


def test_tiny_numbers_have_a_scale_above_zero():
    assert profile_of(NumberProfile(), [1e-200, 3e-200]).scale > 0


def test_dates_are_remembered():
    assert profile_of(NumberProfile(), [dt.date(2020, 1, 1)]).dated
    assert not profile_of(NumberProfile(), [1.0]).dated


@given(st.lists(st.lists(st.sampled_from(["a", "b", "", None, "é"]), max_size=6), min_size=1, max_size=4))
def test_a_text_profile_counts_levels_and_missing_cells(slices):
    found = profile_of(TextProfile(), *slices, dtype=pl.String)
    whole = [v for values in slices for v in values]
    assert (found.count, found.missing) == (len(whole) - whole.count(None), whole.count(None))
    assert dict(found.levels) == {v: whole.count(v) for v in set(whole) - {None}}


def test_the_most_common_levels_come_first_and_ties_in_order():
    found = profile_of(TextProfile(), ["b", "a", "c", "c", "d"])
    assert found.most_common(3) == ["c", "a", "b"]


def test_the_rarest_levels_are_forgotten_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(profiles, "LEVELS_KEPT", 10)
    found = profile_of(TextProfile(), ["often"] * 5 + [f"t{i}" for i in range(8)], ["often", "u", "v", "w"])
    assert found.count == 17
    assert len(found.levels) + found.forgotten == 12
    assert len(found.levels) == 5
    assert found.levels["often"] == 6


MANY = list(range(40))
FAULTS = {
    "fine": (NumberProfile(), "x", [1.0, 2.0], None),
    "constant number": (NumberProfile(), "x", [2.0, 2.0], "constant (2)"),
    "constant with gaps": (NumberProfile(), "x", [2.0, None, 2.0], None),
    "nothing there": (NumberProfile(), "x", [None, NAN], "every cell is missing"),
    "row numbers": (NumberProfile(), "id", MANY, "identifier-like"),
    "row numbers, another name": (NumberProfile(), "age", MANY, None),
    "measured, name of an identifier": (NumberProfile(), "index", [0.5, 1.5, 2.5], None),
    "few codes under such a name": (NumberProfile(), "store_id", [1, 2, 3] * 9, None),
    "fine text": (TextProfile(), "c", ["a", "b"], None),
    "constant text": (TextProfile(), "c", ["a", "a"], "constant ('a')"),
    "constant text with gaps": (TextProfile(), "c", ["a", None], None),
    "no text": (TextProfile(), "c", [None, None], "every cell is missing"),
    "a text for each row": (TextProfile(), "c", [f"t{i}" for i in MANY], "identifier-like"),
    "few rows of text": (TextProfile(), "c", [f"t{i}" for i in range(20)], None),
}


@pytest.mark.parametrize(("profile", "name", "values", "reason"), FAULTS.values(), ids=FAULTS)
def test_why_a_column_is_no_feature(profile, name, values, reason):
    dtype = pl.String if isinstance(profile, TextProfile) else pl.Float64
    found = profile_of(profile, values, dtype=dtype).fault(name)
    assert found is None if reason is None else found.startswith(reason)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(n, True) for n in ("", "id", "ID", "index", "Unnamed: 0", "rownames", "row_number", "key")],
        *[(n, True) for n in ("PassengerId", "userID", "customer id", "order-id", "row_id", "uuid")],
        *[(n, False) for n in ("paid", "valid", "humid", "year", "idea", "keys", "rowing", "indexed")],
    ],
)
def test_names_of_identifiers(name, expected):
    assert is_identifier(name) is expected
