"""A Dask cluster as engine: one message to each worker per round, blocks kept in the workers' own memory.

Dask starts, finds, watches and restarts the workers; what they are sent is the work of `remote`, the
same as for `Processes`. A message goes to the worker that has the parts, past the queue of Dask's tasks,
which costs a tenth of a task. Blocks are never Dask's: what it moves between workers arrives unaligned,
and unaligned blocks have other last bits.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from descend.engines.connections import ConnectedPool, Connection, Reply
from descend.engines.remote import RemoteEngine, broadcast, check_versions
from descend.engines.worker import Task, Worker, environment, versions
from descend.errors import DescendError, EngineLostError, MissingExtraError, check_whole
from descend.machine import as_bytes, cores, processor

CONNECT_SECONDS = 20.0
BEAT = 5.0
"""Seconds between two signs of life that a worker gives its scheduler, at most."""
SHARE = 0.4
"""Of a worker's memory limit that blocks may take, unless `memory` says otherwise."""

BATCHES = (
    "`batch_size` on a cluster would take a message to every worker for every batch: 10 million rows in "
    "batches of 256 are a quarter of an hour of messages an epoch. Use `optimizer` local-steps, where each "
    "worker steps over its own rows and the weights are averaged, or one that works on all rows."
)
_making = threading.Lock()
_workers: weakref.WeakKeyDictionary[Any, Worker] = (
    weakref.WeakKeyDictionary()
)  # those of Dask in this process
log = logging.getLogger("descend")


class Cluster(RemoteEngine):
    """The workers of a Dask cluster: the same bits as `Threads`, whatever their number, whoever is lost.

    `address` is that of a scheduler, `tcp://host:8786`, or a `dask.distributed.Client`; without one a
    cluster of `workers` processes is started on this machine and ended afterwards. Paths of files must
    mean the same to every worker. `memory` is how many bytes of blocks each worker may keep, a number or a
    text such as "2GB"; 40 percent of its limit unless given. The parts of a worker that is lost, that gives no
    sign of life for `timeout` seconds, or that is as much and twice the time of the round behind, go to the
    others; a worker that joins gets parts at the next round. Needs `pip install "descend[cluster]"`.

    Raises `EngineLostError` where the scheduler or all workers are gone, and `DescendError` where the
    workers have other versions. The Dask project: Rocklin, Dask: Parallel Computation with Blocked
    algorithms and Task Scheduling (SciPy 2015).

    >>> import descend
    >>> run = descend.fit("flights/*.parquet", target="arr_delay",
    ...                   engine=Cluster("tcp://scheduler:8786"))  # doctest: +SKIP
    """

    refuses_batches: ClassVar[str] = BATCHES

    def __init__(
        self,
        address: Any = None,
        *,
        workers: int | None = None,
        memory: int | str | None = None,
        timeout: float = 60.0,
    ) -> None:
        super().__init__()
        self.address, self.workers = _parsed(address, workers)
        self.memory = None if memory is None else as_bytes(memory)
        if not timeout > 0:
            raise DescendError(f"`timeout` must be a number of seconds above 0, got {timeout!r}.")
        self.timeout = timeout
        self.elsewhere = self.address is not None

    def __repr__(self) -> str:
        return (
            f"Cluster({self.address!r})" if self.address is not None else f"Cluster(workers={self.workers})"
        )

    def start(self) -> ClusterPool:
        distributed = _distributed()
        if isinstance(self.address, distributed.Client):
            return ClusterPool(self.address, self.memory, self.timeout)
        own = None if self.address is not None else LocalProcesses(self.workers or cores())
        client = None
        try:
            client = _connected(own.address if own else self.address)
            if own is not None:
                _wait_for_workers(client, own.count, 60.0)
            return ClusterPool(client, self.memory, self.timeout, own, mine=True)
        except BaseException:
            if client is not None:
                client.close(timeout=2)
            if own is not None:
                own.close()
            raise


def cluster(argument: str, memory: int | str | None) -> Cluster:
    """`--engine cluster:ADDRESS`."""
    if not argument:
        raise DescendError("`engine` cluster needs an address: cluster:tcp://host:8786, or cluster:local:4.")
    return Cluster(argument, memory=memory)


