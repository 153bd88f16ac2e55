"""Two of the four files of scikit-learn's tests that `peers.py` runs with ours in the place of theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("sklearn.linear_model.tests.test_base")


@pytest.mark.parametrize(("file", "least"), [("base", 30), ("logistic", 120)])
def test_nothing_fails_that_nobody_has_looked_at(file, least):
    script = Path(__file__).parents[1] / "peers.py"
    done = subprocess.run(
        [sys.executable, script, file], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-4_000:]
    (row,) = (line for line in done.stdout.splitlines() if line.startswith(f"| `test_{file}.py`"))
    assert int(row.split("|")[2]) >= least
