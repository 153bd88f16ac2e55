"""The worked walks of CONTRIBUTING.md, in full: the code goes where the page says, then the page's commands are run."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import descend

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def walks():
    """The blocks of each walk: `(language, path, text)`; code for a file, commands, or an interactive session."""
    parts = re.split(r"^## ", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), flags=re.MULTILINE)
    found = {part.splitlines()[0]: BLOCK.findall(part) for part in parts if part.startswith("Add ")}
    assert len(found) == 6
    return found


def run(command, folder, source):
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(source), "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def source(tmp_path):
    """A copy of the package that may be changed, and the folder that commands are run in."""
    shutil.copytree(
        Path(descend.__file__).parent,
        tmp_path / "src" / "descend",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (tmp_path / "work").mkdir()
    shutil.copytree(ROOT / "examples", tmp_path / "work" / "examples")
    return tmp_path / "src"


@pytest.mark.parametrize("walk", walks())
def test_a_walk_does_what_it_says(walk, source, tmp_path):
    folder, touched, commands = tmp_path / "work", set(), 0
    for language, path, text in walks()[walk]:
        if path:  # code that is added at the end of a file, or makes a new one
            file = source.parent / path
            before = file.read_text("utf-8").rstrip() + "\n\n\n" if file.exists() else ""
            assert path.startswith("src/descend/")
            file.write_text(before + text, "utf-8")
            touched.add(path)
        elif language == "console":
            for line in text.splitlines():
                if line.startswith("$ descend "):
                    output = run([sys.executable, "-m", "descend", *shlex.split(line)[2:]], folder, source)
                    commands += 1
                else:
                    assert line in output, f"{line!r} is not in\n{output}"
        else:
            assert doctest.DocTestParser().get_examples(text)
            (folder / "session.txt").write_text(text, "utf-8")
            run([sys.executable, "-m", "doctest", "session.txt"], folder, source)
            commands += 1
    assert 1 <= len(touched) <= 2
    assert commands
