"""Streams in Python: what is appended, what is read, what a consumer tells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tenure import Project
from tenure.app import stream_append
from tenure.app.place import Place
from tenure.app.stream import check_parity, consume_all, open_stream, rebuild
from tenure.app.stream_append import append_files
from tenure.app.stream_run import Meter, Reading, run_consumer
from tenure.app.stream_status import stream_status
from tenure.core.errors import HistoryError, InputError, NotFoundError, StateError, UnreachableError
from tenure.source.log_sqlite import SqliteLog
from tenure.store.consumer import Progressed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS: dict[str, Any] = {
    "events": {"visit": {"path": "visits", "id": "id", "values": ["minutes"]}},
    "churn": {"inactivity": ["visit"], "horizon": "14d"},
    "features": [{"event": "visit", "ops": ["count", "days_since_last"], "windows": ["7d", "all"]}],
    "runtime": {"threads": 1},
}
HISTORY = pa.table({"customer_id": ["ana"], "time": [NOW - timedelta(days=9)], "id": ["h1"], "minutes": [4.0]})


def visits(count: int, customers: Sequence[str] = ("ana", "ben", "cat")) -> list[dict[str, Any]]:
    return [
        {
            "type": "visit",
            "customer_id": customers[n % len(customers)],
            "id": f"v{n}",
            "time": NOW - timedelta(hours=n + 1),
            "minutes": n / 2,
        }
        for n in range(count)
    ]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.of(SETTINGS, tmp_path, {"visits": HISTORY}, clock=lambda: NOW)


def fold(project: Project) -> None:
    with open_stream(project.place) as (stream, _):
        consume_all(stream)


@pytest.mark.parametrize(
    "made",
    [list, iter, pa.Table.from_pylist, pd.DataFrame, pl.DataFrame],
    ids=["list", "iterator", "arrow", "pandas", "polars"],
)
def test_events_of_any_form_are_appended_and_read(project: Project, made: Any) -> None:
    assert project.append(made(visits(6))).appended == 6
    fold(project)
    table = project.vectors(["cat", "nobody", "ana"])
    assert table.column_names == ["customer_id", "as_of", "visit_count_7d", "visit_count", "visit_days_since_last"]
    assert table["visit_count"].to_pylist() == [2, 0, 2]
    assert table["visit_days_since_last"].to_pylist() == pytest.approx([3 / 24, None, 1 / 24])
    assert table["as_of"].to_pylist()[1] == NOW
    assert table["visit_count"].type == pa.int64()
    assert project.vectors("ana").num_rows == 1


def test_one_bad_event_keeps_all_out(project: Project) -> None:
    with pytest.raises(InputError, match=r"2 of 4 events were refused \(missing time: 1, unknown type: 1\).*event 3"):
        project.append([*visits(2), {"type": "visit", "customer_id": "ana"}, {**visits(1)[0], "type": "visits"}])
    with pytest.raises(NotFoundError, match="Did you mean 'visit'"):
        project.append(visits(1), event_type="vist")
    with pytest.raises(InputError, match="does not read"):
        project.append(7)
    fold(project)
    assert project.vectors(["ana"])["visit_count"].to_pylist() == [0]


def test_the_store_speaks_for_the_present(project: Project) -> None:
    with pytest.raises(StateError, match="not filled"):
        project.vectors(["ana"])
    project.append(visits(1))
    fold(project)
    assert project.vectors(["ana"], NOW + timedelta(minutes=1))["visit_count"].to_pylist() == [1]
    with pytest.raises(HistoryError, match="cannot speak for 2026-02-01"):
        project.vectors(["ana"], "2026-02-01")
    with pytest.raises(HistoryError, match="in the future"):
        project.vectors(["ana"], "2026-03-02")


def test_large_files_are_kept_aside_on_disk(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_append, "_IN_MEMORY_BYTES", 100)
    monkeypatch.setattr(stream_append, "_AT_ONCE", 7)
    path = project.place.root / "events.jsonl"
    documents = [{**one, "time": one["time"].isoformat(), "customer_id": "a\n\tü"} for one in visits(20)]
    path.write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    seen: list[tuple[str, float]] = []
    found = append_files(project.place, [path, path], progress=lambda stage, done: seen.append((stage, done)))
    assert (found.read, found.appended) == (40, 40)
    assert seen[0] == ("check", 0.0)
    assert seen[-1] == ("append", 1.0)
    fold(project)
    assert project.vectors(["a\n\tü"])["visit_count"].to_pylist() == [20]


def test_a_log_that_fails_halfway_says_how_far_it_came(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    append, calls = SqliteLog.append, iter(range(9))

    def failing(self: SqliteLog, records: Sequence[tuple[str, bytes]]) -> list[tuple[int, int]]:
        if next(calls) == 2:
            raise UnreachableError("The disk is gone.")
        return append(self, records)

    monkeypatch.setattr(stream_append, "_AT_ONCE", 5)
    monkeypatch.setattr(SqliteLog, "append", failing)
    with pytest.raises(StateError, match="After 10 events were appended: The disk is gone"):
        project.append(visits(20))


def test_a_rebuild_gives_the_same_and_parity_holds(project: Project) -> None:
    project.append(visits(50))
    fold(project)
    before = project.vectors(["ana", "ben", "cat"])
    with open_stream(project.place) as (stream, features):
        assert sum(one.events for one in rebuild(stream)) == 50
        parity = check_parity(stream, features, sample=10, seed=0)
    assert (parity.customers, parity.equal) == (3, True)
    assert project.vectors(["ana", "ben", "cat"]).equals(before)


def test_there_is_nothing_to_compare_in_an_empty_store(project: Project) -> None:
    with open_stream(project.place) as (stream, features):
        with pytest.raises(HistoryError, match="no events have been folded"):
            check_parity(stream, features, sample=10, seed=0)
        consume_all(stream)
        with pytest.raises(HistoryError, match="nobody to compare"):
            check_parity(stream, features, sample=10, seed=0)


def test_a_status_tells_what_waits_and_how_long(project: Project) -> None:
    project.append(visits(4, ["ana"]))
    fold(project)
    later = Place(project.place.settings, project.place.root, lambda: NOW + timedelta(seconds=40), project.place.tables)
    Project(later).append([{**visits(1)[0], "id": "new"}])
    slept: list[float] = []
    with open_stream(later) as (stream, _):
        found = stream_status(stream, over_seconds=2.0, sleep=slept.append)
        consume_all(stream)
        after = stream_status(stream, sizes=False)
    assert (found.ready, found.lag, found.behind_seconds, found.customers) == (True, 1, 40.0, 1)
    assert (found.records_per_second, slept) == (0.0, [2.0])
    assert (after.lag, after.behind_seconds, after.customers, after.events) == (0, 0.0, None, 5)


def test_a_partition_that_has_folded_nothing_is_behind_by_nobody_knows(project: Project) -> None:
    fold(project)
    project.append(visits(1))
    with open_stream(project.place) as (stream, _):
        found = stream_status(stream)
    assert (found.lag, found.behind_seconds) == (1, None)


def clock(*ticks: float) -> Iterator[float]:
    yield from ticks


def test_a_meter_tells_rates_of_the_last_seconds() -> None:
    ticks = clock(0.0, 1.0, 2.0, 30.0, 30.0)
    meter = Meter(lambda: next(ticks))
    meter.take(Progressed(0, 1, {"events": 100, "late": 5}, np.full(100, 0.2)))
    first = meter.reading()
    assert (first.records_per_second, first.fresh_p99_seconds, first.late) == (50.0, 0.2, 5)
    meter.take(Progressed(0, 2, {"events": 40, "duplicates": 10}, np.full(50, 0.5)))
    last = meter.reading()
    assert (last.records, last.events, last.duplicates) == (150, 140, 10)
    assert (last.records_per_second, last.fresh_p99_seconds) == (5.0, 0.5)


def test_a_reading_says_what_the_consumer_waits_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Reading] = []
    with open_stream(project.place) as (stream, _):

        def away(_: object) -> Any:
            raise UnreachableError("The store is away.")

        def tell(reading: Reading) -> None:
            told.append(reading)
            monkeypatch.setattr(type(stream.store), "marks", away)

        run_consumer(stream, stopped=lambda: len(told) == 2, tell=tell, every_seconds=0.0)
    assert [(reading.lag, reading.trouble) for reading in told] == [(0, ""), (None, "The store is away.")]
