"""What stands before something that may fail or hang, so that a caller never waits for it longer than they can.

Enters: calls to a store, a cache, a database, a log or a model. Leaves: their answers, or an `UnavailableError` that
says why there is none. Invariant: a caller waits `seconds` at most; no more than `lanes` late calls and those that
somebody still waits for are running; and what failed `failures` times in a row is left alone until it has had a rest.

Three ways to say no
--------------------
A call that is late is given up: its caller stops waiting, and the work ends on its own, for nothing can stop it inside
a library. Where `lanes` calls were given up and still run, the next is refused at once (`busy`), so that a dependency
that hangs costs a few threads and not one for every request. And after `failures` calls in a row without an answer a
circuit breaker opens (`open`): it refuses for `cooldown_seconds`, then lets one call through to try, and closes when
that one is answered. Once the rest is over its state is no longer `open` but `half_open`, whether or not anybody calls:
a state says what the next call would meet, and not what the last one met, however long ago that was.

An `InputError` is an answer: the dependency works, and what it was asked makes no sense.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Literal, TypeVar, cast

from tenure.core.errors import InputError, TenureError, UnavailableError
from tenure.core.lane import Outcome, Task, run_in_lane

__all__ = ["Breaker", "Guard", "Reason", "State", "nobody"]

State = Literal["closed", "open", "half_open"]
Reason = Literal["failed", "late", "busy", "open"]
T = TypeVar("T")

_AGAIN = "Nothing needs to be done; it is tried again by itself."


def nobody(name: str, state: State) -> None:
    """Listen to nothing.

    Examples
    --------
    >>> Breaker("store", told=nobody).state
    'closed'
    """


class Breaker:
    """Remembers whether a dependency answers; any number of threads may use it.

    Parameters
    ----------
    name : str
        Of the dependency.
    failures : int
        How many in a row open it.
    cooldown_seconds : float
        How long it stays open before one caller may try.
    monotonic : callable
        Clock in seconds that never goes back.
    told : callable
        Called with the name and the new state on every change, in their order. It must be quick and may ask for
        `state`, nothing else.

    Examples
    --------
    >>> seconds = iter([0.0, 0.1, 0.5, 1.0, 1.1])
    >>> breaker = Breaker("store", failures=2, monotonic=lambda: next(seconds))
    >>> breaker.fail()
    >>> breaker.fail()
    >>> breaker.state, breaker.allow(), breaker.state, breaker.allow(), breaker.allow()
    ('open', False, 'half_open', True, False)
    >>> breaker.succeed()
    >>> breaker.state
    'closed'
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = 3,
        cooldown_seconds: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
        told: Callable[[str, State], None] = nobody,
    ) -> None:
        self.name = name
        self._most, self._cooldown_seconds = failures, cooldown_seconds
        self._monotonic, self._told = monotonic, told
        self._lock = Lock()
        self._state: State = "closed"
        self._failed, self._opened_at = 0, 0.0

    @property
    def state(self) -> State:
        """`closed`: asked; `open`: left alone; `half_open`: somebody tries, or the next caller will."""
        return "half_open" if self._state == "open" and self._has_rested() else self._state

    def allow(self) -> bool:
        """Whether the dependency may be asked now; whoever is told so reports `succeed` or `fail`."""
        return self._is_closed() or self._may_try()

    def succeed(self) -> None:
        """It answered."""
        if self._failed == 0 and self._is_closed():
            return
        with self._lock:
            self._failed = 0
            self._turn("closed")

    def fail(self) -> None:
        """It did not answer."""
        with self._lock:
            self._failed += 1
            if self._state == "half_open" or (self._state == "closed" and self._failed >= self._most):
                self._opened_at = self._monotonic()
                self._turn("open")

    def _is_closed(self) -> bool:
        return self._state == "closed"

    def _may_try(self) -> bool:
        with self._lock:
            if self._state == "open" and self._has_rested():
                self._turn("half_open")
                return True
            return self._is_closed()

    def _has_rested(self) -> bool:
        return self._monotonic() - self._opened_at >= self._cooldown_seconds

    def _turn(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self._told(self.name, state)


class Guard:
    """Stands before one dependency; any number of threads may call.

    Parameters
    ----------
    name : str
        Of the dependency.
    seconds : float
        How long a caller waits.
    lanes : int
        How many calls that were given up may still run.
    failures, cooldown_seconds, monotonic, told
        As `Breaker` takes them.

    Examples
    --------
    >>> guard = Guard("store", 60.0)
    >>> guard.call(lambda: 2 + 2), guard.state
    (4, 'closed')
    >>> guard.call(lambda: 1 // 0)
    Traceback (most recent call last):
    tenure.core.errors.UnavailableError: store failed (ZeroDivisionError).
    → Nothing needs to be done; it is tried again by itself.
    """

    def __init__(
        self,
        name: str,
        seconds: float,
        *,
        lanes: int = 4,
        failures: int = 3,
        cooldown_seconds: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
        told: Callable[[str, State], None] = nobody,
    ) -> None:
        self.name, self.seconds = name, seconds
        self._breaker = Breaker(
            name, failures=failures, cooldown_seconds=cooldown_seconds, monotonic=monotonic, told=told
        )
        self._lanes, self._lock = lanes, Lock()
        self._given_up: set[Task] = set()

    @property
    def state(self) -> State:
        """Of the breaker."""
        return self._breaker.state

    @property
    def is_busy(self) -> bool:
        """Whether as many calls as there are lanes were given up and still run."""
        return len(self._given_up) >= self._lanes

    def call(self, work: Callable[[], T]) -> T:
        """Have the work done in a thread, and wait for it no longer than `seconds`.

        Raises
        ------
        UnavailableError
            There is no answer; `ids["reason"]` says why, and what the work raised is its cause.
        InputError
            The work raised it.
        """
        if not self._breaker.allow():
            raise self._unavailable("open", f"{self.name} is left alone for a while, after it gave no answer.")
        if self.is_busy:
            self._breaker.fail()
            raise self._unavailable("busy", f"{self.name} is still busy with earlier calls, which were late.")
        outcome = self._outcome(work)
        if outcome is None:
            self._breaker.fail()
            raise self._unavailable("late", f"{self.name} gave no answer within {self.seconds:g} seconds.")
        value, error = outcome
        if error is None:
            self._breaker.succeed()
            return cast(T, value)
        if isinstance(error, InputError):
            self._breaker.succeed()
            raise error
        self._breaker.fail()
        raise self._failed(error) from error

    def _outcome(self, work: Callable[[], object]) -> Outcome | None:
        task = Task(work, self._end)
        try:
            run_in_lane(task)
        except RuntimeError as error:
            return None, error
        try:
            return task.outcome if task.wait(self.seconds) else self._give_up(task)
        except BaseException:  # the caller is interrupted; whether it would have been answered nobody will know
            self._give_up(task)
            self._breaker.fail()
            raise

    def _give_up(self, task: Task) -> Outcome | None:
        """The outcome, where it came just now; else the task counts as given up until it ends."""
        with self._lock:
            if task.outcome is None:
                self._given_up.add(task)
            return task.outcome

    def _end(self, task: Task) -> None:
        with self._lock:
            self._given_up.discard(task)

    def _failed(self, error: BaseException) -> UnavailableError:
        # A library's own words may hold rows, statements and addresses; they stay in the cause.
        why = error.message if isinstance(error, TenureError) else type(error).__name__
        return self._unavailable("failed", f"{self.name} failed ({why.rstrip('.')}).")

    def _unavailable(self, reason: Reason, message: str) -> UnavailableError:
        return UnavailableError(message, hint=_AGAIN, dependency=self.name, reason=reason)
