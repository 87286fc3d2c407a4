"""The embedded event log: one SQLite file.

Enters: records. Leaves: batches of them, by partition and offset. Invariant: offsets of a partition follow each
other without gaps from 0, whatever is killed or fails; `appended` never runs backwards, though the clock may; what
`append` returned survives a power cut, and what it raised for is in the log as a whole or not at all.

Every partition is a table of its own with the offset as its key, so that appending writes full pages at the end of
each tree. Threads that append at the same time share one transaction and its flush to the disk: whoever gets the
writer takes along the records of all who wait. Processes take turns through SQLite's own lock. Readers see the last
committed state (write-ahead log) and block nobody.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tenure.core.errors import NotFoundError, StateError
from tenure.core.time import Clock, system_clock, to_micros
from tenure.source.log import Batch, Listener, partition_rule
from tenure.source.log_file import connect, create, read_batch, refuse_other_number, search, unreadable
from tenure.source.log_reader import SqliteReader
from tenure.source.log_share import Share

__all__ = ["SqliteLog", "open_sqlite_log"]

READ_RECORDS = 20_000
TRIM_RECORDS = 20_000


@dataclass
class _Ask:
    """Records that a thread wants to see appended, and what became of them."""

    records: list[tuple[int, bytes, bytes]]
    places: list[tuple[int, int]] = field(default_factory=list)
    error: StateError | None = None
    done: bool = False


class _UncertainError(Exception):
    """The failure came while the transaction was being made durable: it may or may not have been."""


class SqliteLog:
    """An opened embedded log; make one with `open_sqlite_log`."""

    def __init__(self, path: Path, identity: str, partitions: int, partitioner: str, clock: Clock) -> None:
        self.name, self.path, self.partitions = path.name, path, partitions
        self.identity, self._home, self._clock = identity, partition_rule(partitions, partitioner), clock
        self._gate, self._writer = threading.Lock(), threading.Lock()
        self._waiting: list[_Ask] = []
        self._connection: sqlite3.Connection | None = None

    def append(self, records: Sequence[tuple[str, bytes]]) -> list[tuple[int, int]]:
        """Append `(customer_id, payload)` records in one transaction; durable when it returns."""
        if not records:
            return []
        ask = _Ask([(self._home(customer), customer.encode(), payload) for customer, payload in records])
        with self._gate:
            self._waiting.append(ask)
        with self._writer:
            if not ask.done:
                with self._gate:
                    asks, self._waiting = self._waiting, []
                self._serve(asks)
        if ask.error is not None:
            raise ask.error
        return ask.places

    def _serve(self, asks: list[_Ask]) -> None:
        """Write what several threads wait for in one transaction; where that cannot be, each for itself."""
        try:
            self._write(asks)
        except BaseException as error:
            self._drop_connection()
            if len(asks) > 1 and _may_do_alone(error):
                for ask in asks:
                    self._serve([ask])
                return
            for ask in asks:
                ask.error = self._refusal(error)
            if not isinstance(error, sqlite3.Error | _UncertainError):
                raise
        finally:
            for ask in asks:
                ask.done = True

    def _write(self, asks: list[_Ask]) -> None:
        connection = self._connection = self._connection or connect(self.path)
        connection.execute("BEGIN IMMEDIATE")
        ends = dict(connection.execute("SELECT partition, next FROM partitions"))
        (last,) = connection.execute("SELECT appended FROM log").fetchone()
        appended = max(last, to_micros(self._clock()))
        rows: dict[int, list[tuple[int, int, bytes, bytes]]] = {}
        places: list[list[tuple[int, int]]] = []
        for ask in asks:
            places.append([])
            for partition, key, payload in ask.records:
                offset = ends[partition]
                ends[partition] = offset + 1
                rows.setdefault(partition, []).append((offset, appended, key, payload))
                places[-1].append((partition, offset))
        for partition, new in rows.items():
            connection.executemany(f"INSERT INTO records_{partition:d} VALUES (?, ?, ?, ?)", new)
            connection.execute("UPDATE partitions SET next = ? WHERE partition = ?", [ends[partition], partition])
        connection.execute("UPDATE log SET appended = ?", [appended])
        _commit(connection)
        for ask, its_places in zip(asks, places, strict=True):
            ask.places = its_places

    def _refusal(self, error: BaseException) -> StateError:
        if isinstance(error, _UncertainError):
            return StateError(
                f"The event log {self.path} failed while records were being made durable: {error.__cause__}. They may "
                "or may not be in it.",
                hint="Append them again; events that carry an id are counted once.",
                path=str(self.path),
            )
        return StateError(
            f"The event log {self.path} took none of the records: {error}.",
            hint="Make room on its disk, or see that it can be written, and append them again.",
            path=str(self.path),
        )

    def _drop_connection(self) -> None:
        """Forget a connection that has failed: closing it takes back what it had begun."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def trim(self, partition: int, before_offset: int) -> int:
        """Drop the records of a partition before an offset; give the first offset that is kept.

        Raises
        ------
        NotFoundError
            There is no such partition.
        StateError
            The file cannot be written.
        """
        self._require(partition)
        try:
            with self._writer, closing(connect(self.path)) as connection:
                (first,) = connection.execute(
                    'UPDATE partitions SET "first" = max("first", min(next, ?)) WHERE partition = ? RETURNING "first"',
                    [before_offset, partition],
                ).fetchone()
                # A piece at a time: who appends in another process waits for one piece at most.
                drop_sql = (
                    f'DELETE FROM records_{partition:d} WHERE "offset" IN (SELECT "offset" FROM records_{partition:d} '
                    f'WHERE "offset" < ? ORDER BY "offset" LIMIT {TRIM_RECORDS:d})'
                )
                while connection.execute(drop_sql, [first]).rowcount:
                    continue
        except sqlite3.Error as error:
            raise StateError(
                f"The event log {self.path} could not be trimmed: {error}.", hint="Try again; a part may be done."
            ) from error
        return int(first)

    def reader(self, group: str, listener: Listener) -> SqliteReader:
        """Join a group of readers, of this process or others on this machine."""
        folder = self.path.with_name(f"{self.path.name}.groups") / quote(group, safe="").replace(".", "%2E")
        connection = self._reading()
        try:
            share = Share(folder, self.partitions)
        except BaseException:
            connection.close()
            raise
        return SqliteReader(connection, str(self.path), share, listener)

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """The first offset that is kept and the next one to be given, of every partition."""
        with self._looking() as connection:
            rows = connection.execute('SELECT partition, "first", next FROM partitions').fetchall()
        return {partition: (first, end) for partition, first, end in rows}

    def offsets_at(self, appended: int) -> Mapping[int, int]:
        """Of every partition, the first offset appended at or after an instant (microseconds UTC), or else its end."""
        with self._looking() as connection:
            connection.execute("BEGIN")  # one state of the log for the whole search
            rows = connection.execute('SELECT partition, "first", next FROM partitions').fetchall()
            return {partition: search(connection, partition, (first, end), appended) for partition, first, end in rows}

    def read(self, partition: int, first: int, end: int) -> Iterator[Batch]:
        """Read the records of one partition from `first` to before `end`, outside any group."""
        self._require(partition)
        with self._looking() as connection:
            while first < end:
                batch = read_batch(connection, str(self.path), partition, first, min(READ_RECORDS, end - first))
                if batch is None:
                    return
                yield batch
                first += len(batch.payloads)

    def close(self) -> None:
        """Close the file; readers have connections of their own."""
        with self._writer:
            self._drop_connection()

    def _require(self, partition: int) -> None:
        if not 0 <= partition < self.partitions:
            raise NotFoundError(
                f"The event log {self.path} has no partition {partition}: it has 0 to {self.partitions - 1}.",
                hint="Name one of them.",
            )

    def _reading(self) -> sqlite3.Connection:
        try:
            return connect(self.path)
        except sqlite3.Error as error:
            raise unreadable(str(self.path), error) from error

    @contextmanager
    def _looking(self) -> Iterator[sqlite3.Connection]:
        with closing(self._reading()) as connection:
            try:
                yield connection
            except sqlite3.Error as error:
                raise unreadable(str(self.path), error) from error


