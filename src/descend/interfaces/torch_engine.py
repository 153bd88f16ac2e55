"""PyTorch: tensors on any device, losses written with its operations, layers in and out.

Only this module imports torch. `Torch` is an engine: it keeps the rows on a device and computes there
what a descent asks for, in float64; anything else is computed by NumPy from rows brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import ArraySource, Source
from descend.engines.engine import ThreadSession, cores
from descend.engines.matrix import Array, Float
from descend.engines.moments import Moments, Triangle, triangular_factor
from descend.errors import DataError, DescendError, MissingExtraError, ShapeError, check_whole
from descend.objectives.losses import CrossEntropy, LogisticLoss, SquaredError
from descend.objectives.statistics import (
    HessianSum,
    LargestMove,
    LossAndGradient,
    LossSum,
    RowNorms,
    Statistic,
    TargetSum,
)

try:
    import torch
except ImportError as error:
    raise MissingExtraError("tensors and losses of torch need it: pip install 'descend[torch]'.") from error

V = TypeVar("V")
CHUNK_CELLS = 2**26
"""Cells of `X` that are made float64 at a time: half a gigabyte."""
TRIED_ROWS = 1_000
"""Rows of the target that a loss of one's own is tried on."""


@dataclass(frozen=True)
class TorchLoss:
    """A loss written as a function of torch tensors: `function(y_hat, y)`, a mean or one value per row.

    `y_hat` is the linear predictor, float64 of shape (rows,), or (rows, outputs) where `outputs` says how many;
    `y` has shape (rows,) and is float64, or int64 where there are several outputs and `y` holds whole numbers. Gradient and curvature come
    from autograd. A mean must be that of the rows: f(all) is compared with the row-weighted mean of two
    parts before the first step, since a sum over blocks could not give anything else (RMSE, say).
    `curvature_bound`, which "auto" learning rates go by, is the largest curvature found on the target.

    >>> loss = TorchLoss.of(lambda y_hat, y: ((y_hat - y) ** 2).mean())
    >>> loss.gradient(np.array([1.0, 4.0]), np.array([0.0, 2.0])).tolist()
    [2.0, 4.0]
    """

    function: Callable[[Any, Any], Any]
    mean_only: bool
    outputs: int | None = None
    name: ClassVar[str] = "your own loss"

    @staticmethod
    def of(function: Callable[[Any, Any], Any], outputs: int | None = None) -> Any:
        """Find out whether it returns a mean or one value per row. Raises `DescendError` if neither.

        >>> loss = TorchLoss.of(torch.nn.functional.cross_entropy, outputs=3)
        >>> loss.gradient(np.zeros((1, 3)), np.array([2])).round(3).tolist()
        [[0.333, 0.333, -0.667]]
        """
        outputs = None if outputs is None else check_whole("outputs", outputs)
        z = torch.linspace(0.1, 0.7, 3 * (outputs or 1), dtype=torch.float64, requires_grad=True)
        found, several = None, "" if outputs is None else f"; `y_hat` has shape (3, {outputs}) there"
        for y in (torch.tensor([0.0, 0.0, 1.0]).double(), torch.tensor([0, 0, min(outputs or 2, 2) - 1])):
            try:
                found = function(z if outputs is None else z.reshape(3, outputs), y)
                break
            except Exception as error:
                if outputs is None or not y.is_floating_point():
                    raise DescendError(
                        f"`loss` failed on tensors of 3 rows, (y_hat, y){several}: {error}."
                    ) from error
        if not isinstance(found, torch.Tensor) or found.shape not in ((), (3,)) or not found.requires_grad:
            what = (
                f"a tensor of shape {tuple(found.shape)}"
                if isinstance(found, torch.Tensor)
                else type(found).__name__
            )
            raise DescendError(
                "`loss` must return a tensor that torch can differentiate, a mean or one value per row; "
                f"of 3 rows it made {what}."
            )
        return TorchLoss(function, found.shape == (), outputs)

    @property
    def curvature_bound(self) -> float:
        """The largest curvature found by `check_target`, 1 before that."""
        return float(self.__dict__.get("_steepest", 1.0))

    def value(self, z: Float, y: Array) -> Float:
        with torch.no_grad():
            found = self.function(*self._tensors(z, y))
        return self._per_row(found, len(z))

    def gradient(self, z: Float, y: Array) -> Float:
        return self.value_and_gradient(z, y)[1]

    def value_and_gradient(self, z: Float, y: Array) -> tuple[Float, Float]:
        zt, yt = self._tensors(z, y)
        value, gradient = self.on_device(zt, yt)
        return self._per_row(value, len(z)), gradient.numpy()

    def on_device(self, z: Any, y: Any) -> tuple[Any, Any]:
        """Tensors in, tensors out: what the function returned, and the derivative of the rows' sum."""
        z = z.detach().requires_grad_()
        value = self.function(z, y)
        (gradient,) = torch.autograd.grad(value * len(z) if self.mean_only else value.sum(), z)
        return value.detach(), gradient

    def curvature(self, z: Float, y: Array) -> Float:
        found: Float = self.curvature_on_device(*self._tensors(z, y)).numpy()
        return found

    def curvature_on_device(self, z: Any, y: Any) -> Any:
        """The second derivative of each row's loss, as a tensor."""
        z = z.detach().requires_grad_()
        value = self.function(z, y)
        total = value * len(z) if self.mean_only else value.sum()
        (gradient,) = torch.autograd.grad(total, z, create_graph=True)
        if self.outputs is not None:
            columns = [self._second(gradient[:, k], z) for k in range(self.outputs)]
            return torch.stack(columns, 1)
        return self._second(gradient, z)

    @staticmethod
    def _second(gradient: Any, z: Any) -> Any:
        second = None
        if gradient.requires_grad:
            (second,) = torch.autograd.grad(gradient.sum(), z, allow_unused=True, retain_graph=True)
        return torch.zeros_like(z) if second is None else torch.zeros_like(z) + second

    def _tensors(self, z: Float, y: Array) -> tuple[Any, Any]:
        return torch.from_numpy(np.ascontiguousarray(z)), self.target(torch.from_numpy(np.array(y)))

    def target(self, y: Any) -> Any:
        """A target as the function gets it: float64, or int64 where whole numbers choose among several outputs."""
        whole = self.outputs is not None and not (y.is_floating_point() and bool((y != y.floor()).any()))
        return y.long() if whole else y.double()

    def _per_row(self, value: Any, rows: int) -> Float:
        value = value.detach().numpy()
        return np.full(rows, float(value)) if self.mean_only else np.asarray(value, dtype=np.float64)

    def inverse_link(self, z: Float) -> Float:
        return z

    def link(self, mean: Float) -> Float:
        return mean

    def check_target(self, y: Array) -> None:
        """Try the loss on two parts of the target, and take its curvature."""
        if y.dtype.kind not in "fiub":
            raise DataError(f"`y` must hold numbers for a loss of your own, got dtype {y.dtype}.")
        y = y[:TRIED_ROWS].astype(np.float64)
        spread = float(y.std()) or 1.0
        shape = len(y) if self.outputs is None else (len(y), self.outputs)
        z = y.mean() + spread * np.random.default_rng(0).normal(size=shape)
        cut = len(y) // 3
        if cut:
            try:
                whole, first, second = (
                    float(self.value(z[rows], y[rows]).mean())
                    for rows in (slice(None), slice(cut), slice(cut, None))
                )
            except Exception as error:
                raise DescendError(f"`loss` failed on {len(y)} rows of `y`: {error}") from error
            expected = (cut * first + (len(y) - cut) * second) / len(y)
            if not abs(whole - expected) <= 1e-8 * max(abs(whole), abs(expected)):
                raise DescendError(
                    f"`loss` must be a mean over rows: on {len(y)} rows it is {whole:.6g}, but the row-weighted "
                    f"mean of its values on two parts of them is {expected:.6g}. A root of the mean (RMSE) or "
                    "anything that compares rows cannot be summed over blocks; give the mean itself. A loss of "
                    "several predictions a row says how many: `TorchLoss.of(loss, outputs=k)`."
                )
        curvature = self.curvature(z, y)
        steepest = float(np.abs(curvature if curvature.ndim == 1 else np.linalg.eigvalsh(curvature)).max())
        object.__setattr__(self, "_steepest", steepest or 1.0)


