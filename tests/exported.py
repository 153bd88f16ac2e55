"""Models to export, each with rows that have missing cells and unknown levels, and the check of what comes out."""

from __future__ import annotations

import datetime
import functools
import warnings
from pathlib import Path

import numpy as np
import polars as pl
from own_losses import Gamma, SquaredHinge

import descend

PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"
BANK = Path(__file__).parent / "data" / "bank.csv"


def campaign(rows=300):
    """What the files lack: a name with quotes, numbers with gaps, truths and dates."""
    random = np.random.default_rng(1)
    age = random.integers(18, 90, rows)
    job = random.choice(["admin.", "blue-collar", 'it\'s "odd"', "student"], rows)
    day = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in random.integers(0, 900, rows)]
    balance = random.normal(1e3, 3e3, rows)
    z = 0.03 * age + (job == "student") - 1e-4 * balance + random.normal(size=rows)
    frame = pl.DataFrame(
        {
            "age": age,
            "job": job,
            'the "balance"': balance,
            "default": random.random(rows) < 0.2,
            "contacted": day,
            "deposit": np.where(z > np.median(z), "yes", "no"),
        }
    )
    return with_holes(frame, ["job", 'the "balance"'])


def with_holes(frame, names):
    """One cell in ten of these columns missing."""
    random = np.random.default_rng(2)
    holes = [pl.lit(pl.Series(random.random(frame.height) < 0.1)) for _ in names]
    return frame.with_columns(
        pl.when(h).then(None).otherwise(pl.col(n)).alias(n) for n, h in zip(names, holes, strict=True)
    )


def penguins(target):
    return pl.read_csv(PENGUINS, null_values=["NA"]).drop_nulls(target)


def bank(target):
    return with_holes(pl.read_csv(BANK), [n for n in ("job", "age", "contact", "balance") if n != target])


CASES = {
    "penguins, a number": lambda: (penguins("body_mass_g"), "body_mass_g", {}),
    "penguins, three classes": lambda: (penguins("species"), "species", {}),
    "bank, two classes": lambda: (bank("deposit"), "deposit", {}),
    "bank, two classes, no penalty": lambda: (bank("loan"), "loan", {"penalty": 0.0}),
    "bank, four classes": lambda: (bank("poutcome"), "poutcome", {}),
    "bank, a number": lambda: (bank("balance"), "balance", {}),
    "bank, whole": lambda: (pl.read_csv(BANK), "deposit", {}),
    "bank, texts alone": lambda: (
        bank("marital"),
        "marital",
        {"columns": descend.Columns(features=["job", "day", "month"], categorical=["day"])},
    ),
    "penguins, Huber": lambda: (penguins("body_mass_g"), "body_mass_g", {"loss": descend.HuberLoss(200.0)}),
    "bank, a count": lambda: (bank("campaign"), "campaign", {"loss": "poisson"}),
    "bank, classes without probabilities": lambda: (bank("deposit"), "deposit", {"loss": SquaredHinge()}),
    "penguins, a number by a log link": lambda: (penguins("body_mass_g"), "body_mass_g", {"loss": Gamma()}),
    "dates, truths and quotes": lambda: (campaign(), "deposit", {}),
    "dates, truths and quotes, a number": lambda: (campaign(), "age", {}),
}


@functools.cache
def case(name):
    """A run, and its rows; beside them, for each column, rows where its cell is missing or of an unknown level."""
    frame, target, options = CASES[name]()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the classes are separated", descend.DescendWarning)
        run = descend.fit(frame, target=target, **options)
    rows = frame.drop(target)
    return run, pl.concat([rows, odd(rows)], how="vertical_relaxed")


def odd(rows):
    """Rows with a missing cell or an unknown text in each column in turn, and one with nothing but gaps."""
    made = [rows.clear(1)]
    for number, name in enumerate(rows.columns):
        cells = [None, *(["Atlantis", "(missing)"] if rows[name].dtype == pl.String else [])]
        for cell in cells:
            made.append(rows[number].with_columns(pl.lit(cell, dtype=rows[name].dtype).alias(name)))
    return pl.concat(made)


def check(run, rows, predictions, probabilities=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", descend.DescendWarning)  # of levels that the model has never seen
        expected = run.predict(rows)
        shares = run.predict_probabilities(rows) if run.model.has_probabilities else None
    if run.model.classes is None:
        np.testing.assert_allclose(predictions, expected, rtol=1e-6)
        return
    assert list(predictions) == expected.tolist()
    if probabilities is not None:
        np.testing.assert_allclose(probabilities, shares, rtol=1e-6, atol=1e-12)
