"""The first member that answers in time answers, others are passed over by name, and one that hangs is left alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from time import monotonic, sleep

import numpy as np
import pytest

from tenure.core.errors import ArtifactError, UnavailableError
from tenure.core.guard import Guard, State
from tenure.model.protocol import Matrix, Vector
from tenure.model.relay import Member, Relay

ROWS = np.zeros((3, 1), np.float32)
PATIENT = 60.0


def says(value: float) -> Member:
    return Member(f"says {value:g}", lambda matrix: np.full(len(matrix), value))


class Hanging:
    """A model that answers when it is let go."""

    def __init__(self) -> None:
        self.free, self.asked = Event(), 0

    def predict(self, matrix: Matrix) -> Vector:
        self.asked += 1
        self.free.wait(PATIENT)
        return np.zeros(len(matrix))


def fails(_: Matrix) -> Vector:
    raise ArtifactError("broken", hint="none")


def odd(matrix: Matrix) -> Vector:
    return np.full(len(matrix), np.nan)


@pytest.fixture
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is left alone stays so until the end of the test."""
    monkeypatch.setattr("tenure.model.relay.Guard", partial(Guard, cooldown_seconds=PATIENT))


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever failed is tried again at once."""
    monkeypatch.setattr("tenure.model.relay.Guard", partial(Guard, cooldown_seconds=0.0))


def test_the_first_member_answers() -> None:
    answer = Relay([says(1), says(2)], PATIENT).ask(ROWS)
    assert (answer.value.tolist(), answer.by, answer.passed_over) == ([1.0, 1.0, 1.0], "says 1", ())


def test_who_is_late_is_passed_over() -> None:
    hanging = Hanging()
    answer = Relay([Member("late", hanging.predict), says(2)], 0.01).ask(ROWS)
    hanging.free.set()
    assert (answer.by, answer.passed_over[0].name) == ("says 2", "late")
    assert answer.passed_over[0].reason == "late gave no answer within 0.01 seconds."


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        (fails, "bad failed (broken)."),
        (odd, "bad gave a number that is not finite."),
        (lambda matrix: np.zeros(1 // (len(matrix) - 3)), "bad failed (ZeroDivisionError)."),
    ],
)
def test_who_fails_is_passed_over(predict: Callable[[Matrix], Vector], reason: str) -> None:
    answer = Relay([Member("bad", predict), says(2)], PATIENT).ask(ROWS)
    assert answer.by == "says 2"
    assert [(one.name, one.reason) for one in answer.passed_over] == [("bad", reason)]


@pytest.mark.usefixtures("long_rest")
def test_who_fails_again_and_again_is_left_alone_for_a_while() -> None:
    heard: list[tuple[str, State]] = []
    relay = Relay([Member("bad", fails), says(2)], PATIENT, told=lambda *it: heard.append(it))
    reasons = [relay.ask(ROWS).passed_over[0].reason for _ in range(4)]
    assert reasons == ["bad failed (broken)."] * 3 + ["bad is left alone for a while, after it gave no answer."]
    assert heard == [("bad", "open")]
    assert {guard.name: guard.state for guard in relay.guards} == {"bad": "open", "says 2": "closed"}


def test_an_odd_row_does_not_take_the_model_from_everybody_else() -> None:
    relay = Relay([Member("first", lambda matrix: odd(matrix) if matrix[0, 0] else np.zeros(3)), says(2)], PATIENT)
    for _ in range(10):
        assert relay.ask(ROWS + 1).by == "says 2"
    assert relay.ask(ROWS).by == "first"


@pytest.mark.parametrize("last", [fails, odd, lambda _: Hanging().predict(ROWS)])
def test_where_nobody_answers_the_caller_hears_of_the_last_one(last: Callable[[Matrix], Vector]) -> None:
    relay = Relay([Member("bad", fails), Member("worse", last)], PATIENT, last_seconds=0.01)
    with pytest.raises(UnavailableError, match="worse") as raised:
        relay.ask(ROWS)
    assert raised.value.ids["dependency"] == "worse"


@pytest.mark.usefixtures("no_rest")
def test_a_member_that_hangs_costs_a_few_threads_and_no_time() -> None:
    hanging = Hanging()
    relay = Relay([Member("hangs", hanging.predict), says(2)], 0.01)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: relay.ask(ROWS), range(64)))
    assert {answer.by for answer in answers} == {"says 2"}
    assert hanging.asked <= 4 + 8  # those that were given up, and those that were waited for meanwhile
    assert "hangs is still busy" in " ".join(answer.passed_over[0].reason for answer in answers)
    hanging.free.set()


@pytest.mark.usefixtures("no_rest")
def test_a_member_that_was_late_is_asked_again_once_its_calls_have_ended() -> None:
    hanging = Hanging()
    relay = Relay([Member("hangs", hanging.predict), says(2)], 0.01)
    for _ in range(8):
        relay.ask(ROWS)
    hanging.free.set()
    until = monotonic() + PATIENT
    while relay.ask(ROWS).by != "hangs":
        assert monotonic() < until, "the member is free and nobody asks it"
        sleep(0.01)


def test_several_threads_may_ask_at_once() -> None:
    relay = Relay([Member("bad", fails), says(2)], PATIENT)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: relay.ask(ROWS), range(64)))
    assert {answer.by for answer in answers} == {"says 2"}
