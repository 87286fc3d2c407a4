"""Whoever answers first: models in an order, each with so much time.

Enters: some rows of a matrix that somebody waits for. Leaves: an `Answer`, with the name of the model that gave it and
the reason why those before it did not. Invariant: the last model answers however long it takes, so there is an answer
or its error; a model that was too late cannot hold up later requests.

Only requests that somebody waits for are relayed. In training, in a batch and for golden rows there is no clock: there
the first model answers or the run fails, for otherwise a score would depend on how busy the machine was, and one batch
could be answered by two models.

Why threads. Nothing can stop a computation inside a library, so the caller stops waiting instead and asks the next
model; the late one ends on its own. Where `LANES` calls of a model are late and still running, it is not asked at all:
a model that hangs then costs a few threads, not one for every request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread

import numpy as np

from tenure.core.errors import TenureError
from tenure.model.protocol import Matrix, Vector

__all__ = ["Answer", "Member", "PassedOver", "Relay"]

LANES = 4


@dataclass(frozen=True)
class Member:
    """One who may answer.

    Parameters
    ----------
    name : str
        Of the model family.
    predict : callable
        Gives one finite number per row.
    """

    name: str
    predict: Callable[[Matrix], Vector]


@dataclass(frozen=True)
class PassedOver:
    """A member that did not answer, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Answer:
    """What was answered, and by whom.

    Parameters
    ----------
    value : float64 array (rows,)
        The answer.
    by : str
        Name of the member that gave it.
    passed_over : tuple of PassedOver
        The members before it.
    """

    value: Vector
    by: str
    passed_over: tuple[PassedOver, ...] = ()


class Relay:
    """Members in their order; it may be asked from several threads at once.

    Parameters
    ----------
    members : sequence of Member
        At least one. Every one but the last has the budget.
    budget_seconds : float
        How long a member may take.

    Examples
    --------
    >>> def fails(matrix):
    ...     raise MemoryError("no room")
    >>> relay = Relay([Member("first", fails), Member("second", lambda matrix: np.zeros(len(matrix)))], 1.0)
    >>> answer = relay.ask(np.zeros((2, 1), np.float32))
    >>> answer.value.tolist(), answer.by, answer.passed_over
    ([0.0, 0.0], 'second', (PassedOver(name='first', reason='failed: MemoryError: no room'),))
    """

    def __init__(self, members: Sequence[Member], budget_seconds: float) -> None:
        self._timed = tuple(_Timed(member, budget_seconds) for member in members[:-1])
        self._last = members[-1]

    def ask(self, matrix: Matrix) -> Answer:
        """Give the first answer that comes in time.

        Parameters
        ----------
        matrix : float32 array (rows, columns)
            As the encoder makes it.

        Raises
        ------
        Exception
            Whatever the last member raises.
        """
        passed: list[PassedOver] = []
        for timed in self._timed:
            found = timed.ask(matrix)
            if not isinstance(found, str):
                return Answer(found, timed.member.name, tuple(passed))
            passed.append(PassedOver(timed.member.name, found))
        return Answer(self._last.predict(matrix), self._last.name, tuple(passed))


class _Timed:
    """A member, its budget, and how many of its calls are late and still running."""

    def __init__(self, member: Member, budget_seconds: float) -> None:
        self.member, self.budget_seconds = member, budget_seconds
        self._late, self._lock = 0, Lock()

    def ask(self, matrix: Matrix) -> Vector | str:
        """The answer, or why there is none."""
        if self._late >= LANES:
            return f"is still busy with {self._late} earlier requests"
        call = _Call(self.member.predict, matrix, self._came_late)
        found = call.wait(self.budget_seconds)
        if found is None:
            with self._lock:
                self._late += 1
            call.give_up()
            return f"gave no answer within {self.budget_seconds:g} seconds"
        return found

    def _came_late(self) -> None:
        with self._lock:
            self._late -= 1


class _Call:
    """One computation in a thread of its own, which ends with the process."""

    def __init__(self, predict: Callable[[Matrix], Vector], matrix: Matrix, came_late: Callable[[], None]) -> None:
        self._answers: SimpleQueue[Vector | str] = SimpleQueue()
        self._came_late, self._lock = came_late, Lock()
        self._done = self._given_up = False
        Thread(target=self._run, args=(predict, matrix), daemon=True).start()

    def wait(self, seconds: float) -> Vector | str | None:
        try:
            return self._answers.get(timeout=seconds)
        except Empty:
            return None

    def give_up(self) -> None:
        """Nobody waits any more: the call counts as late until it ends, which may have been just now."""
        with self._lock:
            self._given_up = True
            if self._done:
                self._came_late()

    def _run(self, predict: Callable[[Matrix], Vector], matrix: Matrix) -> None:
        self._answers.put(_attempt(predict, matrix))
        with self._lock:
            self._done = True
            if self._given_up:
                self._came_late()


def _attempt(predict: Callable[[Matrix], Vector], matrix: Matrix) -> Vector | str:
    try:
        value = predict(matrix)
    except Exception as error:  # noqa: BLE001 - whatever a member stumbles over, the next one is asked, and it is told
        reason = error.message if isinstance(error, TenureError) else f"{type(error).__name__}: {error}"
        return f"failed: {reason}"
    return value if np.isfinite(value).all() else "failed: it gave a number that is not finite"
