"""The consumer: from the event log into the online store, every event once.

Enters: records of the partitions that are ours. Leaves: states in the online store, dead letters in the database, raw
events in the archive.

**Why every event counts exactly once.** The store writes the states of a batch, the ids in it and the position after it
in one atomic step, and refuses the step unless the consumer still holds the partition and the position is the one that
the batch was read from (`tenure.store.protocol`). So a batch has been folded wholly, or not at all, and the store's
position says which. There is one way back from everything: a restart, a kill, a lost partition, an answer that never
came, a store that was away. The consumer forgets what it held of the partition, claims it anew, and reads on from the
position that the store gives. Nothing else keeps a position, so there are no two that could disagree.

**What may happen twice is harmless twice.** Dead letters are buried before the step, under their place in the log, so
burying again changes nothing. The archive comes after it and has a position of its own, behind the store's; what it
missed is read again from the log, and what it has twice is one record, because a place in the log is one record.

**A store that has lost its states** has no mark of the partition, or a mark that is not ready. The consumer has it
restored (`tenure.store.restore`) before it reads on.

**A quiet log is not a late one.** Where there is nothing to fold, the note of the mark says every few seconds at which
instant everything was folded (`caught_up`). That is a write like any other: it is refused to whoever lost the
partition, leaves the position where it is, and may happen twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from tenure.core.errors import FencedError, StateError, UnreachableError
from tenure.core.time import parse_instant, span_micros, to_micros
from tenure.features.state import prune, settle
from tenure.features.wire import decode, encode
from tenure.source.log import Batch, EventLog
from tenure.store.dead import DeadLetter, bury
from tenure.store.folding import Counted, Rules, count, fold_rows, readable, remember
from tenure.store.protocol import Mark, Update
from tenure.store.restore import restore
from tenure.store.seen import SPAN_DAYS, Seen, bucket_of
from tenure.store.stream import Stream

__all__ = ["COUNTS", "Consumer", "Progressed", "caught_up", "fits"]

COUNTS = ("events", "duplicates", "known", "late", "dead")
_FIRST_PATIENCE_SECONDS, _PATIENCE_SECONDS = 0.05, 2.0
_LOOK_SECONDS = 1.0
_REST_SECONDS = 5.0
_SWEEP_CUSTOMERS = 2_000
_ARCHIVE_ROWS = 200_000


@dataclass(frozen=True)
class Progressed:
    """One commit: what was counted, and how old the events were when they could be read.

    `fresh_seconds` holds the age of every record at that moment, as the clock has it.
    """

    partition: int
    position: int
    counts: Mapping[str, int]
    fresh_seconds: np.ndarray[Any, np.dtype[np.float64]]


def _unheard(progressed: Progressed) -> None:
    """Tell nobody."""


@dataclass
class _Held:
    """What the consumer believes of a partition that it holds."""

    mark: Mark
    seen: Seen
    as_of: datetime | None
    cursor: str | None = None


class Consumer:
    """Folds the partitions that the log gives it; the listener of its reader.

    Parameters
    ----------
    stream : Stream
        Where events come from and where states go.
    report : callable
        Told about every commit.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream(folded=False) as stream:
    ...     Consumer(stream).run(stop=lambda: caught_up(stream))
    ...     sum(mark.note["events"] for mark in stream.store.marks().values())
    5
    """

    def __init__(self, stream: Stream, report: Callable[[Progressed], None] = _unheard) -> None:
        self.stream, self.report = stream, report
        self._held: dict[int, _Held] = {}
        self._ours: set[int] = set()
        self._patience = _FIRST_PATIENCE_SECONDS
        self._next_look = self._next_rest = 0.0

    def run(self, stop: Callable[[], bool], poll_seconds: float = 0.2) -> None:
        """Read and fold until `stop` says so; then archive what is buffered and give the partitions back.

        Raises
        ------
        StateError
            Something is wrong that waiting does not mend: records are gone.
        ConfigError
            The archive belongs to another log.
        """
        self.stream.archive.keep_for(self.stream.log.identity)
        reader = self.stream.log.reader(self.stream.settings.group, self)
        try:
            while not stop():
                try:
                    batches = reader.poll(self.stream.settings.batch, poll_seconds)
                except UnreachableError as error:
                    self._wait_out(error)
                    continue
                except StateError as error:  # the log has not what was to be read: see anew where to read on
                    batches = []
                    for partition in list(self._held):
                        self._let_go(partition)
                    self._wait_out(error)
                again = self._take_over(reader.seek)
                for batch in batches:
                    if batch.partition not in again:  # it was read before the position was known
                        self._take(batch)
                self._archive_due()
                self._look_after()
        finally:
            reader.close()

    def assigned(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Take partitions over, restoring what is missing, and say where to read on."""
        marks = {partition: self.stream.store.claim(partition) for partition in partitions}
        bounds = self.stream.log.bounds()
        missing = [
            partition
            for partition, mark in marks.items()
            if not fits(mark, self.stream.rules, self.stream.log) or not _within(mark.position, bounds[partition])
        ]
        if missing:
            marks |= restore(self.stream, missing)
        positions = {partition: self._hold(partition, mark, bounds[partition][0]) for partition, mark in marks.items()}
        self._ours |= set(partitions)
        return positions

    def revoked(self, partitions: Sequence[int], *, lost: bool) -> None:
        """Let partitions go; what is buffered for the archive is written unless somebody else may do so already."""
        gone = {partition: self._held.pop(partition, None) for partition in partitions}
        self._ours.difference_update(partitions)  # before anything fails: from here on they are somebody else's
        try:
            for partition, held in gone.items():
                if held is not None and held.mark.position is not None and not lost:
                    self.stream.archive.flush(partition, held.mark.position)
        finally:
            for partition in partitions:
                self.stream.archive.forget(partition)

    def _hold(self, partition: int, mark: Mark, kept: int) -> int:
        position = mark.position or 0
        as_of = mark.note.get("as_of")
        held = _Held(mark, Seen.load(self.stream.store.seen(partition)), parse_instant(as_of) if as_of else None)
        self.stream.archive.forget(partition)
        self._catch_up(partition, self._unarchived(partition, int(mark.note["origin"]), kept), position)
        self._held[partition] = held
        return position

    def _catch_up(self, partition: int, first: int, end: int) -> None:
        """Archive what was folded by a consumer that did not live to archive it."""
        if first >= end:
            return
        for batch in self.stream.log.read(partition, first, end):
            self.stream.archive.add(partition, readable(self.stream.rules, batch)[0], batch.offsets, batch.appended)
            if self.stream.archive.buffered(partition).rows >= _ARCHIVE_ROWS:
                self.stream.archive.flush(partition, int(batch.offsets[-1]) + 1)
        self.stream.archive.flush(partition, end)

    def _unarchived(self, partition: int, origin: int, kept: int) -> int:
        """Where to archive on: a later bootstrap may begin before `origin`, so that nothing the log has is left out."""
        done = self.stream.archive.position(partition)
        if done is None or done < kept <= origin:  # what is gone from the log does not count any more
            return min(kept, origin)
        return done

    def _take_over(self, seek: Callable[[int, int], None]) -> set[int]:
        """Claim what was let go after an error and is still ours, and read on from where it is."""
        again = self._ours - self._held.keys()
        for partition in sorted(again):
            try:
                seek(partition, self.assigned([partition])[partition])
            except StateError as error:
                self._wait_out(error)
                break
        return again

    def _take(self, batch: Batch) -> None:
        held = self._held.get(batch.partition)
        if held is None:  # let go a moment ago: what follows is read again
            return
        try:
            self._fold(held, batch)
            self._patience = _FIRST_PATIENCE_SECONDS
        except FencedError:
            # Whoever holds the partition now is told by the log at the next poll, and so are we.
            self._let_go(batch.partition)
        except StateError as error:
            self._let_go(batch.partition)
            self._wait_out(error)

    def _fold(self, held: _Held, batch: Batch) -> None:
        partition, end, now = batch.partition, int(batch.offsets[-1]) + 1, int(batch.appended.max())
        if batch.offsets[0] < (held.mark.position or 0):
            raise StateError(
                f"Partition {partition} was read from {batch.offsets[0]} and is folded until {held.mark.position}.",
                hint="It is claimed and read anew.",
            )
        counted = count(self.stream.rules, batch, held.seen, held.as_of)
        self._bury(batch, counted)
        states = fold_rows(
            self.stream.rules.layout,
            counted.fresh,
            now,
            lambda customers: self.stream.store.states(partition, customers),
        )
        numbers = {
            "events": sum(len(rows.row) for rows in counted.fresh.values()),
            "duplicates": counted.duplicates,
            "known": counted.known,
            "late": counted.late,
            "dead": len(counted.faults),
        }
        note = {**held.mark.note, "appended": now}
        note |= {name: int(note.get(name, 0)) + number for name, number in numbers.items()}
        bucket = bucket_of(now)
        update = Update(
            position=end,
            note=note,
            states=states,
            seen=remember(held.seen, counted, now),
            forget=bucket - SPAN_DAYS,
        )
        held.mark = self.stream.store.apply(partition, held.mark, update)
        held.seen.forget(bucket - SPAN_DAYS)
        self.stream.archive.add(partition, counted.raw, batch.offsets, batch.appended)
        readable_at = to_micros(self.stream.clock()) / 1e6
        self.report(Progressed(partition, end, numbers, readable_at - batch.appended / 1e6))

    def _bury(self, batch: Batch, counted: Counted) -> None:
        bury(
            self.stream.database,
            [
                DeadLetter(
                    log=self.stream.log.identity,
                    partition=batch.partition,
                    offset=int(batch.offsets[fault.row]),
                    appended=int(batch.appended[fault.row]),
                    reason=fault.reason,
                    detail=fault.detail,
                    payload=batch.payloads[fault.row],
                )
                for fault in counted.faults
            ],
        )

    def _archive_due(self) -> None:
        for partition, held in list(self._held.items()):
            rows, age = self.stream.archive.buffered(partition)
            due = not 0 <= age < self.stream.settings.archive_every.total_seconds()  # below 0: the clock was set back
            if rows >= _ARCHIVE_ROWS or (rows and due):
                try:
                    self.stream.archive.flush(partition, held.mark.position or 0)
                except StateError as error:  # the log has what the archive lacks: it is read again
                    self._let_go(partition)
                    self._wait_out(error)

    def _look_after(self) -> None:
        """Now and then: notice a store that was emptied or taken over, and drop what no window reaches any more."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        try:
            marks = self.stream.store.marks()
            for partition, held in list(self._held.items()):
                found = marks.get(partition)
                if found is None or found.epoch != held.mark.epoch:
                    self._let_go(partition)
                else:
                    self._sweep(partition, held)
            self._note_rest()
        except StateError as error:
            self._wait_out(error)

    def _note_rest(self) -> None:
        """Write down that there is nothing to fold, for partitions whose newest record does not say so by its age."""
        if time.monotonic() < self._next_rest:
            return
        self._next_rest = time.monotonic() + _REST_SECONDS
        now = to_micros(self.stream.clock())  # before the log is asked: what it has not by then is appended later
        ends = self.stream.log.bounds()
        for partition, held in self._held.items():
            is_quiet = now - int(held.mark.note.get("appended", 0)) >= _REST_SECONDS * 1e6
            if is_quiet and (held.mark.position or 0) >= ends[partition][1]:
                update = Update(position=held.mark.position, note={**held.mark.note, "caught_up": now})
                held.mark = self.stream.store.apply(partition, held.mark, update)

    def _sweep(self, partition: int, held: _Held) -> None:
        """Go through the customers once a day, some at a time, for tiles of those who are not heard of any more."""
        now = int(held.mark.note.get("appended", 0))
        if held.mark.note.get("swept") == bucket_of(now):
            return
        page, cursor = self.stream.store.scan(partition, held.cursor, _SWEEP_CUSTOMERS)
        before = dict(page)
        states = settle(decode(self.stream.rules.layout, list(before.values())), now)
        after = encode(prune(states, np.full(states.size, now)))
        smaller = {
            customer: new for (customer, old), new in zip(before.items(), after, strict=True) if len(new) < len(old)
        }
        note = {**held.mark.note, "swept": bucket_of(now)} if cursor is None else held.mark.note
        held.cursor = cursor
        if smaller or cursor is None:
            update = Update(position=held.mark.position, note=note, states=smaller)
            held.mark = self.stream.store.apply(partition, held.mark, update)
        if cursor is None:
            self._trim(partition, now)

    def _trim(self, partition: int, now: int) -> None:
        """Drop what is archived and old from a log that is a file."""
        archived = self.stream.archive.position(partition) or 0
        oldest = self.stream.log.offsets_at(now - span_micros(self.stream.settings.keep))[partition]
        self.stream.log.trim(partition, min(archived, oldest))

    def _let_go(self, partition: int) -> None:
        self._held.pop(partition, None)
        self.stream.archive.forget(partition)

    def _wait_out(self, error: StateError) -> None:
        """Wait before the next attempt, longer each time; what waiting cannot mend is raised."""
        if not error.retryable:
            raise error
        time.sleep(self._patience)
        self._patience = min(2 * self._patience, _PATIENCE_SECONDS)


def fits(mark: Mark, rules: Rules, log: EventLog) -> bool:
    """Whether the states behind a mark can be read on from: complete, of these features, of this log.

    Examples
    --------
    >>> fits(Mark(1, None, {}), rules=None, log=None)
    False
    """
    note = mark.note
    return (
        mark.position is not None
        and note.get("ready") is True
        and note.get("layout") == rules.layout.hash
        and note.get("log") == log.identity
        and note.get("partitions") == log.partitions
    )


def _within(position: int | None, bounds: tuple[int, int]) -> bool:
    """Whether the log still has what is next; where it has dropped it, the archive has to have it."""
    return position is not None and bounds[0] <= position <= bounds[1]


def caught_up(stream: Stream, ends: Mapping[int, int] | None = None) -> bool:
    """Whether every partition is ready and everything before its end has been folded.

    Parameters
    ----------
    stream : Stream
        Whose partitions.
    ends : mapping of int to int, optional
        Ends to reach; default: those of this moment, which events that keep coming move on and on.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> with small_stream() as stream:
    ...     caught_up(stream), caught_up(stream, {0: 99})
    (True, False)
    """
    marks = stream.store.marks()
    if ends is None:
        ends = {partition: end for partition, (_, end) in stream.log.bounds().items()}
    return all(
        (mark := marks.get(partition)) is not None
        and fits(mark, stream.rules, stream.log)
        and (mark.position or 0) >= end
        for partition, end in ends.items()
    )
