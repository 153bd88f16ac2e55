"""What is remarkable about the columns of a problem, in the words of the data, and what to do about it.

Everything here follows from the moments of the columns and from their extremes: no row is read.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from descend.engines.matrix import Float
from descend.engines.moments import Moments
from descend.models.separation import Separation
from descend.runs.collinearity import relations

SCALE_RATIO, OFFSET_RATIO, VIF_LIMIT, MOST = 10.0, 10.0, 10.0, 5
LEAK_REGRESSION, LEAK_CLASSES, RARE = 0.99, 0.95, 0.05
LOOK = "Sort the rows by it and look at the far ones. Mend mistakes, or leave those rows out. If they are true, put "
TAMED = LOOK + "log(1 + value) in the place of the value."
CUT = LOOK + "a limit on the value, `np.clip(value, low, high)`."


@dataclass(frozen=True)
class Finding:
    """Something to know: its kind, the columns it is about, a sentence, and what to do."""

    kind: str
    columns: tuple[str, ...]
    what: str
    do: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ColumnStatistics:
    """The columns to look at: their moments in the coordinates of the descent, and the way to their own units."""

    names: tuple[str, ...]
    moments: Moments
    units: Float
    centres: Float
    intercept: bool
    classes: tuple[Any, ...] | None
    target: str
    table: bool
    """Whether descend standardises by itself."""
    numbers: Sequence[int]
    """The columns of numbers; the others are indicators."""
    independent: Sequence[int]
    """The columns less those that the coding itself makes combinations of others."""
    low: Float | None = None
    """The smallest value of each column of numbers, NaN where it is not known."""
    high: Float | None = None
    owners: Sequence[str] = ()
    """The raw column of each column of a table."""

    def left_out(self, names: Sequence[str]) -> str | None:
        """How to leave columns out; None where one of them is an indicator, a part of a raw column."""
        places = [self.names.index(name) for name in names]
        if any(i not in self.numbers for i in places):
            return None
        if not self.table:
            return f"`np.delete(x, {places}, axis=1)`"
        return f"`--drop {shlex.join(self.owners[i] for i in places)}`"

    @property
    def mean(self) -> Float:
        """The mean of each column in its own units."""
        means = self.centres + self.units * (self.moments.mean + self.moments.mean_low)[:-1]
        return np.asarray(means)

    @property
    def spread(self) -> Float:
        """The standard deviation of each column in its own units; 0 where it is rounding."""
        variance = np.maximum(self.moments.cross.diagonal()[:-1], 0.0) / self.moments.weight
        spread = self.units * np.sqrt(variance)
        return np.where(spread > 1e-13 * np.abs(self.mean), spread, 0.0)

    @property
    def cross(self) -> Float:
        """Cross products of the columns and the target, centred where there is an intercept."""
        m = self.moments
        return (m.cross if self.intercept else m.uncentred()) / m.weight


def about_columns(s: ColumnStatistics) -> list[Finding]:
    """Every finding that the moments and the extremes tell."""
    few = too_few_rows(s)
    if few:  # so few rows are collinear, and correlate with the target, by chance
        return [*few, *constant(s)]
    return [*constant_target(s), *constant(s), *collinear(s), *scales(s), *leakage(s), *heavy_tails(s)]


def constant_target(s: ColumnStatistics) -> list[Finding]:
    """A target with one value."""
    mean = float((s.moments.mean + s.moments.mean_low)[-1])
    if s.classes is not None or s.moments.cross[-1, -1] > 1e-26 * s.moments.weight * mean**2:
        return []
    what = f"`{s.target}` is always {mean:.6g}: there is nothing to learn"
    return [
        Finding(
            "constant target", (s.target,), what, "Ask whether it is the right column, and the right rows."
        )
    ]


def constant(s: ColumnStatistics) -> list[Finding]:
    """Columns with one value; without an intercept one such column, if it is not zero, stands in for it."""
    same = [i for i in range(len(s.names)) if s.spread[i] == 0]
    if not s.intercept:
        stand_in = next((i for i in same if s.mean[i] != 0), None)
        same = [i for i in same if i != stand_in]
    return [
        Finding(
            "constant",
            (s.names[i],),
            f"`{s.names[i]}` is always {s.mean[i]:.6g}: it cannot tell rows apart"
            + (", and stands for the same thing as the intercept" if s.intercept else ""),
            f"Leave it out, {s.left_out([s.names[i]]) or 'it does nothing'}: predictions stay the same.",
        )
        for i in same[:MOST]
    ]


def collinear(s: ColumnStatistics) -> list[Finding]:
    """Duplicates and exact combinations; then columns that others nearly explain, with their inflation factors."""
    found = relations(s.moments, s.names, s.units, s.centres, intercept=s.intercept, among=[*s.independent])
    copies: dict[str, list[str]] = {}
    findings = []
    for relation in found:
        if relation.is_equality:
            copies.setdefault(relation.terms[0][0], []).append(relation.name)
            continue
        findings.append(
            Finding(
                "collinear",
                (relation.name, *(name for name, _ in relation.terms)),
                f"{relation}, in every row: many weights predict alike, so none can be read by itself",
                _superfluous(s, [relation.name]),
            )
        )
    duplicates = []
    for one, others in copies.items():
        original, *names = sorted([one, *others], key=s.names.index)  # rounding decides which was solved for
        duplicates.append(
            Finding(
                "duplicate",
                (*names, original),
                f"{_listed(names)} {'is a copy' if len(names) == 1 else 'are copies'} of `{original}`",
                _superfluous(s, names),
            )
        )
    dependent = {relation.name for relation in found}
    return duplicates[:MOST] + findings[:MOST] + _nearly_collinear(s, dependent)


def _superfluous(s: ColumnStatistics, names: Sequence[str]) -> str:
    """What to do about columns that others determine."""
    way = s.left_out(names)
    if way is None:
        return "Nothing to do: they share one weight between them, and predictions are right."
    return f"Leave {'it' if len(names) == 1 else 'them'} out, {way}: the best predictions stay the same."


def _nearly_collinear(s: ColumnStatistics, dependent: set[str]) -> list[Finding]:
    S = s.cross[:-1, :-1]
    scale = np.sqrt(np.maximum(S.diagonal(), 0.0))
    kept = np.array(
        [i for i in s.independent if s.names[i] not in dependent and scale[i] > 0 and s.spread[i] > 0],
        dtype=np.intp,
    )
    factors = inflation(S, kept)
    if factors is None:
        return []
    vif, P = factors
    findings: list[Finding] = []
    told: set[int] = set()
    for j in np.argsort(-vif):
        if vif[j] < VIF_LIMIT or len(findings) == MOST:
            break
        if int(j) in told:
            continue
        weights = -P[j] / P[j, j]
        weights[j] = 0.0
        others = [
            int(k) for k in np.argsort(-np.abs(weights))[:3] if abs(weights[k]) > 0.1 * np.abs(weights).max()
        ]
        told |= {int(j), *others}
        name, listed = s.names[kept[j]], [s.names[kept[k]] for k in others]
        findings.append(
            Finding(
                "nearly collinear",
                (name, *listed),
                f"`{name}` says nearly what {_listed(listed)} say{'s' if len(listed) == 1 else ''}: it is "
                f"{_share(1 - 1 / vif[j])} explained by them (variance inflation factor {vif[j]:,.4g}), so the data "
                "cannot tell well which of them matters",
                _apart(s, name),
            )
        )
    return findings


def _apart(s: ColumnStatistics, name: str) -> str:
    """What to do about a column that others nearly determine."""
    way = s.left_out([name])
    give = "`--l2 0.01 --penalise standardised`" if s.table else "`penalty=0.01`"
    first = f"leave it out first, {way}" if way else f"give a penalty, {give}, which shares the weight out"
    return f"To predict there is nothing to do. To read weights one by one, {first}; predictions get a little worse."


def inflation(S: Float, kept: Any) -> tuple[Float, Float] | None:
    """The variance inflation factors `1 / (1 - R2)` of the columns `kept`, and the inverse of their correlations.

    `S` are their cross products. Marquardt (Technometrics 1970).
    """
    if len(kept) < 2:
        return None
    scale = np.sqrt(S.diagonal()[kept])
    values, V = np.linalg.eigh(S[np.ix_(kept, kept)] / np.outer(scale, scale))
    P = (V / np.maximum(values, 1e-14)) @ V.T
    return P.diagonal().copy(), P


def scales(s: ColumnStatistics) -> list[Finding]:
    """Columns of very different size, and columns far from zero: what makes descent in raw units slow."""
    numbers = [i for i in s.numbers if s.spread[i] > 0]
    if not numbers:
        return []
    do = (
        "Nothing to do: a table is standardised for the descent, and weights are told in its own units."
        if s.table
        else "Let `fit` standardise, `standardize=True`: the best predictions stay the same."
    )
    spread, mean, findings = s.spread, s.mean, []
    by_size = sorted(numbers, key=lambda i: -spread[i])
    big, small = by_size[0], by_size[-1]
    if spread[big] >= SCALE_RATIO * spread[small]:
        findings.append(
            Finding(
                "scale",
                (s.names[big], s.names[small]),
                f"`{s.names[big]}` is {_times(spread[big] / spread[small])} larger than `{s.names[small]}`: "
                "a step that suits the one is far too long or too short for the other",
                do,
            )
        )
    far = max(numbers, key=lambda i: abs(mean[i]) / spread[i])
    if s.intercept and abs(mean[far]) >= OFFSET_RATIO * spread[far]:
        findings.append(
            Finding(
                "offset",
                (s.names[far],),
                f"`{s.names[far]}` lies {_many(abs(mean[far]) / spread[far])} standard deviations from zero: "
                "its weight and the intercept can hardly be told apart step by step",
                do,
            )
        )
    return findings


def leakage(s: ColumnStatistics) -> list[Finding]:
    """Single columns that explain the target almost alone."""
    S, names = s.cross, s.names
    if len(names) < 2 or S[-1, -1] <= 0:
        return []
    scale = np.sqrt(np.maximum(S.diagonal(), 0.0))
    known = (scale[:-1] > 0) & (s.spread > 0)
    r = np.where(known, S[:-1, -1] / np.where(known, scale[:-1], 1.0) / scale[-1], 0.0)
    limit = LEAK_REGRESSION if s.classes is None else LEAK_CLASSES
    if s.classes is not None and len(s.classes) > 2:
        return []
    findings = []
    for i in np.argsort(-np.abs(r))[:MOST]:
        if abs(r[i]) < limit:
            break
        findings.append(
            Finding(
                "leakage",
                (names[i],),
                f"`{names[i]}` explains `{s.target}` almost alone (correlation {r[i]:.4f})",
                known_before(s, names[i]),
            )
        )
    return findings


def known_before(s: ColumnStatistics, name: str) -> str:
    """What to do about a column that may hold the answer."""
    way = s.left_out([name])
    return f"Ask whether it is known before `{s.target}` is. If not, leave it out{f', {way}' if way else ''}."


def heavy_tails(s: ColumnStatistics) -> list[Finding]:
    """Columns with values so far out that a few rows decide their weight."""
    if s.low is None or s.high is None:
        return []
    limit = 2.5 * np.sqrt(2.0 * np.log(max(s.moments.rows, 2)))
    spread, mean, findings = s.spread, s.mean, []
    for i in s.numbers:
        low, high = s.low[i], s.high[i]
        if spread[i] == 0 or np.isnan(low):
            continue
        reach = max(high - mean[i], mean[i] - low) / spread[i]
        two_values = abs((mean[i] - low) * (high - mean[i]) - spread[i] ** 2) <= 1e-6 * spread[i] ** 2
        if reach > limit and not two_values:
            findings.append((reach, i))
    return [
        Finding(
            "heavy tails",
            (s.names[i],),
            f"`{s.names[i]}` reaches from {s.low[i]:,.6g} to {s.high[i]:,.6g}, {_many(reach)} standard deviations "
            "from its mean: a few rows decide its weight",
            TAMED if s.low[i] > -1 else CUT,
        )
        for reach, i in sorted(findings, reverse=True)[:MOST]
    ]


def too_few_rows(s: ColumnStatistics) -> list[Finding]:
    """Fewer rows than weights: the loss can be brought to zero by chance."""
    weights = len(s.independent) + s.intercept
    if s.moments.rows > weights:
        return []
    return [
        Finding(
            "too few rows",
            (),
            f"{s.moments.rows:,} rows cannot determine {weights:,} weights: a perfect fit would mean nothing",
            f"Find more rows, use fewer columns, or give a penalty, {'`--l2 0.1 --penalise standardised`' if s.table else '`penalty=0.1`'}, "
            "and judge by rows held out.",
        )
    ]


def separated(
    s: ColumnStatistics, splitting: Sequence[int], apart: Separation | None, what: str, penalised: bool
) -> list[Finding]:
    """`what` can be told apart without a mistake, classes for example, by one of the columns `splitting` or by several."""
    found = [
        Finding(
            "leakage",
            (s.names[i],),
            f"`{s.names[i]}` alone tells the classes of `{s.target}` apart: their values do not overlap",
            known_before(s, s.names[i]),
        )
        for i in splitting
    ]
    if apart is None:
        return found
    size = np.abs(apart.direction[: len(s.names)]).reshape(len(s.names), -1).max(axis=1) * s.spread / s.units
    columns = tuple(s.names[int(i)] for i in np.argsort(-size)[:3] if size[i] > 0.1 * size.max())
    near = apart.kind == "near"
    said = {
        "perfect": f"the {what} can be told apart without a mistake, mostly by {_listed(columns)}",
        "partial": f"some {'rows' if s.classes else what} are told apart with certainty, mostly by {_listed(columns)}, and none is on the wrong side",
        "near": f"all but {apart.mistakes:,} rows can be told apart, mostly by {_listed(columns)}",
    }[apart.kind]
    then = "weights grow very large" if near else "without a penalty the weights run to infinity"
    ask = "And ask whether these columns are known before the answer is."
    do = f"Give a penalty, {'`--l2 0.01 --penalise standardised`' if s.table else '`penalty=0.01`'}, so that the weights have a place to stop."
    if penalised:
        do = "Keep the penalty: it gives the weights a place to stop."
    return [
        *found,
        Finding("near separation" if near else "separation", columns, f"{said}: {then}", f"{do} {ask}"),
    ]


def imbalance(shares: Float, classes: Sequence[Any], target: str, table: bool) -> list[Finding]:
    """Classes so rare that a model may ignore them and look well."""
    rare = int(np.argmin(shares))
    if shares[rare] >= min(RARE, 0.5 / len(classes)):
        return []
    largest, size = int(np.argmax(shares)), float(shares.max())
    return [
        Finding(
            "imbalance",
            (target,),
            f"only {100 * shares[rare]:.3g} % of the rows are {classes[rare]!r}: always answering "
            f"{classes[largest]!r} is right in {100 * size:.4g} % of them",
            "Judge by ROC AUC and log loss rather than accuracy; "
            + ("`--class-weight balanced`" if table else '`class_weight="balanced"`')
            + " makes the classes count alike.",
        )
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _share(r2: float) -> str:
    return "more than 0.9999" if r2 > 0.9999 else f"{r2:.4f}"


def _many(number: float) -> str:
    return f"{number:.3g}" if number < 1e3 else f"{number:,.0f}" if number < 1e6 else f"{number:.2g}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio < 1e6 else f"{ratio:.2g} times"
