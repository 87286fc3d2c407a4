"""What the consumer does beside folding: it says that a quiet log is folded, and trims one that is a file.

Only what is archived and old is trimmed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tenure.core.errors import FencedError, StateError
from tenure.core.time import fixed_clock, from_micros, to_micros
from tenure.source.log import partition_of
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


def folded_until(stream: Stream) -> list[datetime]:
    customers = ["ana", "bo", "cy"]
    found = read_vectors(stream.store, stream.rules.layout, customers, clock=stream.clock)
    return [from_micros(one) for one in found.folded]


def rest(stream: Stream, turns: int) -> None:
    """A consumer with nothing to do goes round so many times."""
    left = iter(range(turns))
    Consumer(stream).run(lambda: next(left, None) is None, poll_seconds=0.0)


def test_features_of_a_quiet_log_do_not_grow_old() -> None:
    with small_stream() as stream:
        monday = stream.clock()
        assert folded_until(stream) == [monday] * 3
        tuesday = replace(stream, clock=lambda: monday + timedelta(days=1))
        marks = stream.store.marks()
        rest(tuesday, 1)
        assert folded_until(stream) == [monday + timedelta(days=1)] * 3
        after = stream.store.marks()
        assert {one: mark.position for one, mark in after.items()} == {
            one: mark.position for one, mark in marks.items()
        }
        assert {mark.note["appended"] for mark in after.values()} == {to_micros(monday)}
        rest(replace(stream, clock=lambda: monday + timedelta(days=1, seconds=1)), 1)
        assert folded_until(stream) == [monday + timedelta(days=1, seconds=1)] * 3, "whoever comes next says it anew"


def test_what_waits_on_the_log_is_not_taken_for_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    with small_stream() as stream:
        monday = stream.clock()
        monkeypatch.setattr(Consumer, "_take", lambda *_: None)  # as while a store is too slow to keep up
        behind = later(stream, 1)
        rest(behind, 3)
        behind.log.close()
        waiting = {partition_of(customer, 2) for customer in ("ana", "bo", "cy")}
        assert waiting == {0, 1}
        assert folded_until(stream) == [monday] * 3


def test_whoever_lost_a_partition_cannot_say_that_it_is_folded() -> None:
    with small_stream() as stream:
        monday = stream.clock()
        late = replace(stream, clock=lambda: monday + timedelta(days=1))
        consumer = Consumer(late)
        consumer.assigned([0, 1])
        for partition in (0, 1):
            stream.store.claim(partition)
        with pytest.raises(FencedError):
            consumer._note_rest()
        assert folded_until(stream) == [monday] * 3


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
