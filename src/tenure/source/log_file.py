"""The SQLite file of an embedded event log: made, opened, read.

Enters: a path. Leaves: connections on which a commit is durable, and batches of records. Invariant: a file is a
whole log or none, for it is made in one transaction; a batch is without gaps, and a place that is not in the log is
an error that names it together with what there is.
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from tenure.core.errors import ConfigError, StateError, UnreachableError
from tenure.source.log import Batch

__all__ = ["connect", "create", "outside", "read_batch", "refuse_other_number", "search", "unreadable"]

FORMAT = 1
BUSY_SECONDS = 30.0


def connect(path: Path) -> sqlite3.Connection:
    """Open the file of a log that exists; transactions begin where the code says so, and are durable when they end.

    Raises
    ------
    sqlite3.Error
        It is not there, is no database, or cannot be read.
    """
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # one thread at a time uses it, not always the same one
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def create(path: Path, partitions: int) -> tuple[str, int]:
    """Make a log where there is none; give its identity and its number of partitions.

    Raises
    ------
    StateError
        The folder cannot be written, or the file is no log that this version can read.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two processes that open a new log at once must not both switch it to its journal.
        with FileLock(path.with_name(f"{path.name}.lock"), thread_local=False).acquire(timeout=BUSY_SECONDS):
            path.touch()
            with closing(connect(path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("BEGIN IMMEDIATE")
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    _make_tables(connection, partitions)
                connection.execute("COMMIT")
                found = connection.execute("SELECT format, identity, partitions FROM log").fetchone()
    except (sqlite3.Error, OSError, Timeout) as error:
        raise StateError(
            f"The event log {path} cannot be opened: {error}.",
            hint="Check that [stream] log names a log of tenure, that its folder can be written, and that its disk is "
            "not full.",
            path=str(path),
        ) from error
    if found[0] != FORMAT:
        raise StateError(
            f"The event log {path} has format {found[0]}; this version of tenure reads format {FORMAT}.",
            hint="Use the version of tenure that made it.",
        )
    return found[1], found[2]


def _make_tables(connection: sqlite3.Connection, partitions: int) -> None:
    connection.execute("CREATE TABLE log (format INTEGER, identity TEXT, partitions INTEGER, appended INTEGER)")
    connection.execute("INSERT INTO log VALUES (?, ?, ?, 0)", [FORMAT, str(uuid.uuid4()), partitions])
    connection.execute('CREATE TABLE partitions (partition INTEGER PRIMARY KEY, "first" INTEGER, next INTEGER)')
    for partition in range(partitions):
        connection.execute("INSERT INTO partitions VALUES (?, 0, 0)", [partition])
        connection.execute(
            f"CREATE TABLE records_{partition:d} "
            '("offset" INTEGER PRIMARY KEY, appended INTEGER, key BLOB, payload BLOB)'
        )


def read_batch(connection: sqlite3.Connection, name: str, partition: int, first: int, limit: int) -> Batch | None:
    """Read at most `limit` records of a partition from an offset on; None where the log ends there.

    Raises
    ------
    StateError
        `first` lies before the first record that is kept, or beyond the end.
    """
    # In one statement, and so from one state of the file: what is trimmed meanwhile is there as a whole or not at all.
    rows = connection.execute(
        f'SELECT "offset", appended, key, payload FROM records_{partition:d} '
        f'WHERE "offset" >= max(?, (SELECT "first" FROM partitions WHERE partition = {partition:d})) '
        'ORDER BY "offset" LIMIT ?',
        [first, limit],
    ).fetchall()
    if not rows:
        kept, end = connection.execute(
            'SELECT "first", next FROM partitions WHERE partition = ?', [partition]
        ).fetchone()
        if kept <= first <= end:  # at the end; or records have come since, and are for the next time
            return None
        raise outside(name, partition, first, (kept, end))
    offsets, appended, keys, payloads = zip(*rows, strict=True)
    if offsets[0] != first:
        end = connection.execute("SELECT next FROM partitions WHERE partition = ?", [partition]).fetchone()[0]
        raise outside(name, partition, first, (offsets[0], end))
    stamps = np.array(appended, dtype=np.int64)
    return Batch(partition, np.array(offsets, dtype=np.int64), stamps, list(payloads), list(keys))


def search(connection: sqlite3.Connection, partition: int, bounds: tuple[int, int], appended: int) -> int:
    """The first offset within bounds that was appended at or after an instant, or else the end; by bisection."""
    low, high = bounds
    while low < high:
        middle = (low + high) // 2
        (stamp,) = connection.execute(
            f'SELECT appended FROM records_{partition:d} WHERE "offset" = ?', [middle]
        ).fetchone()
        low, high = (middle + 1, high) if stamp < appended else (low, middle)
    return low


def outside(name: str, partition: int, position: int, bounds: tuple[int, int]) -> StateError:
    """The error of a place that is not in the log.

    Examples
    --------
    >>> outside("log.db", 2, 5, (10, 20)).message
    'Partition 2 of the event log log.db is to be read from offset 5, but it holds offsets 10 to before 20.'
    """
    first, end = bounds
    why = "What lies before was trimmed" if position < first else "The log was emptied or replaced"
    return StateError(
        f"Partition {partition} of the event log {name} is to be read from offset {position}, but it holds offsets "
        f"{first} to before {end}.",
        hint=f"{why}: rebuild the online store, which then reads on from where the archive ends.",
        partition=partition,
        position=position,
        bounds=bounds,
    )


def unreadable(name: str, error: Exception) -> UnreachableError:
    """The error of a file that cannot be read.

    Examples
    --------
    >>> unreadable("log.db", OSError("disk I/O error")).message
    'The event log log.db cannot be read: disk I/O error.'
    """
    return UnreachableError(
        f"The event log {name} cannot be read: {error}.", hint="Check that the file is there and whole, and its disk."
    )


def refuse_other_number(path: Path, has: int, wanted: int) -> None:
    """Refuse a setting that does not fit the log.

    Raises
    ------
    ConfigError
        The log was made with another number of partitions.
    """
    if has != wanted:
        raise ConfigError(
            f"The event log {path} was made with {has} partitions, and [stream] partitions says {wanted}.",
            hint=f"Set it to {has}: the number of partitions is fixed when a log is made. Or name another file.",
            partitions=has,
        )
