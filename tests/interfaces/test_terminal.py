"""What the shell prints: tables of the descent, the metrics and the coefficients."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

import descend
from descend import History
from descend.interfaces.terminal import (
    COEFFICIENT_ROWS,
    LOSS_ROWS,
    coefficient_table,
    loss_table,
    model_object,
    print_metrics,
    print_model,
    print_run,
)
from descend.models.metrics import Metrics

RNG = np.random.default_rng(1)
ROWS = 300
X = RNG.normal(size=ROWS)
FRAME = {
    "size [cm]": X,
    "kind": RNG.choice(["[red]", "[/blue]", "green"], ROWS).tolist(),
    "y": 100 * X + RNG.normal(size=ROWS),
    "sold": np.where(X + RNG.normal(size=ROWS) > 0, "yes", "no").tolist(),
}


def shown(act, *arguments):
    """What it prints on a wide screen without colours."""
    out = Console(file=io.StringIO(), width=160, highlight=False)
    if act in (loss_table, coefficient_table):
        out.print(act(*arguments))
    else:
        act(out, *arguments)
    return out.file.getvalue()


def rows_of(text):
    return [line.split() for line in text.splitlines()[1:] if line.strip()]


@pytest.mark.parametrize("steps", [0, 1, 5, 1000])
def test_about_ten_rows_of_the_loss_the_first_and_the_last_among_them(steps):
    history = History()
    for i in range(steps + 1):
        history.record(loss=1.0 / (i + 1), learning_rate=0.1)
    numbers = [row[0] for row in rows_of(shown(loss_table, history))]
    assert len(numbers) == min(steps + 1, LOSS_ROWS)
    assert (numbers[0], numbers[-1]) == ("0", f"{steps:,}")


def test_columns_without_a_figure_are_not_shown_and_batches_show_their_epochs():
    history = History()
    for i in range(101):
        history.record(loss=2.0 if i % 50 == 0 else None, batch_loss=1.0)
    text = shown(loss_table, history)
    assert text.splitlines()[0].split() == ["step", "loss"]
    assert [row[0] for row in rows_of(text)] == ["0", "50", "100"]


def test_figures_are_not_cut_off():
    history = History()
    for loss in (0.12345678, 1.234567e-10):
        history.record(loss=loss, gradient_norm=loss, learning_rate=loss)
    text = shown(loss_table, history)
    assert rows_of(text)[1] == ["1", "1.23457e-10", "1.23457e-10", "1.23457e-10"]


@pytest.mark.parametrize("classes", [5, 40])
def test_a_narrow_screen_shows_every_figure(classes):
    rng = np.random.default_rng(4)
    names = [f"a rather long name of a class {i}" for i in range(classes)]
    data = {"x": rng.normal(size=ROWS), "z": rng.normal(size=ROWS), "y": rng.choice(names, ROWS).tolist()}
    run = descend.fit(data, target="y", valid=0.2)
    out = Console(file=io.StringIO(), width=60, highlight=False)
    print_run(out, run, "t", {})
    text = out.file.getvalue()
    assert out.width == 60
    assert f"{run.metrics['training'].baseline['log_loss']:.4g}" in text
    coefficients = run.model.encoding.coefficients(run.weights)[0]
    for c in coefficients:
        assert f"{c.size:.4g}" in text
        assert all(f"{value:.4g}" in text for value in c.values) == (classes == 5)
    assert "…" not in text


def test_names_that_look_like_markup_are_printed_as_they_are():
    run = descend.fit(FRAME, target="y", columns=descend.Columns(drop=["sold"]))
    text = shown(print_run, run, "a[b].csv", {"model": "a[b].model.json"})
    for words in ("a[b].csv", "size [cm]", "kind=[red]", "a[b].model.json"):
        assert words in text, words


def test_classes_that_look_like_markup_are_printed_as_they_are():
    run = descend.fit(FRAME, target="kind", columns=descend.Columns(features=["size [cm]", "y"]))
    text = shown(print_run, run, "t", {})
    for words in ("predicted [red]", "is [/blue]", "is green"):
        assert words in text, words
    assert "[/blue]" in shown(coefficient_table, run.model)


def test_levels_that_look_like_markup_are_printed_as_they_are():
    run = descend.fit(FRAME, target="sold", columns=descend.Columns(features=["kind"]))
    assert "kind=[/blue]" in shown(coefficient_table, run.model)


def test_coefficients_are_ordered_by_their_standardised_size():
    run = descend.fit(FRAME, target="y", columns=descend.Columns(drop=["sold"]))
    headers, *lines = shown(coefficient_table, run.model).splitlines()
    assert headers.split() == ["feature", "coefficient", "standard", "error", "standardised", "size"]
    sizes = [float(line.split()[-1]) for line in lines if "(intercept)" not in line]
    assert sizes == sorted(sizes, reverse=True)
    assert lines[0].startswith("size [cm]")
    coefficient, error = map(float, lines[0].split()[-3:-1])
    assert coefficient == pytest.approx(run.coefficients["size [cm]"], rel=1e-5)
    assert error == pytest.approx(run.standard_errors["size [cm]"], rel=1e-3)
    assert lines[-1].split()[0] == "(intercept)"


def test_only_the_largest_coefficients_are_listed():
    wide = {f"x{i}": RNG.normal(size=ROWS) for i in range(30)}
    run = descend.fit({**wide, "y": X}, target="y")
    text = shown(coefficient_table, run.model)
    assert f"... {30 - COEFFICIENT_ROWS} more in the model file" in text


def test_a_model_of_arrays_has_weights_and_an_intercept():
    run = descend.fit([[0.0, 1.0], [1.0, 1.0], [2.0, 3.0]], [1.0, 3.0, 5.0])
    assert [row[0] for row in rows_of(shown(coefficient_table, run.model))] == ["x0", "x1", "(intercept)"]
    assert model_object(run.model)["weights"] == run.weights.tolist()
    assert "squared-error" in shown(print_model, run.model, "m.json")


def test_metrics_stand_beside_those_of_a_constant():
    metrics = {
        side: Metrics(9, {"rmse": 1.25, "r2": float("nan")}, {"rmse": 2.5, "r2": 0.0}) for side in ("a", "b")
    }
    text = shown(print_metrics, metrics, None)
    assert text.splitlines()[0].split() == ["a", "b", "a,", "constant", "b,", "constant"]
    assert rows_of(text)[0] == ["rmse", "1.25", "1.25", "2.5", "2.5"]
    assert shown(print_metrics, {}, None) == ""


def test_a_note_on_the_metrics_is_printed_once():
    metrics = {side: Metrics(9, {"a": 1.0}, {"a": 1.0}, None, "from bins") for side in ("x", "y")}
    assert shown(print_metrics, metrics, None).count("note: from bins") == 1


def test_a_saved_model_shows_what_the_run_showed(tmp_path):
    run = descend.fit(FRAME, target="sold", valid=0.3)
    run.save(tmp_path / "m.json")
    text = shown(print_model, descend.load(tmp_path / "m.json"), "m.json")
    for words in (
        f"{run.rows['training']} rows to learn from, {run.rows['validation']} held out",
        run.outcome.value,
        f"({run.optimizer.name}, {len(run.history) - 1} steps)",
        "predicted yes",
        f"{run.metrics['validation'].values['log_loss']:.4g}",
    ):
        assert words in text, words
