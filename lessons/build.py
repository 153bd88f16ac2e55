"""Write each lesson's notebook beside it, the same bytes every time: `python lessons/build.py`."""

from __future__ import annotations

import json
from pathlib import Path

import jupytext

LESSONS = sorted(Path(__file__).parent.glob("[0-9]*.py"))


def notebook(lesson: Path) -> str:
    """The notebook of a lesson, without outputs."""
    made = jupytext.read(lesson)
    made.nbformat_minor = 4  # without identifiers of cells, which would be made by chance
    for cell in made.cells:
        cell.pop("id", None)
    made.metadata = {"kernelspec": made.metadata["kernelspec"], "language_info": {"name": "python"}}
    return json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    for lesson in LESSONS:
        lesson.with_suffix(".ipynb").write_text(notebook(lesson), "utf-8")
