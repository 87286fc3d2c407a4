"""A key gets its rate and no more, from however many processes it is asked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import InputError
from tenure.serve.limits import Limiter, _lock

SECOND = 1_000_000_000


class Watch:
    """A clock that is moved by hand, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


@given(
    rate=st.floats(0.1, 2_000),
    waits=st.lists(st.integers(0, 3 * SECOND) | st.integers(0, SECOND // 100), max_size=60),
    asked=st.lists(st.integers(1, 40), min_size=60, max_size=60),
)
def test_never_more_than_a_second_s_worth_and_the_rate(rate: float, waits: list[int], asked: list[int]) -> None:
    watch = Watch()
    limiter = Limiter(rate, now=watch)
    let_in: list[int] = []
    for wait, count in zip(waits, asked, strict=False):
        watch.now += wait
        let_in += [watch.now for _ in range(count) if not limiter.take("k")]
    most = max(rate, 1)
    for first, start in enumerate(let_in):
        for last in range(first, len(let_in)):
            seconds = (let_in[last] - start) / SECOND
            assert last - first + 1 <= most + rate * seconds + 1e-3


@given(rate=st.floats(0.1, 2_000), waits=st.lists(st.integers(0, SECOND), max_size=40))
def test_whoever_waits_as_told_is_let_in(rate: float, waits: list[int]) -> None:
    watch = Watch()
    limiter = Limiter(rate, now=watch)
    for pause in waits:
        watch.now += pause
        wait = limiter.take("k")
        if wait:
            watch.now += round(wait * SECOND) - 1_000
            assert limiter.take("k") > 0
            watch.now += 2_000
            assert limiter.take("k") == 0


def test_keys_do_not_share_a_bucket_and_may_have_their_own_rate() -> None:
    limiter = Limiter(1, now=lambda: 0)
    assert [limiter.take("a"), limiter.take("b"), limiter.take("a") > 0] == [0, 0, True]
    assert [limiter.take("c", 3) for _ in range(4)] == [0, 0, 0, pytest.approx(1 / 3)]


def test_more_keys_than_slots_are_let_in_and_lively_ones_are_not_forgotten() -> None:
    watch = Watch()
    limiter = Limiter(1, now=watch)
    assert limiter.take("lively") == 0
    for number in range(20_000):
        watch.now += 1_000
        assert limiter.take(f"k{number}") == 0
        if number % 100 == 0:
            watch.now += SECOND
            assert limiter.take("lively") == 0
            assert limiter.take("lively") > 0


def test_an_instant_of_an_earlier_start_of_the_machine_keeps_nobody_out(tmp_path: Path) -> None:
    watch = Watch()
    before = Limiter(2, tmp_path / "rates", now=watch)
    assert [before.take("k") > 0 for _ in range(3)] == [False, False, True]
    watch.now = 0  # the clock of a machine begins again when it is started
    after = Limiter(2, tmp_path / "rates", now=watch)
    assert [after.take("k") > 0 for _ in range(3)] == [False, False, True]
    before.close()
    after.close()


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_lets_nobody_in_is_refused(rate: float) -> None:
    with pytest.raises(InputError):
        Limiter(rate)


@pytest.mark.parametrize("rate", [1e-300, 1e300])
def test_rates_beyond_all_measure_are_kept_as_well_as_a_clock_can(rate: float) -> None:
    limiter = Limiter(rate, now=lambda: 0)
    assert limiter.take("k") == 0
    assert (limiter.take("k") > 0) == (rate < 1)


def test_the_file_is_for_the_service_alone(tmp_path: Path) -> None:
    Limiter(1, tmp_path / "rates").close()
    assert (tmp_path / "rates").stat().st_mode & 0o077 == 0


def take_many(path: Path, start: Barrier, count: int, results: multiprocessing.Queue[int]) -> None:
    limiter = Limiter(0.001, path)  # no second request within this test, however slow the machine is
    let_in = 0
    start.wait()
    for number in range(count):
        let_in += limiter.take(f"k{number}") == 0
    results.put(let_in)


def test_processes_share_the_buckets(tmp_path: Path) -> None:
    """Three processes ask for the same two thousand keys, of which each may be let in once by one of them."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    count = 2_000
    asking = [context.Process(target=take_many, args=(tmp_path / "rates", start, count, results)) for _ in range(3)]
    for process in asking:
        process.start()
    let_in = [results.get(timeout=60) for _ in asking]
    for process in asking:
        process.join()
    assert sum(let_in) == count


def hold(path: Path, ready: multiprocessing.Queue[int]) -> None:
    limiter = Limiter(1, path)
    assert _lock(limiter._handle, 1)
    ready.put(os.getpid())
    time.sleep(60)


def test_a_process_that_stopped_while_it_counted_keeps_nobody_waiting(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready: multiprocessing.Queue[int] = context.Queue()
    holder = context.Process(target=hold, args=(tmp_path / "rates", ready))
    holder.start()
    pid = ready.get(timeout=60)
    limiter = Limiter(1, tmp_path / "rates")
    assert [limiter.take("k") > 0 for _ in range(2)] == [False, True]
    os.kill(pid, signal.SIGKILL)
    holder.join()
    assert limiter.take("other") == 0
    limiter.close()
