"""An offset goes through everything: arrays, tables, files, metrics, exports, estimators, the shell.

The oracle is statsmodels' GLM, whose null model has the offset too.
"""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

import descend
from descend import Columns, DescendError, Processes, Serial
from descend.errors import DataError, ShapeError
from descend.interfaces.cli import main

RNG = np.random.default_rng(11)
ROWS = 500
X = RNG.normal(size=(ROWS, 3)) + np.array([0.0, 2.0, -1.0])
EXPOSURE = RNG.uniform(0.1, 5.0, ROWS)
OFFSET = np.log(EXPOSURE)
Z = X @ [0.4, -0.3, 0.2] + OFFSET
Y = {
    "poisson": RNG.poisson(np.exp(Z)).astype(float),
    "logistic": (RNG.logistic(size=ROWS) < Z).astype(float),
    "squared-error": Z + RNG.normal(size=ROWS),
}
FAMILIES = {
    "poisson": sm.families.Poisson(),
    "logistic": sm.families.Binomial(),
    "squared-error": sm.families.Gaussian(),
}


def frame(loss):
    return pl.DataFrame({f"x{i}": X[:, i] for i in range(3)} | {"log_exposure": OFFSET, "y": Y[loss]})


def oracle(loss):
    return sm.GLM(Y[loss], sm.add_constant(X, prepend=False), FAMILIES[loss], offset=OFFSET).fit(tol=1e-13)


@pytest.mark.parametrize("optimizer", ["auto", "newton", "lbfgs"])
@pytest.mark.parametrize("loss", Y)
def test_the_weights_are_those_of_statsmodels(loss, optimizer):
    run = descend.fit(X, Y[loss], loss=loss, offset=OFFSET, optimizer=optimizer, tolerance=1e-9)
    assert run.outcome.converged
    np.testing.assert_allclose(run.weights, oracle(loss).params, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("loss", Y)
def test_a_table_has_it_in_a_column(loss, tmp_path):
    columns = Columns(offset="log_exposure")
    how = {"target": "y", "loss": loss, "penalty": 0, "columns": columns}
    run = descend.fit(frame(loss), **how)
    assert "log_exposure" not in run.coefficients
    found = oracle(loss)
    np.testing.assert_allclose(list(run.coefficients.values()), found.params, rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose([*run.standard_errors.values()], found.bse, rtol=1e-5)
    frame(loss).write_csv(tmp_path / "t.csv")
    again = descend.fit(tmp_path / "t.csv", engine=Serial(), **how)
    assert again.weights.tobytes() == run.weights.tobytes()
    named = [name for name in frame(loss).columns if name != "log_exposure"]
    with pytest.raises(DataError, match="log_exposure"):
        run.predict(frame(loss)[named])


@pytest.mark.parametrize("loss", Y)
def test_metrics_stand_beside_the_null_model_with_the_offset(loss):
    run, found = descend.fit(X, Y[loss], loss=loss, offset=OFFSET), oracle(loss)
    metrics = run.metrics["training"]
    if loss == "poisson":
        assert metrics.values["deviance"] == pytest.approx(found.deviance / ROWS, rel=1e-8)
        assert metrics.values["d2"] == pytest.approx(1 - found.deviance / found.null_deviance, rel=1e-8)
    elif loss == "logistic":
        assert metrics.values["log_loss"] == pytest.approx(-found.llf / ROWS, rel=1e-8)
        assert metrics.baseline["log_loss"] == pytest.approx(found.null_deviance / 2 / ROWS, rel=1e-8)
    else:
        assert metrics.values["r2"] == pytest.approx(1 - found.deviance / found.null_deviance, rel=1e-8)


@pytest.mark.parametrize("loss", Y)
def test_predictions_have_it_and_say_when_it_is_missing(loss, tmp_path):
    run, found = descend.fit(X, Y[loss], loss=loss, offset=OFFSET), oracle(loss)
    mean = run.predict_probabilities(X, OFFSET)[:, 1] if loss == "logistic" else run.predict(X, OFFSET)
    np.testing.assert_allclose(mean, found.fittedvalues, rtol=1e-5)
    run.save(tmp_path / "m.json")
    model = descend.load(tmp_path / "m.json")
    np.testing.assert_array_equal(model.predict(X, OFFSET), run.predict(X, OFFSET))
    with pytest.raises(DescendError, match=re.escape("give one number per row")):
        model.predict(X)
    with pytest.raises(ShapeError, match="`offset`"):
        model.predict(X, OFFSET[:4])
    with pytest.raises(DescendError, match="leave it out"):
        descend.fit(X, Y[loss], loss=loss).predict(X, OFFSET)


@pytest.mark.parametrize(
    "how", [{"batch_size": 64, "epochs": 40}, {"steps": 400}], ids=["batches", "all rows"]
)
def test_gradient_descent_comes_near_the_same_weights(how):
    run = descend.fit(
        X, Y["poisson"], loss="poisson", offset=OFFSET, optimizer="gradient-descent", standardize=True, **how
    )
    np.testing.assert_allclose(run.weights, oracle("poisson").params, atol=0.1)


@pytest.mark.parametrize("loss", Y)
def test_rows_held_out_keep_theirs(loss):
    run = descend.fit(X, Y[loss], loss=loss, offset=OFFSET, valid=0.3)
    other = descend.fit(X, Y[loss], loss=loss, offset=OFFSET, valid=(X, Y[loss], OFFSET))
    assert run.metrics["validation"].rows + run.metrics["training"].rows == ROWS
    for name, value in other.metrics["training"].values.items():
        assert other.metrics["validation"].values[name] == pytest.approx(value, rel=1e-9)
    with pytest.raises(DescendError, match=re.escape("(x, y, offset)")):
        descend.fit(X, Y[loss], loss=loss, offset=OFFSET, valid=(X, Y[loss]))


def test_processes_find_the_same_bits():
    how = {"target": "y", "loss": "poisson", "columns": Columns(offset="log_exposure")}
    one, two = (descend.fit(frame("poisson"), engine=e, **how) for e in (Serial(), Processes(2)))
    assert one.weights.tobytes() == two.weights.tobytes()


@pytest.mark.parametrize("loss", Y)
def test_exports_read_it_as_a_column(loss):
    run = descend.fit(frame(loss), target="y", loss=loss, columns=Columns(offset="log_exposure"))
    space = {}
    exec(descend.export(run.model, "python"), space)
    rows = frame(loss).head(20)
    found = [space["predict"](row) for row in rows.to_dicts()]
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(run.predict(rows), float), rtol=1e-9)
    assert '"log_exposure"' in descend.export(run.model, "sql")


def test_estimators_take_it():
    model = descend.LinearRegressor(loss="poisson", alpha=0.0).fit(X, Y["poisson"], offset=OFFSET)
    found = oracle("poisson")
    np.testing.assert_allclose([*model.coef_, model.intercept_], found.params, rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, offset=OFFSET), found.fittedvalues, rtol=1e-5)
    with pytest.raises(DescendError, match="give one number per row"):
        model.predict(X)
    classes = descend.LinearClassifier(penalty=None).fit(X, Y["logistic"], offset=OFFSET)
    np.testing.assert_allclose(
        classes.predict_proba(X, offset=OFFSET)[:, 1], oracle("logistic").fittedvalues, rtol=1e-4
    )
    assert classes.predict(X, offset=OFFSET).shape == (ROWS,)


