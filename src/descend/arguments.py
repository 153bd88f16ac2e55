"""The keyword arguments of `fit`: one that it does not have is named, with where it belongs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from descend.errors import DescendError, check_whole
from descend.problem import ProblemOptions
from descend.second_order import OPTIMIZERS


def check_settings(problem: Mapping[str, Any], parameters: Collection[str], every: int | None) -> None:
    """Raise `DescendError` for a keyword argument that neither `parameters` nor a problem has."""
    if every is not None:
        check_whole("every", every, 0)
    having = {*parameters, *ProblemOptions.__annotations__}
    for name in set(problem) - having:
        owners = [kind.__name__ for kind in OPTIMIZERS.values() if name in kind.__dataclass_fields__]
        close = difflib.get_close_matches(name, sorted(having - {"problem"}), 1)
        hint = (
            f" Did you mean `{close[0]}`?"
            if close
            else f" It takes {', '.join(ProblemOptions.__annotations__)}."
        )
        if owners:
            hint = f" It is a setting of the optimizer: optimizer=descend.{owners[0]}({name}=...)."
        raise DescendError(f"`fit` has no parameter `{name}`.{hint}")