@dataclass(frozen=True)
class Torch:
    """An engine: rows live on a torch device, "cpu", "cuda", "cuda:1" or "mps", and are summed there.

    `fit(x, y)` takes it by itself where `x` is a tensor on a GPU. Sums are in float64 (float32 on mps,
    which has no other), in a fixed order, but their last bits may differ from those of Threads.

    >>> import descend
    >>> x, y = descend.make_line(100, seed=0)
    >>> descend.fit(x, y, intercept=False, engine=Torch("cpu")).weights.round(2).tolist()
    [3.12, 2.52]
    """

    device: str = "cpu"

    def open(self, source: Source) -> TorchSession:
        if not isinstance(source, ArraySource) or matrix.is_sparse(source.X):
            raise DescendError(
                "the engine Torch takes dense arrays and tensors; tables and sparse rows take Threads."
            )
        try:
            torch.empty(1, device=self.device)
        except (AssertionError, RuntimeError, NotImplementedError) as error:
            raise DescendError(f"`device` {self.device!r} is not to be had here: {error}.") from error
        return TorchSession(source, torch.device(self.device))


class TorchSession(ThreadSession):
    """An `ArraySource` whose rows are on a device. What no kernel is written for goes through NumPy."""

    takes_all = True
    """Some of the rows cost as much as all: they are summed by the processor."""

    def __init__(self, source: ArraySource, device: Any) -> None:
        super().__init__(source, cores())
        self.device = device
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        X, y, s = (self._there(column) for column in (source.X, source.y, source.sample_weight))
        if source.split is not None:
            mask = source.split.held_out(0, 0, source.rows) == source.held_out
            rows = torch.from_numpy(np.flatnonzero(mask)).to(device)
            X, y, s = (None if column is None else column[rows] for column in (X, y, s))
        self.X, self.y, self.s = X, y, s

    def _there(self, column: Any) -> Any:
        if column is None:
            return None
        if not matrix.is_tensor(column):
            column = (
                torch.from_numpy(np.require(column, requirements="W"))
                if column.flags.writeable
                else torch.tensor(column)
            )
        return column.detach().to(self.device)

    def reduce(self, statistic: Statistic[V], params: Any = None, leaves: Collection[int] | None = None) -> V:
        kind: Any = statistic
        kernel = KERNELS.get(kind if isinstance(kind, type) else type(kind))
        known = getattr(statistic, "loss", None)
        if kernel is None or leaves is not None or not (known is None or isinstance(known, KNOWN)):
            return super().reduce(statistic, params, leaves)
        if not len(self.X):
            raise DataError(
                "no rows are left to work on: every row is held out, or has no weight or no target that is known."
            )
        w = None if params is None else torch.as_tensor(params, dtype=self.dtype, device=self.device)
        total: Any = None
        step = max(CHUNK_CELLS // self.X.shape[1], 1)
        for start in range(0, len(self.X), step):
            rows = slice(start, start + step)
            s = None if self.s is None else self.s[rows].to(self.dtype)
            found = kernel(statistic, self.X[rows].to(self.dtype), self.y[rows].to(self.dtype), s, w)
            total = found if total is None else statistic.merge(total, found)
        result: V = total
        return result


def _predictor(X: Any, w: Any, intercept: bool) -> Any:
    return X @ w[:-1] + w[-1] if intercept else X @ w


def _value_and_gradient(loss: Any, z: Any, y: Any) -> tuple[Any, Any]:
    """The formulas of `losses`, in torch."""
    if isinstance(loss, SquaredError):
        return (z - y) ** 2, 2.0 * (z - y)
    if isinstance(loss, LogisticLoss):
        return torch.nn.functional.softplus(z) - y * z, torch.sigmoid(z) - y
    if isinstance(loss, CrossEntropy):
        k = y.long()[:, None]
        p = torch.softmax(z, 1)
        return torch.logsumexp(z, 1) - z.gather(1, k)[:, 0], p.scatter_add(1, k, -torch.ones_like(p[:, :1]))
    value, gradient = loss.on_device(z, loss.target(y))
    return (value.expand(len(z)) if loss.mean_only else value), gradient


def _curvature(loss: Any, z: Any, y: Any) -> Any:
    if isinstance(loss, TorchLoss):
        return loss.curvature_on_device(z, loss.target(y))
    if isinstance(loss, SquaredError):
        return torch.full_like(z, 2.0)
    if isinstance(loss, LogisticLoss):
        p = torch.sigmoid(z)
        return p * (1.0 - p)
    p = torch.softmax(z, 1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


def _numpy(*parts: Any) -> Float:
    joined: Float = torch.cat([part.reshape(-1) for part in parts]).cpu().double().numpy()
    return joined


def _weight(y: Any, s: Any) -> tuple[Any, Any]:
    """Rows of positive weight, and the sum of the weights."""
    if s is None:
        rows = torch.full((1,), float(len(y)), dtype=y.dtype, device=y.device)
        return rows, rows
    return torch.count_nonzero(s).to(y.dtype), s.sum()


def _loss_sum(statistic: LossSum, X: Any, y: Any, s: Any, w: Any) -> Float:
    value, _ = _value_and_gradient(statistic.loss, _predictor(X, w, statistic.intercept), y)
    return _numpy(*_weight(y, s), value.sum() if s is None else s @ value)


def _loss_and_gradient(statistic: LossAndGradient, X: Any, y: Any, s: Any, w: Any) -> Float:
    value, g = _value_and_gradient(statistic.loss, _predictor(X, w, statistic.intercept), y)
    if s is not None:
        g = g * (s if g.ndim == 1 else s[:, None])
    last = [g.sum(0)] if statistic.intercept else []
    return _numpy(*_weight(y, s), value.sum() if s is None else s @ value, X.T @ g, *last)


def _hessian(statistic: HessianSum, X: Any, y: Any, s: Any, w: Any) -> Float:
    if statistic.intercept:
        X = torch.cat([X, torch.ones_like(X[:, :1])], 1)
    d = _curvature(statistic.loss, X @ w, y)
    if s is not None:
        d = d * s.reshape(-1, *[1] * (d.ndim - 1))
    if d.ndim == 1:
        return np.asarray((X.T @ (X * d[:, None])).cpu().double().numpy())
    p, K = w.shape
    out = np.empty((p, K, p, K))
    for a in range(K):
        for b in range(a, K):
            G = (X.T @ (X * d[:, a, b, None])).cpu().double().numpy()
            out[:, a, :, b] = out[:, b, :, a] = G
    return out.reshape(p * K, p * K)


def _moments(statistic: Any, X: Any, y: Any, s: Any, w: Any) -> Moments:
    Z = torch.cat([X, y[:, None]], 1)
    rows, weight = (float(part) for part in _weight(y, s))
    each = torch.ones_like(y) if s is None else s
    mean = each @ Z / (weight or 1.0)
    Z = Z - mean
    low = each @ Z / (weight or 1.0)
    cross = _square((Z * each[:, None]).T @ Z) - weight * np.outer(_numpy(low), _numpy(low))
    return Moments(weight, int(rows), _numpy(mean), _numpy(low), cross)


def _square(G: Any) -> Float:
    """A symmetric matrix, to the last bit."""
    G = G.cpu().double().numpy()
    return np.asarray(0.5 * (G + G.T))


def _triangle(statistic: Triangle, X: Any, y: Any, s: Any, w: Any) -> Float:
    Z = torch.cat([X, y[:, None]], 1)
    if statistic.mean is not None and statistic.mean_low is not None:
        Z = Z - torch.as_tensor(statistic.mean, dtype=Z.dtype, device=Z.device)
        Z = Z - torch.as_tensor(statistic.mean_low, dtype=Z.dtype, device=Z.device)
    Z = Z / torch.as_tensor(statistic.scale, dtype=Z.dtype, device=Z.device)
    if s is not None:
        Z = Z * s.sqrt()[:, None]
    R = torch.linalg.qr(Z, mode="r")[1].cpu().double().numpy()
    return triangular_factor(np.array(R))


def _row_norms(statistic: RowNorms, X: Any, y: Any, s: Any, w: Any) -> Float:
    norms = (X * X).sum(1) + float(statistic.intercept)
    norms = norms if s is None else norms * s
    return _numpy(_weight(y, s)[1], norms.sum(), norms.max())


def _largest_move(statistic: LargestMove, X: Any, y: Any, s: Any, w: Any) -> Float:
    z = _predictor(X, w, statistic.intercept).abs()
    return _numpy((z if s is None else z * (s > 0).reshape(-1, *[1] * (z.ndim - 1))).max())


def _target_sum(statistic: TargetSum, X: Any, y: Any, s: Any, w: Any) -> Float:
    each = torch.ones_like(y) if s is None else s
    if statistic.classes is None:
        return _numpy(each.sum(), each @ y)
    return _numpy(each.sum(), torch.bincount(y.long(), each, minlength=statistic.classes))


KERNELS: dict[Any, Callable[..., Any]] = {
    LossSum: _loss_sum,
    LossAndGradient: _loss_and_gradient,
    HessianSum: _hessian,
    Moments: _moments,
    Triangle: _triangle,
    RowNorms: _row_norms,
    LargestMove: _largest_move,
    TargetSum: _target_sum,
}
"""What is computed on the device."""

KNOWN = (SquaredError, LogisticLoss, CrossEntropy, TorchLoss)
"""Losses that have formulas in torch."""


def to_linear(weights: Float, intercept: bool) -> Any:
    """An `nn.Linear` in float64 of weights (features,) or (features, outputs), the intercept last."""
    W = torch.as_tensor(weights).reshape(len(weights), -1)
    layer = torch.nn.Linear(len(W) - intercept, W.shape[1], bias=intercept, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(W[:-1].T if intercept else W.T)
        if intercept:
            layer.bias.copy_(W[-1])
    return layer


def from_linear(layer: Any) -> tuple[Float, bool]:
    """The weights of a linear layer, (features,) or (features, outputs), and whether the last is an intercept."""
    weight: Any = getattr(layer, "weight", None)
    bias: Any = getattr(layer, "bias", None)
    if not matrix.is_tensor(weight) or weight.ndim != 2:
        kind = type(layer).__name__
        raise ShapeError(
            f"`layer` must be an nn.Linear, with a weight of shape (outputs, features), got {kind}."
        )
    W = weight.detach().cpu().double().numpy().T
    if bias is not None:
        W = np.vstack([W, bias.detach().cpu().double().numpy()])
    return np.array(W[:, 0] if W.shape[1] == 1 else W), bias is not None
