"""The project's relational database: SQLite beside the project by default, PostgreSQL by URL.

Enters: a database URL and the tables that a stage declares on `metadata`. Leaves: a SQLAlchemy engine on which those
tables exist. Invariant: what a transaction committed survives a kill and a power cut (WAL with `synchronous=FULL`), and
a writer takes the lock when its transaction begins, so two writers wait for each other instead of failing half way.

Whoever only looks things up opens the database for reading. Such an engine takes no lock that a writer would wait for,
waits for others a moment and not half a minute, makes neither file nor tables, and the database itself refuses to
write anything through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from tenure.core.errors import ConfigError, StateError
from tenure.core.extras import require

__all__ = ["metadata", "open_database", "transaction", "utc_now_column"]

metadata = sa.MetaData()
BUSY_SECONDS, READING_SECONDS = 30.0, 1.0
_POSTGRES_READING = "-c default_transaction_read_only=on -c statement_timeout={0} -c lock_timeout={0}"
# A network that swallows everything says nothing either: without these a connection is waited for a quarter of an hour.
_POSTGRES_ALIVE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_POSTGRES_SOON = {"connect_timeout": 2, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 2}


def utc_now_column(name: str) -> sa.Column[Any]:
    """A column for a UTC instant, stored as ISO 8601 text with microseconds so that text order is time order.

    Examples
    --------
    >>> utc_now_column("created_at").type.length
    32
    """
    return sa.Column(name, sa.String(32), nullable=False)


def open_database(url: str, *, root: Path | None = None, reading: bool = False) -> Engine:
    """Open the database and create the tables that are missing.

    Parameters
    ----------
    url : str
        `sqlite:///relative/or/absolute.db` or `postgresql+psycopg://user@host/name`.
    root : Path, optional
        Folder that a relative SQLite path starts from.
    reading : bool
        Only to look things up: nothing is created, and nothing can be written. Whoever holds a lock is waited for one
        second instead of 30, and PostgreSQL waits no longer for anything.

    Raises
    ------
    ConfigError
        The URL is not understood or names another database system.
    StateError
        The database cannot be reached; for reading, there is none.

    Examples
    --------
    >>> engine = open_database("sqlite://")
    >>> engine.dialect.name
    'sqlite'
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # what cannot be taken apart is not shown: it may hold a password
        raise ConfigError(
            "[project] database is not a database URL.",
            hint='Use "sqlite:///.tenure/tenure.db" or "postgresql+psycopg://user@host:5432/name".',
        ) from None
    engine = _connect(parsed, root, reading=reading)
    if reading:
        return engine
    try:
        metadata.create_all(engine)
    except SQLAlchemyError as error:
        shown = parsed.render_as_string(hide_password=True)
        raise StateError(
            f"The database {shown} cannot be used: {getattr(error, 'orig', error)}.",
            hint="Check that it runs, that the path is writable and that the name and password are right.",
        ) from error
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[sa.Connection]:
    """One transaction, whose failure says whose it was.

    Raises
    ------
    StateError
        The database is busy or cannot be reached; nothing has been written.

    Examples
    --------
    >>> with transaction(open_database("sqlite://")) as connection:
    ...     connection.execute(sa.select(6 * 7)).scalar_one()
    42
    """
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        raise StateError(
            f"The project's database cannot be read or written now: {error.orig}.", hint="Try again in a moment."
        ) from error


def _connect(url: URL, root: Path | None, *, reading: bool) -> Engine:
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite_to_read(url, root) if reading else _sqlite(url, root)
    if backend == "postgresql":
        require("psycopg")
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            connect_args=_postgres_to_read(url) if reading else _unless_given(url, _POSTGRES_ALIVE),
        )
    raise ConfigError(
        f"The database system {backend!r} is not supported. Known: sqlite, postgresql.",
        hint='Set [project] database to "sqlite:///…" or "postgresql+psycopg://…".',
    )


def _sqlite(url: URL, root: Path | None) -> Engine:
    url = _at(url, root)
    if _is_file(url):
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _take_write_lock)
    return engine


def _sqlite_to_read(url: URL, root: Path | None) -> Engine:
    url = _at(url, root)
    if _is_file(url) and not Path(str(url.database)).exists():
        raise StateError(f"There is no database {url.database} yet.", hint="Train a version first: tenure train")
    engine = sa.create_engine(url, connect_args={"timeout": READING_SECONDS})
    event.listen(engine, "connect", _only_read)
    event.listen(engine, "begin", _take_no_lock)
    return engine


def _postgres_to_read(url: URL) -> dict[str, str | int]:
    own = _POSTGRES_READING.format(round(1000 * READING_SECONDS))
    given = url.query.get("options", "")
    options = f"{given} {own}" if isinstance(given, str) else " ".join([*given, own])
    return {"options": options, **_unless_given(url, _POSTGRES_SOON)}


def _unless_given(url: URL, options: Mapping[str, int]) -> dict[str, int]:
    """Options that the URL does not set itself."""
    return {name: value for name, value in options.items() if name not in url.query}


def _at(url: URL, root: Path | None) -> URL:
    return url.set(database=str(Path(root or ".") / str(url.database))) if _is_file(url) else url


def _is_file(url: URL) -> bool:
    return bool(url.database) and url.database != ":memory:"


def _durable(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not open transactions behind SQLAlchemy's back
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _take_write_lock(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _only_read(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA query_only=ON")


def _take_no_lock(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN DEFERRED")
