"""The errors: what they are caught as, and the two checks of numbers that raise them."""

from __future__ import annotations

import inspect
import math
import pickle
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import descend
from descend import errors
from descend.errors import DescendError, MissingExtraError, check_number, check_whole

KINDS = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
NO_NUMBERS = [
    None,
    "3",
    "",
    b"3",
    True,
    False,
    [3],
    {},
    3j,
    object,
    float("nan"),
    float("inf"),
    -float("inf"),
]


def above_zero(value):
    return check_number("alpha", value, "a number above 0", lambda number: number > 0)


def test_every_error_is_a_descend_error_and_a_value_error():
    for kind in KINDS:
        assert kind is descend.DescendWarning or issubclass(kind, DescendError)
    assert issubclass(DescendError, ValueError)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_say_what_they_are_and_keep_their_words_between_processes(kind):
    assert kind.__doc__
    copy = pickle.loads(pickle.dumps(kind("what is wrong")))
    assert (type(copy), str(copy)) == (kind, "what is wrong")


def test_a_missing_extra_is_caught_as_an_import_that_failed():
    with pytest.raises(ImportError, match="pip install"):
        raise MissingExtraError("pip install 'descend[torch]'")


@given(
    value=st.integers(-(10**30), 10**30) | st.floats() | st.fractions() | st.decimals(-20, 20, places=1),
    least=st.integers(-5, 5),
)
def test_whole_numbers_from_the_least_on_and_nothing_else_are_whole(value, least):
    """Fractions compare exactly, whatever the kind of number is."""
    finite = math.isfinite(value)
    if finite and Fraction(value).denominator == 1 and Fraction(value) >= least:
        found = check_whole("steps", value, least)
        assert type(found) is int
        assert found == Fraction(value)
    else:
        with pytest.raises(DescendError, match=f"`steps` must be a whole number of at least {least}, got"):
            check_whole("steps", value, least)


@pytest.mark.parametrize(
    "value", [3, 3.0, np.int8(3), np.uint64(3), np.float32(3), np.array(3), Fraction(3), Decimal(3)], ids=repr
)
def test_any_kind_of_three_is_three(value):
    assert (check_whole("steps", value), type(check_whole("steps", value))) == (3, int)
    assert (above_zero(value), type(above_zero(value))) == (3.0, float)


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, np.bool_(True), np.array(True), np.array([1, 2]), np.array("3")], ids=repr
)
def test_what_is_no_number_is_refused_with_its_name_and_its_value(value):
    for check, rule in (
        (lambda: check_whole("steps", value), "a whole number of at least 1"),
        (lambda: above_zero(value), "a number above 0"),
    ):
        with pytest.raises(DescendError, match=re.escape(f"must be {rule}, got {value!r}.")):
            check()


@given(st.floats() | st.integers(-5, 5))
def test_numbers_that_are_finite_and_allowed_pass_unchanged(value):
    if math.isfinite(value) and value > 0:
        assert above_zero(value) == value
    else:
        with pytest.raises(DescendError, match=r"`alpha` must be a number above 0, got"):
            above_zero(value)


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_whole_numbers_beyond_floats_are_whole_but_no_number(value):
    assert check_whole("seed", value, least=value) == value
    with pytest.raises(DescendError, match="`alpha` must be a number above 0"):
        above_zero(value)


def test_the_message_tells_whose_setting_it_is():
    with pytest.raises(DescendError, match=r"^`steps` of Adam must be a whole number of at least 2, got 1.$"):
        check_whole("steps", 1, 2, " of Adam")
    with pytest.raises(DescendError, match=r"^`rate` of Adam must be below 1, got 1.5.$"):
        check_number("rate", 1.5, "below 1", lambda rate: rate < 1, " of Adam")
