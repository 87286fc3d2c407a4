"""A plain customer table with a label becomes canonical.

Enters: rows that already are what a model learns from. Leaves: `customer_id`, `time` where configured, `label`, then
every other column that is not ignored. Invariant: the rows keep their order, and `label` is missing exactly where the
source says nothing: such a row can be scored, and nothing is learned from it.

Rows that are equal in every column read are reported: on both sides of a split they make any model look better than it
is. Without an id nothing tells whether they are one customer twice or two alike, so they stay; with an id they are
duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb

from tenure.core.errors import InputError, NotFoundError, did_you_mean
from tenure.core.settings import TableSettings
from tenure.source.attributes import read_attributes
from tenure.source.contract import Checked, check_rows
from tenure.source.customers import describe_attributes
from tenure.source.duplicates import mark_duplicates
from tenure.source.engine import quote_identifier, quote_literal, read_parquet_sql
from tenure.source.fields import Field, TimeRule, id_field, time_field
from tenure.source.history import PlainTable
from tenure.source.protocol import Relation, free_name
from tenure.source.reading import blank_sql, kind_of, number_sql, text_sql
from tenure.source.section import Built, Section, as_utc, form_warnings, refuse_clashes, validity

__all__ = ["build_plain", "describe_plain", "plain_columns"]

RESERVED = ("customer_id", "time", "label")


def plain_columns(settings: TableSettings, *, labelled: bool = True) -> Iterator[tuple[str, str]]:
    """The source columns that the table section names and needs, each with its key.

    A table that is only scored (`labelled` is false) may lack the label.

    Examples
    --------
    >>> list(plain_columns(TableSettings(path="t.csv", label="Churn", positive="Yes", ignore=("note",))))
    [('label', 'Churn'), ('ignore', 'note')]
    """
    label = settings.label if labelled else None
    for key, column in (("id", settings.id), ("label", label), ("time", settings.time)):
        if column is not None:
            yield key, column
    yield from (("ignore", column) for column in settings.ignore)


def build_plain(
    engine: duckdb.DuckDBPyConnection, section: Section, settings: TableSettings, *, labelled: bool = True
) -> Built:
    """Read and judge the rows of a plain table; every column that is not named for something else is an attribute.

    Where the table is only scored (`labelled` is false), any labels will do, or none.

    Raises
    ------
    ConfigError
        A column cannot be what the section says, or two would share a name.
    NotFoundError
        No row has the label that means churned.
    InputError
        Every row has it, so there is nothing to tell apart.
    """
    named = {column for _, column in plain_columns(settings)}
    attributes = [name for name in section.relation.columns if name not in named]
    refuse_clashes(section.name, RESERVED, attributes)
    warnings = _label_warnings(engine, section, settings) if labelled else ()
    relation, row_number = _numbered(section.relation)
    read = read_attributes(engine, section, attributes, start=3)
    own = tuple(_own_fields(section, settings, row_number))
    fields = (*own, *(attribute.field for attribute in read))
    checked = check_rows(engine, relation, fields, table=f"checked {section.name}", condition=section.condition)
    valid_from, valid_until = validity(engine, checked, [field for field in own if field.name == "time"])
    if settings.id is not None:
        checked = mark_duplicates(engine, checked, "id", [field for field in own if field.name != "label"])
    columns_sql = ", ".join(f"{field.alias_sql} AS {field.name_sql}" for field in fields)
    return Built(
        checked,
        f"SELECT {columns_sql} FROM {checked.table_sql} WHERE fault = 0",
        warnings=(
            *warnings,
            *form_warnings(engine, checked, section.zone),
            *(attribute.warning for attribute in read if attribute.warning),
            *(_repeated_warning(engine, checked) if settings.id is None else ()),
        ),
        valid_from=valid_from,
        valid_until=valid_until,
    )


def _numbered(relation: Relation) -> tuple[Relation, str]:
    """The relation with the number of each row, counted from 1 before any row is left out."""
    name = free_name("row", relation.columns)
    numbered_sql = f"(SELECT *, row_number() OVER () AS {quote_identifier(name)} FROM {relation.sql})"
    return replace(relation, sql=numbered_sql, columns={**relation.columns, name: "BIGINT"}), name


def _own_fields(section: Section, settings: TableSettings, row_number: str) -> Iterator[Field]:
    column = settings.id if settings.id is not None else row_number
    column_type = section.type_of(column) if settings.id is not None else "BIGINT"
    yield id_field(0, "customer_id", column, column_type, role="id")
    if settings.time is not None:
        rule = TimeRule(section.zone, required=True, latest=section.latest)
        yield time_field(1, "time", settings.time, section.type_of(settings.time), role="time", rule=rule)
    if settings.label in section.relation.columns:
        yield _label_field(settings.label, section.type_of(settings.label), settings.positive)
    else:
        yield Field("label", row_number, "BIGINT", 2, "CAST(NULL AS BOOLEAN)", "", ())


def _label_field(column: str, column_type: str, positive: str | float | bool) -> Field:
    absent_sql = f"r2 IS NULL OR {blank_sql(text_sql('r2', column_type))}"
    value_sql = f"CASE WHEN {absent_sql} THEN NULL ELSE {_positive_sql('r2', column_type, positive)} END"
    return Field("label", column, column_type, 2, value_sql, "", ())


def _positive_sql(value_sql: str, column_type: str, positive: str | float | bool) -> str:
    """Whether a label means churned: compared as truth value, number or text, whichever `positive` is."""
    plain_sql = text_sql(value_sql, column_type)
    if isinstance(positive, bool):
        truth_sql = f"TRY_CAST({plain_sql} AS BOOLEAN)"
        return f"coalesce({truth_sql}, false)" if positive else f"coalesce(NOT {truth_sql}, false)"
    if isinstance(positive, str):
        if kind_of(column_type) == "boolean":
            return f"({plain_sql} = {quote_literal(positive.lower())})"
        return f"({plain_sql} = {quote_literal(positive)})"
    return f"coalesce({number_sql(value_sql, column_type)} = {float(positive)}, false)"


def _label_warnings(engine: duckdb.DuckDBPyConnection, section: Section, settings: TableSettings) -> tuple[str, ...]:
    column_type = section.type_of(settings.label)
    label_sql = quote_identifier(settings.label)
    kept_sql = section.condition.sql if section.condition else "true"
    found = engine.execute(
        f"SELECT {text_sql(label_sql, column_type)} AS label, "
        f"bool_or({_positive_sql(label_sql, column_type, settings.positive)}), count(*) FROM {section.relation.sql} "
        f"WHERE ({kept_sql}) AND {label_sql} IS NOT NULL GROUP BY label ORDER BY 2 DESC, 3 DESC, label LIMIT 50"
    ).fetchall()
    values = [label for label, _, _ in found if label.strip()]
    positives = [label for label, is_positive, _ in found if is_positive]
    if values and not positives:
        raise NotFoundError(
            f"{section.name}.positive = {settings.positive!r}, but no row has that label. "
            f"{did_you_mean(str(settings.positive), values)}",
            hint=f"The column {settings.label!r} holds: {', '.join(repr(value) for value in values[:10])}.",
            column=settings.label,
        )
    if values and len(positives) == len(values):
        raise InputError(
            f"Every row of {section.name} has the label {settings.positive!r}: there is nothing to tell apart.",
            hint="Add rows of customers who stayed, or name another label column.",
            column=settings.label,
        )
    absent = _unlabelled(engine, section, label_sql, column_type, kept_sql)
    if len(values) > 2:
        shown = ", ".join(repr(value) for value in values[:10] if value not in positives)
        return (*absent, f"the label has {len(values)} values; all of these mean stayed: {shown}")
    return absent


def _unlabelled(
    engine: duckdb.DuckDBPyConnection, section: Section, label_sql: str, column_type: str, kept_sql: str
) -> tuple[str, ...]:
    absent_sql = f"{label_sql} IS NULL OR {blank_sql(text_sql(label_sql, column_type))}"
    rows, absent = engine.execute(
        f"SELECT count(*), count(*) FILTER ({absent_sql}) FROM {section.relation.sql} WHERE {kept_sql}"
    ).fetchone() or (0, 0)
    if not absent:
        return ()
    return (f"{absent:,} of {rows:,} rows have no label: they can be scored, and nothing is learned from them",)


def _repeated_warning(engine: duckdb.DuckDBPyConnection, checked: Checked) -> Iterator[str]:
    columns_sql = ", ".join(field.alias_sql for field in checked.fields if field.name != "customer_id")
    (repeated,) = engine.execute(
        f"SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (SELECT count(*) AS n FROM {checked.table_sql} WHERE fault = 0 "
        f"GROUP BY {columns_sql} HAVING count(*) > 1)"
    ).fetchone() or (0,)
    if repeated:
        yield (f"{repeated:,} rows equal another row in every column; they stay, and a split may put one on each side")


def describe_plain(
    engine: duckdb.DuckDBPyConnection, settings: TableSettings, paths: tuple[Path, ...], fingerprint: str
) -> PlainTable:
    """Describe a finished plain table."""
    table_sql = read_parquet_sql(paths)
    time_sql = "min(time), max(time)" if settings.time is not None else "NULL, NULL"
    labelled, positives, first, last = engine.execute(
        f"SELECT count(label), count(*) FILTER (label), {time_sql} FROM {table_sql}"
    ).fetchone() or (0, 0, None, None)
    rows, attributes = describe_attributes(engine, paths, RESERVED)
    has_time = settings.time is not None
    return PlainTable(paths, rows, labelled, positives, attributes, has_time, as_utc(first), as_utc(last), fingerprint)
