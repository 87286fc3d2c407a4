"""Proposes what leaving means, with the evidence for it.

Enters: the gaps between a customer's active days, and the names of the event types. Leaves: a churn definition as plain
settings values, and sentences that say why.

Where an event type says that somebody leaves (a cancellation), that is churn. Otherwise churn is silence, and the
question is how long a silence is unusual: the horizon is the gap that 95 of 100 gaps between active days do not exceed,
in whole weeks, at least four of them (shorter silences are a holiday), and at most a sixth of the log, so that there is
history to learn from and a later span to be judged on. Who has not come within two horizons is gone already and not at
risk; who came on one day only has no rhythm yet that could break.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["CANCEL", "Gaps", "propose_churn"]

CANCEL = re.compile(
    r"^(churn|cancel\w*|unsubscribe\w*|terminat\w*|clos(e|ed|ure)\w*|deactivat\w*|leave|left)$", re.IGNORECASE
)
_CORE = re.compile(r"purchase|order|invoice|basket|transaction|payment|login|session|visit|sale", re.IGNORECASE)
_WEEK = 7
_SHORTEST, _CANCEL_HORIZON = 28, 30
_LOG_SHARE = 6


@dataclass(frozen=True)
class Gaps:
    """Days between the active days of a customer, over all customers, and the span of the log.

    Parameters
    ----------
    first, last : datetime
        The log's first and last event.
    customers, returning : int
        Customers with events, and those of them with at least two active days.
    quantiles : mapping of float to float
        Quantile of the gaps, in days; empty where nobody came twice.
    """

    first: datetime
    last: datetime
    customers: int
    returning: int
    quantiles: Mapping[float, float]

    @property
    def span_days(self) -> float:
        """Days from the first to the last event."""
        return (self.last - self.first).total_seconds() / 86_400


def propose_churn(types: Mapping[str, str], gaps: Gaps) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Propose a `[churn]` section.

    Parameters
    ----------
    types : mapping
        Name of each event section to the event type as the data calls it.
    gaps : Gaps
        Measured over all events that are no cancellation.

    Returns
    -------
    (dict, tuple of str)
        The section as plain values, and the evidence.

    Examples
    --------
    >>> from datetime import UTC
    >>> day = datetime(2026, 1, 1, tzinfo=UTC)
    >>> gaps = Gaps(day, day.replace(year=2027), 500, 450, {0.5: 3.0, 0.75: 6.0, 0.9: 14.0, 0.95: 33.0})
    >>> section, evidence = propose_churn({"purchase": "purchase"}, gaps)
    >>> section["inactivity"], section["horizon"], section["active"]["within"]
    (['purchase'], '35d', '70d')
    >>> propose_churn({"login": "login", "cancel": "cancel"}, gaps)[0]["event"]
    'cancel'
    """
    cancel = next((name for name, kind in types.items() if CANCEL.match(kind)), None)
    if cancel is not None:
        active = [name for name in types if name != cancel]
        horizon = min(_CANCEL_HORIZON, _longest(gaps))
        section = _section({"event": cancel}, horizon, active, at_least=1)
        why = f"there are {types[cancel]!r} events, which say when somebody leaves"
        return section, (why, *_gap_evidence(gaps))
    core = [name for name, kind in types.items() if _CORE.search(kind)] or list(types)
    horizon = _horizon(gaps)
    section = _section({"inactivity": core}, horizon, core, at_least=2)
    why = f"no event type says that somebody leaves, so leaving is {horizon} days without {' or '.join(core)}"
    return section, (why, *_gap_evidence(gaps))


def _section(definition: dict[str, Any], horizon: int, active: list[str], *, at_least: int) -> dict[str, Any]:
    return {
        **definition,
        "horizon": f"{horizon}d",
        "active": {"events": active, "within": f"{2 * horizon}d", "at_least": at_least},
        "every": f"{max(_WEEK, horizon // 2)}d",
    }


def _longest(gaps: Gaps) -> int:
    return max(_WEEK, int(gaps.span_days / _LOG_SHARE) // _WEEK * _WEEK)


def _horizon(gaps: Gaps) -> int:
    usual = gaps.quantiles.get(0.95, float(_SHORTEST))
    return min(max(math.ceil(usual / _WEEK) * _WEEK, _SHORTEST), _longest(gaps))


def _gap_evidence(gaps: Gaps) -> tuple[str, ...]:
    log = f"the log spans {gaps.span_days:,.0f} days, {gaps.first:%Y-%m-%d} to {gaps.last:%Y-%m-%d}"
    if not gaps.quantiles:
        return (log, f"none of {gaps.customers:,} customers came on two days")
    shares = ", ".join(f"{share:.0%} within {days:.0f}" for share, days in sorted(gaps.quantiles.items()))
    return (
        log,
        f"{gaps.returning:,} of {gaps.customers:,} customers came on two days or more",
        f"days until a customer's next active day: {shares}",
    )
