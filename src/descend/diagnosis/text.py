"""A diagnosis as a page of text: every sentence says what is the case, what it means, or what to do.

The page is a list of sections, which the shell prints, the report shows, and JSON holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, TypeAlias

from descend.diagnosis.conditioning import MOMENTUM, SHARES, Conditioning
from descend.diagnosis.diagnosis import Diagnosis, Suboptimality
from descend.runs.endings import above

WIDTH = 96
EASY, HARD, FEW = 100.0, 1e4, 1_000
WHY = (
    "A step goes downhill, as long as the learning rate times the slope. Curvature is how fast the slope changes: "
    "where it is large a long step lands higher on the other side, where it is small a short step hardly gets on."
)
CONDITION = " The condition number, the largest over the smallest, says how badly one learning rate suits both: 1 is best."
SETTINGS = (
    "The steps are those until the {what} is within 1 % and 0.01 % of the best. Automatic is what `fit` does unless told "
    "otherwise. Momentum, here Nesterov's, keeps a part of the last move in the next. What is best in the long run may be behind at first."
)

KINKS = (
    "Gradient descent does not serve the {penalty}, whose slope jumps where a weight is zero, so none of its steps are "
    "planned. Those of `proximal-gradient` obey the same curvatures, and end at weights that are exactly zero."
)


@dataclass(frozen=True)
class Item:
    """What is the case in one or more respects, and what to do about all of them."""

    what: tuple[str, ...]
    do: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of texts under a head; the first cell of a row is its name, and a row of one cell is a heading."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part: TypeAlias = "str | Item | Table"


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: tuple[Part, ...]


def title(d: Diagnosis) -> str:
    """What was diagnosed."""
    penalty = f", {d.penalised}" if d.penalised else ""
    return f"Diagnosis: {d.minimised.title} for `{d.target}`, {d.rows:,} row{'' if d.rows == 1 else 's'}, {_count(d.columns, 'column')}{penalty}"


def sections(d: Diagnosis) -> list[Section]:
    """The page: what to do, and then why."""
    parts = [_what_to_do(d), _how_good(d), _how_to_get_there(d), _columns(d)]
    if d.table:
        parts.append(_in_python(parts))
    return [section for section in parts if section.parts]


def page(d: Diagnosis) -> str:
    """The whole page as text."""
    whole = "\n\n".join([title(d), *("\n".join([s.title, *map(_text, s.parts)]) for s in sections(d))])
    return whole.replace("\n\n\n", "\n\n")


def as_plain(d: Diagnosis) -> list[dict[str, Any]]:
    """The page as plain values for JSON."""
    made = []
    for section in sections(d):
        says = [part if isinstance(part, str) else vars(part) for part in section.parts]
        made.append({"title": section.title, "says": says})
    return made


def _what_to_do(d: Diagnosis) -> Section:
    """Two or three sentences for someone who reads no further."""
    items = [_first(d)]
    if not d.unbounded and d.descent.plans and not (d.ran and _arrived(d.gap)):
        items.append(_by_steps(d))
    number = sum(len(item.what) for item in _worth_a_look(d))
    if number and not d.unbounded:
        items.append(
            f"Look at the columns: {_count(number, 'thing')} to know {'is' if number == 1 else 'are'} told at the end."
        )
    return Section("What to do", tuple(Item((text,)) for text in items))


def _first(d: Diagnosis) -> str:
    gap, way = d.gap, _option("optimizer", d.gap.way, d.table)
    if d.unbounded:
        give = "`--l2 0.01 --penalise standardised`" if d.table else "`penalty=0.01`"
        return f"Give a penalty, {give}: the {d.minimised.separable} can be told apart, and without one the weights grow for ever."
    if d.ran and _arrived(gap):
        return "Nothing: your run is at the best loss that these columns reach."
    if d.ran:
        words = f"How your run ended: {d.ending}{'' if d.ending.endswith('.') else '.'}"
        return words if way in words or not gap.reached else f"{words} {way} is there at once."
    if not gap.reached:
        other = (
            "give a penalty, `--l2 0.01 --penalise standardised`"
            if d.table
            else "`standardize=True`, or a penalty, `penalty=0.01`"
        )
        return f"Not even {way} arrived at the best loss: {other}, makes the way there shorter."
    tuned = "has no learning rate to tune" if d.descends else "finds its learning rate by itself"
    return (
        f"For the best loss, fit without naming an optimizer. That takes `{gap.way}`, which {tuned} and took "
        f"{_seconds(gap.seconds)} here once the data was read."
    )


def _by_steps(d: Diagnosis) -> str:
    """How to get there by gradient descent, and what makes the way shorter."""
    plain, momentum = d.descent.plans[0], d.descent.plans[1]
    here, faster = plain.steps[0], momentum.steps[0]
    other = None if d.standardises else d.standardised.plans[0].steps[0]
    begin, about = "To watch gradient descent go there", "" if d.descent.exact else "about "
    goal = f"to {'1 % of the loss it starts with' if d.gap.is_nil else f'within 1 % of the best {_what(d)}'}"
    way = _option("optimizer", "gradient-descent", d.table)
    if other is not None and (here is None or here > max(10 * other, 20)):
        way += " and `standardize=True`"
        return f"{begin}, {way}: {about}{_count(other, 'step')} {goal}, not {_steps(here)}."
    if faster is not None and (here is None or here > max(2 * faster, 20)):
        way = f"`optimizer=descend.GradientDescent(momentum={MOMENTUM:g}, nesterov=True)`"
        if d.table:
            way = f"`--optimizer gradient-descent --momentum {MOMENTUM:g} --nesterov`"
        return f"{begin}, {way}: {about}{_count(faster, 'step')} {goal}, not {_steps(here)}."
    if here is None:
        return "Gradient descent comes within 1 % of the best loss in no number of steps that can be counted."
    return f"{begin}, {way}: {about}{_count(here, 'step')} {goal}."


def _how_good(d: Diagnosis) -> Section:
    """How far there is to go."""
    gap = d.gap
    answer = "how common each class is" if d.minimised.has_classes else f"the mean of `{d.target}`"
    constant = f"Always answering {answer}"
    if d.unbounded:
        words = (
            f"{constant} {_wrong(d, gap.constant, _meaning(d))}. There is no best loss below that: without a "
            f"penalty it falls for ever as the weights grow. It was {gap.best:.3g} where the search was given up."
        )
        return Section("How good it can get", (words, *([_distance(d, gap)] if d.ran else [])))
    penalty = f", of which {gap.penalty:.3g} is the penalty" if d.penalised else ""
    best = "The best weights" if gap.reached else "The best weights found so far"
    words = f"{constant} {_wrong(d, gap.constant, _meaning(d))}. "
    words += f"{best} {'fit every row' if gap.is_nil else _wrong(d, gap.best, penalty, gap.penalty)}."
    parts = [words]
    if gap.loss is not None:
        parts.append(_distance(d, gap))
    return Section("How good it can get", tuple(parts))


def _wrong(d: Diagnosis, loss: float, more: str, penalty: float = 0.0) -> str:
    """What a loss means: how wrong the typical row is, or the probability that its class is given."""
    plain, told = max(loss - penalty, d.gap.saturated), d.minimised
    if told.closed_form:
        return f"will be wrong by {_figure(math.sqrt(plain))} in the typical row (loss {loss:.6g}{more})"
    if told.has_classes and told.likelihood:
        chance = f"{math.exp(-plain):.3g}"
        return (
            f"will give the true class a probability of {chance} in the typical row (loss {loss:.6g}{more})"
        )
    if not told.best_is_zero:
        deviance = (2.0 if told.likelihood else 1.0) * (plain - d.gap.saturated)
        return f"will have a mean deviance of {deviance:.6g} (loss {loss:.6g}{more})"
    return f"will have a loss of {loss:.6g}{more}"


def _meaning(d: Diagnosis) -> str:
    """What a loss is the name of."""
    if d.minimised.closed_form:
        return ", the mean squared error"
    return ", minus its logarithm" if d.minimised.has_classes and d.minimised.likelihood else ""


def _what(d: Diagnosis) -> str:
    """What a share is a share of: a loss below zero has none."""
    return "loss" if d.minimised.best_is_zero else "deviance"


def _distance(d: Diagnosis, gap: Suboptimality) -> str:
    name, steps = gap.optimizer.replace("-", " "), _count(gap.steps, "step")
    assert gap.loss is not None
    start = (
        f"Your run ({name}, {steps}) ended"
        if d.ran
        else f"{steps} of {name} at the automatic learning rate would end"
    )
    about = "" if d.ran or d.descent.exact else "about "
    if gap.excess is None or d.unbounded:
        return f"{start} with a loss of {about}{gap.loss:.6g}."
    if _arrived(gap):
        return f"{start} there: nothing is left to gain."
    far = above(gap.best - gap.saturated, gap.loss - gap.best)
    if not d.minimised.best_is_zero:
        return f"{start} with a deviance {about}{far} (loss {gap.loss:.6g})."
    return f"{start} with a loss {about}{far} ({gap.loss:.6g})."


def _arrived(gap: Suboptimality) -> bool:
    return gap.loss is not None and (gap.is_least(gap.loss) if gap.excess is None else gap.excess < 1e-6)


def _how_to_get_there(d: Diagnosis) -> Section:
    """The curvatures and what they allow, the settings and the steps that they need, and what that means."""
    name = "How gradient descent gets there"
    if d.unbounded:
        words = "It does not: every step lowers the loss, and none is the last."
        safe = f" A learning rate of up to {_figure(d.descent.limit())} is safe." if d.descent.bounded else ""
        return Section(name, (words + safe,))
    plans = [_plans_table(d)] if d.descent.plans else []
    why = WHY + (CONDITION if d.descent.curvatures else "")
    return Section(name, (why, _terrain_table(d), *plans, *_reading(d)))


def _terrain_table(d: Diagnosis) -> Table:
    both = (d.given, d.standardised)
    label = "" if d.given.exact else " at the best weights"
    rows: list[tuple[str, ...]] = []

    def row(name: str, values: Sequence[float]) -> None:
        rows.append((name, *map(_figure, values)))

    if d.descent.curvatures:
        row(f"largest curvature{label}", [t.largest_curvature for t in both])
        row(f"smallest curvature{label}", [t.smallest_curvature for t in both])
        row("condition number", [t.condition_number for t in both])
    if not d.given.exact:
        if d.descent.here:
            row(
                "largest curvature at your run's weights",
                [t.here.largest if t.here else math.nan for t in both],
            )
        if d.descent.bounded:
            row("curvature at most, at any weights", [t.bound for t in both])
    if d.descent.bounded:
        row("largest safe learning rate", [t.limit() for t in both])
    if d.given.exact and d.descends:
        row(f"the same, momentum={MOMENTUM:g} (heavy ball)", [t.limit(MOMENTUM) for t in both])
    return Table(("", *(_place(d, t) for t in both)), tuple(rows))


def _plans_table(d: Diagnosis) -> Table:
    """Settings, and the steps that they need."""
    rows: list[tuple[str, ...]] = []
    for conditioning in (d.given, d.standardised):
        rows.append((_place(d, conditioning),))
        for plan in conditioning.plans:
            momentum = f"{plan.momentum:.10g}" if plan.momentum else ""
            rows.append((f"  {plan.name}", f"{plan.learning_rate:.4g}", momentum, *map(_steps, plan.steps)))
    return Table(
        ("setting", "learning rate", "momentum", *(f"steps to {s * 100:g} %" for s in SHARES)), tuple(rows)
    )


def _place(d: Diagnosis, conditioning: Conditioning) -> str:
    return f"{conditioning.name}{' (where fit steps)' if conditioning is d.descent else ''}"


def _reading(d: Diagnosis) -> list[str]:
    """What the tables mean."""
    t = d.descent
    if t.curvatures is None and not t.bounded:
        return [
            "Of so many weights no curvature is known, and none is the largest: leave `learning_rate` at auto."
        ]
    if t.curvatures is None:
        return [f"Keep `learning_rate` below {_figure(t.limit())}; of so many weights no more is known."]
    kappa, flat, words = t.condition_number, t.curvatures.flat, [SETTINGS.format(what=_what(d))]
    if not d.descends:
        words = [KINKS.format(penalty=d.penalised)]
    elif math.isfinite(kappa):
        size = f"A condition number of {_figure(kappa)} is"
        if kappa < EASY:
            words.append(f"{size} easy terrain: gradient descent is quick here.")
        elif kappa < HARD:
            words.append(
                f"{size} a long valley: gradient descent is down its walls at once and goes along its floor slowly. "
                "Momentum helps."
            )
        elif t.plans[0].steps[0] is not None and t.plans[0].steps[0] <= FEW:
            words.append(
                f"{size} a canyon, and gradient descent hardly gets along its floor. Here that matters little: "
                f"{_count(t.plans[0].steps[0], 'step')} come within 1 %."
            )
        else:
            words.append(
                f"{size} a canyon: gradient descent hardly gets along its floor."
                f"{'' if d.ran and _arrived(d.gap) else ' Do what is said at the top instead.'}"
            )
    if flat:
        words.append(f"Along {_count(flat, 'direction')} the loss is level: several weights predict alike.")
    words.append(_safe(d))
    return [" ".join(words)]


def _safe(d: Diagnosis) -> str:
    """The learning rates that hold, and what each comes from."""
    t = d.descent
    if t.exact:
        return f"Above a learning rate of {_figure(t.limit())} the loss grows without end."
    if t.bounded:
        words = (
            f"Up to a learning rate of {_figure(t.limit())}, which comes from the bound on all curvatures, every step "
            "lowers the loss from any weights."
        )
    else:
        words = (
            f"The curvature of the {d.minimised.title} has no bound: it grows with the prediction, and no learning rate is "
            "safe from any weights. `fit` searches for one, and shortens a step that would climb."
        )
    if t.here is not None and t.here.largest > 0:
        words += f" The curvature at your run's weights would allow {_figure(2 / t.here.largest)} there."
    if t.largest_curvature > 0:
        words += f" The curvature at the best weights allows {_figure(2 / t.largest_curvature)}: above that it swings about them."
    return words


def _worth_a_look(d: Diagnosis) -> list[Item]:
    """The findings, those with the same advice together; those without any at the end."""
    groups: dict[str, list[str]] = {}
    for finding in sorted(d.findings, key=lambda finding: finding.do.startswith("Nothing")):
        groups.setdefault(finding.do, []).append(f"{finding.what[0].upper()}{finding.what[1:]}.")
    return [Item(tuple(what), do) for do, what in groups.items()]


def _columns(d: Diagnosis) -> Section:
    found = _worth_a_look(d)
    nothing = "Nothing stands in the way: no column is remarkable."
    return Section("What to know about the columns", tuple(found) or (nothing,))


def _in_python(parts: Sequence[Section]) -> Section:
    """The flags that the page names, as arguments."""
    said = str(parts)
    known = {
        "--optimizer": '`--optimizer NAME` is `optimizer="NAME"`',
        "--momentum": "`--momentum 0.9 --nesterov` is `optimizer=descend.GradientDescent(momentum=0.9, nesterov=True)`",
        "--l2": '`--l2 0.01 --penalise standardised` is `penalty=0.01, penalise="standardised"`',
        "--drop": '`--drop A B` is `columns=descend.Columns(drop=["A", "B"])`',
        "--features": '`--features A B` is `columns=descend.Columns(features=["A", "B"])`',
        "--class-weight": '`--class-weight balanced` is `class_weight="balanced"`',
    }
    used = [words for flag, words in known.items() if flag in said]
    return Section("The flags in Python", (f"{'; '.join(used)}.",) if used else ())


def _option(name: str, value: str, shell: bool) -> str:
    return f"`--{name} {value}`" if shell else f'`{name}="{value}"`'


def _text(part: Part) -> str:
    """A part of a section as indented lines."""
    if isinstance(part, str):
        return fill(part, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    if isinstance(part, Item):
        lines = [
            fill(what, WIDTH, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False)
            for what in part.what
        ]
        if part.do:
            lines.append(
                fill(
                    part.do,
                    WIDTH,
                    initial_indent="    -> ",
                    subsequent_indent="       ",
                    break_on_hyphens=False,
                )
            )
        return "\n".join(lines)
    whole = [part.head, *part.rows]
    first = max(len(row[0]) for row in whole)
    widths = [max(len(row[i]) for row in whole if len(row) > i) for i in range(1, len(part.head))]
    lines = []
    for name, *cells in whole:
        line = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        lines.append(f"  {name:<{first}}{line}".rstrip())
    return "\n".join(["", *lines, ""])


def _figure(value: float) -> str:
    """A number of four digits.

    >>> _figure(0.29024), _figure(69560.3), _figure(2.6e11), _figure(math.inf)
    ('0.2902', '69,560', '2.6e+11', 'none (level)')
    """
    if not math.isfinite(value):
        return "none (level)"
    return f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}" if value < 1e6 else f"{value:.3g}"


def _steps(number: int | None) -> str:
    """A number of steps in words.

    >>> _steps(None), _steps(12_345), _steps(3_592_346), _steps(360_000_000_000), _steps(10**16)
    ('never', '12,345', '3.6 million', '360 billion', '1e+16')
    """
    if number is None:
        return "never"
    if number < 1e6:
        return f"{number:,}"
    for size, word in ((1e6, "million"), (1e9, "billion")):
        if number < 1000 * size * 0.9995:
            return f"{float(f'{number / size:.2g}'):g} {word}"
    return f"{number:.2g}"


def _seconds(seconds: float) -> str:
    return "less than 0.01 s" if seconds < 0.01 else f"{seconds:.2g} s"


def _count(number: int, noun: str) -> str:
    return f"{_steps(number)} {noun}{'' if number == 1 else 's'}"
