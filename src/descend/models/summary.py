"""The summary of a model: its coefficients beside their errors, and the figures of its fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from descend.errors import DescendError
from descend.models.model import Model
from descend.objectives.penalties import described


@dataclass(frozen=True)
class Estimate:
    """One coefficient in original units. `label` is the class it speaks for, against the first class."""

    name: str
    label: str | None
    coefficient: float
    standard_error: float
    statistic: float
    p_value: float
    low: float
    high: float


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
    note: str | None = None
    """What to know about the standard errors."""
    sparsity: str = ""
    """How many weights the penalty has made zero, in words."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "level": self.level,
            "why_not": self.why_not,
            "figures": {k: v if math.isfinite(v) else None for k, v in self.figures.items()},
            "estimates": [vars(e) for e in self.estimates],
            **({} if self.note is None else {"note": self.note}),
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
        rows = [
            [
                e.name if e.label is None else f"{e.label}: {e.name}",
                *(f"{v:.6g}" for v in (e.coefficient, e.standard_error)),
                f"{e.statistic:.2f}",
                "< 0.0001" if e.p_value < 1e-4 else f"{e.p_value:.4f}",
                f"{e.low:.6g}",
                f"{e.high:.6g}",
            ]
            for e in self.estimates
        ]
        width = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        for row in [header, *rows]:
            cells = [row[0].ljust(width[0]), *(c.rjust(w) for c, w in zip(row[1:], width[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
        if self.note:
            lines.append(self.note)
        return "\n".join(lines)


def summarise_model(model: Model, level: float = 0.95) -> Summary:
    """The summary of a model, from what it keeps of its fit. Squared error has t statistics, other losses z.

    Raises `DescendError` for a `level` that is none.
    """
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    if not 0 < level < 1:
        raise DescendError(f"`level` must be between 0 and 1, 0.95 for example, got {level!r}.")
    facts = model.facts
    counted = facts.get("counted") or {"rows": facts["rows"]["training"], "weight": facts["rows"]["training"]}
    rows, weight = int(counted["rows"]), float(counted["weight"])
    several = model.weights.ndim == 2
    free = model.weights.size - (len(model.weights) if several else 0)
    freedom = rows - free
    title = f"{model.loss.name}, {rows:,} rows, {free:,} weights: {facts['outcome']}"
    squared = model.loss.closed_form
    errors, why_not = facts.get("standard_errors"), None
    if errors is None:
        why_not = _why_not(facts, freedom)
        figures, statistic = _figures(model, rows, weight, freedom), "t" if squared else "z"
        return Summary(title, (), figures, statistic, level, why_not, sparsity=model.sparsity)
    tail = (1.0 + level) / 2.0
    reach = float(stdtrit(freedom, tail)) if squared else float(ndtri(tail))
    estimates = []
    for name, coefficient, error, label in _pairs(model, errors):
        ratio = coefficient / error if error > 0 else math.copysign(math.inf, coefficient)
        p = 2.0 * float(stdtr(freedom, -abs(ratio)) if squared else ndtr(-abs(ratio)))
        low, high = coefficient - reach * error, coefficient + reach * error
        estimates.append(Estimate(name, label, coefficient, error, ratio, p, low, high))
    statistic = f"t({freedom})" if squared else "z"
    figures = _figures(model, rows, weight, freedom)
    return Summary(title, tuple(estimates), figures, statistic, level, note=_note(model, figures))


SANDWICH = "Standard errors are robust ones, by the sandwich formula, which takes no distribution for granted (Huber, 1967)."
TOO_FEW_OR_MANY = (0.67, 1.5)
"""Between these a dispersion is taken for 1."""


def _note(model: Model, figures: dict[str, float]) -> str | None:
    """Where the errors come from if not from a likelihood, and whether that likelihood holds."""
    if not (model.loss.likelihood or model.loss.closed_form):
        return SANDWICH
    dispersion, (low, high) = figures.get("dispersion", 1.0), TOO_FEW_OR_MANY
    if low <= dispersion <= high:
        return None
    size = "small" if dispersion > 1 else "large"
    return (
        f"The target varies {dispersion:.3g} times as much as the {model.loss.title} takes for granted (its dispersion): "
        f"these errors are too {size}. Multiply them by {math.sqrt(dispersion):.3g}, the root of it."
    )


def _pairs(model: Model, errors: dict[str, Any]) -> list[tuple[str, float, float, str | None]]:
    """Name, coefficient, standard error and class of every estimate; classes against the first."""
    if model.encoding is None:
        W = model.weights.reshape(len(model.weights), -1)
        values = dict(zip((*model.feature_names, "(intercept)"), W.tolist(), strict=False))
    else:
        listed, intercepts = model.encoding.coefficients(model.weights)
        values = {c.name: list(c.values) for c in listed} | {"(intercept)": list(intercepts)}
    if model.weights.ndim == 1:
        return [(name, values[name][0], error, None) for name, error in errors.items()]
    labels = model.classes or tuple(range(model.weights.shape[1]))
    return [
        (name, values[name][k] - values[name][0], error[k - 1], str(labels[k]))
        for k in range(1, len(labels))
        for name, error in errors.items()
    ]


def _figures(model: Model, rows: int, weight: float, freedom: int) -> dict[str, float]:
    """R2 and the residual standard error, or the deviance; of the fit on its training rows, by weight.

    Nothing of a loss that is neither squared error nor a likelihood.
    """
    from scipy.special import fdtrc

    loss = model.facts.get("loss")
    if loss is None or described(model.facts["penalty"]):
        return {}
    if model.loss.likelihood and model.loss.has_classes:
        return {"deviance": 2.0 * weight * loss, "log-likelihood": -weight * loss}
    if not model.loss.closed_form:
        return _dispersion(model.facts.get("deviance"), freedom)
    variance = model.facts.get("variance")
    figures: dict[str, float] = {}
    if variance:
        r2 = 1.0 - loss / variance
        figures["R2"] = r2
        explained = len(model.weights) - model.intercept
        if freedom > 0 and explained:
            figures["adjusted R2"] = 1.0 - (1.0 - r2) * (rows - model.intercept) / freedom
            if loss > 0:
                figures["F"] = (variance - loss) / explained / (loss / freedom)
                figures["p of F"] = float(fdtrc(explained, freedom, figures["F"]))
    if freedom > 0:
        figures["residual standard error"] = math.sqrt(loss * weight / freedom)
    return figures


def _dispersion(found: dict[str, float] | None, freedom: int) -> dict[str, float]:
    """The deviance, and how much the target varies beside what the likelihood takes for granted."""
    if found is None:
        return {}
    figures = {"deviance": found["deviance"], "Pearson chi2": found["pearson"]}
    if freedom > 0:
        figures |= {"degrees of freedom": float(freedom), "dispersion": found["pearson"] / freedom}
    return figures


def _why_not(facts: dict[str, Any], freedom: int) -> str:
    if penalty := described(facts["penalty"]):
        does = "pulls the coefficients towards zero"
        if penalty.kinked:
            does = "chooses among the coefficients, those that are not zero too, by the rows themselves"
        return (
            f"the {penalty.words('penalty')} {does}, so their usual errors do not hold. "
            "Fit with `penalty=0` (`--l2 0`)."
        )
    if not str(facts["outcome"]).startswith("converged"):
        return 'the run ended short of the minimum. Let it converge: `optimizer="auto"` (`--optimizer auto`), no `steps`.'
    if freedom <= 0:
        return "there are no more rows than weights, so chance cannot be told from signal. Use fewer columns."
    return "columns are collinear (see the notes), or very many: leave out those that others explain."
