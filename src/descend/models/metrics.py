"""How good predictions are, beside a constant prediction: sums over blocks, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from descend.engines.blocks import Block
from descend.engines.engine import Session
from descend.engines.matrix import Float
from descend.engines.moments import MeanSquares
from descend.errors import DescendError
from descend.models.ranking import BINS, EXACT_ROWS, Ranking, Scores
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
