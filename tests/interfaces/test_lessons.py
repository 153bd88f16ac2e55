"""Lessons: notebooks are their scripts, they are found, copied and opened, and they run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from descend.errors import DescendError
from descend.interfaces import lessons as lesson
from descend.interfaces.cli import main

pytestmark = pytest.mark.slow

LESSONS = sorted((Path(__file__).parents[2] / "lessons").glob("[0-9]*.py"))


def cells(path):
    """The cells of a percent script, as (kind, text)."""
    body = path.read_text("utf-8").partition("# ---\n\n")[2]
    found = []
    for piece in ("\n" + body).split("\n# %%")[1:]:
        head, _, text = piece.partition("\n")
        if head.strip() == "[markdown]":
            lines = [line.removeprefix("#").removeprefix(" ") for line in text.strip().splitlines()]
            found.append(("markdown", "\n".join(lines)))
        else:
            found.append(("code", text.strip()))
    return found


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
class TestEveryLesson:
    def test_its_notebook_is_up_to_date(self, path):
        notebook = json.loads(path.with_suffix(".ipynb").read_text("utf-8"))
        made = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in notebook["cells"]]
        assert made == cells(path), "run `make lessons`"
        assert not any(cell.get("outputs") for cell in notebook["cells"])

    def test_it_says_what_is_true(self, path):
        asserts = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
        assert len(asserts) >= 3

    def test_it_runs_from_top_to_bottom(self, path, tmp_path):
        lesson.copy_lesson(path.stem, tmp_path)
        done = subprocess.run(
            [sys.executable, "-W", "error", str(path)],
            cwd=tmp_path,
            env={**os.environ, "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_it_ships_with_the_package(self, path):
        settings = (Path(__file__).parents[2] / "pyproject.toml").read_text()
        for kind in (".py", ".ipynb"):
            assert f'"lessons/{path.stem}{kind}" = "descend/lesson_files/{path.stem}{kind}"' in settings


class TestShell:
    def test_lists_the_lessons(self, capsys):
        assert main(["lesson", "--list"]) == 0
        said = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in said] == [path.stem for path in LESSONS]
        assert said[0].endswith("A line through a hundred points")

    def test_copies_a_notebook_and_its_data(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(lesson, "find_spec", lambda name: None)
        assert main(["lesson", "real_file"]) == 0
        assert {p.name for p in tmp_path.iterdir()} == {"03_a_real_file.ipynb", "penguins.csv"}
        assert (
            "pip install 'descend[notebook]', then jupyter lab 03_a_real_file.ipynb"
            in capsys.readouterr().out
        )

    def test_a_notebook_that_is_there_is_kept(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(lesson, "find_spec", lambda name: None)
        (tmp_path / "01_line.ipynb").write_text("mine")
        assert main(["lesson"]) == 0
        assert (tmp_path / "01_line.ipynb").read_text() == "mine"

    def test_opens_it_where_jupyter_is_installed(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(lesson, "find_spec", lambda name: name == "notebook")
        called = []
        monkeypatch.setattr(
            subprocess,
            "run",
            lambda words, **how: called.append(words) or subprocess.CompletedProcess(words, 0),
        )
        assert main(["lesson", "2"]) == 0
        assert called == [[sys.executable, "-m", "notebook", str(tmp_path / "02_learning_rate.ipynb")]]

    def test_an_unknown_lesson_is_told(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["lesson", "nine"]) == 2
        assert "there is no lesson 'nine': the lessons are 01_line," in capsys.readouterr().err
        with pytest.raises(DescendError):
            lesson.named("0")
