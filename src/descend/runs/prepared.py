"""What a problem is made of: what was asked for, and what the data turned out to be.

`from_arrays` and `from_table` turn the one into the other; `Problem.of` makes a Problem of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from descend.doors import door
from descend.engines.blocks import Source
from descend.engines.engine import Engine, Threads
from descend.engines.matrix import is_elsewhere
from descend.engines.moments import Moments
from descend.engines.splits import check_seed
from descend.errors import DescendError
from descend.machine import as_bytes
from descend.objectives.losses import Loss, as_loss
from descend.objectives.penalties import Penalty
from descend.tables.encoding import Encoding
from descend.tables.profiles import Profile


@dataclass(frozen=True)
class Options:
    """What was asked for beside the data, whatever the data are; made and checked by `of`."""

    loss: Loss | None
    """None where the data decide."""
    penalty: Penalty | float | None
    intercept: bool
    valid: Any
    """Which rows are held out; what it may be depends on the data."""
    seed: int
    engine: Engine
    balanced: bool
    """Whether each class weighs the same."""
    memory: int
    """Bytes of a table's blocks that may stay in memory."""

    @staticmethod
    def of(
        data: Any,
        *,
        loss: Loss | str | None = None,
        penalty: Penalty | float | None = None,
        intercept: bool = True,
        valid: Any = None,
        seed: int = 0,
        class_weight: str | None = None,
        memory: int | str | None = None,
        engine: Engine | None = None,
    ) -> Options:
        """From the arguments of `Problem.of`. Raises `DescendError` for what is none of them.

        >>> options = Options.of([[1.0]], loss="logistic", class_weight="balanced")
        >>> options.loss.name, options.balanced, options.engine
        ('logistic', True, Threads(count=None))
        """
        if isinstance(engine, type) or not (engine is None or isinstance(engine, Engine)):
            raise DescendError(
                "`engine` must be None, or Serial(), Threads(), Processes(), Cluster() or Torch() of descend, "
                f"got {engine!r}."
            )
        if not isinstance(intercept, bool | np.bool_):
            raise DescendError(f"`intercept` must be True or False, got {intercept!r}.")
        seed = check_seed(seed)
        loss = None if loss is None else as_loss(loss)
        if class_weight not in (None, "balanced"):
            raise DescendError(f'`class_weight` must be None or "balanced", got {class_weight!r}.')
        if engine is None:  # a tensor on a device of its own stays there
            engine = door("torch_engine")(str(data.device)) if is_elsewhere(data) else Threads()
        balanced, budget = class_weight is not None, as_bytes(memory)
        return Options(loss, penalty, intercept, valid, seed, engine, balanced, budget)


@dataclass(frozen=True)
class Prepared:
    """What data turned out to be: the rows of both sides, and what is to be minimised over them."""

    training: Source
    held_out: Source | None
    """None where no rows are held out."""
    loss: Loss
    penalty: Penalty
    intercept: bool
    engine: Engine
    """Where the sources are to be opened."""
    rows: Mapping[str, int]
    """Counts: `training`, `validation`, `without_target`."""
    classes: tuple[Any, ...] | None = None
    """The labels in the order of their codes, where the loss is one of classes."""
    notes: tuple[str, ...] = ()
    """What was decided for the user, in sentences."""
    warnings: tuple[str, ...] = ()
    """What was left out."""
    encoding: Encoding | None = None
    """How the raw columns of a table become features; None for arrays, and so is what follows."""
    missing: tuple[str, ...] | None = None
    """The cells of a CSV that counted as missing."""
    offset: str | None = None
    """What is added to the linear predictor: a column of the table, "offset" beside arrays."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """What the profiling found out about the raw columns."""
    moments: tuple[Moments | None, Moments | None] = (None, None)
    """Of the training rows and of those held out, where they have been summed already."""
    sampled: Mapping[str, Source] = field(default_factory=dict)
    """Some rows of each side, where the rest would have to be read once more for the metrics."""
    resources: ExitStack = field(default_factory=ExitStack)
    """Files, spools and workers, to be closed with the problem."""
