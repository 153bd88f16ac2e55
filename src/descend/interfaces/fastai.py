"""fastai's Learner, recorded into a History batch by batch: its linear head is then a run to watch."""

from __future__ import annotations

from typing import Any

from descend.descent.history import History
from descend.errors import MissingExtraError

try:
    from fastai.callback.core import Callback
except ImportError as error:
    raise MissingExtraError("recording a Learner needs fastai: pip install 'descend[fastai]'.") from error


class HistoryCallback(Callback):  # type: ignore[misc]
    """Records the loss of each training batch with the weights that it was computed at, and the weights at the end.

    `history` is filled as any loop fills it, and continued by another `fit`; `layer` is the linear head whose
    weights are kept, the Learner's whole model unless given. Howard and Gugger, Information 11(2), 108 (2020).

    >>> from fastai.learner import DataLoaders, Learner
    >>> import fastai.callback.progress, torch, descend
    >>> x = torch.linspace(-1.0, 1.0, 100)[:, None]
    >>> batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 3 * x + 2), batch_size=50)
    >>> loss, head = torch.nn.functional.mse_loss, torch.nn.Linear(1, 1)
    >>> learner, history = Learner(DataLoaders(batches, batches), head, loss, lr=0.1), descend.History()
    >>> with learner.no_bar(), learner.no_logging():
    ...     learner.fit(60, cbs=descend.HistoryCallback(history))
    >>> len(history), history.weights[-1].round(1).tolist()
    (121, [3.0, 2.0])
    """

    def __init__(self, history: History, layer: Any = None) -> None:
        super().__init__()
        self.history, self.layer = history, layer

    def after_loss(self) -> None:
        """Called by fastai between the loss of a batch and its gradient."""
        if self.training:
            self.history.record(batch_loss=self.loss, weights=self._weights())

    def after_fit(self) -> None:
        """Called by fastai at the end of a fit."""
        self.history.record(weights=self._weights())

    def _weights(self) -> Any:
        return (self.learn.model if self.layer is None else self.layer).parameters()
