"""What every kind of source offers: its columns at once, its rows when they are asked for.

Enters: a place that rows come from (files, a database table, a Python table). Leaves: a `Relation` that DuckDB reads.
Invariant: opening looks at names and types only, so a wrong name is reported before any row is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from tenure.core.errors import InputError

__all__ = ["Relation", "Source", "free_name", "lacking_columns", "refuse_duplicates"]


@dataclass(frozen=True)
class Relation:
    """Rows that DuckDB can read, as often as needed, while the connection is open.

    Parameters
    ----------
    sql : str
        A table expression, to stand after FROM.
    columns : mapping of str to str
        DuckDB's type of each column that was asked for.
    place_sql : str
        A column that tells the file a row comes from, or `NULL`.
    places : tuple of str
        If not empty, that column is an index into these, counted from 0: most rows never need the name.
    malformed : str or None
        Name of a table with the lines that are no rows (`place`, `line`, `problem`, `content`); None where there cannot
        be any.
    """

    sql: str
    columns: Mapping[str, str]
    place_sql: str = "NULL"
    places: tuple[str, ...] = ()
    malformed: str | None = None


class Source(Protocol):
    """A place that rows come from, opened but not yet read."""

    @property
    def origin(self) -> str:
        """What the user knows it by: path, glob or table name, without any password."""

    @property
    def columns(self) -> Mapping[str, str]:
        """DuckDB's type of every column, in the order of the source."""

    @property
    def lacking(self) -> Mapping[str, str]:
        """Columns that only some files have, each with a file that lacks it."""

    def load(self, engine: duckdb.DuckDBPyConnection, names: Sequence[str]) -> Relation:
        """Make the named columns readable."""


def free_name(name: str, taken: Collection[str]) -> str:
    """A column name that no other column has.

    Examples
    --------
    >>> free_name("file", ["File", "time"])
    'file_'
    """
    folded = {other.casefold() for other in taken}
    while name.casefold() in folded:
        name += "_"
    return name


def lacking_columns(files: Sequence[Path], headers: Sequence[Collection[str]]) -> dict[str, str]:
    """Columns that only some files have, each with the first file that lacks it.

    Examples
    --------
    >>> lacking_columns([Path("a.csv"), Path("b.csv")], [["id", "x"], ["id"]])
    {'x': 'b.csv'}
    """
    names = dict.fromkeys(name for header in headers for name in header)
    absent = {name: [file for file, header in zip(files, headers, strict=True) if name not in header] for name in names}
    return {name: str(without[0]) for name, without in absent.items() if without}


def refuse_duplicates(where: Path | str, names: Sequence[str]) -> None:
    """Stop at columns that share a name: which of them is meant cannot be known.

    Raises
    ------
    InputError
        Several columns have the same name; upper and lower case do not count, as in SQL.

    Examples
    --------
    >>> refuse_duplicates("a.csv", ["id", "time"])
    """
    counts = Counter(name.casefold() for name in names)
    twice = [name for name in names if counts[name.casefold()] > 1]
    if twice:
        shown = ", ".join(repr(name) for name in twice)
        raise InputError(
            f"{where} has several columns of the same name: {shown} (upper and lower case do not count).",
            hint="Rename or drop all but one of them.",
            source=str(where),
            columns=twice,
        )
