"""From a table and a target to a fit: roles, losses, rows, encodings, against statsmodels and scikit-learn."""

from __future__ import annotations

import datetime as dt
import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.formula.api as smf
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import descend
from descend import L2, Columns, DescendWarning, Serial, Threads
from descend.engines.splits import Split
from descend.errors import DataError, DescendError
from descend.runs.roles import summarise
from descend.tables.files import ColumnarFile, TypeConflict
from descend.tables.table import Table

NAN, INF = float("nan"), float("inf")
RNG = np.random.default_rng(20)
ROWS = 600
SCORE = RNG.normal(size=ROWS)
FRAME = pd.DataFrame(
    {
        "size": np.where(RNG.random(ROWS) < 0.08, NAN, 50 + 9 * SCORE + RNG.normal(size=ROWS)),
        "kind": pd.Series(RNG.choice(["red", "green", "blue"], ROWS)).where(RNG.random(ROWS) > 0.1, None),
        "day": pd.Timestamp("2021-03-01") + pd.to_timedelta(RNG.integers(0, 700, ROWS), unit="D"),
        "open": RNG.random(ROWS) < 0.4,
        "tiny": 1e-6 * RNG.normal(size=ROWS) + 3e-3,
        "price": 10 + SCORE + RNG.normal(size=ROWS),
    }
)
TARGETS = {
    "price": FRAME["price"].to_numpy(),
    "two": np.where(SCORE + RNG.normal(size=ROWS) > 0, "yes", "no"),
    "three": np.array(["low", "mid", "top"])[np.digitize(SCORE + RNG.normal(size=ROWS), [-0.5, 0.7])],
}


def table(target="price"):
    return FRAME.drop(columns="price").assign(**{target: TARGETS[target]})


def fit(data, target="y", **options):
    """A fit that must not warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return descend.fit(data, target=target, **options)


def same_run(a, b, tolerance=1e-12):
    assert a.outcome == b.outcome
    assert a.rows == b.rows
    assert a.model.feature_names == b.model.feature_names
    assert a.model.classes == b.model.classes
    np.testing.assert_allclose(a.weights, b.weights, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=tolerance)
    for side, metrics in a.metrics.items():
        assert metrics.values == pytest.approx(b.metrics[side].values, rel=tolerance)


# ---- the answer -------------------------------------------------------------------------------------


def test_squared_error_is_ordinary_least_squares_in_original_units():
    data = FRAME.assign(
        gone=FRAME["size"].isna().astype(float),
        size=FRAME["size"].fillna(FRAME["size"].mean()),
        kind=FRAME["kind"].fillna("(missing)"),
        day=(FRAME["day"] - pd.Timestamp(0)).dt.days,
        open=FRAME["open"].astype(float),
    )
    formula = "price ~ size + gone + C(kind, Treatment('blue')) + day + open + tiny"
    ols = smf.ols(formula, data).fit()
    names = {"Intercept": "(intercept)", "gone": "size (missing)", "open": "open=true"}
    expected = {}
    for name, value in ols.params.items():
        level = name.partition("[T.")[2].rstrip("]")
        expected[f"kind={level}" if level else names.get(name, name)] = value
    run = fit(FRAME, "price")
    assert run.coefficients == pytest.approx(expected, rel=1e-8)
    assert run.metrics["training"].values["r2"] == pytest.approx(ols.rsquared, rel=1e-10)
    np.testing.assert_allclose(run.predict(FRAME), ols.fittedvalues, rtol=1e-9)


def encoder(drop):
    """The same encoding of the columns of FRAME in scikit-learn's parts."""
    numbers = ["size", "day", "tiny"]

    def as_numbers(data):
        return data.assign(day=(data["day"] - pd.Timestamp(0)).dt.days)[numbers].astype(float)

    def as_texts(data):
        return pd.DataFrame({"kind": data["kind"].fillna("(missing)"), "open": data["open"].astype(str)})

    return make_union(
        make_pipeline(
            FunctionTransformer(as_numbers),
            StandardScaler(),
            SimpleImputer(strategy="mean", add_indicator=True),
        ),
        make_pipeline(FunctionTransformer(as_texts), OneHotEncoder(drop=drop, sparse_output=False)),
    )


CASES = {
    "regression": ("price", None),
    "ridge": ("price", 0.03),
    "two classes": ("two", None),
    "two classes, free": ("two", 0.0),
    "three classes": ("three", None),
    "three classes, free": ("three", 0),
}


@pytest.mark.parametrize(("target", "penalty"), CASES.values(), ids=CASES)
def test_predictions_are_those_of_a_scikit_learn_pipeline(target, penalty):
    held_out = Split(0.25, seed=3).held_out(0, 0, ROWS)
    data = table(target)
    training, validation = data[~held_out], data[held_out]
    run = fit(data, target, penalty=penalty, penalise="standardised", valid=0.25, seed=3)
    free = penalty == 0 or (target == "price" and penalty is None)
    features = encoder("first" if free else None)
    X, Z = features.fit_transform(training), features.transform(validation)
    if target == "price":
        model = LinearRegression()
        if not free:  # a ridge as rows of data, the intercept left alone: no package's own convention
            width, mean = X.shape[1], X.mean(axis=0)
            extra = np.sqrt(penalty * len(X) / 2) * np.eye(width)
            centred = np.vstack([X - mean, extra])
            y = np.r_[training[target] - training[target].mean(), np.zeros(width)]
            w = np.linalg.lstsq(centred, y, rcond=None)[0]
            expected = (Z - mean) @ w + training[target].mean()
        else:
            expected = model.fit(X, training[target]).predict(Z)
        np.testing.assert_allclose(run.predict(validation), expected, rtol=1e-9)
        return
    strength = np.inf if free else 1.0
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(X, training[target])
    assert run.model.classes == tuple(model.classes_)
    np.testing.assert_allclose(
        run.predict_probabilities(validation), model.predict_proba(Z), rtol=1e-4, atol=1e-6
    )
    score = model.score(Z, validation[target])
    assert run.metrics["validation"].values["accuracy"] == pytest.approx(score, abs=1e-12)


