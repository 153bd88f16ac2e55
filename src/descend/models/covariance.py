"""How far the weights of a minimum may be off by chance: their covariance, classical, robust or by cluster."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from descend.engines.matrix import Float, Matrix
from descend.engines.moments import triangular_factor
from descend.errors import DescendError
from descend.models.sandwich import ClusterScores, ScoreProducts, Scores, about
from descend.objectives.curvatures import Information
from descend.objectives.objective import Objective
from descend.objectives.statistics import CurvedRows

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding

MOST_WEIGHTS, MOST_MOMENTS, MOST_KEPT = 512, 2_048, 512
"""Up to so many weights the Hessian is inverted, that of squared error; and a model file keeps the covariance."""
ALIASED = 1e-6
"""A combination of weights with more than this share along flat directions is one that the rows do not tell."""
KINDS = {
    "classical": "classical ones: all rows vary alike, as the loss takes for granted",
    "hc0": "robust ones (HC0), by the sandwich formula, which takes no distribution for granted",
    "hc1": "robust ones (HC1), by the sandwich formula times rows / (rows - weights)",
    "hc2": "robust ones (HC2), by the sandwich formula, each residual scaled up by its leverage",
    "hc3": "robust ones (HC3), by the sandwich formula, each residual scaled up twice by its leverage",
    "cluster": "clustered ones, by the sandwich formula: rows of one cluster may vary together",
}
POWERS = {"hc0": 0.0, "hc1": 0.0, "hc2": 0.5, "hc3": 1.0}


@dataclass(frozen=True)
class ErrorKind:
    """Which standard errors are wanted, and what sample weights are.

    `kind` is one of `KINDS`, or None for those that the loss allows: classical ones of squared error and of a
    likelihood, else HC0. With `frequencies` a sample weight counts rows; else it is the precision of one row.
    `made_up` weights, of classes for example, say nothing about how rows vary: then the sandwich is taken. Raises
    `DescendError` for a kind that there is not.
    """

    kind: str | None = None
    frequencies: bool = False
    made_up: bool = False

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise DescendError(f"`errors` must be None, {', '.join(map(repr, KINDS))}, got {self.kind!r}.")

    def of(self, objective: Objective) -> str:
        """The kind that is taken for this objective."""
        if self.kind is not None:
            return self.kind
        if objective.session.source.has_cluster:
            return "cluster"
        loss = objective.loss
        return "classical" if (loss.likelihood or loss.closed_form) and not self.made_up else "hc0"


@dataclass(frozen=True)
class Uncertainty:
    """The covariance of the weights of the descent, kept as a root about the means of the columns.

    Of raveled weights `v` of `X - mean`, the intercept last: `root.T @ root`, shape (weights, weights). Along the columns
    of `unseen`, in the units of `v * scale`, the rows tell nothing. `freedom` is that of t and F statistics, None
    where they are z and chi-squared.
    """

    kind: str
    intercept: bool
    mean: Float
    scale: Float
    root: Float
    unseen: Float
    rank: int
    freedom: float | None = None
    fitted: int = 0
    """Rows of leverage 1, which HC2 and HC3 leave out."""
    clusters: int | None = None
    curved: int | None = None
    """Rows that bend the loss at the weights, where not all of them do."""
    endless: Float | None = None
    """Directions of `v`, as rows, along which weights have no limit: classes are separated there."""

    def about_means(self, L: Float) -> Float:
        """Combinations `L` of the weights, shape (combinations, weights), as those of weights of `X - mean`."""
        p = len(self.mean)
        if self.intercept:
            L = L.reshape(len(L), p + 1, -1).copy()
            L[:, :p] -= self.mean[:, None] * L[:, p:]
        return L.reshape(len(L), -1)

    def estimable(self, L: Float) -> Any:
        """Which combinations `L`, about the means, the rows tell: a mask."""
        found: Any = np.ones(len(L), dtype=bool)
        if self.endless is not None:
            least = ALIASED * (np.abs(L) @ np.abs(self.endless).T)
            found = (np.abs(L @ self.endless.T) <= least).all(axis=1)
        L = L / self.scale
        along = np.linalg.norm(L @ self.unseen, axis=1)
        return found & (along <= ALIASED * np.linalg.norm(L, axis=1))

    def covariance(self, L: Float) -> Float:
        """The covariance of the combinations `L` of the weights; NaN of those that the rows do not tell."""
        L = self.about_means(L)
        R = self.root @ L.T
        C = np.asarray(R.T @ R)
        aliased = ~self.estimable(L)
        C[aliased], C[:, aliased] = np.nan, np.nan
        return C

    def errors(self, L: Float) -> Float:
        """The standard errors of the combinations `L`; NaN of those that the rows do not tell."""
        L = self.about_means(L)
        found = np.linalg.norm(self.root @ L.T, axis=0)
        return np.asarray(np.where(self.estimable(L), found, np.nan))

    def of_rows(self, X: Matrix) -> Float:
        """The standard error of the linear predictor of each row of `X`, of one output; NaN where it is not told."""
        return np.concatenate(
            [np.empty(0), *(self._of(piece) for piece in about(X, self.mean, self.intercept))]
        )

    def _of(self, X: Float) -> Float:
        found = np.linalg.norm(X @ self.root.T, axis=1)
        return np.asarray(np.where(self.estimable(X), found, np.nan))

    def without(self, directions: Float) -> Uncertainty:
        """The same of weights that have no limit along some `directions`, shape (directions, *weights): these are not told."""
        p = len(self.mean)
        found = directions.reshape(len(directions), p + self.intercept, -1).copy()
        if self.intercept:
            found[:, p] += np.einsum("j,ijk->ik", self.mean, found[:, :p])
        return replace(self, endless=found.reshape(len(found), -1))

    def told(self) -> dict[str, Any]:
        """What a summary says of it."""
        told = {"kind": self.kind, "freedom": self.freedom, "rank": self.rank, "curved": self.curved}
        told |= {"clusters": self.clusters, "fitted": self.fitted or None}
        return {k: v for k, v in told.items() if v is not None or k == "freedom"}

    def to_dict(self) -> dict[str, Any]:
        """As plain values for a model file, arrays in base64."""
        plain = {k: v for k, v in vars(self).items() if v is not None}
        return plain | {k: _packed(v) for k, v in plain.items() if isinstance(v, np.ndarray)}

    @staticmethod
    def from_dict(told: dict[str, Any]) -> Uncertainty:
        """What `to_dict` gave. Raises `ValueError` where it does not hold together."""
        given: dict[str, Any] = {k: _unpacked(v) if isinstance(v, dict) else v for k, v in told.items()}
        return Uncertainty(**given)


def reach_of(level: float, freedom: float | None) -> float:
    """How many standard errors to each side hold a share `level` of chance: of t with `freedom`, or normal for None.

    Raises `DescendError` for a `level` that is none.
    """
    from scipy.special import ndtri, stdtrit

    if not 0 < level < 1:
        raise DescendError(f"`level` must be between 0 and 1, 0.95 for example, got {level!r}.")
    tail = (1.0 + level) / 2.0
    return float(ndtri(tail) if freedom is None else stdtrit(freedom, tail))


def _packed(array: Float) -> dict[str, Any]:
    content = base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode()
    return {"shape": list(array.shape), "float64": content}


def _unpacked(told: dict[str, Any]) -> Float:
    return np.frombuffer(base64.b64decode(told["float64"]), dtype="<f8").reshape(told["shape"]).copy()


def uncertainty(objective: Objective, w: Float, errors: ErrorKind) -> Uncertainty | None:
    """How far weights at the minimum `w` may be off by chance; None under a penalty, or of very many weights.

    Classical: the inverse information, of squared error `s**2 (X'X)^-1` with `s**2 = RSS / (rows - rank)`. Else the
    sandwich `H^-1 M H^-1`. McCullagh and Nelder, Generalized Linear Models (1989), 2.5 and 4.4; Huber, The behavior of
    maximum likelihood estimates under nonstandard conditions (1967).
    """
    most = MOST_MOMENTS if objective.exact else MOST_WEIGHTS
    if not objective.penalty.is_zero or w.size > most or not objective.session.has_rows:
        return None
    found, kind = objective.information(w), errors.of(objective)
    rows = counted(objective, errors.frequencies)
    left = rows - found.rank
    if left <= 0 and (objective.loss.closed_form or kind != "classical"):
        return None
    if kind == "classical":
        root, fitted, clusters = found.inverse_root, 0, None
        if objective.loss.closed_form:
            root = root * math.sqrt(2.0 * objective.value(w) * objective.weight / left)
    else:
        root, fitted, clusters = _sandwich(objective, w, found, kind, errors.frequencies, rows)
    curved = None
    if not objective.loss.curved:
        curved = int(objective.session.reduce(CurvedRows(objective.loss, objective.intercept), w)[0])
    freedom = (left if clusters is None else clusters - 1) if objective.loss.closed_form else None
    return Uncertainty(
        kind,
        objective.intercept,
        found.mean,
        found.scale,
        root,
        found.unseen,
        found.rank,
        freedom,
        fitted,
        clusters,
        curved,
    )


def counted(objective: Objective, frequencies: bool) -> float:
    """How many rows there are: those of positive weight, or the sum of weights that count rows."""
    return objective.weight if frequencies else objective.rows


def _sandwich(
    objective: Objective, w: Float, found: Information, kind: str, frequencies: bool, rows: float
) -> tuple[Float, int, int | None]:
    """A root of the covariance, the rows that it leaves out, and the number of clusters."""
    scores = Scores(objective.loss, objective.intercept, found.mean, found.inverse_root)
    clusters = None
    if kind == "cluster":
        sums = objective.session.reduce(ClusterScores(scores), w).sums
        clusters, fitted = len(sums), 0
        if clusters < 2:
            raise DescendError(
                "clustered errors need two clusters at least, and the training rows are of one."
            )
        factor = clusters / (clusters - 1) * (rows - 1) / (rows - found.rank)
        meat = sums if clusters <= found.rank else triangular_factor(sums)
    else:
        if w.ndim == 2 and POWERS[kind]:
            raise DescendError(
                f'`errors` "{kind}" is one of a single prediction a row; with several take "hc1" or clusters.'
            )
        meat, fitted = objective.session.reduce(ScoreProducts(scores, POWERS[kind], frequencies), w)
        factor = rows / (rows - found.rank) if kind == "hc1" else 1.0
    return math.sqrt(factor) * meat @ found.inverse_root, fitted, clusters


def coefficients_of(weights: Float, encoding: Encoding | None) -> Float:
    """Combinations `L` of raveled `weights` that are the coefficients in original units, the intercept last.

    Of several classes those of each class less the first's, class by class.

    >>> coefficients_of(np.zeros(2), None).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    p = len(weights)
    A = np.eye(p)
    if encoding is not None:
        units, centres = encoding.units
        A[: len(units), : len(units)] = np.diag(1.0 / units)
        if encoding.intercept:
            A[-1, : len(units)] = -centres / units
    if weights.ndim == 1:
        return A
    K = weights.shape[1]
    against = np.column_stack([-np.ones(K - 1), np.eye(K - 1)])
    L: Float = np.einsum("ip,ck->cipk", A, against).reshape((K - 1) * p, p * K)
    return L


