"""Losses: formulas of the linear predictor `z = X @ w` and the target `y`, and nothing else.

A loss never sees `X` or the weights, so one formula serves every engine, optimizer and source of
data. All values are per row; the mean over rows is the Objective's business. To add a loss, write a
frozen dataclass that derives from `Loss`, and name it in `LOSSES` where it is to be had by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import Any, ClassVar, Literal, cast

import numpy as np

from descend.doors import door
from descend.engines.matrix import Array, Float, functions_of
from descend.errors import DataError, DescendError, ShapeError, check_number
from descend.objectives.links import IDENTITY, LOG, LOGIT, SOFTMAX, Link

Kind = Literal["number", "count", "two classes", "classes"]
"""What a target holds: any number, one of at least 0, 0 and 1, or class numbers 0 to K - 1."""


class Loss(ABC):
    """What everyone may know of a loss: nobody asks for its type.

    A loss of your own is a frozen dataclass with a `name` and the methods `value`, `gradient` and `curvature`; its
    fields are its settings, which a model file keeps. `z` is the linear predictor and `y` the target; `z` and the
    results are float64. With one output `z` has shape (rows,); with K outputs (rows, K), and `curvature`
    (rows, K, K). What it tells beside them has a default, that of a loss of numbers of which nothing is known.
    `LOSSES[name] = loss` lets it be had by its name, which a model file that is loaded asks for.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class LogCosh(Loss):
    ...     name = "log-cosh"
    ...     curvature_bound, slope_bound = 1.0, 1.0
    ...
    ...     def value(self, z, y):
    ...         return np.logaddexp(z - y, y - z) - np.log(2.0)
    ...
    ...     def gradient(self, z, y):
    ...         return np.tanh(z - y)
    ...
    ...     def curvature(self, z, y):
    ...         return 1.0 - np.tanh(z - y) ** 2
    >>> import descend
    >>> x = np.arange(9.0)[:, None]
    >>> descend.fit(x, np.where(x[:, 0] == 4.0, 99.0, 2.0 * x[:, 0]), loss=LogCosh()).weights.round(3).tolist()
    [2.0, 0.126]
    """

    name: ClassVar[str]
    kind: ClassVar[Kind] = "number"
    link: ClassVar[Link] = IDENTITY
    """How the mean of `y` follows from `z`."""
    curvature_bound: ClassVar[float] = inf
    """No eigenvalue of `curvature` exceeds this, whatever `z` and `y`; infinity where none holds."""
    slope_bound: ClassVar[float] = inf
    """No entry of `gradient` exceeds this in size; infinity where none holds."""
    curvature_scale: ClassVar[float] = inf
    """How far `z` moves before the curvature of a row is another one, by a factor of e; infinity where it stays."""
    curved: ClassVar[bool] = False
    """Whether every row has a curvature above 0 wherever it is, which Newton's method lives on."""
    only_differences: ClassVar[bool] = False
    """Whether the same change of all outputs changes nothing, as of softmax."""
    closed_form: ClassVar[bool] = False
    """Whether it is the square of `z - y`, whose sums over all rows follow from the moments of the columns."""
    likelihood: ClassVar[bool] = False
    """Whether it is the negative logarithm of a likelihood whose scale is known, up to a term of `y` alone."""
    mean_only: ClassVar[bool] = False
    """Whether `value` knows nothing but the mean over the rows it is given."""
    takes_tensors: ClassVar[bool] = False
    """Whether its methods take torch tensors too, so that they run on a device; else rows are brought back to NumPy."""

    @abstractmethod
    def value(self, z: Float, y: Array) -> Float:
        """The loss of each row, shape (rows,)."""

    @abstractmethod
    def gradient(self, z: Float, y: Array) -> Float:
        """Its derivative with respect to `z`, shaped as `z`."""

    @abstractmethod
    def curvature(self, z: Float, y: Array) -> Float:
        """Its second derivative with respect to `z`."""

    def inverse_link(self, z: Float) -> Float:
        """The mean of `y` given `z`: `link.inverse(z)`."""
        return self.link.inverse(z)

    def value_and_gradient(self, z: Float, y: Array) -> tuple[Float, Float]:
        """Both, sharing what they share."""
        return self.value(z, y), self.gradient(z, y)

    def curvature_root(self, z: Float, y: Array, s: Float) -> Float:
        """A `B` with `B B'` the curvature of each row times its weight `s`, shaped as `curvature`."""
        d = self.curvature(z, y)
        if d.ndim == 1:
            return np.sqrt(s * np.maximum(d, 0.0))
        values, V = np.linalg.eigh(d)
        return np.asarray(V * np.sqrt(s[:, None] * np.maximum(values, 0.0))[:, None, :])

    def best(self, y: Array) -> Float:
        """The loss of each row at the `z` that is best for it alone: 0 unless a loss says otherwise."""
        return functions_of(y).full((len(y),), 0.0)

    @property
    def best_is_zero(self) -> bool:
        """Whether `best` is 0 in every row, which saves a pass over them."""
        return type(self).best is Loss.best

    def unit_deviance(self, z: Float, y: Array) -> Float:
        """How far each row is from its best prediction, at least 0; twice the excess for a likelihood.

        McCullagh and Nelder, Generalized Linear Models (1989), section 2.3.
        """
        return (2.0 if self.likelihood else 1.0) * np.maximum(self.value(z, y) - self.best(y), 0.0)

    def log_base_measure(self, y: Array) -> Float:
        """What the log-likelihood of each row holds beside `-value`: a term of `y` alone, which no weight changes."""
        return np.zeros(len(y))

    def variance(self, mean: Float) -> Float:
        """The variance of `y` as a function of its `mean`, up to a constant factor, shaped as it."""
        return np.ones_like(mean)

    def outputs(self, classes: int) -> int | None:
        """How many columns of weights it needs for so many `classes`; None for a single one without a column."""
        return classes if self.kind == "classes" else None

    def check_target(self, y: Array) -> None:
        """Raise `DataError` where `y`, of shape (rows,), does not hold what `kind` says."""
        title, wanted = self.title, ""
        what = title if title.endswith(("error", "entropy")) else f"the {title.removesuffix(' loss')} loss"
        number = y.dtype.kind in "fiub"
        if self.kind == "two classes" and not (number and bool(np.isin(y, (0, 1)).all())):
            wanted = f"0 and 1 for {what}; DataFrames and files may hold two labels"
        elif self.kind == "classes" and not (number and bool(((y == np.floor(y)) & (y >= 0)).all())):
            wanted = f"class numbers 0, 1, ..., K - 1 for {what}; DataFrames and files may hold labels"
        elif not number:
            wanted = f"numbers for {what}, got dtype {y.dtype}"
        elif self.kind == "count" and not bool((good := np.isfinite(y) & (y >= 0)).all()):
            wanted = f"finite numbers of at least 0 for {what}, got {y[~good][0]:g}"
        if wanted:
            raise DataError(f"`y` must hold {wanted}.")

    @property
    def separable(self) -> str:
        """What of the target a direction of the weights may tell apart, along which the loss falls for ever; or nothing.

        Classes, of a likelihood. A loss that has a minimum whatever the rows are says "".
        """
        return "classes" if self.has_classes and self.likelihood else ""

    def margins(self, z: Float, y: Array) -> Float:
        """How far each row is ahead where its linear predictor moves by `z`: shape (rows, 1), or (rows, classes - 1).

        Along a direction where no margin is below zero the loss falls, for ever if one is above; zero changes nothing.
        Of classes how far that of the row is ahead of each of the others. Albert and Anderson, On the Existence of
        Maximum Likelihood Estimates in Logistic Regression Models (1984).
        """
        if z.ndim == 1:
            return np.where(y > 0.5, z, -z)[:, None]
        rows, own = np.arange(len(z)), y.astype(np.intp)
        others = np.ones(z.shape, dtype=bool)
        others[rows, own] = False
        return np.asarray((z[rows, own][:, None] - z)[others].reshape(len(z), -1))

    @property
    def has_classes(self) -> bool:
        """Whether the target is one of classes rather than a number."""
        return self.kind in ("two classes", "classes")

    @property
    def title(self) -> str:
        """What sentences call it."""
        return self.name.replace("-", " ")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The figures that describe its predictions, of those that `models.metrics` knows; its own where it differs."""
        if self.has_classes:
            own = "log_loss" if self.likelihood else "loss"
            return (own, "accuracy", *(["roc_auc"] if self.kind == "two classes" else []))
        if self.kind == "count":
            return ("deviance", "d2", "rmse", "mae")
        return ("rmse", "mae", "r2", *([] if self.closed_form else ["loss", "d2"]))

    def to_dict(self) -> dict[str, Any]:
        """Its name and settings, as a model file keeps them; `loss_from_dict` reads it."""
        return {"name": self.name, **{f.name: getattr(self, f.name) for f in fields(cast(Any, self))}}


@dataclass(frozen=True)
class SquaredError(Loss):
    """Squared error `(z - y)**2`, the loss of linear regression. No half.

    Gradient `2 (z - y)`, curvature 2, identity link.

    >>> SquaredError().value(np.array([1.0, 4.0]), np.array([0.0, 2.0]))
    array([1., 4.])
    """

    name: ClassVar[str] = "squared-error"
    takes_tensors: ClassVar[bool] = True
    curvature_bound: ClassVar[float] = 2.0
    closed_form: ClassVar[bool] = True
    curved: ClassVar[bool] = True

    def value(self, z: Float, y: Array) -> Float:
        return functions_of(z).square(z - y)

    def gradient(self, z: Float, y: Array) -> Float:
        return 2.0 * (z - y)

    def value_and_gradient(self, z: Float, y: Array) -> tuple[Float, Float]:
        xp = functions_of(z)
        error = z - y
        return xp.square(error), 2.0 * error

    def curvature(self, z: Float, y: Array) -> Float:
        return functions_of(z).full(z.shape, 2.0)


@dataclass(frozen=True)
class LogisticLoss(Loss):
    """Negative log-likelihood of a coin: `log(1 + exp(z)) - y z` for `y` in {0, 1}, in nats.

    Gradient `p - y` and curvature `p (1 - p)` with `p = 1 / (1 + exp(-z))`. Computed from
    `exp(-|z|)`, which never overflows; a row far on its side keeps its digits. McCullagh and Nelder, Generalized Linear Models, chapter 4.

    >>> LogisticLoss().value(np.array([0.0, 1e4, -1e4]), np.array([1, 1, 1])).round(6).tolist()
    [0.693147, 0.0, 10000.0]
    """

    name: ClassVar[str] = "logistic"
    takes_tensors: ClassVar[bool] = True
    kind: ClassVar[Kind] = "two classes"
    link: ClassVar[Link] = LOGIT
    curvature_bound: ClassVar[float] = 0.25
    curved: ClassVar[bool] = True
    slope_bound: ClassVar[float] = 1.0
    curvature_scale: ClassVar[float] = 1.0
    likelihood: ClassVar[bool] = True

    def value(self, z: Float, y: Array) -> Float:
        xp = functions_of(z)
        return xp.log1p(xp.exp(-xp.abs(z))) + (xp.maximum(z, 0.0) - y * z)

    def gradient(self, z: Float, y: Array) -> Float:
        xp = functions_of(z)
        g = xp.tanh(0.5 * z)  # 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2, the fastest form
        g *= 0.5
        g += 0.5
        g -= y
        return g

    def value_and_gradient(self, z: Float, y: Array) -> tuple[Float, Float]:
        xp = functions_of(z)
        e = xp.exp(-xp.abs(z))
        value = xp.maximum(z, 0.0)
        value -= y * z
        value += xp.log1p(e)
        e /= 1.0 + e
        return value, xp.where(z >= 0, (1.0 - y) - e, e - y)

    def curvature(self, z: Float, y: Array) -> Float:
        xp = functions_of(z)
        e = xp.exp(-xp.abs(z))
        return e / xp.square(1.0 + e)

    def variance(self, mean: Float) -> Float:
        return mean * (1.0 - mean)

    @property
    def title(self) -> str:
        return "logistic loss"


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Negative log-likelihood of a class: `logsumexp(z) - z[y]` for `y` in {0, ..., K - 1}, in nats.

    `z` has one column per class. Gradient `p - onehot(y)` and curvature `diag(p) - p p'` with
    `p = softmax(z)`; no eigenvalue of the curvature exceeds 1/2 (Boehning, 1992). Safe for large
    `z`: the largest is subtracted first.

    >>> CrossEntropy().value(np.array([[0.0, 0.0], [1e4, -1e4]]), np.array([0, 0])).round(6).tolist()
    [0.693147, 0.0]
    """

    name: ClassVar[str] = "cross-entropy"
    takes_tensors: ClassVar[bool] = True
    kind: ClassVar[Kind] = "classes"
    link: ClassVar[Link] = SOFTMAX
    only_differences: ClassVar[bool] = True
    curvature_bound: ClassVar[float] = 0.5
    curved: ClassVar[bool] = True
    slope_bound: ClassVar[float] = 1.0
    curvature_scale: ClassVar[float] = 1.0
    likelihood: ClassVar[bool] = True

    def value(self, z: Float, y: Array) -> Float:
        return self.value_and_gradient(z, y)[0]

    def gradient(self, z: Float, y: Array) -> Float:
        return self.value_and_gradient(z, y)[1]

    def value_and_gradient(self, z: Float, y: Array) -> tuple[Float, Float]:
        xp = functions_of(z)
        rows, classes = xp.arange(len(z)), xp.asarray(y, dtype=xp.intp)
        shifted = z - xp.max(z, axis=1, keepdims=True)
        p, mine = xp.exp(shifted), shifted[rows, classes]
        own = p[rows, classes]
        p[rows, classes] = 0.0
        others = p.sum(axis=1)
        total = own + others
        value = xp.where(mine == 0.0, xp.log1p(others), xp.log(total) - mine)
        p /= total[:, None]
        p[rows, classes] = -others / total
        return value, p

    def curvature(self, z: Float, y: Array) -> Float:
        xp = functions_of(z)
        p = self.link.inverse(z)
        return p[:, :, None] * (xp.eye(p.shape[1]) - p[:, None, :])

    def curvature_root(self, z: Float, y: Array, s: Float) -> Float:
        p = self.link.inverse(z)  # `(I - p 1') diag(sqrt p)`, which keeps the digits of small p
        return np.asarray((np.eye(p.shape[1]) - p[:, :, None]) * np.sqrt(s[:, None] * p)[:, None, :])

    def variance(self, mean: Float) -> Float:
        return mean * (1.0 - mean)


