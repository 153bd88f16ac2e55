"""Schedules: the learning rate as a function of the step's number."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from descend.errors import DescendError

Rate: TypeAlias = float | Literal["auto"]


class Schedule(ABC):
    """What an optimizer asks of a schedule. `rate` is its highest learning rate, or "auto"."""

    name: ClassVar[str]
    rate: Rate

    @abstractmethod
    def factor(self, number: int) -> float:
        """What step `number` (0 is the first) multiplies `rate` by."""

    def planned(self, steps: int | None) -> Schedule:
        """The schedule with the length of the run filled in, where it needs one and has none."""
        return self


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate at every step: `rate`, a number above 0 or "auto", what the optimizer finds to be safe.

    Raises `DescendError` for another `rate`.

    >>> Constant(0.1).factor(7)
    1.0
    """

    rate: Rate = "auto"
    name: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def factor(self, number: int) -> float:
        return 1.0

    def planned(self, steps: int | None) -> Constant:
        return self


@dataclass(frozen=True)
class InverseTime(Schedule):
    """`rate / (1 + decay * number)`: the decay under which stochastic descent settles down.

    `number` counts steps from 0. `rate` is a number above 0 or "auto", `decay` at least 0; raises `DescendError`
    otherwise. Robbins and Monro (1951); Bottou, Curtis and Nocedal (2018), section 4.

    >>> InverseTime(0.1, decay=0.5).factor(2)
    0.5
    """

    rate: Rate = "auto"
    decay: float = 1e-3
    name: ClassVar[str] = "inverse-time"

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not (math.isfinite(self.decay) and self.decay >= 0):
            raise DescendError(f"`decay` must be a number of at least 0, got {self.decay!r}.")

    def factor(self, number: int) -> float:
        return 1.0 / (1.0 + self.decay * number)

    def planned(self, steps: int | None) -> InverseTime:
        return self


@dataclass(frozen=True)
class _Planned(Schedule):
    """A schedule that must know how many steps the run has; `steps` of None is filled in by `fit`."""

    rate: Rate = "auto"
    steps: int | None = None
    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if self.steps is not None and self.steps < 1:
            raise DescendError(f"`steps` of a schedule must be at least 1, got {self.steps!r}.")

    def planned(self, steps: int | None) -> Any:
        if self.steps is not None:
            return self
        if steps is None:
            raise DescendError(
                f"the {self.name} schedule must know the length of the run: give `steps` or `epochs`."
            )
        return replace(self, steps=max(steps, 1))

    def _progress(self, number: int) -> float:
        return min(number / (self.steps or 1), 1.0)


@dataclass(frozen=True)
class Cosine(_Planned):
    """From `rate` to zero along half a cosine: `rate (1 + cos(pi number / steps)) / 2`.

    `rate` is a number above 0 or "auto"; `steps` the length of the run, which `fit` fills in; raises
    `DescendError` for others. Loshchilov and Hutter, SGDR (2017), without restarts.

    >>> Cosine(0.1, steps=100).factor(50)
    0.5
    """

    name: ClassVar[str] = "cosine"

    def factor(self, number: int) -> float:
        return _half_cosine(1.0, 0.0, self._progress(number))


@dataclass(frozen=True)
class OneCycle(_Planned):
    """Up to `rate` in the first quarter of the run, then down to nearly zero, both along half cosines.

    Starts at `rate / 25` and ends at `rate / 1e5`, as fastai's fit_one_cycle. `rate` is a number above 0 or "auto";
    `steps` the length of the run, which `fit` fills in; raises `DescendError` for others. Smith and Topin (2018).

    >>> cycle = OneCycle(0.1, steps=100)
    >>> cycle.factor(0), cycle.factor(25)
    (0.04, 1.0)
    """

    name: ClassVar[str] = "one-cycle"

    def factor(self, number: int) -> float:
        at, up = self._progress(number), 0.25
        return _half_cosine(0.04, 1.0, at / up) if at <= up else _half_cosine(1.0, 1e-5, (at - up) / (1 - up))


def _half_cosine(a: float, b: float, at: float) -> float:
    half = (1.0 + math.cos(math.pi * at)) / 2.0
    return a * half + b * (1.0 - half)


SCHEDULES: dict[str, type[Any]] = {s.name: s for s in (Constant, Cosine, OneCycle, InverseTime)}


def check_rate(rate: Any, name: str = "learning_rate") -> None:
    """Raise `DescendError` unless `rate` is "auto" or a finite number above 0."""
    if isinstance(rate, str) and rate == "auto":
        return
    number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
    if not (number and math.isfinite(rate) and rate > 0):
        raise DescendError(f'`{name}` must be a number above 0 or "auto", got {rate!r}.')


def as_schedule(rate: Any) -> Schedule:
    """A schedule by itself, or a constant one from a number or "auto"."""
    return rate if isinstance(rate, Schedule) else Constant(rate)
