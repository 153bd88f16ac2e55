"""From arrays, which are taken as they are, to what a problem is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from descend.engines.arrays import (
    ArraySource,
    check_cluster,
    check_column,
    check_matrix,
    check_offset,
    check_sample_weight,
    check_tiny,
    roundings,
)
from descend.engines.matrix import Array
from descend.errors import DataError, DescendError, ShapeError
from descend.objectives.losses import Loss, as_loss, check_shifted, check_weighted
from descend.objectives.penalties import as_penalty
from descend.runs.prepared import (
    MAX_CLASSES,
    Beside,
    Options,
    Prepared,
    Validation,
    as_split,
    balanced_weights,
    check_classes,
    check_target,
)


def from_arrays(x: Any, y: Any, beside: Beside, options: Options, names: Any = None) -> Prepared:
    """`x` of shape (rows, features), the others (rows,); squared error and no penalty unless asked."""
    loss, (sample_weight, offset, cluster) = options.loss or as_loss("squared-error"), beside
    x = check_matrix(x)
    y, classes = encode_target(given := check_column(y, "y", x.shape[0]), loss)
    if classes is None:
        check_tiny(y, "y")
    check_weighted(loss, sample_weight)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, x.shape[0])
    check_shifted(loss, offset)
    if offset is not None:
        offset = check_offset(offset, x.shape[0])
    if cluster is not None:
        cluster = check_cluster(cluster, x.shape[0])
    names = () if names is None else check_names(names, x.shape[1])
    rows = ArraySource(x, y, sample_weight, names, offset=offset, cluster=cluster)
    told = roundings(x, given if classes is None else None)
    training, other = _sources(rows, loss, classes, options, told)
    notes: list[str] = []
    if options.balanced:
        training = _balanced(training, classes, notes)
    held_out = 0
    if other is not None:
        split = other.split
        held_out = other.rows if split is None else int(split.held_out(0, 0, x.shape[0]).sum())
    return Prepared(
        training,
        other,
        loss,
        as_penalty(options.penalty),
        options.intercept,
        options.engine,
        {
            "training": x.shape[0] - (held_out if training.split is not None else 0),
            "validation": held_out,
            "without_target": 0,
        },
        classes,
        tuple(notes),
        tuple(told),
        offset=None if offset is None else "offset",
        errors=options.errors,
        penalise=options.penalise,
    )


def check_names(names: Any, columns: int) -> tuple[str, ...]:
    """The names of the columns of arrays. Raises `DescendError` unless there is one for each, each another.

    >>> check_names(["height", "width"], 2)
    ('height', 'width')
    """
    names = tuple(names)
    if len(names) != columns or not all(isinstance(name, str) for name in names):
        raise DescendError(
            f"`feature_names` must hold one text for each of {columns} columns, got {names!r}."
        )
    if twice := [name for name, count in Counter([*names, "(intercept)"]).items() if count > 1]:
        raise DescendError(
            f"`feature_names` must differ from each other and from '(intercept)', got {twice[0]!r} twice."
        )
    return tuple(names)


def _sources(
    rows: ArraySource, loss: Loss, classes: tuple[Any, ...] | None, options: Options, told: list[str]
) -> tuple[ArraySource, ArraySource | None]:
    valid, x = options.valid, rows.X
    if valid is None:
        return rows, None
    split = as_split(valid, options.seed, lambda: ((0,), x.shape[0]))
    if split is not None:
        count = int(split.held_out(0, 0, x.shape[0]).sum())
        if count in (0, x.shape[0]):
            side = "held out" if count == 0 else "left to learn from"
            raise DataError(f"of {x.shape[0]} rows none is {side} by `valid` {valid!r}: there are too few.")
        return replace(rows, split=split), replace(rows, split=split, held_out=True)
    if not isinstance(valid, Validation):
        valid = Validation.of(valid, rows.has_offset)
    return rows, _validation(valid, x.shape, loss, classes, told)


def _validation(
    given: Validation, shape: tuple[int, ...], loss: Loss, classes: tuple[Any, ...] | None, told: list[str]
) -> ArraySource:
    """The rows to validate on, checked as those of this shape are that are learned from; what is rounded is `told`."""
    names = given.names
    x = check_matrix(given.x, names.x)
    if x.shape[1] != shape[1]:
        raise ShapeError(
            f"`{names.x}` has shape {x.shape}, but `x` has shape {shape}: the columns must agree."
        )
    y = check_column(given.y, names.y, x.shape[0], names.x)
    told += roundings(x, y if classes is None else None, (names.x, names.y))
    if classes is not None:
        y = codes_of(y, classes, names.y)
    elif loss.kind == "count":
        check_target(loss, y, f"`{names.y}`")
    check_weighted(loss, given.sample_weight)
    s, offset = given.sample_weight, given.offset
    s = None if s is None else check_sample_weight(s, x.shape[0], names.sample_weight, names.x)
    offset = None if offset is None else check_offset(offset, x.shape[0], names.offset, names.x)
    return ArraySource(x, y, s, offset=offset)


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