@dataclass(frozen=True)
class Covariance:
    """The covariance of the coefficients in original units: `matrix`, shape (coefficients, coefficients).

    `names` has one for each; of several classes a coefficient is the difference to the first class. NaN belongs to
    coefficients that the rows do not tell from others. `kind` is that of the errors, `freedom` the degrees of
    freedom of t statistics, None where they are z. `np.asarray` gives the matrix.
    """

    names: tuple[str, ...]
    matrix: Float
    kind: str
    freedom: float | None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Float:
        return np.array(self.matrix, dtype=dtype)

    @property
    def standard_errors(self) -> Float:
        """The roots of the diagonal."""
        return np.asarray(np.sqrt(self.matrix.diagonal()))


def standard_errors(
    found: Uncertainty | None, weights: Float, names: Sequence[str], encoding: Encoding | None
) -> dict[str, Any] | None:
    """The standard error of each coefficient in original units, named; NaN of one that the rows do not tell.

    With several classes they belong to the differences to the first class, a tuple over the others.
    """
    if found is None:
        return None
    errors = found.errors(coefficients_of(weights, encoding))
    if weights.ndim == 1:
        return dict(zip(names, errors.tolist(), strict=True))
    return dict(zip(names, map(tuple, errors.reshape(-1, len(names)).T.tolist()), strict=True))