@dataclass(frozen=True)
class PoissonLoss(Loss):
    """Negative log-likelihood of a count, up to a term of `y` alone: `exp(z) - y z` for `y` of at least 0, in nats.

    Gradient `exp(z) - y`, curvature `exp(z)`, log link: the mean is `exp(z)`. As torch.nn.PoissonNLLLoss. The best
    that a row can have is `y - y log(y)`, so that the loss may be negative. From `z` = 345 on, where `exp(z)` is
    1e150, it goes on along its tangent: it stays convex, and no sum of it overflows. McCullagh and Nelder,
    Generalized Linear Models (1989), chapter 6.

    >>> loss = PoissonLoss()
    >>> loss.value(np.array([0.0, 1.0]), np.array([3, 3])).round(6).tolist()
    [1.0, -0.281718]
    >>> loss.unit_deviance(np.log([1.0, 2.0]), np.array([1, 0])).tolist()
    [0.0, 4.0]
    """

    name: ClassVar[str] = "poisson"
    takes_tensors: ClassVar[bool] = True
    kind: ClassVar[Kind] = "count"
    link: ClassVar[Link] = LOG
    curved: ClassVar[bool] = True
    curvature_scale: ClassVar[float] = 1.0
    likelihood: ClassVar[bool] = True

    def value(self, z: Float, y: Array) -> Float:
        return self.value_and_gradient(z, y)[0]

    def gradient(self, z: Float, y: Array) -> Float:
        return self.value_and_gradient(z, y)[1]

    def value_and_gradient(self, z: Float, y: Array) -> tuple[Float, Float]:
        xp = functions_of(z)
        mean = xp.exp(xp.minimum(z, HIGHEST))
        value = mean * (1.0 + xp.maximum(z - HIGHEST, 0.0))
        value -= y * z
        mean -= y
        return value, mean

    def curvature(self, z: Float, y: Array) -> Float:
        xp = functions_of(z)
        return xp.exp(xp.minimum(z, HIGHEST))

    def best(self, y: Array) -> Float:
        xp = functions_of(y)
        y = xp.asarray(y, dtype=xp.float64)
        return y - y * xp.log(xp.where(y > 0, y, 1.0))

    def log_base_measure(self, y: Array) -> Float:
        from scipy.special import gammaln

        return np.asarray(-gammaln(np.asarray(y, dtype=np.float64) + 1.0))

    def variance(self, mean: Float) -> Float:
        return mean

    @property
    def separable(self) -> str:
        return "zeros"

    def margins(self, z: Float, y: Array) -> Float:
        """Zeros are ahead below, and every other count is behind wherever it moves.

        Correia, Guimaraes and Zylkin, Verifying the Existence of Maximum Likelihood Estimates for Generalized Linear
        Models (2019).
        """
        return np.where(y > 0, -np.abs(z), -z)[:, None]

    @property
    def title(self) -> str:
        return "Poisson loss"


