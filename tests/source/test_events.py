from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenure.core.errors import ConfigError, InputError, NotFoundError
from tests.source.project import (
    balanced,
    day,
    document,
    logins,
    only_report,
    rejects,
    rows_of,
    take_in,
    take_in_events,
    write_csv,
)

JAN5, JAN6 = day("2026-01-05"), day("2026-01-06")


def test_the_canonical_table_has_its_columns_in_their_order(tmp_path: Path) -> None:
    write_csv(
        tmp_path / "log.csv",
        ("shop", "id", "who", "when", "known", "amount"),
        [("s1", "e2", "ana", "2026-01-06", "2026-01-07", "2"), ("", "e1", "bo", "2026-01-05", "", "")],
    )
    done = take_in_events(
        tmp_path, path="log.csv", customer="who", time="when", recorded="known", id="id", values=["amount"],
        categories=["shop"],
    )  # fmt: skip
    table = done.history.events["login"]
    assert logins(done) == [
        ("bo", JAN5, None, "e1", None, None),
        ("ana", JAN6, day("2026-01-07"), "e2", 2.0, "s1"),
    ]
    schema = pq.read_schema(table.paths[0])
    assert [(field.name, str(field.type)) for field in schema] == [
        ("customer_id", "string"),
        ("time", "timestamp[us]"),
        ("recorded", "timestamp[us]"),
        ("id", "string"),
        ("amount", "double"),
        ("shop", "string"),
    ]
    assert (table.rows, table.customers, table.has_recorded, table.has_id) == (2, 2, True, True)
    assert (str(table.first), str(table.last)) == ("2026-01-05 00:00:00+00:00", "2026-01-06 00:00:00+00:00")
    assert done.history.watermark == table.last


def test_events_are_ordered_by_time(tmp_path: Path) -> None:
    times = [f"2026-01-{n * 11 % 28 + 1:02d} {n % 24:02d}:00" for n in range(500)]
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [(f"c{n}", time) for n, time in enumerate(times)])
    stored = [time for (time,) in logins(take_in_events(tmp_path, path="log.csv"), "time")]
    assert stored == sorted(stored)
    assert len(stored) == 500


