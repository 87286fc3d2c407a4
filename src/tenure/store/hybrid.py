"""Hybrid rows: what streams know now, and what a batch knew when it ran, behind one call.

Enters: customers. Leaves: a whole feature row for each of them, and how old every part of it is.

Features of events are finished from the online states. Attributes of customers come with the row that the last batch
published, and so do the features of events where the states cannot be had: a row is then older, and says so, instead of
missing. The time since a customer joined is finished at the instant of the row like everything else.

Rows of several customers are columns (`HybridRows`), as they leave the states and as a model wants them: whoever scores
many customers at once never makes a row of one. `HybridRow` is the same for people, one customer at a time.

Invariant: every value comes from one part, and the age of that part is given with it; no value is made up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from tenure.core.errors import StateError
from tenure.core.time import Clock, from_micros, system_clock, to_micros
from tenure.features.declare import FeatureSet, Kind
from tenure.features.series import Layout
from tenure.features.state import NOTHING
from tenure.store.hybrid_columns import (
    Column,
    Events,
    HybridRows,
    Plan,
    assemble,
    ready_rows,
    whole_rows,
)
from tenure.store.protocol import OnlineStore

__all__ = ["NOTHING", "Events", "HybridRow", "HybridRows", "OnlineRows", "pack_rows", "read_hybrid"]

_PLANS = 4  # versions whose features are read side by side: one that serves, one that follows, a margin


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
        How long before the reading the log had been folded as far as it went (online), or the batch ran.
    attributes_age : timedelta or None
        How long before the reading the batch ran that the attributes come from; None: there are none.
    """

    customer_id: str
    as_of: datetime
    values: Mapping[str, float | int | str | None]
    events: Events
    events_age: timedelta | None
    attributes_age: timedelta | None


class OnlineRows:
    """Reads hybrid rows of customers; it may be called from several threads at once.

    Parameters
    ----------
    store : OnlineStore
        States, and rows that a batch published.
    clock : Clock
        The instant that rows speak for; events that count only later push it on for their customer.

    Examples
    --------
    >>> from tenure.testing.stream import SMALL_FEATURES, small_stream
    >>> with small_stream() as stream:
    ...     rows = OnlineRows(stream.store, stream.clock).read(SMALL_FEATURES, ["bo", "nobody"])
    >>> rows.columns["pay_days_since_last"].tolist(), rows.events, rows.known.tolist(), rows.ages()
    ([0.75, nan], ('online', 'online'), [True, False], [0.0, 0.0])
    """

    def __init__(self, store: OnlineStore, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self._plans: tuple[Plan, ...] = ()

    def probe(self) -> None:
        """Ask the store for something small; raises `StateError` where there is no answer."""
        self.store.marks()

    def read(self, features: FeatureSet, customers: Sequence[str]) -> HybridRows:
        """Read whole rows of customers, in one round trip.

        A state that is damaged costs its own customer the features of events, and nobody else.

        Parameters
        ----------
        features : FeatureSet
            Which features.
        customers : sequence of str
            Who.

        Raises
        ------
        UnreachableError
            The store does not answer.
        StateError
            A batch row holds text where the features want a number.
        """
        now, plan, kept = to_micros(self.clock()), self._plan(features), self.store.read(customers)
        ready = ready_rows(self.store, plan, kept)
        try:
            return assemble(plan, kept, ready, None, now)
        except StateError:
            whole = whole_rows(plan, kept, ready)
            if (whole == ready).all():
                raise
            return assemble(plan, kept, whole, None, now)

    def _plan(self, features: FeatureSet) -> Plan:
        """What is worked out once for a set of features; two threads may both do it, to no harm."""
        for plan in self._plans:
            if plan.features is features:  # comparing all declarations takes longer than a reading
                return plan
        made = Plan.of(features, Layout.of(features))
        self._plans = (made, *self._plans[: _PLANS - 1])
        return made


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
        A state counts events that came after `as_of`, or a batch row holds text where the features want a number.

    Examples
    --------
    >>> from tenure.testing.stream import SMALL_FEATURES, small_stream
    >>> with small_stream() as stream:
    ...     [row] = read_hybrid(stream.store, SMALL_FEATURES, stream.rules.layout, ["bo"], clock=stream.clock)
    >>> row.values["pay_days_since_last"], row.events, row.attributes_age
    (0.75, 'online', None)
    """
    now, plan, kept = as_of or clock(), Plan.of(features, layout), store.read(customers)
    rows = assemble(plan, kept, ready_rows(store, plan, kept), as_of, to_micros(now))
    columns = [_plain(rows.columns[name], kind) for name, kind in plan.kinds.items()]
    return [
        HybridRow(
            customer,
            from_micros(rows.as_of[place]),
            dict(zip(plan.kinds, (column[place] for column in columns), strict=True)),
            events,
            {"online": _since(now, rows.folded[place]), "batch": _since(now, rows.as_of[place])}.get(events),
            _since(now, rows.attributes_as_of[place]),
        )
        for place, (customer, events) in enumerate(zip(rows.customer_id, rows.events, strict=True))
    ]


def _plain(column: Column, kind: Kind) -> Sequence[float | int | str | None]:
    """A column as people read it: whole numbers as such, None where a number is missing."""
    if isinstance(column, list):
        return column
    whole = int if kind == "count" else float
    return [None if math.isnan(value) else whole(value) for value in column.tolist()]


def _since(now: datetime, micros: Any) -> timedelta | None:
    return None if micros == NOTHING else max(now - from_micros(int(micros)), timedelta(0))
