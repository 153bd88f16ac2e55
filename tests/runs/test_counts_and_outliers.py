"""Poisson's and Huber's losses from data to a run, beside statsmodels, scikit-learn and scipy's own minimiser."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import huber
from sklearn.linear_model import PoissonRegressor

import descend
from descend import Columns, DescendWarning, HuberLoss, Outcome, PoissonLoss, Processes, Serial, Threads
from descend.errors import DataError
from descend.interfaces.cli import main
from descend.objectives.losses import LOSSES
from descend.runs.problem import Problem

RNG = np.random.default_rng(21)
ROWS, DELTA = 400, 0.5
X = RNG.normal(size=(ROWS, 3)) * [1.0, 5.0, 0.2] + [0.0, 10.0, -1.0]
Z = X @ [0.4, -0.1, 1.5] + 2.0
Y = {"poisson": RNG.poisson(np.exp(Z)), "huber": Z + RNG.standard_t(1.5, size=ROWS)}
LOSS = {"poisson": PoissonLoss(), "huber": HuberLoss(DELTA)}
WEIGHT = RNG.integers(0, 4, ROWS).astype(float)
every_loss = pytest.mark.parametrize("loss", Y)


def value(loss, w, x, y, s, alpha=0.0):
    """The objective as written in scipy, and its gradient."""
    z, ones = x @ w[:-1] + w[-1], np.column_stack([x, np.ones(len(x))])
    if loss == "poisson":
        each, slope = np.exp(z) - y * z, np.exp(z) - y
    else:
        each, slope = 2 * huber(DELTA, z - y), 2 * np.clip(z - y, -DELTA, DELTA)
    ridge = alpha * np.append(w[:-1], 0.0)
    return s @ each / s.sum() + alpha / 2 * w[:-1] @ w[:-1], ones.T @ (s * slope) / s.sum() + ridge


def by_scipy(loss, s=None, alpha=0.0):
    """The minimum by BFGS in standardised columns, as near as it comes."""
    mean, scale = X.mean(axis=0), X.std(axis=0)
    s = np.ones(ROWS) if s is None else s

    def there(v):
        w = np.append(v[:-1] / scale, v[-1] - mean @ (v[:-1] / scale))
        f, g = value(loss, w, X, Y[loss], s, alpha)
        return f, np.append((g[:-1] - mean * g[-1]) / scale, g[-1])

    start = np.append(np.zeros(3), np.log(Y[loss].mean()) if loss == "poisson" else np.median(Y[loss]))
    v = minimize(there, start, jac=True, method="BFGS", options={"gtol": 1e-12, "maxiter": 2_000}).x
    return np.append(v[:-1] / scale, v[-1] - mean @ (v[:-1] / scale))


@every_loss
@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_the_minimum_is_that_of_scipy(loss, s, alpha):
    run = descend.fit(X, Y[loss], loss=LOSS[loss], sample_weight=s, penalty=alpha)
    assert run.outcome.converged
    np.testing.assert_allclose(run.weights, by_scipy(loss, s, alpha), rtol=1e-5, atol=1e-7)
    f, g = value(loss, run.weights, X, Y[loss], np.ones(ROWS) if s is None else s, alpha)
    assert run.loss == pytest.approx(f, rel=1e-13)
    assert abs(g).max() < 1e-8


@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
def test_counts_are_those_of_statsmodels(s):
    design = np.column_stack([X, np.ones(ROWS)])
    theirs = sm.GLM(Y["poisson"], design, sm.families.Poisson(), freq_weights=s).fit(tol=1e-14)
    run = descend.fit(X, Y["poisson"], loss="poisson", sample_weight=s, optimizer="newton", tolerance=1e-12)
    np.testing.assert_allclose(run.weights, theirs.params, rtol=1e-8)
    np.testing.assert_allclose([*run.standard_errors.values()], theirs.bse, rtol=1e-6)
    weight = ROWS if s is None else s.sum()
    assert run.metrics["training"].values["deviance"] == pytest.approx(theirs.deviance / weight, rel=1e-9)
    assert run.problem.objective.deviance(run.loss) == pytest.approx(theirs.deviance / weight / 2, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.01, 1.0])
def test_counts_are_those_of_scikit_learn(alpha):
    theirs = PoissonRegressor(alpha=alpha, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    theirs.fit(X, Y["poisson"], sample_weight=WEIGHT)
    run = descend.fit(X, Y["poisson"], loss="poisson", penalty=alpha, sample_weight=WEIGHT)
    np.testing.assert_allclose(run.weights, [*theirs.coef_, theirs.intercept_], rtol=1e-6)
    np.testing.assert_allclose(run.predict(X), theirs.predict(X), rtol=1e-7)


OPTIMIZERS = {
    "newton": {"optimizer": "newton"},
    "lbfgs": {"optimizer": "lbfgs"},
    "descent": {"optimizer": "gradient-descent"},
    "momentum": {"optimizer": descend.GradientDescent(momentum=0.9)},
    "nesterov": {"optimizer": descend.GradientDescent(momentum=0.9, nesterov=True)},
    "adam": {"optimizer": "adam"},
    "proximal gradient": {"optimizer": "proximal-gradient"},
    "batches": {"optimizer": "gradient-descent", "batch_size": 32, "epochs": 60},
    "adam in batches": {"optimizer": descend.Adam(descend.Cosine(0.1)), "batch_size": 32, "epochs": 60},
    "local steps": {"optimizer": descend.LocalSteps(batch_size=32), "steps": 60},
}
NOISY = {"batches", "adam in batches", "local steps"}


@every_loss
@pytest.mark.parametrize("how", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimizer_comes_to_the_minimum(loss, how, request):
    """Those on batches as near as their noise lets them."""
    expected = descend.fit(X, Y[loss], loss=LOSS[loss])
    run = descend.fit(X, Y[loss], loss=LOSS[loss], standardize=True, **how)
    if request.node.callspec.id.split("-")[0] in NOISY:
        objective = expected.problem.objective
        start = objective.deviance(objective.value(objective.zeros()))
        assert run.loss - expected.loss < 0.05 * start
    else:
        assert run.outcome.converged, run.message
        assert run.loss == pytest.approx(expected.loss, rel=1e-6)
        np.testing.assert_allclose(run.weights, expected.weights, rtol=2e-3)


@every_loss
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", "gradient-descent", "adam"])
def test_whole_weights_are_repeated_rows(loss, optimizer):
    again = WEIGHT.astype(int)
    how = {"loss": LOSS[loss], "optimizer": optimizer, "steps": 6, "standardize": True}
    weighted = descend.fit(X, Y[loss], sample_weight=WEIGHT, **how)
    repeated = descend.fit(np.repeat(X, again, axis=0), np.repeat(Y[loss], again), **how)
    np.testing.assert_allclose(weighted.weights, repeated.weights, rtol=1e-9)
    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-11)


@every_loss
@pytest.mark.parametrize("how", [{"optimizer": "auto"}, {"optimizer": "gradient-descent", "steps": 30}])
def test_stored_sparsely_it_is_the_same(loss, how):
    x = X * (np.random.default_rng(0).random(X.shape) < 0.5)
    dense, sparse = (descend.fit(form, Y[loss], loss=LOSS[loss], **how) for form in (x, csr_array(x)))
    np.testing.assert_allclose(dense.weights, sparse.weights, rtol=1e-6)


@pytest.mark.parametrize("how", [
    {"optimizer": "newton"}, {"optimizer": "lbfgs"}, {"optimizer": "gradient-descent", "steps": 8},
    {"optimizer": descend.Adam(), "batch_size": 256, "epochs": 2},
], ids=str)  # fmt: skip
@every_loss
def test_threads_do_not_matter(loss, how, monkeypatch):
    from descend.engines import blocks

    monkeypatch.setattr(blocks, "LEAF_CELLS", 2**8)
    runs = [
        descend.fit(X, Y[loss], loss=LOSS[loss], valid=0.2, engine=engine, **how)
        for engine in (Serial(), Threads(2), Threads(3))
    ]
    assert len({run.weights.tobytes() for run in runs}) == 1
    assert len({run.history.loss.tobytes() + run.history.validation_loss.tobytes() for run in runs}) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("hard_timeout")
@every_loss
def test_processes_do_not_matter(loss):
    rows = 60_000
    random = np.random.default_rng(3)
    x = random.normal(size=(rows, 8))
    y = random.poisson(np.exp(0.3 * x[:, 0])) if loss == "poisson" else x[:, 0] + random.standard_t(2, rows)
    with Processes(2) as engine:
        for how in ({"optimizer": "newton"}, {"optimizer": "gradient-descent", "steps": 5}):
            found, expected = (
                descend.fit(x, y, loss=LOSS[loss], engine=engine, **how) for engine in (engine, Threads(2))
            )
            assert found.weights.tobytes() == expected.weights.tobytes()
            assert found.history.loss.tobytes() == expected.history.loss.tobytes()


# Tables


def frame(loss):
    columns = {f"x{i}": X[:, i] for i in range(3)}
    return pl.DataFrame({**columns, "c": np.where(X[:, 0] > 0.3, "a", "b"), "y": Y[loss]})


@every_loss
def test_a_table_is_fitted_as_its_columns_are(loss, tmp_path):
    table, design = frame(loss), np.column_stack([X, X[:, 0] <= 0.3])
    run = descend.fit(table, target="y", loss=LOSS[loss], columns=Columns(reference={"c": "a"}))
    expected = descend.fit(design, Y[loss], loss=LOSS[loss])
    assert run.outcome.converged
    assert run.loss == pytest.approx(expected.loss, rel=1e-9)
    np.testing.assert_allclose(list(run.coefficients.values()), expected.weights, rtol=1e-4, atol=1e-6)
    for kind in ("csv", "parquet"):
        path = tmp_path / f"t.{kind}"
        getattr(table, f"write_{kind}")(path)
        again = descend.fit(path, target="y", loss=LOSS[loss], columns=Columns(reference={"c": "a"}))
        assert again.weights.tobytes() == run.weights.tobytes()


@pytest.mark.parametrize("loss", ["poisson", "huber"])
def test_the_shell_knows_them_by_name(loss, tmp_path, capsys):
    frame(loss).write_csv(tmp_path / "t.csv")
    model = str(tmp_path / "m.json")
    line = ["fit", str(tmp_path / "t.csv"), "--target", "y", "--loss", loss, "--out", model, "--no-report"]
    assert main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"].startswith("converged")
    run = descend.fit(frame(loss), target="y", loss=loss, valid=0.2)
    assert descend.load(model).weights.tobytes() == run.weights.tobytes()
    assert descend.load(model).loss == LOSSES[loss]


# Targets

BAD = {
    "negative": ([0, 3, -1, 2], "of at least 0 for the Poisson loss, got -1"),
    "text": (["a", "b", "c", "d"], "text, which the loss poisson cannot fit"),
    "infinite": ([1.0, 2.0, float("inf"), 3.0], "infinite"),
}


@pytest.mark.parametrize(("y", "said"), BAD.values(), ids=BAD)
def test_a_table_whose_target_counts_nothing_is_refused(y, said, tmp_path):
    table = pl.DataFrame({"x": np.arange(40.0), "y": y * 10})
    table.write_csv(tmp_path / "t.csv")
    for data in (table, tmp_path / "t.csv"):
        with pytest.raises(DataError, match=rf"target `y` .*{said}"):
            descend.fit(data, target="y", loss="poisson")


@pytest.mark.parametrize("engine", [Serial(), Threads(2)], ids=["serial", "threads"])
def test_held_out_counts_are_counts_too(engine, tmp_path):
    good = pl.DataFrame({"x": np.arange(40.0), "y": np.arange(40) % 5})
    bad = good.with_columns(y=pl.when(pl.col("x") == 7).then(-2).otherwise("y"))
    bad.write_csv(tmp_path / "bad.csv")
    for data in (bad, tmp_path / "bad.csv"):
        with pytest.raises(DataError, match=r"target `y` of the rows held out must hold .* got -2"):
            descend.fit(good, target="y", loss="poisson", valid=data, engine=engine)
    with pytest.raises(DataError, match=r"target `y`.* must hold .* got -2"):
        descend.fit(bad, target="y", loss="poisson", valid=0.5, engine=engine)
    with pytest.raises(DataError, match="`valid y` must hold finite numbers of at least 0"):
        descend.fit(X, Y["poisson"], loss="poisson", valid=(X[:3], [1, -2, 3]))


@pytest.mark.parametrize("y", [[1.0, -1.0], [1.0, np.nan], [1.0, np.inf]], ids=str)
def test_an_array_that_counts_nothing_is_refused(y):
    with pytest.raises(DataError, match="`y`"):
        descend.fit([[0.0], [1.0]], y, loss="poisson")
    with pytest.raises(DataError, match="`y`"):
        descend.Objective.of([[0.0], [1.0]], y, loss="poisson")


def test_the_target_of_a_table_meets_the_rule_of_a_loss_of_ones_own():
    class Positive(HuberLoss):
        name = "positive"

        def check_target(self, y):
            if not (y > 0).all():
                raise DataError("`y` must hold numbers above 0.")

    table = pl.DataFrame({"x": np.arange(40.0), "y": np.arange(40.0) + 1})
    assert descend.fit(table, target="y", loss=Positive()).outcome.converged
    with pytest.raises(DataError, match="target `y` must hold numbers above 0"):
        descend.fit(table.with_columns(pl.col("y") - 1), target="y", loss=Positive())


def test_fractions_and_zeros_are_counts():
    y = np.where(np.arange(ROWS) % 2, 0.0, 1.5)
    assert descend.fit(X, y, loss="poisson").outcome.converged


def test_a_target_of_zeros_has_no_minimum_and_ends():
    with pytest.warns(DescendWarning, match="All rows are zeros"):
        run = descend.fit(X, np.zeros(ROWS), loss="poisson")
    assert run.outcome is Outcome.SEPARATED
    assert np.isfinite(run.weights).all()
    assert run.loss < 1e-6
    assert (run.predict(X) < 1e-6).all()


# Endings


def test_far_from_the_minimum_the_deviance_is_told():
    run = descend.fit(
        X, Y["poisson"], loss="poisson", optimizer="gradient-descent", steps=6, standardize=True
    )
    best = descend.fit(X, Y["poisson"], loss="poisson")
    assert "The deviance is about" in run.message
    objective = best.problem.objective
    share = (run.loss - best.loss) / objective.deviance(best.loss)
    assert f"{100 * share:.2g} % above the best" in run.message


def test_a_given_rate_that_is_too_high_is_told_without_a_bound():
    run = descend.fit(X, Y["poisson"], loss="poisson", optimizer=descend.GradientDescent(1.0), steps=50)
    assert run.outcome.name == "DIVERGED"
    assert "The learning rate was 1. What blew up:" in run.message
    assert 'leave `learning_rate` (`--learning-rate`) at "auto"' in run.message


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_a_walk_ends_at_the_same_place_whatever_the_size_of_counts(scale):
    """Where the loss is negative, zero and positive."""
    y = np.round(scale * np.exp(0.1 * Z) * 1e3) / 1e3
    for optimizer in ("newton", "lbfgs"):
        run = descend.fit(X, y, loss="poisson", optimizer=optimizer, standardize=True)
        assert run.outcome.converged


def test_the_constant_is_the_mean_count():
    problem = Problem.of(X, Y["poisson"], loss="poisson", sample_weight=WEIGHT)
    assert problem.constant == pytest.approx([np.average(Y["poisson"], weights=WEIGHT)])
    problem.close()


def test_the_settings_of_huber_matter():
    fits = [descend.fit(X, Y["huber"], loss=HuberLoss(d)).weights for d in (0.1, 1e6)]
    np.testing.assert_allclose(fits[1], descend.fit(X, Y["huber"]).weights, rtol=1e-6)
    assert abs(fits[0] - [0.4, -0.1, 1.5, 2.0]).max() < abs(fits[1] - [0.4, -0.1, 1.5, 2.0]).max()
