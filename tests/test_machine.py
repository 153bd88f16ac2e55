"""BLAS: held to one thread while anybody needs it so."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import descend
from descend.machine import SingleThreaded, processor


def threads():
    """The threads that each BLAS library of the process is set to."""
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def blas():
    with threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        yield SingleThreaded()


def test_the_last_one_gives_it_back(blas):
    blas.hold()
    blas.hold()
    assert threads() == {1}
    blas.release()
    assert threads() == {1}
    blas.release()
    assert threads() == {2}
    blas.hold()
    assert threads() == {1}
    blas.release()


def test_the_processor_is_the_one_that_the_library_names():
    names = {library.get("architecture") for library in threadpool_info()} - {None}
    assert set(processor().split()) >= names or not names


def in_a_thread(function):
    """What it gives in a thread that is over then."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_any_thread_may_hold_it_and_any_other_give_it_back(blas):
    in_a_thread(blas.hold)  # while this thread has set it, by the fixture
    assert threads() == in_a_thread(threads) == {1}
    blas.hold()
    in_a_thread(blas.release)
    assert threads() == {1}
    blas.release()
    assert threads() == in_a_thread(threads) == {2}


def test_an_objective_that_nobody_has_any_more_gives_it_back():
    before, (x, y) = threads(), descend.make_line(100, seed=0)
    objective = descend.Objective.of(x, y)
    assert threads() == {1}
    *_, last = descend.steps(objective)
    assert last.outcome.converged
    del objective
    gc.collect()
    assert threads() == before


def test_who_forgets_while_the_lock_is_held_is_heard_afterwards(blas):
    blas.hold()
    with blas.lock:
        blas.forget()
        assert threads() == {1}
    blas.hold()
    assert blas.holders == 1
    blas.release()
    assert (blas.holders, threads()) == (0, {2})


def test_overlapping_fits_have_the_same_bits_and_leave_blas_as_it_was():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 60))
    y = x @ rng.normal(size=60) + rng.normal(size=40_000)

    def weights():
        return descend.fit(x, y, optimizer="lbfgs", loss="huber", steps=4).weights.tolist()

    before = threads()
    alone = weights()
    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(weights) for _ in range(6)]
        assert all(each.result() == alone for each in found)
    assert threads() == before
