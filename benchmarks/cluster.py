"""On a cluster: what a round costs, what a kill costs, the same bits, and dask-ml beside it."""

from __future__ import annotations

import os
import random
import signal
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from rivals import dask_ml, spark_ml
from timing import in_turns, markdown, spread

import descend
from descend.engines import remote
from descend.engines.blocks import Block, Handle
from descend.objectives.losses import LogisticLoss
from descend.objectives.statistics import LossAndGradient, TargetSum
from descend.runs.problem import Problem

COLUMNS, FILES = 28, 64
MORE_MS, COLD = 25.0, 1.3
FITS = [
    *(("line", optimizer) for optimizer in ("exact", "gradient-descent", "lbfgs", "newton")),
    *(("two", optimizer) for optimizer in ("newton", "lbfgs", "gradient-descent", "adam")),
    *(("three", optimizer) for optimizer in ("newton", "lbfgs", "gradient-descent", "adam")),
]
ABOUT = """Workers are processes of one thread on the machine that also runs the caller and the scheduler. The table
has {rows:,} rows of {columns} columns of numbers in {files} Parquet files."""


def measure(data: Path, quick: bool) -> str:
    """The section of the report."""
    if find_spec("distributed") is None:
        return 'Needs the extra: `pip install "descend[cluster]"`.'
    rows = 60_000 if quick else 2_000_000
    with tempfile.TemporaryDirectory(prefix="descend-cluster-") as folder:
        write(Path(folder), rows)
        pieces = [ABOUT.format(rows=rows, columns=COLUMNS, files=FILES), speed(folder, quick)]
        pieces += [rounds(quick), fits(folder, quick), kills(folder, quick), little_memory(folder)]
        if not quick:
            pieces.append(against(folder))
    return "\n\n".join(pieces)


