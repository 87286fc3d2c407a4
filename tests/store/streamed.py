"""The oracle's small worlds as a log that delivers late, twice and out of order, and a stream that can be killed.

What leaves: records with the instant at which the log takes each, and a `Site` whose consumers end, without any
clean-up, right before or right after a deed that another process could see. Invariant: a killed consumer does nothing
more, so what the next one finds is what a killed process leaves.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from tenure.app.stream import rebuild
from tenure.core.database import open_database
from tenure.core.errors import StateError, UnreachableError
from tenure.core.settings import RuntimeSettings, StreamSettings
from tenure.features.declare import FeatureSet
from tenure.features.series import Layout
from tenure.source.engine import open_engine
from tenure.source.event_schema import EventSchema
from tenure.source.history import EventTable, History
from tenure.source.log_sqlite import open_sqlite_log
from tenure.store import consumer as consumer_module
from tenure.store.archive import Archive
from tenure.store.consumer import Consumer, caught_up
from tenure.store.folding import Rules
from tenure.store.online import open_online
from tenure.store.protocol import Mark, OnlineStore, Update
from tenure.store.restore import begin
from tenure.store.stream import Stream
from tenure.store.vectors import read_vectors
from tests.features.stream import row
from tests.features.translate import canonical_events
from tests.oracle import logs
from tests.oracle.features import DAY, HOUR, MINUTE, Event, Number

PARTITIONS = 2
MOST_LATE = 48 * HOUR
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Record:
    """One delivery of an event, and when the log takes it."""

    event: Event
    appended: datetime


class Killed(BaseException):
    """The process is gone."""


@st.composite
def deliveries(draw: st.DrawFn, events: Sequence[Event], *, ids: bool = True) -> list[Record]:
    """Every event up to 48 hours late, up to three in ten of them twice, in the order in which the log takes them."""
    found = []
    for number, event in enumerate(events):
        known = max(event["time"], event["recorded"] or event["time"])
        late = draw(st.sampled_from((0 * DAY, -4 * MINUTE, MINUTE, HOUR, DAY, MOST_LATE)))
        named = replace_id(event, f"{event['type']}-{number}" if ids else None)
        found.append(Record(named, known + late))
    again = draw(st.lists(st.sampled_from(found), max_size=3 * len(found) // 10)) if found else []
    found += [replace(one, appended=one.appended + draw(st.sampled_from((0 * DAY, HOUR, DAY)))) for one in again]
    return sorted(draw(st.permutations(found)), key=lambda one: one.appended)


def replace_id(event: Event, name: str | None) -> Event:
    named = event.copy()
    named["id"] = name
    return named


def once(events: Sequence[Event]) -> list[Event]:
    """Of events with the same id the first; those without an id all."""
    first: dict[object, Event] = {}
    for number, event in enumerate(events):
        first.setdefault((event["type"], event["id"]) if event["id"] else number, event)
    return list(first.values())


def payload(event: Event) -> bytes:
    """An event as it is written to a log."""
    document: dict[str, Any] = {
        "type": event["type"],
        "customer_id": event["customer_id"],
        "time": event["time"].isoformat(),
        **event["values"],
        **event["categories"],
    }
    document |= {} if event["recorded"] is None else {"recorded": event["recorded"].isoformat()}
    document |= {} if event["id"] is None else {"id": event["id"]}
    return json.dumps(document).encode()


@dataclass
class Fate:
    """Counts deeds, and at some of them ends the process or lets the deed fail."""

    die_at: int | None = None
    fail_at: frozenset[int] = frozenset()
    done: int = 0
    dead: bool = False

    def note(self) -> None:
        """A deed is about to be done, or has just been done."""
        self.done += 1
        if self.dead or self.done == self.die_at:
            self.dead = True
            raise Killed
        if self.done in self.fail_at:
            raise UnreachableError("It does not answer.", hint="Try again.")

    @contextmanager
    def around(self) -> Iterator[None]:
        self.note()
        yield
        self.note()


class FatefulStore:
    """A store whose consumer may be killed, or lose the answer, before and after every write."""

    def __init__(self, store: OnlineStore, fate: Fate) -> None:
        self._store, self._fate = store, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def claim(self, partition: int) -> Mark:
        with self._fate.around():
            return self._store.claim(partition)

    def reset(self, partition: int, note: Mapping[str, Any]) -> Mark:
        with self._fate.around():
            return self._store.reset(partition, note)

    def apply(self, partition: int, mark: Mark, update: Update) -> Mark:
        with self._fate.around():
            return self._store.apply(partition, mark, update)


class FatefulArchive(Archive):
    """An archive whose consumer may be killed before, within and after every flush."""

    fate: Fate = Fate()

    def flush(self, partition: int, end: int) -> None:
        with self.fate.around():
            super().flush(partition, end)

    def _move(self, partition: int, end: int) -> None:
        self.fate.note()
        super()._move(partition, end)


@dataclass
class Site:
    """A project's stream in a folder; its parts are opened anew for every consumer, as a new process would."""

    folder: Path
    features: FeatureSet
    values: tuple[str, ...] = logs.VALUES
    ids: bool = True
    batch: int = 3
    archive_every: timedelta = timedelta(0)
    history: History | None = None
    now: datetime = datetime(1971, 1, 1, tzinfo=UTC)
    commits: int = 0
    opened: list[Any] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout.of(self.features)

    def clock(self) -> datetime:
        return self.now

    def append(self, records: Sequence[Record]) -> None:
        """The log takes records, each at its instant."""
        with self.stream() as stream:
            for one in records:
                self.now = one.appended
                stream.log.append([(one.event["customer_id"], payload(one.event))])

    @contextmanager
    def stream(self, fate: Fate | None = None) -> Iterator[Stream]:
        settings = StreamSettings(partitions=PARTITIONS, batch=self.batch, archive_every=timedelta(seconds=1))
        settings = settings.model_copy(update={"archive_every": self.archive_every})
        schemas = {name: EventSchema(name, self.values, (logs.CATEGORY,), self.ids) for name in logs.TYPES}
        log = open_sqlite_log(self.folder / "log.db", PARTITIONS, clock=self.clock)
        store: Any = open_online("sqlite:///online.db", self.folder, project="site", partitions=PARTITIONS)
        database = open_database("sqlite:///tenure.db", root=self.folder)
        archive = FatefulArchive(self.folder / "archive", schemas, self.clock)
        archive.fate = fate or Fate()
        try:
            yield Stream(
                settings,
                Rules(self.layout, schemas, UTC, PARTITIONS),
                log,
                FatefulStore(store, fate) if fate else store,
                archive,
                database,
                self._open_history,
                lambda: open_engine(RuntimeSettings(threads=1), self.folder),
                self.clock,
            )
        finally:
            store.close()
            log.close()
            database.dispose()

    def _open_history(self) -> History:
        if self.history is None:
            raise StateError("There is no history.", hint="None was expected to be asked for.")
        return self.history

    def fold(self, fate: Fate | None = None, *, commits: int | None = None) -> None:
        """A consumer folds until it is killed, until it has made so many commits, or until it is at the end."""
        left = [commits]
        ends = (Killed, UnreachableError) if fate else ()  # the last flush, while it stops, may fail as well

        def report(_: object) -> None:
            self.commits += 1
            left[0] = None if left[0] is None else left[0] - 1

        with self.stream(fate) as stream, impatient(fate or Fate()), suppress(*ends):
            consumer = Consumer(stream, report)
            consumer.run(lambda: left[0] == 0 or caught_up(stream), poll_seconds=0.0)

    def lose(self) -> None:
        """Everything in the online store is gone."""
        with sqlite3.connect(self.folder / "online.db") as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                connection.execute(f'DELETE FROM "{table}"')
        connection.close()

    def fold_through_a_loss(self) -> None:
        """A consumer folds, and after its first commit, or once it has nothing to do, all states are lost."""
        lost = [False]

        def stop() -> bool:
            if not lost[0] and (self.commits > commits or caught_up(stream)):
                self.lose()
                lost[0] = True
            return lost[0] and caught_up(stream)

        def report(_: object) -> None:
            self.commits += 1

        commits = self.commits
        with self.stream() as stream, impatient(Fate()):
            Consumer(stream, report).run(stop, poll_seconds=0.0)

    def bootstrap(self, as_of: datetime) -> None:
        with self.stream() as stream, impatient(Fate()):
            begin(stream, as_of)
            rebuild(stream)

    def sweep(self) -> None:
        """A consumer with nothing else to do goes through all customers."""

        def stop() -> bool:
            marks = stream.store.marks().values()
            return all(mark.note.get("swept") == mark.note.get("appended", 0) // _DAY_US for mark in marks)

        with self.stream() as stream, impatient(Fate()):
            Consumer(stream).run(stop, poll_seconds=0.0)

    def read(self, customers: Sequence[str], as_of: datetime) -> dict[str, dict[str, Number | None]]:
        """What is online, in the oracle's terms."""
        with self.stream() as stream:
            vectors = read_vectors(stream.store, self.layout, customers, as_of, self.clock)
        return {one: row(vectors.columns, self.features, place) for place, one in enumerate(customers)}


def write_history(events: Sequence[Event], folder: Path, *, ids: bool) -> History:
    """Events as the source stage writes them, with ids where the types have them."""
    folder.mkdir()
    tables = {}
    for name in logs.TYPES:
        own = sorted((event for event in events if event["type"] == name), key=lambda event: event["time"])
        table = canonical_events(own, name)
        if ids:
            table = table.append_column("id", pa.array([event["id"] for event in own], pa.string()))
        path = folder / f"{name}.parquet"
        pq.write_table(table, path)
        has_recorded = "recorded" in table.column_names
        columns = (logs.VALUES, (logs.CATEGORY,))
        tables[name] = EventTable(name, (path,), len(own), 0, None, None, *columns, has_recorded, ids)
    return History(tables, None, None, "0f")


@contextmanager
def impatient(fate: Fate) -> Iterator[None]:
    """Consumers look after their store at every turn, and try again at once; burying is a deed."""
    bury: Callable[..., None] = vars(consumer_module)["bury"]

    def fateful(*given: Any) -> None:
        with fate.around():
            bury(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumer_module, "bury", fateful)
        patch.setattr(consumer_module, "_LOOK_SECONDS", 0.0)
        patch.setattr(consumer_module, "_REST_SECONDS", 0.0)
        patch.setattr(consumer_module, "_PATIENCE_SECONDS", 0.0)
        patch.setattr(consumer_module, "_SWEEP_CUSTOMERS", 2)
        yield
