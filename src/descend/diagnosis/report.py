"""The report of a run: one self-contained page that says what was asked, what came out, and how to repeat it.

The page asks the network for nothing, prints on paper, and escapes whatever comes from the data.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from descend.descent.stopping import Outcome
from descend.diagnosis.diagnosis import Diagnosis, diagnose
from descend.diagnosis.forecast import Forecast
from descend.diagnosis.text import Item, Table, sections
from descend.engines.matrix import Float
from descend.errors import DescendError
from descend.files import replacing
from descend.models.metrics import FIGURES, Metrics
from descend.models.summary import UNITS
from descend.objectives.losses import Loss
from descend.objectives.penalties import described
from descend.pictures import page
from descend.pictures.film import Film
from descend.pictures.panels import rgb
from descend.pictures.styles import LIGHT, css
from descend.runs.roles import summarise
from descend.runs.run import Run

MAX_COEFFICIENTS, MAX_COLUMNS, MAX_CLASSES = 40, 60, 20
BINS = 31
FEW_CELLS = 1 << 20
"""So few numbers are gone through again for a diagnosis that nobody has asked for."""
PACKAGES = ("numpy", "scipy", "polars")

PRINTED = "addEventListener('beforeprint',()=>{film.pause();film.seek(film.frames-1)})"
"""On paper the film stands at its end."""

PREDICTED = {
    "number": "a number is predicted",
    "count": "the mean of a count is predicted",
    "two classes": "the probability of one of two classes is predicted",
    "classes": "a probability for each class is predicted",
}
"""What a loss is for, by its kind."""


def write_report(
    run: Run,
    path: str | os.PathLike[str],
    *,
    command: str | None = None,
    label: str = "",
    film: Film | None = None,
    diagnosis: Diagnosis | bool | None = None,
) -> None:
    """Write the report of a run as one HTML file.

    `command` is the line that repeats it, `label` names the data, `film` is that of the run where it
    has been made already, `diagnosis` as for `Run.report`. Raises `DataError` where the file cannot be written.
    """
    text = render(run, command=command, label=label, film=film, diagnosis=diagnosis)
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def write_beside(
    run: Run, model: str, command: str, label: str, diagnosis: bool | None = None
) -> dict[str, str]:
    """Write NAME.report.html and NAME.film.json beside NAME.model.json; returns their names."""
    name = model.removesuffix(".json").removesuffix(".model")
    written = {"report": f"{name}.report.html", "film": f"{name}.film.json"}
    film = run.animate()
    film.save(written["film"])
    write_report(run, written["report"], command=command, label=label, film=film, diagnosis=diagnosis)
    return written


def render(
    run: Run,
    *,
    command: str | None = None,
    label: str = "",
    film: Film | None = None,
    diagnosis: Diagnosis | bool | None = None,
) -> str:
    """The report as HTML."""
    film = run.animate() if film is None else film
    encoding = run.model.encoding
    target = "y" if encoding is None else encoding.target.name
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {"figure": figure, "code": _code}
    template = environment.from_string((files("descend.diagnosis") / "report.html.jinja").read_text("utf-8"))
    return template.render(
        title=f"{target} from {label}" if label else f"A fit of {target}",
        target=target,
        asked=_asked(run, label),
        rows=summarise(run.rows),
        columns=_columns(run)[:MAX_COLUMNS],
        more_columns=max(0, len(_columns(run)) - MAX_COLUMNS),
        warnings=run.warnings,
        notes=run.notes,
        outcome=run.outcome.value,
        went_well=not (run.outcome.failed or run.outcome in (Outcome.INTERRUPTED, Outcome.STALLED)),
        ending=_ending(run),
        details=run.details,
        diagnosis=_diagnosis(run, diagnosis, film),
        undiagnosed=diagnosis is None and run.origin is not None,
        metrics=_metrics(run.metrics),
        coefficients=_coefficients(run),
        summary=run.summary(),
        confusion=_confusion(run),
        residuals=_residuals(run),
        top=run.top_losses(10),
        chances=run.model.has_probabilities,
        link=run.model.loss.link.name,
        command=command,
        versions=_versions(),
        style=Markup(page.style() + f"@media print{{:root{{{css('light')}}}}}"),
        player=Markup(page.element(film)),
        script=Markup(f"{page.player()}\nconst film={page.mounting()};{PRINTED}"),
    )


def figure(value: float | None, digits: int = 5) -> str:
    """A number of few digits, a dash where there is none.

    >>> figure(1234567.0), figure(0.000123456), figure(float("nan"))
    ('1,234,567', '0.00012346', '–')
    """
    if value is None or not np.isfinite(value):
        return "–"
    if 10**digits <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}"


def _code(text: str) -> Markup:
    """A sentence whose words between backticks are code.

    >>> _code("Set `a<b` now.")
    Markup('Set <code>a&lt;b</code> now.')
    """
    marked = [
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(text.split("`"))
    ]
    return Markup("").join(marked)


def _diagnosis(run: Run, wanted: Diagnosis | bool | None, film: Film) -> dict[str, Any] | None:
    """The diagnosis of a run; unless it is asked for only where it reads no large file again."""
    if wanted is False or (wanted is None and not _is_cheap(run)):
        return None
    try:
        found = wanted if isinstance(wanted, Diagnosis) else diagnose(run)
    except DescendError:
        if wanted is None:
            return None
        raise
    kinds = {str: "text", Item: "item", Table: "table"}
    return {
        "sections": [(s.title, [(kinds[type(part)], part) for part in s.parts]) for s in sections(found)],
        "curves": _curves(found.forecast),
        "axes": bool(film.surface and film.surface.axes()),
    }


def _is_cheap(run: Run) -> bool:
    """Whether a diagnosis costs next to nothing: squared error, whose moments are kept, and little data at hand."""
    if run.quadratic is not None:
        return True
    if run.origin is None or run.origin.options.get("engine") is not None:
        return False
    data = run.origin.data
    paths = [data] if isinstance(data, str) else data if isinstance(data, list) else []
    return "-" not in paths and run.rows["training"] * len(run.weights) <= FEW_CELLS


def _curves(found: Forecast | None) -> dict[str, Any] | None:
    """The predicted losses and the run's as lines in a square of 100, as logarithms where they fall far."""
    if found is None or len(found.steps) < 2:
        return None
    named = dict(found.curves) if found.actual is None else {"the run": found.actual, **found.curves}
    top = max(float(c[(c <= found.ceiling) | (found.actual is not None)].max()) for c in named.values())
    log = found.best > 0 and top > 2 * found.best
    scale = np.log if log else np.asarray
    low, high = float(scale(found.best)), float(scale(top))
    across = 100 * found.steps / found.steps[-1]
    lines = []
    for number, (name, curve) in enumerate(named.items(), 1):
        up = 96 - 92 * (scale(np.minimum(curve, top + 9 * abs(top))) - low) / (high - low or 1.0)
        points = " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(across, up, strict=True))
        lines.append({"name": name, "points": points, "number": number})
    return {
        "lines": lines,
        "ran": found.actual is not None,
        "exact": found.exact,
        "log": log,
        "top": top,
        "best": found.best,
        "last": int(found.steps[-1]),
    }