def write(folder: Path, rows: int) -> None:
    """The table."""
    chance = np.random.default_rng(3)
    w = chance.normal(size=COLUMNS) / 4
    for i in range(FILES):
        X = chance.normal(size=(rows // FILES, COLUMNS))
        z = X @ w
        frame = {f"x{j}": X[:, j] for j in range(COLUMNS)}
        frame |= {"line": z + chance.normal(size=len(z)), "two": (z + chance.logistic(size=len(z)) > 0) * 1}
        frame["three"] = np.select([z > 0.6, z < -0.2], ["hi", "lo"], "mid")
        pl.DataFrame(frame).write_parquet(folder / f"{i:03d}.parquet")


def columns(target: str) -> descend.Columns:
    """All but the other targets."""
    return descend.Columns(drop=[name for name in ("line", "two", "three") if name != target])


def speed(folder: str, quick: bool) -> str:
    """A warm round and a cold sum, on two workers and on two threads."""
    gradient, w = LossAndGradient(LogisticLoss(), True), np.linspace(-0.1, 0.1, COLUMNS + 1)
    rounds, table = (1 if quick else 5), []
    with descend.Cluster(workers=2) as cluster, descend.Processes(2) as processes:
        engines = {"2 threads": descend.Threads(2), "2 processes": processes, "2 workers of Dask": cluster}
        made = {
            name: Problem.of(f"{folder}/*.parquet", target="two", columns=columns("two"), engine=engine)
            for name, engine in engines.items()
        }
        warm = in_turns(
            {n: lambda p=p: [p.session.reduce(gradient, w) for _ in range(5)] for n, p in made.items()},
            rounds,
        )
        for problem in made.values():
            problem.close()

        def cold(engine):
            Problem.of(f"{folder}/*.parquet", target="line", columns=columns("line"), engine=engine).close()

        sums = in_turns(
            {name: lambda engine=engine: cold(engine) for name, engine in engines.items()}, rounds
        )
    base = warm["2 threads"].seconds
    for name in engines:
        more = [(a - b) / 5 * 1e3 for a, b in zip(warm[name].seconds, base, strict=True)]
        each = spread([s / 5 * 1e3 for s in warm[name].seconds], " ms")
        table.append(
            [name, each, spread(more, " ms"), str(sums[name]), sums[name].ratio_to(sums["2 threads"])]
        )
    text = markdown(
        ["", "warm gradient round", "more than threads", "cold X'X, encoding learned", "to threads"], table
    )
    return f"{text}\n\nAims: at most {MORE_MS:g} ms more, at most {COLD:g}x."


@dataclass(frozen=True)
class Tiny(Handle):
    """A part of one leaf of one row: what is left of a round is its own cost."""

    index: int

    def leaves(self):
        yield self

    def block(self):
        return Block(np.ones((1, 1)), np.ones(1))


@dataclass(frozen=True)
class TinySource:
    """Many tiny parts."""

    count: int
    feature_names = ("x",)

    def handles(self):
        return [Tiny(index) for index in range(self.count)]


def rounds(quick: bool) -> str:
    """The cost of an empty round against the number of parts and of workers, and the plane through it."""
    parts, workers = ((8, 32), (1, 2)) if quick else ((8, 32, 128, 512), (1, 2, 4, 8))
    table, points = [], []
    for count in workers:
        line = [str(count)]
        with descend.Cluster(workers=count) as cluster:
            for number in parts:
                with cluster.open(TinySource(number)) as session:
                    taken = []
                    for _ in range(5 if quick else 40):
                        start = time.perf_counter()
                        session.reduce(TargetSum())
                        taken.append(time.perf_counter() - start)
                middle = statistics.median(taken[1:]) * 1e3
                points.append((1.0, count, number / count, middle))
                line.append(f"{middle:.3g} ms")
        table.append(line)
    A = np.array(points)
    (a, b, c), *_ = np.linalg.lstsq(A[:, :3], A[:, 3], rcond=None)
    text = markdown(["workers", *(f"{n} parts" for n in parts)], table)
    cores = os.cpu_count()
    tasks = "" if quick else pinned()
    return (
        f"An empty round, the median of 40 (workers beyond {cores} share the cores):\n\n{text}\n\n"
        f"Fitted: {a:.3g} ms + {b:.3g} ms for each worker + {c * 1e3:.3g} us for each part of a worker.{tasks}"
    )


def pinned() -> str:
    """An empty round of tasks of Dask, each pinned to a worker, beside one of messages."""
    taken = {"messages": [], "tasks": []}
    with descend.Cluster(workers=2) as cluster, cluster.open(TinySource(2)) as session:
        client = cluster._pool.client
        workers = list(cluster._pool.members())
        for number in range(41):
            start = time.perf_counter()
            session.reduce(TargetSum())
            middle = time.perf_counter()
            sent = [
                client.submit(_empty, number, workers=[name], allow_other_workers=True, pure=False)
                for name in workers
            ]
            client.gather(sent)
            taken["messages"].append((middle - start) * 1e3)
            taken["tasks"].append((time.perf_counter() - middle) * 1e3)
    told = {name: spread(each[1:], " ms") for name, each in taken.items()}
    return (
        f"\n\nA round of two workers by messages {told['messages']}, the empty task that Dask would be given in "
        f"their place, pinned to each worker, {told['tasks']}."
    )


def _empty(number: int) -> int:
    return number


def fits(folder: str, quick: bool) -> str:
    """The twelve fits on 1 to 4 workers."""
    few = f"{folder}/00[0-3].parquet"
    how = {"valid": 0.2, "steps": 4}
    local = {key: run(few, *key, descend.Threads(2), how) for key in FITS}
    same = 0
    counts = (1, 2) if quick else (1, 2, 3, 4)
    for count in counts:
        with descend.Cluster(workers=count) as cluster:
            same += sum(equal(run(few, *key, cluster, how), found) for key, found in local.items())
    assert same == len(FITS) * len(counts), f"{same} of {len(FITS) * len(counts)} fits are the same"
    return f"{len(FITS)} fits on {', '.join(map(str, counts))} workers: {same} of {same} bitwise those of two threads."


def run(data, target, optimizer, engine, how):
    """One fit."""
    return descend.fit(
        data, target=target, optimizer=optimizer, columns=columns(target), engine=engine, **how
    )


def equal(a, b) -> bool:
    """Whether two runs have the same bits."""
    return a.weights.tobytes() == b.weights.tobytes() and a.history.loss.tobytes() == b.history.loss.tobytes()


def kills(folder: str, quick: bool) -> str:
    """Runs in which a worker of three is killed at a random moment."""
    how = {"steps": 12}
    expected, pauses, times = run(f"{folder}/*.parquet", "two", "lbfgs", descend.Threads(2), how), [], []
    for seed in range(2 if quick else 20):
        chance = random.Random(seed)
        with descend.Cluster(workers=3) as cluster:
            longest = watch_rounds()
            victim = cluster._pool.own.processes[chance.randrange(1, 4)]
            threading.Timer(
                chance.uniform(0.05, 0.3 if quick else 1.5), os.kill, (victim.pid, signal.SIGKILL)
            ).start()
            start = time.perf_counter()
            found = run(f"{folder}/*.parquet", "two", "lbfgs", cluster, how)
            times.append(time.perf_counter() - start)
            pauses.append(longest())
        assert equal(found, expected), f"seed {seed}: other bits after a kill"
    return (
        f"{len(times)} runs with one of three workers killed at a random moment: {len(times)} with the same bits, "
        f"{spread(times, ' s')} a run, longest round {spread(pauses, ' s')}."
    )


def watch_rounds():
    """Note how long rounds take; the result tells the longest and stops watching."""
    taken, go = [0.0], remote.Round.go

    def timed(self, shares, take):
        start = time.perf_counter()
        go(self, shares, take)
        taken.append(time.perf_counter() - start)

    def stop() -> float:
        remote.Round.go = go
        return max(taken)

    remote.Round.go = timed
    return stop


def little_memory(folder: str) -> str:
    """The data at four times the memory of the workers."""
    how = {"steps": 5}
    rows = pl.scan_parquet(f"{folder}/*.parquet").select(pl.len()).collect().item()
    budget = rows * (COLUMNS + 1) * 8 // 4 // 2
    seconds, runs = {}, {}
    for name, memory in {"all blocks kept": None, "a quarter kept": budget}.items():
        with descend.Cluster(workers=2, memory=memory) as cluster:
            start = time.perf_counter()
            runs[name] = run(f"{folder}/*.parquet", "two", "lbfgs", cluster, how)
            seconds[name] = time.perf_counter() - start
    first, last = runs.values()
    assert equal(first, last), "other bits with little memory"
    told = ", ".join(f"{name} {s:.3g} s" for name, s in seconds.items())
    return f"Data of 4 times the workers' memory, 5 steps of L-BFGS: the same bits; {told}."


def against(folder: str) -> str:
    """Logistic regression to the same objective: dask-ml on the same workers, Spark on as many threads."""
    rows = pl.scan_parquet(f"{folder}/*.parquet").select(pl.len()).collect().item()
    how = [f"x{i}" for i in range(COLUMNS)], "two", 1.0 / rows
    seconds, losses, notes = {}, {}, []

    def add(name: str, taken: float, loss: float) -> None:
        seconds.setdefault(name, []).append(taken)
        losses[name] = loss

    dask_ml.hide_benchmarks()
    with descend.Cluster(workers=2) as cluster:
        run(f"{folder}/000.parquet", "two", "newton", cluster, {})  # imports are no part of it
        for number in range(4):
            for optimizer in ("newton", "lbfgs"):
                start = time.perf_counter()
                ours = run(f"{folder}/*.parquet", "two", optimizer, cluster, {"penalty": 1.0 / rows})
                add(f"descend, {optimizer}", time.perf_counter() - start, ours.loss)
            if not dask_ml.available():
                notes = ["dask-ml is not installed."]
                continue
            notes = [f"dask-ml {version('dask-ml')}, distributed {version('distributed')}."]
            with dask_ml.at(cluster._pool.own.address):
                for solver in ("newton", "lbfgs", *(["admm"] if number == 3 else [])):
                    took, w = dask_ml.fit(folder, *how, solver)
                    add(f"dask-ml, {solver}", sum(took.values()), objective(folder, w, how[2]))
    for name in seconds:
        seconds[name] = seconds[name][1:] or seconds[name]  # the first round brings imports along
    spark = spark_ml.fit(folder, *how, cores=2)
    if spark is None:
        notes.append("Spark is not installed.")
    else:
        notes.append(f"Spark {spark['version']} in a Java machine of its own.")
        loss = objective(folder, np.array(spark["weights"]), how[2])
        seconds["Spark ML, the second fit of a session"] = [spark["second"]]
        seconds["Spark ML, session and first fit"] = [spark["session"] + spark["first"]]
        losses |= dict.fromkeys(list(seconds)[-2:], loss)
    base = seconds["descend, newton"]
    lines = [
        [n, spread(s, " s"), spread([a / b for a, b in zip(s, base, strict=False)], "x"), f"{losses[n]:.9f}"]
        for n, s in seconds.items()
    ]
    return "\n\n".join([markdown(["reading included", "time", "to the first", "objective"], lines), *notes])


def objective(folder: str, w, alpha: float) -> float:
    """The penalised mean loss of weights in original units, the intercept last."""
    frame = pl.read_parquet(f"{folder}/*.parquet")
    X = frame.select([f"x{i}" for i in range(COLUMNS)]).to_numpy()
    made = descend.Objective.of(X, frame["two"].to_numpy(), loss="logistic", penalty=alpha)
    return made.value(w)
