"""Instants, durations, windows and clocks.

Enters: text from settings, files and the command line. Leaves: timezone-aware UTC datetimes and timedeltas.
Invariant: a window of length `w` at `t` is the half-open span `[floor(t - w, hop(w)), t)`. The head is exact; the tail
is rounded down to a hop, so that an online store can keep one state per hop and still finish the same number that
history gives. Batch and stream both call `window_start`, which is why their results can be compared for equality.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tenure.core.errors import InputError

__all__ = [
    "DAY_MICROS",
    "EPOCH",
    "Clock",
    "fixed_clock",
    "floor_time",
    "format_duration",
    "format_instant",
    "from_micros",
    "hop",
    "parse_duration",
    "parse_instant",
    "parse_timezone",
    "span_micros",
    "system_clock",
    "to_micros",
    "window_start",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_MICROS = 86_400_000_000
LONGEST = timedelta(days=36_500)
_UNITS = {
    "w": timedelta(weeks=1),
    "d": DAY,
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_DURATION = re.compile(r"\s*(\d+)\s*([wdhms])\s*")

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, in UTC.

    Examples
    --------
    >>> system_clock().tzinfo is UTC
    True
    """
    return datetime.now(UTC)


def fixed_clock(text: str) -> Clock:
    """A clock that stands still, for tests and for reruns that must be byte-identical.

    Examples
    --------
    >>> fixed_clock("2026-01-01")().isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    instant = parse_instant(text)
    return lambda: instant


def parse_duration(text: str | timedelta) -> timedelta:
    """Read `"7d"`, `"12h"`, `"5m"`, `"90s"` or `"2w"`.

    Raises
    ------
    InputError
        The text is not a whole number followed by one of w, d, h, m, s.

    Examples
    --------
    >>> parse_duration("2w")
    datetime.timedelta(days=14)
    """
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(str(text))
    if match is None:
        raise InputError(
            f"{text!r} is not a duration.",
            hint='Write a whole number and a unit: "28d", "12h", "5m", "90s" or "2w".',
            value=text,
        )
    units = int(match[1])
    if units > LONGEST // _UNITS[match[2]]:
        raise InputError(f"{text!r} is too long a duration.", hint="Use at most 36500d.", value=text)
    return units * _UNITS[match[2]]


def format_duration(span: timedelta) -> str:
    """Write a duration in the largest unit of d, h, m, s that divides it, as feature names do.

    Raises
    ------
    InputError
        The duration has a fraction of a second.

    Examples
    --------
    >>> format_duration(timedelta(days=14)), format_duration(timedelta(hours=36)), format_duration(timedelta(0))
    ('14d', '36h', '0d')
    """
    for unit in "dhms":
        if span % _UNITS[unit] == timedelta(0):
            return f"{span // _UNITS[unit]}{unit}"
    raise InputError(f"{span} is not a whole number of seconds.", hint="Durations are whole seconds.", value=str(span))


def parse_timezone(name: str) -> tzinfo:
    """Look up an IANA time zone.

    Raises
    ------
    InputError
        The name is unknown.

    Examples
    --------
    >>> parse_timezone("UTC")
    datetime.timezone.utc
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # "Europe" alone is a folder
        raise InputError(
            f"{name!r} is not a time zone.", hint='Use an IANA name such as "Europe/Berlin" or "UTC".', timezone=name
        ) from None


def parse_instant(value: str | date, zone: tzinfo = UTC) -> datetime:
    """Read an ISO 8601 date or time as a UTC instant; a naive one is read in `zone`.

    Raises
    ------
    InputError
        The text is not ISO 8601, or lies outside the years that there are.

    Examples
    --------
    >>> parse_instant("2017-12-03").isoformat()
    '2017-12-03T00:00:00+00:00'
    >>> parse_instant("2017-12-03T01:00:00+02:00").isoformat()
    '2017-12-02T23:00:00+00:00'
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InputError(
                f"{value!r} is not a date or time.",
                hint='Write it as "2026-01-31" or "2026-01-31T12:00:00Z".',
                value=value,
            ) from None
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone is added on the next line
    try:
        return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        raise InputError(
            f"{value} lies outside the years 1 to 9999 in UTC.", hint="Write another time.", value=str(value)
        ) from None


def format_instant(instant: datetime) -> str:
    """Write a UTC instant as briefly as it allows: a date at midnight, else ISO 8601 with `Z`.

    Examples
    --------
    >>> format_instant(parse_instant("2017-12-03")), format_instant(parse_instant("2017-12-03T04:05:06"))
    ('2017-12-03', '2017-12-03T04:05:06Z')
    """
    utc = instant.astimezone(UTC)
    if utc.timetz().replace(tzinfo=None) == datetime.min.time():
        return utc.date().isoformat()
    return utc.replace(tzinfo=None).isoformat() + "Z"


def span_micros(span: timedelta) -> int:
    """A duration in whole microseconds.

    Examples
    --------
    >>> span_micros(timedelta(days=1)) == DAY_MICROS
    True
    """
    return span // timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """An instant as microseconds since 1970 in UTC.

    Examples
    --------
    >>> to_micros(parse_instant("1970-01-02"))
    86400000000
    """
    return span_micros(instant - EPOCH)


def from_micros(micros: int) -> datetime:
    """The UTC instant that lies so many microseconds after 1970.

    Examples
    --------
    >>> from_micros(to_micros(parse_instant("2026-01-31"))).isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    return EPOCH + timedelta(microseconds=int(micros))


def floor_time(instant: datetime, step: timedelta) -> datetime:
    """Round an instant down to a multiple of `step` since the Unix epoch.

    Examples
    --------
    >>> floor_time(parse_instant("2017-12-03T04:05:06"), timedelta(hours=1)).isoformat()
    '2017-12-03T04:00:00+00:00'
    """
    return instant - (instant - EPOCH) % step


def hop(window: timedelta) -> timedelta:
    """The step that the tail of a window is rounded down to.

    Examples
    --------
    >>> [format_duration(hop(parse_duration(w))) for w in ("7d", "12h", "11h")]
    ['1d', '1h', '5m']
    """
    if window >= timedelta(days=7):
        return DAY
    return timedelta(hours=1) if window >= timedelta(hours=12) else timedelta(minutes=5)


def window_start(cutoff: datetime, window: timedelta) -> datetime:
    """First instant of the window of length `window` that ends at `cutoff`.

    Examples
    --------
    >>> window_start(parse_instant("2017-12-03T04:05:06"), timedelta(days=7)).isoformat()
    '2017-11-26T00:00:00+00:00'
    """
    return floor_time(cutoff - window, hop(window))
