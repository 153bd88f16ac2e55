"""The walk downhill: `steps` is a generator of Steps, for every optimizer, over all rows or in batches.

Nothing is called back. Progress, printing, checkpoints, films and early stopping by hand are ordinary
`for step in steps(...)` loops.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from descend.descent.choose import NEWTON_LIMIT, check, choose
from descend.descent.first_order import GradientDescent, Optimizer, Update, check_first_order
from descend.descent.history import Step
from descend.descent.newton import CERTAIN, KNOWN, Newton, ahead, balanced, hidden, last_digits, minimum
from descend.descent.proximal import last_digits_on_face
from descend.descent.schedules import Constant
from descend.descent.stopping import Divergence, Doubt, Limits, Outcome, Patience, Polish, Seen, Stretch, Walk
from descend.engines.matrix import Float
from descend.engines.splits import check_seed
from descend.errors import DescendError, ShapeError, check_whole
from descend.objectives.batches import Batches, Piece
from descend.objectives.curvatures import Receding
from descend.objectives.newton_steps import NEGLIGIBLE
from descend.objectives.objective import CLOSED_FORM, Objective
from descend.objectives.statistics import LargestMove, Margins

DEFAULT_EPOCHS = 10
BY_CHANCE = 4.0
"""A step that only rounding makes is one draw of what a weight may be off by: that is hardly ever so many times as much."""
SWINGS, SWING_CHECK, NEWTON_STEPS = 16, 200, 15
"""Weights that are looked back on to tell whether they swing, and how often a walk without a limit asks."""
STRETCH, STRETCHES = 200, 6
"""Steps that are looked at as one, and how many of these tell whether a walk comes nearer."""
AT_LIMIT = (Outcome.STEP_LIMIT, Outcome.TIME_LIMIT)


def steps(
    objective: Objective,
    optimizer: Optimizer | str = "auto",
    *,
    limit: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    start: Any = None,
    tolerance: float | None = None,
    time_limit: float | None = None,
    validation: Objective | None = None,
    patience: int | None = None,
    resume: Step | None = None,
) -> Iterator[Step]:
    """Walk downhill, one Step at a time: row 0 is the start, the last row has an `outcome`.

    `objective` is what is minimised, `optimizer` one of the package's objects, its name, or "auto", which takes what
    the objective allows. `start` holds the first weights, zeros unless given, in the shape of `objective.shape`.
    `limit` updates or `epochs` passes are made; without either the walk ends where the gradient norm is at most
    `tolerance` (1e-6, and then only if the loss is at its minimum to six digits: in raw units a small gradient alone
    proves little; Newton's steps follow for the last digits of up to 512 weights), or after 10,000 steps (10 epochs
    with `batch_size`, which steps on so many rows at a time, in an order that `seed` decides). `time_limit` is in
    seconds. Step k holds the weights after k updates and the loss there. `validation` adds its own loss; with `patience` the walk ends when that has not fallen so many evaluations
    in a row, and the last row holds the best weights.

    `resume` is a Step of another such walk, which may have been pickled: this one goes on after it, given the same
    settings, with the steps that would have followed, the same to the bit. Steps, epochs and seconds count from the
    first start, so that a larger `limit` goes on from a limit. Where the settings let it end at that step, the step
    is given once more, with its outcome. Raises `DescendError` where settings do not go together and
    `ShapeError` where `start` or `resume` does not fit, before the first step.

    >>> from descend import GradientDescent, Objective, make_line
    >>> x, y = make_line(100, seed=0)
    >>> for step in steps(Objective.of(x, y, intercept=False), GradientDescent(0.1), limit=100):
    ...     if step.number % 50 == 0:
    ...         print(step.number, round(step.loss, 3))
    0 11.62
    50 0.086
    100 0.084
    >>> for step in steps(Objective.of(x, y, intercept=False), GradientDescent(0.1), limit=101, resume=step):
    ...     print(step.number, step.outcome.name)
    101 STEP_LIMIT
    """
    if patience is not None and validation is None:
        raise DescendError(
            "`patience` watches the validation loss: give `valid` too (0.2 holds out a fifth)."
        )
    if limit is not None and epochs is not None:
        raise DescendError("give `steps` or `epochs`, not both: a step is one update, an epoch one pass.")
    if epochs is not None:
        check_whole("epochs", epochs)
    check_seed(seed)
    chosen = choose(optimizer, objective, batch_size)
    check(chosen, objective)
    if start is not None and resume is not None:
        raise DescendError("give `start` or `resume`, not both: a walk that goes on has its weights.")
    batches = None
    if batch_size is None:
        limits = Limits.of(limit if epochs is None else epochs, tolerance, time_limit)
        chosen, walk = chosen.planned(limits.steps), Walk(chosen.name)
    else:
        check_first_order(chosen)
        batches = Batches(objective, batch_size, seed)
        per_epoch = -(-objective.rows // batches.size)
        given = limit is not None or epochs is not None
        total = limit if limit is not None else per_epoch * (epochs or DEFAULT_EPOCHS)
        limits = Limits.of(total, tolerance if given else tolerance or 1e-6, time_limit)
        chosen, walk = chosen.planned(total), Walk(chosen.name, batches.size, batches.seed)
    if resume is None:
        w = objective.zeros() if start is None else objective.check_weights(start)
        place, seconds = _Place(0, 0, w, objective.zeros(), chosen.init(w), walk), 0.0
    else:
        place, seconds = _Place.after(resume, objective, walk), resume.seconds or 0.0
    verified = tolerance is None
    monitor = _Monitor.of(
        objective, validation, patience, batches is not None, chosen, limits, verified, seconds
    )
    if batches is None:
        return _whole(monitor, chosen, place)
    return _batched(monitor, batches, chosen, place)


class _Found(NamedTuple):
    """What a look at all rows has found: losses, the gradient's length, the time, and whether this is the end."""

    loss: float
    validation_loss: float | None
    norm: float | None
    seconds: float
    outcome: Outcome | None
    seen: Seen
    finite: Float
    """The weights, or the last ones before whose loss was finite."""
    move: Float | None = None
    """The step for the last digits that is next."""
    doubt: Doubt | None = None
    """See `Walk`."""


