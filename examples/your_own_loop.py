"""The same descent three ways: `fit`, a loop over `steps`, and a loop written out, watched by a History."""

import numpy as np

import descend

x, y = descend.make_line(100, weights=(3, 2), seed=0)
optimizer = descend.GradientDescent(learning_rate=0.1)

run = descend.fit(x, y, intercept=False, optimizer=optimizer, steps=50)

*_, last = descend.steps(descend.Objective.of(x, y, intercept=False), optimizer, limit=50)

history, a = descend.History(), np.zeros(2)
for _ in range(51):
    error = x @ a - y
    history.record(loss=(error**2).mean(), weights=a)
    a = a - 0.1 * 2 * x.T @ error / len(y)

for name, weights in (("fit", run.weights), ("steps", last.weights), ("by hand", history.weights[-1])):
    print(f"{name:<8} {weights.round(10).tolist()}")
np.testing.assert_allclose(history.loss, run.history.loss, rtol=1e-12)
