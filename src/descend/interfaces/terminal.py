"""What the shell prints: the descent, its ending, the metrics and the coefficients, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from descend.descent.history import History
from descend.models.metrics import Metrics
from descend.models.model import Model
from descend.models.summary import summarise_model
from descend.runs.roles import summarise
from descend.runs.run import Run

LOSS_ROWS, COEFFICIENT_ROWS, MOST_CLASSES = 10, 20, 12


def console() -> Console:
    """Standard output; colours and width as the terminal has them."""
    return Console(highlight=False, soft_wrap=False)


def print_run(out: Console, run: Run, label: str, files: Mapping[str, str]) -> None:
    """Everything a person wants to know after `descend fit`."""
    target = run.model.encoding.target if run.model.encoding else None
    out.print(
        f"[bold]{_escaped(label)}[/bold]: {run.model.loss.name} for [bold]{_escaped(target.name) if target else 'y'}[/bold]"
    )
    out.print(f"{summarise(run.rows)}; {_count(len(run.model.feature_names), 'feature')}")
    for line in run.warnings:
        out.print(f"[yellow]warning[/yellow]: {_escaped(line)}")
    for line in run.notes:
        out.print(f"[cyan]note[/cyan]: {_escaped(line)}")
    out.print()
    _print_whole(out, loss_table(run.history))
    out.print(
        f"[bold]{run.outcome.value}[/bold] ({run.optimizer.name}, {_count(int(run.history.number[-1]), 'step')})"
    )
    for line in filter(None, (run.details, run.model.sparsity)):
        out.print(_escaped(line))
    out.print()
    print_metrics(out, run.metrics, run.model.classes)
    _print_whole(out, coefficient_table(run.model))
    summary = run.summary()
    for line in (", ".join(f"{k} {_figure(v, 5)}" for k, v in summary.figures.items()), *summary.notes):
        if line:
            out.print(_escaped(line), soft_wrap=True)
    out.print()
    for what, path in files.items():
        out.print(f"{what:<8} {_escaped(path)}", soft_wrap=True)


def loss_table(history: History) -> Table:
    """About ten rows of the history, the first and the last among them; in batches, ends of epochs."""
    headers, rows = ("step", "loss", "validation", "gradient", "learning rate"), []
    columns = (history.loss, history.validation_loss, history.gradient_norm, history.learning_rate)
    known = np.flatnonzero(~np.isnan(history.loss))
    for row in known[np.unique(np.linspace(0, len(known) - 1, LOSS_ROWS).round().astype(int))]:
        rows.append((f"{int(history.number[row]):,}", *(_figure(column[row]) for column in columns)))
    return _filled(headers, rows)


def print_metrics(out: Console, metrics: Mapping[str, Metrics], classes: Sequence[Any] | None) -> None:
    """Metrics of each set of rows beside those of a constant prediction, and the last confusion matrix."""
    if not metrics:
        return
    table = _table("", *metrics, *(f"{side}, constant" for side in metrics))
    names = next(iter(metrics.values())).values
    for name in names:
        ours = [_figure(m.values[name], 4) for m in metrics.values()]
        table.add_row(
            name.replace("_", " "), *ours, *(_figure(m.baseline[name], 4) for m in metrics.values())
        )
    _print_whole(out, table)
    for note in dict.fromkeys(m.note for m in metrics.values() if m.note):
        out.print(f"[cyan]note[/cyan]: {note}")
    side, last = list(metrics.items())[-1]
    if last.confusion is not None and classes is not None and len(classes) <= MOST_CLASSES:
        confusion = _table(f"{side.removesuffix(' rows')} rows", *(f"predicted {c}" for c in classes))
        for label, row in zip(classes, last.confusion, strict=True):
            confusion.add_row(_escaped(f"is {label}"), *(f"{count:,.6g}" for count in row))
        out.print()
        _print_whole(out, confusion)
    out.print()


def coefficient_table(model: Model) -> Table:
    """Weights in original units, the largest in standardised size first, and the intercept."""
    outputs = (
        [str(c) for c in model.classes] if model.classes and model.weights.ndim == 2 else ["coefficient"]
    )
    if model.encoding is None:
        weights = model.weights.reshape(len(model.weights), -1)
        names = (*model.feature_names, *(["(intercept)"] if model.intercept else []))
        rows = [(name, *map(_figure, row)) for name, row in zip(names, weights, strict=True)]
        return _filled(("feature", *outputs), rows)
    if len(outputs) > MOST_CLASSES:  # those of each class are in the model file
        outputs = []
    digits = 6 if len(outputs) == 1 else 4
    errors = (model.facts.get("standard_errors") or {}) if len(outputs) == 1 else {}
    coefficients, intercepts = model.encoding.coefficients(model.weights)
    listed = [(c.name, c.values, _figure(c.size, 4)) for c in coefficients[:COEFFICIENT_ROWS]]
    more = [f"... {len(coefficients) - COEFFICIENT_ROWS} more in the model file"]
    rows = [
        (
            name,
            *(_figure(v, digits) for v in values[: len(outputs)]),
            _error(errors, name),
            size,
        )
        for name, values, size in [*listed, *([("(intercept)", intercepts, "")] if model.intercept else [])]
    ]
    if len(coefficients) > COEFFICIENT_ROWS:
        rows.insert(COEFFICIENT_ROWS, (*more, *[""] * (len(outputs) + 2)))
    return _filled(("feature", *outputs, "standard error", "standardised size"), rows)


def _error(errors: dict[str, Any], name: str) -> str:
    """The standard error of a coefficient; in words where the rows do not tell it from others."""
    return "aliased" if name in errors and errors[name] is None else _figure(errors.get(name, np.nan), 4)


def print_model(out: Console, model: Model, path: str) -> None:
    """Everything that a model file says about itself."""
    facts = model.facts
    target = f" for [bold]{_escaped(model.encoding.target.name)}[/bold]" if model.encoding else ""
    out.print(f"[bold]{_escaped(path)}[/bold]: {model.loss.name}{target}")
    features = _count(len(model.feature_names), "feature")
    out.print(f"{summarise(facts['rows'])}; {features}; descend {facts['descend']}")
    for line in facts["notes"]:
        out.print(f"[cyan]note[/cyan]: {_escaped(line)}")
    out.print(f"{facts['outcome']} ({facts['optimizer']}, {_count(facts['steps'], 'step')})")
    if facts.get("details"):
        out.print(_escaped(facts["details"]))
    out.print()
    metrics = {side: Metrics(**values) for side, values in facts.get("metrics", {}).items()}
    print_metrics(out, metrics, model.classes)
    _print_whole(out, coefficient_table(model))
    if "details" in facts:  # files of older versions know less
        out.print()
        out.print(_escaped(str(summarise_model(model))), soft_wrap=True)


def model_object(model: Model) -> dict[str, Any]:
    """A model as one JSON object: its facts and its coefficients in original units."""
    result: dict[str, Any] = {"loss_function": model.loss.name, "classes": model.classes, **model.facts}
    if model.sparsity:
        result["sparsity"] = model.sparsity
    if "details" in model.facts:  # files of older versions know less
        told = summarise_model(model).to_dict()
        result["summary"] = {name: told[name] for name in ("figures", "why_not")} | {
            "notes": told.get("notes", [])
        }
    if model.encoding is None:
        result["weights"] = model.weights.tolist()
        return result
    coefficients, intercepts = model.encoding.coefficients(model.weights)
    one = model.weights.ndim == 1
    result["target"] = model.encoding.target.name
    result["coefficients"] = {c.name: c.values[0] if one else c.values for c in coefficients}
    result["intercept"] = (intercepts[0] if one else intercepts) if model.intercept else None
    return result


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, header in enumerate(headers):
        table.add_column(
            _escaped(header), justify="left" if i == 0 else "right", overflow="fold", no_wrap=i > 0
        )
    return table


def _print_whole(out: Console, table: Table) -> None:
    """Print a table with every figure whole; a terminal narrower than it wraps its lines."""
    width = out.width
    wide = out.options.update(max_width=100_000)
    out.width = max(width, Measurement.get(out, wide, table).maximum)
    out.print(table, crop=False)
    out.width = width


def _filled(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without the columns in which every cell is empty."""
    kept = [i for i in range(len(headers)) if any(row[i] for row in rows)]
    table = _table(*(headers[i] for i in kept))
    for row in rows:
        table.add_row(*(_escaped(row[i]) for i in kept))
    return table


def _figure(value: float, digits: int = 6) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.{digits}g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escaped(text: str) -> str:
    """A name from the data, which may look like the markup of rich."""
    return escape(text)
