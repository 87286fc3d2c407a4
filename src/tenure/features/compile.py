"""Declared features as relational expressions over history.

Enters: an event table (an Ibis table in canonical form), features and a cutoff. Leaves: an Ibis table with one row per
customer who has at least one event known at the cutoff.

The point-in-time rule lives in `known` and nowhere else: an event may enter a row when it happened before the cutoff
and was recorded no later than it. Everything below is built on the table that `known` returns, so no aggregate can see
past the cutoff. Windows only cut off the tail, with `window_start`, the same function that the online path uses.

All windows of an event type are finished in one pass: one hash aggregation over the events with one filtered aggregate
per number. Active days are the exception, because a day with many events counts once: they are counted over
(customer, day) pairs that carry the day's last event, which says for every window whether the day reaches into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir

from tenure.core.time import window_start
from tenure.features.declare import Feature

__all__ = ["EVENTS", "FIRST", "LAST", "days_between", "event_features", "instant", "known", "without_events"]

FIRST, LAST, EVENTS = "_first", "_last", "_events"
_ZERO_WITHOUT_EVENTS = frozenset({"count", "sum", "active_days"})
_DAY_MICROSECONDS = timedelta(days=1) // timedelta(microseconds=1)


def instant(time: datetime) -> ir.TimestampScalar:
    """A UTC instant as a constant, exact to the microsecond.

    Examples
    --------
    >>> str(ibis.duckdb.connect().to_pyarrow(instant(datetime(2026, 1, 31, 12, 0, 0, 1, UTC))).as_py())
    '2026-01-31 12:00:00.000001'
    """
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return ibis.literal(text).cast("timestamp(6)")


def known(events: ir.Table, cutoff: datetime) -> ir.Table:
    """Only the events that happened before the cutoff and were recorded by then.

    Parameters
    ----------
    events : ibis table
        Canonical events; `recorded` is optional and may be null, which means known when it happened.
    cutoff : datetime
        UTC.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = ibis.memtable(pa.table({"time": [datetime(2026, 1, 1), datetime(2026, 1, 2)]}))
    >>> known(table, datetime(2026, 1, 2, tzinfo=UTC)).count().to_pyarrow().as_py()
    1
    """
    at = instant(cutoff)
    visible = events.filter(events.time < at)
    if "recorded" in events.columns:
        visible = visible.filter(visible.recorded.isnull() | (visible.recorded <= at))
    return visible


def days_between(later: ir.TimestampValue, earlier: ir.TimestampValue) -> ir.FloatingValue:
    """Exact days from `earlier` to `later`, with fractions.

    Examples
    --------
    >>> span = days_between(instant(datetime(2026, 1, 3, tzinfo=UTC)), instant(datetime(2026, 1, 1, 12, tzinfo=UTC)))
    >>> ibis.duckdb.connect().to_pyarrow(span).as_py()
    1.5
    """
    return later.delta(earlier, unit="microsecond") / _DAY_MICROSECONDS


def event_features(events: ir.Table, features: Iterable[Feature], cutoff: datetime) -> ir.Table:
    """Compute the features of one event type.

    Parameters
    ----------
    events : ibis table
        Canonical events of the type.
    features : iterable of Feature
        All of this type.
    cutoff : datetime
        UTC.

    Returns
    -------
    ibis table
        `customer_id`, the instants `_first` and `_last` of the customer's first and last known event, the count
        `_events` of known events, and one column per feature. Customers without a known event are absent.

    Examples
    --------
    >>> import pyarrow as pa
    >>> logins = pa.table({"customer_id": ["a", "a"], "time": [datetime(2026, 1, 1), datetime(2026, 1, 20)]})
    >>> weekly = Feature("login", "count", window=timedelta(days=7))
    >>> event_features(
    ...     ibis.memtable(logins), [weekly], datetime(2026, 1, 22, tzinfo=UTC)
    ... ).login_count_7d.to_pyarrow().to_pylist()
    [1]
    """
    features = tuple(features)
    visible = known(events, cutoff)
    bases = _bases(features)
    counted = [base for base in bases if base.op != "active_days"]
    numbers = {FIRST: visible.time.min(), LAST: visible.time.max(), EVENTS: visible.count()}
    numbers |= {base.name: _aggregate(visible, base, cutoff) for base in counted}
    table = visible.group_by("customer_id").aggregate(**numbers)
    by_day = [base for base in bases if base.op == "active_days"]
    if by_day:
        table = table.join(_active_days(visible, by_day, cutoff), "customer_id")
    derived = {f.name: _derive(table, f, cutoff) for f in features if f.over or f.op in _LIFETIME}
    return table.mutate(**derived).select("customer_id", FIRST, LAST, EVENTS, *(feature.name for feature in features))


def _bases(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """The aggregates that the features need: a trend needs its two windows, a lifetime operation none of its own."""
    needed: dict[Feature, None] = {}
    for feature in features:
        if feature.op in _LIFETIME:
            continue
        needed[replace(feature, over=None)] = None
        if feature.over:
            needed[replace(feature, window=feature.over, over=None)] = None
    return tuple(needed)


def _where(table: ir.Table, feature: Feature, cutoff: datetime) -> ir.BooleanValue | None:
    conditions: list[ir.BooleanValue] = []
    if feature.window:
        conditions.append(table.time >= instant(window_start(cutoff, feature.window)))
    if feature.category:
        conditions.append(table[feature.category] == feature.category_value)
    return ibis.and_(*conditions) if conditions else None


def _aggregate(table: ir.Table, feature: Feature, cutoff: datetime) -> ir.Scalar:
    where = _where(table, feature, cutoff)
    if feature.op == "count":
        return table.count(where=where)
    return _VALUE_AGGREGATES[feature.op](table, table[feature.value], where)


def _edge(table: ir.Table, value: ir.NumericColumn, where: ir.BooleanValue | None, *, last: bool) -> ir.Scalar:
    """The value at the smallest or largest (time, value) pair: equal times are told apart by the value."""
    present = value.notnull() if where is None else where & value.notnull()
    pair = ibis.struct({"time": table.time, "value": value})
    return (pair.max(where=present) if last else pair.min(where=present))["value"]


_VALUE_AGGREGATES: dict[str, Callable[[ir.Table, ir.NumericColumn, ir.BooleanValue | None], ir.Scalar]] = {
    "sum": lambda _, value, where: value.sum(where=where).fill_null(0.0),
    "mean": lambda _, value, where: value.mean(where=where),
    "min": lambda _, value, where: value.min(where=where),
    "max": lambda _, value, where: value.max(where=where),
    "std": lambda _, value, where: value.std(where=where, how="sample"),
    "first": lambda table, value, where: _edge(table, value, where, last=False),
    "last": lambda table, value, where: _edge(table, value, where, last=True),
}


def _active_days(visible: ir.Table, features: list[Feature], cutoff: datetime) -> ir.Table:
    groups = {(f.category, f.category_value): f"_group_{i}" for i, f in enumerate(features)}
    days = visible.group_by("customer_id", _day=visible.time.date()).aggregate(
        **{
            name: visible.time.max(where=None if category is None else visible[category] == value)
            for (category, value), name in groups.items()
        }
    )

    def reached(feature: Feature) -> ir.BooleanValue:
        last = days[groups[feature.category, feature.category_value]]
        if feature.window is None:
            return last.notnull()
        return last >= instant(window_start(cutoff, feature.window))

    return days.group_by("customer_id").aggregate(**{f.name: days.count(where=reached(f)) for f in features})


def _mean_gap(table: ir.Table) -> ir.FloatingValue:
    return days_between(table[LAST], table[FIRST]) / (table[EVENTS] - 1).nullif(0)


_LIFETIME: dict[str, Callable[[ir.Table, ir.TimestampScalar], ir.FloatingValue]] = {
    "days_since_first": lambda table, at: days_between(at, table[FIRST]),
    "days_since_last": lambda table, at: days_between(at, table[LAST]),
    "mean_gap": lambda table, _: _mean_gap(table),
    "relative_recency": lambda table, at: days_between(at, table[LAST]) / _mean_gap(table).nullif(0.0),
}


def _derive(table: ir.Table, feature: Feature, cutoff: datetime) -> ir.Value:
    if feature.over is None:
        return _LIFETIME[feature.op](table, instant(cutoff))
    numerator = table[replace(feature, over=None).name]
    denominator = table[replace(feature, window=feature.over, over=None).name]
    return numerator.cast("float64") / denominator.cast("float64").nullif(0.0)


def without_events(rows: ir.Table, features: Iterable[Feature]) -> ir.Table:
    """Fill in what a customer without any event of a type has: no events, a sum of nothing, no active days."""
    zero = [f.name for f in features if f.op in _ZERO_WITHOUT_EVENTS and f.over is None]
    return rows.mutate(**{name: rows[name].fill_null(0) for name in zero}) if zero else rows
