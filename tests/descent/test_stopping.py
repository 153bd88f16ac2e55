"""When a run ends: limits, divergence and patience, as small rules."""

from __future__ import annotations

import math

import pytest

from descend import DescendError, Outcome
from descend.descent.stopping import DEFAULT_LIMIT, TOLERANCE, Divergence, Limits, Patience

LIMITS = {
    "nothing given": ({}, Limits(DEFAULT_LIMIT, TOLERANCE, None)),
    "steps turn the tolerance off": ({"steps": 5}, Limits(5, None, None)),
    "unless it is given too": ({"steps": 5, "tolerance": 0.1}, Limits(5, 0.1, None)),
    "a tolerance alone": ({"tolerance": 0.1}, Limits(DEFAULT_LIMIT, 0.1, None)),
    "time": ({"seconds": 2}, Limits(DEFAULT_LIMIT, TOLERANCE, 2)),
    "no steps": ({"steps": 0}, Limits(0, None, None)),
    "a whole float": ({"steps": 3.0}, Limits(3, None, None)),
}


@pytest.mark.parametrize(("given", "limits"), LIMITS.values(), ids=LIMITS)
def test_limits_fill_in_what_was_not_given(given, limits):
    assert Limits.of(**given) == limits


REFUSED = {
    "negative steps": ({"steps": -1}, "`steps` must be a whole number of at least 0, got -1"),
    "broken steps": ({"steps": 1.5}, "`steps` must be a whole number"),
    "true steps": ({"steps": True}, "`steps` must be a whole number"),
    "text for steps": ({"steps": "abc"}, "`steps` must be a whole number of at least 0, got 'abc'"),
    "NaN steps": ({"steps": math.nan}, "`steps` must be a whole number of at least 0, got nan"),
    "text for a tolerance": ({"tolerance": "x"}, "`tolerance` must be a number above 0, got 'x'"),
    "no tolerance": ({"tolerance": 0.0}, "`tolerance` must be a number above 0, got 0.0"),
    "negative tolerance": ({"tolerance": -1e-6}, "`tolerance` must be a number above 0"),
    "NaN tolerance": ({"tolerance": math.nan}, "`tolerance` must be a number above 0"),
    "no time": ({"seconds": 0}, "`time_limit` must be a number above 0, got 0"),
    "endless time": ({"seconds": math.inf}, "`time_limit` must be a number above 0"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_limits_that_make_no_sense(given, message):
    with pytest.raises(DescendError, match=message):
        Limits.of(**given)


REACHED = [
    (Limits(10, 1e-3, None), 3, 1e-3, 0.0, Outcome.CONVERGED),
    (Limits(10, 1e-3, None), 3, 2e-3, 0.0, None),
    (Limits(10, 1e-3, None), 10, 2e-3, 0.0, Outcome.STEP_LIMIT),
    (Limits(10, 1e-3, None), 10, 1e-4, 0.0, Outcome.CONVERGED),
    (Limits(10, None, None), 3, 0.0, 0.0, None),
    (Limits(10, None, 2.0), 3, 1.0, 2.0, Outcome.TIME_LIMIT),
    (Limits(10, None, 2.0), 3, 1.0, 1.9, None),
    (Limits(10, 1e-3, None), 3, None, 0.0, None),
]


@pytest.mark.parametrize(("limits", "number", "norm", "elapsed", "outcome"), REACHED)
def test_the_first_limit_that_is_reached(limits, number, norm, elapsed, outcome):
    assert limits.reached(number, norm, elapsed) is outcome


CONSTANT = 2.0
WALKS = {
    "a loss that is not finite": ([1.0, math.inf], [False, True]),
    "not a number": ([math.nan], [True]),
    "five in a row above ten times the constant": ([1.0, *[21.0] * 5], [False] * 5 + [True]),
    "four are an overshoot": ([1.0, *[21.0] * 4, 19.0, *[21.0] * 4], [False] * 10),
    "a start far away": ([100.0, *[900.0] * 9], [False] * 10),
    "further than ten starts": ([100.0, *[1001.0] * 5], [False] * 5 + [True]),
}


@pytest.mark.parametrize(("losses", "told"), WALKS.values(), ids=WALKS)
def test_divergence(losses, told):
    diverged = Divergence(lambda: CONSTANT)
    assert [diverged(loss) for loss in losses] == told


def test_the_constant_is_asked_for_only_where_the_start_is_exceeded():
    asked = []
    diverged = Divergence(lambda: asked.append(1) or CONSTANT)
    for loss in (1.0, 5.0, 9.9):
        diverged(loss)
    assert not asked
    diverged(10.1)
    assert asked


def test_patience_counts_evaluations_without_a_new_best():
    patience = Patience(2)
    losses = [5.0, 4.0, 4.5, 3.9, 3.9, 4.1]
    assert [patience(loss, [loss]) for loss in losses] == [False, False, False, False, False, True]
    assert (patience.loss, patience.weights) == (3.9, [3.9])


def test_a_loss_that_is_no_number_is_no_new_best():
    patience = Patience(1)
    assert patience(math.nan, [0.0])
    assert patience.weights is None


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_patience_must_be_a_whole_number_of_at_least_1(limit):
    with pytest.raises(DescendError, match="`patience` must be a whole number of at least 1"):
        Patience(limit)


def test_only_two_outcomes_are_an_optimum():
    assert {outcome for outcome in Outcome if outcome.converged} == {Outcome.CONVERGED, Outcome.PRECISION}
