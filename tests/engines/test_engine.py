"""Engines: the same bits from any number of threads in any order, and nothing left behind."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from descend import machine
from descend.engines.arrays import ArraySource
from descend.engines.blocks import Block
from descend.engines.engine import Serial, Threads, Tree, engine_named
from descend.engines.moments import Moments
from descend.engines.splits import Split
from descend.errors import DataError, DescendError
from descend.machine import cores
from descend.objectives.losses import LOSSES
from descend.objectives.objective import Objective
from descend.objectives.penalties import L2
from descend.objectives.statistics import LossAndGradient, TargetSum

RNG = np.random.default_rng(12)


@dataclass(frozen=True)
class OddLeaf:
    index: int
    rows: Block | None

    def block(self):
        return self.rows


@dataclass(frozen=True)
class OddPart:
    held: tuple[OddLeaf, ...]

    def leaves(self):
        return iter(self.held)


@dataclass(frozen=True)
class OddSource:
    """Leaves of odd sizes in memory, some without rows, in two parts: the fake of every source."""

    X: np.ndarray
    y: np.ndarray
    sizes: tuple[int, ...] = (1, 0, 7, 300, 0, 2, 64, 65, 0, 400, 161)

    feature_names = ("a", "b", "c")
    leaf_columns = 3

    @property
    def rows(self):
        return len(self.y)

    @property
    def leaf_count(self):
        return len(self.sizes)

    def parts(self):
        edges = np.cumsum([0, *self.sizes])
        leaves = [
            OddLeaf(i, Block(self.X[a:b], self.y[a:b]) if b > a else None)
            for i, (a, b) in enumerate(pairwise(edges))
        ]
        return [OddPart(tuple(leaves[:4])), OddPart(tuple(leaves[4:]))]


X = RNG.normal(size=(1_000, 3))
Y = (X.sum(axis=1) + RNG.logistic(size=1_000) > 0).astype(int)
ODD = OddSource(X, Y)
LONG = ArraySource(RNG.normal(size=(300_000, 2)).astype(np.float32), RNG.integers(0, 2, 300_000))  # 5 leaves
SPLIT = ArraySource(LONG.X, LONG.y, split=Split(0.3, 1))
GRADIENT = LossAndGradient(LOSSES["logistic"], True)
SOURCES = {"odd": ODD, "long": LONG, "split": SPLIT}
ENGINES = [Serial(), *map(Threads, range(1, 6))]
every_engine = pytest.mark.parametrize("engine", ENGINES, ids=repr)


def weights(source):
    return np.linspace(-1.0, 1.0, len(source.feature_names) + 1)


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    """Every test with BLAS on two threads to give back; what sessions of other tests hold does not count."""
    monkeypatch.setattr(machine, "single_threaded", machine.SingleThreaded())
    before = set(threading.enumerate())
    with threadpool_limits(2, user_api="blas"):
        yield
        assert blas_has(2)
    assert set(threading.enumerate()) <= before


def blas_has(threads):
    """Whether every BLAS library of the process is set to so many threads."""
    found = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    return set(found) <= {threads}


# The tree


def grown(values, order):
    tree = Tree(lambda a, b: a + b)
    for index in order:
        tree.add(index, values[index])
    return tree.total()


@settings(max_examples=100)
@given(order=st.integers(1, 70).flatmap(lambda n: st.permutations(range(n))), seed=st.integers(0, 2**32))
def test_a_tree_has_the_same_bits_in_any_order_of_arrival(order, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=len(order)) * 10.0 ** rng.integers(-12, 12, len(order))
    assert grown(values, order) == grown(values, range(len(order)))


@settings(max_examples=100)
@given(
    order=st.integers(1, 70).flatmap(lambda n: st.permutations(range(n))), missing=st.sets(st.integers(0, 69))
)
def test_leaves_are_merged_from_left_to_right_and_empty_ones_left_out(order, missing):
    values = [None if i in missing else [i] for i in range(len(order))]
    kept = [i for i in range(len(order)) if i not in missing]
    assert grown(values, order) == (kept or None)


def test_the_tree_is_binary_over_the_index():
    tree = Tree("({}{})".format)
    for index, letter in enumerate("abcdefg"):
        tree.add(index, letter)
    assert tree.total() == "(((ab)(cd))((ef)g))"
    tree.add(7, "h")
    assert tree.total() == "(((ab)(cd))((ef)(gh)))"


def test_a_tree_in_order_holds_few_values():
    tree, most = Tree(lambda a, b: a + b), 0
    for index in range(5_000):
        tree.add(index, 1)
        most = max(most, len(tree.waiting))
    assert most <= 13
    assert tree.total() == 5_000


def test_an_empty_tree_has_no_total():
    assert Tree(lambda a, b: a + b).total() is None


# The same sums


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_any_number_of_threads_gives_the_same_bits(source):
    found = set()
    for engine in ENGINES:
        with engine.open(source) as session:
            for _ in range(3):
                gradient, m = session.reduce(GRADIENT, weights(source)), session.reduce(Moments)
                found.add((gradient.tobytes(), m.cross.tobytes(), m.mean.tobytes(), m.mean_low.tobytes()))
    assert len(found) == 1


@every_engine
def test_the_sum_over_odd_leaves_is_that_of_the_whole(engine):
    with engine.open(ODD) as session:
        found = session.reduce(GRADIENT, weights(ODD))
        m = session.reduce(Moments)
    np.testing.assert_allclose(found, GRADIENT.of(Block(X, Y), weights(ODD)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(m.cross, Moments.of(Block(X, Y)).cross, rtol=1e-11)


@every_engine
def test_an_objective_over_a_foreign_source(engine):
    with engine.open(ODD) as session:
        objective = Objective.over(session, loss=LOSSES["logistic"], penalty=L2(0.1), intercept=True)
        value, gradient = objective.value_and_gradient(weights(ODD))
        assert objective.rows == 1_000
    with Serial().open(ArraySource(X, Y)) as session:
        other = Objective.over(session, loss=LOSSES["logistic"], penalty=L2(0.1), intercept=True)
        assert other.value(weights(ODD)) == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(other.gradient(weights(ODD)), gradient, rtol=1e-12)


@every_engine
def test_only_the_leaves_that_are_named_count(engine):
    with engine.open(ODD) as session:
        for leaves in ([3], {0, 3, 9}, [1, 10], range(11)):
            rows = sum(ODD.sizes[i] for i in leaves)
            assert session.reduce(TargetSum(), leaves=leaves)[0] == rows


@every_engine
@pytest.mark.parametrize("leaves", [[], [1], [1, 4, 8]])
def test_no_rows_at_all_are_an_error(engine, leaves):
    with (
        engine.open(ODD) as session,
        pytest.raises(
            DataError, match="no rows are left to work on: every row is held out, or has no weight"
        ),
    ):
        session.reduce(TargetSum(), leaves=leaves)


@every_engine
def test_a_map_is_in_order(engine):
    with engine.open(ODD) as session:
        assert list(session.map(lambda leaf: leaf.index)) == list(range(11))
        assert list(session.map(lambda leaf: leaf.block() and leaf.block().rows)) == [
            size or None for size in ODD.sizes
        ]


@every_engine
def test_a_map_does_not_run_far_ahead(engine):
    begun, source = [], OddSource(np.ones((500, 3)), np.ones(500), (1,) * 500)
    with engine.open(source) as session:
        walk = session.map(lambda leaf: begun.append(leaf.index))
        next(walk)
        assert len(begun) <= 2 * session.count + 1
        walk.close()


# Threads


@pytest.mark.parametrize("count", [2, 3])
def test_leaves_are_worked_on_at_once(count):
    """All threads must stand at the barrier together, or it breaks."""
    barrier = threading.Barrier(count)

    class Meet(TargetSum):
        def of(self, block, params=None):
            barrier.wait(20)
            return TargetSum.of(self, block)

    source = OddSource(X, Y, (10,) * (4 * count))
    with Threads(count).open(source) as session:
        assert session.reduce(Meet())[0] == 40 * count


def test_few_leaves_start_no_thread():
    before = threading.active_count()
    for engine, source in [(Serial(), ODD), (Threads(4), ArraySource(X, Y))]:
        with engine.open(source) as session:
            session.reduce(TargetSum())
            assert threading.active_count() == before


def test_threads_are_one_per_core_unless_said():
    with Threads().open(ODD) as session:
        assert session.count == cores() >= 1
    with Serial().open(ODD) as session:
        assert session.count == 1
    assert Threads(2) == Threads(2) != Threads(3)


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_thread_is_refused(count):
    with pytest.raises(
        DescendError, match=f"`count` of Threads must be a whole number of at least 1, got {count}"
    ):
        Threads(count)


# Errors


class Fails(TargetSum):
    """Goes wrong on the leaf of so many rows."""

    def __init__(self, rows, error):
        object.__setattr__(self, "classes", None)
        object.__setattr__(self, "at", (rows, error))

    def of(self, block, params=None):
        if block.rows == self.at[0]:
            raise self.at[1]
        return TargetSum.of(self, block)


@every_engine
@pytest.mark.parametrize("rows", [1, 7, 64, 161], ids="leaf of {} rows".format)
@pytest.mark.parametrize("error", [ZeroDivisionError("here"), KeyboardInterrupt("here")], ids=repr)
def test_an_error_in_a_statistic_surfaces_and_the_session_works_on(engine, rows, error):
    with engine.open(ODD) as session:
        with pytest.raises(type(error), match="here"):
            session.reduce(Fails(rows, error))
        assert session.reduce(TargetSum())[0] == 1_000


@every_engine
@pytest.mark.parametrize("at", [0, 1, 5, 10])
def test_an_error_while_reading_surfaces(engine, at):
    class Torn(OddSource):
        def parts(self):
            leaves = [leaf for part in OddSource.parts(self) for leaf in part.held]

            class Part:
                def leaves(self):
                    yield from leaves[:at]
                    raise OSError("torn file")

            return [Part()]

    with engine.open(Torn(X, Y)) as session:
        for _ in range(2):
            with pytest.raises(OSError, match="torn file"):
                session.reduce(TargetSum())
            with pytest.raises(OSError, match="torn file"):
                list(session.map(lambda leaf: leaf.index))


@every_engine
def test_an_error_of_a_writer_surfaces(engine):
    with engine.open(ODD) as session, pytest.raises(ZeroDivisionError):
        list(session.map(lambda leaf: 1 // (leaf.index - 6)))


def test_after_an_error_no_more_leaves_are_read():
    source = OddSource(np.ones((5_000, 3)), np.ones(5_000), (7,) + (1,) * 4_993)
    seen = []

    class Counts(Fails):
        def of(self, block, params=None):
            seen.append(block.rows)
            return Fails.of(self, block)

    with Serial().open(source) as session, pytest.raises(ZeroDivisionError):
        session.reduce(Counts(7, ZeroDivisionError()))
    assert seen == [7]


# Opening and closing


@every_engine
def test_blas_has_one_thread_while_a_session_is_open_and_its_own_after(engine):
    with engine.open(ODD) as session:
        assert blas_has(1)
        session.reduce(GRADIENT, weights(ODD))
        assert blas_has(1)
    assert blas_has(2)


def test_blas_stays_held_until_the_last_session_closes():
    a, b = Threads(2).open(ODD), Serial().open(ODD)
    a.close()
    a.close()
    assert blas_has(1)
    b.close()
    assert blas_has(2)


@every_engine
def test_a_closed_session_that_is_used_works_again(engine):
    session = engine.open(ODD)
    first = session.reduce(GRADIENT, weights(ODD))
    session.close()
    assert blas_has(2)
    np.testing.assert_array_equal(session.reduce(GRADIENT, weights(ODD)), first)
    assert blas_has(1)
    session.close()
    assert list(session.map(lambda leaf: leaf.index)) == list(range(11))
    assert blas_has(1)
    session.close()
    session.close()


def test_blas_is_given_back_after_an_error():
    with pytest.raises(ZeroDivisionError), Threads(2).open(ODD) as session:
        session.reduce(Fails(7, ZeroDivisionError()))
    assert blas_has(2)


def test_two_sessions_in_two_threads_do_not_disturb_each_other():
    expected = Serial().open(ODD)
    value = expected.reduce(GRADIENT, weights(ODD)).tobytes()
    expected.close()
    found = []

    def work():
        for _ in range(20):
            with Threads(2).open(ODD) as session:
                found.append(session.reduce(GRADIENT, weights(ODD)).tobytes())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [value] * 60


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("serial", "Serial()"),
        ("threads", "Threads(count=None)"),
        ("threads:3", "Threads(count=3)"),
        ("processes:2", "Processes(2)"),
        ("cluster:tcp://host:8786", "Cluster('tcp://host:8786')"),
        ("cluster:local:2", "Cluster(workers=2)"),
    ],
)
def test_an_engine_has_a_name(text, shown):
    assert repr(engine_named(text)) == shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ray", "must be one of serial, threads, processes, cluster, got 'ray'"),
        ("threads:many", "takes a number, threads:4 for example, got threads:many"),
        ("threads:0", "`count` of Threads"),
        ("serial:2", "takes nothing behind it"),
        ("cluster", "needs an address"),
    ],
)
def test_another_name_is_refused(text, said):
    with pytest.raises(DescendError, match=re.escape(said)):
        engine_named(text)
