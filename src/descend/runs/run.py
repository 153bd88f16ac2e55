"""`Run`: what `fit` returns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from descend.descent.first_order import Optimizer
from descend.descent.history import History
from descend.descent.stopping import Outcome
from descend.doors import door
from descend.engines.arrays import ArraySource
from descend.engines.matrix import like_tensor
from descend.errors import DescendError
from descend.models.covariance import Covariance
from descend.models.hypotheses import WaldTest, wald_test
from descend.models.metrics import Metrics
from descend.models.model import Model
from descend.models.summary import Summary, covariance_of, summarise_model
from descend.models.top_losses import TopLosses, top_losses
from descend.objectives.penalties import L2, Penalty
from descend.objectives.quadratic import Quadratic
from descend.objectives.sampled import Sample, sample_of
from descend.runs.problem import Problem, ProblemOptions

if TYPE_CHECKING:
    from descend.pictures.film import Film
    from descend.pictures.plots import Band
    from descend.tables.profiles import Profile


class Origin(NamedTuple):
    """What a problem was made of: the arguments of `Problem.of`."""

    data: Any
    y: Any
    options: ProblemOptions


@dataclass(frozen=True)
class Kept:
    """What a Run keeps of rows that are let go."""

    metrics: dict[str, Metrics] = field(default_factory=dict)
    sample: Sample | None = None
    """At most a thousand training rows."""
    quadratic: Quadratic | None = None
    """Squared error without its rows, where it is small."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Of the columns of numbers, where the squared error is kept."""
    penalty: Penalty = field(default_factory=lambda: L2(0.0))
    """Of the weights of the descent."""


