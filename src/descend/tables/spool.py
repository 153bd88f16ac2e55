"""The spool: blocks kept for later passes, in memory while a budget lasts, then in one temporary file."""

from __future__ import annotations

import os
import pickle
import re
import threading

import numpy as np

from descend.engines.blocks import Block
from descend.errors import DescendError
from descend.files import TemporaryFile

ALIGNMENT = 64
"""Arrays start at multiples of this many bytes in the file, so that they are aligned when read back."""

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}

Pair = tuple[Block | None, Block | None]
"""Training and validation rows of one leaf."""


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


class Spool:
    """Pairs of blocks by the index of their leaf: `put` in any order, `get` any of them, from any thread.

    Blocks go to memory until they hold `budget` bytes, and beyond it as raw bytes to one temporary
    file, which is deleted when the spool is closed or forgotten. Raises `DataError` on a full disk.

    >>> spool = Spool(budget=0)
    >>> spool.put(0, (Block(np.ones((2, 1)), np.arange(2.0)), None))
    >>> spool.get(0)[0].y, len(spool), spool.memory
    (array([0., 1.]), 1, 0)
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.memory = 0
        """Bytes held in memory."""
        self.written = 0
        """Bytes in the file."""
        self._lock = threading.Lock()
        self._pairs: dict[int, Pair] = {}
        self._places: dict[int, tuple[int, list[int]]] = {}
        self._file: TemporaryFile | None = None

    def __len__(self) -> int:
        return len(self._pairs) + len(self._places)

    def __contains__(self, index: int) -> bool:
        return index in self._pairs or index in self._places

    def fits(self, pair: Pair) -> bool:
        """Whether the pair still fits in memory."""
        return self.memory + pair_bytes(pair) <= self.budget

    def put(self, index: int, pair: Pair) -> None:
        """Keep the blocks of a leaf; one that is there already is left as it is."""
        with self._lock:
            if index in self:
                return
            if self.fits(pair):
                self.memory += pair_bytes(pair)
                self._pairs[index] = pair
            else:
                self._places[index] = self._write(pair)

    def get(self, index: int) -> Pair:
        """The blocks of a leaf. Raises `KeyError` where it was never put."""
        pair = self._pairs.get(index)
        return self._read(*self._places[index]) if pair is None else pair

    def close(self) -> None:
        """Forget all blocks and delete the file."""
        with self._lock:
            self._pairs, self._places, self.memory = {}, {}, 0
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, pair: Pair) -> tuple[int, list[int]]:
        """Append the arrays of a pair to the file; return where they start, and the length of each."""
        if self._file is None:
            self._file = TemporaryFile(".blocks")
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(pair, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        start = self.written
        with self._file.writing(), self._file.path.open("ab") as file:
            for part in parts:
                file.write(part)
                file.write(bytes(_padded(part.nbytes) - part.nbytes))
                self.written += _padded(part.nbytes)
        return start, [part.nbytes for part in parts]

    def _read(self, start: int, lengths: list[int]) -> Pair:
        """The inverse of `_write`; a handle of its own lets threads read side by side."""
        assert self._file is not None
        content = np.empty(sum(map(_padded, lengths)), dtype=np.uint8).data
        with self._file.path.open("rb", buffering=0) as file:
            file.seek(start)
            read = 0
            while read < len(content):
                read += file.readinto(content[read:]) or _cut_short(self._file)
        ends = np.cumsum([0, *map(_padded, lengths)]).tolist()
        head, *parts = (content[a : a + n] for a, n in zip(ends, lengths, strict=False))
        pair: Pair = pickle.loads(head, buffers=parts)
        return pair


def pair_bytes(pair: Pair) -> int:
    """Bytes that both blocks hold."""
    return sum(block.nbytes for block in pair if block is not None)


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _cut_short(file: TemporaryFile) -> int:
    raise DescendError(f"the temporary file {file.path.name!r} was changed while it was in use.")
