"""The canary: whatever is known only after the cutoff is removed or shuffled, and no feature may notice.

Enters: opened tables, features, the churn definition and training cutoffs. Leaves: findings, with `audit_history` those
of every check that needs the history. Invariant: memory does not grow with the history, because every check
looks at a sample of customers: the canary at 2,000 at risk (fewer where they have more than 1,500 events each), the
checks of attributes and event types at about 20,000.

Two copies of the sample are made. In one, everything that happened or was recorded after the cutoff is missing; that
moves counts that look ahead. In the other it is later still, with other values and categories; that moves features
that look at the time or the content alone, and ratios of which a removal moves both parts.

What the canary cannot see lies outside the code: an event whose time is wrong, and a customers table that is a picture
of today. `tenure.features.aftermath` and `tenure.features.hindsight` look for those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tenure.core.settings import ChurnSettings
from tenure.core.time import format_instant
from tenure.features.aftermath import audit_consequences
from tenure.features.audit import Finding
from tenure.features.declare import FeatureSet
from tenure.features.hindsight import audit_attributes
from tenure.features.known import instant
from tenure.features.sample import hashed, narrowed
from tenure.features.snapshot import Tables, snapshot

__all__ = ["audit_attributes", "audit_consequences", "audit_future", "audit_history"]

_MOST_CUSTOMERS, _FEWEST_CUSTOMERS, _MOST_EVENTS = 2_000, 100, 3_000_000
_AT_RISK = "customers at risk"
_ADVICE = "Leave it out, and look for what reads past the cutoff."


def audit_future(
    tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoff: datetime, seed: int = 0
) -> tuple[Finding, ...]:
    """Remove and shuffle everything after the cutoff and see whether a feature moves.

    Parameters
    ----------
    tables : Tables
        From `tenure.features.snapshot.open_tables`.
    features, churn
        What a snapshot is made of.
    cutoff : datetime
        UTC; a training cutoff.
    seed : int
        Which customers are sampled.

    Returns
    -------
    tuple of Finding
        One for each feature that changed for any customer, and one if it changed who is at risk.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC
    >>> from pathlib import Path
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> from tenure.testing.shop import write_shop
    >>> from tenure.features.declare import Feature
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> orders = FeatureSet((Feature("order", "count"), Feature("order", "sum", "amount")))
    >>> with place.engine() as engine:
    ...     tables = open_history(place, engine).tables
    ...     audit_future(tables, orders, place.settings.churn, datetime(2025, 6, 9, tzinfo=UTC))
    ()
    """
    sampled = _sample(tables, churn, cutoff, seed)
    truth = _rows(sampled, features, churn, cutoff)
    copies = [
        _rows(change(sampled, cutoff), features, churn, cutoff) for change in (_without_later, _with_later_altered)
    ]
    moved = {name: max(_moved(truth, copy, name) for copy in copies) for name in features.names}
    changed = max(_changed_customers(truth, copy) for copy in copies)
    return tuple(
        Finding("future", name, "leak", _evidence(count, truth.num_rows, cutoff), _ADVICE)
        for name, count in ({_AT_RISK: changed} | moved).items()
        if count
    )


def _evidence(moved: int, rows: int, cutoff: datetime) -> str:
    when = f"what was known only after the cutoff {format_instant(cutoff)}"
    return f"{moved:,} of {rows:,} change when {when} is removed or altered."


def _sample(tables: Tables, churn: ChurnSettings, cutoff: datetime, seed: int) -> Tables:
    """Some customers at risk, read into memory, since their tables are asked many times."""
    ids = snapshot(tables, FeatureSet(), churn, cutoff).select("customer_id")
    chosen = ids.order_by(hashed(ids.customer_id, seed), ids.customer_id).limit(_enough(tables))
    keep = ibis.memtable(tables.backend.to_pyarrow(chosen))
    return narrowed(
        tables, lambda table: ibis.memtable(tables.backend.to_pyarrow(table.semi_join(keep, "customer_id")))
    )


def _enough(tables: Tables) -> int:
    events = tables.history.events.values()
    per_customer = sum(table.rows for table in events) / max(1, *(table.customers for table in events))
    return int(np.clip(_MOST_EVENTS / max(per_customer, 1.0), _FEWEST_CUSTOMERS, _MOST_CUSTOMERS))


def _rows(tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoff: datetime) -> pa.Table:
    return tables.backend.to_pyarrow(snapshot(tables, features, churn, cutoff))


def _changed_customers(before: pa.Table, after: pa.Table) -> int:
    left, right = (set(table["customer_id"].to_pylist()) for table in (before, after))
    return len(left ^ right)


def _moved(truth: pa.Table, copy: pa.Table, name: str) -> int:
    """How many customers of both have another value in the copy."""
    before, after = (
        one.filter(pc.is_in(one["customer_id"], other["customer_id"].combine_chunks()))[name]
        for one, other in ((truth, copy), (copy, truth))
    )
    if pa.types.is_floating(before.type):
        left, right = (pc.fill_null(column, float("nan")).to_numpy() for column in (before, after))
        return int((~np.isclose(left, right, rtol=1e-9, atol=0.0, equal_nan=True)).sum())
    both_missing = pc.and_(pc.is_null(before), pc.is_null(after))
    same = pc.fill_null(pc.equal(before, after), fill_value=False)
    return len(before) - int(pc.sum(pc.or_(same, both_missing)).as_py() or 0)


def _without_later(tables: Tables, cutoff: datetime) -> Tables:
    return _changed(tables, cutoff, lambda table, later, _: table.filter(~later))


def _with_later_altered(tables: Tables, cutoff: datetime) -> Tables:
    def alter(table: ir.Table, later: ir.BooleanColumn, clock: str) -> ir.Table:
        still_later = later & (table[clock] >= instant(cutoff))
        changes: dict[str, ir.Value] = {clock: still_later.ifelse(table[clock] + ibis.interval(days=1), table[clock])}
        for name, kind in table.schema().items():
            if kind.is_floating():
                changes[name] = later.ifelse(table[name] * -3.0 + 7.0, table[name])
            elif kind.is_string() and name not in {"customer_id", "id"}:
                changes[name] = later.ifelse(ibis.literal("?"), table[name])
        return table.mutate(**changes)

    return _changed(tables, cutoff, alter)


def _changed(tables: Tables, cutoff: datetime, change: Callable[[ir.Table, ir.BooleanColumn, str], ir.Table]) -> Tables:
    """Change the rows of every table that were not known at the cutoff; the clock is the column that says so."""
    at = instant(cutoff)
    events = {name: change(table, _later(table, at), "time") for name, table in tables.events.items()}
    customers, periods = tables.customers, tables.periods
    if customers is not None and "known_at" in customers.columns:
        customers = change(customers, customers.known_at > at, "known_at")
    if periods is not None:
        periods = change(periods, periods.start > at, "start")
    return replace(tables, events=events, customers=customers, periods=periods)


def _later(events: ir.Table, at: ir.TimestampScalar) -> ir.BooleanColumn:
    later = events.time >= at
    return later | (events.recorded.notnull() & (events.recorded > at)) if "recorded" in events.columns else later


def audit_history(
    tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoffs: Iterable[datetime], seed: int = 0
) -> tuple[Finding, ...]:
    """Ask every question that needs the history: future, hindsight, consequence.

    Parameters
    ----------
    tables : Tables
        From `tenure.features.snapshot.open_tables`.
    features, churn
        What the snapshots are made of.
    cutoffs : iterable of datetime
        Training cutoffs, UTC. The one in the middle is looked at: it has much before it and much after it.
    seed : int
        For every sample.

    Examples
    --------
    >>> import tempfile
    >>> from datetime import UTC
    >>> from pathlib import Path
    >>> from tenure.app.history import declared_features, open_history
    >>> from tenure.app.place import Place
    >>> from tenure.testing.shop import write_shop
    >>> place, cutoff = Place.load(write_shop(Path(tempfile.mkdtemp()))), datetime(2025, 6, 9, tzinfo=UTC)
    >>> with place.engine() as engine:
    ...     opened = open_history(place, engine)
    ...     features = declared_features(place, opened, before=cutoff)
    ...     audit_history(opened.tables, features, place.settings.churn, [cutoff])
    ()
    """
    found = audit_consequences(tables, features, churn, seed)
    asked = sorted(set(cutoffs))
    if asked:
        middle = asked[(len(asked) - 1) // 2]
        found += audit_future(tables, features, churn, middle, seed)
        found += audit_attributes(tables, features, churn, middle, seed)
    return found
