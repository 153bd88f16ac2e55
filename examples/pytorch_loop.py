"""An ordinary PyTorch loop of six lines, watched: a History takes tensors and Parameters as they are."""

import sys
from pathlib import Path

import descend

try:
    import torch
except ImportError:
    print("PyTorch is not installed, so there is nothing to watch: pip install torch")
    sys.exit(0)

x, y = descend.make_line(100, weights=(3, 2), seed=0)
inputs, targets = torch.tensor(x), torch.tensor(y)

a = torch.nn.Parameter(torch.tensor([-1.0, 1.0], dtype=torch.float64))
history = descend.History(names=("x", "intercept"))

for _ in range(100):
    loss = ((inputs @ a - targets) ** 2).mean()
    history.record(loss=loss, weights=a)
    loss.backward()
    a.data -= 0.1 * a.grad
    a.grad.zero_()

picture = Path(__file__).with_suffix(".png")
history.surface(x, y).figure.savefig(picture)
print(f"{history}; the path on the loss surface is in {picture.name}")
