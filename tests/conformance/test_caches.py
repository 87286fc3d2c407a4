"""Every cache of scores keeps every promise, and the checks find one that breaks them."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tenure.core.errors import ConfigError, UnreachableError
from tenure.core.time import EPOCH
from tenure.score.cache import KEEP, Cache, MemoryCache, NoCache
from tenure.score.cache_redis import RedisCache
from tenure.score.served import ServedScore
from tenure.testing.cache import CHECKS, CacheOpener, check_cache
from tests.redis_server import RedisServer, cluster, running

every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
names = (f"project {number} {{}}:/" for number in itertools.count())
HOUR = timedelta(hours=1)
SCORE = ServedScore("c1", 0.2, "contact", 26.0, None, None, "high", None, "v1", None, "cache", EPOCH, EPOCH)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


def redis_cache(server: RedisServer, ttl: timedelta = HOUR, seconds: float = 30.0) -> RedisCache:
    return RedisCache(server.url, next(names), ttl, seconds)


@every_check
def test_memory_keeps_its_promises(check: Callable[[CacheOpener], None]) -> None:
    check(lambda: MemoryCache(5_000, HOUR))


@every_check
def test_redis_keeps_its_promises(check: Callable[[CacheOpener], None], redis_server: RedisServer) -> None:
    project = next(names)
    check(lambda: RedisCache(redis_server.url, project, HOUR, 30.0))


def test_a_redis_cluster_keeps_its_promises(tmp_path: Path) -> None:
    with cluster(tmp_path) as server:
        check_cache(lambda: RedisCache(server.url, "shop", HOUR, 30.0))


def test_no_cache_keeps_nothing() -> None:
    cache = NoCache()
    cache.put({"a": SCORE})
    assert cache.get(["a"]) == {}
    cache.close()


class Confusing(MemoryCache):
    """Keeps under one key what belongs under another."""

    def get(self, keys: Sequence[str]) -> dict[str, ServedScore]:
        return {key: score for key in keys for score in super(Confusing, self).get([key.rstrip("0")]).values()}


class Rounding(MemoryCache):
    """Keeps a little less than it was given."""

    def put(self, scores: Mapping[str, ServedScore]) -> None:
        super().put({key: replace(score, probability=round(score.probability, 6)) for key, score in scores.items()})


class Stubborn(MemoryCache):
    """Keeps what came first."""

    def put(self, scores: Mapping[str, ServedScore]) -> None:
        super().put({key: score for key, score in scores.items() if key not in self.get(list(scores))})


@pytest.mark.parametrize("flawed", [Confusing, Rounding, Stubborn])
def test_a_flaw_is_found(flawed: Callable[[int, timedelta], Cache]) -> None:
    with pytest.raises(AssertionError):
        check_cache(lambda: flawed(5_000, HOUR))


def test_memory_forgets_what_is_old_and_what_is_too_much() -> None:
    now = [0.0]
    cache = MemoryCache(2, timedelta(seconds=10), lambda: now[0])
    cache.put({"a": SCORE})
    now[0] = KEEP * 10.0 - 1
    assert list(cache.get(["a"])) == ["a"]  # no longer fresh, still kept
    cache.put({"b": SCORE})
    now[0] += 1
    assert list(cache.get(["a", "b"])) == ["b"]
    cache.put({"c": SCORE, "b": SCORE, "d": SCORE})
    assert list(cache.get(["b", "c", "d"])) == ["b", "d"]
    cache.close()
    assert cache.get(["b"]) == {}


def test_redis_forgets_what_is_old(redis_server: RedisServer) -> None:
    with closing(redis_cache(redis_server)) as cache, redis_server.client() as client:
        client.flushall()
        cache.put({"a": SCORE})
        [key] = client.keys()
        assert key.endswith(b":score:a")
        assert KEEP * 3_600_000 - 60_000 < client.pttl(key) <= KEEP * 3_600_000
    with closing(redis_cache(redis_server, timedelta(milliseconds=10))) as cache:
        cache.put({"a": SCORE})
        deadline = time.monotonic() + 30
        while cache.get(["a"]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert cache.get(["a"]) == {}


def test_what_somebody_else_wrote_is_no_score(redis_server: RedisServer) -> None:
    with closing(redis_cache(redis_server)) as cache, redis_server.client() as client:
        client.flushall()
        cache.put({"a": SCORE})
        [key] = client.keys()
        written = json.loads(client.get(key))
        whole = client.get(key)
        cases = [b"", b"\xff\xfe", b"null", b"[]", b"{}", b"[" * 5_000, b"1e999", whole[:-1]]
        cases += [json.dumps([*written[:place], *written[place + 1 :]]).encode() for place in range(len(written))]
        for place in range(len(written)):
            for strange in ("x", [[1]], 10**30, {"a": 1}):
                cases.append(json.dumps([*written[:place], strange, *written[place + 1 :]]).encode())
        for value in cases:
            client.set(key, value)
            assert cache.get(["a"]) == {}, value
        client.set(key, whole)
        assert cache.get(["a"]) == {"a": SCORE}
        client.delete(key)
        client.lpush(key, "no string")
        with pytest.raises(Exception, match="WRONGTYPE"):
            cache.get(["a"])
        client.delete(key)
        assert cache.get(["a"]) == {}


def test_projects_share_a_redis(redis_server: RedisServer) -> None:
    with closing(redis_cache(redis_server)) as one, closing(redis_cache(redis_server)) as other:
        one.put({"a": SCORE})
        assert other.get(["a"]) == {}


def test_redis_is_given_up_in_time_and_used_again(tmp_path: Path) -> None:
    with running(RedisServer(tmp_path)) as server, closing(redis_cache(server, seconds=0.2)) as cache:
        cache.put({"a": SCORE})
        server.kill(signal.SIGSTOP)
        with pytest.raises(UnreachableError, match=r"0\.2 seconds"):
            cache.get(["a"])
        with pytest.raises(UnreachableError):
            cache.put({"a": replace(SCORE, probability=0.9)})
        server.kill(signal.SIGCONT)
        assert cache.get(["a"])
        server.kill()
        with pytest.raises(UnreachableError):
            cache.get(["a"])
        server.start()
        assert cache.get(["b"]) == {}


def test_a_url_that_is_none_is_the_users_to_correct(redis_server: RedisServer) -> None:
    with pytest.raises(ConfigError, match=r"\[serve\] cache is not a Redis URL"):
        RedisCache("redis://host:port", "shop", HOUR, 1.0)
    redis_server.say("CONFIG", "SET", "requirepass", "right")
    try:
        with (
            closing(RedisCache(f"{redis_server.url}?password=guessed", "shop", HOUR, 30.0)) as cache,
            pytest.raises(ConfigError, match="refused us") as refused,
        ):
            cache.get(["a"])
        assert "[serve] cache" in str(refused.value)
        assert "guessed" not in str(refused.value)
    finally:
        with closing(RedisCache(f"{redis_server.url}?password=right", "shop", HOUR, 30.0)) as cache:
            cache._ask([("CONFIG", "SET", "requirepass", "")])
