"""descend fits linear models by gradient descent, and lets you watch it happen.

Names are resolved when first used (PEP 562): `import descend` itself imports nothing heavy. `from descend import *`
gives the names that can be had here; one that needs an extra which is not installed raises `MissingExtraError`,
an ImportError that says what to install, when it is asked for by name.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Adam": "descent.first_order",
    "Block": "engines.blocks",
    "Cluster": "engines.cluster",
    "Columns": "runs.prepared",
    "Constant": "descent.schedules",
    "Cosine": "descent.schedules",
    "CrossEntropy": "objectives.losses",
    "DescendError": "errors",
    "DescendWarning": "errors",
    "Diagnosis": "diagnosis.diagnosis",
    "ElasticNet": "objectives.penalties",
    "Exact": "descent.choose",
    "Film": "pictures.film",
    "GradientDescent": "descent.first_order",
    "History": "descent.history",
    "HistoryCallback": "interfaces.fastai",
    "HuberLoss": "objectives.losses",
    "InverseTime": "descent.schedules",
    "L1": "objectives.penalties",
    "L2": "objectives.penalties",
    "LBFGS": "descent.lbfgs",
    "LearningRates": "runs.explore",
    "LinearClassifier": "interfaces.sklearn",
    "LinearRegressor": "interfaces.sklearn",
    "LocalSteps": "descent.local_sgd",
    "LogisticLoss": "objectives.losses",
    "Loss": "objectives.losses",
    "Model": "models.model",
    "Moments": "engines.moments",
    "Newton": "descent.newton",
    "Objective": "objectives.objective",
    "OneCycle": "descent.schedules",
    "Optimizer": "descent.first_order",
    "Outcome": "descent.stopping",
    "Penalty": "objectives.penalties",
    "PoissonLoss": "objectives.losses",
    "Problem": "runs.problem",
    "Processes": "engines.processes",
    "ProximalGradient": "descent.proximal",
    "Run": "runs.run",
    "Serial": "engines.engine",
    "SquaredError": "objectives.losses",
    "Step": "descent.history",
    "Threads": "engines.engine",
    "Torch": "interfaces.torch_engine",
    "TorchLoss": "interfaces.torch_loss",
    "Trajectory": "descent.trajectory",
    "cross_entropy": "objectives.losses",
    "diagnose": "diagnosis.diagnosis",
    "export": "models.codegen",
    "fit": "runs.fitting",
    "load": "models.model",
    "lr_find": "runs.explore",
    "make_line": "datasets",
    "mse": "objectives.losses",
    "path": "runs.explore",
    "plot": "pictures.plots",
    "predict": "objectives.statistics",
    "steps": "descent.steps",
    "style": "pictures.plots",
}

_NEEDS = {
    "interfaces.fastai": "fastai",
    "interfaces.sklearn": "sklearn",
    "interfaces.torch_engine": "torch",
    "interfaces.torch_loss": "torch",
}
"""The library that a module cannot be imported without."""


def _can_be_had(name: str) -> bool:
    library = _NEEDS.get(_HOME[name])
    return library is None or find_spec(library) is not None


__all__ = ["__version__", *filter(_can_be_had, _HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'descend' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"descend.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOME])
