"""A walk that goes on from a Step, pickled or not, is the walk that was never stopped: to the bit."""

from __future__ import annotations

import pickle
from itertools import islice

import numpy as np
import pytest
from scipy import sparse

import descend
from descend import (
    LBFGS,
    Adam,
    Cosine,
    DescendError,
    Exact,
    GradientDescent,
    History,
    InverseTime,
    LocalSteps,
    Newton,
    Objective,
    OneCycle,
    Outcome,
    Processes,
    ProximalGradient,
    Threads,
    steps,
)
from descend.descent.history import NUMBERS, Step
from descend.descent.stopping import Walk
from descend.engines.arrays import ArraySource
from descend.errors import ShapeError
from descend.objectives.losses import LOSSES
from descend.objectives.penalties import L2

RNG = np.random.default_rng(11)
ROWS = 330
X = RNG.normal(size=(ROWS, 4)) * [1.0, 3.0, 0.5, 1.0] + [0.0, 0.0, 2.0, 0.0]
SCORE = X @ [1.0, -1.0, 0.5, 2.0] + RNG.normal(size=ROWS)
TARGETS = {
    "squared-error": SCORE,
    "logistic": (SCORE > 0).astype(float),
    "cross-entropy": np.digitize(SCORE, [-1, 1]).astype(float),
    "poisson": np.floor(np.exp(0.3 * SCORE)),  # whose automatic rate is searched for
}
HELD_OUT = slice(250, ROWS)

EXACT_COLUMNS = [name for name in NUMBERS if name != "seconds"]


def objective(loss="logistic", rows=slice(0, 250), x=X, offset=None, **options):
    if offset is not None:
        session = Threads().open(ArraySource(x[rows], TARGETS[loss][rows], offset=offset))
        return Objective.over(session, loss=LOSSES[loss], penalty=L2(0.1), intercept=True)
    return Objective.of(x[rows], TARGETS[loss][rows], loss=loss, **options)


def assert_same(one, other, *, but=()):
    """Two rows with the same bits in everything but the time that they took."""
    for name in EXACT_COLUMNS:
        if name not in but:
            assert getattr(one, name) == getattr(other, name), name
    assert one.weights.tobytes() == other.weights.tobytes()
    assert one.outcome is other.outcome


def travelled(step):
    """A step as it comes out of a file."""
    return pickle.loads(pickle.dumps(step))


def recorded(walk):
    history = History()
    for step in walk:
        history.add(step)
    return history


OPTIMIZERS = {
    "plain": GradientDescent(0.05),
    "auto": GradientDescent(),
    "heavy ball": GradientDescent(0.02, momentum=0.9),
    "nesterov": GradientDescent(0.02, momentum=0.9, nesterov=True),
    "adam": Adam(0.05),
    "adam auto": Adam(),
    "cosine": GradientDescent(Cosine(0.1), momentum=0.5),
    "one cycle": Adam(OneCycle(0.1)),
    "inverse time": GradientDescent(InverseTime("auto", decay=0.1)),
}
WHOLE = OPTIMIZERS | {
    "lbfgs": LBFGS(),
    "newton": Newton(),
    "local steps": LocalSteps(batch_size=32),
    "proximal": ProximalGradient(),
}


