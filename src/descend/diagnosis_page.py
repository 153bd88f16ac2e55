"""A diagnosis as a page of text: every sentence says what is the case and what to do."""

from __future__ import annotations

import math
from textwrap import fill

from descend.diagnosis import MOMENTUM, SHARES, Diagnosis, Gap, Terrain

WIDTH = 96
RATES = "How long a step may be, and how many are needed"
CURVATURE = (
    "Curvature is how fast the slope changes along a direction: the more of it, the shorter a step must be. "
    "What is best for the most curved direction is slow along the least curved one."
)


def page(d: Diagnosis) -> str:
    """The whole page."""
    parts = [_title(d), _gap(d), _rates(d), _findings(d)]
    return "\n\n".join(part for part in parts if part)


def _title(d: Diagnosis) -> str:
    penalty = f", L2 penalty {d.penalty:g}" if d.penalty else ""
    return f"Diagnosis: {d.loss} for `{d.target}`, {d.rows:,} rows, {_count(d.columns, 'column')}{penalty}"


def _gap(d: Diagnosis) -> str:
    """How far there is to go, and the cheapest way."""
    gap, lines = d.gap, ["How far there is to go"]
    if d.unbounded:
        lines.append(
            "There is no best loss: without a penalty it falls for ever as the weights grow, because the classes "
            f"can be told apart (see below). It is {gap.best:.3g} where the search ended, and "
            f"{gap.constant:.6g} for a constant prediction."
        )
        return _block(lines)
    lines.append(
        f"A constant prediction has a loss of {gap.constant:.6g}; the best that these columns "
        f"{'reach' if gap.reached else 'have reached so far'} is {gap.best:.6g}."
    )
    if gap.loss is not None:
        lines.append(_distance(d, gap))
    way = f"`--optimizer {gap.way}`" if d.table else f'`optimizer="{gap.way}"`'
    if gap.reached:
        lines.append(
            f"The cheapest way there: {way}, which took {_seconds(gap.seconds)} once the data was read."
        )
    else:
        lines.append(
            f"Not even {way} arrived at a minimum in 10,000 steps: standardise the columns, or give a penalty."
        )
    return _block(lines)


def _distance(d: Diagnosis, gap: Gap) -> str:
    name, steps = gap.optimizer.replace("-", " "), _count(gap.steps, "step")
    when = f"after {steps}"
    start = f"Your run ({name})" if d.ran else "Gradient descent at its automatic learning rate"
    verb = "is" if d.ran else "would be" if d.descent.exact else "would be about"
    if gap.excess is None:
        return f"{start} {verb} at a loss of {gap.loss:.6g} {when}."
    if gap.excess < 1e-6:
        return f"{start} {verb} at the best loss {when}: there is nothing left to gain."
    return f"{start} {verb} {_percent(gap.excess)} above the best {when} (loss {gap.loss:.6g})."


def _rates(d: Diagnosis) -> str:
    """A table of curvatures, rates and steps, before and after standardising."""
    both = (d.given, d.standardised)
    where = [f"{t.name}{' (where fit steps)' if t is d.descent else ''}" for t in both]
    label = "" if d.given.exact else " at the best weights"
    rows: list[tuple[str, list[str]]] = [("", where)]
    if all(t.curvatures for t in both):
        rows += [
            (f"largest curvature{label}", [_figure(t.largest_curvature) for t in both]),
            (f"smallest curvature{label}", [_figure(t.smallest_curvature) for t in both]),
            ("condition number, their ratio", [_figure(t.condition_number) for t in both]),
        ]
    if not d.given.exact:
        rows.append(("curvature at most, anywhere", [_figure(t.bound) for t in both]))
    rows += [
        ("largest safe learning rate", [_figure(t.limit()) for t in both]),
        (f"  with momentum={MOMENTUM}", [_figure(t.limit(MOMENTUM)) for t in both]),
    ]
    for plans in () if d.unbounded else zip(*(t.plans for t in both), strict=True):
        momentum = [
            f", momentum {p.momentum:.{3 if p.momentum < 0.999 else 8}g}" if p.momentum else "" for p in plans
        ]
        rates = [f"{p.learning_rate:.3g}{m}" for p, m in zip(plans, momentum, strict=True)]
        rows.append((plans[0].name, rates))
        for i, share in enumerate(SHARES):
            rows.append((f"  steps to within {share * 100:g} %", [_steps(p.steps[i]) for p in plans]))
    width, cell = max(len(r[0]) for r in rows), max(len(c) for r in rows for c in r[1])
    table = [f"  {name:<{width}}" + "".join(f"  {c:>{cell}}" for c in cells) for name, cells in rows]
    reading = [] if d.unbounded else _reading(d.descent)
    return "\n".join([*_block([RATES, CURVATURE]).splitlines(), *table, *reading])


def _reading(t: Terrain) -> list[str]:
    """What the table means, in two sentences."""
    if t.curvatures is None:
        return []
    kappa = t.condition_number
    if not math.isfinite(kappa):
        return []
    if kappa < 100:
        easy = f"A condition number of {kappa:.3g} is easy terrain: gradient descent is quick here."
    elif kappa < 1e4:
        easy = (
            f"A condition number of {kappa:.3g} is a long valley: gradient descent goes down its walls at once and "
            "along its floor slowly. Momentum helps."
        )
    else:
        easy = (
            f"A condition number of {kappa:.3g} is a canyon: gradient descent will hardly get along its floor. "
            "Follow the advice below, or take the cheapest way above."
        )
    flat = t.curvatures.flat
    level = (
        f" Along {_count(flat, 'direction')} the loss is level: several weights predict alike."
        if flat
        else ""
    )
    safe = f" Keep `learning_rate` below {t.limit():.4g}" + (
        ": above it the loss grows without end."
        if t.exact
        else f": up to there every step lowers the loss. Above {2 / t.largest_curvature:.4g} it swings about the best weights."
        if t.largest_curvature > 0
        else "."
    )
    return fill(easy + level + safe, WIDTH, initial_indent="  ", subsequent_indent="  ").splitlines()


def _findings(d: Diagnosis) -> str:
    if not d.findings:
        return _block(["What to know about the data", "Nothing stands in the way: no column is remarkable."])
    lines = ["What to know about the data"]
    for finding in d.findings:
        what = finding.what[0].upper() + finding.what[1:]
        lines.append(fill(f"{what}.", WIDTH, initial_indent="  * ", subsequent_indent="    "))
        lines.append(fill(f"-> {finding.do}", WIDTH, initial_indent="    ", subsequent_indent="       "))
    return "\n".join(lines)


def _block(lines: list[str]) -> str:
    return "\n".join(
        [lines[0], *(fill(line, WIDTH, initial_indent="  ", subsequent_indent="  ") for line in lines[1:])]
    )


def _figure(value: float) -> str:
    return "none (level)" if not math.isfinite(value) else f"{value:,.4g}" if value < 1e6 else f"{value:.3g}"


def _steps(number: int | None) -> str:
    return "never" if number is None else f"{number:,}" if number < 1e9 else f"{number:.2g}"


def _seconds(seconds: float) -> str:
    return "less than 0.01 s" if seconds < 0.01 else f"{seconds:.2g} s"


def _percent(share: float) -> str:
    return (
        f"{100 * share:.2g} %"
        if share < 10
        else f"{1 + share:,.3g} times"
        if share < 1e6
        else f"{1 + share:.2g} times"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
