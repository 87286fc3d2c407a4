"""Dead letters: records of the log that are no events, kept with the reason until somebody retries them.

Enters: records that a consumer could not read, and later the wish to try them again. Leaves: rows of the table
`dead_letters` in the project's database, and records appended to the log once more. Invariant: a place in the log has
at most one letter, however often a consumer comes by, and a letter is marked as retried only after its record lies in
the log again. A kill in between repeats the record, which is then a duplicate by its id, and never loses it.

A letter whose customer cannot be read is kept, counted by `unretryable`, and not retried: nobody can say which
partition it belongs to. Where a retried record is still no event, it is buried again under its place at that time, as
a letter of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine

from tenure.core.database import metadata, transaction
from tenure.core.time import Clock, system_clock
from tenure.source.judge import Rejected, read_document
from tenure.source.log import EventLog
from tenure.source.reading import WHITESPACE

__all__ = ["DeadLetter", "bury", "counts", "customer_of", "dead_letters", "listed", "retry", "unretryable"]

RETRIED_AT_ONCE = 1_000

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("log", sa.Text, nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("appended", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("retryable", sa.Boolean, nullable=False),
    sa.Column("retried_at", sa.String(32)),
    sa.UniqueConstraint("log", "partition", "offset", name="one_letter_per_record"),
    sa.Index("dead_letters_waiting", "retried_at", "reason"),
    sqlite_autoincrement=True,
)
_columns = dead_letters.c


@dataclass(frozen=True)
class DeadLetter:
    """A record that is no event.

    Attributes
    ----------
    log : str
        Identity of the log that it lies in.
    partition, offset : int
        Its place there.
    appended : int
        When the log took it, microseconds since 1970 in UTC.
    reason, detail : str
        What is wrong with it, in the words of the contract, and what was found.
    payload : bytes
        The record as it is.
    retried : datetime or None
        When it was appended again, UTC; None while it waits.
    """

    log: str
    partition: int
    offset: int
    appended: int
    reason: str
    detail: str
    payload: bytes
    retried: datetime | None = None


def customer_of(payload: bytes) -> str | None:
    """Whose event a record tells of; None where that cannot be read.

    Examples
    --------
    >>> customer_of(b'{"customer_id": "ada", "time": "yesterday"}'), customer_of(b'{"customer_id": "ada"')
    ('ada', None)
    """
    try:
        named = [content for name, content in read_document(payload) if name == "customer_id"]
    except Rejected:
        return None
    if len(named) != 1 or not isinstance(named[0], str):
        return None
    customer: str = named[0]
    return customer if customer.strip(WHITESPACE) and _storable(customer) == customer else None


def _storable(text: str) -> str:
    """A text that every database keeps: without zero bytes and halves of surrogate pairs."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def bury(engine: Engine, letters: Sequence[DeadLetter]) -> None:
    """Keep records that are no events, in one transaction; those that are kept already stay as they are.

    Parameters
    ----------
    engine : Engine
        From `tenure.core.database.open_database`.
    letters : sequence of DeadLetter
        Of any logs and partitions.

    Raises
    ------
    StateError
        The database is busy or cannot be reached; nothing was written.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> engine = open_database("sqlite://")
    >>> letter = DeadLetter("log", 0, 7, 10**15, "malformed event", "not JSON", b"{")
    >>> bury(engine, [letter, letter])
    >>> counts(engine), unretryable(engine), listed(engine, limit=5) == [letter]
    ({'malformed event': 1}, 1, True)
    """
    if not letters:
        return
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    rows = [_row(letter) for letter in sorted(letters, key=_place)]  # one order for all, so that none lock each other
    with transaction(engine) as connection:
        connection.execute(insert(dead_letters).on_conflict_do_nothing(), rows)


def _place(letter: DeadLetter) -> tuple[str, int, int]:
    return letter.log, letter.partition, letter.offset


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "log": letter.log,
        "partition": letter.partition,
        "offset": letter.offset,
        "appended": letter.appended,
        "reason": _storable(letter.reason),
        "detail": _storable(letter.detail),
        "payload": letter.payload,
        "retryable": customer_of(letter.payload) is not None,
        "retried_at": None if letter.retried is None else _text(letter.retried),
    }


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def listed(engine: Engine, *, reason: str | None = None, limit: int, retried: bool = False) -> list[DeadLetter]:
    """Letters, the latest first.

    Parameters
    ----------
    engine : Engine
        From `tenure.core.database.open_database`.
    reason : str, optional
        Only those with this reason.
    limit : int
        How many at most.
    retried : bool
        Those that were retried, in place of those that wait.

    Raises
    ------
    StateError
        The database is busy or cannot be reached.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> engine = open_database("sqlite://")
    >>> bury(engine, [DeadLetter("log", 0, 7, 0, "malformed event", "", b"{")])
    >>> [(letter.offset, letter.reason) for letter in listed(engine, limit=5)]
    [(7, 'malformed event')]
    """
    query = sa.select(dead_letters).where(_about(reason, retried=retried)).order_by(_columns.number.desc())
    with transaction(engine) as connection:
        rows = connection.execute(query.limit(limit)).all()
    return [_letter(row) for row in rows]


