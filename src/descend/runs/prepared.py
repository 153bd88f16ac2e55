"""What a problem is made of: what was asked for, and what the data turned out to be.

`from_arrays` and `from_table` turn the one into the other; `Problem.of` makes a Problem of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descend.doors import door
from descend.engines.blocks import Source
from descend.engines.engine import Engine, Threads
from descend.engines.matrix import Array, Float, is_elsewhere
from descend.engines.moments import Moments
from descend.engines.splits import AnySplit, LastRows, Split, check_seed
from descend.errors import DataError, DescendError
from descend.machine import as_bytes
from descend.models.covariance import ErrorKind
from descend.objectives.losses import Loss, as_loss
from descend.objectives.penalties import Penalty

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding
    from descend.tables.profiles import Profile


UNITS = ("original", "standardised")
"""Of the weights that a penalty acts on: those of the data, or of columns over their standard deviations."""
WEIGHT_KINDS = ("precisions", "frequencies")


@dataclass(frozen=True)
class Options:
    """What was asked for beside the data, whatever the data are; made and checked by `of`."""

    loss: Loss | None
    """None where the data decide."""
    penalty: Penalty | float | None
    intercept: bool
    valid: Any
    """Which rows are held out; what it may be depends on the data."""
    seed: int
    engine: Engine
    balanced: bool
    """Whether each class weighs the same."""
    memory: int
    """Bytes of a table's blocks that may stay in memory."""
    errors: ErrorKind
    """Which standard errors are wanted."""
    penalise: str
    """The coordinates that the penalty acts in: one of `UNITS`."""

    @staticmethod
    def of(
        data: Any,
        *,
        loss: Loss | str | None = None,
        penalty: Penalty | float | None = None,
        intercept: bool = True,
        valid: Any = None,
        seed: int = 0,
        class_weight: str | None = None,
        memory: int | str | None = None,
        engine: Engine | None = None,
        errors: str | None = None,
        weight_kind: str = "precisions",
        penalise: str | None = None,
    ) -> Options:
        """From the arguments of `Problem.of`. Raises `DescendError` for what is none of them.

        >>> options = Options.of([[1.0]], loss="logistic", class_weight="balanced")
        >>> options.loss.name, options.balanced, options.engine
        ('logistic', True, Threads(count=None))
        """
        if isinstance(engine, type) or not (engine is None or isinstance(engine, Engine)):
            raise DescendError(
                "`engine` must be None, or Serial(), Threads(), Processes(), Cluster() or Torch() of descend, "
                f"got {engine!r}."
            )
        if not isinstance(intercept, bool | np.bool_):
            raise DescendError(f"`intercept` must be True or False, got {intercept!r}.")
        seed = check_seed(seed)
        loss = None if loss is None else as_loss(loss)
        if class_weight not in (None, "balanced"):
            raise DescendError(f'`class_weight` must be None or "balanced", got {class_weight!r}.')
        if engine is None:  # a tensor on a device of its own stays there
            engine = door("torch_engine")(str(data.device)) if is_elsewhere(data) else Threads()
        balanced, budget = class_weight is not None, as_bytes(memory)
        if weight_kind not in WEIGHT_KINDS:
            raise DescendError(
                f'`weight_kind` must be "precisions" or "frequencies", got {weight_kind!r}: whether a sample weight says '
                "how precise a row is, or how many rows it stands for."
            )
        if penalise not in (None, *UNITS):
            raise DescendError(
                f'`penalise` must be "original" or "standardised", got {penalise!r}: whether a penalty acts on the '
                "coefficients in the units of the data, or per standard deviation of each column."
            )
        units = penalise or ("standardised" if penalty is None else "original")
        kind = ErrorKind(errors, weight_kind == "frequencies", balanced)
        return Options(loss, penalty, intercept, valid, seed, engine, balanced, budget, kind, units)


