"""How a stream is doing: every partition, their totals, and what waits among the dead letters.

Enters: an open `Stream`. Leaves: numbers. Invariant: what they say was true at one look at the store and the log;
nothing is remembered between two looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tenure.app.stream import PartitionStatus, status
from tenure.store.consumer import COUNTS
from tenure.store.dead import counts, unretryable
from tenure.store.restore import origins
from tenure.store.stream import Stream

__all__ = ["StreamStatus", "stream_status"]


@dataclass(frozen=True)
class StreamStatus:
    """How a stream is doing.

    Parameters
    ----------
    at : datetime
        When it was looked at, UTC.
    log, store : str
        Where events come from and where states are.
    features : str
        Hash of the features that states are kept of.
    bootstrapped_as_of : datetime or None
        Until when history counts, UTC; None: the log counts from its beginning.
    ready : bool
        Whether every partition is complete.
    lag : int
        Records that are appended and not folded.
    behind_seconds : float or None
        How long ago the newest folded record of the partition that is furthest behind was appended; 0 where everything
        is folded, None where a partition has folded nothing yet.
    records_per_second : float or None
        How fast records were folded during the look; None where it took no time.
    customers : int or None
        How many have a state; None where they were not counted.
    events, duplicates, known, late, dead : int
        What became of the records since the store was filled.
    dead_letters : mapping of str to int
        Letters that wait, by reason.
    unretryable : int
        How many of them name no customer.
    partitions : tuple of PartitionStatus
        Each of them.
    """

    at: datetime
    log: str
    store: str
    features: str
    bootstrapped_as_of: datetime | None
    ready: bool
    lag: int
    behind_seconds: float | None
    records_per_second: float | None
    customers: int | None
    events: int
    duplicates: int
    known: int
    late: int
    dead: int
    dead_letters: Mapping[str, int]
    unretryable: int
    partitions: tuple[PartitionStatus, ...]


def stream_status(
    stream: Stream, *, sizes: bool = True, over_seconds: float = 0.0, sleep: Callable[[float], None] = time.sleep
) -> StreamStatus:
    """Look at a stream.

    Parameters
    ----------
    stream : Stream
        Open.
    sizes : bool
        Count customers, which takes a while where there are many.
    over_seconds : float
        Look twice with so much time between, and say how fast records were folded meanwhile.
    sleep : callable
        Waits.

    Raises
    ------
    StateError
        The log, the store or the database does not answer.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.app.place import Place
    >>> from tenure.app.stream import open_stream
    >>> from tenure.testing.shop import write_shop
    >>> with open_stream(Place.load(write_shop(Path(tempfile.mkdtemp())))) as (stream, features):
    ...     found = stream_status(stream)
    >>> found.ready, found.lag, len(found.partitions)
    (False, 0, 4)
    """
    before = _folded(status(stream, sizes=False)) if over_seconds else 0
    if over_seconds:
        sleep(over_seconds)
    found = status(stream, sizes=sizes)
    origin = next(iter(origins(stream.database, stream.log).values()), None)
    now = stream.clock()
    return StreamStatus(
        at=now,
        log=stream.log.name,
        store=stream.store.name,
        features=stream.rules.layout.hash,
        bootstrapped_as_of=origin.as_of if origin else None,
        ready=all(one.ready for one in found),
        lag=sum(one.lag for one in found),
        behind_seconds=_behind(found, now),
        records_per_second=(_folded(found) - before) / over_seconds if over_seconds else None,
        customers=sum(one.customers for one in found) if sizes else None,
        dead_letters=counts(stream.database),
        unretryable=unretryable(stream.database),
        partitions=tuple(found),
        **{name: sum(getattr(one, name) for one in found) for name in COUNTS},
    )


def _folded(found: list[PartitionStatus]) -> int:
    return sum(one.position for one in found)


def _behind(found: list[PartitionStatus], now: datetime) -> float | None:
    behind = [one.folded_until for one in found if one.lag]
    ages = [(now - until).total_seconds() for until in behind if until is not None]
    return None if len(ages) < len(behind) else max([0.0, *ages])
