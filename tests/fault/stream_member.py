"""Consumers as processes of their own, which end by SIGKILL at the deed that they are told, and what they fold.

A deed is one after which another process could see something: burying, a write to the online store, a rename in the
archive. A process ends right before or right after one. What is appended is counted here, too, in plain Python, so that
a test can say what must have come of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from typing import Any

from tenure.app.place import Place
from tenure.app.stream import consume, open_stream
from tenure.features.declare import FeatureSet
from tenure.store import consumer as consumer_module
from tenure.store.consumer import caught_up
from tenure.store.dead import dead_letters
from tenure.store.stream import Stream
from tenure.store.vectors import read_vectors

# `make soak` does ten times as much as continuous integration.
SOAK = os.environ.get("TENURE_SOAK") == "1"
TIMES = 10 if SOAK else 1

CUSTOMERS = tuple(f"customer {number}" for number in range(400))
COLUMNS = ("pay_count", "pay_amount_sum")
MINUTE_US = 60_000_000


@dataclass
class Appended:
    """What was appended: events, duplicates among them, and records that are none; and what must come of it."""

    luck: random.Random
    events: int = 0
    records: int = 0
    dead: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)  # in 64ths
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def draw(self, events: int, now: datetime | None = None) -> list[tuple[str, bytes]]:
        """New events, one in ten of them a second time, and one record in a hundred that cannot be read."""
        luck, found = self.luck, []
        stamp = int((now or datetime.now(UTC)).timestamp())
        for _ in range(events):
            customer, amount = luck.choice(CUSTOMERS), luck.randrange(64_000)
            time = datetime.fromtimestamp(stamp - luck.randrange(40 * 86_400), UTC).isoformat()
            document = {"type": "pay", "customer_id": customer, "time": time, "amount": amount / 64}
            found.append((customer, json.dumps({**document, "id": f"event {self.events}"}).encode()))
            self.events += 1
            self.counts[customer] += 1
            self.sums[customer] += amount
        again = luck.sample(found, events // 10) + luck.sample(self.sent, min(len(self.sent), events // 50))
        self.sent = luck.sample(found, min(events, 100))
        bad = [(luck.choice(CUSTOMERS), luck.choice((b"{", b"null", b'{"type": "pay"}'))) for _ in range(events // 100)]
        self.dead += len(bad)
        found += again + bad
        luck.shuffle(found)
        self.records += len(found)
        return found


def write_project(root: Path, *, log: str = "", store: str = "", partitions: int = 2) -> Path:
    """A project with small commits, whose archive never waits."""
    (root / "pay.csv").write_text("customer_id,time,id,amount\nnobody,2020-01-01T00:00:00,none,0\n")
    stream = f"batch = 400\npartitions = {partitions}\n" + (f"log = '{log}'\n" if log else "")
    online = f"[store]\nonline = '{store}'\n" if store else ""
    (root / "tenure.toml").write_text(
        f"""
        [project]
        name = "payments"
        [events.pay]
        path = "pay.csv"
        id = "id"
        values = ["amount"]
        [churn]
        inactivity = ["pay"]
        horizon = "28d"
        [[features]]
        event = "pay"
        value = "amount"
        ops = ["count", "sum"]
        [stream]
        {stream}
        {online}
        """
    )
    return root / "tenure.toml"


def opened(settings: Path) -> AbstractContextManager[tuple[Stream, FeatureSet]]:
    return open_stream(Place.load(settings))


class Doom:
    """Ends this process, as the system would, at a deed with this number."""

    def __init__(self, die_at: int | None) -> None:
        self.die_at, self.done = die_at, 0

    def note(self) -> None:
        self.done += 1
        if self.done == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Make calls of a function two deeds: one before, one after."""
        do = getattr(owner, name)

        def doomed(*given: Any) -> Any:
            self.note()
            found = do(*given)
            self.note()
            return found

        setattr(owner, name, doomed)

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "os.rename" and "archive" in str(given[1]):
            self.note()


def run(settings: Path, die_at: int | None, group: str, began: Signal | None = None, *, to_end: bool = False) -> None:
    """Fold, to the end of the log or for ever, until killed."""
    doom = Doom(die_at)
    sys.addaudithook(doom.audit)
    with opened(settings) as (stream, _):
        for name in ("claim", "reset", "apply"):
            doom.around(type(stream.store), name)
        doom.around(consumer_module, "bury")
        if began is not None:
            began.set()
        consume(with_group(stream, group), lambda: to_end and caught_up(stream), lambda _: None)


def with_group(stream: Stream, group: str) -> Stream:
    """The stream with an archive that never waits, and as a member of this group."""
    settings = stream.settings.model_copy(update={"group": group, "archive_every": stream.settings.archive_every * 0})
    return Stream(**{**vars(stream), "settings": settings})


@dataclass(frozen=True)
class Outcome:
    """Events that are missing and that count twice, over all customers; and what else must be as it was appended."""

    lost: int
    twice: int
    wrong_sums: int
    dead: int
    archived: int


def outcome(stream: Stream, appended: Appended) -> Outcome:
    """Compare what is online, in the archive and among the dead letters with what was appended."""
    vectors = read_vectors(stream.store, stream.rules.layout, CUSTOMERS)
    counts, sums = (vectors.columns[name] for name in COLUMNS)
    more = [int(found) - appended.counts[one] for one, found in zip(CUSTOMERS, counts, strict=True)]
    wrong = [one for one, found in zip(CUSTOMERS, sums, strict=True) if found != appended.sums[one] / 64]
    with stream.database.connect() as connection:
        dead = len(connection.execute(dead_letters.select()).fetchall())
    return Outcome(-sum(min(n, 0) for n in more), sum(max(n, 0) for n in more), len(wrong), dead, archived(stream))


def archived(stream: Stream) -> int:
    """How many records the archive gives, each at a place of its own."""
    spans = {partition: (first, end) for partition, (first, end) in stream.log.bounds().items()}
    with stream.engine() as engine:
        places = engine.sql(stream.archive.archived_sql("pay", spans)).project('partition, "offset"').fetchall()
    assert len(set(places)) == len(places)
    return len(places)


def expected(appended: Appended) -> Outcome:
    return Outcome(0, 0, 0, appended.dead, appended.records - appended.dead)
