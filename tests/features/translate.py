"""The oracle's small worlds in the package's own terms: canonical tables, settings and declared features."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, settings

from tenure.core.settings import ActiveSettings, ChurnSettings, ExpirySettings, FeatureSettings, RuntimeSettings
from tenure.features.declare import Attribute, FeatureSet, declare
from tenure.features.snapshot import Tables, open_tables
from tenure.source.engine import open_engine
from tenure.source.history import CustomerTable, EventTable, History, PeriodTable
from tests.oracle.churn import Active, Churn, Period
from tests.oracle.features import Block, CustomerRow, Event, Number

# One example compiles into several queries: such a property tries less often than a cheap one, and a failing example is
# made small but not explained, which would take as many queries again.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
FEWER = settings(max_examples=max(10, settings().max_examples // 4), phases=PHASES)
FEWEST = settings(max_examples=max(10, settings().max_examples // 10), phases=PHASES)
# Hypothesis gives up making a failing example small after five minutes; only a hang lasts longer.
SHRINKING = pytest.mark.timeout(600)

MICROSECONDS = pa.timestamp("us")


def naive(instant: datetime | None) -> datetime | None:
    """Drop the offset of a UTC instant, as canonical tables store it."""
    return None if instant is None else instant.astimezone(UTC).replace(tzinfo=None)


def canonical_events(events: Sequence[Event], event_type: str) -> pa.Table:
    """Return the events of one type as the source stage writes them; `recorded` is there where one of them has it."""
    chosen = sorted((event for event in events if event["type"] == event_type), key=lambda event: event["time"])
    columns = {
        "customer_id": pa.array([event["customer_id"] for event in chosen], pa.string()),
        "time": pa.array([naive(event["time"]) for event in chosen], MICROSECONDS),
    }
    if any(event["recorded"] is not None for event in chosen):
        columns["recorded"] = pa.array([naive(event["recorded"]) for event in chosen], MICROSECONDS)
    for name in value_names(events):
        columns[name] = pa.array([event["values"].get(name) for event in chosen], pa.float64())
    for name in category_names(events):
        columns[name] = pa.array([event["categories"].get(name) for event in chosen], pa.string())
    return pa.table(columns)


def value_names(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the value columns of a log; every type of it has all of them."""
    return tuple(sorted({name for event in events for name in event["values"]} | {"amount", "group"}))


def category_names(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the category columns of a log; every type of it has all of them."""
    return tuple(sorted({name for event in events for name in event["categories"]} | {"channel", "table"}))


def tables_of(events: Sequence[Event], types: Iterable[str]) -> dict[str, ir.Table]:
    """Return one table for each event type."""
    return {one: ibis.memtable(canonical_events(events, one)) for one in types}


def canonical_periods(periods: Iterable[Period]) -> pa.Table:
    """Return subscription periods as the source stage writes them."""
    chosen = sorted(periods, key=lambda period: period["start"])
    return pa.table(
        {
            "customer_id": pa.array([period["customer_id"] for period in chosen], pa.string()),
            "start": pa.array([naive(period["start"]) for period in chosen], MICROSECONDS),
            "end": pa.array([naive(period["end"]) for period in chosen], MICROSECONDS),
        }
    )


def canonical_customers(rows: Iterable[CustomerRow], *, has_known_at: bool) -> pa.Table:
    """Return customers as the source stage writes them."""
    chosen = list(rows)
    columns = {
        "customer_id": pa.array([row["customer_id"] for row in chosen], pa.string()),
        "since": pa.array([naive(row["since"]) for row in chosen], MICROSECONDS),
        "income": pa.array([row["attributes"]["income"] for row in chosen], pa.float64()),
        "plan": pa.array([row["attributes"]["plan"] for row in chosen], pa.string()),
    }
    if has_known_at:
        columns["known_at"] = pa.array([naive(row["known_at"]) for row in chosen], MICROSECONDS)
    return pa.table(columns)


@contextmanager
def opened(
    types: Iterable[str],
    events: Sequence[Event],
    periods: Sequence[Period] | None = None,
    customers: Sequence[CustomerRow] | None = None,
) -> Iterator[Tables]:
    """Write a small world as canonical Parquet files and open it as the package opens any history."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = History(
            events={one: _event_table(events, one, folder) for one in sorted(types)},
            customers=None if customers is None else _customer_table(customers, folder),
            periods=None if periods is None else _period_table(periods, folder),
            fingerprint="0f",
        )
        with open_engine(RuntimeSettings(threads=1), folder) as engine:
            with warnings.catch_warnings():
                # Ibis 12 reads a view's schema by a method that DuckDB 2 calls deprecated.
                warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
                tables = open_tables(engine, history)
            yield tables


