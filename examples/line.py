"""The lesson's hundred points: a guess, a hundred steps downhill, the loss every ten, and a picture."""

from pathlib import Path

import descend

x, y = descend.make_line(100, weights=(3, 2), seed=0)
guess = (0.5, 0.75)
print(f"mse of the guess {guess}: {descend.mse(descend.predict(x, guess), y):.2f}")

run = descend.fit(
    x,
    y,
    intercept=False,
    start=guess,
    optimizer=descend.GradientDescent(learning_rate=0.1),
    steps=100,
    every=10,
)
print(f"mse of {run.weights.round(2).tolist()}: {run.loss:.2f}; {run.outcome.value}")

picture = Path(__file__).with_suffix(".png")
run.plot().figure.savefig(picture)
print("the data, the start and the fit are in", picture.name)
