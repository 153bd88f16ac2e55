"""The model: what a fit leaves behind, saved as one versioned JSON file. No pickle.

`Model.save` and `load` keep every bit of the weights (JSON writes the shortest decimal that reads
back as the same float), so a loaded model predicts exactly as before.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from descend.doors import door
from descend.engines.arrays import check_matrix, check_offset, roundings
from descend.engines.blocks import Block, leaf_rows
from descend.engines.matrix import Array, Float, Matrix, empty_like, like_tensor, take_rows
from descend.errors import DataError, DescendError, DescendWarning, ModelFileError, ShapeError
from descend.files import replacing
from descend.models.covariance import MOST_KEPT, Uncertainty, reach_of
from descend.objectives.losses import LOSSES, Loss, loss_from_dict
from descend.objectives.penalties import described
from descend.objectives.statistics import linear_predictor

FORMAT, VERSION = "descend-model", 1


@dataclass(frozen=True)
class Model:
    """Weights and what they mean: enough to predict, to be shown and to be saved.

    `loss` is what was minimised. `weights`, of shape (features,) or (features, outputs), are those of the descent
    (standardised where there is an `encoding` of a table), one for each of `feature_names` and, with `intercept`, one
    more, the last; `classes` are the labels in the order of their codes; `facts` what is worth keeping about the
    fit, plain values.

    >>> import descend
    >>> model = descend.fit("examples/penguins.csv", target="species").model
    >>> model.classes
    ('Adelie', 'Chinstrap', 'Gentoo')
    >>> model.predict("examples/penguins.csv")[-3:].tolist()
    ['Chinstrap', 'Chinstrap', 'Chinstrap']
    """

    loss: Loss
    weights: Float
    intercept: bool
    feature_names: tuple[str, ...]
    classes: tuple[Any, ...] | None = None
    encoding: Any | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    offset: str | None = None
    """What is added to the linear predictor of each row: a column of the table, or "offset" beside arrays."""
    uncertainty: Uncertainty | None = field(default=None, repr=False)
    """How far the weights may be off by chance, where that is known."""

    def predict(self, data: Any, offset: Any = None) -> Any:
        """The mean of a number or count, or the likeliest label, one per row of `data`.

        `data` is an array of shape (rows, features), or a table where the model was fitted on one. A tensor gives
        a tensor of its dtype. `offset`, shape (rows,), is what was added to the linear predictor of arrays in the fit; a
        table brings its own column. Warns of texts in a column of numbers, which count as missing, and of levels that the
        model has never seen, which count as the reference.
        """
        found = np.concatenate([self.decide(z) for z in self._predictors(data, offset)])
        return like_tensor(found, empty_like(data))

    def predict_probabilities(self, data: Any, offset: Any = None) -> Any:
        """One probability per class for each row of `data`, shape (rows, classes), in the order of `classes`.

        `offset` is that of `predict`.

        Raises `DescendError` where the model predicts numbers, and where its loss knows no probabilities.
        """
        if self.classes is None:
            raise DescendError("`predict_probabilities` needs a classification; this model predicts numbers.")
        if not self.has_probabilities:
            raise DescendError(
                f"`predict_probabilities` needs a loss of probabilities, logistic for example; {self.loss.title} has none."
            )
        found = np.concatenate([self.probabilities(z) for z in self._predictors(data, offset)])
        return like_tensor(found, empty_like(data))

    def predict_interval(
        self, data: Any, level: float = 0.95, *, of: str = "mean", offset: Any = None
    ) -> Float:
        """Where each prediction may lie by chance: its lower and upper end, shape (rows, 2).

        `level` is the share of chance that it holds. `of` the "mean" (with two classes the probability of the second):
        `z` and its error, back through the link. `of` an "observation", of squared error alone: the residual variance is
        added. NaN where the rows of the fit do not tell. `data` and `offset` are those of `predict`. Raises `DescendError` where there is no covariance.
        Seber and Lee, Linear Regression Analysis (2003), chapter 5.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> descend.fit(x, y, intercept=False).model.predict_interval([[1.0, 1.0]]).round(3).tolist()
        [[5.536, 5.745]]
        """
        self.check_interval(level, of)
        found = [self.interval(X, z, level, of) for X, z in self._rows(data, offset)]
        return np.concatenate([np.empty((0, 2)), *found])

    def check_interval(self, level: float, of: str = "mean") -> None:
        """Raise `DescendError` where there is no interval at this `level`, `of` the "mean" or an "observation"."""
        reach_of(level, None)
        if of not in ("mean", "observation"):
            raise DescendError(f'`of` must be "mean" or "observation", got {of!r}.')
        if self.weights.ndim == 2:
            raise DescendError(
                "there are no intervals for several classes: `summary()` has those of coefficients."
            )
        if self.uncertainty is None:
            raise DescendError(
                "there are no intervals without standard errors: `Run.summary()` and `descend show` say why there are none."
            )
        if of == "observation" and not self.loss.closed_form:
            raise DescendError(
                f'an interval of an "observation" needs squared error; the loss is {self.loss.name}. Take that of the "mean".'
            )

    def interval(self, X: Matrix, z: Float, level: float, of: str = "mean") -> Float:
        """The interval of encoded rows `X` whose linear predictor is `z`, shape (rows, 2).

        `level` and `of` are those of `predict_interval`.
        """
        assert self.uncertainty is not None
        errors = self.uncertainty.of_rows(X)
        if of == "observation":
            counted, deviance = self.facts["counted"], self.facts["goodness"]["deviance"]
            errors = np.sqrt(errors**2 + deviance / (counted["rows"] - counted["rank"]))
        reach = reach_of(level, self.uncertainty.freedom) * errors
        return np.column_stack([self.loss.link.inverse(end) for end in (z - reach, z + reach)])

    @property
    def has_probabilities(self) -> bool:
        """Whether it gives a probability to each class."""
        return self.classes is not None and self.loss.link.probabilities

    def decide(self, z: Float) -> Array:
        """Predictions from the linear predictor `z`, of shape (rows,) or (rows, classes)."""
        if self.classes is None:
            return self.loss.link.inverse(z)
        codes = (z > 0).astype(np.intp) if z.ndim == 1 else z.argmax(axis=1)
        return np.asarray(np.array(self.classes)[codes])

    def probabilities(self, z: Float) -> Float:
        """Class probabilities from the linear predictor `z`, of shape (rows,) or (rows, classes)."""
        p = self.loss.link.inverse(z)
        return np.column_stack([1.0 - p, p]) if p.ndim == 1 else p

    def linear_predictor(self, X: Matrix, offset: Array | None = None) -> Float:
        """`z = X @ w` of encoded rows, plus their `offset`."""
        return linear_predictor(Block(X, np.empty(0), None, offset), self.weights, self.intercept)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that it predicts from."""
        assert self.encoding is not None
        return tuple(self.encoding.names if self.offset is None else (*self.encoding.names, self.offset))

    def _predictors(self, data: Any, offset: Any) -> Iterator[Float]:
        return (z for _, z in self._rows(data, offset))

    def _rows(self, data: Any, offset: Any) -> Iterator[tuple[Matrix, Float]]:
        """Some encoded rows at a time, and their linear predictor."""
        if self.encoding is None:
            X = self._check(data)
            offset = offset_given(offset, self.offset is not None, X.shape[0])
            for start in range(0, X.shape[0], leaf_rows(X.shape[1])):
                rows = slice(start, start + leaf_rows(X.shape[1]))
                taken = take_rows(X, rows)
                yield taken, self.linear_predictor(taken, None if offset is None else offset[rows])
            return
        if offset is not None:
            raise DescendError(
                "`offset` goes with arrays: this model takes it from the table, if it has one."
            )
        from descend.tables.cells import Unknowns, offsets_of
        from descend.tables.encoding import open_encoded
        from descend.tables.table import is_table

        if not is_table(data):
            listed = ", ".join(f"`{name}`" for name in self.encoding.names[:8])
            raise DataError(
                f"this model was fitted on a table: give a file or a frame with the columns {listed}, "
                f"got {type(data).__name__}."
            )
        table, unknowns = (
            open_encoded(data, self.encoding, self.facts.get("missing"), offset=self.offset),
            Unknowns(),
        )
        for piece in table.slices(self.columns, leaf_rows(len(self.encoding.columns))):
            X, found = self.encoding.transform(piece.frame)
            unknowns.merge(found)
            shift = None if self.offset is None else offsets_of(piece, self.offset)
            yield X, self.linear_predictor(X, shift)
        for sentence in unknowns.sentences():
            warnings.warn(sentence, DescendWarning, stacklevel=4)

    def _check(self, data: Any) -> Matrix:
        X = check_matrix(data)
        for sentence in roundings(X):
            warnings.warn(sentence, DescendWarning, stacklevel=4)
        if X.shape[1] != len(self.feature_names):
            raise ShapeError(
                f"`x` has shape {X.shape}, but the model was fitted on {len(self.feature_names)} features: "
                "give one column per feature."
            )
        return X

    @property
    def coefficients(self) -> dict[str, list[float]]:
        """The weights in original units by name, `(intercept)` last: one number for each output."""
        names = (*self.feature_names, *(["(intercept)"] if self.intercept else []))
        if self.encoding is None:
            return dict(zip(names, self.weights.reshape(len(self.weights), -1).tolist(), strict=True))
        listed, intercepts = self.encoding.coefficients(self.weights)
        values = {c.name: list(c.values) for c in listed} | {"(intercept)": list(intercepts)}
        return {name: values[name] for name in names}

    @property
    def contrasts(self) -> dict[str, float]:
        """What has a standard error: each coefficient, of several classes its difference to that of the first class."""
        if self.weights.ndim == 1:
            return {name: values[0] for name, values in self.coefficients.items()}
        labels = self.classes or tuple(range(self.weights.shape[1]))
        return {
            f"{labels[k]}: {name}": values[k] - values[0]
            for k in range(1, len(labels))
            for name, values in self.coefficients.items()
        }

    @property
    def sparsity(self) -> str:
        """How many weights its penalty has made zero, in words; empty where no penalty does.

        The intercept does not count.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> descend.fit(x, y, penalty=descend.L1(0.9)).model.sparsity
        '1 of 2 weights is zero'
        """
        penalty = described(self.facts.get("penalty"))
        if penalty is None or not penalty.kinked:
            return ""
        w = self.weights[: len(self.feature_names)]
        zeros = int(np.count_nonzero(w == 0))
        return (
            f"{zeros:,} of {w.size:,} weight{'' if w.size == 1 else 's'} {'is' if zeros == 1 else 'are'} zero"
        )

    def to_torch(self) -> Any:
        """An `nn.Linear` in float64 that gives the linear predictor of the features in their own units.

        Features are the columns of an array, or those named by `feature_names` for a table: numbers as they
        are in the data (missing ones filled with the mean), flags and dummies as 0 and 1. One output, or one
        per class. The mean is the inverse of the link of it: of a count `layer(x).exp()`. Needs the extra `torch`.
        """
        w = self.weights
        if self.encoding is not None:
            units, centres = self.encoding.units
            w = w.copy()
            w[: len(units)] /= units if w.ndim == 1 else units[:, None]
            if self.intercept:
                w[-1] -= centres @ w[: len(units)]
        return door("to_linear")(w, self.intercept)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to `path` as JSON, whole or not at all.

        Raises `DescendError` where the loss is one of your own that is not in `LOSSES`, where a file finds it by name.
        """
        content = {
            "format": FORMAT,
            "version": VERSION,
            "loss": _told(self.loss),
            "intercept": self.intercept,
            "feature_names": self.feature_names,
            "classes": self.classes,
            "weights": self.weights.tolist(),
            "encoding": None if self.encoding is None else self.encoding.to_dict(),
            "facts": self.facts,
            **({} if self.offset is None else {"offset": self.offset}),
        }
        if self.uncertainty is not None and self.weights.size <= MOST_KEPT:
            content["uncertainty"] = self.uncertainty.to_dict()
        with replacing(path) as temporary:
            temporary.write_text(
                json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
            )


def offset_given(offset: Any, fitted: bool, rows: int) -> Float | None:
    """The offset of arrays to predict from. Raises `DescendError` where only one of fit and prediction has it."""
    if (offset is not None) != fitted:
        raise DescendError(
            "the model was fitted with an `offset`: give one number per row, np.zeros(rows) for none."
            if fitted
            else "`offset` was not there in the fit: leave it out."
        )
    return None if offset is None else check_offset(offset, rows)


def _told(loss: Loss) -> str | dict[str, Any]:
    """A loss as a file tells it: its name, and its settings where it has any."""
    told = loss.to_dict()
    if told["name"] not in LOSSES or loss_from_dict(told) != loss:
        raise DescendError(
            f"a model with the loss {loss.name!r} cannot be saved as JSON: a file names its loss, and this is not one of "
            "LOSSES. Write it as a subclass of Loss, and name it here and wherever the file is loaded: "
            f"`LOSSES[{loss.name!r}] = ...` of descend.objectives.losses."
        )
    return told if len(told) > 1 else loss.name


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that `save` wrote to `path`. Raises `ModelFileError` where the file is something else.

    >>> import descend
    >>> run = descend.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> run.save("line.model.json")
    >>> load("line.model.json").predict([[10.0]]).round(9).tolist()
    [21.0]
    """
    name = str(path)
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ModelFileError(f"cannot read {name!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{name!r} is not a model file: it is not text.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise ModelFileError(f"{name!r} is not a whole model file: {error}. Was it cut short?") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelFileError(f'{name!r} is not a descend model: it lacks `"format": "{FORMAT}"`.')
    if content.get("version") != VERSION:
        raise ModelFileError(
            f"{name!r} has version {content.get('version')!r} of the model format, this descend reads {VERSION}. "
            "Upgrade descend: pip install --upgrade descend."
        )
    try:
        return _from_content(content)
    except ModelFileError as error:
        raise ModelFileError(f"cannot load {name!r}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name!r} is a damaged model file: {error!r}.") from error


def _known(told: str | dict[str, Any]) -> Loss:
    """The loss that a file tells."""
    name = told if isinstance(told, str) else told["name"]
    if name not in LOSSES:
        raise ModelFileError(
            f"it was fitted with the loss {name!r}, and this descend knows {', '.join(LOSSES)}. Upgrade descend; a loss "
            f"of your own is named before it is loaded: `LOSSES[{name!r}] = ...` of descend.objectives.losses."
        )
    return loss_from_dict(told)


def _from_content(content: dict[str, Any]) -> Model:
    encoding = None
    if content["encoding"] is not None:
        from descend.tables.encoding import Encoding

        encoding = Encoding.from_dict(content["encoding"])
    weights = np.array(content["weights"], dtype=np.float64)
    names = tuple(content["feature_names"])
    classes = None if content["classes"] is None else tuple(content["classes"])
    loss = _known(content["loss"])
    outputs = loss.outputs(len(classes or ()))
    shape: tuple[int, ...] = (len(names) + content["intercept"], *([] if outputs is None else [outputs]))
    if weights.shape != shape:
        raise ValueError(f"weights of shape {weights.shape}, but {shape} fits the features and classes")
    if not np.isfinite(weights).all():
        raise ValueError("a weight is missing")
    if encoding is not None and encoding.feature_names != names:
        raise ValueError("the encoding does not give the features named")
    facts, offset, told = content["facts"], content.get("offset"), content.get("uncertainty")
    uncertainty = None if told is None else Uncertainty.from_dict(told)
    if uncertainty is not None and uncertainty.root.shape[1] != weights.size:
        raise ValueError(f"a covariance of {uncertainty.root.shape[1]} weights beside {weights.size}")
    return Model(loss, weights, content["intercept"], names, classes, encoding, facts, offset, uncertainty)