HIGHEST = 345.0
"""The linear predictor above which the Poisson loss is a straight line."""


@dataclass(frozen=True)
class HuberLoss(Loss):
    """Squared error of small errors, and the size of large ones: `e**2` where `|e| <= delta`, else
    `delta (2 |e| - delta)`, with `e = z - y`.

    A few targets that are far off weigh less than in squared error. `delta`, in the units of the target, is above 0;
    raises `DescendError` otherwise. Gradient `2 e`, within `-2 delta` and `2 delta`; curvature 2 or 0. Twice
    torch.nn.HuberLoss. Huber, Robust Estimation of a Location Parameter (1964).

    >>> loss = HuberLoss(1.0)
    >>> loss.value(np.array([0.5, 3.0]), np.zeros(2)).tolist()
    [0.25, 5.0]
    >>> loss.gradient(np.array([0.5, 3.0]), np.zeros(2)).tolist()
    [1.0, 2.0]
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"
    takes_tensors: ClassVar[bool] = True
    curvature_bound: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        delta = check_number("delta", self.delta, "a number above 0", lambda delta: delta > 0)
        object.__setattr__(self, "delta", delta)  # NumPy's own numbers are not for JSON

    @property
    def slope_bound(self) -> float:  # type: ignore[override]
        """Of the gradient: `2 delta`."""
        return 2.0 * self.delta

    @property
    def curvature_scale(self) -> float:  # type: ignore[override]
        """A row within `delta` may leave it, and another come in."""
        return self.delta

    def value(self, z: Float, y: Array) -> Float:
        xp = functions_of(z)
        size = xp.abs(z - y)
        within = xp.minimum(size, self.delta)
        return within * (2.0 * size - within)

    def gradient(self, z: Float, y: Array) -> Float:
        return 2.0 * functions_of(z).clip(z - y, -self.delta, self.delta)

    def curvature(self, z: Float, y: Array) -> Float:
        xp = functions_of(z)
        return xp.where(xp.abs(z - y) <= self.delta, 2.0, 0.0)

    @property
    def title(self) -> str:
        return "Huber loss"


LOSSES: dict[str, Loss] = {
    loss.name: loss for loss in (SquaredError(), LogisticLoss(), CrossEntropy(), PoissonLoss(), HuberLoss())
}
"""The losses that can be had by their names, here and in the shell; a model file is loaded by them."""


def as_loss(loss: Any) -> Loss:
    """A loss by itself, by its name, or from a function of torch tensors `(y_hat, y)`.

    Raises `DescendError` where it is none of these.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]
    if callable(loss) and not isinstance(loss, type):
        made: Loss = door("torch_loss").TorchLoss.of(loss)
        return made
    raise DescendError(
        f"`loss` must be one of {', '.join(LOSSES)}, or an object such as descend.LogisticLoss(), "
        f"or a function of torch tensors, got {loss!r}."
    )


