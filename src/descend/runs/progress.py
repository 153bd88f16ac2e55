"""Progress of a run while it goes on: an ordinary generator around the generator of steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from descend.descent.history import Step

PLAIN_SECONDS = 2.0
"""Where the output is no terminal, a line is written this often."""


def watched(
    walk: Iterator[Step], limit: int | None = None, time_limit: float | None = None
) -> Iterator[Step]:
    """The same steps; on the way standard error shows step, loss, rows per second and time left."""
    if sys.stderr.isatty():
        return _live(walk, limit, time_limit)
    return _plain(walk, limit, time_limit)


def describe(step: Step, limit: int | None, time_limit: float | None) -> str:
    """One line about a step.

    >>> import numpy as np
    >>> describe(Step(50, np.zeros(2), loss=0.125, seconds=2.0, rows_seen=5_000_000), 100, None)
    'step 50 of 100, loss 0.125, 2,500,000 rows/s, 2 s left'
    """
    seconds = step.seconds or 0.0
    words = [f"step {step.number:,}" + (f" of {limit:,}" if limit else "")]
    loss = step.batch_loss if step.loss is None else step.loss
    if loss is not None:
        words.append(f"loss {loss:.6g}")
    if step.rows_seen and seconds > 0:
        words.append(f"{step.rows_seen / seconds:,.0f} rows/s")
    left = [seconds * (limit / step.number - 1)] if limit and step.number else []
    left += [time_limit - seconds] if time_limit else []
    if left:
        words.append(f"{max(min(left), 0):.0f} s left")
    return ", ".join(words)


def _plain(walk: Iterator[Step], limit: int | None, time_limit: float | None) -> Iterator[Step]:
    last = time.monotonic()
    for step in walk:
        if time.monotonic() - last >= PLAIN_SECONDS:
            last = time.monotonic()
            print(describe(step, limit, time_limit), file=sys.stderr, flush=True)
        yield step


def _live(walk: Iterator[Step], limit: int | None, time_limit: float | None) -> Iterator[Step]:
    from rich.console import Console

    with Console(stderr=True).status("reading the data") as status:
        for step in walk:
            status.update(describe(step, limit, time_limit))
            yield step
