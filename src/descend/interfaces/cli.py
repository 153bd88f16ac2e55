"""The `descend` command. Each command parses, calls and prints; nothing is computed here."""

from __future__ import annotations

import json as jsonlib
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter

from descend import __version__
from descend.errors import DescendError
from descend.files import check_apart, check_writable
from descend.interfaces.options import (
    COLUMNS,
    DESCENT,
    HYPHEN,
    ColumnOptions,
    DescentOptions,
    Files,
    Flag,
    Names,
    Short,
    columns_of,
    engine_of,
    errors_of,
    hyphens,
    optimizer_of,
    penalty_of,
    validation_of,
)

if TYPE_CHECKING:
    from descend.runs.run import Run

_arguments: ContextVar[tuple[str, ...]] = ContextVar("arguments", default=())
"""What the command line said, for the report."""

app = App(
    name="descend",
    version=__version__,
    help="Fit linear models by gradient descent, and watch it happen. "
    "Add --debug to any command for the traceback of an error.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


@app.command
def fit(
    *data: Files,
    target: str,
    out: Short | None = None,
    history: str | None = None,
    descent: DescentOptions = DESCENT,
    columns: ColumnOptions = COLUMNS,
    every: int | None = None,
    no_report: Flag = False,
    diagnose: Flag = False,
    json: Annotated[Flag, Parameter(name="--json")] = False,
    quiet: Flag = False,
) -> int:
    """Fit a model to CSV or Parquet files; write it as NAME.model.json, with a report and a film beside it.

    descend fit penguins.csv --target body_mass_g
    descend fit flights/*.parquet --target late --l2 0 --history late.csv
    descend fit visits.csv --target returned --group patient --class-weight balanced
    descend fit sales.csv.gz --target units --weight days --valid last:0.2 --memory 500MB
    descend fit june.csv --target price --valid july.csv --encoding cp1252
    zstd -dc big.csv.zst | descend fit - --target y --out y.model.json

    Parameters
    ----------
    data
        Files, globs or folders: CSV and TSV (plain, .gz, .zst), Parquet, Arrow IPC; - is standard input.
    target
        The column to predict.
    out
        The model file; NAME.report.html, a page to read, and NAME.film.json, what it plays, lie beside it.
    history
        Also write the loss and the weights of every step, to .csv or .parquet.
    every
        Print the loss every so many steps.
    no_report
        Write neither report nor film.
    diagnose
        Put a diagnosis into the report even where that reads the data once more.
    json
        Print one JSON object instead of tables.
    quiet
        Print nothing.
    """
    paths = hyphens(data)
    files = {"model": out or f"{_stem(paths)}.model.json"}
    files |= {"history": history} if history else {}
    check_writable(files["model"])
    if history:
        check_writable(history, (".csv", ".parquet"))
    read = _read(*paths, descent.valid)
    for written in files.values():
        check_apart(written, read)
    run = _fit(paths, target, descent, columns, None if json or quiet else every, not (json or quiet))
    run.save(files["model"])
    if history:
        run.history.save(history)
    if not no_report:
        from descend.diagnosis.report import write_beside

        named = ", ".join(Path(name).name for name in paths) if "-" not in paths else _stem(paths)
        command = shlex.join(["descend", *_arguments.get()])
        files |= write_beside(run, files["model"], command, named, diagnosis=diagnose or None)
    if json:
        _print_json({**_run_object(run), "files": files})
    elif not quiet:
        from descend.interfaces.terminal import console, print_run

        print_run(console(), run, ", ".join(paths), files)
        if descent.errors and run.standard_errors is None:
            print(f"note: `--errors` has no effect: {run.summary().why_not}", file=sys.stderr)
    return _exit_code(run, descent)


app.command("descend.interfaces.cli:diagnose")


@app.command
def predict(
    model: str,
    /,
    *data: Files,
    out: Short | None = None,
    keep: Names = (),  # type: ignore[assignment]
    interval: float | None = None,
    encoding: str | None = None,
    cluster: str | None = None,
    engine: str | None = None,
) -> int:
    """Predict every row of files, in order; probabilities too where the model has classes.

    descend predict penguins.model.json new.csv --out predictions.csv --keep id
    cat new.csv | descend predict penguins.model.json - > predictions.csv
    descend predict penguins.model.json new.csv --interval 0.95 --out predictions.csv

    Parameters
    ----------
    model
        A file written by `descend fit`.
    data
        Files with the columns that the model was fitted on.
    out
        A .csv or .parquet file; standard output unless given.
    keep
        Columns of the data to write beside the prediction.
    interval
        Also write where the mean, and an observation, lie by chance, 0.95 for example.
    encoding
        Encoding of a CSV that is not UTF-8: cp1252, latin-1, utf-16.
    cluster
        Predict on the workers of a Dask cluster, tcp://host:8786 or local:N; OUT is then a new folder.
    engine
        serial, threads:N, processes:N or cluster:ADDRESS; a thread per core unless given.
    """
    from descend.models.model import load
    from descend.models.scoring import write_predictions

    sums = engine_of(engine, cluster)
    if out:
        check_apart(out, _read(*hyphens(data)))
    written = write_predictions(
        load(model), hyphens(data), out, keep, encoding=encoding, engine=sums, interval=interval
    )
    for sentence in written.unknowns.sentences():
        print(f"note: {sentence}", file=sys.stderr)
    if out:
        print(f"{written.rows:,} predictions in {out}", file=sys.stderr)
    return 0


@app.command
def score(
    model: str,
    /,
    *data: Files,
    encoding: str | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    engine: str | None = None,
    json: Annotated[Flag, Parameter(name="--json")] = False,
) -> int:
    """Metrics of a model on files that hold the target.

    descend score penguins.model.json new.csv
    descend score sales.model.json july.csv --weight days

    Parameters
    ----------
    model
        A file written by `descend fit`.
    data
        Files with the columns that the model was fitted on, and the target.
    encoding
        Encoding of a CSV that is not UTF-8: cp1252, latin-1, utf-16.
    weight
        Column of sample weights, at least 0.
    cluster
        Work on a Dask cluster: tcp://host:8786, or local:N.
    engine
        serial, threads:N, processes:N or cluster:ADDRESS; a thread per core unless given.
    json
        Print one JSON object instead of tables.
    """
    from descend.models.model import load
    from descend.models.scoring import score as score_table

    loaded = load(model)
    metrics = score_table(loaded, hyphens(data), engine_of(engine, cluster), encoding=encoding, weight=weight)
    if json:
        _print_json(metrics.to_dict())
        return 0
    from descend.interfaces.terminal import console, print_metrics

    rows = f"{metrics.rows:,} row{'' if metrics.rows == 1 else 's'}"
    print_metrics(console(), {rows: metrics}, loaded.classes)
    return 0


@app.command
def show(model: str, /, *, json: Annotated[Flag, Parameter(name="--json")] = False) -> int:
    """Show what a model file holds: how it was fitted, and its coefficients in original units.

    descend show penguins.model.json

    Parameters
    ----------
    model
        A file written by `descend fit`.
    json
        Print one JSON object instead of tables.
    """
    from descend.interfaces.terminal import console, model_object, print_model
    from descend.models.model import load

    loaded = load(model)
    if json:
        _print_json(model_object(loaded))
    else:
        print_model(console(), loaded, model)
    return 0


@app.command
def animate(film: str, /, *, out: Short) -> int:
    """Draw a film again: as a page that plays it, a GIF, a video, a picture of its end.

    descend animate penguins.film.json --out penguins.html
    descend animate penguins.film.json --out penguins.gif

    Parameters
    ----------
    film
        A NAME.film.json, or a history.csv (losses and coefficients alone).
    out
        A file ending in .html, .gif, .mp4, .png or .json.
    """
    from descend.descent.history import History
    from descend.pictures.film import Film

    whole = film.endswith(".json")
    (Film.load(film) if whole else History.load(film).animate()).save(out)
    print(out, file=sys.stderr)
    return 0


@app.command
def lesson(name: str = "", /, *, list: Flag = False) -> int:
    """Copy a lesson's notebook here, and open it where Jupyter is installed; the first unless named.

    descend lesson --list
    descend lesson 02_learning_rate

    Parameters
    ----------
    name
        The lesson's name, a part of it, or its number.
    list
        List the lessons.
    """
    from descend.interfaces import lessons

    if list:
        for known, title in lessons.lessons().items():
            print(f"{known:20s} {title}")
        return 0
    copied = lessons.copy_lesson(lessons.named(name or "1"), Path.cwd())
    print(f"{copied.name} is here")
    return lessons.show(copied)


app.command("descend.interfaces.cli:export")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code is 0 for done, 1 for no answer reached, 2 for bad input."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _arguments.set(tuple(arguments))
    debug = "--debug" in arguments
    try:
        result = app(
            [HYPHEN if a == "-" else a for a in arguments if a != "--debug"],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        return result if isinstance(result, int) else 0
    except (DescendError, CycloptsError) as error:
        if debug:
            raise
        print(f"descend: {' '.join(str(error).split())}{_hint(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("descend: interrupted; nothing was written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: `descend predict ... | head`
        sys.stderr.close()
        return 0


def _hint(error: Exception) -> str:
    """What to do where the files are missing: a flag of several values before them has taken them."""
    if isinstance(error, MissingArgumentError) and error.argument and error.argument.name == "DATA":
        return " Give files before the flags, or after -- at the end; - is standard input."
    return ""


def _fit(
    data: list[str],
    target: str,
    how: DescentOptions,
    which: ColumnOptions,
    every: int | None,
    progress: bool,
) -> Run:
    """Translate the flags and fit; what was left out is printed with the run, not as a warning."""
    from descend.errors import DescendWarning
    from descend.runs.fitting import fit

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DescendWarning)
        return fit(
            data,
            target=target,
            loss=how.loss,
            penalty=penalty_of(how.l2, how.l1, how.l1_ratio),
            valid=validation_of(how.valid),
            seed=how.seed,
            class_weight=how.class_weight,
            memory=None if how.cluster else how.memory,
            engine=engine_of(how.engine, how.cluster, how.memory, quiet=not progress),
            columns=columns_of(which, how),
            errors=errors_of(how.errors)[0],
            weight_kind=how.weight_kind,
            penalise=how.penalise,
            optimizer=optimizer_of(how),
            steps=how.steps,
            epochs=how.epochs,
            batch_size=None if how.optimizer == "local-steps" else how.batch_size,
            patience=how.patience,
            tolerance=how.tolerance,
            time_limit=how.time_limit,
            every=every,
            progress=progress,
        )


def _read(*paths: str) -> list[Path | str]:
    """The files that a command is going to read, as far as there are any."""
    from descend.tables.files import find_files

    found: list[Path | str] = []
    for path in paths:
        with suppress(DescendError):
            found += find_files(path)
    return found


def _stem(paths: Sequence[str]) -> str:
    """What the model is named after: a file or folder, where it is one."""
    if len(paths) != 1 or not os.path.exists(paths[0]):
        return "model"
    name = os.path.basename(os.path.abspath(paths[0]))
    return Path(name.removesuffix(".gz").removesuffix(".zst")).stem or "model"


def _exit_code(run: Run, how: DescentOptions) -> int:
    """1 where no answer was reached: diverged, without a minimum, or short of a tolerance that was in force."""
    from descend.descent.stopping import Outcome

    if run.outcome.failed:
        return 1
    asked = how.tolerance is not None or (how.steps is None and how.epochs is None and how.batch_size is None)
    return int(run.outcome in (Outcome.STEP_LIMIT, Outcome.STALLED) and asked)


def _run_object(run: Run) -> dict[str, Any]:
    from descend.interfaces.terminal import model_object

    return {"converged": run.outcome.converged, **model_object(run.model)}


def _print_json(content: Any) -> None:
    print(jsonlib.dumps(content, indent=2, ensure_ascii=False))


def diagnose(
    *data: Files,
    target: str,
    loss: str | None = None,
    l2: float | None = None,
    l1: float | None = None,
    l1_ratio: float | None = None,
    penalise: str | None = None,
    class_weight: str | None = None,
    valid: str = "0",
    seed: int = 0,
    steps: int = 100,
    memory: str | None = None,
    cluster: str | None = None,
    engine: str | None = None,
    columns: ColumnOptions = COLUMNS,
    json: Annotated[Flag, Parameter(name="--json")] = False,
) -> int:
    """Say what a fit will meet: what to do, how good it can get, learning rates, columns that stand in the way.

    descend diagnose penguins.csv --target body_mass_g
    descend diagnose loans.parquet --target default --l2 0 --json
    descend diagnose visits.csv --target returned --valid 0.2 --group patient

    Parameters
    ----------
    data
        Files, globs or folders, as for `descend fit`.
    target
        The column to predict.
    loss
        squared-error, huber, poisson, logistic or cross-entropy; the target tells unless given.
    l2
        Strength of the L2 penalty, as for `descend fit`.
    l1
        Strength of the L1 penalty, as for `descend fit`.
    l1_ratio
        Share of --l1 that is L1, as for `descend fit`.
    penalise
        What a penalty acts on, original or standardised coefficients, as for `descend fit`.
    class_weight
        balanced: classes count alike, however many rows they have.
    valid
        Rows to leave out as `descend fit` holds them out, 0.2 for its default; none unless given.
    seed
        Decides which rows are left out.
    steps
        How many steps of gradient descent to predict.
    memory
        Memory for decoded rows, 500MB or 2GB.
    cluster
        Work on a Dask cluster: tcp://host:8786, or local:N.
    engine
        serial, threads:N, processes:N or cluster:ADDRESS; a thread per core unless given.
    json
        Print one JSON object instead of a page.
    """
    from descend.diagnosis.diagnosis import diagnose

    found = diagnose(
        hyphens(data),
        target=target,
        loss=loss,
        penalty=penalty_of(l2, l1, l1_ratio),
        penalise=penalise,
        class_weight=class_weight,
        valid=validation_of(valid),
        seed=seed,
        memory=None if cluster else memory,
        engine=engine_of(engine, cluster, memory),
        columns=columns_of(columns),
        steps=steps,
    )
    print(jsonlib.dumps(found.to_dict(), indent=2, ensure_ascii=False) if json else found)
    return 0


def export(model: str, /, *, to: str, out: Annotated[str | None, Parameter(alias="-o")] = None) -> int:
    """Write a model as a program, its encoding included: onnx, torch, sql or python.

    descend export penguins.model.json --to sql
    descend export penguins.model.json --to onnx --out penguins.onnx

    Parameters
    ----------
    model
        A file written by `descend fit`.
    to
        onnx (a graph), torch (a module in Python), sql (one SELECT) or python (a function).
    out
        The file; NAME.onnx, NAME.torch.py, NAME.sql or NAME.py unless given.
    """
    from descend.files import check_apart
    from descend.models.codegen import SUFFIXES
    from descend.models.codegen import export as write
    from descend.models.model import load

    path = out or model.removesuffix(".json").removesuffix(".model") + SUFFIXES.get(to, "")
    check_apart(path, [Path(model)])
    write(load(model), to, path)
    print(path)
    return 0
