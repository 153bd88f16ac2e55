"""A Dask cluster on the loopback: the same bits as threads, through kills, freezes and joins."""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
from fits import fitted, same, strike, without_times

import descend
from descend.engines.cluster import Cluster, LocalProcesses
from descend.engines.worker import versions
from descend.errors import DescendError, EngineLostError, MissingExtraError
from descend.interfaces.cli import main
from descend.models.scoring import Written, score, write_predictions

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.usefixtures("hard_timeout"), pytest.mark.slow]


@pytest.fixture(scope="module")
def three():
    """A cluster with three workers, for the tests that harm none."""
    with Cluster(workers=3) as cluster:
        yield cluster


def pids(cluster):
    """The processes of our own cluster, the scheduler first."""
    return cluster._pool.own.processes


def test_every_fit_is_bitwise_that_of_threads(folder, local, three):
    for name, expected in local.items():
        assert same(fitted(f"{folder}/*.parquet", name, three), expected), name


@pytest.mark.parametrize("count", [1, 2])
def test_any_number_of_workers(folder, local, count):
    with Cluster(workers=count) as cluster:
        for name in ("line exact", "two newton", "three lbfgs"):
            assert same(fitted(f"{folder}/*.parquet", name, cluster), local[name]), name


def test_csv_files_and_arrays(folder, three):
    assert same(
        fitted(f"{folder}/*.csv", "two lbfgs", three),
        fitted(f"{folder}/*.csv", "two lbfgs", descend.Threads()),
    )
    x, y = descend.make_line(200_000, seed=1)
    assert same(descend.fit(x, y, engine=three, steps=3), descend.fit(x, y, steps=3))


def told(command, capsys):
    """What a command prints as JSON, without what it takes."""
    assert main([*command, "--json"]) == 0
    return without_times(json.loads(capsys.readouterr().out))


