"""What is kept of a walk, however it ends: Ctrl-C, lost workers, an error; and what the model tells of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import descend
from descend import GradientDescent, Outcome
from descend.descent.first_order import Adam, Optimizer, Update
from descend.descent.history import History, Step
from descend.errors import EngineLostError
from descend.runs.fitting import Ended, finished, recorded
from descend.runs.problem import Problem

START, RATE, STEPS = (0.5, 0.75), 0.1, 100
X, Y = descend.make_line(100, weights=(3, 2), seed=0)


def lesson(x, y, **options):
    options = {"optimizer": GradientDescent(learning_rate=RATE), "steps": STEPS, "start": START} | options
    return descend.fit(x, y, intercept=False, **options)


@pytest.fixture
def problem():
    with_names = Problem.of(X[:, :1], Y)
    yield with_names
    with_names.close()


def walk(losses, error=None, **last):
    """Steps of these losses, the fields `last` set on the last one; then perhaps an error."""
    for number, loss in enumerate(losses):
        more = last if number == len(losses) - 1 else {}
        yield Step(number, loss=loss, batch_loss=10.0 * number, weights=np.array([number, 1.0]), **more)
    if error is not None:
        raise error


def test_every_step_is_kept_with_the_names_of_its_weights(problem, capsys):
    ending = walk([3.0, 2.0, 1.0], outcome=Outcome.CONVERGED)
    history, last, lost = recorded(ending, problem.weight_names, None)
    assert history.names == ("x0", "(intercept)")
    assert history.loss.tolist() == [3.0, 2.0, 1.0]
    assert history.weights.tolist() == [[0, 1], [1, 1], [2, 1]]
    assert (last.number, last.outcome, lost) == (2, Outcome.CONVERGED, [])
    assert capsys.readouterr().out == ""


ENDINGS = {
    "Ctrl-C": (KeyboardInterrupt(), {}, Outcome.INTERRUPTED, []),
    "lost workers": (EngineLostError("all are gone"), {}, Outcome.LOST, ["all are gone"]),
    "no more steps": (None, {}, Outcome.INTERRUPTED, []),
    "Ctrl-C at the end": (KeyboardInterrupt(), {"outcome": Outcome.CONVERGED}, Outcome.CONVERGED, []),
}


@pytest.mark.parametrize(("error", "last", "outcome", "warned"), ENDINGS.values(), ids=ENDINGS)
def test_what_was_walked_is_kept_and_why_it_ended_is_told(problem, error, last, outcome, warned):
    history, end, lost = recorded(walk([3.0, 2.0], error, **last), problem.weight_names, None)
    assert history.number.tolist() == [0, 1]
    assert (end.number, end.outcome, lost) == (1, outcome, warned)


@pytest.mark.parametrize("error", [KeyboardInterrupt, EngineLostError, ZeroDivisionError])
def test_an_error_before_the_first_step_is_an_error(problem, error):
    with pytest.raises(error):
        recorded(walk([], error("so soon")), problem.weight_names, None)


def test_a_mistake_in_the_walk_is_no_ending(problem):
    with pytest.raises(ZeroDivisionError):
        recorded(walk([3.0, 2.0], ZeroDivisionError()), problem.weight_names, None)


@pytest.mark.parametrize(
    ("every", "numbers"), [(None, []), (0, []), (1, [0, 1, 2, 3]), (2, [0, 2]), (9, [0])]
)
def test_steps_are_printed_but_for_the_last_which_the_summary_tells(problem, every, numbers, capsys):
    ending = walk([None, 0.5, None, 0.25, 0.125], outcome=Outcome.STEP_LIMIT)
    recorded(ending, problem.weight_names, every)
    losses = {0: "0", 1: "0.5", 2: "20", 3: "0.25"}  # a batch's where there is no other
    printed = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert printed == [[str(number), losses[number]] for number in numbers]


def test_every_prints_the_loss_before_each_such_step(capsys):
    run = lesson(X, Y, every=10)
    printed = [row.split() for row in capsys.readouterr().out.splitlines()]
    assert [int(number) for number, _ in printed] == list(range(0, STEPS, 10))
    assert [loss for _, loss in printed] == [f"{loss:.6g}" for loss in run.history.loss[:STEPS:10]]


@dataclass(frozen=True)
class Interrupted(Optimizer):
    """Gradient descent whose user presses Ctrl-C at step `at`."""

    at: int
    name: ClassVar[str] = "interrupted"
    first_order: ClassVar[bool] = True
    inner: ClassVar[Any] = GradientDescent(RATE)

    def init(self, w):
        return self.inner.init(w)

    def step(self, objective, w, state) -> Update:
        if state.number == self.at:
            raise KeyboardInterrupt
        return self.inner.step(objective, w, state)


def test_ctrl_c_returns_the_run_so_far():
    run, whole = lesson(X, Y, optimizer=Interrupted(40)), lesson(X, Y)
    assert run.outcome is Outcome.INTERRUPTED
    assert not run.outcome.converged
    rows = len(run.history)
    assert 40 <= rows <= 41
    np.testing.assert_array_equal(run.history.loss, whole.history.loss[:rows])
    np.testing.assert_array_equal(run.weights, whole.history.weights[rows - 1])
    np.testing.assert_allclose(run.predict(X), X @ run.weights)


def test_ctrl_c_in_a_mini_batch_run_returns_the_run_so_far():
    x, y = descend.make_line(3_000, seed=1)
    run = descend.fit(x, y, optimizer=GradientDescent(), batch_size=100, epochs=5, valid=0.2)
    steps = int(run.history.number[-1])

    def interrupted(walk):
        for step in walk:
            if step.number == steps // 2:
                raise KeyboardInterrupt
            yield step

    with pytest.MonkeyPatch.context() as patched:
        from descend.descent import steps as descent

        original = descent.steps
        patched.setattr(descent, "steps", lambda *a, **k: interrupted(original(*a, **k)))
        half = descend.fit(x, y, optimizer=GradientDescent(), batch_size=100, epochs=5, valid=0.2)
    assert half.outcome is Outcome.INTERRUPTED
    np.testing.assert_array_equal(half.history.batch_loss, run.history.batch_loss[: len(half.history)])


def test_ctrl_c_before_anything_was_done_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt):
        lesson(X, Y, optimizer=Interrupted(0))


@pytest.mark.parametrize("loss", [0.5, None, math.inf, math.nan])
def test_a_model_tells_of_its_run_in_plain_json(problem, loss, tmp_path):
    last = Step(7, loss=loss, seconds=1.5, weights=np.array([3.0, 2.0]), outcome=Outcome.DIVERGED)
    model = finished(problem, Ended(History(), last, Adam(), ("mind the gap",))).model
    facts = json.loads(json.dumps(model.facts, allow_nan=False))
    assert facts["loss"] == (0.5 if loss == 0.5 else None)
    assert (facts["steps"], facts["seconds"], facts["optimizer"]) == (7, 1.5, "adam")
    assert facts["outcome"].startswith("diverged")
    assert facts["constant"] == pytest.approx([Y.mean()])  # what predicts best without a column
    assert facts["penalty"] == {"name": "l2", "alpha": 0.0}
    assert facts["notes"][-1] == "mind the gap"
    model.save(tmp_path / "m.json")
    np.testing.assert_allclose(
        descend.load(tmp_path / "m.json").predict(X[:, :1]), 3 * X[:, 0] + 2, rtol=1e-15
    )


def test_rows_and_classes_go_into_the_model():
    labels = np.where(Y > 2, "high", "low")
    frame = {"x": X[:, 0], "y": labels}
    run = descend.fit(frame, target="y", penalty=0.25, valid=0.3)
    facts = run.model.facts
    assert run.model.classes == ("high", "low")
    assert facts["penalty"] == {"name": "l2", "alpha": 0.25}
    assert sum(facts["rows"].values()) == 100
    assert facts["outcome"] == run.outcome.value
    assert facts["loss"] == run.loss
