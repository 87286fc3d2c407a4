"""Database tables by URL: which system a URL means, and what both of them share.

Enters: a URL and the name of a table or view. Leaves: an opened `Source`; loading it copies the named columns into a
temporary table of DuckDB. Invariant: the copy takes bounded memory however large the table is, reads one consistent
state of the database, never writes to it, and a password in a URL is never shown.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from tenure.core.errors import ConfigError
from tenure.source.postgres import PostgresSource, open_postgres
from tenure.source.sqlite import SqliteSource, open_sqlite

__all__ = ["database_url", "open_database_table", "shown_path"]


def database_url(path: str, table: str | None) -> URL | None:
    """The URL that a section's `path` is, or None where it is a file.

    Raises
    ------
    ConfigError
        It is the URL of another database system, or `table` is missing or not wanted.

    Examples
    --------
    >>> database_url("sqlite:///shop.db", "orders").database
    'shop.db'
    >>> database_url("orders.csv", None) is None
    True
    """
    scheme = path.partition("://")[0] if "://" in path else ""
    system = scheme.partition("+")[0].lower()
    if not system and table is None:
        return None
    if not system:
        raise ConfigError(
            f"table = {table!r} belongs to a database, and {path!r} is not the URL of one.",
            hint="Omit table, or set path to sqlite:///… or postgresql+psycopg://…",
        )
    if system not in {"sqlite", "postgresql", "postgres"}:
        if table is None:
            return None
        raise ConfigError(
            f"The database system {scheme!r} is not supported. Known: sqlite, postgresql.",
            hint="Export the table to Parquet or CSV and name the files.",
        )
    if table is None:
        raise ConfigError(
            f"The database at {shown_path(path)} needs a table.", hint='Add table = "…": a table or a view.'
        )
    return _parse(path, system)


def _parse(path: str, system: str) -> URL:
    try:
        url = make_url(path)
    except (ArgumentError, ValueError):
        raise ConfigError(f"{shown_path(path)!r} is not a database URL.", hint="Use sqlite:///shop.db.") from None
    return url if system == "sqlite" else url.set(drivername="postgresql+psycopg")


def shown_path(path: str) -> str:
    """A path or URL as it may be shown: of a URL only system, host and database, for the rest may hold a password.

    Examples
    --------
    >>> shown_path("postgresql://ana:secret@db/shop?password=secret"), shown_path("log.csv")
    ('postgresql://db/shop', 'log.csv')
    """
    head, separator, tail = path.partition("://")
    return f"{head}://{tail.rpartition('@')[2].partition('?')[0]}" if separator else path


def open_database_table(url: URL, table: str, root: Path) -> SqliteSource | PostgresSource:
    """Open a table or view of a database.

    Parameters
    ----------
    url : URL
        From `database_url`.
    table : str
        Name of a table or view, in PostgreSQL optionally with its schema: `sales.orders`.
    root : Path
        Folder that a relative SQLite path starts from.

    Raises
    ------
    NotFoundError
        There is no such file or table.
    InputError
        The file is no SQLite database.
    StateError
        The server cannot be reached.

    Examples
    --------
    >>> import sqlite3, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "shop.db"
    >>> with sqlite3.connect(path) as connection:
    ...     _ = connection.execute("CREATE TABLE orders (id INTEGER, amount REAL)")
    >>> connection.close()
    >>> dict(open_database_table(database_url("sqlite:///shop.db", "orders"), "orders", path.parent).columns)
    {'id': 'VARCHAR', 'amount': 'VARCHAR'}
    """
    if url.get_backend_name() == "sqlite":
        return open_sqlite(url, table, root)
    return open_postgres(url, table)
