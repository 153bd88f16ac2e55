"""descend fits linear models by gradient descent, and lets you watch it happen.

Names are resolved when first used (PEP 562): `import descend` itself imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Adam": "optimizers",
    "Block": "blocks",
    "Cluster": "cluster",
    "Columns": "problem",
    "Constant": "schedules",
    "Cosine": "schedules",
    "CrossEntropy": "losses",
    "DescendError": "errors",
    "DescendWarning": "errors",
    "Diagnosis": "diagnosis",
    "Exact": "second_order",
    "Film": "film",
    "GradientDescent": "optimizers",
    "History": "history",
    "HistoryCallback": "learner",
    "InverseTime": "schedules",
    "L2": "penalties",
    "LBFGS": "lbfgs",
    "LearningRates": "rates",
    "LinearClassifier": "estimators",
    "LinearRegressor": "estimators",
    "LocalSteps": "local_steps",
    "LogisticLoss": "losses",
    "Model": "modelfile",
    "Moments": "moments",
    "Newton": "second_order",
    "Objective": "objective",
    "OneCycle": "schedules",
    "Outcome": "stopping",
    "Problem": "problem",
    "Processes": "processes",
    "Run": "run",
    "Serial": "engines",
    "SquaredError": "losses",
    "Step": "history",
    "Threads": "engines",
    "Torch": "autograd",
    "TorchLoss": "autograd",
    "Trajectory": "trajectory",
    "cross_entropy": "losses",
    "diagnose": "diagnosis",
    "export": "codegen",
    "fit": "fitting",
    "load": "modelfile",
    "lr_find": "rates",
    "make_line": "datasets",
    "mse": "losses",
    "path": "trajectory",
    "plot": "plots",
    "predict": "statistics",
    "steps": "descent",
    "style": "plots",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'descend' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"descend.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
