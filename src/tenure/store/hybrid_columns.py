"""Features of several customers as columns, put together from what a store keeps of them.

Enters: what is kept of customers, states and batch rows. Leaves: `HybridRows`. Invariant: a cell comes from the state
where the customer's state can be had, else from the batch row where that is one of these features, else it is missing;
one customer's damage is nobody else's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from tenure.core.errors import StateError
from tenure.core.time import DAY_MICROS, from_micros
from tenure.features.declare import TENURE_DAYS, FeatureSet, Kind
from tenure.features.series import Layout
from tenure.features.state import NOTHING
from tenure.store.protocol import Kept, OnlineStore
from tenure.store.vectors import Vectors, finished, is_ready

__all__ = ["Column", "Events", "HybridRows", "Plan", "assemble", "ready_rows", "whole_rows"]

Events = Literal["online", "batch", "none"]
"""Where the features of events come from; none: neither states nor a batch row can be had."""
Column = NDArray[np.float64] | list[str | None]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
_SECOND = 1_000_000
_HEAD = len('{"as_of":')


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
        Whether the states of the customer's partition cannot be had: it is not filled, or holds states of other
        features, or the customer's is damaged. Whoever is not known there may only be not known yet.
    newest : int64 array (n,)
        From when on the newest event counts that was folded; `NOTHING` where none was, or the states cannot be had.
    folded : int64 array (n,)
        Until when the log has been folded into the customer's partition (see `Vectors`); `NOTHING` where the states
        cannot be had.
    attributes_as_of : int64 array (n,)
        The instant of the customer's batch row; `NOTHING` where there is none.
    columns : mapping of str to float64 array (n,) or list of str or None
        Every feature by name, in the order of their declaration: numbers, NaN where missing, or texts.
    read_at : int
        When they were read.

    Examples
    --------
    A customer of whom the store knows what was appended until two seconds ago, and one of whom it knows nothing:

    >>> def instants(*seconds):
    ...     return np.array(seconds) * _SECOND
    >>> rows = HybridRows(
    ...     ("ana", "bo"),
    ...     instants(9, 9),
    ...     ("online", "none"),
    ...     np.array([True, False]),
    ...     np.array([False, True]),
    ...     instants(5, 0),
    ...     instants(7, 0),
    ...     instants(0, 0),
    ...     {},
    ...     9 * _SECOND,
    ... )
    >>> rows.ages()
    [2.0]
    """

    customer_id: tuple[str, ...]
    as_of: Integers
    events: tuple[Events, ...]
    known: Flags
    unready: Flags
    newest: Integers
    folded: Integers
    attributes_as_of: Integers
    columns: Mapping[str, Column]
    read_at: int

    def ages(self) -> list[float]:
        """How old the features of events were when they were read, in seconds, one number for each row that has any.

        Since the instant until which the log had been folded, or since the batch; a clock that is behind says 0.
        """
        since = {"online": self.folded, "batch": self.as_of}
        read = [int(since[events][place]) for place, events in enumerate(self.events) if events != "none"]
        return [max(self.read_at - at, 0) / _SECOND for at in read]


@dataclass(frozen=True)
class Plan:
    """What of a set of features is worked out once: their names alone take longer than to read a customer.

    Parameters
    ----------
    features : FeatureSet
        Which features.
    layout : Layout
        `Layout.of(features)`.
    kinds : mapping of str to {"count", "number", "text"}
        Of every feature, in the order of their declaration.
    events : frozenset of str
        Those that are made of events.
    others : tuple of (str, kind)
        Those that only a batch knows.
    """

    features: FeatureSet
    layout: Layout
    kinds: Mapping[str, Kind]
    events: frozenset[str]
    others: tuple[tuple[str, Kind], ...]

    @classmethod
    def of(cls, features: FeatureSet, layout: Layout) -> Self:
        """Of these features, with their layout."""
        kinds = features.kinds
        count = len(features.events)
        return cls(features, layout, kinds, frozenset(list(kinds)[:count]), tuple(kinds.items())[count:])


def ready_rows(store: OnlineStore, plan: Plan, kept: Sequence[Kept]) -> Flags:
    """Whose states can be read."""
    return np.fromiter((is_ready(store, one, plan.layout) for one in kept), dtype=np.bool_, count=len(kept))


