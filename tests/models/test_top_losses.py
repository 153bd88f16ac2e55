"""The rows that a model gets most wrong, beside losses that NumPy works out for every row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

import descend
from descend import DescendError, GradientDescent
from descend.models.top_losses import MAX_VALUES, TopLoss, TopLosses

PENGUINS = Path(__file__).parents[2] / "examples" / "penguins.csv"
RNG = np.random.default_rng(9)
X = RNG.normal(size=(300, 3)) * [1.0, 10.0, 0.1]
SCORE = X @ [2.0, 0.3, -1.0] + 0.5 + RNG.normal(size=300)
TARGETS = {
    "squared-error": SCORE,
    "logistic": (SCORE > 0).astype(int),
    "cross-entropy": np.digitize(SCORE, [-1.0, 1.0]),
}


def predictor(run, x=X):
    w = np.asarray(run.weights)
    return x @ w[:-1] + w[-1]


def row_losses(run, loss, y):
    z = predictor(run)
    if loss == "squared-error":
        return (z - y) ** 2
    if loss == "logistic":
        return np.log1p(np.exp(np.where(y == 1, -z, z)))
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]


@pytest.fixture(scope="module")
def penguins():
    return descend.fit(PENGUINS, target="species", valid=0.2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", TARGETS)
def test_of_arrays_they_are_the_largest_of_all_rows(loss, weighted):
    """Sample weights and the penalty have shaped the model, and are left out of the losses."""
    y, s = TARGETS[loss], RNG.random(300) * 5
    run = descend.fit(X, y, loss=loss, penalty=0.1, sample_weight=s if weighted else None)
    expected = row_losses(run, loss, y)
    found = run.top_losses(7)
    assert found.among == "all 300 training rows"
    assert [worst.row for worst in found.rows] == np.argsort(-expected)[:7].tolist()
    np.testing.assert_allclose([worst.loss for worst in found.rows], np.sort(expected)[::-1][:7], rtol=1e-9)
    for worst in found.rows:
        assert worst.values == {f"x{i}": f"{X[worst.row, i]:.6g}" for i in range(3)}


def test_a_number_is_told_beside_its_prediction():
    run = descend.fit(X, SCORE)
    worst = run.top_losses(1).rows[0]
    assert worst.actual == f"{SCORE[worst.row]:.6g}"
    assert worst.predicted == f"{predictor(run)[worst.row]:.6g}"
    assert str(worst) == f"row {worst.row}: is {worst.actual}, predicted {worst.predicted}"


@pytest.mark.parametrize("loss", ["logistic", "cross-entropy"])
def test_a_class_is_told_beside_the_likeliest_with_their_probabilities(loss):
    labels = np.array(["no", "yes", "perhaps"])
    run = descend.fit({"x": X[:, 0], "u": X[:, 1], "y": labels[TARGETS[loss]]}, target="y")
    names = run.model.classes
    p = run.model.probabilities(run.model.linear_predictor(run.sample.X))
    y = run.sample.y.astype(int)
    order = np.argsort(p[np.arange(len(y)), y], kind="stable")
    right = wrong = 0
    for i, told in zip(order, run.top_losses(300).rows, strict=True):
        guess = p[i].argmax()
        assert told.predicted == f"{names[guess]} ({p[i, guess]:.3g})"
        assert told.actual == (names[y[i]] if guess == y[i] else f"{names[y[i]]} ({p[i, y[i]]:.2g})")
        right, wrong = right + (guess == y[i]), wrong + (guess != y[i])
    assert min(right, wrong) > 10


def test_ties_are_told_in_the_order_of_the_rows_and_no_more_rows_than_there_are():
    run = descend.fit(np.ones((5, 1)), [0.0, 2.0, 0.0, 2.0, 1.0], intercept=False)
    found = run.top_losses(10)
    assert [worst.row for worst in found.rows] == [0, 1, 2, 3, 4]
    assert run.top_losses(0).rows == []


def test_rows_held_out_are_not_among_them():
    x, y = descend.make_line(200, seed=0)
    y[::7] += 100.0
    run = descend.fit(x, y, intercept=False, valid=0.5)
    held_out = run.problem.session.source.split.held_out(0, 0, 200)
    found = run.top_losses(200)
    assert sorted(worst.row for worst in found.rows) == np.flatnonzero(~held_out).tolist()
    assert found.among == f"all {np.count_nonzero(~held_out)} training rows"


@pytest.mark.parametrize("sparse", [False, True])
def test_of_many_columns_those_that_count_most_in_the_prediction_are_told(sparse):
    x = np.where(RNG.random((100, 9)) < 0.6, RNG.normal(size=(100, 9)), 0.0)
    y = x @ np.arange(9.0) + RNG.normal(size=100)
    run = descend.fit(csr_matrix(x) if sparse else x, y)
    for worst in run.top_losses(20).rows:
        share = np.abs(x[worst.row] * run.weights[:9])
        told = [int(name[1:]) for name in worst.values]
        assert told == sorted(told)
        assert len(told) == MAX_VALUES
        assert share[told].min() >= np.delete(share, told).max()
        assert [f"{x[worst.row, i]:.6g}" for i in told] == list(worst.values.values())


def test_values_of_a_table_are_those_of_the_file(penguins):
    table = pl.read_csv(PENGUINS, null_values="NA")
    for worst in penguins.top_losses(30).rows:
        match = table
        for name, value in worst.values.items():
            column = pl.col(name)
            wanted = column.is_null() if value == "missing" else column == (
                value if table.schema[name] == pl.String else float(value)
            )  # fmt: skip
            match = match.filter(wanted)
        assert worst.actual.split(" (")[0] in match["species"].to_list()
        assert worst.row is None
        assert len(worst.values) == MAX_VALUES


def test_of_a_table_the_columns_that_move_the_prediction_most_are_told_first():
    """In standard deviations: the units of a column do not count."""
    x = RNG.normal(size=(200, 7)) * 10.0 ** np.arange(7)
    y = x @ (np.arange(7) / 10.0 ** np.arange(7)) + RNG.normal(size=200)
    run = descend.fit({f"c{i}": x[:, i] for i in range(7)} | {"y": y}, target="y")
    assert list(run.top_losses(1).rows[0].values) == ["c6", "c5", "c4", "c3", "c2"]


def test_of_a_large_table_they_are_those_of_a_sample():
    x = RNG.normal(size=3_000)
    run = descend.fit({"x": x, "y": 2 * x + RNG.normal(size=3_000)}, target="y")
    found = run.top_losses(3)
    assert found.among == run.sample.description.replace("rows", "training rows")
    assert " of 3,000 training rows" in found.among
    z = run.model.linear_predictor(run.sample.X)
    assert found.rows[0].loss == pytest.approx(np.max((z - run.sample.y) ** 2))


def test_missing_cells_and_levels_are_told_in_the_words_of_the_data():
    y = np.where(np.arange(60) % 3 == 0, 5.0, 1.0) + 0.1 * RNG.normal(size=60)
    y[[0, 1]] += 9.0
    table = {"a": [None if i % 3 == 0 else float(i % 7) for i in range(60)], "b": [*"uvw"] * 20, "y": y}
    run = descend.fit(table, target="y", optimizer=GradientDescent(), steps=3)
    told = {worst.values["a"]: worst.values["b"] for worst in run.top_losses(2).rows}
    assert told == {"missing": "u", "1": "v"}


def test_what_a_row_holds_is_told_by_three_columns_and_of_no_rows_why_there_are_none():
    worst = TopLoss(1.0, "a", "b (0.9)", {"u": "1", "v": "2", "w": "3", "x": "4"})
    assert worst.holds == "u 1, v 2, w 3"
    assert str(worst) == "is a, predicted b (0.9)"
    assert TopLosses([worst], "all").columns() == (("is a, predicted b (0.9)",), (1.0,), ("u 1, v 2, w 3",))
    with pytest.raises(DescendError, match="has nothing to show: no rows: the loss tells only their mean"):
        TopLosses([], "no rows: the loss tells only their mean").columns()


def test_an_estimator_keeps_a_sample_of_its_rows():
    x, y = descend.make_line(50, seed=0)
    run = descend.LinearRegressor().fit(x, y).run_
    whole = descend.fit(x, y)
    found, expected = run.top_losses(3), whole.top_losses(3)
    assert found.among == "all 50 training rows"
    assert [row.actual for row in found.rows] == [row.actual for row in expected.rows]
    assert [row.values for row in found.rows] == [row.values for row in expected.rows]
