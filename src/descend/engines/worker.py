"""What a worker does, whichever engine has started it: sums over its own parts, kept in a cache of its own.

A worker answers messages one at a time. It learns parts, sums a statistic over those that a message
numbers, folds the leaves along the fixed tree, and sends back the few branches that are left. As a
program of its own (`main`) it speaks over its standard input and output; see `processes`.
"""

from __future__ import annotations

import os
import pickle
import platform
import struct
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

import descend
from descend.engines.blocks import Handle, Leaf, Parts
from descend.engines.engine import ThreadSession
from descend.errors import DescendError
from descend.machine import memory_budget, processor


class Task(NamedTuple):
    """A message to a worker."""

    verb: str
    """`reduce`, `chain` or `map`; or `hello`, `forget`."""
    run: str = ""
    session: str = ""
    numbers: tuple[int, ...] = ()
    """The parts to work on, in order."""
    order: bytes = b""
    """The `TaskSpec` in bytes: the same for every worker."""
    parts: dict[int, Any] = {}  # noqa: RUF012  a message is never changed
    """Handles that the worker may not have seen yet."""


class Answer(NamedTuple):
    """A message from a worker: `done`, `failed` with an exception, or `lacking` parts."""

    verb: str
    value: Any = None


@dataclass
class Worker:
    """The parts, the cache and the threads of one worker."""

    threads: int = 1
    budget: int = field(default_factory=memory_budget)
    parts: dict[tuple[str, str], dict[int, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cache = Cache(self.budget)

    def perform(self, message: bytes) -> bytes:
        """Answer a message; what goes wrong is the answer too."""
        try:
            answer = self.answer(pickle.loads(message))
            return pickle.dumps(answer, protocol=5)
        except Exception as error:
            return pickle.dumps(Answer("failed", _sendable(error)), protocol=5)

    def answer(self, task: Task) -> Answer:
        """Do what a task asks."""
        if task.verb == "hello":
            return Answer("done", versions())
        if task.verb == "forget":
            self.forget(task.run, task.session)
            return Answer("done")
        known = self.parts.setdefault((task.run, task.session), {})
        known.update(task.parts)
        lacking = [number for number in task.numbers if number not in known]
        if lacking:
            return Answer("lacking", lacking)
        what, params, leaves = unpacked(task.order)
        params = aligned(params)
        shelf = Shelf(self.cache, task.run)
        opened = [part.open(shelf) for part in joined(known, task.numbers)]
        with ThreadSession(Parts(opened), self.threads) as session:
            if task.verb == "reduce":
                return Answer("done", session.fold(what, params, leaves).waiting)
            if task.verb == "chain":
                return Answer("done", session.chain(what, params))
            return Answer("done", list(session.map(_Indexed(what))))

    def forget(self, run: str, session: str) -> None:
        """Drop a session, or where none is named a run and all that was kept for it."""
        for key in [key for key in self.parts if key[0] == run and session in ("", key[1])]:
            del self.parts[key]
        if not session:
            self.cache.forget(run)


@dataclass(frozen=True)
class _Indexed:
    """A writer's value of a leaf, beside the index of the leaf."""

    writer: Any

    def __call__(self, leaf: Leaf) -> tuple[int, Any]:
        return leaf.index, self.writer(leaf)


def joined(parts: dict[int, Handle], numbers: Iterable[int]) -> Iterator[Handle]:
    """The parts of these numbers, those that follow one another as one: a single scan reads them."""
    last: Handle | None = None
    for number in numbers:
        part = parts[number]
        both = None if last is None else last.joined(part)
        if both is None and last is not None:
            yield last
        last = part if both is None else both
    if last is not None:
        yield last


def aligned(params: Any) -> Any:
    """Arrays that begin where the processor wants them: others take another path through NumPy, to other bits."""
    if isinstance(params, np.ndarray) and not (params.flags.aligned and params.flags.c_contiguous):
        return np.array(params, order="C")
    return params


def versions() -> dict[str, str]:
    """What must be the same everywhere, and the processor, whose type the bits depend on."""
    packages = {name: version(name) for name in ("numpy", "polars", "scipy")}
    return {
        "descend": descend.__version__,
        **packages,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "processor": processor(),
    }


def environment() -> dict[str, str]:
    """The environment of a worker of one thread here: the caller's modules, polars and BLAS on that thread."""
    one = dict.fromkeys(("POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    path = [str(Path(descend.__file__).parent.parent), *map(os.path.abspath, sys.path)]
    return {**os.environ, **one, "PYTHONPATH": os.pathsep.join(path)}


def _sendable(error: Exception) -> Exception:
    """The error, or its words where it does not survive being pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write a message: its length, then itself."""
    pipe.write(struct.pack("<Q", len(message)))
    pipe.write(message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Read a message, None where the other side has gone."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack("<Q", head)
    message = pipe.read(length)
    return message if len(message) == length else None


def main() -> None:
    """Answer messages from standard input until it ends; what is printed goes to standard error."""
    inbox, outbox = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    settings = receive(inbox)
    if settings is None:
        return
    threads, budget, path, seconds = pickle.loads(settings)
    sys.path[:] = path
    worker, pulse = Worker(threads, budget), Pulse(outbox, seconds)
    while (message := receive(inbox)) is not None:
        pulse.busy.set()
        answer = worker.perform(message)
        with pulse.lock:
            pulse.busy.clear()
            try:
                send(outbox, answer)
            except BrokenPipeError:
                return


class Pulse(threading.Thread):
    """Sends an empty message every so many seconds while the worker is busy: it is alive."""

    def __init__(self, outbox: IO[bytes], seconds: float) -> None:
        super().__init__(daemon=True)
        self.outbox, self.seconds = outbox, seconds
        self.busy, self.lock = threading.Event(), threading.Lock()
        self.start()

    def run(self) -> None:
        """Beat until the other side has gone."""
        with suppress(OSError):
            while self.busy.wait():
                time.sleep(self.seconds)
                with self.lock:
                    if self.busy.is_set():
                        send(self.outbox, b"")


class Cache:
    """Values by run and key. What does not fit drops what other runs have used least recently.

    A run never drops what is its own: it goes through its rows in the same order pass after pass, so
    dropping the least recent of them would drop each just before it is asked for again. What is not
    kept is decoded again.

    >>> cache = Cache(budget=10)
    >>> cache.put("run", "a", "rows", 6), cache.put("run", "b", "rows", 6)
    (True, False)
    >>> cache.put("another run", "b", "rows", 6), cache.get("run", "a")
    (True, None)
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.held = 0
        """Bytes held."""
        self._lock = threading.Lock()
        self._items: OrderedDict[tuple[str, Hashable], tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, run: str, key: Hashable) -> Any:
        """The value, None where it is not kept."""
        with self._lock:
            item = self._items.get((run, key))
            if item is None:
                return None
            self._items.move_to_end((run, key))
            return item[0]

    def put(self, run: str, key: Hashable, value: Any, size: int) -> bool:
        """Keep a value of `size` bytes; return whether there was room for it."""
        with self._lock:
            if (run, key) in self._items:
                return True
            own = (
                sum(n for (owner, _), (_, n) in self._items.items() if owner == run)
                if self._full(size)
                else 0
            )
            if own + size > self.budget:
                return False
            while self._full(size):
                oldest = next(k for k in self._items if k[0] != run)
                self.held -= self._items.pop(oldest)[1]
            self._items[run, key] = value, size
            self.held += size
            return True

    def pop(self, run: str, key: Hashable) -> Any:
        """Give a value away, None where it is not kept."""
        with self._lock:
            item = self._items.pop((run, key), None)
            if item is None:
                return None
            self.held -= item[1]
            return item[0]

    def forget(self, run: str) -> None:
        """Drop everything of a run."""
        with self._lock:
            for key in [key for key in self._items if key[0] == run]:
                self.held -= self._items.pop(key)[1]

    def _full(self, size: int) -> bool:
        return self.held + size > self.budget


@dataclass(frozen=True)
class Shelf:
    """The part of a cache that belongs to one run."""

    cache: Cache
    run: str

    def get(self, key: Hashable) -> Any:
        """The value, None where it is not kept."""
        return self.cache.get(self.run, key)

    def put(self, key: Hashable, value: Any, size: int) -> bool:
        """Keep a value of `size` bytes; return whether there was room for it."""
        return self.cache.put(self.run, key, value, size)

    def pop(self, key: Hashable) -> Any:
        """Give a value away, None where it is not kept."""
        return self.cache.pop(self.run, key)


class TaskSpec(NamedTuple):
    """What to do, at which parameters, on which leaves."""

    name: str
    """Module and class."""
    settings: Mapping[str, Any] | None
    """The values of the fields by name; None where the class itself does it."""
    params: Any = None
    leaves: frozenset[int] | None = None
    """All unless named."""

    @staticmethod
    def of(what: Any, params: Any = None, leaves: frozenset[int] | None = None) -> TaskSpec:
        """The order for a dataclass, or for one of its instances. Raises `DescendError` for anything else.

        >>> from descend.objectives.statistics import TargetSum
        >>> TaskSpec.of(TargetSum(classes=3))[:2]
        ('descend.objectives.statistics:TargetSum', {'classes': 3})
        """
        kind = what if isinstance(what, type) else type(what)
        if not is_dataclass(kind) or "<locals>" in kind.__qualname__:
            raise DescendError(
                f"workers are told by name what to do, and {what!r} has none that they could look up. "
                "Write statistics as dataclasses at the top of a module, not as a function or a lambda."
            )
        settings = None if what is kind else {f.name: getattr(what, f.name) for f in fields(kind) if f.init}
        return TaskSpec(f"{kind.__module__}:{kind.__qualname__}", settings, params, leaves)

    def made(self) -> Any:
        """The class, or an instance of it with these settings."""
        module, _, name = self.name.partition(":")
        kind = getattr(import_module(module), name)
        return kind if self.settings is None else kind(**self.settings)


def packed(message: Any) -> bytes:
    """A message as bytes. Raises `DescendError` where a value in it cannot leave this process."""
    try:
        return pickle.dumps(message, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DescendError(
            f"workers get losses and parameters by value, and this one does not go: {error}. "
            "Define losses in a module, not in a function and not as a lambda."
        ) from error


def unpacked(message: bytes) -> tuple[Any, Any, frozenset[int] | None]:
    """What to do, parameters and leaves. Raises `DescendError` where this process lacks the code that is named."""
    try:
        order: TaskSpec = pickle.loads(message)
        return order.made(), order.params, order.leaves
    except (ImportError, AttributeError) as error:
        raise DescendError(
            f"a worker cannot import what it is to do: {error}. Losses and statistics of your own must be "
            "in a module that every worker can import, not in a script or a notebook."
        ) from error
