"""Wall times of several ways to do one thing, taken in turns, so that a ratio compares like with like."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Seconds of each round, in order."""

    seconds: tuple[float, ...]

    def __str__(self) -> str:
        return spread(self.seconds, " s")

    def ratio_to(self, other: Times) -> str:
        """How many times as long as `other`: the median over rounds, and the range."""
        return spread([a / b for a, b in zip(self.seconds, other.seconds, strict=True)], "x")


def spread(values: list[float] | tuple[float, ...], unit: str) -> str:
    """Median (smallest to largest)."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.3g}{unit} ({low:.3g} to {high:.3g})" if len(values) > 1 else f"{middle:.3g}{unit}"


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Times]:
    """Each way once unmeasured, then once a round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            if number:
                taken[name].append(time.perf_counter() - start)
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table, first column to the left and the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
