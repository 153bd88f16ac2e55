"""Links: how the mean of the target follows from the linear predictor `z = X @ w + offset`.

McCullagh and Nelder, Generalized Linear Models (1989), section 2.2. A link is a value with a name: exports, the
player and reports write it in their own language, and look it up by that name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from descend.engines.matrix import Float, functions_of


class Link(ABC):
    """`z = of(mean)` and `mean = inverse(z)`."""

    name: ClassVar[str]
    probabilities: ClassVar[bool] = False
    """Whether the mean is a probability, or one for each class."""

    @abstractmethod
    def inverse(self, z: Float) -> Float:
        """The mean of `y` given `z`: a number, a probability, or one probability per class."""

    @abstractmethod
    def of(self, mean: Float) -> Float:
        """The `z` that predicts this mean of `y`."""


@dataclass(frozen=True)
class Identity(Link):
    """`mean = z`."""

    name: ClassVar[str] = "identity"

    def inverse(self, z: Float) -> Float:
        return z

    def of(self, mean: Float) -> Float:
        return mean


@dataclass(frozen=True)
class Log(Link):
    """`mean = exp(z)`, infinity from `z` = 710 on; a mean of zero counts as 1e-300.

    >>> Log().inverse(np.array([0.0, 1.0])).round(6).tolist()
    [1.0, 2.718282]
    """

    name: ClassVar[str] = "log"

    def inverse(self, z: Float) -> Float:
        with np.errstate(over="ignore"):
            return functions_of(z).exp(z)

    def of(self, mean: Float) -> Float:
        return np.log(np.maximum(mean, 1e-300))


@dataclass(frozen=True)
class Logit(Link):
    """`mean = 1 / (1 + exp(-z))`, the probability of class 1, from `exp(-|z|)`, which never overflows.

    >>> Logit().inverse(np.array([0.0, 1000.0])).tolist()
    [0.5, 1.0]
    """

    name: ClassVar[str] = "logit"
    probabilities: ClassVar[bool] = True

    def inverse(self, z: Float) -> Float:
        xp = functions_of(z)
        e = xp.exp(-xp.abs(z))
        return xp.where(z >= 0, 1.0, e) / (1.0 + e)

    def of(self, mean: Float) -> Float:
        p = np.clip(mean, 1e-300, 1.0 - 1e-16)
        return np.asarray(np.log(p) - np.log1p(-p))


@dataclass(frozen=True)
class Softmax(Link):
    """`mean_k = exp(z_k) / sum_j exp(z_j)`, one probability per class; `of` gives the `z` that sum to zero.

    >>> Softmax().inverse(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """

    name: ClassVar[str] = "softmax"
    probabilities: ClassVar[bool] = True

    def inverse(self, z: Float) -> Float:
        xp = functions_of(z)
        p = xp.exp(z - xp.max(z, axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def of(self, mean: Float) -> Float:
        logs = np.log(np.clip(mean, 1e-300, 1.0))
        return np.asarray(logs - logs.mean())


IDENTITY, LOG, LOGIT, SOFTMAX = Identity(), Log(), Logit(), Softmax()
LINKS: dict[str, Link] = {link.name: link for link in (IDENTITY, LOG, LOGIT, SOFTMAX)}
