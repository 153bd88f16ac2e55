"""Whether the classes of a classification can be told apart without a mistake, so that weights run to infinity.

Without a penalty such data has no optimum: every step further along a separating direction lowers the loss.
Newton's method finds the direction, and the rows certify it: each must lie on its class's side. Rows that can
be separated can be separated in every part, so a few leaves are enough to rule it out. Albert and Anderson,
On the Existence of Maximum Likelihood Estimates in Logistic Regression Models (Biometrika 1984).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descend.descent.choose import NEWTON_LIMIT
from descend.descent.newton import Newton
from descend.engines.blocks import Block
from descend.engines.engine import Session, SomeLeaves
from descend.engines.matrix import Float
from descend.objectives.objective import Objective
from descend.objectives.penalties import L2
from descend.objectives.statistics import linear_predictor

STEPS, SAMPLED_LEAVES = 25, 4
NEAR = 0.005


@dataclass(frozen=True)
class Separation:
    """`kind` is "perfect" (every row on its side), "partial" (none on the wrong one) or "near"."""

    kind: str
    direction: Float
    """The weights, or the move of the weights, that separates."""
    mistakes: int
    """Rows on the wrong side."""


@dataclass(frozen=True, slots=True)
class Margins:
    """`[least margin, largest margin, rows on the wrong side, rows]`; a margin is how far a row is on its class's side."""

    intercept: bool
    """Whether the last weight is the intercept."""

    def of(self, block: Block, params: Float) -> Float:
        z = linear_predictor(Block(block.X, block.y), params, self.intercept)
        if z.ndim == 1:
            margins = np.where(block.y > 0.5, z, -z)
        else:
            rows, own = np.arange(len(z)), block.y.astype(np.intp)
            mine = z[rows, own]
            z[rows, own] = -np.inf
            margins = mine - z.max(axis=1)
        return np.array([margins.min(), margins.max(), np.count_nonzero(margins <= 0), len(margins)])

    def merge(self, a: Float, b: Float) -> Float:
        return np.array([min(a[0], b[0]), max(a[1], b[1]), a[2] + b[2], a[3] + b[3]])


def separation(objective: Objective) -> Separation | None:
    """The separation of a classification's rows, None where there is none; a few passes at most where it is ruled out."""
    session = objective.session
    if not session.has_rows or int(np.prod(objective.shape)) > NEWTON_LIMIT:
        return None
    sampled = session.source.leaf_count > SAMPLED_LEAVES
    part: Session = SomeLeaves(session, range(SAMPLED_LEAVES)) if sampled else session
    if part.reduce(Margins(objective.intercept), objective.zeros()) is None:
        part, sampled = session, False  # the first leaves hold no row
    found, w = _search(objective, part)
    if sampled and found is not None:
        whole = _certified(session, found.direction, objective.intercept)
        found, w = (whole, w) if whole is not None else _search(objective, session)
    if found is not None:
        return found
    wrong, rows = session.reduce(Margins(objective.intercept), w)[2:]
    return Separation("near", w, int(wrong)) if wrong <= NEAR * rows else None


def _search(objective: Objective, session: Session) -> tuple[Separation | None, Float]:
    """Newton without a penalty until it converges or the rows certify a direction; the last weights too."""
    outputs = objective.shape[1] if len(objective.shape) == 2 else None
    free = Objective.over(
        session, loss=objective.loss, penalty=L2(0.0), intercept=objective.intercept, outputs=outputs
    )
    newton, w, before = Newton(), free.zeros(), np.inf
    for number in range(STEPS):
        update = newton.step(free, w, None)
        move, gain = update.weights - w, free.value(w) - free.value(update.weights)
        w = update.weights
        if update.stalled or gain <= 1e-14 or (gain < 1e-3 * before and gain < 1e-8):
            break
        before = gain
        if number >= 2:
            found = _certified(session, w, objective.intercept)
            if found is not None and found.kind == "perfect":
                return found, w
    else:
        return _certified(session, move, objective.intercept), w
    return None, w


def _certified(session: Session, direction: Float, intercept: bool) -> Separation | None:
    least, most = session.reduce(Margins(intercept), direction)[:2]
    if least > 0:
        return Separation("perfect", direction, 0)
    if most > 0 and least >= -1e-6 * most:
        return Separation("partial", direction, 0)
    return None
