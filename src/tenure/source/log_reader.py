"""A reader of the embedded log: a member of a group that shares the partitions.

Enters: polls, and the answers of a listener about where to read. Leaves: batches. Invariant: a batch comes from a
partition whose lock this reader holds, and begins exactly where the last one of the partition ended, or where the
listener or `seek` said; a partition is given back only after the listener has finished with it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tenure.core.errors import NotFoundError
from tenure.source.log import Batch, Listener
from tenure.source.log_file import read_batch, unreadable
from tenure.source.log_share import Share

__all__ = ["SqliteReader"]

ROUND_SECONDS = 0.5  # between looks at who shares the partitions
LOOK_SECONDS = 0.01  # between looks for new records


class SqliteReader:
    """A member of a group; made by `SqliteLog.reader`.

    Parameters
    ----------
    connection : sqlite3.Connection
        For this reader alone.
    name : str
        How messages call the log.
    share : Share
        The membership.
    listener : Listener
        Who is told about partitions.
    tick : callable
        A clock that only runs forward, in seconds.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        share: Share,
        listener: Listener,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._name, self._share, self._listener = connection, name, share, listener
        self._tick, self._due = tick, tick()
        self._positions: dict[int, int] = {}
        self._turn = 0
        self._closed = False

    def poll(self, max_records: int, timeout: float) -> list[Batch]:
        """Give the next records, at most `max_records` in all; wait up to `timeout` seconds for the first of them."""
        until = self._tick() + timeout
        while True:
            if self._tick() >= self._due:
                self._balance()
                self._due = self._tick() + ROUND_SECONDS
            batches = self._read(max_records)
            left = until - self._tick()
            if batches or left <= 0:
                return batches
            self._wait(min(left, self._due - self._tick()))

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition that is the reader's from another offset."""
        if partition not in self._positions:
            raise NotFoundError(
                f"Partition {partition} is not this reader's; it has {sorted(self._positions)}.",
                hint="Seek only between assigned and revoked.",
            )
        self._positions[partition] = offset

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """The first offset that is kept and the next one to be given, of every partition that is the reader's."""
        with self._looking():
            rows = self._connection.execute('SELECT partition, "first", next FROM partitions').fetchall()
        return {partition: (first, end) for partition, first, end in rows if partition in self._positions}

    def close(self) -> None:
        """Give the partitions back; doing so twice is no mistake."""
        if self._closed:
            return
        self._closed = True
        try:
            self._give_back(sorted(self._positions))
        finally:
            self._share.close()
            self._connection.close()

    def _balance(self) -> None:
        self._give_back(self._share.surplus())
        taken = self._share.take()
        if not taken:
            return
        try:
            offsets = self._listener.assigned(taken)
            self._positions |= {partition: offsets[partition] for partition in taken}
        except BaseException:
            self._share.release(taken)
            raise

    def _give_back(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        try:
            self._listener.revoked(partitions, lost=False)
        finally:
            for partition in partitions:
                self._positions.pop(partition)
            self._share.release(partitions)

    def _read(self, max_records: int) -> list[Batch]:
        """Read the partitions in turn, each poll beginning with another one, so that none waits for ever."""
        batches: list[Batch] = []
        positions = self._positions.copy()
        mine = sorted(positions)
        self._turn += 1
        with self._looking():
            for n in range(len(mine)):
                partition = mine[(self._turn + n) % len(mine)]
                batch = read_batch(self._connection, self._name, partition, positions[partition], max_records)
                if batch is not None:
                    positions[partition] += len(batch.payloads)
                    max_records -= len(batch.payloads)
                    batches.append(batch)
                if max_records <= 0:
                    break
        self._positions = positions  # only now: an error of one partition must not skip records of another
        return batches

    def _wait(self, seconds: float) -> None:
        """Sleep until somebody has written to the file, or for so many seconds."""
        until = self._tick() + seconds
        with self._looking():
            seen = self._version()
            while (left := until - self._tick()) > 0 and self._version() == seen:
                time.sleep(min(LOOK_SECONDS, left))

    def _version(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    @contextmanager
    def _looking(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise unreadable(self._name, error) from error
