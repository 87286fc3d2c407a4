"""Reading what is known of customers right now.

Enters: customers. Leaves: whole feature rows, with the age of every part. Invariant: a customer of whom nothing is
known is told apart from one who has done nothing lately, and neither from a store that is not filled by guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from tenure.app.place import Place
from tenure.app.stream import open_stream
from tenure.core.errors import HistoryError, NotFoundError, StateError, UnreachableError
from tenure.core.time import format_instant
from tenure.features.declare import FeatureSet
from tenure.source.fields import TOLERANCE
from tenure.store.hybrid import HybridRow, read_hybrid
from tenure.store.stream import Stream

__all__ = ["customer_row", "customer_vectors"]

_INSTANT = pa.timestamp("us", "UTC")
_TYPES = {"count": pa.int64(), "text": pa.string()}


def customer_row(stream: Stream, features: FeatureSet, customer: str, as_of: datetime | None = None) -> HybridRow:
    """The row of one customer, who must be known.

    Raises
    ------
    NotFoundError
        No event of the customer was folded, and no batch published a row.
    HistoryError
        The states count events after `as_of`, or it lies in the future.
    StateError
        The customer's partition is not filled.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.app.stream import consume_all
    >>> from tenure.app.stream_append import append_events
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> done = append_events(place, [{"type": "order", "customer_id": "c1", "time": "2026-01-31", "amount": 7}])
    >>> with open_stream(place) as (stream, features):
    ...     consume_all(stream)
    ...     customer_row(stream, features, "c1").events
    'online'
    """
    [row] = _rows(stream, features, [customer], as_of)
    [kept] = stream.store.read([customer])
    if kept.state is None and kept.row is None:
        raise NotFoundError(
            f"Nothing is known of the customer {customer!r}: no event was folded and no batch row published.",
            hint="Ids are compared letter by letter. `tenure stream status` tells whether events wait to be folded.",
            customer_id=customer,
        )
    return row


def customer_vectors(place: Place, customers: Sequence[str], as_of: datetime | None = None) -> pa.Table:
    """Feature rows of customers as a table: `customer_id`, `as_of` (UTC), and every feature in its order.

    Parameters
    ----------
    place : Place
        The project.
    customers : sequence of str
        Who; whoever has had no event has a row, too.
    as_of : datetime, optional
        The instant that rows speak for; default: now.

    Raises
    ------
    HistoryError
        The states count events after `as_of`, or it lies in the future.
    StateError
        The online store is not filled.
    UnreachableError
        It does not answer.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.app.stream import consume_all
    >>> from tenure.app.stream_append import append_events
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> done = append_events(place, [{"type": "order", "customer_id": "c1", "time": "2026-01-31", "amount": 7}])
    >>> with open_stream(place) as (stream, features):
    ...     consume_all(stream)
    >>> customer_vectors(place, ["c1", "c2"])["order_days_since_last"].is_null().to_pylist()
    [False, True]
    """
    with open_stream(place) as (stream, features):
        rows = _rows(stream, features, customers, as_of)
    columns = {
        "customer_id": pa.array([row.customer_id for row in rows], pa.string()),
        "as_of": pa.array([row.as_of for row in rows], _INSTANT),
    }
    for name, kind in features.kinds.items():
        columns[name] = pa.array([row.values[name] for row in rows], _TYPES.get(kind, pa.float64()))
    return pa.table(columns)


def _rows(stream: Stream, features: FeatureSet, customers: Sequence[str], as_of: datetime | None) -> list[HybridRow]:
    _refuse_future(stream, as_of)
    try:
        rows = read_hybrid(stream.store, features, stream.rules.layout, customers, as_of, stream.clock)
    except StateError as error:
        if as_of is None or isinstance(error, UnreachableError):
            raise
        raise HistoryError(
            f"The online store cannot speak for {format_instant(as_of)}: {error.message}",
            hint="It knows the present. For the past, use `tenure features --as-of …`.",
            as_of=as_of,
        ) from error
    if any(row.events == "none" for row in rows):
        raise StateError(
            f"{stream.store.name} is not filled: it has no complete states of these features.",
            hint="Run `tenure stream`: it fills what is missing.",
        )
    return rows


def _refuse_future(stream: Stream, as_of: datetime | None) -> None:
    now = stream.clock()
    if as_of is not None and as_of > now + TOLERANCE:
        raise HistoryError(
            f"The instant {format_instant(as_of)} lies in the future: it is {format_instant(now)}.",
            hint="Leave --as-of out: features then speak for now.",
            as_of=as_of,
        )
