"""Numbers at the ends of what float64 holds are refused, told of or fitted, never lost without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import coo_array, csr_array

import descend
from descend import Columns, DescendWarning
from descend.engines.splits import Split
from descend.errors import DataError

RNG = np.random.default_rng(7)
X = RNG.normal(size=(80, 2))
Y = X @ [1.0, 2.0] + 3 + RNG.normal(size=80)


@pytest.mark.parametrize("size", [1e-130, 1e-100, 1e-20, 1e20, 1e100])
def test_coefficients_and_errors_go_with_the_units(size):
    right = descend.fit(X, Y)
    small = descend.fit(X * [1.0, size], Y)
    np.testing.assert_allclose(small.weights * [1.0, size, 1.0], right.weights, rtol=1e-12)
    errors = np.array(list(small.standard_errors.values())) * [1.0, size, 1.0]
    np.testing.assert_allclose(errors, list(right.standard_errors.values()), rtol=1e-10)
    scaled = descend.fit(X, Y * size)
    np.testing.assert_allclose(scaled.weights / size, right.weights, rtol=1e-12)
    np.testing.assert_allclose(scaled.summary().figures["R2"], right.summary().figures["R2"], rtol=1e-10)


@pytest.mark.parametrize("size", [1e-150, 1e-170, 1e-300])
def test_numbers_whose_squares_vanish_are_refused(size):
    for loss, y in (("squared-error", Y), ("logistic", (Y > 3).astype(float))):
        with pytest.raises(DataError, match=r"column 1 of `x` holds no number as large as 1e-140"):
            descend.fit(X * [1.0, size], y, loss=loss)
    with pytest.raises(DataError, match="`y` holds no number"):
        descend.fit(X, Y * size)
    table = {"a": X[:, 0], "b": X[:, 1], "y": Y}
    with pytest.raises(DataError, match="--drop b"):
        descend.fit(table | {"b": X[:, 1] * size}, target="y")
    with pytest.raises(DataError, match="target `y` holds no number"):
        descend.fit(table | {"y": Y * size}, target="y")


@pytest.mark.parametrize("size", [1e-150, 1e-300, 1e200])
def test_sparse_rows_and_instalments_are_refused_alike(size):
    said = "column 1 of `[xX]` holds no number" if size < 1 else "`[xX]` holds numbers beyond"
    with pytest.raises(DataError, match=said):
        descend.fit(csr_array(X * [1.0, size]), Y)
    for kind, y in ((descend.LinearRegressor, Y), (descend.LinearClassifier, Y > 3)):
        more = {} if kind is descend.LinearRegressor else {"classes": [False, True]}
        with pytest.raises(DataError, match=said):
            kind().partial_fit(X * [1.0, size], y, **more)
    for made in (descend.LinearRegressor().partial_fit, descend.Objective.of):
        with pytest.raises(DataError, match="`y` holds n"):
            made(X, Y * size)


def test_columns_of_zeros_and_late_numbers_are_not():
    late = np.where(np.arange(80) > 70, 1.0, 0.0)
    run = descend.fit(np.column_stack([X, late, np.zeros(80)]), Y)
    assert np.isnan(run.standard_errors["x3"])
    assert run.standard_errors["x2"] > 0


def test_huge_weights_of_a_table_are_refused_as_those_of_arrays_are():
    s = np.full(80, 1e307)
    with pytest.raises(DataError, match="at most 1e\\+150"):
        descend.fit({"x": X[:, 0], "y": Y, "s": s}, target="y", columns=Columns(weight="s"))
    with pytest.raises(DataError, match="beyond 1e\\+150"):
        descend.fit(X, Y, sample_weight=s)


@pytest.mark.parametrize("cell", [np.inf, -np.inf, 1e200])
def test_an_infinite_cell_in_rows_to_predict_counts_as_missing(cell):
    table = {"x": X[:, 0], "y": Y}
    run = descend.fit(table, target="y", valid={"x": [0.5, cell], "y": [1.0, 2.0]})
    assert np.isfinite(run.metrics["validation"].values["rmse"])
    with pytest.warns(DescendWarning, match=r"`x` that are no numbers count as missing: 1"):
        found = run.predict({"x": [0.5, cell]})
    np.testing.assert_allclose(found[1], run.predict({"x": [X[:, 0].mean()]})[0])


@pytest.mark.parametrize("number", [np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("loss", [None, "huber"])
def test_an_infinite_target_among_rows_held_out_is_refused(loss, number):
    whole = {"x": np.append(X[:, 0], 1.0), "y": np.append(Y, number)}
    held_out = next(seed for seed in range(99) if Split(0.3, seed).held_out(0, 80, 81)[0])
    with pytest.raises(DataError, match=r"target `y` holds .* infinite or beyond"):
        descend.fit(whole, target="y", valid=0.3, seed=held_out, loss=loss)
    table = {"x": X[:, 0], "y": Y}
    for valid in ({"x": [1.0, 2.0], "y": [0.0, number]}, {"x": [1.0], "y": [number]}):
        with pytest.raises(DataError, match=r"target `y` holds .* infinite or beyond"):
            descend.fit(table, target="y", valid=valid, loss=loss)


@pytest.mark.parametrize("constant", [3.0, 0.1, 1 / 3, 123.456, -7e-5])
@pytest.mark.parametrize("rows", [49, 50])
def test_a_constant_target_proves_nothing(constant, rows):
    summary = descend.fit(X[:rows] + 5.0, np.full(rows, constant)).summary()
    assert summary.estimates[0].coefficient == 0.0
    assert np.isnan(summary.estimates[0].p_value)
    assert "F" not in summary.figures
    assert summary.to_dict()["estimates"][0]["p_value"] is None


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_whole_numbers_that_are_rounded_are_told(kind):
    large = (2**53 + RNG.integers(0, 1000, 80) * 2 + 1).astype(kind)
    with pytest.warns(DescendWarning, match="column 1 of `x` holds whole numbers beyond 2"):
        descend.fit(np.column_stack([np.arange(80).astype(kind), large]), Y)
    with pytest.warns(DescendWarning, match="`y` holds whole numbers"):
        descend.fit(X, large)
    descend.fit(large[:, None] // 4, Y)
    with pytest.warns(DescendWarning, match="column 0 of `x` holds whole numbers beyond 2"):
        descend.fit(csr_array(large[:, None]), Y)
    for what in ("column 0 of `x`", "`y`"):
        with pytest.warns(DescendWarning, match=f"{what} holds whole numbers"):
            descend.Objective.of(large[:, None] if "x" in what else X, Y if "x" in what else large)
    run = descend.fit(np.arange(80.0)[:, None], Y)
    with pytest.warns(DescendWarning, match="column 0 of `x` holds whole numbers"):
        run.predict(large[:, None])
    with pytest.warns(DescendWarning, match="column 0 of `valid x` holds whole numbers"):
        descend.fit(np.arange(80.0)[:, None], Y, valid=(large[:, None], Y))


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_estimators_tell_of_whole_numbers_that_are_rounded(learn):
    large = np.column_stack([np.arange(80), 2**53 + RNG.integers(0, 1000, 80) * 2 + 1])
    for rows, name in (
        (large, "column 1 of `X`"),
        (csr_array(large), "column 1 of `X`"),
        (coo_array(large), "column 1 of `X`"),
        (pd.DataFrame(large, columns=["a", "b"]), "column `b`"),
        (pl.DataFrame({"c": X[:, 0], "b": large[:, 1]}), "column `b`"),
    ):
        with pytest.warns(DescendWarning, match=f"{name} holds whole numbers beyond 2"):
            getattr(descend.LinearRegressor(), learn)(rows, Y)
    with pytest.warns(DescendWarning, match="`y` holds whole numbers"):
        getattr(descend.LinearRegressor(), learn)(X, large[:, 1])
    getattr(descend.LinearRegressor(), learn)(X.tolist(), Y.tolist())
