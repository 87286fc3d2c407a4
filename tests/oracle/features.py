"""What every feature means, computed by looking at each event of one customer in turn.

What enters: the events of a log as plain dictionaries and a declared feature. What leaves: its exact name and its value
at a cutoff, ``None`` where the value is not defined. Invariant: an event that was not known at the cutoff never counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypedDict

Number = int | float

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

EVENT_OPS = ("count", "active_days")
VALUE_OPS = ("sum", "mean", "min", "max", "std", "first", "last")
WINDOWED_OPS = EVENT_OPS + VALUE_OPS
LIFETIME_OPS = ("days_since_first", "days_since_last", "mean_gap", "relative_recency")
NO_TREND_OPS = ("first", "last")


class Event(TypedDict):
    """One event of one customer; times are aware and in UTC."""

    customer_id: str
    time: datetime
    recorded: datetime | None
    type: str
    values: Mapping[str, float | None]
    categories: Mapping[str, str | None]
    id: str | None


class CustomerRow(TypedDict):
    """What was known about one customer from ``known_at`` on; ``known_at`` is None in a table without history."""

    customer_id: str
    known_at: datetime | None
    since: datetime | None
    attributes: Mapping[str, float | str | None]


@dataclass(frozen=True)
class Feature:
    """One column: ``over`` makes it a trend, ``category`` with ``category_value`` narrows it to one value."""

    event: str
    op: str
    value: str | None = None
    window: timedelta | None = None
    over: timedelta | None = None
    category: str | None = None
    category_value: str | None = None


@dataclass(frozen=True)
class Block:
    """One ``[[features]]`` entry, with the values of its category already frozen."""

    event: str
    ops: tuple[str, ...]
    value: str | None = None
    windows: tuple[timedelta, ...] = ()
    trends: tuple[tuple[timedelta, timedelta], ...] = ()
    category: str | None = None
    category_values: tuple[str, ...] = ()


def duration_text(duration: timedelta) -> str:
    """Write a duration as a whole number of the largest of d, h, m, s that divides it."""
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")):
        if duration % unit == timedelta(0):
            return f"{duration // unit}{letter}"
    raise ValueError(f"{duration!r} is not a whole number of seconds")


def feature_name(feature: Feature) -> str:
    """Write ``{event}[_{value}]_{op}[_{window}[_over_{window}]][_by_{category}={value}]``."""
    parts = [feature.event]
    if feature.op in VALUE_OPS and feature.value is not None:
        parts.append(feature.value)
    parts.append(feature.op)
    if feature.window is not None:
        parts.append(duration_text(feature.window))
    if feature.over is not None:
        parts.extend(["over", duration_text(feature.over)])
    if feature.category is not None:
        parts.append(f"by_{feature.category}={feature.category_value}")
    return "_".join(parts)


def block_features(block: Block) -> list[Feature]:
    """List the columns that one ``[[features]]`` entry declares.

    A category splits a block: its windowed operations, trends included, appear once for each frozen value and not for
    all events together. Lifetime operations are never split.
    """
    splits: list[tuple[str | None, str | None]] = [(None, None)]
    if block.category is not None:
        splits = [(block.category, value) for value in block.category_values]
    found: list[Feature] = []
    for op in block.ops:
        value = block.value if op in VALUE_OPS else None
        if op in LIFETIME_OPS:
            found.append(Feature(block.event, op))
            continue
        spans: list[tuple[timedelta | None, timedelta | None]] = [(window, None) for window in block.windows or (None,)]
        if op not in NO_TREND_OPS:
            spans.extend(block.trends)
        found.extend(Feature(block.event, op, value, *span, *split) for span in spans for split in splits)
    return found


def top_values(events: Iterable[Event], category: str, top: int) -> list[str]:
    """Return the ``top`` most frequent values of a category, equal frequencies in alphabetical order."""
    seen = Counter(value for event in events if (value := event["categories"].get(category)) is not None)
    return sorted(seen, key=lambda value: (-seen[value], value))[:top]


def hop(window: timedelta) -> timedelta:
    """Return the step to which the tail of a window is rounded down."""
    if window >= 7 * DAY:
        return DAY
    if window >= 12 * HOUR:
        return HOUR
    return 5 * MINUTE


def floor_time(time: datetime, step: timedelta) -> datetime:
    """Round down to a whole number of steps since 1970-01-01 00:00 UTC."""
    return EPOCH + ((time - EPOCH) // step) * step


def window_start(window: timedelta, cutoff: datetime) -> datetime:
    """Return the first instant that a window at a cutoff contains."""
    return floor_time(cutoff - window, hop(window))


def known(event: Event, cutoff: datetime) -> bool:
    """Say whether an event had happened before the cutoff and was recorded by it."""
    recorded = event["recorded"]
    return event["time"] < cutoff and (recorded is None or recorded <= cutoff)


def feature_value(
    events: Sequence[Event],
    op: str,
    value: str | None,
    window: timedelta | None,
    cutoff: datetime,
    by: tuple[str, str] | None = None,
) -> Number | None:
    """Return one operation at one cutoff over one customer's events of one type, known or not."""
    chosen = [event for event in events if known(event, cutoff)]
    if window is not None:
        chosen = [event for event in chosen if event["time"] >= window_start(window, cutoff)]
    if by is not None:
        category, wanted = by
        chosen = [event for event in chosen if event["categories"].get(category) == wanted]
    if op in VALUE_OPS:
        if value is None:
            raise ValueError(f"{op} needs a value")
        return _value_op(op, _timed_values(chosen, value))
    return _event_op(op, sorted(event["time"] for event in chosen), cutoff)


