"""From a table and a target to a problem: roles, the loss, the split, the encoding."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from descend.descent.choose import NEWTON_LIMIT
from descend.engines.engine import Session
from descend.engines.matrix import Float
from descend.engines.moments import DenseMoments, Moments
from descend.engines.remote import for_one_run
from descend.errors import DataError, DescendError
from descend.objectives.losses import LOSSES, CrossEntropy, LogisticLoss, Loss, SquaredError, check_weighted
from descend.objectives.objective import MOMENTS_COLUMNS, Objective, Quadratic, Summed
from descend.objectives.penalties import L2, Penalty, as_penalty
from descend.objectives.sampling import sample_of
from descend.runs.collinearity import collinear_note, relations
from descend.runs.problem import (
    FEW_VALUES,
    MAX_CLASSES,
    Columns,
    Problem,
    as_split,
    balanced_weights,
    check_classes,
    make_problem,
)
from descend.runs.roles import rounded_numbers, stray_texts
from descend.tables.cells import strange, weights_of
from descend.tables.csv_files import TypeConflict
from descend.tables.encoded import EncodedSource, EncodedTable
from descend.tables.encoding import MAX_LEVELS, Encoding, Target, label_text, open_encoded
from descend.tables.files import find_files
from descend.tables.profiles import (
    HUGE,
    NumberProfile,
    Profile,
    TextProfile,
    is_boolean,
    is_usable,
    profile_for,
)
from descend.tables.profiling import Question, Survey
from descend.tables.retained import Kept, Spooled
from descend.tables.surprises import Surprises
from descend.tables.table import Rows, Table, is_table, open_table

FIRST_CELLS = 1_000


def from_table(data: Any, target: str, columns: Columns, options: Any) -> Problem:
    """Learn the encoding from the training rows and put objectives over them."""
    if options.loss is not None:
        check_weighted(options.loss, columns.weight)
    with ExitStack() as opened:
        options = replace(options, engine=opened.enter_context(for_one_run(options.engine)))
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
    question = Question(target, tuple(names), *roles, split, columns.weight, memory=options.memory // 2)
    narrow = table
    table, survey = _survey(table, question, columns, options, notes)
    if split is not None and not survey.rows["validation"]:
        notes.append(f"no row was held out by `valid` {split.fraction:g}: there are too few")
        split = None
    if not survey.rows["training"]:
        raise DataError(f"{table.label!r} has {_lack(survey, question)}.")
    hints = stray_texts({target: survey.target, **survey.features}, narrow, columns)
    try:
        loss, goal = _infer_target(target, survey.target, options.loss, notes)
    except DataError as error:
        widened = narrow.schema[target].is_numeric() and isinstance(survey.target, TextProfile)
        more = f" Its {notes[0]}." if widened else f" {hints[target]}." if target in hints else ""
        raise DataError(f"{error}{more}") from error
    if is_boolean(table.schema[target]) and goal.classes is not None:
        goal = Target(target, (False, True))
    used, dropped = _usable(survey, columns)
    dropped += [hint for name, hint in hints.items() if name in used or name == target]
    dropped += rounded_numbers(used, narrow)
    encoding = Encoding.learn(used, goal, columns.reference, options.intercept)
    penalty = _penalty(options.penalty, loss, survey, notes)
    if penalty.is_zero:
        encoding = encoding.dropping_references()
    kept: Rows = survey.kept if survey.kept.complete else table
    whole = EncodedTable(kept, encoding, split, options.memory // 2, weight=columns.weight)
    opened.callback(whole.close)
    whole.spill = not (isinstance(loss, SquaredError) and len(encoding.feature_names) <= MOMENTS_COLUMNS)
    if options.balanced:
        whole.class_weights = balanced_weights(
            _counts(survey.target, goal), check_classes(goal.classes), notes
        )
    held_out, rows = (whole.side(True) if split else None), survey.rows
    if not own:
        held_out, count = _validation(options.valid, encoding, columns, options, opened, notes)
        rows = {**rows, "validation": count}
    moments = _moments(survey, encoding, loss, options.balanced)
    if not own:
        moments = moments[0], None
    problem = make_problem((whole.side(False), held_out), loss, penalty, options, goal.classes, moments)
    if survey.kept.partial:
        problem.sampled = _sampled(survey.kept, table, whole, problem, options, opened)
    if loss.name not in LOSSES:
        sample = sample_of(problem.session.source, survey.rows["training"])
        loss.check_target(np.zeros(1) if sample is None else sample.y)
    notes += _collinear(problem.objective, encoding)
    problem.encoding, problem.notes, problem.warnings = encoding, notes, warnings + dropped
    problem.missing, problem.rows = table.missing, rows
    problem.profiles = {**used, target: survey.target}
    return problem


def _survey(
    table: Table, question: Question, columns: Columns, options: Any, notes: list[str]
) -> tuple[Table, Survey]:
    """Read the table once, or once again with wider types where a cell did not fit; a note says so."""
    read = [*question.names, question.target, *filter(None, [columns.weight])]
    binary = _looks_binary(table, question)
    table = table.as_floats(read)
    numeric = isinstance(profile_for(table.schema[question.target], False), NumberProfile)
    squared = isinstance(options.loss, SquaredError) or (options.loss is None and not binary)
    question = replace(question, sums=numeric and squared)
    unmarked = table.unmarked(question.columns)
    if unmarked is not None:
        with suppress(TypeConflict):
            return unmarked, Survey.of(unmarked, question, options.engine)
    try:
        return table, Survey.of(table, question, options.engine)
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
        numeric = isinstance(profile_for(table.schema[question.target], False), NumberProfile)
        return table, Survey.of(table, replace(question, sums=question.sums and numeric), options.engine)


def _looks_binary(table: Table, question: Question) -> bool:
    """Whether the target looks like two classes, where that saves a parse: moments would be of no use."""
    if not (table.parsed and table.schema[question.target].is_integer()):
        return False
    with suppress(TypeConflict):  # some releases of polars look further ahead; the survey deals with it
        return table.head(question.target, FIRST_CELLS).drop_nulls().n_unique() <= 2
    return False


def _moments(
    survey: Survey, encoding: Encoding, loss: Loss, balanced: bool
) -> tuple[Moments | None, Moments | None]:
    """The moments of the encoded columns, where the survey has summed what they are made of.

    It knows neither weights of classes nor their codes, where these are not the numbers of the target.
    """
    classes = encoding.target.classes
    if balanced or (classes is not None and classes != tuple(range(len(classes)))):
        return None, None
    training, validation = (
        raw.encoded(encoding, survey.origins) if raw is not None and raw.serves(encoding) else None
        for raw in survey.moments
    )
    return training, validation


def _sampled(
    kept: Kept | Spooled, table: Table, whole: EncodedTable, problem: Problem, options: Any, opened: ExitStack
) -> dict[str, Session]:
    """Sessions over the rows that are kept of each side, where no others need be read again.

    Without moments every pass reads all rows, as a frame in memory allows at no cost: the sample is forgotten.
    """
    if table.in_memory or not isinstance(problem.objective, Quadratic):
        kept.close()
        return {}
    sample = EncodedTable(kept, whole.encoding, whole.split, options.memory, weight=whole.weight)
    opened.callback(sample.close)
    sides = {"training": False} | ({} if whole.split is None else {"validation": True})
    return {side: options.engine.open(sample.side(held_out)) for side, held_out in sides.items()}


def _collinear(objective: Objective, encoding: Encoding) -> list[str]:
    """A note on columns that are combinations of others."""
    among = encoding.independent
    if isinstance(objective, Quadratic):
        if objective.rank is not None and objective.rank >= len(among):
            return []
        moments = objective.moments
    elif isinstance(objective, Summed) and len(among) <= NEWTON_LIMIT:
        moments = objective.moments
    else:  # dummies are many: look at numbers and flags only
        assert objective.session is not None
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


def _feature_names(table: Table, target: str, columns: Columns) -> tuple[list[str], list[str]]:
    """The columns that may become features, and warnings for those that cannot."""
    unknown = [name for name in {target, *columns.named()} if name not in table.schema]
    if unknown:
        known = ", ".join(f"`{name}`" for name in table.names[:20]) or "none"
        raise DataError(f"{table.label!r} has no column `{sorted(unknown)[0]}`. It has {known}.")
    apart = {columns.group: "groups", columns.weight: "weights", target: "target"}
    for name, role in apart.items():
        if name in columns.features or name in columns.drop:
            raise DescendError(f"`{name}` is the {role}; it cannot be a feature or be dropped.")
    for name in filter(None, apart):
        if not is_usable(dtype := table.schema[name]):
            raise DataError(
                f"`{name}` is the {apart[name]}, but its type {dtype} is neither number, text nor date."
            )
    if target in (columns.weight, columns.group) or (
        columns.weight is not None and columns.weight == columns.group
    ):
        raise DescendError("the target, the weights and the groups must be columns of their own.")
    if both := set(columns.numeric) & set(columns.categorical):
        raise DescendError(f"`{min(both)}` is named both `numeric` and `categorical`: choose one.")
    wanted = list(dict.fromkeys(columns.features)) or [name for name in table.names if name not in apart]
    names, warnings = [], []
    for name in wanted:
        dtype = table.schema[name]
        if name in columns.drop:
            continue
        if is_usable(dtype):
            names.append(name)
        else:
            warnings.append(f"column `{name}` is left out: its type {dtype} is neither number, text nor date")
    if not names:
        raise DataError(
            ". ".join([f"{table.label!r} has no column to predict `{target}` from", *warnings]) + "."
        )
    return names, warnings


def _lack(survey: Survey, question: Question) -> str:
    """Why there is nothing to learn from."""
    if survey.rows["validation"]:
        return "no row left to learn from: every one is held out by `valid`"
    if survey.rows["without_target"]:
        return f"no row with a value of the target `{question.target}` to learn from"
    return "no rows" if question.weight is None else f"no row of a weight `{question.weight}` above 0"


def _infer_target(name: str, profile: Profile, loss: Loss | None, notes: list[str]) -> tuple[Loss, Target]:
    """The loss that the target asks for, and the target's classes."""
    classes = _classes(profile)
    if loss is None:
        loss = _infer_loss(name, profile, classes, notes)
    if isinstance(loss, LogisticLoss | CrossEntropy):
        low, high = (2, 2) if isinstance(loss, LogisticLoss) else (2, MAX_CLASSES)
        if classes is None or not low <= len(classes) <= high:
            found = f"more than {MAX_CLASSES}" if classes is None else str(len(classes))
            raise DataError(
                f"target `{name}` has {found} distinct values, but the loss {loss.name} takes "
                f"{'exactly 2' if high == 2 else f'2 to {high}'}. "
                "Numbers are fitted by squared-error, 3 to 100 classes by cross-entropy."
            )
        return loss, Target(name, classes)
    if isinstance(profile, TextProfile):
        raise DataError(f"target `{name}` holds text, which the loss {loss.name} cannot fit.")
    if profile.infinite:
        raise DataError(
            f"target `{name}` holds {profile.infinite} number(s) that are infinite, or beyond {HUGE:g}: "
            "leave those rows out."
        )
    return loss, Target(name)


