"""What a diagnosis says, beside figures computed by hand and scikit-learn's losses."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_losses import Gamma, SquaredHinge
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_poisson_deviance

import descend
from descend import DescendError, GradientDescent
from descend.diagnosis.conditioning import SHARES
from descend.interfaces.cli import main

PENGUINS = Path(__file__).parents[2] / "examples" / "penguins.csv"
RNG = np.random.default_rng(5)
X = RNG.normal(size=(400, 3))
Y = X @ [1.0, -2.0, 0.5] + 3.0 + RNG.normal(size=400)


def kinds(diagnosis):
    return [finding.kind for finding in diagnosis.findings]


def of_kind(diagnosis, kind):
    return next(finding for finding in diagnosis.findings if finding.kind == kind)


def ones(x):
    return np.column_stack([x, np.ones(len(x))])


def test_curvatures_and_rates_are_those_of_the_hessian():
    x = X * [1.0, 30.0, 0.2] + [5.0, 0.0, 1.0]
    values = np.linalg.eigvalsh(2 * ones(x).T @ ones(x) / len(x))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    after = np.linalg.eigvalsh(2 * ones(z).T @ ones(z) / len(z))
    d = descend.diagnose(x, Y)
    for terrain, H in ((d.given, values), (d.standardised, after)):
        assert terrain.largest_curvature == pytest.approx(H[-1], rel=1e-9)
        assert terrain.smallest_curvature == pytest.approx(H[0], rel=1e-9)
        assert terrain.condition_number == pytest.approx(H[-1] / H[0], rel=1e-9)
        assert terrain.limit() == pytest.approx(2 / H[-1], rel=1e-9)
        assert terrain.limit(0.9) == pytest.approx(3.8 / H[-1], rel=1e-9)
    assert d.learning_rate_limit == d.given.limit()


def test_a_table_has_the_same_terrains_the_other_way_round():
    x = X * [1.0, 30.0, 0.2] + [5.0, 0.0, 1.0]
    d = descend.diagnose(x, Y)
    t = descend.diagnose({f"x{i}": x[:, i] for i in range(3)} | {"y": Y}, target="y")
    assert t.given.condition_number == pytest.approx(d.given.condition_number, rel=1e-9)
    assert t.standardised.condition_number == pytest.approx(d.standardised.condition_number, rel=1e-9)
    assert t.condition_number == t.standardised.condition_number
    assert d.condition_number == d.given.condition_number


@pytest.mark.parametrize("loss", ["logistic", "cross-entropy"])
def test_other_losses_have_the_curvature_at_the_minimum_in_both_coordinates(loss):
    x = X * [1.0, 4.0, 0.2] + [1.0, 0.0, 3.0]
    logits = x @ [1.0, 0.2, -2.0] + 6 + RNG.logistic(size=400)
    y = (logits > 0).astype(int) if loss == "logistic" else np.digitize(logits, [-1, 1])
    d = descend.diagnose(x, y, loss=loss)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    flat = 4 if loss == "cross-entropy" else 0
    for terrain, columns in ((d.given, x), (d.standardised, z)):
        objective = descend.Objective.of(columns, y, loss=loss)
        w = descend.fit(columns, y, loss=loss, optimizer="newton").weights
        H = np.linalg.eigvalsh(objective.hessian(w))
        assert terrain.largest_curvature == pytest.approx(H[-1], rel=1e-5)
        assert terrain.smallest_curvature == pytest.approx(H[flat], rel=1e-5)
        assert terrain.curvatures.flat == flat
        assert terrain.bound == pytest.approx(objective.curvature_bound, rel=1e-9)
    assert not d.given.exact


def test_planned_steps_are_the_steps_taken():
    d = descend.diagnose(X, Y)
    for plan in d.given.plans:
        optimizer = GradientDescent(plan.learning_rate, momentum=plan.momentum, nesterov=plan.momentum > 0)
        loss = descend.fit(X, Y, optimizer=optimizer, steps=200).history.loss
        for share, steps in zip(SHARES, plan.steps, strict=True):
            assert int(np.argmax(loss <= d.gap.best * (1 + share))) == steps


@pytest.mark.parametrize(("coordinates", "penalty"), [("given", 0.0), ("given", 0.05), ("standardised", 0.0)])
@pytest.mark.parametrize("loss", ["logistic", "poisson", "huber", "cross-entropy"])
def test_planned_steps_of_other_losses_are_taken_where_they_are_few(loss, coordinates, penalty):
    """Of few rows: the first steps are made; those that follow are estimates."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 3)) * [1.0, 2.0, 0.7] + [0.5, 0.0, -0.3]
    z = x @ [1.0, -1.0, 0.5]
    y = {
        "logistic": z + rng.logistic(size=400) > 0,
        "cross-entropy": np.digitize(z + rng.logistic(size=400), [-1, 1]),
        "poisson": rng.poisson(np.exp(0.3 * z)),
        "huber": z + rng.standard_t(2, size=400),
    }[loss]
    d = descend.diagnose(x, y, loss=loss, penalty=penalty)
    u = x if coordinates == "given" else (x - x.mean(axis=0)) / x.std(axis=0)
    above = d.gap.best - d.gap.saturated
    for plan in getattr(d, coordinates).plans:
        m = plan.momentum
        optimizer = GradientDescent(plan.learning_rate, momentum=m, nesterov=m > 0)
        found = descend.fit(u, y, loss=loss, penalty=penalty, optimizer=optimizer, steps=600).history.loss
        for share, steps in zip(SHARES, plan.steps, strict=True):
            actual = int(np.argmax(found <= d.gap.best + share * above))
            assert steps == actual or (actual > 64 and 0.8 * actual <= steps <= 1.25 * actual)