@dataclass(frozen=True)
class Run:
    """What `fit` returns: the weights, how they came about, why the run ended, and what they mean.

    `model` predicts and is saved; `history` has the steps; `outcome` says why the run ended, `optimizer` what made
    it. `rows` counts those in `training`, in `validation` and `without_target`. `notes` are what was decided for the
    user, `warnings` what was left out, in sentences.

    >>> import descend
    >>> run = descend.fit("examples/penguins.csv", target="body_mass_g", valid=0.2)
    >>> print(run)
    converged: the gradient is zero within the tolerance after 1 step, loss 76590.9
    >>> run.rows, round(run.metrics["validation"].values["r2"], 3)
    ({'training': 265, 'validation': 77, 'without_target': 2}, 0.865)
    """

    model: Model
    history: History
    outcome: Outcome
    optimizer: Optimizer
    rows: dict[str, int]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    standard_errors: dict[str, Any] | None = field(default=None, repr=False)
    """Of the coefficients, named like them; None under a penalty, short of the minimum, or of collinear columns."""
    problem: Problem | None = field(default=None, repr=False)
    """Kept for arrays, whose memory is the caller's; None for tables."""
    details: str = ""
    """What the ending means: how far it still was, why it left, which argument to change."""
    origin: Origin | None = field(default=None, repr=False)
    """What the problem was made of, so that it can be made again."""
    standardises: bool = field(default=False, repr=False)
    """Whether arrays were standardised for the descent."""
    kept: Kept | None = field(default=None, repr=False)
    """What is left of a table, whose rows are let go; None for arrays."""
    like: Any = field(default=None, repr=False)
    """An empty tensor of the kind that the rows came in, None where they were no tensors."""

    __hash__ = None  # type: ignore[assignment]  # lists and dicts are among its parts

    @property
    def weights(self) -> Any:
        """The final weights of the descent, the intercept last; standardised for a table, a tensor for tensors."""
        return like_tensor(self.model.weights, self.like)

    @property
    def loss(self) -> float:
        """The final loss, penalty included."""
        return float(self.history.loss[-1])

    @property
    def message(self) -> str:
        """How the run ended, and what that means."""
        return f"{self.outcome.value}. {self.details}" if self.details else self.outcome.value

    @cached_property
    def metrics(self) -> dict[str, Metrics]:
        """Metrics of the "training" and, where rows were held out, the "validation" rows."""
        if self.kept is not None or self.problem is None:
            return {} if self.kept is None else self.kept.metrics
        try:
            return self.problem.metrics(self.model.weights)
        finally:
            self.problem.close()

    @cached_property
    def sample(self) -> Sample | None:
        """At most a thousand training rows as the descent saw them, for pictures."""
        if self.kept is not None or self.problem is None:
            return None if self.kept is None else self.kept.sample
        return sample_of(self.problem.session.source, self.rows["training"])

    @cached_property
    def quadratic(self) -> Quadratic | None:
        """The squared error as a function of the weights, without any rows; None for other losses."""
        if self.kept is not None or self.problem is None:
            return None if self.kept is None else self.kept.quadratic
        return self.problem.objective.without_rows()

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """What is known about a table's columns of numbers, where its squared error is kept."""
        return {} if self.kept is None else self.kept.profiles

    def animate(self, interval: float | None = None) -> Film:
        """The run as a film, `interval` milliseconds a frame: shows itself in a notebook.

        Unless given, a frame is shown for 20 milliseconds, or longer so that the film takes two seconds.
        `.save("fit.html")` writes it as a page, and so do `.gif`, `.mp4`, `.png` and `.json`. Every step is
        a frame up to 300, beyond that as many, evenly spaced along the path of the weights. Where the
        optimizer needed no steps the walk of gradient descent to the same minimum is shown.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> run = descend.fit(x, y, intercept=False, optimizer=descend.GradientDescent(0.1), steps=100)
        >>> film = run.animate(interval=20)
        >>> film.frames, film.picture
        (101, 'line')
        """
        from descend.pictures.filming import Shown, film_of_fit

        shown = Shown(
            self.model,
            self.history,
            self.optimizer,
            self.loss,
            self.outcome.converged,
            f"{self}. {self.details}" if self.details else str(self),
            self.sample,
            self.quadratic,
            self.problem.objective.penalty if self.problem is not None else (self.kept or Kept()).penalty,
        )
        return film_of_fit(shown, interval)

    def plot(self, *, ax: Any = None) -> Any:
        """The model on (a sample of) the training rows; drawn on `ax` or new Axes, returns them.

        Regression: the data, the fit and the start's line with one feature, else actual against
        predicted with the residuals below. Two classes: the sigmoid with one feature, the boundary with
        two, else a histogram of probabilities by class; more classes: their regions with two features,
        else the probability of the true class. With one feature a band holds the mean, or the probability, with 95 % of
        chance, where there are standard errors.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> run = descend.fit(x, y, intercept=False, start=(0.5, 0.75), optimizer="gradient-descent", steps=50)
        >>> ax = run.plot()
        >>> len(ax.collections[0].get_offsets()), len(ax.lines)
        (100, 2)
        """
        from descend.pictures.plots import plot_model

        film = self.animate()
        return plot_model(film, ax=ax, band=self._band(film))

    def _band(self, film: Film) -> Band | None:
        """The interval of the mean along the one feature of a picture, None where there is none.

        Nothing but that feature varies from row to row: rows between two of the sample are on the line through both.
        """
        from descend.pictures.plots import Band

        shown = film.sample
        if film.picture not in ("line", "curve", "sigmoid") or self.model.uncertainty is None:
            return None
        if shown is None or self.sample is None or len(shown.x) != len(self.sample.y):
            return None
        x = shown.x[:, 0]
        ends = np.array([x.argmin(), x.argmax()])
        low, high = self.sample.X[ends]
        t = np.linspace(-0.04, 1.04, 101)
        X = low + t[:, None] * (high - low)
        interval = self.model.interval(X, self.model.linear_predictor(X), 0.95)
        return Band(x[ends[0]] + t * (x[ends[1]] - x[ends[0]]), *interval.T)

    def plot_loss(self, *, ax: Any = None) -> Any:
        """The training and the validation loss step by step; drawn on `ax` or new Axes, returns them."""
        return self.history.plot_loss(ax=ax)

    def plot_coefficients(self, *, ax: Any = None) -> Any:
        """The weights step by step, the eight that move most; standardised for a table.

        Drawn on `ax` or new Axes, which are returned.
        """
        from descend.pictures.plots import plot_coefficients

        names = (*self.model.feature_names, *(["(intercept)"] if self.model.intercept else []))
        if self.model.weights.ndim == 2:
            names = tuple(f"{name} ({label})" for name in names for label in self.model.classes or ())
        return plot_coefficients(self.history, names=names, ax=ax)

    def surface(self, *, ax: Any = None) -> Any:
        """Contours of the loss over two weights and the path there; drawn on `ax` or new Axes, returns them.

        Exact for two weights; for more a slice through the two that moved most, and said to be one.
        """
        from descend.pictures.plots import plot_surface

        return plot_surface(self.animate(), ax=ax)

    def plot_confusion(self, *, ax: Any = None) -> Any:
        """The confusion matrix of the validation rows, or of the training rows where none are held out.

        Drawn on `ax` or new Axes, which are returned. Raises `DescendError` where there are no classes.
        """
        from descend.pictures.plots import plot_confusion

        metrics = list(self.metrics.values())
        if self.model.classes is None:
            raise DescendError("`plot_confusion` needs a classification; this model predicts numbers.")
        if not metrics or metrics[-1].confusion is None:
            raise DescendError("`plot_confusion` needs metrics, and this run has none.")
        return plot_confusion(metrics[-1].confusion, self.model.classes or (), ax=ax)

    def top_losses(self, count: int = 10) -> TopLosses:
        """The `count` training rows that the model gets most wrong, of a table those of a sample; see `plot_top_losses`.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> worst = descend.fit(x, y, intercept=False).top_losses(2).rows
        >>> [row.row for row in worst], worst[0].loss > worst[1].loss
        ([50, 52], True)
        """
        source = None if self.problem is None else self.problem.session.source
        arrays = source if isinstance(source, ArraySource) else None
        return top_losses(self.model, count, source=arrays, sample=None if arrays else self.sample)

    def plot_top_losses(self, count: int = 10, *, ax: Any = None) -> Any:
        """The `count` training rows that the model gets most wrong, of a table those of a sample.

        Drawn on `ax` or new Axes, which are returned.
        """
        from descend.pictures.plots import plot_top_losses

        worst = self.top_losses(count)
        labels, losses, holds = worst.columns()
        return plot_top_losses(labels, losses, holds, title=f"among {worst.among}", what=worst.what, ax=ax)

    def report(
        self,
        path: str | os.PathLike[str],
        *,
        command: str | None = None,
        label: str = "",
        diagnosis: Any = None,
    ) -> None:
        """Write the report, one self-contained HTML file: metrics, film, diagnosis, coefficients, what went wrong.

        `path` is where; raises `DataError` where it cannot be written. `command` is the line that repeats the run,
        `label` names the data. `diagnosis` is that of the run where there is one already; True makes it, which goes
        through data with classes once more, False leaves it out. Unless given it is there where that costs next to
        nothing: of squared error, and of up to a million numbers.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> descend.fit(x, y, intercept=False).report("line.html")
        """
        door("report")(self, path, command=command, label=label, diagnosis=diagnosis)

    @property
    def coefficients(self) -> dict[str, Any]:
        """Weights in original units by feature name, `(intercept)` last; one per class where there are several."""
        found = self.model.coefficients
        return {k: values if self.model.weights.ndim == 2 else values[0] for k, values in found.items()}

    @property
    def covariance(self) -> Covariance:
        """The covariance of the coefficients in original units, whose roots are their standard errors.

        Raises `DescendError` where there is none, and says why.

        >>> import descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> descend.fit(x, y, intercept=False).covariance.matrix.round(6).tolist()
        [[0.002339, -0.000226], [-0.000226, 0.000881]]
        """
        return covariance_of(self.model)

    def test(self, hypothesis: str) -> WaldTest:
        """Wald's test that equations between coefficients hold, all together: F of squared error, else chi-squared.

        `hypothesis` is "x1 = x2", "2 * x1 - x2 = 3", several with commas, or the name of a column for all of its
        levels at once; names with odd characters may stand in backticks, and of several classes begin with theirs,
        "Gentoo: x1". Raises `DescendError` where it cannot be read, or the rows do not tell of it.

        >>> import descend
        >>> run = descend.fit("examples/penguins.csv", target="body_mass_g")
        >>> print(run.test("island"))
        island: F(2, 331) 0.187307, p 0.8293
        """
        return wald_test(self.model, hypothesis)

    def predict(self, data: Any, offset: Any = None) -> Any:
        """Numbers for a regression, labels for a classification, one for each row of `data`; `offset` as in `Model.predict`."""
        return self.model.predict(data, offset)

    def predict_probabilities(self, data: Any, offset: Any = None) -> Any:
        """One probability per class for each row of `data`; `offset` as there, see `Model.predict_probabilities`."""
        return self.model.predict_probabilities(data, offset)

    def predict_interval(
        self, data: Any, level: float = 0.95, *, of: str = "mean", offset: Any = None
    ) -> Any:
        """Where the mean of each row of `data` may lie by chance, or, by `of`, an observation; shape (rows, 2).

        `level`, `of` and `offset` are those of `Model.predict_interval`.
        """
        return self.model.predict_interval(data, level, of=of, offset=offset)

    def to_torch(self) -> Any:
        """The model as an `nn.Linear`, its scaling folded in; see `Model.to_torch`."""
        return self.model.to_torch()

    @staticmethod
    def from_torch(layer: Any, x: Any, y: Any, *, loss: Any = None, history: History | None = None) -> Run:
        """A linear `layer` trained elsewhere on `x` and `y` as a Run, for its plots, film, report and model file.

        `loss` is squared-error for one output and cross-entropy for several, unless given; `history` is what
        the loop recorded. Raises `ShapeError` where the layer does not fit the rows.

        >>> import torch, descend
        >>> x, y = descend.make_line(100, seed=0)
        >>> run = descend.Run.from_torch(torch.nn.Linear(2, 1, bias=False), x, y)
        >>> run.outcome.name, run.weights.shape
        ('ELSEWHERE', (2,))
        """
        run: Run = door("run_of_layer")(layer, x, y, loss, history)
        return run

    def summary(self, level: float = 0.95) -> Summary:
        """Coefficients with standard errors, intervals at `level`, t or z statistics and p-values.

        Squared error: t, R2, F; other losses: z from the observed information, and the deviance. Where there
        are none it says why. McCullagh and Nelder, Generalized Linear Models (1989). Raises `DescendError`
        for a `level` that is none.
        """
        return summarise_model(self.model, level)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to `path` as JSON; `descend.load` reads it."""
        self.model.save(path)

    def __str__(self) -> str:
        steps = int(self.history.number[-1])
        words = f"{self.outcome.value} after {steps:,} step{'' if steps == 1 else 's'}, loss {self.loss:.6g}"
        return f"{words}, {self.model.sparsity}" if self.model.sparsity else words
