"""The report in a real browser whose network is cut: it plays, fits any width, and prints."""

from __future__ import annotations

from pathlib import Path

import pytest

import descend
from descend.diagnosis.report import render

PENGUINS = Path(__file__).parent.parent.parent / "examples" / "penguins.csv"


@pytest.fixture(scope="module", params=["body_mass_g", "species", "sex"])
def text(request):
    return render(
        descend.fit(PENGUINS, target=request.param, valid=0.2), command="descend fit", label="x.csv"
    )


@pytest.mark.parametrize("width", [360, 1000])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_and_plays(open_film, text, width, dark):
    tab = open_film.visit(text, width, 800, dark, True)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    ground = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(21, 25, 30)" if dark else "rgb(255, 255, 255)")
    assert tab.last() > 0
    assert all(tab.drawn())


def test_on_paper_it_is_light_and_the_film_stands_at_its_end(open_film, text):
    tab = open_film.visit(text, 1000, 800, True, True)
    tab.page.evaluate("film.seek(0)")
    assert tab.frame() == 0
    tab.page.emulate_media(media="print", color_scheme="dark")
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.page.pdf().startswith(b"%PDF")
    assert tab.frame() == tab.last()
