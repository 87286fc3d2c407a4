"""Event sources become canonical event tables.

Enters: the rows of one event type. Leaves: `customer_id`, `time`, `recorded` and `id` where configured, then each value
and each category, ordered by time, customer and id, so that a query about a span reads only the part of the files that
holds it.
Invariant: an id occurs once. Without `lines`, the same id twice is a duplicate and the first (by time, then by
when it was recorded) is kept; with `lines`, rows that share an id are one event.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from tenure.core.settings import EventSettings
from tenure.source.contract import Checked, check_rows
from tenure.source.duplicates import mark_duplicates
from tenure.source.engine import read_parquet_sql
from tenure.source.fields import Field, TimeRule, id_field, number_field, text_field, time_field
from tenure.source.history import EventTable
from tenure.source.lines import Folded, fold_lines
from tenure.source.section import Built, Section, as_utc, form_warnings, refuse_clashes, validity

__all__ = ["build_events", "describe_events", "event_columns"]

RESERVED = ("customer_id", "time", "recorded", "id")


def event_columns(settings: EventSettings) -> Iterator[tuple[str, str]]:
    """The source columns that an event section names, each with its key.

    Examples
    --------
    >>> list(event_columns(EventSettings(path="l.csv", customer="user", time="at", values=("minutes",))))
    [('customer', 'user'), ('time', 'at'), ('values', 'minutes')]
    """
    yield "customer", settings.customer
    yield "time", settings.time
    for key, column in (("recorded", settings.recorded), ("id", settings.id), ("type", settings.type)):
        if column is not None:
            yield key, column
    yield from (("values", column) for column in settings.values)
    yield from (("categories", column) for column in settings.categories)


def build_events(engine: duckdb.DuckDBPyConnection, section: Section, settings: EventSettings) -> Built:
    """Read and judge the rows of one event type.

    Raises
    ------
    ConfigError
        A column cannot be what the section says, or two would share a name.
    """
    refuse_clashes(section.name, RESERVED, (*settings.values, *settings.categories))
    fields = _fields(section, settings)
    checked = check_rows(
        engine,
        section.relation,
        fields,
        table=f"checked {section.name}",
        condition=section.condition,
        belongs_sql=section.belongs_sql,
    )
    times = [field for field in fields if field.name in {"time", "recorded"}]
    valid_from, valid_until = validity(engine, checked, times)
    warnings = form_warnings(engine, checked, section.zone)
    folded = None
    if settings.lines:
        folded = fold_lines(engine, checked, _named(fields, settings.values), _named(fields, settings.categories))
    elif settings.id is not None:
        checked = _mark_duplicates(engine, checked)
    by_id = "" if settings.id is None else ", id"
    return Built(
        checked,
        f"{folded.query_sql if folded else _canonical_sql(checked)} ORDER BY time, customer_id{by_id}",
        results=folded.events if folded else None,
        repeated_lines=folded.repeated if folded else 0,
        warnings=(*warnings, *(_line_warnings(folded) if folded else ())),
        valid_from=valid_from,
        valid_until=valid_until,
    )


def _fields(section: Section, settings: EventSettings) -> tuple[Field, ...]:
    """The fields in the order in which their checks apply."""
    at = TimeRule(section.zone, required=True, latest=section.latest)
    since = TimeRule(section.zone, required=False, latest=section.latest)
    kind = section.type_of
    fields = [id_field(0, "customer_id", settings.customer, kind(settings.customer), role="customer")]
    fields.append(time_field(1, "time", settings.time, kind(settings.time), role="time", rule=at))
    if settings.recorded is not None:
        recorded = settings.recorded
        fields.append(time_field(2, "recorded", recorded, kind(recorded), role="recorded time", rule=since))
    if settings.id is not None:
        fields.append(id_field(3, "id", settings.id, kind(settings.id), role="id"))
    fields += [number_field(n, name, name, kind(name)) for n, name in enumerate(settings.values, start=4)]
    start = 4 + len(settings.values)
    fields += [text_field(n, name, name, kind(name)) for n, name in enumerate(settings.categories, start=start)]
    return tuple(fields)


def _named(fields: tuple[Field, ...], names: tuple[str, ...]) -> list[Field]:
    return [field for field in fields if field.name in names]


def _mark_duplicates(engine: duckdb.DuckDBPyConnection, checked: Checked) -> Checked:
    named = {field.name: field for field in checked.fields}
    time_sql, recorded = named["time"].alias_sql, named.get("recorded")
    known_sql = f"coalesce({recorded.alias_sql}, {time_sql})" if recorded else time_sql
    apart = [recorded] if recorded else []
    return mark_duplicates(engine, checked, "id", [named["id"]], first_by=[time_sql, known_sql], apart=apart)


def _canonical_sql(checked: Checked) -> str:
    columns_sql = ", ".join(f"{field.alias_sql} AS {field.name_sql}" for field in checked.fields)
    return f"SELECT {columns_sql} FROM {checked.table_sql} WHERE fault = 0"


def _line_warnings(folded: Folded) -> Iterator[str]:
    if folded.spread:
        yield (
            f"{folded.spread:,} events have lines at several times: each happened when its earliest line did, and is "
            "known once its latest line is"
        )
    if folded.shared_ids:
        yield f"{folded.shared_ids:,} ids are shared by several customers: each customer has an event of their own"


def describe_events(
    engine: duckdb.DuckDBPyConnection, name: str, settings: EventSettings, paths: tuple[Path, ...]
) -> EventTable:
    """Describe a finished event table."""
    table_sql = read_parquet_sql(paths)
    rows, customers, first, last = engine.execute(
        f"SELECT count(*), count(DISTINCT customer_id), min(time), max(time) FROM {table_sql}"
    ).fetchone() or (0, 0, None, None)
    columns = {row[0] for row in engine.execute(f"DESCRIBE SELECT * FROM {table_sql}").fetchall()}
    return EventTable(
        name,
        paths,
        rows,
        customers,
        as_utc(first),
        as_utc(last),
        settings.values,
        settings.categories,
        has_recorded="recorded" in columns,
        has_id="id" in columns,
    )
