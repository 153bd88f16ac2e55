"""The range test: the limit is where losses turn, and the suggestion lies below."""

from __future__ import annotations

import numpy as np
import pytest

import descend
from descend import Adam, DescendError, GradientDescent

RNG = np.random.default_rng(2)
X = RNG.normal(size=(500, 3)) * [1.0, 3.0, 0.5]
Y = X @ [1.0, -1.0, 2.0] + RNG.normal(size=500)


@pytest.mark.parametrize("optimizer", [GradientDescent(), GradientDescent(momentum=0.9), Adam()])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_the_suggestion_is_a_rate_that_works(optimizer, batch_size):
    found = descend.lr_find(X, Y, optimizer=optimizer, batch_size=batch_size)
    assert len(found.rates) == len(found.losses)
    assert (np.diff(found.rates) > 0).all()
    assert found.losses.min() < found.losses[0]
    if isinstance(optimizer, Adam):
        assert found.limit is None
    else:
        assert found.limit == pytest.approx(
            optimizer.rate_limit(
                np.linalg.eigvalsh(2 * np.c_[X, np.ones(500)].T @ np.c_[X, np.ones(500)] / 500)[-1]
            )
        )
        assert found.suggestion <= 0.5 * found.limit
        run = descend.fit(X, Y, optimizer=GradientDescent(found.suggestion), steps=50)
        assert run.loss < 0.7 * run.history.loss[0]
    assert f"{found.suggestion:.3g}" in str(found)


def test_other_losses_have_a_safe_rate():
    found = descend.lr_find(X, (Y > 0).astype(int), loss="logistic")
    assert not found.exact
    assert "safe up to" in str(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "newton"}, "no learning rate"),
        ({"points": 3}, "`points`"),
        ({"smallest": 1.0, "largest": 0.1}, "`smallest`"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(DescendError, match=message):
        descend.lr_find(X, Y, **options)


def test_the_picture_marks_the_limit_and_the_suggestion():
    import matplotlib

    matplotlib.use("Agg")
    found = descend.lr_find(X, Y)
    axes = found.plot()
    marked = [line.get_xdata()[0] for line in axes.lines[1:]]
    assert marked == [found.suggestion, found.limit]
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize("seed", range(6))
def test_batches_of_one_row_do_not_end_the_test_by_chance(seed):
    random = np.random.default_rng(seed)
    A = random.normal(size=(200, 3))
    b = A @ [1.0, 2.0, 3.0] + 5 + 0.1 * random.normal(size=200)
    found = descend.lr_find(A, b, batch_size=1)
    assert len(found.rates) > 50
    assert found.suggestion > found.rates[0]
    run = descend.fit(A, b, batch_size=1, epochs=3, optimizer=GradientDescent(found.suggestion))
    assert run.loss < 0.05
