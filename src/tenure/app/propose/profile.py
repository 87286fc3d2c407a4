"""What the columns of a source hold, measured.

Enters: an opened source. Leaves: a `Profile`. Invariant: every statement is counted on the source's own rows, on at
most half a million of them drawn with a fixed seed, with the same readers that the contract uses later, so that what is
proposed can also be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

import duckdb

from tenure.core.errors import InputError
from tenure.source.engine import quote_identifier
from tenure.source.protocol import Source
from tenure.source.reading import blank_sql, instant_sql, kind_of, number_sql, text_sql, time_form_sql

__all__ = ["Column", "Profile", "moment_sql", "profile"]

SAMPLE_ROWS = 500_000
_READABLE = frozenset({"text", "integer", "decimal", "float", "boolean", "date", "local", "instant"})
_CLOCK_TYPES = frozenset({"date", "local", "instant"})


@dataclass(frozen=True)
class Column:
    """One column, on the rows that were looked at.

    Parameters
    ----------
    name : str
        As in the source.
    kind : str
        DuckDB's type, sorted into what is read alike: text, integer, decimal, float, boolean, date, local, instant.
    filled : float
        Share of rows with a value.
    distinct : int
        Different values, as texts.
    numeric, timed : float
        Shares of the values that read as a number, and as a date or time with a year.
    lowest, highest : float or None
        Smallest and largest number.
    first, last : datetime or None
        Smallest and largest instant, UTC.
    whole : bool
        Every value is a whole number.
    """

    name: str
    kind: str
    filled: float
    distinct: int
    numeric: float
    timed: float
    lowest: float | None
    highest: float | None
    first: datetime | None
    last: datetime | None
    whole: bool


@dataclass(frozen=True)
class Profile:
    """A source: how many rows it has, how many were looked at, and its columns in order.

    `table` is the name of a DuckDB table with the rows that were looked at, all columns as texts.
    """

    origin: str
    rows: int
    looked_at: int
    columns: Mapping[str, Column]
    table: str

    def counts_rows(self, column: Column) -> bool:
        """Whether a column is a running number: whole, another one in every row, without more gaps than the sample."""
        if not column.whole or column.lowest is None or column.highest is None:
            return False
        return column.distinct == self.looked_at and column.highest - column.lowest < self.rows


def profile(engine: duckdb.DuckDBPyConnection, source: Source, zone: tzinfo = UTC, table: str = "looked at") -> Profile:
    """Measure every column of a source.

    Parameters
    ----------
    engine : DuckDBPyConnection
        From `tenure.source.engine.open_engine`.
    source : Source
        Opened.
    zone : tzinfo
        In which times without an offset are read.
    table : str
        Name for the table of sampled rows.

    Raises
    ------
    InputError
        The source has no rows.
    """
    relation = source.load(engine, tuple(source.columns))
    rows = _one(engine, f"SELECT count(*) FROM {relation.sql}")[0]
    if not rows:
        raise InputError(f"{source.origin} has no rows.", hint="Give a source with data.", origin=source.origin)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE {quote_identifier(table)} AS "
        f"SELECT * FROM {relation.sql} USING SAMPLE reservoir({SAMPLE_ROWS:d} ROWS) REPEATABLE (0)"
    )
    looked_at = min(rows, SAMPLE_ROWS)
    columns = {
        name: _column(engine, table, name, kind, looked_at, zone)
        for name, kind in relation.columns.items()
        if kind_of(kind) in _READABLE
    }
    return Profile(source.origin, rows, looked_at, columns, table)


def moment_sql(name: str, column_type: str, zone: tzinfo) -> str:
    """A column as a UTC timestamp, NULL where it holds none.

    Examples
    --------
    >>> with duckdb.connect() as engine:
    ...     engine.execute(f"SELECT {moment_sql('t', 'VARCHAR', UTC)} FROM (SELECT '2026-01-31' AS t)").fetchone()
    (datetime.datetime(2026, 1, 31, 0, 0),)
    """
    value_sql = quote_identifier(name)
    if kind_of(column_type) not in _CLOCK_TYPES | {"text"}:
        return "CAST(NULL AS TIMESTAMP)"
    return instant_sql(value_sql, column_type, zone, time_form_sql(value_sql))


def _one(engine: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = engine.execute(sql).fetchone()
    return row if row is not None else ()


def _column(
    engine: duckdb.DuckDBPyConnection, table: str, name: str, column_type: str, rows: int, zone: tzinfo
) -> Column:
    kind = kind_of(column_type)
    value_sql = quote_identifier(name)
    clocked_sql = {"text": f"{time_form_sql(value_sql)} IN (1, 2)"}.get(kind, str(kind in _CLOCK_TYPES).lower())
    number_as_sql = "NULL" if kind in _CLOCK_TYPES else number_sql(value_sql, column_type)
    counts = _one(
        engine,
        f"""SELECT count(*), count(DISTINCT shown), count(number), count(moment),
                   min(number), max(number), min(moment), max(moment), count(*) FILTER (number = floor(number))
            FROM (SELECT {text_sql(value_sql, column_type)} AS shown,
                         CASE WHEN isfinite(CAST({number_as_sql} AS DOUBLE)) THEN {number_as_sql} END AS number,
                         CASE WHEN {clocked_sql} THEN {moment_sql(name, column_type, zone)} END AS moment
                  FROM {quote_identifier(table)})
            WHERE shown IS NOT NULL AND NOT {blank_sql("shown")}""",
    )
    filled, distinct, numbers, times, lowest, highest, first, last, whole = counts
    return Column(
        name=name,
        kind=kind,
        filled=filled / rows,
        distinct=distinct,
        numeric=numbers / filled if filled else 0.0,
        timed=times / filled if filled else 0.0,
        lowest=lowest,
        highest=highest,
        first=_utc(first),
        last=_utc(last),
        whole=whole == filled > 0,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
