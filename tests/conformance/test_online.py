"""Every online store keeps every promise, and the checks find one that breaks them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenure.store.online import open_online
from tenure.store.protocol import Kept, Mark, OnlineStore, Update
from tenure.testing.online import CHECKS, Opener, check_online_store
from tests.redis_server import RedisServer, cluster, running

Check = Callable[[Opener], None]
every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
names = (f"project {number} {{}}:/" for number in itertools.count())


def opener(url: str, root: Path | None = None) -> Opener:
    project = next(names)
    return lambda: open_online(url, root, project=project, partitions=4)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="module")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with cluster(tmp_path_factory.mktemp("cluster")) as server:
        yield server


@every_check
def test_sqlite_keeps_its_promises(check: Check, tmp_path: Path) -> None:
    check(opener("sqlite:///deep/online.db", tmp_path))


@every_check
def test_redis_keeps_its_promises(check: Check, redis_server: RedisServer) -> None:
    check(opener(redis_server.url))


@every_check
def test_a_redis_cluster_keeps_its_promises(check: Check, redis_cluster: RedisServer) -> None:
    check(opener(redis_cluster.url))


@pytest.mark.postgres
@every_check
def test_postgresql_keeps_its_promises(check: Check, postgres_url: str) -> None:
    check(opener(postgres_url))


class Broken:
    """An honest store with one flaw."""

    def __init__(self, store: OnlineStore, flaw: str) -> None:
        self.store, self.flaw = store, flaw

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    @property
    def name(self) -> str:
        return self.store.name

    @property
    def partitions(self) -> int:
        return self.store.partitions

    def claim(self, partition: int) -> Mark:
        mark = self.store.marks().get(partition) if self.flaw == "claims nothing" else None
        return mark or self.store.claim(partition)

    def apply(self, partition: int, mark: Mark, update: Update) -> Mark:
        stored = self.store.marks().get(partition)
        if stored and self.flaw == "no fence":
            mark = stored
        if stored and self.flaw == "any position":
            mark = replace(mark, position=stored.position)
        if self.flaw == "half a write":
            mark = self.store.apply(partition, mark, replace(update, states={}, position=mark.position))
        if self.flaw == "forgets nothing":
            update = replace(update, forget=None)
        return self.store.apply(partition, mark, update)

    def reset(self, partition: int, note: Mapping[str, Any]) -> Mark:
        if self.flaw != "resets nothing":
            return self.store.reset(partition, note)
        mark = self.store.claim(partition)
        return self.store.apply(partition, mark, Update(None, note))

    def states(self, partition: int, customers: Sequence[str]) -> list[bytes | None]:
        found = self.store.states(partition, customers)
        return [state or None for state in found] if self.flaw == "no empty states" else found

    def seen(self, partition: int) -> Mapping[int, bytes]:
        found = self.store.seen(partition)
        return {bucket: ids[-80_000:] for bucket, ids in found.items()} if self.flaw == "loses ids" else found

    def read(self, customers: Sequence[str]) -> list[Kept]:
        found = self.store.read(customers)
        return list({kept.customer_id: kept for kept in found}.values()) if self.flaw == "answers once" else found

    def scan(self, partition: int, cursor: str | None, limit: int) -> tuple[list[tuple[str, bytes]], str | None]:
        page, following = self.store.scan(partition, cursor, limit)
        return (page[1:], following) if self.flaw == "skips" and cursor else (page, following)


FLAWS = [
    "claims nothing",
    "no fence",
    "any position",
    "half a write",
    "forgets nothing",
    "resets nothing",
    "no empty states",
    "loses ids",
    "answers once",
    "skips",
]


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_store_that_breaks_a_promise_is_found(flaw: str, tmp_path: Path) -> None:
    def place() -> Opener:
        honest = opener(f"sqlite:///{len(list(tmp_path.iterdir()))}.db", tmp_path)
        return lambda: Broken(honest(), flaw)

    with pytest.raises(AssertionError):
        check_online_store(place)


def test_the_honest_twin_of_the_broken_stores_passes(tmp_path: Path) -> None:
    def place() -> Opener:
        honest = opener(f"sqlite:///{len(list(tmp_path.iterdir()))}.db", tmp_path)
        return lambda: Broken(honest(), "none")

    check_online_store(place)
