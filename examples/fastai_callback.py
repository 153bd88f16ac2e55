"""A fastai Learner with a linear head, recorded into a History batch by batch (needs fastai)."""

import sys

import numpy as np

import descend

try:
    import fastai.callback.progress  # noqa: F401  gives a Learner its `no_bar`
    import torch
    from fastai.basics import Callback, DataLoaders, Learner
except ImportError:
    sys.exit(print("this example needs fastai: pip install fastai"))


class HistoryCallback(Callback):
    """Records the loss and the linear weights before each training step, and the weights at the end."""

    def __init__(self, history):
        super().__init__()
        self.history = history

    def after_loss(self):
        if self.training:
            self.history.record(batch_loss=self.loss, weights=self.learn.model.parameters())

    def after_fit(self):
        self.history.record(weights=self.learn.model.parameters())


x, y = descend.make_line(100, weights=(3, 2), seed=0)
rows = [(torch.tensor(a[:1]).float(), torch.tensor([b]).float()) for a, b in zip(x, y, strict=True)]
loader = torch.utils.data.DataLoader(rows, batch_size=25, shuffle=False)
learner = Learner(DataLoaders(loader, loader), torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, lr=0.1)
history = descend.History(names=("slope", "intercept"))
with learner.no_bar(), learner.no_logging():
    learner.fit(40, cbs=HistoryCallback(history))
history.plot_coefficients().figure.savefig("fastai_history.png")
print(f"{len(history) - 1} steps, slope and intercept {np.round(history.weights[-1], 1).tolist()}")
