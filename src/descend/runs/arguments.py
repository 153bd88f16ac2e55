"""The keyword arguments of `fit`: one that it does not have is named, with where it belongs."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from descend.descent.choose import OPTIMIZERS
from descend.errors import DescendError, check_whole
from descend.runs.problem import ProblemOptions


def check_settings(problem: Mapping[str, Any], parameters: Collection[str], every: int | None) -> None:
    """Raise `DescendError` for a keyword argument that neither `parameters` nor a problem has."""
    if every is not None:
        check_whole("every", every, 0)
    having = list(dict.fromkeys([*ProblemOptions.__annotations__, *parameters]))
    having.remove("problem")  # stands for those of a problem
    for name in [name for name in problem if name not in having]:
        owners = [kind.__name__ for kind in OPTIMIZERS.values() if name in {f.name for f in fields(kind)}]
        close = difflib.get_close_matches(name, having, 1)
        hint = f" Did you mean `{close[0]}`?" if close else f" It takes {', '.join(having)}."
        if owners:
            hint = f" It is a setting of the optimizer: optimizer=descend.{owners[0]}({name}=...)."
        raise DescendError(f"`fit` has no parameter `{name}`.{hint}")
