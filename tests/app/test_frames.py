from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tenure import Project, fixed_clock

MONTHS = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=30 * month) for month in range(5)]


def checked(tmp_path: Path, table: pa.Table, **section: Any) -> tuple[str, ...]:
    """What the audit of a plain table with times finds."""
    settings = {"table": {"path": "rows", "label": "left", "positive": "yes", "time": "at", **section}}
    project = Project.of(settings, tmp_path, {"rows": table}, fixed_clock("2026-07-01"))
    return tuple(finding.check for finding in project.check().audit.findings)


def rows_of(visits: npt.NDArray[np.float64]) -> pa.Table:
    """Sixty customers, each with a row for every month."""
    return pa.table(
        {
            "id": [f"c{place % 60:02d}" for place in range(300)],
            "at": [MONTHS[place // 60] for place in range(300)],
            "visits": visits,
            "left": np.where(np.random.default_rng(1).random(300) < 0.3, "yes", "no"),
        }
    )


def test_a_customer_who_stands_in_both_blocks_at_different_times_is_no_copy(tmp_path: Path) -> None:
    assert checked(tmp_path, rows_of(np.random.default_rng(0).random(300)), id="id") == ()


def test_without_ids_a_row_that_stands_in_both_blocks_again_is_a_copy(tmp_path: Path) -> None:
    visits = np.random.default_rng(0).random(300)
    visits[240:250] = visits[:10]
    assert checked(tmp_path, rows_of(visits), ignore=["id"]) == ("duplicates",)
