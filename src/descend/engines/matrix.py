"""The few products that a block's matrix takes part in, for dense, sparse and mixed columns.

Losses never see `X`; statistics see it only through these functions. So a block may hold plain
NumPy columns, a scipy CSR matrix, or dense columns beside sparse ones (`Mixed`: numbers beside
one-hot categories), and nothing above this module knows the difference.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from descend.doors import door
from descend.machine import has_small_kernels

Array: TypeAlias = NDArray[Any]
Float: TypeAlias = NDArray[np.float64]


class _Local(threading.local):
    """What belongs to each thread."""

    def __init__(self) -> None:
        self.buffers: dict[str, Float] = {}


_local = _Local()


@dataclass(frozen=True, slots=True)
class Mixed:
    """Dense columns beside sparse ones: `X = [dense | sparse]`, with the same rows."""

    dense: Array
    sparse: Any  # scipy.sparse.csr_array; scipy is untyped

    @property
    def shape(self) -> tuple[int, int]:
        return self.dense.shape[0], self.dense.shape[1] + self.sparse.shape[1]

    @property
    def nbytes(self) -> int:
        s = self.sparse
        return int(self.dense.nbytes + s.data.nbytes + s.indices.nbytes + s.indptr.nbytes)


Matrix: TypeAlias = Any  # NDArray | scipy.sparse.csr_array | Mixed


def is_sparse(X: Any) -> bool:
    """Whether `X` is a scipy sparse matrix or array, found out without importing scipy."""
    if type(X) is np.ndarray:  # the usual case, and asked for every block
        return False
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(X))


def is_tensor(x: Any) -> bool:
    """Whether `x` is a torch tensor, found out without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def functions_of(z: Any) -> Any:
    """NumPy for an array; for a tensor what a formula takes of NumPy, by the same names, on its device."""
    return door("torch_loss").TensorFunctions(z) if is_tensor(z) else np


def is_elsewhere(x: Any) -> bool:
    """Whether `x` is a tensor on a device of its own, a GPU, where NumPy cannot see it."""
    return is_tensor(x) and x.device.type != "cpu"


def plain(x: Any) -> Any:
    """A tensor as a NumPy array, one in main memory without a copy; anything else as it is."""
    if not is_tensor(x):
        return x
    x = x.detach().cpu()
    short = x.is_floating_point() and x.element_size() < 4  # NumPy has no bfloat16
    return (x.float() if short else x).numpy()


def empty_like(x: Any) -> Any:
    """An empty tensor of the dtype (of floats) and device of a tensor; None for anything else."""
    if not is_tensor(x):
        return None
    return x.detach().new_empty(0) if x.is_floating_point() else x.new_empty(0).double()


def like_tensor(array: Array, like: Any) -> Any:
    """An array as a tensor of the device of `like`, floats of its dtype; as it is where `like` is None."""
    if like is None or array.dtype.kind not in "fiub":
        return array
    made = like.double().new_tensor(array.astype(np.float64))
    return made.to(like.dtype) if array.dtype.kind == "f" else made.long()


def split(X: Matrix) -> tuple[Array | None, Any | None]:
    """The dense and the sparse columns of `X`, `None` where it has none."""
    if isinstance(X, Mixed):
        return X.dense, X.sparse
    if is_sparse(X):
        return None, X
    return X, None


def scratch(name: str, shape: tuple[int, ...], order: str = "C") -> Float:
    """A float64 buffer of this thread, kept under `name` and used again: kernels allocate once.

    Its content is whatever the last user left. Two names never share memory.
    """
    buffers = _local.buffers
    size = int(np.prod(shape))
    buffer = buffers.get(name)
    if buffer is None or buffer.size < size:
        buffer = buffers[name] = np.empty(size)
    return buffer[:size].reshape(shape, order="F" if order == "F" else "C")


def scratch_columns(name: str, rows: int, count: int) -> Float:
    """Scratch in Fortran order for columns that are used together.

    Columns a power of two apart would fall on the same few places of the cache: there is a gap between.
    """
    return scratch(name, (rows + 24, count), "F")[:rows]


def memory_order(X: Array) -> str:
    """`"F"` where columns lie contiguous in memory, else `"C"`."""
    return "F" if X.ndim == 2 and X.strides[0] < X.strides[1] else "C"


