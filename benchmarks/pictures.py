"""The lesson's run as something that moves: a page, a GIF, an MP4, beside matplotlib's own writers."""

from __future__ import annotations

import shutil
import tempfile
import timeit
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from timing import Times, in_turns, markdown

import descend

matplotlib.use("Agg")

ABOUT = """The lesson's 100 steps are 101 frames of two panels, the line and the loss. The rivals draw the same
figure by `matplotlib.animation.FuncAnimation`, which redraws all of it for every frame."""


def measure(data: Path, quick: bool) -> str:
    """The section of the report. Raises `AssertionError` where a promise is not kept."""
    steps = 10 if quick else 100
    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    run = descend.fit(
        x, y, intercept=False, start=(0.5, 0.75), optimizer=descend.GradientDescent(0.1), steps=steps
    )
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"page": (".html", "to_jshtml"), "GIF": (".gif", "PillowWriter")}
        if shutil.which("ffmpeg"):
            kinds["MP4"] = (".mp4", "FFMpegWriter")
        rows = []
        for kind, (suffix, rival) in kinds.items():
            ours, theirs = Path(folder) / f"ours{suffix}", Path(folder) / f"theirs{suffix}"
            # pages take milliseconds, so many are made in a round
            many = 1 if quick or kind != "page" else 10
            ways = {"ours": _ours(run, ours, many), "theirs": _theirs(run, theirs)}
            times = in_turns(ways, 1 if quick else 3)
            mine = Times(tuple(seconds / many for seconds in times["ours"].seconds))
            ratio = times["theirs"].ratio_to(mine)
            rows.append(
                [kind, str(mine), _size(ours), f"`{rival}`", str(times["theirs"]), _size(theirs), ratio]
            )
            if kind == "page":
                assert ours.stat().st_size < 130_000, f"the page has {ours.stat().st_size:,} bytes"
    costs = ", ".join(f"{name} {cost:.2g} microseconds" for name, cost in _recording(quick).items())
    header = ["", "descend", "size", "rival", "time", "size", "times as long"]
    return f"{ABOUT}\n\n{markdown(header, rows)}\n\nA call of `history.record(loss=..., weights=...)` with two weights: {costs}."


def _recording(quick: bool) -> dict[str, float]:
    """Microseconds of a call of `History.record`, the least of several rounds, by the kind of weights.

    Raises `AssertionError` where it is 5 or more.
    """
    a = np.array([1.0, 2.0])
    kinds: dict[str, tuple[Any, Any]] = {"a list": (0.5, [1.0, 2.0]), "an array": (a.mean(), a)}
    if find_spec("torch"):
        import torch

        parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        kinds["a Parameter"] = ((parameter**2).sum(), parameter)
    costs = {}
    for name, (loss, weights) in kinds.items():
        history, number = descend.History(), 1_000 if quick else 20_000
        work = partial(history.record, loss=loss, weights=weights)
        costs[name] = 1e6 * min(timeit.repeat(work, number=number, repeat=10)) / number
        assert quick or costs[name] < 5, f"recording {name} costs {costs[name]:.2g} microseconds"
    return costs


def _ours(run: descend.Run, path: Path, many: int) -> Callable[[], object]:
    def work() -> None:
        for _ in range(many):
            run.animate(interval=20).save(path)

    return work


def _theirs(run: descend.Run, path: Path) -> Callable[[], object]:
    def work() -> None:
        from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter

        from descend.pictures.animation import Stage
        from descend.pictures.plots import settings
        from descend.pictures.styles import LIGHT

        with matplotlib.rc_context(
            {**settings(LIGHT), "savefig.dpi": "figure", "animation.embed_limit": 100}
        ):
            film = run.animate(interval=20)
            stage = Stage(film, LIGHT)
            moves: Any = FuncAnimation(stage.figure, stage.show, frames=film.frames, interval=20)
            if path.suffix == ".html":
                path.write_text(moves.to_jshtml(), "utf-8")
            else:
                writer = PillowWriter(fps=50) if path.suffix == ".gif" else FFMpegWriter(fps=50)
                moves.save(path, writer=writer)

    return work


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1000:,.0f} kB"
