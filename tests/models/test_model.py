"""Model files: the bits of before saving come back, and anything else is refused with a reason."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_losses import Gamma, SquaredHinge

import descend
from descend import CrossEntropy, LogisticLoss, Model, SquaredError
from descend.errors import DataError, DescendError, ModelFileError, ShapeError
from descend.objectives.losses import LOSSES

RNG = np.random.default_rng(8)
ROWS = 200
SCORE = RNG.normal(size=ROWS)
FRAME = pl.DataFrame(
    {
        "x": SCORE + RNG.normal(size=ROWS),
        "gap": [None if i % 9 == 0 else float(i % 13) for i in range(ROWS)],
        "c": RNG.choice(["a", "b", 'quote "', "ü <b>", None], ROWS).tolist(),
        "d": pl.Series(RNG.integers(0, 20_000, ROWS)).cast(pl.Date),
        "b": RNG.random(ROWS) < 0.5,
        "number": 3 * SCORE + RNG.normal(size=ROWS),
        "coin": SCORE + RNG.normal(size=ROWS) > 0,
        "code": (SCORE > 0.3).astype(int) + 4,
        "text": np.where(SCORE + RNG.normal(size=ROWS) > 0, "yes", "no"),
        "three": np.array(["u", "v", "ß"])[np.digitize(SCORE + RNG.normal(size=ROWS), [-0.5, 0.5])],
    }
)
FEATURES = ["x", "gap", "c", "d", "b"]
TARGETS = ["number", "coin", "code", "text", "three"]


def fitted(target="number", **options):
    return descend.fit(FRAME.select(*FEATURES, target), target=target, **options).model


MODELS = {target: fitted(target) for target in TARGETS}
MODELS["held out"] = fitted("text", valid=0.3)
MODELS["dropped"] = fitted("three", penalty=0)
MODELS["no intercept"] = fitted("number", intercept=False)
X = RNG.normal(size=(ROWS, 2))
MODELS["array"] = descend.fit(X, SCORE).model
MODELS["array of classes"] = descend.fit(
    X, FRAME["three"].to_numpy(), loss="cross-entropy", penalty=0.1
).model


def data_of(model):
    return X if model.encoding is None else FRAME


def answers(model):
    found = [model.predict(data_of(model))]
    if model.classes is not None:
        found.append(model.predict_probabilities(data_of(model)))
    return found


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_loaded_model_is_the_model_to_the_last_bit(model, tmp_path):
    model.save(tmp_path / "m.json")
    again = descend.load(tmp_path / "m.json")
    assert again.weights.tobytes() == model.weights.tobytes()
    assert again.weights.shape == model.weights.shape
    for found, expected in zip(answers(again), answers(model), strict=True):
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()
    assert (again.loss, again.intercept, again.feature_names) == (
        model.loss,
        model.intercept,
        model.feature_names,
    )
    assert again.classes == model.classes
    assert list(map(type, again.classes or ())) == list(map(type, model.classes or ()))
    assert again.encoding == model.encoding
    again.save(tmp_path / "n.json")
    assert (tmp_path / "n.json").read_bytes() == (tmp_path / "m.json").read_bytes()


@settings(max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=2, max_size=5))
def test_every_float_survives(tmp_path_factory, weights):
    path = tmp_path_factory.mktemp("m") / "m.json"
    model = Model(SquaredError(), np.array(weights), True, tuple(f"x{i}" for i in range(len(weights) - 1)))
    model.save(path)
    assert descend.load(path).weights.tobytes() == model.weights.tobytes()


def test_the_file_is_plain_json_without_code(tmp_path):
    MODELS["three"].save(tmp_path / "m.json")
    content = json.loads((tmp_path / "m.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert (content["format"], content["version"], content["loss"]) == ("descend-model", 1, "cross-entropy")
    assert "ü <b>" in (tmp_path / "m.json").read_text("utf-8")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.json"
    MODELS["number"].save(path)
    before = path.read_bytes()
    broken = Model(SquaredError(), np.array([1.0]), True, (), facts={"value": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        broken.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.json"]


@pytest.mark.parametrize("where", ["", "nowhere/m.json"])
def test_a_place_that_cannot_be_written(where, tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        MODELS["number"].save(tmp_path / where)


def test_a_loss_of_ones_own_is_not_saved(tmp_path):
    class Own(LogisticLoss):
        name = "own"

    with pytest.raises(DescendError, match="the loss 'own' cannot be saved as JSON: a file names its loss"):
        Model(Own(), np.zeros(2), True, ("x",)).save(tmp_path / "m.json")


def test_a_loss_of_the_name_of_another_is_not_saved(tmp_path):
    class Own(LogisticLoss):
        pass

    with pytest.raises(DescendError, match="the loss 'logistic' cannot be saved"):
        Model(Own(), np.zeros(2), True, ("x",)).save(tmp_path / "m.json")


@dataclass(frozen=True)
class Scaled(Gamma):
    name = "scaled"
    scale: float = 1.0


def test_a_loss_that_is_listed_is_saved_with_its_settings(tmp_path, monkeypatch):
    model = Model(Scaled(0.1), np.array([0.5, 1.0]), True, ("x",))
    monkeypatch.setitem(LOSSES, "scaled", Scaled())
    model.save(tmp_path / "m.json")
    assert '"loss": {\n  "name": "scaled",\n  "scale": 0.1\n }' in (tmp_path / "m.json").read_text()
    again = descend.load(tmp_path / "m.json")
    assert again.loss == Scaled(0.1)
    np.testing.assert_array_equal(again.predict([[2.0]]), np.exp([2.0]))
    monkeypatch.delitem(LOSSES, "scaled")
    with pytest.raises(ModelFileError, match="the loss 'scaled', and this descend knows squared-error, "):
        descend.load(tmp_path / "m.json")


def test_settings_of_a_loss_come_back(tmp_path):
    x, y = RNG.normal(size=(50, 2)), RNG.standard_t(2, size=50)
    run = descend.fit(x, y, loss=descend.HuberLoss(0.1))
    run.save(tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["loss"] == {"name": "huber", "delta": 0.1}
    again = descend.load(tmp_path / "m.json")
    assert again.loss == descend.HuberLoss(0.1)
    np.testing.assert_array_equal(again.predict(x), run.predict(x))


def test_a_loss_without_settings_is_its_name(tmp_path):
    x = RNG.normal(size=(50, 2))
    y = RNG.poisson(np.exp(x[:, 0]))
    run = descend.fit(x, y, loss="poisson")
    run.save(tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["loss"] == "poisson"
    np.testing.assert_allclose(
        descend.load(tmp_path / "m.json").predict(x), np.exp(x @ run.weights[:2] + run.weights[2])
    )


def test_classes_without_probabilities():
    model = Model(SquaredHinge(), np.array([1.0, 0.5]), True, ("x",), ("no", "yes"))
    assert model.predict([[-1.0], [0.0]]).tolist() == ["no", "yes"]
    with pytest.raises(DescendError, match="`predict_probabilities` needs a loss of probabilities"):
        model.predict_probabilities([[1.0]])


def content_of(model, folder):
    model.save(folder / "good.json")
    return json.loads((folder / "good.json").read_text("utf-8"))


FOREIGN = {
    "nothing": (b"", "not a whole model file.*cut short"),
    "not text": (b"\xff\xfe\x00\x80", "it is not text"),
    "parquet": (b"PAR1\x00\x9d\xff", "not"),
    "csv": (b"x,y\n1,2\n", "not a whole model file"),
    "list": (b"[1, 2]", "is not a descend model"),
    "number": (b"3", "is not a descend model"),
    "other json": (b'{"format": "onnx", "version": 1}', "is not a descend model"),
    "deep": (b"[" * 100_000, "not a whole model file"),
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN)
def test_foreign_files_are_refused(content, message, tmp_path):
    path = tmp_path / "m.json"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        descend.load(path)
    assert "m.json" in str(caught.value)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(share, tmp_path):
    MODELS["three"].save(tmp_path / "m.json")
    content = (tmp_path / "m.json").read_bytes().rstrip()
    (tmp_path / "m.json").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=r"not a whole model file.*cut short|not text"):
        descend.load(tmp_path / "m.json")


def test_a_path_without_a_file_and_a_folder(tmp_path):
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(ModelFileError, match="cannot read"):
            descend.load(path)


@pytest.mark.parametrize("version", [2, 99, "1", None])
def test_newer_files_are_refused_with_the_way_out(version, tmp_path):
    content = content_of(MODELS["number"], tmp_path) | {"version": version}
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(
        ModelFileError, match=rf"version {version!r} of the model format.*pip install --upgrade"
    ):
        descend.load(tmp_path / "m.json")


DAMAGE = {
    "a weight too few": lambda c: c["weights"].pop(),
    "a weight missing": lambda c: c["weights"].__setitem__(0, None),
    "a weight not finite": lambda c: c["weights"].__setitem__(0, float("inf")),
    "weights of text": lambda c: c.update(weights=["a"]),
    "no weights": lambda c: c.pop("weights"),
    "a feature too many": lambda c: c["feature_names"].append("more"),
    "another feature": lambda c: c["feature_names"].__setitem__(0, "other"),
    "loss without a name": lambda c: c.update(loss={"delta": 1.0}),
    "loss with a setting too many": lambda c: c.update(loss={"name": "logistic", "delta": 1.0}),
    "unknown column": lambda c: c["encoding"]["columns"][0].update(kind="image"),
    "column without a mean": lambda c: c["encoding"]["columns"][0].pop("mean"),
    "column with something more": lambda c: c["encoding"]["columns"][0].update(more=1),
    "a column that is none": lambda c: c["encoding"]["columns"].append(5),
    "no target": lambda c: c["encoding"].pop("target"),
    "an encoding that is none": lambda c: c.update(encoding=[]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_refused(damage, tmp_path):
    content = content_of(MODELS["number"], tmp_path)
    damage(content)
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match="is a damaged model file"):
        descend.load(tmp_path / "m.json")


def test_weights_that_do_not_fit_the_classes_are_refused(tmp_path):
    content = content_of(MODELS["three"], tmp_path)
    content["classes"].append("more")
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match="damaged"):
        descend.load(tmp_path / "m.json")


def places(value, path=()):
    """The path of every value in nested lists and dicts."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        yield from places(inside, (*path, key))


