"""Subscription periods become canonical.

Enters: rows with a customer, a start and an end. Leaves: `customer_id`, `start`, `end`, ordered by start.
Invariant: no period ends before it starts. An absent end, or one at infinity, is a period that is still open and ends
at 9999-12-31. A start in the future is a renewal that is booked ahead: it is kept, and does not say that the log
reaches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from tenure.core.settings import ExpirySettings
from tenure.source.contract import check_rows
from tenure.source.duplicates import mark_duplicates
from tenure.source.engine import read_parquet_sql
from tenure.source.fields import Check, Field, TimeRule, id_field, time_field, timestamp_sql
from tenure.source.history import PeriodTable
from tenure.source.reading import kind_of
from tenure.source.section import Built, Section, as_utc, form_warnings

__all__ = ["OPEN_END", "build_periods", "describe_periods", "period_columns"]

OPEN_END = datetime(9999, 12, 31, tzinfo=UTC)


def period_columns(settings: ExpirySettings) -> Iterator[tuple[str, str]]:
    """The source columns that the expiry section names, each with its key.

    Examples
    --------
    >>> list(period_columns(ExpirySettings(path="s.csv", start="from", end="until")))
    [('customer', 'customer_id'), ('start', 'from'), ('end', 'until')]
    """
    yield from (("customer", settings.customer), ("start", settings.start), ("end", settings.end))


def build_periods(engine: duckdb.DuckDBPyConnection, section: Section, settings: ExpirySettings) -> Built:
    """Read and judge the periods.

    Raises
    ------
    ConfigError
        A column cannot be what the section says.
    """
    customer = id_field(0, "customer_id", settings.customer, section.type_of(settings.customer), role="customer")
    at = TimeRule(section.zone, required=True, latest=OPEN_END)
    start = time_field(1, "start", settings.start, section.type_of(settings.start), role="start", rule=at)
    end = _end_field(section, settings)
    backwards = Check(
        "end before start", settings.end, f"{end.alias_sql} < {start.alias_sql}", "concat_ws(' < ', r2, r1)"
    )
    checked = check_rows(
        engine,
        section.relation,
        (customer, start, end),
        table=f"checked {section.name}",
        condition=section.condition,
        more=[backwards],
    )
    warnings = form_warnings(engine, checked, section.zone)
    checked = mark_duplicates(engine, checked, "period", [customer, start, end], first_by=[start.alias_sql])
    latest_sql = timestamp_sql(section.latest)
    reached, ahead = engine.execute(
        f"SELECT max({start.alias_sql}) FILTER ({start.alias_sql} <= {latest_sql}), "
        f"min({start.alias_sql}) FILTER ({start.alias_sql} > {latest_sql}) FROM {checked.table_sql} WHERE fault = 0"
    ).fetchone() or (None, None)
    columns_sql = ", ".join(f"{field.alias_sql} AS {field.name_sql}" for field in (customer, start, end))
    return Built(
        checked,
        f"SELECT {columns_sql} FROM {checked.table_sql} WHERE fault = 0 ORDER BY start, customer_id",
        warnings=warnings,
        valid_from=as_utc(reached),
        valid_until=as_utc(ahead),
    )


def _end_field(section: Section, settings: ExpirySettings) -> Field:
    kind = section.type_of(settings.end)
    until = TimeRule(section.zone, required=False, latest=OPEN_END)
    field = time_field(2, "end", settings.end, kind, role="end", rule=until)
    open_sql = f"{field.raw_sql} IS NULL"
    if kind_of(kind) == "text":
        open_sql = f"(trim(coalesce({field.raw_sql}, '')) = '' OR lower(trim({field.raw_sql})) = 'infinity')"
    elif kind_of(kind) in {"local", "instant", "date"}:
        open_sql = f"coalesce({field.raw_sql} = 'infinity', true)"
    value_sql = f"CASE WHEN {open_sql} THEN {timestamp_sql(OPEN_END)} ELSE {field.value_sql} END"
    return replace(field, value_sql=value_sql)


def describe_periods(engine: duckdb.DuckDBPyConnection, paths: tuple[Path, ...], latest: datetime) -> PeriodTable:
    """Describe a finished table of periods; starts after `latest` lie in the future."""
    reached_sql = f"start <= {timestamp_sql(latest)}"
    rows, first, last = engine.execute(
        f"SELECT count(*), min(start), max(start) FILTER ({reached_sql}) FROM {read_parquet_sql(paths)}"
    ).fetchone() or (0, None, None)
    return PeriodTable(paths, rows, as_utc(first), as_utc(last))