def _event_table(events: Sequence[Event], event_type: str, folder: Path) -> EventTable:
    path, table = folder / f"{event_type}.parquet", canonical_events(events, event_type)
    pq.write_table(table, path)
    own = [event for event in events if event["type"] == event_type]
    return EventTable(
        name=event_type,
        paths=(path,),
        rows=len(own),
        customers=len({event["customer_id"] for event in own}),
        first=min((event["time"] for event in own), default=None),
        last=max((event["time"] for event in own), default=None),
        values=value_names(events),
        categories=category_names(events),
        has_recorded="recorded" in table.column_names,
        has_id=False,
    )


def _period_table(periods: Sequence[Period], folder: Path) -> PeriodTable:
    path = folder / "periods.parquet"
    pq.write_table(canonical_periods(periods), path)
    starts = [period["start"] for period in periods]
    return PeriodTable((path,), len(periods), min(starts, default=None), max(starts, default=None))


def _customer_table(rows: Sequence[CustomerRow], folder: Path) -> CustomerTable:
    path, has_known_at = folder / "customers.parquet", any(row["known_at"] is not None for row in rows)
    pq.write_table(canonical_customers(rows, has_known_at=has_known_at), path)
    return CustomerTable(
        (path,), len(rows), (("income", "number"), ("plan", "text")), has_since=True, has_known_at=has_known_at
    )


def block_settings(block: Block) -> FeatureSettings:
    """Return a block as its section of the settings."""
    return FeatureSettings(
        event=block.event,
        value=block.value,
        ops=block.ops,
        windows=block.windows,
        trends=block.trends,
        by=block.category,
        top=max(1, len(block.category_values)),
    )


def declared(blocks: Sequence[Block], attributes: tuple[Attribute, ...] = (), *, tenure: bool = False) -> FeatureSet:
    """Return the features of blocks whose category values are frozen already."""
    frozen = {
        (one.event, one.category, len(one.category_values)): one.category_values
        for one in blocks
        if one.category is not None
    }
    return declare(tuple(block_settings(block) for block in blocks), frozen, attributes, tenure=tenure)


def churn_settings(churn: Churn, active: Active) -> ChurnSettings:
    """Return a definition of churn as its section of the settings."""
    return ChurnSettings(
        event=churn.types[0] if churn.kind == "event" else None,
        inactivity=churn.types if churn.kind == "inactivity" else (),
        expiry=ExpirySettings(path="periods.csv", start="start", end="end", grace=churn.grace)
        if churn.kind == "expiry"
        else None,
        horizon=churn.horizon,
        gap=churn.gap,
        active=ActiveSettings(events=active.events, within=active.within, at_least=active.at_least),
    )


def same(found: object, expected: Number | str | None) -> bool:
    """Compare as the design promises: counts exactly, other numbers to 1e-9 of their size, null only with null."""
    if isinstance(expected, float):
        return isinstance(found, float) and math.isclose(found, expected, rel_tol=1e-9)
    return type(found) is type(expected) and found == expected


def differences(
    found: Mapping[str, object], expected: Mapping[str, Number | str | None]
) -> dict[str, tuple[object, Number | str | None]]:
    """Return (found, expected) of every column in which a row is not what it should be."""
    return {
        name: (found.get(name, "missing"), value)
        for name, value in expected.items()
        if not same(found.get(name, "missing"), value)
    }
