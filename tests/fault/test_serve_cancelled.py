"""A hundred thousand asks that nobody waits for any more, over Redis: no answer ever reaches another caller.

States of streams and the cache of scores are in one real Redis, which is deaf for a moment again and again; callers go
away before they are handed to a thread, while Redis is asked, and just before they would be answered. Whoever stays
gets the score of the customer they asked for, and of nobody else: its id, and the number that belongs to it.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np

from tenure.core.database import open_database
from tenure.core.errors import InputError, StateError
from tenure.core.guard import State
from tenure.core.settings import ServeSettings, ValueSettings
from tenure.core.time import fixed_clock, to_micros
from tenure.features.declare import Feature, FeatureSet
from tenure.features.series import Layout
from tenure.features.state import Events, fold
from tenure.features.wire import encode
from tenure.score.cache_redis import RedisCache
from tenure.score.hybrid import HybridScorer
from tenure.score.precomputed import Precomputed
from tenure.score.served import Ask, Cause, ServedScore
from tenure.serve.batcher import Batcher
from tenure.store.hybrid import HybridRows, OnlineRows
from tenure.store.online import open_online
from tenure.store.protocol import OnlineStore, Update
from tests.redis_server import RedisServer, running

CANCELLED = 100_000
WAVE = 1_000
BUDGET_SECONDS = 0.03
CLOCK = fixed_clock("2026-01-31T12:00:00")
FEATURES = FeatureSet((Feature("pay", "sum", "amount"),))
NUMBERS = {f"customer-{number:03d}": (number + 1) / 1024 for number in range(500)}


class Arithmetic:
    """A version whose probability is what the customer has paid, so that it tells whose features were read."""

    name, fingerprint, alias = "v1", "0f", "champion"
    value, features = ValueSettings(clv=600), FEATURES

    def score_rows(self, rows: HybridRows, places: Sequence[int], explain: Sequence[bool]) -> list[ServedScore]:
        assert not any(explain)
        paid = rows.columns[FEATURES.names[0]]
        return [self._score(rows.customer_id[place], float(paid[place] or 0)) for place in places]

    def score_given(self, asks: Sequence[Ask]) -> list[ServedScore | InputError]:
        raise AssertionError(asks)

    def base(self, customer_id: str | None, causes: Sequence[Cause]) -> ServedScore:
        return self._score(customer_id, 0.0, (*causes, "base_rate"))

    def states(self) -> Mapping[str, State]:
        return {}

    def _score(self, customer_id: str | None, paid: float, causes: tuple[Cause, ...] = ()) -> ServedScore:
        now = CLOCK()
        return ServedScore(
            customer_id, paid, "contact", None, None, None, None, None, "v1", None,
            "fallback" if causes else "realtime", now, now, causes,
        )  # fmt: skip


def fill(store: OnlineStore) -> None:
    """One payment of every customer, as a consumer would have folded it."""
    layout, customers = Layout.of(FEATURES), list(NUMBERS)
    at = np.full(len(customers), to_micros(CLOCK()) - 1_000_000)
    amounts = np.array(list(NUMBERS.values()))
    pays = Events(np.arange(len(customers)), at, at + 1, {"amount": amounts})
    states = dict(zip(customers, encode(fold(layout, {"pay": pays}, len(customers), to_micros(CLOCK()))), strict=True))
    note = {"ready": True, "layout": layout.hash, "partitions": store.partitions, "appended": int(at[0])}
    placed = {kept.customer_id: kept.partition for kept in store.read(customers)}
    for partition in range(store.partitions):
        mine = {customer: states[customer] for customer in customers if placed[customer] == partition}
        store.apply(partition, store.claim(partition), Update(1, note, mine))


@contextmanager
def scorer_over(server: RedisServer, folder: Path) -> Iterator[HybridScorer]:
    settings = ServeSettings(budget_seconds=BUDGET_SECONDS, cache_ttl=timedelta(hours=1))
    with ExitStack() as opened:
        with closing(open_online(server.url, project="shop", partitions=4)) as patient:
            fill(patient)
        quick = f"{server.url}?timeout={BUDGET_SECONDS / 2}"
        store = opened.enter_context(closing(open_online(quick, project="shop", partitions=4)))
        cache = opened.enter_context(closing(RedisCache(server.url, "shop", settings.cache_ttl, BUDGET_SECONDS / 2)))
        engine = open_database("sqlite:///tenure.db", root=folder)
        opened.callback(engine.dispose)
        rows = OnlineRows(store, CLOCK)
        yield HybridScorer(Arithmetic(), Precomputed(engine, 10_000), cache, rows, settings, clock=CLOCK)


@contextmanager
def often_deaf(server: RedisServer) -> Iterator[None]:
    """Redis sleeps for a moment, again and again: so long that who asks gives up before the answer comes."""
    stop = threading.Event()

    def disturb() -> None:
        with server.client() as client:
            while not stop.wait(0.15):
                client.execute_command("DEBUG", "SLEEP", BUDGET_SECONDS)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check(ask: Ask, found: object, counts: Counter[str]) -> None:
    if isinstance(found, asyncio.CancelledError):
        counts["cancelled"] += 1
    elif isinstance(found, StateError):
        counts["refused"] += 1  # too many wait
    else:
        assert isinstance(found, ServedScore), found
        assert found.customer_id == ask.customer_id
        counts[found.source] += 1
        if "base_rate" not in found.degraded_because:
            assert found.probability == NUMBERS[str(ask.customer_id)]


def of_deaf(counts: Counter[str]) -> int:
    """How many were answered without Redis."""
    return counts["stale"] + counts["fallback"]


async def come_and_go(scorer: HybridScorer) -> Counter[str]:
    luck, customers, counts = random.Random(7), list(NUMBERS), Counter[str]()
    batcher = Batcher(scorer.score, lanes=3)
    deadline = time.monotonic() + 300
    while (counts["cancelled"] < CANCELLED or not of_deaf(counts)) and time.monotonic() < deadline:
        chosen = luck.choices(customers, k=WAVE)
        asks = [Ask(customer, "auto" if luck.random() < 0.5 else "realtime") for customer in chosen]
        tasks = [asyncio.create_task(batcher.ask(ask)) for ask in asks]
        await asyncio.sleep(luck.choice([0, 0.001, 0.003, 0.006]))
        for task in tasks:
            if luck.random() < 0.97:
                task.cancel()
        for ask, found in zip(asks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
            check(ask, found, counts)
    await batcher.close()
    return counts


def test_no_answer_reaches_another_caller(tmp_path: Path) -> None:
    with running(RedisServer(tmp_path)) as server, scorer_over(server, tmp_path) as scorer, often_deaf(server):
        counts = asyncio.run(come_and_go(scorer))
    assert counts["cancelled"] >= CANCELLED
    assert min(counts["cache"], counts["realtime"]) > 100, counts
    assert of_deaf(counts) > 0, counts
