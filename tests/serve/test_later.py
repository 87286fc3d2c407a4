"""Calls are made in the order of their times, and none is lost at the end."""

from __future__ import annotations

from threading import Event, current_thread

from tenure.serve.later import Later

PATIENT = 60.0


def test_calls_are_made_in_the_order_of_their_times_by_one_thread() -> None:
    later, made, done = Later("later"), [], Event()
    later.call(0.3, done.set)
    for seconds in (0.2, 0.0, 0.1):
        later.call(seconds, lambda at=seconds: made.append((at, current_thread().name)))  # type: ignore[misc]
    assert done.wait(PATIENT)
    assert made == [(0.0, "later"), (0.1, "later"), (0.2, "later")]
    later.close()


def test_what_still_waits_at_the_end_is_made_at_once() -> None:
    later, made = Later("later"), list[int]()
    for number in range(3):
        later.call(3_600.0, lambda number=number: made.append(number))  # type: ignore[misc]
    later.close()
    later.close()
    later.call(3_600.0, lambda: made.append(3))
    assert made == [0, 1, 2, 3]


def test_a_call_may_ask_for_another() -> None:
    later, done = Later("later"), Event()
    later.call(0.0, lambda: later.call(0.0, done.set))
    assert done.wait(PATIENT)
    later.close()
