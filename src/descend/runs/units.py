"""The units that a descent goes through, and the way back to those of the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from descend.descent.history import Step
from descend.objectives.coordinates import Coordinates
from descend.objectives.objective import Objective


class DataUnits:
    """No change: the descent is in the units of the rows as they are."""

    def taken_to(
        self, objective: Objective, validation: Objective | None, start: Any
    ) -> tuple[Objective, Objective | None, Any]:
        """Both objectives and the start of a descent in these units."""
        return objective, validation, start

    def there(self, step: Step) -> Step:
        """A step whose weights are in the units of the data, with those of the descent."""
        return step

    def walk_back(self, walk: Iterator[Step]) -> Iterator[Step]:
        """The steps of a walk in these units, with weights in the units of the data."""
        return walk


@dataclass(frozen=True)
class StandardUnits(DataUnits):
    """Standardised columns."""

    coordinates: Coordinates

    def taken_to(
        self, objective: Objective, validation: Objective | None, start: Any
    ) -> tuple[Objective, Objective | None, Any]:
        units = self.coordinates
        if start is not None:
            start = units.to_descent(objective.check_weights(start))
        valid = None if validation is None else validation.in_coordinates(units)
        return objective.in_coordinates(units), valid, start

    def there(self, step: Step) -> Step:
        return step._replace(weights=self.coordinates.to_descent(step.weights))

    def walk_back(self, walk: Iterator[Step]) -> Iterator[Step]:
        for step in walk:
            with np.errstate(over="ignore", invalid="ignore"):  # of a walk that leaves for infinity
                weights = self.coordinates.to_original(step.weights)
            yield step._replace(weights=weights)


def units_of(objective: Objective, standardize: bool, in_batches: bool) -> DataUnits:
    """Those that a descent on this objective goes through."""
    return StandardUnits(Coordinates.of(objective, in_batches)) if standardize else DataUnits()
