"""Houses in raw units: gradient descent gets nowhere, a diagnosis says why, and its advice is followed."""

from pathlib import Path

import numpy as np

import descend

rng = np.random.default_rng(0)
area = rng.normal(1500, 400, 200)
rooms = np.round(area / 350 + rng.normal(0, 0.5, 200))
price = 120 * area + 9_000 * rooms + rng.normal(0, 20_000, 200)
x = np.column_stack([area, rooms])

slow = descend.fit(x, price, optimizer="gradient-descent", steps=100)
found = descend.diagnose(slow)
print(found)

run = descend.fit(x, price, optimizer="gradient-descent", standardize=True, steps=20)
print(f"\nstandardised, after 20 steps: {run.loss / found.gap.best - 1:.2%} above the best")

picture = Path(__file__).with_suffix(".png")
descend.diagnose(run).surface().figure.savefig(picture)
print("the loss, the run and the directions of its curvature are in", picture.name)
