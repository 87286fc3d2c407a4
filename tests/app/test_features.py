from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tenure.app.project import Project
from tenure.core.errors import HistoryError
from tenure.core.time import Clock, fixed_clock, format_instant, parse_instant

FIRST, LAST = parse_instant("2026-01-05T10:00:00"), parse_instant("2026-03-01T12:00:00")
SETTINGS: dict[str, Any] = {
    "events": {"visit": {"path": "log"}},
    "churn": {"inactivity": ["visit"], "horizon": "14d", "active": {"within": "28d"}},
    "features": [{"event": "visit", "ops": ["count"]}],
}
LOG = pa.table({"customer_id": ["ana", "ana", "bo"], "time": [FIRST, LAST, FIRST]})
SECOND = timedelta(seconds=1)


NEXT_DAY = fixed_clock("2026-03-02")


def project(root: Path, clock: Clock = NEXT_DAY) -> Project:
    return Project.of(SETTINGS, root, {"log": LOG}, clock)


def cutoff_of(table: pa.Table) -> datetime:
    found: datetime = table["cutoff"].cast(pa.timestamp("us", tz="UTC"))[0].as_py()
    return found


def test_the_default_cutoff_counts_every_event(tmp_path: Path) -> None:
    table = project(tmp_path).features()
    assert cutoff_of(table) == LAST + SECOND
    assert dict(zip(table["customer_id"].to_pylist(), table["visit_count"].to_pylist(), strict=True)) == {"ana": 2}


def test_a_log_that_ends_this_very_moment_can_be_used(tmp_path: Path) -> None:
    assert project(tmp_path, lambda: LAST).features().num_rows == 1


def test_nothing_is_known_at_the_first_event(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="lies before the data, which begins at 2026-01-05T10:00:00Z"):
        project(tmp_path).features(FIRST)
    assert project(tmp_path).features(FIRST + SECOND)["customer_id"].to_pylist() == ["ana", "bo"]


def test_clocks_may_differ_by_minutes_and_not_by_more(tmp_path: Path) -> None:
    now = LAST + timedelta(days=1)
    assert project(tmp_path, lambda: now).features(now + timedelta(minutes=5)).num_rows == 1
    with pytest.raises(HistoryError, match="lies in the future: it is 2026-03-02T12:00:00Z"):
        project(tmp_path, lambda: now).features(now + timedelta(minutes=6))


def test_at_the_edge_of_activity(tmp_path: Path) -> None:
    edge = LAST + timedelta(days=28)
    mine = project(tmp_path, fixed_clock("2027-01-01"))
    assert mine.features(edge).num_rows == 1
    with pytest.raises(HistoryError, match=rf"Nobody is at risk at {format_instant(edge + SECOND)}; the log ends at"):
        mine.features(edge + SECOND)


def test_a_cutoff_is_read_in_the_zone_of_the_project(tmp_path: Path) -> None:
    settings = SETTINGS | {"project": {"timezone": "Europe/Berlin"}}
    table = Project.of(settings, tmp_path, {"log": LOG}, fixed_clock("2026-03-02")).features("2026-02-01")
    assert cutoff_of(table) == parse_instant("2026-01-31T23:00:00Z")
