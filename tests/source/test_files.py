from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tenure.core.errors import InputError, NotFoundError
from tests.source.project import balanced, logins, only_report, rejects, take_in_events, write_csv, write_parquet

LOG = {"customer_id": ["a", "b"], "time": ["2026-01-05", "2026-01-06"]}


def customers(tmp_path: Path, path: str, **more: Any) -> list[str]:
    return sorted(customer for (customer,) in logins(take_in_events(tmp_path, path=path, **more), "customer_id"))


def test_parquet_and_globs_of_it_are_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "one.parquet", LOG)
    write_parquet(tmp_path / "part" / "1" / "x.parquet", {"customer_id": ["c"], "time": ["2026-01-05"]})
    write_parquet(tmp_path / "part" / "2" / "x.pq", {"customer_id": ["d"], "time": ["2026-01-05"]})
    assert customers(tmp_path, "one.parquet") == ["a", "b"]
    assert customers(tmp_path, "part/*/x.*") == ["c", "d"]
    assert customers(tmp_path, "**/*.parquet") == ["a", "b", "c"]
    assert customers(tmp_path, str(tmp_path / "one.parquet")) == ["a", "b"]


def test_a_name_with_the_signs_of_a_glob_is_a_name_if_there_is_such_a_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "log[1].parquet", LOG)
    write_parquet(tmp_path / "log1.parquet", {"customer_id": ["z"], "time": ["2026-01-05"]})
    write_csv(tmp_path / "it's [2].csv", ("customer_id", "time"), [("q", "2026-01-05")])
    assert customers(tmp_path, "log[1].parquet") == ["a", "b"]
    assert customers(tmp_path, "it's [2].csv") == ["q"]


def test_columns_of_a_glob_are_found_by_name(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", {"customer_id": ["a"], "time": ["2026-01-05"]})
    write_parquet(tmp_path / "2.parquet", {"more": [1], "time": ["2026-01-06"], "customer_id": ["b"]})
    assert customers(tmp_path, "*.parquet") == ["a", "b"]


def test_a_column_with_several_types_means_the_same_in_each(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", {"customer_id": [17850], "time": ["2026-01-05"], "n": [1]})
    write_parquet(tmp_path / "2.parquet", {"customer_id": [17850.0, None], "time": ["2026-01-06"] * 2, "n": [0.5, 0.5]})
    times = pa.array([0], pa.timestamp("us")).cast(pa.int64())
    write_parquet(tmp_path / "3.parquet", {"customer_id": ["017850"], "time": pa.array([1767657600]), "n": times})
    write_parquet(tmp_path / "4.parquet", {"customer_id": ["x"], "time": ["2026-01-08"], "n": pa.nulls(1)})
    done = take_in_events(tmp_path, path="*.parquet", values=["n"])
    assert logins(done, "customer_id, strftime(time, '%d'), n") == [
        ("17850", "05", 1.0),
        ("017850", "06", 0.0),
        ("17850", "06", 0.5),
        ("x", "08", None),
    ]
    assert only_report(done).rejected == {"missing customer": 1}
    assert rejects(only_report(done))[0]["file"] == str(tmp_path / "2.parquet")


def test_a_column_that_only_some_files_have_is_an_error_that_names_one_without(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", {**LOG, "amount": [1, 2]})
    write_parquet(tmp_path / "2.parquet", LOG)
    with pytest.raises(InputError, match=r"2\.parquet has no such column"):
        take_in_events(tmp_path, path="*.parquet", values=["amount"])
    assert customers(tmp_path, "*.parquet") == ["a", "a", "b", "b"]


def test_folders_named_after_values_are_columns(tmp_path: Path) -> None:
    for shop in ("s1", "s2"):
        write_parquet(tmp_path / f"shop={shop}" / "x.parquet", LOG)
    done = take_in_events(tmp_path, path="*/x.parquet", categories=["shop"], where="shop <> 's1'")
    assert {shop for (shop,) in logins(done, "shop")} == {"s2"}
    assert only_report(done).filtered == 2


# What cannot be read.


def test_a_missing_file_names_the_near_ones(tmp_path: Path) -> None:
    write_parquet(tmp_path / "transactions.parquet", LOG)
    with pytest.raises(
        NotFoundError, match=r"There is no file 'transaction\.parquet'; did you mean 'transactions\.parquet'"
    ):
        take_in_events(tmp_path, path="transaction.parquet")
    with pytest.raises(NotFoundError, match=r"No file matches '\*\.csv'; the folder .* holds transactions\.parquet"):
        take_in_events(tmp_path, path="*.csv")
    with pytest.raises(NotFoundError, match="there is no folder"):
        take_in_events(tmp_path, path="nowhere/*.csv")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (".", "is a folder"),
        ("s3://bucket/x.parquet", "an address on the network"),
        ("https://example.org/x.csv", "an address on the network"),
        ("sheet.xlsx", "kind of the file .* cannot be told"),
        ("*.*", "several kinds"),
    ],
)
def test_what_is_no_source_is_an_error(tmp_path: Path, path: str, problem: str) -> None:
    write_parquet(tmp_path / "a.parquet", LOG)
    write_csv(tmp_path / "b.csv", ("customer_id", "time"), [("a", "2026-01-05")])
    if path == "sheet.xlsx":
        (tmp_path / path).write_bytes(b"PK")
    with pytest.raises(InputError, match=problem):
        take_in_events(tmp_path, path=path)


@pytest.mark.parametrize("content", [b"hello", b"PAR1PAR1", b"PAR1" + b"\0" * 50 + b"PAR1"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    write_parquet(tmp_path / "1.parquet", LOG)
    (tmp_path / "2.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"2\.parquet cannot be read as Parquet"):
        take_in_events(tmp_path, path="*.parquet")


def test_a_truncated_parquet_file_is_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "1.parquet", LOG)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"1\.parquet cannot be read as Parquet"):
        take_in_events(tmp_path, path="1.parquet")


def test_damage_inside_a_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "1.parquet", {"customer_id": ["a" * 9] * 9, "time": ["2026-01-05"] * 9})
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"events\.login: 1\.parquet cannot be read"):
        take_in_events(tmp_path, path="1.parquet")


@pytest.mark.parametrize("name", ["1.parquet", "1.csv"])
def test_an_empty_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        take_in_events(tmp_path, path=name)


def test_columns_that_share_a_name_are_an_error(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table([["a"], ["b"], ["2026-01-05"]], names=["customer_id", "Customer_ID", "time"]), tmp_path / "1.parquet"
    )
    with pytest.raises(InputError, match="several columns of the same name: 'customer_id', 'Customer_ID'"):
        take_in_events(tmp_path, path="1.parquet")


def test_large_float_ids_are_not_trusted(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", {"customer_id": [1e17, 2.0], "time": ["2026-01-05"] * 2})
    report = only_report(take_in_events(tmp_path, path="1.parquet"))
    assert report.rejected == {"inexact customer": 1}
    assert balanced(report)


def test_a_column_that_cannot_be_what_it_is_named_for_is_an_error(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", {**LOG, "tags": [["x"], ["y"]], "flag": [True, False]})
    with pytest.raises(InputError, match=r"'tags' holds VARCHAR\[\], which cannot be read as a number"):
        take_in_events(tmp_path, path="1.parquet", values=["tags"])
    with pytest.raises(InputError, match="'flag' holds BOOLEAN, which cannot be read as a time"):
        take_in_events(tmp_path, path="1.parquet", time="flag")
