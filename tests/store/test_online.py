"""A store is opened by its URL, and what cannot be one says why."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from tenure.core.errors import ConfigError, MissingExtraError, UnreachableError
from tenure.source.log import partition_of
from tenure.store.online import SCHEMES, open_online


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(ConfigError) as refused:
        open_online("mongodb://user:hidden@host", project="shop", partitions=4)
    assert refused.value.ids["known"] == SCHEMES
    assert all(scheme in str(refused.value) for scheme in ("'mongodb'", "redis", "sqlite"))
    assert "hidden" not in str(refused.value)


def test_a_scheme_that_was_mistyped_is_recognised() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'redis'"):
        open_online("reddis://host", project="shop", partitions=4)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "nan", "inf", ""])
def test_a_timeout_that_is_none_is_refused(timeout: str) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        open_online(f"redis://127.0.0.1:1/0?timeout={timeout}", project="shop", partitions=4)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:online.db"])
def test_a_store_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no SQLite file"):
        open_online(url, project="shop", partitions=4)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:99999999/0", "redis://127.0.0.1:1/0?db=x", "redis://127.0.0.1:1/0?colour=red", "redis://[::1"],
)
def test_a_redis_url_that_is_wrong_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_online(url, project="shop", partitions=4)


@pytest.mark.parametrize("url", ["postgresql:name", "postgresql+psycopg://host:port/name"])
def test_a_postgresql_url_that_is_wrong_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_online(url, project="shop", partitions=4)


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_server_that_is_not_there_is_unreachable(scheme: str) -> None:
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:1") as refused:
        open_online(f"{scheme}://user:hidden@127.0.0.1:1", project="shop", partitions=4)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("redis://127.0.0.1:1", "redis", "redis"),
        ("redis://127.0.0.1:1", "hiredis", "redis"),
        ("postgresql+psycopg://127.0.0.1:1/name", "psycopg", "postgres"),
    ],
)
def test_a_missing_package_names_its_extra(url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'tenure\[{extra}\]'"):
        open_online(url, project="shop", partitions=4)


@pytest.mark.parametrize("how", ["crc32", "murmur2"])
def test_customers_are_where_the_log_has_them(tmp_path: Path, how: str) -> None:
    customers = [f"customer-{number}" for number in range(50)]
    with closing(open_online("sqlite:///a.db", tmp_path, project="shop", partitions=7, partitioner=how)) as store:
        assert [kept.partition for kept in store.read(customers)] == [partition_of(name, 7, how) for name in customers]
