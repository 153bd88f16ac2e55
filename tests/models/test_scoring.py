"""A saved model at work on tables: scores and predictions, streamed and in order."""

from __future__ import annotations

import io
import sys

import numpy as np
import polars as pl
import pytest
import sklearn.metrics as sk

import descend
from descend import Columns, Serial
from descend.engines import blocks
from descend.errors import DataError, DescendError, DescendWarning
from descend.models.scoring import Written, score, write_predictions

RNG = np.random.default_rng(2)
ROWS = 3_000
X = RNG.normal(size=ROWS)
FRAME = pl.DataFrame(
    {
        "id": range(ROWS),
        "x": X,
        "kind": RNG.choice(["a", "b"], ROWS),
        "n": RNG.integers(0, 3, ROWS),
        "y": X + RNG.normal(size=ROWS),
        "sold": np.where(X + RNG.normal(size=ROWS) > 0, "yes", "no"),
    }
)


@pytest.fixture(autouse=True)
def several_leaves(monkeypatch):
    monkeypatch.setattr(blocks, "LEAF_CELLS", 2**10)


def model(target="y"):
    return descend.fit(FRAME, target=target, columns=Columns(features=["x", "kind"])).model


@pytest.mark.parametrize("weight", [None, "n"])
def test_a_score_is_that_of_scikit_learn_on_the_predictions(weight):
    m = model()
    found = score(m, FRAME, weight=weight)
    s = FRAME["n"].to_numpy().astype(float) if weight else None
    y = FRAME["y"].to_numpy()
    assert found.values["r2"] == pytest.approx(sk.r2_score(y, m.predict(FRAME), sample_weight=s))
    assert found.rows == (ROWS if s is None else int((s > 0).sum()))


def test_rows_without_a_target_and_classes_unknown_to_training_are_not_scored():
    m = model("sold")
    changed = FRAME.with_columns(
        sold=pl.when(pl.col("id") < 10)
        .then(None)
        .when(pl.col("id") < 15)
        .then(pl.lit("lost"))
        .otherwise("sold")
    )
    assert score(m, changed).rows == ROWS - 15


def test_any_engine_scores_the_same():
    assert score(model("sold"), FRAME, Serial()) == score(model("sold"), FRAME)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("target", ["y", "sold"])
def test_predictions_are_written_in_order_beside_the_columns_kept(target, kind, tmp_path):
    m, path = model(target), tmp_path / f"p.{kind}"
    assert write_predictions(m, FRAME, path, ["id", "kind"]) == Written(ROWS)
    written = pl.read_csv(path) if kind == "csv" else pl.read_parquet(path)
    assert written["id"].to_list() == list(range(ROWS))
    assert written["kind"].to_list() == FRAME["kind"].to_list()
    assert written["prediction"].to_list() == m.predict(FRAME).tolist()
    if target == "sold":
        p = m.predict_probabilities(FRAME)
        np.testing.assert_array_equal(written[["probability:no", "probability:yes"]].to_numpy(), p)
        assert ((written["probability:yes"] > 0.5) == (written["prediction"] == "yes")).all()


def test_a_column_that_the_model_reads_may_be_kept(tmp_path):
    write_predictions(model(), FRAME, tmp_path / "p.csv", ["x"])
    assert pl.read_csv(tmp_path / "p.csv")["x"].to_list() == FRAME["x"].to_list()


def test_standard_output_is_csv(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    write_predictions(model(), FRAME, None, ["id"])
    lines = out.buffer.getvalue().decode().splitlines()
    assert (lines[0], lines[1].split(",")[0], len(lines)) == ("id,prediction", "0", ROWS + 1)


def test_no_rows_give_a_header(tmp_path):
    for kind in ("csv", "parquet"):
        assert write_predictions(model(), FRAME[:0], tmp_path / f"p.{kind}", ["id"]) == Written(0)
    assert (tmp_path / "p.csv").read_text() == "id,prediction\n"
    assert pl.read_parquet(tmp_path / "p.parquet").columns == ["id", "prediction"]


def test_unknown_levels_are_counted_and_predicted_as_the_reference(tmp_path):
    m = model()
    strange = FRAME.with_columns(kind=pl.lit("c"))
    reference = FRAME.with_columns(kind=pl.lit("a"))
    with pytest.warns(DescendWarning, match=f"count as its reference: {ROWS:,}"):
        assert m.predict(strange).tolist() == m.predict(reference).tolist()
    written = write_predictions(m, strange, tmp_path / "p.csv")
    assert (written.rows, written.unknowns.levels) == (ROWS, ROWS)


def test_what_a_model_cannot_take_is_said(tmp_path):
    m = model("sold")
    path = tmp_path / "new.csv"
    odd = ["oops", "n/a", None, "1.5"]
    FRAME.head(400).with_columns(
        x=pl.Series(odd * 100), kind=pl.Series(["c", "a", "b", "a"] * 100), sold=pl.Series(["yes", "?"] * 200)
    ).write_csv(path)
    said = (
        "cells of `kind` with a level that the model has never seen count as its reference: 100, 'c'",
        "cells of `x` that are no numbers count as missing: 200, 'oops' for example",
    )
    sentences = write_predictions(m, path, tmp_path / "p.csv").unknowns.sentences()
    assert all(sentence.startswith(start) for sentence, start in zip(sentences, said, strict=True))
    found = score(m, path)
    assert found.rows == 200
    assert found.note.startswith("; ".join(sentences))
    assert found.note.endswith(
        "rows with a `sold` that the model does not know are left out: 200, '?' for example"
    )
    assert score(m, path, Serial()).note == found.note
    with pytest.warns(DescendWarning) as warned:
        m.predict(path)
    assert [str(warning.message) for warning in warned] == sentences
    assert score(m, FRAME).note is None


REFUSED = {
    "a column to keep": (lambda m, p: write_predictions(m, FRAME, p / "p.csv", ["z"]), "no column `z` to keep"),
    "a column of predictions": (
        lambda m, p: write_predictions(m, FRAME.with_columns(prediction=1), p / "p.csv", ["prediction"]),
        "`keep` names `prediction`, which is a column of the predictions",
    ),
    "an ending": (lambda m, p: write_predictions(m, FRAME, p / "p.txt"), "written as .csv or .parquet, got"),
    "a column": (lambda m, p: write_predictions(m, FRAME.drop("x"), p / "p.csv"), "lacks 1 column.*`x`"),
    "the target": (lambda m, p: score(m, FRAME.drop("y")), "has no column `y`, the target"),
    "the weights": (lambda m, p: score(m, FRAME, weight="w"), "has no column `w`, the weights"),
    "no rows": (lambda m, p: score(m, FRAME[:0]), "no rows are left"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_and_leaves_no_file(act, message, tmp_path):
    with pytest.raises(DataError, match=message):
        act(model(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_of_arrays_knows_no_columns(tmp_path):
    m = descend.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 4.0]).model
    with pytest.raises(DescendError, match="fitted on arrays"):
        score(m, FRAME)
    with pytest.raises(DescendError, match="fitted on arrays"):
        write_predictions(m, FRAME, tmp_path / "p.csv")
