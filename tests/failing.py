"""Statistics that fail where they are summed, one with an error that cannot travel."""

from __future__ import annotations

from descend.errors import DataError
from descend.objectives.statistics import TargetSum


class Fails(TargetSum):
    def of(self, block, params=None):
        raise DataError("row 7 is broken")


class Unsendable(Exception):
    """Can be pickled, and not unpickled: also where `distributed` has taught pickle about every exception."""

    def __init__(self, a, b):
        super().__init__(f"{a} {b}")

    def __reduce__(self):
        return Unsendable, (str(self),)


class FailsOddly(TargetSum):
    def of(self, block, params=None):
        raise Unsendable("what", "now")