def check_every_stop(settings, make, at, **options):
    """Stop at each step of `at`, pickle, go on with objectives of one's own: the rows and history of no stop."""
    straight = list(steps(make(), *settings, **options))
    assert straight[-1].outcome is not None
    for k in (k for k in at if k < len(straight) - 1):
        with_stop = list(islice(steps(make(), *settings, **options), k + 1))
        kept = travelled(with_stop[-1])
        rest = list(steps(make(), *settings, **options, resume=kept))
        assert [step.number for step in rest] == [step.number for step in straight[k + 1 :]]
        for one, other in zip(straight[k + 1 :], rest, strict=True):
            assert_same(one, other)
        one, other = recorded(straight), recorded([*with_stop, *rest])
        for name in EXACT_COLUMNS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.weights, other.weights)
        assert (np.diff([s.seconds for s in [*with_stop, *rest]]) >= 0).all()
    return straight


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("optimizer", WHOLE.values(), ids=WHOLE)
def test_every_optimizer_on_all_rows(optimizer, loss):
    full = (5, 3) if loss == "cross-entropy" else (5,)
    start = np.full(full, 0.3)
    straight = check_every_stop(
        (optimizer,), lambda: objective(loss, penalty=0.01), (0, 1, 3), limit=6, start=None
    )
    assert len(straight) == 7 or straight[-1].outcome is Outcome.PRECISION
    from_there = next(iter(steps(objective(loss), optimizer, limit=1, start=start)))
    rest = list(steps(objective(loss), optimizer, limit=1, resume=travelled(from_there)))
    assert_same(rest[-1], list(steps(objective(loss), optimizer, limit=1, start=start))[-1])


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimizer_in_batches(optimizer, loss):
    """Within an epoch, at its end, in the last batch, which is short."""
    straight = check_every_stop(
        (optimizer,),
        lambda: objective(loss, penalty=0.01),
        (0, 1, 5, 7, 8, 9, 15, 16),
        batch_size=32,
        epochs=3,
        seed=4,
        validation=objective(loss, HELD_OUT),
    )
    assert len(straight) == 3 * 8 + 1


def test_a_penalty_with_kinks():
    def made():
        return objective("squared-error", penalty=descend.L1(0.5))

    straight = check_every_stop((ProximalGradient(),), made, (0, 1, 5, 20))
    assert straight[-1].outcome.converged