def _classes(profile: Profile) -> tuple[Any, ...] | None:
    if isinstance(profile, TextProfile):
        return tuple(sorted(profile.levels)) if not profile.forgotten else None
    if profile.distinct is None or not profile.whole:
        return None
    return tuple(int(value) for value in sorted(profile.distinct))


def _infer_loss(name: str, profile: Profile, classes: tuple[Any, ...] | None, notes: list[str]) -> Loss:
    if isinstance(profile, TextProfile):
        if classes is None or len(classes) > MAX_CLASSES:
            raise DataError(
                f"target `{name}` holds {len(classes or ()) or 'too many'} distinct texts; "
                f"a classification takes at most {MAX_CLASSES} classes. Is it the right column?"
            )
        if len(classes) < 2:
            value = repr(classes[0]) if classes else "a missing one"
            raise DataError(f"target `{name}` always has the same value, {value}: there is nothing to learn.")
        return LogisticLoss() if len(classes) == 2 else CrossEntropy()
    if profile.dated:
        notes.append(f"`{name}` holds dates: taken as days since 1970-01-01")
        return SquaredError()
    if profile.low == profile.high:
        notes.append(f"`{name}` always has the same value ({profile.low:g}): there is nothing to learn")
    if classes is not None and len(classes) == 2:
        notes.append(
            f"`{name}` holds only {classes[0]} and {classes[1]}: taken as two classes (--loss squared-error for a number)"
        )
        return LogisticLoss()
    if classes is not None and 3 <= len(classes) <= FEW_VALUES:
        notes.append(
            f"`{name}` holds {len(classes)} whole numbers: taken as a number (--loss cross-entropy for classes)"
        )
    return SquaredError()


