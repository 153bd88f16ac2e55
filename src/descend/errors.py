"""The errors and warnings that descend raises on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


class DescendError(ValueError):
    """Something in the input or the request is wrong; the message says what, and what to do.

    Every error that descend raises on purpose derives from this class. It is a `ValueError`, so
    code written for the estimator habits of scikit-learn catches it too.

    >>> import descend
    >>> descend.mse([1.0, 2.0], [1.0, 2.0, 3.0])
    Traceback (most recent call last):
        ...
    descend.errors.ShapeError: `y_hat` has shape (2,) and `y` has shape (3,): they must hold one value per row.
    """


class ShapeError(DescendError):
    """Two shapes do not fit; the message gives both and the rule they broke."""


class DataError(DescendError):
    """A file, a frame or a column cannot be used as it is."""


class ModelFileError(DescendError):
    """A model file is truncated, foreign, or written by a newer version."""


class EngineLostError(DescendError):
    """All workers, or the scheduler of a cluster, are gone."""


class MissingExtraError(DescendError, ImportError):
    """An optional dependency is not installed; the message names the `pip install` line."""


class DescendWarning(UserWarning):
    """Something worth knowing that does not stop the work, a dropped column for example.

    >>> import warnings, descend
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = descend.fit({"x": [1, 2, 4], "same": [7, 7, 7], "y": [1.5, 2.0, 3.5]}, target="y")
    >>> print(caught[0].message)
    column `same` is left out: constant (7)
    """


def check_whole(name: str, value: Any, least: int = 1, of: str = "") -> int:
    """`value` as an int. Raises `DescendError` unless it is a whole number of at least `least`.

    >>> check_whole("steps", 3.0)
    3
    """
    try:
        if _may_be_number(value) and value == int(value) and value >= least:
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise DescendError(f"`{name}`{of} must be a whole number of at least {least}, got {value!r}.")


def check_number(name: str, value: Any, rule: str, allowed: Callable[[float], bool], of: str = "") -> float:
    """`value` as a float. Raises `DescendError` unless it is a finite number that is `allowed`, as `rule` says.

    >>> check_number("alpha", 1, "a number above 0", lambda alpha: alpha > 0)
    1.0
    """
    try:
        if _may_be_number(value) and math.isfinite(value) and allowed(value):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise DescendError(f"`{name}`{of} must be {rule}, got {value!r}.")


def _may_be_number(value: Any) -> bool:
    """Texts and truth values may not, those of NumPy and torch neither."""
    return not isinstance(value, bool | str) and "bool" not in str(getattr(value, "dtype", ""))
