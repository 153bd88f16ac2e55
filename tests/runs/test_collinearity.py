"""Relations among columns: every one that is named holds in the data, and none that holds is missed."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descend
from descend.engines.blocks import Block
from descend.engines.moments import Moments
from descend.runs.collinearity import Relation, collinear_note, relations

RNG = np.random.default_rng(5)


def found(X, *, intercept=True):
    names, columns = [f"x{i}" for i in range(X.shape[1])], X.shape[1]
    moments = Moments.of(Block(X, np.zeros(len(X))))
    return relations(moments, names, np.ones(columns), np.zeros(columns), intercept=intercept)


def holds(relation, X):
    total = sum(b * X[:, int(name[1:])] for name, b in relation.terms) + relation.constant
    left = X[:, int(relation.name[1:])]
    return np.allclose(total, left, rtol=0, atol=1e-5 * np.abs(left).max())


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), basis=st.integers(1, 5), extra=st.integers(0, 4), shift=st.booleans())
def test_as_many_relations_as_the_rank_lacks_and_each_of_them_holds(seed, basis, extra, shift):
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(60, basis)) * 10.0 ** rng.integers(-2, 3, basis) + 5.0 * shift
    X = np.hstack([B, B @ rng.integers(-3, 4, (basis, extra)) + rng.integers(0, 2, extra)])
    X = X[:, rng.permutation(X.shape[1])]
    listed = found(X)
    varied = X[:, X.std(axis=0) > 0]
    centred = (varied - varied.mean(axis=0)) / varied.std(axis=0)
    assert len(listed) == varied.shape[1] - np.linalg.matrix_rank(centred, tol=1e-6)
    assert all(holds(relation, X) for relation in listed)


def test_columns_that_nearly_agree_are_not_named():
    x = RNG.normal(size=500)
    assert found(np.column_stack([x, x + 1e-3 * RNG.normal(size=500)])) == []


def test_without_an_intercept_a_constant_does_not_help():
    x = RNG.normal(size=50)
    X = np.column_stack([x, x + 3.0])
    assert str(found(X)[0]) in ("`x0` = `x1` - 3", "`x1` = `x0` + 3")
    assert found(X, intercept=False) == []


def test_many_terms_are_summed_up():
    relation = Relation("total", tuple((f"x{i}", 1.0) for i in range(9)), 0.0)
    assert str(relation).startswith("`total` is a combination of 9 columns, `x0`, ")
    note = collinear_note([Relation("a", (("b", 2.0),), 0.0)] * 7, penalised=True)
    assert note.endswith("and 2 more. Many weights predict alike; the penalty decides among them")


def test_columns_that_are_the_same_are_told_in_a_row():
    x = RNG.normal(size=(60, 2))
    note = collinear_note(found(x[:, [0, 1, 0, 0]]), penalised=False)
    assert note.startswith("collinear columns: `x0` = `x2` = `x3`. ")


def times(rows=400):
    hour, minute = RNG.integers(5, 23, rows), RNG.integers(0, 60, rows)
    return pl.DataFrame(
        {
            "scheduled": 100 * hour + minute,
            "kind": RNG.choice(["a", "b", "c"], rows),
            "hour": hour,
            "minute": minute,
            "delay": RNG.normal(size=rows) + 0.1 * hour,
        }
    )


SAID = "collinear columns: `scheduled` = 100 `hour` + `minute`. "


@pytest.mark.parametrize("penalty", [0, 0.1])
@pytest.mark.parametrize("goal", ["number", "class"])
def test_a_fit_of_a_table_names_them_in_its_own_units(goal, penalty):
    frame = times()
    if goal == "class":
        frame = frame.with_columns(pl.when(pl.col("delay") > 1).then(pl.lit("late")).otherwise(pl.lit("not")))
        frame = frame.drop("delay").rename({"literal": "delay"})
    run = descend.fit(frame, target="delay", penalty=penalty)
    assert any(
        note.startswith(SAID) for note in run.notes
    )  # and the levels of `kind`, which add to 1, are not
    assert sum("collinear" in note for note in run.notes) == 1


def test_numbers_are_looked_at_where_levels_are_very_many(monkeypatch):
    monkeypatch.setattr("descend.runs.collinearity.NEWTON_LIMIT", 3)
    frame = times().with_columns(pl.Series("delay", np.where(np.arange(400) % 3 == 0, "x", "y")))
    assert any(note.startswith(SAID) for note in descend.fit(frame, target="delay").notes)


def test_arrays_too_where_the_loss_collapses_to_moments():
    x = RNG.normal(size=(80, 3))
    x[:, 2] = 2 * x[:, 0] - x[:, 1]
    assert "`x2` = 2 `x0` - `x1`" in descend.fit(x, x[:, 0]).notes[0]
    assert descend.fit(x[:, :2], x[:, 0]).notes == []


@pytest.mark.parametrize("noise", [1e-6, 0.0])
def test_columns_that_are_nearly_the_same_are_not_called_the_same(noise):
    rng = np.random.default_rng(0)
    a = rng.normal(size=80)
    frame = {"a": a, "b": a + noise * rng.normal(size=80), "c": rng.normal(size=80)}
    frame["y"] = (a + rng.logistic(size=80) > 0).astype(int)
    run = descend.fit(frame, target="y", penalty=0)
    (note,) = (note for note in run.notes if "collinear" in note)
    assert note.startswith("nearly collinear columns: `b` = `a`" if noise else "collinear columns: `a` = `b`")
    errors = run.standard_errors
    assert np.isnan(errors["a"]) == (not noise)
    assert errors["c"] > 0
