"""How far the coefficients of a converged fit without a penalty may be off by chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from descend.engines.matrix import Float
from descend.objectives.objective import Objective, Quadratic
from descend.tables.encoding import Encoding

MOST_WEIGHTS = 512
"""Up to so many weights the Hessian is inverted."""


def standard_errors(objective: Objective, w: Float, encoding: Encoding | None) -> dict[str, Any] | None:
    """The standard error of each weight in original units, `(intercept)` last; `w` is at the minimum.

    Squared error: the roots of the diagonal of `s**2 (X'X)^-1` with `s**2 = RSS / (n - p)`. Other losses:
    of the inverse Hessian of the total loss, the observed information. With several classes they belong to
    the differences to the first class, a tuple over the others. None where there is a penalty, where
    columns are collinear, or where weights are very many. McCullagh and Nelder, Generalized Linear Models,
    2.5 and 4.4.
    """
    if not objective.penalty.is_zero or w.size > MOST_WEIGHTS or objective.session is None:
        return None
    C = _covariance(objective, w)
    if C is None:
        return None
    names = encoding.feature_names if encoding else objective.session.source.feature_names
    names = (*names, *(["(intercept)"] if objective.intercept else []))
    A = np.eye(len(w)) if encoding is None else _to_original_units(encoding, len(w))
    if w.ndim == 1:
        errors = np.sqrt(np.maximum(((A @ C) * A).sum(axis=1), 0.0))
        return dict(zip(names, errors.tolist(), strict=True))
    K = w.shape[1]
    C = C.reshape(len(w), K, len(w), K)
    columns = []
    for k in range(1, K):
        D = C[:, k, :, k] + C[:, 0, :, 0] - C[:, k, :, 0] - C[:, 0, :, k]
        columns.append(np.sqrt(np.maximum(((A @ D) * A).sum(axis=1), 0.0)))
    return dict(zip(names, map(tuple, np.column_stack(columns).tolist()), strict=True))


def total_variance(objective: Objective) -> float | None:
    """The mean square of the target, about its mean where there is an intercept; None but of squared error."""
    if not isinstance(objective, Quadratic):
        return None
    about = objective.moments.cross if objective.intercept else objective.moments.uncentred()
    return float(about[-1, -1] / objective.weight)


def _covariance(objective: Objective, w: Float) -> Float | None:
    """The covariance of the weights of the descent, raveled; None where it does not exist."""
    if isinstance(objective, Quadratic):
        return _of_least_squares(objective)
    values, V = np.linalg.eigh(objective.hessian(w))
    redundant = len(w) if w.ndim == 2 else 0  # softmax: a constant added to the weights of all classes
    if values[redundant] <= 1e-12 * values[-1]:
        return None
    kept = V[:, redundant:]
    return np.asarray((kept / values[redundant:]) @ kept.T / objective.weight)


def _of_least_squares(q: Quadratic) -> Float | None:
    """`s**2 (X'X)^-1` from the inverse of the factor; the intercept is the mean's, less X's share."""
    columns = q.solution.size
    freedom = q.rows - q.shape[0]
    if freedom <= 0 or (q.rank or 0) < columns:
        return None
    scale = np.linalg.norm(q.factor, axis=0)  # columns of one length lose the fewest digits
    inverse = np.linalg.inv(q.factor / scale) / scale[:, None]
    C = inverse @ inverse.T
    if q.intercept:
        m = (q.moments.mean + q.moments.mean_low)[:-1]
        border = -C @ m
        corner = np.array([[1.0 / q.weight - m @ border]])
        C = np.block([[C, border[:, None]], [border[None, :], corner]])
    return np.asarray(q.minimum * q.weight / freedom * C)


def _to_original_units(encoding: Encoding, size: int) -> Float:
    """The matrix that turns weights of the descent into coefficients."""
    units, centres = encoding.units
    A = np.eye(size)
    A[: len(units), : len(units)] = np.diag(1.0 / units)
    if encoding.intercept:
        A[-1, : len(units)] = -centres / units
    return A
