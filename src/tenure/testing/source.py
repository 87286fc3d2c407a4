"""What every kind of source promises (`tenure.source.protocol`), as checks.

Enters: a function that puts the known rows of this module somewhere and opens them. Leaves: nothing, or
`AssertionError` with the promise that was broken. Invariant: the checks know only the protocol, so a source of your
own is held to exactly what files, databases and tables from Python are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from tenure.core.settings import RuntimeSettings
from tenure.source.engine import open_engine, quote_identifier
from tenure.source.protocol import Relation, Source
from tenure.source.reading import text_sql

__all__ = ["CHECKS", "COLUMNS", "ROWS", "Opener", "check_source"]

Opener = Callable[[duckdb.DuckDBPyConnection, Path], Source]

# The names need quotes in SQL; the ids are told apart only by every one of their characters.
COLUMNS = ("customer id", "select", 'the "note"')
ROWS: tuple[tuple[str | None, str | None, str | None], ...] = (
    ("00123", "1", "plain"),
    ("123", "-2.5", None),
    (" 123", None, "two\nlines"),
    ("Zoë", "0.1", 'says "hi", twice'),
    ("Zoe\u0308", "1e-300", "it's; DROP TABLE x"),
    ("顧客", "9007199254740991", "50%"),
    (None, "3", "🦊"),
)


def check_source(opener: Opener) -> None:
    """Hold a kind of source to every promise.

    Parameters
    ----------
    opener : callable
        Called with an engine and an empty folder; puts `ROWS` under `COLUMNS` (all of them text, or the second one
        numbers) where the source keeps rows, and gives the opened source.

    Raises
    ------
    AssertionError
        A promise is broken.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from tenure.source.memory import open_table
    >>> columns = dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True))
    >>> check_source(lambda engine, folder: open_table(engine, "known", pa.table(columns)))
    """
    for check in CHECKS:
        check(opener)


def check_columns_come_before_rows(opener: Opener) -> None:
    """Names, in order, and an origin are known without reading."""

    def judge(_: duckdb.DuckDBPyConnection, source: Source) -> None:
        _require(tuple(source.columns) == COLUMNS, f"columns are {list(source.columns)} instead of {list(COLUMNS)}")
        _require(bool(source.origin), "origin is empty: the user could not tell which source is meant")
        _require(not source.lacking, f"lacking names {dict(source.lacking)}, though nothing is lacking")

    _with(opener, judge)


def check_rows_arrive_unchanged(opener: Opener) -> None:
    """Every row arrives, and every character of it; numbers keep their value."""

    def judge(engine: duckdb.DuckDBPyConnection, source: Source) -> None:
        found = _read(engine, source.load(engine, COLUMNS), COLUMNS)
        _require(_sorted(found) == _sorted(ROWS), f"rows are {found} instead of {list(ROWS)}")

    _with(opener, judge)


def check_only_what_is_asked_for(opener: Opener) -> None:
    """Any choice of columns, in any order, has all rows: one that holds nothing is a row, too."""

    def judge(engine: duckdb.DuckDBPyConnection, source: Source) -> None:
        for names in ((COLUMNS[2],), (COLUMNS[2], COLUMNS[0])):
            relation = source.load(engine, names)
            _require(tuple(relation.columns) == names, f"asked for {names}, got {tuple(relation.columns)}")
            expected = [tuple(row[COLUMNS.index(name)] for name in names) for row in ROWS]
            found = _read(engine, relation, names)
            _require(_sorted(found) == _sorted(expected), f"{names}: rows are {found} instead of {expected}")

    _with(opener, judge)


def check_types_are_as_announced(opener: Opener) -> None:
    """The relation has the types that the source announced, and DuckDB agrees."""

    def judge(engine: duckdb.DuckDBPyConnection, source: Source) -> None:
        relation = source.load(engine, COLUMNS)
        for name in COLUMNS:
            described = engine.execute(f"DESCRIBE SELECT {quote_identifier(name)} FROM {relation.sql}").fetchall()
            types = {source.columns[name], relation.columns[name], described[0][1]}
            _require(len(types) == 1, f"{name!r} has several types: {sorted(types)}")

    _with(opener, judge)


def check_it_can_be_read_again(opener: Opener) -> None:
    """Relations loaded side by side do not disturb each other, and each can be read more than once."""

    def judge(engine: duckdb.DuckDBPyConnection, source: Source) -> None:
        one, other = source.load(engine, COLUMNS), source.load(engine, COLUMNS[::-1])
        for relation in (one, other, one):
            _require(_sorted(_read(engine, relation, COLUMNS)) == _sorted(ROWS), "rows differ on a second reading")

    _with(opener, judge)


def check_places_can_be_told(opener: Opener) -> None:
    """The place of a row is NULL, a text, or an index into `places`."""

    def judge(engine: duckdb.DuckDBPyConnection, source: Source) -> None:
        relation = source.load(engine, COLUMNS)
        found = engine.execute(f"SELECT {relation.place_sql} FROM {relation.sql}").fetchall()
        _require(len(found) == len(ROWS), "not every row has a place")
        if relation.places:
            _require(all(0 <= place < len(relation.places) for (place,) in found), "a place is no index into places")

    _with(opener, judge)


CHECKS: tuple[Callable[[Opener], None], ...] = (
    check_columns_come_before_rows,
    check_rows_arrive_unchanged,
    check_only_what_is_asked_for,
    check_types_are_as_announced,
    check_it_can_be_read_again,
    check_places_can_be_told,
)


def _with(opener: Opener, judge: Callable[[duckdb.DuckDBPyConnection, Source], None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        with open_engine(RuntimeSettings(threads=1), folder / "workspace") as engine:
            judge(engine, opener(engine, folder / "source"))


def _read(engine: duckdb.DuckDBPyConnection, relation: Relation, names: Sequence[str]) -> list[tuple[str | None, ...]]:
    """The rows as text, a number as Python writes the shortest text that means it."""
    columns_sql = ", ".join(text_sql(quote_identifier(name), relation.columns[name]) for name in names)
    rows = engine.execute(f"SELECT {columns_sql} FROM {relation.sql}").fetchall()
    return [tuple(row) for row in rows]


def _sorted(rows: Sequence[tuple[str | None, ...]]) -> list[tuple[str, ...]]:
    return sorted(tuple("" if value is None else f"={value}" for value in row) for row in rows)


def _require(kept: bool, problem: str) -> None:
    if not kept:
        raise AssertionError(problem)
