"""A fastai Learner with a linear head, recorded into a History batch by batch (needs descend[fastai])."""

import sys

import numpy as np

import descend

try:
    import fastai.callback.progress  # noqa: F401  gives a Learner its `no_bar`
    import torch
    from fastai.learner import DataLoaders, Learner
except ImportError:
    sys.exit(print("this example needs fastai: pip install 'descend[fastai]'"))

x, y = descend.make_line(100, weights=(3, 2), seed=0)
rows = [(torch.tensor(a[:1]).float(), torch.tensor([b]).float()) for a, b in zip(x, y, strict=True)]
loader = torch.utils.data.DataLoader(rows, batch_size=25, shuffle=False)
learner = Learner(DataLoaders(loader, loader), torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, lr=0.1)
history = descend.History(names=("slope", "intercept"))
with learner.no_bar(), learner.no_logging():
    learner.fit(40, cbs=descend.HistoryCallback(history))
history.plot_coefficients().figure.savefig("fastai_history.png")
print(f"{len(history) - 1} steps, slope and intercept {np.round(history.weights[-1], 1).tolist()}")
