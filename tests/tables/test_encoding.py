"""Encoding: the matrix that scikit-learn would make of the same columns, and the way back to their units."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from descend.errors import DataError
from descend.tables.encoding import (
    MAX_LEVELS,
    MISSING_LEVEL,
    OTHER,
    Category,
    Encoding,
    Number,
    Target,
    label_text,
    open_encoded,
)
from descend.tables.profiles import profile_for

NAN = float("nan")
RNG = np.random.default_rng(7)
ROWS = 400
FRAME = pl.DataFrame(
    {
        "age": np.where(RNG.random(ROWS) < 0.1, NAN, RNG.normal(40, 10, ROWS)),
        "job": RNG.choice(["clerk", "baker", "smith", None], ROWS).tolist(),
        "paid": RNG.random(ROWS) < 0.3,
        "seen": [dt.date(2020, 1, 1) + dt.timedelta(days=int(d)) for d in RNG.integers(0, 900, ROWS)],
        "debt": RNG.lognormal(9, 2, ROWS),
        "y": RNG.normal(size=ROWS),
    }
)


def learn(frame=FRAME, target="y", reference=None, intercept=True, text=()):
    profiles = {}
    for name in frame.columns:
        if name != target:
            profiles[name] = profile_for(frame.schema[name], name in text)
            profiles[name].add(frame[name])
    return Encoding.learn(profiles, Target(target), reference or {}, intercept)


def dense(X):
    return np.hstack([X.dense, X.sparse.toarray()]) if hasattr(X, "sparse") else np.asarray(X)


def by_scikit_learn(frame=FRAME, drop=None):
    """The same matrix: numbers scaled, then flags of missing cells, then dummies."""
    table = frame.to_pandas()
    numbers = pd.DataFrame(
        {
            "age": table["age"],
            "seen": (pd.to_datetime(table["seen"]) - pd.Timestamp(0)).dt.days,
            "debt": table["debt"],
        }
    )
    scaled = SimpleImputer(strategy="mean").fit_transform(StandardScaler().fit_transform(numbers))
    texts = pd.DataFrame(
        {
            "job": table["job"].fillna("(missing)").astype(object),
            "paid": table["paid"].map({True: "true", False: "false"}).astype(object),
        }
    )
    order = [["baker", "clerk", "smith", "(missing)"], ["false", "true"]]
    dummies = OneHotEncoder(categories=order, drop=drop, sparse_output=False).fit_transform(texts)
    return np.hstack([scaled, numbers["age"].isna().to_numpy(dtype=float)[:, None], dummies])


NAMES = ("age", "seen", "debt", "age (missing)")
JOBS = ("job=baker", "job=clerk", "job=smith", "job=(missing)")


def test_the_matrix_is_that_of_scikit_learn():
    X, unknown = learn().transform(FRAME)
    assert not unknown.found
    assert learn().feature_names == (*NAMES, *JOBS, "paid=false", "paid=true")
    np.testing.assert_allclose(dense(X), by_scikit_learn(), rtol=1e-10, atol=1e-11)


def test_without_a_penalty_the_first_level_has_no_column():
    encoding = learn().dropping_references()
    assert encoding.feature_names == (*NAMES, *JOBS[1:], "paid=true")
    np.testing.assert_allclose(
        dense(encoding.transform(FRAME)[0]), by_scikit_learn(drop="first"), rtol=1e-10, atol=1e-11
    )


def test_a_reference_level_of_choice():
    encoding = learn(reference={"job": "smith", "paid": "true"}).dropping_references()
    assert encoding.feature_names[4:] == ("job=baker", "job=clerk", "job=(missing)", "paid=false")
    assert learn(reference={"job": "smith"}).feature_names == learn().feature_names


def test_without_an_intercept_the_first_category_keeps_all_levels_and_numbers_are_not_centred():
    encoding = learn(intercept=False).dropping_references()
    assert encoding.feature_names == (*NAMES, *JOBS, "paid=true")
    assert all(column.centre == 0.0 for column in encoding.numbers)
    X = dense(encoding.transform(FRAME)[0])
    age = FRAME["age"].to_numpy()
    np.testing.assert_allclose(X[:, 0], np.where(np.isnan(age), np.nanmean(age), age) / np.nanstd(age))


@pytest.mark.parametrize("outputs", [None, 3])
@pytest.mark.parametrize("intercept", [True, False])
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_weights_in_original_units_predict_the_same(intercept, outputs, seed):
    encoding = learn(intercept=intercept)
    rng = np.random.default_rng(seed)
    count = len(encoding.feature_names)
    w = rng.normal(size=(count + intercept,) if outputs is None else (count + intercept, outputs))
    X = dense(encoding.transform(FRAME)[0])
    z = X @ w[:count] + (w[-1] if intercept else 0)
    raw = X.copy()
    for j, column in enumerate(encoding.numbers):
        raw[:, j] = FRAME[column.name].cast(pl.Date if column.dated else pl.Float64).to_physical().to_numpy()
        raw[np.isnan(raw[:, j]), j] = column.mean
    coefficients, intercepts = encoding.coefficients(w)
    values = {c.name: c.values for c in coefficients}
    W = np.array([values[name] for name in encoding.feature_names])
    again = raw @ W + np.array(intercepts)
    np.testing.assert_allclose(again.reshape(z.shape), z, rtol=1e-9, atol=1e-9)
    assert intercept or set(intercepts) == {0.0}


def test_coefficients_come_by_their_size_in_standard_deviations():
    encoding = learn()
    w = np.random.default_rng(0).normal(size=len(encoding.feature_names) + 1)
    found = encoding.coefficients(w)[0]
    X = dense(encoding.transform(FRAME)[0])
    X[np.isnan(FRAME["age"].to_numpy()), 0] = np.nan  # the spread is that of the cells that are there
    sizes = dict(zip(encoding.feature_names, np.abs(w[:-1]) * np.nanstd(X, axis=0), strict=True))
    assert [c.name for c in found] == sorted(sizes, key=lambda name: -sizes[name])
    assert {c.name: c.size for c in found} == pytest.approx(sizes, rel=1e-9)


def test_missing_cells_take_the_training_mean_and_are_flagged_only_where_training_had_some():
    encoding = learn()
    new = FRAME.head(2).with_columns(age=pl.lit(None, pl.Float64), debt=pl.lit(NAN))
    X = dense(encoding.transform(new)[0])
    assert X[:, 0].tolist() == [0, 0]
    assert X[:, 3].tolist() == [1, 1]
    assert X[:, 2].tolist() == [0, 0]  # debt was never missing: the mean, and no column to flag it


def test_nan_and_null_are_the_same():
    null = FRAME.with_columns(age=pl.col("age").fill_nan(None))
    assert learn(null) == learn()
    np.testing.assert_array_equal(dense(learn().transform(null)[0]), dense(learn().transform(FRAME)[0]))


UNKNOWN = {
    "reference": (["a", "b", "b"], None, ["c", "a"], 1, [["a"], ["a"]]),
    "chosen reference": (["a", "b", "b"], "b", ["c", "a"], 1, [["b"], ["a"]]),
    "missing, not seen in training": (["a", "b"], None, [None, "b"], 1, [["a"], ["b"]]),
    "missing, seen in training": (["a", None], None, [None, "z"], 1, [[MISSING_LEVEL], ["a"]]),
    "empty text is a level": (["", "a"], None, ["", "A"], 1, [[""], [""]]),
}


@pytest.mark.parametrize(("known", "reference", "new", "count", "stood_in"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_levels_go_to_the_reference_and_are_counted(known, reference, new, count, stood_in):
    frame = pl.DataFrame({"c": known, "y": [0.0] * len(known)})
    encoding = learn(frame, reference={"c": reference} if reference else None)
    X, unknown = encoding.transform(pl.DataFrame({"c": new}))
    assert unknown.levels == count
    levels = encoding.categories[0].dummies
    assert [[levels[j] for j in np.flatnonzero(row)] for row in dense(X)] == stood_in
    dropped, unknown = encoding.dropping_references().transform(pl.DataFrame({"c": new}))
    reference = encoding.categories[0].reference
    assert unknown.levels == count
    assert dense(dropped).sum(axis=1).tolist() == [float(name != [reference]) for name in stood_in]


def test_rare_levels_are_folded_and_take_in_unknown_ones():
    often = [f"often {i:04}" for i in range(MAX_LEVELS)]
    rare = [f"a rare {i}" for i in range(30)]
    frame = pl.DataFrame({"c": often * 3 + rare * 2, "y": 0.0})
    encoding = learn(frame)
    column = encoding.categories[0]
    assert column.levels == (*often, OTHER)
    assert column.shares[-1] == pytest.approx(60 / len(frame))
    X, unknown = encoding.transform(pl.DataFrame({"c": ["a rare 3", "never seen", often[7]]}))
    assert dense(X).argmax(axis=1).tolist() == [MAX_LEVELS, MAX_LEVELS, 7]
    assert unknown.found == {}


@pytest.mark.parametrize(("column", "other"), [("x", "x (missing)"), ("k", "k=v")])
def test_a_column_called_as_a_feature_made_of_another_is_refused(column, other):
    frame = pl.DataFrame(
        {"x": [1.0, None, 3.0, 4.0], "k": ["u", "v", "u", "v"], other: [1.0, 5.0, 2.0, 3.0], "y": 0.0}
    )
    with pytest.raises(DataError, match=rf"two features would be called `{re.escape(other)}`"):
        learn(frame)
    assert len(learn(frame.drop(column)).feature_names) >= 2


def test_exactly_so_many_levels_are_not_folded():
    levels = [f"{i:04}" for i in range(MAX_LEVELS)]
    assert learn(pl.DataFrame({"c": levels * 2, "y": 0.0})).categories[0].levels == tuple(levels)


@pytest.mark.parametrize("written", ["true", "True", "TRUE"])
def test_truth_is_read_however_it_is_written(written):
    encoding = learn(FRAME.select("paid", "y")).dropping_references()
    X, unknown = encoding.transform(pl.DataFrame({"paid": [written, "False"]}))
    assert (dense(X).ravel().tolist(), unknown.levels) == ([1.0, 0.0], 0)


def test_text_that_only_looks_like_truth_keeps_its_case():
    encoding = learn(pl.DataFrame({"c": ["True", "False", "Maybe"], "y": 0.0}))
    X, unknown = encoding.transform(pl.DataFrame({"c": ["True", "true"]}))
    assert unknown.levels == 1
    assert dense(X)[0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "seen",
    [
        pl.Series([dt.date(2021, 5, 1)]),
        pl.Series([dt.datetime(2021, 5, 1)]),
        pl.Series([dt.datetime(2021, 5, 1)], dtype=pl.Datetime("ms")),
        pl.Series(["2021-05-01"]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_dates_are_days_however_they_come(seen):
    encoding = learn(FRAME.select("seen", "y"))
    X = dense(encoding.transform(pl.DataFrame({"seen": seen}))[0])
    assert X[0, 0] * encoding.numbers[0].scale + encoding.numbers[0].mean == pytest.approx(18748, abs=1e-6)


def test_numbers_in_text_are_numbers_and_the_rest_is_missing():
    encoding = learn(FRAME.select("age", "y"))
    X, surprises = encoding.transform(pl.DataFrame({"age": ["50", "unknown"]}))
    X = dense(X)
    assert surprises.found == {("number", "age"): (1, "unknown")}
    age = encoding.numbers[0]
    assert X[0].tolist() == [pytest.approx((50 - age.mean) / age.scale), 0]
    assert X[1].tolist() == [0, 1]


def test_infinite_cells_are_refused_by_name():
    with pytest.raises(DataError, match=r"column `age` holds 2 number.s. that are infinite.*--drop age"):
        learn(pl.DataFrame({"age": [1.0, float("inf"), -float("inf")], "y": [0.0, 1.0, 2.0]}))


def test_a_reference_that_is_no_level_lists_the_levels():
    with pytest.raises(DataError, match=r"`reference` of column `job`.*'baker', 'clerk', 'smith'.*'cook'"):
        learn(reference={"job": "cook"})


TARGETS = {
    "numbers": (None, [1.5, None, NAN], [1.5, NAN, NAN]),
    "dates": (None, [dt.date(1970, 1, 3), None], [2, NAN]),
    "texts": (("a", "b"), ["b", "a", None, "c"], [1, 0, NAN, NAN]),
    "truth": ((False, True), [True, False, None], [1, 0, NAN]),
    "codes": ((1, 3), [3, 1, 2, None], [1, 0, NAN, NAN]),
    "codes as floats": ((0, 1), [1.0, 0.0, 0.5, NAN, -7.0, 9.0], [1, 0, NAN, NAN, NAN, NAN]),
}


@pytest.mark.parametrize(("classes", "cells", "expected"), TARGETS.values(), ids=TARGETS)
def test_targets_as_numbers(classes, cells, expected):
    np.testing.assert_array_equal(Target("y", classes).encode(pl.Series(cells)), expected)


def test_labels_as_text():
    assert [label_text(label) for label in (True, False, 3, "a")] == ["true", "false", "3", "a"]


CLASSES = {"number": None, "texts": ("a", "b", "ü"), "truth": (False, True), "codes": (0, 1)}


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("dropped", [True, False])
def test_an_encoding_survives_json(classes, dropped):
    encoding = replace(learn(reference={"job": "smith"}), target=Target("y", classes))
    encoding = encoding.dropping_references() if dropped else encoding
    again = Encoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert again == encoding
    assert again.target.classes == classes
    np.testing.assert_array_equal(dense(again.transform(FRAME)[0]), dense(encoding.transform(FRAME)[0]))


def test_a_new_table_is_read_in_the_roles_that_were_learned(tmp_path):
    frame = pl.DataFrame({"zip": ["01", "02", "x"], "n": [1, 2, 4], "y": [0.0, 1.0, 2.0]})
    path = tmp_path / "new.csv"
    path.write_text("y,n,more,zip\n1,2,0,02\n" + "1,2,0,01\n" * 10_100 + "1,2.5,0,01\n")
    encoding = learn(frame)
    table = open_encoded(path, encoding, None)
    assert (table.schema["zip"], table.schema["n"], table.schema["y"]) == (pl.String, pl.Float64, pl.Float64)
    pieces = [encoding.transform(piece.frame) for piece in table.slices(encoding.names, 1 << 20)]
    X, unknown = dense(pieces[0][0]), pieces[0][1]
    assert not unknown.found
    assert X[0, 1:].tolist() == [0, 1, 0]
    assert X[1, 1:].tolist() == [1, 0, 0]
    assert X[-1, 0] == pytest.approx((2.5 - 7 / 3) / np.std([1, 2, 4]))
    assert open_encoded(path, encoding, None, keep=["n"]).schema["n"] == pl.Int64


def test_columns_that_a_new_table_lacks_are_named():
    with pytest.raises(DataError, match=r"'frame' lacks 2 column\(s\).*`age`, `debt`"):
        open_encoded(FRAME.drop("age", "debt"), learn(), None)


def test_numbers_and_categories_say_what_they_are():
    assert (Number.kind, Category.kind) == ("number", "category")
    encoding = learn()
    assert encoding.names == ("age", "job", "paid", "seen", "debt")
    assert encoding.category_names == ("job", "paid")
    assert encoding.number_names == ("age", "seen", "debt", "y")
    assert replace(encoding, target=Target("y", ("a", "b"))).number_names == ("age", "seen", "debt")
