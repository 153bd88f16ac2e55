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
# # A line through a hundred points
#
# We scatter a hundred points about a line, forget the line, and find it again by walking downhill.
# Nothing here needs more than multiplication and a little patience, and every larger model that learns
# by gradient descent does the same with more numbers.

# %%
import matplotlib.pyplot as plt
import numpy as np

import descend

print("descend", descend.__version__)
print("NumPy  ", np.__version__)

# %% [markdown]
# ## The data
#
# Each row of `x` holds a number between -1 and 1, and a 1. The target is
#
# $$y = 3\,x_1 + 2\,x_2 + \text{noise}$$
#
# and since $x_2$ is always 1, the 2 is the height of the line at zero, its intercept. Writing the
# intercept as a weight of a column of ones lets one product, `x @ weights`, do all the work.

# %%
n = 100
rng = np.random.default_rng(0)
x = np.ones((n, 2))
x[:, 0] = rng.uniform(-1, 1, n)
y = x @ np.array([3.0, 2.0]) + rng.uniform(0, 1, n)
x[:5], y[:5]

# %%
# `descend.make_line` makes the same data
again = descend.make_line(100, weights=(3, 2), seed=0)
assert np.array_equal(x, again[0])
assert np.array_equal(y, again[1])

# %%
descend.plot(x, y)

# %% [markdown]
# ## Shapes
#
# `x` has shape (100, 2): a hundred rows, two columns. A weight vector must have one entry per column.
# Let us get it wrong on purpose, because everyone does sooner or later, and read what we are told.

# %%
try:
    descend.predict(x, [3.0])
except descend.DescendError as error:
    print(error)

# %% [markdown]
# ## How wrong is a line?
#
# A line makes an error at every point. The mean squared error squares them, so that large errors weigh
# more and signs do not matter, and takes the mean:
#
# $$\mathrm{mse} = \frac1n \sum_i (\hat y_i - y_i)^2$$


# %%
def mse(y_hat, y):
    return ((y_hat - y) ** 2).mean()


# %% [markdown]
# Say we believe the weights to be (-1, 1). Draw that line and see how wrong it is.

# %%
guess = np.array([-1.0, 1.0])
print(f"the guess {guess} is wrong by {mse(x @ guess, y):.3f}")
assert np.isclose(mse(x @ guess, y), descend.mse(x @ guess, y))
descend.plot(x, y, weights=guess)

# %% [markdown]
# ## Which way is down?
#
# Were we to change a weight a little, how would the error change? Its derivative tells:
#
# $$\frac{\partial\,\mathrm{mse}}{\partial a_j} = \frac2n \sum_i (\hat y_i - y_i)\, x_{ij}$$
#
# One derivative per weight, and together they are the gradient. It points uphill, so we shall walk the
# other way. A formula for a derivative is easily checked: move each weight by very little, both ways.


# %%
def gradient(a):
    return 2 / n * x.T @ (x @ a - y)


little = 1e-6
moved = [
    (mse(x @ (guess + little * e), y) - mse(x @ (guess - little * e), y)) / (2 * little) for e in np.eye(2)
]
print("by the formula     ", gradient(guess).round(6))
print("by moving a little ", np.round(moved, 6))
assert np.allclose(gradient(guess), moved, atol=1e-6)

# %% [markdown]
# ## The walk
#
# A step takes the learning rate times the gradient away from the weights. A hundred of them make the
# whole of gradient descent. The `History` writes down what we find on the way, as any loop's diary.

# %%
learning_rate = 0.1
history = descend.History(names=("x", "intercept"))
a = guess.copy()
for step in range(101):
    loss = mse(x @ a, y)
    history.record(loss=loss, weights=a)
    if step % 10 == 0:
        print(f"{step:4d}  {loss:.4f}")
    a = a - learning_rate * gradient(a)

# %%
a = history.weights[-1]
print("found", a.round(3), "and the data was made with (3, 2.5 on average)")
assert history.loss[-1] < history.loss[0] / 50
assert np.allclose(a, [3.1, 2.5], atol=0.1)

# %% [markdown]
# The second weight is near 2.5, not 2: our noise lies between 0 and 1, so it lifts every point by one
# half on average, and no line can tell that half from the intercept.
#
# The new line beside the old guess:

# %%
history.plot(x, y)

# %% [markdown]
# ## Watch it
#
# Press play, or drag. The losses fall fast at first and slowly later: far from the bottom the slope is
# steep and steps are long; close to it both shrink.

# %%
history.animate(x, y)

# %% [markdown]
# With two weights we can draw the loss of every line there is: a bowl, seen from above. Each point of
# this map is a line, the centre is the best one, and our walk goes down to it.

# %%
history.surface(x, y)

# %% [markdown]
# ## The same in one call
#
# `descend.fit` takes the same steps. Its `run` keeps the history, and knows why it ended.

# %%
run = descend.fit(
    x,
    y,
    intercept=False,  # `x` has its own column of ones
    start=guess,
    optimizer=descend.GradientDescent(learning_rate=0.1),
    steps=100,
)
print(run)
assert np.allclose(run.weights, a)

# %% [markdown]
# ## Batches
#
# Each step looked at all hundred points. With a hundred million we would rather look at a few, take a
# step, and look at a few others. Such a handful is a mini-batch, one pass over all points is an epoch.
# The gradient of a batch is only nearly right, so the walk staggers; but it needs only a batch in memory
# and takes many steps in the time of one.

# %%
batches = descend.fit(
    x,
    y,
    intercept=False,
    start=guess,
    optimizer=descend.GradientDescent(learning_rate=0.1),
    batch_size=5,
    epochs=10,
    seed=1,
)
print("all points:", run.weights.round(3), " batches of 5:", batches.weights.round(3))
assert np.allclose(run.weights, batches.weights, atol=0.2)
batches.surface()

# %% [markdown]
# On the map the noise can be seen: the path no longer runs straight down, and at the end it wanders
# about the centre instead of coming to rest. Smaller learning rates make it wander less.
#
# ## When the answer is yes or no
#
# The mean squared error suits numbers. Where the target is a class, a model says how probable the class
# is, and the loss is the cross entropy: minus the logarithm of the probability that was given to what
# turned out to be true.

# %%
print("probability given to the truth   loss")
for p in (0.99, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 0.001):
    print(f"{p:30.3f}   {descend.cross_entropy([p], [1]):.3f}")

# %% [markdown]
# Half and half costs 0.693, the logarithm of 2. Being right and sure costs next to nothing; being wrong
# costs more the surer one was, without limit. That is what it punishes: confident mistakes.

# %%
sure = np.linspace(0.001, 0.999, 500)
with descend.style("light"):
    figure, ax = plt.subplots(figsize=(5.4, 3.9))
    ax.plot(sure, [descend.cross_entropy([p], [1]) for p in sure], linewidth=2.2)
    ax.set(xlabel="probability given to the truth", ylabel="cross entropy", xlim=(0, 1), ylim=(0, 7))

# %% [markdown]
# Let us ask of our points whether they lie above 2.5, from their first column alone. A straight line
# would predict less than 0 and more than 1; the logistic function bends it into probabilities.

# %%
above = (y > 2.5).astype(int)
yes_or_no = descend.fit(x[:, :1], above, loss="logistic", penalty=0.01)
print(yes_or_no)
print(f"right for {yes_or_no.metrics['training'].values['accuracy']:.0%} of the points")
assert yes_or_no.metrics["training"].values["accuracy"] > 0.85
yes_or_no.plot()

# %% [markdown]
# The next lesson, `descend lesson 02_learning_rate`, asks how long the steps should be.
