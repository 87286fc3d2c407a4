"""Files: Parquet, CSV and globs of either.

Enters: a path or glob from the settings and the folder that relative ones start from. Leaves: an opened `Source`.
Invariant: nothing about a file is guessed silently. A file that is missing, empty, damaged or unlike its neighbours is
named, with what to do next; columns are found by name, never by position, so files of one glob may order them
differently and have further ones.
"""

from __future__ import annotations

import difflib
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tenure.core.errors import InputError, NotFoundError
from tenure.source.delimited import CsvSource, open_csv
from tenure.source.engine import quote_identifier, quote_path
from tenure.source.protocol import Relation, free_name, lacking_columns, refuse_duplicates
from tenure.source.reading import text_sql

__all__ = ["ParquetSource", "file_stamp", "list_files", "open_files"]

PARQUET = (".parquet", ".pq")
CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")


def list_files(pattern: str, root: Path) -> tuple[Path, ...]:
    """Every file that a path or glob means, in the order of their names.

    Raises
    ------
    NotFoundError
        There is none; the message names files that are near.
    InputError
        The path is a folder or an address on the network.

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("b.csv", "a.csv"):
    ...     _ = (root / name).write_text("x")
    >>> [path.name for path in list_files("*.csv", root)]
    ['a.csv', 'b.csv']
    """
    if "://" in pattern:
        raise InputError(
            f"{pattern!r} is an address on the network, which tenure does not read.",
            hint="Copy the files to this machine, or name a database: sqlite:///… or postgresql+psycopg://…",
            path=pattern,
        )
    path = root / Path(pattern).expanduser()
    if path.is_file():
        return (path,)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder.", hint=f'Name its files with a glob, for example "{pattern.rstrip("/")}/*.parquet".'
        )
    names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob wants a relative pattern
    found = tuple(Path(name) for name in sorted(names) if Path(name).is_file())
    if not found:
        raise _not_found(pattern, path)
    return found


def _not_found(pattern: str, path: Path) -> NotFoundError:
    is_glob = glob.has_magic(pattern)
    folder = path.parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    what = f"No file matches {pattern!r}" if is_glob else f"There is no file {pattern!r}"
    if not folder.is_dir():
        return NotFoundError(f"{what}: there is no folder {folder}.", hint="Correct the path.", path=str(path))
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    visible = [name for name in names if not name.startswith(".")]
    near = difflib.get_close_matches(path.name, visible, n=1)
    if near and not is_glob:
        there = f"did you mean {near[0]!r}?"
    else:
        shown = ", ".join(visible[:12]) + (f" and {len(visible) - 12} more" if len(visible) > 12 else "")
        there = f"the folder {folder} holds {shown or 'nothing'}."
    return NotFoundError(
        f"{what}; {there}", hint="Correct the path; it starts at the settings' folder.", path=str(path)
    )


def file_stamp(files: Sequence[Path], root: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells whether files have changed: name, size in bytes and time of the last change in nanoseconds.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> _ = path.write_text("x")
    >>> file_stamp([path], path.parent)[0][:2]
    ('a.csv', 1)
    """
    stats = [(file, file.stat()) for file in files]
    return tuple((_shown(file, root), stat.st_size, stat.st_mtime_ns) for file, stat in stats)


def _shown(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def open_files(engine: duckdb.DuckDBPyConnection, pattern: str, root: Path) -> ParquetSource | CsvSource:
    """Open a file or glob by its ending.

    Raises
    ------
    NotFoundError
        No file matches.
    InputError
        A file is empty, damaged, of an unknown kind or of another kind than the others.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> pq.write_table(pa.table({"id": ["a"], "amount": [1.5]}), folder / "orders.parquet")
    >>> with duckdb.connect() as engine:
    ...     open_files(engine, "*.parquet", folder).columns
    {'id': 'VARCHAR', 'amount': 'DOUBLE'}
    """
    files = list_files(pattern, root)
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise InputError(
            f"{pattern!r} matches files of several kinds: {', '.join(sorted({file.suffix for file in files}))}.",
            hint="Name one kind, for example with *.parquet.",
            path=pattern,
        )
    for file in files:
        if file.stat().st_size == 0:
            raise InputError(f"The file {file} is empty.", hint="Write it again, or leave it out.", path=str(file))
    if kinds == {"parquet"}:
        return _open_parquet(engine, pattern, files)
    return open_csv(pattern, files)


def _kind(file: Path) -> str:
    name = file.name.lower()
    if name.endswith(PARQUET):
        return "parquet"
    if name.endswith(CSV):
        return "csv"
    raise InputError(
        f"The kind of the file {file} cannot be told from its name. Known endings: {', '.join(PARQUET + CSV)}.",
        hint="Save it as CSV or Parquet.",
        path=str(file),
    )


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files with the same columns; `schemas` holds each file's own types.

    A column whose type differs between the files is read as text: `1`, `1.0` and `"1"` then mean the same.
    """

    origin: str
    files: tuple[Path, ...]
    schemas: tuple[Mapping[str, str], ...]

    @property
    def columns(self) -> Mapping[str, str]:
        """Types of the columns that every file has."""
        return {name: self._type(name) for name in self.schemas[0] if name not in self.lacking}

    @property
    def lacking(self) -> Mapping[str, str]:
        """Columns that only some files have, each with a file that lacks it."""
        return lacking_columns(self.files, self.schemas)

    def _type(self, name: str) -> str:
        types = {schema[name] for schema in self.schemas}
        return types.pop() if len(types) == 1 else "VARCHAR"

    def load(self, engine: duckdb.DuckDBPyConnection, names: Sequence[str]) -> Relation:  # noqa: ARG002 - read in place
        """Make the named columns readable, straight from the files."""
        columns = {name: self.columns[name] for name in names}
        alike: dict[tuple[str, ...], list[Path]] = {}
        for file, schema in zip(self.files, self.schemas, strict=True):
            alike.setdefault(tuple(schema[name] for name in names), []).append(file)
        place_sql = quote_identifier(free_name("place", names))
        parts = [
            _part_sql(files, dict(zip(names, types, strict=True)), columns, place_sql) for types, files in alike.items()
        ]
        return Relation(f"({' UNION ALL BY NAME '.join(part_sql for part_sql in parts)})", columns, place_sql)


def _part_sql(files: Sequence[Path], types: Mapping[str, str], wanted: Mapping[str, str], place_sql: str) -> str:
    """Rows of files whose columns have the same types, cast to the wanted ones."""
    values_sql = ", ".join(
        f"{_as_sql(quote_identifier(name), types[name], wanted[name])} AS {quote_identifier(name)}" for name in wanted
    )
    files_sql = ", ".join(quote_path(file) for file in files)
    return f"SELECT {values_sql}, filename AS {place_sql} FROM read_parquet([{files_sql}], union_by_name = true)"


def _as_sql(name_sql: str, column_type: str, wanted: str) -> str:
    return name_sql if column_type == wanted else text_sql(name_sql, column_type)


def _open_parquet(engine: duckdb.DuckDBPyConnection, pattern: str, files: tuple[Path, ...]) -> ParquetSource:
    return ParquetSource(pattern, files, tuple(_schema(engine, file) for file in files))


def _schema(engine: duckdb.DuckDBPyConnection, file: Path) -> Mapping[str, str]:
    try:
        names = pq.read_schema(file).names
        described = engine.execute(f"DESCRIBE SELECT * FROM read_parquet({quote_path(file)})").fetchall()
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise InputError(
            f"The file {file} cannot be read as Parquet: {str(error).splitlines()[0].rstrip('.')}.",
            hint="Write it again; it may be cut off or of another format.",
            path=str(file),
        ) from error
    refuse_duplicates(file, names)
    return {row[0]: row[1] for row in described}
