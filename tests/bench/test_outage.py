"""What is told of an outage is told of all of it, and of those whom it concerns."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench._serving import Answered, Seen
from bench.outage import LIVE, LOOK_UP, Redis, Told


def seen(*answers: Answered) -> Seen:
    seconds, due = (np.array(values) for values in zip(*((one.at - one.due, one.due) for one in answers), strict=True))
    kinds = np.array([one.kind for one in answers])
    return Seen(0.0, seconds, due, kinds, {"200": len(answers)}, {}, list(answers), 0, 20.0)


def test_an_outage_counts_from_its_beginning_and_for_whom_it_concerns() -> None:
    found = seen(
        Answered(4.9, 4.95, LIVE, "realtime"),
        Answered(5.1, 7.1, LIVE, "stale*"),  # as soon as it was gone, and for longest
        Answered(5.2, 5.21, LOOK_UP, "batch"),
        Answered(9.9, 10.4, LIVE, "realtime"),
        Answered(10.1, 11.5, LIVE, "stale*"),
        Answered(12.0, 12.1, LIVE, "realtime"),
    )
    told = Told.of(found, 5.0, 10.0, LIVE)
    assert told.marks == ["stale*", "realtime"]
    assert told.p99_ms == pytest.approx(np.percentile([2_000, 10, 500], 99))
    assert told.well_after_seconds == pytest.approx(1.5)
    assert "1 of 2 marked (not marked: realtime), well again after 1.5 s" in str(told)
    assert Told.of(found, 5.0, 10.0, LOOK_UP).marks == ["batch"]


def wake(redis: Redis) -> None:
    redis.process.send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, redis.process.pid, os.WCONTINUED | os.WNOWAIT)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.kill()


def test_a_server_that_sleeps_is_in_nobodys_group_and_is_not_woken_unnoticed(redis: Redis) -> None:
    assert os.getsid(redis.process.pid) == redis.process.pid
    with redis.asleep():
        pass
    with pytest.raises(SystemExit, match="Somebody woke Redis"), redis.asleep():
        wake(redis)
