"""The page: whole in itself, small, and safe with any text of the data."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from films import FILMS

import descend
from descend.pictures.page import framed, page, player
from descend.pictures.styles import STYLES

EVIL = "</script><script>alert(1)</script><!--&\u2028"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags(text):
    parser = Tags()
    parser.feed(text)
    return parser.found


def test_the_lesson_s_page_is_small_and_needs_nothing_else():
    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    run = descend.fit(
        x, y, intercept=False, start=(0.5, 0.75), optimizer=descend.GradientDescent(0.1), steps=100
    )
    film = run.animate(interval=20)
    assert len(film.to_json()) < 12_000
    text = film.to_html()
    assert len(text.encode()) < 130_000
    for tag, attributes in tags(text):
        assert tag != "img"
        assert not {"src", "action", "poster"} & set(attributes)
        assert tag != "link" or attributes["href"] == "data:,"
    for call in (
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "EventSource",
        "import(",
        "sendBeacon",
        "@import",
        "url(",
    ):
        assert call not in text.replace("url(#", "")
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


def test_texts_of_the_data_stay_texts():
    film = FILMS["boundary"]
    evil = replace(
        film,
        title=EVIL,
        target=EVIL,
        outcome=EVIL,
        notes=(EVIL,),
        names=(EVIL,) * len(film.names),
        classes=(EVIL, "b"),
        sample=replace(film.sample, names=(EVIL, "b")),
    )
    assert tags(page(evil)) == tags(page(film))
    assert len(tags(framed(evil))) == 1


def test_both_looks_are_on_the_page():
    text = page(FILMS["line"])
    assert "@media screen and (prefers-color-scheme:dark)" in text
    assert all(style.background in text and style.model in text for style in STYLES.values())


def test_the_player_ships_with_its_licences():
    from importlib.resources import files

    licences = (files("descend.pictures") / "player.LICENSES").read_text("utf-8")
    assert "descendPlayer" in player()
    assert "</script" not in player().lower()
    for name in ("d3-scale", "d3-selection", "d3-contour", "d3-axis", "d3-array"):
        assert re.search(rf"^{name} [\d.]+ \(ISC\)", licences, re.M)