def _usable(survey: Survey, columns: Columns) -> tuple[dict[str, Profile], list[str]]:
    """The features without a fault, and a sentence on each left out. What `features` names stays."""
    used, warnings = {}, []
    for name, profile in survey.features.items():
        fault = profile.fault(name)
        if fault and (name not in columns.features or profile.count == 0):
            warnings.append(f"column `{name}` is left out: {fault}")
            continue
        used[name] = profile
        if isinstance(profile, TextProfile) and len(profile.levels) > MAX_LEVELS:
            warnings.append(
                f"column `{name}` has {len(profile.levels)} levels: the {MAX_LEVELS} most frequent are kept, "
                "the rest is `(other)`"
            )
    for name in columns.reference:
        if not isinstance(used.get(name), TextProfile):
            what = (
                "a column of numbers: name it `categorical` too" if name in used else "not among the features"
            )
            raise DescendError(f"`reference` names `{name}`, which is {what}.")
    if not used:
        raise DataError(f"no column is left to learn from: {'; '.join(warnings)}.")
    return used, warnings


def _penalty(penalty: Penalty | float | None, loss: Loss, survey: Survey, notes: list[str]) -> Penalty:
    if penalty is not None or not isinstance(loss, LogisticLoss | CrossEntropy):
        return as_penalty(penalty)
    what = (
        "the training rows" if survey.weight == survey.rows["training"] else "the weight of the training rows"
    )
    notes.append(f"L2 penalty alpha = 1/{survey.weight:.10g} (one over {what}; --l2 0 turns it off)")
    return L2(1.0 / survey.weight)


