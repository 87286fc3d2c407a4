"""Random small logs that land on the edges on purpose.

What leaves: hypothesis strategies for events, declared blocks, cutoffs, subscription periods and customer histories.
Invariant: every time is drawn from an edge that some rule cares about (a cutoff, the exact or the rounded tail of a
window, a midnight, the ends of a judged span), moved by -1, 0 or +1 microsecond; and every value is a multiple of 1/64
up to 1,024, so that sums are exact in any order and a difference is a difference of meaning, never of rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from tests.oracle.churn import Active, Churn, Period
from tests.oracle.features import (
    DAY,
    HOUR,
    LIFETIME_OPS,
    MICROSECOND,
    MINUTE,
    NO_TREND_OPS,
    SECOND,
    WINDOWED_OPS,
    Block,
    CustomerRow,
    Event,
    floor_time,
    window_start,
)

# Ids that only a byte-for-byte comparison keeps apart: case, padding, leading zeros, composed and decomposed accents.
CUSTOMERS = ("ana", "ANA", " ana", "1", "01", "O'Brien", 'say "hi"', "Zoe\u0308", "Zo\u00eb", "顧客", "🦊", "50%;--")
# Names that are words of SQL: they have to be quoted wherever they meet an expression.
TYPES = ("login", "order", "cancel")
VALUES = ("amount", "group")
CATEGORY = "table"
CATEGORY_VALUES = ("web", "Web", "", "it's", "a=b_c", "naïve", "10")

# Around the borders of the three regimes of hops; the borders themselves come most often.
BORDERS = (12 * HOUR, 7 * DAY)
WINDOWS = (
    5 * MINUTE,
    7 * MINUTE,
    90 * MINUTE,
    6 * HOUR,
    12 * HOUR - SECOND,
    12 * HOUR,
    12 * HOUR + 7 * MINUTE,
    DAY,
    36 * HOUR,
    7 * DAY - SECOND,
    7 * DAY,
    7 * DAY + 5 * HOUR,
    28 * DAY,
    30 * DAY,
    84 * DAY,
    90 * DAY,
)

# Around a leap day, a turn of the year and the hour that is missing in most zones with summer time.
CUTOFF_DAYS = (
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 3, 31, tzinfo=UTC),
    datetime(1972, 1, 3, tzinfo=UTC),
)
CLOCKS = (
    timedelta(0),
    HOUR,
    12 * HOUR + 30 * MINUTE,
    12 * HOUR + 34 * MINUTE + 56 * SECOND + 789_012 * MICROSECOND,
    5 * MINUTE,
    DAY - MICROSECOND,
)
NUDGES = st.sampled_from((-MICROSECOND, timedelta(0), MICROSECOND))


@dataclass(frozen=True)
class Log:
    """A whole small world: events of several customers, the columns declared on them and the cutoffs to judge."""

    events: tuple[Event, ...]
    blocks: tuple[Block, ...]
    cutoffs: tuple[datetime, ...]


@dataclass(frozen=True)
class ChurnLog:
    """Events and periods of several customers, one churn definition and the cutoffs to judge."""

    events: tuple[Event, ...]
    periods: tuple[Period, ...]
    churn: Churn
    active: Active
    cutoffs: tuple[datetime, ...]


@st.composite
def cutoff_lists(draw: st.DrawFn) -> tuple[datetime, ...]:
    """Draw one to three cutoffs in order, some of them days apart and some a microsecond."""
    first = draw(st.sampled_from(CUTOFF_DAYS)) + draw(st.sampled_from(CLOCKS))
    steps = draw(st.lists(st.sampled_from((MICROSECOND, 5 * MINUTE, HOUR, DAY, 7 * DAY, 28 * DAY)), max_size=2))
    cutoffs = [first]
    for step in steps:
        cutoffs.append(cutoffs[-1] + step)
    return tuple(cutoffs)


def window_edges(cutoffs: Sequence[datetime], windows: Sequence[timedelta]) -> list[datetime]:
    """List the instants at which membership in a window, a day or the past changes; tails of windows come thrice."""
    edges = set(cutoffs)
    tails = {window_start(window, cutoff) for cutoff in cutoffs for window in windows}
    for cutoff in cutoffs:
        edges |= {floor_time(cutoff, step) for step in (5 * MINUTE, HOUR, DAY)}
        edges |= {cutoff - window for window in windows}
    return sorted(edges) + sorted(tails) * 3


def numbers() -> st.SearchStrategy[float]:
    """Draw numbers whose sums are exact: small ones often, so that equal values and zero sums occur."""
    small = st.integers(-3, 3).map(float)
    return small | st.integers(-(2**16), 2**16).map(lambda n: n / 64)


@st.composite
def events(draw: st.DrawFn, edges: Sequence[datetime], cutoffs: Sequence[datetime], customers: Sequence[str]) -> Event:
    """Draw one event on or beside an edge, recorded never, at once, or beside a cutoff."""
    time = draw(st.sampled_from(edges)) + draw(NUDGES)
    time += draw(st.sampled_from((timedelta(0),) * 9 + (-HOUR, -3 * DAY, 11 * DAY)))
    late = st.tuples(st.sampled_from(cutoffs), NUDGES).map(lambda pair: pair[0] + pair[1])
    recorded = draw(st.none() | st.just(time) | late)
    return Event(
        customer_id=draw(st.sampled_from(customers)),
        time=time,
        recorded=recorded,
        type=draw(st.sampled_from(TYPES)),
        values={name: draw(st.none() | numbers()) for name in VALUES},
        categories={CATEGORY: draw(st.none() | st.sampled_from(CATEGORY_VALUES))},
        id=None,
    )


def without_recorded(event: Event) -> Event:
    """Return the event as a source gives it that has no time of recording."""
    bare = event.copy()
    bare["recorded"] = None
    return bare


@st.composite
def event_lists(draw: st.DrawFn, edges: Sequence[datetime], cutoffs: Sequence[datetime]) -> tuple[Event, ...]:
    """Draw the events of one to three customers; half of the logs have no times of recording at all."""
    customers = draw(st.lists(st.sampled_from(CUSTOMERS), min_size=1, max_size=3, unique=True))
    # In half of the logs only a few edges, so that several events of one customer meet on one or on both its sides.
    hot = draw(st.just(list(edges)) | st.lists(st.sampled_from(edges), min_size=2, max_size=5))
    least = draw(st.sampled_from((0, 8, 16)))
    found = draw(st.lists(events(hot, cutoffs, customers), min_size=least, max_size=24))
    if draw(st.booleans()):
        found = [without_recorded(event) for event in found]
    # An event twice over, as two customers or one may have it: every count and sum has to see both.
    return tuple(found + found[: draw(st.sampled_from((0, 0, 2)))])


@st.composite
def blocks(draw: st.DrawFn, windows: Sequence[timedelta], event: str) -> Block:
    """Draw one ``[[features]]`` entry of one event type."""
    ops = draw(st.lists(st.sampled_from(WINDOWED_OPS + LIFETIME_OPS), min_size=1, max_size=5, unique=True))
    chosen = draw(st.lists(st.sampled_from(windows), max_size=2, unique=True))
    trends = []
    has_trends = any(op in WINDOWED_OPS and op not in NO_TREND_OPS for op in ops)
    if len(windows) > 1 and has_trends and draw(st.booleans()):
        short, long = draw(st.lists(st.sampled_from(windows), min_size=2, max_size=2, unique=True))
        trends = [(min(short, long), max(short, long))]
    frozen: list[str] = []
    if any(op in WINDOWED_OPS for op in ops) and draw(st.booleans()):
        # Two columns may not differ in case alone, so of two such values only one is frozen.
        frozen = draw(st.lists(st.sampled_from(CATEGORY_VALUES), min_size=1, max_size=3, unique_by=str.casefold))
    return Block(
        event=event,
        ops=tuple(ops),
        value=draw(st.sampled_from(VALUES)),
        windows=tuple(chosen),
        trends=tuple(trends),
        category=CATEGORY if frozen else None,
        category_values=tuple(frozen),
    )


@st.composite
def feature_logs(draw: st.DrawFn) -> Log:
    """Draw a log with the columns declared on it; every block is of another event type, so that names are unique."""
    cutoffs = draw(cutoff_lists())
    windows = draw(st.lists(st.sampled_from(WINDOWS + 4 * BORDERS), min_size=1, max_size=3, unique=True))
    declared = [
        draw(blocks(windows, event))
        for event in draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True))
    ]
    return Log(draw(event_lists(window_edges(cutoffs, windows), cutoffs)), tuple(declared), cutoffs)


def one_op_blocks(op: str, windows: Sequence[timedelta]) -> st.SearchStrategy[Block]:
    """Draw one block of a single operation, so that a failure names its culprit."""
    return blocks(windows, "order").map(
        lambda block: replace(block, ops=(op,), trends=(), category=None, category_values=())
    )


HORIZONS = (DAY, 7 * DAY, 28 * DAY, 30 * DAY + HOUR)
GAPS = (timedelta(0), MICROSECOND, DAY, 7 * DAY)
GRACES = (timedelta(0), DAY, 30 * DAY)


@st.composite
def churns(draw: st.DrawFn, kind: str) -> Churn:
    """Draw a churn definition of one of the three kinds."""
    horizon, gap = draw(st.sampled_from(HORIZONS)), draw(st.sampled_from(GAPS))
    if kind == "event":
        return Churn("event", horizon, ("cancel",), gap)
    if kind == "inactivity":
        named = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True))
        return Churn("inactivity", horizon, tuple(named), gap)
    return Churn("expiry", horizon, (), gap, draw(st.sampled_from(GRACES)))


@st.composite
def actives(draw: st.DrawFn) -> Active:
    """Draw who counts as at risk."""
    named = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True))
    return Active(
        tuple(named), draw(st.sampled_from((30 * DAY, 90 * DAY, DAY, HOUR))), draw(st.sampled_from((1, 1, 2, 3)))
    )


def churn_edges(churn: Churn, active: Active, cutoffs: Sequence[datetime]) -> list[datetime]:
    """List the instants at which eligibility or a label changes."""
    edges: set[datetime] = set()
    for cutoff in cutoffs:
        start = cutoff + churn.gap
        edges |= {cutoff, cutoff - active.within, floor_time(cutoff, DAY), cutoff - DAY, start, start + churn.horizon}
    return sorted(edges)


@st.composite
def period_chains(draw: st.DrawFn, customer: str, edges: Sequence[datetime], grace: timedelta) -> list[Period]:
    """Draw one customer's periods: overlaps, touching ends, renewals at the edge of grace, and returns after it."""
    first_end = draw(st.sampled_from(edges)) + draw(NUDGES)
    lengths = st.sampled_from((31 * DAY, 100 * DAY, DAY, MICROSECOND))
    chain = [Period(customer_id=customer, start=first_end - draw(lengths), end=first_end)]
    pauses = (grace, grace + MICROSECOND, grace - MICROSECOND, grace + DAY, timedelta(0), MICROSECOND, -DAY, -40 * DAY)
    for pause in draw(st.lists(st.sampled_from(pauses), max_size=3)):
        start = chain[-1]["end"] + pause
        chain.append(Period(customer_id=customer, start=start, end=start + draw(lengths)))
    return draw(st.permutations(chain))