def whole_rows(plan: Plan, kept: Sequence[Kept], ready: Flags) -> Flags:
    """Of those, whose states are not damaged; asked one by one, where all together could not be finished."""
    found = ready.copy()
    for place in np.flatnonzero(ready).tolist():
        try:
            finished(plan.layout, [kept[place]], None)
        except StateError:
            found[place] = False
    return found


def assemble(plan: Plan, kept: Sequence[Kept], ready: Flags, as_of: datetime | None, now: int) -> HybridRows:
    """Put rows together, with the features of events from the states of those who are ready.

    Parameters
    ----------
    plan : Plan
        Which features.
    kept : sequence of Kept
        What the store keeps of each customer.
    ready : bool array (n,)
        Whose states can be read.
    as_of : datetime or None
        The instant that rows from states speak for; None: for now, or later where an event counts only later.
    now : int
        Microseconds UTC.

    Raises
    ------
    StateError
        A state is damaged or counts events after `as_of`, or a batch row holds text where the features want a number.
    """
    online = kept if ready.all() else [one for one, is_online in zip(kept, ready, strict=True) if is_online]
    vectors = finished(plan.layout, online, as_of, lambda: from_micros(now))
    batch_at = np.fromiter((_published(one.row) for one in kept), dtype=np.int64, count=len(kept))
    batch = _batch(plan, kept, ready)
    has_events = np.fromiter((row.has_events for row in batch), dtype=np.bool_, count=len(kept))
    at = _put(np.where(has_events, batch_at, now), ready, vectors.as_of)
    nothing = np.full(len(kept), NOTHING)
    return HybridRows(
        tuple(one.customer_id for one in kept),
        at,
        tuple("online" if fresh else "batch" if old else "none" for fresh, old in zip(ready, has_events, strict=True)),
        np.fromiter((one.state is not None or one.row is not None for one in kept), dtype=np.bool_, count=len(kept)),
        ~ready,
        _put(nothing, ready, vectors.newest),
        _put(nothing, ready, vectors.folded),
        batch_at,
        _columns(plan, batch, ready, vectors, np.where(batch_at == NOTHING, 0, at - batch_at)),
        now,
    )


def _put(column: NDArray[Any], rows: Flags, values: NDArray[Any]) -> NDArray[Any]:
    """A copy of a column with these values in these rows."""
    return values if rows.all() else _placed(column, rows, values)


def _placed(column: NDArray[Any], rows: Flags, values: NDArray[Any]) -> NDArray[Any]:
    found = column.copy()
    found[rows] = values
    return found


def _published(row: bytes | None) -> int:
    """The instant of a batch row: `pack_rows` puts it first, so that nobody has to read the rest to know it."""
    return NOTHING if row is None else int(row[_HEAD : row.index(b",")])


@dataclass(frozen=True, slots=True)
class _BatchRow:
    """What is used of a batch row: nothing where there is none; its events only where it has all of them.

    A row of other features is no row of these: what it does not name is not missing, nobody has worked it out.
    """

    values: Mapping[str, Any]
    has_events: bool


_NO_ROW = _BatchRow({}, has_events=False)


def _batch(plan: Plan, kept: Sequence[Kept], ready: Flags) -> list[_BatchRow]:
    """The batch rows, so far as something of them is used."""
    found = []
    for one, is_online in zip(kept, ready.tolist(), strict=True):
        if one.row is None or (is_online and not plan.others):
            found.append(_NO_ROW)
            continue
        values = from_json(one.row)["values"]
        found.append(_BatchRow(values, has_events=not is_online and plan.events <= values.keys()))
    return found


def _columns(
    plan: Plan, batch: Sequence[_BatchRow], ready: Flags, vectors: Vectors, since_batch: Integers
) -> dict[str, Column]:
    """Every feature, from the states where they can be had, and from the batch."""
    columns: dict[str, Column] = dict(vectors.columns)
    if not ready.all():
        events = [row.values if row.has_events else {} for row in batch]
        for name in vectors.columns:
            columns[name] = _placed(_numbers(name, events), ready, vectors.columns[name])
    others = [row.values for row in batch]
    for name, kind in plan.others:
        columns[name] = _texts(name, others) if kind == "text" else _numbers(name, others)
    if plan.features.tenure:
        columns[TENURE_DAYS] = _numbers(TENURE_DAYS, others) + since_batch / DAY_MICROS
    return columns


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
