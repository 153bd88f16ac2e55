"""A sparse matrix of words: memory, the objective reached, and time."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import child
import numpy as np
from rivals import scikit_learn
from scipy.sparse import csr_array
from timing import in_turns, markdown

import descend

WORDS = 70
"""Nonzeros a row."""
MOST, TOLERANCE = 3.0, 1e-4
OURS, LIBLINEAR, SGD = "descend", f"{scikit_learn.NAME}, liblinear", f"{scikit_learn.NAME}, SGDClassifier"
MEMORY = """
from functools import partial
import numpy as np
from scipy.sparse import csr_array
import descend

load = lambda name: np.load(f"{arguments['folder']}/{name}.npy")
X = csr_array((load("data"), load("indices"), load("indptr")), shape=arguments["shape"])
y = load("y")
fit = partial(descend.fit, loss="logistic", penalty=arguments["alpha"], intercept=False)
fit(X[:100], y[:100])  # so that what is imported and set up once is there
before = peak()
fit(X, y)
result = {"before": before, "bytes": X.data.nbytes + X.indices.nbytes + X.indptr.nbytes}
"""


def measure(data: Path, quick: bool) -> str:
    """The section of the report."""
    rows, columns = (2_000, 5_000) if quick else (200_000, 50_000)
    X, y = make_words(rows, columns)
    alpha = 1.0 / rows  # scikit-learn's C = 1
    grown = memory(X, y, alpha)
    ways = {
        OURS: lambda: descend.fit(X, y, loss="logistic", penalty=alpha, intercept=False).weights,
        LIBLINEAR: partial(scikit_learn.liblinear, X, y, alpha),
        SGD: partial(scikit_learn.sgd, X, y, alpha),
    }
    times = in_turns(ways, 1 if quick else 3)
    objective = descend.Objective.of(X, y, loss="logistic", penalty=alpha, intercept=False)
    reached = {name: objective.value(work()) for name, work in ways.items()}
    best = reached[LIBLINEAR]
    table = [
        [
            name,
            str(times[name]),
            times[name].ratio_to(times[OURS]),
            f"{reached[name]:.8f}",
            f"{reached[name] / best - 1:+.0e}",
        ]
        for name in ways
    ]
    header = ["", "time", "ratio", "objective", "relative to liblinear's"]
    about = f"""Logistic regression with an L2 penalty (scikit-learn's C = 1) and no intercept, which liblinear would
penalise, on a generated CSR matrix of {rows:,} rows and {columns:,} columns with {WORDS} nonzeros a row, the columns as
unequally frequent as words are. Each with its default tolerance; descend's objective is to be within
{TOLERANCE:g} of liblinear's."""
    section = f"{about}\n\n{markdown(header, table)}\n\n{grown}"
    assert reached[OURS] <= best * (1 + TOLERANCE), (
        f"objective {reached[OURS]:.8f} against {best:.8f}\n{section}"
    )
    return section


def memory(X: csr_array, y: np.ndarray, alpha: float) -> str:
    """A sentence on what a fit takes in a process that holds nothing but the matrix."""
    with tempfile.TemporaryDirectory(prefix="descend-sparse-") as folder:
        for name, part in {"data": X.data, "indices": X.indices, "indptr": X.indptr, "y": y}.items():
            np.save(f"{folder}/{name}.npy", part)
        one = child.run(MEMORY, folder=folder, shape=X.shape, alpha=alpha)
    size, growth = one.result["bytes"], one.peak - one.result["before"]
    return (
        f"In a process of its own the matrix takes {child.megabytes(size)}, and the fit raises the peak of memory by "
        f"{child.megabytes(growth)}: {growth / size:.2f} times the matrix, or {growth / size + 1:.2f} times with the matrix "
        f"itself (under {MOST:g} is aimed at)."
    )


def make_words(rows: int, columns: int) -> tuple[csr_array, np.ndarray]:
    """Rows of unit length whose columns are drawn by Zipf's law, and classes from a logistic model of them."""
    random = np.random.default_rng(0)
    popularity = 1.0 / (np.arange(columns) + 10.0)
    cumulated = np.cumsum(popularity) / popularity.sum()
    draws = np.searchsorted(cumulated, random.random((rows, 2 * WORDS))).astype(np.int32)
    indices = np.empty((rows, WORDS), dtype=np.int32)
    for i, row in enumerate(draws):
        different = np.unique(row)
        while len(different) < WORDS:
            more = np.searchsorted(cumulated, random.random(2 * WORDS)).astype(np.int32)
            different = np.union1d(different, more)
        indices[i] = np.sort(random.permutation(different)[:WORDS])
    values = -np.log(popularity[indices] / popularity.sum()) * (1.0 + random.exponential(size=indices.shape))
    values /= np.sqrt((values**2).sum(axis=1))[:, None]
    indptr = np.arange(0, rows * WORDS + 1, WORDS, dtype=np.int32)
    X = csr_array((values.ravel(), indices.ravel(), indptr), shape=(rows, columns))
    z = X @ random.normal(scale=8.0, size=columns)
    return X, (random.random(rows) < 1.0 / (1.0 + np.exp(-z))).astype(np.int64)
