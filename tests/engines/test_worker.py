"""A worker in this process: what it sums beside NumPy, what it keeps, and how its messages travel."""

from __future__ import annotations

import io
import os
import pickle
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from failing import Fails, FailsOddly
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds_of_table import FRAME, KINDS, made

import descend
from descend.engines.arrays import ArraySource
from descend.engines.blocks import Handle
from descend.engines.moments import Moments
from descend.engines.worker import (
    Answer,
    Pulse,
    Task,
    TaskSpec,
    Worker,
    aligned,
    environment,
    joined,
    packed,
    receive,
    send,
)
from descend.errors import DataError, DescendError
from descend.tables.table import row_runs

RNG = np.random.default_rng(4)
SOURCE = ArraySource(RNG.normal(size=(300_000, 2)).astype(np.float32), RNG.normal(size=300_000))  # 5 leaves
PARTS = dict(enumerate(SOURCE.handles()))
ALL = tuple(PARTS)


def ask(worker, verb, what=None, params=None, numbers=ALL, parts=PARTS, leaves=None, run="r", session="s"):
    order = b"" if what is None else packed(TaskSpec.of(what, params, leaves))
    return pickle.loads(worker.perform(pickle.dumps(Task(verb, run, session, numbers, order, parts))))


@dataclass(frozen=True)
class Index:
    def __call__(self, leaf):
        return -leaf.index


@dataclass(frozen=True)
class Count:
    def __call__(self, block, total):
        return total + block.rows


def test_a_worker_answers_what_it_is_asked():
    worker = Worker()
    assert set(pickle.loads(worker.perform(pickle.dumps(Task("hello")))).value) >= {
        "descend",
        "numpy",
        "processor",
    }
    lacking = pickle.loads(worker.perform(pickle.dumps(Task("reduce", "r", "s", (0, 2)))))
    assert lacking == Answer("lacking", [0, 2])
    assert pickle.loads(worker.perform(b"no pickle")).verb == "failed"


@pytest.mark.parametrize("threads", [1, 3])
def test_branches_are_sums_over_the_leaves_below_them(threads):
    branches = ask(Worker(threads), "reduce", Moments).value
    rows, y = np.split(np.arange(300_000), range(65_536, 300_000, 65_536)), SOURCE.y
    assert sorted(branches) == [(0, 4), (2, 0)]  # one leaf over, and a tree of the four before
    for (level, index), found in branches.items():
        below = np.concatenate(rows[index << level : (index + 1) << level])
        assert found.rows == len(below)
        assert found.mean[-1] + found.mean_low[-1] == pytest.approx(y[below].mean(), rel=1e-12)
        assert found.cross[-1, -1] == pytest.approx(y[below].var() * len(below), rel=1e-12)


def test_only_the_leaves_and_the_parts_that_are_named_are_summed():
    worker = Worker()
    for leaves in ({0}, {1, 3}):
        found = ask(worker, "reduce", Moments, leaves=frozenset(leaves)).value
        assert sum(m.rows for m in found.values()) == 65_536 * len(leaves)
    found = ask(worker, "reduce", Moments, numbers=ALL[-1:]).value
    assert sum(m.rows for m in found.values()) == 300_000 - 4 * 65_536


def test_a_map_tells_the_leaf_of_each_value_and_a_chain_goes_through_the_rows():
    assert sorted(ask(Worker(), "map", Index()).value) == [(i, -i) for i in range(5)]
    assert sum(ask(Worker(2), "chain", Count(), 0).value) == 300_000


def test_parts_are_told_once_and_belong_to_a_session_of_a_run():
    worker = Worker()
    ask(worker, "reduce", Moments)
    assert ask(worker, "reduce", Moments, parts={}).verb == "done"
    for other in ({"session": "t"}, {"run": "q"}):
        assert ask(worker, "reduce", Moments, parts={}, **other) == Answer("lacking", list(ALL))


@pytest.mark.parametrize(
    ("forgotten", "left"),
    [
        (("r", "s"), {("r", "t"), ("q", "s")}),
        (("r", ""), {("q", "s")}),
        (("z", ""), {("r", "s"), ("r", "t"), ("q", "s")}),
    ],
)
def test_a_session_or_a_whole_run_is_forgotten(forgotten, left):
    worker = Worker(budget=100)
    for run, session in (("r", "s"), ("r", "t"), ("q", "s")):
        ask(worker, "reduce", Moments, run=run, session=session)
        worker.cache.put(run, "rows", session, 10)
    assert ask(worker, "forget", run=forgotten[0], session=forgotten[1]) == Answer("done")
    assert set(worker.parts) == left
    kept = worker.cache.get("r", "rows") is not None, worker.cache.get("q", "rows") is not None
    assert kept == (forgotten != ("r", ""), True)


