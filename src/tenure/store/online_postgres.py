"""States in PostgreSQL, beside the project's other tables.

Enters: updates of a partition. Leaves: states with the mark of their partition. Every write is one transaction that
first locks the partition's row in `online_marks`, so a fence is judged on what nobody else can change until the
transaction ends. A read is one statement, and a statement sees one moment: state and mark fit.

Customers are stored as the bytes of their UTF-8 text, for PostgreSQL's text cannot hold every character and sorts by
the server's language. A batch travels as two arrays in one statement.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tenure.core.errors import StateError, UnreachableError
from tenure.core.extras import require
from tenure.store.protocol import Kept, Mark, Update, by_partition, next_epoch, note_text, refuse_unless_held

__all__ = ["PostgresStore"]

_tables = sa.MetaData()
sa.Table(
    "online_marks",
    _tables,
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger),
    sa.Column("note", sa.Text, nullable=False),
)
sa.Table(
    "online_states",
    _tables,
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("customer", sa.LargeBinary, primary_key=True),
    sa.Column("state", sa.LargeBinary, nullable=False),
    postgresql_with={"fillfactor": 70},  # room for new states beside the old ones, without a new entry in the index
)
sa.Table(
    "online_rows",
    _tables,
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("customer", sa.LargeBinary, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
sa.Table(
    "online_seen",
    _tables,
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ids", sa.LargeBinary, nullable=False),
)

_CLAIM_SQL = (
    "INSERT INTO online_marks VALUES (%(partition)s, %(epoch)s, NULL, '{}') "
    "ON CONFLICT (partition) DO UPDATE SET epoch = online_marks.epoch + %(stride)s RETURNING epoch, position, note"
)
_RESET_SQL = (
    "INSERT INTO online_marks VALUES (%(partition)s, %(epoch)s, NULL, %(note)s) ON CONFLICT (partition) "
    "DO UPDATE SET epoch = online_marks.epoch + %(stride)s, position = NULL, note = excluded.note RETURNING epoch"
)
_LOCK_SQL = "SELECT epoch, position FROM online_marks WHERE partition = %(partition)s FOR UPDATE"
_MOVE_SQL = "UPDATE online_marks SET position = %(position)s, note = %(note)s WHERE partition = %(partition)s"
_SET_STATES_SQL = (
    "INSERT INTO online_states SELECT %(partition)s, * FROM unnest(%(names)b::bytea[], %(values)b::bytea[]) "
    "ON CONFLICT (partition, customer) DO UPDATE SET state = excluded.state"
)
_SET_ROWS_SQL = (
    "INSERT INTO online_rows SELECT %(partition)s, * FROM unnest(%(names)b::bytea[], %(values)b::bytea[]) "
    "ON CONFLICT (partition, customer) DO UPDATE SET data = excluded.data"
)
_LAST_SEEN_SQL = (
    "SELECT n, ids FROM online_seen WHERE partition = %(partition)s AND bucket = %(bucket)s ORDER BY n DESC LIMIT 1"
)
_SET_SEEN_SQL = (
    "INSERT INTO online_seen VALUES (%(partition)s, %(bucket)s, %(n)s, %(ids)b) "
    "ON CONFLICT (partition, bucket, n) DO UPDATE SET ids = excluded.ids"
)
_STATES_SQL = "SELECT customer, state FROM online_states WHERE partition = %(partition)s AND customer = ANY(%(names)b)"
_READ_SQL = (
    "SELECT asked.number, marks.epoch, marks.position, marks.note, states.state, batch.data "
    "FROM unnest(%(numbers)b::int[], %(partitions)b::int[], %(names)b::bytea[]) AS asked (number, partition, customer) "
    "LEFT JOIN online_marks AS marks ON marks.partition = asked.partition "
    "LEFT JOIN online_states AS states ON states.partition = asked.partition AND states.customer = asked.customer "
    "LEFT JOIN online_rows AS batch ON batch.partition = asked.partition AND batch.customer = asked.customer"
)
_FULL_BYTES = 1 << 14
_ASKED = 20_000


class PostgresStore:
    """States in PostgreSQL.

    Parameters
    ----------
    url : sqlalchemy.URL
        The database.
    partitions : int
        Partitions of the log.
    place : callable
        The partition of a customer.
    timeout : float
        Seconds to connect, and for one statement.

    Raises
    ------
    UnreachableError
        The server does not answer.
    StateError
        The server does not let us in, or the tables cannot be made.
    """

    def __init__(self, url: URL, partitions: int, place: Callable[[str], int], timeout: float) -> None:
        require("psycopg")
        milliseconds = max(1, int(timeout * 1000))
        limits = {
            "connect_timeout": max(1, math.ceil(timeout)),
            "tcp_user_timeout": milliseconds,
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
        }
        self._engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"), connect_args=limits, pool_size=16, pool_timeout=timeout
        )
        self._place, self._timeout = place, timeout
        self.partitions = partitions
        self.name = f"postgresql at {url.host or url.query.get('host', 'localhost')}/{url.database}"
        with self._transaction() as connection:
            # Two processes that begin at the same moment would otherwise both find the tables missing.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('tenure online store'))")
            _tables.create_all(connection)

    def claim(self, partition: int) -> Mark:
        """Raise the epoch of a partition."""
        with self._transaction() as connection:
            values = {"partition": partition, "epoch": next_epoch(None), "stride": next_epoch(0)}
            epoch, position, note = connection.exec_driver_sql(_CLAIM_SQL, values).one()
        return Mark(epoch, position, json.loads(note))

    def reset(self, partition: int, note: Mapping[str, Any]) -> Mark:
        """Raise the epoch of a partition and drop everything but rows."""
        values = {"partition": partition, "epoch": next_epoch(None), "stride": next_epoch(0), "note": note_text(note)}
        with self._transaction() as connection:
            [epoch] = connection.exec_driver_sql(_RESET_SQL, values).one()
            connection.exec_driver_sql("DELETE FROM online_states WHERE partition = %(partition)s", values)
            connection.exec_driver_sql("DELETE FROM online_seen WHERE partition = %(partition)s", values)
        return Mark(epoch, None, dict(note))

    def apply(self, partition: int, mark: Mark, update: Update) -> Mark:
        """Write an update in one transaction, if the mark is still the newest."""
        with self._transaction() as connection:
            found = connection.exec_driver_sql(_LOCK_SQL, {"partition": partition}).one_or_none()
            refuse_unless_held(partition, mark, *(found or (None, None)))
            _set(connection, _SET_STATES_SQL, partition, update.states)
            for bucket, ids in update.seen.items():
                if ids:
                    _remember(connection, partition, bucket, ids)
            values = {"partition": partition, "position": update.position, "note": note_text(update.note)}
            if update.forget is not None:
                connection.exec_driver_sql(
                    "DELETE FROM online_seen WHERE partition = %(partition)s AND bucket < %(forget)s",
                    {"partition": partition, "forget": update.forget},
                )
            connection.exec_driver_sql(_MOVE_SQL, values)
        return Mark(mark.epoch, update.position, dict(update.note))

    def publish(self, rows: Mapping[str, bytes]) -> None:
        """Keep rows of a batch in one transaction."""
        with self._transaction() as connection:
            for partition, own in sorted(by_partition(rows, self._place).items()):
                _set(connection, _SET_ROWS_SQL, partition, own)

    def states(self, partition: int, customers: Sequence[str]) -> list[bytes | None]:
        """The states of customers of one partition."""
        names = [customer.encode() for customer in customers]
        found: dict[bytes, bytes] = {}
        with self._reading() as connection:
            for start in range(0, len(names), _ASKED):
                values = {"partition": partition, "names": names[start : start + _ASKED]}
                found.update(map(tuple, connection.exec_driver_sql(_STATES_SQL, values)))
        return [found.get(name) for name in names]

    def seen(self, partition: int) -> Mapping[int, bytes]:
        """The ids that were seen, by bucket."""
        query = "SELECT bucket, ids FROM online_seen WHERE partition = %(partition)s ORDER BY bucket, n"
        buckets: dict[int, list[bytes]] = {}
        with self._reading() as connection:
            for bucket, ids in connection.exec_driver_sql(query, {"partition": partition}):
                buckets.setdefault(bucket, []).append(ids)
        return {bucket: b"".join(parts) for bucket, parts in buckets.items()}

    def read(self, customers: Sequence[str]) -> list[Kept]:
        """Everything kept of each customer, in one statement."""
        partitions = [self._place(customer) for customer in customers]
        names = [customer.encode() for customer in customers]
        values = {"numbers": list(range(len(names))), "partitions": partitions, "names": names}
        with self._reading() as connection:
            found = connection.exec_driver_sql(_READ_SQL, values).all() if names else []
        marks: dict[int, Mark] = {}
        kept: dict[int, Kept] = {}
        for number, epoch, position, note, state, row in found:
            partition = partitions[number]
            if epoch is not None and partition not in marks:
                marks[partition] = Mark(epoch, position, json.loads(note))
            mark = marks.get(partition)
            kept[number] = Kept(customers[number], state if mark else None, row, partition, mark)
        return [kept[number] for number in range(len(customers))]

    def marks(self) -> Mapping[int, Mark]:
        """The marks of all partitions."""
        query = "SELECT partition, epoch, position, note FROM online_marks WHERE partition < %(n)s ORDER BY partition"
        with self._reading() as connection:
            found = connection.exec_driver_sql(query, {"n": self.partitions}).all()
        return {partition: Mark(epoch, position, json.loads(note)) for partition, epoch, position, note in found}

    def scan(self, partition: int, cursor: str | None, limit: int) -> tuple[list[tuple[str, bytes]], str | None]:
        """One page of customers and states, in the order of their bytes."""
        query = (
            "SELECT customer, state FROM online_states WHERE partition = %(partition)s "
            "AND (%(first)s OR customer > %(after)b) ORDER BY customer LIMIT %(limit)s"
        )
        size = max(limit, 1)
        after = {"first": cursor is None, "after": bytes.fromhex(cursor or "")}
        with self._reading() as connection:
            found = connection.exec_driver_sql(query, {"partition": partition, "limit": size, **after}).all()
        following = found[-1][0].hex() if len(found) == size else None
        return [(name.decode(), state) for name, state in found], following

    def size(self, partition: int) -> int:
        """How many customers have a state."""
        query = "SELECT count(*) FROM online_states WHERE partition = %(partition)s"
        with self._reading() as connection:
            return int(connection.exec_driver_sql(query, {"partition": partition}).scalar_one())

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._known(error) from error

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """One statement is its own transaction: nothing to begin, nothing to end."""
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._known(error) from error

    def _known(self, error: SQLAlchemyError) -> StateError:
        cause = str(getattr(error, "orig", None) or error).strip()
        kind = type(getattr(error, "orig", None)).__name__
        gone = isinstance(error, PoolTimeoutError) or (isinstance(error, DBAPIError) and error.connection_invalidated)
        if gone or kind in {
            "OperationalError",
            "QueryCanceled",
            "LockNotAvailable",
            "ConnectionTimeout",
            "AdminShutdown",
        }:
            return UnreachableError(
                f"{self.name} cannot be reached, or did not answer within {self._timeout:g} seconds: {cause}.",
                hint="Check that PostgreSQL runs and that name and password are right; then try again.",
            )
        return StateError(f"{self.name} refused: {cause}.", hint="See what PostgreSQL says about it in its log.")


def _set(connection: sa.Connection, statement_sql: str, partition: int, values: Mapping[str, bytes]) -> None:
    if values:
        # In the order of the index, neighbours share its pages.
        names, contents = zip(*sorted((customer.encode(), value) for customer, value in values.items()), strict=True)
        asked = {"partition": partition, "names": list(names), "values": list(contents)}
        connection.exec_driver_sql(statement_sql, asked)


def _remember(connection: sa.Connection, partition: int, bucket: int, ids: bytes) -> None:
    """Append ids to a bucket: into its last piece while that is not full."""
    place = {"partition": partition, "bucket": bucket}
    found = connection.exec_driver_sql(_LAST_SEEN_SQL, place).one_or_none()
    number, held = (found[0], bytes(found[1])) if found else (0, b"")
    if held and len(held) + len(ids) > _FULL_BYTES:
        number, held = number + 1, b""
    connection.exec_driver_sql(_SET_SEEN_SQL, {**place, "n": number, "ids": held + ids})
