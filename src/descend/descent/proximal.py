"""Proximal gradient descent: for penalties with kinks, such as L1, whose minimum lies on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from descend.descent.backtracking import UNTOLD
from descend.descent.first_order import Optimizer, Update
from descend.descent.newton import CERTAIN, Ahead, balanced
from descend.descent.schedules import Rate, check_rate
from descend.engines.matrix import Float
from descend.objectives.coordinates import Coordinates, Rescaled
from descend.objectives.newton_steps import CHANCE
from descend.objectives.objective import GRADIENT, MOMENTS_COLUMNS, Objective

LOOK_UP, HALVINGS, LEAST = 10, 60, 1e-300
"""Without a bound a higher rate is tried every so many steps; how often a rate is lowered at most."""
SETTLED, PAUSE = 5, 20
"""Newton's step is tried once the same weights have been zero for so many steps, or after so many of any kind."""
MOST_FREE, WORK, RIDGE = 1_024, 5e9, 1e-11
"""Weights that it may have at most, products that may be spent on it, and the share of curvature that is added."""
HIDDEN = 1e-11
"""Losses whose difference is a smaller share may differ by rounding alone."""
IDLE, SHRINKS = 20, 0.9
"""So many steps that lower neither the loss nor its subgradient to this share end a walk."""


class Accelerated(NamedTuple):
    """The state of the proximal gradient: what the next step goes on from."""

    number: int = 0
    """Steps made."""
    before: Float | None = None
    """The weights before the last step; None where the momentum begins anew."""
    theta: float = 1.0
    rate: float | None = None
    bounded: bool = True
    """Whether the rate is one over a bound of all curvatures, so that none is ever met that is larger."""
    units: Coordinates | None = None
    """What the steps are standardised by; None for steps in the coordinates of the objective."""
    settled: int = 0
    """Steps at which the same weights are zero."""
    wait: int = SETTLED
    """So many until Newton's step is tried on the others."""
    due: int = PAUSE
    """The step at which it is tried at the latest."""
    pause: int = PAUSE
    """For how many steps it is let alone where it fails."""
    idle: int = 0
    """Steps since the loss or its subgradient was lowered."""
    least: float = np.inf
    """The length of the subgradient then."""


