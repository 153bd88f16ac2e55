"""ONNX graphs, run by onnxruntime, give what the model gives; whatever the columns are called."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from exported import CASES, case, check
from own_losses import Gamma, SquaredHinge

import descend
from descend.models.formula import CategoryTerm, Formula

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)


@pytest.fixture(params=CASES, scope="module")
def fitted(request):
    return case(request.param)


def answers(run, feed):
    return onnxruntime.InferenceSession(descend.export(run.model, "onnx")).run(None, feed)


def test_models_of_tables(fitted):
    run, rows = fitted
    session = onnxruntime.InferenceSession(descend.export(run.model, "onnx"))
    feed = {}
    for column in session.get_inputs():
        series = rows[column.name]
        if "string" in column.type:
            values = np.array([str(v) if v is not None else "" for v in series.to_list()], dtype=object)
        else:
            days = series.dtype == pl.Date
            values = (
                (series.to_physical() if days else series).cast(pl.Float64).fill_null(math.nan).to_numpy()
            )
        feed[column.name] = values.reshape(-1, 1)
    found = session.run(None, feed)
    check(run, rows, found[0].tolist(), found[1] if len(found) > 1 else None)


@pytest.mark.parametrize(
    ("loss", "y"),
    {
        "numbers": ("squared-error", RNG.normal(size=50)),
        "whole labels": ("logistic", RNG.integers(3, 5, 50)),
        "three labels": ("cross-entropy", RNG.integers(0, 3, 50)),
        "two labels of softmax": ("cross-entropy", RNG.integers(0, 2, 50)),
        "texts": ("logistic", RNG.choice(["é", "other"], 50)),
        "truths": ("logistic", RNG.random(50) > 0.5),
        "fractions": ("logistic", RNG.choice([0.5, 1.5], 50)),
    }.values(),
)
@pytest.mark.parametrize("intercept", [True, False])
def test_models_of_arrays(loss, y, intercept):
    x = RNG.normal(size=(50, 3))
    run = descend.fit(x, y, loss=loss, penalty=0.1, intercept=intercept)
    found = answers(run, {"x": x})
    check(run, x, found[0].tolist(), found[1] if len(found) > 1 else None)
    for rows in (x[:1], x[:0]):
        assert len(answers(run, {"x": rows})[0]) == len(rows)


@pytest.mark.parametrize(
    ("loss", "classes", "z"), [(Gamma(), None, [-1.0, 2.0]), (SquaredHinge(), ("no", "yes"), [-1.0, 2.0])]
)
def test_other_links(loss, classes, z):
    model = descend.Model(loss, np.array([1.0]), False, ("x0",), classes)
    found = onnxruntime.InferenceSession(descend.export(model, "onnx")).run(None, {"x": np.c_[z]})
    assert len(found) == 1  # no probabilities
    expected = model.predict(np.c_[z])
    assert found[0].tolist() == (pytest.approx(expected) if classes is None else expected.tolist())


NAMES = [
    *("intercept", "slopes", "means", "flags", "last", "one", "zero", "classes", "levels_0", "axis_0"),
    *("prediction", "probabilities", "prediction_", "", "x", "rows", "z", "a column", "é"),
    *(
        f"{op}_{i}"
        for op in ("concat", "isnan", "where", "matmul", "add", "cast", "gather")
        for i in range(9)
    ),
]


@pytest.mark.parametrize("classes", [None, 2, 3])
@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_columns_may_be_called_as_parts_of_the_graph_are(classes, kind):
    rows = 200
    cells = (
        RNG.normal(size=(rows, len(NAMES)))
        if kind == "numbers"
        else RNG.choice(["u", "v"], (rows, len(NAMES)))
    )
    frame = pl.DataFrame(dict(zip(NAMES, cells.T, strict=True)))
    y = RNG.normal(size=rows) if classes is None else RNG.integers(0, classes, rows).astype(str)
    run = descend.fit(frame.with_columns(target=pl.Series(y)), target="target", penalty=0.1)
    found = answers(
        run,
        {
            n or "unnamed": frame[n].to_numpy().astype(float if kind == "numbers" else object)[:, None]
            for n in NAMES
        },
    )
    check(run, frame, found[0].tolist(), found[1] if classes else None)


def test_outputs_have_their_names_unless_a_column_has():
    x = RNG.normal(size=(50, 2))
    for column, names in (
        ("a", ["prediction", "probabilities"]),
        ("prediction", ["prediction_", "probabilities"]),
    ):
        frame = pl.DataFrame({column: x[:, 0], "y": x[:, 1] > 0})
        session = onnxruntime.InferenceSession(descend.export(descend.fit(frame, target="y").model, "onnx"))
        assert [output.name for output in session.get_outputs()] == names
        assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
            (column, "tensor(double)", ["rows", 1])
        ]


def test_probabilities_far_out_are_zeros_and_ones():
    run = descend.fit([[-1.0], [1.0], [-2.0], [2.0]], [0, 1, 1, 1], loss="logistic", penalty=1e-3)
    found = answers(run, {"x": np.array([[-1e6], [1e6]])})
    assert found[0].tolist() == [0, 1]
    np.testing.assert_array_equal(found[1], [[1.0, 0.0], [0.0, 1.0]])


def test_truths_are_taken_in_any_case_and_texts_that_mean_missing_as_missing():
    from descend.models.onnx import onnx_model

    truth = CategoryTerm("truth", {"false": (1.0,), "true": (2.0,)}, (3.0,), (4.0,), lower=True)
    text = CategoryTerm("text", {"a": (10.0,), "none": (20.0,)}, (30.0,), (40.0,))
    formula = Formula((0.5,), (), (truth, text), None, "y", ("NA", "none"))
    cells = {
        "truth": ["false", "True", "TRUE", "true", "NA", "", "maybe", "none"],
        "text": ["a", "none", "NA", "", "A", "True", "a", "a"],
    }
    feed = {name: np.array(texts, dtype=object)[:, None] for name, texts in cells.items()}
    (found,) = onnxruntime.InferenceSession(onnx_model(formula)).run(None, feed)
    assert found.tolist() == [11.5, 22.5, 42.5, 42.5, 34.5, 34.5, 13.5, 14.5]
