"""This machine: its cores and memory, the processor that BLAS has picked its kernels for, and BLAS held to one thread."""

from __future__ import annotations

import os
import platform
import re
import sys
import threading
from collections import deque
from functools import cache
from typing import Any

from descend.errors import DescendError

SMALL_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""Processors with AVX-512, for which OpenBLAS has a kernel of its own for small products."""


@cache
def _controller() -> Any:
    """The BLAS libraries of this process, looked for once: the search takes milliseconds."""
    import scipy.linalg.lapack  # noqa: F401  brings its own BLAS, which must be held too
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@cache
def processor() -> str:
    """The type of processor that BLAS has picked its kernels for: the same bits are promised per type.

    >>> processor() == processor()
    True
    """
    found = {str(library.get("architecture") or "") for library in _controller().info()} - {""}
    return " ".join(sorted(found)) or platform.machine()


def has_small_kernels() -> bool:
    """Whether many small products take less time than a large one of as many rows.

    >>> has_small_kernels() in (False, True)
    True
    """
    return processor() in SMALL_KERNELS


class SingleThreaded:
    """BLAS of the whole process held to one thread while somebody needs it so, and given back by the last who did.

    Whichever thread asks: threadpoolctl 3.8 lets but one thread at a time set OpenBLAS, and takes no notice of others.
    """

    def __init__(self) -> None:
        self.lock, self.holders = threading.Lock(), 0
        self.before: list[tuple[Any, int]] = []
        self.forgotten: deque[None] = deque()

    def hold(self) -> None:
        """Hold it, until `release` has been called as often."""
        with self.lock:
            self.holders += 1
            if self.holders == 1:
                libraries = [each for each in _controller().lib_controllers if each.user_api == "blas"]
                self.before = [(each, each.num_threads) for each in libraries]
                for library in libraries:
                    _set_threads(library, 1)

        self._settle()

    def release(self) -> None:
        """The counterpart of `hold`."""
        with self.lock:
            self._release()
        self._settle()

    def forget(self) -> None:
        """The counterpart of `hold` for a holder that nobody has closed; may come at any time, while the lock is held too."""
        self.forgotten.append(None)
        self._settle()

    def _release(self) -> None:
        self.holders -= 1
        if self.holders == 0:
            for library, count in self.before:
                _set_threads(library, count)

    def _settle(self) -> None:
        """Release what was forgotten, unless the lock is held: whoever holds it does so then."""
        while self.forgotten and self.lock.acquire(blocking=False):
            try:
                if self.forgotten:
                    self.forgotten.popleft()
                    self._release()
            finally:
                self.lock.release()


def _set_threads(library: Any, count: int) -> None:
    """Set the threads of a BLAS library, past the rule of threadpoolctl 3.8 for OpenBLAS."""
    getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


single_threaded = SingleThreaded()


UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def memory_budget() -> int:
    """Bytes that blocks may take: a quarter of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):
        return 1 << 30


def as_bytes(memory: int | str | None) -> int:
    """A number of bytes, a text such as "500MB" or "2 GB", or None for a quarter of the machine's.

    >>> as_bytes("500MB"), as_bytes("1.5 GB"), as_bytes(1024)
    (500000000, 1500000000, 1024)
    """
    if memory is None:
        return memory_budget()
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(memory))
    if match is None or match[2].lower() not in UNITS:
        raise DescendError(
            f"`memory` must be a number of bytes, or a text such as 500MB or 2GB, got {memory!r}."
        )
    return int(float(match[1]) * UNITS[match[2].lower()])


def cores() -> int:
    """The number of cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
