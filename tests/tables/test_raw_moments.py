"""Moments of raw columns, mapped to encoded ones: against the moments of the encoded rows themselves."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from descend import Serial
from descend.engines.blocks import Block
from descend.engines.moments import Moments
from descend.engines.splits import Split
from descend.tables.encoding import Encoding, Target
from descend.tables.profiling import ProfileRequest, Profiling
from descend.tables.raw_moments import FLAG, MOST_LABELS, RawMoments
from descend.tables.table import open_table

RNG = np.random.default_rng(11)
ROWS = 3_000
X = 1e4 + RNG.normal(size=ROWS)
GAPS = RNG.random((2, ROWS)) < 0.1
FRAME = pl.DataFrame(
    {
        "x": np.where(GAPS[0], np.nan, X),
        "z": RNG.exponential(size=ROWS) * 1e-5,
        "kind": pl.Series(RNG.choice(["a", "b", "c"], ROWS)).set(pl.Series(GAPS[1]), None),
        "many": [f"level {i}" for i in RNG.integers(0, 1_200, ROWS)],
        "n": RNG.integers(0, 4, ROWS),
        "y": X - 1e4 + RNG.normal(size=ROWS),
    }
)


def learned(frame, split=None, weight=None, names=("x", "z", "kind"), penalised=False):
    """The survey of a frame, and the encoding that follows."""
    question = ProfileRequest("y", names, split=split, weight=weight, sums=True)
    survey = Profiling.of(open_table(frame), question, Serial())
    encoding = Encoding.learn(survey.features, Target("y"), {}, True)
    return survey, encoding if penalised else encoding.dropping_references()


def directly(frame, encoding, keep, weights=None):
    """The moments of the encoded rows."""
    rows = frame.filter(pl.Series(keep))
    X, _ = encoding.transform(rows)
    s = None if weights is None else weights[keep]
    return Moments.of(Block(X, rows["y"].to_numpy(), s))


def close(found, expected):
    assert found.rows == expected.rows
    assert found.weight == pytest.approx(expected.weight, rel=1e-14)
    scale = expected.scale
    mean = found.mean + found.mean_low - expected.mean - expected.mean_low
    assert np.abs(mean / scale).max() < 1e-9
    cross = (found.cross - expected.cross) / np.outer(scale, scale) / expected.weight
    assert np.abs(cross).max() < 1e-9


@pytest.mark.parametrize("penalised", [False, True], ids=["reference dropped", "all levels"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_mapped_moments_are_those_of_the_encoded_rows(weighted, penalised):
    split = Split(0.3, 2)
    survey, encoding = learned(FRAME, split, "n" if weighted else None, penalised=penalised)
    held_out = split.held_out(0, 0, ROWS)
    weights = FRAME["n"].to_numpy().astype(float) if weighted else None
    counted = np.ones(ROWS, bool) if weights is None else weights > 0
    for raw, keep in zip(survey.moments, (counted & ~held_out, counted & held_out), strict=True):
        assert raw.serves(encoding)
        close(raw.encoded(encoding, survey.origins), directly(FRAME, encoding, keep, weights))


def test_a_gap_or_a_level_that_comes_late_needs_no_place_before():
    early, late = FRAME.filter(pl.col("kind") == "b", ~pl.col("x").is_nan()), FRAME[:500]
    both = pl.concat([early, late])
    survey, encoding = learned(both)
    first, second = (
        Profiling.of(open_table(part), ProfileRequest("y", ("x", "z", "kind"), sums=True), Serial())
        for part in (early, late)
    )
    assert ("x", FLAG) not in first.moments[0].labels
    assert ("x", FLAG) in second.moments[0].labels
    assert len([label for label in first.moments[0].labels if label[0] == "kind"]) == 1
    close(survey.moments[0].encoded(encoding, survey.origins), directly(both, encoding, [True] * len(both)))


def test_columns_of_very_many_levels_are_not_summed():
    survey, encoding = learned(FRAME, names=("x", "many"))
    raw = survey.moments[0]
    assert raw.skipped == {"many"}
    assert not any(name == "many" for name, _ in raw.labels)
    assert not raw.serves(encoding)


def simple(labels, seed=0, rows=50):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(rows, len(labels) + 1))
    return Z, RawMoments(tuple(labels), Moments.of(Block(Z[:, :-1], Z[:, -1])))


def test_merging_puts_columns_side_by_side_with_zeros_where_they_were_lacking():
    Z, one = simple([("x", ""), ("k", "a")], 1)
    V, other = simple([("k", "b"), ("x", "")], 2, 70)
    rows = np.zeros((120, 4))
    rows[:50, [0, 1, 3]] = Z
    rows[50:, [2, 0, 3]] = V
    merged = RawMoments.merge(one, other)
    assert merged.labels == (("x", ""), ("k", "a"), ("k", "b"))
    expected = Moments.of(Block(rows[:, :-1], rows[:, -1]))
    np.testing.assert_allclose(merged.moments.cross, expected.cross, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(merged.moments.mean, expected.mean, rtol=1e-12, atol=1e-14)


def test_what_one_side_skipped_is_skipped_in_both():
    _, one = simple([("x", ""), ("k", "a"), ("k", "b")])
    _, other = simple([("x", "")])
    other = RawMoments(other.labels, other.moments, frozenset({"k"}))
    for merged in (RawMoments.merge(one, other), RawMoments.merge(other, one)):
        assert merged.labels == (("x", ""),)
        assert merged.skipped == {"k"}


def test_too_many_columns_are_given_up():
    _, one = simple([("a", str(i)) for i in range(MOST_LABELS // 2 + 1)])
    _, other = simple([("b", str(i)) for i in range(MOST_LABELS // 2 + 1)])
    assert RawMoments.merge(one, other) is None
    assert RawMoments.merge(one, None) is None
