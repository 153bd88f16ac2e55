"""The protocol between sessions and workers, over a fake in memory: losses, silence, late answers, new workers."""

from __future__ import annotations

import pickle
import random
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from failing import Fails, FailsOddly
from hypothesis import given, settings
from hypothesis import strategies as st

import descend
from descend.engines.arrays import ArraySource
from descend.engines.connections import ConnectedPool, Connection
from descend.engines.engine import Threads, Tree
from descend.engines.moments import Moments
from descend.engines.remote import RemoteEngine, check_versions
from descend.engines.splits import Split
from descend.engines.worker import Worker
from descend.errors import DataError, DescendError, EngineLostError
from descend.objectives.losses import LOSSES
from descend.objectives.statistics import LossAndGradient, TargetSum

pytestmark = pytest.mark.usefixtures("hard_timeout")
RNG = np.random.default_rng(4)
LONG = ArraySource(RNG.normal(size=(700_000, 2)).astype(np.float32), RNG.integers(0, 2, 700_000))  # 11 leaves
SPLIT = ArraySource(LONG.X, LONG.y, split=Split(0.3, 1))
GRADIENT = LossAndGradient(LOSSES["logistic"], True)
W = np.array([0.3, -0.2, 0.1])


class Fake(RemoteEngine):
    """Workers in this process; `faults` says what befalls the n-th message of all: it kills or freezes."""

    def __init__(self, count=3, faults=None, timeout=20.0, threads=1):
        super().__init__()
        self.count, self.faults, self.timeout, self.threads = count, dict(faults or {}), timeout, threads
        self.seen, self.lock, self.thaw = 0, threading.Lock(), threading.Event()
        self.workers = {}

    def start(self):
        pool = ConnectedPool(self.timeout)
        self.current = pool
        for i in range(self.count):
            self.join(f"w{i}")
        return pool

    def join(self, name):
        worker = self.workers[name] = Worker(self.threads, 10**9)
        self.current.links[name] = Connection(
            lambda message: self.exchange(worker, message), self.current.replies, self.threads
        )

    def exchange(self, worker, message):
        task = pickle.loads(message)
        if task.verb in ("reduce", "map", "chain"):
            with self.lock:
                self.seen += 1
                fault = self.faults.pop(self.seen, None)
            if fault == "kill":
                return None
            if fault == "freeze":
                assert self.thaw.wait(30)
        return worker.perform(message)


def bits(session):
    m = session.reduce(Moments)
    return session.reduce(GRADIENT, W).tobytes(), m.cross.tobytes(), m.mean.tobytes(), m.mean_low.tobytes()


@pytest.fixture(scope="module")
def expected():
    found = {}
    for name, source in {"long": LONG, "split": SPLIT}.items():
        with Threads(2).open(source) as session:
            found[name] = bits(session)
    return found


# The tree of a round


@settings(max_examples=60)
@given(data=st.data(), leaves=st.integers(1, 70))
def test_branches_of_runs_make_the_tree_of_all_leaves(data, leaves):
    """Workers fold their runs, however cut and in whatever order they answer, to the same bits."""
    values = np.random.default_rng(leaves).normal(size=leaves) * 10.0 ** np.arange(
        leaves % 7, leaves % 7 + leaves
    )

    def tree():
        return Tree(lambda a, b: a + b)

    whole = tree()
    for i in range(leaves):
        whole.add(i, values[i])
    owners = data.draw(st.lists(st.integers(0, 3), min_size=leaves, max_size=leaves))
    branches = []
    for owner in set(owners):
        part = tree()
        for i in range(leaves):
            if owners[i] == owner:
                part.add(i, values[i])
        branches += part.waiting.items()
    merged = tree()
    for (level, index), value in data.draw(st.permutations(branches)):
        merged.add(index, value, level)
    assert merged.total() == whole.total()


def test_a_contiguous_run_leaves_few_branches():
    tree = Tree(lambda a, b: a + b)
    for i in range(1_001, 90_000):
        tree.add(i, 1)
    assert len(tree.waiting) <= 2 * 17


# The same sums


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("source", ["long", "split"])
def test_any_number_of_workers_gives_the_same_bits(expected, count, source):
    with Fake(count).open({"long": LONG, "split": SPLIT}[source]) as session:
        assert bits(session) == expected[source]
        assert sum(session.workers().values()) == len(session.parts)


def test_workers_of_several_threads_give_the_same_bits(expected):
    with Fake(2, threads=3).open(LONG) as session:
        assert bits(session) == expected["long"]


@pytest.mark.parametrize("seed", range(6))
def test_workers_killed_at_random_change_no_bit(expected, seed):
    random.seed(seed)
    faults = dict.fromkeys(random.sample(range(1, 13), 2), "kill")
    with Fake(4, faults).open(LONG) as session:
        for _ in range(2):
            assert bits(session) == expected["long"]
        assert len(session.workers()) == 2


def test_a_frozen_worker_is_left_out_and_its_late_answer_ignored(expected):
    engine = Fake(3, {5: "freeze"}, timeout=0.3)
    with engine.open(LONG) as session:
        assert bits(session) == expected["long"]
        assert bits(session) == expected["long"]
        assert len(session.workers()) == 2
        engine.thaw.set()
        for _ in range(100):
            assert bits(session) == expected["long"]
            if len(session.workers()) == 3:  # it has answered, and is one of them again
                return
    raise AssertionError("the worker that answers again gets no work")


@pytest.mark.parametrize("count", [1, 3])
def test_the_silence_of_all_workers_is_told(count):
    engine = Fake(count, dict.fromkeys(range(1, count + 1), "freeze"), timeout=0.3)
    try:
        with engine.open(LONG) as session, pytest.raises(EngineLostError, match=r"worker w\d is silent"):
            session.reduce(GRADIENT, W)
    finally:
        engine.thaw.set()


