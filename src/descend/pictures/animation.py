"""Files that move: a film drawn by matplotlib as GIF or MP4, and its last frame as PNG.

What stays is drawn once; each frame restores it and draws only what moves (blitting). A GIF has one
palette for all frames, with the background exact, and stores of each frame only the pixels that
changed.
"""

from __future__ import annotations

import math
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import GifImagePlugin, Image

from descend.engines.matrix import Array
from descend.errors import DescendError
from descend.files import replacing
from descend.pictures.curves import LossPanel, PathsPanel
from descend.pictures.film import Film
from descend.pictures.panels import PICTURES, Panel, plain, short
from descend.pictures.plots import active, finish, settings
from descend.pictures.styles import SIZES, Style, as_style

SIZE, DPI = (8.4, 3.9), 100
"""Inches and dots per inch: 840 x 390 pixels."""
SHORTEST = 20.0
"""Milliseconds: browsers slow down what is faster."""
PAUSE = 1_500.0
"""Milliseconds that the last frame stays before a film begins again."""
TRANSPARENT = 255
"""The place in the palette of a GIF that stands for "unchanged"; the background is at 0."""


def write(
    film: Film,
    path: str | os.PathLike[str],
    interval: float | None = None,
    *,
    style: Style | str | None = None,
) -> None:
    """Draw a film into a `.gif`, an `.mp4`, or its last frame into a `.png`.

    `interval` is the time of a frame in milliseconds, the film's own unless given; `style` "light" or
    "dark", the active one unless given. Raises `DescendError` for another kind of file, or where an
    MP4 is asked for and ffmpeg is not installed.
    """
    kind, interval = Path(path).suffix.lower(), film.interval if interval is None else interval
    if not (math.isfinite(interval) and interval > 0):
        raise DescendError(f"`interval` must be a number of milliseconds above 0, got {interval!r}.")
    if kind not in WRITERS:
        raise DescendError(f"a film is drawn as {', '.join(WRITERS)}, got {str(path)!r}.")
    look = active() if style is None else as_style(style)
    with replacing(path) as temporary, matplotlib.rc_context(settings(look)):
        WRITERS[kind](film, temporary, interval, look)


class Stage:
    """A figure of two panels, the model and the losses, that can show every frame of a film."""

    def __init__(self, film: Film, look: Style, dpi: float = DPI) -> None:
        self.film = film
        self.figure = Figure(figsize=SIZE, dpi=dpi, layout="constrained")
        self.canvas: Any = FigureCanvasAgg(self.figure)
        engine: Any = self.figure.get_layout_engine()
        engine.set(rect=(0.0, 0.0, 1.0, 0.9), wspace=0.06, w_pad=0.08, h_pad=0.06)
        left, right = self.figure.subplots(1, 2)
        first = PICTURES.get(film.picture, PathsPanel)
        self.panels: list[Panel] = [first(film, left, look), LossPanel(film, right, look)]
        title = plain(short(film.title, 70)) or film.model
        self.figure.text(0.012, 0.975, title, va="top", fontsize=SIZES["title"], color=look.text)
        self.caption = self.figure.text(0.988, 0.975, "", va="top", ha="right", fontsize=SIZES["label"])
        self.caption.set_color(look.muted)
        for panel in self.panels:
            finish(panel, film.frames - 1)

    def show(self, frame: int) -> None:
        """Move everything to a frame."""
        loss = self.film.loss(frame)
        words = f"step {int(self.film.steps[frame]):,}"
        self.caption.set_text(words + (f"   loss {loss:.4g}" if math.isfinite(loss) else ""))
        for panel in self.panels:
            panel.show(frame)

    def frames(self, chosen: Iterable[int] | None = None) -> Iterator[Array]:
        """The pixels of every frame, or of those chosen, of shape (height, width, 4); valid until the next."""
        moving = [(panel.ax, artist) for panel in self.panels for artist in panel.moving]
        for _, artist in moving:
            artist.set_animated(True)
        self.caption.set_animated(True)
        self.canvas.draw()
        stays = self.canvas.copy_from_bbox(self.figure.bbox)
        for frame in range(self.film.frames) if chosen is None else chosen:
            self.canvas.restore_region(stays)
            self.show(frame)
            for ax, artist in moving:
                ax.draw_artist(artist)
            self.figure.draw_artist(self.caption)
            yield np.asarray(self.canvas.buffer_rgba())


def _write_png(film: Film, path: Path, interval: float, look: Style) -> None:
    stage = Stage(film, look, 2 * DPI)
    stage.show(film.frames - 1)
    stage.figure.savefig(path, dpi=2 * DPI, format="png", metadata={"Software": None})


def _write_gif(film: Film, path: Path, interval: float, look: Style) -> None:
    stage = Stage(film, look)
    palette = Palette.of(_samples(stage), look)
    each = round(max(interval, SHORTEST) / 10)
    last = round(max(PAUSE, interval) / 10)
    before: Array | None = None
    with path.open("wb") as file:
        for frame, pixels in enumerate(stage.frames()):
            image = palette.indices(pixels)
            if before is None:
                file.write(palette.header(image.shape[1], image.shape[0]))
            delay = last if frame == film.frames - 1 else each
            file.write(_gif_frame(image, before, delay))
            before = image
        file.write(b";")


