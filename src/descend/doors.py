"""Doors: the few places where a room calls one that stands later, by name and when it is called.

Rooms import only what stands before them (`tests/test_order.py`). A loss made of a torch function, the film
of a History or the report of a Run belong to later rooms all the same; each such way is listed here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

DOORS = {
    "torch_loss": "interfaces.torch_loss",  # `loss=` is a function of torch tensors, or a formula is given tensors
    "torch_engine": "interfaces.torch_engine:Torch",  # `x` is a tensor on a device of its own
    "to_linear": "interfaces.torch_layers:to_linear",  # a model as an nn.Linear
    "run_of_layer": "interfaces.torch_layers:run_of_layer",  # a layer that was trained elsewhere as a Run
    "film_of_history": "pictures.filming:film_of_history",
    "plots": "pictures.plots",  # of a History
    "report": "diagnosis.report:write_report",  # of a Run
}


def door(name: str) -> Any:
    """What stands behind a door: an attribute of a module, or a module.

    >>> door("plots").__name__
    'descend.pictures.plots'
    """
    module, _, attribute = DOORS[name].partition(":")
    found = import_module(f"descend.{module}")
    return getattr(found, attribute) if attribute else found
