"""Feature vectors of customers, as of now or of any later instant, from the online store.

Enters: customers. Leaves: their features, finished from their states in one round trip.

Without an instant, each vector speaks for now; where the reader's clock is behind that of whoever produced the newest
event, for the instant at which that event counts. Invariant: a customer without a state has had no event, because a
partition whose states are not complete is never read as if it were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenure.core.errors import StateError
from tenure.core.time import Clock, system_clock, to_micros
from tenure.features.finish import finish
from tenure.features.series import Layout
from tenure.features.state import settle
from tenure.features.wire import decode
from tenure.store.protocol import Kept, OnlineStore

__all__ = ["Vectors", "finished", "is_ready", "read_vectors"]


@dataclass(frozen=True)
class Vectors:
    """Finished features of some customers.

    Parameters
    ----------
    customer_id : tuple of str
        Who, in the order asked for.
    as_of : int64 array (n,)
        The instant that each row speaks for, microseconds UTC.
    folded : int64 array (n,)
        Until when, in microseconds UTC, the log has been folded into the customer's partition: the time at which the
        newest folded record was appended, or later, where the consumer then found nothing more to fold.
    newest : int64 array (n,)
        From when on, in microseconds UTC, the newest event counts that is in the customer's state; `NOTHING` of
        `tenure.features.state` where there is none.
    columns : mapping of str to float64 array (n,)
        Features by name; NaN where there is no value.
    """

    customer_id: tuple[str, ...]
    as_of: NDArray[np.int64]
    folded: NDArray[np.int64]
    newest: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]


def read_vectors(
    store: OnlineStore,
    layout: Layout,
    customers: Sequence[str],
    as_of: datetime | None = None,
    clock: Clock = system_clock,
) -> Vectors:
    """Read and finish the features of customers.

    Parameters
    ----------
    store : OnlineStore
        Where states are.
    layout : Layout
        Which features.
    customers : sequence of str
        Who.
    as_of : datetime, optional
        The instant that all rows speak for; default: now.
    clock : Clock
        What time it is.

    Raises
    ------
    StateError
        States are missing or of other features, or count events that came after `as_of`.
    UnreachableError
        The store does not answer.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream() as stream:
    ...     vectors = read_vectors(stream.store, stream.rules.layout, ["ana", "nobody"], clock=stream.clock)
    >>> vectors.columns["pay_count_7d"].tolist()
    [2.0, 0.0]
    """
    kept = store.read(customers)
    unready = sorted({one.partition for one in kept if not is_ready(store, one, layout)})
    if unready:
        raise StateError(
            f"The online store has no complete states of these features for partitions {', '.join(map(str, unready))}.",
            hint="Run `tenure stream`: it fills what is missing.",
            partitions=unready,
        )
    return finished(layout, kept, as_of, clock)


def is_ready(store: OnlineStore, kept: Kept, layout: Layout) -> bool:
    """Whether the customer's partition holds complete states of these features.

    A store that was filled when the log had another number of partitions has put some customers elsewhere.
    """
    note = {} if kept.mark is None else kept.mark.note
    return note.get("ready") is True and note["layout"] == layout.hash and note.get("partitions") == store.partitions


def finished(layout: Layout, kept: Sequence[Kept], as_of: datetime | None, clock: Clock = system_clock) -> Vectors:
    """Finish the states of customers whose partitions are ready."""
    states = decode(layout, [one.state for one in kept])
    at = np.full(len(kept), to_micros(as_of or clock()))
    if as_of is None:
        at = np.maximum(at, states.floor)
    states = settle(states, at)  # an event that was ahead when it was folded may count by now
    notes: list[Mapping[str, Any]] = [one.mark.note if one.mark else {} for one in kept]
    folded = np.array([max(note.get("appended", 0), note.get("caught_up", 0)) for note in notes], dtype=np.int64)
    return Vectors(tuple(one.customer_id for one in kept), at, folded, states.floor, finish(states, at))
