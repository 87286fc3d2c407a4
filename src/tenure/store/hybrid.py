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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.core.time import DAY_MICROS, Clock, from_micros, system_clock, to_micros
from tenure.features.declare import TENURE_DAYS, FeatureSet, Kind
from tenure.features.series import Layout
from tenure.features.state import NOTHING
from tenure.store.protocol import Kept, OnlineStore
from tenure.store.vectors import Vectors, finished, is_ready

__all__ = ["NOTHING", "Events", "HybridRow", "HybridRows", "OnlineRows", "pack_rows", "read_hybrid"]

Events = Literal["online", "batch", "none"]
"""Where the features of events come from; none: neither states nor a batch row can be had."""
Column = NDArray[np.float64] | list[str | None]
Integers = NDArray[np.int64]
_SECOND = 1_000_000
_PLANS = 4  # versions whose features are read side by side: one that serves, one that follows, a margin
_HEAD = len('{"as_of":')


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
    events: Events
    events_age: timedelta | None
    attributes_age: timedelta | None


@dataclass(frozen=True, eq=False)
class HybridRows:
    """Features of several customers as columns, and their ages. Instants are microseconds UTC.

    Parameters
    ----------
    customer_id : tuple of str
        Who, in the order asked for.
    as_of : int64 array (n,)
        The instant that each row speaks for: of the reading, or of the batch.
    events : tuple of {"online", "batch", "none"}
        Where the features of events come from.
    known : bool array (n,)
        Whether the store keeps a state or a batch row of the customer.
    unready : bool array (n,)
        Whether the customer's partition is not filled, or holds states of other features: whoever is not known there
        may only be not known yet.
    newest : int64 array (n,)
        From when on the newest event counts that was folded; `NOTHING` where none was, or the states cannot be had.
    folded : int64 array (n,)
        When the newest record was appended that was folded into the customer's partition; `NOTHING` where the states
        cannot be had.
    attributes_as_of : int64 array (n,)
        The instant of the customer's batch row; `NOTHING` where there is none.
    columns : mapping of str to float64 array (n,) or list of str or None
        Every feature by name, in the order of their declaration: numbers, NaN where missing, or texts.
    """

    customer_id: tuple[str, ...]
    as_of: Integers
    events: tuple[Events, ...]
    known: NDArray[np.bool_]
    unready: NDArray[np.bool_]
    newest: Integers
    folded: Integers
    attributes_as_of: Integers
    columns: Mapping[str, Column]


class OnlineRows:
    """Reads hybrid rows of customers; it may be called from several threads at once.

    Parameters
    ----------
    store : OnlineStore
        States, and rows that a batch published.
    clock : Clock
        The instant that rows speak for; events that count only later push it on for their customer.
    observe : callable
        Told after each reading how old the features of events are, in seconds, one number for each row that has any:
        since the newest folded record was appended, or since the batch.

    Examples
    --------
    >>> from tenure.testing.stream import SMALL_FEATURES, small_stream
    >>> ages = []
    >>> with small_stream() as stream:
    ...     rows = OnlineRows(stream.store, stream.clock, ages.extend).read(SMALL_FEATURES, ["bo", "nobody"])
    >>> rows.columns["pay_days_since_last"].tolist(), rows.events, rows.known.tolist(), ages
    ([0.75, nan], ('online', 'online'), [True, False], [0.0, 0.0])
    """

    def __init__(self, store: OnlineStore, clock: Clock, observe: Callable[[Sequence[float]], None]) -> None:
        self.store, self.clock, self._observe = store, clock, observe
        self._plans: tuple[_Plan, ...] = ()

    def read(self, features: FeatureSet, customers: Sequence[str]) -> HybridRows:
        """Read whole rows of customers, in one round trip.

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
            What it keeps is damaged, or a batch row holds text where the features want a number.
        """
        now = to_micros(self.clock())
        rows = _read(self.store, self._plan(features), customers, None, now)
        self._observe(_ages(rows, now))
        return rows

    def _plan(self, features: FeatureSet) -> _Plan:
        """What is worked out once for a set of features; two threads may both do it, to no harm."""
        for plan in self._plans:
            if plan.features is features:  # comparing all declarations takes longer than a reading
                return plan
        made = _Plan.of(features, Layout.of(features))
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
    now, plan = as_of or clock(), _Plan.of(features, layout)
    rows = _read(store, plan, customers, as_of, to_micros(now))
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
    return None if micros == NOTHING else now - from_micros(int(micros))


