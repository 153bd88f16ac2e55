"""How good predictions are, beside a constant prediction: sums over blocks, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from descend.engines.blocks import Block
from descend.engines.engine import Session
from descend.engines.matrix import Array, Float
from descend.engines.moments import MeanSquares
from descend.errors import DescendError
from descend.objectives.losses import CrossEntropy, LogisticLoss, Loss, SquaredError
from descend.objectives.statistics import linear_predictor


@dataclass(frozen=True)
class Metrics:
    """Named figures of a set of rows, and the same figures of a constant prediction.

    Regression: `rmse`, `mae`, `r2`. Classification: `log_loss` (nats), `accuracy`, with two
    classes `roc_auc`; `confusion[i][j]` is the weight of rows of class i predicted as j.
    """

    rows: int
    values: dict[str, float]
    baseline: dict[str, float]
    confusion: list[list[float]] | None = None
    note: str | None = None
    """What to know about the figures."""

    def completed(self, whole: MeanSquares) -> Metrics:
        """These of some rows of a regression, with what is known of all of them."""
        return Metrics(
            whole.rows,
            {**self.values, **whole.figures(whole.error)},
            {**self.baseline, **whole.figures(whole.deviation)},
            note=f"mae is from {self.rows:,} of {whole.rows:,} rows, evenly spaced; one read tells the rest",
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, None in place of figures that are not finite."""
        plain = {k: v for k, v in vars(self).items() if v is not None}
        for name in ("values", "baseline"):
            plain[name] = {k: v if np.isfinite(v) else None for k, v in plain[name].items()}
        return plain


def evaluate(session: Session, loss: Loss, w: Float, intercept: bool, constant: Float) -> Metrics:
    """Metrics of the rows of a session at weights `w`, beside always predicting `constant`.

    `constant` is the mean target of the training rows, one share per class where there are classes.
    """
    if isinstance(loss, SquaredError):
        errors = session.reduce(ErrorSums(float(constant[0]), intercept), w)
        return errors.metrics()
    if isinstance(loss, LogisticLoss | CrossEntropy):
        hits = session.reduce(HitSums(loss, intercept, len(constant)), w)
        return hits.metrics(constant)
    raise DescendError(f"no metrics are defined for the loss {loss.name}.")


@dataclass(slots=True)
class Errors:
    """Sums of the errors of a regression, and of the deviations from a constant."""

    constant: float
    rows: int
    sums: Float
    """Sum of weights; of errors squared and absolute; of deviations, squared and absolute."""

    def metrics(self) -> Metrics:
        weight, *sums = self.sums.tolist()
        squared, absolute, deviation, squares, absolutes = (total / weight for total in sums)
        means = MeanSquares(self.rows, squared, squares, max(squares - deviation**2, 0.0))

        def figures(squared: float, absolute: float) -> dict[str, float]:
            rmse, r2 = means.figures(squared).values()
            return {"rmse": rmse, "mae": absolute, "r2": r2}

        return Metrics(self.rows, figures(squared, absolute), figures(squares, absolutes))


@dataclass(frozen=True, slots=True)
class ErrorSums:
    """The statistic behind the metrics of a regression."""

    constant: float
    intercept: bool

    def of(self, block: Block, params: Float) -> Errors:
        error = linear_predictor(block, params, self.intercept) - block.y
        deviation = block.y - self.constant
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        columns = (np.ones(block.rows), error**2, np.abs(error), deviation, deviation**2, np.abs(deviation))
        return Errors(
            self.constant, block.rows, np.array([s @ column for column in columns], dtype=np.float64)
        )

    def merge(self, a: Errors, b: Errors) -> Errors:
        return Errors(a.constant, a.rows + b.rows, a.sums + b.sums)


@dataclass(slots=True)
class Hits:
    """Sums of a classification: log loss, confusion, and with two classes the ranking of the scores."""

    rows: int
    log_loss: float
    confusion: Float
    ranking: Ranking | None = None

    def metrics(self, shares: Float) -> Metrics:
        counts = self.confusion.sum(axis=1)
        weight = counts.sum()
        with np.errstate(divide="ignore"):
            constant_loss = -float(np.sum(counts[counts > 0] * np.log(shares[counts > 0])) / weight)
        values = {
            "log_loss": float(self.log_loss / weight),
            "accuracy": float(np.trace(self.confusion) / weight),
        }
        baseline = {"log_loss": constant_loss, "accuracy": float(counts[np.argmax(shares)] / weight)}
        note = None
        if self.ranking is not None:
            values["roc_auc"], baseline["roc_auc"] = self.ranking.area(), 0.5
            if self.ranking.binned:
                note = f"roc_auc is from {BINS:,} bins of the scores, whose rows are more than {EXACT_ROWS:,}"
        return Metrics(self.rows, values, baseline, self.confusion.tolist(), note)


