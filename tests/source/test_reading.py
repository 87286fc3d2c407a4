from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.time import parse_instant, parse_timezone
from tenure.source.reading import (
    blank_sql,
    clock_changes,
    inexact_sql,
    instant_sql,
    kind_of,
    number_sql,
    text_sql,
    time_form_sql,
    utc_sql,
)
from tests.source.project import day

BERLIN = parse_timezone("Europe/Berlin")
ZONES = ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata", "America/Caracas", "UTC"]


def ask(expression_sql: str, values: pa.Array) -> list[Any]:
    """Evaluate an expression over a column `x`, in a session that shows UTC."""
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.register("given", pa.table({"x": values}))
        return [value for (value,) in engine.execute(f"SELECT {expression_sql} FROM given").fetchall()]


def instants(texts: list[str | None], zone: str = "UTC") -> list[datetime | None]:
    form_sql = time_form_sql("x")
    return ask(instant_sql("x", "VARCHAR", parse_timezone(zone), form_sql), pa.array(texts, pa.string()))


@pytest.mark.parametrize(
    ("column_type", "kind"),
    [
        ("VARCHAR", "text"),
        ("ENUM('a', 'b')", "text"),
        ("UUID", "text"),
        ("UBIGINT", "integer"),
        ("INTEGER", "integer"),
        ("DECIMAL(18,3)", "decimal"),
        ("DOUBLE", "float"),
        ("BOOLEAN", "boolean"),
        ("DATE", "date"),
        ("TIMESTAMP_S", "local"),
        ("TIMESTAMPTZ_NS", "instant"),
        ("TIMESTAMP WITH TIME ZONE", "instant"),
        ('"NULL"', "empty"),
        ("BIGINT[]", "other"),
        ("STRUCT(a INTEGER)", "other"),
        ("TIME", "other"),
        ("INTERVAL", "other"),
        ("BLOB", "other"),
    ],
)
def test_types_are_sorted_into_kinds(column_type: str, kind: str) -> None:
    assert kind_of(column_type) == kind


def test_text_keeps_every_character() -> None:
    texts = ["00123", " ana", "ana ", "17850.0", "Zoë", "Zoe\u0308", "顧客", "🦊", "O'Brien", 'say "hi"', None]
    assert ask(text_sql("x", "VARCHAR"), pa.array(texts)) == texts


def test_numbers_become_text_without_a_needless_point() -> None:
    floats = [17850.0, -3.0, 0.1, 12.5, float("nan"), 2.0**53, 1e300, None]
    expected = ["17850", "-3", "0.1", "12.5", None, "9007199254740992", "1e+300", None]
    assert ask(text_sql("x", "DOUBLE"), pa.array(floats, from_pandas=False)) == expected
    assert ask(text_sql("x", "BIGINT"), pa.array([2**63 - 1, -1])) == ["9223372036854775807", "-1"]
    decimals = pa.array(["12.00", "12.50", "100.00", "0.00"]).cast(pa.decimal128(10, 2))
    assert ask(text_sql("x", "DECIMAL(10,2)"), decimals) == ["12", "12.5", "100", "0"]


@pytest.mark.parametrize(
    ("column_type", "arrow", "exact"), [("DOUBLE", pa.float64(), 2**53), ("FLOAT", pa.float32(), 2**24)]
)
def test_floats_beyond_their_exact_range_are_no_ids(column_type: str, arrow: pa.DataType, exact: int) -> None:
    values = pa.array([float(exact), exact * 2.0, float("inf")], arrow)
    assert ask(inexact_sql("x", column_type), values) == [False, True, True]


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u00a0", "\u3000 ", "\ufeff", "\r\n"])
def test_white_space_of_every_kind_is_blank(blank: str) -> None:
    assert ask(blank_sql("x"), pa.array([blank, f"{blank}x", None])) == [True, False, None]


def test_text_is_read_as_numbers() -> None:
    texts = ["1", " 1.5 ", "+3", ".5", "1e5", "-0", "", " ", None, "n/a", "1,5", "1 000", "12abc", "0x1F", "true"]
    read = ask(number_sql("x", "VARCHAR"), pa.array(texts))
    assert read == [1.0, 1.5, 3.0, 0.5, 100000.0, 0.0, *[None] * 9]
    infinite = ask(number_sql("x", "VARCHAR"), pa.array(["inf", "-Infinity", "1e400"]))
    assert infinite == [float("inf"), float("-inf"), float("inf")]


