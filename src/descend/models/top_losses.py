"""The rows that a model gets most wrong: all training rows of arrays, a sample of those of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from descend.engines.arrays import ArraySource
from descend.engines.blocks import Block
from descend.engines.matrix import Array, Float, Matrix, is_sparse, take_rows
from descend.errors import DescendError
from descend.models.model import Model
from descend.objectives.sampled import Sample
from descend.objectives.statistics import linear_predictor

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding

MAX_VALUES = 5
"""Columns shown of a row, those that matter most to the model."""


@dataclass(frozen=True)
class TopLoss:
    """A row with a large loss."""

    loss: float
    actual: str
    predicted: str
    values: dict[str, str]
    """The row's values in the columns that matter most."""
    row: int | None = None
    """The position of a row of arrays, counted from 0."""

    @property
    def holds(self) -> str:
        """The values of three columns in words."""
        return ", ".join(f"{name} {value}" for name, value in list(self.values.items())[:3])

    def __str__(self) -> str:
        place = "" if self.row is None else f"row {self.row}: "
        return f"{place}is {self.actual}, predicted {self.predicted}"


@dataclass(frozen=True)
class TopLosses:
    """The largest losses, the largest first, and in words which rows were looked at."""

    rows: list[TopLoss]
    among: str
    what: str = "loss"
    """What they are: where a row's best loss is not 0, of a count for example, what is above it tells."""

    def columns(self) -> tuple[tuple[str, ...], tuple[float, ...], tuple[str, ...]]:
        """What each row is called, its loss and what it holds. Raises `DescendError` where there are none."""
        if not self.rows:
            raise DescendError(f"`plot_top_losses` has nothing to show: {self.among}.")
        labels, losses, holds = zip(*((str(r), r.loss, r.holds) for r in self.rows), strict=True)
        return labels, losses, holds


def top_losses(
    model: Model, count: int = 10, *, source: ArraySource | None = None, sample: Sample | None = None
) -> TopLosses:
    """The `count` rows with the largest losses, penalty and sample weights left out: of all of `source`, else of `sample`.

    Where a row's best loss is not 0, of a count for example, those with the largest deviance.
    """
    if source is not None:
        _, at = source.window(np.arange(source.leaf_count))
        block = Block(source.X, source.y, None, source.offset)
        z = linear_predictor(block, model.weights, model.intercept)[at]
        y, among = np.asarray(source.y, dtype=np.float64)[at], f"all {len(at):,} training rows"
    elif sample is not None:
        z, y = model.linear_predictor(sample.X, sample.offset), sample.y
        at, among = np.arange(len(y)), sample.description.replace("rows", "training rows")
    else:
        return TopLosses([], "no rows")
    if model.loss.mean_only:
        return TopLosses([], "no rows: the loss tells only their mean")
    plain = model.loss.best_is_zero
    losses = model.loss.value(z, y) if plain else model.loss.unit_deviance(z, y)
    worst = np.argsort(-losses, kind="stable")[:count]
    rows, values_of = [], _values_of(model, source, sample)
    for i in worst.tolist():
        actual, predicted = _named(model, z[i : i + 1], float(y[i]))
        place = int(at[i]) if source is not None else None
        rows.append(TopLoss(float(losses[i]), actual, predicted, values_of(int(at[i])), place))
    return TopLosses(rows, among, "loss" if plain else "deviance")


def _values_of(
    model: Model, source: ArraySource | None, sample: Sample | None
) -> Callable[[int], dict[str, str]]:
    """What tells the values of a row, by its place."""
    X = source.X if source is not None else sample.X if sample is not None else np.empty((0, 0))
    if model.encoding is None:
        return lambda row: _plain_values(model.feature_names, X, row, model.weights)
    raw = RawRows(model, model.encoding)
    return lambda row: raw.values(X[row])


def _named(model: Model, z: Float, y: float) -> tuple[str, str]:
    """The target and the prediction of a row in words."""
    if model.classes is None:
        return f"{y:.6g}", ", ".join(f"{value:.6g}" for value in np.ravel(model.loss.link.inverse(z)))
    if not model.has_probabilities:
        return str(model.classes[int(y)]), str(model.decide(z)[0])
    chances = model.probabilities(z)[0]
    likeliest, true = int(chances.argmax()), int(y)
    said = f"{model.classes[likeliest]} ({chances[likeliest]:.3g})"
    if likeliest == true:
        return str(model.classes[true]), said
    return f"{model.classes[true]} ({chances[true]:.2g})", said


def _plain_values(names: tuple[str, ...], rows: Matrix, row: int, weights: Float) -> dict[str, str]:
    """The values of a row of arrays, those with the largest share in its prediction."""
    X = take_rows(rows, slice(row, row + 1))
    dense: Array = np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float64).ravel()
    share = np.abs(dense[:, None] * weights.reshape(len(weights), -1)[: len(names)]).max(axis=1)
    chosen = np.sort(np.argsort(-share, kind="stable")[:MAX_VALUES])
    return {names[i]: f"{dense[i]:.6g}" for i in chosen}


class RawRows:
    """Turns encoded rows back into the units of the data, for the columns that matter most to a model."""

    def __init__(self, model: Model, encoding: Encoding) -> None:
        self.encoding = encoding
        self.place = {name: i for i, name in enumerate(model.feature_names)}
        owner = dict(zip(model.feature_names, self.encoding.owners, strict=True))
        size = dict.fromkeys(self.encoding.names, 0.0)
        for coefficient in self.encoding.coefficients(model.weights)[0]:
            column = owner[coefficient.name]
            size[column] = max(size[column], coefficient.size)
        self.columns = sorted(self.encoding.columns, key=lambda c: -size[c.name])[:MAX_VALUES]

    def values(self, x: Float) -> dict[str, str]:
        """The values of one encoded row, by column."""
        return {column.name: self._value(column, x) for column in self.columns}

    def _value(self, column: Any, x: Float) -> str:
        if column.kind == "number":
            if column.flagged and x[self.place[f"{column.name} (missing)"]] > 0:
                return "missing"
            return f"{x[self.place[column.name]] * column.scale + column.centre:.6g}"
        levels = (d for d in column.dummies if x[self.place[f"{column.name}={d}"]] > 0)
        return str(next(levels, column.reference))
