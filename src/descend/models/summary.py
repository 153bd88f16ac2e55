"""The summary of a model: its coefficients beside their errors, and the figures of its fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from descend.errors import DescendError
from descend.models.covariance import KINDS, MOST_MOMENTS, MOST_WEIGHTS, Covariance, coefficients_of, reach_of
from descend.models.hypotheses import overall_test
from descend.models.model import Model
from descend.objectives.penalties import described


@dataclass(frozen=True)
class Estimate:
    """One coefficient in original units. `label` is the class it speaks for, against the first class.

    What chance does to it is NaN where it is `aliased`: the rows tell but a combination of it and others.
    """

    name: str
    label: str | None
    coefficient: float
    standard_error: float
    statistic: float
    p_value: float
    low: float
    high: float

    endless: bool = False
    """Whether it runs to infinity, because rows are separated."""

    @property
    def aliased(self) -> bool:
        """Whether the rows do not tell it from others."""
        return math.isnan(self.standard_error) and not self.endless

    @property
    def title(self) -> str:
        """Its name, after the class that it speaks for."""
        return self.name if self.label is None else f"{self.label}: {self.name}"


@dataclass(frozen=True)
class Summary:
    """What `Run.summary` returns; prints as a table. `why_not` says why there are no standard errors."""

    title: str
    estimates: tuple[Estimate, ...]
    figures: dict[str, float]
    statistic: str
    """`t` with the residual degrees of freedom, or `z`."""
    level: float
    why_not: str | None = None
    notes: tuple[str, ...] = ()
    """What to know about the standard errors."""
    sparsity: str = ""
    """How many weights the penalty has made zero, in words."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, None in place of numbers that are not finite."""

        def plain(values: dict[str, Any]) -> dict[str, Any]:
            finite = {k: not isinstance(v, float) or math.isfinite(v) for k, v in values.items()}
            return {k: v if finite[k] else None for k, v in values.items()}

        return {
            "level": self.level,
            "why_not": self.why_not,
            "figures": plain(self.figures),
            "estimates": [plain(vars(e)) for e in self.estimates],
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"sparsity": self.sparsity} if self.sparsity else {}),
        }

    def __str__(self) -> str:
        lines = [self.title, *([f"{self.sparsity}."] if self.sparsity else [])]
        if self.figures:
            lines.append(", ".join(f"{name} {value:.6g}" for name, value in self.figures.items()))
        if self.why_not:
            return "\n".join([*lines, f"No standard errors: {self.why_not}"])
        share = f"{100 * self.level:g} %"
        header = ["", "coefficient", "standard error", self.statistic, "p", f"{share} from", "to"]
        rows = [[e.title, f"{e.coefficient:.6g}", *_cells(e)] for e in self.estimates]
        width = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        for row in [header, *rows]:
            cells = [row[0].ljust(width[0]), *(c.rjust(w) for c, w in zip(row[1:], width[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *self.notes])


def _cells(estimate: Estimate) -> list[str]:
    """What a table shows of an estimate beside its value."""
    if estimate.endless or estimate.aliased:
        return ["aliased" if estimate.aliased else "no limit", "", "", "", ""]
    e = estimate
    p = "" if math.isnan(e.p_value) else "< 0.0001" if e.p_value < 1e-4 else f"{e.p_value:.4f}"
    t = "" if math.isnan(e.statistic) else f"{e.statistic:.2f}"
    return [f"{e.standard_error:.6g}", t, p, f"{e.low:.6g}", f"{e.high:.6g}"]


def summarise_model(model: Model, level: float = 0.95) -> Summary:
    """The summary of a model, from what it keeps of its fit. Squared error has t statistics, other losses z.

    Raises `DescendError` for a `level` that is none.
    """
    reach_of(level, None)
    facts = model.facts
    found = _Fit.of(model)
    several = model.weights.ndim == 2
    free = model.weights.size - (len(model.weights) if several else 0)
    title = f"{model.loss.name}, {int(found.rows):,} rows, {free:,} weights: {facts['outcome']}"
    errors, figures = facts.get("standard_errors"), found.figures()
    if errors is None:
        why_not, statistic = _why_not(model, found), "t" if model.loss.closed_form else "z"
        return Summary(title, (), figures, statistic, level, why_not, sparsity=model.sparsity)
    told = facts["errors"]
    endless = set((facts.get("separation") or {}).get("endless", ()))
    estimates = tuple(
        replace(e, endless=e.name in endless and math.isnan(e.standard_error))
        for e in estimates_of(_pairs(model, errors), told["freedom"], level)
    )
    statistic = "z" if told["freedom"] is None else f"t({told['freedom']:.6g})"
    return Summary(title, estimates, figures, statistic, level, notes=_notes(model, found, estimates))


def covariance_of(model: Model) -> Covariance:
    """The covariance of the coefficients in original units. Raises `DescendError` where there is none."""
    found = model.uncertainty
    if found is None:
        raise DescendError(f"there is no covariance: {_why_not(model, _Fit.of(model))}")
    matrix = found.covariance(coefficients_of(model.weights, model.encoding))
    return Covariance(tuple(model.contrasts), matrix, found.kind, found.freedom)


def estimates_of(
    pairs: list[tuple[str, float, float, str | None]], freedom: float | None, level: float
) -> tuple[Estimate, ...]:
    """Name, coefficient, standard error and class of each with its statistic, p-value and interval.

    By the distribution of t with `freedom`, or the normal one for None.
    """
    from scipy.special import ndtr, stdtr

    reach = reach_of(level, freedom)
    estimates = []
    for name, coefficient, error, label in pairs:
        ratio = math.nan if error == 0.0 == coefficient else math.copysign(math.inf, coefficient)
        if error > 0 or math.isnan(error):
            ratio = coefficient / error
        p = 2.0 * float(ndtr(-abs(ratio)) if freedom is None else stdtr(freedom, -abs(ratio)))
        low, high = coefficient - reach * error, coefficient + reach * error
        estimates.append(Estimate(name, label, coefficient, error, ratio, p, low, high))
    return tuple(estimates)


UNITS = {
    "original": " on coefficients in the units of the data",
    "standardised": " on standardised coefficients",
}
"""What a penalty acts on, in words."""
TOO_FEW_OR_MANY = (0.67, 1.5)
"""Between these a dispersion is taken for 1."""
FEW_ROWS, FEW_ROWS_A_WEIGHT = 30, 10
"""Fewer rows that bend the loss tell too little of its curvature."""


def _notes(model: Model, found: _Fit, estimates: tuple[Estimate, ...]) -> tuple[str, ...]:
    """Where the errors come from if not from a likelihood, whether that likelihood holds, and what is aliased."""
    notes, told = [], model.facts["errors"]
    if told["kind"] != "classical":
        clusters = f"; there are {told['clusters']:,} clusters" if told.get("clusters") else ""
        notes.append(f"Standard errors are {KINDS[told['kind']]}{clusters}.")
    elif not TOO_FEW_OR_MANY[0] <= (dispersion := found.dispersion) <= TOO_FEW_OR_MANY[1]:
        notes.append(
            f"The target varies {dispersion:.3g} times as much as the {model.loss.title} takes for granted (its "
            f"dispersion): these errors are too {'small' if dispersion > 1 else 'large'}. Multiply them by "
            f'{math.sqrt(dispersion):.3g}, the root of it, or fit with `errors="hc1"` (`--errors hc1`).'
        )
    if (curved := told.get("curved")) is not None and curved < max(
        FEW_ROWS, FEW_ROWS_A_WEIGHT * told["rank"]
    ):
        notes.append(
            f"Only {curved:,} rows bend the loss where it is least, and the errors rest on these alone: they may be several "
            "times too small or too large. Of Huber's loss take a `delta` about as large as the residuals."
        )
    if endless := [e.title for e in estimates if e.endless]:
        listed = ", ".join(f"`{name}`" for name in endless[:8]) + (" and others" if len(endless) > 8 else "")
        notes.append(
            f"These run to infinity, since {model.loss.separable} are separated: {listed}. The others are at their limits, and so are their errors."
        )
    if fitted := told.get("fitted"):
        notes.append(
            f"{fitted:,} rows of leverage 1, which a weight of their own fits, count for nothing in them."
        )
    if aliased := [e.title for e in estimates if e.aliased]:
        listed = ", ".join(f"`{name}`" for name in aliased[:8]) + (" and others" if len(aliased) > 8 else "")
        notes.append(
            f"Aliased: {listed}. Columns are combinations of each other: the rows tell how these act together, not "
            "each by itself. Leave one out."
        )
    return tuple(notes)


def _pairs(model: Model, errors: dict[str, Any]) -> list[tuple[str, float, float, str | None]]:
    """Name, coefficient, standard error and class of every estimate; classes against the first."""
    values = model.coefficients
    if model.weights.ndim == 1:
        return [(name, values[name][0], _number(error), None) for name, error in errors.items()]
    labels = model.classes or tuple(range(model.weights.shape[1]))
    return [
        (name, values[name][k] - values[name][0], _number(error[k - 1]), str(labels[k]))
        for k in range(1, len(labels))
        for name, error in errors.items()
    ]


def _number(error: float | None) -> float:
    """An error as a file keeps it, where NaN is null."""
    return math.nan if error is None else error


@dataclass(frozen=True)
class _Fit:
    """What a model keeps of the goodness of its fit, on the training rows, by weight."""

    model: Model
    rows: float
    rank: int
    """The weights that the rows tell."""
    constant: int
    """Those of them that a constant prediction has."""
    deviance: dict[str, float]
    """And log-likelihoods, as `goodness` gives them."""

    @staticmethod
    def of(model: Model) -> _Fit:
        counted = model.facts.get("counted") or {}
        outputs = 1 if model.weights.ndim == 1 else model.weights.shape[1] - 1
        rows = counted.get("rows", model.facts["rows"]["training"])
        rank = counted.get("rank", len(model.weights) * outputs)
        constant = outputs * bool(counted.get("has_constant", model.intercept))
        return _Fit(model, rows, rank, constant, model.facts.get("goodness") or {})

    @property
    def freedom(self) -> float:
        """The residual degrees of freedom."""
        return self.rows - self.rank

    @property
    def dispersion(self) -> float:
        """How much the target varies beside what the likelihood takes for granted; 1 where that is not known."""
        pearson = self.deviance.get("pearson")
        return 1.0 if pearson is None or self.freedom <= 0 else pearson / self.freedom

    def figures(self) -> dict[str, float]:
        """R2, F and the residual standard error of squared error; else deviance and pseudo R2; AIC and BIC of both."""
        if not self.deviance:
            return {}
        found = self._squares() if self.model.loss.closed_form else self._deviances()
        likelihood = self.deviance.get("log_likelihood")
        if likelihood is not None:
            found["log-likelihood"] = likelihood
            found["AIC"] = 2.0 * self.rank - 2.0 * likelihood
            found["BIC"] = math.log(self.rows) * self.rank - 2.0 * likelihood
        return found

    def _squares(self) -> dict[str, float]:
        left, total = self.deviance["deviance"], self.deviance["null_deviance"]
        figures: dict[str, float] = {}
        explained = self.rank - self.constant
        if total > 0:
            figures["R2"] = 1.0 - left / total
            if self.freedom > 0 and explained > 0:
                figures["adjusted R2"] = 1.0 - left / total * (self.rows - self.constant) / self.freedom
                figures |= self._overall(max(total - left, 0.0) / explained, left / self.freedom, explained)
        if self.freedom > 0:
            figures["residual standard error"] = math.sqrt(left / self.freedom)
        return figures

    def _overall(self, explained: float, left: float, count: int) -> dict[str, float]:
        """F and its p-value, of mean squares, or by the robust covariance where errors are robust."""
        from scipy.special import fdtrc

        if (self.model.facts.get("errors") or {}).get("kind", "classical") != "classical":
            test = overall_test(self.model)
            return {} if test is None else {"F": test.statistic, "p of F": test.p_value}
        F = explained / left if left > 0 else math.nan
        return {"F": F, "p of F": float(fdtrc(count, self.freedom, F))} if left > 0 else {}

    def _deviances(self) -> dict[str, float]:
        from scipy.special import chdtrc

        d = self.deviance
        figures = {"deviance": d["deviance"], "null deviance": d["null_deviance"]}
        if "pearson" in d and self.freedom > 0:
            figures |= {"Pearson chi2": d["pearson"], "degrees of freedom": float(self.freedom)}
            figures["dispersion"] = self.dispersion
        at, null, explained = d["log_likelihood"], d["null_log_likelihood"], self.rank - self.constant
        if null < 0:
            figures["pseudo R2"] = 1.0 - at / null
        if explained > 0 and self.constant:
            figures["LR chi2"] = max(2.0 * (at - null), 0.0)
            figures["p of LR"] = float(chdtrc(explained, figures["LR chi2"]))
        return figures


def _why_not(model: Model, found: _Fit) -> str:
    facts = model.facts
    if (facts.get("separation") or {"names": True})["names"] == []:
        return str(facts["details"])
    if penalty := described(facts["penalty"]):
        does = "pulls the coefficients towards zero"
        if penalty.kinked:
            does = "chooses among the coefficients, those that are not zero too, by the rows themselves"
        return (
            f"the {penalty.words('penalty')}{UNITS.get(facts.get('penalise', ''), '')} {does}, so their usual errors do not hold. "
            f"Fit with `penalty=0` ({'without `--l1`' if penalty.kinked else '`--l2 0`'})."
        )
    if facts.get("separation"):
        return f"the {model.loss.separable} are separated: some weights run to infinity. Fit with a penalty (`penalty=0.01`, `--l2 0.01`)."
    if not str(facts["outcome"]).startswith("converged"):
        return 'the run ended short of the minimum. Let it converge: `optimizer="auto"` (`--optimizer auto`), no `steps`.'
    if found.freedom <= 0:
        return "there are no more rows than weights, so chance cannot be told from signal. Use fewer columns."
    most = MOST_MOMENTS if model.loss.closed_form else MOST_WEIGHTS
    return f"there are {model.weights.size:,} weights, and their covariance is found for at most {most:,}. Use fewer columns."
