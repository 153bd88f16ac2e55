"""What says that it has converged has the digits that are printed, beside Newton's step with 50 digits."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from mpmath import exp, fdot, fsum, log, lu_solve, matrix, mp, mpf

import descend
from descend import L1, DescendError, GradientDescent, Objective, Outcome, Processes, steps
from descend.objectives.losses import Loss

mp.dps = 50
KINDS = (
    "plain", "rare", "scales", "far", "wide", "near copies", "weights", "offset", "heavy tails", "scales and far",
    "penalised", "scales and a penalty",
)  # fmt: skip
PENALTY = {"wide": 1e-3, "penalised": 0.1, "scales and a penalty": 1e-3}
LOSSES = ("logistic", "cross-entropy", "poisson", "huber")
ENOUGH = 1e-8


def logistic(z, y):
    p = 1 / (1 + exp(-z[0]))
    return log(1 + exp(z[0])) - y * z[0], [p - y], [[p * (1 - p)]]


def cross_entropy(z, y):
    p = [exp(u) for u in z]
    p = [u / fsum(p) for u in p]
    g = [u - (k == y) for k, u in enumerate(p)]
    return -log(p[int(y)]), g, [[u * ((j == k) - v) for k, v in enumerate(p)] for j, u in enumerate(p)]


def poisson(z, y):
    mean = exp(z[0])
    return mean - y * z[0], [mean - y], [[mean]]


def huber(z, y):
    e = z[0] - y
    within = abs(e) <= 1
    return (e * e, [2 * e], [[2]]) if within else (2 * abs(e) - 1, [2 if e > 0 else -2], [[0]])


FORMULAS = {"logistic": logistic, "cross-entropy": cross_entropy, "poisson": poisson, "huber": huber}


def problem(loss, kind):
    """Columns, target, weights of the rows, and what `fit` is told of the latter and of an offset."""
    rng = np.random.default_rng(KINDS.index(kind) + 100)
    n, p = (60, 25) if kind == "wide" and loss != "cross-entropy" else (60, 3)
    Z = rng.standard_t(1.5, (n, p)) if kind == "heavy tails" else rng.normal(size=(n, p))
    x, score, s = Z.copy(), Z @ rng.normal(size=p) / np.sqrt(p) + 0.3, np.ones(n)
    offset = rng.normal(size=n) if kind == "offset" and loss != "cross-entropy" else np.zeros(n)
    if kind == "near copies":
        x[:, 2] = x[:, 0] + 1e-5 * x[:, 2]
    if "scales" in kind:
        x *= [1e6, 1e-6, 1e3]
    if "far" in kind:
        x += 10.0 ** np.array([1.0, 3.0, 5.0]) * x.std(axis=0)
    if loss == "logistic":
        y = (score + offset + rng.logistic(size=n) > 0).astype(float)
    elif loss == "cross-entropy":
        y = np.argmax(np.column_stack([0 * score, score, -score]) + rng.gumbel(size=(n, 3)), axis=1)
    elif loss == "poisson":
        y = rng.poisson(np.exp(np.clip(score + offset, -20, 5))).astype(float)
    else:
        y = score + offset + rng.standard_t(2, n)
    if kind == "rare":
        s = np.where(y >= 1, 1.0, 1e6)
    if kind == "weights":
        s = 10.0 ** rng.uniform(-3, 3, n)
    told = {"penalty": PENALTY.get(kind, 0), "sample_weight": s} | (
        {"offset": offset} if offset.any() else {}
    )
    return x, y, s, offset, told


def exact(x):
    return [[mpf(float(cell)) for cell in row] for row in x]


def off_by(loss, x, y, s, offset, alpha, weights):
    """How far the loss is above its minimum, and each weight from there, as shares: as Newton's step tells, 50 digits.

    A weight counts for no less than a millionth of its standard error, about. Weights of softmax for their sum over
    the classes, which changes no probability, for nothing.
    """
    A, n, (p, K) = (
        exact(np.column_stack([x, np.ones(len(x))])),
        len(x),
        weights.reshape(len(weights), -1).shape,
    )
    W = exact(weights.reshape(p, K))
    s, offset = exact([s, offset])
    total, value = fsum(s), mpf(0)
    g, H = matrix(p * K, 1), matrix(p * K, p * K)
    for i in range(n):
        z = [fdot(A[i], [row[k] for row in W]) + offset[i] for k in range(K)]
        v, slope, curvature = FORMULAS[loss](z, mpf(float(y[i])))
        value += s[i] * v / total
        for a in range(p * K):
            g[a] += s[i] * slope[a % K] * A[i][a // K] / total
            for b in range(p * K):
                H[a, b] += s[i] * curvature[a % K][b % K] * A[i][a // K] * A[i][b // K] / total
    for j in range(p - 1):
        for k in range(K):
            value += mpf(alpha) / 2 * W[j][k] ** 2
            g[j * K + k] += mpf(alpha) * W[j][k]
            H[j * K + k, j * K + k] += mpf(alpha)
    for j in (range(0 if alpha == 0 else p - 1, p)) if K > 1 else ():
        pin = H[j * K, j * K]  # of the sum over the classes
        for a in range(K):
            for b in range(K):
                H[j * K + a, j * K + b] += pin
    move, errors = lu_solve(H, g), H**-1
    least = [mp.sqrt(abs(errors[a, a]) / n) / 10**6 for a in range(p * K)]
    shares = [abs(move[a]) / max(abs(W[a // K][a % K]), least[a]) for a in range(p * K)]
    return float(fdot(g, move) / 2 / abs(value)), float(max(shares))


WAYS = {
    "newton": {"optimizer": "newton"},
    "lbfgs": {"optimizer": "lbfgs"},
    "standardised": {"standardize": True},
    "standardised lbfgs": {"standardize": True, "optimizer": "lbfgs"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_converged_has_eight_digits_or_says_how_many(loss, kind):
    x, y, s, offset, told = problem(loss, kind)
    for way, how in WAYS.items():
        run = descend.fit(x, y, loss=loss, **told, **how)
        if not run.outcome.converged:
            assert "lbfgs" in way, run.message
            assert run.details
            continue
        excess, share = off_by(loss, x, y, s, offset, told["penalty"], run.weights)
        assert excess <= ENOUGH, way
        assert share <= ENOUGH or "digit" in run.details, (way, share)


@pytest.mark.parametrize("optimizer", ["gradient-descent", "adam", "proximal-gradient", "local-steps"])
def test_every_optimizer_ends_with_newton_steps(optimizer):
    x, y, s, offset, told = problem("logistic", "penalised")
    run = descend.fit(x, y, loss="logistic", optimizer=optimizer, **told)
    assert run.outcome.converged or optimizer in ("adam", "local-steps")
    if run.outcome.converged:
        assert max(off_by("logistic", x, y, s, offset, 0.1, run.weights)) <= ENOUGH


def test_a_row_far_on_its_side_keeps_the_digits_of_its_loss_and_slope():
    z, y = np.array([40.0, -40.0, 40.0, -40.0]), np.array([1.0, 0.0, 0.0, 1.0])
    value, gradient = descend.LogisticLoss().value_and_gradient(z, y)
    tail = float(log(1 + exp(mpf(-40))))
    np.testing.assert_allclose(value, [tail, tail, 40.0, 40.0], rtol=1e-15)
    np.testing.assert_allclose(gradient, [-np.exp(-40.0), np.exp(-40.0), 1.0, -1.0], rtol=1e-14)
    assert descend.LogisticLoss().value(z, y).tolist() == value.tolist()


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_tables_have_the_digits_that_they_print(engine):
    x, y, s, offset, _ = problem("logistic", "scales and far")
    table = {f"x{j}": x[:, j] for j in range(3)} | {"y": y.astype(int)}
    how = {"engine": Processes(2)} if engine == "processes" else {}
    run = descend.fit(table, target="y", penalty=0, **how)
    weights = np.array([run.coefficients[name] for name in ("x0", "x1", "x2", "(intercept)")])
    assert run.outcome.converged
    assert max(off_by("logistic", x, y, s, offset, 0, weights)) <= ENOUGH


def test_squared_error_ends_at_the_minimum_by_any_way_down():
    x, y = descend.make_line(100, seed=0)
    run = descend.fit(x, y, intercept=False, optimizer="gradient-descent")
    assert run.outcome is Outcome.CONVERGED
    np.testing.assert_allclose(run.weights, np.linalg.lstsq(x, y)[0], rtol=1e-12)
    assert run.history.loss[-1] <= run.history.loss[-2]


def test_weights_that_the_penalty_leaves_have_their_digits_too():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 6))
    y = (x[:, 0] - x[:, 1] + rng.logistic(size=80) > 0).astype(float)
    run = descend.fit(x, y, loss="logistic", penalty=L1(0.05))
    assert run.outcome.converged
    assert not run.details
    kept = np.flatnonzero(run.weights[:-1])
    assert 0 < len(kept) < 6
    A = exact(np.column_stack([x[:, kept], np.ones(80)]))
    w = exact([run.weights[[*kept, 6]]])[0]
    p = [1 / (1 + exp(-fdot(row, w))) for row in A]
    signs = [mpf(float(np.sign(u))) for u in w[:-1]] + [mpf(0)]
    size = len(w)
    g = [fsum((p[i] - y[i]) * A[i][j] for i in range(80)) / 80 + mpf(0.05) * signs[j] for j in range(size)]
    H = matrix(size, size)
    for j in range(size):
        for k in range(size):
            H[j, k] = fsum(p[i] * (1 - p[i]) * A[i][j] * A[i][k] for i in range(80)) / 80
    move = lu_solve(H, matrix(g))
    assert max(abs(move[j] / w[j]) for j in range(size)) <= ENOUGH


def test_a_number_of_steps_is_kept_and_a_tolerance_says_how_far_it_leaves_the_loss():
    x, y, _, _, told = problem("logistic", "plain")
    assert len(descend.fit(x, y, loss="logistic", steps=3).history) == 4
    loose = descend.fit(x, y, loss="logistic", optimizer="gradient-descent", tolerance=1e-2, **told)
    best = descend.fit(x, y, loss="logistic", **told)
    assert loose.outcome is Outcome.CONVERGED
    assert loose.loss > best.loss * (1 + ENOUGH)
    above = float(loose.details.split(" is about ")[1].split(" %")[0])
    assert above == pytest.approx(100 * (loose.loss / best.loss - 1), rel=0.1)
    assert "tolerance" in loose.details
    tight = descend.fit(x, y, loss="logistic", tolerance=1e-9, **told)
    assert tight.outcome is Outcome.CONVERGED
    assert not tight.details


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", GradientDescent(), "proximal-gradient"])
def test_a_walk_goes_on_from_its_last_digits_to_the_bit(optimizer):
    x, y, _, _, _ = problem("logistic", "heavy tails")
    penalty = L1(0.02) if optimizer == "proximal-gradient" else 0.1

    def objective():
        return Objective.of(x, y, loss="logistic", penalty=penalty)

    walk = list(steps(objective(), optimizer))
    for step in walk[-5:]:
        rest = list(steps(objective(), optimizer, resume=pickle.loads(pickle.dumps(step))))
        assert [s.weights.tobytes() for s in rest] == [
            s.weights.tobytes() for s in walk[step.number + 1 :]
        ] or (step is walk[-1] and rest[0].weights.tobytes() == step.weights.tobytes())
        assert rest[-1].outcome is walk[-1].outcome


def test_weights_of_rows_over_many_decades_hide_no_minimum():
    """A single row of weight 1e14 had the loss at the start count for the rounding of one far smaller."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = (x @ [1.0, -0.5] + rng.logistic(size=60) > 0).astype(float)
    for heaviest in (1e9, 1e14):
        s = np.where(np.arange(60) == 3, heaviest, 1.0)
        for optimizer in ("newton", "lbfgs"):
            run = descend.fit(x, y, loss="logistic", sample_weight=s, optimizer=optimizer)
            assert run.outcome.converged
            assert max(off_by("logistic", x, y, s, np.zeros(60), 0, run.weights)) <= ENOUGH


