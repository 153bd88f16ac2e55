"""Processes of this machine as workers: a crash of one does not end the run, and they share no lock.

Workers are started as programs of their own (`descend.worker`), never forked, and never import
the caller's main module; messages go through their standard input and output.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress

from descend.engines.connections import ConnectedPool, Connection
from descend.engines.engine import count_of
from descend.engines.remote import RemoteEngine
from descend.engines.worker import environment, receive, send
from descend.errors import DescendError, check_whole
from descend.machine import as_bytes, cores, memory_budget


class Processes(RemoteEngine):
    """Leaves shared by processes, one per core unless `count` says otherwise; the same bits as `Threads`.

    `memory` is how many bytes of blocks each may keep, a number or a text such as "500MB"; a quarter of
    the machine's memory for all together unless given. The parts of a process that is killed, that
    gives no sign of life for `timeout` seconds, or that is as much and twice the time of the round behind, go to
    the others. A `with` block around
    several fits keeps the processes between them, which saves starting them again. Raises `DescendError` for a
    `count` below 1 and a `timeout` that is not above 0, and later `EngineLostError` where all processes are gone.

    >>> from descend.objectives.objective import Objective
    >>> x, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
    >>> with Processes(1) as engine:
    ...     Objective.of(x, y, engine=engine).minimum().round(9).tolist()
    [2.0, 1.0]
    """

    def __init__(
        self, count: int | None = None, *, memory: int | str | None = None, timeout: float = 60.0
    ) -> None:
        super().__init__()
        if count is not None:
            check_whole("count", count, 1, " of Processes")
        if not timeout > 0:
            raise DescendError(f"`timeout` must be a number of seconds above 0, got {timeout!r}.")
        self.count = cores() if count is None else count
        self.memory = memory_budget() // self.count if memory is None else as_bytes(memory)
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"Processes({self.count})"

    def start(self) -> ProcessPool:
        return ProcessPool(self.count, self.memory, self.timeout)


def processes(argument: str, memory: int | str | None) -> Processes:
    """`--engine processes` or `processes:COUNT`."""
    return Processes(count_of(argument, "processes"), memory=memory)


class ProcessPool(ConnectedPool):
    """Some worker processes and the links to them."""

    def __init__(self, count: int, memory: int, timeout: float) -> None:
        super().__init__(timeout)
        self.processes = {f"process {i}": WorkerProcess(memory, min(timeout / 4, 1.0)) for i in range(count)}
        self.links = {
            name: Connection(worker.exchange, self.replies) for name, worker in self.processes.items()
        }
        self._end = weakref.finalize(self, _end, list(self.processes.values()), list(self.links.values()))

    def members(self) -> dict[str, int]:
        there = {name for name, worker in self.processes.items() if worker.process.poll() is None}
        return {name: threads for name, threads in super().members().items() if name in there}

    def silence(self, worker: str) -> float:
        return min(super().silence(worker), time.monotonic() - self.processes[worker].heard)

    def close(self) -> None:
        self._end()


class WorkerProcess:
    """A worker as a program of its own, at the other end of two pipes."""

    def __init__(self, memory: int, pulse: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from descend.engines.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            start_new_session=True,  # Ctrl-C is for the caller, who lets the leaf be finished
        )
        self._settings: bytes | None = pickle.dumps((1, memory, sys.path, pulse))
        self.heard = time.monotonic()
        """When it last gave a sign of life: every `pulse` seconds while it works."""

    def exchange(self, message: bytes) -> bytes | None:
        """Send a message and wait for the answer; None where the process has ended."""
        inbox, outbox = self.process.stdin, self.process.stdout
        assert inbox is not None
        assert outbox is not None
        try:
            if self._settings is not None:
                send(inbox, self._settings)
                self._settings = None
            send(inbox, message)
            while (answer := receive(outbox)) == b"":
                self.heard = time.monotonic()
            return answer
        except (OSError, ValueError):
            return None

    def end(self) -> None:
        """Kill the process, which holds nothing that is worth a farewell, and wait for its end."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Close the pipes, when nobody reads from them any more."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # of what was still to be written
                pipe.close()  # type: ignore[union-attr]


def _end(workers: Sequence[WorkerProcess], links: Sequence[Connection]) -> None:
    for worker in workers:
        worker.end()
    for worker, link in zip(workers, links, strict=True):
        link.close(10.0)
        worker.close()
