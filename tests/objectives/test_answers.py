"""What an objective answers, whatever kind it is: nobody has to know which."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from descend import Objective
from descend.descent import steps as descent
from descend.engines.arrays import ArraySource
from descend.engines.engine import SomeLeaves, Threads
from descend.engines.moments import Moments
from descend.errors import DescendError
from descend.objectives.batches import Batches
from descend.objectives.coordinates import Coordinates
from descend.objectives.penalties import L2
from descend.objectives.quadratic import Quadratic

RNG = np.random.default_rng(8)
X = RNG.normal(size=(120, 3)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 1.0]
SCORE = X @ [1.0, -0.5, 3.0] + RNG.logistic(size=120)
TARGETS = {
    "squared-error": SCORE,
    "logistic": (np.median(SCORE) < SCORE).astype(int),
    "cross-entropy": np.digitize(SCORE, np.quantile(SCORE, [0.4, 0.8])),
}
KINDS = [(loss, standard) for loss in TARGETS for standard in (False, True)]
every_kind = pytest.mark.parametrize(("loss", "standard"), KINDS, ids=str)


def made(loss, standard=False, **how):
    objective = Objective.of(X, TARGETS[loss], loss=loss, **how)
    return objective.in_coordinates(Coordinates.of(objective)) if standard else objective


def differences(f, w, step=1e-5):
    """Central differences of `f`, which returns an array, along each entry of `w`."""
    rows = []
    for i in range(w.size):
        move = np.zeros(w.size)
        move[i] = step
        move = move.reshape(w.shape)
        rows.append((np.ravel(f(w + move)) - np.ravel(f(w - move))) / (2 * step))
    return np.array(rows)


@every_kind
@pytest.mark.parametrize("intercept", [True, False])
def test_the_penalty_s_part_has_the_derivatives_that_it_says(loss, standard, intercept):
    objective = made(loss, standard, penalty=0.3, intercept=intercept)
    free = made(loss, standard, intercept=intercept) if not standard else None
    w = RNG.normal(size=objective.shape)
    slope = differences(lambda v: np.array([objective.penalty_value(v)]), w)
    np.testing.assert_allclose(objective.penalty_gradient(w).ravel(), slope[:, 0], rtol=1e-6, atol=1e-9)
    curvature = differences(objective.penalty_gradient, w)
    np.testing.assert_allclose(np.diag(objective.penalty_curvature(w)), curvature, rtol=1e-6, atol=1e-9)
    assert np.shares_memory(objective.penalised(w), w)
    if intercept:
        assert not objective.penalty_gradient(w)[-1].any()
    if free is not None:
        assert free.value(w) + objective.penalty_value(w) == pytest.approx(objective.value(w), rel=1e-12)
        np.testing.assert_allclose(
            free.gradient(w) + objective.penalty_gradient(w), objective.gradient(w), rtol=1e-9, atol=1e-12
        )


@every_kind
def test_the_excess_is_what_a_walk_to_the_minimum_loses(loss, standard):
    objective = made(loss, standard, penalty=0.2)
    *_, last = descent.steps(objective, "auto", tolerance=1e-11)
    near = last.weights + 1e-3 * RNG.normal(size=objective.shape)
    assert objective.excess(near) == pytest.approx(objective.value(near) - last.loss, rel=0.02)
    assert objective.excess(last.weights) <= 1e-12 * last.loss


@every_kind
def test_curvatures_are_the_eigenvalues_of_the_hessian(loss, standard):
    objective = made(loss, standard, penalty=0.2)
    w = 0.1 * RNG.normal(size=objective.shape)
    expected = np.linalg.eigvalsh(differences(objective.gradient, w))[::-1]
    np.testing.assert_allclose(objective.curvatures(w).values, expected, rtol=1e-5, atol=1e-7 * expected[0])


@every_kind
def test_only_a_closed_form_has_its_minimum_at_hand(loss, standard):
    objective = made(loss, standard)
    assert objective.exact is (loss == "squared-error")
    if objective.exact:
        assert np.abs(objective.gradient(objective.minimum())).max() <= 1e-9
        kept = objective.without_rows()
        assert not kept.session.has_rows
        assert objective.session.has_rows
        assert kept.value(np.ones(4)) == objective.value(np.ones(4))
        return
    with pytest.raises(DescendError, match=rf"closed form.*{loss} on 4 weights.*descend.steps"):
        objective.minimum()
    assert objective.without_rows() is None
    assert objective.mean_squares(objective.zeros(), 0.0) is None
    assert objective.of_minimum_norm(w := objective.zeros()) is w


@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_the_covariance_is_that_of_statsmodels(loss):
    ones = np.column_stack([X, np.ones(120)])
    peer = (sm.OLS if loss == "squared-error" else sm.Logit)(TARGETS[loss], ones)
    peer = peer.fit() if loss == "squared-error" else peer.fit(disp=0, method="newton", tol=1e-12)
    objective = made(loss)
    *_, last = descent.steps(objective, "auto")
    found = objective.information(last.weights)
    T = np.eye(4)
    T[-1, :3] = -found.mean  # the intercept of the data from that of `X - mean`
    inverse = T @ found.inverse_root.T @ found.inverse_root @ T.T
    scale = 2.0 * peer.scale if loss == "squared-error" else 1.0
    np.testing.assert_allclose(scale * inverse, peer.cov_params(), rtol=1e-6)


def test_collinear_columns_are_unseen_in_the_information():
    twins = np.column_stack([X, X[:, 0] - X[:, 1]])
    for loss, y in TARGETS.items():
        objective = Objective.of(twins, y, loss=loss)
        assert objective.rank == 3
        found = objective.information(objective.zeros())
        several = 1 if len(objective.shape) == 1 else objective.shape[1] - 1
        assert found.rank == 4 * several  # three columns and the intercept
        flat = found.unseen / found.scale[:, None]
        H = np.linalg.inv(found.inverse_root @ found.inverse_root.T)
        assert (
            np.abs(found.inverse_root @ (found.unseen * found.scale[:, None])).max() < 1e-8 * np.abs(H).max()
        )
        assert flat.shape[1] == np.prod(objective.shape) - found.rank


def test_moments_are_those_of_the_rows_and_none_in_other_units():
    expected = np.cov(np.column_stack([X, SCORE]).T, bias=True)
    np.testing.assert_allclose(made("squared-error").moments.cross / 120, expected, rtol=1e-12)
    objective = made("logistic")
    np.testing.assert_allclose(objective.moments.mean[:3], X.mean(axis=0), rtol=1e-12)
    assert made("logistic", standard=True).moments is None
    with Batches(objective, 50).pieces(0) as pieces:
        assert next(iter(pieces)).batches[0].moments is None


def test_moments_alone_make_an_objective_that_says_where_its_rows_are_not():
    moments = Objective.of(X, SCORE).moments
    objective = Quadratic.from_moments(moments, L2(), True)
    np.testing.assert_allclose(objective.minimum(), Objective.of(X, SCORE).minimum(), rtol=1e-9)
    assert objective.session.source.rows is None
    for ask in (
        lambda: objective.session.reduce(Moments),
        lambda: objective.session.map(print),
        lambda: objective.session.chain(print, 0),
    ):
        with pytest.raises(DescendError, match=r"no rows to read.*Objective.of\(x, y\)"):
            ask()
    with pytest.raises(DescendError, match="`batch_size` needs an objective over data"):
        Batches(objective, 10)
    with pytest.raises(DescendError, match="local-steps needs an objective over data"):
        next(iter(descent.steps(objective, "local-steps", limit=1)))
    *_, last = descent.steps(objective, "gradient-descent", limit=5)
    assert last.number == 5


def test_some_leaves_tell_what_the_session_of_all_tells():
    with Threads(1).open(ArraySource(X, SCORE)) as session:
        session.refuses_batches, session.takes_all = "because", True
        some = SomeLeaves(session, (0,))
        assert (some.refuses_batches, some.takes_all, some.has_rows) == ("because", True, True)
