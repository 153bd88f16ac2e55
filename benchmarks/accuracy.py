"""Files fitted with nothing said but the target: the same metrics as a scikit-learn pipeline, and the time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rivals import scikit_learn
from timing import Times, in_turns, markdown

import descend
from descend.engines.splits import Split

DIGITS = 5e-4
"""The largest relative difference that counts as equal to three digits."""

METRICS = ["", "metric", "descend", scikit_learn.NAME, "relative difference"]
TIMES = ["", "", "time", "ratio"]
VALID, SEED = 0.2, 0
ABOUT = f"""`descend.fit(file, target=..., valid={VALID})` beside a scikit-learn pipeline of the same encoding and
penalty, tolerance 1e-8: both read the file, learn from the same rows and score the same two sets of
rows. A metric that differs in its third digit stops the benchmark."""


@dataclass(frozen=True)
class Task:
    """A file and its target."""

    file: str
    target: str
    quick: bool = False


TASKS = (
    Task("penguins.csv", "body_mass_g", quick=True),
    Task("penguins.csv", "species", quick=True),
    Task("bank.csv", "deposit"),
    Task("california_housing.csv", "median_house_value"),
)


def measure(data: Path, quick: bool) -> str:
    """The section of the report. Raises `AssertionError` where a metric differs."""
    compared, timed, absent = [], [], []
    for task in TASKS:
        path = data / task.file
        if quick and not task.quick:
            continue
        if not path.exists():
            absent.append(task.file)
            continue
        label = f"{task.file}, `{task.target}`"
        outcome = compare(path, task.target, 1 if quick else 5)
        compared += outcome.metrics(label)
        timed += outcome.timed(label)
    parts = [
        ABOUT,
        markdown(METRICS, compared),
        "Reading the file, fitting and scoring, and how many times as long as descend:",
        markdown(TIMES, timed),
    ]
    if absent:
        parts.append(f"Not measured, the file is not there: {', '.join(sorted(set(absent)))}.")
    return "\n\n".join(parts)


@dataclass(frozen=True)
class Comparison:
    """The run of descend, the metrics of the rival, and the times of all."""

    run: descend.Run
    theirs: dict[str, Any]
    times: dict[str, Times]

    def metrics(self, label: str) -> list[list[str]]:
        """Rows under `METRICS`. Raises `AssertionError` where one differs."""
        rows = []
        for side, metrics in self.run.metrics.items():
            assert metrics.values.keys() == self.theirs[side].keys(), (metrics, self.theirs[side])
            for name, value in metrics.values.items():
                other = float(self.theirs[side][name])
                difference = abs(value - other) / max(abs(value), abs(other), np.finfo(float).tiny)
                where = f"{label}, {side}"
                rows.append([where, name, f"{value:.6g}", f"{other:.6g}", f"{difference:.0e}"])
                assert difference <= DIGITS, f"{where}: {name} {value:.6g} against {other:.6g}"
        return rows

    def timed(self, label: str) -> list[list[str]]:
        """Rows under `TIMES`."""
        ours = self.times["descend"]
        return [[label, way, str(taken), taken.ratio_to(ours)] for way, taken in self.times.items()]


def compare(path: Path, target: str, rounds: int) -> Comparison:
    """Fit the file by descend and by the rival, whose metrics are those of its first solver."""

    def ours() -> descend.Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", descend.DescendWarning)
            return descend.fit(path, target=target, valid=VALID, seed=SEED)

    run = ours()
    held_out = Split(VALID, SEED).held_out(0, 0, sum(run.rows.values()))
    alpha, classes = run.model.facts["penalty"]["alpha"], run.model.classes is not None
    encoding = run.model.encoding
    assert encoding is not None
    dates = [column.name for column in encoding.numbers if column.dated]
    columns = scikit_learn.Columns(encoding.names, dates)

    def theirs(solver: str) -> dict[str, Any]:
        return scikit_learn.fit(path, target, columns, held_out, alpha, classes, solver)

    ways = {f"{scikit_learn.NAME}, {s}": partial(theirs, s) for s in scikit_learn.solvers(classes)}
    times = in_turns({"descend": ours, **ways}, rounds)
    return Comparison(run, next(iter(ways.values()))(), times)
