"""The problem: data, target, loss, penalty, validation and seed turned into objectives.

An array is taken as it is, with squared error and no penalty unless asked. A table goes through an
Encoding learned from its training rows, and its target tells the loss. Shared by everything that
starts from data.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypedDict

import numpy as np

from descend.doors import door
from descend.engines.arrays import ArraySource, check_column, check_matrix, check_sample_weight
from descend.engines.blocks import Source
from descend.engines.engine import Engine, Session, Threads
from descend.engines.matrix import Array, Float, Matrix, is_elsewhere
from descend.engines.moments import Moments
from descend.engines.splits import check_seed
from descend.errors import DataError, DescendError, ShapeError
from descend.machine import as_bytes
from descend.models.metrics import Metrics, evaluate
from descend.objectives.losses import (
    Loss,
    as_loss,
    check_weighted,
)
from descend.objectives.objective import Objective
from descend.objectives.penalties import L2, Penalty, as_penalty
from descend.runs.collinearity import collinear_note, relations
from descend.runs.roles import (
    MAX_CLASSES,
    Columns,
    as_split,
    balanced_weights,
    check_classes,
    check_target,
)


class ProblemOptions(TypedDict, total=False):
    """The keyword arguments of `Problem.of`."""

    target: str | None
    loss: Loss | str | None
    penalty: Penalty | float | None
    intercept: bool
    sample_weight: Any
    valid: Any
    seed: int
    columns: Columns
    class_weight: str | None
    memory: int | str | None
    engine: Engine | None


@dataclass
class Problem:
    """A training and a validation objective, and what their weights mean. Made by `Problem.of`.

    `objective` is over the rows that `session` has open; `validation` and `validation_session` are over those held
    out, None without any. `feature_names` name the columns of `X`; `classes` are the labels in the order of their
    codes; `encoding` maps the raw columns of a table to features, None for arrays.

    >>> problem = Problem.of("examples/penguins.csv", target="body_mass_g", valid=0.2)
    >>> problem.loss.name, problem.rows
    ('squared-error', {'training': 265, 'validation': 77, 'without_target': 2})
    >>> problem.close()
    """

    objective: Objective
    session: Session
    validation: Objective | None
    validation_session: Session | None
    feature_names: tuple[str, ...]
    classes: tuple[Any, ...] | None = None
    encoding: Any | None = None
    missing: tuple[str, ...] | None = None
    """The cells of a CSV that counted as missing."""
    rows: dict[str, int] = field(default_factory=dict)
    """Counts: `training`, `validation`, `without_target`."""
    notes: list[str] = field(default_factory=list)
    """What was decided for the user, in sentences."""
    warnings: list[str] = field(default_factory=list)
    """What was left out."""
    profiles: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the profiling of a table found out about its raw columns."""
    sampled: dict[str, Session] = field(default_factory=dict, repr=False)
    """Sessions over some rows of each side, where the rest would have to be read once more for the metrics."""
    resources: ExitStack = field(default_factory=ExitStack, repr=False)
    """Spools and temporary files, deleted when the problem is closed."""

    @staticmethod
    def of(
        data: Any,
        y: Any = None,
        *,
        target: str | None = None,
        loss: Loss | str | None = None,
        penalty: Penalty | float | None = None,
        intercept: bool = True,
        sample_weight: Any = None,
        valid: Any = None,
        seed: int = 0,
        columns: Columns | None = None,
        class_weight: str | None = None,
        memory: int | str | None = None,
        engine: Engine | None = None,
    ) -> Problem:
        """From arrays, or from a table (file, files, DataFrame) and the name of its `target`.

        Of arrays `data` has shape (rows, features), dense, CSR or a tensor, and `y` and `sample_weight` (rows,),
        weights of at least 0. `columns`, a `Columns`, says what the data of a table should not decide. `loss` is a
        name ("squared-error", "logistic", "cross-entropy"), an object or a function of torch tensors; unless given
        it is squared error for arrays, while a table's target tells. `penalty` is a number, the alpha of `L2`, or an
        object; unless given there is none, but for a table with classes 1 / rows. With `intercept` a last weight is
        added to every prediction. `valid` says which rows are held out: None, a fraction (by a hash of `seed`, file
        and row), "last:" and a fraction for the last rows in order, `(x, y)`, or a table. `class_weight="balanced"`
        weighs each class by n / (classes * its rows). `memory` is how many bytes of a table's blocks may stay in
        memory, a number or a text such as "500MB". `engine` says where sums are computed, `Threads()` unless given.
        Raises `DescendError` where they do not fit.
        """
        from descend.tables.table import is_table

        if isinstance(y, str):
            raise DescendError(f"`y` must be an array; the name of a column is `target={y!r}`.")
        if isinstance(engine, type) or not (engine is None or isinstance(engine, Engine)):
            raise DescendError(
                "`engine` must be None, or Serial(), Threads(), Processes(), Cluster() or Torch() of descend, "
                f"got {engine!r}."
            )
        if not isinstance(columns, Columns | None):
            raise DescendError(
                f"`columns` must be descend.Columns(...), got {type(columns).__name__}: Columns(drop=[...])."
            )
        if not isinstance(intercept, bool | np.bool_):
            raise DescendError(f"`intercept` must be True or False, got {intercept!r}.")
        seed = check_seed(seed)
        loss = None if loss is None else as_loss(loss)
        if class_weight not in (None, "balanced"):
            raise DescendError(f'`class_weight` must be None or "balanced", got {class_weight!r}.')
        budget, balanced = as_bytes(memory), class_weight is not None
        options = _Options(loss, penalty, intercept, valid, seed, engine or _engine(data), balanced, budget)
        if y is None and is_table(data):
            if target is None:
                raise DescendError("`target` is needed with a table: the name of the column to predict.")
            if sample_weight is not None:
                raise DescendError("`sample_weight` goes with arrays; a table takes `Columns(weight=...)`.")
            from descend.runs.from_table import from_table

            return from_table(data, str(target), columns or Columns(), options)
        if y is None and target is not None:
            raise DescendError(
                f"with `target` the data must be a path, several paths or a frame, got {type(data).__name__}."
            )
        if y is None:
            raise DescendError("`y` is needed with an array `x`; a table takes `target=` instead.")
        if target is not None or columns is not None:
            raise DescendError(
                "`target` and `columns` go with a table; arrays are `fit(x, y)`, taken as they are."
            )
        return _from_arrays(data, y, sample_weight, options)

    @property
    def loss(self) -> Loss:
        """What is minimised, without the penalty."""
        return self.objective.loss

    @cached_property
    def constant(self) -> Float:
        """The mean target of the training rows, or the share of each class."""
        mean = self.objective.constant
        return np.array([1.0 - mean[0], mean[0]]) if self.loss.kind == "two classes" else mean

    def metrics(self, w: Float) -> dict[str, Metrics]:
        """Metrics at the weights `w` of the "training" and, where there are any, the "validation" rows."""
        if not self.loss.metrics:
            return {}
        sessions = {"training": self.session, "validation": self.validation_session} | self.sampled
        found = {
            side: evaluate(session, self.loss, w, self.objective.intercept, self.constant)
            for side, session in sessions.items()
            if session is not None
        }
        objectives = {"training": self.objective, "validation": self.validation}
        for side in self.sampled:
            objective = objectives[side]
            squares = None if objective is None else objective.mean_squares(w, float(self.constant[0]))
            assert squares is not None  # samples are kept where moments tell the rest
            found[side] = found[side].completed(squares)
        return found

    def close(self) -> None:
        """Close all sessions and delete what is temporary."""
        for session in (self.session, self.validation_session, *self.sampled.values()):
            if session is not None:
                session.close()
        self.resources.close()


