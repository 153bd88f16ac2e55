"""Links to workers: a thread for each, that hands over one message at a time and waits for the answer.

A worker that is frozen holds up its own thread and nothing else.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from descend.errors import EngineLostError


class Reply(NamedTuple):
    """What came of a ticket: the answer, or None where its worker is gone."""

    ticket: str
    content: bytes | None


class Connection:
    """A worker as seen from here; `exchange` takes it a message and returns the answer, None if it is gone."""

    def __init__(
        self, exchange: Callable[[bytes], bytes | None], replies: queue.Queue[Reply], threads: int = 1
    ) -> None:
        self.threads = threads
        self.suspected = False
        """Whether it was silent for too long, and has not answered since."""
        self.gone = False
        self.pending: list[str] = []
        """The tickets that are not answered yet."""
        self.heard = time.monotonic()
        """When it last gave a sign of life, or was sent something to do."""
        self._exchange, self._replies = exchange, replies
        self._tasks: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._talk, name="descend-link", daemon=True)
        self._thread.start()

    def send(self, ticket: str, message: bytes) -> None:
        """Hand a message over when those before it are answered."""
        if not self.pending:
            self.heard = time.monotonic()
        self.pending.append(ticket)
        self._tasks.put((ticket, message))

    def abandon(self) -> None:
        """Take the worker for gone, even though it holds up the thread: all that is pending is answered so."""
        self.gone = True
        for ticket in list(self.pending):
            self._replies.put(Reply(ticket, None))

    def _talk(self) -> None:
        while (task := self._tasks.get()) is not None:
            ticket, message = task
            content = None if self.gone else self._exchange(message)
            self.suspected, self.gone, self.heard = False, self.gone or content is None, time.monotonic()
            self.pending.remove(ticket)
            self._replies.put(Reply(ticket, content))

    def end(self) -> None:
        """Let the thread end after what it has been handed."""
        self._tasks.put(None)

    def close(self, seconds: float) -> None:
        """Wait for the end of the thread, if it is not held up for longer."""
        self.end()
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)


class ConnectedPool:
    """Workers behind links; a `Pool`."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.replies: queue.Queue[Reply] = queue.Queue()
        self.links: dict[str, Connection] = {}
        self.processors: set[str] = set()

    def members(self) -> dict[str, int]:
        """The workers that are there and answer, each with its number of threads."""
        return {name: link.threads for name, link in self.links.items() if not (link.gone or link.suspected)}

    def send(self, worker: str, ticket: str, message: bytes) -> None:
        """Send a message; the reply comes by `wait`."""
        self.links[worker].send(ticket, message)

    def wait(self, seconds: float) -> list[Reply]:
        """Replies that have come, at the latest after so many seconds."""
        if self.replies.empty() and all(link.gone for link in self.links.values()):
            raise EngineLostError("all workers are gone. Were they killed for want of memory?")
        try:
            return [self.replies.get(timeout=seconds)]
        except queue.Empty:
            return []

    def silence(self, worker: str) -> float:
        """Seconds without a sign of life from a worker that has something to do."""
        link = self.links.get(worker)
        return 0.0 if link is None or not link.pending else time.monotonic() - link.heard

    def suspect(self, worker: str) -> None:
        """Give a worker no further work until it answers."""
        self.links[worker].suspected = True

    def close(self) -> None:
        """End the threads, after a second where some are held up."""
        end = time.monotonic() + 1.0
        for link in self.links.values():
            link.end()
        for link in self.links.values():
            link.close(max(end - time.monotonic(), 0.0))


class Assignment:
    """Which worker has which parts: contiguous runs at first, and as few moves as may be afterwards.

    >>> assignment = Assignment([1] * 8)
    >>> assignment.over({"a": 1, "b": 1})
    {'a': (0, 1, 2, 3), 'b': (4, 5, 6, 7)}
    >>> assignment.over({"b": 1, "c": 1})
    {'b': (4, 5, 6, 7), 'c': (0, 1, 2, 3)}
    >>> assignment.over({"b": 1, "c": 1, "d": 2})
    {'b': (4, 5), 'c': (0, 1), 'd': (2, 3, 6, 7)}
    """

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = rows
        """The rows of each part, or what else its work is proportional to."""
        self.held: dict[str, list[int]] = {}

    def over(self, members: dict[str, int]) -> dict[str, tuple[int, ...]]:
        """The parts of each of these workers, in proportion to its threads."""
        if self.held.keys() != members.keys():
            self._regroup(members)
        return {worker: tuple(self.held[worker]) for worker in sorted(self.held) if self.held[worker]}

    def _regroup(self, members: dict[str, int]) -> None:
        """Everyone keeps what is within an even share; what is free then fills the shares up, in order."""
        each = sum(self.rows) / sum(members.values())
        room = {worker: each * members[worker] for worker in sorted(members)}
        before, self.held = self.held, {worker: [] for worker in room}

        def give(worker: str, numbers: Sequence[int], start: int = 0) -> int:
            """Give parts in order while they fit; return where it stopped."""
            for at in range(start, len(numbers)):
                rows = self.rows[numbers[at]]
                if rows / 2 > room[worker]:
                    return at
                self.held[worker].append(numbers[at])
                room[worker] -= rows
            return len(numbers)

        for worker in room:
            give(worker, before.get(worker, []))
        taken = set(itertools.chain.from_iterable(self.held.values()))
        free, at = [number for number in range(len(self.rows)) if number not in taken], 0
        for worker in room:
            at = give(worker, free, at)
        for number in free[at:]:  # parts larger than what is left of any share
            worker = max(room, key=lambda name: room[name])
            self.held[worker].append(number)
            room[worker] -= self.rows[number]
        for numbers in self.held.values():
            numbers.sort()
