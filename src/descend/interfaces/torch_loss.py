"""A loss from a function of torch tensors: its slope and curvature by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from descend.engines import matrix
from descend.engines.matrix import Array, Float
from descend.errors import DataError, DescendError, MissingExtraError, check_whole
from descend.objectives.losses import Loss

try:
    import torch as torch  # the other modules of torch take it from here
except ImportError as error:
    raise MissingExtraError("tensors and losses of torch need it: pip install 'descend[torch]'.") from error

TRIED_ROWS = 1_000
"""Rows of the target that a loss of one's own is tried on."""


class TensorFunctions:
    """What the formulas of losses and links take of NumPy, for tensors like `z`: names and arguments are NumPy's.

    >>> xp = TensorFunctions(torch.tensor([1.0, -2.0], dtype=torch.float64))
    >>> xp.maximum(torch.tensor([1.0, -2.0]), 0.0).tolist(), xp.full((2,), 2.0).dtype
    ([1.0, 0.0], torch.float64)
    """

    intp = torch.int64
    abs, exp, log, log1p, square, tanh = (
        torch.abs,
        torch.exp,
        torch.log,
        torch.log1p,
        torch.square,
        torch.tanh,
    )
    clip = torch.clip

    def __init__(self, z: Any) -> None:
        self.float64 = z.dtype  # the widest of floats on this device
        self.here = {"dtype": z.dtype, "device": z.device}

    def maximum(self, a: Any, b: float) -> Any:
        return torch.clamp(a, min=b)

    def minimum(self, a: Any, b: float) -> Any:
        return torch.clamp(a, max=b)

    def where(self, condition: Any, a: Any, b: Any) -> Any:
        return torch.where(condition, a, b).to(self.float64)

    def max(self, a: Any, axis: int, keepdims: bool) -> Any:
        return torch.amax(a, axis, keepdims)

    def full(self, shape: tuple[int, ...], value: float) -> Any:
        return torch.full(shape, value, **self.here)

    def eye(self, size: int) -> Any:
        return torch.eye(size, **self.here)

    def arange(self, size: int) -> Any:
        return torch.arange(size, device=self.here["device"])

    def asarray(self, a: Any, dtype: Any) -> Any:
        return a.to(dtype)


@dataclass(frozen=True)
class TorchLoss(Loss):
    """A loss written as a function of torch tensors: `function(y_hat, y)`, a mean or one value per row.

    Make one with `TorchLoss.of`, which finds out whether it is a mean (`mean_only`). `y_hat` is the linear
    predictor, float64 of shape (rows,), or (rows, outputs) where `several` says how many; `y` has shape (rows,) and
    is float64, or int64 where there are several outputs and `y` holds whole numbers. Gradient and curvature come
    from autograd. A mean must be that of the rows: f(all) is compared with the row-weighted mean of two parts before
    the first step, since a sum over blocks could not give anything else (RMSE, say). `curvature_bound`, which "auto"
    learning rates go by, is the largest curvature found on the target.

    >>> loss = TorchLoss.of(lambda y_hat, y: ((y_hat - y) ** 2).mean())
    >>> loss.gradient(np.array([1.0, 4.0]), np.array([0.0, 2.0])).tolist()
    [2.0, 4.0]
    """

    function: Callable[[Any, Any], Any]
    mean_only: bool  # type: ignore[misc]
    several: int | None = None
    name: ClassVar[str] = "your own loss"
    takes_tensors: ClassVar[bool] = True

    @staticmethod
    def of(function: Callable[[Any, Any], Any], outputs: int | None = None) -> Any:
        """Find out whether `function` returns a mean or one value per row. Raises `DescendError` if neither.

        `outputs` is the number of predictions a row, None for a single one.

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
    def curvature_bound(self) -> float:  # type: ignore[override]
        """The largest curvature found by `check_target`, 1 before that."""
        return float(self.__dict__.get("_steepest", 1.0))

    @property
    def metrics(self) -> tuple[str, ...]:
        """None: what its predictions are is not known."""
        return ()

    def value(self, z: Any, y: Any) -> Any:
        if matrix.is_tensor(z):
            with torch.no_grad():
                found = self.function(z, self.target(y))
            return found.expand(len(z)) if self.mean_only else found
        return self._per_row(self.value(*self._tensors(z, y)))

    def gradient(self, z: Any, y: Any) -> Any:
        return self.value_and_gradient(z, y)[1]

    def value_and_gradient(self, z: Any, y: Any) -> tuple[Any, Any]:
        if matrix.is_tensor(z):
            z = z.detach().requires_grad_()
            value = self.function(z, self.target(y))
            (gradient,) = torch.autograd.grad(value * len(z) if self.mean_only else value.sum(), z)
            value = value.detach()
            return (value.expand(len(z)) if self.mean_only else value), gradient
        value, gradient = self.value_and_gradient(*self._tensors(z, y))
        return self._per_row(value), gradient.numpy()

    def curvature(self, z: Any, y: Any) -> Any:
        if not matrix.is_tensor(z):
            return self.curvature(*self._tensors(z, y)).numpy()
        z = z.detach().requires_grad_()
        value = self.function(z, self.target(y))
        total = value * len(z) if self.mean_only else value.sum()
        (gradient,) = torch.autograd.grad(total, z, create_graph=True)
        if self.several is not None:
            columns = [self._second(gradient[:, k], z) for k in range(self.several)]
            return torch.stack(columns, 1)
        return self._second(gradient, z)

    @staticmethod
    def _second(gradient: Any, z: Any) -> Any:
        second = None
        if gradient.requires_grad:
            (second,) = torch.autograd.grad(gradient.sum(), z, allow_unused=True, retain_graph=True)
        return torch.zeros_like(z) if second is None else torch.zeros_like(z) + second

    def _tensors(self, z: Float, y: Array) -> tuple[Any, Any]:
        return torch.from_numpy(np.ascontiguousarray(z)), torch.from_numpy(np.array(y))

    def target(self, y: Any) -> Any:
        """A target `y` as the function gets it: float64, or int64 where whole numbers choose among several outputs."""
        whole = self.several is not None and not (y.is_floating_point() and bool((y != y.floor()).any()))
        return y.long() if whole else y.double()

    def _per_row(self, value: Any) -> Float:
        return np.asarray(value.detach().contiguous().numpy(), dtype=np.float64)

    def outputs(self, classes: int) -> int | None:
        return self.several

    def check_target(self, y: Array) -> None:
        """Try the loss on two parts of the target, and take its curvature.

        Raises `DataError` where `y` does not hold numbers, `DescendError` where the loss is not a mean over rows.
        """
        if y.dtype.kind not in "fiub":
            raise DataError(f"`y` must hold numbers for a loss of your own, got dtype {y.dtype}.")
        y = y[:TRIED_ROWS].astype(np.float64)
        spread = float(y.std()) or 1.0
        shape = len(y) if self.several is None else (len(y), self.several)
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
