"""Records of the log become events in columns.

Enters: a batch as the log gives it. Leaves: the events of each type, ready to be folded, and a fault for every
record that is none. Invariant: every record of the batch is in exactly one of them, and which one depends on the
record alone, not on its neighbours and not on when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

import numpy as np
import pyarrow as pa

from tenure.source.columns import read_columns
from tenure.source.event_schema import NEVER, EventRows, EventSchema, Fault
from tenure.source.judge import Event, Rejected, Rules, judge
from tenure.source.log import Batch, partition_rule

__all__ = ["NEVER", "EventRows", "EventSchema", "Fault", "parse"]


def parse(
    batch: Batch,
    schemas: Mapping[str, EventSchema],
    zone: tzinfo,
    *,
    partitions: int | None = None,
    partitioner: str = "crc32",
) -> tuple[dict[str, EventRows], list[Fault]]:
    """Turn a batch into the events of each type and the faults.

    Parameters
    ----------
    batch : Batch
        Records of one partition.
    schemas : mapping of str to EventSchema
        The event types that are known.
    zone : tzinfo
        Where times without an offset happened.
    partitions : int, optional
        How many partitions the log has: a customer who belongs to another one is a fault.
    partitioner : {"crc32", "murmur2"}
        How customers are put into partitions.

    Returns
    -------
    events : dict of str to EventRows
        One entry for every type of `schemas`, in the order of the batch.
    faults : list of Fault
        In the order of the batch.

    Examples
    --------
    >>> from datetime import UTC
    >>> good = b'{"type": "visit", "customer_id": "ada", "time": "2026-01-31T12:00:00Z", "minutes": 2.5}'
    >>> stamps = np.full(2, 1_800_000_000_000_000)
    >>> batch = Batch(0, np.arange(2), stamps, [good, b"{broken"], [b"ada", b"ada"])
    >>> events, faults = parse(batch, {"visit": EventSchema("visit", values=("minutes",))}, UTC)
    >>> events["visit"].customer_id.to_pylist(), events["visit"].values["minutes"].tolist()
    (['ada'], [2.5])
    >>> [(fault.row, fault.reason) for fault in faults]
    [(1, 'malformed event')]
    """
    home = None if partitions is None else partition_rule(partitions, partitioner)
    rules = Rules(schemas, zone, batch.partition, home)
    pieces, left = read_columns(batch, rules)
    judged: dict[str, list[tuple[int, Event]]] = {name: [] for name in schemas}
    faults = []
    appended = batch.appended
    for row in np.sort(left).tolist():
        try:
            event = judge(batch.payloads[row], int(appended[row]), rules)
        except Rejected as why:
            faults.append(Fault(row, why.reason, why.detail))
        else:
            judged[event.schema.name].append((row, event))
    for name, events in judged.items():
        if events or not pieces[name]:
            pieces[name].append(_columns(schemas[name], events))
    return {name: _together(schemas[name], pieces[name]) for name in schemas}, faults


def _columns(schema: EventSchema, events: Sequence[tuple[int, Event]]) -> EventRows:
    """Events that were judged one by one, as columns."""
    found = [event for _, event in events]

    def numbers(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    return EventRows(
        numbers([row for row, _ in events]),
        pa.array([event.customer_id for event in found], pa.string()),
        numbers([event.time for event in found]),
        numbers([event.recorded for event in found]),
        pa.array([event.id for event in found], pa.string()) if schema.needs_id else None,
        {n: np.array([event.values[i] for event in found], dtype=np.float64) for i, n in enumerate(schema.values)},
        {n: pa.array([event.categories[i] for event in found], pa.string()) for i, n in enumerate(schema.categories)},
    )


def _together(schema: EventSchema, pieces: Sequence[EventRows]) -> EventRows:
    """Put pieces together, in the order of the batch."""
    if len(pieces) == 1:
        return pieces[0]
    row = np.concatenate([piece.row for piece in pieces])
    order = np.argsort(row, kind="stable")
    taken = pa.array(order)

    def texts(parts: Sequence[pa.StringArray]) -> pa.StringArray:
        return pa.concat_arrays(parts).take(taken)

    return EventRows(
        row[order],
        texts([piece.customer_id for piece in pieces]),
        np.concatenate([piece.time for piece in pieces])[order],
        np.concatenate([piece.recorded for piece in pieces])[order],
        texts([piece.id for piece in pieces]) if schema.needs_id else None,
        {name: np.concatenate([piece.values[name] for piece in pieces])[order] for name in schema.values},
        {name: texts([piece.categories[name] for piece in pieces]) for name in schema.categories},
    )
