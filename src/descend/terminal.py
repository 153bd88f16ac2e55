"""What the shell prints: the descent, its ending, the metrics and the coefficients, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from descend.history import History
from descend.metrics import Metrics
from descend.modelfile import Model
from descend.run import Run
from descend.table_problem import summarise

LOSS_ROWS, COEFFICIENT_ROWS, CONFUSION_CLASSES = 10, 20, 12


def console() -> Console:
    """Standard output; colours and width as the terminal has them."""
    return Console(highlight=False, soft_wrap=False)


def print_run(out: Console, run: Run, label: str, files: Mapping[str, str]) -> None:
    """Everything a person wants to know after `descend fit`."""
    target = run.model.encoding.target if run.model.encoding else None
    out.print(
        f"[bold]{_escaped(label)}[/bold]: {run.model.loss.name} for [bold]{_escaped(target.name) if target else 'y'}[/bold]"
    )
    out.print(f"{summarise(run.rows)}; {len(run.model.feature_names)} features")
    for line in run.warnings:
        out.print(f"[yellow]warning[/yellow]: {_escaped(line)}")
    for line in run.notes:
        out.print(f"[cyan]note[/cyan]: {_escaped(line)}")
    out.print()
    out.print(loss_table(run.history))
    out.print(
        f"[bold]{run.outcome.value}[/bold] ({run.optimizer.name}, {_count(int(run.history.number[-1]), 'step')})"
    )
    out.print()
    print_metrics(out, run.metrics, run.model.classes)
    out.print(coefficient_table(run.model))
    out.print()
    for what, path in files.items():
        out.print(f"{what:<8} {path}", soft_wrap=True)


def loss_table(history: History) -> Table:
    """About ten rows of the history, the first and the last among them; in batches, ends of epochs."""
    table = _table("step", "loss", "validation", "gradient", "learning rate")
    columns = (history.loss, history.validation_loss, history.gradient_norm, history.learning_rate)
    known = np.flatnonzero(~np.isnan(history.loss))
    for row in known[np.unique(np.linspace(0, len(known) - 1, LOSS_ROWS).round().astype(int))]:
        table.add_row(f"{int(history.number[row]):,}", *(_figure(column[row]) for column in columns))
    return _without_empty_columns(table)


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
    out.print(table)
    for note in dict.fromkeys(m.note for m in metrics.values() if m.note):
        out.print(f"[cyan]note[/cyan]: {note}")
    side, last = list(metrics.items())[-1]
    if last.confusion is not None and classes is not None and len(classes) <= CONFUSION_CLASSES:
        confusion = _table(f"{side.removesuffix(' rows')} rows", *(f"predicted {c}" for c in classes))
        for label, row in zip(classes, last.confusion, strict=True):
            confusion.add_row(f"is {label}", *(f"{count:,.6g}" for count in row))
        out.print()
        out.print(confusion)
    out.print()


def coefficient_table(model: Model) -> Table:
    """Weights in original units, the largest in standardised size first, and the intercept."""
    outputs = (
        [str(c) for c in model.classes] if model.classes and model.weights.ndim == 2 else ["coefficient"]
    )
    table = _table("feature", *outputs, "standard error", "standardised size")
    if model.encoding is None:
        rows = model.weights.reshape(len(model.weights), -1)
        names = (*model.feature_names, "(intercept)")
        for name, row in zip(names, rows, strict=False):
            table.add_row(name, *map(_figure, row), "", "")
        return _without_empty_columns(table)
    digits = 6 if len(outputs) == 1 else 4
    errors = (model.facts.get("standard_errors") or {}) if len(outputs) == 1 else {}
    coefficients, intercepts = model.encoding.coefficients(model.weights)
    for c in coefficients[:COEFFICIENT_ROWS]:
        error = _figure(errors.get(c.name, np.nan), 4)
        table.add_row(_escaped(c.name), *(_figure(v, digits) for v in c.values), error, _figure(c.size, 4))
    if len(coefficients) > COEFFICIENT_ROWS:
        table.add_row(f"... {len(coefficients) - COEFFICIENT_ROWS} more in the model file")
    if model.intercept:
        error = _figure(errors.get("(intercept)", np.nan), 4)
        table.add_row("(intercept)", *(_figure(v, digits) for v in intercepts), error, "")
    return _without_empty_columns(table)


def print_model(out: Console, model: Model, path: str) -> None:
    """Everything that a model file says about itself."""
    facts = model.facts
    target = f" for [bold]{_escaped(model.encoding.target.name)}[/bold]" if model.encoding else ""
    out.print(f"[bold]{_escaped(path)}[/bold]: {model.loss.name}{target}")
    out.print(f"{summarise(facts['rows'])}; {len(model.feature_names)} features; descend {facts['descend']}")
    for line in facts["notes"]:
        out.print(f"[cyan]note[/cyan]: {_escaped(line)}")
    out.print(f"{facts['outcome']} ({facts['optimizer']}, {_count(facts['steps'], 'step')})")
    out.print()
    metrics = {side: Metrics(**values) for side, values in facts.get("metrics", {}).items()}
    print_metrics(out, metrics, model.classes)
    out.print(coefficient_table(model))


def model_object(model: Model) -> dict[str, Any]:
    """A model as one JSON object: its facts and its coefficients in original units."""
    result: dict[str, Any] = {"loss_function": model.loss.name, "classes": model.classes, **model.facts}
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


def _without_empty_columns(table: Table) -> Table:
    table.columns = [c for c in table.columns if any(cell != "" for cell in c.cells)]
    return table


def _figure(value: float, digits: int = 6) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.{digits}g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _escaped(text: str) -> str:
    """A name from the data, which may look like the markup of rich."""
    return text.replace("[", r"\[")
