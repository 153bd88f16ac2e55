# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own loop, watched
#
# You need not let descend do the walking. A `History` is a diary that any loop can write: tell it the
# loss and the weights of each step, and draw what it holds. It copies what it is given, which costs a
# microsecond or two.

# %%
import numpy as np

import descend

x, y = descend.make_line(100, weights=(3, 2), seed=0)

# %% [markdown]
# ## In NumPy
#
# Our own idea of a step: look at one point only, chosen by chance.

# %%
rng = np.random.default_rng(0)
history, a = descend.History(names=("x", "intercept")), np.array([-1.0, 1.0])
for _ in range(300):
    history.record(loss=descend.mse(x @ a, y), weights=a)
    i = rng.integers(len(y))
    a = a - 0.05 * 2 * (x[i] @ a - y[i]) * x[i]
print(history)
assert history.loss[-1] < 0.2
history.surface(x, y)

# %%
history.animate(x, y)

# %% [markdown]
# ## In PyTorch
#
# Tensors and parameters may be recorded as they are; they are detached and copied. The loop is the
# ordinary one, with a line more.

# %%
try:
    import torch
except ImportError:
    torch = None
    print("PyTorch is not installed, so this part is skipped: pip install torch")

if torch:
    inputs, targets = torch.tensor(x), torch.tensor(y)
    weights = torch.nn.Parameter(torch.tensor([-1.0, 1.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([weights], lr=0.05, momentum=0.9)
    history = descend.History(names=("x", "intercept"))
    for _ in range(100):
        loss = ((inputs @ weights - targets) ** 2).mean()
        history.record(loss=loss, weights=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(history)
    assert np.allclose(history.weights[-1], np.linalg.lstsq(x, y, rcond=None)[0], atol=0.05)

# %%
history.animate(x, y)

# %% [markdown]
# The ball with momentum rolls past the bottom and comes back. That is easier seen than told.
#
# ## With a layer
#
# A model's parameters can be recorded together. `torch.nn.Linear(1, 1)` holds a slope and an intercept, in
# that order, which is the order of the weights here: columns first, the intercept last.

# %%
if torch:
    layer = torch.nn.Linear(1, 1, dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    history = descend.History(names=("x", "intercept"))
    for _ in range(150):
        loss = ((layer(inputs[:, :1]).squeeze() - targets) ** 2).mean()
        history.record(loss=loss, weights=layer.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert history.loss[-1] < 0.2
    history.plot(x[:, :1], y)

# %% [markdown]
# ## In fastai
#
# fastai calls a callback after each batch. This one writes the diary:
#
# ```python
# from fastai.callback.core import Callback
#
# class Watch(Callback):
#     def __init__(self, history):
#         self.history = history
#
#     def after_batch(self):
#         if self.training:
#             self.history.record(batch_loss=self.loss, weights=self.model.parameters())
#
# history = descend.History()
# learner.fit(1, cbs=Watch(history))
# history.plot_loss()
# ```
