"""Layers that torch has trained, as runs: the losses are torch's, the rows of the history those of the loop."""

from __future__ import annotations

import numpy as np
import pytest

import descend
from descend import DescendError, History, Outcome, Run
from descend.errors import ShapeError

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 4))
SCORE = X @ [1.0, -2.0, 0.5, 3.0] + RNG.normal(size=120)
TARGETS = {
    "squared-error": SCORE,
    "logistic": (SCORE > 0).astype(int),
    "cross-entropy": np.digitize(SCORE, [-1.0, 1.0]),
}
LOSSES = {
    "squared-error": lambda z, y: F.mse_loss(z[:, 0], y),
    "logistic": lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], y.double()),
    "cross-entropy": F.cross_entropy,
}


def layer_of(loss, bias=True, dtype=torch.float64):
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3 if loss == "cross-entropy" else 1, bias=bias, dtype=dtype)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", TARGETS)
def test_the_run_has_the_loss_and_the_weights_of_the_layer(loss, dtype, bias):
    layer = layer_of(loss, bias, dtype)
    run = Run.from_torch(layer, X, TARGETS[loss], loss=loss)
    with torch.no_grad():
        expected = LOSSES[loss](layer(torch.tensor(X, dtype=dtype)).double(), torch.tensor(TARGETS[loss]))
    assert run.loss == pytest.approx(expected.item(), rel=1e-5 if dtype == torch.float32 else 1e-12)
    columns = layer.weight.detach().numpy().T.squeeze()
    np.testing.assert_array_equal(run.weights[:4], columns)
    assert run.weights.shape == (4 + bias, *columns.shape[1:])
    if bias:
        np.testing.assert_array_equal(run.weights[4], layer.bias.detach().numpy().squeeze())
    assert (run.outcome, len(run.history), run.history.loss[0]) == (Outcome.ELSEWHERE, 1, run.loss)


def test_the_last_step_goes_on_in_the_numbers_of_the_loop():
    layer, history = layer_of("squared-error"), History()
    for number in (0, 100, 200):
        history.record(loss=1.0, weights=[float(number)] * 5, number=number)
    run = Run.from_torch(layer, X, SCORE, history=history)
    assert run.history.number.tolist() == [0, 100, 200, 201]
    assert run.model.facts["steps"] == 201


@pytest.mark.parametrize("loss", ["squared-error", "cross-entropy"])
def test_the_loss_is_squared_error_for_one_output_and_cross_entropy_for_several(loss):
    layer = layer_of(loss)
    given, chosen = (Run.from_torch(layer, X, TARGETS[loss], loss=name) for name in (loss, None))
    assert chosen.loss == given.loss
    assert type(chosen.model.loss) is type(given.model.loss)


def test_a_trained_layer_is_wrapped_with_its_history():
    x, y = descend.make_line(100, seed=0)
    layer, history = torch.nn.Linear(1, 1), History()
    xt, yt = torch.tensor(x[:, :1], dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(30):
        loss = F.mse_loss(layer(xt)[:, 0], yt)
        history.record(loss=loss, weights=layer.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    run = Run.from_torch(layer, xt, yt, history=history)
    assert len(run.history) == 31
    assert run.outcome is Outcome.ELSEWHERE
    assert run.loss == pytest.approx(F.mse_loss(layer(xt)[:, 0], yt).item(), rel=1e-5)
    assert run.animate().frames == 31


@pytest.mark.parametrize("loss", TARGETS)
def test_a_history_that_ends_at_the_weights_gets_no_row_more(loss):
    layer, history = layer_of(loss), History()
    history.record(loss=1.0, weights=layer.parameters())
    run = Run.from_torch(layer, X, TARGETS[loss], loss=loss, history=history)
    assert len(run.history) == 1
    assert run.history.loss.tolist() == [1.0]  # as it was recorded
    with torch.no_grad():
        layer.weight[0, 0] += 1e-9
    run = Run.from_torch(layer, X, TARGETS[loss], loss=loss, history=history)
    assert len(run.history) == 2
    np.testing.assert_array_equal(run.history.weights[-1].ravel(), run.weights.ravel())


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_of_several_outputs_are_put_in_the_order_of_the_weights(bias):
    layer, y = layer_of("cross-entropy", bias), torch.tensor(TARGETS["cross-entropy"])
    history = History(names=tuple(f"{k}{i}" for k in "abc" for i in range(4)) + tuple("abc" if bias else ""))
    optimizer, recorded = torch.optim.SGD(layer.parameters(), lr=0.5), []
    for _ in range(5):
        loss = F.cross_entropy(layer(torch.tensor(X)), y)
        history.record(loss=loss, weights=layer.parameters())
        recorded.append(np.vstack([p.detach().numpy().T.copy() for p in layer.parameters()]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    run = Run.from_torch(layer, X, y, history=history)
    assert len(run.history) == 6
    np.testing.assert_array_equal(run.history.weights[:5], recorded)
    np.testing.assert_array_equal(run.history.weights[5], run.weights)
    assert run.history.names == tuple(f"{k}{i}" for i in range(4) for k in "abc") + history.names[12:]
    assert run.animate().frames == 6
    history.record(loss=0.0, weights=layer.parameters())  # the loop goes on as it was
    assert (len(history), len(run.history), history.weights.shape) == (6, 6, (6, 12 + 3 * bias))


def test_a_history_of_losses_alone_gets_a_row_with_the_weights():
    history = History()
    history.record(loss=9.0)
    run = Run.from_torch(layer_of("squared-error"), X, SCORE, history=history)
    assert run.history.loss.tolist() == [9.0, run.loss]
    assert run.history.weight_rows.tolist() == [1]


@pytest.mark.parametrize("loss", TARGETS)
def test_the_run_predicts_is_measured_and_saved_like_any_other(loss, tmp_path):
    y = TARGETS[loss]
    trained = descend.fit(X, y, loss=loss, penalty=0.1)
    run = Run.from_torch(trained.to_torch(), X, y, loss=loss)
    np.testing.assert_array_equal(run.predict(X), trained.predict(X))
    assert run.metrics["training"].values == pytest.approx(trained.metrics["training"].values)
    run.save(tmp_path / "layer.json")
    np.testing.assert_array_equal(descend.load(tmp_path / "layer.json").predict(X), trained.predict(X))


@pytest.mark.parametrize(
    ("layer", "x", "y", "said"),
    [
        (layer_of("squared-error"), X[:, :3], SCORE, r"`layer` has shape \(5,\), but .* have shape \(4,\)"),
        (layer_of("squared-error", bias=False), X[:, :1], SCORE, r"one weight per feature \(1\)\."),
        (layer_of("cross-entropy"), X, np.arange(120) % 4, r"\(5, 3\), but .* \(5, 4\): .*each of 4 classes"),
        (torch.nn.ReLU(), X, SCORE, r"`layer` must be an nn\.Linear, .* got ReLU"),
        (torch.nn.Conv1d(4, 1, 1), X, SCORE, r"`layer` must be an nn\.Linear, .* got Conv1d"),
        (None, X, SCORE, r"`layer` must be an nn\.Linear, .* got NoneType"),
    ],
)
def test_layers_that_do_not_fit_the_rows_are_refused(layer, x, y, said):
    with pytest.raises(ShapeError, match=said):
        Run.from_torch(layer, x, y)


def test_weights_that_have_left_for_infinity_are_told():
    layer = layer_of("squared-error")
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
    with pytest.raises(DescendError, match="`layer` holds NaN or infinity"):
        Run.from_torch(layer, X, SCORE)
