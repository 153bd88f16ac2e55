"""The documentation: pages in Markdown, the reference made from the code, and the lessons, run as they are built.

An assert that fails in a lesson stops the build. What is generated is in `generate.py`.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import descend

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402

LESSONS = HERE / "lessons"  # copies, which the build makes and git ignores

shutil.rmtree(LESSONS, ignore_errors=True)
LESSONS.mkdir()
for file in (*sorted((HERE.parent / "lessons").glob("[0-9]*.py")), HERE.parent / "examples" / "penguins.csv"):
    shutil.copy(file, LESSONS / file.name)

generate.write(HERE / "reference" / "python")
generate.write_film(HERE / "_build" / "film.html")

project, author, release = "descend", "descend contributors", descend.__version__
copyright = "descend contributors, MIT licence"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "conf.py", "generate.py", "pictures/make.py"]
source_suffix = {".md": "myst-nb", ".py": "myst-nb"}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
suppress_warnings = ["mystnb.unknown_mime_type"]

nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 72

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "descend"
html_static_path = ["static", "_build/static"]
html_css_files = ["descend.css"]
html_theme_options = {"navigation_with_keys": True}
mathjax_path = "tex-svg.js"  # put there by `make docs`, so that the pages need no network


class Flags(SphinxDirective):
    """The table of a command's flags."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(generate.flag_table(self.arguments[0]))


def as_written(
    app: Sphinx, what: str, name: str, found: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """The signature as it is written in the code."""
    return generate.signature(found, what == "class") if signature else None


def without_last_blank(app: Sphinx, name: str, source: list[str]) -> None:
    """Leave out the blank line that ends an example's output for doctest."""
    source[0] = re.sub(r"^(```python\n.*?)\n+```$", r"\1\n```", source[0], flags=re.M | re.S)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", without_last_blank)
    app.add_directive("flags", Flags)
    app.connect("autodoc-process-signature", as_written)
