"""Advice on the columns of a table: what its types suggest is worth a look."""

from __future__ import annotations

from collections.abc import Mapping

from descend.runs.problem import Columns
from descend.tables.csv_files import CsvFile
from descend.tables.profiles import NumberProfile, Profile, TextProfile
from descend.tables.table import Table


def stray_texts(profiles: Mapping[str, Profile], table: Table, columns: Columns) -> dict[str, str]:
    """A sentence on each column of a CSV that a few cells have made text, most of them being numbers."""
    hints = {}
    if any(isinstance(file, CsvFile) for file in table.files):
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
