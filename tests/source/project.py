"""Small projects for the tests of the source stage: write a source, ingest it, look at what came out."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tenure.core.config import settings_from
from tenure.core.time import fixed_clock
from tenure.source.engine import read_parquet_sql
from tenure.source.history import SourceReport
from tenure.source.ingest import Ingested, IngestedTable, ingest, ingest_table

NOW = "2026-02-01"
Row = Sequence[Any]


def document(events: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Settings of a project whose churn is the inactivity of its first event."""
    churn = {"inactivity": [next(iter(events))], "horizon": "28d"}
    return {"events": dict(events), "churn": churn, **more}


def take_in(
    root: Path, settings: Mapping[str, Any], tables: Mapping[str, object] | None = None, now: str = NOW
) -> Ingested:
    return ingest(settings_from(settings), root, root / ".tenure", fixed_clock(now), tables)


def take_in_events(
    root: Path, *, now: str = NOW, tables: Mapping[str, object] | None = None, **events: Any
) -> Ingested:
    """Ingest a project with one event type, `login`, whose section is given; nothing stops it."""
    settings = document({"login": events}, contract={"max_rejects": 1.0})
    return take_in(root, settings, tables, now)


def take_in_table(
    root: Path, tables: Mapping[str, object] | None = None, now: str = NOW, **table: Any
) -> IngestedTable:
    """Ingest a project with a plain table; nothing stops it."""
    settings = settings_from({"table": table, "contract": {"max_rejects": 1.0}})
    return ingest_table(settings, root, root / ".tenure", fixed_clock(now), tables)


def only_report(done: Ingested | IngestedTable) -> SourceReport:
    (report,) = done.report.sources
    return report


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Row], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n", **options)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
    return path


def rows_of(paths: Sequence[Path], columns: str = "*") -> list[tuple[Any, ...]]:
    """The rows of a canonical table, in the order of the file."""
    with duckdb.connect() as engine:
        return engine.execute(f"SELECT {columns} FROM {read_parquet_sql(paths)}").fetchall()


def logins(done: Ingested, columns: str = "*") -> list[tuple[Any, ...]]:
    return rows_of(done.history.events["login"].paths, columns)


def rejects(report: SourceReport) -> list[dict[str, str]]:
    """The rows of a rejects file."""
    if report.rejects is None:
        return []
    with Path(report.rejects).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def balanced(report: SourceReport) -> bool:
    """Whether every row is accounted for, in the report and in the rejects file."""
    whole = report.rows == report.filtered + report.accepted + report.rejected_rows
    return whole and len(rejects(report)) == report.rejected_rows


def day(text: str) -> datetime:
    """A UTC time as the canonical tables hold it, without an offset."""
    return datetime.fromisoformat(text)
