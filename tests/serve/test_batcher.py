"""Asks are answered together, each with its own answer, whatever is cancelled, slow or too much."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pytest

from tenure.core.errors import NotFoundError, StateError, TenureError
from tenure.core.time import EPOCH
from tenure.score.served import Ask, ServedScore
from tenure.serve.batcher import Batcher


def served(customer_id: str | None) -> ServedScore:
    return ServedScore(customer_id, 0.5, "contact", 1.0, None, None, "low", None, "v1", None, "realtime", EPOCH, EPOCH)


class Scorer:
    """Answers every ask with its own customer; waits at a gate where it is told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.at_work = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __call__(self, asks: Sequence[Ask]) -> list[ServedScore | TenureError]:
        with self._lock:
            self.sizes.append(len(asks))
        self.at_work.release()
        self.gate.wait(30)
        return [
            NotFoundError(f"No {ask.customer_id}.") if ask.mode == "batch" else served(ask.customer_id) for ask in asks
        ]


def run(test: Callable[[Batcher, Scorer], Awaitable[None]], **options: Any) -> Scorer:
    """Run a test on a batcher that is closed after it."""
    scorer = Scorer()

    async def main() -> None:
        batcher = Batcher(scorer, **options)
        try:
            await test(batcher, scorer)
        finally:
            scorer.gate.set()
            await batcher.close()

    asyncio.run(main())
    return scorer


async def until_at_work(scorer: Scorer) -> None:
    assert await asyncio.to_thread(scorer.at_work.acquire, timeout=30)


def test_asks_of_one_moment_go_together_and_each_gets_its_own() -> None:
    async def test(batcher: Batcher, _: Scorer) -> None:
        answers = await asyncio.gather(*(batcher.ask(Ask(f"c{n}")) for n in range(50)))
        assert [answer.customer_id for answer in answers] == [f"c{n}" for n in range(50)]

    assert run(test).sizes == [50]


def test_what_gathers_behind_a_batch_is_the_next_batch() -> None:
    async def test(batcher: Batcher, scorer: Scorer) -> None:
        scorer.gate.clear()
        first = asyncio.ensure_future(batcher.ask(Ask("c0")))
        await until_at_work(scorer)
        others = [asyncio.ensure_future(batcher.ask(Ask(f"c{n}"))) for n in range(1, 30)]
        await asyncio.sleep(0)
        scorer.gate.set()
        assert [answer.customer_id for answer in await asyncio.gather(first, *others)] == [f"c{n}" for n in range(30)]

    assert run(test, patience_seconds=30, most=20).sizes == [1, 20, 9]


def test_a_slow_batch_does_not_hold_up_the_next() -> None:
    async def test(batcher: Batcher, scorer: Scorer) -> None:
        scorer.gate.clear()
        slow = asyncio.ensure_future(batcher.ask(Ask("slow")))
        await until_at_work(scorer)
        other = asyncio.ensure_future(batcher.ask(Ask("other")))
        await until_at_work(scorer)  # while the first is still at its gate
        scorer.gate.set()
        assert (await slow).customer_id == "slow"
        assert (await other).customer_id == "other"

    assert run(test, patience_seconds=0.001).sizes == [1, 1]


def test_an_error_is_raised_to_whom_it_concerns() -> None:
    async def test(batcher: Batcher, _: Scorer) -> None:
        good, bad = await asyncio.gather(
            batcher.ask(Ask("c1")), batcher.ask(Ask("c2", mode="batch")), return_exceptions=True
        )
        assert isinstance(good, ServedScore)
        assert isinstance(bad, NotFoundError)
        many = await batcher.ask_many([Ask("c1"), Ask("c2", mode="batch")])
        assert [type(answer) for answer in many] == [ServedScore, NotFoundError]

    run(test)


def test_many_asks_go_in_bites_and_come_back_in_order() -> None:
    async def test(batcher: Batcher, _: Scorer) -> None:
        answers = await batcher.ask_many([Ask(f"c{n}") for n in range(1_000)])
        assert [answer.customer_id for answer in answers if isinstance(answer, ServedScore)] == [
            f"c{n}" for n in range(1_000)
        ]

    assert run(test).sizes == [64] * 15 + [40]


