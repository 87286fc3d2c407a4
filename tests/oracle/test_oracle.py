"""The oracle against worlds worked out by hand, and the strategies against the edges they promise to reach."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from tests.oracle import logs
from tests.oracle.churn import Churn, Period, eligible, label, lapses, matured, watermark
from tests.oracle.churn_worlds import CHURN_WORLDS, LAPSES, MATURED, SILENCE, ChurnWorld
from tests.oracle.feature_worlds import ATTRIBUTES, NAMES, WORLDS, World
from tests.oracle.features import (
    DAY,
    HOUR,
    MICROSECOND,
    MINUTE,
    SECOND,
    Block,
    CustomerRow,
    Event,
    Feature,
    attribute_row,
    block_features,
    duration_text,
    feature_name,
    feature_row,
    feature_value,
    hop,
    known,
    top_values,
    window_start,
)
from tests.oracle.split import (
    customers_in_two_folds,
    embargo_violations,
    is_sound,
    out_of_order,
    shared_cutoffs,
    unknown_cutoffs,
)
from tests.oracle.tables import instant, log, table

# The same search every time: what it looks for is common enough to be found, and it is found again.
SEARCH = settings(max_examples=3000, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
COLUMNS = [(world, column) for world in WORLDS for column in world.expected]
CUSTOMERS = [(world, customer) for world in CHURN_WORLDS for customer in world.expected]


def columns_of(blocks: Sequence[Block]) -> list[Feature]:
    return [feature for block in blocks for feature in block_features(block)]


@pytest.mark.parametrize(("world", "column"), COLUMNS, ids=[f"{world.name}: {column}" for world, column in COLUMNS])
def test_column_is_what_the_arithmetic_says(world: World, column: str) -> None:
    expected = world.expected[column]
    found = feature_row(world.events, columns_of(world.blocks), world.cutoff)[column]
    assert type(found) is type(expected)
    if expected is None or found is None:
        assert found is expected
    else:
        assert math.isclose(found, expected, rel_tol=1e-12)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_world_declares_exactly_the_columns_it_works_out(world: World) -> None:
    names = [feature_name(feature) for feature in columns_of(world.blocks)]
    assert sorted(names) == sorted(world.expected)


@pytest.mark.parametrize(("feature", "name"), NAMES, ids=[name for _, name in NAMES])
def test_name(feature: Feature, name: str) -> None:
    assert feature_name(feature) == name


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (7 * DAY, "7d"),
        (14 * DAY, "14d"),
        (24 * HOUR, "1d"),
        (25 * HOUR, "25h"),
        (60 * MINUTE, "1h"),
        (61 * MINUTE, "61m"),
        (60 * SECOND, "1m"),
        (90 * SECOND, "90s"),
    ],
)
def test_duration_is_written_in_its_largest_exact_unit(duration: timedelta, text: str) -> None:
    assert duration_text(duration) == text


def test_duration_of_a_microsecond_has_no_text() -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        duration_text(MICROSECOND)


@pytest.mark.parametrize(
    ("window", "cutoff", "start"),
    [
        (7 * DAY, "03-15 23:59", "03-08 00:00"),
        (7 * DAY, "03-15 00:00", "03-08 00:00"),
        (7 * DAY - MICROSECOND, "03-15 00:00", "03-08 00:00"),  # 03-08 00:00:00.000001, down to the hour
        (2 * DAY, "03-15 00:59", "03-13 00:00"),
        (12 * HOUR, "03-15 12:59", "03-15 00:00"),
        (11 * HOUR, "03-15 12:59", "03-15 01:55"),  # 01:59, down to five minutes
        (5 * MINUTE, "03-15 12:59:59.999999", "03-15 12:50"),  # 12:54:59.999999
        (5 * MINUTE, "03-15 12:55", "03-15 12:50"),
        (30 * DAY, "03-15 12:00", "02-14 00:00"),  # 15 days of March and 15 of a February with 29: 29 - 15 = 14
        (90 * DAY, "1970-01-02 01:00", "1969-10-04 00:00"),  # before the epoch it is still rounded down
    ],
)
def test_window_starts_on_a_hop(window: timedelta, cutoff: str, start: str) -> None:
    assert window_start(window, instant(cutoff)) == instant(start)


@pytest.mark.parametrize(
    ("window", "step"),
    [
        (7 * DAY, DAY),
        (7 * DAY - MICROSECOND, HOUR),
        (12 * HOUR, HOUR),
        (12 * HOUR - MICROSECOND, 5 * MINUTE),
        (5 * MINUTE, 5 * MINUTE),
    ],
)
def test_hop(window: timedelta, step: timedelta) -> None:
    assert hop(window) == step


@pytest.mark.parametrize(("world", "customer"), CUSTOMERS, ids=[f"{world.name}: {one}" for world, one in CUSTOMERS])
def test_customer_is_judged_as_worked_out(world: ChurnWorld, customer: str) -> None:
    events = [event for event in world.events if event["customer_id"] == customer]
    periods = [period for period in world.periods if period["customer_id"] == customer]
    at_risk = eligible(events, periods, world.churn, world.active, world.cutoff)
    assert (at_risk, label(events, periods, world.churn, world.cutoff)) == world.expected[customer]


@pytest.mark.parametrize("world", CHURN_WORLDS, ids=lambda world: world.name)
def test_world_judges_every_customer_of_its_log(world: ChurnWorld) -> None:
    customers = {event["customer_id"] for event in world.events} | {one["customer_id"] for one in world.periods}
    assert customers == set(world.expected)


@pytest.mark.parametrize(("churn", "cutoff", "mark", "settled"), MATURED)
def test_label_matures_at_the_watermark(churn: Churn, cutoff: datetime, mark: datetime | None, settled: bool) -> None:
    assert matured(churn, cutoff, mark) is settled


def test_watermark_is_the_latest_event_of_any_type() -> None:
    events = log(
        """
        type | time        | recorded
        buy  | 03-01 00:00 | 2025-01-01 00:00
        look | 03-02 00:00 | -
        """
    )
    assert watermark(events, (), SILENCE.churn) == instant("03-02 00:00")
    assert watermark((), (), SILENCE.churn) is None


def test_watermark_of_expiry_counts_the_starts_of_periods_but_not_their_ends() -> None:
    assert watermark((), LAPSES.periods, LAPSES.churn) == instant("04-20 00:00:00.000001")
    assert watermark((), LAPSES.periods, SILENCE.churn) is None


def test_lapses_are_the_ends_that_nothing_continues() -> None:
    def period(start: str, end: str) -> Period:
        return Period(customer_id="ana", start=instant(start), end=instant(end))

    held = [
        period("01-01 00:00", "02-01 00:00"),
        period("02-03 00:00", "03-01 00:00"),  # two days later: within grace
        period("03-04 00:00", "04-01 00:00"),  # three days later: not
        period("03-10 00:00", "03-20 00:00"),  # inside the one before
    ]
    assert lapses(held, 2 * DAY) == [instant("03-01 00:00"), instant("04-01 00:00")]
    assert lapses(held, 3 * DAY) == [instant("04-01 00:00")]
    assert lapses(held, timedelta(0)) == [instant("02-01 00:00"), instant("03-01 00:00"), instant("04-01 00:00")]


@pytest.mark.parametrize(("rows", "cutoff", "income", "tenure"), ATTRIBUTES)
def test_attributes_are_as_of_the_cutoff(
    rows: Sequence[CustomerRow], cutoff: datetime, income: float | None, tenure: float | None
) -> None:
    found = attribute_row(rows, ["income"], cutoff)
    assert found == {"income": income, "tenure_days": pytest.approx(tenure, rel=1e-15) if tenure else tenure}


def test_most_frequent_values_break_ties_by_the_alphabet() -> None:
    events = log(
        """
        type  | time        | channel
        order | 03-01 00:00 | web
        order | 03-02 00:00 | shop
        order | 03-03 00:00 | app
        order | 03-04 00:00 | shop
        order | 03-05 00:00 | -
        order | 03-06 00:00 | -
        order | 03-07 00:00 | -
        """
    )
    assert top_values(events, "channel", 2) == ["shop", "app"]  # two shops; then app and web with one each
    assert top_values(events, "channel", 5) == ["shop", "app", "web"]


def test_value_operation_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="sum needs a value"):
        feature_value([], "sum", None, None, instant("03-01 00:00"))


# In each line: the cutoffs of train, calibrate and test, then gap and horizon in days and the number of violations.
BLOCKS: tuple[tuple[tuple[list[str], list[str], list[str]], int, int, int], ...] = (
    ((["01-01"], ["02-01"], ["03-01"]), 0, 29, 0),  # 01-01 + 29 d = 01-30; 02-01 + 29 d = 03-01: just reaches
    ((["01-01"], ["02-01"], ["03-01"]), 0, 30, 1),  # 02-01 + 30 d = 03-02
    ((["01-01"], ["02-01"], ["03-01"]), 2, 28, 1),  # the same: the gap counts
    ((["01-01", "01-15"], ["02-01"], ["03-01"]), 0, 20, 1),  # 01-15 + 20 d = 02-04
    ((["01-01", "01-15"], [], ["02-01"]), 0, 20, 1),  # past an empty block to the next
    ((["01-01"], ["02-01"], ["03-01"]), 0, 61, 3),  # 01-01 + 61 d = 03-02: past both later blocks
    ((["01-01"], ["02-01"], ["03-01"]), 0, 60, 2),  # 01-01 + 60 d = 03-01: past the first of them only
)


@pytest.mark.parametrize(("written", "gap", "horizon", "violations"), BLOCKS)
def test_embargo(written: Sequence[Sequence[str]], gap: int, horizon: int, violations: int) -> None:
    blocks = [[instant(f"{day} 00:00") for day in block] for block in written]
    every = [cutoff for block in blocks for cutoff in block]
    assert len(embargo_violations(blocks, gap * DAY, horizon * DAY)) == violations
    assert is_sound(blocks, every, gap * DAY, horizon * DAY) is (violations == 0)


def test_split_has_each_cutoff_once_in_order_and_from_the_candidates() -> None:
    early, middle, late = (instant(f"{day} 00:00") for day in ("01-01", "02-01", "03-01"))
    assert shared_cutoffs([[early, middle], [middle, late]]) == {middle}
    assert out_of_order([[early, late], [middle]]) == [(late, middle)]
    assert unknown_cutoffs([[early], [late]], {early, middle}) == {late}
    assert not is_sound([[early], [late]], {early, middle}, timedelta(0), DAY)
    assert is_sound([[early], [late]], {early, middle, late}, timedelta(0), DAY)


def test_customer_belongs_to_one_fold() -> None:
    assert customers_in_two_folds([("ana", 0), ("bo", 1), ("ana", 0)]) == set()
    assert customers_in_two_folds([("ana", 0), ("bo", 1), ("ana", 1)]) == {"ana"}


def test_table_with_a_missing_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        table("a | b\n1")


@given(st.lists(st.integers(-(2**16), 2**16), min_size=2, max_size=12))
def test_std_is_the_one_of_exact_fractions(units: list[int]) -> None:
    found = feature_value([_event_with(unit / 64) for unit in units], "std", "amount", None, instant("03-02 00:00"))
    assert found is not None
    assert math.isclose(found, statistics.stdev([unit / 64 for unit in units]), rel_tol=1e-12)


def _event_with(amount: float) -> Event:
    time = instant("03-01 00:00")
    values = {"amount": amount}
    return Event(customer_id="ana", time=time, recorded=None, type="order", values=values, categories={}, id=None)


@settings(max_examples=max(10, settings().max_examples // 4))
@given(logs.feature_logs())
def test_row_is_the_same_where_what_is_unknown_is_cut_off(world: logs.Log) -> None:
    for cutoff in world.cutoffs:
        past = [event for event in world.events if known(event, cutoff)]
        whole = feature_row(world.events, columns_of(world.blocks), cutoff)
        assert feature_row(past, columns_of(world.blocks), cutoff) == whole


def _reaches(strategy: st.SearchStrategy[logs.Log], condition: Callable[[logs.Log], bool]) -> None:
    """Fail with NoSuchExample where the strategy never meets the condition."""
    find(strategy, condition, settings=SEARCH)


EDGE_CONDITIONS: dict[str, Callable[[logs.Log], bool]] = {
    "at a cutoff": lambda world: any(event["time"] in world.cutoffs for event in world.events),
    "a microsecond before": lambda world: any(event["time"] + MICROSECOND in world.cutoffs for event in world.events),
    "recorded at a cutoff": lambda world: any(event["recorded"] in world.cutoffs for event in world.events),
    "recorded a microsecond late": lambda world: any(
        event["recorded"] == cutoff + MICROSECOND and event["time"] < cutoff
        for event in world.events
        for cutoff in world.cutoffs
    ),
    "on the tail of a window": lambda world: any(
        event["type"] == block.event and event["time"] == window_start(window, cutoff)
        for event in world.events
        for block in world.blocks
        for window in block.windows
        for cutoff in world.cutoffs
    ),
    "a microsecond before the tail": lambda world: any(
        event["type"] == block.event and event["time"] + MICROSECOND == window_start(window, cutoff)
        for event in world.events
        for block in world.blocks
        for window in block.windows
        for cutoff in world.cutoffs
    ),
    "equal times, different values": lambda world: any(
        one["time"] == other["time"]
        and one["type"] == other["type"]
        and one["customer_id"] == other["customer_id"]
        and one["values"]["amount"] != other["values"]["amount"]
        for one in world.events
        for other in world.events
    ),
    "three cutoffs": lambda world: len(world.cutoffs) == 3,
}


@pytest.mark.parametrize("edge", EDGE_CONDITIONS)
def test_random_logs_reach_the_edge(edge: str) -> None:
    _reaches(logs.feature_logs(), EDGE_CONDITIONS[edge])


@pytest.mark.parametrize("kind", ["event", "inactivity", "expiry"])
@pytest.mark.parametrize("outcome", [(True, True), (True, False), (False, True), (False, False)])
def test_random_churn_logs_reach_every_outcome(kind: str, outcome: tuple[bool, bool]) -> None:
    def has_it(world: logs.ChurnLog) -> bool:
        return any(outcome == judged for judged in judge_all(world).values())

    find(logs.churn_logs(kind), has_it, settings=SEARCH)


def judge_all(world: logs.ChurnLog) -> dict[tuple[str, datetime], tuple[bool, bool]]:
    customers = {one["customer_id"] for one in world.events} | {one["customer_id"] for one in world.periods}
    return {(customer, cutoff): _judge(world, customer, cutoff) for customer in customers for cutoff in world.cutoffs}


def _judge(world: logs.ChurnLog, customer: str, cutoff: datetime) -> tuple[bool, bool]:
    events = [event for event in world.events if event["customer_id"] == customer]
    periods = [period for period in world.periods if period["customer_id"] == customer]
    at_risk = eligible(events, periods, world.churn, world.active, cutoff)
    return at_risk, label(events, periods, world.churn, cutoff)
