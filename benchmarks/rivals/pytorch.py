"""PyTorch: the loop of its tutorials, with batches cut from a permutation of a tensor in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np

NAME = "PyTorch loop"


def available() -> bool:
    """Whether torch is installed: `make bench` installs it, no extra does."""
    return find_spec("torch") is not None


@contextmanager
def threads_held(count: int | None) -> Iterator[None]:
    """Torch on `count` threads, as many as it likes where that is None."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def logistic_epoch(
    X: np.ndarray, y: np.ndarray, batch_size: int, learning_rate: float, threads: int | None = None
) -> np.ndarray:
    """One epoch of stochastic gradient descent; the weights, the intercept last."""
    import torch

    rows, targets = torch.from_numpy(X), torch.from_numpy(y.astype(X.dtype))[:, None]
    model = torch.nn.Linear(X.shape[1], 1)
    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    with threads_held(threads):
        for batch in torch.randperm(len(rows)).split(batch_size):
            optimizer.zero_grad()
            loss(model(rows[batch]), targets[batch]).backward()
            optimizer.step()
    return torch.cat([p.detach().ravel() for p in model.parameters()]).numpy()
