"""Newton's step, and how far the loss is above its minimum as seen by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from descend.engines import matrix
from descend.engines.blocks import Block
from descend.engines.matrix import Array, Float
from descend.engines.moments import triangular_factor
from descend.objectives.curvatures import FLAT
from descend.objectives.losses import Loss
from descend.objectives.statistics import HessianSum, LargestMove, LossAndGradient, shifted

if TYPE_CHECKING:
    from descend.objectives.objective import Objective

ILL = 1e-8
"""A smaller curvature than this share of the largest has lost half of its digits in the Hessian."""
FEW_WEIGHTS = 128
"""Up to so many the eigenvalues of the Hessian cost nothing."""
CENTRED_WEIGHTS, ROOT_CELLS, ROOT_WORK = 512, 2**20, 2e9
"""Weights at most, cells of a QR at a time, and rows times weights squared that it is worth at most."""
NEGLIGIBLE, SHORT = 1e-6, 0.1
"""A share of the deviance that does not count, and the share of `Loss.curvature_scale` that a quadratic bears."""
CHANCE = 1e-6
"""The share of its standard error that a weight counts for at least where digits are told: zeros would have none."""


@dataclass(frozen=True, slots=True)
class CentredDerivatives:
    """`(g, H)`: gradient and Hessian of the sum of losses with respect to the weights of `X - mean`.

    Far from zero a column and the intercept are the same to many digits; less its mean it is not. Where it is
    `rooted`, an `R` with `R' R = H` takes the place of `H`: summed by QR as in `Triangle`, it has but the root of
    its condition number. Unless `curved` there is no `H`.
    """

    loss: Loss
    mean: Float
    intercept: bool
    rooted: bool
    curved: bool = True

    def of(self, block: Block, params: Float) -> tuple[Float, Float]:
        w = params.copy()
        if self.intercept:
            w[-1] += self.mean @ params[:-1]
        found = []
        step = max(ROOT_CELLS // (w.size * (w.size // len(w))), w.size) if self.rooted else block.rows
        for start in range(0, block.rows, step):
            rows = block.take(np.arange(start, min(start + step, block.rows)))
            dense, sparse = matrix.split(rows.X)
            parts = [] if dense is None else [np.asarray(dense, dtype=np.float64)]
            parts += [] if sparse is None else [sparse.toarray()]
            centred = replace(rows, X=np.hstack(parts) - self.mean)
            g = LossAndGradient(self.loss, self.intercept).of(centred, w)[3:]
            found.append((g, self._second(centred, w)))
        return reduce(self.merge, found)

    def _second(self, block: Block, w: Float) -> Float:
        if not self.curved:
            return np.zeros((0, w.size))
        return self._root(block, w) if self.rooted else HessianSum(self.loss, self.intercept).of(block, w)

    def _root(self, block: Block, w: Float) -> Float:
        """The factor of rows `x B`, with `B B'` the curvature of each row.

        See `Loss.curvature_root`.
        """
        X = np.column_stack([block.X, np.ones(block.rows)]) if self.intercept else block.X
        z = shifted(X @ w, block.offset)
        s = np.ones(block.rows) if block.sample_weight is None else block.sample_weight
        B = self.loss.curvature_root(z, block.y, s)
        if z.ndim == 1:
            return triangular_factor(X * B[:, None])
        Z = X[:, None, :, None] * B.transpose(0, 2, 1)[:, :, None, :]
        return triangular_factor(Z.reshape(-1, w.size))

    def merge(self, a: tuple[Float, Float], b: tuple[Float, Float]) -> tuple[Float, Float]:
        rooted = self.rooted and self.curved
        return a[0] + b[0], triangular_factor(np.vstack([a[1], b[1]])) if rooted else a[1] + b[1]


class NewtonStep(NamedTuple):
    """`-H^-1 g`, the slope of the loss along it, and whether every direction that has curvature was seen."""

    move: Float
    slope: float
    seen: bool
    steep: Float
    """The curvature along each weight, shaped as the weights, in the units of the rows."""
    chord: Callable[[Float], Float]
    """The step at other weights, by the curvature at these: it costs the gradient there alone."""


def newton_steps(objective: Objective, w: Float) -> Iterator[NewtonStep]:
    """Steps to the minimum of the quadratic at `w`, the most precise first, of minimum norm in units of curvature.

    Where `H` has lost too many digits, as it does where columns are far from zero, it is summed about the means of
    the columns, and where that is not enough, as it is not where they are nearly collinear, a root of it. Should
    rounding spoil a step, which may be long along a direction that is nearly flat, the next one is less precise.
    """
    H = objective.hessian(w)
    found = [_solved(H, objective.gradient(w).ravel())]
    found[0] = found[0]._replace(solve=partial(_as_given, objective, found[0].solve))
    if found[0].share < ILL or found[0].rank < w.size:
        expected = _expected_rank(objective)
        for rooted in _ways(objective, w):
            last = found[-1]
            if last.share >= ILL and last.rank >= expected:
                break
            better = _centred(objective, w, H, rooted)
            if last.share < ILL or better.rank > last.rank:
                found.append(better)
    else:
        expected = w.size
    for solved in reversed(found):
        move, steep = solved.move.reshape(w.shape), H.diagonal().reshape(w.shape)
        yield NewtonStep(move, solved.slope, solved.rank >= expected, steep, solved.solve)


def sampled_step(objective: Objective, w: Float) -> NewtonStep | None:
    """The step whose Hessian is that of a sample of very many rows; None where it has to be that of all."""
    if objective.sample is None:
        return None
    H = objective.sample.hessian(w)
    found = _solved(H, objective.gradient(w).ravel())
    seen = found.share >= ILL and (found.rank == w.size or found.rank >= _expected_rank(objective))
    chord = partial(_as_given, objective, found.solve)
    steep = H.diagonal().reshape(w.shape)
    return NewtonStep(found.move.reshape(w.shape), found.slope, True, steep, chord) if seen else None


def _as_given(objective: Objective, solve: Callable[[Float], Float], w: Float) -> Float:
    """The chord's step at `w`, from the gradient as it is."""
    return solve(objective.gradient(w).ravel()).reshape(w.shape)


