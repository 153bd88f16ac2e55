"""From a table and a target to a problem: roles, the loss, the split, the encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from descend.blocks import Split
from descend.encoded import EncodedSource, EncodedTable
from descend.encoding import MAX_LEVELS, Encoding, Target, open_encoded
from descend.errors import DataError, DescendError
from descend.losses import CrossEntropy, LogisticLoss, Loss, SquaredError
from descend.penalties import L2, Penalty, as_penalty
from descend.problem import FEW_VALUES, MAX_CLASSES, Columns, Problem, make_problem
from descend.profiles import HUGE, Profile, Survey, TextProfile, is_boolean, is_usable
from descend.tables import Table, TypeConflict, open_table


def from_table(data: Any, target: str, columns: Columns, options: Any) -> Problem:
    """Learn the encoding from the training rows and put objectives over them."""
    table = open_table(data, missing=columns.missing, text_columns=columns.categorical)
    names, warnings = _feature_names(table, target, columns)
    split = Split(float(options.valid), options.seed) if isinstance(options.valid, int | float) else None
    notes: list[str] = []
    try:
        survey = Survey.of(table, target, names, columns.categorical, columns.numeric, split)
    except TypeConflict as error:
        notes.append(f"column types were widened and the rows read again: {str(error).rstrip('.')}")
        table = table.widened()
        survey = Survey.of(table, target, names, columns.categorical, columns.numeric, split)
    if split is not None and not survey.rows["validation"]:
        notes.append(f"no row was held out by `valid` {split.fraction:g}: there are too few")
        split = None
    if not survey.rows["training"]:
        raise DataError(f"no row of {table.label!r} has a value of the target `{target}` to learn from.")
    loss, goal = _infer_target(target, survey.target, options.loss, notes)
    if is_boolean(table.schema[target]) and goal.classes is not None:
        goal = Target(target, (False, True))
    used, dropped = _usable(survey, columns)
    warnings += dropped
    encoding = Encoding.learn(used, goal, columns.reference, options.intercept)
    penalty = _penalty(options.penalty, loss, survey.rows["training"], notes)
    if penalty.is_zero:
        encoding = encoding.dropping_references()
    valid = None if isinstance(options.valid, int | float) else options.valid
    sources, held_out = _sources(table, encoding, split, valid)
    problem = make_problem(sources, loss, penalty, options, goal.classes)
    problem.encoding, problem.notes, problem.warnings = encoding, notes, warnings
    problem.missing = table.missing
    problem.rows = survey.rows if held_out is None else {**survey.rows, "validation": held_out}
    return problem


def _feature_names(table: Table, target: str, columns: Columns) -> tuple[list[str], list[str]]:
    """The columns that may become features, and warnings for those that cannot."""
    unknown = [name for name in {target, *columns.named()} if name not in table.schema]
    if unknown:
        known = ", ".join(f"`{name}`" for name in table.names[:20])
        raise DataError(f"{table.label!r} has no column `{sorted(unknown)[0]}`. It has {known}.")
    if target in columns.features or target in columns.drop:
        raise DescendError(f"`{target}` is the target; it cannot be a feature or be dropped.")
    wanted = list(dict.fromkeys(columns.features)) or [name for name in table.names if name != target]
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
        raise DataError(f"{table.label!r} has no column to predict `{target}` from.")
    return names, warnings


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
            f"target `{name}` holds {profile.infinite} infinite values (or beyond {HUGE:g}): "
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
            raise DataError(
                f"target `{name}` always has the same value {classes}: there is nothing to learn."
            )
        return LogisticLoss() if len(classes) == 2 else CrossEntropy()
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
    if not used:
        raise DataError(f"no column is left to learn from: {'; '.join(warnings)}.")
    return used, warnings


def _penalty(penalty: Penalty | float | None, loss: Loss, rows: int, notes: list[str]) -> Penalty:
    if penalty is not None or isinstance(loss, SquaredError):
        return as_penalty(penalty)
    notes.append(f"L2 penalty alpha = 1/{rows} (one over the training rows; --l2 0 turns it off)")
    return L2(1.0 / rows)


def _sources(
    table: Table, encoding: Encoding, split: Split | None, valid: Any
) -> tuple[tuple[EncodedSource, EncodedSource | None], int | None]:
    """Training and validation rows; the number of rows of a validation table of its own."""
    whole = EncodedTable(table, encoding, split)
    if valid is None:
        return (whole.side(False), whole.side(True) if split else None), None
    other = open_encoded(valid, encoding, table.missing)
    if encoding.target.name not in other.names:
        raise DataError(f"{other.label!r} has no column `{encoding.target.name}`, the target.")
    rows = sum(
        int((~np.isnan(encoding.target.encode(piece.frame[encoding.target.name]))).sum())
        for piece in other.slices((encoding.target.name,), 1 << 17)
    )
    return (whole.side(False), EncodedTable(other, encoding).side(False)), rows


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
