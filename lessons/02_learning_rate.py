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
# # How long should a step be?
#
# The first lesson walked downhill with a learning rate of 0.1 and did not say why. Here we take it too
# small, right and too large, see on the loss surface what happens, and find out what decides.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np

import descend

x, y = descend.make_line(100, weights=(3, 2), seed=0)
start = (-1.0, 1.0)


def walk(learning_rate, steps=30, x=x, **how):
    optimizer = descend.GradientDescent(learning_rate, **how)
    return descend.fit(x, y, intercept=False, start=start, optimizer=optimizer, steps=steps)


# %% [markdown]
# ## The limit
#
# Along a direction in which the loss curves by $c$, a step of gradient descent multiplies the distance
# to the bottom by $1 - \text{rate} \cdot c$. The walk closes in as long as that lies between -1 and 1,
# so the steepest curve sets the limit: the rate must stay below $2 / c_{\max}$. The squared error curves
# alike everywhere, so this can be computed before the first step.

# %%
objective = descend.Objective.of(x, y, intercept=False)
curvatures = np.linalg.eigvalsh(objective.hessian(objective.zeros()))
limit = 2 / curvatures[-1]
print("curvatures", curvatures.round(3), " limit", round(limit, 3))
assert np.isclose(curvatures[-1], objective.curvature_bound)

# %% [markdown]
# ## Too small, right, nearly too large

# %%
rates = {"too small": 0.01, "right": 0.3, "nearly too large": 0.97 * limit}
runs = {name: walk(rate) for name, rate in rates.items()}
with descend.style("light"):
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for (name, run), ax in zip(runs.items(), axes, strict=True):
    run.surface(ax=ax)
    ax.set_title(f"{name}: {rates[name]:.3g}")
    print(f"{name:18s} loss after 30 steps {run.loss:.4f}")

assert runs["right"].loss < runs["too small"].loss
assert runs["right"].loss < runs["nearly too large"].loss

# %% [markdown]
# Too small a rate creeps. Nearly too large a rate leaps from one side of the valley to the other, each
# time landing only a little closer. In between it goes straight down.
#
# ## Too large
#
# Beyond the limit every leap lands farther away than it began. descend says so before it starts, and it
# says so again in the ending.

# %%
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    lost = walk(1.2 * limit, steps=200)
print(said[0].message)
print()
print(lost)
assert lost.outcome is descend.Outcome.DIVERGED
lost.plot_loss()

# %% [markdown]
# ## Momentum
#
# A ball does not forget which way it was rolling. With momentum a step is a part of the last step plus
# the gradient's: in a narrow valley the leaps from side to side cancel and those along it add up. To see
# it we need a narrow valley, so let us measure the first column in other units: divided by eight.

# %%
narrow = x / (8, 1)
valley = descend.Objective.of(narrow, y, intercept=False)
c = np.linalg.eigvalsh(valley.hessian(valley.zeros()))
print("curvatures", c.round(4), " condition number", round(c[-1] / c[0], 1))
rate = 1.8 / c[-1]
plain = walk(rate, 150, x=narrow)
rolling = walk(rate, 150, x=narrow, momentum=0.9)
print(f"loss after 150 steps: plain {plain.loss:.4f}, with momentum {rolling.loss:.4f}")
assert rolling.loss < plain.loss
with descend.style("light"):
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for (name, run), ax in zip({"plain": plain, "momentum 0.9": rolling}.items(), axes, strict=True):
    run.surface(ax=ax)
    ax.set_title(name)

# %% [markdown]
# ## Scaling
#
# The valley was narrow only because of the units. The ratio of the largest to the smallest curvature,
# the condition number, decides how many steps a walk needs, and dividing each column by its standard
# deviation brings it down. For a table descend does that by itself, and gives the coefficients back in
# the units of the data: scaling changes the walk, never the answer.

# %%
scale = np.array([narrow[:, 0].std(), 1.0])
scaled = narrow / scale
even = descend.Objective.of(scaled, y, intercept=False)
print("condition number", round(np.divide(*np.linalg.eigvalsh(even.hessian(even.zeros()))[::-1]), 2))
quick = walk(0.4, 30, x=scaled)
back = quick.weights / scale
best = np.linalg.lstsq(narrow, y, rcond=None)[0]
print("in the units of the data", back.round(3), " by least squares", best.round(3))
assert np.allclose(back, best, atol=1e-3)
quick.animate()