@dataclass(frozen=True)
class ProximalGradient(Optimizer):
    """FISTA with restarts: `w+ = prox(y - rate * gradient(y), rate)` with `y = w + (t- - 1) / t * (w - w-)`.

    It serves every penalty: one with kinks by its `prox`, which makes weights exactly zero, a smooth one by its
    gradient. `t = (1 + sqrt(1 + 4 t-**2)) / 2` begins anew where the momentum points uphill. Beck and Teboulle, A
    Fast Iterative Shrinkage-Thresholding Algorithm (2009); O'Donoghue and Candes, Adaptive Restart for Accelerated
    Gradient Schemes (2015). Unless told to `accelerate` every step goes from `w` itself.

    `learning_rate` is a number, or "auto": 1 / (largest curvature) where a bound is at hand, else found from the
    curvature along the steps; it is lowered where a step has met more. Where each weight may have a rate of its own,
    "auto" steps as in standardised columns, so that units do not matter. With `polish`, once the same weights have
    been zero for a few steps, and now and then before, Newton's step is tried on the others, up to 1,024 of them, and
    made where it lowers the loss: the last digits cost a step or two. Raises `DescendError` for a rate that is not
    above 0.

    >>> from descend import L1
    >>> objective = Objective.of(np.eye(2), np.array([3.0, 0.5]), intercept=False, penalty=L1(1.0))
    >>> optimizer, w = ProximalGradient(), np.zeros(2)
    >>> optimizer.step(objective, w, optimizer.init(w)).weights.round(12).tolist()
    [2.0, 0.0]
    """

    learning_rate: Rate = "auto"
    accelerate: bool = True
    polish: bool = True
    name: ClassVar[str] = "proximal-gradient"
    rated: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({GRADIENT})

    def __post_init__(self) -> None:
        check_rate(self.learning_rate)

    def init(self, w: Float) -> Accelerated:
        """No steps made."""
        return Accelerated()

    def step(self, objective: Objective, w: Float, state: Accelerated) -> Update:
        if state.rate is None:
            state = self._begun(objective, w)
        if self.polish and (state.settled >= state.wait or state.number >= state.due):
            found, number = on_face(objective, w, state.units), state.number + 1
            if found is not None:
                return Update(
                    found, state._replace(number=number, before=None, settled=0, wait=1, due=number + 1)
                )
            pause = 2 * state.pause
            state = state._replace(wait=2 * state.wait, pause=pause, due=number + pause)
        return self._forward(objective, w, state)

    def _begun(self, objective: Objective, w: Float) -> Accelerated:
        """The coordinates and the rate of the first step."""
        if self.learning_rate != "auto":
            return Accelerated(rate=float(self.learning_rate))
        own = objective.coordinates is None and (objective.penalty.smooth or objective.penalty.separable)
        units = Coordinates.of(objective) if own else None
        if len(w) > MOMENTS_COLUMNS:
            return Accelerated(rate=_tried_rate(objective, w, units), bounded=False, units=units)
        there = objective if units is None else objective.in_coordinates(units)
        return Accelerated(rate=there.safe_rate, bounded=not objective.searches, units=units)

    def _forward(self, objective: Objective, w: Float, state: Accelerated) -> Update:
        """A step by the gradient of what is smooth and the prox of what is not."""
        (loss, slope), theta, y = objective.value_and_gradient(w), 1.0, w
        if self.accelerate and state.before is not None:
            theta = 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * state.theta**2)))
            y = w + (state.theta - 1.0) / theta * (w - state.before)
        rate = float(state.rate or 1.0)
        if not state.bounded and state.number % LOOK_UP == LOOK_UP - 1:
            rate *= 2.0
        ahead = _Ahead.of(objective, y, state.units)
        there, move = ahead.step(rate)
        for _ in range(HALVINGS):
            most = np.inf if self.learning_rate != "auto" else ahead.rate_for(there, move)
            if rate <= most:
                break
            rate = max(min(0.5 * rate, most) if most > 0 else 0.1 * rate, LEAST)
            there, move = ahead.step(rate)
        made = move if y is w else _in(state.units, there - w)
        downhill = float(np.vdot(move, made)) >= 0
        same = np.array_equal(there == 0, w == 0)
        reach = float(np.vdot(move, move) + np.vdot(made, made)) / (2.0 * rate)
        length = float(np.linalg.norm(slope))
        lowers = reach > UNTOLD * objective.magnitude(loss) or length <= SHRINKS * state.least
        state = state._replace(
            number=state.number + 1,
            before=w if downhill else None,
            theta=theta,
            rate=rate,
            settled=state.settled + 1 if same else 0,
            wait=state.wait if same else SETTLED,
            idle=0 if lowers else state.idle + 1,
            least=length if lowers else state.least,
        )
        return Update(there, state, rate, stalled=state.idle >= IDLE or np.array_equal(there, w))


