"""Numbers as people read them.

Enters: numbers and estimates. Leaves: text, with thin spaces between a number and its unit, a true minus sign, and the
same number of decimals for a value and the two ends of its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from tenure.core.time import DAY, format_duration
from tenure.model.evaluate import Estimate

__all__ = [
    "amount",
    "count",
    "decimal",
    "interval",
    "moment",
    "percent",
    "plural",
    "rate",
    "signed",
    "span",
    "times",
    "with_interval",
]

THIN = "\u202f"  # narrow and not breaking
MINUS = "\u2212"
DASH = "\u2013"
SIGNS = ("+", MINUS)
Format = Callable[[float], str]


def count(number: float) -> str:
    """A whole number with its thousands apart.

    Examples
    --------
    >>> count(1469307)
    '1,469,307'
    """
    return f"{number:,.0f}".replace("-", MINUS)


def decimal(number: float) -> str:
    """A number with three decimals.

    Examples
    --------
    >>> decimal(0.86341)
    '0.863'
    """
    return f"{number:.3f}".replace("-", MINUS)


def times(number: float) -> str:
    """A multiple.

    Examples
    --------
    >>> times(3.2481)
    '3.25'
    """
    return f"{number:.2f}"


def signed(number: float) -> str:
    """A difference, with its sign.

    Examples
    --------
    >>> signed(0.0312)
    '+0.031'
    """
    return f"{number:+.3f}".replace("-", MINUS)


def amount(number: float) -> str:
    """Money: whole units from 100 on, cents below.

    Examples
    --------
    >>> amount(12345.6), amount(0.25), amount(10)
    ('12,346', '0.25', '10')
    """
    whole = abs(number) >= 100 or number == round(number)
    return (f"{number:,.0f}" if whole else f"{number:,.2f}").replace("-", MINUS)


def percent(share: float) -> str:
    """A share in per cent, with a decimal where it is below a fifth.

    Examples
    --------
    >>> percent(0.391).split(THIN), percent(0.0421).split(THIN)
    (['39', '%'], ['4.2', '%'])
    """
    return f"{_hundredths(share, _decimals(share))}{THIN}%"


def rate(share: float) -> str:
    """A share that somebody chose, with the digits that they gave it.

    Examples
    --------
    >>> rate(0.1).split(THIN), rate(0.125).split(THIN)
    (['10', '%'], ['12.5', '%'])
    """
    return f"{share * 100:g}{THIN}%"


def _decimals(share: float) -> int:
    return 0 if abs(share) >= 0.2 or share == 0 else 1 if abs(share) >= 0.00095 else 2


def _hundredths(share: float, decimals: int) -> str:
    return f"{share * 100:.{decimals}f}".replace("-", MINUS)


def interval(estimate: Estimate, form: Format = decimal) -> str:
    """The two ends of an interval; empty where it is not defined or has no width.

    Examples
    --------
    >>> interval(Estimate(0.86, 0.84, 0.88)).split(DASH), interval(Estimate(0.1, 0.1, 0.1))
    (['0.840', '0.880'], '')
    >>> interval(Estimate(0.391, 0.35, 0.43), percent).split(DASH)[0]
    '35'
    """
    low, high, unit = estimate.low, estimate.high, ""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if form is percent:
        decimals, unit = _decimals(estimate.value), f"{THIN}%"
        ends = _hundredths(low, decimals), _hundredths(high, decimals)
    else:
        ends = form(low), form(high)
    if ends[0] == ends[1]:
        return ""
    return f"{ends[0]} to {ends[1]}{unit}" if ends[0][0] in SIGNS else f"{ends[0]}{DASH}{ends[1]}{unit}"


def with_interval(estimate: Estimate, form: Format = decimal) -> str:
    """A value, and its interval in brackets where it has one.

    Examples
    --------
    >>> with_interval(Estimate(0.391, 0.35, 0.43)).split(DASH)
    ['0.391 [0.350', '0.430]']
    """
    ends = interval(estimate, form)
    return f"{form(estimate.value)} [{ends}]" if ends else form(estimate.value)


def plural(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    Examples
    --------
    >>> plural(1, "row"), plural(1200, "row"), plural(2, "child", "children")
    ('1 row', '1,200 rows', '2 children')
    """
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def moment(instant: datetime) -> str:
    """A UTC instant to the minute; only its date at midnight.

    Examples
    --------
    >>> moment(datetime(2026, 3, 2, 7, 30, 12, tzinfo=UTC)), moment(datetime(2026, 3, 2, tzinfo=UTC))
    ('2026-03-02 07:30 UTC', '2026-03-02')
    """
    utc = instant.astimezone(UTC)
    return f"{utc:%Y-%m-%d}" if (utc.hour, utc.minute) == (0, 0) else f"{utc:%Y-%m-%d %H:%M} UTC"


def span(length: timedelta) -> str:
    """A duration in words where it is whole days, else as settings write it.

    Examples
    --------
    >>> span(timedelta(days=28)), span(timedelta(days=1)), span(timedelta(hours=36))
    ('28 days', '1 day', '36h')
    """
    return plural(length // DAY, "day") if length % DAY == timedelta(0) else format_duration(length)
