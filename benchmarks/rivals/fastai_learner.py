"""fastai: its Learner over a loader of tensors, with the loss of logits and plain gradient descent."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

NAME = "fastai, Learner"


def available() -> bool:
    """Whether fastai is installed."""
    return find_spec("fastai") is not None


def logistic_epoch(X: np.ndarray, y: np.ndarray, batch_size: int, learning_rate: float) -> None:
    """One epoch, validation left out."""
    import fastai.callback.progress  # noqa: F401  gives a Learner its `no_bar`
    import torch
    from fastai.basics import SGD, Callback, CancelValidException, DataLoaders, Learner

    class NoValidation(Callback):
        def before_validate(self) -> None:
            raise CancelValidException

    rows, targets = torch.from_numpy(X), torch.from_numpy(y.astype(X.dtype))[:, None]
    data = torch.utils.data.TensorDataset(rows, targets)
    order = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(data), batch_size, drop_last=False)
    loader = torch.utils.data.DataLoader(data, sampler=order, batch_size=None)  # a batch is one slice
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    model = torch.nn.Linear(X.shape[1], 1)
    learner = Learner(DataLoaders(loader, loader), model, loss, opt_func=SGD, lr=learning_rate)
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, cbs=NoValidation())