# ---- the same rows, however they come ----------------------------------------------------------------


def as_kinds(data, folder):
    """The same rows in every form that a table may have."""
    stem = folder / "whole"
    data.to_csv(f"{stem}.csv", index=False)
    data.to_parquet(f"{stem}.parquet")
    data.to_csv(f"{stem}.tsv", index=False, sep="\t", na_rep="NA")
    thirds = folder / "thirds"
    thirds.mkdir()
    for i, (start, stop) in enumerate([(0, 250), (250, 251), (251, ROWS)]):
        columns = data.columns if i % 2 == 0 else data.columns[::-1]  # order of columns does not matter
        data.iloc[start:stop][columns].to_csv(thirds / f"{i}.csv", index=False)
    groups = folder / "groups.parquet"
    pl.from_pandas(data).write_parquet(groups, row_group_size=100)
    mixed = folder / "mixed"
    mixed.mkdir()
    data.head(100).to_csv(mixed / "a.csv", index=False)
    data.tail(-100).to_parquet(mixed / "b.parquet")
    plain = data.astype(object).where(data.notna(), None)
    plain["day"] = [day.to_pydatetime() for day in data["day"]]
    return {
        "csv": f"{stem}.csv",
        "tsv": f"{stem}.tsv",
        "parquet": f"{stem}.parquet",
        "row groups": groups,
        "three files": [thirds / f"{i}.csv" for i in range(3)],
        "folder": thirds,
        "glob": str(thirds / "*.csv"),
        "csv and parquet": [mixed / "a.csv", mixed / "b.parquet"],
        "pandas": data,
        "polars": pl.from_pandas(data),
        "pyarrow": pa.Table.from_pandas(data),
        "dict": {name: plain[name].tolist() for name in data.columns},
    }


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_rows_give_the_same_run(target, tmp_path):
    kinds = as_kinds(table(target), tmp_path)
    expected = fit(kinds["csv"], target)
    for kind, data in kinds.items():
        run = fit(data, target)
        try:
            same_run(run, expected)
            np.testing.assert_allclose(
                run.predict(kinds["csv"]) if target == "price" else run.predict_probabilities(kinds["csv"]),
                run.predict(data) if target == "price" else run.predict_probabilities(data),
                rtol=1e-12,
            )
        except AssertionError as error:
            raise AssertionError(f"as {kind}: {error}") from error


def test_the_same_rows_are_held_out_of_a_file_and_a_frame(tmp_path):
    kinds = as_kinds(table("two"), tmp_path)
    expected = fit(kinds["csv"], "two", valid=0.3, seed=5)
    held_out = Split(0.3, 5).held_out(0, 0, ROWS)
    assert expected.rows == {
        "training": ROWS - held_out.sum(),
        "validation": held_out.sum(),
        "without_target": 0,
    }
    for kind in ("tsv", "parquet", "row groups", "pandas", "polars", "pyarrow", "dict"):
        same_run(fit(kinds[kind], "two", valid=0.3, seed=5), expected)


def test_the_same_rows_are_held_out_of_several_files_in_any_order(tmp_path):
    kinds = as_kinds(table("two"), tmp_path)
    expected = fit(kinds["three files"], "two", valid=0.3, seed=5)
    lengths = [250, 1, ROWS - 251]
    held_out = sum(int(Split(0.3, 5).held_out(file, 0, rows).sum()) for file, rows in enumerate(lengths))
    assert expected.rows["validation"] == held_out
    assert not np.array_equal(*(Split(0.3, 5).held_out(file, 0, 200) for file in (0, 2)))
    for paths in (kinds["folder"], kinds["glob"], kinds["three files"][::-1]):
        same_run(fit(paths, "two", valid=0.3, seed=5), expected, 1e-10)


@pytest.mark.parametrize("engine", [Serial(), Threads(1), Threads(3)], ids=repr)
def test_any_engine_gives_the_same_bits(engine, tmp_path):
    path = as_kinds(table("three"), tmp_path)["csv"]
    expected = fit(path, "three", valid=0.3)
    run = fit(path, "three", valid=0.3, engine=engine)
    assert run.weights.tobytes() == expected.weights.tobytes()
    assert run.rows == expected.rows
    assert run.history.validation_loss.tobytes() == expected.history.validation_loss.tobytes()


def test_other_seeds_hold_out_other_rows_and_appended_rows_change_none():
    assert (
        fit(FRAME, "price", valid=0.3).weights.tolist()
        != fit(FRAME, "price", valid=0.3, seed=1).weights.tolist()
    )
    held_out = Split(0.3, 0).held_out(0, 0, ROWS)
    assert fit(FRAME.head(300), "price", valid=0.3).rows["validation"] == held_out[:300].sum()


# ---- roles -------------------------------------------------------------------------------------------