def test_the_shell_says_the_same_on_a_cluster(folder, three, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    address, data = three._pool.own.address, str(folder / "*.parquet")
    table = [data, "--target", "three", "--drop", "line", "two"]
    for command in (
        ["diagnose", *table],
        ["fit", *table, "--no-report"],
        ["score", "model.model.json", data],
    ):
        assert told([*command, "--cluster", address], capsys) == told(command, capsys), command[0]
    assert main(["predict", "model.model.json", data, "--out", "parts", "--cluster", address]) == 0
    assert main(["predict", "model.model.json", data, "--out", "whole.parquet"]) == 0
    assert pl.read_parquet("parts/*.parquet").equals(pl.read_parquet("whole.parquet"))


def test_a_client_is_taken_and_left_open(folder, local, three):
    with distributed.Client(three._pool.own.address, set_as_default=False) as client:
        for _ in range(2):
            assert same(fitted(f"{folder}/*.parquet", "two lbfgs", Cluster(client)), local["two lbfgs"])
        assert client.status == "running"


def test_an_address_is_taken_and_a_run_leaves_nothing_behind(folder, local, three):
    address = three._pool.own.address
    found = fitted(f"{folder}/*.parquet", "two lbfgs", Cluster(address))
    assert same(found, local["two lbfgs"])

    def held(dask_worker):
        from descend.engines.cluster import _workers  # those of the worker's process

        return len(_workers[dask_worker].parts), _workers[dask_worker].cache.held

    kept = three._pool.client.run(held)
    assert len(kept) == 3
    assert set(kept.values()) == {(0, 0)}
    assert found.model.facts["processor"]


@pytest.mark.parametrize("seed", range(2))
def test_a_worker_killed_at_a_random_round_changes_no_bit(folder, local, monkeypatch, seed):
    chance = random.Random(seed)
    with Cluster(workers=3) as cluster:
        strike(monkeypatch, pids(cluster), chance.randrange(3, 24), chance.randrange(1, 4), signal.SIGKILL)
        assert same(fitted(f"{folder}/*.parquet", "two lbfgs", cluster), local["two lbfgs"])


def test_a_frozen_worker_is_left_behind_and_a_new_one_joins(folder, local, monkeypatch):
    with Cluster(workers=2, timeout=0.7) as cluster:
        strike(monkeypatch, pids(cluster), 8, 1, signal.SIGSTOP)
        assert same(fitted(f"{folder}/*.parquet", "two lbfgs", cluster), local["two lbfgs"])
        assert len(cluster._pool.members()) == 1
        cluster._pool.own.add_worker()
        end = time.monotonic() + 20
        while len(cluster._pool.members()) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        assert len(cluster._pool.members()) == 2
        assert same(fitted(f"{folder}/*.parquet", "line descent", cluster), local["line descent"])
        os.kill(pids(cluster)[1].pid, signal.SIGCONT)


@pytest.mark.filterwarnings("ignore::descend.DescendWarning")
@pytest.mark.parametrize("frozen", [[1], [1, 2], [0]])
def test_a_run_whose_workers_all_freeze_ends_and_is_returned(folder, monkeypatch, frozen):
    monkeypatch.setattr("descend.engines.cluster.BEAT", 1.5)
    with Cluster(workers=max(1, len(frozen)), timeout=1.0) as cluster:

        class Fatal(descend.GradientDescent):
            def step(self, objective, w, state):
                if state.number == 2:
                    for which in frozen:
                        os.kill(pids(cluster)[which].pid, signal.SIGSTOP)
                return super().step(objective, w, state)

        columns = descend.Columns(drop=["line", "three"])
        how = {"optimizer": Fatal(), "steps": 9, "engine": cluster, "columns": columns}
        run = descend.fit(f"{folder}/*.parquet", target="two", **how)
    assert run.outcome is descend.Outcome.LOST
    assert len(run.history) == 3
    assert ("scheduler" if frozen == [0] else "is silent") in run.warnings[-1]


@pytest.mark.filterwarnings("ignore::descend.DescendWarning")
def test_the_loss_of_the_scheduler_ends_the_run_and_keeps_it(folder):
    with Cluster(workers=2, timeout=2) as cluster:

        class Fatal(descend.GradientDescent):
            def step(self, objective, w, state):
                if state.number == 2:
                    pids(cluster)[0].kill()
                return super().step(objective, w, state)

        columns = descend.Columns(drop=["line", "three"])
        how = {"optimizer": Fatal(), "steps": 9, "engine": cluster, "columns": columns}
        run = descend.fit(f"{folder}/*.parquet", target="two", **how)
    assert run.outcome is descend.Outcome.LOST
    assert len(run.history) == 3


def test_mini_batches_are_refused_with_the_reason_and_local_steps_offered(folder, three):
    with pytest.raises(DescendError, match=r"a message to every worker for every batch.*local-steps"):
        descend.fit(f"{folder}/0.parquet", target="two", batch_size=64, engine=three)


def test_local_steps_come_near_the_minimum_in_few_rounds(folder, three, local):
    columns = descend.Columns(drop=["line", "three"])
    run = descend.fit(
        f"{folder}/*.parquet", target="two", optimizer=descend.LocalSteps(), steps=10, engine=three, valid=0.2,
        columns=columns,
    )  # fmt: skip
    assert run.loss - local["two newton"].loss < 1e-2


def test_the_metrics_of_a_saved_model(folder, three, local):
    model = local["two newton"].model
    assert score(model, f"{folder}/*.parquet", three) == score(model, f"{folder}/*.parquet")


def test_other_versions_are_refused_with_the_list(folder, three, monkeypatch):
    monkeypatch.setattr("descend.engines.cluster.versions", lambda: {**versions(), "polars": "0.1"})
    with pytest.raises(DescendError, match=r"polars .* on tcp://127.* and 0\.1 here"):
        fitted(f"{folder}/*.parquet", "two lbfgs", Cluster(three._pool.own.address))


def test_copies_on_this_machine_are_refused_by_workers_elsewhere(three, tmp_path):
    (tmp_path / "a.csv").write_bytes("é;y\n1;2\n3;4\n5;7\n".encode("latin-1"))
    how = {"target": "y", "columns": descend.Columns(encoding="latin-1")}
    with pytest.raises(DescendError, match="temporary copy on this machine"):
        descend.fit(tmp_path / "a.csv", engine=Cluster(three._pool.own.address), **how)
    assert same(descend.fit(tmp_path / "a.csv", engine=three, **how), descend.fit(tmp_path / "a.csv", **how))


def test_predictions_are_parts_in_order(folder, three, local, tmp_path):
    model = local["three newton"].model
    written = write_predictions(model, f"{folder}/*.parquet", tmp_path / "parts", ["x0"], engine=three)
    assert written == Written(60_000)
    write_predictions(model, f"{folder}/*.parquet", tmp_path / "whole.parquet", ["x0"])
    parts = pl.read_parquet(f"{tmp_path}/parts/*.parquet")
    assert parts.equals(pl.read_parquet(tmp_path / "whole.parquet"))
    with pytest.raises(DescendError, match="is not empty"):
        write_predictions(model, f"{folder}/*.parquet", tmp_path / "parts", engine=three)


def faults(first):
    """Page faults of gradients in a process that the nanny's variable is set for."""
    script = f"""
import resource
import numpy as np
from descend.engines.blocks import Block
from descend.engines.cluster import keep_scratch
from descend.objectives.losses import LOSSES
from descend.objectives.statistics import LossAndGradient
{first}
block, w = Block(np.ones((16_384, 28), order="F"), np.zeros(16_384)), np.ones(29)
gradient = LossAndGradient(LOSSES["logistic"], True)
counts = []
for _ in range(20):
    gradient.of(block, w)
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(counts[-1] - counts[9])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"},
        capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries know no such threshold")
def test_kernels_keep_their_scratch_under_a_nanny():
    assert faults("") > 200
    assert faults("keep_scratch()") < 20


@pytest.mark.parametrize(
    ("address", "workers", "message"),
    [
        ("host:8786", None, "takes the address of a scheduler"),
        ("local:x", None, "a number of workers"),
        ("tcp://a:1", 2, "`workers` is for a cluster of your own"),
        (None, 0, "at least 1"),
    ],
)
def test_bad_addresses_are_refused(address, workers, message):
    with pytest.raises(DescendError, match=message):
        Cluster(address, workers=workers)


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("descend.engines.cluster.CONNECT_SECONDS", 0.5)
    with pytest.raises(EngineLostError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        descend.fit(np.ones((4, 1)), np.ones(4), engine=Cluster("tcp://127.0.0.1:9"))


def test_a_scheduler_without_workers_is_told():
    alone = LocalProcesses(0)
    try:
        with pytest.raises(
            EngineLostError, match=r"at tcp://127.* has fewer than 1 worker\(s\) after 0\.5 s"
        ):
            descend.fit(np.ones((4, 1)), np.ones(4), engine=Cluster(alone.address, timeout=0.5))
    finally:
        alone.close()


def test_processors_of_several_types_are_named(three, monkeypatch, caplog):
    monkeypatch.setattr("descend.engines.cluster.processor", lambda: "Abacus")
    x, y = descend.make_line(100, seed=0)
    run = descend.fit(x, y, engine=Cluster(three._pool.own.address))
    assert "processors of several types, Abacus, " in caplog.text
    assert run.outcome.converged


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"descend\[cluster\]\""):
        Cluster().start()
