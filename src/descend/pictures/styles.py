"""The style table: the colours, sizes and line widths that every picture is drawn with.

Matplotlib's pictures and the player's page both read it, so a slide, a notebook and a report look
alike. Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any of the
common colour vision deficiencies can tell apart, beside neutral greys. Blue is data, vermilion is the
model, grey is what was before.
"""

from __future__ import annotations

from dataclasses import dataclass

from descend.errors import DescendError


@dataclass(frozen=True)
class Style:
    """Colours of one look, as `#rrggbb`.

    >>> STYLES["light"].data, STYLES["light"].model
    ('#0072b2', '#d55e00')
    """

    name: str
    background: str
    text: str
    muted: str
    """Labels and ticks."""
    axis: str
    grid: str
    start: str
    """What was before: the start's line, a constant prediction."""
    data: str
    model: str
    validation: str
    classes: tuple[str, ...]
    """One colour per class or coefficient, taken in turn; none of them is the model's."""
    surface: tuple[str, ...]
    """The loss surface from its lowest value to its highest."""
    contour: str


LIGHT = Style(
    name="light",
    background="#ffffff",
    text="#1f2933",
    muted="#5b6670",
    axis="#9aa5b1",
    grid="#e8ebee",
    start="#8c97a3",
    data="#0072b2",
    model="#d55e00",
    validation="#009e73",
    classes=("#0072b2", "#e69f00", "#cc79a7", "#009e73", "#56b4e9", "#6b7680"),
    surface=("#f7fafc", "#d9e7f1", "#b3cee3", "#86aecf", "#5a8cb8"),
    contour="#4d7ba6",
)

DARK = Style(
    name="dark",
    background="#15191e",
    text="#e6e9ec",
    muted="#a3adb7",
    axis="#5c6670",
    grid="#272d34",
    start="#7d8893",
    data="#56b4e9",
    model="#ff8a3d",
    validation="#2bc79a",
    classes=("#56b4e9", "#e69f00", "#e29ac3", "#2bc79a", "#8fa8ff", "#a3adb7"),
    surface=("#3f7fae", "#316389", "#264c69", "#1d384d", "#182733"),
    contour="#6fa9d4",
)

STYLES = {style.name: style for style in (LIGHT, DARK)}

SIZES = {
    "title": 12.0,
    "label": 10.5,
    "tick": 9.5,
    "point": 4.5,
    "line": 2.2,
    "thin": 1.2,
    "axis": 0.8,
}
"""Type, points and lines: points of 1/72 inch in matplotlib, pixels in the player."""

FONTS = ("Inter", "Source Sans 3", "Helvetica Neue", "Arial", "DejaVu Sans", "sans-serif")


def as_style(style: Style | str) -> Style:
    """A Style from itself or from its name. Raises `DescendError` for any other name.

    >>> as_style("dark").background
    '#15191e'
    """
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise DescendError(f'`style` must be "light" or "dark", got {style!r}.')
    return STYLES[style]


def css(style: Style | str) -> str:
    """The table as CSS custom properties, `--data:#0072b2;...`, lists numbered from 1.

    >>> css("light")[:39]
    '--background:#ffffff;--text:#1f2933;--m'
    """
    table: dict[str, str] = {}
    for name, value in vars(as_style(style)).items():
        if name == "name":
            continue
        if isinstance(value, tuple):
            singular = {"classes": "class"}.get(name, name)
            table |= {f"{singular}-{i}": colour for i, colour in enumerate(value, 1)}
        else:
            table[name] = value
    table |= {f"size-{name}": f"{size:g}px" for name, size in SIZES.items()}
    return "".join(f"--{name}:{value};" for name, value in table.items())


def relative_luminance(colour: str) -> float:
    """The luminance of `#rrggbb`, 0 for black and 1 for white (WCAG 2.2).

    >>> relative_luminance("#ffffff"), relative_luminance("#000000")
    (1.0, 0.0)
    """
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return round(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2], 12)