def test_times_without_an_offset_are_read_in_the_zone_of_the_project(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", "2026-01-05 01:00"), ("b", "2026-01-05T01:00Z")])
    settings = document({"login": {"path": "log.csv"}}, project={"timezone": "Asia/Tokyo"})
    done = take_in(tmp_path, settings)
    assert logins(done) == [("a", day("2026-01-04T16:00")), ("b", day("2026-01-05T01:00"))]
    (warning,) = only_report(done).warnings
    assert warning.startswith("column 'time' holds times of several kinds: 1 without an offset and 1 with an offset;")
    assert warning.endswith("those without an offset were read in Asia/Tokyo")


def test_times_of_one_kind_need_no_warning(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", "2026-01-05"), ("b", "2026-01-05 10:00")])
    assert only_report(take_in_events(tmp_path, path="log.csv")).warnings == ()


# An id occurs once.

HEADER = ("customer_id", "time", "id", "amount", "recorded")


def with_ids(tmp_path: Path, rows: Sequence[tuple[str, ...]], **more: Any) -> Any:
    write_csv(tmp_path / "log.csv", HEADER, rows)
    return take_in_events(tmp_path, path="log.csv", id="id", values=["amount"], recorded="recorded", **more)


def test_the_same_row_again_is_a_duplicate_that_does_not_count_as_bad(tmp_path: Path) -> None:
    rows = [("a", "2026-01-05", "e1", "1", "2026-01-06"), ("a", "2026-01-05", "e1", "1", "2026-01-09")]
    done = with_ids(tmp_path, [*rows, rows[0], ("a", "2026-01-06", "e2", "1", "")])
    report = only_report(done)
    assert report.rejected == {"duplicate id": 2}
    assert (report.tolerated, report.reject_share, report.accepted) == (2, 0.0, 2)
    # Of the same event delivered twice, what was known first counts.
    assert logins(done, "id, recorded") == [("e1", JAN6), ("e2", None)]
    assert [row["value"] for row in rejects(report)] == ["e1", "e1"]
    assert balanced(report)


def test_an_id_with_other_content_is_bad_and_the_first_is_kept(tmp_path: Path) -> None:
    rows = [
        ("b", "2026-01-06", "e1", "1", ""),
        ("a", "2026-01-05", "e1", "1", ""),
        ("a", "2026-01-05", "e1", "2", ""),
        ("a", "2026-01-05", "e1", "1", ""),
    ]
    for order in (rows, rows[::-1]):
        done = with_ids(tmp_path, order)
        report = only_report(done)
        assert report.rejected == {"duplicate id": 1, "duplicate id, other content": 2}
        assert report.reject_share == 0.5
        assert logins(done, "customer_id, time, id, amount") == [("a", JAN5, "e1", 1.0)]


def test_a_rejected_row_is_no_duplicate(tmp_path: Path) -> None:
    done = with_ids(tmp_path, [("", "2026-01-05", "e1", "1", ""), ("a", "2026-01-06", "e1", "1", "")])
    assert only_report(done).rejected == {"missing customer": 1}


def test_without_an_id_nothing_is_a_duplicate(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", HEADER, [("a", "2026-01-05", "e1", "1", "")] * 3)
    assert only_report(take_in_events(tmp_path, path="log.csv", values=["amount"])).accepted == 3


# One source, several types.


def shared(tmp_path: Path, kinds: list[str], **sections: Any) -> Any:
    write_csv(tmp_path / "log.csv", ("customer_id", "time", "kind"), [("a", "2026-01-05", kind) for kind in kinds])
    events = {name: {"path": "log.csv", "type": "kind", **section} for name, section in sections.items()}
    return take_in(tmp_path, document(events))


def test_one_source_is_divided_by_its_type_column(tmp_path: Path) -> None:
    done = shared(tmp_path, ["login", "LOGIN", "order", "x", "order", "", "x", "y"], login={}, buy={"type_is": "order"})
    assert {name: table.rows for name, table in done.history.events.items()} == {"login": 1, "buy": 2}
    assert [report.rows for report in done.report.sources] == [1, 2]
    assert done.report.other_types == {"log.csv, column kind": {"x": 2, "(no type)": 1, "LOGIN": 1, "y": 1}}
    assert done.report.rows == 8


def test_many_other_types_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    done = shared(tmp_path, ["login", *(f"t{n:02d}" for n in range(25))], login={})
    (others,) = done.report.other_types.values()
    assert len(others) == 21
    assert others["5 further types"] == 5


def test_a_type_that_is_nearly_spelled_like_one_nobody_names_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no row has the type 'logn'.*Did you mean 'login'"):
        shared(tmp_path, ["login", "order"], logn={}, order={})


def test_a_type_that_does_not_occur_is_an_empty_table(tmp_path: Path) -> None:
    done = shared(tmp_path, ["login"], login={}, cancellation={})
    table = done.history.events["cancellation"]
    assert (table.rows, table.first, table.last) == (0, None, None)
    assert rows_of(table.paths) == []


NASTY = [
    "place",
    "file",
    "row",
    "fault",
    "offending",
    "content",
    "r0",
    "v1",
    "f1",
    "u0",
    "w0",
    "is_spread",
    "nth",
    "select",
]


@pytest.mark.parametrize("lines", [False, True])
def test_columns_may_have_any_name(tmp_path: Path, lines: bool) -> None:
    header = ("customer_id", "time", "id", *NASTY, 'say "hi"', "naïve, or not", "%s")
    rows = [("a", "2026-01-05", f"e{n}", *[str(n)] * (len(header) - 3)) for n in (1, 2, 3, 4)]
    write_csv(tmp_path / "log.csv", header, [*rows, rows[3]])
    where = " AND ".join('"{}" > 1'.format(name.replace('"', '""')) for name in header[3:])
    done = take_in_events(
        tmp_path, path="log.csv", id="id", lines=lines, where=where, values=header[3:8], categories=header[8:]
    )
    count = len(header) - 8
    expected = [("a", JAN5, f"e{n}", *[float(n)] * 5, *[str(n)] * count) for n in (2, 3, 4)]
    if lines:
        expected[2] = ("a", JAN5, "e4", *[8.0] * 5, *["4"] * count)
    assert sorted(logins(done)) == expected
    assert only_report(done).rejected == ({} if lines else {"duplicate id": 1})
    assert balanced(only_report(done))


# What does not fit together.


def test_an_unknown_column_is_an_error_that_lists_the_columns(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "Time"), [("a", "2026-01-05")])
    with pytest.raises(NotFoundError) as caught:
        take_in_events(tmp_path, path="log.csv")
    assert "events.login.time = 'time', but log.csv has no such column. Did you mean 'Time'?" in str(caught.value)
    assert caught.value.ids["available"] == ["customer_id", "Time"]


def test_one_column_cannot_be_value_and_category(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", HEADER, [("a", "2026-01-05", "e1", "1", "")])
    with pytest.raises(ConfigError, match="uses the name 'amount' twice"):
        take_in_events(tmp_path, path="log.csv", values=["amount"], categories=["amount"])


def test_a_value_named_like_a_column_of_tenure_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "at", "time"), [("a", "2026-01-05", "1")])
    with pytest.raises(ConfigError, match="uses the name 'time' twice, or for something that tenure calls so"):
        take_in_events(tmp_path, path="log.csv", time="at", values=["time"])


def test_a_source_without_rows_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [])
    with pytest.raises(InputError, match=r"log\.csv has no rows"):
        take_in_events(tmp_path, path="log.csv")


def test_a_condition_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", ("customer_id", "time"), [("a", "2026-01-05")])
    with pytest.raises(InputError, match="leaves none of 1 rows"):
        take_in_events(tmp_path, path="log.csv", where="customer_id = 'b'")


@pytest.mark.parametrize(("where", "problem"), [("n + 1", "gives BIGINT"), ("n LIKE 3", "does not fit")])
def test_a_condition_that_is_none_is_an_error(tmp_path: Path, where: str, problem: str) -> None:
    table = pa.table({"customer_id": ["a"], "time": ["2026-01-05"], "n": [1]})
    with pytest.raises(ConfigError, match=problem):
        take_in_events(tmp_path, path="log", tables={"log": table}, where=where)
