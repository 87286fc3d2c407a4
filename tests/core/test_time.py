from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.core.time import EPOCH, floor_time, format_duration, hop, parse_duration, parse_instant, window_start

INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WINDOWS = st.integers(1, 400 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes))


@given(WINDOWS)
def test_a_duration_is_read_back_as_it_was_written(window: timedelta) -> None:
    assert parse_duration(format_duration(window)) == window


@given(INSTANTS, WINDOWS)
def test_a_window_covers_its_length_and_less_than_a_hop_more(cutoff: datetime, window: timedelta) -> None:
    start = window_start(cutoff, window)
    assert timedelta(0) <= (cutoff - window) - start < hop(window)
    assert (start - EPOCH) % hop(window) == timedelta(0)


@given(INSTANTS)
def test_flooring_twice_changes_nothing(instant: datetime) -> None:
    step = timedelta(hours=1)
    assert floor_time(floor_time(instant, step), step) == floor_time(instant, step)


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7.5d", "seven days", "7 days", "9" * 30 + "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_duration(text)


def test_a_naive_time_is_read_in_the_zone() -> None:
    assert parse_instant("2026-07-01T12:00", ZoneInfo("Europe/Berlin")) == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+23:00", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_instant(text)
