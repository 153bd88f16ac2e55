"""What rows hold that an encoding cannot take as it is: how many cells of each column, and one of them."""

from __future__ import annotations

from dataclasses import dataclass, field

SENTENCES = {
    "level": "cells of `{column}` with a level that the model has never seen count as its reference",
    "number": "cells of `{column}` that are no numbers count as missing",
    "target": "rows with a `{column}` that the model does not know are left out",
}


@dataclass
class Surprises:
    """Counts and examples by kind and column; they add up, in whatever order they come.

    >>> found = Surprises().add("number", "age", 2, "old").add("number", "age", 1, "n/a")
    >>> found.sentences()
    ["cells of `age` that are no numbers count as missing: 3, 'n/a' for example"]
    """

    found: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def add(self, kind: str, column: str, count: int, example: str) -> Surprises:
        """Note `count` cells, if there are any; of all examples the first in order of the alphabet stays."""
        if count:
            known = self.found.get((kind, column), (0, example))
            self.found[kind, column] = known[0] + count, min(known[1], example)
        return self

    def merge(self, other: Surprises) -> Surprises:
        """Both together, in the memory of this one."""
        for (kind, column), (count, example) in other.found.items():
            self.add(kind, column, count, example)
        return self

    @property
    def levels(self) -> int:
        """Cells with a level that was never seen."""
        return sum(count for (kind, _), (count, _) in self.found.items() if kind == "level")

    def sentences(self) -> list[str]:
        """One for each kind and column."""
        return [
            f"{SENTENCES[kind].format(column=column)}: {count:,}, {example!r} for example"
            for (kind, column), (count, example) in sorted(self.found.items())
        ]