@st.composite
def period_lists(draw: st.DrawFn, edges: Sequence[datetime], grace: timedelta) -> tuple[Period, ...]:
    """Draw the periods of one to four customers, some of them written down twice."""
    customers = draw(st.lists(st.sampled_from(CUSTOMERS), min_size=1, max_size=4, unique=True))
    found = [period for customer in customers for period in draw(period_chains(customer, edges, grace))]
    return tuple(found + found[: draw(st.sampled_from((0, 0, 1)))])


@st.composite
def churn_logs(draw: st.DrawFn, kind: str) -> ChurnLog:
    """Draw a log on which one kind of churn can be judged."""
    cutoffs, churn, active = draw(cutoff_lists()), draw(churns(kind)), draw(actives())
    edges = churn_edges(churn, active, cutoffs)
    periods = draw(period_lists(edges, churn.grace)) if kind == "expiry" else ()
    found = draw(event_lists(edges, cutoffs))
    return ChurnLog(found, periods, churn, active, cutoffs)


@st.composite
def customer_histories(draw: st.DrawFn, customer: str, cutoffs: Sequence[datetime]) -> list[CustomerRow]:
    """Draw what was known about one customer over time, each state from another instant on."""
    days_ago = st.sampled_from((timedelta(0), timedelta(0), DAY, 500 * DAY))
    instants = st.builds(lambda cutoff, nudge, ago: cutoff + nudge - ago, st.sampled_from(cutoffs), NUDGES, days_ago)
    known_ats = draw(st.lists(instants, max_size=3, unique=True))
    return [draw(customer_rows(customer, known_at, cutoffs)) for known_at in known_ats]


@st.composite
def customer_rows(
    draw: st.DrawFn, customer: str, known_at: datetime | None, cutoffs: Sequence[datetime]
) -> CustomerRow:
    """Draw one state of one customer; the day of joining may lie beside a cutoff or be unknown."""
    joined = st.tuples(st.sampled_from(cutoffs), NUDGES | st.just(-400 * DAY)).map(lambda pair: pair[0] + pair[1])
    return CustomerRow(
        customer_id=customer,
        known_at=known_at,
        since=draw(st.none() | joined),
        attributes={
            "income": draw(st.none() | numbers()),
            "plan": draw(st.none() | st.sampled_from(CATEGORY_VALUES)),
        },
    )
