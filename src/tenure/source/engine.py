"""The query engine, and the only functions that put names and values into its SQL.

Enters: how much memory and how many threads it may use, and the workspace. Leaves: a DuckDB connection.
Invariant: the connection never loads code from anywhere (no extension is installed or loaded behind our back), shows
every instant in UTC, and spills what does not fit into memory to a folder of its own in the workspace.
"""

from __future__ import annotations

import glob
import itertools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import duckdb

from tenure.core.settings import RuntimeSettings

__all__ = ["open_engine", "quote_identifier", "quote_literal", "quote_path", "read_parquet_sql"]

_numbers = itertools.count()


def open_engine(runtime: RuntimeSettings, workspace: Path) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that keeps within the memory limit by spilling into the workspace.

    Rows come out in no particular order unless a query orders them.

    Parameters
    ----------
    runtime : RuntimeSettings
        Memory limit and threads.
    workspace : Path
        The project's `.tenure` folder; made if it does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with open_engine(RuntimeSettings(threads=1), Path(tempfile.mkdtemp())) as engine:
    ...     engine.execute("SELECT current_setting('TimeZone'), 6 * 7").fetchone()
    ('UTC', 42)
    """
    spill = workspace / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    _remove_orphans(spill)
    options: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": runtime.memory,
        "temp_directory": str(spill / f"{os.getpid()}-{next(_numbers)}"),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
    }
    if runtime.threads is not None:
        options["threads"] = runtime.threads
    engine = duckdb.connect(":memory:", config=options)
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute("SET enable_progress_bar = false")
    return engine


def _remove_orphans(spill: Path) -> None:
    """Remove what killed processes left: DuckDB clears its own folder only when it closes."""
    for folder in spill.iterdir():
        process = folder.name.partition("-")[0]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 is no question but an interrupt
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def quote_identifier(name: str) -> str:
    """Quote a column or table name for SQL.

    Examples
    --------
    >>> print(quote_identifier('9" pipe'))
    "9"" pipe"
    """
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Quote a text value for SQL.

    Examples
    --------
    >>> print(quote_literal("O'Brien"))
    'O''Brien'
    """
    return "'" + text.replace("'", "''") + "'"


def quote_path(path: Path) -> str:
    """Quote the path of one file for DuckDB, which would otherwise read `*`, `?` and `[` in its name as a glob.

    Examples
    --------
    >>> print(quote_path(Path("a[1].csv")))
    'a[[]1].csv'
    """
    return quote_literal(glob.escape(str(path)))


def read_parquet_sql(paths: Iterable[Path]) -> str:
    """A table expression over Parquet files of one schema, to stand after FROM.

    Examples
    --------
    >>> print(read_parquet_sql([Path("a.parquet")]))
    read_parquet(['a.parquet'], hive_partitioning = false)
    """
    return f"read_parquet([{', '.join(quote_path(path) for path in paths)}], hive_partitioning = false)"
