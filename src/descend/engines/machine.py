"""BLAS: which processor it has picked its kernels for, and how it is held to one thread."""

from __future__ import annotations

import platform
import threading
from functools import cache
from typing import Any

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
    """BLAS held to one thread while somebody needs it so, and given back by the last who did."""

    def __init__(self) -> None:
        self.lock, self.holders, self.limit = threading.Lock(), 0, None

    def hold(self) -> None:
        """Hold it, until `release` has been called as often."""
        with self.lock:
            self.holders += 1
            if self.holders == 1:
                self.limit = _controller().limit(limits=1, user_api="blas")

    def release(self) -> None:
        """The counterpart of `hold`."""
        with self.lock:
            self.holders -= 1
            if self.holders == 0 and self.limit is not None:
                self.limit.restore_original_limits()
                self.limit = None


single_threaded = SingleThreaded()
