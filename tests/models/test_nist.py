"""NIST's Statistical Reference Datasets: how many digits of the certified values are right."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import descend
from descend import Exact

DATA = Path(__file__).parents[1] / "data" / "nist"
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


POLYNOMIALS = {
    "Pontius": (2, 11),
    "Wampler3": (5, 8.5),
    "Wampler4": (5, 8.0),
    "Wampler5": (5, 6.5),
    "Filip": (10, 6.5),
}
"""Degree, and the digits that every LAPACK tried reaches: the powers of Filip's x, rounded to float64, allow 7.6.

The data of these five were typed in, see data/README.md; the oracle is rational arithmetic on it.
"""


def exactly(x, y, degree):
    """The coefficients of the least-squares polynomial of the decimal data, in rational arithmetic."""
    X = [[Fraction(v) ** power for power in range(degree + 1)] for v in x]
    rows = [(*row, Fraction(v)) for row, v in zip(X, y, strict=True)]
    A = [[sum(row[i] * row[j] for row in rows) for j in range(degree + 2)] for i in range(degree + 1)]
    for i in range(degree + 1):
        A[i] = [a / A[i][i] for a in A[i]]
        for k in range(degree + 1):
            if k != i:
                A[k] = [a - A[k][i] * b for a, b in zip(A[k], A[i], strict=True)]
    return np.array([float(row[-1]) for row in A])


@pytest.mark.parametrize("kind", ["array", "table"])
@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials_of_the_collection(name, kind):
    degree, digits = POLYNOMIALS[name]
    with (DATA / f"{name}.csv").open() as file:
        y, x = zip(*list(csv.reader(file))[1:], strict=True)
    powers = np.array(x, dtype=float)[:, None] ** np.arange(1, degree + 1)
    target = np.array(y, dtype=float)
    expected = exactly(x, y, degree)
    if kind == "array":
        found = np.roll(descend.fit(powers, target, optimizer=Exact()).weights, 1)
    else:
        frame = {f"x{power}": powers[:, power - 1] for power in range(1, degree + 1)}
        run = descend.fit({**frame, "y": target}, target="y")
        found = [run.coefficients["(intercept)"], *(run.coefficients[name] for name in frame)]
    assert correct_digits(found, expected) >= digits


def test_the_rational_oracle_is_what_nist_certifies():
    """Wampler's polynomials have coefficients of one; the leading ones of Filip are printed by NIST."""
    x, y = zip(*[(str(i), str(sum(i**power for power in range(6)))) for i in range(21)], strict=True)
    assert exactly(x, y, 5).tolist() == [1.0] * 6
    with (DATA / "Filip.csv").open() as file:
        y, x = zip(*list(csv.reader(file))[1:], strict=True)
    assert exactly(x, y, 10)[:3] == pytest.approx(
        [-1467.48961422980, -2772.17959193342, -2316.37108160893], rel=1e-13
    )
