"""What a run tells of itself: coefficients in the units of the data, its ending, its model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import descend
from descend import GradientDescent, Outcome

X, Y = descend.make_line(100, weights=(3, 2), seed=0)


@pytest.mark.parametrize(
    "kind", [pd.DataFrame, lambda c: pd.DataFrame(c).convert_dtypes(dtype_backend="pyarrow")]
)
def test_a_table_reports_coefficients_in_original_units(kind):
    rng = np.random.default_rng(5)
    columns = {"area": rng.normal(120, 30, 400), "year": rng.integers(1900, 2020, 400) + 0.0}
    columns["price"] = 1e3 * columns["area"] + 50 * columns["year"] + rng.normal(0, 1e4, 400)
    run = descend.fit(kind(columns), target="price")
    x = np.column_stack([columns["area"], columns["year"]])
    oracle = LinearRegression().fit(x, columns["price"])
    assert list(run.coefficients) == ["area", "year", "(intercept)"]
    np.testing.assert_allclose(list(run.coefficients.values()), [*oracle.coef_, oracle.intercept_], rtol=1e-9)
    np.testing.assert_allclose(run.predict(kind(columns)), oracle.predict(x), rtol=1e-11)
    assert run.metrics["training"].values["r2"] == pytest.approx(oracle.score(x, columns["price"]), rel=1e-10)
    assert run.rows == {"training": 400, "validation": 0, "without_target": 0}
    assert run.outcome.converged
    descended = descend.fit(
        kind(columns), target="price", optimizer=GradientDescent(momentum=0.5), tolerance=1e-3
    )
    assert descended.outcome is Outcome.CONVERGED
    np.testing.assert_allclose(
        list(descended.coefficients.values()), list(run.coefficients.values()), rtol=1e-5
    )


def test_a_run_says_how_it_ended_in_one_line():
    run = descend.fit(X, Y, intercept=False, optimizer=GradientDescent(0.1), steps=100)
    assert str(run) == f"stopped at the step limit after 100 steps, loss {run.loss:.6g}"


def test_a_run_saves_its_model_and_reads_it_back(tmp_path):
    run = descend.fit(X, Y, intercept=False, optimizer=GradientDescent(0.1), steps=100)
    run.save(tmp_path / "line.model.json")
    np.testing.assert_array_equal(descend.load(tmp_path / "line.model.json").predict(X), run.predict(X))