def _engine(data: Any) -> Engine:
    """Torch where a tensor is on a device of its own, else threads."""
    engine: Engine = door("torch_engine")(str(data.device)) if is_elsewhere(data) else Threads()
    return engine


@dataclass(frozen=True)
class _Options:
    loss: Loss | None
    penalty: Penalty | float | None
    intercept: bool
    valid: Any
    seed: int
    engine: Engine
    balanced: bool
    memory: int


def make_problem(
    sources: tuple[Source, Source | None],
    loss: Loss,
    penalty: Penalty,
    options: Any,
    classes: tuple[Any, ...] | None,
    moments: tuple[Moments | None, Moments | None] = (None, None),
) -> Problem:
    """Open both sources and put objectives over them; moments that are known already are not summed again."""
    training, held_out = sources
    outputs = loss.outputs(len(classes or ()))
    how = {"loss": loss, "intercept": options.intercept, "outputs": outputs}
    validation, validation_session = None, None
    with ExitStack() as opened:  # closed again on an error
        session = options.engine.open(training)
        opened.callback(session.close)
        objective = Objective.over(session, penalty=penalty, moments=moments[0], **how)
        if held_out is not None:
            validation_session = options.engine.open(held_out)
            opened.callback(validation_session.close)
            validation = Objective.over(validation_session, penalty=L2(0.0), moments=moments[1], **how)
        opened.pop_all()
    return Problem(objective, session, validation, validation_session, training.feature_names, classes)


