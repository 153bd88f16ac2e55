"""Engines: how a statistic is summed over the leaves of a source.

An engine opens a source and gives a `Session`. Whatever the engine, results are merged by one
fixed binary tree over the leaf index (`Tree`), so the sum has the same bits for any number of
threads. BLAS runs on one thread while a session is open: the engine's threads share the work.
"""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar

from descend import machine
from descend.engines.blocks import Block, Leaf, Parts, Source
from descend.errors import DataError, DescendError, check_whole
from descend.machine import cores

V = TypeVar("V")


class Session(ABC):
    """A source opened by an engine; what differs from a plain one is declared here, and nowhere asked by type."""

    source: Source
    has_rows: bool = True
    """Whether there are rows to sum over; `NoRows` has none left."""
    takes_all: bool = False
    """Whether some of the leaves cost as much as all of them."""
    refuses_batches: str = ""
    """Why no mini-batches of all rows can be had from it; empty where they can."""
    may_be_lost: bool = False
    """Whether whoever sums may be gone before the session is closed."""
    processors: Collection[str] = ()
    """The types of processor of the workers; empty where this process sums."""

    @abstractmethod
    def reduce(self, statistic: Statistic[V], params: Any = None, leaves: Collection[int] | None = None) -> V:
        """The statistic merged over all leaves, or over those named."""

    @abstractmethod
    def map(self, writer: Callable[[Leaf], V]) -> Iterator[V]:
        """`writer(leaf)` of every leaf, in order."""

    @abstractmethod
    def chain(self, step: Callable[[Block, V], V], value: V) -> list[V]:
        """`value = step(block, value)` from leaf to leaf: one chain, and so one value, for each worker."""

    def close(self) -> None:  # noqa: B027  most have nothing to give back
        """Give back what it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Engine(ABC):
    """Where sums are computed."""

    @abstractmethod
    def open(self, source: Source) -> Session:
        """A session over a source."""

    def for_one_run(self) -> AbstractContextManager[Engine]:
        """The engine for the sessions of one run, which share what workers keep; nothing of it is left afterwards."""
        return nullcontext(self)


ENGINES = {
    "serial": "engine:serial",
    "threads": "engine:threads",
    "processes": "processes:processes",
    "cluster": "cluster:cluster",
}
"""What `--engine NAME` names: the function `(argument, memory)` of a module of this room that makes the engine."""


def engine_named(text: str, memory: int | str | None = None) -> Engine:
    """The engine of a name, or of `name:argument`; `memory` is for those whose workers keep rows of their own.

    >>> engine_named("threads:2"), engine_named("serial")
    (Threads(count=2), Serial())
    """
    name, _, argument = text.partition(":")
    if name not in ENGINES:
        raise DescendError(f"`engine` must be one of {', '.join(ENGINES)}, got {text!r}.")
    module, _, function = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(f"descend.engines.{module}"), function)(argument, memory)
    return engine


def count_of(argument: str, name: str) -> int | None:
    """How many threads or processes `name:argument` asks for; None where it does not say.

    >>> count_of("4", "threads"), count_of("", "threads")
    (4, None)
    """
    if argument and not argument.isdecimal():
        raise DescendError(f"`engine` {name} takes a number, {name}:4 for example, got {name}:{argument}.")
    return int(argument) if argument else None


class Tree:
    """Merges values by a fixed binary tree over their index, in whatever order they come.

    The value at level l and index i stands for leaves `i 2**l` to `(i + 1) 2**l - 1`. At most one
    value per level waits for its sibling when leaves come in order, so memory is O(log leaves).

    >>> tree = Tree(lambda a, b: f"({a}{b})")
    >>> for index in (2, 0, 1, 4, 3):
    ...     tree.add(index, "abcde"[index])
    >>> tree.total()
    '(((ab)(cd))e)'
    """

    def __init__(self, merge: Callable[[Any, Any], Any]) -> None:
        self.merge = merge
        self.waiting: dict[tuple[int, int], Any] = {}

    def add(self, index: int, value: Any, level: int = 0) -> None:
        """Put in the value of one leaf, or of the leaves at a level; None where they hold no rows."""
        while (level, index ^ 1) in self.waiting:
            sibling = self.waiting.pop((level, index ^ 1))
            value = self._join(sibling, value) if index & 1 else self._join(value, sibling)
            level, index = level + 1, index >> 1
        self.waiting[level, index] = value

    def total(self) -> Any:
        """The value of all leaves, None where none holds rows."""
        total = None
        for key in sorted(self.waiting):  # the last leaves wait at the lowest levels
            total = self._join(self.waiting[key], total)
        return total

    def result(self) -> Any:
        """The value of all leaves. Raises `DataError` where none holds rows."""
        total = self.total()
        if total is None:
            raise DataError(
                "no rows are left to work on: every row is held out, or has no weight or no target that is known."
            )
        return total

    def _join(self, a: Any, b: Any) -> Any:
        if a is None or b is None:
            return b if a is None else a
        return self.merge(a, b)


@dataclass(frozen=True)
class Serial(Engine):
    """One leaf after the other, in the calling thread.

    >>> import descend
    >>> x, y = descend.make_line(100, seed=0)
    >>> descend.fit(x, y, engine=Serial()).loss == descend.fit(x, y, engine=Threads(2)).loss
    True
    """

    def open(self, source: Source) -> ThreadSession:
        return ThreadSession(source, 1)


@dataclass(frozen=True)
class Threads(Engine):
    """Leaves shared by threads, one per core unless `count` says otherwise. Any `count` gives the same bits.

    Raises `DescendError` for a `count` below 1.

    >>> import descend
    >>> x, y = descend.make_line(100_000, seed=0)
    >>> runs = [descend.fit(x, y, engine=Threads(count)) for count in (1, 2, 3)]
    >>> len({run.weights.tobytes() for run in runs})
    1
    """

    count: int | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            check_whole("count", self.count, 1, " of Threads")

    def open(self, source: Source) -> ThreadSession:
        return ThreadSession(source, self.count or cores())


def serial(argument: str, memory: int | str | None) -> Serial:
    """`--engine serial`."""
    if argument:
        raise DescendError(f"`engine` serial takes nothing behind it, got serial:{argument}.")
    return Serial()


def threads(argument: str, memory: int | str | None) -> Threads:
    """`--engine threads` or `threads:COUNT`."""
    return Threads(count_of(argument, "threads"))


class ThreadSession(Session):
    """A source whose leaves are taken by `count` threads, each decoding and summing its own.

    Threads and BLAS are taken when the session opens and given back by `close`, or once nobody has the session any
    more; a closed session that is used again takes them again. One that does not hold BLAS has nothing to give back while `count` is 1.
    """

    def __init__(self, source: Source, count: int, holds_blas: bool = True) -> None:
        self.source = source
        self.count = count
        self.holds_blas = holds_blas
        self._pool: ThreadPoolExecutor | None = None
        self._open = False
        self._take()

    def _take(self) -> None:
        if self.holds_blas and not self._open:
            self._open = True
            machine.single_threaded.hold()
            self._dropped = weakref.finalize(self, machine.single_threaded.forget)
            self._dropped.atexit = False

    def close(self) -> None:
        if self._open:
            self._open = False
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None
            self._dropped.detach()
            machine.single_threaded.release()

    def reduce(self, statistic: Statistic[V], params: Any = None, leaves: Collection[int] | None = None) -> V:
        total: V = self.fold(statistic, params, leaves).result()
        return total

    def fold(self, statistic: Statistic[V], params: Any, leaves: Collection[int] | None = None) -> Tree:
        """The tree of the leaves, as far as they make whole branches of it."""
        self._take()
        tree, lock = Tree(statistic.merge), threading.Lock()

        def add(leaf: Leaf) -> None:
            block = leaf.block()
            value = None if block is None else statistic.of(block, params)
            with lock:
                tree.add(leaf.index, value)

        self._each(add, leaves)
        return tree

    def chain(self, step: Callable[[Block, V], V], value: V) -> list[V]:
        """`value = step(block, value)` over the leaves in order: one chain, whatever the number of threads."""
        self._take()
        for leaf in self._leaves(None):
            block = leaf.block()
            if block is not None:
                value = step(block, value)
        return [value]

    def map(self, writer: Callable[[Leaf], V]) -> Iterator[V]:
        self._take()
        if self.count == 1:
            yield from map(writer, self._leaves(None))
            return
        pool, pending = self._threads(), []
        for leaf in self._leaves(None):
            pending.append(pool.submit(writer, leaf))
            if len(pending) > 2 * self.count:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()

    def _leaves(self, only: Collection[int] | None) -> Iterator[Leaf]:
        for part in self.source.parts():
            for leaf in part.leaves():
                if only is None or leaf.index in only:
                    yield leaf

    def _each(self, work: Callable[[Leaf], None], only: Collection[int] | None) -> None:
        """Call `work` on every leaf, from all threads; the first leaf is never worth a thread."""
        leaves = self._leaves(only)
        first, second = next(leaves, None), next(leaves, None)
        if first is None:
            return
        if second is None or self.count == 1:
            for leaf in (first, second):
                if leaf is not None:
                    work(leaf)
            for leaf in leaves:
                work(leaf)
            return
        waiting, lock, stop = [second, first], threading.Lock(), threading.Event()

        def run() -> None:
            while not stop.is_set():
                with lock:
                    leaf = waiting.pop() if waiting else next(leaves, None)
                if leaf is None:
                    return
                work(leaf)

        futures = [self._threads().submit(run) for _ in range(self.count)]
        try:
            for future in futures:
                future.result()
        finally:  # an error or Ctrl-C: let every thread finish its leaf, then go on raising
            stop.set()
            for future in futures:
                future.exception()

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="descend")
        return self._pool


class SomeLeaves(Session):
    """A session over some leaves of another, which belongs to someone else and stays open."""

    def __init__(self, session: Session, leaves: Collection[int]) -> None:
        self.session, self.leaves, self.source = session, leaves, session.source
        self.takes_all, self.may_be_lost = session.takes_all, session.may_be_lost
        self.refuses_batches, self.processors = session.refuses_batches, session.processors

    def reduce(self, statistic: Statistic[V], params: Any = None, leaves: Collection[int] | None = None) -> V:
        return self.session.reduce(statistic, params, self.leaves)

    def map(self, writer: Callable[[Leaf], V]) -> Iterator[V]:
        return self.session.map(writer)

    def chain(self, step: Callable[[Block, V], V], value: V) -> list[V]:
        return self.session.chain(step, value)


class NoRows(Session):
    """What stands for a session where only moments are left: whoever asks it for rows is told so.

    >>> NoRows().reduce(Statistic)
    Traceback (most recent call last):
        ...
    descend.errors.DescendError: there are no rows to read: this objective holds nothing but moments. ...
    """

    has_rows = False
    refuses_batches = "`batch_size` needs an objective over data; this one holds nothing but moments."

    def __init__(self) -> None:
        self.source = Parts(())

    def reduce(self, statistic: Any, params: Any = None, leaves: Any = None) -> NoReturn:
        raise DescendError(
            "there are no rows to read: this objective holds nothing but moments. Make it from the data, "
            "`Objective.of(x, y)`, or take an optimizer that needs no rows, exact or gradient-descent."
        )

    def map(self, writer: Any) -> NoReturn:
        self.reduce(writer)

    def chain(self, step: Any, value: Any) -> NoReturn:
        self.reduce(step)


class Statistic(Protocol, Generic[V]):
    """What an Engine asks of a statistic."""

    def of(self, block: Block, params: Any, /) -> V:
        """The value of one block at these parameters."""

    def merge(self, a: V, b: V, /) -> V:
        """The value of the rows of both; may reuse the memory of `a`."""
