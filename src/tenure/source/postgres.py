"""Tables of a PostgreSQL database.

Enters: a URL and the name of a table or view. Leaves: an opened `PostgresSource`.
Invariant: what arrives is what PostgreSQL itself writes. Rows are streamed by one `COPY … TO STDOUT` of a read-only
transaction: one consistent state, in bounded memory, and many times faster than row by row. Numbers and truth values
keep their types; everything else arrives as text, so that a `numeric` id keeps all its digits and a time that no
calendar of Python or DuckDB has (`infinity`, a date before Christ) is judged by the contract instead of ending the
run.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from tenure.core.errors import NotFoundError, StateError, did_you_mean
from tenure.core.extras import require
from tenure.source.engine import quote_identifier, quote_literal, quote_path
from tenure.source.protocol import Relation, refuse_duplicates

__all__ = ["PostgresSource", "open_postgres"]

_numbers = itertools.count()
# PostgreSQL's types that are kept; all others arrive as the text that PostgreSQL writes.
_TYPES = {
    "smallint": "BIGINT",
    "integer": "BIGINT",
    "bigint": "BIGINT",
    "real": "DOUBLE",
    "double precision": "DOUBLE",
    "boolean": "BOOLEAN",
}
_RELATIONS_SQL = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), c.oid::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY n.nspname, c.relname
"""
_COLUMNS_SQL = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = :oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


@dataclass(frozen=True)
class PostgresSource:
    """A table or view of a PostgreSQL database."""

    url: URL
    schema: str
    table: str
    columns: Mapping[str, str]
    lacking: Mapping[str, str]

    @property
    def origin(self) -> str:
        """The database, without password, and the table."""
        return f"{_shown(self.url)}, table {self.schema}.{self.table}"

    def load(self, engine: duckdb.DuckDBPyConnection, names: Sequence[str]) -> Relation:
        """Copy the named columns through a file in the engine's spill folder, which is removed at once."""
        copy_sql = quote_identifier(f"postgres_{next(_numbers)}")
        columns = {name: self.columns[name] for name in names}
        with _spilled(engine) as file:
            self._copy(names, file)
            types_sql = ", ".join(f"{quote_literal(name)}: {quote_literal(kind)}" for name, kind in columns.items())
            engine.execute(
                f"CREATE TEMP TABLE {copy_sql} AS SELECT * FROM read_csv({quote_path(file)}, auto_detect = false, "
                f"header = false, new_line = '\\n', delim = ',', quote = '\"', escape = '\"', "
                f"columns = {{{types_sql}}}, "
                "nullstr = '\\N', allow_quoted_nulls = false, max_line_size = 67108864)"
            )
        return Relation(copy_sql, columns)

    def _copy(self, names: Sequence[str], file: Path) -> None:
        columns_sql = ", ".join(quote_identifier(name) for name in names)
        table_sql = f"{quote_identifier(self.schema)}.{quote_identifier(self.table)}"
        with _connect(self.url) as connection, file.open("wb") as target:
            driver = connection.connection.driver_connection
            if driver is None:
                raise StateError("The connection to PostgreSQL was lost.", hint="Try again.")
            # An absent value has a mark of its own: a row of one blank cell would be a blank line, which is no row.
            query_sql = f"COPY (SELECT {columns_sql} FROM {table_sql}) TO STDOUT (FORMAT csv, NULL '\\N')"
            with driver.cursor().copy(query_sql) as copy:
                for block in copy:
                    target.write(block)


@contextmanager
def _spilled(engine: duckdb.DuckDBPyConnection) -> Iterator[Path]:
    (spill,) = engine.execute("SELECT current_setting('temp_directory')").fetchone() or (".",)
    # Named like the engine's own folders, so that what a killed process leaves is removed with them.
    file = Path(spill).parent / f"{os.getpid()}-copy-{next(_numbers)}" / "rows.csv"
    file.parent.mkdir(parents=True)
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)
        file.parent.rmdir()


def open_postgres(url: URL, table: str) -> PostgresSource:
    """Open a table or view of a PostgreSQL database.

    Raises
    ------
    NotFoundError
        There is no such table.
    StateError
        The server cannot be reached or refuses.
    MissingExtraError
        The package psycopg is not installed.

    Examples
    --------
    >>> open_postgres(URL.create("postgresql+psycopg", host="/nowhere", database="shop"), "orders")
    Traceback (most recent call last):
    tenure.core.errors.StateError: The database postgresql:///nowhere/shop cannot be read: ...
    """
    require("psycopg")
    with _connect(url) as connection:
        relations = connection.execute(sa.text(_RELATIONS_SQL)).all()
        found = [
            (schema, name, oid)
            for schema, name, visible, oid in relations
            if f"{schema}.{name}" == table or (name == table and visible)
        ]
        if not found:
            known = [name if visible else f"{schema}.{name}" for schema, name, visible, _ in relations]
            raise NotFoundError(
                f"The database {_shown(url)} has no table {table!r}. {did_you_mean(table, known)}",
                hint="Name one of its tables or views that this user may see.",
                table=table,
            )
        schema, name, oid = found[0]
        described = connection.execute(sa.text(_COLUMNS_SQL), {"oid": oid}).all()
    columns = {column: _TYPES.get(kind, "VARCHAR") for column, kind in described}
    refuse_duplicates(f"The table {table!r}", list(columns))
    return PostgresSource(url, schema, name, columns, {})


def _shown(url: URL) -> str:
    """System, host and database: user, password and options stay out of messages."""
    return f"postgresql://{url.host or ''}/{url.database or ''}"


@contextmanager
def _connect(url: URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")
            connection.exec_driver_sql("SET LOCAL datestyle = 'ISO'")
            connection.exec_driver_sql("SET LOCAL extra_float_digits = 1")
            yield connection
    except (SQLAlchemyError, require("psycopg").Error) as error:
        problem = str(getattr(error, "orig", error)).strip().splitlines()[0].rstrip(".")
        raise StateError(
            f"The database {_shown(url)} cannot be read: {problem}.",
            hint="Check that it runs, that name and password are right, and that this user may read the table.",
        ) from error
