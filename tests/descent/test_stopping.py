"""When a run ends: limits, divergence and patience, as small rules."""

from __future__ import annotations

import math

import pytest

from descend import DescendError, Outcome
from descend.descent.stopping import DEFAULT_LIMIT, TOLERANCE, Best, Divergence, Limits, Patience

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


def told_of(losses, rule):
    """What a rule tells at each loss of a walk."""
    told, above = [], 0
    for loss in losses:
        above = rule.after(above, loss, losses[0])
        told.append(rule.is_certain(above, loss))
    return told


@pytest.mark.parametrize(("losses", "told"), WALKS.values(), ids=WALKS)
def test_divergence(losses, told):
    assert told_of(losses, Divergence(lambda: CONSTANT)) == told


def test_where_weights_cannot_run_away_only_an_overflow_is_divergence():
    assert told_of([1.0, *[1e300] * 9, math.inf], Divergence(lambda: CONSTANT, True)) == [False] * 10 + [True]


def test_the_constant_is_asked_for_only_where_the_start_is_exceeded():
    asked = []
    rule = Divergence(lambda: asked.append(1) or CONSTANT)
    told_of([1.0, 5.0, 9.9, math.inf, math.nan], rule)
    assert not asked
    told_of([1.0, 10.1], rule)
    assert asked


def best_of(losses, patience):
    """What is best after each loss, whose weights are the loss itself."""
    found = [Best()]
    for loss in losses:
        found.append(patience.after(found[-1], loss, [loss]))
    return found[1:]


def test_patience_counts_evaluations_without_a_new_best():
    patience = Patience(2)
    found = best_of([5.0, 4.0, 4.5, 3.9, 3.9, 4.1], patience)
    assert [patience.is_over(best) for best in found] == [False, False, False, False, False, True]
    assert found[-1] == (2, 3.9, [3.9])


def test_a_loss_that_is_no_number_is_no_new_best():
    (best,) = best_of([math.nan], Patience(1))
    assert Patience(1).is_over(best)
    assert best.weights is None


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_patience_must_be_a_whole_number_of_at_least_1(limit):
    with pytest.raises(DescendError, match="`patience` must be a whole number of at least 1"):
        Patience(limit)


def test_only_two_outcomes_are_an_optimum():
    assert {outcome for outcome in Outcome if outcome.converged} == {Outcome.CONVERGED, Outcome.PRECISION}
