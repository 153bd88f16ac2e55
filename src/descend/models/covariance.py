"""How far the coefficients of a converged fit without a penalty may be off by chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from descend.engines.matrix import Float
from descend.objectives.objective import Objective
from descend.objectives.statistics import DevianceSum

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding

MOST_WEIGHTS = 512
"""Up to so many weights the Hessian is inverted."""


def standard_errors(objective: Objective, w: Float, encoding: Encoding | None) -> dict[str, Any] | None:
    """The standard error of each weight in original units, `(intercept)` last; `w` is at the minimum.

    Squared error: the roots of the diagonal of `s**2 (X'X)^-1` with `s**2 = RSS / (n - p)`. Other losses: of
    `Objective.covariance`, the observed information of a likelihood and the sandwich where there is none. With several
    classes they belong to the differences to the first class, a tuple over the others. None where there is a
    penalty, where columns are collinear, or where weights are very many. McCullagh and Nelder, Generalized Linear
    Models, 2.5 and 4.4.
    """
    if not objective.penalty.is_zero or w.size > MOST_WEIGHTS or not objective.session.has_rows:
        return None
    C = objective.covariance(w)
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
    m = objective.moments if objective.exact else None
    if m is None:
        return None
    about = m.cross if objective.intercept else m.uncentred()
    return float(about[-1, -1] / objective.weight)


def deviance(objective: Objective, w: Float) -> dict[str, float] | None:
    """The deviance and Pearson's chi-squared at `w`, which take a pass.

    None under a penalty, of classes, and of losses without a likelihood, which take no variance for granted.
    """
    loss = objective.loss
    wanted = loss.likelihood and not loss.has_classes and w.ndim == 1 and objective.penalty.is_zero
    if not wanted or not objective.session.has_rows:
        return None
    total, pearson = objective.session.reduce(DevianceSum(loss, objective.intercept), w).tolist()
    found = {"deviance": total, "pearson": pearson}
    return found if all(map(math.isfinite, found.values())) else None


def _to_original_units(encoding: Encoding, size: int) -> Float:
    """The matrix that turns weights of the descent into coefficients."""
    units, centres = encoding.units
    A = np.eye(size)
    A[: len(units), : len(units)] = np.diag(1.0 / units)
    if encoding.intercept:
        A[-1, : len(units)] = -centres / units
    return A