ROLES = {
    "number": ([1.5, 2.5, 4.0], ["x"]),
    "whole number": ([1, 2, 5], ["x"]),
    "number with gaps": ([1.5, None, 2.5], ["x", "x (missing)"]),
    "not a number": ([1.5, NAN, 2.5], ["x", "x (missing)"]),
    "text": (["a", "b", "a"], ["x=b"]),
    "text with gaps": (["a", None, "b"], ["x=b", "x=(missing)"]),
    "truth": ([True, False, True], ["x=true"]),
    "truth with gaps": ([True, None, False], ["x=true", "x=(missing)"]),
    "date": ([dt.date(2020, 1, 1), dt.date(2020, 1, 3), None], ["x", "x (missing)"]),
    "time": ([dt.datetime(2020, 1, 1, 6), dt.datetime(2020, 1, 2), dt.datetime(2021, 1, 2)], ["x"]),
    "duration": ([dt.timedelta(hours=1), dt.timedelta(2), dt.timedelta(3)], ["x"]),
    "constant with gaps": ([2.0, None, 2.0], ["x", "x (missing)"]),
}


@pytest.mark.parametrize(("values", "names"), ROLES.values(), ids=ROLES)
def test_roles_follow_from_the_values(values, names):
    run = fit(pl.DataFrame({"x": values, "y": [1.5, 2.0, 4.0]}))
    assert list(run.model.feature_names) == names


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["1", "NA", "3"], ["x", "x (missing)"]),
        (["red", "", "blue"], ["x=red", "x=(missing)"]),
        (["True", "False", "True"], ["x=true"]),
        (["2020-01-01", "2020-01-05", "2021-01-01"], ["x"]),
        (["2020-01-01T10:00:00", "N/A", "2021-01-01T10:00:00"], ["x", "x (missing)"]),
        (["1,5", "2,5", "1,5"], ["x=2,5"]),
    ],
    ids=str,
)
def test_roles_of_the_columns_of_a_csv(cells, names, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "x;y\n" + "".join(f"{cell};{y}\n" for cell, y in zip(cells, (1.5, 2.0, 4.0), strict=True))
    )
    run = fit(path)
    assert list(run.model.feature_names) == names
    np.testing.assert_allclose(run.predict(path), run.predict(path), rtol=0)


def test_a_date_counts_days(tmp_path):
    days = np.array([0, 3, 10, 45, 400])
    frame = pl.DataFrame(
        {"d": [dt.date(2020, 1, 1) + dt.timedelta(days=int(d)) for d in days], "y": 2.0 * days}
    )
    frame.write_csv(tmp_path / "a.csv")
    for data in (frame, tmp_path / "a.csv"):
        assert fit(data).coefficients["d"] == pytest.approx(2.0)


def test_predicting_from_a_csv_in_which_dates_are_rare(tmp_path):
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=d) for d in range(300)]
    frame = pl.DataFrame({"d": days, "y": [float(d % 7) for d in range(300)]})
    run = fit(frame)
    (tmp_path / "new.csv").write_text("d\n" + "NA\n" * 250 + "2020-03-01\n")
    assert run.predict(tmp_path / "new.csv")[-1] == pytest.approx(
        run.predict({"d": [dt.date(2020, 3, 1)]})[0]
    )


def test_truth_written_by_pandas_is_truth_when_predicting(tmp_path):
    frame = pd.DataFrame({"b": [True, False] * 20, "y": [3.0, 1.0] * 20})
    frame.to_csv(tmp_path / "a.csv", index=False)  # True and False, not true and false
    for data in (frame, tmp_path / "a.csv"):
        np.testing.assert_allclose(fit(data).predict(tmp_path / "a.csv"), frame["y"])


WARNED = {
    "constant number": ([2, 2, 2, 2], "constant \\(2\\)"),
    "constant text": (["u"] * 4, "constant \\('u'\\)"),
    "nothing there": ([None] * 4, "every cell is missing"),
    "lists": ([[1], [2], [3], [4]], "neither number, text nor date"),
}


@pytest.mark.parametrize(("values", "reason"), WARNED.values(), ids=WARNED)
def test_useless_columns_are_left_out_with_a_warning(values, reason):
    data = pl.DataFrame({"z": values, "x": [1.0, 2, 3, 5], "y": [1.5, 2, 4, 3]})
    with pytest.warns(DescendWarning, match=f"column `z` is left out: .*{reason}"):
        run = descend.fit(data, target="y")
    assert run.model.feature_names == ("x",)
    assert len(run.warnings) == 1
    assert len(run.predict(data.drop("z"))) == 4


@pytest.mark.parametrize(
    ("name", "values", "dropped"),
    [
        ("PassengerId", range(40), True),
        ("", range(40), True),
        ("id", [7 + 3 * i for i in range(40)], True),
        ("id", [1, 2, 3, 4] * 10, False),
        ("floor", range(40), False),
        ("comment", [f"t{i}" for i in range(40)], True),
        ("comment", [f"t{i % 30}" for i in range(40)], False),
    ],
)
def test_identifiers_are_left_out_with_a_warning(name, values, dropped):
    data = pl.DataFrame({name: list(values), "x": RNG.normal(size=40), "y": RNG.normal(size=40)})
    if dropped:
        with pytest.warns(DescendWarning, match=f"column `{name}` is left out: identifier-like"):
            run = descend.fit(data, target="y")
    else:
        run = fit(data)
    assert (run.model.encoding.names == ("x",)) is dropped
    named = fit(data, columns=Columns(features=[name, "x"]))
    assert named.model.encoding.names == (name, "x")


def test_levels_past_a_thousand_are_folded_with_a_warning():
    levels = [f"l{i:04}" for i in range(1200)]
    data = pl.DataFrame({"c": levels * 2 + levels[:1000] * 2, "y": [0.5 * i for i in range(4400)]})
    with pytest.warns(DescendWarning, match=r"column `c` has 1200 levels: the 1000 most frequent are kept"):
        run = descend.fit(data, target="y", penalty=0.1)
    assert len(run.model.feature_names) == 1001
    assert run.model.feature_names[-1] == "c=(other)"
    np.testing.assert_array_equal(run.predict({"c": ["l1100"]}), run.predict({"c": ["who?"]}))


