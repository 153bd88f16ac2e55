"""Small data made by chance, for lessons, examples and tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from descend.errors import DescendError, check_whole


def make_line(
    rows: int = 100, weights: Sequence[float] = (3, 2), *, seed: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lesson's data: `y = x @ weights + U(0, 1)`, one column of x uniform on [-1, 1], the last all ones.

    Returns `x` of shape (rows, len(weights)) and `y` of shape (rows,), `rows` being at least 1. With more than two
    `weights` there are more uniform columns. The same `seed` gives the same data; without one they differ from call
    to call. Raises `DescendError` where an argument is none of these.

    >>> x, y = make_line(100, weights=(3, 2), seed=0)
    >>> x.shape, y.shape, x[:, 1].min()
    ((100, 2), (100,), np.float64(1.0))
    """
    rows = check_whole("rows", rows)
    if np.ndim(weights) != 1 or not len(weights):
        raise DescendError(f"`weights` must be a list of at least one number, got {weights!r}.")
    rng = np.random.default_rng(None if seed is None else check_whole("seed", seed, 0))
    x = np.ones((rows, len(weights)))
    x[:, :-1] = rng.uniform(-1.0, 1.0, size=(rows, len(weights) - 1))
    return x, x @ np.asarray(weights, dtype=np.float64) + rng.uniform(0.0, 1.0, size=rows)