def _counts(profile: Profile, goal: Target) -> Float:
    """The training rows of each class, by weight."""
    counts: Mapping[Any, float] = (
        profile.levels if isinstance(profile, TextProfile) else profile.distinct or {}
    )
    return np.array(
        [counts.get(label_text(c) if isinstance(c, bool) else c, 0.0) for c in goal.classes or ()]
    )


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
    rows, target, surprises = 0, encoding.target, Surprises()
    for piece in other.slices(needed, 1 << 17):
        counted = ~np.isnan(target.encode(piece.frame[target.name]))
        surprises.add("target", target.name, *strange(piece.frame[target.name], counted))
        if columns.weight is not None:
            counted &= weights_of(piece, columns.weight) > 0
        rows += int(counted.sum())
    notes += [f"validation {sentence}" for sentence in surprises.sentences()]
    whole = EncodedTable(other, encoding, budget=options.memory, weight=columns.weight)
    opened.callback(whole.close)
    return whole.side(False), rows


def summarise(rows: Mapping[str, int]) -> str:
    """The counts of rows in a sentence.

    >>> summarise({"training": 266, "validation": 76, "without_target": 2})
    '266 rows to learn from, 76 held out, 2 without a target left out'
    """
    parts = [f"{rows['training']:,} rows to learn from"]
    if rows.get("validation"):
        parts.append(f"{rows['validation']:,} held out")
    if rows.get("without_target"):
        parts.append(f"{rows['without_target']:,} without a target left out")
    return ", ".join(parts)
