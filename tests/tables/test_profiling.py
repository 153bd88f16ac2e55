"""The survey: one read that profiles training rows, counts the others, and sums moments."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import descend
from descend.engines.engine import Serial, Threads
from descend.engines.splits import Split
from descend.tables.encoding import Encoding, Target
from descend.tables.profiles import TextProfile
from descend.tables.profiling import ProfileRequest, Profiling
from descend.tables.table import open_table

NAN = float("nan")


def test_a_survey_profiles_training_rows_and_counts_the_others():
    rows, split = 500, Split(0.3, seed=4)
    held_out = split.held_out(0, 0, rows)
    x = np.where(held_out, 1e6, np.arange(rows, dtype=float))  # what is held out must not be seen
    c = np.where(held_out, "unseen", "seen")
    y = [None if i % 50 == 0 else NAN if i % 50 == 1 else float(i) for i in range(rows)]
    known = np.array([v is not None and v == v for v in y])
    frame = pl.DataFrame({"x": x, "c": c, "y": y, "k": range(rows)})
    question = ProfileRequest("y", ("x", "c", "k"), categorical=("k",), split=split)
    survey = Profiling.of(open_table(frame), question, Serial())
    assert survey.rows == {
        "training": int((known & ~held_out).sum()),
        "validation": int((known & held_out).sum()),
        "without_target": int((~known).sum()),
    }
    kept = known & ~held_out
    assert survey.features["x"].mean == pytest.approx(x[kept].mean(), rel=1e-14)
    assert dict(survey.features["c"].levels) == {"seen": kept.sum()}
    assert isinstance(survey.features["k"], TextProfile)
    assert survey.target.count == kept.sum()
    assert survey.target.missing == 0
    assert survey.moments == (None, None)


def dense(X):
    return X if isinstance(X, np.ndarray) else np.hstack([X.dense, X.sparse.toarray()])


def mixed(rows, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(1e4, 3.0, rows)
    return pl.DataFrame(
        {
            "x": pl.Series(np.where(rng.random(rows) < 0.1, NAN, x), nan_to_null=True),
            "whole": rng.integers(-5, 90, rows),
            "kind": rng.choice(["a", "b", "c", None], rows),
            "s": rng.integers(0, 3, rows).astype(float),
            "y": rng.normal(size=rows) + x,
        }
    )


@pytest.mark.parametrize("weight", [None, "s"])
@pytest.mark.parametrize("reference", [False, True], ids=["all levels", "first level dropped"])
def test_moments_mapped_from_raw_columns_are_those_of_the_encoded_columns(weight, reference):
    frame, split = mixed(200_000), Split(0.2, seed=1)
    table = open_table(frame)
    question = ProfileRequest("y", ("x", "whole", "kind"), split=split, weight=weight, sums=True)
    survey = Profiling.of(table, question, Threads(2))
    encoding = Encoding.learn(survey.features, Target("y"), {}, True)
    if reference:
        encoding = encoding.dropping_references()
    for held_out, raw in zip((False, True), survey.moments, strict=True):
        found = raw.encoded(encoding, survey.origins)
        rows = frame.filter(pl.Series(split.held_out(0, 0, frame.height) == held_out))
        s = np.ones(rows.height) if weight is None else rows["s"].to_numpy()
        X = dense(encoding.transform(rows)[0])
        V = np.column_stack([X, rows["y"]])
        mean = s @ V / s.sum()
        cross = (V - mean).T @ (s[:, None] * (V - mean))
        np.testing.assert_allclose(found.mean + found.mean_low, mean, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            found.cross, cross, rtol=1e-9, atol=1e-9 * np.sqrt(np.outer(*[cross.diagonal()] * 2)).max()
        )
        assert found.weight == s.sum()


def test_a_column_far_from_zero_may_begin_with_missing_cells():
    rng = np.random.default_rng(5)
    x = rng.normal(1e9, 1.0, 20_000)
    y = 3.0 * (x - 1e9) + rng.normal(size=20_000)
    absent = np.arange(20_000) < 6_000
    frame = pl.DataFrame({"x": pl.Series(np.where(absent, NAN, x), nan_to_null=True), "y": y})
    run = descend.fit(frame, target="y")
    design = np.column_stack([np.where(absent, 0.0, x - x[~absent].mean()), absent, np.ones(20_000)])
    expected = np.linalg.lstsq(design, y)[0]
    assert run.coefficients["x"] == pytest.approx(expected[0], rel=1e-6)
    assert run.coefficients["x (missing)"] == pytest.approx(expected[1], rel=1e-6)


def test_a_survey_has_the_same_bits_for_any_number_of_threads():
    table = open_table(mixed(300_000))
    question = ProfileRequest("y", ("x", "whole", "kind"), split=Split(0.2), sums=True)
    one, three = (Profiling.of(table, question, engine) for engine in (Serial(), Threads(3)))
    for a, b in zip(one.moments, three.moments, strict=True):
        np.testing.assert_array_equal(a.moments.cross, b.moments.cross)
        np.testing.assert_array_equal(a.moments.mean, b.moments.mean)
        assert a.labels == b.labels


def test_columns_of_very_many_levels_are_read_again(monkeypatch):
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"k": rng.integers(0, 400, 5_000).astype(str)})
    frame = frame.with_columns(x=pl.Series(rng.normal(size=5_000)), y=pl.Series(rng.normal(size=5_000)))
    survey = Profiling.of(open_table(frame), ProfileRequest("y", ("k", "x"), sums=True), Serial())
    assert survey.moments[0].skipped == {"k"}
    run = descend.fit(frame, target="y")
    assert len(run.weights) == 401
