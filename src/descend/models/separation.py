"""Whether the classes of a classification can be told apart without a mistake, so that weights run to infinity.

Without a penalty such data has no optimum: every step further along a separating direction lowers the loss.
Newton's method finds the direction, and the rows certify it: each must lie on its class's side. Rows that can
be separated can be separated in every part, so a few leaves are enough to rule it out. Albert and Anderson,
On the Existence of Maximum Likelihood Estimates in Logistic Regression Models (Biometrika 1984).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from descend.descent.choose import NEWTON_LIMIT
from descend.descent.newton import CERTAIN, RISE, Newton, ahead, balanced
from descend.engines.blocks import Block
from descend.engines.engine import Session, SomeLeaves
from descend.engines.matrix import Float
from descend.objectives.curvatures import Receding
from descend.objectives.newton_steps import SHORT
from descend.objectives.objective import Objective
from descend.objectives.penalties import L2
from descend.objectives.statistics import Extremes, LargestMove, Margins, Reach

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding

STEPS, MORE, SAMPLED_LEAVES, HALVINGS = 40, 20, 4, 30
NEAR = 0.005
FIRST_LOOK = 12
"""The step from which on the next one is looked at."""
PART, FAR, MOST_CLASSES = 1e-6, 80.0, 100
"""The least part in a direction that counts, the margin from which on a row's loss does not, and classes compared."""


@dataclass(frozen=True)
class Separation:
    """`kind` is "perfect" (every row on its side), "partial" (none on the wrong one) or "near"."""

    kind: str
    direction: Float
    """The weights, or the move of the weights, that separates."""
    mistakes: int
    """Rows on the wrong side."""


@dataclass(frozen=True, slots=True)
class Unshifted:
    """A statistic of rows without their offset."""

    statistic: Any

    def of(self, block: Block, params: Any = None) -> Any:
        return self.statistic.of(replace(block, offset=None), params)

    def merge(self, a: Any, b: Any) -> Any:
        return self.statistic.merge(a, b)


class WithoutOffset(SomeLeaves):
    """A session over the rows of another without their offset."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, ())

    def reduce(self, statistic: Any, params: Any = None, leaves: Any = None) -> Any:
        return self.session.reduce(Unshifted(statistic), params, leaves)


def settled(objective: Objective, way: Receding, w: Float) -> Float:
    """The weights far along a direction in which some rows are separated, where the others have come to their limits.

    The rows that are separated then count for nothing: the others are fitted as if those were left out.
    """
    reach = Reach(objective.loss, objective.intercept, way.tied, FAR)

    def far(w: Float) -> Float:
        return w + float(objective.session.reduce(reach, np.stack([w, way.direction]))[0]) * way.direction

    began, w = w, far(way.others(w))
    for _ in range(STEPS):
        step = objective.newton_step(w)
        found = ahead(objective, w, step, way.others(step.move))
        if found.share <= CERTAIN:
            return w
        loss = objective.value(w)
        most = loss + RISE * objective.magnitude(loss)
        halved = (found.move / 2.0**half for half in range(HALVINGS))
        ways = (far(w + move) for move in halved)  # a move may take separated rows back with it
        there = next((there for there in ways if objective.value(there) <= most), None)
        if there is None:
            break
        w = there
    return w if objective.value(w) <= objective.value(began) else began


def splitting(objective: Objective) -> list[int]:
    """The dense columns that tell all classes apart by themselves: their values do not overlap."""
    K = objective.shape[1] if len(objective.shape) == 2 else 2
    if K > MOST_CLASSES:
        return []
    extremes = objective.session.reduce(Extremes(K))
    low, high = np.sort(-extremes[:, 0], axis=0), np.sort(extremes[:, 1], axis=0)
    return np.flatnonzero((high[:-1] < low[1:]).all(axis=0)).tolist()


def separators(
    part: Float, names: Sequence[str], encoding: Encoding | None, intercept: bool
) -> tuple[str, ...]:
    """The columns, and of a table the levels, that have a part in a direction: those with the largest first."""
    size = np.abs(part).reshape(len(part), -1).max(axis=1)
    least = PART * float(size.max())
    columns = size[: len(names)]
    if encoding is None:
        return tuple(names[i] for i in np.argsort(-columns, kind="stable") if columns[i] > least)
    dense = len(names) - sum(len(c.dummies) for c in encoding.categories)
    found = [(columns[i], names[i]) for i in range(dense) if columns[i] > least]
    effects, at, several = part.reshape(len(part), -1), dense, []
    for category in encoding.categories:
        own = np.zeros((len(category.levels), effects.shape[1]))
        own[[level in category.dummies for level in category.levels]] = effects[
            at : at + len(category.dummies)
        ]
        at += len(category.dummies)
        if np.abs(own).max(initial=0.0) > least:
            several.append((category, own))
    for category, own in several:
        same = np.abs(own[:, None] - own).max(axis=2) <= least
        base = own[np.argmax(same @ np.array(category.shares))]  # that of most rows
        if intercept and not found and len(several) == 1:
            alone = np.abs(own + effects[-1]).max(axis=1) <= least  # rows that are not told apart
            base = -effects[-1] if alone.any() else base
        far = np.abs(own - base).max(axis=1)
        found += [
            (float(size), f"{category.name}={level}")
            for level, size in zip(category.levels, far, strict=True)
            if size > least
        ]
    return tuple(name for _, name in sorted(found, key=lambda pair: -pair[0]))


def separation(objective: Objective) -> Separation | None:
    """The separation of a classification's rows, None where there is none; a few passes at most where it is ruled out."""
    session = objective.session
    if not session.has_rows or int(np.prod(objective.shape)) > NEWTON_LIMIT:
        return None
    sampled = session.source.leaf_count > SAMPLED_LEAVES
    part: Session = SomeLeaves(session, range(SAMPLED_LEAVES)) if sampled else session
    if part.reduce(Margins(objective.loss, objective.intercept), objective.zeros()) is None:
        part, sampled = session, False  # the first leaves hold no row
    found, w = _search(objective, part)
    if sampled and found is not None:
        whole = Receding.along(objective, found.direction)
        found, w = _search(objective, session) if whole is None else (replace(found, kind=whole.kind), w)
    if found is not None:
        return found
    if not objective.loss.has_classes:
        return None
    wrong, rows = session.reduce(Margins(objective.loss, objective.intercept), w)[2:]
    return Separation("near", w, int(wrong)) if wrong <= NEAR * rows else None


