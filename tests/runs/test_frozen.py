"""A Problem and a Run are made in one place and never changed afterwards."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

import descend
from descend import GradientDescent, Problem
from descend.runs.from_arrays import from_arrays
from descend.runs.from_table import from_table
from descend.runs.prepared import Beside, Columns, Options, Prepared

X, Y = descend.make_line(100, seed=0)
FRAME = {"x": X[:, 0], "label": np.where(Y > 2, "high", "low")}


def run_of_arrays():
    return descend.fit(X, Y, intercept=False, optimizer=GradientDescent(0.1), steps=5)


def run_of_a_table():
    return descend.fit(FRAME, target="label", valid=0.2)


MADE = {
    "a problem of arrays": lambda: Problem.of(X, Y),
    "a problem of a table": lambda: Problem.of(FRAME, target="label"),
    "a run of arrays": run_of_arrays,
    "a run of a table": run_of_a_table,
    "what arrays turn out to be": lambda: from_arrays(X, Y, Beside(), Options.of(X)),
    "what a table turns out to be": lambda: from_table(FRAME, "label", Columns(), Options.of(FRAME)),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_nothing_is_set_after_it_was_made(make):
    made = make()
    for name in (*(f.name for f in fields(made)), "of_ones_own"):
        with pytest.raises(FrozenInstanceError):
            setattr(made, name, None)


@pytest.mark.parametrize("make", list(MADE.values())[:4], ids=list(MADE)[:4])
def test_what_holds_lists_has_no_hash(make):
    with pytest.raises(TypeError, match=r"unhashable type: '(Problem|Run)'"):
        hash(make())


@pytest.mark.parametrize("run", [run_of_arrays, run_of_a_table])
def test_what_a_run_looks_up_later_is_looked_up_once(run):
    run = run()
    assert run.metrics is run.metrics
    assert run.sample is run.sample
    assert run.quadratic is run.quadratic


def test_what_is_said_on_the_way_is_the_runs_and_not_the_problems():
    with pytest.warns(descend.DescendWarning, match="is above"):
        run = descend.fit(X, Y, optimizer=GradientDescent(2.0), steps=20)
    assert len(run.warnings) == 1
    assert run.problem.warnings == []


def test_what_data_turn_out_to_be_is_closed_with_the_problem():
    prepared = from_table(FRAME, "label", Columns(), Options.of(FRAME, valid=0.2))
    assert isinstance(prepared, Prepared)
    assert prepared.classes == ("high", "low")
    assert prepared.penalty.alpha == pytest.approx(1 / prepared.rows["training"])
    prepared.resources.close()