def test_the_only_worker_may_wake_up_again(expected):
    engine = Fake(1, {2: "freeze"}, timeout=0.3)
    with engine.open(LONG) as session:
        threading.Timer(0.5, engine.thaw.set).start()
        assert bits(session) == expected["long"]


def test_a_worker_that_joins_gets_parts_at_the_next_round(expected):
    engine = Fake(2)
    with engine.open(LONG) as session:
        assert bits(session) == expected["long"]
        engine.join("w9")
        assert bits(session) == expected["long"]
        assert session.workers()["w9"] == 3


def test_the_loss_of_all_workers_is_told():
    engine = Fake(2, {1: "kill", 2: "kill", 3: "kill"}, timeout=0.3)
    with engine.open(LONG) as session, pytest.raises(EngineLostError, match="gone"):
        session.reduce(GRADIENT, W)


def test_a_worker_that_has_forgotten_its_parts_is_told_them_again(expected):
    engine = Fake(2)
    with engine.open(LONG) as session:
        bits(session)
        engine.workers["w0"].parts.clear()
        assert bits(session) == expected["long"]


def test_parts_are_sent_once():
    engine = Fake(2)
    sizes = []
    with engine.open(LONG) as session:
        exchange = engine.exchange
        engine.exchange = lambda worker, message: (sizes.append(len(message)), exchange(worker, message))[1]
        session.reduce(GRADIENT, W)
        session.reduce(GRADIENT, W)
    assert min(sizes[:2]) > 1_000_000
    assert max(sizes[2:]) < 2_000


# What workers keep


def test_a_closed_session_leaves_nothing_and_works_again(expected):
    engine = Fake(2)
    session = engine.open(LONG)
    bits(session)
    session.close()
    session.close()
    assert all(not worker.parts and not len(worker.cache) for worker in engine.workers.values())
    assert bits(session) == expected["long"]
    session.close()


def test_a_map_is_in_order_and_chains_cover_every_leaf():
    with Fake(3).open(LONG) as session:
        assert list(session.map(Index())) == list(range(11))
        assert sum(session.chain(Count(), 0)) == 700_000


@dataclass(frozen=True)
class Index:
    def __call__(self, leaf):
        return leaf.index


@dataclass(frozen=True)
class Count:
    def __call__(self, block, total):
        return total + block.rows


def test_only_the_leaves_that_are_named_count():
    with Fake(3).open(LONG) as session, Threads(1).open(LONG) as local:
        for leaves in ([3], {0, 3, 9}, range(11)):
            assert (
                session.reduce(TargetSum(), leaves=leaves).tolist()
                == local.reduce(TargetSum(), leaves=leaves).tolist()
            )
        with pytest.raises(DataError, match="no rows are left"):
            session.reduce(TargetSum(), leaves=[])


# Errors


def test_an_error_of_a_statistic_surfaces_and_the_session_works_on(expected):
    with Fake(2).open(LONG) as session:
        with pytest.raises(DataError, match="row 7 is broken"):
            session.reduce(Fails())
        with pytest.raises(RuntimeError, match="Unsendable: what now"):
            session.reduce(FailsOddly())
        assert bits(session) == expected["long"]


def test_what_cannot_travel_is_refused():
    with (
        Fake(1).open(LONG) as session,
        pytest.raises(DescendError, match="not as a function or a lambda"),
    ):
        list(session.map(lambda leaf: leaf.index))


def test_statistics_travel_as_names_and_values():
    order = []
    engine = Fake(1)
    exchange = engine.exchange
    engine.exchange = lambda worker, message: (
        order.append(pickle.loads(message).order),
        exchange(worker, message),
    )[1]
    with engine.open(LONG) as session:
        session.reduce(GRADIENT, W)
    name, settings, params, leaves = pickle.loads(order[0])
    assert (name, settings, leaves) == (
        "descend.objectives.statistics:LossAndGradient",
        vars_of(GRADIENT),
        None,
    )
    assert params.tolist() == W.tolist()


def vars_of(statistic):
    return {"loss": statistic.loss, "intercept": statistic.intercept}


def test_other_versions_are_refused_with_the_list():
    here = {"descend": "1", "numpy": "2.1", "processor": "Zen"}
    with pytest.raises(DescendError, match=r"numpy 2.0 on b and 2.1 here"):
        check_versions({"a": here, "b": {**here, "numpy": "2.0"}}, here)


def test_an_engine_of_threads_has_no_scope_of_a_run():
    engine = Threads(1)
    with engine.for_one_run() as scoped:
        assert scoped is engine


class Slow(RemoteEngine):
    """Two workers here without a pulse, whose answers take longer than the pool waits for them."""

    def start(self):
        pool = ConnectedPool(timeout=0.1)

        def made():
            worker = Worker()

            def perform(message):
                time.sleep(1.2)
                return worker.perform(message)

            return perform

        pool.links = {f"slow {number}": Connection(made(), pool.replies) for number in range(2)}
        return pool


@pytest.mark.slow
@pytest.mark.usefixtures("hard_timeout")
def test_workers_that_are_slower_than_the_timeout_are_given_longer(caplog):
    """Or their rows would go from one to the other for ever."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 3))
    y = x @ [1.0, 2.0, 3.0] + rng.normal(size=50_000)
    run = descend.fit(x, y, engine=Slow())
    assert "is silent" in caplog.text
    assert run.weights.tobytes() == descend.fit(x, y).weights.tobytes()