@dataclass(frozen=True)
class _Plan:
    """What of a set of features is worked out once: their names alone take longer than to read a customer."""

    features: FeatureSet
    layout: Layout
    kinds: Mapping[str, Kind]
    others: tuple[tuple[str, Kind], ...]  # what only a batch knows

    @classmethod
    def of(cls, features: FeatureSet, layout: Layout) -> Self:
        kinds = features.kinds
        return cls(features, layout, kinds, tuple(kinds.items())[len(features.events) :])


def _read(store: OnlineStore, plan: _Plan, customers: Sequence[str], as_of: datetime | None, now: int) -> HybridRows:
    kept = store.read(customers)
    batch_at = np.fromiter((_published(one.row) for one in kept), dtype=np.int64, count=len(kept))
    ready = np.fromiter((is_ready(store, one, plan.layout) for one in kept), dtype=np.bool_, count=len(kept))
    online = kept if ready.all() else [one for one, is_online in zip(kept, ready, strict=True) if is_online]
    vectors = finished(plan.layout, online, as_of, lambda: from_micros(now))
    has_row = batch_at != NOTHING
    at = _put(np.where(has_row, batch_at, now), ready, vectors.as_of)
    nothing = np.full(len(kept), NOTHING)
    return HybridRows(
        tuple(one.customer_id for one in kept),
        at,
        tuple("online" if fresh else "batch" if row else "none" for fresh, row in zip(ready, has_row, strict=True)),
        np.fromiter((one.state is not None or one.row is not None for one in kept), dtype=np.bool_, count=len(kept)),
        ~ready,
        _put(nothing, ready, vectors.newest),
        _put(nothing, ready, vectors.folded),
        batch_at,
        _columns(plan, kept, ready, vectors, at, batch_at),
    )


def _put(column: NDArray[Any], rows: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    """A copy of a column with these values in these rows."""
    return values if rows.all() else _placed(column, rows, values)


def _placed(column: NDArray[Any], rows: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    found = column.copy()
    found[rows] = values
    return found


def _published(row: bytes | None) -> int:
    """The instant of a batch row: `pack_rows` puts it first, so that nobody has to read the rest to know it."""
    return NOTHING if row is None else int(row[_HEAD : row.index(b",")])


def _columns(
    plan: _Plan,
    kept: Sequence[Kept],
    ready: NDArray[np.bool_],
    vectors: Vectors,
    at: Integers,
    batch_at: Integers,
) -> dict[str, Column]:
    """Every feature, from the states where they can be had, and from the batch."""
    columns: dict[str, Column] = dict(vectors.columns)
    if not ready.all():
        documents = [{} if is_online else _values(one) for one, is_online in zip(kept, ready, strict=True)]
        for name in vectors.columns:
            columns[name] = _placed(_numbers(name, documents), ready, vectors.columns[name])
    if plan.others:
        documents = [_values(one) for one in kept]
        for name, kind in plan.others:
            columns[name] = _texts(name, documents) if kind == "text" else _numbers(name, documents)
        if plan.features.tenure:
            since_batch = np.where(batch_at == NOTHING, 0, at - batch_at) / DAY_MICROS
            columns[TENURE_DAYS] = _numbers(TENURE_DAYS, documents) + since_batch
    return columns


def _values(one: Kept) -> dict[str, Any]:
    values: dict[str, Any] = {} if one.row is None else json.loads(one.row)["values"]
    return values


def _numbers(name: str, documents: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    cells = [document.get(name) for document in documents]
    if any(isinstance(cell, str) for cell in cells):
        raise _foreign(name, "numbers")
    return np.array([math.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)


def _texts(name: str, documents: Sequence[Mapping[str, Any]]) -> list[str | None]:
    cells = [document.get(name) for document in documents]
    if not all(cell is None or isinstance(cell, str) for cell in cells):
        raise _foreign(name, "text")
    return cells


def _foreign(name: str, kind: str) -> StateError:
    return StateError(
        f"The batch rows in the online store do not hold {kind} as {name!r}, and the features want that.",
        hint="Run `tenure stream publish`: it writes the rows of the features that serve now.",
        column=name,
    )


def _ages(rows: HybridRows, now: int) -> list[float]:
    """How old the features of events are, in seconds, of rows that have any; a clock that is behind says 0."""
    since = {"online": rows.folded, "batch": rows.as_of}
    micros = [now - int(since[events][place]) for place, events in enumerate(rows.events) if events != "none"]
    return [max(age, 0) / _SECOND for age in micros]
