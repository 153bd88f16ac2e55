"""A real browser without a network, for the tests of the player. Skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from screens import FILMS

from descend.pictures.film import Film

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Tab:
    """A page of the browser, and what went wrong on it."""

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def frame(self) -> int:
        return int(self.page.locator(".dp-bar input").input_value())

    def last(self) -> int:
        return int(self.page.locator(".dp-bar input").get_attribute("max"))

    def playing(self) -> bool:
        return "Pause" in self.page.locator(".dp-play").get_attribute("aria-label")

    def told(self) -> dict[str, str]:
        """What the text above the panels says."""
        items = self.page.locator(".dp-read > div").evaluate_all(
            "items => items.map(i => [i.children[0].textContent, i.children[1].textContent])"
        )
        return dict(items)

    def drawn(self) -> list[int]:
        """How many pixels of each moving canvas are not empty."""
        return self.page.locator(".dp-plot canvas:nth-child(2)").evaluate_all(
            """canvases => canvases.map(c => {
                 const copy = new OffscreenCanvas(c.width, c.height);
                 const context = copy.getContext("2d", { willReadFrequently: true });
                 context.drawImage(c, 0, 0);
                 const data = context.getImageData(0, 0, c.width, c.height).data;
                 let n = 0;
                 for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
                 return n;
               })"""
        )


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="pip install 'descend[browser]'")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def open_film(browser, tmp_path) -> Any:
    """`open_film(film, width=..., dark=..., still=...)` shows a film; nothing may go wrong while it is open."""
    contexts, tabs = [], []

    def show(film: Film, width: int = 1000, height: int = 800, dark: bool = False, still: bool = True) -> Tab:
        return visit(film.to_html(), width, height, dark, still)

    def visit(html: str, width: int, height: int, dark: bool, still: bool) -> Tab:
        path = tmp_path / f"{len(tabs)}.html"
        path.write_text(html, "utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
        )
        context.set_offline(True)
        contexts.append(context)
        tab = Tab(context.new_page())
        tabs.append(tab)
        tab.page.set_default_timeout(10_000)
        tab.page.on("console", lambda message: tab.faults.append(message.text))
        tab.page.on("pageerror", lambda error: tab.faults.append(str(error)))
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        tab.page.goto(path.as_uri())
        return tab

    show.visit = visit
    yield show
    for tab in tabs:
        assert not tab.faults
        assert [url for url in tab.requests if not url.startswith(("file:", "data:", "about:"))] == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def films() -> Callable[[str], Film]:
    made: dict[str, Film] = {}

    def film(name: str) -> Film:
        if name not in made:
            made[name] = FILMS[name]()
        return made[name]

    return film
