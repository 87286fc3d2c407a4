"""Redis is killed, emptied, slow, deaf or full: nothing is ever half there, and nobody gets another caller's answer."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tenure.core.errors import ConfigError, FencedError, StateError, UnreachableError
from tenure.store.online import open_online
from tenure.store.protocol import Mark, OnlineStore, Update
from tests.redis_server import RedisServer, cluster, cluster_of_two, running, wait_for

CUSTOMERS = [f"customer-{n}" for n in range(20_000)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path, "--appendfsync", "always")) as server:
        yield server


def open_store(server: RedisServer, timeout: float = 10.0) -> OnlineStore:
    return open_online(f"{server.url}?timeout={timeout}", project="shop", partitions=4)


def of_partition(store: OnlineStore, partition: int, count: int) -> list[str]:
    found = [kept.customer_id for kept in store.read(CUSTOMERS) if kept.partition == partition]
    return found[:count]


def fits(store: OnlineStore, customers: list[str]) -> int | None:
    """Every state tells the position it was written at, and it is that of the mark; gives the position."""
    found = store.read(customers)
    positions = {kept.mark.position if kept.mark else None for kept in found}
    [position] = positions
    states = {kept.state for kept in found}
    assert states == {None if position is None else b"%d" % position}
    assert store.seen(0).get(1, b"") == b"".join(b"%08d" % n for n in range(1, (position or 0) + 1))
    return position


def write_until_it_fails(store: OnlineStore, customers: list[str], mark: Mark) -> int:
    """Apply as fast as possible; gives the last position that was confirmed."""
    confirmed = mark.position or 0
    with suppress(StateError):
        while True:
            position = confirmed + 1
            update = Update(position, {}, dict.fromkeys(customers, b"%d" % position), {1: b"%08d" % position})
            mark = store.apply(0, mark, update)
            confirmed = position
    return confirmed


def test_a_killed_server_comes_back_with_whole_writes(server: RedisServer) -> None:
    luck = random.Random(7)
    with closing(open_store(server)) as store:
        customers = of_partition(store, 0, 2_000)
        for _ in range(6):
            mark = store.claim(0)
            before = fits(store, customers)
            assert mark.position == before
            killer = threading.Timer(luck.uniform(0.01, 0.15), server.kill)
            killer.start()
            confirmed = write_until_it_fails(store, customers, mark)
            killer.join()
            with pytest.raises(UnreachableError):
                store.claim(0)
            server.start()
            after = fits(store, customers)
            # What the server confirmed was on disk; one more may have been.
            assert (after or 0) in {confirmed, confirmed + 1}


def test_a_server_that_forgot_the_last_moment_goes_back_as_a_whole(tmp_path: Path) -> None:
    """With the usual `appendfsync everysec` what was confirmed may be lost: states, ids and position together."""
    with running(RedisServer(tmp_path)) as server, closing(open_store(server)) as store:
        customers = of_partition(store, 0, 2_000)
        for delay in (0.05, 0.1, 0.15):
            mark = store.claim(0)
            killer = threading.Timer(delay, server.kill)
            killer.start()
            confirmed = write_until_it_fails(store, customers, mark)
            killer.join()
            server.start()
            assert (fits(store, customers) or 0) <= confirmed + 1


def test_a_flushed_server_is_noticed(server: RedisServer) -> None:
    with closing(open_store(server)) as store:
        [customer] = of_partition(store, 0, 1)
        mark = store.apply(0, store.claim(0), Update(5, {}, {customer: b"s"}))
        store.publish({customer: b"r"})
        server.say("FLUSHALL")
        [kept] = store.read([customer])
        assert (kept.mark, kept.state, kept.row) == (None, None, None)
        assert store.marks() == {}
        assert store.size(0) == 0
        with pytest.raises(FencedError, match="emptied"):
            store.apply(0, mark, Update(6, {}, {customer: b"s"}))
        claimed = store.claim(0)
        assert claimed.position is None
        assert claimed.epoch != mark.epoch


def test_a_slow_server_is_given_up_in_time_and_used_again(server: RedisServer) -> None:
    with closing(open_store(server, timeout=0.2)) as store:
        [customer] = of_partition(store, 0, 1)
        mark = store.apply(0, store.claim(0), Update(5, {}, {customer: b"5"}))
        server.say("CLIENT", "PAUSE", 2_000, "ALL")
        for ask in (store.marks, lambda: store.read([customer]), lambda: store.claim(0), lambda: store.size(0)):
            with pytest.raises(UnreachableError, match=r"0\.2 seconds"):
                ask()
        with pytest.raises(UnreachableError):
            store.apply(0, mark, Update(6, {}, {customer: b"6"}))
        server.say("CLIENT", "UNPAUSE")
        [kept] = store.read([customer])
        assert kept.mark is not None
        assert kept.state == b"%d" % (kept.mark.position or 0)
        assert store.claim(0).position == kept.mark.position


def test_a_write_whose_answer_was_lost_is_told_by_a_claim(server: RedisServer) -> None:
    with closing(open_store(server, timeout=0.3)) as store, ThreadPoolExecutor(1) as thread:
        customers = of_partition(store, 0, 2_000)
        mark, unknown = store.claim(0), 0
        for position in range(1, 7):
            update = Update(position, {}, dict.fromkeys(customers, b"%d" % position), {1: b"%08d" % position})
            pause = thread.submit(server.say, "DEBUG", "SLEEP", 0.5)
            time.sleep(0.002 * position**2)  # sometimes it sleeps before, sometimes in the middle
            try:
                mark = store.apply(0, mark, update)
            except UnreachableError:
                pause.result()
                mark = store.claim(0)
                assert mark.position in {position, position - 1 or None}
                if mark.position != position:
                    mark = store.apply(0, mark, update)
                unknown += 1
            pause.result()
            assert fits(store, customers) == position
        assert unknown


def test_an_unreachable_server_is_used_again_when_it_is_back(server: RedisServer) -> None:
    with closing(open_store(server, timeout=0.3)) as store:
        [customer] = of_partition(store, 0, 1)
        mark = store.apply(0, store.claim(0), Update(5, {}, {customer: b"s"}))
        server.kill(signal.SIGSTOP)
        with pytest.raises(UnreachableError, match="did not answer within"):
            store.read([customer])
        server.kill(signal.SIGCONT)
        assert store.read([customer])[0].mark == mark
        server.kill()
        with pytest.raises(UnreachableError):
            store.read([customer])
        with pytest.raises(UnreachableError):
            open_store(server)
        server.start()
        assert store.apply(0, mark, Update(6, {})).position == 6


def test_a_server_that_was_restarted_meanwhile_is_used_at_once(server: RedisServer) -> None:
    with closing(open_store(server)) as store:
        [customer] = of_partition(store, 0, 1)
        mark = store.apply(0, store.claim(0), Update(5, {}, {customer: b"s"}))
        server.kill()
        server.start()
        assert store.read([customer])[0].mark == mark
        server.kill()
        server.start()
        assert store.apply(0, mark, Update(6, {})).position == 6


def test_no_answer_reaches_another_caller(server: RedisServer) -> None:
    """Requests end early all the time, on connections that are shared; every answer is the one to the question."""
    with closing(open_store(server)) as writer:
        names = of_partition(writer, 0, 400)
        writer.apply(0, writer.claim(0), Update(1, {}, {name: name.encode() for name in names}))
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            server.say("DEBUG", "SLEEP", 0.03)
            time.sleep(0.005)

    def ask(seed: int) -> tuple[int, int]:
        luck, answered, late = random.Random(seed), 0, 0
        for _ in range(150):
            asked = luck.sample(names, luck.choice([1, 1, 5]))
            try:
                states = store.states(0, asked) if luck.random() < 0.5 else [k.state for k in store.read(asked)]
            except UnreachableError:
                late += 1
                continue
            assert states == [name.encode() for name in asked]
            answered += 1
        return answered, late

    with closing(open_store(server, timeout=0.02)) as store, ThreadPoolExecutor(4) as threads:
        disturbing = threads.submit(disturb)
        try:
            found = [future.result() for future in [threads.submit(ask, seed) for seed in range(3)]]
        finally:
            stop.set()
        disturbing.result()
    assert all(answered and late for answered, late in found)


def test_a_full_server_says_so_and_keeps_what_it_has(server: RedisServer) -> None:
    with closing(open_store(server)) as store:
        [customer] = of_partition(store, 0, 1)
        mark = store.apply(0, store.claim(0), Update(5, {}, {customer: b"s"}))
        server.say("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StateError, match="OOM"):
            store.apply(0, mark, Update(6, {}, {customer: b"t"}))
        assert store.read([customer])[0].mark == mark
        server.say("CONFIG", "SET", "maxmemory", 0)
        assert store.apply(0, mark, Update(6, {}, {customer: b"t"})).position == 6


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_server_that_throws_away_any_key_is_refused(server: RedisServer, policy: str) -> None:
    server.say("CONFIG", "SET", "maxmemory-policy", policy)
    with pytest.raises(ConfigError, match=policy):
        open_store(server)


@pytest.mark.parametrize("policy", ["noeviction", "volatile-lru"])
def test_a_server_that_keeps_what_does_not_expire_is_taken(server: RedisServer, policy: str) -> None:
    server.say("CONFIG", "SET", "maxmemory-policy", policy)
    with closing(open_store(server)) as store:
        customer, *_ = CUSTOMERS
        place = store.read([customer])[0].partition
        store.apply(place, store.claim(place), Update(1, {}, {customer: b"s"}, {1: b"12345678"}))
        store.publish({customer: b"r"})
        with server.client() as client:
            assert {client.ttl(key) for key in client.scan_iter()} == {-1}


def test_a_wrong_password_is_the_users_to_correct(server: RedisServer) -> None:
    server.say("CONFIG", "SET", "requirepass", "right")
    for password in ("", "password=guessed"):
        with pytest.raises(ConfigError, match="refused us") as refused:
            open_online(f"{server.url}?{password}", project="shop", partitions=4)
        assert "guessed" not in str(refused.value)
    with closing(open_online(f"{server.url}?password=right", project="shop", partitions=4)) as store:
        assert store.marks() == {}


def test_ids_that_somebody_deleted_are_not_passed_over(server: RedisServer) -> None:
    with closing(open_store(server)) as store:
        store.apply(0, store.claim(0), Update(5, {}, {}, {1: b"12345678"}))
        server.say("HDEL", "tenure:{shop:0}", "seen:1:0")
        with pytest.raises(StateError, match="missing in Redis"):
            store.seen(0)


def test_a_mark_that_somebody_else_wrote_is_refused(server: RedisServer) -> None:
    with closing(open_store(server)) as store:
        server.say("HSET", "tenure:{shop:0}", "mark", "[1]")
        with pytest.raises(StateError, match="unreadable"):
            store.claim(0)


def test_projects_share_a_server(server: RedisServer) -> None:
    with (
        closing(open_online(server.url, project="a", partitions=1)) as one,
        closing(open_online(server.url, project="a}:{b", partitions=1)) as other,
    ):
        one.apply(0, one.claim(0), Update(5, {}, {"x": b"s"}))
        assert other.read(["x"])[0].mark is None


def test_a_cluster_that_forgets_a_slot_and_gets_it_back(tmp_path: Path) -> None:
    with cluster(tmp_path) as server, closing(open_store(server)) as store:
        marks = [store.claim(partition) for partition in range(4)]
        [slot] = {server.say("CLUSTER", "KEYSLOT", "tenure:{shop:0}")}
        server.say("CLUSTER", "DELSLOTS", slot)
        with pytest.raises(UnreachableError):
            store.apply(0, marks[0], Update(1, {}))
        server.say("CLUSTER", "ADDSLOTS", slot)
        wait_for(server, "cluster_state:ok")
        assert store.apply(0, marks[0], Update(1, {})).position == 1
        assert len(store.marks()) == 4


def test_a_slot_that_moves_to_another_server_is_followed(tmp_path: Path) -> None:
    with cluster_of_two(tmp_path) as (one, two), closing(open_store(one)) as store:
        servers = {server.say("CLUSTER", "MYID"): server for server in (one, two)}
        marks = {partition: store.claim(partition) for partition in range(4)}
        has_keys = {name for name, server in servers.items() if server.say("DBSIZE")}
        assert has_keys == set(servers)  # so that a read asks both
        assert [kept.mark for kept in store.read(CUSTOMERS[:50])] == [
            marks[kept.partition] for kept in store.read(CUSTOMERS[:50])
        ]
        slot = one.say("CLUSTER", "KEYSLOT", "tenure:{shop:0}")
        source, target = (one, two) if slot < 8_192 else (two, one)
        move(slot, source, target)
        assert store.marks() == marks
        assert store.apply(0, marks[0], Update(1, {})).position == 1
        move(slot, target, source)
        with pytest.raises(UnreachableError, match="MOVED"):
            store.claim(0)
        assert store.claim(0).position == 1


def move(slot: int, source: RedisServer, target: RedisServer) -> None:
    """Move a slot with its keys, as redis-cli does."""
    from_id, to_id = source.say("CLUSTER", "MYID"), target.say("CLUSTER", "MYID")
    target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", from_id)
    source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", to_id)
    keys = source.say("CLUSTER", "GETKEYSINSLOT", slot, 100)
    source.say("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
    for server in (target, source):
        server.say("CLUSTER", "SETSLOT", slot, "NODE", to_id)
