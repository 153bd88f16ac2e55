"""The problem: data, target, loss, penalty, validation and seed turned into objectives.

An array is taken as it is, with squared error and no penalty unless asked. A table goes through an
Encoding learned from its training rows, and its target tells the loss. Shared by everything that
starts from data.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from descend.engines.blocks import Source
from descend.engines.engine import Engine, Session
from descend.engines.matrix import Float
from descend.errors import DataError, DescendError
from descend.models.covariance import ErrorKind
from descend.models.metrics import Metrics, evaluate
from descend.objectives.coordinates import Rescaled
from descend.objectives.losses import Loss
from descend.objectives.objective import Objective
from descend.objectives.penalties import L2, Penalty
from descend.objectives.sampled import sample_of
from descend.objectives.statistics import TargetRange
from descend.runs.collinearity import collinear_notes
from descend.runs.from_arrays import from_arrays
from descend.runs.prepared import Beside, Columns, Options, Prepared, check_target

if TYPE_CHECKING:
    from descend.tables.encoding import Encoding


class ProblemOptions(TypedDict, total=False):
    """The keyword arguments of `Problem.of`."""

    target: str | None
    loss: Loss | str | None
    penalty: Penalty | float | None
    intercept: bool
    sample_weight: Any
    offset: Any
    valid: Any
    seed: int
    columns: Columns
    class_weight: str | None
    memory: int | str | None
    engine: Engine | None
    errors: str | None
    cluster: Any
    weight_kind: str
    penalise: str | None
    feature_names: Any


@dataclass(frozen=True)
class Problem:
    """A training and a validation objective, and what their weights mean. Made by `Problem.of`.

    `objective` is over the rows that `session` has open; `validation` and `validation_session` are over those held
    out, None without any. `feature_names` name the columns of `X`; `classes` are the labels in the order of their
    codes; `encoding` maps the raw columns of a table to features, None for arrays.

    >>> problem = Problem.of("examples/penguins.csv", target="body_mass_g", valid=0.2)
    >>> problem.loss.name, problem.rows
    ('squared-error', {'training': 265, 'validation': 77, 'without_target': 2})
    >>> problem.close()
    """

    objective: Objective
    session: Session
    validation: Objective | None
    validation_session: Session | None
    feature_names: tuple[str, ...]
    classes: tuple[Any, ...] | None = None
    encoding: Encoding | None = None
    missing: tuple[str, ...] | None = None
    """The cells of a CSV that counted as missing."""
    offset: str | None = None
    """What is added to the linear predictor: a column of the table, "offset" beside arrays."""
    rows: dict[str, int] = field(default_factory=dict)
    """Counts: `training`, `validation`, `without_target`."""
    notes: list[str] = field(default_factory=list)
    """What was decided for the user, in sentences."""
    warnings: list[str] = field(default_factory=list)
    """What was left out."""
    profiles: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the profiling of a table found out about its raw columns."""
    sampled: dict[str, Session] = field(default_factory=dict, repr=False)
    """Sessions over some rows of each side, where the rest would have to be read once more for the metrics."""
    errors: ErrorKind = field(default_factory=ErrorKind)
    """Which standard errors are wanted."""
    penalise: str = "original"
    """The coordinates that the penalty acts in: "original" ones of the data, or "standardised" ones."""
    resources: ExitStack = field(default_factory=ExitStack, repr=False)
    """Spools and temporary files, deleted when the problem is closed."""

    __hash__ = None  # type: ignore[assignment]  # lists and dicts are among its parts

    @staticmethod
    def of(
        data: Any,
        y: Any = None,
        *,
        target: str | None = None,
        loss: Loss | str | None = None,
        penalty: Penalty | float | None = None,
        intercept: bool = True,
        sample_weight: Any = None,
        offset: Any = None,
        valid: Any = None,
        seed: int = 0,
        columns: Columns | None = None,
        class_weight: str | None = None,
        memory: int | str | None = None,
        engine: Engine | None = None,
        errors: str | None = None,
        cluster: Any = None,
        weight_kind: str = "precisions",
        penalise: str | None = None,
        feature_names: Any = None,
    ) -> Problem:
        """From arrays, or from a table (file, files, DataFrame) and the name of its `target`.

        Of arrays `data` has shape (rows, features), dense, CSR or a tensor, and `y` and `sample_weight` (rows,),
        weights of at least 0; `offset`, (rows,), is added to the linear predictor. `columns`, a `Columns`, says what
        the data of a table should not decide. `loss` is a name ("squared-error", "huber", "poisson", "logistic",
        "cross-entropy"), an object or a function of torch tensors; unless given it is squared error for arrays, while a
        table's target tells. `penalty` is a number, the alpha of `L2`, or an
        object; unless given there is none, but for a table with classes 1 / rows. With `intercept` a last weight is
        added to every prediction. `valid` says which rows are held out: None, a fraction (by a hash of `seed`, file
        and row), "last:" and a fraction for the last rows in order, `(x, y)`, or a table. `class_weight="balanced"`
        weighs each class by n / (classes * its rows). `memory` is how many bytes of a table's blocks may stay in
        memory, a number or a text such as "500MB". `engine` says where sums are computed, `Threads()` unless given.
        `errors` says which standard errors are wanted: "classical", "hc0" to "hc3", "cluster", or None for what the loss
        allows (robust ones where it is no likelihood, or where classes are weighted); `cluster`, (rows,), of any kind,
        says which rows may vary together, of a table `Columns(cluster=...)` does. `weight_kind` says what sample weights
        are: "precisions" of single rows, or "frequencies", how many rows each stands for. `penalise` says what a penalty
        acts on: "original" coefficients, in the units of the data, or "standardised" ones, of columns over their standard
        deviations (dummies stay 0 and 1); unless given those of the data where a penalty is given, while the one that a table
        with classes has by itself acts on standardised ones, so that units do not matter. `feature_names` names the columns of
        arrays, which are x0, x1 and so on unless given.
        Raises `DescendError` where they do not fit.
        """
        if isinstance(y, str):
            raise DescendError(f"`y` must be an array; the name of a column is `target={y!r}`.")
        if not isinstance(columns, Columns | None):
            raise DescendError(
                f"`columns` must be descend.Columns(...), got {type(columns).__name__}: Columns(drop=[...])."
            )
        options = Options.of(
            data, loss=loss, penalty=penalty, intercept=intercept, valid=valid, seed=seed, class_weight=class_weight,
            memory=memory, engine=engine, errors=errors, weight_kind=weight_kind, penalise=penalise,
        )  # fmt: skip
        beside = Beside(sample_weight, offset, cluster)
        beside.check_errors(errors, columns)
        if y is None and _is_table(data):
            if target is None:
                raise DescendError("`target` is needed with a table: the name of the column to predict.")
            beside.check_table()
            if feature_names is not None:
                raise DescendError("`feature_names` goes with arrays; the columns of a table have names.")
            from descend.runs.from_table import from_table  # arrays need no reader of files

            return _over(from_table(data, str(target), columns or Columns(), options))
        if y is None and target is not None:
            raise DescendError(
                f"with `target` the data must be a path, several paths or a frame, got {type(data).__name__}."
            )
        if y is None:
            raise DescendError("`y` is needed with an array `x`; a table takes `target=` instead.")
        if target is not None or columns is not None:
            raise DescendError(
                "`target` and `columns` go with a table; arrays are `fit(x, y)`, taken as they are."
            )
        return _over(from_arrays(data, y, beside, options, feature_names))

    @property
    def weight_names(self) -> tuple[str, ...]:
        """One name for each row of the weights, the intercept's last."""
        return (*self.feature_names, *(["(intercept)"] if self.objective.intercept else []))

    @property
    def loss(self) -> Loss:
        """What is minimised, without the penalty."""
        return self.objective.loss

    @cached_property
    def constant(self) -> Float:
        """The mean target of the training rows, or the share of each class."""
        mean = self.objective.constant
        return np.array([1.0 - mean[0], mean[0]]) if self.loss.kind == "two classes" else mean

    def metrics(self, w: Float) -> dict[str, Metrics]:
        """Metrics at the weights `w` of the "training" and, where there are any, the "validation" rows."""
        if not self.loss.metrics:
            return {}
        sessions = {"training": self.session, "validation": self.validation_session} | self.sampled
        found = {
            side: evaluate(session, self.loss, w, self.objective.intercept, self.constant)
            for side, session in sessions.items()
            if session is not None
        }
        objectives = {"training": self.objective, "validation": self.validation}
        for side in self.sampled:
            objective = objectives[side]
            squares = None if objective is None else objective.mean_squares(w, float(self.constant[0]))
            assert squares is not None  # samples are kept where moments tell the rest
            found[side] = found[side].completed(squares)
        return found

    def close(self) -> None:
        """Close all sessions and delete what is temporary."""
        for session in (self.session, self.validation_session, *self.sampled.values()):
            if session is not None:
                session.close()
        self.resources.close()