def _from_arrays(x: Any, y: Any, sample_weight: Any, options: _Options) -> Problem:
    loss = options.loss or as_loss("squared-error")
    x = check_matrix(x)
    y, classes = encode_target(check_column(y, "y", x.shape[0]), loss)
    check_weighted(loss, sample_weight)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, x.shape[0])
    sources = _array_sources(x, y, sample_weight, loss, classes, options)
    notes: list[str] = []
    if options.balanced:
        sources = _balanced(sources[0], classes, notes), sources[1]
    problem = make_problem(sources, loss, as_penalty(options.penalty), options, classes)
    held_out = 0
    if sources[1] is not None:
        split = sources[1].split
        held_out = sources[1].rows if split is None else int(split.held_out(0, 0, x.shape[0]).sum())
    training = x.shape[0] - (held_out if sources[0].split is not None else 0)
    problem.rows = {"training": training, "validation": held_out, "without_target": 0}
    problem.notes += notes
    objective = problem.objective
    m = objective.moments if objective.exact else None
    if m is not None and (objective.rank or x.shape[1]) < x.shape[1]:
        names, zeros = problem.feature_names, np.zeros(x.shape[1])
        found = relations(m, names, zeros + 1.0, zeros, intercept=options.intercept)
        problem.notes += [collinear_note(found, not objective.penalty.is_zero)] if found else []
    return problem


def _array_sources(
    x: Matrix, y: Array, sample_weight: Any, loss: Loss, classes: tuple[Any, ...] | None, options: _Options
) -> tuple[ArraySource, ArraySource | None]:
    valid = options.valid
    if valid is None:
        return ArraySource(x, y, sample_weight), None
    split = as_split(valid, options.seed, lambda: ((0,), x.shape[0]))
    if split is not None:
        count = int(split.held_out(0, 0, x.shape[0]).sum())
        if count in (0, x.shape[0]):
            side = "held out" if count == 0 else "left to learn from"
            raise DataError(f"of {x.shape[0]} rows none is {side} by `valid` {valid!r}: there are too few.")
        return (
            ArraySource(x, y, sample_weight, split=split),
            ArraySource(x, y, sample_weight, split=split, held_out=True),
        )
    if not (isinstance(valid, tuple) and len(valid) == 2):
        raise DescendError(f"`valid` with arrays must be a fraction or `(x, y)`, got {type(valid).__name__}.")
    vx = check_matrix(valid[0], "valid x")
    if vx.shape[1] != x.shape[1]:
        raise ShapeError(
            f"`valid` x has shape {vx.shape}, but `x` has shape {x.shape}: the columns must agree."
        )
    vy = check_column(valid[1], "valid y", vx.shape[0], "valid x")
    if classes is not None:
        vy = codes_of(vy, classes, "valid y")
    elif loss.kind == "count":
        check_target(loss, vy, "`valid` y")
    return ArraySource(x, y, sample_weight), ArraySource(vx, vy)


def _balanced(source: ArraySource, classes: Sequence[Any] | None, notes: list[str]) -> ArraySource:
    """The training rows weighted by class."""
    classes, codes = check_classes(classes), source.y.astype(np.intp)
    s = np.ones(source.rows) if source.sample_weight is None else source.sample_weight
    trained = s if source.split is None else s * ~source.split.held_out(0, 0, source.rows)
    counts = np.bincount(codes, trained, minlength=len(classes)).astype(np.float64)
    return replace(source, sample_weight=s * balanced_weights(counts, classes, notes)[codes])


def encode_target(y: Array, loss: Loss) -> tuple[Array, tuple[Any, ...] | None]:
    """`y` as numbers, and the classes that its codes stand for where the loss is one of classes."""
    if not loss.has_classes:
        loss.check_target(y)
        return y, None
    if y.dtype.kind in "fiub" and bool(((y == 0) | (y == 1)).all()) and 0 < np.count_nonzero(y) < len(y):
        return y, tuple(np.array([0, 1], dtype=y.dtype).tolist())
    classes = tuple(np.unique(y).tolist())
    need = 2 if loss.kind == "two classes" else MAX_CLASSES
    if len(classes) < 2 or len(classes) > need:
        allowed = "exactly 2" if need == 2 else f"2 to {MAX_CLASSES}"
        raise DataError(f"`y` must hold {allowed} classes for the loss {loss.name}, got {len(classes)}.")
    return codes_of(y, classes, "y"), classes


def codes_of(y: Array, classes: tuple[Any, ...], name: str) -> Array:
    """The position in `classes` of each value."""
    known = np.array(classes)
    codes = np.searchsorted(known, y).clip(0, len(known) - 1)
    if not bool((known[codes] == y).all()):
        strange = y[known[codes] != y][0]
        raise DataError(f"`{name}` holds {strange!r}, which is not among the classes {classes}.")
    return codes.astype(np.float64)