def loss_from_dict(content: str | Mapping[str, Any]) -> Loss:
    """The loss that `to_dict` wrote, or of that name with the settings it has unless told.

    >>> loss_from_dict({"name": "logistic"}) == loss_from_dict("logistic") == LogisticLoss()
    True
    """
    settings = {"name": content} if isinstance(content, str) else dict(content)
    loss: Loss = replace(cast(Any, LOSSES[settings.pop("name")]), **settings)
    return loss


def check_weighted(loss: Loss, weighted: Any) -> None:
    """Raise `DescendError` where rows have weights (not None or False) and the loss tells only their mean."""
    if weighted is not None and weighted is not False and loss.mean_only:
        raise DescendError(
            f"sample weights need the loss of each row, and `loss` {loss.name} returns a mean. "
            "Return one value per row: drop the `.mean()`."
        )


def check_shifted(loss: Loss, offset: Any) -> None:
    """Raise `DescendError` where rows have an offset (not None) and the loss has several outputs, or knows no rows."""
    if offset is None:
        return
    if loss.outputs(2) is not None:
        raise DescendError(
            f"`offset` goes with one prediction a row, and `loss` {loss.name} has several: the same number added to all "
            "classes changes no probability. Leave it out."
        )
    if loss.mean_only:
        raise DescendError("`offset` needs the loss of each row: drop the `.mean()` of `loss`.")