# ---- what a user may say about columns ---------------------------------------------------------------

CHOICES = {
    "features": (Columns(features=["b", "a"]), ["b", "a"]),
    "features named twice": (Columns(features=["a", "a"]), ["a"]),
    "drop": (Columns(drop=["c", "n"]), ["a", "b"]),
    "features and drop": (Columns(features=["a", "b"], drop=["b"]), ["a"]),
    "categorical": (Columns(features=["n"], categorical=["n"]), ["n=2", "n=3"]),
    "reference": (Columns(features=["n"], categorical=["n"], reference={"n": "2"}), ["n=1", "n=3"]),
    "numeric": (Columns(features=["c"], numeric=["c"]), ["c", "c (missing)"]),
}


@pytest.mark.parametrize(("columns", "names"), CHOICES.values(), ids=CHOICES)
def test_columns_as_the_user_says(columns, names, tmp_path):
    frame = pl.DataFrame(
        {
            "a": [1.0, 2, 4, 3, 9, 8],
            "b": [0.5, 2.5, 4, 1, 1, 7],
            "c": ["7", "8", "x", "7.5", "9", "6"],
            "n": [1, 2, 3, 1, 2, 3],
            "y": [1.5, 2, 4, 3, 7, 2],
        }
    )
    frame.write_csv(tmp_path / "a.csv")
    for data in (frame, tmp_path / "a.csv"):
        run = fit(data, columns=columns)
        assert list(run.model.feature_names) == names
        told = pytest.warns(DescendWarning, match="no numbers") if columns.numeric else nullcontext()
        with told:
            predicted = run.predict(tmp_path / "a.csv"), run.predict(frame)
        np.testing.assert_allclose(*predicted, rtol=1e-12)


