"""Exported programs give what the model gives, on rows with missing cells and unknown levels too."""

from __future__ import annotations

import csv

import numpy as np
import polars as pl
import pytest
from exported import CASES, PENGUINS, case, check
from own_losses import Gamma, SquaredHinge
from postgres import cluster

import descend
from descend import DescendError, Model
from descend.interfaces.cli import main
from descend.models.formula import SPELLINGS, Spelling
from descend.objectives.links import Logit


@pytest.fixture(params=CASES, scope="module")
def fitted(request):
    return case(request.param)


def load(source):
    names = {}
    exec(compile(source, "exported", "exec"), names)
    return names


def test_python(fitted):
    run, rows = fitted
    made = load(descend.export(run.model, "python"))
    cells = rows.to_dicts()
    shares = None
    if run.model.has_probabilities:
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


@pytest.mark.parametrize("classes", [None, 2, 3])
def test_models_of_arrays(classes):
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3))
    y = x @ [1.0, 2.0, 3.0] if classes is None else random.integers(0, classes, 50)
    loss = {None: "squared-error", 2: "logistic", 3: "cross-entropy"}[classes]
    run = descend.fit(x, y, loss=loss, penalty=0.1)
    rows = [dict(zip(("x0", "x1", "x2"), row, strict=True)) for row in x.tolist()]
    check(run, x, [load(descend.export(run.model, "python"))["predict"](row) for row in rows])


def test_classes_without_probabilities():
    duckdb = pytest.importorskip("duckdb")
    model = Model(SquaredHinge(), np.array([1.0, 0.5]), True, ("x0",), ("no", "yes"))
    made = load(descend.export(model, "python"))
    assert [made["predict"]({"x0": x}) for x in (-1.0, 0.0)] == ["no", "yes"]
    assert "probabilities" not in made
    connection = duckdb.connect()
    connection.register("data", pl.DataFrame({"x0": [-1.0, 0.0]}).to_arrow())
    found = connection.sql(descend.export(model, "sql")).pl()
    assert found["prediction"].to_list() == ["no", "yes"]
    assert not [name for name in found.columns if name.startswith("probability")]


@pytest.mark.parametrize("loss", ["squared-error", "poisson", "logistic", "cross-entropy"])
def test_a_missing_cell_that_the_model_has_no_value_for_makes_a_missing_prediction(loss):
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("torch")
    random = np.random.default_rng(1)
    x, offset = random.normal(size=(80, 2)), random.normal(size=80)
    y = random.integers(0, 3 if loss == "cross-entropy" else 2, 80)
    several = loss == "cross-entropy"  # whose classes an offset does not move
    model = descend.fit(x, y, loss=loss, penalty=0.1, offset=None if several else offset).model
    cells = [(1.0, 0.0, -3.0), (None, 0.0, 0.0), (None, 0.0, 0.0) if several else (1.0, 0.0, None)]
    rows = [dict(zip(("x0", "x1", "offset"), row, strict=True)) for row in cells]
    made = load(descend.export(model, "python"))
    assert ("probabilities" in made) == (model.classes is not None)
    there = load(descend.export(model, "torch"))["Linear"]().predict(rows)
    connection = duckdb.connect()
    connection.register("data", pl.DataFrame(rows).to_arrow())
    found = connection.sql(descend.export(model, "sql")).pl().drop("x0", "x1", "offset")
    missing = [None, None] if model.classes is not None else pytest.approx([np.nan, np.nan], nan_ok=True)
    for predicted in ([made["predict"](row) for row in rows], there):
        assert predicted[1:] == missing
        assert predicted[0] == pytest.approx(
            model.predict([[1.0, 0.0]], offset=None if several else [-3.0])[0]
        )
    for name in found.columns:
        if not name.startswith("descend_z"):
            assert found[name][0] is not None
            assert found[name].to_list()[1:] == [None, None], name


@pytest.mark.parametrize("z", [-1000.0, -720.0, 0.0, 2.5, 709.0])
def test_means_by_a_log_link_far_out(z):
    duckdb = pytest.importorskip("duckdb")
    model = Model(Gamma(), np.array([1.0]), False, ("x0",))
    expected = pytest.approx(np.exp(z), rel=1e-12, abs=1e-300)
    assert load(descend.export(model, "python"))["predict"]({"x0": z}) == expected
    connection = duckdb.connect()
    connection.register("data", pl.DataFrame({"x0": [z, None]}).to_arrow())
    found = connection.sql(descend.export(model, "sql")).pl()["prediction"].to_list()
    assert found == [expected, None]


def test_probabilities_by_another_link(monkeypatch):
    class Cloglog(Logit):
        """`1 - exp(-exp(z))`."""

        name = "cloglog"

        def inverse(self, z):
            return -np.expm1(-np.exp(z))

    class Own(descend.LogisticLoss):
        link = Cloglog()

    duckdb = pytest.importorskip("duckdb")
    model = Model(Own(), np.array([1.0]), False, ("x0",), ("no", "yes"))
    with pytest.raises(DescendError, match="the link cloglog of the loss logistic cannot be exported"):
        descend.export(model, "python")
    spelling = Spelling("-math.expm1(-math.exp({z}))", "", "(1e0 - EXP(-EXP({z})))")
    monkeypatch.setitem(SPELLINGS, "cloglog", spelling)
    expected = model.predict_probabilities([[0.3]])[0]
    made = load(descend.export(model, "python"))["probabilities"]({"x0": 0.3})
    assert [*made.values()] == pytest.approx(expected)
    connection = duckdb.connect()
    connection.register("data", pl.DataFrame({"x0": [0.3]}).to_arrow())
    found = connection.sql(descend.export(model, "sql")).pl()
    assert found["probability:yes"].item() == pytest.approx(expected[1])
    assert found["probability:no"].item() == pytest.approx(expected[0])


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
    assert main(["export", str(model), "--to", "sql", "--out", str(model)]) == 2
    assert descend.load(model).weights.size
    assert "`to` must be one of onnx, torch, sql, python" in capsys.readouterr().err


def test_what_cannot_be_exported_is_said():
    x, y = descend.make_line(100, seed=0)
    with pytest.raises(DescendError, match="`to` must be one of"):
        descend.export(descend.fit(x, y, intercept=False).model, "pmml")
    with pytest.raises(DescendError, match="a model of several numbers a row cannot be exported"):
        descend.export(Model(descend.SquaredError(), np.ones((2, 2)), True, ("x0",)), "sql")