def test_what_goes_wrong_is_the_answer_and_the_worker_works_on():
    worker = Worker()
    for what, kind, words in (
        (Fails(), DataError, "row 7 is broken"),
        (FailsOddly(), RuntimeError, "Unsendable: what now"),
    ):
        answer = ask(worker, "reduce", what)
        assert answer.verb == "failed"
        assert type(answer.value) is kind
        assert str(answer.value) == words
    lost = Task("reduce", "r", "s", ALL, pickle.dumps(TaskSpec("no_such_module:Thing", {})))
    answer = pickle.loads(worker.perform(pickle.dumps(lost)))
    assert isinstance(answer.value, DescendError)
    assert "in a module that every worker can import" in str(answer.value)
    assert ask(worker, "reduce", Moments).verb == "done"


@pytest.mark.parametrize("kind", KINDS)
def test_runs_that_follow_one_another_are_read_as_one(kind, tmp_path):
    runs = dict(enumerate(row_runs(made(kind, tmp_path), ["a"], 512)))
    together = list(joined(runs, list(runs)))
    assert len(together) <= 3
    rows = pl.concat([s.frame for run in together for s in run.slices(["a"], 1_000)])
    assert rows["a"].to_list() == FRAME["a"].to_list()


def test_parts_with_others_between_them_or_that_cannot_be_joined_stay_apart(tmp_path):
    runs = dict(enumerate(row_runs(made("parquet", tmp_path), ["a"], 512)))
    assert [run.rows for run in joined(runs, [0, 1, 3, 2])] == [1_024, 512, 512]
    assert list(joined(runs, [])) == []
    one, other = Handle(), Handle()
    assert list(joined({0: one, 1: other}, [1, 0])) == [other, one]
    assert (one.share, one.only_here, one.open(None)) == (1, "", one)


def test_arrays_begin_where_the_processor_wants_them():
    raw = np.zeros(8 * 6 + 1, np.uint8)
    odd = raw[1:].view(np.float64)
    odd[:] = range(6)
    for strange in (odd, np.arange(12.0)[::2], np.asfortranarray(np.ones((2, 3)))):
        found = aligned(strange)
        assert found.flags.aligned
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, strange)
    fine = np.arange(6.0)
    assert aligned(fine) is fine
    assert aligned(None) is None


def test_a_worker_of_one_thread_finds_the_callers_modules():
    found = environment()
    assert {found[name] for name in ("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")} == {
        "1"
    }
    first = found["PYTHONPATH"].split(os.pathsep)[0]
    assert (Path(first) / "descend" / "engines" / "worker.py").samefile(
        Path(descend.__file__).parent / "engines" / "worker.py"
    )


@settings(max_examples=50)
@given(messages=st.lists(st.binary(max_size=300), min_size=1, max_size=5), lost=st.integers(1, 400))
def test_messages_arrive_whole_and_in_order_or_not_at_all(messages, lost):
    pipe = io.BytesIO()
    for message in messages:
        send(pipe, message)
    content = pipe.getvalue()
    pipe.seek(0)
    assert [receive(pipe) for _ in messages] == messages
    assert receive(pipe) is None
    short = io.BytesIO(content[: max(len(content) - lost, 0)])
    arrived = list(iter(lambda: receive(short), None))
    assert arrived == messages[: len(arrived)]
    assert len(arrived) < len(messages)


def test_a_pulse_beats_while_the_worker_is_busy_and_ends_when_nobody_hears():
    pipe = io.BytesIO()
    pulse = Pulse(pipe, 0.01)
    time.sleep(0.05)
    assert pipe.getvalue() == b""
    pulse.busy.set()
    end = time.monotonic() + 20
    while len(pipe.getvalue()) < 16 and time.monotonic() < end:
        time.sleep(0.01)
    with pulse.lock:
        pulse.busy.clear()
        beats = pipe.getvalue()
    assert beats == b"\0" * len(beats)  # the lengths of empty messages
    assert len(beats) >= 16
    time.sleep(0.05)
    assert pipe.getvalue() == beats
    gone, other = os.pipe()
    os.close(gone)
    pulse.outbox = os.fdopen(other, "wb", buffering=0)
    pulse.busy.set()
    pulse.join(20)
    assert not pulse.is_alive()
    pulse.outbox.close()
