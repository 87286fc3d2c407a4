"""Consumers are killed at seeded points, and overtaken while they are stopped: no event is lost, none counts twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest

from tests.fault import stream_member
from tests.fault.stream_member import TIMES, Appended, expected, opened, outcome, run, write_project
from tests.redis_server import RedisServer, running

pytestmark = [
    pytest.mark.skipif(
        "forkserver" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork a prepared process"
    ),
    pytest.mark.timeout(180 * TIMES),
]
# A hundred kills over a hundred thousand events, spread over three stores.
KILLS = {"sqlite": 34 * TIMES, "redis": 34 * TIMES, "postgres": 34 * TIMES}
EVENTS_A_KILL = 1_000
DEEDS = 30
ZOMBIES = 10 * TIMES


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    """Processes are forked from one that has imported everything, so hundreds of them are cheap."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["__main__", stream_member.__name__])
    return found


@pytest.fixture(params=tuple(KILLS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The name of a kind of store, and the URL of an empty one."""
    if request.param == "redis":
        with running(RedisServer(tmp_path)) as server:
            yield request.param, server.url
    elif request.param == "postgres":
        yield request.param, request.getfixturevalue("postgres_url")
    else:
        yield request.param, "sqlite:///online.db"


# A child that begins late looks for its event, which is gone when nobody here holds it.
HELD: WeakKeyDictionary[ForkServerProcess, Event] = WeakKeyDictionary()


def start(
    context: ForkServerContext,
    settings: Path,
    die_at: int | None = None,
    group: str = "tenure",
    *,
    to_end: bool = False,
    patience: float = 60.0,
) -> ForkServerProcess:
    """A consumer that is about to fold; where others may keep files locked, it is not waited for long."""
    began = context.Event()
    process = context.Process(target=run, args=(settings, die_at, group, began), kwargs={"to_end": to_end}, daemon=True)
    process.start()
    HELD[process] = began
    assert began.wait(patience) or patience < 60.0
    return process


def test_killed_at_any_deed_and_at_any_moment(
    context: ForkServerContext, store: tuple[str, str], tmp_path: Path
) -> None:
    """Half of the kills are right before or after a deed, and half come at a moment that nothing announces."""
    kind, url = store
    settings, luck = write_project(tmp_path, store=url), random.Random(f"killed {kind}")
    appended, killed = Appended(random.Random(1)), 0
    with opened(settings) as (stream, _):
        while killed < KILLS[kind]:
            stream.log.append(appended.draw(EVENTS_A_KILL))
            die_at = luck.randrange(1, DEEDS) if killed % 2 else None
            process = start(context, settings, die_at)
            process.join(timeout=2.0 if die_at else luck.uniform(0.0, 0.3))
            process.kill()
            process.join()
            killed += process.exitcode == -signal.SIGKILL
        last = start(context, settings, to_end=True)
        last.join()
        assert last.exitcode == 0
        assert appended.events == EVENTS_A_KILL * killed
        assert outcome(stream, appended) == expected(appended)


def test_whoever_was_stopped_and_overtaken_writes_nothing(
    context: ForkServerContext, store: tuple[str, str], tmp_path: Path
) -> None:
    """Two groups that do not know of each other fold into one store: whoever did not claim last is a zombie."""
    kind, url = store
    settings, luck = write_project(tmp_path, store=url), random.Random(f"zombie {kind}")
    appended = Appended(random.Random(2))
    with opened(settings) as (stream, _):
        sleeper = start(context, settings, group="sleeper")
        for _ in range(ZOMBIES):
            stream.log.append(appended.draw(600))
            sleeper.join(timeout=luck.uniform(0.0, 0.1))
            assert sleeper.pid is not None
            os.kill(sleeper.pid, signal.SIGSTOP)
            # Whoever is stopped inside a write to a SQLite file keeps it locked, so that nobody overtakes them.
            other = start(context, settings, group=f"other {luck.random()}", to_end=True, patience=1.0)
            other.join(timeout=1.0)
            os.kill(sleeper.pid, signal.SIGCONT)
            other.join()
            assert other.exitcode == 0
        sleeper.kill()
        sleeper.join()
        last = start(context, settings, to_end=True)
        last.join()
        assert outcome(stream, appended) == expected(appended)


def test_members_come_and_go(context: ForkServerContext, tmp_path: Path) -> None:
    """Members of one group share the partitions of an embedded log, join, are killed, and leave."""
    settings, luck = write_project(tmp_path), random.Random("members")
    appended = Appended(random.Random(3))
    members: list[ForkServerProcess] = []
    with opened(settings) as (stream, _):
        for _ in range(10 * TIMES):
            stream.log.append(appended.draw(500))
            members.append(start(context, settings))
            members[-1].join(timeout=luck.uniform(0.0, 0.8))
            if len(members) > 2:
                gone = members.pop(luck.randrange(len(members)))
                gone.kill()
                gone.join()
        for member in members:
            member.kill()
            member.join()
        last = start(context, settings, to_end=True)
        last.join()
        assert outcome(stream, appended) == expected(appended)
