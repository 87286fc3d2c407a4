"""Splits keep every embargo, use matured cutoffs only and say how much history is missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import HistoryError
from tenure.core.settings import ChurnSettings
from tenure.core.time import format_instant, parse_instant
from tenure.model.frame import Frame
from tenure.model.split import ENOUGH, MOST, Split, choose_cutoffs, embargo, plan_split, split_table
from tests.oracle.split import is_sound

DAY = timedelta(days=1)
EXPIRY: dict[str, Any] = {"expiry": {"path": "p.csv", "start": "s", "end": "e", "grace": "30d"}}


def churn(**changes: Any) -> ChurnSettings:
    kind = {} if "expiry" in changes else {"inactivity": ("buy",)}
    return ChurnSettings(**{"horizon": "28d", **kind, **changes})


def dates(cutoffs: tuple[datetime, ...]) -> list[str]:
    return [format_instant(cutoff) for cutoff in cutoffs]


def test_the_cutoffs_of_the_journey() -> None:
    train = ["2017-04-02", "2017-04-30", "2017-05-28", "2017-06-25", "2017-07-23", "2017-08-20", "2017-09-17"]
    late = ["2017-10-15", "2017-11-05", "2017-11-12"]
    settings = churn(train=[*train, *late], test=["2017-12-03"], active={"within": "56d", "at_least": 2})
    first, watermark = parse_instant("2017-01-01T11:53:26"), parse_instant("2018-01-01T04:01:20")
    split = plan_split(choose_cutoffs(first, watermark, settings), settings)
    assert dates(split.test) == ["2017-12-03"]
    assert dates(split.train) == [*train, "2017-10-15", "2017-11-05"]
    assert split.dropped[0] == (
        parse_instant("2017-11-12"),
        "its label matures on 2017-12-10, after the first test cutoff 2017-12-03",
    )
    assert split.calibrate == ()
    chosen = choose_cutoffs(first, watermark, churn(), lookback=84 * DAY)
    assert dates(chosen)[-1] == "2017-12-04"
    assert dates(chosen)[0] == "2017-03-27"
    assert len(chosen) == 10


spans = st.integers(1, 40).map(lambda days: timedelta(days=days))
hours = st.integers(0, 23).map(lambda n: timedelta(hours=n))


@given(
    horizon=spans,
    gap=st.integers(0, 10).map(timedelta),
    every=st.none() | spans | st.just(timedelta(hours=12)),
    length=st.integers(1, 900).map(timedelta),
    lookback=st.integers(0, 100).map(timedelta),
    offset=hours,
    grace=st.none() | st.just(30 * DAY),
)
def test_every_chosen_split_is_sound_or_says_what_is_missing(
    *,
    horizon: timedelta,
    gap: timedelta,
    every: timedelta | None,
    length: timedelta,
    lookback: timedelta,
    offset: timedelta,
    grace: timedelta | None,
) -> None:
    settings = churn(horizon=horizon, gap=gap, every=every, **(EXPIRY if grace else {}))
    first = datetime(2024, 1, 1, 9, 30, tzinfo=UTC)
    watermark = first + length + offset
    try:
        cutoffs = choose_cutoffs(first, watermark, settings, lookback=lookback)
    except HistoryError as error:
        missing = int(str(error.ids["missing_days"]))
        assert missing > 0
        assert choose_cutoffs(first, watermark + missing * DAY, settings, lookback=lookback)
        with pytest.raises(HistoryError):
            choose_cutoffs(first, watermark + (missing - 1) * DAY, settings, lookback=lookback)
        return
    split = plan_split(cutoffs, settings)
    assert is_sound((split.train, split.calibrate, split.test), cutoffs, gap, horizon)
    assert set(split.cutoffs) | {cutoff for cutoff, _ in split.dropped} == set(cutoffs)
    assert all(cutoff >= first + lookback and cutoff + embargo(settings) <= watermark for cutoff in cutoffs)
    assert split.train
    assert len(cutoffs) <= MOST + 1
    assert watermark - split.test[0] < embargo(settings) + DAY  # the most recent data is used
    assert split.embargo == gap + horizon + (grace or timedelta(0))


def test_a_calibration_block_needs_a_year_beside_it() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for count, calibrates in ((ENOUGH + 1, False), (ENOUGH + 2, True)):
        cutoffs = [start + 28 * DAY * step for step in range(count)]
        split = plan_split(cutoffs, churn())
        assert split.calibrate == ((cutoffs[-2],) if calibrates else ())
        assert len(split.train) == ENOUGH


def test_cutoffs_closer_than_a_label_make_room_for_calibration() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    cutoffs = [start + 14 * DAY * step for step in range(30)]
    split = plan_split(cutoffs, churn())
    assert is_sound((split.train, split.calibrate, split.test), cutoffs, timedelta(0), 28 * DAY)
    assert len(split.calibrate) == 1
    assert [reason.split(",")[1].split(" cutoff")[0] for _, reason in split.dropped] == [
        " after the first calibration",
        " after the first test",
    ]


def test_too_short_a_log_says_how_much_is_missing() -> None:
    first, watermark = parse_instant("2026-01-01T08:00"), parse_instant("2026-03-01T20:00")
    with pytest.raises(HistoryError) as caught:
        choose_cutoffs(first, watermark, churn(), lookback=84 * DAY)
    assert str(caught.value) == (
        "The log is too short: it reaches from 2026-01-01T08:00:00Z to 2026-03-01T20:00:00Z, 59 days, and 141 are "
        "needed; 82 are missing. A training cutoff needs 84d of history before it and 28d until its label matures; the "
        "test cutoff comes after that and needs 28d too.\n"
        "→ Bring a log that reaches 2026-05-22, or shorten [churn] horizon (28d) or active.within."
    )


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"test": ["2026-06-20"]}, "2026-06-20, whose label matures 28d later, and the log ends", "2026-06-02"),
        ({"train": ["2026-07-01"]}, r"\[churn\] train names 2026-07-01, whose label", "2026-06-02"),
        ({"train": ["2025-12-01"]}, "train names 2025-12-01, and the log begins only at 2026-01-01", "2026-01-02"),
        ({"test": ["2026-01-20"]}, "No training cutoff fits between", "Test at 2026-03-27 or later"),
    ],
)
def test_explicit_cutoffs_that_cannot_be_are_refused(given: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(HistoryError, match=message) as caught:
        choose_cutoffs(parse_instant("2026-01-01T08:00"), parse_instant("2026-06-30T08:00"), churn(**given))
    assert hint in caught.value.hint


def test_training_cutoffs_that_mature_too_late_are_an_error() -> None:
    settings = churn(train=["2026-05-20"], test=["2026-06-01"])
    cutoffs = choose_cutoffs(parse_instant("2026-01-01"), parse_instant("2026-06-30"), settings)
    with pytest.raises(HistoryError, match="No training label matures by the first test cutoff 2026-06-01") as caught:
        plan_split(cutoffs, settings)
    assert "2026-05-04 or earlier" in caught.value.hint
    with pytest.raises(HistoryError, match="There are no cutoffs"):
        plan_split([], churn())


def table_frame(rows: int, times: Any = None) -> Frame:
    customers = np.arange(rows) // 2
    return Frame.of(customers.astype(str), np.arange(rows) % 7 == 0, pa.table({"x": np.arange(rows)}), times)


def test_blocks_are_the_rows_of_their_cutoffs() -> None:
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    frame = table_frame(8, np.repeat(np.array([d.replace(tzinfo=None) for d in days], dtype="datetime64[us]"), 2))
    split = Split(train=tuple(days[:1]), calibrate=tuple(days[1:2]), test=tuple(days[3:]))
    blocks = split.blocks(frame)
    assert np.flatnonzero(blocks.train).tolist() == [0, 1]
    assert np.flatnonzero(blocks.calibrate).tolist() == [2, 3]
    assert np.flatnonzero(blocks.test).tolist() == [6, 7]


def test_a_table_without_time_is_split_by_customer_and_says_so() -> None:
    frame = table_frame(1000)
    split = split_table(frame, seed=4)
    blocks = split.blocks(frame)
    assert split.how == "stratified"
    assert "at random" in split.explanation
    assert blocks.test.sum() == 200
    assert not blocks.calibrate.any()
    assert (blocks.train == ~blocks.test).all()
    assert not set(frame.group()[blocks.test]) & set(frame.group()[blocks.train])
    assert frame.label[blocks.test].mean() == pytest.approx(frame.label.mean(), abs=0.01)
    assert split_table(frame, seed=5).blocks(frame).test.tolist() != blocks.test.tolist()


def test_a_table_with_times_is_tested_on_its_latest_rows() -> None:
    times = np.datetime64("2026-01-01", "us") + np.arange(1000) // 10 * np.timedelta64(1, "D")
    frame = table_frame(1000, times)
    split = split_table(frame)
    blocks = split.blocks(frame)
    assert split.how == "row times"
    assert split.boundary == datetime(2026, 3, 22, tzinfo=UTC)
    assert np.flatnonzero(blocks.test).tolist() == list(range(800, 1000))
    assert "no embargo" in split.explanation
    assert split_table(table_frame(10, times[:10])).how == "stratified"
