"""Runs of rows: the same rows and leaves as the table read from end to end."""

from __future__ import annotations

import pickle

import pytest
from kinds_of_table import KINDS, made

from descend.tables.table import first_leaves, row_runs, unit_rows


@pytest.fixture(params=KINDS)
def table(request, tmp_path):
    return made(request.param, tmp_path)


@pytest.mark.parametrize("unit", [512, 1_024, 65_536])
def test_runs_have_the_rows_of_the_table_and_number_its_leaves(table, unit):
    runs = pickle.loads(pickle.dumps(row_runs(table, ["b", "a"], unit)))
    whole = list(table.slices(["b", "a"], 256))
    found = []
    for run, first in zip(runs, first_leaves(runs, 256), strict=True):
        assert first == len(found)
        found += run.slices(["b", "a"], 256)
    assert [(s.file, s.start) for s in found] == [(s.file, s.start) for s in whole]
    assert all(a.frame.equals(b.frame) for a, b in zip(found, whole, strict=True))


def test_units_hold_whole_leaves_and_are_not_too_many():
    for columns in (1, 28, 5_000):
        for total in (10, 10**6, 10**11):
            unit = unit_rows(total, columns)
            assert unit & (unit - 1) == 0
            assert total / unit <= 65_536
