"""Encoding: what was learned about raw columns, the map from raw rows to `X`, and its way back.

Numbers are centred and scaled by their training mean and standard deviation, missing ones filled
with the mean and flagged by a column of their own; texts become one dummy column per level, 0 or 1,
unscaled. `X` holds the numbers and flags as dense columns and all dummies as sparse ones, in that
order. Weights go back to original units by the same numbers: standardising never changes the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
import polars as pl

from descend.engines.arrays import HUGE, TINY
from descend.engines.matrix import Array, Float, Matrix, Mixed
from descend.errors import DataError
from descend.tables.cells import Unknowns, as_numbers, as_texts, strange
from descend.tables.profiles import NumberProfile, Profile, TextProfile
from descend.tables.table import Table, open_table

MAX_LEVELS = 1_000
OTHER, MISSING_LEVEL = "(other)", "(missing)"
BOOLEANS = frozenset({"true", "false", MISSING_LEVEL})


@dataclass(frozen=True)
class Number:
    """A column of numbers: `(x - centre) / scale`, missing cells filled with `mean`."""

    name: str
    mean: float
    scale: float
    centre: float
    flagged: bool = False
    """Whether a further column says that the cell was missing."""
    missing_share: float = 0.0
    dated: bool = False
    """Whether the numbers are the days of dates."""
    kind: ClassVar[str] = "number"

    @staticmethod
    def learn(name: str, profile: NumberProfile, centred: bool) -> Number:
        if profile.infinite:
            raise DataError(
                f"column `{name}` holds {profile.infinite} number(s) that are infinite, or beyond {HUGE:g}: "
                f"replace them, or --drop {name}."
            )
        if 0 < max(-profile.low, profile.high) < TINY:
            raise DataError(
                f"column `{name}` holds no number as large as {TINY:g} but zeros: their squares vanish. Multiply it by 1e150, "
                f"or --drop {name}."
            )
        share = profile.missing / max(profile.count + profile.missing, 1)
        centre = profile.mean if centred else 0.0
        return Number(name, profile.mean, profile.scale, centre, profile.missing > 0, share, profile.dated)

    def encode(self, series: pl.Series, out: Float, unknowns: Unknowns) -> Array | None:
        """Fill one column of `X`; return the mask of missing cells where there are any."""
        x = as_numbers(series, self.dated)
        absent = np.isnan(x)
        with np.errstate(over="ignore"):
            squares = x @ x
        if not np.isfinite(squares) and (huge := np.abs(x) > HUGE).any():  # where nothing was learned from
            unknowns.add("number", self.name, int(huge.sum()), f"{x[huge][0]:g}")
            absent |= huge
        if series.dtype == pl.String:
            unknowns.add("number", self.name, *strange(series, ~absent))
        np.subtract(x, self.centre, out=out)
        out /= self.scale
        if not absent.any():
            return None
        out[absent] = (self.mean - self.centre) / self.scale
        return absent


@dataclass(frozen=True)
class Category:
    """A column of texts: one dummy per level, but for the reference where `dropped`."""

    name: str
    levels: tuple[str, ...]
    shares: tuple[float, ...]
    reference: str
    dropped: bool = False
    kind: ClassVar[str] = "category"

    @staticmethod
    def learn(name: str, profile: TextProfile, reference: str | None) -> Category:
        levels = sorted(profile.levels)
        counts: dict[str, float] = {level: profile.levels[level] for level in levels}
        if len(levels) > MAX_LEVELS:
            levels = sorted(profile.most_common(MAX_LEVELS))
            rest = profile.count - sum(profile.levels[level] for level in levels)
            counts = {level: counts[level] for level in levels} | {OTHER: rest}
        if profile.missing:
            counts[MISSING_LEVEL] = counts.get(MISSING_LEVEL, 0) + profile.missing
        if reference is not None and reference not in counts:
            raise DataError(
                f"`reference` of column `{name}` must be one of its levels "
                f"({', '.join(map(repr, levels[:8]))}{', ...' if len(levels) > 8 else ''}), got {reference!r}."
            )
        total = sum(counts.values())
        shares = tuple(count / total for count in counts.values())
        return Category(name, tuple(counts), shares, reference or next(iter(counts)))

    @property
    def dummies(self) -> tuple[str, ...]:
        """The levels that have a column in `X`."""
        return tuple(level for level in self.levels if not (self.dropped and level == self.reference))

    def encode(self, series: pl.Series, unknowns: Unknowns) -> Array:
        """The column of `X` of each row, -1 for the dropped reference."""
        texts = as_texts(series)
        if BOOLEANS.issuperset(self.levels):  # a CSV may write them True, TRUE or true
            texts = texts.str.to_lowercase()
        if MISSING_LEVEL in self.levels:
            texts = texts.fill_null(MISSING_LEVEL)
        codes = texts.cast(pl.Enum(self.levels), strict=False).to_physical().cast(pl.Int32)
        if codes.null_count():
            unseen = texts.filter(codes.is_null()).fill_null(MISSING_LEVEL)
            if OTHER not in self.levels:
                unknowns.add("level", self.name, len(unseen), unseen[0])
            codes = codes.fill_null(self.levels.index(OTHER if OTHER in self.levels else self.reference))
        columns = {level: i for i, level in enumerate(self.dummies)}
        lookup = np.array([columns.get(level, -1) for level in self.levels], dtype=np.int32)
        return np.asarray(lookup[codes.to_numpy()])


def infinite_target(name: str, held: str) -> str:
    """That a target `held` a number among rows that nothing was learned from, and what to do."""
    return f"target `{name}` holds {held}, which is infinite or beyond {HUGE:g}: leave that row out."


Column: TypeAlias = Number | Category
KINDS: dict[str, type[Any]] = {kind.kind: kind for kind in (Number, Category)}


@dataclass(frozen=True)
class Target:
    """The target column: a number, or one of `classes` (a code 0, 1, ... in their order)."""

    name: str
    classes: tuple[Any, ...] | None = None

    def encode(self, series: pl.Series) -> Array:
        """float64, with NaN where the target is missing or of no known class. Raises `DataError` where one is infinite."""
        if self.classes is None:
            y = as_numbers(series)
            if (huge := np.abs(y) > HUGE).any():
                raise DataError(infinite_target(self.name, f"{y[huge][0]:g}"))
            return y
        if isinstance(self.classes[0], bool | str):
            texts, levels = as_texts(series), [label_text(c) for c in self.classes]
            codes = texts.cast(pl.Enum(levels), strict=False).to_physical().cast(pl.Float64)
            return np.asarray(codes.to_numpy(), dtype=np.float64)
        x, known = as_numbers(series), np.array(self.classes, dtype=np.float64)
        nearest = np.searchsorted(known, x).clip(0, len(known) - 1)
        return np.where(known[nearest] == x, nearest.astype(np.float64), np.nan)


def label_text(label: Any) -> str:
    """A class label as polars writes it."""
    return str(label).lower() if isinstance(label, bool) else str(label)


@dataclass(frozen=True)
class Coefficient:
    """One weight in original units, with its size in standard deviations of its column."""

    name: str
    values: tuple[float, ...]
    """One per output."""
    size: float


@dataclass(frozen=True)
class Encoding:
    """The columns of a table that a model uses, and its target."""

    columns: tuple[Column, ...]
    target: Target
    intercept: bool = True
    positions: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "positions", tuple(np.cumsum([0] + [len(c.dummies) for c in self.categories]))
        )

    @staticmethod
    def learn(
        profiles: Mapping[str, Profile], target: Target, reference: Mapping[str, str], intercept: bool
    ) -> Encoding:
        """From the profiles of the columns to use. Raises `DataError` where two features would have one name."""
        columns = tuple(
            Number.learn(name, profile, intercept)
            if isinstance(profile, NumberProfile)
            else Category.learn(name, profile, reference.get(name))
            for name, profile in profiles.items()
        )
        made = Encoding(columns, target, intercept)
        for name, count in Counter(made.feature_names).most_common(1):
            if count > 1:
                raise DataError(
                    f"two features would be called `{name}`, one a column of that name, the other made of a column: "
                    "rename the first."
                )
        return made

    def dropping_references(self) -> Encoding:
        """The coding without a penalty: the reference level has no column, so that weights are unique.

        Without an intercept the first category keeps all its levels, which then play its part.
        """
        first = None if self.intercept or not self.categories else self.categories[0].name
        columns = tuple(
            replace(c, dropped=True) if isinstance(c, Category) and c.name != first else c
            for c in self.columns
        )
        return replace(self, columns=columns)

    @property
    def numbers(self) -> tuple[Number, ...]:
        return tuple(c for c in self.columns if isinstance(c, Number))

    @property
    def categories(self) -> tuple[Category, ...]:
        return tuple(c for c in self.columns if isinstance(c, Category))

    @property
    def names(self) -> tuple[str, ...]:
        """The raw columns read."""
        return tuple(c.name for c in self.columns)

    @property
    def category_names(self) -> tuple[str, ...]:
        """The raw columns read as text."""
        return tuple(c.name for c in self.categories)

    @property
    def number_names(self) -> tuple[str, ...]:
        """The raw columns read as numbers, the target among them where it is one."""
        target = () if isinstance((self.target.classes or (0,))[0], str | bool) else (self.target.name,)
        return (*(c.name for c in self.numbers), *target)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One name per column of `X`: `age`, `age (missing)`, `job=student`."""
        numbers = [c.name for c in self.numbers]
        flags = [f"{c.name} (missing)" for c in self.numbers if c.flagged]
        dummies = [f"{c.name}={level}" for c in self.categories for level in c.dummies]
        return tuple(numbers + flags + dummies)

    @property
    def owners(self) -> tuple[str, ...]:
        """The raw column that each column of `X` was made of."""
        flagged = [c.name for c in self.numbers if c.flagged]
        dummies = [c.name for c in self.categories for _ in c.dummies]
        return (*(c.name for c in self.numbers), *flagged, *dummies)

    @property
    def units(self) -> tuple[Float, Float]:
        """One of each column of `X` in its own units, and the zero of `X` there: `x = centre + unit * X`."""
        others = len(self.feature_names) - len(self.numbers)
        units = [c.scale for c in self.numbers] + [1.0] * others
        return np.array(units), np.array([c.centre for c in self.numbers] + [0.0] * others)

    @property
    def independent(self) -> list[int]:
        """The columns of `X` less those that the coding itself makes combinations of others.

        Where all levels of a category have a column, these add up to one: the reference's is left out.
        """
        spare = {f"{c.name}={c.reference}" for c in self.categories if self.intercept and not c.dropped}
        return [i for i, name in enumerate(self.feature_names) if name not in spare]

    def transform(self, frame: pl.DataFrame) -> tuple[Matrix, Unknowns]:
        """Rows of raw columns as a block's `X`, and what could not be taken as it is."""
        unknowns = Unknowns()
        numbers = self.numbers
        flags = [c.name for c in numbers if c.flagged]
        dense = np.zeros((frame.height, len(numbers) + len(flags)), order="F")
        for j, column in enumerate(numbers):
            absent = column.encode(frame[column.name], dense[:, j], unknowns)
            if absent is not None and column.flagged:
                dense[:, len(numbers) + flags.index(column.name)] = absent
        if not self.positions[-1]:
            return dense, unknowns
        return Mixed(dense, self._dummies(frame, unknowns)), unknowns

    def _dummies(self, frame: pl.DataFrame, unknowns: Unknowns) -> Any:
        from scipy.sparse import csr_array

        codes = np.empty((frame.height, len(self.categories)), dtype=np.int32)
        for j, column in enumerate(self.categories):
            local = column.encode(frame[column.name], unknowns)
            codes[:, j] = np.where(local < 0, -1, local + self.positions[j])
        present = codes >= 0
        indptr = np.zeros(frame.height + 1, dtype=np.int32)
        np.cumsum(present.sum(axis=1), out=indptr[1:])
        indices = codes[present]
        shape = (frame.height, self.positions[-1])
        return csr_array((np.ones(len(indices)), indices, indptr), shape=shape)

    def coefficients(self, w: Float) -> tuple[list[Coefficient], tuple[float, ...]]:
        """Weights in original units, largest standardised size first, and the intercept per output.

        `weight / scale` for numbers; `intercept - sum(weight * centre / scale)`.
        """
        W = w.reshape(len(w), -1)
        last = W[-1].copy() if self.intercept else np.zeros(W.shape[1])
        result, scales = [], self._sizes()
        for i, name in enumerate(self.feature_names):
            values = W[i].copy()
            if i < len(self.numbers):
                column = self.numbers[i]
                values /= column.scale
                last -= values * column.centre
            result.append(Coefficient(name, tuple(values.tolist()), float(np.abs(W[i]).max() * scales[i])))
        return sorted(result, key=lambda c: -c.size), tuple(last.tolist())

    def _sizes(self) -> list[float]:
        """The standard deviation of each column of `X` over the training rows."""
        flags = [np.sqrt(c.missing_share * (1 - c.missing_share)) for c in self.numbers if c.flagged]
        shares = [dict(zip(c.levels, c.shares, strict=True))[d] for c in self.categories for d in c.dummies]
        return (
            [1.0] * len(self.numbers)
            + [float(f) for f in flags]
            + [float(np.sqrt(s * (1 - s))) for s in shares]
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "columns": [{"kind": c.kind, **vars(c)} for c in self.columns],
            "target": vars(self.target),
            "intercept": self.intercept,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Encoding:
        """The inverse of `to_dict`."""
        columns = []
        for entry in data["columns"]:
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items() if k != "kind"}
            columns.append(KINDS[entry["kind"]](**values))
        classes = data["target"]["classes"]
        target = Target(data["target"]["name"], None if classes is None else tuple(classes))
        return Encoding(tuple(columns), target, data["intercept"])


def open_encoded(
    data: Any,
    learned: Encoding,
    missing: Sequence[str] | None,
    keep: Sequence[str] = (),
    encoding: str | None = None,
    offset: str | None = None,
) -> Table:
    """A table to be encoded by what was `learned` from another one, the columns to `keep` as they are.

    `offset` names a column that is added to the linear predictor.

    `encoding` is that of its text where it is not UTF-8. Raises `DataError` where it lacks a column.
    """
    numbers = [name for name in learned.number_names if name not in keep]
    table = open_table(
        data, missing=missing, text_columns=learned.category_names, number_columns=numbers, encoding=encoding
    )
    needed = [*learned.names, *([] if offset is None else [offset])]
    absent = [name for name in needed if name not in table.names]
    if absent:
        listed = ", ".join(f"`{name}`" for name in absent[:8])
        raise DataError(
            f"{table.label!r} lacks {len(absent)} column(s) that the model was fitted on: {listed}."
        )
    return table
