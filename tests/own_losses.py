"""Losses that the package does not have, each as a user would write it: in one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from descend.errors import DataError
from descend.objectives.links import LOG, Link
from descend.objectives.losses import Kind, Loss


@dataclass(frozen=True)
class Gamma(Loss):
    """`z + y exp(-z)`: the negative log-likelihood of a Gamma mean `exp(z)`, but for its unknown shape."""

    name: ClassVar[str] = "gamma"
    link: ClassVar[Link] = LOG

    def value(self, z, y):
        return z + y * np.exp(-z)

    def gradient(self, z, y):
        return 1.0 - y * np.exp(-z)

    def curvature(self, z, y):
        return y * np.exp(-z)

    def best(self, y):
        return np.log(y) + 1.0

    def variance(self, mean):
        return mean**2

    def check_target(self, y):
        if not (y > 0).all():
            raise DataError("`y` must hold numbers above 0 for the Gamma loss.")


@dataclass(frozen=True)
class SquaredHinge(Loss):
    """`max(0, 1 - t z)**2` with `t = 2 y - 1`, of a support vector machine: it knows no probabilities."""

    name: ClassVar[str] = "squared-hinge"
    kind: ClassVar[Kind] = "two classes"
    curvature_bound: ClassVar[float] = 2.0

    def value(self, z, y):
        return np.maximum(1.0 - (2.0 * y - 1.0) * z, 0.0) ** 2

    def gradient(self, z, y):
        t = 2.0 * y - 1.0
        return -2.0 * t * np.maximum(1.0 - t * z, 0.0)

    def curvature(self, z, y):
        return np.where((2.0 * y - 1.0) * z < 1.0, 2.0, 0.0)

    def check_target(self, y):
        if not np.isin(y, (0, 1)).all():
            raise DataError("`y` must hold 0 and 1 for the squared hinge.")


@dataclass(frozen=True)
class Hinge(Loss):
    """`max(0, 1 - t z)` with `t = 2 y - 1`: straight on both sides of a kink. Cortes and Vapnik (1995)."""

    name: ClassVar[str] = "own-hinge"
    kind: ClassVar[Kind] = "two classes"
    slope_bound: ClassVar[float] = 1.0

    def value(self, z, y):
        return np.maximum(1.0 - (2.0 * y - 1.0) * z, 0.0)

    def gradient(self, z, y):
        t = 2.0 * y - 1.0
        return np.where(t * z < 1.0, -t, 0.0)

    def curvature(self, z, y):
        return np.zeros_like(z)
