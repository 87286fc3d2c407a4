"""CSV files: text with a header line, plain or compressed with gzip.

Enters: files. Leaves: an opened `CsvSource` in which every column is text.
Invariant: no cell changes on its way in. Types are not sniffed (an id `00123` would lose its zeros), columns are found
by the names in each file's own header, and a line that is no row is kept with its number and its problem.

The delimiter is the one of comma, semicolon, tab and bar that splits the header into the most columns. Quotes are
double quotes, doubled inside a quoted cell. A blank cell is an absent value.

A quote that opens and does not close swallows the lines behind it, and how many rows those were cannot be told from the
file. So it is an error with its line number, whereas a line with too few or too many cells is one rejected row.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tenure.core.errors import InputError
from tenure.source.engine import quote_identifier, quote_literal, quote_path
from tenure.source.protocol import Relation, free_name, lacking_columns, refuse_duplicates

__all__ = ["CsvSource", "open_csv"]

DELIMITERS = (",", ";", "\t", "|")
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK\x03\x04": "a zip archive or a spreadsheet"}
_ENDINGS = {"\n": "\\n", "\r\n": "\\r\\n", "\r": "\\r"}
_numbers = itertools.count()


@dataclass(frozen=True)
class Header:
    """The first line of a file: how its cells are divided, what they say, how it ends, and how many blank ones precede.

    The end of the line is taken from here because DuckDB would take it from wherever one comes first, inside quotes
    too.
    """

    delimiter: str
    names: tuple[str, ...]
    skipped: int
    ending: str


@dataclass(frozen=True)
class CsvSource:
    """CSV files; every column is text."""

    origin: str
    files: tuple[Path, ...]
    headers: tuple[Header, ...]

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns that every file has, all of them text."""
        return {name: "VARCHAR" for name in self.headers[0].names if name not in self.lacking}

    @property
    def lacking(self) -> Mapping[str, str]:
        """Columns that only some files have, each with a file that lacks it."""
        return lacking_columns(self.files, [header.names for header in self.headers])

    def load(self, engine: duckdb.DuckDBPyConnection, names: Sequence[str]) -> Relation:
        """Read the named columns into a temporary table: parsing text is the dear part and is done once."""
        number = next(_numbers)
        table, malformed = f"csv_{number}", f"malformed_{number}"
        # The number of a row's file is kept rather than its name, which would be most of a narrow table.
        file_sql = quote_identifier(free_name("file", names))
        columns_sql = "".join(f"{quote_identifier(name)} VARCHAR, " for name in names)
        engine.execute(f"CREATE TEMP TABLE {quote_identifier(table)} ({columns_sql}{file_sql} UINTEGER)")
        engine.execute(
            f"CREATE TEMP TABLE {quote_identifier(malformed)} "
            "(place VARCHAR, line UBIGINT, problem VARCHAR, content VARCHAR)"
        )
        ordered: list[Path] = []
        for header, files in self._alike().items():
            _read(engine, table, malformed, _rows_sql(header, files, names, len(ordered)), files)
            ordered += files
        places = tuple(str(file) for file in ordered)
        return Relation(quote_identifier(table), dict.fromkeys(names, "VARCHAR"), file_sql, places, malformed)

    def _alike(self) -> dict[Header, list[Path]]:
        alike: dict[Header, list[Path]] = {}
        for file, header in zip(self.files, self.headers, strict=True):
            alike.setdefault(header, []).append(file)
        return alike


def _rows_sql(header: Header, files: Sequence[Path], names: Sequence[str], before: int) -> str:
    """Rows of files with the same header, each with the number of its file; `before` files were read before."""
    values_sql = "".join(f"{quote_identifier(name)}, " for name in names)
    types_sql = ", ".join(f"{quote_literal(name)}: 'VARCHAR'" for name in header.names)
    files_sql = ", ".join(quote_path(file) for file in files)
    return (
        f"SELECT {values_sql}file_index + {before:d} FROM read_csv([{files_sql}], auto_detect = false, header = true, "
        f"skip = {header.skipped:d}, new_line = {quote_literal(_ENDINGS[header.ending])}, "
        f"delim = {quote_literal(header.delimiter)}, quote = '\"', escape = '\"', "
        f"columns = {{{types_sql}}}, hive_partitioning = false, store_rejects = true, rejects_limit = 0)"
    )


