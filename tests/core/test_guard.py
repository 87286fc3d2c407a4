"""A caller waits no longer than they said, hung work does not pile up, and who failed is tried again by one caller."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep

import pytest

from tenure.core.errors import InputError, NotFoundError, StateError, UnavailableError, UnreachableError
from tenure.core.guard import Breaker, Guard, State
from tenure.core.lane import LANE, MOST_IDLE

PATIENT = 60.0


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fails() -> None:
    raise ValueError("secret")


def refusal(guard: Guard, work: Callable[[], object] = fails) -> UnavailableError:
    with pytest.raises(UnavailableError) as raised:
        guard.call(work)
    assert raised.value.ids["dependency"] == guard.name
    return raised.value


def soon(holds: Callable[[], bool]) -> None:
    until = monotonic() + PATIENT
    while not holds():
        assert monotonic() < until
        sleep(0.005)


def test_an_answer_is_passed_on() -> None:
    here = threading.get_ident()
    guard = Guard("store", PATIENT)
    assert guard.call(lambda: (1, threading.get_ident() != here)) == (1, True)
    assert guard.call(lambda: None) is None


def test_a_failure_names_the_dependency_and_keeps_its_cause_to_itself() -> None:
    error = refusal(Guard("store", PATIENT))
    assert (error.ids["reason"], error.code, error.retryable) == ("failed", "unavailable", True)
    assert isinstance(error, StateError)
    assert isinstance(error.__cause__, ValueError)
    assert "secret" not in str(error)


def test_what_tenure_itself_says_is_told() -> None:
    def unreachable() -> None:
        raise UnreachableError("nobody listens there.")

    assert refusal(Guard("store", PATIENT), unreachable).message == "store failed (nobody listens there)."


def test_an_input_error_is_an_answer() -> None:
    def refuses() -> None:
        raise NotFoundError("no such row")

    guard = Guard("store", PATIENT, failures=2)
    refusal(guard)
    with pytest.raises(InputError, match="no such row"):
        guard.call(refuses)
    refusal(guard)
    assert guard.state == "closed"  # two failures, but not in a row


def test_even_what_ends_a_thread_reaches_the_caller() -> None:
    def leaves() -> None:
        raise SystemExit(1)

    assert isinstance(refusal(Guard("store", PATIENT), leaves).__cause__, SystemExit)


def test_work_that_is_late_is_given_up_and_no_more_than_the_lanes_pile_up() -> None:
    free, asked = Event(), []

    def hangs() -> None:
        asked.append(1)
        free.wait(PATIENT)

    guard = Guard("store", 0.01, lanes=2, failures=1000)
    reasons = [refusal(guard, hangs).ids["reason"] for _ in range(20)]
    assert reasons == ["late"] * 2 + ["busy"] * 18
    assert len(asked) == 2
    free.set()
    patient = Guard("store", PATIENT, lanes=2)
    assert patient.call(lambda: 1) == 1


def test_once_late_work_has_ended_there_is_room_again() -> None:
    free = Event()
    guard = Guard("store", 0.01, lanes=1, failures=1000)
    assert refusal(guard, lambda: free.wait(PATIENT)).ids["reason"] == "late"
    assert refusal(guard, lambda: 1).ids["reason"] == "busy"
    free.set()

    def answers() -> bool:
        try:
            return guard.call(lambda: True)
        except UnavailableError:
            return False

    soon(answers)


def test_answers_that_come_just_in_time_or_just_too_late_reach_only_their_caller() -> None:
    guard = Guard("store", 0.002, lanes=1, failures=10**6)

    def asked(number: int) -> bool:
        def work() -> int:
            sleep(number % 5 / 1000)
            return number

        try:
            return guard.call(work) == number
        except UnavailableError as error:
            return error.ids["reason"] in {"late", "busy"}

    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(asked, range(800)))
    soon(lambda: not guard.is_busy)
    assert guard.state == "closed"


def test_a_dependency_that_hangs_under_load_costs_as_many_threads_as_callers_and_lanes() -> None:
    free, lock, running, most = Event(), threading.Lock(), 0, 0

    def hangs() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        free.wait(PATIENT)

    guard = Guard("store", 0.005, lanes=4, failures=1000)
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda _: refusal(guard, hangs).ids["reason"], range(400)))
    free.set()
    assert most <= 4 + 8
    assert set(found) == {"late", "busy"}


def test_threads_are_used_again() -> None:
    guard = Guard("store", PATIENT)
    assert len({guard.call(threading.get_ident) for _ in range(200)}) == 1


def test_of_many_threads_some_end() -> None:
    gate = threading.Barrier(MOST_IDLE + 8)
    guard = Guard("store", PATIENT)
    with ThreadPoolExecutor(MOST_IDLE + 8) as callers:
        list(callers.map(lambda _: guard.call(lambda: gate.wait(PATIENT)), range(MOST_IDLE + 8)))
    soon(lambda: sum(thread.name == LANE for thread in threading.enumerate()) < MOST_IDLE + 8)


def test_many_callers_each_get_their_own_answer() -> None:
    guard = Guard("store", PATIENT)
    with ThreadPoolExecutor(16) as callers:
        found = list(callers.map(lambda number: guard.call(lambda: number), range(3000)))
    assert found == list(range(3000))


def test_a_thread_that_waits_for_work_keeps_nothing_alive() -> None:
    class Large:
        pass

    large = Large()
    gone = weakref.ref(large)
    assert Guard("store", PATIENT).call(lambda held=large: held is not None)  # type: ignore[misc]
    del large

    def let_go() -> bool:
        gc.collect()
        return gone() is None

    soon(let_go)


def test_after_failures_in_a_row_it_is_left_alone_and_then_tried_once() -> None:
    clock, heard = Seconds(), []

    def told(name: str, state: State) -> None:
        heard.append((name, state))

    guard = Guard("store", PATIENT, failures=3, cooldown_seconds=2.0, monotonic=clock, told=told)
    assert [refusal(guard).ids["reason"] for _ in range(5)] == ["failed"] * 3 + ["open"] * 2
    clock.now = 1.9
    assert refusal(guard, lambda: 1).ids["reason"] == "open"
    clock.now = 2.0
    assert refusal(guard).ids["reason"] == "failed"
    assert refusal(guard, lambda: 1).ids["reason"] == "open"  # the trial failed, and the rest begins anew
    clock.now = 4.0
    assert guard.call(lambda: 1) == 1
    assert heard == [("store", state) for state in ("open", "half_open", "open", "half_open", "closed")]


def test_after_its_rest_it_is_half_open_though_nobody_calls() -> None:
    clock, heard = Seconds(), []
    guard = Guard(
        "store", PATIENT, failures=1, cooldown_seconds=2.0, monotonic=clock, told=lambda *it: heard.append(it)
    )
    refusal(guard)
    clock.now = 1.9
    assert {guard.state} == {"open"}
    clock.now = 2.0
    assert {guard.state} == {"half_open"}
    assert heard == [("store", "open")], "nobody has tried yet"
    assert refusal(guard).ids["reason"] == "failed"
    assert {guard.state} == {"open"}


def test_half_open_lets_exactly_one_through() -> None:
    clock, free, started = Seconds(), Event(), Event()
    guard = Guard("store", PATIENT, failures=1, monotonic=clock)
    refusal(guard)
    clock.now = 1.0

    def trial() -> int:
        started.set()
        free.wait(PATIENT)
        return 7

    with ThreadPoolExecutor(9) as callers:
        first = callers.submit(guard.call, trial)
        assert started.wait(PATIENT)
        assert {guard.state} == {"half_open"}
        others = [callers.submit(refusal, guard, lambda: 1) for _ in range(32)]
        assert {other.result(PATIENT).ids["reason"] for other in others} == {"open"}
        free.set()
        assert first.result(PATIENT) == 7
    assert guard.state == "closed"


def test_of_many_who_come_at_once_one_tries() -> None:
    clock, gate = Seconds(), threading.Barrier(16)
    breaker = Breaker("store", failures=1, monotonic=clock)
    breaker.fail()
    clock.now = 1.0

    def asks(_: int) -> bool:
        gate.wait(PATIENT)
        return breaker.allow()

    with ThreadPoolExecutor(16) as callers:
        assert sum(callers.map(asks, range(16))) == 1


def test_a_busy_trial_leaves_it_open() -> None:
    clock, free = Seconds(), Event()
    guard = Guard("store", 0.01, lanes=1, failures=1, monotonic=clock)
    assert refusal(guard, lambda: free.wait(PATIENT)).ids["reason"] == "late"
    clock.now = 1.0
    assert refusal(guard, lambda: 1).ids["reason"] == "busy"
    assert guard.state == "open"
    free.set()


def test_where_no_thread_is_to_be_had_the_dependency_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("tenure.core.guard.run_in_lane", none_left)
    guard = Guard("store", PATIENT, lanes=1, failures=1000)
    assert [refusal(guard, lambda: 1).ids["reason"] for _ in range(3)] == ["failed"] * 3


def test_a_caller_who_is_interrupted_leaves_no_trial_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    clock = Seconds()
    guard = Guard("store", PATIENT, failures=1, monotonic=clock)
    refusal(guard)
    clock.now = 1.0
    with monkeypatch.context() as patched:
        patched.setattr("tenure.core.guard.Task.wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            guard.call(lambda: 1)
    assert guard.state == "open"
    clock.now = 2.0
    assert guard.call(lambda: 1) == 1