def _parsed(address: Any, workers: int | None) -> tuple[Any, int | None]:
    """The address, None for one of our own, and the number of workers to start then."""
    if isinstance(address, str) and (address == "local" or address.startswith("local:")):
        count = address.removeprefix("local").removeprefix(":")
        if count and not count.isdecimal():
            raise DescendError(
                f"a local cluster is `local` or `local:` and a number of workers, got {address!r}."
            )
        address, workers = None, int(count) if count else workers
    if address is not None and workers is not None:
        raise DescendError(
            "`workers` is for a cluster of your own on this machine; this one has its workers."
        )
    if workers is not None:
        check_whole("workers", workers)
    if isinstance(address, str) and "://" not in address:
        raise DescendError(
            f"`Cluster` takes the address of a scheduler, tcp://host:8786, local[:N] or a Client, got {address!r}."
        )
    return address, workers


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(
            'a cluster needs Dask, which is not installed: pip install "descend[cluster]".'
        ) from error
    return distributed


def _connected(address: str) -> Any:
    """A client of this scheduler."""
    try:
        return _distributed().Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise EngineLostError(f"no scheduler answers at {address}: {error}.") from error


def _wait_for_workers(client: Any, count: int, seconds: float) -> None:
    try:
        client.wait_for_workers(count, timeout=seconds)
    except TimeoutError as error:
        raise EngineLostError(
            f"the scheduler at {client.scheduler.address} has fewer than {count} worker(s) after {seconds:g} s: "
            "start some, `dask worker ADDRESS`."
        ) from error


def keep_scratch() -> None:
    """Let the C library keep what kernels free and ask for again at once, up to 64 MB.

    Dask's nannies set `MALLOC_TRIM_THRESHOLD_`, with which glibc gives every array of a leaf's length back
    to the kernel: a gradient then takes 2.6 times as long. Blocks, above 1 MB, are given back as before.
    """
    trim, mmap = -1, -3  # of malloc.h; other C libraries have no such call, and no need of it
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap, 1 << 20)
        library.mallopt(trim, 1 << 26)


async def perform(message: bytes, budget: int | None, dask_worker: Any) -> bytes:
    """Answer a message on a worker of Dask, in the threads that its tasks have too."""
    with _making:
        worker = _workers.get(dask_worker)
        if worker is None or (budget is not None and worker.budget != budget):
            if "polars" not in sys.modules:  # which counts the cores of the machine otherwise
                os.environ.setdefault("POLARS_MAX_THREADS", str(dask_worker.state.nthreads))
            keep_scratch()
            limit = dask_worker.memory_manager.memory_limit
            default = int(SHARE * limit) if limit else Worker().budget
            worker = Worker(dask_worker.state.nthreads, default if budget is None else budget)
            _workers[dask_worker] = worker
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(dask_worker.executors["default"], worker.perform, message)


