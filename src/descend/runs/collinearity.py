"""Columns that are exact combinations of others, found from cross products and told in the data's own units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from descend.descent.choose import NEWTON_LIMIT
from descend.engines.matrix import Float
from descend.engines.moments import DenseMoments, Moments
from descend.objectives.least_squares import FACTOR_COLUMNS
from descend.objectives.objective import Objective

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding

TOLERANCE = 1e-10
"""A column whose variance given the others is below this share of its own is a combination of them."""

MOST_TERMS, MOST_NAMED = 5, 5


@dataclass(frozen=True)
class Relation:
    """`name = sum(coefficient * other) + constant`, which holds in every row.

    >>> print(Relation("total", (("first", 1.0), ("second", -2.5)), 0.0))
    `total` = `first` - 2.5 `second`
    """

    name: str
    terms: tuple[tuple[str, float], ...]
    constant: float

    @property
    def is_equality(self) -> bool:
        """Whether two columns are the same."""
        return not self.constant and [coefficient for _, coefficient in self.terms] == [1.0]

    def __str__(self) -> str:
        if len(self.terms) > MOST_TERMS:
            listed = ", ".join(f"`{name}`" for name, _ in self.terms[:MOST_TERMS])
            return f"`{self.name}` is a combination of {len(self.terms)} columns, {listed} among them"
        words = [_term(coefficient, f"`{name}`") for name, coefficient in self.terms]
        if self.constant or not words:
            words.append(f"{'-' if self.constant < 0 else '+'} {abs(self.constant):.6g}")
        return f"`{self.name}` = {' '.join(words).removeprefix('+ ')}"


def relations(
    moments: Moments,
    names: Sequence[str],
    units: Float,
    centres: Float,
    *,
    intercept: bool = True,
    among: Sequence[int] | None = None,
) -> list[Relation]:
    """The relations among columns `X` whose moments are given, `centre + unit * x` being in the data's units.
    `among` are the columns to look at, all unless given.

    With an intercept a column may also be a combination and a constant. A pivoted Cholesky factor of the
    correlations finds a basis (Golub and Van Loan, Matrix Computations, 4.2.8); every other column has
    one relation to it, told of its largest column.
    """
    from scipy.linalg import lapack, solve_triangular

    S = (moments.cross if intercept else moments.uncentred())[:-1, :-1] / moments.weight
    scale = np.sqrt(np.maximum(S.diagonal(), 0.0))
    varied = np.arange(len(scale)) if among is None else np.asarray(among, dtype=np.intp)
    varied = varied[scale[varied] > 0]
    C = S[np.ix_(varied, varied)] / np.outer(scale[varied], scale[varied])
    factor, pivots, rank, _ = lapack.dpstrf(C, lower=0, tol=TOLERANCE)
    order = varied[pivots - 1]
    if rank == len(order):
        return []
    factor = np.triu(factor)
    B = solve_triangular(factor[:rank, :rank], factor[:rank, rank:])
    size, means = scale * units, centres + units * (moments.mean + moments.mean_low)[:-1]
    found = []
    for k in range(B.shape[1]):
        weights = dict(zip(order[:rank].tolist(), B[:, k].tolist(), strict=True))
        found.append(_relation(int(order[rank + k]), weights, names, size, means, intercept))
    return found


def _relation(
    column: int, weights: dict[int, float], names: Sequence[str], size: Float, means: Float, intercept: bool
) -> Relation:
    """`column = sum(weight * other)` in standard deviations, solved for one of the largest.

    That is the first with whole coefficients, if there is one: 100 hours and minutes, no hundredths.
    """
    zero = {column: -1.0} | {i: b for i, b in weights.items() if abs(b) > 1e-6}
    largest = max(abs(b) for b in zero.values())
    solved = [
        (left, {i: _tidy(-b / lead * size[left] / size[i]) for i, b in sorted(zero.items()) if i != left})
        for left, lead in sorted(zero.items(), key=lambda term: (-round(abs(term[1]), 9), term[0] != column))
        if abs(lead) > 0.5 * largest
    ]
    left, terms = next((one for one in solved if all(b == round(b) for b in one[1].values())), solved[0])
    constant = float(means[left] - sum(b * means[i] for i, b in terms.items())) if intercept else 0.0
    if abs(constant) <= 1e-6 * max(float(size[left]), *(abs(b * means[i]) for i, b in terms.items()), 0.0):
        constant = 0.0
    return Relation(names[left], tuple((names[i], b) for i, b in terms.items()), _tidy(constant))


def _tidy(number: float) -> float:
    """A number less the rounding of a long sum: 99.99999999998 is 100."""
    return float(f"{number:.7g}")


def _term(coefficient: float, name: str) -> str:
    size = abs(coefficient)
    return f"{'-' if coefficient < 0 else '+'} {'' if size == 1 else f'{size:.6g} '}{name}"


def collinear_note(found: Sequence[Relation], penalised: bool, nearly: bool = False) -> str:
    """A sentence on the relations, the first few of them in full; `nearly` where they do not hold to the last digit."""
    same: dict[str, list[str]] = {}
    for relation in found:
        if relation.is_equality:
            same.setdefault(relation.terms[0][0], [f"`{relation.terms[0][0]}`"]).append(f"`{relation.name}`")
    told = [str(relation) for relation in found if not relation.is_equality]
    told += [" = ".join(names) for names in same.values()]
    listed = "; ".join(told[:MOST_NAMED])
    more = f"; and {len(told) - MOST_NAMED:,} more" if len(told) > MOST_NAMED else ""
    then = "the penalty decides among them" if penalised else "one choice of them is taken"
    if nearly:
        return f"nearly collinear columns: {listed}{more}, but for small differences, which alone tell their weights apart"
    return f"collinear columns: {listed}{more}. Many weights predict alike; {then}"


def collinear_notes(objective: Objective, names: Sequence[str], encoding: Encoding | None) -> list[str]:
    """A note on the columns that are combinations of others; `encoding` is that of a table, whose units are told.

    Of arrays only where it costs no pass.
    """
    columns = len(names)
    among = list(range(columns)) if encoding is None else encoding.independent
    units, centres = (np.ones(columns), np.zeros(columns)) if encoding is None else encoding.units
    rank = objective.rank if objective.exact else None
    if (not rank and encoding is None) or (rank is not None and rank >= len(among)):
        return []
    moments = objective.moments if objective.exact or len(among) <= NEWTON_LIMIT else None
    if moments is None:  # dummies are many: look at numbers and flags only
        moments = objective.session.reduce(DenseMoments())
        among = list(range(len(moments.mean) - 1))
    dense = len(moments.mean) - 1
    found = relations(
        moments, names, units[:dense], centres[:dense], intercept=objective.intercept, among=among
    )
    nearly = bool(found) and not objective.exact and dense <= FACTOR_COLUMNS and objective.rank == len(among)
    return [collinear_note(found, not objective.penalty.is_zero, nearly)] if found else []
