"""Keyword arguments that `fit` does not have: the place where each belongs is named, and works."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import descend
from descend import DescendError
from descend.descent.choose import OPTIMIZERS
from descend.runs.fitting import check_settings
from descend.runs.problem import ProblemOptions

X, Y = descend.make_line(20, seed=0)
OWN = inspect.signature(descend.fit).parameters
KNOWN = sorted({*OWN, *inspect.signature(descend.Problem.of).parameters} - {"problem", "data", "y"})
SETTINGS = sorted({f.name for kind in OPTIMIZERS.values() for f in fields(kind)} - {*KNOWN})


def told(*names):
    with pytest.raises(DescendError) as caught:
        descend.fit(X, Y, **dict.fromkeys(names, 1))
    return str(caught.value)


MISTAKES = {
    "a setting of the optimizer": (
        {"learning_rate": 0.1},
        r"no parameter `learning_rate`\. It is a setting .* optimizer=descend\.GradientDescent\(learning_rate=",
    ),
    "a slip of the pen": ({"penality": 1}, "`penality`. Did you mean `penalty`"),
    "a British optimizer": ({"optimiser": "adam"}, r"`optimiser`\. Did you mean `optimizer`\?"),
    "a capital": ({"Loss": "logistic"}, r"`Loss`\. Did you mean `loss`\?"),
    "no such thing": ({"zzz": 1}, "`zzz`. It takes target, loss, penalty"),
    "what only the class of an optimizer has": ({"first_order": 1}, "`first_order`. It takes target"),
    "what Python calls the rest": ({"problem": 3}, "`fit` has no parameter `problem`"),
    "every -1": ({"every": -1}, "`every` must be a whole number of at least 0, got -1"),
    "every half a step": ({"every": 0.5}, "`every` must be a whole number of at least 0, got 0.5"),
}


@pytest.mark.parametrize(("mistake", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_and_told_how_to_mend(mistake, message):
    with pytest.raises(DescendError, match=message):
        descend.fit(X, Y, **mistake)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_an_optimizer_is_taken_where_it_is_said_to_belong(name):
    kind = getattr(descend, re.search(r"optimizer=descend\.(\w+)\(", told(name))[1])
    assert kind(**{name: getattr(kind(), name)}) == kind()


def test_what_is_unknown_is_answered_with_all_that_is_known():
    listed = re.search(r"It takes (.*)\.$", told("zzz"))[1].split(", ")
    assert set(KNOWN) <= set(listed)
    assert "problem" not in listed
    assert len(listed) == len(set(listed))


def test_of_several_mistakes_the_first_one_is_named():
    assert "`zzz`" in told("zzz", "qqq", "penality")
    assert "`penality`" in told("penality", "zzz", "qqq")


@settings(max_examples=60)
@given(name=st.sampled_from([name for name in KNOWN if len(name) >= 5]), data=st.data())
def test_a_letter_too_few_or_two_that_changed_places_lead_to_the_name(name, data):
    i = data.draw(st.integers(1, len(name) - 2))
    slip = data.draw(
        st.sampled_from([name[:i] + name[i + 1 :], name[:i] + name[i + 1] + name[i] + name[i + 2 :]])
    )
    if slip not in KNOWN:
        with pytest.raises(DescendError, match=f"`{slip}`. Did you mean `{name}`"):
            check_settings({slip: 1}, None)


def test_what_fit_and_problems_have_passes():
    for every in (None, 0, 3, np.int64(2)):
        check_settings(dict.fromkeys(ProblemOptions.__annotations__), every)
