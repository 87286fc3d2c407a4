"""What becomes of a batch of records: which events count, and what the states of their customers are afterwards.

Enters: records of one partition as the log gives them. Leaves: the events to count, the faulty records with their
reasons, and new states. Invariant: every judgement is made by what the record and the partition say, never by the clock
of whoever folds, so that folding the same records again judges them the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tenure.core.time import span_micros, to_micros
from tenure.features.series import Layout
from tenure.features.state import Events, fold, merge, prune, settle
from tenure.features.wire import decode, encode
from tenure.source.log import Batch
from tenure.source.record import EventRows, EventSchema, Fault, parse
from tenure.store.seen import Seen, bucket_of, id_hashes

__all__ = [
    "HANDOVER_SPAN",
    "SEED_SPAN",
    "Counted",
    "Rules",
    "count",
    "fold_rows",
    "readable",
    "remember",
    "rows_from",
    "taken",
]

Rows = Mapping[str, EventRows]
# Where a bootstrap begins to read the log, ids of history are remembered two days further back: events may come late.
HANDOVER_SPAN = timedelta(hours=72)
_LATE_MICROS = span_micros(timedelta(minutes=5))
SEED_SPAN = HANDOVER_SPAN + timedelta(hours=48)


@dataclass(frozen=True)
class Rules:
    """What events are, which features are made of them, and where they belong.

    Parameters
    ----------
    layout : Layout
        What is remembered of a customer.
    schemas : mapping of str to EventSchema
        The event types that there are.
    zone : tzinfo
        In which times without an offset are read.
    partitions : int
        Of the log.
    partitioner : str
        How a customer's partition is found.
    """

    layout: Layout
    schemas: Mapping[str, EventSchema]
    zone: tzinfo
    partitions: int
    partitioner: str = "crc32"


@dataclass(frozen=True)
class Counted:
    """A batch, judged.

    Parameters
    ----------
    raw : mapping of str to EventRows
        Every readable event, as the archive keeps it.
    fresh : mapping of str to EventRows
        Those that count: not seen before, and not part of the history that the states began with.
    faults : sequence of Fault
        What cannot be read, by row of the batch.
    hashes : uint64 array
        Ids to remember.
    duplicates, known, late : int
        Events that were seen before; that history brought already; that came over five minutes after they happened.
    """

    raw: Rows
    fresh: Rows
    faults: Sequence[Fault]
    hashes: NDArray[np.uint64]
    duplicates: int
    known: int
    late: int


def count(rules: Rules, batch: Batch, seen: Seen, as_of: datetime | None) -> Counted:
    """Judge a batch.

    Parameters
    ----------
    rules : Rules
        What counts.
    batch : Batch
        Records of one partition.
    seen : Seen
        Ids that were counted before; it is not changed.
    as_of : datetime or None
        The instant until which history has been folded already; None where there was none.
    """
    raw, faults = readable(rules, batch)
    fresh, hashes = {}, [np.zeros(0, dtype=np.uint64)]
    duplicates = known = 0
    for name, rows in raw.items():
        new = np.ones(len(rows.row), dtype=bool)
        if as_of is not None:
            new = ~_in_history(rows, batch.appended[rows.row], to_micros(as_of))
            known += int((~new).sum())
        if rows.id is not None:
            ids = id_hashes(name, rows.id)
            unseen = seen.fresh(ids)
            duplicates += int((new & ~unseen).sum())
            new &= unseen
            hashes.append(ids[unseen])  # of what history brought, too: it may come again
        fresh[name] = taken(rows, new)
    late = sum(int((batch.appended[rows.row] - rows.time > _LATE_MICROS).sum()) for rows in fresh.values())
    return Counted(raw, fresh, faults, np.concatenate(hashes), duplicates, known, late)


def readable(rules: Rules, batch: Batch) -> tuple[dict[str, EventRows], list[Fault]]:
    """The events of a batch by type, and what is no event of this partition."""
    return parse(batch, rules.schemas, rules.zone, partitions=rules.partitions, partitioner=rules.partitioner)


def fold_rows(
    layout: Layout, fresh: Rows, now: int, stored: Callable[[Sequence[str]], Sequence[bytes | None]]
) -> dict[str, bytes]:
    """Fold events into the states of their customers.

    Parameters
    ----------
    layout : Layout
        What is remembered.
    fresh : mapping of str to EventRows
        Events to count, by type.
    now : int
        Microseconds UTC: what is visible later is kept waiting.
    stored : callable
        Gives the states of customers, None where there is none.

    Returns
    -------
    dict of str to bytes
        The new state of every customer who has an event.
    """
    rows = {name: fresh[name] for name in layout.events if name in fresh and len(fresh[name].row)}
    if not rows:
        return {}
    ids = pa.chunked_array([one.customer_id for one in rows.values()]).combine_chunks().dictionary_encode()
    customers, owners = ids.dictionary.to_pylist(), ids.indices.to_numpy().astype(np.int64)
    events, start = {}, 0
    for name, one in rows.items():
        events[name] = _events(layout, name, one, owners[start : start + len(one.row)])
        start += len(one.row)
    before = settle(decode(layout, stored(customers)), now)
    after = prune(merge(before, fold(layout, events, len(customers), now)))
    return dict(zip(customers, encode(after), strict=True))


def taken(rows: EventRows, mask: NDArray[np.bool_]) -> EventRows:
    """Some of the rows."""
    if mask.all():
        return rows
    chosen = pa.array(mask)
    return EventRows(
        rows.row[mask],
        rows.customer_id.filter(chosen),
        rows.time[mask],
        rows.recorded[mask],
        None if rows.id is None else rows.id.filter(chosen),
        {name: column[mask] for name, column in rows.values.items()},
        {name: column.filter(chosen) for name, column in rows.categories.items()},
    )


def rows_from(table: pa.Table, schema: EventSchema) -> EventRows:
    """Events of a canonical table, for folding what lies in files."""
    size = table.num_rows

    def times(name: str) -> NDArray[np.int64]:
        if name not in table.column_names:
            return np.full(size, np.iinfo(np.int64).min)
        column = table[name].cast(pa.int64()).fill_null(np.iinfo(np.int64).min)
        found: NDArray[np.int64] = column.combine_chunks().to_numpy(zero_copy_only=False)
        return found

    def texts(name: str) -> pa.StringArray:
        return table[name].cast(pa.string()).combine_chunks()

    return EventRows(
        np.arange(size),
        texts("customer_id"),
        times("time"),
        times("recorded"),
        texts("id") if schema.needs_id and "id" in table.column_names else None,
        {
            name: table[name].combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)
            for name in schema.values
        },
        {name: texts(name) for name in schema.categories},
    )


def _visible(rows: EventRows) -> NDArray[np.int64]:
    return np.maximum(rows.time + 1, rows.recorded)


def _in_history(rows: EventRows, appended: NDArray[np.int64], as_of: int) -> NDArray[np.bool_]:
    """Whether history, as of an instant, has brought the event already, as far as its id cannot tell."""
    before = _visible(rows) <= as_of
    if rows.id is None:
        return before
    return before & (appended <= as_of) & (rows.time < as_of - span_micros(SEED_SPAN))


def _events(layout: Layout, name: str, rows: EventRows, owner: NDArray[np.int64]) -> Events:
    values, categories = layout.columns[name]
    return Events(
        owner,
        rows.time,
        _visible(rows),
        {value: rows.values[value] for value in values},
        {category: rows.categories[category].to_numpy(zero_copy_only=False) for category in categories},
    )


def remember(seen: Seen, counted: Counted, appended: int) -> dict[int, bytes]:
    """Take the ids of a batch as seen, and say what is to be stored of them."""
    bucket = bucket_of(appended)
    blob = seen.add(bucket, counted.hashes)
    return {bucket: blob} if blob else {}
