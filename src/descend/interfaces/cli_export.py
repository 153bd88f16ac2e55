"""`descend export`, a command of its own file: it writes programs rather than numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def export(model: str, /, *, to: str, out: Annotated[str | None, Parameter(alias="-o")] = None) -> int:
    """Write a model as a program, its encoding included: onnx, torch, sql or python.

    descend export penguins.model.json --to sql
    descend export penguins.model.json --to onnx --out penguins.onnx

    Parameters
    ----------
    model
        A file written by `descend fit`.
    to
        onnx (a graph), torch (a module in Python), sql (one SELECT) or python (a function).
    out
        The file; NAME.onnx, NAME.torch.py, NAME.sql or NAME.py unless given.
    """
    from descend.files import check_apart
    from descend.models.codegen import SUFFIXES
    from descend.models.codegen import export as write
    from descend.models.model import load

    path = out or model.removesuffix(".json").removesuffix(".model") + SUFFIXES.get(to, "")
    check_apart(path, [Path(model)])
    write(load(model), to, path)
    print(path)
    return 0