def test_planned_steps_of_many_rows_are_made_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3))
    y = (x @ [2.0, -1.0, 1.0] + rng.logistic(size=20_000) > 0).astype(int)
    d = descend.diagnose(x, y, loss="logistic")
    plan = d.given.plans[0]
    run = descend.fit(x, y, loss="logistic", optimizer=GradientDescent(plan.learning_rate), steps=500)
    actual = int(np.argmax(run.history.loss <= d.gap.best * 1.0001))
    assert plan.steps[1] == actual <= 64


@pytest.mark.parametrize("table", [False, True])
def test_separation_is_named_and_a_penalty_offered(table):
    y = (X[:, 0] - X[:, 1] > 0).astype(int)
    data = ({f"x{i}": X[:, i] for i in range(3)} | {"y": y},) if table else (X, y)
    d = descend.diagnose(*data, **({"target": "y"} if table else {}), loss="logistic", penalty=0.0)
    finding = of_kind(d, "separation")
    assert set(finding.columns) == {"x0", "x1"}
    assert "infinity" in finding.what
    assert ("--l2" if table else "penalty=") in finding.do
    assert "no best loss" in str(d)
    assert (
        "Keep the penalty"
        in of_kind(
            descend.diagnose(*data, **({"target": "y"} if table else {}), loss="logistic", penalty=0.1),
            "separation",
        ).do
    )


def test_partial_separation_is_named():
    """All rows of one level have one class: its weight alone runs away."""
    level = RNG.random(400) < 0.2
    y = np.where(level, 1, RNG.integers(0, 2, size=400))
    d = descend.diagnose(np.column_stack([X, level]), y, loss="logistic")
    assert of_kind(d, "separation").columns[0] == "x3"
    assert "some rows" in of_kind(d, "separation").what
    y[np.flatnonzero(level)[0]] = 0
    assert "separation" not in kinds(descend.diagnose(np.column_stack([X, level]), y, loss="logistic"))


def test_separation_over_many_leaves_and_sorted_classes():
    x = RNG.normal(size=(60_000, 12))
    sorted_classes = np.sort(x @ np.ones(12) + 3 * RNG.normal(size=60_000) > 0).astype(int)
    assert "separation" not in kinds(descend.diagnose(x, sorted_classes, loss="logistic"))
    d = descend.diagnose(x, (x[:, 4] > 0).astype(int), loss="logistic", penalty=0.01)
    assert of_kind(d, "separation").columns == ("x4",)
    assert of_kind(d, "leakage").columns == ("x4",)


@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_the_gap_of_a_run(loss):
    y = Y if loss == "squared-error" else (Y > 3).astype(int)
    run = descend.fit(X, y, loss=loss, penalty=0.1, optimizer=GradientDescent(0.05), steps=20)
    d = descend.diagnose(run)
    if loss == "logistic":
        exact = LogisticRegression(C=1 / (0.1 * 400), tol=1e-10).fit(X, y)
        z = X @ exact.coef_[0] + exact.intercept_
        best = np.mean(np.logaddexp(0, z) - y * z) + 0.05 * (exact.coef_**2).sum()
        assert d.gap.best == pytest.approx(best, rel=1e-8)
    assert d.gap.loss == pytest.approx(run.loss, rel=1e-12)
    assert d.gap.excess == pytest.approx(run.loss / d.gap.best - 1)
    assert "Your run (gradient descent, 20 steps) ended" in " ".join(str(d).split())


