"""What a run's ending means: how far it still was, why it left or swung, and which argument to change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from descend.descent.choose import NEWTON_LIMIT, auto_optimizer
from descend.descent.first_order import GradientDescent, Optimizer
from descend.descent.history import History, Step
from descend.descent.newton import KNOWN, minimum
from descend.descent.schedules import Constant
from descend.descent.steps import limit_at_minimum
from descend.descent.stopping import Outcome
from descend.descent.trajectory import Recurrence
from descend.engines.matrix import Float
from descend.objectives.losses import Loss
from descend.objectives.newton_steps import NEGLIGIBLE
from descend.objectives.objective import CLOSED_FORM, MOMENTS_COLUMNS, Objective
from descend.objectives.statistics import LargestMove, TargetSum

CONVERGED = (Outcome.CONVERGED, Outcome.PRECISION)
LIMITS = (Outcome.STEP_LIMIT, Outcome.TIME_LIMIT, Outcome.INTERRUPTED, Outcome.STALLED)
UNSETTLED, FURTHER, LARGE, LISTED = 1e-4, 1e-3, 8.0, 5
"""Of weights on their way to infinity: what a step changes them by at least, and a row; predictions, and names told."""
CLOSE = 1e-8
"""A share of the deviance that nobody is told of."""
NEWTON_STEPS = 3
"""From where a run has ended to the minimum, as near as is worth a pass each."""
RARE = 1e-9
"""A share of the weight, or a mean, beside which one of zero may be rounding."""
ZEROS, ONE_CLASS = (
    f"All rows are {what}: there is nothing to fit but that." for what in ("zeros", "of one class")
)
LACKING = (
    "A class has no row that counts, so that its intercept runs to minus infinity: leave that class out."
)
UNSEEN = (
    "How far the loss is above the best cannot be told: too many digits are lost along some direction, or rows far "
    "from the others hide it. {standardise}ook at the largest values, or give a penalty ({penalty})."
)

MANY = (
    f"How far the loss is above the best is not looked at where there are more than {NEWTON_LIMIT} weights."
)


def announce(objective: Objective, optimizer: Optimizer) -> list[str]:
    """Before step one: a learning rate above what a quadratic can stand."""
    if not (CLOSED_FORM in objective.offers and isinstance(optimizer, GradientDescent)):
        return []
    rate, limit = optimizer.rate(objective), optimizer.rate_limit(objective.curvature_bound)
    if rate <= limit:
        return []
    return [
        f"`learning_rate` {rate:g} is above {limit:.6g}, the largest that converges here (curvature "
        f'{objective.curvature_bound:.6g}): the loss will grow without end. Use "auto" or a smaller one.'
    ]


def explain(
    objective: Objective,
    optimizer: Optimizer,
    history: History,
    last: Step,
    names: Sequence[str],
    in_batches: bool,
) -> str:
    """Sentences on the ending of a run; empty where there is nothing to add."""
    rates = history.learning_rate[~np.isnan(history.learning_rate)]
    rate = float(rates[-1]) if len(rates) and optimizer.rated else None
    outcome = last.outcome
    if outcome is Outcome.DIVERGED and rate is not None:
        return _diverged(objective, optimizer, rate, history, last, names, in_batches)
    if outcome is Outcome.OSCILLATING and rate is not None and isinstance(optimizer, GradientDescent):
        limit = limit_at_minimum(objective, optimizer, last.weights)
        if rate <= limit:
            lower = min(0.5 * rate, safe_limit(objective, optimizer) or rate)
            return (
                f"The learning rate {rate:.6g} is below {limit:.4g}, which small swings about the minimum would bear, but with "
                f"momentum {optimizer.momentum:g} it goes round the minimum in wide ones. {_remedies(objective, optimizer, lower)}"
            )
        return (
            f"The learning rate {rate:.6g} is too large near the minimum, where about {limit:.4g} is the most. "
            f"{_remedies(objective, optimizer, min(limit, safe_limit(objective, optimizer) or limit))}"
        )
    doubt = None if last.walk is None else last.walk.doubt
    if doubt is not None and outcome in CONVERGED:
        return _digits(doubt.share, doubt.weight, names, last.weights.size // len(last.weights))
    if outcome in LIMITS or outcome in CONVERGED:
        return _remaining(objective, optimizer, history, last, rate, in_batches)
    return ""


def _digits(share: float, weight: int, names: Sequence[str], outputs: int) -> str:
    """How many digits of the weight that is worst off are right, where that is less than eight."""
    if share <= KNOWN:
        return ""
    if share == np.inf:
        return "The loss is the best there is, to six digits; how many digits of the weights are right is not known."
    digits = max(int(-np.log10(share)), 0)
    known = f"about {digits} digit{'s' * (digits != 1)}" if digits else "no digit"
    return (
        f"Rounding leaves {known} of the weight of `{names[weight // outputs]}`; the loss is the best there is. "
        "Columns that nearly follow from others do that, and weights of rows that differ by many orders."
    )


def may_be_separated(objective: Objective, last: Step, in_batches: bool) -> bool:
    """Whether an ending looks like that of weights on their way to infinity; an ordinary one tells at no cost.

    Of one at its limit the predictions are looked at, of one with a tolerance of its own what a step would gain.
    """
    w, outcome, walk = last.weights, last.outcome, last.walk
    if not objective.may_separate or last.loss is None or not np.isfinite(last.loss) or in_batches:
        return False
    if outcome in CONVERGED and walk is not None and walk.doubt is not None:
        return walk.doubt.share > UNSETTLED or walk.doubt.row > FURTHER
    if outcome in (Outcome.SEPARATED, Outcome.STALLED):
        return True
    if w.size > NEWTON_LIMIT:
        return False
    if outcome in CONVERGED:
        return not objective.excess(w) <= CLOSE * objective.deviance(last.loss)
    units = objective.coordinates
    z = LargestMove(objective.intercept), w if units is None else units.to_original(w)
    at_limit = outcome in (Outcome.STEP_LIMIT, Outcome.TIME_LIMIT)
    return at_limit and float(objective.session.reduce(*z)[0]) > LARGE


def without_minimum(loss: Loss) -> str:
    """What it means that rows are separated."""
    return f"the {loss.separable} are separated: without a penalty no weights are the best, larger ones are always better."


def alone(objective: Objective) -> str:
    """That rows of all classes, or any counts, are not there, so that the intercept runs to infinity whatever the penalty.

    The mean target or the shares of the classes, which are known, rule it out at no cost.
    """
    loss, session = objective.loss, objective.session
    if not (loss.separable and objective.intercept and session.has_rows):
        return ""
    if not session.source.has_offset:
        shares = objective.constant
        if shares.min() > RARE and not (loss.kind == "two classes" and shares[0] > 1.0 - RARE):
            return ""
    classes = objective.shape[1] if loss.kind == "classes" else 2 if loss.has_classes else None
    if session.reduce(TargetSum(classes))[1:].all():
        return ""
    return ZEROS if classes is None else ONE_CLASS if classes == 2 else LACKING


def separated(loss: Loss, kind: str, names: Sequence[str]) -> str:
    """What tells the rows apart, and what to do."""
    listed = ", ".join(f"`{name}`" for name in names[:LISTED])
    listed = f"{listed} and {len(names) - LISTED} more" if len(names) > LISTED else listed
    several = len(names) > 1
    classes = loss.has_classes
    if kind == "perfect":
        told = f"{listed} {'tell' if several else 'tells'} the {loss.separable} apart without a mistake"
    else:
        told = (
            f"{listed} {'tell' if several else 'tells'} of some rows for certain "
            f"{'what class they are of, or are not' if classes else 'that they are zeros'}, and "
            f"{'are' if several else 'is'} wrong in none; the other weights are at their limits"
        )
    levels = any("=" in name for name in names)
    return (
        f"{told}. Give a `penalty`, 0.01 for example (`penalty=0.01`, `--l2 0.01`), or leave "
        f"{'these columns' if several else 'the column'} out{', or merge the level with another' * levels}."
    )


def _diverged(
    objective: Objective,
    optimizer: Optimizer,
    rate: float,
    history: History,
    last: Step,
    names: Sequence[str],
    in_batches: bool,
) -> str:
    """The rate used, the limit it passed, the columns that blew up, and two ways out."""
    said, limit = f"The learning rate was {rate:.6g}", safe_limit(objective, optimizer)
    if limit is not None:
        passed = f"and the largest that is safe {'over all rows ' if in_batches else ''}here is {limit:.4g}"
        said += f", {passed} (largest curvature {objective.curvature_bound:.4g})"
    columns = _blown_up(objective, last.weights - history.weights[0], names)
    return f"{said}. What blew up: {columns}. {_remedies(objective, optimizer, limit)}"


def safe_limit(objective: Objective, optimizer: Optimizer) -> float | None:
    """The learning rate of gradient descent that is safe everywhere; None of others, and without a bound."""
    if objective.searches or not isinstance(optimizer, GradientDescent):
        return None
    return optimizer.rate_limit(objective.curvature_bound)


def _blown_up(objective: Objective, move: Float, names: Sequence[str]) -> str:
    """The columns that the predictions left along: weight moved times size of the column."""
    size = np.ones(len(move))
    moments = objective.moments if len(move) <= MOMENTS_COLUMNS else None
    if moments is not None:
        size[: len(move) - objective.intercept] = np.sqrt(
            np.maximum(moments.uncentred().diagonal()[:-1], 0.0) / moments.weight
        )
    with np.errstate(over="ignore"):
        share = np.abs(move.reshape(len(move), -1)).max(axis=1) * size
    order = [int(i) for i in np.argsort(-share)[:3] if share[i] > 0.2 * share.max()]
    return ", ".join(f"`{names[i]}`" for i in order) or "every column"


def _remedies(objective: Objective, optimizer: Optimizer, limit: float | None) -> str:
    """Two arguments to change, in Python and in the shell."""
    lower = 'leave `learning_rate` (`--learning-rate`) at "auto"'
    if limit is not None:
        lower = f"set `learning_rate={0.9 * limit:.3g}` (`--learning-rate {0.9 * limit:.3g}`) or {lower}"
    way = auto_optimizer(objective).name
    if way == optimizer.name:
        return f"{lower[0].upper()}{lower[1:]}."
    standardise = ", or standardise the columns" if objective.session.source.as_given else ""
    return f'Either {lower}; or set `optimizer="{way}"` (`--optimizer {way}`), which has no learning rate{standardise}.'


def _remaining(
    objective: Objective,
    optimizer: Optimizer,
    history: History,
    last: Step,
    rate: float | None,
    in_batches: bool,
) -> str:
    """How far the loss still is above the best, and the steps that are missing."""
    if last.loss is None or not np.isfinite(last.loss):
        return ""
    quadratic, reached = CLOSED_FORM in objective.offers, last.outcome in CONVERGED
    if not quadratic and in_batches:
        return ""  # batches are for data whose passes are dear, and this would cost two
    if last.weights.size > NEWTON_LIMIT:
        return MANY if reached and not quadratic else ""
    if not objective.penalty.smooth:
        return _with_kinks(objective, last)
    if reached and objective.excess(last.weights) <= CLOSE * objective.deviance(last.loss):
        return ""
    state = _state(objective, last)
    excess = (
        float(state.excess([0])[0]) if quadratic else max(last.loss - objective.best_loss - state.best, 0.0)
    )
    if not np.isfinite(excess):
        return _unseen(objective)
    about = "" if quadratic else "about "
    if excess <= NEGLIGIBLE * state.best and last.outcome not in (Outcome.STALLED, *CONVERGED):
        return "The loss is the best there is, to six digits."
    far = f"The {_measure(objective)} is {about}{above(state.best, excess)}"
    if reached:
        return f"{far}: lower `tolerance` (`--tolerance`), or standardise the columns."
    if rate is None or in_batches or not isinstance(optimizer, GradientDescent):
        return f"{far}."
    limit = optimizer.rate_limit(state.curvatures.largest)
    if quadratic and rate > limit:
        lower = _remedies(objective, optimizer, limit)
        return f"{far}, and growing: the learning rate {rate:.6g} is above {limit:.4g}. {lower}"
    missing = _missing_steps(objective, optimizer, history, last, rate, state)
    if missing is not None and missing <= 0:
        return f"{far}."
    cheap = auto_optimizer(objective).name
    way = f'`optimizer="{cheap}"` (`--optimizer {cheap}`) goes there at once'
    if missing is None or missing > 1e15:
        return f"{far}; gradient descent will not come within 1 % at this learning rate, {way}."
    return f"{far}; {about or 'another '}{_count(missing)} would bring it within 1 %, {way}."


def _unseen(objective: Objective) -> str:
    """What cannot be told, and what may help: a table's columns are standardised already."""
    given = objective.session.source.as_given
    return UNSEEN.format(
        standardise="Standardise the columns (`standardize=True`), l" if given else "L",
        penalty="`penalty=0.01`" if given else "`penalty=0.01`, `--l2 0.01`",
    )