def _samples(stage: Stage) -> Array:
    """Some frames side by side, whose colours are those of all."""
    count = stage.film.frames
    chosen = sorted({0, count // 4, count // 2, count - 1})
    return np.concatenate([pixels[::2, ::2, :3].copy() for pixels in stage.frames(chosen)])


class Palette:
    """At most 255 colours of some pictures, and one for "unchanged"."""

    def __init__(self, colours: Array, nearest: Array) -> None:
        self.colours, self.nearest = colours, nearest

    @staticmethod
    def of(pixels: Array, look: Style) -> Palette:
        """From pixels of shape (rows, columns, 3); the colours of the style are in it exactly.

        Without them a small mark, the one point that moves, would take the colour of something larger.
        """
        marks = (
            look.background,
            look.text,
            look.muted,
            look.data,
            look.model,
            look.validation,
            *look.classes,
        )
        fixed = np.array([_bytes(colour) for colour in dict.fromkeys(marks)], dtype=np.uint8)
        found = Image.fromarray(pixels).quantize(TRANSPARENT - len(fixed), method=Image.Quantize.MEDIANCUT)
        rest = np.array(found.getpalette() or [], dtype=np.uint8).reshape(-1, 3)[: TRANSPARENT - len(fixed)]
        colours = np.zeros((256, 3), dtype=np.uint8)
        colours[: len(fixed)], colours[len(fixed) : len(fixed) + len(rest)] = fixed, rest
        known = colours[: len(fixed) + len(rest)].astype(np.float32)
        half = (known**2).sum(axis=1) / 2
        level = np.arange(64, dtype=np.float32) * (255 / 63)  # 6 bits of each channel, red the lowest
        planes = np.empty((64, 64 * 64), dtype=np.uint8)
        for blue in range(64):
            cells = np.stack(np.meshgrid(level[blue], level, level, indexing="ij"), axis=-1)[..., ::-1]
            planes[blue] = (half - cells.reshape(-1, 3) @ known.T).argmin(axis=1)
        nearest: Array = planes.ravel()
        for place, (red, green, blue) in reversed(list(enumerate((fixed >> 2).tolist()))):
            nearest[(blue << 12) | (green << 6) | red] = place
        return Palette(colours, nearest)

    def indices(self, pixels: Array) -> Array:
        """The place in the palette of every pixel."""
        bits = np.ascontiguousarray(pixels).view("<u4")[..., 0]
        cells = (bits >> 2 & 0x3F) | (bits >> 4 & 0xFC0) | (bits >> 6 & 0x3F000)
        return np.asarray(self.nearest[cells])

    def header(self, width: int, height: int) -> bytes:
        """The beginning of a GIF that repeats for ever: its size, and the palette for all frames."""
        screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0xF7, 0, 0)
        repeat = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
        return screen + self.colours.tobytes() + repeat


def _bytes(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _gif_frame(image: Array, before: Array | None, delay: int) -> bytes:
    """The bytes of a frame: the rectangle that changed, in it "unchanged" wherever it did not.

    `delay` is in hundredths of a second.
    """
    x, y = 0, 0
    if before is not None:
        changed = image != before
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            rows, columns = np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.intp)
        y, x = int(rows[0]), int(columns[0])
        place = (slice(y, int(rows[-1]) + 1), slice(x, int(columns[-1]) + 1))
        image = np.where(changed[place], image[place], np.uint8(TRANSPARENT))
    control = struct.pack("<2sBBHBB", b"\x21\xf9", 4, 0x04 | (before is not None), delay, TRANSPARENT, 0)
    part = Image.frombytes("P", image.shape[::-1], image.tobytes())
    return control + b"".join(GifImagePlugin.getdata(part, (x, y)))


def _write_mp4(film: Film, path: Path, interval: float, look: Style) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        raise DescendError(
            "an .mp4 needs the program ffmpeg, which is not installed: `apt install ffmpeg`, `brew install ffmpeg` "
            "or `winget install ffmpeg`, or save the film as .gif or .html."
        )
    stage = Stage(film, look)
    width, height = (int(side) for side in stage.figure.bbox.size)
    source = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", f"{width}x{height}", "-r", f"{1000 / interval:.6g}"]
    result = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-movflags", "+faststart"]
    command = [program, "-y", "-loglevel", "error", *source, "-i", "-", *result, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            pixels = b""
            for frame in stage.frames():
                pixels = frame.tobytes()
                process.stdin.write(pixels)
            for _ in range(round(PAUSE / interval)):
                process.stdin.write(pixels)
            process.stdin.close()
        except BrokenPipeError:
            pass
        said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise DescendError(
            f"ffmpeg could not write the film: {said.splitlines()[-1] if said else 'no reason'}."
        )


WRITERS = {".gif": _write_gif, ".mp4": _write_mp4, ".png": _write_png}
