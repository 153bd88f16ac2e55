"""Sessions whose leaves are summed by workers elsewhere: who gets which parts, and what happens if one is lost.

Whatever carries the messages is a `Pool`: processes of this machine, a cluster, or a fake in memory.
A round sends every worker one task over its own run of parts. A worker that goes, or that stays silent
long after the others are done, has its parts shared among the others in the same round; what it may
still answer has a ticket that nobody waits for. Branches of the tree are merged whatever order they
come in, so none of this changes a bit.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

from descend import machine
from descend.engines.blocks import Block, Handle, Leaf, Source
from descend.engines.connections import Assignment, Reply
from descend.engines.engine import Engine, Session, Statistic, Tree
from descend.engines.worker import Answer, Task, TaskSpec, packed
from descend.errors import DataError, DescendError, EngineLostError

V = TypeVar("V")
log = logging.getLogger("descend")


class Pool(Protocol):
    """What carries tasks to workers and answers back."""

    timeout: float
    """Seconds that a worker may give no sign of life, or be behind the last answer in a round (beside twice
    what the round has taken)."""
    processors: set[str]
    """The types of processor among the workers; empty where they are of this machine."""

    def members(self) -> dict[str, int]:
        """The workers that are there now, each with its number of threads. Raises `EngineLostError`."""

    def send(self, worker: str, ticket: str, message: bytes) -> None:
        """Send a message; its reply comes by `wait`."""

    def wait(self, seconds: float) -> list[Reply]:
        """Replies that have come, at the latest after so many seconds. Raises `EngineLostError`."""

    def silence(self, worker: str) -> float:
        """Seconds without a sign of life from a worker that has something to do."""

    def suspect(self, worker: str) -> None:
        """Give a worker no further work until it answers."""

    def close(self) -> None:
        """Leave nothing running that the pool has started."""


@dataclass
class _Flight:
    """A task that is being worked on."""

    worker: str
    numbers: tuple[int, ...]


class RemoteSession(Session):
    """A source whose parts are shared by the workers of a pool; made by the `open` of a remote engine."""

    may_be_lost = True

    def __init__(self, source: Source, engine: RemoteEngine, run: str | None) -> None:
        self.source, self.engine = source, engine
        self.run = run or uuid.uuid4().hex
        self.key = uuid.uuid4().hex
        self._own = run is None
        self.refuses_batches = engine.refuses_batches
        self._pool: Pool | None = None
        self._parts: Sequence[Handle] | None = None
        self.processors: set[str] = set()
        """The types of processor of the workers; the same bits are promised per type."""
        self._take()

    def _take(self) -> Pool:
        if self._pool is None:
            self._pool = self.engine.acquire()
            machine.single_threaded.hold()  # what is solved here has the same bits then as beside threads
            self.processors |= self._pool.processors
            self._sent: dict[str, set[int]] = {}
            self._assignment: Assignment | None = None
        return self._pool

    def close(self) -> None:
        """Let the workers forget the session; one that is used again opens anew."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        machine.single_threaded.release()
        tell(pool, Task("forget", self.run, "" if self._own else self.key), self._sent)
        self.engine.release()

    @property
    def parts(self) -> Sequence[Handle]:
        """The handles of all parts."""
        if self._parts is None:
            self._parts = list(self.source.handles())
            copies = [part.only_here for part in self._parts if part.only_here]
            if copies and self.engine.elsewhere:
                raise DataError(
                    f"{copies[0]!r} is a temporary copy on this machine, which the workers of a "
                    "cluster cannot see: give files that lie on a disk they share, in UTF-8."
                )
        return self._parts

    def workers(self) -> dict[str, int]:
        """The workers, and how many parts each has."""
        return {worker: len(numbers) for worker, numbers in self._shared(self._take()).items()}

    def _shared(self, pool: Pool) -> dict[str, tuple[int, ...]]:
        """The parts of each worker that is there; what is new of it is told."""
        if self._assignment is None:
            self._assignment = Assignment([part.share for part in self.parts])
        assignment = self._assignment.over(present(pool))
        held = {worker: len(numbers) for worker, numbers in assignment.items()}
        if held != self.engine.told:
            self.engine.told = held
            log.info("parts: %s", ", ".join(f"{worker} {count}" for worker, count in held.items()))
        return assignment

    def reduce(self, statistic: Statistic[V], params: Any = None, leaves: Collection[int] | None = None) -> V:
        tree = Tree(statistic.merge)

        def add(branches: dict[tuple[int, int], Any]) -> None:
            for (level, index), value in branches.items():
                tree.add(index, value, level)

        self._round(
            "reduce", TaskSpec.of(statistic, params, None if leaves is None else frozenset(leaves)), add
        )
        total: V = tree.result()
        return total

    def map(self, writer: Callable[[Leaf], V]) -> Iterator[V]:
        found: dict[int, V] = {}
        self._round("map", TaskSpec.of(writer), found.update)
        yield from (found[index] for index in sorted(found))

    def chain(self, step: Callable[[Block, V], V], value: V) -> list[V]:
        values: list[V] = []
        self._round("chain", TaskSpec.of(step, value), values.extend)
        return values

    def _round(self, verb: str, order: TaskSpec, take: Callable[[Any], None]) -> None:
        """One task for every worker; `take` gets their answers as they come."""
        pool = self._take()
        assignment = self._shared(pool)  # the handles are made, which may add to what a statistic knows
        Round(pool, self, Task(verb, self.run, self.key, order=packed(order))).go(assignment, take)