def _read(engine: duckdb.DuckDBPyConnection, table: str, malformed: str, rows_sql: str, files: Sequence[Path]) -> None:
    shown = str(files[0]) if len(files) == 1 else f"one of {len(files)} files such as {files[0]}"
    try:
        engine.execute(f"INSERT INTO {quote_identifier(table)} {rows_sql}")
    except duckdb.Error as error:
        raise InputError(
            f"CSV cannot be read from {shown}: {_problem(str(error))}.",
            hint="Write the file again with one kind of line ending, double quotes, and in UTF-8.",
            path=str(files[0]),
        ) from error
    # One line may have several faults, one for each cell; the first is kept.
    engine.execute(
        f"INSERT INTO {quote_identifier(malformed)} "
        "SELECT any_value(file_path), any_value(line), arg_min(error_message, column_idx), any_value(csv_line) "
        "FROM reject_errors JOIN reject_scans USING (scan_id, file_id) GROUP BY file_path, line, line_byte_position"
    )
    _refuse_open_quotes(engine)
    engine.execute("DROP TABLE reject_errors")
    engine.execute("DROP TABLE reject_scans")


def _problem(message: str) -> str:
    if "invalid state" in message:
        return "some lines end otherwise than the first (with and without a carriage return)"
    return message.splitlines()[0].rstrip(".")


def _refuse_open_quotes(engine: duckdb.DuckDBPyConnection) -> None:
    found = engine.execute(
        "SELECT file_path, line FROM reject_errors JOIN reject_scans USING (scan_id, file_id) "
        "WHERE error_type IN ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM') "
        "AND contains(rtrim(csv_line, chr(10)), chr(10)) ORDER BY file_path, line LIMIT 1"
    ).fetchone()
    if found is not None:
        path, line = found
        raise InputError(
            f"In {path}, a double quote opens in line {line} and is not closed properly, so the lines behind it cannot "
            "be told apart.",
            hint='Correct that line: quotes come in pairs, and inside a quoted cell one is written as two ("").',
            path=path,
            line=line,
        )


def open_csv(pattern: str, files: Sequence[Path]) -> CsvSource:
    r"""Open CSV files by their headers.

    Raises
    ------
    InputError
        A file has no header, has two columns of the same name, or is not text in UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> _ = path.write_text("id;time\n00123;2026-01-31\n")
    >>> list(open_csv("log.csv", [path]).columns)
    ['id', 'time']
    """
    return CsvSource(pattern, tuple(files), tuple(read_header(file) for file in files))


def read_header(file: Path) -> Header:
    r"""Read a file's first line.

    Raises
    ------
    InputError
        There is none, or two columns share a name, or the file is not text in UTF-8.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> _ = path.write_text('id|"the time"\n')
    >>> read_header(path)
    Header(delimiter='|', names=('id', 'the time'), skipped=0, ending='\n')
    """
    try:
        with _open(file) as handle:
            start = handle.read(4)
            handle.seek(0)
            # Bytes that are no UTF-8 matter here only if they are in the header; a row with such bytes is rejected.
            with io.TextIOWrapper(handle, "utf-8-sig", errors="surrogateescape", newline="") as lines:
                mark = next((what for mark, what in _MARKS.items() if start.startswith(mark)), None)
                skipped, first = (0, "") if mark else _first_line(lines)
        first.encode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise InputError(
            f"The file {file} cannot be read as CSV: {error}.", hint="Save it as CSV in UTF-8.", path=str(file)
        ) from error
    if mark:
        raise InputError(f"The file {file} is {mark}, not CSV.", hint="Save it as CSV in UTF-8.", path=str(file))
    if not first:
        raise InputError(f"The file {file} is empty.", hint="Write it again, or leave it out.", path=str(file))
    return _split(file, first, skipped)


def _open(file: Path) -> io.BufferedReader | gzip.GzipFile:
    return gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb")


def _first_line(lines: Iterator[str]) -> tuple[int, str]:
    """How many blank lines come first, and the first that is not blank, with what a quoted cell in it spans."""
    skipped = 0
    first = next(lines, "")
    while first and not first.strip():
        skipped, first = skipped + 1, next(lines, "")
    while first.count('"') % 2 and (more := next(lines, "")):
        first += more
    return skipped, first


def _split(file: Path, first: str, skipped: int) -> Header:
    rows = {delimiter: next(csv.reader([first], delimiter=delimiter)) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda candidate: len(rows[candidate]))
    names = [name.strip() or f"column{n}" for n, name in enumerate(rows[delimiter], start=1)]
    refuse_duplicates(file, names)
    ending = next((ending for ending in ("\r\n", "\n", "\r") if first.endswith(ending)), "\n")
    return Header(delimiter, tuple(names), skipped, ending)