def _is_table(data: Any) -> bool:
    """Whether `data` names files or is a frame; asked where no `y` is given."""
    from descend.tables.table import is_table

    return is_table(data)


def _over(found: Prepared) -> Problem:
    """Open the rows and put objectives over them; moments that are known already are not summed again."""
    outputs = found.loss.outputs(len(found.classes or ()))
    over = partial(Objective.over, loss=found.loss, intercept=found.intercept, outputs=outputs)
    validation, validation_session = None, None
    with ExitStack() as opened:  # closed again on an error
        opened.push(found.resources)

        def session_over(source: Source) -> Session:
            session = found.engine.open(source)
            opened.callback(session.close)
            return session

        session = session_over(found.training)
        objective = over(session, penalty=found.penalty, moments=found.moments[0])
        objective = _penalised(objective, found)
        if found.held_out is not None:
            validation_session = session_over(found.held_out)
            validation = over(validation_session, penalty=L2(0.0), moments=found.moments[1])
        sampled = {side: session_over(source) for side, source in found.sampled.items()}
        if found.encoding is not None:
            _check_target(found, session, validation_session)
        names = found.training.feature_names
        collinear = collinear_notes(objective, names, found.encoding)
        opened.pop_all()
    return Problem(
        objective,
        session,
        validation,
        validation_session,
        names,
        found.classes,
        found.encoding,
        found.missing,
        found.offset,
        dict(found.rows),
        [*found.notes, *collinear],
        [*found.warnings],
        dict(found.profiles),
        sampled,
        found.errors,
        found.penalise,
        found.resources,
    )