class Round:
    """One round: what is in flight, and what becomes of parts whose worker is lost."""

    def __init__(self, pool: Pool, session: RemoteSession, task: Task) -> None:
        self.pool, self.session, self.task = pool, session, task
        self.flights: dict[str, _Flight] = {}
        self.allowed = pool.timeout
        self.deadline: float | None = None
        self.began, self.handed_over = time.monotonic(), False

    def go(self, assignment: dict[str, tuple[int, ...]], take: Callable[[Any], None]) -> None:
        """Send all tasks and wait until every part is answered for."""
        for worker, numbers in assignment.items():
            self._send(worker, numbers)
        while self.flights:
            replies = self.pool.wait(self._patience())
            for ticket, content in replies:
                flight = self.flights.pop(ticket, None)
                if flight is None:
                    continue  # of another round, or too late
                if content is None:
                    self._hand_over(flight, "is gone")
                    continue
                answer: Answer = pickle.loads(content)
                if answer.verb == "failed":
                    raise answer.value
                if answer.verb == "lacking":
                    self.session._sent.get(flight.worker, set()).difference_update(answer.value)
                    self._send(flight.worker, flight.numbers)
                    continue
                now = time.monotonic()
                self.deadline = now + self.allowed + 2 * (now - self.began)
                take(answer.value)
            if not replies:
                self._give_up(self._silent())
        if self.handed_over:
            log.warning("the round took %.2f s with the loss", time.monotonic() - self.began)

    def _patience(self) -> float:
        return 1.0 if self.deadline is None else min(max(self.deadline - time.monotonic(), 0.001), 1.0)

    def _send(self, worker: str, numbers: tuple[int, ...]) -> None:
        sent = self.session._sent.setdefault(worker, set())
        parts = {number: self.session.parts[number] for number in numbers if number not in sent}
        sent.update(numbers)
        ticket = uuid.uuid4().hex
        self.flights[ticket] = _Flight(worker, numbers)
        self.pool.send(worker, ticket, packed(self.task._replace(numbers=numbers, parts=parts)))

    def _silent(self) -> list[str]:
        """The tickets of workers that show no life, or of all that are behind; the others then get twice as long."""
        if self.deadline is None or time.monotonic() <= self.deadline:
            silence = {ticket: self.pool.silence(flight.worker) for ticket, flight in self.flights.items()}
            silent = [ticket for ticket, seconds in silence.items() if seconds > self.allowed]
            self.allowed *= 2 if silent else 1
            return silent
        self.allowed *= 2
        self.deadline = None
        return list(self.flights)

    def _give_up(self, tickets: list[str]) -> None:
        """Workers that have not answered in time get no more work, and others what they had."""
        silent = [self.flights.pop(ticket) for ticket in tickets]
        for flight in silent:
            self.pool.suspect(flight.worker)
        for flight in silent:
            self._hand_over(flight, "is silent")

    def _hand_over(self, flight: _Flight, why: str) -> None:
        """Share the parts of a lost task among the workers that are left."""
        self.handed_over = True
        self.session._sent.pop(flight.worker, None)
        members = present(self.pool, f"worker {flight.worker} {why}")
        assignment = Assignment([self.session.parts[number].share for number in flight.numbers])
        log.warning(
            "worker %s %s: its %d parts go to %d others",
            flight.worker,
            why,
            len(flight.numbers),
            len(members),
        )
        for worker, places in assignment.over(members).items():
            self._send(worker, tuple(flight.numbers[place] for place in places))


