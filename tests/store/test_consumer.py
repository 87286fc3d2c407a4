"""What the consumer does beside folding: it trims a log that is a file, and only what is archived and old."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tenure.core.errors import StateError
from tenure.core.time import fixed_clock
from tenure.source.log_sqlite import SqliteLog, open_sqlite_log
from tenure.store.consumer import Consumer, caught_up
from tenure.store.protocol import Update
from tenure.store.stream import Stream
from tenure.store.vectors import read_vectors
from tenure.testing.stream import small_stream


def later(stream: Stream, days: int) -> Stream:
    """The same stream some days later, with one more event on its log."""
    assert isinstance(stream.log, SqliteLog)
    clock = fixed_clock(str(stream.clock() + timedelta(days=days)))
    log = open_sqlite_log(stream.log.path, stream.log.partitions, clock=clock)
    for customer in ("ana", "bo", "cy"):
        event = {"type": "pay", "customer_id": customer, "time": clock().isoformat(), "id": f"{customer} {days}"}
        log.append([(customer, json.dumps(event).encode())])
    return replace(stream, log=log, clock=clock)


def fold(stream: Stream) -> None:
    """Fold everything, and look after the store until it has been gone through."""

    def done() -> bool:
        swept = [mark.note.get("swept") for mark in stream.store.marks().values()]
        return caught_up(stream) and None not in swept and len(set(swept)) == 1

    Consumer(stream).run(done, poll_seconds=0.01)


def firsts(stream: Stream) -> list[int]:
    return [first for first, _ in stream.log.bounds().values()]


def test_what_is_archived_and_old_is_trimmed() -> None:
    with small_stream() as stream:
        begun = stream.log.bounds()
        assert firsts(stream) == [0, 0]
        for days in (10, 13):
            younger = later(stream, days)
            fold(younger)
            younger.log.close()
        assert firsts(stream) == [0, 0]  # fourteen days are kept
        for days in (15, 16):  # the archive gets its events when a consumer ends, and the next one trims
            older = later(stream, days)
            fold(older)
            older.log.close()
        assert firsts(stream) == [end for _, end in begun.values()]


def test_what_is_not_archived_is_kept() -> None:
    with small_stream() as stream:
        for partition in (0, 1):
            stream.archive.drop(partition)
        older = later(stream, 30)
        consumer = Consumer(older)
        consumer._trim(0, int(older.clock().timestamp() * 1e6))
        assert firsts(older)[0] == 0
        older.log.close()


def test_what_the_log_has_dropped_is_folded_from_the_archive() -> None:
    """A store that comes back older than the log's first record is filled anew instead of waiting for ever."""
    with small_stream() as stream:
        before = read_vectors(stream.store, stream.rules.layout, ["ana", "bo", "cy"], clock=stream.clock)
        for partition, (_, end) in stream.log.bounds().items():
            mark = stream.store.reset(partition, stream.store.marks()[partition].note)
            stream.store.apply(partition, mark, Update(position=0, note=mark.note))
            assert stream.log.trim(partition, end) == end
        Consumer(stream).run(lambda: caught_up(stream))
        after = read_vectors(stream.store, stream.rules.layout, ["ana", "bo", "cy"], clock=stream.clock)
        assert {name: column.tolist() for name, column in after.columns.items()} == {
            name: column.tolist() for name, column in before.columns.items()
        }


def test_what_is_gone_from_log_and_archive_ends_the_consumer() -> None:
    with small_stream() as stream:
        for partition, (_, end) in stream.log.bounds().items():
            mark = stream.store.reset(partition, stream.store.marks()[partition].note)
            stream.store.apply(partition, mark, Update(position=0, note=mark.note))
            stream.archive.drop(partition)
            stream.log.trim(partition, end)
        with pytest.raises(StateError, match="is gone, or this is another log") as raised:
            Consumer(stream).run(lambda: caught_up(stream))
        assert not raised.value.retryable
