"""Coefficients that others have published, to every printed digit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import descend
from descend import Columns

DATA = Path(__file__).parents[1] / "data"
PUBLISHED = json.loads((DATA / "published.json").read_text())
MEASURES = {"rse", "r2", "resid_dev"}


def entry(name):
    return next(entry for entry in PUBLISHED if entry["id"] == name)


def printed(value: float, like: str) -> str:
    """`value` with as many decimals as the published figure has."""
    return f"{value:.{len(like.partition('.')[2])}f}"


LINEAR = [e["id"] for e in PUBLISHED if e["task"] == "ols"]


@pytest.mark.parametrize("name", LINEAR)
def test_linear_regressions(name):
    e = entry(name)
    target, _, features = e["model"].partition("~")
    run = descend.fit(DATA / e["data"], target=target, columns=Columns(features=features.split("+")))
    assert run.outcome.converged
    metrics, rows = run.metrics["training"].values, run.rows["training"]
    freedom = rows - len(run.coefficients)
    found = run.coefficients | {
        "b0": run.coefficients["(intercept)"],
        "r2": metrics["r2"],
        "rse": (metrics["rmse"] ** 2 * rows / freedom) ** 0.5,
    }
    checked = {key: value for key, value in e["published"].items() if not key.startswith("se_")}
    assert checked.keys() >= {"b0", "r2"}
    assert {key: printed(found[key], value) for key, value in checked.items()} == checked


def test_multinomial_regression_against_two_reference_levels():
    """R's nnet::multinom: differences to the class `academic`, levels of `ses` against `low`."""
    e = entry("ucla_hsbdemo_multinom")
    run = descend.fit(
        DATA / e["data"],
        target="prog",
        penalty=0,
        columns=Columns(features=["ses", "write"], reference={"ses": "low"}),
    )
    assert run.outcome.converged
    assert run.model.classes == ("academic", "general", "vocation")
    names = {"b0": "(intercept)", "sesmiddle": "ses=middle", "seshigh": "ses=high", "write": "write"}
    checked = {key: float(value) for key, value in e["published"].items() if not key.startswith("se_")}
    assert checked.keys() - MEASURES == {f"{c}_{n}" for c in ("general", "vocation") for n in names}
    for key, value in checked.items():
        if key == "resid_dev":
            deviance = 2 * run.metrics["training"].values["log_loss"] * run.rows["training"]
            assert printed(deviance, e["published"][key]) == e["published"][key]
            continue
        label, _, name = key.partition("_")
        weights = run.coefficients[names[name]]
        difference = weights[run.model.classes.index(label)] - weights[0]
        assert difference == pytest.approx(value, rel=1e-4), key


@pytest.mark.parametrize("name", LINEAR)
def test_standard_errors_of_linear_regressions(name):
    e = entry(name)
    target, _, features = e["model"].partition("~")
    run = descend.fit(DATA / e["data"], target=target, columns=Columns(features=features.split("+")))
    found = {f"se_{name}": error for name, error in run.standard_errors.items()}
    found["se_b0"] = found.pop("se_(intercept)")
    checked = {key: value for key, value in e["published"].items() if key.startswith("se_")}
    assert {key: printed(found[key], value) for key, value in checked.items()} == checked


def test_standard_errors_of_a_multinomial_regression():
    e = entry("ucla_hsbdemo_multinom")
    columns = Columns(features=["ses", "write"], reference={"ses": "low"})
    run = descend.fit(DATA / e["data"], target="prog", penalty=0, columns=columns)
    names = {"b0": "(intercept)", "write": "write"}
    checked = {key: float(value) for key, value in e["published"].items() if key.startswith("se_")}
    assert len(checked) == 3
    for key, value in checked.items():
        _, label, name = key.split("_")
        error = run.standard_errors[names[name]][run.model.classes.index(label) - 1]
        assert error == pytest.approx(value, rel=1e-4), key
