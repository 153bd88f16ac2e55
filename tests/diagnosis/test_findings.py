"""What is remarkable about columns, beside NumPy and statsmodels; what is told to be done about it is done."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

import descend
from descend.diagnosis.findings import ColumnStatistics, about_columns, imbalance, inflation
from descend.engines.blocks import Block
from descend.engines.moments import Moments

PENGUINS = str(Path(__file__).parents[2] / "examples" / "penguins.csv")
RNG = np.random.default_rng(5)
X = RNG.normal(size=(400, 3))
Y = X @ [1.0, -2.0, 0.5] + 3.0 + RNG.normal(size=400)


def kinds(found):
    return [finding.kind for finding in getattr(found, "findings", found)]


def of_kind(found, kind):
    return next(finding for finding in getattr(found, "findings", found) if finding.kind == kind)


def ones(x):
    return np.column_stack([x, np.ones(len(x))])


def subject(x, y=None, s=None, intercept=True, **more):
    """The columns of an array, from moments of them standardised, as a table's are."""
    y = RNG.normal(size=len(x)) if y is None else y
    centres, units = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    moments = Moments.of(Block((x - centres) / units, y, s))
    numbers = range(x.shape[1])
    how = {"classes": None, "target": "y", "table": False, "low": x.min(axis=0), "high": x.max(axis=0)} | more
    names = tuple(f"x{i}" for i in numbers)
    return ColumnStatistics(
        names, moments, units, centres, intercept, numbers=numbers, independent=numbers, owners=names, **how
    )


def test_inflation_factors_are_those_of_statsmodels():
    x = np.column_stack([X, X[:, 0] + X[:, 1] + 0.1 * RNG.normal(size=400)])
    centred = x - x.mean(axis=0)
    factors, _ = inflation(centred.T @ centred, np.arange(4))
    expected = [variance_inflation_factor(ones(x), i) for i in range(4)]
    np.testing.assert_allclose(factors, expected, rtol=1e-9)
    finding = of_kind(descend.diagnose(x, Y), "nearly collinear")
    assert set(finding.columns) == {"x0", "x1", "x3"}
    assert f"{max(expected):,.4g}" in finding.what
    assert f"it is {1 - 1 / max(expected):.4f} explained" in finding.what


def test_columns_are_told_in_the_words_of_the_data():
    data = {
        "area": X[:, 0] * 12_000,
        "rooms": X[:, 1],
        "copy": X[:, 1],
        "twice": 2 * X[:, 2] + 1,
        "half": X[:, 2],
        "year": 2000 + RNG.normal(size=400),
        "income": np.exp(3 * RNG.normal(size=400)),
        "answer": Y + 0.01 * RNG.normal(size=400),
        "same": np.ones(400),
        "y": Y,
    }
    d = descend.diagnose(data, target="y")
    assert set(kinds(d)) >= {
        "scale",
        "offset",
        "duplicate",
        "collinear",
        "heavy tails",
        "leakage",
        "left out",
    }
    assert "`area` is" in of_kind(d, "scale").what
    assert of_kind(d, "duplicate").columns == ("copy", "rooms")
    assert of_kind(d, "collinear").what.startswith("`twice` = 2 `half` + 1")
    assert of_kind(d, "leakage").columns == ("answer",)
    assert of_kind(d, "heavy tails").columns == ("income",)
    assert "year" in d.guilty
    page = str(d)
    for finding in d.findings:
        assert finding.columns == () or f"`{finding.columns[0]}`" in page


def test_arrays_have_findings_too():
    x = np.column_stack([X, np.full(400, 7.0), X[:, 0], np.exp(3 * RNG.normal(size=400))])
    d = descend.diagnose(x, Y)
    assert of_kind(d, "constant").columns == ("x3",)
    assert of_kind(d, "duplicate").columns == ("x4", "x0")
    assert of_kind(d, "heavy tails").columns == ("x5",)
    assert d.given.curvatures.flat == 2


