"""How good predictions are, beside a constant prediction: sums over blocks, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from descend.engines.blocks import Block
from descend.engines.engine import Session
from descend.engines.matrix import Array, Float
from descend.engines.moments import MeanSquares
from descend.objectives.losses import Loss
from descend.objectives.objective import Objective
from descend.objectives.statistics import (
    DevianceSum,
    LogWeights,
    best_constant,
    constant_predictor,
    linear_predictor,
    shifted,
)


class Figure(NamedTuple):
    """What a metric is called on a page, and whether more of it is better."""

    words: str
    more_is_better: bool


FIGURES = {
    "rmse": Figure("root mean squared error", False),
    "mae": Figure("mean absolute error", False),
    "r2": Figure("R², the share of the variance explained", True),
    "loss": Figure("mean loss", False),
    "deviance": Figure("mean deviance", False),
    "d2": Figure("D², the share of the deviance explained", True),
    "log_loss": Figure("log loss, in nats", False),
    "accuracy": Figure("accuracy", True),
    "roc_auc": Figure("area under the ROC curve", True),
}
"""Every metric there is; a loss names its own in `Loss.metrics`."""


@dataclass(frozen=True)
class Metrics:
    """Named figures of a set of rows, and the same figures of a constant prediction.

    Numbers: `rmse`, `mae`, `r2`; of a loss other than squared error also `loss`, its mean, and `d2`. Counts: the mean
    `deviance`, `d2`, `rmse`, `mae`. `d2` is the share of the deviance explained, `1 - deviance / deviance of the mean`
    (Cameron and Windmeijer, 1997). Classes: `log_loss` (nats), `accuracy`, with two classes `roc_auc`;
    `confusion[i][j]` is the weight of rows of class i predicted as j.
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
    """The metrics that a loss names, of the rows of a session at weights `w`, beside always predicting `constant`.

    `constant` is the mean target of the training rows, one share per class where there are classes; where rows have an
    offset it is the mean at an offset of zero, to which each row's is added.
    """
    offset = session.source.has_offset
    if loss.has_classes:
        hits = HitSums(loss, intercept, len(constant), float(constant[-1]) if offset else None)
        return session.reduce(hits, w).metrics(loss, constant)
    statistic = ErrorSums(loss, float(constant[0]), intercept)
    errors = session.reduce(statistic, w)
    null = errors
    if offset:  # beside which a constant is another one than the mean
        null = session.reduce(replace(statistic, constant=best_constant(session, loss)), w)
    elif "d2" in loss.metrics and errors.is_off:  # the deviance of the mean of these rows takes another pass
        null = session.reduce(replace(statistic, constant=errors.mean), w)
    return errors.metrics(loss, null, one=w.ndim == 1)


@dataclass(slots=True)
class Errors:
    """Sums of the errors of predicted numbers, and of the deviations from a constant."""

    constant: float
    rows: int
    sums: Float
    """Sum of weights; of errors squared and absolute; of deviations, squared and absolute.

    Where the loss is not the squared error also its sums, and those of the deviance, of the predictions and of the
    constant.
    """

    @property
    def means(self) -> list[float]:
        """The sums, without the first, over the weight."""
        weight, *sums = self.sums.tolist()
        return [total / weight for total in sums]

    @property
    def mean(self) -> float:
        """The mean target of these rows."""
        return self.constant + self.means[2]

    @property
    def is_off(self) -> bool:
        """Whether the constant is not their mean."""
        _, _, deviation, squares, *_ = self.means
        return deviation**2 > 1e-18 * squares

    def metrics(self, loss: Loss, null: Errors, one: bool) -> Metrics:
        """The figures; `null` are sums about the mean of these rows, `one` says that a row has one prediction."""
        squared, absolute, deviation, squares, absolutes, *own = self.means
        variance = squares - deviation**2 if null is self else null.means[3]
        about = MeanSquares(self.rows, squared, squares, max(variance, 0.0))

        def figures(squared: float, absolute: float, *own: float) -> dict[str, float]:
            rmse, r2 = about.figures(squared).values()
            found = {"rmse": rmse, "mae": absolute, "r2": r2}
            if own:
                varies = about.variance > 0 and null.means[-1] > 0
                found |= {"loss": own[0], "deviance": own[1]}
                found["d2"] = 1.0 - own[1] / null.means[-1] if varies else float("nan")
            return {name: found[name] for name in loss.metrics if one or name == "loss"}

        return Metrics(self.rows, figures(squared, absolute, *own[:2]), figures(squares, absolutes, *own[2:]))


@dataclass(frozen=True, slots=True)
class ErrorSums:
    """The statistic behind the metrics of predicted numbers."""

    loss: Loss
    constant: float
    intercept: bool

    def of(self, block: Block, params: Float) -> Errors:
        z = linear_predictor(block, params, self.intercept)
        error = self.loss.link.inverse(z) - block.y if z.ndim == 1 else np.zeros(block.rows)
        null = shifted(np.full(block.rows, self.loss.link.of(np.array(self.constant))), block.offset)
        deviation = block.y - (self.constant if block.offset is None else self.loss.link.inverse(null))
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        columns = [np.ones(block.rows), error**2, np.abs(error), deviation, deviation**2, np.abs(deviation)]
        if not self.loss.closed_form:
            always = null if z.ndim == 1 else np.repeat(null[:, None], z.shape[1], axis=1)
            columns += [
                f(at, block.y) for at in (z, always) for f in (self.loss.value, self.loss.unit_deviance)
            ]
        return Errors(
            self.constant, block.rows, np.array([s @ column for column in columns], dtype=np.float64)
        )

    def merge(self, a: Errors, b: Errors) -> Errors:
        return Errors(a.constant, a.rows + b.rows, a.sums + b.sums)


