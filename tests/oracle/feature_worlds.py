"""Features and attributes worked out by hand, with the arithmetic beside each expected value.

What leaves: logs, declarations and expected columns that hold for any implementation. Invariant: no number here was
computed by a program under test; the comments show how each one comes about.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tests.oracle.features import DAY, HOUR, MINUTE, SECOND, Block, CustomerRow, Event, Feature, Number
from tests.oracle.tables import expected_columns, instant, log, number


@dataclass(frozen=True)
class World:
    """One customer's log, the columns declared on it, a cutoff, and every column's value worked out by hand."""

    name: str
    cutoff: datetime
    events: tuple[Event, ...]
    blocks: tuple[Block, ...]
    expected: dict[str, Number | None]


EDGES = World(
    name="edges",
    cutoff=instant("03-15 12:30"),
    events=log(
        """
        type  | time
        order | 02-15 23:59:59.999999
        order | 02-16 00:00            # 28 d back is 02-16 12:30, rounded down to the day: the first inside 28d
        order | 03-07 23:59:59.999999
        order | 03-08 00:00            # 7 d back is 03-08 12:30, down to the day: the first inside 7d
        order | 03-14 11:59:59.999999
        order | 03-14 12:00            # 1 d back is 03-14 12:30, down to the hour: the first inside 1d
        order | 03-14 23:59:59.999999
        order | 03-15 00:00            # 12 h back is 00:30, down to the hour: the first inside 12h
        order | 03-15 06:29:59.999999
        order | 03-15 06:30            # 6 h back is 06:30, already on five minutes: the first inside 6h
        order | 03-15 12:19:59.999999
        order | 03-15 12:20            # 10 m back is 12:20; 7 m back is 12:23, down to 12:20: the first inside both
        order | 03-15 12:29:59.999999
        order | 03-15 12:30            # at the cutoff: never
        order | 03-15 12:30:00.000001  # after the cutoff: never
        """
    ),
    blocks=(
        Block("order", ("count", "active_days"), windows=(7 * MINUTE, 10 * MINUTE, 6 * HOUR, 12 * HOUR)),
        Block("order", ("count", "active_days"), windows=(DAY, 7 * DAY, 28 * DAY)),
        Block("order", ("count", "active_days")),
    ),
    expected=expected_columns(
        """
        column                | value
        order_count_7m        | 2   # lines 12 and 13 of the log
        order_count_10m       | 2   # the same two: their tails meet at 12:20
        order_count_6h        | 4   # 10 to 13
        order_count_12h       | 6   # 8 to 13
        order_count_1d        | 8   # 6 to 13
        order_count_7d        | 10  # 4 to 13
        order_count_28d       | 12  # 2 to 13
        order_count           | 13  # all but the two at and after the cutoff
        order_active_days_7m  | 1   # 03-15
        order_active_days_10m | 1
        order_active_days_6h  | 1
        order_active_days_12h | 1
        order_active_days_1d  | 2   # 03-14, 03-15
        order_active_days_7d  | 3   # and 03-08
        order_active_days_28d | 5   # and 03-07, 02-16
        order_active_days     | 6   # and 02-15
        """
    ),
)

REGIMES = World(
    name="regimes",
    cutoff=instant("03-15 12:30:30"),
    events=log(
        """
        type  | time
        order | 03-08 00:00
        order | 03-08 11:59:59
        order | 03-08 12:00
        order | 03-15 00:00
        order | 03-15 00:29:59
        order | 03-15 00:30
        """
    ),
    blocks=(Block("order", ("count",), windows=(7 * DAY, 7 * DAY - SECOND, 12 * HOUR, 12 * HOUR - SECOND, 36 * HOUR)),),
    expected=expected_columns(
        """
        column              | value
        order_count_7d      | 6  # 03-08 12:30:30 down to the day is 03-08 00:00
        order_count_604799s | 4  # 03-08 12:30:31 down to the hour is 03-08 12:00
        order_count_12h     | 3  # 00:30:30 down to the hour is 00:00
        order_count_43199s  | 1  # 00:30:31 down to five minutes is 00:30
        order_count_36h     | 3  # 03-14 00:30:30 down to the hour; the 14th is empty
        """
    ),
)

SPEND = World(
    name="spend",
    cutoff=instant("03-15 00:00"),
    events=log(
        """
        type | time        | amount
        pay  | 01-10 10:00 | 100
        pay  | 02-20 08:00 | 2
        pay  | 03-01 08:00 | 4
        pay  | 03-02 08:00 | -
        pay  | 03-09 09:00 | 4
        pay  | 03-10 09:00 | 5
        pay  | 03-14 18:00 | 9
        """
    ),
    blocks=(
        Block(
            event="pay",
            ops=("count", "active_days", "sum", "mean", "min", "max", "std", "first", "last"),
            value="amount",
            windows=(7 * DAY, 30 * DAY),
            trends=((7 * DAY, 30 * DAY),),
        ),
        Block("pay", ("count", "sum", "mean", "max", "first", "last"), value="amount"),
    ),
    expected=expected_columns(
        """
        column                      | value
        pay_count_7d                | 3
        pay_active_days_7d          | 3
        pay_amount_sum_7d           | 18.0            # 4 + 5 + 9
        pay_amount_mean_7d          | 6.0             # 18 / 3
        pay_amount_min_7d           | 4.0
        pay_amount_max_7d           | 9.0
        pay_amount_std_7d           | 2.6457513110646 # sqrt((2*2 + 1*1 + 3*3) / 2) = sqrt(7)
        pay_amount_first_7d         | 4.0
        pay_amount_last_7d          | 9.0
        pay_count_30d               | 6               # the null amount is still an event
        pay_active_days_30d         | 6
        pay_amount_sum_30d          | 24.0            # 2 + 4 + 4 + 5 + 9
        pay_amount_mean_30d         | 4.8             # 24 / 5: the null does not divide
        pay_amount_min_30d          | 2.0
        pay_amount_max_30d          | 9.0
        pay_amount_std_30d          | 2.5884358211090 # sqrt((7.84 + .64 + .64 + .04 + 17.64) / 4) = sqrt(6.7)
        pay_amount_first_30d        | 2.0
        pay_amount_last_30d         | 9.0
        pay_count_7d_over_30d       | 0.5             # 3 / 6
        pay_active_days_7d_over_30d | 0.5             # 3 / 6
        pay_amount_sum_7d_over_30d  | 0.75            # 18 / 24
        pay_amount_mean_7d_over_30d | 1.25            # 6 / 4.8
        pay_amount_min_7d_over_30d  | 2.0             # 4 / 2
        pay_amount_max_7d_over_30d  | 1.0             # 9 / 9
        pay_amount_std_7d_over_30d  | 1.0221429055680 # sqrt(7 / 6.7)
        pay_count                   | 7
        pay_amount_sum              | 124.0           # 24 + 100
        pay_amount_mean             | 20.666666666667 # 124 / 6
        pay_amount_max              | 100.0
        pay_amount_first            | 100.0
        pay_amount_last             | 9.0
        """
    ),
)

LIFETIME = World(
    name="lifetime",
    cutoff=instant("03-15 12:00"),
    events=log(
        """
        type  | time
        visit | 03-01 12:00
        visit | 03-05 12:00
        visit | 03-09 00:00
        visit | 03-15 12:00   # at the cutoff: not yet
        call  | 03-15 06:00
        twin  | 03-10 12:00
        twin  | 03-10 12:00
        """
    ),
    blocks=tuple(
        # A block's windows do not touch these operations.
        Block(event, ("days_since_first", "days_since_last", "mean_gap", "relative_recency"), windows=windows)
        for event, windows in (("visit", (DAY,)), ("call", ()), ("twin", ()), ("never", (7 * DAY,)))
    ),
    expected=expected_columns(
        """
        column                 | value
        visit_days_since_first | 14.0           # 03-01 12:00 to 03-15 12:00
        visit_days_since_last  | 6.5            # 03-09 00:00 to 03-15 12:00
        visit_mean_gap         | 3.75           # 03-01 12:00 to 03-09 00:00 is 7.5 days, two gaps
        visit_relative_recency | 1.7333333333333 # 6.5 / 3.75
        call_days_since_first  | 0.25           # six hours
        call_days_since_last   | 0.25
        call_mean_gap          | -              # one event has no gap
        call_relative_recency  | -
        twin_days_since_first  | 5.0
        twin_days_since_last   | 5.0
        twin_mean_gap          | 0.0            # two events at one instant
        twin_relative_recency  | -              # 5 / 0
        never_days_since_first | -
        never_days_since_last  | -
        never_mean_gap         | -
        never_relative_recency | -
        """
    ),
)

ALL_VALUE_OPS = ("count", "active_days", "sum", "mean", "min", "max", "std", "first", "last")

TIES = World(
    name="ties and nulls",
    cutoff=instant("03-15 00:00"),
    events=log(
        """
        type | time        | amount
        rate | 03-09 09:00 | -       # the earliest, but null: not the first value
        rate | 03-10 10:00 | 5
        rate | 03-10 10:00 | 3
        rate | 03-10 10:00 | -
        rate | 03-12 10:00 | 1
        rate | 03-12 10:00 | 7
        rate | 03-13 10:00 | -       # the latest, but null: not the last value
        mute | 03-10 10:00 | -
        mute | 03-10 11:00 | -
        once | 03-10 10:00 | -2.5
        flat | 03-10 10:00 | 3
        flat | 03-11 10:00 | 3
        """
    ),
    blocks=tuple(
        Block(event, ALL_VALUE_OPS, value="amount", windows=(7 * DAY,))
        for event in ("rate", "mute", "once", "flat", "never")
    ),
    expected=expected_columns(
        """
        column                | value
        rate_count_7d         | 7
        rate_active_days_7d   | 4                # 03-09, 03-10, 03-12, 03-13
        rate_amount_sum_7d    | 16.0             # 5 + 3 + 1 + 7
        rate_amount_mean_7d   | 4.0              # 16 / 4
        rate_amount_min_7d    | 1.0
        rate_amount_max_7d    | 7.0
        rate_amount_std_7d    | 2.5819888974716  # sqrt((1 + 1 + 9 + 9) / 3) = sqrt(20 / 3)
        rate_amount_first_7d  | 3.0              # 5 and 3 at one instant: the smaller
        rate_amount_last_7d   | 7.0              # 1 and 7 at one instant: the larger
        mute_count_7d         | 2
        mute_active_days_7d   | 1
        mute_amount_sum_7d    | 0.0              # nothing to add
        mute_amount_mean_7d   | -
        mute_amount_min_7d    | -
        mute_amount_max_7d    | -
        mute_amount_std_7d    | -
        mute_amount_first_7d  | -
        mute_amount_last_7d   | -
        once_count_7d         | 1
        once_active_days_7d   | 1
        once_amount_sum_7d    | -2.5
        once_amount_mean_7d   | -2.5
        once_amount_min_7d    | -2.5
        once_amount_max_7d    | -2.5
        once_amount_std_7d    | -                # one value does not spread
        once_amount_first_7d  | -2.5
        once_amount_last_7d   | -2.5
        flat_count_7d         | 2
        flat_active_days_7d   | 2
        flat_amount_sum_7d    | 6.0
        flat_amount_mean_7d   | 3.0
        flat_amount_min_7d    | 3.0
        flat_amount_max_7d    | 3.0
        flat_amount_std_7d    | 0.0              # two equal values do not spread either, and that is known
        flat_amount_first_7d  | 3.0
        flat_amount_last_7d   | 3.0
        never_count_7d        | 0
        never_active_days_7d  | 0
        never_amount_sum_7d   | 0.0
        never_amount_mean_7d  | -
        never_amount_min_7d   | -
        never_amount_max_7d   | -
        never_amount_std_7d   | -
        never_amount_first_7d | -
        never_amount_last_7d  | -
        """
    ),
)

RECORDED_LOG = log(
    """
    type | time        | recorded              | amount
    pay  | 03-01 00:00 | 03-02 00:00           | 10
    pay  | 03-05 00:00 | 03-15 00:00           | 20   # recorded at the first cutoff: known
    pay  | 03-06 00:00 | 03-15 00:00:00.000001 | 40   # recorded a microsecond later: not known then
    pay  | 03-07 00:00 | -                     | 80   # known when it happened
    pay  | 03-08 00:00 | 03-07 00:00           | 160  # booked in advance
    pay  | 03-15 00:00 | -                     | 320  # happens at the first cutoff
    pay  | 03-20 00:00 | 03-01 00:00           | 640  # booked in advance, but it has not happened
    """
)

RECORDED_BLOCKS = (
    Block("pay", ("count", "sum"), value="amount", windows=(7 * DAY,)),
    Block("pay", ("count", "sum", "active_days", "first", "last"), value="amount"),
    Block("pay", ("days_since_first", "days_since_last", "mean_gap", "relative_recency")),
)

RECORDED = World(
    name="recorded",
    cutoff=instant("03-15 00:00"),
    events=RECORDED_LOG,
    blocks=RECORDED_BLOCKS,
    expected=expected_columns(
        """
        column               | value
        pay_count_7d         | 1               # 03-08 on: the 160
        pay_amount_sum_7d    | 160.0
        pay_count            | 4               # 10, 20, 80, 160
        pay_amount_sum       | 270.0           # 10 + 20 + 80 + 160
        pay_active_days      | 4
        pay_amount_first     | 10.0
        pay_amount_last      | 160.0
        pay_days_since_first | 14.0            # 03-01
        pay_days_since_last  | 7.0             # 03-08
        pay_mean_gap         | 2.3333333333333 # 7 days, three gaps
        pay_relative_recency | 3.0             # 7 / (7 / 3)
        """
    ),
)

RECORDED_LATER = World(
    name="recorded, a microsecond later",
    cutoff=instant("03-15 00:00:00.000001"),
    events=RECORDED_LOG,
    blocks=RECORDED_BLOCKS,
    expected=expected_columns(
        """
        column               | value
        pay_count_7d         | 2                # 03-08 00:00:00.000001 down to the day: 160 and 320
        pay_amount_sum_7d    | 480.0            # 160 + 320
        pay_count            | 6                # and the 40
        pay_amount_sum       | 630.0            # 10 + 20 + 40 + 80 + 160 + 320
        pay_active_days      | 6
        pay_amount_first     | 10.0
        pay_amount_last      | 320.0
        pay_days_since_first | 14.0000000000116 # 14 days and 1 / 86,400,000,000
        pay_days_since_last  | 0.00000000001157407407407 # 1 / 86,400,000,000
        pay_mean_gap         | 2.8              # 14 days, five gaps
        pay_relative_recency | 0.00000000000413359788359788 # 1 / 86,400,000,000 / 2.8
        """
    ),
)

CATEGORIES = World(
    name="categories",
    cutoff=instant("03-15 00:00"),
    events=log(
        """
        type  | time        | amount | channel
        order | 02-01 10:00 | 64     | web
        order | 03-09 10:00 | 1      | web
        order | 03-10 10:00 | 2      | web
        order | 03-11 10:00 | 4      | app
        order | 03-12 10:00 | 8      | -
        order | 03-13 10:00 | 16     | shop
        order | 03-14 10:00 | 32     | Web
        """
    ),
    blocks=(
        Block(
            event="order",
            ops=("count", "sum", "mean", "days_since_last"),
            value="amount",
            windows=(7 * DAY,),
            trends=((7 * DAY, 90 * DAY),),
            category="channel",
            category_values=("web", "app", "fax"),
        ),
        Block("order", ("count", "sum"), value="amount", windows=(7 * DAY,)),
    ),
    expected=expected_columns(
        """
        column                                       | value
        order_count_7d                               | 6
        order_amount_sum_7d                          | 63.0            # 1 + 2 + 4 + 8 + 16 + 32
        order_days_since_last                        | 0.5833333333333 # 14 h / 24 h, and never by a category
        order_count_7d_by_channel=web                | 2               # not Web, and not the one of February
        order_amount_sum_7d_by_channel=web           | 3.0             # 1 + 2
        order_amount_mean_7d_by_channel=web          | 1.5
        order_count_7d_over_90d_by_channel=web       | 0.6666666666667 # 2 / 3
        order_amount_sum_7d_over_90d_by_channel=web  | 0.0447761194030 # 3 / (1 + 2 + 64)
        order_amount_mean_7d_over_90d_by_channel=web | 0.0671641791045 # 1.5 / (67 / 3)
        order_count_7d_by_channel=app                | 1
        order_amount_sum_7d_by_channel=app           | 4.0
        order_amount_mean_7d_by_channel=app          | 4.0
        order_count_7d_over_90d_by_channel=app       | 1.0
        order_amount_sum_7d_over_90d_by_channel=app  | 1.0
        order_amount_mean_7d_over_90d_by_channel=app | 1.0
        order_count_7d_by_channel=fax                | 0               # the null channel is not fax either
        order_amount_sum_7d_by_channel=fax           | 0.0
        order_amount_mean_7d_by_channel=fax          | -
        order_count_7d_over_90d_by_channel=fax       | -               # 0 / 0
        order_amount_sum_7d_over_90d_by_channel=fax  | -
        order_amount_mean_7d_over_90d_by_channel=fax | -
        """
    ),
)

TREND_OPS = ("count", "active_days", "sum", "mean", "min", "max", "std", "first", "last")

TRENDS = World(
    name="trends",
    cutoff=instant("03-15 00:00"),
    events=log(
        """
        type | time        | amount
        far  | 02-20 10:00 | 5
        even | 02-20 10:00 | -3
        even | 03-10 10:00 | 3
        """
    ),
    blocks=tuple(
        # first and last have no trend; the windows of a trend need not be windows of the block
        Block(event, TREND_OPS, value="amount", windows=(DAY,), trends=((7 * DAY, 28 * DAY),))
        for event in ("far", "even", "never")
    ),
    expected=expected_columns(
        """
        column                        | value
        far_count_1d                  | 0
        far_active_days_1d            | 0
        far_amount_sum_1d             | 0.0
        far_amount_mean_1d            | -
        far_amount_min_1d             | -
        far_amount_max_1d             | -
        far_amount_std_1d             | -
        far_amount_first_1d           | -
        far_amount_last_1d            | -
        far_count_7d_over_28d         | 0.0   # 0 / 1
        far_active_days_7d_over_28d   | 0.0   # 0 / 1
        far_amount_sum_7d_over_28d    | 0.0   # 0 / 5
        far_amount_mean_7d_over_28d   | -     # null / 5
        far_amount_min_7d_over_28d    | -
        far_amount_max_7d_over_28d    | -
        far_amount_std_7d_over_28d    | -
        even_count_1d                 | 0
        even_active_days_1d           | 0
        even_amount_sum_1d            | 0.0
        even_amount_mean_1d           | -
        even_amount_min_1d            | -
        even_amount_max_1d            | -
        even_amount_std_1d            | -
        even_amount_first_1d          | -
        even_amount_last_1d           | -
        even_count_7d_over_28d        | 0.5   # 1 / 2
        even_active_days_7d_over_28d  | 0.5   # 1 / 2
        even_amount_sum_7d_over_28d   | -     # 3 / 0
        even_amount_mean_7d_over_28d  | -     # 3 / 0
        even_amount_min_7d_over_28d   | -1.0  # 3 / -3
        even_amount_max_7d_over_28d   | 1.0   # 3 / 3
        even_amount_std_7d_over_28d   | -     # one value in the near window
        never_count_1d                | 0
        never_active_days_1d          | 0
        never_amount_sum_1d           | 0.0
        never_amount_mean_1d          | -
        never_amount_min_1d           | -
        never_amount_max_1d           | -
        never_amount_std_1d           | -
        never_amount_first_1d         | -
        never_amount_last_1d          | -
        never_count_7d_over_28d       | -     # 0 / 0
        never_active_days_7d_over_28d | -     # 0 / 0
        never_amount_sum_7d_over_28d  | -     # 0 / 0
        never_amount_mean_7d_over_28d | -
        never_amount_min_7d_over_28d  | -
        never_amount_max_7d_over_28d  | -
        never_amount_std_7d_over_28d  | -
        """
    ),
)

WORLDS = (EDGES, REGIMES, SPEND, LIFETIME, TIES, RECORDED, RECORDED_LATER, CATEGORIES, TRENDS)

NAMES = (
    (Feature("login", "count", window=7 * DAY), "login_count_7d"),
    (Feature("payment", "sum", "amount", 30 * DAY), "payment_amount_sum_30d"),
    (Feature("login", "days_since_last"), "login_days_since_last"),
    (Feature("session", "mean", "minutes", 7 * DAY, 30 * DAY), "session_minutes_mean_7d_over_30d"),
    (Feature("purchase", "count", "sales_value", 7 * DAY), "purchase_count_7d"),
    (Feature("purchase", "relative_recency", "sales_value"), "purchase_relative_recency"),
    (Feature("purchase", "max", "sales_value"), "purchase_sales_value_max"),
    (Feature("login", "count", window=24 * HOUR), "login_count_1d"),
    (Feature("login", "count", window=36 * HOUR), "login_count_36h"),
    (Feature("login", "count", window=90 * MINUTE), "login_count_90m"),
    (Feature("login", "count", window=90 * SECOND), "login_count_90s"),
    (Feature("login", "active_days", window=14 * DAY), "login_active_days_14d"),
    (Feature("order", "count", None, 7 * DAY, None, "store", "12"), "order_count_7d_by_store=12"),
    (Feature("order", "mean", "amount", None, None, "store", "a b"), "order_amount_mean_by_store=a b"),
)


def customer_row(known_at: str, since: str, income: str) -> CustomerRow:
    """Write one state of ana."""
    return CustomerRow(
        customer_id="ana",
        known_at=None if known_at == "-" else instant(known_at),
        since=None if since == "-" else instant(since),
        attributes={"income": number(income)},
    )


MOVES = (
    customer_row("01-01 00:00", "2023-03-15 00:00", "10.0"),
    customer_row("03-15 00:00", "2023-03-16 00:00", "-"),
    customer_row("02-01 00:00", "2023-03-15 12:00", "20.0"),
)

# In each line: the rows of ana, the cutoff, then income and tenure_days as of it.
ATTRIBUTES: tuple[tuple[tuple[CustomerRow, ...], datetime, float | None, float | None], ...] = (
    (MOVES, instant("2023-12-31 00:00"), None, None),  # nothing was known yet
    (MOVES, instant("01-01 00:00"), 10.0, 292.0),  # known from this instant on: 365 days less the 73 to 03-15
    (MOVES, instant("01-31 23:59:59.999999"), 10.0, 322.99999999998843),  # 323 days less a microsecond
    (MOVES, instant("02-01 00:00"), 20.0, 322.5),  # 323 days less the half day of the corrected joining time
    (MOVES, instant("03-15 00:00"), None, 365.0),  # the latest row says null, and null it is: 2024 has a 02-29
    ((customer_row("-", "03-01 00:00", "5.0"),), instant("03-15 12:00"), 5.0, 14.5),
    ((customer_row("-", "03-15 12:00", "5.0"),), instant("03-15 12:00"), 5.0, 0.0),  # joins at the cutoff
    ((customer_row("-", "03-15 12:00:00.000001", "5.0"),), instant("03-15 12:00"), 5.0, None),  # has not joined
    ((customer_row("-", "-", "5.0"),), instant("03-15 12:00"), 5.0, None),
    ((), instant("03-15 12:00"), None, None),  # not in the table
)
