"""Where a partition begins when the log has dropped its oldest records, and what history and the log share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tenure.core.errors import HistoryError
from tenure.features.declare import Feature, FeatureSet
from tenure.store.consumer import Consumer, caught_up
from tenure.store.restore import Origin, begin
from tenure.store.stream import Stream
from tenure.testing.stream import small_stream
from tests.oracle import logs
from tests.oracle.features import Event
from tests.store.streamed import Record, Site, write_history

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)  # when the small stream's records were appended


def trimmed(stream: Stream) -> dict[int, int]:
    """Drop all records of the log but the last of every partition; give where each begins then."""
    return {partition: stream.log.trim(partition, end - 1) for partition, (_, end) in stream.log.bounds().items()}


def test_what_the_log_has_dropped_counts_from_the_archive() -> None:
    with small_stream() as stream:
        kept = trimmed(stream)
        assert max(kept.values()) > 0
        for as_of in (None, NOON + timedelta(hours=1), NOON - timedelta(days=9)):
            assert {one.first for one in begin(stream, as_of).values()} == {0}


def test_history_that_ends_before_the_log_begins_is_refused() -> None:
    with small_stream(folded=False) as stream:
        trimmed(stream)
        with pytest.raises(HistoryError, match="begins at 2026-01-31T12:00:00"):
            begin(stream, NOON - timedelta(days=1))
        kept = {partition: first for partition, (first, _) in stream.log.bounds().items()}
        assert begin(stream, NOON) == {partition: Origin(first, NOON) for partition, first in kept.items()}


def test_a_partition_that_lost_its_origin_begins_with_its_archive() -> None:
    """The database is new, the log was trimmed, the archive has everything: nothing is lost."""
    with small_stream() as stream:
        trimmed(stream)
        with stream.database.begin() as connection:
            connection.exec_driver_sql("DELETE FROM stream_origins")
        for partition in (0, 1):
            stream.store.reset(partition, {})
        Consumer(stream).run(lambda: caught_up(stream))
        assert sum(mark.note["events"] for mark in stream.store.marks().values()) == 5


@pytest.mark.parametrize("folded_before", [False, True])
def test_what_history_knows_counts_once_however_late_it_is_sent_again(tmp_path: Path, folded_before: bool) -> None:
    """An event comes to the log five days late, history has it, and after the bootstrap it comes once more."""
    event = Event(
        customer_id="ana",
        time=NOON - timedelta(hours=130),
        recorded=None,
        type="login",
        values=dict.fromkeys(logs.VALUES),
        categories={logs.CATEGORY: None},
        id="late",
    )
    place = Site(tmp_path, FeatureSet((Feature("login", "count"),)))
    place.append([Record(event, NOON - timedelta(hours=10))])
    place.history = write_history([event], tmp_path / "history", ids=True)
    if folded_before:
        place.fold()
    place.bootstrap(NOON)
    place.append([Record(event, NOON + timedelta(hours=1))])
    for _ in range(2):
        place.fold()
        assert place.read(["ana"], NOON + timedelta(days=1))["ana"] == {"login_count": 1}
        place.lose()