def test_missing_cells_as_the_user_says_also_when_predicting(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,1\n-,3\n4,?\n8,2\n5,7\n")
    run = fit(tmp_path / "a.csv", columns=Columns(missing=["-", "?"]))
    assert run.model.feature_names == ("x", "x (missing)")
    assert run.rows == {"training": 4, "validation": 0, "without_target": 1}
    assert run.predict(tmp_path / "a.csv")[1] == pytest.approx(3.0)


REFUSED = {
    "no such target": ({"target": "z"}, "'frame' has no column `z`. It has `x`, `c`, `y`"),
    "no such feature": ({"columns": Columns(features=["q"])}, "has no column `q`"),
    "no such column to drop": ({"columns": Columns(drop=["q"])}, "has no column `q`"),
    "no such reference": ({"columns": Columns(reference={"q": "a"})}, "has no column `q`"),
    "no such level": (
        {"columns": Columns(reference={"c": "q"})},
        "must be one of its levels.*'a', 'b'.*got 'q'",
    ),
    "target as a feature": ({"columns": Columns(features=["y"])}, "`y` is the target"),
    "target dropped": ({"columns": Columns(drop=["y"])}, "`y` is the target"),
    "nothing left": ({"columns": Columns(drop=["x", "c"])}, "no column to predict `y` from"),
    "fraction": ({"valid": 1.5}, "`valid` as a fraction must lie between 0 and 1, got 1.5"),
    "arrays to validate": ({"valid": (np.ones((2, 1)), np.ones(2))}, "`valid` must be .*, got tuple"),
    "a decimal comma": ({"valid": "0,2"}, "`valid` is neither a share .*: found no file '0,2'"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_the_table_is_refused(options, message):
    data = {"x": [1.0, 2, 4], "c": ["a", "b", "a"], "y": [1.0, 3, 2]}
    with pytest.raises(DescendError, match=message):
        fit(data, **{"target": "y", **options})


NOT_USABLE = {
    "the target": ({"x": [1.0, 2, 3], "y": [[1], [2], [3]]}, {}, r"`y` is the target, but its type List"),
    "the weights": (
        {"x": [1.0, 2, 3], "w": [[1], [2], [3]], "y": [1.0, 2, 4]},
        {"columns": Columns(weight="w")},
        r"`w` is the weights, but its type List",
    ),
    "all features": (
        {"x": [[1], [2], [3]], "y": [1.0, 2, 4]},
        {},
        r"no column to predict `y` from. column `x` is left out: its type List\(Int64\) is",
    ),
    "no columns": (pd.DataFrame(), {}, "has no column `y`. It has none"),
}


@pytest.mark.parametrize(("data", "options", "message"), NOT_USABLE.values(), ids=NOT_USABLE)
def test_types_that_cannot_be_used_are_named(data, options, message):
    with pytest.raises(DataError, match=message):
        fit(data if isinstance(data, pd.DataFrame) else pl.DataFrame(data), **options)


def test_names_that_are_numbers():
    frame = pd.DataFrame({0: [1.0, 2, 4], 1: [1.0, 3, 2]})
    assert fit(frame, 1).model.feature_names == ("0",)


# ---- targets -----------------------------------------------------------------------------------------

MANY_WHOLE = list(range(21)) * 2
INFERRED = {
    "numbers": ([1.5, 2.5, 4.0], "squared-error", None, None),
    "many whole numbers": (MANY_WHOLE, "squared-error", None, None),
    "few whole numbers": ([1, 2, 3], "squared-error", None, "--loss cross-entropy for classes"),
    "twenty whole numbers": (MANY_WHOLE[:20], "squared-error", None, "holds 20 whole numbers"),
    "zero and one": ([0, 1, 0], "logistic", (0, 1), "--loss squared-error for a number"),
    "one and two as floats": ([1.0, 2.0, NAN, 1.0], "logistic", (1, 2), "holds only 1 and 2"),
    "two broken numbers": ([0.5, 1.5, 0.5], "squared-error", None, None),
    "one number": ([2.0, 2.0, 2.0], "squared-error", None, "always has the same value (2)"),
    "truth": ([True, False, True], "logistic", (False, True), None),
    "two texts": (["no", "yes", "no"], "logistic", ("no", "yes"), None),
    "three texts": (["c", "a", "b"], "cross-entropy", ("a", "b", "c"), None),
    "a hundred texts": ([f"{i:03}" for i in range(100)], "cross-entropy", None, None),
    "dates": (
        [dt.date(2020, 1, 1), dt.date(2020, 1, 9), dt.date(2021, 1, 1)],
        "squared-error",
        None,
        "holds dates: taken as days since 1970-01-01",
    ),
}


@pytest.mark.parametrize(("y", "loss", "classes", "note"), INFERRED.values(), ids=INFERRED)
def test_the_loss_follows_from_the_target(y, loss, classes, note):
    run = fit({"x": [float(i * i % 17) for i in range(len(y))], "y": y}, steps=1)
    assert run.model.loss.name == loss
    assert classes is None or run.model.classes == classes
    assert note is None or any(note in line for line in run.notes)
    said = [line for line in run.notes if line.startswith("L2 penalty alpha = 1/")]
    known = run.rows["training"]
    if loss == "squared-error":
        assert run.model.facts["penalty"]["alpha"] == 0
        assert not said
    else:
        assert run.model.facts["penalty"]["alpha"] == 1 / known
        assert said == [
            f"L2 penalty alpha = 1/{known} (one over the training rows; --l2 0 turns it off), acts on standardised coefficients"
        ]


OVERRIDDEN = {
    "classes of whole numbers": ([1, 2, 3, 1], "cross-entropy", (1, 2, 3)),
    "two classes by cross entropy": (["a", "b", "a", "b"], "cross-entropy", ("a", "b")),
    "a number of zero and one": ([0, 1, 0, 1], "squared-error", None),
    "truth by cross entropy": ([True, False, True, True], "cross-entropy", (False, True)),
}


@pytest.mark.parametrize(("y", "loss", "classes"), OVERRIDDEN.values(), ids=OVERRIDDEN)
def test_the_loss_may_be_said(y, loss, classes):
    run = fit({"x": [1.0, 4, 2, 3], "y": y}, loss=loss)
    assert (run.model.loss.name, run.model.classes) == (loss, classes)
    if classes is not None:
        assert set(run.predict({"x": [1.0, 4]}).tolist()) <= set(classes)


TARGETS_REFUSED = {
    "one text": (["a"] * 5, None, "always has the same value, 'a': there"),
    "too many texts": ([f"t{i}" for i in range(101)], None, "101 distinct texts.*at most 100 classes"),
    "three for logistic": ([1, 2, 3], "logistic", "has 3 distinct values.*takes exactly 2"),
    "three texts for logistic": (["a", "b", "c"], "logistic", "has 3 distinct values.*takes exactly 2"),
    "broken numbers as classes": (
        [1.5, 2.5],
        "cross-entropy",
        "more than 100 distinct values|takes 2 to 100",
    ),
    "too many numbers as classes": (list(range(101)), "cross-entropy", "more than 100 distinct values"),
    "text as a number": (["a", "b"], "squared-error", "holds text, which the loss squared-error cannot fit"),
    "infinite": ([1.0, INF, 2.0], None, "target `y` holds 1 number.s. that are infinite"),
    "never there": ([None, None], None, "'frame' has no row with a value of the target `y`"),
    "never a number": ([NAN, NAN], None, "'frame' has no row with a value of the target `y`"),
}


@pytest.mark.parametrize(("y", "loss", "message"), TARGETS_REFUSED.values(), ids=TARGETS_REFUSED)
def test_targets_that_cannot_be_learned(y, loss, message):
    with pytest.raises(DataError, match=message):
        fit({"x": [float(i) for i in range(len(y))], "y": y}, loss=loss)


def test_rows_without_a_target_are_left_out_and_counted():
    y = np.where(np.arange(ROWS) % 10 == 0, NAN, TARGETS["price"])
    data = pl.from_pandas(FRAME).with_columns(
        price=pl.when(pl.arange(0, ROWS) % 10 == 5).then(None).otherwise(pl.Series(y))
    )
    run = fit(data, "price", valid=0.2)
    known = np.arange(ROWS) % 5 != 0
    held_out = Split(0.2, 0).held_out(0, 0, ROWS)
    assert run.rows == {
        "training": (known & ~held_out).sum(),
        "validation": (known & held_out).sum(),
        "without_target": ROWS // 5,
    }
    assert {side: m.rows for side, m in run.metrics.items()} == {
        side: run.rows[side] for side in ("training", "validation")
    }
    # a row's side does not depend on the others: the same weights from the training rows alone
    alone = fit(FRAME[known & ~held_out], "price")
    np.testing.assert_allclose(run.weights, alone.weights, rtol=1e-9, atol=1e-12)


def test_nan_and_null_are_both_missing():
    nan = pl.DataFrame({"x": [1.0, NAN, 3.0, 4.0, NAN], "y": [1.5, 2.0, NAN, 4.0, 3.0]})
    same_run(fit(nan), fit(nan.fill_nan(None)), 0)


# ---- validation --------------------------------------------------------------------------------------


def test_a_validation_file_of_its_own(tmp_path):
    data = table("two")
    training, validation = data.head(400), data.tail(200).copy()
    validation.iloc[3, validation.columns.get_loc("two")] = None
    validation[validation.columns[::-1]].to_csv(tmp_path / "v.csv", index=False)
    run = fit(training, "two", valid=tmp_path / "v.csv")
    assert run.rows == {"training": 400, "validation": 199, "without_target": 0}
    np.testing.assert_array_equal(run.weights, fit(training, "two").weights)
    known = validation[validation["two"].notna()]
    hits = (run.predict(known) == known["two"]).mean()
    assert run.metrics["validation"].values["accuracy"] == pytest.approx(hits, abs=1e-12)


def test_a_validation_file_is_read_in_the_roles_of_training(tmp_path):
    frame = pl.DataFrame({"zip": ["01", "02", "x", "01"], "n": [1, 2, 4, 3], "y": [0.0, 1.0, 2.5, 3.0]})
    (tmp_path / "v.csv").write_text("zip,n,y\n01,1,0\n02,2,1\n" * 5100 + "02,2.5,1.5\n")
    run = fit(frame, valid=tmp_path / "v.csv")
    expected = run.predict({"zip": ["01", "02"] * 5100 + ["02"], "n": [1.0, 2.0] * 5100 + [2.5]})
    error = expected - np.array([0.0, 1.0] * 5100 + [1.5])
    assert run.metrics["validation"].values["rmse"] == pytest.approx(np.sqrt((error**2).mean()))


VALID_REFUSED = {
    "target missing": ("x\n1\n", "'v.csv' has no column `y`, the target"),
    "column missing": ("y\n1\n", r"'v\.csv' lacks 1 column\(s\) that the model was fitted on: `x`"),
    "no target known": ("x,y\n1,\n2,NA\n", "no rows are left"),
    "header only": ("x,y\n", "no rows are left"),
    "empty": ("", "cannot read"),
}


@pytest.mark.parametrize(("content", "message"), VALID_REFUSED.values(), ids=VALID_REFUSED)
def test_validation_files_that_cannot_be_used(content, message, tmp_path):
    (tmp_path / "v.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        fit({"x": [1.0, 2, 4], "y": [1.0, 3, 2]}, valid=tmp_path / "v.csv")


def test_where_no_row_happens_to_be_held_out_it_is_said():
    data = {"x": [1.0, 2, 4], "y": [1.0, 3.5, 2]}
    run = fit(data, valid=0.001)
    assert run.rows["validation"] == 0
    assert set(run.metrics) == {"training"}
    assert any("no row was held out" in note for note in run.notes)
    with pytest.raises(
        DataError, match="'frame' has no row left to learn from: every one is held out by `valid`"
    ):
        fit(data, valid=0.999)
    weightless = {"x": [1.0, 2, 4], "n": [0, 0, 0], "y": [1.0, 3, 2]}
    with pytest.raises(DataError, match="'frame' has no row of a weight `n` above 0"):
        fit(weightless, columns=Columns(weight="n"))


def test_rows_held_out_of_a_class_that_training_lacks_are_not_counted_as_validation():
    data = {"x": [float(i) for i in range(40)], "y": ["rare", *["a", "b", "b"] * 13]}
    seed = next(s for s in range(99) if Split(0.3, s).held_out(0, 0, 1)[0])
    run = descend.fit(data, target="y", valid=0.3, seed=seed)
    assert run.model.classes == ("a", "b")
    assert run.rows["validation"] == run.metrics["validation"].rows


def test_metrics_that_have_no_value_do_not_stop_a_model_from_being_saved(tmp_path):
    one_class = {"x": [1.0, 2], "y": ["a", "a"]}
    run = fit({"x": [1.0, 2, 3, 1], "y": ["a", "b", "a", "b"]}, valid=one_class)
    assert np.isnan(run.metrics["validation"].values["roc_auc"])
    run.save(tmp_path / "a.json")
    assert descend.load(tmp_path / "a.json").facts["metrics"]["validation"]["values"]["roc_auc"] is None
    fit({"x": [1.0, 2, 3], "y": [2.0, 2, 2]}).save(tmp_path / "b.json")  # r2 of a constant target


# ---- bad input ---------------------------------------------------------------------------------------

FILES_REFUSED = {
    "empty": ("", "cannot read"),
    "header only": ("x,y\n", "'a.csv' has no rows"),
    "ragged": ("x,y\n1,2\n3,4,5\n", "cannot read"),
    "all cells missing": ("x,y\n,1\n,2\n", "no column is left to learn from: .*every cell is missing"),
    "one row": ("x,y\n1,2\n", "no column is left to learn from: .*constant"),
    "target alone": ("y\n1\n2\n", "no column to predict `y` from"),
    "infinite": ("x,y\n1,2\ninf,3\n2,5\n", "column `x` holds 1 number.s. that are infinite.*--drop x"),
    "infinite below": ("x,y\n1,2\n-inf,3\n2,5\n", "column `x` holds 1 number.s. that are infinite"),
    "too large": (
        "x,y\n1,2\n1e300,3\n2,5\n",
        "column `x` holds 1 number.s. that are infinite, or beyond 1e.150",
    ),
    "names only": ("x,y", "'a.csv' has no rows"),
}


@pytest.mark.parametrize(("content", "message"), FILES_REFUSED.values(), ids=FILES_REFUSED)
def test_files_that_cannot_be_learned_from(content, message, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        fit(tmp_path / "a.csv")


def test_a_path_that_does_not_exist():
    with pytest.raises(DataError, match=r"found no file 'nowhere\.csv'"):
        fit("nowhere.csv")


def test_odd_names_are_kept_in_the_model(tmp_path):
    (tmp_path / "a.csv").write_text(
        '<script>,größe,"two, words",[red],y\n1,5,a,2,1\n2,3,b,1,4\n4,2,a,2,2\n3,3,b,9,1\n'
    )
    run = fit(tmp_path / "a.csv", penalty=0.1)
    assert run.model.encoding.names == ("<script>", "größe", "two, words", "[red]")
    run.save(tmp_path / "a.json")
    again = descend.load(tmp_path / "a.json")
    np.testing.assert_array_equal(again.predict(tmp_path / "a.csv"), run.predict(tmp_path / "a.csv"))


def test_a_row_of_its_own_may_be_fitted_where_features_are_named():
    run = fit({"x": [3.0], "y": [5.0]}, columns=Columns(features=["x"]))
    assert run.predict({"x": [3.0]}).tolist() == pytest.approx([5.0])


@pytest.mark.parametrize(
    ("usual", "last", "names"),
    [
        ("4", "2.5", ("x", "k")),
        ("4", "none", ("k", "x=3", "x=4", "x=none")),
        ("2020-01-02", "never", ("k", "x=2020-01-02", "x=never")),
    ],
)
def test_a_type_that_changes_after_the_first_ten_thousand_rows(usual, last, names, tmp_path):
    first = "3" if usual == "4" else usual
    path = tmp_path / "a.csv"
    path.write_text(
        f"x,k,y\n{first},3,0.5\n"
        + "".join(f"{usual},{i % 7},{i % 5}.5\n" for i in range(10_100))
        + f"{last},2,7\n"
    )
    run = fit(path, penalty=0.01)
    assert run.model.feature_names == names or set(run.model.feature_names) == set(names) | {f"x={first}"}
    widened = any("types were widened" in note and last in note for note in run.notes)
    assert widened == (last != "2.5")  # whole numbers are read as broken ones from the start
    assert run.rows["training"] == 10_102
    assert len(run.predict(path)) == 10_102


def test_a_target_that_changes_its_type_late(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{i % 7},{i % 50}\n" for i in range(10_100)) + "1,2.5\n")
    run = fit(path)
    assert run.model.loss.name == "squared-error"
    assert run.rows["training"] == 10_101


def test_a_first_look_that_meets_a_conflict_further_on_leaves_it_to_the_survey(tmp_path, monkeypatch):
    def further(table, column, rows):
        raise TypeConflict("y", "2.5", table.label)

    monkeypatch.setattr(Table, "head", further)
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{i % 7},{i % 50}\n" for i in range(500)))
    assert fit(path).model.loss.name == "squared-error"


def test_what_the_settings_say_of_a_column_must_agree():
    data = {"x": [1.0, 2, 4], "c": ["a", "b", "a"], "y": [1.0, 3, 2]}
    with pytest.raises(DescendError, match="`c` is named both `numeric` and `categorical`: choose one"):
        fit(data, columns=Columns(numeric=["c"], categorical=["c"]))
    with pytest.raises(DescendError, match="`reference` names `x`, which is a column of numbers: name it"):
        fit(data, columns=Columns(reference={"x": "1"}))
    with pytest.raises(DescendError, match="`reference` names `c`, which is not among the features"):
        fit(data, columns=Columns(drop=["c"], reference={"c": "a"}))


def test_one_cell_that_makes_a_target_text_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "".join(f"{i % 7},{i % 200}\n" for i in range(10_100)) + "1,abc\n")
    with pytest.raises(DataError, match=r"target `y` holds 201 distinct texts.* holds 'abc', which does not"):
        fit(path)


def test_types_that_differ_between_files(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n2,4.5\n")
    (tmp_path / "b.csv").write_text("y,x\n7,2.5\n3,1.5\n")
    run = fit(tmp_path)
    assert run.model.feature_names == ("x",)
    assert run.rows["training"] == 4
    same_run(run, fit({"x": [1, 2, 2.5, 1.5], "y": [2, 4.5, 7, 3]}), 1e-12)


def test_frames_are_not_changed():
    data = FRAME.copy()
    fit(data, "price", valid=0.2)
    pd.testing.assert_frame_equal(data, FRAME)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"training": 5}, "5 rows to learn from"),
        ({"training": 12_345, "validation": 7, "without_target": 0}, "12,345 rows to learn from, 7 held out"),
        (
            {"training": 1, "validation": 0, "without_target": 2},
            "1 rows to learn from, 2 without a target left out",
        ),
    ],
)
def test_counts_of_rows_in_a_sentence(rows, sentence):
    assert summarise(rows) == sentence


def test_a_penalty_may_be_an_object_or_a_number():
    same_run(fit(FRAME, "price", penalty=L2(0.2)), fit(FRAME, "price", penalty=0.2), 0)


@pytest.mark.parametrize("valid", [None, 0.3])
def test_a_file_that_is_not_kept_whole_is_read_once_and_only_mae_is_from_a_sample(
    tmp_path, monkeypatch, valid
):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300_000, 2))
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x @ [1.0, -2.0] + rng.normal(size=300_000)})
    frame.write_parquet(tmp_path / "a.parquet")
    whole = descend.fit(frame, target="y", valid=valid)
    monkeypatch.setattr("descend.tables.profiling.KEPT_BYTES", 4_000_000)
    reads, scan = [], ColumnarFile.scan
    monkeypatch.setattr(ColumnarFile, "scan", lambda self, schema: reads.append(1) or scan(self, schema))
    run = descend.fit(tmp_path / "a.parquet", target="y", valid=valid)
    assert len(reads) == 1
    np.testing.assert_allclose(run.weights, whole.weights, rtol=1e-12)
    assert run.rows == whole.rows
    for side, metrics in whole.metrics.items():
        found = run.metrics[side]
        assert found.note.startswith("mae is from ")
        assert found.rows == metrics.rows
        for values, oracle in ((found.values, metrics.values), (found.baseline, metrics.baseline)):
            assert values["rmse"] == pytest.approx(oracle["rmse"], rel=1e-12)
            assert values["r2"] == pytest.approx(oracle["r2"], rel=1e-12, abs=1e-9)
            assert values["mae"] == pytest.approx(oracle["mae"], rel=0.02)


