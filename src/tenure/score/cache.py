"""Live scores, kept for whoever asks next.

Enters: scores by key. Leaves: the same scores, until they are too old to be of any use. Invariant: what is found under
a key was put under it; a cache that is full or was emptied forgets, and never confuses.

A cache does not judge whether a score is still fresh; who asks does, by `computed_at`. It keeps scores `KEEP` times as
long as they are fresh, so that there is something to answer while nothing fresh can be had.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from threading import Lock
from typing import Protocol

from tenure.score.served import ServedScore

__all__ = ["KEEP", "Cache", "MemoryCache", "NoCache"]

KEEP = 7
"""How many times its time to live a score is kept."""


class Cache(Protocol):
    """A place for live scores. Every method may be called from any thread."""

    @property
    def is_local(self) -> bool:
        """Whether it lies in the memory of this process: then it neither fails nor waits."""

    def get(self, keys: Sequence[str]) -> dict[str, ServedScore]:
        """The scores under keys; keys under which there is none are absent."""

    def put(self, scores: Mapping[str, ServedScore]) -> None:
        """Keep scores, in place of what was under their keys."""

    def close(self) -> None:
        """Give back what is open."""


class NoCache:
    """Keeps nothing.

    Examples
    --------
    >>> NoCache().get(["a:c1"])
    {}
    """

    is_local = True

    def get(self, keys: Sequence[str]) -> dict[str, ServedScore]:  # noqa: ARG002 - there is nothing under any
        """Find nothing."""
        return {}

    def put(self, scores: Mapping[str, ServedScore]) -> None:
        """Forget them at once."""

    def close(self) -> None:
        """Nothing is open."""


class MemoryCache:
    """Keeps scores in the memory of this process; where it is full, those that were put first go.

    Parameters
    ----------
    entries : int
        How many scores at most.
    ttl : timedelta
        How long a score is fresh; it is kept `KEEP` times as long.
    monotonic : callable
        Clock in seconds that never goes back.

    Examples
    --------
    >>> from tenure.core.time import EPOCH
    >>> score = ServedScore("c1", 0.2, "contact", 26.0, None, None, "high", None, "v1", None, "realtime", EPOCH, EPOCH)
    >>> cache = MemoryCache(1_000, timedelta(hours=1))
    >>> cache.put({"f:c1": score})
    >>> cache.get(["f:c1", "f:c2"]) == {"f:c1": score}
    True
    """

    is_local = True

    def __init__(self, entries: int, ttl: timedelta, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._entries, self._seconds, self._monotonic = entries, KEEP * ttl.total_seconds(), monotonic
        self._kept: dict[str, tuple[float, ServedScore]] = {}  # in the order in which they were put
        self._lock = Lock()

    def get(self, keys: Sequence[str]) -> dict[str, ServedScore]:
        """What is kept under keys."""
        now, found = self._monotonic(), {}
        for key in keys:
            kept = self._kept.get(key)
            if kept is not None and now < kept[0]:
                found[key] = kept[1]
        return found

    def put(self, scores: Mapping[str, ServedScore]) -> None:
        """Keep scores; what is too old, or too much, goes."""
        now = self._monotonic()
        with self._lock:
            for key, score in scores.items():
                self._kept.pop(key, None)
                self._kept[key] = (now + self._seconds, score)
            self._sweep(now)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def _sweep(self, now: float) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if len(self._kept) <= self._entries and now < self._kept[oldest][0]:
                return
            del self._kept[oldest]
