"""A notebook that was run and exported still plays its film, with the network cut."""

from __future__ import annotations

import pytest

from descend.interfaces.lessons import folder


def test_the_exported_lesson_plays(open_film, tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="pip install 'descend[browser]'")
    nbconvert = pytest.importorskip("nbconvert")
    pytest.importorskip("ipykernel")
    from nbconvert.preprocessors import ExecutePreprocessor

    notebook = nbformat.read(folder() / "01_line.ipynb", as_version=4)
    nbformat.validator.normalize(notebook)
    ExecutePreprocessor(timeout=120).preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    exporter = nbconvert.HTMLExporter(template_name="basic")  # without the template's own scripts from a CDN
    body, _ = exporter.from_notebook_node(notebook)
    tab = open_film.visit(f"<!doctype html><meta charset='utf-8'><body>{body}</body>", 1000, 800, False, True)
    film = tab.page.frame_locator("iframe").first
    film.locator(".dp-bar input").wait_for()
    assert int(film.locator(".dp-bar input").get_attribute("max")) == 100
    height = tab.page.locator("iframe").first.evaluate("frame => frame.clientHeight")
    assert height > 400
