from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from tenure.core.database import open_database
from tenure.core.errors import ConfigError, StateError


def test_sqlite_is_durable_and_its_path_starts_at_the_project(tmp_path: Path) -> None:
    engine = open_database("sqlite:///state/tenure.db", root=tmp_path)
    with engine.connect() as connection:
        modes = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert modes == ["wal", 2]
    assert (tmp_path / "state" / "tenure.db").is_file()


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    other = sa.create_engine(f"sqlite:///{tmp_path / 'tenure.db'}", connect_args={"timeout": 0.05})
    with engine.begin(), other.connect() as late, pytest.raises(sa.exc.OperationalError, match="locked"):
        late.exec_driver_sql("BEGIN IMMEDIATE")
    other.dispose()


@pytest.mark.parametrize(("url", "message"), [("nonsense", "not a database URL"), ("mysql://a/b", "'mysql' is not")])
def test_an_unusable_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_database(url)


@pytest.mark.parametrize("url", ["postgresql://ana:secret@db:port/shop", "postgresql//ana:secret@db/shop"])
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="not a database URL") as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(StateError) as caught:
        open_database("postgresql+psycopg://ana:secret@127.0.0.1:9/none")
    assert "secret" not in str(caught.value)
    assert caught.value.retryable


def test_a_server_that_says_nothing_is_not_waited_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        reading = open_database(f"postgresql+psycopg://ana:secret@{address}/none", reading=True)
        with pytest.raises(sa.exc.OperationalError, match="timeout"):
            reading.connect()
        reading.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("reading", "query", "expected"),
    [
        (False, {}, {"connect_timeout": "10", "keepalives_idle": "30"}),
        (True, {}, {"connect_timeout": "2", "keepalives_idle": "2"}),
        (True, {"keepalives_idle": "7"}, {"connect_timeout": "2", "keepalives_idle": "7"}),
    ],
)
def test_a_network_that_swallows_everything_is_found_out(
    postgres_url: str, reading: bool, query: dict[str, str], expected: dict[str, str]
) -> None:
    url = sa.make_url(postgres_url).update_query_dict(query)
    engine = open_database(url.render_as_string(hide_password=False), reading=reading)
    with engine.connect() as connection:
        told = connection.connection.dbapi_connection.info.get_parameters()  # type: ignore[union-attr]
    assert {name: told[name] for name in expected} == expected
    engine.dispose()


@pytest.mark.postgres
def test_postgres_is_opened_by_url(postgres_url: str) -> None:
    engine = open_database(postgres_url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_who_reads_writes_nothing_and_makes_nobody_wait(tmp_path: Path) -> None:
    engine = open_database("sqlite:///tenure.db", root=tmp_path)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (n INTEGER)")
        connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
    reading = open_database("sqlite:///tenure.db", root=tmp_path, reading=True)
    count = "SELECT count(*) FROM kept"
    with reading.begin() as early, engine.begin() as writer:
        assert early.exec_driver_sql(count).scalar() == 1
        writer.exec_driver_sql("INSERT INTO kept VALUES (2)")  # while somebody reads
        with reading.begin() as late:  # while somebody writes
            assert late.exec_driver_sql(count).scalar() == 1
    with reading.begin() as connection, pytest.raises(sa.exc.OperationalError, match="readonly"):
        connection.exec_driver_sql("INSERT INTO kept VALUES (3)")
    with reading.begin() as connection:
        assert connection.exec_driver_sql(count).scalar() == 2
    reading.dispose()
    engine.dispose()


def test_who_reads_does_not_wait_long_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenure.core.database.READING_SECONDS", 0.05)
    open_database("sqlite:///tenure.db", root=tmp_path).dispose()
    reading = open_database("sqlite:///tenure.db", root=tmp_path, reading=True)
    count = "SELECT count(*) FROM sqlite_master"
    with closing(sqlite3.connect(tmp_path / "tenure.db", isolation_level=None)) as owner:
        owner.execute("PRAGMA locking_mode=EXCLUSIVE")
        owner.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sa.exc.OperationalError, match="locked"), reading.begin() as connection:
            connection.exec_driver_sql(count)
    with reading.begin() as connection:
        assert connection.exec_driver_sql(count).scalar() is not None
    reading.dispose()


def test_who_reads_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no database"):
        open_database("sqlite:///state/tenure.db", root=tmp_path, reading=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgres
def test_who_reads_postgres_writes_nothing_and_does_not_wait_long(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure.core.database.READING_SECONDS", 0.05)
    engine = open_database(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (n INTEGER)")
    url = sa.make_url(postgres_url).update_query_dict({"options": "-c application_name=shop"})
    reading = open_database(url.render_as_string(hide_password=False), reading=True)
    with reading.begin() as connection, pytest.raises(sa.exc.InternalError, match="read-only"):
        connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
    with engine.begin() as owner:
        owner.exec_driver_sql("LOCK TABLE kept IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(sa.exc.OperationalError, match="timeout"), reading.begin() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM kept")
    with reading.begin() as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar() == "shop"
    reading.dispose()
    engine.dispose()