def test_too_many_are_told_to_come_later() -> None:
    async def test(batcher: Batcher, scorer: Scorer) -> None:
        scorer.gate.clear()
        first = asyncio.ensure_future(batcher.ask(Ask("c0")))
        await until_at_work(scorer)
        waiting = [asyncio.ensure_future(batcher.ask(Ask(f"c{n}"))) for n in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(StateError, match="10 scores are waiting"):
            await batcher.ask(Ask("late"))
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        later = asyncio.ensure_future(batcher.ask(Ask("later")))  # there is room again
        scorer.gate.set()
        assert [answer.customer_id for answer in await asyncio.gather(first, later)] == ["c0", "later"]

    assert run(test, waiting=10, lanes=1).sizes == [1, 1]


def test_whatever_is_cancelled_nobody_gets_the_answer_of_another() -> None:
    chance, room = Random(5), 6_000

    async def patient(batcher: Batcher, name: str) -> None:
        await asyncio.sleep(chance.random() / 50)
        assert (await batcher.ask(Ask(name))).customer_id == name

    async def several(batcher: Batcher, name: str) -> None:
        names = [f"{name}-{n}" for n in range(chance.randrange(1, 9))]
        answers = await batcher.ask_many([Ask(each) for each in names])
        assert [answer.customer_id for answer in answers if isinstance(answer, ServedScore)] == names

    async def test(batcher: Batcher, _: Scorer) -> None:
        tasks = [asyncio.ensure_future((several if n % 5 == 0 else patient)(batcher, f"c{n}")) for n in range(3_000)]
        for task in chance.sample(tasks, 1_500):
            asyncio.get_running_loop().call_later(chance.random() / 25, task.cancel)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {type(None), asyncio.CancelledError}
        await asyncio.gather(*(batcher.ask(Ask("c")) for _ in range(room)))  # nobody who left takes up room

    run(test, most=8, patience_seconds=0.0005, waiting=room)


def test_a_failure_of_the_scorer_reaches_everybody_who_asked_and_the_next_are_answered() -> None:
    calls: list[int] = []

    def score(asks: Sequence[Ask]) -> list[ServedScore | TenureError]:
        calls.append(len(asks))
        if len(calls) == 1:
            raise ZeroDivisionError
        if len(calls) == 2:
            return []
        return [served(ask.customer_id) for ask in asks]

    async def main() -> None:
        batcher = Batcher(score)
        failed = await asyncio.gather(*(batcher.ask(Ask("c")) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in failed] == [ZeroDivisionError] * 3
        with pytest.raises(RuntimeError, match="1 asks were answered with 0 scores"):
            await batcher.ask(Ask("c"))
        assert (await batcher.ask(Ask("c"))).customer_id == "c"
        await batcher.close()

    asyncio.run(main())


def test_closing_answers_what_waits_and_takes_nothing_more() -> None:
    async def main() -> None:
        scorer = Scorer()
        batcher = Batcher(scorer, lanes=1)
        scorer.gate.clear()
        asked = [asyncio.ensure_future(batcher.ask(Ask("c0")))]
        await until_at_work(scorer)
        asked.append(asyncio.ensure_future(batcher.ask(Ask("c1"))))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(StateError, match="being stopped"):
            await batcher.ask(Ask("c2"))
        assert not closing.done()
        scorer.gate.set()
        assert [answer.customer_id for answer in await asyncio.gather(*asked)] == ["c0", "c1"]
        await closing
        await batcher.close()

    asyncio.run(main())


def test_the_event_loop_goes_on_while_a_batch_is_stuck() -> None:
    async def test(batcher: Batcher, scorer: Scorer) -> None:
        scorer.gate.clear()
        stuck = asyncio.ensure_future(batcher.ask(Ask("c0")))
        await until_at_work(scorer)
        turns = 0
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 1
        assert not stuck.done()
        scorer.gate.set()
        assert (await stuck).customer_id == "c0"

    run(test)