@dataclass(frozen=True)
class _Monitor:
    """What is evaluated on the way, and what ends a walk: limits, divergence, swings, patience.

    Nothing in here changes: what it has seen is a `Seen`, which goes with the Step.
    """

    objective: Objective
    validation: Objective | None
    patience: Patience | None
    in_batches: bool
    optimizer: Optimizer
    limits: Limits
    verified: bool
    """Whether a small gradient has to be shown to be that of a minimum."""
    divergence: Divergence
    swings: bool
    """Whether the walk may swing about the minimum for ever."""
    began: float

    @staticmethod
    def of(
        objective: Objective,
        validation: Objective | None,
        patience: int | None,
        in_batches: bool,
        optimizer: Optimizer,
        limits: Limits,
        verified: bool,
        seconds: float,
    ) -> _Monitor:
        """The monitor of a walk that has gone on for some `seconds` already."""
        descends = isinstance(optimizer, GradientDescent) and not in_batches
        bounded, stable = (
            descends and _is_bounded(objective, optimizer),
            descends and _is_stable(objective, optimizer),
        )
        return _Monitor(
            objective,
            validation,
            None if patience is None else Patience(patience),
            in_batches,
            optimizer,
            limits,
            verified,
            Divergence(lambda: objective.deviance(objective.constant_loss), bounded or stable),
            bounded and not stable,
            time.perf_counter() - seconds,
        )

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self.limits.seconds is not None and self.elapsed >= self.limits.seconds

    def look(self, number: int, w: Float, finite: Float, seen: Seen) -> _Found:
        """Evaluate all rows after `number` steps, and tell whether this is the end."""
        norm: float | None = None
        if self.limits.tolerance is None and self.in_batches:
            loss = self.objective.value(w)
        else:
            loss, gradient = self.objective.value_and_gradient(w)
            norm = float(np.linalg.norm(gradient))
        if math.isfinite(loss) and np.isfinite(w).all():
            finite = w
        if math.isnan(seen.start):
            seen = seen._replace(start=loss)
        proven, move, doubt = True, None, None
        polished, tolerance = seen.polish is not None, self.limits.tolerance
        if not polished and tolerance is not None and norm is not None and norm <= tolerance:
            proven, seen = self.at_minimum(number, w, loss, norm, seen)
        outcome = self.limits.reached(number, norm if proven else None, self.elapsed)
        if not proven and seen.check_at == number + 1 + number // 10 and self.runs_away(w):
            outcome = Outcome.SEPARATED
        if polished or outcome is Outcome.CONVERGED:
            outcome, seen, move, doubt = self.polished(w, seen, Outcome.CONVERGED)
        above = 0
        if not loss <= seen.start:
            far = self.objective.deviance
            above = self.divergence.after(seen.above, far(loss), far(seen.start))
        if above != seen.above:
            seen = seen._replace(above=above)
        if self.divergence.is_certain(above, loss):
            outcome = Outcome.DIVERGED
        elif self.swings and seen.polish is None:
            seen = self._swung(number, w, loss, seen)
            asked = self.limits.tolerance is not None and number % SWING_CHECK == 0
            if (asked or outcome in AT_LIMIT) and (self._swings(seen.recent) or self._cycles(seen)):
                outcome = Outcome.OSCILLATING
        valid = None if self.validation is None else self.validation.value(finite)
        if self.patience is not None and valid is not None:
            seen = seen._replace(best=self.patience.after(seen.best, valid, finite))
            if outcome is None and self.patience.is_over(seen.best):
                outcome = Outcome.EARLY_STOP
        return _Found(loss, valid, norm, self.elapsed, outcome, seen, finite, move, doubt)

    def at_minimum(self, number: int, w: Float, loss: float, norm: float, seen: Seen) -> tuple[bool, Seen]:
        """Whether a small gradient is that of a minimum: to six digits, or seven where that is an estimate.

        Estimated by what a Newton step would still gain, where the tolerance is our own, and then ever more
        rarely. In standardised columns, as a table's are, a penalty may prove it alone: the loss is at most
        `norm**2 / (2 alpha)` above the minimum. Not known, and so taken for granted, of very many weights
        without a penalty.
        """
        if not self.verified:
            return True, seen
        objective, far = self.objective, self.objective.deviance(loss)
        if norm == 0 and far <= 0 and objective.penalty.is_zero and not objective.may_separate:
            return True, seen  # no row has a smaller loss
        rounding = 1e-13 * objective.magnitude(loss)
        raw = objective.session.source.as_given
        if not objective.penalty.is_zero and not raw:
            alpha = float(objective.penalty.curvature(objective.penalised(w)).min(initial=np.inf))
            if norm * norm <= 2.0 * alpha * (NEGLIGIBLE * far + rounding):
                return True, seen
        if w.size > NEWTON_LIMIT and not objective.exact and objective.penalty.smooth:
            if objective.penalty.is_zero and self.runs_away(w):
                return False, seen._replace(check_at=number + 1 + number // 10)
            return raw or objective.penalty.is_zero, seen
        if number < seen.check_at:
            return False, seen
        excess = objective.excess(w)
        proven = excess <= 0.1 * NEGLIGIBLE * far + rounding
        if not proven and excess < math.inf and objective.penalty.smooth:
            step = objective.newton_step(w)
            proven = (
                excess <= hidden(objective, w, step)
                or ahead(objective, w, step, step.move.copy()).share <= KNOWN
            )
        return proven, seen._replace(check_at=number + 1 + number // 10)

    def runs_away(self, w: Float) -> bool:
        """Whether the weights run to infinity: themselves or their Newton step tell the classes of all rows apart."""
        objective = self.objective
        if not objective.may_separate:
            return False
        units = objective.coordinates
        there = w if units is None else units.to_original(w)
        if objective.session.reduce(Margins(objective.loss, objective.intercept), there)[0] > 0:
            return True
        if w.size > NEWTON_LIMIT:
            return False
        move = balanced(objective, objective.newton_step(w).move.copy())
        return Receding.along(objective, move if units is None else units.to_original(move)) is not None

    def polished(
        self, w: Float, seen: Seen, outcome: Outcome
    ) -> tuple[Outcome | None, Seen, Float | None, Doubt | None]:
        """The outcome of a walk at its minimum, or the step for the last digits that is next; and what is in doubt."""
        done, objective = seen.polish, self.objective
        if not self.polishes:
            return outcome, seen, None, None
        if objective.penalty.smooth:
            found, at = last_digits(objective, w, *((None, math.inf) if done is None else done[1:]))
        else:
            found, at = last_digits_on_face(objective, w)
            at = None if done is not None and found.share > 0.5 * done.share else at
        outcome = outcome if done is None else done.outcome
        if at is None or self.late:
            row = self._moved(found.move) if objective.may_separate else 0.0
            share = found.share if found.seen else math.inf
            share *= 1.0 if share <= CERTAIN else BY_CHANCE
            share, weight = max((share, found.weight), objective.lost(w))
            return outcome, seen, None, Doubt(share, weight, row)
        return None, seen._replace(polish=Polish(outcome, at, found.share)), found.move, None

    def _moved(self, move: Float) -> float:
        """How far a move takes the linear predictor of a row at most."""
        objective, units = self.objective, self.objective.coordinates
        there = move if units is None else units.to_original(move)
        return float(objective.session.reduce(LargestMove(objective.intercept), there)[0])

    @property
    def polishes(self) -> bool:
        """Whether a walk that has come to its minimum goes on for the last digits."""
        if not self.verified or self.limits.tolerance is None or self.in_batches:
            return False
        few = int(np.prod(self.objective.shape)) <= NEWTON_LIMIT or isinstance(self.optimizer, Newton)
        return few or CLOSED_FORM in self.objective.offers or not self.objective.penalty.smooth

    def stalled(self, number: int, w: Float, found: _Found) -> _Found:
        """What is found where no step lowers the loss: this is a minimum, the end or not yet, or it is not."""
        at = found.seen._replace(check_at=number)
        done, _ = self.at_minimum(number, w, found.loss, found.norm or 0.0, at)
        if not done:
            away = self.verified and self.runs_away(w)
            return found._replace(outcome=Outcome.SEPARATED if away else Outcome.STALLED)
        outcome, seen, move, doubt = self.polished(w, found.seen, Outcome.PRECISION)
        return found._replace(outcome=outcome, seen=seen, move=move, doubt=doubt)

    def _swung(self, number: int, w: Float, loss: float, seen: Seen) -> Seen:
        """What was seen, and these weights and their loss."""
        far, stretches = self.objective.deviance(loss), seen.stretches or (Stretch(),)
        if stretches[-1].steps == STRETCH:
            stretches = (*stretches[1 - STRETCHES :], Stretch())
        stretches = (*stretches[:-1], stretches[-1].after(far))
        return seen._replace(recent=(*seen.recent[1 - SWINGS :], (w, loss)), stretches=stretches)

    def _cycles(self, seen: Seen) -> bool:
        """Whether momentum has it go round the minimum for ever: up and down, far above it, and for long no nearer."""
        assert isinstance(self.optimizer, GradientDescent)
        whole, recent = [stretch for stretch in seen.stretches if stretch.steps == STRETCH], seen.recent
        means, losses = [stretch.mean for stretch in whole], np.array([loss for _, loss in recent])
        if not self.optimizer.momentum or len(means) < STRETCHES - 1 or np.mean(np.diff(losses) > 0) < 0.2:
            return False
        if np.all(np.diff(means) < 0) or recent[0][0].size > NEWTON_LIMIT:
            return False
        middle = np.mean([w for w, _ in recent], axis=0)
        best = minimum(self.objective, middle, NEWTON_STEPS, precision=1e-6)
        return min(means) > 1.01 * self.objective.deviance(self.objective.value(best))

    def _swings(self, recent: tuple[tuple[Float, float], ...]) -> bool:
        """Whether losses rise or moves turn round, at a rate above what the curvature in their midst allows."""
        assert isinstance(self.optimizer, GradientDescent)
        if len(recent) < SWINGS or recent[0][0].size > NEWTON_LIMIT:
            return False
        weights, losses = np.array([w.ravel() for w, _ in recent]), np.array([x for _, x in recent])
        moves = np.diff(weights, axis=0)
        turns = np.einsum("ij,ij->i", moves[1:], moves[:-1]) < 0
        if not (turns.mean() > 0.5 or (np.diff(losses) > 0).any()):
            return False
        middle = weights.mean(axis=0).reshape(self.objective.shape)
        limit = limit_at_minimum(self.objective, self.optimizer, middle)
        return self.optimizer.rate(self.objective) > limit

    def last(self, found: _Found, at: _Place, epoch: float) -> Step:
        """The last row: at the best weights where patience has kept any."""
        loss, valid, norm, w = found.loss, found.validation_loss, found.norm, found.finite
        best, outcome = found.seen.best, found.outcome
        if best.weights is not None and found.outcome is not Outcome.DIVERGED:
            if found.outcome and found.outcome.converged and not np.array_equal(best.weights, w):
                outcome = Outcome.EARLY_STOP
            loss, gradient = self.objective.value_and_gradient(best.weights)
            norm, valid, w = float(np.linalg.norm(gradient)), best.loss, best.weights
        walk = at.walk if w is at.weights else at.walk._replace(weights=at.weights)
        return Step(
            at.number, epoch, loss, None, valid, norm, None, found.seconds, at.rows_seen, w, outcome,
            at.state, walk._replace(doubt=found.doubt),
        )  # fmt: skip


class _Place(NamedTuple):
    """Where a walk is before its next look: `steps` begins or goes on here."""

    number: int
    rows_seen: int
    weights: Float
    finite: Float
    """The last weights whose loss was finite."""
    state: Any
    walk: Walk
    told: int = -1
    """The number of the last step that the caller has already."""

    @staticmethod
    def after(step: Step, objective: Objective, walk: Walk) -> _Place:
        """The place of a `step` that is resumed; `walk` says with what. Raises `DescendError` where that differs."""
        if not (isinstance(step, Step) and step.walk is not None):
            raise DescendError(
                f"`resume` must be a Step that `steps` has given, got {type(step).__name__} "
                "without what its walk knew. To begin at other weights give them as `start`."
            )
        known = step.walk
        for name, had, given in (
            ("optimizer", known.optimizer, walk.optimizer),
            ("batch_size", known.batch_size, walk.batch_size),
            ("seed", known.seed, walk.seed),
        ):
            if had != given:
                raise DescendError(
                    f"`{name}` must be {had}, that of the walk that `resume` is a step of, got {given}. "
                    "To begin anew from its weights give them as `start`."
                )
        w = step.weights if known.weights is None else known.weights
        if w.shape != objective.shape:
            raise ShapeError(
                f"`resume` has weights of shape {w.shape}, but those of this objective have shape {objective.shape}."
            )
        finite = step.weights if known.finite is None else known.finite
        walk = known._replace(weights=None, doubt=None)
        return _Place(step.number, step.rows_seen or 0, w, finite, step.state, walk, step.number)


def limit_at_minimum(objective: Objective, optimizer: GradientDescent, near: Float) -> float:
    """The learning rate above which it cannot settle at the minimum, which Newton's method finds from `near`."""
    w = minimum(objective, near, NEWTON_STEPS, precision=1e-6)
    return optimizer.rate_limit(float(np.linalg.eigvalsh(objective.hessian(w))[-1]))


def _is_bounded(objective: Objective, optimizer: Optimizer) -> bool:
    """Whether gradient descent cannot leave for infinity, because neither the loss nor the penalty throws it out."""
    assert isinstance(optimizer, GradientDescent)
    bounded = objective.loss.slope_bound < math.inf
    if not bounded or objective.penalty.is_zero:
        return bounded
    rate, curvature = optimizer.schedule.rate, float(objective.penalty_curvature(objective.zeros()).max())
    return isinstance(rate, str) or rate < optimizer.rate_limit(curvature)


def _is_stable(objective: Objective, optimizer: Optimizer) -> bool:
    """Whether the constant curvature decides that gradient descent converges, however high it climbs before."""
    assert isinstance(optimizer, GradientDescent)
    if not (CLOSED_FORM in objective.offers and isinstance(optimizer.schedule, Constant)):
        return False
    return optimizer.rate(objective) < optimizer.rate_limit(objective.curvature_bound)


def _whole(monitor: _Monitor, optimizer: Optimizer, at: _Place) -> Iterator[Step]:
    """Every step sees all rows."""
    objective, walk, finite, told = monitor.objective, at.walk, at.finite, at.told
    w, state = at.weights, at.state
    for number in itertools.count(at.number):
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging walk overflows; the outcome says so
            found = monitor.look(number, w, finite, walk.seen)
            rows_seen = number * objective.rows if number else 0
            if found.outcome:
                yield monitor.last(found, _Place(number, rows_seen, w, finite, state, walk), number)
                return
            update = Update(w, state) if found.move is not None else optimizer.step(objective, w, state)
            found = monitor.stalled(number, w, found) if update.stalled else found
        if found.outcome:
            yield monitor.last(found, _Place(number, rows_seen, w, finite, state, walk), number)
            return
        move, rate = found.move, update.learning_rate
        if number > told:
            yield Step(
                number, number, found.loss, None, found.validation_loss, found.norm,
                None if move is not None else rate, found.seconds, rows_seen, w, None, state, walk,
            )  # fmt: skip
        w, state, finite = update.weights if move is None else w + move, update.state, found.finite
        if found.seen is not walk.seen:
            walk = Walk(walk.optimizer, seen=found.seen)


def _batched(monitor: _Monitor, batches: Batches, optimizer: Optimizer, at: _Place) -> Iterator[Step]:
    """Every step sees one batch; all rows are evaluated at the start, at the end of epochs and at the end."""
    number, seen, w, finite, state, walk, told = at
    rows, limit = batches.objective.rows, monitor.limits.steps
    within = number > walk.first  # an epoch that a walk is resumed in: then nothing is evaluated
    pieces: Iterable[Piece]
    while True:
        # the next epoch begins to be gathered while all rows are evaluated
        with batches.pieces(walk.epoch, number - walk.first) if number < limit else nullcontext([]) as pieces:
            if within and number < limit and not monitor.late:
                pending = _row(number, seen, rows, monitor.elapsed, w, state, walk)
            else:
                with np.errstate(over="ignore", invalid="ignore"):
                    found = monitor.look(number, w, finite, walk.seen)
                    if found.outcome:
                        place = _Place(number, seen, w, finite, state, walk)
                        yield monitor.last(found, place, seen / rows)
                        return
                pending = Step(
                    number, seen / rows, found.loss, None, found.validation_loss, found.norm, None,
                    found.seconds, seen, w, None, state, walk,
                )  # fmt: skip
                finite = found.finite
                walk = walk._replace(seen=found.seen, finite=finite)
            within = False
            for piece in pieces:
                visited: list[_Visit] = []
                with np.errstate(over="ignore", invalid="ignore"):
                    for batch in piece.batches[: limit - number]:
                        update = optimizer.step(batch, w, state)
                        visited.append((w, state, update.learning_rate))
                        w, state = update.weights, update.state
                    made = _rows(pending, piece, visited, rows, monitor.elapsed, walk)
                yield from made[max(told + 1 - number, 0) :]
                number, seen = (
                    number + len(visited),
                    seen + sum(b.rows for b in piece.batches[: len(visited)]),
                )
                pending = _row(number, seen, rows, monitor.elapsed, w, state, walk)
                if number >= limit or monitor.late or not np.isfinite(w).all():
                    break
            else:
                walk = walk._replace(epoch=walk.epoch + 1, first=number)


_Visit: TypeAlias = tuple[Float, Any, float | None]
"""The weights and the state that a batch was stepped on at, and the learning rate."""


def _row(number: int, seen: int, rows: int, elapsed: float, w: Float, state: Any, walk: Walk) -> Step:
    """A row whose batch is still to be stepped on."""
    return Step(number, seen / rows, None, None, None, None, None, elapsed, seen, w, None, state, walk)


def _rows(
    first: Step, piece: Piece, visited: list[_Visit], rows: int, elapsed: float, walk: Walk
) -> list[Step]:
    """The rows of the steps made on a piece; the first may hold the losses over all rows already."""
    losses = piece.losses([w for w, _, _ in visited]).tolist()
    made, seen = [], first.rows_seen or 0
    for number, ((w, state, rate), loss, batch) in enumerate(
        zip(visited, losses, piece.batches, strict=False), first.number
    ):
        made.append(
            Step(number, seen / rows, None, loss, None, None, rate, elapsed, seen, w, None, state, walk)
        )
        seen += len(batch.y)
    made[0] = first._replace(batch_loss=losses[0], learning_rate=visited[0][2])
    return made
