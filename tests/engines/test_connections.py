"""Links to workers: one message at a time, in order, and what is said of a worker that is silent or gone."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from descend.engines import connections as links
from descend.engines.connections import ConnectedPool, Connection, Reply
from descend.errors import EngineLostError

pytestmark = pytest.mark.usefixtures("hard_timeout")


def echo(message):
    return b"re: " + message


class Frozen:
    """Answers when it is let: `started` tells that a message has come, `thaw` lets all answers go."""

    def __init__(self, answer=echo):
        self.answer, self.started, self.thaw = answer, threading.Event(), threading.Event()

    def __call__(self, message):
        self.started.set()
        assert self.thaw.wait(30)
        return self.answer(message)


@contextmanager
def pool_of(**exchanges):
    pool = ConnectedPool(timeout=5.0)
    for name, exchange in exchanges.items():
        pool.links[name] = Connection(exchange, pool.replies, threads=2)
    try:
        yield pool
    finally:
        for exchange in exchanges.values():
            getattr(exchange, "thaw", threading.Event()).set()
        pool.close()


def replies(pool, count):
    found = []
    while len(found) < count:
        found += pool.wait(5.0)
    return found


def test_messages_are_answered_one_by_one_in_the_order_they_were_sent():
    log = []

    def exchange(message):
        log.append(message)
        time.sleep(0.001)
        log.append(message)
        return echo(message)

    with pool_of(a=exchange) as pool:
        for i in range(20):
            pool.send("a", f"t{i}", b"%d" % i)
        assert replies(pool, 20) == [Reply(f"t{i}", b"re: %d" % i) for i in range(20)]
        assert pool.links["a"].pending == []
    assert log[::2] == log[1::2] == [b"%d" % i for i in range(20)]


def test_a_frozen_worker_holds_up_nobody_else():
    with pool_of(frozen=(frozen := Frozen()), other=echo) as pool:
        pool.send("frozen", "f", b"f")
        assert frozen.started.wait(5)
        pool.send("other", "o", b"o")
        assert replies(pool, 1) == [Reply("o", b"re: o")]
        assert pool.wait(0.01) == []
        frozen.thaw.set()
        assert replies(pool, 1) == [Reply("f", b"re: f")]


def test_a_worker_that_is_gone_answers_all_that_is_pending_with_none_and_is_asked_no_more():
    asked = []
    with pool_of(a=(frozen := Frozen(asked.append)), b=echo) as pool:
        for ticket in ("t0", "t1", "t2"):
            pool.send("a", ticket, ticket.encode())
        frozen.thaw.set()
        assert replies(pool, 3) == [Reply(f"t{i}", None) for i in range(3)]
        pool.send("a", "late", b"late")
        assert replies(pool, 1) == [Reply("late", None)]
        assert pool.members() == {"b": 2}
    assert asked == [b"t0"]


def test_an_abandoned_worker_is_answered_for_though_its_thread_is_held_up():
    with pool_of(a=(frozen := Frozen()), b=echo) as pool:
        pool.send("a", "t0", b"")
        pool.send("a", "t1", b"")
        assert frozen.started.wait(5)
        pool.links["a"].abandon()
        assert replies(pool, 2) == [Reply("t0", None), Reply("t1", None)]
        assert pool.members() == {"b": 2}
        frozen.thaw.set()
        assert replies(pool, 2) == [Reply("t0", b"re: "), Reply("t1", None)]  # late, and waited for by nobody
        assert pool.members() == {"b": 2}


def test_a_suspect_is_no_member_until_it_answers():
    with pool_of(a=(frozen := Frozen()), b=echo) as pool:
        assert pool.members() == {"a": 2, "b": 2}
        pool.send("a", "t", b"")
        pool.suspect("a")
        assert pool.members() == {"b": 2}
        frozen.thaw.set()
        replies(pool, 1)
        assert pool.members() == {"a": 2, "b": 2}


def test_silence_is_counted_from_the_first_message_that_is_not_answered(monkeypatch):
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(links, "time", clock)
    with pool_of(a=(frozen := Frozen())) as pool:
        clock.now = 200.0
        assert pool.silence("a") == pool.silence("nobody") == 0.0  # nothing to do is not silence
        pool.send("a", "t0", b"")
        clock.now = 203.0
        pool.send("a", "t1", b"")
        assert pool.silence("a") == 3.0
        pool.links["a"].heard = 202.0  # a sign of life
        assert pool.silence("a") == 1.0
        frozen.thaw.set()
        replies(pool, 2)
        clock.now = 300.0
        assert pool.silence("a") == 0.0


def test_waiting_for_nobody_is_told_at_once_but_not_before_the_last_reply():
    with pool_of(a=lambda message: None) as pool:
        pool.send("a", "t", b"")
        while not pool.links["a"].gone:
            time.sleep(0.001)
        assert replies(pool, 1) == [Reply("t", None)]
        with pytest.raises(
            EngineLostError, match=r"all workers are gone\. Were they killed for want of memory"
        ):
            pool.wait(60.0)


def test_what_was_handed_over_before_the_end_is_still_answered_and_the_thread_ends():
    link = Connection(echo, answers := queue.Queue())
    for i in range(5):
        link.send(f"t{i}", b"%d" % i)
    link.close(5.0)
    assert [answers.get_nowait().ticket for _ in range(5)] == [f"t{i}" for i in range(5)]
    assert not link._thread.is_alive()


def test_closing_does_not_wait_for_those_that_are_held_up():
    with pool_of(a=echo, frozen=(frozen := Frozen())) as pool:
        pool.send("frozen", "t", b"")
        assert frozen.started.wait(5)
        pool.links["frozen"].close(0.01)
        assert pool.links["frozen"]._thread.is_alive()
    assert not any(link._thread.is_alive() for link in pool.links.values())
