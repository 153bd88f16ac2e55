"""A saved model at work on a table: metrics of its rows, predictions written beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from descend.blocks import leaf_rows
from descend.encoded import EncodedTable
from descend.encoding import label_text, open_encoded
from descend.engines import Engine, Threads
from descend.errors import DataError, DescendError
from descend.metrics import Metrics, evaluate
from descend.modelfile import Model
from descend.tables import Table, write_frames


def score(model: Model, data: Any, engine: Engine | None = None) -> Metrics:
    """Metrics of the rows of a table that have a target, beside the constant of the training rows.

    Raises `DescendError` for a model of arrays, and `DataError` where a column is absent.
    """
    table = _open(model, data)
    target = model.encoding.target.name  # type: ignore[union-attr]
    if target not in table.names:
        raise DataError(f"{table.label!r} has no column `{target}`, the target: there is nothing to compare with.")
    session = (engine or Threads()).open(EncodedTable(table, model.encoding, budget=0).side(False))  # type: ignore[arg-type]
    try:
        return evaluate(session, model.loss, model.weights, model.intercept, np.array(model.facts["constant"]))
    finally:
        session.close()


def write_predictions(
    model: Model, data: Any, path: str | os.PathLike[str] | None, keep: Sequence[str] = ()
) -> tuple[int, int]:
    """Predict every row of a table and write `.csv` or `.parquet`, or CSV to standard output for None.

    Columns are those of `keep`, then `prediction`, then `probability:CLASS` for each class; rows keep
    their order and are streamed. Returns the number of rows and of cells with an unknown level.
    """
    table = _open(model, data, keep)
    absent = [name for name in keep if name not in table.names]
    if absent:
        raise DataError(f"{table.label!r} has no column `{absent[0]}` to keep.")
    counts = [0, 0]
    write_frames(_predictions(model, table, list(keep), counts), path)
    return counts[0], counts[1]


def _predictions(model: Model, table: Table, keep: list[str], counts: list[int]) -> Iterator[dict[str, Any]]:
    encoding = model.encoding
    assert encoding is not None
    names = list(dict.fromkeys((*encoding.names, *keep)))
    for piece in table.slices(names, leaf_rows(len(encoding.columns))):
        X, unknown = encoding.transform(piece.frame)
        z = model.linear_predictor(X)
        columns: dict[str, Any] = {name: piece.frame[name] for name in keep}
        columns["prediction"] = model.decide(z)
        if model.classes is not None:
            p = model.probabilities(z)
            columns |= {f"probability:{label_text(c)}": p[:, i] for i, c in enumerate(model.classes)}
        counts[0] += len(z)
        counts[1] += unknown
        yield columns


def _open(model: Model, data: Any, keep: Sequence[str] = ()) -> Table:
    if model.encoding is None:
        raise DescendError("this model was fitted on arrays; it can `predict(x)` in Python, but knows no columns.")
    return open_encoded(data, model.encoding, model.facts.get("missing"), keep)
