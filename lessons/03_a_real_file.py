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
# # The same on a real file
#
# A file has names, words, gaps and units. The three lines stay the same: fit, look, predict.
#
# The file holds 344 penguins of three species, measured by Kristen Gorman near Palmer Station,
# Antarctica (Horst, Hill and Gorman, 2020). Nineteen cells are missing.

# %%
from pathlib import Path

import descend

places = (Path("penguins.csv"), Path("examples/penguins.csv"), Path("../examples/penguins.csv"))
penguins = next(place for place in places if place.exists())

# %%
print(*penguins.read_text().splitlines()[:5], sep="\n")

# %% [markdown]
# ## A number
#
# How heavy is a penguin? We name the file and the column to predict, and hold out a fifth of the rows to
# see how the model does on penguins that it has not met.

# %%
run = descend.fit(penguins, target="body_mass_g", valid=0.2)
print(run)
for note in run.notes + run.warnings:
    print("*", note)

# %%
for side, metrics in run.metrics.items():
    print(
        f"{side:10s} off by {metrics.values['mae']:.0f} g on average, {metrics.baseline['mae']:.0f} g by always "
        f"saying the mean; R squared {metrics.values['r2']:.3f}"
    )
assert run.metrics["validation"].values["r2"] > 0.8

# %% [markdown]
# Coefficients are in grams per unit of each column. Words became columns of their own, one per level but
# for the first, to which the others are compared: a Gentoo is so many grams heavier than an Adelie of the
# same measures.

# %%
for name, value in run.coefficients.items():
    print(f"{name:20s} {value:10.2f}")

# %%
run.plot()

# %% [markdown]
# Squared error needs no walk: its minimum can be solved for, and descend did. What you see below is the
# walk that gradient descent would have made, computed from the same sums, and the film says so.

# %%
run.animate()

# %% [markdown]
# ## A class
#
# Which species is it? The target holds words, so the loss is the cross entropy and the answer one
# probability per species. Nothing else changes.

# %%
species = descend.fit(penguins, target="species", valid=0.2)
print(species)
species.plot_confusion()
assert species.metrics["validation"].values["accuracy"] > 0.95

# %%
species.plot_top_losses(8)

# %% [markdown]
# ## Keep it
#
# A model is one JSON file that predicts to the bit what it did before; a report is one page to read, to
# print or to send.

# %%
species.save("penguins.model.json")
again = descend.load("penguins.model.json")
print(again.predict(penguins)[:5])
assert (again.predict(penguins) == species.predict(penguins)).all()
species.report("penguins.report.html", label="penguins.csv")

# %% [markdown]
# In the shell the same is `descend fit penguins.csv --target species`.