def as_float64(X: Array, name: str = "float64") -> Float:
    """`X` itself where it is aligned float64 that BLAS can read, else a copy of it in scratch."""
    if X.dtype == np.float64 and X.flags.aligned and _blas_strides(X):
        return X
    out = scratch(name, X.shape, memory_order(X))
    np.copyto(out, X, casting="unsafe")
    return out


def _blas_strides(X: Array) -> bool:
    """Whether one axis is contiguous and the other does not overlap or run backwards."""
    if X.ndim == 1 or min(X.shape) <= 1:
        return bool(X.flags.c_contiguous or X.flags.f_contiguous)
    short, long = sorted(X.strides)
    return short == X.itemsize and long > 0


def product(X: Matrix, w: Float) -> Float:
    """`X @ w` for weights of shape (features,) or (features, outputs); for zeros, where walks start, at once."""
    if not is_elsewhere(X) and not w.any():
        return np.zeros((X.shape[0], *w.shape[1:]))
    dense, sparse = split(X)
    if sparse is None:
        return np.asarray(as_float64(X) @ w)
    if dense is None:
        return np.asarray(sparse @ w)
    columns = dense.shape[1]
    z = np.asarray(sparse @ w[columns:])
    if columns:
        z += as_float64(dense) @ w[:columns]
    return z


def transposed_product(X: Matrix, r: Float) -> Float:
    """`X.T @ r` for one value, or one row of values, per row of `X`."""
    dense, sparse = split(X)
    if sparse is None:
        return np.asarray(as_float64(X).T @ r)
    if dense is None:
        return np.asarray(sparse.T @ r)
    return np.concatenate([as_float64(dense).T @ r, sparse.T @ r])


def column_sums(X: Matrix, d: Float | None = None) -> Float:
    """The sum of every column, rows weighted by `d` where given."""
    return transposed_product(X, np.ones(X.shape[0]) if d is None else d)


def gram_and_sums(X: Matrix, d: Float | None = None) -> tuple[Float, Float]:
    """`X.T @ diag(d) @ X`, dense, of shape (features, features), and `X.T @ d`; d is 1 where not given.

    Where `d` has one sign both come from one product, of the rows scaled by its root.
    """
    if d is not None and d.size and d.min() < 0:
        if d.max() > 0:
            return _asymmetric_gram(X, d), column_sums(X, d)
        G, sums = gram_and_sums(X, -d)
        return -G, -sums
    root = np.ones(X.shape[0]) if d is None else np.sqrt(d)
    dense, sparse = split(X)
    Z = np.empty((X.shape[0], 0)) if dense is None else dense
    p = Z.shape[1]
    scaled = scratch("scaled", (len(root), p + 1), memory_order(Z))
    np.multiply(Z, root[:, None], out=scaled[:, :p])
    scaled[:, p] = root
    products = border_product(scaled)
    if sparse is None:
        return products[:, :p], products[:, p]
    S = scaled_sparse(sparse, root)
    ss, sd, sums = (S.T @ S).toarray(), np.asarray(S.T @ scaled[:, :p]), S.T @ root
    G = np.block([[products[:, :p], sd.T], [sd, ss]])
    return G, np.concatenate([products[:, p], sums])


def gram(X: Matrix, d: Float | None = None) -> Float:
    """`X.T @ diag(d) @ X`, dense, of shape (features, features)."""
    return gram_and_sums(X, d)[0]


