"""What was known at a cutoff.

Enters: an event table (an Ibis table in canonical form) and a cutoff. Leaves: the events that may enter a row. The
point-in-time rule lives in `known` and nowhere else: an event may enter when it happened before the cutoff and was
recorded no later than it. Everything else is built on the table that `known` returns, so no aggregate can see past the
cutoff.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir

__all__ = ["days_between", "instant", "known"]

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
