"""The cache of a worker: what it keeps within its budget, and whose values it drops."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descend.engines.worker import Cache, Shelf

ACTIONS = st.tuples(
    st.sampled_from(["put", "get", "pop", "forget"]),
    st.sampled_from("abc"),
    st.integers(0, 4),
    st.integers(0, 7),
)


def filled(budget, *items):
    cache = Cache(budget)
    for run, key, size in items:
        assert cache.put(run, key, f"{run}{key}", size)
    return cache


def kept(cache, *places):
    """Which places have a value; asking renews them, so it is asked once, at the end."""
    return [place for place in places if cache.get(*place) is not None]


@settings(max_examples=150)
@given(budget=st.integers(0, 12), actions=st.lists(ACTIONS, max_size=40))
def test_it_is_an_ordinary_dictionary_that_drops_the_oldest_of_other_runs(budget, actions):
    """Beside a plain list of `(run, key, value, size)`, the least recently used first."""
    cache, model = Cache(budget), []

    def take(run, key):
        found = [item for item in model if item[:2] == (run, key)]
        for item in found:
            model.remove(item)
        return found[0] if found else None

    for number, (action, run, key, size) in enumerate(actions):
        if action == "put":
            present = any(item[:2] == (run, key) for item in model)
            own = sum(item[3] for item in model if item[0] == run)
            assert cache.put(run, key, number, size) is (present or own + size <= budget)
            if not present and own + size <= budget:
                while sum(item[3] for item in model) + size > budget:
                    model.remove(next(item for item in model if item[0] != run))
                model.append((run, key, number, size))
        elif action == "forget":
            cache.forget(run)
            model[:] = [item for item in model if item[0] != run]
        else:
            item = take(run, key)
            assert getattr(cache, action)(run, key) == (item and item[2])
            if item and action == "get":
                model.append(item)
        assert cache.held == sum(item[3] for item in model) <= budget
        assert len(cache) == len(model)


def test_what_other_runs_used_least_recently_goes_first():
    cache = filled(3, ("a", 0, 1), ("b", 0, 1), ("a", 1, 1))
    assert cache.get("a", 0) == "a0"
    assert cache.put("new", 0, "x", 1)
    assert kept(cache, ("a", 0), ("b", 0), ("a", 1)) == [("a", 0), ("a", 1)]
    assert cache.put("new", 1, "x", 1)
    assert kept(cache, ("a", 0), ("a", 1), ("new", 0), ("new", 1)) == [("a", 1), ("new", 0), ("new", 1)]


def test_a_value_without_room_drops_nothing():
    cache = filled(10, ("old", 0, 4), ("own", 0, 6))
    assert not cache.put("own", 1, "x", 5)
    assert not cache.put("third", 0, "x", 11)
    assert kept(cache, ("old", 0), ("own", 0)) == [("old", 0), ("own", 0)]


def test_a_value_of_exactly_the_budget_fits():
    cache = filled(10, ("old", 0, 4), ("old", 1, 6))
    assert cache.put("new", 0, "x", 10)
    assert (len(cache), cache.held) == (1, 10)


def test_what_is_kept_already_stays_as_it_is():
    cache = filled(10, ("a", 0, 4))
    assert cache.put("a", 0, "another value", 100)
    assert (cache.get("a", 0), cache.held) == ("a0", 4)


def test_a_second_pass_over_more_rows_than_fit_finds_those_of_the_first():
    """Dropping the least recently used would find none of them."""
    cache, hits = Cache(5), []
    for _ in range(3):
        hits.append(0)
        for part in range(8):
            hits[-1] += cache.get("run", part) is not None
            cache.put("run", part, part, 1) if cache.get("run", part) is None else None
    assert hits == [0, 5, 5]


def test_room_that_is_given_back_can_be_used():
    cache = filled(4, ("a", 0, 4))
    assert not cache.put("a", 1, "x", 1)
    assert cache.pop("a", 0) == "a0"
    assert cache.pop("a", 0) is None
    assert cache.put("a", 1, "x", 4)
    cache.forget("a")
    cache.forget("nobody")
    assert (len(cache), cache.held) == (0, 0)


def test_shelves_of_one_cache_do_not_see_each_other():
    cache = Cache(10)
    mine, other = Shelf(cache, "mine"), Shelf(cache, "other")
    assert mine.put("rows", 1, 3)
    assert other.get("rows") is None
    assert other.pop("rows") is None
    assert other.put("rows", 2, 3)
    assert (mine.pop("rows"), other.get("rows")) == (1, 2)


@pytest.mark.usefixtures("hard_timeout")
def test_threads_that_put_and_pop_leave_the_count_of_bytes_right():
    cache, largest = Cache(50), SimpleNamespace(held=0)

    def work(run):
        for i in range(2_000):
            cache.put(run, i % 17, i, i % 5 + 1)
            largest.held = max(largest.held, cache.held)
            cache.pop(run, (i * 7) % 17)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert largest.held > 0
    for name in "abcd":
        cache.forget(name)
    assert (len(cache), cache.held) == (0, 0)
