"""Objectives beside finite differences, PyTorch's autograd, repeated rows and exact fractions."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from descend import Objective, Threads
from descend.engines.arrays import ArraySource
from descend.engines.engine import Serial
from descend.engines.matrix import Mixed
from descend.errors import DataError, DescendError, ShapeError
from descend.objectives import objective
from descend.objectives.losses import LOSSES
from descend.objectives.objective import Summed
from descend.objectives.penalties import L2
from descend.objectives.quadratic import Quadratic

RNG = np.random.default_rng(9)
ROWS, COLUMNS, CLASSES = 80, 3, 4
X = RNG.normal([0.0, 2.0, -1.0], [1.0, 3.0, 0.5], (ROWS, COLUMNS))
TARGETS = {
    "squared-error": X @ [1.0, -2.0, 0.5] + 4.0 + RNG.normal(size=ROWS),
    "logistic": RNG.integers(0, 2, ROWS),
    "cross-entropy": np.arange(ROWS) % CLASSES,
    "poisson": RNG.poisson(2.0, ROWS),
    "huber": X @ [1.0, -2.0, 0.5] + 4.0 + RNG.normal(size=ROWS),
}
WEIGHT = RNG.integers(0, 4, ROWS).astype(float)
CASES = [
    pytest.param(
        name, intercept, s, alpha, id=f"{name}{' +b' * intercept}{' weighted' * (s is not None)} {alpha}"
    )
    for name in LOSSES
    for intercept in (True, False)
    for s in (None, WEIGHT)
    for alpha in (0.0, 0.3)
]
every_case = pytest.mark.parametrize(("name", "intercept", "s", "alpha"), CASES)
every_loss = pytest.mark.parametrize("name", LOSSES)
bounded = [name for name in LOSSES if np.isfinite(LOSSES[name].curvature_bound)]
every_bounded_case = pytest.mark.parametrize(
    ("name", "intercept", "s", "alpha"), [case for case in CASES if case.values[0] in bounded]
)


def make(name, intercept=True, s=None, alpha=0.0, x=X, y=None):
    """The objective, its session given back at once: it is taken again by each use."""
    y = TARGETS[name] if y is None else y
    made = Objective.of(x, y, loss=name, penalty=alpha, intercept=intercept, sample_weight=s, engine=Serial())
    made.session.close()
    return made


def summed(name, intercept=True, s=None, alpha=0.0, x=X, y=None):
    """The same objective with a pass over the rows at every evaluation, whatever the loss."""
    made = make(name, intercept, s, alpha, x, y)
    return Summed(made.session, LOSSES[name], L2(alpha), intercept, made.shape)


OPEN = Serial.open


@pytest.fixture(autouse=True)
def sessions_are_closed(monkeypatch):
    opened = []
    monkeypatch.setattr(Serial, "open", lambda self, source: opened.append(OPEN(self, source)) or opened[-1])
    yield
    for session in opened:
        session.close()


def somewhere(made, seed=0):
    return np.random.default_rng(seed).normal(size=made.shape)


@every_case
def test_the_value_is_the_weighted_mean_plus_the_penalty(name, intercept, s, alpha):
    made = make(name, intercept, s, alpha)
    w = somewhere(made)
    z = X @ w[:-1] + w[-1] if intercept else X @ w
    expected = np.average(LOSSES[name].value(z, TARGETS[name]), weights=s)
    expected += alpha / 2 * np.square(w[:-1] if intercept else w).sum()
    assert made.value(w) == pytest.approx(expected, rel=1e-12)
    assert made.value_and_gradient(w)[0] == pytest.approx(expected, rel=1e-12)
    assert (made.rows, made.weight) == ((ROWS, ROWS) if s is None else (np.count_nonzero(s), s.sum()))


@every_case
def test_value_and_gradient_are_those_of_pytorchs_autograd(name, intercept, s, alpha):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    made = make(name, intercept, s, alpha)
    w = torch.tensor(somewhere(made), requires_grad=True)
    x, y = torch.tensor(X), torch.tensor(TARGETS[name])
    z = x @ w[:-1] + w[-1] if intercept else x @ w
    each = {
        "squared-error": lambda: (z - y) ** 2,
        "logistic": lambda: F.binary_cross_entropy_with_logits(z, y.double(), reduction="none"),
        "cross-entropy": lambda: F.cross_entropy(z, y, reduction="none"),
        "poisson": lambda: F.poisson_nll_loss(z, y, reduction="none"),
        "huber": lambda: 2 * F.huber_loss(z, y, reduction="none"),
    }[name]()
    share = torch.tensor(np.full(ROWS, 1 / ROWS) if s is None else s / s.sum())
    total = (share * each).sum() + alpha / 2 * ((w[:-1] if intercept else w) ** 2).sum()
    total.backward()
    value, gradient = made.value_and_gradient(w.detach().numpy())
    assert value == pytest.approx(total.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, w.grad.numpy(), rtol=1e-11, atol=1e-13)


@every_case
def test_the_gradient_is_the_slope_and_the_hessian_that_of_the_gradient(name, intercept, s, alpha):
    for made in (make(name, intercept, s, alpha), summed(name, intercept, s, alpha)):
        w, h = somewhere(made), 1e-5
        steps = h * np.eye(w.size).reshape(w.size, *w.shape)
        slopes = [(made.value(w + e) - made.value(w - e)) / (2 * h) for e in steps]
        gradient = made.gradient(w)
        assert gradient.shape == w.shape == made.shape
        np.testing.assert_allclose(gradient.ravel(), slopes, rtol=1e-7, atol=1e-8)
        bends = [(made.gradient(w + e) - made.gradient(w - e)).ravel() / (2 * h) for e in steps]
        H = made.hessian(w)
        assert H.shape == (w.size, w.size)
        np.testing.assert_allclose(H, bends, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(H, H.T, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_squared_error_from_moments_is_that_summed_over_rows(intercept, s, alpha):
    fast, slow = (f("squared-error", intercept, s, alpha) for f in (make, summed))
    assert isinstance(fast, Quadratic)
    for seed in range(5):
        w = 10.0 ** (seed - 2) * somewhere(fast, seed)
        value, gradient = slow.value_and_gradient(w)
        assert fast.value(w) == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(fast.gradient(w), gradient, rtol=1e-10, atol=1e-12 * abs(gradient).max())
        np.testing.assert_allclose(fast.hessian(w), slow.hessian(w), rtol=1e-11, atol=1e-13)
    assert fast.curvature_bound <= slow.curvature_bound * (1 + 1e-12)
    if alpha == 0:
        assert fast.curvature_bound == pytest.approx(slow.curvature_bound, rel=1e-12)
    assert fast.constant_loss == pytest.approx(slow.constant_loss, rel=1e-12)
    assert (fast.rows, fast.weight) == (slow.rows, slow.weight)


STORED = {
    "F": lambda x: np.asfortranarray(x),
    "sparse": csr_array,
    "mixed": lambda x: Mixed(x[:, :1], csr_array(x[:, 1:])),
}


@every_loss
@pytest.mark.parametrize("store", STORED.values(), ids=STORED)
def test_how_the_matrix_is_stored_does_not_matter(name, store):
    made = make(name, s=WEIGHT, alpha=0.1)
    with closing(Serial().open(ArraySource(store(X), TARGETS[name], WEIGHT))) as session:
        outputs = CLASSES if name == "cross-entropy" else None
        other = Objective.over(session, loss=LOSSES[name], penalty=L2(0.1), intercept=True, outputs=outputs)
        w = somewhere(made)
        assert other.shape == made.shape
        assert other.value(w) == pytest.approx(made.value(w), rel=1e-12)
        np.testing.assert_allclose(other.gradient(w), made.gradient(w), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(other.hessian(w), made.hessian(w), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("intercept", [True, False])
@every_loss
def test_integer_weights_are_repeated_rows(name, intercept):
    again = np.repeat(np.arange(ROWS), WEIGHT.astype(int))
    weighted = make(name, intercept, WEIGHT, 0.2)
    repeated = make(name, intercept, None, 0.2, X[again], TARGETS[name][again])
    w = somewhere(weighted)
    assert weighted.value(w) == pytest.approx(repeated.value(w), rel=1e-12)
    np.testing.assert_allclose(weighted.gradient(w), repeated.gradient(w), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(weighted.hessian(w), repeated.hessian(w), rtol=1e-11, atol=1e-13)
    assert weighted.curvature_bound == pytest.approx(repeated.curvature_bound, rel=1e-12)
    assert weighted.constant_loss == pytest.approx(repeated.constant_loss, rel=1e-12)
    assert weighted.weight == repeated.weight == len(again)


@every_case
def test_only_the_proportions_of_weights_count(name, intercept, s, alpha):
    s = np.ones(ROWS) if s is None else s
    made, other = make(name, intercept, s, alpha), make(name, intercept, 1e-3 * s, alpha)
    w = somewhere(made)
    assert made.value(w) == pytest.approx(other.value(w), rel=1e-12)
    np.testing.assert_allclose(made.gradient(w), other.gradient(w), rtol=1e-10, atol=1e-13)


# Squared error near its minimum


EXACT = {
    "plain": (RNG.normal(size=(50, 3)), [1.0, -2.0, 3.0, 0.5]),
    "far from zero": (1e6 + RNG.normal(size=(50, 3)), [1.0, -2.0, 3.0, 0.5]),
    "of all sizes": (RNG.normal(size=(50, 3)) * [1e-6, 1.0, 1e6], [1e6, -2.0, 3e-6, 0.5]),
    "collinear": (np.repeat(RNG.normal(size=(50, 1)), 3, axis=1) * [1.0, 2.0, -1.0], [1.0, 1.0, 1.0, 1.0]),
    "with a constant": (
        np.column_stack([np.full((50, 1), 3.0), RNG.normal(size=(50, 2))]),
        [1.0, 1.0, 2.0, 0.0],
    ),
}


@pytest.mark.parametrize(("x", "w"), EXACT.values(), ids=EXACT)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), exponent=st.integers(-18, 0))
def test_the_loss_is_never_negative_however_near_the_minimum(x, w, seed, exponent):
    w = np.array(w)
    made = make("squared-error", x=x, y=x @ w[:-1] + w[-1])
    for near in (w, made.minimum()):
        near = near * (1 + 10.0**exponent * np.random.default_rng(seed).normal(size=4))
        assert made.value(near) >= 0
    assert made.value(made.minimum()) <= 1e-15 * made.constant_loss


@pytest.mark.parametrize("exponent", [-9, -7, -5, -3])
def test_the_loss_keeps_its_digits_near_a_perfect_fit(exponent):
    """About a minimum of zero, where `y'y - 2 w'X'y + w'X'X w` would be nothing but rounding."""
    x = RNG.integers(-8, 8, (40, 2)).astype(float)
    y = x @ [3.0, 2.0] + 1.0
    w = np.array([3.0, 2.0, 1.0]) + 10.0**exponent * np.array([1.0, -2.0, 0.5])
    errors = [
        sum(Fraction(a) * Fraction(b) for a, b in zip([*row, 1.0], w.tolist(), strict=True)) - Fraction(t)
        for row, t in zip(x.tolist(), y.tolist(), strict=True)
    ]
    exact = float(sum(e * e for e in errors) / 40)
    assert make("squared-error", x=x, y=y).value(w) == pytest.approx(exact, rel=1e-13 / 10.0**exponent)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_minimizer_has_no_gradient(intercept, s, alpha):
    made = make("squared-error", intercept, s, alpha)
    w = made.minimum()
    assert abs(made.gradient(w)).max() < 1e-12
    root = np.ones(ROWS) if s is None else np.sqrt(s)
    A = np.column_stack([X, np.ones(ROWS)]) if intercept else X
    ridge = np.diag(np.sqrt(alpha / 2 * (root @ root)) * (np.arange(A.shape[1]) < COLUMNS))
    expected = np.linalg.lstsq(
        np.vstack([A * root[:, None], ridge]),
        np.append(TARGETS["squared-error"] * root, np.zeros(len(ridge))),
    )[0]
    np.testing.assert_allclose(w, expected, rtol=1e-10)


# Curvature


@every_bounded_case
def test_no_curvature_exceeds_the_bound(name, intercept, s, alpha):
    for made in (make(name, intercept, s, alpha), summed(name, intercept, s, alpha)):
        for seed in range(6):
            w = (0.0 if seed == 0 else 10.0 ** (seed - 4)) * somewhere(made, seed)
            values = np.linalg.eigvalsh(made.hessian(w))
            assert values[0] >= -1e-12
            assert values[-1] <= made.curvature_bound * (1 + 1e-12)
        assert made.safe_rate == 1 / made.curvature_bound


@pytest.mark.parametrize("name", bounded)
@pytest.mark.parametrize("intercept", [True, False])
def test_on_many_columns_the_rows_lengths_bound_the_curvature(name, intercept, monkeypatch):
    near = make(name, intercept, WEIGHT, 0.2).curvature_bound
    monkeypatch.setattr(objective, "MOMENTS_COLUMNS", 2)
    made = make(name, intercept, WEIGHT, 0.2)
    assert isinstance(made, Summed)
    lengths = np.average(np.square(X).sum(axis=1) + intercept, weights=WEIGHT)
    assert made.curvature_bound == pytest.approx(LOSSES[name].curvature_bound * lengths + 0.2, rel=1e-12)
    assert made.curvature_bound >= near * (1 - 1e-12)


@every_bounded_case
def test_a_step_at_the_safe_rate_never_climbs(name, intercept, s, alpha):
    made = make(name, intercept, s, alpha)
    for seed in range(5):
        w = 10.0 ** (seed - 2) * somewhere(made, seed)
        value, gradient = made.value_and_gradient(w)
        promised = np.vdot(gradient, gradient) / (2 * made.curvature_bound)
        assert made.value(w - made.safe_rate * gradient) <= value - promised + 1e-12 * value


@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("intercept", [True, False])
def test_without_a_bound_rates_are_made_for_the_curvature_where_a_descent_begins(intercept, s):
    """At weights of zero that of the Poisson loss is 1, at the best constant the mean count."""
    made, near = make("poisson", intercept, s, 0.2), make("squared-error", intercept, s)
    mean = np.average(TARGETS["poisson"], weights=s)
    assert made.curvature_bound == np.inf
    assert made.searches
    assert not near.searches
    assert made.row_curvature == pytest.approx(max(mean, 1.0), rel=1e-12)
    assert made.expected_curvature == pytest.approx(
        near.curvature_bound / 2 * made.row_curvature + 0.2, rel=1e-9
    )
    assert made.safe_rate == 1 / made.expected_curvature
    rare = make("poisson", intercept, s, y=np.zeros(ROWS))
    assert rare.row_curvature == 1.0


@every_loss
def test_the_deviance_of_a_loss_is_what_it_is_above_the_best_that_rows_allow(name):
    for s in (None, WEIGHT):
        made, y = make(name, s=s), TARGETS[name]
        best = np.average(LOSSES[name].best(y), weights=s)
        assert made.best_loss == pytest.approx(best, rel=1e-13, abs=0)
        value = made.value(made.zeros())
        assert made.deviance(value) == value - made.best_loss >= 0
        assert made.magnitude(value) == made.deviance(value) + abs(made.best_loss)
        if LOSSES[name].best_is_zero:
            assert made.deviance(value) == made.magnitude(value) == value
        else:
            deviance = np.average(LOSSES[name].unit_deviance(np.zeros(ROWS), y), weights=s)
            assert made.deviance(value) == pytest.approx(deviance / 2, rel=1e-12)


@every_loss
@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
def test_the_constant_is_the_mean_of_the_target_or_the_share_of_each_class(name, s):
    y = np.eye(CLASSES)[TARGETS[name]] if name == "cross-entropy" else TARGETS[name][:, None]
    expected = np.average(y, axis=0, weights=s)
    for made in (make(name, s=s), summed(name, s=s)):
        np.testing.assert_allclose(made.constant, expected, rtol=1e-12)


def test_columns_of_zeros_have_a_safe_rate():
    assert make("squared-error", intercept=False, x=np.zeros((5, 2)), y=np.ones(5)).safe_rate == 1.0


@pytest.mark.parametrize("s", [None, WEIGHT], ids=["plain", "weighted"])
def test_the_constant_loss_is_that_of_the_best_constant(s):
    y = TARGETS["squared-error"]
    mean = np.average(y, weights=s)
    expected = np.average((y - mean) ** 2, weights=s)
    assert make("squared-error", s=s).constant_loss == pytest.approx(expected, rel=1e-12)
    for name in ("logistic", "cross-entropy"):
        p = np.bincount(TARGETS[name], weights=s) / (ROWS if s is None else s.sum())
        for intercept in (True, False):
            found = make(name, intercept, s, alpha=7.0).constant_loss
            assert found == pytest.approx(-(p * np.log(p)).sum(), rel=1e-12)
    counts = TARGETS["poisson"]
    mean = np.average(counts, weights=s)
    assert make("poisson", s=s).constant_loss == pytest.approx(mean - mean * np.log(mean), rel=1e-12)


# Passes and copies


class Counting(ArraySource):
    """An `ArraySource` that counts how often it is read."""

    reads = 0

    def parts(self):
        Counting.reads += 1
        return ArraySource.parts(self)


def passes(work):
    before = Counting.reads
    work()
    return Counting.reads - before


def test_value_and_gradient_cost_one_pass_and_the_same_weights_none():
    with closing(Serial().open(Counting(X, TARGETS["logistic"]))) as session:
        made = Objective.over(session, loss=LOSSES["logistic"], penalty=L2(), intercept=True)
        w = somewhere(made)
        assert passes(lambda: made.value_and_gradient(w)) == 1
        assert passes(lambda: (made.value_and_gradient(w), made.value(w), made.gradient(w.copy()))) == 0
        assert passes(lambda: made.value(w + 1)) == 1
        assert passes(lambda: made.value_and_gradient(w)) == 0
        assert passes(lambda: (made.rows, made.weight)) == 0
        assert passes(lambda: (made.curvature_bound, made.safe_rate, made.curvature_bound)) == 1


def test_squared_error_reads_rows_once_and_never_again():
    with closing(Serial().open(Counting(X, TARGETS["squared-error"]))) as session:
        options = {"loss": LOSSES["squared-error"], "penalty": L2(), "intercept": True}
        made = Objective.over(session, **options)
        w = somewhere(made)
        work = (made.value_and_gradient, made.value, made.hessian)
        assert passes(lambda: [f(w + i) for i in range(3) for f in work]) == 0
        assert passes(lambda: (made.curvature_bound, made.constant_loss, made.minimum(), made.rows)) == 0


@every_loss
def test_what_the_caller_does_to_weights_and_gradients_stays_outside(name):
    made = make(name)
    w = somewhere(made)
    value, gradient = made.value_and_gradient(w)
    kept = gradient.copy()
    gradient += 1.0
    np.testing.assert_array_equal(made.gradient(w), kept)
    w += 1.0
    assert made.value(w) != value
    np.testing.assert_array_equal(made.gradient(w - 1.0), make(name).gradient(w - 1.0))


# What is refused


def test_weights_are_copied_as_float64():
    made, start = make("squared-error"), np.arange(4)
    w = made.check_weights(start)
    assert w.dtype == np.float64
    assert w.tolist() == [0, 1, 2, 3]
    assert not np.shares_memory(made.check_weights(w), w)
    assert made.zeros().tolist() == [0.0] * 4


SHAPES = {
    "one too few": ("logistic", True, np.ones(3), r"\(3,\), but the weights have shape \(4,\): one weight per "
                    r"feature \(3\) and the intercept last\.$"),
    "one too many": ("logistic", False, np.ones(4), r"\(4,\), .*\(3,\): one weight per feature \(3\)\.$"),
    "a column": ("squared-error", False, np.ones((3, 1)), r"\(3, 1\), but the weights have shape \(3,\)"),
    "flat": ("cross-entropy", True, np.ones(16), r"\(16,\), .*\(4, 4\): .* intercept last, for each of 4 classes"),
    "a number": ("squared-error", True, 1.0, r"`start` has shape \(\)"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "intercept", "start", "said"), SHAPES.values(), ids=SHAPES)
def test_weights_of_another_shape_are_refused_with_both(name, intercept, start, said):
    with pytest.raises(ShapeError, match=said):
        make(name, intercept).check_weights(start)


def test_weights_that_are_no_numbers_are_refused_by_name():
    with pytest.raises(DescendError, match="`start` holds NaN or infinity"):
        make("squared-error").check_weights([0, 0, np.nan, 0])
    with pytest.raises(DescendError, match="`weights` holds NaN or infinity"):
        make("squared-error").check_weights([0, 0, np.inf, 0], "weights")


REFUSED = {
    "rows": ({"y": np.ones(7)}, ShapeError, r"`x` has 80 rows and `y` has shape \(7,\)"),
    "target": ({"y": np.full(ROWS, 0.5), "loss": "logistic"}, DataError, "must hold 0 and 1 for the logistic"),
    "classes": ({"y": -np.ones(ROWS), "loss": "cross-entropy"}, DataError, "class numbers 0, 1"),
    "loss": ({"loss": "hinge"}, DescendError, "`loss` must be one of .*got 'hinge'"),
    "negative weights": ({"sample_weight": -np.ones(ROWS)}, DataError, "`sample_weight` must hold numbers of at"),
    "no weight": ({"sample_weight": np.zeros(ROWS)}, DataError, "at least 0, and one above 0"),
    "weights of other rows": ({"sample_weight": [1.0]}, ShapeError, r"80 rows and `sample_weight` has shape \(1,\)"),
    "weights with nan": ({"sample_weight": np.full(ROWS, np.nan)}, DataError, "`sample_weight` holds NaN"),
    "one row": ({"x": X[0]}, ShapeError, r"two dimensions \(rows, features\), got shape \(3,\)"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_bad_data_are_refused_before_anything_is_opened(change, error, said, monkeypatch):
    monkeypatch.setattr(Threads, "open", lambda *_: pytest.fail("a session was opened"))
    options = {"x": X, "y": TARGETS["squared-error"]} | change
    with pytest.raises(error, match=said):
        Objective.of(options.pop("x"), options.pop("y"), **options)


def test_all_rows_without_weight_are_an_error_at_the_first_evaluation():
    source = ArraySource(X, TARGETS["logistic"], np.zeros(ROWS))
    for loss in ("squared-error", "logistic"):
        with closing(Serial().open(source)) as session, pytest.raises(DataError, match="weights sum to zero"):
            Objective.over(session, loss=LOSSES[loss], penalty=L2(), intercept=True).value(np.zeros(4))


def test_many_ill_conditioned_columns_are_solved_by_refinement():
    """A triangular factor of 150 columns would be the other way; NumPy's singular values are the oracle."""
    rng = np.random.default_rng(8)
    common = rng.normal(size=(3_000, 1))
    x = common + 1e-4 * rng.normal(size=(3_000, 150)) + 50.0
    y = x @ rng.normal(size=150) + 0.01 * rng.normal(size=3_000)
    objective = Objective.of(x, y)
    w = objective.minimum()
    oracle = np.linalg.lstsq(np.column_stack([x - x.mean(axis=0), np.ones(3_000)]), y, rcond=None)[0][:-1]
    assert np.abs(w[:-1] - oracle).max() < 1e-9 * np.abs(oracle).max()
    assert objective.value(w) == pytest.approx(np.square(x @ w[:-1] + w[-1] - y).mean(), rel=1e-9)


def test_weights_of_another_shape_are_refused_and_lists_taken():
    for loss in ("squared-error", "logistic"):
        made = Objective.of(X, TARGETS[loss], loss=loss)
        assert made.value([1, 2, 0, 1]) == made.value(np.array([1.0, 2.0, 0.0, 1.0]))
        assert made.gradient((1, 2, 0, 1)).shape == (4,)
        for wrong in (np.zeros(3), np.zeros((4, 1)), [1.0], 3):
            with pytest.raises(ShapeError, match=r"`weights` has shape"):
                made.value(wrong)
