"""A private PostgreSQL for a test: a cluster in a temporary folder, reached by a socket in it and by nothing else."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
import time

import polars as pl
import pytest

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [os.path.dirname(shutil.which("initdb") or "")]
TYPES = {pl.String: "TEXT", pl.Boolean: "BOOLEAN", pl.Date: "DATE", pl.Int64: "BIGINT"}


class Cluster:
    """Runs SQL with psql; frames go in and come out as CSV, in which a missing text is not an empty one."""

    def __init__(self, folder):
        self.folder = folder

    def sql(self, query, text=""):
        settings = [
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self.folder,
            "-U",
            "postgres",
            "-d",
            "postgres",
        ]
        command = [f"{PROGRAMS[-1]}/psql", *settings, "-c", query]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def table(self, frame):
        """The frame as the table `data`."""
        names = {name: '"' + name.replace('"', '""') + '"' for name in frame.columns}
        columns = [f"{names[n]} {TYPES.get(kind, 'DOUBLE PRECISION')}" for n, kind in frame.schema.items()]
        self.sql("DROP TABLE IF EXISTS data")
        self.sql(f"CREATE TABLE data ({', '.join(columns)})")
        text = frame.write_csv(quote_style="non_numeric", include_header=False)
        self.sql("COPY data FROM STDIN (FORMAT csv)", text)

    def query(self, select):
        return pl.read_csv(
            self.sql(f"COPY (\n{select}) TO STDOUT (FORMAT csv, HEADER)").encode(), infer_schema_length=None
        )


@contextlib.contextmanager
def cluster():
    """Start one, as the user postgres where this is root, whom it refuses; end it."""
    if not os.path.exists(f"{PROGRAMS[-1]}/initdb"):
        pytest.skip("PostgreSQL is not installed")
    folder, user = tempfile.mkdtemp(prefix="descend-pg-"), None
    if os.geteuid() == 0:
        user = "postgres"
        shutil.chown(folder, user)
    data = f"{folder}/data"
    run = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    run["env"] = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    options = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    try:
        subprocess.run([f"{PROGRAMS[-1]}/initdb", *options], **run, check=True)
        server = subprocess.Popen(
            [f"{PROGRAMS[-1]}/postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"], **run
        )
        try:
            until = time.monotonic() + 60
            ready = [f"{PROGRAMS[-1]}/pg_isready", "-q", "-h", folder]
            while subprocess.run(ready, check=False).returncode and time.monotonic() < until:
                assert server.poll() is None
                time.sleep(0.1)
            yield Cluster(folder)
        finally:
            server.terminate()
            server.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
