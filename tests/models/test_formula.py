"""A model as a formula, worked out cell by cell in plain Python beside the model's own predictor."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest
from exported import CASES, case
from hypothesis import given, settings
from hypothesis import strategies as st

import descend
from descend import Columns
from descend.models.formula import CategoryTerm, Formula, NumberTerm
from descend.models.model import Model
from descend.objectives.losses import LOSSES, SquaredError
from descend.tables.encoding import OTHER

RNG = np.random.default_rng(2)
X = RNG.normal(size=60)
FRAME = pl.DataFrame(
    {
        "number": pl.Series(X + 5).scatter([3, 7], None),
        "text": RNG.choice(["a", "b", "c"], 60),
        "truth": RNG.random(60) < 0.4,
        "y": X + RNG.normal(size=60),
    }
)


def added(one, other):
    return [a + b for a, b in zip(one, other, strict=True)]


def predictor(formula, row):
    """`z` of a row of cells, as the formula's docstrings say."""
    z = list(formula.intercept)
    for term in formula.numbers:
        x = row[term.name]
        if isinstance(x, datetime.date):
            assert term.dated
            x = (x - datetime.date(1970, 1, 1)).days
        absent = x is None
        z = added(z, [slope * (term.mean if absent else x) + flag * absent for slope, flag in zip(term.slope, term.flag, strict=True)])  # fmt: skip
    for term in formula.categories:
        cell = row[term.name]
        text = None if cell is None else str(cell).lower() if term.lower else str(cell)
        z = added(z, term.missing if text is None else term.levels.get(text, term.unknown))
    return z


def of_model(model, frame):
    X, _ = model.encoding.transform(frame)
    z = model.linear_predictor(X)
    return z.reshape(len(z), -1)


@pytest.mark.parametrize("name", CASES)
def test_a_formula_is_the_predictor_with_gaps_and_unknown_levels_too(name):
    run, rows = case(name)
    formula = Formula.of(run.model)
    found = [predictor(formula, row) for row in rows.to_dicts()]
    np.testing.assert_allclose(found, of_model(run.model, rows), rtol=1e-9, atol=1e-9)
    assert formula.classes == run.model.classes
    assert formula.outputs == of_model(run.model, rows).shape[1]


@settings(max_examples=25)
@given(
    intercept=st.booleans(),
    penalty=st.sampled_from([0.0, 0.1]),
    reference=st.sampled_from("abc"),
    number=st.one_of(st.none(), st.floats(-1e3, 1e3)),
    text=st.sampled_from(["a", "b", "c", "d", None]),
    truth=st.sampled_from([True, False, None]),
)
def test_any_coding_folds_into_the_formula(intercept, penalty, reference, number, text, truth):
    run = descend.fit(
        FRAME,
        target="y",
        intercept=intercept,
        penalty=penalty,
        columns=Columns(reference={"text": reference}),
    )
    row = {"number": number, "text": text, "truth": truth}
    frame = pl.DataFrame([row], schema={name: FRAME.schema[name] for name in row})
    found = predictor(Formula.of(run.model), row)
    np.testing.assert_allclose([found], of_model(run.model, frame), rtol=1e-9, atol=1e-9)


def test_without_a_penalty_the_reference_and_what_is_unknown_are_worth_nothing():
    (text, truth) = Formula.of(
        descend.fit(FRAME, target="y", columns=Columns(reference={"text": "b"})).model
    ).categories
    assert text.levels["b"] == text.unknown == text.missing == (0.0,)
    assert 0.0 not in (*text.levels["a"], *text.levels["c"])
    assert (text.lower, truth.lower) == (False, True)


def test_of_too_many_levels_what_is_unknown_is_worth_what_the_others_are(monkeypatch):
    monkeypatch.setattr("descend.tables.encoding.MAX_LEVELS", 2)
    (term,) = Formula.of(descend.fit(FRAME[["text", "y"]], target="y", penalty=0.1).model).categories
    assert len(term.levels) == 3
    assert term.unknown == term.levels[OTHER] != (0.0,)


def test_a_column_without_gaps_has_no_flag():
    model = descend.fit(FRAME[3:4].vstack(FRAME[10:]).drop("text", "truth"), target="y").model
    other = descend.fit(FRAME[10:].drop("text", "truth"), target="y").model
    (gaps,), (none,) = Formula.of(model).numbers, Formula.of(other).numbers
    assert gaps.flag != (0.0,) == none.flag
    assert none.mean == pytest.approx(FRAME["number"][10:].mean())


ARRAYS = {
    "numbers": ("squared-error", [1.0, 2.0], False, None, (0.0,), [(1.0,), (2.0,)]),
    "an intercept": ("squared-error", [1.0, 2.0, 3.0], True, None, (3.0,), [(1.0,), (2.0,)]),
    "two classes": ("logistic", [1.0, 2.0, 3.0], True, (5, 6), (3.0,), [(1.0,), (2.0,)]),
    "softmax": ("cross-entropy", [[1.0, 2], [3, 4], [5, 6]], True, ("a", "b"), (5.0, 6.0), [(1.0, 2.0), (3.0, 4.0)]),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "w", "intercept", "classes", "last", "slopes"), ARRAYS.values(), ids=ARRAYS)
def test_a_model_of_arrays_has_its_weights(loss, w, intercept, classes, last, slopes):
    formula = Formula.of(Model(LOSSES[loss], np.array(w), intercept, ("x0", "x1"), classes))
    assert formula.intercept == last
    assert [term.slope for term in formula.numbers] == slopes
    assert formula.numbers[1] == NumberTerm("x1", slopes[1], None, (0.0,) * len(last))
    assert (formula.classes, formula.categories, formula.from_table) == (classes, (), False)
    assert formula.outputs == len(last)


def test_texts_that_are_levels_of_a_column_are_not_missing_in_it():
    model = Model(SquaredError(), np.array([1.0]), False, ("x0",), facts={"missing": ["NA", "", "none"]})
    term = CategoryTerm("c", {"a": (1.0,), "none": (2.0,)}, (0.0,), (0.0,))
    assert Formula.of(model).texts == ()  # an array has no texts
    assert Formula((0.0,), (), (term,), None, "y", ("NA", "", "none")).missing_texts(term) == ["NA", ""]


def test_numbers_of_a_formula_are_pythons_own():
    """Programs are written from their repr."""
    formula = Formula.of(case("penguins, three classes")[0].model)
    worths = [formula.intercept, *(t.slope for t in formula.numbers), *(w for t in formula.categories for w in t.levels.values())]  # fmt: skip
    assert {type(number) for worth in worths for number in worth} == {float}
