"""Orders: what a worker does with its leaves, as a name and values. No code travels.

A statistic, the step of a chain and a writer are dataclasses at the top of a module. An order holds the
name of the class and the values of its fields; a worker, which has the same code, makes it anew.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, NamedTuple

from descend.errors import DescendError


class Order(NamedTuple):
    """What to do, at which parameters, on which leaves."""

    name: str
    """Module and class."""
    settings: Mapping[str, Any] | None
    """The values of the fields by name; None where the class itself does it."""
    params: Any = None
    leaves: frozenset[int] | None = None
    """All unless named."""

    @staticmethod
    def of(what: Any, params: Any = None, leaves: frozenset[int] | None = None) -> Order:
        """The order for a dataclass, or for one of its instances. Raises `DescendError` for anything else.

        >>> from descend.objectives.statistics import TargetSum
        >>> Order.of(TargetSum(classes=3))[:2]
        ('descend.objectives.statistics:TargetSum', {'classes': 3})
        """
        kind = what if isinstance(what, type) else type(what)
        if not is_dataclass(kind) or "<locals>" in kind.__qualname__:
            raise DescendError(
                f"workers are told by name what to do, and {what!r} has none that they could look up. "
                "Write statistics as dataclasses at the top of a module, not as a function or a lambda."
            )
        settings = None if what is kind else {f.name: getattr(what, f.name) for f in fields(kind) if f.init}
        return Order(f"{kind.__module__}:{kind.__qualname__}", settings, params, leaves)

    def made(self) -> Any:
        """The class, or an instance of it with these settings."""
        module, _, name = self.name.partition(":")
        kind = getattr(import_module(module), name)
        return kind if self.settings is None else kind(**self.settings)


def packed(message: Any) -> bytes:
    """A message as bytes. Raises `DescendError` where a value in it cannot leave this process."""
    try:
        return pickle.dumps(message, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DescendError(
            f"workers get losses and parameters by value, and this one does not go: {error}. "
            "Define losses in a module, not in a function and not as a lambda."
        ) from error


def unpacked(message: bytes) -> tuple[Any, Any, frozenset[int] | None]:
    """What to do, parameters and leaves. Raises `DescendError` where this process lacks the code that is named."""
    try:
        order: Order = pickle.loads(message)
        return order.made(), order.params, order.leaves
    except (ImportError, AttributeError) as error:
        raise DescendError(
            f"a worker cannot import what it is to do: {error}. Losses and statistics of your own must be "
            "in a module that every worker can import, not in a script or a notebook."
        ) from error
