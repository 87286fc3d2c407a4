"""Frames keep features, labels and baselines apart, and rows together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenure.core.errors import HistoryError, InputError, NotFoundError
from tenure.model.frame import Frame, equal_rows, read_frame

CUTOFFS = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))


def write(folder: Path, cutoff: datetime, **changes: Any) -> Path:
    columns = {
        "customer_id": ["a", "b", "c"],
        "cutoff": pa.array([cutoff] * 3, pa.timestamp("us", tz="UTC")),
        "label": [True, False, False],
        "_days_since_last": [1.0, 2.0, None],
        "_count": [5, 6, 0],
        "_relative_recency": [0.5, None, None],
        "visits": [1, 2, None],
        "plan": ["x", None, "y"],
    } | changes
    path = folder / f"{cutoff:%Y-%m-%d}.parquet"
    pq.write_table(pa.table({name: values for name, values in columns.items() if values is not None}), path)
    return path


def test_snapshots_become_one_frame(tmp_path: Path) -> None:
    frame = read_frame([write(tmp_path, cutoff) for cutoff in CUTOFFS], ["plan", "visits"])
    assert frame.rows == 6
    assert frame.churners == 2
    assert frame.features.column_names == ["plan", "visits"]
    assert frame.activity.column_names == ["_days_since_last", "_count", "_relative_recency"]
    assert frame.group().tolist() == [0, 1, 2] * 2
    assert frame.cutoff.tolist() == [cutoff.replace(tzinfo=None) for cutoff in CUTOFFS for _ in range(3)]
    assert frame.has_time


def test_columns_of_all_null_and_of_other_widths_go_together(tmp_path: Path) -> None:
    first = write(tmp_path, CUTOFFS[0], visits=pa.array([None] * 3, pa.float64()))
    frame = read_frame([first, write(tmp_path, CUTOFFS[1])], ["visits"])
    assert frame.features["visits"].to_pylist() == [None, None, None, 1, 2, None]


def test_a_block_of_whole_cutoffs_is_not_copied(tmp_path: Path) -> None:
    frame = read_frame([write(tmp_path, cutoff) for cutoff in CUTOFFS], ["visits"])
    before = pa.total_allocated_bytes()
    later = frame.take(np.arange(6) >= 3)
    assert pa.total_allocated_bytes() == before
    assert later.customer_id.to_pylist() == ["a", "b", "c"]
    assert later.cutoff.tolist() == [CUTOFFS[1].replace(tzinfo=None)] * 3
    assert later.activity["_count"].to_pylist() == [5, 6, 0]


def test_scattered_rows_are_taken() -> None:
    frame = Frame.of(["a", "b", "c"], [True, False, False], pa.table({"x": [1, 2, 3]}))
    some = frame.take(np.array([True, False, True]))
    assert (some.customer_id.to_pylist(), some.features["x"].to_pylist(), some.label.tolist()) == (
        ["a", "c"],
        [1, 3],
        [True, False],
    )
    assert not some.has_time
    assert frame.take(np.zeros(3, dtype=bool)).rows == 0


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, CUTOFFS[0])
    with pytest.raises(NotFoundError, match=r"no column 'visit'\. Did you mean 'visits'"):
        read_frame([path], ["visit"])
    with pytest.raises(NotFoundError, match="There is no snapshot"):
        read_frame([tmp_path / "absent.parquet"], ["visits"])
    with pytest.raises(HistoryError, match="hold no customer at risk"):
        read_frame([], ["visits"])
    unlabelled = write(tmp_path, CUTOFFS[1], label=[True, None, None])
    with pytest.raises(HistoryError, match="2 of 3 rows have no label"):
        read_frame([unlabelled], ["visits"])


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="Columns of 2, 3 rows"):
        Frame.of(["a", "b"], [True, False], pa.table({"x": [1, 2, 3]}))


def test_equal_rows_share_an_id() -> None:
    table = pa.table({"x": [1.5, None, 1.5, None, 2.0, 1.5], "y": ["a", "b", "a", "b", "a", "b"]})
    assert equal_rows(table).to_pylist() == ["0", "1", "0", "1", "2", "3"]
    natural = pa.table({"x": [True, False, True, True, False, True]})
    assert equal_rows(natural).to_pylist() == ["0", "1", "2", "3", "4", "5"]
    many = pa.table({"x": np.arange(1000) % 7, "y": np.arange(1000) % 11, "z": np.arange(1000) % 13})
    assert len(set(equal_rows(many).to_pylist())) == 1000
