"""Local steps: each worker walks over its own rows in mini-batches, and the weights are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from descend.descent.backtracking import backtracked
from descend.descent.first_order import Optimizer, Update
from descend.engines import matrix
from descend.engines.blocks import Block
from descend.engines.matrix import Float
from descend.errors import DescendError, check_whole
from descend.objectives.batches import batch_rate
from descend.objectives.coordinates import Coordinates
from descend.objectives.losses import Loss
from descend.objectives.objective import Objective
from descend.objectives.penalties import Penalty
from descend.objectives.statistics import shifted


class Rounds(NamedTuple):
    """Rounds made, the learning rate, and the lowest loss seen."""

    number: int = 0
    rate: float | None = None
    lowest: float = np.inf


@dataclass(frozen=True)
class LocalSteps(Optimizer):
    """One step is one round: `w_k = SGD over the rows of worker k from w`, then `w = sum_k n_k w_k / n`.

    Stochastic descent where rows are spread over machines: mini-batches of all rows would take a message
    per batch, local ones take one per pass. With one worker it is stochastic descent. `batch_size` rows
    make a local step; rows are shuffled within their leaf by `seed`. A `learning_rate` of "auto" is that of
    mini-batches, halved whenever a round has not lowered the loss, and for a step that would not lower the loss of its
    batch where no bound of the curvature holds; a number stays as it is. Raises `DescendError`
    for another rate or size. The result
    depends on which worker has which rows, so it is not bitwise the same on other numbers of workers.

    It comes near the minimum in few rounds and does not settle on it: give `steps` or a `time_limit`.
    Stich, Local SGD Converges Fast and Communicates Little (ICLR 2019); averaging after one pass: Zinkevich
    et al., Parallelized Stochastic Gradient Descent (NIPS 2010).

    >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
    >>> objective, local = Objective.of(x, y, loss="logistic"), LocalSteps(batch_size=2)
    >>> update = local.step(objective, np.zeros(2), local.init(np.zeros(2)))
    >>> objective.value(update.weights) < objective.value(np.zeros(2))
    True
    """

    learning_rate: float | str = "auto"
    batch_size: int = 256
    seed: int = 0
    name: ClassVar[str] = "local-steps"
    first_order: ClassVar[bool] = False
    """It makes its own batches: `fit(batch_size=)` cuts those of all rows."""

    def __post_init__(self) -> None:
        size, rate = self.batch_size, self.learning_rate
        check_whole("batch_size", size)
        if rate != "auto" and not (isinstance(rate, float | int) and rate > 0):
            raise DescendError(f'`learning_rate` must be "auto" or a number above 0, got {rate!r}.')

    def init(self, w: Float) -> Rounds:
        """No rounds made."""
        return Rounds()

    def step(self, objective: Objective, w: Float, state: Rounds) -> Update:
        if not objective.session.has_rows:
            raise DescendError(
                "`optimizer` local-steps needs an objective over data; this one holds moments only."
            )
        rate, loss = state.rate, objective.value(w)
        if self.learning_rate != "auto":
            rate = float(self.learning_rate)
        elif rate is None:
            rate = batch_rate(objective, self.batch_size)
        elif not loss < state.lowest:
            rate *= 0.5
        mean_weight = objective.weight / objective.rows
        walk = LocalWalk(
            objective.loss, objective.penalty, objective.intercept, rate, self.batch_size, mean_weight,
            (self.seed, state.number), objective.searches and self.learning_rate == "auto", objective.coordinates,
        )  # fmt: skip
        ends = [end for end in objective.session.chain(walk, Place(w, 0.0, 0)) if end.weight > 0]
        total = sum(end.weight for end in ends)
        average = np.sum([end.weights * (end.weight / total) for end in ends], axis=0)
        return Update(average, Rounds(state.number + 1, rate, min(loss, state.lowest)), rate)


class Place(NamedTuple):
    """Where a walk over some rows is: the weights, the weight of the rows, the leaves seen."""

    weights: Float
    weight: float
    leaves: int


@dataclass(frozen=True)
class LocalWalk:
    """Stochastic descent over the rows of a leaf, in batches: a step of `Session.chain`."""

    loss: Loss
    penalty: Penalty
    intercept: bool
    rate: float
    batch_size: int
    mean_weight: float
    key: tuple[int, int]
    """Seed and round."""
    searches: bool = False
    """Whether a step that does not lower the loss of its batch is made shorter."""
    units: Coordinates | None = None
    """Those that the weights are in, None where they are in the units of the rows."""

    def __call__(self, block: Block, place: Place) -> Place:
        """Walk on over the rows of a block."""
        seed, number = self.key
        key = np.array([seed, number + (place.leaves << 32)], dtype=np.uint64)
        weights = block.sample_weight
        rows = np.arange(block.rows) if weights is None else np.flatnonzero(weights > 0)
        block = block.take(np.random.Generator(np.random.Philox(key=key)).permutation(rows))
        X = matrix.with_ones(block.X) if self.intercept else block.X
        if self.units is not None:
            X = self.units.rows(X if matrix.is_sparse(X) else np.array(X, dtype=np.float64))
        w = np.array(place.weights, dtype=np.float64)
        for start in range(0, block.rows, self.batch_size):
            self._step(w, X, block, slice(start, start + self.batch_size))
        s = block.sample_weight
        return Place(w, place.weight + float(block.rows if s is None else s.sum()), place.leaves + 1)

    def _step(self, w: Float, X: Any, block: Block, rows: slice) -> None:
        """Change `w` by one batch."""
        x, y = matrix.take_rows(X, rows), block.y[rows]
        s, offset = (
            None if column is None else column[rows] for column in (block.sample_weight, block.offset)
        )
        g = self.loss.gradient(shifted(matrix.product(x, w), offset), y)
        if s is not None:
            g = g * (s if g.ndim == 1 else s[:, None])
        gradient = matrix.transposed_product(x, g) / (len(y) * self.mean_weight)
        if not self.penalty.is_zero:
            v = w[:-1] if self.intercept else w
            gradient[: len(v)] += self.penalty.gradient(v)
        rate = self.rate
        if self.searches:

            def losses(w: Float) -> Float:
                each = self.loss.value(shifted(matrix.product(x, w), offset), y)
                return each if s is None else s * each

            def value(w: Float) -> float:
                mean = losses(w).sum() / (len(y) * self.mean_weight)
                return float(mean) + self.penalty.value(w[:-1] if self.intercept else w)

            rate = backtracked(value, w, value(w), gradient, rate, float(np.abs(losses(w)).mean()))
        w -= rate * gradient