class ClusterPool(ConnectedPool):
    """The workers that the scheduler knows, and a link to each."""

    def __init__(
        self,
        client: Any,
        memory: int | None,
        timeout: float,
        own: LocalProcesses | None = None,
        mine: bool = False,
    ) -> None:
        super().__init__(timeout)
        self.client, self.memory, self.own, self.mine = client, memory, own, mine
        self.fault: Any = None
        """What a worker has said instead of an answer."""
        self._seen: dict[str, Any] = {}
        _wait_for_workers(client, 1, timeout)
        log.info("workers %s of the cluster at %s", ", ".join(self.members()), client.scheduler.address)
        if own is None:
            log.info("dashboard at %s", client.dashboard_link)

    def members(self) -> dict[str, int]:
        """The workers that are there now; one that has joined is asked for its versions first."""
        there = self._there()
        for name in [name for name in self.links if name not in there]:
            self.links.pop(name).close(0.0)
        new = {name: threads for name, threads in there.items() if name not in self.links}
        for name, threads in new.items():
            self.links[name] = Connection(partial(self._exchange, name), self.replies, threads)
        if new:
            self._greet(list(new))
        return super().members()

    def _greet(self, new: list[str]) -> None:
        """Compare versions: a worker that has others is refused, when the run begins with an error."""
        found = broadcast(_Plain(self), Task("hello"), new, self.timeout)
        first = not self.processors
        for name, there in found.items():
            try:
                self.processors |= check_versions({name: there}, versions())
            except DescendError as error:
                if first:
                    raise
                log.warning("worker %s has joined and is left out: %s", name, error)
                self.links[name].gone = True
        types = self.processors | {processor()}
        if len(types) > 1:
            log.warning(
                "processors of several types, %s: sums agree to rounding, not to the bit. "
                "OPENBLAS_CORETYPE=Haswell for the caller and all workers makes them alike.",
                ", ".join(sorted(types)),
            )
        if first and not found and self.fault is not None:
            raise EngineLostError(f"no worker can run descend: {self.fault}. Install it there too.")

    def _there(self) -> dict[str, int]:
        if self.client.status != "running":
            raise EngineLostError("the scheduler of the cluster is gone.")
        try:
            found = self.client.sync(self.client.scheduler.identity, callback_timeout=self.timeout + BEAT)
        except (OSError, ValueError, TimeoutError) as error:
            raise EngineLostError(f"the scheduler of the cluster is gone: {error}.") from error
        for name, link in self.links.items():
            seen = found["workers"].get(name, {}).get("last_seen")
            if seen != self._seen.get(name):
                self._seen[name], link.heard = seen, time.monotonic()
        return {name: int(facts["nthreads"]) for name, facts in found["workers"].items()}

    def silence(self, worker: str) -> float:
        return super().silence(worker) - BEAT

    def _exchange(self, name: str, message: bytes) -> bytes | None:
        try:
            found = self.client.run(perform, message, self.memory, workers=[name], on_error="return")
        except Exception:  # whatever becomes of a client whose scheduler has gone
            return None
        answer = found.get(name)
        if isinstance(answer, bytes):
            return answer
        self.fault = answer
        return None

    def wait(self, seconds: float) -> list[Reply]:
        replies = super().wait(seconds) if self.links else []
        if not replies:
            there = self._there()
            for name, link in self.links.items():
                if name not in there and not link.gone:
                    link.abandon()
        return replies

    def close(self) -> None:
        if self.own is None:
            super().close()  # what was sent last has arrived then
        if self.mine:
            self.client.close(timeout=2)
        if self.own is not None:
            super().close()
            self.own.close()


class _Plain:
    """A pool whose members are those it has, without asking the scheduler again."""

    def __init__(self, pool: ClusterPool) -> None:
        self.pool, self.timeout, self.processors = pool, pool.timeout, pool.processors
        self.send, self.suspect, self.close, self.silence = pool.send, pool.suspect, pool.close, pool.silence

    def members(self) -> dict[str, int]:
        return ConnectedPool.members(self.pool)

    def wait(self, seconds: float) -> list[Reply]:
        return ConnectedPool.wait(self.pool, seconds)


class LocalProcesses:
    """A scheduler and workers of our own on this machine, each a process that ends with this handle.

    They are programs of their own, listening on the loopback only, so a script needs no main guard.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.folder = tempfile.TemporaryDirectory(prefix="descend-cluster-", ignore_cleanup_errors=True)
        note = Path(self.folder.name) / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self._end = weakref.finalize(self, _end, self.processes, self.folder)
        self.start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(note)
        )
        self.address = self._address(note)
        for _ in range(count):
            self.add_worker()

    def add_worker(self) -> subprocess.Popen[bytes]:
        """One worker more."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        return self.start("worker", self.address, *options, "--local-directory", self.folder.name)

    def start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a scheduler or a worker."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dask", what, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def _address(self, note: Path) -> str:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.processes[0].poll() is None:
            try:
                return str(json.loads(note.read_text())["address"])
            except (OSError, ValueError):
                time.sleep(0.02)
        self.close()
        raise EngineLostError("a scheduler of our own did not come up on this machine.")

    def close(self) -> None:
        """End all processes and delete what they have written."""
        self._end()


def _end(processes: list[subprocess.Popen[bytes]], folder: tempfile.TemporaryDirectory[str]) -> None:
    for process in reversed(processes):
        process.kill()
        process.wait()
    folder.cleanup()