STRANGE = st.sampled_from([None, True, -1, 0, 2.5, "", "text", [], {}, [None], {"a": 1}])


@settings(max_examples=200)
@given(data=st.data(), strange=STRANGE, model=st.sampled_from(["number", "text", "three"]))
def test_whatever_is_changed_a_file_loads_or_is_refused(tmp_path_factory, data, strange, model):
    folder = tmp_path_factory.mktemp("m")
    content = content_of(MODELS[model], folder)
    facts = content.pop("facts")
    path = data.draw(st.sampled_from(list(places(content))[1:]))
    changed = {**copy.deepcopy(content), "facts": facts}
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = strange
    (folder / "m.json").write_text(json.dumps(changed))
    try:
        loaded = descend.load(folder / "m.json")
    except ModelFileError:
        return
    assert loaded.weights.dtype == np.float64
    assert np.isfinite(loaded.weights).all()


# ---- predicting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_predictions_from_any_kind_of_table_in_any_order_of_columns(target, tmp_path):
    model, new = MODELS[target], FRAME.select("b", "d", "c", pl.lit(1).alias("more"), "gap", "x")
    expected = model.predict(FRAME)
    new.write_csv(tmp_path / "new.csv")
    new.write_parquet(tmp_path / "new.parquet")
    for i, piece in enumerate((new.head(10), new.slice(10, 0), new.tail(-10))):
        piece.write_csv(tmp_path / f"part{i}.csv")
    for data in (
        new,
        new.to_pandas(),
        new.to_arrow(),
        new.to_dict(as_series=False),
        tmp_path / "new.csv",
        tmp_path / "new.parquet",
        str(tmp_path / "part*.csv"),
    ):
        found = model.predict(data)
        if model.classes is None:
            np.testing.assert_allclose(found, expected, rtol=1e-12)
        else:
            assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("target", TARGETS[1:])
