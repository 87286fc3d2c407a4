"""Rows by their position, whatever the files look like."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError, NotFoundError
from tenure.score.rows import open_snapshot, rechunk
from tests.score.world import customers, write


@given(st.lists(st.lists(st.integers(0, 9), max_size=7), max_size=8), st.integers(1, 5))
def test_rechunked_tables_have_the_asked_length(lists: list[list[int]], rows: int) -> None:
    tables = [pa.table({"x": pa.array(part, pa.int64())}) for part in lists]
    found = [table.column("x").to_pylist() for table in rechunk(tables, rows)]
    assert [number for part in found for number in part] == [number for part in lists for number in part]
    assert all(len(part) == rows for part in found[:-1])
    assert all(0 < len(part) <= rows for part in found[-1:])


@given(st.integers(0, 130), st.integers(0, 130), st.integers(1, 50), st.integers(1, 3), st.integers(1, 40))
def test_a_span_holds_exactly_its_rows(
    tmp_path_factory: pytest.TempPathFactory, one: int, other: int, group_rows: int, files: int, rows: int
) -> None:
    table = customers(120)
    paths = write(table, tmp_path_factory.mktemp("span"), group_rows, files)
    start, stop = sorted((one, other))
    found = list(open_snapshot(paths, "f").read(start, stop, ["x", "customer_id"], rows))
    expected = table.select(["x", "customer_id"]).slice(start, stop - start)
    assert [len(part) for part in found] == [
        min(rows, expected.num_rows - position) for position in range(0, expected.num_rows, rows)
    ]
    assert [row for part in found for row in part.to_pylist()] == expected.to_pylist()


def test_a_name_with_a_dot_is_a_name(tmp_path: Path) -> None:
    table = pa.table({"a": [1], "a.b": [2], "customer_id": ["c"]})
    pq.write_table(table, tmp_path / "s.parquet")
    found = next(open_snapshot([tmp_path / "s.parquet"], "f").read(0, 1, ["customer_id", "a"], 10))
    assert found.to_pylist() == [{"customer_id": "c", "a": 1}]


def test_files_that_disagree_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "two.parquet")
    with pytest.raises(InputError, match=r"two\.parquet has other columns than one\.parquet"):
        open_snapshot([tmp_path / "one.parquet", tmp_path / "two.parquet"], "f")


def test_no_files_are_refused() -> None:
    with pytest.raises(InputError, match="without files"):
        open_snapshot([], "f")


def test_a_missing_column_names_those_that_exist(tmp_path: Path) -> None:
    snapshot = open_snapshot(write(customers(1), tmp_path), "f")
    with pytest.raises(NotFoundError, match=r"'wort', which is wanted\. Did you mean 'worth'\?"):
        snapshot.require(["x", "wort"], "is wanted")
    with pytest.raises(NotFoundError, match="Known: customer_id, cutoff, worth, x"):
        snapshot.require(["qqq"], "is wanted")
