"""PyTorch in and out: tensors, devices, losses of one's own, layers, and the lesson's loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from own_losses import Gamma

import descend
from descend import DescendError, GradientDescent, Outcome, Threads
from descend.engines import matrix
from descend.engines.arrays import ArraySource
from descend.engines.moments import Moments
from descend.objectives.losses import LOSSES
from descend.objectives.objective import Objective
from descend.objectives.statistics import (
    BestSum,
    HessianSum,
    LargestCurvature,
    LargestMove,
    LossAndGradient,
    LossSum,
)
from descend.runs import prepared
from descend.runs.problem import Problem

torch = pytest.importorskip("torch")
Torch, TorchLoss = descend.Torch, descend.TorchLoss

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
random = np.random.default_rng(3)
X = random.normal(size=(300, 4))
TARGETS = {
    "squared-error": X @ [1.0, -2.0, 0.5, 3.0] + random.normal(size=300),
    "logistic": (X[:, 0] + random.normal(size=300) > 0).astype(int),
    "cross-entropy": random.integers(0, 3, 300),
    "poisson": random.poisson(np.exp(0.5 * X[:, 0] + 0.3)),
    "huber": X @ [1.0, -2.0, 0.5, 3.0] + random.standard_t(2, size=300),
}
CLASSES = ("logistic", "cross-entropy")
OPTIMIZERS = ["auto", "lbfgs", "gradient-descent", "adam", GradientDescent(0.1, momentum=0.9)]


def mse(y_hat, y):
    return ((y_hat - y) ** 2).mean()


def nll(z, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y)


def squares(y_hat, y):
    return (y_hat - y) ** 2


def rmse(y_hat, y):
    return ((y_hat - y) ** 2).mean().sqrt()


def huber(y_hat, y):
    return torch.nn.functional.huber_loss(y_hat, y)


# tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", TARGETS)
def test_tensors_in_tensors_out(loss, dtype):
    x, y = torch.tensor(X, dtype=dtype), torch.tensor(TARGETS[loss])
    run = descend.fit(x, y, loss=loss, penalty=0.1)
    same = descend.fit(x.numpy(), y.numpy(), loss=loss, penalty=0.1)
    assert run.weights.dtype == dtype
    np.testing.assert_array_equal(run.weights.numpy(), same.weights.astype(run.weights.numpy().dtype))
    predicted = run.predict(x)
    assert isinstance(predicted, torch.Tensor)
    assert predicted.dtype == (torch.int64 if loss in CLASSES else dtype)
    np.testing.assert_allclose(predicted.numpy(), same.predict(x.numpy()), rtol=1e-5)
    if loss in CLASSES:
        assert run.predict_probabilities(x).dtype == dtype
    assert isinstance(run.predict(x.numpy()), np.ndarray)


def test_tensors_in_main_memory_are_not_copied():
    x, y = torch.tensor(X, requires_grad=True), torch.tensor(TARGETS["squared-error"])
    made = Problem.of(x, y)
    assert made.session.source.X.ctypes.data == x.data_ptr()
    assert made.session.source.y.ctypes.data == y.data_ptr()
    assert descend.fit(x.bfloat16(), y).weights.dtype == torch.bfloat16


# devices


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [*TARGETS, huber])
def test_a_device_computes_what_threads_compute(loss, weighted, intercept, device, monkeypatch):
    monkeypatch.setattr("descend.interfaces.torch_engine.CHUNK_CELLS", 400)  # three chunks
    y = TARGETS[loss if isinstance(loss, str) else "squared-error"]
    s = random.integers(0, 3, 300).astype(float) if weighted else None
    if loss is huber and weighted:
        pytest.skip("a mean takes no weights")
    options = {"loss": loss, "penalty": 0.1, "intercept": intercept, "sample_weight": s, "valid": 0.2}
    ours, there = Problem.of(X, y, **options), Problem.of(X, y, **options, engine=Torch(device))
    w = random.normal(size=ours.objective.shape)
    for a, b in ((ours.objective, there.objective), (ours.validation, there.validation)):
        assert (a.rows, a.weight) == (b.rows, b.weight)
        assert b.value(w) == pytest.approx(a.value(w), rel=1e-12)
        np.testing.assert_allclose(b.gradient(w), a.gradient(w), rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(b.hessian(w), a.hessian(w), rtol=1e-10, atol=1e-13)
        assert b.curvature_bound == pytest.approx(a.curvature_bound, rel=1e-10)
        assert b.constant_loss == pytest.approx(a.constant_loss, rel=1e-10)
        moved = [made.session.reduce(LargestMove(intercept), w) for made in (a, b)]
        np.testing.assert_allclose(moved[1], moved[0], rtol=1e-12)
    np.testing.assert_allclose(there.constant, ours.constant, rtol=1e-12)
    for side, metrics in ours.metrics(w).items():
        assert there.metrics(w)[side].values == pytest.approx(metrics.values, rel=1e-10)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_every_loss_has_one_formula_for_numpy_and_torch(loss):
    y = TARGETS[loss.name].astype(float)
    several = loss.outputs(3)
    z = random.normal(size=300 if several is None else (300, several)) * np.repeat(
        [1.0, 5.0, 40.0], 100
    ).reshape((-1, 1)[: 1 if several is None else 2])
    tensors = torch.tensor(z), torch.tensor(y)
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(loss.value(*tensors).numpy(), loss.value(z, y), **close)
    np.testing.assert_allclose(loss.gradient(*tensors).numpy(), loss.gradient(z, y), **close)
    np.testing.assert_allclose(loss.curvature(*tensors).numpy(), loss.curvature(z, y), **close)
    for ours, theirs in zip(loss.value_and_gradient(*tensors), loss.value_and_gradient(z, y), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, **close)
    np.testing.assert_allclose(loss.best(tensors[1]), loss.best(y), **close)
    np.testing.assert_allclose(loss.link.inverse(tensors[0]).numpy(), loss.link.inverse(z), **close)
    assert loss.value(*tensors).dtype == loss.curvature(*tensors).dtype == torch.float64


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_sums_on_a_device_with_an_offset(loss, weighted, monkeypatch):
    monkeypatch.setattr("descend.interfaces.torch_engine.CHUNK_CELLS", 400)
    s = random.integers(0, 3, 300).astype(float) if weighted else None
    source = ArraySource(X, TARGETS[loss.name].astype(float), s, offset=random.normal(size=300))
    several = loss.outputs(3)
    w = random.normal(size=5 if several is None else (5, several))
    threads, there = Threads().open(source), Torch("cpu").open(source)
    for statistic in (
        LossSum(loss, True),
        LossAndGradient(loss, True),
        HessianSum(loss, True),
        BestSum(loss),
        LargestCurvature(loss),
    ):
        ours, theirs = (session.reduce(statistic, w) for session in (there, threads))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-11)
    ours, theirs = (session.reduce(Moments) for session in (there, threads))
    np.testing.assert_allclose(ours.cross, theirs.cross, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-12, atol=1e-14)


def test_a_loss_that_takes_no_tensors_is_left_to_numpy():
    y = random.gamma(2.0, np.exp(X[:, 0]))
    here, there = (descend.fit(X, y, loss=Gamma(), engine=engine) for engine in (Threads(), Torch("cpu")))
    np.testing.assert_allclose(there.weights, here.weights, rtol=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", TARGETS)
def test_every_optimizer_steps_on_a_device(loss, optimizer):
    options = {"loss": loss, "penalty": 0.1, "optimizer": optimizer, "steps": 20}
    a, b = (
        descend.fit(X, TARGETS[loss], **options),
        descend.fit(X, TARGETS[loss], **options, engine=Torch("cpu")),
    )
    k = min(len(a.history), len(b.history))  # where the loss is flat the last bits decide about the end
    np.testing.assert_allclose(a.history.loss[:k], b.history.loss[:k], rtol=1e-9)
    assert b.standard_errors == a.standard_errors


def test_ill_conditioned_squares_take_the_orthogonal_factor_on_a_device():
    x = np.column_stack([X[:, 0], X[:, 0] + 1e-7 * X[:, 1]]) + 1e3
    y = x @ [1.0, 2.0]
    a, b = (descend.fit(x, y, engine=engine) for engine in (None, Torch("cpu")))
    np.testing.assert_allclose(b.predict(x), a.predict(x), rtol=1e-12)
    np.testing.assert_allclose(b.weights, a.weights, rtol=1e-4, atol=1e-8)


def test_a_tensor_elsewhere_stays_there(monkeypatch):
    for module in (matrix, prepared):  # as if main memory were a GPU's
        monkeypatch.setattr(module, "is_elsewhere", matrix.is_tensor)
    x, y = torch.tensor(X), torch.tensor(TARGETS["logistic"])
    for options in ({}, {"batch_size": 32, "epochs": 2}, {"valid": 0.2}, {"standardize": True}):
        made = Problem.of(x, y, loss="logistic")
        assert made.session.block.X.data_ptr() == x.data_ptr()
        run = descend.fit(x, y, loss="logistic", penalty=0.1, **options)
        same = descend.fit(X, TARGETS["logistic"], loss="logistic", penalty=0.1, **options)
        np.testing.assert_allclose(run.weights.numpy(), same.weights, rtol=1e-9)
        assert (run.predict(x).numpy() == same.predict(X)).all()
        assert run.metrics["training"].values == pytest.approx(same.metrics["training"].values)
    with pytest.raises(DescendError, match="`x` holds NaN"):
        descend.fit(x / 0 * 0, y)


def test_what_a_device_cannot_do_is_said():
    from scipy.sparse import csr_array

    with pytest.raises(DescendError, match="dense arrays and tensors"):
        descend.fit(csr_array(X), TARGETS["logistic"], engine=Torch("cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(DescendError, match="`device` 'cuda' is not to be had"):
            descend.fit(X, TARGETS["logistic"], engine=Torch("cuda"))


# losses of one's own


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("own", "built_in"), [(mse, "squared-error"), (squares, "squared-error"), (nll, "logistic")]
)
def test_a_loss_of_ones_own_is_the_built_in_one(own, built_in, optimizer):
    y = TARGETS[built_in]
    settings = {"optimizer": optimizer, "steps": 30, "penalty": 0.1}
    if optimizer == "auto":  # exact beside newton
        settings["optimizer"] = "newton"
    if optimizer == "gradient-descent":
        settings["optimizer"] = GradientDescent(0.1)
    if optimizer == "adam":
        settings["optimizer"] = descend.Adam(0.1)
    ours, theirs = descend.fit(X, y, loss=own, **settings), descend.fit(X, y, loss=built_in, **settings)
    k = min(len(ours.history), len(theirs.history)) - 2
    np.testing.assert_allclose(ours.history.loss[:k], theirs.history.loss[:k], rtol=1e-10)
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-8)


@pytest.mark.parametrize("own", [mse, squares])
def test_a_loss_of_ones_own_in_batches(own):
    settings = {"optimizer": GradientDescent(0.01), "batch_size": 32, "epochs": 3, "standardize": True}
    ours = descend.fit(X, TARGETS["squared-error"], loss=own, **settings)
    theirs = descend.fit(X, TARGETS["squared-error"], **settings)
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-10)
    np.testing.assert_allclose(ours.history.batch_loss, theirs.history.batch_loss, rtol=1e-10)


@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_values_gradients_and_curvatures_of_ones_own_loss(loss):
    own, built_in = (
        TorchLoss.of(mse if loss == "squared-error" else nll),
        descend.objectives.losses.LOSSES[loss],
    )
    z, y = X[:, 0], TARGETS[loss]
    own.check_target(y)
    np.testing.assert_allclose(own.gradient(z, y), built_in.gradient(z, y), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(own.curvature(z, y), built_in.curvature(z, y), rtol=1e-10)
    assert own.value(z, y).mean() == pytest.approx(built_in.value(z, y).mean(), rel=1e-10)
    assert own.curvature_bound <= built_in.curvature_bound * (1 + 1e-12)


def test_an_automatic_rate_goes_by_the_curvature_found():
    run = descend.fit(X, TARGETS["squared-error"], loss=mse, optimizer="gradient-descent")
    assert run.outcome is Outcome.CONVERGED
    robust = descend.fit(X, TARGETS["squared-error"], loss=huber, optimizer="lbfgs")
    from sklearn.linear_model import HuberRegressor  # scales by itself: near, not equal

    near = HuberRegressor(epsilon=1.35, alpha=0).fit(X, TARGETS["squared-error"])
    np.testing.assert_allclose(robust.weights[:-1], near.coef_, atol=0.1)


def test_sample_weights_need_the_loss_of_each_row():
    y, s = TARGETS["squared-error"], random.integers(1, 4, 300).astype(float)
    weighted = descend.fit(X, y, loss=squares, sample_weight=s, optimizer="newton")
    np.testing.assert_allclose(weighted.weights, descend.fit(X, y, sample_weight=s).weights, rtol=1e-6)
    for call in (descend.fit, Objective.of):
        with pytest.raises(DescendError, match="sample weights need the loss of each row"):
            call(X, y, loss=mse, sample_weight=s)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (rmse, "`loss` must be a mean over rows.*RMSE"),
        (lambda y_hat, y: ((y_hat - y) ** 2).sum(), "`loss` must be a mean over rows"),
        (lambda y_hat, y: ((y_hat - y.mean()) ** 2).mean(), "`loss` must be a mean over rows"),
        (lambda y_hat, y: 1.0, "must return a tensor.*it made float"),
        (lambda y_hat, y: ((y_hat - y) ** 2)[:2], r"it made a tensor of shape \(2,\)"),
        (lambda y_hat, y: y_hat.no_such_method(), "`loss` failed on tensors of 3 rows"),
    ],
)
def test_what_is_no_mean_over_rows_is_refused_before_the_first_step(loss, message):
    with pytest.raises(DescendError, match=message):
        descend.fit(X, TARGETS["squared-error"], loss=loss)


def test_a_loss_of_ones_own_on_a_table_and_in_an_estimator():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=TARGETS["squared-error"])
    run = descend.fit(frame, target="y", loss=mse, optimizer="lbfgs")
    np.testing.assert_allclose(run.predict(frame), descend.fit(frame, target="y").predict(frame), rtol=1e-5)
    model = descend.LinearRegressor(loss=mse).fit(X, TARGETS["squared-error"])
    np.testing.assert_allclose(
        model.coef_, descend.LinearRegressor().fit(X, TARGETS["squared-error"]).coef_, rtol=1e-6
    )
    with pytest.raises(DescendError, match="RMSE"):
        descend.fit(frame, target="y", loss=rmse)
    with pytest.raises(DescendError, match="sample weights need"):
        descend.fit(frame.assign(s=1.0), target="y", loss=mse, columns=descend.Columns(weight="s"))
    with pytest.raises(DescendError, match="cannot be saved"):
        run.save("own.model.json")


@pytest.mark.parametrize("optimizer", ["newton", "lbfgs", GradientDescent(0.1), descend.Adam(0.1)])
@pytest.mark.parametrize("engine", [None, Torch("cpu")], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_loss_of_several_outputs_is_the_built_in_one(optimizer, engine, reduction):
    y = TARGETS["cross-entropy"]

    def own(z, y):
        return torch.nn.functional.cross_entropy(z, y, reduction=reduction)

    settings = {"optimizer": optimizer, "steps": 30, "penalty": 0.1, "engine": engine, "valid": 0.2}
    ours = descend.fit(X, y, loss=TorchLoss.of(own, outputs=3), **settings)
    theirs = descend.fit(X, y, loss="cross-entropy", **settings)
    k = min(len(ours.history), len(theirs.history)) - 2
    np.testing.assert_allclose(ours.history.loss[:k], theirs.history.loss[:k], rtol=1e-10)
    np.testing.assert_allclose(
        ours.history.validation_loss[:k], theirs.history.validation_loss[:k], rtol=1e-10
    )
    np.testing.assert_allclose(
        torch.softmax(torch.tensor(ours.predict(X)), 1), theirs.predict_probabilities(X), atol=1e-6
    )


def test_several_outputs_in_batches_with_weights_and_on_a_table():
    y, s = TARGETS["cross-entropy"], random.integers(1, 4, 300).astype(float)
    own = TorchLoss.of(lambda z, y: torch.nn.functional.cross_entropy(z, y, reduction="none"), outputs=3)
    settings = {"optimizer": GradientDescent(0.1), "batch_size": 32, "epochs": 3, "sample_weight": s}
    ours, theirs = (descend.fit(X, y, loss=loss, **settings) for loss in (own, "cross-entropy"))
    np.testing.assert_allclose(ours.weights, theirs.weights, rtol=1e-9)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=y)
    assert descend.fit(frame, target="y", loss=own, optimizer="lbfgs").weights.shape == (5, 3)


def test_curvatures_of_several_outputs():
    own, built_in = TorchLoss.of(torch.nn.functional.cross_entropy, outputs=3), descend.CrossEntropy()
    z, y = X[:, :3], TARGETS["cross-entropy"]
    own.check_target(y)
    np.testing.assert_allclose(own.curvature(z, y), built_in.curvature(z, y), atol=1e-12)
    assert 0.2 < own.curvature_bound <= built_in.curvature_bound


def test_a_mean_and_a_spread_for_each_row():
    """Two outputs and one target: maximum likelihood of normal noise whose size is linear in `x` too."""
    x = np.random.default_rng(0).normal(size=(4_000, 2))
    noise = np.random.default_rng(1).normal(size=4_000)
    y = x @ [1.0, 2.0] + np.exp(0.5 * x[:, 0]) * noise

    def likelihood(z, y):
        return (0.5 * z[:, 1] + 0.5 * (z[:, 0] - y) ** 2 * torch.exp(-z[:, 1])).mean()

    run = descend.fit(x, y, loss=TorchLoss.of(likelihood, outputs=2), optimizer="lbfgs")
    assert run.outcome is Outcome.CONVERGED
    np.testing.assert_allclose(run.weights, [[1.0, 1.0], [2.0, 0.0], [0.0, 0.0]], atol=0.08)
    assert run.animate().frames == len(run.history)
    assert run.to_torch()(torch.tensor(x)).shape == (4_000, 2)
    assert "no rows: the loss tells only their mean" in repr(run.top_losses())
    with pytest.raises(DescendError, match="has nothing to show"):
        run.plot_top_losses()


def test_what_several_outputs_do_not_go_with():
    y = TARGETS["cross-entropy"]
    with pytest.raises(DescendError, match=r"says how many: `TorchLoss.of\(loss, outputs=k\)`"):
        descend.fit(X, y, loss=torch.nn.functional.cross_entropy)
    with pytest.raises(DescendError, match="`loss` failed on 300 rows of `y`: Target 2 is out of bounds"):
        descend.fit(X, y, loss=TorchLoss.of(torch.nn.functional.cross_entropy, outputs=2))
    with pytest.raises(DescendError, match=r"`y_hat` has shape \(3, 4\) there"):
        TorchLoss.of(lambda z, y: z.no_such_method(), outputs=4)
    with pytest.raises(DescendError, match="`outputs` must be a whole number"):
        TorchLoss.of(mse, outputs=0)
    with pytest.raises(DescendError, match="of a single prediction a row"):
        descend.LinearRegressor(loss=TorchLoss.of(torch.nn.functional.cross_entropy, outputs=3)).fit(X, y)


# layers


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", TARGETS)
def test_a_run_becomes_a_layer_that_predicts_the_same(loss, intercept):
    run = descend.fit(X, TARGETS[loss], loss=loss, penalty=0.1, intercept=intercept)
    layer = run.to_torch()
    z = layer(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(z if z.shape[1] > 1 else z[:, 0], run.model.linear_predictor(X), rtol=1e-10)
    again = descend.Run.from_torch(layer, X, TARGETS[loss], loss=loss)
    np.testing.assert_array_equal(again.weights, run.weights)
    np.testing.assert_array_equal(again.predict(X), run.predict(X))
    assert again.metrics["training"].values == pytest.approx(run.metrics["training"].values)


def test_a_tables_scaling_is_folded_in():
    frame = pd.DataFrame({"a": 100 + 5 * X[:, 0], "b": X[:, 1], "c": np.where(X[:, 2] > 0, "u", "v")})
    frame["y"] = TARGETS["squared-error"]
    run = descend.fit(frame, target="y", penalty=0.1)
    rows = torch.tensor(
        np.column_stack([frame["a"], frame["b"], frame["c"] == "u", frame["c"] == "v"]).astype(float)
    )
    np.testing.assert_allclose(run.to_torch()(rows).detach().numpy()[:, 0], run.predict(frame), rtol=1e-10)


# the lesson


def test_the_lessons_loop_watched_by_a_history(capsys):
    torch.manual_seed(0)
    n = 100
    x = torch.ones(n, 2)
    x[:, 0].uniform_(-1.0, 1)
    y = x @ torch.tensor([3.0, 2.0]) + torch.rand(n)
    a = torch.nn.Parameter(torch.tensor([0.5, 0.75]))
    lr, history = 1e-1, descend.History()

    def update(t):
        y_hat = x @ a
        loss = mse(y_hat, y)
        history.record(loss=loss, weights=a)
        if t % 10 == 0:
            print(loss)
        loss.backward()
        with torch.no_grad():
            a.sub_(lr * a.grad)
            a.grad.zero_()

    for t in range(100):
        update(t)
    assert capsys.readouterr().out.count("tensor(") == 10
    assert len(history) == 100
    assert history.weights[0].tolist() == [0.5, 0.75]
    run = descend.fit(x, y, intercept=False, start=(0.5, 0.75), optimizer=GradientDescent(lr), steps=100)
    np.testing.assert_allclose(history.loss, run.history.loss[:100], rtol=1e-4)
    np.testing.assert_allclose(run.weights.numpy(), a.detach().numpy(), rtol=1e-4)
    assert run.weights.dtype == torch.float32
    assert history.animate(x, y).frames == 100


def pinball(z, y):
    return torch.maximum(0.9 * (y - z), 0.1 * (z - y)).mean()


@pytest.mark.parametrize("loss", [huber, pinball])
def test_a_loss_that_is_straight_where_the_walk_begins_is_walked_down_all_the_same(loss):
    x, y = descend.make_line(100, seed=0)
    run = descend.fit(x, y + 20, loss=loss)
    assert run.loss < 0.1 * run.history.loss[0]
    by_descent = descend.fit(x, y + 20, loss=loss, optimizer=GradientDescent(0.5), steps=2_000)
    assert run.loss <= by_descent.loss + 1e-3


def test_a_loss_without_any_curvature_has_steps():
    x, y = descend.make_line(100, seed=0)
    run = descend.fit(
        x, y, loss=lambda z, t: (z - t).abs().mean(), optimizer=GradientDescent(0.05), steps=200
    )
    assert run.loss < 0.3
