"""Servers are killed, emptied, slow or away, disks full, clocks wrong and records poison: every event counts once.

A consumer folds in a thread while the fault is there and goes on by itself when it is gone; nobody starts it again.
"""

from __future__ import annotations

import errno
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tenure.app.place import Place
from tenure.app.stream import consume, open_stream
from tenure.core import files
from tenure.core.errors import StateError, TenureError
from tenure.store.consumer import caught_up
from tenure.store.dead import counts
from tenure.store.stream import Stream
from tests.fault.stream_member import (
    SOAK,
    TIMES,
    Appended,
    Outcome,
    expected,
    opened,
    outcome,
    with_group,
    write_project,
)
from tests.kafka_broker import KafkaBroker, started_broker
from tests.redis_server import RedisServer, running

pytestmark = pytest.mark.timeout(180 * TIMES)
AWAY_SECONDS = 6 * TIMES
PATIENCE_SECONDS = 90.0


@contextmanager
def folding(stream: Stream) -> Iterator[None]:
    """A consumer in a thread of its own; what ended it is raised here."""
    ended, over = [], threading.Event()

    def work() -> None:
        try:
            consume(with_group(stream, "tenure"), over.is_set, lambda _: None)
        except TenureError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert ended == []


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for a consumer; what asks a server that is away gets no answer, and asks again."""
    deadline = time.monotonic() + PATIENCE_SECONDS * TIMES
    while time.monotonic() < deadline:
        try:
            if is_so():
                return
        except StateError:
            pass
        time.sleep(0.05)
    raise AssertionError("The consumer did not catch up.")


def all_counted(stream: Stream, appended: Appended) -> None:
    wait_until(lambda: caught_up(stream))
    wait_until(lambda: outcome(stream, appended) == expected(appended))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path)) as server:
        yield server


def test_redis_is_killed_emptied_slow_and_away(server: RedisServer, tmp_path: Path) -> None:
    """It keeps what it confirmed when it is killed, and is filled again after it was emptied."""
    settings = write_project(tmp_path, store=f"{server.url}?timeout=1.5")
    appended = Appended(random.Random(4))

    def emptied() -> None:
        server.say("FLUSHALL")

    def killed() -> None:
        server.kill()
        server.start()

    def slow() -> None:
        server.kill(signal.SIGSTOP)
        time.sleep(2.0)
        server.kill(signal.SIGCONT)

    def away() -> None:
        server.kill()
        time.sleep(AWAY_SECONDS)
        server.start()

    with opened(settings) as (stream, _), folding(stream):
        for fault in (killed, emptied, slow, away, killed, emptied):
            stream.log.append(appended.draw(1_000))
            time.sleep(0.05)
            fault()
            stream.log.append(appended.draw(500))
        all_counted(stream, appended)
        emptied()  # and nothing is appended any more
        wait_until(lambda: not caught_up(stream) or outcome(stream, appended) == expected(appended))
        all_counted(stream, appended)


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with started_broker() as broker:
        yield broker


def test_the_broker_is_away(broker: KafkaBroker, tmp_path: Path) -> None:
    settings = write_project(tmp_path, log=broker.url())
    appended = Appended(random.Random(5))
    with opened(settings) as (stream, _):
        stream.log.append(appended.draw(1_000))
        with folding(stream):
            wait_until(lambda: bool(stream.store.marks()))
            with broker.paused():
                time.sleep(AWAY_SECONDS)
            stream.log.append(appended.draw(1_000))
            all_counted(stream, appended)


def test_the_disk_of_the_archive_is_full_at_each_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each write, flush and rename in turn: the consumer goes on, and the archive has everything once."""
    settings = write_project(tmp_path)
    appended, left = Appended(random.Random(6)), [0]

    def failing(do: Callable[..., Any]) -> Callable[..., Any]:
        def failed(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return do(*given, **named)

        return failed

    monkeypatch.setattr(pq, "write_table", failing(pq.write_table))
    monkeypatch.setattr(files, "_sync_file", failing(vars(files)["_sync_file"]))
    monkeypatch.setattr(files, "sync_folder", failing(files.sync_folder))
    with opened(settings) as (stream, _):
        stream.log.append(appended.draw(100))
        with folding(stream):
            for number in range(1, 15 if SOAK else 9):
                wait_until(lambda: outcome(stream, appended) == expected(appended))
                left[0] = number
                stream.log.append(appended.draw(100))
            wait_until(lambda: outcome(stream, appended) == expected(appended))
            assert left[0] <= 0


def test_clocks_are_set_forward_and_back_by_a_day(tmp_path: Path) -> None:
    """The log's clock, which is the consumer's, too: records keep their order, and events of the right time count."""
    settings = write_project(tmp_path)
    begin, step = datetime(2026, 1, 1, tzinfo=UTC), [timedelta(0)]
    place = Place.load(settings, clock=lambda: begin + step[0])
    appended = Appended(random.Random(7))
    with open_stream(place) as (stream, _), folding(stream):
        for hours in (0, 24, 0, -24, 0, 24, -24, 0):
            step[0] = timedelta(hours=hours)
            stream.log.append(appended.draw(300, begin - timedelta(hours=30)))
            wait_until(lambda: caught_up(stream))
        step[0] = timedelta(hours=48)
        all_counted(stream, appended)
        stamps = [batch.appended for partition in (0, 1) for batch in stream.log.read(partition, 0, 10_000)]
        assert all((one[1:] >= one[:-1]).all() for one in stamps)


POISON = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"42",
    b'"text"',
    b"\xff\xfe",
    b"\0" * 20,
    b"{}",
    b"{'type': 'pay'}",
    b'{"type": "pay"}',
    b'{"type": "unknown", "customer_id": "a", "time": "2026-01-01"}',
    b'{"type": "pay", "customer_id": "", "time": "2026-01-01", "id": "x"}',
    b'{"type": "pay", "customer_id": "a", "time": "yesterday", "id": "x"}',
    b'{"type": "pay", "customer_id": "a", "time": "9999-12-31T23:59:59", "id": "x"}',
    b'{"type": "pay", "customer_id": "a", "time": "1200-01-01", "id": "x"}',
    b'{"type": "pay", "customer_id": "a", "time": 1e400, "id": "x"}',
    b'{"type": "pay", "customer_id": "a", "time": "2026-01-01"}',
    b'{"type": "pay", "customer_id": "a", "time": "2026-01-01", "id": {"a": 1}}',
    b'{"type": "pay", "customer_id": "a", "time": "2026-01-01", "id": "x", "amount": "much"}',
    b'{"type": "pay", "customer_id": "a", "time": "2026-01-01", "id": "x", "amount": 1e999}',
    b'{"type": "pay", "customer_id": "a", "time": "2026-01-01", "id": "x", "amount": [1]}',
    b'{"type": "pay", "customer_id": "a\\ud800", "time": "2026-01-01", "id": "x"}',
    b'{"type": "pay", "type": "pay", "customer_id": "a", "time": "2026-01-01", "id": "x"}',
    b"[" * 5_000 + b"]" * 5_000,
    b'{"a":' * 200 + b"1" + b"}" * 200,
)


def test_ten_thousand_poison_records_are_set_aside(tmp_path: Path) -> None:
    """With the reason, in every partition, and the events among them count."""
    settings, luck = write_project(tmp_path), random.Random(8)
    appended = Appended(random.Random(9))
    poison = [(f"customer {number % 7}", luck.choice(POISON)) for number in range(10_000)]
    records = appended.draw(2_000) + poison
    luck.shuffle(records)
    appended.dead, appended.records = appended.dead + len(poison), appended.records + len(poison)
    with opened(settings) as (stream, _):
        stream.log.append(records)
        with folding(stream):
            wait_until(lambda: caught_up(stream))
        found: Outcome = outcome(stream, appended)
        assert found == expected(appended)
        reasons = counts(stream.database)
        assert sum(reasons.values()) == appended.dead
        assert len(reasons) > 5
        assert "" not in reasons