@dataclass(frozen=True)
class Likelihood(Loss):
    """Of counts, less a constant, so that it is below zero at its minimum and zero near it."""

    name = "own likelihood"
    shift: float = 0.0

    def value(self, z, y):
        return np.exp(z) - y * z - self.shift

    def gradient(self, z, y):
        return np.exp(z) - y

    def curvature(self, z, y):
        return np.exp(z)


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
def test_a_loss_of_ones_own_may_be_negative_or_zero_at_its_minimum(optimizer):
    x, y, s, offset, _ = problem("poisson", "plain")
    best = descend.fit(x, y, loss="poisson").loss
    for shift in (0.0, best, best - 1e-9, 10.0):
        run = descend.fit(x, y, loss=Likelihood(shift), optimizer=optimizer)
        assert run.outcome.converged, run.message
        assert off_by("poisson", x, y, s, offset, 0, run.weights)[1] <= ENOUGH
        assert "which is 0" not in run.message
        run.summary()


def test_patience_that_kept_other_weights_says_so():
    x, y, _, _, _ = problem("logistic", "plain")
    run = descend.fit(x, y, loss="logistic", valid=0.5, patience=50)
    last = run.history.validation_loss[-1]
    assert run.outcome is (
        Outcome.EARLY_STOP if last < run.history.validation_loss[-2] else Outcome.CONVERGED
    )
    with pytest.raises(DescendError, match="patience"):
        descend.fit(x, y, loss="logistic", patience=5)


def test_weights_that_are_all_zero_have_their_digits():
    """Balanced classes and a penalty that leaves nothing: the intercepts are zero too."""
    x = np.random.default_rng(0).normal(size=(45, 1))
    run = descend.fit(x, np.arange(45) % 3, loss="cross-entropy", penalty=L1(10.0))
    assert run.outcome.converged
    np.testing.assert_allclose(run.weights, 0.0, atol=1e-12)


def test_steps_for_the_last_digits_are_shortened_where_the_curvature_jumps():
    """Of Huber's loss a full step may cross many kinks, and lead up."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(40, 3)) * [1.0, 1e2, 1e-2]
        y = x @ [1.0, 0.01, 100.0] + rng.standard_t(1, 40)
        run = descend.fit(x, y, loss="huber", standardize=True)
        assert run.outcome.converged
        assert max(off_by("huber", x, y, np.ones(40), np.zeros(40), 0, run.weights)) <= ENOUGH
