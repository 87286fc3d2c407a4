"""Customers at risk and customers lost, worked out by hand, one table for each meaning of churn.

What leaves: logs of customers named for what they do, and for each of them whether they are at risk at the cutoff and
whether they were lost afterwards. Invariant: no answer here was computed by a program under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tests.oracle.churn import Active, Churn, Period
from tests.oracle.features import DAY, MICROSECOND, Event
from tests.oracle.tables import expected_customers, instant, log, subscriptions


@dataclass(frozen=True)
class ChurnWorld:
    """Many customers, named for what they do; for each of them (at risk, lost)."""

    name: str
    cutoff: datetime
    churn: Churn
    active: Active
    events: tuple[Event, ...]
    periods: tuple[Period, ...]
    expected: dict[str, tuple[bool, bool]]


CANCELS = ChurnWorld(
    name="event",
    cutoff=instant("03-01 00:00"),
    # Judged on [03-08, 04-07); the last login is to lie in [02-20, 03-01): February has 29 days.
    churn=Churn("event", horizon=30 * DAY, types=("cancel",), gap=7 * DAY),
    active=Active(("login",), within=10 * DAY, at_least=2),
    events=log(
        """
        customer      | type   | time                  | recorded
        stays         | login  | 02-10 08:00           | -
        stays         | login  | 02-25 08:00           | -
        cancels       | login  | 02-10 08:00           | -
        cancels       | login  | 02-25 08:00           | -
        cancels       | cancel | 03-20 08:00           | -
        at start      | login  | 02-10 08:00           | -
        at start      | login  | 02-25 08:00           | -
        at start      | cancel | 03-08 00:00           | -
        in the gap    | login  | 02-10 08:00           | -
        in the gap    | login  | 02-25 08:00           | -
        in the gap    | cancel | 03-07 23:59:59.999999 | -
        at cutoff     | login  | 02-10 08:00           | -
        at cutoff     | login  | 02-25 08:00           | -
        at cutoff     | cancel | 03-01 00:00           | -
        at end        | login  | 02-10 08:00           | -
        at end        | login  | 02-25 08:00           | -
        at end        | cancel | 04-07 00:00           | -
        before end    | login  | 02-10 08:00           | -
        before end    | login  | 02-25 08:00           | -
        before end    | cancel | 04-06 23:59:59.999999 | -
        returns       | login  | 02-10 08:00           | -
        returns       | login  | 02-25 08:00           | -
        returns       | cancel | 03-20 08:00           | -
        returns       | login  | 03-25 08:00           | -
        booked late   | login  | 02-10 08:00           | -
        booked late   | login  | 02-25 08:00           | -
        booked late   | cancel | 03-20 08:00           | 2025-01-01 00:00
        one day       | login  | 02-25 00:00           | -
        one day       | login  | 02-25 23:59:59.999999 | -
        two days      | login  | 02-24 23:59:59.999999 | -
        two days      | login  | 02-25 00:00           | -
        last on edge  | login  | 02-10 08:00           | -
        last on edge  | login  | 02-20 00:00           | -
        last too old  | login  | 02-10 08:00           | -
        last too old  | login  | 02-19 23:59:59.999999 | -
        just now      | login  | 02-10 08:00           | -
        just now      | login  | 02-29 23:59:59.999999 | -
        too late      | login  | 02-25 08:00           | -
        too late      | login  | 03-01 00:00           | -
        lost          | login  | 02-10 08:00           | -
        lost          | login  | 02-25 08:00           | -
        lost          | cancel | 02-26 08:00           | -
        lost at once  | login  | 02-10 08:00           | -
        lost at once  | login  | 02-25 08:00           | -
        lost at once  | cancel | 02-25 08:00           | -
        came back     | login  | 02-10 08:00           | -
        came back     | cancel | 02-25 07:59:59.999999 | -
        came back     | login  | 02-25 08:00           | -
        lost again    | login  | 02-10 08:00           | -
        lost again    | cancel | 02-20 08:00           | -
        lost again    | login  | 02-25 08:00           | -
        lost again    | cancel | 03-10 08:00           | -
        not heard     | login  | 02-10 08:00           | -
        not heard     | login  | 02-25 08:00           | -
        not heard     | cancel | 02-26 08:00           | 03-01 00:00:00.000001
        just heard    | login  | 02-10 08:00           | -
        just heard    | login  | 02-25 08:00           | -
        just heard    | cancel | 02-26 08:00           | 03-01 00:00
        unseen login  | login  | 02-10 08:00           | -
        unseen login  | login  | 02-25 08:00           | 03-01 00:00:00.000001
        seen login    | login  | 02-10 08:00           | -
        seen login    | login  | 02-25 08:00           | 03-01 00:00
        unseen return | login  | 02-10 08:00           | -
        unseen return | login  | 02-21 08:00           | -
        unseen return | cancel | 02-22 08:00           | -
        unseen return | login  | 02-25 08:00           | 03-05 00:00
        only browses  | browse | 02-10 08:00           | -
        only browses  | browse | 02-25 08:00           | -
        """
    ),
    periods=(),
    expected=expected_customers(
        """
        customer      | at risk | lost
        stays         | yes     | no
        cancels       | yes     | yes
        at start      | yes     | yes   # the span includes its start
        in the gap    | yes     | no    # before the span
        at cutoff     | yes     | no    # not known before the cutoff, and before the span
        at end        | yes     | no    # the span excludes its end
        before end    | yes     | yes
        returns       | yes     | yes   # was lost all the same
        booked late   | yes     | yes   # a label asks when it happened, not when it was recorded
        one day       | no      | no    # two logins, one active day
        two days      | yes     | no    # a microsecond apart, two active days
        last on edge  | yes     | no    # exactly 10 days ago
        last too old  | no      | no
        just now      | yes     | no
        too late      | no      | no    # the login at the cutoff does not count: one day
        lost          | no      | no    # cancelled after the last login
        lost at once  | no      | no    # at the last login counts as after
        came back     | yes     | no    # logged in after cancelling
        lost again    | yes     | yes
        not heard     | yes     | no    # the cancellation was not known at the cutoff, and is before the span
        just heard    | no      | no
        unseen login  | no      | no    # one known day
        seen login    | yes     | no
        unseen return | no      | no    # the last known login is before the cancellation
        only browses  | no      | no
        """
    ),
)

SILENCE = ChurnWorld(
    name="inactivity",
    cutoff=instant("05-10 12:30"),
    # Judged on [05-10 12:30, 06-07 12:30); the last purchase is to lie in [03-15 12:30, 05-10 12:30), not rounded.
    churn=Churn("inactivity", horizon=28 * DAY, types=("buy",)),
    active=Active(("buy",), within=56 * DAY, at_least=2),
    events=log(
        """
        customer     | type  | time                  | recorded
        keeps buying | buy   | 04-01 08:00           | -
        keeps buying | buy   | 05-01 08:00           | -
        keeps buying | buy   | 05-20 08:00           | -
        silent       | buy   | 04-01 08:00           | -
        silent       | buy   | 05-01 08:00           | -
        at cutoff    | buy   | 04-01 08:00           | -
        at cutoff    | buy   | 05-01 08:00           | -
        at cutoff    | buy   | 05-10 12:30           | -
        at end       | buy   | 04-01 08:00           | -
        at end       | buy   | 05-01 08:00           | -
        at end       | buy   | 06-07 12:30           | -
        before end   | buy   | 04-01 08:00           | -
        before end   | buy   | 05-01 08:00           | -
        before end   | buy   | 06-07 12:29:59.999999 | -
        returns      | buy   | 04-01 08:00           | -
        returns      | buy   | 05-01 08:00           | -
        returns      | buy   | 06-20 08:00           | -
        only looks   | buy   | 04-01 08:00           | -
        only looks   | buy   | 05-01 08:00           | -
        only looks   | look  | 05-20 08:00           | -
        last on edge | buy   | 03-01 08:00           | -
        last on edge | buy   | 03-15 12:30           | -
        last too old | buy   | 03-01 08:00           | -
        last too old | buy   | 03-15 12:29:59.999999 | -
        booked late  | buy   | 04-01 08:00           | -
        booked late  | buy   | 05-01 08:00           | -
        booked late  | buy   | 05-20 08:00           | 2025-01-01 00:00
        new          | buy   | 05-20 08:00           | -
        """
    ),
    periods=(),
    expected=expected_customers(
        """
        customer     | at risk | lost
        keeps buying | yes     | no
        silent       | yes     | yes
        at cutoff    | yes     | no    # not yet known, but inside the span, which begins at the cutoff
        at end       | yes     | yes   # the span excludes its end
        before end   | yes     | no
        returns      | yes     | yes   # too late to have stayed
        only looks   | yes     | yes   # looking is not a named type
        last on edge | yes     | yes   # exactly 56 days ago
        last too old | no      | yes   # a microsecond more; no rounding to the day here
        booked late  | yes     | no    # a label asks when it happened
        new          | no      | no
        """
    ),
)

EITHER = ChurnWorld(
    name="inactivity of two types",
    cutoff=instant("05-10 00:00"),
    # Judged on [05-17, 05-24): a week's gap, then a week.
    churn=Churn("inactivity", horizon=7 * DAY, types=("buy", "look"), gap=7 * DAY),
    active=Active(("buy", "look"), within=DAY, at_least=1),
    events=log(
        """
        customer     | type | time
        buys         | look | 05-09 00:00
        buys         | buy  | 05-17 00:00
        looks        | buy  | 05-09 12:00
        looks        | look | 05-23 23:59:59.999999
        in the gap   | buy  | 05-09 12:00
        in the gap   | look | 05-16 23:59:59.999999
        cancels      | look | 05-09 12:00
        cancels      | quit | 05-09 13:00
        after all    | buy  | 05-09 12:00
        after all    | buy  | 05-24 00:00
        """
    ),
    periods=(),
    expected=expected_customers(
        """
        customer   | at risk | lost
        buys       | yes     | no    # exactly a day ago; one of the two types is enough
        looks      | yes     | no
        in the gap | yes     | yes   # what happens in the gap is not judged
        cancels    | yes     | yes   # quitting takes nobody out of risk where churn means inactivity
        after all  | yes     | yes
        """
    ),
)

LAPSES = ChurnWorld(
    name="expiry",
    cutoff=instant("04-01 00:00"),
    # Judged on [04-01, 05-01); a period that starts up to five days after an end continues it.
    churn=Churn("expiry", horizon=30 * DAY, grace=5 * DAY),
    active=Active((), within=DAY),
    events=(),
    periods=subscriptions(
        """
        customer        | start                 | end
        runs on         | 03-01 00:00           | 06-01 00:00
        ends            | 03-01 00:00           | 04-15 00:00
        renews          | 03-01 00:00           | 04-15 00:00
        renews          | 04-15 00:00           | 05-15 00:00
        in grace        | 03-01 00:00           | 04-15 00:00
        in grace        | 04-20 00:00           | 05-20 00:00
        after grace     | 03-01 00:00           | 04-15 00:00
        after grace     | 04-20 00:00:00.000001 | 05-20 00:00
        ends at cutoff  | 03-01 00:00           | 04-01 00:00
        starts then     | 04-01 00:00           | 05-01 00:00
        ends in span    | 03-01 00:00           | 04-30 23:59:59.999999
        overlaps        | 03-01 00:00           | 04-15 00:00
        overlaps        | 03-20 00:00           | 06-01 00:00
        contains        | 03-01 00:00           | 06-01 00:00
        contains        | 03-10 00:00           | 04-10 00:00
        ends together   | 03-01 00:00           | 04-10 00:00
        ends together   | 03-15 00:00           | 04-10 00:00
        twice           | 03-01 00:00           | 04-10 00:00
        twice           | 03-01 00:00           | 04-10 00:00
        pauses          | 02-01 00:00           | 03-20 00:00
        pauses          | 04-10 00:00           | 05-10 00:00
        bridged         | 02-01 00:00           | 03-30 00:00
        bridged         | 04-04 00:00           | 05-04 00:00
        renews and ends | 03-01 00:00           | 04-05 00:00
        renews and ends | 04-06 00:00           | 04-20 00:00
        not begun       | 04-10 00:00           | 04-20 00:00
        short renewal   | 03-01 00:00           | 04-15 00:00
        short renewal   | 04-10 00:00           | 04-12 00:00
        open            | 03-01 00:00           | 9999-12-31 00:00
        open at last    | 03-01 00:00           | 04-10 00:00
        open at last    | 04-12 00:00           | 9999-12-31 00:00
        """
    ),
    expected=expected_customers(
        """
        customer        | at risk | lost
        runs on         | yes     | no    # ends after the span
        ends            | yes     | yes
        renews          | yes     | no    # the next end is 05-15
        in grace        | yes     | no    # 04-15 + 5 d is 04-20: on the edge is in time
        after grace     | yes     | yes   # a microsecond late: lost, and then returned
        ends at cutoff  | no      | yes   # a period excludes its end; the span includes its start
        starts then     | yes     | no    # a period includes its start; the span excludes its end
        ends in span    | yes     | yes
        overlaps        | yes     | no    # goes on to 06-01
        contains        | yes     | no    # the inner end is no lapse while the outer period runs
        ends together   | yes     | yes   # neither goes beyond the other
        twice           | yes     | yes   # the same period twice is one
        pauses          | no      | no    # the lapses are 03-20 and 05-10
        bridged         | no      | no    # no lapse, but nothing covers the cutoff itself
        renews and ends | yes     | yes   # lapses at 04-20
        not begun       | no      | yes
        short renewal   | yes     | yes   # a renewal that ends sooner continues nothing
        open            | yes     | no    # a period without an end is written down with the last day there is
        open at last    | yes     | no    # renewed within grace, for good
        """
    ),
)

CHURN_WORLDS = (CANCELS, SILENCE, EITHER, LAPSES)

# In each line: the definition, the cutoff, the watermark, and whether the labels of the cutoff have matured.
MATURED = (
    # 03-01 + 7 d + 30 d = 04-07
    (CANCELS.churn, instant("03-01 00:00"), instant("04-07 00:00"), True),
    (CANCELS.churn, instant("03-01 00:00"), instant("04-06 23:59:59.999999"), False),
    (CANCELS.churn, instant("03-01 00:00"), None, False),
    # 05-10 12:30 + 28 d = 06-07 12:30
    (SILENCE.churn, instant("05-10 12:30"), instant("06-07 12:30"), True),
    (SILENCE.churn, instant("05-10 12:30"), instant("06-07 12:30") - MICROSECOND, False),
    # 04-01 + 30 d + 5 d of grace = 05-06
    (LAPSES.churn, instant("04-01 00:00"), instant("05-06 00:00"), True),
    (LAPSES.churn, instant("04-01 00:00"), instant("05-05 23:59:59.999999"), False),
)
