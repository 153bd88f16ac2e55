"""Processes of this machine as workers: a crash of one does not end the run, and they share no lock.

Workers are started as programs of their own (`descend.worker`), never forked, and never import
the caller's main module; messages go through their standard input and output.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import descend
from descend.engines import cores
from descend.errors import DescendError, EngineLostError
from descend.remote import RemoteEngine, Reply
from descend.spool import as_bytes, memory_budget
from descend.worker import receive, send


class Processes(RemoteEngine):
    """Leaves shared by processes, one per core unless `count` says otherwise; the same bits as `Threads`.

    `memory` is how many bytes of blocks each may keep, a number or a text such as "500MB"; a quarter of
    the machine's memory for all together unless given. The parts of a process that is killed, or that is
    more than `timeout` seconds behind the first to answer, go to the others. A `with` block around
    several fits keeps the processes between them, which saves starting them again.

    >>> from descend.objective import Objective
    >>> x, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
    >>> with Processes(1) as engine:
    ...     Objective.of(x, y, engine=engine).minimizer().round(9).tolist()
    [2.0, 1.0]
    """

    def __init__(
        self, count: int | None = None, *, memory: int | str | None = None, timeout: float = 60.0
    ) -> None:
        super().__init__()
        if count is not None and count < 1:
            raise DescendError(f"`count` of Processes must be at least 1, got {count!r}.")
        if not timeout > 0:
            raise DescendError(f"`timeout` must be a number of seconds above 0, got {timeout!r}.")
        self.count = cores() if count is None else count
        self.memory = memory_budget() // self.count if memory is None else as_bytes(memory)
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"Processes({self.count})"

    def start(self) -> ProcessPool:
        return ProcessPool(self.count, self.memory, self.timeout)


class ProcessPool:
    """Some worker processes; each has a thread here that writes its tasks and reads its answers."""

    def __init__(self, count: int, memory: int, timeout: float) -> None:
        self.timeout = timeout
        self.replies: queue.Queue[Reply] = queue.Queue()
        self.workers = {f"process {i}": WorkerProcess(memory, self.replies) for i in range(count)}
        self._end = weakref.finalize(self, _end, list(self.workers.values()))

    def members(self) -> dict[str, int]:
        return {name: 1 for name, worker in self.workers.items() if worker.answers}

    def send(self, worker: str, ticket: str, message: bytes) -> None:
        self.workers[worker].tasks.put((ticket, message))

    def wait(self, seconds: float) -> list[Reply]:
        if not any(worker.alive for worker in self.workers.values()) and self.replies.empty():
            raise EngineLostError("all worker processes are gone: were they killed for want of memory?")
        try:
            return [self.replies.get(timeout=seconds)]
        except queue.Empty:
            return []

    def suspect(self, worker: str) -> None:
        self.workers[worker].suspected = True

    def close(self) -> None:
        self._end()


class WorkerProcess:
    """One process and the thread that talks to it."""

    def __init__(self, memory: int, replies: queue.Queue[Reply]) -> None:
        self.suspected, self.broken = False, False
        self.tasks: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        one = dict.fromkeys(("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        path = os.pathsep.join([str(Path(descend.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from descend.worker import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **one, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the caller, who lets the leaf be finished
        )
        self.tasks.put(("", pickle.dumps((1, memory, sys.path))))
        self.thread = threading.Thread(target=self._talk, args=(replies,), name="descend-worker", daemon=True)
        self.thread.start()

    @property
    def alive(self) -> bool:
        return not self.broken and self.process.poll() is None

    @property
    def answers(self) -> bool:
        """Whether it may be given work."""
        return self.alive and not self.suspected

    def _talk(self, replies: queue.Queue[Reply]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        while (task := self.tasks.get()) is not None:
            ticket, message = task
            try:
                send(self.process.stdin, message)  # type: ignore[arg-type]
                content = receive(self.process.stdout) if ticket else None  # type: ignore[arg-type]
            except (OSError, ValueError):
                content = None
            if not ticket:
                continue
            self.suspected, self.broken = False, content is None
            replies.put(Reply(ticket, content))

    def end(self) -> None:
        """Kill the process, which holds nothing that is worth a farewell, and wait for it and the thread."""
        self.process.kill()
        self.process.wait()
        self.tasks.put(None)
        if self.thread is not threading.current_thread():
            self.thread.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # of what was still to be written
                pipe.close()  # type: ignore[union-attr]


def _end(workers: Sequence[WorkerProcess]) -> None:
    for worker in workers:
        worker.end()
