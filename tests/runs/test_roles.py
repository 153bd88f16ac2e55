"""What a fit says of columns that look like something else."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest

import descend
from descend import Columns, DescendWarning


def fit(data, **options):
    """A fit that must not warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return descend.fit(data, target="y", **options)


NUMBERS_BUT = {
    "one sign in a feature": ("x,y\n1,2\n?,3\n4,9\n5,7\n6,8\n", "x", r"but not '\?': taken as categories. --missing '\?'"),
    "several": ("x,y\n1,2\n-,3\n4,9\n5,7\n6,8\n.,8\n", "x", "but not '-' '.'"),
    "one in the target": ("x,y\n1,2\n2,NULL\n4,9\n5,7\n6,8\n", "y", "but not 'NULL'.*--missing 'NULL'"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "name", "message"), NUMBERS_BUT.values(), ids=NUMBERS_BUT)
def test_a_few_cells_that_make_numbers_text_are_named(content, name, message, tmp_path):
    (tmp_path / "t.csv").write_text(content)
    with pytest.warns(DescendWarning, match=f"column `{name}`: most cells are numbers, {message}"):
        descend.fit(tmp_path / "t.csv", target="y")
    assert fit(tmp_path / "t.csv", columns=Columns(categorical=[name])).rows["training"] > 0
    missing = Columns(missing=["?", "-", ".", "NULL"])
    assert fit(tmp_path / "t.csv", columns=missing).model.loss.name == "squared-error"


def test_texts_with_a_number_among_them_are_texts(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\na,2\nb,3\n12,9\na,7\n13,8\na,4\n")
    assert "x=13" in fit(tmp_path / "t.csv").model.feature_names


def test_whole_numbers_that_are_rounded_are_said_aloud(tmp_path):
    frame = pl.DataFrame({"i": [2**60 + 1000 * k for k in range(30)], "y": np.arange(30.0)})
    frame.write_csv(tmp_path / "t.csv")
    for data in (frame, tmp_path / "t.csv"):
        with pytest.warns(DescendWarning, match="column `i` holds whole numbers beyond 2\\^53"):
            run = descend.fit(data, target="y")
        assert run.coefficients["i"] == pytest.approx(1e-3, rel=1e-2)
    exact = frame.with_columns(i=pl.col("i") - 2**60)
    assert fit(exact).coefficients["i"] == pytest.approx(1e-3, rel=1e-12)
