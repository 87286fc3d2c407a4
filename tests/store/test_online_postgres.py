"""PostgreSQL ends connections, locks rows, or is not there: the error says so, and a later call works."""

from __future__ import annotations

from contextlib import closing

import pytest
import sqlalchemy as sa

from tenure.core.errors import FencedError, StateError, UnreachableError
from tenure.store.online import open_online
from tenure.store.protocol import OnlineStore, Update

pytestmark = pytest.mark.postgres


def open_store(url: str, timeout: float = 30.0) -> OnlineStore:
    joint = "&" if "?" in url else "?"
    return open_online(f"{url}{joint}timeout={timeout}", project="shop", partitions=4)


def run_sql(url: str, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def test_ended_connections_are_replaced(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        mark = store.apply(0, store.claim(0), Update(1, {}))
        run_sql(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        with pytest.raises(UnreachableError):
            store.marks()
        assert store.marks() == {0: mark}
        assert store.apply(0, mark, Update(2, {})).position == 2


def test_a_locked_partition_is_given_up_in_time(postgres_url: str) -> None:
    with closing(open_store(postgres_url, timeout=0.3)) as store:
        mark = store.apply(0, store.claim(0), Update(1, {}))
        engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT * FROM online_marks FOR UPDATE")
            with pytest.raises(UnreachableError, match=r"0\.3 seconds"):
                store.apply(0, mark, Update(2, {}))
            assert store.marks() == {0: mark}
        assert store.apply(0, mark, Update(2, {})).position == 2


def test_an_emptied_table_is_noticed(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        kept = store.read(["x"])[0]
        mark = store.apply(kept.partition, store.claim(kept.partition), Update(1, {}, {"x": b"s"}))
        run_sql(postgres_url, "TRUNCATE online_marks")
        assert store.read(["x"])[0].mark is None
        assert store.read(["x"])[0].state is None
        with pytest.raises(FencedError, match="emptied"):
            store.apply(kept.partition, mark, Update(2, {}))


def test_a_dropped_table_is_said(postgres_url: str) -> None:
    with closing(open_store(postgres_url)) as store:
        run_sql(postgres_url, "DROP TABLE online_states")
        with pytest.raises(StateError, match="online_states"):
            store.size(0)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(UnreachableError) as refused:
        open_store("postgresql+psycopg://user:hidden@127.0.0.1:1/name", timeout=2)
    assert "hidden" not in str(refused.value)
