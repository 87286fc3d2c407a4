"""One block of a simulated service's seats, from the first period to the last, written as it goes.

Enters: what is to be simulated (`Course`) and the number of a block. Leaves: the block's part of the event log on disk,
its customers and its truth as tables, and a tally of all of it.
Invariant: a block depends on its number, the seed and the course alone, so blocks may run in any order and at the same
time. Only one period's events of a block are in memory at a time; each period is one row group of the block's file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tenure.source.simulation.hazard import PLANS, Ints, Law
from tenure.source.simulation.planted import FaultRates, entries_table, event_schema, plant, times
from tenure.source.simulation.population import PERIOD, Population, Rows
from tenure.source.simulation.service import Equilibrium, Service, Turn
from tenure.source.simulation.tally import Tally

__all__ = ["BLOCK_SEATS", "FIRST_CUTOFF", "Block", "Course", "customer_ids", "simulate_block"]

BLOCK_SEATS = 8192
# The law looks back over three periods, and before `start` there is no log to look at.
FIRST_CUTOFF = 3
COUNTRIES = ("DE", "FR", "GB", "NL", "US")


@dataclass(frozen=True)
class Course:
    """What happens to every block alike.

    Parameters
    ----------
    seats, periods, seed : int
        Seats of all blocks together, periods of the log, and what random numbers begin with.
    start : int
        The log's start in microseconds since the Unix epoch.
    laws : tuple of Law
        The law at each period's beginning.
    paces : tuple of float
        How eagerly customers use the service in each period; 1 is as usual.
    return_rate : float
        Probability per period that a customer who left returns.
    faults : FaultRates
        Faults to plant in the log.
    """

    seats: int
    periods: int
    seed: int
    start: int
    laws: tuple[Law, ...]
    paces: tuple[float, ...]
    return_rate: float
    faults: FaultRates

    @property
    def blocks(self) -> int:
        """How many blocks hold all seats."""
        return -(-self.seats // BLOCK_SEATS)


@dataclass(frozen=True)
class Block:
    """What a finished block leaves beside its part of the log."""

    customers: pa.Table
    truth: pa.Table
    tally: Tally


def simulate_block(course: Course, settled: Equilibrium, index: int, path: Path) -> Block:
    """Simulate block `index` and write its events to `path`.

    Parameters
    ----------
    course : Course
        What happens.
    settled : Equilibrium
        Where the block's founders come from.
    index : int
        Which block, from 0.
    path : Path
        The Parquet file to write.
    """
    # Faults have random numbers of their own, so a log with faults is the log without them and something on top.
    rng, fault_rng = (np.random.default_rng([course.seed, index, purpose]) for purpose in (1, 2))
    first = index * BLOCK_SEATS
    people = settled.found(min(BLOCK_SEATS, course.seats - first), rng)
    service = Service(people, first=first, total=course.seats, return_rate=course.return_rate, rng=rng)
    customers, truths = [_customers(course, people, np.flatnonzero(people.subscribed), rng)], []
    tally = Tally()
    with _EventFile(path, course, index << 32, fault_rng, tally) as file:
        for period in range(course.periods):
            turn = service.advance(course.laws[period], course.paces[period])
            file.write(turn.rows, people)
            customers.append(_customers(course, people, turn.joined, rng))
            tally.people["returned"] += len(turn.returned)
            if period >= FIRST_CUTOFF:
                tally.add_truth(turn)
                truths.append(_truth(course, people, turn, period))
        file.write(people.closing_payments(course.periods * PERIOD), people)
    tally.people["customers"] = sum(table.num_rows for table in customers)
    return Block(pa.concat_tables(customers), pa.concat_tables(truths), tally)


class _EventFile:
    """A block's part of the log, open for one row group after the other."""

    def __init__(self, path: Path, course: Course, first_number: int, rng: np.random.Generator, tally: Tally) -> None:
        self._course, self._rng, self._tally, self._number = course, rng, tally, first_number
        self._as_text = course.faults.corrupt > 0
        schema = event_schema(as_text=self._as_text)
        named = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        self._writer = pq.ParquetWriter(path, schema, use_dictionary=named)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: Rows, people: Population) -> None:
        """Write one row group: the events, with faults planted among them."""
        entries = plant(rows, self._course.faults, self._number, self._rng)
        self._number = int(entries.number.max(initial=self._number - 1)) + 1
        table = entries_table(entries, customer_ids(people.customer), self._course.start, as_text=self._as_text)
        self._writer.write_table(table, row_group_size=max(len(table), 1))
        self._tally.add_events(rows)
        self._tally.add_faults(entries)


def customer_ids(numbers: Ints) -> pa.Array:
    """Customers' ids as text: `c` and at least nine digits.

    Examples
    --------
    >>> customer_ids(np.array([7])).to_pylist()
    ['c000000007']
    """
    return pa.array([f"c{number:09d}" for number in numbers.tolist()], type=pa.string())


def _customers(course: Course, people: Population, seats: Ints, rng: np.random.Generator) -> pa.Table:
    countries = np.asarray(COUNTRIES)[rng.integers(0, len(COUNTRIES), len(seats))]
    return pa.table(
        {
            "customer_id": customer_ids(people.customer[seats]),
            "signup_at": times(course.start + people.signup[seats]),
            "plan": pa.array(np.asarray(PLANS)[people.plan[seats]], type=pa.string()),
            "country": pa.array(countries, type=pa.string()),
        }
    )


def _truth(course: Course, people: Population, turn: Turn, period: int) -> pa.Table:
    """The truth at the period's beginning; who sat there then still holds the seat's number."""
    known = turn.subscribed
    return pa.table(
        {
            "customer_id": customer_ids(people.customer[known]),
            "cutoff": times(np.full(int(known.sum()), course.start + period * PERIOD)),
            "hazard": turn.hazard[known],
            "at_risk": turn.at_risk[known],
            "churned": turn.left[known],
        }
    )
