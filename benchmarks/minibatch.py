"""One epoch of mini-batches over arrays in memory: rows per second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from rivals import bare_loop, fastai_learner, pytorch, scikit_learn
from timing import Times, in_turns, markdown, spread

import descend

COLUMNS, BATCH, RATE = 28, 256, 0.1
OURS, SGD = "descend", f"{scikit_learn.NAME}, SGDClassifier"
TORCH, TORCH_ALONE = pytorch.NAME, f"{pytorch.NAME}, one thread"
TARGETS = {SGD: 6.0, TORCH: 6.0, TORCH_ALONE: 6.0}


def measure(data: Path, quick: bool) -> str:
    """The section of the report."""
    rows = 20_000 if quick else 1_000_000
    X, y = make_data(rows)
    ways: dict[str, Callable[[], object]] = {
        OURS: lambda: fit(X, y),
        SGD: lambda: scikit_learn.sgd_epoch(X, y),
    }
    if pytorch.available():
        ways[TORCH] = lambda: pytorch.logistic_epoch(X, y, BATCH, RATE)
        ways[TORCH_ALONE] = lambda: pytorch.logistic_epoch(X, y, BATCH, RATE, threads=1)
    if fastai_learner.available():
        ways[fastai_learner.NAME] = lambda: fastai_learner.logistic_epoch(X, y, BATCH, RATE)
    ways[bare_loop.NAME] = lambda: bare_loop.logistic_epoch(X, y, BATCH, RATE)
    if bare_loop.available():
        compiled = bare_loop.compiled()
        ways[bare_loop.COMPILED] = lambda: compiled(X, y, BATCH, RATE)
    times = in_turns(ways, 1 if quick else 15)
    table = [_row(name, taken, times[OURS], rows) for name, taken in times.items()]
    header = ["", "time", "rows per second", "ratio", "target"]
    about = f"""One epoch of logistic regression, {rows:,} rows of {COLUMNS} float32 columns, arrays in memory, in
batches of {BATCH} at the learning rate {RATE}. SGDClassifier steps on one row at a time, which is all that
it does; PyTorch's loop is measured with the threads it takes by itself and, as its threads wait for each
other where other programs want the cores, with one; descend's time includes the loss over all rows
before and after. The bare loops do nothing but the epoch on one core, no loss, no history and no check: what plain
NumPy and what compiled code need at least. The ratio is how many times as long as descend it takes, the
target the ratio aimed at."""
    parts = [about, markdown(header, table)]
    if not pytorch.available():
        parts.append("PyTorch is not installed here, so its loop is not measured.")
    return "\n\n".join(parts)


def make_data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal columns, and classes drawn from a logistic model of them."""
    random = np.random.default_rng(0)
    X = random.standard_normal((rows, COLUMNS), dtype=np.float32)
    z = X @ random.normal(scale=0.5, size=COLUMNS).astype(np.float32)
    return X, (random.random(rows) < 1.0 / (1.0 + np.exp(-z))).astype(np.int64)


def fit(X: np.ndarray, y: np.ndarray) -> descend.Run:
    """One epoch by descend."""
    optimizer = descend.GradientDescent(learning_rate=RATE)
    return descend.fit(X, y, loss="logistic", optimizer=optimizer, batch_size=BATCH, epochs=1)


def _row(name: str, taken: Times, ours: Times, rows: int) -> list[str]:
    rates = spread([rows / seconds / 1e6 for seconds in taken.seconds], " M")
    return [name, str(taken), rates, taken.ratio_to(ours), f"{TARGETS[name]:g}x" if name in TARGETS else ""]
