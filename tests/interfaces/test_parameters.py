"""The parameters of the estimators, beside scikit-learn's class weights and rows counted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_sample_weight

import descend
from descend import (
    L1,
    L2,
    Adam,
    DescendError,
    ElasticNet,
    Exact,
    GradientDescent,
    LinearClassifier,
    LinearRegressor,
    Newton,
)
from descend.interfaces.sklearn_base import Rows, class_weighted, optimizer_of, penalty_of

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(40, 2)), RNG.normal(size=40)
LABELS = np.array(["no", "yes"])[(Y > 0).astype(int)]

OPTIMIZERS = {
    "a name": ("adam", "auto", Adam()),
    "a name and a rate": ("adam", 0.01, Adam(0.01)),
    "a rate alone": ("auto", 0.1, GradientDescent(0.1)),
    "a schedule alone": ("auto", descend.Cosine(0.1), GradientDescent(descend.Cosine(0.1))),
    "nothing": ("auto", "auto", "auto"),
    "one without a rate": ("exact", "auto", Exact()),
    "an object, which has its own rate": (Newton(), 0.1, Newton()),
}


@pytest.mark.parametrize(("optimizer", "rate", "expected"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_name_and_a_rate_describe_an_optimizer(optimizer, rate, expected):
    assert optimizer_of(optimizer, rate) == expected


@pytest.mark.parametrize("alpha", ["auto", 0, 0.25, np.float32(0.25), np.int64(2)])
def test_a_penalty_has_its_own_alpha_or_that_of_the_data(alpha):
    assert penalty_of("l2", alpha, 0.5) == L2(0.5 if isinstance(alpha, str) else float(alpha))
    assert penalty_of(None, alpha, 0.5) == L2(0.0)
    assert penalty_of("l1", alpha, 0.5) == L1(0.5 if isinstance(alpha, str) else float(alpha))
    elastic = penalty_of("elastic-net", alpha, 0.5, 0.25)
    assert elastic == ElasticNet(0.5 if isinstance(alpha, str) else float(alpha), 0.25)
    assert penalty_of(0.125, alpha, 0.5) == penalty_of(L2(0.125), alpha, 0.5) == L2(0.125)


def test_how_strong_a_penalty_is_that_makes_coefficients_zero_is_for_the_user_to_say():
    with pytest.raises(
        DescendError, match='`alpha` must be a number with `penalty` "l1" of a regression, got "auto"'
    ):
        LinearRegressor(penalty="l1").fit(X, Y)
    assert LinearClassifier(penalty="l1").fit(X, LABELS).run_.model.facts["penalty"] == {
        "name": "l1",
        "alpha": 1 / 40,
    }


PARTIAL = {"fit": lambda model: model.fit(X, LABELS), "partial_fit": lambda model: model.partial_fit(X, LABELS, ["no", "yes"])}  # fmt: skip
REFUSED = {
    "a class of optimizers": ({"optimizer": Adam}, "`optimizer` must be auto, one of .* got <class"),
    "no optimizer": ({"optimizer": None}, "`optimizer` must be auto, one of .* got None"),
    "a rate of Newton": ({"optimizer": "newton", "learning_rate": 0.1}, 'not apply .* leave it at "auto"'),
    "a rate in words": ({"learning_rate": "fast"}, "`learning_rate` must be a number above 0"),
    "a class of penalties": ({"penalty": L2}, "`penalty` must be a number, .* got <class"),
    "another penalty": (
        {"penalty": "l3"},
        '`penalty` must be "l2", "l1", "elastic-net", None or a penalty, got \'l3\'',
    ),
    "no ratio": (
        {"penalty": "elastic-net", "alpha": 1, "l1_ratio": 2},
        "`l1_ratio` must be a number between 0 and 1, got 2",
    ),
    "no alpha": ({"alpha": None}, "`alpha` of a penalty must be a number of at least 0, got None"),
    "an alpha in words": ({"alpha": "0.1"}, "`alpha` must be a number of at least 0 or \"auto\", got '0.1'"),
    "a weight below zero": ({"class_weight": {"no": -1}}, "`class_weight` must be numbers .* got -1"),
    "a weight in words": ({"class_weight": {"no": "2"}}, "`class_weight` must be numbers .* got '2'"),
    "a class that is none": ({"class_weight": {"No": 1}}, "`class_weight` names 'No', .* among the classes"),
    "a list of weights": ({"class_weight": [1, 2]}, '`class_weight` must be None, "balanced" or a dict'),
}


@pytest.mark.parametrize("act", PARTIAL.values(), ids=PARTIAL)
@pytest.mark.parametrize(("parameters", "message"), REFUSED.values(), ids=REFUSED)
def test_a_parameter_that_makes_no_sense_is_named_by_either_way_to_learn(act, parameters, message):
    with pytest.raises(DescendError, match=message):
        act(LinearClassifier(**parameters))


def test_a_number_is_a_penalty_by_either_way_to_learn():
    expected = LinearRegressor(alpha=0.5).fit(X, Y).coef_
    for penalty in (0.5, np.float32(0.5), L2(0.5)):
        whole, part = LinearRegressor(penalty=penalty).fit(X, Y), LinearRegressor(penalty=penalty)
        np.testing.assert_allclose(whole.coef_, expected, rtol=1e-12)
        np.testing.assert_allclose(part.partial_fit(X, Y).coef_, expected, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_rows_are_held_out_by_count_and_of_each_class_alike(share, weighted):
    s, y = (RNG.uniform(0.5, 2.0, 60) if weighted else None), np.repeat([0.0, 1.0, 2.0], [12, 18, 30])
    rows = Rows(np.arange(120.0).reshape(60, 2), y, s, np.arange(60.0))
    kept, held = rows.split(share, 0, (0, 1, 2))
    assert len(held.y) == np.ceil(share * 60)
    np.testing.assert_allclose(np.bincount(held.y.astype(int)), share * np.array([12, 18, 30]), atol=1)
    together = np.sort(np.concatenate([kept.offset, held.offset]))
    assert together.tolist() == np.arange(60.0).tolist()
    assert (kept.X[:, 0] == 2 * kept.offset).all()
    assert kept.weight == pytest.approx(len(kept.y) if s is None else kept.sample_weight.sum())
    again, _ = rows.split(share, 0, (0, 1, 2))
    assert again.offset.tolist() == kept.offset.tolist()
    left, _ = train_test_split(np.arange(60), test_size=share, random_state=0, stratify=y)
    assert kept.offset.tolist() == np.sort(left).tolist()


@pytest.mark.parametrize(
    ("y", "labels", "share", "says"),
    [
        ([0.0], None, 0.1, "holds out 1 of 1 rows .* leaves 0 to learn from"),
        ([0.0, 1.0, 1.0, 1.0], ("no", "yes"), 0.5, "but one row of 'no'"),
        ([0.0, 1.0], ("no", "yes"), 0.5, "leaves 0 to learn from, where 2 classes want a row each"),
        ([0.0, 1.0, 2.0, 3.0], None, 0.9, "holds out 4 of 4 rows"),
    ],
)
def test_too_few_rows_to_hold_any_out_are_told(y, labels, share, says):
    with pytest.raises(DescendError, match=f"`early_stopping` {says}|`early_stopping` .*{says}"):
        Rows(X[: len(y)], np.array(y)).split(share, 0, labels)


def test_rows_of_weight_zero_are_not_held_out():
    s = np.repeat([0.0, 1.0], [30, 10])
    kept, held = Rows(X, Y, s).split(0.2, 0, None)
    assert held.sample_weight.tolist() == [1.0, 1.0]
    assert len(kept.y) == 38


def test_rows_without_weight_leave_an_alpha_that_is_a_number():
    assert Rows(X[:3], Y[:3], np.zeros(3)).weight == 1.0


codes = st.integers(1, 5).flatmap(
    lambda k: st.tuples(st.just(k), st.lists(st.integers(0, k - 1), min_size=1, max_size=30))
)


@settings(max_examples=60)
@given(drawn=codes, data=st.data())
def test_balanced_classes_have_equal_weight_in_all_and_the_total_stays(drawn, data):
    k, found = drawn
    code = np.array(found, dtype=float)
    s = np.array(data.draw(st.lists(st.floats(0.1, 10), min_size=len(code), max_size=len(code))))
    shares = np.bincount(found, class_weighted("balanced", np.arange(k), code, s), minlength=k)
    present = np.isin(np.arange(k), found)
    np.testing.assert_allclose(shares, np.where(present, s.sum() / k, 0.0), rtol=1e-12)


@pytest.mark.parametrize(
    "class_weight", [None, "balanced", {"c": 3.0}, {"a": 0.0, "b": 2, "c": np.float32(0.5)}]
)
def test_weights_of_classes_are_scikit_learns(class_weight):
    classes, code = np.array(["a", "b", "c"]), np.array([0.0, 0, 0, 1, 2, 2])
    found = class_weighted(class_weight, classes, code, None)
    expected = compute_sample_weight(class_weight, classes[code.astype(int)])
    np.testing.assert_allclose(np.ones(6) if found is None else found, expected, rtol=1e-15)