def mse(y_hat: Any, y: Any) -> float:
    """Mean squared error `((y_hat - y)**2).mean()`, with no half.

    `y_hat`, the predictions, and `y` have the same shape. Raises `ShapeError` where they differ.

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    y_hat, y = np.asarray(y_hat), np.asarray(y)
    if y_hat.shape != y.shape:
        raise ShapeError(
            f"`y_hat` has shape {y_hat.shape} and `y` has shape {y.shape}: they must hold one value per row."
        )
    return float(np.mean(np.square(np.subtract(y_hat, y, dtype=np.float64))))


def cross_entropy(p: Any, y: Any) -> float:
    """Mean negative log-likelihood of the classes `y` under the probabilities `p`, in nats.

    `p` of shape (rows,) holds the probability of class 1 and `y` zeros and ones; `p` of shape
    (rows, K) one probability per class and `y` class numbers. A probability of 0 given to what
    happened costs infinity. Raises `ShapeError` where the shapes do not fit and `DescendError`
    where `p` is not a probability.

    >>> round(cross_entropy([0.9, 0.2], [1, 0]), 6)
    0.164252
    >>> round(cross_entropy([[0.7, 0.2, 0.1]], [2]), 6)
    2.302585
    """
    p, y = np.asarray(p, dtype=np.float64), np.asarray(y)
    if p.ndim not in (1, 2) or y.shape != p.shape[:1]:
        raise ShapeError(
            f"`p` has shape {p.shape} and `y` has shape {y.shape}: "
            "`p` must be (rows,) or (rows, classes), and `y` (rows,)."
        )
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise DescendError(
            "`p` must hold probabilities between 0 and 1; a linear predictor goes through its link first."
        )
    if p.ndim == 1:
        LogisticLoss().check_target(y)
        likelihood = np.where(y == 1, p, 1.0 - p)
    else:
        CrossEntropy().check_target(y)
        if y.max() >= p.shape[1]:
            raise DataError(
                f"`y` holds class {y.max()}, but `p` has {p.shape[1]} columns: 0 to {p.shape[1] - 1}."
            )
        likelihood = p[np.arange(len(p)), y.astype(np.intp)]
    with np.errstate(divide="ignore"):
        return float(-np.log(likelihood).mean() + 0.0)
