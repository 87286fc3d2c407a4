"""The consumer at work, and what is told of it while it runs.

Enters: an open `Stream`, and somebody who listens. Leaves: a reading every second or so, and one over the whole run.
Invariant: whoever listens costs the consumer no more than a look at the log and the store per reading, and a store that
does not answer ends no reading: it is told instead.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tenure.app.stream import consume, consume_all, status
from tenure.core.errors import StateError
from tenure.store.consumer import Progressed
from tenure.store.stream import Stream

__all__ = ["Meter", "Reading", "run_consumer"]

_RECENT_SECONDS = 10.0


@dataclass(frozen=True)
class Reading:
    """What a consumer has done since it began, and how fast it is now.

    Parameters
    ----------
    seconds : float
        Since it began.
    records : int
        Folded or set aside by this process.
    events, duplicates, known, late, dead : int
        What became of them: counted, seen before, in history already, counted but later than five minutes, unreadable.
    records_per_second : float
        In the last ten seconds.
    fresh_p99_seconds : float or None
        How old 99 of 100 records of the last ten seconds were at most when they could be read; None: there were none.
    lag : int or None
        Records in the log that nobody has folded yet, of all partitions; None where that cannot be told now.
    trouble : str
        What the consumer waits for, if it waits.
    """

    seconds: float
    records: int
    events: int
    duplicates: int
    known: int
    late: int
    dead: int
    records_per_second: float
    fresh_p99_seconds: float | None
    lag: int | None = None
    trouble: str = ""


class Meter:
    """Adds up what a consumer tells.

    Parameters
    ----------
    monotonic : callable
        Seconds on a clock that never runs backwards.

    Examples
    --------
    >>> ticks = iter([0.0, 1.0, 2.0])
    >>> meter = Meter(lambda: next(ticks))
    >>> meter.take(Progressed(0, 3, {"events": 2, "dead": 1}, np.array([0.1, 0.2, 0.3])))
    >>> found = meter.reading()
    >>> found.records, found.events, found.dead, found.records_per_second, found.fresh_p99_seconds
    (3, 2, 1, 1.5, 0.298)
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._counts: Counter[str] = Counter()
        self._records = 0
        self._recent: deque[tuple[float, NDArray[np.float64]]] = deque()

    def take(self, progressed: Progressed) -> None:
        """Take note of a commit."""
        self._counts.update(progressed.counts)
        self._records += progressed.fresh_seconds.size
        now = self._monotonic()
        self._recent.append((now, progressed.fresh_seconds))
        self._forget(now)

    def reading(self) -> Reading:
        """What there is to tell now."""
        now = self._monotonic()
        self._forget(now)
        ages = np.concatenate([fresh for _, fresh in self._recent]) if self._recent else np.empty(0)
        span = min(now - self._began, _RECENT_SECONDS)
        return Reading(
            seconds=round(now - self._began, 3),
            records=self._records,
            events=self._counts["events"],
            duplicates=self._counts["duplicates"],
            known=self._counts["known"],
            late=self._counts["late"],
            dead=self._counts["dead"],
            records_per_second=round(ages.size / span, 1) if span > 0 else 0.0,
            fresh_p99_seconds=round(float(np.percentile(ages, 99)), 3) if ages.size else None,
        )

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - _RECENT_SECONDS:
            self._recent.popleft()


def run_consumer(
    stream: Stream,
    *,
    stopped: Callable[[], bool],
    tell: Callable[[Reading], None],
    every_seconds: float = 1.0,
    until_caught_up: bool = False,
) -> Reading:
    """Fold events until it is to stop; then the archive has them, and the partitions are given back.

    Parameters
    ----------
    stream : Stream
        Open.
    stopped : callable
        Asked between batches whether to stop.
    tell : callable
        Given a reading now and then.
    every_seconds : float
        How often.
    until_caught_up : bool
        Stop when everything is folded that was appended before the start.

    Returns
    -------
    Reading
        Over the whole run.

    Raises
    ------
    StateError
        Something is wrong that waiting does not mend.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.app.place import Place
    >>> from tenure.app.stream import open_stream
    >>> from tenure.testing.shop import write_shop
    >>> with open_stream(Place.load(write_shop(Path(tempfile.mkdtemp())))) as (stream, features):
    ...     run_consumer(stream, stopped=lambda: False, tell=lambda reading: None, until_caught_up=True).records
    0
    """
    meter = Meter()
    due = time.monotonic() + every_seconds

    def is_over() -> bool:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + every_seconds
            tell(with_lag(stream, meter.reading()))
        return stopped()

    if until_caught_up:
        consume_all(stream, meter.take, is_over)
    else:
        consume(stream, is_over, meter.take)
    return with_lag(stream, meter.reading())


def with_lag(stream: Stream, reading: Reading) -> Reading:
    """The reading with the lag of all partitions, or with the reason why nobody knows it."""
    try:
        return replace(reading, lag=sum(one.lag for one in status(stream, sizes=False)))
    except StateError as error:
        return replace(reading, trouble=error.message)