def test_iso_times_are_read_as_python_reads_them() -> None:
    texts = [
        "2017-04-02",
        "2017-04-02 10:00",
        "2017-04-02T10:00:00",
        "2017-04-02T10:00:00.123456",
        "2017-04-02T10:00:00Z",
        "2017-04-02 10:00:00+02:00",
        "2017-04-02 10:00:00-05:30",
        "2017-04-02T10:00:00+0200",
    ]
    for zone in ZONES:
        expected = [parse_instant(text, parse_timezone(zone)).replace(tzinfo=None) for text in texts]
        assert instants(list(texts), zone) == expected


def test_other_common_ways_to_write_a_time_are_read() -> None:
    noon = day("2017-04-02T12:00")
    texts = [
        "2017/04/02 12:00",
        "2017-4-2 12:00",
        " 2017-04-02 12:00 ",
        "2017-04-02 12:00:00 UTC",
        "2017-04-02 14:00 +0200",
    ]
    assert instants(list(texts)) == [noon] * len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "02/04/2017",
        "2017-04-02 10:00 PM",
        "2017-04-02 10:00:00 CET",
        "2017-02-30",
        "2017-04-02 25:00",
        "2017-04",
        "April 2, 2017",
        "infinity",
        "epoch",
        "now",
        "20171301",
        "12017-01-01",
        "0044-03-15 BC",
        "nan",
        "-9223372036854775809",
    ],
)
def test_what_is_no_whole_time_is_not_read_in_part(text: str) -> None:
    assert instants([text, "", None]) == [None, None, None]


def test_numbers_tell_their_unit_by_their_size() -> None:
    noon = day("2017-04-02T12:00")
    seconds = int(noon.replace(tzinfo=UTC).timestamp())
    numbers = [seconds * 10**power for power in (0, 3, 6, 9)]
    assert ask(instant_sql("x", "BIGINT", UTC), pa.array(numbers)) == [noon] * 4
    assert instants([str(number) for number in numbers]) == [noon] * 4
    assert ask(instant_sql("x", "DOUBLE", UTC), pa.array([seconds + 0.25])) == [noon + timedelta(milliseconds=250)]
    assert instants([f"{seconds}.25"]) == [noon + timedelta(milliseconds=250)]
    odd = pa.array([float("nan"), float("inf"), 1e30, None], from_pandas=False)
    assert ask(instant_sql("x", "DOUBLE", UTC), odd) == [None] * 4
    assert ask(instant_sql("x", "BIGINT", UTC), pa.array([-(2**63)])) == [day("1677-09-21T00:12:43.145225")]


def test_eight_digits_are_a_date_in_the_zone() -> None:
    midnight = day("2017-04-01T22:00")
    assert instants(["20170402"], "Europe/Berlin") == [midnight]
    assert ask(instant_sql("x", "INTEGER", BERLIN), pa.array([20170402], pa.int32())) == [midnight]


def test_typed_times_are_converted() -> None:
    local = pa.array([day("2017-07-01T12:00")], pa.timestamp("ns"))
    assert ask(instant_sql("x", "TIMESTAMP_NS", BERLIN), local) == [day("2017-07-01T10:00")]
    instant = pa.array([datetime(2017, 7, 1, 12, tzinfo=UTC)], pa.timestamp("us", "America/New_York"))
    assert ask(instant_sql("x", "TIMESTAMP WITH TIME ZONE", BERLIN), instant) == [day("2017-07-01T12:00")]


local_times = st.datetimes(day("1971-01-02"), day("2037-01-01"))


@given(times=st.lists(local_times, min_size=1, max_size=30), zone=st.sampled_from(ZONES))
def test_local_times_mean_what_they_mean_in_python(times: list[datetime], zone: str) -> None:
    known = parse_timezone(zone)
    expected = [time.replace(tzinfo=known).astimezone(UTC).replace(tzinfo=None) for time in times]
    assert ask(utc_sql("x", known), pa.array(times, pa.timestamp("us"))) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"])
def test_hours_that_happen_twice_or_never_mean_what_they_mean_in_python(zone: str) -> None:
    known = ZoneInfo(zone)
    days = [day for day in clock_changes(known) if 2015 <= day.year < 2025]
    quarters = [day(d.isoformat()) + timedelta(minutes=15 * n) for d in days for n in range(96)]
    expected = [time.replace(tzinfo=known).astimezone(UTC).replace(tzinfo=None) for time in quarters]
    assert ask(utc_sql("x", known), pa.array(quarters, pa.timestamp("us"))) == expected
    assert len(set(expected)) < len(quarters)  # clocks did change
