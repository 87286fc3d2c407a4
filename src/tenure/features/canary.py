"""Leaks that only the history can show: shuffled futures, attributes from after the cutoff, consequences of churn.

Enters: opened tables, features, the churn definition and a training cutoff. Leaves: findings for the audit.

*The canary.* Everything after the cutoff is disturbed: times are moved further on, values and categories are replaced.
A feature that is different afterwards has looked past the cutoff, whatever the reason.

*Attributes.* A customers table without `known_at` is a picture of today. A column of it that was counted up to today
("orders so far") knows what happened after the cutoff. It shows: among customers at risk it goes with the number of
later events more closely than the number of earlier events explains. Text that reads as a time after the cutoff shows
at once.

*Consequences.* A cancel page is visited because somebody leaves. Such an event type happens almost only around a loss,
far more often than activity does in general.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tenure.core.settings import ChurnSettings
from tenure.core.time import format_instant
from tenure.features.audit import Finding
from tenure.features.compile import instant, known
from tenure.features.declare import FeatureSet
from tenure.features.label import active_types, lapses
from tenure.features.snapshot import Tables, snapshot

__all__ = ["audit_attributes", "audit_consequences", "audit_future"]

_SAMPLE = 2_000
_LATER_EXPLAINED_ABOVE = 0.5
_CONSEQUENCE_ABOVE = 0.9
_FEWEST = 20


def audit_future(tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoff: datetime) -> tuple[Finding, ...]:
    """Disturb everything after the cutoff and see whether a feature moves.

    Parameters
    ----------
    tables : Tables
        From `tenure.features.snapshot.open_tables`.
    features, churn
        What a snapshot is made of.
    cutoff : datetime
        UTC; a training cutoff.

    Returns
    -------
    tuple of Finding
        One for each feature that changed for any of up to 2,000 customers.
    """
    sampled = _sample(tables, snapshot(tables, FeatureSet(), churn, cutoff))
    disturbed = {name: _disturb(table, cutoff) for name, table in sampled.events.items()}
    before = _rows(sampled, features, churn, cutoff)
    after = _rows(replace(sampled, events=disturbed), features, churn, cutoff)
    if before["customer_id"] != after["customer_id"]:
        return (Finding("future", "customers at risk", "leak", "who is at risk changes with events after the cutoff"),)
    return tuple(
        Finding("future", name, "leak", f"{moved:,} of {before.num_rows:,} values change with events after the cutoff")
        for name in features.names
        if (moved := _moved(before[name], after[name]))
    )


def _rows(tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoff: datetime) -> pa.Table:
    return tables.backend.to_pyarrow(snapshot(tables, features, churn, cutoff))


def _moved(before: pa.ChunkedArray, after: pa.ChunkedArray) -> int:
    if pa.types.is_floating(before.type):
        left, right = (pc.fill_null(column, float("nan")).to_numpy() for column in (before, after))
        return int((~np.isclose(left, right, rtol=1e-9, atol=0.0, equal_nan=True)).sum())
    both_missing = pc.and_(pc.is_null(before), pc.is_null(after))
    same = pc.fill_null(pc.equal(before, after), fill_value=False)
    unmoved = int(sum(pc.or_(same, both_missing).to_pylist()))
    return len(before) - unmoved


def _sample(tables: Tables, rows: ir.Table) -> Tables:
    """The same tables with only the events of some customers at risk."""
    ids = rows.select("customer_id")
    chosen = tables.backend.to_pyarrow(ids.order_by(ids.customer_id.hash(), ids.customer_id).limit(_SAMPLE))
    keep = ibis.memtable(chosen)
    return replace(
        tables,
        events={name: table.semi_join(keep, "customer_id") for name, table in tables.events.items()},
        customers=None if tables.customers is None else tables.customers.semi_join(keep, "customer_id"),
        periods=None if tables.periods is None else tables.periods.semi_join(keep, "customer_id"),
    )


def _disturb(events: ir.Table, cutoff: datetime) -> ir.Table:
    at = instant(cutoff)
    later = events.time >= at
    if "recorded" in events.columns:
        later |= events.recorded.notnull() & (events.recorded > at)
    changes: dict[str, ir.Value] = {"time": later.ifelse(_later_still(events, at), events.time)}
    for name, kind in events.schema().items():
        if kind.is_floating():
            changes[name] = later.ifelse(events[name] * -3.0 + 7.0, events[name])
        elif kind.is_string() and name not in {"customer_id", "id"}:
            changes[name] = later.ifelse(ibis.literal("?"), events[name])
    return events.mutate(**changes)


def _later_still(events: ir.Table, at: ir.TimestampScalar) -> ir.TimestampValue:
    moved = events.time + ibis.interval(days=1)
    return (events.time >= at).ifelse(moved, events.time)


def audit_attributes(
    tables: Tables, features: FeatureSet, churn: ChurnSettings, cutoff: datetime
) -> tuple[Finding, ...]:
    """See whether customer attributes without a history know what happened after the cutoff.

    Parameters
    ----------
    tables, features, churn, cutoff
        As for `audit_future`; an early training cutoff sees most.
    """
    if tables.customers is None or "known_at" in tables.customers.columns or not features.attributes:
        return ()
    only = FeatureSet(attributes=features.attributes)
    rows = _rows(tables, only, churn, cutoff)
    if rows.num_rows < _FEWEST:
        return ()
    counts = _earlier_and_later(tables, churn, rows, cutoff)
    found = (_audit_attribute(a.name, rows[a.name], counts, cutoff) for a in features.attributes)
    return tuple(finding for finding in found if finding)


def _earlier_and_later(
    tables: Tables, churn: ChurnSettings, rows: pa.Table, cutoff: datetime
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    types = active_types(churn, tables.events)
    at = instant(cutoff)
    parts = [tables.events[name].select("customer_id", _later=tables.events[name].time >= at) for name in types]
    events = ibis.union(*parts) if len(parts) > 1 else parts[0]
    counts = events.group_by("customer_id").aggregate(_later=events["_later"].sum(), _all=events.count())
    keep = ibis.memtable(rows.select(["customer_id"]))
    joined = keep.left_join(counts, "customer_id").order_by("customer_id").select("_later", "_all")
    found = tables.backend.to_pyarrow(joined)
    later, every = (pc.cast(pc.fill_null(found[name], 0), pa.float64()).to_numpy() for name in ("_later", "_all"))
    return every - later, later


def _audit_attribute(
    name: str, column: pa.ChunkedArray, counts: tuple[NDArray[np.float64], NDArray[np.float64]], cutoff: datetime
) -> Finding | None:
    if pa.types.is_string(column.type):
        late = _times_after(column, cutoff)
        if late:
            evidence = f"{late:,} values are times after the cutoff {format_instant(cutoff)}"
            return Finding("future", name, "leak", evidence)
        return None
    values = column.to_numpy().astype(float)
    present = np.isfinite(values)
    if present.sum() < _FEWEST:
        return None
    strength = _partial_rank_correlation(values[present], counts[1][present], counts[0][present])
    if abs(strength) <= _LATER_EXPLAINED_ABOVE:
        return None
    evidence = (
        f"it goes with the number of events after the cutoff {format_instant(cutoff)} "
        f"(rank correlation {strength:.2f}) beyond what the events before it explain; "
        "give [customers] known_at, or leave it out"
    )
    return Finding("future", name, "leak", evidence)


def _times_after(column: pa.ChunkedArray, cutoff: datetime) -> int:
    text = column.combine_chunks()
    dates = pc.match_substring_regex(text, r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?$")
    later = pc.greater(text, cutoff.strftime("%Y-%m-%dT%H:%M:%S"))
    return int(pc.sum(pc.and_(dates, later)).as_py() or 0)


def _partial_rank_correlation(
    values: NDArray[np.float64], later: NDArray[np.float64], earlier: NDArray[np.float64]
) -> float:
    """Rank correlation of values and later counts after a straight line on the earlier counts is taken out of both."""
    ranks = [pd.Series(column).rank().to_numpy() for column in (values, later, earlier)]
    design = np.column_stack([np.ones(len(values)), ranks[2]])
    left, right = (column - design @ np.linalg.lstsq(design, column, rcond=None)[0] for column in ranks[:2])
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum() / scale) if scale > 0 else 0.0


def audit_consequences(tables: Tables, features: FeatureSet, churn: ChurnSettings) -> tuple[Finding, ...]:
    """See whether an event type that features are made of happens almost only around losses.

    Parameters
    ----------
    tables, features, churn
        As for `audit_future`.
    """
    defining = {*churn.inactivity, *filter(None, [churn.event])}
    types = dict.fromkeys(feature.event for feature in features.events if feature.event not in defining)
    watermark = tables.history.watermark
    if not types or watermark is None:
        return ()
    reach = churn.gap + churn.horizon
    losses = _losses(tables, churn, watermark)
    others = [tables.events[name] for name in tables.events if name not in types or len(types) > 1]
    usual = _share_near(
        tables, ibis.union(*[t.select("customer_id", "time") for t in others]), losses, reach, watermark
    )
    found = ((name, _share_near(tables, tables.events[name], losses, reach, watermark)) for name in types)
    return tuple(_consequence(name, share, usual[0], reach) for name, share in found if _too_close(share, usual[0]))


def _too_close(share: tuple[float, int], usual: float) -> bool:
    near, customers = share
    return customers >= _FEWEST and near >= _CONSEQUENCE_ABOVE and (1.0 - near) <= (1.0 - usual) / 4


def _consequence(name: str, share: tuple[float, int], usual: float, reach: timedelta) -> Finding:
    evidence = (
        f"{share[0]:.0%} of the {share[1]:,} customers with a {name!r} event leave within {reach.days} days of one "
        f"(usual: {usual:.0%}), so it looks like a part of leaving"
    )
    return Finding("consequence", name, "leak", evidence)


def _losses(tables: Tables, churn: ChurnSettings, watermark: datetime) -> ir.Table:
    """The instants at which customers were lost: churn events, lapses, or the last activity before a long silence."""
    if churn.event is not None:
        return tables.events[churn.event].select("customer_id", _at="time")
    if churn.expiry is not None and tables.periods is not None:
        ends = lapses(tables.periods, churn.expiry.grace)
        return ends.filter(ends.end <= instant(watermark)).select("customer_id", _at="end")
    parts = [tables.events[name].select("customer_id", "time") for name in churn.inactivity]
    active = ibis.union(*parts) if len(parts) > 1 else parts[0]
    active = active.mutate(_next=active.time.lead().over(group_by="customer_id", order_by="time"))
    silence = churn.gap + churn.horizon
    ends = active.time + ibis.interval(seconds=int(silence.total_seconds()))
    silent = active.filter((active["_next"].isnull() | (active["_next"] > ends)) & (ends <= instant(watermark)))
    return silent.select("customer_id", _at="time")


def _share_near(
    tables: Tables, events: ir.Table, losses: ir.Table, reach: timedelta, watermark: datetime
) -> tuple[float, int]:
    """Share of an event type's customers that are lost within `reach` of one of its matured events."""
    span = ibis.interval(seconds=int(reach.total_seconds()))
    matured = known(events, watermark - reach).select("customer_id", "time")
    customers = matured.select("customer_id").distinct()
    near = matured.join(
        losses,
        [
            matured.customer_id == losses.customer_id,
            losses["_at"] >= matured.time - span,
            losses["_at"] <= matured.time + span,
        ],
    )
    both = customers.count().name("customers"), near.customer_id.nunique().name("near")
    total, lost = (int(tables.backend.to_pyarrow(value).as_py()) for value in both)
    return (lost / total if total else 0.0), total
