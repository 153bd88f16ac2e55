"""Penalties on the weights, added to the mean loss; the intercept is never penalised.

A smooth penalty joins the loss by its gradient and curvature. One with kinks, such as L1, acts through its
`prox`, and makes weights exactly zero. To add a penalty, derive a frozen dataclass from `Penalty`; named in
`PENALTIES` it is read back from model files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import numpy as np

from descend.engines.matrix import Float
from descend.errors import DescendError, check_number

SHORT = 1e-4
"""A step that hardly moves the largest weight, by which a prox tells the slope of a penalty."""


class Penalty(ABC):
    """What everyone may know of a penalty: nobody asks for its type.

    `w` holds the penalised weights only, of shape (features,) or (features, outputs), and results are shaped as it.
    A penalty is a convex function and a frozen dataclass; its fields are its settings, which a model file keeps.
    A smooth one needs `value`, `gradient` and `curvature`; one with kinks says `smooth = False` and needs `value`
    and `prox`. Parikh and Boyd, Proximal Algorithms (2014).

    >>> @dataclass(frozen=True)
    ... class NonNegative(Penalty):
    ...     name, smooth, separable = "non-negative", False, True
    ...     def value(self, w):
    ...         return 0.0 if (w >= 0).all() else np.inf
    ...     def prox(self, w, rate):
    ...         return np.maximum(w, 0.0)
    >>> import descend
    >>> descend.fit([[1.0], [2.0]], [-1.0, -2.0], intercept=False, penalty=NonNegative()).weights.tolist()
    [0.0]
    """

    name: ClassVar[str]
    smooth: ClassVar[bool] = True
    """Whether it has a gradient everywhere."""
    closed_form: ClassVar[bool] = False
    """Whether it is a sum of squares of weights times constants, as squared error is of residuals."""
    separable: ClassVar[bool] = False
    """Whether it is a sum over single weights whose `prox` takes a rate for each; else `standardize` is refused."""

    @property
    def is_zero(self) -> bool:
        """Whether it is no penalty at all."""
        return False

    @property
    def title(self) -> str:
        """Its name in a sentence, in which "penalty" follows."""
        return self.name.replace("-", " ")

    @abstractmethod
    def value(self, w: Float) -> float:
        """What is added to the mean loss."""

    def gradient(self, w: Float) -> Float:
        """Its gradient; at a kink one of its subgradients, which unless given a short step of `prox` tells."""
        rate = SHORT * (float(np.abs(w).max(initial=0.0)) or 1.0)
        return (w - self.prox(w, rate)) / rate

    def curvature(self, w: Float) -> Float:
        """The diagonal of its Hessian, away from kinks; zero unless given."""
        return np.zeros(w.shape)

    def prox(self, w: Float, rate: Float | float) -> Float:
        """`argmin_v penalty(v) + sum((v - w)**2 / (2 rate))`; `rate` is a number, of separable ones an array too.

        Raises `DescendError` where a penalty has none, which a smooth one does not need.
        """
        raise DescendError(f"`penalty` {self.name} has no `prox`.")

    def shortest(self, w: Float, g: Float) -> Float:
        """The shortest subgradient of the loss plus the penalty, `g` being the gradient of the loss at `w`.

        It is zero at a minimum and nowhere else. Of kinks unless given by the prox after a short step along `-g`:
        Beck, First-Order Methods in Optimization (2017), theorem 10.7.
        """
        if self.smooth:
            return g + self.gradient(w)
        steep, far = float(np.abs(g).max(initial=0.0)), float(np.abs(w).max(initial=0.0))
        rate = SHORT * (far or 1.0) / (steep or 1.0)
        return (w - self.prox(w - rate * g, rate)) / rate

    def gap(self, w: Float, s: Float, excess: float) -> float:
        """The most by which loss plus penalty at `w` may be above the minimum, infinity where that is not known.

        `s` is a subgradient of both together, `excess` how far their value is above the lowest loss there can be.
        """
        return np.inf

    def corners(self, w: Float) -> Float | None:
        """Half of what its slope jumps by where a weight is zero, shaped as `w`; None where it has other kinks."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Its name and settings, as a model file keeps them; `penalty_from_dict` reads it."""
        return {"name": self.name} | {name: _plain(value) for name, value in vars(self).items()}


