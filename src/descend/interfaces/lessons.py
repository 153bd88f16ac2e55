"""The lessons that come with descend: notebooks to copy and to run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from descend.errors import DescendError
from descend.files import replacing

DATA = ("penguins.csv",)


def folder() -> Path:
    """Where the lessons lie: in the package, or beside its sources where it is installed from them."""
    package = Path(str(files("descend")))
    for place in (package / "lesson_files", package.parent.parent / "lessons"):
        if place.is_dir():
            return place
    raise DescendError(
        "the lessons are missing from this installation: pip install --force-reinstall descend."
    )


def lessons() -> dict[str, str]:
    """The title of each lesson by its name, in their order.

    >>> list(lessons())[0]
    '01_line'
    """
    return {path.stem: _title(path) for path in sorted(folder().glob("[0-9]*.py"))}


def _title(path: Path) -> str:
    lines = path.read_text("utf-8").splitlines()
    return next(line.removeprefix("# # ") for line in lines if line.startswith("# # "))


def named(name: str) -> str:
    """The full name of a lesson from its number, a part of its name, or all of it.

    Raises `DescendError` where it is none, or several.

    >>> named("1"), named("rate")
    ('01_line', '02_learning_rate')
    """
    known = list(lessons())
    found = [n for n in known if name == n] or [
        n for n in known if name in n or (name.isdigit() and int(name) == int(n[:2]))
    ]
    if len(found) != 1:
        raise DescendError(f"there is no lesson {name!r}: the lessons are {', '.join(known)}.")
    return found[0]


def copy_lesson(name: str, to: Path) -> Path:
    """Copy a lesson's notebook, and the data it reads, into a folder; files that are there stay.

    Returns the notebook's path.
    """
    source, target = folder() / f"{name}.ipynb", to / f"{name}.ipynb"
    script = (folder() / f"{name}.py").read_text("utf-8")
    for file in (source, *(_data(d) for d in DATA if d in script)):
        if not (to / file.name).exists():
            with replacing(to / file.name) as temporary:
                shutil.copyfile(file, temporary)
    return target


def _data(name: str) -> Path:
    here = folder() / name
    return here if here.exists() else folder().parent / "examples" / name


def show(notebook: Path) -> int:
    """Open a notebook in the Jupyter that is installed, or say how; returns the exit code."""
    found = next((name for name in ("jupyterlab", "notebook") if find_spec(name)), None)
    if found is None:
        print(f"to run it: pip install 'descend[notebook]', then jupyter lab {notebook.name}")
        print("or open it in VS Code or Colab")
        return 0
    return subprocess.run([sys.executable, "-m", found, str(notebook)], check=False).returncode