def _asked(run: Run, label: str) -> list[tuple[str, str]]:
    facts, optimizer = run.model.facts, run.optimizer
    penalty = described(facts.get("penalty"))
    settings = [
        f"{name.replace('_', ' ')} {figure(value) if isinstance(value, float) else value}"
        for name, value in vars(optimizer).items()
        if isinstance(value, int | float | str) and value and not isinstance(value, bool)
    ]
    asked = [
        ("data", label or "arrays"),
        ("loss", _words(run.model.loss)),
        (
            "penalty",
            penalty.words("with alpha", figure) + UNITS.get(facts.get("penalise", ""), "")
            if penalty
            else "none",
        ),
        ("optimizer", ", ".join([optimizer.name.replace("-", " "), *settings])),
        ("intercept", "fitted" if run.model.intercept else "none"),
    ]
    if run.model.classes is not None:
        listed = [str(label) for label in run.model.classes[:12]]
        asked.append(("classes", ", ".join(listed) + (", …" if len(run.model.classes) > 12 else "")))
    return asked


def _words(loss: Loss) -> str:
    """What a loss is, and what it predicts where that is known."""
    if not loss.metrics:
        return loss.title
    settings = ", ".join(f"{name} {value:g}" for name, value in loss.to_dict().items() if name != "name")
    title = f"{loss.title} with {settings}" if settings else loss.title
    if loss.has_classes and not loss.link.probabilities:
        return f"{title}: one of {'two ' if loss.kind == 'two classes' else ''}classes is predicted"
    return f"{title}: {PREDICTED[loss.kind]}"


def _columns(run: Run) -> list[dict[str, str]]:
    """What each raw column is, how much of it is missing, and what it holds."""
    encoding = run.model.encoding
    if encoding is None:
        return []
    described = []
    for column in encoding.columns:
        if column.kind == "number":
            role = "date, in days" if column.dated else "number"
            missing = column.missing_share
            holds = f"mean {figure(column.mean)}, standard deviation {figure(column.scale)}"
        else:
            shares = dict(zip(column.levels, column.shares, strict=True))
            missing = shares.pop("(missing)", 0.0)
            common = sorted(shares, key=lambda level: -shares[level])[:4]
            holds = ", ".join(f"{level} {shares[level]:.0%}" for level in common)
            role = f"category, {len(shares)} levels" if len(shares) != 1 else "category, 1 level"
            holds += f" and {len(shares) - 4} more" if len(shares) > 4 else ""
        described.append(
            {
                "name": column.name,
                "role": role,
                "missing": f"{missing:.1%}" if missing else "",
                "holds": holds,
            }
        )
    return described