KINDS = {
    "weighted": {"sample_weight": RNG.integers(0, 3, 250).astype(float)},
    "shifted": {"offset": RNG.normal(size=250)},
    "sparse": {"x": sparse.csr_matrix(X * (np.abs(X) > 0.5))},
    "float32": {"x": X.astype(np.float32)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [None, 7])
def test_every_kind_of_rows(kind, batch_size):
    check_every_stop(
        (Adam(0.02),), lambda: objective(**KINDS[kind]), (2, 10), batch_size=batch_size, limit=50, seed=1
    )


def test_an_epoch_of_many_pieces_goes_on_in_the_middle_of_one(monkeypatch):
    monkeypatch.setattr("descend.objectives.batches.leaf_rows", lambda columns: 40)  # pieces of 80 rows
    monkeypatch.setattr("descend.engines.arrays.leaf_rows", lambda columns: 40)
    check_every_stop((GradientDescent(0.05),), objective, (3, 8, 11, 25, 26), batch_size=10, epochs=2, seed=3)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_the_seconds_go_on(batch_size):
    options = {"batch_size": batch_size, "limit": 40, "seed": 0}
    fifth = list(islice(steps(objective(), "adam", **options), 6))[-1]
    old = travelled(fifth._replace(seconds=1_000.0))
    rest = list(steps(objective(), "adam", **options, resume=old))
    assert all(1_000.0 <= step.seconds < 1_100.0 for step in rest)
    (last,) = steps(objective(), "adam", **options, time_limit=900.0, resume=old)
    assert (last.number, last.outcome) == (5, Outcome.TIME_LIMIT)
    assert last.loss == pytest.approx(objective().value(fifth.weights), rel=1e-14)


ENDS = {
    "a step limit": ({"limit": 6}, {"limit": 12}),
    "a step limit within an epoch": ({"limit": 6, "batch_size": 60}, {"limit": 12, "batch_size": 60}),
    "a step limit at the end of an epoch": ({"limit": 10, "batch_size": 60}, {"limit": 17, "batch_size": 60}),
    "epochs": ({"epochs": 1, "batch_size": 60}, {"epochs": 3, "batch_size": 60}),
}


@pytest.mark.parametrize(("short", "long"), ENDS.values(), ids=ENDS)
def test_a_larger_limit_goes_on_from_a_limit(short, long):
    straight = list(steps(objective(), Adam(0.05), **long))
    *_, last = steps(objective(), Adam(0.05), **short)
    assert last.outcome is Outcome.STEP_LIMIT
    rest = list(steps(objective(), Adam(0.05), **long, resume=travelled(last)))
    for one, other in zip(straight[last.number + 1 :], rest, strict=True):
        assert_same(one, other)


def test_a_tighter_tolerance_goes_on_from_a_converged_step():
    options = {"optimizer": GradientDescent(0.3)}
    *_, loose = steps(objective(), **options, tolerance=0.1)
    assert loose.outcome is Outcome.CONVERGED
    *_, tight = steps(objective(), **options, tolerance=0.01, resume=travelled(loose))
    *_, straight = steps(objective(), **options, tolerance=0.01)
    assert_same(tight, straight)


GONE = {
    "converged": ({"optimizer": "gradient-descent", "tolerance": 1e-3}, Outcome.CONVERGED),
    "the last digit": ({"optimizer": "newton"}, None),
    "exact": ({"optimizer": Exact()}, None),
    "diverged": ({"optimizer": GradientDescent(1e200), "limit": 9}, Outcome.DIVERGED),
    "diverged in batches": (
        {"optimizer": GradientDescent(1e200), "limit": 9, "batch_size": 50},
        Outcome.DIVERGED,
    ),
    "swinging": ({"optimizer": GradientDescent(60.0), "limit": 40}, Outcome.OSCILLATING),
    "at its limit": ({"optimizer": "adam", "limit": 4}, Outcome.STEP_LIMIT),
    "at its limit in an epoch": ({"optimizer": "adam", "limit": 4, "batch_size": 50}, Outcome.STEP_LIMIT),
}


@pytest.mark.parametrize(("options", "outcome"), GONE.values(), ids=GONE)
def test_a_walk_that_has_ended_gives_its_last_step_once_more(options, outcome):
    loss = "squared-error" if options["optimizer"] in (Exact(), GradientDescent(1e200)) else "logistic"
    *_, last = steps(objective(loss), **options)
    assert outcome is None or last.outcome is outcome
    (again,) = steps(objective(loss), **options, resume=travelled(last))
    if outcome is Outcome.DIVERGED:  # its loss is no number
        again, last = (step._replace(loss=None, gradient_norm=None) for step in (again, last))
    assert_same(last, again)


def overfitting(rows):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(160, 60))
    y = x[:, 0] + rng.normal(size=160) * 2
    return Objective.of(x[rows], y[rows])


