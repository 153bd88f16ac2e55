"""Processes as workers: the same bits as threads, through kills and freezes, and nothing left running."""

from __future__ import annotations

import gzip
import io
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from fits import fitted, same, strike, without_times
from rich.console import Console

import descend
from descend.engines import processes
from descend.engines.arrays import ArraySource
from descend.engines.processes import Processes
from descend.errors import DescendError, EngineLostError
from descend.interfaces.terminal import print_run
from descend.models.scoring import write_predictions

pytestmark = [pytest.mark.usefixtures("hard_timeout"), pytest.mark.slow]


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    """Every process that a test starts has ended when it is over."""
    started = []
    popen = subprocess.Popen

    def start(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    before = set(threading.enumerate())
    yield started
    assert all(process.poll() is not None for process in started)
    assert {t for t in threading.enumerate() if t.name == "descend-link"} <= before


@pytest.mark.parametrize("count", [1, 3])
def test_every_fit_is_bitwise_that_of_threads(folder, local, count):
    with Processes(count) as engine:
        for name, expected in local.items():
            found = fitted(f"{folder}/*.parquet", name, engine)
            assert same(found, expected), name
            assert found.metrics["validation"].values == expected.metrics["validation"].values


@pytest.mark.parametrize(
    ("target", "columns", "how"),
    [
        ("line", {"weight": "two", "drop": ["three"]}, {"valid": 0.2}),
        ("three", {"weight": "two", "drop": ["line"]}, {"valid": 0.2, "steps": 3}),
        ("two", {"group": "c", "drop": ["line", "three"]}, {"valid": 0.3, "penalty": 0}),
        ("two", {"drop": ["line", "three"]}, {"valid": "last:0.3", "class_weight": "balanced"}),
        ("two", {"drop": ["line", "three"]}, {"valid": "0.parquet", "optimizer": "adam", "patience": 1}),
        ("line", {"drop": ["two", "three"]}, {"valid": "1.parquet", "penalty": 0}),
    ],
)
def test_weights_groups_patience_and_validation_files(folder, target, columns, how):
    if str(how["valid"]).endswith("parquet"):
        how = {**how, "valid": folder / how["valid"]}
    how = {"target": target, "columns": descend.Columns(**columns), **how}
    with Processes(2) as engine:
        found = descend.fit(f"{folder}/*.parquet", engine=engine, **how)
    expected = descend.fit(f"{folder}/*.parquet", **how)
    assert same(found, expected)
    assert (found.outcome, found.rows, found.notes) == (expected.outcome, expected.rows, expected.notes)
    assert str(found.summary()) == str(expected.summary())
    for side, metrics in expected.metrics.items():
        assert found.metrics[side].to_dict() == metrics.to_dict()


def test_no_rows_are_encoded_here(folder, local, monkeypatch):
    monkeypatch.setattr("descend.tables.profiling.KEPT_BYTES", 1_000)
    monkeypatch.setattr(
        "descend.tables.encoded.EncodedTable._fill", lambda self: pytest.fail("the caller reads all rows")
    )
    with Processes(2) as engine:
        assert same(fitted(f"{folder}/*.parquet", "two newton", engine), local["two newton"])
        how = {"target": "two", "columns": descend.Columns(drop=["line", "three"])}
        assert descend.diagnose(f"{folder}/*.parquet", engine=engine, **how).gap.reached


@pytest.mark.parametrize("target", ["line", "two", "three"])
def test_diagnosis_and_learning_rates(folder, target):
    drop = [other for other in ("line", "two", "three") if other != target]
    how = {"target": target, "columns": descend.Columns(drop=drop)}

    def told(engine):
        found = descend.diagnose(f"{folder}/*.parquet", engine=engine, **how).to_dict()
        return without_times(found), str(
            descend.lr_find(f"{folder}/*.parquet", engine=engine, points=20, **how)
        )

    with Processes(2) as engine:
        assert told(engine) == told(descend.Threads())


def test_csv_files_and_frames_too(folder):
    frame = pl.read_parquet(f"{folder}/*.parquet")
    with Processes(2) as engine:
        for data in (f"{folder}/*.csv", frame):
            for name in ("line exact", "two lbfgs"):
                assert same(fitted(data, name, engine), fitted(data, name, descend.Threads(2)))


def test_many_csv_files_of_different_sizes_some_compressed(folder, tmp_path):
    frame, start = pl.read_parquet(f"{folder}/*.parquet").drop("line", "three"), 0
    for i, rows in enumerate([30_000, 10, 17_000, 0, 1, 12_000, 989]):
        name = tmp_path / f"{i}.csv"
        frame[start : start + rows].write_csv(name)
        start += rows
        if i in (2, 4):
            (tmp_path / f"{i}.csv.gz").write_bytes(gzip.compress(name.read_bytes()))
            name.unlink()
    assert start == len(frame)
    for target, optimizer in (("two", "lbfgs"), ("x0", "exact")):
        how = {"target": target, "optimizer": optimizer, "valid": 0.2}
        with Processes(3) as engine:
            found = descend.fit(tmp_path, engine=engine, **how)
            assert len(engine.told) == 3
        assert same(found, descend.fit(tmp_path, **how))
        assert found.rows["training"] + found.rows["validation"] == len(frame)


def test_urls_are_read_by_the_workers(folder, local):
    assert same(fitted(f"file://{folder}/*.parquet", "two lbfgs", descend.Threads()), local["two lbfgs"])
    with Processes(2) as engine:
        assert same(fitted(f"file://{folder}/*.parquet", "two lbfgs", engine), local["two lbfgs"])
        with pytest.raises(DescendError, match="a folder on a disk that all workers share"):
            write_predictions(
                local["two lbfgs"].model, f"file://{folder}/*.parquet", "s3://a/b", engine=engine
            )


def test_of_large_files_no_rows_are_kept_here(folder, local, monkeypatch):
    monkeypatch.setattr("descend.tables.profiling.KEPT_BYTES", 1_000)
    with Processes(2) as engine:
        found = fitted(f"{folder}/*.parquet", "line exact", engine)
    assert same(found, local["line exact"])
    assert found.metrics["training"].rows == local["line exact"].metrics["training"].rows


def test_arrays_in_any_order_of_memory():
    random = np.random.default_rng(1)
    X, y = random.normal(size=(100_000, 7)), random.normal(size=100_000)
    with Processes(2) as engine:
        for x in (X, np.asfortranarray(X), X.astype(np.float32), X[:, ::2], X[::2, :5]):
            how = {"optimizer": descend.GradientDescent(), "steps": 3, "valid": 0.3}
            assert same(descend.fit(x, y[: len(x)], engine=engine, **how), descend.fit(x, y[: len(x)], **how))


def test_mini_batches_are_cut_here(folder):
    with Processes(2) as engine:
        columns = descend.Columns(drop=["line", "three"])
        how = {"target": "two", "batch_size": 512, "epochs": 1, "columns": columns}
        assert same(
            descend.fit(f"{folder}/0.parquet", engine=engine, **how),
            descend.fit(f"{folder}/0.parquet", **how),
        )


def test_data_larger_than_the_memory_of_the_workers_are_read_again(folder, local):
    with Processes(2, memory="2MB") as engine:
        assert same(fitted(f"{folder}/*.parquet", "two lbfgs", engine), local["two lbfgs"])


@pytest.mark.parametrize("seed", range(3))
def test_a_process_killed_at_a_random_round_changes_no_bit(folder, local, monkeypatch, nothing_left, seed):
    victim = random.Random(seed)
    at = victim.randrange(3, 24)
    strike(monkeypatch, nothing_left, at, victim.randrange(3), signal.SIGKILL)
    with Processes(3) as engine:
        assert same(fitted(f"{folder}/*.parquet", "two lbfgs", engine), local["two lbfgs"])
        assert len(engine.acquire().members()) == 2
        engine.release()


def test_a_frozen_process_is_left_behind(folder, local, monkeypatch, nothing_left):
    strike(monkeypatch, nothing_left, 8, 1, signal.SIGSTOP)
    with Processes(3, timeout=0.5) as engine:
        assert same(fitted(f"{folder}/*.parquet", "two lbfgs", engine), local["two lbfgs"])


def test_a_process_that_works_for_long_is_not_taken_for_frozen():
    with (
        Processes(1, timeout=0.4) as engine,
        engine.open(ArraySource(np.ones((9, 1)), np.ones(9))) as session,
    ):
        assert session.chain(Sleepy(), 0) == [9]


@dataclass(frozen=True)
class Sleepy:
    def __call__(self, block, total):
        time.sleep(1.5)
        return total + block.rows


@pytest.mark.filterwarnings("ignore::descend.DescendWarning")
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_whose_processes_all_freeze_ends_and_is_returned(folder, nothing_left, count):
    class Fatal(descend.GradientDescent):
        def step(self, objective, w, state):
            if state.number == 2:
                for process in nothing_left:
                    process.send_signal(signal.SIGSTOP)
            return super().step(objective, w, state)

    columns = descend.Columns(drop=["line", "three"])
    how = {"optimizer": Fatal(), "steps": 9, "engine": Processes(count, timeout=0.5), "columns": columns}
    run = descend.fit(f"{folder}/*.parquet", target="two", **how)
    assert run.outcome is descend.Outcome.LOST
    assert len(run.history) == 3
    assert "is silent" in run.warnings[-1]


@pytest.mark.filterwarnings("ignore::descend.DescendWarning")
def test_a_run_whose_processes_are_all_lost_is_returned_as_far_as_it_got(folder, nothing_left, tmp_path):
    class Fatal(descend.GradientDescent):
        def step(self, objective, w, state):
            if state.number == 2:
                for process in nothing_left:
                    process.kill()
            return super().step(objective, w, state)

    columns = descend.Columns(drop=["line", "three"])
    how = {"optimizer": Fatal(), "steps": 9, "engine": Processes(2, timeout=1.0), "columns": columns}
    run = descend.fit(f"{folder}/*.parquet", target="two", **how)
    assert run.outcome is descend.Outcome.LOST
    assert len(run.history) == 3
    assert "gone" in run.warnings[-1]
    assert run.metrics == {}
    run.save(tmp_path / "lost.model.json")
    run.report(tmp_path / "lost.html")
    assert descend.load(tmp_path / "lost.model.json").weights.tobytes() == run.weights.tobytes()
    console = Console(file=io.StringIO())
    print_run(console, run, "lost", {})
    assert "the workers were lost" in console.file.getvalue()


@pytest.mark.filterwarnings("ignore::descend.DescendWarning")
def test_a_run_whose_processes_are_lost_after_the_walk_is_returned_too(folder, nothing_left):
    def to_the_end(walk):
        yield from walk
        for process in nothing_left:
            process.kill()

    how = {"columns": descend.Columns(drop=["line", "three"]), "watch": to_the_end}
    expected = descend.fit(f"{folder}/*.parquet", target="two", columns=how["columns"])
    run = descend.fit(f"{folder}/*.parquet", target="two", engine=Processes(2, timeout=1.0), **how)
    assert run.outcome is descend.Outcome.LOST
    assert same(run, expected)
    assert "gone" in run.warnings[-1]


def test_an_error_on_a_worker_is_the_error_here(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n" + "1,2\n" * 12_000 + "oops,3\n" + "4,5\n" * 10)
    with Processes(2) as engine:
        a = descend.fit(tmp_path / "a.csv", target="y", engine=engine, loss="squared-error")
        assert any("widened" in note for note in a.notes)


def test_a_script_needs_no_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import numpy as np, descend
        x = np.arange(200_000.0).reshape(-1, 2)
        print(descend.fit(x, x @ [1.0, 2.0], engine=descend.Processes(2), steps=1).outcome.name)
        """)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.split() == ["STEP_LIMIT"]


def test_a_loss_that_workers_cannot_import_is_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import dataclasses, numpy as np, descend
        class Mine(descend.LogisticLoss):
            pass
        x = np.arange(20.0).reshape(-1, 2)
        try:
            descend.fit(x, [0, 1] * 5, loss=Mine(), engine=descend.Processes(1))
        except descend.DescendError as error:
            print("in a module that every worker can import" in str(error))
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50)
    assert done.stdout.split() == ["True"], done.stderr


@pytest.mark.parametrize("count", [0, -2])
def test_fewer_than_one_process_is_refused(count):
    with pytest.raises(
        DescendError, match=f"`count` of Processes must be a whole number of at least 1, got {count}"
    ):
        Processes(count)


def test_a_timeout_must_be_positive():
    with pytest.raises(DescendError, match="`timeout`"):
        Processes(1, timeout=0)


def test_processes_that_do_not_come_up_are_told(monkeypatch):
    monkeypatch.setattr(processes.sys, "executable", "/bin/false")
    with pytest.raises(EngineLostError):
        descend.fit(np.ones((4, 1)), np.ones(4), engine=Processes(1, timeout=0.5))
