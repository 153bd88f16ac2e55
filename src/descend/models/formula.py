"""A model as a formula in the columns of the data: what every export is written from.

`z_k = b_k + sum_j a_jk x_j` over numbers, a missing one being replaced by the training mean plus what its
flag is worth, `+ sum_c t_c[level]` over categories. Scaling is folded into the coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descend.errors import DescendError
from descend.models.model import Model
from descend.tables.encoding import BOOLEANS, MISSING_LEVEL, OTHER

Worth = tuple[float, ...]
"""What something adds to the linear predictor, one number per output."""


@dataclass(frozen=True)
class Spelling:
    """A link in the languages of the exports: the mean of one linear predictor `{z}`, a sum in parentheses."""

    python: str = "{z}"
    torch: str = "{z}"
    sql: str = "{z}"
    onnx: tuple[str, ...] = ()
    """The nodes that it goes through."""


SPELLINGS = {
    "identity": Spelling(),
    "log": Spelling(
        "math.inf if {z} > 709.78 else math.exp({z})",
        "{z}.exp()",
        "CASE WHEN {z} < -700e0 THEN 0e0 ELSE EXP({z}) END",
        ("Exp",),
    ),
    "logit": Spelling(
        "0.5 + 0.5 * math.tanh(0.5 * {z})",
        "{z}.sigmoid()",
        "CASE WHEN {z} < -700e0 THEN 0e0 WHEN {z} < 0 THEN EXP({z}) / (1e0 + EXP({z}))"
        " WHEN {z} > 700e0 THEN 1e0 ELSE 1e0 / (1e0 + EXP(-{z})) END",
        ("Sigmoid",),
    ),
}
"""Links of one number by name; softmax, of several, is written where the classes are."""


@dataclass(frozen=True)
class NumberTerm:
    """A column of numbers: `slope * x`, or `slope * mean + flag` where the cell is missing."""

    name: str
    slope: Worth
    mean: float | None
    """None where the model takes no missing cells."""
    flag: Worth
    dated: bool = False


@dataclass(frozen=True)
class CategoryTerm:
    """A column of texts: what each level is worth, and an unknown or a missing one."""

    name: str
    levels: dict[str, Worth]
    unknown: Worth
    missing: Worth
    lower: bool = False
    """Whether texts are taken in lower case: columns of true and false."""


@dataclass(frozen=True)
class Formula:
    """`intercept` plus the terms; `classes` are None for a model of numbers, whose mean the `link` gives.

    With two classes and one output `z > 0` means the second; with several outputs the largest wins. Classes
    have `probabilities` where the link gives them. `texts` are those of a CSV that count as missing.
    """

    intercept: Worth
    numbers: tuple[NumberTerm, ...]
    categories: tuple[CategoryTerm, ...]
    classes: tuple[Any, ...] | None
    target: str
    texts: tuple[str, ...] = ()
    from_table: bool = True
    link: str = "identity"
    probabilities: bool = False

    @property
    def spelling(self) -> Spelling:
        """The link of a single output in each language; that of the linear predictor where there are several."""
        return SPELLINGS["identity" if self.outputs > 1 else self.link]

    @property
    def outputs(self) -> int:
        return len(self.intercept)

    def missing_texts(self, term: CategoryTerm) -> list[str]:
        """The texts that count as missing in this column: those that are no level of it."""
        return [text for text in self.texts if text not in term.levels]

    @staticmethod
    def of(model: Model) -> Formula:
        """From a model, fitted on a table or on arrays.

        An offset is a column of numbers that is worth one a unit. Raises `DescendError` where a row has several numbers, or the loss a link that no export knows.

        >>> from descend.objectives.losses import SquaredError
        >>> model = Model(SquaredError(), np.array([2.0, 1.0]), True, ("x0",))
        >>> Formula.of(model).numbers[0].slope, Formula.of(model).intercept
        ((2.0,), (1.0,))
        """
        classes, link = model.classes, model.loss.link
        if classes is None and model.weights.ndim == 2:
            raise DescendError(
                "a model of several numbers a row cannot be exported: one of a number or of classes can."
            )
        if model.weights.ndim == 1 and link.name not in SPELLINGS:
            raise DescendError(
                f"the link {link.name} of the loss {model.loss.name} cannot be exported: it has no spelling. Add one to "
                "SPELLINGS of descend.models.formula."
            )
        told: dict[str, Any] = {"link": link.name, "probabilities": model.has_probabilities}
        W = model.weights.reshape(len(model.weights), -1)
        nothing = (0.0,) * W.shape[1]
        last = W[-1] if model.intercept else np.zeros(W.shape[1])
        encoding = model.encoding
        shift = (
            [] if model.offset is None else [NumberTerm(model.offset, (1.0,) * len(nothing), None, nothing)]
        )
        if encoding is None:
            terms = [
                NumberTerm(name, _worth(w), None, nothing)
                for name, w in zip(model.feature_names, W, strict=False)
            ]
            return Formula(_worth(last), (*terms, *shift), (), classes, "y", from_table=False, **told)
        units, centres = encoding.units
        W = W[: len(units)] / units[:, None]
        last = last - centres @ W
        worth = dict(zip(encoding.feature_names, map(_worth, W), strict=True))
        position = {name: i for i, name in enumerate(encoding.feature_names)}
        numbers = tuple(
            NumberTerm(
                c.name,
                _worth(W[i]),
                c.mean,
                _worth(W[position[f"{c.name} (missing)"]]) if c.flagged else nothing,
                c.dated,
            )
            for i, c in enumerate(encoding.numbers)
        )
        categories = []
        for c in encoding.categories:
            dummies = set(c.dummies)
            levels = {v: worth[f"{c.name}={v}"] if v in dummies else nothing for v in c.levels}
            unknown = levels[OTHER if OTHER in levels else c.reference]
            missing = levels.get(MISSING_LEVEL, unknown)
            lower = BOOLEANS.issuperset(c.levels)
            categories.append(CategoryTerm(c.name, levels, unknown, missing, lower))
        texts: Sequence[str] = model.facts.get("missing") or ()
        target = encoding.target.name
        numbers = (*numbers, *shift)
        return Formula(_worth(last), numbers, tuple(categories), classes, target, tuple(texts), **told)


def _worth(values: Any) -> Worth:
    return tuple(float(v) for v in values)