def test_the_prediction_is_the_most_probable_class(target):
    model = MODELS[target]
    p = model.predict_probabilities(FRAME)
    assert p.shape == (ROWS, len(model.classes))
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-14)
    assert model.predict(FRAME).tolist() == np.array(model.classes)[p.argmax(axis=1)].tolist()


def test_probabilities_need_classes():
    with pytest.raises(DescendError, match="needs a classification"):
        MODELS["number"].predict_probabilities(FRAME)


def test_no_rows_no_predictions(tmp_path):
    FRAME.head(0).write_csv(tmp_path / "a.csv")
    for data in (FRAME.head(0), tmp_path / "a.csv"):
        assert MODELS["number"].predict(data).tolist() == []
        assert MODELS["three"].predict_probabilities(data).shape == (0, 3)


def test_many_rows_are_predicted_in_order():
    rows = 100_000
    big = pl.DataFrame({"x": np.arange(rows) / rows})
    model = descend.fit({"x": [0.0, 1.0, 2.0], "y": [1.0, 3.0, 5.0]}, target="y").model
    np.testing.assert_allclose(model.predict(big), 1 + 2 * np.arange(rows) / rows, rtol=1e-12)
    array = descend.fit(np.array([[0.0], [1.0], [2.0]]), [1.0, 3.0, 5.0]).model
    np.testing.assert_allclose(array.predict(big.to_numpy()), 1 + 2 * np.arange(rows) / rows, rtol=1e-12)


def test_a_table_without_a_column_is_refused_by_name():
    with pytest.raises(DataError, match=r"lacks 2 column\(s\) that the model was fitted on: `x`, `b`"):
        MODELS["number"].predict(FRAME.drop("x", "b"))


def test_arrays_of_another_width_are_refused_with_both_shapes():
    with pytest.raises(ShapeError, match=r"shape \(5, 3\).*fitted on 2 features"):
        MODELS["array"].predict(np.zeros((5, 3)))
    with pytest.raises(
        DataError, match=r"this model was fitted on a table: .* the columns `x`, .*, got ndarray"
    ):
        MODELS["number"].predict(np.zeros((5, 5)))


def test_losses_decide_as_their_links_say():
    names = ("x",)
    coin = Model(LogisticLoss(), np.array([2.0]), False, names, ("no", "yes"))
    assert coin.predict([[1.0], [-1.0], [0.0]]).tolist() == ["yes", "no", "no"]
    np.testing.assert_allclose(coin.predict_probabilities([[1.0]]), [[1 / (1 + np.e**2), 1 / (1 + np.e**-2)]])
    dice = Model(CrossEntropy(), np.array([[0.0, 1.0, -1.0]]), False, names, (1, 2, 3))
    assert dice.predict([[1.0], [-1.0]]).tolist() == [2, 3]
    weights = np.exp([0.0, 1.0, -1.0])
    np.testing.assert_allclose(dice.predict_probabilities([[1.0]]), [weights / weights.sum()])