@dataclass(frozen=True, slots=True)
class HitSums:
    """The statistic behind the metrics of a classification."""

    loss: Loss
    intercept: bool
    classes: int

    def of(self, block: Block, params: Float) -> Hits:
        z = linear_predictor(block, params, self.intercept)
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        y = block.y.astype(np.intp)
        predicted = (z > 0).astype(np.intp) if z.ndim == 1 else z.argmax(axis=1)
        flat = np.bincount(y * self.classes + predicted, weights=s, minlength=self.classes**2).astype(
            np.float64
        )
        ranking = Ranking([Scores(z, y == 1, block.sample_weight)]) if z.ndim == 1 else None
        log_loss = float(s @ self.loss.value(z, block.y))
        return Hits(block.rows, log_loss, flat.reshape(self.classes, self.classes), ranking)

    def merge(self, a: Hits, b: Hits) -> Hits:
        ranking = a.ranking.merged(b.ranking) if a.ranking and b.ranking else None
        return Hits(a.rows + b.rows, a.log_loss + b.log_loss, a.confusion + b.confusion, ranking)


EXACT_ROWS = 10_000_000
"""Up to so many scores are kept."""


BINS = 2**16


class Scores(NamedTuple):
    """Scores, which of them belong to a positive row, and the weights (None: all one)."""

    z: Array
    positive: Array
    weight: Array | None = None


@dataclass(slots=True)
class Ranking:
    """Scores that can be merged; beyond `EXACT_ROWS` neighbours are put together in `BINS` bins.

    A pair of rows falls into one bin, where it counts half, with a chance of about 2 / BINS: the area is
    off by less than that each time the scores are binned.
    """

    parts: list[Scores]
    binned: bool = False

    def merged(self, other: Ranking) -> Ranking:
        """The scores of both."""
        merged = Ranking(self.parts + other.parts, self.binned or other.binned)
        if sum(len(part.z) for part in merged.parts) > EXACT_ROWS:
            return Ranking(_binned(merged.parts), True)
        return merged

    def area(self) -> float:
        """The area under the ROC curve."""
        return _area(self.parts)


def roc_auc(score: Array, positive: Array, weight: Array | None = None) -> float:
    """The area under the ROC curve: the chance that a positive row scores above a negative one.

    Ties count half (Hanley and McNeil, 1982). NaN where one of the classes is absent.

    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    return _area([Scores(score, positive, weight)])


def _area(parts: Sequence[Scores]) -> float:
    """Each positive score is looked up among the negative ones; ten million rows take little more than themselves."""
    (up, s), (down, t) = (_in_order(parts, positive) for positive in (True, False))
    below = None if t is None else np.concatenate([[0.0], np.cumsum(t)])
    total = 0.0
    for start in range(0, len(up), CHUNK):
        rows = slice(start, start + CHUNK)
        ranks = np.stack([np.searchsorted(down, up[rows], side) for side in ("left", "right")])
        mean = (ranks if below is None else below[ranks]).mean(axis=0)
        total += float(mean.sum() if s is None else s[rows] @ mean)
    pairs = (len(up) if s is None else s.sum()) * (len(down) if t is None else t.sum())
    return float(total / pairs) if pairs > 0 else float("nan")


CHUNK = 2**16


def _in_order(parts: Sequence[Scores], positive: bool) -> tuple[Array, Array | None]:
    """The scores of one class from low to high, and their weights where any part has them."""
    masks = [part.positive if positive else ~part.positive for part in parts]
    score = np.concatenate([part.z[mask] for part, mask in zip(parts, masks, strict=True)])
    if all(part.weight is None for part in parts):
        score.sort()
        return score, None
    weight = np.concatenate([_weights(part)[mask] for part, mask in zip(parts, masks, strict=True)])
    order = np.argsort(score, kind="stable")
    return score[order], weight[order]


def _weights(part: Scores) -> Array:
    return np.ones(len(part.z)) if part.weight is None else part.weight


def _binned(parts: Sequence[Scores]) -> list[Scores]:
    """Neighbouring scores put together in bins: half of them of equal rows, half of equal weight.

    Rows come without weights as a rule, and bins of rows that went before with theirs.
    """
    edges = [
        _equal_steps([part for part in parts if (part.weight is None) is plain]) for plain in (True, False)
    ]
    edge = np.unique(np.concatenate(edges))
    sums = np.zeros((2, len(edge)))
    for part in parts:
        place = np.maximum(np.searchsorted(edge, part.z, "right") - 1, 0)
        for row, mask in zip(sums, (part.positive, ~part.positive), strict=True):
            row += np.bincount(place[mask], _weights(part)[mask], len(edge))
    up, down = sums
    return [Scores(edge, np.ones(len(edge), bool), up), Scores(edge, np.zeros(len(edge), bool), down)]


def _equal_steps(parts: Sequence[Scores]) -> Array:
    """Scores between which lies equal weight, half as many as there are bins."""
    if not parts:
        return np.empty(0)
    score = np.concatenate([part.z for part in parts])
    at = np.arange(BINS // 2) / (BINS // 2)
    if parts[0].weight is None:
        score.sort()
        return np.asarray(score[(at * len(score)).astype(np.intp)])
    order = np.argsort(score, kind="stable")
    below = np.cumsum(np.concatenate([_weights(part) for part in parts])[order])
    steps = np.searchsorted(below, below[-1] * at, "right").clip(0, len(order) - 1)
    return np.asarray(score[order[steps]])