def _penalised(objective: Objective, found: Prepared) -> Objective:
    """The same, its penalty acting on weights in the units that were asked for, whatever those of the descent."""
    if found.penalty.is_zero or (found.encoding is None) == (found.penalise == "original"):
        return objective
    if found.encoding is not None:
        scale = found.encoding.units[0]
    else:
        variance = np.maximum(objective.spread()[1], 0.0)
        scale = 1.0 / np.sqrt(np.where(variance > 0, variance, 1.0))
    return objective.with_penalty(Rescaled(found.penalty, scale))


def _check_target(found: Prepared, session: Session, held_out: Session | None) -> None:
    """Raise `DataError` where rows hold no target of the loss, as far as the profile has not told.

    A rule of one's own sees a sample of the rows to learn from; the range of counts is that of all rows held out.
    """
    assert found.encoding is not None
    from descend.tables.encoding import infinite_target

    loss, name = found.loss, f"target `{found.encoding.target.name}`"
    if not (loss.has_classes or loss.closed_form):
        sample = sample_of(session.source, found.rows["training"])
        check_target(loss, np.zeros(1) if sample is None else sample.y, name)
    moments = found.moments[1]
    if loss.closed_form and moments is not None and not np.isfinite(moments.cross[-1, -1]):
        raise DataError(infinite_target(found.encoding.target.name, "a number among the rows held out"))
    if loss.kind == "count" and held_out is not None:
        low, high = held_out.reduce(TargetRange()) * [-1.0, 1.0]
        check_target(loss, np.array([low, high]), f"{name} of the rows held out")