@pytest.mark.filterwarnings("ignore::descend.DescendWarning")
@pytest.mark.parametrize("cell", [None, "", "NA", "NaN", "oops"])
@pytest.mark.parametrize("row", [5, 29_000])
def test_large_csvs_are_not_searched_for_missing_cells_until_one_shows(tmp_path, monkeypatch, cell, row):
    rng = np.random.default_rng(0)
    x = rng.normal(size=30_000).round(3)
    lines = ["x,y", *(f"{a},{2 * a + e:.3f}" for a, e in zip(x, rng.normal(size=30_000), strict=True))]
    if cell is not None:
        lines[row] = f"{cell},{lines[row].partition(',')[2]}"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    expected = descend.fit(tmp_path / "a.csv", target="y")
    monkeypatch.setattr("descend.tables.table.LARGE", 0)
    run = descend.fit(tmp_path / "a.csv", target="y")
    assert run.coefficients == expected.coefficients
    assert run.notes == expected.notes
    assert ("x (missing)" in run.coefficients) == (cell in ("", "NA", "NaN"))


def test_a_number_that_stands_for_a_missing_cell_is_found_in_large_csvs_too(tmp_path, monkeypatch):
    monkeypatch.setattr("descend.tables.table.LARGE", 0)
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{i % 10},{i % 7}\n" for i in range(200)))
    run = descend.fit(tmp_path / "a.csv", target="y", columns=Columns(missing=["9"]))
    assert "x (missing)" in run.coefficients


