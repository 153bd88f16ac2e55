"""A fastai Learner recorded: the losses and weights are those of the same loop in plain torch."""

from __future__ import annotations

import numpy as np
import pytest

import descend

torch = pytest.importorskip("torch")
learner = pytest.importorskip("fastai.learner")
pytest.importorskip("fastai.callback.progress")  # gives a Learner its `no_bar`

X, Y = descend.make_line(100, weights=(3, 2), seed=0)
ROWS = torch.utils.data.TensorDataset(torch.tensor(X[:, :1]).float(), torch.tensor(Y)[:, None].float())
LOADER = torch.utils.data.DataLoader(ROWS, batch_size=25)
MSE = torch.nn.functional.mse_loss


def fit(model, epochs, callback):
    made = learner.Learner(learner.DataLoaders(LOADER, LOADER), model, MSE, lr=0.1, opt_func=learner.SGD)
    with made.no_bar(), made.no_logging():
        made.fit(epochs, cbs=callback)


def test_each_batch_is_a_row_of_the_plain_loop():
    torch.manual_seed(0)
    layer = torch.nn.Linear(1, 1)
    twin, expected = torch.nn.Linear(1, 1), descend.History()
    twin.load_state_dict(layer.state_dict())
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    history = descend.History(names=("slope", "intercept"))
    fit(layer, 2, descend.HistoryCallback(history))
    for x, y in [*LOADER, *LOADER]:
        loss = MSE(twin(x), y)
        expected.record(batch_loss=loss, weights=twin.parameters())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected.record(weights=twin.parameters())
    assert len(history) == 2 * 4 + 1
    np.testing.assert_allclose(history.batch_loss, expected.batch_loss, rtol=1e-6)
    np.testing.assert_allclose(history.weights, expected.weights, rtol=1e-6)
    run = descend.Run.from_torch(layer, X[:, :1], Y, history=history)
    assert run.animate().frames >= 9


def test_the_head_of_a_larger_model():
    body, head = torch.nn.Linear(1, 3), torch.nn.Linear(3, 1)
    history = descend.History()
    fit(torch.nn.Sequential(body, head), 1, descend.HistoryCallback(history, head))
    assert history.weights.shape == (5, 4)
    np.testing.assert_allclose(history.weights[-1][:3], head.weight.detach().numpy()[0])
