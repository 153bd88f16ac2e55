"""Exported programs give what the model gives, on rows with missing cells and unknown levels too."""

from __future__ import annotations

import csv
import datetime
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from postgres import cluster

import descend
from descend import DescendError
from descend.cli import main

PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"
BANK = Path(__file__).parent / "data" / "bank.csv"


def campaign(rows=300):
    """What the files lack: a name with quotes, numbers with gaps, truths and dates."""
    random = np.random.default_rng(1)
    age = random.integers(18, 90, rows)
    job = random.choice(["admin.", "blue-collar", 'it\'s "odd"', "student"], rows)
    day = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in random.integers(0, 900, rows)]
    balance = random.normal(1e3, 3e3, rows)
    z = 0.03 * age + (job == "student") - 1e-4 * balance + random.normal(size=rows)
    frame = pl.DataFrame(
        {
            "age": age,
            "job": job,
            'the "balance"': balance,
            "default": random.random(rows) < 0.2,
            "contacted": day,
            "deposit": np.where(z > np.median(z), "yes", "no"),
        }
    )
    return with_holes(frame, ["job", 'the "balance"'])


def with_holes(frame, names):
    """One cell in ten of these columns missing."""
    random = np.random.default_rng(2)
    holes = [pl.lit(pl.Series(random.random(frame.height) < 0.1)) for _ in names]
    return frame.with_columns(
        pl.when(h).then(None).otherwise(pl.col(n)).alias(n) for n, h in zip(names, holes, strict=True)
    )


def penguins(target):
    return pl.read_csv(PENGUINS, null_values=["NA"]).drop_nulls(target)


def bank(target):
    return with_holes(pl.read_csv(BANK), [n for n in ("job", "age", "contact", "balance") if n != target])


CASES = {
    "penguins, a number": lambda: (penguins("body_mass_g"), "body_mass_g", {}),
    "penguins, three classes": lambda: (penguins("species"), "species", {}),
    "bank, two classes": lambda: (bank("deposit"), "deposit", {}),
    "bank, two classes, no penalty": lambda: (bank("loan"), "loan", {"penalty": 0.0}),
    "bank, four classes": lambda: (bank("poutcome"), "poutcome", {}),
    "bank, a number": lambda: (bank("balance"), "balance", {}),
    "bank, whole": lambda: (pl.read_csv(BANK), "deposit", {}),
    "bank, texts alone": lambda: (
        bank("marital"),
        "marital",
        {"columns": descend.Columns(features=["job", "day", "month"], categorical=["day"])},
    ),
    "dates, truths and quotes": lambda: (campaign(), "deposit", {}),
    "dates, truths and quotes, a number": lambda: (campaign(), "age", {}),
}


@pytest.fixture(params=CASES, scope="module")
def fitted(request):
    """A run, and its rows; beside them, for each column, rows where its cell is missing or of an unknown level."""
    frame, target, options = CASES[request.param]()
    run = descend.fit(frame, target=target, **options)
    rows = frame.drop(target)
    return run, pl.concat([rows, odd(rows)], how="vertical_relaxed")


def odd(rows):
    """Rows with a missing cell or an unknown text in each column in turn, and one with nothing but gaps."""
    made = [rows.clear(1)]
    for number, name in enumerate(rows.columns):
        cells = [None, *(["Atlantis", "(missing)"] if rows[name].dtype == pl.String else [])]
        for cell in cells:
            made.append(rows[number].with_columns(pl.lit(cell, dtype=rows[name].dtype).alias(name)))
    return pl.concat(made)


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


@pytest.fixture(scope="module")
def postgres():
    with cluster() as made:
        yield made


def test_sql_in_postgresql(fitted, postgres):
    run, rows = fitted
    postgres.table(rows.with_row_index("row").cast({"row": pl.Int64}))
    found = postgres.query(descend.export(run.model, "sql")).sort("row")
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
