"""What a penalty with kinks leaves: zeros that are counted and said, wherever a run is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from own_penalties import GroupLasso, Lasso
from sklearn.linear_model import Lasso as Oracle
from sklearn.linear_model import LogisticRegression

import descend
from descend import L1, DescendError, ElasticNet, LinearClassifier, LinearRegressor
from descend.interfaces.cli import main

PENGUINS = "examples/penguins.csv"
RNG = np.random.default_rng(4)
X = RNG.normal(size=(120, 8))
Y = X @ [3, -2, 1, 0, 0, 0, 0, 0] + RNG.normal(size=120)
TWO = np.where(Y > 0, "yes", "no")


@pytest.fixture(scope="module")
def mass():
    return descend.fit(PENGUINS, target="body_mass_g", penalty=L1(50.0), valid=0.2)


@pytest.fixture(scope="module")
def species():
    return descend.fit(PENGUINS, target="species", penalty=ElasticNet(0.05, 0.7))


def test_zeros_are_counted_without_the_intercept(mass, species):
    for run in (mass, species):
        zeros, size = np.count_nonzero(run.weights[:-1] == 0), run.weights[:-1].size
        assert 0 < zeros < size
        assert run.model.sparsity == f"{zeros} of {size} weights are zero"
        assert str(run).endswith(f", {run.model.sparsity}")
    assert descend.fit(X, Y, penalty=0.1).model.sparsity == ""
    one = descend.fit(X[:, [0, 5]], Y, penalty=L1(1.0))
    assert str(one).endswith(", 1 of 2 weights is zero")


def test_a_summary_says_why_there_are_no_standard_errors(mass, species):
    for run, words in ((mass, "L1 penalty 50"), (species, "elastic net penalty 0.05, l1 ratio 0.7")):
        summary = run.summary()
        assert summary.why_not.startswith(
            f"the {words} on coefficients in the units of the data chooses among the coefficients"
        )
        assert f"{run.model.sparsity}." in str(summary).splitlines()
        assert summary.to_dict()["sparsity"] == run.model.sparsity
        assert summary.estimates == ()
        assert run.standard_errors is None


def test_the_report_and_the_film_tell_it(mass, species, tmp_path):
    for run, words in ((mass, "L1 with alpha 50"), (species, "elastic net with alpha 0.05, l1 ratio 0.7")):
        run.report(tmp_path / "run.html", diagnosis=True)
        page = (tmp_path / "run.html").read_text()
        assert words in page
        assert run.model.sparsity in page
        film = run.animate()
        assert run.model.sparsity in film.outcome
        assert film.frames == len(run.history)
        assert "proximal gradient" in film.title
    assert descend.fit(X[:, :2], Y, penalty=L1(0.5)).animate().surface is not None


def test_a_diagnosis_plans_no_steps_of_gradient_descent(mass):
    d = descend.diagnose(mass)
    assert str(d).splitlines()[0].endswith(", L1 penalty 50")
    assert "Gradient descent does not serve the L1 penalty 50" in " ".join(str(d).split())
    assert d.descent.plans == ()
    before = descend.diagnose(X, Y, penalty=ElasticNet(0.5, 0.5))
    assert before.gap.way == "proximal-gradient"
    assert before.gap.best == pytest.approx(descend.fit(X, Y, penalty=ElasticNet(0.5, 0.5)).loss, rel=1e-9)
    assert before.surface().lines
    with pytest.raises(DescendError, match="there is no prediction to draw"):
        before.plot()
    largest = 2 * np.linalg.eigvalsh(np.cov((X - X.mean(0)).T, bias=True))[-1] + 0.25
    assert before.given.largest_curvature == pytest.approx(largest, rel=0.1)


@pytest.mark.parametrize("kind", ["array", "table"])
def test_a_penalty_of_ones_own_is_told_and_kept(kind, tmp_path):
    data = (X, Y) if kind == "array" else ({**{f"x{i}": X[:, i] for i in range(8)}, "y": Y},)
    how = {} if kind == "array" else {"target": "y", "penalise": "standardised"}
    for penalty in (Lasso(0.5), GroupLasso(0.8, ((0, 1, 2, 3), (4, 5, 6, 7)))):
        run = descend.fit(*data, penalty=penalty, **how)
        assert run.outcome.converged
        run.save(tmp_path / "model.json")
        loaded = descend.load(tmp_path / "model.json")
        assert loaded.facts["penalty"]["name"] == penalty.name
        assert loaded.sparsity == run.model.sparsity
        assert loaded.sparsity.startswith(("5 of 8", "4 of 8"))
        assert penalty.name.replace("-", " ") in run.summary().why_not
        run.report(tmp_path / "run.html")
        assert run.animate().frames > 1


# The shell


def test_flags_make_an_l1_an_l2_or_both(tmp_path, monkeypatch, capsys):
    fit = ["fit", PENGUINS, "--target", "body_mass_g", "--out", str(tmp_path / "m.json"), "--no-report"]

    def found(*flags):
        assert main([*fit, "--json", *flags]) == 0
        return json.loads(capsys.readouterr().out)

    assert found("--l1", "50")["penalty"] == {"name": "l1", "alpha": 50.0}
    assert found("--l1", "50")["sparsity"] == "7 of 13 weights are zero"
    both = {"name": "elastic-net", "alpha": 0.5, "l1_ratio": 0.6}
    assert found("--l1", "0.3", "--l2", "0.2")["penalty"] == pytest.approx(both)
    assert found("--l1", "0.5", "--l1-ratio", "0.6")["penalty"] == both
    assert found("--l1", "0.5", "--l2", "0")["penalty"] == {"name": "l1", "alpha": 0.5}
    assert main([*fit, "--l1", "50"]) == 0
    assert "7 of 13 weights are zero" in capsys.readouterr().out
    assert main(["show", str(tmp_path / "m.json")]) == 0
    assert "7 of 13 weights are zero." in capsys.readouterr().out
    assert main(["diagnose", PENGUINS, "--target", "species", "--l1", "0.05"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("L1 penalty 0.05")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--l1-ratio", "0.5"], "`--l1-ratio` is the share of `--l1` that is L1: give `--l1` too"),
        (["--l1", "1", "--l2", "1", "--l1-ratio", "0.5"], "`--l1-ratio` and `--l2` both say how much"),
        (["--l1", "-1"], "`alpha` of a penalty must be a number of at least 0, got -1.0"),
        (["--l1", "1", "--l1-ratio", "2"], "`l1_ratio` must be a number between 0 and 1, got 2.0"),
        (["--l1", "1", "--batch-size", "10"], "gradient-descent needs a smooth penalty, but `penalty` l1"),
        (["--l1", "1", "--optimizer", "exact"], "exact needs a smooth penalty, but `penalty` l1"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, words, capsys):
    assert main(["fit", PENGUINS, "--target", "body_mass_g", *flags]) == 2
    assert words in capsys.readouterr().err


# The estimators


@pytest.mark.parametrize("standardize", [True, False])
def test_estimators_are_scikit_learns(standardize):
    how = {"tol": 1e-10, "standardize": standardize}
    ours, theirs = LinearRegressor(penalty="l1", alpha=0.4, **how).fit(X, Y), Oracle(0.2, tol=1e-12).fit(X, Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-8)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=1e-8)
    assert ours.run_.model.sparsity == f"{np.count_nonzero(theirs.coef_ == 0)} of 8 weights are zero"
    for l1_ratio in (0.3, 1.0):
        ours = LinearClassifier(penalty="elastic-net", l1_ratio=l1_ratio, alpha=0.05, **how).fit(X, TWO)
        theirs = LogisticRegression(
            solver="saga", C=1 / (0.05 * 120), l1_ratio=l1_ratio, tol=1e-12, max_iter=10_000
        ).fit(X, TWO)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
        assert ours.classes_.tolist() == theirs.classes_.tolist()
    assert LinearClassifier(penalty="l1").fit(X, TWO).run_.model.facts["penalty"]["alpha"] == 1 / 120