def test_features_that_name_no_column_are_refused():
    with pytest.raises(DescendError, match="`features` of Columns names no column"):
        Columns(features=[])


def test_validation_cells_that_count_as_missing_are_noted():
    train = {"x": [0.0, 1.0, 2.0, 4.0, 3.0], "g": list("aabba"), "y": [0.0, 1.1, 2.0, 3.9, 3.2]}
    valid = {"x": [0.5, np.inf, 2.0, 1.0], "g": ["a", "b", "zzz", "a"], "y": [0.5, 1.0, 2.0, None]}
    for rows in (pl.DataFrame(valid), valid):
        run = descend.fit(train, target="y", valid=rows)
        assert run.rows["validation"] == 3
        assert run.metrics["validation"].rows == 3
        assert [note for note in run.notes if note.startswith("validation")] == [
            "validation cells of `g` with a level that the model has never seen count as its reference: 1, 'zzz' for example",
            "validation cells of `x` that are no numbers count as missing: 1, 'inf' for example",
        ]


def test_validation_rows_of_unknown_classes_are_noted():
    train = pl.DataFrame({"x": [1.0, 2, 3, 4, 5], "y": ["a", "b", "a", "b", "a"]})
    valid = pl.DataFrame({"x": [1.0, 2, 3, 4], "y": ["a", "b", "c", None]})
    run = fit(train, target="y", valid=valid)
    assert run.rows["validation"] == 2
    assert (
        "validation rows with a `y` that the model does not know are left out: 1, 'c' for example"
        in run.notes
    )
    assert not any("does not know" in note for note in fit(train, target="y", valid=train).notes)