def _ending(run: Run) -> str:
    losses = run.history.loss[np.isfinite(run.history.loss)]
    steps, seconds = int(run.history.number[-1]), run.model.facts.get("seconds")
    words = f"{steps:,} step{'' if steps == 1 else 's'}"
    if len(losses) > 1:
        penalised = " with its penalty" if described(run.model.facts.get("penalty")) else ""
        words += f", the loss{penalised} went from {figure(float(losses[0]))} to {figure(float(losses[-1]))}"
    if seconds is not None:
        words += f", in {seconds:.2g} s"
    return f"{words}; {run.model.sparsity}" if run.model.sparsity else words


def _metrics(metrics: dict[str, Metrics]) -> list[dict[str, Any]]:
    """One row per metric and set of rows, beside the constant prediction."""
    table = []
    for side, found in metrics.items():
        for name, value in found.values.items():
            base, (words, more) = found.baseline[name], FIGURES[name]
            better = bool(value > base if more else value < base)
            table.append({"side": side, "name": words, "value": value, "base": base, "better": better})
    return table


def _coefficients(run: Run) -> dict[str, Any]:
    """Weights in original units, largest standardised size first, with the length of each one's bar."""
    model = run.model
    several = model.weights.ndim == 2
    heads = [str(label) for label in model.classes or ()] if several else ["coefficient"]
    rows: list[dict[str, Any]]
    if model.encoding is None:
        W = model.weights.reshape(len(model.weights), -1)
        names = model.feature_names
        sizes = np.abs(W[: len(names)]).max(axis=1)
        spread = run.sample.X.std(axis=0) if run.sample is not None else np.ones(len(names))
        sizes = sizes * np.where(spread > 0, spread, 1.0)
        order = np.argsort(-sizes, kind="stable")
        rows = [{"name": names[i], "values": W[i].tolist(), "size": float(sizes[i])} for i in order]
        last = W[-1].tolist() if model.intercept else None
    else:
        listed, intercepts = model.encoding.coefficients(model.weights)
        rows = [{"name": c.name, "values": list(c.values), "size": c.size} for c in listed]
        last = list(intercepts) if model.intercept else None
    largest = max([row["size"] for row in rows if np.isfinite(row["size"])], default=0.0) or 1.0
    for row in rows:
        row["width"] = round(100 * row["size"] / largest, 2) if np.isfinite(row["size"]) else 0.0
        row["sign"] = "both" if several else ("minus" if row["values"][0] < 0 else "plus")
    return {
        "heads": heads[:MAX_CLASSES],
        "rows": rows[:MAX_COEFFICIENTS],
        "more": max(0, len(rows) - MAX_COEFFICIENTS),
        "intercept": last,
        "several": several,
        "errors": {} if several else {k: _error(v) for k, v in (run.standard_errors or {}).items()},
    }


def _error(error: float) -> str:
    """A standard error; in words where the rows do not tell the coefficient from others."""
    return "aliased" if np.isnan(error) else figure(error)


def _confusion(run: Run) -> dict[str, Any] | None:
    """The confusion matrix of the rows held out, or of the training rows, shaded by row."""
    if not run.metrics or run.model.classes is None or len(run.model.classes) > MAX_CLASSES:
        return None
    side, found = list(run.metrics.items())[-1]
    if found.confusion is None:
        return None
    counts = np.array(found.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    labels = [str(label) for label in run.model.classes]
    red, green, blue = (round(255 * channel) for channel in rgb(LIGHT.data))
    rows = [
        {
            "label": label,
            "cells": [
                {"count": count, "shade": f"rgba({red},{green},{blue},{0.75 * share:.3f})"}
                for count, share in zip(row, part, strict=True)
            ],
        }
        for label, row, part in zip(labels, counts.tolist(), shares.tolist(), strict=True)
    ]
    return {"side": side, "labels": labels, "rows": rows}


def _residuals(run: Run) -> dict[str, Any] | None:
    """A histogram of actual less predicted, as places and heights of bars in per cent."""
    loss, sample = run.model.loss, run.sample
    if loss.has_classes or not loss.metrics or loss.outputs(1) is not None or sample is None:
        return None
    errors: Float = sample.y - run.model.decide(run.model.linear_predictor(sample.X, sample.offset))
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        return None
    reach = float(np.abs(errors).max()) or 1.0
    counts, edges = np.histogram(errors, BINS, (-reach, reach))
    bars = [
        {
            "x": round(100 * i / BINS, 3),
            "height": round(100 * count / counts.max(), 3),
            "about": f"{figure(edges[i], 3)} to {figure(edges[i + 1], 3)}: {count:,} rows",
        }
        for i, count in enumerate(counts.tolist())
    ]
    ticks = [figure(tick, 3) for tick in (-reach, 0.0, reach)]
    return {"bars": bars, "width": round(100 / BINS, 3), "ticks": ticks, "among": sample.description}


def _versions() -> Sequence[tuple[str, str]]:
    from descend import __version__

    found = [("descend", __version__), ("Python", platform.python_version())]
    loaded = ((name, getattr(sys.modules.get(name), "__version__", "")) for name in PACKAGES)
    return found + [(name, number) for name, number in loaded if number]
