from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tenure.core.errors import NotFoundError, StateError
from tests.source.project import balanced, day, logins, only_report, take_in_events

pytestmark = pytest.mark.postgres

JAN5 = day("2026-01-05")


def run_sql(url: str, *statements: str) -> None:
    address = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        for statement in statements:
            connection.cursor().execute(statement.encode())


def read(tmp_path: Path, url: str, table: str = "log", **more: Any) -> Any:
    return take_in_events(tmp_path, path=url, table=table, **more)


def test_values_of_every_type_are_read_exactly(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE log (customer_id numeric(20), time timestamptz, n float8, m numeric, ok boolean, shop text, "
        "day date)",
        "INSERT INTO log VALUES (17850, '2026-01-05 02:00+02', 0.1, 1e-10, true, '', '2026-01-05'), "
        "(99999999999999999999, '2026-01-05 00:00Z', 1e-300, 12.5, false, E'two\\nlines, \"q\" \\\\N', NULL), "
        "(1, '2026-01-05 00:00Z', NULL, NULL, NULL, NULL, NULL), (2, '2026-01-05 00:00Z', 1, 1, NULL, E'\\\\N', NULL)",
    )
    done = read(tmp_path, postgres_url, values=["n", "m", "ok"], categories=["shop", "day"])
    assert sorted(logins(done), key=lambda row: len(str(row[0])) * 100 + int(str(row[0])[0])) == [
        ("1", JAN5, None, None, None, None, None),
        ("2", JAN5, 1.0, 1.0, None, "\\N", None),
        ("17850", JAN5, 0.1, 1e-10, 1.0, "", "2026-01-05"),
        ("99999999999999999999", JAN5, 1e-300, 12.5, 0.0, 'two\nlines, "q" \\N', None),
    ]
    assert balanced(only_report(done))


def test_line_endings_inside_text_arrive(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE log (customer_id text, time timestamp)",
        "INSERT INTO log SELECT E'a\\r\\nb' || n || E'\\rc\\nd', '2026-01-05' FROM generate_series(1, 1000) AS n",
    )
    stored = {customer for (customer,) in logins(read(tmp_path, postgres_url), "customer_id")}
    assert stored == {f"a\r\nb{n}\rc\nd" for n in range(1, 1001)}


def test_times_that_no_calendar_has_are_rejects(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE log (customer_id text, time timestamp)",
        "INSERT INTO log VALUES ('a', 'infinity'), ('b', '-infinity'), ('c', '0044-03-15 BC'), ('d', '12026-01-01'), "
        "('e', NULL), ('f', '2026-01-05'), ('g', '1970-01-01'), ('h', '2200-01-01')",
    )
    report = only_report(read(tmp_path, postgres_url))
    assert report.accepted == 1
    assert report.rejected == {
        "unreadable time": 4,
        "missing time": 1,
        "time in the future": 1,
        "time out of range": 1,
    }


def test_not_a_number_is_a_reject(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE log (customer_id text, time date, n float8, m numeric)",
        "INSERT INTO log VALUES ('a', '2026-01-05', 'NaN', 1), ('b', '2026-01-05', 1, 'NaN'), "
        "('c', '2026-01-05', '-Infinity', 1)",
    )
    report = only_report(read(tmp_path, postgres_url, values=["n", "m"]))
    assert report.rejected == {"n is not finite": 2, "m is not finite": 1}


def test_rows_of_one_absent_value_are_rows(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        'CREATE TABLE log (customer_id text, "time" text)',
        "INSERT INTO log VALUES (NULL, NULL), (NULL, NULL), ('a', '2026-01-05')",
    )
    report = only_report(read(tmp_path, postgres_url))
    assert (report.rows, report.rejected) == (3, {"missing customer": 2})


def test_a_condition_is_applied_to_typed_columns(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE log (customer_id text, time timestamptz, n integer, ok boolean, price numeric)",
        "INSERT INTO log SELECT 'c' || n, '2026-01-05', n, n % 2 = 0, n FROM generate_series(1, 100) AS n",
    )
    where = "n > 9 AND ok AND price < 50 AND time >= DATE '2026-01-01'"
    report = only_report(read(tmp_path, postgres_url, where=where))
    assert (report.rows, report.accepted) == (100, 20)


def test_schemas_views_and_odd_names_are_read(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        'CREATE SCHEMA "Sales"',
        'CREATE TABLE "Sales"."my ""log""" ("the customer" text, "when" date, "%s" integer)',
        'INSERT INTO "Sales"."my ""log""" VALUES (\'a\', \'2026-01-05\', 1)',
        'CREATE VIEW log AS SELECT "the customer" AS customer_id, "when" AS time FROM "Sales"."my ""log"""',
    )
    assert logins(read(tmp_path, postgres_url)) == [("a", JAN5)]
    done = read(tmp_path, postgres_url, 'Sales.my "log"', customer="the customer", time="when", values=["%s"])
    assert logins(done) == [("a", JAN5, 1.0)]


def test_many_rows_are_streamed_and_nothing_is_left_behind(tmp_path: Path, postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE log (customer_id bigint, time timestamp)",
        "INSERT INTO log SELECT n % 1000, timestamp '2026-01-01' + n * interval '1 second' "
        "FROM generate_series(1, 200000) AS n",
    )
    done = read(tmp_path, postgres_url)
    assert only_report(done).accepted == 200_000
    assert done.history.events["login"].customers == 1000
    assert list((tmp_path / ".tenure" / "spill").iterdir()) == []


def test_an_unknown_table_names_the_nearest(tmp_path: Path, postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE orders (id integer)")
    with pytest.raises(NotFoundError, match=r"has no table 'order'\. Did you mean 'orders'"):
        read(tmp_path, postgres_url, "order")


def test_a_server_that_is_not_there_is_an_error_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be read") as caught:
        read(tmp_path, "postgresql://ana:secret@127.0.0.1:1/shop")
    assert caught.value.retryable
    assert "secret" not in str(caught.value)
