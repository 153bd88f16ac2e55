"""Orders: names and values in place of code."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from descend.engines.moments import Moments
from descend.engines.worker import TaskSpec, packed, unpacked
from descend.errors import DescendError
from descend.objectives.losses import LOSSES
from descend.objectives.penalties import L2
from descend.objectives.statistics import HessianSum, RowNorms


@dataclass(frozen=True)
class Mine:
    settings: dict


@pytest.mark.parametrize(
    "what", [Moments, RowNorms(True), HessianSum(LOSSES["logistic"], False), Mine({"a": L2(3)})]
)
def test_what_is_ordered_is_made_again(what):
    made, params, leaves = unpacked(packed(TaskSpec.of(what, np.arange(3.0), frozenset({4}))))
    assert made == what
    assert (params.tolist(), leaves) == ([0.0, 1.0, 2.0], {4})


def test_names_are_all_that_is_said_of_the_code():
    order = TaskSpec.of(RowNorms(True))
    assert order == ("descend.objectives.statistics:RowNorms", {"intercept": True}, None, None)
    assert b"code" not in packed(order)


def test_functions_and_hidden_classes_have_no_name():
    @dataclass
    class Hidden:
        pass

    for what in (lambda block: 1, len, Hidden(), Hidden, object()):
        with pytest.raises(DescendError, match="dataclasses at the top of a module"):
            TaskSpec.of(what)


def test_values_that_cannot_leave_are_refused():
    with pytest.raises(DescendError, match="not in a function and not as a lambda"):
        packed(TaskSpec.of(Mine({"f": lambda z: z})))


@pytest.mark.parametrize("name", ["no_such_module:Thing", "descend.objectives.statistics:NoSuch"])
def test_code_that_is_not_here_is_told(name):
    with pytest.raises(DescendError, match="a worker cannot import what it is to do"):
        unpacked(pickle.dumps(TaskSpec(name, {})))