def test_ordinary_data_has_none():
    assert descend.diagnose(X, Y).findings == ()
    x, y = descend.make_line(100, seed=0)
    assert descend.diagnose(x, y, intercept=False).findings == ()
    assert kinds(descend.diagnose(X[:3], Y[:3])) == ["too few rows"]


def test_rare_classes_are_named():
    y = np.array(["yes" if i % 50 == 0 else "no" for i in range(400)])
    d = descend.diagnose({"a": X[:, 0], "b": X[:, 1], "y": y}, target="y")
    assert "2 % of the rows are 'yes'" in of_kind(d, "imbalance").what


def test_a_target_that_never_changes_is_named():
    assert of_kind(descend.diagnose(X, np.full(400, 2.0)), "constant target").what.startswith(
        "`y` is always 2"
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_means_and_spreads_are_in_the_units_of_the_data_by_weight(weighted):
    x = X * [1.0, 1e-6, 100.0] + [1e6, 0.0, -5.0]
    s = RNG.integers(1, 4, 400).astype(float) if weighted else np.ones(400)
    found = subject(x, s=s)
    np.testing.assert_allclose(found.mean, np.average(x, axis=0, weights=s), rtol=1e-12)
    np.testing.assert_allclose(found.spread, np.sqrt(np.cov(x.T, aweights=s, ddof=0).diagonal()), rtol=1e-9)


@pytest.mark.parametrize("value", [0.1, 1e9 + 0.1, -3.3])
def test_a_column_of_one_value_has_no_spread_however_it_is_rounded(value):
    d = descend.diagnose(np.column_stack([X, np.full((400, 2), value)]), Y)
    assert [f.columns for f in d.findings] == [("x3",), ("x4",)]
    assert set(kinds(d)) == {"constant"}


@pytest.mark.parametrize(
    ("values", "named"), [((7,), []), ((0,), ["x3"]), ((0, 7), ["x3"]), ((7, 0), ["x4"])]
)
def test_without_an_intercept_one_column_of_one_value_stands_in_for_it_but_none_of_zeros(values, named):
    x = np.column_stack([X, *(np.full(400, v) for v in values)])
    d = descend.diagnose(x, Y, intercept=False)
    assert [f.columns[0] for f in d.findings if f.kind == "constant"] == named
    kept = np.delete(x, [int(name[1:]) for name in named], axis=1)
    assert descend.diagnose(kept, Y, intercept=False).gap.best == pytest.approx(d.gap.best)


@pytest.mark.parametrize(("ratio", "named"), [(9.9, False), (10.1, True)])
def test_scales_and_offsets_are_named_from_ten_on(ratio, named):
    x, shift = (X - X.mean(axis=0)) / X.std(axis=0), np.array([0, ratio, 0])
    assert ("scale" in kinds(about_columns(subject(x * [1, ratio, 1])))) == named
    assert ("offset" in kinds(about_columns(subject(x + shift)))) == named
    assert "offset" not in kinds(about_columns(subject(x + shift, intercept=False)))
    if named:
        assert of_kind(about_columns(subject(x * [1, 1e7, 1])), "scale").columns[0] == "x1"


@pytest.mark.parametrize(("classes", "r", "named"), [
    (None, 0.985, False), (None, 0.995, True), ((0, 1), 0.94, False), ((0, 1), 0.96, True), ((0, 1, 2), 1.0, False),
])  # fmt: skip
def test_a_column_that_explains_the_target_alone_is_asked_about(classes, r, named):
    u, v = np.linalg.qr(X[:, :2] - X[:, :2].mean(axis=0))[0].T
    x = np.column_stack([u, X[:, 2]])
    found = about_columns(subject(x, -r * u + np.sqrt(1 - r**2) * v, classes=classes))
    assert ("leakage" in kinds(found)) == named
    if named:
        assert of_kind(found, "leakage").columns == ("x0",)
        assert f"(correlation {-r:.4f})" in of_kind(found, "leakage").what


def test_flags_have_no_tails_and_neither_have_columns_whose_extremes_are_not_known():
    rare = (np.arange(400) == 0).astype(float)
    far = np.where(rare, 100.0, X[:, 0])
    x = np.column_stack([X[:, 1], rare, far])
    assert [f.columns for f in about_columns(subject(x)) if f.kind == "heavy tails"] == [("x2",)]
    unknown = np.full(3, np.nan)
    for low in (None, unknown):
        assert "heavy tails" not in kinds(about_columns(subject(x, low=low, high=low)))


@pytest.mark.parametrize(
    ("rows", "intercept", "few"), [(3, False, True), (4, False, False), (4, True, True), (5, True, False)]
)
def test_as_many_rows_as_weights_are_too_few(rows, intercept, few):
    found = about_columns(subject(X[:rows], Y[:rows], intercept=intercept))
    assert (kinds(found)[:1] == ["too few rows"]) == few


@pytest.mark.parametrize(
    ("shares", "rare"),
    [
        ([0.96, 0.04], "'b'"),
        ([0.94, 0.06], None),
        ([0.04, 0.96], "'a'"),
        ([0.06, 0.47, 0.47], None),
        ([0.06] * 10 + [0.4], None),
        ([0.047] * 10 + [0.53], None),
        ([0.044] * 10 + [0.56], "'a'"),
    ],
)
def test_a_class_is_rare_below_a_twentieth_or_half_of_an_even_share(shares, rare):
    found = imbalance(np.array(shares), list("abcdefghijk")[: len(shares)], "y", True)
    assert bool(found) == (rare is not None)
    assert not found or f"rows are {rare}" in found[0].what


def test_inflation_of_one_column_is_not_asked():
    assert inflation(np.eye(3), np.array([1])) is None
    assert inflation(np.eye(3), np.array([], dtype=int)) is None


def test_columns_to_leave_out_can_be_left_out_as_told():
    x = np.column_stack([X[:, :2], X[:, 0], np.full(400, 3.0)])
    d = descend.diagnose(x, Y)
    for finding, place in ((f, f.do) for f in d.findings if f.kind in ("duplicate", "constant")):
        kept = eval(re.search(r"`(np\.delete.*?)`", place)[1], {"np": np, "x": x})
        other = descend.diagnose(kept, Y)
        assert other.gap.best == pytest.approx(d.gap.best)
        assert len(other.findings) == len(d.findings) - 1, finding.kind


def test_far_values_are_tamed_by_what_is_told():
    far = np.exp(2 * RNG.normal(size=400))
    sides = 100 * RNG.standard_t(1.5, size=400)
    d = descend.diagnose(np.column_stack([X[:, 0], far, sides]), Y)
    told = {f.columns[0]: f.do for f in d.findings if f.kind == "heavy tails"}
    assert "log(1 + value)" in told["x1"]
    assert "np.clip" in told["x2"]
    tamed = np.column_stack([X[:, 0], np.log1p(far), np.clip(sides, -300, 300)])
    assert "heavy tails" not in [f.kind for f in descend.diagnose(tamed, Y).findings]


def test_indicators_are_not_to_be_left_out():
    d = descend.diagnose(PENGUINS, target="species")
    duplicate = next(f for f in d.findings if f.kind == "duplicate")
    assert all(name.endswith("(missing)") for name in duplicate.columns)
    assert duplicate.do.startswith("Nothing to do")


@pytest.mark.parametrize("seed", range(4))
def test_the_later_columns_are_the_copies_whatever_rounding_says(seed):
    x = np.random.default_rng(seed).normal(size=(50, 3))
    found = of_kind(descend.diagnose(x[:, [0, 1, 0, 2, 0]], x.sum(axis=1)), "duplicate")
    assert found.columns == ("x2", "x4", "x0")
    assert found.what == "`x2`, `x4` are copies of `x0`"
    assert "np.delete(x, [2, 4], axis=1)" in found.do