def _may_do_alone(error: BaseException) -> bool:
    """Whether the records of one thread may fit where those of all did not."""
    return isinstance(error, sqlite3.Error) and _code(error) != sqlite3.SQLITE_BUSY


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if _code(error) == sqlite3.SQLITE_BUSY:
            raise
        raise _UncertainError from error


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code of an error, 0 for one of the driver's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def open_sqlite_log(
    path: Path, partitions: int, *, partitioner: str = "crc32", clock: Clock = system_clock
) -> SqliteLog:
    """Open an embedded log, and make it if the file does not exist.

    Parameters
    ----------
    path : Path
        The file; beside it lie its journal and a folder of locks for its groups of readers.
    partitions : int
        How many there are to be; fixed when the log is made.
    partitioner : {"crc32", "murmur2"}
        How customers are put into partitions.
    clock : Clock
        Says when a record was appended.

    Raises
    ------
    ConfigError
        The log has another number of partitions.
    StateError
        The file cannot be made, or is no log.

    Examples
    --------
    >>> import tempfile
    >>> log = open_sqlite_log(Path(tempfile.mkdtemp()) / "log.db", partitions=2)
    >>> log.append([("ada", b"{}"), ("dan", b"{}"), ("ada", b"{}")])
    [(0, 0), (1, 0), (0, 1)]
    >>> [batch.payloads for batch in log.read(0, first=1, end=2)], log.bounds()
    ([[b'{}']], {0: (0, 2), 1: (0, 1)})
    >>> log.close()
    """
    partition_rule(partitions, partitioner)  # an unknown partitioner is refused before anything is made
    identity, has = create(path, partitions)
    refuse_other_number(path, has, partitions)
    return SqliteLog(path, identity, partitions, partitioner, clock)
