"""The cache of a worker: what its parts have been decoded to, within a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


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
