"""Aggregates over nested windows, each event touched once.

Enters: the visible events of one type and the aggregates wanted. Leaves: one row per customer with every aggregate.

All windows end at the cutoff, so they are nested, and the window starts cut the past into *rings*: every event lies in
exactly one. Each ring is aggregated alone, and a window is the sum, in the sense of its operation, of its rings. So an
event updates each number once however many windows reach it, and a ring reads only its own part of files that are
ordered by time. Numbers that do not add up are kept as parts that do: a mean as sum and count, a standard deviation
as count, sum and squared deviations from the ring's own mean (Chan, Golub and LeVeque, 1983).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import ibis
import ibis.expr.types as ir

from tenure.core.time import window_start
from tenure.features.declare import Feature
from tenure.features.known import instant

__all__ = ["EVENTS", "FIRST", "LAST", "aggregate"]

FIRST, LAST, EVENTS = "_first", "_last", "_events"

Where: TypeAlias = ir.BooleanValue | None
Rings: TypeAlias = Sequence[ir.NumericValue]


def aggregate(visible: ir.Table, features: Sequence[Feature], cutoff: datetime) -> ir.Table:
    """Aggregate events by customer over every window that the features name.

    Parameters
    ----------
    visible : ibis table
        Canonical events known at the cutoff.
    features : sequence of Feature
        Plain aggregates: no trends, no lifetime operations, no active days.
    cutoff : datetime
        UTC.

    Returns
    -------
    ibis table
        `customer_id`, the instants `_first` and `_last` of the customer's first and last event, the number `_events`,
        and one column per feature. Customers without an event are absent.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from datetime import UTC, timedelta
    >>> days = [datetime(2026, 1, 1), datetime(2026, 1, 20), datetime(2026, 1, 21)]
    >>> events = ibis.memtable(pa.table({"customer_id": ["a"] * 3, "time": days, "amount": [5.0, 1.0, 2.0]}))
    >>> wanted = [Feature("buy", "sum", value="amount", window=window) for window in (timedelta(days=7), None)]
    >>> rows = aggregate(events, wanted, datetime(2026, 1, 22, tzinfo=UTC))
    >>> rows.drop("customer_id", "_first", "_last").to_pyarrow().to_pylist()
    [{'_events': 3, 'buy_amount_sum_7d': 3.0, 'buy_amount_sum': 8.0}]
    """
    starts = sorted({window_start(cutoff, feature.window) for feature in features if feature.window}, reverse=True)
    edges = [None, *map(instant, starts), None]
    rings: dict[Feature, int] = {
        feature: starts.index(window_start(cutoff, feature.window)) + 1 if feature.window else len(starts) + 1
        for feature in features
    }
    names = {part: f"_part_{number}" for number, part in enumerate(dict.fromkeys(_parts(features)))}

    def ring(number: int) -> ir.Table:
        kept = dict.fromkeys(_parts(feature for feature in features if number < rings[feature]))
        inside = _between(visible, edges[number + 1], edges[number])
        return _by_customer(inside, {f"{names[part]}_{number}": part for part in kept})

    rows = _side_by_side([ring(number) for number in range(len(starts) + 1)])

    def merged(feature: Feature) -> ir.Value:
        parts = ([rows[f"{names[part]}_{number}"] for number in range(rings[feature])] for part in _parts([feature]))
        return _OPERATIONS[feature.op].merge(*parts)

    return rows.select("customer_id", FIRST, LAST, EVENTS, **{feature.name: merged(feature) for feature in features})


@dataclass(frozen=True)
class _Part:
    """A number that a ring keeps of each customer."""

    what: str
    value: str | None
    category: str | None
    category_value: str | None

    def over(self, table: ir.Table) -> ir.Scalar:
        where = None if self.category is None else table[self.category] == self.category_value
        return _PARTS[self.what](table, table[self.value or "time"], where)


def _parts(features: Iterable[Feature]) -> Iterator[_Part]:
    for feature in features:
        for what in _OPERATIONS[feature.op].parts:
            yield _Part(what, feature.value, feature.category, feature.category_value)


def _between(events: ir.Table, since: ir.TimestampScalar | None, until: ir.TimestampScalar | None) -> ir.Table:
    if since is not None:
        events = events.filter(events.time >= since)
    return events if until is None else events.filter(events.time < until)


def _by_customer(events: ir.Table, parts: dict[str, _Part]) -> ir.Table:
    numbers = {FIRST: events.time.min(), LAST: events.time.max(), EVENTS: events.count()}
    numbers |= {name: part.over(events) for name, part in parts.items()}
    return events.group_by("customer_id").aggregate(**numbers)


def _side_by_side(rings: Sequence[ir.Table]) -> ir.Table:
    """One row per customer of any ring, with the parts of all; those of a ring without the customer are missing."""
    lives = [ring.select("customer_id", FIRST, LAST, EVENTS) for ring in rings]
    life = ibis.union(*lives) if len(lives) > 1 else lives[0]
    rows = life.group_by("customer_id").aggregate(
        **{FIRST: life[FIRST].min(), LAST: life[LAST].max(), EVENTS: life[EVENTS].sum().cast("int64")}
    )
    for number, ring in enumerate(rings):
        own = ring.rename({f"_customer_{number}": "customer_id"}).drop(FIRST, LAST, EVENTS)
        if len(own.columns) > 1:
            rows = rows.left_join(own, [("customer_id", f"_customer_{number}")])
    return rows


def _edge(table: ir.Table, value: ir.NumericColumn, where: Where, *, last: bool) -> ir.Scalar:
    """The value at the smallest or largest (time, value) pair: equal times are told apart by the value."""
    present = value.notnull() if where is None else where & value.notnull()
    pair = ibis.struct({"time": table.time, "value": value})
    return (pair.max(where=present) if last else pair.min(where=present))["value"]


_PARTS: dict[str, Callable[[ir.Table, ir.NumericColumn, Where], ir.Scalar]] = {
    "rows": lambda table, _, where: table.count(where=where),
    "present": lambda _, value, where: value.count(where=where),
    "sum": lambda _, value, where: value.sum(where=where),
    "variance": lambda _, value, where: value.var(where=where, how="pop"),
    "min": lambda _, value, where: value.min(where=where),
    "max": lambda _, value, where: value.max(where=where),
    "first": lambda table, value, where: _edge(table, value, where, last=False),
    "last": lambda table, value, where: _edge(table, value, where, last=True),
}


def _total(rings: Iterable[ir.Value]) -> ir.NumericValue:
    return functools.reduce(operator.add, (ring.fill_null(0) for ring in rings))


def _mean(sums: Rings, present: Rings) -> ir.NumericValue:
    return _total(sums) / _total(present).nullif(0)


def _std(sums: Rings, present: Rings, variances: Rings) -> ir.NumericValue:
    mean = _mean(sums, present)
    squares = _total(
        count * (variance + (total / count.nullif(0) - mean) ** 2)
        for total, count, variance in zip(sums, present, variances, strict=True)
    )
    freedom = _total(present) - 1
    return (squares / (freedom > 0).ifelse(freedom, ibis.null("int64"))).sqrt()


@dataclass(frozen=True)
class _Operation:
    """The parts that an operation keeps of every ring, and how those of its rings, latest first, become one number."""

    parts: tuple[str, ...]
    merge: Callable[..., ir.Value]


_OPERATIONS = {
    "count": _Operation(("rows",), _total),
    "sum": _Operation(("sum",), lambda sums: _total(sums).cast("float64")),
    "mean": _Operation(("sum", "present"), _mean),
    "std": _Operation(("sum", "present", "variance"), _std),
    "min": _Operation(("min",), lambda values: ibis.least(*values)),
    "max": _Operation(("max",), lambda values: ibis.greatest(*values)),
    "first": _Operation(("first",), lambda values: ibis.coalesce(*reversed(values))),
    "last": _Operation(("last",), lambda values: ibis.coalesce(*values)),
}
