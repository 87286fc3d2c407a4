"""Canonical tables are kept until what they were made from changes.

Enters: a query that gives a canonical table, and a fingerprint of everything that it depends on. Leaves: a folder named
after the fingerprint with the table as Parquet and a document about it. Invariant: a folder is whole or absent; a kept
table is used again only if its source, the settings that shape it and this module's format are the same, and only while
the present moment would accept and reject the same rows: a row from the future is looked at again once it has happened.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from tenure.core.files import atomic_folder
from tenure.source.engine import quote_literal
from tenure.source.history import SourceReport

__all__ = ["Kept", "content_fingerprint", "fingerprint_of", "keep", "read_kept", "table_from", "write_table"]

# Raised whenever canonical tables come out otherwise for the same source, so that none from before is used again.
FORMAT = 1
DOCUMENT = "about.json"
TABLE = "part-0.parquet"

Table = TypeVar("Table")


@dataclass(frozen=True)
class Kept:
    """A kept table: its fingerprint, its description, what became of its source's rows, and other types beside it."""

    fingerprint: str
    table: Mapping[str, Any]
    report: SourceReport
    other_types: Mapping[str, int]
    valid_from: datetime | None
    valid_until: datetime | None

    def holds_at(self, latest: datetime) -> bool:
        """Whether the same rows would be accepted if `latest` were the latest time that is not in the future.

        Examples
        --------
        >>> from datetime import UTC
        >>> day = datetime(2026, 1, 31, tzinfo=UTC)
        >>> kept = Kept("0f", {}, SourceReport("customers", "c.csv", rows=1), {}, valid_from=None, valid_until=day)
        >>> kept.holds_at(day)
        False
        """
        begun = self.valid_from is None or self.valid_from <= latest
        return begun and (self.valid_until is None or latest < self.valid_until)


def fingerprint_of(*parts: Any) -> str:
    """A short name for everything that a result depends on.

    Examples
    --------
    >>> len(fingerprint_of("events.login", [1, 2]))
    24
    """
    text = json.dumps([FORMAT, *parts], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def content_fingerprint(engine: duckdb.DuckDBPyConnection, query_sql: str) -> str:
    """A fingerprint of a query's columns and rows, whatever the order of the rows.

    Examples
    --------
    >>> with duckdb.connect() as engine:
    ...     one, other = (content_fingerprint(engine, f"SELECT unnest([1, {number:d}])") for number in (2, 3))
    >>> one == other
    False
    """
    rows, total = engine.execute(
        f"SELECT count(*), coalesce(sum(CAST(hash(content) AS HUGEINT)), 0) FROM ({query_sql}) AS content"
    ).fetchone() or (0, 0)
    columns = [
        described[:2] for described in engine.execute(f"DESCRIBE {query_sql}").fetchall()
    ]  # hashes know no names
    return fingerprint_of("content", columns, rows, str(total))


def read_kept(folder: Path, fingerprint: str, latest: datetime) -> Kept | None:
    """The kept table of that fingerprint, if there is one that still holds.

    A document that cannot be read, of another format say, is as good as none: the table is made again.
    """
    path = folder / fingerprint / DOCUMENT
    if not path.is_file() or not (folder / fingerprint / TABLE).is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        report = SourceReport(**{**document["report"], "warnings": tuple(document["report"]["warnings"])})
        span = [_instant(document[key]) for key in ("valid_from", "valid_until")]
        kept = Kept(fingerprint, document["table"], report, document["other_types"], span[0], span[1])
    except (ValueError, KeyError, TypeError):
        return None
    complete = report.rejects is None or Path(report.rejects).is_file()
    return kept if complete and kept.holds_at(latest) else None


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def write_table(engine: duckdb.DuckDBPyConnection, query_sql: str, folder: Path) -> Path:
    """Write a query's rows, in its order, to a Parquet file in a folder."""
    path = folder / TABLE
    engine.execute(f"COPY ({query_sql}) TO {quote_literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
    return path


def keep(engine: duckdb.DuckDBPyConnection, folder: Path, kept: Kept, query_sql: str, describe: Any) -> Kept:
    """Write a canonical table and its document, and remove those of other fingerprints.

    Parameters
    ----------
    engine : DuckDBPyConnection
        Where the query runs.
    folder : Path
        Folder of the section; the table gets a folder of its own in it, named after the fingerprint.
    kept : Kept
        What to keep, its description still empty.
    query_sql : str
        Gives the canonical rows in their order.
    describe : callable
        Called with the paths of the written files; gives the record that describes the table.
    """
    target = folder / kept.fingerprint
    with atomic_folder(target, replace=True) as temporary:
        path = write_table(engine, query_sql, temporary)
        done = dataclasses.replace(kept, table=_document(describe((path,))))
        text = json.dumps(dataclasses.asdict(done), ensure_ascii=False, indent=1, default=datetime.isoformat)
        (temporary / DOCUMENT).write_text(text, encoding="utf-8")
    for other in folder.iterdir():
        if other != target and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)
    return done


def _document(table: Any) -> dict[str, Any]:
    document = dataclasses.asdict(table)
    del document["paths"]
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in document.items()}


def table_from(kind: type[Table], kept: Kept, folder: Path) -> Table:
    """The record that describes a kept table, with the paths of its files."""
    values: dict[str, Any] = {"paths": (folder / kept.fingerprint / TABLE,)}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in kept.table:
            value = kept.table[field.name]
            is_time = "datetime" in str(field.type)
            values[field.name] = _instant(value) if is_time else _tuples(value)
    return kind(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