def _with_kinks(objective: Objective, last: Step) -> str:
    """How far the loss is above the best at most, where the penalty has kinks: its subgradients tell."""
    far, whole = objective.excess(last.weights), objective.deviance(last.loss or 0.0)
    if last.outcome in CONVERGED and far <= CLOSE * whole:
        return ""
    if far <= NEGLIGIBLE * whole and last.outcome not in CONVERGED:
        return "The loss is the best there is, to six digits."
    return f"The {_measure(objective)} is at most {above(whole - far, far)}." if far < whole else ""


def _measure(objective: Objective) -> str:
    """What is said to be above the best: the deviance where the loss itself may be zero or negative."""
    return "loss" if objective.loss.best_is_zero else "deviance"


def _state(objective: Objective, last: Step) -> Recurrence:
    """The quadratic about the minimum, which a few steps of Newton's find; exact for squared error.

    The best loss, measured from the best that the rows allow, is minus infinity where it cannot be told.
    """
    optimum = minimum(objective, last.weights, NEWTON_STEPS)
    best, excess = objective.value(optimum) - objective.best_loss, objective.excess(optimum)
    best -= (
        excess if excess < 0.5 * abs(best) or excess == np.inf else 0.0
    )  # a quadratic far off tells too much
    curvatures = objective.curvatures(optimum)
    distance = curvatures.directions.T @ np.ravel(last.weights - optimum)
    return Recurrence(curvatures, distance, best, GradientDescent(), 0.0)


