"""Sums over flags and levels that are never written out, beside those of the columns written out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from descend.tables.encoding import MISSING_LEVEL
from descend.tables.leaf_sums import MOST_COMBINED, Factor, Joint, MissingCells, indicator_sums

RNG = np.random.default_rng(5)
ROWS = 5_000
NAN = float("nan")
TEXTS = [
    pl.Series("few", RNG.choice(["b", "a", "c"], ROWS)),
    pl.Series("many", [f"level {i}" for i in RNG.integers(0, 40, ROWS)]),
    pl.Series("gaps", RNG.choice(["u", None, "v"], ROWS).tolist()),
    pl.Series("most", [f"level {i}" for i in RNG.integers(0, 200, ROWS)]),
]
NUMBERS = [np.where(RNG.random(ROWS) < share, NAN, RNG.normal(size=ROWS)) for share in (0.01, 0.4)]
WEIGHTS = {"": None, "weighted": RNG.integers(0, 4, ROWS).astype(float)}


@pytest.mark.parametrize("texts", [TEXTS, []], ids=["texts", "no texts"])
@pytest.mark.parametrize("numbers", [NUMBERS, []], ids=["gaps", "no gaps"])
@pytest.mark.parametrize("s", WEIGHTS.values(), ids=WEIGHTS)
def test_sums_are_those_of_the_columns_written_out(s, numbers, texts):
    codes = Factor.of(pl.DataFrame(texts), [series.name for series in texts])
    columns = [np.isnan(x) for x in numbers]
    columns += [
        (series.fill_null(MISSING_LEVEL) == level).to_numpy()
        for series, text in zip(texts, codes, strict=True)
        for level in text.levels
    ]
    Z = np.asfortranarray(RNG.normal(size=(ROWS, 5)))
    Z[:, -1] = 1.0
    found = indicator_sums([MissingCells.of(x.copy(), s) for x in numbers], codes, Z, s)
    if not columns:
        assert found is None
        return
    D = np.column_stack(columns).astype(float)
    weighed = D if s is None else D * s[:, None]
    for one, other in zip(found, (weighed.T @ Z, weighed.T @ D, weighed.sum(axis=0)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-9)


def test_texts_are_joined_while_there_is_room():
    texts = Factor.of(pl.DataFrame(TEXTS), [series.name for series in TEXTS])
    joints = Joint.of(texts)
    assert [joint.places for joint in joints] == [(3, 0), (1, 2)]
    for joint in joints:
        assert joint.size == np.prod([len(texts[i].levels) for i in joint.places]) <= MOST_COMBINED
        parts = np.unravel_index(joint.codes, joint.shape)
        for place, codes in zip(joint.places, parts, strict=True):
            np.testing.assert_array_equal(codes, texts[place].codes)


def test_codes_name_the_level_of_every_row():
    for series, text in zip(TEXTS, Factor.of(pl.DataFrame(TEXTS), [s.name for s in TEXTS]), strict=True):
        assert text.levels == sorted(text.levels)
        assert [text.levels[code] for code in text.codes] == series.fill_null(MISSING_LEVEL).to_list()
        assert text.gaps == bool(series.null_count())
        assert text.known.tolist() == series.is_not_null().to_list()


def test_a_gap_is_filled_by_a_neighbour_and_does_not_count_in_the_range():
    x = np.array([NAN, 4.0, NAN, -1.0])
    gap = MissingCells.of(x, np.array([1.0, 1.0, 5.0, 1.0]))
    assert (gap.rows.tolist(), gap.weight, gap.low, gap.high) == ([0, 2], 6.0, -1.0, 4.0)
    assert not np.isnan(x).any()
    nothing = np.full(3, NAN)
    gap = MissingCells.of(nothing, None)
    assert (gap.weight, gap.low, gap.high) == (3.0, np.inf, -np.inf)
    assert not np.isnan(nothing).any()
