"""A tiny stream of known events, with every part real: an embedded log, an embedded store, an archive.

Enters: nothing. Leaves: a `Stream` in a temporary folder with five events on its log, folded where asked.
Invariant: the same every time, but for the folder and the log's identity.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from pathlib import Path

from tenure.core.database import open_database
from tenure.core.errors import StateError
from tenure.core.settings import RuntimeSettings, StreamSettings
from tenure.core.time import fixed_clock
from tenure.features.declare import Feature, FeatureSet
from tenure.features.series import Layout
from tenure.source.engine import open_engine
from tenure.source.event_schema import EventSchema
from tenure.source.history import History
from tenure.source.logs import open_log
from tenure.store.archive import Archive
from tenure.store.consumer import Consumer, caught_up
from tenure.store.folding import Rules
from tenure.store.online import open_online
from tenure.store.stream import Stream

__all__ = ["SMALL_FEATURES", "small_stream"]

NOW = "2026-01-31T12:00:00Z"
SMALL_FEATURES = FeatureSet(
    (
        Feature("pay", "count", window=timedelta(days=7)),
        Feature("pay", "sum", "amount", timedelta(days=28)),
        Feature("pay", "days_since_last"),
    )
)
_EVENTS = (
    ("ana", "2026-01-05T10:00:00Z", 20.0),
    ("ana", "2026-01-29T12:00:00Z", 5.0),
    ("ana", "2026-01-30T12:00:00Z", 2.5),
    ("bo", "2026-01-30T18:00:00Z", 9.0),
    ("cy", "2025-11-02T08:00:00Z", 1.0),
)


@contextmanager
def small_stream(*, folded: bool = True) -> Iterator[Stream]:
    """A stream with five payments of three customers; it is gone afterwards.

    Parameters
    ----------
    folded : bool
        Whether the events are in the store already, or only on the log.

    Examples
    --------
    >>> with small_stream() as stream:
    ...     sum(stream.store.size(partition) for partition in stream.store.marks())
    3
    """
    clock, settings = fixed_clock(NOW), StreamSettings(log="sqlite:///log.db", partitions=2)
    schemas = {"pay": EventSchema("pay", values=("amount",), needs_id=True)}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        log = open_log(settings, root, clock=clock)
        store = open_online("sqlite:///online.db", root, project="small", partitions=log.partitions)
        database = open_database("sqlite:///tenure.db", root=root)
        stream = Stream(
            settings,
            Rules(Layout.of(SMALL_FEATURES), schemas, UTC, log.partitions),
            log,
            store,
            Archive(root / "archive", schemas, clock),
            database,
            _no_history,
            lambda: open_engine(RuntimeSettings(threads=1), root),
            clock,
        )
        log.append([(customer, _payload(number)) for number, (customer, _, _) in enumerate(_EVENTS)])
        try:
            if folded:
                Consumer(stream).run(lambda: caught_up(stream))
            yield stream
        finally:
            store.close()
            log.close()
            database.dispose()


def _payload(number: int) -> bytes:
    customer, time, amount = _EVENTS[number]
    event = {"type": "pay", "customer_id": customer, "time": time, "id": f"p{number}", "amount": amount}
    return json.dumps(event).encode()


def _no_history() -> History:
    raise StateError("The small stream has no history.", hint="It begins with its log.")
