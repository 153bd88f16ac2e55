"""Penalties that the package does not have, each as a user would write it: in one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from descend import Penalty


@dataclass(frozen=True)
class Lasso(Penalty):
    """`alpha * sum(|w|)`, by what a penalty with kinks must have and no more."""

    alpha: float
    name: ClassVar[str] = "lasso"
    smooth: ClassVar[bool] = False

    def value(self, w):
        return self.alpha * np.abs(w).sum()

    def prox(self, w, rate):
        return np.sign(w) * np.maximum(np.abs(w) - rate * self.alpha, 0.0)


@dataclass(frozen=True)
class GroupLasso(Penalty):
    """`alpha * sum of |w_g|_2` over groups of weights. Yuan and Lin (2006)."""

    alpha: float
    groups: tuple[tuple[int, ...], ...]
    name: ClassVar[str] = "group-lasso"
    smooth: ClassVar[bool] = False

    def value(self, w):
        return self.alpha * sum(float(np.linalg.norm(w[list(g)])) for g in self.groups)

    def prox(self, w, rate):
        out = w.copy()
        for g in map(list, self.groups):
            length = np.linalg.norm(w[g])
            out[g] *= max(0.0, 1.0 - rate * self.alpha / length) if length > 0 else 0.0
        return out


@dataclass(frozen=True)
class PseudoHuber(Penalty):
    """`alpha * sum(sqrt(1 + w**2) - 1)`: smooth, and no sum of squares."""

    alpha: float
    name: ClassVar[str] = "pseudo-huber"

    def value(self, w):
        return self.alpha * float((np.sqrt(1.0 + w**2) - 1.0).sum())

    def gradient(self, w):
        return self.alpha * w / np.sqrt(1.0 + w**2)

    def curvature(self, w):
        return self.alpha / (1.0 + w**2) ** 1.5
