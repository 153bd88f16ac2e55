"""Models written as programs: a Python function, a torch module, one SQL SELECT, an ONNX graph.

Each holds the encoding too: missing cells, unknown levels and dates mean in it what they mean in `Model`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pprint import pformat
from typing import Any

from descend.errors import DescendError
from descend.files import replacing
from descend.models.formula import CategoryTerm, Formula, NumberTerm
from descend.models.model import Model

CELLS = '''
def as_number(cell, dated=False):
    """A cell as a float: NaN where it is missing or no number, days since 1970 for dates."""
    if isinstance(cell, str):
        text = cell.strip()
        try:
            cell = datetime.datetime.fromisoformat(text) if dated else float(text)
        except ValueError:
            return math.nan
        if not dated and (not text.isascii() or "_" in text or math.isinf(cell)):
            return math.nan  # what only Python takes for a number, and what no column has
    if isinstance(cell, datetime.datetime):
        if cell.tzinfo is not None:
            cell = cell.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return (cell - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    if isinstance(cell, datetime.date):
        return float((cell - datetime.date(1970, 1, 1)).days)
    return math.nan if cell is None else float(cell)


def as_level(cell, levels, lower=False):
    """A cell as one of the levels; None where it is missing, and an unknown text as it is."""
    if cell is None or cell != cell:
        return None
    text = str(cell).lower() if lower or isinstance(cell, bool) else str(cell)
    return None if text in MISSING and text not in levels else text
'''

TABLES = """INTERCEPT = {intercept}
# by column: what one unit is worth, the value of a missing cell, what being missing is worth, whether dates
NUMBERS = {numbers}
# by column: what each level is worth, a missing and an unknown one, whether texts are taken in lower case
CATEGORIES = {categories}
CLASSES = {classes}
MISSING = {missing}

{cells}
"""

PYTHON = (
    '''"""Predicts {target}. Written by descend {version}; needs nothing but Python.

`predict(row)` takes a dict of cells by column name; a cell may be None, and a CSV's text does as well.
"""

import datetime
import math

'''
    + TABLES
    + '''
def scores(row):
    """The linear predictor, one number per output."""
    z = list(INTERCEPT)
    for name, (slope, mean, flag, dated) in NUMBERS.items():
        x = as_number(row[name], dated)
        absent = math.isnan(x)
        for k in range(len(z)):
            z[k] += slope[k] * mean + flag[k] if absent and mean is not None else slope[k] * x
    for name, (levels, missing, unknown, lower) in CATEGORIES.items():
        level = as_level(row[name], levels, lower)
        worth = missing if level is None else levels.get(level, unknown)
        for k in range(len(z)):
            z[k] += worth[k]
    return z


{shares}def predict(row):
    """A number, or the most probable class; NaN, or None, where a cell is missing that the model has no value for."""
    z = scores(row)
    if CLASSES is None:
        return {mean}
    if any(math.isnan(value) for value in z):
        return None
    return CLASSES[int(z[0] > 0) if len(z) == 1 else z.index(max(z))]
'''
)

SOFTMAX_SHARES = '''def probabilities(row):
    """The probability of each class."""
    z = scores(row)
    z = [0.0, z[0]] if len(z) == 1 else z
    odds = [math.exp(value - max(z)) for value in z]
    return {label: value / sum(odds) for label, value in zip(CLASSES, odds)}


'''
LINK_SHARES = '''def probabilities(row):
    """The probability of each class."""
    z = scores(row)
    second = MEAN
    return dict(zip(CLASSES, (1.0 - second, second)))


'''

TORCH = (
    '''"""Predicts {target}. Written by descend {version}; needs torch.

