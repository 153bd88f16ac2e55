"""A file and its target: a model, what it is worth on rows it has not seen, and predictions."""

from pathlib import Path

import descend

PENGUINS = Path(__file__).parent / "penguins.csv"

run = descend.fit(PENGUINS, target="species", valid=0.2)
print(run)
for side, metrics in run.metrics.items():
    print(
        f"{side}: accuracy {metrics.values['accuracy']:.3f}, always guessing {metrics.baseline['accuracy']:.3f}"
    )

chances = run.predict_probabilities(PENGUINS)
for label, chance in zip(run.model.classes, chances[0], strict=True):
    print(f"the first penguin is a {label}: {chance:.3f}")
