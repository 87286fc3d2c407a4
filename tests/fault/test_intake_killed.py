"""Whoever posts events is killed, and posts them again: they count once."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest

from tenure.core.time import system_clock
from tenure.serve.idempotency import LEASE, UnderWayError
from tenure.source.log_sqlite import SqliteLog
from tenure.store.consumer import Consumer, caught_up
from tenure.store.stream import Stream
from tenure.store.vectors import read_vectors
from tenure.testing.stream import small_stream
from tests.fault import intake_child
from tests.fault.intake_child import EVENTS, Moment, post
from tests.serve.intakes import opened, payloads

pytestmark = pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork a prepared process"
)


@pytest.mark.parametrize(("moment", "appended"), [("claimed", 1), ("appended", 2), ("answered", 1)])
def test_killed_while_posting(moment: Moment, appended: int) -> None:
    """Between appending and answering, the retry appends again: nobody can know better. By its id, it counts once."""
    with small_stream() as stream:
        assert isinstance(stream.log, SqliteLog)
        folder = stream.log.path.parent
        assert kill(folder, moment) == -signal.SIGKILL
        if moment == "answered":
            assert posted(folder, late=False) == (1, 1, True)
        else:
            with pytest.raises(UnderWayError):
                posted(folder, late=False)
            assert posted(folder, late=True) == (1, 1, False)
        assert posted(folder, late=True) == (1, 1, True)
        assert sum(b'"new"' in payload for payload in payloads(stream.log)) == appended
        Consumer(stream).run(lambda: caught_up(stream))
        assert counted(stream) == [3.0, 31.5]


def kill(folder: Path, moment: Moment) -> int | None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", intake_child.__name__])
    process = context.Process(target=post, args=(str(folder), moment))
    process.start()
    process.join()
    return process.exitcode


def posted(folder: Path, *, late: bool) -> tuple[int, int, bool]:
    """What another process is answered that posts the same, now or after the dead one's lease."""
    clock = (lambda: system_clock() + LEASE) if late else system_clock
    with opened(folder, wall_clock=clock, patience_seconds=30.0 if late else 0.2) as (intake, _):
        taken = intake.submit(EVENTS, caller="shop", key="k", digest=b"d").result()
    return taken.accepted, taken.refused, taken.replayed


def counted(stream: Stream) -> list[float]:
    """How often Ana paid in seven days, and how much in twenty-eight."""
    vectors = read_vectors(stream.store, stream.rules.layout, ["ana"], clock=stream.clock)
    return [vectors.columns[name].item() for name in ("pay_count_7d", "pay_amount_sum_28d")]
