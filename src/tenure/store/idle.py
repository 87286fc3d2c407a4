"""Connections that wait to be used again.

Enters: how to make a connection, and whether one that waited can still be trusted. Leaves: a connection that nobody
else uses meanwhile. Invariant: only what was given back is lent again, so a connection whose use ended with an error,
and on which an answer may still arrive, is never seen by anyone else.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["Idle"]


class _Closable(Protocol):
    def close(self) -> object: ...


T = TypeVar("T", bound=_Closable)


class Idle(Generic[T]):
    """Lend connections, the most recently used first.

    Parameters
    ----------
    make : callable
        Opens a connection.
    is_usable : callable
        Tells of one that waited whether it can still be used.
    keep : int
        How many may wait at most.

    Examples
    --------
    >>> import io
    >>> idle = Idle(io.BytesIO, lambda file: not file.closed)
    >>> first = idle.take()
    >>> idle.give(first)
    >>> idle.take() is first
    True
    """

    def __init__(self, make: Callable[[], T], is_usable: Callable[[T], bool], keep: int = 64) -> None:
        self._make, self._is_usable, self._keep = make, is_usable, keep
        self._waiting: deque[T] = deque()
        self._parents: list[deque[T]] = []
        self._process = os.getpid()
        self._closed = False

    def take(self) -> T:
        """Take a connection that waits, or make one."""
        if self._process != os.getpid():  # a forked process must not talk on its parent's connections
            self._parents.append(self._waiting)  # never closed here: that, too, would be talking on them
            self._waiting, self._process = deque(), os.getpid()
        while self._waiting:
            try:
                found = self._waiting.pop()
            except IndexError:  # another thread was quicker
                break
            if self._is_usable(found):
                return found
            found.close()
        return self._make()

    def give(self, used: T) -> None:
        """Give back a connection on which nothing is outstanding."""
        if self._closed or len(self._waiting) >= self._keep:
            used.close()
        else:
            self._waiting.append(used)

    def close(self) -> None:
        """Close those that wait, and from now on those that are given back."""
        self._closed = True
        while self._waiting:
            self._waiting.pop().close()