@pytest.mark.parametrize(
    ("optimizer", "batch_size"), [(GradientDescent(), None), (Adam(0.05), 16)], ids=["all rows", "batches"]
)
def test_patience_goes_on(optimizer, batch_size):
    def walk(patience, **options):
        validation = overfitting(slice(70, None))
        made = overfitting(slice(0, 70))
        options |= {"validation": validation, "patience": patience, "batch_size": batch_size, "epochs": 200}
        return steps(made, optimizer, **options)

    straight = list(walk(4))
    assert straight[-1].outcome is Outcome.EARLY_STOP
    for k in (0, len(straight) // 2, len(straight) - 4, len(straight) - 2):
        rest = list(walk(4, resume=travelled(list(islice(walk(4), k + 1))[-1])))
        for one, other in zip(straight[k + 1 :], rest, strict=True):
            assert_same(one, other)
    (again,) = walk(4, resume=travelled(straight[-1]))
    assert_same(again, straight[-1])  # the best weights
    longer = list(walk(8))
    rest = list(walk(8, resume=travelled(straight[-1])))  # from where it was, not from the best weights
    for one, other in zip(longer[straight[-1].number + 1 :], rest, strict=True):
        assert_same(one, other)


def test_swings_are_told_at_the_same_step():
    made = {"optimizer": GradientDescent(60.0)}
    straight = list(steps(objective(), **made))
    assert straight[-1].outcome is Outcome.OSCILLATING
    for k in (1, 150, straight[-1].number - 1):
        *_, last = steps(objective(), **made, resume=travelled(straight[k]))
        assert_same(last, straight[-1])


def test_divergence_is_told_at_the_same_step():
    made = {"optimizer": GradientDescent(0.3), "limit": 60}  # five evaluations far above the start
    straight = list(steps(objective("squared-error"), **made))
    assert straight[-1].outcome is Outcome.DIVERGED
    assert np.isfinite(straight[-1].loss)
    for k in (0, *range(straight[-1].number - 6, straight[-1].number)):
        *_, last = steps(objective("squared-error"), **made, resume=travelled(straight[k]))
        assert_same(last, straight[-1])


def test_a_minimum_that_had_to_be_proven_is_proven_at_the_same_step():
    straight = list(steps(objective("squared-error"), "gradient-descent"))
    for k in (0, straight[-1].number // 2, straight[-1].number - 1):
        *_, last = steps(objective("squared-error"), "gradient-descent", resume=travelled(straight[k]))
        assert_same(last, straight[-1])


def test_other_processes_go_on_with_the_same_rows():
    def walk(**options):
        made = objective(penalty=0.1, engine=Processes(2))
        try:
            return list(steps(made, LBFGS(), limit=8, **options))
        finally:
            made.session.close()

    straight = walk()
    rest = walk(resume=travelled(straight[3]))
    for one, other in zip(straight[4:], rest, strict=True):
        assert_same(one, other)


def test_a_table_in_standardised_units_goes_on(tmp_path):
    """`fit` walks in units of its own: a step of the walk inside is one of those."""
    taken = []

    def watch(walk):
        for step in walk:
            taken.append(step)
            yield step

    descend.fit(X, SCORE, standardize=True, optimizer="adam", steps=9, watch=watch)
    assert taken[4].state.number == 4
    assert taken[4].walk is not None


def test_a_history_keeps_no_states():
    history = recorded(steps(objective(), LBFGS(), limit=20))
    whole = pickle.dumps(history)
    assert b"Pairs" not in whole
    assert b"Walk" not in whole
    shown = repr(next(iter(steps(objective(), "adam", limit=1))))
    assert shown.startswith("Step(number=0, epoch=0, loss=0.69")
    assert "state" not in shown


REFUSED = {
    "another optimizer": ({"optimizer": "adam"}, "`optimizer` must be gradient-descent, .* got adam"),
    "batches": ({"batch_size": 5}, "`batch_size` must be None, .* got 5"),
    "a start too": ({"start": np.zeros(5)}, "give `start` or `resume`, not both"),
    "a step of one's own": ({"resume": Step(3)}, "`resume` must be a Step that `steps` has given, got Step"),
    "weights": ({"resume": np.zeros(5)}, "`resume` must be a Step .* got ndarray"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_go_on_is_refused(options, message):
    step = next(iter(steps(objective(), "gradient-descent")))
    with pytest.raises(DescendError, match=message):
        steps(objective(), **{"optimizer": "gradient-descent", "resume": step} | options)


def test_batches_go_on_with_their_size_and_seed_alone():
    step = next(iter(steps(objective(), batch_size=5, seed=3)))
    for options, message in (
        ({"batch_size": 6, "seed": 3}, "`batch_size` must be 5, .* got 6"),
        ({"batch_size": 5}, "`seed` must be 3, .* got 0"),
        ({}, "`batch_size` must be 5, .* got None"),
    ):
        with pytest.raises(DescendError, match=message):
            steps(objective(), "gradient-descent", **options, resume=step)


def test_other_rows_may_come_but_not_other_columns():
    step = list(steps(objective(), "gradient-descent", limit=3))[-1]
    *_, last = steps(objective(rows=HELD_OUT), "gradient-descent", limit=5, resume=step)
    assert last.number == 5
    with pytest.raises(ShapeError, match=r"`resume` has weights of shape \(5,\), .* shape \(3,\)"):
        steps(objective(x=X[:, :2]), "gradient-descent", resume=step)
    assert isinstance(step.walk, Walk)
