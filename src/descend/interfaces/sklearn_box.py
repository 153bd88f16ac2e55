"""What a fitted estimator shows below scikit-learn's box: how the fit ended, and its loss curve."""

from __future__ import annotations

from html import escape

import numpy as np

from descend.descent.history import History
from descend.engines.matrix import Float
from descend.pictures.styles import LIGHT

WIDTH, HEIGHT, LEFT, RIGHT, ROOM = 340, 96, 52, 4, 16
POINTS = 200
"""Points of a curve: more than there are pixels to tell apart."""


def ending(history: History, message: str) -> str:
    """A figure in HTML, in the colours of the text around it: legible on light and dark pages.

    A curve wants three losses at least: the line between the start and the end of an exact fit says nothing.

    >>> history = History()
    >>> for loss in (4.0, 2.0, 1.0):
    ...     history.record(loss=loss, weights=[loss])
    >>> ending(history, "converged").count("<polyline")
    1
    """
    loss, steps = history.loss, int(history.number[-1])
    last = loss[np.isfinite(loss)][-1:]
    after = f" after {steps:,} step{'' if steps == 1 else 's'}"
    told = escape(message) + after + "".join(f", loss {value:.6g}" for value in last)
    curves = [("loss", loss, LIGHT.model), ("validation", history.validation_loss, LIGHT.validation)]
    drawn = [curve for curve in curves if np.isfinite(curve[1]).sum() > 2]
    picture = _picture(drawn, history.number) if drawn else ""
    return f'<figure style="margin:0.5em 0 1em;font:12px monospace"><figcaption>{told}</figcaption>{picture}</figure>'


def _picture(curves: list[tuple[str, Float, str]], number: Float) -> str:
    values = np.concatenate([losses[np.isfinite(losses)] for _, losses, _ in curves])
    low, high = float(values.min()), float(values.max())
    across = (WIDTH - LEFT - RIGHT) / (float(np.ptp(number)) or 1.0)
    down = (HEIGHT - 2 * ROOM) / ((high - low) or 1.0)
    parts = []
    for name, losses, colour in curves:
        known = np.flatnonzero(np.isfinite(losses))
        known = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), POINTS)).astype(int))]
        points = " ".join(
            f"{LEFT + (number[i] - number[0]) * across:.1f},{ROOM + (high - losses[i]) * down:.1f}"
            for i in known.tolist()
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"><title>{name}</title></polyline>'
        )
    floor = HEIGHT - ROOM + 2
    axis = f'<path d="M{LEFT} {floor}H{WIDTH - RIGHT}" stroke="currentColor" opacity="0.4"/>'
    keys = "&#160; ".join(f'<tspan fill="{colour}">{name}</tspan>' for name, _, colour in curves)
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="loss by step" style="display:block">{axis}{"".join(parts)}'
        f'<g font-size="10" fill="currentColor"><text x="{LEFT - 6}" y="{ROOM + 4}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - ROOM}" text-anchor="end">{low:.4g}</text>'
        f'<text x="{WIDTH - RIGHT}" y="10" text-anchor="end">{keys}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 2}">step {int(number[0]):,}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor="end">{int(number[-1]):,}</text></g></svg>'
    )