def _expected_rank(objective: Objective) -> int:
    """The number of directions along which the loss is curved, but for rounding."""
    p, K = objective.shape[0], 1 if len(objective.shape) == 1 else objective.shape[1]
    if not objective.penalty.is_zero:
        return p * K - (objective.intercept and K > 1)  # a constant added to all intercepts
    return (p if objective.rank is None else objective.rank + objective.intercept) * max(K - 1, 1)


class _Solved(NamedTuple):
    """`-H^-1 g`, its product with `g`, the smallest share of the largest eigenvalue that counts, and how many do."""

    move: Float
    slope: float
    share: float
    rank: int
    solve: Callable[[Float], Float]
    """`-H^-1` of another gradient."""


def _solved(H: Float, g: Float) -> _Solved:
    """By the factor of `H` with a unit diagonal, or by its eigenvalues where it is small or near singular."""
    diagonal = H.diagonal()
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled, slopes = H / np.outer(scale, scale), g / scale
    found = _factored(scaled, slopes) if len(g) > FEW_WEIGHTS else None
    if found is None:
        values, V = np.linalg.eigh(scaled)
        found = _along(np.maximum(values, 0.0), V, slopes, 1e-13)
    solve = partial(_in_scale, found.solve, scale, diagonal > 0)
    return found._replace(move=np.where(diagonal > 0, found.move / scale, 0.0), solve=solve)


def _in_scale(solve: Callable[[Float], Float], scale: Float, curved: Array, g: Float) -> Float:
    return np.where(curved, solve(g / scale) / scale, 0.0)


def _factored(H: Float, g: Float) -> _Solved | None:
    """By Cholesky's factor, in about a tenth of the time; None where its condition (LAPACK's pocon) is in doubt."""
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(H, lower=1)
    if failed:
        return None
    share, _ = lapack.dpocon(factor, np.linalg.norm(H, 1), uplo="L")
    if share < ILL:
        return None
    move = _by_factor(factor, g)
    return _Solved(move, float(move @ g), share, len(g), partial(_by_factor, factor))


def _by_factor(factor: Float, g: Float) -> Float:
    from scipy.linalg import lapack

    solved, _ = lapack.dpotrs(factor, g, lower=1)
    return np.asarray(-solved)


def _along(values: Float, V: Float, g: Float, least: float) -> _Solved:
    """From eigenvalues and eigenvectors; those below a share of `least` count as zero."""
    largest = max(float(values.max()), 1e-300)
    keep = values > largest * least * len(values)
    counted = np.where(keep, values, np.inf)
    along = V.T @ g
    share = float(values[keep].min(initial=largest)) / largest
    slope = -float((along / counted) @ along)
    solve = partial(_by_directions, counted, V)
    return _Solved(solve(g), slope, share, int(keep.sum()), solve)


def _by_directions(values: Float, V: Float, g: Float) -> Float:
    return -(V @ ((V.T @ g) / values))


