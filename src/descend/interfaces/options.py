"""The flags of `descend fit`, and the kinds of flag that the commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from cyclopts import Parameter

from descend.errors import DescendError

HYPHEN = "./-"
"""Stands for - on its own while the arguments are parsed: cyclopts would take it for a flag."""

Names = Annotated[list[str], Parameter(consume_multiple=True, negative="", show_default=False)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Files = Annotated[str, Parameter(required=True)]
Short = Annotated[str, Parameter(alias="-o")]


@Parameter(name="*")
@dataclass(frozen=True)
class ColumnOptions:
    """Which columns to use, and how."""

    features: Names = field(default_factory=list)
    "Columns to use; all but the target unless given."
    drop: Names = field(default_factory=list)
    "Columns to leave out."
    categorical: Names = field(default_factory=list)
    "Columns to take as categories, whatever they look like."
    numeric: Names = field(default_factory=list)
    "Columns to take as numbers; cells that are none count as missing."
    reference: Names = field(default_factory=list)
    "COL=LEVEL: the level that the other levels of a column are compared with."
    missing: Names = field(default_factory=list)
    "Cells of a CSV that count as missing, in place of: empty, NA, N/A, NaN, null."
    encoding: str | None = None
    "Encoding of a CSV that is not UTF-8: cp1252, latin-1, utf-16."
    weight: str | None = None
    "Column of sample weights, at least 0; not a feature."
    group: str | None = None
    "Column whose equal values are held out together; not a feature."
    offset: str | None = None
    "Column that is added to the linear predictor, log(exposure) of counts for example; not a feature."


@Parameter(name="*")
@dataclass(frozen=True)
class DescentOptions:
    """How to descend, and when to stop."""

    loss: str | None = None
    "squared-error, huber, poisson, logistic or cross-entropy; the target tells unless given."
    optimizer: str = "auto"
    "auto, exact, newton, lbfgs, gradient-descent, adam, local-steps or proximal-gradient."
    learning_rate: float | None = None
    "Step size of gradient-descent, adam and proximal-gradient; found from the curvature unless given."
    schedule: str = "constant"
    "How the learning rate goes on: constant, cosine, one-cycle or inverse-time."
    momentum: float | None = None
    "Momentum of gradient-descent, 0.9 for example."
    nesterov: Flag = False
    "Use Nesterov's momentum."
    batch_size: int | None = None
    "Step on so many rows at a time, in an order that the seed decides."
    epochs: int | None = None
    "Make so many passes over the rows."
    patience: int | None = None
    "Stop when the validation loss has not fallen so many times in a row."
    steps: int | None = None
    "Make exactly this many steps; otherwise stop when the gradient is zero."
    tolerance: float | None = None
    "The gradient norm that counts as zero, 1e-6 unless given."
    time_limit: float | None = None
    "Stop after this many seconds and keep the run so far."
    l2: float | None = None
    "Strength of the L2 penalty alpha/2 |w|^2; classifications default to 1/rows, 0 turns it off."
    l1: float | None = None
    "Strength of the L1 penalty alpha |w|, which makes weights zero; with --l2 both are added."
    l1_ratio: float | None = None
    "Share of --l1 that is L1, the rest being L2: the elastic net of glmnet and scikit-learn."
    penalise: str | None = None
    "What a penalty acts on: original coefficients, in the units of the data, or standardised ones, as glmnet's does."
    valid: str = "0.2"
    "Share of rows to hold out, last:0.2 for the last fifth in order, or a file to validate on; 0 for none."
    seed: int = 0
    "Decides which rows are held out."
    class_weight: str | None = None
    "balanced: classes count alike, however many rows they have."
    errors: str | None = None
    "Standard errors: classical, hc0, hc1, hc2, hc3, or cluster:COL for rows of equal values that may vary together."
    weight_kind: str = "precisions"
    "What --weight is: precisions of single rows, or frequencies, how many rows each stands for."
    memory: str | None = None
    "Memory for decoded rows, 500MB or 2GB; beyond it a temporary file. A quarter of the machine's unless given."
    cluster: str | None = None
    "Work on a Dask cluster: the address of its scheduler, tcp://host:8786, or local:N for N processes here."
    engine: str | None = None
    "What sums over the rows: serial, threads:N, processes:N, cluster:ADDRESS; a thread per core unless given."


COLUMNS, DESCENT = ColumnOptions(), DescentOptions()
"""What holds where no flag is given."""


def columns_of(which: ColumnOptions, how: DescentOptions = DESCENT) -> Any:
    """The columns that the flags describe, that of `--errors cluster:COL` among them."""
    from descend.runs.prepared import Columns

    return Columns(
        which.features or None,
        which.drop,
        which.categorical,
        which.numeric,
        _pairs(which.reference),
        hyphens(which.missing) or None,
        which.encoding,
        which.weight,
        which.group,
        which.offset,
        errors_of(how.errors)[1],
    )


def errors_of(errors: str | None) -> tuple[str | None, str | None]:
    """The kind that `--errors` names, and the column of `cluster:COL`.

    >>> errors_of("hc3"), errors_of("cluster:firm")
    (('hc3', None), ('cluster', 'firm'))
    """
    kind, colon, column = (errors or "").partition(":")
    if colon and (kind != "cluster" or not column):
        raise DescendError(f"`--errors` takes classical, hc0, hc1, hc2, hc3 or cluster:COL, got {errors!r}.")
    return kind or None, column or None


def hyphens(arguments: Sequence[str]) -> list[str]:
    """The arguments as they were given."""
    return ["-" if argument == HYPHEN else argument for argument in arguments]


def _pairs(items: list[str]) -> dict[str, str]:
    for item in items:
        if "=" not in item:
            raise DescendError(f"`--reference` takes COL=LEVEL, got {item!r}.")
    return dict(item.split("=", 1) for item in items)


def validation_of(value: str) -> float | str | None:
    """`--valid` as a fraction, None for 0, or the name of a file."""
    try:
        return float(value) or None
    except ValueError:
        return value


def penalty_of(l2: float | None, l1: float | None, l1_ratio: float | None) -> Any:
    """The penalty that the flags describe: None, the alpha of L2, or an object.

    `--l1 A` is `L1(A)`, with `--l1-ratio R` `ElasticNet(A, R)`, and with `--l2 B` the sum of both.

    >>> penalty_of(0.25, 0.75, None)
    ElasticNet(alpha=1.0, l1_ratio=0.75)
    """
    from descend.objectives.penalties import L1, L2, ElasticNet

    if l1 is None:
        if l1_ratio is not None:
            raise DescendError("`--l1-ratio` is the share of `--l1` that is L1: give `--l1` too.")
        return l2
    if l1_ratio is not None:
        if l2 is not None:
            raise DescendError(
                "`--l1-ratio` and `--l2` both say how much of the penalty is L2: give one of them beside `--l1`."
            )
        return ElasticNet(l1, l1_ratio)
    both = L2(l2 or 0.0).alpha + L1(l1).alpha
    return ElasticNet(both, l1 / both) if l2 else L1(l1)


def optimizer_of(how: DescentOptions) -> Any:
    """The optimizer that the flags describe; a learning rate, schedule or momentum means gradient descent."""
    from descend.descent.choose import make_optimizer

    settings: dict[str, Any] = {}
    if how.learning_rate is not None or how.schedule != "constant":
        settings["learning_rate"] = "auto" if how.learning_rate is None else how.learning_rate
    if how.momentum is not None or how.nesterov:
        settings |= {"momentum": 0.9 if how.momentum is None else how.momentum, "nesterov": how.nesterov}
    if how.optimizer == "local-steps" and how.batch_size is not None:
        settings["batch_size"] = how.batch_size  # it makes its own
    if how.optimizer == "auto" and not settings:
        return "auto"
    return make_optimizer(
        "gradient-descent" if how.optimizer == "auto" else how.optimizer, how.schedule, **settings
    )


def engine_of(
    engine: str | None, cluster: str | None, memory: str | None = None, *, quiet: bool = False
) -> Any:
    """The engine asked for, None for the threads of this process; what a cluster says of its workers is shown unless `quiet`."""
    if cluster is not None and engine is not None:
        raise DescendError("`--cluster` is an engine of its own: leave `--engine` out.")
    if cluster is not None:
        engine = f"cluster:{cluster}"
    if engine is None:
        return None
    import logging

    from descend.engines.engine import engine_named

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("descend").setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("descend").handlers = [handler]
    return engine_named(engine, memory)
