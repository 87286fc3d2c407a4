from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.source.project import balanced, day, rows_of, take_in, write_csv

OPEN = day("9999-12-31")


def with_periods(tmp_path: Path, rows: list[tuple[str, str, str]], now: str = "2026-02-01", **section: Any) -> Any:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", "2026-01-05")])
    write_csv(tmp_path / "s.csv", ("customer_id", "from", "until"), rows)
    return take_in(tmp_path, settings(**section), now=now)


def settings(**section: Any) -> dict[str, Any]:
    expiry = {"path": "s.csv", "start": "from", "end": "until", **section}
    churn = {"expiry": expiry, "horizon": "28d"}
    return {"events": {"login": {"path": "log.csv"}}, "churn": churn, "contract": {"max_rejects": 1.0}}


def report_of(done: Any) -> Any:
    return next(report for report in done.report.sources if report.source == "churn.expiry")


def test_periods_are_ordered_by_their_start(tmp_path: Path) -> None:
    rows = [("b", "2026-01-02", "2026-02-02"), ("a", "2025-12-01", "2026-01-01"), ("a", "2026-01-01", "2026-01-31")]
    done = with_periods(tmp_path, rows)
    assert rows_of(done.history.periods.paths) == [
        ("a", day("2025-12-01"), day("2026-01-01")),
        ("a", day("2026-01-01"), day("2026-01-31")),
        ("b", day("2026-01-02"), day("2026-02-02")),
    ]
    assert str(done.history.first) == "2025-12-01 00:00:00+00:00"


def test_a_period_without_an_end_is_open(tmp_path: Path) -> None:
    done = with_periods(tmp_path, [("a", "2026-01-01", ""), ("b", "2026-01-01", " Infinity ")])
    assert [row[2] for row in rows_of(done.history.periods.paths)] == [OPEN, OPEN]


def test_typed_ends_may_be_open_too(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", "2026-01-05")])
    table = pa.table({"customer_id": ["a", "b"], "from": [date(2026, 1, 1)] * 2, "until": [None, date(2026, 3, 1)]})
    done = take_in(tmp_path, settings(), {"s.csv": table})
    assert done.history.periods is not None
    assert [row[2] for row in rows_of(done.history.periods.paths)] == [OPEN, day("2026-03-01")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("", "2026-01-01", "2026-02-01"), "missing customer"),
        (("a", "", "2026-02-01"), "missing start"),
        (("a", "soon", "2026-02-01"), "unreadable start"),
        (("a", "1970-01-01", "2026-02-01"), "start out of range"),
        (("a", "2026-01-01", "later"), "unreadable end"),
        (("a", "2026-01-02", "2026-01-01"), "end before start"),
    ],
)
def test_bad_periods_are_rejected(tmp_path: Path, row: tuple[str, str, str], reason: str) -> None:
    done = with_periods(tmp_path, [row, ("b", "2026-01-01", "2026-01-01")])
    assert report_of(done).rejected == {reason: 1}
    assert report_of(done).accepted == 1
    assert balanced(report_of(done))


def test_the_same_period_twice_is_one(tmp_path: Path) -> None:
    done = with_periods(tmp_path, [("a", "2026-01-01", "2026-02-01")] * 2 + [("a", "2026-01-01", "2026-03-01")])
    assert report_of(done).rejected == {"duplicate period": 1}
    assert report_of(done).reject_share == 0


def test_a_renewal_booked_ahead_is_kept_and_does_not_move_the_watermark(tmp_path: Path) -> None:
    rows = [("a", "2026-01-10", "2026-02-10"), ("a", "2026-02-10", "2026-03-10")]
    done = with_periods(tmp_path, rows)
    assert done.history.periods.rows == 2
    assert str(done.history.watermark) == "2026-01-10 00:00:00+00:00"
    later = with_periods(tmp_path, rows, now="2026-02-11")
    assert str(later.history.watermark) == "2026-02-10 00:00:00+00:00"
