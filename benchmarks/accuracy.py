"""Files fitted with nothing said but the target: the same metrics as a scikit-learn pipeline, and the time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rivals import scikit_learn
from timing import in_turns, markdown

import descend
from descend.blocks import Split

DIGITS = 5e-4
"""The largest relative difference that counts as equal to three digits."""

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
        ours, theirs, times = _compare(path, task.target, 1 if quick else 5)
        compared += _rows(task, ours, theirs)
        label = f"{task.file}, `{task.target}`"
        timed += [[label, way, str(taken), taken.ratio_to(times["descend"])] for way, taken in times.items()]
    header = ["", "metric", "descend", scikit_learn.NAME, "relative difference"]
    parts = [
        ABOUT,
        markdown(header, compared),
        "Reading the file, fitting and scoring, and how many times as long as descend:",
        markdown(["", "", "time", "ratio"], timed),
    ]
    if absent:
        parts.append(f"Not measured, the file is not there: {', '.join(sorted(set(absent)))}.")
    return "\n\n".join(parts)


def _compare(path: Path, target: str, rounds: int) -> tuple[Any, Any, dict[str, Any]]:
    def ours() -> descend.Run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", descend.DescendWarning)
            return descend.fit(path, target=target, valid=VALID, seed=SEED)

    run = ours()
    held_out = Split(VALID, SEED).held_out(0, 0, sum(run.rows.values()))
    alpha, classes = run.model.facts["penalty"]["alpha"], run.model.classes is not None

    def theirs(solver: str) -> dict[str, Any]:
        return scikit_learn.fit(path, target, held_out, alpha, classes, solver)

    ways = {f"{scikit_learn.NAME}, {s}": partial(theirs, s) for s in scikit_learn.solvers(classes)}
    times = in_turns({"descend": ours, **ways}, rounds)
    return {side: metrics.values for side, metrics in run.metrics.items()}, next(iter(ways.values()))(), times


def _rows(task: Task, ours: dict[str, Any], theirs: dict[str, Any]) -> list[list[str]]:
    rows = []
    for side, metrics in ours.items():
        assert metrics.keys() == theirs[side].keys(), (metrics, theirs[side])
        for name, value in metrics.items():
            other = float(theirs[side][name])
            difference = abs(value - other) / max(abs(value), abs(other), np.finfo(float).tiny)
            label = f"{task.file}, `{task.target}`, {side}"
            rows.append([label, name, f"{value:.6g}", f"{other:.6g}", f"{difference:.0e}"])
            assert difference <= DIGITS, f"{label}: {name} {value:.6g} against {other:.6g}"
    return rows