def _timed_values(events: Iterable[Event], value: str) -> list[tuple[datetime, float]]:
    """Return the non-null values with their times, in order of time and then of value."""
    return sorted((event["time"], number) for event in events if (number := event["values"].get(value)) is not None)


def _value_op(op: str, timed: Sequence[tuple[datetime, float]]) -> float | None:
    numbers = [number for _, number in timed]
    if op == "sum":
        return math.fsum(numbers)
    return OVER_VALUES[op](numbers) if numbers else None


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def _sample_std(numbers: Sequence[float]) -> float | None:
    if len(numbers) < 2:
        return None
    mean = _mean(numbers)
    return math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))


# Numbers come in order of time and then of value: of equal times the smaller value is first and the larger last.
OVER_VALUES: Mapping[str, Callable[[Sequence[float]], float | None]] = {
    "mean": _mean,
    "min": min,
    "max": max,
    "std": _sample_std,
    "first": lambda numbers: numbers[0],
    "last": lambda numbers: numbers[-1],
}


def _event_op(op: str, times: Sequence[datetime], cutoff: datetime) -> Number | None:
    if op == "count":
        return len(times)
    if op == "active_days":
        return len({time.astimezone(UTC).date() for time in times})
    return OVER_TIMES[op](times, cutoff) if times else None


def _days_since_last(times: Sequence[datetime], cutoff: datetime) -> float:
    return (cutoff - times[-1]) / DAY


def _mean_gap(times: Sequence[datetime]) -> float | None:
    return (times[-1] - times[0]) / DAY / (len(times) - 1) if len(times) > 1 else None


def _relative_recency(times: Sequence[datetime], cutoff: datetime) -> float | None:
    gap = _mean_gap(times)
    return None if gap is None or gap == 0 else _days_since_last(times, cutoff) / gap


OVER_TIMES: Mapping[str, Callable[[Sequence[datetime], datetime], float | None]] = {
    "days_since_first": lambda times, cutoff: (cutoff - times[0]) / DAY,
    "days_since_last": _days_since_last,
    "mean_gap": lambda times, _: _mean_gap(times),
    "relative_recency": _relative_recency,
}


def declared_value(events: Sequence[Event], feature: Feature, cutoff: datetime) -> Number | None:
    """Return one declared column for one customer, given all that customer's events of all types."""
    of_type = [event for event in events if event["type"] == feature.event]
    by = None
    if feature.category is not None and feature.category_value is not None:
        by = (feature.category, feature.category_value)
    near = feature_value(of_type, feature.op, feature.value, feature.window, cutoff, by)
    if feature.over is None:
        return near
    far = feature_value(of_type, feature.op, feature.value, feature.over, cutoff, by)
    return None if near is None or far is None or far == 0 else near / far


def customer_as_of(rows: Iterable[CustomerRow], cutoff: datetime) -> CustomerRow | None:
    """Return what was known about one customer at the cutoff, None where nothing was."""
    undated = [row for row in rows if row["known_at"] is None]
    if undated:
        (only,) = undated
        return only
    dated = [(row["known_at"], row) for row in rows if row["known_at"] is not None]
    past = [(known_at, row) for known_at, row in dated if known_at <= cutoff]
    return max(past, key=lambda pair: pair[0])[1] if past else None


def tenure_days(since: datetime | None, cutoff: datetime) -> float | None:
    """Return the days since the customer joined, None where unknown or not yet."""
    return None if since is None or since > cutoff else (cutoff - since) / DAY


def feature_row(events: Sequence[Event], features: Iterable[Feature], cutoff: datetime) -> dict[str, Number | None]:
    """Return every declared column of one customer at one cutoff, by name."""
    return {feature_name(feature): declared_value(events, feature, cutoff) for feature in features}


def attribute_row(
    rows: Iterable[CustomerRow], attributes: Iterable[str], cutoff: datetime
) -> dict[str, float | str | None]:
    """Return the named attributes and ``tenure_days`` of one customer as of a cutoff."""
    row = customer_as_of(list(rows), cutoff)
    found: dict[str, float | str | None] = {
        name: None if row is None else row["attributes"].get(name) for name in attributes
    }
    found["tenure_days"] = None if row is None else tenure_days(row["since"], cutoff)
    return found
