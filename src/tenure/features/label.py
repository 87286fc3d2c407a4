"""Who is at risk at a cutoff, and who of them left.

Enters: event tables and subscription periods as Ibis tables, the `[churn]` section, a cutoff.
Leaves: Ibis tables of customer ids.

At risk are the customers whose last active day lies inside `within` and who had `at_least` active days so far (for
expiry: whose period covers the cutoff). Where churn is an event, a customer whose last churn event is not followed by
any activity is already lost and no longer at risk; activity afterwards makes them a returner, at risk anew.

The label at `t` is judged on `[t + gap, t + gap + horizon)` with everything the log holds today, however late it was
recorded. It may be judged only when that span (for expiry: with the grace after it) lies wholly before the watermark.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from tenure.core.settings import ChurnSettings
from tenure.features.known import instant, known
from tenure.features.rings import EVENTS, FIRST, LAST

__all__ = ["active_types", "activity", "at_risk", "churned", "judged_span", "lapses", "matures_at"]


def judged_span(churn: ChurnSettings, cutoff: datetime) -> tuple[datetime, datetime]:
    """The half-open span in which churn is judged.

    Examples
    --------
    >>> from datetime import UTC
    >>> churn = ChurnSettings(event="cancel", horizon="28d", gap="2d")
    >>> [str(t.date()) for t in judged_span(churn, datetime(2026, 1, 1, tzinfo=UTC))]
    ['2026-01-03', '2026-01-31']
    """
    start = cutoff + churn.gap
    return start, start + churn.horizon


def matures_at(churn: ChurnSettings, cutoff: datetime) -> datetime:
    """The watermark from which on the label at `cutoff` may be judged.

    Examples
    --------
    >>> from datetime import UTC
    >>> str(matures_at(ChurnSettings(inactivity=("buy",), horizon="28d"), datetime(2026, 1, 1, tzinfo=UTC)).date())
    '2026-01-29'
    """
    return judged_span(churn, cutoff)[1] + (churn.expiry.grace if churn.expiry else timedelta(0))


def active_types(churn: ChurnSettings, declared: Mapping[str, object]) -> tuple[str, ...]:
    """The event types that count as activity: those given, else the inactivity types, else all but the churn event.

    Examples
    --------
    >>> active_types(ChurnSettings(event="cancel", horizon="28d"), {"login": 0, "cancel": 0})
    ('login',)
    """
    if churn.active.events or churn.inactivity:
        return churn.active.events or churn.inactivity
    return tuple(name for name in declared if name != churn.event)


def activity(facts: Mapping[str, ir.Table], types: tuple[str, ...]) -> ir.Table:
    """First, last and number of a customer's known events over several types.

    Parameters
    ----------
    facts : mapping of event type to ibis table
        Results of `event_features`.
    types : tuple of str
        The types that count as activity.

    Returns
    -------
    ibis table
        `customer_id`, `_first`, `_last` and `_events`; a single type brings its features along.
    """
    if len(types) == 1:
        return facts[types[0]]
    parts = [facts[name].select("customer_id", FIRST, LAST, EVENTS) for name in types]
    both = ibis.union(*parts)
    return both.group_by("customer_id").aggregate(
        **{FIRST: both[FIRST].min(), LAST: both[LAST].max(), EVENTS: both[EVENTS].sum()}
    )


def at_risk(
    events: Mapping[str, ir.Table], periods: ir.Table | None, active: ir.Table, churn: ChurnSettings, cutoff: datetime
) -> ir.Table:
    """Customers at risk at the cutoff.

    Parameters
    ----------
    events : mapping of event type to ibis table
        Canonical events.
    periods : ibis table, optional
        Canonical subscription periods; needed where churn is an expiry.
    active : ibis table
        Result of `activity`.
    churn : ChurnSettings
        Says who is active, and what a loss is.
    cutoff : datetime
        UTC.

    Returns
    -------
    ibis table
        `customer_id`, and for event and inactivity the columns of `active`.
    """
    at = instant(cutoff)
    if churn.expiry is not None:
        covering = _given(periods)
        return covering.filter(covering.start <= at, covering.end > at).select("customer_id").distinct()
    rows = active.filter(active[LAST] >= instant(cutoff - churn.active.within))
    if churn.active.at_least == 2:  # two different days: cheaper than counting them
        rows = rows.filter(rows[FIRST].date() != rows[LAST].date())
    elif churn.active.at_least > 2:
        rows = rows.semi_join(_often_active(events, churn, cutoff), "customer_id")
    if churn.event is not None:
        rows = _not_lost(rows, known(events[churn.event], cutoff))
    return rows


def _often_active(events: Mapping[str, ir.Table], churn: ChurnSettings, cutoff: datetime) -> ir.Table:
    visible = [known(events[name], cutoff) for name in active_types(churn, events)]
    days = [table.select("customer_id", _day=table.time.date()).distinct() for table in visible]
    all_days = ibis.union(*days, distinct=True) if len(days) > 1 else days[0]
    counts = all_days.group_by("customer_id").aggregate(_days=all_days.count())
    return counts.filter(counts["_days"] >= churn.active.at_least)


def _not_lost(rows: ir.Table, losses: ir.Table) -> ir.Table:
    last_loss = losses.group_by("customer_id").aggregate(_lost=losses.time.max())
    return rows.anti_join(last_loss, [rows.customer_id == last_loss.customer_id, last_loss["_lost"] >= rows[LAST]])


def churned(
    events: Mapping[str, ir.Table], periods: ir.Table | None, rows: ir.Table, churn: ChurnSettings, cutoff: datetime
) -> ir.Table:
    """Add the column `label` to the rows at risk: true where the customer left inside the judged span.

    The caller makes sure that the span has matured (`matures_at`).
    """
    start, end = (instant(edge) for edge in judged_span(churn, cutoff))
    if churn.expiry is not None:
        ends = lapses(_given(periods), churn.expiry.grace)
        seen = ends.filter(ends.end >= start, ends.end < end)
    else:
        judged = [events[name] for name in ((churn.event,) if churn.event else churn.inactivity)]
        inside = [table.filter(table.time >= start, table.time < end).select("customer_id") for table in judged]
        seen = ibis.union(*inside) if len(inside) > 1 else inside[0]
    marks = seen.select("customer_id").distinct().mutate(_seen=True)
    joined = rows.left_join(marks, "customer_id")
    return joined.mutate(label=joined["_seen"].isnull() if churn.inactivity else joined["_seen"].notnull()).drop(
        "_seen", "customer_id_right"
    )


def lapses(periods: ir.Table, grace: timedelta) -> ir.Table:
    """Period ends that no other period of the customer carries on: none ends later that starts within the grace."""
    other = periods.view()
    carried_on = [
        periods.customer_id == other.customer_id,
        other.end > periods.end,
        other.start <= periods.end + ibis.interval(seconds=int(grace.total_seconds())),
    ]
    return periods.anti_join(other, carried_on)


def _given(periods: ir.Table | None) -> ir.Table:
    if periods is None:
        raise ValueError("churn by expiry needs the table of subscription periods")
    return periods
