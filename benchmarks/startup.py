"""Whole processes, from the shell's prompt to the next."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import in_turns, markdown

PENGUINS = Path(__file__).parent.parent / "examples" / "penguins.csv"
COMMAND = "import sys; from descend.interfaces.cli import main; sys.exit(main())"
BY_HAND = """
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
data = pd.get_dummies(pd.read_csv({path!r}).dropna(subset="body_mass_g"), drop_first=True)
X, y = data.drop(columns="body_mass_g"), data["body_mass_g"]
print(make_pipeline(SimpleImputer(), LinearRegression()).fit(X, y).score(X, y))
"""
ABOUT = """Each is a process of its own, with files in the system's cache; the bare interpreter is what none
can go below."""

BARE = "the bare interpreter"


def measure(data: Path, quick: bool) -> str:
    """The section of the report."""
    with tempfile.TemporaryDirectory() as folder:
        fit = ["fit", str(PENGUINS), "--target", "body_mass_g", "--out", f"{folder}/penguins.model.json"]
        ways = {
            BARE: _process("pass"),
            "`import descend`": _process("import descend"),
            "`import numpy`": _process("import numpy"),
            "`import pandas, sklearn.linear_model`": _process("import pandas, sklearn.linear_model"),
            "`descend --help`": _process(COMMAND, "--help"),
            "`descend fit penguins.csv --target body_mass_g`": _process(COMMAND, *fit),
            "the same by pandas and scikit-learn": _process(BY_HAND.format(path=str(PENGUINS))),
        }
        times = in_turns(ways, 1 if quick else 5)
    rows = [[name, str(taken), taken.ratio_to(times[BARE])] for name, taken in times.items()]
    return f"{ABOUT}\n\n{markdown(['', 'wall time', 'ratio'], rows)}"


def _process(code: str, *arguments: str) -> Callable[[], object]:
    command = [sys.executable, "-c", code, *arguments]
    return lambda: subprocess.run(command, check=True, capture_output=True)
