"""The lesson, step by step beside loops written out, and what `fit` says when something goes wrong."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pandas as pd
import pytest

import descend
from descend import DescendError, DescendWarning, GradientDescent, Outcome, Threads
from descend.errors import ShapeError

START, RATE, STEPS = (0.5, 0.75), 0.1, 100


def line(seed):
    return descend.make_line(100, weights=(3, 2), seed=seed)


def lesson(x, y, **options):
    options = {"optimizer": GradientDescent(learning_rate=RATE), "steps": STEPS, "start": START} | options
    return descend.fit(x, y, intercept=False, **options)


def numpy_loop(x, y):
    a, losses = np.array(START), []
    for _ in range(STEPS):
        error = x @ a - y
        losses.append((error**2).mean())
        a = a - RATE * 2 * x.T @ error / len(y)
    return [*losses, ((x @ a - y) ** 2).mean()], a


def torch_loop(x, y):
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(x), torch.tensor(y)
    a, losses = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64)), []
    for _ in range(STEPS):
        loss = ((x @ a - y) ** 2).mean()
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            a.sub_(RATE * a.grad)
            a.grad.zero_()
    with torch.no_grad():
        return [*losses, ((x @ a - y) ** 2).mean().item()], a.detach().numpy()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loop", [numpy_loop, torch_loop])
def test_the_lesson_is_the_loop_written_out(seed, loop):
    x, y = line(seed)
    run = lesson(x, y)
    losses, weights = loop(x, y)
    assert len(run.history) == len(run.history.loss) == STEPS + 1
    allowed = 1e-10 * np.maximum(losses, 1e-12 * y.var())
    assert (np.abs(run.history.loss - losses) <= allowed).all()
    np.testing.assert_allclose(run.weights, weights, rtol=1e-10)
    assert run.outcome is Outcome.STEP_LIMIT
    assert run.loss == run.history.loss[-1]


def test_an_entry_of_the_history_is_the_loss_before_its_step():
    x, y = line(0)
    history = lesson(x, y).history
    assert history.loss[0] == pytest.approx(descend.mse(x @ START, y), rel=1e-12)
    assert history.number.tolist() == list(range(STEPS + 1))
    for loss, weights in zip(history.loss, history.weights, strict=True):
        assert loss == pytest.approx(descend.mse(x @ weights, y), rel=1e-10)
    assert (history.learning_rate[:-1] == RATE).all()


def test_the_line_is_the_one_asked_for():
    x, y = descend.make_line(50, weights=(3, 2), seed=7)
    assert x.shape == (50, 2)
    assert (x[:, 1] == 1).all()
    assert (np.abs(x[:, 0]) <= 1).all()
    noise = y - x @ [3, 2]
    assert 0 <= noise.min() < noise.max() < 1
    for again, first in zip(descend.make_line(50, weights=(3, 2), seed=7), (x, y), strict=True):
        np.testing.assert_array_equal(again, first)
    assert not np.array_equal(descend.make_line(50, seed=8)[0], x)
    assert descend.make_line(5, (1, 2, 3, 4), seed=0)[0].shape == (5, 4)
    with pytest.raises(DescendError, match="at least 1, got 0"):
        descend.make_line(0)


X, Y = line(0)
SHAPES = {
    "a start of three": (lambda: lesson(X, Y, start=(1, 2, 3)), (r"\(3,\)", r"\(2,\)")),
    "a start that is a column": (lambda: lesson(X, Y, start=[[1], [2]]), (r"\(2, 1\)", r"\(2,\)")),
    "one target too few": (lambda: lesson(X, Y[:-1]), ("100 rows", r"\(99,\)")),
    "x without its features": (lambda: lesson(X[:, 0], Y), (r"\(rows, features\)", r"\(100,\)")),
    "y of two columns": (lambda: lesson(X, X), (r"\(rows,\)", r"\(100, 2\)")),
    "m @ x": (lambda: descend.predict(START, X), (r"\(2,\)", r"\(100, 2\)")),
    "x transposed": (lambda: descend.predict(X.T, START), (r"\(2, 100\)", r"\(2,\)")),
    "a forgotten intercept": (lambda: descend.predict(X, START, intercept=True), (r"\(100, 2\)", r"\(2,\)")),
    "mse": (lambda: descend.mse(Y[:, None], Y), (r"\(100, 1\)", r"\(100,\)")),
    "cross entropy": (lambda: descend.cross_entropy(X * 0.5 + 0.5, Y[:3]), (r"\(100, 2\)", r"\(3,\)")),
}


@pytest.mark.parametrize(("act", "shapes"), SHAPES.values(), ids=SHAPES)
def test_a_wrong_shape_is_refused_with_both_shapes(act, shapes):
    with pytest.raises(DescendError) as caught:
        act()
    assert isinstance(caught.value, ShapeError)
    for shape in shapes:
        assert caught.match(shape)


WEIGHTED = pd.DataFrame({"a": X[:, 0], "c": "t", "y": Y})
MISTAKES = {
    "an optimizer's class": (
        lambda: descend.fit(X, Y, optimizer=descend.Adam),
        r"`optimizer` must be .* an object such as descend\.Adam\(\), got <class",
    ),
    "no optimizer": (lambda: descend.fit(X, Y, optimizer=None), "`optimizer` must be .*, got None"),
    "a loss's class": (lambda: descend.fit(X, Y, loss=descend.SquaredError), "`loss` must be .* got <class"),
    "a penalty by name": (lambda: descend.fit(X, Y, penalty="l2"), "`penalty` must be a number, .* got 'l2'"),
    "an engine's class": (lambda: descend.fit(X, Y, engine=descend.Serial), "`engine` must be .* got <class"),
    "an engine by name": (lambda: descend.fit(X, Y, engine="threads"), "`engine` must be .* got 'threads'"),
    "a start of text": (lambda: descend.fit(X, Y, start="abc"), "`start` must hold numbers.* got 'abc'"),
    "weights of text": (
        lambda: descend.fit(X, Y, sample_weight=["a"] * 100),
        "`sample_weight` must hold numbers, got dtype <U1",
    ),
    "a negative seed": (lambda: descend.fit(X, Y, seed=-1), "`seed` must be a whole number .* got -1"),
    "text for the intercept": (
        lambda: descend.fit(X, Y, intercept="no"),
        "`intercept` must be True or False",
    ),
    "text for a momentum": (lambda: GradientDescent(0.1, momentum="x"), "`momentum` must be at least 0 and"),
    "text for threads": (lambda: Threads("2"), "`count` of Threads must be a whole number .* got '2'"),
    "a file object": (
        lambda: descend.fit(io.StringIO("x,y\n1,2\n"), target="y"),
        "with `target` the data must be a path, several paths or a frame, got StringIO",
    ),
    "too few to hold out": (lambda: descend.fit(X[:2], Y[:2], valid=0.01), "of 2 rows none is held out"),
    "too few to learn": (lambda: descend.fit(X[:2], Y[:2], valid=0.99), "of 2 rows none is left to learn"),
    "a column by place": (lambda: descend.fit(WEIGHTED, "y"), "the name of a column is `target='y'`"),
    "text beside y": (
        lambda: descend.fit(WEIGHTED[["a", "c"]], WEIGHTED["y"]),
        r"got dtype object\. .* fit\(table, target=",
    ),
    "columns by dict": (
        lambda: descend.fit(WEIGHTED, target="y", columns={"drop": ["c"]}),
        r"`columns` must be descend\.Columns\(\.\.\.\), got dict",
    ),
    "a name in place of names": (
        lambda: descend.fit(WEIGHTED, target="y", columns=descend.Columns(drop="c")),
        r"`drop` of Columns must be a list, got 'c': write \['c'\]",
    ),
}


@pytest.mark.parametrize(("act", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_call_is_named_and_told_how_to_mend(act, message):
    with pytest.raises(DescendError, match=message):
        act()


@pytest.mark.parametrize("loss", ["logistic", "cross-entropy"])
@pytest.mark.parametrize("optimizer", ["newton", "lbfgs"])
def test_separation_is_named(loss, optimizer):
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    how = {"loss": loss, "optimizer": optimizer}
    with pytest.warns(
        DescendWarning, match="the classes are separated: without a penalty no weights are the"
    ):
        run = descend.fit(x, [0, 0, 1, 1], **how)
    assert run.warnings
    frame = pd.DataFrame({"x": x[:, 0], "y": ["a", "a", "b", "b"]})
    with pytest.warns(DescendWarning, match="the classes are separated"):
        run = descend.fit(frame, target="y", penalty=0, **how)
    assert any("separated" in note for note in run.model.facts["notes"])
    for y in (
        [0, 1, 0, 1],
        [0, 0, 1, 1],
    ):  # mixed, and separated with a penalty: no warning, which would raise
        descend.fit(x, y, penalty=0.0 if y[1] else 0.01, **how)
        descend.fit(
            frame.assign(y=np.array(list("ab"))[y]), target="y", penalty=None if y[1] else 0.01, **how
        )


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, int])
def test_numbers_of_numpy_are_numbers(kind):
    run = descend.fit(X[:, :1], Y, intercept=False, optimizer=GradientDescent(kind(1)), steps=kind(3))
    expected = descend.fit(X[:, :1], Y, intercept=False, optimizer=GradientDescent(1.0), steps=3)
    np.testing.assert_array_equal(run.history.loss, expected.history.loss)


def test_arrays_may_be_lists_and_of_any_numbers():
    expected = descend.fit(X, Y).weights
    np.testing.assert_array_equal(descend.fit(X.tolist(), Y.tolist()).weights, expected)
    np.testing.assert_array_equal(descend.fit(X, Y[:, None]).weights, expected)
    framed = descend.fit(pd.DataFrame(X), pd.Series(Y)).weights
    np.testing.assert_allclose(
        framed, expected, rtol=1e-12
    )  # a frame holds columns: BLAS reads them another way


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": "exact"},
        {"optimizer": "gradient-descent", "steps": 3, "loss": "logistic"},
        {"optimizer": "adam", "batch_size": 256, "epochs": 1, "loss": "logistic"},
    ],
    ids=["exact", "gradient descent", "batches"],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_float32_is_not_copied_whole(how, order):
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=(400_000, 40)), np.float32, order=order)
    y = (x[:, 0] > 0).astype(np.float32)
    descend.fit(x[:1000], y[:1000], **how)
    tracemalloc.start()
    try:
        descend.fit(x, y, engine=Threads(2), **how)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.8 * x.nbytes  # 64 MB; leaves and the order of rows take about 30


def test_predictions_of_weights_need_no_run():
    np.testing.assert_allclose(descend.predict(X, START), X @ START, rtol=1e-15)
    np.testing.assert_allclose(descend.predict(X[:, :1], START, intercept=True), X @ START, rtol=1e-15)


def test_the_losses_of_the_lesson_are_public():
    assert descend.mse([1.0, 2.0], [0.0, 4.0]) == 2.5
    p = np.array([0.9, 0.2, 0.5])
    expected = -np.log([0.9, 0.8, 0.5]).mean()
    assert descend.cross_entropy(p, [1, 0, 1]) == pytest.approx(expected, rel=1e-15)
    assert descend.cross_entropy(np.column_stack([1 - p, p]), [1, 0, 1]) == pytest.approx(expected)
    assert descend.cross_entropy([0.0], [1]) == np.inf
    with pytest.raises(DescendError, match="between 0 and 1"):
        descend.cross_entropy([1.5], [1])


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.5}, {"momentum": 0.5, "nesterov": True}], ids=repr)
def test_a_rate_that_is_too_large_is_announced_and_ends_with_finite_weights(settings):
    highest = GradientDescent(**settings).rate_limit(np.linalg.eigvalsh(2 * X.T @ X / len(X))[-1])
    with pytest.warns(DescendWarning, match=r"`learning_rate` .* is above .* will grow without end"):
        run = lesson(X, Y, optimizer=GradientDescent(1.5 * highest, **settings), steps=10_000)
    assert run.outcome is Outcome.DIVERGED
    assert np.isfinite(run.weights).all()
    assert len(run.history) < 1_000
    assert run.loss > 10 * run.history.loss[0]
    with pytest.warns(DescendWarning, match="is above"):
        assert lesson(X, Y, optimizer=GradientDescent(1.01 * highest, **settings), steps=20_000).outcome is (
            Outcome.DIVERGED
        )
    assert lesson(X, Y, optimizer=GradientDescent(0.99 * highest, **settings), steps=2_000).loss < 0.2


def test_overflow_ends_with_the_last_finite_weights():
    x = X * 1e3
    with pytest.warns(DescendWarning, match="is above"):
        run = lesson(x, Y, optimizer=GradientDescent(1e300), start=(0, 0))
    assert run.outcome is Outcome.DIVERGED
    assert np.isfinite(run.weights).all()


def test_a_time_limit_ends_the_run():
    y = (Y.mean() < Y).astype(float)
    run = lesson(X, y, loss="logistic", steps=10**7, time_limit=0.05)
    assert run.outcome is Outcome.TIME_LIMIT
    assert 0.05 <= run.history.seconds[-1] < 2
    assert (np.diff(run.history.seconds) >= 0).all()
