"""The cells of a raw leaf: profiles that fall out of the sums, against those counted one by one."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from descend.tables.leaf_sums import EVERY, Cells
from descend.tables.profiles import HUGE

NAN = float("nan")
RNG = np.random.default_rng(3)
ROWS = 400
COLUMNS = {
    "plain": RNG.normal(size=ROWS) + 50,
    "whole": RNG.integers(-5, 5, ROWS),
    "wide": RNG.integers(0, 2**40, ROWS),
    "gaps": np.where(RNG.random(ROWS) < 0.2, NAN, RNG.normal(size=ROWS)),
    "nulls": pl.Series(RNG.integers(0, 9, ROWS)).set(pl.Series(RNG.random(ROWS) < 0.1), None),
    "constant": np.full(ROWS, 7.0),
    "empty": pl.Series([None] * ROWS, dtype=pl.Float64),
    "small": RNG.normal(size=ROWS) * 1e-170,
    "far": 1e9 + RNG.random(ROWS),
    "dates": pl.Series([dt.date(2020, 1, 1) + dt.timedelta(int(i)) for i in RNG.integers(0, 99, ROWS)]),
    "text": pl.Series(RNG.choice(["u", "v", "w"], ROWS)).set(pl.Series(RNG.random(ROWS) < 0.1), None),
    "truth": RNG.random(ROWS) < 0.3,
}
FRAME = pl.DataFrame({**COLUMNS, "y": RNG.integers(0, 3, ROWS)}, strict=False)
TEXTS = frozenset({"text", "truth"})
ORIGINS = dict.fromkeys(FRAME.columns, 1.0)
WEIGHTS = {"": None, "weighted": RNG.integers(1, 4, ROWS).astype(float)}


def cells(frame=FRAME, weights=None):
    return Cells.of(frame, frame.columns, TEXTS, weights)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_sums_tell_the_profiles_that_counting_tells(weights):
    counted = cells(weights=weights).profiled("y")
    raw, told = cells(weights=weights).summed("y", ORIGINS)
    assert raw is not None
    for name in FRAME.columns:
        one, other = counted[name], told[name]
        assert (one.count, one.missing, one.rows) == (other.count, other.missing, other.rows), name
        if name in TEXTS:
            assert one.levels == other.levels
            continue
        assert (one.low, one.high, one.whole, one.dated) == (other.low, other.high, other.whole, other.dated)
        assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-12), name
        assert one.scale == pytest.approx(other.scale, rel=1e-6), name
    assert counted["y"].distinct == told["y"].distinct


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_profiles_are_those_of_numpy(weights):
    s = np.ones(ROWS) if weights is None else weights
    _, told = cells(weights=weights).summed("y", ORIGINS)
    for name in ("plain", "whole", "wide", "gaps", "nulls", "far"):
        x = FRAME[name].cast(pl.Float64).fill_null(NAN).to_numpy()
        known = ~np.isnan(x)
        mean = np.average(x[known], weights=s[known])
        assert told[name].mean == pytest.approx(mean, rel=1e-12), name
        deviation = np.sqrt(np.average((x[known] - mean) ** 2, weights=s[known]))
        assert told[name].scale == pytest.approx(deviation, rel=1e-9), name
        assert told[name].missing == s[~known].sum()


ROW = np.arange(20_000)
UNEVEN = {
    "sorted": 1e7 + 1e-3 * ROW,
    "far where the mean is guessed": np.where(ROW % EVERY == 0, 1e8, 0.0) + RNG.normal(size=len(ROW)),
    "near where the mean is guessed": np.where(ROW % EVERY == 0, 0.0, 1e8) + RNG.normal(size=len(ROW)),
    "one is far": np.where(ROW == 64, 1e12, 1.0) + 1e-3 * RNG.normal(size=len(ROW)),
    "late": np.where(ROW < 19_000, 0.0, ROW),
}


@pytest.mark.parametrize("x", UNEVEN.values(), ids=UNEVEN)
def test_sums_about_a_mean_guessed_from_some_rows_are_exact_to_twelve_digits(x):
    y = RNG.normal(size=len(x))
    exact = np.array([x, y], dtype=np.longdouble)
    means = exact.mean(axis=1)
    products = (exact - means[:, None]) @ (exact - means[:, None]).T
    raw, told = cells(pl.DataFrame({"x": x, "y": y})).summed("y", {"x": 5.0, "y": 0.0})
    size = np.sqrt(products.diagonal()[:, None] * products.diagonal())
    assert (np.abs(raw.moments.cross - products) <= 1e-12 * size).all()
    deviation = np.sqrt(products.diagonal() / len(x))
    assert (
        np.abs(raw.moments.mean + raw.moments.mean_low - means) <= 1e-13 * deviation + 1e-16 * np.abs(means)
    ).all()
    assert (told["x"].low, told["x"].high) == (x.min(), x.max())


@pytest.mark.parametrize("value", [float("inf"), -2 * HUGE])
def test_what_cannot_be_squared_is_not_summed_but_counted(value):
    frame = pl.DataFrame({"x": [1.0, value, 3.0], "y": [1.0, 2.0, 3.0]})
    raw, told = Cells.of(frame, frame.columns, frozenset()).summed("y", {"x": 0.0, "y": 0.0})
    assert raw is None
    assert told["x"].infinite == 1


def test_some_of_the_rows():
    mask = RNG.random(ROWS) < 0.5
    some = cells().take(mask)
    assert some.rows == mask.sum()
    assert some.numbers("plain").tolist() == FRAME["plain"].filter(pl.Series(mask)).to_list()
    whole = cells()
    assert whole.take(np.ones(ROWS, bool)) is whole
    assert whole.take(np.zeros(ROWS, bool)).rows == 0


def test_no_rows_have_no_profile_but_do_not_fail():
    _, told = cells(FRAME[:0]).summed("y", ORIGINS)
    assert all(profile.count == 0 for profile in told.values())


def test_known_cells():
    for name in ("gaps", "nulls", "text", "empty", "y"):
        expected = FRAME[name].fill_nan(None) if FRAME[name].dtype.is_float() else FRAME[name]
        assert cells().known(name).tolist() == expected.is_not_null().to_list()
