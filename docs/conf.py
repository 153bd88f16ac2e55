"""The documentation: pages in Markdown, and the lessons, run as they are built; an assert that fails stops it."""

from __future__ import annotations

import shutil
from pathlib import Path

import descend

HERE = Path(__file__).parent
LESSONS = HERE / "lessons"  # copies, which the build makes and git ignores

shutil.rmtree(LESSONS, ignore_errors=True)
LESSONS.mkdir()
for file in (*sorted((HERE.parent / "lessons").glob("[0-9]*.py")), HERE.parent / "examples" / "penguins.csv"):
    shutil.copy(file, LESSONS / file.name)

project, author, release = "descend", "descend contributors", descend.__version__
copyright = "descend contributors, MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "conf.py", "pictures/make.py"]
source_suffix = {".md": "myst-nb", ".py": "myst-nb"}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type"]

nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "descend"
html_static_path = ["_build/static"] if (HERE / "_build" / "static").exists() else []
mathjax_path = "tex-svg.js"  # put there by `make docs`, so that the pages need no network