@dataclass(frozen=True)
class _Ahead:
    """Where steps from a point `y` lead; `move` is in `units`, in which the length of a step is measured."""

    objective: Objective
    smooth: Objective
    """The objective without what the prox is for."""
    y: Float
    value: float
    gradient: Float
    units: Coordinates | None

    @staticmethod
    def of(objective: Objective, y: Float, units: Coordinates | None) -> _Ahead:
        smooth = objective if objective.penalty.smooth else objective.unpenalised
        return _Ahead(objective, smooth, y, *smooth.value_and_gradient(y), units)

    def step(self, rate: float) -> tuple[Float, Float]:
        """The weights after a step at this rate, and the move there."""
        penalty, n = self.objective.penalty, len(self.y) - self.objective.intercept
        v, g = self.y.copy(), self.gradient
        if self.units is not None:
            v, g, penalty = (
                self.units.to_descent(v),
                self.units.gradient(g),
                Rescaled(penalty, self.units.scale),
            )
        u = v - rate * g
        if not penalty.smooth:
            u[:n] = penalty.prox(u[:n], rate)
        return (u if self.units is None else self.units.to_original(u)), u - v

    def rate_for(self, there: Float, move: Float) -> float:
        """The highest rate that the curvature on the way `there` allows, 0 where the loss is not finite.

        A step at no more lowers the loss by what its quadratic promises: `f(w+) <= f(y) + g'd + |d|**2 / (2 rate)`.
        Where rounding may hide by how much, the change of the gradient tells the curvature.
        """
        value, gradient = self.smooth.value_and_gradient(there)
        if not np.isfinite(value):
            return 0.0
        d = there - self.y
        above = value - self.value - float(np.vdot(self.gradient, d))
        if above <= HIDDEN * self.objective.magnitude(self.value):
            above = 0.5 * float(np.vdot(gradient - self.gradient, d))
        return 0.5 * float(np.vdot(move, move)) / above if above > 0 else np.inf


def _in(units: Coordinates | None, move: Float) -> Float:
    """A difference of weights in these units."""
    return move if units is None else units.to_descent(move)


def _tried_rate(objective: Objective, w: Float, units: Coordinates | None) -> float:
    """One over the curvature along the gradient, which a short step tells."""
    ahead = _Ahead.of(objective, w, units)
    g = ahead.gradient if units is None else units.gradient(ahead.gradient)
    steep = float(np.vdot(g, g))
    short = 1e-3 * (abs(ahead.value) or 1.0) / (steep or 1.0)
    move = -short * g
    there = w + (move if units is None else units.to_original(move))
    change = float(np.vdot(ahead.smooth.gradient(there) - ahead.gradient, there - w))
    rate = short**2 * steep / change if change > 0 else 1.0
    return rate if np.isfinite(rate) and rate > 0 else 1.0


def on_face(objective: Objective, w: Float, units: Coordinates | None) -> Float | None:
    """The weights after Newton's step on those that are not zero; None where it does not lead closer."""
    there = along_face(objective, w, units)
    return there if there is not None and leads_closer(objective, w, there) else None


def leads_closer(objective: Objective, w: Float, there: Float) -> bool:
    """Whether the loss is lower `there`, or as far as rounding tells the same with half of the subgradient."""
    (loss, s), (value, new) = objective.value_and_gradient(w), objective.value_and_gradient(there)
    told = UNTOLD * objective.magnitude(loss)
    closer = value <= loss + told and np.linalg.norm(new) <= 0.5 * np.linalg.norm(s)
    return bool(value < loss - told or closer)


def along_face(objective: Objective, w: Float, units: Coordinates | None) -> Float | None:
    """The weights after Newton's step on those that are not zero; None where there is none.

    Weights that come to zero on the way stay there. It is that of the penalties whose kinks are at zero.
    """
    p, outputs = len(w) - objective.intercept, w.size // len(w)
    corners = objective.penalty.corners(w[:p])
    if corners is None or objective.penalty.smooth:
        return None
    free = (w[:p] != 0) | (corners == 0)
    columns = np.flatnonzero(free.reshape(p, -1).any(axis=1))
    rows = np.concatenate([columns, np.arange(p, len(w))])
    if not 0 < len(rows) * outputs <= MOST_FREE:
        return None
    units = Coordinates.given(p, objective.intercept) if units is None else units
    s = objective.gradient(w)
    moving, kink = np.ones(w.shape, dtype=bool), np.zeros(w.shape)
    moving[:p], kink[:p] = free, (corners.T / units.scale).T
    moving, kink = moving[rows].ravel(), kink[rows].ravel()
    v, g = units.to_descent(w)[rows].ravel(), units.gradient(s)[rows].ravel()
    H = objective.hessian_on(w, columns, units)[np.ix_(moving, moving)]
    step, move = np.zeros(v.size), np.zeros(w.shape)
    step[moving] = face_step(H, g[moving], v[moving], kink[moving])
    move[rows] = step.reshape(len(rows), *w.shape[1:])
    gone = np.zeros(w.shape, dtype=bool)
    gone[rows] = (moving & (kink > 0) & (step == -v)).reshape(len(rows), *w.shape[1:])
    return np.where(gone, 0.0, w + balanced(objective, units.to_original(move)))