def _plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _frozen(value: Any) -> Any:
    """A setting from JSON, lists as tuples, which a frozen dataclass can be compared and hashed with."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


class _AbsoluteAndSquare(Penalty):
    """`a |w|_1 + b / 2 |w|^2`, of which L1, L2 and the elastic net are kinds."""

    separable: ClassVar[bool] = True

    @property
    @abstractmethod
    def strengths(self) -> tuple[float, float]:
        """`a` and `b`."""

    @property
    def smooth(self) -> bool:  # type: ignore[override]
        return self.strengths[0] == 0

    @property
    def is_zero(self) -> bool:
        return self.strengths == (0.0, 0.0)

    def value(self, w: Float) -> float:
        a, b = self.strengths
        return float(a * np.abs(w).sum() + 0.5 * b * np.vdot(w, w))

    def gradient(self, w: Float) -> Float:
        a, b = self.strengths
        return a * np.sign(w) + b * w

    def curvature(self, w: Float) -> Float:
        return np.full(w.shape, self.strengths[1])

    def prox(self, w: Float, rate: Float | float) -> Float:
        a, b = self.strengths
        return _towards_zero(w, rate * a) / (1.0 + rate * b)

    def shortest(self, w: Float, g: Float) -> Float:
        a, _ = self.strengths
        return np.where(w == 0, _towards_zero(g, a), g + self.gradient(w))

    def gap(self, w: Float, s: Float, excess: float) -> float:
        """`max|s| (|w|_1 + |w*|_1)` with `a |w*|_1 <= excess`, or `|s|^2 / (2 b)`, whichever is less.

        Both from `F(w) - F(w*) <= s'(w - w*) - b / 2 |w - w*|^2`, by convexity.
        """
        a, b = self.strengths
        bounds = [np.inf]
        if a > 0:
            bounds.append(float(np.abs(s).max(initial=0.0) * (np.abs(w).sum() + max(excess, 0.0) / a)))
        if b > 0:
            bounds.append(float(np.vdot(s, s)) / (2.0 * b))
        return min(bounds)

    def corners(self, w: Float) -> Float | None:
        return np.full(w.shape, self.strengths[0])


def _towards_zero(w: Float, by: Float | float) -> Float:
    """Soft thresholding, `sign(w) max(|w| - by, 0)`. Donoho and Johnstone (1994)."""
    return np.asarray(w - np.clip(w, -by, by))


@dataclass(frozen=True)
class L2(_AbsoluteAndSquare):
    """Ridge penalty `alpha / 2 * sum(w**2)`, added to the mean loss.

    With n rows, `alpha` here is scikit-learn's `2 * alpha / n` of Ridge and `1 / (C n)` of
    LogisticRegression. `L2(0)` is no penalty. Raises `DescendError` where `alpha` is below 0 or no number.

    >>> L2(0.5).value(np.array([1.0, 2.0]))
    1.25
    """

    alpha: float = 0.0
    name: ClassVar[str] = "l2"
    title: ClassVar[str] = "L2"
    smooth: ClassVar[bool] = True
    closed_form: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _strength(self.alpha))

    @property
    def strengths(self) -> tuple[float, float]:
        return 0.0, self.alpha

    def value(self, w: Float) -> float:
        return float(0.5 * self.alpha * np.vdot(w, w))

    def gradient(self, w: Float) -> Float:
        return self.alpha * w

    def prox(self, w: Float, rate: Float | float) -> Float:
        return w / (1.0 + rate * self.alpha)


@dataclass(frozen=True)
class L1(_AbsoluteAndSquare):
    """Lasso penalty `alpha * sum(|w|)`, added to the mean loss: weights that do not help enough become zero.

    Squared error here is a mean without a half, so `alpha` is twice that of scikit-learn's Lasso; with n rows it is
    `1 / (C n)` of LogisticRegression. `L1(0)` is no penalty. Tibshirani, Regression Shrinkage and Selection via the
    Lasso (1996). Raises `DescendError` where `alpha` is below 0 or no number.

    >>> L1(0.5).value(np.array([1.0, -2.0]))
    1.5
    >>> L1(0.5).prox(np.array([1.0, -2.0, 0.25]), 1.0).tolist()
    [0.5, -1.5, 0.0]
    """

    alpha: float
    name: ClassVar[str] = "l1"
    title: ClassVar[str] = "L1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _strength(self.alpha))

    @property
    def strengths(self) -> tuple[float, float]:
        return self.alpha, 0.0


@dataclass(frozen=True)
class ElasticNet(_AbsoluteAndSquare):
    """`alpha * (l1_ratio * sum(|w|) + (1 - l1_ratio) / 2 * sum(w**2))`, added to the mean loss.

    Weights that do not help enough become zero, and correlated columns share theirs. `l1_ratio` is between 0, which
    is `L2(alpha)`, and 1, which is `L1(alpha)`. The two settings are those of glmnet and of scikit-learn; as squared
    error here is a mean without a half, `alpha` is twice that of scikit-learn's ElasticNet, and with n rows
    `1 / (C n)` of LogisticRegression. Zou and Hastie, Regularization and Variable Selection via the Elastic Net
    (2005). Raises `DescendError` where `alpha` is below 0, or `l1_ratio` not between 0 and 1.

    >>> ElasticNet(0.5, 0.4).value(np.array([1.0, -2.0]))
    1.35
    """

    alpha: float
    l1_ratio: float = 0.5
    name: ClassVar[str] = "elastic-net"

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _strength(self.alpha))
        ratio = check_number(
            "l1_ratio", self.l1_ratio, "a number between 0 and 1", lambda ratio: 0 <= ratio <= 1
        )
        object.__setattr__(self, "l1_ratio", ratio)

    @property
    def strengths(self) -> tuple[float, float]:
        return self.alpha * self.l1_ratio, self.alpha * (1.0 - self.l1_ratio)


def _strength(alpha: Any) -> float:
    """`alpha` as a float: NumPy's own numbers are not for JSON."""
    return check_number("alpha", alpha, "a number of at least 0", lambda alpha: alpha >= 0, " of a penalty")