def _missing_steps(
    objective: Objective,
    optimizer: GradientDescent,
    history: History,
    last: Step,
    rate: float,
    state: Recurrence,
) -> int | None:
    """Steps still to be made until within 1 %: from the start where that is exact, else from here."""
    exact = CLOSED_FORM in objective.offers and isinstance(optimizer.schedule, Constant)
    distance, done = state.distance, 0
    if exact:
        distance = state.curvatures.directions.T @ (history.weights[0] - objective.minimum())
        done = last.number
    total = Recurrence(state.curvatures, distance, state.best, optimizer, rate).steps_within(0.01, done)
    return None if total is None else total - done


def above(best: float, excess: float) -> str:
    """`excess` over `best` in words.

    >>> above(2.0, 0.062), above(0.0, 0.5), above(1.0, 250.0)
    ('3.1 % above the best', '0.5 above the best, which is 0', '251 times the best')
    """
    if best < 0:
        return f"{excess:.3g} above the best, which is {best:.6g}"
    if best <= 1e-12 * (best + excess):
        return f"{excess:.3g} above the best, which is 0"
    share = excess / best
    if share < 1:
        return f"{100 * share:.2g} % above the best"
    return f"{1 + share:,.3g} times the best" if share < 1e6 else f"{1 + share:.2g} times the best"


def _count(steps: int) -> str:
    return f"{steps:,} step{'' if steps == 1 else 's'}" if steps < 1e9 else f"{steps:.2g} steps"
