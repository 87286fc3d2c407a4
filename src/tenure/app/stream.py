"""`tenure stream`: the parts of a project's stream, opened from its settings, and what can be done with them.

Enters: a `Place`. Leaves: an open `Stream` and the results of the verbs. Invariant: the features that are folded are
those of the version that answers (`tenure.app.wanted`), or, before there is one, those that the settings declare: what
is folded is what is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

import ibis
import pyarrow as pa

from tenure.app.features import require_known
from tenure.app.history import declared_features, default_as_of, open_history
from tenure.app.place import Place
from tenure.app.wanted import wanted_features
from tenure.core.errors import ConfigError, HistoryError
from tenure.core.progress import Progress, silent
from tenure.core.time import from_micros, parse_timezone
from tenure.features.declare import FeatureSet, declare, splits
from tenure.features.series import Layout
from tenure.features.snapshot import everyone
from tenure.source.event_schema import EventSchema
from tenure.source.history import History
from tenure.source.log import EventLog
from tenure.source.logs import open_log
from tenure.store.archive import Archive
from tenure.store.consumer import COUNTS, Consumer, Progressed, caught_up, fits
from tenure.store.folding import Rules
from tenure.store.hybrid import pack_rows
from tenure.store.online import open_online
from tenure.store.protocol import OnlineStore
from tenure.store.restore import begin, origins
from tenure.store.stream import Stream
from tenure.store.verify import Parity, sample_customers, verify

__all__ = [
    "PartitionStatus",
    "bootstrap",
    "check_parity",
    "consume",
    "consume_all",
    "event_schemas",
    "open_stream",
    "publish",
    "rebuild",
    "status",
    "stream_features",
]

_PAGE_ROWS = 10_000
_FILL_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class PartitionStatus:
    """Where one partition stands.

    Parameters
    ----------
    partition : int
        Which.
    ready : bool
        Whether the online store has complete states of today's features.
    position, end : int
        The next record to fold, and the next one that the log will give.
    lag : int
        How many records are appended and not folded.
    folded_until : datetime or None
        When the newest folded record was appended, UTC.
    archived : int
        Records before this one are in the archive.
    customers : int
        How many have a state.
    events, duplicates, known, late, dead : int
        What became of the records: counted, seen before, in history already, counted but later than five minutes,
        and unreadable.
    """

    partition: int
    ready: bool
    position: int
    end: int
    lag: int
    folded_until: datetime | None
    archived: int
    customers: int
    events: int
    duplicates: int
    known: int
    late: int
    dead: int


def event_schemas(place: Place) -> dict[str, EventSchema]:
    """The event types that a log may hold.

    Raises
    ------
    ConfigError
        The project is a plain table.
    """
    if not place.settings.events:
        raise ConfigError("A plain table has no events to stream.", hint="This needs [events] in tenure.toml.")
    return {
        name: EventSchema(name, one.values, one.categories, needs_id=one.id is not None)
        for name, one in place.settings.events.items()
    }


def stream_features(place: Place, progress: Progress = silent) -> FeatureSet:
    """The features of the version that answers; before there is one, those that the settings declare.

    Raises
    ------
    NotFoundError
        The version's features need events that the settings no longer name.
    ArtifactError
        The version's manifest is absent or another one.
    """
    database = place.database()
    try:
        served = wanted_features(place, place.registry(database))
    finally:
        database.dispose()
    if served is not None:
        return served
    if not splits(place.settings.features) and place.settings.customers is None:
        return declare(place.settings.features)
    with place.alone(progress), place.engine() as engine:
        opened = open_history(place, engine, progress)
        return declared_features(place, opened, before=default_as_of(opened.history))


@contextmanager
def open_stream(place: Place, progress: Progress = silent) -> Iterator[tuple[Stream, FeatureSet]]:
    """Open a project's stream; its log and its store are closed at the end.

    Raises
    ------
    ConfigError
        A part is set to something that is not understood.
    UnreachableError
        A server does not answer.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with open_stream(place) as (stream, features):
    ...     stream.log.name, len(features.events)
    ('log.db', 6)
    """
    schemas = event_schemas(place)
    features = stream_features(place, progress)
    settings, zone = place.settings.stream, parse_timezone(place.settings.project.timezone)
    with ExitStack() as opened:
        log = open_log(settings, place.root, clock=place.clock)
        opened.callback(log.close)
        store = open_store(place, log)
        opened.callback(store.close)
        database = place.database()
        opened.callback(database.dispose)
        stream = Stream(
            settings,
            Rules(Layout.of(features), schemas, zone, log.partitions, settings.partitioner),
            log,
            store,
            Archive(place.root / settings.archive, schemas, place.clock),
            database,
            lambda: _history(place, progress),
            place.engine,
            place.clock,
            progress,
        )
        yield stream, features


def open_store(place: Place, log: EventLog) -> OnlineStore:
    """Open a project's online store, for the customers of its log.

    Raises
    ------
    ConfigError
        `[store] online` is not understood.
    UnreachableError
        The store does not answer.
    """
    settings = place.settings
    return open_online(
        settings.store.online,
        place.root,
        project=settings.project.name,
        partitions=log.partitions,
        partitioner=settings.stream.partitioner,
    )


def _history(place: Place, progress: Progress) -> History:
    with place.alone(progress), place.engine() as engine:
        return open_history(place, engine, progress).history


def consume(stream: Stream, stop: Callable[[], bool], report: Callable[[Progressed], None]) -> None:
    """Fold events until `stop` says so.

    Raises
    ------
    StateError
        Something is wrong that waiting does not mend.
    """
    Consumer(stream, report).run(stop)


def consume_all(
    stream: Stream,
    report: Callable[[Progressed], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Fold everything that has been appended until now, together with whoever else is folding, or until `stop`.

    Raises
    ------
    StateError
        Something is wrong that waiting does not mend, or the store stopped answering.
    """
    ends = {partition: end for partition, (_, end) in stream.log.bounds().items()}
    whole = max(sum(ends.values()), 1)

    def told(progressed: Progressed) -> None:
        reached[progressed.partition] = min(progressed.position, ends.get(progressed.partition, 0))
        stream.progress("fold", sum(reached.values()) / whole)
        if report is not None:
            report(progressed)

    reached = {partition: mark.position or 0 for partition, mark in stream.store.marks().items()}
    consume(stream, lambda: stop() or caught_up(stream, ends), told)