PENALTIES: dict[str, type[Any]] = {kind.name: kind for kind in (L2, L1, ElasticNet)}


def as_penalty(penalty: Any) -> Penalty:
    """A penalty by itself, from a number (the alpha of `L2`), or none from None.

    Raises `DescendError` where it is none of these, or lacks what its kind must have.
    """
    if penalty is None:
        return L2(0.0)
    if isinstance(penalty, Real) and not isinstance(penalty, bool):
        return L2(float(penalty))
    if not isinstance(penalty, Penalty):
        raise DescendError(
            "`penalty` must be a number, an object such as descend.L2(0.1) or descend.L1(0.1), or None, "
            f"got {penalty!r}. One of your own derives from descend.Penalty."
        )
    own = type(penalty)
    given = {
        "gradient": own.gradient is not Penalty.gradient,
        "curvature": own.curvature is not Penalty.curvature,
        "prox": own.prox is not Penalty.prox,
    }
    kind, needed = ("smooth", ("gradient", "curvature")) if penalty.smooth else ("not smooth", ("prox",))
    lacking = [name for name in needed if not given[name]]
    if lacking:
        hint = "; one with a kink, such as |w|, says `smooth = False`" if penalty.smooth else ""
        raise DescendError(
            f"`penalty` {penalty.name} is {kind} and must define {' and '.join(f'`{n}`' for n in lacking)}{hint}."
        )
    return penalty


def penalty_from_dict(content: Mapping[str, Any]) -> Penalty | None:
    """The penalty that `to_dict` wrote; None where its name is not one of `PENALTIES`.

    >>> penalty_from_dict(ElasticNet(0.5, 0.4).to_dict())
    ElasticNet(alpha=0.5, l1_ratio=0.4)
    """
    settings = {name: _frozen(value) for name, value in content.items()}
    kind = PENALTIES.get(settings.pop("name"))
    return None if kind is None else kind(**settings)


class Described(NamedTuple):
    """What a model file says of the penalty of its fit, one of your own too: `described` makes it."""

    title: str
    """Its name in words."""
    settings: dict[str, Any]
    kinked: bool
    """Whether it makes weights zero; taken for granted of one of your own."""

    def words(self, between: str, figure: Callable[[float], str] = "{:.4g}".format) -> str:
        """Name and settings: "L2 with alpha 0.1" where `between` is "with alpha"."""
        numbers = {k: v for k, v in self.settings.items() if isinstance(v, int | float)}
        first = [f" {between} {figure(numbers.pop('alpha'))}"] if "alpha" in numbers else []
        return ", ".join(
            [self.title + "".join(first), *(f"{k.replace('_', ' ')} {figure(v)}" for k, v in numbers.items())]
        )


def described(content: Mapping[str, Any] | None) -> Described | None:
    """The penalty that `to_dict` wrote, for sentences; None where there is none.

    >>> described(ElasticNet(0.5, 0.4).to_dict()).words("penalty")
    'elastic net penalty 0.5, l1 ratio 0.4'
    >>> described({"name": "l2", "alpha": 0.0})
    """
    if not content:
        return None
    settings, penalty = dict(content), penalty_from_dict(content)
    name = str(settings.pop("name"))
    if penalty is None:
        return Described(name.replace("-", " "), settings, True)
    return None if penalty.is_zero else Described(penalty.title, settings, not penalty.smooth)
