"""Schedules beside closed formulas and torch's."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest

from descend import Constant, Cosine, DescendError, InverseTime, OneCycle
from descend.descent.schedules import as_schedule

RATE, STEPS = 0.3, 80


def half_cosine(a, b, at):
    return b + (a - b) * (1 + math.cos(math.pi * at)) / 2


FORMULAS = {
    "constant": (Constant(RATE), lambda k: RATE),
    "inverse time": (InverseTime(RATE, decay=0.02), lambda k: RATE / (1 + 0.02 * k)),
    "no decay": (InverseTime(RATE, decay=0.0), lambda k: RATE),
    "cosine": (Cosine(RATE, steps=STEPS), lambda k: RATE * math.cos(math.pi * k / STEPS / 2) ** 2),
    "one cycle": (
        OneCycle(RATE, steps=STEPS),
        lambda k: (
            half_cosine(RATE / 25, RATE, k / 20) if k <= 20 else half_cosine(RATE, RATE / 1e5, (k - 20) / 60)
        ),
    ),
}


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_a_schedule_is_its_formula(schedule, formula):
    for k in range(STEPS + 1):
        assert schedule.rate * schedule.factor(k) == pytest.approx(formula(k), rel=1e-12, abs=1e-16), k


def by_torch(torch, make, count):
    """The learning rate of each step under a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler, rates = make(optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_is_that_of_torch():
    torch = pytest.importorskip("torch")
    expected = by_torch(
        torch, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=STEPS), STEPS + 1
    )
    schedule = Cosine(RATE, steps=STEPS)
    found = [RATE * schedule.factor(k) for k in range(STEPS + 1)]
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-15)


def test_one_cycle_is_that_of_torch():
    """Torch counts the last step as the end of the cycle, so a cycle of n + 1 steps of its is one of n."""
    torch = pytest.importorskip("torch")
    settings = {
        "max_lr": RATE, "total_steps": STEPS + 1, "pct_start": 21 / (STEPS + 1), "div_factor": 25.0,
        "final_div_factor": 1e5 / 25, "cycle_momentum": False,
    }  # fmt: skip
    expected = by_torch(torch, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, **settings), STEPS)
    schedule = OneCycle(RATE, steps=STEPS)
    assert [RATE * schedule.factor(k) for k in range(STEPS)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", [Cosine, OneCycle])
def test_past_its_end_a_schedule_stays_at_its_last_rate(kind):
    schedule = kind(RATE, steps=10)
    assert schedule.factor(25) == schedule.factor(10) <= 1e-5


@pytest.mark.parametrize("kind", [Cosine, OneCycle])
def test_the_length_of_the_run_is_filled_in_where_it_is_missing(kind):
    assert kind(RATE).planned(40) == kind(RATE, steps=40)
    assert kind(RATE, steps=7).planned(40) == kind(RATE, steps=7)
    assert kind(RATE, steps=7).planned(None) == kind(RATE, steps=7)
    with pytest.raises(DescendError, match=f"the {kind.name} schedule .* give `steps` or `epochs`"):
        kind(RATE).planned(None)


@pytest.mark.parametrize("schedule", [Constant(RATE), InverseTime(RATE)])
def test_schedules_without_an_end_need_no_length(schedule):
    assert schedule.planned(None) == schedule.planned(40) == schedule


def test_a_number_is_a_constant_schedule():
    assert as_schedule(RATE) == Constant(RATE)
    assert as_schedule("auto") == Constant("auto")
    assert as_schedule(Cosine(RATE)) == Cosine(RATE)


@pytest.mark.parametrize("kind", [Constant, InverseTime, Cosine, OneCycle])
@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, "fast", None, True, [0.1]])
def test_a_rate_must_be_a_number_above_zero(kind, rate):
    with pytest.raises(DescendError, match='must be a number above 0 or "auto"'):
        kind(rate)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InverseTime(RATE, decay=-0.1), "`decay` must be a number of at least 0, got -0.1"),
        (lambda: InverseTime(RATE, decay=math.inf), "got inf"),
        (lambda: Cosine(RATE, steps=0), "`steps` of a schedule must be at least 1, got 0"),
        (lambda: OneCycle(RATE, steps=-3), "got -3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(DescendError, match=message):
        make()


@pytest.mark.parametrize("kind", [Constant, InverseTime, Cosine, OneCycle])
def test_a_schedule_is_frozen(kind):
    with pytest.raises(FrozenInstanceError):
        kind(RATE).rate = 1.0
