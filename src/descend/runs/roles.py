"""The roles of a table's columns: which are features, what the target asks for, which rows are held out, what is worth a look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from descend.engines.arrays import HUGE, TINY
from descend.engines.matrix import Float
from descend.errors import DataError, DescendError
from descend.objectives.losses import CrossEntropy, LogisticLoss, Loss, SquaredError
from descend.objectives.penalties import L2, Penalty, as_penalty
from descend.runs.prepared import MAX_CLASSES, Columns, Options, check_target
from descend.tables.encoding import MAX_LEVELS, Target, label_text
from descend.tables.profiles import NumberProfile, Profile, TextProfile, is_usable
from descend.tables.profiling import ProfileRequest, Profiling
from descend.tables.table import Table


def stray_texts(profiles: Mapping[str, Profile], table: Table, columns: Columns) -> dict[str, str]:
    """A sentence on each column of a CSV that a few cells have made text, most of them being numbers."""
    hints = {}
    if table.parsed:
        for name, profile in profiles.items():
            others = _others(profile) if isinstance(profile, TextProfile) else []
            if others and name not in columns.categorical and not table.schema[name].is_numeric():
                listed = " ".join(map(repr, others[:3])) + (" ..." if len(others) > 3 else "")
                hints[name] = (
                    f"column `{name}`: most cells are numbers, but not {listed}: taken as categories. "
                    f"--missing {listed} where that means a missing cell, --categorical {name} where it does not"
                )
    return hints


def _others(profile: TextProfile) -> list[str]:
    """The texts of a column most of whose cells, of two values at least, are numbers; none of another."""
    others = sorted(level for level in profile.levels if not _is_number(level))
    cells = sum(profile.levels[level] for level in others)
    few = cells <= 0.5 * profile.levels.total() and len(profile.levels) - len(others) >= 2
    return others if few else []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def rounded_numbers(used: Mapping[str, Profile], table: Table) -> list[str]:
    """A sentence on each column of whole numbers that float64 cannot hold."""
    return [
        f"column `{name}` holds whole numbers beyond 2^53, which are rounded: subtract a constant to keep them"
        for name, profile in used.items()
        if isinstance(profile, NumberProfile)
        and table.schema[name].is_integer()
        and max(-profile.low, profile.high) > 2**53
    ]


FEW_VALUES = 20


def feature_names(table: Table, target: str, columns: Columns) -> tuple[list[str], list[str]]:
    """The columns that may become features, and warnings for those that cannot."""
    unknown = [name for name in {target, *columns.named()} if name not in table.schema]
    if unknown:
        known = ", ".join(f"`{name}`" for name in table.names[:20]) or "none"
        raise DataError(f"{table.label!r} has no column `{sorted(unknown)[0]}`. It has {known}.")
    apart = {
        columns.cluster: "clusters",
        columns.group: "groups",
        columns.weight: "weights",
        columns.offset: "offset",
        target: "target",
    }
    for name, role in apart.items():
        if name in (columns.features or ()) or name in columns.drop:
            raise DescendError(f"`{name}` is the {role}; it cannot be a feature or be dropped.")
    for name in filter(None, apart):
        if not is_usable(dtype := table.schema[name]):
            raise DataError(
                f"`{name}` is the {apart[name]}, but its type {dtype} is neither number, text nor date."
            )
    named = [name for name in (target, columns.weight, columns.group, columns.offset) if name is not None]
    if len({*named}) < len(named) or columns.cluster in {*named} - {columns.group}:
        raise DescendError(
            "the target, the weights, the groups and the offset must be columns of their own; groups may be clusters too."
        )
    if both := set(columns.numeric) & set(columns.categorical):
        raise DescendError(f"`{min(both)}` is named both `numeric` and `categorical`: choose one.")
    wanted = list(dict.fromkeys(columns.features or ())) or [
        name for name in table.names if name not in apart
    ]
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


def lack(profiling: Profiling, request: ProfileRequest) -> str:
    """Why there is nothing to learn from."""
    if profiling.rows["validation"]:
        return "no row left to learn from: every one is held out by `valid`"
    if profiling.rows["without_target"]:
        return f"no row with a value of the target `{request.target}` to learn from"
    return "no rows" if request.weight is None else f"no row of a weight `{request.weight}` above 0"


def infer_target(name: str, profile: Profile, loss: Loss | None, notes: list[str]) -> tuple[Loss, Target]:
    """The loss that the target asks for, and the target's classes."""
    classes = _classes(profile)
    if loss is None:
        loss = _infer_loss(name, profile, classes, notes)
    if loss.has_classes:
        low, high = (2, 2) if loss.kind == "two classes" else (2, MAX_CLASSES)
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
    if 0 < max(-profile.low, profile.high) < TINY:
        raise DataError(
            f"target `{name}` holds no number as large as {TINY:g} but zeros: their squares vanish. Multiply it by 1e150."
        )
    check_target(loss, np.array([profile.low, profile.high]), f"target `{name}`")
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


def usable_features(profiling: Profiling, columns: Columns) -> tuple[dict[str, Profile], list[str]]:
    """The features without a fault, and a sentence on each left out. What `features` names stays."""
    used, warnings = {}, []
    for name, profile in profiling.features.items():
        fault = profile.fault(name)
        if fault and (name not in (columns.features or ()) or profile.count == 0):
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


def chosen_penalty(options: Options, loss: Loss, profiling: Profiling, notes: list[str]) -> Penalty:
    """The penalty asked for; unless it is, of classes one over the weight of the training rows; a note on what it acts."""
    units = f"acts on {'coefficients in the units of the data' if options.penalise == 'original' else 'standardised coefficients'}"
    if options.penalty is not None or not loss.has_classes:
        penalty = as_penalty(options.penalty)
        if not penalty.is_zero:
            notes.append(f"the {penalty.title} penalty {units} (--penalise)")
        return penalty
    what = (
        "the training rows"
        if profiling.weight == profiling.rows["training"]
        else "the weight of the training rows"
    )
    notes.append(
        f"L2 penalty alpha = 1/{profiling.weight:.10g} (one over {what}; --l2 0 turns it off), {units}"
    )
    return L2(1.0 / profiling.weight)


def class_counts(profile: Profile, goal: Target) -> Float:
    """The training rows of each class, by weight."""
    counts: Mapping[Any, float] = (
        profile.levels if isinstance(profile, TextProfile) else profile.distinct or {}
    )
    return np.array(
        [counts.get(label_text(c) if isinstance(c, bool) else c, 0.0) for c in goal.classes or ()]
    )


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