def border_product(Z: Float) -> Float:
    """`Z[:, :-1].T @ Z`: the cross products of the columns, and their products with the last one.

    Some hundred rows at a time where a kernel for small products is twice as fast as the symmetric one.
    """
    columns = Z.shape[1] - 1
    rows = 2 ** max((SMALL_PRODUCT // max(columns * (columns + 1), 1)).bit_length() - 1, 0)
    if rows < SMALL_ROWS or not has_small_kernels():
        return np.asarray((Z.T @ Z)[:-1])
    total = np.zeros((columns, columns + 1))
    for start in range(0, len(Z), rows):
        piece = Z[start : start + rows]
        total += piece[:, :-1].T @ piece
    square = total[:, :-1]
    square[...] = 0.5 * (square + square.T)  # on some processors the two halves differ in the last bit
    return total


SMALL_PRODUCT, SMALL_ROWS = 1_000_000, 512


def _asymmetric_gram(X: Matrix, d: Float) -> Float:
    """`X.T @ diag(d) @ X` where `d` has both signs."""
    dense, sparse = split(X)
    if sparse is None:
        Z = as_float64(X)
        return np.asarray(Z.T @ (Z * d[:, None]))
    S = scaled_sparse(sparse, d)
    ss = (sparse.T @ S).toarray()
    if dense is None:
        return np.asarray(ss)
    Z = as_float64(dense)
    sd = np.asarray(S.T @ Z)
    return np.block([[Z.T @ (Z * d[:, None]), sd.T], [sd, ss]])


def scaled_sparse(sparse: Any, r: Float) -> Any:
    """`diag(r) @ sparse`."""
    data = sparse.data * np.repeat(r, np.diff(sparse.indptr))
    return type(sparse)((data, sparse.indices, sparse.indptr), shape=sparse.shape)


def _sparse_slice(X: Any, start: int, stop: int) -> Any:
    """Consecutive rows of a CSR matrix, as views: its own slicing copies them."""
    first, last = X.indptr[start], X.indptr[stop]
    views = X.data[first:last], X.indices[first:last], X.indptr[start : stop + 1] - first
    return type(X)(views, shape=(stop - start, X.shape[1]), copy=False)


def with_ones(X: Matrix) -> Matrix:
    """`[X | 1]` in float64: a column of ones after the last."""
    dense, sparse = split(X)
    if sparse is None:
        out = np.empty((X.shape[0], X.shape[1] + 1))
        out[:, :-1], out[:, -1] = X, 1.0
        return out
    ends = sparse.indptr[1:]
    data, indices = np.insert(sparse.data, ends, 1.0), np.insert(sparse.indices, ends, sparse.shape[1])
    indptr = sparse.indptr + np.arange(len(sparse.indptr), dtype=sparse.indptr.dtype)
    wider = type(sparse)((data, indices, indptr), shape=(sparse.shape[0], sparse.shape[1] + 1))
    return wider if dense is None else Mixed(dense, wider)


def row_norms(X: Matrix) -> Float:
    """The squared length of each row."""
    dense, sparse = split(X)
    total = np.zeros(X.shape[0])
    if dense is not None:
        dense = as_float64(dense)
        total += np.einsum("ij,ij->i", dense, dense)
    if sparse is not None:
        total += np.asarray(sparse.multiply(sparse).sum(axis=1)).ravel()
    return total


def dense_columns(X: Matrix, columns: Array) -> Float:
    """Some columns of `X`, by their numbers in rising order, as a dense float64 array of their own."""
    dense, sparse = split(X)
    first = 0 if dense is None else dense.shape[1]
    out = np.empty((X.shape[0], len(columns)))
    here = int(np.searchsorted(columns, first))
    if dense is not None:
        out[:, :here] = dense[:, columns[:here]]
    if sparse is not None:
        out[:, here:] = sparse[:, columns[here:] - first].toarray()
    return out


def joined(parts: list[Matrix]) -> Matrix:
    """The rows of several matrices of the same kind, one below the other."""
    if isinstance(parts[0], Mixed):
        return Mixed(np.concatenate([p.dense for p in parts]), joined([p.sparse for p in parts]))
    if is_sparse(parts[0]):
        from scipy.sparse import vstack

        return vstack(parts, format="csr")
    return np.concatenate(parts)


def take_rows(X: Matrix, rows: Array | slice) -> Matrix:
    """The rows of `X` that a mask, an index array or a slice names."""
    if type(X) is np.ndarray and type(rows) is slice:
        return X[rows]
    if isinstance(X, Mixed):
        return Mixed(take_rows(X.dense, rows), take_rows(X.sparse, rows))
    if is_tensor(X):
        return plain(X[rows])
    if is_sparse(X) and isinstance(rows, slice):
        return _sparse_slice(X, *rows.indices(X.shape[0])[:2])
    if (
        isinstance(rows, slice)
        or rows.dtype == np.bool_
        or not isinstance(X, np.ndarray)
        or not X.flags.c_contiguous
    ):
        return X[rows]
    out = np.empty((len(rows), *X.shape[1:]), dtype=X.dtype)
    return np.take(X, rows, axis=0, out=out, mode="clip")  # three times as fast as X[rows]