def last_digits_on_face(objective: Objective, w: Float) -> tuple[Ahead, Float | None]:
    """The step from `w`, which is at the minimum to some digits, and `w` where it leads closer.

    As `newton.last_digits`, on the weights that are not zero.
    """
    own = objective.coordinates is None and objective.penalty.separable and len(w) <= MOMENTS_COLUMNS
    there = along_face(objective, w, Coordinates.of(objective) if own else None)
    if there is None:
        return Ahead(np.zeros(w.shape), np.inf, 0, seen=False), None
    units = objective.coordinates
    a, b = (w, there) if units is None else (units.to_original(w), units.to_original(there))
    far = objective.deviance(objective.value(w)) / objective.rows
    size = np.maximum(np.abs(a), CHANCE * np.sqrt(far / objective.row_curvature))
    shares = np.divide(np.abs(b - a), size, out=np.zeros(w.shape), where=a != b).ravel()
    worst = int(np.argmax(shares))
    found = Ahead(there - w, float(shares[worst]), worst)
    return found, w if found.share > CERTAIN and leads_closer(objective, w, there) else None


def face_step(H: Float, g: Float, v: Float, kink: Float) -> Float:
    """The step `d` that minimises `g'd + d'Hd / 2 + kink'(|v + d| - |v| - sign(v) d)`, weights that reach zero left there.

    `g` is the gradient at `v`, kinks included. Each turn goes towards the minimum for the signs at hand, as far as the
    sum falls. Lee et al., Efficient Sparse Coding Algorithms (2007), without weights that leave zero.

    >>> face_step(np.eye(2), np.array([-1.0, 1.0]), np.array([1.0, 0.5]), np.array([1.0, 1.0])).round(9).tolist()
    [1.0, -0.5]
    """
    scale = np.sqrt(np.where(H.diagonal() > 0, H.diagonal(), 1.0))
    signs, d, live = np.sign(v), np.zeros(len(v)), np.ones(len(v), dtype=bool)
    for _ in range(int(np.clip(WORK / len(v) ** 3, 10, 4 * len(v) + 10))):
        slope = (g + H @ d + kink * (np.sign(v + d) - signs))[live]
        some = scale[live]
        A = H[np.ix_(live, live)] / np.outer(some, some)
        A[np.diag_indices_from(A)] += RIDGE
        step = np.zeros(len(v))
        step[live] = -np.linalg.solve(A, slope / some) / some
        t, stopped = _along(v + d, step, float(slope @ step[live]), kink)
        d += t * step
        if stopped is not None:
            d[stopped], live[stopped] = -v[stopped], False
        elif np.array_equal(np.sign(v + d)[live], np.sign(v + d - t * step)[live]) or not live.any():
            break
    return d


def _along(v: Float, step: Float, slope: float, kink: Float) -> tuple[float, int | None]:
    """How far to go along a `step` to the minimum of a parabola with kinks, and the weight whose kink that is, if any.

    The `step` goes to the minimum of the parabola for the signs of `v`, so that this bends by as much as it slopes.
    """
    crossing, bend = np.flatnonzero((kink > 0) & (v * step < 0)), -slope
    at = -v[crossing] / step[crossing]
    for i in np.argsort(at):
        if slope + at[i] * bend >= 0:
            break
        slope += 2.0 * float(kink[crossing[i]] * abs(step[crossing[i]]))
        if slope + at[i] * bend >= 0:
            return float(at[i]), int(crossing[i])
    return -slope / bend if bend > 0 else 1.0, None