def test_the_shell_names_the_column(tmp_path, capsys):
    path, model = str(tmp_path / "t.csv"), str(tmp_path / "m.json")
    frame("poisson").write_csv(path)
    fit = ["fit", path, "--target", "y", "--loss", "poisson", "--offset", "log_exposure", "--valid", "0"]
    assert main([*fit, "--l2", "0", "--out", model]) == 0
    assert json.loads((tmp_path / "m.json").read_text())["offset"] == "log_exposure"
    capsys.readouterr()
    assert main(["score", model, path, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    found = oracle("poisson")
    assert values["deviance"] == pytest.approx(found.deviance / ROWS, rel=1e-6)
    assert values["d2"] == pytest.approx(1 - found.deviance / found.null_deviance, rel=1e-6)
    assert main(["predict", model, path, "--out", str(tmp_path / "p.csv")]) == 0
    np.testing.assert_allclose(
        pl.read_csv(tmp_path / "p.csv")["prediction"].to_numpy(), found.fittedvalues, rtol=1e-5
    )
    assert main([*fit[:5], "poisson", "--offset", "y"]) == 2
    assert main(["diagnose", path, "--target", "y", "--loss", "poisson", "--offset", "log_exposure"]) == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loss": "cross-entropy", "offset": OFFSET}, "changes no probability"),
        ({"loss": "poisson", "offset": OFFSET[:3]}, "`offset`"),
        ({"loss": "poisson", "offset": np.full(ROWS, np.nan)}, "`offset`"),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    with pytest.raises(DescendError, match=said):
        descend.fit(X, Y["poisson"], **settings)


def test_a_table_refuses_numbers_and_missing_cells():
    with pytest.raises(DescendError, match=re.escape("Columns(offset=...)")):
        descend.fit(frame("poisson"), target="y", offset=OFFSET)
    holes = frame("poisson").with_columns(pl.when(pl.col("x0") < 2).then("log_exposure"))
    holes = holes.rename({"log_exposure": "o"}) if "log_exposure" in holes.columns else holes
    with pytest.raises(DataError, match="offset column"):
        descend.fit(holes, target="y", loss="poisson", columns=Columns(offset=holes.columns[-2]))


@pytest.mark.parametrize("loss", Y)
def test_films_reports_and_the_largest_losses_know_it(loss, tmp_path):
    run = descend.fit(X, Y[loss], loss=loss, offset=OFFSET)
    assert run.animate().frames > 1
    run.report(tmp_path / "r.html")
    far = run.model.loss.unit_deviance if loss == "poisson" else run.model.loss.value
    worst = far(run.model.linear_predictor(X, OFFSET), np.asarray(Y[loss])).max()
    assert run.top_losses(1).rows[0].loss == pytest.approx(worst, rel=1e-12)
