"""Who gets which parts: every part once, even shares, and no move that an even share does not ask for."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.engines.connections import Assignment

ROWS = st.lists(st.integers(1, 1_000), max_size=60)
MEMBERS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 4), min_size=1)


def load(rows, numbers):
    return sum(rows[number] for number in numbers)


@settings(max_examples=100)
@given(rows=ROWS, history=st.lists(MEMBERS, min_size=1))
def test_every_part_has_one_worker_whoever_comes_and_goes(rows, history):
    shares = Assignment(rows)
    for members in history:
        held = shares.over(members)
        assert sorted(number for numbers in held.values() for number in numbers) == list(range(len(rows)))
        assert set(held) <= set(members)


@settings(max_examples=100)
@given(rows=ROWS, threads=MEMBERS, data=st.data())
def test_shares_are_even_up_to_a_part_and_everyone_keeps_what_is_within_its_own(rows, threads, data):
    shares, before, largest = Assignment(rows), {}, max(rows, default=0)
    subsets = st.sets(st.sampled_from(sorted(threads)), min_size=1)
    for names in data.draw(st.lists(subsets, min_size=1, max_size=5)):
        after = shares.over({name: threads[name] for name in names})
        for name in names:
            even = sum(rows) * threads[name] / sum(threads[other] for other in names)
            mine, had = after.get(name, ()), before.get(name, ())
            kept = set(mine) & set(had)
            assert load(rows, mine) <= even + largest
            assert kept == set(had) or load(rows, kept) >= even - largest / 2
        before = after


@settings(max_examples=100)
@given(each=st.integers(0, 9), members=MEMBERS)
def test_equal_parts_that_can_be_shared_out_evenly_are_in_contiguous_runs(each, members):
    held, start = Assignment([7] * (each * sum(members.values()))).over(members), 0
    for worker in sorted(members):
        stop = start + each * members[worker]
        assert held.get(worker, ()) == tuple(range(start, stop))
        start = stop


def test_parts_are_contiguous_at_first_and_in_proportion_to_the_threads():
    assert Assignment([1] * 9).over({"b": 2, "a": 1}) == {"a": (0, 1, 2), "b": (3, 4, 5, 6, 7, 8)}


def test_large_parts_count_for_more():
    assert Assignment([90, 10, 10, 30, 40]).over({"a": 1, "b": 1}) == {"a": (0,), "b": (1, 2, 3, 4)}


def test_a_lost_worker_moves_only_its_own_parts():
    shares = Assignment([1] * 12)
    before = shares.over({"a": 1, "b": 1, "c": 1})
    after = shares.over({"a": 1, "c": 1})
    assert set(before["a"]) <= set(after["a"])
    assert set(before["c"]) <= set(after["c"])


@pytest.mark.parametrize("names", list(itertools.permutations("abc")), ids="".join)
def test_the_order_in_which_workers_are_named_does_not_matter(names):
    assert list(Assignment([3, 1, 4, 1, 5]).over(dict.fromkeys(names, 1)).items()) == [
        ("a", (0, 1)),
        ("b", (2, 3)),
        ("c", (4,)),
    ]


def test_without_a_change_of_workers_nothing_moves():
    shares = Assignment([1] * 8)
    before = shares.over({"a": 1, "b": 1})
    assert shares.over({"b": 1, "a": 1}) == before


def test_a_part_larger_than_any_share_goes_where_most_room_is():
    assert Assignment([10, 1_000, 10]).over({"a": 1, "b": 2, "c": 1}) == {"a": (0,), "b": (1,), "c": (2,)}


def test_who_finds_nothing_to_do_is_not_named():
    assert Assignment([5]).over({"a": 1, "b": 1}) == {"a": (0,)}
    assert Assignment([]).over({"a": 1, "b": 1}) == {}
