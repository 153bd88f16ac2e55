"""NIST's Statistical Reference Datasets: how many digits of the certified values are right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import descend
from descend import Exact

DATA = Path(__file__).parent / "data" / "nist"
CERTIFIED = json.loads((DATA / "certified.json").read_text())
DIGITS = {"NoInt1": 8, "NoInt2": 8, "Norris": 8, "Longley": 7, "Wampler1": 7, "Wampler2": 7}


def design(name):
    """`x` without a column of ones, and `y`, as the model of the dataset has them."""
    table = np.loadtxt(DATA / f"{name}.csv", delimiter=",", skiprows=1)
    kind = CERTIFIED[name]["design"]
    if kind.startswith("polynomial degree"):
        return table[:, 1:] ** np.arange(1, int(kind.split()[2].rstrip(",")) + 1), table[:, 0]
    return table[:, 1:], table[:, 0]


def correct_digits(found, certified):
    """The log relative error, of the worst value; 15 where all agree."""
    error = np.abs((np.asarray(found) - certified) / certified).max()
    return 15.0 if error == 0 else min(-np.log10(error), 15.0)


@pytest.mark.parametrize("name", DIGITS)
def test_estimates_have_the_certified_digits(name):
    entry = CERTIFIED[name]
    x, y = design(name)
    assert len(y) == entry["n"]
    run = descend.fit(x, y, intercept=entry["intercept"], optimizer=Exact())
    assert run.outcome.converged
    order = np.roll(run.weights, 1) if entry["intercept"] else run.weights
    assert correct_digits(order, np.array(entry["certified"]["coef"])) >= DIGITS[name]


@pytest.mark.parametrize("name", DIGITS)
def test_the_residual_sum_of_squares_is_the_certified_one(name):
    entry = CERTIFIED[name]
    x, y = design(name)
    run = descend.fit(x, y, intercept=entry["intercept"], optimizer=Exact())
    certified = entry["certified"]
    if certified["ss_residual"] == 0:  # the polynomial goes through all points
        assert 0 <= run.loss <= 1e-16 * y.var()
    else:
        assert correct_digits(run.loss * len(y), certified["ss_residual"]) >= DIGITS[name]
    if entry["intercept"]:
        assert run.metrics["training"].values["r2"] == pytest.approx(certified["r_squared"], abs=1e-12)


def test_a_table_has_the_certified_digits_too():
    run = descend.fit(DATA / "Longley.csv", target="y", optimizer="exact")
    found = [run.coefficients["(intercept)"], *(run.coefficients[f"x{i}"] for i in range(1, 7))]
    assert correct_digits(found, np.array(CERTIFIED["Longley"]["certified"]["coef"])) >= 7
