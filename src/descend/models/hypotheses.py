"""Wald's test of linear hypotheses: several combinations of coefficients at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from descend.engines.matrix import Float
from descend.errors import DescendError
from descend.models.covariance import coefficients_of
from descend.models.model import Model

EXAMPLES = '"x1 = x2", "2 * x1 - x2 = 3" or "x1 = 0, x2 = 0"'


@dataclass(frozen=True)
class WaldTest:
    """Whether combinations of coefficients are what a hypothesis says: F with `freedom`, else chi-squared.

    `constraints` is how many equations say something of their own.
    """

    hypothesis: str
    statistic: float
    constraints: int
    freedom: float | None
    """The residual degrees of freedom of F; None where the statistic is chi-squared."""
    p_value: float

    def __str__(self) -> str:
        named = (
            f"chi2({self.constraints})"
            if self.freedom is None
            else f"F({self.constraints}, {self.freedom:.6g})"
        )
        p = "p < 0.0001" if self.p_value < 1e-4 else f"p {self.p_value:.4f}"
        return f"{self.hypothesis}: {named} {self.statistic:.6g}, {p}"


def wald_test(model: Model, hypothesis: str) -> WaldTest:
    """Wald's test that equations between coefficients hold, all together.

    `(R b - r)' (R C R')^-1 (R b - r)`, over the number of equations an F where errors are those of squared error. Raises
    `DescendError` where there is no covariance, where a name is not known, and where the rows do not tell of it. Rao,
    Linear Statistical Inference and Its Applications (1973), section 4b.
    """
    from scipy.special import chdtrc, fdtrc

    found = model.uncertainty
    if found is None:
        raise DescendError("there is no covariance to test with: `summary()` says why.")
    names, values = list(model.contrasts), np.array(list(model.contrasts.values()))
    R, r = independent(hypothesis, *equations(hypothesis, names, owners(model, names)))
    L = found.about_means(R @ coefficients_of(model.weights, model.encoding))
    if not found.estimable(L).all():
        if model.facts.get("separation"):
            raise DescendError(
                f"{hypothesis!r} cannot be tested: the {model.loss.separable} are separated, and a weight in it has no limit. "
                "Fit with a penalty, or leave the column out."
            )
        raise DescendError(
            f"{hypothesis!r} cannot be tested: columns are combinations of each other, and the rows do not tell these "
            "coefficients apart. `summary()` lists them as aliased; leave a column out."
        )
    squares, count = _squares(hypothesis, R @ values - r, found.root @ L.T), len(r)
    if found.freedom is None:
        return WaldTest(hypothesis, squares, count, None, float(chdtrc(count, squares)))
    F = squares / count
    return WaldTest(hypothesis, F, count, found.freedom, float(fdtrc(count, found.freedom, F)))


def overall_test(model: Model) -> WaldTest | None:
    """Wald's test that all coefficients but the intercept are zero, as far as the rows tell them; None without a covariance."""
    found = model.uncertainty
    if found is None or found.endless is not None or model.weights.ndim == 2 or not model.intercept:
        return None
    from scipy.special import fdtrc

    p = len(found.mean)
    _, s, Vt = np.linalg.svd(found.root[:, :p] * found.scale[:p], full_matrices=False)
    count = found.rank - 1
    if not count or count > len(s) or s[count - 1] <= 1e-10 * s[0]:
        return None
    off = Vt[:count] @ (model.weights[:p] * found.scale[:p])
    F = float(np.sum(np.square(off / s[:count]))) / count
    freedom = found.freedom or math.inf
    return WaldTest("all slopes are zero", F, count, freedom, float(fdtrc(count, freedom, F)))


def _squares(hypothesis: str, off: Float, root: Float) -> float:
    """`off' C^-1 off` with `C = root' root`; infinity, or NaN for nothing, where errors are zero."""
    size = np.linalg.norm(root, axis=0)
    if not size.any():
        return math.inf if off.any() else math.nan
    size = np.where(size > 0, size, 1.0)
    _, s, Vt = np.linalg.svd(root / size, full_matrices=False)
    if len(s) < len(off) or s[-1] <= 1e-10 * s[0]:
        raise DescendError(
            f"{hypothesis!r} asks for more at once than these errors know: there are fewer clusters, or rows that are not "
            "fitted exactly, than equations."
        )
    return float(np.sum(np.square(Vt @ (off / size) / s)))


def independent(hypothesis: str, R: Float, r: Float) -> tuple[Float, Float]:
    """The equations `R b = r` less those that others say already. Raises `DescendError` where they contradict."""
    if not R.any():
        raise DescendError(f"{hypothesis!r} says nothing of any coefficient. Write {EXAMPLES}.")
    U, s, Vt = np.linalg.svd(R, full_matrices=False)
    keep = s > 1e-12 * s[0]
    there = U[:, keep].T @ r
    if np.linalg.norm(r - U[:, keep] @ there) > 1e-9 * np.linalg.norm(r):
        raise DescendError(f"{hypothesis!r} contradicts itself: its equations cannot hold together.")
    return Vt[keep], there / s[keep]


