"""Histories: what anyone's loop may record, and what is kept of a very long one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import descend
from descend.errors import DescendError, ShapeError


def tensor(values):
    """A parameter of torch, where it is installed."""
    torch = pytest.importorskip("torch")
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


class TestRecord:
    @pytest.mark.parametrize(
        "weights",
        [
            [1.5, -2.0],
            (1.5, -2.0),
            np.array([1.5, -2.0]),
            np.array([1.5, -2.0], dtype=np.float32),
            lambda: tensor([1.5, -2.0]),
            [np.float64(1.5), -2],
            lambda: [tensor([[1.5]]), tensor([-2.0])],
        ],
        ids=["list", "tuple", "float64", "float32", "tensor", "scalars", "parameters"],
    )
    def test_takes_weights_of_any_kind(self, weights):
        history = descend.History()
        history.record(loss=1.0, weights=weights() if callable(weights) else weights)
        assert history.weights.tolist() == [[1.5, -2.0]]
        assert history.weights.dtype == np.float64

    def test_takes_a_generator_of_parameters(self):
        history = descend.History()
        history.record(weights=(t for t in (tensor([[1.0, 2.0]]), tensor([3.0]))))
        assert history.weights.tolist() == [[1.0, 2.0, 3.0]]

    def test_keeps_the_shape_of_a_matrix_of_weights(self):
        history = descend.History()
        history.record(weights=np.ones((3, 2)))
        assert history.weights.shape == (1, 3, 2)

    @pytest.mark.parametrize(
        "loss", [2.5, np.float32(2.5), np.array(2.5), np.array([2.5]), lambda: tensor(2.5)]
    )
    def test_takes_losses_of_any_kind(self, loss):
        history = descend.History()
        history.record(loss=loss() if callable(loss) else loss)
        assert history.loss.tolist() == [2.5]

    @pytest.mark.parametrize("size", [3, 500])
    def test_takes_torch(self, size):
        torch = pytest.importorskip("torch")
        values = torch.linspace(-1, 1, size)
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            parameter = torch.nn.Parameter(values.to(dtype).clone())
            history = descend.History()
            history.record(loss=(parameter**2).sum(), weights=parameter)
            kept = history.weights[0].copy()
            with torch.no_grad():
                parameter += 1
            np.testing.assert_array_equal(history.weights[0], kept)
            np.testing.assert_array_equal(kept, values.to(dtype).double().numpy())
        layer = torch.nn.Linear(2, 1)
        history = descend.History()
        history.record(weights=layer.parameters())
        slopes, intercept = layer.weight.detach().numpy().ravel(), layer.bias.detach().numpy()
        np.testing.assert_array_equal(history.weights[0], [*slopes, *intercept])

    def test_copies_the_weights(self):
        history, a = descend.History(), np.array([1.0, 2.0])
        history.record(loss=0.0, weights=a)
        a -= 100.0
        assert history.weights.tolist() == [[1.0, 2.0]]

    def test_other_shapes_are_refused(self):
        history = descend.History()
        history.record(weights=[1.0, 2.0])
        with pytest.raises(ShapeError, match=r"`weights` had shape \(2,\) so far, got \(3,\)"):
            history.record(weights=[1.0, 2.0, 3.0])


def recorded(count, every=1, **limits):
    history = descend.History(**limits)
    for k in range(count):
        history.record(loss=float(k), weights=[k, -k] if k % every == 0 else None)
    return history


class TestThinning:
    @pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 200, 1_001])
    def test_weights_are_bounded_evenly_spaced_and_end_with_the_last(self, count):
        history = recorded(count, frames=10)
        rows = history.weight_rows
        assert len(rows) <= 10
        assert rows[0] == 0
        assert rows[-1] == count - 1
        assert len(set(np.diff(rows)[:-1])) <= 1
        np.testing.assert_array_equal(history.weights[:, 0], rows)
        assert len(history.loss) == count

    def test_weights_that_come_now_and_then_are_kept(self):
        history = descend.History(frames=8)
        for k in range(400):
            history.record(loss=float(k), weights=[k] if k % 10 == 7 else None)
        assert 4 <= len(history.weights) <= 8
        np.testing.assert_array_equal(history.weights[:, 0], history.loss[history.weight_rows])
        assert history.weights[-1, 0] == 397

    @pytest.mark.parametrize("count", [64, 65, 66, 1_000, 5_000])
    @pytest.mark.parametrize("every", [1, 7])
    def test_rows_are_bounded_and_keep_both_ends(self, count, every):
        history = recorded(count, every, rows=64, frames=6)
        assert len(history) <= 64
        assert (len(history) == count) == (count <= 64)
        assert history.loss[0] == 0
        assert history.loss[-1] == count - 1
        assert (np.diff(history.number) > 0).all()
        np.testing.assert_array_equal(history.loss, history.number)
        np.testing.assert_array_equal(history.weights[:, 0], history.loss[history.weight_rows])

    def test_more_frames_than_rows_end_up_bounded(self):
        history = recorded(10_000, rows=64, frames=100_000)
        assert len(history) <= 64
        assert len(history.weights) <= 64
        np.testing.assert_array_equal(history.weights[:, 0], history.loss[history.weight_rows])

    def test_losses_over_all_rows_outlast_those_of_batches(self):
        history = descend.History(rows=160, frames=4)
        for k in range(2_001):
            full = k / 250 if k % 250 == 0 else None
            history.record(loss=full, batch_loss=float(k), weights=[k])
        assert len(history) <= 160
        assert history.loss[~np.isnan(history.loss)].tolist() == list(range(9))

    def test_a_thinned_history_is_saved_and_read(self, tmp_path):
        history = recorded(1_000, rows=64, frames=6)
        history.save(tmp_path / "h.csv")
        read = descend.History.load(tmp_path / "h.csv")
        np.testing.assert_array_equal(read.number, history.number)
        np.testing.assert_array_equal(read.weights, history.weights)
        np.testing.assert_array_equal(read.weight_rows, history.weight_rows)

    @pytest.mark.parametrize(("name", "least"), [("frames", 2), ("rows", 16)])
    def test_limits_are_checked(self, name, least):
        with pytest.raises(DescendError, match=f"`{name}` must be at least {least}, got 1"):
            descend.History(**{name: 1})


def test_a_run_of_many_steps_counts_its_steps():
    x, y = descend.make_line(20, seed=0)
    run = descend.fit(x, y, intercept=False, optimizer="gradient-descent", steps=300)
    history = descend.History(rows=32, frames=8)
    for k in range(301):
        history.record(loss=run.history.loss[k], number=k, weights=run.weights)
    assert str(replace(run, history=history)).startswith("stopped at the step limit after 300 steps")
