"""What is shown while a run goes on."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import descend
from descend import Step
from descend.runs import progress
from descend.runs.progress import describe, watched

W = np.zeros(1)
LINES = {
    "the start": (Step(0, W, loss=2.5, seconds=0.0, rows_seen=0), None, None, "step 0, loss 2.5"),
    "a limit": (
        Step(25, W, loss=1.0, seconds=1.0, rows_seen=2500),
        100,
        None,
        "step 25 of 100, loss 1, 2,500 rows/s, 3 s left",
    ),
    "a time limit": (Step(25, W, loss=1.0, seconds=4.0), None, 10, "step 25, loss 1, 6 s left"),
    "the nearer of two": (Step(50, W, loss=1.0, seconds=4.0), 100, 60, "step 50 of 100, loss 1, 4 s left"),
    "late": (Step(50, W, loss=1.0, seconds=4.0), None, 3, "step 50, loss 1, 0 s left"),
    "in a batch": (Step(1234, W, batch_loss=0.25, seconds=1.0), None, None, "step 1,234, loss 0.25"),
    "a foreign step": (Step(3), None, None, "step 3"),
}


@pytest.mark.parametrize(("step", "limit", "seconds", "line"), LINES.values(), ids=LINES)
def test_a_step_in_a_line(step, limit, seconds, line):
    assert describe(step, limit, seconds) == line


@pytest.mark.parametrize("terminal", [False, True])
def test_the_steps_come_through_unchanged(terminal, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    taken = [Step(i, loss=1.0 / (i + 1), seconds=float(i)) for i in range(4)]
    assert list(watched(iter(taken), limit=3)) == taken
    printed = capsys.readouterr()
    assert printed.out == ""
    if not terminal:
        assert printed.err.splitlines()[1] == "step 1 of 3, loss 0.5, 2 s left"


def test_a_quick_run_prints_nothing_outside_a_terminal(capsys):
    descend.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 4.0], progress=True)
    assert capsys.readouterr() == ("", "")


def test_an_abandoned_walk_is_closed(monkeypatch):
    closed = []

    def walk():
        try:
            yield Step(0)
            yield Step(1)
        finally:
            closed.append(True)

    steps = watched(walk())
    next(steps)
    steps.close()
    assert closed == [True]
