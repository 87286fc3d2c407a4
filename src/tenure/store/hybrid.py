"""Hybrid rows: what streams know now, and what a batch knew when it ran, behind one call.

Enters: customers. Leaves: a whole feature row for each of them, and how old every part of it is.

Features of events are finished from the online states. Attributes of customers come with the row that the last batch
published, and so do the features of events where the states cannot be had: a row is then older, and says so, instead of
missing. The time since a customer joined is finished at the instant of the row like everything else.

Invariant: every value comes from one part, and the age of that part is given with it; no value is made up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import pyarrow as pa

from tenure.core.time import DAY_MICROS, Clock, from_micros, span_micros, system_clock, to_micros
from tenure.features.declare import TENURE_DAYS, FeatureSet
from tenure.features.series import Layout
from tenure.store.protocol import Kept, OnlineStore
from tenure.store.vectors import Vectors, finished, is_ready

__all__ = ["HybridRow", "pack_rows", "read_hybrid"]


@dataclass(frozen=True)
class HybridRow:
    """One customer's features and their ages.

    Parameters
    ----------
    customer_id : str
        Who.
    as_of : datetime
        The instant, UTC, that the features of events speak for: of the reading, or of the batch.
    values : mapping of str to float, int, str or None
        Every feature by name, in the order of their declaration.
    events : {"online", "batch", "none"}
        Where the features of events come from; none: the customer is unknown to both.
    events_age : timedelta or None
        How long before the reading the newest record was appended that has been folded (online), or the batch ran.
    attributes_age : timedelta or None
        How long before the reading the batch ran that the attributes come from; None: there are none.
    """

    customer_id: str
    as_of: datetime
    values: Mapping[str, float | int | str | None]
    events: Literal["online", "batch", "none"]
    events_age: timedelta | None
    attributes_age: timedelta | None


def pack_rows(table: pa.Table, as_of: datetime) -> Iterator[tuple[str, bytes]]:
    """What is published of a batch: each customer's row, with the instant that it speaks for.

    Parameters
    ----------
    table : Arrow table
        `customer_id` and one column per feature.
    as_of : datetime
        UTC.

    Examples
    --------
    >>> from tenure.core.time import EPOCH
    >>> table = pa.table({"customer_id": ["ana"], "plan": ["basic"]})
    >>> dict(pack_rows(table, EPOCH))
    {'ana': b'{"as_of":0,"values":{"plan":"basic"}}'}
    """
    at = to_micros(as_of)
    names = [name for name in table.column_names if name not in {"customer_id", "cutoff"}]
    for row in table.to_pylist():
        document = {"as_of": at, "values": {name: row[name] for name in names}}
        yield row["customer_id"], json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def read_hybrid(
    store: OnlineStore,
    features: FeatureSet,
    layout: Layout,
    customers: Sequence[str],
    as_of: datetime | None = None,
    clock: Clock = system_clock,
) -> list[HybridRow]:
    """Read whole rows of customers, in one round trip.

    Parameters
    ----------
    store : OnlineStore
        States, and rows that a batch published.
    features : FeatureSet
        Which features.
    layout : Layout
        `Layout.of(features)`.
    customers : sequence of str
        Who.
    as_of : datetime, optional
        The instant of the reading; default: now.
    clock : Clock
        What time it is.

    Raises
    ------
    UnreachableError
        The store does not answer.
    StateError
        A state counts events that came after `as_of`.

    Examples
    --------
    >>> from tenure.testing.stream import SMALL_FEATURES, small_stream
    >>> with small_stream() as stream:
    ...     [row] = read_hybrid(stream.store, SMALL_FEATURES, stream.rules.layout, ["bo"], clock=stream.clock)
    >>> row.values["pay_days_since_last"], row.events, row.attributes_age
    (0.75, 'online', None)
    """
    now = as_of or clock()
    kept = store.read(customers)
    ready = [one for one in kept if is_ready(store, one, layout)]
    vectors = finished(layout, ready, as_of, lambda: now)
    online = dict(zip((one.customer_id for one in ready), _rows(vectors, features), strict=True))
    return [_hybrid(one, online.get(one.customer_id), features, now) for one in kept]


def _rows(vectors: Vectors, features: FeatureSet) -> Iterable[tuple[int, int, dict[str, float | int | None]]]:
    """Of each customer the instant, how far the log was folded, and the finished values."""
    kinds = features.kinds
    columns = {
        name: [_number(value, whole=kinds[name] == "count") for value in column.tolist()]
        for name, column in vectors.columns.items()
    }
    for place in range(len(vectors.customer_id)):
        values = {name: column[place] for name, column in columns.items()}
        yield int(vectors.as_of[place]), int(vectors.folded[place]), values


def _number(value: float, *, whole: bool) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if whole else value


def _hybrid(
    kept: Kept, online: tuple[int, int, dict[str, float | int | None]] | None, features: FeatureSet, now: datetime
) -> HybridRow:
    row: dict[str, Any] | None = None if kept.row is None else json.loads(kept.row)
    batch: dict[str, Any] = {} if row is None else row["values"]
    batch_at = None if row is None else from_micros(row["as_of"])
    batch_age = None if batch_at is None else now - batch_at
    events_age: timedelta | None = batch_age
    if online is not None:
        at, folded, values = online
        as_of, events_age = from_micros(at), now - from_micros(folded)
    else:
        as_of = batch_at or now
        values = {feature.name: batch.get(feature.name) for feature in features.events}
    known = {name: batch.get(name) for name in features.kinds if name not in values}
    tenure = known.get(TENURE_DAYS)
    if tenure is not None and batch_at is not None:
        known[TENURE_DAYS] = tenure + span_micros(as_of - batch_at) / DAY_MICROS
    whole = {**values, **known}
    return HybridRow(
        kept.customer_id,
        as_of,
        {name: whole[name] for name in features.names},
        "online" if online is not None else "batch" if row is not None else "none",
        events_age,
        batch_age,
    )
