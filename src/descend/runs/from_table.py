"""From a table and a target to what a problem is made of: roles, the loss, the split, the encoding."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from descend.engines.blocks import Source
from descend.engines.moments import Moments
from descend.engines.splits import AnySplit
from descend.errors import DataError
from descend.objectives.losses import Loss, check_shifted, check_weighted
from descend.objectives.objective import has_closed_form
from descend.runs.prepared import Columns, Options, Prepared, as_split, balanced_weights, check_classes
from descend.runs.roles import (
    chosen_penalty,
    class_counts,
    feature_names,
    infer_target,
    lack,
    rounded_numbers,
    stray_texts,
    usable_features,
)
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
from descend.tables.table import Table, is_table, open_table

FIRST_CELLS = 1_000


def from_table(data: Any, target: str, columns: Columns, options: Options) -> Prepared:
    """Read the table, give its columns their roles, and learn the encoding from the training rows."""
    if options.loss is not None:
        check_weighted(options.loss, columns.weight)
        check_shifted(options.loss, columns.offset)
    with ExitStack() as opened:
        engine = opened.enter_context(options.engine.for_one_run())
        table = open_table(
            data, missing=columns.missing, text_columns=columns.categorical, encoding=columns.encoding
        )
        opened.callback(table.close)
        return _prepared(table, target, columns, replace(options, engine=engine), opened)


def _prepared(table: Table, target: str, columns: Columns, options: Options, opened: ExitStack) -> Prepared:
    """What an open table turns out to be; what it opens itself is closed by `opened`, which goes along."""
    names, warnings = feature_names(table, target, columns)
    read = _read(table, target, names, columns, options)
    notes = list(read.notes)
    loss, goal = _target_of(read, notes)
    used, dropped = usable_features(read.profiling, columns)
    warnings += [*dropped, *(hint for name, hint in read.hints.items() if name in used or name == target)]
    warnings += rounded_numbers(used, read.narrow)
    encoding = Encoding.learn(used, goal, columns.reference, options.intercept)
    penalty = chosen_penalty(options, loss, read.profiling, notes)
    if penalty.is_zero:
        encoding = encoding.dropping_references()
    sides = _sides(read, loss, encoding, opened, notes)
    return Prepared(
        sides.training,
        sides.held_out,
        loss,
        penalty,
        options.intercept,
        options.engine,
        sides.rows,
        goal.classes,
        tuple(notes),
        tuple(warnings),
        encoding,
        read.table.missing,
        columns.offset,
        {**used, target: read.profiling.target},
        sides.moments,
        sides.sampled,
        options.errors,
        options.penalise,
        opened.pop_all(),
    )


@dataclass(frozen=True)
class _Read:
    """A table that was read once: what its columns hold, and which of its rows are held out."""

    table: Table
    narrow: Table
    """The table before its types were widened."""
    target: str
    columns: Columns
    options: Options
    split: AnySplit | None
    apart: bool
    """Whether the rows held out are a table of their own."""
    profiling: Profiling
    notes: tuple[str, ...]

    @cached_property
    def hints(self) -> dict[str, str]:
        """A sentence on each column of a CSV that a few cells have made text."""
        profiles = {self.target: self.profiling.target, **self.profiling.features}
        return stray_texts(profiles, self.narrow, self.columns)


def _read(table: Table, target: str, names: list[str], columns: Columns, options: Options) -> _Read:
    """The one read that finds out about columns. Raises `DataError` where no row is left to learn from."""
    split = as_split(options.valid, options.seed, table.starts, columns.group)
    apart = options.valid is not None and split is None
    if apart:
        _check_validation(options.valid)
    roles = columns.categorical, columns.numeric
    request = ProfileRequest(
        target,
        tuple(names),
        *roles,
        split,
        columns.weight,
        columns.offset,
        columns.cluster,
        memory=options.memory // 2,
    )
    notes: list[str] = []
    wide, profiling = _profile(table, request, columns, options, notes)
    if split is not None and not profiling.rows["validation"]:
        notes.append(f"no row was held out by `valid` {split.fraction:g}: there are too few")
        split = None
    if not profiling.rows["training"]:
        raise DataError(f"{wide.label!r} has {lack(profiling, request)}.")
    return _Read(wide, table, target, columns, options, split, apart, profiling, tuple(notes))


def _profile(
    table: Table, request: ProfileRequest, columns: Columns, options: Options, notes: list[str]
) -> tuple[Table, Profiling]:
    """Read the table once, or once again with wider types where a cell did not fit; a note says so."""
    read = [*request.names, request.target, *filter(None, [columns.weight, columns.offset])]
    binary = _looks_binary(table, request)
    table = table.as_floats(read)
    numeric = isinstance(profile_for(table.schema[request.target], False), NumberProfile)
    squared = not binary if options.loss is None else options.loss.closed_form
    request = replace(request, sums=numeric and squared and columns.offset is None)
    unmarked = table.unmarked(request.columns)
    if unmarked is not None:
        with suppress(TypeConflict):
            return unmarked, Profiling.of(unmarked, request, options.engine)
    try:
        return table, Profiling.of(table, request, options.engine)
    except TypeConflict as conflict:
        narrow, table = table, table.widened()
        changed = {*read, columns.group, columns.cluster}
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


def _target_of(read: _Read, notes: list[str]) -> tuple[Loss, Target]:
    """The loss that the target asks for, and its classes; an error says what may have made the target text."""
    target, profile = read.target, read.profiling.target
    try:
        loss, goal = infer_target(target, profile, read.options.loss, notes)
    except DataError as error:
        widened = read.narrow.schema[target].is_numeric() and isinstance(profile, TextProfile)
        more = f" Its {notes[0]}." if widened else f" {read.hints[target]}." if target in read.hints else ""
        raise DataError(f"{error}{more}") from error
    check_shifted(loss, read.columns.offset)
    if is_boolean(read.table.schema[target]) and goal.classes is not None:
        goal = Target(target, (False, True))
    return loss, goal


class _Sides(NamedTuple):
    """The rows to learn from and those held out, as a Prepared has them."""

    training: Source
    held_out: Source | None
    rows: Mapping[str, int]
    moments: tuple[Moments | None, Moments | None]
    sampled: Mapping[str, Source]


def _sides(read: _Read, loss: Loss, encoding: Encoding, opened: ExitStack, notes: list[str]) -> _Sides:
    """Where encoded rows come from, and what the one read has left of them."""
    profiling, columns, options = read.profiling, read.columns, read.options
    retained, goal = profiling.retained, encoding.target
    summed = has_closed_form(loss, len(encoding.feature_names))  # then no pass needs the rows again
    weights = None
    if options.balanced:
        counts = class_counts(profiling.target, goal)
        weights = balanced_weights(counts, check_classes(goal.classes), notes)
    whole = EncodedTable(
        retained if retained.complete else read.table,
        encoding,
        read.split,
        options.memory // 2,
        spill=not summed,
        weight=columns.weight,
        class_weights=weights,
        offset=columns.offset,
        cluster=columns.cluster,
    )
    opened.callback(whole.close)
    rows, moments = profiling.rows, _moments(profiling, encoding, options.balanced)
    held_out = whole.side(True) if read.split else None
    if read.apart:
        held_out, count = _validation(options.valid, encoding, columns, options, opened, notes)
        rows, moments = {**rows, "validation": count}, (moments[0], None)
    sampled = {}
    if retained.partial and summed and not read.table.in_memory:
        sampled = _sampled(retained, whole, options, opened)
    elif retained.partial:  # every pass reads all rows, as a frame in memory allows at no cost
        retained.close()
    return _Sides(whole.side(False), held_out, rows, moments, sampled)


def _moments(
    profiling: Profiling, encoding: Encoding, balanced: bool
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
    kept: RetainedRows | SpooledRows, whole: EncodedTable, options: Options, opened: ExitStack
) -> dict[str, Source]:
    """The rows that are kept of each side, where no others need be read again."""
    sample = EncodedTable(
        kept, whole.encoding, whole.split, options.memory, weight=whole.weight, offset=whole.offset
    )
    opened.callback(sample.close)
    sides = {"training": False} | ({} if whole.split is None else {"validation": True})
    return {side: sample.side(held_out) for side, held_out in sides.items()}


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
    valid: Any, encoding: Encoding, columns: Columns, options: Options, opened: ExitStack, notes: list[str]
) -> tuple[EncodedSource, int]:
    """A validation table of its own, and its number of rows; what of it could not be taken as it is is noted."""
    other = open_encoded(valid, encoding, columns.missing, encoding=columns.encoding, offset=columns.offset)
    opened.callback(other.close)
    needed = [name for name in (encoding.target.name, columns.weight) if name is not None]
    absent = [name for name in needed if name not in other.names]
    if absent:
        what = "the target" if absent[0] == encoding.target.name else "the weights"
        raise DataError(f"{other.label!r} has no column `{absent[0]}`, {what}.")
    whole = EncodedTable(other, encoding, budget=options.memory, weight=columns.weight, offset=columns.offset)
    opened.callback(whole.close)
    pairs = (whole.sides(index, piece) for index, piece in enumerate(whole.slices()))
    rows = sum(block.rows for block, _ in pairs if block is not None)
    notes += [f"validation {sentence}" for sentence in whole.unknowns.sentences()]
    return whole.side(False), rows
