"""Faults planted in a simulated log, and the log's rows as a table.

Enters: clean events of one period. Leaves: an Arrow table with the log's columns, and a count of every fault in it.
Invariant: faults only add to the log. A late event keeps its time and gets a later `recorded`; a duplicate repeats a
whole row, id included; a corrupt row is an extra one with an id of its own. Taking out what is counted here gives back
exactly the clean events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.source.simulation.hazard import PLANS, Ints
from tenure.source.simulation.population import CHANNELS, DAY, KINDS, Bools, Rows

__all__ = ["REASONS", "Entries", "FaultRates", "entries_table", "event_schema", "plant", "times"]

REASONS = ("missing customer", "unreadable time", "unreadable value", "time in the future")
_MISSING, _NO_TIME, _NO_VALUE, _FUTURE = range(len(REASONS))
_SOUND = -1

LEAST_DELAY, MEAN_EXTRA_DELAY = DAY // 24, 3 * DAY
INTO_THE_FUTURE = 200 * 365 * DAY
# The four hexadecimal digits of every 16-bit number, each as one machine word: ids are put together from four of them.
_DIGITS = np.frombuffer(b"".join(b"%04x" % number for number in range(1 << 16)), dtype=np.uint32)


@dataclass(frozen=True)
class FaultRates:
    """Shares of the clean events that are late, that are repeated, and beside which a corrupt row stands."""

    late: float = 0.0
    duplicates: float = 0.0
    corrupt: float = 0.0


@dataclass(frozen=True)
class Entries:
    """Rows as the log holds them; arrays of equal length.

    `number` tells events apart, `recorded` is -1 where the event was known at once, `fault` is a position in `REASONS`
    or -1. `late` and `duplicates` count events that are late and rows that repeat another.
    """

    rows: Rows
    number: Ints
    recorded: Ints
    fault: NDArray[np.int8]
    late: int
    duplicates: int


def plant(rows: Rows, rates: FaultRates, first_number: int, rng: np.random.Generator) -> Entries:
    """Number the rows from `first_number` on and plant faults among them.

    A cancellation is never late: that a customer is gone is known at once, so who is at risk at a cutoff is the same
    with late events as without.
    """
    size = len(rows)
    recorded = np.full(size, -1, dtype=np.int64)
    late = _some(size, rates.late, rng)
    late = late[rows.kind[late] != KINDS.index("cancel")]
    delay = LEAST_DELAY + (rng.standard_exponential(len(late)) * MEAN_EXTRA_DELAY).astype(np.int64)
    recorded[late] = rows.time[late] + delay

    again = _some(size, rates.duplicates, rng)
    broken, fault = _broken(rows, rates.corrupt, rng)
    number = first_number + np.arange(size + len(broken))
    return Entries(
        rows=Rows.join([rows, rows.take(again), rows.take(broken)]),
        number=np.concatenate([number[:size], number[again], number[size:]]),
        recorded=np.concatenate([recorded, recorded[again], np.full(len(broken), -1)]),
        fault=np.concatenate([np.full(size + len(again), _SOUND, dtype=np.int8), fault]),
        late=len(late),
        duplicates=len(again),
    )


def _some(size: int, rate: float, rng: np.random.Generator) -> Ints:
    """Places of a random share of `size` rows, each at most once."""
    return rng.choice(size, rng.binomial(size, rate), replace=False, shuffle=False).astype(np.int64)


def _broken(rows: Rows, rate: float, rng: np.random.Generator) -> tuple[Ints, NDArray[np.int8]]:
    """Rows to copy and the way in which each copy is broken; only a row that has a value can have an unreadable one."""
    places = _some(len(rows), rate, rng)
    fault = rng.integers(0, len(REASONS), len(places), dtype=np.int8)
    worded = fault == _NO_VALUE
    valued = np.flatnonzero(~(np.isnan(rows.minutes) & np.isnan(rows.amount)))
    if len(valued):
        places[worded] = rng.choice(valued, int(worded.sum()))
        return places, fault
    return places[~worded], fault[~worded]


def event_schema(*, as_text: bool) -> pa.Schema:
    """The log's columns.

    Parameters
    ----------
    as_text : bool
        Whether `time`, `minutes` and `amount` are text, the only way in which a column can hold something unreadable.

    Examples
    --------
    >>> event_schema(as_text=False).field("minutes").type, event_schema(as_text=True).field("minutes").type
    (DataType(double), DataType(string))
    """
    instant, text = pa.timestamp("us", tz="UTC"), pa.string()
    number = text if as_text else pa.float64()
    columns = {
        "customer_id": pa.dictionary(pa.int32(), text),
        "time": text if as_text else instant,
        "recorded": instant,
        "id": text,
        "type": pa.dictionary(pa.int8(), text),
        "minutes": number,
        "amount": number,
        "channel": pa.dictionary(pa.int8(), text),
        "plan": pa.dictionary(pa.int8(), text),
    }
    return pa.schema(list(columns.items()))


def entries_table(entries: Entries, customers: pa.Array, start: int, *, as_text: bool) -> pa.Table:
    """The entries as a table of `event_schema`.

    Parameters
    ----------
    entries : Entries
        Rows with their faults.
    customers : pyarrow.Array
        Ids of the customers in their seats.
    start : int
        The log's start, in microseconds since the Unix epoch.
    as_text : bool
        As in `event_schema`.
    """
    rows, fault = entries.rows, entries.fault
    time = times(start + rows.time + np.where(fault == _FUTURE, INTO_THE_FUTURE, 0))
    minutes, amount = (pa.array(column, mask=np.isnan(column)) for column in (rows.minutes, rows.amount))
    if as_text:
        unreadable = fault == _NO_VALUE
        time = _but(_times_as_text(time), fault == _NO_TIME, "yesterday")
        minutes = _but(minutes.cast(pa.string()), unreadable & ~np.isnan(rows.minutes), "a while")
        amount = _but(amount.cast(pa.string()), unreadable & ~np.isnan(rows.amount), "a lot")
    columns = [
        _named(rows.seat, customers, fault == _MISSING),
        time,
        times(start + entries.recorded, entries.recorded < 0),
        _ids(entries.number),
        _named(rows.kind, KINDS),
        minutes,
        amount,
        _named(rows.channel, CHANNELS, rows.channel < 0),
        _named(rows.plan, PLANS, rows.plan < 0),
    ]
    return pa.table(columns, schema=event_schema(as_text=as_text))


def times(microseconds: Ints, absent: Bools | None = None) -> pa.Array:
    """Microseconds since the Unix epoch as UTC timestamps, null where `absent`.

    Examples
    --------
    >>> str(times(np.array([0]))[0])
    '1970-01-01 00:00:00+00:00'
    """
    return pa.array(microseconds, type=pa.timestamp("us", tz="UTC"), mask=absent)


def _times_as_text(instants: pa.Array) -> pa.Array:
    """ISO 8601 with `Z`; the zone is taken off and put back because Arrow writes zoned times thirty times slower."""
    return pc.binary_join_element_wise(instants.cast(pa.timestamp("us")).cast(pa.string()), "Z", "")


def _named(places: NDArray[np.integer], names: Sequence[str] | pa.Array, absent: Bools | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(places, mask=absent), pa.array(names, type=pa.string()))


def _but(text: pa.Array, where: Bools, word: str) -> pa.Array:
    """The text with `word` in the marked places."""
    return pc.if_else(pa.array(where), word, text)


def _ids(number: Ints) -> pa.Array:
    """Numbers as 16 hexadecimal digits."""
    digits = np.empty((len(number), 4), dtype=np.uint32)
    for place in range(4):
        digits[:, place] = _DIGITS[(number >> (16 * (3 - place))) & 0xFFFF]
    ends = np.arange(0, 16 * len(number) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(number), pa.py_buffer(ends), pa.py_buffer(digits))
