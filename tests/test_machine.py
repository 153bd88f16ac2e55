"""BLAS: held to one thread while anybody needs it so."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

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
