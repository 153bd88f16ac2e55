"""Exported programs give what the model gives, on rows with missing cells and unknown levels too."""

from __future__ import annotations

import csv
import datetime
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import descend
from descend import DescendError
from descend.cli import main

PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"
LABELS = {"two": "deposit", "three": "species", "number": "body_mass_g", "ages": "age"}


def bank(rows=300):
    """Rows like those of the bank's campaign: texts with gaps, numbers with gaps, truths and dates."""
    random = np.random.default_rng(1)
    age = random.integers(18, 90, rows)
    job = random.choice(["admin.", "blue-collar", 'it\'s "odd"', "student"], rows)
    day = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in random.integers(0, 900, rows)]
    balance = random.normal(1e3, 3e3, rows)
    z = 0.03 * age + (job == "student") - 1e-4 * balance + random.normal(size=rows)
    missing = random.random((2, rows)) < 0.1
    return pl.DataFrame(
        {
            "age": age,
            "job": [None if m else j for m, j in zip(missing[0], job, strict=True)],
            "balance": [None if m else b for m, b in zip(missing[1], balance, strict=True)],
            "default": random.random(rows) < 0.2,
            "contacted": day,
            "deposit": np.where(z > np.median(z), "yes", "no"),
        }
    )


def penguins(target):
    frame = pl.read_csv(PENGUINS, null_values=["NA"])
    return frame if target == "species" else frame.drop_nulls(target)


@pytest.fixture(params=["number", "three", "two", "ages", "unpenalised"])
def fitted(request):
    """A run, and rows for it that hold unknown levels and missing cells."""
    kind = request.param
    if kind in ("number", "three"):
        frame, target = penguins(LABELS[kind]), LABELS[kind]
        strange = {"island": ["Atlantis", None, "Dream"], "bill_length_mm": [None, 40.0, None]}
        run = descend.fit(frame, target=target)
    else:
        frame, target = bank(), LABELS["ages" if kind == "ages" else "two"]
        strange = {"job": ["astronaut", None, "student"], "balance": [None, 10.0, None]}
        run = descend.fit(frame, target=target, penalty=0.0 if kind == "unpenalised" else None)
    odd = frame.head(3).with_columns(pl.Series(name, cells) for name, cells in strange.items())
    return run, pl.concat([frame, odd], how="vertical_relaxed").drop(target)


def load(source):
    names = {}
    exec(compile(source, "exported", "exec"), names)
    return names


def check(run, rows, predictions, probabilities=None):
    expected = run.predict(rows)
    if run.model.classes is None:
        np.testing.assert_allclose(predictions, expected, rtol=1e-6)
        return
    assert list(predictions) == expected.tolist()
    if probabilities is not None:
        np.testing.assert_allclose(probabilities, run.predict_probabilities(rows), rtol=1e-6, atol=1e-12)


def test_python(fitted):
    run, rows = fitted
    made = load(descend.export(run.model, "python"))
    cells = rows.to_dicts()
    shares = None
    if run.model.classes is not None:
        shares = [list(made["probabilities"](row).values()) for row in cells]
    check(run, rows, [made["predict"](row) for row in cells], shares)


def test_torch(fitted):
    torch = pytest.importorskip("torch")
    run, rows = fitted
    layer = load(descend.export(run.model, "torch"))["Linear"]()
    check(run, rows, layer.predict(rows.to_dicts()))
    assert all(p.dtype == torch.float64 and p.requires_grad for p in layer.parameters())


def test_sql(fitted):
    duckdb = pytest.importorskip("duckdb")
    run, rows = fitted
    connection = duckdb.connect()
    connection.register("data", rows.to_arrow())
    found = connection.sql(descend.export(run.model, "sql")).pl()
    shares = [name for name in found.columns if name.startswith("probability:")]
    check(run, rows, found["prediction"].to_list(), found.select(shares).to_numpy() if shares else None)


def test_onnx(fitted):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
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


@pytest.mark.parametrize("classes", [None, 2, 3])
def test_models_of_arrays(classes):
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3))
    y = x @ [1.0, 2.0, 3.0] if classes is None else random.integers(0, classes, 50)
    loss = {None: "squared-error", 2: "logistic", 3: "cross-entropy"}[classes]
    run = descend.fit(x, y, loss=loss, penalty=0.1)
    rows = [dict(zip(("x0", "x1", "x2"), row, strict=True)) for row in x.tolist()]
    check(run, x, [load(descend.export(run.model, "python"))["predict"](row) for row in rows])
    if pytest.importorskip("onnx"):
        session = pytest.importorskip("onnxruntime").InferenceSession(descend.export(run.model, "onnx"))
        check(run, x, session.run(None, {"x": x})[0].tolist())


def test_a_csvs_texts_do_as_cells():
    run = descend.fit(PENGUINS, target="body_mass_g")
    made = load(descend.export(run.model, "python"))
    with PENGUINS.open(newline="") as file:
        found = [made["predict"](row) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found, run.predict(PENGUINS), rtol=1e-9)


def test_the_shell_writes_each_kind_beside_the_model(tmp_path, capsys):
    model = tmp_path / "penguins.model.json"
    descend.fit(PENGUINS, target="species").save(model)
    for to, ending in (("python", ".py"), ("sql", ".sql"), ("torch", ".torch.py")):
        assert main(["export", str(model), "--to", to]) == 0
        assert (tmp_path / f"penguins{ending}").read_text()
    assert capsys.readouterr().out.count("penguins") == 3
    assert main(["export", str(model), "--to", "excel"]) == 2
    assert "`to` must be one of onnx, torch, sql, python" in capsys.readouterr().err


def test_what_cannot_be_exported_is_said():
    x, y = descend.make_line(100, seed=0)
    with pytest.raises(DescendError, match="`to` must be one of"):
        descend.export(descend.fit(x, y, intercept=False).model, "pmml")
