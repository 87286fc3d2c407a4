"""Who is at risk at a cutoff, who was lost afterwards, and when that is settled.

What enters: one customer's events and subscription periods. What leaves: yes or no. Invariant: eligibility uses only
what was known at the cutoff; a label uses only what happened inside the judged span, whenever it was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypedDict

from tests.oracle.features import Event, known


class Period(TypedDict):
    """One subscription period ``[start, end)`` of one customer."""

    customer_id: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Active:
    """Who is at risk: at least ``at_least`` active days so far, the last one inside ``within``."""

    events: tuple[str, ...]
    within: timedelta
    at_least: int = 1


@dataclass(frozen=True)
class Churn:
    """One of the three meanings of being lost; ``types`` is empty and ``grace`` counts for expiry only."""

    kind: Literal["event", "inactivity", "expiry"]
    horizon: timedelta
    types: tuple[str, ...] = ()
    gap: timedelta = timedelta(0)
    grace: timedelta = timedelta(0)


def judged_span(churn: Churn, cutoff: datetime) -> tuple[datetime, datetime]:
    """Return the start (inside) and the end (outside) of the span on which a cutoff is judged."""
    start = cutoff + churn.gap
    return start, start + churn.horizon


def eligible(
    events: Sequence[Event],
    periods: Sequence[Period],
    churn: Churn,
    active: Active,
    cutoff: datetime,
) -> bool:
    """Say whether one customer is at risk at a cutoff."""
    if churn.kind == "expiry":
        return covered(periods, cutoff)
    times = [event["time"] for event in events if event["type"] in active.events and known(event, cutoff)]
    days = {time.astimezone(UTC).date() for time in times}
    if not times or len(days) < active.at_least:
        return False
    last = max(times)
    if last < cutoff - active.within:
        return False
    return churn.kind != "event" or not already_lost(events, churn, last, cutoff)


def covered(periods: Iterable[Period], cutoff: datetime) -> bool:
    """Say whether one of the periods contains the cutoff."""
    return any(period["start"] <= cutoff < period["end"] for period in periods)


def already_lost(events: Iterable[Event], churn: Churn, last_active: datetime, cutoff: datetime) -> bool:
    """Say whether a churn event known at the cutoff is not followed by activity."""
    return any(
        event["type"] in churn.types and known(event, cutoff) and event["time"] >= last_active for event in events
    )


def lapses(periods: Sequence[Period], grace: timedelta) -> list[datetime]:
    """Return the ends of one customer's periods that no longer period picks up within grace."""
    ends = {period["end"] for period in periods}
    return sorted(
        end for end in ends if not any(other["end"] > end and other["start"] - end <= grace for other in periods)
    )


def label(events: Sequence[Event], periods: Sequence[Period], churn: Churn, cutoff: datetime) -> bool:
    """Say whether one customer was lost in the span on which the cutoff is judged."""
    start, end = judged_span(churn, cutoff)
    if churn.kind == "expiry":
        return any(start <= lapse < end for lapse in lapses(periods, churn.grace))
    happened = any(event["type"] in churn.types and start <= event["time"] < end for event in events)
    return happened if churn.kind == "event" else not happened


def watermark(events: Iterable[Event], periods: Iterable[Period], churn: Churn) -> datetime | None:
    """Return the time up to which the whole log is taken to be complete, None for an empty log."""
    times = [event["time"] for event in events]
    if churn.kind == "expiry":
        times += [period["start"] for period in periods]
    return max(times, default=None)


def matured(churn: Churn, cutoff: datetime, mark: datetime | None) -> bool:
    """Say whether nothing that still may arrive can change the labels of a cutoff."""
    settled = judged_span(churn, cutoff)[1]
    if churn.kind == "expiry":
        settled += churn.grace
    return mark is not None and settled <= mark
