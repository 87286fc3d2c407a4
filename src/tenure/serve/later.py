"""What is to be done a moment later, without a thread that waits for each.

Enters: calls with how long they have to wait. Leaves: the calls, made by one thread. Invariant: every call is made
once, on time or, where no more is waited for, at once.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from itertools import count
from threading import Condition, Thread

__all__ = ["Later"]


class Later:
    """Makes calls when their time has come; any number of threads may ask for them.

    Parameters
    ----------
    name : str
        Of the thread.

    Examples
    --------
    >>> from threading import Event
    >>> later, done = Later("doctest"), Event()
    >>> later.call(0.001, done.set)
    >>> done.wait(60)
    True
    >>> later.close()
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn, self._number = Condition(), count()
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._thread: Thread | None = None
        self._is_closed = False

    def call(self, seconds: float, work: Callable[[], object]) -> None:
        """Make a call later: it must be quick and raise nothing, for the others wait for it.

        Parameters
        ----------
        seconds : float
            When, from now.
        work : callable
            What is called.
        """
        with self._turn:
            if not self._is_closed:
                heapq.heappush(self._waiting, (time.monotonic() + seconds, next(self._number), work))
                if self._thread is None:
                    self._thread = Thread(target=self._run, name=self._name, daemon=True)
                    self._thread.start()
                self._turn.notify()
                return
        work()

    def close(self) -> None:
        """Make at once what still waits, and end; doing so twice is no mistake."""
        with self._turn:
            self._is_closed = True
            self._turn.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], object] | None:
        """The next call, once its time has come; None where there will be no more."""
        with self._turn:
            while not self._is_closed:
                seconds = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if seconds is not None and seconds <= 0:
                    break
                self._turn.wait(seconds)
            return heapq.heappop(self._waiting)[2] if self._waiting else None
