"""The style table: complete, readable, and told apart by everyone."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from descend.errors import DescendError
from descend.pictures.styles import SIZES, STYLES, as_style, css, relative_luminance

# Machado, Oliveira and Fernandes (2009), full deficiency, applied to linear RGB
DEFICIENCIES = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}  # fmt: skip


def contrast(a, b):
    high, low = sorted((relative_luminance(a), relative_luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def linear(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def lab(rgb):
    x = (0.4124 * rgb[0] + 0.3576 * rgb[1] + 0.1805 * rgb[2]) / 0.95047
    y = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]
    z = (0.0193 * rgb[0] + 0.1192 * rgb[1] + 0.9505 * rgb[2]) / 1.08883
    f = [max(v, 0.0) ** (1 / 3) if v > 0.008856 else 7.787 * max(v, 0.0) + 16 / 116 for v in (x, y, z)]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def difference(a, b):
    return sum((u - v) ** 2 for u, v in zip(lab(a), lab(b), strict=True)) ** 0.5


def seen(colour, kind):
    rgb = linear(colour)
    if kind == "full":
        return rgb
    return [sum(m * c for m, c in zip(row, rgb, strict=True)) for row in DEFICIENCIES[kind]]


@pytest.mark.parametrize("style", STYLES.values(), ids=lambda s: s.name)
class TestStyle:
    def test_every_colour_is_one(self, style):
        for name, value in vars(style).items():
            for colour in (value,) if isinstance(value, str) else value:
                assert name == "name" or re.fullmatch("#[0-9a-f]{6}", colour), name

    def test_text_is_readable(self, style):
        assert contrast(style.text, style.background) >= 7
        assert contrast(style.muted, style.background) >= 4.5

    @pytest.mark.parametrize("name", ["data", "model", "validation", "start"])
    def test_marks_stand_out(self, style, name):
        assert contrast(getattr(style, name), style.background) >= 2.9

    @pytest.mark.parametrize("kind", ["full", *DEFICIENCIES])
    def test_colours_that_meet_are_told_apart(self, style, kind):
        for a, b in combinations((style.data, style.model, style.start), 2):
            assert difference(seen(a, kind), seen(b, kind)) > 20, (a, b)
        for a, b in combinations(style.classes[:3], 2):
            assert difference(seen(a, kind), seen(b, kind)) > 12, (a, b)

    def test_the_lowest_loss_is_lightest(self, style):
        levels = [relative_luminance(colour) for colour in style.surface]
        assert levels == sorted(levels, reverse=True)

    def test_css_holds_the_whole_table(self, style):
        written = dict(entry.split(":") for entry in css(style).strip(";").split(";"))
        assert written["--data"] == style.data
        assert written["--class-2"] == style.classes[1]
        assert written["--surface-1"] == style.surface[0]
        assert written["--size-line"] == f"{SIZES['line']:g}px"


def test_a_wrong_name_says_what_is_allowed():
    with pytest.raises(DescendError, match=r'`style` must be "light" or "dark", got \'sepia\''):
        as_style("sepia")


PLAYER = Path(__file__).parents[2] / "player" / "src"


@pytest.mark.parametrize("path", sorted(PLAYER.rglob("*.js")), ids=lambda p: p.name)
def test_the_player_has_no_colours_of_its_own(path):
    table = {v for style in STYLES.values() for v in css(style).replace(";", ":").split(":") if v[:1] == "#"}
    for colour in re.findall(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b", path.read_text("utf-8")):
        whole = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
        assert whole.lower() in table, colour


def test_the_player_reads_colours_by_the_tables_names():
    names = {entry.partition(":")[0] for entry in css("light").split(";") if entry}
    text = "".join(path.read_text("utf-8") for path in PLAYER.rglob("*.js"))
    used = {
        name
        for name in re.findall(r"var\((--[a-z0-9-]+)", text)
        if not name.startswith(("--player-", "--dp-"))
    }
    assert used
    assert used <= names
