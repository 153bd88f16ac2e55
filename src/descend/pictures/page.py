"""The page that plays a film: the player's script, the style table and the film's JSON in one file."""

from __future__ import annotations

import html
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from descend.pictures.styles import css

if TYPE_CHECKING:
    from descend.pictures.film import Film

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
<body>
{element}
<script>{script}</script>
</body>
</html>
"""


@cache
def player() -> str:
    """The player's script, which defines `descendPlayer.mount(element, film)`."""
    return (files("descend.pictures") / "player.js").read_text("utf-8")


def style() -> str:
    """The style table as CSS: light, or dark where the reader prefers that; light on paper."""
    return (
        f":root,.dp-print{{{css('light')}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root:not(:has(.dp-print)){{{css('dark')}}}}}"
        "body{margin:0;background:var(--background);color:var(--text)}"
    )


def element(film: Film, name: str = "film") -> str:
    """A `<div>` that plays the film, on a page that holds `style()` and `player()` once.

    The film's JSON lies beside it with every `<` escaped, so no text of the data can end the script.
    """
    content = film.to_json().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<div id="{name}"></div>\n<script type="application/json" id="{name}-data">{content}</script>'


def mounting(name: str = "film") -> str:
    """The script that starts the player of an `element`."""
    return (
        f'descendPlayer.mount(document.getElementById("{name}"),'
        f'JSON.parse(document.getElementById("{name}-data").textContent))'
    )


def page(film: Film) -> str:
    """One self-contained page that plays a film and asks the network for nothing."""
    return PAGE.format(
        title=html.escape(film.title or "A run of descend"),
        style=style(),
        element=element(film),
        script=f"{player()}\n{mounting()}",
    )


def framed(film: Film, height: int = 760) -> str:
    """The page in an `<iframe>` that grows and shrinks with what it shows, for a notebook."""
    content = html.escape(page(film), quote=True)
    return (
        f'<iframe title="{html.escape(film.title or "A run of descend", quote=True)}" srcdoc="{content}" '
        f'style="width:100%;height:{height}px;border:0;color-scheme:normal"></iframe>'
    )