def test_numbers_of_any_width_and_texts_that_are_numbers_in_any_type():
    plain = {"a": [1, 2, 3, 5], "y": [1.0, 2, 3, 6]}
    run = fit(plain)
    for kind in (pl.Int128, pl.UInt128, pl.UInt8, pl.Float32, pl.Decimal(20, 2)):
        wide = pl.DataFrame(plain).with_columns(pl.col("a").cast(kind))
        assert fit(wide).weights.tolist() == run.weights.tolist()
    for kind in (pl.String, pl.Categorical, pl.Enum(["1", "2"])):
        texts = pl.DataFrame({"a": pl.Series(["1", "2"], dtype=kind)})
        assert run.predict(texts).tolist() == run.predict({"a": [1, 2]}).tolist()


@pytest.mark.parametrize("column", ["number", "text"])
def test_lists_in_the_place_of_cells_are_named_when_predicting(column):
    run = fit(
        {"number": [1.0, 2, 3, 4] * 5, "text": ["u", "v", "v", "u"] * 5, "y": [1.0, 2, 3, 5] * 5}, penalty=0.1
    )
    frame = pl.DataFrame({"number": [1.0], "text": ["u"]}).with_columns(pl.concat_list(column).alias(column))
    with pytest.raises(DataError, match=rf"column `{column}` holds List"):
        run.predict(frame)


def test_levels_that_training_lacked_are_told_when_predicting():
    run = fit({"f": [True, False] * 50, "y": [10.0, 0.0] * 50})
    with pytest.warns(
        DescendWarning, match="`f` with a level that the model has never seen .* 2, '0' for example"
    ):
        assert run.predict({"f": [0, 0]}).tolist() == pytest.approx([0, 0], abs=1e-9)


def test_what_arrow_cannot_hand_over_is_refused():
    with pytest.raises(DataError, match="cannot read DataFrame as a table"):
        fit(pd.DataFrame({"a": [1 + 1j, 2, 3], "y": [1.0, 2, 4]}))