`model = Linear()`; `model.predict(rows)` takes dicts of cells by column name; `model(*model.encode(rows))` is the
linear predictor, of shape (rows, outputs), which may be trained further.
"""

import datetime
import math

import torch

'''
    + TABLES
    + '''
class Linear(torch.nn.Module):
    """Numbers (NaN where missing) and level codes in, the linear predictor out."""

    def __init__(self):
        super().__init__()
        terms, size = list(NUMBERS.values()), len(INTERCEPT)
        means = [math.nan if mean is None else mean for _, mean, _, _ in terms]
        self.register_buffer("means", torch.tensor(means, dtype=torch.float64))
        self.intercept = self._weights([INTERCEPT], 1, size)
        self.slopes = self._weights([slope for slope, _, _, _ in terms], len(terms), size)
        self.flags = self._weights([flag for _, _, flag, _ in terms], len(terms), size)
        self.levels = torch.nn.ParameterList(
            self._weights([*levels.values(), missing, unknown], len(levels) + 2, size)
            for levels, missing, unknown, _ in CATEGORIES.values()
        )
        self.codes = {{
            name: {{level: i for i, level in enumerate(levels)}} for name, (levels, _, _, _) in CATEGORIES.items()
        }}

    @staticmethod
    def _weights(values, *shape):
        return torch.nn.Parameter(torch.tensor(values, dtype=torch.float64).reshape(shape))

    def encode(self, rows):
        """Rows as (rows, numbers) and (rows, categories); the last two codes are missing and unknown."""
        numbers = [[as_number(row[name], term[-1]) for name, term in NUMBERS.items()] for row in rows]
        codes = []
        for row in rows:
            levels = [as_level(row[name], term[0], term[-1]) for name, term in CATEGORIES.items()]
            known = self.codes.values()
            codes.append([len(k) if v is None else k.get(v, len(k) + 1) for k, v in zip(known, levels)])
        shape = len(rows), len(NUMBERS)
        return (
            torch.tensor(numbers, dtype=torch.float64).reshape(shape),
            torch.tensor(codes, dtype=torch.long).reshape(len(rows), len(CATEGORIES)),
        )

    def forward(self, numbers, codes):
        absent = numbers.isnan()
        z = self.intercept + torch.where(absent, self.means, numbers) @ self.slopes + absent.double() @ self.flags
        for c, table in enumerate(self.levels):
            z = z + table[codes[:, c]]
        return z

    def predict(self, rows):
        """Numbers, or the most probable class of each row."""
        with torch.no_grad():
            z = self(*self.encode(rows))
        if CLASSES is None:
            return {mean}.tolist()
        codes = (z[:, 0] > 0).long() if z.shape[1] == 1 else z.argmax(1)
        known = ~z.isnan().any(1)
        return [CLASSES[code] if there else None for code, there in zip(codes.tolist(), known.tolist())]
'''
)


def export(model: Model, to: str, path: str | os.PathLike[str] | None = None) -> str | bytes:
    """`model` as `to`: "python", "torch", "sql" (text) or "onnx" (bytes); written to `path` where given.

    Raises `DescendError` for another `to`, `MissingExtraError` where ONNX is not installed.

    >>> import numpy as np
    >>> from descend.objectives.losses import SquaredError
    >>> print(export(Model(SquaredError(), np.array([2.0, 1.0]), True, ("age",)), "sql"))
    -- Predicts y. Written by descend; replace `data` by your table.
    SELECT *,
      1.0e0
      + 2.0e0 * CAST("age" AS DOUBLE PRECISION) AS prediction
    FROM data
    <BLANKLINE>
    """
    if to not in WRITERS:
        raise DescendError(f"`to` must be one of {', '.join(WRITERS)}, got {to!r}.")
    made = WRITERS[to](Formula.of(model))
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_bytes(made.encode() if isinstance(made, str) else made)
    return made


def python_source(formula: Formula) -> str:
    """A module with `predict(row)`, `scores(row)` and, unless the classes have none, `probabilities(row)`."""
    return _module(formula, PYTHON, "z[0]", formula.spelling.python)


def torch_source(formula: Formula) -> str:
    """A module with `Linear`, an `nn.Module`."""
    return _module(formula, TORCH, "z[:, 0]", formula.spelling.torch)


def _module(formula: Formula, template: str, z: str, link: str) -> str:
    """A template filled in; `z` is what it calls its first output, and `link` how it writes the mean of that."""
    from descend import __version__

    numbers = {n.name: (n.slope, n.mean, n.flag, n.dated) for n in formula.numbers}
    categories = {c.name: (c.levels, c.missing, c.unknown, c.lower) for c in formula.categories}
    return template.format(
        target=repr(formula.target).replace("\\", " ").replace('"', "'"),
        version=__version__,
        intercept=formula.intercept,
        numbers=pformat(numbers, width=110, sort_dicts=False),
        categories=pformat(categories, width=110, sort_dicts=False),
        classes=None if formula.classes is None else pformat(formula.classes, width=110),
        missing=formula.texts or ("",),
        cells=CELLS.strip() + "\n",
        mean=link.format(z=z) if formula.classes is None else z,
        shares=_shares(formula, link.format(z=z)),
    )


def _shares(formula: Formula, mean: str) -> str:
    """The function of the probabilities in Python: none where the classes have none."""
    if formula.classes is None or not formula.probabilities:
        return ""
    if formula.link in ("identity", "logit", "softmax"):
        return SOFTMAX_SHARES
    return LINK_SHARES.replace("MEAN", mean)


def sql_source(formula: Formula) -> str:
    """One SELECT over a table named `data`, in the SQL that DuckDB and PostgreSQL share.

    Missing cells are NULL (or NaN); columns of numbers must have a type of numbers.
    """
    target = " ".join(formula.target.split())
    head = f"-- Predicts {target}. Written by descend; replace `data` by your table.\n"
    sums = [_sum(formula, k) for k in range(formula.outputs)]
    if formula.classes is None and formula.link == "identity":
        return f"{head}SELECT *,\n  {sums[0]} AS prediction\nFROM data\n"
    names = [f"descend_z{k}" for k in range(formula.outputs)]
    inner = ",\n  ".join(f"{total} AS {name}" for total, name in zip(sums, names, strict=True))
    outer = ",\n  ".join(_columns_sql(formula, names))
    fence = "OFFSET 0  -- or PostgreSQL would write each sum out wherever it is named\n"
    return f"{head}SELECT *,\n  {outer}\nFROM (SELECT *,\n  {inner}\nFROM data\n{fence}) AS scored\n"


def _columns_sql(formula: Formula, names: list[str]) -> list[str]:
    """The prediction, and a probability for each class, from columns of the linear predictor."""
    z, mean = names[0], formula.spelling.sql
    if formula.classes is None:
        return [f"{mean.format(z=z)} AS prediction"]
    labels = [_literal(label) for label in formula.classes]
    if formula.outputs == 1:
        choice = f"CASE WHEN {z} > 0 THEN {labels[1]} WHEN {z} <= 0 THEN {labels[0]} END"
        second = mean.format(z=z)
        shares = [f"1e0 - {second}", second]
    else:
        best = f"GREATEST({', '.join(names)})"
        whens = " ".join(f"WHEN {z} = {best} THEN {label}" for z, label in zip(names, labels, strict=True))
        choice = f"CASE {whens} END"
        odds = [f"EXP(CASE WHEN {z} - {best} < -700e0 THEN -700e0 ELSE {z} - {best} END)" for z in names]
        shares = [f"{share} / ({' + '.join(odds)})" for share in odds]
    listed = [
        f"{share} AS {_name(f'probability:{label}')}"
        for share, label in zip(shares, formula.classes, strict=True)
        if formula.probabilities
    ]
    return [f"{choice} AS prediction", *listed]


def _sum(formula: Formula, k: int) -> str:
    """Output k of the linear predictor."""
    terms = [_literal(formula.intercept[k])]
    terms += [_number_sql(term, k) for term in formula.numbers]
    terms += [_category_sql(formula, term, k) for term in formula.categories]
    return "\n  + ".join(terms)


def _number_sql(term: NumberTerm, k: int) -> str:
    cell = _name(term.name)
    value = f"CAST({cell} AS DOUBLE PRECISION)"
    if term.dated:
        value = f"(EXTRACT(EPOCH FROM CAST({cell} AS TIMESTAMP)) / 86400e0)"
    product = f"{_literal(term.slope[k])} * {value}"
    if term.mean is None:
        return product
    absent = f"{cell} IS NULL" + ("" if term.dated else f" OR {value} = CAST('NaN' AS DOUBLE PRECISION)")
    return f"CASE WHEN {absent} THEN {_literal(term.slope[k] * term.mean + term.flag[k])} ELSE {product} END"


def _category_sql(formula: Formula, term: CategoryTerm, k: int) -> str:
    cell = f"CAST({_name(term.name)} AS VARCHAR)"
    cell = f"LOWER({cell})" if term.lower else cell
    worths = {level: worth[k] for level, worth in term.levels.items()}
    worths |= dict.fromkeys(formula.missing_texts(term), term.missing[k])
    others = {level: w for level, w in worths.items() if w != term.unknown[k]}
    whens = "".join(f" WHEN {cell} = {_literal(level)} THEN {_literal(w)}" for level, w in others.items())
    return f"CASE WHEN {cell} IS NULL THEN {_literal(term.missing[k])}{whens} ELSE {_literal(term.unknown[k])} END"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Any) -> str:
    """A value as SQL: doubles with an exponent, so that they are not taken for decimals."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        text = repr(value)
        return text if "e" in text else f"{text}e0"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _onnx(formula: Formula) -> bytes:
    from descend.models.onnx import onnx_model

    return onnx_model(formula)


WRITERS: dict[str, Callable[[Formula], str | bytes]] = {
    "onnx": _onnx,
    "torch": torch_source,
    "sql": sql_source,
    "python": python_source,
}
SUFFIXES = {"onnx": ".onnx", "torch": ".torch.py", "sql": ".sql", "python": ".py"}
"""What follows the name of the model in the name of the file."""
