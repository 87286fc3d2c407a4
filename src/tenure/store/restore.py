"""Filling the online store: at a bootstrap, after a rebuild was asked for, and when a store has lost its states.

Enters: partitions whose states are missing. Leaves: their states, from history until the instant of the bootstrap and
from the archive after it, ready to be read on from the log.

All three cases are one path. Where a partition begins is written down once, in the project's database (its *origin*):
the first record of the log that counts, and the instant until which history counts, if there is one. A bootstrap at an
instant starts to read the log 72 hours before it, with the ids of the last five days of history remembered: what the
log and history share is then a duplicate like any other, and what only one of them has counts. So there is no gap and
no overlap, whether a warehouse is ahead of the log or behind it.

Invariant: a partition is marked ready only in the write that gives it its position; killed before, it is filled anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine

from tenure.core.database import metadata, transaction
from tenure.core.errors import HistoryError, StateError
from tenure.core.time import DAY_MICROS, format_instant, from_micros, parse_instant, span_micros, to_micros
from tenure.source.event_schema import EventRows
from tenure.source.log import EventLog, partition_of
from tenure.store.folding import HANDOVER_SPAN, SEED_SPAN, Rules, fold_rows, rows_from, taken
from tenure.store.protocol import Mark, Update
from tenure.store.seen import SPAN_DAYS, id_hashes
from tenure.store.stream import Stream
from tenure.store.truth import Span, Truth, open_truth

__all__ = ["Origin", "begin", "origins", "restore"]

_CHUNK_ROWS = 100_000

_origins = sa.Table(
    "stream_origins",
    metadata,
    sa.Column("log", sa.String(200), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("as_of", sa.String(32), nullable=True),
)


@dataclass(frozen=True)
class Origin:
    """Where a partition begins: the first record that counts, and until when history counts (None: not at all)."""

    first: int
    as_of: datetime | None = None


def origins(database: Engine, log: EventLog) -> dict[int, Origin]:
    """What is written down about the partitions of a log.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream() as stream:
    ...     origins(stream.database, stream.log)
    {0: Origin(first=0, as_of=None), 1: Origin(first=0, as_of=None)}
    """
    query = sa.select(_origins).where(_origins.c.log == log.identity)
    with transaction(database) as connection:
        return {
            row.partition: Origin(row.first, parse_instant(row.as_of) if row.as_of else None)
            for row in connection.execute(query)
        }


def begin(stream: Stream, as_of: datetime | None = None) -> dict[int, Origin]:
    """Write down where partitions begin: with an instant in place of what was written before, else where nothing was.

    Parameters
    ----------
    stream : Stream
        Whose partitions.
    as_of : datetime or None
        History counts until this instant, and the log from 72 hours before it; None: the log counts from its start.
        What the log has dropped is looked for in the archive.

    Raises
    ------
    HistoryError
        The log begins after `as_of`, and the archive has not kept what was before: nobody knows it any more.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream(folded=False) as stream:
    ...     begin(stream)[1]
    Origin(first=0, as_of=None)
    """
    since = 0 if as_of is None else to_micros(as_of - HANDOVER_SPAN)
    bounds = stream.log.bounds()
    firsts = {partition: first for partition, (first, _) in bounds.items()}
    if as_of is not None:
        firsts = dict(stream.log.offsets_at(since))
    for partition, (kept, end) in bounds.items():
        if 0 < kept == firsts[partition]:  # what is older was dropped, and some of it may count
            firsts[partition] = _archived_from(stream, partition, since, kept)
            if as_of is not None and kept == firsts[partition] < end:
                _refuse_gap(stream, partition, kept, as_of)
    _write(stream.database, stream.log, firsts, as_of, replace=as_of is not None)
    return origins(stream.database, stream.log)


def _archived_from(stream: Stream, partition: int, since: int, kept: int) -> int:
    """The first record from an instant on, of those that the archive has and the log no longer."""
    if (stream.archive.position(partition) or 0) < kept:
        return kept
    return min(kept, stream.archive.offset_at(partition, since, default=kept))


def _refuse_gap(stream: Stream, partition: int, kept: int, as_of: datetime) -> None:
    oldest = next(stream.log.read(partition, kept, kept + 1), None)
    if oldest is not None and oldest.appended[0] > to_micros(as_of):
        begins = from_micros(oldest.appended[0])
        raise HistoryError(
            f"Partition {partition} of {stream.log.name} begins at {format_instant(begins)}: what was appended between "
            f"{format_instant(as_of)} and then is gone.",
            hint="Bootstrap from a history that reaches at least until then, with a later --as-of.",
            partition=partition,
        )


def _write(
    database: Engine, log: EventLog, firsts: Mapping[int, int], as_of: datetime | None, *, replace: bool = False
) -> None:
    text = None if as_of is None else as_of.isoformat()
    rows = [
        {"log": log.identity, "partition": partition, "first": first, "as_of": text}
        for partition, first in firsts.items()
    ]
    same = sa.and_(_origins.c.log == log.identity, _origins.c.partition.in_(list(firsts)))
    insert = postgresql.insert if database.dialect.name == "postgresql" else sqlite.insert
    with transaction(database) as connection:
        if replace:
            connection.execute(sa.delete(_origins).where(same))
        # Several consumers may begin at once, or beside a bootstrap: whoever is first has said where.
        connection.execute(insert(_origins).on_conflict_do_nothing(), rows)


def restore(stream: Stream, partitions: Sequence[int]) -> dict[int, Mark]:
    """Fill partitions and give their marks.

    Raises
    ------
    StateError
        Records that count are neither in the archive nor in the log any more.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream() as stream:
    ...     marks = restore(stream, [0, 1])
    >>> sum(mark.note["events"] for mark in marks.values())
    5
    """
    known = _known(stream)
    # Customers of these partitions may have been in others before the log got more of them.
    spans = _spans(stream, known)
    as_of = known[partitions[0]].as_of
    truth = Truth(stream.rules.schemas, stream.history() if as_of else None, as_of, stream.archive, spans)
    with stream.engine() as engine:
        tables = open_truth(engine, truth)
        newest = _newest(engine, tables)
        filling = {
            partition: _Filling(stream, partition, known[partition], spans[partition], newest.get(partition, 0))
            for partition in partitions
        }
        for done, (name, table) in enumerate(tables.items()):
            stream.progress("restore", done / len(tables))
            for partition, rows, appended in _chunks(stream.rules, engine, name, table):
                if partition in filling:
                    filling[partition].take(name, rows, appended)
    stream.progress("restore", 1.0)
    return {partition: one.finish() for partition, one in filling.items()}


def _known(stream: Stream) -> dict[int, Origin]:
    """Where every partition begins; one that the log got since begins where it begins in the log."""
    known = origins(stream.database, stream.log) or begin(stream)
    added = {partition: first for partition, (first, _) in stream.log.bounds().items() if partition not in known}
    if added:
        _write(stream.database, stream.log, added, next(iter(known.values())).as_of)
        known = origins(stream.database, stream.log)
    return known


def _spans(stream: Stream, known: Mapping[int, Origin]) -> dict[int, Span]:
    ends = {partition: max(one.first, stream.archive.position(partition) or 0) for partition, one in known.items()}
    # The archives of others grow meanwhile: the log is asked last, so that they cannot be ahead of it.
    bounds = stream.log.bounds()
    return {
        partition: _span(stream, partition, Span(known[partition].first, ends[partition]), *bounds[partition])
        for partition in known
    }


def _span(stream: Stream, partition: int, span: Span, kept: int, last: int) -> Span:
    end = span.end
    if not kept <= end <= last:
        raise _GoneError(
            f"Partition {partition} of {stream.log.name} holds records {kept} to {last}, and the archive reaches to "
            f"{end}: what lies between is gone, or this is another log.",
            hint="Run `tenure stream bootstrap --as-of …` from a history that has it.",
            partition=partition,
        )
    return span


def _chunks(
    rules: Rules, engine: duckdb.DuckDBPyConnection, name: str, table_sql: str
) -> Iterator[tuple[int, EventRows, NDArray[np.int64]]]:
    """Events of a type by partition, those of one customer close together."""
    for batch in engine.sql(f"SELECT * FROM {table_sql} ORDER BY customer_id").to_arrow_reader(_CHUNK_ROWS):
        table = pa.Table.from_batches([batch])
        rows = rows_from(table, rules.schemas[name])
        appended = table["_appended"].cast(pa.int64()).fill_null(0).combine_chunks().to_numpy(zero_copy_only=False)
        ids = rows.customer_id.dictionary_encode()
        homes = [partition_of(one, rules.partitions, rules.partitioner) for one in ids.dictionary.to_pylist()]
        of_row = np.array(homes, dtype=np.int64)[ids.indices.to_numpy()]
        for partition in np.unique(of_row):
            own = of_row == partition
            yield int(partition), taken(rows, own), appended[own]


class _GoneError(StateError):
    """Records are gone; no second attempt brings them back."""

    retryable = False


class _Filling:
    """One partition while it is filled."""

    def __init__(self, stream: Stream, partition: int, origin: Origin, span: Span, newest: int) -> None:
        self._stream, self._partition, self._span = stream, partition, span
        self._as_of = 0 if origin.as_of is None else to_micros(origin.as_of)
        self._now = max(self._as_of, newest)
        self._events = 0
        self._note: dict[str, Any] = {
            "format": 1,
            "ready": False,
            "layout": stream.rules.layout.hash,
            "log": stream.log.identity,
            "partitions": stream.log.partitions,
            "origin": span.first,
            "as_of": None if origin.as_of is None else origin.as_of.isoformat(),
        }
        self._mark = stream.store.reset(partition, self._note)

    def take(self, name: str, rows: EventRows, appended: NDArray[np.int64]) -> None:
        """Fold a chunk; nobody reads the partition before it is finished."""
        states = fold_rows(
            self._stream.rules.layout,
            {name: rows},
            self._now,
            lambda customers: self._stream.store.states(self._partition, customers),
        )
        self._events += len(rows.row)
        update = Update(position=None, note=self._note, states=states, seen=self._ids(name, rows, appended))
        self._mark = self._stream.store.apply(self._partition, self._mark, update)

    def finish(self) -> Mark:
        """Say that the partition is complete, and where the log goes on."""
        note = {**self._note, "ready": True, "appended": self._now, "events": self._events}
        update = Update(position=self._span.end, note=note)
        return self._stream.store.apply(self._partition, self._mark, update)

    def _ids(self, name: str, rows: EventRows, appended: NDArray[np.int64]) -> dict[int, bytes]:
        """Ids to remember: of the log's last days, and of the last days of history before the log begins."""
        if rows.id is None:
            return {}
        of_log = appended > 0
        recent = np.where(of_log, appended, rows.time + span_micros(SEED_SPAN)) >= np.where(
            of_log, self._now - SPAN_DAYS * DAY_MICROS, self._as_of
        )
        buckets = np.where(of_log, appended, self._as_of) // DAY_MICROS
        hashes = id_hashes(name, rows.id)
        return {
            int(bucket): hashes[recent & (buckets == bucket)].astype("<u8").tobytes()
            for bucket in np.unique(buckets[recent])
        }


def _newest(engine: duckdb.DuckDBPyConnection, tables: Mapping[str, str]) -> dict[int, int]:
    """When the newest archived record of every partition was appended, in microseconds."""
    whole_sql = " UNION ALL ".join(f"SELECT _partition, _appended FROM {table_sql}" for table_sql in tables.values())
    found = engine.execute(
        f"SELECT _partition, epoch_us(max(_appended)) FROM ({whole_sql}) WHERE _partition IS NOT NULL GROUP BY 1"
    ).fetchall()
    return dict(found)