def _ways(objective: Objective, w: Float) -> list[bool]:
    """What there is beside the Hessian: that about the means (False), and its root (True) of few enough rows."""
    session = objective.session
    here = session.has_rows and not (session.source.sparse or session.source.elsewhere)
    if not here or w.size > CENTRED_WEIGHTS:
        return []
    worth = objective.rows * w.size**2 * (w.size // len(w)) <= ROOT_WORK
    return [False] * bool(objective.intercept) + [True] * worth


def _centred(objective: Objective, w: Float, H: Float, rooted: bool) -> _Solved:
    """By the Hessian with respect to the weights of `X - mean`, or by the singular values of its root."""
    mean = _curvature_mean(objective, w, H)
    statistic = CentredDerivatives(objective.loss, mean, objective.intercept, rooted)
    g, second = _about_means(objective, statistic, w)
    ridge = objective.penalty_curvature(w)
    if rooted:
        A = np.vstack([second / np.sqrt(objective.weight), np.diag(np.sqrt(ridge))])
        scale = np.linalg.norm(A, axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        _, s, Vt = np.linalg.svd(A / scale, full_matrices=False)
        found = _along(np.square(s), Vt.T, g / scale, FLAT)
        solve = partial(_in_scale, found.solve, scale, scale > 0)
        found = found._replace(move=found.move / scale, solve=solve)
    else:
        found = _solved(second / objective.weight + np.diag(ridge), g)
    chord = partial(_chord_about_means, objective, found.solve, replace(statistic, curved=False))
    return found._replace(move=_of_all(objective, found.move.reshape(w.shape), mean), solve=chord)


def _about_means(objective: Objective, statistic: CentredDerivatives, w: Float) -> tuple[Float, Float]:
    """The gradient of the objective, raveled, and the second derivatives of the sum of losses, about the means."""
    g, second = objective.session.reduce(statistic, w)
    g = g.reshape(w.shape) / objective.weight
    objective.add_penalty(w, g)
    return g.ravel(), second


def _chord_about_means(
    objective: Objective, solve: Callable[[Float], Float], statistic: CentredDerivatives, w: Float
) -> Float:
    """The chord's step at `w`, from the gradient about the means, which has more digits."""
    g, _ = _about_means(objective, statistic, w)
    return _of_all(objective, solve(g).reshape(w.shape), statistic.mean)


def _of_all(objective: Objective, move: Float, mean: Float) -> Float:
    """A move of the weights of `X`, from that of those of `X - mean`, in place."""
    if objective.intercept:
        move[-1] -= mean @ move[:-1]
    return move


def _curvature_mean(objective: Objective, w: Float, H: Float) -> Float:
    """The mean of each column by each row's curvature, which the Hessian `H` tells; zeros without an intercept."""
    mean = np.zeros(len(w) - objective.intercept)
    if objective.intercept:
        border = np.einsum("ikk->i", H.reshape(len(w), -1, len(w), w.size // len(w))[:, :, -1])
        mean = border[:-1] / border[-1] if border[-1] > 0 else mean
    return mean


def root_about_means(objective: Objective, w: Float) -> tuple[Float, Float]:
    """`(A, mean)` with `A' A` the Hessian at `w` of the total loss by the weights of `X - mean`, raveled.

    No mean is taken off where the Hessian has kept its digits; where it has not, it is summed about the means, and
    where that is not enough a root of it, by QR. No penalty.
    """
    H = objective.hessian(w)
    A, certain = _root_of(H * objective.weight, objective)
    mean = np.zeros(len(w) - objective.intercept)
    for rooted in [] if certain else _ways(objective, w):
        mean = _curvature_mean(objective, w, H)
        statistic = CentredDerivatives(objective.loss, mean, objective.intercept, rooted)
        second = objective.session.reduce(statistic, w)[1]
        A, certain = (second, True) if rooted else _root_of(second, objective)
        if certain:
            break
    return A, mean


def _root_of(H: Float, objective: Objective) -> tuple[Float, bool]:
    """An `A` with `A' A = H`, by the eigenvalues of `H` with a unit diagonal, and whether none is lost in rounding."""
    scale = np.sqrt(np.where(H.diagonal() > 0, H.diagonal(), 1.0))
    values, V = np.linalg.eigh(H / np.outer(scale, scale))
    values[values <= 1e-13 * len(values) * max(float(values[-1]), 1e-300)] = 0.0
    common = objective.shape[0] if len(objective.shape) == 2 and objective.loss.only_differences else 0
    certain = len(values) > common and values[common] >= ILL * values[-1]
    return np.asarray(np.sqrt(values)[:, None] * V.T * scale), bool(certain)


def newton_decrement(objective: Objective, w: Float) -> float:
    """About how far the loss is above its minimum: `g' H^-1 g / 2`, what a Newton step would gain.

    Boyd and Vandenberghe, Convex Optimization, 9.5.1. Infinity where that is not
    known: where rounding hides directions along which there may be more to gain, and where next to nothing
    seems to be gained by a step that changes predictions of classes much. The curvature of a row changes by a
    factor of up to `exp(|change of z|)`, so that rows far away may make a plateau that is no minimum. Bach,
    Self-concordant analysis for logistic regression (2010), section 2.
    """
    step = objective.newton_step(w)
    gain = -0.5 * step.slope
    negligible = NEGLIGIBLE * objective.deviance(objective.value(w))
    certain = step.seen and (gain > negligible or _is_short(objective, w, step))
    return gain if certain else float("inf")


def _is_short(objective: Objective, w: Float, step: NewtonStep) -> bool:
    """Whether the step keeps to where the curvature is about that at `w`."""
    scale = objective.loss.curvature_scale
    if scale == np.inf or not objective.session.has_rows:
        return True
    units = objective.coordinates
    move = step.move if units is None else units.to_original(step.move)
    return float(objective.session.reduce(LargestMove(objective.intercept), move)[0]) <= SHORT * scale
