"""Who gets which parts: even shares by rows and threads, contiguous at first, and few moves afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


class Shares:
    """Which worker has which parts: contiguous runs at first, and as few moves as may be afterwards.

    >>> shares = Shares([1] * 8)
    >>> shares.over({"a": 1, "b": 1})
    {'a': (0, 1, 2, 3), 'b': (4, 5, 6, 7)}
    >>> shares.over({"b": 1, "c": 1})
    {'b': (4, 5, 6, 7), 'c': (0, 1, 2, 3)}
    >>> shares.over({"b": 1, "c": 1, "d": 2})
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