def test_a_run_of_a_table_is_diagnosed_from_its_data():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = descend.fit(PENGUINS, target="body_mass_g", optimizer="gradient-descent", steps=100, valid=0.2)
        d = descend.diagnose(run)
    assert d.gap.loss == pytest.approx(run.loss, rel=1e-12)
    assert d.gap.steps == 100
    run = replace(run, origin=None)  # of squared error everything is in the moments
    kept = descend.diagnose(run)
    assert kept.gap.best == pytest.approx(d.gap.best)
    assert kept.findings == d.findings
    run = replace(descend.fit(X, Y), origin=None)
    with pytest.raises(DescendError, match="does not know its data"):
        descend.diagnose(run)


def test_the_command_prints_a_page_or_an_object(capsys):
    assert main(["diagnose", str(PENGUINS), "--target", "body_mass_g"]) == 0
    page = capsys.readouterr().out
    for words in (
        "What to do",
        "How good it can get",
        "largest safe learning rate",
        "What to know about the columns",
    ):
        assert words in page
    assert main(["diagnose", str(PENGUINS), "--target", "species", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["loss"] == "cross-entropy"
    assert found["standardised"]["condition_number"] > 1
    assert {"findings", "gap", "given"} <= found.keys()
    assert main(["diagnose", str(PENGUINS), "--target", "weight"]) == 2


def test_the_rows_that_fit_holds_out_are_left_out_whole_groups_of_them(tmp_path, capsys):
    import polars as pl

    table = pl.DataFrame({"patient": np.repeat(np.arange(80), 5), "a": X[:, 0], "b": X[:, 1], "y": Y})
    table.write_csv(tmp_path / "visits.csv")
    words = [
        str(tmp_path / "visits.csv"),
        "--target",
        "y",
        "--group",
        "patient",
        "--seed",
        "3",
        "--valid",
        "0.2",
    ]
    assert main(["diagnose", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    columns = descend.Columns(group="patient")
    run = descend.fit(tmp_path / "visits.csv", target="y", columns=columns, valid=0.2, seed=3)
    assert found["rows"] == run.rows["training"] < 400
    assert found["rows"] % 5 == 0
    assert found["gap"]["best"] == pytest.approx(run.loss)
    assert found["columns"] == 2  # the group is no feature
    assert main(["diagnose", *words[:5]]) == 2  # groups of what, where nothing is held out
    assert "give `valid` one, 0.2 for example" in capsys.readouterr().err


def test_a_standardised_run_is_diagnosed_where_it_stepped():
    x = X * [1.0, 500.0, 1.0]
    run = descend.fit(x, Y, optimizer="gradient-descent", standardize=True, steps=10)
    d = descend.diagnose(run)
    assert d.descent is d.standardised
    assert d.learning_rate_limit == pytest.approx(d.standardised.limit())
    assert "standardised (where fit steps)" in str(d)
    assert "standardize=True" not in str(d).split("How good")[0]


@pytest.mark.parametrize("penalty", [None, 0.5])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_standardised_terrain_is_that_of_standardize(penalty, intercept):
    x = X * [1.0, 50.0, 0.2] + [3.0, 0.0, 1.0]
    d = descend.diagnose(x, Y, penalty=penalty, intercept=intercept)
    limit = d.standardised.limit()
    how = {"penalty": penalty, "intercept": intercept, "standardize": True, "steps": 400}
    below = descend.fit(x, Y, optimizer=GradientDescent(0.99 * limit), **how)
    assert below.history.loss[-1] <= below.history.loss[0]
    with pytest.warns(descend.DescendWarning):
        above = descend.fit(x, Y, optimizer=GradientDescent(1.01 * limit), **{**how, "steps": 4000})
    assert above.history.loss[-1] > above.history.loss[0]


def test_what_cannot_be_diagnosed_is_refused():
    with pytest.raises(DescendError, match="`steps`"):
        descend.diagnose(X, Y, steps=-1)
    with pytest.raises(DescendError, match="2,048 columns"):
        descend.diagnose(np.zeros((3, 3000)), np.zeros(3))


# losses of counts and of outliers, and losses of one's own


OTHERS = {
    "poisson": RNG.poisson(np.exp(0.4 * X @ [1.0, -1.0, 0.5] + 1.5)),
    "huber": Y + RNG.standard_t(2, size=400),
    "gamma": RNG.gamma(2.0, np.exp(0.4 * X @ [1.0, -1.0, 0.5])),
    "squared-hinge": (Y + 2 * RNG.normal(size=400) > 3).astype(int),
}
OWN = {"gamma": Gamma(), "squared-hinge": SquaredHinge()}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_every_loss_is_diagnosed_without_a_figure_that_is_none(name, ran, scale, capfd):
    x, y, loss = X * [scale, 1.0, 1.0], OTHERS[name], OWN.get(name, name)
    if ran:
        d = descend.diagnose(descend.fit(x, y, loss=loss, optimizer="gradient-descent", steps=30))
    else:
        d = descend.diagnose(x, y, loss=loss)
    page = str(d)
    assert not [word for word in ("nan", "inf ", "None") if word in page]
    json.dumps(d.to_dict(), allow_nan=False)
    assert capfd.readouterr() == ("", "")  # LAPACK tells of what is no number there
    assert d.condition_number > 1
    if scale == 1:
        assert d.plot() is not None
        assert d.surface() is not None


def test_of_counts_shares_are_of_the_deviance_and_no_rate_is_safe():
    y = OTHERS["poisson"]
    w = descend.fit(X, y, loss="poisson", tolerance=1e-10).weights
    mean = np.exp(ones(X) @ w)
    values = np.linalg.eigvalsh((ones(X).T * mean) @ ones(X) / 400)
    d = descend.diagnose(X, y, loss="poisson")
    assert d.given.largest_curvature == pytest.approx(values[-1], rel=1e-6)
    assert d.given.smallest_curvature == pytest.approx(values[0], rel=1e-6)
    assert (d.learning_rate_limit, d.given.bound) == (0, np.inf)
    assert d.given.to_dict()["curvature_bound"] is None
    assert all(plan.learning_rate < 2 / values[-1] for plan in d.given.plans)
    assert all(plan.steps[0] is not None for plan in d.given.plans)
    best, constant = mean_poisson_deviance(y, mean), mean_poisson_deviance(y, np.full(400, y.mean()))
    page = str(d)
    assert page.startswith("Diagnosis: Poisson loss for `y`")
    assert f"Always answering the mean of `y` will have a mean deviance of {constant:.6g}" in page
    assert f"will have a mean deviance of {best:.6g}" in " ".join(page.split())
    assert "The curvature of the Poisson loss has no bound" in " ".join(page.split())
    assert "safe learning rate" not in page
    run = descend.fit(X, y, loss="poisson", optimizer="gradient-descent", steps=3)
    there = mean_poisson_deviance(y, run.predict(X))
    assert descend.diagnose(run).gap.excess == pytest.approx(there / best - 1, rel=1e-6)


def test_the_automatic_rate_of_counts_takes_about_as_long_as_planned():
    y = OTHERS["poisson"]
    plan = descend.diagnose(X, y, loss="poisson").given.plans[0]
    best = mean_poisson_deviance(y, descend.fit(X, y, loss="poisson").predict(X))
    run = descend.fit(X, y, loss="poisson", optimizer="gradient-descent", steps=400)
    values = np.array([mean_poisson_deviance(y, np.exp(ones(X) @ w)) for w in run.history.weights])
    taken = int(np.argmax(values <= 1.01 * best))
    assert plan.steps[0] / 4 < taken < plan.steps[0] * 4


def test_words_of_outliers_and_of_classes_without_probabilities():
    page = " ".join(str(descend.diagnose(X, OTHERS["huber"], loss=descend.HuberLoss(0.5))).split())
    assert "Diagnosis: Huber loss for `y`" in page
    assert "Always answering the mean of `y` will have a loss of" in page
    apart = (X[:, 0] > 0).astype(int)
    d = descend.diagnose(X, apart, loss=SquaredHinge())
    assert [kind for kind in kinds(d) if "separation" in kind or kind == "leakage"] == ["leakage"]
    assert not d.unbounded
    assert "Always answering how common each class is will have a loss of" in " ".join(str(d).split())
