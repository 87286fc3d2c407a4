"""One way into every kind of source.

Enters: a section's `path`, `table`, and the tables that Python gave. Leaves: an opened `Source`, or what tells whether
it has changed. Invariant: a table given from Python stands in for the `path` it is named after, and for nothing else;
a name that no section mentions is an error, for then some section would read something else than was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from tenure.core.errors import NotFoundError, did_you_mean
from tenure.core.settings import SourceSettings
from tenure.source.files import file_stamp, list_files, open_files
from tenure.source.memory import open_table
from tenure.source.protocol import Source
from tenure.source.sql import database_url, open_database_table

__all__ = ["open_source", "refuse_unused_tables", "source_stamp"]


def open_source(
    engine: duckdb.DuckDBPyConnection, settings: SourceSettings, root: Path, tables: Mapping[str, object]
) -> Source:
    """Open whatever a section names: a table from Python, a database table, a file or a glob.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where its rows will be read.
    settings : SourceSettings
        The section.
    root : Path
        Folder that relative paths start from.
    tables : mapping of str to table
        Tables given from Python, by the `path` that they stand in for.

    Examples
    --------
    >>> import pyarrow as pa
    >>> orders = pa.table({"id": ["a"]})
    >>> with duckdb.connect() as engine:
    ...     open_source(engine, SourceSettings(path="orders"), Path(), {"orders": orders}).columns
    {'id': 'VARCHAR'}
    """
    if settings.path in tables:
        return open_table(engine, settings.path, tables[settings.path])
    url = database_url(settings.path, settings.table)
    if url is not None and settings.table is not None:
        return open_database_table(url, settings.table, root)
    return open_files(engine, settings.path, root)


def source_stamp(
    settings: SourceSettings, root: Path, tables: Mapping[str, object]
) -> tuple[tuple[str, int, int], ...] | None:
    """What tells whether a source has changed; None where only reading it can tell (databases, tables from Python).

    Raises
    ------
    NotFoundError
        The section names files, and there are none.
    """
    if settings.path in tables or database_url(settings.path, settings.table) is not None:
        return None
    return file_stamp(list_files(settings.path, root), root)


def refuse_unused_tables(tables: Mapping[str, object], sections: Iterable[SourceSettings]) -> None:
    """Stop at a table that no section's `path` names.

    Raises
    ------
    NotFoundError
        There is such a table.

    Examples
    --------
    >>> refuse_unused_tables({"orders": None}, [SourceSettings(path="orders")])
    """
    paths = [section.path for section in sections]
    for name in tables:
        if name not in paths:
            raise NotFoundError(
                f"The table {name!r} was given, but no section has that path. {did_you_mean(name, paths)}",
                hint="Name the table after the path of the section that it stands in for.",
                table=name,
            )
