"""The first member that answers in time answers, others are passed over by name, and one that hangs is left alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import sleep

import numpy as np
import pytest

from tenure.core.errors import ArtifactError
from tenure.model.protocol import Matrix, Vector
from tenure.model.relay import LANES, Member, Relay

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


def test_the_first_member_answers() -> None:
    answer = Relay([says(1), says(2)], PATIENT).ask(ROWS)
    assert (answer.value.tolist(), answer.by, answer.passed_over) == ([1.0, 1.0, 1.0], "says 1", ())


def test_who_is_late_is_passed_over() -> None:
    hanging = Hanging()
    answer = Relay([Member("late", hanging.predict), says(2)], 0.01).ask(ROWS)
    hanging.free.set()
    assert (answer.by, answer.passed_over[0].name) == ("says 2", "late")
    assert answer.passed_over[0].reason == "gave no answer within 0.01 seconds"


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        (fails, "failed: broken"),
        (lambda matrix: np.full(len(matrix), np.nan), "failed: it gave a number that is not finite"),
        (
            lambda matrix: np.zeros(1 // (len(matrix) - 3)),
            "failed: ZeroDivisionError: integer division or modulo by zero",
        ),
    ],
)
def test_who_fails_is_passed_over(predict: object, reason: str) -> None:
    answer = Relay([Member("bad", predict), says(2)], PATIENT).ask(ROWS)  # type: ignore[arg-type]
    assert answer.by == "says 2"
    assert [(one.name, one.reason) for one in answer.passed_over] == [("bad", reason)]


def test_the_last_member_has_all_the_time_and_its_error_is_the_callers() -> None:
    with pytest.raises(ArtifactError, match="broken"):
        Relay([Member("bad", fails), Member("worse", fails)], PATIENT).ask(ROWS)
    hanging = Hanging()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(Relay([Member("slow", hanging.predict)], 1e-9).ask, ROWS)
        hanging.free.set()
        assert asked.result(PATIENT).by == "slow"


def test_a_member_that_hangs_is_not_asked_again_until_it_is_free() -> None:
    hanging = Hanging()
    relay = Relay([Member("hangs", hanging.predict), says(2)], 0.01)
    reasons = [relay.ask(ROWS).passed_over[0].reason for _ in range(LANES + 2)]
    assert hanging.asked == LANES
    assert reasons[-1] == f"is still busy with {LANES} earlier requests"
    hanging.free.set()
    patient = Relay([Member("hangs", hanging.predict), says(2)], PATIENT)
    assert patient.ask(ROWS).by == "hangs"


def test_a_member_that_was_late_is_asked_again_once_its_calls_have_ended() -> None:
    hanging = Hanging()
    relay = Relay([Member("hangs", hanging.predict), says(2)], 0.01)
    for _ in range(LANES):
        relay.ask(ROWS)
    hanging.free.set()
    for _ in range(int(PATIENT * 100)):
        if relay.ask(ROWS).by == "hangs":
            break
        sleep(0.01)
    else:
        pytest.fail("the member is free and nobody asks it")


def test_several_threads_may_ask_at_once() -> None:
    relay = Relay([Member("bad", fails), says(2)], PATIENT)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: relay.ask(ROWS), range(64)))
    assert {answer.by for answer in answers} == {"says 2"}
