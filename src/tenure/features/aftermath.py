"""Consequences: event types that are a part of leaving, as the visit of a cancel page or the closing of an account.

Enters: opened tables, features and the churn definition. Leaves: findings. Invariant: an event counts only once what
followed it can be known, `gap + horizon` before the log's end.

A cancel page is visited because somebody leaves. Its event is no lie about time, so neither a feature's strength nor
the canary need show it: minutes before a cancellation there is hardly ever a cutoff. But a model that learns from it
warns when nothing can be done any more, and one whose events are logged a little early learns the label.

So every event type is asked how close to a loss it happens: what share of its events, averaged over its customers, lie
within a week of a loss, or within the reach of the label (before it) and of the `active` rule (after it). An event type
is a consequence where this share is at least 80 %, and its odds, as a one-sided 99 % bound, are at least eight times
those of all other event types together. The comparison matters: where most customers come only once, everything
happens close to a loss. Honest types of a grocer, a social network and simulated services reach 34 %, failed payments
among them; those of a wholesaler, half of whose customers never return, reach 83 % within the reach.

About 20,000 customers are looked at per event type, and one event per customer and day, so the join of events with
losses stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir
import numpy as np

from tenure.core.settings import ChurnSettings
from tenure.core.time import EPOCH, format_duration
from tenure.features.audit import Finding
from tenure.features.declare import FeatureSet
from tenure.features.known import instant
from tenure.features.label import active_types, lapses
from tenure.features.sample import sample_customers
from tenure.features.separation import wilson_low
from tenure.features.snapshot import Tables

__all__ = ["audit_consequences"]

_MOST_CUSTOMERS, _FEWEST_CUSTOMERS = 20_000, 20
_NEAR_ABOVE, _ODDS_ABOVE = 0.8, 8.0
_WEEK = timedelta(days=7)
_ADVICE = 'Leave out the [[features]] of event = "{name}", or, if it says something early enough to act on, allow it.'


@dataclass(frozen=True)
class _Nearness:
    """How many customers have such events, and what share of theirs lies near a loss: within the reach, in a week."""

    customers: int
    shares: tuple[float, float]


def audit_consequences(
    tables: Tables, features: FeatureSet, churn: ChurnSettings, seed: int = 0
) -> tuple[Finding, ...]:
    """See whether an event type that features or the `active` rule use happens almost only around losses.

    Parameters
    ----------
    tables, features, churn
        As for `tenure.features.canary.audit_future`.
    seed : int
        Which customers are sampled.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.app.history import open_history
    >>> from tenure.app.place import Place
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with place.engine() as engine:
    ...     audit_consequences(open_history(place, engine).tables, FeatureSet(), place.settings.churn)
    ()
    """
    defining = {*churn.inactivity, *filter(None, [churn.event])}
    used = dict.fromkeys((*(feature.event for feature in features.events), *active_types(churn, tables.events)))
    asked = [name for name in used if name not in defining]
    return tuple(finding for name in asked if (finding := _audit_type(tables, churn, name, seed)))


def _audit_type(tables: Tables, churn: ChurnSettings, name: str, seed: int) -> Finding | None:
    others = [other for other in tables.events if other not in {name, churn.event}]
    found = _nearness(tables, churn, [name], seed)
    if not others or found.customers < _FEWEST_CUSTOMERS or max(found.shares) < _NEAR_ABOVE:
        return None
    usual = _nearness(tables, churn, others, seed)
    for share, elsewhere, span in zip(found.shares, usual.shares, (_reach(churn), _WEEK), strict=True):
        low = float(wilson_low(np.array([share]), np.array([found.customers]))[0])
        if share >= _NEAR_ABOVE and low * (1.0 - elsewhere) >= _ODDS_ABOVE * elsewhere * (1.0 - low):
            evidence = (
                f"{share:.0%} of the {name!r} events (of {found.customers:,} customers) happen around a loss, within "
                f"{format_duration(span)} (other events: {elsewhere:.0%}), so it looks like a part of leaving."
            )
            return Finding("consequence", name, "leak", evidence, _ADVICE.format(name=name))
    return None


def _reach(churn: ChurnSettings) -> timedelta:
    return churn.gap + churn.horizon


def _nearness(tables: Tables, churn: ChurnSettings, names: list[str], seed: int) -> _Nearness:
    customers = max(tables.history.events[name].customers for name in names)
    sampled = sample_customers(tables, customers, _MOST_CUSTOMERS, seed)
    types = [sampled.events[name].select("customer_id", "time") for name in names]
    events = (ibis.union(*types) if len(types) > 1 else types[0]).filter(
        lambda table: table.time <= instant(_watermark(tables) - _reach(churn))
    )
    days = events.group_by("customer_id", _day=events.time.date()).aggregate(time=events.time.min())
    shares = _shares(days, _losses(sampled, churn), churn)
    row = tables.backend.to_pyarrow(shares).to_pylist()[0]
    return _Nearness(row["customers"], (row["near"] or 0.0, row["week"] or 0.0))


def _shares(days: ir.Table, losses: ir.Table, churn: ChurnSettings) -> ir.Table:
    reach = _reach(churn)
    after = max(churn.active.within, reach)
    pairs = days.left_join(
        losses,
        [
            days.customer_id == losses.customer_id,
            losses["_at"] >= days.time - _interval(after),
            losses["_at"] <= days.time + _interval(reach),
        ],
    ).mutate(_near=ibis._["_at"].notnull())
    week = min(_WEEK, reach)
    inside = (pairs["_at"] >= pairs.time - _interval(week)) & (pairs["_at"] <= pairs.time + _interval(week))
    events = pairs.mutate(_week=pairs["_near"] & inside).group_by("customer_id", "time")
    judged = events.aggregate(_near=ibis._["_near"].any(), _week=ibis._["_week"].any())
    each = judged.group_by("customer_id").aggregate(near=judged["_near"].mean(), week=judged["_week"].mean())
    return each.aggregate(customers=each.count(), near=each.near.mean(), week=each.week.mean())


def _interval(span: timedelta) -> ir.IntervalScalar:
    return ibis.interval(seconds=int(span.total_seconds()))


def _watermark(tables: Tables) -> datetime:
    return tables.history.watermark or EPOCH


def _losses(tables: Tables, churn: ChurnSettings) -> ir.Table:
    """The instants at which customers were lost: churn events, lapses, or the last activity before a long silence."""
    watermark = instant(_watermark(tables))
    if churn.event is not None:
        return tables.events[churn.event].select("customer_id", _at="time")
    if churn.expiry is not None and tables.periods is not None:
        ends = lapses(tables.periods, churn.expiry.grace)
        return ends.filter(ends.end <= watermark).select("customer_id", _at="end")
    parts = [tables.events[name].select("customer_id", "time") for name in churn.inactivity]
    active = ibis.union(*parts) if len(parts) > 1 else parts[0]
    next_time = active.time.lead().over(group_by="customer_id", order_by="time")
    active = active.mutate(_next=next_time, _silent=active.time + _interval(_reach(churn)))
    silent = active["_next"].isnull() | (active["_next"] > active["_silent"])
    return active.filter(silent & (active["_silent"] <= watermark)).select("customer_id", _at="time")