@dataclass(slots=True)
class Hits:
    """Sums of a classification: the loss, confusion, and with two classes the ranking of the scores."""

    rows: int
    loss: float
    confusion: Float
    ranking: Ranking | None = None
    null: float | None = None
    """The loss of the constant beside the offset of each row, where they have one."""

    def metrics(self, loss: Loss, shares: Float) -> Metrics:
        counts = self.confusion.sum(axis=1)
        weight, there = counts.sum(), counts > 0
        own = (
            self.null if self.null is not None else np.sum(counts[there] * _of_constant(loss, shares)[there])
        )
        own = float(own / weight)
        accuracy = float(np.trace(self.confusion) / weight)
        values = {name: float(self.loss / weight) for name in ("log_loss", "loss")} | {"accuracy": accuracy}
        baseline = dict.fromkeys(("log_loss", "loss"), own)
        baseline["accuracy"] = float(counts[np.argmax(shares)] / weight)
        note = None
        if self.ranking is not None:
            values["roc_auc"], baseline["roc_auc"] = self.ranking.area(), 0.5
            if self.ranking.binned:
                note = f"roc_auc is from {BINS:,} bins of the scores, whose rows are more than {EXACT_ROWS:,}"
        values, baseline = (
            {name: found[name] for name in loss.metrics if name in found} for found in (values, baseline)
        )
        return Metrics(self.rows, values, baseline, self.confusion.tolist(), note)


def _of_constant(loss: Loss, shares: Float) -> Float:
    """The loss of a row of each class where the shares of the classes are predicted."""
    with np.errstate(divide="ignore"):
        if loss.likelihood:
            return -np.log(shares)
    several, classes = loss.outputs(len(shares)) is not None, np.arange(len(shares), dtype=np.float64)
    z = constant_predictor(loss, shares)
    return loss.value(np.tile(z, (len(shares), 1)) if several else np.repeat(z, len(shares)), classes)


@dataclass(frozen=True, slots=True)
class HitSums:
    """The statistic behind the metrics of a classification."""

    loss: Loss
    intercept: bool
    classes: int
    null: float | None = None
    """The share of the second class at an offset of zero, where rows have one."""

    def of(self, block: Block, params: Float) -> Hits:
        z = linear_predictor(block, params, self.intercept)
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        y = block.y.astype(np.intp)
        predicted = (z > 0).astype(np.intp) if z.ndim == 1 else z.argmax(axis=1)
        flat = np.bincount(y * self.classes + predicted, weights=s, minlength=self.classes**2).astype(
            np.float64
        )
        ranking = Ranking([Scores(z, y == 1, block.sample_weight)]) if z.ndim == 1 else None
        total = float(s @ self.loss.value(z, block.y))
        null = None
        if self.null is not None:
            always = shifted(np.full(block.rows, self.loss.link.of(np.array(self.null))), block.offset)
            null = float(s @ self.loss.value(always, block.y))
        return Hits(block.rows, total, flat.reshape(self.classes, self.classes), ranking, null)

    def merge(self, a: Hits, b: Hits) -> Hits:
        ranking = a.ranking.merged(b.ranking) if a.ranking and b.ranking else None
        null = None if a.null is None or b.null is None else a.null + b.null
        return Hits(a.rows + b.rows, a.loss + b.loss, a.confusion + b.confusion, ranking, null)


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


def goodness(objective: Objective, w: Float, loss: float, rows: float, frequencies: bool) -> dict[str, float]:
    """Deviance and log-likelihood at the minimum `w`, beside those of a constant prediction; as far as there are any.

    Of squared error the deviance is the residual sum of squares, and the log-likelihood is that of normal errors of the
    most likely variance. `loss` is the mean loss at `w`, `rows` is how many count, with `frequencies` by their weight.
    Without an intercept or columns that make up for it the model without any weights stands in for the constant.
    Nothing of losses without a likelihood.
    """
    kind, weight = objective.loss, objective.weight
    found: dict[str, float] = {}
    if kind.likelihood and not (kind.has_classes or w.ndim == 2):
        constant = np.zeros(len(w) + (not objective.intercept))
        constant[-1] = float(kind.link.of(objective.constant)[0]) if objective.has_constant else 0.0
        at = objective.session.reduce(DevianceSum(kind, objective.intercept), w).tolist()
        null = objective.session.reduce(DevianceSum(kind, True), constant).tolist()
        found = {"deviance": at[0], "null_deviance": null[0], "pearson": at[1]}
        found |= {"log_likelihood": at[2], "null_log_likelihood": null[2]}
    elif kind.likelihood or kind.closed_form:
        known = objective.has_constant
        base = objective.constant_loss if known else objective.value(objective.zeros())
        factor = weight if kind.closed_form else 2.0 * weight
        found = {"deviance": factor * loss, "null_deviance": factor * base}
        for name in ("log_likelihood", "null_log_likelihood"):
            deviance = found[name.replace("log_likelihood", "deviance")]
            found[name] = _normal(deviance, rows) if kind.closed_form else -0.5 * deviance
        if kind.closed_form and not frequencies and weight != objective.rows:
            logs = 0.5 * float(objective.session.reduce(LogWeights())[0])
            found |= {name: found[name] + logs for name in ("log_likelihood", "null_log_likelihood")}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _normal(squares: float, rows: float) -> float:
    """The log-likelihood of so many normal errors with this sum of squares, of the variance that makes it largest."""
    return -0.5 * rows * (math.log(2.0 * math.pi * squares / rows) + 1.0) if squares > 0 else math.inf
