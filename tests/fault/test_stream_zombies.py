"""Members of a Kafka group are stopped until the broker gives their partitions away, and go on as if nothing were.

Each of them wakes up as a zombie: it holds records that it has read, and believes that the partition is its own.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from tenure.store.consumer import caught_up
from tenure.store.stream import Stream
from tests.fault import stream_member
from tests.fault.stream_member import TIMES, Appended, expected, opened, outcome, run, write_project
from tests.kafka_broker import started_broker

pytestmark = [
    pytest.mark.skipif(
        "forkserver" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork a prepared process"
    ),
    pytest.mark.timeout(240 * TIMES),
]
MEMBERS = 6
ROUNDS = 2 * TIMES  # with five zombies each
PATIENCE_SECONDS = 60.0


def send(members: list[ForkServerProcess], how: signal.Signals) -> None:
    for member in members:
        assert member.pid is not None
        os.kill(member.pid, how)


def stop(members: list[ForkServerProcess], folder: Path) -> None:
    """Stop members outside of any write: whoever sleeps inside one keeps everybody out of a SQLite file."""
    send(members, signal.SIGSTOP)
    while not all(is_free(file) for file in (folder / ".tenure").glob("*.db")):
        send(members, signal.SIGCONT)
        time.sleep(0.02)
        send(members, signal.SIGSTOP)


def is_free(file: Path) -> bool:
    """Whether somebody can write to a SQLite file within a moment."""
    time.sleep(0.05)  # a signal needs one, too
    with closing(sqlite3.connect(file, isolation_level=None, timeout=2.0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def owned(stream: Stream) -> dict[int, int]:
    """Of every partition, the number of the claim that holds it."""
    return {partition: mark.epoch for partition, mark in stream.store.marks().items()}


def are_folded_on(stream: Stream, before: dict[int, int]) -> bool:
    """Whether partitions were given away, or whoever folds on had all of them already."""
    return owned(stream) != before or caught_up(stream)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_members_that_were_given_up_write_nothing(tmp_path: Path) -> None:
    """All but one are stopped past the session's end, the one folds on, and all wake up in the midst of more."""
    context, appended = multiprocessing.get_context("forkserver"), Appended(random.Random(10))
    context.set_forkserver_preload(["__main__", stream_member.__name__])
    luck = random.Random("zombies")
    with started_broker() as broker:
        settings = write_project(tmp_path, log=broker.url(), partitions=MEMBERS)
        with opened(settings) as (stream, _):
            members = [
                context.Process(target=run, args=(settings, None, "tenure"), daemon=True) for _ in range(MEMBERS)
            ]
            for member in members:
                member.start()
            try:
                for _ in range(ROUNDS):
                    stream.log.append(appended.draw(2_000))
                    wait_until(lambda: len(owned(stream)) == MEMBERS)
                    time.sleep(luck.uniform(0.0, 3.0))
                    stopped = luck.sample(members, MEMBERS - 1)
                    stop(stopped, tmp_path)
                    before = owned(stream)
                    stream.log.append(appended.draw(2_000))
                    wait_until(partial(are_folded_on, stream, before))
                    time.sleep(luck.uniform(0.0, 1.0))
                    send(stopped, signal.SIGCONT)
                    stream.log.append(appended.draw(1_000))
                wait_until(lambda: caught_up(stream))
                wait_until(lambda: outcome(stream, appended) == expected(appended))
                assert all(member.is_alive() for member in members)
            finally:
                for member in members:
                    member.kill()
                    member.join()
