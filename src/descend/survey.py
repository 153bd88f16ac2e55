"""The survey: one read of a table that finds profiles of its columns and, for squared error, their moments.

It is a statistic over raw leaves, so that decoding, profiling and summing share the cores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import polars as pl

from descend import matrix
from descend.blocks import AnySplit, Source, leaf_rows
from descend.cells import as_numbers, as_texts, held_out_of, weights_of
from descend.encoding import MISSING_LEVEL
from descend.engines import Engine
from descend.matrix import Array, Float
from descend.moments import Moments
from descend.profiles import HUGE, NumberProfile, Profile, profile_for
from descend.raw_moments import FLAG, MOST_LEVELS, RawMoments
from descend.tables import Slice, Table


@dataclass(frozen=True)
class Question:
    """What to find out about a table, and of which rows."""

    target: str
    names: tuple[str, ...]
    categorical: Collection[str] = ()
    numeric: Collection[str] = ()
    split: AnySplit | None = None
    weight: str | None = None
    sums: bool = False
    """Whether to sum moments too, should the loss be squared error."""

    @property
    def columns(self) -> list[str]:
        """The raw columns to read."""
        others = (self.target, self.weight, self.split.group if self.split else None)
        return [*self.names, *(name for name in others if name is not None)]

    def profiles(self, table: Table) -> dict[str, Profile]:
        """An empty profile for each feature, and for the target last."""
        found: dict[str, Profile] = {}
        for name in self.names:
            numeric = name in self.numeric
            found[name] = (
                NumberProfile() if numeric else profile_for(table.schema[name], name in self.categorical)
            )
            if isinstance(found[name], NumberProfile):
                found[name].distinct = None  # type: ignore[union-attr]
        found[self.target] = profile_for(table.schema[self.target], False)
        return found


@dataclass
class Survey:
    """What the read found: profiles over the training rows, and the counts of rows.

    Rows of weight zero are left out, as if they were not there.
    """

    target: Profile
    features: dict[str, Profile]
    rows: dict[str, int]
    weight: float = 0.0
    """The sum of the weights of the training rows; their number without weights."""
    moments: tuple[RawMoments | None, RawMoments | None] = (None, None)
    """Of the training and the validation rows, None where they were not summed."""
    origins: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(table: Table, question: Question, engine: Engine) -> Survey:
        """Read the table once."""
        source = RawSource(table, question)
        session = engine.open(cast(Source, source))  # it has the leaves of one, and nothing else is asked
        try:
            survey: Survey = session.reduce(Scan(table, question, source.origins))
        finally:
            session.close()
        survey.origins = source.origins
        return survey


@dataclass(frozen=True)
class Scan:
    """The statistic: the survey of one raw leaf, and of two surveys together."""

    table: Table
    question: Question
    origins: dict[str, float]

    def of(self, piece: Any, params: Any = None) -> Survey:
        """The survey of the rows of a slice."""
        q = self.question
        profiles = q.profiles(self.table)
        known = _known(piece.frame[q.target])
        held_out = held_out_of(piece, q.split)
        weights = None if q.weight is None else weights_of(piece, q.weight)
        counted = known if weights is None else known & (weights > 0)
        columns = _Columns(piece.frame, profiles)
        training = columns.take(counted & ~held_out, weights)
        for name, profile in profiles.items():
            cells, s = training.cells[name], training.weights
            if isinstance(profile, NumberProfile):
                profile.dated = piece.frame[name].dtype.is_temporal()
                profile.add_numbers(cells, s)
            else:
                profile.add(cells, s)
        rows = {
            "training": training.rows,
            "validation": int((counted & held_out).sum()),
            "without_target": int((~known).sum()),
        }
        total = float(training.rows if training.weights is None else training.weights.sum())
        moments: tuple[RawMoments | None, RawMoments | None] = (None, None)
        finite = not any(p.infinite for p in profiles.values() if isinstance(p, NumberProfile))
        if q.sums and finite:  # what is infinite is refused later, by name
            validation = columns.take(counted & held_out, weights)
            with np.errstate(over="ignore", invalid="ignore"):  # of held-out cells that are infinite
                moments = training.moments(q, self.origins), validation.moments(q, self.origins)
        return Survey(profiles.pop(q.target), profiles, rows, total, moments)

    def merge(self, a: Survey, b: Survey) -> Survey:
        """The survey of the rows of both, in the memory of `a`."""
        a.target.merge(b.target)  # type: ignore[arg-type]
        for name, profile in a.features.items():
            profile.merge(b.features[name])  # type: ignore[arg-type]
        a.rows = {name: count + b.rows[name] for name, count in a.rows.items()}
        a.weight += b.weight
        a.moments = RawMoments.merge(a.moments[0], b.moments[0]), RawMoments.merge(a.moments[1], b.moments[1])
        return a


@dataclass
class _Columns:
    """The cells of a slice: numbers as float64, NaN where missing; texts as they are."""

    cells: Any
    profiles: dict[str, Profile]
    rows: int = 0
    weights: Float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.cells, pl.DataFrame):
            frame, self.rows = self.cells, self.cells.height
            self.cells = {
                name: as_numbers(frame[name]) if isinstance(profile, NumberProfile) else as_texts(frame[name])
                for name, profile in self.profiles.items()
            }

    def take(self, mask: Array, weights: Float | None) -> _Columns:
        """The rows of a mask, with their weights."""
        if mask.all():
            return _Columns(self.cells, self.profiles, self.rows, weights)
        texts = pl.Series(mask)
        cells = {n: c.filter(texts) if isinstance(c, pl.Series) else c[mask] for n, c in self.cells.items()}
        return _Columns(cells, self.profiles, int(mask.sum()), None if weights is None else weights[mask])

    def moments(self, question: Question, origins: dict[str, float]) -> RawMoments | None:
        """Labelled moments of these rows; columns with very many levels are skipped."""
        numbers = [name for name in question.names if isinstance(self.profiles[name], NumberProfile)]
        absent = {
            name: np.isnan(self.cells[name]) for name in numbers if not np.isfinite(self.cells[name].sum())
        }
        absent = {name: mask for name, mask in absent.items() if mask.any()}
        p = len(numbers) + len(absent)
        Z = matrix.scratch("centred", (self.rows, p + 2), "F")
        for j, name in enumerate(numbers):
            np.subtract(self.cells[name], origins[name], out=Z[:, j])
            if name in absent:
                Z[absent[name], j] = 0.0
        for j, mask in enumerate(absent.values(), len(numbers)):
            Z[:, j] = mask
        np.subtract(self.cells[question.target], origins[question.target], out=Z[:, p])
        Z[:, -1] = 1.0
        labels = [(name, "") for name in numbers] + [(name, FLAG) for name in absent]
        texts = {name: self.cells[name] for name in question.names if name not in numbers}
        sparse, levels, skipped = _indicators(texts, self.rows)
        return RawMoments((*labels, *levels), Moments.of_columns(Z, sparse, self.weights), skipped)


def _indicators(texts: dict[str, pl.Series], rows: int) -> tuple[Any, list[tuple[str, str]], frozenset[str]]:
    """A CSR of one indicator per level, the labels of its columns, and the columns with too many levels."""
    labels: list[tuple[str, str]] = []
    codes, skipped = [], set()
    for name, series in texts.items():
        series = series.fill_null(MISSING_LEVEL)
        levels = series.unique(maintain_order=True)
        if len(levels) > MOST_LEVELS:
            skipped.add(name)
            continue
        codes.append(series.cast(pl.Enum(levels)).to_physical().to_numpy().astype(np.int32) + len(labels))
        labels += [(name, level) for level in levels]
    if not codes:
        return None, labels, frozenset(skipped)
    from scipy.sparse import csr_array

    indptr = np.arange(0, rows * len(codes) + 1, len(codes), dtype=np.int32)
    data = np.ones(rows * len(codes))
    sparse = csr_array((data, np.column_stack(codes).ravel(), indptr), shape=(rows, len(labels)))
    return sparse, labels, frozenset(skipped)


def _known(target: pl.Series) -> Array:
    """A mask of the rows whose target is neither null nor NaN."""
    known = target.is_not_null()
    if target.dtype.is_float():
        known = known & target.is_not_nan().fill_null(False)
    return np.asarray(known.to_numpy())


@dataclass
class RawSource:
    """The raw leaves of a table; its first leaf fixes the origins that numbers are summed about."""

    table: Table
    question: Question
    origins: dict[str, float] = field(default_factory=dict)

    @property
    def feature_names(self) -> Sequence[str]:
        return self.question.names

    def parts(self) -> list[RawSource]:
        return [self]

    def leaves(self) -> Iterator[RawLeaf]:
        """Every leaf in order."""
        for index, piece in enumerate(
            self.table.slices(self.question.columns, leaf_rows(len(self.question.names)))
        ):
            if index == 0 and self.question.sums:
                self._set_origins(piece.frame)
            yield RawLeaf(index, piece)

    def _set_origins(self, frame: pl.DataFrame) -> None:
        """The mean of each column of numbers in the first leaf: near all of them, so nothing cancels."""
        for name, profile in self.question.profiles(self.table).items():
            if isinstance(profile, NumberProfile):
                x = as_numbers(frame[name])
                x = x[np.abs(x) <= HUGE]
                self.origins[name] = float(x.mean()) if len(x) else 0.0


@dataclass(frozen=True, slots=True)
class RawLeaf:
    """One leaf of raw rows."""

    index: int
    piece: Slice

    def block(self) -> Any:
        """The rows as they are: a survey reads cells, not numbers."""
        return self.piece
