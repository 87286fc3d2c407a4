"""A connection is lent to one at a time, and only while it can be trusted."""

from __future__ import annotations

import os

import pytest

from tenure.store.idle import Idle


class Line:
    """A connection that remembers whether it was closed."""

    def __init__(self) -> None:
        self.usable, self.closed = True, False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def idle() -> Idle[Line]:
    return Idle(Line, lambda line: line.usable, keep=2)


def test_the_latest_is_used_first_and_nobody_shares(idle: Idle[Line]) -> None:
    one, two = idle.take(), idle.take()
    assert one is not two
    idle.give(one)
    idle.give(two)
    assert (idle.take(), idle.take()) == (two, one)


def test_one_that_cannot_be_trusted_is_closed(idle: Idle[Line]) -> None:
    one = idle.take()
    idle.give(one)
    one.usable = False
    assert idle.take() is not one
    assert one.closed


def test_no_more_wait_than_may(idle: Idle[Line]) -> None:
    lines = [idle.take() for _ in range(3)]
    for line in lines:
        idle.give(line)
    assert [line.closed for line in lines] == [False, False, True]


def test_what_comes_back_late_is_closed(idle: Idle[Line]) -> None:
    waiting, late = idle.take(), idle.take()
    idle.give(waiting)
    idle.close()
    idle.give(late)
    assert waiting.closed
    assert late.closed


def test_a_forked_process_uses_its_own(idle: Idle[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    parents = idle.take()
    idle.give(parents)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert idle.take() is not parents
    assert not parents.closed