def status(stream: Stream, *, sizes: bool = True) -> list[PartitionStatus]:
    """Where every partition stands; counting the customers of large partitions takes a while, and can be left out."""
    marks = stream.store.marks()
    found = []
    for partition, (first, end) in sorted(stream.log.bounds().items()):
        mark = marks.get(partition)
        ready = mark is not None and fits(mark, stream.rules, stream.log)
        position = mark.position if mark is not None and ready and mark.position is not None else first
        note = dict(mark.note) if mark is not None and ready else {}
        appended = int(note.get("appended", 0))
        found.append(
            PartitionStatus(
                partition=partition,
                ready=ready,
                position=position,
                end=end,
                lag=max(end - position, 0),
                folded_until=from_micros(appended) if appended else None,
                archived=stream.archive.position(partition) or 0,
                customers=stream.store.size(partition) if sizes else 0,
                **{name: int(note.get(name, 0)) for name in COUNTS},
            )
        )
    return found


def bootstrap(place: Place, stream: Stream, features: FeatureSet, as_of: datetime) -> list[PartitionStatus]:
    """Fill the online store from history as of an instant, and go on with the log.

    Raises
    ------
    HistoryError
        The instant lies before the data, or in the future; or so long ago that the log has dropped what came after it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with open_stream(place) as (stream, features):
    ...     found = bootstrap(place, stream, features, datetime.fromisoformat("2025-10-28T00:00:00Z"))
    >>> sum(one.customers for one in found)
    200
    """
    require_known(place, stream.history(), as_of)
    begin(stream, as_of)
    stated = rebuild(stream)
    publish(place, stream, features, as_of)
    return stated


def rebuild(stream: Stream) -> list[PartitionStatus]:
    """Fold everything anew: history of the bootstrap if there was one, the archive, and the log until its end.

    The states are dropped first. Whoever folds a partition, this process or another one of the group, notices and fills
    it; this one goes on until all of them are filled and at the end of the log.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with open_stream(place) as (stream, features):
    ...     [one.ready for one in rebuild(stream)]
    [True, True, True, True]
    """
    if not origins(stream.database, stream.log):
        begin(stream)
    for partition in stream.log.bounds():
        stream.store.reset(partition, {})
    consume_all(stream)
    return status(stream)


def publish(place: Place, stream: Stream, features: FeatureSet, as_of: datetime) -> int:
    """Write the batch row of every customer, attributes and features as of an instant, beside the states.

    Returns
    -------
    int
        How many customers have a row now.

    Raises
    ------
    HistoryError
        The instant lies before the data, or in the future.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with open_stream(place) as (stream, features):
    ...     publish(place, stream, features, datetime.fromisoformat("2025-10-28T00:00:00Z"))
    200
    """
    count = 0
    with place.alone(stream.progress), place.engine() as engine:
        tables = open_history(place, engine, stream.progress).tables
        require_known(place, tables.history, as_of)
        rows_sql = str(ibis.to_sql(everyone(tables, features, as_of), dialect="duckdb"))
        for batch in engine.sql(rows_sql).to_arrow_reader(_PAGE_ROWS):
            page = dict(pack_rows(pa.Table.from_batches([batch]), as_of))
            stream.store.publish(page)
            count += len(page)
    return count


def check_parity(
    stream: Stream, features: FeatureSet, *, sample: int, seed: int, customers: Sequence[str] = ()
) -> Parity:
    """Compare online vectors with history, for customers by name or by chance.

    Raises
    ------
    HistoryError
        Nothing is in the store yet, or nobody.
    StateError
        A part of the store is being filled.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from tenure.testing.shop import write_shop
    >>> place = Place.load(write_shop(Path(tempfile.mkdtemp())))
    >>> with open_stream(place) as (stream, features):
    ...     filled = bootstrap(place, stream, features, datetime.fromisoformat("2025-10-28T00:00:00Z"))
    ...     check_parity(stream, features, sample=20, seed=0).equal
    True
    """
    marks = stream.store.marks()
    if not any(fits(mark, stream.rules, stream.log) for mark in marks.values()):
        raise HistoryError(
            f"There is nothing to compare yet: no events have been folded into {stream.store.name}.",
            hint="Run `tenure stream --until-caught-up` first.",
        )
    chosen = list(customers) or sample_customers(stream.store, sample, seed)
    if not chosen:
        raise HistoryError("There is nobody to compare: no customer has a state.", hint="Append events first.")
    return verify(stream, features, chosen)
