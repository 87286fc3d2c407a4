"""Declared features as relational expressions over history.

Enters: an event table (an Ibis table in canonical form), features and a cutoff. Leaves: an Ibis table with one row per
customer who has at least one event known at the cutoff.

What may enter a row is decided by `tenure.features.known`; windows only cut off the tail, with `window_start`, the same
function that the online path uses. Aggregates over windows are made of rings (`tenure.features.rings`). Active days are
the exception, because a day with many events counts once: they are counted over (customer, day) pairs that carry the
day's last event, which says for every window whether the day reaches into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

import ibis.expr.types as ir

from tenure.core.time import window_start
from tenure.features.declare import Feature
from tenure.features.known import days_between, instant, known
from tenure.features.rings import EVENTS, FIRST, LAST, aggregate

__all__ = ["event_features", "without_events"]

_ZERO_WITHOUT_EVENTS = frozenset({"count", "sum", "active_days"})


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
    >>> import ibis
    >>> from datetime import UTC, timedelta
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
    table = aggregate(visible, [base for base in bases if base.op != "active_days"], cutoff)
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
    """Fill in what a customer without any event of a type has: no events, a sum of nothing, no active days.

    Examples
    --------
    >>> import ibis
    >>> import pyarrow as pa
    >>> rows = ibis.memtable(pa.table({"login_count": pa.array([None, 3], pa.int64())}))
    >>> without_events(rows, [Feature("login", "count")]).login_count.to_pyarrow().to_pylist()
    [0, 3]
    """
    zero = [f.name for f in features if f.op in _ZERO_WITHOUT_EVENTS and f.over is None]
    return rows.mutate(**{name: rows[name].fill_null(0) for name in zero}) if zero else rows
