"""States in a SQLite file: everything that one machine needs.

Enters: updates of a partition. Leaves: states with the mark of their partition. Every write is one transaction that
takes the write lock before it reads the mark, so a fence is judged on what nobody else can change any more.

The file is in WAL mode with `synchronous=NORMAL`. A killed process loses nothing. After a power cut the last
transactions may be gone, but as a whole: states, seen ids and position go back together, and the consumer reads again
from the log what was lost. Waiting for the disk at every batch would buy nothing that the log does not already keep.

The tables are clustered by (partition, customer): a batch is written in that order, and a page is touched once. The
file is looked at before every use: where it was deleted or replaced, the connection is opened again, and what was
lost is noticed like in any other store.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenure.core.errors import StateError, UnreachableError
from tenure.store.idle import Idle
from tenure.store.protocol import Kept, Mark, Update, by_partition, next_epoch, note_text, refuse_unless_held

__all__ = ["SqliteStore"]

_TABLES_SQL = """
CREATE TABLE IF NOT EXISTS online_marks (
    partition INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, position INTEGER, note TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS online_states (
    partition INTEGER, customer BLOB, state BLOB NOT NULL, PRIMARY KEY (partition, customer)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS online_rows (
    partition INTEGER, customer BLOB, data BLOB NOT NULL, PRIMARY KEY (partition, customer)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS online_seen (
    partition INTEGER, bucket INTEGER, n INTEGER, ids BLOB NOT NULL, PRIMARY KEY (partition, bucket, n)
);
"""
_MARK_SQL = "SELECT epoch, position, note FROM online_marks WHERE partition = ?"
_SET_MARK_SQL = "INSERT OR REPLACE INTO online_marks VALUES (?, ?, ?, ?)"
_SET_STATE_SQL = "INSERT INTO online_states VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state"
_SET_ROW_SQL = "INSERT INTO online_rows VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data"
_LAST_SEEN_SQL = "SELECT n, ids FROM online_seen WHERE partition = ? AND bucket = ? ORDER BY n DESC LIMIT 1"
_SET_SEEN_SQL = "INSERT OR REPLACE INTO online_seen VALUES (?, ?, ?, ?)"
_FULL_BYTES = 1 << 14
_ASKED = 500  # customers in one query
# A writer goes through the whole file again and again, a reader meets few pages twice.
_WRITER_CACHE_KIB, _READER_CACHE_KIB = 262_144, 8_192
_CHECKPOINT_PAGES = 8_000


class _Connection:
    """One connection, and which file it is of."""

    def __init__(self, path: Path, timeout: float, cache_kib: int) -> None:
        self.raw = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            self.raw.execute("PRAGMA journal_mode = WAL")
            self.raw.execute("PRAGMA synchronous = NORMAL")
            self.raw.execute(f"PRAGMA cache_size = {-cache_kib:d}")
            self.raw.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES:d}")
            self.raw.executescript(_TABLES_SQL)
            self.file = _file(path)
        except BaseException:
            self.raw.close()
            raise

    def close(self) -> None:
        self.raw.close()


class SqliteStore:
    """States in a SQLite file.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    partitions : int
        Partitions of the log.
    place : callable
        The partition of a customer.
    timeout : float
        Seconds to wait for another writer.

    Raises
    ------
    StateError
        The file cannot be opened or is no database.
    """

    def __init__(self, path: Path, partitions: int, place: Callable[[str], int], timeout: float) -> None:
        self.partitions = partitions
        self.name = f"sqlite at {path}"
        self._place, self._path, self._timeout = place, path, timeout
        self._readers = Idle(lambda: self._open(_READER_CACHE_KIB), self._is_current)
        self._writers = Idle(lambda: self._open(_WRITER_CACHE_KIB), self._is_current)
        with self._use(self._readers) as connection:
            connection.execute("SELECT count(*) FROM online_marks")

    def claim(self, partition: int) -> Mark:
        """Raise the epoch of a partition."""
        with self._write() as connection:
            found = _mark(connection, partition)
            epoch = next_epoch(found.epoch if found else None)
            mark = Mark(epoch, found.position, found.note) if found else Mark(epoch, None, {})
            return _set_mark(connection, partition, mark)

    def reset(self, partition: int, note: Mapping[str, Any]) -> Mark:
        """Raise the epoch of a partition and drop everything but rows."""
        with self._write() as connection:
            found = _mark(connection, partition)
            connection.execute("DELETE FROM online_states WHERE partition = ?", (partition,))
            connection.execute("DELETE FROM online_seen WHERE partition = ?", (partition,))
            epoch = next_epoch(found.epoch if found else None)
            return _set_mark(connection, partition, Mark(epoch, None, dict(note)))

    def apply(self, partition: int, mark: Mark, update: Update) -> Mark:
        """Write an update in one transaction, if the mark is still the newest."""
        with self._write() as connection:
            found = _mark(connection, partition)
            stored = (found.epoch, found.position) if found else (None, None)
            refuse_unless_held(partition, mark, *stored)
            connection.executemany(_SET_STATE_SQL, _sorted(partition, update.states))
            for bucket, ids in update.seen.items():
                if ids:
                    _remember(connection, partition, bucket, ids)
            if update.forget is not None:
                forgotten = (partition, update.forget)
                connection.execute("DELETE FROM online_seen WHERE partition = ? AND bucket < ?", forgotten)
            return _set_mark(connection, partition, Mark(mark.epoch, update.position, dict(update.note)))

    def publish(self, rows: Mapping[str, bytes]) -> None:
        """Keep rows of a batch in one transaction."""
        with self._write() as connection:
            for partition, own in by_partition(rows, self._place).items():
                connection.executemany(_SET_ROW_SQL, _sorted(partition, own))

    def states(self, partition: int, customers: Sequence[str]) -> list[bytes | None]:
        """The states of customers of one partition."""
        names = [customer.encode() for customer in customers]
        with self._use(self._readers) as connection:
            found = _states(connection, partition, names)
        return [found.get(name) for name in names]

    def seen(self, partition: int) -> Mapping[int, bytes]:
        """The ids that were seen, by bucket."""
        query = "SELECT bucket, ids FROM online_seen WHERE partition = ? ORDER BY bucket, n"
        buckets: dict[int, list[bytes]] = {}
        with self._use(self._readers) as connection:
            for bucket, ids in connection.execute(query, (partition,)):
                buckets.setdefault(bucket, []).append(ids)
        return {bucket: b"".join(parts) for bucket, parts in buckets.items()}

    def read(self, customers: Sequence[str]) -> list[Kept]:
        """Everything kept of each customer, as of one moment."""
        groups: dict[int, list[int]] = {}
        for number, customer in enumerate(customers):
            groups.setdefault(self._place(customer), []).append(number)
        kept: dict[int, Kept] = {}
        with self._use(self._readers) as connection:
            connection.execute("BEGIN")
            for partition, numbers in groups.items():
                names = [customers[number].encode() for number in numbers]
                mark = _mark(connection, partition)
                states = _states(connection, partition, names) if mark else {}
                rows = _rows(connection, partition, names)
                for number, name in zip(numbers, names, strict=True):
                    kept[number] = Kept(customers[number], states.get(name), rows.get(name), partition, mark)
            connection.execute("COMMIT")
        return [kept[number] for number in range(len(customers))]

    def marks(self) -> Mapping[int, Mark]:
        """The marks of all partitions."""
        query = "SELECT partition, epoch, position, note FROM online_marks WHERE partition < ? ORDER BY partition"
        with self._use(self._readers) as connection:
            found = connection.execute(query, (self.partitions,)).fetchall()
        return {partition: Mark(epoch, position, json.loads(note)) for partition, epoch, position, note in found}

    def scan(self, partition: int, cursor: str | None, limit: int) -> tuple[list[tuple[str, bytes]], str | None]:
        """One page of customers and states, in the order of their bytes."""
        after_sql = "customer >= ?" if cursor is None else "customer > ?"
        query = (
            f"SELECT customer, state FROM online_states WHERE partition = ? AND {after_sql} ORDER BY customer LIMIT ?"
        )
        size = max(limit, 1)
        with self._use(self._readers) as connection:
            found = connection.execute(query, (partition, bytes.fromhex(cursor or ""), size)).fetchall()
        following = found[-1][0].hex() if len(found) == size else None
        return [(name.decode(), state) for name, state in found], following

    def size(self, partition: int) -> int:
        """How many customers have a state."""
        with self._use(self._readers) as connection:
            query = "SELECT count(*) FROM online_states WHERE partition = ?"
            return int(connection.execute(query, (partition,)).fetchone()[0])

    def close(self) -> None:
        """Close the connections."""
        self._readers.close()
        self._writers.close()

    def _open(self, cache_kib: int) -> _Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return _Connection(self._path, self._timeout, cache_kib)

    def _is_current(self, connection: _Connection) -> bool:
        return connection.file == _file(self._path)

    @contextmanager
    def _use(self, idle: Idle[_Connection]) -> Iterator[sqlite3.Connection]:
        """A connection that is used again if all goes well, and closed, which undoes what is open, if not."""
        used: _Connection | None = None
        try:
            used = idle.take()
            yield used.raw
        except BaseException as error:
            if used is not None:
                used.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise self._known(error) from error
            raise
        idle.give(used)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._use(self._writers) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _known(self, error: Exception) -> StateError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return UnreachableError(
                f"The online store {self._path} was locked by another process for {self._timeout:g} seconds.",
                hint="Find out which process writes to it for so long, then try again.",
            )
        return StateError(
            f"The online store {self._path} cannot be used: {error}.",
            hint="Check that the disk is not full and that the file is writable and a SQLite database.",
        )


def _file(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _mark(connection: sqlite3.Connection, partition: int) -> Mark | None:
    found = connection.execute(_MARK_SQL, (partition,)).fetchone()
    return Mark(found[0], found[1], json.loads(found[2])) if found else None


def _set_mark(connection: sqlite3.Connection, partition: int, mark: Mark) -> Mark:
    connection.execute(_SET_MARK_SQL, (partition, mark.epoch, mark.position, note_text(mark.note)))
    return mark


def _sorted(partition: int, values: Mapping[str, bytes]) -> list[tuple[int, bytes, bytes]]:
    return sorted((partition, customer.encode(), value) for customer, value in values.items())


def _remember(connection: sqlite3.Connection, partition: int, bucket: int, ids: bytes) -> None:
    """Append ids to a bucket: into its last piece while that is not full."""
    number, held = connection.execute(_LAST_SEEN_SQL, (partition, bucket)).fetchone() or (0, b"")
    if held and len(held) + len(ids) > _FULL_BYTES:
        number, held = number + 1, b""
    connection.execute(_SET_SEEN_SQL, (partition, bucket, number, held + ids))


def _states(connection: sqlite3.Connection, partition: int, names: Sequence[bytes]) -> dict[bytes, bytes]:
    query = "SELECT customer, state FROM online_states WHERE partition = ? AND customer IN"
    return _asked(connection, query, partition, names)


def _rows(connection: sqlite3.Connection, partition: int, names: Sequence[bytes]) -> dict[bytes, bytes]:
    return _asked(
        connection, "SELECT customer, data FROM online_rows WHERE partition = ? AND customer IN", partition, names
    )


def _asked(
    connection: sqlite3.Connection, query_sql: str, partition: int, names: Sequence[bytes]
) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    place_sql = "?"
    for start in range(0, len(names), _ASKED):
        asked = names[start : start + _ASKED]
        places_sql = ", ".join(place_sql for _ in asked)
        found.update(connection.execute(f"{query_sql} ({places_sql})", (partition, *asked)))
    return found
