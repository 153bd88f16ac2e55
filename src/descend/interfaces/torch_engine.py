"""PyTorch: tensors on any device, losses written with its operations, layers in and out.

Only this module imports torch. `Torch` is an engine: it keeps the rows on a device and computes there
what a descent asks for, in float64; anything else is computed by NumPy from rows brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from descend.engines import matrix
from descend.engines.arrays import ArraySource
from descend.engines.blocks import Block, Source
from descend.engines.engine import Engine, Statistic, ThreadSession
from descend.engines.matrix import Float
from descend.engines.moments import Moments, Triangle, triangular_factor
from descend.errors import DataError, DescendError
from descend.interfaces.torch_loss import torch
from descend.machine import cores
from descend.objectives.statistics import (
    BestSum,
    HessianSum,
    LargestCurvature,
    LargestMove,
    LossAndGradient,
    LossSum,
    RowNorms,
    TargetSum,
    shifted,
)

V = TypeVar("V")
CHUNK_CELLS = 2**26
"""Cells of `X` that are made float64 at a time: half a gigabyte."""


@dataclass(frozen=True)
class Torch(Engine):
    """An engine: rows live on a torch `device`, "cpu", "cuda", "cuda:1" or "mps", and are summed there.

    `fit(x, y)` takes it by itself where `x` is a tensor on a GPU. Sums are in float64 (float32 on mps,
    which has no other), in a fixed order, but their last bits may differ from those of Threads. A fit raises
    `DescendError` where the device is not to be had, and for tables and sparse rows, which take Threads.

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
        given = (source.X, source.y, source.sample_weight, source.offset)
        X, y, s, offset = (self._there(column) for column in given)
        if source.split is not None:
            mask = source.split.held_out(0, 0, source.rows) == source.held_out
            rows = torch.from_numpy(np.flatnonzero(mask)).to(device)
            X, y, s, offset = (None if column is None else column[rows] for column in (X, y, s, offset))
        self.block = Block(X, y, s, offset)

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
        if kernel is None or leaves is not None or (kernel in OF_A_LOSS and not kind.loss.takes_tensors):
            return super().reduce(statistic, params, leaves)
        if not self.block.rows:
            raise DataError(
                "no rows are left to work on: every row is held out, or has no weight or no target that is known."
            )
        w = None if params is None else torch.as_tensor(params, dtype=self.dtype, device=self.device)
        total: Any = None
        step = max(CHUNK_CELLS // self.block.X.shape[1], 1)
        for start in range(0, self.block.rows, step):
            found = kernel(statistic, self._chunk(slice(start, start + step)), w)
            total = found if total is None else statistic.merge(total, found)
        result: V = total
        return result

    def _chunk(self, rows: slice) -> Block:
        """Some rows in the dtype of the sums."""
        b: Any = self.block
        columns = (b.X, b.y, b.sample_weight, b.offset)
        taken: list[Any] = [None if column is None else column[rows].to(self.dtype) for column in columns]
        return Block(*taken)


def _predictor(block: Block, w: Any, intercept: bool) -> Any:
    z = block.X @ w[:-1] + w[-1] if intercept else block.X @ w
    return shifted(z, block.offset)


def _numpy(*parts: Any) -> Float:
    joined: Float = torch.cat([part.reshape(-1) for part in parts]).cpu().double().numpy()
    return joined


def _weight(block: Any) -> tuple[Any, Any]:
    """Rows of positive weight, and the sum of the weights."""
    y, s = block.y, block.sample_weight
    if s is None:
        rows = torch.full((1,), float(len(y)), dtype=y.dtype, device=y.device)
        return rows, rows
    return torch.count_nonzero(s).to(y.dtype), s.sum()


def _each(block: Any) -> Any:
    """The weight of each row."""
    return torch.ones_like(block.y) if block.sample_weight is None else block.sample_weight


def _total(block: Any, value: Any) -> Any:
    return value.sum() if block.sample_weight is None else block.sample_weight @ value


def _loss_sum(statistic: LossSum, block: Any, w: Any) -> Float:
    value = statistic.loss.value(_predictor(block, w, statistic.intercept), block.y)
    return _numpy(*_weight(block), _total(block, value))


def _loss_and_gradient(statistic: LossAndGradient, block: Any, w: Any) -> Float:
    made: Any = statistic.loss.value_and_gradient(_predictor(block, w, statistic.intercept), block.y)
    (value, g), s = made, block.sample_weight
    if s is not None:
        g = g * (s if g.ndim == 1 else s[:, None])
    last = [g.sum(0)] if statistic.intercept else []
    return _numpy(*_weight(block), _total(block, value), block.X.T @ g, *last)


def _hessian(statistic: HessianSum, block: Any, w: Any) -> Float:
    d: Any = statistic.loss.curvature(_predictor(block, w, statistic.intercept), block.y)
    X, s = block.X, block.sample_weight
    if statistic.intercept:
        X = torch.cat([X, torch.ones_like(X[:, :1])], 1)
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


def _moments(statistic: Any, block: Any, w: Any) -> Moments:
    Z = torch.cat([block.X, block.target[:, None]], 1)
    rows, weight = (float(part) for part in _weight(block))
    each = _each(block)
    mean = each @ Z / (weight or 1.0)
    Z = Z - mean
    low = each @ Z / (weight or 1.0)
    cross = _square((Z * each[:, None]).T @ Z) - weight * np.outer(_numpy(low), _numpy(low))
    return Moments(weight, int(rows), _numpy(mean), _numpy(low), cross)


def _square(G: Any) -> Float:
    """A symmetric matrix, to the last bit."""
    G = G.cpu().double().numpy()
    return np.asarray(0.5 * (G + G.T))


def _triangle(statistic: Triangle, block: Any, w: Any) -> Float:
    Z = torch.cat([block.X, block.target[:, None]], 1)
    if statistic.mean is not None and statistic.mean_low is not None:
        Z = Z - torch.as_tensor(statistic.mean, dtype=Z.dtype, device=Z.device)
        Z = Z - torch.as_tensor(statistic.mean_low, dtype=Z.dtype, device=Z.device)
    Z = Z / torch.as_tensor(statistic.scale, dtype=Z.dtype, device=Z.device)
    if block.sample_weight is not None:
        Z = Z * block.sample_weight.sqrt()[:, None]
    R = torch.linalg.qr(Z, mode="r")[1].cpu().double().numpy()
    return triangular_factor(np.array(R))


def _row_norms(statistic: RowNorms, block: Any, w: Any) -> Float:
    norms = (block.X * block.X).sum(1) + float(statistic.intercept)
    norms = norms if block.sample_weight is None else norms * block.sample_weight
    return _numpy(_weight(block)[1], norms.sum(), norms.max())


def _largest_move(statistic: LargestMove, block: Any, w: Any) -> Float:
    z = _predictor(Block(block.X, block.y), w, statistic.intercept).abs()
    s = block.sample_weight
    return _numpy((z if s is None else z * (s > 0).reshape(-1, *[1] * (z.ndim - 1))).max())


def _target_sum(statistic: TargetSum, block: Any, w: Any) -> Float:
    each = _each(block)
    if statistic.classes is None:
        return _numpy(each.sum(), each @ block.y)
    return _numpy(each.sum(), torch.bincount(block.y.long(), each, minlength=statistic.classes))


def _best_sum(statistic: BestSum, block: Any, w: Any) -> Float:
    best: Any = statistic.loss.best(block.y)
    return _numpy(_weight(block)[1], _total(block, best))


def _largest_curvature(statistic: LargestCurvature, block: Any, w: Any) -> Float:
    d: Any = statistic.loss.curvature(_predictor(block, w, True), block.y)
    largest = d if d.ndim == 1 else torch.linalg.eigvalsh(d)[:, -1]
    return _numpy((largest * (_each(block) > 0)).max())


OF_A_LOSS = (_loss_sum, _loss_and_gradient, _hessian, _best_sum, _largest_curvature)
"""Kernels in which a loss is given tensors."""

KERNELS: dict[Any, Callable[..., Any]] = {
    LossSum: _loss_sum,
    LossAndGradient: _loss_and_gradient,
    HessianSum: _hessian,
    BestSum: _best_sum,
    LargestCurvature: _largest_curvature,
    Moments: _moments,
    Triangle: _triangle,
    RowNorms: _row_norms,
    LargestMove: _largest_move,
    TargetSum: _target_sum,
}
"""What is computed on the device."""
