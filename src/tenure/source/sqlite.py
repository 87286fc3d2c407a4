"""Tables of a SQLite database.

Enters: the URL of a database file and the name of a table or view. Leaves: an opened `SqliteSource`.
Invariant: the file is opened for reading only, and no value loses anything. SQLite gives types to values, not to
columns: a column of numbers may hold a word. So every value is read as text and judged by the contract; a whole number
has no decimal point, and any other float is written with as many digits as it needs.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlalchemy.engine import URL

from tenure.core.errors import InputError, NotFoundError, did_you_mean
from tenure.source.engine import quote_identifier
from tenure.source.files import list_files
from tenure.source.protocol import Relation

__all__ = ["SqliteSource", "open_sqlite"]

BATCH_ROWS = 50_000
_numbers = itertools.count()


@dataclass(frozen=True)
class SqliteSource:
    """A table or view of a SQLite database; every column is text."""

    file: Path
    table: str
    columns: Mapping[str, str]
    lacking: Mapping[str, str]

    @property
    def origin(self) -> str:
        """The file and the table."""
        return f"{self.file.name}, table {self.table}"

    def load(self, engine: duckdb.DuckDBPyConnection, names: Sequence[str]) -> Relation:
        """Copy the named columns, a batch of rows at a time."""
        copy_sql = quote_identifier(f"sqlite_{next(_numbers)}")
        columns_sql = ", ".join(f"{quote_identifier(name)} VARCHAR" for name in names)
        engine.execute(f"CREATE TEMP TABLE {copy_sql} ({columns_sql})")
        wanted_sql = ", ".join(quote_identifier(name) for name in names)
        with _open(self.file) as connection:
            rows = connection.execute(f"SELECT {wanted_sql} FROM {quote_identifier(self.table)}")
            while batch := rows.fetchmany(BATCH_ROWS):
                values = [
                    pa.array([_text(value) for value in column], pa.string()) for column in zip(*batch, strict=True)
                ]
                engine.register("sqlite_batch", pa.Table.from_arrays(values, list(names)))
                engine.execute(f"INSERT INTO {copy_sql} SELECT * FROM sqlite_batch")
        return Relation(copy_sql, dict.fromkeys(names, "VARCHAR"))


def _text(value: str | float | bytes | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() else str(value)


def open_sqlite(url: URL, table: str, root: Path) -> SqliteSource:
    """Open a table or view of a SQLite database.

    Raises
    ------
    NotFoundError
        There is no such file or table.
    InputError
        The file is no SQLite database.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "shop.db"
    >>> with closing(sqlite3.connect(path)) as connection:
    ...     _ = connection.execute("CREATE TABLE orders (id INTEGER, amount REAL)")
    >>> open_sqlite(URL.create("sqlite", database="shop.db"), "orders", path.parent).origin
    'shop.db, table orders'
    """
    (file,) = list_files(url.database or ":memory:", root)
    with _open(file) as connection:
        known = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_'"
            )
        ]
        if table not in known:
            raise NotFoundError(
                f"The database {file} has no table {table!r}. {did_you_mean(table, known)}",
                hint="Name one of its tables or views.",
                table=table,
            )
        described = connection.execute("SELECT name FROM pragma_table_info(?)", [table]).fetchall()
    return SqliteSource(file, table, {name: "VARCHAR" for (name,) in described}, {})


@contextmanager
def _open(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
        try:
            yield connection
        except sqlite3.Error as error:
            raise InputError(
                f"The file {file} cannot be read as a SQLite database: {error}.",
                hint="Check that it is one, that no program holds it locked, and that views in it still work.",
                path=str(file),
            ) from error