def _about(reason: str | None, *, retried: bool = False) -> sa.ColumnElement[bool]:
    state = _columns.retried_at.is_not(None) if retried else _columns.retried_at.is_(None)
    return state if reason is None else state & (_columns.reason == reason)


def _letter(row: sa.Row[Any]) -> DeadLetter:
    return DeadLetter(
        row.log,
        row.partition,
        row.offset,
        row.appended,
        row.reason,
        row.detail,
        bytes(row.payload),
        None if row.retried_at is None else datetime.fromisoformat(row.retried_at),
    )


def counts(engine: Engine) -> dict[str, int]:
    """How many letters wait, by reason, the most frequent first.

    Raises
    ------
    StateError
        The database is busy or cannot be reached.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> engine = open_database("sqlite://")
    >>> bury(engine, [DeadLetter("log", 0, 7, 0, "malformed event", "", b"{")])
    >>> counts(engine)
    {'malformed event': 1}
    """
    number = sa.func.count().label("waiting")
    query = sa.select(_columns.reason, number).where(_about(None)).group_by(_columns.reason)
    with transaction(engine) as connection:
        rows = connection.execute(query.order_by(number.desc(), _columns.reason)).all()
    return {row.reason: row.waiting for row in rows}


def unretryable(engine: Engine, *, reason: str | None = None) -> int:
    """How many of the waiting letters cannot be retried, because their customer cannot be read.

    Raises
    ------
    StateError
        The database is busy or cannot be reached.

    Examples
    --------
    >>> from tenure.core.database import open_database
    >>> engine = open_database("sqlite://")
    >>> bury(engine, [DeadLetter("log", 0, 7, 0, "malformed event", "", b"{")])
    >>> unretryable(engine)
    1
    """
    query = sa.select(sa.func.count()).where(_about(reason), _columns.retryable.is_(sa.false()))
    with transaction(engine) as connection:
        return int(connection.execute(query).scalar_one())


def retry(engine: Engine, log: EventLog, *, reason: str | None = None, clock: Clock = system_clock) -> int:
    """Append the letters that wait to the log again, as they are, in the order in which they were buried.

    Letters of another log, say of one that this one has replaced, are appended, too. Those that come in meanwhile are
    left for the next time, so a record that is still no event does not go round for ever.

    Parameters
    ----------
    engine : Engine
        From `tenure.core.database.open_database`.
    log : EventLog
        Takes the records; it puts each into the partition of its customer.
    reason : str, optional
        Only letters with this reason.
    clock : Clock
        Says when they were retried.

    Returns
    -------
    int
        How many were appended.

    Raises
    ------
    StateError
        The log or the database failed. Letters that were done before are marked; some may be in the log and not marked,
        and are appended once more the next time.

    Examples
    --------
    >>> from tenure.testing.stream import small_stream
    >>> payload = b'{"type": "pya", "customer_id": "ana"}'
    >>> with small_stream() as stream:
    ...     bury(stream.database, [DeadLetter(stream.log.identity, 0, 99, 0, "unknown type", "pya", payload)])
    ...     retry(stream.database, stream.log)
    1
    """
    with transaction(engine) as connection:
        last = connection.execute(sa.select(sa.func.max(_columns.number))).scalar_one() or 0
    done = behind = 0
    while True:
        # One transaction from reading to marking: whoever else retries waits, and then finds these marked.
        with transaction(engine) as connection:
            rows = connection.execute(_next(reason, behind, last)).all()
            if not rows:
                return done
            records = [(customer_of(row.payload) or "", bytes(row.payload)) for row in rows]
            log.append(records)
            numbers = [row.number for row in rows]
            marked = sa.update(dead_letters).where(_columns.number.in_(numbers))
            connection.execute(marked.values(retried_at=_text(clock())))
        done, behind = done + len(rows), numbers[-1]


def _next(reason: str | None, behind: int, last: int) -> sa.Select[Any]:
    """The letters to retry next, locked until they are marked."""
    within = (_columns.number > behind) & (_columns.number <= last) & _columns.retryable.is_(sa.true())
    query = sa.select(_columns.number, _columns.payload).where(_about(reason), within)
    return query.order_by(_columns.number).limit(RETRIED_AT_ONCE).with_for_update()