def owners(model: Model, names: Sequence[str]) -> dict[str, list[str]]:
    """The coefficients of each column of a table that has several, or of each name with several classes."""
    found: dict[str, list[str]] = {}
    outputs = 1 if model.weights.ndim == 1 else model.weights.shape[1] - 1
    each = model.feature_names if model.encoding is None else model.encoding.owners
    for i, column in enumerate(each):
        step = len(names) // outputs
        found.setdefault(column, []).extend(names[i + k * step] for k in range(outputs))
    return {column: several for column, several in found.items() if column not in names}


SIDE = r"[+-]?TERM([+-]TERM)*".replace("TERM", r"(u\*?n|n(\*u)?|u)")
EQUATION = re.compile(f"{SIDE}(={SIDE})?")
"""Kinds of tokens by a letter: n is a name, u a number."""
TOKEN = re.compile(r"\s*(?:`([^`]*)`|(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([-+*=,]))")


def equations(
    hypothesis: str, names: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> tuple[Float, Float]:
    """`R` and `r` of `R b = r`, one row for each equation; a name alone stands for `name = 0`.

    `names` are those of the coefficients, in their order, `columns` those that stand for several.

    >>> R, r = equations("2 * a - b = 3, b", ["a", "b"], {})
    >>> R.tolist(), r.tolist()
    ([[2.0, -1.0], [0.0, 1.0]], [3.0, 0.0])
    """
    known = sorted([*names, *columns], key=len, reverse=True)
    rows, right = [], []
    for clause in _clauses(hypothesis, known):
        several = columns.get(clause[0][1]) if len(clause) == 1 else None
        if several is not None:
            rows += [[float(name == one) for name in names] for one in several]
            right += [0.0] * len(several)
            continue
        row, constant = _equation(hypothesis, clause, names)
        rows.append(row)
        right.append(0.0 - constant)
    return np.array(rows, dtype=np.float64).reshape(-1, len(names)), np.array(right, dtype=np.float64)


def _clauses(hypothesis: str, known: Sequence[str]) -> list[list[tuple[str, str]]]:
    """The tokens of each equation: ("name" | "number" | "sign", text)."""
    clauses: list[list[tuple[str, str]]] = [[]]
    at, text = 0, hypothesis.rstrip()
    while at < len(text):
        rest = text[at:].lstrip()
        name = next((one for one in known if rest.startswith(one) and _ends(rest[len(one) :])), None)
        found = None if name is not None else TOKEN.match(text, at)
        if name is not None:
            clauses[-1].append(("name", name))
            at = len(text) - len(rest) + len(name)
        elif found is None or (found[1] is not None and found[1] not in known):
            listed = ", ".join(f"`{one}`" for one in known[::-1][:8])
            raise DescendError(
                f"{hypothesis!r}: no coefficient is called {rest!r}. Write {EXAMPLES}; there are {listed}."
            )
        elif found[3] == ",":
            clauses.append([])
            at = found.end()
        else:
            kind = "name" if found[1] is not None else "number" if found[2] is not None else "sign"
            clauses[-1].append((kind, found[1] or found[2] or found[3]))
            at = found.end()
    return [clause for clause in clauses if clause]


def _ends(rest: str) -> bool:
    """Whether a name may end before what follows it."""
    return not rest or not (rest[0].isalnum() or rest[0] in "_.")


def _equation(
    hypothesis: str, clause: list[tuple[str, str]], names: Sequence[str]
) -> tuple[list[float], float]:
    """The coefficients of an equation, everything on the left, and its constant."""
    row, constant, side, sign = [0.0] * len(names), 0.0, 1.0, 1.0
    factor, name = math.nan, ""

    def add() -> None:
        nonlocal constant
        if name:
            row[names.index(name)] += side * sign * (1.0 if math.isnan(factor) else factor)
        elif not math.isnan(factor):
            constant += side * sign * factor

    for kind, text in clause:
        if kind == "number":
            factor = float(text) * (1.0 if math.isnan(factor) else factor)
        elif kind == "name" and text in names and not name:
            name = text
        elif kind == "name":
            raise DescendError(
                f"{hypothesis!r} cannot be read at {text!r}: a column with several coefficients stands alone, and two "
                f"names need a sign between them. Write {EXAMPLES}."
            )
        elif text != "*":
            add()
            factor, name = math.nan, ""
            sign = -1.0 if text == "-" else 1.0
            if text == "=" and side < 0:
                raise DescendError(
                    f"{hypothesis!r} has two signs of equality in an equation. Write {EXAMPLES}."
                )
            side = -1.0 if text == "=" else side
    add()
    if not EQUATION.fullmatch(
        "".join(text if kind == "sign" else {"name": "n", "number": "u"}[kind] for kind, text in clause)
    ):
        raise DescendError(
            f"{hypothesis!r} cannot be read: a sign, a number or a name is missing. Write {EXAMPLES}."
        )
    return row, constant
