"""`descend diagnose`, a command of its own file: it explains a fit rather than making one."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

from cyclopts import Parameter

from descend.interfaces.options import (
    COLUMNS,
    ColumnOptions,
    Files,
    Flag,
    columns_of,
    engine_of,
    hyphens,
    validation_of,
)


def diagnose(
    *data: Files,
    target: str,
    loss: str | None = None,
    l2: float | None = None,
    class_weight: str | None = None,
    valid: str = "0",
    seed: int = 0,
    steps: int = 100,
    memory: str | None = None,
    cluster: str | None = None,
    columns: ColumnOptions = COLUMNS,
    json: Annotated[Flag, Parameter(name="--json")] = False,
) -> int:
    """Say what a fit will meet: what to do, how good it can get, learning rates, columns that stand in the way.

    descend diagnose penguins.csv --target body_mass_g
    descend diagnose loans.parquet --target default --l2 0 --json
    descend diagnose visits.csv --target returned --valid 0.2 --group patient

    Parameters
    ----------
    data
        Files, globs or folders, as for `descend fit`.
    target
        The column to predict.
    loss
        squared-error, logistic or cross-entropy; the target tells unless given.
    l2
        Strength of the L2 penalty, as for `descend fit`.
    class_weight
        balanced: classes count alike, however many rows they have.
    valid
        Rows to leave out as `descend fit` holds them out, 0.2 for its default; none unless given.
    seed
        Decides which rows are left out.
    steps
        How many steps of gradient descent to predict.
    memory
        Memory for decoded rows, 500MB or 2GB.
    cluster
        Work on a Dask cluster: tcp://host:8786, or local:N.
    json
        Print one JSON object instead of a page.
    """
    from descend.diagnosis.diagnosis import diagnose

    found = diagnose(
        hyphens(data),
        target=target,
        loss=loss,
        penalty=l2,
        class_weight=class_weight,
        valid=validation_of(valid),
        seed=seed,
        memory=None if cluster else memory,
        engine=engine_of(cluster, memory),
        columns=columns_of(columns),
        steps=steps,
    )
    print(jsonlib.dumps(found.to_dict(), indent=2, ensure_ascii=False) if json else found)
    return 0