def receding(objective: Objective, w: Float, evenly: bool) -> Receding | None:
    """The direction in which weights `w` run to infinity, where a walk has ended; None where there is none.

    A walk that goes `evenly`, as Newton's does, shows every weight that runs in its next step; of another, which may be
    far gone in one direction, the others may not be seen, and Newton's method goes there again.
    """
    if objective.session.reduce(Margins(objective.loss, objective.intercept), w)[0] > 0:
        return Receding.along(objective, w)
    way = _next(objective, w) if w.size <= NEWTON_LIMIT else None
    if way is not None and evenly:
        return way
    found = separation(objective)
    return way if found is None or found.kind == "near" else Receding.along(objective, found.direction)


def _next(objective: Objective, w: Float) -> Receding | None:
    """The direction of the Newton step at `w`."""
    return Receding.along(objective, balanced(objective, objective.newton_step(w).move.copy()))


def _search(objective: Objective, session: Session) -> tuple[Separation | None, Float]:
    """Newton without a penalty until it converges or the rows certify a direction; the last weights too."""
    outputs = objective.shape[1] if len(objective.shape) == 2 else None
    session = WithoutOffset(session) if session.source.has_offset else session  # which separates nothing
    free = Objective.over(
        session, loss=objective.loss, penalty=L2(0.0), intercept=objective.intercept, outputs=outputs
    )
    newton, w, before = Newton(), free.zeros(), np.inf
    for number in range(STEPS):
        update = newton.step(free, w, None)
        gain = free.value(w) - free.value(update.weights)
        w = update.weights
        if update.stalled or gain <= 1e-14 or (gain < 1e-3 * before and gain < 1e-8):
            break
        before = gain
        if number >= 2 and session.reduce(Margins(objective.loss, objective.intercept), w)[0] > 0:
            return Separation("perfect", w, 0), w
        if number >= FIRST_LOOK and (number - FIRST_LOOK) % 4 == 0 and (way := _next(free, w)) is not None:
            return Separation(way.kind, way.direction, 0), w
    for _ in range(MORE):  # where losses no longer tell how long a step should be
        move = balanced(free, free.newton_step(w).move.copy())
        if (way := Receding.along(free, move)) is not None:
            return Separation(way.kind, way.direction, 0), w
        if session.reduce(LargestMove(objective.intercept), move)[0] <= SHORT:
            break
        w = w + move
    return None, w
