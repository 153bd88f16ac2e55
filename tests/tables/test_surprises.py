"""Surprises add up in any order, and say what they are."""

from __future__ import annotations

from itertools import permutations

from descend.tables.cells import Unknowns

PARTS = [
    Unknowns().add("level", "kind", 2, "c").add("number", "x", 1, "oops"),
    Unknowns().add("level", "kind", 1_000, "a"),
    Unknowns().add("target", "y", 3, "maybe").add("number", "x", 0, ""),
]


def test_they_add_up_in_any_order():
    sums = []
    for order in permutations(range(3)):
        total = Unknowns()
        for part in order:
            total.merge(PARTS[part])
        sums.append(total)
    assert all(total == sums[0] for total in sums)
    assert sums[0].levels == 1_002
    assert sums[0].found["level", "kind"] == (1_002, "a")


def test_they_say_what_they_are():
    total = Unknowns().merge(PARTS[0]).merge(PARTS[1]).merge(PARTS[2])
    levels, number, target = total.sentences()
    assert "`x` that are no numbers" in number
    assert levels.endswith("count as its reference: 1,002, 'a' for example")
    assert target == "rows with a `y` that the model does not know are left out: 3, 'maybe' for example"