@dataclass(frozen=True)
class Prepared:
    """What data turned out to be: the rows of both sides, and what is to be minimised over them."""

    training: Source
    held_out: Source | None
    """None where no rows are held out."""
    loss: Loss
    penalty: Penalty
    intercept: bool
    engine: Engine
    """Where the sources are to be opened."""
    rows: Mapping[str, int]
    """Counts: `training`, `validation`, `without_target`."""
    classes: tuple[Any, ...] | None = None
    """The labels in the order of their codes, where the loss is one of classes."""
    notes: tuple[str, ...] = ()
    """What was decided for the user, in sentences."""
    warnings: tuple[str, ...] = ()
    """What was left out."""
    encoding: Encoding | None = None
    """How the raw columns of a table become features; None for arrays, and so is what follows."""
    missing: tuple[str, ...] | None = None
    """The cells of a CSV that counted as missing."""
    offset: str | None = None
    """What is added to the linear predictor: a column of the table, "offset" beside arrays."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """What the profiling found out about the raw columns."""
    moments: tuple[Moments | None, Moments | None] = (None, None)
    """Of the training rows and of those held out, where they have been summed already."""
    sampled: Mapping[str, Source] = field(default_factory=dict)
    """Some rows of each side, where the rest would have to be read once more for the metrics."""
    errors: ErrorKind = field(default_factory=ErrorKind)
    """Which standard errors are wanted."""
    penalise: str = "original"
    """The coordinates that the penalty acts in."""
    resources: ExitStack = field(default_factory=ExitStack)
    """Files, spools and workers, to be closed with the problem."""


MAX_CLASSES = 100


@dataclass(frozen=True)
class Columns:
    """Which columns of a table to use, and how, where the data should not decide.

    `features` names those to use, all unless given, `drop` those to leave out; `categorical` and `numeric` override
    the role; `reference` maps a column to the level that its dummies are compared with; `missing`
    replaces the cells that count as missing in a CSV, `encoding` is that of its text where it is not
    UTF-8. `weight` names the column of sample weights, `group` one whose equal values are held out
    together, `offset` one that is added to the linear predictor, `cluster` one whose equal values are those of rows that
    may vary together, for clustered errors; none of them is a feature. Raises `DescendError` where a list is a text
    and where `features` is empty.

    >>> import descend
    >>> columns = Columns(drop=["sex", "year"], reference={"island": "Torgersen"})
    >>> run = descend.fit("examples/penguins.csv", target="body_mass_g", columns=columns, penalty=0)
    >>> [name for name in run.coefficients if name.startswith("island")]
    ['island=Biscoe', 'island=Dream']
    """

    features: Sequence[str] | None = None
    drop: Sequence[str] = ()
    categorical: Sequence[str] = ()
    numeric: Sequence[str] = ()
    reference: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] | None = None
    encoding: str | None = None
    weight: str | None = None
    group: str | None = None
    offset: str | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        for name in ("features", "drop", "categorical", "numeric", "missing"):
            if isinstance(given := getattr(self, name), str):
                raise DescendError(f"`{name}` of Columns must be a list, got {given!r}: write [{given!r}].")
        if self.features is not None and not len(self.features):
            raise DescendError(
                "`features` of Columns names no column: leave it out for all of them. Of the constant alone the summary, the "
                "metrics and the likelihood-ratio test tell beside every fit."
            )

    def named(self) -> set[str]:
        """Every column that is mentioned."""
        listed = {*(self.features or ()), *self.drop, *self.categorical, *self.numeric, *self.reference}
        return listed | {name for name in self.beside if name is not None}

    @property
    def beside(self) -> tuple[str | None, ...]:
        """What the columns beside the features are named."""
        return self.weight, self.group, self.offset, self.cluster


class Beside(NamedTuple):
    """What rows of arrays have beside `x` and `y`, one number each, as it was given."""

    sample_weight: Any = None
    offset: Any = None
    cluster: Any = None

    def check_table(self) -> None:
        """Raise `DescendError` where any is given with a table, whose columns they are."""
        for name, given in self._asdict().items():
            if given is not None:
                column = name.removeprefix("sample_")
                raise DescendError(f"`{name}` goes with arrays; a table takes `Columns({column}=...)`.")

    def check_errors(self, errors: str | None, columns: Columns | None) -> None:
        """Raise `DescendError` where `errors` by cluster are wanted, and nothing says which rows are one."""
        if errors == "cluster" and self.cluster is None and (columns is None or columns.cluster is None):
            raise DescendError(
                '`errors` "cluster" needs to know the clusters: `cluster`, one value per row, or `Columns(cluster=...)` '
                "of a table (`--errors cluster:COL`)."
            )


class Names(NamedTuple):
    """What the arguments are called that rows to validate on came by."""

    x: str = "valid x"
    y: str = "valid y"
    sample_weight: str = "valid sample_weight"
    offset: str = "valid offset"


class Validation(NamedTuple):
    """Arrays to validate on, as they were given."""

    x: Any
    y: Any
    sample_weight: Any = None
    offset: Any = None
    names: Names = Names()

    @staticmethod
    def of(valid: Any, shifted: bool) -> Validation:
        """From the pair `(x, y)`, or the three of `(x, y, offset)` if `shifted`. Raises `DescendError` for what is neither."""
        if not (isinstance(valid, tuple) and len(valid) == 2 + shifted):
            wanted = "(x, y, offset)" if shifted else "(x, y)"
            raise DescendError(
                f"`valid` with arrays must be a fraction or `{wanted}`, got {type(valid).__name__}"
                f"{f' of {len(valid)}' if isinstance(valid, tuple) else ''}."
            )
        x, y, *offset = valid
        return Validation(x, y, None, *offset)


def as_split(
    valid: Any, seed: int, starts: Callable[[], tuple[tuple[int, ...], int]], group: str | None = None
) -> AnySplit | None:
    """What a fraction or "last:" and a fraction hold out; None where `valid` is something else.

    `starts` gives the number of rows before each file and of all. Raises `DescendError` where a
    `group` goes with neither.

    >>> as_split("last:0.2", 0, lambda: ((0,), 10))
    LastRows(fraction=0.2, starts=(0,), total=10)
    """
    if isinstance(valid, int | float):
        return Split(float(valid), seed, group)
    if group is not None:
        raise DescendError(
            f"`group` is held out by a fraction: give `valid` one, 0.2 for example, got {valid!r}."
        )
    if not (isinstance(valid, str) and valid.startswith("last:")):
        return None
    try:
        fraction = float(valid.removeprefix("last:"))
    except ValueError:
        raise DescendError(
            f'`valid` must be "last:" and a fraction, "last:0.2" for example, got {valid!r}.'
        ) from None
    return LastRows(fraction, *starts())


def check_classes(classes: Sequence[Any] | None) -> Sequence[Any]:
    """The classes. Raises `DescendError` where there are none to balance."""
    if classes is None:
        raise DescendError(
            '`class_weight` "balanced" goes with classes: with the loss logistic or cross-entropy.'
        )
    return classes


def balanced_weights(counts: Float, classes: Sequence[Any], notes: list[str]) -> Float:
    """The weight `n / (K n_k)` of each of K classes with `n_k` training rows, and a note that says so.

    Raises `DataError` where a class has no training rows.
    """
    if not counts.all():
        raise DataError(
            f"class {classes[int(counts.argmin())]!r} has no training rows, so it cannot be balanced."
        )
    weights = np.asarray(counts.sum() / (len(counts) * counts), dtype=np.float64)
    listed = ", ".join(f"{label} {weight:.4g}" for label, weight in zip(classes, weights, strict=True))
    notes.append(f"training rows are weighted by class: {listed}; validation rows are not")
    return weights


def check_target(loss: Loss, y: Array, name: str) -> None:
    """`loss.check_target(y)`, the error saying `name` for the target."""
    try:
        loss.check_target(y)
    except DataError as error:
        raise DataError(str(error).replace("`y`", name)) from error
