"""From a table and a target to a problem: roles, the loss, the split, the encoding."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from descend.descent.choose import NEWTON_LIMIT
from descend.engines.engine import Session
from descend.engines.moments import DenseMoments, Moments
from descend.errors import DataError
from descend.objectives.losses import Loss, check_weighted
from descend.objectives.objective import MOMENTS_COLUMNS, Objective
from descend.objectives.sampled import sample_of
from descend.objectives.statistics import TargetRange
from descend.runs.collinearity import collinear_note, relations
from descend.runs.problem import Problem, make_problem
from descend.runs.roles import (
    Columns,
    _counts,
    _feature_names,
    _infer_target,
    _lack,
    _penalty,
    _usable,
    as_split,
    balanced_weights,
    check_classes,
    check_target,
    rounded_numbers,
    stray_texts,
)
from descend.tables.cells import Unknowns, strange, weights_of
from descend.tables.encoded import EncodedSource, EncodedTable
from descend.tables.encoding import Encoding, Target, open_encoded
from descend.tables.files import TypeConflict, find_files
from descend.tables.profiles import (
    NumberProfile,
    TextProfile,
    is_boolean,
    profile_for,
)
from descend.tables.profiling import ProfileRequest, Profiling
from descend.tables.retained import RetainedRows, SpooledRows
from descend.tables.table import Rows, Table, is_table, open_table

FIRST_CELLS = 1_000


def from_table(data: Any, target: str, columns: Columns, options: Any) -> Problem:
    """Learn the encoding from the training rows and put objectives over them."""
    if options.loss is not None:
        check_weighted(options.loss, columns.weight)
    with ExitStack() as opened:
        options = replace(options, engine=opened.enter_context(options.engine.for_one_run()))
        table = open_table(
            data, missing=columns.missing, text_columns=columns.categorical, encoding=columns.encoding
        )
        opened.callback(table.close)
        problem = _problem(table, target, columns, options, opened)
        problem.resources = opened.pop_all()
        return problem


def _problem(table: Table, target: str, columns: Columns, options: Any, opened: ExitStack) -> Problem:
    """The problem of an open table; what it opens itself is closed by `opened`."""
    names, warnings = _feature_names(table, target, columns)
    split = as_split(options.valid, options.seed, table.starts, columns.group)
    own = options.valid is None or split is not None
    if not own:
        _check_validation(options.valid)
    notes: list[str] = []
    roles = columns.categorical, columns.numeric
    request = ProfileRequest(target, tuple(names), *roles, split, columns.weight, memory=options.memory // 2)
    narrow = table
    table, profiling = _profile(table, request, columns, options, notes)
    if split is not None and not profiling.rows["validation"]:
        notes.append(f"no row was held out by `valid` {split.fraction:g}: there are too few")
        split = None
    if not profiling.rows["training"]:
        raise DataError(f"{table.label!r} has {_lack(profiling, request)}.")
    hints = stray_texts({target: profiling.target, **profiling.features}, narrow, columns)
    try:
        loss, goal = _infer_target(target, profiling.target, options.loss, notes)
    except DataError as error:
        widened = narrow.schema[target].is_numeric() and isinstance(profiling.target, TextProfile)
        more = f" Its {notes[0]}." if widened else f" {hints[target]}." if target in hints else ""
        raise DataError(f"{error}{more}") from error
    if is_boolean(table.schema[target]) and goal.classes is not None:
        goal = Target(target, (False, True))
    used, dropped = _usable(profiling, columns)
    dropped += [hint for name, hint in hints.items() if name in used or name == target]
    dropped += rounded_numbers(used, narrow)
    encoding = Encoding.learn(used, goal, columns.reference, options.intercept)
    penalty = _penalty(options.penalty, loss, profiling, notes)
    if penalty.is_zero:
        encoding = encoding.dropping_references()
    kept: Rows = profiling.retained if profiling.retained.complete else table
    whole = EncodedTable(kept, encoding, split, options.memory // 2, weight=columns.weight)
    opened.callback(whole.close)
    whole.spill = not (loss.closed_form and len(encoding.feature_names) <= MOMENTS_COLUMNS)
    if options.balanced:
        whole.class_weights = balanced_weights(
            _counts(profiling.target, goal), check_classes(goal.classes), notes
        )
    held_out, rows = (whole.side(True) if split else None), profiling.rows
    if not own:
        held_out, count = _validation(options.valid, encoding, columns, options, opened, notes)
        rows = {**rows, "validation": count}
    moments = _moments(profiling, encoding, loss, options.balanced)
    if not own:
        moments = moments[0], None
    problem = make_problem((whole.side(False), held_out), loss, penalty, options, goal.classes, moments)
    if profiling.retained.partial:
        problem.sampled = _sampled(profiling.retained, table, whole, problem, options, opened)
    _check_target(loss, target, problem, profiling.rows["training"])
    notes += _collinear(problem.objective, encoding)
    problem.encoding, problem.notes, problem.warnings = encoding, notes, warnings + dropped
    problem.missing, problem.rows = table.missing, rows
    problem.profiles = {**used, target: profiling.target}
    return problem


def _check_target(loss: Loss, target: str, problem: Problem, rows: int) -> None:
    """Raise `DataError` where rows hold no target of the loss, as far as the profile has not told.

    A rule of one's own sees a sample of the `rows` to learn from; the range of counts is that of all rows held out.
    """
    if not (loss.has_classes or loss.closed_form):
        sample = sample_of(problem.session.source, rows)
        check_target(loss, np.zeros(1) if sample is None else sample.y, f"target `{target}`")
    if loss.kind == "count" and problem.validation_session is not None:
        low, high = problem.validation_session.reduce(TargetRange()) * [-1.0, 1.0]
        check_target(loss, np.array([low, high]), f"target `{target}` of the rows held out")


def _profile(
    table: Table, request: ProfileRequest, columns: Columns, options: Any, notes: list[str]
) -> tuple[Table, Profiling]:
    """Read the table once, or once again with wider types where a cell did not fit; a note says so."""
    read = [*request.names, request.target, *filter(None, [columns.weight])]
    binary = _looks_binary(table, request)
    table = table.as_floats(read)
    numeric = isinstance(profile_for(table.schema[request.target], False), NumberProfile)
    squared = not binary if options.loss is None else options.loss.closed_form
    request = replace(request, sums=numeric and squared)
    unmarked = table.unmarked(request.columns)
    if unmarked is not None:
        with suppress(TypeConflict):
            return unmarked, Profiling.of(unmarked, request, options.engine)
    try:
        return table, Profiling.of(table, request, options.engine)
    except TypeConflict as conflict:
        narrow, table = table, table.widened()
        changed = {*read, columns.group}
        widened = [
            name for name in narrow.names if name in changed and narrow.schema[name] != table.schema[name]
        ]
        listed = ", ".join(f"`{name}` ({narrow.schema[name]} to {table.schema[name]})" for name in widened)
        again = (
            f"column types were widened and the rows read again: {listed}"
            if listed
            else "the rows were read again"
        )
        notes.append(f"{again}; {str(conflict).rstrip('.')}")
        numeric = isinstance(profile_for(table.schema[request.target], False), NumberProfile)
        return table, Profiling.of(table, replace(request, sums=request.sums and numeric), options.engine)


def _looks_binary(table: Table, request: ProfileRequest) -> bool:
    """Whether the target looks like two classes, where that saves a parse: moments would be of no use."""
    if not (table.parsed and table.schema[request.target].is_integer()):
        return False
    with suppress(TypeConflict):  # some releases of polars look further ahead; the profiling deals with it
        return table.head(request.target, FIRST_CELLS).drop_nulls().n_unique() <= 2
    return False


def _moments(
    profiling: Profiling, encoding: Encoding, loss: Loss, balanced: bool
) -> tuple[Moments | None, Moments | None]:
    """The moments of the encoded columns, where the profiling has summed what they are made of.

    It knows neither weights of classes nor their codes, where these are not the numbers of the target.
    """
    classes = encoding.target.classes
    if balanced or (classes is not None and classes != tuple(range(len(classes)))):
        return None, None
    training, validation = (
        raw.encoded(encoding, profiling.origins) if raw is not None and raw.serves(encoding) else None
        for raw in profiling.moments
    )
    return training, validation


def _sampled(
    kept: RetainedRows | SpooledRows,
    table: Table,
    whole: EncodedTable,
    problem: Problem,
    options: Any,
    opened: ExitStack,
) -> dict[str, Session]:
    """Sessions over the rows that are kept of each side, where no others need be read again.

    Without moments every pass reads all rows, as a frame in memory allows at no cost: the sample is forgotten.
    """
    if table.in_memory or not problem.objective.exact:
        kept.close()
        return {}
    sample = EncodedTable(kept, whole.encoding, whole.split, options.memory, weight=whole.weight)
    opened.callback(sample.close)
    sides = {"training": False} | ({} if whole.split is None else {"validation": True})
    return {side: options.engine.open(sample.side(held_out)) for side, held_out in sides.items()}


def _collinear(objective: Objective, encoding: Encoding) -> list[str]:
    """A note on columns that are combinations of others."""
    among = encoding.independent
    if objective.exact and objective.rank is not None and objective.rank >= len(among):
        return []
    moments = objective.moments if objective.exact or len(among) <= NEWTON_LIMIT else None
    if moments is None:  # dummies are many: look at numbers and flags only
        moments = objective.session.reduce(DenseMoments())
        among = list(range(len(moments.mean) - 1))
    units, centres = encoding.units
    found = relations(
        moments,
        encoding.feature_names,
        units[: len(moments.mean) - 1],
        centres[: len(moments.mean) - 1],
        intercept=encoding.intercept,
        among=among,
    )
    return [collinear_note(found, not objective.penalty.is_zero)] if found else []


def _check_validation(valid: Any) -> None:
    """Raise `DataError` before anything is read where `valid` is neither a share of the rows nor a table."""
    if not is_table(valid):
        raise DataError(
            f'`valid` must be a fraction, "last:" and one, a file or a frame, got {type(valid).__name__}.'
        )
    if isinstance(valid, str | os.PathLike | list | tuple):
        try:
            find_files(valid)
        except DataError as error:
            raise DataError(
                f"`valid` is neither a share of the rows, 0.2 for example, nor a file: {error}"
            ) from None


def _validation(
    valid: Any, encoding: Encoding, columns: Columns, options: Any, opened: ExitStack, notes: list[str]
) -> tuple[EncodedSource, int]:
    """A validation table of its own, and its number of rows; those of classes unknown to training are noted."""
    other = open_encoded(valid, encoding, columns.missing, encoding=columns.encoding)
    opened.callback(other.close)
    needed = [name for name in (encoding.target.name, columns.weight) if name is not None]
    absent = [name for name in needed if name not in other.names]
    if absent:
        what = "the target" if absent[0] == encoding.target.name else "the weights"
        raise DataError(f"{other.label!r} has no column `{absent[0]}`, {what}.")
    rows, target, unknowns = 0, encoding.target, Unknowns()
    for piece in other.slices(needed, 1 << 17):
        counted = ~np.isnan(target.encode(piece.frame[target.name]))
        unknowns.add("target", target.name, *strange(piece.frame[target.name], counted))
        if columns.weight is not None:
            counted &= weights_of(piece, columns.weight) > 0
        rows += int(counted.sum())
    notes += [f"validation {sentence}" for sentence in unknowns.sentences()]
    whole = EncodedTable(other, encoding, budget=options.memory, weight=columns.weight)
    opened.callback(whole.close)
    return whole.side(False), rows