def present(pool: Pool, why: str = "all are gone") -> dict[str, int]:
    """The workers that are there. Raises `EngineLostError` where none comes in time."""
    began = time.monotonic()
    while True:
        if members := pool.members():
            return members
        if time.monotonic() - began > pool.timeout:
            raise EngineLostError(f"no worker is left: {why}.")
        time.sleep(0.05)


def broadcast(pool: Pool, task: Task, workers: Collection[str], seconds: float = 10.0) -> dict[str, Any]:
    """Send a task to workers and return what each answers within some seconds."""
    tickets = {uuid.uuid4().hex: worker for worker in workers}
    found: dict[str, Any] = {}
    try:
        there = pool.members()
        for ticket, worker in tickets.items():
            if worker in there:
                pool.send(worker, ticket, packed(task))
        end = time.monotonic() + seconds
        waiting = {ticket for ticket, worker in tickets.items() if worker in there}
        while waiting and time.monotonic() < end:
            for ticket, content in pool.wait(0.5):
                if ticket in waiting:
                    waiting.discard(ticket)
                    if content is not None:
                        found[tickets[ticket]] = pickle.loads(content).value
    except EngineLostError:
        pass
    return found


def check_versions(found: dict[str, dict[str, str]], here: dict[str, str]) -> set[str]:
    """The types of processor among the workers. Raises `DescendError` where versions are not those of here.

    >>> check_versions({"a": {"numpy": "2.1", "processor": "Zen"}}, {"numpy": "2.1", "processor": "Haswell"})
    {'Zen'}
    """
    listed = [
        f"{name} {value} on {worker} and {here[name]} here"
        for worker, there in sorted(found.items())
        for name, value in there.items()
        if name != "processor" and value != here[name]
    ]
    if listed:
        raise DescendError(
            f"the workers must have the versions of this process: {'; '.join(listed)}. Install the same ones."
        )
    return {there["processor"] for there in found.values()}


class RemoteEngine(Engine):
    """What engines share whose workers are elsewhere: one pool, there as long as somebody uses it.

    A session uses it while it is open, and so does a `with` block around the engine.
    """

    refuses_batches: ClassVar[str] = ""
    """Why no mini-batches of all rows can be had from it; empty where they can."""
    elsewhere = False
    """Whether workers are on other machines, which do not see this one's temporary files."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users = 0
        self.told: dict[str, int] = {}
        """The workers and their numbers of parts that were logged last."""
        self._pool: Pool | None = None

    @abstractmethod
    def start(self) -> Pool:
        """Start or find the workers."""

    def acquire(self) -> Pool:
        """The pool, for one user more."""
        with self._lock:
            if self._pool is None:
                self._pool = self.start()
            self._users += 1
            return self._pool

    def release(self) -> None:
        """One user less; the last one closes the pool."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._pool is not None:
                pool, self._pool = self._pool, None
                pool.close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def open(self, source: Source, run: str | None = None) -> RemoteSession:
        """A session over a source; sessions of one `run` share what the workers keep."""
        return RemoteSession(source, self, run)

    def for_one_run(self) -> RunScope:
        return RunScope(self)


class RunScope(Engine):
    """A remote engine whose sessions share the caches of one run."""

    def __init__(self, engine: RemoteEngine) -> None:
        self.engine, self.run = engine, uuid.uuid4().hex

    def __enter__(self) -> RunScope:
        self._pool = self.engine.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        tell(self._pool, Task("forget", self.run))
        self.engine.release()

    def open(self, source: Source) -> RemoteSession:
        return self.engine.open(source, self.run)


def tell(pool: Pool, task: Task, workers: Collection[str] | None = None) -> None:
    """Send a task to workers that are there, all unless named, and wait for no answer: giving memory back takes time."""
    with suppress(EngineLostError):
        for worker in pool.members():
            if workers is None or worker in workers:
                pool.send(worker, uuid.uuid4().hex, packed(task))
