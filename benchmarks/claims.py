"""Small hard problems of every loss by every optimizer and door: whether what says that it has converged has."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from timing import markdown

import descend
from descend.interfaces.cli import main as shell

PROBLEMS, LOSS_SHARE, WEIGHT_SHARE = 1_000, 1e-8, 1e-8
CRUMB = 1e-6
"""The share of its standard error that a weight counts for at least: of one that is zero no digit can be right."""
KINDS = (
    "plain",
    "rare",
    "weights",
    "offset",
    "scales",
    "far",
    "near copies",
    "wide",
    "heavy tails",
    "penalised",
)
NAMES = ("squared-error", "huber", "poisson", "logistic", "cross-entropy")
CLASSES = ("logistic", "cross-entropy")
SLOW, SECONDS = ("lbfgs", "gradient-descent", "adam"), 0.1
COLUMNS = ["", *NAMES]
ABOUT = f"""{PROBLEMS:,} problems of each loss, a hundred of each of these kinds: {", ".join(KINDS)}. Every one is fitted
with nothing said but the loss, by each optimizer and by each door, {" and ".join((", ".join(SLOW[:-1]), SLOW[-1]))} for at most {SECONDS} s. What says that it has converged is
measured by a Newton step in extended precision, of columns made orthogonal: it counts as false where the loss is
more than {LOSS_SHARE:g} of itself above the least, or where a weight has fewer than eight digits and the run names no smaller number.
A cell says how many said so, and how many of these were wrong."""
TINY = np.longdouble(1e-4000)
Long = np.ndarray[Any, np.dtype[np.longdouble]]


@dataclass(frozen=True)
class Problem:
    """Columns, target, and what `fit` is told beside the loss."""

    kind: str
    loss: str
    x: Any
    y: Any
    weight: Any
    offset: Any
    alpha: float


def problem(loss: str, seed: int) -> Problem:
    """A problem of the kind that the seed falls on."""
    rng, kind = np.random.default_rng([seed, NAMES.index(loss)]), KINDS[seed % len(KINDS)]
    classes = loss == "cross-entropy"
    n, p = int(rng.integers(40, 200)), int(rng.integers(1, 6))
    if kind == "wide":
        n, p = 60, 8 if classes else 25
    p = max(p, 2) if kind == "near copies" else p
    Z = rng.standard_t(1.5, (n, p)) if kind == "heavy tails" else rng.normal(size=(n, p))
    score, x = Z @ rng.normal(size=p) / np.sqrt(p) + 0.3, Z.copy()
    offset = rng.normal(size=n) if kind == "offset" and not classes else np.zeros(n)
    if kind == "near copies":
        x[:, -1] = x[:, 0] + 10.0 ** rng.uniform(-7, -3) * x[:, -1]
    if kind in ("scales", "penalised"):
        x *= 10.0 ** rng.uniform(-6 if kind == "scales" else -1, 6 if kind == "scales" else 1, p)
    if kind == "far":
        x += 10.0 ** rng.uniform(0, 6, p) * x.std(axis=0)
    z = score + offset
    if loss == "logistic":
        y = (z + rng.logistic(size=n) > 0).astype(int)
    elif loss == "cross-entropy":
        y = np.argmax(np.column_stack([0 * z, z, -z]) + rng.gumbel(size=(n, 3)), axis=1)
    elif loss == "poisson":
        y = rng.poisson(np.exp(np.clip(z, -20, 5)))
    else:
        y = z + (rng.standard_t(2, n) if loss == "huber" else rng.normal(size=n))
    s = np.ones(n)
    if kind == "rare":
        s = np.where(y > 0, 1.0, 10.0 ** rng.uniform(2, 6))
    if kind == "weights":
        s = 10.0 ** rng.uniform(-3, 3, n)
    alpha = {"wide": 1e-3, "penalised": 10.0 ** rng.uniform(-3, 0)}.get(kind, 0.0)
    return Problem(kind, loss, x, y, s, offset, alpha)


@dataclass(frozen=True)
class Ways:
    """The fits of one problem, by name."""

    processes: descend.Processes
    folder: Path

    def of(self, p: Problem) -> Iterator[tuple[str, descend.Model]]:
        told: dict[str, Any] = {"penalty": p.alpha}
        if (p.weight != 1).any():
            told["sample_weight"] = p.weight
        if p.offset.any():
            told["offset"] = p.offset
        for name in ("auto", "newton", "lbfgs", "gradient-descent", "adam", "proximal-gradient"):
            how = {"time_limit": SECONDS} if name in SLOW else {}
            yield name, descend.fit(p.x, p.y, loss=p.loss, optimizer=name, **how, **told).model
        yield "standardize=True", descend.fit(p.x, p.y, loss=p.loss, standardize=True, **told).model
        yield "estimator", self._estimator(p)
        table, columns = _table(p)
        how = {"target": "y", "loss": p.loss, "penalty": p.alpha, "columns": columns}
        yield "table", descend.fit(table, **how).model
        yield "processes", descend.fit(table, engine=self.processes, **how).model
        yield "shell", self._shell(p, table)

    def _estimator(self, p: Problem) -> descend.Model:
        made: Any = descend.LinearClassifier if p.loss in CLASSES else descend.LinearRegressor
        given = {} if p.loss in CLASSES else {"loss": p.loss}
        estimator = made(alpha=p.alpha, **given)
        return estimator.fit(
            p.x, p.y, sample_weight=p.weight, offset=p.offset if p.offset.any() else None
        ).run_.model

    def _shell(self, p: Problem, table: pl.DataFrame) -> descend.Model:
        data, out = self.folder / "rows.csv", self.folder / "rows.model.json"
        table.write_csv(data)
        words = ["fit", str(data), "--target", "y", "--loss", p.loss, "--l2", repr(p.alpha), "--valid", "0"]
        words += ["--out", str(out), "--quiet"]
        words += ["--weight", "s"] if "s" in table.columns else []
        words += ["--offset", "o"] if "o" in table.columns else []
        said = io.StringIO()
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            contextlib.suppress(SystemExit),
        ):
            shell(words)
        return descend.load(out)


def _table(p: Problem) -> tuple[pl.DataFrame, descend.Columns]:
    label = [f"c{c}" for c in p.y] if p.loss in CLASSES else p.y
    table = pl.DataFrame({f"x{j}": p.x[:, j] for j in range(p.x.shape[1])} | {"y": label})
    given = {}
    for name, role, column in (("s", "weight", p.weight), ("o", "offset", p.offset)):
        if (column != (role == "weight")).any():
            table, given = table.with_columns(pl.Series(name, column)), given | {role: name}
    return table, descend.Columns(**given)


def off_by(p: Problem, w: Any) -> tuple[float, float]:
    """How far the loss is above its least, and the worst weight from there, as shares of themselves: by Newton's step.

    In extended precision, of columns that are made orthonormal by the weights of the rows.
    """
    W = np.asarray(w, dtype=np.longdouble).reshape(len(w), -1)
    A = np.column_stack([p.x, np.ones(len(p.x))]).astype(np.longdouble)
    s = p.weight.astype(np.longdouble) / p.weight.sum()
    Q, R = orthonormal(A * np.sqrt(s)[:, None])
    Q = Q / np.sqrt(s)[:, None]
    value, slope, curvature = LONG[p.loss](A @ W + p.offset[:, None], p.y)
    K, q = W.shape[1], Q.shape[1]
    g = ((Q * s[:, None]).T @ slope).ravel()
    H = np.zeros((q, K, q, K), dtype=np.longdouble)
    for a in range(K):
        for b in range(K):
            H[:, a, :, b] = (Q * (s * curvature[:, a, b])[:, None]).T @ Q
    H = H.reshape(q * K, q * K)
    total = s @ value
    inverse = inverted(R)
    if p.alpha:
        D = np.diag(np.append(np.full(len(W) - 1, p.alpha), 0.0)).astype(np.longdouble)
        total += (D.diagonal()[:, None] * W**2).sum() / 2
        g += (inverse.T @ (D @ W)).ravel()
        H += np.kron(inverse.T @ D @ inverse, np.eye(K, dtype=np.longdouble))
    if K > 1:  # the same change of all classes changes no probability
        H += (
            np.kron(np.eye(q, dtype=np.longdouble), np.ones((K, K), dtype=np.longdouble))
            * np.abs(H).max()
            / K
        )
    factor = np.linalg.inv(H.astype(np.float64)).astype(np.longdouble)
    step = factor @ g
    for _ in range(6):
        step += factor @ (g - H @ step)
    move = inverse @ step.reshape(q, K)
    spread = np.sqrt(
        np.abs(np.einsum("ij,jk,ik->i", np.kron(inverse, np.eye(K)), factor, np.kron(inverse, np.eye(K))))
    )
    least = CRUMB * spread.reshape(q, K) / np.sqrt(len(p.x))
    if K > 1:
        move, W = move - move.mean(axis=1, keepdims=True), W - W.mean(axis=1, keepdims=True)
    return float(g @ step / 2 / max(abs(total), TINY)), float(
        (np.abs(move) / np.maximum(np.abs(W), least)).max()
    )


def orthonormal(A: Long) -> tuple[Long, Long]:
    """`Q R = A` by Gram and Schmidt, each column twice."""
    Q, R = A.copy(), np.zeros((A.shape[1],) * 2, dtype=np.longdouble)
    for j in range(A.shape[1]):
        for _ in range(2):
            part = Q[:, :j].T @ Q[:, j]
            R[:j, j] += part
            Q[:, j] -= Q[:, :j] @ part
        R[j, j] = np.sqrt(Q[:, j] @ Q[:, j])
        Q[:, j] /= R[j, j]
    return Q, R


def inverted(R: Long) -> Long:
    """Of an upper triangle."""
    X = np.zeros_like(R)
    for i in reversed(range(len(R))):
        X[i] = -(R[i, i + 1 :] @ X[i + 1 :])
        X[i, i] += 1
        X[i] /= R[i, i]
    return X


def _squared(z: Long, y: Any) -> tuple[Any, Any, Any]:
    e = z[:, 0] - y
    return e * e, 2 * e[:, None], np.full((len(z), 1, 1), 2.0)


def _huber(z: Long, y: Any) -> tuple[Any, Any, Any]:
    e = z[:, 0] - y
    within = np.abs(e) <= 1
    value, slope = np.where(within, e * e, 2 * np.abs(e) - 1), np.where(within, 2 * e, 2 * np.sign(e))
    return value, slope[:, None], np.where(within, 2.0, 0.0)[:, None, None]


def _poisson(z: Long, y: Any) -> tuple[Any, Any, Any]:
    mean = np.exp(z[:, 0])
    return mean - y * z[:, 0], (mean - y)[:, None], mean[:, None, None]


def _logistic(z: Long, y: Any) -> tuple[Any, Any, Any]:
    z = z[:, 0]
    p = 1 / (1 + np.exp(-z))
    return np.logaddexp(0, z) - y * z, (p - y)[:, None], (p * (1 - p))[:, None, None]


def _softmax(z: Long, y: Any) -> tuple[Any, Any, Any]:
    z = z - z.max(axis=1, keepdims=True)
    P = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    own = np.eye(P.shape[1], dtype=np.longdouble)[y]
    return (
        -np.log((P * own).sum(axis=1)),
        P - own,
        P[:, :, None] * np.eye(P.shape[1]) - P[:, :, None] * P[:, None, :],
    )


LONG = dict(zip(NAMES, (_squared, _huber, _poisson, _logistic, _softmax), strict=True))


def counted(problems: int) -> tuple[dict[str, dict[str, list[int]]], list[str]]:
    """By way and loss how many fits said that they have converged, how many of all there were and how many were wrong; and which."""
    found: dict[str, dict[str, list[int]]] = {}
    wrong = []
    with (
        tempfile.TemporaryDirectory() as folder,
        descend.Processes(1) as processes,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        ways = Ways(processes, Path(folder))
        for loss in NAMES:
            for seed in range(problems):
                p = problem(loss, seed)
                for way, model in ways.of(p):
                    cell = found.setdefault(way, {}).setdefault(loss, [0, 0, 0])
                    cell[1] += 1
                    if not str(model.facts["outcome"]).startswith("converged"):
                        continue
                    cell[0] += 1
                    above, share = off_by(p, weights(model, p))
                    if not (
                        above <= LOSS_SHARE
                        and (share <= WEIGHT_SHARE or "digit" in str(model.facts.get("details")))
                    ):
                        cell[2] += 1
                        wrong.append(f"{loss} {seed} ({p.kind}) by {way}: {above:.2g}, {share:.2g}")
    return found, wrong


def weights(model: descend.Model, p: Problem) -> Any:
    """In the units of the data, in the order of the columns, the intercept last."""
    if model.encoding is None:
        return model.weights
    names = [*(f"x{j}" for j in range(p.x.shape[1])), "(intercept)"]
    return np.array([model.coefficients[name] for name in names])


def measure(data: Path, quick: bool) -> str:
    """The section of the report. Raises `AssertionError` where a claim is false."""
    found, wrong = counted(len(KINDS) if quick else PROBLEMS)
    rows = [
        [way, *(f"{cells[loss][0]:,}, {cells[loss][2]} wrong" if loss in cells else "" for loss in NAMES)]
        for way, cells in found.items()
    ]
    assert not wrong, "\n".join(wrong)
    return "\n\n".join([ABOUT, markdown(COLUMNS, rows)])


if __name__ == "__main__":
    import sys

    found, wrong = counted(int(sys.argv[1]))
    for way, cells in found.items():
        print(way, cells)
    print("\n".join(wrong))
