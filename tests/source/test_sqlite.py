from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tenure.core.errors import ConfigError, InputError, NotFoundError
from tests.source.project import day, logins, only_report, take_in_events

JAN5 = day("2026-01-05")


def database(tmp_path: Path, rows: Iterable[tuple[Any, ...]], create: str = "log (customer_id, time, n)") -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute(f"CREATE TABLE {create}")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?)", rows)
        connection.commit()


def read(tmp_path: Path, table: str = "log", path: str = "sqlite:///shop.db", **more: Any) -> Any:
    return take_in_events(tmp_path, path=path, table=table, values=["n"], **more)


def test_values_of_every_type_are_read_exactly(tmp_path: Path) -> None:
    noon = 1767614400
    rows = [
        ("00123", "2026-01-05 12:00", 0.1),
        (17850, noon, 3),
        (17850.0, float(noon), "2.5"),
        (b"Zo\xc3\xab", noon * 1000, None),
        (2**62, "2026-01-05T12:00:00Z", 1e-300),
    ]
    database(tmp_path, rows)
    stored = logins(read(tmp_path))
    assert sorted(stored, key=str) == sorted(
        [
            ("00123", day("2026-01-05T12:00"), 0.1),
            ("17850", day("2026-01-05T12:00"), 3.0),
            ("17850", day("2026-01-05T12:00"), 2.5),
            ("Zoë", day("2026-01-05T12:00"), None),
            (str(2**62), day("2026-01-05T12:00"), 1e-300),
        ],
        key=str,
    )


def test_a_word_in_a_column_of_numbers_is_a_reject(tmp_path: Path) -> None:
    rows = [
        ("a", "2026-01-05", 1),
        ("b", "2026-01-05", "many"),
        (None, "2026-01-05", 1),
        ("c", "2026-01-05", float("inf")),
    ]
    database(tmp_path, rows, "log (customer_id TEXT, time TEXT, n REAL)")
    report = only_report(read(tmp_path))
    assert report.rejected == {"missing customer": 1, "n is not a number": 1, "n is not finite": 1}
    assert report.origin == "shop.db, table log"


def test_more_rows_than_one_batch_are_read(tmp_path: Path) -> None:
    database(tmp_path, ((f"c{n}", "2026-01-05", n) for n in range(120_001)))
    report = only_report(read(tmp_path, where="n >= 20000"))
    assert (report.rows, report.filtered, report.accepted) == (120_001, 20_000, 100_001)


def test_views_are_tables_too(tmp_path: Path) -> None:
    database(tmp_path, [("a", "2026-01-05", 1)])
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute('CREATE VIEW "my ""log""" AS SELECT * FROM log')
    assert logins(read(tmp_path, 'my "log"')) == [("a", JAN5, 1.0)]


def test_the_database_is_not_written_to(tmp_path: Path) -> None:
    database(tmp_path, [("a", "2026-01-05", 1)])
    before = (tmp_path / "shop.db").read_bytes()
    read(tmp_path)
    assert (tmp_path / "shop.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tenure", "shop.db"]


def test_what_was_read_is_read_again(tmp_path: Path) -> None:
    database(tmp_path, [("a", "2026-01-05", 1)])
    first = read(tmp_path).history.fingerprint
    assert read(tmp_path).history.fingerprint == first
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("INSERT INTO log VALUES ('b', '2026-01-05', 2)")
        connection.commit()
    assert read(tmp_path).history.fingerprint != first


def test_an_unknown_table_names_the_nearest(tmp_path: Path) -> None:
    database(tmp_path, [])
    with pytest.raises(NotFoundError, match=r"has no table 'logs'\. Did you mean 'log'"):
        read(tmp_path, "logs")


def test_a_missing_file_names_the_near_ones(tmp_path: Path) -> None:
    database(tmp_path, [])
    with pytest.raises(NotFoundError, match=r"did you mean 'shop\.db'"):
        read(tmp_path, path="sqlite:///shap.db")


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="cannot be read as a SQLite database"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("path", "table", "problem"),
    [
        ("sqlite:///shop.db", None, "needs a table"),
        ("postgresql://ana:secret@db/shop", None, "needs a table"),
        ("mysql://ana:secret@db/shop", "log", "'mysql' is not supported. Known: sqlite, postgresql"),
        ("log.csv", "log", "is not the URL of one"),
        ("postgresql://ana:secret@db:port/shop", "log", "is not a database URL"),
    ],
)
def test_urls_and_tables_go_together(tmp_path: Path, path: str, table: str | None, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        take_in_events(tmp_path, path=path, table=table)
    assert "secret" not in str(caught.value)
